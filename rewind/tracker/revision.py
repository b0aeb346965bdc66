"""`Revision`: what was logged in a run, for reading."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError, ArgumentTypeError, StepRangeError
from ..runs.arguments import integer
from ..runs.run import Run
from ..state.codec import UserCodec
from .machine import diff_file, duration_of
from .media import MediaFile
from .moment import Moment, reference
from .simulation.parts import Attached, Simulation, attached, parts
from .simulation.rows import require_replayed
from .store import history, sampled
from .store import lineage as chain
from .store.artifact_lookup import used
from .store.artifacts import TrackedArtifact, logged
from .store.damage import understood
from .store.database import Store
from .store.history import END, Record
from .store.keys import lacking, require_known
from .store.lock import is_held
from .store.lookup import find
from .store.media import media_files
from .store.values import restored

if TYPE_CHECKING:
    from typing_extensions import Self


class Revision:
    """A revision of a tracked run, for reading: rows, summary, config, artifacts, lines, simulation.

    `Tracker.run` and ``run.revisions`` give it. Each writer of a run, and each rewind, adds one; a closed one never
    changes. It sees its own rows, and those of its parents up to the steps it left them at.
    """

    def __init__(self, folder: str, record: Record, project: str | None, entity: str | None) -> None:
        self._folder, self._record, self._project, self._entity = folder, record, project, entity
        self._given: list[Attached] = []
        self._proved: set[str] = set()  # files whose states these functions give

    # ---- what it is

    @property
    def id(self) -> str:
        """Id of the run, the same for all its revisions."""
        return self._record.run

    @property
    def revision(self) -> int:
        """Number of the revision: 1 for the first, and never given to another."""
        return self._record.number

    @property
    def ref(self) -> str:
        """``ID@REV``: what `Tracker.run` and the command line take."""
        return self._record.ref

    @property
    def kind(self) -> str:
        """How it began: ``begun``, ``resumed``, ``rewound`` or ``forked``."""
        return self._record.kind

    @property
    def dir(self) -> str:
        """The tracker's folder."""
        return self._folder

    @property
    def project(self) -> str | None:
        """A label."""
        return self._project

    @property
    def entity(self) -> str | None:
        """A label."""
        return self._entity

    @property
    def group(self) -> str | None:
        """A label: what runs that belong together have in common."""
        return self._record.settings[1].get("group")

    @property
    def job_type(self) -> str | None:
        """A label, such as ``"train"``."""
        return self._record.settings[1].get("job_type")

    @property
    def sweep_id(self) -> str | None:
        """Id of the sweep that it is a trial of, if it is one."""
        return self._record.settings[1].get("sweep")

    @property
    def name(self) -> str:
        """Name for people."""
        return self._record.name

    @property
    def notes(self) -> str | None:
        """Text for people."""
        return self._record.notes

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags for people."""
        return tuple(self._record.tags)

    @property
    def status(self) -> str:
        """How it ended: ``running``, ``finished`` (exit code 0), ``failed`` (another), ``crashed`` or ``purged``.

        Crashed: its process ended without `finish`. Purged: only what other runs see of it is left.
        """
        if self._record.state == "running" and not is_held(self._folder, self.id):
            return "crashed"
        return self._record.state

    @property
    def exit_code(self) -> int | None:
        """What `finish` was given; None for one that was not finished."""
        return self._record.exit_code

    @property
    def began(self) -> float:
        """When it began, in seconds since 1970."""
        return self._record.began

    @property
    def ended(self) -> float | None:
        """When it was closed, in seconds since 1970."""
        return self._record.ended

    @property
    def duration(self) -> float:
        """For how many seconds it was logged to: until it was closed, or else up to its last row; not in its past."""
        with self._reading() as store:
            return duration_of(store, self._record)

    @property
    def machine(self) -> dict[str, Any]:
        """Where and how it was logged; empty for what releases before 0.6 logged.

        ``command`` and ``arguments`` of the process, its ``directory``, ``host``, ``system``, ``python``, and
        ``packages``: the versions of those that were imported. Where the directory is in a git repository, ``git``: its
        ``commit``, whether it was ``dirty`` when the process began its first run, and ``diff``, the path of a file with
        the differences, to be read and not written to. ``init(save_code=False)`` leaves ``git`` out.
        """
        found = dict(self._record.machine or {})
        if "git" in found:
            with self._reading() as store:
                diff = diff_file(store, self._record.uid)
            found["git"] = {**found["git"], "diff": None if diff is None else diff[0]}
        return found

    @property
    def starting_step(self) -> int:
        """The first step that it can log: 0, or the one after the step it was rewound or forked at."""
        return self._record.parent_step + 1

    @property
    def digest(self) -> str | None:
        """Digest over its rows, config, summary, artifacts and the digest of its parent; None until it is closed.

        Outside of it are project and entity, times, process and host, and the type and the metadata of artifacts.
        It never changes and names this revision in any folder: whole, or its first eight letters or more, it can be
        given wherever a run is named.
        """
        return self._record.digest

    @property
    def lineage(self) -> tuple[Moment, ...]:
        """The moments it comes from: of its parent, of the parent of that, ... of the root; empty for a root."""
        with self._reading() as store:
            return chain.lineage(store, self._record.uid)

    @property
    def forked_from(self) -> Moment | None:
        """The moment, with its revision, that the run was rewound to or forked from last; None for neither.

        Of a run that was resumed since, that which it had before: `lineage` has all of them.
        """
        with self._reading() as store:
            return chain.forked_from(store, self._record.uid)

    @property
    def revisions(self) -> list[Revision]:
        """All revisions of the run, the first one first."""
        with self._reading() as store:
            found = history.records(store, "run = ? ORDER BY number", (self.id,))
        return [Revision(self._folder, record, self._project, self._entity) for record in found]

    @property
    def config(self) -> Any:
        """The config, as a dict."""
        return self._record.settings[0]

    # ---- what was logged

    @property
    def last_step(self) -> int:
        """Step of the last row; -1 where there is none."""
        with self._reading() as store:
            return history.last_step(store, self._record.uid)

    @property
    def summary(self) -> Any:
        """The summary over exactly the rows that it sees, as a dict."""
        if self._record.summary is not None:
            with understood(f"the summary of {self.ref}"):
                return {key: restored(value) for key, value in self._record.summary.items()}
        with self._reading() as store:
            return history.summary_of(store, self._record.uid)

    def history(
        self,
        keys: Sequence[str] | None = None,
        min_step: int = 0,
        max_step: int | None = None,
        *,
        samples: int | None = None,
        times: bool = False,
    ) -> list[dict[str, Any]]:
        """Return the rows, complete and in order: those of its past, then its own.

        Parameters
        ----------
        keys : sequence of str, optional
            Only these keys, and only rows that have one of them. ``_timestamp`` is when a row was logged, in seconds
            since 1970, ``_runtime`` for how many seconds the run had been logged to.
        min_step, max_step : int
            Steps from `min_step` up to, not including, `max_step`. Default: all.
        samples : int, optional
            At most so many buckets instead of the rows, each over about as many rows, one after another.
        times : bool
            Whether rows have ``_timestamp`` and ``_runtime`` without being asked by `keys`.

        Returns
        -------
        rows : list of dict
            ``_step`` first. ``pandas.DataFrame(run.history())`` is a table. Of a bucket ``_first`` and ``_step``, the
            steps of its first and its last row, and for each key a dict of ``min``, ``max`` and ``last`` over exactly
            these rows. A NaN is neither min nor max; where there is no other number there is a ``last`` only. None
            does not count.

        Raises
        ------
        ArgumentError
            If no row has any of `keys` and one of them may mean another one, as ``loss`` does ``train.loss``: names it.

        Notes
        -----
        With `samples` a few thousand numbers are read, which are kept as rows are written, however many there are: a
        million rows take milliseconds. What releases before 0.6 logged is read row by row.
        """
        if samples is None:
            return [row for some in self._history(keys, min_step, max_step, times) for row in some]
        n = integer("samples", samples)
        if n < 1:
            raise ArgumentError("samples", samples, "a number of buckets >= 1")
        if times or (keys is not None and any(key in history.TIMES for key in keys)):
            raise ArgumentError("samples", samples, "no times as well", "Ask for the times of the rows themselves")
        names, low, high = _keys(keys), *_window(min_step, max_step)
        self._write_out()
        store = Store(self._folder)
        try:
            with understood(store.path), store.snapshot():
                found = sampled.sampled(store, history.spans(store, self._record.uid), n, names, low, high)
                require_known(store, self._record.uid, lacking(names or (), found))
                return found
        finally:
            store.close()

    def scan_history(
        self,
        keys: Sequence[str] | None = None,
        min_step: int = 0,
        max_step: int | None = None,
        *,
        times: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Yield what `history` returns, row by row: for a history that does not fit in memory.

        Parameters
        ----------
        keys, min_step, max_step, times
            As for `history`.
        """
        found = self._history(keys, min_step, max_step, times)
        return (row for some in found for row in some)

    def _history(
        self, keys: Sequence[str] | None, min_step: int, max_step: int | None, times: bool
    ) -> Iterator[list[dict[str, Any]]]:
        names, low, high = _keys(keys), *_window(min_step, max_step)
        self._write_out()
        return self._scan(names, low, high, times)

    def _scan(self, keys: list[str] | None, low: int, high: int, times: bool) -> Iterator[list[dict[str, Any]]]:
        # A connection of its own, and no lock: nobody knows when, or in which thread, it is asked for the next row.
        store = Store(self._folder)
        try:
            with understood(store.path):
                seen, missing = history.spans(store, self._record.uid), list(keys or ())
                for rows in history.batches(store, seen, keys, low, high, times):
                    missing = lacking(missing, rows)
                    yield rows
                require_known(store, self._record.uid, missing)
        finally:
            store.close()

    def _write_out(self) -> None:
        """Write what waits in memory."""

    def logs(self, min_step: int = 0, max_step: int | None = None) -> list[tuple[int, str, str]]:
        """Return ``(step, stream, text)`` of each line that was logged, its past included.

        The stream is ``log`` for `TrackedRun.log_line`, ``stdout`` for captured output. The step is that of the row
        that was open, or of the last one: -1 before the first.
        """
        low, high = _window(min_step, max_step)
        with self._reading() as store:
            columns = "t.step, t.stream, t.text"
            return history.beside(store, self._record.uid, "lines", columns, low if min_step else -1, high)

    def system(self) -> list[dict[str, Any]]:
        """Return the samples of ``init(system_metrics=...)``: ``_step``, ``seconds``, ``cpu`` (%), ``memory`` (bytes).

        `seconds` since 1970; `cpu` of this process, 100 for one processor; `memory` that is resident.
        """
        with self._reading() as store:
            columns = "t.step, t.seconds, t.cpu, t.memory"
            rows = history.beside(store, self._record.uid, "samples", columns)
        return [dict(zip(("_step", "seconds", "cpu", "memory"), row, strict=True)) for row in rows]

    @property
    def artifacts(self) -> list[TrackedArtifact]:
        """The artifacts that were logged, in its past and by itself, in order."""
        with self._reading() as store:
            return logged(store, self._record.uid)

    @property
    def used_artifacts(self) -> list[TrackedArtifact]:
        """The artifacts that were used, in its past and by itself, in order."""
        with self._reading() as store:
            return used(store, self._record.uid)

    @property
    def media(self) -> list[MediaFile]:
        """The files that its rows speak of, such as images: each with the step of its row, in the order they came."""
        with self._reading() as store:
            return media_files(store, history.spans(store, self._record.uid))

    # ---- its simulation

    def attach(
        self,
        step_fn: Callable[..., Any],
        *,
        observe: Mapping[str, Any] | None = None,
        codec: UserCodec | None = None,
        allow_pickle: bool = False,
    ) -> Self:
        """Give the step function of its simulation, which no file holds; not needed in the process that recorded it.

        Parameters
        ----------
        step_fn : callable
            What it was recorded with. A run with several step functions is given each of them, by as many calls.
        observe : mapping of str to metric, optional
            The metrics that were functions.
        codec, allow_pickle
            As for `rewind.load`.

        Returns
        -------
        run
            This one.
        """
        self._given.append(attached(step_fn, observe, codec, allow_pickle))
        return self

    @property
    def replay(self) -> Run[Any] | None:
        """The simulation that was kept: the newest recording, up to where the run stands; None where there is none.

        A `rewind.Run` whose step 0 is step `replay_start` of the history. Of a run that went on from a moment it is
        what was recorded since; `state_at` knows every step. Cut to a step, it has nothing observed: the history does.

        Raises
        ------
        MissingStepError
            If its end has to be replayed and the step function is not known: `attach`.
        """
        step = self._stands_at()
        simulation = self._simulation()
        return simulation.kept(step) if simulation.begun_by(step) else None

    @property
    def replay_start(self) -> int | None:
        """Step of the history at which step 0 of `replay` is; None where there is none."""
        step = self._stands_at()
        simulation = self._simulation()
        return simulation.part_at(step).first if simulation.begun_by(step) else None

    @property
    def state(self) -> Any:
        """The exact state of the simulation where the run stands: after a rewind to S, at S. A private copy.

        Raises
        ------
        TrackerError
            If there is no simulation.
        MissingStepError
            If it has to be replayed and the step function is not known: `attach`.
        NondeterministicReplayError
            If a step function that was attached does not give the stored states around it.
        """
        return self._simulation().state_at(self._stands_at())

    def state_at(self, step: int) -> Any:
        """Return the exact state of the simulation at a step of the history; as for `state`.

        After the end of a recording it stands still, up to where the next one goes on.

        Raises
        ------
        StepRangeError
            If the run has not come so far.
        """
        t, stands, simulation = integer("step", step), self._stands_at(), self._simulation()
        if t > stands and t > simulation.end():
            raise StepRangeError(t, max(stands, simulation.end()) + 1)
        return simulation.state_at(t)

    def verify_history(self) -> int:
        """Return how many rows of the history the simulation gives again, byte for byte: all that it logged.

        Raises
        ------
        HistoryMismatchError
            At the first row that it does not give, or that is missing.
        MissingStepError
            If the step function, or the function of a metric, is not known: `attach`.
        """
        with self._reading() as store:
            return require_replayed(store, self._simulation(store), self._record.uid)

    def _stands_at(self) -> int:
        return self.last_step

    def _simulation(self, store: Store | None = None) -> Simulation:
        with contextlib.ExitStack() as stack:
            there = stack.enter_context(self._reading()) if store is None else store
            found = parts(there, self._record.uid)
        return Simulation(self._folder, self.ref, found, self._given, self._proved, self._lacks_functions)

    def _lacks_functions(self) -> None:
        """What is called when functions are needed that are not known."""

    # ---- reading

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Store]:
        store = Store(self._folder)
        try:
            with understood(store.path), store.snapshot():
                yield store
        finally:
            store.close()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Revision):
            return NotImplemented
        return (self._folder, self._record.uid) == (other._folder, other._record.uid)

    def __hash__(self) -> int:
        return hash((self._folder, self._record.uid))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.ref}: {self.kind}, {self.status}, starting at step {self.starting_step}>"


def _keys(keys: object) -> list[str] | None:
    """Return names of keys, each once; None for all."""
    if keys is None:
        return None
    names: list[Any] = list(keys) if isinstance(keys, Iterable) and not isinstance(keys, (str, bytes)) else [None]
    if not all(isinstance(name, str) for name in names):
        raise ArgumentTypeError("keys", keys, "a list of names, such as ['loss']")
    return list(dict.fromkeys(names))


def _window(min_step: int, max_step: int | None) -> tuple[int, int]:
    """Return the first step of a window, and the one after its last."""
    low, high = integer("min_step", min_step), END if max_step is None else integer("max_step", max_step)
    return min(max(low, 0), END), min(max(high, 0), END)


#: The runs that this process logs to, as far as somebody holds them.
OPEN: weakref.WeakSet[Any] = weakref.WeakSet()


def by_reference(folder: str, ref: str) -> Revision:
    """Return a run as a pickle has it: that one, where this process has it open; else what was logged, for reading."""
    for run in OPEN:
        if run.is_here and (run._folder, run.ref) == (folder, ref):
            return run  # type: ignore[no-any-return]
    run_id, number = reference(ref)
    store = Store(folder)
    try:
        return Revision(folder, *find(store, run_id, number, removed=True))
    finally:
        store.close()
