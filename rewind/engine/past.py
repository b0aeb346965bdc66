"""Whether a step gives what there is of a recording again, before that is gone on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import MetricError
from ..kernel import Place
from ..metrics.guard import Mutation, guarded_metrics
from ..metrics.metric import as_values
from ..metrics.table import Ledger
from ..state.codec import Row
from ..steps.step import Step
from .pace import Pace, Part
from .plan import Plan
from .recording import Recording
from .replay import Cursor, ReplayMismatch, Watch


def checked_row(before: Recording, plan: Plan, row: Row = None, part: Part | None = None) -> Row:
    """Return what is kept of the first state of the last block of `before`, once a replay agrees.

    Of that block; with a `part`, up to the probe of that. Metrics that change a state get copies from then on.
    """
    last = before.grid.n_blocks - 1

    def check() -> None:
        if part is None:
            _check_past(before, plan, last)
        else:
            check_probe(before, plan.step, plan.metrics, row, part)

    with plan.turn:
        try:
            check()
        except Mutation as found:
            give_copies(plan, found)
            check()
        if row is None:
            row = Cursor(before, plan.step).row(last)  # the very row: a pickle made again may have other bytes
    return row


def _check_past(before: Recording, plan: Plan, last: int) -> None:
    """Refuse to go on where a replay of the last block does not give its last state and its statistics."""
    cursor = Cursor(before, plan.step)
    if before.n_steps - before.grid.start(last) == 1 and last:  # of which no step would be run
        cursor.restore(last - 1)
        run_again(cursor, before.n_steps - 1 - cursor.t, plan.pace)
        got = before.checkpoints.codec.encode(cursor.state)
        if before.checkpoints.codec.digest(got) != before.tail_digest:
            raise ReplayMismatch(last - 1, before.n_steps - 1, None, got)
    cursor.restore(last)
    start, codec = cursor.t, before.checkpoints.codec
    n_states = before.n_steps - start
    watch = Watch(plan.step, codec, {name: plan.metrics[name] for name in before.metrics})
    buffers = watch.observe(cursor, n_states, n_states - 1)
    got = codec.encode(cursor.state)
    if codec.digest(got) != before.tail_digest:
        raise ReplayMismatch(last, before.n_steps - 1, None, got)
    for (name, table), buffer in zip(before.metrics.items(), buffers, strict=True):
        again = Ledger(name, table)
        again.enter(last, buffer, start)
        if not again.table().tail.agrees(table.tail):
            raise MetricError(name, start, "does not give what was observed from here on; it is another function")


def give_copies(plan: Plan, found: Mutation) -> None:
    """Give copies to the metrics that changed a state, in the run as well."""
    plan.metrics.update(guarded_metrics(plan.metrics, plan.codec, found))  # type: ignore[attr-defined]


def run_again(place: Place, n: int, pace: Pace | None) -> None:
    """Go `n` steps of a block that was run before, with a look at signals now and then where that takes long."""
    while pace is not None and (some := pace.steps(n)) < n:
        place.run(some)
        pace.made(some)
        n -= some
        pace.look(n)
    place.run(n)


def check_probe(before: Recording, step: Step, metrics: Mapping[str, Any], row: Row, part: Part) -> None:
    """Refuse a step that does not give what was kept of a state soon after the start of a block, or other `metrics`."""
    probe, codec = part.probe, before.checkpoints.codec
    cursor, start = Cursor(before, step), before.grid.start(probe.block)
    kept = {name: values for name, values in zip(before.metrics, part.values, strict=True) if name in metrics}
    if row is not None and probe.block == part.block:
        cursor.enter(probe.block, codec.decode(row))
    elif probe.block % before.stride == 0:
        cursor.restore(probe.block)
    else:  # the way there is as long as a block
        return
    given: list[Any] = []
    if probe.block == part.block and kept:
        watch = Watch(step, codec, {name: metrics[name] for name in kept})
        given = watch.observe(cursor, probe.t - start, probe.t - start)
    else:
        cursor.run(probe.t - start)
    got = codec.encode(cursor.state)
    if codec.digest(got) != probe.digest:
        raise ReplayMismatch(probe.block, probe.t, None, got)
    for i, (name, values) in enumerate(kept.items()):
        function, state, shape = metrics[name], codec.decode(part.row), values.shape[1:]
        here = as_values(name, [state if function is None else function(state)], part.t, shape)[0]
        early = as_values(name, given[i], start, shape) if given else values[:0]
        if here.tobytes() != values[-1].tobytes() or early.tobytes() != values[: len(early)].tobytes():
            raise MetricError(name, start, "does not give what was observed from here on; it is another function")
