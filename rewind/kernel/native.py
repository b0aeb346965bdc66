"""Loops for native steps in plain Python: the twin of ``_native.pyx``, with the same names, order and bits.

The function is called through ctypes, step by step.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ArgumentError, ArgumentTypeError, NativeStepError, StateError, StepError

__all__ = ["NativeLoop"]

Bytes = npt.NDArray[np.uint8]

_LOOK = 0.050  # seconds after which a sweep returns
_ANY, _NO_AXIS = -1, -2  # for a width
_CHUNK = 4096  # steps of a block function between looks for signals


class NativeLoop:
    """A native step function, run over states as they lie in memory.

    Parameters
    ----------
    address : int
        Of ``int step(void *state, bitgen_t *rng, const void *params)``, which returns 0, anything else if it fails.
    per_block : bool
        Whether it is ``int step(void *state, Py_ssize_t n_steps, bitgen_t *rng, const void *params)`` instead, which
        runs `n_steps` steps and returns 0, or 1 + the number of those it had finished when one failed.
    form : Form
        How a state lies in memory: `kind` ("float", "int", "scalar", "array" or "packed"), `itemsize`, and what they
        need; see ``rewind.steps.memory.Form``.
    params : bytes
        What the third argument points to; it is NULL where there are none.
    observed : int
        Address of ``int (void *state, Py_ssize_t n_states, Py_ssize_t n_steps, bitgen_t *rng, const void *params,
        double *out)``, which does what `observe` does and returns what a block function returns, or -1 - i where it
        failed to observe the i-th of its states. 0: the numbers of the state are observed.
    keep : object
        Kept alive as long as this is: whatever owns the code.
    explain : callable, optional
        ``explain(code, state, rng)``, called for a step that failed with what was returned, and the state and the rng
        as they were before that step. What it raises or returns is taken for what the step raised.

    Notes
    -----
    May be used from several threads at once, each with a generator of its own.
    """

    def __init__(
        self,
        address: int,
        *,
        per_block: bool,
        form: Any,
        params: bytes,
        observed: int = 0,
        keep: object = None,
        explain: Callable[[int, Any, Any], Any] | None = None,
    ) -> None:
        if not address:
            raise ValueError("the address of a step is 0")
        pointer, size = ctypes.c_void_p, ctypes.c_ssize_t
        arguments = [pointer, size, pointer, pointer] if per_block else [pointer, pointer, pointer]
        self._function = ctypes.CFUNCTYPE(ctypes.c_int, *arguments)(address)
        observing = ctypes.CFUNCTYPE(ctypes.c_int, pointer, size, size, pointer, pointer, pointer)
        self._observed = observing(observed) if observed else None
        self._per_block, self._form, self._keep, self._explain = per_block, form, keep, explain
        self._params = ctypes.create_string_buffer(params, len(params)) if params else None
        self._mask = np.frombuffer(form.mask, np.uint8)
        self._itemsize: int = form.itemsize
        self._width: int = form.width

    # ---- states

    def _hold(self, state: Any) -> tuple[Bytes, Any]:
        """Return the bytes of `state`, and what owns them."""
        form = self._form
        if form.kind == "float" and type(state) is float:
            return np.array([state], np.float64).view(np.uint8), None
        if form.kind == "int" and type(state) is int and -(1 << 63) <= state < 1 << 63:
            return np.array([state], np.int64).view(np.uint8), None
        if form.kind == "scalar" and isinstance(state, np.generic) and state.dtype == form.dtype:
            return np.array([state], form.dtype).view(np.uint8), None
        if form.kind == "array" and type(state) is np.ndarray:
            flags = state.flags
            whole = flags.f_contiguous if form.order == "F" else flags.c_contiguous
            if whole and flags.writeable and flags.aligned and state.dtype == form.dtype and state.shape == form.shape:
                flat = (state.T if form.order == "F" else state).reshape(-1)
                return flat.view(np.uint8) if self._itemsize else np.zeros(0, np.uint8), None
        if form.kind == "packed":
            buffer = bytearray(self._itemsize)
            form.pack(state, buffer)
            if len(buffer) != self._itemsize:
                raise ValueError("pack changed the size of its buffer")
            return np.frombuffer(buffer, np.uint8), buffer
        raise StateError("", form.misfit(state), form.advice(state))

    def _release(self, state: Any, live: Bytes, owner: Any) -> Any:
        """Return the state whose bytes `_hold` gave."""
        form = self._form
        if form.kind == "float":
            return float(live.view(np.float64)[0])
        if form.kind == "int":
            return int(live.view(np.int64)[0])
        if form.kind == "scalar":
            return live.view(form.dtype)[0]
        return state if form.kind == "array" else form.unpack(owner)

    def _tidy(self, live: Bytes) -> Bytes:
        """Make bytes those that come back from a checkpoint: no padding, and a bool is 0 or 1."""
        if len(self._mask) and len(live):
            elements = live.reshape(-1, len(self._mask))
            elements[:, self._mask == 0] = 0
            elements[:, self._mask == 2] = elements[:, self._mask == 2] != 0
        return live

    def _go(self, live: Bytes, rng: Any, n: int) -> tuple[int, int, Exception | None]:
        """Run `n` steps; return how many were finished, what the next one returned, and what it raised."""
        address, bitgen, done = live.ctypes.data, _bitgen(rng), 0
        try:
            while done < n:
                if self._per_block:
                    some = min(n - done, _CHUNK)
                    code = self._function(address, some, bitgen, self._params)
                    if code:
                        return done + (code - 1 if 0 < code <= some else 0), code, None
                    done += some
                else:
                    code = self._function(address, bitgen, self._params)
                    if code:
                        return done, code, None
                    done += 1
        except SystemError as error:  # a step with the GIL returned with an exception set
            return done, -1, _left(error)
        return done, 0, None

    # ---- running

    def advance(self, state: Any, rng: Any, n: int, t: int) -> Any:
        """Return the state `n` steps after `state`.

        Parameters
        ----------
        state : object
            The state at step `t`. An array is changed in place.
        rng : numpy.random.Generator
            What the steps draw from.
        n, t : int
            Number of steps, and step of `state`.

        Returns
        -------
        state : object
            The state at step ``t + n``.

        Raises
        ------
        StepError
            If a step fails, with the step of the state it was given. From the exception a step with the GIL left, else
            from what `explain` says, else from a `NativeStepError`.
        StateError
            If `state` is not of the form of this loop.
        """
        _bitgen(rng)
        live, owner = self._hold(state)
        before = None if self._explain is None else (live.copy(), rng.bit_generator.state)
        done, code, error = self._go(live, rng, n)
        if code:
            self._fail(state, rng, before, done, t, code, error)
        return self._release(state, live, owner)

    def observe(self, state: Any, rng: Any, n_states: int, n_steps: int, t: int, out: npt.NDArray[np.float64]) -> Any:
        """Return the state `n_steps` after `state`, having written what is observed of `n_states` states to `out`.

        Parameters
        ----------
        state, rng, t
            As for `advance`.
        n_states : int
            Number of states to observe, `state` the first of them.
        n_steps : int
            Number of steps: `n_states`, or one less for a block no other follows.
        out : ndarray of float64, shape (n_states, width)
            In one piece (C-contiguous). Row ``i`` is what is observed of the state at step ``t + i``: its numbers in C
            order, or what `observed` writes.

        Returns
        -------
        state : object
            The state at step ``t + n_steps``.

        Raises
        ------
        StepError, StateError
            As from `advance`. What `explain` makes of a negative code, for which no step is to blame, is raised as it
            is.
        """
        _bitgen(rng)
        if n_steps not in (n_states, n_states - 1):
            raise ValueError("n_steps is neither n_states nor one less")
        _check_table(out, np.float64, n_states, _ANY, True)
        if self._observed is None and (out.shape[1] != self._width or not self._width):
            raise ValueError("out is not as wide as a state has numbers")
        live, owner = self._hold(state)
        before = None if self._explain is None else (live.copy(), rng.bit_generator.state)
        if self._observed is None:
            done, code, error = self._observe_numbers(live, rng, n_states, n_steps, out)
        else:
            done, code, error = self._observe_natively(live, rng, n_states, n_steps, out)
        if code:
            self._fail(state, rng, before, done, t, code, error)
        return self._release(state, live, owner)

    def _observe_numbers(
        self, live: Bytes, rng: Any, n_states: int, n_steps: int, out: npt.NDArray[np.float64]
    ) -> tuple[int, int, Exception | None]:
        form = self._form
        dtype = form.dtype or np.dtype(np.float64 if form.kind == "float" else np.int64)
        numbers = live.view(dtype).reshape(form.shape, order=form.order)
        for i in range(n_states):
            out[i] = numbers.reshape(-1)
            if i < n_steps:
                _, code, error = self._go(live, rng, 1)
                if code:
                    return i, code, error
        return n_steps, 0, None

    def _observe_natively(
        self, live: Bytes, rng: Any, n_states: int, n_steps: int, out: npt.NDArray[np.float64]
    ) -> tuple[int, int, Exception | None]:
        assert self._observed is not None
        done = 0
        while done < n_states:
            some = min(n_states - done, _CHUNK)
            steps = min(n_steps - done, some)
            row = out.ctypes.data + done * out.shape[1] * 8
            try:
                code = self._observed(live.ctypes.data, some, steps, _bitgen(rng), self._params, row)
            except SystemError as error:
                return done, 1, _left(error)
            if code < 0:
                return done + (-1 - code if -code <= some else 0), code, None
            if code:
                return done + (code - 1 if code <= steps else 0), code, None
            done += steps
            if steps < some:
                break
        return done, 0, None

    # ---- failures

    def _fail(self, state: Any, rng: Any, before: Any, done: int, t: int, code: int, cause: Exception | None) -> None:
        """Raise what the step after `done` steps failed with."""
        if cause is None and before is not None:
            assert self._explain is not None
            try:
                cause = self._explain(code, self._again(state, rng, before, done), rng)
            except Exception as error:
                cause = error
        if cause is None:
            cause = NativeStepError(code)
        if code < 0 and self._observed is not None and not isinstance(cause, NativeStepError):
            raise cause
        raise StepError(t + done, cause) from cause

    def _again(self, state: Any, rng: Any, before: Any, done: int) -> Any:
        """Return the state `done` steps after `state`, with the generator as it was there."""
        live, owner = self._hold(state)
        live[:], rng.bit_generator.state = before
        self._go(live, rng, done)
        return self._release(state, live, owner)

    # ---- whole blocks

    def sweep(
        self, state: Any, blocks: Any, stream: int, block_size: int, n_blocks: int, out: Bytes
    ) -> tuple[int, Any]:
        """Return how many whole blocks were run, and the state at the first step of the block after them.

        Parameters
        ----------
        state : object
            The state at the first step of the block that draws from `stream`. An array is changed in place.
        blocks : BlockRng
            With backend "numpy". Pointed to the first draw of each block in turn.
        stream : int
            Stream of the first block; those of the others follow it.
        block_size, n_blocks : int
            Steps of each block, and the most blocks to run.
        out : ndarray of uint8, shape (n_blocks, itemsize)
            Row ``k`` becomes the state at the first step of block ``k + 1``, without padding.

        Returns
        -------
        n_done : int
            Less than `n_blocks` after about 50 ms, so that the caller can report progress and look for signals. Less,
            too, if the next block fails or takes much longer than those before it: the caller runs that one with
            `advance`, which says why. 0 only if the very first block fails.
        state : object
            The state at the first step of block `n_done`.
        """
        _check_table(out, np.uint8, n_blocks, self._itemsize, True)
        _check_backend(blocks)
        live, owner = self._hold(state)
        first, k, began = live.copy(), 0, time.monotonic()
        while k < n_blocks:
            if self._go(live, blocks.start(stream + k), block_size)[1]:
                live[:] = out[k - 1] if k else first
                break
            out[k] = self._tidy(live)
            k += 1
            if time.monotonic() - began > _LOOK:
                break
        return k, self._release(state, live, owner)

    def check(
        self,
        rows: Bytes,
        blocks: Any,
        stream: int,
        block_size: int,
        reaches: npt.NDArray[np.int64],
        falses: npt.NDArray[np.int64],
    ) -> int:
        """Return the index of the last of some blocks that is not reproduced, -1 if all are.

        Parameters
        ----------
        rows : ndarray of uint8, shape (m + 1, itemsize)
            The states at the first steps of ``m`` blocks and of the one after them, without padding.
        blocks, stream, block_size
            As for `sweep`.
        reaches : ndarray of int64, shape (m,)
            Where in each block a state is compared, too: 0 to `block_size` steps after its first.
        falses : ndarray of int64, shape (m,)
            Steps of the false start before each second replay.

        Returns
        -------
        k : int
            Each block, from the last to the first, is replayed twice, the second time after a false start, and must
            come to the same state inside and to the next row both times. One with a step that fails does not.

        Raises
        ------
        ValueError
            If an array is not what is said above.
        """
        m = len(reaches)
        _check_table(rows, np.uint8, m + 1, self._itemsize, False)
        _check_table(reaches, np.int64, m, _NO_AXIS, False)
        _check_table(falses, np.int64, m, _NO_AXIS, False)
        _check_backend(blocks)
        if any(not 0 <= place <= block_size for place in [*reaches, *falses]):
            raise ValueError("a place outside its block")
        for k in range(m - 1, -1, -1):
            if not self._reproduced(rows[k : k + 2], blocks, stream + k, block_size, int(reaches[k]), int(falses[k])):
                return k
        return -1

    def _reproduced(self, rows: Bytes, blocks: Any, stream: int, block_size: int, reach: int, away: int) -> bool:
        inside: list[bytes] = []
        for again in (False, True):
            if again and self._come(rows[0], blocks, stream, away)[1]:
                return False
            live, code = self._come(rows[0], blocks, stream, reach)
            inside.append(self._tidy(live.copy()).tobytes())
            if code or inside[0] != inside[-1] or self._go(live, blocks.rng, block_size - reach)[1]:
                return False
            if self._tidy(live).tobytes() != rows[1].tobytes():
                return False
        return True

    def _come(self, row: Bytes, blocks: Any, stream: int, n: int) -> tuple[Bytes, int]:
        """Replay `n` steps from `row`; return the live bytes, and what a step that failed returned."""
        live = np.zeros(-(-self._itemsize // 8), np.uint64).view(np.uint8)[: self._itemsize]  # aligned for any number
        live[:] = row
        return live, self._go(live, blocks.start(stream), n)[1]

    def trace(self, row: Bytes, blocks: Any, stream: int, n: int, room: int) -> int:
        """Return the first step at which three replays of a stretch differ, -1 if they agree.

        Parameters
        ----------
        row : ndarray of uint8, shape (itemsize,)
            The state at the first step of a block, without padding.
        blocks, stream
            As for `sweep`.
        n : int
            Steps of the stretch.
        room : int
            Most bytes of states to remember; states after those are not compared.

        Returns
        -------
        step : int
            From 1 to `n`, counted from `row`. The third replay comes after a false start of one step. A step that fails
            counts as different.

        Raises
        ------
        ValueError
            If `row` is not what is said above.
        """
        _check_table(row, np.uint8, self._itemsize, _NO_AXIS, False)
        _check_backend(blocks)
        kept = min(n, room // max(self._itemsize, 1))
        if kept <= 0:
            return -1
        states: list[bytes] = []
        for again in range(3):
            if again == 2 and self._come(row, blocks, stream, 1)[1]:
                return 1
            live, _ = self._come(row, blocks, stream, 0)
            for i in range(kept):
                if self._go(live, blocks.rng, 1)[1]:
                    return i + 1
                now = self._tidy(live.copy()).tobytes()
                if again == 0:
                    states.append(now)
                elif states[i] != now:
                    return i + 1
        return -1


def _bitgen(rng: Any) -> Any:
    """Return the address C functions draw from."""
    if not isinstance(rng, np.random.Generator):
        raise ArgumentTypeError("rng", rng, "a numpy.random.Generator", "A native step runs with backend='numpy'")
    interface: Any = rng.bit_generator.ctypes
    return interface.bit_generator


def _left(error: SystemError) -> Exception:
    """Return the exception a step with the GIL left, from the one ctypes makes of it."""
    cause = error.__cause__
    if cause is None:
        raise error
    if not isinstance(cause, Exception):
        raise cause
    return cause


def _check_backend(blocks: Any) -> None:
    if not isinstance(blocks.rng, np.random.Generator):
        raise ArgumentError("backend", "python", "'numpy'", "A native step runs with backend='numpy'")


def _check_table(array: Any, dtype: Any, n: int, width: int, written: bool) -> None:
    """Refuse what is not a contiguous array of `dtype` of shape (n, width)."""
    if type(array) is np.ndarray and array.dtype == dtype and array.ndim == (1 if width == _NO_AXIS else 2):
        flags = array.flags
        if flags.c_contiguous and flags.aligned and (flags.writeable or not written):
            if array.shape[0] == n and (width < 0 or array.shape[1] == width):
                return
    raise ValueError(f"expected a C-contiguous array of {np.dtype(dtype)}, {n} rows of the right width")
