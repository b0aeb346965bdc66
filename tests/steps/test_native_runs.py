"""Runs of native steps, from one end to the other: the same bytes as the run of the same step in Python."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from helpers.native_steps import (
    AGENT,
    CASES,
    address_of,
    agents,
    capsule,
    cells,
    drift,
    every_case,
    own,
    raw,
    ring,
    walk,
)

import rewind

# NaN stays NaN, and an empty array what it is.
pytestmark = pytest.mark.filterwarnings("ignore::rewind.UnchangedStateWarning")

ROOT = pathlib.Path(rewind.__file__).parents[1]
SIZES = [(1, 1), (2, 1), (7, 7), (8, 7), (50, 7), (400, 20), (401, 400)]


def python_step(example):
    """The step of a case as record() wants it: with its params."""
    functions = {"drift": drift, "drift_block": drift}
    function = functions.get(example.name)
    return function if function is not None else lambda state, rng: example.step(state, rng)


def both(library, example, n_steps, block_size, **more):
    """Record a case by its native step and by its Python one."""
    more = {"block_size": block_size, "backend": "numpy", "params": example.params, **more}
    step = rewind.native_step(getattr(library, example.name))
    with np.errstate(over="ignore"):
        expected = rewind.record(python_step(example), own(example.state), n_steps, 7, **more)
    return rewind.record(step, own(example.state), n_steps, 7, **more), expected


def same(ours, theirs):
    """Whether two states are of one type and one value, byte for byte."""
    return type(ours) is type(theirs) and raw(ours) == raw(theirs)


# ---- the same run


@every_case
@pytest.mark.parametrize("n_steps, block_size", SIZES)
def test_a_native_run_is_the_run_of_the_same_step_in_python(library, example, n_steps, block_size):
    run, expected = both(library, example, n_steps, block_size)
    assert run.content_hash() == expected.content_hash()
    for t in {0, n_steps // 2, n_steps - 1, min(n_steps - 1, block_size), *range(0, n_steps, 13)}:
        assert same(run.get(t), expected.get(t))
    assert run.verify(full=True) and expected.verify(full=True)


@every_case
def test_going_on_going_back_and_iterating_give_the_same_states(library, example):
    run, expected = both(library, example, 60, 8)
    forward = [run.get(t) for t in range(60)]
    backward = [run.get(t) for t in reversed(range(60))][::-1]
    for states in (forward, backward, list(run), list(run[0:60:1]), [run[t] for t in range(60)]):
        assert all(same(ours, theirs) for ours, theirs in zip(states, expected, strict=True))


def test_what_a_user_gets_is_theirs(library):
    init = np.arange(5.0)
    run = rewind.record(rewind.native_step(library.ring), init, 50, 7, backend="numpy")
    assert init.tolist() == [0, 1, 2, 3, 4]
    before = run.get(20).copy()
    state = run.get(20)
    state[:] = -1
    run.get(21)[:] = -1
    assert same(run.get(20), before) and run.verify(full=True)


def test_the_block_function_gives_the_same_run(library):
    one, many = (
        rewind.record(rewind.native_step(f), 0.5, 1000, 7, backend="numpy", params={"pull": 0.9, "width": 1.0})
        for f in (library.drift, library.drift_block)
    )
    assert one.content_hash() == many.content_hash()


def test_the_default_block_size_is_that_of_any_run(library):
    run = rewind.record(rewind.native_step(library.walk), 0, 10_000, 7, backend="numpy")
    assert (run.block_size, type(run.get(9_999))) == (100, int)


# ---- metrics


@pytest.mark.parametrize("name", ["drift", "walk", "ring", "cells"])
def test_statistics_of_the_state_are_those_of_the_python_run(library, name):
    for example in (case for case in CASES if case.name == name):
        run, expected = both(library, example, 300, 17, observe={"x": None})
        assert run.content_hash() == expected.content_hash()
        for ours, theirs in (
            (run.observed["x"], expected.observed["x"]),
            (run.stats(), expected.stats()),
            (run.stats(start=10, stop=200), expected.stats(start=10, stop=200)),
        ):
            assert ours == theirs or np.isnan(theirs.mean).any()
        assert run.verify(full=True)


def test_metrics_in_python_see_every_state(library):
    run, expected = both(library, CASES[8], 200, 17, observe={"first": lambda x: x[0], "sum": lambda x: float(x.sum())})
    assert run.content_hash() == expected.content_hash()
    assert run.series(lambda x: x[3]).tobytes() == expected.series(lambda x: x[3]).tobytes()


def test_structs_are_observed_by_their_fields(library):
    run, expected = both(library, CASES[12], 60, 7, observe={"x": "x", "hits": "hits"})
    assert run.content_hash() == expected.content_hash()


# ---- branches, extension, files


def test_branches_and_extensions_are_those_of_the_python_run(library):
    for name in ("drift", "walk", "cells"):
        example = next(case for case in CASES if case.name == name)
        run, expected = both(library, example, 100, 9)
        kinds = {"seed": {"seed": 3}, "same": {"noise": "same"}, "fresh": {}, "long": {"n_steps": 150}}
        for arguments in kinds.values():
            ours, theirs = run.branch(42, **arguments), expected.branch(42, **arguments)
            assert same(ours.get(len(ours) - 1), theirs.get(len(theirs) - 1))
            assert ours.verify(full=True)
        assert run.extend(175).content_hash() == expected.extend(175).content_hash()
        assert run.branch(42, noise="same").extend(200).verify(full=True)
        longer = rewind.record(rewind.native_step(getattr(library, name)), own(example.state), 175, 7,
                               backend="numpy", block_size=9, params=example.params)  # fmt: skip
        assert run.extend(175).content_hash() == longer.content_hash()


def test_params_reach_the_function_in_whatever_order_they_are_written(library, tmp_path):
    step = rewind.native_step(library.drift)
    one = rewind.record(step, 0.5, 100, 7, backend="numpy", params={"pull": 0.5, "width": 2.0})
    other = rewind.record(step, 0.5, 100, 7, backend="numpy", params={"width": 2.0, "pull": 0.5})
    assert list(one) == list(other) and one.content_hash() == other.content_hash()
    other.save(tmp_path / "run.replay")
    loaded = rewind.load(tmp_path / "run.replay", step)
    assert list(loaded) == list(one) and loaded.verify(full=True)
    assert list(loaded.branch(10, params={"pull": 0.9})) == list(one.branch(10, params={"pull": 0.9}))


def test_a_branch_may_change_state_and_params(library):
    step = rewind.native_step(library.drift)
    run = rewind.record(step, 0.5, 100, 7, backend="numpy", params={"pull": 0.5, "width": 1.0})
    child = run.branch(50, mutate=lambda x: x + 10.0, params={"pull": 0.9})
    expected = rewind.record(drift, 0.5, 100, 7, backend="numpy", params={"pull": 0.5, "width": 1.0})
    expected = expected.branch(50, mutate=lambda x: x + 10.0, params={"pull": 0.9})
    assert child.get(49) == expected.get(49) and child.params == {"pull": 0.9, "width": 1.0}
    with pytest.raises(rewind.StateError, match="this run's native step takes a float"):
        run.branch(50, mutate=lambda x: int(x))


def test_a_file_goes_from_native_to_python_and_back(library, tmp_path):
    for name, step in (("drift", drift), ("walk", walk), ("ring", ring), ("cells", cells), ("agents", agents)):
        example = next(case for case in CASES if case.name == name)
        native = rewind.native_step(getattr(library, name))
        run = rewind.record(native, own(example.state), 200, 7, backend="numpy")
        run.save(tmp_path / f"{name}.replay")
        for loader in (native, step):
            with pytest.warns(rewind.StepSourceWarning) if loader is step else contextlib.nullcontext():
                loaded = rewind.load(tmp_path / f"{name}.replay", loader)
            assert loaded.content_hash() == run.content_hash()
            assert same(loaded.get(137), run.get(137)) and loaded.verify(full=True)
        assert rewind.load(tmp_path / f"{name}.replay").metadata()["step"]["id"] == f"steps.so:{name}"


def test_a_run_of_a_named_step_is_pickled(cysteps):
    step = rewind.native_step(("cysteps", "ou"))
    run = rewind.record(step, 0.5, 100, 7, backend="numpy", params={"pull": 0.5, "width": 1.0})
    again = pickle.loads(pickle.dumps(run))
    assert again.get(77) == run.get(77) and again.verify(full=True)


def test_a_run_of_a_nameless_step_says_that_it_cannot_be_pickled(library):
    run = rewind.record(rewind.native_step(library.drift), 0.5, 100, 7, backend="numpy")
    with pytest.raises(pickle.PicklingError, match="native_step"):
        pickle.dumps(run)


@pytest.mark.once
def test_both_kernels_give_one_hash(library, built):
    script = f"""
        import ctypes, rewind
        library = ctypes.CDLL({str(built)!r})
        library.drift.argtypes = [ctypes.c_void_p] * 3
        run = rewind.record(rewind.native_step(library.drift), 0.5, 500, 7, backend="numpy", observe={{"x": None}})
        assert run.verify(full=True)
        print(rewind.kernel_name, run.content_hash())
    """
    hashes = set()
    for kernel in ("compiled", "python") if rewind.kernel_name == "compiled" else ("python",):
        environment = {**os.environ, "REWIND_KERNEL": kernel, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[0] == kernel
        hashes.add(done.stdout.split()[1])
    assert len(hashes) == 1


def from_ctypes(library, built):
    return library.drift


def from_capsule(library, built):
    return capsule(address_of(library.drift))


def from_scipy(library, built):
    return pytest.importorskip("scipy").LowLevelCallable(library.drift)


def from_cffi(library, built):
    ffi = pytest.importorskip("cffi").FFI()
    ffi.cdef("typedef struct bitgen bitgen_t; int drift(void *state, bitgen_t *rng, const void *params);")
    return ffi.dlopen(str(built)).drift


@pytest.mark.parametrize("make", [from_ctypes, from_capsule, from_scipy, from_cffi])
def test_every_source_gives_the_same_run(library, built, make):
    params = {"pull": 0.5, "width": 1.0}
    expected = rewind.record(drift, 0.5, 300, 7, backend="numpy", params=params)
    run = rewind.record(rewind.native_step(make(library, built)), 0.5, 300, 7, backend="numpy", params=params)
    assert run.content_hash() == expected.content_hash() and run.verify(full=True)


def test_a_cython_step_draws_with_numpys_distributions(cysteps):
    params = {"pull": 0.9, "width": 2.0}

    def ou(x, rng, pull, width):
        return x * pull + width * rng.standard_normal()

    expected = rewind.record(ou, 0.5, 300, 7, backend="numpy", params=params)
    for name in ("ou", "ou_block"):
        run = rewind.record(rewind.native_step(("cysteps", name)), 0.5, 300, 7, backend="numpy", params=params)
        assert run.content_hash() == expected.content_hash() and run.verify(full=True)


def test_a_numba_cfunc_is_a_native_step():
    numba = pytest.importorskip("numba")

    @numba.cfunc(numba.types.int32(numba.types.CPointer(numba.int64), numba.types.voidptr, numba.types.voidptr))
    def triple(state, rng, params):
        state[0] = 3 * state[0] + 1
        return 0

    run = rewind.record(rewind.native_step(triple), 1, 30, 7, backend="numpy")
    assert run.get(29) == (3**30 - 1) // 2 and run.verify(full=True)


# ---- what goes wrong


@pytest.mark.parametrize("name", ["bounded", "bounded_block"])
@pytest.mark.parametrize("observe", [None, {"x": None}])
def test_a_step_that_fails_ends_the_recording_there(library, name, observe):
    step = rewind.native_step(getattr(library, name))
    with pytest.raises(rewind.StepError, match="step_fn raised NativeStepError at step") as caught:
        rewind.record(step, 0, 5000, 7, backend="numpy", params={"limit": 12}, block_size=50, observe=observe)
    t, run = caught.value.t, caught.value.run
    assert t > 50 and run.get(t) == 12 and len(run) == t + 1 and all(x < 12 for x in run[:t])
    assert run.verify(full=True)


def test_an_exception_of_a_cython_step_ends_the_recording_there(cysteps):
    with pytest.raises(rewind.StepError, match="step_fn raised ValueError at step 41: it is 42") as caught:
        rewind.record(rewind.native_step(("cysteps", "raises")), 0, 1000, 7, backend="numpy", block_size=10)
    assert caught.value.run.get(41) == 41


def test_hidden_state_is_found(library):
    step = rewind.native_step(library.counting)
    with pytest.raises(rewind.NondeterministicStepError, match="this is the first step that differs"):
        rewind.record(step, 0.0, 100, 7, backend="numpy")
    run = rewind.record(step, 0.0, 100, 7, backend="numpy", trial=False)
    with pytest.raises(rewind.NondeterministicReplayError, match="this is the first step that differs"):
        run.verify()
    with pytest.raises(rewind.NondeterministicReplayError):
        run.verify(full=True)
    with pytest.raises(rewind.NondeterministicStepError):
        rewind.record(step, 0.0, 100, 7, backend="numpy", self_check=True, trial=False)


def test_self_check_passes_where_it_should(library):
    for example in CASES:
        run, expected = both(library, example, 60, 7, self_check=True)
        assert run.content_hash() == expected.content_hash()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers for signals on this system")
@pytest.mark.parametrize("name", ["drift", "drift_block"])
def test_ctrl_c_keeps_the_finished_blocks(library, name):
    step = rewind.native_step(getattr(library, name))
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(rewind.RecordingInterrupted) as caught:
            rewind.record(step, 0.5, 10**12, 7, backend="numpy", block_size=10_000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    run = caught.value.run
    assert len(run) > 10_000
    assert run.verify()


def test_progress_is_told(library):
    told = []
    step = rewind.native_step(library.drift)
    rewind.record(step, 0.5, 100_000, 7, backend="numpy", progress=told.append)
    assert told and told[-1].done == 100_000


def test_the_door_refuses_what_no_native_step_takes(library):
    step = rewind.native_step(library.drift)
    with pytest.raises(rewind.StateError, match="a form no native step takes"):
        rewind.record(step, {"x": 1.0}, 100, 7, backend="numpy")
    with pytest.raises(rewind.RewindError, match="backend"):
        rewind.record(step, 0.5, 100, 7)
    with pytest.raises(rewind.ArgumentTypeError, match=r"params\['name'\] is 'x'"):
        rewind.record(step, 0.5, 100, 7, backend="numpy", params={"name": "x"})
    with pytest.raises(rewind.StateError, match="leave codec out"):
        rewind.record(step, 0.5, 100, 7, backend="numpy", codec=(lambda x: x, lambda x: x))
    run = rewind.record(step, 0.5, 100, 7, backend="numpy")
    with pytest.raises(rewind.ArgumentTypeError, match=r"params\['name'\]"):
        run.branch(5, params={"name": "x"})


def test_thinned_and_lead_runs_are_native_too(library):
    """A branch with its parent's noise begins inside a block."""
    for example in (CASES[0], CASES[8], CASES[12]):
        run, expected = both(library, example, 200, 16)
        for t in (1, 15, 16, 17, 100):
            ours, theirs = run.branch(t, noise="same"), expected.branch(t, noise="same")
            assert same(ours.get(len(ours) - 1), run.get(199)) and same(ours.get(3), theirs.get(3))
            assert ours.verify(full=True)


def test_agents_keep_no_padding(library):
    run = rewind.record(rewind.native_step(library.agents), np.zeros(2, AGENT), 100, 7, backend="numpy")
    state = run.get(80)
    assert state.dtype == AGENT and state["flag"].view("u1").max() <= 1
