"""A sweep without a last step: it goes as far as it is told, and can become a recording at any step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import StateError, StepError
from ..metrics.guard import Mutation
from ..metrics.metric import as_values
from ..state.codec import Row
from ..state.columns import Array
from .blocks import thinned_stride
from .pace import LOOK, Part
from .plan import Plan, Report, reason_of
from .recording import Recording
from .sweep import Sweep, joined

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
    part : Part, optional
        What was kept inside that block; it stands there then.

    Notes
    -----
    Whatever ends a call early (a step that raises, Ctrl-C), the sweep stays where it was, at the end of a block or at
    the step it was told to go to before, and can go on.
    """

    def __init__(
        self,
        plan: Plan,
        report: Report | None,
        row: Row,
        before: Recording | None = None,
        part: Part | None = None,
    ) -> None:
        super().__init__(replace(plan, n_steps=FOREVER, tap=None), report)
        self.at = (0, row)
        self._held = False  # whether the place stands at step t
        self._thinned = 0  # the last block at whose start the number of checkpoints was looked at
        if before is not None:
            self.take_up(before, row, part)
            self._thinned = self.at[0]
        self.place = self._place(self.at[1])
        # The step it stands at, and how many of the pieces in `_seen` belong to its block: one assignment changes both.
        self._here: tuple[int, int] = (self.grid.start(self.at[0]), 0)
        self._seen: list[list[Array]] = []  # what each metric gave in that block, piece by piece
        self._try_first_steps(row)
        self._begin()
        if part is not None and part.t > self._here[0]:
            self._seen = [[values[:-1] for values in part.values]]
            self._here = part.t, 1
        elif before is not None:
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
            elif not finished and self.plan.pace is not None:
                with self.plan.turn:
                    self._inside()

    def _inside(self) -> None:
        """Between two pieces of a block: a look at signals, and what there is of it is kept where that is due."""
        here, n_seen = self._here
        block = self.at[0]
        rest = self.grid.stop(block) - here
        try:
            self._between(block, here, rest, self._seen[:n_seen])
        finally:
            self._stands = None

    def settle(self) -> None:
        """Raise for a signal that came before: here, or at the end of the block where that is near."""
        stop, pace = self.grid.stop(self.at[0]), self.plan.pace
        if pace is not None:
            pace.look(stop - self._here[0])
        self.go_to(stop)

    def keep(self) -> None:
        """Keep what there is of a block that takes long, so that another sweep goes on from step `t`."""
        (here, n_seen), block, pace = self._here, self.at[0], self.plan.pace
        done, rest = here - self.grid.start(block), self.grid.stop(block) - here
        if pace is None or pace.takes(max(done, rest)) <= LOOK:
            return
        if done and (self.part is None or self.part.t < here):
            with self.plan.turn:
                self._hold()
                if self._is_restorable():
                    self._keep_part(block, here, self._seen[:n_seen])

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
        except BaseException as error:
            self.at, self._here = at, here
            if not isinstance(error, Mutation) or here[1] or here[0] != self.grid.start(at[0]):
                raise
            found = error
        finally:
            self._held = held
        if at[0] > self.first and not self._is_clean():
            raise found
        self._give_copies(found)
        return self._go_on(t)

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
        end, pace = min(t, stop), self.plan.pace
        if pace is not None and here == self.grid.start(block):
            self._since = pace.clock()
        if pace is not None:
            end = here + pace.steps(end - here)
        if self.ledgers:
            values = self._observed(here, end - here, end - here)
            self._seen[n_seen:] = [values]
        else:
            self.place.run(end - here)
        if pace is not None:
            pace.made(end - here)
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
        if self.part is not None and self.part.block == block and self.part.t <= here:
            self.place = self._enter_part(self.part)
        else:
            self.place.enter(block, self.plan.codec.decode(row))
        self.place.run(here - self.place.t)
        self._held = True

    def _close(self, block: int) -> None:
        """Finish the block at whose end the place stands."""
        start, stop = self.grid.start(block), self.grid.stop(block)
        if self.plan.draws is not None:
            self.plan.draws.look(self.place.blocks.rng, self.grid.stream(block), stop - start, self.place.state)
        next_row = self.plan.codec.encode(self.place.state)
        if self.plan.misfits is not None:
            self.plan.misfits.look(next_row, stop)
        if self.ledgers:
            self._enter(block, joined(self._seen), start)
        if self.plan.self_check:
            self._check(block, self.at[1], stop - start, next_row)
        self._try_again(block + 1, next_row)
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
            self._enter(block, joined([*self._seen[:n_seen], values]), start)
        return self._finish(block, here + 1, digest)
