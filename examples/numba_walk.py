"""A polymer in a trap, compiled: a step by numba runs in native loops of whole blocks, and is recorded all the same.

Beads on a string, each pulled by its neighbours and the trap and kicked by the heat bath. The state is a namedtuple;
the step changes its array in place. The trap alone acts on the centre, so equipartition gives the centre's energy kT/2.

    python examples/numba_walk.py [FILE]
"""

import collections
import os
import sys
import tempfile

import numpy as np

import rewind

try:
    import numba
except ImportError:
    print("this example needs numba, which rewind does not install: pip install numba")
    sys.exit(0)

N_BEADS, N_STEPS, SETTLED = 8, 400_000, 5_000
KT, DT = 1.0, 0.01

Chain = collections.namedtuple("Chain", "x longest")


@numba.njit
def step(chain, rng, kT, trap, spring):
    x, before = chain.x, chain.x[0]
    for i in range(x.size):
        here = x[i]
        force = spring * (before - here) - trap * here
        if i < x.size - 1:
            force += spring * (x[i + 1] - here)
        x[i] += DT * force + np.sqrt(2 * kT * DT) * rng.standard_normal()
        before = here
    return Chain(x, max(chain.longest, abs(x[-1] - x[0])))


@numba.njit
def centre(chain):
    return chain.x.mean()


@numba.njit
def energy_of_centre(chain):
    return 0.5 * chain.x.size * chain.x.mean() ** 2


def main(path):
    params = {"kT": KT, "trap": 1.0, "spring": 4.0}
    metrics = {"centre": centre, "longest": "longest"}  # numba functions and fields: seen in the same native loop
    run = rewind.record(
        step, Chain(np.zeros(N_BEADS), 0.0), N_STEPS, seed=2024, backend="numpy", params=params, observe=metrics
    )
    run.save(path)
    every_state = (N_BEADS + 1) * 8 * N_STEPS
    print(f"{N_STEPS:,} steps of {N_BEADS} beads: {os.path.getsize(path):,} bytes instead of {every_state:,}")

    observed = run.observed["centre"]
    print(f"the centre: mean {observed.mean:.3f}, farthest out at step {observed.argmax:,}: {observed.max:.3f}")
    print(f"the beads at that step:  {run[observed.argmax].x.round(2)}")
    print(f"and 100 steps before it: {run[observed.argmax - 100].x.round(2)}")
    print(f"the longest it ever was, end to end: {run.observed['longest'].max:.2f}")

    # A metric by numba is as fast after the run: its blocks are replayed by native loops.
    stats = run.stats(energy_of_centre, start=SETTLED)
    print(f"energy of the centre: {stats.mean:.3f}, theory {KT / 2:.3f}")

    # Other numbers in params compile nothing.
    hot = run.branch(SETTLED, noise="same", params={"kT": 2 * KT})
    print(f"twice as hot: {hot.stats(energy_of_centre, start=2 * SETTLED).mean:.3f}, theory {KT:.3f}")

    again = rewind.load(path, step_fn=step)
    same = all(np.array_equal(again[t].x, run[t].x) for t in (1, 123_456, N_STEPS - 1))
    print(f"loaded, the same states: {same}")
    print(f"verified, every block, in place and all: {run.verify(full=True)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(folder, "chain.replay"))
