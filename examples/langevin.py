"""Particles in a harmonic well, kicked by a heat bath: does the integrator keep the temperature?

Underdamped Langevin dynamics in the BAOAB splitting of Leimkuhler and Matthews (2013), for 64 independent particles;
the state is one array, changed in place. Equipartition says <m v^2> = <k x^2> = kT; this splitting samples x exactly
for a harmonic force, and v with a relative error of -(dt^2 k/m)/4.

    python examples/langevin.py [FILE]
"""

import math
import os
import sys
import tempfile

import numpy as np

import rewind

KT, DT, FRICTION = 1.5, 0.2, 0.5  # mass and spring constant are 1
N_PARTICLES, N_STEPS, SETTLED = 64, 30_000, 1_000


def step(state, rng, kT, dt, friction):
    x, v = state  # two rows of one array: what changes them changes the state
    decay = math.exp(-friction * dt)
    v -= 0.5 * dt * x  # B: half a kick
    x += 0.5 * dt * v  # A: half a drift
    v *= decay  # O: the heat bath
    v += math.sqrt(kT * (1 - decay * decay)) * rng.standard_normal(N_PARTICLES)
    x += 0.5 * dt * v  # A
    v -= 0.5 * dt * x  # B
    return state


def potential(state):
    return float(np.mean(state[0] ** 2))


def kinetic(state):
    return float(np.mean(state[1] ** 2))


def main(path):
    run = rewind.record(
        step,
        np.zeros((2, N_PARTICLES)),  # cold, at the bottom
        N_STEPS,
        seed=2024,
        backend="numpy",
        params={"kT": KT, "dt": DT, "friction": FRICTION},
    )
    run.save(path)
    every_state = run[0].nbytes * N_STEPS
    print(f"{N_STEPS:,} steps of {N_PARTICLES} particles: {os.path.getsize(path):,} bytes instead of {every_state:,}")

    print("warming up, <v^2>:", "  ".join(f"step {t}: {kinetic(run[t]):.2f}" for t in (0, 5, 20, 80)))

    # Exact statistics of any function of the state over any window, asked for after the run.
    for name, metric, theory in (
        ("<k x^2> ", potential, KT),
        ("<m v^2> ", kinetic, KT * (1 - DT * DT / 4)),
    ):
        stats = run.stats(metric, start=SETTLED)
        print(f"{name} {stats.mean:.3f}   theory {theory:.3f}   off by {abs(stats.mean / theory - 1):.1%}")

    # Several components at once: the covariance of x and v of one particle, which theory says is diagonal.
    pair = run.stats(lambda state: state[:, 0].copy(), start=SETTLED)
    print(f"x and v of particle 0: covariance {pair.covariance[0, 1]:.3f}, theory 0.000")

    # The same noise in a hotter bath: nothing but the temperature differs.
    hot = run.branch(SETTLED, noise="same", params={"kT": 2 * KT})
    stats = hot.stats(potential, start=SETTLED)
    print(f"bath twice as hot from step {SETTLED:,} on: <k x^2> {stats.mean:.3f}   theory {2 * KT:.3f}")
    print(f"parameters of the branch: {hot.params}")
    print(f"verified, in place and all: {run.verify()}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(folder, "langevin.replay"))
