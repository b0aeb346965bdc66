"""Numbers of a run: values over a window, and statistics in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..engine.queries import Measured, Valued
from ..engine.recording import Recording
from ..engine.replay import ReplayMismatch
from ..engine.scan import Scan, Stretch, stretches
from ..engine.verify import TableMismatch
from ..errors import ArgumentError, ArgumentTypeError, MetricError, UnknownMetricError, WorkersLostError
from ..metrics.histogram import edges_of
from ..metrics.metric import Metric, as_values, label, resolve_one, same_metric
from ..metrics.statistics import Measure, Stats, Sums
from ..metrics.table import COLUMNS, INTEGER, TableRows, shift_of
from ..state.columns import Array
from .arguments import integer
from .executors import STEPS, Execution
from .trajectory import Trajectory
from .verify import not_reproduced, observed_failure
from .views import stacked


def series(trajectory: Trajectory, f: Metric, start: int, stop: int | None, every: int, execution: Execution) -> Any:
    """Return ``f(state)`` at some steps of a window: `Run.series`."""
    first, end = trajectory.window(start, stop)
    stride = integer("every", every, 1)
    values: list[Any] = []
    if first >= end:
        return stacked(values)
    codec = trajectory.recording.checkpoints.codec
    function = resolve_one(
        label(f), f, trajectory.reader.get(first), codec, first, False, trajectory.metrics, trajectory.recording.metrics
    )
    if trajectory.step is None:  # the stored states are available all the same
        values = [_value(function, state) for state in trajectory.reader.states(range(first, end, stride))]
        return stacked(values)
    work = Scan(
        trajectory.recording,
        trajectory.step,
        Valued(label(f), function, first, stride),
        trajectory.reader.turn,
        trajectory.trust,
    )
    grid = trajectory.recording.grid
    items = [s for s in stretches(grid, first, end) if s.start + (first - s.start) % stride < s.stop]
    job = execution.job("series", work, items, trajectory.step, **STEPS)
    try:
        for answer in job:
            values += answer
    except ReplayMismatch as mismatch:
        raise not_reproduced(trajectory, mismatch) from None
    except WorkersLostError as lost:
        lost.partial = stacked(values)
        raise
    return stacked(values)


def stats(
    trajectory: Trajectory,
    f: Metric | Mapping[str, Metric],
    start: int,
    stop: int | None,
    histogram: Any,
    max_lag: int | None,
    execution: Execution,
) -> Stats | dict[str, Stats]:
    """Return the statistics of ``f(state)`` over a window: `Run.stats`."""
    first, end = trajectory.some_window(start, stop)
    measures = measures_of(trajectory, f, first, end, histogram, max_lag)
    assert trajectory.step is not None
    sums: Sequence[Sums] = []

    def found() -> Any:
        stats = {name: s.stats(measures[name].shape) for name, s in zip(measures, sums, strict=False)}
        return stats if isinstance(f, Mapping) else next(iter(stats.values()), None)

    work = Scan(trajectory.recording, trajectory.step, Measured(measures), trajectory.reader.turn, trajectory.trust)
    items = stretches(trajectory.recording.grid, first, end)
    try:
        answers = execution.job("stats", work, items, trajectory.step, **STEPS)
        for answer in compared(trajectory, measures, items, answers):
            sums = [a.merge(b) for a, b in zip(sums, answer, strict=True)] if sums else answer
    except ReplayMismatch as mismatch:
        raise not_reproduced(trajectory, mismatch) from None
    except WorkersLostError as lost:
        lost.partial = found()
        raise
    return found()  # type: ignore[no-any-return]


def compared(
    trajectory: Trajectory,
    measures: Mapping[str, Measure],
    items: Sequence[Stretch],
    answers: Iterable[Sequence[Sums]],
) -> Iterator[Sequence[Sums]]:
    """Yield what metrics gave over stretches; what was observed of a whole block has to be that.

    Raises
    ------
    ObservedMismatchError
        If it is not.
    """
    recording, grid = trajectory.recording, trajectory.recording.grid
    known = trajectory.observed()
    observed = [_observed_as(trajectory, known, measure) for measure in measures.values()]
    for answer, item in zip(answers, items, strict=False):  # the answers first: they are to come to their end
        whole = item.start == grid.start(item.block) and item.stop == grid.stop(item.block)
        for name, sums in zip(observed, answer, strict=True):
            if name is None or not whole:
                continue
            rows = TableRows.of(recording.metrics[name], [item.block])
            found = rows.moments_difference(name, item.block, sums.moments, item.start)
            if found is not None:
                assert trajectory.step is not None
                raise observed_failure(TableMismatch(item.block, item.stop, found), recording, trajectory.step)
        yield answer


def _observed_as(trajectory: Trajectory, known: Mapping[str, Any], measure: Measure) -> str | None:
    """Return the name that a metric was observed by, None if it was not."""
    for name, function in known.items():
        if trajectory.recording.metrics[name].shape == measure.shape and same_metric(function, measure.function):
            return name
    return None


def measures_of(
    trajectory: Trajectory,
    f: Metric | Mapping[str, Metric],
    first: int,
    end: int,
    histogram: Any,
    max_lag: int | None,
) -> dict[str, Measure]:
    """Return what `stats` is to collect of each metric."""
    metrics = dict(f) if isinstance(f, Mapping) else {label(f): f}
    if not metrics:
        raise ArgumentError("f", f, "at least one metric")
    edges = None if histogram is None else edges_of(histogram)
    lag = None if max_lag is None else integer("max_lag", max_lag, 0)
    if lag is not None and lag >= end - first:
        raise ArgumentError("max_lag", max_lag, f"a lag below {end - first}, the number of steps in the window")
    return {name: _measure(trajectory, name, metric, first, lag, edges) for name, metric in metrics.items()}


def _measure(
    trajectory: Trajectory, name: Any, metric: Metric, first: int, lag: int | None, edges: Array | None
) -> Measure:
    if not isinstance(name, str):
        raise ArgumentTypeError("a name in f", name, "a str")
    state, codec = trajectory.reader.get(first), trajectory.recording.checkpoints.codec
    trajectory.reader.cursor("stats")
    function = resolve_one(name, metric, state, codec, first, True, trajectory.metrics, trajectory.recording.metrics)
    array = as_values(name, [_value(function, state)], first)
    shape = array.shape[1:]
    if shape and (lag is not None or edges is not None):
        what = "a histogram" if edges is not None else "an autocovariance"
        raise MetricError(name, first, f"gives an array of shape {shape}, and {what} is of one number a step")
    return Measure(function, shape, shift_of(array), lag, edges)


def overview(recording: Recording, name: str) -> Array:
    """Return what an observed metric gave, one row per block: `Run.overview`."""
    if name not in recording.metrics:
        raise UnknownMetricError(name, list(recording.metrics))
    table, grid = recording.metrics[name], recording.grid
    names = ["start", "count", *COLUMNS]
    kinds = [np.dtype("i8") if name in INTEGER or i < 2 else np.dtype("f8") for i, name in enumerate(names)]
    shapes = [() if i < 2 else table.shape for i, _ in enumerate(names)]
    rows = np.zeros(grid.n_blocks, np.dtype(list(zip(names, kinds, shapes, strict=True))))
    rows["start"] = [grid.start(j) for j in range(grid.n_blocks)]
    rows["count"] = [grid.stop(j) - grid.start(j) for j in range(grid.n_blocks)]
    for column in COLUMNS:
        rows[column] = table.rows[column]
    return rows


def _value(function: Any, state: Any) -> Any:
    return state if function is None else function(state)
