"""The sweep: the first pass over a run, which keeps a checkpoint per block and observes what it is asked to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from ..errors import MetricError, StateError, StepError
from ..kernel import BlockRng, advance, advance_observed
from .blocks import Grid
from .columns import Array
from .metrics import CHANGED, MetricTable, as_values, first_shift, merge, moments_of, table_of, table_row
from .moments import Moments, Stats, VectorMoments
from .recording import Origin, Recording
from .replay import Cursor, Parted, meddles
from .seeds import set_state
from .states import Row, StateCodec, stack
from .steps import Step
from .verify import TRACE, Mismatch, compared_step, find_mismatch, replays_part

Report = Callable[[int, int], None]


class Stopped(Exception):
    """A sweep that ended early: `error` says why, `recording` is the finished part."""

    def __init__(self, error: BaseException, recording: Recording) -> None:
        self.error, self.recording = error, recording
        super().__init__(str(error))


class SelfCheckFailed(Exception):
    """A block that did not give the same states twice."""

    def __init__(self, mismatch: Mismatch) -> None:
        self.mismatch = mismatch
        super().__init__(str(mismatch))


@dataclass(frozen=True)
class Plan:
    """What a run is a function of, and how it is kept."""

    step: Step
    codec: StateCodec
    n_steps: int
    block_size: int
    seed: int
    backend: str
    stride: int = 1
    origin: Origin = Origin()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    self_check: bool = False
    hints: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


def sweep(plan: Plan, row: Row, report: Report | None = None) -> Recording:
    """Run the step function forward once and keep one checkpoint per block.

    Parameters
    ----------
    plan : Plan
    row
        State 0 as ``plan.codec.encode`` keeps it: an in-place step cannot reach into the recording. (With
        ``plan.origin.lead``, the state so many steps before.)
    report : callable, optional
        ``report(done, block)``, called behind every block with the number of states done.

    Returns
    -------
    recording : Recording

    Raises
    ------
    Stopped
        If the step, `report` or the user ends it early: carries the finished part.

    Notes
    -----
    O(n_steps) calls and O(sqrt(n_steps)) states in memory, as in [1]_ (a layer there is a step here).

    References
    ----------
    .. [1] T. Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174.
    """
    return _Sweep(plan, report).run(0, row, {})


def go_on(before: Recording, plan: Plan, report: Report | None = None) -> Recording:
    """Return `before` continued to ``plan.n_steps``: its last block is run again, so every rng stands where it stood.

    ``plan.stride`` is a multiple of ``before.stride``; the checkpoints between are dropped.
    """
    last = before.grid.n_blocks - 1
    _check_past(before, plan, last)
    row = Cursor(before, plan.step).row(last)  # the very row: a pickle made again may have other bytes
    again = _Sweep(plan, report)
    thinned = before.checkpoints.every(plan.stride // before.stride)
    again.rows = [thinned.row(i) for i in range(min(thinned.n, -(-last // plan.stride)))]
    for name, table in before.metrics.items():
        shift = table.tail.shift if isinstance(table.tail, VectorMoments) else None
        again.forms[name] = table.shape, shift
        again.table_rows[name] = [{c: values[j] for c, values in table.rows.items()} for j in range(last)]
    closed = {name: table.closed for name, table in before.metrics.items() if table.closed is not None}
    return again.run(last, row, closed)


def _check_past(before: Recording, plan: Plan, last: int) -> None:
    """Refuse to go on where the last block does not give its last state and its statistics again."""
    cursor = Cursor(before, plan.step)
    cursor.restore(last)
    start, names, codec = cursor.t, list(before.metrics), before.checkpoints.codec
    n_states = before.n_steps - start
    buffers = cursor.observe(names, [plan.metrics[name] for name in names], n_states, n_states - 1)
    got = codec.encode(cursor.state)
    if codec.digest(got) != before.tail_digest:
        raise Parted(last, before.n_steps - 1, None, got)
    for (name, table), buffer in zip(before.metrics.items(), buffers, strict=True):
        shift = table.tail.shift if isinstance(table.tail, VectorMoments) else None
        again = moments_of(as_values(name, buffer, start, table.shape), start, shift)
        if Stats(again) != Stats(table.tail):
            raise MetricError(name, start, "does not give what was observed from here on; it is another function")


class _Sweep:
    """A sweep under way.

    Ctrl-C may come between any two bytecodes, so what is finished changes in one assignment: `at` holds the block under
    way, its checkpoint, the moments of the blocks before it and those of one block less. The lists only grow, and are
    cut to what `at` says.
    """

    def __init__(self, plan: Plan, report: Report | None) -> None:
        self.plan, self.report = plan, report
        self.grid = Grid(plan.n_steps, plan.block_size, plan.origin.grid)
        self.rng = BlockRng(plan.seed, plan.backend)
        self.rows: list[Row] = []
        self.table_rows: dict[str, list[Mapping[str, Any]]] = {name: [] for name in plan.metrics}
        self.forms: dict[str, tuple[tuple[int, ...], Array | None]] = {}
        self.at: tuple[int, Row, dict[str, Moments], dict[str, Moments] | None] = (0, None, {}, None)
        self.none_allowed = False

    def run(self, block: int, row: Row, closed: dict[str, Moments]) -> Recording:
        self.none_allowed = self.plan.codec.decode(row) is None
        self.at = block, row, closed, None
        try:
            while True:
                tail = self._block()
                if tail is not None:
                    return tail
                if self.report is not None:
                    self.report(self.grid.start(self.at[0]), self.at[0] - 1)
        except BaseException as error:
            done = self._rescued(error)
            if done is None:  # not even state 0
                raise
            raise Stopped(error, done) from error

    def _enter(self, block: int, row: Row) -> tuple[Any, Any, Any]:
        """Return ``(step_fn, state, rng)`` for the first step of a block."""
        rng = self.rng.start(self.grid.stream(block))
        if block == 0 and self.plan.origin.rng_state is not None:
            set_state(rng, self.plan.backend, dict(self.plan.origin.rng_state))
        step_fn, state, lead = self.plan.step.for_block(), self.plan.codec.decode(row), self.plan.origin.lead
        if block == 0 and lead:
            state = advance(step_fn, state, rng, lead, -lead, self.none_allowed)
        return step_fn, state, rng

    def _block(self) -> Recording | None:
        """Run one block; return the recording behind the last one."""
        block, row, closed, _ = self.at
        if block % self.plan.stride == 0 and len(self.rows) == block // self.plan.stride:
            self.rows.append(row)
        start, stop = self.grid.start(block), self.grid.stop(block)
        n_steps = stop - start - (stop == self.plan.n_steps)
        step_fn, state, rng = self._enter(block, row)
        names = list(self.plan.metrics)
        buffers: list[list[Any]] = [[] for _ in names]
        if names:
            metrics = [self.plan.metrics[name] for name in names]
            state = advance_observed(
                step_fn, state, rng, stop - start, n_steps, start, self.none_allowed, names, metrics, buffers
            )
        else:
            state = advance(step_fn, state, rng, n_steps, start, self.none_allowed)
        next_row = self.plan.codec.encode(state)
        if self.plan.self_check:
            self._check(block, row, n_steps, next_row)
        moments = self._moments(names, buffers, start)
        if stop == self.plan.n_steps:
            if self.report is not None:
                self.report(stop, block)
            return self._finish(block, stop, self.plan.codec.digest(next_row), closed, moments)
        for name in names:
            self.table_rows[name][block:] = [table_row(moments[name], self.forms[name][0])]
            moments[name] = merge([closed[name], moments[name]] if name in closed else [moments[name]])
        self.at = block + 1, next_row, moments, closed
        return None

    def _moments(self, names: list[str], buffers: list[list[Any]], start: int) -> dict[str, Moments]:
        moments = {}
        for name, buffer in zip(names, buffers, strict=True):
            known = self.forms.get(name)
            values = as_values(name, buffer, start, known[0] if known else None)
            shape, shift = self.forms.setdefault(name, (values.shape[1:], first_shift(values)))
            moments[name] = moments_of(values, start, shift)
        return moments

    def _check(self, block: int, row: Row, n_steps: int, expected: Row) -> None:
        if not n_steps:
            return
        codec, start = self.plan.codec, self.grid.start(block)
        if block == 0:  # what verify does with all that follows, and the reasons, are in verify.find_failure
            parted = replays_part(self._cursor(), block, start + n_steps, TRACE)
            if parted is not None:
                self._refuse(block, *parted)
        reach = compared_step(block, n_steps)
        step_fn, state, rng = self._enter(block, row)
        before = codec.encode(advance(step_fn, state, rng, reach, start, self.none_allowed))
        step_fn, state, rng = self._enter(block, row)
        state = advance(step_fn, state, rng, reach, start, self.none_allowed)
        now = codec.encode(state)
        if not codec.same(before, now):
            self._refuse(block, start + reach, before, now)
        got = codec.encode(advance(step_fn, state, rng, n_steps - reach, start + reach, self.none_allowed))
        if not codec.same(expected, got):
            self._refuse(block, start + n_steps, expected, got)

    def _refuse(self, block: int, step: int, expected: Row, got: Row) -> NoReturn:
        cursor = self._cursor()
        for name, metric in self.plan.metrics.items():
            t = meddles(cursor, metric, block, step)
            if t is not None:
                raise MetricError(name, t, CHANGED)
        raise SelfCheckFailed(find_mismatch(cursor, block, step, expected, got))

    def _cursor(self) -> Cursor:
        """Return a cursor over the checkpoints so far."""
        return Cursor(self._recording(self.plan.n_steps, self.at[0], b"", {}), self.plan.step)

    def _rescued(self, error: BaseException) -> Recording | None:
        """Return the finished part, None if there is none.

        Up to the step that failed; if that cannot be run again, up to the checkpoint of the block under way; if that
        cannot be observed, the blocks before.
        """
        block, _, closed, before = self.at
        start = self.grid.start(block)
        reason, ends = f"{type(error).__name__}: {error}", []
        if isinstance(error, KeyboardInterrupt):
            reason = "interrupted"
        elif isinstance(error, StepError):
            reason, ends = f"step_fn raised at step {error.t}", [(block, error.t, closed)]
        elif isinstance(error, StateError):
            reason, ends = f"a state that cannot be kept: {error}", [(block, self.grid.stop(block) - 1, closed)]
        ends.append((block, start, closed))
        if before is not None:
            ends.append((block - 1, start - 1, before))
        for block, end, closed in ends:
            for _ in range(10):
                try:
                    done = self._cut(block, end, closed)
                    return replace(done, complete=False, stopped=reason[:1000].encode(errors="replace").decode())
                except KeyboardInterrupt:  # once more: then what takes no time, but not nothing
                    if end > start:
                        break
                except Exception:
                    break
        return None

    def _cut(self, block: int, end: int, closed: dict[str, Moments]) -> Recording:
        """Return the part up to step `end` of `block`, which is run again that far."""
        under_way, row, *_ = self.at
        if under_way % self.plan.stride == 0 and len(self.rows) == under_way // self.plan.stride:
            self.rows.append(row)
        start = self.grid.start(block)
        names = list(self.plan.metrics)
        cursor = self._cursor()
        cursor.restore(block)
        buffers = cursor.observe(names, list(self.plan.metrics.values()), end - start + 1, end - start)
        digest = self.plan.codec.digest(self.plan.codec.encode(cursor.state))
        return self._finish(block, end + 1, digest, closed, self._moments(names, buffers, start))

    def _finish(
        self, block: int, n_steps: int, digest: bytes, closed: dict[str, Moments], tail: dict[str, Moments]
    ) -> Recording:
        tables = {}
        for name, moments in tail.items():
            shape = self.forms[name][0]
            rows = [*self.table_rows[name][:block], table_row(moments, shape)]
            tables[name] = table_of(shape, rows, closed.get(name), moments)
        return self._recording(n_steps, block, digest, tables)

    def _recording(self, n_steps: int, block: int, digest: bytes, tables: dict[str, MetricTable]) -> Recording:
        plan = self.plan
        return Recording(
            n_steps=n_steps,
            block_size=plan.block_size,
            stride=plan.stride,
            seed=plan.seed,
            backend=plan.backend,
            params=dict(plan.step.params),
            checkpoints=stack(plan.codec, self.rows[: block // plan.stride + 1]),
            tail_digest=digest,
            metrics=tables,
            origin=plan.origin,
            step=plan.hints,
            versions=plan.versions,
        )
