"""Scans: one pass over blocks of a run, which answers a query for each stretch, here or on workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, overload

import numpy as np

from ..kernel import Turn
from ..metrics.guard import Mutation
from ..state.checkpoints import Checkpoints
from ..state.codec import StateCodec
from ..state.columns import Array
from ..steps.step import Step
from .blocks import Grid
from .recording import Recording
from .replay import Cursor, arrival, first_mutation, is_compared
from .trust import Trust


class Stretch(NamedTuple):
    """The steps from `start` up to, not including, `stop`, all of one block."""

    block: int
    start: int
    stop: int


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


class Query:
    """What a scan looks for in every stretch. It can be pickled, and keeps nothing from one stretch to the next."""

    def answerer(self, cursor: Cursor) -> Callable[[Stretch], Any]:
        """Return a function that gives the answer for a stretch at whose first step the cursor stands.

        It leaves the cursor at the last step of the stretch, or anywhere before where the answer ends the scan.
        """
        raise NotImplementedError

    def ends(self, answer: Any) -> bool:
        """Whether no answer after this one matters."""
        return False

    def watched(self) -> Mapping[str, Any]:
        """Return the user's functions that are given states, by name: only they can have changed one."""
        return {}

    def guarded(self, codec: StateCodec, found: Mutation) -> Query:
        """Return the query with those of them that change a state given copies."""
        raise found


class Scan:
    """A query with what answers it for stretches of a run: `parallel.Work`, whose items are stretches.

    Parameters
    ----------
    recording, step
        What is replayed.
    query : Query
    turn : Turn
        Taken block by block where this is done here.
    trust : Trust
        Settled by the first block that is gone through to its end; an answer from inside of a block waits for it.
    """

    def __init__(self, recording: Recording, step: Step, query: Query, turn: Turn, trust: Trust) -> None:
        self._recording, self._step, self._query, self._turn, self._trust = recording, step, query, turn, trust

    def common(self) -> Any:
        """Return the recording without its checkpoints, the step, the query, and what a worker begins to trust with."""
        return bare(self._recording), self._step, self._query, self._trust

    def part(self, items: Sequence[Stretch]) -> Any:
        """Return the checkpoints before and after some stretches."""
        return excerpt(self._recording.checkpoints, self._recording.stride, [item.block for item in items])

    @staticmethod
    def start(common: Any, part: Any, items: Sequence[Stretch]) -> Iterator[Any]:
        """Yield the answers for some stretches, up to one that ends the scan."""
        recording, step, query, trust = common
        yield from Scan(restored(recording, part), step, query, Turn(), trust).here(items)

    def here(self, items: Sequence[Stretch]) -> Iterator[Any]:
        """Yield the answers for some stretches, up to one that ends the scan, in this thread."""
        trust = self._trust
        trust.look()
        cursor, answer_for = Cursor(self._recording, self._step, entered=lambda _: trust.look()), None
        for item in items:
            with self._turn:
                cursor.seek(item.start)
                if answer_for is None:
                    answer_for = self._query.answerer(cursor)
                while True:
                    try:
                        answer = answer_for(item)
                        ends, block = self._query.ends(answer), cursor.block
                        compared = item.stop == cursor.stop and cursor.t == item.stop - 1 and is_compared(cursor)
                        if compared:
                            self._check_arrival(cursor)
                        break
                    except Mutation as found:  # once more, on copies
                        self._query = self._query.guarded(self._recording.checkpoints.codec, found)
                        cursor = Cursor(self._recording, self._step, entered=lambda _: trust.look())
                        cursor.seek(item.start)
                        answer_for = self._query.answerer(cursor)
                cursor.park()
                if not compared:
                    trust.prove(self._recording, self._step, block)
            yield answer
            if ends:
                return

    def ends(self, answer: Any) -> bool:
        """Whether no answer after this one matters."""
        return self._query.ends(answer)

    def _check_arrival(self, cursor: Cursor) -> None:
        """Refuse a scan whose cursor, at the last step of a block, does not come to the state stored after it."""
        cursor.seek(cursor.t)
        last, found = cursor.t, arrival(cursor)
        if found is None:
            if not self._trust.settled:
                self._trust.settle()
            return
        for function in self._query.watched().values():
            mutation = first_mutation(Cursor(self._recording, self._step), function, found.block, last)
            if mutation is not None:
                raise mutation
        raise found


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
    """Return the rows that replays of some blocks begin and end with; the first row tells whether None is a state."""
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
    """Return a bare recording with the checkpoints of an excerpt; the other rows are zeros that nobody reads."""
    columns = []
    for column in part.columns:
        whole = np.zeros((part.n, *column.shape[1:]), column.dtype)  # pages that are not written take no memory
        whole[part.rows] = column
        columns.append(whole)
    checkpoints = Checkpoints(
        recording.checkpoints.codec,
        part.n,
        tuple(columns),
        dict(part.pickles),
        dict(part.digests),
        recording.checkpoints.wide,
    )
    return replace(recording, checkpoints=checkpoints)
