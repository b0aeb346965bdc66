"""A job is killed in the middle, as by a power cut, and goes on: the file is the one of a job that never was.

python examples/killed_job.py
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import rewind

N_STEPS, SEED = 400_000, 5
NAME = "killed_job:step"  # whether this file is the script or was imported by it


def step(x, rng):
    return 0.999 * x + rng.gauss(0.0, 1.0)


def job(path, die_at=None):
    """Record to `path`, or go on where an earlier job was stopped; with `die_at`, be killed at a step."""

    def watch(progress):
        if die_at is not None and progress.done >= die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    options = {"observe": {"x": None}, "progress": watch, "on_signal": "checkpoint"}
    try:
        return rewind.resume(path, step, **options)
    except FileNotFoundError:
        return rewind.record(step, 0.0, N_STEPS, SEED, path=path, step_id=NAME, **options)


def main():
    print(f"a job of {N_STEPS:,} steps, killed twice")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "job.replay")
        for die_at in (100_000, 300_000):
            program = f"import killed_job; killed_job.job({str(path)!r}, {die_at})"
            here = pathlib.Path(__file__).parent
            code = subprocess.run([sys.executable, "-c", program], cwd=here).returncode
            found = rewind.load(path)
            print(f"killed ({code}); in the folder: {', '.join(os.listdir(folder))}")
            print(f"  on disk are steps 0 to {len(found) - 1:,}: {found.metadata()['stopped']}")
        run = job(path)
        print(f"the third job finished {path.name}: {len(run):,} steps, mean {run.observed['x'].mean:.4f}")
        whole = pathlib.Path(folder, "whole.replay")
        rewind.record(step, 0.0, N_STEPS, SEED, observe={"x": None}, step_id=NAME).save(whole)
        same = path.read_bytes() == whole.read_bytes()
        print(f"the same bytes as a job that was never killed: {same}")
        print(f"left in the folder: {', '.join(sorted(os.listdir(folder)))}")


if __name__ == "__main__":
    main()
