"""Every bit of small sealed files flipped: ``python tests/stress/bitflips.py [--every N]``; all must be refused."""

from __future__ import annotations

import argparse
import collections
import os
import sys
import tempfile
import warnings
from typing import Any

import numpy as np

import rewind
from rewind.storage import replay_file


def walk(x: int, rng: Any) -> int:
    return x + (1 if rng.random() < 0.5 else -1)


def gather(x: Any, rng: Any) -> Any:
    return x | {rng.randrange(9)}


def files() -> dict[str, bytes]:
    """Return the files whose bits are flipped."""
    walked = rewind.record(walk, 0, 100, 7)._recording
    runs = {
        "observed": rewind.record(walk, 0, 100, 7, observe={"x": None}),
        "float64[8]": rewind.record(lambda x, rng: x + rng.normal(size=8), np.zeros(8), 60, 7, backend="numpy"),
        "pickled": rewind.record(gather, {0}, 60, 7),
        "branch": rewind.record(walk, 0, 60, 7).branch(5, lambda x: x + 1, noise="same"),
    }
    signed = replay_file.to_bytes(walked, key=b"key")
    return {
        "int walk": replay_file.to_bytes(walked),
        "signed": signed,
        **{name: replay_file.to_bytes(run._recording) for name, run in runs.items()},
    }


def main() -> int:
    """Flip the bits, print what came of each file, and return 1 if one of them loads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th bit")
    options = parser.parse_args()
    warnings.simplefilter("ignore", rewind.PickledStatesWarning)
    n_loaded = 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "flipped.replay")
        for name, data in files().items():
            with open(path, "wb") as file:
                file.write(data)
            rewind.load(path, allow_pickle=True)
            counts: collections.Counter[str] = collections.Counter()
            for i in range(0, 8 * len(data), options.every):
                changed = bytearray(data)
                changed[i // 8] ^= 1 << i % 8
                with open(path, "r+b") as file:
                    file.write(changed)
                try:
                    rewind.load(path, allow_pickle=True)
                    counts["loaded"] += 1
                except rewind.ArtifactError as error:
                    counts[type(error).__name__] += 1
            n, loaded = sum(counts.values()), counts.pop("loaded", 0)
            n_loaded += loaded
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(counts.items()))
            print(f"{name:12}{len(data):,} bytes: {n:,} flips, {n - loaded:,} refused, {loaded} loaded ({kinds})")
    return 1 if n_loaded else 0


if __name__ == "__main__":
    sys.exit(main())
