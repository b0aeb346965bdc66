"""When did the outbreak become inevitable? Every day of an epidemic is asked for its possible futures.

A handful of ill people come into a town. Often the illness dies out by itself; this time it did not. From each of some
days the town is given 200 other futures, each with luck of its own: the share of them that end in an outbreak says how
much was decided by then. Then the same question is asked with an intervention.

    python examples/inevitable.py
"""

import math
from dataclasses import dataclass

import rewind

N_PEOPLE, N_DAYS, SEED, N_FUTURES = 1000, 250, 55, 200
OUTBREAK = "hit >= 200"  # text over observed metrics: a fifth of the town


@dataclass
class Town:
    healthy: int
    ill: int

    @property
    def hit(self):
        return N_PEOPLE - self.healthy


def step(town, rng, contacts=0.30, recovery=0.20):
    infected = rng.binomial(town.healthy, -math.expm1(-contacts * town.ill / N_PEOPLE))
    recovered = rng.binomial(town.ill, recovery)
    return Town(int(town.healthy - infected), int(town.ill + infected - recovered))


def isolate(town):
    """The intervention: nine of ten of those who are ill today meet nobody any more."""
    town.ill -= round(0.9 * town.ill)


def main():
    town = Town(N_PEOPLE - 3, 3)
    run = rewind.record(step, town, N_DAYS, seed=SEED, backend="numpy", observe={"ill": "ill", "hit": "hit"})
    peak = run.observed["ill"].argmax
    over = run.bisect("ill == 0")  # once nobody is ill, nobody will be: a few questions find the day
    print(f"one epidemic in a town of {N_PEOPLE:,}: {run[-1].hit} were hit, at most {run[peak].ill} ill, on day {peak}")
    calm = run.last("ill <= 2", before=peak)
    print(f"the last day with no more than 2 ill was day {calm}; a fifth had been hit by day {run.bisect(OUTBREAK)}")
    print(f"more than 50 were ill first on day {run.first('ill > 50')}; it was over on day {over}")

    print(f"\nhow many of {N_FUTURES} other futures from a day on have an outbreak, with the interval of that share:")
    table = run.likelihood(OUTBREAK, range(0, 73, 6), N_FUTURES)
    for row in table:
        bar = "#" * round(30 * row["share"])
        day = row["step"]
        print(
            f"  day {day:2}, {run[day].ill:3} ill: {row['share']:4.0%} ({row['low']:3.0%} to {row['high']:4.0%}) {bar}"
        )
    settled = int(table["step"][table["low"] > 0.95][0])
    print(f"inevitable from day {settled} on: more likely than 95 %, at a confidence of 95 %")

    print("\nif nine of ten of the ill had been isolated on one day: outbreaks, and people hit in the middle future")
    for day in (calm, settled, settled + 12):
        told = []
        for mutate in (None, isolate):
            futures = run.branches(day, N_FUTURES, mutate, metric="hit")  # one row of numbers for each future
            hit = sorted(futures.values[:, -1])
            told.append(f"{sum(n >= 200 for n in hit) / N_FUTURES:4.0%}, {hit[N_FUTURES // 2]:3.0f} hit")
        print(f"  day {day:2}: {told[0]} as it was; {told[1]} with the isolation")

    # Any future can be had in full: the worst one with the isolation, recorded again to the last bit.
    futures = run.branches(settled, N_FUTURES, isolate, metric="hit")
    worst = max(range(N_FUTURES), key=lambda i: futures[i][-1])
    again = futures.run(worst)
    same = again[-1].hit == futures[worst][-1]
    print(f"the worst of them from day {settled}, recorded: {again[-1].hit} hit, the same number: {same}")


if __name__ == "__main__":
    main()
