"""Steps that keep hold of what they return: somebody else may write there between two questions."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import rewind
from rewind.state.digest import digest


def own_array() -> Callable[..., Any]:
    """A step that returns its own array, always the same."""
    buffer = np.zeros(3)

    def step(x: Any, rng: np.random.Generator) -> Any:
        np.add(x, rng.random(), out=buffer)
        return buffer

    return step


def inside_a_dict() -> Callable[..., Any]:
    buffer = np.zeros(3)

    def step(state: Any, rng: np.random.Generator) -> Any:
        np.add(state["x"], rng.random(), out=buffer)
        return {"x": buffer, "n": state["n"] + 1}

    return step


def inside_a_list() -> Callable[..., Any]:
    buffers = [np.zeros(2), np.zeros(2)]

    def step(state: Any, rng: np.random.Generator) -> Any:
        for buffer, x in zip(buffers, state, strict=True):
            np.add(x, rng.random(), out=buffer)
        return list(buffers)

    return step


def an_object() -> Callable[..., Any]:
    held = {"set": set()}

    def step(state: Any, rng: np.random.Generator) -> Any:
        held["set"].clear()
        held["set"].update({n + 1 for n in state["set"]}, {int(rng.integers(5))})
        return held

    return step


def by_identity() -> Callable[..., Any]:
    """A step whose result depends on whether it is given its own array back."""
    buffer = np.zeros(2)

    def step(x: Any, rng: np.random.Generator) -> Any:
        buffer[0] = x[0] + rng.random()
        buffer[1] = x[0] + x[1]
        return buffer

    return step


KINDS: dict[str, tuple[Callable[[], Callable[..., Any]], Any]] = {
    "array": (own_array, np.zeros(3)),
    "dict": (inside_a_dict, {"x": np.zeros(3), "n": 0}),
    "list": (inside_a_list, [np.zeros(2), np.zeros(2)]),
    "object": (an_object, {"set": {1}}),
    "identity": (by_identity, np.zeros(2)),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def recorded(kind: str, **options: Any) -> tuple[rewind.Run[Any], list[bytes]]:
    make, init = KINDS[kind]
    # The trial finds that some depend on being given their own array back.
    run = rewind.record(make(), init, 100, 1, block_size=50, backend="numpy", trial=False, **options)
    return run, [digest(state) for state in run]


@kinds
@pytest.mark.parametrize("memory_budget", [0, "10MB"])
def test_each_answer_is_right_whatever_was_asked_between(kind, memory_budget):
    run, truth = recorded(kind, memory_budget=memory_budget)
    snapshots = run._trajectory.reader.snapshots
    assert snapshots is None or len(snapshots) == 0
    between: list[Callable[[], object]] = [
        lambda: run.get(5),
        lambda: run.get(70),
        lambda: run.branch(7),
        lambda: run.branch(7, noise="same"),
        lambda: run.stats(lambda s: 1.0),
        lambda: run.extend(120),
        lambda: run.verify(full=True),
        lambda: next(run.iter(40)),
        lambda: None,
    ]
    for f in between:
        assert digest(run.get(10)) == truth[10]
        f()
        assert digest(run.get(11)) == truth[11]
    assert [digest(run.get(t)) for t in range(100)] == truth


@kinds
def test_iterations_side_by_side_do_not_disturb_each_other(kind):
    run, truth = recorded(kind)
    pairs = [(digest(a), digest(b)) for a, b in zip(run, run.iter(), strict=True)]
    assert pairs == [(state, state) for state in truth]
    seen = []
    for t, state in enumerate(run):
        seen.append(digest(state))
        run.get(99 - t)
    assert seen == truth
    assert run.series(lambda s: (run.get(60), 1)[1]).tolist() == [1] * 100


def test_a_step_that_asks_its_own_run_is_answered():
    box: dict[str, rewind.Run[float]] = {}

    def step(x, rng):
        if box and x > 5:
            box["run"].get(2)  # which needs the steps before this one
        return x + rng.random()

    run = rewind.record(step, 0.0, 100, 1, block_size=50)
    truth = list(run)
    box["run"] = run
    assert [run.get(t) for t in (30, 31, 10, 9, 40)] == [truth[t] for t in (30, 31, 10, 9, 40)]


@pytest.mark.parametrize("mutate", [lambda x: x + 1, None], ids=["generator", "lead"])
@pytest.mark.parametrize("backend", ["python", "numpy"])
def test_an_exception_on_the_way_into_a_branch_leaves_no_wrong_place(mutate, backend):
    run = rewind.record(lambda x, rng: x + rng.random(), 0.0, 100, 1, block_size=50, backend=backend)
    truth = list(run.branch(20, mutate, noise="same"))

    def deep(n: int, f: Callable[[], Any]) -> Any:
        return f() if n == 0 else deep(n - 1, f)

    room = sys.getrecursionlimit() - len(list(frames()))
    failed = 0
    for depth in range(room - 60, room + 5):
        branch = run.branch(20, mutate, noise="same")
        branch.get(70)
        try:
            deep(depth, lambda branch=branch: branch.get(3))
        except (RecursionError, rewind.RewindError):
            failed += 1
        assert branch.get(4) == truth[4] and branch.get(0) == truth[0], depth
    assert failed


def frames() -> Iterator[Any]:
    frame: Any = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


def test_threads_that_ask_one_run_do_not_meet_in_its_step():
    buffer = np.zeros(3)

    def step(x, rng):
        np.multiply(x, 0.5, out=buffer)
        for _ in range(3):
            buffer[0] += rng.random()
        return buffer.copy()

    run = rewind.record(step, np.zeros(3), 2000, 1)
    truth = [state.tobytes() for state in run]
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            run.get(1000), run.get(100)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=ask)
    thread.start()
    try:
        assert run.verify()
        branches = [run.branch(500, noise="same", n_steps=500) for _ in range(3)]
        longer = run.extend(2200)
        states = [state.tobytes() for state in run]
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(before)
    assert states == truth
    assert [state.tobytes() for state in longer][:2000] == truth
    assert all([state.tobytes() for state in branch] == truth[500:1000] for branch in branches)


def test_the_turn_is_taken_as_often_as_one_likes_and_by_one_thread_at_a_time(core):
    turn, order, started = core.Turn(), [], threading.Event()
    assert not turn.is_mine()

    def other() -> None:
        started.set()
        with turn:
            order.append("other")

    with turn, turn:
        assert turn.is_mine()
        thread = threading.Thread(target=other)
        thread.start()
        with turn:
            order.append("mine")
        assert turn.is_mine()
        started.wait()
        order.append("still mine")
    thread.join()
    assert order == ["mine", "still mine", "other"] and not turn.is_mine()
    with pytest.raises(ZeroDivisionError), turn:
        _ = 1 // 0
    assert not turn.is_mine()


class Base:
    __slots__ = ("__dict__",)


@dataclass
class Halves(Base):
    x: int
    y: float

    @property
    def twice(self) -> int:
        return 2 * self.x


@dataclass
class Guarded:
    x: int = 0


Guarded.x = property(lambda self: self.__dict__["x"], lambda self, x: self.__dict__.update(x=x + 100))  # type: ignore


def test_a_copied_record_has_all_attributes_or_there_is_none(core):
    whole, extra, other = Halves(1, 2.0), Halves(1, 2.0), Halves(1, 2.0)
    extra.note = 0  # type: ignore[attr-defined]
    other.note = 0  # type: ignore[attr-defined]
    del other.y
    copy = core.copied_record(whole, ("x", "y"))
    assert type(copy) is Halves and vars(copy) == vars(whole) and copy is not whole
    assert core.copied_record(extra, ("x", "y")) is None
    assert core.copied_record(other, ("x", "y")) is None
    assert core.copied_record(Halves([], 2.0), ("x", "y")) is None


def test_a_property_over_a_field_is_not_set_by_copying():
    def step(state, rng):
        new = Guarded.__new__(Guarded)
        new.__dict__["x"] = state.__dict__["x"] + 1
        return new

    init = Guarded.__new__(Guarded)
    init.__dict__["x"] = 0
    run = rewind.record(step, init, 60, 1, block_size=7, trial=False)  # restored, it is another
    assert [run.get(t).__dict__["x"] for t in (3, 4, 40, 2)] == [run[t].__dict__["x"] for t in (3, 4, 40, 2)]
    assert run.get(3).__dict__["x"] == run.get(2).__dict__["x"] + 1


class Loud(float):
    def __float__(self) -> float:
        return 99.0


class Counted(np.float64):
    """A number with an attribute that is shared."""


def test_both_kernels_take_a_subclass_of_float_for_its_value(core):
    values = core.Values(2)
    values.append(Loud(2.0))
    values.append(1.0)
    assert values.take().tolist() == [2.0, 1.0]


def test_numbers_of_other_classes_are_not_shared_by_snapshots():
    def step(x, rng):
        y = Counted(x + 1)
        y.log = [*getattr(x, "log", []), 1][-3:]
        y.log.append(len(y.log))
        return y

    plain = rewind.record(step, Counted(0.0), 200, 1, block_size=100)
    with_snapshots = rewind.record(step, Counted(0.0), 200, 1, block_size=100, memory_budget="1MB")
    assert [float(with_snapshots.get(t)) for t in reversed(range(200))] == [float(s) for s in plain][::-1]


@pytest.mark.skipif(rewind.kernel_name == "python", reason="the twin takes memory for a snapshot when it has one")
def test_more_memory_than_there_is_is_said_so():
    with pytest.raises(rewind.ArgumentError, match="memory_budget is .*expected bytes this machine has"):
        rewind.record(lambda x, rng: x, 0, 10**12, 1, memory_budget="1000TB")
