"""Find runs and revisions by id, ``ID@REV`` or moment, and make the error where there is none."""

from __future__ import annotations

import contextlib
import os
from difflib import get_close_matches
from typing import NamedTuple

from ...errors import MomentError, RunExistsError, RunNotFoundError
from ..moment import Moment, asked_metric
from ..simulation.parts import last_step
from . import history
from .damage import understood
from .database import DATABASE, Store
from .history import END, Record


def moment_of(folder: str, text: str | Moment) -> Moment:
    """Return the moment that `text` is; for a value of another metric the error says which steps have it."""
    try:
        return Moment.parse(text)
    except MomentError as error:
        asked = asked_metric(text) if isinstance(text, str) else None
        if isinstance(text, str) and asked is not None and os.path.isfile(os.path.join(folder, DATABASE)):
            better = _step_metric_problem(folder, text, *asked)
            if better is not None:
                raise better from None
        raise error from None


def _step_metric_problem(folder: str, text: str, run_id: str, metric: str, value: str) -> MomentError | None:
    """Return the error for a moment at a value of a metric: it says at which steps it has that."""
    with contextlib.closing(Store(folder)) as store, understood(store.path):
        row = history.run_row(store, run_id)
        if row is None:
            return None
        steps, before, back = [], None, None
        for found in history.history(store, history.spans(store, row.current), [metric], 0, END):
            now = found[metric]
            if isinstance(now, (int, float)):
                if before is not None and now < before and back is None:
                    back = found["_step"]
                if str(now) == value or (isinstance(now, float) and f"{now:g}" == value):
                    steps.append(found["_step"])
                before = now
        if before is None:
            return None
        only = f"only _step is a place to rewind to; {metric!r}"
        if back is not None:
            return MomentError(text, f"{only} is not monotonic, it goes back at step {back}")
        where = f"is {value} from step {steps[0]} to {steps[-1]}" if steps else f"is never {value}"
        return MomentError(text, f"{only} {where}")


def taken(store: Store, run_id: str) -> RunExistsError:
    """Return the error for an id that is to be new, and is not."""
    row = history.run_row(store, run_id)
    removed = row is not None and row.removed
    return RunExistsError(run_id, store.folder, removed=removed, purged=removed and _purged(store, run_id))


def _purged(store: Store, run_id: str) -> bool:
    """Whether only what others see of a run is left."""
    return bool(store.read("SELECT 1 FROM revisions WHERE run = ? AND kept_digest IS NOT NULL", (run_id,)))


def not_found(store: Store, run_id: str) -> RunNotFoundError:
    """Return the error for a run that is not there: it names the nearest."""
    row = history.run_row(store, run_id)
    if row is not None and row.removed:
        return RunNotFoundError(run_id, (), store.folder, removed=True, purged=_purged(store, run_id))
    ids = [row[0] for row in store.read("SELECT id FROM runs WHERE removed = 0 ORDER BY began DESC")]
    near = get_close_matches(run_id, ids, 3, 0.5) or ids[:3]
    return RunNotFoundError(run_id, near, store.folder)


class Found(NamedTuple):
    """A revision, with the labels of its run."""

    record: Record
    project: str | None
    entity: str | None


def find(store: Store, run_id: str, number: int | None = None, *, removed: bool = False) -> Found:
    """Return a revision of a run: the current one, or that with a number.

    Raises
    ------
    RunNotFoundError
        If there is none. A run that was removed is none, unless `removed` says that it counts.
    """
    row = history.run_row(store, run_id)
    if row is None or (row.removed and not removed):
        raise not_found(store, run_id)
    if number is None:
        return Found(history.record_of(store, row.current), row.project, row.entity)
    found = history.records(store, "run = ? AND number = ?", (run_id, number))
    if not found:
        numbers = [n for (n,) in store.read("SELECT number FROM revisions WHERE run = ? ORDER BY 1", (run_id,))]
        raise RunNotFoundError(f"{run_id}@{number}", (), store.folder, numbers)
    return Found(found[0], row.project, row.entity)


def revision_of(store: Store, run_id: str, number: int | None, removed: bool = False) -> Record:
    """Return a revision of a run, as `find` does, without the labels."""
    return find(store, run_id, number, removed=removed).record


def require_step(store: Store, moment: Moment, record: Record) -> None:
    """Refuse a moment that comes after the last step of its revision."""
    last = last_step(store, record.uid)
    if moment.step > last:
        raise MomentError.beyond(str(moment), moment.step, last, growing=not record.closed)
