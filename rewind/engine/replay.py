"""Replay: a cursor that goes from a checkpoint forward to any step, metrics on the way, and a reader of states."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import MissingStepError
from ..kernel import MISSING, BlockRng, Place, Snapshots, Turn, Values
from ..state.checkpoints import Checkpoints
from ..state.codec import Row, StateCodec, row_bytes
from ..state.copies import dataclass_fields
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
    """

    def __init__(
        self, recording: Recording, step: Step, snapshots: Snapshots | None = None, turn: Turn | None = None
    ) -> None:
        self.recording, self.step, self.grid = recording, step, recording.grid
        checkpoints = recording.checkpoints
        super().__init__(
            BlockRng(recording.seed, recording.backend),
            recording.grid,
            recording.stride,
            checkpoints.restorer,
            checkpoints.codec,
            dataclass_fields,
            step.bound(checkpoints.codec),
            step.runs_itself,
            checkpoints.restore(0) is None,
            recording.origin.begin(recording.backend),
            turn,
        )
        self.snapshots = snapshots

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
        self._loop: Any = None

    def observe(self, place: Place, n_states: int, n_steps: int) -> list[Any]:
        """Return what each metric gives for the next `n_states` states of a block, having gone `n_steps` steps.

        Arrays of float64 are valid until the next call.
        """
        if not self._asked:
            self._asked = True
            self._loop = self._step.observer(self._codec, self.names, self.metrics, place.state)
        if self._loop is None:
            for kept in self._values:  # what a step that raised has left there
                kept.take()
            place.observe(self.names, self.metrics, self._values, n_states, n_steps)
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


def first_mutation(cursor: Cursor, metric: Callable[[Any], Any] | None, block: int, step: int) -> int | None:
    """Return the first step from `block` on, up to `step`, at which `metric` mutates the state it is given."""
    if metric is None:
        return None
    codec = cursor.recording.checkpoints.codec
    cursor.restore(block)
    while True:
        before = codec.digest(codec.encode(cursor.state))
        try:
            metric(cursor.state)
        except Exception:  # what it raises is another matter
            return None
        if codec.digest(codec.encode(cursor.state)) != before:
            return cursor.t
        if cursor.t >= step:
            return None
        cursor.step_toward(step)


class ReplayMismatch(Exception):
    """The error for a replay from `block` on that does not give the state that is stored for `step`.

    `expected` is None for the last state of a run, which is kept as a digest.
    """

    def __init__(self, block: int, step: int, expected: Row | None, got: Row) -> None:
        self.block, self.step, self.expected, self.got = block, step, expected, got
        super().__init__(f"block {block} does not reproduce step {step}")

    def __reduce__(self) -> tuple[Any, ...]:
        return ReplayMismatch, (self.block, self.step, self.expected, self.got)


class Reader:
    """Any state of a run, for any thread: a cursor that goes on from the last state read, and one block of copies.

    Parameters
    ----------
    recording : Recording
    step : Step or None
        Without it only the stored states are available.
    step_id : str or None
        What to tell the user to load where it is missing.
    snapshots : Snapshots, optional
        Extra checkpoints in memory, taken by the sweep.
    """

    def __init__(
        self, recording: Recording, step: Step | None, step_id: str | None, snapshots: Snapshots | None = None
    ) -> None:
        self.recording, self.step, self._step_id, self.snapshots = recording, step, step_id, snapshots
        self.turn = Turn()
        self._cursor: Cursor | None = None
        self._copied: tuple[int, list[Any]] = -1, []

    def __getstate__(self) -> tuple[Any, ...]:
        return self.recording, self.step, self._step_id

    def __setstate__(self, parts: tuple[Any, ...]) -> None:
        self.__init__(*parts)  # type: ignore[misc]

    def cursor(self, what: str) -> Cursor:
        """Return a cursor of one's own.

        Raises
        ------
        MissingStepError
            If there is no step function; `what` needed it.
        """
        if self.step is None:
            raise MissingStepError(what, self._step_id)
        return Cursor(self.recording, self.step)

    @property
    def quick(self) -> Callable[[Any], Any]:
        """``quick(t)`` gives the state at step `t`, or `MISSING` where only `get` can."""
        if self.step is None:
            return lambda t: MISSING
        with self.turn:  # the lock of a cached_property, in Python 3.11, stays locked in a fork
            if self._cursor is None:
                self._cursor = Cursor(self.recording, self.step, self.snapshots, self.turn)
            return self._cursor.get

    def get(self, t: int) -> Any:
        """Return a private copy of the state at step `t`, ``0 <= t < n_steps``."""
        grid, checkpoints = self.recording.grid, self.recording.checkpoints
        block = grid.block_of(t)
        if self.step is None:
            stride = self.recording.stride
            if t == grid.start(block) and block % stride == 0 and not (t == 0 and self.recording.origin.lead):
                return checkpoints.restore(block // stride)
            raise MissingStepError(f"step {t}", self._step_id)
        held, copies = self._copied
        if block == held and t - grid.start(block) < len(copies):
            return checkpoints.codec.copy(copies[t - grid.start(block)])
        state = self.quick(t)
        if state is not MISSING:
            return state
        # A step reads its own run, or a block is read backward: it is replayed once, and copies serve from then on.
        assert self._cursor is not None
        reached = self._cursor.t
        mine = not self.turn.is_mine()
        with self.turn:
            if mine and grid.start(block) <= t < reached <= grid.stop(block) and self._block_fits(block):
                copies = self._copies_of(block, reached)
                self._copied = block, copies
                return checkpoints.codec.copy(copies[t - grid.start(block)])
            other = self.cursor(f"step {t}")
            other.seek(t)
            return checkpoints.codec.copy(other.state)

    def _block_fits(self, block: int) -> bool:
        size = row_bytes(self.recording.checkpoints.row(block // self.recording.stride))
        length = self.recording.grid.stop(block) - self.recording.grid.start(block)
        return (size + 500) * length <= BLOCK_CACHE

    def _copies_of(self, block: int, stop: int) -> list[Any]:
        cursor, codec = self.cursor("going back"), self.recording.checkpoints.codec
        cursor.restore(block)
        copies = [codec.copy(cursor.state)]
        while cursor.t + 1 < stop:
            cursor.run(1)
            copies.append(codec.copy(cursor.state))
        return copies

    def states(self, steps: range, copy: bool = True) -> Iterator[Any]:
        """Yield the states at `steps`, which go forward, in one pass; without `copy` the live ones, to be looked at."""
        if self.step is None:  # the stored states are there all the same
            yield from map(self.get, steps)
            return
        cursor = Cursor(self.recording, self.step, None, self.turn)
        get = cursor.get
        for t in steps:
            state = get(t) if copy else MISSING
            if state is MISSING:  # also where a step iterates over its own run
                with self.turn:
                    cursor.seek(t)
                    state = self.recording.checkpoints.codec.copy(cursor.state) if copy else cursor.state
            yield state
