"""get, slices, iteration, series, arrays: any state again, at the price that was promised."""

from __future__ import annotations

import pickle
import random
import threading

import numpy as np
import pytest
from helpers.plain import BACKENDS, Counting, Walker, bytes_of, digest, in_place, loop, noisy, walk

import rewind

backends = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture
def counted():
    step = Counting(noisy)
    run = rewind.record(step, 0.0, 400, 5, block_size=20)
    step.since()
    return run, step


def test_the_next_step_costs_one_step(counted):
    run, step = counted
    run.get(0)
    step.since()
    for t in range(1, 400):
        run.get(t)
        assert step.since() <= 1, t
    for t in range(3, 400, 7):
        run.get(t)
        assert step.since() <= max(7, t % 20), t


def test_a_question_costs_at_most_a_block(counted):
    run, step = counted
    for t in random.Random(1).sample(range(400), 400):
        run.get(t)
        assert step.since() < 40  # to the step, and at most once more through the block for what lies before it


def test_going_backward_replays_each_block_a_fixed_number_of_times(counted):
    run, step = counted
    for t in reversed(range(400)):
        run.get(t)
    assert step.since() <= 2 * 400
    list(run[::-1])
    assert step.since() <= 2 * 400 + 40


def test_the_same_question_twice_is_not_paid_twice(counted):
    run, step = counted
    run.get(250)
    step.since()
    for _ in range(5):
        run.get(250)
    assert step.since() <= 20


@pytest.mark.parametrize("ask", [list, np.asarray, rewind.Run.series, rewind.Run.stats, lambda run: list(run[:])])
def test_a_pass_over_the_run_is_one_pass(counted, ask):
    run, step = counted
    ask(run)
    assert step.since() <= 400


def test_a_slice_is_lazy(counted):
    run, step = counted
    view = run[100:300:7]
    assert step.since() == 0 and len(view) == 29
    assert digest(view[1]) == digest(run.get(107)) and digest(view[-1]) == digest(run.get(296))
    step.since()
    list(run[380:])
    assert step.since() <= 20
    assert len(view[3:5]) == 2 and digest(view[3:5][0]) == digest(run.get(121))
    with pytest.raises(IndexError):
        view[29]
    assert "29 states" in repr(view)
    assert list(run[5:5]) == [] and list(run[399:2:1]) == []
    assert bytes_of(reversed(run[10:15])) == bytes_of(run.get(t) for t in (14, 13, 12, 11, 10))


@backends
def test_slices_are_those_of_a_list(backend):
    states = loop(noisy, 0.0, 23, 5, 7, backend)
    run = rewind.record(noisy, 0.0, 23, 5, block_size=7, backend=backend)
    ends = (None, -30, -23, -8, -1, 0, 1, 6, 7, 22, 23, 40)
    for start in ends:
        for stop in ends:
            for step in (None, 1, 2, 8, -1, -3, -30):
                assert bytes_of(run[start:stop:step]) == bytes_of(states[start:stop:step])
    assert bytes_of(run.iter(3, 9)) == bytes_of(states[3:9]) and bytes_of(run.iter(-4)) == bytes_of(states[-4:])
    assert run.get(-23) == states[0] and run.get(np.int64(-1)) == states[-1] == run[np.uint8(22)]


# ---- arrays


@backends
def test_an_array_of_all_states_is_the_states(backend):
    run = rewind.record(in_place, np.zeros(5), 23, 5, block_size=7, backend=backend)
    states = np.array(loop(in_place, np.zeros(5), 23, 5, 7, backend))
    array = np.asarray(run)
    assert array.shape == (23, 5) and array.tobytes() == states.tobytes()
    assert np.asarray(run[::-2]).tobytes() == states[::-2].tobytes()
    assert np.asarray(run, dtype="f4").dtype == "f4"
    assert np.array(run, copy=True).tobytes() == states.tobytes()
    assert np.asarray(run[3:3]).shape == (0, 5)
    array[:] = 0
    assert np.asarray(run).tobytes() == states.tobytes()
    with pytest.raises(ValueError, match="not in memory"):
        run.__array__(copy=False)


def test_integers_stay_integers_in_an_array_however_large():
    def step(x, rng):
        return x * 2 + 1

    for n in (60, 63, 64, 65, 90):
        run = rewind.record(step, 1, n, 1)
        assert [int(x) for x in np.asarray(run)] == [2 ** (t + 1) - 1 for t in range(n)]
        assert [int(x) for x in run.series()] == [2 ** (t + 1) - 1 for t in range(n)]


def test_an_array_of_states_of_several_types_or_shapes_is_refused_with_advice():
    shapes = rewind.record(lambda x, rng: np.zeros(len(x) % 3 + 1), np.zeros(3), 9, 1)
    for ask in (lambda: np.asarray(shapes), lambda: shapes.series()):
        with pytest.raises(rewind.RewindError, match="shape"):
            ask()
    assert shapes.series(len).tolist() == [3, 1, 2, 3, 1, 2, 3, 1, 2]
    for state in ({"x": 1.0}, Walker(), [1.0], (1, 2), None, "text", {1}):
        with pytest.raises(rewind.ArgumentTypeError, match=r"run.series\(f\)"):
            np.asarray(rewind.record(lambda s, rng: s, state, 5, 1))


def test_an_array_that_would_fill_the_memory_is_refused_with_advice(counted):
    step = Counting(lambda x, rng: x)
    run = rewind.record(step, np.zeros(10_000), 10_000, 1, trial=False)  # it is meant to stay as it is
    step.since()
    with pytest.raises(rewind.SizeLimitError, match=r"takes 800,000,000 bytes, .*run.series\(f\)") as caught:
        np.asarray(run)
    assert isinstance(caught.value, ValueError) and step.since() < 200
    assert np.asarray(run[:100]).shape == (100, 10_000)


def test_a_series_is_f_of_the_states():
    states = loop(noisy, 0.0, 50, 5, 7)
    run = rewind.record(noisy, 0.0, 50, 5, block_size=7)
    assert run.series().tobytes() == np.array(states).tobytes()
    assert run.series(abs, 3, 40, 9).tobytes() == np.abs(states[3:40:9]).tobytes()
    assert run.series(lambda x: [x, 2 * x], -5).shape == (5, 2)
    assert run.series(lambda x: x > 0).dtype == bool
    assert run.series(None, 9, 3).size == 0
    assert rewind.record(lambda s, rng: s, Walker(2.0), 5, 1).series("x").tolist() == [2.0] * 5


# ---- several at once


@backends
@pytest.mark.parametrize("step, init", [(walk, 0), (in_place, np.zeros(3))])
def test_eight_threads_get_right_answers(backend, step, init):
    run = rewind.record(step, init, 300, 5, backend=backend)
    want = bytes_of(loop(step, init, 300, 5, run.block_size, backend))
    wrong, start = [], threading.Barrier(8)

    def ask(i):
        rng = random.Random(i)
        start.wait()
        iterator = enumerate(run)
        for _ in range(150):
            t = rng.randrange(300)
            if digest(run.get(t)) != want[t]:
                wrong.append(t)
            u, state = next(iterator)
            if digest(state) != want[u]:
                wrong.append(u)
        if i == 0 and not run.verify(full=True):
            wrong.append("verify")
        if i == 1 and bytes_of(run.branch(33, noise="same")) != want[33:]:
            wrong.append("branch")

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_step_or_a_metric_may_ask_a_run():
    other = rewind.record(noisy, 0.0, 100, 6)
    asked = []

    def step(x, rng):
        if asked:  # itself, while it is being asked
            asked[0].get(int(rng.random() * 5))
        return x + other.get(rng.randrange(100))

    run = rewind.record(step, 0.0, 60, 5)
    want = bytes_of(run)
    quiet = bytes_of(rewind.record(lambda x, rng: x + other.get(rng.randrange(100)), 0.0, 60, 5))
    assert want == quiet
    curious = run.branch(0, step_fn=lambda x, rng: x + other.get(rng.randrange(100)), noise="same")
    assert bytes_of(curious) == want
    assert run.series(lambda x: run.get(7) + x)[3] == run.get(7) + run.get(3)
    assert run.stats(lambda x: other.get(3) + 0 * len(run)).max == other.get(3)
    assert bytes_of(run.get(t) for t in reversed(range(60))) == want[::-1]
    assert run.verify(full=True)


def test_a_step_that_asks_its_own_run_gets_the_same_answers():
    runs = []

    def step(x, rng):
        y = noisy(x, rng)
        for run in runs[:1]:
            runs.clear()
            assert digest(run.get(9)) == want[9] and digest(run.get(25)) == want[25]
        return y

    run = rewind.record(step, 0.0, 40, 5, block_size=8)
    want = bytes_of(run)
    for t in [*range(40), *reversed(range(40)), 7, 30, 31, 3]:
        runs.append(run)
        assert digest(run.get(t)) == want[t]
        runs.clear()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_step_that_raises_in_get_leaves_the_run_usable(error):
    armed = []

    def step(x, rng):
        if armed and armed.pop() == 1:
            raise error("now and then")
        return noisy(x, rng)

    run = rewind.record(step, 0.0, 60, 5, block_size=10)
    want = bytes_of(loop(noisy, 0.0, 60, 5, 10))
    for t in [*range(60), *reversed(range(60))]:
        for count in (1, 4):
            armed[:] = [1] + [0] * (count - 1)
            try:
                assert digest(run.get(t)) == want[t]
            except BaseException as raised:
                assert isinstance(raised, (error, rewind.StepError))
            armed.clear()
            assert digest(run.get(t)) == want[t]
    iterator = iter(run)
    next(iterator)
    armed.append(1)
    with pytest.raises((rewind.StepError, error)):
        list(iterator)
    assert bytes_of(run) == want


def test_a_run_travels_in_a_pickle():
    run = rewind.record(noisy, 0.0, 60, 5, observe={"x": abs})
    run.get(33)
    copy = pickle.loads(pickle.dumps(run))
    assert bytes_of(copy) == bytes_of(run) and copy.verify() and copy.content_hash() == run.content_hash()
    assert copy.observed["x"].mean == run.observed["x"].mean


def test_a_run_says_what_it_is():
    run = rewind.record(noisy, 0.0, 1234, 5)
    assert repr(run) == "<Run: 1,234 steps, 35 checkpoints, seed=5, step helpers.plain:noisy>"
    assert "branched at step 4" in repr(run.branch(4)) and "no step_fn" in repr(rewind.Run(run._recording, None, {}))


def test_a_series_of_a_function_that_changes_the_state_is_the_series_of_the_states():
    run = rewind.record(lambda s, rng: s + rng.random(), np.zeros(2), 100, 1)

    def mutating(state):
        state *= 2
        return state[0] / 2

    assert run.series(mutating).tobytes() == run.series(lambda s: s[0]).tobytes()


def test_a_metric_is_tried_on_the_first_state_of_its_window():
    run = rewind.record(lambda x, rng: x + 1.0, 0.0, 20, 1)
    assert run.series(lambda x: 1 / x, start=1).tobytes() == (1 / np.arange(1.0, 20.0)).tobytes()
    assert run.stats(lambda x: 1 / x, start=1).max == 1.0
    with pytest.raises(rewind.MetricError, match="at step 0 raised ZeroDivisionError"):
        run.stats(lambda x: 1 / x)


def test_questions_about_steps_and_seeds_of_any_size_are_answered():
    run = rewind.record(lambda x, rng: x + 1, 0, 5, 10**5000)
    with pytest.raises(rewind.StepRangeError, match="an integer of 16,610 bits is outside this run"):
        run.get(10**5000)
    assert "bits)" in repr(run)
