"""Rows that come in no order: one for each step."""

from __future__ import annotations

from typing import Any

from .imported import Target


class Rows:
    """Values by step: where a step has a name twice, the later one counts. ``_timestamp`` is the time of a row."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[str, Any]] = {}
        self._lost: dict[str, int] = {}

    def add(self, step: int, values: dict[str, Any]) -> None:
        """Add values at a step."""
        row = self._rows.get(step)
        if row is None:
            self._rows[step] = values
            return
        for name, value in values.items():
            if name in row and not name.startswith("_") and not (row[name] is value or row[name] == value):
                self._lost[name] = self._lost.get(name, 0) + 1
            row[name] = value

    def purge(self, step: int) -> None:
        """Forget what is at a step and after it: it was logged again from there."""
        self._rows = {at: row for at, row in self._rows.items() if at < step}

    def log(self, target: Target) -> None:
        """Log all rows."""
        for step in sorted(self._rows):
            row = self._rows[step]
            seconds = row.pop("_timestamp") if type(row.get("_timestamp")) in (int, float) else None
            target.row(step, row, seconds)
        for name, count in self._lost.items():
            times = "1 value" if count == 1 else f"{count:,} values"
            target.left_out.append(f"{times} of {name!r} at steps that have another one later on")
