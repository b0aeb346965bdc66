"""A search with a predicate is as fast as a plain loop; one with text replays the one block that its table points at.

The run's first NaN comes late, and the searches end there. ``run.first(lambda s: isnan(s.value))`` looks at all states
before it; ``run.first("isnan(value)")`` skips the blocks in which the metric, observed while the run was recorded, gave
no NaN. Steps are counted in a run of the same step that counts its calls.
"""

import math
import random

import rewind

from .measure import Claim, Figure, against, duration
from .steps import State, fragile, late_nan

CLAIMS = (
    Claim("predicate", "run.first(predicate)", 1.0, "a loop that runs the step and asks the predicate, random.Random"),
    Claim("text", 'run.first("isnan(value)")', 0.02, "run.first(predicate)"),
    Claim("blocks", "  blocks replayed", 1.0, "one block, in calls of the step", "blocks"),
)


def is_nan(state):
    """Return whether a state of `fragile` went wrong."""
    return math.isnan(state.value)


class Counted:
    """The step, which counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, state: State, rng: random.Random) -> State:
        self.calls += 1
        return fragile(state, rng)


def counted(run):
    """Return a step that counts, and a run like `run` with it."""
    step = Counted()
    same = rewind.record(step, State(0.0), run.n_steps, run.seed, observe={"value": "value"})
    step.calls = 0
    return step, same


def measure(options):
    """Return the figures by key."""
    run, late = late_nan(options.steps)
    bad = late if late < run.n_steps else None

    def loop():
        state, rng, found = State(0.0), random.Random(1), None
        for t in range(late):
            if is_nan(state):
                found = t
            state = fragile(state, rng)
        return found

    def predicate():
        assert run.first(is_nan) == bad

    def text():
        assert run.first("isnan(value)") == bad

    scans = against({"loop": loop, "predicate": predicate}, options.rounds)
    pruned = against({"predicate": predicate, "text": text}, options.rounds)["text"]
    a_step, alone = (duration(scans[key].seconds / late) for key in ("predicate", "loop"))
    step, same = counted(run)
    assert same.first("isnan(value)") == bad
    calls = step.calls
    return {
        "predicate": Figure(
            scans["predicate"].ratio, f"{a_step} a step, the loop {alone}; the NaN is at step {late:,}"
        ),
        "text": Figure(
            pruned.ratio, f"{duration(pruned.seconds)}, with the predicate {duration(scans['predicate'].seconds)}"
        ),
        "blocks": Figure(calls / run.block_size, f"{calls:,} steps of {late:,}"),
    }
