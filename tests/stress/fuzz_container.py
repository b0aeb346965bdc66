"""Feed damaged and hostile copies of `.replay` files to the strict reader, in process, and count what happens.

    python tests/stress/fuzz_container.py -n 100000 --seed 1

A mutant is either damage (bits, bytes, runs, cuts) or an edit of the file's structure after which every checksum and
the seal are made right again, as a hostile author would. The reader may return a `Container` or raise an
`ArtifactError`; anything else, or a mutant that takes longer than `--seconds`, is a failure and is written to `--keep`.
Damage that was not sealed again must be refused.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import time
from pathlib import Path

import numpy as np

from rewind.errors import ArtifactError
from rewind.storage import reader, writer
from rewind.storage.hdf5_messages import lookup3
from rewind.storage.hdf5_subset import Subset
from rewind.storage.seal import SEAL_BYTES, seal

BOUNDARIES = [0, 1, 2, 3, 4, 7, 8, 10, 12, 16, 31, 32, 33, 64, 127, 128, 255, 256, 511, 512, 1000, 1023, 1024, 1025]
BOUNDARIES += [2**k + d for k in (15, 16, 20, 24, 30, 31, 32, 40, 53, 62, 63, 64) for d in (-1, 0) if k > 15 or d == 0]


def samples() -> dict[str, bytes]:
    """Return files that between them use every structure the writer knows."""
    rng = np.random.default_rng(1)
    walk = np.cumsum(rng.integers(-1, 2, 1000))
    deep = {f"checkpoints/agents/{i}/x": rng.normal(size=(5, 2)) for i in range(12)}
    kinds = {
        f"checkpoints/{kind}{size}": rng.integers(0, 100, (6, 3)).astype(f"{kind}{size}")
        for kind in "iuf"
        for size in (1, 2, 4, 8)
        if kind != "f" or size > 1
    }
    odd = {
        "checkpoints/text": np.array([[b"a", b"bc"], ["é".encode(), b""]]),
        "checkpoints/empty": np.zeros((0, 4)),
        "checkpoints/flat": np.zeros((4, 0), "i2"),
        "start/scalar": np.array(2.5),
        "metrics/a b/mean": walk[:7].astype("f4"),
        "metrics/größe/mean": walk[:9],
    }
    pieces = {"checkpoints/state": np.arange(400_000).reshape(-1, 4) // 1000}
    meta = b'{"n_steps":1000000,"seed":"7"}'
    return {
        "walk": writer.build({"checkpoints/state": walk}, meta),
        "tree": writer.build(deep | kinds | odd, meta),
        "pieces": writer.build(pieces, meta),
        "long meta": writer.build({"checkpoints/state": walk}, b'{"x":"%s"}' % (b"y" * 70_000)),
        "1.8": writer.build(deep | odd, meta, compat="1.8"),
    }


class _Recorder(Subset):
    """A parser that notes where the checksums are."""

    def __init__(self, data: bytes, base: int) -> None:
        super().__init__(data, base, 1 << 40)
        self.checked: list[tuple[int, int]] = []

    def _claim_checked(self, address: int, size: int, what: str) -> memoryview:
        self.checked.append((self._base + address, size - 4))
        return super()._claim_checked(address, size, what)


def checked_ranges(data: bytes) -> list[tuple[int, int]]:
    """Return (start, length) of everything in `data` that a metadata checksum covers."""
    recorder = _Recorder(data, 0 if data.startswith(b"\x89") else SEAL_BYTES)
    recorder.read()
    return recorder.checked


def repaired(data: bytearray, ranges: list[tuple[int, int]]) -> bytes:
    """Return `data` with the checksums of `ranges`, and the seal if there is one, made right."""
    for start, length in ranges:
        if start + length + 4 <= len(data):
            data[start + length : start + length + 4] = lookup3(data[start : start + length]).to_bytes(4, "little")
    return resealed(bytes(data))


def resealed(data: bytes) -> bytes:
    """Return `data` with a seal that fits, if it had a seal."""
    return seal(data[SEAL_BYTES:]) + data[SEAL_BYTES:] if data.startswith(b"{") else data


def edited(data: bytes, ranges: list[tuple[int, int]], rng: random.Random) -> bytes:
    """Return `data` with one to three edits inside its structures, and checksums and seal made right."""
    new = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        start, length = rng.choice(ranges)
        width = rng.choice((1, 1, 1, 2, 4, 8))
        at = start + rng.randrange(max(1, length - width + 1))
        old = int.from_bytes(new[at : at + width], "little")
        how = rng.random()
        if how < 0.45:
            value = rng.choice(BOUNDARIES)
        elif how < 0.7:
            value = old + rng.choice((-8, -2, -1, 1, 2, 8, 100))
        elif how < 0.85:
            value = old ^ 1 << rng.randrange(8 * width)
        elif how < 0.93:
            value = rng.getrandbits(8 * width)
        else:  # another structure's bytes
            start, length = rng.choice(ranges)
            width = min(length, rng.randrange(1, 25))
            value = int.from_bytes(new[start : start + width], "little")
        new[at : at + width] = (value % 256**width).to_bytes(width, "little")
    return repaired(new[: len(data)], ranges)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return `data` as a bad disk, cable or editor might leave it."""
    new = bytearray(data)
    at, run = rng.randrange(len(data)), rng.choice((1, 2, 4, 8, 16, 64, 512))
    how = rng.randrange(7)
    if how == 0:
        for _ in range(rng.choice((1, 1, 2, 8))):
            new[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif how == 1:
        new[at : at + run] = rng.randbytes(len(new[at : at + run]))
    elif how == 2:
        del new[at:]
    elif how == 3:
        new[at:at] = rng.randbytes(run)
    elif how == 4:
        del new[at : at + run]
    elif how == 5:
        new[at : at + run] = rng.choice((b"\0", b"\xff")) * len(new[at : at + run])
    else:
        other = rng.randrange(len(data))
        new[at : at + run], new[other : other + run] = new[other : other + run], new[at : at + run]
    return bytes(new)


def outcome(mutant: bytes) -> str:
    """Return ``"loaded"`` or the name of the exception that the strict reader answers with."""
    try:
        reader.read(mutant)
    except ArtifactError as error:
        str(error)
        return type(error).__name__
    except BaseException as error:
        return f"ESCAPED {type(error).__name__}"
    return "loaded"


def main() -> int:
    """Run the fuzzer as the command line says; return 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=20_000, help="mutants in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0, help="limit for one mutant")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    options = parser.parse_args()
    rng = random.Random(options.seed)
    files = samples()
    ranges = {name: checked_ranges(data) for name, data in files.items()}
    counts: collections.Counter[tuple[str, str, str]] = collections.Counter()
    slowest, n_failures = 0.0, 0
    for i in range(options.n):
        name = rng.choice(list(files))
        how = rng.choice(("edited", "edited", "damaged", "damaged and resealed"))
        mutant = edited(files[name], ranges[name], rng) if how == "edited" else damaged(files[name], rng)
        if how == "damaged and resealed":
            mutant = resealed(mutant)
        started = time.perf_counter()
        result = outcome(mutant) if mutant != files[name] else "not changed"
        seconds = time.perf_counter() - started
        slowest = max(slowest, seconds)
        silent = result == "loaded" and how == "damaged" and name != "1.8"
        if result.startswith("ESCAPED") or seconds > options.seconds or silent:
            n_failures += 1
            options.keep.mkdir(exist_ok=True)
            (options.keep / f"{options.seed}-{i}.replay").write_bytes(mutant)
        counts[name, how, result] += 1
    for key, count in sorted(counts.items()):
        print(f"{count:8,}  {' | '.join(key)}")
    print(f"{options.n:,} mutants, slowest {slowest:.3f} s, {n_failures} failures")
    return 1 if n_failures else 0


if __name__ == "__main__":
    sys.exit(main())
