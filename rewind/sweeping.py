"""Sweeping on behalf of a user: the run that comes of a plan, or the error that carries the finished part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .engine.recording import Recording
from .engine.sweep import Plan, SelfCheckFailed, Stopped
from .errors import NondeterministicStepError, RecordingInterrupted, StepError, StepReturnError
from .handle import Handle, failure

R = TypeVar("R", bound=Handle[Any])


def swept(cls: type[R], plan: Plan, make: Callable[[], Recording]) -> R:
    """Return the run, a `cls`, that `make` sweeps; one that stops early is raised, with what there is in ``.run``."""
    try:
        return cls(make(), plan.step, plan.metrics, plan.marks)
    except Stopped as stop:
        stopped = stop
    error = stopped.error
    run = cls(stopped.recording, plan.step, plan.metrics, plan.marks)
    if isinstance(error, StepReturnError):
        raise StepReturnError(error.t, run) from None
    if isinstance(error, StepError):
        raise StepError(error.t, error.__cause__, run) from error.__cause__
    if isinstance(error, KeyboardInterrupt):
        raise RecordingInterrupted(run.n_steps - 1, plan.n_steps, run) from error
    if isinstance(error, SelfCheckFailed):
        found = failure(NondeterministicStepError, error.mismatch, stopped.recording, plan.step)
        found.run = run
        raise found from None
    error.run = run  # type: ignore[attr-defined]
    raise error from error.__cause__
