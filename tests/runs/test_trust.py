"""Nothing is handed out from a replay that was never compared here; and what changed in memory is said before."""

from __future__ import annotations

import ctypes
import math
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import types
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from helpers.native_steps import POINTERS, built

import rewind

__all__ = ["built"]

CALLS = [0]


def counted(x, rng):
    CALLS[0] += 1
    return x + rng.random()


def other(x, rng):
    return x + 2 * rng.random()


def calls(ask):
    before = CALLS[0]
    ask()
    return CALLS[0] - before


@pytest.fixture
def path(tmp_path):
    rewind.record(counted, 0.0, 100, 1).save(tmp_path / "run.replay")
    return tmp_path / "run.replay"


@pytest.fixture
def wrong(path):
    """A run whose step is another than the one that was recorded."""
    with pytest.warns(rewind.StepSourceWarning):
        return rewind.load(path, other)


# ---- the first replay


def test_the_first_replay_is_run_to_the_end_of_its_block_once(path):
    run = rewind.load(path, counted)
    assert calls(lambda: run.get(23)) == 10 + 3
    assert calls(lambda: run.get(24)) == 1 and calls(lambda: run.get(47)) == 7


def test_a_stored_state_and_info_need_no_step(path):
    run = rewind.load(path, counted)
    assert calls(lambda: (run.get(20), run[30], run.metadata(), run.overview, run.branch_point)) == 0
    assert calls(lambda: run.branch(20, n_steps=1)) == 0


def test_a_pass_to_the_end_of_a_block_is_the_comparison(path):
    assert calls(rewind.load(path, counted).stats) == 99


def test_nothing_is_compared_where_that_is_not_wanted(path):
    run = rewind.load(path, counted, check=False)
    assert calls(lambda: run.get(23)) == 3


def test_a_run_that_was_recorded_here_or_verified_is_trusted(path):
    run = rewind.record(counted, 0.0, 100, 1)
    assert calls(lambda: run.get(23)) == 3 and calls(lambda: run.branch(23, n_steps=1)) == 3
    run = rewind.load(path, counted)
    run.verify()
    assert calls(lambda: run.get(23)) == 3


ASKS = {
    "get": lambda run: run.get(23),
    "index": lambda run: run[-1],
    "iteration": lambda run: next(iter(run[21:25])),
    "pass": lambda run: list(run),
    "array": lambda run: np.asarray(run),
    "series": lambda run: run.series(start=21, stop=24),
    "stats": lambda run: run.stats(start=21, stop=24),
    "first": lambda run: run.first(lambda x: x > 20.0),
    "last": lambda run: run.last(lambda x: x > 20.0, before=45),
    "where": lambda run: list(run.where(lambda x: x > 20.0)),
    "bisect": lambda run: run.bisect(lambda x: x > 20.0),
    "changes": lambda run: list(run.changes()),
    "cursor": lambda run: run.at(23).rng_state,
    "branch": lambda run: run.branch(23),
    "branches": lambda run: run.branches(23, 2),
    "likelihood": lambda run: run.likelihood(lambda x: x > 20.0, 23, 2),
    "extend": lambda run: run.extend(200),
    "diff": lambda run: run.diff(rewind.record(counted, 0.0, 100, 2)),
    "pickled": lambda run: pickle.loads(pickle.dumps(run)).get(23),
}


@pytest.mark.parametrize("ask", ASKS)
def test_no_verb_answers_from_a_step_that_goes_another_way(ask, wrong):
    with pytest.raises(rewind.NondeterministicReplayError) as caught:
        ASKS[ask](wrong)
    assert "step_fn changed" in str(caught.value)


def test_what_is_said_names_block_step_path_and_both_values(wrong):
    with pytest.raises(rewind.NondeterministicReplayError) as caught:
        wrong.get(23)
    error = caught.value
    assert (error.block, error.step, error.path) == (2, 30, "")
    assert error.expected == wrong.get(30) != error.got


def test_a_thinned_run_is_compared_at_the_next_state_that_is_stored():
    run = rewind.record(counted, 0.0, 16, 1, block_size=2).extend(200)
    loaded = pickle.loads(pickle.dumps(run))
    stride = -(-100 // loaded.n_checkpoints)
    assert stride > 1
    assert calls(lambda: loaded.get(3)) == 2 * stride + 3
    assert loaded.get(3) == run.get(3)


def test_the_last_block_is_compared_with_the_last_state(path):
    run = rewind.load(path, counted)
    assert calls(lambda: run.get(95)) == 9 + 5
    for n in (1, 2, 11):  # of one state, of which no step is taken
        one = pickle.loads(pickle.dumps(rewind.record(counted, 0.0, n, 1, block_size=10)))
        assert one.get(n - 1) == rewind.record(counted, 0.0, n, 1, block_size=10).get(n - 1)


def test_hidden_state_in_a_loaded_run_is_named(tmp_path):
    text = "N = 0\ndef step(x, rng):\n    global N\n    N += 1\n    return x + N\n"
    module = types.ModuleType("hidden_counter")
    exec(text, vars(module))
    run = rewind.record(module.step, 0, 100, 1, trial=False)
    with pytest.raises(rewind.NondeterministicReplayError, match="step_fn writes N, which is no part of its state"):
        pickle_free(run, tmp_path, module.step).get(23)


def pickle_free(run, folder, step):
    run.save(folder / "a.replay")
    return rewind.load(folder / "a.replay", step)


# ---- slow steps


class Clock:
    """A clock that each step moves."""

    def __init__(self, seconds):
        self.now, self.seconds = 0.0, seconds

    def step(self, x, rng):
        self.now += self.seconds
        return x + rng.random()


@pytest.fixture
def slow(tmp_path, monkeypatch):
    from rewind.runs import trajectory

    def load(seconds):
        clock = Clock(seconds)
        run = rewind.record(clock.step, 0.0, 100, 1)
        run.save(tmp_path / "slow.replay")
        monkeypatch.setattr(trajectory, "perf_counter", lambda: clock.now)
        return run, rewind.load(tmp_path / "slow.replay", clock.step), clock

    return load


def test_a_block_that_takes_long_is_compared_when_a_pass_comes_by(slow):
    truth, run, clock = slow(2.0)
    with pytest.warns(rewind.UncheckedReplayWarning, match="not yet checked"):
        assert run.get(23) == truth.get(23)
    state, begun = truth.get(24), clock.now
    assert run.get(24) == state and clock.now == begun + 2.0  # one word, and one only
    assert list(run) == list(truth) and run._trajectory.trust.settled


@pytest.mark.parametrize("ask", [list, lambda run: run.stats()])
def test_a_comparison_that_was_put_off_refuses_when_it_is_made(ask, slow):
    truth, run, clock = slow(2.0)
    with pytest.warns(rewind.UncheckedReplayWarning):
        run.get(23)
    run._trajectory.step.function = lambda x, rng: x + 2 * rng.random()
    with pytest.raises(rewind.NondeterministicReplayError):
        ask(run)


def test_a_block_of_nine_seconds_is_compared_at_once(slow):
    truth, run, clock = slow(1.0)
    state, begun = truth.get(23), clock.now
    assert run.get(23) == state and clock.now - begun == 10 + 3


# ---- other processes


@pytest.mark.once
def test_a_step_that_goes_through_a_set_of_text_is_refused_in_another_process(tmp_path):
    program = """
        import sys, rewind
        NAMES = [f"agent{i}" for i in range(12)]
        def step(wealth, rng):
            for name in {n for n in NAMES if wealth[n] < 99}:
                wealth[name] += rng.random()
            return wealth
        if sys.argv[1] == "record":
            rewind.record(step, dict.fromkeys(NAMES, 0.0), 100, 1).save("set.replay")
        else:
            run = rewind.load("set.replay", step)
            try:
                print(run.get(50) == run.get(50), run.get(53))
            except rewind.NondeterministicReplayError as error:
                print(error)
    """
    (tmp_path / "set.py").write_text(textwrap.dedent(program))

    def out(seed, *arguments):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "set.py", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    out("1", "record")
    assert rewind.load(tmp_path / "set.replay").metadata()["step"]["hash_seed"] == "1"
    assert "recorded with PYTHONHASHSEED=1, and here is PYTHONHASHSEED=2" in out("2", "load")
    assert out("1", "load").startswith("True")


def in_another_order(x, rng):
    """Another way in every process but the one of the tests."""
    return x + rng.random() + (os.getpid() != int(os.environ["REWIND_TEST_PID"]))


def of_float(x):
    return float(x)


@pytest.mark.once
@pytest.mark.parametrize(
    "ask",
    [
        lambda run, pool: run.stats(of_float, start=1, stop=395, executor=pool),
        lambda run, pool: run.branches(23, 60, of_float, n_steps=5, executor=pool),
        lambda run, pool: run.first(math.isnan, executor=pool),
    ],
    ids=["stats", "branches", "first"],
)
def test_a_worker_that_goes_another_way_is_found(ask, monkeypatch):
    monkeypatch.setenv("REWIND_TEST_PID", str(os.getpid()))
    run = rewind.record(in_another_order, 0.0, 400, 1)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool, pytest.raises(rewind.NondeterministicReplayError):
        ask(run, pool)


def test_threads_share_what_was_compared(path):
    run = rewind.load(path, counted)
    run.get(23)
    with ThreadPoolExecutor(2) as pool:
        assert calls(lambda: run.stats(executor=pool)) == 99


# ---- changes in memory

CELL = """
from dataclasses import dataclass
RATE = 0.5
def helper(x): return x * RATE
@dataclass
class State:
    x: float
    def energy(self): return -1.0
def step(s, rng): return State(helper(s.x) + rng.random())
"""


@pytest.fixture
def cell():
    module = types.ModuleType("trust_cell")
    sys.modules["trust_cell"] = module

    def run(text=CELL):
        exec(compile(text, "<cell>", "exec"), vars(module))
        return module

    run()
    yield run
    del sys.modules["trust_cell"]


IN_PLACE = {
    "global": lambda m: setattr(m, "RATE", 0.25),
    "helper": lambda m: setattr(m, "helper", lambda x: -x),
    "code of a helper": lambda m: setattr(m.helper, "__code__", (lambda x: x + 1).__code__),
}


@pytest.mark.parametrize("kind", ["global", "helper", "code of a helper"])
@pytest.mark.parametrize("warm", [23, 25, 26])
def test_a_change_is_said_once_and_the_next_replay_is_compared(kind, warm, cell):
    module = cell()
    run = rewind.record(module.step, module.State(0.0), 100, 1)
    truth = [state.x for state in run]
    run.get(warm)
    IN_PLACE[kind](module)
    with pytest.warns(rewind.StepSourceWarning, match="RATE|helper") as said:
        for t in (27, 28, 26, 25):  # goes on from a state in memory, and back
            with pytest.raises(rewind.NondeterministicReplayError):
                run.get(t)
    assert len(said) == 1
    assert run.get(20).x == truth[20]
    cell()
    with pytest.warns(rewind.StepSourceWarning):
        assert [run.get(t).x for t in (27, 28, 26, 25)] == [truth[t] for t in (27, 28, 26, 25)]


def test_a_swapped_code_is_said_before_the_first_state_of_it():
    def walk(x, rng):
        return x + rng.random()

    run = rewind.record(walk, 0.0, 100, 1)
    truth = list(run)
    assert run.get(23) == truth[23]
    walk.__code__ = other.__code__
    with pytest.warns(rewind.StepSourceWarning, match="step_fn changed"):
        with pytest.raises(rewind.NondeterministicReplayError):
            run.get(24)
    for ask in (list, rewind.Run.stats, lambda run: run.branch(25)):
        with pytest.raises(rewind.NondeterministicReplayError):
            ask(run)


def test_all_states_of_an_answer_are_of_the_present_class(cell):
    module = cell()
    run = rewind.record(module.step, module.State(0.0), 100, 1)
    run.get(23)
    cell(CELL.replace("-1.0", "self.x"))
    with pytest.warns(rewind.StepSourceWarning, match=r"State.energy changed"):
        states = [run.get(23), run.get(24), *run, run.get(20), *run[::-7], *run.branch(21), *run.branch(20)]
    assert {type(state) for state in states} == {module.State}
    assert run.stats(lambda s: s.energy()).mean == run.stats(lambda s: s.x).mean


def test_a_cell_run_again_as_it_was_goes_without_a_word(cell):
    module = cell()
    run = rewind.record(module.step, module.State(0.0), 100, 1)
    truth = [state.x for state in run]
    run.get(23)
    for _ in range(2):
        cell()
        assert {type(state) for state in [run.get(24), run.get(25), *run]} == {module.State}
    assert [state.x for state in run] == truth


def test_what_the_step_keeps_for_itself_is_not_cried_over():
    seen, log, memo = {}, [], {}

    def alias(into, x):
        into[x] = 1

    def step(x, rng):
        alias(memo, x)  # not to be seen in its code
        seen[x] = x
        log.append(x)
        return x + rng.random()

    run = rewind.record(step, 0.0, 100, 1)
    for t in (3, 50, 4, 99, 51):
        run.get(t)
    run.stats()
    list(run)


def test_a_library_that_was_built_again_is_said(built, tmp_path):
    def step():
        function = ctypes.CDLL(str(tmp_path / "steps.so")).drift
        function.argtypes, function.restype = POINTERS, ctypes.c_int
        return rewind.native_step(function)

    shutil.copy(built, tmp_path / "steps.so")
    run = rewind.record(step(), 0.0, 100, 1, backend="numpy", params={"pull": 0.5, "width": 1.0})
    run.save(tmp_path / "run.replay")
    state = run.get(23)
    shutil.copy(built, tmp_path / "new.so")
    with open(tmp_path / "new.so", "ab") as file:
        file.write(b"\0")
    os.replace(tmp_path / "new.so", tmp_path / "steps.so")
    with pytest.warns(rewind.StepSourceWarning, match="library steps.so changed"):
        assert run.get(50) is not None and run.get(23) == state
    with pytest.warns(rewind.StepSourceWarning, match="library steps.so changed"):
        assert rewind.load(tmp_path / "run.replay", step()).get(23) == state


def test_the_version_of_a_native_step_is_compared(built, tmp_path):
    function = ctypes.CDLL(str(built)).drift
    function.argtypes, function.restype = POINTERS, ctypes.c_int
    one, two = (rewind.native_step(function, version=version) for version in ("1", "2"))
    rewind.record(one, 0.0, 100, 1, backend="numpy", params={"pull": 0.5, "width": 1.0}).save(tmp_path / "a.replay")
    assert rewind.load(tmp_path / "a.replay", one).get(23) is not None
    with pytest.warns(rewind.StepSourceWarning, match="version= changed"):
        rewind.load(tmp_path / "a.replay", two)


def test_a_change_while_nothing_is_replayed_costs_nothing(path):
    run = rewind.load(path, counted)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run.get(20) == rewind.load(path, counted).get(20)
