"""Whether a step draws from the rng it is given."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from ..kernel import BlockRng


class Draws:
    """What is drawn from the rng of a run: looked at after each block, until something was drawn.

    Parameters
    ----------
    seed, backend
        Of the run.
    tell : callable, optional
        ``tell(state)`` is called once, after the first block with a step, if nothing was drawn in it.

    Attributes
    ----------
    drawn : bool
        Whether anything was drawn, spawned or set.
    n_steps : int
        Number of steps that were looked at.
    """

    def __init__(self, seed: int, backend: str, tell: Callable[[Any], None] | None = None) -> None:
        self.drawn, self.n_steps = False, 0
        self._fresh, self._tell = BlockRng(seed, backend), tell

    @property
    def none(self) -> bool:
        """Whether there were steps, and nothing was drawn in them."""
        return self.n_steps > 0 and not self.drawn

    def look(self, rng: Any, stream: int, n_steps: int, state: Any = None) -> None:
        """See whether `rng` still stands where `stream` begins, after `n_steps` steps that led to `state`."""
        if not n_steps:
            return
        self.n_steps += n_steps
        if not self.drawn:
            self.drawn = position(rng) != position(self._fresh.start(stream))
        if self._tell is not None:
            tell, self._tell = self._tell, None
            if not self.drawn:
                tell(state)


def position(rng: Any) -> Any:
    """Return where a generator stands, and whether its seed sequence was asked for: then it may have spawned."""
    if isinstance(rng, random.Random):
        return rng.getstate()
    bits = rng.bit_generator
    return bits.state, getattr(bits.seed_seq, "in_use", False)
