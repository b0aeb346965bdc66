"""`frozen` classes are dataclasses whose fields are set once, as ``dataclass(frozen=True)`` would make them."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from rewind.state.frozen import frozen


def declare(decorator: Any, name: str) -> Any:
    @decorator
    class Made:
        x: int
        y: list[int] = field(default_factory=list)
        note: str = field(default="", repr=False, compare=False)

        def total(self) -> int:
            return self.x + sum(self.y)

    Made.__name__ = Made.__qualname__ = name
    return Made


Ours, Theirs = declare(frozen, "Ours"), declare(dataclass(frozen=True), "Theirs")
WAYS = [((1,), {}), ((1, [2]), {}), ((), {"x": 3, "note": "n"}), ((0, [1], "z"), {})]


@pytest.mark.parametrize(("values", "named"), WAYS)
def test_it_is_made_shown_and_taken_apart_as_a_dataclass(values, named):
    ours, theirs = Ours(*values, **named), Theirs(*values, **named)
    assert repr(ours).replace("Ours", "Theirs") == repr(theirs)
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs) and ours.total() == theirs.total()
    assert dataclasses.astuple(dataclasses.replace(ours, x=9)) == dataclasses.astuple(dataclasses.replace(theirs, x=9))


def test_fields_that_do_not_count_are_left_out_of_equality():
    assert Ours(1, [2], "a") == Ours(1, [2], "b") != Ours(1, [3]) and Ours(1) != Theirs(1)
    with pytest.raises(TypeError, match="unhashable"):
        hash(Ours(1))


@frozen
class Pair:
    a: int
    b: float = 0.0


def test_it_has_the_hash_of_its_fields_and_survives_pickle_and_copy():
    pair = Pair(1, 2.0)
    assert {pair: 1}[Pair(1, 2.0)] == 1
    assert pickle.loads(pickle.dumps(pair)) == pair == copy.deepcopy(pair) == copy.copy(pair)


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_nothing_can_be_set_again_or_deleted(name):
    for pair in (Pair(1), pickle.loads(pickle.dumps(Pair(1)))):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(pair, name, 5)
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(pair, name)
        assert pair == Pair(1)


@pytest.mark.parametrize(("values", "named"), [((), {}), ((1, 2.0, 3), {}), ((1,), {"c": 1}), ((1,), {"a": 1})])
def test_wrong_arguments_are_a_type_error_the_first_time_and_later(values, named):
    for _ in range(2):
        with pytest.raises(TypeError):
            frozen(type("New", (), {"__annotations__": {"a": int, "b": float}, "b": 0.0}))(*values, **named)
        with pytest.raises(TypeError):
            Pair(*values, **named)


def test_its_signature_is_that_of_a_dataclass_before_and_after_the_first_instance():
    ours, theirs = declare(frozen, "New"), declare(dataclass(frozen=True), "New")
    want = inspect.signature(theirs)
    before = inspect.signature(ours)
    ours(1)
    for found in (before, inspect.signature(ours)):
        assert [(p.name, p.kind, p.annotation) for p in found.parameters.values()] == [
            (p.name, p.kind, p.annotation) for p in want.parameters.values()
        ]
        assert str(found) == str(want)


def test_subclasses_are_as_those_of_a_dataclass():
    seen = []
    for decorator in (frozen, dataclass(frozen=True)):
        base = declare(decorator, "Base")

        class Sub(base):
            pass

        class Own(base):
            def __init__(self, a):
                super().__init__(a)
                self.extra = a + 1

        @dataclass(frozen=True)
        class Frozen(base):
            more: int = 0

        with pytest.raises(dataclasses.FrozenInstanceError):
            Sub(1).x = 2
        with pytest.raises(TypeError, match="cannot inherit non-frozen"):
            dataclass(type("Loose", (base,), {}))
        signatures = [str(inspect.signature(cls)) for cls in (Sub, Own, Frozen)]
        seen.append((Sub(1, [2]).total(), Own(1).extra, Own(1).x, Frozen(1, more=3).more, base(2).x, signatures))
    assert seen[0][:-1] == seen[1][:-1]
    assert [s.replace(" -> None", "") for s in seen[0][-1]] == [s.replace(" -> None", "") for s in seen[1][-1]]


def test_threads_may_make_the_first_instances_at_once():
    for _ in range(20):
        made = declare(frozen, "New")
        barrier = threading.Barrier(8)

        def one(i, made=made, barrier=barrier):
            barrier.wait()
            return made(i).total()

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(one, range(8))) == list(range(8))
