"""Recording an integer walk costs less than running it, and so it does with exact statistics of every state.

The bare loop is ``for _ in range(n): x = step(x, rng)`` with ``random.Random``; it pays for the loop and the call in
byte code, the recording calls the step from C. The step itself is the same Python in both.
"""

import random

import rewind

from .measure import Claim, against, per_step
from .steps import bare, walk

_BARE = "the bare loop, random.Random"

CLAIMS = (
    Claim("record", "record: Python step, int walk", 0.90, _BARE),
    Claim("observed", "  with statistics of the state", 0.95, _BARE),
    Claim("lambda", "  with a Python lambda as the metric", None, _BARE),
)


def sides(n, block_size=None):
    """Return the functions to be compared."""

    def record(observe=None):
        return rewind.record(walk, 0, n, 1, block_size=block_size, observe=observe)

    return {
        "bare": bare(walk, lambda: 0, lambda: random.Random(1), n),
        "record": record,
        "observed": lambda: record({"x": None}),
        "lambda": lambda: record({"x": lambda x: x}),
    }


def measure(options):
    """Return the figures by key."""
    return per_step(against(sides(options.steps), options.rounds), options.steps, [c.key for c in CLAIMS])
