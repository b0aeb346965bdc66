"""The kernels: block arithmetic, replay loops, their surface and their choice."""

import functools
import gc
import operator
import random
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import rewind
from rewind.engine.blocks import Grid
from rewind.errors import MetricError, StepError, StepReturnError
from rewind.state.codec import StateCodec

ROOT = Path(__file__).parents[2]


# ---- blocks


@given(n_steps=st.integers(0, 2**200))
@example(n_steps=0)
@example(n_steps=1)
@example(n_steps=10**6)
@example(n_steps=(2**53 + 1) ** 2)
@example(n_steps=(2**53 + 1) ** 2 + 1)
def test_default_block_size_is_the_square_root_rounded_up(core, n_steps):
    size = core.default_block_size(n_steps)
    assert size * size >= n_steps
    assert size == 0 or (size - 1) ** 2 < n_steps


def test_a_million_steps_have_a_thousand_blocks(core):
    assert core.default_block_size(1_000_000) == 1000


# ---- advance


def walk(state, rng):
    return state * 0.999 + rng.gauss(0, 1)


def plain_loop(step_fn, state, rng, n):
    for _ in range(n):
        state = step_fn(state, rng)
    return state


@pytest.mark.parametrize("n", [0, 1, 2, 1023, 1024, 1025, 5000])
def test_advance_is_the_plain_loop(core, n):
    ours, theirs = random.Random(1), random.Random(1)
    got = core.advance(walk, 0.5, ours, n, 0, False)
    assert got.hex() == plain_loop(walk, 0.5, theirs, n).hex()
    assert ours.getstate() == theirs.getstate()


class Adder:
    def __init__(self, amount):
        self.amount = amount

    def __call__(self, state, rng):
        return state + self.amount

    def step(self, state, rng):
        return state + self.amount

    @staticmethod
    def plain(state, rng):
        return state + 3

    @classmethod
    def of_class(cls, state, rng):
        return state + 3


@pytest.mark.parametrize(
    "step_fn",
    [
        lambda state, rng: state + 3,
        functools.partial(lambda amount, state, rng: state + amount, 3),
        functools.partial(lambda state, rng, amount: state + amount, amount=3),
        Adder(3),
        Adder(3).step,
        Adder.plain,
        Adder.of_class,
        operator.add,
        int.__add__,
        functools.lru_cache(lambda state, rng: state + rng),
    ],
    ids=["lambda", "partial", "partial-keyword", "object", "method", "static", "class", "builtin", "slot", "lru_cache"],
)
def test_any_callable_is_a_step_function(core, step_fn):
    assert core.advance(step_fn, 0, 3, 2000, 0, False) == 6000
    buffer = []
    assert core.advance_observed(step_fn, 0, 3, 10, 9, 0, False, ["x"], [None], [buffer]) == 27
    assert buffer == list(range(0, 30, 3))


def test_a_class_is_a_step_function(core):
    pair = core.advance(Pair, None, "rng", 3, 0, False)
    assert (pair.rng, pair.state.rng, pair.state.state.state) == ("rng", "rng", None)


class Pair:
    def __init__(self, state, rng):
        self.state, self.rng = state, rng


def fails_at(step, error):
    def step_fn(state, rng):
        if state == step:
            raise error
        return state + 1

    return step_fn


@pytest.mark.parametrize("step", [100, 101, 1123, 1124, 1125, 1999])
def test_a_failing_step_is_named(core, step):
    error = ValueError("too hot")
    with pytest.raises(StepError, match=f"step_fn raised ValueError at step {step}: too hot") as caught:
        core.advance(fails_at(step, error), 100, None, 1900, 100, False)
    assert caught.value.t == step
    assert caught.value.__cause__ is error


def test_a_failing_builtin_step_is_named(core):
    with pytest.raises(StepError) as caught:
        core.advance(operator.add, 0, "x", 5, 40, False)
    assert caught.value.t == 40
    assert type(caught.value.__cause__) is TypeError


@pytest.mark.parametrize("thing", [7, None, "step", object()], ids=["int", "None", "text", "object"])
def test_what_cannot_be_called_fails_at_the_first_step(core, thing):
    with pytest.raises(StepError) as caught:
        core.advance(thing, 0, None, 5, 40, False)
    assert caught.value.t == 40
    assert type(caught.value.__cause__) is TypeError


@pytest.mark.parametrize("error", [StepError(5, ValueError("inner")), StepReturnError(5)])
def test_an_error_of_a_run_inside_a_step_is_the_error_of_that_step(core, error):
    with pytest.raises(StepError) as caught:
        core.advance(fails_at(3, error), 0, None, 10, 0, False)
    assert type(caught.value) is StepError
    assert caught.value.t == 3
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_comes_through_untouched(core, kind):
    error = kind()
    for run in (
        lambda step_fn: core.advance(step_fn, 0, None, 10, 0, False),
        lambda step_fn: core.advance_observed(step_fn, 0, None, 10, 10, 0, False, [], [], []),
        lambda metric: core.advance_observed(walk, 3, None, 10, 10, 0, False, ["x"], [lambda x: metric(x, 0)], [[]]),
    ):
        with pytest.raises(kind) as caught:
            run(fails_at(3, error))
        assert caught.value is error
        assert caught.value.__cause__ is None


def test_a_step_that_forgets_to_return_is_named(core):
    def step_fn(state, rng):
        return state + 1 if state < 7 else None

    with pytest.raises(StepReturnError, match="step_fn returned None at step 1007") as caught:
        core.advance(step_fn, 0, None, 10, 1000, False)
    assert caught.value.t == 1007
    assert caught.value.__cause__ is None
    with pytest.raises(StepReturnError, match="step_fn returned None at step 1007"):
        core.advance_observed(step_fn, 0, None, 10, 10, 1000, False, [], [], [])


def test_none_is_a_state_where_it_is_allowed(core):
    calls = []
    assert core.advance(lambda state, rng: calls.append(state), None, None, 5, 0, True) is None
    assert calls == [None] * 5
    core.advance_observed(lambda state, rng: calls.append(state), None, None, 5, 5, 0, True, [], [], [])
    assert calls == [None] * 10


def test_the_last_state_may_be_missing_too(core):
    with pytest.raises(StepReturnError) as caught:
        core.advance(lambda state, rng: None, 0, None, 1, 9, False)
    assert caught.value.t == 9


def scale(state):
    return state


def test_a_name_a_step_looks_up_may_change_while_it_runs(core, monkeypatch):
    def step_fn(state, rng):
        if state == 5:
            monkeypatch.setattr(sys.modules[__name__], "scale", lambda state: 10 * state)
        return scale(state) + 1

    assert core.advance(step_fn, 0, None, 7, 0, False) == 511


RELOADING = """
def later(state, rng):
    return state + 100

def step_fn(state, rng):
    if state == 5:
        step_fn.__code__ = later.__code__
    return state + 1
"""


def test_the_code_of_a_step_may_change_while_it_runs(core):
    namespace = {}
    exec(RELOADING, namespace)
    assert core.advance(namespace["step_fn"], 0, None, 7, 0, False) == 106


def test_in_place_steps_keep_their_object(core):
    state = np.zeros(3)

    def step_fn(state, rng):
        state += 1
        return state

    assert core.advance(step_fn, state, None, 10, 0, False) is state
    assert state.tolist() == [10, 10, 10]


class Counted:
    """A state whose living instances are counted."""

    alive = 0

    def __init__(self, value):
        self.value = value
        Counted.alive += 1

    def __del__(self):
        Counted.alive -= 1


def test_states_are_freed_as_the_loop_goes_on(core):
    most = 0

    def step_fn(state, rng):
        nonlocal most
        most = max(most, Counted.alive)
        if state.value == 900:
            raise ValueError
        return Counted(state.value + 1)

    gc.collect()
    assert Counted.alive == 0
    core.advance(step_fn, Counted(0), None, 800, 0, False)
    assert most <= 2  # the caller's first state, and the one handed in
    core.advance_observed(step_fn, Counted(0), None, 800, 800, 0, False, ["x"], [lambda s: s.value], [[]])
    for run in (
        lambda: core.advance(step_fn, Counted(0), None, 1000, 0, False),
        lambda: core.advance_observed(step_fn, Counted(0), None, 1000, 1000, 0, False, ["x"], [lambda s: 0], [[]]),
    ):
        with pytest.raises(StepError):
            run()
    gc.collect()
    assert Counted.alive == 0


def test_no_reference_is_lost_or_kept(core):
    state, rng, names, value = object(), object(), ["x", "y"], object()

    def step_fn(state, rng):
        return state

    def metric(state):
        return value

    def fails(*args):
        raise ValueError

    metrics = [None, metric]

    def all_ways():
        core.advance(step_fn, state, rng, 3000, 0, False)
        core.advance(Adder(1), 1, rng, 3000, 0, False)
        core.advance_observed(step_fn, state, rng, 3000, 3000, 0, False, names, metrics, [[], []])
        for attempt in (
            lambda: core.advance(fails, state, rng, 5, 0, False),
            lambda: core.advance(lambda state, rng: None, state, rng, 5, 0, False),
            lambda: core.advance_observed(fails, state, rng, 5, 5, 0, False, names, metrics, [[], []]),
            lambda: core.advance_observed(step_fn, state, rng, 5, 5, 0, False, names, [None, fails], [[], []]),
        ):
            with pytest.raises((StepError, MetricError)):
                attempt()

    all_ways()
    gc.collect()
    things = [state, rng, step_fn, metric, fails, value, names, metrics]
    before = [sys.getrefcount(thing) for thing in things]
    for _ in range(5):
        all_ways()
    gc.collect()
    assert [sys.getrefcount(thing) for thing in things] == before


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers for signals on this system")
@pytest.mark.parametrize("observed", [False, True])
def test_a_signal_stops_a_step_written_in_c(core, observed):
    def stop(number, frame):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.01)  # of this process alone, however busy the machine is
    try:
        with pytest.raises(KeyboardInterrupt):
            if observed:
                core.advance_observed(max, 1, 0, 2**40, 2**40, 0, False, [], [], [])
            else:
                core.advance(max, 1, 0, 2**40, 0, False)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, old)


# ---- advance_observed


@pytest.mark.parametrize("n_states, n_steps", [(0, 0), (1, 0), (1, 1), (5, 4), (5, 5), (3000, 2999)])
def test_observing_is_looking_at_each_state_and_stepping(core, n_states, n_steps):
    raw, half = ["before"], []
    ours, theirs = random.Random(1), random.Random(1)
    got = core.advance_observed(
        walk, 0.5, ours, n_states, n_steps, 0, False, ["raw", "half"], [None, lambda x: x / 2], [raw, half]
    )
    states, state = [], 0.5
    for i in range(n_states):
        states.append(state)
        if i < n_steps:
            state = walk(state, theirs)
    assert raw == ["before", *states]
    assert half == [x / 2 for x in states]
    assert got == state
    assert ours.getstate() == theirs.getstate()


def test_a_metric_sees_a_state_before_the_step_changes_it(core):
    def step_fn(state, rng):
        state[0] += 1
        return state

    buffer = []
    core.advance_observed(step_fn, [0], None, 4, 4, 0, False, ["x"], [lambda state: state[0]], [buffer])
    assert buffer == [0, 1, 2, 3]


def test_a_failing_metric_is_named(core):
    error = ZeroDivisionError("float division by zero")

    def metric(state):
        if state == 13:
            raise error
        return state

    first, second = [], []
    with pytest.raises(MetricError) as caught:
        core.advance_observed(Adder(1), 10, None, 9, 9, 100, False, ["first", "ratio"], [None, metric], [first, second])
    assert str(caught.value).startswith("metric 'ratio' at step 103 raised ZeroDivisionError: float division by zero;")
    assert (caught.value.name, caught.value.step) == ("ratio", 103)
    assert caught.value.__cause__ is error
    assert (first, second) == ([10, 11, 12, 13], [10, 11, 12])


@pytest.mark.parametrize("n_metrics", [0, 1, 3])
def test_a_failing_step_under_observation_is_named(core, n_metrics):
    buffers = [[] for _ in range(n_metrics)]
    names, metrics = [f"m{k}" for k in range(n_metrics)], [None] * n_metrics
    error = ValueError("too hot")
    with pytest.raises(StepError, match="step_fn raised ValueError at step 104: too hot") as caught:
        core.advance_observed(fails_at(4, error), 0, None, 9, 9, 100, False, names, metrics, buffers)
    assert caught.value.__cause__ is error
    assert buffers == [[0, 1, 2, 3, 4]] * n_metrics


# ---- the build


def test_a_product_is_rounded_before_it_is_subtracted_from(core):
    a = 1 + 2**-27
    assert core.rounds_twice(a, a, 1 + 2**-26) is True
    assert core.rounds_twice(a, a, 1.0) is False


# ---- looking for a state on the way


def place_of(core, step, n_steps=20, block_size=20):
    codec = StateCodec.of(0)
    blocks = core.BlockRng(1, "python")
    place = core.Place(
        blocks, Grid(n_steps, block_size), 1, [0] * 20, codec, lambda kind: None, lambda: step, False, False
    )
    place.seek(0)
    return place


def test_a_search_stays_at_the_first_state_it_looks_for_and_asks_about_none_after_it(core):
    asked = []

    def seven(x):
        asked.append(x)
        return x == 7

    place = place_of(core, lambda x, rng: x + 1)
    assert place.search(seven, 20, 19) == 7
    assert (place.t, place.state, asked) == (7, 7, list(range(8)))
    place.run(1)
    assert place.search(seven, 12, 11) == -1
    assert (place.t, place.state, asked[8:]) == (19, 19, list(range(8, 20)))


@pytest.mark.parametrize(("n_states", "n_steps", "end"), [(5, 5, 5), (5, 4, 4), (1, 0, 0), (1, 1, 1)])
def test_a_search_that_finds_nothing_goes_the_steps_it_is_told(core, n_states, n_steps, end):
    place = place_of(core, lambda x, rng: x + 1)
    assert place.search(lambda x: 0.0, n_states, n_steps) == -1
    assert (place.t, place.state) == (end, end)
    assert place.search(lambda x: [x], 1, 0) == end  # anything true


def test_a_search_draws_what_a_run_draws(core):
    step = lambda x, rng: x + rng.getrandbits(60)  # noqa: E731
    place, other = place_of(core, step), place_of(core, step)
    place.search(lambda x: False, 20, 19)
    other.run(19)
    assert place.state == other.state and place.blocks.rng.getstate() == other.blocks.rng.getstate()


def test_a_predicate_that_raises_is_named_with_its_step_and_the_place_stays_there(core):
    place = place_of(core, lambda x, rng: x + 1)
    with pytest.raises(rewind.ConditionError, match="the condition raised ZeroDivisionError at step 3: ") as caught:
        place.search(lambda x: 1 // (3 - x) == 9, 20, 19)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert (place.t, place.state) == (3, 3)
    with pytest.raises(rewind.ConditionError, match="truth value"):
        place.search(lambda x: np.zeros(2), 1, 0)


def test_a_step_that_fails_in_a_search_is_the_steps_error(core):
    place = place_of(core, lambda x, rng: x + 1 if x < 4 else 1 // 0)
    with pytest.raises(rewind.StepError, match="step_fn raised ZeroDivisionError at step 4") as caught:
        place.search(lambda x: False, 20, 19)
    assert caught.value.t == 4 and isinstance(caught.value.__cause__, ZeroDivisionError) and place.t < 0
    place.seek(2)
    assert place.state == 2
    place = place_of(core, lambda x, rng: x + 1 if x < 4 else None)
    with pytest.raises(rewind.StepReturnError, match="returned None at step 4"):
        place.search(lambda x: False, 20, 19)
