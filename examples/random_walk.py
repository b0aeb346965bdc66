"""The shortest example: a million steps of a random walk in about three kilobytes.

python examples/random_walk.py [FILE]
"""

import os
import sys
import tempfile

import rewind


def step(x, rng):
    return x + (1 if rng.random() < 0.5 else -1)


def main(path):
    run = rewind.record(step, init_state=0, n_steps=1_000_000, seed=42)
    print(f"recorded         {run.n_steps:,} steps, {run.n_checkpoints:,} of them kept")

    # Any step, exactly: run again from the checkpoint before it.
    x = run.get(842_137)
    print(f"step 842,137     x = {x}")

    # Another future from there. The run itself stays as it is.
    branch = run.branch(842_137, mutate=lambda state: state + 100)
    print(f"branched there   x = {branch[0]}, and {branch[-1]} at the end instead of {run[-1]}")

    # Statistics over all states: exact, rounded once.
    stats = run.stats(lambda state: state)
    print(f"over all states  mean {stats.mean!r}, variance {stats.variance!r}")
    print(
        f"                 lowest {stats.min:.0f} at step {stats.argmin:,}, highest {stats.max:.0f} at {stats.argmax:,}"
    )

    run.save(path)
    print(f"saved            {os.path.getsize(path):,} bytes for {run.n_steps:,} steps")

    # On another day, or another machine.
    loaded = rewind.load(path, step_fn=step)
    print(f"loaded           step 842,137 is the same: {loaded.get(842_137) == x}")
    print(f"verified         every block, bit for bit: {loaded.verify(full=True)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(folder, "walk.replay"))
