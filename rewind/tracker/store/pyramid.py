"""Extremes and last values over many rows, kept as the rows are written, so that no row is read for an overview.

The own rows of a revision are cut into cells of 64, eight of these make one of 512, and so on. The cells of a size, a
*level*, are kept 64 to a page. A bucket is made of whole cells; what no cell covers, at the ends of what is seen of a
revision or of one that was killed, is read from smaller cells, and at last from rows.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...errors import StoreDamagedError
from .aggregates import columns_of
from .database import Store
from .values import inner, plain_number, restored, text

#: Rows of the smallest cell; cells of a level that make one of the next; cells of a page.
CELL, TIMES, PAGE = 64, 8, 64
_TOP = 12  # levels that there can be
_Entry = tuple[Any, Any, Any, int]  # least and greatest number; the last value, if that is a number; its step

_INSERT = "INSERT OR REPLACE INTO pyramids (revision, name, level, step, cells) VALUES (?, ?, ?, ?, ?)"


class Cell(NamedTuple):
    """Some rows, one after another: steps of the first and the last, how many there are, and what is known by key."""

    first: int
    last: int
    n: int
    entries: dict[str, _Entry]


class Pyramid:
    """The cells over rows of one revision, as they are added in order.

    Attributes
    ----------
    ready : list of (int, int, str)
        Pages that are full and not taken yet: level, last step, text.
    """

    def __init__(self) -> None:
        self.ready: list[tuple[int, int, str]] = []
        self._rows: list[tuple[int, dict[str, Any]]] = []
        self._page: list[list[Cell]] = [[] for _ in range(_TOP)]
        self._group: list[list[Cell]] = [[] for _ in range(_TOP)]
        self._made = [0] * _TOP

    def add(self, rows: Sequence[tuple[int, dict[str, Any]]]) -> None:
        """Enter rows of kept values."""
        self._rows += rows
        whole = len(self._rows) // CELL * CELL
        if whole:
            for cell in _cells(self._rows[:whole]):
                self._push(0, cell)
            self._rows = self._rows[whole:]

    def _push(self, level: int, cell: Cell) -> None:
        self._page[level].append(cell)
        self._made[level] += 1
        if len(self._page[level]) == PAGE:
            self._end_page(level)
        if level + 1 < _TOP:
            self._group[level].append(cell)
            if len(self._group[level]) == TIMES:
                self._end_group(level)

    def _end_page(self, level: int) -> None:
        page, self._page[level] = self._page[level], []
        self.ready.append((level, page[-1].last, _page_text(page)))

    def _end_group(self, level: int) -> None:
        group, self._group[level] = self._group[level], []
        self._push(level + 1, merged(group))

    def end(self) -> None:
        """Make cells and pages of what is left, where there are enough rows for any: nothing comes after it."""
        if not self._made[0]:
            return
        if self._rows:
            rest, self._rows = self._rows, []
            self._push(0, _cell(rest))
        for level in range(_TOP):
            if self._page[level]:
                self._end_page(level)
            if self._group[level] and self._made[level] > 1 and level + 1 < _TOP:
                self._end_group(level)

    def take(self) -> list[tuple[int, int, str]]:
        """Return the pages that are ready, once."""
        ready, self.ready = self.ready, []
        return ready

    def write(self, connection: Any, uid: int, name: str = "") -> None:
        """Write the pages that are ready, in a transaction; `name` is that of a metric that was backfilled."""
        if self.ready:
            connection.executemany(_INSERT, [(uid, name, *page) for page in self.ready])


def _cells(rows: list[tuple[int, dict[str, Any]]]) -> Iterable[Cell]:
    """Return the cells of a whole number of times 64 rows."""
    columns, _ = columns_of(rows)
    n = len(rows) // CELL
    parts: list[dict[str, _Entry]] = [{} for _ in range(n)]
    lasts = [rows[CELL * (i + 1) - 1][0] for i in range(n)]
    odd = []
    for key, column in columns.items():
        if len(column) == len(rows) and set(map(type, column)) == {float}:
            table = np.array(column).reshape(n, CELL)
            if not np.isnan(table).any():
                low, high = table.argmin(axis=1).tolist(), table.argmax(axis=1).tolist()  # the first of equal ones
                for i, part in enumerate(parts):
                    at = CELL * i
                    part[key] = (column[at + low[i]], column[at + high[i]], column[at + CELL - 1], lasts[i])
                continue
        odd.append(key)
    if odd:
        keys = set(odd)
        for i, part in enumerate(parts):
            part |= _entries(rows[CELL * i : CELL * (i + 1)], keys)
    return [Cell(rows[CELL * i][0], lasts[i], CELL, part) for i, part in enumerate(parts)]


def _cell(rows: Sequence[tuple[int, dict[str, Any]]]) -> Cell:
    return Cell(rows[0][0], rows[-1][0], len(rows), _entries(rows, None))


def _entries(rows: Sequence[tuple[int, dict[str, Any]]], keys: Collection[str] | None) -> dict[str, _Entry]:
    found: dict[str, _Entry] = {}
    for step, row in rows:
        for key, value in row.items():
            if value is None or (keys is not None and key not in keys):
                continue
            number = plain_number(value)
            low, high = (None, None) if number is None or number != number else (number, number)
            new = (low, high, number, step)
            found[key] = new if key not in found else _joined(found[key], new)
    return found


def _joined(one: _Entry, later: _Entry) -> _Entry:
    low, high = one[0], one[1]
    if later[0] is not None:
        low = later[0] if low is None or later[0] < low else low
        high = later[1] if high is None or later[1] > high else high
    return low, high, later[2], later[3]


def merged(cells: Sequence[Cell]) -> Cell:
    """Return the cell over several, in order."""
    entries: dict[str, _Entry] = dict(cells[0].entries)
    for cell in cells[1:]:
        for key, entry in cell.entries.items():
            before = entries.get(key)
            entries[key] = entry if before is None else _joined(before, entry)
    return Cell(cells[0].first, cells[-1].last, sum(cell.n for cell in cells), entries)


# ---- pages


def _page_text(cells: Sequence[Cell]) -> str:
    keys = dict.fromkeys(key for cell in cells for key in cell.entries)
    columns = {}
    for key in keys:
        entries = [cell.entries.get(key) for cell in cells]
        columns[key] = [[None if entry is None else inner(entry[k]) for entry in entries] for k in range(4)]
    head = [[cell.first for cell in cells], [cell.last for cell in cells], [cell.n for cell in cells]]
    return text([*head, {"dict": columns}])


def _page_cells(store: Store, page: str, keys: Collection[str] | None) -> list[Cell]:
    try:
        first, last, n, columns = json.loads(page)
        parts: list[dict[str, _Entry]] = [{} for _ in first]
        for key, column in columns["dict"].items():
            if keys is None or key in keys:
                for part, low, high, end, at in zip(parts, *column, strict=True):
                    if at is not None:
                        plain = type(low) is not dict and type(high) is not dict and type(end) is not dict
                        part[key] = (low, high, end, at) if plain else (*map(plain_number, (low, high, end)), at)
        return [Cell(*one) for one in zip(first, last, n, parts, strict=True)]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        problem = f"it is damaged: the extremes kept beside its rows cannot be read ({error}); rewind fsck says more"
        raise StoreDamagedError("read", store.path, problem) from None


# ---- what is asked


class Source(NamedTuple):
    """Rows that cells are over: those of a revision, or one metric that was backfilled by it.

    Attributes
    ----------
    uid : int
    name : str
        Empty for the rows.
    rows : callable
        ``rows(low, high)`` yields step and kept values of those from step `low` to `high`.
    """

    uid: int
    name: str
    rows: Callable[[int, int], Iterable[tuple[int, dict[str, Any]]]]


def size_of(level: int) -> int:
    """Return the number of rows of a cell of a level; -1 is that of the rows themselves."""
    return 1 if level < 0 else CELL * TIMES**level


def estimate(store: Store, source: Source, low: int, high: int) -> int:
    """Return about how many rows there are from step `low` to `high`: as many as its pages have, or the revision."""
    if store.version < 2:
        return 0
    query = """SELECT (SELECT count(*) FROM pyramids p WHERE p.revision = r.uid AND name = ? AND level = 0
                       AND step BETWEEN ? AND ?), n_rows FROM revisions r WHERE uid = ?"""
    ((pages, n_rows),) = store.read(query, (source.name, low, high, source.uid))
    n = int(pages) * CELL * PAGE if n_rows is None else min(int(n_rows), (int(pages) + 1) * CELL * PAGE)
    return min(n, max(high - low + 1, 0))  # one that grows has rows that are in no page yet


def cells(
    store: Store, source: Source, low: int, high: int, level: int, keys: Collection[str] | None
) -> Iterator[Cell]:
    """Yield cells over exactly the rows from step `low` to `high`: of a level, and smaller ones at the ends."""
    if low > high:
        return
    if level < 0 or store.version < 2:
        for row in source.rows(low, high):
            yield _cell([row]) if keys is None else Cell(row[0], row[0], 1, _entries([row], keys))
        return
    where = "SELECT step, cells FROM pyramids WHERE revision = ? AND name = ? AND level = ?"
    given = (source.uid, source.name, level)
    pages = store.read(f"{where} AND step >= ? AND step < ? ORDER BY step", (*given, low, high))
    pages += store.read(f"{where} AND step >= ? ORDER BY step LIMIT 1", (*given, max(low, high)))
    found = [cell for _, page in pages for cell in _page_cells(store, page, keys)]
    inside = [cell for cell in found if low <= cell.first and cell.last <= high]
    if not inside:
        yield from cells(store, source, low, high, level - 1, keys)
        return
    yield from cells(store, source, low, inside[0].first - 1, level - 1, keys)
    yield from inside
    yield from cells(store, source, inside[-1].last + 1, high, level - 1, keys)


def level_for(rows: int, samples: int) -> int:
    """Return the greatest level of which there are at least half as many cells as samples are wanted."""
    level = -1
    while level + 1 < _TOP and 2 * rows >= samples * size_of(level + 1):
        level += 1
    return level


def buckets(found: Iterable[Cell], samples: int) -> list[Cell]:
    """Return at most as many cells as samples are wanted, over about as many rows each."""
    every = list(found)
    if len(every) <= samples:
        return every
    ends, total = [], 0
    for cell in every:
        total += cell.n
        ends.append(total)
    made, at = [], 0
    for i in range(samples):
        upto = max(bisect_left(ends, total * (i + 1) / samples), at) + 1 if i < samples - 1 else len(every)
        if upto > at:
            made.append(merged(every[at:upto]))
            at = upto
        if at == len(every):
            break
    return made


def user_row(cell: Cell, value_at: Callable[[int, str], Any]) -> dict[str, Any]:
    """Return a bucket as a user gets it; `value_at` looks up a last value that is no number."""
    row: dict[str, Any] = {"_first": cell.first, "_step": cell.last}
    for key, (low, high, last, at) in cell.entries.items():
        if last is None:
            last = restored(value_at(at, key))
        row[key] = {"last": last} if low is None else {"min": low, "max": high, "last": last}
    return row
