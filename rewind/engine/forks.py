"""Forks of a run: continuations of which only a metric is kept, or whether something happens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..kernel import BlockRng, Place, Turn, block_integer
from ..metrics.metric import as_values
from ..state.codec import Row, StateCodec
from ..state.columns import Array
from ..state.copies import dataclass_fields
from ..state.frozen import frozen
from ..steps.step import Step
from .blocks import Grid
from .noise import Draws
from .queries import CONDITION, Test
from .recording import Recording
from .replay import Watch
from .scan import bare, excerpt, restored
from .trust import Trust


def fork_seed(seed: int, t: int, i: int) -> int:
    """Return the seed of the `i`-th fork at step `t`: ``SeedSequence(entropy=seed, spawn_key=(t, 1, i))``."""
    return block_integer(seed, (t, 1, i))


class Fork(NamedTuple):
    """A fork: the step it leaves at, its seed, and its number of states."""

    t: int
    seed: int
    n_steps: int


class Future(NamedTuple):
    """What came of a fork: what is kept, and whether it made steps and drew nothing from its rng."""

    kept: Any
    no_draws: bool = False


@frozen
class Values:
    """What is kept of a fork: a metric at every `every`-th step, as float64 of shape (n, *shape)."""

    name: str
    function: Any
    shape: tuple[int, ...]
    every: int

    def observer(self, place: Place, step: Step, codec: StateCodec) -> Callable[[int, int, list[Any]], bool]:
        """Return ``observe(n_states, n_steps, kept)``, which goes through a block and says whether that is enough."""
        watch = Watch(step, codec, {self.name: self.function})

        def observe(n_states: int, n_steps: int, kept: list[Any]) -> bool:
            t = place.t
            values = as_values(self.name, watch.observe(place, n_states, n_steps)[0], t, self.shape)
            kept.append(np.array(values[-t % self.every :: self.every]))
            return False

        return observe

    def result(self, kept: list[Any]) -> Array:
        """Return what was kept."""
        return np.concatenate(kept)


@frozen
class Event:
    """What is kept of a fork: whether a test holds at any of its steps."""

    test: Test

    def observer(self, place: Place, step: Step, codec: StateCodec) -> Callable[[int, int, list[Any]], bool]:
        """Return ``observe(n_states, n_steps, kept)``, which goes through a block and says whether that is enough."""
        test = self.test
        if test.calls_predicate(place, step, codec):
            predicate = test.functions[CONDITION]

            def search(n_states: int, n_steps: int, kept: list[Any]) -> bool:
                if place.search(predicate, n_states, n_steps) < 0:
                    return False
                kept.append(True)
                return True

            return search
        hits = test.hits(place, step, codec)

        def look(n_states: int, n_steps: int, kept: list[Any]) -> bool:
            if not hits(n_states, n_steps).any():
                return False
            kept.append(True)
            return True

        return look

    def result(self, kept: list[Any]) -> bool:
        """Return whether it happened."""
        return bool(kept)


class Parent(NamedTuple):
    """The run that forks leave, of which a block is compared wherever its step is run for the first time."""

    recording: Recording
    step: Step
    block: int
    trust: Trust

    def excerpt(self) -> Parent:
        """Return what of it is needed for that."""
        part = excerpt(self.recording.checkpoints, self.recording.stride, [self.block])
        return self._replace(recording=restored(bare(self.recording), part))

    def prove(self) -> None:
        """Compare a replay of the block, if none was compared there."""
        self.trust.prove(self.recording, self.step, self.block)


class Forks:
    """Forks of one run: `parallel.Work`, whose items are of type `Fork` and whose answers are of type `Future`.

    Parameters
    ----------
    step, codec, block_size, backend
        Of the forks.
    first : callable
        ``first(t)`` gives the first state of a fork at step `t`, as `codec` keeps it.
    query : Values or Event
    turn : Turn
        Taken block by block where this is done here.
    watched : bool
        Whether to see if a fork draws from its rng.
    parent : Parent, optional
        The run they leave, whose step they go on with: compared in each worker before the first fork.
    """

    def __init__(
        self,
        step: Step,
        codec: StateCodec,
        block_size: int,
        backend: str,
        first: Callable[[int], Row],
        query: Values | Event,
        turn: Turn,
        watched: bool = False,
        parent: Parent | None = None,
    ) -> None:
        self._parts = step, codec, block_size, backend, query, watched
        self._first, self._turn, self._parent = first, turn, parent

    def common(self) -> Any:
        """Return all but the first states."""
        return self._parts, None if self._parent is None else self._parent.excerpt()

    def part(self, items: Sequence[Fork]) -> Mapping[int, Row]:
        """Return the first states of some forks."""
        return {t: self._first(t) for t in dict.fromkeys(fork.t for fork in items)}

    @staticmethod
    def start(common: Any, part: Mapping[int, Row], items: Sequence[Fork]) -> Iterator[Any]:
        """Yield what is kept of some forks."""
        parts, parent = common
        turn = Turn()
        if parent is not None:
            parent.prove()
        for fork in items:
            yield _run(parts, part[fork.t], fork, turn)

    def here(self, items: Sequence[Fork]) -> Iterator[Any]:
        """Yield what is kept of some forks, in this thread."""
        for fork in items:
            yield _run(self._parts, self._first(fork.t), fork, self._turn)

    def ends(self, answer: Any) -> bool:
        """Whether no answer after this one matters."""
        return False


_Parts = tuple[Step, StateCodec, int, str, Values | Event, bool]


def _run(parts: _Parts, row: Row, fork: Fork, turn: Turn) -> Future:
    """Return what is kept of one fork. Its blocks begin as those of a recorded branch do: as a checkpoint restores."""
    step, codec, block_size, backend, query, watched = parts
    grid = Grid(fork.n_steps, block_size)
    none = codec.decode(row) is None
    place = Place(
        BlockRng(fork.seed, backend),
        grid,
        1,
        [],
        codec,
        dataclass_fields,
        step.bound(codec),
        step.runs_itself,
        none,
    )
    kept: list[Any] = []
    observe = None
    draws = Draws(fork.seed, backend) if watched else None
    for block in range(grid.n_blocks):
        start, stop = grid.start(block), grid.stop(block)
        with turn:
            place.enter(block, codec.decode(row))
            if observe is None:
                observe = query.observer(place, step, codec)
            enough = observe(stop - start, stop - start - (stop == grid.n_steps), kept)
            if draws is not None:
                draws.look(place.blocks.rng, grid.stream(block), max(place.t - start, 0))
            if enough:
                break
            row = codec.encode(place.state)
    return Future(query.result(kept), draws is not None and draws.none)


def wilson(hits: int, n: int, confidence: float) -> tuple[float, float]:
    """Return the score interval of a binomial share [1]_, with ``z`` the quantile of `confidence` (theirs: lambda).

    References
    ----------
    .. [1] E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    from statistics import NormalDist  # with decimals and fractions: as slow to import as all of the engine

    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, square = hits / n, z * z / n
    middle = share + square / 2
    half = z * math.sqrt(share * (1 - share) / n + square / (4 * n))
    low, high = (middle - half) / (1 + square), (middle + half) / (1 + square)
    return (0.0 if hits == 0 else max(low, 0.0)), (1.0 if hits == n else min(high, 1.0))
