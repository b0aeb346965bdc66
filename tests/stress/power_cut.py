"""Power that goes at any moment of a recording: ``python tests/stress/power_cut.py [--points 3000] [--seed 1]``.

What a writer does to its files is noted, in its own process. Then the disk is made anew as it may look when the power
goes: at each moment something was synced or said to be finished, and at random others; by two models, see
`crashes.rebuilt`. What is there is loaded and compared with a plain loop, and with what was said to be on the disk; and
it is gone on with, sometimes with the power going again, which has to give the file of a run that nobody interrupted,
byte by byte. What is wrong is counted, and makes the exit status 1.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.crashes import (
    CASES,
    KINDS,
    Case,
    DiskLog,
    Wrong,
    begin,
    case_of,
    cut_over,
    cut_power,
    either,
    lay_out,
    logged,
    moments,
    rebuilt,
    require_finished,
    save_over,
    spread,
)

import rewind

MODELS = ("prefix", "reorder")


class Counts(collections.Counter[str]):
    """How many points, and what was wrong."""

    example = ""

    def note(self, error: Wrong) -> None:
        self[error.kind] += 1
        self.example = self.example or str(error).splitlines()[-1][:300]


def recorder(case: Case, log: DiskLog, points: int, rng: random.Random, folder: str, counts: dict[str, Counts]) -> None:
    """Cut the power of a recorder, and of those that go on with what it leaves."""
    for upto in moments(log, points, rng):
        for model in MODELS:
            here = counts[model]
            here["points"] += 1
            try:
                files, seen = cut_power(case, log, upto, rng, model, folder)
                here["nothing yet"] += not seen.n_steps
                here["finished"] += seen.complete
                for _ in range(rng.choice((0, 0, 1, 2))):
                    spread(folder, files)
                    more = logged(case, folder, either)
                    here["points"] += 1
                    here["again"] += 1
                    files, seen = cut_power(case, more, rng.randrange(len(more.ops) + 1), rng, model, folder)
                require_finished(case, folder)
            except Wrong as error:
                here.note(error)


def saver(case: Case, points: int, rng: random.Random, folder: str, counts: dict[str, Counts]) -> None:
    """Cut the power of a save over an old file."""
    lay_out(case, folder)
    log = logged(case, folder, save_over)
    for upto in moments(log, points, rng):
        for model in MODELS:
            counts[model]["points"] += 1
            try:
                counts[model]["finished"] += cut_over(case, log, upto, rebuilt(log, upto, rng, model), folder)
            except Wrong as error:
                counts[model].note(error)


def main() -> int:
    """Cut the power as the command line says; return 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=3000, help="moments at which the power goes, at least")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", default=";".join([*(case.name for case in CASES), "save"]))
    parser.add_argument("--folder", help="where the files are; a folder in memory is faster")
    options = parser.parse_args()
    warnings.simplefilter("ignore", rewind.RewindWarning)
    rng = random.Random(options.seed)
    heads = ["points", "again", "nothing yet", "finished", *KINDS]
    print(f"{'':34}" + "".join(f"{head:>{max(len(head), 5) + 2}}" for head in heads))
    total: collections.Counter[str] = collections.Counter()
    cases = [None if name == "save" else case_of(name) for name in options.cases.split(";")]
    each = -(-options.points // (len(MODELS) * len(cases)))
    for case in cases:
        counts = {model: Counts() for model in MODELS}
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            if case is None:
                saver(case_of("extended"), each, rng, folder, counts)
            else:
                lay_out(case, folder)
                recorder(case, logged(case, folder, begin), each, rng, folder, counts)
        for model, count in counts.items():
            total.update(count)
            name = f"{case.name if case else 'save over an old file'}, {model}"
            print(f"{name:34}" + "".join(f"{count[h]:{max(len(h), 5) + 2},}" for h in heads), flush=True)
            if count.example:
                print(f"    {count.example}", flush=True)
    print(f"{'all':34}" + "".join(f"{total[h]:{max(len(h), 5) + 2},}" for h in heads))
    return 1 if any(total[kind] for kind in KINDS) else 0


if __name__ == "__main__":
    sys.exit(main())
