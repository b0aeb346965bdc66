"""`Run`: a recording with its step function; every state of it, and the verbs."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, Union, overload

from ..engine.divergence import Divergence
from ..engine.recording import Ancestor, Recording
from ..errors import ArgumentTypeError
from ..kernel import MISSING, Snapshots
from ..metrics.metric import Metric
from ..metrics.statistics import Stats
from ..state.columns import Array
from ..steps.importing import ends_import
from ..steps.params import params_of
from ..steps.step import Step
from ..storage import replay_file
from ..storage.schema import from_parts
from . import branch, forks, search, statistics, verify
from .arguments import integer, key_of, seed_text, slice_of
from .execute import run_plan
from .executors import Execution, ExecutorOption
from .forks import Branches
from .noise import warn_of_branch
from .options import Durability, Lossy, OnSignal, Options
from .progress import ProgressOption
from .search import ConditionOption, Cursor
from .trajectory import Origin, Trajectory
from .views import Observed, View

if TYPE_CHECKING:
    from typing_extensions import Self

S = TypeVar("S")
Path = Union[str, "os.PathLike[str]"]


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
        snapshots: Snapshots | None = None,
        origin: Origin = "here",
    ) -> None:
        self._trajectory = Trajectory(recording, step, metrics, snapshots, origin)
        if step is not None:
            self._trajectory.trust.refuse = functools.partial(verify.refusal, recording, step)
        self._recording, self._reader = recording, self._trajectory.reader  # `get` asks them without a detour
        self._quick: Callable[[Any], Any] = self._first_quick

    def _first_quick(self, t: int) -> Any:
        if not self._trajectory.trust.open:  # a first replay is compared with the recording
            return MISSING
        self._quick = self._reader.quick
        return self._quick(t)

    def __reduce__(self) -> tuple[Any, ...]:  # what its file holds; the step and metric functions by reference
        trajectory, recording = self._trajectory, self._recording
        parts = replay_file.to_parts(recording)
        return _unpickle, (type(self), *parts, recording.checkpoints.codec.user, trajectory.step, trajectory.metrics)

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
        return {
            **replay_file.describe(self._recording),
            "params": self.params,
            "parent_hash": self.parent_hash,
            "branch_point": self.branch_point,
        }

    def content_hash(self) -> str:
        """Return the hash of everything recorded: equal for the same run on every machine, before and after a save."""
        return self._trajectory.content_hash()

    def __repr__(self) -> str:
        parts = [f"{self.n_steps:,} steps", f"{self.n_checkpoints:,} checkpoints", f"seed={seed_text(self.seed)}"]
        parts += [f"step {self.step_id}"] if self.step_id else []
        parts += [f"branched at step {self.branch_point}"] if self.lineage else []
        parts += [] if self.complete else ["incomplete"]
        parts += [] if self._trajectory.step is not None else ["no step_fn"]
        return f"<Run: {', '.join(parts)}>"

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
        state asked for was ``t - 1``; none at a checkpoint without a step function.
        """
        state = self._quick(t)
        if state is MISSING:
            self._quick = self._first_quick  # the code may have changed
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
            return View(self._trajectory.reader, range(self.n_steps)[slice_of(t)])
        return self.get(t)

    def __iter__(self) -> Iterator[S]:
        return self.iter()

    def iter(self, start: int = 0, stop: int | None = None) -> Iterator[S]:
        """Yield the states from `start` up to, not including, `stop`, in one pass: private copies."""
        first, end = self._trajectory.window(start, stop)
        return self._trajectory.reader.states(range(first, end))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return View(self._trajectory.reader, range(self.n_steps)).__array__(dtype, copy)

    # ---- its numbers

    def series(
        self,
        f: Metric = None,
        start: int = 0,
        stop: int | None = None,
        every: int = 1,
        *,
        executor: ExecutorOption = None,
        workers: int | None = None,
        progress: ProgressOption = None,
    ) -> Any:
        """Return ``f(state)`` at steps start, start+every, ... below `stop`, in one pass.

        Parameters
        ----------
        f : callable, None (the state itself) or name of an attribute or key, or of an observed metric
            Must not change the state it is given.
        start, stop, every : int
            A window, as in a slice; ``every >= 1``.
        executor, workers, progress
            As for `stats`.

        Returns
        -------
        values : ndarray, shape (n, *shape of f(state)), or dict of str to ndarray
            A dict of arrays where `f` gives dicts, dataclasses or namedtuples: pandas and polars take it as it is,
            xarray as ``{name: ("step", array)}``. What lies deeper has its path as key: ``"agents[3].x"``.

        Raises
        ------
        MetricError
            If the values have different shapes or keys.
        WorkersLostError
            If workers die and cannot be replaced; its ``partial`` is the array of what comes before.
        """
        return statistics.series(self._trajectory, f, start, stop, every, Execution(executor, workers, progress))

    @overload
    def stats(
        self,
        f: Mapping[str, Metric],
        start: int = ...,
        stop: int | None = ...,
        *,
        histogram: Any = ...,
        max_lag: int | None = ...,
        executor: ExecutorOption = ...,
        workers: int | None = ...,
        progress: ProgressOption = ...,
    ) -> dict[str, Stats]: ...
    @overload
    def stats(
        self,
        f: Metric = ...,
        start: int = ...,
        stop: int | None = ...,
        *,
        histogram: Any = ...,
        max_lag: int | None = ...,
        executor: ExecutorOption = ...,
        workers: int | None = ...,
        progress: ProgressOption = ...,
    ) -> Stats: ...
    def stats(
        self,
        f: Metric | Mapping[str, Metric] = None,
        start: int = 0,
        stop: int | None = None,
        *,
        histogram: Any = None,
        max_lag: int | None = None,
        executor: ExecutorOption = None,
        workers: int | None = None,
        progress: ProgressOption = None,
    ) -> Stats | dict[str, Stats]:
        """Return the statistics of ``f(state)`` over a window, in one pass.

        Parameters
        ----------
        f : callable, None (the state itself), name of an attribute or key or of an observed metric, or a dict of these
            Gives a number, or an array of numbers of one shape. Must not change the state. Integers count as doubles.
        start, stop : int
            A window, as in a slice.
        histogram : sequence of floats, optional
            Edges of the bins of a histogram, as for ``numpy.histogram``; of metrics that give one number.
        max_lag : int, optional
            The greatest lag of the autocovariance, in steps; of metrics that give one number.
        executor : concurrent.futures.Executor, or a callable that makes one, optional
            Who replays the blocks. The bits of the result do not depend on it. With a callable, workers that die are
            replaced. See ``docs/parallel.md``.
        workers : int, optional
            Shorthand: so many processes for a Python step, threads for one that runs without the GIL. 1 is this thread.
        progress : bool or callable, optional

        Returns
        -------
        stats : Stats, or dict of str to Stats
            For a number, ``mean`` and ``variance`` are the exact rational results, rounded once; so is
            ``autocovariance``, shape (max_lag + 1,), with the divisor n and the mean of the window.

        Raises
        ------
        ArgumentError
            If the window is empty.
        MetricError
            If `f` does not give numbers of one shape, or changes the state.
        NondeterministicReplayError
            If the pass does not get to a stored state it comes by: its numbers would not be those of the recording.
        ObservedMismatchError
            If `f` was observed, and gives other numbers for a block than it gave while recording.
        TransferError
            If the step function or `f` cannot be sent to a worker.
        WorkersLostError
            If workers die and cannot be replaced; its ``partial`` has the statistics of the blocks before.

        Notes
        -----
        One pass over the window. Blocks are reduced in order, so the bits do not depend on how it is done; for a
        metric with d components a block costs one matrix product of shape (3*d, block_size) by (block_size, 3*d).
        A lag costs some 5 to 20 ns a step.
        """
        return statistics.stats(
            self._trajectory, f, start, stop, histogram, max_lag, Execution(executor, workers, progress)
        )

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
        return statistics.overview(self._recording, name)

    # ---- comparisons

    def verify(
        self,
        full: bool = False,
        *,
        executor: ExecutorOption = None,
        workers: int | None = None,
        progress: ProgressOption = None,
    ) -> bool:
        """Replay stored stretches and compare them bit for bit with the recording, and with what was observed.

        Parameters
        ----------
        full : bool
            Every block, instead of a spread of at most 33 that includes the first and the last.
        executor : concurrent.futures.Executor, or a callable that makes one, optional
            Who replays: threads where the step runs without the GIL (native and numba steps), processes elsewhere. With
            a callable, workers that die are replaced. See ``docs/parallel.md``.
        workers : int, optional
            Shorthand: so many processes for a Python step, threads for one that runs without the GIL. 1 is this thread.
        progress : bool or callable, optional

        Returns
        -------
        True

        Raises
        ------
        NondeterministicReplayError
            At the first block found that is not reproduced: names the step, the field, both values and the versions.
        ObservedMismatchError
            At the first block whose states are reproduced, and whose observed metrics give other numbers: something
            happened once. Of a loaded run only metrics are called that `load` was given, or that are names or None.
        MissingStepError
            If the run was loaded without its step function.
        TransferError, WorkersLostError
            As from `stats`.

        Notes
        -----
        Last block first, each twice with a false start between, so that state hidden outside the state is not where it
        was; the last and the first block are compared step by step. About ``2 * n_steps`` steps when full, else
        ``75 * block_size``; and one call of each observed metric for each state. What no replay in this process can
        see is a cache that the recording filled: verify a run whose step keeps one in a new process, too.
        """
        ends_import("Run.verify")
        return verify.verify(self._trajectory, full, Execution(executor, workers, progress))

    def diff(self, other: Run[Any], *, progress: ProgressOption = None) -> Divergence | None:
        """Return where this run and another part, None if they agree as far as both go.

        Parameters
        ----------
        other : Run
            A branch of this run, its parent, a recording with another step function or from another machine. Steps are
            compared on the axis of the root: step 0 of a branch is the step it left at.
        progress : bool or callable, optional

        Returns
        -------
        divergence : Divergence or None
            ``step``, ``path`` of the first differing field, ``value`` here and in the ``other``, whether the step is
            ``exact``, and how many stored states agree.

        Raises
        ------
        ArgumentError
            If the runs have no step in common, or states of another layout.
        MissingStepError
            If a replay is needed, and a run was loaded without its step function.

        Notes
        -----
        Stored states of the same step are compared without a replay. Without step functions that is all that is known:
        None then means that all that was recorded is the same. If both runs are the same function of their
        states (step, params, seed, blocks), one stretch between stored states is replayed. Else they might part and
        meet again, and both are replayed up to where they part.
        """
        if not isinstance(other, Run):
            raise ArgumentTypeError("other", other, "a rewind.Run")
        return verify.diff(self._trajectory, other._trajectory, progress)

    # ---- searches

    def first(
        self,
        cond: ConditionOption,
        start: int = 0,
        stop: int | None = None,
        *,
        executor: ExecutorOption = None,
        workers: int | None = None,
        progress: ProgressOption = None,
    ) -> int | None:
        """Return the first step at which `cond` holds, None if there is none.

        Parameters
        ----------
        cond : callable or str
            A predicate of the state; or text over observed metrics: ``"x > 1e6"``,
            ``"isnan(loss)"``, ``"infected == 0 and day > 30"``, ``"any(abs(v) > 3)"``, ``"v[2] < 0"``. It is parsed and
            never evaluated as Python.
        start, stop : int
            A window, as in a slice.
        executor, workers, progress
            As for `stats`. The earliest step is found whoever looks.

        Raises
        ------
        ArgumentError
            If the window is empty, or the function of a metric in a text is not here (``load(observe=...)``).
        ConditionError
            If the text cannot be read, with the character, or names a metric that was not observed; or if the
            predicate raises or changes the state.
        NondeterministicReplayError
            If the pass does not get to a stored state it comes by.
        WorkersLostError
            If workers die and cannot be replaced.

        Notes
        -----
        One scan, which stops at the first hit. Text looks only into blocks whose row in `overview` allows it: for a NaN
        or an extreme value that is one block, sqrt(n_steps) steps, however long the run is.
        """
        return search.first(self._trajectory, cond, start, stop, Execution(executor, workers, progress))

    def last(
        self,
        cond: ConditionOption,
        before: int | None = None,
        *,
        executor: ExecutorOption = None,
        workers: int | None = None,
        progress: ProgressOption = None,
    ) -> int | None:
        """Return the last step below `before` at which `cond` holds, None if there is none: reverse-continue.

        Parameters
        ----------
        cond : callable or str
            As for `first`.
        before : int, optional
            ``1 <= before <= n_steps``, or negative to count from the end. Default: the whole run.
        executor, workers, progress
            As for `stats`.

        Raises
        ------
        ArgumentError, ConditionError, NondeterministicReplayError
            As from `first`.

        Notes
        -----
        Blocks backward, each forward once: the steps between the one that is found and `before`, and up to a block
        more. Text skips blocks, as in `first`.
        """
        return search.last(self._trajectory, cond, before, Execution(executor, workers, progress))

    def where(
        self,
        cond: ConditionOption,
        start: int = 0,
        stop: int | None = None,
        *,
        executor: ExecutorOption = None,
        workers: int | None = None,
        progress: ProgressOption = None,
    ) -> Iterator[int]:
        """Return an iterator over all steps of a window at which `cond` holds, in order and as they are found.

        Parameters
        ----------
        cond, start, stop, executor, workers, progress
            As for `first`, and so are the errors. The cost is that of a pass over the whole window, or over the blocks
            that a text allows.
        """
        return search.where(self._trajectory, cond, start, stop, Execution(executor, workers, progress))

    def bisect(self, cond: ConditionOption, start: int = 0, stop: int | None = None) -> int | None:
        """Return the first step at which `cond` holds, None if there is none, given that it holds ever after.

        Parameters
        ----------
        cond : callable or str
            As for `first`; once it holds, it goes on to hold: a NaN that spreads, a population that died out.
        start, stop : int
            A window, as in a slice.

        Raises
        ------
        ConditionError
            If it is seen not to be monotone: among the stored states that were looked at, or in the block.
        ArgumentError, NondeterministicReplayError
            As from `first`.

        Notes
        -----
        Looks at about log2(number of checkpoints) stored states, which take no step, one block, and up to a block
        more for the last state. Only both ends, those states and that block are looked at; whether it is monotone
        elsewhere is not. `first` looks everywhere.
        """
        return search.bisect(self._trajectory, cond, start, stop)

    def last_change(
        self,
        f: Metric = None,
        before: int | None = None,
        *,
        executor: ExecutorOption = None,
        workers: int | None = None,
        progress: ProgressOption = None,
    ) -> int | None:
        """Return the last step below `before` at which ``f(state)`` is not what it was one step earlier, or None.

        Ask again with ``before=`` the answer for the change before that. What was there before and after is
        ``f(run.get(t - 1))`` and ``f(run.get(t))``.

        Parameters
        ----------
        f : callable, None (the state itself) or name of an attribute or key, or of an observed metric
        before : int, optional
            As for `last`.
        executor, workers, progress
            As for `stats`.

        Notes
        -----
        Values are compared byte for byte: a NaN is what it was, 0.0 is not -0.0, 1 is not True. Blocks backward, each
        forward once.
        """
        return search.last_change(self._trajectory, f, before, Execution(executor, workers, progress))

    def changes(
        self,
        f: Metric = None,
        start: int = 0,
        stop: int | None = None,
        *,
        executor: ExecutorOption = None,
        workers: int | None = None,
        progress: ProgressOption = None,
    ) -> Iterator[tuple[int, Any, Any]]:
        """Return an iterator over ``(step, old, new)`` for the steps of a window at which ``f(state)`` changes.

        Parameters
        ----------
        f : callable, None (the state itself) or name of an attribute or key, or of an observed metric
        start, stop : int
            A window, as in a slice. Its first step is compared with the one before it, if there is one: windows that
            follow each other give all changes.
        executor, workers, progress
            As for `stats`.

        Notes
        -----
        Values are compared byte for byte, as in `last_change`. One pass, as the iterator goes on.
        """
        return search.changes(self._trajectory, f, start, stop, Execution(executor, workers, progress))

    def at(self, t: int) -> Cursor[S]:
        """Return a cursor at step `t`, to walk about with: ``step``, ``back``, ``until``.

        Parameters
        ----------
        t : int
            ``-n_steps <= t < n_steps``; negative steps count from the end.

        Raises
        ------
        StepRangeError
            If there is no such step.
        """
        return Cursor(self, self._recording.grid.step(integer("t", t)))

    # ---- other futures

    def branch(
        self,
        t: int,
        mutate: Callable[[S], S | None] | None = None,
        seed: int | None = None,
        n_steps: int | None = None,
        *,
        noise: branch.Noise = "fresh",
        params: Mapping[str, Any] | None = None,
        step_fn: Callable[..., S] | None = None,
        path: str | os.PathLike[str] | None = None,
        durability: Durability = "block",
        on_signal: OnSignal = None,
        progress: ProgressOption = None,
        trial: bool = True,
        lossy: Lossy = "refuse",
    ) -> Self:
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
            Another step function. Default: this run's. Parameters that it does not have are not inherited.
        path, durability, on_signal
            As for `record`: block by block to this file, which `resume` goes on with.
        progress : bool or callable, optional
        trial, lossy
            As for `record`; the step function of the parent is not tried again.

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
        StepError, RecordingInterrupted, StateError, MetricError, ArtifactError
            As from `record`; ``.run`` holds the finished part.

        Warns
        -----
        NoFreshNoiseWarning
            If it drew nothing from its rng, and the model draws from something of its own: another seed gives the same.

        Notes
        -----
        A branch keeps this run's ``block_size``, so siblings of different length draw the same noise, too.
        """
        ends_import("Run.branch")
        options = Options(
            path=path, durability=durability, on_signal=on_signal, progress=progress, trial=trial, lossy=lossy
        )
        plan, row = branch.branch_plan(
            self._trajectory, t, mutate, seed, n_steps, noise=noise, params=params, step_fn=step_fn, options=options
        )
        made = run_plan(type(self), plan, row, options, op="branch", misfits=False)
        warn_of_branch(self._trajectory, plan, row)
        return made

    def extend(self, n_steps: int, *, progress: ProgressOption = None) -> Self:
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
        ends_import("Run.extend")
        return branch.extend(type(self), self._trajectory, n_steps, progress)

    def branches(
        self,
        t: int,
        n: int,
        mutate: Callable[[S], S | None] | None = None,
        metric: Metric = None,
        n_steps: int | None = None,
        *,
        seed: int | None = None,
        every: int = 1,
        params: Mapping[str, Any] | None = None,
        step_fn: Callable[..., S] | None = None,
        executor: ExecutorOption = None,
        workers: int | None = None,
        progress: ProgressOption = None,
    ) -> Branches[S]:
        """Return what a metric gives in `n` futures from step `t`, each with noise of its own.

        Parameters
        ----------
        t : int
            The step at which all leave; their step 0.
        n : int
            Number of branches, at least 1.
        mutate : callable, optional
            The intervention, as for `branch`; made once, and all branches start from what it gives.
        metric : callable, None (the state itself) or name of an attribute or key, or of an observed metric
            Gives a number, or an array of numbers of one shape. It is all that is kept.
        n_steps : int, optional
            Number of states of each branch. Default: up to the last step of this run.
        seed : int, optional
            What the seeds of the branches are made of. Default: this run's seed; the same call gives the same branches.
        every : int
            Keep the metric of every so many steps.
        params, step_fn
            As for `branch`.
        executor, workers, progress
            As for `stats`; the unit of progress is a branch.

        Returns
        -------
        branches : Branches
            ``values``, float64 of shape (n, number of steps kept, *shape of the metric), with the ``seeds`` and the
            ``steps`` on this run's axis; ``branches.run(i)`` records one of them.

        Raises
        ------
        StepRangeError, ArgumentError, MetricError
            If there is no such step, `n` or `every` is below 1, or the metric does not give numbers of one shape.
        WorkersLostError
            If workers die and cannot be replaced; its ``partial`` has the values of the branches before.

        Warns
        -----
        NoFreshNoiseWarning
            If forks drew nothing from their rng, and the model draws from something of its own: they are one future.

        Notes
        -----
        ``n * n_steps`` steps. Branch `i` draws from ``seeds[i]``, the integer of ``SeedSequence(entropy=seed,
        spawn_key=(t, 1, i))``, and is the run ``branch(t, mutate, seed=seeds[i], n_steps=n_steps)`` to the last bit.
        """

        def record_one(t: int, seed: int, length: int) -> Run[S]:
            return self.branch(t, mutate, seed, length, params=params, step_fn=step_fn)

        ends_import("Run.branches")
        return forks.branches(
            self._trajectory,
            record_one,
            t,
            n,
            mutate,
            metric,
            n_steps,
            seed,
            every,
            params,
            step_fn,
            Execution(executor, workers, progress),
        )

    def likelihood(
        self,
        event: ConditionOption,
        steps: int | Iterable[int],
        n: int = 100,
        n_steps: int | None = None,
        *,
        seed: int | None = None,
        confidence: float = 0.95,
        executor: ExecutorOption = None,
        workers: int | None = None,
        progress: ProgressOption = None,
    ) -> Array:
        """Return how likely an event was, seen from some steps: the share of `n` branches from each that have it.

        Where the share becomes 1 is where it became inevitable.

        Parameters
        ----------
        event : callable or str
            A predicate of the state or text over observed metrics, as for `first`. A branch has it if it holds at any
            of its states, the one it leaves from included.
        steps : int or iterable of int
            The steps to branch at.
        n : int
            Number of branches from each.
        n_steps : int, optional
            Number of states of each branch. Default: up to the last step of this run.
        seed : int, optional
            As for `branches`, whose branches these are.
        confidence : float
            Of the interval, between 0 and 1.
        executor, workers, progress
            As for `stats`; the unit of progress is a branch.

        Returns
        -------
        table : structured ndarray, one row for each of `steps`
            ``step, n, hits, share, low, high``: `low` and `high` are the ends of Wilson's score interval.

        Raises
        ------
        StepRangeError, ArgumentError, ConditionError
            If there is no such step, a number is out of range, or the event cannot be asked.
        WorkersLostError
            If workers die and cannot be replaced; its ``partial`` has the rows that were finished.

        Warns
        -----
        NoFreshNoiseWarning
            If forks drew nothing from their rng, and the model draws from something of its own: they are one future.

        Notes
        -----
        At most ``len(steps) * n * n_steps`` steps; a branch ends when it happens.
        """
        ends_import("Run.likelihood")
        return forks.likelihood(
            self._trajectory, event, steps, n, n_steps, seed, confidence, Execution(executor, workers, progress)
        )

    # ---- its file

    def save(self, path: Path, *, compat: Literal["1.8"] | None = None, key: bytes | str | None = None) -> None:
        """Write the run to `path`, whole or not at all.

        Parameters
        ----------
        path : str or path-like
            By custom ``NAME.replay``. An old file is replaced at the end, in one step.
        compat : "1.8", optional
            For the oldest HDF5 readers: uncompressed and without a seal.
        key : bytes or str, optional
            Sign the file with this secret of 1 to 64 bytes. ``load(path, key=key)`` then refuses what anyone without
            it made or changed; the content hash stays the same.

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
        ends_import("Run.save")
        replay_file.save(self._recording, path, compat, key_of(key))


def _unpickle(cls: type[Any], arrays: Any, meta: Any, user: Any, step: Step | None, metrics: Any) -> Any:
    """Return a run that was pickled."""
    return cls(from_parts(arrays, meta, user), step, metrics, origin="elsewhere")
