"""``get(t)`` after ``get(t - 1)`` costs the step and a fraction of a microsecond.

What a ``for`` loop over ``run.get(t)`` takes, less what the bare loop takes with the same kind of rng, by step.
"""

import random

import numpy as np

import rewind

from .measure import Claim, Figure, against, duration
from .steps import State, bare, fragile, relax, walk

_STEP = "the step itself, with the same rng, is subtracted"

CLAIMS = (
    Claim("walk", "get(t) after get(t-1): int walk", 0.2, _STEP, "us"),
    Claim("relax", "get(t) after get(t-1): numpy step, a float", 0.2, _STEP, "us"),
    Claim("fragile", "get(t) after get(t-1): dataclass", None, _STEP, "us"),
)
CASES = {
    "walk": (walk, lambda: 0, lambda: rewind.FastRandom(1), "python"),
    "relax": (relax, lambda: 0.0, lambda: rewind.FastGenerator(np.random.PCG64(1)), "numpy"),
    "fragile": (fragile, lambda: State(0.0), lambda: rewind.FastRandom(1), "python"),
}


def _sides(key, n, block_size):
    step, state, rng, backend = CASES[key]
    run = rewind.record(step, state(), n, 1, backend=backend, block_size=block_size)

    def one_by_one(get=run.get):
        for t in range(n):
            get(t)

    def backwards(get=run.get):
        for t in range(n - 1, n - 1 - max(n // 10, 1), -1):
            get(t)

    return {"bare": bare(step, state, rng, n), "get": one_by_one, "backwards": backwards}


def sides(n, block_size=None):
    """Return the functions to be compared, for the numpy step."""
    return {key: side for key, side in _sides("relax", n, block_size).items() if key != "backwards"}


def measure(options):
    """Return the figures by key."""
    n = max(options.steps // 2, 2)
    figures = {}
    for key in CASES:
        ratios = against(_sides(key, n, None), options.rounds)
        step = ratios["bare"].seconds / n
        back = ratios["backwards"].seconds / max(n // 10, 1)
        note = f"the step {duration(step)}; get(t) after get(t+1) {duration(back)} in all"
        figures[key] = Figure((ratios["get"].ratio - 1) * step * 1e6, note)
    return figures


def shuffled(n, most):
    """Return steps to ask for out of the blue."""
    pick = random.Random(0)
    return [pick.randrange(n) for _ in range(most)]
