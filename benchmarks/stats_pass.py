"""Statistics of two metrics from one replay take little more than those of one; a histogram and 50 lags are cheap.

The steps are replayed once, whatever is asked of them. The step is the cheapest there is in Python.
"""

import rewind

from .measure import Claim, Figure, against, duration
from .steps import walk

_ALONE = "run.stats() without, which is subtracted"
MAX_LAG = 50

CLAIMS = (
    Claim("two", "stats of two metrics in one pass", 0.65, "two passes, one metric each"),
    Claim("histogram", "  a histogram of 100 bins, for a step", None, _ALONE, "ns"),
    Claim("lags", f"  autocovariance up to max_lag={MAX_LAG}, for a step and lag", 20.0, _ALONE, "ns"),
)


def measure(options):
    """Return the figures by key."""
    n, rounds = options.steps, 2 * options.rounds + 1
    run = rewind.record(walk, 0, n, 1)
    passes = {"apart": lambda: (run.stats(), run.stats(abs)), "two": lambda: run.stats({"x": None, "size": abs})}
    edges = [0.04 * n**0.5 * i for i in range(-50, 51)]
    more = {
        "stats": run.stats,
        "histogram": lambda: run.stats(histogram=edges),
        "lags": lambda: run.stats(max_lag=MAX_LAG),
    }
    together, found = against(passes, rounds), against(more, rounds)
    alone = found["stats"].seconds / n
    beyond = {key: (found[key].ratio - 1) * alone * 1e9 for key in ("histogram", "lags")}
    spent, apart = (duration(together[key].seconds / n) for key in ("two", "apart"))
    return {
        "two": Figure(together["two"].ratio, f"{spent} a step, two passes {apart}"),
        "histogram": Figure(beyond["histogram"], f"stats alone {duration(alone)} a step"),
        "lags": Figure(beyond["lags"] / (MAX_LAG + 1), f"{beyond['lags']:.0f} ns a step for all {MAX_LAG + 1} of them"),
    }
