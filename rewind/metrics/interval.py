"""Conditions evaluated: on the values of every step, and by interval analysis on what is known of a whole block.

A condition is a program for a stack machine, which two algebras run. `Values` computes with the values themselves.
`Intervals` computes with the least and the greatest value of a block, and never says no where a step could say yes.
"""

from __future__ import annotations

import functools
import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..state.columns import Array

#: A component of a metric; None is the whole value.
Index: TypeAlias = tuple[int, ...] | None


class Op(NamedTuple):
    """One instruction: take `n` operands off the stack, put one back."""

    kind: str
    what: Any
    n: int


Program: TypeAlias = tuple[Op, ...]


class Algebra(ABC):
    """What a stack machine computes with: numbers and truth values, each shape (n, *components) with 1 for missing.

    Few operations are left to the algebras, the others are made of them by laws that IEEE arithmetic keeps exactly:
    ``a - b`` is ``a + -b``, ``isnan(a)`` is ``not a == a``, ``isinf(a)`` is ``abs(a) == inf``, a number taken for a
    truth value is ``not a == 0``.
    """

    def __init__(self, n_axes: int) -> None:
        self.n_axes = n_axes

    def run(self, program: Program) -> Any:
        """Return the truth value `program` gives. O(len(program)) operations, however deeply it was nested."""
        stack: list[Any] = []
        with np.errstate(all="ignore"):
            for kind, what, n in program:
                first = len(stack) - n
                operands = stack[first:]
                stack[first:] = [getattr(self, f"_{kind}")(what, *operands)]
            return self.truth(stack.pop())

    def spread(self, array: Array) -> Array:
        """Return `array`, shape (n, *shape), with as many axes as all others have."""
        return array.reshape(array.shape + (1,) * (self.n_axes - array.ndim))

    def _number(self, value: float) -> Any:
        return self.constant(np.full((1,) * self.n_axes, value))

    def _metric(self, what: tuple[str, Index]) -> Any:
        return self.metric(*what)

    def _sign(self, _: str, a: Any) -> Any:
        return self.negative(self.number(a))

    def _arithmetic(self, what: str, a: Any, b: Any) -> Any:
        a, b = self.number(a), self.number(b)
        if what == "-":
            return self.plus(a, self.negative(b))
        return {"+": self.plus, "*": self.times, "/": self.over}[what](a, b)

    def _compare(self, what: Sequence[str], *operands: Any) -> Any:
        pairs = itertools.pairwise(map(self.number, operands))
        return functools.reduce(self.both, (self._link(one, a, b) for one, (a, b) in zip(what, pairs, strict=True)))

    def _link(self, what: str, a: Any, b: Any) -> Any:
        if what in ("==", "!="):
            return self.equal(a, b) if what == "==" else self.opposite(self.equal(a, b))
        a, b = (a, b) if what[0] == "<" else (b, a)
        return self.at_most(a, b) if "=" in what else self.less(a, b)

    def _logic(self, what: str, *operands: Any) -> Any:
        truths = [self.truth(a) for a in operands]
        if what == "not":
            return self.opposite(truths[0])
        if what == "and":
            return functools.reduce(self.both, truths)
        return self.opposite(functools.reduce(self.both, map(self.opposite, truths)))

    def _function(self, what: str, a: Any) -> Any:
        if what == "all":
            return self.every(self.truth(a))
        if what == "any":
            return self.opposite(self.every(self.opposite(self.truth(a))))
        a = self.number(a)
        if what == "isnan":
            return self.opposite(self.equal(a, a))
        size = self.absolute(a)
        if what == "abs":
            return size
        return (self.equal if what == "isinf" else self.less)(size, self._number(np.inf))

    @abstractmethod
    def constant(self, value: Array) -> Any:
        """Return a number of the text."""

    @abstractmethod
    def metric(self, name: str, index: Index) -> Any:
        """Return a metric, or one component of it."""

    @abstractmethod
    def number(self, a: Any) -> Any:
        """Return `a` as a number: 0 or 1 if it is a truth value."""

    @abstractmethod
    def truth(self, a: Any) -> Any:
        """Return `a` as a truth value."""

    @abstractmethod
    def negative(self, a: Any) -> Any:
        """Return ``-a``."""

    @abstractmethod
    def absolute(self, a: Any) -> Any:
        """Return ``abs(a)``."""

    @abstractmethod
    def plus(self, a: Any, b: Any) -> Any:
        """Return ``a + b``."""

    @abstractmethod
    def times(self, a: Any, b: Any) -> Any:
        """Return ``a * b``."""

    @abstractmethod
    def over(self, a: Any, b: Any) -> Any:
        """Return ``a / b``."""

    @abstractmethod
    def less(self, a: Any, b: Any) -> Any:
        """Return whether ``a < b``."""

    @abstractmethod
    def at_most(self, a: Any, b: Any) -> Any:
        """Return whether ``a <= b``."""

    @abstractmethod
    def equal(self, a: Any, b: Any) -> Any:
        """Return whether ``a == b``."""

    @abstractmethod
    def both(self, a: Any, b: Any) -> Any:
        """Return whether `a` and `b` hold."""

    @abstractmethod
    def opposite(self, a: Any) -> Any:
        """Return whether `a` does not hold."""

    @abstractmethod
    def every(self, a: Any) -> Any:
        """Return whether `a` holds for all components."""


def _component(array: Array, index: Index) -> Array:
    where: Any = (slice(None), *(index or ()))
    return np.asarray(array[where])


def _n_axes(arrays: Sequence[Array]) -> int:
    return max((array.ndim for array in arrays), default=1)


class Values(Algebra):
    """The values themselves: a number is an array of float64, a truth value one of bool."""

    def __init__(self, values: Mapping[str, Array]) -> None:
        super().__init__(_n_axes(list(values.values())))
        self.values = values

    constant: Any = staticmethod(np.asarray)
    negative: Any = staticmethod(np.negative)
    absolute: Any = staticmethod(np.absolute)
    plus: Any = staticmethod(np.add)
    times: Any = staticmethod(np.multiply)
    over: Any = staticmethod(np.divide)
    less: Any = staticmethod(np.less)
    at_most: Any = staticmethod(np.less_equal)
    equal: Any = staticmethod(np.equal)
    both: Any = staticmethod(np.logical_and)
    opposite: Any = staticmethod(np.logical_not)

    def metric(self, name: str, index: Index) -> Array:
        """Return a metric, or one component of it."""
        return self.spread(_component(self.values[name], index))

    def number(self, a: Array) -> Array:
        """Return `a` as float64."""
        return a.astype(np.float64, copy=False)

    def truth(self, a: Array) -> Array:
        """Return `a` as bool; NaN is true, as in Python."""
        return a if a.dtype == bool else a != 0.0

    def every(self, a: Array) -> Array:
        """Return whether `a` holds for all components."""
        return np.asarray(a.all(axis=tuple(range(1, self.n_axes)), keepdims=True))


class Span(NamedTuple):
    """What is known of a number: those it may be lie in ``[low, high]``, ends included, where it may be one at all.

    An infinite end is a value it may have; an end that is a zero stands for both zeros. Where `some` is False it can
    be NaN only, and the ends mean nothing.
    """

    low: Array
    high: Array
    nan: Array
    some: Array

    def has_zero(self) -> Array:
        """Whether it may be 0.0 or -0.0."""
        return np.asarray((self.low <= 0.0) & (self.high >= 0.0))

    def has_infinity(self) -> Array:
        """Whether it may be infinite."""
        return np.asarray(np.isinf(self.low) | np.isinf(self.high))


class Odds(NamedTuple):
    """Whether a truth value may be true, and whether it may be false."""

    true: Array
    false: Array


class Intervals(Algebra):
    """What is known of blocks: numbers are `Span`, truth values `Odds`.

    A rounded sum, product or quotient is monotone in each operand, so its extremes over a box lie at the corners of
    the box, rounded alike; only what is NaN there needs thought.
    """

    def __init__(self, tables: Mapping[str, Mapping[str, Array]]) -> None:
        super().__init__(_n_axes([table["min"] for table in tables.values()]))
        self.tables = tables
        self.known: dict[tuple[str, Index], Span] = {}  # x is one object wherever it stands, which `equal` makes use of

    def constant(self, value: Array) -> Span:
        """Return a number of the text."""
        nan = np.isnan(value)
        return Span(value, value, nan, ~nan)

    def metric(self, name: str, index: Index) -> Span:
        """Return what the table knows of a metric, or of one component of it."""
        if (name, index) not in self.known:
            columns = [_component(self.tables[name][key], index) for key in ("min", "max", "nan_count", "argmin")]
            low, high, nans, argmin = map(self.spread, columns)
            self.known[name, index] = Span(low, high, nans > 0, argmin >= 0)
        return self.known[name, index]

    def number(self, a: Span | Odds) -> Span:
        """Return `a` as a number: 0 or 1 if it is a truth value."""
        if isinstance(a, Span):
            return a
        never, always = np.zeros_like(a.true), np.ones_like(a.true)
        return Span(np.where(a.false, 0.0, 1.0), np.where(a.true, 1.0, 0.0), never, always)

    def truth(self, a: Span | Odds) -> Odds:
        """Return `a` as a truth value."""
        return a if isinstance(a, Odds) else self.opposite(self.equal(a, self._number(0.0)))

    def negative(self, a: Span) -> Span:
        """Return ``-a``."""
        return Span(-a.high, -a.low, a.nan, a.some)

    def absolute(self, a: Span) -> Span:
        """Return ``abs(a)``."""
        low, high = np.abs(a.low), np.abs(a.high)
        least = np.where(a.has_zero(), 0.0, np.minimum(low, high))
        return Span(least, np.maximum(low, high), a.nan, a.some)

    def plus(self, a: Span, b: Span) -> Span:
        """Return ``a + b``; NaN of two infinities."""
        nan = ((a.high == np.inf) & (b.low == -np.inf)) | ((a.low == -np.inf) & (b.high == np.inf))
        low, high = a.low + b.low, a.high + b.high
        low, high = np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)
        return Span(low, high, a.nan | b.nan | nan, a.some & b.some)

    def times(self, a: Span, b: Span) -> Span:
        """Return ``a * b``; NaN of a zero, which need not be a corner, and an infinity."""
        nan = (a.has_zero() & b.has_infinity()) | (b.has_zero() & a.has_infinity())
        return self._hull([x * y for x in (a.low, a.high) for y in (b.low, b.high)], nan, a, b)

    def over(self, a: Span, b: Span) -> Span:
        """Return ``a / b``; anything if `b` may be a zero, whose sign is not known."""
        nan = (a.has_zero() & b.has_zero()) | (a.has_infinity() & b.has_infinity())
        low, high, *others = self._hull([x / y for x in (a.low, a.high) for y in (b.low, b.high)], nan, a, b)
        zero = b.has_zero()
        return Span(np.where(zero, -np.inf, low), np.where(zero, np.inf, high), *others)

    @staticmethod
    def _hull(corners: list[Array], nan: Array, a: Span, b: Span) -> Span:
        # Beside a corner that is NaN lie 0 * finite or finite / inf, which are zeros and may be at no other corner.
        corners = [np.where(np.isnan(corner), 0.0, corner) for corner in corners]
        low, high = functools.reduce(np.minimum, corners), functools.reduce(np.maximum, corners)
        return Span(low, high, a.nan | b.nan | nan, a.some & b.some)

    def less(self, a: Span, b: Span) -> Odds:
        """Return whether ``a < b``."""
        return self._odds(a, b, a.low < b.high, a.high >= b.low)

    def at_most(self, a: Span, b: Span) -> Odds:
        """Return whether ``a <= b``."""
        return self._odds(a, b, a.low <= b.high, a.high > b.low)

    def equal(self, a: Span, b: Span) -> Odds:
        """Return whether ``a == b``."""
        if a is b:
            return Odds(a.some, a.nan)
        differ = (a.low != a.high) | (b.low != b.high) | (a.low != b.low)
        return self._odds(a, b, (a.low <= b.high) & (b.low <= a.high), differ)

    @staticmethod
    def _odds(a: Span, b: Span, true: Array, false: Array) -> Odds:
        some = a.some & b.some
        return Odds(some & true, (some & false) | a.nan | b.nan)

    def both(self, a: Odds, b: Odds) -> Odds:
        """Return whether `a` and `b` hold."""
        return Odds(a.true & b.true, a.false | b.false)

    def opposite(self, a: Odds) -> Odds:
        """Return whether `a` does not hold."""
        return Odds(a.false, a.true)

    def every(self, a: Odds) -> Odds:
        """Return whether `a` holds for all components."""
        axes = tuple(range(1, self.n_axes))
        true, false = a.true.all(axis=axes, keepdims=True), a.false.any(axis=axes, keepdims=True)
        return Odds(np.asarray(true), np.asarray(false))
