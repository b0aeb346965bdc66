"""From arguments to a plan: of a run that begins, and of one that follows another."""

from __future__ import annotations

import json
import secrets
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..engine.blocks import Grid, default_block_size
from ..engine.misfits import Misfits
from ..engine.plan import Plan
from ..engine.rng import BACKENDS
from ..engine.snapshots import snapshots_within
from ..errors import ArgumentError, ArgumentTypeError, PickledStatesWarning, SharedMemoryWarning
from ..metrics.metric import names_of, resolve
from ..state.callers import user_level
from ..state.codec import Row, StateCodec, row_bytes
from ..state.copies import shared_memory
from ..state.layout import first_change
from ..steps.code import Code, classes_in, classes_of
from ..steps.params import params_of
from ..steps.resolve import step_of
from ..steps.source import changed, describe, versions
from ..steps.step import Step
from .arguments import block_size_of, codec_of, n_bytes_of, n_steps_of, seed_of
from .noise import watch_recording
from .options import Options
from .trajectory import OBSERVED, Trajectory
from .trial import trial_of


def make_plan(
    step_fn: Callable[..., Any],
    init_state: Any,
    n_steps: int,
    seed: int | None,
    options: Options,
    stacklevel: int = 2,
) -> tuple[Plan, Row]:
    """Return the plan that the arguments of `record` make, and what is kept of state 0.

    Parameters
    ----------
    step_fn, init_state, n_steps, seed
        As for `record`.
    options : Options
    stacklevel : int
        Whose line a warning names, as if the caller gave it to ``warnings.warn``.

    Warns
    -----
    SharedMemoryWarning
        If arrays of `init_state` share memory.
    """
    backend, step_id = options.backend, options.step_id
    if backend not in BACKENDS:
        raise ArgumentError("backend", backend, "'python' or 'numpy'")
    n = n_steps_of(n_steps)
    step = step_of(step_fn, params_of(options.params), backend)
    user = codec_of(options.codec)
    master = secrets.randbits(128) if seed is None else seed_of(seed)
    codec = StateCodec.of(init_state, user)
    row = codec.encode(init_state)
    length = _block_size(options, n, row_bytes(row))
    if step_id is not None and not isinstance(step_id, str):
        raise ArgumentTypeError("step_id", step_id, "a str")
    metrics = resolve(options.observe, init_state, codec) if options.observe is not None else {}
    hints = describe(step_fn, step_id, Code(step_fn, classes_in(init_state)))
    budget = n_bytes_of("memory_budget", options.memory_budget)
    snapshots = snapshots_within(budget, step, codec, init_state, Grid(n, length), backend)
    plan = _plan(
        step,
        codec,
        n_steps=n,
        block_size=length,
        seed=master,
        backend=backend,
        metrics=metrics,
        self_check=bool(options.self_check),
        hints=hints,
        snapshots=snapshots,
        trial=trial_of(init_state, options),
    )
    plan = replace(plan, draws=watch_recording(plan, init_state), misfits=_misfits(codec))
    assert plan.misfits is not None
    plan.misfits.look(row, 0)
    views = shared_memory(init_state) if user is None else None
    if views is not None:
        warnings.warn(SharedMemoryWarning(*views), stacklevel=stacklevel + 1)
    return plan, row


def _misfits(codec: StateCodec) -> Misfits:
    """Return what warns of the first state that does not fit the columns of state 0, when it is kept."""

    def tell(row: Row, step: int) -> None:
        assert codec.layout is not None
        warnings.warn(PickledStatesWarning(*first_change(codec.layout, codec.tree(row)), step), stacklevel=user_level())

    return Misfits(codec, tell)


def follow_plan(trajectory: Trajectory, step: Step, codec: StateCodec, **facts: Any) -> Plan:
    """Return the plan of a run that follows another, as a branch or as more of it: with its blocks and its turn.

    Parameters
    ----------
    trajectory : Trajectory
        The other.
    step : Step
    codec : StateCodec
    **facts
        What else a `Plan` holds: ``n_steps``, ``seed``, ``metrics``, ``origin``, and ``stride``.
    """
    recording = trajectory.recording
    known = trajectory.step is not None and step.function is trajectory.step.function
    code = trajectory.trust.code if known else None
    if code is None:
        code = Code(step.function, classes_of(recording.checkpoints))
    here, recorded = describe(step.function, code=code), dict(recording.step)
    return _plan(
        step,
        codec,
        block_size=recording.block_size,
        backend=recording.backend,
        # The file may know more of the step than is known here.
        hints=here if changed(recorded, here) is not None else {**recorded, **_salt(here)},
        turn=trajectory.reader.turn,
        **facts,
    )


def _salt(hints: Mapping[str, str]) -> dict[str, str]:
    return {name: hints[name] for name in ("hash_seed",) if name in hints}


def _plan(step: Step, codec: StateCodec, hints: Mapping[str, str], **facts: Any) -> Plan:
    noted = {name: hint for name, hint in hints.items() if name != OBSERVED}
    known = names_of(facts.get("metrics", {}))
    if known:
        noted[OBSERVED] = json.dumps(known, ensure_ascii=False)
    return Plan(step=step, codec=codec, versions=versions(), hints=noted, **facts)


def _block_size(options: Options, n_steps: int, size: int) -> int:
    """Return how long blocks are: as given, by default, or so that checkpoints of `size` bytes fit the budget."""
    budget, block_size = options.checkpoint_budget, options.block_size
    if budget is None:
        return default_block_size(n_steps) if block_size is None else block_size_of(block_size)
    if block_size is not None:
        raise ArgumentError("block_size", block_size, "none with checkpoint_budget=", "Both say how long blocks are")
    most = n_bytes_of("checkpoint_budget", budget) // max(size, 1)
    if most < 1:
        raise ArgumentError("checkpoint_budget", budget, f"at least the {size:,} bytes of one state")
    return max(default_block_size(n_steps), -(-n_steps // most))
