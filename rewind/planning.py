"""From arguments to a run: the plan that what a user gives makes, and the sweep that follows it, on disk or not."""

from __future__ import annotations

import os
import secrets
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from .checks import block_size_of, codec_of, n_bytes_of, n_steps_of, params_of, seed_of
from .engine.blocks import Grid, default_block_size
from .engine.marks import marks_within
from .engine.metrics import Metric, resolve
from .engine.seeds import BACKENDS
from .engine.states import Row, StateCodec, UserCodec, row_bytes, shared_memory
from .engine.sweep import Plan, sweep
from .errors import ArgumentError, ArgumentTypeError, SharedMemoryWarning
from .handle import Handle
from .keeping import Durability, OnSignal, new_kept, require_no_path
from .progress import ProgressOption, reporter
from .source import describe, versions
from .stepkinds import step_of
from .sweeping import swept

R = TypeVar("R", bound=Handle[Any])


def planned(
    step_fn: Callable[..., Any],
    init_state: Any,
    n_steps: int,
    seed: int | None,
    *,
    block_size: int | None = None,
    backend: str = "python",
    observe: Mapping[str, Metric] | None = None,
    self_check: bool = False,
    params: Mapping[str, Any] | None = None,
    codec: UserCodec | None = None,
    memory_budget: int | str = 0,
    checkpoint_budget: int | str | None = None,
    step_id: str | None = None,
    stacklevel: int = 2,
) -> tuple[Plan, Row]:
    """Return the plan that the arguments of `record` make, and what is kept of state 0.

    Parameters
    ----------
    step_fn, init_state, n_steps, seed, block_size, backend, observe, self_check, params, codec
        As for `record`.
    memory_budget, checkpoint_budget, step_id
        As for `record`.
    stacklevel : int
        Whose line a warning names, as if the caller gave it to ``warnings.warn``.

    Warns
    -----
    SharedMemoryWarning
        If arrays of `init_state` share memory.
    """
    if backend not in BACKENDS:
        raise ArgumentError("backend", backend, "'python' or 'numpy'")
    n = n_steps_of(n_steps)
    step = step_of(step_fn, params_of(params), backend)
    user = codec_of(codec)
    master = secrets.randbits(128) if seed is None else seed_of(seed)
    codec_here = StateCodec.of(init_state, user)
    row = codec_here.encode(init_state)
    if checkpoint_budget is not None:
        length = _within(checkpoint_budget, block_size, n, row_bytes(row))
    else:
        length = default_block_size(n) if block_size is None else block_size_of(block_size)
    if step_id is not None and not isinstance(step_id, str):
        raise ArgumentTypeError("step_id", step_id, "a str")
    plan = Plan(
        step=step,
        codec=codec_here,
        n_steps=n,
        block_size=length,
        seed=master,
        backend=backend,
        metrics=resolve(observe, init_state, codec_here) if observe is not None else {},
        self_check=bool(self_check),
        hints=describe(step_fn, step_id),
        versions=versions(),
    )
    budget = n_bytes_of("memory_budget", memory_budget)
    plan = replace(plan, marks=marks_within(budget, step, codec_here, init_state, Grid(n, length), backend))
    views = shared_memory(init_state) if user is None else None
    if views is not None:
        warnings.warn(SharedMemoryWarning(*views), stacklevel=stacklevel + 1)
    return plan, row


def _within(budget: int | str, block_size: object, n_steps: int, size: int) -> int:
    """Return how long blocks are, so that checkpoints of `size` bytes take no more than `budget`."""
    if block_size is not None:
        raise ArgumentError("block_size", block_size, "none with checkpoint_budget=", "Both say how long blocks are")
    most = n_bytes_of("checkpoint_budget", budget) // max(size, 1)
    if most < 1:
        raise ArgumentError("checkpoint_budget", budget, f"at least the {size:,} bytes of one state")
    return max(default_block_size(n_steps), -(-n_steps // most))


def begun(
    cls: type[R],
    plan: Plan,
    row: Row,
    *,
    path: str | os.PathLike[str] | None = None,
    durability: Durability = "block",
    on_signal: OnSignal = None,
    progress: ProgressOption = None,
    op: str = "record",
    misfits: bool = True,
    stacklevel: int = 2,
) -> R:
    """Return the run, a `cls`, that a plan gives from state 0; with `path` it is a file when this returns.

    Parameters
    ----------
    cls : type of Handle
    plan : Plan
    row : Row
        As for `sweep`.
    path, durability, on_signal, progress
        As for `record`.
    op : str
        What a `Progress` says is done.
    misfits : bool
        Whether to warn of stored states that stopped fitting the columns of state 0.
    stacklevel : int
        As for `planned`.

    Raises
    ------
    StepError, RecordingInterrupted, StateError, MetricError, NondeterministicStepError, ArtifactError
        As from `record`; ``.run`` holds the finished part.
    """
    n = plan.n_steps
    report = reporter(progress, op, n)
    if path is None:
        require_no_path(durability, on_signal)
        run = swept(cls, plan, lambda: sweep(plan, row, report))
    else:
        with new_kept(path, n, plan.stride, durability, on_signal, stacklevel + 1) as kept:
            logged, at_end = replace(plan, log=kept.log), kept.reported(report, n)
            run = swept(cls, logged, lambda: sweep(logged, row, at_end), kept)
    misfit = run._misfit() if misfits else None
    if misfit is not None:
        warnings.warn(misfit, stacklevel=stacklevel + 1)
    return run
