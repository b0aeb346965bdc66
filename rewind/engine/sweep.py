"""The sweep: the first pass over a run, which keeps a checkpoint per block and observes what it is asked to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from ..errors import StateError, StepError
from ..kernel import BlockRng, Place
from ..metrics.guard import Mutation
from ..metrics.metric import as_values
from ..metrics.table import Ledger, MetricTable
from ..state.checkpoints import stack
from ..state.codec import Row
from ..state.columns import Array
from ..state.copies import dataclass_fields
from ..steps.memory import rows_of
from ..steps.params import may_change, same
from .bench import Bench
from .block_log import BlockDone
from .blocks import Grid
from .handover import Handover
from .pace import KNOWN, LONG, LOOK, Part, Probe
from .past import checked_row, give_copies, run_again
from .plan import Plan, Report, SelfCheckFailed, Stopped, reason_of
from .recording import Recording
from .replay import Cursor, Watch, first_mutation
from .rng import get_state, set_state
from .verify import TRACE, compared_step, find_mismatch, first_replay_difference

#: Most bytes of checkpoints that are made at a time.
BULK = 1 << 24


def sweep(plan: Plan, row: Row, report: Report | None = None) -> Recording:
    """Run the step function forward once and keep one checkpoint per block.

    Parameters
    ----------
    plan : Plan
    row
        State 0 as ``plan.codec.encode`` keeps it: an in-place step cannot reach into the recording. (With
        ``plan.origin.lead``, the state so many steps before.)
    report : callable, optional
        ``report(done, block)``, called after every block with the number of states done.

    Returns
    -------
    recording : Recording

    Raises
    ------
    Stopped
        If the step, `report`, the tap or the user ends it early: carries the finished part.

    Notes
    -----
    O(n_steps) calls and O(sqrt(n_steps)) states in memory, as in [1]_ (a layer there is a step here).

    References
    ----------
    .. [1] T. Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174.
    """
    return Sweep(plan, report).run(0, row)


def go_on(
    before: Recording, plan: Plan, report: Report | None = None, row: Row = None, part: Part | None = None
) -> Recording:
    """Return `before` continued to ``plan.n_steps``: its last block is run again, so every rng stands where it stood.

    ``plan.stride`` is a multiple of ``before.stride``; the checkpoints between are dropped. `row` is what was kept of
    the first state of the last block, where `before` does not hold it; `part` what was kept inside that block, from
    where it goes on then.
    """
    row = checked_row(before, plan, row, part)
    again = Sweep(plan, report)
    again.take_up(before, row, part)
    return again.run(before.grid.n_blocks - 1, row)


class Sweep:
    """A sweep in progress.

    Ctrl-C may come between any two bytecodes, so what is finished changes in one assignment: `at` holds the block under
    way and its checkpoint. Lists and ledgers only grow, and are cut to what `at` says.
    """

    def __init__(self, plan: Plan, report: Report | None) -> None:
        self.plan, self.report, self.stride = plan, report, plan.stride
        self.grid = Grid(plan.n_steps, plan.block_size, plan.origin.grid)
        self.watch = Watch(plan.step, plan.codec, plan.metrics)
        self.bind = plan.step.bound(plan.codec)
        self.form = plan.step.form(plan.codec)
        self.rows: list[Row] = []
        self.ledgers = {name: Ledger(name) for name in plan.metrics}
        self.at: tuple[int, Row] = (0, None)
        self.first = 0
        self._before: Recording | None = None
        self._ahead: tuple[Place, Watch] | None = None
        self._handover = Handover(plan.tap, list(plan.metrics)) if plan.tap is not None and plan.metrics else None
        self._again: tuple[int, list[Array]] = 0, []  # what the metrics gave in the block that was cut, and from where
        self.part: Part | None = None  # what was kept last inside the block under way
        # Where the place stands between two pieces of a block, with what the metrics gave in each of these; else None.
        self._stands: tuple[int, list[list[Array]]] | None = None
        self._probe: Probe | None = None
        self._since = 0.0  # when the block under way began

    def take_up(self, before: Recording, row: Row, part: Part | None = None) -> None:
        """Make the past of `before` the past of this sweep, up to the last block, whose first state is `row`.

        Of that block there is `part`.
        """
        last = before.grid.n_blocks - 1
        thinned = before.checkpoints.every(self.stride // before.stride)
        self.rows = [thinned.row(i) for i in range(min(thinned.n, -(-last // self.stride)))]
        self.ledgers = {name: Ledger(name, table) for name, table in before.metrics.items()}
        self.at, self._before, self.part = (last, row), before, part
        if part is not None:
            self._probe = part.probe
        if self._handover is not None:
            self._handover.n = before.n_steps

    def run(self, block: int, row: Row) -> Recording:
        """Go from the first state of `block`, which is `row`, to the end."""
        self.place = self._place(row)
        self.place.snapshots = self.plan.snapshots
        self.at, self.first = (block, row), block
        try:
            self._try_first_steps(row)
            self._begin()
            while True:
                with self.plan.turn:
                    many = self._many_blocks()
                if many and self.report is not None:
                    self.report(self.grid.start(self.at[0]), self.at[0] - 1)
                with self.plan.turn:
                    tail = self._block()
                if tail is not None:
                    return tail
                if self.report is not None:
                    self.report(self.grid.start(self.at[0]), self.at[0] - 1)
        except BaseException as error:
            done = self._rescued(error)
            if done is None:  # not even state 0
                raise
            raise Stopped(error, done, self._hand_over_rest()) from error

    def _hand_over_rest(self) -> BaseException | None:
        """Hand over what of the finished part the tap has not been given; return what it raised, if anything."""
        handover, (start, values) = self._handover, self._again
        for _ in range(10):
            try:
                if handover is not None and not handover.failed:
                    with self.plan.turn:
                        handover.finish(self.at[0])
                        handover.give(start, values)
                return None
            except BaseException as error:
                if not isinstance(error, KeyboardInterrupt) or (handover is not None and handover.failed):
                    return error
        return None

    def _try_first_steps(self, row: Row) -> None:
        """Try the first steps, before there is anything on disk."""
        if self.plan.trial is not None and self._before is None:
            with self.plan.turn:
                self.plan.trial.begin(self._bench(), row, self.plan.n_steps)

    def _try_again(self, block: int, row: Row) -> None:
        """Try the first steps of `block`, at which the place stands with the live state, and `row` is kept of it."""
        trial = self.plan.trial
        if trial is not None and (trial.every or not block & (block - 1)):  # at 1, 2, 4, 8 and so on
            start = self.grid.start(block)
            trial.again(self._bench, block, start, row, self.place.state, self.plan.n_steps)

    def _bench(self) -> Bench:
        plan = self.plan
        return Bench(plan.step, plan.codec, plan.backend, plan.metrics, self._place, plan.misfits)

    def _begin(self) -> None:
        """Tell the log what there is."""
        if self.plan.log is not None:
            with self.plan.turn:
                before = self._cut(0, 0) if self._before is None else self._before
            self.plan.log.begin(before)

    def _tell(self, block: int, rows: Sequence[Row]) -> None:
        """Add the blocks from `block` on to the log; `rows` are what is kept of the states after them."""
        log, codec, self.part = self.plan.log, self.plan.codec, None
        if log is None:
            return
        if self.plan.pace is not None:
            self.plan.pace.kept()
        if not self.ledgers:
            done = [BlockDone(block + i, row, codec.digest(row)) for i, row in enumerate(rows)]
            kept = log.add(done, self._start_of_next(block, done[-1], []))
            self.at = self.at[0], kept[-1]
            return
        (row,) = rows
        ledgers, start = self.ledgers.values(), self.grid.start(block + 1)
        values = self._taken(self._look_at(block + 1, start, row), start)
        ahead = tuple(ledger.of(given, start) for ledger, given in zip(ledgers, values, strict=True))
        one = BlockDone(block, row, codec.digest(row), tuple(ledger.tail for ledger in ledgers), ahead)
        kept = log.add([one], self._start_of_next(block, one, values))
        self.at = self.at[0], kept[-1]

    def _start_of_next(self, block: int, done: BlockDone, values: list[Array]) -> Part | None:
        """Return what is kept at the start of a block, where the one before, `block`, takes long to run again.

        It is known by the probe of that one.
        """
        plan, probe, pace = self.plan, self._probe, self.plan.pace
        if pace is None or probe is None or probe.block != block or done.block != block:
            return None
        if pace.clock() - self._since <= LONG:
            return None
        rng = BlockRng(plan.seed, plan.backend).start(self.grid.stream(block + 1))
        words = get_state(rng, plan.backend)
        return Part(block + 1, self.grid.start(block + 1), done.row, done.digest, words, tuple(values), probe)

    def _look_at(self, block: int, t: int, row: Row) -> list[Any]:
        """Return what each metric gives for the state at step `t`, as it will be restored."""
        if self._ahead is None:
            place = self._place(row, begins=False)
            self._ahead = place, Watch(self.plan.step, self.plan.codec, self.plan.metrics)
        place, watch = self._ahead
        place.enter(block, self.plan.codec.decode(row))
        place.t = t
        return watch.observe(place, 1, 0)

    def _place(self, row: Row, begins: bool = True, bind: Callable[[], Any] | None = None) -> Place:
        """Return a place that enters blocks by their checkpoints; with `begins` the first as the origin says."""
        plan = self.plan
        codec = plan.codec
        return Place(
            BlockRng(plan.seed, plan.backend),
            self.grid,
            self.stride,
            [],
            codec,
            dataclass_fields,
            bind or self.bind,
            plan.step.runs_itself,
            codec.decode(row) is None,
            plan.origin.begin(plan.backend) if begins else None,
        )

    def _enter_part(self, part: Part) -> Place:
        """Return a place that stands where `part` was kept."""
        place = self._place(part.row, begins=False)
        place.enter(part.block, self.plan.codec.decode(part.row))
        set_state(place.blocks.rng, self.plan.backend, dict(part.rng))
        place.t = part.t
        return place

    def _many_blocks(self, most: int | None = None) -> bool:
        """Run some blocks at once, without Python between them, where the step can; return whether it did.

        The last block is left: its end is kept as a digest. So is a block that fails: it is run again by itself.
        """
        plan, (block, row) = self.plan, self.at
        n = self.grid.n_blocks - 1 - block if most is None else most
        if plan.log is not None:
            n = min(n, plan.log.many())
        whole = block > 0 or (self.grid.origin % plan.block_size == 0 and plan.origin.begin(plan.backend) is None)
        if n < 1 or not whole or plan.metrics or plan.self_check or plan.snapshots is not None:
            return False
        if plan.pace is not None and (self.part is not None or not plan.pace.is_quick(plan.block_size)):
            return False
        if self.form is None or not getattr(self.bind(), "bulk", True):
            return False
        out = np.empty((max(1, min(n, BULK // max(self.form.itemsize, 1))), self.form.itemsize), np.uint8)
        state, stream = plan.codec.decode(row), self.grid.stream(block)
        if plan.draws is not None and not plan.draws.drawn:
            out = out[:1]  # one block at a time, until something is drawn
        if plan.pace is not None:
            plan.pace.steps(len(out))
        done, _ = self.bind().sweep(state, self.place.blocks, stream, plan.block_size, len(out), out)
        if not done:
            return False
        if plan.pace is not None:
            plan.pace.made(done * plan.block_size)
        if plan.draws is not None:
            plan.draws.look(self.place.blocks.rng, stream + done - 1, done * plan.block_size)
        rows = rows_of(self.form, plan.codec, out[:done])
        starts = [row, *rows[:-1]]
        self.rows[-(-block // self.stride) :] = starts[-block % self.stride :: self.stride]
        self.at = block + done, rows[-1]
        self._tell(block, rows)
        return True

    def _block(self) -> Recording | None:
        """Run one block; return the recording after the last one."""
        try:
            return self._whole_block()
        except Mutation as found:
            self._give_copies(found)
            return None

    def _give_copies(self, found: Mutation) -> None:
        """Give copies to the metrics that changed a state, and go back to where none can have.

        That is the first state of this block, if the steps alone lead there, and else the first one of all.
        """
        plan, self.part = self.plan, None
        anew = self.at[0] > self.first and not self._is_clean()
        if self._handover is not None and self._handover.n > self.grid.start(self.at[0]) + 1:
            raise found  # what was handed over of this block cannot be taken back
        if anew and any(thing is not None for thing in (self._before, self._handover, plan.snapshots)):
            raise found  # nor what was told of the blocks before
        give_copies(plan, found)
        self.watch, self._ahead = Watch(plan.step, plan.codec, plan.metrics), None
        if anew:
            self.at, self.rows = (self.first, self.rows[0]), self.rows[:1]
            self.ledgers = {name: Ledger(name) for name in plan.metrics}
            if plan.log is not None:
                plan.log.begin_again(self._cut(0, 0))

    def _is_clean(self) -> bool:
        """Whether the steps alone, without metrics, lead through the blocks so far."""
        cursor, codec, (block, row) = self._cursor(), self.plan.codec, self.at
        for j in range(self.first, block):
            cursor.restore(j)
            cursor.run(cursor.stop - cursor.t)
            if j + 1 == block or (j + 1) % self.stride == 0:
                expected = row if j + 1 == block else self.rows[(j + 1) // self.stride]
                if not codec.same(expected, codec.encode(cursor.state)):
                    return False
        return True

    def _whole_block(self) -> Recording | None:
        block, row = self.at
        self._keep(block, row)
        start, stop = self.grid.start(block), self.grid.stop(block)
        n_steps = stop - start - (stop == self.plan.n_steps)
        values: list[Array] = []
        given = self._through(block, row, stop - start, n_steps)
        if self.ledgers:
            values = self._enter(block, given, start)
        if self.plan.draws is not None:
            self.plan.draws.look(self.place.blocks.rng, self.grid.stream(block), n_steps, self.place.state)
        next_row = self.plan.codec.encode(self.place.state)
        if self.plan.misfits is not None and stop < self.plan.n_steps:
            self.plan.misfits.look(next_row, stop)
        if self.plan.self_check:
            self._check(block, row, n_steps, next_row)
        if stop == self.plan.n_steps:
            if self.report is not None:
                self.report(stop, block)
            done = self._finish(block, stop, self.plan.codec.digest(next_row))
            if self._handover is not None:
                self._handover.give(start, values)
            return done
        self._try_again(block + 1, next_row)
        if self._handover is not None:
            self._handover.prepare(block, start, values)
        self.at = block + 1, next_row
        if self._handover is not None:
            self._handover.finish(block + 1)
        self._tell(block, [next_row])
        return None

    def _through(self, block: int, row: Row, n_states: int, n_steps: int) -> list[Any]:
        """Go through a block, or from where there is a part of it; return what each metric gives for its states."""
        pace, part, start, seen = self.plan.pace, self.part, self.grid.start(block), list[list[Array]]()
        if part is not None and part.block == block:
            snapshots, self.place = self.place.snapshots, self._enter_part(part)
            self.place.snapshots = snapshots
            seen = [[values[:-1] for values in part.values]] if part.t > start else []
        else:
            self.place.enter(block, self.plan.codec.decode(row))
        if pace is None:
            return self._piece(n_states, n_steps)
        end, t = start + n_steps, self.place.t
        self._since = pace.clock()
        while (n := pace.steps(end - t)) < end - t:
            values = self._piece(n, n)
            pace.made(n)
            if self.ledgers:
                seen.append(self._taken(values, t, seen))
            t += n
            self._between(block, t, end - t, seen)
        values = self._piece(n_states - (t - start), end - t)
        if end > t:
            pace.made(end - t)
        return joined([*seen, self._taken(values, t, seen)]) if seen else values

    def _between(self, block: int, t: int, rest: int, seen: list[list[Array]]) -> None:
        """Between two pieces of a block: a look at signals, and what there is of it is kept where that is due."""
        pace, codec = self.plan.pace, self.plan.codec
        assert pace is not None
        if pace.takes(rest) <= LOOK:
            return
        self._stands = t, seen
        probe, start = self._probe, self.grid.start(block)
        if probe is None or probe.block != block:
            self._probe = Probe(block, t, codec.digest(codec.encode(self.place.state)))
        elif t - start >= 2 * (probe.t - start) and pace.clock() - self._since <= KNOWN:
            self._probe = Probe(block, t, codec.digest(codec.encode(self.place.state)))
        if self._is_restorable():
            pace.look(rest)
            if self.plan.log is not None and pace.is_due(rest):
                self._keep_part(block, t, seen)
                if self._handover is not None:
                    assert self.part is not None
                    self._handover.give(start, self.part.values)
        if pace.tell is not None:
            pace.tell(t, block - 1, pace.takes(self.plan.block_size))
        self._stands = None

    def _is_restorable(self) -> bool:
        """Whether nothing but what is stored of a state, and the generator, goes from a step of a block to the next."""
        trial = self.plan.trial
        if "lossy" in self.plan.hints or (trial is not None and trial.accept):
            return False
        params = self.plan.step.params
        now = getattr(self.place.step_fn, "keywords", params)
        return not may_change(params) or all(same(now.get(name, value), value) for name, value in params.items())

    def _keep_part(self, block: int, t: int, seen: list[list[Array]], probe: Probe | None = None) -> None:
        """Keep what there is of a block, at whose step `t` the place stands."""
        plan, codec = self.plan, self.plan.codec
        row = codec.encode(self.place.state)
        values: list[Array] = []
        if self.ledgers:
            values = joined([*seen, self._taken(self._look_at(block, t, row), t, seen)])
        rng = get_state(self.place.blocks.rng, plan.backend)
        digest = codec.digest(row)
        if probe is None and self._probe is not None and self._probe.block == block:
            probe = self._probe
        part = self.part = Part(block, t, row, digest, rng, tuple(values), probe or Probe(block, t, digest))
        if plan.log is not None:
            plan.log.keep(part)
            if plan.pace is not None:
                plan.pace.kept()

    def _piece(self, n_states: int, n_steps: int) -> list[Any]:
        if self.ledgers:
            return self.watch.observe(self.place, n_states, n_steps)
        self.place.run(n_steps)
        return []

    def _taken(self, given: list[Any], t: int, seen: Sequence[list[Array]] = ()) -> list[Array]:
        """Return what each metric gave from step `t` on, as arrays of their own."""
        shapes = [array.shape[1:] for array in seen[0]] if seen else [one.shape for one in self.ledgers.values()]
        named = zip(self.ledgers, given, shapes, strict=True)
        return [np.array(as_values(name, values, t, shape)) for name, values, shape in named]

    def _keep(self, block: int, row: Row) -> None:
        if block % self.stride == 0 and len(self.rows) == block // self.stride:
            self.rows.append(row)

    def _enter(self, block: int, values: list[Any], start: int) -> list[Array]:
        """Enter what each metric gave in a block; return it as arrays of numbers."""
        arrays = []
        for ledger, given in zip(self.ledgers.values(), values, strict=True):
            arrays.append(as_values(ledger.name, given, start, ledger.shape))
            ledger.enter(block, arrays[-1], start)
        return arrays

    def _check(self, block: int, row: Row, n_steps: int, expected: Row) -> None:
        if not n_steps:
            return
        codec, start = self.plan.codec, self.grid.start(block)
        if block == 0:  # for the other blocks see `verify.Verification`
            difference = first_replay_difference(self._cursor(), block, start + n_steps, TRACE)
            if difference is not None:
                self._refuse(block, *difference)
        reach = compared_step(block, n_steps)
        place = self._place(row)
        place.enter(block, codec.decode(row))
        run_again(place, reach, self.plan.pace)
        before = codec.encode(place.state)
        place.enter(block, codec.decode(row))
        run_again(place, reach, self.plan.pace)
        now = codec.encode(place.state)
        if not codec.same(before, now):
            self._refuse(block, start + reach, before, now)
        run_again(place, n_steps - reach, self.plan.pace)
        got = codec.encode(place.state)
        if not codec.same(expected, got):
            self._refuse(block, start + n_steps, expected, got)

    def _refuse(self, block: int, step: int, expected: Row, got: Row) -> NoReturn:
        cursor = self._cursor()
        for metric in self.plan.metrics.values():
            found = first_mutation(cursor, metric, block, step)
            if found is not None:
                raise found
        raise SelfCheckFailed(find_mismatch(cursor, block, step, expected, got))

    def _cursor(self) -> Cursor:
        """Return a cursor over the checkpoints so far."""
        return Cursor(self._recording(self.plan.n_steps, self.at[0], b"", {}), self.plan.step)

    def _rescued(self, error: BaseException) -> Recording | None:
        """Return the finished part, None if there is none.

        Up to the step that failed; if that cannot be run again, up to the checkpoint of the block under way; if that
        cannot be observed, the blocks before. What the tap has been given is part of it.
        """
        block, handover = self.at[0], self._handover
        start, reason, ends = self.grid.start(block), reason_of(error), list[tuple[int, int]]()
        if self._stands is not None:
            with contextlib.suppress(Exception):
                self._keep_part(block, *self._stands)
            self._stands = None
        failed = handover is not None and handover.failed  # then what comes after would not be handed over
        if isinstance(error, StepError) and not failed:
            ends = [(block, error.t)]
        elif isinstance(error, StateError) and not failed:
            ends = [(block, self.grid.stop(block) - 1)]
        if self.part is not None and not failed:  # what was handed over of this block is no more than is kept of it
            ends.append((block, self.part.t))
        if handover is not None and (failed or handover.n > start + 1):
            ends.append((self.grid.block_of(handover.n - 1), handover.n - 1))
        ends.append((block, start))
        if block > self.first:
            ends.append((block - 1, start - 1))
        for block, end in ends:
            for _ in range(10):
                try:
                    done = self._cut(block, end)
                    return replace(done, complete=False, stopped=reason)
                except KeyboardInterrupt:  # once more: then what takes no time, but not nothing
                    if end > start and (handover is None or end >= handover.n):
                        break
                except Exception:
                    break
        return None

    def _cut(self, block: int, end: int) -> Recording:
        """Return the part up to step `end` of `block`, which is run again that far."""
        self._keep(*self.at)
        start = self.grid.start(block)
        place: Place = self._cursor()
        seen: list[list[Array]] = []
        if self.part is not None and block == self.at[0] and end >= self.part.t:
            place = self._enter_part(self.part)
            seen = [[values[:-1] for values in self.part.values]] if self.part.t > start else []
        else:
            place.restore(block)
        watch, t = Watch(self.plan.step, self.plan.codec, self.plan.metrics), place.t
        if self.ledgers:
            given = self._taken(watch.observe(place, end - t + 1, end - t), t, seen)
            self._again = start, self._enter(block, joined([*seen, given]), start)
        else:
            place.run(end - t)
        digest = self.plan.codec.digest(self.plan.codec.encode(place.state))
        return self._finish(block, end + 1, digest)

    def _finish(self, block: int, n_steps: int, digest: bytes) -> Recording:
        tables = {name: ledger.table() for name, ledger in self.ledgers.items()}
        return self._recording(n_steps, block, digest, tables)

    def _recording(self, n_steps: int, block: int, digest: bytes, tables: dict[str, MetricTable]) -> Recording:
        plan = self.plan
        return Recording(
            n_steps=n_steps,
            block_size=plan.block_size,
            stride=self.stride,
            seed=plan.seed,
            backend=plan.backend,
            params=dict(plan.step.params),
            checkpoints=stack(plan.codec, self.rows[: block // self.stride + 1]),
            tail_digest=digest,
            metrics=tables,
            origin=plan.origin,
            step=plan.hints if plan.trial is None else {**plan.hints, **plan.trial.hints()},
            versions=plan.versions,
        )


def joined(seen: list[list[Array]]) -> list[Array]:
    """Return what each metric gave, of what it gave piece by piece."""
    return [pieces[0] if len(pieces) == 1 else np.concatenate(pieces) for pieces in zip(*seen, strict=True)]
