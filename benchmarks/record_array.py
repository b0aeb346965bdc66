"""Recording a numpy step on float64[64] takes three quarters of the time of running it.

64 normals at a time are drawn without the branch on the sign, which a processor guesses wrong half the time: the same
bits, faster. The arithmetic on arrays is numpy's on both sides.
"""

import numpy as np

import rewind

from .measure import Claim, Ratio, against, per_step
from .steps import bare, drift, kick

_BARE = "the bare loop, numpy Generator"
SIZE = 64

CLAIMS = (
    Claim("allocating", "record: numpy step, float64[64], a new array each step", 0.75, _BARE),
    Claim("in_place", "record: numpy step, float64[64], in place", 0.75, _BARE),
)


def _sides(step, n, block_size):
    return {
        "bare": bare(step, lambda: np.zeros(SIZE), lambda: np.random.default_rng(1), n),
        "record": lambda: rewind.record(step, np.zeros(SIZE), n, 1, block_size=block_size, backend="numpy"),
    }


def sides(n, block_size=None):
    """Return the functions to be compared, allocating ones first."""
    return _sides(drift, n, block_size)


def measure(options):
    """Return the figures by key."""
    n, figures = max(options.steps // 4, 1), {}
    for key, step in (("allocating", drift), ("in_place", kick)):
        ratios = against(_sides(step, n, None), options.rounds)
        named: dict[str, Ratio] = {"bare": ratios["bare"], key: ratios["record"]}
        figures |= per_step(named, n, [key])
    return figures
