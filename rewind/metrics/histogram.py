"""Histograms of a scalar metric over a stretch of a run, and how to merge those of two stretches."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError
from ..state.columns import Array
from ..state.frozen import frozen

#: What is expected of the edges of a histogram.
EDGES = "the edges of its bins, at least 2 increasing numbers, such as np.linspace(0, 1, 11)"


@frozen
class Histogram:
    """How many values of a scalar metric there are in each bin; every value is counted once.

    Attributes
    ----------
    edges : ndarray of float64, shape (m + 1,)
        As `edges_of` returns them. Bin i holds the values of ``edges[i] <= x < edges[i + 1]``, the last one also
        ``edges[m]``, as with ``np.histogram(values, edges)``.
    counts : ndarray of int64, shape (m,)
    below, above, nan_count : int
        Number of values below the first edge and above the last, infinities included, and of NaNs.

    Examples
    --------
    >>> part = Histogram.of(np.array([0.5, 1.0, 2.0, 7.0]), np.array([0.0, 1.0, 2.0]))
    >>> part.counts, part.below, part.above, part.nan_count
    (array([1, 2]), 0, 1, 0)
    >>> part.merge(part).counts
    array([2, 4])
    """

    edges: Array
    counts: Array
    below: int
    above: int
    nan_count: int

    @classmethod
    def of(cls, values: Array, edges: Array) -> Histogram:
        """Return the histogram of `values`, shape (n,). O(n log m)."""
        values = np.asarray(values, np.float64)
        # How many edges are at or below a value; a NaN is sorted after all of them.
        places = np.searchsorted(edges, values, side="right")
        found = np.bincount(places, minlength=len(edges) + 1).astype(np.int64)
        closing, nan_count = (int(np.count_nonzero(odd)) for odd in (values == edges[-1], np.isnan(values)))
        counts = found[1:-1].copy()
        counts[-1] += closing
        return cls(edges, counts, int(found[0]), int(found[-1]) - closing - nan_count, nan_count)

    def merge(self, later: Histogram) -> Histogram:
        """Return the histogram of this stretch and `later`, which has the same edges. O(m)."""
        return Histogram(
            self.edges,
            self.counts + later.counts,
            self.below + later.below,
            self.above + later.above,
            self.nan_count + later.nan_count,
        )


def edges_of(value: Any) -> Array:
    """Return the edges of a histogram as a float64 array of shape (m + 1,) of its own.

    Parameters
    ----------
    value : array_like of numbers, shape (m + 1,)
        Strictly increasing; the first may be ``-inf`` and the last ``inf``.

    Raises
    ------
    ArgumentTypeError
        If it is no array of numbers.
    ArgumentError
        If it has other dimensions, fewer than two numbers, a NaN, or two that do not increase.

    Examples
    --------
    >>> edges_of([0, 1, 10])
    array([ 0.,  1., 10.])
    """
    try:
        given = np.array(value)
    except ValueError as error:  # rows of unequal lengths
        raise ArgumentError("histogram", value, EDGES) from error
    if given.size and (given.dtype.kind not in "iuf" or not given.ndim):
        advice = "The bins must be known before the first value is" if isinstance(value, int) else ""
        raise ArgumentTypeError("histogram", value, EDGES, advice)
    if given.ndim != 1 or len(given) < 2:
        raise ArgumentError("histogram", value, EDGES)
    with np.errstate(over="ignore"):  # of long doubles
        edges = given.astype(np.float64)
    odd = np.flatnonzero(~(edges[1:] > edges[:-1]))
    if len(odd):
        i = int(odd[0])
        advice = f"As doubles, edges {i} and {i + 1} are {edges[i]} and {edges[i + 1]}"
        raise ArgumentError("histogram", value, EDGES, advice)
    return edges
