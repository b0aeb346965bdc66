"""Aggregates, which summaries are made of: per key the extremes, the exact sum, the first and the last value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Any

import numpy as np

from ...errors import ArgumentError, ArgumentTypeError
from ...kernel import rounded
from ...metrics.moments import UNIT, ScalarMoments
from ...runs.arguments import integer
from .values import inner, plain_number

#: Characters of rows that are parsed at once, at most, unless it is one row: in memory they are many times that.
LONG = 1 << 22
#: What `define_metric` can ask for; best is the least or the greatest value, as the goal says.
KINDS = ("min", "max", "mean", "first", "last", "best")
_GOALS = {"minimize": "min", "maximize": "max"}


@dataclass
class Aggregate:
    """One key over some rows.

    Attributes
    ----------
    count, nans, pos_inf, neg_inf : int
        Numbers, and how many of them are NaN or infinite. Booleans are numbers, text is none.
    floats, ints : int
        Exact sums: of the finite doubles in units of 2**-1074, of the integers.
    min, max
        As they were logged; None where there is no number. NaN is left out here.
    first, last
        Of any type but None, as they are kept.
    at : int
        The last step it was logged at.
    """

    count: int = 0
    nans: int = 0
    pos_inf: int = 0
    neg_inf: int = 0
    floats: int = 0
    ints: int = 0
    min: Any = None
    max: Any = None
    first: Any = None
    last: Any = None
    at: int = -1

    def add(self, values: Sequence[Any]) -> None:
        """Enter values as they are kept, in order."""
        kinds = set(map(type, values))
        if kinds == {float}:
            self._add_floats(values)
        elif kinds == {int}:
            self._add_ints(values)
        else:
            values = [value for value in values if value is not None]
            if not values:
                return
            numbers = [number for number in map(plain_number, values) if number is not None]
            # In order: of 1 and 1.0 the first one is the smallest, however many are entered at once.
            for floats, some in groupby(numbers, key=lambda number: type(number) is float):
                (self._add_floats if floats else self._add_ints)(list(some))
        if self.first is None:
            self.first = values[0]
        self.last = values[-1]

    def _add_floats(self, values: Sequence[float]) -> None:
        if not values:
            return
        moments = ScalarMoments.of(np.array(values, np.float64), 0)
        self.count += moments.count
        self.nans += moments.nan_count
        self.pos_inf += moments.pos_inf
        self.neg_inf += moments.neg_inf
        self.floats += moments.total
        if moments.argmin >= 0:
            self._widen(values[moments.argmin], values[moments.argmax])

    def _add_ints(self, values: Sequence[int]) -> None:
        if values:
            self.count += len(values)
            self.ints += sum(values)
            self._widen(min(values), max(values))

    def _widen(self, low: Any, high: Any) -> None:
        if self.min is None or low < self.min:
            self.min = low
        if self.max is None or high > self.max:
            self.max = high

    def join(self, later: Aggregate) -> None:
        """Enter all that another aggregate has, of values after these."""
        for name in ("count", "nans", "pos_inf", "neg_inf", "floats", "ints"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        if later.min is not None:
            self._widen(later.min, later.max)
        if later.first is not None:
            self.first = later.first if self.first is None else self.first
            self.last, self.at = later.last, later.at

    @property
    def mean(self) -> float:
        """The rational mean, rounded once; IEEE where a value is NaN or infinite."""
        if self.nans or (self.pos_inf and self.neg_inf):
            return math.nan
        if self.pos_inf or self.neg_inf:
            return math.inf if self.pos_inf else -math.inf
        return rounded(self.floats + (self.ints << UNIT), self.count << UNIT, 0)

    def of(self, kind: str) -> Any:
        """Return what `kind` names, of `KINDS`, as it is kept; None where there is nothing of it."""
        if kind in ("first", "last"):
            return getattr(self, kind)
        if not self.count:
            return None
        return math.nan if self.nans else getattr(self, kind)

    def to_json(self) -> list[Any]:
        """Return the aggregate as values that a row can hold, integers as text."""
        count, nans, pos, neg, floats, ints, *values = (getattr(self, field.name) for field in fields(self))
        return [count, nans, pos, neg, hex(floats), hex(ints), *map(inner, values)]

    @classmethod
    def from_json(cls, facts: Sequence[Any]) -> Aggregate:
        """Return the aggregate that `to_json` gave, as JSON brought it back."""
        count, nans, pos, neg, floats, ints, low, high, first, last, at = facts
        low, high = (plain_number(value) for value in (low, high))
        first, last = (_outer(value) for value in (first, last))
        return cls(count, nans, pos, neg, int(floats, 16), int(ints, 16), low, high, first, last, at)


def _outer(kept: Any) -> Any:
    number = plain_number(kept)
    return kept if number is None else number


def columns_of(rows: Sequence[tuple[int, Mapping[str, Any]]]) -> tuple[dict[str, list[Any]], bool]:
    """Return the values of each key, in order; and whether all rows have the same keys."""
    first = rows[0][1]
    if sum([len(row) for _, row in rows]) == len(first) * len(rows):
        try:
            return {key: [row[key] for _, row in rows] for key in first}, True
        except KeyError:
            pass
    columns: dict[str, list[Any]] = {}
    for _, row in rows:
        for key, value in row.items():
            column = columns.get(key)
            if column is None:
                columns[key] = [value]
            else:
                column.append(value)
    return columns, False


class Aggregates(dict[str, Aggregate]):
    """The aggregates of all keys, with the last step there is a row of (-1: none)."""

    last_step = -1

    def add(self, rows: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        """Enter rows of kept values, in order."""
        rows = list(rows)
        if not rows:
            return
        columns, dense = columns_of(rows)
        self.last_step = rows[-1][0]
        last = {} if dense else {key: step for step, row in rows for key in row}
        for key, column in columns.items():
            aggregate = self.get(key)
            if aggregate is None:
                aggregate = self[key] = Aggregate()
            aggregate.add(column)
            aggregate.at = last.get(key, self.last_step)

    def to_json(self) -> dict[str, Any]:
        """Return all aggregates as kept values."""
        return {key: aggregate.to_json() for key, aggregate in self.items()}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any], last_step: int) -> Aggregates:
        """Return what `to_json` gave."""
        aggregates = cls({key: Aggregate.from_json(one) for key, one in facts.items()})
        aggregates.last_step = last_step
        return aggregates


class Definitions(dict[str, dict[str, Any]]):
    """What `define_metric` said, by name or by the beginning of names, ``"loss*"``."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._found: dict[str, Mapping[str, Any]] = {}  # of keys that were asked for

    def define(
        self,
        name: Any,
        step_metric: Any,
        summary: Any,
        step_sync: Any,
        overwrite: bool,
        hidden: Any = None,
        goal: Any = None,
    ) -> None:
        """Enter a definition.

        Raises
        ------
        ArgumentTypeError, ArgumentError
            If it is invalid.
        """
        if not isinstance(name, str):
            raise ArgumentTypeError("name", name, "a str")
        if not name or "*" in name[:-1] or name.startswith("_"):
            raise ArgumentError("name", name, "the name of a metric, or the beginning of names and a * at its end")
        if step_metric is not None and not isinstance(step_metric, str):
            raise ArgumentTypeError("step_metric", step_metric, "the name of a metric")
        if step_metric is not None and (not step_metric or "*" in step_metric):
            raise ArgumentError("step_metric", step_metric, "the name of one metric")
        new: dict[str, Any] = {}
        if step_metric is not None:
            new["step_metric"] = step_metric
            new["step_sync"] = True if step_sync is None else bool(step_sync)
        if summary is not None:
            new["summary"] = _kinds(summary)
        if hidden is not None:
            new["hidden"] = bool(hidden)
        if goal is not None:
            if goal not in _GOALS:
                raise ArgumentError("goal", goal, "'minimize' or 'maximize'")
            new["goal"] = goal
        old = {} if overwrite else self.get(name, {})
        if "best" in new.get("summary", ()) and "goal" not in {**old, **new}:
            raise ArgumentError("summary", summary, "best with goal='minimize' or goal='maximize'")
        if "summary" in new and "none" not in (*new["summary"], *old.get("summary", ())):
            new["summary"] = [kind for kind in KINDS if kind in (*old.get("summary", ()), *new["summary"])]
        self[name] = {**old, **new}
        self._found.clear()

    def of(self, key: str) -> Mapping[str, Any]:
        """Return what holds for a key: its own definition, or that of the longest beginning."""
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._of(key)
        return found

    def _of(self, key: str) -> Mapping[str, Any]:
        if key in self:
            return self[key]
        if key.startswith("_"):
            return {}
        globs = [name for name in self if name.endswith("*") and key.startswith(name[:-1])]
        return self[max(globs, key=len)] if globs else {}


def _kinds(summary: Any) -> list[str]:
    names = summary.split(",") if isinstance(summary, str) else summary
    if not isinstance(names, (list, tuple, set, frozenset)) or not all(isinstance(name, str) for name in names):
        raise ArgumentTypeError("summary", summary, "text such as 'min,max', or a list of such names")
    kinds = [name.strip() for name in names]
    for kind in kinds:
        if kind not in (*KINDS, "none"):
            raise ArgumentError("summary", summary, f"some of {', '.join(KINDS)}, or none")
    return ["none"] if "none" in kinds else [kind for kind in KINDS if kind in kinds]


def summarize(
    aggregates: Aggregates, definitions: Definitions, assigned: Mapping[str, tuple[int, Any]]
) -> dict[str, Any]:
    """Return a summary, of kept values.

    Parameters
    ----------
    aggregates : Aggregates
        Of exactly the rows that are visible.
    definitions : Definitions
    assigned : mapping of str to (int, value)
        What was put into the summary by hand, and at which step: it holds until the key is logged in a later row.
    """
    summary: dict[str, Any] = {}
    for key, aggregate in aggregates.items():
        kinds = definitions.of(key).get("summary")
        if key in assigned and assigned[key][0] >= aggregate.at:
            continue
        if kinds is None:
            value = aggregate.of("last")
            if value is not None:
                summary[key] = value
        elif kinds != ["none"]:
            best = _GOALS[definitions.of(key).get("goal", "minimize")]
            values = {kind: aggregate.of(best if kind == "best" else kind) for kind in kinds}
            summary[key] = {"dict": {kind: inner(value) for kind, value in values.items() if value is not None}}
    for key, (step, value) in assigned.items():
        if key not in aggregates or step >= aggregates[key].at:
            summary[key] = value
    if aggregates.last_step >= 0:
        summary["_step"] = aggregates.last_step
    return summary


def step_of(value: Any) -> int | None:
    """Return a step that was given, None for none; a negative one is an integer, too."""
    if value is None:
        return None
    step = integer("step", value)
    if step >= (1 << 62) - 1:
        raise ArgumentError("step", value, "an integer below 2**62 - 1")
    return step


def step_in_data(value: Any, step: Any) -> int:
    """Return the step that data name as ``_step``, where the call names `step` or None.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        If it is no integer, or the call names another one.
    """
    whole = int(value) if type(value) is float and value.is_integer() else value  # a table may have made it a float
    named = integer("_step in data", whole)
    if step is not None and integer("step", step) != named:
        raise ArgumentError("_step in data", value, f"the step of the call, {step}", "Leave one of them out")
    return named


def definitions_problem(defined: Any) -> str | None:
    """Return what is wrong with definitions of metrics, None for sound ones."""
    if not isinstance(defined, dict):
        return "they are no object"
    for name, one in defined.items():
        if not isinstance(one, dict) or not set(one) <= {"step_metric", "step_sync", "summary", "hidden", "goal"}:
            return f"{name!r} is defined as nothing that define_metric takes"
        if type(one.get("hidden", False)) is not bool or one.get("goal", "minimize") not in _GOALS:
            return f"the goal of {name!r} is none"
        kinds = one.get("summary", [])
        if type(kinds) is not list or not all(kind in (*KINDS, "none") for kind in kinds):
            return f"the summary of {name!r} is none"
        if "step_metric" in one and (type(one["step_metric"]) is not str or type(one.get("step_sync")) is not bool):
            return f"the step metric of {name!r} is none"
    return None
