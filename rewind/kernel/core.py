"""Kernel in plain Python: the twin of ``_core.pyx``, with the same names, the same order and the same bits.

Only :mod:`rewind.kernel` imports either of them. What runs per step and per block is here, and nothing else.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import operator
import os
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ArgumentError, ConditionError, MetricError, StepError, StepReturnError
from .block_seed import BlockSeed
from .draws import FastGenerator, FastRandom

__all__ = [
    "default_block_size",
    "block_integer",
    "BlockRng",
    "Values",
    "advance",
    "advance_observed",
    "MISSING",
    "Turn",
    "Snapshots",
    "Place",
    "copied_record",
    "rounds_twice",
]


# ---- blocks


def default_block_size(n_steps: int) -> int:
    """Return the smallest whole number whose square is at least `n_steps`.

    Parameters
    ----------
    n_steps : int
        Number of states of a run, of any size.

    Returns
    -------
    block_size : int
        ``ceil(sqrt(n_steps))``, by integer arithmetic.

    Examples
    --------
    >>> default_block_size(1_000_000), default_block_size(1_000_001)
    (1000, 1001)
    """
    root = math.isqrt(n_steps)
    return root + (root * root < n_steps)


# ---- seeding


def block_integer(seed: int, key: tuple[int, ...]) -> int:
    """Return the 128-bit integer that numpy derives from a seed and a spawn key.

    Parameters
    ----------
    seed : int
        Non-negative, of any size.
    key : tuple of int
        Non-negative integers, of any size.

    Returns
    -------
    integer : int
        The little-endian integer of
        ``numpy.random.SeedSequence(entropy=seed, spawn_key=key).generate_state(4, numpy.uint32)``.

    Raises
    ------
    ValueError
        If `seed` or an integer of `key` is negative.

    Notes
    -----
    The mixing is that of [1]_, as in numpy.

    References
    ----------
    .. [1] M. E. O'Neill, "Developing a seed_seq Alternative", 2015,
       https://www.pcg-random.org/posts/developing-a-seed_seq-alternative.html
    """
    words = np.random.SeedSequence(entropy=operator.index(seed), spawn_key=key).generate_state(4, np.uint32)
    return int.from_bytes(words.astype("<u4").tobytes(), "little")


class Standing:
    """Where the rng of a `BlockRng` stands, for its seed sequence."""

    block = 0
    starts = 0


class BlockRng:
    """One rng, pointed in place to the first draw of any block.

    Parameters
    ----------
    seed : int
        Master seed, non-negative, of any size.
    backend : {"python", "numpy"}
        Whether `rng` is a ``random.Random`` or a ``numpy.random.Generator`` over ``PCG64``.

    Attributes
    ----------
    rng : FastRandom or FastGenerator
        The one object `start` returns, undefined before the first `start`.

    Raises
    ------
    ArgumentError
        If there is no such `backend`.
    ValueError
        If `seed` is negative.

    Notes
    -----
    Not to be shared between threads.

    Examples
    --------
    >>> import numpy as np
    >>> blocks = BlockRng(7, "numpy")
    >>> sequence = np.random.SeedSequence(entropy=7, spawn_key=(3,))
    >>> blocks.start(3).random() == np.random.Generator(np.random.PCG64(sequence)).random()
    True
    """

    rng: FastRandom | FastGenerator

    def __init__(self, seed: int, backend: str) -> None:
        self._seed = operator.index(seed)
        np.random.SeedSequence(self._seed)  # refuses a negative seed
        self._standing = Standing()
        self._block_seed = BlockSeed(self._seed, self._standing)
        if backend == "python":
            self.rng = FastRandom(0)
        elif backend == "numpy":
            self.rng = FastGenerator(np.random.PCG64(self._block_seed))
        else:
            raise ArgumentError("backend", backend, "'python' or 'numpy'")

    def start(self, j: int) -> FastRandom | FastGenerator:
        """Point `rng` to the first draw of block `j` and return it.

        Parameters
        ----------
        j : int
            Index of the block, ``0 <= j < 2**64``.

        Returns
        -------
        rng : FastRandom or FastGenerator
            Always the same object. Numbers it had buffered are dropped.
        """
        j = operator.index(j)
        if not 0 <= j < 1 << 64:
            raise OverflowError(f"block {j} is outside 0 to 2**64 - 1")
        self._begin(j)
        if isinstance(self.rng, FastRandom):
            self.rng.seed(block_integer(self._seed, (j,)))
        else:
            sequence = np.random.SeedSequence(entropy=self._seed, spawn_key=(j,))
            self.rng.bit_generator.state = np.random.PCG64(sequence).state
        return self.rng

    def _begin(self, j: int) -> None:
        self._standing.block = j
        self._standing.starts += 1

    def _keep(self) -> Any:
        """Return where the generator stands; None where more belongs to it."""
        if isinstance(self.rng, FastRandom):
            state = self.rng.getstate()
            return None if state[2] is not None else state
        return None if self._block_seed.in_use else self.rng.bit_generator.state

    def _put_back(self, j: int, kept: Any) -> None:
        """Stand in block `j` as when `_keep` was called."""
        self._begin(j)
        if isinstance(self.rng, FastRandom):
            self.rng.setstate(kept)
        else:
            self.rng.bit_generator.state = kept


# ---- replay loops


def advance(step_fn: Callable[[Any, Any], Any], state: Any, rng: Any, n: int, t: int, none_allowed: bool) -> Any:
    """Return the state `n` steps after `state`.

    Parameters
    ----------
    step_fn : callable
        Called as ``state = step_fn(state, rng)``.
    state : object
        The state at step `t`.
    rng : object
        Handed to every call.
    n, t : int
        Number of calls, and step of `state`.
    none_allowed : bool
        Whether None is a state.

    Returns
    -------
    state : object
        The state at step ``t + n``.

    Raises
    ------
    StepError
        From the exception of the call that failed, with the step of the state that call was given.
        What is not an ``Exception``, such as ``KeyboardInterrupt``, comes through untouched.
    StepReturnError
        If a call returned None and None is no state.
    """
    done, state = _UNROLLED(step_fn, state, rng, n, t, none_allowed)
    if done < n:
        raise StepReturnError(t + done)
    return state


_EIGHT = """\
def unrolled(step_fn, state, rng, n, t, none_allowed):
    i = 0
    try:
        for i in range(0, n - 7, 8):
{steps}
        for i in range(n - n % 8, n):
            state = step_fn(state, rng)
            if state is None and not none_allowed:
                return i, state
    except Exception as error:
        traceback = error.__traceback__
        raise StepError(t + i + LINES.get(traceback.tb_lineno, 0), error) from error
    return n, state
"""


def _unrolled() -> Callable[..., tuple[int, Any]]:
    """Return the loop of `advance` with eight calls a turn: how many were made, and the last state."""
    call = "            state = step_fn(state, rng)\n"
    check = "            if state is None and not none_allowed:\n                return i + {k}, state\n"
    source = _EIGHT.format(steps="".join(call + check.format(k=k) for k in range(8)).rstrip("\n"))
    # The line of the traceback tells which of the eight calls raised.
    lines = {5 + 3 * k: k for k in range(8)}
    namespace: dict[str, Any] = {"StepError": StepError, "LINES": lines}
    exec(compile(source, f"<{__name__}: eight steps a turn>", "exec"), namespace)
    made: Callable[..., tuple[int, Any]] = namespace["unrolled"]
    return made


_UNROLLED = _unrolled()


_NUMBERS = frozenset(
    {np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64}
    | {np.float16, np.float32, np.longdouble, np.intc, np.uintc, np.longlong, np.ulonglong}
)


class Values:
    """What a metric gives over a block: doubles, until something else comes.

    Parameters
    ----------
    capacity : int
        Number of values it has room for at first.

    Examples
    --------
    >>> values = Values(4)
    >>> values.append(2), values.append(0.5)
    (None, None)
    >>> values.take()
    array([2. , 0.5])
    """

    def __init__(self, capacity: int) -> None:
        self._values: list[Any] = []
        self._numbers = True

    def append(self, value: Any) -> None:
        """Add one value."""
        if self._numbers:
            kind = type(value)
            if isinstance(value, float):
                value = float.__float__(value)
            elif kind in _NUMBERS:
                value = float(value)
            elif kind is int or kind is bool:
                try:
                    value = float(value)
                except OverflowError:
                    self._numbers = False
            else:
                self._numbers = False
        self._values.append(value)

    def take(self) -> npt.NDArray[np.float64] | list[Any]:
        """Return the values and be empty again.

        Returns
        -------
        values : ndarray of float64, shape (n,), or list
            An array, valid until the next `append`, if all were real numbers; else what was appended.
        """
        values, numbers = self._values, self._numbers
        self._values, self._numbers = [], True
        return np.array(values, np.float64) if numbers else values


def advance_observed(
    step_fn: Callable[[Any, Any], Any],
    state: Any,
    rng: Any,
    n_states: int,
    n_steps: int,
    t: int,
    none_allowed: bool,
    names: Sequence[str],
    metrics: Sequence[Callable[[Any], Any] | None],
    buffers: Sequence[Values | list[Any]],
) -> Any:
    """Return the state `n_steps` after `state`, having appended the metrics of `n_states` states to `buffers`.

    Parameters
    ----------
    step_fn, state, rng, t, none_allowed
        As for `advance`.
    n_states : int
        Number of states to observe, `state` the first of them.
    n_steps : int
        Number of calls of `step_fn`: `n_states`, or one less for a block no other follows.
    names, metrics : sequence
        Name and function of each metric. None for a function means the state itself.
    buffers : sequence of Values or list
        Where the values of each metric go.

    Returns
    -------
    state : object
        The state at step ``t + n_steps``.

    Raises
    ------
    MetricError
        From the exception of the metric that failed.
    StepError, StepReturnError
        As from `advance`.
    """
    watched = list(zip(names, metrics, buffers, strict=True))
    for i in range(n_states):
        for name, metric, buffer in watched:
            try:
                buffer.append(state if metric is None else metric(state))
            except Exception as error:
                raise MetricError(name, t + i, f"raised {type(error).__name__}: {error}") from error
        if i < n_steps:
            state = advance(step_fn, state, rng, 1, t + i, none_allowed)
    return state


# ---- a place in a run


class Turn(type(threading.RLock())):  # type: ignore[misc]
    """A lock on one or several places: one thread at a time moves them, as a step may keep scratch arrays.

    A context manager, which the same thread may enter again. It is written in C, so that Ctrl-C cannot come after the
    turn is taken and before it is certain to be given back.
    """

    def __new__(cls) -> Turn:  # noqa: D102
        turn: Turn = super().__new__(cls)
        _TURNS.add(turn)
        return turn

    def is_mine(self) -> bool:
        """Return whether this thread has its turn."""
        return bool(self._is_owned())


_TURNS: weakref.WeakSet[Turn] = weakref.WeakSet()
_n_forks = 0


def _forked() -> None:
    """Free the turns of threads that this process, a fork, does not have; a step that forks keeps its own."""
    global _n_forks
    _n_forks += 1
    for turn in _TURNS:
        if not turn.is_mine():
            turn._at_fork_reinit()


#: Packages of which modules are imported when they are used: this one, and those that take long to load.
_IMPORTED_LATE = frozenset({__name__.partition(".")[0], "json", "concurrent", "logging", "statistics", "traceback"})


def _before_a_fork() -> None:
    """Wait for modules that other threads import, at the first save, say: a fork would have them half imported."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _IMPORTED_LATE and getattr(
            getattr(module, "__spec__", None), "_initializing", False
        ):
            with contextlib.suppress(Exception):  # the thread that imports it gets the error
                importlib.import_module(name)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_a_fork, after_in_child=_forked)


class _Missing:
    """What `Place.get` returns where it has no quick answer."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()

_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)}) | (_NUMBERS | {np.float64})


def copied_record(value: Any, fields: tuple[str, ...]) -> Any:
    """Return a copy of an instance all of whose attributes are `fields` and hold plain values, else None.

    Parameters
    ----------
    value : object
        Of a class whose instances are made by ``object.__new__``.
    fields : tuple of str

    Returns
    -------
    copy : object or None

    Examples
    --------
    >>> class Point: pass
    >>> point = Point()
    >>> point.x = 1.5
    >>> copied_record(point, ("x",)).x, copied_record(point, ("x", "y")), copied_record(point, ())
    (1.5, None, None)
    """
    new: Any = object.__new__(type(value))
    attributes = getattr(value, "__dict__", None)
    if attributes is not None and len(attributes) != len(fields):
        return None
    for name in fields:
        try:
            part = object.__getattribute__(value, name) if attributes is None else attributes[name]
        except (AttributeError, KeyError):
            return None
        if type(part) not in _PLAIN:
            return None
        object.__setattr__(new, name, part)
    return new


def _parts_held(value: Any, fields_of: Any, depth: int = 0) -> bool:
    """Return whether other code may refer to a mutable part of `value`; to an unknown object it always may."""
    kind: Any = type(value)
    if kind in _PLAIN:
        return False
    if depth > 8:
        return True
    if kind is np.ndarray:
        return value.base is not None or value.dtype.hasobject
    parts: Any = value
    keys: Any
    if kind is list or kind is tuple:
        keys = range(len(value))
    else:
        if kind is not dict:
            if fields_of(kind) is None:
                return True
            parts = getattr(value, "__dict__", None)
            if parts is None:
                return any(type(getattr(value, name, None)) not in _PLAIN for name in fields_of(kind))
        keys = list(parts)
    for key in keys:
        kind = type(parts[key])
        # Its owner, and the argument of getrefcount, make two.
        if kind not in _PLAIN and kind is not tuple and sys.getrefcount(parts[key]) > 2:
            return True
        if _parts_held(parts[key], fields_of, depth + 1):
            return True
    return False


class Snapshots:
    """Extra states in memory, each with the position of the generator, every few steps of a block.

    Parameters
    ----------
    blocks : BlockRng
        The kind of generator.
    n_blocks, per_block, every : int
        Number of blocks, of snapshots in each, and of steps from one to the next.
    copy : callable
        ``copy(state)`` gives a private copy, or None where a copy inside a block may lose something.

    Notes
    -----
    After a state that cannot be kept, no more snapshots are taken; those before it stay valid.
    """

    def __init__(self, blocks: BlockRng, n_blocks: int, per_block: int, every: int, copy: Callable[[Any], Any]) -> None:
        self.every, self.per_block = every, per_block
        self._copy, self._open = copy, per_block > 0
        self._kept: dict[tuple[int, int], tuple[Any, Any]] = {}

    @property
    def n(self) -> int:
        """Number of snapshots taken."""
        return len(self._kept)

    def __len__(self) -> int:
        return self.n

    def _next_from(self, offset: int) -> int:
        return (offset // self.every + 1) * self.every

    def _take(self, block: int, offset: int, owner: list[Any], fields_of: Any, blocks: BlockRng) -> None:
        """Keep the state in `owner`, unless other code refers to it: what it refers to would not be the copy."""
        key = block, offset // self.every
        if not self._open or key[1] > self.per_block or key in self._kept:
            return
        if type(owner[0]) in _PLAIN:
            kept = owner[0]
        elif sys.getrefcount(owner[0]) > 2 or _parts_held(owner[0], fields_of):
            kept = None
        else:
            kept = self._copy(owner[0])
        if kept is None:
            self._open = False
            return
        where = blocks._keep()
        if where is not None:
            self._kept[key] = kept, where

    def _before(self, block: int, offset: int) -> int:
        m = min(offset // self.every, self.per_block)
        while m > 0 and (block, m) not in self._kept:
            m -= 1
        return m * self.every

    def _restore(self, block: int, offset: int, stream: int, blocks: BlockRng) -> Any:
        state, where = self._kept[block, offset // self.every]
        blocks._put_back(stream, where)
        return state if type(state) in _PLAIN else self._copy(state)


class Place:
    """A place in a run: a step, its live state, and the rng as it stands there.

    At the first step of a block the state is the checkpoint as it is restored, never what the step before returned.

    Parameters
    ----------
    blocks : BlockRng
        Not shared with another place.
    grid : Grid
        The blocks of the run: its ``n_steps``, ``block_size`` and ``origin``.
    stride : int
        Blocks from one stored state to the next.
    restored : list or callable
        The stored states, where they may be shared, or ``restored(i)``, which makes the `i`-th one anew.
    codec : StateCodec
        How states are kept: its ``again`` restores a live state as a checkpoint would, ``copy`` copies it, ``encode``
        and ``same`` tell whether it was changed, and ``user`` is None where a plain number or text is its own copy.
    fields_of : callable
        ``fields_of(type)``: the fields, if instances can be copied by `copied_record`, else None.
    bind : callable
        ``bind()`` gives ``step_fn(state, rng)`` for one block.
    runs_itself : bool
        Whether what `bind` gives has ``advance(state, rng, n, t)`` instead.
    none_allowed : bool
        Whether None is a state.
    first : callable or None
        ``first(place)`` is called when the first block is entered.
    turn : Turn, optional
        Held during `get`. Shared with other places if only one thread at a time may move any of them.

    Attributes
    ----------
    t, block, stop : int
        Step, its block, and the first step after that block; `t` is negative after a step that raised.
    state : object
        The live state.
    snapshots : Snapshots or None
        Taken, and used, on the way.
    guard : tuple or None
        What has to be as it was for `get` to answer: ``(place, key, value)``, where `value` stands at `key` of a
        namespace; or, where `key` is None, in a cell, or is code, defaults and keyword defaults of a function. Or
        ``(None, container, contents)``, of a container or array.
    """

    def __init__(
        self,
        blocks: BlockRng,
        grid: Any,
        stride: int,
        restored: list[Any] | Callable[[int], Any],
        codec: Any,
        fields_of: Callable[[type], tuple[str, ...] | None],
        bind: Callable[[], Any],
        runs_itself: bool,
        none_allowed: bool,
        first: Callable[[Any], None] | None = None,
        turn: Turn | None = None,
    ) -> None:
        self.blocks = blocks
        self._n_steps: int = grid.n_steps
        self._block_size: int = grid.block_size
        self._origin: int = grid.origin
        self._stride = stride
        self._restored, self._codec, self._bind, self._first = restored, codec, bind, first
        self._runs_itself, self._none_allowed = runs_itself, none_allowed
        self._parked: Any = None
        self.t = self.block = self.stop = -1
        self.state: Any = None
        self.step_fn: Any = None
        self.snapshots: Snapshots | None = None
        self.guard: tuple[tuple[Any, Any, Any], ...] | None = None
        self._turn = Turn() if turn is None else turn
        self._forks = _n_forks
        self._fields_of = fields_of

    def _block_of(self, t: int) -> int:
        return (self._origin + t) // self._block_size - self._origin // self._block_size

    def _base(self, block: int) -> int:
        """Return where a block begins; of a first block that is cut short, where it would."""
        return (self._origin // self._block_size + block) * self._block_size - self._origin

    def _stand(self, block: int) -> None:
        self.block, self.stop = block, min(self._base(block) + self._block_size, self._n_steps)
        self.step_fn = self._bind()

    def enter(self, block: int, state: Any) -> None:
        """Go to the first step of `block`, where the state is `state`."""
        self.t = -1
        self.blocks.start(self._origin // self._block_size + block)
        self._stand(block)
        self.state, self._parked = state, None
        if block == 0 and self._first is not None:
            self._first(self)  # until it returns there is no place to go on from
        self.t = max(self._base(block), 0)

    def restore(self, block: int) -> None:
        """Go to the first step of `block`: to its stored state, or from the last one before it and forward."""
        stored = block - block % self._stride
        self.t = -1
        i = stored // self._stride
        self.enter(stored, self._restored[i] if isinstance(self._restored, list) else self._restored(i))
        while self.block < block:
            self.cross()

    def cross(self) -> None:
        """Run to the first step of the next block, and take its state as it would be restored."""
        self.run(self.stop - self.t)
        self.enter(self.block + 1, self._codec.again(self.state))

    def _steps(self, state: Any, n: int, t: int) -> Any:
        if self._runs_itself:
            return self.step_fn.advance(state, self.blocks.rng, n, t)
        return advance(self.step_fn, state, self.blocks.rng, n, t, self._none_allowed)

    def _pieces(self, t: int, end: int) -> Iterator[int]:
        """Yield the steps from `t` to `end`, both excluded, at which a snapshot is taken."""
        if self.snapshots is not None and t >= 0:
            base = self._base(self.block)
            while self.snapshots._open and (t := base + self.snapshots._next_from(t - base)) < end:
                yield t

    def run(self, n: int) -> None:
        """Go `n` steps, all on the stream of this block; the step into the next block is one of them."""
        t, stop = self.t, self.t + n
        owner = [self.state]  # the only one, so that the count of references shows another
        self.t, self.state = -1, None  # a step that raises leaves no place to go on from
        for piece in self._pieces(t, stop):
            owner[0], t = self._steps(owner[0], piece - t, t), piece
            assert self.snapshots is not None
            self.snapshots._take(self.block, t - self._base(self.block), owner, self._fields_of, self.blocks)
        self.state = self._steps(owner.pop(), stop - t, t)
        self.t = stop

    def observe(
        self, names: Sequence[str], metrics: Sequence[Any], values: Sequence[Any], n_states: int, n_steps: int
    ) -> None:
        """Append what `metrics` give for the next `n_states` states of this block to `values`, and go `n_steps` steps.

        Parameters
        ----------
        names, metrics, values
            As ``names``, ``metrics`` and ``buffers`` of `advance_observed`.
        n_states, n_steps : int
            As there.
        """
        owner, t, rng = [self.state], self.t, self.blocks.rng
        last, end = t + n_states, t + n_steps
        step_fn = self.single if self._runs_itself else self.step_fn
        self.t, self.state = -1, None

        def watch(state: Any, n_states: int, n_steps: int, t: int) -> Any:
            return advance_observed(
                step_fn, state, rng, n_states, n_steps, t, self._none_allowed, names, metrics, values
            )

        for piece in self._pieces(t, end):
            owner[0], t = watch(owner[0], piece - t, piece - t, t), piece
            assert self.snapshots is not None
            self.snapshots._take(self.block, t - self._base(self.block), owner, self._fields_of, self.blocks)
        self.state = watch(owner.pop(), last - t, end - t, t)
        self.t = end

    def search(self, cond: Callable[[Any], Any], n_states: int, n_steps: int) -> int:
        """Return the first of the next `n_states` steps of this block at which ``cond(state)`` holds, -1 if none does.

        The place stays at the step that is found; else it goes `n_steps` steps.

        Parameters
        ----------
        cond : callable
            Not called after the first state for which it holds.
        n_states, n_steps : int
            As for `advance_observed`.

        Raises
        ------
        ConditionError
            From the exception of `cond`; the place stays at the state it was given.
        StepError, StepReturnError
            As from `advance`.
        """
        t, rng = self.t, self.blocks.rng
        last, end = t + n_states, t + n_steps
        step_fn = self.single if self._runs_itself else self.step_fn
        while t < last:
            try:
                found = bool(cond(self.state))
            except Exception as error:
                raise ConditionError.raised(error, t) from error
            if found:
                return t
            if t < end:
                state, self.state, self.t = self.state, None, -1
                self.state = advance(step_fn, state, rng, 1, t, self._none_allowed)
            t += 1
            self.t = min(t, end)
        return -1

    def single(self, state: Any, rng: Any) -> Any:
        """Return the next state of a step function that runs by itself."""
        try:
            return self.step_fn.advance(state, rng, 1, 0)
        except StepError as error:
            cause = error.__cause__
        assert cause is not None
        raise cause

    def seek(self, t: int) -> None:
        """Go to step `t`: forward from here where no stored checkpoint is nearer. At most stride*block_size steps."""
        if self._forks != _n_forks:
            self._start_over()
        if self._parked is not None:
            self._unpark()
        if not 0 <= self.t <= t < self.stop or self.snapshots is not None:
            block = self._block_of(t)
            stored = block - block % self._stride
            if self.snapshots is not None:
                base = self._base(block)
                offset = self.snapshots._before(block, t - base)
                if offset and not (self.block == block and base + offset <= self.t <= t):
                    self.t = -1
                    self._stand(block)
                    stream = self._origin // self._block_size + block
                    self.state = self.snapshots._restore(block, offset, stream, self.blocks)
                    self.t = base + offset
            if self.t < 0 or t < self.t or self.block < stored:
                self.restore(stored)
            while self.block < block:
                self.cross()
        if t > self.t:
            self.run(t - self.t)

    def _start_over(self) -> None:
        """Start anew in a fork: a thread it does not have may have been in the middle, and have held numpy's lock."""
        self._forks = _n_forks
        self.t, self.state, self._parked = -1, None, None
        self.blocks = BlockRng(self.blocks._seed, "python" if isinstance(self.blocks.rng, FastRandom) else "numpy")

    def park(self) -> None:
        """Note what the state is if other code may change it before this place moves on, as a step its own array."""
        if self.t < 0 or type(self.state) in _PLAIN:
            return
        if sys.getrefcount(self.state) > 2 or _parts_held(self.state, self._fields_of):
            try:
                self._parked = self._codec.encode(self.state)
            except Exception:  # what cannot be kept cannot be compared
                self.t = -1

    def _unpark(self) -> None:
        """Forget where this place is if its state was changed after `park`."""
        parked, self._parked = self._parked, None
        if self.t >= 0 and not self._codec.same(parked, self._codec.encode(self.state)):
            self.t = -1

    def get(self, t: Any) -> Any:
        """Return a private copy of the state at step `t`, or `MISSING`.

        `MISSING` if `t` is not a plain int from 0 to ``n_steps - 1``, if a step of this very run asks, if `t` is an
        earlier step of the same block, of which a reader may have copies, or if something that `guard` names changed.
        """
        if type(t) is not int or not 0 <= t < self._n_steps or self._turn.is_mine():
            return MISSING
        if self.guard is not None and not _as_before(self.guard):
            return MISSING
        with self._turn:
            if t < self.t and self.snapshots is None and self._block_of(t) == self.block:
                return MISSING
            self.seek(t)
            copy = self._copied(self.state)
            if type(copy) not in _PLAIN:
                self.park()
            return copy

    def _copied(self, state: Any) -> Any:
        """Return a private copy of a live state."""
        if self._codec.user is None:
            if type(state) in _PLAIN:
                return state
            fields = self._fields_of(type(state))
            copy = None if fields is None else copied_record(state, fields)
            if copy is not None:
                return copy
        return self._codec.copy(state)


def _as_before(guard: tuple[tuple[Any, Any, Any], ...]) -> bool:
    """Return whether everything that a guard names is what it was."""
    try:
        for place, key, value in guard:
            if place is None:
                if (key.tobytes() if isinstance(key, np.ndarray) else key) != value:
                    return False
            elif key is not None:
                if place[key] is not value:
                    return False
            elif isinstance(place, types.FunctionType):
                code, defaults, named = value
                if (
                    place.__code__ is not code
                    or place.__defaults__ is not defaults
                    or place.__kwdefaults__ is not named
                ):
                    return False
            elif place.cell_contents is not value:
                return False
    except Exception:  # a name that is gone, values that cannot be compared
        return False
    return True


# ---- the build


def rounds_twice(a: float, b: float, c: float) -> bool:
    """Return whether ``a * b - c`` is zero with the product rounded before the difference is.

    Examples
    --------
    >>> a = 1 + 2**-27  # a * a has 55 bits; a fused multiply-add would leave 2**-54
    >>> rounds_twice(a, a, 1 + 2**-26)
    True
    """
    return a * b - c == 0.0
