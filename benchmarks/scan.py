"""The README's search for the step where a run went wrong takes no longer than 1.5 times the bare loop up to there.

``next(t for t in range(n) if math.isnan(run.get(t).value))``, with a NaN that comes late.
"""

import math
import random

import rewind

from .measure import Claim, Figure, against, duration
from .steps import State, bare, fragile

CLAIMS = (Claim("scan", "scan for the first NaN with run.get(t)", 1.5, "the bare loop up to the NaN, random.Random"),)


def _late_nan(n):
    """Return a run whose first NaN comes late, and its step; for short runs none may come."""
    found = []
    for seed in range(20):
        run = rewind.record(fragile, State(0.0), n, seed, observe={"value": "value"})
        bad = run.observed["value"].first_nan
        found.append((n if bad is None else bad, seed, run))
        if n // 4 <= found[-1][0] < n:
            break
    bad, _, run = max(found)
    return run, bad


def measure(options):
    """Return the figures by key."""
    run, bad = _late_nan(options.steps)

    def scan():
        assert next((t for t in range(run.n_steps) if math.isnan(run.get(t).value)), run.n_steps) == bad

    loop = bare(fragile, lambda: State(0.0), lambda: random.Random(1), bad)
    ratios = against({"bare": loop, "scan": scan}, options.rounds)
    spent, own = (duration(ratios[key].seconds / max(bad, 1)) for key in ("scan", "bare"))
    return {"scan": Figure(ratios["scan"].ratio, f"{spent} a step, the bare loop {own}; the NaN is at step {bad:,}")}
