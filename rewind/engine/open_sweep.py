"""A sweep without a last step: it goes as far as it is told, and can become a recording at any step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import StateError, StepError
from ..metrics.metric import as_values
from ..state.codec import Row
from ..state.columns import Array
from .blocks import thinned_stride
from .recording import Recording
from .sweep import Plan, Report, Sweep, reason_of

#: More steps than any run has.
FOREVER = 1 << 61


class Growing(Sweep):
    """A sweep that stands at some step, goes on from there, and keeps fewer checkpoints the longer it gets.

    Parameters
    ----------
    plan : Plan
        Its ``n_steps`` is not looked at, and its ``tap`` is not called.
    report : callable, optional
        As for `sweep`; called at the end of each block.
    row
        State 0 as ``plan.codec.encode`` keeps it.
    before : Recording, optional
        What there is already, of which the last block is run again; then `row` is the first state of that.

    Notes
    -----
    Whatever ends a call early (a step that raises, Ctrl-C), the sweep stays where it was, at the end of a block or at
    the step it was told to go to before, and can go on.
    """

    def __init__(self, plan: Plan, report: Report | None, row: Row, before: Recording | None = None) -> None:
        super().__init__(replace(plan, n_steps=FOREVER, tap=None), report)
        self.at = (0, row)
        self._held = False  # whether the place stands at step t
        self._thinned = 0  # the last block at whose start the number of checkpoints was looked at
        if before is not None:
            self.take_up(before, row)
            self._thinned = self.at[0]
        self.place = self._place(self.at[1])
        # The step it stands at, and how many of the pieces in `_seen` belong to its block: one assignment changes both.
        self._here: tuple[int, int] = (self.grid.start(self.at[0]), 0)
        self._seen: list[list[Array]] = []  # what each metric gave in that block, piece by piece
        self._begin()
        if before is not None:
            self.go_to(before.n_steps - 1)

    @property
    def t(self) -> int:
        """The step it stands at."""
        return self._here[0]

    @property
    def state(self) -> Any:
        """The live state at step `t`: not to be changed, and gone with the next step."""
        self._hold()
        return self.place.state

    def go_to(self, t: int) -> None:
        """Go forward to step `t`.

        Raises
        ------
        StepError
            If the step raises. The sweep stays at the last step it was told to go to, or after the last finished block.
        """
        while self._here[0] < t:
            with self.plan.turn:
                finished = self._go_on(t)
            if finished and self.report is not None:
                self.report(self._here[0], self.at[0] - 1)

    def recording(self) -> Recording:
        """Return what there is, up to step `t`."""
        with self.plan.turn:
            return self._so_far()

    def rescued(self, error: BaseException) -> Recording:
        """Return what there is when `error` ended a call: up to the step that failed, or else up to step `t`."""
        if isinstance(error, (StepError, StateError)):
            with self.plan.turn:
                done = self._rescued(error)
            if done is not None:
                return done
        return self.cut(reason_of(error))

    def cut(self, reason: str) -> Recording:
        """Return what there is as the finished part of a recording that stopped early."""
        try:
            done = self.recording()
        except Exception as error:  # a metric that fails here: then up to the last state that it does not fail at
            with self.plan.turn:
                rescued = self._rescued(error)
            if rescued is None:
                raise
            done = rescued
        return replace(done, complete=False, stopped=reason)

    def check(self) -> None:
        """Run what there is of the block under way once more, where every block is run twice."""
        here, (block, row) = self._here[0], self.at
        if self.plan.self_check and here > self.grid.start(block):
            with self.plan.turn:
                self._hold()
                expected = self.plan.codec.encode(self.place.state)
                self._check(block, row, here - self.grid.start(block), expected)

    def _go_on(self, t: int) -> bool:
        """Go to step `t` or the end of the block, or some blocks; return whether a block was finished.

        All of it or nothing: a block that cannot be told to the log is run again.
        """
        at, here, held = self.at, self._here, False
        try:
            finished = self._gone_on(t)
            held = not finished
            return finished
        except BaseException:
            self.at, self._here = at, here
            raise
        finally:
            self._held = held

    def _gone_on(self, t: int) -> bool:
        (here, n_seen), (block, _) = self._here, self.at
        stop = self.grid.stop(block)
        if here == self.grid.start(block) and t >= stop:
            many = (t - stop) // self.plan.block_size + 1
            if self._many_blocks(many):
                self._here = self.grid.start(self.at[0]), 0
                self._thin()
                return True
        self._hold()
        self._held = False
        self._keep(*self.at)
        end = min(t, stop)
        if self.ledgers:
            values = self._observed(here, end - here, end - here)
            self._seen[n_seen:] = [values]
        else:
            self.place.run(end - here)
        if end < stop:
            self._here = end, n_seen + 1
            return False
        self._close(block)
        return True

    def _observed(self, here: int, n_states: int, n_steps: int) -> list[Array]:
        """Return what each metric gives for the next states, as arrays of their own."""
        shapes = [one.shape for one in self.ledgers.values()]
        if self._here[1]:
            shapes = [given.shape[1:] for given in self._seen[0]]
        values = self.watch.observe(self.place, n_states, n_steps)
        named = zip(self.ledgers, values, shapes, strict=True)
        return [np.array(as_values(name, given, here, shape)) for name, given, shape in named]

    def _hold(self) -> None:
        """See to it that the place stands at step `t`."""
        if self._held:
            return
        here, (block, row) = self._here[0], self.at
        self.place.enter(block, self.plan.codec.decode(row))
        self.place.run(here - self.grid.start(block))
        self._held = True

    def _close(self, block: int) -> None:
        """Finish the block at whose end the place stands."""
        start, stop = self.grid.start(block), self.grid.stop(block)
        next_row = self.plan.codec.encode(self.place.state)
        if self.ledgers:
            self._enter(block, _joined(self._seen), start)
        if self.plan.self_check:
            self._check(block, self.at[1], stop - start, next_row)
        self.at, self._here = (block + 1, next_row), (stop, 0)
        self._tell(block, [next_row])
        self._keep(*self.at)
        self._thin()

    def _thin(self) -> None:
        """Drop every second checkpoint where there are too many, as if looked at after each block."""
        stride, first = self.stride, self._thinned + 1
        for k in range(first, self.at[0] + 1):
            stride = thinned_stride(stride, k + 1, self.grid.start(k) + 1)
        self._thinned = self.at[0]
        if stride > self.stride:
            self.rows, self.stride = self.rows[:: stride // self.stride], stride

    def _so_far(self) -> Recording:
        self._hold()
        (here, n_seen), (block, row) = self._here, self.at
        self._keep(block, row)
        codec, start = self.plan.codec, self.grid.start(block)
        digest = codec.digest(codec.encode(self.place.state))
        if self.ledgers:
            self._held = False  # until the metrics have looked at it
            values = self._observed(here, 1, 0)
            self._held = True
            self._enter(block, _joined([*self._seen[:n_seen], values]), start)
        return self._finish(block, here + 1, digest)


def _joined(seen: list[list[Array]]) -> list[Array]:
    """Return what each metric gave, of what it gave piece by piece."""
    return [pieces[0] if len(pieces) == 1 else np.concatenate(pieces) for pieces in zip(*seen, strict=True)]
