"""Two workers take little more than half as long as one: processes for a Python step, threads for a native one.

Wall time, unlike elsewhere, with the time to start the workers: only wall time shows that work is shared. If others use
the machine, two workers do not get two cores: the note says how many they got. A block is run without the
GIL and added up with it, so that threads wait for each other where blocks take as little time as those of a cheap step.
"""

import importlib.util
import os
import statistics
import time

import rewind

from .compiled import NoCompiler, native_step
from .measure import Claim, Figure, against, duration
from .steps import State, fragile, relax

_ONE = "run.stats() on one thread; wall time"

CLAIMS = (
    Claim("processes", "stats, Python step, workers=2: processes", 0.6, _ONE),
    Claim("native", "stats, C step, workers=2: threads", 0.6, _ONE),
    Claim("native_long", "  in blocks of 100,000", 0.6, _ONE),
    Claim("numba", "stats, numba step, workers=2: threads", 0.6, _ONE),
    Claim("numba_long", "  in blocks of 100,000", 0.6, _ONE),
)
_LONG = 100_000


def _compare(run, metric, rounds):
    one, two = run.stats(metric), run.stats(metric, workers=2)  # compiles what is compiled
    assert repr(one) == repr(two)
    spent, cores = [], []

    def shared():
        began, cpu = time.perf_counter(), sum(os.times()[:4])
        run.stats(metric, workers=2)
        spent.append(sum(os.times()[:4]) - cpu)
        cores.append(spent[-1] / (time.perf_counter() - began))

    ratios = against({"one": lambda: run.stats(metric), "two": shared}, rounds, time.perf_counter)
    wall, alone = (duration(ratios[key].seconds) for key in ("two", "one"))
    cpu = f"{duration(statistics.median(spent))} of CPU on {statistics.median(cores):.2g} cores"
    return Figure(ratios["two"].ratio, f"{wall}, one thread {alone}; {cpu}")


def _threads(name, step, n, rounds):
    runs = {
        name: rewind.record(step, 0.0, n, 1, backend="numpy"),
        f"{name}_long": rewind.record(step, 0.0, n, 1, backend="numpy", block_size=min(_LONG, n)),
    }
    return {key: _compare(run, None, rounds) for key, run in runs.items()}


def measure(options):
    """Return the figures by key."""
    n, rounds = options.fast_steps, options.rounds
    figures = {"processes": _compare(rewind.record(fragile, State(0.0), n, 1), "value", rounds)}
    try:
        figures |= _threads("native", native_step("relax"), 5 * n, rounds)
    except NoCompiler as error:
        figures |= dict.fromkeys(("native", "native_long"), Figure(None, str(error)))
    if importlib.util.find_spec("numba") is None:
        return figures | dict.fromkeys(("numba", "numba_long"), Figure(None, "numba is not installed"))
    import numba

    return figures | _threads("numba", numba.njit(relax), 5 * n, rounds)
