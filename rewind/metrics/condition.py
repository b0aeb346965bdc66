"""Conditions in text, such as ``infected == 0 and day > 30``: a closed grammar, never evaluated as Python.

::

    condition:  truth of "or", "and", "not"
                comparisons of "<", "<=", ">", ">=", "==", "!=", chained as in 0 < x <= 3
                numbers of "+", "-", "*", "/", signs and parentheses, 1_000, .5, 1e6, inf, nan, true, false
                abs(...), isnan(...), isinf(...), isfinite(...), and any(...), all(...) over components
    metric:     x, world.size, `odd-name`; one component of it: x[3], x[0, -1]

As in Python, ``not`` binds less than a comparison, a number is true unless it is 0, and a truth value is the number 1
or 0. Numbers are doubles, as in the tables of metrics.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..errors import ConditionError, show
from ..state.columns import Array
from ..state.frozen import frozen
from .interval import Index, Intervals, Op, Program, Values

#: Longest text that is read, in characters.
MAX_LENGTH = 10_000
FUNCTIONS = ("abs", "all", "any", "isfinite", "isinf", "isnan")
CONSTANTS = {"true": 1.0, "false": 0.0, "inf": float("inf"), "nan": float("nan")}

#: How tightly a word binds what stands beside it; a sign and "not" are told apart by where they stand.
_LEVELS = {"or": 1, "and": 2, "not": 3, "+": 5, "-": 5, "*": 6, "/": 6} | dict.fromkeys(
    ("<", "<=", ">", ">=", "==", "!="), 4
)
_NOT, _COMPARE, _SUM, _PRODUCT, _SIGN, _ATOM = 3, 4, 5, 6, 7, 8
_KINDS = {1: "logic", 2: "logic", 3: "logic", 4: "compare", 5: "arithmetic", 6: "arithmetic", 7: "sign"}

_SPACE = r"\s*"
_OPENS = r"\s*\("
_DIGITS = "[0-9](?:_?[0-9])*"
_TOKEN = (
    rf"(?P<number>(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?)"
    r"|(?P<name>[^\W\d][\w.]*)"
    r"|`(?P<quoted>[^`]*)`"
    r"|(?P<foreign>=>|=<|<>|===|=(?!=)|&&?|\|\|?|!(?!=)|\*\*|//|%)"
    r"|(?P<symbol>[<>=!]=|[-+*/<>()\[\],])"
)
_RUN = r"[\w.]*"
_BARE = r"[^\W\d][\w.]*"
#: What others write, and what is written here.
_FOREIGN = {"=": "==", "===": "==", "=<": "<=", "=>": ">=", "<>": "!="} | {
    "&": "and", "&&": "and", "|": "or", "||": "or", "!": "not",
}  # fmt: skip


@frozen
class Condition:
    """What a text says of the metrics of a step; its repr is the same in a canonical form.

    Attributes
    ----------
    text : str
        As it was given.
    names : tuple of str
        The metrics it is about, each once, in the order of the text.
    program : tuple of Op
        What it means.
    """

    text: str
    names: tuple[str, ...]
    program: Program = field(repr=False)

    def __repr__(self) -> str:
        return written(self.program)

    def holds(self, values: Mapping[str, Array], n: int) -> Array:
        """Return whether it holds for each of `n` steps, as bool of shape (n,).

        Parameters
        ----------
        values : mapping of str to ndarray, shape (n, *shape)
            What each of `names` gave, as float64. Arithmetic is that of IEEE: ``1/0`` is inf, ``nan == nan`` is false.
        n : int
        """
        return _column(Values({name: values[name] for name in self.names}).run(self.program), n)

    def may_hold(self, tables: Mapping[str, Mapping[str, Array]], n_blocks: int) -> Array:
        """Return False for each block without a step for which it holds, as far as the table tells: shape (n_blocks,).

        Parameters
        ----------
        tables : mapping of str to mapping of str to ndarray, shape (n_blocks, *shape)
            For each of `names` the columns ``min``, ``max`` (which skip NaN), ``nan_count``, and ``argmin``, which is
            -1 where a block holds no number.
        n_blocks : int
        """
        odds = Intervals({name: tables[name] for name in self.names}).run(self.program)
        return _column(odds.true, n_blocks)


def _column(truth: Array, n: int) -> Array:
    return np.array(np.broadcast_to(truth.reshape(len(truth)), (n,)))


def parse(text: str, shapes: Mapping[str, tuple[int, ...]]) -> Condition:
    """Return the condition that `text` is. O(len(text)), and no recursion.

    Parameters
    ----------
    text : str
    shapes : mapping of str to tuple of int
        The metrics there are, and the shape of one value of each, () for a number.

    Raises
    ------
    ConditionError
        Pointing at the character at which `text` is no condition, names a metric or component that is not there, or
        has several truth values.

    Examples
    --------
    >>> parse("0<x<=1_000 or isnan(v[-1])", {"x": (), "v": (3,)})
    0 < x <= 1000 or isnan(v[2])
    """
    return _Parser(text, shapes).condition()


class _Token(NamedTuple):
    kind: str
    text: str
    at: int

    @property
    def end(self) -> int:
        return self.at + len(self.text)


@dataclass
class _Pending:
    """An operator whose last operand is not complete, or a parenthesis or function that is open (level 0)."""

    level: int
    words: list[str]
    at: int


class _Operand(NamedTuple):
    """A complete operand: where its instructions begin, its shape, and where the text names what has that shape."""

    start: int
    shape: tuple[int, ...]
    at: int


class _Parser:
    """Two stacks, as in Dijkstra's shunting yard: text of any depth needs no recursion to be read."""

    def __init__(self, text: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.text, self.shapes = text, shapes
        self.program: list[Op] = []
        self.operands: list[_Operand] = []
        self.pending: list[_Pending] = []
        self.quantifiers = 0  # any( and all( that are open
        self.names: dict[str, None] = {}
        self.before = self.token = _Token("start", "", 0)

    def condition(self) -> Condition:
        if len(self.text) > MAX_LENGTH:
            raise ConditionError(f"a condition has at most {MAX_LENGTH:,} characters; this one has {len(self.text):,}")
        self.advance()
        if self.token.kind == "end":
            raise ConditionError("the condition is empty; write one such as 'x > 1e6'")
        while True:
            self.operand()
            while self.token.text == ")":
                self.close()
            if self.token.kind == "end":
                break
            self.infix()
        self.reduce(1)
        if self.pending:
            raise self.error("'(' is never closed", self.pending[-1].at)
        self.single(self.operands[-1])
        return Condition(self.text, tuple(self.names), tuple(self.program))

    def error(self, problem: str, at: int | None = None) -> ConditionError:
        return ConditionError(problem, self.text, self.token.at if at is None else at)

    # ---- tokens

    def advance(self) -> _Token:
        """Go on by one token and return the one that was passed."""
        passed = self.before = self.token
        at = re.compile(_SPACE).match(self.text, passed.end).end()  # type: ignore[union-attr]
        self.token = _Token("end", "", len(self.text))
        if at == len(self.text):
            return passed
        match = re.compile(_TOKEN).match(self.text, at)
        if match is None:
            if self.text[at] == "`":
                raise self.error("'`' is never closed", at)
            raise self.error(f"{self.text[at]!r} has no meaning in a condition", at)
        kind, found = str(match.lastgroup), match[0]
        if kind == "foreign":
            advice = f"; write {_FOREIGN[found]}" if found in _FOREIGN else "; there are + - * / and abs()"
            raise self.error(f"{found!r} has no meaning in a condition{advice}", at)
        if kind == "number" and (rest := re.compile(_RUN).match(self.text, match.end())) and rest[0]:
            raise self.error(f"{show(found + rest[0])} is no number", at)
        self.token = _Token(kind, found, at)
        return passed

    def unexpected(self, expected: str, advice: str = "") -> ConditionError:
        """Return the error of a token that cannot stand where it does."""
        after = "" if self.before.kind == "start" else f" after {show(self.before.text)}"
        return self.error(f"{expected}{after}{advice}")

    def take(self, symbol: str) -> None:
        if self.token.text != symbol:
            raise self.unexpected(f"expected {symbol!r}")
        self.advance()

    # ---- operands

    def operand(self) -> None:
        """Read signs and opening parentheses, and the number or metric after them."""
        while True:
            token = self.token
            if token.text in ("+", "-"):
                self.pending.append(_Pending(_SIGN, [token.text], token.at))
            elif token.text == "not":
                if self.pending and self.pending[-1].level > _NOT:
                    raise self.error(f"'not' cannot follow {self.before.text!r}; put parentheses around it")
                self.pending.append(_Pending(_NOT, ["not"], token.at))
            elif token.text == "(":
                self.pending.append(_Pending(0, ["("], token.at))
            elif token.kind == "name" and re.compile(_OPENS).match(self.text, token.end):
                self.function()
            else:
                break
            self.advance()
        if token.kind == "number":
            self.push(Op("number", float(token.text.replace("_", "")), 0))
        elif token.text.lower() in CONSTANTS:
            self.push(Op("number", CONSTANTS[token.text.lower()], 0))
        elif token.text in FUNCTIONS or (token.kind == "name" and token.text not in _LEVELS):
            self.metric(token.text)
        elif token.kind == "quoted":
            self.metric(token.text[1:-1])
        else:
            raise self.unexpected("expected a number or a metric")

    def push(self, op: Op, shape: tuple[int, ...] = ()) -> None:
        self.operands.append(_Operand(len(self.program), shape, self.token.at))
        self.program.append(op)
        self.advance()

    def function(self) -> None:
        """Open a function, at its parenthesis."""
        name = self.token
        if name.text in _LEVELS:  # such as "and ("
            raise self.unexpected("expected a number or a metric")
        if name.text not in FUNCTIONS:
            raise self.error(f"there is no function {show(name.text)}; there are {', '.join(FUNCTIONS)}")
        self.quantifiers += name.text in ("any", "all")
        self.pending.append(_Pending(0, [name.text], name.at))
        self.advance()

    def metric(self, name: str) -> None:
        """Read a metric, and the index after it."""
        at, shape = self.token.at, self.shapes.get(name)
        if self.token.text in FUNCTIONS:
            advice = f"; the metric is written {quoted(name)}" if shape is not None else ""
            raise self.error(f"expected '(' after {name!r}{advice}", self.token.end)
        if shape is None:
            raise self.error(self.unknown(name))
        self.names[name] = None
        start = len(self.program)
        self.push(Op("metric", (name, None), 0), shape)
        if self.token.text == "[":
            index = self.index(name, shape)
            self.program[start] = Op("metric", (name, index), 0)
            self.operands[-1] = _Operand(start, (), at)

    def unknown(self, name: str) -> str:
        rest = self.text[self.token.at : self.token.at + 64]
        close = [known for known in self.shapes if "-" in known and rest.startswith(known)]
        import difflib

        close = close or difflib.get_close_matches(name[:64], self.shapes, 1)
        what = f"there is no metric {show(name)}" + (f"; did you mean {quoted(close[0])}?" if close else "")
        if not self.shapes:
            return f"{what}; none was observed, pass observe={{name: function}} to record"
        known = [quoted(name) for name in self.shapes]
        more = ", ..." if len(known) > 20 else ""
        return f"{what}{' There are' if close else '; there are'} {', '.join(known[:20])}{more}"

    def index(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        opening = self.token.at
        if not shape:
            raise self.error(f"{name} is one number and has no components", opening)
        index = [self.place(name, shape, 0)]
        while self.token.text == ",":
            index.append(self.place(name, shape, len(index)))
        self.take("]")
        if len(index) < len(shape):
            raise self.error(
                f"{name} has shape {shape}; write {len(shape)} numbers, as in {example(name, shape)}", opening
            )
        return tuple(index)

    def place(self, name: str, shape: tuple[int, ...], axis: int) -> int:
        """Read one number of an index and return it, counted from the front."""
        self.advance()
        at = self.token.at
        minus = self.token.text == "-"
        if minus:
            self.advance()
        digits = self.token.text.replace("_", "").lstrip("0") or "0"
        if self.token.kind != "number" or not digits.isdecimal():
            raise self.unexpected("expected an integer")
        if axis == len(shape):
            raise self.error(f"{name} has shape {shape}; write {len(shape)} numbers, as in {example(name, shape)}", at)
        i = int(digits[:20]) * (-1 if minus else 1)  # Python refuses to read the longest
        if not -shape[axis] <= i < shape[axis]:
            last = shape[axis] - 1
            raise self.error(f"{name} has shape {shape}; an index is from 0 to {last}, or from {-1 - last} to -1", at)
        self.advance()
        return i % shape[axis]

    # ---- operators

    def infix(self) -> None:
        """Read an operator between two operands."""
        word = self.token.text
        level = _LEVELS.get(word, 0) if self.token.kind in ("name", "symbol") else 0
        if level in (0, _NOT):
            lower = word.lower()
            advice = f"; write {lower}" if lower in ("and", "or") else ""
            raise self.unexpected("expected an operator", advice)
        self.reduce(level + 1)
        if level in (_LEVELS["or"], _LEVELS["and"], _COMPARE) and self.pending and self.pending[-1].level == level:
            self.pending[-1].words.append(word)
        else:
            self.reduce(level)
            self.pending.append(_Pending(level, [word], self.token.at))
        self.advance()

    def reduce(self, level: int) -> None:
        """Complete the operators that bind as tightly as `level`."""
        while self.pending and self.pending[-1].level >= level:
            done = self.pending.pop()
            if done.words != ["+"] or done.level != _SIGN:
                n = 1 if done.level in (_NOT, _SIGN) else len(done.words) + 1
                what = tuple(done.words) if done.level == _COMPARE else done.words[0]
                self.emit(Op(_KINDS[done.level], what, n), done.at)

    def close(self) -> None:
        self.reduce(1)
        if not self.pending:
            raise self.error("')' closes nothing")
        opened = self.pending.pop()
        name = opened.words[0]
        if name != "(":
            self.quantifiers -= name in ("any", "all")
            self.emit(Op("function", name, 1), opened.at)
        self.advance()

    def emit(self, op: Op, at: int) -> None:
        """Put an instruction after those of its operands."""
        first = len(self.operands) - op.n
        operands = self.operands[first:]
        if op.kind == "logic":
            for operand in operands:
                self.single(operand)
        long = [operand for operand in operands if operand.shape]
        for operand in long[1:]:
            if operand.shape != long[0].shape:
                raise self.error(f"shapes {long[0].shape} and {operand.shape} do not fit each other", at)
        shape, where = (long[0].shape, long[0].at) if long else ((), at)
        if op.what in ("any", "all"):
            shape = ()
        self.program.append(op)
        self.operands[first:] = [_Operand(operands[0].start, shape, where)]
        if op.kind == "compare" or (op.kind == "function" and op.what != "abs"):
            self.single(self.operands[-1])

    def single(self, operand: _Operand) -> None:
        """Check that an operand, whose instructions are the last or the next to last ones, has one truth value."""
        if not operand.shape or self.quantifiers:
            return
        stop = min([other.start for other in self.operands if other.start > operand.start], default=None)
        part = tuple(self.program[operand.start : stop])
        one, whole = written(part, self.shapes), written(part)
        if len(whole) > 60:
            one, whole = f"one component, such as {example('x', operand.shape)}", "..."
        raise self.error(
            f"this has shape {operand.shape}, and so several truth values; write {one}, any({whole}) or all({whole})",
            operand.at,
        )


def quoted(name: str) -> str:
    """Return a metric's name as a condition writes it."""
    words = {*_LEVELS, *FUNCTIONS}
    bare = re.fullmatch(_BARE, name) and name not in words and name.lower() not in CONSTANTS
    return name if bare else f"`{name}`"


def example(name: str, shape: tuple[int, ...]) -> str:
    """Return a component as a condition writes it."""
    return f"{name}[{', '.join('0' * len(shape))}]"


def written(program: Program, shapes: Mapping[str, tuple[int, ...]] | None = None) -> str:
    """Return the canonical text of a program; with `shapes`, that of the first component of what has several."""
    stack: list[tuple[int, str]] = []
    for kind, what, n in program:
        first = len(stack) - n
        operands = stack[first:]

        def within(i: int, level: int, operands: list[tuple[int, str]] = operands) -> str:
            return operands[i][1] if operands[i][0] >= level else f"({operands[i][1]})"

        if kind == "number":
            done = _ATOM, repr(what).removesuffix(".0")
        elif kind == "metric":
            done = _ATOM, _metric(what, shapes)
        elif kind == "function":
            done = _ATOM, f"{what}({operands[0][1]})"
        elif kind == "sign":
            done = _SIGN, f"-{within(0, _SIGN)}"
        elif what == "not":
            done = _NOT, f"not {within(0, _NOT)}"
        elif kind == "compare":
            links = [f" {word} {within(i + 1, _SUM)}" for i, word in enumerate(what)]
            done = _COMPARE, within(0, _SUM) + "".join(links)
        else:
            level = _LEVELS[what]
            inner = [within(0, level + (kind == "logic")), *(within(i, level + 1) for i in range(1, n))]
            done = level, f" {what} ".join(inner)
        stack[first:] = [done]
    return stack[-1][1]


def _metric(what: tuple[str, Index], shapes: Mapping[str, tuple[int, ...]] | None) -> str:
    name, index = what
    if index is None and shapes:
        index = (0,) * len(shapes[name])
    return quoted(name) + (f"[{', '.join(map(str, index))}]" if index else "")
