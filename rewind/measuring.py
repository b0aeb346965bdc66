"""Numbers of a run: values over a window, statistics in one pass, and what was observed while it was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, overload

from .arrays import stacked
from .checks import integer
from .engine.columns import Array
from .engine.histograms import edges_of
from .engine.ledgers import shift_of
from .engine.metrics import Metric, as_values, label, resolve_one
from .engine.moments import Stats
from .engine.passes import Pass as Passing
from .engine.passes import stretches
from .engine.questions import Measure, Measured, Sums, Valued
from .engine.replay import Parted
from .errors import ArgumentError, ArgumentTypeError, MetricError, UnknownMetricError, WorkersLostError
from .handle import Handle
from .progress import ProgressOption
from .views import Observed
from .workforce import STEPS, ExecutorOption, Pass

S = TypeVar("S")


class Measuring(Handle[S]):
    """The numbers of a run."""

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
        first, behind = self._window(start, stop)
        stride = integer("every", every, 1)
        values: list[Any] = []
        if first >= behind:
            return stacked(values)
        codec = self._recording.checkpoints.codec
        function = resolve_one(label(f), f, self._reader.get(first), codec, first, False, self._metrics)
        if self._step is None:  # the stored states are to be had all the same
            values = [_value(function, state) for state in self._reader.states(range(first, behind, stride))]
            return stacked(values)
        work = Passing(self._recording, self._step, Valued(label(f), function, first, stride), self._reader.turn)
        grid = self._recording.grid
        items = [s for s in stretches(grid, first, behind) if s.first + (first - s.first) % stride < s.behind]
        passing = Pass("series", work, items, self._step, executor, workers, progress, **STEPS)
        try:
            for answer in passing:
                values += answer
        except Parted as parted:
            raise self._not_reproduced(parted) from None
        except WorkersLostError as lost:
            lost.partial = stacked(values)
            raise
        return stacked(values)

    # ---- statistics

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
        first, behind = self._some_window(start, stop)
        measures = self._measures(f, first, behind, histogram, max_lag)
        assert self._step is not None
        sums: list[Sums] = []

        def found() -> Any:
            stats = {name: s.stats(measures[name].shape) for name, s in zip(measures, sums, strict=False)}
            return stats if isinstance(f, Mapping) else next(iter(stats.values()), None)

        work = Passing(self._recording, self._step, Measured(measures), self._reader.turn)
        items = stretches(self._recording.grid, first, behind)
        try:
            for answer in Pass("stats", work, items, self._step, executor, workers, progress, **STEPS):
                sums = [a.merge(b) for a, b in zip(sums, answer, strict=True)] if sums else answer
        except Parted as parted:
            raise self._not_reproduced(parted) from None
        except WorkersLostError as lost:
            lost.partial = found()
            raise
        return found()  # type: ignore[no-any-return]

    def _measures(
        self, f: Metric | Mapping[str, Metric], first: int, behind: int, histogram: Any, max_lag: Any
    ) -> dict[str, Measure]:
        """Return what `stats` is to collect of each metric."""
        metrics = dict(f) if isinstance(f, Mapping) else {label(f): f}
        if not metrics:
            raise ArgumentError("f", f, "at least one metric")
        edges = None if histogram is None else edges_of(histogram)
        lag = None if max_lag is None else integer("max_lag", max_lag, 0)
        if lag is not None and lag >= behind - first:
            raise ArgumentError("max_lag", max_lag, f"a lag below {behind - first}, the number of steps in the window")
        return {name: self._measure(name, metric, first, lag, edges) for name, metric in metrics.items()}

    def _measure(self, name: Any, metric: Metric, first: int, lag: int | None, edges: Array | None) -> Measure:
        if not isinstance(name, str):
            raise ArgumentTypeError("a name in f", name, "a str")
        state, codec = self._reader.get(first), self._recording.checkpoints.codec
        self._reader.cursor("stats")
        function = resolve_one(name, metric, state, codec, first, True, self._metrics)
        array = as_values(name, [_value(function, state)], first)
        shape = array.shape[1:]
        if shape and (lag is not None or edges is not None):
            what = "a histogram" if edges is not None else "an autocovariance"
            raise MetricError(name, first, f"gives an array of shape {shape}, and {what} is of one number a step")
        return Measure(function, shape, shift_of(array), lag, edges)

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


def _value(function: Any, state: Any) -> Any:
    return state if function is None else function(state)
