"""Trust: a replay is compared with the recording, for a block, before the first state of it is handed out.

That is so after a file was loaded, in another process, and after the code of the step changed: there the step may hold
to other values than those that were recorded, such as an order of a set, a global, a library.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from threading import get_ident
from typing import Any

from ..errors import RewindError, StepSourceWarning, UncheckedReplayWarning, changed_here
from ..state.callers import user_level
from ..state.checkpoints import Checkpoints
from ..steps.code import Code, classes_of, differing
from ..steps.step import Step
from .recording import Recording
from .replay import Cursor, ReplayMismatch, arrival, is_compared

#: Most seconds that the comparison may take; where it would be more, it waits until a pass comes by.
SECONDS = 10.0
#: Seconds of steps from which on their pace is believed.
PACE = 0.02


class Trust:
    """Whether what a step gives here is known to be what was recorded.

    Parameters
    ----------
    step : Step or None
        With its checkpoints; None in a worker, whose code nobody changes.
    checkpoints : Checkpoints or None
    clock : callable
        Gives seconds.
    settled : bool
        Whether it was compared, or recorded, in this process and with this code.
    waived : bool
        Whether nothing is compared, as the caller wants it.
    recorded : mapping of str to str, optional
        The parts of the code when a recording began that ended just now: what differs was written by the step.

    Attributes
    ----------
    epoch : int
        Counts the changes of code and classes: what was kept of states before is out of date.
    refuse : callable or None
        Makes the error of a `ReplayMismatch`.
    """

    def __init__(
        self,
        step: Step | None,
        checkpoints: Checkpoints | None,
        clock: Callable[[], float],
        *,
        settled: bool = False,
        waived: bool = False,
        recorded: dict[str, str] | None = None,
    ) -> None:
        self._step, self._checkpoints, self._clock = step, checkpoints, clock
        self.settled, self.waived, self.postponed = settled, waived, False
        self.epoch = 0
        self.refuse: Callable[[ReplayMismatch, Trust], Exception] | None = None
        self.changes: tuple[str, ...] = ()
        self._written: set[str] = set()
        self._told: set[str] = set()
        self._provers: set[int] = set()
        self.code: Code | None = None
        try:
            self.code = self._read()
        except RewindError:  # a class or a codec that is not here, which is said where a state is made
            return
        if recorded is not None and self.code is not None:
            self._leave_out(differing(recorded, self.code.parts))

    def __reduce__(self) -> tuple[Any, ...]:
        return _in_worker, (self._clock, self.waived)

    @property
    def open(self) -> bool:
        """Whether states may be handed out with no more ado."""
        return self.settled or self.postponed or self.waived

    @property
    def written(self) -> tuple[str, ...]:
        """What the step is seen to write besides its state."""
        return tuple(dict.fromkeys([*(self.code.written if self.code else ()), *sorted(self._written)]))

    @property
    def guard(self) -> tuple[Any, ...] | None:
        """What a `Place` looks at before it answers."""
        return self.code.guard if self.code is not None else None

    def _read(self) -> Code | None:
        if self._step is None or self._checkpoints is None:
            return None
        return Code(self._step.function, classes_of(self._checkpoints), self._written)

    def _leave_out(self, names: list[str]) -> None:
        if names:
            self._written |= set(names)
            self.code = self._read()
            self.epoch += 1

    def look(self) -> None:
        """Say what of the code changed since it was last looked at; then it has to be compared anew.

        Raises
        ------
        StateClassError
            If a class of states is not what it was.
        """
        before = self.code
        if before is None or get_ident() in self._provers or before.same_at_length():
            return
        assert self._step is not None and self._checkpoints is not None
        layout = self._checkpoints.codec.layout
        if layout is not None:
            layout.look_up_classes()
        now = self._read()
        assert now is not None
        again = [name for name in differing(before.parts, now.parts) if name in self._told & now.contents]
        news = before.news(now)
        self.code, self.epoch = now, self.epoch + 1
        if again and len(again) == len(news):  # it changes as the step goes on: hidden state, and said once
            self._leave_out(again)
        elif news:
            self._told |= set(differing(before.parts, now.parts))
            self.changes = tuple(dict.fromkeys([*self.changes, *news]))
            self.settled = self.postponed = False
            name = getattr(self._step.function, "__qualname__", type(self._step.function).__qualname__)
            warnings.warn(StepSourceWarning(changed_here(name, news)), stacklevel=user_level())

    def enter(self, recording: Recording, step: Step, block: int) -> None:
        """Look, and compare a replay of `block` with what is stored after it, where none was compared."""
        self.look()
        self.prove(recording, step, block)

    def prove(self, recording: Recording, step: Step, block: int) -> None:
        """Compare a replay of `block` with what is stored after it, unless one was compared before.

        Raises
        ------
        ReplayMismatch, or what `refuse` makes of it
            If it is not the same.
        """
        if self.open or get_ident() in self._provers:
            return
        self._provers.add(get_ident())
        try:
            found = self._compared(Cursor(recording, step), block)
        finally:
            self._provers.discard(get_ident())
        if found is not None:
            raise self.refused(found)
        if self.postponed:
            warnings.warn(UncheckedReplayWarning(SECONDS), stacklevel=user_level())

    def refused(self, found: ReplayMismatch) -> Exception:
        """Return the error for a replay that is not the same."""
        return found if self.refuse is None else self.refuse(found, self)

    def settle(self) -> None:
        """Note that a replay was compared, and is the same."""
        self.settled, self.postponed, self.changes = True, False, ()
        if self.code is not None and not self.code.same():
            now = self._read()
            assert now is not None
            self._leave_out(differing(self.code.parts, now.parts))

    def _compared(self, cursor: Cursor, block: int) -> ReplayMismatch | None:
        """Run a stored stretch to its end and compare; where that takes too long, note that it is put off."""
        grid, stride = cursor.recording.grid, cursor.recording.stride
        first = block - block % stride
        last = min(first + stride, grid.n_blocks) - 1
        begin, goal = grid.start(first), grid.stop(last) - 1
        if begin == goal and goal == cursor.recording.n_steps - 1:  # no step is taken here, and none is trusted
            return None
        cursor.restore(first)
        piece, done, spent = 1, 0, 0.0
        while cursor.t < goal:
            began, t = self._clock(), cursor.t
            room = min(cursor.stop - t, goal - t)
            if cursor.t + room == cursor.stop and piece >= room:
                cursor.cross()
            else:
                cursor.run(min(piece, room))
            if t > begin:  # the first step may compile, or load something
                done, spent = done + cursor.t - t, spent + self._clock() - began
            if spent >= PACE and spent / done * (goal - cursor.t) > SECONDS:
                self.postponed = True
                return None
            piece *= 2
        found = arrival(cursor)
        if found is None:
            self.settle()
        return found

    def arrived(self, cursor: Cursor) -> bool:
        """Whether a cursor stands where a comparison that was put off can be made; the next move makes it."""
        return self.postponed and cursor.t == cursor.stop - 1 and is_compared(cursor)


def _in_worker(clock: Callable[[], float], waived: bool) -> Trust:
    return Trust(None, None, clock, waived=waived)
