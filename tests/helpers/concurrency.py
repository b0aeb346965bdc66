"""Runs of each kind with all that is known of them from a plain loop, and what several threads ask of them."""

from __future__ import annotations

import pickle
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from helpers.plain import bytes_of, loop

import rewind
from rewind.state.digest import digest

N, BLOCK, SEED = 150, 13, 5

THREADS = 6

#: Seconds after which something hangs: no test takes a hundredth of it.
GUARD = 60


@dataclass
class Walker:
    x: float = 0.0
    trail: list[float] = field(default_factory=lambda: [0.0, 0.0])


def walk(x, rng):
    return x + (1 if rng.random() < 0.5 else -1)


def wander(w, rng):
    w.x += rng.gauss(0.0, 1.0)  # every second normal is held back by the generator
    w.trail = [w.x, w.trail[0]]
    return w


def replaced(w, rng):
    return Walker(w.x * 0.9 + rng.random(), [w.x, 1.0])


def relax(x, rng):
    return 0.9 * x + rng.standard_normal() + int(rng.integers(5, dtype=np.uint32))


def kick(x, rng):
    x *= 0.5
    x += rng.standard_normal(4)
    return x


def own_array():
    """A step that returns its own array, always the same: two threads must not be in it at once."""
    buffer = np.zeros(3)

    def step(x, rng):
        np.add(x, rng.random(), out=buffer)
        buffer[0] += 1.0
        return buffer

    return step


#: What makes a step, its state 0, the backend and the metric of a state, by name.
KINDS: dict[str, tuple[Callable[[], Any], Any, str, Callable[[Any], float] | None]] = {
    "int": (lambda: walk, 0, "python", None),
    "dataclass": (lambda: replaced, Walker(), "python", lambda w: w.x),
    "dataclass in place": (lambda: wander, Walker(), "python", lambda w: w.x),
    "float": (lambda: relax, 0.0, "numpy", None),
    "array in place": (lambda: kick, np.zeros(4), "numpy", lambda x: float(x[1])),
    "own array": (own_array, np.zeros(3), "numpy", lambda x: float(x[2])),
}


class Case:
    """A run, and all that is known of it from a plain loop."""

    def __init__(self, step: Any, plain: Any, init: Any, backend: str, metric: Any, **more: Any) -> None:
        self.step, self.metric = step, metric
        options = {"seed": SEED, "block_size": BLOCK, "backend": backend, **more}
        self.run = rewind.record(step, pickle.loads(pickle.dumps(init)), N, **options)
        states = loop(plain, pickle.loads(pickle.dumps(init)), N, SEED, BLOCK, backend)
        self.truth = bytes_of(states)
        self.values = np.array([state if metric is None else metric(state) for state in states], np.float64)
        self.mean = float(sum(map(Fraction, self.values.tolist())) / N)
        self.hash = self.run.content_hash()

    def limit(self, t: int) -> Callable[[Any], bool]:
        """Return a predicate that holds at step `t`, and where the value is the same."""
        value, metric = float(self.values[t]), self.metric
        return lambda state: float(state if metric is None else metric(state)) == value

    def ask(self, name: str, rng: random.Random) -> None:
        """Ask one question and compare the answer."""
        run, truth, t = self.run, self.truth, rng.randrange(N)
        if name == "get":
            assert digest(run.get(t)) == truth[t]
        elif name == "next":
            for i in range(t, min(t + 2 * BLOCK, N)):
                assert digest(run.get(i)) == truth[i]
        elif name == "back":
            for i in range(t, max(t - 2 * BLOCK, -1), -1):
                assert digest(run.get(i)) == truth[i]
        elif name == "slice":
            steps = slice(t, None, rng.choice([1, 3, 20]))
            assert bytes_of(run[steps]) == truth[steps]
            assert bytes_of(run[t : t - 20 if t > 20 else None : -3]) == truth[t : t - 20 if t > 20 else None : -3]
        elif name == "iterate":
            assert bytes_of(run.iter(t)) == truth[t:]
        elif name == "stats":
            stats = run.stats(self.metric)
            assert (stats.count, stats.min, stats.max) == (N, self.values.min(), self.values.max())
            assert stats.mean == self.mean
        elif name == "series":
            assert run.series(self.metric, t).astype(np.float64).tobytes() == self.values[t:].tobytes()
        elif name == "first":
            same = np.flatnonzero(self.values == self.values[t])
            assert (run.first(self.limit(t)), run.last(self.limit(t))) == (same[0], same[-1])
        elif name == "verify":
            assert run.verify(full=True)
        elif name == "branch":
            fork = run.branch(t, noise="same")
            assert bytes_of(fork) == truth[t:]
        elif name == "hash":
            assert run.content_hash() == self.hash
        elif name == "walk about":
            cursor = run.at(t)
            assert digest(cursor.state) == truth[t] and cursor.rng_state
        else:
            raise AssertionError(name)


QUESTIONS = [
    "get",
    "next",
    "back",
    "slice",
    "iterate",
    "stats",
    "series",
    "first",
    "verify",
    "branch",
    "hash",
    "walk about",
]


def at_once(n: int, work: Callable[[int], None]) -> None:
    """Do ``work(i)`` in `n` threads that begin together, and raise what any of them raised."""
    start = threading.Barrier(n)

    def begin(i: int) -> None:
        start.wait(GUARD)
        work(i)

    with ThreadPoolExecutor(n) as pool:
        for future in [pool.submit(begin, i) for i in range(n)]:
            future.result(GUARD)
