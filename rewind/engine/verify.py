"""Verification: replays of blocks, compared with the stored states and with each other."""

from __future__ import annotations

import random as global_random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..kernel import Turn
from ..state.codec import Row
from ..state.difference import Description, first_difference
from ..state.frozen import frozen
from ..steps.memory import Form, table
from ..steps.step import Step
from .recording import Recording
from .replay import BLOCK_CACHE, Cursor
from .scan import bare, excerpt, restored

#: Blocks a default `verify` replays at most, besides the last one.
SAMPLE = 32

#: Most steps of a block that are compared one by one.
TRACE = 2048

#: Blocks that are replayed without Python between them.
NATIVE_TASK = 64


@frozen
class Mismatch:
    """A block that is not reproduced: where, in which field, both values.

    `exact` says that `step` is the first differing step: two replays of the block differ there. Otherwise every replay
    agrees, and `step` is the next step that is stored.
    """

    block: int
    step: int
    path: str
    expected: Any
    got: Any
    exact: bool
    global_rng: tuple[str, ...]


def sampled_blocks(n_blocks: int, stride: int, full: bool) -> list[int]:
    """Return the blocks at which a stored stretch begins, last first: all, or a spread that includes the last."""
    starts = range(0, n_blocks, stride)
    if full or len(starts) <= SAMPLE + 1:
        return list(reversed(starts))
    picked = {starts[i * (len(starts) - 1) // SAMPLE] for i in range(SAMPLE + 1)}
    return sorted(picked, reverse=True)


class Verification:
    """Blocks that are replayed and compared: `parallel.Work`, whose items are ``(i, block)``, the `i`-th looked at.

    Last block first, each twice with a false start between: state hidden outside the state (a counter, a cache, an
    environment's own rng) is not where it was when the block was recorded in both replays, whatever it is taken modulo
    and however seldom it comes. A state inside the block is compared, too: what comes once in every block may leave
    its end as it was. And the last and the first block are compared step by step, see `first_replay_difference`.

    Parameters
    ----------
    recording, step
        What is replayed.
    turn : Turn
        Taken block by block where a Python step is verified here.
    """

    def __init__(self, recording: Recording, step: Step, turn: Turn) -> None:
        self._recording, self._step, self._turn = recording, step, turn

    def items(self, full: bool) -> list[tuple[int, int]]:
        """Return what there is to look at."""
        return list(enumerate(sampled_blocks(self._recording.grid.n_blocks, self._recording.stride, full)))

    def common(self) -> Any:
        """Return the recording without its checkpoints, and the step."""
        return bare(self._recording), self._step

    def part(self, items: Sequence[tuple[int, int]]) -> Any:
        """Return the checkpoints before and after the blocks."""
        return excerpt(self._recording.checkpoints, self._recording.stride, [block for _, block in items])

    @staticmethod
    def start(common: Any, part: Any, items: Sequence[tuple[int, int]]) -> Iterator[Mismatch | None]:
        """Yield the mismatch of each of some blocks, None where it is reproduced, up to the first that is not."""
        recording, step = common
        yield from Verification(restored(recording, part), step, Turn()).here(items)

    def here(self, items: Sequence[tuple[int, int]]) -> Iterator[Mismatch | None]:
        """Yield the mismatch of each of some blocks, in this thread."""
        cursor = Cursor(self._recording, self._step)
        native = _Native.of(cursor)
        at = 0
        while at < len(items):
            n, failed = (0, False) if native is None else native.reproduces(list(items[at : at + NATIVE_TASK]))
            yield from [None] * n
            at += n
            if n == NATIVE_TASK or at == len(items):
                continue
            i, block = items[at]
            with self._turn if native is None else Turn():
                mismatch = _check_block(cursor, i, block, native)
            if mismatch is None and failed:
                words = Description("the state that was recorded"), Description("another one, in some replays only")
                mismatch = Mismatch(block, self._recording.grid.stop(block), "", *words, False, ())
            yield mismatch
            if mismatch is not None:
                return
            at += 1

    def ends(self, answer: Mismatch | None) -> bool:
        """Whether this is a failure."""
        return answer is not None


class _Native:
    """Blocks of a step that runs by itself, replayed without Python between their steps."""

    def __init__(self, cursor: Cursor, form: Form, loop: Any) -> None:
        self.recording, self.blocks, self.form, self.loop = cursor.recording, cursor.blocks, form, loop

    @classmethod
    def of(cls, cursor: Cursor) -> _Native | None:
        """Return what replays blocks that way, None where they cannot be."""
        recording = cursor.recording
        form = cursor.step.form(recording.checkpoints.codec)
        if form is None or recording.stride != 1 or recording.checkpoints.pickles:
            return None
        loop = cursor.step.bound(recording.checkpoints.codec)()
        return cls(cursor, form, loop) if getattr(loop, "bulk", True) else None

    def reproduces(self, blocks: list[tuple[int, int]]) -> tuple[int, bool]:
        """Return how many of the first of `blocks` are reproduced, and whether the next one is not or is for others."""
        grid, checkpoints = self.recording.grid, self.recording.checkpoints
        n = 0
        while n < len(blocks):
            i, last = blocks[n]
            m = 1  # as many as follow one another, downwards
            while n + m < len(blocks) and blocks[n + m][1] == last - m:
                m += 1
            first = last - m + 1
            if first == 0 or last == grid.n_blocks - 1:
                return n, False
            rows = table(self.form, checkpoints.part(first, last + 2))
            reaches = np.array([compared_step(i + m - 1 - k, grid.block_size) for k in range(m)], np.int64)
            aways = np.array([_away(i + m - 1 - k, grid.block_size) for k in range(m)], np.int64)
            found = self.loop.check(rows, self.blocks, grid.stream(first), grid.block_size, reaches, aways)
            if found >= 0:
                return n + m - 1 - int(found), True
            n += m
        return n, False

    def replays_differ(self, block: int, n: int) -> bool:
        """Return whether replays of the first `n` steps of `block` differ."""
        row = table(self.form, self.recording.checkpoints.part(block, block + 1))[0]
        stream = self.recording.grid.stream(block)
        return bool(self.loop.trace(row, self.blocks, stream, min(n, TRACE), BLOCK_CACHE) >= 0)


def _away(i: int, room: int) -> int:
    """Return the steps of the false start before the second replay of the `i`-th block."""
    return min(1 + i % 3, room)


def _check_block(cursor: Cursor, i: int, block: int, native: _Native | None) -> Mismatch | None:
    """Return the mismatch of the `i`-th block that is looked at, None where it is reproduced."""
    recording = cursor.recording
    codec, stride, grid = recording.checkpoints.codec, recording.stride, recording.grid
    end = block + stride
    stored = end < grid.n_blocks
    room = grid.stop(block) - grid.start(block) - (block == grid.n_blocks - 1)
    if room and (block == 0 or not stored):
        whole = block > 0 or recording.origin.begin(recording.backend) is None
        if native is None or not whole or native.replays_differ(block, room):
            difference = first_replay_difference(cursor, block, grid.start(block) + room, TRACE)
            if difference is not None:
                return find_mismatch(cursor, block, *difference)
    expected = recording.checkpoints.row(end // stride) if stored else None
    reach, before = compared_step(i, room) if room else 0, None
    for again in (False, True) if room else (False,):
        cursor.restore(block)
        if again:
            cursor.run(_away(i, room))
            cursor.restore(block)
        cursor.run(reach)
        inside = codec.encode(cursor.state)
        if again and not codec.same(before, inside):
            return find_mismatch(cursor, block, cursor.t, before, inside)
        before = inside
        _to_end(cursor, min(end, grid.n_blocks) - 1, stored)
        got = codec.encode(cursor.state)
        if not (codec.digest(got) == recording.tail_digest if expected is None else codec.same(expected, got)):
            return find_mismatch(cursor, block, cursor.t, expected, got)
    return None


def compared_step(i: int, room: int) -> int:
    """Return where in the `i`-th block a state is compared, too: anything from 1 to `room`."""
    # Multiples of the golden ratio, modulo 1, are spread evenly however many there are (Knuth, TAOCP 6.4).
    return 1 + (0x9E3779B9 * (i + 1) % (1 << 32) * room >> 32)


def _to_end(cursor: Cursor, block: int, into_next: bool) -> None:
    while cursor.block < block:
        cursor.cross()
    cursor.run(cursor.grid.stop(block) - cursor.t - (not into_next))


def find_mismatch(cursor: Cursor, block: int, step: int, expected: Row | None, got: Row) -> Mismatch:
    """Say where a stretch that begins at `block` and should give `expected` at `step` goes wrong."""
    codec = cursor.recording.checkpoints.codec
    before = _global_generators()
    replays = first_replay_difference(cursor, block, step)
    drawn = tuple(name for name, state in _global_generators().items() if state != before[name])
    if replays is not None:
        t, a, b = replays
        difference = first_difference(codec.tree(a), codec.tree(b))
        if difference is not None:
            return Mismatch(block, t, difference.path, difference.expected, difference.got, True, drawn)
    if expected is None:
        digest = "a state with another digest"
        return Mismatch(block, step, "", Description(digest), codec.tree(got), False, drawn)
    difference = first_difference(codec.tree(expected), codec.tree(got))
    assert difference is not None
    return Mismatch(block, step, difference.path, difference.expected, difference.got, False, drawn)


def first_replay_difference(
    cursor: Cursor, block: int, step: int, most: int | None = None
) -> tuple[int, Row, Row] | None:
    """Return the first step at which replays of a stretch differ, and both states; None if they agree.

    Three replays, `n` steps and then `n + 1` steps apart: no hidden counter is where it was both times, whatever it is
    taken modulo. At most the first `most` steps are compared.
    """
    codec = cursor.recording.checkpoints.codec
    rows: list[Row] = []
    room = BLOCK_CACHE
    if most is not None:
        step = min(step, cursor.grid.start(block) + most)
    for again in (0, 1, 2):
        cursor.restore(block)
        if again == 2:
            cursor.run(min(1, step - cursor.t))
            cursor.restore(block)
        i = 0
        while cursor.t < step:
            cursor.step_toward(step)
            row = codec.encode(cursor.state)
            if again == 0:
                room -= sum(part.nbytes + 100 for part in row) if isinstance(row, list) else 100
                if room < 0:
                    break
                rows.append(row)
            elif i >= len(rows):
                break
            elif not codec.same(rows[i], row):
                return cursor.t, rows[i], row
            i += 1
    return None


def _global_generators() -> dict[str, Any]:
    numpy_state: Any = np.random.get_state()
    return {
        "random's global generator": global_random.getstate(),
        "numpy.random's global generator": (numpy_state[1].tobytes(), numpy_state[2:]),
    }
