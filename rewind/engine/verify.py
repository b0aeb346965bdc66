"""Verification: replays of blocks, compared with the stored states and with each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..kernel import Turn
from ..metrics.guard import Mutation, guarded_metrics
from ..metrics.metric import as_values
from ..metrics.table import TableDifference, TableRows
from ..state.codec import Row, StateCodec
from ..state.columns import Array
from ..state.difference import Description, Difference, first_difference
from ..state.frozen import frozen
from ..steps.global_generators import drawn_from
from ..steps.memory import Form, table
from ..steps.raised import found_already
from ..steps.step import Step
from .recording import Recording
from .replay import BLOCK_CACHE, Cursor, Watch
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


@frozen
class TableMismatch:
    """A block whose states are reproduced, and whose observed numbers are not: the block, its end, and where."""

    block: int
    stop: int
    difference: TableDifference


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
    metrics : mapping of str to callable or None
        Functions of observed metrics: what they give on the way is compared with their tables.

    Attributes
    ----------
    metrics : dict of str to callable or None
    """

    def __init__(self, recording: Recording, step: Step, turn: Turn, metrics: Mapping[str, Any] | None = None) -> None:
        self._recording, self._step, self._turn = recording, step, turn
        self.metrics = {name: f for name, f in (metrics or {}).items() if name in recording.metrics}
        self._rows: Mapping[str, TableRows] | None = None

    def items(self, full: bool) -> list[tuple[int, int]]:
        """Return what there is to look at."""
        return list(enumerate(sampled_blocks(self._recording.grid.n_blocks, self._recording.stride, full)))

    def common(self) -> Any:
        """Return the recording without its checkpoints, the step, and the metrics."""
        return bare(self._recording), self._step, self.metrics

    def part(self, items: Sequence[tuple[int, int]]) -> Any:
        """Return the checkpoints before and after the blocks, and what was observed of them."""
        blocks = [block for _, block in items]
        return excerpt(self._recording.checkpoints, self._recording.stride, blocks), self._observed(blocks)

    @staticmethod
    def start(common: Any, part: Any, items: Sequence[tuple[int, int]]) -> Iterator[Mismatch | TableMismatch | None]:
        """Yield the mismatch of each of some blocks, None where it is reproduced, up to the first that is not."""
        recording, step, metrics = common
        work = Verification(restored(recording, part[0]), step, Turn())
        work.metrics, work._rows = metrics, part[1]
        yield from work.here(items)

    def without_metrics(self) -> tuple[Verification, Verification]:
        """Return this work in two parts: the states alone, and the metrics, whose blocks are only observed."""
        states = Verification(self._recording, self._step, self._turn)
        return states, Observation(self._recording, self._step, self._turn, self.metrics)

    def _observed(self, blocks: Sequence[int]) -> Mapping[str, TableRows]:
        """Return what was observed of the stretches that begin at `blocks`."""
        recording = self._recording
        stops = [min(block + recording.stride, recording.grid.n_blocks) for block in blocks]
        every = [j for block, stop in zip(blocks, stops, strict=True) for j in range(block, stop)]
        return {name: TableRows.of(recording.metrics[name], every) for name in self.metrics}

    def _tables(self, cursor: Cursor, items: Sequence[tuple[int, int]]) -> _Tables | None:
        """Return what compares the metrics of some blocks with their tables; None where there are no metrics."""
        if not self.metrics:
            return None
        rows = self._observed([block for _, block in items]) if self._rows is None else self._rows
        return _Tables(cursor, self.metrics, rows)

    def here(self, items: Sequence[tuple[int, int]]) -> Iterator[Mismatch | TableMismatch | None]:
        """Yield the mismatch of each of some blocks, in this thread."""
        cursor = Cursor(self._recording, self._step)
        native, tables = _Native.of(cursor), self._tables(cursor, items)
        at = 0
        while at < len(items):
            n, failed = (0, False) if native is None else native.reproduces(list(items[at : at + NATIVE_TASK]))
            for _, block in items[at : at + n]:
                with self._turn:
                    unlike = None if tables is None else tables.replay(block)
                yield unlike
                if unlike is not None:
                    return
            at += n
            if n == NATIVE_TASK or at == len(items):
                continue
            i, block = items[at]
            mismatch: Mismatch | TableMismatch | None
            with self._turn if native is None or tables is not None else Turn():
                mismatch = _check_block(cursor, i, block, native, tables)
            if mismatch is None and failed:
                words = Description("the state that was recorded"), Description("another one, in some replays only")
                mismatch = Mismatch(block, self._recording.grid.stop(block), "", *words, False, ())
            yield mismatch
            if mismatch is not None:
                return
            at += 1

    def ends(self, answer: Mismatch | TableMismatch | None) -> bool:
        """Whether this is a failure."""
        return answer is not None


class Observation(Verification):
    """The part of a `Verification` that looks at metrics, and at nothing else: each block is replayed once."""

    def here(self, items: Sequence[tuple[int, int]]) -> Iterator[Mismatch | TableMismatch | None]:
        """Yield the mismatch of each of some blocks, in this thread."""
        cursor = Cursor(self._recording, self._step)
        tables = self._tables(cursor, items)
        for _, block in items:
            with self._turn:
                unlike = None if tables is None else tables.replay(block)
            yield unlike
            if unlike is not None:
                return


class _Tables:
    """What metrics give of a stretch that is replayed, compared with what was observed.

    Parameters
    ----------
    cursor : Cursor
        It replays.
    metrics : mapping of str to callable or None
    rows : mapping of str to TableRows
        Of each metric.
    """

    def __init__(self, cursor: Cursor, metrics: Mapping[str, Any], rows: Mapping[str, TableRows]) -> None:
        self._cursor, self._rows, self._metrics = cursor, rows, metrics
        self._watch = Watch(cursor.step, cursor.recording.checkpoints.codec, metrics)
        self._given: list[list[Array]] = []
        self.unlike: TableMismatch | None = None

    def replay(self, block: int) -> TableMismatch | None:
        """Go through the stretch that begins at `block`, and return where it is unlike what was observed."""
        cursor, stride = self._cursor, self._cursor.recording.stride
        last = min(block + stride, cursor.grid.n_blocks) - 1
        while True:
            self.start()
            cursor.restore(block)
            try:
                _to_end(cursor, last, block + stride < cursor.grid.n_blocks, self)
                return self.unlike
            except Mutation as found:  # once more, on copies
                codec = cursor.recording.checkpoints.codec
                self._metrics = guarded_metrics(self._metrics, codec, found)
                self._watch = Watch(cursor.step, codec, self._metrics)

    def start(self) -> None:
        """Forget what was given."""
        self._given, self.unlike = [], None

    def run(self, n_states: int, n_steps: int) -> None:
        """Go `n_steps` steps, having observed `n_states` states of this block."""
        if not n_states:
            return
        t, pairs = self._cursor.t, self._rows.items()
        observed = self._watch.observe(self._cursor, n_states, n_steps)
        arrays = [as_values(name, got, t, rows.shape) for (name, rows), got in zip(pairs, observed, strict=True)]
        self._given.append([np.array(array) for array in arrays])

    def close(self) -> None:
        """Compare the block that the cursor has gone through."""
        block, grid = self._cursor.block, self._cursor.grid
        start = grid.start(block)
        for (name, rows), *given in zip(self._rows.items(), *self._given, strict=True):
            if self.unlike is None:
                found = rows.difference(name, block, np.concatenate(given), start)
                if found is not None:
                    self.unlike = TableMismatch(block, grid.stop(block), found)
        self._given = []


class _Native:
    """Blocks of a step that runs by itself, replayed without Python between their steps."""

    def __init__(self, cursor: Cursor, form: Form, loop: Any) -> None:
        self.recording, self.blocks, self.form, self.loop = cursor.recording, cursor.blocks, form, loop

    @classmethod
    def of(cls, cursor: Cursor) -> _Native | None:
        """Return what replays blocks that way, None where they cannot be."""
        recording = cursor.recording
        form = cursor.step.form(recording.checkpoints.codec)
        checkpoints = recording.checkpoints
        if form is None or recording.stride != 1 or checkpoints.pickles or checkpoints.wide is not None:
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


def _check_block(
    cursor: Cursor, i: int, block: int, native: _Native | None, tables: _Tables | None = None
) -> Mismatch | TableMismatch | None:
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
        watched = tables if again or not room else None  # in a new process, what happens once happens before
        if watched is None:
            cursor.run(reach)
        else:
            watched.start()
            watched.run(reach, reach)
        inside = codec.encode(cursor.state)
        if again and not codec.same(before, inside):
            return find_mismatch(cursor, block, cursor.t, before, inside)
        before = inside
        _to_end(cursor, min(end, grid.n_blocks) - 1, stored, watched)
        got = codec.encode(cursor.state)
        if not (codec.digest(got) == recording.tail_digest if expected is None else codec.same(expected, got)):
            return find_mismatch(cursor, block, cursor.t, expected, got)
    return None if tables is None else tables.unlike


def compared_step(i: int, room: int) -> int:
    """Return where in the `i`-th block a state is compared, too: anything from 1 to `room`."""
    # Multiples of the golden ratio, modulo 1, are spread evenly however many there are (Knuth, TAOCP 6.4).
    return 1 + (0x9E3779B9 * (i + 1) % (1 << 32) * room >> 32)


def _to_end(cursor: Cursor, block: int, into_next: bool, tables: _Tables | None = None) -> None:
    """Go to the last state of `block`, or into the next one, past the metrics of `tables`."""
    while True:
        is_last, n_states = cursor.block == block, cursor.grid.stop(cursor.block) - cursor.t
        n_steps = n_states if into_next or not is_last else n_states - 1
        if tables is None:
            cursor.run(n_steps)
        else:
            tables.run(n_states, n_steps)
            tables.close()
        if is_last:
            return
        cursor.cross()


def find_mismatch(cursor: Cursor, block: int, step: int, expected: Row | None, got: Row) -> Mismatch:
    """Say where a stretch that begins at `block` and should give `expected` at `step` goes wrong."""
    with found_already(f"block {block} does not reproduce step {step}"):  # the step and the codec are called again
        return _described(cursor, block, step, expected, got)


def _described(cursor: Cursor, block: int, step: int, expected: Row | None, got: Row) -> Mismatch:
    codec = cursor.recording.checkpoints.codec
    replays, drawn = drawn_from(lambda: first_replay_difference(cursor, block, step))
    if replays is not None:
        t, a, b = replays
        difference = _difference(codec, a, b)
        if difference is not None:
            return Mismatch(block, t, difference.path, difference.expected, difference.got, True, drawn)
    if expected is None:
        digest = "a state with another digest"
        return Mismatch(block, step, "", Description(digest), codec.tree(got), False, drawn)
    difference = _difference(codec, expected, got)
    assert difference is not None
    return Mismatch(block, step, difference.path, difference.expected, difference.got, False, drawn)


def _difference(codec: StateCodec, a: Row, b: Row) -> Difference | None:
    """Return where two rows differ: in the states they stand for, where they are bytes that a codec made."""
    found = first_difference(codec.tree(a), codec.tree(b))
    if found is None or codec.user is None or not isinstance(found.expected, bytes):
        return found
    try:
        inside = first_difference(codec.decode(a), codec.decode(b))
    except Exception:  # of the codec, or a state that has no digest
        return found
    return found if inside is None else inside


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
