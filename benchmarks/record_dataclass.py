"""Recording a dataclass step with ``normalvariate`` takes half the time of running it.

``random.Random.normalvariate`` is Python; `rewind.FastRandom` answers it in C, with the same bits. What is left is the
making of a dataclass object at each step.
"""

import random

import rewind

from .measure import Claim, against, per_step
from .steps import State, bare, fragile

_BARE = "the bare loop, random.Random"

CLAIMS = (
    Claim("record", "record: dataclass step with normalvariate", 0.50, _BARE),
    Claim("observed", "  with statistics of its field", None, _BARE),
)


def sides(n, block_size=None):
    """Return the functions to be compared."""

    def record(observe=None):
        return rewind.record(fragile, State(0.0), n, 1, block_size=block_size, observe=observe)

    return {
        "bare": bare(fragile, lambda: State(0.0), lambda: random.Random(1), n),
        "record": record,
        "observed": lambda: record({"value": "value"}),
    }


def measure(options):
    """Return the figures by key."""
    return per_step(against(sides(options.steps), options.rounds), options.steps, [c.key for c in CLAIMS])
