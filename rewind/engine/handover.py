"""What a sweep gives as it goes: the values of its metrics, each state once, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..state.columns import Array

#: ``tap(first_step, {name: values})``: what each metric gave for states one after the other, float64 arrays of shape
#: (n, *metric shape). They may be buffers that are used again: who keeps them copies them.
Tap = Callable[[int, Mapping[str, Array]], None]


class Handover:
    """What the tap of a sweep is given: each state once, in order.

    Parameters
    ----------
    tap : Tap
    names : sequence of str
        Of the metrics.
    n : int
        Number of states that are not handed over, since they were there before.

    Attributes
    ----------
    n : int
        Number of states that were there before or have been handed over.
    failed : bool
        Whether the tap raised; then it is not called again.
    """

    def __init__(self, tap: Tap, names: Sequence[str], n: int = 0) -> None:
        self._tap, self._names, self.n, self.failed = tap, list(names), n, False
        self._due: tuple[int, int, Sequence[Array]] | None = None

    def prepare(self, block: int, first: int, values: Sequence[Array]) -> None:
        """Take what is to be handed over as soon as `block` is finished."""
        self._due = block, first, values

    def finish(self, at: int) -> None:
        """Hand over the block that is prepared, if it is one before `at`, the block under way."""
        if self._due is not None and self._due[0] < at:
            self.give(*self._due[1:])
            self._due = None

    def give(self, first: int, values: Sequence[Array]) -> None:
        """Hand over values, the first of which belong to step `first`: what of them was not handed over yet."""
        old, stop = self.n - first, first + len(values[0])
        if self.failed or stop <= self.n:
            return
        new = {name: given[old:] for name, given in zip(self._names, values, strict=True)}
        # Before the call: nobody knows what one that raises has kept of it.
        self.failed, self.n = True, stop
        self._tap(first + old, new)
        self.failed = False
