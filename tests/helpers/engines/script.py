"""Run by tests/runs/test_executors.py: a user's script with a step and classes of its own, on executors one by one.

Usage: script.py [without] NAME ..., where a name is of `engine`, or the address of a Dask cluster.
"""

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
    if "://" in name:
        from distributed import Client

        with Client(name) as client:
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
    expected = asked_of(run, f)
    got = asked_of(run, f, executor=executor)
    assert got == expected
    assert run.verify(full=True, executor=executor)
    if isinstance(run[0], Odd):
        assert [type(state) for state in run.series(None, 0, 60, executor=executor)] == [Odd] * 60


def asked_of(run, f, **how):
    return (
        run.stats(f, **how),
        run.series(f, **how).tobytes(),
        run.first(lambda p: p.x > 2, **how),
        run.branches(9, 4, metric=f, **how).values.tobytes(),
    )


def check_all(executor):
    global Odd
    offset = 3.0
    run, other = rewind.record(step, Point(0.0, 0), 400, 1), rewind.record(odd, Odd(0.0), 400, 1)
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

    other = rewind.record(odd, Odd(0.0), 400, 1)
    check(other, lambda o: o.x + o.way, executor)
    assert Odd.__qualname__ == "Odd" and globals()["Odd"] is Odd and other[3].way > 0


def check_without_cloudpickle(executor):
    run, other = rewind.record(step, Point(0.0, 0), 400, 1), rewind.record(odd, Odd(0.0), 400, 1)
    assert run.stats(x_of, executor=executor) == run.stats(x_of)
    assert other.stats(x_of, executor=executor) == other.stats(x_of)
    try:
        run.stats(lambda p: p.x, executor=executor)
    except rewind.TransferError as error:
        assert "pip install 'rewind-engine[parallel]'" in str(error), error
    else:
        raise AssertionError("a lambda")


if __name__ == "__main__":
    parallel.TASK_SECONDS = 0.0
    names, check_it, first = sys.argv[1:], check_all, Odd
    if names[0] == "without":
        names, check_it = names[1:], check_without_cloudpickle
        sys.modules["cloudpickle"] = None
    for name in names:
        print(name)
        Odd = first
        with engine(name) as executor:
            check_it(executor)
    print("the same")
