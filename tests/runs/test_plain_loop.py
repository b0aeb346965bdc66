"""`plain_loop`: the user's own loop, to the bit, on the streams that the documentation shows."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.plain import bytes_of, rng_of_block

import rewind
from rewind import errors, plain_loop

pytestmark = pytest.mark.once


def walk(x, rng, *, scale=1.0):
    return x + scale * rng.random()


def in_place(x, rng):
    x += rng.normal(size=x.shape)
    return x


def test_it_is_the_loop_that_anyone_would_write():
    for backend in ("python", "numpy"):
        x, expected = 0.0, []
        for t in range(25):
            if t % 7 == 0:
                rng = rng_of_block(2**70, t // 7, backend)
            expected.append(x)
            x = walk(x, rng, scale=3.0)
        params = {"scale": 3.0}
        given = list(plain_loop(walk, 0.0, 25, 2**70, backend=backend, block_size=7, params=params))
        assert bytes_of(given) == bytes_of(expected)


def test_a_run_is_the_plain_loop():
    run = rewind.record(in_place, np.zeros(3), 50, 1, backend="numpy")
    states = [x.copy() for x in plain_loop(in_place, np.zeros(3), 50, 1, backend="numpy")]
    assert bytes_of(run) == bytes_of(states)


def test_it_copies_nothing_and_calls_nothing_that_is_not_asked_for():
    x, calls = np.zeros(2), []

    def step(state, rng):
        calls.append(state)
        state += 1
        return state

    states = plain_loop(step, x, 5, 1)
    assert next(states) is x and not calls
    assert all(state is x for state in states)
    assert len(calls) == 4 and x[0] == 4  # the last step of a run is never called


def test_a_numba_step_is_called_as_a_function():
    numba = pytest.importorskip("numba")
    compiled = numba.njit(lambda x, rng: x + rng.random())
    expected = list(plain_loop(compiled.py_func, 0.0, 20, 3, backend="numpy"))
    assert bytes_of(plain_loop(compiled, 0.0, 20, 3, backend="numpy")) == bytes_of(expected)


def test_wrong_arguments_are_refused_before_the_first_state():
    for arguments, name in (((walk, 0.0, 0, 1), "n_steps"), ((walk, 0.0, 5, -1), "seed"), ((1, 0.0, 5, 1), "step_fn")):
        with pytest.raises((errors.ArgumentError, errors.ArgumentTypeError), match=name):
            plain_loop(*arguments)
    with pytest.raises(errors.ArgumentError, match="backend"):
        plain_loop(walk, 0.0, 5, 1, backend="torch")
    with pytest.raises(errors.ArgumentTypeError, match="signature"):
        plain_loop(walk, 0.0, 5, 1, params={"speed": 1})
