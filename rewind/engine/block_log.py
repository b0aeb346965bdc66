"""A recording block by block: what one finished block adds, and the recording that blocks make together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from ..metrics.moments import Moments, ScalarMoments, VectorMoments
from ..metrics.table import COLUMNS, INTEGER, MetricTable, vector_row
from ..state.checkpoints import Checkpoints, stack
from ..state.codec import Row
from ..state.columns import Array
from ..state.frozen import frozen
from .blocks import thinned_stride
from .pace import Part
from .recording import Recording


@frozen
class BlockDone:
    """What a finished block adds to a recording.

    Attributes
    ----------
    block : int
    row : Row
        What is kept of the state after it, the first of the next block.
    digest : bytes
        Of that state.
    moments : tuple of Moments
        Of each metric over the block.
    ahead : tuple of Moments
        Of each metric at the state after it.
    """

    block: int
    row: Row
    digest: bytes
    moments: tuple[Moments, ...] = ()
    ahead: tuple[Moments, ...] = ()


@frozen
class Stop:
    """Where and why a sweep ended early.

    Attributes
    ----------
    block, n_steps : int
        The last block there is something of, and the number of states.
    digest : bytes
        Of the last state.
    tails : tuple of Moments
        Of each metric over what there is of that block.
    reason : str
    """

    block: int
    n_steps: int
    digest: bytes
    tails: tuple[Moments, ...]
    reason: str


class Log(Protocol):
    """Where a sweep writes its finished blocks, such as a journal."""

    def begin(self, recording: Recording) -> None:
        """Take what there is before the first block: state 0, or all of a run that goes on."""

    def begin_again(self, recording: Recording) -> None:
        """Take back every block, and take what there is before the first one, of a recording that began here."""

    def many(self) -> int:
        """Return how many blocks may be finished between two calls of `add`."""

    def add(self, done: Sequence[BlockDone], ahead: Part | None = None) -> Sequence[Row]:
        """Take blocks that were finished; return their rows, which may lie in a file from now on.

        `ahead` is kept of the block after them, and is there as soon as they are.
        """

    def keep(self, part: Part) -> None:
        """Take what there is of the block under way, in the place of what there was of it."""


def cut_table(table: MetricTable, block: int, closed: Moments | None, tail: Moments) -> MetricTable:
    """Return a table up to `block`, of which there is `tail`; `closed` are the moments of the blocks before."""
    rows = _PieceRows({column: table.rows[column][:block] for column in COLUMNS}, [tail], table)
    return MetricTable(table.shape, rows, closed, tail)


def first_rows(checkpoints: Checkpoints, n: int) -> Checkpoints:
    """Return the first `n` rows of checkpoints, as if there had never been more."""
    part, layout = checkpoints.part(0, n), checkpoints.layout
    if layout is None or (part.wide is None and all(column.dtype.itemsize for column in layout.columns)):
        return part
    # A column of text is as wide as its longest value, and a leaf is of the kinds it has.
    return replace(stack(part.codec, [part.row(i) for i in range(n)]), digests=part.digests)


class Growth:
    """A recording that grows block by block.

    Parameters
    ----------
    base : Recording
        What there was at first; its last block is entered again.
    thin : bool
        Whether every second checkpoint is dropped as often as it takes to keep at most ``2*sqrt(n_steps)`` of them.

    Attributes
    ----------
    block : int
        The block that is not finished yet.
    row : Row
        What is kept of its first state; None until the first block of `base` that is entered again is finished.
    part : Part or None
        What there is of that block.
    """

    def __init__(self, base: Recording, thin: bool = False) -> None:
        self.base, self.thin, self.stride = base, thin, base.stride
        self.first = self.block = base.grid.n_blocks - 1
        self.row: Row = None
        self.part: Part | None = None
        self._codec = base.checkpoints.codec
        self._rows = [base.checkpoints.row(i) for i in range(base.checkpoints.n)]
        self._digests = dict(base.checkpoints.digests)
        self._last: BlockDone | None = None
        self._stop: Stop | None = None
        self._pieces: dict[str, list[Moments]] = {name: [] for name in base.metrics}
        self._closed: dict[str, Moments | None] = {name: table.closed for name, table in base.metrics.items()}

    @property
    def n_steps(self) -> int:
        """Number of states up to the first one of the block that is not finished."""
        return self._start(self.block) + 1 if self._last is not None else self.base.n_steps

    def _start(self, block: int) -> int:
        return replace(self.base, n_steps=1 << 61).grid.start(block)

    def add(self, done: BlockDone) -> None:
        """Enter a finished block.

        Raises
        ------
        ValueError
            If it is not the next one, or not as long as it must be.
        """
        length = self._start(done.block + 1) - self._start(done.block)
        if done.block != self.block or len(done.moments) != len(self._pieces) or len(done.ahead) != len(self._pieces):
            raise ValueError(f"block {done.block} instead of block {self.block}")
        for (name, pieces), moments, ahead in zip(self._pieces.items(), done.moments, done.ahead, strict=True):
            shape = self.base.metrics[name].shape
            if not (_fits(moments, shape, length) and _fits(ahead, shape, 1)):
                raise ValueError(f"statistics of {name}")
            closed: Any = self._closed[name]
            self._closed[name] = moments if closed is None else closed.merge(moments)
            pieces.append(moments)
        self._last, self._stop, self.row, self.block = done, None, done.row, done.block + 1
        self.part = None
        if self.block % self.stride == 0:
            i = self.block // self.stride
            self._rows[i:] = [done.row]
            if isinstance(done.row, bytes):
                self._digests[i] = done.digest
        if self.thin:
            stride = thinned_stride(self.stride, self.block + 1, self.n_steps)
            k, self.stride = stride // self.stride, stride
            if k > 1:
                self._rows = self._rows[::k]
                self._digests = {i // k: digest for i, digest in self._digests.items() if i % k == 0}

    def stop(self, stop: Stop) -> None:
        """Enter how far a sweep that ended early came in its last block.

        Raises
        ------
        ValueError
            If it cannot have come there.
        """
        start = self._start(stop.block)
        length = stop.n_steps - start
        inside = 0 < length <= self._start(stop.block + 1) - start
        if not self.first <= stop.block <= self.block or not inside or len(stop.tails) != len(self._pieces):
            raise ValueError("where it stopped")
        for tail, table in zip(stop.tails, self.base.metrics.values(), strict=True):
            if not _fits(tail, table.shape, length):
                raise ValueError("statistics of the last block")
        self._stop = stop

    def enter(self, part: Part) -> None:
        """Enter what there is of the block that is not finished.

        Raises
        ------
        ValueError
            If it is of another block, or not as long as it says.
        """
        start, stop, probe = self._start(part.block), self._start(part.block + 1), part.probe
        if part.block != self.block or not start <= part.t < stop or len(part.values) != len(self._pieces):
            raise ValueError("where it stands")
        if probe.block == part.block:
            fits = start < probe.t <= part.t
        else:
            fits = probe.block == part.block - 1 and self._start(probe.block) < probe.t <= start
        if not fits:
            raise ValueError("what it is known by")
        for values, table in zip(part.values, self.base.metrics.values(), strict=True):
            if values.shape != (part.t + 1 - start, *table.shape):
                raise ValueError("what was observed")
        self.part = part

    def finished(self) -> Recording:
        """Return the finished blocks as a recording, with the state after them."""
        kept = self._stop, self.part
        self._stop = self.part = None
        try:
            return self.recording()
        finally:
            self._stop, self.part = kept

    def recording(self) -> Recording:
        """Return all there is, as a recording that is not complete."""
        last, stop = self._last, self._of_part()
        if last is None and stop is None:
            return replace(self.base, complete=False)
        if stop is not None:
            block, n_steps, digest, tails = stop.block, stop.n_steps, stop.digest, stop.tails
        else:
            assert last is not None
            block, n_steps, digest, tails = self.block, self.n_steps, last.digest, last.ahead
        n = block // self.stride + 1
        checkpoints = stack(self._codec, self._rows[:n])
        known = {i: digest for i, digest in self._digests.items() if i < n}
        return replace(
            self.base,
            n_steps=n_steps,
            stride=self.stride,
            checkpoints=replace(checkpoints, digests=known),
            tail_digest=digest,
            metrics={name: self._table(name, block, tail) for name, tail in zip(self.base.metrics, tails, strict=True)},
            complete=False,
            stopped=None if stop is None else stop.reason or None,
        )

    def _of_part(self) -> Stop | None:
        """Return how far the sweep came in its last block: as it said, or as was kept last."""
        part, stop = self.part, self._stop
        if part is None or part.t + 1 <= (self.n_steps if stop is None else stop.n_steps):
            return stop
        start = self._start(part.block)
        tails: list[Moments] = []
        for values, table in zip(part.values, self.base.metrics.values(), strict=True):
            if table.shape:
                assert isinstance(table.tail, VectorMoments)
                tails.append(VectorMoments.of(values.reshape(len(values), -1), start, table.tail.shift))
            else:
                tails.append(ScalarMoments.of(values, start))
        return Stop(part.block, part.t + 1, part.digest, tuple(tails), "")

    def _table(self, name: str, block: int, tail: Moments) -> MetricTable:
        before, pieces = self.base.metrics[name], self._pieces[name][: block - self.first]
        closed: Any = self._closed[name]
        if len(pieces) < len(self._pieces[name]):  # a sweep whose last block could not be looked at again
            closed = before.closed
            for piece in pieces:
                closed = piece if closed is None else closed.merge(piece)
        rows = _PieceRows({column: before.rows[column][: self.first] for column in COLUMNS}, [*pieces, tail], before)
        return MetricTable(before.shape, rows, closed, tail)


def _fits(moments: Moments, shape: tuple[int, ...], count: int) -> bool:
    if moments.count != count:
        return False
    if isinstance(moments, ScalarMoments):
        return shape == () and moments.problem() is None
    return shape != () and moments.mean.shape == (math.prod(shape),)


class _PieceRows(Mapping[str, Array]):
    """The columns of a table, made of the moments of its blocks when they are asked for."""

    def __init__(self, before: Mapping[str, Array], pieces: list[Moments], table: MetricTable) -> None:
        self._before, self._pieces, self._shape = before, pieces, table.shape
        self._made: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        if name not in self._made:
            if name not in COLUMNS:
                raise KeyError(name)
            dtype = np.int64 if name in INTEGER else np.float64
            values = [
                vector_row(piece, self._shape)[name] if isinstance(piece, VectorMoments) else getattr(piece, name)
                for piece in self._pieces
            ]
            self._made[name] = np.concatenate([self._before[name], np.array(values, dtype)])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COLUMNS)

    def __len__(self) -> int:
        return len(COLUMNS)
