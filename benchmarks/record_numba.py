"""Recording a numba step takes what one compiled loop over it takes.

The reference is what a numba user writes: one ``njit`` function that is given a Generator and loops over the step,
which numba puts inside the loop. Nothing is recorded there, and there are no blocks.
"""

import importlib.util

import numpy as np

import rewind

from .measure import Claim, Figure, Ratio, against, per_step
from .steps import relax, walk

_LOOP = "one njit loop over the step, no blocks"

CLAIMS = (
    Claim("float", "record: numba step, a float", 1.07, _LOOP),
    Claim("walk", "record: numba step, int walk", 1.07, _LOOP),
    Claim("observed", "  a float, with statistics of the state", None, _LOOP),
)


def _sides(step, x0, n, block_size, observe):
    import numba

    compiled = numba.njit(step)

    @numba.njit
    def loop(x, rng, n):
        for _ in range(n):
            x = compiled(x, rng)
        return x

    def record(observe=None):
        return rewind.record(compiled, x0, n, 1, block_size=block_size, backend="numpy", observe=observe)

    rng = np.random.default_rng(1)
    loop(x0, rng, 2)
    rewind.record(compiled, x0, 10, 1, backend="numpy", observe={"x": None})  # compiles
    both = {"loop": lambda: loop(x0, rng, n), "record": record}
    return {**both, "observed": lambda: record({"x": None})} if observe else both


def measure(options):
    """Return the figures by key."""
    if importlib.util.find_spec("numba") is None:
        return {claim.key: Figure(None, "numba is not installed") for claim in CLAIMS}
    n, rounds = options.fast_steps, 2 * options.rounds + 1
    floats = against(_sides(relax, 0.0, n, None, True), rounds)
    walks = against(_sides(walk, 0, n, None, False), rounds)
    named: dict[str, Ratio] = {"loop": floats["loop"], "float": floats["record"], "observed": floats["observed"]}
    figures = per_step(named, n, ["float", "observed"], "the loop")
    return figures | per_step({"loop": walks["loop"], "walk": walks["record"]}, n, ["walk"], "the loop")
