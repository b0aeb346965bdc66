"""A stochastic epidemic, and what wearing masks from day 18 on is worth, with and without common random numbers.

Every day each healthy person falls ill with a probability that grows with the number of the ill, and each ill person
recovers with another. The two futures of an epidemic, with and without masks, are compared in two ways: each with noise
of its own ("fresh"), or both with the same noise, so that luck drops out of their difference.

    python examples/sir_epidemic.py
"""

import math
import statistics
from dataclasses import dataclass

import numpy as np

import rewind

DAYS, MASK_DAY, N_PEOPLE, N_SEEDS = 150, 18, 2_000, 40
HEALTHY, ILL, IMMUNE = 0, 1, 2


@dataclass
class Town:
    people: np.ndarray  # one of HEALTHY, ILL, IMMUNE for each person
    ill: int

    @property
    def hit(self):
        return int((self.people != HEALTHY).sum())


def step(town, rng, contacts=0.30, recovery=0.10):
    # One number for each person, whatever their health: with the same noise, the same person has the same luck on the
    # same day in both futures. Draws for the ill alone would shift everybody's luck with the first difference.
    luck = rng.random(N_PEOPLE)
    falls_ill = (town.people == HEALTHY) & (luck < 1 - math.exp(-contacts * town.ill / N_PEOPLE))
    recovers = (town.people == ILL) & (luck < recovery)
    town.people[falls_ill] = ILL
    town.people[recovers] = IMMUNE
    town.ill = int((town.people == ILL).sum())
    return town


def outbreak():
    people = np.zeros(N_PEOPLE, "i1")
    people[:20] = ILL
    return Town(people, 20)


def main():
    run = rewind.record(step, outbreak(), DAYS, seed=1, backend="numpy", observe={"ill": "ill"})
    peak = run.observed["ill"]
    print(
        f"one epidemic: at most {peak.max:.0f} of {N_PEOPLE:,} ill, on day {peak.argmax}; {run[-1].hit} were hit in all"
    )
    print(f"on day {MASK_DAY}: {run[MASK_DAY].ill} ill, {run[MASK_DAY].hit} hit so far")
    masks = run.branch(MASK_DAY, noise="same", params={"contacts": 0.27})
    peak = masks.observed["ill"]
    print(
        f"with masks: at most {peak.max:.0f} ill, on day {peak.argmax + masks.start}; {masks[-1].hit} were hit in all"
    )

    # The same noise in both: without masks the branch is the run, person by person, so all that differs is the masks.
    unchanged = run.branch(MASK_DAY, noise="same")
    print(f"the same branch without masks ends as the run did: {(unchanged[-1].people == run[-1].people).all()}")
    saved = int(((run[-1].people != HEALTHY) & (masks[-1].people == HEALTHY)).sum())
    lost = int(((run[-1].people == HEALTHY) & (masks[-1].people != HEALTHY)).sum())
    print(f"{saved} people were spared by the masks, and {lost} hit that would not have been")

    print(f"cases avoided, over {N_SEEDS} epidemics:")
    spread = {}
    for noise in ("fresh", "same"):
        avoided = []
        for seed in range(N_SEEDS):
            run = rewind.record(step, outbreak(), DAYS, seed=seed, backend="numpy")
            masks = run.branch(MASK_DAY, noise=noise, params={"contacts": 0.27})
            avoided.append(run[-1].hit - masks[-1].hit)
        spread[noise] = statistics.stdev(avoided)
        print(f"  {noise:5} noise: {statistics.mean(avoided):.1f} +- {spread[noise] / math.sqrt(N_SEEDS):.1f}")
    gain = (spread["fresh"] / spread["same"]) ** 2
    print(f"one pair with the same noise says as much as {gain:.0f} pairs with fresh noise")


if __name__ == "__main__":
    main()
