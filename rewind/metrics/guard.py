"""Metrics that change the state they are given, such as by a cache that is filled on first use: these get copies.

Looking at a state must not change what the step goes on from. What a metric does is looked at where it is first tried,
at the first states of a run and of its blocks; one that is found to change a state is given copies from then on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import MetricError, MutatingMetricWarning, StateError
from ..state.callers import user_level
from ..state.codec import Row, StateCodec
from ..state.copies import IMMUTABLE


class OnCopy:
    """A metric or predicate that is given a copy of each state.

    Parameters
    ----------
    function : callable
    codec : StateCodec
        Of the states.
    """

    def __init__(self, function: Callable[[Any], Any], codec: StateCodec) -> None:
        self.function, self.codec = function, codec
        self.__name__ = getattr(function, "__name__", "f")

    def __call__(self, state: Any) -> Any:
        """Return what the function gives for a copy of `state`."""
        return self.function(self.codec.copy(state))


class Mutation(MetricError):
    """The error for metrics that changed the state at step `t`, of which `row` was kept before."""

    def __init__(self, names: str, t: int, row: Row) -> None:
        self.t, self.row = t, row
        super().__init__(names, t, "changed the state it was given", "one that only looks at it")

    def __reduce__(self) -> tuple[Any, ...]:
        return Mutation, (self.name, self.t, self.row)


def may_change(function: Any) -> bool:
    """Whether a metric is given live states and could change them."""
    inner = getattr(function, "function", function) if type(function).__name__ == "_ArrayCopy" else function
    return inner is not None and not isinstance(inner, OnCopy)


def kept(codec: StateCodec, state: Any) -> Row | None:
    """Return what is kept of a live state, to see whether it changes; None of one that cannot be kept any more."""
    try:
        return codec.encode(state)
    except StateError:
        return None


def changed(codec: StateCodec, before: Row | None, state: Any) -> bool:
    """Whether a live state is another one than what was kept of it; not so where nothing could be kept."""
    if before is None or type(state) in IMMUTABLE:
        return False
    now = kept(codec, state)
    return now is None or not codec.same(before, now)


def mutators(metrics: Mapping[str, Any], codec: StateCodec, row: Row) -> list[str]:
    """Return the names of the metrics that change the state of which `row` was kept; all that may, if none does now."""
    could = [name for name, function in metrics.items() if may_change(function)]
    found = []
    for name in could:
        state = codec.decode(row)
        before = kept(codec, state)
        try:
            metrics[name](state)
        except Exception:  # what it raises is said where it is observed
            continue
        if changed(codec, before, state):
            found.append(name)
    return found or could


def guarded_metrics(metrics: Mapping[str, Any], codec: StateCodec, found: Mutation) -> dict[str, Any]:
    """Return metrics of which those that make a change that was found are given copies from here on."""
    names = mutators(metrics, codec, found.row)
    return {
        name: on_copies(name, function, codec, found.t) if name in names else function
        for name, function in metrics.items()
    }


def on_copies(name: str, function: Any, codec: StateCodec, step: int | None) -> OnCopy:
    """Return a metric that is given copies, and say so."""
    warnings.warn(MutatingMetricWarning(name, step), stacklevel=user_level())
    return OnCopy(function, codec)
