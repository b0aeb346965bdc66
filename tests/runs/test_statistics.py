"""Statistics: scalar ones are the rational result rounded once, vector ones are held to a stated bound."""

from __future__ import annotations

import copy
import dataclasses
import decimal
import fractions
import math
import os
import pathlib
import pickle
import random
import subprocess
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from helpers.exact import INF, NAN, all_bits, bits, check_exact, check_vector, count_up, rounded
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import rewind
from rewind.errors import MetricError
from rewind.metrics.moments import ScalarMoments, VectorMoments
from rewind.metrics.statistics import Stats

SCALAR = ["count", "mean", "variance", "std", "min", "max", "argmin", "argmax", "nan_count", "first_nan"]
VECTOR = [*SCALAR[:4], "covariance", *SCALAR[4:]]


def steps(n: int, block_size: int | None = None) -> Any:
    """A run whose state at step t is t."""
    return rewind.record(count_up, 0, n, 0, block_size=block_size)


def stats_of(values: Any, block_size: int | None = None) -> Any:
    return steps(len(values), block_size).stats(lambda t: values[t])


# ---- scalar metrics are exact

finite = st.floats(allow_nan=False, allow_infinity=False)
tiny = st.integers(-40, 40).map(lambda k: k * 5e-324)
nasty = (
    finite
    | tiny
    | st.sampled_from([1e16, 1.0, -1e16, 1.7976931348623157e308, -1.7976931348623157e308, 2.2e-308, 0.0, -0.0])
)


def test_the_yardstick_rounds_as_python_does():
    rng = random.Random(1)
    for _ in range(300):
        a = Fraction(rng.getrandbits(rng.randrange(1, 1100)) - 5, rng.getrandbits(rng.randrange(1, 1100)) + 1)
        try:
            assert rounded(a) == float(a)
        except OverflowError:
            assert rounded(a) == math.copysign(INF, a)


@given(st.lists(nasty, min_size=1, max_size=30), st.integers(1, 12))
def test_mean_and_variance_are_the_rational_result_rounded_once(values, block_size):
    check_exact(values, stats_of(values, block_size))


def cauchy(n: int) -> list[float]:
    rng = random.Random(3)
    return [math.tan(math.pi * (rng.random() - 0.5)) * 10.0 ** rng.randrange(-30, 30) for _ in range(n)]


NASTY = {
    "a large mean with a small spread": [1e9 + random.Random(1).gauss(0, 1e-3) + i * 1e-6 for i in range(500)],
    "cancellation": [1e16, 1.0, -1e16],
    "cancellation again and again": [1e16, 1.0, -1e16, 3.0, 1e300, -1e300] * 20,
    "denormals": [5e-324, -5e-324, 1e-323, 4.4e-323, 0.0] * 7,
    "the mean of denormals rounds to even": [5e-324, 0.0],
    "squares far below the smallest double": [1e-200, -1e-200, 3e-200],
    "squares far above the largest double": [1e200, -1e200, 3e200],
    "the largest doubles": [1.7976931348623157e308] * 5,
    "opposite largest doubles": [1.7976931348623157e308, -1.7976931348623157e308],
    "cauchy": cauchy(400),
    "one value": [0.1],
    "two equal values": [0.1, 0.1],
    "many equal values": [0.1] * 1000,
    "all exponents": [math.ldexp(1 + k / 4096, k) for k in range(-1060, 1000, 7)],
}


@pytest.mark.parametrize("values", NASTY.values(), ids=NASTY.keys())
def test_nasty_data_gives_the_rational_result_for_every_block_size(values):
    whole = stats_of(values, len(values))
    check_exact(values, whole)
    for block_size in (1, 2, 3, 7, 100, len(values) + 5):
        assert all_bits(stats_of(values, block_size)) == all_bits(whole)


integers = st.integers(-(2**70), 2**70) | st.integers(-9, 9) | st.just(10**300)
numbers = {
    "int": integers,
    "bool": st.booleans(),
    "int and float": integers | finite,
    "bool and float": st.booleans() | finite,
    "uint64": st.integers(0, 2**64 - 1).map(np.uint64),
    "int64 and uint64": st.integers(0, 2**64 - 1).map(np.uint64) | st.integers(-(2**63), 2**63 - 1).map(np.int64),
    "float32": st.floats(width=32, allow_nan=False, allow_infinity=False).map(np.float32),
    "float16 and int8": st.floats(width=16, allow_nan=False, allow_infinity=False).map(np.float16)
    | st.integers(-128, 127).map(np.int8),
    "float32 and int": st.floats(width=32, allow_nan=False, allow_infinity=False).map(np.float32)
    | st.integers(-(2**53), 2**53),
    "0-d arrays": finite.map(np.array),
    "numpy bool": st.booleans().map(np.bool_),
    "swapped 0-d arrays": finite.map(lambda x: np.array(x, ">f8")),
}


@pytest.mark.parametrize("kind", numbers)
@given(data=st.data())
@settings(max_examples=40)
def test_every_kind_of_number_counts_as_the_double_nearest_to_it(kind, data):
    values = data.draw(st.lists(numbers[kind], min_size=1, max_size=12))
    block_size = data.draw(st.integers(1, 5))
    check_exact([float(value) for value in values], stats_of(values, block_size))


# ---- NaN, infinities, zeros, ties


def test_a_nan_makes_mean_and_variance_nan_and_is_counted_and_found():
    values = [3.0, 1.0, NAN, 2.0, NAN, 1.0, 5.0, 5.0]
    for block_size in (1, 2, 3, 8):
        stats = stats_of(values, block_size)
        assert math.isnan(stats.mean) and math.isnan(stats.variance) and math.isnan(stats.std)
        assert (stats.count, stats.nan_count, stats.first_nan) == (8, 2, 2)
        assert (stats.min, stats.argmin, stats.max, stats.argmax) == (1.0, 1, 5.0, 6)


def test_nothing_but_nan_has_no_extremes():
    stats = stats_of([NAN] * 5, 2)
    assert math.isnan(stats.min) and math.isnan(stats.max)
    assert (stats.argmin, stats.argmax, stats.nan_count, stats.first_nan) == (None, None, 5, 0)


INFINITE = [
    ([1.0, INF, 2.0], INF, (1.0, 0), (INF, 1)),
    ([1.0, -INF, 2.0], -INF, (-INF, 1), (2.0, 2)),
    ([INF, -INF, INF], NAN, (-INF, 1), (INF, 0)),
    ([INF, INF], INF, (INF, 0), (INF, 0)),
    ([-INF, NAN], NAN, (-INF, 0), (-INF, 0)),
]


@pytest.mark.parametrize(("values", "mean", "low", "high"), INFINITE)
@pytest.mark.parametrize("block_size", [1, 2, 9])
def test_infinities_count_as_in_ieee(values, mean, low, high, block_size):
    stats = stats_of(values, block_size)
    assert bits(stats.mean) == bits(mean)
    assert math.isnan(stats.variance) and math.isnan(stats.std)
    assert (stats.min, stats.argmin) == low and (stats.max, stats.argmax) == high


def test_a_variance_beyond_the_largest_double_is_infinite_and_the_mean_is_not():
    stats = stats_of([1e308, -1e308, 1e308], 1)
    assert stats.mean == rounded(Fraction(1e308) / 3) and stats.variance == INF and stats.std == INF


def test_the_first_of_equal_extremes_is_the_one_named_and_both_zeros_are_equal():
    for values in ([0.0, -0.0], [-0.0, 0.0], [2.0, 1.0, 1.0, 2.0, 1.0], [7.0] * 9):
        for block_size in (1, 2, 4, 9):
            stats = stats_of(values, block_size)
            assert stats.argmin == values.index(min(values)) and stats.argmax == values.index(max(values))
            assert bits(stats.min) == bits(values[stats.argmin]) and bits(stats.max) == bits(values[stats.argmax])


anything = st.floats() | st.sampled_from([NAN, INF, -INF, 0.0, -0.0])


@given(st.lists(anything, min_size=1, max_size=20), st.integers(1, 20))
def test_the_bits_do_not_depend_on_the_blocks(values, block_size):
    assert all_bits(stats_of(values, block_size)) == all_bits(stats_of(values, len(values)))


@given(st.lists(anything, min_size=1, max_size=20), st.data())
def test_merging_pieces_in_order_is_the_same_as_one_piece(values, data):
    cuts = sorted(data.draw(st.sets(st.integers(0, len(values)), max_size=4)) | {0, len(values)})
    array = np.array(values)
    pieces = [ScalarMoments.of(array[a:b], a) for a, b in zip(cuts, cuts[1:], strict=False)]
    total = ScalarMoments()
    for piece in pieces:
        total = total.merge(piece)
    whole = ScalarMoments.of(array, 0)
    assert all_bits(Stats(total)) == all_bits(Stats(whole))
    assert bits(total.last) == bits(whole.last) and bits(total.m2) == bits(whole.m2)


# ---- windows


def test_a_window_is_a_slice():
    values = [math.sin(t) for t in range(50)]
    run = steps(50, 7)
    for start, stop in (
        (0, None),
        (3, 4),
        (6, 8),
        (13, 30),
        (-5, None),
        (-20, -3),
        (49, None),
        (0, 999),
        (-999, 2),
        (14, 21),
    ):
        stats = run.stats(lambda t: values[t], start, stop)
        window = range(50)[start:stop]
        check_window([values[t] for t in window], window.start, stats)


def check_window(values: list[float], start: int, stats: Any) -> None:
    moved = dict(stats)
    for name in ("argmin", "argmax"):
        moved[name] -= start
    check_exact(values, type("Moved", (), moved))


@pytest.mark.parametrize("window", [(5, 5), (9, 3), (50, None), (0, 0), (-1, 3), (0, -50)])
def test_an_empty_window_is_refused(window):
    with pytest.raises(rewind.ArgumentError, match="at least one step of 0 to 49"):
        steps(50).stats(None, *window)


@pytest.mark.parametrize("window", [(1.0, None), (0, "9"), (True, None), (None, 5)])
def test_a_window_of_no_steps_is_refused(window):
    with pytest.raises(rewind.ArgumentTypeError):
        steps(50).stats(None, *window)


# ---- vector metrics: to a bound


moderate = st.floats(-1e6, 1e6, allow_subnormal=False) | st.sampled_from([1e9, 1e9 + 1e-3, 1e9 - 1e-3, 0.0])


@given(hnp.arrays("f8", st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=moderate), st.integers(1, 12))
def test_a_vector_metric_is_within_its_bound(rows, block_size):
    stats = stats_of(rows, block_size)
    check_vector(rows, stats)
    assert stats.min.tolist() == rows.min(axis=0).tolist() and stats.max.tolist() == rows.max(axis=0).tolist()
    assert stats.argmin.tolist() == rows.argmin(axis=0).tolist()
    assert stats.argmax.tolist() == rows.argmax(axis=0).tolist()
    assert stats.nan_count.tolist() == [0] * rows.shape[1] and stats.first_nan.tolist() == [-1] * rows.shape[1]


@pytest.mark.parametrize("d", [1, 2, 3, 17, 100])
@pytest.mark.parametrize("mean", [0.0, 1e9])
def test_a_vector_of_any_length_and_mean_is_within_its_bound(d, mean):
    rows = np.random.default_rng(d).normal(mean, 1e-3, (40, d))
    stats = stats_of(rows, 7)
    few = np.random.default_rng(0).choice(d, min(d, 4), replace=False)
    picked = Stats(stats_moments(rows[:, few], 7))
    check_vector(rows[:, few], picked)
    assert stats.covariance[np.ix_(few, few)].tobytes() == picked.covariance.tobytes()
    assert stats.covariance.shape == (d, d)


def stats_moments(rows: np.ndarray, block_size: int) -> VectorMoments:
    total: Any = None
    for start in range(0, len(rows), block_size):
        part = VectorMoments.of(np.ascontiguousarray(rows[start : start + block_size]), start, rows[0])
        total = part if total is None else total.merge(part)
    return total  # type: ignore[no-any-return]


def test_arrays_come_back_in_the_shape_of_the_metric():
    rows = np.random.default_rng(1).normal(size=(20, 2, 3))
    stats = stats_of(rows, 6)
    for name in ("mean", "variance", "std", "min", "max", "argmin", "argmax", "nan_count", "first_nan"):
        assert stats[name].shape == (2, 3), name
    assert stats.covariance.shape == (6, 6)
    assert stats.min.tolist() == rows.min(axis=0).tolist()
    check_vector(rows.reshape(20, 6), stats)


def test_lists_and_tuples_are_vectors_too():
    rows = [[float(t), -float(t)] for t in range(10)]
    assert (
        all_bits(stats_of(rows, 3))
        == all_bits(stats_of([tuple(row) for row in rows], 3))
        == all_bits(stats_of(np.array(rows), 3))
    )


def test_a_nan_component_spoils_its_own_row_and_column_and_no_other():
    rows = np.random.default_rng(2).normal(size=(12, 3))
    rows[5, 1] = rows[9, 1] = NAN
    for block_size in (1, 4, 12):
        stats = stats_of(rows, block_size)
        assert np.isnan(stats.mean).tolist() == [False, True, False]
        assert np.isnan(stats.covariance).tolist() == [[False, True, False], [True] * 3, [False, True, False]]
        assert stats.nan_count.tolist() == [0, 2, 0] and stats.first_nan.tolist() == [-1, 5, -1]
        column = rows[:, 1].tolist()
        numbers = [x for x in column if x == x]
        assert (stats.min[1], stats.argmin[1]) == (min(numbers), column.index(min(numbers)))
        assert (stats.max[1], stats.argmax[1]) == (max(numbers), column.index(max(numbers)))


def test_an_infinite_component_is_infinite_in_the_mean_and_nan_in_the_covariance():
    rows = np.ones((6, 2))
    rows[3, 0] = INF
    rows[0, 1] = -INF
    stats = stats_of(rows, 2)
    assert stats.mean.tolist() == [INF, -INF]
    assert np.isnan(stats.covariance).all()
    assert stats.max.tolist() == [INF, 1.0] and stats.argmax.tolist() == [3, 1]
    assert stats.min.tolist() == [1.0, -INF] and stats.argmin.tolist() == [0, 0]
    rows[4, 0] = -INF
    assert np.isnan(stats_of(rows, 2).mean).tolist() == [True, False]


def test_components_of_nothing_but_nan_have_no_extremes():
    stats = stats_of(np.full((5, 2), NAN), 2)
    assert np.isnan(stats.min).all() and np.isnan(stats.max).all()
    assert stats.argmin.tolist() == stats.argmax.tolist() == [-1, -1]
    assert stats.first_nan.tolist() == [0, 0] and stats.nan_count.tolist() == [5, 5]


def test_the_first_of_equal_components_is_the_one_named():
    rows = np.array([[1.0, -0.0], [0.0, 0.0], [-0.0, 0.0], [1.0, -0.0]])
    for block_size in (1, 2, 3, 4):
        stats = stats_of(rows, block_size)
        assert stats.argmin.tolist() == [1, 0] and stats.argmax.tolist() == [0, 0]
        assert np.signbit(stats.min).tolist() == [False, True]


# ---- Stats is a mapping with attributes


def test_stats_are_a_mapping_whose_keys_are_attributes():
    for stats, names in ((stats_of([1.0, 2.0]), SCALAR), (stats_of([[1.0], [2.0]]), VECTOR)):
        assert list(stats) == names and len(stats) == len(names)
        assert all(stats[name] is getattr(stats, name) for name in names)
        assert set(names) <= set(dir(stats))
        assert dict(stats) == {name: stats[name] for name in names} == dict(**stats)
        with pytest.raises(KeyError):
            stats["median"]
        with pytest.raises(AttributeError, match="count, mean, variance.*; no 'median'"):
            stats.median  # noqa: B018
        assert not hasattr(stats, "_anything") and "median" not in stats and stats.get("median") is None
        assert repr(stats).startswith(f"Stats(count=2, mean={stats.mean!r}, ")
    assert not hasattr(stats_of([1.0, 2.0]), "covariance")


def test_stats_survive_pickle_and_copy():
    for values in ([1.0, NAN, 2.0], [[1.0, 2.0], [NAN, 3.0]], [0.5]):
        stats = stats_of(values)
        for other in (pickle.loads(pickle.dumps(stats)), copy.copy(stats), copy.deepcopy(stats)):
            assert all_bits(other) == all_bits(stats) and other == stats and type(other) is type(stats)


def test_stats_are_equal_when_their_bits_are():
    assert stats_of([1.0, NAN]) == stats_of([1.0, NAN], 1)
    assert stats_of([[1.0, NAN], [0.0, 2.0]]) == stats_of([[1.0, NAN], [0.0, 2.0]])
    assert stats_of([0.0, 0.0]) != stats_of([-0.0, 0.0])
    assert stats_of([1.0, 2.0]) != stats_of([1.0, 3.0])
    assert stats_of([1.0]) != stats_of([[1.0]]) and stats_of([1.0]) != 1.0
    with pytest.raises(TypeError):
        hash(stats_of([1.0]))


def test_the_arrays_of_stats_are_the_callers_own():
    rows = [[1.0, 2.0], [3.0, 5.0]]
    run = rewind.record(count_up, 0, 2, 0, observe={"v": lambda t: rows[t]})
    before = all_bits(run.observed["v"])
    for array in run.observed["v"].values():
        if isinstance(array, np.ndarray):
            array[...] = 99
    table = run.overview("v")
    table["mean"] = 99
    assert all_bits(run.observed["v"]) == before and (run.overview("v")["mean"] != 99).all()


# ---- metrics that give no numbers

BAD = {
    "text": ("5", "'5'.*str"),
    "nothing": (None, "None.*NoneType"),
    "bytes": (b"5", "bytes"),
    "complex": (1j, "complex"),
    "a dict": ({"a": 1}, "dict"),
    "a set": ({1}, "set"),
    "a date": (np.datetime64("2024-01-01"), "datetime64"),
    "a duration": (np.timedelta64(5, "s"), "timedelta64"),
    "a decimal": (decimal.Decimal(1), "Decimal"),
    "a fraction": (fractions.Fraction(1, 3), "Fraction"),
    "an object": (object(), "object"),
    "ragged lists": ([[1.0], [1.0, 2.0]], "metric"),
    "an array of objects": (np.array([None, 1]), "metric"),
    "an array of text": (np.array(["1"]), "metric"),
    "an array of complex": (np.array([1j]), "metric"),
    "a structured array": (np.zeros(2, [("a", "f8")]), "metric"),
    "a huge int": (10**400, "metric"),
    "an empty array": (np.zeros(0), "empty"),
    "an empty list": ([], "empty"),
}


@pytest.mark.parametrize(("bad", "text"), BAD.values(), ids=BAD.keys())
def test_a_metric_that_gives_no_number_is_named_with_the_step(bad, text):
    for first in (0.5, np.zeros(2)):
        for where in (0, 1, 4, 9):
            values = [first] * 10
            values[where] = bad
            for use in (
                lambda values=values: steps(10, 3).stats(lambda t: values[t]),
                lambda values=values: rewind.record(
                    count_up, 0, 10, 0, block_size=3, observe={"q": lambda t: values[t]}
                ),
            ):
                with pytest.raises(MetricError) as caught:
                    use()
                assert isinstance(caught.value, TypeError)
                assert caught.value.step == where and f"at step {where} " in str(caught.value)
                assert str(caught.value).startswith(("metric 'q'", "metric 'f'"))
    with pytest.raises(MetricError, match=text):
        rewind.record(count_up, 0, 10, 0, observe={"q": lambda t: bad})


SHAPES = [
    (1.0, [1.0]),
    ([1.0], 1.0),
    ([1.0], [1.0, 2.0]),
    (np.zeros((2, 3)), np.zeros((3, 2))),
    (np.zeros(6), np.zeros((2, 3))),
    (1.0, np.zeros((1, 1))),
    (np.zeros(()), np.zeros(1)),
]


@pytest.mark.parametrize(("first", "later"), SHAPES, ids=repr)
@pytest.mark.parametrize("where", [1, 2, 3, 6, 9])
def test_a_metric_that_changes_its_shape_is_named_with_the_step(first, later, where):
    values = [later if t == where else first for t in range(10)]
    with pytest.raises(MetricError, match=rf"'f' at step {where} gave an array of shape .*, and shape .* before"):
        stats_of(values, 3)
    values = [later if t >= where else first for t in range(10)]
    with pytest.raises(MetricError, match=rf"'f' at step {where} "):
        stats_of(values, 3)


def test_a_metric_that_raises_is_named_with_the_step_and_its_exception():
    def metric(t: int) -> float:
        if t == 7:
            raise ZeroDivisionError("seven")
        return 0.0

    with pytest.raises(MetricError, match="'metric' at step 7 raised ZeroDivisionError: seven") as caught:
        steps(10, 4).stats(metric)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(MetricError, match="'q' at step 7 raised ZeroDivisionError: seven") as caught:
        rewind.record(count_up, 0, 10, 0, observe={"q": metric})
    assert caught.value.run.n_steps <= 7  # what was finished is not lost


def test_a_metric_that_changes_the_state_is_given_copies():
    def metric(state: Any) -> float:
        state[0] += 1.0
        return state[0]

    with pytest.warns(rewind.MutatingMetricWarning, match="metric 'q' changed the state it was given at step 0"):
        run = rewind.record(lambda s, rng: s, [0.0], 10, 0, observe={"q": metric}, trial=False)
    assert run.observed["q"].mean == 1.0 and run.get(9) == [0.0]
    with pytest.warns(rewind.MutatingMetricWarning):
        assert rewind.record(lambda s, rng: s, [0.0], 10, 0, trial=False).stats(metric).max == 1.0


@pytest.mark.parametrize("metric", [5, 1.5, ["x"], b"x"])
def test_what_is_no_metric_is_refused(metric):
    with pytest.raises(rewind.ArgumentTypeError, match="a callable, None .the state itself. or a name"):
        steps(5).stats(metric)


# ---- series


def test_a_series_is_the_metric_at_every_step_asked_for():
    run = steps(50, 7)
    values = [math.sin(t) for t in range(50)]
    for start, stop, every in ((0, None, 1), (3, 40, 5), (-9, None, 2), (0, 50, 49), (5, 5, 1)):
        got = run.series(lambda t: values[t], start, stop, every)
        assert got.tolist() == values[start:stop:every]


def push(x: np.ndarray, rng: Any) -> np.ndarray:
    x += 1.0
    return x


def test_a_series_of_parts_of_a_state_changed_in_place_holds_what_they_were():
    run = rewind.record(push, np.zeros(3), 10, 0)
    assert run.series(None)[:, 0].tolist() == list(range(10))
    assert run.series(lambda x: x[:2])[:, 1].tolist() == list(range(10))
    assert run.series(lambda x: (x, x))[:, 1, 2].tolist() == list(range(10))
    structured = rewind.record(push_field, np.zeros(1, [("a", "f8")]), 10, 0)
    assert structured.series(lambda x: x[0])["a"].tolist() == list(range(10))
    trees = rewind.record(push_tree, {"n": [0]}, 10, 0)
    assert trees.series()["n"][:, 0].tolist() == list(range(10))


def push_field(x: np.ndarray, rng: Any) -> np.ndarray:
    x["a"] += 1
    return x


def push_tree(tree: Any, rng: Any) -> Any:
    tree["n"][0] += 1
    return tree


def test_a_series_of_changing_shapes_is_refused():
    with pytest.raises(MetricError, match="arrays of different shapes"):
        steps(10).series(lambda t: [0.0] * (t + 1))


# ---- moments that agree


@given(st.lists(anything, min_size=1, max_size=12), st.data())
def test_scalar_moments_agree_when_every_bit_does(values, data):
    first = ScalarMoments.of(np.array(values), 7)
    cut = data.draw(st.integers(0, len(values)))
    again = ScalarMoments.of(np.array(values[:cut]), 7).merge(ScalarMoments.of(np.array(values[cut:]), 7 + cut))
    assert first.agrees(again) and again.agrees(first)
    assert first.agrees(ScalarMoments(**{name: getattr(first, name) for name in first.__dataclass_fields__}))
    where = data.draw(st.integers(0, len(values) - 1))
    other = values[:where] + [data.draw(finite)] + values[where + 1 :]
    same = bits(other[where]) == bits(values[where])
    if not same and math.isfinite(values[where]) and abs(other[where]) != abs(values[where]):
        assert not first.agrees(ScalarMoments.of(np.array(other), 7))
    assert not first.agrees(ScalarMoments.of(np.array([*values, 1.0]), 7)) and not first.agrees("moments")


def test_scalar_moments_that_differ_in_one_thing_do_not_agree():
    moments = ScalarMoments.of(np.array([1.0, 0.0, NAN, INF]), 0)
    for name in moments.__dataclass_fields__:
        value = getattr(moments, name)
        other = dataclasses.replace(moments, **{name: -value if value == 0.0 and type(value) is float else value + 1})
        assert moments.agrees(other) is (value == INF), name  # inf + 1 is inf


def in_another_order(values: np.ndarray, step: int, shift: np.ndarray) -> VectorMoments:
    """Return moments whose sums were made by numpy and a BLAS, in whatever order they like."""
    ours = VectorMoments.of(values, step, shift)
    with np.errstate(invalid="ignore", over="ignore"):
        shifted = values[::-1] - shift
        mean = shifted.mean(axis=0)
        return dataclasses.replace(ours, mean=mean, comoment=(shifted - mean).T @ (shifted - mean))


several = st.floats(-1e150, 1e150) | moderate | st.sampled_from([NAN, INF, -INF])


@given(hnp.arrays("f8", st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=several))
def test_vector_moments_agree_with_those_of_sums_in_another_order(rows):
    shift = np.where(np.isfinite(rows[0]), rows[0], 0.0)
    ours, theirs = VectorMoments.of(rows, 5, shift), in_another_order(rows, 5, shift)
    assert ours.agrees(theirs) and theirs.agrees(ours)
    assert ours.agrees(ours) and ours.agrees(pickle.loads(pickle.dumps(ours)))


@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e140])
def test_vector_moments_of_other_values_do_not_agree(scale):
    rows = np.random.default_rng(6).normal(size=(1000, 3)) * scale
    ours = VectorMoments.of(rows, 0, rows[0].copy())
    assert ours.agrees(in_another_order(rows, 0, rows[0].copy()))
    assert not ours.agrees(dataclasses.replace(ours, mean=ours.mean * (1 + 1e-6)))
    if scale != 1e-300:
        assert not ours.agrees(dataclasses.replace(ours, comoment=ours.comoment * (1 + 1e-6)))
    for name in ("shift", "min", "argmin", "max", "argmax", "last", "nan_count", "first_nan"):
        changed = getattr(ours, name).copy()
        changed[1] = np.nextafter(changed[1], INF) if changed.dtype == float else changed[1] + 1
        assert not ours.agrees(dataclasses.replace(ours, **{name: changed})), name
    assert not ours.agrees(VectorMoments.of(rows[:-1], 0, rows[0].copy()))
    assert not ours.agrees(ScalarMoments()) and not ScalarMoments().agrees(ours)


def test_vector_moments_of_a_file_are_merged_whatever_their_byte_order():
    rows = np.random.default_rng(7).normal(size=(20, 3))
    first, later = (VectorMoments.of(part, t, rows[0].copy()) for t, part in ((0, rows[:9]), (9, rows[9:])))
    stored = {
        f.name: getattr(first, f.name).astype(getattr(first, f.name).dtype.newbyteorder(">"))
        for f in dataclasses.fields(first)
        if f.name not in ("count", "last", "shift")
    }
    swapped = dataclasses.replace(first, **stored)
    assert all_bits(Stats(swapped.merge(later))) == all_bits(Stats(first.merge(later)))


# ---- one set of bits

BLAS = """
import numpy as np
import rewind
rows = np.random.default_rng(0).normal(1e3, 1.0, (600, 30))
run = rewind.record(lambda t, rng: t + 1, 0, 600, 0, block_size=250, observe={"v": lambda t: rows[t]})
print(run.content_hash(), run.observed["v"].covariance.tobytes().hex()[:64])
"""


def test_a_covariance_has_the_same_bits_on_every_processor_and_number_of_threads():
    """OpenBLAS adds in another order on each of these; another BLAS does not know the variables, which does no harm."""
    answers = set()
    for core, threads in (("Prescott", "1"), ("Haswell", "2"), ("Nehalem", "1")):
        environment = {**os.environ, "OPENBLAS_CORETYPE": core, "OPENBLAS_NUM_THREADS": threads}
        environment["PYTHONPATH"] = os.pathsep.join([str(pathlib.Path(rewind.__file__).parents[1])])
        answers.add(
            subprocess.run([sys.executable, "-c", BLAS], env=environment, capture_output=True, check=True).stdout
        )
    assert len(answers) == 1
