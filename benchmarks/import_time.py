"""``import rewind`` loads nothing, and its first name little more than ``numpy.random``; h5py and numba come later.

CPU time, user and system, of processes of their own; byte code is compiled before. The first bound is for the import
alone: what a Python process takes that imports nothing is subtracted from both.
"""

import os
import pathlib
import statistics
import sys
import tempfile

import rewind

from .measure import Claim, Figure, duration, process_seconds

CLAIMS = (
    Claim("import", "import rewind", 1.3, "import numpy.random"),
    Claim("process", "import rewind; rewind.record", 1.35, "a process that imports numpy.random"),
)
PROGRAMS = {
    "nothing": "pass",
    "numpy": "import numpy.random",
    "rewind": "import rewind",
    "record": "import rewind; rewind.record",
}


def _spent(program, environment, folder):
    return process_seconds([sys.executable, "-c", program], environment, folder)


def measure(options):
    """Return the figures by key."""
    if not hasattr(os, "wait4"):
        return {claim.key: Figure(None, "this system does not tell the CPU time of a process") for claim in CLAIMS}
    folder = pathlib.Path(rewind.__file__).parents[1]
    times = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as cache:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment.setdefault("PYTHONPYCACHEPREFIX", cache)
        for program in PROGRAMS.values():
            _spent(program, environment, folder)
        for i in range(2 * options.rounds + 1):
            for name in list(PROGRAMS) if i % 2 == 0 else list(reversed(PROGRAMS)):
                times[name].append(_spent(PROGRAMS[name], environment, folder))
    nothing, numpy, ours, record = (statistics.median(spent) for spent in times.values())
    ratio = statistics.median(ours / theirs for ours, theirs in zip(times["record"], times["numpy"], strict=True))
    note = f"{duration(ours - nothing)}, numpy.random {duration(numpy - nothing)}"
    whole = f"{duration(record)}, numpy.random {duration(numpy)}, nothing {duration(nothing)}"
    return {
        "import": Figure((ours - nothing) / max(numpy - nothing, 1e-9), note),
        "process": Figure(ratio, whole),
    }
