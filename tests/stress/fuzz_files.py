"""Mutated files and journals through load, get and info: ``python tests/stress/fuzz_files.py [-n 100000] [--seed 1]``.

A mutant is damage (bits, bytes, runs, cuts, splices of two files), an edit of the structure of HDF5 after which every
checksum and the seal fit again, or a recording whose arrays and metadata say something else, with a content hash that
fits. It has to be refused with a `RewindError`, or to give an answer; and where neither the seal nor the content hash
was made again, the answer has to be the right one. Workers are processes with limits on memory and CPU time, so what
crashes, hangs or grows is counted and not suffered. Mutant ``i`` of a seed is the same however many there are.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import os
import random
import resource
import select
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.mutants import checked_ranges, damaged, edited, parts_of, rechained, resealed, retold, samples

import rewind
from rewind.cli import files as verbs
from rewind.cli.render import json_text
from rewind.cli.text import printable
from rewind.engine.recording import Recording
from rewind.state.digest import digest
from rewind.storage import replay_file
from rewind.storage.hdf5 import reader

MEMORY = 1 << 30  # of address space, beyond what a worker has when it starts
RESIDENT = 600 << 20  # beyond what a worker had resident
CPU_SECONDS = 10  # of one mutant
SILENCE = 120  # seconds after which a worker that says nothing is taken to hang
OUTCOMES = ("refused", "right", "other answer", "wrong", "crashed", "hung", "over memory")
FAILURES = OUTCOMES[3:]
REPLAYED = 3000  # steps: what a longer run makes of a question is up to its file, and no fault


# ---- the files


def walk(x: int, rng: random.Random) -> int:
    return x + (1 if rng.random() < 0.5 else -1)


def relax(x: Any, rng: np.random.Generator, rate: float) -> Any:
    return x * rate + rng.standard_normal(8)


def grow(x: list[int], rng: random.Random) -> list[int]:
    return [*x[-5:], x[-1] * 3 + rng.randrange(10)]


@dataclass
class Town:
    name: str = "Zürich"
    people: list[float] = field(default_factory=lambda: [0.0, 1.0])
    mood: tuple[int, bool] = (0, True)
    news: dict[str, Any] = field(default_factory=lambda: {"title": "", "raw": b"\0", "at": None})


def live(town: Town, rng: random.Random) -> Town:
    people = [p + rng.randrange(8) / 8 for p in town.people]
    return Town(
        town.name, people, (town.mood[0] + 1, rng.random() < 0.5), {**town.news, "title": "day" * rng.randrange(4)}
    )


def write(words: Any, rng: random.Random) -> Any:
    words["latest"] = "".join(rng.choice("aé漢😀 ") for _ in range(rng.randrange(12)))
    words["names"] = np.roll(words["names"], 1)
    return words


@dataclass(frozen=True)
class Base:
    """A file to start from: its bytes, its parts, and what it answers."""

    data: bytes
    ask: Callable[[str, bool], str]
    arrays: dict[str, np.ndarray]
    meta: dict[str, Any] | None
    ranges: list[tuple[int, int]]
    guarded: bool = True  # by a seal or a content hash
    journal: bool = False


def bases() -> dict[str, Base]:
    walked = rewind.record(walk, 0, 400, 7, block_size=20, observe={"x": None})
    branch = rewind.record(walk, 0, 90, 3, block_size=16).branch(21, lambda x: x + 100, noise="same")
    twin = rewind.record(relax, np.zeros(8), 60, 3, params={"rate": 0.5}, backend="numpy", block_size=9)
    runs: dict[str, tuple[Any, Any]] = {
        "int walk": (walk, walked),
        "int walk, 1.8": (walk, walked),
        "dataclass": (live, rewind.record(live, Town(), 60, 2, block_size=8)),
        "float64[8], metrics": (
            relax,
            rewind.record(
                relax,
                np.zeros(8),
                120,
                5,
                params={"rate": 0.9},
                backend="numpy",
                observe={"x": None, "mean": lambda x: float(x.mean())},
            ),
        ),
        "pickled": (grow, rewind.record(grow, [1, 2], 90, 4, block_size=10)),
        "branch, same noise": (walk, branch),
        "branch, numpy": (relax, twin.branch(13, lambda x: x + 1.0, noise="same")),
        "branch, lead": (live, rewind.record(live, Town(), 50, 1).branch(12, noise="same")),
        "text columns": (
            write,
            rewind.record(write, {"latest": "", "names": np.array(["aé", "漢", ""])}, 50, 6, block_size=7),
        ),
    }
    found = {}
    for name, (step, run) in runs.items():
        data = replay_file.to_bytes(run._recording, compat="1.8" if name.endswith("1.8") else None)
        found[name] = Base(data, _asker(step), *parts_of(data), checked_ranges(data))
    for name, (step, options) in {
        "journal: int walk": (
            walk,
            {"init_state": 0, "block_size": 20, "observe": {"x": None, "v": lambda x: [x, 1.0]}},
        ),
        "journal: dataclass": (live, {"init_state": Town(), "block_size": 8}),
        "journal: pickled": (grow, {"init_state": [1, 2], "block_size": 10}),
    }.items():
        data, states = _journal(step, **options)
        found[name] = Base(data, _prefix_asker(step, states), {}, None, [], journal=True)
    for name, data in samples().items():
        arrays, sealed = reader.read(data).arrays, data.startswith(b"{")
        found[f"container: {name}"] = Base(data, _read, arrays, None, checked_ranges(data), sealed)
    return found


def _journal(step: Any, **options: Any) -> tuple[bytes, list[bytes]]:
    """Return the bytes of the journal of a recording that stopped, and the digests of its states."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "grown.replay")
        recorder = rewind.Recorder(step, seed=7, path=path, durability="none", **options).advance(75)
        recorder.close()
        return Path(f"{path}.journal").read_bytes(), [digest(state) for state in recorder.run]


def _prefix_asker(step: Any, states: list[bytes]) -> Callable[[str, bool], str]:
    ask_all = _asker(step)

    def ask(path: str, trusted: bool) -> str:
        """Return "right" for a journal that holds the first of `states` and nothing else."""
        answer = ask_all(path, trusted)
        run = rewind.load(path, step, allow_pickle=trusted)
        if len(run) > len(states):
            return answer
        return "right" if [digest(state) for state in run] == states[: len(run)] else answer

    return ask


def _asker(step: Any) -> Callable[[str, bool], str]:
    def ask(path: str, trusted: bool) -> str:
        """Return a digest of the states in a file, after asking all else of it that needs no faith in it."""
        said = verbs.info(argparse.Namespace(file=path, reader="strict", key=None), None)  # type: ignore[arg-type]
        json_text(said.facts), printable(said.text)
        run = rewind.load(path, step, allow_pickle=trusted)
        repr(run), run.metadata(), run.content_hash()
        json_text({name: vars(run.observed[name]) for name in run.observed})
        n, recording = len(run), run._recording
        near = [*range(0, n, 7), n - 1] if n <= REPLAYED else [0, 1, n // 2, n - 1]
        states = b"".join(digest(run.get(t)) for t in near if _distance(recording, t) <= REPLAYED)
        return hashlib.blake2b(states + repr(n).encode(), digest_size=8).hexdigest()

    return ask


def _distance(recording: Recording, t: int) -> int:
    """Return the number of steps from the stored state before step `t` to it."""
    grid = recording.grid
    first = grid.block_of(t) // recording.stride * recording.stride
    return t - grid.start(first) + (0 if first else recording.origin.lead)


def _read(path: str, trusted: bool) -> str:
    hash_ = hashlib.blake2b(digest_size=8)
    container = reader.read(Path(path).read_bytes(), path=path)
    for name, array in container.arrays.items():
        hash_.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return hash_.hexdigest()


# ---- one mutant


def mutant(files: dict[str, Base], seed: int, i: int) -> tuple[str, str, bytes]:
    """Return the name of the file it comes from, what was done to it, and the mutant."""
    rng = random.Random(f"{seed}/{i}")
    name = rng.choice(list(files))
    base = files[name]
    how = rng.choice(("damaged", "damaged", "damaged, sealed again", "structure edited", "structure edited", "retold"))
    if base.journal:
        other = files[rng.choice([n for n in files if files[n].journal])].data
        if how != "damaged":
            return name, "frames edited", rechained(base.data, rng, other)
        return name, "journal damaged", damaged(base.data, rng, other)
    if how == "structure edited":
        return name, how, edited(base.data, base.ranges, rng)
    if how == "retold" and base.meta is not None:
        for _ in range(20):  # some changes are none that h5py can write
            with contextlib.suppress(ValueError, TypeError, OverflowError, RecursionError):
                return name, how, retold(base.arrays, base.meta, rng)
    data = damaged(base.data, rng, files[rng.choice(list(files))].data)
    if how == "damaged, sealed again":
        return name, how, resealed(data)
    return name, "damaged", data


def outcome(base: Base, how: str, data: bytes, right: str, path: str) -> str:
    """Return what a mutant came to: one of `OUTCOMES`, with what happened where that is a failure."""
    path = f"{path}.of.journal" if base.journal else path
    with open(path, "wb") as file:
        file.write(data)
    try:
        # A pickle of one's own making may do anything, and is not what is tried here.
        answer = base.ask(path, how not in ("retold", "frames edited"))
    except rewind.RewindError as error:
        return "over memory" if "fit in memory" in str(error) else "refused"
    except MemoryError:
        return "over memory"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"crashed {type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        return " ".join(said.split())
    if answer == right:
        return "right"
    return "wrong" if how in ("damaged", "journal damaged") and base.guarded else "other answer"


def work(seed: int, start: int, stop: int, stride: int, keep: Path) -> None:
    """Try mutants `start`, ``start + stride``, ... and say what came of each, a line before and a line after."""
    warnings.simplefilter("ignore")
    files = bases()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "mutant.replay")
        right = {}
        untouched = {base.data for base in files.values()}  # a splice may well be the other file
        for name, base in files.items():
            there = f"{path}.of.journal" if base.journal else path
            Path(there).write_bytes(base.data)
            right[name] = base.ask(there, True)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
        peak = _peak() + RESIDENT
        for i in range(start, stop, stride):
            name, how, data = mutant(files, seed, i)
            print(f"{i}\t{name}\t{how}", flush=True)
            keep.joinpath(f"now-{start % stride}").write_bytes(data)
            seconds = resource.getrusage(resource.RUSAGE_SELF)
            limit = int(seconds.ru_utime + seconds.ru_stime) + 1 + CPU_SECONDS
            resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
            result = "not changed" if data in untouched else outcome(files[name], how, data, right[name], path)
            if _peak() > peak:
                result, peak = "over memory", _peak() + (100 << 20)
            if result.startswith(FAILURES):
                keep.joinpath(f"{seed}-{i}.replay").write_bytes(data)
            print(f"{i}\t{name}\t{how}\t{result}", flush=True)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# ---- all of them


def results(seed: int, n: int, worker: int, n_workers: int, keep: Path) -> Iterator[tuple[str, str, str]]:
    """Yield what came of the mutants of one worker, which is started again where one ends it."""
    i = worker
    while i < n:
        argv = [sys.executable, __file__, "--work", *map(str, (seed, i, n, n_workers)), "--keep", str(keep)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        last: list[str] = []
        ended = ""
        while not ended:
            if not select.select([process.stdout], [], [], SILENCE)[0]:
                process.kill()
                ended = "hung"
            elif line := process.stdout.readline():
                last = line.rstrip("\n").split("\t")
                i = int(last[0])
                if len(last) == 4:
                    yield last[1], last[2], last[3]
            else:
                ended = "crashed"
        code = process.wait()
        process.stdout.close()
        if len(last) == 3:
            keep.joinpath(f"now-{worker}").rename(keep / f"{seed}-{i}.replay")
            yield last[1], last[2], "hung" if code == -signal.SIGXCPU or ended == "hung" else f"crashed with {code}"
        elif code or not last:
            raise RuntimeError(f"a worker failed before it tried anything (exit code {code})")
        i += n_workers


def main(argv: list[str] | None = None) -> int:
    """Run the fuzzer as the command line says, print the table, and return 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-n", type=int, default=100_000, help="mutants in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=None, help="folder of the mutants that failed")
    parser.add_argument(
        "--work", type=int, nargs=4, metavar=("SEED", "START", "STOP", "STRIDE"), help=argparse.SUPPRESS
    )
    options = parser.parse_args(argv)
    if options.work:
        work(*options.work, options.keep)
        return 0
    keep = options.keep or Path(tempfile.mkdtemp(prefix="fuzz-files-"))
    keep.mkdir(parents=True, exist_ok=True)
    counts: collections.Counter[tuple[str, str, str]] = collections.Counter()
    failures: list[str] = []
    streams = [results(options.seed, options.n, w, options.workers, keep) for w in range(options.workers)]
    while streams:
        for stream in list(streams):
            found = next(stream, None)
            if found is None:
                streams.remove(stream)
                continue
            name, how, result = found
            if result.startswith(FAILURES):
                failures.append(f"{result} | {how} | {name}")
                print(failures[-1], file=sys.stderr, flush=True)
                result = next(outcome for outcome in FAILURES if result.startswith(outcome))
            counts[name, how, result] += 1
    _print_table(counts)
    print(f"{sum(counts.values()):,} mutants with seed {options.seed}: {len(failures)} failures, kept in {keep}")
    for leftover in keep.glob("now-*"):
        leftover.unlink()
    return 1 if failures else 0


def _print_table(counts: collections.Counter[tuple[str, str, str]]) -> None:
    columns = [*OUTCOMES, "not changed"]
    rows = {(how, name) for name, how, _ in counts}
    rows |= {(how, "all") for how, _ in rows} | {("all", "all")}
    print(f"{'mutants':24}{'of':24}" + "".join(f"{column:>14}" for column in columns))
    for how, name in sorted(rows, key=lambda row: (row[0] == "all", row[0], row[1] == "all", row[1])):
        cells = [
            sum(c for (n, h, r), c in counts.items() if r == column and name in (n, "all") and how in (h, "all"))
            for column in columns
        ]
        print(f"{how:24}{name:24}" + "".join(f"{cell:14,}" for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
