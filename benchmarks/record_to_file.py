"""Recording to a file block by block costs what its blocks cost: a write and, unless told otherwise, a flush for each.

Wall time would be the disk's. CPU time of the thread still has what the system does for a flush, so the first row has
no bound. A million steps are a thousand blocks.
"""

import contextlib
import os
import tempfile

import rewind

from .measure import Claim, Figure, against, duration
from .steps import walk

CLAIMS = (
    Claim("block", "record to a file: int walk, flushed at each block", None, "record in memory, and save"),
    Claim("1s", '  durability="1s"', 1.3, "record in memory, and save"),
    Claim("advance", "Recorder.advance(n), int walk", 1.3, "record in memory"),
    Claim("turn", "a turn of `for x in recorder`", 10.0, "a turn of a bare loop is subtracted", "us"),
)


def measure(options):
    """Return the figures by key."""
    n, rounds = options.steps, options.rounds
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "run.replay")

        def kept(durability):
            rewind.record(walk, 0, n, 1, path=path, durability=durability)

        saved = {
            "memory": lambda: rewind.record(walk, 0, n, 1).save(path),
            "block": lambda: kept("block"),
            "1s": lambda: kept("1s"),
        }
        found = against(saved, rounds)

    def turns():
        with contextlib.closing(rewind.Recorder(walk, 0, 1)) as recorder:
            for _, _ in zip(range(n // 10), recorder, strict=False):
                pass

    loops = {
        "memory": lambda: rewind.record(walk, 0, n, 1, block_size=1024),
        "advance": lambda: rewind.Recorder(walk, 0, 1).advance(n - 1),
        "turn": turns,
    }
    open_ended = against(loops, rounds)
    alone = open_ended["memory"].seconds / n
    turn = open_ended["turn"].seconds / (n // 10)
    blocks = found["block"].seconds - found["memory"].seconds
    return {
        "block": Figure(found["block"].ratio, f"{duration(blocks / n**0.5)} of CPU for a block of {n**0.5:,.0f} steps"),
        "1s": Figure(found["1s"].ratio, ""),
        "advance": Figure(open_ended["advance"].ratio, f"record {duration(alone)} a step"),
        "turn": Figure((turn - alone) * 1e6, f"record {duration(alone)} a step"),
    }
