"""A task takes hardly longer through `rewind.engine.parallel` than the executor itself takes for it.

Wall time for each of many tasks that do nothing, against the executor's own ``submit`` and ``result`` for as many. A
clock that goes on by a second whenever it is looked at makes each item a task; otherwise a task is made to work for a
quarter of a second.
"""

import contextlib
import importlib.util
import time
from concurrent.futures import ProcessPoolExecutor

from rewind.engine.parallel import TASK_SECONDS, Workers

from .measure import Claim, Figure, against, duration

_BARE = "submit and result alone; wall time"

CLAIMS = (
    Claim("processes", "a task that does nothing, two processes", 2.0, _BARE),
    Claim("dask", "a task that does nothing, two Dask workers", 2.0, _BARE),
)


class Ticking:
    """A clock by which everything takes a second."""

    def __init__(self) -> None:
        self.t = 0.0

    def __call__(self) -> float:
        self.t += 1.0
        return self.t


class Nothing:
    """Work whose items do nothing: `parallel.Work`."""

    def common(self):
        """Return nothing."""

    def part(self, items):
        """Return nothing."""

    @staticmethod
    def start(common, part, items):
        """Yield the items."""
        yield from items

    def here(self, items):
        """Yield the items."""
        yield from items

    def ends(self, answer):
        """Return that every answer matters."""
        return False


def nothing(i):
    """Return what is given."""
    return i


def _compare(executor, n, rounds):
    items = list(range(n))

    def bare():
        futures = [executor.submit(nothing, i) for i in items]
        assert [future.result() for future in futures] == items

    def workers():
        assert list(Workers(executor, Ticking()).answers(Nothing(), items)) == items

    bare()  # starts the workers
    workers()
    ratios = against({"bare": bare, "workers": workers}, 2 * rounds + 1, time.perf_counter)
    ours, alone = (ratios[key].seconds / n for key in ("workers", "bare"))
    note = f"{duration(ours)}, submit and result {duration(alone)}; {ours / TASK_SECONDS:.2%} of a task's work"
    return Figure(ratios["workers"].ratio, note)


def _dask(n, rounds, processes):
    if importlib.util.find_spec("distributed") is None:
        return Figure(None, "dask and distributed are not installed")
    from distributed import Client, LocalCluster

    with contextlib.ExitStack() as stack:
        cluster = LocalCluster(
            n_workers=2, threads_per_worker=1, processes=processes, dashboard_address=None, silence_logs=40
        )
        client = stack.enter_context(Client(stack.enter_context(cluster)))
        return _compare(client.get_executor(), n, rounds)


def measure(options):
    """Return the figures by key."""
    n, rounds = max(options.steps // 500, 8), options.rounds
    with ProcessPoolExecutor(2) as pool:
        figures = {"processes": _compare(pool, n, rounds)}
    # A task of Dask's takes milliseconds, and workers that are processes take seconds to start.
    return figures | {"dask": _dask(max(n // 10, 8), rounds, processes=n >= 100)}
