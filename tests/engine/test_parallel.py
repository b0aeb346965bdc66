"""Work in pieces over an executor: the same answers, whoever does it and in whatever order it is done."""

from __future__ import annotations

import _thread
import concurrent.futures
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest

import rewind
from rewind.engine import parallel
from rewind.engine.parallel import FIRST_WINDOW, RENEWALS, TASK_SECONDS, WINDOW, Lost, ShutDown, Workers
from rewind.engine.transport import Load


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


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


class Squares:
    """`parallel.Work`: the squares of some integers, `seconds` each by the fake clock, up to the first above `most`.

    Where an item is in `raising`, its square is an error.
    """

    def __init__(self, seconds: float = 0.1, most: int = 1 << 62, raising: tuple[int, ...] = ()) -> None:
        self.parts = seconds, most, raising
        self.done: list[int] = []

    def common(self) -> Any:
        return self.parts

    def part(self, items: Any) -> Any:
        return sum(items)

    @staticmethod
    def start(common: Any, part: Any, items: Any) -> Iterator[int]:
        seconds, most, raising = common
        assert part == sum(items)
        for i in items:
            CLOCK.now += seconds
            if i in raising:
                raise ZeroDivisionError(i)
            yield i * i
            if i * i > most:
                return

    def here(self, items: Any) -> Iterator[int]:
        return self.start(self.parts, self.part(items), items)

    def ends(self, answer: int) -> bool:
        return answer > self.parts[1]


class Locks(Squares):
    """Gives what cannot be pickled."""

    @staticmethod
    def start(common: Any, part: Any, items: Any) -> Iterator[Any]:
        yield from [threading.Lock() for _ in items]

    def ends(self, answer: Any) -> bool:
        return False


class Short(Squares):
    """Gives one answer too few."""

    @staticmethod
    def start(common: Any, part: Any, items: Any) -> Iterator[int]:
        yield from list(Squares.start(common, part, items))[: max(1, len(items) - 1)]


class Backward(Executor):
    """Does the last of what was submitted first, one at a time and only when somebody waits for it.

    `lose` is asked with the items of each piece, before it is done: what it returns is what becomes of the piece
    instead. The first `dead` pieces are not even taken.
    """

    made: list[Backward] = []

    def __init__(self, lose: Callable[[list[int]], Exception | None] = lambda items: None, dead: int = 0) -> None:
        self.waiting: list[tuple[Future[Any], Any]] = []
        self.lose, self.dead, self.most = lose, dead, 0
        self.pieces: list[list[int]] = []
        self.closed = False
        Backward.made.append(self)

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.dead:
            raise BrokenExecutor("dead")
        if self.closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[Any] = Future()
        self.waiting.append((future, (function, args)))
        self.most = max(self.most, sum(not future.done() for future, _ in self.waiting))
        return future

    def go(self) -> None:
        """Do the last piece that waits."""
        while self.waiting:
            future, (function, args) = self.waiting.pop()
            if not future.set_running_or_notify_cancel():
                continue
            items = list(args[0][3]) if isinstance(args[0], tuple) else []
            self.pieces.append(items)
            error = self.lose(items)
            if error is None:
                future.set_result(function(*args))
                return
            future.set_exception(error)
            if isinstance(error, BrokenExecutor):  # and so is everything else it had
                for other, _ in self.waiting:
                    if not other.done():
                        other.set_exception(error)
                self.waiting.clear()
            return

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.closed = True


class Forward(Backward):
    """The same, the first first."""

    def go(self) -> None:
        self.waiting.reverse()
        super().go()
        self.waiting.reverse()


@pytest.fixture(autouse=True)
def waiting_makes_it_go(monkeypatch):
    """`wait`, as the library calls it, lets fake executors do a piece."""
    real = concurrent.futures.wait

    def wait(futures: Any, timeout: float | None = None, return_when: str = "ALL_COMPLETED") -> Any:
        for executor in Backward.made:
            executor.go()
        return real(futures, timeout, return_when)

    monkeypatch.setattr(concurrent.futures, "wait", wait)
    yield
    Backward.made.clear()


def workers(executor: Any, renew: Any = None, shares_memory: bool = True) -> Workers:
    return Workers(executor, CLOCK, renew, shares_memory)


# ---- the answers


@pytest.mark.once
@pytest.mark.parametrize("shares_memory", [True, False])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 1000])
def test_answers_come_in_order_however_the_work_is_done(n, shares_memory):
    executor = Backward()
    assert list(workers(executor, None, shares_memory).answers(Squares(), range(n))) == [i * i for i in range(n)]
    assert executor.most <= WINDOW and bool(executor.pieces) == (n > 1)


@pytest.mark.once
@pytest.mark.parametrize("most", [0, 5, 100, 5000])
def test_nothing_comes_after_the_answer_that_ends_the_work(most):
    executor = Backward()
    found = list(workers(executor).answers(Squares(most=most), range(1000)))
    last = next(i for i in range(1000) if i * i > most)
    assert found == [i * i for i in range(last + 1)]
    assert all(future.cancelled() or future.done() for future, _ in executor.waiting)


@pytest.mark.once
def test_an_error_comes_after_the_answers_before_it_and_the_earliest_one_is_raised():
    for at in (0, 1, 7, 500):
        found: list[int] = []
        with pytest.raises(ZeroDivisionError, match=f"^{at}$"):
            for answer in workers(Backward()).answers(Squares(0.03, raising=(at, 600)), range(1000)):
                found.append(answer)
        assert found == [i * i for i in range(at)]


def test_an_error_after_the_end_is_nobody_s():
    assert list(workers(Backward()).answers(Squares(most=100, raising=(12,)), range(1000)))[-1] == 121


def test_what_is_not_needed_any_more_is_cancelled():
    executor = Forward()
    answers = workers(executor).answers(Squares(), range(10 * WINDOW))
    assert [next(answers), next(answers)] == [0, 1]
    answers.close()
    assert executor.waiting and all(future.cancelled() for future, _ in executor.waiting)


def test_an_engine_whose_cancel_raises_does_no_harm():
    class Uncancellable(Future):  # type: ignore[type-arg]
        def cancel(self) -> bool:
            raise NotImplementedError

    class Engine(Backward):
        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            super().submit(function, *args, **kwargs)
            work = self.waiting.pop()[1]
            self.waiting.append((Uncancellable(), work))
            return self.waiting[-1][0]

    assert list(workers(Engine()).answers(Squares(most=20), range(100)))[-1] == 25
    answers = workers(Engine()).answers(Squares(), range(100))
    next(answers), next(answers)
    answers.close()


def test_a_piece_with_too_few_answers_is_an_error_and_no_hang():
    # It looks like a piece with the end in it, until the end is not there.
    with pytest.raises(AssertionError, match="answers for .* items"):
        list(workers(Backward()).answers(Short(0.01), range(1000)))


def test_an_answer_that_cannot_travel_is_an_error_that_says_so():
    with pytest.raises(rewind.TransferError, match="cannot send its answer back.*lock.*plain values or arrays"):
        list(workers(Backward(), None, False).answers(Locks(), range(100)))


# ---- how much at a time


@pytest.mark.once
def test_pieces_take_a_quarter_of_a_second_by_what_the_first_item_took():
    executor = Backward()
    list(workers(executor).answers(Squares(0.01), range(10_000)))
    sizes = {len(piece) for piece in sorted(executor.pieces)[:-1]}  # all but the rest at the end
    assert sizes <= {24, 25, 26} and TASK_SECONDS == 0.25


def test_what_the_workers_took_counts_more_than_the_first_item():
    class Easy(Squares):
        def here(self, items: Any) -> Iterator[int]:
            yield items[0] ** 2  # in no time

    executor = Backward()
    list(workers(executor).answers(Easy(0.1), range(10_000)))
    assert len(max(executor.pieces, key=len)) == 10_000 // FIRST_WINDOW  # not all of them
    assert len(executor.pieces) >= FIRST_WINDOW
    executor = Backward()
    list(workers(executor).answers(Squares(10.0), range(100)))
    assert {len(piece) for piece in executor.pieces} == {1}


@pytest.mark.once
@pytest.mark.parametrize("seconds", [0.01, 10.0])
def test_never_more_than_a_window_is_under_way(seconds):
    class Counting(Backward):
        after = False
        first = 0

        def go(self) -> None:
            self.first = self.first or self.most
            super().go()

    executor = Counting()
    list(workers(executor).answers(Squares(seconds), range(200 * WINDOW if seconds < 1 else 3 * WINDOW)))
    assert executor.first == FIRST_WINDOW and executor.most == WINDOW


def test_what_was_sent_is_bounded_in_bytes_too(monkeypatch):
    monkeypatch.setattr(parallel, "WINDOW_BYTES", 1000)
    executor = Backward()
    list(workers(executor, None, False).answers(Squares(10.0), range(300)))
    assert executor.most <= 1000 // 100 + 4
    assert len(executor.pieces) == 299


def test_what_all_pieces_share_is_pickled_once():
    class Once(Backward):
        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            loads.append(args[0])
            return super().submit(function, *args, **kwargs)

    loads: list[Load] = []
    list(workers(Once(), None, False).answers(Squares(10.0), range(50)))
    assert len(loads) == 49 and all(load.common is loads[0].common for load in loads)


# ---- workers that are lost


def test_lost_pieces_are_done_again_and_only_these():
    times = []

    def lose(items: list[int]) -> Exception | None:
        if 40 in items and not times:
            times.append(1)
            return BrokenExecutor("gone")
        return None

    answers = list(workers(Backward(lose), lambda: Backward(lose)).answers(Squares(10.0), range(100)))
    assert answers == [i * i for i in range(100)] and len(Backward.made) == 2
    first, second = ({items[0] for items in executor.pieces} for executor in Backward.made)
    assert first & second <= {40} and first | second == set(range(1, 100))


def test_what_comes_back_while_another_piece_is_lost_is_kept():
    class Both(Backward):
        """Two pieces at a time; the second, which comes back, comes while the first is seen to be lost."""

        def go(self) -> None:
            super().go()
            super().go()

    def lose(items: list[int]) -> Exception | None:
        return BrokenExecutor("gone") if items == [15] and len(Backward.made) == 1 else None

    answers = list(workers(Both(lose), lambda: Both(lose)).answers(Squares(10.0), range(40)))
    assert answers == [i * i for i in range(40)]
    first, second = ({items[0] for items in executor.pieces} for executor in Backward.made)
    assert first & second == {15}


def test_without_a_factory_the_error_says_what_is_done():
    def lose(items: list[int]) -> Exception | None:
        return BrokenExecutor("gone") if 40 in items else None

    found: list[int] = []
    with pytest.raises(Lost) as caught:
        found.extend(workers(Backward(lose)).answers(Squares(10.0), range(100)))
    for answer in workers(Backward()).answers(Squares(10.0), range(100)):
        found.append(answer)
        if len(found) == caught.value.done:
            break
    assert caught.value.total == 100 and caught.value.done <= 40 and str(caught.value.error) == "gone"


def test_a_loss_after_the_end_is_nobody_s():
    def lose(items: list[int]) -> Exception | None:
        return RuntimeError("lost") if items[0] > 12 else None

    assert list(workers(Backward(lose)).answers(Squares(10.0, most=100), range(14)))[-1] == 121


@pytest.mark.once
@pytest.mark.parametrize("at", [1, 8, 40])
def test_a_piece_that_kills_every_worker_ends_it_after_a_few_renewals(at):
    def lose(items: list[int]) -> Exception | None:
        return BrokenExecutor("gone") if at in items else None

    found: list[int] = []
    with pytest.raises(Lost) as caught:
        for answer in workers(Forward(lose), lambda: Forward(lose)).answers(Squares(10.0), range(100)):
            found.append(answer)
    renewals = RENEWALS if at > 1 else 1  # where no worker ever answered, it is not the piece that kills
    assert found == [i * i for i in range(at)] and len(Backward.made) == 1 + renewals
    assert caught.value.answered == (at > 1)


def test_a_factory_that_fails_ends_it_too():
    def lose(items: list[int]) -> Exception | None:
        return BrokenExecutor("gone")

    def factory() -> Any:
        raise OSError("no more processes")

    with pytest.raises(Lost) as caught:
        list(workers(Backward(lose), factory).answers(Squares(10.0), range(100)))
    assert isinstance(caught.value.error, OSError)


@pytest.mark.parametrize("renew", [None, lambda: Backward(dead=1)])
def test_an_executor_that_takes_nothing_is_told_apart(renew):
    with pytest.raises(ShutDown) as caught:
        list(workers(Backward(dead=1), renew).answers(Squares(), range(100)))
    assert isinstance(caught.value.__cause__, BrokenExecutor)


def test_much_that_is_back_before_a_lost_piece_does_not_stop_it(monkeypatch):
    monkeypatch.setattr(parallel, "WINDOW", 4)
    monkeypatch.setattr(parallel, "FIRST_WINDOW", 4)
    n = 0

    def lose(items: list[int]) -> Exception | None:
        nonlocal n
        if items == [1]:  # the last of the window, when all that may wait for it waits
            n += 1
            return BrokenExecutor("gone") if n == 1 else None
        return None

    class Late(Backward):
        def go(self) -> None:
            first = [entry for entry in self.waiting if list(entry[1][1][0][3]) == [1]]
            if len(self.waiting) > 1 and first:
                self.waiting.remove(first[0])
                self.waiting.insert(0, first[0])
            super().go()

    assert list(workers(Late(lose), lambda: Late(lose)).answers(Squares(10.0), range(60))) == [i * i for i in range(60)]


def test_futures_that_an_executor_cancels_when_it_is_shut_down_are_lost(monkeypatch):
    monkeypatch.setattr(parallel, "GLANCE", 0.01)

    class Leaving(Backward):
        def go(self) -> None:
            for future, _ in self.waiting[::-1]:
                future.cancel()  # as ThreadPoolExecutor does: `wait` is not told
            self.closed = True

    with pytest.raises(Lost):
        list(workers(Leaving()).answers(Squares(10.0), range(100)))


def test_control_c_while_waiting_is_heard(monkeypatch):
    monkeypatch.setattr(parallel, "GLANCE", 0.05)

    class Forever(Backward):
        def go(self) -> None:
            _thread.interrupt_main()

    executor = Forever()
    with pytest.raises(KeyboardInterrupt):
        list(workers(executor).answers(Squares(10.0), range(100)))
    assert all(future.cancelled() for future, _ in executor.waiting)


# ---- runs


EXECUTORS: dict[str, Callable[[], Executor]] = {
    "threads": lambda: ThreadPoolExecutor(3),
    "processes": lambda: ProcessPoolExecutor(2, mp_context=get_context("forkserver")),
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
    assert runs[0].verify(full, executor=EXECUTORS[name]) is True  # a factory, whose pool is shut down afterwards


@pytest.mark.parametrize("name", ["threads", "backward"])
def test_the_failure_that_is_found_does_not_depend_on_the_executor(name):
    run = rewind.record(Hidden(), 0.0, 2000, 1, block_size=20, trial=False)
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


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_stopping_from_progress_stops_the_workers(error):
    run = rewind.record(walk, 0, 100_000, 1, block_size=100)

    def stop(event: Any) -> None:
        raise error("enough")

    before = threading.active_count()
    with pytest.raises(error, match="enough"):
        run.verify(full=True, executor=EXECUTORS["threads"], progress=stop)
    assert threading.active_count() == before
    with EXECUTORS["threads"]() as executor:
        with pytest.raises(error, match="enough"):
            run.stats(executor=executor, progress=stop)
        assert run.verify(executor=executor)
    assert run.verify()


@pytest.mark.parametrize("bad", [3, "threads", object(), lambda: 3])
def test_what_is_no_executor_is_refused(bad):
    run = rewind.record(walk, 0, 100, 1)
    with pytest.raises(rewind.ArgumentTypeError, match="executor is .*expected a concurrent.futures.Executor"):
        run.verify(executor=bad)


@pytest.mark.parametrize("n", [0, -1, 2.5, "many"])
def test_what_is_no_number_of_workers_is_refused(n):
    run = rewind.record(walk, 0, 100, 1)
    with pytest.raises((rewind.ArgumentError, rewind.ArgumentTypeError), match="workers is"):
        run.stats(workers=n)
    with pytest.raises(rewind.ArgumentError, match="where executor= is given"):
        run.stats(workers=2, executor=ThreadPoolExecutor)


@pytest.mark.parametrize("factory", [False, True])
def test_an_executor_that_was_shut_down_is_refused(factory):
    run = rewind.record(walk, 0, 1000, 1)
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    for ask in (run.stats, run.verify, run.series, lambda **how: run.first(lambda x: x > 999, **how)):
        with pytest.raises(rewind.ArgumentError, match="takes work.*cannot schedule new futures after shutdown"):
            ask(executor=(lambda: executor) if factory else executor)
