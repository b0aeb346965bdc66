"""``rewind --help`` and ``rewind --version`` take little more than argparse: no numpy, no kernel, no verb is imported.

CPU time, user and system, of processes of their own; byte code is compiled before. The processes run without ``site``
(``python -S``): what the path files of an editable install import would be in both sides, and hide a difference.
"""

import os
import pathlib
import statistics
import sys
import tempfile

import h5py
import numpy

import rewind

from .measure import Claim, Figure, duration, process_seconds

CLAIMS = (
    Claim("help", "rewind --help", 1.5, "a process that imports argparse"),
    Claim("version", "rewind --version", 1.5, "a process that imports argparse"),
)
COMMAND = "import sys; from rewind.cli.main import main; sys.exit(main([{!r}]))"
PROGRAMS = {
    "argparse": "import argparse",
    "help": COMMAND.format("--help"),
    "version": COMMAND.format("--version"),
}


def measure(options):
    """Return the figures by key."""
    if not hasattr(os, "wait4"):
        return {claim.key: Figure(None, "this system does not tell the CPU time of a process") for claim in CLAIMS}
    folders = [str(pathlib.Path(package.__file__).parents[1]) for package in (rewind, numpy, h5py)]
    times = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as cache:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment.setdefault("PYTHONPYCACHEPREFIX", cache)
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(folders))
        commands = {name: [sys.executable, "-S", "-c", program] for name, program in PROGRAMS.items()}
        for command in commands.values():
            process_seconds(command, environment, folders[0])
        for i in range(4 * options.rounds + 1):
            for name in list(commands) if i % 2 == 0 else list(reversed(commands)):
                times[name].append(process_seconds(commands[name], environment, folders[0]))
    figures = {}
    for name in ("help", "version"):
        ratio = statistics.median(ours / bare for ours, bare in zip(times[name], times["argparse"], strict=True))
        note = f"{duration(statistics.median(times[name]))}, argparse {duration(statistics.median(times['argparse']))}"
        figures[name] = Figure(ratio, note)
    return figures
