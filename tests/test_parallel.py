"""Work in pieces over an executor: the same answers, whoever does it and in whatever order it is done."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest

import rewind
from rewind.engine.parallel import WINDOW, in_order


def walk(x: int, rng: random.Random) -> int:
    return x + (1 if rng.random() < 0.5 else -1)


def kick(x: Any, rng: np.random.Generator) -> Any:
    x *= 0.5
    x += rng.random(x.shape)
    return x


class Hidden:
    """A step whose states depend on how often it was called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: float, rng: random.Random) -> float:
        self.calls += 1
        return x + self.calls


class Backward(Executor):
    """Does the last of what was submitted first, and counts what is under way."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.most, self.cancelled = 0, 0

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        executor = self

        class Lazy(Future):  # type: ignore[type-arg]
            def result(self, timeout: float | None = None) -> Any:
                executor.do()
                return super().result(timeout)

            def cancel(self) -> bool:
                executor.cancelled += not self.done()
                return super().cancel()

        future = Lazy()
        self.waiting.append((future, lambda: function(*args, **kwargs)))
        self.most = max(self.most, len(self.waiting))
        return future

    def do(self) -> None:
        """Do all that waits, the last first."""
        while self.waiting:
            future, work = self.waiting.pop()
            if not future.cancelled():
                try:
                    future.set_result(work())
                except Exception as error:
                    future.set_exception(error)


def test_results_come_in_order_however_the_work_is_done():
    executor = Backward()
    assert list(in_order(executor, lambda i: i * i, ((i,) for i in range(1000)))) == [i * i for i in range(1000)]
    assert executor.most <= WINDOW
    assert list(in_order(None, lambda i: i * i, ((i,) for i in range(5)))) == [0, 1, 4, 9, 16]


def test_what_is_not_needed_any_more_is_cancelled():
    executor = Backward()
    results = in_order(executor, lambda i: 1 // i, ((i,) for i in (1, 0, 2, 3)))
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    executor = Backward()
    results = in_order(executor, lambda i: i, ((i,) for i in range(10 * WINDOW)))
    next(results)
    next(results)
    results.close()
    assert executor.cancelled == 0 or executor.cancelled < WINDOW


EXECUTORS: dict[str, Callable[[], Executor]] = {
    "threads": lambda: ThreadPoolExecutor(3),
    "processes": lambda: ProcessPoolExecutor(2, mp_context=get_context("fork")),
    "backward": Backward,
}


@pytest.mark.parametrize("name", EXECUTORS)
@pytest.mark.parametrize("full", [False, True])
def test_verify_says_yes_on_any_executor(name, full):
    runs = [
        rewind.record(walk, 0, 1000, 1, block_size=30),
        rewind.record(walk, 0, 1000, 1, block_size=30).extend(3000),
        rewind.record(kick, np.zeros(4), 500, 2, block_size=7, backend="numpy").branch(33, noise="same"),
        rewind.record(walk, 0, 5, 1),
        rewind.record(walk, 0, 1, 1),
    ]
    with EXECUTORS[name]() as executor:
        for run in runs:
            assert run.verify(full, executor=executor) is True
    assert runs[0].verify(full, executor=EXECUTORS[name]) is True  # a factory, whose pool is shut down behind


@pytest.mark.parametrize("name", ["threads", "backward"])
def test_the_failure_that_is_found_does_not_depend_on_the_executor(name):
    run = rewind.record(Hidden(), 0.0, 2000, 1, block_size=20)
    texts = []
    for executor in (None, EXECUTORS[name]):
        with pytest.raises(rewind.NondeterministicReplayError) as caught:
            run.verify(full=True, executor=executor)
        texts.append(caught.value.block)
    assert texts[0] == texts[1] == 99  # the last block is looked at first


def test_progress_counts_blocks_on_an_executor_too():
    run = rewind.record(walk, 0, 1000, 1, block_size=10)
    seen: list[Any] = []
    assert run.verify(full=True, executor=EXECUTORS["threads"], progress=seen.append)
    assert seen and seen[-1].done == seen[-1].total == 100
    assert [event.done for event in seen] == sorted(event.done for event in seen)


def test_stopping_from_progress_stops_the_workers():
    run = rewind.record(walk, 0, 100_000, 1, block_size=100)

    def stop(event: Any) -> None:
        raise RuntimeError("enough")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="enough"):
        run.verify(full=True, executor=EXECUTORS["threads"], progress=stop)
    assert threading.active_count() == before
    assert run.verify()


@pytest.mark.parametrize("bad", [3, "threads", object(), lambda: 3])
def test_what_is_no_executor_is_refused(bad):
    run = rewind.record(walk, 0, 100, 1)
    with pytest.raises(rewind.ArgumentTypeError, match="executor is .*expected a concurrent.futures.Executor"):
        run.verify(executor=bad)
