"""Many futures of a run at once, of which only numbers are kept: forks from a step, and how likely an event was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from .branches import Branches
from .branching import Branching
from .checks import integer, n_steps_of, seed_of
from .engine.columns import Array
from .engine.forks import Event, Fork, Forks, Values, fork_seed, wilson
from .engine.metrics import Metric, as_values, label, resolve_one
from .engine.states import StateCodec
from .errors import ArgumentError, ArgumentTypeError, WorkersLostError
from .progress import ProgressOption
from .searching import ConditionOption
from .workforce import ExecutorOption, Pass

S = TypeVar("S")


class Forking(Branching[S]):
    """Many futures of a run at once."""

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
