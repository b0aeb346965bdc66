"""Futures of a run: branches from any step, and more steps at the end; and a run as it was when it was shorter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar

import numpy as np

from ..engine.block_log import cut_table, first_rows
from ..engine.blocks import thinned_stride
from ..engine.plan import Plan
from ..engine.queries import Measured
from ..engine.recording import Ancestor, Origin, Recording
from ..engine.replay import ReplayMismatch
from ..engine.rng import branch_seed, get_state
from ..engine.scan import Scan, stretches
from ..engine.sweep import go_on
from ..errors import ArgumentError, ArgumentTypeError, StateError
from ..metrics.metric import Metric, resolve, resolve_one
from ..metrics.moments import VectorMoments
from ..metrics.statistics import Measure
from ..metrics.table import MetricTable
from ..state.codec import Row, StateCodec
from ..state.generators import own_generators
from ..steps.params import params_of
from ..steps.resolve import step_of
from ..steps.signature import params_taken
from ..steps.step import Step
from .arguments import integer, n_steps_of, seed_of
from .execute import Held, sweep_run
from .noise import watch_branch
from .options import Options
from .plan import follow_plan
from .progress import ProgressOption, reporter
from .trajectory import Trajectory
from .trial import trial_of
from .verify import not_reproduced

R = TypeVar("R", bound=Held)
Noise = Literal["fresh", "same"]
DEFAULTS = Options()
Shortened = tuple[Recording, Step | None, dict[str, Any]]


def branch_plan(
    trajectory: Trajectory,
    t: int,
    mutate: Callable[[Any], Any] | None = None,
    seed: int | None = None,
    n_steps: int | None = None,
    *,
    noise: Noise = "fresh",
    params: Mapping[str, Any] | None = None,
    step_fn: Callable[..., Any] | None = None,
    observe: Mapping[str, Metric] | None = None,
    options: Options = DEFAULTS,
) -> tuple[Plan, Row]:
    """Return how `Run.branch` records, and what it begins with; `observe` replaces the metrics of this run.

    Of the `options` it looks at ``trial`` and ``lossy``: another step function is tried.
    """
    recording = trajectory.recording
    point = recording.grid.step(integer("t", t))
    if noise not in ("fresh", "same"):
        raise ArgumentError("noise", noise, "'fresh' or 'same'")
    if noise == "same" and seed is not None:
        raise ArgumentError("seed", seed, "no seed with noise='same'", "A branch draws its parent's noise, or its own")
    length = recording.n_steps - point if n_steps is None else n_steps_of(n_steps)
    cursor = trajectory.reader.cursor("branch", point)
    step = step_of_branch(trajectory, params, step_fn)
    codec = recording.checkpoints.codec
    part = trajectory.part if trajectory.part is not None and trajectory.part.t == point else None
    with trajectory.reader.turn:
        if part is None:
            cursor.seek(point)
            block, state = cursor.block, codec.copy(cursor.state)
        else:  # kept inside its block, which it may take hours to replay
            block, state = part.block, codec.decode(part.row)
    before = None
    if mutate is not None:
        before = own_generators(state)
        state = mutated(mutate, state)
    grid = recording.origin.grid + point
    if noise == "same":
        master = recording.seed
    else:
        master = branch_seed(recording.seed, grid) if seed is None else seed_of(seed)
    lead, rng_state = 0, None
    goes_on = noise == "same" and mutate is None and step.same(cursor.step)
    if part is not None and noise == "same":  # as the parent itself goes on
        rng_state = part.rng
    elif goes_on:  # nothing but the parent's own way leads to the state as the parent has it inside a block
        lead = point - recording.grid.start(block)
        if block == 0:
            lead, rng_state = lead + recording.origin.lead, recording.origin.rng_state
    elif noise == "same" and grid % recording.block_size != 0:
        rng_state = get_state(cursor.rng, recording.backend)
    origin = Origin(
        start=trajectory.recording.origin.start + point,
        grid=grid if noise == "same" else 0,
        ancestors=(Ancestor(trajectory.content_hash(), point), *trajectory.recording.origin.ancestors),
        rng_state=rng_state,
        noise=noise,
        lead=lead,
    )
    kept = codec if goes_on else StateCodec.of(state, codec.user)
    step.require_branch(cursor.step, codec, kept, state)
    if observe is None:
        metrics = {name: resolve_one(name, metric, state, kept) for name, metric in trajectory.metrics.items()}
    else:
        metrics = resolve(observe, state, kept)
    draws = watch_branch(trajectory, step, before, state, master) if noise == "fresh" else None
    facts: dict[str, Any] = {"n_steps": length, "seed": master, "metrics": metrics, "origin": origin, "draws": draws}
    plan = follow_plan(trajectory, step, kept, **facts)
    with trajectory.reader.turn:
        if part is not None and goes_on:
            row = part.row
        else:
            row = cursor.row(block) if goes_on else kept.encode(state)
    if step.function is not cursor.step.function:
        if "lossy" in plan.hints:
            options = replace(options, lossy="accept")
        plan = replace(plan, trial=trial_of(state, options))
    return plan, row


def step_of_branch(
    trajectory: Trajectory, params: Mapping[str, Any] | None, step_fn: Callable[..., Any] | None
) -> Step:
    """Return the step of a branch: this run's or another, with its parameters."""
    assert trajectory.step is not None
    inherited = trajectory.recording.params
    if step_fn is not None:
        inherited = params_taken(step_fn, inherited)
    function = trajectory.step.function if step_fn is None else step_fn
    return step_of(function, {**inherited, **params_of(params)}, trajectory.recording.backend)


def mutated(mutate: Callable[[Any], Any], state: Any) -> Any:
    """Return the state that an intervention gives."""
    if not callable(mutate):
        raise ArgumentTypeError("mutate", mutate, "a callable of the state")
    new = mutate(state)
    if new is not None or state is None:
        return new
    if isinstance(state, (bool, int, float, complex, str, bytes, tuple, np.generic)):
        raise StateError(
            "",
            "become None: mutate returned nothing, and such a state cannot be changed in place",
            "return the new state from mutate",
        )
    return state


def extend(make: Callable[..., R], trajectory: Trajectory, n_steps: int, progress: ProgressOption) -> R:
    """Return the run continued to `n_steps` states: `Run.extend`."""
    recording = trajectory.recording
    n = n_steps_of(n_steps, None)
    if n <= recording.n_steps:
        advice = f"n_steps is the new number of states in all, for example extend({2 * recording.n_steps})"
        raise ArgumentError("n_steps", n, f"more than the {recording.n_steps} this run has", advice)
    plan = longer_plan(trajectory, n, thinned_stride(recording.stride, replace(recording, n_steps=n).grid.n_blocks, n))
    report = reporter(progress, "extend", n)
    try:
        return sweep_run(make, plan, lambda: go_on(recording, plan, report))
    except ReplayMismatch as mismatch:
        raise not_reproduced(trajectory, mismatch) from None


def longer_plan(trajectory: Trajectory, n_steps: int, stride: int) -> Plan:
    """Return how a run goes on to `n_steps` steps."""
    recording = trajectory.recording
    missing = [name for name in recording.metrics if name not in trajectory.metrics]
    if missing and trajectory.step is not None:
        advice = "Load the run with rewind.load(path, step_fn, observe={name: function})"
        raise ArgumentError(
            "observe", sorted(trajectory.metrics), f"functions for {', '.join(missing)} to go on", advice
        )
    trajectory.reader.cursor("extend")
    assert trajectory.step is not None
    return follow_plan(
        trajectory,
        trajectory.step,
        recording.checkpoints.codec,
        n_steps=n_steps,
        seed=recording.seed,
        metrics={name: trajectory.metrics[name] for name in recording.metrics},
        origin=recording.origin,
        stride=stride,
    )


def shortened(trajectory: Trajectory, n_steps: int, *, observed: bool = True) -> Shortened:
    """Return the first `n_steps` states as a run of its own: the very run that would have been recorded so long.

    Parameters
    ----------
    n_steps : int
        At most as many as there are.
    observed : bool
        Whether it has what was observed, too.

    Returns
    -------
    recording, step, metrics
        Of a `Run` of as many steps, and complete. Metrics whose function is not here are left out, unless `n_steps` is
        all.

    Notes
    -----
    The last block is replayed up to its end (with a stride, from the stored checkpoint before). Of observed metrics
    a file holds the exact sums of all blocks but the last, and of these together: up to a step before the last
    block they are collected anew, in one pass from step 0.
    """
    recording = trajectory.recording
    n = n_steps_of(n_steps)
    if n > recording.n_steps:
        raise ArgumentError("n_steps", n, f"at most the {recording.n_steps} this run has")
    if n == recording.n_steps:
        return replace(recording, complete=True, stopped=None), trajectory.step, trajectory.metrics
    cursor, codec = trajectory.reader.cursor("a part of the run"), recording.checkpoints.codec
    last = recording.grid.block_of(n - 1)
    known = {name: table for name, table in recording.metrics.items() if name in trajectory.metrics and observed}
    tables = _shortened_tables(trajectory, known, last, n) if known else {}
    with trajectory.reader.turn:
        cursor.seek(n - 1)
        digest = codec.digest(codec.encode(cursor.state))
    short = replace(
        recording,
        n_steps=n,
        checkpoints=first_rows(recording.checkpoints, last // recording.stride + 1),
        tail_digest=digest,
        metrics=tables,
        complete=True,
        stopped=None,
    )
    return short, trajectory.step, {name: trajectory.metrics[name] for name in known}


def _shortened_tables(
    trajectory: Trajectory, known: Mapping[str, MetricTable], last: int, n_steps: int
) -> dict[str, MetricTable]:
    """Return the tables of metrics up to `n_steps`, which is in block `last`."""
    recording, grid = trajectory.recording, trajectory.recording.grid
    again = last < grid.n_blocks - 1  # else what there was of the blocks before is in the tables
    measures = {}
    for name, table in known.items():
        shift = table.tail.shift if isinstance(table.tail, VectorMoments) else np.zeros(())
        measures[name] = Measure(trajectory.metrics[name], table.shape, shift)
    assert trajectory.step is not None
    work = Scan(recording, trajectory.step, Measured(measures), trajectory.reader.turn, trajectory.trust)
    closed: list[Any] = [None if again else table.closed for table in known.values()]
    tails: list[Any] = []
    try:
        for sums in work.here(stretches(grid, 0 if again else grid.start(last), n_steps)):
            if tails:
                closed = [tail if old is None else old.merge(tail) for old, tail in zip(closed, tails, strict=True)]
            tails = [one.moments for one in sums]
    except ReplayMismatch as mismatch:
        raise not_reproduced(trajectory, mismatch) from None
    made = zip(known.items(), closed, tails, strict=True)
    return {name: cut_table(table, last, before, tail) for (name, table), before, tail in made}
