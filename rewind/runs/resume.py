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
from ..engine.past import checked_row
from ..engine.plan import Plan, Report, Stopped
from ..engine.recording import Recording
from ..engine.replay import ReplayMismatch
from ..engine.sweep import go_on
from ..errors import ArgumentError, ArtifactError, ArtifactNotFoundError, RecordingInterrupted, StateClassError, show
from ..metrics.metric import Metric
from ..state.codec import Row, StateCodec, UserCodec
from ..state.difference import first_difference
from ..state.frozen import frozen
from ..steps.importing import ends_import
from ..steps.params import params_of, same
from ..steps.source import describe
from ..storage import journal, replay_file
from ..storage.journal_writer import Journal
from .arguments import codec_of, n_steps_of, seed_of
from .branch import longer_plan
from .execute import OpenJournal, open_journal, reopen_journal, sweep_run
from .load import attached, load, require_rows_allowed
from .options import Durability, OnSignal, Options, durability_of, require_no_output, signals_of
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
    The last finished block is run again as a check, or the first steps of the block that it stopped in, where that
    takes long; the others are read and not run.


    ``record(..., resume=True)`` begins, goes on, or is done, whatever there is.

    Examples
    --------
    Go on where the job before was stopped::

        run = rewind.resume("run.replay", step, on_signal="checkpoint")
    """
    ends_import("resume")
    user = codec_of(codec)
    options = Options(observe=observe, codec=user, durability=durability, on_signal=on_signal, progress=progress)
    durability_of(durability)  # refuse bad values now: a finished file asks for none of these
    signals_of(on_signal)
    reporter(progress, "record", 1)
    total = None if n_steps is None else n_steps_of(n_steps)
    options = replace(options, allow_pickle=allow_pickle)
    target = journal.target_of(path)
    return go_on_at(target, step_fn, total, options, unfinished=is_unfinished(target), max_bytes=max_bytes)


def go_on_at(
    target: str,
    step_fn: Callable[..., Any],
    total: int | None,
    options: Options,
    *,
    unfinished: bool,
    max_bytes: int | None = None,
) -> Run[Any]:
    """Go on with what is at `target`, an unfinished recording or a file, as `resume` says."""
    opened, allow_pickle, observe = None, options.allow_pickle, options.observe
    if unfinished:
        opened = reopen_unfinished(target, options)
    if opened is None:
        user = codec_of(options.codec)
        finished = load(target, step_fn, allow_pickle=allow_pickle, observe=observe, codec=user, max_bytes=max_bytes)
        return _longer(target, finished, total, options)
    with opened as output:
        found = output.log.found
        assert found is not None
        before = found.growth.finished()
        total = found.owner.n_steps if total is None else total
        total = _total(total, before, target)
        step, metrics = attached(before, output.log.path, step_fn, allow_pickle, observe)
        require_rows_allowed(found.growth, output.log.path, allow_pickle)
        run: Run[Any] = Run(before, step, metrics, origin="elsewhere")
        stride = found.owner.stride
        if stride is not None and total != found.owner.n_steps:
            stride = thinned_stride(stride, replace(before, n_steps=total).grid.n_blocks, total)
        return _gone_on(run, found.growth.row, total, stride, output, options, found.growth.part)


@frozen
class Begun:
    """What there is at a path to go on with: a finished file, or a recording that has not become one."""

    recording: Recording
    unfinished: bool
    busy: bool = False


def begun_at(target: str, codec: UserCodec | None = None) -> Begun | None:
    """Return what there is to go on with; None where there is nothing, or a recording that has made no step."""
    if is_unfinished(target):
        with contextlib.suppress(ArtifactNotFoundError):
            found = journal.read(journal.journal_of(target), codec, 1 << 62)
            if found.writing or found.growth.recording().n_steps > 1:
                return Begun(found.recording(), True, found.writing)
    try:
        return Begun(replay_file.load(target, codec).recording, False)
    except ArtifactNotFoundError:
        return None


@frozen
class Change:
    """What a call asks for that a recording was begun otherwise with: the argument, both values, and where in them."""

    name: str
    given: Any
    recorded: Any
    path: str = ""


class _Another:
    """A state that is not shown, since it is a pickle."""

    def __repr__(self) -> str:
        return "another state"


MISSING: Any = object()


def first_change(
    before: Recording,
    *,
    step_fn: Callable[..., Any] | None = None,
    step_id: str | None = None,
    seed: int | None = None,
    backend: str | None = None,
    block_size: int | None = None,
    params: Mapping[str, Any] | None = None,
    observe: Mapping[str, Any] | None = None,
    init_state: Any = MISSING,
    codec: UserCodec | None = None,
    allow_pickle: bool = False,
) -> Change | None:
    """Return the first of these that is not what `before` was begun with; None where all that are given are.

    A step is another one if both its name and its source differ: it may have been mended, or moved. Of metrics the
    names are compared, of state 0 the digest; a pickle whose digest is not known is left alone unless `allow_pickle`.
    """
    asked = {
        "seed": (seed, before.seed),
        "backend": (backend, before.backend),
        "block_size": (block_size, before.block_size),
    }
    for name, (given, recorded) in asked.items():
        if given is not None and given != recorded:
            return Change(name, given, recorded)
    if params is not None and not same(params, before.params):
        return Change("params", dict(params), dict(before.params))
    if observe is not None and sorted(observe) != sorted(before.metrics):
        return Change("observe", sorted(observe), sorted(before.metrics))
    if step_fn is not None:
        here, there = describe(step_fn, step_id), before.step
        if all(there.get(fact, here.get(fact)) != here.get(fact) for fact in ("id", "source")):
            return Change("step_fn", here["id"], there["id"])
    if init_state is not MISSING:
        return _changed_state(before, init_state, codec, allow_pickle)
    return None


def _changed_state(before: Recording, init_state: Any, codec: UserCodec | None, allow_pickle: bool) -> Change | None:
    checkpoints = before.checkpoints
    row, here = checkpoints.row(0), StateCodec.of(init_state, codec)
    if before.origin.lead or (isinstance(row, bytes) and 0 not in checkpoints.digests and not allow_pickle):
        return None
    given = here.encode(init_state)
    try:
        if here.digest(given) == checkpoints.digest(0):
            return None
        recorded = None if isinstance(row, bytes) else checkpoints.codec.tree(row)
    except StateClassError:  # the step brings it along, or it is missed there
        return None
    if recorded is None:
        return Change("init_state", init_state, _Another())
    difference = first_difference(recorded, here.tree(given))
    if difference is not None and difference.path:
        return Change("init_state", difference.got, difference.expected, difference.path)
    return Change("init_state", init_state, recorded)


def recorded_before(
    step_fn: Callable[..., Any], init_state: Any, n_steps: int, seed: int | None, options: Options
) -> Run[Any] | None:
    """Return the run that ``record(..., resume=True)`` goes on with, or that is done; None where it is to begin.

    Raises
    ------
    ArgumentError
        If what there is was begun otherwise.
    """
    if options.path is None:
        require_no_output(options)
    durability_of(options.durability)
    signals_of(options.on_signal)
    reporter(options.progress, "record", 1)
    total, codec = n_steps_of(n_steps), codec_of(options.codec)
    target = journal.target_of(options.path)  # type: ignore[arg-type]
    begun = begun_at(target, codec)
    if begun is None:
        return None
    if not begun.busy:  # else it is refused for that
        _require_same(begun, target, step_fn, init_state, seed, options)
    return go_on_at(target, step_fn, total, options, unfinished=begun.unfinished)


def _require_same(
    begun: Begun, target: str, step_fn: Callable[..., Any], init_state: Any, seed: int | None, options: Options
) -> None:
    """Refuse to go on with a recording by a call that would have begun another one."""
    change = first_change(
        begun.recording,
        step_fn=step_fn,
        step_id=options.step_id,
        seed=None if seed is None else seed_of(seed),
        backend=options.backend,
        block_size=options.block_size,
        params=params_of(options.params),
        observe=options.observe or {},
        init_state=init_state,
        codec=codec_of(options.codec),
        allow_pickle=options.allow_pickle,
    )
    if change is not None:
        there = journal.journal_of(target) if begun.unfinished else target
        expected = f"{show(change.recorded)}, with which {there} was begun"
        advice = "resume=True goes on with that one; for another take another path, or delete the file"
        raise ArgumentError(change.name + change.path, change.given, expected, advice)


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
    plan = replace(plan, log=output.log, pace=output.pace(shown), self_check=bool(options.self_check))
    report, go = output.reported(shown, n_steps), go_on if stride else _grown
    if part is not None and part.t >= n_steps - 1:  # asked for fewer than there are inside the block
        part = None
    try:
        return sweep_run(Run, plan, lambda: go(before, plan, report, row, part), output)
    except RecordingInterrupted:
        raise
    except KeyboardInterrupt as caught:  # while what there is was run again
        raise RecordingInterrupted(run.n_steps - 1, n_steps, run, output.path, str(caught) or None) from caught
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
