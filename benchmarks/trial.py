"""The trial at the start of a recording takes less than a hundredth of a million steps, and a second of slow ones.

A part so small is lost between two recordings, whose times differ by more. So the trial is timed inside one recording,
and compared with another that makes none, right after it. Of steps of 100 ms it is counted how many more there are.
"""

import statistics
import time
from unittest import mock

import numpy as np

import rewind
from rewind.engine.trial import Trial

from .measure import Claim, Figure, duration, seconds
from .steps import walk

_WITHOUT = "the same recording with trial=False"

CLAIMS = (
    Claim("walk", "trial: Python step, int walk", 1.0, _WITHOUT, unit="%"),
    Claim("array", "  array of 64", 1.0, _WITHOUT, unit="%"),
    Claim("object", "  objects that are pickled, tried at blocks 1, 2, 4, 8 ... too", 1.0, _WITHOUT, unit="%"),
    Claim("codec", "  objects with a codec, tried there, too", 1.0, _WITHOUT, unit="%"),
    Claim("slow", "  steps of 100 ms: how much longer it takes", 1.0, _WITHOUT, unit="s"),
)


class Swing:
    """An object that is pickled: it may refer to anything."""

    def __init__(self):
        self.x, self.velocity, self.parts = 0.0, 0.0, [1.0, 2.0, 3.0]


def swing(one, rng):
    """Go on by one step, in place."""
    one.velocity += rng.random() - 0.5 - 0.01 * one.x
    one.x += one.velocity
    return one


def _decoded(tree):
    one = Swing()
    one.x, one.velocity = tree
    return one


def _add_noise(x, rng):
    return x + rng.normal(size=64)


KINDS = {
    "walk": (walk, lambda: 0, {}),
    "array": (_add_noise, lambda: np.zeros(64), {"backend": "numpy"}),
    "object": (swing, Swing, {}),
    "codec": (swing, Swing, {"codec": (lambda one: [one.x, one.velocity], _decoded)}),
}


def trial_seconds(record):
    """Return the CPU seconds that ``record()`` spends in its trial."""
    spent = [0.0]

    def timed(method):
        def call(*arguments):
            began = time.thread_time()
            try:
                return method(*arguments)
            finally:
                spent[0] += time.thread_time() - began

        return call

    with mock.patch.multiple(Trial, begin=timed(Trial.begin), again=timed(Trial.again)):  # what comes to a few calls
        record()
    return spent[0]


def slow_seconds():
    """Return how many seconds of steps of 100 ms a recording takes more than it has."""
    now, calls = [0.0], [0]

    def slow(x, rng):
        now[0], calls[0] = now[0] + 0.1, calls[0] + 1
        return x + rng.random()

    with mock.patch("rewind.runs.trial.time.perf_counter", lambda: now[0]):
        rewind.record(slow, 0.0, 1000, 1)
    return 0.1 * (calls[0] - 999)


def measure(options):
    """Return the figures by key."""
    figures = {}
    for name, (step, make, given) in KINDS.items():
        n, shares, both = options.steps, [], []
        for _ in range(options.rounds):
            trial = trial_seconds(lambda: rewind.record(step, make(), n, 1, **given))  # noqa: B023
            whole = seconds(lambda: rewind.record(step, make(), n, 1, trial=False, **given))  # noqa: B023
            shares.append(100 * trial / whole)
            both.append((trial, whole))
        trial, whole = (statistics.median(column) for column in zip(*both, strict=True))
        figures[name] = Figure(statistics.median(shares), f"{duration(trial)} of {duration(whole)}")
    figures["slow"] = Figure(slow_seconds(), "counted, of 1,000 steps")
    return figures
