"""Two threads share the work of ``verify(full=True)``: hardly more CPU time in all, half of it on each.

CPU time is counted thread by thread, in the tasks, and for the whole process. Which thread takes how many of the tasks
is decided by the operating system, so that the busier one has more to do where another program takes a core away.
"""

import importlib.util
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import rewind

from .compiled import NoCompiler, native_step
from .measure import Claim, Figure, duration
from .steps import relax

_ONE = "verify(full=True) on one thread"

CLAIMS = (
    Claim("native_total", "verify, C step, 2 threads: CPU in all", 1.05, _ONE),
    Claim("native_busier", "  CPU of the busier thread", 0.55, _ONE),
    Claim("numba_total", "verify, numba step, 2 threads: CPU in all", 1.05, _ONE),
    Claim("numba_busier", "  CPU of the busier thread", 0.55, _ONE),
)


class Counting(ThreadPoolExecutor):
    """Threads, with the CPU seconds of each."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.spent = {}

    def submit(self, function, *args) -> Future:
        return super().submit(self._timed, function, *args)

    def _timed(self, function, *args):
        began = time.thread_time()
        try:
            return function(*args)
        finally:
            me = threading.get_ident()
            self.spent[me] = self.spent.get(me, 0.0) + time.thread_time() - began


def _measure(step, n, rounds):
    run = rewind.record(step, 0.0, n, 1, backend="numpy")
    totals, shares, times = [], [], []
    with Counting(2) as pool:
        run.verify(full=True, executor=pool)
        for i in range(rounds):
            for threads in (1, 2) if i % 2 == 0 else (2, 1):
                began, own = time.process_time(), time.thread_time()
                if threads == 1:
                    run.verify(full=True)
                    alone = time.process_time() - began
                else:
                    pool.spent.clear()
                    run.verify(full=True, executor=pool)
                    total = time.process_time() - began
                    busier = max(time.thread_time() - own, *pool.spent.values())
            totals.append(total / alone)
            shares.append(busier / alone)
            times.append(alone)
    middle = rounds // 2
    note = f"{duration(sorted(times)[middle])} on one thread"
    return Figure(sorted(totals)[middle], note), Figure(sorted(shares)[middle], note)


def measure(options):
    """Return the figures by key."""
    figures = {}
    rounds = 2 * options.rounds + 1
    try:
        step = native_step("relax")
        figures["native_total"], figures["native_busier"] = _measure(step, options.fast_steps, rounds)
    except NoCompiler as error:
        figures["native_total"] = figures["native_busier"] = Figure(None, str(error))
    if importlib.util.find_spec("numba") is None:
        figures["numba_total"] = figures["numba_busier"] = Figure(None, "numba is not installed")
        return figures
    import numba

    figures["numba_total"], figures["numba_busier"] = _measure(numba.njit(relax), options.fast_steps, rounds)
    return figures
