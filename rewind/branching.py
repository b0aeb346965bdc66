"""Futures of a run: branches from any step, more steps at the end, and many forks of which only a number is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from .branches import Branches
from .checks import integer, n_steps_of, params_of, seed_of
from .engine.columns import Array
from .engine.forks import Event, Fork, Forks, Values, fork_seed, wilson
from .engine.increments import thinned_stride
from .engine.metrics import Metric, as_values, label, resolve_one
from .engine.recording import Ancestor, Origin
from .engine.replay import Parted
from .engine.seeds import branch_seed, get_state
from .engine.states import StateCodec
from .engine.steps import Step
from .engine.sweep import Plan, go_on, sweep
from .errors import ArgumentError, ArgumentTypeError, StateError, WorkersLostError
from .progress import ProgressOption, reporter
from .searching import ConditionOption, Searching
from .source import describe, versions
from .stepkinds import step_of
from .sweeping import swept
from .workforce import ExecutorOption, Pass

if TYPE_CHECKING:
    from typing_extensions import Self

S = TypeVar("S")
Noise = Literal["fresh", "same"]


class Branching(Searching[S]):
    """The futures of a run."""

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
        return swept(type(self), plan, lambda: sweep(plan, row, report))

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
        recording = self._recording
        n = n_steps_of(n_steps, None)
        if n <= recording.n_steps:
            advice = f"n_steps is the new number of states in all, for example extend({2 * recording.n_steps})"
            raise ArgumentError("n_steps", n, f"more than the {recording.n_steps} this run has", advice)
        plan = self._longer_plan(n, thinned_stride(recording.stride, replace(recording, n_steps=n).grid.n_blocks, n))
        report = reporter(progress, "extend", n)
        try:
            return swept(type(self), plan, lambda: go_on(recording, plan, report))
        except Parted as parted:
            raise self._not_reproduced(parted) from None

    def _longer_plan(self, n_steps: int, stride: int) -> Plan:
        """Return how this run goes on to `n_steps` steps."""
        recording = self._recording
        missing = [name for name in recording.metrics if name not in self._metrics]
        if missing and self._step is not None:
            advice = "Load the run with rewind.load(path, step_fn, observe={name: function})"
            raise ArgumentError(
                "observe", sorted(self._metrics), f"functions for {', '.join(missing)} to go on", advice
            )
        self._reader.cursor("extend")
        assert self._step is not None
        return Plan(
            step=self._step,
            codec=recording.checkpoints.codec,
            n_steps=n_steps,
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

    # ---- many at once

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
            Number of forks, at least 1.
        mutate : callable, optional
            The intervention, as for `branch`; made once, and all forks start from what it gives.
        metric : callable, None (the state itself) or name of an attribute or key, or of an observed metric
            Gives a number, or an array of numbers of one shape. It is all that is kept.
        n_steps : int, optional
            Number of states of each fork. Default: up to the last step of this run.
        seed : int, optional
            What the seeds of the forks are made of. Default: this run's seed, so the same call gives the same forks.
        every : int
            Keep the metric of every so many steps.
        params, step_fn
            As for `branch`.
        executor, workers, progress
            As for `stats`; the unit of progress is a fork.

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
            If workers die and cannot be replaced; its ``partial`` has the values of the forks before.

        Notes
        -----
        ``n * n_steps`` steps. Fork `i` draws from ``seeds[i]``, the integer of ``SeedSequence(entropy=seed,
        spawn_key=(t, 1, i))``, and is the run ``branch(t, mutate, seed=seeds[i], n_steps=n_steps)`` to the last bit.
        """
        recording = self._recording
        point = recording.grid.step(integer("t", t))
        count, stride = integer("n", n, 1), integer("every", every, 1)
        length = recording.n_steps - point if n_steps is None else n_steps_of(n_steps)
        master = recording.seed if seed is None else seed_of(seed)
        self._reader.cursor("branches")
        step = self._branch_step(params, step_fn)
        state = self._reader.get(point)
        if mutate is not None:
            state = self._mutated(mutate, state)
        codec = StateCodec.of(state, recording.checkpoints.codec.user)
        assert self._step is not None
        step.require_branch(self._step, recording.checkpoints.codec, codec, state)
        name, row = label(metric), codec.encode(state)
        function = resolve_one(name, metric, state, codec, 0, True, self._metrics)
        shape = as_values(name, [state if function is None else function(codec.decode(row))], 0).shape[1:]
        grid = recording.origin.grid + point
        seeds = [fork_seed(master, grid, i) for i in range(count)]
        question = Values(name, function, shape, stride)
        work = Forks(step, codec, recording.block_size, recording.backend, lambda _: row, question, self._reader.turn)
        kept: list[Array] = []

        def found() -> Branches[S]:
            steps = range(point, point + length, stride)
            values = np.array(kept).reshape(len(kept), len(steps), *shape)

            def again(i: int) -> Any:
                return self.branch(point, mutate, seeds[i], length, params=params, step_fn=step_fn)

            return Branches(values, seeds[: len(kept)], steps, again)

        items = [Fork(point, one, length) for one in seeds]
        try:
            kept += Pass("branches", work, items, step, executor, workers, progress)
        except WorkersLostError as lost:
            lost.partial = found()
            raise
        return found()

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
        """Return how likely an event was, seen from some steps: the share of `n` forks from each in which it happens.

        Where the share becomes 1 is where it became inevitable.

        Parameters
        ----------
        event : callable or str
            A predicate of the state or text over observed metrics, as for `first`. It happens in a fork if it holds at
            any of its states, the one it leaves from included.
        steps : int or iterable of int
            The steps to fork at.
        n : int
            Number of forks from each.
        n_steps : int, optional
            Number of states of each fork. Default: up to the last step of this run.
        seed : int, optional
            As for `branches`, whose forks these are.
        confidence : float
            Of the interval, between 0 and 1.
        executor, workers, progress
            As for `stats`; the unit of progress is a fork.

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

        Notes
        -----
        At most ``len(steps) * n * n_steps`` steps; a fork ends when it happens.
        """
        recording = self._recording
        points = [recording.grid.step(integer("a step in steps", t)) for t in _listed(steps)]
        if not points:
            raise ArgumentError("steps", steps, "at least one step to fork at")
        count = integer("n", n, 1)
        if isinstance(confidence, bool) or not isinstance(confidence, (int, float, np.integer, np.floating)):
            raise ArgumentTypeError("confidence", confidence, "a number between 0 and 1, such as 0.95")
        if not 0.0 < confidence <= 1.0 - 2.0**-40:  # quantiles nearer to 1 have no digits
            raise ArgumentError("confidence", confidence, "a number between 0 and 1, such as 0.95")
        length = None if n_steps is None else n_steps_of(n_steps)
        master = recording.seed if seed is None else seed_of(seed)
        self._reader.cursor("likelihood")
        assert self._step is not None
        test = self._test(event, points[0], True)
        codec = recording.checkpoints.codec

        def first(t: int) -> Any:
            return codec.encode(self._reader.get(t))

        work = Forks(self._step, codec, recording.block_size, recording.backend, first, Event(test), self._reader.turn)
        items = [
            Fork(t, fork_seed(master, recording.origin.grid + t, i), length or recording.n_steps - t)
            for t in points
            for i in range(count)
        ]
        happened: list[bool] = []

        def found() -> Array:
            rows = []
            for k in range(len(happened) // count):
                hits = sum(happened[k * count : (k + 1) * count])
                rows.append((points[k], count, hits, hits / count, *wilson(hits, count, float(confidence))))
            names = [("step", "i8"), ("n", "i8"), ("hits", "i8"), ("share", "f8"), ("low", "f8"), ("high", "f8")]
            return np.array(rows, np.dtype(names))

        try:
            happened += Pass("likelihood", work, items, self._step, executor, workers, progress)
        except WorkersLostError as lost:
            lost.partial = found()
            raise
        return found()


def _listed(steps: Any) -> list[Any]:
    if isinstance(steps, (str, bytes)):
        raise ArgumentTypeError("steps", steps, "a step or steps, such as range(0, 1000, 100)")
    try:
        return list(steps)
    except TypeError:  # not even an array without axes is iterable
        return [integer("steps", steps)]
