"""The verbs of a run against brute force: whatever the run and the condition, the answer of a plain loop."""

from __future__ import annotations

import math
import random
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rewind


def walk(x: int, rng: random.Random) -> int:
    return x + (1 if rng.random() < 0.5 else -1)


def sticky(x: int, rng: random.Random) -> int:
    return max(-2, min(2, x + rng.choice((-1, 0, 0, 0, 1))))


@dataclass
class State:
    x: float
    day: int


def noisy(state: State, rng: random.Random) -> State:
    u = rng.random()
    x = math.nan if u < 0.03 else 0.0 if u < 0.06 else -0.0 if u < 0.09 else state.x + u if state.x == state.x else u
    return State(x, state.day + (u > 0.5))


def kick(x: Any, rng: np.random.Generator) -> Any:
    x += rng.integers(-1, 2, x.shape)  # in place
    return x


@dataclass
class Case:
    """A run with all its states, made by the plain loop of `iter`."""

    run: rewind.Run[Any]
    states: list[Any]


def of_x(state: State) -> float:
    return state.x


def runs() -> st.SearchStrategy[Case]:
    """Runs of every kind: lengths, blocks, thinned, branches that begin inside a block."""

    def make(kind: int, n: int, block: int, seed: int, how: int) -> Case:
        if kind == 0:
            run = rewind.record(walk, 0, n, seed, block_size=block, observe={"x": None})
        elif kind == 1:
            run = rewind.record(noisy, State(0.0, 0), n, seed, block_size=block, observe={"x": of_x, "day": "day"})
        elif kind == 2:
            run = rewind.record(sticky, 0, n, seed, block_size=block, observe={"x": None})
        else:
            run = rewind.record(
                kick, np.zeros(2), n, seed, block_size=block, backend="numpy", observe={"x": lambda s: s[0], "v": None}
            )
        if how == 1:
            run = run.extend(3 * n)
        elif how == 2:
            run = run.branch(n // 2, noise="same")
        elif how == 3:
            run = run.branch(n // 3)
        return Case(run, list(run))

    return st.builds(
        make,
        st.integers(0, 3),
        st.integers(1, 60),
        st.integers(1, 20),
        st.integers(0, 2**64),
        st.integers(0, 3),
    )


def number(state: Any) -> float:
    return state.x if isinstance(state, State) else float(state if isinstance(state, int) else state[0])


@given(runs(), st.integers(-4, 4), st.data())
def test_first_last_and_where_are_what_a_loop_over_all_states_finds(case, level, data):
    run, states = case.run, case.states
    n = len(states)
    start = data.draw(st.integers(0, n - 1))
    stop = data.draw(st.integers(start + 1, n))
    conditions: list[tuple[Any, Any]] = [
        (lambda s: number(s) > level, lambda s: number(s) > level),
        (lambda s: number(s) == level, lambda s: number(s) == level),
        (f"x >= {level}", lambda s: number(s) >= level),
        (f"isnan(x) or x == {level}", lambda s: math.isnan(number(s)) or number(s) == level),
        (f"not x < {level}", lambda s: not number(s) < level),
    ]
    for condition, truth in conditions:
        hits = [t for t in range(start, stop) if truth(states[t])]
        assert run.first(condition, start, stop) == (hits[0] if hits else None)
        assert list(run.where(condition, start, stop)) == hits
        before = [t for t in range(stop) if truth(states[t])]
        assert run.last(condition, before=stop) == (before[-1] if before else None)


@given(runs(), st.data())
def test_bisect_finds_where_a_monotone_condition_begins_and_says_where_one_is_not(case, data):
    run, states = case.run, case.states
    n = len(states)
    begin = data.draw(st.integers(0, n))
    table = {id(run): begin}
    counted = rewind.record(lambda t, rng: t + 1, 0, n, 1, block_size=run.block_size, observe={"t": None})
    assert counted.bisect(lambda t: t >= table[id(run)]) == (begin if begin < n else None)
    assert counted.bisect(f"t >= {begin}") == (begin if begin < n else None)
    level = data.draw(st.integers(-3, 3))
    hits = [number(s) >= level for s in states]
    monotone = hits == sorted(hits)
    try:
        found = run.bisect(lambda s: number(s) >= level)
    except rewind.ConditionError as error:
        assert not monotone and "not monotone" in str(error)
    else:
        assert not monotone or found == (hits.index(True) if True in hits else None)
        assert found is None or hits[found]


def same(a: Any, b: Any) -> bool:
    return rewind.state.digest.digest(a) == rewind.state.digest.digest(b)


@given(runs(), st.data())
def test_changes_are_what_comparing_neighbours_byte_for_byte_finds(case, data):
    run, states = case.run, case.states
    n = len(states)
    start = data.draw(st.integers(0, n - 1))
    stop = data.draw(st.integers(start + 1, n))
    for f in (None, number):
        values = [s if f is None else f(s) for s in states]
        expected = [t for t in range(max(start, 1), stop) if not same(values[t - 1], values[t])]
        found = list(run.changes(f, start, stop))
        assert [t for t, _, _ in found] == expected
        assert all(same(old, values[t - 1]) and same(new, values[t]) for t, old, new in found)
        before = [t for t in range(1, stop) if not same(values[t - 1], values[t])]
        assert run.last_change(f, before=stop) == (before[-1] if before else None)
        t, backward = run.last_change(f), []
        while t is not None:
            backward.append(t)
            t = run.last_change(f, before=t)
        assert backward[::-1] == [t for t in range(1, n) if not same(values[t - 1], values[t])]


@given(runs(), st.data())
def test_a_cursor_shows_every_step_it_is_walked_to_and_the_rng_that_leads_on(case, data):
    run, states = case.run, case.states
    cursor = run.at(data.draw(st.integers(-len(states), len(states) - 1)))
    t = cursor.t
    for _ in range(6):
        n = data.draw(st.integers(0, 5))
        if data.draw(st.booleans()):
            if t + n < len(states):
                t += n
                assert cursor.step(n) is cursor
            else:
                with pytest.raises(rewind.StepRangeError):
                    cursor.step(n)
        elif t - n >= 0:
            t -= n
            cursor.back(n)
        else:
            with pytest.raises(rewind.StepRangeError):
                cursor.back(n)
        assert cursor.t == t and same(cursor.state, states[t])
    if t + 1 < len(states):
        rng: Any
        if run.backend == "numpy":
            rng = np.random.default_rng()
            rng.bit_generator.state = cursor.rng_state
            step: Any = kick
        else:
            rng = random.Random()
            rng.setstate(cursor.rng_state)
            step = {int: walk, State: noisy}[type(states[0])]
            if all(isinstance(s, int) and abs(s) <= 2 for s in states):
                return  # walk or sticky: not told apart here
        if not (isinstance(states[0], int) and step is walk and abs(states[t + 1] - states[t]) != 1):
            assert same(step(cursor.state, rng), states[t + 1])
    assert cursor.t == t
    hits = [s for s in range(t + 1, len(states)) if number(states[s]) > 1]
    assert cursor.until(lambda s: number(s) > 1) == (hits[0] if hits else None)
    assert cursor.t == (hits[0] if hits else t)
    here = cursor.t
    back = [s for s in range(here) if number(states[s]) < 1]
    assert cursor.until(lambda s: number(s) < 1, back=True) == (back[-1] if back else None)


def parting(a: Any, b: Any) -> int | None:
    """The first step of the root's axis at which two runs differ, by comparing all states."""
    low, high = max(a.start, b.start), min(a.start + len(a), b.start + len(b))
    for t in range(low, high):
        if not same(a.get(t - a.start), b.get(t - b.start)):
            return t
    return None


def drift(x: int, rng: random.Random, late: int = 0) -> int:
    u = rng.random()
    return max(-3, min(3, x + (u < 0.3) - (u > 0.7))) if not (late and u < late / 100) else x


@given(
    st.integers(2, 80),
    st.integers(1, 15),
    st.integers(0, 2**40),
    st.integers(0, 5),
    st.data(),
)
def test_diff_names_the_first_step_at_which_two_runs_part(n, block, seed, how, data):
    a = rewind.record(drift, 0, n, seed, block_size=block)
    t = data.draw(st.integers(0, n - 1))
    if how == 0:
        b = rewind.record(drift, 0, data.draw(st.integers(1, 2 * n)), seed, block_size=block)
    elif how == 1:
        b = a.branch(t)
    elif how == 2:
        b = a.branch(t, noise="same", params={"late": data.draw(st.integers(0, 20))})
    elif how == 3:
        b = rewind.record(drift, 0, n, seed + data.draw(st.integers(0, 1)), block_size=data.draw(st.integers(1, 15)))
    elif how == 4:
        b = a.branch(t, noise="same", mutate=lambda x: x + data.draw(st.integers(0, 1)))
    else:
        b = a.branch(t, noise="same").branch(0, noise="same").extend(2 * n)
    expected = parting(a, b)
    for x, y in ((a, b), (b, a)):
        found = x.diff(y)
        assert (None if found is None else found.step) == expected
        if found is not None:
            assert found.exact
            assert found.value == x.get(found.step - x.start) and found.other == y.get(found.step - y.start)
            assert 0 <= found.n_agreeing <= found.n_common


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**70), st.integers(1, 6), st.integers(1, 50), st.data())
def test_branches_are_the_branches_they_say_and_likelihood_counts_them(n, block, seed, count, length, data):
    run = rewind.record(walk, 0, n, seed, block_size=block, observe={"x": None})
    t = data.draw(st.integers(0, n - 1))
    every = data.draw(st.integers(1, 7))
    forks = run.branches(t, count, lambda x: x + 1, None, length, every=every)
    assert len(forks) == count == len(set(forks.seeds)) and list(forks.steps) == list(range(t, t + length, every))
    for i, values in enumerate(forks):
        fork = run.branch(t, lambda x: x + 1, seed=forks.seeds[i], n_steps=length)
        assert np.array_equal(values, np.array(list(fork), float)[::every])
        assert fork.content_hash() == forks.run(i).content_hash()
    level = data.draw(st.integers(-3, 6))
    (row,) = run.likelihood(lambda x: x >= level, t, count, length)
    seeds = run.branches(t, count, n_steps=1).seeds
    happened = [any(x >= level for x in run.branch(t, seed=one, n_steps=length)) for one in seeds]
    assert (row["step"], row["n"], row["hits"]) == (t, count, sum(happened))
    assert row["low"] <= row["share"] <= row["high"]
    assert run.likelihood(f"x >= {level}", [t], count, length).tobytes() == np.array([row]).tobytes()


# ---- what a search costs


class Counting:
    """A walk that counts its steps, and is NaN from a step on."""

    def __init__(self, bad: int) -> None:
        self.bad, self.calls = bad, 0

    def __call__(self, state: tuple[int, float], rng: random.Random) -> tuple[int, float]:
        self.calls += 1
        t = state[0] + 1
        return t, math.nan if t >= self.bad else rng.random()


def of_value(state: tuple[int, float]) -> float:
    return state[1]


def test_the_first_nan_of_an_observed_metric_is_one_block_away_however_long_the_run_is():
    step = Counting(61_234)
    run = rewind.record(step, (0, 0.0), 90_000, 1, observe={"x": of_value})
    for question, cost in (
        (lambda: run.first("isnan(x)"), 301),
        (lambda: run.last("not isnan(x)"), 301),
        (lambda: run.first("x == 2"), 0),
        (lambda: run.bisect("isnan(x)"), 600),  # and the last state
        (lambda: run.bisect(lambda state: math.isnan(state[1])), 600),
    ):
        step.calls = 0
        answer = question()
        assert answer in (61_234, 61_233, None) and step.calls <= cost
    step.calls = 0
    assert run.first(lambda state: math.isnan(state[1])) == 61_234
    assert step.calls == 61_234  # the last step of each block leads to the checkpoint it is compared with
    step.calls = 0
    assert run.last(lambda state: not math.isnan(state[1]), before=61_300) == 61_233
    assert step.calls <= 301


def test_a_search_asks_no_state_after_the_one_it_finds():
    asked: list[int] = []

    def look(x: int) -> bool:
        asked.append(x)
        return len(asked) > 50

    run = rewind.record(lambda x, rng: x + 1, 0, 1000, 1)
    assert run.first(look) == 49  # state 0 was asked twice: once to see that it stays as it is
    assert asked == [0, *range(50)]


def test_a_search_that_is_interrupted_leaves_the_run_as_it_was():
    run = rewind.record(kick, np.zeros(3), 2000, 1, backend="numpy", observe={"x": lambda s: s[0]})
    expected = [state.tobytes() for state in run]
    count = 0

    def stop(*_: Any) -> bool:
        nonlocal count
        count += 1
        if count > 300:
            count = 0
            raise KeyboardInterrupt
        return False

    for ask in (
        lambda: run.first(stop),
        lambda: run.last(stop),
        lambda: list(run.where(stop)),
        lambda: list(run.changes(stop)),
        lambda: run.last_change(stop),
        lambda: run.stats(stop),
        lambda: run.series(stop),
        lambda: run.branches(3, 400, metric=stop),
        lambda: run.likelihood(stop, 3, 400),
        lambda: run.diff(run.branch(0, noise="same", step_fn=interrupting(300))),
    ):
        count = 0
        with pytest.raises(KeyboardInterrupt):
            ask()
        assert [state.tobytes() for state in run[990:1010]] == expected[990:1010]
    assert [state.tobytes() for state in run] == expected


def interrupting(n: int) -> Any:
    calls = 0

    def step(x: Any, rng: np.random.Generator) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2000 + n:  # once recorded
            raise KeyboardInterrupt
        return kick(x, rng)

    return step


@pytest.mark.parametrize(
    "op", ["first", "last", "where", "series", "stats", "changes", "last_change", "branches", "verify"]
)
def test_raising_from_progress_stops_a_pass_and_leaves_the_run_as_it_was(op):
    run = rewind.record(walk, 0, 400, 1, block_size=20)
    seen: list[rewind.Progress] = []

    def stop(progress: rewind.Progress) -> None:
        seen.append(progress)
        raise LookupError("enough")

    asks: dict[str, Any] = {
        "first": lambda p: run.first(lambda x: False, progress=p),
        "last": lambda p: run.last(lambda x: False, progress=p),
        "where": lambda p: list(run.where(lambda x: True, progress=p)),
        "series": lambda p: run.series(progress=p),
        "stats": lambda p: run.stats(progress=p),
        "changes": lambda p: list(run.changes(progress=p)),
        "last_change": lambda p: run.last_change(lambda x: 0, progress=p),
        "branches": lambda p: run.branches(5, 10, progress=p),
        "verify": lambda p: run.verify(progress=p),
    }
    with pytest.raises(LookupError, match="enough"):
        asks[op](stop)
    assert [progress.op for progress in seen] == [op]
    everything: list[rewind.Progress] = []
    asks[op](everything.append)
    assert everything[-1].done == everything[-1].total == {"branches": 10, "verify": 20}.get(op, 400)


# ---- bad input


def test_what_cannot_be_asked_is_refused_in_words_that_help():
    run = rewind.record(noisy, State(0.0, 0), 100, 1, observe={"x": of_x, "day": "day"})
    cases: list[tuple[Any, type[Exception], str]] = [
        (
            lambda: run.first("x > > 1"),
            rewind.ConditionError,
            "expected a number or a metric after '>', at character 5",
        ),
        (
            lambda: run.first("loss > 1"),
            rewind.ConditionError,
            "there is no metric 'loss', at character 1; there are x, day",
        ),
        (lambda: run.first("x = 1"), rewind.ConditionError, "=="),
        (lambda: run.first(3), rewind.ArgumentTypeError, "cond is 3 .*a predicate of the state, or text over observed"),
        (lambda: run.first("x > 1", 50, 50), rewind.ArgumentError, "the window is .*at least one step of 0 to 99"),
        (lambda: run.last("x > 1", before=0), rewind.ArgumentError, "before is 0; expected a step from 1 to 100"),
        (lambda: run.last("x > 1", before=101), rewind.ArgumentError, "before is 101; expected a step from 1 to 100"),
        (lambda: run.last("x > 1", before=1.5), rewind.ArgumentTypeError, "before is 1.5"),
        (lambda: run.last_change("x", before=0), rewind.ArgumentError, "before is 0"),
        (
            lambda: run.changes("y"),
            rewind.MetricError,
            "metric 'y' at step 0 is no attribute or key of the state, which has x, day",
        ),
        (lambda: run.at(100), rewind.StepRangeError, "step 100 is outside this run"),
        (lambda: run.stats({}), rewind.ArgumentError, "f is {}; expected at least one metric"),
        (lambda: run.stats({3: None}), rewind.ArgumentTypeError, "a name in f is 3"),
        (lambda: run.stats("x", histogram=[1]), rewind.ArgumentError, "histogram"),
        (lambda: run.stats("x", max_lag=-1), rewind.ArgumentError, "max_lag is -1"),
        (lambda: run.stats("x", max_lag=100), rewind.ArgumentError, "max_lag is 100; expected a lag below 100"),
        (lambda: run.branches(5, 0), rewind.ArgumentError, "n is 0"),
        (lambda: run.branches(500, 1), rewind.StepRangeError, "step 500"),
        (lambda: run.branches(5, 3, metric="day")[3], rewind.StepRangeError, "branch 3 is outside these branches"),
        (lambda: run.likelihood("x > 3", []), rewind.ArgumentError, "steps is .*at least one step to branch at"),
        (lambda: run.likelihood("x > 3", 5, confidence=1.0), rewind.ArgumentError, "confidence is 1.0"),
        (lambda: run.likelihood("x > 3", 5, confidence=1 - 2**-53), rewind.ArgumentError, "confidence is 0.99"),
        (lambda: run.likelihood("x > 3", 5, confidence="a"), rewind.ArgumentTypeError, "confidence is 'a'"),
        (lambda: run.likelihood("x > 3", None), rewind.ArgumentTypeError, "steps is None"),
        (lambda: run.likelihood("x > 3", 1.5), rewind.ArgumentTypeError, "steps is 1.5"),
        (lambda: run.likelihood("x > 3", b"ab"), rewind.ArgumentTypeError, "steps is b'ab'"),
        (lambda: run.likelihood("x > 3", [True]), rewind.ArgumentTypeError, "a step in steps is True"),
        (lambda: run.stats("x", executor=lambda x: 1), rewind.ArgumentTypeError, "It is called without arguments"),
        (lambda: run.where("x > 3", progress=5), rewind.ArgumentTypeError, "progress is 5"),
        (lambda: run.changes("x", workers=0), rewind.ArgumentError, "workers is 0"),
        (lambda: run.at(99).until(5), rewind.ArgumentTypeError, "cond is 5"),
        (lambda: run.at(0).until("y > 1", back=True), rewind.ConditionError, "there is no metric 'y'"),
        (lambda: run.likelihood("x > 3", 5, 0), rewind.ArgumentError, "n is 0"),
        (lambda: run.diff(3), rewind.ArgumentTypeError, "other is 3 .*a rewind.Run"),
        (lambda: run.stats("x", workers=0), rewind.ArgumentError, "workers is 0; expected an integer >= 1"),
        (lambda: run.stats("x", workers=2, executor=3), rewind.ArgumentError, "no number of workers where executor="),
    ]
    for ask, error, text in cases:
        with pytest.raises(error, match=text):
            ask()


def test_a_predicate_that_raises_or_mutates_is_named():
    run = rewind.record(kick, np.zeros(2), 100, 1, backend="numpy")
    with pytest.raises(rewind.ConditionError, match="the condition raised ZeroDivisionError at step 0: ") as caught:
        run.first(lambda s: 1 // 0)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    states = list(run)
    t = next(t for t, s in enumerate(states) if s[0] == 2)
    for ask in (run.first, run.last, lambda f: list(run.where(f))):
        with pytest.raises(rewind.ConditionError, match="raised ZeroDivisionError at step"):
            ask(lambda s: 1 // int(s[0] != 2) > 5)
    with pytest.raises(rewind.ConditionError, match=f"raised ZeroDivisionError at step {t}"):
        run.first(lambda s: 1 // int(s[0] != 2) > 5)

    def mutate(s: Any) -> bool:
        s += 1
        return False

    with pytest.warns(rewind.MutatingMetricWarning, match="the condition changed the state it was given at step 0"):
        assert run.first(mutate) is None

    def later(s: Any) -> bool:
        if s[0] == 2:
            s[1] += 5
        return False

    for ask in (run.first, run.last):
        with pytest.warns(rewind.MutatingMetricWarning, match="the condition changed the state it was given at step"):
            assert ask(later) is None
    assert [s.tobytes() for s in run] == [s.tobytes() for s in states]


def test_a_loaded_run_says_what_a_question_needs(tmp_path):
    run = rewind.record(noisy, State(0.0, 0), 100, 1, observe={"x": of_x, "day": "day"})
    run.save(tmp_path / "run.replay")
    bare = rewind.load(tmp_path / "run.replay")
    assert bare.first("day > 1000") is None and bare.last("x == 77") is None  # the table says so
    for ask in (lambda: bare.first("day > 3"), lambda: bare.first(lambda s: True), lambda: bare.changes().__next__()):
        with pytest.raises(rewind.MissingStepError, match="needs a replay"):
            ask()
    loaded = rewind.load(tmp_path / "run.replay", noisy)
    with pytest.raises(rewind.ArgumentError, match=r"rewind.load\(path, step_fn, observe={'day': function}\)"):
        loaded.first("day > 3")
    whole = rewind.load(tmp_path / "run.replay", noisy, observe={"day": "day"})
    assert whole.first("day > 3") == run.first("day > 3")
    assert whole.diff(run) is None and bare.diff(run) is None


def test_runs_that_cannot_be_compared_are_told_apart():
    a = rewind.record(walk, 0, 100, 1)
    with pytest.raises(rewind.ArgumentError, match="another layout: the state is .*float.*int.* in this run"):
        a.diff(rewind.record(lambda x, rng: x + rng.random(), 0.0, 100, 1))
    one = rewind.record(noisy, State(0.0, 0), 100, 1)
    with pytest.raises(rewind.ArgumentError, match="another layout"):
        one.diff(rewind.record(lambda s, rng: s, {"x": 0.0}, 9, 1))
    early, late = a.branch(90), rewind.record(walk, 0, 50, 1)
    with pytest.raises(rewind.ArgumentError, match="steps 0 to 49, and this run steps 90 to 99"):
        early.diff(late)


def test_diff_between_files_tells_what_stored_states_tell(tmp_path):
    a, b = rewind.record(walk, 0, 400, 1), rewind.record(walk, 0, 400, 2)
    for name, run in (("a", a), ("b", b)):
        run.save(tmp_path / name)
    x, y = rewind.load(tmp_path / "a"), rewind.load(tmp_path / "b")
    found = x.diff(y)
    stored = next(t for t in range(0, 400, 20) if a.get(t) != b.get(t))
    assert (found.step, found.exact, found.value, found.other) == (stored, False, a.get(stored), b.get(stored))
    assert found.n_common == 20 and found.n_agreeing == sum(a.get(t) == b.get(t) for t in range(0, 400, 20))
    assert x.diff(rewind.load(tmp_path / "a")) is None
    exact = rewind.load(tmp_path / "a", walk).diff(rewind.load(tmp_path / "b", walk))
    assert exact.exact and exact.step == parting(a, b)
    assert str(found) == (
        f"step {stored}, the first stored state that differs: the state is {a.get(stored)} here and {b.get(stored)} in "
        f"the other; {found.n_agreeing} of 20 stored states agree"
    )


def test_a_recording_from_a_machine_with_other_arithmetic_parts_where_its_states_do():
    calls = 0

    def elsewhere(x: float, rng: random.Random) -> float:
        nonlocal calls
        calls += 1
        return x * 0.999 + rng.random() + (2**-40 if calls == 777 else 0.0)

    there = rewind.record(elsewhere, 0.0, 1000, 1, block_size=50, trial=False)
    here = rewind.record(lambda x, rng: x * 0.999 + rng.random(), 0.0, 1000, 1, block_size=50)
    recording = there._recording
    foreign = rewind.Run(recording, here._trajectory.step, {})  # its step function as it runs here
    found = here.diff(foreign)
    assert (found.step, found.exact, found.n_agreeing, found.n_common) == (800, False, 16, 20)
    assert found.value == here.get(800) and found.other == recording.checkpoints.restore(16)


def test_runs_that_meet_again_at_stored_steps_are_still_told_apart():
    fresh = rewind.record(lambda x, rng: rng.random(), 0.5, 100, 1)
    branch = fresh.branch(37, lambda x: 99.0, noise="same")
    assert (branch.diff(fresh).step, fresh.diff(branch).step) == (37, 37)
    for seed in range(60):
        run = rewind.record(lambda x, rng: min(10, max(0, x + rng.randint(-4, 5))), 3, 100, seed)
        other = run.branch(33, lambda x: 10 - x, noise="same")
        found = run.diff(other)
        assert (None if found is None else found.step) == parting(run, other)


def test_generators_that_stand_at_different_places_are_told_apart():
    def once(x: bool, rng: random.Random) -> bool:
        return rng.random() < 0.5

    def twice(x: bool, rng: random.Random) -> bool:
        rng.random()
        return rng.random() < 0.5

    run = rewind.record(once, True, 100, 1)
    a = run.branch(5, lambda x: True, noise="same")
    b = run.branch(3, step_fn=twice, noise="same").branch(2, lambda x: True, noise="same", step_fn=once)
    assert a.diff(b).step == parting(a, b) and b.diff(a).exact


def test_diff_of_a_step_that_gives_its_own_array_each_time():
    scratch = np.zeros(1)

    def step(x: Any, rng: random.Random) -> Any:
        scratch[0] = x[0] + rng.random()
        return scratch

    for block_size in (3, 9, 40):
        a, b = (rewind.record(step, np.zeros(1), 40, seed, block_size=block_size) for seed in (1, 2))
        found = a.diff(b)
        assert (found.step, found.exact, found.value, found.other) == (1, True, a.get(1)[0], b.get(1)[0])
        child = a.branch(20)
        assert a.diff(child).step == parting(a, child)


def test_diff_without_step_functions_does_not_take_a_source_for_a_function(tmp_path):
    def make(k: int) -> Any:
        return lambda x, rng: (x[0] + 1, k if x[0] % 10 == 4 else 0)

    a, b = (rewind.record(make(k), (0, 0), 100, 1, observe={"sum": sum}) for k in (1, 2))
    assert a.diff(b).step == 5
    for name, run in (("a", a), ("b", b)):
        run.save(tmp_path / name)
    x, y = rewind.load(tmp_path / "a"), rewind.load(tmp_path / "b")
    for one, other in ((x, y), (a, y), (x, b)):
        with pytest.raises(rewind.MissingStepError, match="diff needs a replay"):
            one.diff(other)


def test_a_run_whose_states_grow_can_be_compared_with_its_branch():
    run = rewind.record(lambda s, rng: [*s, rng.random()], [], 30, 1)
    found = run.diff(run.branch(3))
    assert found.step == 4 and found.exact
    assert run.diff(run.branch(3, noise="same")) is None


def test_diff_with_its_own_file_takes_a_codec_for_the_same(tmp_path):
    codec = (lambda s: {"x": s[0]}, lambda tree: (tree["x"],))
    calls = 0

    def step(s: Any, rng: random.Random) -> Any:
        nonlocal calls
        calls += 1
        return (s[0] + rng.random(),)

    run = rewind.record(step, (0.0,), 900, 1, codec=codec)
    run.save(tmp_path / "run.replay")
    calls = 0
    assert run.diff(rewind.load(tmp_path / "run.replay", step, codec=codec)) is None and calls == 0


def test_going_back_through_a_thinned_run_goes_forward_once():
    step = Counting(10**9)
    run = rewind.record(step, (0, 0.0), 100, 1, block_size=1).extend(4000)
    assert run.n_checkpoints < 130
    for ask in (lambda: run.last(lambda s: False), lambda: run.last_change(lambda s: 0)):
        step.calls = 0
        assert ask() is None and step.calls < 2 * 4000
    assert run.last(lambda s: s[0] <= 777) == 777 and run.last(lambda s: s[0] < 3, before=4) == 2
    assert run.last_change(lambda s: s[0] // 1000) == 3000


def test_both_ends_are_looked_at_by_bisect():
    run = rewind.record(lambda x, rng: x + 1, 0, 10, 1, block_size=20)
    for bound in (3, 9):
        with pytest.raises(rewind.ConditionError, match="holds at step 0 and not at step 9"):
            run.bisect(lambda x, bound=bound: x < bound)
    assert run.bisect(lambda x: x >= 9) == 9 and run.bisect(lambda x: x >= 4, 0, 4) is None


def test_branches_take_turns_with_other_questions_to_the_run():
    scratch = np.zeros(1)

    def step(x: Any, rng: random.Random) -> Any:
        scratch[0] = x[0] + rng.random()
        return scratch

    run = rewind.record(step, np.zeros(1), 400, 1)
    truth = [state[0] for state in run]
    expected = run.branches(10, 20, metric=lambda s: s[0]).values
    wrong: list[Any] = []

    def get() -> None:
        for _ in range(3):
            wrong.extend(t for t in range(400) if run.get(t)[0] != truth[t])

    thread = threading.Thread(target=get)
    thread.start()
    for _ in range(3):
        assert np.array_equal(run.branches(10, 20, metric=lambda s: s[0]).values, expected)
    thread.join()
    assert not wrong


def test_values_of_a_series_stay_what_they_are():
    def series(*values: Any) -> Any:
        return rewind.record(lambda x, rng: x + 1, 0, len(values), 1).series(lambda x: values[x])

    assert series(b"ab\0", b"c").tolist() == [b"ab\0", b"c"]
    assert series("ab\0", "c").tolist() == ["ab\0", "c"]
    assert series("a", 1).tolist() == ["a", 1]
    assert series(2**53 + 1, 0.5).tolist() == [2**53 + 1, 0.5]
    assert series(np.uint64(2**63 + 1), -1).tolist() == [2**63 + 1, -1]
    assert series(1, 2.5).dtype == np.float64 and series(1, 2).dtype == np.int64 and series("a", "bc").dtype.kind == "U"


# ---- one pass, several numbers


@given(runs(), st.integers(0, 5), st.data())
def test_several_metrics_histogram_and_lags_are_those_of_the_series(case, lag, data):
    run, states = case.run, case.states
    start = data.draw(st.integers(0, len(states) - 1))
    stop = data.draw(st.integers(start + 1, len(states)))
    lag = min(lag, stop - start - 1)
    edges = [-2.0, 0.0, 0.5, 3.0]
    both = run.stats({"a": number, "b": lambda s: number(s) ** 2}, start, stop, histogram=edges, max_lag=lag)
    values = np.array([number(s) for s in states[start:stop]])
    assert both["a"] == run.stats(number, start, stop, histogram=edges, max_lag=lag)
    plain = run.stats(number, start, stop)
    assert all(same(both["a"][key], plain[key]) for key in plain)
    inside = values[~np.isnan(values)]
    assert both["a"].histogram.tolist() == np.histogram(inside, edges)[0].tolist()
    n, mean = len(values), values.mean()
    expected = [np.sum((values[: n - k] - mean) * (values[k:] - mean)) / n for k in range(lag + 1)]
    assert np.allclose(both["a"].autocovariance, expected, rtol=1e-9, atol=1e-9, equal_nan=True)


def test_a_window_of_trees_is_a_dict_of_arrays():
    run = rewind.record(
        lambda s, rng: {
            "pos": s["pos"] + rng.random(2),
            "agents": [State(a.x + 1, a.day) for a in s["agents"]],
            "n": s["n"] << 1,
        },
        {"pos": np.zeros(2), "agents": [State(0.0, 0), State(5.0, 1)], "n": 1 << 60},
        12,
        1,
        backend="numpy",
    )
    table = run[2:12:3].to_numpy()
    assert list(table) == ["pos", "agents[0].x", "agents[0].day", "agents[1].x", "agents[1].day", "n"]
    assert table["pos"].tobytes() == np.array([run.get(t)["pos"] for t in (2, 5, 8, 11)]).tobytes()
    assert table["agents[1].x"].tolist() == [7.0, 10.0, 13.0, 16.0]
    assert table["n"].tolist() == [1 << 62, 1 << 65, 1 << 68, 1 << 71]
    assert {key: array.tolist() for key, array in run.series(None, 2, 12, 3).items()} == {
        key: array.tolist() for key, array in table.items()
    }
    assert run[::-4].to_numpy("n").tolist() == [1 << 71, 1 << 67, 1 << 63]
    assert run[5:5].to_numpy().tolist() == []
    growing = rewind.record(lambda s, rng: {**s, f"k{len(s)}": 1}, {"k": 1}, 5, 1)
    with pytest.raises(rewind.MetricError, match="gave a k1 at one step and not at another"):
        growing.series()


def test_a_function_that_is_not_the_one_observed_is_refused_by_load(tmp_path):
    run = rewind.record(noisy, State(0.0, 0), 400, 1, observe={"x": of_x, "day": "day"})
    run.save(tmp_path / "run.replay")
    text = (
        "metric 'day' at step .* gives .*, and in that block .* was observed; expected the function that was observed"
    )
    with pytest.raises(rewind.MetricError, match=text):
        rewind.load(tmp_path / "run.replay", noisy, observe={"day": lambda s: s.day + 1000})
    with pytest.raises(rewind.MetricError, match="metric 'x' at step 0 gives \\[.*\\]"):
        rewind.load(tmp_path / "run.replay", noisy, observe={"x": lambda s: np.array([s.x, s.x])})
    assert rewind.load(tmp_path / "run.replay", noisy, observe={"x": "x"}).first("isnan(x)") == run.first("isnan(x)")


def test_numbers_beside_text_stay_numbers():
    run = rewind.record(lambda s, rng: (s[0] + 1, "abc"[s[0] % 3]), (0, "a"), 4, 1)
    assert run.series().tolist() == [[0, "a"], [1, "a"], [2, "b"], [3, "c"]]
    assert run.series(lambda s: s[1]).tolist() == ["a", "a", "b", "c"]


@pytest.mark.parametrize(
    "ask", [lambda run, f: run.series(f), lambda run, f: list(run.changes(f)), lambda run, f: run[:].to_numpy(f)]
)
def test_a_function_that_raises_later_is_named_with_its_step(ask):
    run = rewind.record(lambda x, rng: x + 1, 0, 50, 1)
    with pytest.raises(rewind.MetricError, match="metric 'f' at step 7 raised ZeroDivisionError") as caught:
        ask(run, lambda x: 1 // (x - 7))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_the_name_of_an_observed_metric_stands_for_it_where_the_state_has_no_such_field():
    run = rewind.record(noisy, State(0.0, 0), 100, 1, observe={"twice": lambda s: 2 * s.x, "day": lambda s: -s.day})
    twice = [2 * state.x for state in run]
    assert run.series("twice").tobytes() == np.array(twice).tobytes() and run.stats("twice") == run.observed["twice"]
    assert run.last_change("twice") == run.last_change(lambda s: 2 * s.x)
    assert run.branches(5, 2, metric="twice", n_steps=3).values[:, 0].tobytes() == np.array([twice[5]] * 2).tobytes()
    assert run.series("day").tolist() == [state.day for state in run]  # the field, where there is one
