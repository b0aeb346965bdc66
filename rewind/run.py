"""`Run`: a recording with its step function, which answers questions about every step of it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Generic, Literal, TypeVar, Union, overload

import numpy as np

from .checks import ExecutorOption, integer, n_steps_of, params_of, seed_of, seed_text, slice_of, workers
from .engine.columns import Array
from .engine.layouts import first_change
from .engine.ledgers import Ledger
from .engine.metrics import Metric, resolve_one
from .engine.moments import Stats
from .engine.recording import Ancestor, Origin, Recording
from .engine.replay import Parted, Reader, meddles
from .engine.seeds import branch_seed, get_state
from .engine.states import StateCodec, private_copy
from .engine.steps import Step
from .engine.sweep import Plan, SelfCheckFailed, Stopped, go_on, sweep
from .engine.verify import Mismatch, find_failure, find_mismatch, sampled_blocks
from .errors import (
    ArgumentError,
    ArgumentTypeError,
    MetricError,
    NondeterministicReplayError,
    NondeterministicStepError,
    PickledStatesWarning,
    RecordingInterrupted,
    StateError,
    StepError,
    StepReturnError,
    UnknownMetricError,
)
from .kernel import MISSING, Marks
from .progress import ProgressOption, reporter
from .source import describe, facts, facts_here, versions
from .stepkinds import step_of
from .views import Observed, View

S = TypeVar("S")
Path = Union[str, "os.PathLike[str]"]
Noise = Literal["fresh", "same"]


class Run(Generic[S]):
    """A recorded run: a sequence of its states, none of which need be stored.

    Made by `record`, `load`, `Run.branch` and `Run.extend`. ``run[t]`` is `get`, ``run[a:b:s]`` a lazy `View`,
    ``len(run)`` the number of states, ``for state in run`` one pass. May be used from several threads; two runs in two
    threads, or a pool of threads, call a Python step at the same time, which then must not keep scratch memory.
    """

    def __init__(
        self,
        recording: Recording,
        step: Step | None,
        metrics: Mapping[str, Callable[[Any], Any] | None],
        marks: Marks | None = None,
    ) -> None:
        self._recording, self._step, self._metrics = recording, step, dict(metrics)
        self._reader = Reader(recording, step, recording.step.get("id"), marks)
        self._hash: str | None = None
        self._quick: Callable[[Any], Any] = self._first_quick

    def _first_quick(self, t: int) -> Any:
        self._quick = self._reader.quick
        return self._quick(t)

    def __reduce__(self) -> tuple[Any, ...]:  # what its file holds; the step and metric functions by reference
        recording = self._recording
        from .storage import artifact

        parts = artifact.to_parts(recording)
        return _again, (*parts, recording.checkpoints.codec.user, self._step, self._metrics)

    # ---- what it is

    @property
    def n_steps(self) -> int:
        """Number of states."""
        return self._recording.n_steps

    @property
    def block_size(self) -> int:
        """Steps from one stream of random numbers to the next."""
        return self._recording.block_size

    @property
    def seed(self) -> int:
        """Master seed."""
        return self._recording.seed

    @property
    def backend(self) -> str:
        """``"python"`` or ``"numpy"``."""
        return self._recording.backend

    @property
    def params(self) -> dict[str, Any]:
        """A copy of the keyword arguments every call of the step function gets."""
        return params_of(self._recording.params)

    @property
    def step_id(self) -> str | None:
        """Name of the step function, a hint for people."""
        return self._recording.step.get("id")

    @property
    def lineage(self) -> tuple[Ancestor, ...]:
        """Content hash and branch point of the parent, its parent, ... the root; empty for a root."""
        return self._recording.origin.ancestors

    @property
    def parent_hash(self) -> str | None:
        """Content hash of the parent of a branch."""
        return self.lineage[0].content_hash if self.lineage else None

    @property
    def branch_point(self) -> int | None:
        """Step of the parent at which a branch left it."""
        return self.lineage[0].branch_point if self.lineage else None

    @property
    def start(self) -> int:
        """Step 0 of this run on the axis of its root: 0 but for a branch."""
        return self._recording.origin.start

    @property
    def complete(self) -> bool:
        """False for the finished part of a recording that stopped early."""
        return self._recording.complete

    @property
    def n_checkpoints(self) -> int:
        """Number of stored states."""
        return self._recording.checkpoints.n

    def metadata(self) -> dict[str, Any]:
        """Return what is known of the run without a replay, as plain values."""
        from .storage import artifact

        return {
            **artifact.described(self._recording),
            "params": self.params,
            "parent_hash": self.parent_hash,
            "branch_point": self.branch_point,
        }

    def content_hash(self) -> str:
        """Return the hash of everything recorded: equal for the same run on every machine, before and after a save."""
        if self._hash is None:
            from .storage import artifact  # the first save, load or hash pays for it, and not every import

            self._hash = artifact.content_hash(self._recording)
        return self._hash

    def __repr__(self) -> str:
        parts = [f"{self.n_steps:,} steps", f"{self.n_checkpoints:,} checkpoints", f"seed={seed_text(self.seed)}"]
        parts += [f"step {self.step_id}"] if self.step_id else []
        parts += [f"branched at step {self.branch_point}"] if self.lineage else []
        parts += [] if self.complete else ["incomplete"]
        parts += [] if self._step is not None else ["no step_fn"]
        return f"<Run: {', '.join(parts)}>"

    def _misfit(self) -> PickledStatesWarning | None:
        """Return what to say of stored states that stopped fitting the columns of state 0, None if all fit."""
        recording, checkpoints = self._recording, self._recording.checkpoints
        layout = checkpoints.codec.layout
        if layout is None or not checkpoints.pickles:
            return None
        i = min(checkpoints.pickles)
        change = first_change(layout, checkpoints.codec.tree(checkpoints.row(i)))
        step = recording.grid.start(i * recording.stride)
        return PickledStatesWarning(*change, step, len(checkpoints.pickles), checkpoints.n)

    # ---- its states

    def get(self, t: int) -> S:
        """Return the state at step `t`, exactly as it was: a private copy.

        Parameters
        ----------
        t : int
            ``-n_steps <= t < n_steps``; negative steps count from the end.

        Raises
        ------
        StepRangeError
            If there is no such step.
        MissingStepError
            If it needs a replay and the run was loaded without its step function.

        Notes
        -----
        At most ``block_size`` steps (times the stride of a thinned run), half on average; one step if the last
        question was about ``t - 1``; none at a checkpoint without a step function.
        """
        state = self._quick(t)
        if state is MISSING:
            state = self._reader.get(self._recording.grid.step(integer("t", t)))
        return state  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return self.n_steps

    @overload
    def __getitem__(self, t: int) -> S: ...
    @overload
    def __getitem__(self, t: slice) -> View[S]: ...
    def __getitem__(self, t: int | slice) -> S | View[S]:
        if isinstance(t, slice):
            return View(self._reader, range(self.n_steps)[slice_of(t)])
        return self.get(t)

    def __iter__(self) -> Iterator[S]:
        return self.iter()

    def iter(self, start: int = 0, stop: int | None = None) -> Iterator[S]:
        """Yield the states from `start` up to, not including, `stop`, in one pass: private copies."""
        first, behind = self._window(start, stop)
        return self._reader.states(range(first, behind))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return View(self._reader, range(self.n_steps)).__array__(dtype, copy)

    def series(self, f: Metric = None, start: int = 0, stop: int | None = None, every: int = 1) -> Array:
        """Return ``f(state)`` at steps start, start+every, ... below `stop`, in one pass.

        Parameters
        ----------
        f : callable, None (the state itself) or name of an attribute or key
            Must not change the state it is given.
        start, stop, every : int
            A window, as in a slice; ``every >= 1``.

        Returns
        -------
        values : ndarray, shape (n, *shape of f(state))
        """
        first, behind = self._window(start, stop)
        stride = integer("every", every, 1)
        codec = self._recording.checkpoints.codec
        function = (
            f if first >= behind else resolve_one(_label(f), f, self._reader.get(first), codec, first, numbers=False)
        )
        values: list[Any] = []
        copies = callable(f)  # which may change what it is given
        for state in self._reader.states(range(first, behind, stride), copies):
            value = state if function is None else function(state)
            values.append(np.array(value) if isinstance(value, (np.ndarray, list)) else private_copy(value))
        try:
            # Integers stay integers: numpy would make doubles of them where one has 64 bits.
            wide = all(type(value) is int for value in values) and any(abs(value) >> 63 for value in values)
            return np.array(values, object if wide else None)
        except ValueError as error:
            raise MetricError("f", None, f"gave arrays of different shapes ({error})") from None

    def _window(self, start: int, stop: int | None) -> tuple[int, int]:
        first, behind, _ = slice(integer("start", start), None if stop is None else integer("stop", stop)).indices(
            self.n_steps
        )
        return first, behind

    # ---- its statistics

    def stats(
        self, f: Metric = None, start: int = 0, stop: int | None = None, *, progress: ProgressOption = None
    ) -> Stats:
        """Return the statistics of ``f(state)`` over a window, in one pass.

        Parameters
        ----------
        f : callable, None (the state itself) or name of an attribute or key
            Gives a number, or an array of numbers of one shape. Must not change the state. Integers count as doubles.
        start, stop : int
            A window, as in a slice.
        progress : bool or callable, optional

        Returns
        -------
        stats : Stats
            For a number, ``mean`` and ``variance`` are the exact rational results, rounded once.

        Raises
        ------
        ArgumentError
            If the window is empty.
        MetricError
            If `f` does not give numbers of one shape, or changes the state.
        NondeterministicReplayError
            If the pass does not get to a stored state it comes by: its numbers would not be those of the recording.

        Notes
        -----
        One pass over the window. Blocks are reduced in order, so the bits do not depend on how it is done; for a
        metric with d components a block costs one matrix product of shape (3*d, block_size) by (block_size, 3*d).
        """
        first, behind = self._window(start, stop)
        if first >= behind:
            raise ArgumentError("the window", (start, stop), f"at least one step of 0 to {self.n_steps - 1}")
        name = _label(f)
        function = resolve_one(name, f, self._reader.get(first), self._recording.checkpoints.codec, first)
        report = reporter(progress, "stats", behind - first) or (lambda done, block: None)
        ledger = Ledger(name)
        try:
            passes = self._reader.observed(name, function, first, behind, report)
            for block, (step, values) in enumerate(passes):
                ledger.enter(block, values, step)
        except Parted as parted:
            raise self._not_reproduced(parted) from None
        return ledger.stats

    def _not_reproduced(self, parted: Parted) -> NondeterministicReplayError:
        assert self._step is not None
        cursor = self._reader.cursor("stats")
        mismatch = find_mismatch(cursor, parted.block, parted.step, parted.expected, parted.got)
        return _failure(NondeterministicReplayError, mismatch, self._recording, self._step)

    @property
    def observed(self) -> Observed:
        """Statistics of the observed metrics by name; no replay."""
        return Observed(self._recording)

    def overview(self, name: str) -> Array:
        """Return what an observed metric gave, one row per block; no replay.

        Returns
        -------
        table : structured ndarray, shape (n_blocks,)
            ``start, count, mean, m2, min, max, argmin, argmax, last, nan_count``; `m2` is the sum of squared
            deviations from the block's mean; `argmin` and `argmax` are steps, -1 where the block holds no number.

        Raises
        ------
        UnknownMetricError
            If the run did not observe `name`.
        """
        if name not in self._recording.metrics:
            raise UnknownMetricError(name, list(self._recording.metrics))
        return self._recording.metrics[name].overview(self._recording.grid)

    # ---- its proof

    def verify(self, full: bool = False, *, executor: ExecutorOption = None, progress: ProgressOption = None) -> bool:
        """Replay stored stretches and compare them bit for bit with the recording.

        Parameters
        ----------
        full : bool
            Every block, instead of a spread of at most 33 that includes the first and the last.
        executor : concurrent.futures.Executor, or a callable that makes one, optional
            Workers for the replay: threads where the step runs without the GIL (native and numba steps), processes
            elsewhere, to which the step function has to travel by pickle.
        progress : bool or callable, optional

        Returns
        -------
        True

        Raises
        ------
        NondeterministicReplayError
            At the first block found that is not reproduced: names the step, the field, both values and the versions.
        MissingStepError
            If the run was loaded without its step function.

        Notes
        -----
        Last block first, each twice with a false start between, so that state hidden outside the state is not where it
        was; the last and the first block are compared step by step. About ``2 * n_steps`` steps when full, else
        ``75 * block_size``. What no replay in this process can see is a cache that the recording filled: verify a run
        whose step keeps one in a new process, too.
        """
        self._reader.cursor("verify")
        assert self._step is not None
        recording = self._recording
        total = len(sampled_blocks(recording.grid.n_blocks, recording.stride, bool(full)))
        report = reporter(progress, "verify", total)
        with workers(executor) as submits:
            mismatch = find_failure(recording, self._step, bool(full), report, submits, self._reader.turn)
        if mismatch is not None:
            raise _failure(NondeterministicReplayError, mismatch, recording, self._step, self._meddler(mismatch))
        return True

    def _meddler(self, mismatch: Mismatch) -> tuple[str, int] | None:
        if not mismatch.exact:
            for name, metric in self._metrics.items():
                t = meddles(self._reader.cursor("verify"), metric, mismatch.block, mismatch.step)
                if t is not None:
                    return name, t
        return None

    # ---- its futures

    def branch(
        self,
        t: int,
        mutate: Callable[[S], S | None] | None = None,
        seed: int | None = None,
        n_steps: int | None = None,
        *,
        noise: Noise = "fresh",
        params: Mapping[str, Any] | None = None,
        step_fn: Callable[..., S] | None = None,
        progress: ProgressOption = None,
    ) -> Run[S]:
        """Record another future from step `t`; this run stays as it is.

        Parameters
        ----------
        t : int
            The step at which to leave; state 0 of the branch.
        mutate : callable, optional
            The intervention: ``mutate(state)`` is given a private copy and returns the new state, or None if it
            changed the copy in place.
        seed : int, optional
            Master seed of the branch. Default: one that depends on this run's seed and `t` only, so the same call
            draws the same noise, and siblings share it.
        n_steps : int, optional
            Number of states of the branch. Default: up to the last step of this run.
        noise : {"fresh", "same"}
            ``"same"`` draws exactly what this run drew at the same step (common random numbers), so every difference
            is the intervention.
        params : mapping, optional
            New values for some parameters; the others are inherited.
        step_fn : callable, optional
            Another step function. Default: this run's.
        progress : bool or callable, optional

        Returns
        -------
        branch : Run
            Its metrics are this run's; its `start` is this run's plus `t`.

        Raises
        ------
        ArgumentError
            If `seed` is given with ``noise="same"``, or `n_steps` is no length.
        StepRangeError
            If there is no step `t`.

        Notes
        -----
        A branch keeps this run's ``block_size``, so siblings of different length draw the same noise, too.
        """
        recording = self._recording
        point = recording.grid.step(integer("t", t))
        if noise not in ("fresh", "same"):
            raise ArgumentError("noise", noise, "'fresh' or 'same'")
        if noise == "same" and seed is not None:
            raise ArgumentError(
                "seed", seed, "no seed with noise='same'", "A branch draws its parent's noise, or its own"
            )
        length = recording.n_steps - point if n_steps is None else n_steps_of(n_steps)
        cursor = self._reader.cursor("branch")
        step = self._branch_step(params, step_fn)
        codec = recording.checkpoints.codec
        with self._reader.turn:
            cursor.seek(point)
            state = codec.copy(cursor.state)
        if mutate is not None:
            state = self._mutated(mutate, state)
        grid = recording.origin.grid + point
        if noise == "same":
            master = recording.seed
        else:
            master = branch_seed(recording.seed, grid) if seed is None else seed_of(seed)
        lead, rng_state = 0, None
        goes_on = noise == "same" and mutate is None and step.same(cursor.step)
        if goes_on:  # nothing but the parent's own way leads to the state as the parent has it inside a block
            lead = point - recording.grid.start(cursor.block)
            if cursor.block == 0:
                lead, rng_state = lead + recording.origin.lead, recording.origin.rng_state
        elif noise == "same" and grid % recording.block_size != 0:
            rng_state = get_state(cursor.rng, recording.backend)
        origin = Origin(
            start=self.start + point,
            grid=grid if noise == "same" else 0,
            ancestors=(Ancestor(self.content_hash(), point), *self.lineage),
            rng_state=rng_state,
            noise=noise,
            lead=lead,
        )
        kept = codec if goes_on else StateCodec.of(state, codec.user)
        step.require_branch(cursor.step, codec, kept, state)
        plan = Plan(
            step=step,
            codec=kept,
            n_steps=length,
            block_size=recording.block_size,
            seed=master,
            backend=recording.backend,
            origin=origin,
            metrics={name: resolve_one(name, metric, state, kept) for name, metric in self._metrics.items()},
            hints=self._hints(step.function),
            versions=versions(),
            turn=self._reader.turn,
        )
        report = reporter(progress, "branch", length)
        with self._reader.turn:
            row = cursor.row(cursor.block) if goes_on else plan.codec.encode(state)
        return swept(plan, lambda: sweep(plan, row, report))

    def _hints(self, function: Callable[..., Any]) -> dict[str, str]:
        """Return what is known of a step function: what the file says, if it is the one that was recorded."""
        here, recorded = describe(function), dict(self._recording.step)
        return recorded if here.get("source") == recorded.get("source") else here

    def _branch_step(self, params: Mapping[str, Any] | None, step_fn: Callable[..., Any] | None) -> Step:
        assert self._step is not None
        merged = {**self._recording.params, **params_of(params)}
        function = self._step.function if step_fn is None else step_fn
        return step_of(function, merged, self.backend)

    def _mutated(self, mutate: Callable[[Any], Any], state: Any) -> Any:
        if not callable(mutate):
            raise ArgumentTypeError("mutate", mutate, "a callable of the state")
        new = mutate(state)
        if new is not None or state is None:
            return new
        if isinstance(state, (bool, int, float, complex, str, bytes, tuple, np.generic)):
            raise StateError(
                "",
                "become None: mutate returned nothing, and such a state cannot be changed in place",
                "return the new state from mutate",
            )
        return state

    def extend(self, n_steps: int, *, progress: ProgressOption = None) -> Run[S]:
        """Return this run continued to `n_steps` states: the same past byte for byte, more future.

        Parameters
        ----------
        n_steps : int
            Number of states in all, more than there are.
        progress : bool or callable, optional

        Returns
        -------
        run : Run
            A new one; this run stays as it is. Every second stored checkpoint is dropped as often as it takes to keep
            at most ``2*sqrt(n_steps)`` of them; blocks, and so the trajectory, do not change.

        Raises
        ------
        ArgumentError
            If there are as many steps already, or metrics were observed whose functions are not here.
        NondeterministicReplayError
            If the last block does not give the last state again: the step is not the one recorded, or hides something.
        MetricError
            If a metric does not give what it gave in the last block.

        Notes
        -----
        ``n_steps - len(run)`` steps, and one block that is run again twice: to check it, and to go on from it.
        """
        recording = self._recording
        n = n_steps_of(n_steps, None)
        if n <= recording.n_steps:
            advice = f"n_steps is the new number of states in all, for example extend({2 * recording.n_steps})"
            raise ArgumentError("n_steps", n, f"more than the {recording.n_steps} this run has", advice)
        missing = [name for name in recording.metrics if name not in self._metrics]
        if missing and self._step is not None:
            advice = "Load the run with rewind.load(path, step_fn, observe={name: function})"
            raise ArgumentError(
                "observe", sorted(self._metrics), f"functions for {', '.join(missing)} to go on", advice
            )
        self._reader.cursor("extend")
        assert self._step is not None
        longer = replace(recording, n_steps=n)
        stride = recording.stride
        while -(-longer.grid.n_blocks // stride) > 2 * math.isqrt(n):
            stride *= 2
        plan = Plan(
            step=self._step,
            codec=recording.checkpoints.codec,
            n_steps=n,
            block_size=recording.block_size,
            seed=recording.seed,
            backend=recording.backend,
            stride=stride,
            origin=recording.origin,
            metrics={name: self._metrics[name] for name in recording.metrics},
            hints=self._hints(self._step.function),
            versions=versions(),
            turn=self._reader.turn,
        )
        report = reporter(progress, "extend", n)
        try:
            return swept(plan, lambda: go_on(recording, plan, report))
        except Parted as parted:
            raise self._not_reproduced(parted) from None

    # ---- its file

    def save(self, path: Path, *, compat: Literal["1.8"] | None = None) -> None:
        """Write the run to `path`, whole or not at all.

        Parameters
        ----------
        path : str or path-like
            By custom ``NAME.replay``. An old file is replaced at the end, in one step.
        compat : "1.8", optional
            For the oldest HDF5 readers: uncompressed and without a seal.

        Raises
        ------
        ArtifactIOError
            If the operating system says no: also a FileNotFoundError, IsADirectoryError or PermissionError where it
            is one.

        Notes
        -----
        The same run is the same bytes, at any time and on both kernels. About 3 KB for a million steps of a small
        integer, 8.5 KB for those of a float.
        """
        from .storage import artifact

        artifact.save(self._recording, path, compat)


def _label(metric: Metric) -> str:
    """Return what a metric is called in messages."""
    name = metric if isinstance(metric, str) else getattr(metric, "__name__", "f")
    return "f" if name == "<lambda>" else str(name)


def _again(arrays: Any, meta: Any, user: Any, step: Step | None, metrics: Any) -> Run[Any]:
    """Return a run that was pickled."""
    from .storage.schema import from_parts

    return Run(from_parts(arrays, meta, user), step, metrics)


def swept(plan: Plan, make: Callable[[], Recording]) -> Run[Any]:
    """Return the run `make` sweeps; where it stops early, raise what it says with the finished part in ``.run``."""
    try:
        return Run(make(), plan.step, plan.metrics, plan.marks)
    except Stopped as stop:
        stopped = stop
    error = stopped.error
    run: Run[Any] = Run(stopped.recording, plan.step, plan.metrics, plan.marks)
    if isinstance(error, StepReturnError):
        raise StepReturnError(error.t, run) from None
    if isinstance(error, StepError):
        raise StepError(error.t, error.__cause__, run) from error.__cause__
    if isinstance(error, KeyboardInterrupt):
        raise RecordingInterrupted(run.n_steps - 1, plan.n_steps, run) from error
    if isinstance(error, SelfCheckFailed):
        failure = _failure(NondeterministicStepError, error.mismatch, stopped.recording, plan.step)
        failure.run = run
        raise failure from None
    error.run = run  # type: ignore[attr-defined]
    raise error from error.__cause__


_F = TypeVar("_F", NondeterministicStepError, NondeterministicReplayError)


def _failure(
    cls: type[_F], mismatch: Mismatch, recording: Recording, step: Step, meddler: tuple[str, int] | None = None
) -> _F:
    return cls(
        mismatch.block,
        mismatch.step,
        mismatch.path,
        mismatch.expected,
        mismatch.got,
        exact=mismatch.exact,
        recorded=facts(recording),
        present=facts_here(step.function),
        global_rng=mismatch.global_rng,
        meddler=meddler,
    )
