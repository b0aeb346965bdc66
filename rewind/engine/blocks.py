"""Block arithmetic: which steps a block holds, which stream it draws from, which checkpoint it starts from."""

from __future__ import annotations

import math

from ..errors import StepRangeError
from ..kernel import default_block_size
from ..state.frozen import frozen

__all__ = ["Grid", "default_block_size"]


@frozen
class Grid:
    """The blocks of a run.

    Parameters
    ----------
    n_steps, block_size : int
        Number of states, and length of a block, in steps.
    origin : int
        Place of the run's step 0 on the grid its seed is laid over: 0, but for a branch with its parent's noise, whose
        first block is what was left of the parent's.
    """

    n_steps: int
    block_size: int
    origin: int = 0

    @property
    def n_blocks(self) -> int:
        """Number of blocks, a first or last one that is cut short included."""
        return self.block_of(self.n_steps - 1) + 1

    def block_of(self, t: int) -> int:
        """Return the block that holds step `t`. O(1)."""
        return (self.origin + t) // self.block_size - self.origin // self.block_size

    def start(self, block: int) -> int:
        """Return the first step of a block."""
        return 0 if block == 0 else self.stream(block) * self.block_size - self.origin

    def stop(self, block: int) -> int:
        """Return the step after the last step of a block, at most ``n_steps``."""
        return min(self.stream(block + 1) * self.block_size - self.origin, self.n_steps)

    def stream(self, block: int) -> int:
        """Return the ``j`` of ``spawn_key=(j,)`` that seeds a block."""
        return self.origin // self.block_size + block

    def step(self, t: int) -> int:
        """Return `t` as a step of this run, counted from the end where it is negative.

        Raises
        ------
        StepRangeError
            If the run holds no such step.
        """
        if not -self.n_steps <= t < self.n_steps:
            raise StepRangeError(t, self.n_steps)
        return t + self.n_steps if t < 0 else t


def thinned_stride(stride: int, n_blocks: int, n_steps: int) -> int:
    """Return the least ``stride * 2**k`` with which `n_steps` steps keep at most ``2*sqrt(n_steps)`` checkpoints."""
    while -(-n_blocks // stride) > 2 * math.isqrt(n_steps):
        stride *= 2
    return stride
