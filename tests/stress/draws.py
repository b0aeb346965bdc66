"""Draw long random sequences from FastGenerator and FastRandom beside numpy's and Python's own, and compare every bit.

    python tests/stress/draws.py -n 10000000 --seed 1

Calls, their arguments, the bit generator and its seed are all drawn from the seed.
The first difference is printed with what repeats it, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.draws import BIT_GENERATORS, GENERATOR_CALLS, RANDOM_CALLS, bits, state_of

import rewind.kernel._draws as draws

#: Methods that take any positive numbers, and how many.
POSITIVE = {"gamma": 2, "beta": 2, "f": 2, "wald": 2, "chisquare": 1, "standard_t": 1, "pareto": 1, "weibull": 1}
POSITIVE |= {"power": 1, "rayleigh": 1, "standard_gamma": 1, "exponential": 1, "poisson": 1, "noncentral_f": 3}
POSITIVE |= {"normal": 2, "laplace": 2, "gumbel": 2, "logistic": 2, "noncentral_chisquare": 2}
PYTHON_POSITIVE = {"gammavariate": 2, "betavariate": 2, "weibullvariate": 2, "expovariate": 1, "normalvariate": 2}
PYTHON_POSITIVE |= {"gauss": 2, "uniform": 2}


def drawn_calls(chance: random.Random, table: dict, positive: dict, n: int) -> list:
    """Return `n` calls, a half of them with arguments nobody chose."""
    fixed = [(name, args) for name in table for args in table[name]]
    calls = chance.choices(fixed, k=n // 2)
    for name in chance.choices(sorted(positive), k=n - len(calls)):
        args = tuple(math.exp(chance.gauss(0.5, 1.5)) for _ in range(positive[name]))
        calls.append((name, args))
    for _ in range(n // 8):
        low = chance.randrange(-(2**63), 2**63 - 1) >> chance.randrange(64)
        high = min(low + 1 + (chance.getrandbits(63) >> chance.randrange(63)), 2**63 - 1)
        calls.append(("integers" if "integers" in table else "randrange", (low, high)))
    chance.shuffle(calls)
    return calls


def main() -> int:
    """Run, report and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-n", type=int, default=10_000_000, help="calls in all (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    start, done, round_ = time.perf_counter(), 0, 0
    while done < arguments.n:
        chance = random.Random(f"{arguments.seed}/{round_}")
        seed, make = chance.getrandbits(64), chance.choice(BIT_GENERATORS)
        sides = (
            (draws.FastGenerator(make(seed)), np.random.Generator(make(seed)), GENERATOR_CALLS, POSITIVE),
            (draws.FastRandom(seed), random.Random(seed), RANDOM_CALLS, PYTHON_POSITIVE),
        )
        for mine, theirs, table, positive in sides:
            for name, args in drawn_calls(chance, table, positive, 20_000):
                ours, stock = getattr(mine, name)(*args), getattr(theirs, name)(*args)
                if bits(ours) != bits(stock):
                    print(f"seed {arguments.seed} round {round_} {make.__name__}({seed}): {name}{args}: {ours} {stock}")
                    return 1
                done += 1
            if state_of(mine) != state_of(theirs):
                print(f"seed {arguments.seed} round {round_} {make.__name__}({seed}): another state")
                return 1
        round_ += 1
    print(f"{done:,} calls in {round_} rounds agree ({time.perf_counter() - start:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
