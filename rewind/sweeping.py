"""Sweeping on behalf of a user: the run that comes of a plan, or the error that carries the finished part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .engine.recording import Recording
from .engine.steps import Step
from .engine.sweep import Plan, SelfCheckFailed, Stopped
from .errors import ArtifactError, NondeterministicStepError, RecordingInterrupted, StepError, StepReturnError
from .handle import Handle, failure
from .keeping import Kept

R = TypeVar("R", bound=Handle[Any])


def swept(cls: type[R], plan: Plan, make: Callable[[], Recording], kept: Kept | None = None) -> R:
    """Return the run, a `cls`, that `make` sweeps; one that stops early is raised, with what there is in ``.run``.

    Where it is `kept`, it is a file when this returns.
    """
    try:
        run = cls(make(), plan.step, plan.metrics, plan.marks)
    except Stopped as stop:
        stopped = stop
    else:
        if kept is not None:
            finish(kept, run)
        return run
    if kept is not None:
        kept.stop(stopped.recording)
    run = cls(stopped.recording, plan.step, plan.metrics, plan.marks)
    error = stopped_error(stopped, run, plan.step, plan.n_steps, kept)
    if stopped.also is not None and hasattr(error, "add_note"):  # from Python 3.11 on
        error.add_note(f"What it was recorded to as well raised {type(stopped.also).__name__}: {stopped.also}")
    raise error from error.__cause__


def stopped_error(
    stopped: Stopped, run: Handle[Any], step: Step, n_steps: int | None, kept: Kept | None
) -> BaseException:
    """Return what is raised when a sweep ends early, with what there is in ``.run``; its cause is set."""
    error = stopped.error
    new: BaseException
    if isinstance(error, StepReturnError):
        return StepReturnError(error.t, run)
    if isinstance(error, StepError):
        new, cause = StepError(error.t, error.__cause__, run), error.__cause__
    elif isinstance(error, KeyboardInterrupt):
        path, signal = (kept.path, str(error) or None) if kept is not None else (None, None)
        new, cause = RecordingInterrupted(run.n_steps - 1, n_steps, run, path, signal), error
    elif isinstance(error, SelfCheckFailed):
        new, cause = failure(NondeterministicStepError, error.mismatch, stopped.recording, step), None
        new.run = run
    else:
        error.run = run  # type: ignore[attr-defined]
        return error
    new.__cause__ = cause
    return new


def finish(kept: Kept, run: Handle[Any]) -> None:
    """Write the file of `run`; where that cannot be, the error has the run, and the blocks stay in the journal."""
    try:
        kept.finish(run._recording)
    except ArtifactError as error:
        error.run = run  # type: ignore[attr-defined]
        raise
