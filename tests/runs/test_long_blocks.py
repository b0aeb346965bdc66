"""Blocks that take hours: where a signal or a kill ends a recording inside one, and that it goes on to the very bytes.

The clock is one of ours: each look at it is so many seconds later, so that steps take as long as a test likes.
"""

from __future__ import annotations

import os
import signal
import warnings
from dataclasses import dataclass, field

import numpy as np
import pytest
from helpers.native_steps import built, library  # noqa: F401
from helpers.plain import bytes_of, loop

import rewind
from rewind.runs import execute

N, B, SEED = 100, 40, 7


class Clock:
    """A clock that goes on by `tick` seconds at each look; at some looks a signal comes, or the program is gone."""

    def __init__(self, tick=20.0, **at):
        self.now, self.tick, self.looks, self.left = 0.0, tick, 0, 0
        self.at = {int(look.removeprefix("look")): what for look, what in at.items()}

    def __call__(self):
        self.looks += 1
        self.now += self.tick
        what = self.at.get(self.looks)
        if isinstance(what, int):
            signal.raise_signal(what)
        elif what is not None:
            what()
        return self.now


@pytest.fixture
def clock(monkeypatch):
    def patch(tick=20.0, **at):
        one = Clock(tick, **at)
        monkeypatch.setattr(execute, "clock", one)
        return one

    return patch


class Gone(BaseException):
    """A kill: what is on disk now is what there will be."""


def beside(path):
    return f"{path}.journal"


# ---- steps and states of each kind


@dataclass
class Town:
    """A state that is pickled: it holds an object of no known kind."""

    x: float = 0.0
    seen: dict = field(default_factory=dict)
    other: object = field(default_factory=lambda: Other(0))


class Other:
    def __init__(self, n):
        self.n = n


def walk(x, rng):
    return x + rng.gauss(0.0, 1.0) + rng.random()


def town(state, rng):
    state.x += rng.gauss(0.0, 1.0)
    state.seen[f"k{rng.randrange(5)}"] = state.x
    state.other.n += 1
    return state


def field_(state, rng):
    state["v"] += rng.standard_normal(3)
    state["n"] = int(rng.integers(9, dtype=np.int32))
    return state


def lead(x, rng, rate, words):
    return x * rate + rng.random() + len(words)


KINDS = {
    "a number": (walk, lambda: 0.0, {}),
    "a pickle": (town, Town, {}),
    "columns": (field_, lambda: {"v": np.zeros(3), "n": 0}, {"backend": "numpy"}),
    "parameters": (lead, lambda: 1.0, {"params": {"rate": 0.5, "words": ["a", "b"]}}),
}
OBSERVE = {
    "a number": {"x": None, "pair": lambda x: [x, -x]},
    "a pickle": {"x": "x", "n": lambda state: state.other.n},
    "columns": {"v": "v", "n": "n"},
    "parameters": {"x": None},
}


def plan_of(kind, observed, **more):
    step, init, options = KINDS[kind]
    return step, init, {"block_size": B, **options, **({"observe": OBSERVE[kind]} if observed else {}), **more}


def whole(path, kind, observed, n=N, **more):
    step, init, options = plan_of(kind, observed, **more)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rewind.RewindWarning)
        rewind.record(step, init(), n, SEED, path=path, **options)
    return path.read_bytes()


def resume(path, kind, observed, **more):
    step, _, options = plan_of(kind, observed)
    return rewind.resume(path, step, observe=options.get("observe"), allow_pickle=kind == "a pickle", **more)


# ---- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_a_recording_at_the_step_under_way(number, clock, tmp_path):
    path, clock, calls, sent = tmp_path / "run.replay", clock(), [], []

    def step(x, rng):
        calls.append(x)
        if len(calls) == 57 and not sent:
            sent.append(number)
            os.kill(os.getpid(), number)
        return walk(x, rng)

    with pytest.raises(rewind.RecordingInterrupted) as caught:
        rewind.record(step, 0.0, N, SEED, path=path, block_size=B, on_signal="checkpoint")
    assert (caught.value.t, len(calls), len(caught.value.run)) == (57, 57, 58)
    states = bytes_of(loop(walk, 0.0, N, SEED, B))
    assert bytes_of(list(rewind.load(path, step))) == states[:58]
    assert rewind.load(path).content_hash() == caught.value.run.content_hash()
    del calls[:]
    run = rewind.resume(path, step)
    # No step is made again but those that show that the step is the one it was: the first after the checkpoint.
    assert len(calls) <= N - 58 + 2
    assert bytes_of(list(run)) == states


@pytest.mark.parametrize("look", [3, 8, 79, 80, 81, 90, 130, 177, 200])
@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_ended_by_a_signal_anywhere_goes_on_to_the_very_bytes(kind, observed, look, clock, tmp_path):
    path = tmp_path / "run.replay"
    expected = whole(tmp_path / "whole.replay", kind, observed)
    clock(**{f"look{look}": signal.SIGINT})
    step, init, options = plan_of(kind, observed)
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        rewind.record(step, init(), N, SEED, path=path, **options)
    clock(look40=signal.SIGINT)
    t = caught.value.t
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        resume(path, kind, observed)
    assert caught.value.t > t
    clock()
    run = resume(path, kind, observed)
    assert path.read_bytes() == expected and not os.path.exists(beside(path))
    assert run.complete and run.verify(full=True)
