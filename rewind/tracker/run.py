"""`TrackedRun`: the run a program logs to."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ArgumentError, ArgumentTypeError, RevisionClosedError, RunFinishedError, StoreError, TrackerError
from ..metrics.metric import Metric
from ..runs.arguments import integer
from ..runs.options import Durability, Lossy, OnSignal, Options
from ..runs.progress import ProgressOption
from ..runs.run import Run
from ..state.codec import UserCodec
from .asked import label_of, tags_of
from .capture import Capture, Sampler
from .close import close
from .config import Config
from .draft import Draft
from .exits import forget
from .machine import packages
from .revision import OPEN, Revision, by_reference
from .simulation.record import MISSING, Request, Target, record
from .simulation.rows import past_steps, past_values, require_names
from .source import Choice, gathered, is_source, program
from .store import history, sampled
from .store.aggregates import Aggregates, Definitions
from .store.artifacts import TrackedArtifact, keep
from .store.configs import stored
from .store.damage import understood
from .store.database import Store, folder_of
from .store.history import Record
from .store.lock import RunLock
from .store.use import use
from .store.writer import Writer
from .summary import Summary
from .withdraw import withdraw

if TYPE_CHECKING:
    from typing_extensions import Self


class TrackedRun(Revision):
    """A run that this process logs to; `init` gives it.

    A context manager: leaving it is `finish`, with exit code 1 if an exception leaves it. May be used by several
    threads; not by a forked process.
    """

    def __init__(
        self,
        store: Store,
        record: Record,
        project: str | None,
        entity: str | None,
        lock: RunLock,
        on_dropped: Literal["warn", "raise"],
    ) -> None:
        super().__init__(store.folder, record, project, entity)
        self._store, self._lock = store, lock
        aggregates = (
            Aggregates() if record.parent is None else history.aggregates_at(store, record.parent, record.last_row)
        )
        self._writer = Writer(store, record.uid, self.starting_step, aggregates, record.defined, on_dropped)
        self._config = Config(record.settings[0], self._keep_config, self._writer.turn)
        self._summary = Summary(self._summary_now, self._assign, self._media_of_summary)
        self._finished = self._ending = False
        self._before: int | None = None  # the current revision of the run before this one
        self._in_vain = False  # it could not go on with its simulation
        self._pid = os.getpid()
        self._resources = contextlib.ExitStack()  # the capture of stdout, the sampler
        OPEN.add(self)

    # ---- where it stands

    @property
    def step(self) -> int:
        """The step of the open row, or of the next one; after a rewind to S at once S + 1."""
        return self._writer.step

    @property
    def finished(self) -> bool:
        """Whether `finish` was called."""
        return self._finished

    @property
    def is_here(self) -> bool:
        """Whether this process opened it: a fork does not log to the run of its parent."""
        return os.getpid() == self._pid

    @property
    def resumed(self) -> bool:
        """Whether it goes on with a run that was there before: resumed or rewound."""
        return self._record.kind in ("resumed", "rewound")

    @property
    def name(self) -> str:
        """Name for people; can be set."""
        return self._record.name

    @name.setter
    def name(self, name: str) -> None:
        self._set(name=label_of("name", name) or self.id)

    @property
    def notes(self) -> str | None:
        """Text for people; can be set."""
        return self._record.notes

    @notes.setter
    def notes(self, notes: str | None) -> None:
        self._set(notes=label_of("notes", notes))

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags for people; can be set, ``run.tags += ("baseline",)``."""
        return tuple(self._record.tags)

    @tags.setter
    def tags(self, tags: Sequence[str] | None) -> None:
        self._set(tags=tags_of(tags) or [])

    @property
    def group(self) -> str | None:
        """A label: what runs that belong together have in common; can be set."""
        return self._record.settings[1].get("group")

    @group.setter
    def group(self, group: str | None) -> None:
        self._set_label("group", group)

    @property
    def job_type(self) -> str | None:
        """A label, such as ``"train"``; can be set."""
        return self._record.settings[1].get("job_type")

    @job_type.setter
    def job_type(self, job_type: str | None) -> None:
        self._set_label("job_type", job_type)

    def _set_label(self, name: str, label: str | None) -> None:
        labels = {**self._record.settings[1], name: label_of(name, label)}
        kept = {key: text for key, text in labels.items() if text}
        self._set(config=stored(self._record.settings[0], kept))

    @property
    def url(self) -> str | None:
        """Where it is to be seen: the folder that has it."""
        return self._folder

    @property
    def config(self) -> Config:
        """The config: see `Config`."""
        return self._config

    @config.setter
    def config(self, values: Any) -> None:
        raise AttributeError("run.config cannot be replaced; run.config.update({...}) adds values")

    @property
    def summary(self) -> Summary:
        """The summary: the last value of each key, or what `define_metric` asked for; over all rows that are closed."""
        return self._summary

    # ---- logging

    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        """Log values at a step.

        Parameters
        ----------
        data : dict
            Names to numbers, text, bytes, None, arrays, tensors, and lists and dicts of them. Nested dicts become
            dotted names; a date, a path, a UUID is kept as text, an Enum as its value, a time span in seconds, a
            Decimal or a Fraction as a float; of media, such as an image, the files are kept beside the rows. ``_step``
            in it is the `step`. It is not changed, and may be changed after the call.
        step : int, optional
            Above the current step: the open row is written, and this step is the current one. Equal, or None: what is
            logged is added to the open row, and a name that is there gets the new value. Below: nothing is logged, and
            a `DroppedWarning` says so, or with ``init(on_dropped="raise")`` a `DroppedError`.
        commit : bool, optional
            Whether the row is written and the next step begins. Default: if `step` is None.

        Raises
        ------
        ArgumentTypeError
            If `data` is no dict, a name no text, `step` no integer; then nothing is logged.
        ArgumentError
            If data have one name twice, ``{"a": {"b": 1}, "a.b": 2}``, or another ``_step`` than `step`; nor then.
        LogValueError
            If a value cannot be kept; names it, and all else is logged.
        RunFinishedError
            After `finish`.
        StoreError
            If the disk is full, or the like: what was logged stays in memory until it can be written.

        Notes
        -----
        Some microseconds: rows go to the database many at a time, at the latest half a second later. A killed process
        loses what it logged since; `flush` waits for it.
        """
        self._log(data, step, commit, 2)

    def _log(self, data: Any, step: Any, commit: bool | None, stacklevel: int) -> None:
        writer = self._writer
        with writer.turn:
            self._require_open("log")
            writer.once(writer.log, self._log, (data, step, commit, stacklevel), 2)

    def flush(self) -> None:
        """Write all rows that are closed to the database.

        It belongs beside a checkpoint, before it: rows wait for up to half a second, and a process that is killed in
        between would have a checkpoint of a step whose rows are lost.

        Raises
        ------
        StoreError
            If they cannot be written, or the folder was deleted, moved or replaced.
        RevisionClosedError
            If another process closed this revision, after it had lost its lock.
        """
        with self._writer.turn:
            self._require_open("flush")
            self._writer.once(self._flush, self.flush)

    def _flush(self) -> None:
        self._writer.flush()
        self._store.require_mine()  # also where there was nothing to write

    def log_line(self, text: str) -> None:
        """Keep a line of text, or several, with the step at which it came.

        Raises
        ------
        ArgumentTypeError
            If it is no text.
        """
        if not isinstance(text, str):
            raise ArgumentTypeError("text", text, "a str")
        with self._writer.turn:
            self._require_open("log_line")
            self._writer.once(lambda: self._keep_lines("log", text), lambda: self.log_line(text))

    def _keep_lines(self, stream: str, text: str) -> None:
        for line in text.splitlines() or [""]:
            self._keep_line(stream, line)

    def _keep_line(self, stream: str, line: str) -> None:
        self._writer.beside(
            "INSERT OR REPLACE INTO lines (revision, n, step, stream, text) VALUES (?, ?, ?, ?, ?)",
            (self._writer.where(), stream, line.encode("utf-8", "backslashreplace").decode()),
        )

    def define_metric(
        self,
        name: str,
        step_metric: str | None = None,
        step_sync: bool | None = None,
        summary: str | None = None,
        overwrite: bool = False,
        hidden: bool | None = None,
        goal: Literal["minimize", "maximize"] | None = None,
    ) -> None:
        """Say what the summary of a metric shows, and what it is a function of.

        Parameters
        ----------
        name : str
            A name, or the beginning of names and a ``*`` at its end.
        step_metric : str, optional
            The metric that it is to be drawn against, such as ``"epoch"``. It is no place to rewind to: it may go back,
            which ``_step`` never does.
        step_sync : bool, optional
            Whether rows without the step metric get its last value. Default: True with `step_metric`.
        summary : str, optional
            Some of ``min, max, mean, first, last, best``: ``run.summary[name]`` is a dict of just these, over all rows
            from the first on. ``none``: it is not in the summary.
        overwrite : bool
            Whether what was defined for `name` before is forgotten, instead of added to.
        hidden : bool, optional
            Whether it is left out where metrics are drawn unasked.
        goal : {"minimize", "maximize"}, optional
            What is best of it; has to be said where `summary` asks for it.

        Raises
        ------
        ArgumentError, ArgumentTypeError
            If one of them is invalid.
        """
        writer = self._writer
        with writer.turn:
            self._require_open("define_metric")
            new = Definitions(writer.definitions)
            new.define(name, step_metric, summary, step_sync, bool(overwrite), hidden, goal)
            self._change(defined=new)
            writer.define(new)

    # ---- artifacts

    def log_artifact(
        self,
        path: str | os.PathLike[str] | Draft,
        name: str | None = None,
        type: str | None = None,
        aliases: Any = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> TrackedArtifact:
        """Keep a file or a folder, as a version of an artifact.

        Parameters
        ----------
        path : str or path-like, or Artifact
            A regular file, or a folder with all that is in it; or an artifact of `rewind.wandb`, which has a name, a
            type and metadata of its own.
        name : str, optional
            Letters, digits, ``.``, ``_`` and ``-``. Default: the name of the file or folder.
        type : str, optional
            A label, such as ``"model"``.
        aliases : str or sequence of str, optional
            Names for this version, beside ``latest``: ``use_artifact("NAME:ALIAS")`` finds it.
        metadata : mapping, optional
            JSON to keep with it.

        Returns
        -------
        artifact : TrackedArtifact
            A new version, or the old one with the same content; of an artifact of `rewind.wandb`, that.

        Raises
        ------
        TrackedArtifactError, ArgumentError, ArgumentTypeError
            If there is no such file, or a name is invalid.
        StoreError
            If it cannot be kept; then nothing of it is.
        """
        if isinstance(path, Draft):
            return path.log_to(self, aliases)  # type: ignore[no-any-return]
        where = self._write_for("log_artifact")
        with understood(self._store.path):
            return keep(self._store, self._record.uid, where, path, name, type, aliases, metadata)

    def use_artifact(self, name: str, type: str | None = None) -> TrackedArtifact:
        """Return an artifact, and keep that this run used it.

        Parameters
        ----------
        name : str
            ``NAME``, ``NAME:v0``, ``NAME:latest`` or ``NAME:ALIAS``. Aliases are those of this run's own past, where it
            has such an artifact; else of what other runs logged, and after a rewind or a fork ``latest`` is what the
            kept past used. A version of a future that a rewind archived is none, even by its number. Entity and
            project may stand before it, with ``/``: they are labels.
        type : str, optional
            What its type must be.

        Raises
        ------
        TrackedArtifactError
            If there is none; names what there is. Or if it is of another type.
        """
        where = self._write_for("use_artifact")
        with understood(self._store.path):
            return use(self._store, self._record.uid, where, name, type)

    def log_code(
        self,
        root: str | os.PathLike[str] | None = ".",
        name: str | None = None,
        include_fn: Choice | None = None,
        exclude_fn: Choice | None = None,
    ) -> TrackedArtifact | None:
        """Keep source code, as an artifact of the type ``code``.

        Parameters
        ----------
        root : str or path-like, optional
            The folder that it is in. None: only the file of the program that runs.
        name : str, optional
            Default: ``source-`` and the project, or else the name of the program.
        include_fn, exclude_fn : callable, optional
            Given a path, or a path and `root`: whether the file is taken, and whether it is left out all the same.
            Default: Python, Cython, notebooks and files of settings. Virtual environments and folders whose name
            begins with a dot are left out.

        Returns
        -------
        artifact : TrackedArtifact or None
            None where no file is code.

        Raises
        ------
        StoreError
            If it cannot be kept.
        """
        main = program()
        label = name or f"source-{self.project or os.path.basename(main or 'code')}"
        label = re.sub(r"[^A-Za-z0-9._-]", "_", label)[:128]
        if root is None:
            return None if main is None else self.log_artifact(main, label, "code")
        with gathered(os.fspath(root), include_fn or is_source, exclude_fn) as folder:
            return None if folder is None else self.log_artifact(folder, label, "code")

    # ---- its simulation

    def record(
        self,
        step_fn: Callable[..., Any] | None = None,
        init_state: Any = MISSING,
        n_steps: int | None = None,
        seed: int | None = None,
        *,
        observe: Mapping[str, Metric] | None = None,
        log_every: int | None = None,
        params: Mapping[str, Any] | None = None,
        noise: Literal["same", "fresh"] = "same",
        mutate: Callable[[Any], Any] | None = None,
        block_size: int | None = None,
        backend: Literal["python", "numpy"] = "python",
        self_check: bool = False,
        codec: UserCodec | None = None,
        memory_budget: int | str = 0,
        durability: Durability = "block",
        on_signal: OnSignal = None,
        checkpoint_budget: int | str | None = None,
        progress: ProgressOption = None,
        step_id: str | None = None,
        trial: bool = True,
        lossy: Lossy = "refuse",
    ) -> Run[Any]:
        """Record a simulation as part of this run, and log what is observed; or go on with the one it has.

        Parameters
        ----------
        step_fn : callable, optional
            As for `rewind.record`. To go on: the one it was recorded with, where this is left out; it must be given, or
            by `attach`, in a process that did not record it.
        init_state
            State 0, at the current step of the history. Left out, the simulation goes on from the state it has where
            the run stands: after a rewind to S, from the state at S. Given again as it was, with the same `seed`, it
            goes on, too, so that a job can be queued again as it is; one that is as long as `n_steps` is returned.
        n_steps : int
            Number of states in all, from state 0 of the whole simulation on. To go on: default as many as were asked
            for before.
        seed : int or None
            As for `rewind.record`. To go on: of the noise from there, with ``noise="fresh"``.
        observe : mapping of str to metric, optional
            As for `rewind.record`; each is logged under its name. To go on: default those from before.
        log_every : int, optional
            Log every so many steps of the simulation, and at the ends of its blocks; within one that takes longer,
            once a minute, too. Default: at the ends of blocks; to go on, as before.
        params : mapping, optional
            Parameters of every call. Those that are left out and that `step_fn` has by name are taken from the config.
        noise : {"same", "fresh"}
            To go on: draw what would have been drawn, so that the same step function with the same parameters gives the
            rows that were archived, byte for byte; or draw anew.
        mutate : callable, optional
            To go on: the intervention, as for `Run.branch`.
        block_size, backend, self_check, codec, memory_budget, checkpoint_budget
            As for `rewind.record`, which a simulation that goes on keeps.
        durability, on_signal, progress, step_id, trial, lossy
            As for `rewind.record`. To go on, another step function is tried.

        Returns
        -------
        run : Run
            What was recorded. Its file is part of this run: `replay`.

        Raises
        ------
        ArgumentError
            If there is a simulation that was begun with another state 0, seed, backend or block size.
        TrackerError
            If there is none, and `init_state` is left out.
        NondeterministicReplayError
            If a step function that was given to go on does not give what was recorded.
        StepError, RecordingInterrupted, StateError, MetricError, StoreError
            As for `rewind.record` and `log`. What was finished is kept, rows and states.

        Notes
        -----
        Kept as it grows: a process that is killed loses less than a second of rows, which are computed again when the
        run goes on. Row `s` of the history holds state ``s - first``, where `first` is the current step at the call.
        """
        options = Options(
            block_size=block_size,
            backend=backend,
            observe=observe,
            self_check=self_check,
            params=params,
            codec=codec,
            memory_budget=memory_budget,
            checkpoint_budget=checkpoint_budget,
            step_id=step_id,
            durability=durability,
            on_signal=on_signal,
            progress=progress,
            trial=trial,
            lossy=lossy,
        )
        request = Request(step_fn, init_state, n_steps, seed, log_every, noise, mutate, options)
        self._write_for("record")
        return record(Target(self._record, self._config, self._simulation(), self._writer, self._add_rows), request)

    def _add_rows(self, rows: list[tuple[int, dict[str, Any]]]) -> None:
        writer = self._writer
        with writer.turn:
            self._require_open("log")
            writer.once(lambda: writer.add_rows(rows), lambda: self._add_rows(rows))

    def backfill(self, metrics: Mapping[str, Metric], *, workers: int | None = None) -> int:
        """Compute metrics that were never logged, for the past rows of the simulation, by replay.

        Parameters
        ----------
        metrics : mapping of str to metric
            As `observe` of `record`: a callable of the state, None, or the name of an attribute or key.
        workers : int, optional
            As for `Run.series`.

        Returns
        -------
        n : int
            Number of rows that were given values: those of the simulation, its past included, that had none of that
            name. All of them are, or none.

        Raises
        ------
        ArgumentError
            If a name was logged already.
        TrackerError
            If there is no simulation.
        MissingStepError
            If the step function is not known: `attach`.
        MetricError
            If a metric does not give numbers.

        Notes
        -----
        What is computed belongs to this revision, and to what is rewound or forked from it; the archived ones stay as
        they were. About as many steps as the simulation has.
        """
        require_names(metrics, "metrics")
        self._write_for("backfill")
        simulation = self._simulation()
        if not simulation.parts:
            way = "run.record(step_fn, init_state, ...) makes one"
            raise TrackerError(f"{self.ref} has no simulation to replay; {way}")
        with self._reading() as store:
            steps, there = past_steps(store, self._record.uid, metrics.keys())
        found = past_values(simulation, metrics, steps, there, workers)
        with self._writer.turn, self._store.writing("backfill") as connection:  # all of it, or nothing
            query = "INSERT INTO backfilled (revision, name, step, value) VALUES (?, ?, ?, ?)"
            connection.executemany(query, [(self._record.uid, *values) for values in found])
            for name in metrics:
                sampled.keep_backfilled(self._store, self._record.uid, name)
        return len({step for _, step, _ in found})

    # ---- the end

    def finish(self, exit_code: int = 0) -> None:
        """Close the open row and the run; a second call does nothing.

        A rewind, a fork or a resumption that could not go on with its simulation, since the step function is missing,
        and that has logged nothing either, is taken back: the run is what it was before.

        Parameters
        ----------
        exit_code : int
            0 for a run that finished, anything else for one that failed.

        Raises
        ------
        StoreError
            If it cannot be written; `finish` can be tried again.
        RevisionClosedError
            If another process closed this revision, after it had lost its lock.
        """
        code = 0 if exit_code is None else integer("exit_code", exit_code)
        if not -(1 << 31) <= code < 1 << 31:
            raise ArgumentError("exit_code", exit_code, "an exit code, such as 0 or 1")
        if not self._finished:
            self._require_process()
        with self._writer.turn:
            if self._finished:
                self._let_go()  # Ctrl-C may have come in the middle of it
            else:
                self._writer.once(lambda: self._end(code), lambda: self.finish(code))

    def _end(self, code: int) -> None:
        try:
            if not self._ending:
                self._resources.close()
                self._writer.end()
                if self._in_vain and (left := withdraw(self._store, self._record, self._before)) is not None:
                    self._close_as(left)
                    return
                self._note_packages()
            self._ending = True  # from here on nothing is logged, whatever happens
            close(self._store, self._record.uid, "failed" if code else "finished", code, self._writer)
        except RevisionClosedError as error:
            # By this process, if it was this call that did not come to its end: others close it as crashed.
            if not (self._ending and error.state in ("finished", "failed")):
                self._finished = True  # there is nothing that another try could write
                self._let_go()
                raise
        self._close_as(history.record_of(self._store, self._record.uid))

    def _close_as(self, record: Record) -> None:
        self._record = record
        self._store.durable()
        self._finished = True
        self._let_go()

    def _lacks_functions(self) -> None:
        self._in_vain = True  # if this stays all there is: see `finish`

    def _note_packages(self) -> None:
        """Keep the versions of what was imported since it began, too."""
        here = self._record.machine
        if here is not None and (found := packages()) != here.get("packages"):
            self._change(machine={**here, "packages": found})

    def _let_go(self) -> None:
        """Give back what only a run that is not finished needs; a second call does nothing."""
        forget(self)
        self._store.close()
        self._lock.release()

    def __reduce__(self) -> tuple[Any, ...]:
        return by_reference, (self._folder, self.ref)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if kind is None:
            self.finish()
            return
        code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
        with contextlib.suppress(StoreError):  # what ended the block is what its caller must see
            self.finish(code if error is not None and not (isinstance(error, SystemExit) and not error.code) else 0)

    # ---- inside

    def _require_open(self, call: str) -> None:
        if self._finished or self._ending:
            elsewhere = self._folder if self._folder != folder_of(None) else None
            raise RunFinishedError(self.id, call, self._writer.step - 1, elsewhere)
        self._require_process()

    def _write_for(self, call: str) -> int:
        """Write what waits, for a call that goes by what is written; return the step that it belongs to."""
        with self._writer.turn:
            self._require_open(call)
            self._writer.flush()
            return self._writer.where()

    def _stands_at(self) -> int:
        return self._writer.where()

    def _require_process(self) -> None:
        if os.getpid() != self._pid:
            problem = f"process {self._pid} logs to run {self.id!r}, and this is a fork of it. Give it a run of its own"
            raise StoreError("use", self._store.path, problem)

    def _set(self, **facts: Any) -> None:
        with self._writer.turn:
            self._require_open("a change of its labels")
            self._change(**facts)

    def _change(self, **facts: Any) -> None:
        """Change what the database has of this revision: text as it is, all else as JSON."""
        for column, value in facts.items():
            text = value if column in ("name", "notes") else json.dumps(value)
            with self._store.writing() as connection:
                connection.execute(f"UPDATE revisions SET {column} = ? WHERE uid = ?", (text, self._record.uid))
        self._record = replace(self._record, **facts)

    def _keep_config(self, values: dict[str, Any]) -> None:
        with self._writer.turn:
            self._require_open("config")
            self._change(config=stored(values, self._record.settings[1]))

    def _assign(self, key: str, value: Any) -> None:
        with self._writer.turn:
            self._require_open("summary")
            self._writer.once(lambda: self._writer.assign(key, value), lambda: self._assign(key, value))

    def _media_of_summary(self, values: dict[str, Any]) -> dict[str, Any]:
        with self._writer.turn:
            self._require_open("summary")
            return self._writer.media_among(values, self._writer.where())

    def _summary_now(self) -> dict[str, Any]:
        if self._finished:
            return dict(super().summary)
        with self._reading() as store:
            self._writer.fold()
            return history.summary_of(store, self._record.uid, self._writer.aggregates, self._writer.definitions)

    def start_capture(self) -> None:
        """Keep what is printed from now on."""
        self._resources.callback(Capture(self._keep_printed).close)

    def _keep_printed(self, line: str) -> None:
        with self._writer.turn:
            if not self._finished:
                self._keep_line("stdout", line)

    def start_sampling(self, seconds: float) -> None:
        """Sample the processor and the memory from now on."""
        sampler = Sampler(seconds, self._keep_sample)
        self._resources.callback(sampler.close)

    def _keep_sample(self, now: float, cpu: float, memory: int) -> None:
        statement = "INSERT OR REPLACE INTO samples (revision, n, step, seconds, cpu, memory) VALUES (?, ?, ?, ?, ?, ?)"
        with self._writer.turn:
            if not self._finished:
                self._writer.beside(statement, (self._writer.where(), now, cpu, memory))

    def _write_out(self) -> None:
        if not self._finished and not self._ending:
            self.flush()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Store]:
        if self._finished:
            with super()._reading() as store:
                yield store
            return
        self._require_process()
        with self._writer.turn:
            if not self._finished:  # another thread may have, meanwhile
                if not self._ending:
                    self._writer.flush()
                with understood(self._store.path):
                    yield self._store
                return
        with super()._reading() as store:
            yield store
