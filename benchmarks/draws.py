"""The scalar draws and array draws of the rng that a step gets, against the same calls of numpy's and Python's own.

Each pair of generators draws the same numbers. A draw that is not accelerated here is the library's own, called through
a subclass.
"""

import random

import numpy as np

import rewind

from .measure import Claim, Figure, against, duration

#: Calls by key: what of which generator, as it is written.
NUMPY = {
    "random": "random()",
    "standard_normal": "standard_normal()",
    "normal": "normal(1.0, 2.0)",
    "uniform": "uniform(1.0, 2.0)",
    "integers": "integers(10)",
    "exponential": "exponential(2.0)",
    "poisson": "poisson(3.0)",
    "binomial": "binomial(10, 0.3)",
    "gamma": "gamma(2.0)",
    "choice": "choice(10)",
    "normals8": "standard_normal(8)",
    "normals64": "standard_normal(64)",
    "normals1000": "standard_normal(1000)",
    "out64": "standard_normal(out=a)",
}
PYTHON = {
    "py_random": "random()",
    "py_gauss": "gauss(0.0, 1.0)",
    "py_normalvariate": "normalvariate(0.0, 1.0)",
    "py_uniform": "uniform(1.0, 2.0)",
    "py_randint": "randint(1, 6)",
    "py_choice": "choice(s)",
    "py_expovariate": "expovariate(2.0)",
}
CLAIMS = (
    *(Claim(key, f"FastGenerator.{call}", None, "numpy's own call") for key, call in NUMPY.items()),
    *(Claim(key, f"FastRandom.{call}", None, "Python's own call") for key, call in PYTHON.items()),
)


def _loop(rng, call, n):
    """Return a loop over `call` of `rng`, written out ten times so that the loop itself hardly counts."""
    name, _, arguments = call.partition("(")
    body = "\n        ".join([f"f({arguments}"] * 10)
    space = {"rng": rng, "a": np.empty(64), "s": (1, 2, 3)}
    exec(f"def loop(f, a, s):\n    for _ in range({max(n // 10, 1)}):\n        {body}", space)
    loop, bound = space["loop"], getattr(rng, name)
    return lambda: loop(bound, space["a"], space["s"])


def measure(options):
    """Return the figures by key."""
    figures = {}
    for calls, make, own in (
        (NUMPY, lambda: rewind.FastGenerator(np.random.PCG64(1)), lambda: np.random.default_rng(1)),
        (PYTHON, lambda: rewind.FastRandom(1), lambda: random.Random(1)),
    ):
        for key, call in calls.items():
            n = max(options.steps // (500 if "1000" in key else 50), 10)
            ratios = against({"own": _loop(own(), call, n), "fast": _loop(make(), call, n)}, options.rounds)
            times = [duration(ratios[side].seconds / n) for side in ("fast", "own")]
            figures[key] = Figure(ratios["fast"].ratio, f"{times[0]} a call, {times[1]}")
    return figures
