"""Recording a hundred times as many steps takes no more memory: what is kept grows with the root of their number.

The peak of the resident memory of a fresh process, against that of one that records a hundredth of the steps. The
checkpoints of 10^8 steps are 10,000 integers: 80 KB as they are saved, 0.4 MB as Python objects, ten times what there
is of 10^6. A byte for each step would be 100 MB, so that 8 MB leave room for an allocator and for nothing that grows
with the steps.
"""

import pathlib
import subprocess
import sys

import rewind

from .compiled import NoCompiler, library, native_step
from .measure import Claim, Figure, amount

_LESS = "the same of a hundredth of the steps"

CLAIMS = (
    Claim("record", "memory: record 10^8 steps, int walk in C, the most beyond 10^6", 8.0, _LESS, "MB"),
    Claim("observed", "  with statistics of the state", 8.0, _LESS, "MB"),
)
_PROGRAM = """
import sys
sys.path.append(sys.argv[1])
from benchmarks.memory_flat import recorded
print(recorded(int(sys.argv[2]), sys.argv[3] == "observed"))
"""


def recorded(n, observed):
    """Record `n` steps and return the peak of the resident memory of this process, in bytes."""
    rewind.record(native_step("walk"), 0, n, 1, backend="numpy", observe={"x": None} if observed else None)
    return _peak()


def _peak():
    try:  # ru_maxrss of Linux begins at that of the process that started this one
        with open("/proc/self/status") as status:
            return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _in_a_process(n, key):
    here, there = (pathlib.Path(file).parents[1] for file in (__file__, rewind.__file__))
    command = [sys.executable, "-c", _PROGRAM, str(here), str(n), key]
    return int(subprocess.run(command, cwd=there, stdout=subprocess.PIPE, check=True, text=True).stdout)


def measure(options):
    """Return the figures by key."""
    n = 10 * options.fast_steps
    try:
        library("steps")
        import resource  # noqa: F401
    except (NoCompiler, ImportError) as error:
        return {claim.key: Figure(None, str(error)) for claim in CLAIMS}
    figures = {}
    for claim in CLAIMS:
        few, many = _in_a_process(max(n // 100, 1), claim.key), _in_a_process(n, claim.key)
        note = f"{amount(many)}, a hundredth of the {n:,} steps {amount(few)}"
        figures[claim.key] = Figure((many - few) / 1e6, note)
    return figures
