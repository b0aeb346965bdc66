"""What was observed while recording is what `stats` finds afterwards, and is in the file without a replay."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from helpers.exact import all_bits, bits, check_exact, check_vector, count_up
from hypothesis import given
from hypothesis import strategies as st

import rewind
from rewind.metrics.moments import SCALAR_FIELDS, VECTOR_FIELDS, ScalarMoments, VectorMoments, fields_of, moments_of
from rewind.metrics.table import COLUMNS

ROWS = ["start", "count", "mean", "m2", "min", "max", "argmin", "argmax", "last", "nan_count"]


@dataclass
class State:
    x: float = 0.0
    v: Any = field(default_factory=lambda: np.zeros(3))
    inner: Any = None

    @property
    def energy(self) -> float:
        return self.x * self.x


def wander(state: State, rng: random.Random) -> State:
    """In place; x becomes NaN now and then."""
    state.x = math.nan if rng.random() < 0.05 else rng.gauss(1e6, 1.0)
    state.v += [rng.random(), -rng.random(), 1.0]
    return state


OBSERVE = {
    "x": "x",
    "energy": lambda s: s.energy,
    "v": "v",
    "norm": lambda s: float(s.v @ s.v),
    "pair": lambda s: (s.x, s.v[0]),
    "positive": lambda s: s.v[0] > 1,
    "Δv": lambda s: s.v[0] - s.v[1],
    "a.b-c_1": lambda s: 1,
}


def recorded(n: int = 60, block_size: int | None = 7, **options: Any) -> rewind.Run[State]:
    return rewind.record(wander, State(), n, 11, block_size=block_size, observe=OBSERVE, **options)


def table_bits(table: np.ndarray) -> Any:
    return table.dtype.descr, table.tobytes()


# ---- observed == stats


@pytest.mark.parametrize("block_size", [1, 7, 59, 60, 61, None])
def test_what_was_observed_is_what_stats_finds(block_size):
    run = recorded(block_size=block_size)
    for name, metric in OBSERVE.items():
        assert all_bits(run.observed[name]) == all_bits(run.stats(metric)), name
    assert list(run.observed) == list(OBSERVE) and len(run.observed) == len(OBSERVE)
    assert dict(run.observed) == {name: run.observed[name] for name in OBSERVE}


def test_observing_changes_nothing_of_the_run():
    plain = rewind.record(wander, State(), 60, 11, block_size=7)
    assert [all_bits({"v": s.v, "x": s.x}) for s in plain] == [all_bits({"v": s.v, "x": s.x}) for s in recorded()]


@given(st.lists(st.floats(), min_size=1, max_size=40), st.integers(1, 12))
def test_any_values_observed_are_what_stats_finds(values, block_size):
    run = rewind.record(count_up, 0, len(values), 0, block_size=block_size, observe={"x": lambda t: values[t]})
    assert all_bits(run.observed["x"]) == all_bits(run.stats(lambda t: values[t]))
    if all(map(math.isfinite, values)):
        check_exact(values, run.observed["x"])


# ---- in-place states


def push(x: Any, rng: Any) -> Any:
    x += 1.0
    return x


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3)])
def test_an_array_changed_in_place_is_observed_as_it_was_at_each_step(shape):
    observe = {
        "state": None,
        "lambda": lambda x: x,
        "view": lambda x: x[...],
        "sum": lambda x: x.sum(),
        "list": lambda x: x.tolist(),
    }
    run = rewind.record(push, np.zeros(shape), 20, 0, block_size=6, observe=observe)
    for name in ("state", "lambda", "view", "list"):
        stats = run.observed[name]
        assert (
            np.all(stats.mean == 9.5)
            and np.all(stats.min == 0)
            and np.all(stats.max == 19)
            and np.all(stats.argmax == 19)
        )
        assert np.all(run.overview(name)["last"].reshape(4, -1).T == [5, 11, 17, 19])
        assert np.all(run.stats(observe[name], 3, 6).mean == 4)


def test_parts_of_a_tree_changed_in_place_are_observed_as_they_were():
    def step(state: Any, rng: Any) -> Any:
        state["a"][0] += 1
        state["l"][1] += 1
        return state

    observe = {"a": "a", "l": "l", "both": lambda s: [s["a"], s["a"]], "pair": lambda s: (s["l"][1], 0)}
    run = rewind.record(step, {"a": np.zeros(2), "l": [0, 0]}, 9, 0, block_size=4, observe=observe)
    for name, at in (("a", 0), ("l", 1), ("both", (1, 0)), ("pair", 0)):
        assert run.observed[name].mean[at] == 4.0 and run.observed[name].max[at] == 8.0, name


def test_a_structured_array_is_observed_by_field():
    def step(x: Any, rng: Any) -> Any:
        x["pos"] += 1
        return x

    run = rewind.record(
        step, np.zeros(3, [("pos", "f4"), ("id", "i2")]), 10, 0, observe={"pos": "pos", "first": lambda x: x["pos"][0]}
    )
    assert run.observed["pos"].mean.tolist() == [4.5] * 3 and run.observed["first"].mean == 4.5


def test_attributes_of_attributes_can_be_named():
    state = State(inner=State(x=2.5))
    run = rewind.record(lambda s, rng: s, state, 5, 0, observe={"x": "inner.x", "energy": "energy"})
    assert run.observed["x"].mean == 2.5 and run.observed["energy"].mean == 0.0


# ---- one row per block


def test_an_overview_has_one_row_per_block_and_each_is_right():
    run = recorded()
    states = list(run)
    for name, metric in OBSERVE.items():
        get = (lambda s, key=metric: getattr(s, key)) if isinstance(metric, str) else metric
        table = run.overview(name)
        assert table.dtype.names == tuple(ROWS) and len(table) == 9
        assert table["start"].tolist() == list(range(0, 60, 7)) and table["count"].tolist() == [7] * 8 + [4]
        for row in table:
            window = [np.array(get(s), "f8").reshape(-1) for s in states[row["start"] : row["start"] + row["count"]]]
            for i, column in enumerate(np.array(window).T.tolist()):
                check_row(
                    column,
                    {key: np.asarray(row[key]).reshape(-1)[i] for key in COLUMNS},
                    row["start"],
                    np.ndim(row["mean"]) == 0,
                )


def check_row(values: list[float], row: Any, start: int, exact: bool) -> None:
    numbers = [x for x in values if x == x]
    assert row["nan_count"] == len(values) - len(numbers)
    assert bits(float(row["last"])) == bits(values[-1])
    if numbers:
        assert (row["min"], row["argmin"]) == (min(numbers), start + values.index(min(numbers)))
        assert (row["max"], row["argmax"]) == (max(numbers), start + values.index(max(numbers)))
    else:
        assert math.isnan(row["min"]) and row["argmin"] == row["argmax"] == -1
    if len(numbers) < len(values):
        assert math.isnan(row["mean"]) and math.isnan(row["m2"])
        return
    rational = [Fraction(x) for x in values]
    mean = sum(rational) / len(values)
    m2 = sum((x - mean) ** 2 for x in rational)
    if exact:
        assert bits(float(row["mean"])) == bits(float(mean)) and bits(float(row["m2"])) == bits(float(m2))
    else:  # relative to the spread about the first value of the run, see check_vector
        assert abs(Fraction(float(row["mean"])) - mean) <= Fraction(1e-9) * max(1, abs(mean))
        assert abs(Fraction(float(row["m2"])) - m2) <= Fraction(1e-9) * max(1, m2)


def test_a_vector_metric_over_many_blocks_is_within_its_bound():
    rows = np.random.default_rng(4).normal(1e9, 1e-3, (50, 3))
    run = rewind.record(count_up, 0, 50, 0, observe={"v": lambda t: rows[t]})
    check_vector(rows, run.observed["v"])


# ---- in the file


def test_a_file_answers_what_was_observed_without_a_step_function(tmp_path):
    run = recorded()
    run.save(tmp_path / "run.replay")
    loaded = rewind.load(tmp_path / "run.replay")
    assert list(loaded.observed) == list(OBSERVE)
    for name in OBSERVE:
        assert all_bits(loaded.observed[name]) == all_bits(run.observed[name])
        assert table_bits(loaded.overview(name)) == table_bits(run.overview(name))
    assert loaded.metadata() == run.metadata() and loaded.content_hash() == run.content_hash()
    for t in range(0, 60, 7):
        assert all_bits({"x": loaded.get(t).x, "v": loaded.get(t).v}) == all_bits(
            {"x": run.get(t).x, "v": run.get(t).v}
        )
    assert len(loaded) == 60 and (loaded.seed, loaded.block_size, loaded.backend) == (11, 7, "python")


QUESTIONS = {
    "get": lambda run: run.get(8),
    "index": lambda run: run[-1],
    "iterate": lambda run: list(run),
    "stats": lambda run: run.stats("x"),
    "series": lambda run: run.series("x"),
    "verify": lambda run: run.verify(),
    "branch": lambda run: run.branch(3),
    "extend": lambda run: run.extend(100),
    "slice": lambda run: list(run[3:9]),
    "array": lambda run: np.asarray(run[3:5]),
}


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS.keys())
def test_what_needs_a_replay_says_so(ask, tmp_path):
    recorded().save(tmp_path / "run.replay")
    loaded = rewind.load(tmp_path / "run.replay")
    with pytest.raises(rewind.MissingStepError, match=r"needs a replay.*step_fn=.*test_observe:wander") as caught:
        ask(loaded)
    assert isinstance(caught.value, RuntimeError)


def test_a_metric_that_was_not_observed_is_named_with_those_that_were():
    run = recorded()
    for ask in (lambda: run.observed["y"], lambda: run.overview("y")):
        with pytest.raises(rewind.UnknownMetricError) as caught:
            ask()
        assert isinstance(caught.value, KeyError)
        assert str(caught.value).startswith("this run observed no metric 'y'; it observed 'x', 'energy'")
    none = rewind.record(count_up, 0, 5, 0)
    with pytest.raises(rewind.UnknownMetricError, match=r"none; pass observe=\{name: function\} to record"):
        none.overview("y")
    assert dict(none.observed) == {} and "y" not in run.observed and "x" in run.observed


@pytest.mark.parametrize(
    ("known", "cls"), [(SCALAR_FIELDS, ScalarMoments), (VECTOR_FIELDS, VectorMoments)], ids=["scalar", "vector"]
)
def test_the_fields_that_formats_write_are_those_of_the_class_in_their_order(known, cls):
    assert [one.name for one in known] == [one.name for one in fields(cls)]
    moments = cls(*range(len(known)))
    assert moments_of((3,) if cls is VectorMoments else (), dict(fields_of(moments)).__getitem__) == moments


def test_names_that_would_be_one_group_are_two(tmp_path):
    observe = {
        "é": lambda t: t,
        "metric0.": lambda t: 2 * t,
        "ñ": lambda t: [t, 3],
        "0.metric".strip("0."): lambda t: 5,
    }
    run = rewind.record(count_up, 0, 20, 0, observe=observe)
    run.save(tmp_path / "run.replay")
    loaded = rewind.load(tmp_path / "run.replay")
    for name in observe:
        assert all_bits(loaded.observed[name]) == all_bits(run.observed[name])


BAD = {
    "no mapping": (["x"], rewind.ArgumentTypeError, "a dict of names to metrics"),
    "a name that is no text": ({1: None}, rewind.ArgumentTypeError, "a name in observe is 1"),
    "an empty name": ({"": None}, rewind.ArgumentError, "letters, digits"),
    "a name with a slash": ({"a/b": None}, rewind.ArgumentError, "letters, digits"),
    "a name with a digit first": ({"0x": None}, rewind.ArgumentError, "a letter first"),
    "a long name": ({"x" * 65: None}, rewind.ArgumentError, "at most 64"),
    "a name with a newline": ({"x\n": None}, rewind.ArgumentError, "letters, digits"),
    "half a pair": ({"x\ud800": None}, rewind.ArgumentError, "letters, digits"),
    "no metric": ({"x": 5}, rewind.ArgumentTypeError, "a callable, None .the state itself. or a name"),
    "text": ({"x": lambda t: "5"}, rewind.MetricError, "metric 'x' at step 0 gave '5'"),
    "a missing attribute": ({"x": "nope"}, rewind.MetricError, "no attribute or key of the state"),
}


@pytest.mark.parametrize(("observe", "error", "text"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_observed_is_refused_before_the_first_step(observe, error, text):
    def step(t: int, rng: Any) -> int:
        raise AssertionError("stepped")

    with pytest.raises(error, match=text):
        rewind.record(step, 0, 20, 0, observe=observe)


# ---- growing


@pytest.mark.parametrize("first", [1, 6, 7, 8, 35, 59])
def test_what_an_extended_run_observed_is_what_one_long_run_observed(first, tmp_path):
    whole = recorded()
    short = recorded(first)
    longer = short.extend(60)
    again = short.extend(first + 1) if first == 59 else short.extend((first + 61) // 2).extend(60)
    short.save(tmp_path / "short.replay")
    loaded = rewind.load(tmp_path / "short.replay", wander, observe=OBSERVE).extend(60)
    for run in (longer, again, loaded):
        for name in OBSERVE:
            assert all_bits(run.observed[name]) == all_bits(whole.observed[name]), name
            assert table_bits(run.overview(name)) == table_bits(whole.overview(name))
    assert longer.content_hash() == whole.content_hash() == loaded.content_hash()


def test_an_extended_run_whose_checkpoints_were_thinned_keeps_every_row():
    grown = recorded(3, 1).extend(60)
    whole = recorded(60, 1)
    assert grown.n_checkpoints < whole.n_checkpoints == 60
    for name in OBSERVE:
        assert all_bits(grown.observed[name]) == all_bits(whole.observed[name])
        assert table_bits(grown.overview(name)) == table_bits(whole.overview(name))


def test_extending_a_loaded_run_needs_its_metrics(tmp_path):
    recorded().save(tmp_path / "run.replay")
    loaded = rewind.load(tmp_path / "run.replay", wander)
    with pytest.raises(rewind.ArgumentError, match="functions for x, energy, v.* to go on"):
        loaded.extend(100)


@pytest.mark.parametrize("noise", ["fresh", "same"])
@pytest.mark.parametrize("t", [0, 3, 7, 30, 59])
def test_a_branch_observes_what_its_parent_does(noise, t):
    branch = recorded().branch(t, noise=noise)
    for name, metric in OBSERVE.items():
        assert all_bits(branch.observed[name]) == all_bits(branch.stats(metric))
    twice = branch.branch(0, noise=noise)
    for name in OBSERVE:
        assert all_bits(twice.observed[name]) == all_bits(twice.stats(OBSERVE[name]))


def test_a_run_that_stopped_early_observed_what_it_finished():
    def step(state: State, rng: Any) -> State:
        if state.v[2] == 33:
            raise ValueError("enough")
        return wander(state, rng)

    with pytest.raises(rewind.StepError) as caught:
        rewind.record(step, State(), 60, 11, block_size=7, observe=OBSERVE)
    run = caught.value.run
    assert len(run) == 34
    for name, metric in OBSERVE.items():
        assert all_bits(run.observed[name]) == all_bits(recorded(34).observed[name]) == all_bits(run.stats(metric))


def test_an_overview_of_a_branch_inside_a_block_starts_with_a_short_row():
    branch = recorded().branch(10, noise="same")
    table = branch.overview("x")
    assert table["start"].tolist() == [0, *range(4, 50, 7)] and table["count"].tolist() == [4] + [7] * 6 + [4]
    assert all_bits(branch.observed["x"]) == all_bits(branch.stats("x"))
