"""A recording: everything that is kept of a run, frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from functools import cached_property
from typing import Any

from ..kernel import Place
from ..metrics.table import MetricTable
from ..state.checkpoints import Checkpoints
from ..state.columns import Array
from ..state.frozen import frozen
from .blocks import Grid
from .rng import set_state


@frozen
class Ancestor:
    """A run on the way to the root: its content hash, and the step of it at which the next one branched off."""

    content_hash: str
    branch_point: int


@frozen
class Origin:
    """Where a run comes from.

    Attributes
    ----------
    start : int
        Step 0 of the run on the axis of its root.
    grid : int
        Step 0 of the run on the grid its seed is laid over (`blocks.Grid`).
    ancestors : tuple of Ancestor
        Parent first, root last.
    rng_state : mapping of str to ndarray, or None
        State of the generator at step 0, for a branch that starts inside a block with its parent's noise.
    noise : str or None
        ``"fresh"`` or ``"same"`` for a branch.
    lead : int
        Steps from the first checkpoint to step 0. Not 0 for a branch that changes nothing and starts inside a block:
        it goes on from its parent's checkpoint, since the state inside a block may hold what storing it would lose
        (a view, a cache, a parameter changed in place), and the parent goes on with that to the end of the block.
    """

    start: int = 0
    grid: int = 0
    ancestors: tuple[Ancestor, ...] = ()
    rng_state: Mapping[str, Array] | None = None
    noise: str | None = None
    lead: int = 0

    def begin(self, backend: str) -> Callable[[Any], None] | None:
        """Return what goes from the first checkpoint to step 0, given the place; None where they are one."""
        if self.rng_state is None and not self.lead:
            return None

        def begin(place: Place) -> None:
            if self.rng_state is not None:
                set_state(place.blocks.rng, backend, dict(self.rng_state))
            if self.lead:
                place.t = -self.lead
                place.run(self.lead)

        return begin


@frozen
class Recording:
    """Everything that is kept of a run.

    Attributes
    ----------
    n_steps, block_size, stride : int
        Number of states; steps of a block; blocks from one stored checkpoint to the next.
    seed, backend, params
        What the randomness and the step function were given.
    checkpoints : Checkpoints
        The state at the first step of every `stride`-th block.
    tail_digest : bytes
        Digest of the last state.
    metrics : mapping of str to MetricTable
        What was observed.
    origin : Origin
    complete : bool
        False for the finished part of a recording that stopped early; `stopped` says why.
    step : mapping of str to str
        Hints for people: ``id``, ``file``, ``source`` (a hash) of the step function.
    versions : mapping of str to str
        ``python``, ``numpy``, ``platform``, ``rewind`` of the recording program.
    """

    n_steps: int
    block_size: int
    stride: int
    seed: int
    backend: str
    params: Mapping[str, Any]
    checkpoints: Checkpoints
    tail_digest: bytes
    metrics: Mapping[str, MetricTable] = field(default_factory=dict)
    origin: Origin = Origin()
    complete: bool = True
    stopped: str | None = None
    step: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def grid(self) -> Grid:
        """The blocks of the run."""
        return Grid(self.n_steps, self.block_size, self.origin.grid)
