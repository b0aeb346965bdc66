"""``run.bisect(cond)`` asks stored states first, which takes no step, and replays one block.

The standard library's `bisect` over ``run.get(t)`` replays about half a block for each question between stored states.
"""

from bisect import bisect_left

from .first_nan import counted, is_nan
from .measure import Claim, Figure, against, duration
from .steps import late_nan

_NAIVE = "bisect_left(range(n), True, key=lambda t: cond(run.get(t)))"

CLAIMS = (
    Claim("bisect", "run.bisect(cond)", 0.5, _NAIVE),
    Claim("steps", "  steps that are run", 0.5, _NAIVE),
)


def _naive(run):
    return bisect_left(range(run.n_steps), True, key=lambda t: is_nan(run.get(t)))


def measure(options):
    """Return the figures by key."""
    run, late = late_nan(options.steps)
    bad = late if late < run.n_steps else None

    def naive():
        assert _naive(run) == late

    def bisect():
        assert run.bisect(is_nan) == bad

    ratios = against({"naive": naive, "bisect": bisect}, 4 * options.rounds + 1)
    ours, theirs = (duration(ratios[key].seconds) for key in ("bisect", "naive"))
    step, same = counted(run)
    same.bisect(is_nan)
    calls = step.calls
    _naive(same)
    return {
        "bisect": Figure(ratios["bisect"].ratio, f"{ours}, bisect_left {theirs}"),
        "steps": Figure(calls / (step.calls - calls), f"{calls:,} steps, bisect_left {step.calls - calls:,}"),
    }
