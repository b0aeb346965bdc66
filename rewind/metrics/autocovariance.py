"""Autocovariance: exact products of a scalar metric with itself some steps later, and how to merge two stretches.

As in :mod:`.moments`, what is added up are integers: a product of two doubles is an integer times 2**-2148.
"""

from __future__ import annotations

import math
from itertools import accumulate

import numpy as np

from ..kernel import fold, rounded
from ..state.columns import Array
from ..state.frozen import frozen
from .moments import UNIT

# Values are cut, as in K. Ozaki, T. Ogita, S. Oishi, S. M. Rump, "Error-free transformations of matrix multiplication
# by using fast routines of matrix multiplication and its applications", Numerical Algorithms 59 (2012), into slices
# that are small integers times one power of two: floating point adds up products of these exactly, in any order.
_SLICE = 22  # bits: a product of two slices has at most 42 and a sign
_PART = 1 << 11  # values: the sum of so many products is an integer of 53 bits
_WINDOW = 500  # binades cut at a time, so that no slice is subnormal


@frozen
class Lagged:
    """Exact lagged products of a scalar metric over a stretch of a run, up to a lag of `max_lag` steps.

    Attributes
    ----------
    count : int
        Number of values.
    finite : bool
        Whether all of them are; where one is not, there is nothing else to know, and what follows is 0 or empty.
    total : int
        Their sum, in units of 2**-1074.
    products : tuple of int, length max_lag + 1
        Sums over t of ``x[t] * x[t + k]``, in units of 2**-2148.
    head, tail : ndarray of float64, shape (min(count, max_lag),)
        The first and the last values, which meet those of the stretches around this one.

    Examples
    --------
    >>> whole = Lagged.of(np.array([1.0, 2.0, 3.0, 4.0]), 2)
    >>> whole.autocovariance
    array([ 1.25  ,  0.3125, -0.375 ])
    >>> parts = Lagged.of(np.array([1.0]), 2).merge(Lagged.of(np.array([2.0, 3.0, 4.0]), 2))
    >>> parts.products == whole.products
    True
    """

    count: int
    finite: bool
    total: int
    products: tuple[int, ...]
    head: Array
    tail: Array

    @classmethod
    def of(cls, values: Array, max_lag: int) -> Lagged:
        """Return the lagged products of `values`, shape (n,), for ``max_lag >= 0``. O(n max_lag)."""
        values = np.ascontiguousarray(values, np.float64)
        n = len(values)
        if not np.isfinite(values).all():
            return _spoiled(n, max_lag + 1)
        products = _lag_products(values, values, min(max_lag + 1, n))
        products += [0] * (max_lag + 1 - n)
        return cls(n, True, fold(values)[1], tuple(products), values[:max_lag].copy(), _last(values, max_lag).copy())

    def merge(self, later: Lagged) -> Lagged:
        """Return the lagged products of this stretch and the next one.

        O(max_lag * m), with m the number of values of the shorter one or max_lag, whichever is less.
        """
        n, n_lags = self.count + later.count, len(self.products)
        if not (self.finite and later.finite):
            return _spoiled(n, n_lags)
        # Pairs that begin in this stretch and end in the later one. Read backward they have the same lags: whichever
        # way, the shorter side comes first, and the values it meets come after all of it.
        near, far = self.tail, later.head
        if len(far) < len(near):
            near, far = far[::-1], near[::-1]
        after = np.concatenate([np.zeros(len(near)), far])
        across = _lag_products(near, after, min(n_lags, len(after)))
        across += [0] * (n_lags - len(across))
        return Lagged(
            n,
            True,
            self.total + later.total,
            tuple(map(sum, zip(self.products, later.products, across, strict=True))),
            np.concatenate([self.head, later.head])[: n_lags - 1],
            _last(np.concatenate([self.tail, later.tail]), n_lags - 1),
        )

    @property
    def autocovariance(self) -> Array:
        """The autocovariance at the lags 0 to max_lag, float64 of shape (max_lag + 1,).

        With m the mean of all n values, entry k is ``sum((x[t] - m) * (x[t + k] - m) for t in range(n - k)) / n``, the
        rational result rounded once (infinite where no double is large enough), and NaN from lag n on, where there
        is no pair. One value that is not finite makes all of them NaN.

        Notes
        -----
        The divisor is n and not n - k, as in [1]_ and [2]_: the estimator that is biased but positive semidefinite.
        Entry 0 is ``(n - 1) / n`` of the sample variance (ddof=1).

        References
        ----------
        .. [1] P. J. Brockwell, R. A. Davis, "Time Series: Theory and Methods", 2nd ed., 1991, Definition 1.4.4.
        .. [2] M. B. Priestley, "Spectral Analysis and Time Series", 1981, section 5.3.3.
        """
        gamma = np.full(len(self.products), math.nan)
        if not self.finite:
            return gamma
        n, total = self.count, self.total
        # Those without the last k values are the x[t] of lag k, and those without the first k the x[t + k].
        first = accumulate(map(_integer, self.head.tolist()), initial=0)
        last = accumulate(map(_integer, reversed(self.tail.tolist())), initial=0)
        for k, (product, before, after) in enumerate(zip(self.products[:n], first, last, strict=False)):
            # n**3 gamma_k, from sum((x[t] - m) * (x[t + k] - m)) = product - m * ends + (n - k) * m * m.
            ends = 2 * total - before - after
            numerator = n * (n * product - total * ends) + (n - k) * total * total
            gamma[k] = rounded(numerator, n**3, -2 * UNIT)
        return gamma


def _spoiled(count: int, n_lags: int) -> Lagged:
    return Lagged(count, False, 0, (0,) * n_lags, np.zeros(0), np.zeros(0))


def _last(values: Array, n: int) -> Array:
    return values[max(len(values) - n, 0) :]


def _integer(value: float) -> int:
    """Return a finite double in units of 2**-1074."""
    numerator, denominator = value.as_integer_ratio()
    return numerator * ((1 << UNIT) // denominator)


def _lag_products(x: Array, y: Array, n_lags: int) -> list[int]:
    """Return the sums over t of ``x[t] * y[t + k]`` for `n_lags` lags k, in units of 2**-2148.

    Both are finite; `y` is zero beyond its end. A slice is an integer below 2**21 in size, or 2**21 itself.
    """
    sums: dict[int, Array] = {}  # by the exponent of their unit
    totals = [0] * n_lags
    for start in range(0, len(x), _PART):
        left = x[start : start + _PART]
        right = np.zeros(len(left) + n_lags - 1)
        found = y[start : start + len(right)]
        right[: len(found)] = found
        slices = _slices(right)
        for left_unit, left_slice in _slices(left):
            for right_unit, right_slice in slices:
                exact = np.correlate(right_slice, left_slice, "valid").astype(np.int64)
                unit = left_unit + right_unit
                # No overflow: a double of 53 bits is in at most five slices, so a unit sees five such sums.
                sums[unit] = sums[unit] + exact if unit in sums else exact
        totals = [a + b for a, b in zip(totals, _in_units(sums, n_lags), strict=True)]
        sums.clear()
    return totals


def _in_units(sums: dict[int, Array], n_lags: int) -> list[int]:
    """Return what `sums` add up to, in units of 2**-2148."""
    totals, unit = [0] * n_lags, -2 * UNIT
    for i, lower in enumerate(sorted(sums, reverse=True)):
        shift = unit - lower if i else 0
        totals = [(total << shift) + more for total, more in zip(totals, sums[lower].tolist(), strict=True)]
        unit = lower
    # The unit of a slice may be smaller than any double: the sums then end in as many zeros.
    shift = unit + 2 * UNIT
    return [total << shift for total in totals] if shift >= 0 else [total >> -shift for total in totals]


def _slices(x: Array) -> list[tuple[int, Array]]:
    """Return pairs of an exponent and an array of integers as doubles; times 2**exponent they add up to `x`."""
    slices: list[tuple[int, Array]] = []
    while True:
        largest = float(np.abs(x).max(initial=0.0))
        if not largest:
            return slices
        exponent = math.frexp(largest)[1]
        near, x = x, np.zeros(0)
        if exponent - _WINDOW > -UNIT:
            inside = np.abs(near) >= math.ldexp(1.0, exponent - _WINDOW)
            near, x = np.where(inside, near, 0.0), np.where(inside, 0.0, near)
        unit = exponent - (_SLICE - 1)
        rest = np.ldexp(near, -unit)
        while rest.any():
            integers = np.rint(rest)
            if integers.any():
                slices.append((unit, integers))
            rest = (rest - integers) * (1 << _SLICE)
            unit -= _SLICE
