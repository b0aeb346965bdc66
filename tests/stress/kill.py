"""Writers that are killed at random moments: ``python tests/stress/kill.py [--trials 500] [--seed 1]``.

A writer is a fork of this process. It records, goes on with what an earlier one recorded, grows a `Recorder`, or saves
over an old file again and again, and says what is finished. `--trials` SIGKILLs are spread over its life, one in ten
over its first tenth; as many writers as it has file operations are killed in each of them, a write done by half. Then
what is left is loaded and compared with a plain loop, and gone on with, which has to give the file of a run that nobody
interrupted, byte by byte. What is wrong is counted, and makes the exit status 1.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import signal
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.crashes import (
    JOURNAL,
    KINDS,
    TARGET,
    Case,
    Killed,
    Say,
    Wrong,
    begin,
    case_of,
    either,
    every_block,
    examine,
    forked,
    killed_at,
    lay_out,
    reference,
    require_finished,
    require_saved,
    save_in_turn,
    spread,
)

import rewind

Work = Callable[[Case, str, Say], None]


@dataclass
class Row:
    """What came of the kills of one writer."""

    kills: int = 0
    early: int = 0
    blocks: int = 0
    spent: int = 0
    temporary: int = 0
    wrong: collections.Counter[str] = field(default_factory=collections.Counter)
    examples: list[str] = field(default_factory=list)

    def note(self, error: Wrong) -> None:
        self.wrong[error.kind] += 1
        self.examples.append(str(error).splitlines()[-1][:300])


def child(case: Case, folder: str, work: Work, seconds: float | None) -> Killed:
    """Do `work` in a child that is killed after so many seconds."""

    def wait(pid: int) -> None:
        if seconds is not None:
            time.sleep(seconds)
            os.kill(pid, signal.SIGKILL)  # it is not waited for yet, so the number is still its own

    def told(say: Say) -> None:
        with every_block():
            work(case, os.path.join(folder, TARGET), say)

    killed = forked(told, wait)
    if killed.trouble:
        raise Wrong("stuck", killed.trouble)
    return killed


def life(case: Case, work: Work) -> float:
    """Return how many seconds a writer takes that nobody kills."""
    seconds = []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as folder:
            lay_out(case, folder)
            began = time.perf_counter()
            child(case, folder, work, None)
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def moment(seconds: float, rng: random.Random) -> float:
    return rng.uniform(0, seconds / 10) if rng.random() < 0.1 else rng.uniform(0, 1.1 * seconds)


def looked_at(case: Case, folder: str, killed: Killed, row: Row, rng: random.Random) -> None:
    """See what is left of a recorder that was killed."""
    row.kills += not killed.ended
    claimed = max([0, *killed.said])
    row.early += not killed.ended and not claimed
    row.blocks += claimed // case.block_size
    seen = examine(case, folder, claimed, rng, returned=killed.ended)
    row.spent += seen.spent
    row.temporary += seen.n_temporary


def once(case: Case, trials: int, rng: random.Random) -> Row:
    """Kill recorders, each once, and go on with what they leave."""
    row, seconds = Row(), life(case, begin)
    while row.kills < trials:
        with tempfile.TemporaryDirectory() as folder:
            lay_out(case, folder)
            try:
                looked_at(case, folder, child(case, folder, begin, moment(seconds, rng)), row, rng)
                require_finished(case, folder)
            except Wrong as error:
                row.note(error)
    return row


def again(case: Case, trials: int, rng: random.Random) -> Row:
    """Kill a recorder, and all that go on with what it left, until one of them comes to the end."""
    row, seconds = Row(), life(case, begin)
    while row.kills < trials:
        with tempfile.TemporaryDirectory() as folder:
            lay_out(case, folder)
            try:
                ended = False
                while not ended:
                    killed = child(case, folder, either, rng.uniform(0, seconds))
                    looked_at(case, folder, killed, row, rng)
                    ended = killed.ended
                require_finished(case, folder)
            except Wrong as error:
                row.note(error)
    return row


def operations(case: Case, work: Work, rng: random.Random) -> Row:
    """Kill recorders in each of their file operations."""
    row, number, ended = Row(), 0, False
    while not ended:
        number += 1
        with tempfile.TemporaryDirectory() as folder:
            lay_out(case, folder)
            try:
                killed = killed_at(case, folder, number, work)
                ended = killed.ended
                looked_at(case, folder, killed, row, rng)
                require_finished(case, folder)
            except Wrong as error:
                row.note(error)
    return row


def saving(case: Case, trials: int, rng: random.Random) -> Row:
    """Kill writers that save one file after the other over an old one."""
    row, seconds = Row(), life(case, save_in_turn)
    with tempfile.TemporaryDirectory() as folder:
        while row.kills < trials:
            spread(folder, {TARGET: reference(case).old})
            try:
                killed = child(case, folder, save_in_turn, moment(seconds, rng))
                row.kills += not killed.ended
                row.early += not killed.said
                row.temporary += require_saved(case, folder, killed.said)
            except Wrong as error:
                row.note(error)
    return row


def main() -> int:
    """Kill writers as the command line says; return 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500, help="kills at random moments, of all writers together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep-going", action="store_true", help="show all that is wrong, not an example of each")
    options = parser.parse_args()
    warnings.simplefilter("ignore", rewind.RewindWarning)
    rng = random.Random(options.seed)
    timed: list[tuple[str, Callable[[Case, int, random.Random], Row], Case]] = [
        ("record, dataclass and metrics", once, case_of("dataclass").scaled(3)),
        ("record, integers, each second", once, case_of("int walk").scaled(8)),
        ("record, pickles", once, case_of("pickles").scaled(3)),
        ("record, large states", once, case_of("large states").scaled(3)),
        ("resume until it is finished", again, case_of("dataclass").scaled(3)),
        ("resume, without flushing", again, case_of("arrays").scaled(3)),
        ("extend a finished file", once, case_of("extended").scaled(3)),
        ("Recorder, thinned", once, case_of("recorder").scaled(2)),
        ("Recorder, until it is finished", again, case_of("recorder of a walk").scaled(3)),
        ("save over an old file", saving, case_of("extended")),
    ]
    rows = {}
    each = -(-options.trials // len(timed))
    for name, kind, case in timed:
        rows[name] = kind(case, each, rng)
    for name in ("dataclass", "int walk", "pickles", "recorder", "large states", "extended"):
        rows[f"each operation, {name}"] = operations(case_of(name), begin, rng)
    heads = ["kills", "early", "blocks", *KINDS, "spent journals", "temporary files"]
    print(f"{'':32}" + "".join(f"{head:>{max(len(head), 5) + 2}}" for head in heads))
    total: collections.Counter[str] = collections.Counter()
    for name, row in rows.items():
        counts = [row.kills, row.early, row.blocks, *(row.wrong[kind] for kind in KINDS), row.spent, row.temporary]
        total.update(dict(zip(heads, counts, strict=True)))
        print(f"{name:32}" + "".join(f"{n:{max(len(h), 5) + 2},}" for h, n in zip(heads, counts, strict=True)))
    print(f"{'all':32}" + "".join(f"{total[head]:{max(len(head), 5) + 2},}" for head in heads))
    for name, row in rows.items():
        for text in row.examples if options.keep_going else row.examples[:1]:
            print(f"{name}: {text}")
    print(f"early: killed before a block was said to be finished; {JOURNAL} is spent where the file is there beside it")
    return 1 if any(row.wrong for row in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
