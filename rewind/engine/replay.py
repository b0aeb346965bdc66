"""Replaying: from a checkpoint forward to any step, by the blocks and streams the sweep used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import MetricError, MissingStepError
from ..kernel import BlockRng, advance, advance_observed
from .recording import Recording
from .seeds import set_state
from .states import Row
from .steps import Step

#: Most bytes the copies of one block may take, for going backward through it.
BLOCK_CACHE = 1 << 26


class Cursor:
    """A place in a run: step `t`, its live state, and the rng as it stands there.

    At the first step of a block the state is the checkpoint as it is restored, never what the step before returned.
    """

    def __init__(self, recording: Recording, step: Step) -> None:
        self.recording, self.step, self.grid = recording, step, recording.grid
        self.rng = BlockRng(recording.seed, recording.backend)
        self.none_allowed = recording.checkpoints.restore(0) is None
        self.t = self.block = self.stop = -1
        self.state: Any = None
        self._step_fn: Any = None

    def enter(self, block: int, state: Any) -> None:
        """Stand at the first step of `block`, with `state` there."""
        rng = self.rng.start(self.grid.stream(block))
        first = self.recording.origin.rng_state
        if block == 0 and first is not None:
            set_state(rng, self.recording.backend, dict(first))
        self.block, self.t, self.stop, self.state = block, self.grid.start(block), self.grid.stop(block), state
        self._step_fn = self.step.for_block()
        lead = self.recording.origin.lead
        if block == 0 and lead:
            self.t = -lead
            self.run(lead)

    def restore(self, block: int) -> None:
        """Stand at the first step of `block`: at its checkpoint, or `stride` blocks at most behind it and forward."""
        stride = self.recording.stride
        stored = block - block % stride
        self.enter(stored, self.recording.checkpoints.restore(stored // stride))
        while self.block < block:
            self.cross()

    def row(self, block: int) -> Row:
        """Return what is kept, or would be, of the first state of `block`. The cursor moves."""
        checkpoints, stride = self.recording.checkpoints, self.recording.stride
        if block % stride == 0:
            return checkpoints.row(block // stride)
        self.restore(block - 1)
        self.run(self.stop - self.t)
        return checkpoints.codec.encode(self.state)

    def cross(self) -> None:
        """Run to the first step of the next block, and take its state as it would be restored."""
        self.run(self.stop - self.t)
        codec = self.recording.checkpoints.codec
        self.enter(self.block + 1, codec.decode(codec.encode(self.state)))

    def run(self, n: int) -> None:
        """Go `n` steps on the stream of this block, the step into the next block included."""
        state, t = self.state, self.t
        self.state, self.t = None, -1  # a step that raises leaves no place to go on from
        self.state = advance(self._step_fn, state, self.rng.rng, n, t, self.none_allowed)
        self.t = t + n

    def seek(self, t: int) -> None:
        """Go to step `t`: forward from here where no stored checkpoint is nearer. At most stride*block_size steps."""
        if 0 <= self.t <= t < self.stop:
            return self.run(t - self.t)
        block = self.grid.block_of(t)
        stored = block - block % self.recording.stride
        if self.t < 0 or t < self.t or self.block < stored:
            self.restore(stored)
        while self.block < block:
            self.cross()
        self.run(t - self.t)

    def step_toward(self, t: int) -> None:
        """Go one step towards step `t`; the first step of a block is entered, unless it is `t` itself."""
        if self.t + 1 == self.stop and self.t + 1 < t:
            self.cross()
        else:
            self.run(1)

    def observe(self, names: list[str], metrics: list[Any], n_states: int, n_steps: int) -> list[list[Any]]:
        """Collect what `metrics` give for the next `n_states` states of this block while going `n_steps` steps."""
        buffers: list[list[Any]] = [[] for _ in metrics]
        state, t = self.state, self.t
        self.state, self.t = None, -1
        self.state = advance_observed(
            self._step_fn, state, self.rng.rng, n_states, n_steps, t, self.none_allowed, names, metrics, buffers
        )
        self.t = t + n_steps
        return buffers


def meddles(cursor: Cursor, metric: Callable[[Any], Any] | None, block: int, step: int) -> int | None:
    """Return the first step from `block` on, up to `step`, at which `metric` changes the state it is given."""
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


class Parted(Exception):
    """A pass that did not get to what is stored: from `block` on, at `step`; None is the tail, kept as a digest."""

    def __init__(self, block: int, step: int, expected: Row | None, got: Row) -> None:
        self.block, self.step, self.expected, self.got = block, step, expected, got
        super().__init__(f"block {block} does not get to step {step}")


class Reader:
    """Any state of a run, for any thread: a cursor that goes on from the last question, and one block of copies.

    Parameters
    ----------
    recording : Recording
    step : Step or None
        Without it only the stored states are to be had.
    step_id : str or None
        What to ask for where it is missing.
    """

    def __init__(self, recording: Recording, step: Step | None, step_id: str | None) -> None:
        self.recording, self.step, self._step_id = recording, step, step_id
        self._lock = threading.RLock()
        self._cursor: Cursor | None = None
        self._block = -1
        self._copies: list[Any] = []

    def __getstate__(self) -> tuple[Any, ...]:
        return self.recording, self.step, self._step_id

    def __setstate__(self, parts: tuple[Any, ...]) -> None:
        self.__init__(*parts)  # type: ignore[misc]

    def cursor(self, what: str) -> Cursor:
        """Return a cursor of its own.

        Raises
        ------
        MissingStepError
            If there is no step function; `what` needed it.
        """
        if self.step is None:
            raise MissingStepError(what, self._step_id)
        return Cursor(self.recording, self.step)

    def get(self, t: int) -> Any:
        """Return a private copy of the state at step `t`, ``0 <= t < n_steps``."""
        grid, checkpoints = self.recording.grid, self.recording.checkpoints
        with self._lock:
            cursor = self._cursor
            if cursor is not None and 0 <= cursor.t < t < cursor.stop:  # a scan: what most questions are
                self._cursor = None
                cursor.run(t - cursor.t)
                self._cursor = cursor
                return checkpoints.codec.copy(cursor.state)
        block = grid.block_of(t)
        is_stored = t == grid.start(block) and block % self.recording.stride == 0
        if self.step is None and is_stored and not (t == 0 and self.recording.origin.lead):
            return checkpoints.restore(block // self.recording.stride)
        with self._lock:
            if block == self._block and t - grid.start(block) < len(self._copies):
                return checkpoints.codec.copy(self._copies[t - grid.start(block)])
            # Taken away while in use: a step that raises, or asks this run itself, finds no half-moved cursor.
            cursor, self._cursor = self._cursor, None
            if cursor is None:
                cursor = self.cursor(f"step {t}")
            if cursor.block == block and 0 <= t < cursor.t and self._block_fits(block):
                copies = self._copies_of(block, cursor.t)
                self._block, self._copies, self._cursor = block, copies, cursor
                return checkpoints.codec.copy(copies[t - grid.start(block)])
            cursor.seek(t)
            copy = checkpoints.codec.copy(cursor.state)
            self._cursor = cursor
            return copy

    def _block_fits(self, block: int) -> bool:
        row = self.recording.checkpoints.row(block // self.recording.stride)
        size = (
            sum(column.nbytes for column in row) if isinstance(row, list) else len(row) if isinstance(row, bytes) else 8
        )
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

    def each(self, start: int, stop: int, every: int = 1, copy: bool = True) -> Iterator[tuple[int, Any]]:
        """Yield ``(t, state)`` for steps start, start+every, ... below `stop`, in one pass."""
        if self.step is None:  # the stored states are to be had all the same
            yield from ((t, self.get(t)) for t in range(start, stop, every))
            return
        cursor = self.cursor("iterating")
        codec = self.recording.checkpoints.codec
        for t in range(start, stop, every):
            with self._lock:
                cursor.seek(t)
                state = codec.copy(cursor.state) if copy else cursor.state
            yield t, state

    def _check_arrival(self, cursor: Cursor, name: str, metric: Any) -> None:
        """Refuse a pass whose cursor, at the last step of a block, does not get to what is stored behind it."""
        recording, codec, block = self.recording, self.recording.checkpoints.codec, cursor.block
        last, expected = cursor.t, None
        if cursor.stop == recording.n_steps:
            got = codec.encode(cursor.state)
            same = codec.digest(got) == recording.tail_digest
        elif (block + 1) % recording.stride:
            return
        else:
            cursor.run(1)
            got, expected = codec.encode(cursor.state), recording.checkpoints.row((block + 1) // recording.stride)
            same = codec.same(expected, got)
        if same:
            return
        first = block - block % recording.stride
        meddled = meddles(self.cursor("stats"), metric, first, last)
        if meddled is not None:
            raise MetricError(name, meddled, "changed the state it was given")
        raise Parted(first, cursor.t, expected, got)

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield ``(block, first, behind)`` for the stretches of the blocks between two steps."""
        grid = self.recording.grid
        for block in range(grid.block_of(start), grid.block_of(stop - 1) + 1):
            yield block, max(start, grid.start(block)), min(stop, grid.stop(block))

    def observed(
        self, name: str, metric: Any, start: int, stop: int, done: Callable[[int, int], None]
    ) -> Iterator[tuple[int, list[Any]]]:
        """Yield ``(first step, values)`` of a metric for each block between two steps, in one pass."""
        cursor = self.cursor("stats")
        for block, first, behind in self.blocks(start, stop):
            with self._lock:
                cursor.seek(first)
                values = cursor.observe([name], [metric], behind - first, behind - first - 1)[0]
                if behind == cursor.stop:
                    self._check_arrival(cursor, name, metric)
            yield first, values
            done(behind - start, block)
