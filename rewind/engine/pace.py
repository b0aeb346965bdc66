"""Blocks that take long: how many steps are made between two looks, and what is kept of the block under way."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..state.codec import Row
from ..state.columns import Array
from ..state.frozen import frozen

#: Seconds between two looks at the clock and at signals, as far as steps are no longer than that.
LOOK = 0.25
#: Seconds of the rest of a block that is finished although a signal came: its end costs nothing to go on from.
SOON = 0.5
#: Seconds of steps after which a block is known by its probe: it is run that far to see that the step is the same.
KNOWN = 0.1
#: Most seconds of steps that a kill loses, where a step is no longer than that.
KEEP = 60.0
#: Seconds from which on the replay of a finished block, to see that the step is the one it was, takes too long.
LONG = 10.0
#: Seconds from which on people are told how long a block takes.
TOLD = 600.0
#: How many times as many steps are made at once as before, where they are quick.
_FASTER = 8


@frozen
class Probe:
    """What tells in little time whether a step is the one that was recorded: a state near the start of its block.

    Attributes
    ----------
    block, t : int
        A step of that block.
    digest : bytes
        Of the state there.
    """

    block: int
    t: int
    digest: bytes


@frozen
class Part:
    """What is kept of a block under way: enough to go on from its step `t`.

    Attributes
    ----------
    block, t : int
    row : Row
        What is kept of the state at step `t`.
    digest : bytes
        Of that state.
    rng : mapping of str to ndarray
        Where the generator stands, as `rng.get_state` says it.
    values : tuple of ndarray, each of shape (n, *metric shape)
        What each metric gave from the first step of the block to step `t`, both included.
    probe : Probe
    """

    block: int
    t: int
    row: Row
    digest: bytes
    rng: Mapping[str, Array]
    values: tuple[Array, ...]
    probe: Probe


class Pace:
    """How a sweep divides its blocks, by the time that steps take: quick blocks it does not divide.

    Parameters
    ----------
    clock : callable
        ``clock()`` gives seconds.
    caught : callable
        Whether there was a signal that ends the sweep.
    check : callable
        Raises if there was.
    tell : callable, optional
        ``tell(done, block, seconds)`` is called inside blocks that take long, and after them, with the number of
        states done, the last finished block, and how many seconds a block takes.

    Attributes
    ----------
    seconds : float or None
        What a step takes, by the last ones; None before the first.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        caught: Callable[[], bool],
        check: Callable[[], None],
        tell: Callable[[int, int, float], None] | None = None,
    ) -> None:
        self.clock, self.caught, self.check, self.tell = clock, caught, check, tell
        self.seconds: float | None = None
        self._limit, self._began = 1, clock()
        self._kept = self._began

    def steps(self, rest: int) -> int:
        """Return how many of the `rest` of the steps of a block to make now; they begin when this returns."""
        n = max(1, min(rest, self._limit))
        self._began = self.clock()
        return n

    def made(self, n: int) -> None:
        """Take note that `n` steps were made since `steps` returned."""
        self.seconds = max(0.0, self.clock() - self._began) / n
        self._limit = min(_FASTER * max(n, self._limit), max(1, int(LOOK / max(self.seconds, 1e-12))))

    def takes(self, n: int) -> float:
        """Return how many seconds `n` steps take, as far as is known."""
        return n * (self.seconds or 0.0)

    def is_quick(self, n: int) -> bool:
        """Whether it is known that `n` steps are made in no time."""
        return self.seconds is not None and self.takes(n) <= LOOK

    def look(self, rest: int) -> None:
        """Raise if there was a signal, and the `rest` of the block is long."""
        if self.takes(rest) > SOON and self.caught():
            self.check()

    def is_due(self, rest: int) -> bool:
        """Whether a kill after the next piece would lose too much, if nothing was kept before."""
        if self.takes(rest) <= LOOK:
            return False
        ahead = self.takes(max(1, min(rest, self._limit)))
        return self.clock() + ahead - self._kept > KEEP

    def kept(self) -> None:
        """Take note that all is on disk."""
        self._kept = self.clock()
