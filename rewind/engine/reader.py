"""A reader: any state of a run, for any thread, each from a replay that may be trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..errors import MissingStepError
from ..kernel import MISSING, Snapshots, Turn
from ..state.codec import row_bytes
from ..steps.step import Step
from .pace import Part
from .recording import Recording
from .replay import BLOCK_CACHE, Cursor, arrival
from .trust import Trust


class Reader:
    """Any state of a run, for any thread: a cursor that goes on from the last state read, and one block of copies.

    Parameters
    ----------
    recording : Recording
    step : Step or None
        Without it only the stored states are available.
    step_id : str or None
        What to tell the user to load where it is missing.
    trust : Trust
    snapshots : Snapshots, optional
        Extra checkpoints in memory, taken by the sweep.
    """

    def __init__(
        self,
        recording: Recording,
        step: Step | None,
        step_id: str | None,
        trust: Trust,
        snapshots: Snapshots | None = None,
    ) -> None:
        self.recording, self.step, self._step_id, self.snapshots = recording, step, step_id, snapshots
        self.trust, self._epoch = trust, trust.epoch
        self.turn = Turn()
        self.part: Part | None = None  # what was kept at the last step, where it is not the first of its block
        self._cursor: Cursor | None = None
        self._copied: tuple[int, list[Any]] = -1, []

    def __getstate__(self) -> tuple[Any, ...]:
        return self.recording, self.step, self._step_id, self.trust

    def __setstate__(self, parts: tuple[Any, ...]) -> None:
        self.__init__(*parts)  # type: ignore[misc]

    def cursor(self, what: str, t: int | None = None) -> Cursor:
        """Return a cursor of one's own; for a step `t` that is stored, one whose replays are not compared.

        Raises
        ------
        MissingStepError
            If there is no step function; `what` needed it.
        """
        if self.step is None:
            raise MissingStepError(what, self._step_id)
        self._look()
        if t is not None and self._is_stored(t):
            return Cursor(self.recording, self.step)
        return self._new()

    def _is_stored(self, t: int) -> bool:
        grid, block = self.recording.grid, self.recording.grid.block_of(t)
        lead = t == 0 and self.recording.origin.lead
        return t == grid.start(block) and block % self.recording.stride == 0 and not lead

    def _new(self, snapshots: Snapshots | None = None, turn: Turn | None = None) -> Cursor:
        assert self.step is not None
        recording, step, trust = self.recording, self.step, self.trust
        cursor = Cursor(recording, step, snapshots, turn, lambda block: trust.enter(recording, step, block))
        cursor.guard = trust.guard
        return cursor

    def _look(self) -> None:
        """Drop what was made by code, or is of a class, that is another now; `Trust` says so."""
        self.trust.look()
        if self._epoch != self.trust.epoch:
            self._epoch, self._cursor, self._copied, self.snapshots = self.trust.epoch, None, (-1, []), None

    def _shared(self) -> Cursor:
        with self.turn:  # the lock of a cached_property, in Python 3.11, stays locked in a fork
            if self._cursor is None:
                self._cursor = self._new(self.snapshots, self.turn)
            return self._cursor

    @property
    def quick(self) -> Callable[[Any], Any]:
        """``quick(t)`` gives the state at step `t`, or `MISSING` where only `get` can."""
        if self.step is None or not self.trust.open:
            return lambda t: MISSING
        get, part = self._shared().get, self.part
        return get if part is None else lambda t: MISSING if t == part.t else get(t)

    def get(self, t: int) -> Any:
        """Return a private copy of the state at step `t`, ``0 <= t < n_steps``."""
        grid, checkpoints = self.recording.grid, self.recording.checkpoints
        block = grid.block_of(t)
        if self.step is not None:
            self._look()
        if self.part is not None and t == self.part.t:
            return checkpoints.codec.decode(self.part.row)
        if self.step is None or not self.trust.open:
            if self._is_stored(t):
                return checkpoints.restore(block // self.recording.stride)
        if self.step is None:
            raise MissingStepError(f"step {t}", self._step_id)
        held, copies = self._copied
        if block == held and t - grid.start(block) < len(copies):
            return checkpoints.codec.copy(copies[t - grid.start(block)])
        cursor = self._shared()
        state = cursor.get(t)
        if state is not MISSING:
            return state
        # A step reads its own run, or a block is read backward: it is replayed once, and copies serve from then on.
        reached = cursor.t
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
        self._look()
        epoch, cursor = self.trust.epoch, self._new(None, self.turn)
        for t in steps:
            if self.trust.arrived(cursor) and t == cursor.stop:
                self._compare(cursor)
            state = cursor.get(t) if copy else MISSING
            if state is MISSING:  # also where a step iterates over its own run, and where its code is another now
                self._look()
                if epoch != self.trust.epoch:
                    epoch, cursor = self.trust.epoch, self._new(None, self.turn)
                with self.turn:
                    cursor.seek(t)
                    state = self.recording.checkpoints.codec.copy(cursor.state) if copy else cursor.state
            yield state

    def _compare(self, cursor: Cursor) -> None:
        """Make the comparison that was put off, at the last step of a block."""
        with self.turn:
            cursor.seek(cursor.t)
            found = arrival(cursor)
        if found is not None:
            raise self.trust.refused(found)
        self.trust.settle()
