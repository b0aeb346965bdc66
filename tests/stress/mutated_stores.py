"""Damaged databases: ``python tests/stress/mutated_stores.py [--trials 3000] [--seed 1]``.

The database of a folder is damaged, by bytes or by values that no tracker writes, and everything is asked of it that
Python and the shell can ask. Each call has to end: with an answer or with a `RewindError`. What is wrong is counted,
and makes the exit status 1.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.mutated_stores import trial
from helpers.tracked_family import made

import rewind
from rewind.tracker.store import database


def main() -> int:
    """Damage as the command line says; return 1 if a call ended otherwise than it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore", rewind.RewindWarning)
    database.PATIENCE = 2.0
    kinds: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as at:
        content = Path(at, "model")
        content.mkdir()
        (content / "weights.bin").write_bytes(bytes(range(256)))
        original = made(os.path.join(at, "original", ".rewind"), content)
        for i in range(options.seed, options.seed + options.trials):
            for text in trial(original, at, random.Random(i)):
                kinds.setdefault(text[-160:], []).append(f"{i}: {text}")
    n = sum(map(len, kinds.values()))
    print(f"trials: {options.trials:,}, calls that ended otherwise: {n:,}, kinds: {len(kinds):,}")
    for some in sorted(kinds.values(), key=len, reverse=True)[:40]:
        print(f"{len(some)} times: {some[0]}")
    return 1 if n else 0


if __name__ == "__main__":
    sys.exit(main())
