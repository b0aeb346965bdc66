"""Measure everything and print it: ``python -m benchmarks [--steps N]``."""

import argparse
import json
import os
import platform
import random
import statistics
import tempfile
import time

import numpy as np

import rewind

from .ratio import against, claim, seconds
from .steps import State, fragile, kick, relax, walk


def bare(step, make_state, make_rng, n):
    """Return the user's own loop, nothing recorded."""

    def loop():
        state, rng = make_state(), make_rng()
        for _ in range(n):
            state = step(state, rng)

    return loop


LOOPS = {
    "int walk, random.Random": (walk, lambda: 0, lambda: random.Random(1), "python", None),
    "dataclass, random.Random": (fragile, lambda: State(0.0), lambda: random.Random(1), "python", "value"),
    "float, numpy": (relax, lambda: 0.0, lambda: np.random.default_rng(1), "numpy", None),
    "float64[64] in place, numpy": (kick, lambda: np.zeros(64), lambda: np.random.default_rng(1), "numpy", "sum"),
}


def measure_record(n):
    """Recording a loop costs about what running it costs."""
    for name, (step, state, rng, backend, metric) in LOOPS.items():
        length = n // 10 if "64" in name else n
        observe = {"x": (lambda s: s.sum()) if metric == "sum" else metric}

        def recorded(observe=None, step=step, state=state, backend=backend, length=length):
            return rewind.record(step, state(), length, 1, backend=backend, observe=observe)

        ratios = against(
            bare(step, state, rng, length),
            rounds=5,
            record=recorded,
            observed=lambda recorded=recorded, observe=observe: recorded(observe),
        )
        reference = f"the bare loop ({ratios['reference'][1]:.3f} s)"
        claim(f"record: {name}", f"{ratios['record'][0]:.2f}", "x", reference)
        claim("  with exact statistics", f"{ratios['observed'][0]:.2f}", "x", reference)


def measure_questions(n, folder):
    """A verify costs a run; a scan costs the steps scanned; a cold get costs half a block."""
    run = rewind.record(walk, 0, n, 42)
    ratios = against(
        bare(walk, lambda: 0, lambda: random.Random(1), n),
        rounds=5,
        full=lambda: run.verify(full=True),
        sample=run.verify,
        stats=lambda: run.stats(),
        iterate=lambda: sum(1 for _ in run),
        scan=lambda: [run.get(t) for t in range(n)],
    )
    reference = f"the bare loop ({ratios['reference'][1]:.3f} s)"
    labels = {
        "full": "verify(full=True)",
        "sample": "verify(): a sample",
        "stats": "stats(state)",
        "iterate": "for state in run",
        "scan": "get(t) for every t",
    }
    for name, label in labels.items():
        claim(label, f"{ratios[name][0]:.2f}", "x", reference, f"{ratios[name][1]:.3f} s")
    pick = random.Random(0)
    cold = [seconds(lambda: run.get(pick.randrange(n))) for _ in range(200)]
    claim("get(t), random and cold, median", f"{statistics.median(cold) * 1e6:.0f}", "us", "CPU")
    path = os.path.join(folder, "walk.replay")
    began = time.perf_counter()
    run.save(path)
    saved = time.perf_counter() - began
    load = statistics.median(seconds(lambda: rewind.load(path)) for _ in range(20))
    claim("file of the int walk", f"{os.path.getsize(path):,}", "bytes", f"{8 * n:,} bytes of all states as int64")
    claim("save, first (imports h5py) / load", f"{saved * 1e3:.0f} / {load * 1e3:.2f}", "ms", "wall / CPU")


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000, help="steps of the scalar loops (default: %(default)s)")
    n = parser.parse_args().steps
    machine = {"python": platform.python_version(), "numpy": np.__version__, "machine": platform.machine()}
    print(json.dumps({**machine, "kernel": rewind.kernel_name, "steps": n}))
    measure_record(n)
    with tempfile.TemporaryDirectory() as folder:
        measure_questions(n, folder)


if __name__ == "__main__":
    main()
