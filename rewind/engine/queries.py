"""The queries of scans: statistics, searches, values, changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import ConditionError, MetricError
from ..kernel import Place
from ..metrics.condition import Condition
from ..metrics.guard import Mutation, guarded_metrics
from ..metrics.metric import as_values, plain_value
from ..metrics.statistics import Measure, Sums, sums_of
from ..state.codec import StateCodec
from ..state.columns import Array
from ..state.copies import IMMUTABLE, private_copy
from ..state.digest import digest
from ..steps.step import Step
from .replay import Cursor, Watch
from .scan import Query, Stretch, stretches

#: What a predicate is called in messages.
CONDITION = "the condition"


class Measured(Query):
    """The sums of some metrics over every stretch: the answer is a `Sums` for each.

    Parameters
    ----------
    measures : mapping of str to Measure
    """

    def __init__(self, measures: Mapping[str, Measure]) -> None:
        self.measures = dict(measures)

    def watched(self) -> Mapping[str, Any]:
        """Return the metrics."""
        return {name: measure.function for name, measure in self.measures.items()}

    def guarded(self, codec: StateCodec, found: Mutation) -> Measured:
        """Return the query with the metrics that change a state given copies."""
        functions = guarded_metrics(self.watched(), codec, found)
        return Measured({name: m._replace(function=functions[name]) for name, m in self.measures.items()})

    def answerer(self, cursor: Cursor) -> Callable[[Stretch], list[Sums]]:
        """Return a function that observes the metrics over a stretch."""
        watch = Watch(cursor.step, cursor.recording.checkpoints.codec, self.watched())

        def answer(stretch: Stretch) -> list[Sums]:
            n = stretch.stop - stretch.start
            observed = watch.observe(cursor, n, n - 1)
            return [
                sums_of(name, measure, values, stretch.start)
                for (name, measure), values in zip(self.measures.items(), observed, strict=True)
            ]

        return answer


# ---- searches


class Test:
    """What a search looks for: a predicate of the state, or a text condition with the functions of its metrics.

    Parameters
    ----------
    functions : mapping of str to callable or None
        The metrics of `condition`; without one, the predicate by the name `CONDITION`.
    condition : Condition, optional
    shapes : mapping of str to tuple of int
        Of the metrics of `condition`.
    """

    __test__ = False  # nothing for pytest

    def __init__(
        self,
        functions: Mapping[str, Any],
        condition: Condition | None = None,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        self.functions, self.condition, self.shapes = dict(functions), condition, dict(shapes or {})

    def of_state(self, state: Any, t: int) -> bool:
        """Return whether it holds for one state."""
        if self.condition is None:
            try:
                return bool(self.functions[CONDITION](state))
            except Exception as error:
                raise ConditionError.raised(error, t) from error
        values = {}
        for name in self.condition.names:
            function = self.functions[name]
            try:
                value = state if function is None else function(state)
            except Exception as error:
                raise MetricError(name, t, f"raised {type(error).__name__}: {error}") from error
            values[name] = as_values(name, [value], t, self.shapes[name])
        return bool(self.condition.holds(values, 1)[0])

    def calls_predicate(self, place: Place, step: Step, codec: StateCodec) -> bool:
        """Whether a predicate is called step by step: a compiled step calls a compiled one while it runs."""
        if self.condition is not None:
            return False
        return step.observer(codec, [CONDITION], [self.functions[CONDITION]], place.state) is None

    def hits(self, place: Place, step: Step, codec: StateCodec) -> Callable[[int, int], Array]:
        """Return ``hits(n_states, n_steps)``: whether it holds for each of the next states of the block."""
        functions, condition = self.functions, self.condition
        if condition is None:
            if self.calls_predicate(place, step, codec):
                functions = {CONDITION: _Truth(functions[CONDITION])}
        elif not condition.names:
            constant = condition

            def run(n_states: int, n_steps: int) -> Array:
                place.run(n_steps)
                return constant.holds({}, n_states)

            return run
        watch = Watch(step, codec, functions)

        def observe(n_states: int, n_steps: int) -> Array:
            t = place.t
            try:
                observed = watch.observe(place, n_states, n_steps)
            except Mutation:
                raise
            except MetricError as error:
                if condition is None:  # a compiled one that raises does not say where
                    cause = error.__cause__ or error
                    raise ConditionError.raised(cause, error.step) from cause
                raise
            if condition is None:
                truth: Array = np.asarray(observed[0], np.float64) != 0.0
                return truth
            pairs = zip(watch.names, observed, strict=True)
            return condition.holds({name: as_values(name, got, t, self.shapes[name]) for name, got in pairs}, n_states)

        return observe


class _Truth:
    """A predicate that returns True or False, whatever the user's one returns."""

    def __init__(self, predicate: Callable[[Any], Any]) -> None:
        self.predicate = predicate

    def __call__(self, state: Any) -> bool:
        return bool(self.predicate(state))


class Found(Query):
    """Where a test holds: the first or last step of each stretch, None where there is none, or all of them.

    Parameters
    ----------
    test : Test
    which : {"first", "last", "all"}
    """

    def __init__(self, test: Test, which: str) -> None:
        self.test, self.which = test, which

    def watched(self) -> Mapping[str, Any]:
        """Return the predicate, or the metrics of the condition."""
        return self.test.functions

    def guarded(self, codec: StateCodec, found: Mutation) -> Found:
        """Return the query with those of them that change a state given copies."""
        functions = guarded_metrics(self.watched(), codec, found)
        return Found(Test(functions, self.test.condition, self.test.shapes), self.which)

    def ends(self, answer: Any) -> bool:
        """Whether this is the step that was looked for."""
        return self.which != "all" and answer is not None

    def answerer(self, cursor: Cursor) -> Callable[[Stretch], Any]:
        """Return a function that searches a stretch."""
        test, step, codec = self.test, cursor.step, cursor.recording.checkpoints.codec
        if self.which == "first" and test.calls_predicate(cursor, step, codec):
            predicate = test.functions[CONDITION]

            def search(stretch: Stretch) -> int | None:
                n = stretch.stop - stretch.start
                t = cursor.search(predicate, n, n - 1)
                return t if t >= 0 else None

            return search
        hits = test.hits(cursor, step, codec)

        def look(stretch: Stretch) -> Any:
            n = stretch.stop - stretch.start
            found = np.flatnonzero(hits(n, n - 1)) + stretch.start
            if self.which == "all":
                return found.tolist()
            return int(found[0 if self.which == "first" else -1]) if len(found) else None

        return look


# ---- values


class Valued(Query):
    """What a function gives at some steps: a list for each stretch.

    Parameters
    ----------
    name : str
        What the function is called in messages.
    function : callable or None
        None: the state itself.
    start, every : int
        The steps `start`, ``start + every``, ...
    """

    def __init__(self, name: str, function: Callable[[Any], Any] | None, start: int, every: int) -> None:
        self.name, self.function, self.start, self.every = name, function, start, every

    def watched(self) -> Mapping[str, Any]:
        """Return nothing: what it is given is a copy."""
        return {}

    def answerer(self, cursor: Cursor) -> Callable[[Stretch], list[Any]]:
        """Return a function that collects the values of a stretch."""
        value = _valuer(cursor, self.name, self.function)

        def answer(stretch: Stretch) -> list[Any]:
            first = stretch.start + (self.start - stretch.start) % self.every
            return [value(t) for t in range(first, stretch.stop, self.every)]

        return answer


def _valuer(cursor: Cursor, name: str, function: Callable[[Any], Any] | None) -> Callable[[int], Any]:
    """Return ``value(t)``: what a function returns at a step, as an object of its own."""
    copy = cursor.recording.checkpoints.codec.copy

    def value(t: int) -> Any:
        cursor.seek(t)
        state = copy(cursor.state)
        cursor.park()  # the function may read other steps of the run
        return state if function is None else value_of(name, function, state, t)

    return value


def value_of(name: str, function: Callable[[Any], Any], state: Any, t: int) -> Any:
    """Return what a function returns for a state, as an object of its own.

    Raises
    ------
    MetricError
        From what it raises.
    """
    try:
        value = function(state)
    except Exception as error:
        raise MetricError(name, t, f"raised {type(error).__name__}: {error}") from error
    value = plain_value(name, value, t)
    try:
        return own(value)
    except Exception as error:
        raise MetricError(name, t, f"raised {type(error).__name__}: {error}") from error


def own(value: Any) -> Any:
    """Return a value that nothing else will change."""
    return np.array(value) if isinstance(value, (np.ndarray, list)) else private_copy(value)


# ---- changes


class Course(NamedTuple):
    """What a function gave over a stretch: the first value, each ``(step, old, new)``, and the last value."""

    first: Any
    changes: list[tuple[int, Any, Any]]
    last: Any

    def merge(self, later: Course, step: int) -> Course:
        """Return the course over this stretch and the next one, which begins at `step`."""
        between = [] if unchanged(self.last, later.first) else [(step, self.last, later.first)]
        return Course(self.first, [*self.changes, *between, *later.changes], later.last)


class Changed(Query):
    """Where what a function gives changes, byte for byte: a `Course` for each stretch.

    Parameters
    ----------
    name : str
        What the function is called in messages.
    function : callable or None
        None: the state itself.
    last : bool
        Whether the last change is all that is wanted.
    """

    def __init__(self, name: str, function: Callable[[Any], Any] | None, last: bool) -> None:
        self.name, self.function, self.last = name, function, last

    def ends(self, answer: Course) -> bool:
        """Whether the change that was looked for is in this stretch."""
        return self.last and bool(answer.changes)

    def answerer(self, cursor: Cursor) -> Callable[[Stretch], Course]:
        """Return a function that compares the values of a stretch."""
        value = _valuer(cursor, self.name, self.function)

        def answer(stretch: Stretch) -> Course:
            first = old = value(stretch.start)
            changes: list[tuple[int, Any, Any]] = []
            for t in range(stretch.start + 1, stretch.stop):
                new = value(t)
                if not unchanged(old, new):
                    if self.last:
                        changes.clear()
                    changes.append((t, old, new))
                    old = new
            return Course(first, changes, old)

        return answer


class Spanned(Query):
    """A query for the last of something over stretches of several blocks: each of them goes forward once.

    Parameters
    ----------
    query : Found or Changed
    """

    def __init__(self, query: Query) -> None:
        self.query = query

    def watched(self) -> Mapping[str, Any]:
        """Return the user's functions."""
        return self.query.watched()

    def guarded(self, codec: StateCodec, found: Mutation) -> Spanned:
        """Return the query with those of them that change a state given copies."""
        return Spanned(self.query.guarded(codec, found))

    def ends(self, answer: Any) -> bool:
        """Whether this is what was looked for."""
        return self.query.ends(answer)

    def answerer(self, cursor: Cursor) -> Callable[[Stretch], Any]:
        """Return a function that goes block by block."""
        answer_for = self.query.answerer(cursor)

        def answer_all(stretch: Stretch) -> Any:
            found: Any = None
            for piece in stretches(cursor.grid, stretch.start, stretch.stop):
                cursor.seek(piece.start)
                answer = answer_for(piece)
                if isinstance(answer, Course) and found is not None:
                    found = found.merge(answer, piece.start)
                elif answer is not None:
                    found = answer
            return found

        return answer_all


def unchanged(old: Any, new: Any) -> bool:
    """Whether two values are the same, byte for byte."""
    if old is new and type(old) in IMMUTABLE:
        return True
    kind = type(old)
    if kind is type(new) and kind in (int, bool, str):
        return bool(old == new)
    if kind is float is type(new) and (old != new or old != 0.0) and (old == old or new == new):
        return bool(old == new)
    return digest(old) == digest(new)
