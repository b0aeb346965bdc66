"""Histograms are those of numpy, in one piece or in many, and every value is counted once."""

import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rewind.errors import ArgumentError, ArgumentTypeError
from rewind.metrics.histogram import Histogram, edges_of

pytestmark = pytest.mark.once

INF, NAN = math.inf, math.nan

some = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 5e-324, -5e-324, 1e308, -1e308])
numbers = some | st.floats(-3, 3) | st.floats(allow_nan=False)
all_values = st.lists(some | st.floats(-3, 3) | st.floats(), max_size=60)
all_edges = st.lists(numbers, min_size=2, max_size=12, unique=True).map(sorted)  # 0.0 and -0.0 are one


def facts(histogram):
    """Return all there is in a histogram, as bytes, after checking the types."""
    assert histogram.edges.dtype == np.float64 and histogram.counts.dtype == np.int64
    assert [type(n) for n in (histogram.below, histogram.above, histogram.nan_count)] == [int] * 3
    return (
        histogram.edges.tobytes(),
        histogram.counts.tobytes(),
        histogram.below,
        histogram.above,
        histogram.nan_count,
    )


def by_a_loop(values, edges):
    counts, below, above, nan_count = [0] * (len(edges) - 1), 0, 0, 0
    for x in values:
        if math.isnan(x):
            nan_count += 1
        elif x < edges[0]:
            below += 1
        elif x > edges[-1]:
            above += 1
        elif x == edges[-1]:
            counts[-1] += 1
        else:
            counts[next(i for i, edge in enumerate(edges[1:]) if x < edge)] += 1
    return np.array(edges).tobytes(), np.array(counts, np.int64).tobytes(), below, above, nan_count


@given(all_values, all_edges)
@example([], [0.0, 1.0])
@example([0.0, 1.0, 1.0, 2.0, 2.0, NAN], [0.0, 1.0, 2.0])
@example([INF, -INF, NAN, 1e308], [-INF, 0.0, INF])
@example([INF, -INF, NAN, 1e308], [-1.0, 1.0])
@example([INF, 1e308], [1.0, INF])
@example([-0.0, 0.0, 5e-324, -5e-324], [-5e-324, 0.0, 5e-324])
def test_a_histogram_counts_every_value_once(values, edges):
    histogram = Histogram.of(np.array(values, np.float64), edges_of(edges))
    assert facts(histogram) == by_a_loop(values, edges)
    assert histogram.counts.sum() + histogram.below + histogram.above + histogram.nan_count == len(values)


@given(all_values, all_edges)
def test_a_histogram_is_that_of_numpy(values, edges):
    counts, np_edges = np.histogram(np.array(values, np.float64), edges)
    histogram = Histogram.of(np.array(values, np.float64), edges_of(edges))
    assert histogram.counts.tolist() == counts.tolist()
    assert histogram.edges.tolist() == np_edges.tolist()


@given(all_values, all_edges, st.lists(st.integers(0, 60), max_size=5))
def test_a_histogram_in_pieces_is_the_one_in_one_piece(values, edges, cuts):
    x, edges = np.array(values, np.float64), edges_of(edges)
    ends = [0, *sorted(min(cut, len(x)) for cut in cuts), len(x)]
    pieces = [Histogram.of(x[i:j], edges) for i, j in itertools.pairwise(ends)]
    before = [facts(piece) for piece in pieces]
    whole = facts(Histogram.of(x, edges))
    left = right = None
    for first, last in zip(pieces, reversed(pieces), strict=True):
        left = first if left is None else left.merge(first)
        right = last if right is None else last.merge(right)
    assert facts(left) == facts(right) == whole
    assert [facts(piece) for piece in pieces] == before, "a merge changes neither side"


def test_a_histogram_takes_many_values_in_a_strided_array():
    x = np.random.default_rng(3).normal(size=(2, 5000)).T[:, 1]
    edges = edges_of(np.linspace(-2, 2, 41))
    assert Histogram.of(x, edges).counts.tolist() == np.histogram(x, edges)[0].tolist()


def test_a_histogram_comes_back_from_a_pickle():
    histogram = Histogram.of(np.array([0.5, NAN, -1.0, 3.0]), edges_of([0, 1]))
    assert facts(pickle.loads(pickle.dumps(histogram))) == facts(histogram)


@pytest.mark.parametrize(
    "given_edges",
    [[0, 1, 4], (0.0, 1.0, 4.0), np.array([0, 1, 4], np.uint8), np.array([0, 1, 4], ">f8"), range(0, 5, 2)],
)
def test_edges_are_taken_from_any_sequence_of_numbers(given_edges):
    edges = edges_of(given_edges)
    assert edges.dtype == np.dtype(np.float64) and edges.dtype.isnative
    assert edges.tolist() == [float(x) for x in given_edges]


def test_edges_are_a_copy():
    mine = np.array([0.0, 1.0])
    edges = edges_of(mine)
    mine[0] = 5.0
    assert edges.tolist() == [0.0, 1.0]


def test_the_outermost_edges_may_be_infinite():
    assert edges_of([-INF, 0, INF]).tolist() == [-INF, 0.0, INF]


@pytest.mark.parametrize(
    "value", [10, 2.5, None, "auto", b"12", {0, 1}, {0: 1}, ["0", "1"], [0, None], [1j, 2j], [False, True], object()]
)
def test_edges_that_are_no_numbers_are_refused(value):
    with pytest.raises(ArgumentTypeError, match=r"^histogram is .*; expected the edges of its bins, at least 2"):
        edges_of(value)


def test_a_number_of_bins_is_refused_with_a_reason():
    with pytest.raises(ArgumentTypeError, match="The bins must be known before the first value is$"):
        edges_of(10)


@pytest.mark.parametrize(
    "value",
    [[], [1], np.zeros(0), np.zeros((2, 2)), [[0, 1], [2, 3]], [[0, 1], [2]]]
    + [[0, 0], [1, 0], [0.0, -0.0], [0, NAN], [NAN, 1], [0, INF, INF], [2**53, 2**53 + 1], [0, 2, 1, 3]],
)
def test_edges_that_bound_no_bins_are_refused(value):
    with pytest.raises(ArgumentError, match=r"^histogram is .*; expected the edges of its bins, at least 2"):
        edges_of(value)


def test_the_first_edge_that_does_not_increase_is_named():
    with pytest.raises(ArgumentError, match=r"As doubles, edges 1 and 2 are 2\.0 and 1\.0$"):
        edges_of([0, 2, 1, 0])
