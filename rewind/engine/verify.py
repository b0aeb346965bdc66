"""Verification: whether the step function gives the stored states again, whatever was run before."""

from __future__ import annotations

import random as global_random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .differences import first_difference
from .replay import BLOCK_CACHE, Cursor
from .states import Row

#: Blocks a default `verify` replays at most, besides the last one.
SAMPLE = 32

#: Most steps of a block that are compared one by one.
TRACE = 2048


@dataclass(frozen=True)
class Mismatch:
    """A block that is not reproduced: where, in which field, both values.

    `exact` says that `step` is the first differing step: two replays of the block part there. Otherwise every replay
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


def find_failure(
    cursor: Cursor, tail_digest: bytes, full: bool, report: Callable[[int, int], None] | None = None
) -> Mismatch | None:
    """Return the first block found that is not reproduced, None if all that were replayed are.

    Last block first, each twice with a false start between: state hidden outside the state (a counter, a cache, an
    environment's own rng) is not where it was when the block was recorded in both replays, whatever it is taken modulo
    and however seldom it comes. A state inside the block is compared, too: what comes once in every block may leave
    its end as it was. And the last and the first block are compared step by step, see `replays_part`.
    """
    recording = cursor.recording
    codec, stride, grid = recording.checkpoints.codec, recording.stride, recording.grid
    blocks = sampled_blocks(grid.n_blocks, stride, full)
    for done, block in enumerate(blocks):
        end = block + stride
        stored = end < grid.n_blocks
        room = grid.stop(block) - grid.start(block) - (block == grid.n_blocks - 1)
        if room and block in (blocks[0], blocks[-1]):
            parted = replays_part(cursor, block, grid.start(block) + room, TRACE)
            if parted is not None:
                return find_mismatch(cursor, block, *parted)
        expected = recording.checkpoints.row(end // stride) if stored else None
        reach, before = compared_step(done, room) if room else 0, None
        for again in (False, True) if room else (False,):
            cursor.restore(block)
            if again:
                cursor.run(min(1 + done % 3, room))
                cursor.restore(block)
            cursor.run(reach)
            inside = codec.encode(cursor.state)
            if again and not codec.same(before, inside):
                return find_mismatch(cursor, block, cursor.t, before, inside)
            before = inside
            _to_end(cursor, min(end, grid.n_blocks) - 1, stored)
            got = codec.encode(cursor.state)
            if not (codec.digest(got) == tail_digest if expected is None else codec.same(expected, got)):
                return find_mismatch(cursor, block, cursor.t, expected, got)
        if report is not None:
            report(done + 1, block)
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
    parted = replays_part(cursor, block, step)
    drawn = tuple(name for name, state in _global_generators().items() if state != before[name])
    if parted is not None:
        t, a, b = parted
        difference = first_difference(codec.tree(a), codec.tree(b))
        if difference is not None:
            return Mismatch(block, t, difference.path, difference.expected, difference.got, True, drawn)
    if expected is None:
        digest = "a state with another digest"
        return Mismatch(block, step, "", _Words(digest), codec.tree(got), False, drawn)
    difference = first_difference(codec.tree(expected), codec.tree(got))
    assert difference is not None
    return Mismatch(block, step, difference.path, difference.expected, difference.got, False, drawn)


class _Words:
    """A description that stands where a value would."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def replays_part(cursor: Cursor, block: int, step: int, most: int | None = None) -> tuple[int, Row, Row] | None:
    """Return the first step at which replays of a stretch part, and both states; None if they do not.

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
