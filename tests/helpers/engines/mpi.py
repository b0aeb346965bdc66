"""Run by tests/runs/test_executors.py under ``mpiexec -n 3 python -m mpi4py.futures``: everything, on MPI processes."""

from helpers.engines.steps import Fuse, answers, runs
from mpi4py.futures import MPIPoolExecutor

import rewind
from rewind.engine import parallel


def here(x, rng):
    return x + rng.random()


if __name__ == "__main__":
    parallel.TASK_SECONDS = 0.0
    with MPIPoolExecutor() as executor:
        for name, run in runs().items():
            assert answers(run, executor=executor) == answers(run), name
        run = rewind.record(here, 0.0, 1000, 1)  # of this script
        assert run.stats(lambda x: 2 * x, executor=executor) == run.stats(lambda x: 2 * x)
        run = rewind.record(Fuse(__file__, 10**9), [0.0, 0.0], 100, 1)
        try:
            run.stats(Fuse(__file__, 77), executor=executor)
        except rewind.MetricError as error:
            assert error.step == 77 and isinstance(error.__cause__, ZeroDivisionError)
        else:
            raise AssertionError("a metric that raises")
    try:
        run.stats(Fuse(__file__, 10**9), executor=executor)
    except rewind.ArgumentError as error:
        assert "takes work" in str(error)
    print("the same")
