"""The loops that are measured."""

import math
from dataclasses import dataclass


def walk(x, rng):
    """The README's integer walk."""
    return x + (1 if rng.random() < 0.5 else -1)


def relax(x, rng):
    """A scalar numpy step."""
    return x * 0.999 + rng.standard_normal()


def kick(x, rng):
    """A numpy step on an array, in place."""
    x *= 0.99
    x += rng.standard_normal(x.shape)
    return x


@dataclass
class State:
    """The state of `fragile`."""

    value: float


def fragile(state, rng):
    """The README's step with a dataclass state."""
    noise = rng.normalvariate(0.0, 1.0)
    return State(math.nan if noise > 6.0 else 0.99 * state.value + noise)
