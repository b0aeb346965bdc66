"""Run by tests/runs/test_executors.py: a user's script, with a step and classes of its own, and an executor."""

import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

import rewind
from rewind.engine import parallel


@dataclass
class Point:
    x: float
    n: int


class Odd:
    def __init__(self, x):
        self.x, self.seen = x, {1}

    def moved(self, by):
        return Odd(self.x + by)


def step(p, rng):
    return Point(p.x + rng.random() - 0.5, p.n + 1)


def odd(o, rng):
    assert isinstance(o, Odd)
    return o.moved(rng.random() - 0.5)


def x_of(p):
    assert isinstance(p, (Point, Odd))
    return p.x


@contextmanager
def engine(name):
    if name == "dask":
        from distributed import Client, LocalCluster

        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
            with Client(cluster) as client:
                yield client
    elif name == "loky":
        from loky import get_reusable_executor

        with get_reusable_executor(2) as executor:
            yield executor
    elif name == "thread":
        with ThreadPoolExecutor(2) as executor:
            yield executor
    else:
        with ProcessPoolExecutor(2, mp_context=get_context(name)) as executor:
            yield executor


def check(run, f, executor):
    assert run.stats(f, executor=executor) == run.stats(f)
    assert run.series(f, executor=executor).tobytes() == run.series(f).tobytes()
    assert run.verify(full=True, executor=executor)
    if isinstance(run[0], Odd):
        assert [type(state) for state in run.series(None, 0, 60, executor=executor)] == [Odd] * 60
    assert run.first(lambda p: p.x > 2, executor=executor) == run.first(lambda p: p.x > 2)
    assert (
        run.branches(9, 4, metric=f, executor=executor).values.tobytes()
        == run.branches(9, 4, metric=f).values.tobytes()
    )


if __name__ == "__main__":
    parallel.TASK_SECONDS = 0.0
    without = sys.argv[2:] == ["without"]
    if without:
        sys.modules["cloudpickle"] = None
    with engine(sys.argv[1]) as executor:
        offset = 3.0
        run, other = rewind.record(step, Point(0.0, 0), 400, 1), rewind.record(odd, Odd(0.0), 400, 1)
        if without:
            assert run.stats(x_of, executor=executor) == run.stats(x_of)
            assert other.stats(x_of, executor=executor) == other.stats(x_of)
            try:
                run.stats(lambda p: p.x, executor=executor)
            except rewind.TransferError as error:
                assert "pip install 'rewind-engine[parallel]'" in str(error), error
            else:
                raise AssertionError("a lambda")
        else:
            for f in (x_of, lambda p: p.x + offset):
                check(run, f, executor)
                check(other, f, executor)

            # As in a notebook: another class and step of the same names, while the workers know the older ones.
            class Odd:
                def __init__(self, x):
                    self.x, self.seen, self.way = x, {1}, 0.0

                def moved(self, by):
                    other = Odd(self.x - 2 * by)
                    other.way = self.way + abs(by)
                    return other

            Odd.__qualname__ = "Odd"
            other = rewind.record(odd, Odd(0.0), 400, 1)
            check(other, lambda o: o.x + o.way, executor)
            assert globals()["Odd"] is Odd and other[3].way > 0
    print("the same")
