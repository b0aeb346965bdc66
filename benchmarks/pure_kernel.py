"""Without a C compiler the kernel is Python: what recording costs then, with the same states, statistics and
files.
"""

import random

import numpy as np

import rewind

from .measure import Claim, Figure, against, per_step
from .steps import bare, relax, walk

CLAIMS = (
    Claim("walk", "record on the pure kernel: int walk", None, "the bare loop, random.Random"),
    Claim("walk_observed", "  with statistics of the state", None, "the bare loop, random.Random"),
    Claim("relax", "record on the pure kernel: numpy step, a float", None, "the bare loop, numpy Generator"),
)

#: The kernel is chosen when rewind is imported.
ENVIRONMENT = {"REWIND_KERNEL": "python"}


def measure(options):
    """Return the figures by key."""
    if rewind.kernel_name != "python":
        return {claim.key: Figure(None, "needs REWIND_KERNEL=python") for claim in CLAIMS}
    n = options.steps
    walks = against(
        {
            "bare": bare(walk, lambda: 0, lambda: random.Random(1), n),
            "walk": lambda: rewind.record(walk, 0, n, 1),
            "walk_observed": lambda: rewind.record(walk, 0, n, 1, observe={"x": None}),
        },
        options.rounds,
    )
    floats = against(
        {
            "bare": bare(relax, lambda: 0.0, lambda: np.random.default_rng(1), n),
            "relax": lambda: rewind.record(relax, 0.0, n, 1, backend="numpy"),
        },
        options.rounds,
    )
    return per_step(walks, n, ["walk", "walk_observed"]) | per_step(floats, n, ["relax"])
