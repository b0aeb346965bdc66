"""The tap of a sweep is given what the metrics gave, of each state of the recording once, and of no other."""

from __future__ import annotations

import inspect
import sys
from dataclasses import replace

import numpy as np
import pytest
from helpers.plain import BACKENDS, in_place, noisy, normal, walk

import rewind
from rewind.engine import handover
from rewind.engine.handover import Handover
from rewind.engine.plan import Stopped
from rewind.engine.sweep import Sweep, go_on, sweep
from rewind.runs.branch import branch_plan, longer_plan
from rewind.runs.execute import run_plan
from rewind.runs.options import Options
from rewind.runs.plan import make_plan
from rewind.runs.run import Run
from rewind.storage.journal_writer import Journal

OBSERVE = {"x": None, "pair": lambda x: [x, x * x], "low": lambda x: -x}
N, BLOCK = 23, 5


class Enough(Exception):
    pass


class Kept:
    """A tap that keeps what it is given, and raises at one call after that."""

    def __init__(self, call=None, error=Enough):
        self.firsts, self.values, self.left, self.error = [], {}, call, error

    def __call__(self, first, values):
        self.firsts.append(first)
        for name, given in values.items():
            assert given.dtype == np.float64 and len(given) > 0
            self.values.setdefault(name, []).append((first, np.array(given)))
        if self.left is not None:
            self.left -= 1
            if not self.left:
                raise self.error("tap")

    def bytes_of(self, start=0):
        """What was given, where each piece begins at the end of the one before."""
        found = {}
        for name, pieces in self.values.items():
            t = start
            for first, given in pieces:
                assert first == t
                t += len(given)
            found[name] = np.concatenate([given for _, given in pieces]).tobytes()
        return found


def series(run, start=0):
    return {name: np.asarray(run.series(name, start), float).tobytes() for name in run._trajectory.metrics}


def tapped(tap, step=noisy, init=0.0, n=N, path=None, **options):
    named = {"block_size": BLOCK, "observe": OBSERVE, "trial": False, **options}  # calls of the step are counted
    plan, row = make_plan(step, init, n, 5, Options(**named))
    return run_plan(Run, replace(plan, tap=tap), row, Options(path=path))


def at_call(step, call, error):
    left = [call]

    def halting(x, rng):
        left[0] -= 1
        if left[0] == -1:
            raise error
        return step(x, rng)

    return halting


# ---- a sweep that comes to its end


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n", [1, 2, 5, 6, 23, 25])
def test_it_is_given_what_the_metrics_give_block_by_block(backend, n):
    tap = Kept()
    run = tapped(tap, n=n, backend=backend)
    assert tap.bytes_of() == series(run) and tap.firsts == list(range(0, n, BLOCK))
    assert run.content_hash() == tapped(None, n=n, backend=backend).content_hash()


def test_metrics_of_a_state_that_is_changed_in_place_are_those_of_each_step():
    tap = Kept()
    run = tapped(tap, in_place, np.zeros(3), observe={"whole": None, "total": np.sum, "first": lambda x: x[0]})
    assert tap.bytes_of() == series(run) and tap.values["whole"][0][1].shape == (BLOCK, 3)


def test_integers_and_truths_come_as_numbers():
    tap = Kept()
    run = tapped(tap, walk, 0, observe={"x": None, "even": lambda x: x % 2 == 0, "large": lambda x: 2**70})
    assert tap.bytes_of() == series(run)


def test_a_numba_step_is_tapped_too():
    numba = pytest.importorskip("numba")
    step = numba.njit(lambda x, rng: x * 0.9 + rng.standard_normal())
    tap, product = Kept(), numba.njit(lambda x: x[0] * x[1])
    run = tapped(tap, step, np.zeros(2), backend="numpy", observe={"x": None, "product": product})
    assert tap.bytes_of() == series(run) and len(tap.firsts) == 5


def test_without_metrics_it_is_never_called():
    tap = Kept()
    tapped(tap, observe=None)
    with pytest.raises(rewind.StepError):
        tapped(tap, at_call(noisy, 7, Enough()), observe=None)
    assert tap.firsts == []


def test_it_is_called_before_the_journal_is_told(tmp_path, monkeypatch):
    events, add = [], Journal.add
    monkeypatch.setattr(
        Journal, "add", lambda self, done, *more: events.append(done[0].block) or add(self, done, *more)
    )
    run = tapped(lambda first, values: events.append(f"{first}"), path=tmp_path / "run.replay")
    assert events == ["0", 0, "5", 1, "10", 2, "15", 3, "20"]
    assert run.content_hash() == tapped(None).content_hash()


def test_with_a_self_check_too():
    tap = Kept()
    run = tapped(tap, self_check=True)
    assert tap.bytes_of() == series(run)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("t", [0, 4, 5, 7, 22])
@pytest.mark.parametrize("more", [{}, {"noise": "same"}, {"noise": "same", "mutate": lambda x: x + 1}])
def test_a_branch_is_tapped_from_its_step_0(backend, t, more):
    run, tap = tapped(None, backend=backend), Kept()
    plan, row = branch_plan(run._trajectory, t, n_steps=14, **more)
    branch = run_plan(Run, replace(plan, tap=tap), row, Options(), op="branch")
    assert tap.bytes_of() == series(branch)
    assert branch.content_hash() == run.branch(t, n_steps=14, **more).content_hash()


@pytest.mark.parametrize("n", [1, 3, 5, 6, 23])
def test_a_run_that_goes_on_hands_over_its_new_states_only(n):
    run, tap = tapped(None, n=n), Kept()
    longer = Run(
        go_on(run._recording, replace(longer_plan(run._trajectory, 40, 1), tap=tap)),
        run._trajectory.step,
        run._trajectory.metrics,
    )
    assert tap.bytes_of(n) == series(longer, n) and len(tap.firsts) == 40 // BLOCK - n // BLOCK


# ---- one that ends early


@pytest.mark.parametrize("call", range(0, N - 1))
@pytest.mark.parametrize("error", [Enough(), KeyboardInterrupt()], ids=["raised", "Ctrl-C"])
def test_the_finished_part_of_a_sweep_that_ends_early_is_handed_over(call, error):
    tap = Kept()
    with pytest.raises((rewind.StepError, rewind.RecordingInterrupted)) as caught:
        tapped(tap, at_call(noisy, call, error))
    run = caught.value.run
    assert tap.bytes_of() == series(run) and not run.complete
    assert run.content_hash() == stopped_without_a_tap(call, error).content_hash()


def stopped_without_a_tap(call, error):
    with pytest.raises((rewind.StepError, rewind.RecordingInterrupted)) as caught:
        tapped(None, at_call(noisy, call, error))
    return caught.value.run


def failing_from(t, problem):
    """A step that raises each time it is at step `t`: what is finished can be run again up to there."""

    def step(x, rng):
        if x[0] == t:
            return problem()
        return [x[0] + 1.0, normal(rng)]

    return step


def unkeepable():
    return lambda: None


def boom():
    raise Enough


@pytest.mark.parametrize("t", [0, 3, 4, 5, 13, 21])
@pytest.mark.parametrize("problem", [boom, unkeepable])
def test_so_is_what_there_is_of_the_block_under_way(t, problem):
    tap = Kept()
    with pytest.raises((rewind.StepError, rewind.StateError, rewind.MetricError)) as caught:
        tapped(tap, failing_from(t, problem), [0.0, 0.0], observe={"x": lambda x: x})
    if problem is boom:
        assert len(caught.value.run) == t + 1
    assert tap.bytes_of() == series(caught.value.run)


@pytest.mark.parametrize("t", [3, 4, 5, 6, 22])
def test_a_metric_that_fails_ends_it_with_what_it_gave(t):
    def metric(x):
        return x[0] if x[0] < t else "no number"

    tap = Kept()
    with pytest.raises(rewind.MetricError) as caught:
        tapped(tap, failing_from(-1, boom), [0.0, 0.0], observe={"x": metric})
    assert tap.bytes_of() == series(caught.value.run)


def test_a_block_that_is_refused_by_the_self_check_is_not_handed_over():
    hidden, tap = [], Kept()

    def step(x, rng):
        hidden.append(x)
        return x + 1 + (len(hidden) if x > 11 else 0)

    with pytest.raises(rewind.NondeterministicStepError) as caught:
        tapped(tap, step, self_check=True, observe={"x": None})
    assert len(caught.value.run) == 11 and tap.bytes_of() == series(caught.value.run)


@pytest.mark.parametrize("done", [5, 10, 23])
def test_a_report_that_raises_costs_no_state(done):
    def report(now, block):
        if now == done:
            raise Enough

    tap = Kept()
    plan, row = make_plan(noisy, 0.0, N, 5, Options(block_size=BLOCK, observe=OBSERVE))
    with pytest.raises(Stopped) as caught:
        sweep(replace(plan, tap=tap), row, report)
    run = Run(caught.value.recording, plan.step, plan.metrics)
    assert tap.bytes_of() == series(run) and len(run) == min(done, 20) + 1


@pytest.mark.parametrize("to_disk", [False, True])
@pytest.mark.parametrize("error", [Enough, KeyboardInterrupt])
@pytest.mark.parametrize("call", [1, 2, 5])
def test_one_that_raises_ends_the_sweep_and_is_not_called_again(call, error, to_disk, tmp_path):
    tap, path = Kept(call, error), tmp_path / "run.replay" if to_disk else None
    with pytest.raises((Enough, rewind.RecordingInterrupted)) as caught:
        tapped(tap, path=path)
    run = caught.value.run
    assert len(tap.firsts) == call and len(run) == min(call * BLOCK, N) and not run.complete
    assert tap.bytes_of() == series(run)
    if path:
        loaded = rewind.load(path, noisy)
        assert loaded.content_hash() == run.content_hash() if call < 5 else len(loaded) >= 21
        assert rewind.resume(path, noisy, observe=OBSERVE).content_hash() == tapped(None).content_hash()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="errors have no notes")
def test_one_that_raises_at_the_end_of_what_is_finished_does_not_hide_why_that_ended():
    tap = Kept(2)
    with pytest.raises(rewind.StepError) as caught:
        tapped(tap, at_call(noisy, 7, Enough()))
    assert "Enough: tap" in caught.value.__notes__[0] and tap.bytes_of() == series(caught.value.run)


@pytest.mark.parametrize("n", [3, 8, 10])
def test_a_run_that_goes_on_and_is_stopped_at_once_keeps_what_was_there(n):
    run, tap = tapped(None, n=n), Kept()
    halting = at_call(noisy, 2 * (n % BLOCK or BLOCK), KeyboardInterrupt())
    plan = longer_plan(run._trajectory, 40, 1)
    plan = replace(plan, tap=tap, step=type(plan.step)(halting, {}))
    with pytest.raises((Stopped, KeyboardInterrupt)) as caught:
        go_on(run._recording, plan)
    if isinstance(caught.value, Stopped):
        assert caught.value.recording.n_steps == n + sum(len(given) for _, given in tap.values.get("x", ()))


CALL = next(i for i, line in enumerate(inspect.getsource(handover).split("\n"), 1) if "self._tap(first" in line)


def test_ctrl_c_before_any_line_of_the_sweep_leaves_neither_more_nor_less():
    codes = {f.__code__ for f in (*vars(Sweep).values(), *vars(Handover).values()) if hasattr(f, "__code__")}
    state = {"left": 0, "line": None}

    def trace(frame, event, arg):
        if frame.f_code not in codes:
            return None
        if event == "line":
            state["left"] -= 1
            if state["left"] == 0:
                state["line"] = frame.f_lineno if frame.f_code is Handover.give.__code__ else None
                raise KeyboardInterrupt
        return trace

    plan, row = make_plan(noisy, 0.0, 8, 5, Options(block_size=3, observe=OBSERVE))
    for n in range(1, 1000):
        state["left"], tap, before = n, Kept(), sys.gettrace()
        sys.settrace(trace)
        try:
            run_plan(Run, replace(plan, tap=tap), row, Options())
        except rewind.RecordingInterrupted as error:
            run = error.run
        except KeyboardInterrupt:  # before there was a state
            assert not tap.firsts
            continue
        else:
            break
        finally:
            sys.settrace(before)
        given, found = tap.bytes_of(), series(run)
        if state["line"] == CALL:  # within the call, as far as anybody knows
            assert all(found[name].startswith(part) for name, part in given.items())
        else:
            assert given == found, n
    assert 60 < n < 999
