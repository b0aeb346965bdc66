"""Snapshots: how many a budget of memory holds, and which states may be kept inside a block.

A checkpoint at the start of a block is what storing a state leaves of it, in the recording and in every replay alike. A
snapshot is a copy of the live state inside a block. It may stand for that state only where copying loses nothing: no
views, no object at two places, nothing that is not looked at. Where a state has more to it, there are no snapshots.
"""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError
from ..kernel import BlockRng, Snapshots
from ..state.codec import StateCodec
from ..state.copies import inner_copy, size_of
from ..steps.params import may_change
from ..steps.step import Step
from .blocks import Grid

#: Bytes of a generator's state.
_GENERATOR = {"numpy": 40, "python": 2504}
_LEAST = 8  # steps from one snapshot to the next


def snapshots_within(
    budget: int, step: Step, codec: StateCodec, state: Any, grid: Grid, backend: str
) -> Snapshots | None:
    """Return room for as many snapshots as `budget` bytes hold, evenly spread; None where there is no use in any."""
    if not budget or codec.user is not None or may_change(step.params):
        return None
    if inner_copy(state) is None and state is not None:
        return None
    each = size_of(state) + _GENERATOR[backend] + 8
    every = max(_LEAST, -(-grid.n_steps * each // budget))
    length = min(grid.block_size, grid.n_steps)
    if every >= length:
        return None
    try:
        return Snapshots(BlockRng(0, backend), grid.n_blocks, (length - 1) // every, every, inner_copy)
    except MemoryError:
        raise ArgumentError("memory_budget", budget, "bytes this machine has") from None
