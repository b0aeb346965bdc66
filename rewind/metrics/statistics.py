"""Statistics of a metric over a window: what is summed block by block, and the mapping that a user gets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import MetricError
from ..state.columns import Array
from ..state.digest import digest
from .autocovariance import Lagged
from .histogram import Histogram
from .metric import as_values
from .moments import Moments, ScalarMoments, VectorMoments

#: What to draw instead of statistics.
_TO_DRAW = (
    "run.overview(name), a row for each block with its mean, min and max, or run.series(f), a value for each step; a "
    "number of these statistics is stats.mean, stats.max and so on"
)


class Stats(Mapping[str, Any]):
    """Statistics of one metric over one stretch of a run: a mapping whose keys are attributes, too.

    For a scalar metric ``count, mean, variance, std, min, max, argmin, argmax, nan_count, first_nan``; ``mean`` and
    ``variance`` (ddof=1) are the exact rational results rounded once. For a metric with several components these are
    arrays of the metric's shape, and there is ``covariance`` of shape (d, d). ``argmin``, ``argmax`` and
    ``first_nan`` are steps, None (-1 in an array) where there is none. Where they were requested, there are
    ``histogram`` and ``edges``, and ``autocovariance``.
    """

    count: int
    mean: Any
    variance: Any
    std: Any
    covariance: Any
    min: Any
    max: Any
    argmin: Any
    argmax: Any
    nan_count: Any
    first_nan: Any
    histogram: Any
    edges: Any
    autocovariance: Any

    def __init__(
        self, moments: Moments, shape: tuple[int, ...] | None = None, more: Mapping[str, Any] | None = None
    ) -> None:
        self._values = _scalar(moments) if isinstance(moments, ScalarMoments) else _vector(moments, shape)
        self._values.update(more or {})

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._values:
            raise AttributeError(f"Stats has {', '.join(self.__dict__.get('_values', ()))}; no {name!r}")
        return self._values[name]

    def __eq__(self, other: object) -> bool:
        # Bytes, not ==: arrays have no truth value, and a NaN is the same result twice.
        return digest(self._values) == digest(other._values) if isinstance(other, Stats) else NotImplemented

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._values]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        raise MetricError("observed", None, "is statistics of the whole run, and no values to draw", _TO_DRAW)

    def __repr__(self) -> str:
        return f"Stats({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"


def _scalar(moments: ScalarMoments) -> dict[str, Any]:
    variance = moments.variance
    return {
        "count": moments.count,
        "mean": moments.mean,
        "variance": variance,
        "std": math.sqrt(variance),
        "min": moments.min,
        "max": moments.max,
        "argmin": moments.argmin if moments.argmin >= 0 else None,
        "argmax": moments.argmax if moments.argmax >= 0 else None,
        "nan_count": moments.nan_count,
        "first_nan": moments.first_nan if moments.first_nan >= 0 else None,
    }


def _vector(moments: VectorMoments, shape: tuple[int, ...] | None) -> dict[str, Any]:
    shape = moments.mean.shape if shape is None else shape
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = moments.comoment / (moments.count - 1) if moments.count > 1 else moments.comoment * np.nan
        mean = moments.mean + moments.shift
        std = np.sqrt(covariance.diagonal()).reshape(shape)
    variance = covariance.diagonal().reshape(shape).copy()
    return {
        "count": moments.count,
        "mean": mean.reshape(shape),
        "variance": variance,
        "std": std,
        "covariance": covariance,
        "min": moments.min.reshape(shape).copy(),
        "max": moments.max.reshape(shape).copy(),
        "argmin": moments.argmin.reshape(shape).copy(),
        "argmax": moments.argmax.reshape(shape).copy(),
        "nan_count": moments.nan_count.reshape(shape).copy(),
        "first_nan": moments.first_nan.reshape(shape).copy(),
    }


# ---- statistics


class Measure(NamedTuple):
    """What is to be known of a metric: `shape` of a value, `shift` as in `VectorMoments`, and what else is counted."""

    function: Any
    shape: tuple[int, ...]
    shift: Array
    max_lag: int | None = None
    edges: Array | None = None


class Sums(NamedTuple):
    """What one metric gave over a stretch; two of them, one after the other, make one."""

    moments: Moments
    lagged: Lagged | None
    histogram: Histogram | None

    def merge(self, later: Sums) -> Sums:
        """Return what it gave over this stretch and the next one."""
        return Sums(
            self.moments.merge(later.moments),  # type: ignore[arg-type]
            None if self.lagged is None or later.lagged is None else self.lagged.merge(later.lagged),
            None if self.histogram is None or later.histogram is None else self.histogram.merge(later.histogram),
        )

    def stats(self, shape: tuple[int, ...]) -> Stats:
        """Return them as statistics."""
        more: dict[str, Any] = {}
        if self.histogram is not None:
            more = {"histogram": self.histogram.counts, "edges": self.histogram.edges}
        if self.lagged is not None:
            more["autocovariance"] = self.lagged.autocovariance
        return Stats(self.moments, shape, more)


def sums_of(name: str, measure: Measure, values: Any, step: int) -> Sums:
    """Return the sums of what metric `name` gave, the first value at `step`."""
    array = as_values(name, values, step, measure.shape)
    if measure.shape:
        moments: Moments = VectorMoments.of(array.reshape(len(array), -1), step, measure.shift)
        return Sums(moments, None, None)
    lagged = None if measure.max_lag is None else Lagged.of(array, measure.max_lag)
    histogram = None if measure.edges is None else Histogram.of(array, measure.edges)
    return Sums(ScalarMoments.of(array, step), lagged, histogram)
