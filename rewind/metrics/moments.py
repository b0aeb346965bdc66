"""Moments of a metric over a stretch of a run, exact for a scalar one, and how to merge those of two stretches.

A finite double is an integer times 2**-1074, its square an integer times 2**-2148, so the sums of a scalar metric are
kept as integers: nothing is rounded until the end, whatever the order or the number of pieces.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import astuple, fields
from typing import Any, NamedTuple

import numpy as np

from ..kernel import comoments, fold, merged_comoments, rounded
from ..state.columns import Array
from ..state.frozen import frozen

#: A value is an integer times 2**-UNIT, a square one times 2**-(2 * UNIT).
UNIT = 1074
EPS = 2.0**-53


@frozen
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
        values = np.ascontiguousarray(values, np.float64)
        count, total, squares, nan_count, first_nan, pos_inf, neg_inf, low, argmin, high, argmax = fold(values)
        return _scalar_moments(
            (
                count,
                total,
                squares,
                nan_count,
                first_nan + step if first_nan >= 0 else -1,
                pos_inf,
                neg_inf,
                low,
                argmin + step if argmin >= 0 else -1,
                high,
                argmax + step if argmax >= 0 else -1,
                float(values[-1]) if count else math.nan,
            )
        )

    def merge(self, later: ScalarMoments) -> ScalarMoments:
        """Return the moments of this stretch and the next one. O(1)."""
        if not later.count:
            return self
        low = later if self.argmin < 0 or later.min < self.min else self
        high = later if self.argmax < 0 or later.max > self.max else self
        return _scalar_moments(
            (
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
        )

    def problem(self) -> str | None:
        """Return which of these no numbers have, ``"counts"`` or ``"sums"``; None where there may be such numbers."""
        counts = (self.nan_count, self.pos_inf, self.neg_inf)
        if min(counts) < 0 or sum(counts) > self.count or (self.nan_count > 0) != (self.first_nan >= 0):
            return "counts"
        return "sums" if self.total**2 > self.count * self.squares else None

    def agrees(self, other: object) -> bool:
        """Return whether `other` holds the same moments, to the last bit."""
        if not isinstance(other, ScalarMoments):
            return False
        # Texts, not ==: a NaN is the same value twice, and 0.0 is not -0.0.
        return [str(value) for value in astuple(self)] == [str(value) for value in astuple(other)]

    @property
    def mean(self) -> float:
        """The rational mean, rounded once; IEEE where a value is infinite or NaN."""
        if not self.count or self.nan_count or (self.pos_inf and self.neg_inf):
            return math.nan
        if self.pos_inf or self.neg_inf:
            return math.inf if self.pos_inf else -math.inf
        return rounded(self.total, self.count << UNIT, 0)

    def _spread(self, denominator: int) -> float:
        if not self.count or self.nan_count or self.pos_inf or self.neg_inf or not denominator:
            return math.nan
        # What all values are multiples of is of no use in a product of numbers of a thousand bits.
        shift = min(_low_zeros(self.total), _low_zeros(self.squares) // 2)
        total, squares = self.total >> shift, self.squares >> 2 * shift
        return rounded(self.count * squares - total * total, denominator, 2 * (shift - UNIT))

    @property
    def variance(self) -> float:
        """The rational sample variance (ddof=1), rounded once; NaN below two values."""
        return self._spread(self.count * (self.count - 1))

    @property
    def m2(self) -> float:
        """The rational sum of squared deviations from the mean, rounded once."""
        return self._spread(self.count)


_SCALAR = [f.name for f in fields(ScalarMoments)]


def _scalar_moments(values: Iterable[Any]) -> ScalarMoments:
    """Return ``ScalarMoments(*values)`` in a third of the time: a frozen class sets its fields one by one."""
    moments = object.__new__(ScalarMoments)
    moments.__dict__.update(zip(_SCALAR, values, strict=True))
    return moments


def _low_zeros(number: int) -> int:
    """Return by which power of two `number` can be divided; for 0, by as many as any other number here."""
    return (number & -number).bit_length() - 1 if number else 4 * UNIT


@frozen
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
        """Return the moments of `values`, shape (n, d), whose first row belongs to `step`. O(n d**2)."""
        values, shift = (np.ascontiguousarray(array, np.float64) for array in (values, shift))
        return cls(len(values), shift, *comoments(values, step, shift))

    def merge(self, later: VectorMoments) -> VectorMoments:
        """Return the moments of this stretch and the next one. O(d**2)."""
        merged = merged_comoments(self.count, self._arrays(), later.count, later._arrays())
        return VectorMoments(self.count + later.count, self.shift, *merged)

    def _arrays(self) -> Any:
        # Those of a file are little-endian everywhere.
        return (
            np.ascontiguousarray(self.mean, np.float64),
            np.ascontiguousarray(self.comoment, np.float64),
            np.ascontiguousarray(self.min, np.float64),
            np.ascontiguousarray(self.argmin, np.int64),
            np.ascontiguousarray(self.max, np.float64),
            np.ascontiguousarray(self.argmax, np.int64),
            self.last,
            np.ascontiguousarray(self.nan_count, np.int64),
            np.ascontiguousarray(self.first_nan, np.int64),
        )

    def agrees(self, other: object) -> bool:
        """Return whether `other` holds moments of the same values, rounded in whatever order.

        What is exact is the same to the last bit. Means and comoments may come from sums in another order, as those in
        files of rewind 0.1 do. With r_i the greatest size of a shifted value of component i, n their number and
        eps = 2**-53, any such sum leaves them within ``4 n eps r_i`` and ``8 n**2 eps r_i r_j`` of the exact ones, and
        two of them within twice that. An entry that is not finite agrees with any other that is not.
        """
        if not isinstance(other, VectorMoments) or self.count != other.count:
            return False
        exact = ("shift", "min", "argmin", "max", "argmax", "last", "nan_count", "first_nan")
        if any(not _same_bytes(getattr(self, name), getattr(other, name)) for name in exact):
            return False
        n = self.count
        with np.errstate(invalid="ignore", over="ignore", under="ignore"):
            reach = np.maximum(np.abs(self.min - self.shift), np.abs(self.max - self.shift))
            tiny = n * 2.0**-1074  # what products lose that are subnormal
            return bool(
                _near(self.mean, other.mean, 8 * n * EPS * reach + tiny).all()
                and _near(self.comoment, other.comoment, 16 * n * n * EPS * np.outer(reach, reach) + tiny).all()
            )


def _same_bytes(x: Array, y: Array) -> bool:
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


def _near(x: Array, y: Array, tolerance: Array) -> Array:
    near: Array = (x == y) | (np.abs(x - y) <= tolerance) | ~(np.isfinite(x) | np.isfinite(y))
    return near


Moments = ScalarMoments | VectorMoments


# ---- moments as fields, for whoever writes them to a file


class Field(NamedTuple):
    """What a field of moments is: a format says how each kind is written, and needs to know no names.

    Attributes
    ----------
    name : str
    kind : {"count", "step", "real", "sum"}
        A number of values; a step, -1 for none; a double; an exact sum, in units of ``2**unit``.
    axes : int
        How many axes of length d an array has, for a metric of d components; 0: it is one number.
    unit : int
    """

    name: str
    kind: str
    axes: int = 0
    unit: int = 0

    @property
    def dtype(self) -> str:
        """The dtype of its numbers in a file."""
        return "<f8" if self.kind == "real" else "<i8"

    def shape(self, d: int) -> tuple[int, ...]:
        """Return its shape, for a metric of `d` components."""
        return (d,) * self.axes


SCALAR_FIELDS = (
    Field("count", "count"),
    Field("total", "sum", unit=-UNIT),
    Field("squares", "sum", unit=-2 * UNIT),
    Field("nan_count", "count"),
    Field("first_nan", "step"),
    Field("pos_inf", "count"),
    Field("neg_inf", "count"),
    Field("min", "real"),
    Field("argmin", "step"),
    Field("max", "real"),
    Field("argmax", "step"),
    Field("last", "real"),
)
VECTOR_FIELDS = (
    Field("count", "count"),
    Field("shift", "real", 1),
    Field("mean", "real", 1),
    Field("comoment", "real", 2),
    Field("min", "real", 1),
    Field("argmin", "step", 1),
    Field("max", "real", 1),
    Field("argmax", "step", 1),
    Field("last", "real", 1),
    Field("nan_count", "count", 1),
    Field("first_nan", "step", 1),
)


def fields_of(moments: Moments) -> list[tuple[Field, Any]]:
    """Return the fields of moments with their values."""
    known = SCALAR_FIELDS if isinstance(moments, ScalarMoments) else VECTOR_FIELDS
    return [(field, getattr(moments, field.name)) for field in known]


def moments_of(shape: tuple[int, ...], read: Callable[[Field], Any]) -> Moments:
    """Return moments of a metric of `shape`; ``read(field)`` gives the value of each field, in their order."""
    if shape == ():
        return ScalarMoments(*[read(field) for field in SCALAR_FIELDS])
    return VectorMoments(*[read(field) for field in VECTOR_FIELDS])
