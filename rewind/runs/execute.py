"""A plan carried out: the run that comes of it, in memory or on disk, or the error that carries the finished part."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeVar

from ..engine.finding import TrialFailed
from ..engine.pace import Pace
from ..engine.plan import Plan, SelfCheckFailed, Stopped
from ..engine.recording import Recording
from ..engine.sweep import sweep
from ..errors import (
    ArtifactError,
    NoLockWarning,
    NondeterministicStepError,
    RecordingInterrupted,
    StepError,
    StepReturnError,
)
from ..state.codec import Row
from ..steps.step import Step
from ..storage import journal
from ..storage.journal_writer import Journal
from .arguments import codec_of
from .options import Options, durability_of, require_no_output, signals_of
from .progress import Report, reporter
from .signals import Signals
from .trial import error_of
from .verify import failure

if TYPE_CHECKING:
    from .trajectory import Trajectory


class Held(Protocol):
    """A `Run`, as far as it is known here."""

    @property
    def _trajectory(self) -> Trajectory: ...


R = TypeVar("R", bound=Held)

#: The seconds by which blocks that take long are divided.
clock = time.monotonic


def run_plan(
    make_run: Callable[..., R],
    plan: Plan,
    row: Row,
    options: Options,
    *,
    op: str = "record",
    misfits: bool = True,
    stacklevel: int = 2,
) -> R:
    """Return the run that a plan gives from state 0; with ``options.path`` it is a file when this returns.

    Parameters
    ----------
    make_run : callable
        The class of the run.
    plan : Plan
    row : Row
        As for `sweep`.
    options : Options
        Of them ``path``, ``durability``, ``on_signal`` and ``progress``.
    op : str
        What a `Progress` says is done.
    misfits : bool
        Whether to warn of stored states that stopped fitting the columns of state 0.
    stacklevel : int
        Whose line a warning names, as if the caller gave it to ``warnings.warn``.

    Raises
    ------
    StepError, RecordingInterrupted, StateError, MetricError, NondeterministicStepError, ArtifactError
        As from `record`; ``.run`` holds the finished part.
    """
    n = plan.n_steps
    report = reporter(options.progress, op, n)
    if options.path is None:
        require_no_output(options)
        shown = plan if report is None else replace(plan, pace=Pace(clock, _never, _nothing, report))
        run = sweep_run(make_run, shown, lambda: sweep(shown, row, report))
    else:
        with open_journal(options.path, n, plan.stride, options, stacklevel + 1) as output:
            logged, at_end = replace(plan, log=output.log, pace=output.pace(report)), output.reported(report, n)
            run = sweep_run(make_run, logged, lambda: sweep(logged, row, at_end), output)
    told = plan.misfits is not None and plan.misfits.told
    misfit = run._trajectory.misfit() if misfits and not told else None
    if misfit is not None:
        warnings.warn(misfit, stacklevel=stacklevel + 1)
    return run


def _never() -> bool:
    return False


def _nothing() -> None:
    pass


def sweep_run(
    make_run: Callable[..., R], plan: Plan, make: Callable[[], Recording], output: OpenJournal | None = None
) -> R:
    """Return the run that `make` sweeps; one that stops early is raised, with what there is in ``.run``.

    With an `output` it is a file when this returns.
    """
    try:
        run = make_run(make(), plan.step, plan.metrics, plan.snapshots)
    except TrialFailed as failed:  # where not even state 0 can be stored twice
        raise error_of(failed.finding) from None
    except Stopped as stop:
        stopped = stop
    else:
        if output is not None:
            finish(output, run)
        return run
    if output is not None:
        output.stop(stopped.recording)
    run = make_run(stopped.recording, plan.step, plan.metrics, plan.snapshots)
    error = stopped_error(stopped, run, plan.step, plan.n_steps, output)
    if stopped.also is not None and hasattr(error, "add_note"):  # from Python 3.11 on
        error.add_note(f"What it was recorded to as well raised {type(stopped.also).__name__}: {stopped.also}")
    raise error from error.__cause__


def stopped_error(
    stopped: Stopped, run: Held, step: Step, n_steps: int | None, output: OpenJournal | None
) -> BaseException:
    """Return the error for a sweep that ended early, with what there is in ``.run``; its cause is set."""
    error = stopped.error
    new: BaseException
    if isinstance(error, StepReturnError):
        return StepReturnError(error.t, run)
    if isinstance(error, StepError):
        new, cause = StepError(error.t, error.__cause__, run), error.__cause__
        codec = stopped.recording.checkpoints.codec
        if isinstance(cause, (AttributeError, LookupError, TypeError)) and (codec.layout is None or codec.user):
            restored = error.t - error.t % stopped.recording.block_size
            new._say_restored(restored, "the codec" if codec.user else "a pickle")
    elif isinstance(error, KeyboardInterrupt):
        path, signal = (output.path, str(error) or None) if output is not None else (None, None)
        new, cause = RecordingInterrupted(run._trajectory.n_steps - 1, n_steps, run, path, signal), error
    elif isinstance(error, SelfCheckFailed):
        new, cause = failure(NondeterministicStepError, error.mismatch, stopped.recording, step), None
        new.run = run
    elif isinstance(error, TrialFailed):
        new, cause = error_of(error.finding), None
        new.run = run
    else:
        error.run = run  # type: ignore[attr-defined]
        return error
    new.__cause__ = cause
    return new


def finish(output: OpenJournal, run: Held) -> None:
    """Write the file of `run`; where that cannot be, the error has the run, and the blocks stay in the journal."""
    try:
        output.finish(run._trajectory.recording)
    except ArtifactError as error:
        error.run = run  # type: ignore[attr-defined]
        raise


class OpenJournal:
    """A recording's journal, locked while this context is entered, and the signals that end the recording.

    Parameters
    ----------
    log : Journal
    signals : Signals
    stacklevel : int
        Whose line a warning names, as if the caller gave it to ``warnings.warn``.
    """

    def __init__(self, log: Journal, signals: Signals, stacklevel: int = 3) -> None:
        self.log, self.signals = log, signals
        self._last: Report | None = None  # told of the end, when the file is there
        if not log.locked:
            try:
                warnings.warn(NoLockWarning(log.path), stacklevel=stacklevel + 1)
            except BaseException:  # where warnings are errors
                log.close()
                raise

    @property
    def path(self) -> str:
        """The file it will become."""
        return self.log.target

    def __enter__(self) -> OpenJournal:
        self.signals.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.log.close()
        finally:
            self.signals.__exit__(kind, error, trace)

    def reported(self, report: Report | None, n_steps: int) -> Callable[[int, int], None]:
        """Return what is called at the end of each block: `report`, and a look whether there was a signal."""

        def at_end(done: int, block: int) -> None:
            if done < n_steps:
                if report is not None:
                    report(done, block)
                self.signals.check()

        self._last = report
        return at_end

    def pace(self, report: Report | None) -> Pace:
        """Return how a sweep divides blocks that take long: by a look at signals now and then, and for `report`."""
        return Pace(clock, lambda: self.signals.caught, self.signals.check, report)

    def stop(self, recording: Recording) -> None:
        """Keep how far a sweep came that ended early."""
        self.log.stop(recording)

    def finish(self, recording: Recording) -> None:
        """Write the file, and report the end."""
        self.log.finish(recording)
        if self._last is not None:
            self._last(recording.n_steps, recording.grid.n_blocks - 1)


def open_journal(
    path: str | os.PathLike[str], n_steps: int | None, stride: int | None, options: Options, stacklevel: int = 2
) -> OpenJournal:
    """Return the journal of a recording that begins, opened as ``options.durability`` and ``options.on_signal`` say."""
    signals = signals_of(options.on_signal)  # refused before there is a file
    log = Journal.new(journal.target_of(path), n_steps, stride, durability_of(options.durability))
    return OpenJournal(log, signals, stacklevel + 1)


def reopen_journal(path: str | os.PathLike[str], options: Options) -> OpenJournal:
    """Return the journal of a recording that was cut off, to go on with it."""
    signals = signals_of(options.on_signal)
    log = Journal.again(journal.target_of(path), codec_of(options.codec), durability_of(options.durability))
    return OpenJournal(log, signals)
