"""`CustomChart`, which is a table and how it is drawn, and `Plotly`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ...errors import ArgumentTypeError
from ...tracker.media import Keep, Media
from .base import FileValue
from .tables import Table


class CustomChart(Media):
    """A table, and how it is drawn: ``wandb.plot.line`` and the like give it.

    A row gets the table as ``KEY_table``, and under `KEY` which chart is made of which of its columns.

    Parameters
    ----------
    panel : str
        What it is called, such as ``"wandb/line/v0"``.
    table : Table
    fields : mapping of str to str
        For each part of the chart the column that it shows.
    strings : mapping of str to str
        Texts, such as the title.
    """

    def __init__(
        self, panel: str, table: Table, fields: Mapping[str, str | None], strings: Mapping[str, str | None]
    ) -> None:
        if not isinstance(table, Table):
            raise ArgumentTypeError("table", table, "a Table")
        self.panel, self.table = panel, table
        self.fields, self.strings = dict(fields), dict(strings)

    def in_row(self, key: str, keep: Keep) -> dict[str, Any]:
        """Return what the row gets."""
        chart = {
            "_type": "custom-chart",
            "panel": self.panel,
            "fields": self.fields,
            "strings": self.strings,
            "table": f"{key}_table",
        }
        return {key: chart, **self.table.in_row(f"{key}_table", keep)}

    @classmethod
    def several(cls, key: str, items: Sequence[Any], keep: Keep) -> dict[str, Any]:
        """Return what the row gets of a list: each by its number."""
        row: dict[str, Any] = {}
        for i, item in enumerate(items):
            row |= item.in_row(f"{key}_{i}", keep)
        return row


class Plotly(FileValue):
    """A figure of plotly.

    Parameters
    ----------
    val : plotly figure, or a dict of one
    """

    file_type: ClassVar[str] = "plotly-file"
    kind: ClassVar[str] = "plotly"
    several_type: ClassVar[tuple[str, str]] = ("plotly", "plots")
    suffix = ".plotly.json"

    def __init__(self, val: Any) -> None:
        if hasattr(val, "to_json"):
            self.content = str(val.to_json()).encode()
        elif isinstance(val, Mapping):
            self.content = json.dumps(dict(val)).encode()
        else:
            raise ArgumentTypeError("val", val, "a figure of plotly, or a dict of one")
