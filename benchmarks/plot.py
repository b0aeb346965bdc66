"""How cost grows, as a picture: ``python -m benchmarks.plot [PATH]`` measures it and draws ``docs/performance.png``.

Time of recording, time to get a state out of the blue and bytes of the file, against the number of steps, the size of
the state and the size of a block. CPU time of the thread, the least of some repeats. Needs matplotlib (extra [plot]).
"""

import argparse
import importlib.util
import pathlib
import random
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np

import rewind

from .get_next import shuffled
from .measure import middle_call, seconds
from .steps import bare, kick, relax, walk


@dataclass(frozen=True)
class Loop:
    """A loop to be measured: its step, what it begins with, and the rng of the bare loop."""

    name: str
    step: Any
    state: Any
    backend: str
    rng: Any


def loops():
    """Return the loops whose length is varied."""
    found = [
        Loop("Python step, int walk", walk, 0, "python", lambda: random.Random(1)),
        Loop("numpy step, a float", relax, 0.0, "numpy", lambda: np.random.default_rng(1)),
    ]
    if importlib.util.find_spec("numba") is not None:
        import numba

        step = numba.njit(relax)
        rewind.record(step, 0.0, 10, 1, backend="numpy")  # compiles
        found.append(Loop("numba step, a float", step, 0.0, "numpy", None))
    return found


def least(work, n):
    """Return the least CPU seconds of ``work()`` by step, over as many repeats as take a second, 2 to 15 of them."""
    times = [seconds(work)]
    while len(times) < 2 or (len(times) < 15 and sum(times) < 1.0):
        times.append(seconds(work))
    return min(times) / n


def point(loop, n, block_size=None):
    """Return seconds a step of the recording and of the bare loop, seconds of a cold get, bytes of the file."""
    runs = []

    def record():
        runs[:] = [rewind.record(loop.step, loop.state, n, 1, block_size=block_size, backend=loop.backend)]

    recorded = least(record, n)
    alone = None if loop.rng is None else least(bare(loop.step, lambda: loop.state, loop.rng, n), n)
    run = runs[0]
    slow = recorded * run.block_size > 1e-3
    get = middle_call(run.get, shuffled(n, 100 if slow else 1000))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "run.replay"
        run.save(path)
        return recorded, alone, get, path.stat().st_size


def measured(quick=False):
    """Return the points: for each column, the label of its axis, and for each line its name, places and values."""
    n = 10_000 if quick else 1_000_000
    lengths = [10**k for k in range(3, 5 if quick else 8)]
    sizes = [1, 10, 100] if quick else [1, 10, 100, 1000, 10_000, 100_000]
    blocks = [10, 100, 1000] if quick else [10, 30, 100, 300, 1000, 3000, 10_000, 100_000]
    by_length = [(loop.name, lengths, [point(loop, t) for t in lengths]) for loop in loops()]
    by_size = []
    for length in (1000, 10_000):
        at = [d for d in sizes if d * length <= 10**8]
        arrays = [Loop("", kick, np.zeros(d), "numpy", lambda: np.random.default_rng(1)) for d in at]
        name = f"numpy step in place, {length:,} steps"
        by_size.append((name, at, [point(loop, length) for loop in arrays]))
    by_block = [(loop.name, blocks, [point(loop, n, b) for b in blocks]) for loop in loops()]
    return [
        ("steps of the run", by_length),
        ("float64 numbers in the state", by_size),
        (f"steps of a block, {n:,} steps in all", by_block),
    ]


ROWS = (
    ("record, ns a step", 0, 1e9),
    ("get(t) out of the blue, us", 2, 1e6),
    ("file, bytes", 3, 1),
)


def draw(columns, path):
    """Draw the points to a file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    colors = ("#0072b2", "#d55e00", "#009e73")
    figure, axes = pyplot.subplots(3, 3, figsize=(13, 10), sharex="col", layout="constrained")
    for j, (label, lines) in enumerate(columns):
        for i, (what, index, unit) in enumerate(ROWS):
            ax = axes[i, j]
            for k, ((name, at, points), color) in enumerate(zip(lines, colors, strict=False)):
                below = i == 2 and j != 1 and k == 1  # another line lies on this one
                wide = {"linewidth": 5, "alpha": 0.5} if below else {"linewidth": 1.5}
                ax.plot(at, [p[index] * unit for p in points], "o-", color=color, label=name, markersize=4, **wide)
                if i == 0 and points[0][1] is not None:
                    ax.plot(at, [p[1] * unit for p in points], "--", color=color, alpha=0.6, label="  its bare loop")
                if i == 2 and j < 2:
                    size = [8 * t for t in at] if j == 0 else [8 * d * int(_steps(name)) for d in at]
                    if j == 1 or color == colors[0]:
                        kept = "every state kept, 8 bytes each" if j == 0 else "  every state kept"
                        ax.plot(at, size, ":", color="gray" if j == 0 else color, label=kept)
            ax.set(xscale="log", yscale="log")
            ax.grid(True, which="major", alpha=0.3)
            ax.tick_params(labelsize=9)
            if j == 0:
                ax.set_ylabel(what, fontsize=11)
            if i == 2:
                ax.set_xlabel(label, fontsize=11)
            low, high = ax.get_ylim()
            if (i, j) == (0, 2):
                ax.set_ylim(low, high * 6)  # room for the legend
            place = {(0, 0): "lower left", (0, 2): "upper right", (2, 2): "upper right"}.get((i, j), "upper left")
            ax.legend(fontsize=8, frameon=False, loc=place, ncols=2 if (i, j) == (0, 2) else 1)
    figure.suptitle("rewind: what recording, getting and keeping cost (solid); CPU time, logarithmic axes", fontsize=12)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def _steps(name):
    return "".join(c for c in name if c.isdigit())


def main():
    """Measure and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description=__doc__.splitlines()[0])
    default = pathlib.Path(__file__).parents[1] / "docs" / "performance.png"
    parser.add_argument("path", nargs="?", default=default, help="where to (default: docs/performance.png)")
    parser.add_argument("--quick", action="store_true", help="few points; see that it runs")
    args = parser.parse_args()
    draw(measured(args.quick), args.path)


if __name__ == "__main__":
    main()
