"""Exact sums are the rational ones, and sums of products those of a plain loop, on both twins and in every register."""

import ast
import importlib
import inspect
import itertools
import math
import struct
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import rewind.kernel

pytestmark = pytest.mark.once

EPS = Fraction(1, 2**53)
LARGEST = 1.7976931348623157e308
FIELDS = "count total squares nan_count first_nan pos_inf neg_inf min argmin max argmax last".split()


def by_fractions(values):
    """Return what `fold` promises, by rational arithmetic and a loop."""
    total = squares = Fraction(0)
    nans = [i for i, x in enumerate(values) if math.isnan(x)]
    argmin = argmax = -1
    for i, x in enumerate(values):
        if math.isfinite(x):
            total += Fraction(x)
            squares += Fraction(x) ** 2
        if not math.isnan(x):
            argmin = i if argmin < 0 or x < values[argmin] else argmin
            argmax = i if argmax < 0 or x > values[argmax] else argmax
    return (
        len(values),
        int(total * 2**1074),
        int(squares * 2**2148),
        len(nans),
        nans[0] if nans else -1,
        values.count(math.inf),
        values.count(-math.inf),
        values[argmin] if argmin >= 0 else math.nan,
        argmin,
        values[argmax] if argmax >= 0 else math.nan,
        argmax,
    )


def exactly(result):
    """Return `result` with its floats as bytes, after checking that every part is of a builtin type."""
    assert [type(part) for part in result] == ([int] * 7 + [float, int, float, int, float])[: len(result)]
    return tuple(struct.pack("<d", part) if type(part) is float else part for part in result)


def alike(arrays):
    """Return the bytes, dtypes and shapes of a tuple of arrays."""
    return [(a.dtype, a.shape, a.tobytes()) for a in arrays]


# ---- fold

nasty = st.sampled_from(
    [0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 2.225073858507201e-308, LARGEST, -LARGEST]
    + [math.inf, -math.inf, math.nan, 1.0, -1.0, 2.0**53 - 1, 1e16, 1 + 2**-52]
)


@given(st.lists(st.floats() | nasty, max_size=60))
@example([])
@example([math.nan])
@example([math.inf])
@example([-math.inf, math.nan, -math.inf])
@example([0.0, -0.0])
@example([-0.0, 0.0])
@example([math.nan, 1.0, -0.0, 1.0, 0.0, 0.0, 0.0, -0.0])
@example([1e16, 1.0, -1e16])
@example([5e-324, LARGEST, -5e-324])
def test_fold_is_exact(sums, values):
    assert exactly(sums.fold(np.array(values, dtype=np.float64))) == exactly(by_fractions(values))


def near_each_other(draw):
    """Return values whose exponents lie in some range, wherever that is."""
    lowest = draw(st.sampled_from([-1074, -1022, -500, -434, -433, -381, -60, 0, 400, 427, 428, 900]))
    spread = draw(st.sampled_from([0, 1, 10, 24, 25, 50, 51, 52, 77, 78, 103, 104, 130, 600]))
    mantissas = st.integers(-(2**53) + 1, 2**53 - 1) | st.integers(-9, 9) | st.integers(-(2**26), 2**26)
    pairs = draw(st.lists(st.tuples(mantissas, st.integers(0, spread)), min_size=1, max_size=40))
    values = [math.ldexp(m, min(lowest + e, 970)) for m, e in pairs]
    return draw(st.sampled_from([values, values * 30]))


@given(st.composite(near_each_other)())
def test_fold_is_exact_wherever_the_values_are_and_however_far_apart(sums, values):
    assert exactly(sums.fold(np.array(values))) == exactly(by_fractions(values))


BIG = np.random.default_rng(5)
LONG = {
    "normal": BIG.normal(size=5000),
    "walk": np.cumsum(BIG.integers(-1, 2, 3000)).astype(float),
    "float32": BIG.normal(size=3000).astype(np.float32).astype(float),
    "1e9 and a little": 1e9 + 1e-3 * BIG.normal(size=2000),
    "cauchy": BIG.standard_cauchy(3000),
    "one value": np.full(3000, -LARGEST),
    "largest mantissa": np.full(4096, 2.0**53 - 1),
    "largest mantissa, negative": np.full(4096, -(2.0**53) + 1),
    "largest slices": np.full(4096, 2.0**25 + 0.5 - 2.0**-27),
    "alternating": np.tile([2.0**53 - 1, -(2.0**53) + 1, 1.0], 1024),
    "subnormals": BIG.integers(0, 2**52, 3000, dtype=np.uint64).view(np.float64),
    "all exponents": BIG.integers(0, 2**64, 5000, dtype=np.uint64).view(np.float64),
    "zeros of both signs": np.tile([0.0, -0.0], 2000)[1:],
    "NaN first": np.concatenate([np.full(1023, np.nan), BIG.normal(size=1023), [np.nan, np.inf, -np.inf]]),
    "a tiny one at the end": np.append(BIG.normal(size=1500), 5e-324),
    "last is least": np.arange(4000.0, 0.0, -1.0),
    "extremes at the ends of lanes": np.array([3.0] * 1022 + [-7.0, 9.0, 9.0, -7.0]),
}


@pytest.mark.parametrize("name", LONG)
def test_fold_is_exact_on_long_arrays(sums, name):
    assert exactly(sums.fold(LONG[name])) == exactly(by_fractions(LONG[name].tolist()))


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, 1023, 1024, 1025])
def test_fold_takes_every_value_of_arrays_of_any_length(sums, n):
    for at in {0, n // 2, n - 1}:
        for odd in (-1.0, 3.0, 2.0**-70, math.nan, -math.inf):
            x = np.full(n, 2.0)
            x[at] = odd
            assert exactly(sums.fold(x)) == exactly(by_fractions(x.tolist())), (at, odd)


def test_fold_is_exact_beyond_what_its_counters_hold(sums):
    n = 2**20 + 2**10 + 7
    value = 2.0**53 - 1
    result = sums.fold(np.full(n, value))
    assert result[:3] == (n, n * int(value) << 1074, n * int(value) ** 2 << 2148)
    tiny = sums.fold(np.full(n, -5e-324))
    assert tiny[:3] == (n, -n, n)
    x = np.random.default_rng(8).normal(size=n)
    x[-1], x[2**20] = 100.0, -100.0
    parts = [sums.fold(part) for part in np.split(x, [999, 2**19, 2**20])]
    whole = sums.fold(x)
    assert whole[1:3] == (sum(part[1] for part in parts), sum(part[2] for part in parts))
    assert whole[7:] == (-100.0, 2**20, 100.0, n - 1)


@given(st.lists(st.floats() | nasty, min_size=1, max_size=40), st.randoms())
def test_the_sums_do_not_depend_on_the_order(sums, values, random):
    before = sums.fold(np.array(values))
    random.shuffle(values)
    after = sums.fold(np.array(values))
    assert before[:4] == after[:4] and before[5:7] == after[5:7]


def test_the_mean_and_variance_of_a_fold_are_those_of_rational_arithmetic(sums):
    x = 1e9 + 1e-3 * np.random.default_rng(3).normal(size=500)
    n, total, squares, *_ = sums.fold(x)
    exact = [Fraction(v) for v in x.tolist()]
    mean = sum(exact) / n
    assert total / (n << 1074) == float(mean)
    assert (n * squares - total * total) / (n * (n - 1) << 2148) == float(sum((v - mean) ** 2 for v in exact) / (n - 1))


def test_fold_leaves_nothing_behind(sums):
    first = sums.fold(LONG["all exponents"])
    sums.fold(LONG["normal"])
    assert exactly(sums.fold(np.zeros(3))) == exactly(by_fractions([0.0] * 3))
    assert exactly(sums.fold(LONG["all exponents"])) == exactly(first)


def test_fold_runs_in_many_threads_at_once(sums):
    arrays = [np.tile(LONG[name], 20) for name in ("normal", "all exponents", "cauchy", "subnormals")]
    alone, together = [exactly(sums.fold(x)) for x in arrays], [None] * len(arrays)

    def work(k):
        for _ in range(3):
            together[k] = exactly(sums.fold(arrays[k]))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(arrays))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_fold_takes_an_array_it_may_not_write(sums):
    x = np.arange(5.0)
    x.flags.writeable = False
    assert sums.fold(x)[1] == 10 << 1074


OTHERS = {
    "matrix": np.arange(6.0).reshape(2, 3),
    "stride": np.arange(6.0)[::2],
    "backwards": np.arange(6.0)[::-1],
    "int64": np.arange(6),
    "float32": np.arange(6, dtype=np.float32),
    "big-endian": np.arange(6.0).astype(">f8"),
    "scalar": np.array(1.0),
    "complex": np.arange(6.0) + 1j,
}


@pytest.mark.parametrize("values", OTHERS.values(), ids=OTHERS)
def test_other_arrays_are_refused(sums, values):
    tally = sums.Tally()
    with pytest.raises(ValueError, match="contiguous"):
        sums.fold(values)
    with pytest.raises(ValueError, match="contiguous"):
        tally.append(values, 0)
    assert len(tally) == 0


# ---- rounded


def nearest(exact):
    """Return the double nearest to a rational number, ties to even, by trying its neighbours."""
    if abs(exact) >= Fraction(2) ** 1024 - Fraction(2) ** 970:
        return math.inf if exact > 0 else -math.inf
    exponent = max(-1074, math.frexp(float(abs(exact)))[1] - 54) if exact else 0
    return math.ldexp(round(exact / Fraction(2) ** exponent), exponent) if exponent == -1074 else float(exact)


integers = st.integers() | st.integers(-(2**300), 2**300) | st.integers(-9, 9) | st.integers(-(2**2200), 2**2200)
near_the_ends = st.sampled_from([-2148, -1130, -1075, -1074, -1073, -1022, -1021, 0, 970, 1023, 1024]) | st.integers(
    -3000, 3000
)


@given(integers, st.integers(1, 2**70), near_the_ends)
@example(0, 1, 5000)
@example(0, 3, -5000)
@example(2**54 - 1, 1, 970)
@example(2**54 - 1, 2, 971)
@example(2**53 - 1, 1, 971)
@example(1, 2, -1074)
@example(3, 2, -1074)
@example(2**53 + 1, 1, -1075 - 52)
def test_a_quotient_is_rounded_once(sums, numerator, denominator, exponent):
    got = sums.rounded(numerator, denominator, exponent)
    assert type(got) is float
    assert got.hex() == nearest(Fraction(numerator, denominator) * Fraction(2) ** exponent).hex()


# ---- Tally


def filled(sums, blocks, start=0):
    tally = sums.Tally()
    for block in blocks:
        tally.append(np.array(block, dtype=np.float64), start)
        start += len(block)
    return tally


def by_loop(blocks, start=0):
    """Return what ``merged`` promises of these blocks."""
    values = [x for block in blocks for x in block]
    found = dict(zip(FIELDS, (*by_fractions(values), values[-1] if values else math.nan), strict=True))
    for name in ("first_nan", "argmin", "argmax"):
        found[name] += start if found[name] >= 0 else 0
    return tuple(found.values())


@given(st.lists(st.lists(st.floats() | nasty, max_size=6), max_size=8), st.integers(0, 2**40), st.data())
def test_merged_rows_are_one_piece(sums, blocks, start, data):
    tally = filled(sums, blocks, start)
    assert len(tally) == len(blocks)
    first = data.draw(st.integers(0, len(blocks)))
    stop = data.draw(st.integers(first, len(blocks)))
    begin = start + sum(map(len, blocks[:first]))
    assert exactly(tally.merged(first, stop)) == exactly(by_loop(blocks[first:stop], begin))
    for i in range(len(blocks)):
        assert exactly(tally.moments_of(i)) == exactly(tally.merged(i, i + 1))


@given(st.lists(st.lists(st.floats() | nasty, min_size=1, max_size=6), max_size=8))
def test_columns_are_the_rows_each_rounded_once(sums, blocks):
    tally = filled(sums, blocks)
    rows = [dict(zip(FIELDS, tally.moments_of(i), strict=True)) for i in range(len(blocks))]
    for name in ("count", "argmin", "argmax", "nan_count"):
        assert tally.column(name).dtype == np.int64 and tally.column(name).tolist() == [row[name] for row in rows]
    for name in ("min", "max", "last"):
        assert tally.column(name).dtype == np.float64
        assert tally.column(name).tobytes() == np.array([row[name] for row in rows]).tobytes()
    mean, m2 = tally.column("mean"), tally.column("m2")
    assert mean.dtype == m2.dtype == np.float64 and mean.shape == m2.shape == (len(blocks),)
    for i, block in enumerate(blocks):
        if not all(map(math.isfinite, block)):
            with np.errstate(invalid="ignore"):
                expected = sum(math.copysign(math.inf, x) if math.isinf(x) else x * 0 for x in block)
            assert mean[i].hex() == expected.hex() and math.isnan(m2[i])
            continue
        exact = [Fraction(x) for x in block]
        middle = sum(exact) / len(exact)
        assert mean[i].hex() == nearest(middle).hex()
        assert m2[i].hex() == nearest(sum((x - middle) ** 2 for x in exact)).hex()


def test_rows_can_be_cut_and_added_again(sums):
    blocks = [BIG.normal(size=3).tolist() for _ in range(100)]
    tally = filled(sums, blocks)
    for n in (100, 60, 60, 0):
        tally.cut(n)
        assert len(tally) == n
        assert exactly(tally.merged(0, n)) == exactly(by_loop(blocks[:n]))
    for i, block in enumerate(blocks):
        tally.append(np.array(block), 3 * i)
    assert exactly(tally.merged(0, 100)) == exactly(by_loop(blocks))


def test_a_table_of_thousands_of_rows_of_every_kind_is_exact(sums):
    blocks = [LONG[name][k : k + 5].tolist() for k in range(0, 900, 5) for name in LONG]
    tally = filled(sums, blocks)
    assert exactly(tally.merged(0, len(blocks))) == exactly(by_loop(blocks))
    middle = len(blocks) // 2
    parts = [tally.merged(0, middle), tally.merged(middle, len(blocks))]
    assert [a + b for a, b in zip(*(part[:4] for part in parts), strict=True)] == list(by_loop(blocks)[:4])


def test_an_empty_table_has_nothing_to_say(sums):
    tally = sums.Tally()
    assert len(tally) == 0
    assert exactly(tally.merged(0, 0)) == exactly(by_loop([]))
    assert all(tally.column(name).shape == (0,) for name in ("count", "min", "mean", "m2"))


def test_rows_that_are_not_there_are_refused(sums):
    tally = filled(sums, [[1.0], [2.0]])
    for bad in ((-1, 1), (0, 3), (2, 1), (3, 3)):
        with pytest.raises(IndexError, match="rows"):
            tally.merged(*bad)
    for bad in (-1, 2):
        with pytest.raises(IndexError, match="rows"):
            tally.moments_of(bad)
    for bad in (-1, 3):
        with pytest.raises(IndexError, match="rows"):
            tally.cut(bad)
    with pytest.raises(ValueError, match="no column 'median'; there are count, "):
        tally.column("median")
    assert len(tally) == 2


# ---- comoments


def by_the_loop_anyone_would_write(rows, start, shift):
    """Return mean and comoment of finite rows with Python's floats: every operation rounded, in the order of rows."""
    n, d = rows.shape
    shifted = [[x - s for x, s in zip(row, shift.tolist(), strict=True)] for row in rows.tolist()]
    mean, rest, product = [0.0] * d, [0.0] * d, [[0.0] * d for _ in range(d)]
    for row in shifted:
        mean = [m + x for m, x in zip(mean, row, strict=True)]
    mean = [m / n for m in mean]
    for row in shifted:
        centred = [x - m for x, m in zip(row, mean, strict=True)]
        rest = [r + c for r, c in zip(rest, centred, strict=True)]
        for i, j in itertools.product(range(d), repeat=2):
            product[i][j] += centred[i] * centred[j]
    comoment = [[product[i][j] - rest[i] * rest[j] / n for j in range(d)] for i in range(d)]
    return np.array([m + r / n for m, r in zip(mean, rest, strict=True)]), np.array(comoment)


SHAPES = [(1, 1), (1, 9), (2, 3), (5, 1), (40, 2), (30, 3), (30, 4), (30, 5), (20, 7), (20, 8), (20, 9), (7, 17)]


@pytest.mark.parametrize("shape", [*SHAPES, (600, 8), (9, 33), (700, 3)])
def test_covariance_has_the_bits_of_a_plain_loop(sums, shape):
    for scale in (1.0, 1e-3, 1e150, 1e-160):
        rows = np.random.default_rng(shape).normal(0.3, 1.0, shape) * scale
        shift = rows[0].copy()
        mean, comoment, *_ = sums.comoments(rows, 0, shift)
        expected = by_the_loop_anyone_would_write(rows, 0, shift)
        assert alike((mean, comoment)) == alike(expected)


moderate = st.floats(-1e6, 1e6, allow_subnormal=False) | st.sampled_from([1e9, 1e9 + 1e-3, 0.0, -0.0])


@given(hnp.arrays("f8", st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=moderate))
def test_covariance_is_within_its_bound_of_the_rational_one(sums, rows):
    """``|mean - exact| <= 4 sqrt(n) eps s_i`` and ``|comoment - exact| <= 8 n eps s_i s_j``, s_i of shifted values."""
    n, d = rows.shape
    mean, comoment, *_ = sums.comoments(rows, 0, rows[0].copy())
    exact = [[Fraction(x) - Fraction(first) for x, first in zip(row, rows[0], strict=True)] for row in rows]
    size = [sum(row[i] ** 2 for row in exact) for i in range(d)]
    middle = [sum(row[i] for row in exact) / n for i in range(d)]
    tiny = Fraction(n, 2**1074)  # what products lose that are subnormal
    for i in range(d):
        assert max(0, abs(Fraction(mean[i]) - middle[i]) - tiny) ** 2 <= (4 * EPS) ** 2 * n * size[i]
        for j in range(d):
            true = sum((row[i] - middle[i]) * (row[j] - middle[j]) for row in exact)
            error = max(0, abs(Fraction(comoment[i, j]) - true) - tiny)
            assert error**2 <= (8 * n * EPS) ** 2 * size[i] * size[j]
    assert comoment.tobytes() == comoment.T.copy().tobytes()


anything = st.floats() | nasty


@given(hnp.arrays("f8", st.tuples(st.integers(1, 7), st.integers(1, 5)), elements=anything), st.integers(0, 2**40))
def test_extremes_and_nans_of_components_are_those_of_each_alone(sums, rows, start):
    _, _, *found, last, nan_count, first_nan = sums.comoments(rows, start, np.zeros(rows.shape[1]))
    assert last.tobytes() == rows[-1].tobytes()
    for i, column in enumerate(rows.T.tolist()):
        expected = dict(zip(FIELDS, by_loop([column], start), strict=True))
        got = (*(array[i].item() for array in found), nan_count[i].item(), first_nan[i].item())
        names = ("min", "argmin", "max", "argmax", "nan_count", "first_nan")
        assert [x.hex() if type(x) is float else x for x in got] == [
            x.hex() if type(x) is float else x for x in map(expected.get, names)
        ]


def test_what_is_not_finite_spoils_its_own_row_and_column_and_no_other(sums):
    rows = np.random.default_rng(2).normal(size=(50, 11))
    clean = sums.comoments(rows, 0, np.zeros(11))
    for bad in (math.nan, math.inf, -math.inf):
        for i in (0, 4, 10):
            spoilt = rows.copy()
            spoilt[30, i] = bad
            mean, comoment, *_ = sums.comoments(spoilt, 0, np.zeros(11))
            others = np.arange(11) != i
            assert mean[others].tobytes() == clean[0][others].tobytes()
            assert comoment[np.ix_(others, others)].tobytes() == clean[1][np.ix_(others, others)].tobytes()
            assert mean[[i]].tobytes() == np.array([bad]).tobytes()
            assert comoment[i].tobytes() == comoment[:, i].tobytes() == np.full(11, math.nan).tobytes()


def test_a_comoment_beyond_the_largest_double_is_infinite(sums):
    mean, comoment, *_ = sums.comoments(np.array([[1e200, 1.0], [-1e200, -1.0]]), 0, np.zeros(2))
    assert mean.tolist() == [0.0, 0.0] and comoment.tolist() == [[math.inf, 2e200], [2e200, 2.0]]


def test_there_is_one_nan(sums):
    """Processors differ in the NaN they make of inf - inf, and of two NaNs in which comes out."""
    other = np.frombuffer(struct.pack("<Q", 0xFFF8000000000123), "<f8").astype(np.float64)[0]
    rows = np.array([[other, math.nan, math.inf, -math.inf], [math.nan, other, -math.inf, 1.0]])
    moments = sums.comoments(rows, 0, np.zeros(4))
    merged = sums.merged_comoments(2, moments, 2, moments)
    for mean, comoment, *_ in (moments, merged):
        for array in (mean, comoment):
            assert set(array[np.isnan(array)].view(np.uint64).tolist()) == {0x7FF8000000000000}


def test_the_arrays_are_new(sums):
    rows, shift = np.ones((3, 2)), np.zeros(2)
    first = sums.comoments(rows, 0, shift)
    second = sums.comoments(rows, 0, shift)
    arrays = [*first, *second, *sums.merged_comoments(3, first, 3, second)[:6], rows, shift]
    assert not any(np.shares_memory(a, b) for a, b in itertools.combinations(arrays, 2))
    assert all(a.flags.writeable and a.flags.c_contiguous for a in arrays)


@pytest.mark.parametrize(
    ("values", "shift"),
    [
        (np.zeros((0, 2)), np.zeros(2)),
        (np.zeros((2, 0)), np.zeros(0)),
        (np.zeros((2, 2)), np.zeros(3)),
        (np.zeros((2, 2)), np.zeros((2, 1))),
        (np.zeros(2), np.zeros(2)),
        (np.zeros((2, 2), np.int64), np.zeros(2)),
        (np.zeros((2, 2)), np.zeros(2, np.float32)),
        (np.zeros((3, 2)).T, np.zeros(3)),
        (np.zeros((2, 4))[:, ::2], np.zeros(2)),
    ],
)
def test_arrays_that_do_not_fit_have_no_covariance(sums, values, shift):
    with pytest.raises(ValueError):
        sums.comoments(values, 0, shift)


def test_moments_that_do_not_fit_are_not_merged(sums):
    two, three = (sums.comoments(np.ones((2, d)), 0, np.zeros(d)) for d in (2, 3))
    with pytest.raises(ValueError):
        sums.merged_comoments(2, two, 2, three)
    with pytest.raises(ValueError):
        sums.merged_comoments(2, (two[0], two[1][:1], *two[2:]), 2, two)
    with pytest.raises(ValueError):
        sums.merged_comoments(2, two, 2, (two[0], two[1].T.astype(np.float32), *two[2:]))
    with pytest.raises(ValueError):
        sums.merged_comoments(2, two, 2, (*two[:7], two[7].astype(float), two[8]))


@given(hnp.arrays("f8", st.tuples(st.integers(2, 9), st.integers(1, 4)), elements=moderate), st.data())
def test_merged_stretches_are_within_the_bound_of_one_piece(sums, rows, data):
    n, d = rows.shape
    cut, shift = data.draw(st.integers(1, n - 1)), rows[0].copy()
    first, later = sums.comoments(rows[:cut], 5, shift), sums.comoments(rows[cut:], 5 + cut, shift)
    merged, whole = sums.merged_comoments(cut, first, n - cut, later), sums.comoments(rows, 5, shift)
    assert alike(merged[2:]) == alike(whole[2:])
    reach, tiny = np.abs(rows - shift).max(axis=0), n * 2.0**-1074
    assert (np.abs(merged[0] - whole[0]) <= 8 * n * float(EPS) * reach + tiny).all()
    assert (np.abs(merged[1] - whole[1]) <= 16 * n * n * float(EPS) * np.outer(reach, reach) + tiny).all()


# ---- the twins, and the widths of registers

rows_of_all_kinds = hnp.arrays("f8", st.tuples(st.integers(1, 9), st.integers(1, 18)), elements=anything)


@pytest.mark.compiled
@given(rows_of_all_kinds, rows_of_all_kinds)
def test_twins_have_the_same_bits(rows, more):
    compiled, python = (importlib.import_module(name) for name in ("rewind.kernel._sums", "rewind.kernel.sums"))
    d = min(rows.shape[1], more.shape[1])
    stretches = [np.ascontiguousarray(part[:, :d]) for part in (rows, more)]
    flat = stretches[0].reshape(-1)
    assert exactly(compiled.fold(flat)) == exactly(python.fold(flat))
    shift = np.where(np.isfinite(rows[0, :d]), rows[0, :d], 0.0)
    pair = [python.comoments(part, 3, shift) for part in stretches]
    for part, expected in zip(stretches, pair, strict=True):
        assert alike(compiled.comoments(part, 3, shift)) == alike(expected)
    counts = [len(part) for part in stretches]
    merged = [module.merged_comoments(counts[0], pair[0], counts[1], pair[1]) for module in (compiled, python)]
    assert alike(merged[0]) == alike(merged[1])


@pytest.fixture
def narrow():
    """The compiled module, made to use the registers every processor has."""
    compiled = importlib.import_module("rewind.kernel._sums")
    before = compiled._set_level(0)
    yield compiled
    assert compiled._set_level(before) == 0


def everything(module):
    for x in LONG.values():
        yield exactly(module.fold(x))
        yield exactly(module.fold(x[:777]))
    for n, d in ((300, 1), (200, 3), (200, 8), (100, 13), (90, 64), (40, 100)):
        rows = np.random.default_rng(d).normal(1.0, 1.0, (n, d))
        yield alike(module.comoments(rows, 0, rows[0].copy()))
        rows[n // 2, d // 2], rows[n // 3, 0] = math.inf, math.nan
        yield alike(module.comoments(rows, 0, np.zeros(d)))


@pytest.mark.compiled
def test_registers_of_every_width_give_the_same_bits(narrow):
    slow = list(everything(narrow))
    narrow._set_level(1)  # stays at 0 where the processor has no wider ones
    fast = list(everything(narrow))
    narrow._set_level(0)
    assert slow == fast == list(everything(importlib.import_module("rewind.kernel.sums")))


def public(module):
    """Yield (name, object) of all that `module` offers, methods included."""
    for name in module.__all__:
        yield name, getattr(module, name)
        if inspect.isclass(getattr(module, name)):
            for method, function in vars(getattr(module, name)).items():
                if not method.startswith("_") and callable(function):
                    yield f"{name}.{method}", function


def parameters(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.compiled
def test_twins_have_the_same_surface():
    compiled, python = (importlib.import_module(name) for name in ("rewind.kernel._sums", "rewind.kernel.sums"))
    assert compiled.__all__ == python.__all__
    ours, theirs = dict(public(compiled)), dict(public(python))
    assert list(ours) == list(theirs)
    for name in ours:
        assert inspect.getdoc(ours[name]) == inspect.getdoc(theirs[name]), name
        assert parameters(ours[name]) == parameters(theirs[name]), name


def outline(path):
    """Return the names and parameters of the functions a source file offers, and its __all__, by reading it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name.endswith("__")):
            found.append((node.name, [arg.arg for arg in node.args.args]))
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            found.append(("__all__", ast.literal_eval(node.value)))
    return found


def test_the_stub_describes_the_twins():
    package = Path(rewind.kernel.__file__).parent
    assert outline(package / "_sums.pyi") == outline(package / "sums.py")


def test_the_kernel_takes_its_sums_from_here(sums):
    assert set(sums.__all__) <= set(rewind.kernel.__all__)
    module = "rewind.kernel.sums" if rewind.kernel.kernel_name == "python" else "rewind.kernel._sums"
    assert {getattr(rewind.kernel, name).__module__ for name in sums.__all__} == {module}
