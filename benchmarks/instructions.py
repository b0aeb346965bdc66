"""Instructions a step costs, counted by valgrind: no noise at all, whoever else uses the machine.

The sides of a file run one after another in a process under callgrind, each with two numbers of steps: the difference
leaves out what a run costs once. valgrind has no AVX-512, so that code which has variants for it is counted in its AVX2
one.
"""

import ctypes
import importlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from .compiled import library

#: Files whose sides are counted, with two numbers of steps (of `seed_block`, of what its first side does).
COUNTED = {
    "record_walk": (3_000, 13_000),
    "record_numpy_scalar": (3_000, 13_000),
    "record_dataclass": (3_000, 13_000),
    "record_array": (3_000, 8_000),
    "record_native": (10_000, 110_000),
    "get_next": (3_000, 13_000),
    "seed_block": (100, 300),
    "exact_moments": (10_000, 60_000),
    "covariance": (2_000, 6_000),
}
BLOCK = 1000


def count(name):
    """Return instructions per step of the sides of a file, the reference first.

    Raises
    ------
    FileNotFoundError, NoCompiler
        If there is no valgrind, no compiler, or the header of valgrind is not installed.
    RuntimeError
        If a process under it fails.
    """
    if shutil.which("valgrind") is None:
        raise FileNotFoundError("valgrind is not on the path")
    library("counted")
    module = importlib.import_module(f".{name}", __package__)
    # Threads of a BLAS that wait for work are counted, too.
    environment = {**os.environ, **getattr(module, "ENVIRONMENT", {}), "OPENBLAS_NUM_THREADS": "1"}
    environment["PYTHONHASHSEED"] = "0"
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", sys.executable]
        done = subprocess.run([*command, "-m", __spec__.name, name], env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{name} under valgrind: {' '.join(done.stderr.split())[-300:]}")
        totals = {}
        for path in pathlib.Path(folder).glob("out.*"):
            text = path.read_text()
            word = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.MULTILINE)
            if word is not None:
                totals[word[1]] = int(re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)[1])
    low, high = COUNTED[name]
    names = done.stdout.split()
    counted = {side: (totals[f"{side} {high}"] - totals[f"{side} {low}"]) / (high - low) for side in names}
    return {side: value / (1 if side == names[0] else getattr(module, "TIMES", 1)) for side, value in counted.items()}


def run(name):
    """Run the sides of a file, each with both numbers of steps, so that they are counted; print their names."""
    module = importlib.import_module(f".{name}", __package__)
    write_down = library("counted").write_down
    write_down.argtypes, write_down.restype = [ctypes.c_char_p], None
    sizes = {n: module.sides(n, BLOCK) for n in COUNTED[name]}
    for side in next(iter(sizes.values())):
        next(iter(sizes.values()))[side]()  # what is imported and specialised on the way
        for n, sides in sizes.items():
            write_down(b"before")
            sides[side]()
            write_down(f"{side} {n}".encode())
        print(side)


if __name__ == "__main__":
    run(sys.argv[1])
