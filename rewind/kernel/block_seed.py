"""The seed sequence of the block an rng stands in, for ``rng.spawn`` and ``rng.bit_generator.seed_seq``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random.bit_generator import ISpawnableSeedSequence, SeedSequence


class BlockSeed(ISpawnableSeedSequence):
    """A seed sequence that can be pointed to any block, and is made only when it is asked for.

    One bit generator serves all blocks of a run, and numpy has it keep the seed sequence it was made with. So it is
    made with one of these. What a step spawns then comes from ``SeedSequence(entropy=seed, spawn_key=(j,))``, as it
    would from a generator made for block ``j`` alone.

    Parameters
    ----------
    seed : int
        Master seed of the run.
    place : object
        Says where the rng stands: ``block``, the index of the block, and ``starts``, which grows whenever a block is
        begun. It is read when the sequence is asked for, so that beginning a block costs nothing here.
    """

    def __init__(self, seed: int, place: Any) -> None:
        self._seed, self._place, self._made_at = seed, place, -1
        self._sequence: SeedSequence | None = None

    def skip_children(self, spawned: int) -> None:
        """Go on as if `spawned` children of the block's sequence had been spawned."""
        self._made_at = self._place.starts
        self._sequence = SeedSequence(entropy=self._seed, spawn_key=(self._place.block,), n_children_spawned=spawned)

    @property
    def in_use(self) -> bool:
        """Whether the sequence of this block was asked for since the block was begun."""
        return bool(self._made_at == self._place.starts)

    @property
    def sequence(self) -> SeedSequence:
        """Numpy's own seed sequence of the block."""
        if not self.in_use or self._sequence is None:
            self.skip_children(0)
        assert self._sequence is not None
        return self._sequence

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        """Return words that seed a bit generator."""
        return self.sequence.generate_state(n_words, dtype)

    def spawn(self, n_children: int) -> list[Any]:
        """Return the next children of the block's sequence."""
        return self.sequence.spawn(n_children)

    def __getattr__(self, name: str) -> Any:  # entropy, spawn_key, n_children_spawned, pool, state, ...
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.sequence, name)

    def __reduce__(self) -> Any:  # a state that keeps its rng keeps numpy's sequence
        return self.sequence.__reduce__()

    def __deepcopy__(self, memo: Any) -> SeedSequence:
        sequence = self.sequence
        return SeedSequence(
            entropy=sequence.entropy, spawn_key=sequence.spawn_key, n_children_spawned=sequence.n_children_spawned
        )
