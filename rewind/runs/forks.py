"""Many futures of a run at once, of which only numbers are kept: branches from a step, and how likely an event was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import numpy as np

from ..engine.forks import Event, Fork, Forks, Parent, Values, fork_seed, wilson
from ..engine.replay import ReplayMismatch
from ..errors import ArgumentError, ArgumentTypeError, StepRangeError, WorkersLostError
from ..metrics.metric import Metric, as_values, label, resolve_one
from ..state.codec import StateCodec
from ..state.columns import Array
from ..steps.step import Step
from .arguments import integer, n_steps_of, seed_of
from .branch import mutated, step_of_branch
from .executors import Execution
from .noise import Suspect, warn_of_forks
from .search import ConditionOption, test_of
from .trajectory import Trajectory
from .verify import not_reproduced

S = TypeVar("S")


class Branches(Generic[S]):
    """What a metric gave in many futures of one moment; `Run.branches` makes it. A sequence of arrays, one a branch.

    Attributes
    ----------
    values : ndarray of float64, shape (n, n_kept, *shape of the metric)
        Row `i` is what it gave in branch `i`.
    seeds : list of int
        Master seed of each branch.
    steps : range
        The steps it was kept at, on the axis of the run they left.
    """

    def __init__(self, values: Array, seeds: list[int], steps: range, again: Callable[[int], Any]) -> None:
        self.values, self.seeds, self.steps, self._again = values, seeds, steps, again

    def run(self, i: int) -> Any:
        """Return branch `i` as a run of its own: recorded again, to the last bit. ``n_steps`` steps.

        Raises
        ------
        StepRangeError
            If there is no such branch.
        """
        return self._again(self._index(i))

    def _index(self, i: int) -> int:
        k = integer("i", i)
        if not -len(self.seeds) <= k < len(self.seeds):
            raise StepRangeError(k, len(self.seeds), "branch")
        return k % len(self.seeds)

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, i: int) -> Array:
        row: Array = self.values[self._index(i)]
        return row

    def __iter__(self) -> Iterator[Array]:
        return iter(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.values, dtype, copy=copy)

    def __repr__(self) -> str:
        return f"<Branches: {len(self)} branches from step {self.steps.start:,}, {len(self.steps):,} values each>"


def branches(
    trajectory: Trajectory,
    record_one: Callable[[int, int, int], Any],
    t: int,
    n: int,
    mutate: Callable[[Any], Any] | None,
    metric: Metric,
    n_steps: int | None,
    seed: int | None,
    every: int,
    params: Mapping[str, Any] | None,
    step_fn: Callable[..., Any] | None,
    execution: Execution,
) -> Branches[Any]:
    """Return what a metric gives in `n` branches: `Run.branches`; ``record_one(t, seed, n_steps)`` records one."""
    recording = trajectory.recording
    point = recording.grid.step(integer("t", t))
    count, stride = integer("n", n, 1), integer("every", every, 1)
    length = recording.n_steps - point if n_steps is None else n_steps_of(n_steps)
    master = recording.seed if seed is None else seed_of(seed)
    trajectory.reader.cursor("branches")
    step = step_of_branch(trajectory, params, step_fn)
    state = trajectory.reader.get(point)
    if mutate is not None:
        state = mutated(mutate, state)
    codec = StateCodec.of(state, recording.checkpoints.codec.user)
    assert trajectory.step is not None
    step.require_branch(trajectory.step, recording.checkpoints.codec, codec, state)
    name, row = label(metric), codec.encode(state)
    function = resolve_one(name, metric, state, codec, 0, True, trajectory.metrics, trajectory.recording.metrics)
    shape = as_values(name, [state if function is None else function(codec.decode(row))], 0).shape[1:]
    grid = recording.origin.grid + point
    seeds = [fork_seed(master, grid, i) for i in range(count)]
    query = Values(name, function, shape, stride)
    watched = Suspect.of(step, state) is not None
    turn, parent = trajectory.reader.turn, _parent(trajectory, step, point)
    work = Forks(step, codec, recording.block_size, recording.backend, lambda _: row, query, turn, watched, parent)
    kept: list[Array] = []
    no_draws = 0

    def found() -> Branches[S]:
        steps = range(point, point + length, stride)
        values = np.array(kept).reshape(len(kept), len(steps), *shape)

        return Branches(values, seeds[: len(kept)], steps, lambda i: record_one(point, seeds[i], length))

    items = [Fork(point, one, length) for one in seeds]
    try:
        for future in execution.job("branches", work, items, step):
            kept.append(future.kept)
            no_draws += future.no_draws
    except ReplayMismatch as mismatch:  # of a worker, whose step goes another way
        raise not_reproduced(trajectory, mismatch) from None
    except WorkersLostError as lost:
        lost.partial = found()
        raise
    if no_draws:
        warn_of_forks(trajectory, step, state, [point], no_draws, count)
    return found()


def likelihood(
    trajectory: Trajectory,
    event: ConditionOption,
    steps: int | Iterable[int],
    n: int,
    n_steps: int | None,
    seed: int | None,
    confidence: float,
    execution: Execution,
) -> Array:
    """Return how likely an event was, seen from some steps: `Run.likelihood`."""
    recording = trajectory.recording
    points = [recording.grid.step(integer("a step in steps", t)) for t in _listed(steps)]
    if not points:
        raise ArgumentError("steps", steps, "at least one step to branch at")
    count = integer("n", n, 1)
    if isinstance(confidence, bool) or not isinstance(confidence, (int, float, np.integer, np.floating)):
        raise ArgumentTypeError("confidence", confidence, "a number between 0 and 1, such as 0.95")
    if not 0.0 < confidence <= 1.0 - 2.0**-40:  # quantiles nearer to 1 have no digits
        raise ArgumentError("confidence", confidence, "a number between 0 and 1, such as 0.95")
    length = None if n_steps is None else n_steps_of(n_steps)
    master = recording.seed if seed is None else seed_of(seed)
    trajectory.reader.cursor("likelihood")
    assert trajectory.step is not None
    test = test_of(trajectory, event, points[0], True)
    codec = recording.checkpoints.codec

    def first(t: int) -> Any:
        return codec.encode(trajectory.reader.get(t))

    step, turn, state = trajectory.step, trajectory.reader.turn, trajectory.reader.get(points[0])
    watched, parent = Suspect.of(step, state) is not None, _parent(trajectory, step, points[0])
    work = Forks(step, codec, recording.block_size, recording.backend, first, Event(test), turn, watched, parent)
    items = [
        Fork(t, fork_seed(master, recording.origin.grid + t, i), length or recording.n_steps - t)
        for t in points
        for i in range(count)
    ]
    happened: list[bool] = []
    no_draws: list[int] = []

    def found() -> Array:
        rows = []
        for k in range(len(happened) // count):
            hits = sum(happened[k * count : (k + 1) * count])
            rows.append((points[k], count, hits, hits / count, *wilson(hits, count, float(confidence))))
        names = [("step", "i8"), ("n", "i8"), ("hits", "i8"), ("share", "f8"), ("low", "f8"), ("high", "f8")]
        return np.array(rows, np.dtype(names))

    try:
        for future, item in zip(execution.job("likelihood", work, items, step), items, strict=False):
            happened.append(future.kept)
            no_draws += [item.t] if future.no_draws else []
    except ReplayMismatch as mismatch:  # of a worker, whose step goes another way
        raise not_reproduced(trajectory, mismatch) from None
    except WorkersLostError as lost:
        lost.partial = found()
        raise
    if no_draws:
        warn_of_forks(trajectory, step, state, no_draws, len(no_draws), len(items))
    return found()


def _parent(trajectory: Trajectory, step: Step, t: int) -> Parent | None:
    """Return what workers compare: nothing where the step is another, or none of its replays was needed here."""
    recording, known = trajectory.recording, trajectory.step
    if known is None or step.function is not known.function or not trajectory.trust.settled:
        return None
    return Parent(recording, known, recording.grid.block_of(t), trajectory.trust)


def _listed(steps: Any) -> list[Any]:
    if isinstance(steps, (str, bytes)):
        raise ArgumentTypeError("steps", steps, "a step or steps, such as range(0, 1000, 100)")
    try:
        return list(steps)
    except TypeError:  # not even an array without axes is iterable
        return [integer("steps", steps)]
