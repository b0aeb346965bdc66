"""Measure the claims and print the table: ``python -m benchmarks [NAME ...]``.

Each file runs in processes of its own, so that neither the imports nor the garbage of one change another; the figure is
the median over these processes of medians over rounds. The exit code is 0 whether bounds are met or not.
"""

import argparse
import dataclasses
import importlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys

import rewind

from . import BENCHMARKS, instructions
from .compiled import NoCompiler
from .measure import Figure, Options, row

QUICK = Options(steps=4_000, fast_steps=20_000, rounds=1)
PACKAGES = ("numpy", "h5py", "numba", "scipy", "zarr", "joblib", "distributed")


def arguments(argv=None):
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument(
        "--steps", type=int, help="steps of Python loops (default: 1,000,000); native ones take ten times as many"
    )
    parser.add_argument("--rounds", type=int, help="rounds in each process (default: 5)")
    parser.add_argument("--processes", type=int, default=3, help="processes for each file (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="see that everything runs; the figures mean nothing")
    parser.add_argument("--instructions", action="store_true", help="count instructions with valgrind, too: slow")
    parser.add_argument("--json", metavar="PATH", help="write the figures with machine and versions")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    unknown = [name for name in args.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    return args


def options_of(args):
    """Return how much is run."""
    options = QUICK if args.quick else Options()
    if args.steps is not None:
        options = dataclasses.replace(options, steps=args.steps, fast_steps=10 * args.steps)
    if args.rounds is not None:
        options = dataclasses.replace(options, rounds=args.rounds)
    return options


def machine():
    """Return what the figures depend on, in general words."""
    facts = {"python": platform.python_version(), "rewind": rewind.__version__, "kernel": rewind.kernel_name}
    for name in PACKAGES:
        try:
            facts[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**facts, "machine": platform.machine(), "system": platform.system(), "cores": os.cpu_count()}


def measured(name, args):
    """Return the figures of one file, each the median over its processes, with the least and the most."""
    module = importlib.import_module(f".{name}", __package__)
    environment = {**os.environ, **getattr(module, "ENVIRONMENT", {})}
    command = [sys.executable, "-m", __package__, name, "--child"]
    command += ["--quick"] if args.quick else []
    for option in ("steps", "rounds"):
        value = getattr(args, option)
        command += [f"--{option}", str(value)] if value is not None else []
    runs = []
    for _ in range(1 if args.quick else args.processes):
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            note = f"the benchmark ended with {done.returncode}"
            return {claim.key: (Figure(None, note), (None, None)) for claim in module.CLAIMS}
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return {claim.key: _middle([run[claim.key] for run in runs]) for claim in module.CLAIMS}


def _middle(found):
    values = [value for value, _ in found if value is not None]
    if not values:
        return Figure(*found[0]), (None, None)
    middle = statistics.median_low(values)
    note = next(note for value, note in found if value == middle)
    return Figure(middle, note), (min(values), max(values))


def line(cells):
    """Return one line of the table."""
    what, figure, bound, met, reference, note = cells
    return f"{what:<66} {figure:>14} {bound:>8} {met:>4}  of: {reference}{f' ({note})' if note else ''}"


def counts(names):
    """Print the instructions a step takes, and return them by file and side."""
    found = {}
    print("\ninstructions a step")
    for name in names:
        if name not in instructions.COUNTED:
            continue
        try:
            found[name] = instructions.count(name)
        except (FileNotFoundError, NoCompiler, RuntimeError) as error:
            print(f"{name}: skipped, {error}", flush=True)
            continue
        reference = next(iter(found[name].values()))
        for side, value in found[name].items():
            print(f"{name:<22}{side:<14}{value:>10,.0f}{value / reference:>9.3g}x", flush=True)
    return found


def main(argv=None):
    """Print the table."""
    args = arguments(argv)
    if args.child:
        figures = importlib.import_module(f".{args.names[0]}", __package__).measure(options_of(args))
        print(json.dumps({key: [figure.value, figure.note] for key, figure in figures.items()}))
        return
    results = []
    print(json.dumps(machine()))
    for name in args.names or BENCHMARKS:
        figures = measured(name, args)
        for claim in importlib.import_module(f".{name}", __package__).CLAIMS:
            figure, (least, most) = figures[claim.key]
            print(line(row(claim, figure, not args.quick)), flush=True)
            about = {**dataclasses.asdict(claim), "met": None if figure.value is None else claim.met(figure.value)}
            results.append({"file": name, **about, "value": figure.value, "least": least, "most": most})
            results[-1]["note"] = figure.note
    bound = [result for result in results if result["met"] is not None and not args.quick]
    missed = [f"{result['file']}.{result['key']}" for result in bound if not result["met"]]
    print(f"{len(bound) - len(missed)} of {len(bound)} bounds met{': not ' if missed else ''}{', '.join(missed)}")
    counted = counts(args.names or BENCHMARKS) if args.instructions else {}
    if args.json:
        about = {**machine(), **dataclasses.asdict(options_of(args)), "processes": args.processes}
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({**about, "results": results, "instructions": counted}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
