"""Recordings that are ended inside long blocks: ``python tests/stress/long_blocks.py [--trials 300] [--seed 1]``.

A recording is a fork of this process with a clock of its own, by which a step takes many seconds, and a block much
longer than it is from one end to the next. It is ended by SIGKILL (between two steps, in a step, with a write done by
half) or by a signal that it knows, and gone on with by another one until it is done: by `record(resume=True)` or a
`Recorder`. After each end no more is lost than a minute of that clock; in the end the run has the content hash of one
that nobody ended. What is wrong is counted, and makes the exit status 1.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import itertools
import os
import random
import signal
import struct
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "runs"))

from test_long_blocks import KINDS, OBSERVE

import rewind
from rewind.engine import sweep
from rewind.engine.pace import KEEP
from rewind.runs import execute, recorder, resume

N, B, SEED = 240, 110, 7
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
FACT = struct.Struct("<qd")
STEP, END, CHECKED, TICK = range(4)
LOOKS = 8  # at the clock, from one step to the next


class Clock:
    """Goes on by `tick` seconds at each look, and calls `at` at one of them."""

    def __init__(self, tick: float, look: int, at: Any) -> None:
        self.now, self.tick, self.left, self.at = 0.0, tick, look, at

    def __call__(self) -> float:
        self.now += self.tick
        self.left -= 1
        if not self.left:
            self.at()
        return self.now


def record(case: tuple[str, bool, int], path: str, told: int, rng: random.Random, how: str) -> None:
    """Record, or go on, in this process, which is ended on the way; each step is told of with the time it began."""
    (kind, observed, stride), t = case, [0]
    step, init, options = KINDS[kind]
    tick, look = rng.choice([3.0, 9.0, 25.0, 50.0]), rng.randrange(5, 220)

    def end() -> None:
        os.write(told, FACT.pack(END, clock.now))
        if how == "signal":
            os.kill(os.getpid(), rng.choice(SIGNALS))
        elif how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "step":
            t[0] = -1
        else:
            real = os.write

            def half(fd: int, data: Any) -> int:
                if fd != told:
                    real(fd, data[: len(data) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(fd, data)

            os.write = half

    def watched(state: Any, rng: Any, **params: Any) -> Any:
        if t[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(told, FACT.pack(STEP, clock.now))
        return step(state, rng, **params)

    clock = Clock(tick, look, end)
    execute.clock = clock  # type: ignore[assignment]
    os.write(told, FACT.pack(TICK, tick))
    for module in (sweep, resume, recorder):
        real = module.checked_row

        def checked(*args: Any, real: Any = real) -> Any:
            row = real(*args)
            os.write(told, FACT.pack(CHECKED, clock.now))
            return row

        module.checked_row = checked  # type: ignore[attr-defined]
    watched.__qualname__, watched.__module__ = step.__qualname__, step.__module__
    more = {"path": path, "on_signal": "checkpoint", "observe": OBSERVE[kind] if observed else None}
    if stride == 1:
        call = {"resume": True, "allow_pickle": True, "block_size": B, "trial": False, **options, **more}
        rewind.record(watched, init(), N, SEED, **call)
        return
    try:
        kept = {"allow_pickle": True, **more}
        del kept["path"]
        it = rewind.Recorder.resume(path, watched, **kept)
    except FileNotFoundError:
        it = rewind.Recorder(watched, init(), SEED, block_size=3, trial=False, **options, **more)
    with it:
        while it.t < N - 1:
            it.advance(min(17, N - 1 - it.t))


def ended(case: tuple[str, bool, int], path: str, rng: random.Random) -> tuple[str, bool, list[tuple[int, float]]]:
    """Fork a recording; return how it was ended, whether it was done, and what it told."""
    how, seed = rng.choice(["signal", "kill", "step", "write"]), rng.random()
    mine, its = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        os.close(mine)
        with contextlib.suppress(BaseException), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                record(case, path, its, random.Random(seed), how)
                code = 0
            except KeyboardInterrupt:  # one in the last block is sent again when the file is there
                code = 3
            except BaseException as error:
                sys.stderr.write(f"{case} {how}: {type(error).__name__}: {error}\n")
        os._exit(code)
    os.close(its)
    with os.fdopen(mine, "rb") as pipe:
        data = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 1:
        raise AssertionError(f"{case} ended by {how}: it failed")
    facts = [FACT.unpack_from(data, at) for at in range(0, len(data) - FACT.size + 1, FACT.size)]
    return how, os.path.exists(path), facts


def n_kept(path: str) -> int:
    """Return how many states there are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return len(rewind.load(path, allow_pickle=True))
        except FileNotFoundError:
            return 0


def lost(before: int, after: int, facts: list[tuple[int, float]]) -> float:
    """Return how many seconds more than a minute, and than the step under way, the steps took that are not there."""
    (tick,) = (now for what, now in facts if what == TICK)
    checked = max((i for i, (what, _) in enumerate(facts) if what == CHECKED), default=0 if before < 2 else len(facts))
    made = [now for what, now in facts[checked:] if what == STEP]  # those before it showed that the step is the same
    late = max(1, before) + len(made) - after
    if late <= 0:
        return 0.0
    return max(now for what, now in facts if what != TICK) - made[-late] - KEEP - LOOKS * tick


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng, wrong, n = random.Random(args.seed), 0, 0
    kinds, files = collections.Counter[str](), 0
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        for case in itertools.cycle(itertools.product(KINDS, [False, True], [1, 2])):
            if n >= args.trials:
                break
            path, reference = os.path.join(folder, "run.replay"), os.path.join(folder, "whole.replay")
            step, init, options = KINDS[case[0]]
            observe = OBSERVE[case[0]] if case[1] else None
            if case[2] == 1:
                rewind.record(step, init(), N, SEED, block_size=B, observe=observe, path=reference, **options)
            else:
                more = {"block_size": 3, "observe": observe, **options}
                with rewind.Recorder(step, init(), SEED, path=reference, **more) as it:
                    it.advance(N - 1)
            done, before = False, 0
            while not done:
                how, done, facts = ended(case, path, rng)
                after = N if done else n_kept(path)
                if after < before:
                    wrong += 1
                    print(f"{case} ended by {how}: {before} states were there, and now {after}")
                seconds = 0.0 if done else lost(before, after, facts)
                if seconds > 0:
                    wrong += 1
                    print(f"{case} ended by {how}: {seconds:.0f} s of steps are lost beyond a minute")
                before, n, kinds[how] = after, n + (not done), kinds[how] + (not done)
            files += 1
            hashes = {rewind.load(file, allow_pickle=True).content_hash() for file in (path, reference)}
            if len(hashes) > 1:
                wrong += 1
                print(f"{case}: another run than one which was not ended")
            for file in (path, reference):
                os.unlink(file)
    by = ", ".join(f"{count} by {how}" for how, count in sorted(kinds.items()))
    print(f"{n} ends ({by}) of {files} recordings; {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
