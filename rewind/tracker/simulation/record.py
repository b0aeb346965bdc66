"""A run that records its simulation, and computes past metrics by replay."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from ...engine.sweep import Plan
from ...errors import ArgumentError, ArgumentTypeError, RecordingInterrupted, StepError, StoreError, TrackerError
from ...metrics.metric import Metric
from ...runs.arguments import codec_of, integer, n_steps_of
from ...runs.branch import branch_plan
from ...runs.execute import run_plan
from ...runs.options import Durability, OnSignal, Options, durability_of, signals_of
from ...runs.plan import make_plan
from ...runs.progress import ProgressOption, reporter
from ...runs.run import Run
from ...state.codec import StateCodec, UserCodec
from ...state.columns import is_text
from ...steps.signature import parameter_names, params_of, params_taken
from ..revision import Revision
from ..store import history
from ..store.lock import file_stem
from ..store.values import text
from .parts import Attached, Part, Simulation, recording_of, remember
from .rows import Tap, seen_until, values_at

if TYPE_CHECKING:
    from ..store.database import Store
    from ..store.writer import Writer


class _Missing:
    def __repr__(self) -> str:
        return "<none>"


_MISSING: Any = _Missing()


class Simulating(Revision):
    """What a run that is logged to adds: `record` and `backfill`."""

    _store: Store
    _writer: Writer

    def _require_open(self, call: str) -> None:
        raise NotImplementedError

    def _stands_at(self) -> int:
        return self._writer.where()

    def record(
        self,
        step_fn: Callable[..., Any] | None = None,
        init_state: Any = _MISSING,
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
            Log every so many steps of the simulation, and at the ends of its blocks. Default: at the ends of blocks; to
            go on, as before.
        params : mapping, optional
            Parameters of every call. Those that are left out and that `step_fn` has by name are taken from the config.
        noise : {"same", "fresh"}
            To go on: draw what would have been drawn, so that the same step function with the same parameters gives the
            rows that were archived, byte for byte; or draw anew.
        mutate : callable, optional
            To go on: the intervention, as for `Run.branch`.
        block_size, backend, self_check, codec, memory_budget, checkpoint_budget
            As for `rewind.record`, which a simulation that goes on keeps.
        durability, on_signal, progress, step_id
            As for `rewind.record`.

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
        with self._writer.turn:
            self._require_open("record")
            self._writer.flush()
        options = Options(
            block_size=block_size,
            backend=backend,
            observe=observe,
            self_check=self_check,
            codec=codec,
            memory_budget=memory_budget,
            checkpoint_budget=checkpoint_budget,
            step_id=step_id,
            durability=durability,
            on_signal=on_signal,
            progress=progress,
        )
        every = None if log_every is None else min(integer("log_every", log_every, 1), history.END)
        if observe is not None:
            resolved_names(observe, "observe")
        reporter(progress, "record", 1)  # refuse now what cannot be meant: behind this there is a recording
        durability_of(durability)
        signals_of(on_signal)
        if noise not in ("same", "fresh"):
            raise ArgumentError("noise", noise, "'same' or 'fresh'")
        simulation = self._simulation()
        there = simulation.begun_by(self._writer.step - 1)
        if there:
            if init_state is not _MISSING:
                self._require_same(simulation, init_state, seed, backend, block_size, codec)
                seed = None
            else:
                fixed: dict[str, object] = {
                    "block_size": block_size,
                    "checkpoint_budget": checkpoint_budget,
                    "codec": codec,
                }
                for name, value in fixed.items():
                    if value is not None:
                        raise ArgumentError(name, value, "none, to go on: it stays as it was recorded")
            found = self._plan_on(simulation, step_fn, n_steps, seed, observe, every, params, noise, mutate)
            if found is None:  # as far as it was to come
                if init_state is not _MISSING:
                    return simulation.kept(self._writer.step - 1)
                raise ArgumentError("n_steps", n_steps, f"more than the {simulation.n_states(self._writer.step - 1)} "
                                    f"states that there are up to step {self._writer.step - 1}")  # fmt: skip
            part, plan, row = found
            op = "branch"
        else:
            if init_state is _MISSING:
                way = "run.record(step_fn, init_state, n_steps, seed) begins one"
                raise TrackerError(f"{self.ref} has no simulation to go on with; {way}")
            if step_fn is None:
                raise ArgumentTypeError("step_fn", None, "a callable: step_fn(state, rng) -> state")
            if n_steps is None:
                raise ArgumentTypeError("n_steps", None, "the number of states")
            options = replace(options, params=self._params(step_fn, {}, params))
            plan, row = make_plan(step_fn, init_state, n_steps, seed, options, stacklevel=3)
            part = self._part(plan, self._writer.step, 0, every, specs(observe), None)
            remember(self._folder, part, Attached(step_fn, dict(observe or {}), codec, True, True))
            op = "record"
        self._enter(part)
        plan = replace(plan, tap=Tap(self._add_rows, part.first, part.origin, part.log_every, part.noise is not None))
        path = os.path.join(self._folder, "simulations", part.file)
        done: Run[Any] | None = None
        self._writer.recorded = True
        try:
            done = run_plan(Run, plan, row, replace(options, path=path), op=op)
            return done
        except BaseException as error:
            done = getattr(error, "run", None)
            if isinstance(error, RecordingInterrupted):
                error.way = "They are kept: run.record() goes on"
            elif isinstance(error, StepError):
                error.way = (
                    "What was finished is kept: run.state is the state it was given, and run.record(step_fn) goes on "
                    "from there when step_fn is mended"
                )
            raise
        finally:
            self._writer.recorded = False
            if done is not None and not plan.metrics:  # nothing was logged: a row says how far it came
                self._add_rows([(part.first + done.n_steps - 1, {})])
            self._writer.flush()

    def _plan_on(
        self,
        simulation: Simulation,
        step_fn: Callable[..., Any] | None,
        n_steps: int | None,
        seed: int | None,
        observe: Mapping[str, Metric] | None,
        every: int | None,
        params: Mapping[str, Any] | None,
        noise: Literal["same", "fresh"],
        mutate: Callable[[Any], Any] | None,
    ) -> tuple[Part, Plan, Any] | None:
        """Return how the simulation goes on from where the run stands; None where it is as long as asked for."""
        stands = self._writer.step - 1
        old = simulation.part_at(stands)
        known = simulation.functions(old)
        if known is None and step_fn is not None:
            self.attach(step_fn, observe=observe)
            known = simulation.functions(old)
        _, run, t = simulation.at(stands)
        if known is None or run._trajectory.step is None:
            raise simulation.missing("going on", old)
        missing = [name for name in old.metrics if name not in run._trajectory.metrics]
        if observe is None and missing:
            raise ArgumentError(
                "observe",
                None,
                f"the functions of {', '.join(missing)}, which no file holds",
                "observe={} leaves them out",
            )
        total = old.origin + old.n_steps if n_steps is None else n_steps_of(n_steps)
        length = total - (old.origin + t)
        if length < 2:
            return None
        function = known.step_fn if step_fn is None else step_fn
        given = self._params(function, run.params, params)
        if noise == "fresh" and seed is None:  # every run and every rewind another one, and each the same again
            text = f"{run.seed} {old.origin + t} {self.ref}"
            seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
        if noise == "same" and seed is not None:
            raise ArgumentError("seed", seed, "none with noise='same'", "noise='fresh' draws anew")
        plan, row = branch_plan(
            run._trajectory, t, mutate, seed, length, noise=noise, params=given, step_fn=function, observe=observe
        )
        metrics = dict(old.metrics) if observe is None else specs(observe)
        part = self._part(plan, stands, old.origin + t, old.log_every if every is None else every, metrics, noise)
        functions = dict(known.observe) if observe is None else dict(observe)
        remember(self._folder, part, Attached(function, functions, known.codec, True, True))
        return part, plan, row

    def _require_same(
        self,
        simulation: Simulation,
        init_state: Any,
        seed: int | None,
        backend: str,
        block_size: int | None,
        codec: UserCodec | None,
    ) -> None:
        """Refuse to go on with a simulation that was begun as another one."""
        root = simulation.parts[0]
        recording = recording_of(self._folder, root)
        again = f"To begin another one, rewind to before it: resume_from='{self.id}?_step={root.first - 1}'"
        advice = f"run.record(n_steps=...) goes on with the one it has. {again}"
        asked = {
            "seed": (seed, recording.seed),
            "backend": (backend, recording.backend),
            "block_size": (block_size, recording.block_size),
        }
        for name, (given, recorded) in asked.items():
            if given is not None and given != recorded:
                raise ArgumentError(name, given, f"{recorded!r}, with which this run's simulation was begun", advice)
        row, here = recording.checkpoints.row(0), StateCodec.of(init_state, codec_of(codec))
        if isinstance(row, bytes):  # a pickle, which is not opened unasked
            return
        if here.digest(here.encode(init_state)) != recording.checkpoints.codec.digest(row):
            raise ArgumentError("init_state", init_state, "state 0 of the simulation this run has", advice)

    def _params(
        self, step_fn: Callable[..., Any], kept: Mapping[str, Any], given: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """Return the parameters of the step function: what is given, else the config's, else those that were kept."""
        config = self.config
        names = [name for name in parameter_names(step_fn) or () if name in config]
        return {**params_taken(step_fn, kept), **params_of({name: config[name] for name in names}), **params_of(given)}

    def _part(
        self,
        plan: Plan,
        first: int,
        origin: int,
        every: int | None,
        metrics: Mapping[str, Any],
        noise: str | None,
    ) -> Part:
        uid = self._record.uid
        ((n,),) = self._store.read("SELECT coalesce(max(n), 0) + 1 FROM simulations WHERE revision = ?", (uid,))
        file = f"{file_stem(self.id)}.{self.revision}.{n}.replay"
        return Part(uid, n, first, origin, plan.n_steps, file, every, metrics, noise, history.END, self._record.began)

    def _enter(self, part: Part) -> None:
        """Keep that there is a recording, before there is one."""
        folder = os.path.join(self._folder, "simulations")
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise StoreError("make", folder, error.strerror or str(error)) from None
        query = """INSERT INTO simulations (revision, n, first, origin, n_steps, file, log_every, metrics, noise)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
        facts = (part.first, part.origin, part.n_steps, part.file, part.log_every, json.dumps(dict(part.metrics)))
        with self._store.writing() as connection:
            connection.execute(query, (part.uid, part.n, *facts, part.noise))

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
        resolved_names(metrics, "metrics")
        with self._writer.turn:
            self._require_open("backfill")
            self._writer.flush()
        uid, simulation = self._record.uid, self._simulation()
        if not simulation.parts:
            raise TrackerError(
                f"{self.ref} has no simulation to replay; run.record(step_fn, init_state, ...) makes one"
            )
        with self._reading() as store:
            seen = history.spans(store, uid)
            logged, steps = set[str](), []
            for step, data in history.texts(store, seen):
                steps.append(step)
                logged |= metrics.keys() & json.loads(data).keys()
            there = history.backfilled(store, seen)
        if logged:
            advice = "What was logged stays; give another name"
            raise ArgumentError("metrics", sorted(logged), "names that were not logged", advice)
        rows: list[tuple[int, str, int, str]] = []
        for k, part in enumerate(simulation.parts):
            last = min(seen_until(simulation, k), steps[-1] if steps else -1)
            if last < part.first:
                continue
            run = simulation.reaching(part, last)
            if run._trajectory.step is None:
                raise simulation.missing("backfill", part)
            low, high = part.first + (part.noise is not None), min(last, part.first + run.n_steps - 1)
            for name, metric in metrics.items():
                here = [step - part.first for step in steps if low <= step <= high and name not in there.get(step, ())]
                found = zip(here, values_at(run, metric, here, workers), strict=True)
                rows += [(uid, name, part.first + t, text(value)) for t, value in found]
        with self._writer.turn, self._store.writing("backfill") as connection:  # all of it, or nothing
            query = "INSERT INTO backfilled (revision, name, step, value) VALUES (?, ?, ?, ?)"
            connection.executemany(query, rows)
        return len({step for _, _, step, _ in rows})


def resolved_names(metrics: Any, what: str) -> None:
    """Refuse what is no mapping of names to metrics."""
    if not isinstance(metrics, Mapping):
        raise ArgumentTypeError(what, metrics, "a dict of names to metrics, such as {'x': lambda state: state.x}")
    for name in metrics:
        if not isinstance(name, str):
            raise ArgumentTypeError(f"a name in {what}", name, "a str")
        if not name or name.startswith("_") or not is_text(name):
            raise ArgumentError(f"a name in {what}", name, "a name that does not begin with _")


def specs(observe: Mapping[str, Metric] | None) -> dict[str, Any]:
    """Return what is kept of metrics: names of fields, None for the state itself, False for a function."""
    return {
        name: metric if metric is None or isinstance(metric, str) else False for name, metric in (observe or {}).items()
    }
