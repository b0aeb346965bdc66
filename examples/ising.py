"""The two-dimensional Ising model: a quench, a heating, and Onsager's exact answers.

The state is an int8 lattice that is changed in place. Magnetisation and energy are observed while recording: one row
per block is in the file, enough to draw the whole run without replaying a step.

    python examples/ising.py [FILE]
"""

import os
import sys
import tempfile

import numpy as np

import rewind

SIZE, N_STEPS = 32, 5_000
CHESSBOARD = np.indices((SIZE, SIZE)).sum(axis=0) % 2 == 0


def neighbours(spins):
    return np.roll(spins, 1, 0) + np.roll(spins, -1, 0) + np.roll(spins, 1, 1) + np.roll(spins, -1, 1)


def step(spins, rng, temperature):
    """One sweep: the black squares of the chessboard at once, then the white ones."""
    for colour in (CHESSBOARD, ~CHESSBOARD):
        # Heat bath: up with probability 1 / (1 + exp(-2 h / T)), whatever the spin was.
        up = rng.random((SIZE, SIZE)) < 1 / (1 + np.exp(-2 * neighbours(spins) / temperature))
        spins[colour] = np.where(up, 1, -1)[colour]
    return spins


def magnetisation(spins):
    return abs(int(spins.sum(dtype=int))) / spins.size


def energy(spins):
    return -int((spins * (np.roll(spins, 1, 0) + np.roll(spins, 1, 1))).sum(dtype=int)) / spins.size


def sparkline(values, low, high):
    bars = "▁▂▃▄▅▆▇█"
    return "".join(bars[int(np.clip((v - low) / (high - low) * 8, 0, 7))] for v in values)


def picture(spins):
    """Return every second row of spins, two of them on one line of text."""
    pairs = (spins[::4] > 0) + 2 * (spins[2::4] > 0)
    return ["".join(" ▀▄█"[pair] for pair in row) for row in pairs]


def main(path):
    hot_start = np.random.default_rng(0).choice(np.array([-1, 1], "i1"), (SIZE, SIZE))
    run = rewind.record(
        step,
        hot_start,
        N_STEPS,
        seed=3,
        backend="numpy",
        block_size=50,
        params={"temperature": 2.0},
        observe={"magnetisation": magnetisation, "energy": energy},
    )
    run.save(path)
    print(f"quench to T = 2.0: {N_STEPS:,} sweeps of a {SIZE}x{SIZE} lattice in {os.path.getsize(path):,} bytes")

    # The table of blocks is in the file: no replay.
    print("magnetisation", sparkline(run.overview("magnetisation")["mean"][:60], 0, 1))
    print("energy       ", sparkline(run.overview("energy")["mean"][:60], -2, -1))

    # Any lattice on the way.
    for t in (0, 10, 100):
        print(f"sweep {t}: magnetisation {magnetisation(run[t]):.2f}")
    print(*picture(run[10]), sep="\n")

    # Onsager (1944) and Yang (1952) for an infinite lattice at T = 2.
    truth = {"magnetisation": (1 - np.sinh(2 / 2.0) ** -4) ** (1 / 8), "energy": -1.7456}
    for name, metric in (("magnetisation", magnetisation), ("energy", energy)):
        print(f"{name}: {run.stats(metric, start=2_000).mean:.3f}, exact {truth[name]:.3f}")

    # Heat the ordered lattice: another future of its last sweep.
    melted = run.branch(-1, n_steps=1_000, params={"temperature": 3.0})
    print("heated to T = 3.0", sparkline(melted.overview("magnetisation")["mean"], 0, 1))
    print(f"verified: {run.verify() and melted.verify()}")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(folder, "ising.replay"))
