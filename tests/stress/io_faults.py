"""Disks that fail: ``python tests/stress/io_faults.py [--jobs save,record] [--errors ENOSPC,EIO,EACCES]``.

Each call of the operating system that a job makes fails in turn, once and from there on, with each of the errors; does
less than it was asked to; or is followed by a Ctrl-C. Then the job has to have said so, and to have kept what there
was; and when the disk is well again it has to come to its end, with the file of a run without faults, byte by byte.
What is wrong is counted, and makes the exit status 1.
"""

from __future__ import annotations

import argparse
import collections
import errno
import random
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.crashes import INTERRUPT, JOBS, KINDS, SHORT, Fault, Wrong, fail, n_calls

import rewind

OUTCOMES = ["faults", "finished", "raised", "interrupted"]


def main() -> int:
    """Fail calls as the command line says; return 1 if a job lied or lost anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", default=";".join(JOBS), help="names, with semicolons between them")
    parser.add_argument("--errors", default="ENOSPC,EIO,EACCES")
    parser.add_argument("--folder", help="where the files are; a folder in memory is faster")
    options = parser.parse_args()
    warnings.simplefilter("ignore", rewind.RewindWarning)
    numbers = [getattr(errno, name) for name in options.errors.split(",")]
    kinds = [(number, sticky) for number in numbers for sticky in (False, True)] + [(SHORT, False), (INTERRUPT, False)]
    heads = ["calls", *OUTCOMES, *KINDS]
    print(f"{'':22}" + "".join(f"{head:>{max(len(head), 5) + 2}}" for head in heads))
    total: collections.Counter[str] = collections.Counter()
    for name in options.jobs.split(";"):
        counts: collections.Counter[str] = collections.Counter()
        wrong: dict[str, list[str]] = {}
        rng = random.Random(1)
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            counts["calls"] = n_calls(name, folder)
            for number in range(1, counts["calls"] + 1):
                for error, sticky in kinds:
                    fault = Fault(number, error, sticky)
                    try:
                        outcome = fail(name, fault, folder, rng)
                    except Wrong as problem:
                        outcome = problem.kind
                        text = str(problem).splitlines()[-1].replace(folder, "")[:200]
                        what = {SHORT: "less", INTERRUPT: "Ctrl-C"}.get(error) or errno.errorcode[error]
                        wrong.setdefault(text, []).append(f"{fault.struck[0]}:{number}:{what}{'+' if sticky else ''}")
                    if fault.struck:
                        counts["faults"] += 1
                        counts[outcome] += 1
        total.update(counts)
        print(f"{name:22}" + "".join(f"{counts[h]:{max(len(h), 5) + 2},}" for h in heads), flush=True)
        for text, where in wrong.items():
            print(f"    {text}\n        {len(where)} times: {' '.join(where[:12])}", flush=True)
    print(f"{'all':22}" + "".join(f"{total[h]:{max(len(h), 5) + 2},}" for h in heads))
    return 1 if any(total[kind] for kind in KINDS) else 0


if __name__ == "__main__":
    sys.exit(main())
