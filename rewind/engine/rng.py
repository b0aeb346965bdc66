"""Randomness: the rng of a block, the seed of a branch, and a generator's state as plain arrays.

Block ``j`` of a run with master seed ``seed`` draws from::

    sequence = numpy.random.SeedSequence(entropy=seed, spawn_key=(j,))
    numpy.random.Generator(numpy.random.PCG64(sequence))                                       # backend="numpy"
    random.Random(int.from_bytes(sequence.generate_state(4, "<u4").tobytes(), "little"))       # backend="python"
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernel import BlockRng, block_integer
from ..state.columns import Array

__all__ = ["BACKENDS", "BlockRng", "branch_seed", "get_state", "set_state"]

BACKENDS = ("python", "numpy")
_LOW = (1 << 64) - 1


def branch_seed(seed: int, t: int) -> int:
    """Return the seed a branch at step `t` gets unless it is given one; siblings share it."""
    return block_integer(seed, (t, 1))


def get_state(rng: Any, backend: str) -> dict[str, Array]:
    """Return the state of `rng` as plain arrays: ``words``, and ``gauss`` where a normal draw is held back."""
    if backend == "numpy":
        state = rng.bit_generator.state
        core = state["state"]
        halves = [core["state"] >> 64, core["state"] & _LOW, core["inc"] >> 64, core["inc"] & _LOW]
        spawned = rng.bit_generator.seed_seq.n_children_spawned
        return {"words": np.array([*halves, state["has_uint32"], state["uinteger"], spawned], "<u8")}
    _, words, gauss = rng.getstate()
    arrays = {"words": np.array(words, "<u8")}
    if gauss is not None:
        arrays["gauss"] = np.array([gauss], "<f8")
    return arrays


def set_state(rng: Any, backend: str, state: dict[str, Array]) -> None:
    """Put `rng`, which stands at the start of its block, into a state of `get_state`.

    Raises
    ------
    ValueError
        If it is not one.
    """
    words = [int(word) for word in state["words"]]
    if backend == "numpy":
        high, low, inc_high, inc_low, has_uint32, uinteger, spawned = words
        if has_uint32 not in (0, 1) or uinteger >> 32 or not inc_low & 1 or spawned >> 31:
            raise ValueError("not a state of PCG64")
        rng.bit_generator.state = {
            "bit_generator": "PCG64",
            "state": {"state": high << 64 | low, "inc": inc_high << 64 | inc_low},
            "has_uint32": has_uint32,
            "uinteger": uinteger,
        }
        rng.bit_generator.seed_seq.skip_children(spawned)
        return
    if len(words) != 625 or words[-1] > 624 or any(word >> 32 for word in words):
        raise ValueError("not a state of random.Random")
    gauss = float(state["gauss"][0]) if "gauss" in state else None
    rng.setstate((3, tuple(words), gauss))
