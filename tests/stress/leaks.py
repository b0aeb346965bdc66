"""Ten million steps of each kind, whose memory must stay flat: ``python tests/stress/leaks.py [STEPS]``."""

import gc
import sys
from dataclasses import dataclass

import numpy as np

import rewind


@dataclass
class State:
    """A state that is a new object at each step."""

    x: float


def walk(x, rng):
    return x + (1 if rng.random() < 0.5 else -1)


def relax(x, rng):
    return x * 0.999 + rng.standard_normal() + int(rng.integers(10)) * 1e-3


def kick(x, rng):
    x *= 0.5
    x += rng.standard_normal(4)
    return x


def live(state, rng):
    return State(0.9 * state.x + rng.normalvariate(0.0, 1.0))


KINDS = [
    ("int walk", walk, 0, "python", {"x": None}),
    ("numpy scalar", relax, 0.0, "numpy", {"x": None}),
    ("array in place", kick, np.zeros(4), "numpy", None),
    ("dataclass", live, State(0.0), "python", {"x": "x"}),
]


def resident():
    """Return the resident memory in KiB."""
    gc.collect()
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])


def main():
    n = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10_000_000
    grown = []
    for name, step, init, backend, observe in KINDS:
        for what in ("record", "iterate"):
            rewind.record(step, init, n // 100, 1, backend=backend, observe=observe)
            before = resident()
            if what == "record":
                rewind.record(step, init, n, 1, backend=backend, observe=observe)
            else:
                for _ in range(10):
                    sum(1 for _ in rewind.record(step, init, n // 20, 1, backend=backend))
            more = resident() - before
            grown.append(more)
            print(f"{name}, {what}: {n:,} steps, {more:+,} KiB ({more * 1024 / n:.4f} bytes a step)", flush=True)
    if max(grown) * 1024 / n > 1:
        sys.exit("more than a byte a step is kept")


if __name__ == "__main__":
    main()
