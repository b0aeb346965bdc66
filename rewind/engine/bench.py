"""What the steps of a trial are gone with, and what is kept of each state on the way."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..kernel import Place
from ..state.codec import Row, StateCodec, row_bytes
from ..steps.step import Step
from .misfits import Misfits

NUMBERS = (float, int, bool)

#: Bytes of a state that is kept as a digest on the way.
LARGE = 1 << 15


class Token(NamedTuple):
    """What is kept of a large state on the way."""

    digest: bytes


class Bench:
    """What steps are tried with.

    Parameters
    ----------
    step : Step
    codec : StateCodec
    backend : str
    metrics : mapping of str to callable or None
    make_place : callable
        ``make_place(row, bind=bind)`` gives a new place in the run.
    misfits : Misfits, optional
        Shown what is kept of each state.

    Attributes
    ----------
    notes : list or None
        Where a step notes what is kept of each state that it gives.
    last
        What is kept of the last state that was looked at.
    """

    def __init__(
        self,
        step: Step,
        codec: StateCodec,
        backend: str,
        metrics: Mapping[str, Any],
        make_place: Callable[..., Place],
        misfits: Misfits | None = None,
    ) -> None:
        self.step, self.codec, self.backend, self.metrics = step, codec, backend, metrics
        self._make_place, self._bound, self.misfits = make_place, step.bound(codec), misfits
        self.notes: list[Row] | None = None
        self.last: Row = None

    def place(self, row: Row) -> Place:
        """Return a new place."""
        return self._make_place(row, bind=self._bind)

    def _bind(self) -> Any:
        call, notes, keep = self._bound(), self.notes, self.keep
        if notes is None:
            return call

        def noted(state: Any, rng: Any) -> Any:
            new = call(state, rng)
            notes.append(keep(new))
            return new

        return noted

    def keep(self, state: Any, full: bool = False) -> Row:
        """Return what is kept of a state on the way: all of it, with `full`, or a digest where it is large."""
        row = self.last = self.codec.encode(state)
        if type(row) in NUMBERS or full or row_bytes(row) <= LARGE:
            return row
        return Token(self.codec.digest(row))

    def may_lose(self, row: Row) -> bool:
        """Whether what is kept may be less than the state: a pickle, what a codec makes, a set without its order."""
        layout = self.codec.layout
        return self.codec.user is not None or isinstance(row, bytes) or (layout is not None and layout.has_sets)

    def same(self, a: Row, b: Row) -> bool:
        """Whether two kept states have the same value, byte for byte."""
        if isinstance(a, Token) or isinstance(b, Token):
            x, y = (row.digest if isinstance(row, Token) else self.codec.digest(row) for row in (a, b))
            return bool(x == y)
        if type(a) is float and type(b) is float:
            return struct.pack("d", a) == struct.pack("d", b)
        if type(a) in (int, bool):
            return type(a) is type(b) and bool(a == b)
        return self.codec.same(a, b)
