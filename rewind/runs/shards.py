"""A pass in shards that never meet: each does its share of the blocks and writes a part; one merges the parts.

For an array of jobs in which nothing talks to anything. Job `i` of `n` loads the run and writes its part::

    part = shards.stats(run, i, n, "x")
    shards.save(part, f"part{i}.json")

and whoever comes last has the statistics of ``run.stats("x")``, to the last bit::

    merged = shards.merge([shards.load(path) for path in paths])
    merged.stats["x"].mean

A part is JSON, and reading one runs nothing: see :mod:`.parts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

from ..engine.queries import Measured
from ..engine.replay import ReplayMismatch
from ..engine.scan import Scan, stretches
from ..errors import ArgumentError, NondeterminismError, ShardError, StepError, show
from ..metrics.metric import Metric
from ..metrics.statistics import Stats, Sums
from ..state.frozen import frozen
from .arguments import integer
from .executors import STEPS, Execution, ExecutorOption
from .progress import ProgressOption
from .run import Run
from .shard_file import MAX_SHARDS, Part, floats_text, is_part, load, save, share_of
from .statistics import compared, measures_of
from .verify import mismatches, not_reproduced, verification

__all__ = ["MAX_SHARDS", "Merged", "Part", "is_part", "load", "merge", "save", "stats", "verify"]


@frozen
class Merged:
    """What the parts of a pass give together.

    Attributes
    ----------
    verb, run, parameters, source
        As in every `Part`.
    stats : dict of str to Stats, or None
        By the names of the metrics.
    failure : dict or None
        ``problem`` (a text), and ``block``, ``step``, ``path`` where they are known, of the earliest shard in which a
        block was not reproduced.
    """

    verb: str
    run: Mapping[str, Any]
    parameters: Mapping[str, Any]
    stats: dict[str, Stats] | None
    failure: Mapping[str, Any] | None
    source: str = ""


# ---- doing a part


def verify(
    run: Run[Any],
    i: int,
    n: int,
    full: bool = False,
    *,
    source: str = "",
    executor: ExecutorOption = None,
    workers: int | None = None,
    progress: ProgressOption = None,
) -> Part:
    """Return the `i`-th of `n` parts of ``run.verify(full)``; a failure is in it, and not raised.

    Parameters
    ----------
    run : Run
    i, n : int
        ``1 <= i <= n``. There may be more shards than blocks; those without a block have nothing to do.
    full : bool
        As for `Run.verify`.
    source : str
        What to call the file of the run.
    executor, workers, progress
        As for `Run.verify`.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If `i` and `n` are no shard.
    MissingStepError, TransferError, WorkersLostError
        As from `Run.verify`.
    """
    shard = _shard(i, n)
    trajectory = run._trajectory
    work = verification(trajectory)
    items = work.items(bool(full))
    low, high = share_of(len(items), *shard)
    execution = Execution(executor, workers, progress)
    found: dict[str, Any] | None = None
    try:
        for mismatch in mismatches(trajectory, work, items[low:high], execution):
            raise mismatch
    except (NondeterminismError, StepError) as error:
        found = failed(error)
    parameters = {"full": bool(full), "n_items": len(items)}
    return Part("verify", _facts(run), shard, parameters, found, source=source)


def failed(error: NondeterminismError | StepError) -> dict[str, Any]:
    """Return what a failure of `verify` says, as plain values."""
    where = {name: getattr(error, name) for name in ("block", "step", "path") if hasattr(error, name)}
    where |= {"step": error.t} if isinstance(error, StepError) else {}
    return {**where, "problem": str(error)}


def stats(
    run: Run[Any],
    i: int,
    n: int,
    f: Metric | Mapping[str, Metric] = None,
    start: int = 0,
    stop: int | None = None,
    *,
    histogram: Any = None,
    max_lag: int | None = None,
    source: str = "",
    executor: ExecutorOption = None,
    workers: int | None = None,
    progress: ProgressOption = None,
) -> Part:
    """Return the `i`-th of `n` parts of ``run.stats(f, start, stop)``.

    Parameters
    ----------
    run : Run
    i, n : int
        ``1 <= i <= n``. There may be more shards than blocks; those without a block have nothing to do.
    f, start, stop, histogram, max_lag
        As for `Run.stats`, and the same in every shard. A metric goes by its name, which `merge` compares; functions it
        cannot compare.
    source : str
        What to call the file of the run.
    executor, workers, progress
        As for `Run.stats`.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If `i` and `n` are no shard, or the window is empty.
    MetricError, MissingStepError, NondeterministicReplayError, TransferError, WorkersLostError
        As from `Run.stats`.

    Notes
    -----
    A scalar metric leaves a few hundred bytes, whatever the number of blocks. For one with d components the order in
    which blocks are merged counts, so each of them leaves about ``22 * d**2`` bytes.
    """
    shard = _shard(i, n)
    trajectory = run._trajectory
    first, end = trajectory.some_window(start, stop)
    # Each shard asks the state at the window's first step: what is subtracted is the same in all of them.
    measures = measures_of(trajectory, f, first, end, histogram, max_lag)
    one = next(iter(measures.values()))
    step = trajectory.step
    assert step is not None
    items = stretches(trajectory.recording.grid, first, end)
    low, high = share_of(len(items), *shard)
    work = Scan(trajectory.recording, step, Measured(measures), trajectory.reader.turn, trajectory.trust)
    kept: dict[str, list[Sums]] = {name: [] for name in measures}
    try:
        answers = Execution(executor, workers, progress).job("stats", work, items[low:high], step, **STEPS)
        for answer in compared(trajectory, measures, items[low:high], answers):
            for name, sums in zip(measures, answer, strict=True):
                if kept[name] and not measures[name].shape:  # exact, in any order
                    sums = kept[name].pop().merge(sums)
                kept[name].append(sums)
    except ReplayMismatch as mismatch:
        raise not_reproduced(trajectory, mismatch) from None
    parameters = {
        "start": first,
        "stop": end,
        "n_items": len(items),
        "edges": None if one.edges is None else floats_text(one.edges),
        "max_lag": one.max_lag,
        "metrics": [
            {"name": name, "shape": list(measure.shape), "shift": floats_text(measure.shift)}
            for name, measure in measures.items()
        ],
    }
    covered = (items[low].start, items[high - 1].stop) if low < high else None
    return Part("stats", _facts(run), shard, parameters, None, covered, kept, source)


def _shard(i: int, n: int) -> tuple[int, int]:
    count = integer("n", n, 1)
    if count > MAX_SHARDS:
        raise ArgumentError("n", n, f"at most {MAX_SHARDS:,} shards")
    which = integer("i", i, 1)
    if which > count:
        raise ArgumentError("i", i, f"one of the shards 1 to {count}")
    return which, count


def _facts(run: Run[Any]) -> dict[str, Any]:
    return {"content_hash": run.content_hash(), "n_steps": run.n_steps, "n_checkpoints": run.n_checkpoints}


# ---- putting parts together


def merge(parts: Sequence[Part]) -> Merged:
    """Return what all parts of a pass give together: to the last bit what the pass gives in one piece.

    Parameters
    ----------
    parts : sequence of Part
        All of them, in any order.

    Raises
    ------
    ShardError
        If a part is missing, there twice, or of another pass.

    Examples
    --------
    >>> from rewind import record
    >>> run = record(lambda x, rng: x + rng.random(), 0.0, 100, seed=1)
    >>> merged = merge([stats(run, i, 3, {"x": None}) for i in (3, 1, 2)])
    >>> merged.stats["x"] == run.stats()
    True
    """
    if not parts:
        raise ShardError("there is no part to merge")
    one, n = parts[0], parts[0].shard[1]
    for other in parts[1:]:
        _require_same(one, other)
    found: dict[int, Part] = {}
    for part in parts:
        i = part.shard[0]
        if i in found:
            raise ShardError(f"shard {i} of {n} is there twice: {found[i].name} and {part.name}")
        found[i] = part
    missing = [i for i in range(1, n + 1) if i not in found]
    if missing:
        named = ", ".join(map(str, missing[:20])) + (", ..." if len(missing) > 20 else "")
        verb = "shards {} of {} are" if len(missing) > 1 else "shard {} of {} is"
        raise ShardError(f"{verb.format(named, n)} missing; pass the parts of all {n}")
    ordered = [found[i] for i in range(1, n + 1)]
    failures = [part.failure for part in ordered if part.failure is not None]
    found_ = failures[0] if failures else None
    merged = Merged(one.verb, one.run, one.parameters, None, found_, ordered[0].source)
    return replace(merged, stats=_merged_stats(ordered)) if one.verb == "stats" else merged


def _require_same(one: Part, other: Part) -> None:
    a, b = one.name, other.name
    pairs: list[tuple[str, Any, Any]] = [
        ("verb", one.verb, other.verb),
        ("run", one.run["content_hash"][:12], other.run["content_hash"][:12]),
        ("number of shards", one.shard[1], other.shard[1]),
    ]
    if one.verb == other.verb:
        pairs += [(name, one.parameters[name], other.parameters[name]) for name in one.parameters]
    pairs += [("run", dict(one.run), dict(other.run))]
    for what, x, y in pairs:
        if x != y:
            raise ShardError(
                f"{a} and {b} are not parts of one pass: the {what} is {show(x)} in the one and {show(y)} in the other"
            )


def _merged_stats(parts: Sequence[Part]) -> dict[str, Stats]:
    parameters = parts[0].parameters
    at = parameters["start"]
    for part in parts:
        if part.steps is not None:
            if part.steps[0] != at:
                raise ShardError(f"{part.name} begins at step {part.steps[0]}, where step {at} is due")
            at = part.steps[1]
    if at != parameters["stop"]:
        raise ShardError(f"the parts end at step {at}, and the window at step {parameters['stop']}")
    merged = {}
    for metric in parameters["metrics"]:
        sums = [one for part in parts for one in part.sums[metric["name"]]]
        merged[metric["name"]] = reduce(Sums.merge, sums).stats(tuple(metric["shape"]))
    return merged
