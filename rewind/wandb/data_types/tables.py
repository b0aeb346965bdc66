"""`Table`: columns with names, whose cells may be media."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ...errors import ArgumentError, ArgumentTypeError
from ...tracker.media import Keep, media_of
from ...tracker.store.values import Unkept, kept_value, restored
from .base import Value

Row = list[Any]


class Table(Value):
    """A table; its file is JSON with ``columns`` and ``data``.

    Parameters
    ----------
    columns : list of str, optional
        Default: ``["Input", "Output", "Expected"]``.
    data : list of rows, array of two dimensions, or DataFrame, optional
    rows : list of rows, optional
        Another name for `data`.
    dataframe : pandas.DataFrame, optional
        Columns and rows of it.
    dtype, optional, allow_mixed_types, log_mode
        Taken, and without effect: a cell may be of any type.

    Attributes
    ----------
    columns : list
    data : list of list
    """

    several_type: ClassVar[tuple[str, str]] = ("tables", "tables")

    def __init__(
        self,
        columns: Sequence[Any] | None = None,
        data: Any = None,
        rows: Sequence[Sequence[Any]] | None = None,
        dataframe: Any = None,
        dtype: Any = None,
        optional: Any = True,
        allow_mixed_types: bool = False,
        log_mode: str | None = "IMMUTABLE",
    ) -> None:
        self.log_mode = log_mode or "IMMUTABLE"
        data = rows if data is None else data
        if dataframe is None and hasattr(data, "columns") and hasattr(data, "itertuples"):
            dataframe = data
        if dataframe is not None:
            if not hasattr(dataframe, "itertuples"):
                raise ArgumentTypeError("dataframe", dataframe, "a DataFrame of pandas")
            columns = [str(name) for name in dataframe.columns]
            data = dataframe.itertuples(index=False, name=None)
        self.columns: list[Any] = list(columns) if columns is not None else ["Input", "Output", "Expected"]
        if any(not isinstance(name, (str, int)) for name in self.columns):
            raise ArgumentTypeError("columns", columns, "names, such as ['epoch', 'loss']")
        self.data: list[Row] = []
        if data is not None:
            if isinstance(data, (str, bytes, Mapping)) or not hasattr(data, "__iter__"):
                raise ArgumentTypeError("data", data, "a list of rows")
            for row in data:
                self.add_data(*row)

    def add_data(self, *data: Any) -> None:
        """Add a row.

        Raises
        ------
        ArgumentError
            If it has more or fewer cells than there are columns.
        """
        if len(data) != len(self.columns):
            raise ArgumentError(
                "a row", list(data), f"{len(self.columns)} cells, for {', '.join(map(str, self.columns))}"
            )
        self.data.append(list(data))

    def add_row(self, *row: Any) -> None:
        """Add a row: see `add_data`."""
        self.add_data(*row)

    def add_column(self, name: str, data: Sequence[Any], optional: bool = False) -> None:
        """Add a column, with a cell for each row.

        Raises
        ------
        ArgumentError
            If there is such a column, or the numbers of cells differ.
        """
        if name in self.columns:
            raise ArgumentError("name", name, "a column that is not there")
        cells = list(data)
        if self.columns and self.data and len(cells) != len(self.data):
            raise ArgumentError("data", f"{len(cells)} cells", f"{len(self.data)}, one for each row")
        if not self.data:
            self.data = [[] for _ in cells]
        for row, cell in zip(self.data, cells, strict=True):
            row.append(cell)
        self.columns.append(name)

    def add_computed_columns(self, fn: Callable[[int, dict[str, Any]], Mapping[str, Any]]) -> None:
        """Add the columns that ``fn(index, row)`` gives as a dict for each row, given as one."""
        found = [fn(i, dict(zip(self.columns, row, strict=True))) for i, row in enumerate(self.data)]
        for name in found[0] if found else ():
            self.add_column(name, [one[name] for one in found])

    def get_column(self, name: str, convert_to: str | None = None) -> Any:
        """Return the cells of a column, as a list, or with ``convert_to="numpy"`` as an array."""
        if name not in self.columns:
            raise ArgumentError("name", name, f"one of {', '.join(map(str, self.columns))}")
        if convert_to not in (None, "numpy"):
            raise ArgumentError("convert_to", convert_to, "'numpy' or None")
        at = self.columns.index(name)
        cells = [row[at] for row in self.data]
        return cells if convert_to is None else np.array(cells)

    def get_index(self) -> list[int]:
        """Return the numbers of the rows."""
        return list(range(len(self.data)))

    def get_dataframe(self) -> Any:
        """Return the table as pandas has it."""
        import pandas  # type: ignore[import-untyped, import-not-found, unused-ignore]

        return pandas.DataFrame.from_records(self.data, columns=self.columns)

    def iterrows(self) -> Iterator[tuple[int, Row]]:
        """Yield number and cells of each row."""
        yield from enumerate(self.data)

    def cast(self, col_name: str, dtype: Any, optional: bool = False) -> None:
        """Do nothing: a cell may be of any type."""

    def __len__(self) -> int:
        return len(self.data)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        return self.columns == other.columns and self.data == other.data

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Table of {len(self.data):,} rows, {', '.join(map(str, self.columns))}>"

    def facts(self, key: str, keep: Keep) -> dict[str, Any]:
        """Return the object that the row gets."""
        kept = keep(key, "table", self.text(key, keep), ".table.json")
        return {"_type": "table-file", **kept, "nrows": len(self.data), "ncols": len(self.columns)}

    def text(self, key: str, keep: Keep) -> bytes:
        """Return the JSON of the table; the files of media in it are kept."""
        data = [[_cell(cell, key, keep) for cell in row] for row in self.data]
        return json.dumps({"columns": self.columns, "data": data}, separators=(",", ":")).encode()

    @classmethod
    def of_text(cls, text: bytes | str) -> Table:
        """Return the table that its JSON stands for; media in it are the objects that say which file they are."""
        found = json.loads(text)
        return cls(columns=found["columns"], data=found["data"])


def _cell(value: Any, key: str, keep: Keep) -> Any:
    """Return a cell as JSON has it."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    media = media_of(value)
    if isinstance(media, list):
        return type(media[0]).several(key, media, keep)[key]
    if media is not None:
        return media.in_row(key, keep)[key]
    try:
        return _plain(restored(kept_value(value)))
    except Unkept:
        return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, complex):
        return [value.real, value.imag]
    return value if value is None or isinstance(value, (str, int, float)) else str(value)
