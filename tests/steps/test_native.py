"""Native steps: C functions from every source, and the loops that run them, against the same steps in Python."""

from __future__ import annotations

import copy
import ctypes
import importlib
import inspect
import os
import pathlib
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.native_steps import (
    AGENT,
    CASES,
    POINTERS,
    SOURCES,
    address_of,
    capsule,
    case,
    compiler,
    drift,
    every_case,
    includes,
    own,
    raw,
    walk,
)
from helpers.plain import rng_of_block
from hypothesis import given
from hypothesis import strategies as st

from rewind.errors import ArgumentError, ArgumentTypeError, StateError, StepError
from rewind.state.checkpoints import stack
from rewind.state.codec import StateCodec
from rewind.steps import native as engine
from rewind.steps.memory import Form, form_of, packed_params, rows_of, table
from rewind.steps.native import NativeStep, native_step

pytestmark = pytest.mark.once

HERE = pathlib.Path(__file__).parents[1] / "helpers"
SEED = 20_240_229


def plain(example, state, rng, n):
    """Return the states after 0 to `n` steps, each a copy."""
    state = copy.deepcopy(state)
    states = [copy.deepcopy(state)]
    with np.errstate(over="ignore"):
        for _ in range(n):
            state = example.step(state, rng)
            states.append(copy.deepcopy(state))
    return states


def loop_of(native, library, example, **more):
    step = native_step(getattr(library, example.name))
    form = form_of(StateCodec.of(example.state), example.state)
    params = packed_params(example.params)
    return native.NativeLoop(step.address, per_block=step.per_block, form=form, params=params, keep=step, **more)


def blocks_of(native, seed=SEED, backend="numpy"):
    core = importlib.import_module("rewind._core" if native.__name__.endswith("_native") else "rewind.kernel.core")
    return core.BlockRng(seed, backend)


# ---- advance


@every_case
@pytest.mark.parametrize("n", [0, 1, 2, 15, 16, 17, 255, 257, 1000])
def test_advance_is_the_plain_loop(native, library, example, n):
    loop, rng, theirs = loop_of(native, library, example), blocks_of(native).start(3), rng_of_block(SEED, 3, "numpy")
    got = loop.advance(own(example.state), rng, n, 0)
    expected = plain(example, example.state, theirs, n)[-1]
    assert type(got) is type(expected) and raw(got) == raw(expected)
    assert rng.bit_generator.state == theirs.bit_generator.state


def test_advance_goes_on_where_it_stopped(native, library):
    example = CASES[0]
    loop, rng = loop_of(native, library, example), blocks_of(native).start(0)
    state = example.state
    for n in [1] * 40 + [7, 300, 5000, 1]:
        state = loop.advance(state, rng, n, 0)
    assert state == plain(example, example.state, rng_of_block(SEED, 0, "numpy"), 5348)[-1]


def test_arrays_are_changed_in_place_and_other_states_are_new(native, library):
    for example in CASES:
        state = own(example.state)
        got = loop_of(native, library, example).advance(state, blocks_of(native).start(0), 3, 0)
        assert (got is state) == isinstance(state, np.ndarray)


def test_params_are_slots_of_eight_bytes(native, library):
    params = {"a": 0.5, "n": -3, "flag": True, "list": [1.25, 2.5, 4.0]}
    example = case("add_mixed", None, 1.0)
    example.params = params
    got = loop_of(native, library, example).advance(1.0, blocks_of(native).start(0), 2, 0)
    rng, total = rng_of_block(SEED, 0, "numpy"), 0.5 - 3.0 + 1.0 + 1.25 + 2.5 + 4.0
    assert got == 1.0 + total * rng.random() + total * rng.random()


def test_any_generator_will_do(native, library):
    loop = loop_of(native, library, CASES[0])
    for bits in (np.random.Philox, np.random.SFC64, np.random.MT19937, np.random.PCG64DXSM):
        ours, theirs = np.random.Generator(bits(5)), np.random.Generator(bits(5))
        assert loop.advance(0.5, ours, 100, 0) == plain(CASES[0], 0.5, theirs, 100)[-1]


def test_what_is_no_generator_is_refused(native, library):
    loop = loop_of(native, library, CASES[0])
    for rng in (random.Random(1), None, np.random.RandomState(1), 7):
        with pytest.raises(ArgumentTypeError, match="rng is .*expected a numpy.random.Generator.*backend='numpy'"):
            loop.advance(0.5, rng, 1, 0)


WRONG = [
    (0.5, [0, np.float64(0.5), np.array(0.5), None, "x", True]),
    (0, [0.5, True, 1 << 63, -(1 << 63) - 1, np.int64(0)]),
    (np.float64(0.5), [0.5, np.float32(0.5), np.array(0.5)]),
    (
        np.zeros((3, 2)),
        [
            np.zeros((2, 3)),
            np.zeros(6),
            np.zeros((3, 2), np.int64),
            np.zeros((3, 2), ">f8"),
            np.asfortranarray(np.zeros((3, 2))),
            np.zeros((6, 2))[::2],
            np.zeros((3, 2)).tolist(),
            np.ma.zeros((3, 2)),
        ],
    ),
]


@pytest.mark.parametrize("init, wrong", [(init, wrong) for init, wrongs in WRONG for wrong in wrongs])
def test_a_state_of_another_form_is_refused(native, library, init, wrong):
    form = form_of(StateCodec.of(init), init)
    step = native_step(library.drift)
    loop = native.NativeLoop(step.address, per_block=False, form=form, params=b"", keep=step)
    with pytest.raises(StateError, match="the state has become .*, and this run's native step takes "):
        loop.advance(wrong, blocks_of(native).start(0), 1, 0)


def test_a_state_that_may_not_be_written_is_refused(native, library):
    state = np.zeros(5)
    state.setflags(write=False)
    with pytest.raises(StateError, match="read-only"):
        loop_of(native, library, CASES[8]).advance(state, blocks_of(native).start(0), 1, 0)
    assert not state.any()


# ---- failures


def bounded(native, library, limit, name="bounded", **more):
    example = case(name, walk, 0, limit=limit)
    return loop_of(native, library, example, **more)


def first_at(limit, j=0):
    """Return the first step whose state is `limit`."""
    rng, state, t = rng_of_block(SEED, j, "numpy"), 0, 0
    while state < limit:
        state, t = walk(state, rng), t + 1
    return t


@pytest.mark.parametrize("name", ["bounded", "bounded_block"])
@pytest.mark.parametrize("limit", [0, 1, 3, 60])
def test_a_failing_step_is_named(native, library, name, limit):
    t = first_at(limit)
    code = 7 if name == "bounded" else None
    loop = bounded(native, library, limit, name)
    for n in (t + 1, t + 2, t + 1000):
        with pytest.raises(StepError, match=f"step_fn raised NativeStepError at step {100 + t}: ") as caught:
            loop.advance(0, blocks_of(native).start(0), n, 100)
        assert caught.value.t == 100 + t
        assert code is None or caught.value.__cause__.code == code
    if t:
        assert loop.advance(0, blocks_of(native).start(0), t, 100) == limit


def test_a_failure_is_explained_by_the_state_and_the_rng_before_it(native, library):
    t, seen = first_at(5), []

    def explain(code, state, rng):
        seen.append((code, state, rng.random()))
        if len(seen) == 1:
            return ValueError("too far")
        if len(seen) == 2:
            raise KeyError("raised")
        return None

    loop = bounded(native, library, 5, explain=explain)
    for error in ("ValueError", "KeyError", "NativeStepError"):
        with pytest.raises(StepError, match=f"raised {error} at step {t}") as caught:
            loop.advance(0, blocks_of(native).start(0), 10_000, 0)
        assert type(caught.value.__cause__).__name__ == error
    rng = rng_of_block(SEED, 0, "numpy")
    for _ in range(t):
        walk(0, rng)
    assert seen == [(7, 5, rng.random())] * 3


def test_the_explained_state_of_an_array_is_the_one_before_the_step(native, library):
    example = case("bounded", walk, np.zeros(1, np.int64), limit=2)
    seen = []
    for bits in (np.random.PCG64, np.random.SFC64):
        explain = lambda code, state, rng: seen.append((state.copy(), rng.random()))  # noqa: E731
        loop = loop_of(native, library, example, explain=explain)
        rng, theirs = np.random.Generator(bits(1)), np.random.Generator(bits(1))
        with pytest.raises(StepError) as caught:
            loop.advance(np.zeros(1, np.int64), rng, 100_000, 0)
        for _ in range(caught.value.t):
            walk(0, theirs)
        assert seen.pop() == (np.array([2]), theirs.random())


def test_an_exception_of_a_cython_step_arrives(native, cysteps):
    step = native_step(("cysteps", "raises"))
    for init in (0, np.int64(0), np.array(0)):
        form = form_of(StateCodec.of(init), init)
        loop = native.NativeLoop(step.address, per_block=False, form=form, params=b"", keep=step)
        with pytest.raises(StepError, match="step_fn raised ValueError at step 41: it is 42") as caught:
            loop.advance(own(init), blocks_of(native).start(0), 100, 0)
        assert isinstance(caught.value.__cause__, ValueError)
        out = np.zeros((10, 8), np.uint8)
        assert loop.sweep(own(init), blocks_of(native), 0, 10, 10, out) == (4, 40)
        states = np.arange(0, 60, 10).view(np.uint8).reshape(6, 8)
        assert loop.check(states, blocks_of(native), 0, 10, np.full(5, 1), np.full(5, 1)) == 4
        assert loop.trace(states[4], blocks_of(native), 0, 10, 1000) == 2


# ---- observe


@every_case
def test_observe_gives_the_numbers_of_every_state(native, library, example):
    form = form_of(StateCodec.of(example.state), example.state)
    loop = loop_of(native, library, example)
    for n_states, n_steps in [(1, 0), (1, 1), (300, 300), (301, 300), (1000, 999)]:
        out = np.full((n_states, max(form.width, 1)), -1.0)
        rng, theirs = blocks_of(native).start(2), rng_of_block(SEED, 2, "numpy")
        if not form.width:
            with pytest.raises(ValueError, match="not as wide"):
                loop.observe(own(example.state), rng, n_states, n_steps, 0, out)
            return
        got = loop.observe(own(example.state), rng, n_states, n_steps, 0, out)
        states = plain(example, example.state, theirs, n_steps)
        assert raw(got) == raw(states[-1])
        expected = np.array([np.asarray(state).reshape(-1) for state in states[:n_states]], np.float64)
        assert out.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])
def test_any_number_is_observed_as_a_double(native, library, dtype):
    edges = np.arange(16, dtype="u1") * 17
    state = np.frombuffer(np.tile(edges, 8).tobytes() + b"\0\x80\0\x7c\0\xfc\1\0" * 2, dtype)
    state = (state.view("u1") % 2).view("?") if dtype == "?" else state
    for array in (state.copy(), np.asfortranarray(state.reshape(2, -1))):
        form = form_of(StateCodec.of(array), array)
        step = native_step(library.drift)
        loop = native.NativeLoop(step.address, per_block=False, form=form, params=b"", keep=step)
        out = np.zeros((1, array.size))
        loop.observe(own(array), blocks_of(native).start(0), 1, 0, 0, out)
        expected = array.reshape(1, -1).astype(np.float64)
        assert np.array_equal(out, expected, equal_nan=True)
        assert np.array_equal(np.signbit(out), np.signbit(expected)) or dtype == "f2"


def test_a_step_that_fails_while_observed_is_named(native, library):
    t, seen = first_at(5), []
    out = np.zeros((t + 100, 1))
    loop = bounded(native, library, 5, explain=lambda *facts: seen.append(facts[:2]))
    with pytest.raises(StepError) as caught:
        loop.observe(0, blocks_of(native).start(0), t + 100, t + 100, 30, out)
    assert caught.value.t == 30 + t and seen == [(7, 5)]


def test_a_native_observer_does_all_of_it(native, library):
    address = ctypes.cast(library.observed, ctypes.c_void_p).value
    seen = []

    def explain(code, state, rng):
        seen.append((code, state))
        return ArgumentError("state", state, "another") if code < 0 else None

    step = native_step(library.drift)
    form = form_of(StateCodec.of(0.5), 0.5)
    loop = native.NativeLoop(
        step.address, per_block=False, form=form, params=b"", observed=address, keep=step, explain=explain
    )
    rng = blocks_of(native).start(0)
    out = np.zeros((6, 2))
    assert loop.observe(1.0, rng, 6, 5, 0, out) == 6.0
    assert out.tolist() == [[x, x * x] for x in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)]
    assert loop.observe(1.0, rng, 6, 6, 0, out) == 7.0
    with pytest.raises(StepError, match="at step 107: "):
        loop.observe(-0.0, rng, 9, 9, 100, np.zeros((9, 2)))
    # State -1 is the second: what explain makes of a negative code is no fault of the step.
    with pytest.raises(ArgumentError, match="state is -1.0"):
        loop.observe(-1.0, rng, 9, 9, 100, np.zeros((9, 2)))
    assert [(code > 0, state) for code, state in seen] == [(True, 0.5 * 0 + seen[0][1]), (False, -1.0)]


@pytest.mark.parametrize(
    "out",
    [np.zeros((3, 2)), np.zeros((2, 1)), np.zeros(3), np.zeros((3, 1), np.float32), np.zeros((6, 1))[::2], [[0.0]] * 3],
)
def test_an_array_of_another_shape_is_no_place_to_write_to(native, library, out):
    loop = loop_of(native, library, CASES[0])
    with pytest.raises(ValueError):
        loop.observe(0.5, blocks_of(native).start(0), 3, 3, 0, out)
    with pytest.raises(ValueError):
        loop.sweep(0.5, blocks_of(native), 0, 10, 3, out)


# ---- sweep


def swept(native, library, example, block_size, n_blocks, stream=0):
    """Return the rows of whole blocks, state 0 first, and the state after them."""
    loop, blocks = loop_of(native, library, example), blocks_of(native)
    form, codec = form_of(StateCodec.of(example.state), example.state), StateCodec.of(example.state)
    rows = np.full((n_blocks + 1, form.itemsize), 0xEE, np.uint8)
    rows[0] = table(form, stack(codec, [codec.encode(example.state)]))[0]
    state, k = codec.decode(codec.encode(example.state)), 0
    while k < n_blocks:
        done, state = loop.sweep(state, blocks, stream + k, block_size, n_blocks - k, rows[1 + k :])
        assert 0 < done <= n_blocks - k
        k += done
    return loop, form, codec, rows, state


@every_case
@pytest.mark.parametrize("block_size", [1, 7, 400])
def test_a_sweep_restores_and_goes_on_at_every_block(native, library, example, block_size):
    loop, form, codec, rows, state = swept(native, library, example, block_size, 9, stream=5)
    expected = [codec.encode(example.state)]
    for j in range(9):
        restored = codec.decode(expected[-1])
        expected.append(codec.encode(plain(example, restored, rng_of_block(SEED, 5 + j, "numpy"), block_size)[-1]))
    assert rows.tobytes() == table(form, stack(codec, expected)).tobytes()
    assert raw(state) == raw(codec.decode(expected[-1]))
    for ours, theirs in zip(rows_of(form, codec, rows), expected, strict=True):
        assert type(ours) is type(theirs) and codec.same(ours, theirs)


def test_nothing_leaks_through_padding_or_bools(native, library):
    example = CASES[12]
    loop, form, codec, rows, state = swept(native, library, example, 50, 4)
    mask = np.tile(np.frombuffer(form.mask, np.uint8), 2)
    assert len(form.mask) == AGENT.itemsize and 0 in mask and 2 in mask
    assert not rows[:, mask == 0].any()
    assert rows[:, mask == 2].max() == 1
    assert state.tobytes() == rows[-1].tobytes()


def test_a_sweep_stops_before_a_block_that_fails(native, library):
    limit, block_size = 40, 100
    loop, blocks, rng, state, rows = bounded(native, library, limit), blocks_of(native), None, 0, []
    while True:
        rng, before = rng_of_block(SEED, len(rows), "numpy"), state
        walked = [state := walk(state, rng) for _ in range(block_size)]
        if limit in walked[:-1]:
            break
        rows.append(state)
    out = np.zeros((len(rows) + 5, 8), np.uint8)
    done = state = 0
    while gone := loop.sweep(state, blocks, done, block_size, len(out) - done, out[done:])[0]:  # it looks at the clock
        done += gone
        state = int(out[done - 1].view(np.int64)[0])
    assert (done, state) == (len(rows), before)
    assert out[:done].view(np.int64).ravel().tolist() == rows
    assert loop.sweep(state, blocks, done, block_size, 5, out[:5]) == (0, state)
    with pytest.raises(StepError) as caught:
        loop.advance(state, blocks.start(done), block_size, done * block_size)
    assert caught.value.t == done * block_size + walked.index(limit) + 1


def test_a_sweep_comes_back_when_time_has_passed(native, library):
    example = case("slow", None, 0.0, rounds=60_000_000)
    out = np.zeros((3, 8), np.uint8)
    done, state = loop_of(native, library, example).sweep(0.0, blocks_of(native), 0, 1, 3, out)
    assert done == 1 and out[0].view(np.float64) == state > 0 and not out[1:].any()


def test_whole_blocks_need_the_numpy_backend(native, library):
    loop, blocks, row = loop_of(native, library, CASES[0]), blocks_of(native, backend="python"), np.zeros((2, 8), "u1")
    places = np.zeros(1, np.int64)
    for call in (
        lambda: loop.sweep(0.5, blocks, 0, 1, 2, row),
        lambda: loop.check(row, blocks, 0, 1, places, places),
        lambda: loop.trace(row[0], blocks, 0, 1, 100),
    ):
        with pytest.raises(ArgumentError, match="backend is 'python'; expected 'numpy'"):
            call()


# ---- check and trace


@every_case
def test_check_finds_the_block_that_was_changed(native, library, example):
    loop, form, codec, rows, _ = swept(native, library, example, 23, 8)
    blocks, reaches, falses = (
        blocks_of(native),
        np.array([0, 1, 5, 22, 23, 23, 7, 1]),
        np.array([1, 2, 3, 1, 0, 23, 3, 1]),
    )
    assert loop.check(rows, blocks, 0, 23, reaches, falses) == -1
    assert loop.check(rows[3:], blocks, 3, 23, reaches[3:], falses[3:]) == -1
    assert loop.check(rows[:1], blocks, 0, 23, reaches[:0], falses[:0]) == -1
    if not form.itemsize:
        return
    kept = np.flatnonzero(np.frombuffer(form.mask, np.uint8)) if form.mask else [0]
    for k in range(1, 9):
        changed = rows.copy()
        changed[k, kept[0]] ^= 1
        found = loop.check(changed, blocks, 0, 23, reaches, falses)
        assert found in (k - 1, k)  # the block that ends there, or the one that begins with it
        assert loop.check(changed[: k + 1], blocks, 0, 23, reaches[:k], falses[:k]) == k - 1


def test_check_and_trace_see_a_hidden_counter(native, library):
    example = case("counting", None, 0.0)
    loop, blocks = loop_of(native, library, example), blocks_of(native)
    rows = np.zeros((3, 8), np.uint8)
    loop.sweep(0.0, blocks, 0, 10, 2, rows[1:])
    assert loop.check(rows, blocks, 0, 10, np.array([4, 4]), np.array([1, 2])) == 1
    assert loop.trace(rows[0], blocks, 0, 10, 8000) == 1


def test_check_says_no_to_places_outside_a_block(native, library):
    loop, form, codec, rows, _ = swept(native, library, CASES[0], 10, 2)
    ok = np.array([1, 10])
    for bad in (np.array([1, 11]), np.array([-1, 1])):
        for reaches, falses in ((ok, bad), (bad, ok)):
            with pytest.raises(ValueError, match="outside its block"):
                loop.check(rows, blocks_of(native), 0, 10, reaches, falses)


@every_case
def test_trace_finds_nothing_where_replays_agree(native, library, example):
    loop, form, codec, rows, _ = swept(native, library, example, 30, 2)
    for room in (0, 1, form.itemsize, 10 * form.itemsize, 1 << 20):
        assert loop.trace(rows[1], blocks_of(native), 1, 30, room) == -1


def test_trace_names_a_step_that_fails(native, library):
    t = first_at(5)
    row = np.zeros(8, np.uint8)
    loop = bounded(native, library, 5)
    assert loop.trace(row, blocks_of(native), 0, t + 50, 1 << 20) == t + 1
    assert loop.trace(row, blocks_of(native), 0, t, 1 << 20) == -1


def test_two_threads_get_what_one_gets(native, library):
    loop, form, codec, rows, _ = swept(native, library, CASES[8], 50, 40)
    rows[17, 3] ^= 1
    reaches, falses = np.arange(40) % 50 + 1, np.arange(40) % 3 + 1

    def found(part):
        first, last = part
        return loop.check(rows[first : last + 1], blocks_of(native), first, 50, reaches[first:last], falses[first:last])

    parts = [(0, 8), (8, 16), (16, 24), (24, 40), (0, 40), (10, 20)] * 3
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(found, parts)) == list(map(found, parts)) == [-1, -1, 1, -1, 17, 7] * 3


def test_one_loop_serves_many_threads(native, library):
    example = CASES[0]
    loop = loop_of(native, library, example)
    expected = plain(example, 0.5, rng_of_block(SEED, 9, "numpy"), 3000)[-1]

    def go(_):
        rng, state = blocks_of(native).start(9), 0.5
        for _ in range(300):
            state = loop.advance(state, rng, 10, 0)
        return state

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(go, range(12))) == {expected}


# ---- signals and references


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers for signals on this system")
@pytest.mark.parametrize("name", ["drift", "drift_block"])
@pytest.mark.parametrize("method", ["advance", "observe", "check", "trace", "sweep"])
def test_long_calls_can_be_interrupted(native, library, name, method):
    example, n = case(name, None, 0.5), 10**12
    loop, blocks, row = loop_of(native, library, example), blocks_of(native), np.zeros((2, 8), np.uint8)
    calls = {
        "advance": lambda: loop.advance(0.5, blocks.start(0), n, 0),
        "observe": lambda: loop.observe(0.5, blocks.start(0), 10**7, 10**7, 0, np.zeros((10**7, 1))),
        "check": lambda: loop.check(row, blocks, 0, n, np.array([n]), np.array([1])),
        "trace": lambda: loop.trace(row[0], blocks, 0, 10**7, 10**8),
        "sweep": lambda: loop.sweep(0.5, blocks, 0, n, 2, row),
    }

    class Alarm(BaseException):
        pass

    def handler(number, frame):
        raise Alarm

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        with pytest.raises(Alarm):
            while True:
                calls[method]()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_no_reference_is_left_behind(native, library):
    state, rng = np.zeros(5), blocks_of(native).start(0)
    loop = loop_of(native, library, CASES[8])
    loop.advance(state, rng, 1, 0)
    before = sys.getrefcount(state), sys.getrefcount(rng)
    for n in [1, 20] * 500:
        loop.advance(state, rng, n, 0)
    assert (sys.getrefcount(state), sys.getrefcount(rng)) == before
    keep = SimpleNamespace()
    count = sys.getrefcount(keep)
    step = native_step(library.drift)
    form = form_of(StateCodec.of(0.5), 0.5)
    other = native.NativeLoop(step.address, per_block=False, form=form, params=b"", keep=keep)
    assert sys.getrefcount(keep) == count + 1
    del other
    assert sys.getrefcount(keep) == count


def test_packed_states_go_through_the_forms_own_functions(native, library):
    import struct

    def pack(state, buffer):
        struct.pack_into("d", buffer, 0, *state)

    form = Form("packed", 8, pack=pack, unpack=lambda buffer: struct.unpack("d", buffer), words="a tuple")
    step = native_step(library.drift)
    loop = native.NativeLoop(step.address, per_block=False, form=form, params=b"", keep=step)
    expected = plain(CASES[0], 0.5, rng_of_block(SEED, 1, "numpy"), 100)[-1]
    assert loop.advance((0.5,), blocks_of(native).start(1), 100, 0) == (expected,)
    out = np.zeros((1, 8), np.uint8)
    assert loop.sweep((0.5,), blocks_of(native), 1, 100, 1, out) == (1, (expected,))
    codec = StateCodec.of((0.5,))
    assert rows_of(form, codec, out)[0][0] == expected
    assert table(form, stack(codec, rows_of(form, codec, out))).tobytes() == out.tobytes()
    with pytest.raises(ValueError, match="size of its buffer"):
        form = Form("packed", 8, pack=lambda state, buffer: buffer.extend(b"x"), unpack=tuple)
        native.NativeLoop(step.address, per_block=False, form=form, params=b"").advance(
            (0.5,), blocks_of(native).start(1), 1, 0
        )


# ---- the surface of the twins


@pytest.mark.compiled
def test_twins_have_the_same_surface():
    compiled, python = (importlib.import_module(f"rewind.kernel.{name}") for name in ("_native", "native"))
    assert compiled.__all__ == python.__all__ == ["NativeLoop"]

    def surface(cls):
        methods = {name: f for name, f in vars(cls).items() if callable(f) and not name.startswith("_")}
        described = {name: inspect.getdoc(f) for name, f in methods.items()} | {"": inspect.getdoc(cls)}
        parameters = {name: list(inspect.signature(f).parameters) for name, f in methods.items()}
        own = [(p.name, p.kind, p.default) for p in inspect.signature(cls).parameters.values()]
        return described, parameters, own

    assert surface(compiled.NativeLoop) == surface(python.NativeLoop)


def test_the_stub_names_every_method():
    package = pathlib.Path(engine.__file__).parents[1] / "kernel"
    names = [re.findall(r"^    def (\w+)\(", (package / f).read_text(), re.M) for f in ("_native.pyi", "native.py")]
    assert names[0] == ["__init__"] + [name for name in names[1] if not name.startswith("_")]


# ---- where steps come from


def runs_drift(native, step, per_block=False):
    """Whether a step found somewhere is `drift`."""
    assert isinstance(step, NativeStep) and step.per_block == per_block
    form = form_of(StateCodec.of(0.5), 0.5)
    loop = native.NativeLoop(step.address, per_block=step.per_block, form=form, params=b"", keep=step)
    return (
        loop.advance(0.5, blocks_of(native).start(4), 50, 0)
        == plain(CASES[0], 0.5, rng_of_block(SEED, 4, "numpy"), 50)[-1]
    )


def test_a_step_from_a_ctypes_library(native, library, built):
    step = native_step(library.drift)
    assert runs_drift(native, step) and runs_drift(native, native_step(library.drift_block), per_block=True)
    assert (step.name, step.module, step.source) == ("drift", "steps.so", None)
    assert (step.__name__, step.__qualname__, step.__module__) == ("drift", "drift", "steps.so")
    assert repr(step).startswith("NativeStep(address=")
    assert native_step(step) is step and native_step(step, per_block=False) is step
    typed = ctypes.CDLL(str(built)).drift
    typed.argtypes = [ctypes.POINTER(ctypes.c_double), ctypes.c_void_p, np.ctypeslib.ndpointer(np.float64)]
    assert runs_drift(native, native_step(typed)) and native_step(typed).target == "double"


def test_a_step_from_a_ctypes_prototype_and_its_address(native, library):
    prototype = ctypes.CFUNCTYPE(ctypes.c_int, *POINTERS)
    assert runs_drift(native, native_step(prototype(address_of(library.drift))))


def test_a_step_from_a_capsule(native, library):
    assert runs_drift(native, native_step(capsule(address_of(library.drift))))
    block = capsule(address_of(library.drift_block), engine.BLOCK_STEP)
    assert runs_drift(native, native_step(block), per_block=True)


def test_a_step_from_a_cython_module(native, cysteps):
    step = native_step(("cysteps", "ou"))
    assert (step.name, step.module, step.source) == ("ou", "cysteps", ("cysteps", "ou"))
    form = form_of(StateCodec.of(0.5), 0.5)
    params = packed_params({"pull": 0.9, "width": 2.0})
    for pair in (step, native_step(("cysteps", "ou_block"))):
        loop = native.NativeLoop(pair.address, per_block=pair.per_block, form=form, params=params, keep=pair)
        rng, x = rng_of_block(SEED, 2, "numpy"), 0.5
        for _ in range(1000):
            x = x * 0.9 + 2.0 * rng.standard_normal()
        assert loop.advance(0.5, blocks_of(native).start(2), 1000, 0) == x


def test_a_step_from_scipy(native, library):
    scipy = pytest.importorskip("scipy")
    assert runs_drift(native, native_step(scipy.LowLevelCallable(library.drift)))
    assert runs_drift(native, native_step(scipy.LowLevelCallable(library.drift_block)), per_block=True)
    assert runs_drift(native, native_step(scipy.LowLevelCallable(capsule(address_of(library.drift)))))


def test_a_step_from_a_scipy_callable_of_a_cython_module(native, cysteps):
    scipy = pytest.importorskip("scipy")
    step = native_step(scipy.LowLevelCallable.from_cython(cysteps, "ou"))
    assert step.address == native_step(("cysteps", "ou")).address


CDEF = """
typedef struct bitgen bitgen_t;
int drift(void *state, bitgen_t *rng, const void *params);
int drift_block(double *state, ssize_t n_steps, bitgen_t *rng, const void *params);
double not_a_step(double x);
"""


def test_a_step_from_cffi(native, built):
    cffi = pytest.importorskip("cffi")
    ffi = cffi.FFI()
    ffi.cdef(CDEF)
    found = ffi.dlopen(str(built))
    assert runs_drift(native, native_step(found.drift))
    assert runs_drift(native, native_step(ffi.addressof(found, "drift_block")), per_block=True)
    with pytest.raises(ArgumentError, match=r"signature of step is 'double\(\*\)\(double\)'"):
        native_step(found.not_a_step)
    with pytest.raises(ArgumentTypeError, match="the native step is <cdata 'double \\*"):
        native_step(ffi.new("double *"))
    with pytest.raises(ArgumentError, match="this one is NULL"):
        native_step(ffi.cast("int(*)(void *, bitgen_t *, void *)", 0))
    with pytest.raises(ArgumentTypeError, match="calls Python at every step"):
        native_step(ffi.callback("int(void *, bitgen_t *, void *)", lambda *_: 0))


def test_a_step_from_a_module_made_by_cffi(native, tmp_path, monkeypatch):
    cffi = pytest.importorskip("cffi")
    compiler()
    ffi = cffi.FFI()
    ffi.cdef("typedef struct bitgen bitgen_t; int drift(void *state, bitgen_t *rng, const void *params);")
    ffi.set_source(
        "cffi_steps",
        f'#include "{(SOURCES / "steps.c").as_posix()}"',
        include_dirs=[engine.get_include(), np.get_include()],
        extra_compile_args=[] if sys.platform == "win32" else ["-ffp-contract=off"],
    )
    ffi.compile(str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    made = importlib.import_module("cffi_steps")
    assert runs_drift(native, native_step(made.ffi.addressof(made.lib, "drift")))
    with pytest.raises(ArgumentTypeError):
        native_step(made.lib.drift)
    sys.modules.pop("cffi_steps")


def test_a_step_from_numba(native):
    numba = pytest.importorskip("numba")
    from numba import types

    @numba.cfunc(types.int32(types.CPointer(types.float64), types.voidptr, types.voidptr))
    def halve(state, rng, params):
        state[0] *= 0.5
        return 0

    @numba.cfunc(types.int32(types.CPointer(types.float64), types.intp, types.voidptr, types.voidptr))
    def halve_block(state, n_steps, rng, params):
        for _ in range(n_steps):
            state[0] *= 0.5
        return 0

    form = form_of(StateCodec.of(1.0), 1.0)
    for function, per_block in ((halve, False), (halve_block, True)):
        step = native_step(function)
        assert (step.name, step.module, step.per_block) == (function.__name__, __name__, per_block)
        assert step.target == "float64"
        loop = native.NativeLoop(step.address, per_block=per_block, form=form, params=b"", keep=step)
        assert loop.advance(1.0, blocks_of(native).start(0), 20, 0) == 2.0**-20

    @numba.cfunc(types.float64(types.float64))
    def other(x):
        return x

    with pytest.raises(ArgumentError, match=r"signature of other is '\(float64,?\) -> float64'"):
        native_step(other)
    with pytest.raises(ArgumentTypeError, match="A function of numba.njit is a step function as it is"):
        native_step(numba.njit(lambda state, rng: state))


GOOD = [
    ("int (void *, bitgen_t *, void const *)", False),
    ("int (void *, bitgen_t *, const void *)", False),
    ("int(void*,bitgen_t*,const void*)", False),
    ("int (double *, struct bitgen *, struct params const *)", False),
    ("int (*)(void *, void *, void *)", False),
    ("int (void *, bitgen_t *, void *) noexcept nogil", False),
    ("(void*, float64*, void*) -> int32", None),
    ("(float64*, void*, void*) -> int32", False),
    ("(float64*, int64, void*, void*) -> int32", True),
    ("int (void *, Py_ssize_t, bitgen_t *, void const *)", True),
    ("int32_t (void *, ptrdiff_t, bitgen_t *, void *)", True),
    ("int (void *, ssize_t const, bitgen_t *, void *)", True),
]


@pytest.mark.parametrize("text, per_block", GOOD)
def test_a_signature_is_read_as_compilers_write_it(library, text, per_block):
    made = capsule(address_of(library.drift), text)
    if per_block is None or (per_block and "int64" in text and ctypes.sizeof(ctypes.c_ssize_t) != 8):
        with pytest.raises(ArgumentError):
            native_step(made)
        return
    assert native_step(made).per_block is per_block
    assert native_step(made, per_block=per_block).per_block is per_block
    with pytest.raises(ArgumentError, match="Leave per_block out"):
        native_step(made, per_block=not per_block)


BAD = [
    "",
    "step",
    "void (void *, bitgen_t *, void const *)",
    "double (void *, bitgen_t *, void const *)",
    "long long (void *, bitgen_t *, void const *)",
    "int (void *, bitgen_t *)",
    "int (void *, bitgen_t *, void *, void *)",
    "int (void *, int, bitgen_t *, void *)",
    "int (void *, size_t, bitgen_t *, void *)",
    "int (void *, double *, void *)",
    "int (void **, bitgen_t *, void *)",
    "int (void *, bitgen_t **, void *)",
    "int (double, bitgen_t *, void *)",
    "int (void *, bitgen_t *, void *, ...)",
    "int (int (*)(void *), bitgen_t *, void *)",
    "unsigned int (void *, bitgen_t *, void *)",
]


@pytest.mark.parametrize("text", BAD)
def test_another_signature_is_refused(library, text):
    with pytest.raises(ArgumentError, match=r"the signature of step is .*; expected 'int \(void \*, bitgen_t \*, void"):
        native_step(capsule(address_of(library.drift), text))


@given(st.text(max_size=40))
def test_no_text_is_a_signature_by_accident(text):
    with pytest.raises(ArgumentError):
        engine._read("step", text)


def no_types(library, built):
    return ctypes.CDLL(str(built)).drift


def two_types(library, built):
    function = ctypes.CDLL(str(built)).drift
    function.argtypes = POINTERS[:2]
    return function


def no_result(library, built):
    function = ctypes.CDLL(str(built)).drift
    function.argtypes, function.restype = POINTERS, None
    return function


def with_the_gil(library, built):
    function = ctypes.PyDLL(str(built)).drift
    function.argtypes = POINTERS
    return function


def callback(library, built):
    return ctypes.CFUNCTYPE(ctypes.c_int, *POINTERS)(lambda *_: 0)


def hidden_callback(library, built):
    return ctypes.cast(callback(library, built), ctypes.CFUNCTYPE(ctypes.c_int, *POINTERS))


def null(library, built):
    return ctypes.CFUNCTYPE(ctypes.c_int, *POINTERS)(0)


REFUSED = [
    (no_types, r"argtypes of drift is None; .*drift.argtypes = \[ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p\]"),
    (two_types, r"the signature of drift is 'int32 \(void \*, void \*\)'"),
    (no_result, r"the signature of drift is 'void \(void \*, void \*, void \*\)'"),
    (with_the_gil, "expected a function that needs no GIL. Load its library with ctypes.CDLL"),
    (callback, "calls Python at every step; pass the Python function as step_fn"),
    (hidden_callback, "calls Python at every step; pass the Python function as step_fn"),
    (null, "this one is NULL"),
    (lambda library, built: address_of(library.drift), r"An address says nothing .*CFUNCTYPE\(c_int, c_void_p"),
    (lambda library, built: drift, "A Python function is a step function as it is"),
    (lambda library, built: None, "expected a PyCapsule, scipy.LowLevelCallable, ctypes or cffi function"),
    (lambda library, built: "step", "the native step is 'step'"),
    (lambda library, built: ("a", "b", "c"), "the native step is"),
    (lambda library, built: ("no_such_module", "step"), "expected a module that can be imported"),
    (lambda library, built: ("math", "step"), "a function the module exports; it exports none.*cdef api int step"),
    (lambda library, built: capsule(address_of(library.drift), None), "the name of the capsule is None; expected the"),
    (
        lambda library, built: capsule(address_of(library.drift), context=8),
        "the context of the capsule is 8; .*params=",
    ),
]


@pytest.mark.parametrize("make, message", REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_what_is_no_native_step_is_refused_with_advice(library, built, make, message):
    with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
        native_step(make(library, built))


def test_a_scipy_callable_is_no_better_than_what_it_wraps(library, built):
    scipy = pytest.importorskip("scipy")
    with pytest.raises(ArgumentTypeError, match="calls Python at every step"):
        native_step(scipy.LowLevelCallable(callback(library, built)))
    data = ctypes.c_double(1.0)
    with pytest.raises(ArgumentError, match="user_data of the LowLevelCallable .*params="):
        native_step(scipy.LowLevelCallable(library.drift, ctypes.cast(ctypes.pointer(data), ctypes.c_void_p)))


def test_a_module_says_what_it_exports(cysteps):
    with pytest.raises(ArgumentError, match="it exports other, ou, ou_block, raises"):
        native_step(("cysteps", "no_such_step"))
    with pytest.raises(ArgumentError, match=r"the signature of other is 'double \(double\)'"):
        native_step(("cysteps", "other"))


def test_only_a_step_with_a_name_is_pickled(library, cysteps):
    step = native_step(("cysteps", "ou"))
    assert pickle.loads(pickle.dumps(step)) == step
    with pytest.raises(
        pickle.PicklingError, match=r"steps.so:drift is an address in this process .*\('module', 'name'\)"
    ):
        pickle.dumps(native_step(library.drift))
    assert copy.deepcopy(native_step(library.drift)) == native_step(library.drift)
    assert hash(step) == hash(native_step(("cysteps", "ou"))) and step != native_step(("cysteps", "ou_block"))
    with pytest.raises(AttributeError):
        step.address = 1


# ---- the header


def test_the_header_and_the_library_spell_one_signature():
    text = (pathlib.Path(engine.get_include()) / "rewind.h").read_text()
    assert re.findall(r'^#define REWIND_(\w+)_SIGNATURE "(.*)"$', text, re.M) == [
        ("STEP", engine.STEP),
        ("BLOCK_STEP", engine.BLOCK_STEP),
    ]


@pytest.mark.parametrize("language", ["c", "c++"])
def test_the_header_stands_alone_in_c_and_cxx(tmp_path, language):
    if language == "c++" and not (shutil.which("c++") or shutil.which("g++")):
        pytest.skip("no C++ compiler on the path")
    found = compiler() if language == "c" else shutil.which("c++") or shutil.which("g++")
    source = '#include "rewind.h"\nstatic rewind_step *one; static rewind_block_step *many;\n'
    source += "int main(void) { return one != 0 || many != 0; }\n"
    flags = ["-Wall", "-Wextra", "-Werror", "-Wno-pragma-once-outside-header", "-fsyntax-only", "-x", language]
    flags += ["-std=c99", "-pedantic"] if language == "c" else ["-std=c++11"]
    subprocess.run([found, *flags, *includes(), "-"], input=source, text=True, check=True)


def test_the_page_about_native_steps_runs_from_top_to_bottom(tmp_path):
    pytest.importorskip("Cython")
    page = (HERE.parents[1] / "docs" / "native-steps.md").read_text()
    blocks = re.findall(r"^```(\S.*?)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    of_kind = {kind: "\n".join(text for k, text in blocks if k == kind) for kind, _ in blocks}
    assert set(of_kind) == {"c", "python", "cython", "python setup.py"}
    for name, kind in (("step.c", "c"), ("walk.pyx", "cython"), ("setup.py", "python setup.py"), ("page.py", "python")):
        (tmp_path / name).write_text(of_kind[kind])
    command = re.search(r"^    cc (.*?-o step.so)", page, re.MULTILINE)
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    for line in (
        [compiler(), *command[1].split(), *includes()],
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        [sys.executable, "-W", "error", "page.py"],
    ):
        done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


# ---- forms and parameters


@pytest.mark.parametrize(
    "state",
    [
        None, True, 1j, "x", b"x", 1 << 63, {"x": 1.0}, [1.0, 2.0], (1.0, 2), SimpleNamespace(x=1),
        np.array("x"), np.array(b"x"), np.array("2020", "M8[D]"), np.zeros(3, ">f8"), np.str_("x"), np.zeros(2, "V3"),
        np.zeros(2, [("x", "f8"), ("y", ">i4")]), np.zeros(2, [("x", "f8"), ("name", "S8")]), np.zeros(2, AGENT)[0],
        np.zeros(2, np.dtype({"names": ["a", "b"], "formats": ["f8", "f4"], "offsets": [0, 4]})),
        np.array([None]), np.longdouble(1),
    ],
    ids=lambda state: f"{type(state).__name__}-{getattr(state, 'dtype', '')}",
)  # fmt: skip
def test_no_other_state_is_taken(state):
    with pytest.raises(StateError, match="the state has .* no native step takes.*use a Python float or int"):
        form_of(StateCodec.of(state), state)


@pytest.mark.parametrize(
    "signature, good, bad",
    [
        (
            "int (double *, bitgen_t *, void *)",
            [0.5, np.float64(1), np.zeros(3), np.zeros(3, complex)],
            [1, np.float32(1)],
        ),
        ("int (float *, bitgen_t *, void *)", [np.float32(1)], [0.5, np.int32(1)]),
        ("int (int64_t *, bitgen_t *, void *)", [1, np.zeros(2, np.int64)], [0.5, np.uint64(1), np.int32(1)]),
        ("(uint8*, void*, void*) -> int32", [np.uint8(1)], [1]),
        ("int (void *, bitgen_t *, void *)", [1, 0.5], []),
        ("int (struct agent *, bitgen_t *, void *)", [1, np.zeros(2, AGENT)], []),
    ],
)
def test_a_typed_pointer_takes_numbers_of_its_type(library, signature, good, bad):
    step = native_step(capsule(address_of(library.drift), signature))
    for state in good:
        assert form_of(StateCodec.of(state), state, step) == form_of(StateCodec.of(state))
    for state in bad:
        with pytest.raises(StateError, match=rf"another type than step takes: .* takes {step.target} \*"):
            form_of(StateCodec.of(state), state, step)


def test_equal_forms_take_the_same_states():
    states = [0.5, 1, np.float64(0.5), np.zeros(3), np.zeros((3, 2)), np.zeros((3, 2), order="F"), np.zeros(2, AGENT)]
    for a in states:
        assert [form_of(StateCodec.of(a)) == form_of(StateCodec.of(b)) for b in states] == [a is b for b in states]
    assert form_of(StateCodec.of(0.5)) == form_of(StateCodec.of(7.0))


def test_a_form_can_be_asked_for_without_a_state():
    assert form_of(StateCodec.of(0.5)).kind == "float"
    for state, words in ([{"x": 1.0}, "dict"], [[1.0], "list"], [None, "None"], [1 << 70, "pickle"], ["x", "str"]):
        with pytest.raises(StateError, match=f"the state has a form no native step takes: {words}"):
            form_of(StateCodec.of(state))


def test_no_codec_is_taken():
    codec = StateCodec.of(0.5, (lambda x: x, lambda x: x))
    with pytest.raises(StateError, match="leave codec out"):
        form_of(codec, 0.5)


SHAPED = [
    np.zeros((2, 3, 4), order="F"), np.zeros((0, 3)), np.zeros(()), np.ones((2, 2), bool), np.zeros(3, "c8"),
    np.zeros((2, 2), AGENT, order="F"), np.zeros(2, [("a", "f4", (2, 3)), ("in", [("b", "?"), ("c", "c16")])]),
    np.float16(0.5), np.bool_(True), np.complex64(1j), np.uint64(1 << 63), np.zeros(0, AGENT),
]  # fmt: skip


@pytest.mark.parametrize("init", SHAPED + [c.state for c in CASES], ids=lambda s: f"{type(s).__name__}-{np.shape(s)}")
def test_a_table_and_the_rows_of_a_codec_are_the_same_states(init):
    codec, generator = StateCodec.of(init), np.random.default_rng(1)
    form = form_of(codec, init)
    states = []
    for _ in range(4):
        if isinstance(init, (int, float)) and not isinstance(init, np.generic):
            states.append(type(init)(generator.integers(-5, 5)))
            continue
        state = np.zeros_like(np.asarray(init))
        flat = (state.T if form.order == "F" else state).reshape(-1).view("u1") if state.size else np.zeros(0, "u1")
        mask = np.frombuffer(form.mask or b"\1", "u1")
        flat[:] = generator.integers(0, 256, len(flat)).astype("u1") % np.resize([0, 256, 2], 3)[
            np.resize(mask, len(flat))
        ].clip(1)
        states.append(state if isinstance(init, np.ndarray) else state[()])
    rows = [codec.encode(state) for state in states]
    packed = table(form, stack(codec, rows))
    assert packed.shape == (4, form.itemsize) and packed.dtype == np.uint8
    for state, row in zip(states, packed, strict=True):
        order = "F" if form.order == "F" else "C"
        assert np.asarray(state).tobytes(order) == row.tobytes()
    again = rows_of(form, codec, packed)
    for ours, theirs in zip(again, rows, strict=True):
        assert type(ours) is type(theirs)
        for a, b in zip(ours, theirs, strict=True) if isinstance(ours, list) else [(ours, theirs)]:
            assert type(a) is type(b) and np.asarray(a).dtype == np.asarray(b).dtype
            assert np.shape(a) == np.shape(b) and np.asarray(a).tobytes() == np.asarray(b).tobytes()
    assert table(form, stack(codec, again)).tobytes() == packed.tobytes()


def test_pickled_checkpoints_are_no_native_states():
    codec = StateCodec.of(1)
    rows = [codec.encode(1), codec.encode(1 << 70)]
    with pytest.raises(StateError, match="1 of 2 checkpoints as pickles, which no native step takes"):
        table(form_of(codec, 1), stack(codec, rows))


def test_params_are_packed_in_the_order_of_their_names():
    assert packed_params({}) == packed_params({"empty": []}) == b""
    got = packed_params({"a": 0.5, "n": -(1 << 63), "yes": True, "list": [1, 2], "pair": [0.25, float("inf")]})
    assert np.frombuffer(got, np.float64)[[0, 4, 5]].tolist() == [0.5, 0.25, float("inf")]
    assert np.frombuffer(got, np.int64)[[1, 2, 3, 6]].tolist() == [1, 2, -(1 << 63), 1]


@pytest.mark.parametrize(
    "value, message",
    [
        ("text", r"params\['p'\] is 'text' \(str\); expected a number or a list of numbers"),
        (None, r"params\['p'\] is None"),
        ([1.0, "x"], r"params\['p'\] is \[1.0, 'x'\]"),
        ([None], r"params\['p'\] is \[None\]"),
        ([1.0, 2], r"params\['p'\] is \[1.0, 2\] .*Write 1.0 for 1"),
        (1 << 63, r"params\['p'\] is 9223372036854775808; expected an integer of 64 bits"),
    ],
)
def test_a_parameter_without_a_slot_is_refused_by_name(value, message):
    with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
        packed_params({"fine": 1, "p": value})


def test_the_engine_imports_none_of_the_sources():
    text = "import sys, rewind.steps.native; print(*{'scipy', 'cffi', 'numba', '_cffi_backend'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, cwd=HERE.parents[1])
    assert done.stdout.split() == []


def test_threads_do_not_wait_for_a_long_step(native, library):
    """While a thread runs steps, this one goes on: the steps run without the GIL."""
    example, ended = case("slow", None, 0.0, rounds=3_000_000), threading.Event()
    loop = loop_of(native, library, example)

    def work():
        loop.advance(0.0, blocks_of(native).start(0), 20, 0)
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    turns = 0
    while not ended.is_set():
        turns += 1
    thread.join()
    assert turns > 1
