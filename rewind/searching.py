"""Moments of a run: when something first held, last held, changed; and a cursor to walk about with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, TypeVar

from .checks import integer
from .cursors import Cursor
from .engine.conditions import Condition, parse
from .engine.metrics import Metric, label, resolve_one
from .engine.passes import Pass as Passing
from .engine.passes import Question, Stretch, stretches
from .engine.questions import CONDITION, Changed, Course, Found, Spanned, Test, unchanged
from .engine.replay import Parted
from .errors import ArgumentError, ArgumentTypeError, ConditionError
from .handle import Handle
from .progress import ProgressOption
from .workforce import STEPS, ExecutorOption, Pass

S = TypeVar("S")

#: What a search looks for: a predicate of the state, or text over observed metrics.
ConditionOption = Callable[[Any], Any] | str


class Searching(Handle[S]):
    """The moments of a run."""

    def first(
        self,
        cond: ConditionOption,
        start: int = 0,
        stop: int | None = None,
        *,
        executor: ExecutorOption = None,
        workers: int | None = None,
        progress: ProgressOption = None,
    ) -> int | None:
        """Return the first step at which `cond` holds, None if there is none.

        Parameters
        ----------
        cond : callable or str
            A predicate of the state, which may only look; or text over observed metrics: ``"x > 1e6"``,
            ``"isnan(loss)"``, ``"infected == 0 and day > 30"``, ``"any(abs(v) > 3)"``, ``"v[2] < 0"``. It is parsed and
            never evaluated as Python.
        start, stop : int
            A window, as in a slice.
        executor, workers, progress
            As for `stats`. The earliest step is found whoever looks.

        Raises
        ------
        ArgumentError
            If the window is empty, or the function of a metric in a text is not here (``load(observe=...)``).
        ConditionError
            If the text cannot be read, with the character, or names a metric that was not observed; or if the
            predicate raises or changes the state.
        NondeterministicReplayError
            If the pass does not get to a stored state it comes by.
        WorkersLostError
            If workers die and cannot be replaced.

        Notes
        -----
        One pass up to the step that is found, and no predicate is asked of a state behind it. Text looks only into
        blocks whose row in `overview` allows it: for a NaN or an extreme value that is one block, sqrt(n_steps) steps,
        however long the run is.
        """
        first, behind = self._some_window(start, stop)
        items, test = self._candidates(cond, first, behind)
        for answer in self._asked("first", Found(test, "first"), items, executor, workers, progress):
            if answer is not None:
                return int(answer)
        return None

    def last(
        self,
        cond: ConditionOption,
        before: int | None = None,
        *,
        executor: ExecutorOption = None,
        workers: int | None = None,
        progress: ProgressOption = None,
    ) -> int | None:
        """Return the last step below `before` at which `cond` holds, None if there is none: reverse-continue.

        Parameters
        ----------
        cond : callable or str
            As for `first`.
        before : int, optional
            ``1 <= before <= n_steps``, or negative to count from the end. Default: the whole run.
        executor, workers, progress
            As for `stats`.

        Raises
        ------
        ArgumentError, ConditionError, NondeterministicReplayError
            As from `first`.

        Notes
        -----
        Blocks backward, each forward once: the steps between the one that is found and `before`, and up to a block
        more. Text skips blocks, as in `first`.
        """
        items, test = self._candidates(cond, 0, self._before(before))
        question, items = self._backward(Found(test, "last"), items)
        for answer in self._asked("last", question, items, executor, workers, progress):
            if answer is not None:
                return int(answer)
        return None

    def where(
        self,
        cond: ConditionOption,
        start: int = 0,
        stop: int | None = None,
        *,
        executor: ExecutorOption = None,
        workers: int | None = None,
        progress: ProgressOption = None,
    ) -> Iterator[int]:
        """Return an iterator over all steps of a window at which `cond` holds, in order and as they are found.

        Parameters
        ----------
        cond, start, stop, executor, workers, progress
            As for `first`, and so are the errors. The cost is that of a pass over the whole window, or over the blocks
            that a text allows.
        """
        first, behind = self._some_window(start, stop)
        items, test = self._candidates(cond, first, behind)
        found = self._asked("where", Found(test, "all"), items, executor, workers, progress)
        return (t for answer in found for t in answer)

    def bisect(self, cond: ConditionOption, start: int = 0, stop: int | None = None) -> int | None:
        """Return the first step at which `cond` holds, None if there is none, given that it holds ever after.

        Parameters
        ----------
        cond : callable or str
            As for `first`; once it holds, it goes on to hold: a NaN that spreads, a population that died out.
        start, stop : int
            A window, as in a slice.

        Raises
        ------
        ConditionError
            If it is seen not to be monotone: among the stored states that were looked at, or in the block.
        ArgumentError, NondeterministicReplayError
            As from `first`.

        Notes
        -----
        About log2(number of checkpoints) questions to stored states, which take no step, one block, and up to a block
        more for the last state. Only both ends, those states and that block are looked at; whether it is monotone
        elsewhere is not. `first` looks everywhere.
        """
        first, behind = self._some_window(start, stop)
        test = self._test(cond, first, True)
        recording = self._recording
        grid, stride = recording.grid, recording.stride
        before = grid.block_of(first) // stride  # stored states from the next one on lie in the window
        n_probes = grid.block_of(behind - 1) // stride - before + 1

        def probe(i: int) -> int:
            return grid.start((before + i) * stride) if i else first

        def holds(i: int) -> bool:
            return test.of_state(self._reader.get(probe(i)), probe(i))

        begins = holds(0)
        if not test.of_state(self._reader.get(behind - 1), behind - 1):
            if begins:
                raise _not_monotone(first, behind - 1)
            return None
        if begins:
            return first
        low, high = 0, n_probes
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(middle) else (middle, high)
        reach = probe(high) if high < n_probes else behind
        seen: int | None = None
        for stretch, found in self._looked("bisect", Found(test, "all"), stretches(grid, probe(low), reach)):
            if seen is not None and (not found or found[0] != stretch.first):
                raise _not_monotone(seen, stretch.first)
            for t, following in zip(found, [*found[1:], stretch.behind], strict=False):
                seen = t if seen is None else seen
                if following != t + 1:
                    raise _not_monotone(seen, t + 1)
        return probe(high) if seen is None else seen

    def last_change(
        self,
        f: Metric = None,
        before: int | None = None,
        *,
        executor: ExecutorOption = None,
        workers: int | None = None,
        progress: ProgressOption = None,
    ) -> int | None:
        """Return the last step below `before` at which ``f(state)`` is not what it was one step earlier, or None.

        Ask again with ``before=`` the answer for the change before that. What was there before and after is
        ``f(run.get(t - 1))`` and ``f(run.get(t))``.

        Parameters
        ----------
        f : callable, None (the state itself) or name of an attribute or key, or of an observed metric
        before : int, optional
            As for `last`.
        executor, workers, progress
            As for `stats`.

        Notes
        -----
        Values are compared byte for byte: a NaN is what it was, 0.0 is not -0.0, 1 is not True. Blocks backward, each
        forward once.
        """
        items: Sequence[Stretch] = stretches(self._recording.grid, 0, self._before(before))
        question, items = self._backward(Changed(label(f), self._function(f, 0), last=True), items)
        later: tuple[Stretch, Course] | None = None
        for stretch, course in self._looked("last_change", question, items, executor, workers, progress):
            if later is not None and not unchanged(course.last, later[1].first):
                return later[0].first
            if course.changes:
                return int(course.changes[-1][0])
            later = stretch, course
        return None

    def changes(
        self,
        f: Metric = None,
        start: int = 0,
        stop: int | None = None,
        *,
        executor: ExecutorOption = None,
        workers: int | None = None,
        progress: ProgressOption = None,
    ) -> Iterator[tuple[int, Any, Any]]:
        """Return an iterator over ``(step, old, new)`` for the steps of a window at which ``f(state)`` changes.

        Parameters
        ----------
        f : callable, None (the state itself) or name of an attribute or key, or of an observed metric
        start, stop : int
            A window, as in a slice. Its first step is compared with the one before it, if there is one: windows that
            follow each other give all changes.
        executor, workers, progress
            As for `stats`.

        Notes
        -----
        Values are compared byte for byte, as in `last_change`. One pass, as the iterator goes on.
        """
        first, behind = self._some_window(start, stop)
        function = self._function(f, first)
        items = stretches(self._recording.grid, max(first - 1, 0), behind)
        courses = self._looked("changes", Changed(label(f), function, last=False), items, executor, workers, progress)
        return self._joined(courses)

    @staticmethod
    def _joined(courses: Iterator[tuple[Stretch, Course]]) -> Iterator[tuple[int, Any, Any]]:
        before: Course | None = None
        for stretch, course in courses:
            if before is not None and not unchanged(before.last, course.first):
                yield stretch.first, before.last, course.first
            yield from course.changes
            before = course

    def at(self, t: int) -> Cursor[S]:
        """Return a cursor at step `t`, to walk about with: ``step``, ``back``, ``until``.

        Parameters
        ----------
        t : int
            ``-n_steps <= t < n_steps``; negative steps count from the end.

        Raises
        ------
        StepRangeError
            If there is no such step.
        """
        return Cursor(self, self._recording.grid.step(integer("t", t)))

    # ---- what they share

    def _backward(self, question: Question, items: Sequence[Stretch]) -> tuple[Question, Sequence[Stretch]]:
        """Return what to ask, the last stretch first: from each stored state on where not every block has one."""
        stride = self._recording.stride
        if stride == 1:
            return question, items[::-1]
        groups = [list(group) for _, group in groupby(items, lambda stretch: stretch.block // stride)]
        whole = [Stretch(group[-1].block, group[0].first, group[-1].behind) for group in groups]
        return Spanned(question), whole[::-1]

    def _before(self, before: int | None) -> int:
        n = self.n_steps
        if before is None:
            return n
        t = integer("before", before)
        if not (-n < t < 0 or 0 < t <= n):
            advice = "It is the step behind those that are looked at; a negative one counts from the end"
            raise ArgumentError("before", before, f"a step from 1 to {n}", advice)
        return t if t > 0 else t + n

    def _function(self, f: Metric, t: int) -> Callable[[Any], Any] | None:
        codec = self._recording.checkpoints.codec
        return resolve_one(label(f), f, self._reader.get(t), codec, t, False, self._metrics)

    def _candidates(self, cond: ConditionOption, first: int, behind: int) -> tuple[Sequence[Stretch], Test]:
        """Return the stretches of a window in which `cond` may hold, and the test for them."""
        recording = self._recording
        if not isinstance(cond, str):
            return stretches(recording.grid, first, behind), self._test(cond, first, True)
        condition = self._condition(cond)
        tables = {name: recording.metrics[name].rows for name in condition.names}
        items = stretches(recording.grid, first, behind, condition.may_hold(tables, recording.grid.n_blocks))
        return items, self._test(cond, first, bool(items))

    def _condition(self, text: str) -> Condition:
        return parse(text, {name: table.shape for name, table in self._recording.metrics.items()})

    def _test(self, cond: ConditionOption, t: int, needed: bool) -> Test:
        """Return what looks for `cond`; where it is `needed`, its functions have to be here."""
        if isinstance(cond, str):
            condition = self._condition(cond)
            missing = [name for name in condition.names if name not in self._metrics]
            if missing and needed:
                self._reader.cursor("a search")
                given = ", ".join(f"{name!r}: function" for name in missing)
                advice = f"Load the run with rewind.load(path, step_fn, observe={{{given}}})"
                expected = f"the functions of {', '.join(missing)} to look for {cond!r} inside blocks"
                raise ArgumentError("observe", sorted(self._metrics), expected, advice)
            functions = {name: self._metrics.get(name) for name in condition.names}
            shapes = {name: self._recording.metrics[name].shape for name in condition.names}
            return Test(functions, condition, shapes)
        if not callable(cond):
            expected = "a predicate of the state, or text over observed metrics such as 'x > 1e6'"
            raise ArgumentTypeError("cond", cond, expected)
        test, codec = Test({CONDITION: cond}), self._recording.checkpoints.codec
        state = self._reader.get(t)
        before = codec.digest(codec.encode(state))
        test.of_state(state, t)
        if codec.digest(codec.encode(state)) != before:
            raise ConditionError.meddled(t)
        return test

    def _asked(
        self,
        op: str,
        question: Question,
        items: Sequence[Stretch],
        executor: ExecutorOption = None,
        workers: int | None = None,
        progress: ProgressOption = None,
    ) -> Iterator[Any]:
        return (answer for _, answer in self._looked(op, question, items, executor, workers, progress))

    def _looked(
        self,
        op: str,
        question: Question,
        items: Sequence[Stretch],
        executor: ExecutorOption = None,
        workers: int | None = None,
        progress: ProgressOption = None,
    ) -> Iterator[tuple[Stretch, Any]]:
        """Return each stretch with its answer, as they are asked for; what is no option is refused now."""
        if not items:  # nothing to replay
            return iter(())
        self._reader.cursor(op)
        assert self._step is not None
        work = Passing(self._recording, self._step, question, self._reader.turn)
        return self._pairs(items, Pass(op, work, items, self._step, executor, workers, progress, **STEPS))

    def _pairs(self, items: Sequence[Stretch], answers: Pass) -> Iterator[tuple[Stretch, Any]]:
        try:
            for answer, stretch in zip(answers, items, strict=False):  # in this order: the answers end the pass
                yield stretch, answer
        except Parted as parted:
            raise self._not_reproduced(parted) from None


def _not_monotone(holds: int, fails: int) -> ConditionError:
    return ConditionError(
        f"the condition is not monotone: it holds at step {holds} and not at step {fails}. "
        "run.first(cond) looks at every step"
    )
