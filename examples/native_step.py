"""A step function in C: ten million steps of an Ornstein-Uhlenbeck process, checkpointed, observed and verified.

    python examples/native_step.py [FILE]

Needs a C compiler (cc, gcc or clang) and says so where there is none.
"""

import ctypes
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import rewind

SOURCE = """
#include "rewind.h"

struct params { double pull, width; };

REWIND_EXPORT int step(void *state, ptrdiff_t n_steps, bitgen_t *rng, const void *params) {
    double *x = state;
    const struct params *p = params;
    for (ptrdiff_t i = 0; i < n_steps; i++) {
        double sum = 0; /* of four uniform numbers: near enough to normal, with variance 1/3 */
        for (int k = 0; k < 4; k++)
            sum += rng->next_double(rng->state) - 0.5;
        *x = p->pull * *x + p->width * sum;
    }
    return 0;
}
"""
PARAMS = {"pull": 0.99, "width": 1.0}
N_STEPS = 10_000_000


def python_step(x, rng, pull, width):
    """The same step in Python: the same operations in the same order, so the same bits."""
    return pull * x + width * sum((rng.random() - 0.5 for _ in range(4)), 0.0)


def build(folder):
    """Compile SOURCE and return the function, None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    source, library = Path(folder, "step.c"), Path(folder, "step.so")
    source.write_text(SOURCE)
    flags = ["-O2", "-ffp-contract=off", "-shared", "-fPIC", f"-I{rewind.get_include()}", f"-I{np.get_include()}"]
    subprocess.run([compiler, *flags, str(source), "-o", str(library)], check=True)
    step = ctypes.CDLL(str(library)).step
    step.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p]
    return rewind.native_step(step)


def main(file=None):
    with tempfile.TemporaryDirectory() as folder:
        step = build(folder)
        if step is None:
            print("this example needs a C compiler (cc, gcc or clang), and there is none on the path")
            return
        began = time.perf_counter()
        run = rewind.record(step, 0.0, N_STEPS, 42, backend="numpy", params=PARAMS, observe={"x": None})
        each = (time.perf_counter() - began) / N_STEPS * 1e9
        print(f"recorded         {N_STEPS:,} steps in C, {each:.0f} ns each, statistics included")
        print(f"checkpoints      {run.n_checkpoints:,}, one each {run.block_size:,} steps")

        stats = run.observed["x"]
        theory = PARAMS["width"] ** 2 / 3 / (1 - PARAMS["pull"] ** 2)
        print(f"over all states  mean {stats.mean:.4f}, variance {stats.variance:.3f}, theory {theory:.3f}")
        print(f"the largest      x = {stats.max:.3f} at step {stats.argmax:,}")
        print(f"step 7,654,321   x = {run.get(7_654_321)!r}")

        short = rewind.record(python_step, 0.0, 20_001, 42, block_size=run.block_size, backend="numpy", params=PARAMS)
        print(f"in Python        20,000 steps, to the same bits: {short[-1] == run.get(20_000)}")

        warm = run.branch(7_654_321, params={"width": 2.0}, noise="same", n_steps=1_000_000)
        print(f"twice the noise  on the same draws: x = {warm[-1]:.3f} instead of {run.get(warm.start + 999_999):.3f}")
        print(f"verified         every block, bit for bit: {run.verify(full=True)}")
        if file is not None:
            run.save(file)
            print(f"saved            {Path(file).stat().st_size:,} bytes; any step_fn that does the same opens it")


if __name__ == "__main__":
    main(*sys.argv[1:2])
