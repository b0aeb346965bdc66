"""Passes over a run: a question put to stretches of it, block by block, here or by workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, overload

import numpy as np

from ..errors import MetricError
from ..kernel import Turn
from ..metrics.metric import CHANGED
from ..state.checkpoints import Checkpoints
from ..state.columns import Array
from ..steps.step import Step
from .blocks import Grid
from .recording import Recording
from .replay import Cursor, Parted, meddles


class Stretch(NamedTuple):
    """The steps from `first` up to, not including, `behind`, all of one block."""

    block: int
    first: int
    behind: int


class Stretches(Sequence[Stretch]):
    """The stretches of some steps, one for each of some blocks; each is made when it is asked for."""

    def __init__(self, grid: Grid, start: int, stop: int, blocks: Sequence[int]) -> None:
        self._grid, self._start, self._stop, self._blocks = grid, start, stop, blocks

    def __len__(self) -> int:
        return len(self._blocks)

    @overload
    def __getitem__(self, i: int) -> Stretch: ...
    @overload
    def __getitem__(self, i: slice) -> Stretches: ...
    def __getitem__(self, i: int | slice) -> Stretch | Stretches:
        if isinstance(i, slice):
            return Stretches(self._grid, self._start, self._stop, self._blocks[i])
        j = self._blocks[i]
        return Stretch(j, max(self._start, self._grid.start(j)), min(self._stop, self._grid.stop(j)))


def stretches(grid: Grid, start: int, stop: int, among: Array | None = None) -> Stretches:
    """Return the stretches of the steps from `start` up to, not including, `stop`, one for each block.

    Only blocks that `among`, bool of shape (n_blocks,), says are wanted.
    """
    blocks: Sequence[int] = range(grid.block_of(start), grid.block_of(stop - 1) + 1) if start < stop else ()
    if among is not None and blocks:
        blocks = (np.flatnonzero(among[blocks[0] : blocks[-1] + 1]) + blocks[0]).tolist()
    return Stretches(grid, start, stop, blocks)


class Question:
    """What is asked of every stretch. It can be pickled, and holds nothing that a stretch leaves behind."""

    def asker(self, cursor: Cursor) -> Callable[[Stretch], Any]:
        """Return what gives the answer for a stretch at whose first step the cursor stands.

        It leaves the cursor at the last step of the stretch, or anywhere before where the answer ends the pass.
        """
        raise NotImplementedError

    def ends(self, answer: Any) -> bool:
        """Whether no answer behind this one matters."""
        return False

    def watched(self) -> Mapping[str, Any]:
        """Return the user's functions that look at states, by name: only they can be blamed for changing one."""
        return {}

    def blame(self, name: str, step: int) -> Exception:
        """Return what to raise where one of them changed a state."""
        return MetricError(name, step, CHANGED)


class Scan:
    """A question put to stretches of a run: `parallel.Work`, whose items are stretches.

    Parameters
    ----------
    recording, step
        What is replayed.
    question : Question
    turn : Turn
        Taken block by block where this is done here.
    """

    def __init__(self, recording: Recording, step: Step, question: Question, turn: Turn) -> None:
        self._recording, self._step, self._question, self._turn = recording, step, question, turn

    def common(self) -> Any:
        """Return the recording without its checkpoints, the step and the question."""
        return bare(self._recording), self._step, self._question

    def part(self, items: Sequence[Stretch]) -> Any:
        """Return the checkpoints that stretches begin at and lead to."""
        return excerpt(self._recording.checkpoints, self._recording.stride, [item.block for item in items])

    @staticmethod
    def start(common: Any, part: Any, items: Sequence[Stretch]) -> Iterator[Any]:
        """Yield the answers for some stretches, up to one that ends the pass."""
        recording, step, question = common
        yield from Scan(restored(recording, part), step, question, Turn()).here(items)

    def here(self, items: Sequence[Stretch]) -> Iterator[Any]:
        """Yield the answers for some stretches, up to one that ends the pass, in this thread."""
        cursor, ask = Cursor(self._recording, self._step), None
        for item in items:
            with self._turn:
                cursor.seek(item.first)
                if ask is None:
                    ask = self._question.asker(cursor)
                answer = ask(item)
                ends = self._question.ends(answer)
                if item.behind == cursor.stop and cursor.t == item.behind - 1:
                    self._check_arrival(cursor)
                cursor.park()
            yield answer
            if ends:
                return

    def ends(self, answer: Any) -> bool:
        """Whether no answer behind this one matters."""
        return self._question.ends(answer)

    def _check_arrival(self, cursor: Cursor) -> None:
        """Refuse a pass whose cursor, at the last step of a block, does not get to what is stored behind it."""
        recording, codec, block = self._recording, self._recording.checkpoints.codec, cursor.block
        cursor.seek(cursor.t)
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
        for name, function in self._question.watched().items():
            meddled = meddles(Cursor(recording, self._step), function, first, last)
            if meddled is not None:
                raise self._question.blame(name, meddled)
        raise Parted(first, cursor.t, expected, got)


# ---- what travels


class Excerpt(NamedTuple):
    """Some rows of the checkpoints of a run."""

    n: int
    rows: Array
    columns: tuple[Array, ...]
    pickles: Mapping[int, bytes]
    digests: Mapping[int, bytes]


def bare(recording: Recording) -> Recording:
    """Return a recording without what a replay of some blocks has no use for."""
    return replace(recording, metrics={}, checkpoints=recording.checkpoints.part(0, 0))


def excerpt(checkpoints: Checkpoints, stride: int, blocks: Sequence[int]) -> Excerpt:
    """Return what replays of some blocks begin at and lead to; the first row tells whether None is a state."""
    wanted = {0, *(block // stride for block in blocks), *(block // stride + 1 for block in blocks)}
    rows = sorted(row for row in wanted if row < checkpoints.n)
    index = np.array(rows)
    return Excerpt(
        checkpoints.n,
        index,
        tuple(column[index] for column in checkpoints.columns),
        {row: checkpoints.pickles[row] for row in rows if row in checkpoints.pickles},
        {row: checkpoints.digests[row] for row in rows if row in checkpoints.digests},
    )


def restored(recording: Recording, part: Excerpt) -> Recording:
    """Return a bare recording with the checkpoints of an excerpt; the other rows are zeros that nobody asks for."""
    columns = []
    for column in part.columns:
        whole = np.zeros((part.n, *column.shape[1:]), column.dtype)  # pages that are not written take no memory
        whole[part.rows] = column
        columns.append(whole)
    checkpoints = Checkpoints(
        recording.checkpoints.codec, part.n, tuple(columns), dict(part.pickles), dict(part.digests)
    )
    return replace(recording, checkpoints=checkpoints)
