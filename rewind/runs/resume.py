"""`resume`: go on with a recording that was cut off."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..engine.blocks import thinned_stride
from ..engine.open_sweep import Growing
from ..engine.pace import Part
from ..engine.recording import Recording
from ..engine.replay import ReplayMismatch
from ..engine.sweep import Plan, Report, Stopped, checked_row, go_on
from ..errors import ArgumentError, ArtifactError, ArtifactNotFoundError
from ..metrics.metric import Metric
from ..state.codec import Row, UserCodec
from ..steps.importing import ends_import
from ..storage import journal
from ..storage.journal_writer import Journal
from .arguments import codec_of, n_steps_of
from .branch import longer_plan
from .execute import OpenJournal, open_journal, reopen_journal, sweep_run
from .load import attached, load
from .options import Durability, OnSignal, Options, durability_of, signals_of
from .progress import ProgressOption, reporter
from .run import Run
from .verify import not_reproduced


def resume(
    path: str | os.PathLike[str],
    step_fn: Callable[..., Any],
    n_steps: int | None = None,
    *,
    observe: Mapping[str, Metric] | None = None,
    codec: UserCodec | None = None,
    allow_pickle: bool = False,
    durability: Durability = "block",
    on_signal: OnSignal = None,
    max_bytes: int | None = None,
    progress: ProgressOption = None,
) -> Run[Any]:
    """Go on with a recording that was cut off, and return the run when its file is written.

    The file has the very bytes it would have had without the interruption.

    Parameters
    ----------
    path : str or path-like
        The file that ``record(path=...)`` or `Recorder` was to write.
    step_fn : callable
        The step function it is recorded with.
    n_steps : int, optional
        Number of states in all. Default: what the recording was asked for. More than that goes on beyond it, like
        `Run.extend`; a finished file is extended.
    observe : mapping of str to metric
        The metrics it is recorded with, all of them: a file holds no functions.
    codec : (encode, decode), optional
        The codec it is recorded with.
    allow_pickle : bool
        As for `load`.
    durability, on_signal, progress
        As for `record`.
    max_bytes : int, optional
        As for `load`, of a finished file.

    Returns
    -------
    run : Run
        A finished file that is long enough is loaded, and nothing is run.

    Raises
    ------
    ArtifactNotFoundError
        If there is neither the file nor a recording of it.
    ArtifactBusyError
        If another process is recording to it.
    ArgumentError
        If there are more steps than `n_steps` already, or no number was ever given.
    NondeterministicReplayError
        If the last finished block does not give the state after it again.
    StepError, RecordingInterrupted, StateError, MetricError
        As for `record`.

    Notes
    -----
    The last finished block is run again as a check; the others are read and not run.

    Examples
    --------
    A job that goes on where the one before was stopped::

        try:
            run = rewind.resume("run.replay", step, on_signal="checkpoint")
        except FileNotFoundError:
            run = rewind.record(step, 0, 10**9, seed=1, path="run.replay", on_signal="checkpoint")
    """
    ends_import("resume")
    user = codec_of(codec)
    options = Options(observe=observe, codec=user, durability=durability, on_signal=on_signal, progress=progress)
    durability_of(durability)  # refuse bad values now: a finished file asks for none of these
    signals_of(on_signal)
    reporter(progress, "record", 1)
    total = None if n_steps is None else n_steps_of(n_steps)
    target = journal.target_of(path)
    unfinished = reopen_unfinished(target, options) if is_unfinished(target) else None
    if unfinished is None:
        finished = load(target, step_fn, allow_pickle=allow_pickle, observe=observe, codec=user, max_bytes=max_bytes)
        return _longer(target, finished, total, options)
    with unfinished as output:
        found = output.log.found
        assert found is not None
        before = found.growth.finished()
        total = found.owner.n_steps if total is None else total
        total = _total(total, before, target)
        step, metrics = attached(before, output.log.path, step_fn, allow_pickle, observe)
        run: Run[Any] = Run(before, step, metrics)
        stride = found.owner.stride
        if stride is not None and total != found.owner.n_steps:
            stride = thinned_stride(stride, replace(before, n_steps=total).grid.n_blocks, total)
        return _gone_on(run, found.growth.row, total, stride, output, options, found.growth.part)


def is_unfinished(target: str) -> bool:
    """Whether there is a recording for `target` that has not become it."""
    beside = journal.journal_of(target)
    if not journal.is_there(beside) or not journal.is_there(target):
        return journal.is_there(beside)
    try:
        return not journal.is_spent(journal.read(beside), target)
    except ArtifactNotFoundError:  # cut off before there was anything in it, or gone since
        return False


def _total(n_steps: int | None, before: Recording, target: str) -> int:
    if n_steps is None:
        advice = f"rewind.Recorder.resume({target!r}, step_fn) goes on without a number"
        raise ArgumentError("n_steps", None, "a number of states: this recording was begun without one", advice)
    if n_steps < before.n_steps:
        raise ArgumentError("n_steps", n_steps, f"at least the {before.n_steps} there are already")
    return n_steps


def reopen_unfinished(target: str, options: Options) -> OpenJournal | None:
    """Return the journal of the recording for `target`; None where another process has finished it meanwhile."""
    try:
        return reopen_journal(target, options)
    except ArtifactNotFoundError:
        if journal.is_there(target):
            return None
        raise


def _longer(target: str, run: Run[Any], n_steps: int | None, options: Options) -> Run[Any]:
    """Return the run in a finished file, extended where it is to be longer."""
    if n_steps is None and not run.complete:
        raise ArgumentError("n_steps", None, f"a number of states: {target} is the finished part of a run, and does "
                            "not say how long that was to be")  # fmt: skip
    n = run.n_steps if n_steps is None else n_steps
    if n == run.n_steps and run.complete:
        if journal.is_there(journal.journal_of(target)):  # left over by one that was killed when all was done
            with contextlib.suppress(ArtifactError):
                Journal.new(target, None, None, "none").close()
        return run
    n = _total(n, run._trajectory.recording, target)
    stride = thinned_stride(
        run._trajectory.recording.stride, replace(run._trajectory.recording, n_steps=n).grid.n_blocks, n
    )
    longer_plan(run._trajectory, n, stride)  # refuse before a journal is begun
    with open_journal(target, n, stride, options) as output:
        return _gone_on(run, None, n, stride, output, options)


def _gone_on(
    run: Run[Any],
    row: Row,
    n_steps: int,
    stride: int | None,
    output: OpenJournal,
    options: Options,
    part: Part | None = None,
) -> Run[Any]:
    """Return `run` continued to `n_steps`, and its file written."""
    before = run._trajectory.recording
    output.log.n_steps, output.log.stride = n_steps, stride
    shown = reporter(options.progress, "record", n_steps)
    plan = longer_plan(run._trajectory, n_steps, before.stride if stride is None else stride)
    plan = replace(plan, log=output.log, pace=output.pace(shown))
    report, go = output.reported(shown, n_steps), go_on if stride else _grown
    if part is not None and part.t >= n_steps - 1:  # asked for fewer than there are inside the block
        part = None
    try:
        return sweep_run(Run, plan, lambda: go(before, plan, report, row, part), output)
    except ReplayMismatch as mismatch:
        raise not_reproduced(run._trajectory, mismatch) from None


def _grown(before: Recording, plan: Plan, report: Report, row: Row, part: Part | None) -> Recording:
    growing = Growing(plan, report, checked_row(before, plan, row, part), before, part)
    try:
        growing.go_to(plan.n_steps - 1)
        return growing.recording()
    except BaseException as error:
        done = growing.rescued(error)
        if isinstance(error, KeyboardInterrupt):
            growing.keep()
        raise Stopped(error, done) from error
