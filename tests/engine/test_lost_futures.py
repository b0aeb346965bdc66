"""Executors that lose futures, give one twice or give none: each is refused by name, and none is waited for in vain."""

from __future__ import annotations

from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest
from helpers.plain import walk

import rewind
from rewind.engine import parallel

pytestmark = pytest.mark.once


class Threads(Executor):
    """Threads, of which a test makes an executor that does something else with its `n`-th call."""

    def __init__(self) -> None:
        self.pool, self.n, self.given = ThreadPoolExecutor(2), 0, []

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.n += 1
        future = self.pool.submit(function, *args, **kwargs)
        self.given.append(future)
        return self.other(future) if self.n == 3 else future

    def other(self, future: Any) -> Any:
        return future


class Nothing(Threads):
    def other(self, future: Any) -> Any:
        return None


class NoFuture(Threads):
    def other(self, future: Any) -> Any:
        return future.result()


class Twice(Threads):
    def other(self, future: Any) -> Any:
        return self.given[-2]


class Finished(Threads):
    def other(self, future: Any) -> Any:
        other: Future[Any] = Future()
        other.set_result(self.given[0].result())
        return other


class Another(Threads):
    def other(self, future: Any) -> Any:
        other: Future[Any] = Future()
        other.set_result(42)
        return other


class Lost(Threads):
    def other(self, future: Any) -> Any:
        return Future()


class Leaving(Threads):
    """As `asyncio` does: its CancelledError is no Exception."""

    def other(self, future: Any) -> Any:
        other: Future[Any] = Future()
        other.set_exception(BaseException("the loop is closed"))
        return other


REFUSED = {
    Nothing: "its submit gave None, which is no future",
    NoFuture: "its submit gave .*Outcome.*, which is no future",
    Twice: "its submit gave the same future for two calls|gave what another call returned",
    Finished: "gave what another call returned",
    Another: "gave 42, which is not what was to be called",
    Lost: "1 of the futures that its submit gave never came back, and a later one did",
}


@pytest.fixture(scope="module")
def run() -> Any:
    return rewind.record(walk, 0, 4000, 1, block_size=10)


@pytest.mark.parametrize("kind", REFUSED)
def test_an_executor_that_is_none_is_refused_by_name(kind: Any, run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(parallel, "GLANCE", 0.01)
    monkeypatch.setattr(parallel, "PATIENCE", 0.05)
    monkeypatch.setattr(parallel, "PATIENCE_PIECES", 0)
    monkeypatch.setattr(parallel, "TASK_SECONDS", 0.001)
    with pytest.raises(
        rewind.ArgumentError, match=f"executor is .*{kind.__name__}.*This one does not: .*{REFUSED[kind]}"
    ):
        run.stats(executor=kind())


def test_one_whose_futures_end_otherwise_is_lost(run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(parallel, "TASK_SECONDS", 0.001)
    with pytest.raises(rewind.WorkersLostError, match="the loop is closed"):
        run.stats(executor=Leaving())


def test_one_that_is_slow_is_waited_for(run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(parallel, "GLANCE", 0.001)
    monkeypatch.setattr(parallel, "PATIENCE", 0.0)
    monkeypatch.setattr(parallel, "PATIENCE_PIECES", 0)
    monkeypatch.setattr(parallel, "TASK_SECONDS", 0.001)

    def slow(x: int) -> int:
        return sum(range(1000)) * 0 + x

    assert run.stats(slow, executor=Threads()).mean == run.stats().mean
