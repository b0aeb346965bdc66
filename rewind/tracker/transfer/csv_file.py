"""Import a CSV file: a row for each step, a metric for each column."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from ...errors import ArgumentError, ArtifactFormatError, ArtifactIOError
from ...storage.files import open_regular
from .imported import About, Target, id_of
from .rows import Rows

#: Columns that are taken for the step, the first that is there.
STEPS = ("_step", "step", "Step", "global_step", "trainer/global_step", "iteration", "Iteration")
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]{0,1000})")
_WORDS = {"True": True, "true": True, "False": False, "false": False}
_DELIMITERS = ",;\t"


def read_csv(path: str, step: str | None, about: About, begin: Callable[[About], Target]) -> Target:
    """Log what a CSV file has to a run.

    Parameters
    ----------
    path : str
    step : str or None
        The column of the steps; None for the first of `STEPS` that there is, or else the number of the row.
    about : About
        What is given of the run.
    begin : callable
    """
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            data, changed = file.read(), os.fstat(file.fileno()).st_mtime
    except OSError as error:
        raise ArtifactIOError.of("read", path, error) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArtifactFormatError(f"it is no CSV in UTF-8: {error}", path) from None
    about.run_id = about.run_id or id_of([data])
    about.name = about.name or os.path.splitext(os.path.basename(path))[0]
    about.began = changed
    rows = Rows()
    for number, values in _rows(text, step, path):
        rows.add(number, values)
    target = begin(about)
    rows.log(target)
    target.end(0, changed)
    return target


def _rows(text: str, step: str | None, path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    head = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=head.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = _columns(next(lines, []), path)
        at = _step_column(columns, step)
        for n, cells in enumerate(line for line in lines if line):
            if len(cells) > len(columns):
                problem = f"line {lines.line_num} has {len(cells)} cells, and there are {len(columns)} columns"
                raise ArtifactFormatError(problem, path)
            values = {name: _value(cell) for name, cell in zip(columns, cells, strict=False) if cell != ""}
            number = n if at is None else _step(values.pop(columns[at], None))
            if number is None:
                raise ArtifactFormatError(f"line {lines.line_num} has no step in its column {columns[at or 0]!r}", path)
            yield number, values
    except csv.Error as error:
        raise ArtifactFormatError(f"line {lines.line_num} is no CSV: {error}", path) from None


def _columns(names: list[str], path: str) -> list[str]:
    """Return the names of the columns; one without a name, as pandas writes its index, is called by its number."""
    if not names:
        raise ArtifactFormatError("it is empty: the first line of a CSV file names its columns", path)
    columns = [name.strip() or f"column_{i}" for i, name in enumerate(names)]
    twice = next((name for i, name in enumerate(columns) if name in columns[:i]), None)
    if twice is not None:
        raise ArtifactFormatError(f"it has two columns {twice!r}", path)
    return columns


def _step_column(columns: list[str], step: str | None) -> int | None:
    if step is None:
        return next((columns.index(name) for name in STEPS if name in columns), None)
    if step not in columns:
        some = ", ".join(columns[:12]) + (", ..." if len(columns) > 12 else "")
        raise ArgumentError("step", step, f"a column: {some}")
    return columns.index(step)


def _step(value: Any) -> int | None:
    """Return a step, which some programs write as ``10.0``."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < 1 << 62 else None


def _value(cell: str) -> Any:
    """Return the number that a cell is, True, False, or its text."""
    if _INTEGER.fullmatch(cell):
        return int(cell)
    if cell in _WORDS:
        return _WORDS[cell]
    try:
        # "1_000" and "007" are names, not numbers, to all but Python
        return float(cell) if "_" not in cell and not re.match(r"[+-]?0[0-9]", cell) else cell
    except ValueError:
        return cell
