"""Metropolis sampling of a known density: acceptance, mean and variance against the truth, and a better proposal width.

The target is the gamma density x^2 exp(-x) / 2, whose mean and variance are both 3.

    python examples/metropolis.py
"""

import math
from typing import NamedTuple

import rewind


class Chain(NamedTuple):
    x: float
    accepted: bool


def log_density(x):
    return 2 * math.log(x) - x if x > 0 else -math.inf


def step(chain, rng, width):
    proposal = chain.x + rng.uniform(-width, width)
    if math.log(1.0 - rng.random()) < log_density(proposal) - log_density(chain.x):
        return Chain(proposal, True)
    return Chain(chain.x, False)


def autocorrelation_time(series):
    """Return the integrated autocorrelation time, summed up to the first negative term."""
    centred = series - series.mean()
    time = 1.0
    for lag in range(1, len(series)):
        rho = (centred[:-lag] @ centred[lag:]) / (centred @ centred)
        if rho < 0:
            return time
        time += 2 * rho
    return time


def main():
    run = rewind.record(
        step,
        Chain(x=50.0, accepted=False),  # far out, to see the chain find its way
        n_steps=60_000,
        seed=11,
        params={"width": 0.5},
        observe={"x": "x", "accepted": "accepted"},
    )
    print(f"whole run:        mean {run.observed['x'].mean:.3f}, with the way in from x = 50")
    arrived = next(t for t in range(len(run)) if run.get(t).x < 3.0)
    print(f"the chain arrives at x < 3 at step {arrived}")

    # Burn-in is a window of the statistics, chosen after the run.
    def report(name, chain, start):
        x, accepted = chain.stats("x", start=start), chain.stats("accepted", start=start)
        tau = autocorrelation_time(chain.series("x", start=start, stop=start + 10_000))
        error = math.sqrt(x.variance * tau / x.count)
        print(f"{name}  accepts {accepted.mean:.0%}, one independent sample in {tau:.0f} steps")
        print(f"                  mean {x.mean:.2f} +- {error:.2f} (truth 3), variance {x.variance:.2f} (truth 3)")
        return tau

    slow = report("width 0.5:      ", run, 2 * arrived)
    print(
        "a proposal that is nearly always accepted goes nowhere: branch where the chain has arrived, with larger steps"
    )
    wide = run.branch(2 * arrived, params={"width": 5.0})
    fast = report("width 5.0:      ", wide, 0)
    print(f"the same number of steps is worth {slow / fast:.0f} times as many samples")
    print(f"lineage: the branch left its parent at step {wide.branch_point}: {wide.parent_hash == run.content_hash()}")
    print(f"verified: {run.verify() and wide.verify()}")


if __name__ == "__main__":
    main()
