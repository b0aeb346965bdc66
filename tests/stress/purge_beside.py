"""Checks beside purges: ``python tests/stress/purge_beside.py [--checks 500]``.

Other processes begin runs with artifacts and simulations in a folder, purge them, and begin them anew, while this one
checks the folder, again and again. Nothing is ever damaged, so every problem that is found is a false alarm: they are
counted, and make the exit status 1.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import os
import sys
import tempfile
from typing import Any

import rewind


def step(x: float, rng: Any) -> float:
    return x + float(rng.random())


def purger(folder: str, name: str, over: Any) -> None:
    """Begin and purge runs until it is over."""
    content = os.path.join(folder, f"{name}.bin")
    n = 0
    while not over.is_set():
        n += 1
        with rewind.init(dir=os.path.join(folder, "runs"), id=name) as run:
            for i in range(20):
                with open(content, "w") as file:
                    file.write(f"{name} {n % 3} {i}" * 10_000)
                run.log_artifact(content, name=name)
            run.record(step, 0.0, 12, seed=n, observe={"x": None}, trial=False)
        with rewind.init(dir=os.path.join(folder, "runs"), resume_from=f"{name}?_step=5") as run:
            run.log_artifact(content, name=f"{name}-again")
        rewind.Tracker(run.dir).purge(name)


def main() -> int:
    """Check as the command line says; return 1 if there was a false alarm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checks", type=int, default=500)
    parser.add_argument("--purgers", type=int, default=2)
    options = parser.parse_args()
    alarms: collections.Counter[str] = collections.Counter()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        with rewind.init(dir=os.path.join(folder, "runs"), id="stays") as run:
            run.log({"x": 1})
        context = multiprocessing.get_context("spawn")
        over = context.Event()
        workers = [context.Process(target=purger, args=(folder, f"p{i}", over)) for i in range(options.purgers)]
        for worker in workers:
            worker.start()
        for _ in range(options.checks):
            report = rewind.Tracker(os.path.join(folder, "runs")).fsck()
            wrong += not report.ok
            alarms.update(str(problem)[:60] for problem in report.problems)
        over.set()
        for worker in workers:
            worker.join()
        last = rewind.Tracker(os.path.join(folder, "runs")).fsck()
    failed = [worker.exitcode for worker in workers if worker.exitcode]
    print(
        f"checks: {options.checks:,}, with a false alarm: {wrong:,}, purgers that failed: {len(failed)}",
        *alarms.most_common(8),
        sep="\n",
    )
    return 1 if wrong or failed or not last.ok else 0


if __name__ == "__main__":
    sys.exit(main())
