"""The rows that a simulation logs: while it is recorded, later by replay, and whether a replay gives them again."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np

from ...engine.blocks import Grid
from ...errors import ArgumentError, ArgumentTypeError, HistoryMismatchError, MetricError, MissingStepError
from ...metrics.metric import Metric, as_values, label
from ...runs.run import Run
from ...state.columns import is_text
from ..store import history
from ..store.database import Store
from ..store.values import kept_value, restored, text
from .parts import Part, Simulation

_WINDOW = 1 << 18  # steps whose values are in memory at a time


class Tap:
    """What a sweep calls with the values of a block, or a minute of it: logs those of every k-th step and the last.

    Parameters
    ----------
    add : callable
        ``add(rows)``, with rows as `Writer.add_rows` takes them.
    first, origin : int
        As of a `Part`.
    log_every : int or None
    skip : bool
        Whether state 0 was logged before: in a simulation that goes on.
    """

    def __init__(
        self,
        add: Callable[[list[tuple[int, dict[str, Any]]]], None],
        first: int,
        origin: int,
        log_every: int | None,
        skip: bool,
    ) -> None:
        self._add, self._first, self._origin, self._every, self._skip = add, first, origin, log_every, skip

    def __call__(self, start: int, values: Mapping[str, Any]) -> None:
        """Log the rows of states from step `start` on."""
        n = len(next(iter(values.values())))
        rows = []
        for i in logged_steps(start, start + n, self._origin, self._every, self._skip):
            row = {name: kept_value(column[i - start]) for name, column in values.items()}
            rows.append((self._first + i, row))
        self._add(rows)


def logged_steps(start: int, stop: int, origin: int, every: int | None, skip: bool) -> Iterator[int]:
    """Yield the steps of a block that are logged: every k-th of the whole simulation, and the last."""
    if every is not None:
        yield from (i for i in range(start + -(start + origin) % every, stop - 1, every) if i or not skip)
    if stop - 1 or not skip:
        yield stop - 1


def rows_of(part: Part, run: Run[Any], upto: int) -> Iterator[int]:
    """Yield the steps of a recording that were logged, up to one."""
    recording = run._recording
    grid: Grid = recording.grid
    for block in range(grid.n_blocks):
        if grid.start(block) > upto:
            return
        for i in logged_steps(grid.start(block), grid.stop(block), part.origin, part.log_every, part.noise is not None):
            if i <= upto:
                yield i


def values_at(run: Run[Any], metric: Any, steps: list[int], workers: int | None = None) -> Iterator[Any]:
    """Yield what a metric gives at some steps, in order, as it is kept."""
    at = 0
    while at < len(steps):
        low = steps[at]
        end = at
        while end < len(steps) and steps[end] < low + _WINDOW:
            end += 1
        found = run.series(metric, low, steps[end - 1] + 1, workers=workers)
        if isinstance(found, dict):
            raise MetricError(label(metric), low, "gave several fields; give one metric for each")
        floats = found.dtype == np.float64
        column = found if floats else as_values(label(metric), list(found), low)
        yield from (kept_value(column[step - low]) for step in steps[at:end])
        at = end


def seen_until(simulation: Simulation, k: int) -> int:
    """Return the last step of the history at which the `k`-th part is what is seen."""
    part = simulation.parts[k]
    later = simulation.parts[k + 1].first if k + 1 < len(simulation.parts) else history.END
    return min(part.upto, later)


# ---- backfilling


def require_names(metrics: Any, what: str) -> None:
    """Refuse what is no mapping of names to metrics."""
    if not isinstance(metrics, Mapping):
        raise ArgumentTypeError(what, metrics, "a dict of names to metrics, such as {'x': lambda state: state.x}")
    for name in metrics:
        if not isinstance(name, str):
            raise ArgumentTypeError(f"a name in {what}", name, "a str")
        if not name or name.startswith("_") or not is_text(name):
            raise ArgumentError(f"a name in {what}", name, "a name that does not begin with _")


def past_steps(store: Store, uid: int, names: Collection[str]) -> tuple[list[int], dict[int, dict[str, Any]]]:
    """Return the steps of all rows that a revision sees, and what was backfilled before, by step.

    Raises
    ------
    ArgumentError
        If one of `names` was logged.
    """
    seen = history.spans(store, uid)
    logged, steps = set[str](), []
    for step, data in history.texts(store, seen):
        steps.append(step)
        logged |= {name for name in json.loads(data) if name in names}
    if logged:
        advice = "What was logged stays; give another name"
        raise ArgumentError("metrics", sorted(logged), "names that were not logged", advice)
    return steps, history.backfilled(store, seen)


def past_values(
    simulation: Simulation,
    metrics: Mapping[str, Metric],
    steps: list[int],
    there: Mapping[int, Mapping[str, Any]],
    workers: int | None,
) -> list[tuple[str, int, str]]:
    """Return name, step and text of what metrics give by replay, for the rows at `steps` that have none `there`."""
    found: list[tuple[str, int, str]] = []
    for k, part in enumerate(simulation.parts):
        last = min(seen_until(simulation, k), steps[-1] if steps else -1)
        if last < part.first:
            continue
        run = simulation.reaching(part, last)
        if run._trajectory.step is None:
            raise simulation.missing("backfill", part)
        low, high = part.first + (part.noise is not None), min(last, part.first + run.n_steps - 1)
        for name, metric in metrics.items():
            here = [step - part.first for step in steps if low <= step <= high and name not in there.get(step, ())]
            values = values_at(run, metric, here, workers)
            found += [(name, part.first + t, text(value)) for t, value in zip(here, values, strict=True)]
    return found


# ---- proving


def require_replayed(store: Store, simulation: Simulation, uid: int) -> int:
    """Return how many rows a simulation gives again; as `Revision.verify_history` says."""
    seen = history.spans(store, uid)
    n, ref, end = 0, history.record_of(store, uid).ref, history.last_step(store, uid)
    for k, part in enumerate(simulation.parts):
        names = list(part.metrics)
        last = history.last_step(store, uid, min(seen_until(simulation, k), end))
        if not names or last < part.first:
            continue
        run = simulation.reaching(part, last)
        _require_functions(simulation, part, run)
        steps = list(rows_of(part, run, min(last - part.first, run.n_steps - 1)))
        if not steps:
            continue
        columns = [values_at(run, name, steps) for name in names]
        logged = history.kept_rows(store, seen, part.first, part.first + steps[-1] + 1)
        at, row = -1, dict[str, Any]()
        for i, *values in zip(steps, *columns, strict=True):
            step = part.first + i
            while at < step:
                at, row = next(logged, (history.END, {}))
            for name, value in zip(names, values, strict=True):
                there = row.get(name) if at == step else None
                if text(there) != text(value):
                    raise HistoryMismatchError(ref, step, name, restored(there), restored(value))
            n += 1
    return n


def _require_functions(simulation: Simulation, part: Part, run: Run[Any]) -> None:
    if run._trajectory.step is None:
        raise simulation.missing("a check", part)
    missing = [name for name in part.metrics if name not in run._trajectory.metrics]
    if missing:
        raise MissingStepError.of_metrics(simulation.ref, missing)
