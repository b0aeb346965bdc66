"""A search for the step where a run went wrong takes no longer than 1.5 times the bare loop up to there.

``next(t for t in range(n) if math.isnan(run.get(t).value))``, with a NaN that comes late.
"""

import math
import random

from .measure import Claim, Figure, against, duration
from .steps import State, bare, fragile, late_nan

CLAIMS = (Claim("scan", "scan for the first NaN with run.get(t)", 1.5, "the bare loop up to the NaN, random.Random"),)


def measure(options):
    """Return the figures by key."""
    run, bad = late_nan(options.steps)

    def scan():
        assert next((t for t in range(run.n_steps) if math.isnan(run.get(t).value)), run.n_steps) == bad

    loop = bare(fragile, lambda: State(0.0), lambda: random.Random(1), bad)
    ratios = against({"bare": loop, "scan": scan}, options.rounds)
    spent, own = (duration(ratios[key].seconds / max(bad, 1)) for key in ("scan", "bare"))
    return {"scan": Figure(ratios["scan"].ratio, f"{spent} a step, the bare loop {own}; the NaN is at step {bad:,}")}
