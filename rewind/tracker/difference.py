"""How two revisions of tracked runs differ: config, the first row that does, summaries side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .store import history
from .store.database import Store
from .store.history import END, Record, Span
from .store.values import restored


@dataclass(frozen=True)
class RunDifference:
    """How two revisions differ.

    Attributes
    ----------
    a, b : str
        The revisions, ``ID@REV``.
    config : dict of str to (value, value)
        What differs, the values of `a` and `b`. Keys within dicts have dots; where one lacks a key it is None.
    step : int or None
        The first step whose rows differ, or that only one of them has a row of; None where all rows are the same.
    rows : (dict or None, dict or None)
        The rows of `a` and `b` at that step; None for one that has none there.
    n_same : int
        Number of rows before it, which both have.
    summary : dict of str to (value, value)
        All keys of both summaries; None where one lacks it.
    same : bool
        Whether config, rows and summaries are the same. Values are if their bits are: 1 is not 1.0, NaN is itself.
    """

    a: str
    b: str
    config: dict[str, tuple[Any, Any]]
    step: int | None
    rows: tuple[dict[str, Any] | None, dict[str, Any] | None]
    n_same: int
    summary: dict[str, tuple[Any, Any]]
    same: bool


def difference(store: Store, a: Record, b: Record) -> RunDifference:
    """Compare two revisions: as `Tracker.diff` says."""
    config = dict(_differing(a.settings[0], b.settings[0]))
    step, rows, n_same = _first_difference(store, a.uid, b.uid)
    mine, theirs = (_summary(store, record) for record in (a, b))
    keys = [*mine, *(key for key in theirs if key not in mine)]
    return RunDifference(
        a.ref,
        b.ref,
        config,
        step,
        rows,
        n_same,
        {key: (restored(mine.get(key)), restored(theirs.get(key))) for key in keys},
        not config and step is None and _text(mine) == _text(theirs),
    )


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    for key in [*a, *(key for key in b if key not in a)]:
        x, y = a.get(key), b.get(key)
        if isinstance(x, Mapping) and isinstance(y, Mapping):
            yield from _differing(x, y, f"{prefix}{key}.")
        elif _text(x) != _text(y) or (key in a) != (key in b):
            yield f"{prefix}{key}", (x, y)


def _summary(store: Store, record: Record) -> dict[str, Any]:
    return history.summary_kept(store, record.uid) if record.summary is None else record.summary


# ---- rows

_Rows = tuple[dict[str, Any] | None, dict[str, Any] | None]


def _first_difference(store: Store, a: int, b: int) -> tuple[int | None, _Rows, int]:
    """Return the first step at which rows differ, both rows, and how many are the same before.

    What both see of the same revisions is not read: it is the same.
    """
    mine, theirs = history.spans(store, a), history.spans(store, b)
    low = n = 0
    if not any(history.has_backfilled(store, span.uid) for span in (*mine, *theirs)):
        low = _shared(mine, theirs) + 1
        n = history.n_rows(store, mine, low)
    left, right = _texts(store, mine, low), _texts(store, theirs, low)
    x, y = next(left, None), next(right, None)
    while x is not None or y is not None:
        if x is None or y is None or x[0] != y[0] or (x[1] != y[1] and _text_of(x[1]) != _text_of(y[1])):
            step = min(row[0] for row in (x, y) if row is not None)
            return step, (_row(x, step), _row(y, step)), n
        n += 1
        x, y = next(left, None), next(right, None)
    return None, (None, None), n


def _shared(a: list[Span], b: list[Span]) -> int:
    """Return the last step of what both see of the same revisions; -1 where they share none."""
    shared = -1
    for x, y in zip(a, b, strict=False):
        if x.uid != y.uid:
            break
        shared = min(x.last_row, y.last_row, END - 1)
    return shared


def _texts(store: Store, seen: list[Span], low: int) -> Iterator[tuple[int, str]]:
    """Yield step and text of rows, with what was backfilled."""
    more = history.backfilled(store, seen, low)
    for step, text in history.texts(store, seen, low):
        yield step, json.dumps({**json.loads(text), **more[step]}) if step in more else text


def _text_of(text: str) -> str:
    """Return the text of a row whatever the order of its keys."""
    return _text(json.loads(text))


def _row(row: tuple[int, str] | None, step: int) -> dict[str, Any] | None:
    if row is None or row[0] != step:
        return None
    return {"_step": step, **{key: restored(value) for key, value in json.loads(row[1]).items()}}
