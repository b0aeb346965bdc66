"""One run asked by many threads at once, and by children of a process that forks: the bytes of a plain loop.

``tests/stress/concurrency.py`` asks the same for longer.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.abc
import importlib.machinery
import math
import multiprocessing
import os
import pickle
import random
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from helpers.concurrency import (
    BLOCK,
    GUARD,
    KINDS,
    QUESTIONS,
    SEED,
    THREADS,
    Case,
    N,
    Walker,
    at_once,
    kick,
    walk,
    wander,
)
from helpers.native_steps import ring
from helpers.plain import bytes_of, loop

import rewind
from rewind.engine.recording import Recording
from rewind.state.checkpoints import Checkpoints
from rewind.state.digest import digest

pytestmark = [
    # Python 3.12 and later say so wherever a process with threads forks, which is what these tests are about.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


# ---- runs


@pytest.fixture(autouse=True)
def threads_take_turns_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(autouse=True)
def nothing_hangs():
    """End the process where a test hangs: what is waited for does not come."""
    if not hasattr(signal, "alarm"):
        yield
        return
    signal.alarm(GUARD)
    yield
    signal.alarm(0)


def ask_at_once(case: Case, tmp_path: Any, shared: bool = True) -> None:
    """Ask one run everything, from several threads, each in an order of its own.

    Unless its step may be shared, no other run is made of it: each run lets one thread at a time step, and knows of no
    other run.
    """

    def work(i: int) -> None:
        rng = random.Random(i)
        names = 2 * (QUESTIONS if shared else [name for name in QUESTIONS if name != "branch"])
        rng.shuffle(names)
        for k, name in enumerate(names):
            case.ask(name, rng)
            if k % 8 == i % 8 and shared:
                case.run.save(tmp_path / f"{i}.replay")
                loaded = rewind.load(tmp_path / f"{i}.replay", case.step, allow_pickle=True)
                assert loaded.content_hash() == case.hash and digest(loaded.get(77)) == case.truth[77]

    at_once(THREADS, work)


# ---- threads


@pytest.mark.parametrize("memory_budget", [0, "1MB"], ids=["plain", "budget"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_thread_gets_the_bytes_of_a_plain_loop(kind, memory_budget, tmp_path):
    make, init, backend, metric = KINDS[kind]
    step = make()
    case = Case(step, make(), init, backend, metric, memory_budget=memory_budget)
    ask_at_once(case, tmp_path, shared=kind != "own array")


def test_native_steps_give_every_thread_the_same_bytes(library, tmp_path):
    step = rewind.native_step(library.ring)
    ask_at_once(Case(step, ring, np.arange(5.0), "numpy", lambda x: float(x[3])), tmp_path)


def test_numba_steps_give_every_thread_the_same_bytes(tmp_path):
    numba = pytest.importorskip("numba")

    def plain(x, rng):
        return 0.5 * x + rng.random()

    ask_at_once(Case(numba.njit(plain), plain, 0.5, "numpy", None), tmp_path)


@pytest.mark.parametrize("kind", ["dataclass", "array in place"])
def test_a_run_is_pickled_by_many_threads_while_others_ask(kind):
    make, init, backend, metric = KINDS[kind]
    case = Case(make(), make(), init, backend, metric)

    def work(i: int) -> None:
        rng = random.Random(i)
        for _ in range(5):
            case.ask("get", rng)
            copy = pickle.loads(pickle.dumps(case.run))
            assert copy.content_hash() == case.hash and digest(copy.get(99)) == case.truth[99]

    at_once(THREADS, work)


def test_many_threads_may_ask_the_very_first_question_at_once():
    make, init, backend, metric = KINDS["array in place"]
    case = Case(make(), make(), init, backend, metric)
    for _ in range(20):
        run = pickle.loads(pickle.dumps(case.run))
        at_once(THREADS, lambda i, run=run: _equal(run.get(17 * i), case.truth[17 * i]))


def _equal(state: Any, truth: bytes) -> None:
    assert digest(state) == truth


def test_threads_share_what_a_pass_leaves_them_of_a_step_that_raises():
    def fails(x, rng):
        if x == 40:
            raise ValueError("forty")
        return x + 1

    with pytest.raises(rewind.StepError) as caught:
        rewind.record(fails, 0, 100, 1, block_size=20)
    run = caught.value.run

    def work(i: int) -> None:
        for t in range(i, 40, THREADS):
            assert run.get(t) == t
        assert list(run) == list(range(len(run)))

    at_once(THREADS, work)


def test_a_file_that_is_replaced_is_the_old_one_or_the_new_one(tmp_path):
    path = tmp_path / "run.replay"
    runs = [rewind.record(walk, 0, n, seed) for n, seed in ((300, 1), (2000, 2))]
    last = {run.content_hash(): run.get(-1) for run in runs}
    runs[0].save(path)
    done = threading.Event()
    loads: list[str] = []

    def work(i: int) -> None:
        if i < 2:
            try:
                for k in range(15):
                    runs[(i + k) % 2].save(path)
            finally:
                done.set()
            return
        while True:
            over = done.is_set()
            run = rewind.load(path, walk)
            assert run.get(-1) == last[run.content_hash()]
            loads.append(run.content_hash())
            if over:
                return

    at_once(THREADS, work)
    assert len(loads) >= THREADS - 2
    assert os.listdir(tmp_path) == ["run.replay"]


# ---- forks


def in_a_fork(work: Callable[[], None]) -> None:
    """Do `work` in a fork of this process, which is gone afterwards, and see that it was done."""
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(GUARD // 3)  # what hangs is killed, and the parent is told
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    assert killed != signal.SIGALRM, "the child hangs"
    assert (killed, os.WEXITSTATUS(status)) == (0, 0), "the child failed"


class Gate:
    """A place in a step, a codec or a metric where a thread can be stopped."""

    def __init__(self) -> None:
        self.entered, self.go_on, self.skip, self.armed = threading.Event(), threading.Event(), 0, False

    def arm(self, skip: int = 0) -> None:
        self.skip, self.armed = skip, True

    def __call__(self) -> None:
        if not self.armed:
            return
        if self.skip:
            self.skip -= 1
            return
        self.armed = False
        self.entered.set()
        assert self.go_on.wait(GUARD)


@contextlib.contextmanager
def stopped(gate: Gate, work: Callable[[], Any], skip: int = 0) -> Iterator[bool]:
    """While another thread that does `work` stands at the gate; gives False where it never came there."""
    gate.arm(skip)
    failures: list[BaseException] = []

    def begin() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)
        finally:
            gate.entered.set()

    thread = threading.Thread(target=begin)
    thread.start()
    try:
        assert gate.entered.wait(GUARD)
        came, gate.armed = not gate.armed and not gate.skip, False
        yield came
    finally:
        gate.go_on.set()
        thread.join(GUARD)
    assert not failures, failures


WAYS: dict[str, Callable[[rewind.Run[Any]], Any]] = {
    "get": lambda run: [run.get(t) for t in range(97, 125)],
    "stats": lambda run: run.stats(lambda state: 1.0),
    "iter": list,
    "verify": lambda run: run.verify(full=True),
    "branch": lambda run: run.branch(60, noise="same"),
    "first": lambda run: run.first(lambda state: False),
    "extend": lambda run: run.extend(2 * N),
}


@forks
@pytest.mark.parametrize("memory_budget", [0, "1MB"], ids=["plain", "budget"])
@pytest.mark.parametrize("way", WAYS)
def test_a_fork_works_while_another_thread_is_half_way_through_a_step(way, memory_budget):
    gate = Gate()

    def step(x, rng):
        x += rng.random()
        gate()
        x *= 0.5
        return x

    run = rewind.record(step, np.zeros(2), N, SEED, block_size=BLOCK, backend="numpy", memory_budget=memory_budget)
    truth = bytes_of(loop(step, np.zeros(2), N, SEED, BLOCK, "numpy"))
    assert digest(run.get(95)) == truth[95]

    def work() -> None:
        assert [digest(run.get(t)) for t in (100, 101, 95, 94, 3)] == [truth[t] for t in (100, 101, 95, 94, 3)]
        assert bytes_of(run) == truth and run.verify(full=True)
        at_once(3, lambda i: _equal(run.get(50 * i), truth[50 * i]))

    with stopped(gate, lambda: WAYS[way](run), skip=3) as came:
        assert came
        in_a_fork(work)
        in_a_fork(lambda: in_a_fork(work))
    work()


@forks
def test_a_fork_draws_while_another_thread_holds_the_lock_of_the_generator():
    # As it does while it fills a large array, without the GIL.
    gate = Gate()

    def step(x, rng):
        with rng.bit_generator.lock:
            gate()
        return 0.5 * x + rng.standard_normal(500) + rng.choice(3)

    run = rewind.record(step, np.zeros(500), 20, SEED, block_size=5, backend="numpy")
    truth = bytes_of(loop(step, np.zeros(500), 20, SEED, 5, "numpy"))
    with stopped(gate, lambda: run.get(13), skip=2) as came:
        assert came
        in_a_fork(lambda: _same([run.get(13), run.get(14), *run], [truth[13], truth[14], *truth]))
    _same(run, truth)


def _same(states: Any, truth: list[bytes]) -> None:
    assert bytes_of(states) == truth


@forks
@pytest.mark.parametrize("skip", range(4))
def test_a_fork_works_while_another_thread_asks_the_first_question(skip):
    gate = Gate()

    def decode(x):
        gate()
        return {"x": x}

    codec = (lambda s: s["x"], decode)
    recorded = rewind.record(lambda s, rng: {"x": s["x"] + rng.random()}, {"x": 0.0}, N, SEED, codec=codec)
    truth = [state["x"] for state in recorded]
    recorded.content_hash()
    recorded = rewind.record(lambda s, rng: {"x": s["x"] + rng.random()}, {"x": 0.0}, N, SEED, codec=codec)
    with stopped(gate, lambda: recorded.get(60), skip) as came:
        assert came or skip > 2
        in_a_fork(lambda: _numbers([recorded.get(60), recorded.get(61)], truth[60:62]))
    _numbers(recorded, truth)


def _numbers(states: Any, truth: list[float]) -> None:
    assert [state["x"] for state in states] == truth


class Held:
    def __init__(self, x: float) -> None:
        self.x = x


@forks
@pytest.mark.parametrize("skip", range(7))
def test_a_fork_does_not_go_on_from_a_state_nobody_has_compared(skip):
    # The step keeps hold of what it returns. Whether it was changed since is seen by its encoding, during which a
    # thread may stand; the fork knows of no comparison and must not go on from there.
    gate, held = Gate(), Held(0.0)

    def encode(state):
        gate()
        return state.x

    def step(state, rng):
        held.x = state.x + rng.random()
        return held

    run = rewind.record(step, Held(0.0), N, SEED, block_size=50, codec=(encode, Held))
    truth = [state.x for state in run]

    def two() -> None:
        run.get(10)
        run.get(11)

    def work() -> None:
        assert [state.x for state in run.iter(120)] == truth[120:]  # the step's own object is elsewhere now
        assert [run.get(t).x for t in (10, 11, 12)] == truth[10:13]

    run.get(5)
    with stopped(gate, two, skip) as came:
        assert came or skip > 3
        in_a_fork(work)
    work()


@forks
@pytest.mark.parametrize("what", ["save", "load", "pickle", "hash"])
def test_a_fork_saves_and_loads_while_another_thread_does(what, tmp_path):
    run = rewind.record(wander, Walker(), N, SEED, block_size=BLOCK, observe={"x": "x"})
    truth = bytes_of(run)
    path = tmp_path / "run.replay"
    run.save(path)
    busy, stop = threading.Event(), threading.Event()
    ways: dict[str, Callable[[], Any]] = {
        "save": lambda: run.save(path),
        "load": lambda: rewind.load(path, wander),
        "pickle": lambda: pickle.loads(pickle.dumps(run)),
        "hash": lambda: rewind.load(path).content_hash(),
    }

    def others() -> None:
        while not stop.is_set():
            ways[what]()
            busy.set()

    def work() -> None:
        run.save(tmp_path / "child.replay")
        _same(rewind.load(tmp_path / "child.replay", wander), truth)
        _same(pickle.loads(pickle.dumps(run)), truth)
        assert rewind.load(path).content_hash() == run.content_hash()

    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(others) for _ in range(3)]
        try:
            assert busy.wait(GUARD)
            for _ in range(4):
                in_a_fork(work)
        finally:
            stop.set()
        for future in futures:
            future.result(GUARD)


@forks
def test_a_fork_waits_for_a_module_that_another_thread_imports(monkeypatch):
    # What is half imported in a fork stays so: its thread is not there.
    name, gate, about_to_fork = "rewind.imported_by_a_test", Gate(), threading.Event()

    class Late(importlib.abc.Loader, importlib.abc.MetaPathFinder):
        def find_spec(self, fullname, path, target=None):
            return importlib.machinery.ModuleSpec(name, self) if fullname == name else None

        def exec_module(self, module):
            gate()
            module.whole = True

    def let_it_go_on() -> None:
        assert about_to_fork.wait(GUARD)
        sum(range(100_000))
        gate.go_on.set()

    def work() -> None:
        assert importlib.import_module(name).whole

    monkeypatch.setattr(sys, "meta_path", [Late(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, name, raising=False)
    other = threading.Thread(target=let_it_go_on)
    other.start()
    try:
        with stopped(gate, lambda: importlib.import_module(name)) as came:
            assert came
            about_to_fork.set()
            in_a_fork(work)
    finally:
        sys.modules.pop(name, None)
        other.join(GUARD)


@forks
def test_a_fork_waits_for_a_driver_that_another_thread_compiles():
    numba = pytest.importorskip("numba")
    from rewind.steps.jit import build

    def plain(x, rng):
        return 0.5 * x + rng.random()

    case = Case(numba.njit(plain), plain, 0.5, "numpy", None)
    gate, about_to_fork = Gate(), threading.Event()

    def compile_() -> None:
        with build.LOCK:
            gate()

    def let_it_go_on() -> None:
        assert about_to_fork.wait(GUARD)
        sum(range(100_000))
        gate.go_on.set()

    other = threading.Thread(target=let_it_go_on)
    other.start()
    with stopped(gate, compile_) as came:
        assert came
        about_to_fork.set()
        in_a_fork(lambda: [case.ask(name, random.Random(1)) for name in QUESTIONS] and None)
    other.join(GUARD)


@forks
def test_a_fork_asks_while_another_thread_has_the_lock_of_a_cached_property():
    # Before Python 3.12 there is one for all objects of a class.
    run = rewind.record(kick, np.zeros(4), N, SEED, block_size=BLOCK, backend="numpy")
    truth, gate = bytes_of(run), Gate()
    fresh = pickle.dumps(run)
    properties = [thing for cls in (Checkpoints, Recording) for thing in vars(cls).values()]
    locks = [
        thing.lock for thing in properties if isinstance(thing, functools.cached_property) and hasattr(thing, "lock")
    ]

    def hold() -> None:
        with contextlib.ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            gate()

    with stopped(gate, hold) as came:
        assert came
        in_a_fork(lambda: _same(pickle.loads(fresh), truth))


@forks
@pytest.mark.parametrize("kind", ["dataclass in place", "array in place"])
def test_children_of_multiprocessing_work_on_the_run_they_inherit(kind):
    make, init, backend, metric = KINDS[kind]
    case = Case(make(), make(), init, backend, metric)
    stop = threading.Event()

    def others(i: int) -> None:
        rng = random.Random(i)
        while not stop.is_set():
            case.ask(rng.choice(QUESTIONS), rng)

    def child(i: int) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(GUARD // 3)
        rng = random.Random(100 + i)
        for name in QUESTIONS:
            case.ask(name, rng)

    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(others, i) for i in range(3)]
        try:
            context = multiprocessing.get_context("fork")
            for i in range(3):
                process = context.Process(target=child, args=(i,))
                process.start()
                process.join(GUARD)
                assert process.exitcode == 0
        finally:
            stop.set()
        for future in futures:
            future.result(GUARD)


@forks
def test_a_step_that_forks_goes_on_in_both_processes():
    children: list[int] = []
    forking: list[bool] = []

    def step(x, rng):
        x = x + rng.random()
        if forking:
            forking.clear()
            children.append(os.fork())
        return x

    run = rewind.record(step, 0.0, N, SEED, block_size=BLOCK)
    truth = list(run)
    forking.append(True)
    try:
        found = run.get(70)
        found = [found, *(run.get(t) for t in (71, 60, 149))]
        at_once(3, lambda i: [_exactly(run.get(t), truth[t]) for t in range(i, N, 7)])
        good = found == [truth[t] for t in (70, 71, 60, 149)]
    finally:
        if children == [0]:
            os._exit(0 if "good" in locals() and good else 1)
    assert good
    assert os.WEXITSTATUS(os.waitpid(children[0], 0)[1]) == 0


def _exactly(a: float, b: float) -> None:
    assert math.copysign(1.0, a) == math.copysign(1.0, b) and a == b


# ---- whose turn it is


@forks
def test_no_thread_of_a_fork_takes_itself_for_one_that_is_gone(core):
    # A new thread often has the very number of one that was there before the fork.
    turn, gate = core.Turn(), Gate()

    def hold() -> None:
        with turn:
            gate()

    def work() -> None:
        assert not turn.is_mine()
        inside: list[int] = []

        def enter(i: int) -> None:
            for _ in range(100):
                assert not turn.is_mine()
                with turn:
                    assert turn.is_mine() and not inside
                    with turn:
                        inside.append(i)
                    sum(range(20))
                    assert inside.pop() == i

        for _ in range(3):
            at_once(4, enter)
        with turn:
            assert turn.is_mine()

    with stopped(gate, hold) as came:
        assert came and not turn.is_mine()
        in_a_fork(work)
        in_a_fork(lambda: in_a_fork(work))


@forks
def test_a_thread_that_forks_keeps_its_turn(core):
    turn = core.Turn()

    def work() -> None:
        assert turn.is_mine()
        inside: list[bool] = []

        def enter() -> None:
            with turn:
                inside.append(True)

        thread = threading.Thread(target=enter)
        thread.start()
        for _ in range(100_000):
            assert not inside
        turn.__exit__(None, None, None)
        thread.join(GUARD)
        assert inside and not turn.is_mine()

    with turn:
        in_a_fork(work)
        in_a_fork(lambda: in_a_fork(work))
    assert not turn.is_mine()


@forks
def test_turns_come_and_go_before_a_fork(core):
    turns = [core.Turn() for _ in range(50)]
    del turns[::2], turns[5:9]
    others = [core.Turn() for _ in range(5)]

    def work() -> None:
        for turn in [*turns, *others, core.Turn()]:
            with turn:
                assert turn.is_mine()
        turns.clear()

    in_a_fork(work)
    work()
