"""Moments of a run: when something first held, last held, changed; and a cursor to walk about with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, Generic, TypeVar

from ..engine.queries import CONDITION, Changed, Course, Found, Spanned, Test, unchanged
from ..engine.replay import Cursor as Place
from ..engine.replay import ReplayMismatch
from ..engine.scan import Query, Scan, Stretch, stretches
from ..errors import ArgumentError, ArgumentTypeError, ConditionError, StepRangeError
from ..metrics.condition import Condition, parse
from ..metrics.guard import changed, kept, on_copies
from ..metrics.metric import Metric, label, resolve_one
from .arguments import integer
from .executors import STEPS, Execution, Job
from .trajectory import Trajectory
from .verify import not_reproduced

S = TypeVar("S")

#: What a search looks for: a predicate of the state, or text over observed metrics.
ConditionOption = Callable[[Any], Any] | str


def first(
    trajectory: Trajectory, cond: ConditionOption, start: int, stop: int | None, execution: Execution
) -> int | None:
    """Return the first step at which `cond` holds: `Run.first`."""
    first, end = trajectory.some_window(start, stop)
    items, test = _candidates(trajectory, cond, first, end)
    for answer in _asked(trajectory, "first", Found(test, "first"), items, execution):
        if answer is not None:
            return int(answer)
    return None


def last(trajectory: Trajectory, cond: ConditionOption, before: int | None, execution: Execution) -> int | None:
    """Return the last step below `before` at which `cond` holds: `Run.last`."""
    items, test = _candidates(trajectory, cond, 0, _before(trajectory, before))
    query, items = _backward(trajectory, Found(test, "last"), items)
    for answer in _asked(trajectory, "last", query, items, execution):
        if answer is not None:
            return int(answer)
    return None


def where(
    trajectory: Trajectory, cond: ConditionOption, start: int, stop: int | None, execution: Execution
) -> Iterator[int]:
    """Return an iterator over the steps at which `cond` holds: `Run.where`."""
    first, end = trajectory.some_window(start, stop)
    items, test = _candidates(trajectory, cond, first, end)
    found = _asked(trajectory, "where", Found(test, "all"), items, execution)
    return (t for answer in found for t in answer)


def bisect(trajectory: Trajectory, cond: ConditionOption, start: int, stop: int | None) -> int | None:
    """Return the first step at which `cond` holds, given that it goes on to hold: `Run.bisect`."""
    first, end = trajectory.some_window(start, stop)
    test = test_of(trajectory, cond, first, True)
    recording = trajectory.recording
    grid, stride = recording.grid, recording.stride
    before = grid.block_of(first) // stride  # stored states from the next one on lie in the window
    n_probes = grid.block_of(end - 1) // stride - before + 1

    def probe(i: int) -> int:
        return grid.start((before + i) * stride) if i else first

    def holds(i: int) -> bool:
        return test.of_state(trajectory.reader.get(probe(i)), probe(i))

    begins = holds(0)
    if not test.of_state(trajectory.reader.get(end - 1), end - 1):
        if begins:
            raise _not_monotone(first, end - 1)
        return None
    if begins:
        return first
    low, high = 0, n_probes
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    reach = probe(high) if high < n_probes else end
    seen: int | None = None
    for stretch, found in _looked(
        trajectory, "bisect", Found(test, "all"), stretches(grid, probe(low), reach), Execution()
    ):
        if seen is not None and (not found or found[0] != stretch.start):
            raise _not_monotone(seen, stretch.start)
        for t, following in zip(found, [*found[1:], stretch.stop], strict=False):
            seen = t if seen is None else seen
            if following != t + 1:
                raise _not_monotone(seen, t + 1)
    return probe(high) if seen is None else seen


def last_change(trajectory: Trajectory, f: Metric, before: int | None, execution: Execution) -> int | None:
    """Return the last step below `before` at which ``f(state)`` changed: `Run.last_change`."""
    items: Sequence[Stretch] = stretches(trajectory.recording.grid, 0, _before(trajectory, before))
    query, items = _backward(trajectory, Changed(label(f), _function(trajectory, f, 0), last=True), items)
    later: tuple[Stretch, Course] | None = None
    for stretch, course in _looked(trajectory, "last_change", query, items, execution):
        if later is not None and not unchanged(course.last, later[1].first):
            return later[0].start
        if course.changes:
            return int(course.changes[-1][0])
        later = stretch, course
    return None


def changes(
    trajectory: Trajectory, f: Metric, start: int, stop: int | None, execution: Execution
) -> Iterator[tuple[int, Any, Any]]:
    """Return an iterator over the changes of ``f(state)``: `Run.changes`."""
    first, end = trajectory.some_window(start, stop)
    function = _function(trajectory, f, first)
    items = stretches(trajectory.recording.grid, max(first - 1, 0), end)
    courses = _looked(trajectory, "changes", Changed(label(f), function, last=False), items, execution)
    return _joined(courses)


def _joined(courses: Iterator[tuple[Stretch, Course]]) -> Iterator[tuple[int, Any, Any]]:
    before: Course | None = None
    for stretch, course in courses:
        if before is not None and not unchanged(before.last, course.first):
            yield stretch.start, before.last, course.first
        yield from course.changes
        before = course


# ---- what they share


def _backward(trajectory: Trajectory, query: Query, items: Sequence[Stretch]) -> tuple[Query, Sequence[Stretch]]:
    """Return what to ask, the last stretch first: from each stored state on where not every block has one."""
    stride = trajectory.recording.stride
    if stride == 1:
        return query, items[::-1]
    groups = [list(group) for _, group in groupby(items, lambda stretch: stretch.block // stride)]
    whole = [Stretch(group[-1].block, group[0].start, group[-1].stop) for group in groups]
    return Spanned(query), whole[::-1]


def _before(trajectory: Trajectory, before: int | None) -> int:
    n = trajectory.n_steps
    if before is None:
        return n
    t = integer("before", before)
    if not (-n < t < 0 or 0 < t <= n):
        advice = "It is the step after those that are looked at; a negative one counts from the end"
        raise ArgumentError("before", before, f"a step from 1 to {n}", advice)
    return t if t > 0 else t + n


def _function(trajectory: Trajectory, f: Metric, t: int) -> Callable[[Any], Any] | None:
    codec = trajectory.recording.checkpoints.codec
    return resolve_one(
        label(f), f, trajectory.reader.get(t), codec, t, False, trajectory.metrics, trajectory.recording.metrics
    )


def _candidates(trajectory: Trajectory, cond: ConditionOption, first: int, end: int) -> tuple[Sequence[Stretch], Test]:
    """Return the stretches of a window in which `cond` may hold, and the test for them."""
    recording = trajectory.recording
    if not isinstance(cond, str):
        return stretches(recording.grid, first, end), test_of(trajectory, cond, first, True)
    condition = _condition(trajectory, cond)
    tables = {name: recording.metrics[name].rows for name in condition.names}
    items = stretches(recording.grid, first, end, condition.may_hold(tables, recording.grid.n_blocks))
    return items, test_of(trajectory, cond, first, bool(items))


def _condition(trajectory: Trajectory, text: str) -> Condition:
    return parse(text, {name: table.shape for name, table in trajectory.recording.metrics.items()})


def test_of(trajectory: Trajectory, cond: ConditionOption, t: int, needed: bool) -> Test:
    """Return what looks for `cond`; where it is `needed`, its functions have to be here."""
    if isinstance(cond, str):
        condition = _condition(trajectory, cond)
        missing = [name for name in condition.names if name not in trajectory.metrics]
        if missing and needed:
            trajectory.reader.cursor("a search")
            given = ", ".join(f"{name!r}: function" for name in missing)
            advice = f"Load the run with rewind.load(path, step_fn, observe={{{given}}})"
            expected = f"the functions of {', '.join(missing)} to look for {cond!r} inside blocks"
            raise ArgumentError("observe", sorted(trajectory.metrics), expected, advice)
        functions = {name: trajectory.metrics.get(name) for name in condition.names}
        shapes = {name: trajectory.recording.metrics[name].shape for name in condition.names}
        return Test(functions, condition, shapes)
    if not callable(cond):
        expected = "a predicate of the state, or text over observed metrics such as 'x > 1e6'"
        raise ArgumentTypeError("cond", cond, expected)
    test, codec = Test({CONDITION: cond}), trajectory.recording.checkpoints.codec
    state = trajectory.reader.get(t)
    before = kept(codec, state)
    test.of_state(state, t)
    return Test({CONDITION: on_copies(CONDITION, cond, codec, t)}) if changed(codec, before, state) else test


def _asked(
    trajectory: Trajectory,
    op: str,
    query: Query,
    items: Sequence[Stretch],
    execution: Execution,
) -> Iterator[Any]:
    return (answer for _, answer in _looked(trajectory, op, query, items, execution))


def _looked(
    trajectory: Trajectory,
    op: str,
    query: Query,
    items: Sequence[Stretch],
    execution: Execution,
) -> Iterator[tuple[Stretch, Any]]:
    """Return each stretch with its answer, as they are asked for; what is no option is refused now."""
    if not items:  # nothing to replay
        return iter(())
    trajectory.reader.cursor(op)
    assert trajectory.step is not None
    work = Scan(trajectory.recording, trajectory.step, query, trajectory.reader.turn, trajectory.trust)
    return _pairs(trajectory, items, execution.job(op, work, items, trajectory.step, **STEPS))


def _pairs(trajectory: Trajectory, items: Sequence[Stretch], answers: Job) -> Iterator[tuple[Stretch, Any]]:
    try:
        for answer, stretch in zip(answers, items, strict=False):  # in this order: the answers end the pass
            yield stretch, answer
    except ReplayMismatch as mismatch:
        raise not_reproduced(trajectory, mismatch) from None


def _not_monotone(holds: int, fails: int) -> ConditionError:
    problem = f"the condition is not monotone: it holds at step {holds} and not at step {fails}"
    return ConditionError(problem, way="run.first(cond) looks at every step")


class Cursor(Generic[S]):
    """A step of a run to walk about from, as in a debugger; `Run.at` gives one.

    Attributes
    ----------
    t : int
        The step it stands at.
    """

    def __init__(self, run: Any, t: int) -> None:
        self._run, self.t = run, t
        self._place: Place | None = None

    @property
    def state(self) -> S:
        """The state at this step: a private copy."""
        return self._run.get(self.t)  # type: ignore[no-any-return]

    @property
    def rng_state(self) -> Any:
        """State of the generator at this step, before it draws the way to the next.

        Of a `numpy.random.Generator` the dict ``bit_generator.state``, of a `random.Random` what ``getstate()`` gives:
        put it into one of your own, and ``step_fn(state, rng)`` is the next state. A replay of up to a block.
        """
        reader = self._run._trajectory.reader
        with reader.turn:
            if self._place is None:
                self._place = reader.cursor("rng_state")
            self._place.seek(self.t)
            rng = self._place.rng
            found: Any = rng.bit_generator.state if self._run.backend == "numpy" else rng.getstate()
            self._place.park()
        return found

    def step(self, n: int = 1) -> Cursor[S]:
        """Go `n` steps forward, and return the cursor.

        Raises
        ------
        StepRangeError
            If that is outside the run; the cursor stays.
        """
        return self._go(self.t + integer("n", n, 0))

    def back(self, n: int = 1) -> Cursor[S]:
        """Go `n` steps back, and return the cursor. Within a block the first step back costs a block, others nothing.

        Raises
        ------
        StepRangeError
            If that is outside the run; the cursor stays.
        """
        return self._go(self.t - integer("n", n, 0))

    def until(self, cond: Callable[[Any], Any] | str, *, back: bool = False) -> int | None:
        """Go forward to the next step at which `cond` holds, and return it; None, and no step taken, if there is none.

        Parameters
        ----------
        cond : callable or str
            As for `Run.first`.
        back : bool
            Backward instead: to the last step before this one.
        """
        run, found = self._run, None
        test_of(run._trajectory, cond, self.t, False)  # also where there is no step left to ask it of
        if back:
            found = run.last(cond, before=self.t) if self.t > 0 else None
        elif self.t + 1 < run.n_steps:
            found = run.first(cond, self.t + 1)
        if found is not None:
            self.t = found
        return found

    def _go(self, t: int) -> Cursor[S]:
        if not 0 <= t < self._run.n_steps:
            raise StepRangeError(t, self._run.n_steps)
        self.t = t
        return self

    def __repr__(self) -> str:
        return f"<Cursor: step {self.t:,} of 0 to {self._run.n_steps - 1:,}>"
