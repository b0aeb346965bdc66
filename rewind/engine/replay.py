"""Replay: a cursor that goes from a checkpoint forward to any step, and metrics on the way."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np

from ..kernel import BlockRng, Place, Snapshots, Turn, Values
from ..metrics import guard
from ..state.checkpoints import Checkpoints
from ..state.codec import Row, StateCodec
from ..state.copies import IMMUTABLE, dataclass_fields
from ..steps.step import Step
from .recording import Recording

# Before Python 3.12 a cached property has one lock for all objects of a class; a fork may find it locked, for ever.
for _thing in (*vars(Recording).values(), *vars(Checkpoints).values()):
    if isinstance(_thing, cached_property) and hasattr(_thing, "lock"):
        _thing.lock = Turn()

#: Most bytes the copies of one block may take, for going backward through it.
BLOCK_CACHE = 1 << 26


class Cursor(Place):
    """A place in a run, found by its recording: step `t`, its live state, and the rng as it stands there.

    Parameters
    ----------
    recording : Recording
    step : Step
    snapshots : Snapshots, optional
        Extra checkpoints in memory.
    turn : Turn, optional
        Shared with the cursors of which one thread at a time is to move any.
    entered : callable, optional
        ``entered(block)`` is called before the first step of a block is taken.
    """

    def __init__(
        self,
        recording: Recording,
        step: Step,
        snapshots: Snapshots | None = None,
        turn: Turn | None = None,
        entered: Callable[[int], None] | None = None,
    ) -> None:
        self.recording, self.step, self.grid = recording, step, recording.grid
        checkpoints = recording.checkpoints
        bind = step.bound(checkpoints.codec)
        super().__init__(
            BlockRng(recording.seed, recording.backend),
            recording.grid,
            recording.stride,
            checkpoints.restorer,
            checkpoints.codec,
            dataclass_fields,
            bind if entered is None else self._binding(bind, entered),
            step.runs_itself,
            checkpoints.restore(0) is None,
            recording.origin.begin(recording.backend),
            turn,
        )
        self.snapshots = snapshots

    def _binding(self, bind: Callable[[], Any], entered: Callable[[int], None]) -> Callable[[], Any]:
        cursor = weakref.ref(self)  # a place that holds itself is only freed by a collection of cycles

        def enter() -> Any:
            place = cursor()
            if place is not None:
                entered(place.block)
            return bind()

        return enter

    @property
    def rng(self) -> Any:
        """The rng the step function receives."""
        return self.blocks.rng

    def row(self, block: int) -> Row:
        """Return what is kept, or would be, of the first state of `block`. The cursor moves."""
        checkpoints, stride = self.recording.checkpoints, self.recording.stride
        if block % stride == 0:
            return checkpoints.row(block // stride)
        self.restore(block - 1)
        self.run(self.stop - self.t)
        return checkpoints.codec.encode(self.state)

    def step_toward(self, t: int) -> None:
        """Go one step towards step `t`; the first step of a block is entered, unless it is `t` itself."""
        if self.t + 1 == self.stop and self.t + 1 < t:
            self.cross()
        else:
            self.run(1)


class Watch:
    """Metrics that are observed on the way, block after block.

    Parameters
    ----------
    step : Step
    codec : StateCodec
    metrics : mapping of str to callable or None
    """

    def __init__(self, step: Step, codec: StateCodec, metrics: Mapping[str, Any]) -> None:
        self.names, self.metrics = list(metrics), list(metrics.values())
        self._step, self._codec, self._asked = step, codec, False
        self._values = [Values(1024) for _ in self.names]
        self._n = 0
        self._loop: Any = None

    def observe(self, place: Place, n_states: int, n_steps: int) -> list[Any]:
        """Return what each metric gives for the next `n_states` states of a block, having gone `n_steps` steps.

        Arrays of float64 are valid until the next call.

        Raises
        ------
        Mutation
            If a metric is seen to change a state.
        """
        if not self._asked:
            self._asked = True
            self._loop = self._step.observer(self._codec, self.names, self.metrics, place.state)
        if self._loop is None:
            for kept in self._values:  # what a step that raised has left there
                kept.take()
            self._observe(place, n_states, n_steps)
            return [values.take() for values in self._values]
        shapes = getattr(self._loop, "shapes", None) or [np.shape(place.state)]
        widths = [math.prod(shape) for shape in shapes]
        state, t = place.state, place.t
        place.state, place.t = None, -1
        table = np.empty((n_states, sum(widths)))
        place.state = self._loop.observe(state, place.blocks.rng, n_states, n_steps, t, table)
        place.t = t + n_steps
        ends = np.cumsum(widths)
        return [
            np.ascontiguousarray(table[:, end - width : end]).reshape(n_states, *shape)
            for shape, width, end in zip(shapes, widths, ends, strict=True)
        ]

    def _observe(self, place: Place, n_states: int, n_steps: int) -> None:
        """Observe step by step; at some of the states, see whether the metrics leave them as they are."""
        observe, done = partial(place.observe, self.names, self.metrics, self._values), 0
        for look in self._looks(place.state, n_states):
            if look > done:
                observe(look - done, look - done)
                done = look
            before = guard.kept(self._codec, place.state)
            observe(1, 0)
            if guard.changed(self._codec, before, place.state):
                raise guard.Mutation(", ".join(self.names), place.t, before)
            done += 1
            if done <= n_steps:
                place.run(1)
        if done < n_states:
            observe(n_states - done, n_steps - done)

    def _looks(self, state: Any, n_states: int) -> list[int]:
        """Return at which of the next states to look: at the first of a block, and now and then at more of them."""
        self._n += 1
        often = self._n & (self._n - 1) == 0  # calls 1, 2, 4, 8, ...
        if type(state) in IMMUTABLE or not (often or n_states >= _LONG):
            return []
        if not any(map(guard.may_change, self.metrics)):
            return []
        if self._n == 1:
            return [*range(min(n_states, _FIRST)), *(k for k in _POWERS if _FIRST <= k < n_states)]
        return [k for k in (_POWERS if often else _POWERS[:1]) if k < n_states]


#: A block of fewer states is not looked at every time, and how many of the first states of all are.
_LONG, _FIRST = 16, 8
_POWERS = tuple(2**k - 1 for k in range(40))


def first_mutation(cursor: Cursor, metric: Callable[[Any], Any] | None, block: int, step: int) -> guard.Mutation | None:
    """Return the first change that `metric` makes of the state it is given, from `block` on up to `step`."""
    if not guard.may_change(metric):
        return None
    assert metric is not None
    codec = cursor.recording.checkpoints.codec
    cursor.restore(block)
    while True:
        before = guard.kept(codec, cursor.state)
        try:
            metric(cursor.state)
        except Exception:  # what it raises is another matter
            return None
        if guard.changed(codec, before, cursor.state):
            return guard.Mutation(getattr(metric, "__name__", "f"), cursor.t, before)
        if cursor.t >= step:
            return None
        cursor.step_toward(step)


def is_compared(cursor: Cursor) -> bool:
    """Whether the state that follows the block in which a cursor stands is stored; of the last one, a digest is."""
    recording = cursor.recording
    return cursor.stop == recording.n_steps or (cursor.block + 1) % recording.stride == 0


def arrival(cursor: Cursor) -> ReplayMismatch | None:
    """Compare where a cursor comes to from the last step of a block with what is stored; None where it is the same.

    The cursor stands at the first step of the next block afterwards, as the step before it left it.
    """
    recording, codec, block = cursor.recording, cursor.recording.checkpoints.codec, cursor.block
    expected = None
    if cursor.stop == recording.n_steps:
        got = codec.encode(cursor.state)
        same = codec.digest(got) == recording.tail_digest
    else:
        cursor.run(cursor.stop - cursor.t)
        got, expected = codec.encode(cursor.state), recording.checkpoints.row((block + 1) // recording.stride)
        same = codec.same(expected, got)
    return None if same else ReplayMismatch(block - block % recording.stride, cursor.t, expected, got)


class ReplayMismatch(Exception):
    """The error for a replay from `block` on that does not give the state that is stored for `step`.

    `expected` is None for the last state of a run, which is kept as a digest.
    """

    def __init__(self, block: int, step: int, expected: Row | None, got: Row) -> None:
        self.block, self.step, self.expected, self.got = block, step, expected, got
        super().__init__(f"block {block} does not reproduce step {step}")

    def __reduce__(self) -> tuple[Any, ...]:
        return ReplayMismatch, (self.block, self.step, self.expected, self.got)
