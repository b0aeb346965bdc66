"""Find runs and revisions by id, ``ID@REV``, digest or moment, and make the error where there is none."""

from __future__ import annotations

import contextlib
import os
import re
from difflib import get_close_matches
from typing import NamedTuple

from ...errors import ArgumentError, MomentError, RunExistsError, RunNotFoundError
from ..moment import Moment, asked_metric
from ..simulation.parts import last_step
from . import history
from .damage import understood
from .database import DATABASE, Store
from .history import END, Record

#: The digest of a revision, or its beginning.
_DIGEST = re.compile(r"[0-9a-f]{8,64}")


def with_digest(store: Store, text: str) -> list[tuple[str, int, str]]:
    """Return run, number and digest of the revisions whose digest is, or begins with, `text`; of twins the first."""
    if not _DIGEST.fullmatch(text):
        return []
    query = "SELECT run, number, digest FROM revisions WHERE substr(digest, 1, ?) = ? ORDER BY uid DESC"
    found = {digest: (run, number, digest) for run, number, digest in store.read(query, (len(text), text))}
    return list(found.values())[::-1]


def revision_with(store: Store, text: str) -> tuple[str, int] | None:
    """Return run and number of the revision that a digest, or its beginning, names; None where it names none.

    Raises
    ------
    ArgumentError
        If several digests begin so: names them.
    """
    found = with_digest(store, text)
    if len(found) > 1:
        raise ArgumentError("the run", text, f"one digest: {len(found)} begin so, {candidates(found)}")
    return found[0][:2] if found else None


def candidates(found: list[tuple[str, int, str]]) -> str:
    """Return revisions, and as much of their digests as tells them apart from each other."""
    n = next((n for n in range(8, 64, 4) if len({digest[:n] for *_, digest in found}) == len(found)), 64)
    some = [f"{digest[:n]} ({run}@{number})" for run, number, digest in found[:8]]
    return ", ".join(some) + (f" and {len(found) - 8} more" if len(found) > 8 else "")


def moment_of(folder: str, text: str | Moment) -> Moment:
    """Return the moment that `text` is, by the name of its run where it has a digest.

    For a value of another metric the error says which steps have it.
    """
    try:
        moment = Moment.parse(text)
        if moment.revision is not None or not _DIGEST.fullmatch(moment.run_id):
            return moment
        if not os.path.isfile(os.path.join(folder, DATABASE)):
            return moment
        store = Store(folder)
        try:
            found = None if history.run_row(store, moment.run_id) else revision_with(store, moment.run_id)
        finally:
            store.close()
        return moment if found is None else Moment(found[0], moment.step, found[1])
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
        named = None if history.run_row(store, run_id) else revision_with(store, run_id)
        if history.run_row(store, run_id) is None and named is None:
            return None
        run_id, number = named or (run_id, None)
        record = revision_of(store, run_id, number, removed=True)
        steps, before, back = [], None, None
        for found in history.history(store, history.spans(store, record.uid), [metric], 0, END):
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
    """Return a revision of a run: the current one, or that with a number, or the one that a digest names.

    Raises
    ------
    RunNotFoundError
        If there is none. A run that was removed is none, unless `removed` says that it counts.
    ArgumentError
        If it is the beginning of several digests.
    """
    row = history.run_row(store, run_id)
    named = revision_with(store, run_id) if row is None and number is None else None
    if named is not None:
        run_id, number = named
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


def past_end(store: Store, moment: Moment, record: Record) -> int | None:
    """Return the last step of a revision if a moment comes after it, else None.

    Raises
    ------
    MomentError
        If no step can be so high.
    """
    last = last_step(store, record.uid)
    if moment.step <= last:
        return None
    if moment.step >= END - 1:
        raise MomentError.beyond(str(moment), moment.step, last)
    return last
