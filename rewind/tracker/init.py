"""`init`: begin a run, go on with one, rewind one to a step, or fork one from a step."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import ArgumentError, ArgumentTypeError, RunBusyError, TrackerError
from ..state.columns import is_text
from . import active
from .close import close
from .config import plain_dict
from .moment import Moment, new_run_id, run_id_of
from .run import TrackedRun
from .simulation.parts import last_step
from .store import history
from .store.database import Store, folder_of
from .store.history import Record
from .store.lock import RunLock
from .store.lookup import current_of, moment_of, not_found, require_step, revision_at, taken

Resume = Literal["allow", "must", "never", "auto"] | bool | None
_RESUME = ("allow", "must", "never", "auto", True, False, None)


def init(
    project: str | None = None,
    *,
    entity: str | None = None,
    id: str | None = None,
    name: str | None = None,
    config: Any = None,
    tags: Sequence[str] | None = None,
    notes: str | None = None,
    dir: str | os.PathLike[str] | None = None,
    resume: Resume = None,
    resume_from: str | Moment | None = None,
    fork_from: str | Moment | None = None,
    on_dropped: Literal["warn", "raise"] = "warn",
    capture: bool = False,
    system_metrics: bool | float = False,
) -> TrackedRun:
    """Begin a tracked run, or go on with one: at its end, from a step it is rewound to, or as a fork from a step.

    Nothing leaves the machine: all is in one folder.

    Parameters
    ----------
    project, entity : str, optional
        Labels.
    id : str, optional
        Id of the run, none of whose characters is one of ``:;,#?/@'``. Default: a new one of 8 characters.
    name : str, optional
        For people. Default: the id.
    config : dict or argparse.Namespace, optional
        Parameters of the run, JSON. In a run that goes on new values win, and keys that are missing here are kept.
    tags, notes : sequence of str, str, optional
        For people. In a run that goes on, those that are given replace the old ones.
    dir : str or path-like, optional
        The folder. Default: the environment's ``REWIND_DIR``, else ``.rewind`` in the working directory.
    resume : {"allow", "must", "never", "auto"}, optional
        Go on at the end of the run `id`: if there is one, always, never (an error if there is one), or (also True) of
        the last run of the project in this folder that did not finish, where no `id` is given; else begin.
    resume_from : str, optional
        Rewind: a moment ``"ID?_step=200"`` of the run, or ``"ID@REV?_step=200"`` of an archived revision of it. Rows up
        to step 200 are kept, logging goes on at 201, and what came behind is archived. -1 keeps no row.
    fork_from : str, optional
        A new run that begins as that moment does; the other one stays as it is.
    on_dropped : {"warn", "raise"}
        What a row below the current step is: a `DroppedWarning`, or a `DroppedError`.
    capture : bool
        Whether what is printed to stdout is kept, line by line, with the step at which it came.
    system_metrics : bool or float
        Whether processor time and memory are sampled, every 15 seconds or as many as are given.

    Returns
    -------
    run : TrackedRun
        Its `step` says where logging goes on.

    Raises
    ------
    MomentError
        If a moment cannot be read, or is past the end of its run.
    RunNotFoundError
        If there is no such run or revision; names the nearest.
    RunExistsError
        If `id` is taken, and none of the three ways to go on is asked for.
    RunBusyError
        If another process, or another place in this one, logs to the run; names it.
    ArgumentError, ArgumentTypeError
        If arguments exclude each other, or cannot be meant.
    StoreError, StoreVersionError, StoreDamagedError
        If the folder cannot be used.

    Notes
    -----
    A rewind or a fork copies no row: it takes milliseconds, however long the run is. A run whose process was killed is
    gone on with, rewound or forked like any other.

    Examples
    --------
    >>> import tempfile
    >>> run = init("walks", dir=tempfile.mkdtemp())
    >>> for x in range(10):
    ...     run.log({"x": x})
    >>> run.finish()
    >>> again = init("walks", dir=run.dir, resume_from=f"{run.id}?_step=3")
    >>> again.step, [row["x"] for row in again.history()]
    (4, [0, 1, 2, 3])
    >>> again.finish()
    """
    if active.IMPORTING:
        guard = "put what the program does under if __name__ == '__main__':"
        raise TrackerError(
            f"{active.IMPORTING[-1]} is only imported, for the functions in it, and begins a run; {guard}"
        )
    asked = _Asked(
        project=_label("project", project),
        entity=_label("entity", entity),
        name=_label("name", name),
        notes=_label("notes", notes),
        tags=_tags(tags),
        config=plain_dict(config),
        config_given=config is not None,
    )
    given = {"resume": resume, "resume_from": resume_from, "fork_from": fork_from}
    named = [key for key, value in given.items() if value is not None and value is not False]
    if len(named) > 1:
        advice = "resume goes on at the end of a run, resume_from at a step of it, fork_from makes a new run"
        raise ArgumentError(named[1], given[named[1]], f"no {named[0]} as well", advice)
    if not isinstance(resume, (str, bool, type(None))) or resume not in _RESUME:
        raise ArgumentError("resume", resume, "'allow', 'must', 'never' or 'auto'")
    if not isinstance(capture, bool):
        raise ArgumentTypeError("capture", capture, "True or False")
    if on_dropped not in ("warn", "raise"):
        raise ArgumentError("on_dropped", on_dropped, "'warn' or 'raise'")
    seconds = _seconds(system_metrics)
    run_id = None if id is None else run_id_of(id)
    folder = folder_of(dir)
    if resume_from is not None:
        run = _rewound(folder, moment_of(folder, resume_from), run_id, asked, on_dropped)
    elif fork_from is not None:
        run = _forked(folder, moment_of(folder, fork_from), run_id, asked, on_dropped)
    else:
        run = _begun_or_resumed(folder, run_id, resume, asked, on_dropped)
    try:
        if capture:
            run.start_capture()
        if seconds is not None:
            run.start_sampling(seconds)
    except BaseException:
        run.finish(1)
        raise
    active.opened(run)
    return run


@dataclass(frozen=True)
class _Asked:
    """What a user asked for, checked."""

    project: str | None
    entity: str | None
    name: str | None
    notes: str | None
    tags: list[str] | None
    config: dict[str, Any]
    config_given: bool


# ---- the ways to open a run


def _begun_or_resumed(
    folder: str, run_id: str | None, resume: Resume, asked: _Asked, on_dropped: Literal["warn", "raise"]
) -> TrackedRun:
    with _opened(folder) as store:
        if resume in ("must", "allow") and run_id is None:
            if resume == "must":
                raise ArgumentError("id", None, "the run to resume, with resume='must'")
        if (resume is True or resume == "auto") and run_id is None:
            run_id = _unfinished(store, asked.project)
        goes_on = resume in ("must", "allow", "auto", True)
        row = None if run_id is None else history.run_row(store, run_id)
        if row is not None and not goes_on:
            raise taken(store, str(run_id))
        if row is not None and run_id is not None:
            if row[3]:
                raise taken(store, run_id)
            lock = RunLock(folder, run_id)
            try:
                parent = _whole(store, current_of(store, run_id))
                last = last_step(store, parent.uid)
                return _open(store, lock, asked, on_dropped, "resumed", run_id, parent, last)
            except BaseException:
                lock.release()
                raise
        if resume == "must":
            raise not_found(store, str(run_id))
        return _new(store, run_id, asked, on_dropped, "begun", None, -1)


def _rewound(
    folder: str, moment: Moment, run_id: str | None, asked: _Asked, on_dropped: Literal["warn", "raise"]
) -> TrackedRun:
    if run_id is not None and run_id != moment.run_id:
        advice = f"Leave id out, or use fork_from={str(moment)!r} to make a new run {run_id!r} of it"
        raise ArgumentError("id", run_id, f"the run of resume_from, {moment.run_id!r}", advice)
    with _opened(folder) as store:
        revision_at(store, moment)  # before there is a lock file for a run that is not there
        lock = RunLock(folder, moment.run_id)
        try:
            _whole(store, current_of(store, moment.run_id))
            parent = _whole(store, revision_at(store, moment))
            require_step(store, moment, parent)
            return _open(store, lock, asked, on_dropped, "rewound", moment.run_id, parent, moment.step)
        except BaseException:
            lock.release()
            raise


def _forked(
    folder: str, moment: Moment, run_id: str | None, asked: _Asked, on_dropped: Literal["warn", "raise"]
) -> TrackedRun:
    if run_id == moment.run_id:
        advice = f"Leave id out or give another one; resume_from={str(moment)!r} rewinds the run itself"
        raise ArgumentError("id", run_id, "another id than the run that is forked", advice)
    with _opened(folder) as store:
        parent = revision_at(store, moment)
        if not parent.closed and not _flush_here(folder, moment.run_id):
            try:  # it was left by a process that was killed; one that is running is forked as it grows
                held = RunLock(folder, moment.run_id)
            except RunBusyError:
                pass
            else:
                try:
                    parent = _whole(store, history.record_of(store, parent.uid))
                finally:
                    held.release()
        require_step(store, moment, parent)
        return _new(store, run_id, asked, on_dropped, "forked", parent, moment.step)


@contextlib.contextmanager
def _opened(folder: str) -> Iterator[Store]:
    """Open the store for a run; an error closes it."""
    store = Store(folder, write=True)
    try:
        yield store
    except BaseException:
        store.close()
        raise


def _new(
    store: Store,
    run_id: str | None,
    asked: _Asked,
    on_dropped: Literal["warn", "raise"],
    kind: str,
    parent: Record | None,
    step: int,
) -> TrackedRun:
    while True:
        new_id = new_run_id() if run_id is None else run_id
        row = history.run_row(store, new_id)
        if row is None:
            break
        if run_id is not None:
            raise taken(store, new_id)
    lock = RunLock(store.folder, new_id)
    try:
        return _open(store, lock, asked, on_dropped, kind, new_id, parent, step)
    except BaseException:
        lock.release()
        raise


def _open(
    store: Store,
    lock: RunLock,
    asked: _Asked,
    on_dropped: Literal["warn", "raise"],
    kind: str,
    run_id: str,
    parent: Record | None,
    step: int,
) -> TrackedRun:
    """Add a revision to a run, whose lock is held, and make it the current one."""
    old = parent
    own = kind != "forked"
    config = (
        asked.config
        if old is None
        else {**asked.config, **{k: v for k, v in old.config.items() if k not in asked.config}}
    )
    now = time.time()
    with store.writing("begin a run in") as connection:
        row = history.run_row(store, run_id)
        there = "SELECT 1 FROM revisions WHERE uid = ? AND kept_digest IS NULL"
        if old is not None and not store.read(there, (old.uid,)):  # it was purged since it was looked for
            raise not_found(store, old.run)
        if row is not None and not (own and kind != "begun"):
            raise taken(store, run_id)
        number = 1 + (store.read("SELECT max(number) FROM revisions WHERE run = ?", (run_id,))[0][0] or 0)
        facts = {
            "run": run_id,
            "number": number,
            "kind": kind,
            "parent": None if old is None else old.uid,
            "parent_step": step,
            "name": asked.name or (old.name if old is not None and own else run_id),
            "notes": asked.notes if asked.notes is not None or old is None else old.notes,
            "tags": json.dumps(asked.tags if asked.tags is not None else [] if old is None else old.tags),
            "config": json.dumps(config),
            "defined": json.dumps({} if old is None else old.defined),
            "limits": _limits(store, old),
            "state": "running",
            "began": now,
            "pid": os.getpid(),
            "host": platform.node(),
        }
        marks = ", ".join("?" * len(facts))
        query = f"INSERT INTO revisions ({', '.join(facts)}) VALUES ({marks})"
        uid = connection.execute(query, tuple(facts.values())).lastrowid
        project, entity = (row[0], row[1]) if row is not None else (None, None)
        if row is None and old is not None:
            above = history.run_row(store, old.run)
            project, entity = (above[0], above[1]) if above is not None else (None, None)
        project = asked.project if asked.project is not None else project
        entity = asked.entity if asked.entity is not None else entity
        if row is None:
            query = "INSERT INTO runs (id, project, entity, began, current) VALUES (?, ?, ?, ?, ?)"
            connection.execute(query, (run_id, project, entity, now, uid))
        else:
            query = "UPDATE runs SET current = ?, project = ?, entity = ? WHERE id = ?"
            connection.execute(query, (uid, project, entity, run_id))
    assert uid is not None
    return TrackedRun(store, history.record_of(store, uid), project, entity, lock, on_dropped)


def _limits(store: Store, parent: Record | None) -> str | None:
    """Return what is seen beside the rows of a parent that grows still, as JSON."""
    if parent is None or history.record_of(store, parent.uid).closed:
        return None
    return json.dumps(history.limits_of(store, parent.uid))


def _whole(store: Store, record: Record) -> Record:
    """Return a revision of a run whose lock is held: closed, where its writer was killed."""
    if record.closed:
        return record
    close(store, record.uid, "crashed", None)
    return history.record_of(store, record.uid)


def _unfinished(store: Store, project: str | None) -> str | None:
    """Return the last run of a project that was begun in this folder and did not finish."""
    query = """SELECT runs.id FROM runs JOIN revisions r ON r.uid = runs.current
               WHERE runs.removed = 0 AND runs.project IS ? AND r.state != 'finished' ORDER BY r.began DESC"""
    for (run_id,) in store.read(query, (project,)):
        try:
            RunLock(store.folder, run_id).release()
        except RunBusyError:  # it is running
            continue
        return str(run_id)
    return None


def _flush_here(folder: str, run_id: str) -> bool:
    """Write what waits in memory of a run that this process logs to; return whether it does."""
    here = [run for run in active.open_runs() if run.id == run_id and run.dir == folder and run.is_here]
    for run in here:
        run.flush()
    return bool(here)


# ---- arguments


def _label(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ArgumentTypeError(name, value, "a str")
    if value is not None and not is_text(value):
        raise ArgumentError(name, value, "text without half a surrogate pair")
    return value


def _seconds(value: Any) -> float | None:
    """Return the seconds between two samples, None for no samples."""
    if value is None or isinstance(value, bool):
        return 15.0 if value else None
    if not isinstance(value, (int, float)):
        raise ArgumentTypeError("system_metrics", value, "True, False or a number of seconds")
    if not 0.0 < value < 1e6:
        raise ArgumentError("system_metrics", value, "True, False or a number of seconds above 0")
    return float(value)


def _tags(tags: Any) -> list[str] | None:
    if tags is None:
        return None
    if isinstance(tags, str) or isinstance(tags, Mapping):
        raise ArgumentTypeError("tags", tags, "a list of str, such as ['baseline']")
    try:
        found = list(dict.fromkeys(tags))
    except TypeError:
        raise ArgumentTypeError("tags", tags, "a list of str, such as ['baseline']") from None
    if not all(isinstance(tag, str) for tag in found):
        raise ArgumentTypeError("tags", tags, "a list of str, such as ['baseline']")
    return found
