"""A tracked epidemic goes wrong, is rewound to the day before with its people, and goes on with another parameter.

Everything goes back: the run, its rows, its summary, and the town with everybody in it. What came after that day is
archived, and the same future again gives the archived rows byte for byte.

    python examples/rewind_a_run.py [FOLDER]
"""

import sys
import tempfile
from dataclasses import dataclass

import numpy as np

import rewind
from rewind.cli import main as cli

DAYS, N_PEOPLE, HOSPITAL_BEDS = 120, 2_000, 320
HEALTHY, ILL, IMMUNE = 0, 1, 2


@dataclass
class Town:
    people: np.ndarray  # one of HEALTHY, ILL, IMMUNE for each person
    ill: int


def step(town, rng, contacts=0.30, recovery=0.10):
    luck = rng.random(N_PEOPLE)
    falls_ill = (town.people == HEALTHY) & (luck < 1 - np.exp(-contacts * town.ill / N_PEOPLE))
    recovers = (town.people == ILL) & (luck < recovery)
    town.people[falls_ill] = ILL
    town.people[recovers] = IMMUNE
    town.ill = int((town.people == ILL).sum())
    return town


def outbreak():
    people = np.zeros(N_PEOPLE, "i1")
    people[:20] = ILL
    return Town(people, 20)


def main(folder):
    run = rewind.init("epidemic", id="town", dir=folder, config={"contacts": 0.30, "recovery": 0.10})
    run.define_metric("ill", summary="max,last")
    run.record(step, outbreak(), DAYS, seed=1, backend="numpy", observe={"ill": "ill"}, log_every=1)  # contacts: config
    run.finish()
    print(f"{run.ref}: {len(run.history())} days, ill {run.summary['ill']}")

    bad = next(row["_step"] for row in run.history() if row["ill"] > HOSPITAL_BEDS)
    print(f"on day {bad} there are more ill than the {HOSPITAL_BEDS} beds; back to day {bad - 7}")

    again = rewind.init(dir=folder, resume_from=f"town?_step={bad - 7}", config={"contacts": 0.20})
    print(f"{again.ref}: goes on at day {again.step}, with {again.state.ill} ill, contacts {again.config.contacts}")
    again.record(noise="same")  # the same people have the same luck: all that differs is the contacts
    again.finish()
    print(f"{again.ref}: ill {again.summary['ill']}, over exactly the days that count")

    # The archived future is not lost, and it is no claim: from the same day on, unchanged, it comes out again.
    same = rewind.init(dir=folder, fork_from=f"town@1?_step={bad - 7}", id="town-unchanged")
    same.record(noise="same")
    print(f"the same future again is the archived one: {same.history() == run.history()}")
    same.backfill({"immune": lambda town: int((town.people == IMMUNE).sum())})  # never logged, known all the same
    print(f"{same.ref}: immune on day {bad - 7}: {same.history()[bad - 7]['immune']:.0f}, by replay")
    print(f"rows that the simulations gave again: {run.verify_history() + again.verify_history()}")
    same.finish()
    cli.main(["log", "--graph", "--oneline", "--dir", folder])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(temporary)
