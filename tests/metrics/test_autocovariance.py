"""The autocovariance is the rational one, rounded once, whatever stretches it is put together from."""

import itertools
import math
import pickle
from fractions import Fraction
from functools import reduce

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rewind.metrics import autocovariance as module
from rewind.metrics.autocovariance import Lagged
from rewind.metrics.moments import ScalarMoments

pytestmark = pytest.mark.once  # of integers: what of it is in a kernel is tried on both in tests/kernel/test_sums.py

LARGEST = 1.7976931348623157e308
INF, NAN = math.inf, math.nan
BIG = np.random.default_rng(11)


def rounded(exact):
    """Return the double nearest to a rational number, infinite beyond the largest."""
    try:
        return float(exact)
    except OverflowError:
        return INF if exact > 0 else -INF


def by_fractions(values, max_lag):
    """Return the autocovariance by its definition."""
    n = len(values)
    if not all(map(math.isfinite, values)):
        return [NAN] * (max_lag + 1)
    mean = sum(map(Fraction, values), Fraction(0)) / n if n else Fraction(0)
    x = [Fraction(value) - mean for value in values]
    return [rounded(sum(x[t] * x[t + k] for t in range(n - k)) / n) if k < n else NAN for k in range(max_lag + 1)]


def facts(lagged):
    """Return all there is in a `Lagged`, arrays as bytes, after checking the types."""
    assert [type(part) for part in (lagged.count, lagged.finite, lagged.total)] == [int, bool, int]
    assert all(type(product) is int for product in lagged.products)
    assert all(ends.dtype == np.float64 and ends.ndim == 1 for ends in (lagged.head, lagged.tail))
    return (
        lagged.count,
        lagged.finite,
        lagged.total,
        lagged.products,
        lagged.head.tobytes(),
        lagged.tail.tobytes(),
    )


def check(values, max_lag):
    """Check the autocovariance of `values`, to the last bit."""
    got = Lagged.of(np.array(values, np.float64), max_lag).autocovariance
    assert got.dtype == np.float64 and got.shape == (max_lag + 1,)
    assert got.tobytes() == np.array(by_fractions(values, max_lag)).tobytes()


def cut(values, max_lag, cuts):
    """Return the pieces of `values` between `cuts`, some of which may be empty."""
    x = np.array(values, np.float64)
    ends = [0, *sorted(min(at, len(x)) for at in cuts), len(x)]
    return [Lagged.of(x[i:j], max_lag) for i, j in itertools.pairwise(ends)]


nasty = st.sampled_from(
    [0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 2.225073858507201e-308, LARGEST, -LARGEST]
    + [1.0, -1.0, 2.0**53 - 1, 1e16, 1 + 2**-52, 1e308, 2.0**22 - 0.5, 2.0**21, -(2.0**21), 1e-160, 1e155]
)
finite = st.floats(allow_nan=False, allow_infinity=False)
tame = st.integers(-9, 9).map(float) | st.floats(-3, 3)
lists = st.lists(nasty | finite | tame, max_size=30) | st.lists(tame, max_size=30)
lags = st.integers(0, 12)


@given(lists, lags)
@example([], 0)
@example([], 2)
@example([3.0], 2)
@example([LARGEST, -LARGEST], 1)
@example([LARGEST, LARGEST, LARGEST], 2)
@example([5e-324, LARGEST, -5e-324, 5e-324], 3)
@example([0.1] * 7, 7)
@example([-0.0, 0.0, -0.0], 2)
@example([1e-162, -1e-162, 3e-162], 2)
def test_the_autocovariance_is_the_rational_one_rounded_once(values, max_lag):
    check(values, max_lag)


def near_each_other(draw):
    """Return values whose exponents lie in some range, wherever that is."""
    lowest = draw(st.sampled_from([-1074, -1050, -1022, -600, -574, -573, -500, 0, 423, 470, 900]))
    spread = draw(st.sampled_from([0, 1, 21, 22, 23, 43, 44, 66, 130, 499, 500, 501, 600]))
    mantissas = st.integers(-(2**53) + 1, 2**53 - 1) | st.integers(-9, 9) | st.integers(-(2**26), 2**26)
    pairs = draw(st.lists(st.tuples(mantissas, st.integers(0, spread)), min_size=1, max_size=25))
    return [math.ldexp(m, min(lowest + e, 970)) for m, e in pairs]


@given(st.composite(near_each_other)(), lags)
def test_the_autocovariance_is_exact_wherever_the_values_are_and_however_far_apart(values, max_lag):
    check(values, max_lag)


@given(lists, lags, st.lists(st.integers(0, 30), max_size=6), st.randoms(use_true_random=False))
@example([1.0, 2.0, 4.0, 8.0, 16.0], 3, [1, 2, 3, 4], None)
@example([1.0, 2.0, 4.0, 8.0, 16.0], 12, [1, 2, 3, 4], None)
@example([1.0, 2.0, 4.0, 8.0], 2, [0, 0, 2, 4, 4], None)
def test_stretches_merged_in_any_grouping_are_the_whole(values, max_lag, cuts, random):
    pieces = cut(values, max_lag, cuts)
    before = list(map(facts, pieces))
    whole = facts(Lagged.of(np.array(values, np.float64), max_lag))
    assert facts(reduce(Lagged.merge, pieces)) == whole
    assert facts(reduce(lambda later, earlier: earlier.merge(later), reversed(pieces))) == whole
    assert list(map(facts, pieces)) == before, "a merge changes neither side"
    while random is not None and len(pieces) > 1:
        i = random.randrange(len(pieces) - 1)
        pieces[i : i + 2] = [pieces[i].merge(pieces[i + 1])]
    assert len(pieces) > 1 or facts(pieces[0]) == whole


@given(lists, lags, st.lists(st.integers(0, 30), max_size=4), st.integers(0, 29), st.sampled_from([NAN, INF, -INF]))
def test_one_value_that_is_not_finite_spoils_every_lag(values, max_lag, cuts, at, odd):
    values = [*values[:at], odd, *values[at:]]
    check(values, max_lag)
    whole = facts(Lagged.of(np.array(values), max_lag))
    pieces = cut(values, max_lag, cuts)
    assert facts(reduce(Lagged.merge, pieces)) == whole
    assert facts(reduce(lambda later, earlier: earlier.merge(later), reversed(pieces))) == whole


def products_by_integers(values, max_lag):
    """Return the lagged products in units of 2**-2148, by integers and a loop."""
    x = [int(Fraction(value) * 2**1074) for value in values]
    return tuple(sum(map(int.__mul__, x, x[k:])) for k in range(max_lag + 1))


LONG = {
    "normal": BIG.normal(size=5000),
    "walk": np.cumsum(BIG.integers(-1, 2, 5000)).astype(float),
    "1e9 and a little": 1e9 + 1e-3 * BIG.normal(size=2100),
    "cauchy": BIG.standard_cauchy(3000),
    "decay": 0.7 ** np.arange(3000),
    "one value": np.full(4097, -LARGEST),
    "largest mantissa": np.full(4096, 2.0**53 - 1),
    "largest slices": np.full(4100, 2.0**21 - 0.5 - 2.0**-23),
    "largest slices, alternating": np.tile([2.0**21 - 0.5 - 2.0**-23, -(2.0**21) + 0.5], 2050),
    "carried slices": np.full(4096, 2.0**21 - 2.0**-32),
    "subnormals": BIG.integers(0, 2**52, 2100, dtype=np.uint64).view(np.float64),
    "all exponents": BIG.integers(0, 2047 * 2**52, 300, dtype=np.uint64).view(np.float64),
    "far apart, part by part": np.repeat([1e300, 1e-300, 1.0], 2048),
}


@pytest.mark.parametrize("name", LONG)
def test_lagged_products_are_exact_on_long_arrays(name):
    x, max_lag = LONG[name], 7
    whole = Lagged.of(x, max_lag)
    assert whole.products == products_by_integers(x.tolist(), max_lag)
    assert facts(reduce(Lagged.merge, cut(x, max_lag, [1, 4, 2047, 2050, 2900]))) == facts(whole)


@pytest.mark.parametrize("n", [1, 2, 11, 12, 13, 2047, 2048, 2049, 4095, 4096, 4097])
def test_lagged_products_are_exact_for_any_length_of_a_stretch_and_of_the_lag(n):
    x = BIG.normal(size=n)
    expected = products_by_integers(x.tolist(), 2 * n if n < 20 else 5)
    assert Lagged.of(x, len(expected) - 1).products == expected
    for max_lag in {n - 1, n, 3000} if n >= 2047 else {0}:
        products = Lagged.of(x, max_lag).products
        assert len(products) == max_lag + 1
        for k in {0, 1, n - 2, n - 1, n, max_lag - 1} & set(range(max_lag + 1)):
            x_k, y_k = x[: max(n - k, 0)].tolist(), x[k:].tolist()
            exact = sum((Fraction(a) * Fraction(b) for a, b in zip(x_k, y_k, strict=True)), Fraction(0))
            assert products[k] == exact * 2**2148


def test_slices_are_small_enough_to_be_added_up():
    for x in LONG.values():
        for _, integers in module._slices(x):
            assert np.abs(integers).max() <= 2 ** (module._SLICE - 1)
            assert (integers == np.rint(integers)).all()
    assert 2 ** (2 * module._SLICE - 2) * module._PART <= 2**53


def test_slices_add_up_to_what_was_cut():
    for x in (*LONG.values(), np.array([5e-324, LARGEST, 1.0, -1e-200, 0.0])):
        total = np.zeros(len(x), object)
        slices = module._slices(x)
        for unit, integers in slices:
            total += [Fraction(2) ** unit * int(i) for i in integers]
        assert list(total) == list(map(Fraction, x.tolist()))
        # What is added up in an int64 relies on it.
        assert sum((integers != 0).astype(int) for _, integers in slices).max() <= 5


def test_lag_zero_is_the_sum_of_squares_and_the_biased_variance():
    x = BIG.normal(size=700)
    moments, lagged = ScalarMoments.of(x, 0), Lagged.of(x, 3)
    assert (lagged.total, lagged.products[0]) == (moments.total, moments.squares)
    n = len(x)
    exact = Fraction(n * moments.squares - moments.total**2, n * n * 2**2148)
    assert lagged.autocovariance[0] == float(exact)


def test_no_value_at_all_gives_nan():
    assert Lagged.of(np.zeros(0), 2).autocovariance.tobytes() == np.full(3, NAN).tobytes()


def test_a_lag_without_a_pair_is_nan_and_a_constant_covaries_with_nothing():
    assert Lagged.of(np.full(3, 0.1), 4).autocovariance.tobytes() == np.array([0.0, 0.0, 0.0, NAN, NAN]).tobytes()


def test_a_stretch_keeps_no_view_of_what_it_was_given():
    x = BIG.normal(size=(50, 2))[:, 0]
    lagged = Lagged.of(x, 4)
    before = facts(lagged)
    x[:] = 7.0
    assert facts(lagged) == before


def test_lagged_products_come_back_from_a_pickle():
    lagged = Lagged.of(BIG.normal(size=20), 4)
    assert facts(pickle.loads(pickle.dumps(lagged))) == facts(lagged)


def test_stretches_of_different_lags_are_not_merged():
    with pytest.raises(ValueError):
        Lagged.of(np.ones(5), 2).merge(Lagged.of(np.ones(5), 3))
