"""A history in a few hundred buckets: min, max and last of each key, of what is kept in pyramids and read of rows."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterator
from typing import Any

from . import history, pyramid
from .database import Store
from .history import END, Span
from .pyramid import Pyramid


def sampled(
    store: Store, seen: list[Span], samples: int, keys: Collection[str] | None, low: int, high: int
) -> list[dict[str, Any]]:
    """Return the history in at most so many buckets, from the cells that are kept; see `pyramid`.

    Reads a few thousand cells, and some rows at the ends of what is seen of each revision, however many rows there are.
    """
    names = None if keys is None else {key for key in keys if not key.startswith("_")}
    sources = [(_rows_source(store, span), low, min(span.last_row, high - 1)) for span in seen]
    rows = sum(pyramid.estimate(store, *source) for source in sources)
    level = pyramid.level_for(rows, samples)
    cells = itertools.chain.from_iterable(pyramid.cells(store, *source, level, names) for source in sources)
    found = pyramid.buckets(cells, samples)
    later = _later_sources(store, seen, names, low, high)
    if later:
        found = [_with_later(store, cell, later, rows // samples) for cell in found]
    wanted = [cell for cell in found if names is None or cell.entries]
    return [pyramid.user_row(cell, lambda step, key: _value_at(store, seen, step, key)) for cell in wanted]


def _rows_source(store: Store, span: Span) -> pyramid.Source:
    return pyramid.Source(span.uid, "", lambda low, high: kept_own(store, span, low, high))


def kept_own(store: Store, span: Span, low: int, high: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield own rows of a revision as they were logged, without what was backfilled."""
    for some in history.texts_of(store, [span], low, high + 1):
        rows, _ = history.parsed(store, some)
        for (step, _), row in zip(some, rows, strict=True):
            yield step, row


def _later_sources(
    store: Store, seen: list[Span], names: Collection[str] | None, low: int, high: int
) -> list[tuple[pyramid.Source, int, int]]:
    """Return what was backfilled, by revision and name."""
    found: list[tuple[pyramid.Source, int, int]] = []
    if not store.read("SELECT 1 FROM backfilled LIMIT 1"):
        return found
    for span in seen:
        for (name,) in store.read("SELECT DISTINCT name FROM backfilled WHERE revision = ?", (span.uid,)):
            hidden = span.limits is not None and name not in span.limits["backfilled"]
            if not hidden and (names is None or name in names):
                found.append((_later_source(store, span.uid, name), low, min(span.last_row, high - 1)))
    return found


def _later_source(store: Store, uid: int, name: str) -> pyramid.Source:
    query = """SELECT step, value FROM backfilled WHERE revision = ? AND name = ? AND step BETWEEN ? AND ?
               ORDER BY step"""

    def rows(low: int, high: int) -> Iterator[tuple[int, dict[str, Any]]]:
        return ((step, {name: json.loads(value)}) for step, value in store.read(query, (uid, name, low, high)))

    return pyramid.Source(uid, name, rows)


def _with_later(
    store: Store, cell: pyramid.Cell, later: list[tuple[pyramid.Source, int, int]], rows: int
) -> pyramid.Cell:
    """Return a bucket with what was backfilled in its steps."""
    entries = dict(cell.entries)
    for source, low, high in later:
        window = max(low, cell.first), min(high, cell.last)
        parts = list(pyramid.cells(store, source, *window, pyramid.level_for(rows, 1), {source.name}))
        if parts:
            whole = pyramid.merged(parts)
            logged = entries.get(source.name)
            both = [whole.entries, *([{source.name: logged}] if logged is not None else [])]
            both.sort(key=lambda one: one[source.name][3])
            cells = [pyramid.Cell(0, 0, 0, one) for one in both]
            entries[source.name] = pyramid.merged(cells).entries[source.name]
    return cell._replace(entries=entries)


def keep_backfilled(store: Store, uid: int, name: str) -> None:
    """Keep the cells over what was backfilled under a name, in the transaction that does so."""
    store.connection.execute("DELETE FROM pyramids WHERE revision = ? AND name = ?", (uid, name))
    cells = Pyramid()
    cells.add(list(_later_source(store, uid, name).rows(0, END)))
    cells.end()
    cells.write(store.connection, uid, name)


def _value_at(store: Store, seen: list[Span], step: int, key: str) -> Any:
    for _, row in history.kept_rows(store, seen, step, step + 1):
        if key in row:
            return row[key]
    return None


def pyramid_of(store: Store, uid: int) -> Pyramid:
    """Return the cells over all own rows of a revision. O(number of rows)."""
    cells = Pyramid()
    rows = list[tuple[int, dict[str, Any]]]()
    for row in kept_own(store, Span(uid, END), 0, END - 1):
        rows.append(row)
        if len(rows) == 4096:
            cells.add(rows)
            rows = []
    cells.add(rows)
    return cells
