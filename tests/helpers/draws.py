"""Calls of every method of the fast generators, and how their answers and states are compared."""

from __future__ import annotations

import fractions
import pickle
import random
import sys

import numpy as np

#: Plain calls of every method of Generator that is answered in C, and some that are handed over.
GENERATOR_CALLS = {
    "random": [(), (None,), (3,), ((2, 2),), (np.int64(2),), (3, np.float32), (None, float)],
    "standard_normal": [(), (5,), ((2, 3),), (300,), (2, np.float32), (None, np.float64)],
    "standard_exponential": [(), (5,), ((2, 3),), (300,), (2, np.float64, "inv")],
    "normal": [(), (1.5,), (-1, 2), (np.float64(0.1), 0.3), (0.1, 0.3, None), (0.1, 0.3, 7), ([1, 2], 3), (2, 0.0)],
    "uniform": [(), (-1.5,), (-1, 2), (np.float64(0.1), 0.3), (0.1, 0.3, None), (0.1, 0.3, 7), (2, 2), ([1, 2], 3)],
    "exponential": [(), (1.5,), (2, None), (np.float64(0.1),), (0.3, 7), (0,), ([1, 2],)],
    "integers": [
        *(
            (10,),
            (1,),
            (0, 1),
            (-3, 9),
            (2**31,),
            (2**32,),
            (2**32 + 1,),
            (2**40,),
            (-(2**63), 2**63 - 1),
            (3 * 2**61,),
        ),
        *((0, 2**63), (5, None, 4), (0, 9, (2, 2)), (0, 9, 3, np.int32), (0, 2, None, bool), (np.int64(7),), (9, 99)),
        *((0, 5, None, np.int64, True), (-5, -5, None, np.int64, True), (0, 200, None, np.uint8), ([1, 5], 9)),
    ],
    "choice": [
        *(
            (5,),
            (1,),
            ([3, 1, 2],),
            ((1, 2.5),),
            (["a", "bc"],),
            (np.arange(6.0)[::-2],),
            (np.arange(4).reshape(2, 2),),
        ),
        *((5, 3), (5, None, False), (np.array([1, 2], dtype=object),), (range(4),), (np.array([True, False]),)),
    ],
    "standard_cauchy": [(), (None,), (2,)],
    "chisquare": [(0.3,), (2,), (17.5,), (3, None), (3, 2)],
    "standard_t": [(0.3,), (2,), (17.5,), (3, 2)],
    "pareto": [(0.3,), (2,), (17.5,)],
    "weibull": [(0.3,), (2,), (17.5,), (0,)],
    "power": [(0.3,), (2,), (17.5,)],
    "rayleigh": [(), (2,), (0.5, 2)],
    "standard_gamma": [(0.3,), (1,), (17.5,), (0,), (2.5, None), (2.5, 2)],
    "gamma": [(0.3,), (1, 2), (17.5, 0.1), (0, 1), (2, 3, 2)],
    "beta": [(0.3, 0.4), (1, 1), (17.5, 0.1), (2, 3, 2)],
    "f": [(0.3, 0.4), (1, 1), (17.5, 4)],
    "laplace": [(), (1,), (-1, 0.2)],
    "gumbel": [(), (1,), (-1, 0.2)],
    "logistic": [(), (1,), (-1, 0.2)],
    "lognormal": [(), (1,), (-1, 0.2)],
    "wald": [(0.3, 0.4), (1, 1), (17.5, 4)],
    "vonmises": [(0.3, 0.4), (1, 0), (-17.5, 400), (0, 1e-9)],
    "noncentral_chisquare": [(0.3, 0.4), (1, 0), (17.5, 4)],
    "noncentral_f": [(0.3, 0.4, 0.1), (1, 1, 0)],
    "triangular": [(0, 0.5, 1), (-1, -1, 3), (-1, 3, 3)],
    "poisson": [(), (0,), (0.3,), (9.99,), (10,), (55,), (1e6,), (1e14,), (3, 2)],
    "geometric": [(0.01,), (0.33,), (0.34,), (1,), (0.5, 2)],
    "zipf": [(1.2,), (2,), (9.5,)],
    "logseries": [(0.1,), (0.99,), (0,)],
    "negative_binomial": [(0.3, 0.4), (10, 0.01), (3, 1)],
    "binomial": [
        (0, 0.5),
        (10, 0.1),
        (10, 0.9),
        (1000, 0.4),
        (1000, 0.6),
        (2**31 - 1, 0.3),
        (5, 0),
        (5, 1),
        (9, 0.5, 2),
    ],
    "hypergeometric": [(5, 4, 3), (100, 50, 30), (10**8, 10**7, 10**5), (3, 0, 2), (0, 0, 0), (15, 15, 15, 2)],
    "permutation": [(4,)],
    "multinomial": [(4, [0.25, 0.75])],
}

RANDOM_CALLS = {
    "random": [()],
    "getrandbits": [(1,), (7,), (32,), (33,), (64,), (65,), (128,), (True,)],
    "uniform": [(0.1, 0.7), (-1, 3), (2.5, -1), (np.float64(1), 2), (1, fractions.Fraction(3, 2))],
    "triangular": [(), (2,), (0.1, 0.7), (-1, 3, 1), (1, 1), (0, 1, None), (0, 1, 2), (0, 2, -1), (3, 1, 2)],
    "normalvariate": [(0.1, 0.3), (-1, 3), (2.5, -1), (np.float64(1), 2)],
    "gauss": [(0.1, 0.3), (-1, 3), (2.5, -1), (np.float64(1), 2)],
    "lognormvariate": [(0.1, 0.3), (-1, 3)],
    "expovariate": [(0.1,), (3,), (-2.5,)],
    "vonmisesvariate": [(0.1, 0.3), (-1, 3), (2.5, 0), (0, 1e7), (7.0, 1e12)],
    "gammavariate": [(1.0, 0.3), (2.5, 3), (70, 1.5), (0.3, 2)],
    "betavariate": [(1.0, 1.3), (2.5, 3), (70, 1.5), (0.3, 2), (2, 0.3)],
    "paretovariate": [(0.3,), (1,), (7.5,), (-2,)],
    "weibullvariate": [(0.3, 0.4), (1, 1), (-7.5, 3), (0, 1)],
    "randrange": [(1,), (10,), (2**40,), (-5, 7), (-(2**60), 2**60), (2**63,), (0, 10**30), (0, 100, 7), (3, 9, 1)],
    "randint": [(1, 1), (0, 9), (-5, 2**40), (0, 2**64)],
    "choice": [([1, 2, 3],), ((1, 2),), ("abc",), (range(0, 90, 3),), (np.arange(3),), (b"abc",), ({0: "a"},)],
    "sample": [(range(100), 5), ([1, 2, 3], 2)],
    "choices": [([1, 2, 3],)],
    "randbytes": [(5,)],
}

if sys.version_info >= (3, 11):
    RANDOM_CALLS["normalvariate"] += [(), (0.5,)]
    RANDOM_CALLS["gauss"] += [(), (0.5,)]

if sys.version_info >= (3, 12):
    RANDOM_CALLS["expovariate"] += [()]
    RANDOM_CALLS["binomialvariate"] = [(), (10, 0.3), (1000, 0.4)]

BIT_GENERATORS = [np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64]


def bits(value):
    """A value with its type and every bit of it, for ==."""
    if isinstance(value, float):
        return type(value), value.hex()
    if isinstance(value, complex):
        return type(value), value.real.hex(), value.imag.hex()
    if isinstance(value, np.generic):
        return type(value), value.tobytes()
    if isinstance(value, np.ndarray):
        content = value.tobytes() if value.dtype != object else bits(value.tolist())
        return type(value), value.dtype, value.shape, value.strides, content
    if isinstance(value, (list, tuple)):
        return type(value), [bits(item) for item in value]
    return type(value), value


def state_of(rng):
    if isinstance(rng, random.Random):
        return rng.getstate()
    state = rng.bit_generator.state
    return repr(sorted(state.items(), key=repr)) if "SFC" not in str(rng) else pickle.dumps(state)
