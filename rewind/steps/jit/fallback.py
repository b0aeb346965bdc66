"""The loop for a numba whose inside is not what the native driver expects: numba's public interface alone."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import MetricError, StepError
from ...state.columns import Array
from .intrinsics import module
from .slots import StateSlots


class PublicLoop:
    """A block of a numba step by one call of a compiled function that takes the Generator itself.

    The same bits as by a ``NativeLoop``, about 10 us a call, and no way to run many blocks without the GIL.

    Parameters
    ----------
    slots : StateSlots
    block, observed : callable
        What a public driver is made of; `observed` is None where nothing is to be observed.
    params : bytes
    names : sequence of str
        Of the metric to blame for each thing a driver looks at.
    """

    #: There are no `sweep`, `check` and `trace`.
    bulk = False
    #: Shape of one value of each metric that `observe` evaluates.
    shapes: tuple[tuple[int, ...], ...] = ()

    def __init__(self, slots: StateSlots, block: Any, observed: Any, params: bytes, names: Sequence[str] = ()) -> None:
        self._slots, self._block, self._observed, self._names = slots, block, observed, names
        self._params = np.frombuffer(params, np.int64).copy()

    @staticmethod
    def compile(slots: StateSlots, function: Any, observes: bool) -> None:
        """Compile a function of a public driver for what it will be called with."""
        numbers, rng = np.zeros(2, np.int64), np.random.Generator(np.random.PCG64(0))
        counts, rest = (0, 0) if observes else (0,), (np.zeros((1, 1)), numbers) if observes else (numbers,)
        function.compile(tuple(map(module("numba").typeof, (slots.buffer(), *counts, rng, numbers, *rest))))

    def advance(self, state: Any, rng: Any, n: int, t: int) -> Any:
        """Return the state `n` steps after `state`, the state at step `t`.

        Raises
        ------
        StepError
            If a step fails.
        StateError
            If `state` is not of the form of this loop.
        """
        buffer, at = self._slots.buffer(), np.zeros(2, np.int64)
        self._slots.pack(state, buffer)
        try:
            self._block(buffer, operator.index(n), rng, self._params, at)
        except Exception as error:
            raise StepError(t + int(at[0]), error) from error
        return self._slots.unpack(buffer)

    def observe(self, state: Any, rng: Any, n_states: int, n_steps: int, t: int, out: Array) -> Any:
        """Return the state `n_steps` after `state`, with what is observed of `n_states` states in the rows of `out`.

        Raises
        ------
        MetricError
            If a metric fails.
        StepError, StateError
            As from `advance`.
        """
        buffer, at = self._slots.buffer(), np.zeros(2, np.int64)
        self._slots.pack(state, buffer)
        try:
            self._observed(buffer, n_states, n_steps, rng, self._params, out, at)
        except Exception as error:
            if at[0] < 0:
                problem = f"raised {type(error).__name__}: {error}"
                raise MetricError(self._names[at[1]], t - 1 - int(at[0]), problem) from error
            raise StepError(t + int(at[0]), error) from error
        return self._slots.unpack(buffer)
