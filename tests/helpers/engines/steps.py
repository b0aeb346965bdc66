"""Steps, metrics and runs for tests/runs/test_executors.py and its scripts, in a module that workers can import."""

from __future__ import annotations

import os
import pathlib
import signal
import struct
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

import rewind

#: The process that this was imported in first; a worker that is forked has another id, and one that is spawned, too.
HOME = os.environ.setdefault("REWIND_TESTS_HOME", str(os.getpid()))


def away() -> bool:
    """Whether this is a worker."""
    return str(os.getpid()) != HOME


# ---- steps and what is asked of their states


def walk(x, rng):
    return x + (1 if rng.random() < 0.5 else -1)


def drift(x, rng, pull):
    return x * pull + rng.random() - 0.5


@dataclass
class Agent:
    x: float
    n: int


def move(agent, rng):
    return Agent(agent.x + rng.gauss(0.0, 1.0), agent.n + 1)


def kick(x, rng):
    x *= 0.5
    x += rng.random(x.shape)
    return x


class Odd:
    """No layout holds it: it is kept as a pickle."""

    def __init__(self, x: float) -> None:
        self.x, self.seen = x, {1, 2}


def odd(o, rng):
    assert isinstance(o, Odd)
    o.x += rng.random() - 0.5
    return o


def count(x, rng):
    """Its states tell the step: ``x[0]`` is `t`."""
    x[0] += 1.0
    x[1] = rng.random()
    return x


def number(state: Any) -> float:
    """A number for every state."""
    return float(state.x if isinstance(state, (Agent, Odd)) else np.sum(state))


def two(state: Any) -> Any:
    """An array for every state."""
    x = number(state)
    return np.array([x, x * x])


def high(state: Any) -> bool:
    return number(state) > 1.0


def never(state: Any) -> bool:
    return number(state) > 1e9


def runs() -> dict[str, rewind.Run]:
    """A run of every kind of Python step."""
    return {
        "int": rewind.record(walk, 0, 700, 1, block_size=40),
        "float": rewind.record(drift, 0.5, 700, 2, block_size=33, params={"pull": 0.9}).extend(1100),
        "dataclass": rewind.record(move, Agent(0.0, 0), 600, 3, block_size=50),
        "array": rewind.record(kick, np.zeros(4), 900, 4, block_size=60, backend="numpy").branch(133, noise="same"),
        "pickled": rewind.record(odd, Odd(0.0), 500, 5, block_size=40),
    }


def raw(answer: Any) -> Any:
    """Return an answer as what can be compared byte for byte."""
    if isinstance(answer, rewind.Branches):
        return raw(answer.values), answer.seeds, answer.steps
    if isinstance(answer, np.ndarray):
        return (
            str(answer.dtype),
            answer.shape,
            [raw(o) for o in answer.ravel()] if answer.dtype == "O" else bytes(answer),
        )
    if isinstance(answer, (rewind.Stats, dict)):
        return {name: raw(value) for name, value in dict(answer).items()}
    if isinstance(answer, float):
        return answer.hex()
    return vars(answer) if isinstance(answer, Odd) else answer


def answers(run: rewind.Run, f: Any = number, cond: Any = high, vector: Any = two, **how: Any) -> dict[str, Any]:
    """Ask a run everything that workers can answer."""
    asked = {
        "stats": run.stats(f, histogram=[-5.0, 0.0, 0.5, 5.0], max_lag=3, **how),
        "several": run.stats({"one": f, "two": vector}, 7, -3, **how),
        "verify": run.verify(full=True, **how),
        "series": run.series(f, 5, None, 7, **how),
        "states": run.series(None, 0, 100, 9, **how),
        "first": run.first(cond, **how),
        "last": run.last(cond, **how),
        "never": run.first(never, **how),
        "branches": run.branches(200, 5, metric=f, n_steps=90, every=4, **how),
    }
    return {name: raw(answer) for name, answer in asked.items()}


# ---- what goes wrong


class Deadly:
    """A metric that leaves a mark for every block it sees, and kills its worker at step `at`: once, or always."""

    def __init__(self, folder: Any, at: int, always: bool = False, block_size: int = 50) -> None:
        self.folder, self.at, self.always, self.block_size = pathlib.Path(folder), at, always, block_size

    def __call__(self, state: Any) -> float:
        t = int(state[0])
        if t % self.block_size == 0:
            with open(self.folder / f"block-{t // self.block_size}", "a") as file:
                file.write(".")
        if t == self.at and away():
            flag = self.folder / "killed"
            if self.always or not flag.exists():
                flag.touch()
                self.die()
        return float(state[1])

    def die(self) -> None:
        """End this process on the spot."""
        os.kill(os.getpid(), signal.SIGKILL)

    def marks(self) -> dict[int, int]:
        """How often each block was seen."""
        return {int(path.name[6:]): len(path.read_text()) for path in self.folder.glob("block-*")}


class HalfSaid(Deadly):
    """One that kills its worker, of a `ProcessPoolExecutor`, when half an answer is in the pipe."""

    def die(self) -> None:
        frame: Any = sys._getframe()
        while "result_queue" not in frame.f_locals:
            frame = frame.f_back
        os.write(frame.f_locals["result_queue"]._writer.fileno(), struct.pack("!i", 100_000) + b"half of it")
        super().die()


class Fuse:
    """A step, metric or predicate that raises at step `at`, once the file at `path` is there."""

    def __init__(self, path: Any, at: int) -> None:
        self.path, self.at = pathlib.Path(path), at

    def __call__(self, state: Any, rng: Any = None) -> Any:
        if state[0] == self.at and self.path.exists():
            raise ZeroDivisionError(f"no way past {self.at}")
        return float(state[1]) if rng is None else count(state, rng)
