"""The seed sequence of the block an rng stands in, for ``rng.spawn`` and ``rng.bit_generator.seed_seq``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random.bit_generator import ISpawnableSeedSequence, SeedSequence


class BlockSeed(ISpawnableSeedSequence):
    """A seed sequence that can be pointed to any block, and is made only when somebody asks for it.

    One bit generator serves all blocks of a run, and numpy has it keep the seed sequence it was made with. So it is
    made with one of these. What a step spawns then comes from ``SeedSequence(entropy=seed, spawn_key=(j,))``, as it
    would from a generator made for block ``j`` alone.

    Parameters
    ----------
    seed : int
        Master seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self._seed, self._block, self._spawned = seed, 0, 0
        self._sequence: SeedSequence | None = None

    def point(self, block: int, spawned: int = 0) -> None:
        """Stand for `block`, from whose sequence `spawned` children were already taken."""
        self._block, self._spawned, self._sequence = block, spawned, None

    @property
    def sequence(self) -> SeedSequence:
        """Numpy's own seed sequence of the block."""
        if self._sequence is None:
            self._sequence = SeedSequence(
                entropy=self._seed, spawn_key=(self._block,), n_children_spawned=self._spawned
            )
        return self._sequence

    @property
    def block(self) -> int:
        """The block it stands for."""
        return self._block

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
        return SeedSequence(
            entropy=self._seed, spawn_key=(self._block,), n_children_spawned=self.sequence.n_children_spawned
        )
