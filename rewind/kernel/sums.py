"""Exact sums of a metric, and its covariance: the twin of ``_sums.pyx``, with the same names and the same bits.

Only :mod:`rewind.kernel` imports either of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

__all__ = [
    "Tally",
    "comoments",
    "fold",
    "merged_comoments",
    "rounded",
]

_Real = npt.NDArray[np.float64]
_Integer = npt.NDArray[np.int64]
_Fold = tuple[int, int, int, int, int, int, int, float, int, float, int]
_Row = tuple[int, int, int, int, int, int, int, float, int, float, int, float]
_Moments = tuple[_Real, _Real, _Real, _Integer, _Real, _Integer, _Real, _Integer, _Integer]


def _check(array: npt.NDArray[np.generic], ndim: int, dtype: type[np.generic] = np.float64) -> None:
    if array.dtype != dtype or array.ndim != ndim or not array.flags.c_contiguous:
        dimensions = "one dimension" if ndim == 1 else "two dimensions"
        raise ValueError(f"this needs a C-contiguous array of {dtype.__name__} in {dimensions}")


# ---- exact sums
#
# Every value is cut, as in K. Ozaki, T. Ogita, S. Oishi, S. M. Rump, "Error-free transformations of matrix
# multiplication by using fast routines of matrix multiplication and its applications", Numerical Algorithms 59 (2012),
# into slices that are small integers times one power of two: a matrix product of these is exact in any order.

_SLICE = 21  # bits: a product of two slices has at most 40 and a sign
_PART = 1 << 12  # values: the sum of so many products is an integer of 53 bits
_WINDOW = 500  # binades cut at a time, so that no slice is subnormal


def fold(values: _Real) -> _Fold:
    """Return the exact sums and the extremes of `values`.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        In one piece (C-contiguous).

    Returns
    -------
    count : int
        ``n``, whatever the values.
    total : int
        Sum of the finite values, in units of ``2**-1074``.
    squares : int
        Sum of the squares of the finite values, in units of ``2**-2148``.
    nan_count, first_nan : int
        Number of NaNs and index of the first, -1 if there is none.
    pos_inf, neg_inf : int
        Number of infinities.
    min, argmin, max, argmax : float and int
        The extremes, infinities included and NaNs skipped, and where each is first met. NaN and -1 if there is none;
        0.0 and -0.0 are one value.

    Raises
    ------
    ValueError
        If `values` is not such an array.

    Notes
    -----
    Every double is an integer of at most 53 bits times a power of two. What is added up are integers, so nothing is
    rounded and no order matters. O(n).

    Examples
    --------
    >>> import numpy as np
    >>> count, total, squares, *_ = fold(np.array([1e16, 1.0, -1e16]))
    >>> total / (count << 1074) == 1 / 3
    True
    """
    x = values
    _check(x, 1)
    finite = x
    nan_count = pos_inf = neg_inf = 0
    first_nan = argmin = argmax = -1
    low = high = math.nan
    if len(x):
        argmin, argmax = int(x.argmin()), int(x.argmax())  # of NaNs the first, if there is any
        low, high = float(x[argmin]), float(x[argmax])
    if not math.isfinite(high - low):
        nan = np.isnan(x)
        nan_count, pos_inf, neg_inf = (int(np.count_nonzero(odd)) for odd in (nan, x == np.inf, x == -np.inf))
        finite = x[np.isfinite(x)]
        first_nan = int(nan.argmax()) if nan_count else -1
        argmin = argmax = -1
        low = high = math.nan
        numbers = np.flatnonzero(~nan)
        if len(numbers):
            argmin, argmax = int(numbers[x[numbers].argmin()]), int(numbers[x[numbers].argmax()])
            low, high = float(x[argmin]), float(x[argmax])
    total = squares = 0
    for start in range(0, len(finite), _PART):
        for exponent, sums, products in _sliced(finite[start : start + _PART]):
            total += sums << exponent + 1074
            squares += products << 2 * exponent + 2148
    return len(x), total, squares, nan_count, first_nan, pos_inf, neg_inf, low, argmin, high, argmax


def _sliced(x: _Real) -> Iterator[tuple[int, int, int]]:
    """Yield (exponent of a unit, sum in units, sum of squares in units squared), which add up to those of finite `x`.

    A unit may be smaller than any double, so an exponent may be below -1074: the sums then end in as many zeros.
    """
    while True:
        largest = float(np.abs(x).max(initial=0.0))
        if not largest:
            return
        exponent = math.frexp(largest)[1]
        near = x
        if exponent - _WINDOW > -1074:
            inside = np.abs(x) >= math.ldexp(1.0, exponent - _WINDOW)
            near, x = np.where(inside, x, 0.0), x[~inside]
        else:
            x = x[:0]
        rest = np.ldexp(near, _SLICE - 1 - exponent)
        slices = []
        while rest.any():
            slices.append(np.rint(rest))
            rest = (rest - slices[-1]) * (1 << _SLICE)
        rows = np.array(slices)
        unit = exponent - (_SLICE - 1) - _SLICE * (len(rows) - 1)
        sums = products = 0
        for row in rows.sum(axis=1).tolist():
            sums = (sums << _SLICE) + int(row)
        n = len(rows)
        gram = (rows @ rows.T).tolist()
        for k in range(2 * n - 1):  # all pairs of slices whose product has the same unit
            products = (products << _SLICE) + sum(
                int(gram[i][k - i]) for i in range(max(0, k - n + 1), min(k, n - 1) + 1)
            )
        if unit < -1074:
            sums, products, unit = sums >> -1074 - unit, products >> 2 * (-1074 - unit), -1074
        yield unit, sums, products


def rounded(numerator: int, denominator: int, exponent: int) -> float:
    """Return ``numerator / denominator * 2**exponent`` correctly rounded, infinite where no double is large enough.

    Parameters
    ----------
    numerator, denominator, exponent : int
        Of any size; `denominator` is positive.

    Returns
    -------
    quotient : float
        The double nearest to the rational number, ties to even.

    Examples
    --------
    >>> rounded(1, 3, 0), rounded(3, 1, -1075), rounded(-1, 1, 1024)
    (0.3333333333333333, 1e-323, -inf)
    """
    try:
        quotient = numerator / denominator  # Python rounds it correctly
        if -1021 < math.frexp(quotient)[1] + exponent < 1024:  # and then a power of two changes no digit
            return math.ldexp(quotient, exponent)
    except OverflowError:
        pass
    if not numerator:
        return 0.0
    try:
        return (numerator << max(exponent, 0)) / (denominator << max(-exponent, 0))
    except OverflowError:
        return math.inf if numerator > 0 else -math.inf


class Tally:
    """Exact moments of a scalar metric, one row per block.

    A row costs no arithmetic but that of `fold`: its sums are kept as digits, which become numbers when they are asked
    for. Steps are those of the run.

    Examples
    --------
    >>> import numpy as np
    >>> tally = Tally()
    >>> tally.append(np.array([3.0, 1.0]), 0)
    >>> tally.append(np.array([0.5, 0.0]), 2)
    >>> len(tally), tally.column("mean").tolist(), tally.column("argmin").tolist()
    (2, [2.0, 0.25], [1, 3])
    >>> count, total, squares, *_ = tally.merged(0, 2)
    >>> total / (count << 1074)
    1.125
    """

    def __init__(self) -> None:
        self._rows: list[_Row] = []

    def __len__(self) -> int:
        return len(self._rows)

    def append(self, values: _Real, start: int) -> None:
        """Add a row: the moments of `values`, the first of which belongs to step `start`.

        Parameters
        ----------
        values : ndarray of float64, shape (n,)
            In one piece (C-contiguous).
        start : int

        Raises
        ------
        ValueError
            If `values` is not such an array.

        Notes
        -----
        O(n). There is a new row, or an exception and none.
        """
        count, total, squares, nan_count, first_nan, pos_inf, neg_inf, low, argmin, high, argmax = fold(values)
        first_nan, argmin, argmax = (step + start if step >= 0 else -1 for step in (first_nan, argmin, argmax))
        last = float(values[-1]) if count else math.nan
        self._rows.append(
            (count, total, squares, nan_count, first_nan, pos_inf, neg_inf, low, argmin, high, argmax, last)
        )

    def cut(self, n: int) -> None:
        """Keep the first `n` rows.

        Parameters
        ----------
        n : int
            ``0 <= n <= len(self)``.

        Raises
        ------
        IndexError
            If there are fewer rows.

        Notes
        -----
        O(1), but for the memory that is freed.
        """
        if not 0 <= n <= len(self._rows):
            raise IndexError(f"cannot keep {n} of {len(self._rows)} rows")
        del self._rows[n:]

    def merged(self, first: int, stop: int) -> _Row:
        """Return the exact moments of the rows `first` to ``stop - 1``.

        Parameters
        ----------
        first, stop : int
            ``0 <= first <= stop <= len(self)``.

        Returns
        -------
        count, total, squares, nan_count, first_nan, pos_inf, neg_inf, min, argmin, max, argmax, last
            As of `fold`, but `first_nan`, `argmin` and `argmax` are steps; `last` is the last value, NaN without any.

        Raises
        ------
        IndexError
            If there are no such rows.

        Notes
        -----
        O(stop - first), with about ten additions a row.
        """
        if not 0 <= first <= stop <= len(self._rows):
            raise IndexError(f"rows {first} to {stop} of a table of {len(self._rows)}")
        rows = [row for row in self._rows[first:stop] if row[0]]
        count, total, squares = sum(row[0] for row in rows), sum(row[1] for row in rows), sum(row[2] for row in rows)
        nan_count, pos_inf, neg_inf = (
            sum(row[3] for row in rows),
            sum(row[5] for row in rows),
            sum(row[6] for row in rows),
        )
        low, argmin = min(((row[7], row[8]) for row in rows if row[8] >= 0), default=(math.nan, -1), key=_value)
        high, argmax = max(((row[9], row[10]) for row in rows if row[10] >= 0), default=(math.nan, -1), key=_value)
        first_nan = next((row[4] for row in rows if row[4] >= 0), -1)
        last = rows[-1][11] if rows else math.nan
        return count, total, squares, nan_count, first_nan, pos_inf, neg_inf, low, argmin, high, argmax, last

    def moments_of(self, i: int) -> _Row:
        """Return what ``merged(i, i + 1)`` does.

        Parameters
        ----------
        i : int
            ``0 <= i < len(self)``.

        Returns
        -------
        count, total, squares, nan_count, first_nan, pos_inf, neg_inf, min, argmin, max, argmax, last
            The exact moments of one row.

        Raises
        ------
        IndexError
            If there is no such row.
        """
        return self.merged(i, i + 1)

    def column(self, name: str) -> npt.NDArray[np.float64] | npt.NDArray[np.int64]:
        """Return one number of every row.

        Parameters
        ----------
        name : {"count", "min", "max", "argmin", "argmax", "last", "nan_count", "mean", "m2"}
            ``mean`` and ``m2`` (the sum of squared deviations from it) are the rational results rounded once, and are
            made now; the others are copied.

        Returns
        -------
        column : ndarray of int64 or float64, shape (len(self),)

        Raises
        ------
        ValueError
            If there is no such column.
        """
        if name not in _COLUMNS:
            raise ValueError(f"no column {name!r}; there are {', '.join(_COLUMNS)}")
        if name == "mean":
            return np.array([_mean(row) for row in self._rows], np.float64)
        if name == "m2":
            return np.array([_m2(row) for row in self._rows], np.float64)
        k = _COLUMNS[name]
        numbers = [row[k] for row in self._rows]
        return np.array(numbers, np.int64) if k in (0, 3, 8, 10) else np.array(numbers, np.float64)


#: Where a column is in a row; the last two are nowhere.
_COLUMNS = {"count": 0, "argmin": 8, "argmax": 10, "nan_count": 3, "min": 7, "max": 9, "last": 11, "mean": -1, "m2": -1}


def _value(pair: tuple[float, int]) -> float:
    return pair[0]


def _mean(row: _Row) -> float:
    count, total, _, nan_count, _, pos_inf, neg_inf, *_ = row
    if not count or nan_count or (pos_inf and neg_inf):
        return math.nan
    if pos_inf or neg_inf:
        return math.inf if pos_inf else -math.inf
    return rounded(total, count << 1074, 0)


def _m2(row: _Row) -> float:
    count, total, squares, nan_count, _, pos_inf, neg_inf, *_ = row
    if not count or nan_count or pos_inf or neg_inf:
        return math.nan
    return rounded(count * squares - total * total, count << 2148, 0)


# ---- covariance

_TERMS = 1 << 18  # products held at a time


def comoments(values: _Real, start: int, shift: _Real) -> _Moments:
    """Return the moments of a metric with several components over one block.

    Parameters
    ----------
    values : ndarray of float64, shape (n, d)
        In one piece (C-contiguous); ``n, d >= 1``. The first row belongs to step `start`.
    start : int
    shift : ndarray of float64, shape (d,)
        Subtracted from every row before anything is summed.

    Returns
    -------
    mean : ndarray of float64, shape (d,)
        Of the shifted values.
    comoment : ndarray of float64, shape (d, d)
        Sum of the outer products of their deviations from the mean.
    min, argmin, max, argmax : ndarray of float64 and int64, shape (d,)
        The extremes of each component, NaNs skipped, and the steps they are first met at. NaN and -1 if there is none;
        0.0 and -0.0 are one value.
    last : ndarray of float64, shape (d,)
    nan_count, first_nan : ndarray of int64, shape (d,)
        Number of NaNs and step of the first, -1 if there is none.

    Raises
    ------
    ValueError
        If `values` or `shift` is not such an array.

    Notes
    -----
    Every entry is summed up in the order of the rows, each product rounded before it is added: the same bits on every
    machine. After the shift the mean is the rounded sum divided by n, and a second pass over the deviations takes off
    what that left ([1]_, eq. (1.7)). An infinity or a NaN spoils the row and the column of its component and no other.
    O(n d**2).

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance", The American
       Statistician 37 (1983).

    Examples
    --------
    >>> import numpy as np
    >>> mean, comoment, *_ = comoments(np.array([[1.0, 2.0], [3.0, 6.0]]), 0, np.zeros(2))
    >>> mean.tolist(), comoment.tolist()
    ([2.0, 4.0], [[2.0, 4.0], [4.0, 8.0]])
    """
    _check(values, 2)
    _check(shift, 1)
    n, d = values.shape
    if not n or not d or len(shift) != d:
        raise ValueError(f"values of shape ({n}, {d}) and a shift of shape ({len(shift)},)")
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        shifted = values - shift
        mean = _summed(shifted) / n
        centred = shifted - mean
        rest = _summed(centred)
        product = np.zeros((d, d))
        step = max(1, _TERMS // (d * d))
        for at in range(0, n, step):
            rows = centred[at : at + step]
            terms = rows[:, :, None] * rows[:, None, :]
            terms[0] += product
            product = np.add.accumulate(terms, axis=0)[-1]
        comoment = product - np.outer(rest, rest) / n
        mean = np.where(np.isfinite(rest), mean + rest / n, mean)
    nan = np.isnan(values)
    some = ~nan.all(axis=0)
    low, high = np.where(nan, np.inf, values), np.where(nan, -np.inf, values)
    argmin = (~nan & (values == low.min(axis=0))).argmax(axis=0)  # not low.argmin: a NaN stands there as an infinity
    argmax = (~nan & (values == high.max(axis=0))).argmax(axis=0)
    every = np.arange(d)
    return (
        _plain(mean),
        _plain(comoment),
        np.where(some, values[argmin, every], np.nan),
        np.where(some, argmin + start, -1),
        np.where(some, values[argmax, every], np.nan),
        np.where(some, argmax + start, -1),
        values[-1].copy(),
        nan.sum(axis=0),
        np.where(nan.any(axis=0), nan.argmax(axis=0) + start, -1),
    )


def _summed(rows: _Real) -> _Real:
    """Return the sum of the rows, added to zeros one after the other, which numpy's sum does not promise."""
    total: _Real = np.add.accumulate(rows, axis=0)[-1] + 0.0
    return total


def _plain(x: _Real) -> _Real:
    """Return `x` with one NaN for all of them: which one comes out differs from processor to processor."""
    x[np.isnan(x)] = np.nan
    return x


def merged_comoments(count: int, moments: _Moments, later_count: int, later: _Moments) -> _Moments:
    """Return the moments of two stretches that follow each other.

    Parameters
    ----------
    count, later_count : int
        Number of rows of each; together at least one.
    moments, later : tuple
        What `comoments` returned for each, with the same shift.

    Returns
    -------
    mean, comoment, min, argmin, max, argmax, last, nan_count, first_nan : ndarray
        As of `comoments`.

    Raises
    ------
    ValueError
        If these are not such arrays.

    Notes
    -----
    The pairwise update of [1]_. O(d**2).

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance", The American
       Statistician 37 (1983), eq. (2.1), with their (T, S) as (count*mean, comoment).
    """
    for stretch in (moments, later):
        for k, array in enumerate(stretch):
            if k != 6:
                _check(array, 2 if k == 1 else 1, np.int64 if k in (3, 5, 7, 8) else np.float64)
                if array.shape != moments[0].shape * (2 if k == 1 else 1):
                    raise ValueError("arrays of moments differ in length")
    a_mean, a_comoment, a_min, a_argmin, a_max, a_argmax, _, a_nan_count, a_first_nan = moments
    b_mean, b_comoment, b_min, b_argmin, b_max, b_argmax, b_last, b_nan_count, b_first_nan = later
    part, weight = later_count / (count + later_count), count * later_count / (count + later_count)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        delta = b_mean - a_mean
        infinite = np.isinf(a_mean) | np.isinf(b_mean)
        mean = np.where(infinite, a_mean + b_mean, a_mean + delta * part)
        comoment = a_comoment + b_comoment + np.outer(delta, delta) * weight
    low = (a_argmin < 0) | (b_min < a_min)
    high = (a_argmax < 0) | (b_max > a_max)
    return (
        _plain(mean),
        _plain(comoment),
        np.where(low, b_min, a_min),
        np.where(low, b_argmin, a_argmin),
        np.where(high, b_max, a_max),
        np.where(high, b_argmax, a_argmax),
        b_last,
        a_nan_count + b_nan_count,
        np.where(a_first_nan >= 0, a_first_nan, b_first_nan),
    )
