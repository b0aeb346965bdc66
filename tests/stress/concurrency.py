"""Threads and forks at random moments, for longer: ``python tests/stress/concurrency.py [ROUNDS]`` (default 20).

A round asks one run of each kind everything from six threads at once, forks while they are at it, and has files loaded
while they are replaced; on each of the kernels that are here. What is compared are the bytes of a plain loop. It ends
with an exit code other than 0 at the first answer that is wrong, and where a child hangs.
"""

import ctypes
import faulthandler
import os
import pathlib
import pickle
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from helpers import concurrency as fast
from helpers import native_steps

import rewind
from rewind.state.digest import digest

THREADS = 6
FORKS = 10  # of each kind in a round
SAVES = 40  # in a round
CHILD_SECONDS = 30  # after which a child hangs


class Counts(dict):
    """How often what was done, for several threads."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def more(self, what):
        """Count one."""
        with self.lock:
            self[what] = self.get(what, 0) + 1


def numba_case(**more):
    """Return a run of a numba step, None where there is no numba."""
    try:
        import numba
    except ImportError:
        return None

    def plain(x, rng):
        return 0.5 * x + rng.random()

    return fast.Case(numba.njit(plain), plain, 0.5, "numpy", None, **more)


def native_case(folder, **more):
    """Return a run of a C step, None where there is no compiler."""
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        return None
    native_steps.build_library(pathlib.Path(folder))
    ring = ctypes.CDLL(f"{folder}/steps.so").ring
    ring.argtypes, ring.restype = native_steps.POINTERS, ctypes.c_int
    step = rewind.native_step(ring)
    return fast.Case(step, native_steps.ring, np.arange(5.0), "numpy", lambda x: float(x[3]), **more)


def cases(folder):
    """Yield (name, run with what is known of it, whether its step may be shared with other runs)."""
    for budget in (0, "1MB"):
        for name, (make, init, backend, metric) in fast.KINDS.items():
            yield name, fast.Case(make(), make(), init, backend, metric, memory_budget=budget), name != "own array"
        for name, case in (("numba", numba_case(memory_budget=budget)), ("C", native_case(folder))):
            if case is not None:
                yield name, case, True


def ask(case, shared, rng, counts, folder, tag):
    """Ask one question at random."""
    more = ["save", "pickle"] if shared else []
    name = rng.choice([*(name for name in fast.QUESTIONS if shared or name != "branch"), *more])
    if name == "save":
        path = f"{folder}/{tag}.replay"
        case.run.save(path)
        other = rewind.load(path, case.step, allow_pickle=True)
    elif name == "pickle":
        try:
            other = pickle.loads(pickle.dumps(case.run))
        except (pickle.PicklingError, AttributeError):  # a step that is no function of a module
            return
    else:
        case.ask(name, rng)
        counts.more(name)
        return
    t = rng.randrange(fast.N)
    assert other.content_hash() == case.hash and digest(other.get(t)) == case.truth[t], name
    counts.more(name)


def in_a_fork(work):
    """Do `work` in a fork, and see that it was done."""
    child = os.fork()
    if child == 0:
        try:
            faulthandler.register(signal.SIGALRM, chain=True)  # says where it hangs, and then it is killed
            signal.alarm(CHILD_SECONDS)
            work()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status == 0, "a child hangs" if os.WIFSIGNALED(status) else "a child failed"


def one_kind(case, shared, seed, counts, folder):
    """Ask from several threads, and fork meanwhile."""
    stop, failures = threading.Event(), []
    first = pickle.dumps(case.run) if seed % 2 and shared and case.step.__name__ in fast.__dict__ else None
    if first is not None:  # the forks come while the very first questions are asked
        case.run = pickle.loads(first)

    def work(i):
        rng = random.Random(f"{seed} {i}")
        try:
            while not stop.is_set():
                ask(case, shared, rng, counts, folder, i)
        except BaseException as error:
            failures.append(error)
            stop.set()

    def child(k):
        rng = random.Random(f"{seed} child {k}")
        for _ in range(6):
            ask(case, shared, rng, Counts(), folder, f"child {k}")
        fast.at_once(3, lambda i: ask(case, shared, random.Random(f"{seed} {k} {i}"), Counts(), folder, f"c{k} {i}"))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        for k in range(FORKS if hasattr(os, "fork") else 0):
            in_a_fork(lambda k=k: child(k))
            counts.more("fork")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


def replaced(counts, folder, seed):
    """Load a file from four threads while two others replace it."""
    path = f"{folder}/replaced.replay"
    runs = [rewind.record(fast.walk, 0, n, seed + n) for n in (300, 5000)]
    last = {run.content_hash(): run.get(-1) for run in runs}
    runs[0].save(path)
    done = threading.Event()

    def work(i):
        if i < 2:
            try:
                for k in range(SAVES // 2):
                    runs[(i + k) % 2].save(path)
                    counts.more("replace")
            finally:
                done.set()
            return
        while not done.is_set():
            run = rewind.load(path, fast.walk)
            assert run.get(-1) == last[run.content_hash()]
            counts.more("load")

    fast.at_once(THREADS, work)


def main():
    """Run the rounds, on each kernel in a process of its own."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    if len(sys.argv) < 3:
        kernels = ["compiled", "python"] if rewind.kernel_name == "compiled" else ["python"]
        for kernel in kernels:
            command = [sys.executable, __file__, str(rounds), kernel]
            done = subprocess.run(command, env={**os.environ, "REWIND_KERNEL": kernel})
            if done.returncode:
                sys.exit(f"{kernel}: failed")
        return
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on forks of a process with threads
    counts, began = Counts(), time.monotonic()
    for i in range(rounds):
        sys.setswitchinterval((1e-6, 1e-5, 1e-4, 5e-3)[i % 4])
        with tempfile.TemporaryDirectory() as folder:
            for name, case, shared in cases(folder):
                try:
                    one_kind(case, shared, i, counts, folder)
                except BaseException:
                    print(f"{rewind.kernel_name}: round {i}, {name}", file=sys.stderr)
                    raise
            replaced(counts, folder, i)
    asked = ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items()))
    total = sum(counts.values())
    print(
        f"{rewind.kernel_name}: {rounds} rounds, {total:,} right answers in {time.monotonic() - began:.0f} s: {asked}"
    )


if __name__ == "__main__":
    main()
