"""`init`: begin a run, go on with one, rewind one to a step, or fork one from a step."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from ..errors import ArgumentError, PastEndWarning, RunBusyError
from ..steps.importing import ends_import
from . import active, tensorboard_writers
from .asked import Asked, Mode, OnDropped, Reinit, Resume, asked_for, in_notebook
from .close import close
from .disabled import DisabledRun
from .machine import keep_diff, machine, wants_code
from .moment import Moment, new_run_id, require_new_id
from .run import TrackedRun
from .simulation.parts import last_step
from .store import history
from .store.configs import stored
from .store.damage import understood
from .store.database import Store
from .store.history import Record
from .store.lock import RunLock
from .store.lookup import Found, find, moment_of, not_found, past_end, taken

AnyRun = TypeVar("AnyRun", bound=TrackedRun)


def init(
    project: str | None = None,
    *,
    entity: str | None = None,
    id: str | None = None,
    name: str | None = None,
    config: Any = None,
    tags: Sequence[str] | None = None,
    notes: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    dir: str | os.PathLike[str] | None = None,
    resume: Resume = None,
    resume_from: str | Moment | None = None,
    fork_from: str | Moment | None = None,
    mode: Mode | None = None,
    reinit: Reinit | None = None,
    config_include_keys: Sequence[str] | None = None,
    config_exclude_keys: Sequence[str] | None = None,
    allow_val_change: bool | None = None,
    save_code: bool | None = None,
    settings: Any = None,
    anonymous: Any = None,
    force: bool | None = None,
    monitor_gym: bool | None = None,
    sync_tensorboard: bool | None = None,
    tensorboard: bool | None = None,
    on_dropped: OnDropped = "warn",
    capture: bool = False,
    system_metrics: bool | float = False,
) -> TrackedRun:
    """Begin a tracked run, go on with one at its end, rewind one to a step, or fork one from a step.

    Nothing leaves the machine: everything is kept in one folder.

    Parameters
    ----------
    project, entity : str, optional
        Labels.
    id : str, optional
        Id of the run, none of whose characters is one of ``:;,#?/@'``, and the first one no ``-``. Default: a new one
        of 8 characters.
    name : str, optional
        For people. Default: the id.
    config : dict, argparse.Namespace, dataclass, str and the like, optional
        Parameters of the run: see `Config`; or the name of a YAML or JSON file with them. In a run that goes on, new
        values win and all other keys stay.
    tags, notes : sequence of str, str, optional
        For people. In a run that goes on, those that are given replace the old ones.
    group, job_type : str, optional
        Labels, such as ``"sweep-3"`` and ``"train"``; as tags in a run that goes on.
    dir : str or path-like, optional
        The tracker's folder, or one in which it is as ``.rewind``. Default: the environment's ``REWIND_DIR``, else
        ``.rewind`` in the working directory.
    resume : {"allow", "must", "never", "auto"}, optional
        Whether to go on at the end of the run `id`. ``allow``: if there is one. ``must``: an error if there is none.
        ``never``, which is the default: an error if there is one. ``auto``, or True: if there is one; without an `id`,
        the last run of the project in this folder that did not finish.
    resume_from : str, optional
        Rewind: a moment ``"ID?_step=200"`` of the run, or of an archived revision of it: ``"ID@REV?_step=200"``, or a
        digest, whole or its first eight letters or more, in the place of the id. Rows up to step 200 are kept, logging
        goes on at 201, and what came after is archived. -1 keeps no row. A step past the end keeps all, and logging
        goes on after that step: with a `PastEndWarning`. With ``resume="allow"`` it begins the run if there is none.
    fork_from : str, optional
        A new run that begins as that moment does; the other one stays as it is.
    mode : {"online", "offline", "disabled"}, optional
        ``disabled``: the run takes everything, and writes nothing. Everything else is the same: nothing leaves the
        machine.
    reinit : bool or {"default", "return_previous", "finish_previous", "create_new"}, optional
        What to do where a run of this process is open. True, or ``finish_previous``: finish all that are. False, or
        ``return_previous``: return the latest, and do nothing else. ``create_new``: begin another beside it.
        ``default``: in a notebook as ``finish_previous``, else as ``return_previous``. Left out, a call that says no
        more than `project`, `entity` and `dir`, and these as they are, is as ``default``; any other as ``create_new``.
    config_include_keys, config_exclude_keys : sequence of str, optional
        Only these keys of `config`; all but these.
    allow_val_change : bool, optional
        For programs that give it: what a run that goes on is given as `config` always wins.
    save_code : bool, optional
        False: the git commit of the working directory is not kept, nor how its files differ from that; also where the
        environment has ``REWIND_NO_CODE=1``. See `TrackedRun.machine`. True: the file of the program is kept, too, as
        by `TrackedRun.log_code`.
    settings : dict or object with fields, optional
        ``run_id``, ``run_name``, ``run_group``, ``root_dir`` and the like: what keywords do not say.
    sync_tensorboard, tensorboard : bool, optional
        Whether what writers of TensorBoard are given in this process is logged, too: scalars, text, histograms, images
        and sounds, at their step, and parameters as config. Those of torch and tensorboardX are followed.
    anonymous, force, monitor_gym : optional
        Are about a server, or not there: an `IgnoredWarning` names those that are given.
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
        If a moment cannot be read.
    RunNotFoundError
        If there is no such run or revision; names the nearest.
    RunExistsError
        If `id` is taken, and none of the three ways to go on is asked for.
    RunBusyError
        If another process, or another place in this one, logs to the run; names it.
    ArgumentError, ArgumentTypeError
        If arguments are invalid, or exclude each other.
    StoreError, StoreVersionError, StoreDamagedError
        If the folder cannot be used.

    Notes
    -----
    A rewind or a fork copies no row: it takes milliseconds, however long the run is. A run whose process was killed can
    be resumed, rewound or forked like any other.

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
    given = dict(locals())
    ends_import("init")
    return begin(TrackedRun, DisabledRun, asked_for(given))


def begin(kind: type[AnyRun], disabled: type[AnyRun], asked: Asked) -> AnyRun:
    """Return the run that is asked for, of one class or, where nothing is to be written, of another; or an open one."""
    there = _open_already(asked)
    if there is not None:
        return cast("AnyRun", there)
    if asked.disabled:
        run: AnyRun = disabled.of(asked)  # type: ignore[attr-defined]
        active.make_latest(run)
        return run
    folder = asked.folder
    text = asked.fork_from if asked.resume_from is None else asked.resume_from
    moment = None if text is None else moment_of(folder, text)
    if moment is not None:
        _require_id(asked.id, moment, forks=asked.resume_from is None)
    with understood(folder), contextlib.ExitStack() as undo:  # an error closes the store and gives back the locks
        store = Store(folder, write=True)
        undo.callback(store.close)
        if moment is None:
            start = _begin_or_resume(store, asked.id, asked.resume, asked.project, undo)
        elif asked.resume_from is not None:
            start = _rewind(store, moment, undo, or_begin=asked.requeued)
        else:
            start = _fork(store, moment, asked.id, undo)
        if start.past_end is not None and start.parent is not None:
            growing = not start.parent.record.closed
            warnings.warn(PastEndWarning(moment, start.step, start.past_end, growing), stacklevel=3)
        run = _open(store, start, asked, kind, *machine(wants_code(asked.save_code is not False)))
        undo.pop_all()
    try:
        if asked.capture:
            run.start_capture()
        if asked.seconds is not None:
            run.start_sampling(asked.seconds)
        if asked.save_code:
            run.log_code(None)
        if asked.follow_tensorboard:
            tensorboard_writers.follow(run)
    except BaseException:
        run.finish(1)
        raise
    active.make_latest(run)
    return run


def _open_already(asked: Asked) -> TrackedRun | None:
    """Return the open run that a second call means; finish those that are open, where it says so."""
    run, way = active.open_run(), asked.reinit
    if run is None or way == "create_new":
        return None
    if way is None:
        same = asked.is_bare and run._folder == asked.folder and asked.project in (None, run.project)
        if not same or asked.entity not in (None, run.entity) or asked.disabled:
            return None
    if way is None or way == "default":
        way = "finish_previous" if in_notebook() else "return_previous"
    if way in ("return_previous", False):
        return run
    for one in active.open_runs():
        if one.is_here:
            one.finish()
    return None


@dataclass(frozen=True)
class _Start:
    """Where a revision begins: in a run whose lock is held, after a step of its parent."""

    kind: str
    run_id: str
    lock: RunLock
    parent: Found | None = None
    step: int = -1
    past_end: int | None = None  # the last step of the parent, where `step` comes after it

    @property
    def is_new(self) -> bool:
        """Whether it is the first of its run."""
        return self.kind in ("begun", "forked")


# ---- where it begins: each run is looked up once, and handed down


def _begin_or_resume(
    store: Store, run_id: str | None, resume: Resume, project: str | None, undo: contextlib.ExitStack
) -> _Start:
    if resume == "must" and run_id is None:
        raise ArgumentError("id", None, "the run to resume, with resume='must'")
    if (resume is True or resume == "auto") and run_id is None:
        run_id = _unfinished(store, project)
    row = None if run_id is None else history.run_row(store, run_id)
    if run_id is None or row is None:
        if resume == "must":
            raise not_found(store, str(run_id))
        new_id = _free_id(store, run_id)
        return _Start("begun", new_id, _locked(store, new_id, undo))
    if row.removed or resume not in ("must", "allow", "auto", True):
        raise taken(store, run_id)
    lock = _locked(store, run_id, undo)
    _end_killed(store, run_id)
    parent = find(store, run_id)  # not before there is a lock: it goes on at the very end
    return _Start("resumed", run_id, lock, parent, last_step(store, parent.record.uid))


def _rewind(store: Store, moment: Moment, undo: contextlib.ExitStack, or_begin: bool) -> _Start:
    if history.run_row(store, moment.run_id) is None:  # before there is a lock file for it
        if or_begin and moment.revision is None:
            new_id = _free_id(store, moment.run_id)
            return _Start("begun", new_id, _locked(store, new_id, undo))
        raise not_found(store, moment.run_id)
    lock = _locked(store, moment.run_id, undo)
    _end_killed(store, moment.run_id)
    parent = find(store, moment.run_id, moment.revision)  # not before there is a lock: another may have rewound it
    past = past_end(store, moment, parent.record)
    return _Start("rewound", moment.run_id, lock, parent, moment.step, past)


def _fork(store: Store, moment: Moment, run_id: str | None, undo: contextlib.ExitStack) -> _Start:
    parent = find(store, moment.run_id, moment.revision)
    if not parent.record.closed and not _flush_here(store.folder, moment.run_id):
        parent = _end_if_killed(store, parent)
    past = past_end(store, moment, parent.record)
    new_id = _free_id(store, run_id)
    return _Start("forked", new_id, _locked(store, new_id, undo), parent, moment.step, past)


def _locked(store: Store, run_id: str, undo: contextlib.ExitStack) -> RunLock:
    lock = RunLock(store.folder, run_id)
    undo.callback(lock.release)
    return lock


def _free_id(store: Store, run_id: str | None) -> str:
    """Return the id of a new run: that which is asked for, or a random one."""
    new_id = new_run_id() if run_id is None else run_id
    require_new_id(new_id)
    while history.run_row(store, new_id) is not None:
        if run_id is not None:
            raise taken(store, new_id)
        new_id = new_run_id()
    return new_id


def _end_killed(store: Store, run_id: str) -> None:
    """Close what a killed writer left of a run whose lock is held."""
    for (uid,) in store.read(
        "SELECT uid FROM revisions WHERE run = ? AND digest IS NULL AND kept_digest IS NULL", (run_id,)
    ):
        close(store, uid, "crashed", None)


def _end_if_killed(store: Store, found: Found) -> Found:
    """Return an open revision: closed, if its writer was killed; as it is, if that still writes."""
    record = found.record
    try:
        lock = RunLock(store.folder, record.run)
    except RunBusyError:
        return found
    try:
        close(store, record.uid, "crashed", None)
        return find(store, record.run, record.number)
    finally:
        lock.release()


def _flush_here(folder: str, run_id: str) -> bool:
    """Write what waits in memory of a run that this process logs to; return whether it does."""
    here = [run for run in active.open_runs() if run.id == run_id and run._folder == folder and run.is_here]
    for run in here:
        run.flush()
    return bool(here)


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


# ---- opening it


def _open(store: Store, start: _Start, asked: Asked, kind: type[AnyRun], here: dict[str, Any], diff: bytes) -> AnyRun:
    """Add a revision to its run, and make it the current one."""
    project, entity = (None, None) if start.parent is None else start.parent[1:]
    project = project if asked.project is None else asked.project
    entity = entity if asked.entity is None else asked.entity
    with store.writing("begin a run in") as connection:
        before = history.run_row(store, start.run_id)
        parent = None if start.parent is None else _as_it_is_now(store, start.parent.record)
        if start.is_new and before is not None:
            raise taken(store, start.run_id)
        facts = {**_facts(store, start, asked, parent), "machine": json.dumps(here)}
        marks = ", ".join("?" * len(facts))
        query = f"INSERT INTO revisions ({', '.join(facts)}) VALUES ({marks})"
        uid = connection.execute(query, tuple(facts.values())).lastrowid
        if start.is_new:
            query = "INSERT INTO runs (id, project, entity, began, current) VALUES (?, ?, ?, ?, ?)"
            connection.execute(query, (start.run_id, project, entity, facts["began"], uid))
        else:
            query = "UPDATE runs SET current = ?, project = ?, entity = ? WHERE id = ?"
            connection.execute(query, (uid, project, entity, start.run_id))
        assert uid is not None
        if diff:
            keep_diff(store, uid, start.step, diff)
    record = history.record_of(store, uid)
    store.hold(uid, record.run, record.number, record.began)
    run = kind(store, record, project, entity, start.lock, asked.on_dropped)
    run._before = None if before is None else before.current
    return run


def _as_it_is_now(store: Store, parent: Record) -> Record:
    """Return a parent within the transaction: it may grow still, or have been purged since it was looked up."""
    found = history.records(store, "uid = ? AND kept_digest IS NULL", (parent.uid,))
    if not found:
        raise not_found(store, parent.run)
    return found[0]


def _facts(store: Store, start: _Start, asked: Asked, parent: Record | None) -> dict[str, Any]:
    """Return the columns of a new revision: what is asked for, else what its parent has."""
    ((number,),) = store.read("SELECT coalesce(max(number), 0) + 1 FROM revisions WHERE run = ?", (start.run_id,))
    name, notes, tags, config, labels = asked.name, asked.notes, asked.tags, asked.config, asked.labels
    defined: dict[str, Any] = {}
    limits = None
    if parent is not None:
        notes = parent.notes if notes is None else notes
        tags = parent.tags if tags is None else tags
        before, old = parent.settings
        config = {**config, **{key: value for key, value in before.items() if key not in config}}
        labels = {**old, **labels}
        defined = parent.defined
        name = parent.name if not name and not start.is_new else name
        limits = None if parent.closed else json.dumps(history.limits_of(store, parent.uid, start.step))
    return {
        "run": start.run_id,
        "number": number,
        "kind": start.kind,
        "parent": None if parent is None else parent.uid,
        "parent_step": start.step,
        "name": name or start.run_id,
        "notes": notes,
        "tags": json.dumps(tags or []),
        "config": json.dumps(stored(config, labels)),
        "defined": json.dumps(defined),
        "limits": limits,
        "state": "running",
        "began": time.time(),
        "pid": os.getpid(),
        "host": platform.node(),
    }


# ---- arguments


def _require_id(run_id: str | None, moment: Moment, forks: bool) -> None:
    """Refuse an id that does not go with the moment."""
    if forks and run_id == moment.run_id:
        advice = f"Leave id out or give another one; resume_from={str(moment)!r} rewinds the run itself"
        raise ArgumentError("id", run_id, "another id than the run that is forked", advice)
    if not forks and run_id not in (None, moment.run_id):
        advice = f"Leave id out, or use fork_from={str(moment)!r} to make a new run {run_id!r} of it"
        raise ArgumentError("id", run_id, f"the run of resume_from, {moment.run_id!r}", advice)
