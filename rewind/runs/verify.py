"""Comparisons of a run: with its own replay, bit for bit, and with another run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from ..engine.divergence import Divergence, Side, diverge
from ..engine.recording import Recording
from ..engine.replay import Cursor, ReplayMismatch, first_mutation
from ..engine.transport import can_travel
from ..engine.trust import Trust
from ..engine.verify import Mismatch, TableMismatch, Verification, find_mismatch
from ..errors import NondeterministicReplayError, NondeterministicStepError, ObservedMismatchError
from ..steps.code import Code, changes, parts_of
from ..steps.source import describe, hash_seed, versions
from ..steps.step import Step
from .executors import Execution
from .progress import ProgressOption, reporter
from .trajectory import Trajectory


def verify(trajectory: Trajectory, full: bool, execution: Execution) -> bool:
    """Replay stored stretches and compare them with the recording: `Run.verify`."""
    work = verification(trajectory)
    for mismatch in mismatches(trajectory, work, work.items(bool(full)), execution):
        raise mismatch
    trajectory.trust.settle()  # a block at least was looked at here
    return True


def verification(trajectory: Trajectory) -> Verification:
    """Return how a run is verified: its states, and the observed metrics whose functions are here."""
    trajectory.reader.cursor("verify")
    assert trajectory.step is not None
    return Verification(trajectory.recording, trajectory.step, trajectory.reader.turn, trajectory.observed())


def mismatches(
    trajectory: Trajectory, work: Verification, items: Sequence[tuple[int, int]], execution: Execution
) -> Iterator[NondeterministicReplayError]:
    """Yield the error for each block that is not reproduced, up to the first."""
    assert trajectory.step is not None
    step, options = trajectory.step, {"block": lambda item: item[1]}
    works = [work]
    if work.metrics and execution.travels(step) and not can_travel(list(work.metrics.values())):
        works = list(work.without_metrics())  # and those are looked at here
    for i, one in enumerate(works):
        who = execution if i == 0 else Execution()
        for found in who.job("verify", one, items, step, **options):
            if isinstance(found, TableMismatch):
                yield observed_failure(found, trajectory.recording, step)
            elif found is not None:
                mutator = mutating_metric(trajectory, found)
                kind = NondeterministicReplayError
                yield failure(kind, found, trajectory.recording, step, mutator, trajectory.trust)


def observed_failure(found: TableMismatch, recording: Recording, step: Step) -> ObservedMismatchError:
    """Return the error for a block that does not give what was observed."""
    name, column, component, at, expected, got = found.difference
    return ObservedMismatchError(
        found.block,
        at,
        found.stop,
        name,
        column,
        component,
        expected,
        got,
        recorded=facts(recording),
        present=facts_here(step.function),
    )


def mutating_metric(trajectory: Trajectory, mismatch: Mismatch) -> tuple[str, int] | None:
    """Return the metric that changes a state where a replay differs, and the step at which it does."""
    if not mismatch.exact:
        for name, metric in trajectory.metrics.items():
            assert trajectory.step is not None
            cursor = Cursor(trajectory.recording, trajectory.step)
            found = first_mutation(cursor, metric, mismatch.block, mismatch.step)
            if found is not None:
                return name, found.t
    return None


def diff(one: Trajectory, other: Trajectory, progress: ProgressOption) -> Divergence | None:
    """Return where two runs differ first: `Run.diff`."""
    runs = (one, other)
    sides = [Side(run.recording, run.step, run.reader.turn, run.trust) for run in runs]
    starts = [run.recording.origin.start for run in runs]
    length = min(start + run.n_steps for start, run in zip(starts, runs, strict=True)) - max(starts)
    recorded_alike = None in (one.step, other.step) and one.content_hash() == other.content_hash()
    return diverge(sides[0], sides[1], recorded_alike, reporter(progress, "diff", max(length, 1)))


def not_reproduced(trajectory: Trajectory, found: ReplayMismatch) -> NondeterministicReplayError:
    """Return the error for a pass that did not get to a stored state."""
    assert trajectory.step is not None
    return refusal(trajectory.recording, trajectory.step, found, trajectory.trust)


def refusal(recording: Recording, step: Step, found: ReplayMismatch, trust: Trust) -> NondeterministicReplayError:
    """Return the error for a replay that did not get to a stored state."""
    mismatch = find_mismatch(Cursor(recording, step), found.block, found.step, found.expected, found.got)
    return failure(NondeterministicReplayError, mismatch, recording, step, trust=trust)


_F = TypeVar("_F", NondeterministicStepError, NondeterministicReplayError)


def failure(
    cls: type[_F],
    mismatch: Mismatch,
    recording: Recording,
    step: Step,
    mutator: tuple[str, int] | None = None,
    trust: Trust | None = None,
) -> _F:
    """Return the error that a mismatch is."""
    return cls(
        mismatch.block,
        mismatch.step,
        mismatch.path,
        mismatch.expected,
        mismatch.got,
        exact=mismatch.exact,
        recorded=facts(recording),
        present=facts_here(step.function),
        global_rng=mismatch.global_rng,
        meddler=mutator,
        changes=(trust.changes or tuple(_changes(recording, trust.code))) if trust is not None else (),
        hidden=trust.written if trust is not None else (),
    )


def _changes(recording: Recording, code: Code | None) -> list[str]:
    before = parts_of(recording.step.get("code", ""))
    return changes(before, code.parts) if before is not None and code is not None else []


def facts(recording: Recording) -> dict[str, str]:
    """Return the versions of the recording program, with the hash of its step's source."""
    return _facts(dict(recording.versions), dict(recording.step))


def facts_here(step_fn: Callable[..., Any]) -> dict[str, str]:
    """Return the versions here, with the hash of the source of `step_fn`."""
    return _facts({**versions(), "hash_seed": hash_seed()}, describe(step_fn))


def _facts(versions: dict[str, str], step: dict[str, str]) -> dict[str, str]:
    return {**versions, **{name: step[name] for name in ("source", "hash_seed") if name in step}}
