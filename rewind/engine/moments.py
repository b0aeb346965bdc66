"""Moments of a metric over a stretch of a run, exact for a scalar one, and how two stretches are merged.

A finite double is an integer times 2**-1074, its square an integer times 2**-2148, so the sums of a scalar metric are
kept as integers: nothing is rounded until the end, whatever the order or the number of pieces.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..kernel import fold
from .columns import Array
from .digests import digest

#: Denominators of the integer sums of values and of squares.
UNIT = 1 << 1074
UNIT2 = 1 << 2148


def ratio(numerator: int, denominator: int) -> float:
    """Return ``numerator / denominator`` correctly rounded, infinite where no double is large enough."""
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf if (numerator > 0) == (denominator > 0) else -math.inf


@dataclass(frozen=True)
class ScalarMoments:
    """Exact moments of a scalar metric.

    Attributes
    ----------
    count, total, squares : int
        Number of values; sum of the finite ones in units of 2**-1074; sum of their squares in units of 2**-2148.
    nan_count, first_nan, pos_inf, neg_inf : int
        NaN and infinities; the step of the first NaN, -1 if there is none.
    min, argmin, max, argmax
        Extremes and the first steps they are reached at (-1 where there is no number).
    last : float
    """

    count: int = 0
    total: int = 0
    squares: int = 0
    nan_count: int = 0
    first_nan: int = -1
    pos_inf: int = 0
    neg_inf: int = 0
    min: float = math.nan
    argmin: int = -1
    max: float = math.nan
    argmax: int = -1
    last: float = math.nan

    @classmethod
    def of(cls, values: Array, step: int) -> ScalarMoments:
        """Return the moments of `values`, shape (n,), whose first belongs to `step`."""
        found = cls(*fold(values), float(values[-1]) if len(values) else math.nan)
        moved = {
            name: getattr(found, name) + step for name in ("first_nan", "argmin", "argmax") if getattr(found, name) >= 0
        }
        return replace(found, **moved)

    def merge(self, later: ScalarMoments) -> ScalarMoments:
        """Return the moments of this stretch and the one behind it. O(1)."""
        if not later.count:
            return self
        low = later if self.argmin < 0 or later.min < self.min else self
        high = later if self.argmax < 0 or later.max > self.max else self
        return ScalarMoments(
            self.count + later.count,
            self.total + later.total,
            self.squares + later.squares,
            self.nan_count + later.nan_count,
            self.first_nan if self.first_nan >= 0 else later.first_nan,
            self.pos_inf + later.pos_inf,
            self.neg_inf + later.neg_inf,
            low.min,
            low.argmin,
            high.max,
            high.argmax,
            later.last,
        )

    @property
    def mean(self) -> float:
        """The rational mean, rounded once; IEEE where a value is infinite or NaN."""
        if not self.count or self.nan_count or (self.pos_inf and self.neg_inf):
            return math.nan
        if self.pos_inf or self.neg_inf:
            return math.inf if self.pos_inf else -math.inf
        return ratio(self.total, self.count * UNIT)

    def _spread(self, denominator: int) -> float:
        if not self.count or self.nan_count or self.pos_inf or self.neg_inf or not denominator:
            return math.nan
        return ratio(self.count * self.squares - self.total * self.total, denominator * UNIT2)

    @property
    def variance(self) -> float:
        """The rational sample variance (ddof=1), rounded once; NaN below two values."""
        return self._spread(self.count * (self.count - 1))

    @property
    def m2(self) -> float:
        """The rational sum of squared deviations from the mean, rounded once."""
        return self._spread(self.count)


_SLICE = 21  # bits: a sum of 2**_ROWS products of two slices is an integer of at most 53 bits
_ROWS = 10


def gram(values: Array) -> Array:
    """Return ``values.T @ values`` for `values` of shape (n, d), with the same bits on every machine.

    In which order a BLAS adds depends on the processor and the number of threads. So each column is cut into slices,
    small integers times a power of two, as in [1]_ (their q is `_SLICE` here): a product of two slices is exact in
    any order, and what is rounded is added here, in one order. The error of an entry is below ``n * 2**-52`` of the
    product of the largest values of its columns.

    References
    ----------
    .. [1] K. Ozaki, T. Ogita, S. Oishi, S. M. Rump, "Error-free transformations of matrix multiplication by using fast
       routines of matrix multiplication and its applications", Numerical Algorithms 59 (2012).
    """
    finite = np.isfinite(values).all(axis=0)
    values = np.where(finite, values, 0.0)
    exponent = np.frexp(np.abs(values).max(axis=0, initial=0.0))[1]
    if exponent.min(initial=0) > -1000:  # a product by a power of two is exact, and four times as fast as ldexp
        left = values * np.ldexp(1.0, _SLICE - exponent)
    else:
        left = np.ldexp(values, _SLICE - exponent)
    n, d = values.shape
    cut = np.empty((n, 3 * d))  # high, middle and low slices, side by side
    for i in range(3):
        part = cut[:, i * d : (i + 1) * d]
        np.rint(left, out=part)
        left -= part
        left *= 1 << _SLICE
    total: Array = np.zeros((d, d))
    for at in range(0, n, 1 << _ROWS):
        rows = cut[at : at + (1 << _ROWS)]
        every = rows.T @ rows  # one call, which a BLAS with threads wakes up for once
        near, far = every[:d, d : 2 * d], every[:d, 2 * d :]
        small = every[d : 2 * d, d : 2 * d] + far + far.T
        total += every[:d, :d] + np.ldexp(near + near.T, -_SLICE) + np.ldexp(small, -2 * _SLICE)
    with np.errstate(over="ignore"):
        total = np.ldexp(total, exponent[:, None] + exponent - 2 * _SLICE)
    total[~finite] = np.nan
    total[:, ~finite] = np.nan
    return total


@dataclass(frozen=True)
class VectorMoments:
    """Moments of a metric with several components, merged in block order by the pairwise update of [1]_.

    Attributes
    ----------
    count : int
    shift : ndarray, shape (d,)
        The first value of the run, subtracted before anything is summed: a large mean costs no digits.
    mean, comoment : ndarray, shape (d,) and (d, d)
        Mean of the shifted values; sum of the outer products of their deviations ([1]_ calls it M2).
    min, argmin, max, argmax, last, nan_count, first_nan : ndarray, shape (d,)

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance", The American
       Statistician 37 (1983), eq. (2.1), with their (T, S) as (count*mean, comoment).
    """

    count: int
    shift: Array
    mean: Array
    comoment: Array
    min: Array
    argmin: Array
    max: Array
    argmax: Array
    last: Array
    nan_count: Array
    first_nan: Array

    @classmethod
    def of(cls, values: Array, step: int, shift: Array) -> VectorMoments:
        """Return the moments of `values`, shape (n, d), whose first row belongs to `step`. A few matrix products."""
        nan = np.isnan(values)
        some = ~nan.all(axis=0)
        low, high = np.where(nan, np.inf, values), np.where(nan, -np.inf, values)
        smallest, largest = low.min(axis=0), high.max(axis=0)
        argmin = (~nan & (values == smallest)).argmax(axis=0)  # not low.argmin: a NaN stands there as an infinity
        argmax = (~nan & (values == largest)).argmax(axis=0)
        every = np.arange(values.shape[1])
        smallest, largest = low[argmin, every], high[argmax, every]  # of 0.0 and -0.0 the one met first
        with np.errstate(invalid="ignore", over="ignore"):
            shifted = values - shift
            mean = shifted.mean(axis=0)
            centred = shifted - mean
            comoment = gram(centred)
        return cls(
            len(values),
            shift,
            mean,
            comoment,
            np.where(some, smallest, np.nan),
            np.where(some, argmin + step, -1),
            np.where(some, largest, np.nan),
            np.where(some, argmax + step, -1),
            values[-1].copy(),
            nan.sum(axis=0),
            np.where(nan.any(axis=0), nan.argmax(axis=0) + step, -1),
        )

    def merge(self, later: VectorMoments) -> VectorMoments:
        """Return the moments of this stretch and the one behind it. O(d**2)."""
        count = self.count + later.count
        with np.errstate(invalid="ignore", over="ignore"):
            delta = later.mean - self.mean
            infinite = np.isinf(self.mean) | np.isinf(later.mean)
            mean = np.where(infinite, self.mean + later.mean, self.mean + delta * (later.count / count))
            comoment = self.comoment + later.comoment + np.outer(delta, delta) * (self.count * later.count / count)
            low = (self.argmin < 0) | (later.min < self.min)
            high = (self.argmax < 0) | (later.max > self.max)
        return VectorMoments(
            count,
            self.shift,
            mean,
            comoment,
            np.where(low, later.min, self.min),
            np.where(low, later.argmin, self.argmin),
            np.where(high, later.max, self.max),
            np.where(high, later.argmax, self.argmax),
            later.last,
            self.nan_count + later.nan_count,
            np.where(self.first_nan >= 0, self.first_nan, later.first_nan),
        )


Moments = ScalarMoments | VectorMoments


class Stats(Mapping[str, Any]):
    """Statistics of one metric over one stretch of a run: a mapping whose keys are attributes, too.

    For a scalar metric ``count, mean, variance, std, min, max, argmin, argmax, nan_count, first_nan``; ``mean`` and
    ``variance`` (ddof=1) are the exact rational results rounded once. For a metric with several components these are
    arrays of the metric's shape, and there is ``covariance`` of shape (d, d). ``argmin``, ``argmax`` and
    ``first_nan`` are steps, None (-1 in an array) where there is none.
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

    def __init__(self, moments: Moments, shape: tuple[int, ...] | None = None) -> None:
        self._values = _scalar(moments) if isinstance(moments, ScalarMoments) else _vector(moments, shape)

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
