"""With ``memory_budget="1MB"`` any state of a million steps is microseconds away, and recording takes no longer."""

import rewind

from .get_next import shuffled
from .measure import Claim, Figure, against, duration, middle_call
from .steps import relax

CLAIMS = (
    Claim("budget", 'get(t) out of the blue, memory_budget="1MB": median', 5.0, "a numpy step, a float", "us"),
    Claim("none", "  without a budget", None, "a numpy step, a float", "us"),
    Claim("record", "record with memory_budget", None, "record without"),
)


def measure(options):
    """Return the figures by key."""
    n = options.steps

    def record(budget=0):
        return rewind.record(relax, 0.0, n, 1, backend="numpy", memory_budget=budget)

    steps = shuffled(n, 100 + n // 100)
    ratios = against({"none": record, "record": lambda: record("1MB")}, options.rounds)
    run = record()
    figures = {
        "budget": Figure(middle_call(record("1MB").get, steps) * 1e6, "the bound is for a million steps"),
        "none": Figure(middle_call(run.get, steps) * 1e6, f"half a block is {run.block_size // 2} steps"),
    }
    spent = [duration(ratios[key].seconds) for key in ("record", "none")]
    return figures | {"record": Figure(ratios["record"].ratio, f"{spent[0]}, without {spent[1]}")}
