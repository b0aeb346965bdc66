"""Ratios that hold on a noisy machine: variants interleaved in one process, CPU time of the thread, medians."""

import gc
import statistics
import time


def seconds(work):
    """Return the CPU seconds this thread spends in ``work()``."""
    gc.collect()
    began = time.thread_time()
    work()
    return time.thread_time() - began


def against(reference, rounds=7, **variants):
    """Return ``{name: (median ratio to reference, median seconds)}``, the reference itself under ``"reference"``."""
    everything = {"reference": reference, **variants}
    times = {name: [] for name in everything}
    for i in range(rounds):
        names = list(everything) if i % 2 == 0 else list(reversed(everything))
        for name in names:
            times[name].append(seconds(everything[name]))
    return {
        name: (
            statistics.median(a / b for a, b in zip(spent, times["reference"], strict=True)),
            statistics.median(spent),
        )
        for name, spent in times.items()
    }


def claim(name, measured, unit, against_what, note=""):
    """Print one line: the claim, the figure, and what it is measured against."""
    print(f"{name:<44} {measured:>10} {unit:<10} of {against_what}{'; ' + note if note else ''}")
