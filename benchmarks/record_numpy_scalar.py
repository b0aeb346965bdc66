"""Recording ``x * 0.999 + rng.standard_normal()`` takes a fifth of the time of running it.

numpy's generator spends some 400 ns of argument handling around 4 ns of drawing. The rng that a recorded step gets
(`rewind.FastGenerator`) answers the plain scalar call itself, with the same bits.
"""

import numpy as np

import rewind

from .measure import Claim, against, per_step
from .steps import bare, relax

_BARE = "the bare loop, numpy Generator"

CLAIMS = (
    Claim("record", "record: numpy step, a float", 0.20, _BARE),
    Claim("observed", "  with statistics of the state", 0.21, _BARE),
    Claim("fast", "  the bare loop with rewind.FastGenerator", None, _BARE),
)


def sides(n, block_size=None):
    """Return the functions to be compared."""

    def record(observe=None):
        return rewind.record(relax, 0.0, n, 1, block_size=block_size, backend="numpy", observe=observe)

    return {
        "bare": bare(relax, lambda: 0.0, lambda: np.random.default_rng(1), n),
        "record": record,
        "observed": lambda: record({"x": None}),
        "fast": bare(relax, lambda: 0.0, lambda: rewind.FastGenerator(np.random.PCG64(1)), n),
    }


def measure(options):
    """Return the figures by key."""
    return per_step(against(sides(options.steps), options.rounds), options.steps, [c.key for c in CLAIMS])
