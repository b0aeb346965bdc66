"""Extra checkpoints in memory: they make a cold question quick, and never change an answer."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from helpers.plain import loop

import rewind
from rewind.state.copies import inner_copy
from rewind.state.digest import digest


@dataclass
class Point:
    x: float
    n: int = 0


def relax(x: float, rng: Any) -> float:
    return x * 0.9 + rng.random()


def gauss(x: float, rng: random.Random) -> float:  # now and then holds a second normal back
    return x * 0.9 + (rng.gauss(0.0, 1.0) if rng.random() < 0.1 else 0.0)


def kick(x: Any, rng: np.random.Generator) -> Any:
    x *= 0.5
    x += rng.random(x.shape)
    return x


def halves(x: int, rng: np.random.Generator) -> int:  # leaves half a word in the generator
    return x + int(rng.integers(0, 10, dtype=np.uint32))


def move(point: Point, rng: Any) -> Point:
    return Point(point.x + rng.random(), point.n + 1)


def pair(state: Any, rng: Any) -> Any:
    state["a"][0] += 1
    return {"a": state["a"], "b": [state["b"][0] + rng.random(), "t"]}


def spawn(x: float, rng: np.random.Generator) -> float:
    return x + rng.spawn(1)[0].random()


KINDS: dict[str, tuple[Any, Any, str]] = {
    "float": (relax, 0.5, "python"),
    "float, numpy": (relax, 0.5, "numpy"),
    "gauss": (gauss, 0.5, "python"),
    "array in place": (kick, np.zeros(3), "numpy"),
    "Fortran array in place": (kick, np.zeros((2, 3), order="F"), "numpy"),
    "half words": (halves, 0, "numpy"),
    "dataclass": (move, Point(0.0), "python"),
    "dict of array and list": (pair, {"a": np.zeros(2), "b": [0.0, "t"]}, "numpy"),
    "spawn": (spawn, 0.0, "numpy"),
}
#: A step whose rng has children from the start, so that no snapshot is taken.
NO_SNAPSHOTS = {"spawn"}


def size_of_a_block(kind: str) -> int:
    return 25 if kind in NO_SNAPSHOTS else 100  # without snapshots half of a block is replayed for every answer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("observe", [None, {"x": lambda state: 1.0}], ids=["plain", "observed"])
def test_answers_with_snapshots_are_those_of_the_plain_loop(kind, observe):
    step, init, backend = KINDS[kind]
    b = size_of_a_block(kind)
    expected = [digest(state) for state in loop(step, init, 400, 3, b, backend)]
    run = rewind.record(step, init, 400, 3, block_size=b, backend=backend, memory_budget="10MB", observe=observe)
    snapshots = run._trajectory.reader.snapshots
    assert snapshots is not None and (len(snapshots) > 0) == (kind not in NO_SNAPSHOTS)
    order = [*range(400), *reversed(range(400))]
    random.Random(1).shuffle(order)
    for t in [*order, *range(400), *reversed(range(400))]:
        assert digest(run.get(t)) == expected[t], t
    assert [digest(state) for state in run] == expected
    assert run.verify(full=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_run_takes_its_snapshots_on_the_way(kind, tmp_path):
    step, init, backend = KINDS[kind]
    recorded = rewind.record(step, init, 300, 3, block_size=size_of_a_block(kind), backend=backend)
    recorded.save(tmp_path / "run.replay")
    run = rewind.load(tmp_path / "run.replay", step, memory_budget=10_000_000)
    snapshots = run._trajectory.reader.snapshots
    assert snapshots is not None and len(snapshots) == 0
    order = random.Random(2).sample(range(300), 300)
    for t in order + order:
        assert digest(run.get(t)) == digest(recorded.get(t))
    assert (len(snapshots) > 0) == (kind not in NO_SNAPSHOTS)


def test_changing_what_was_handed_out_changes_no_snapshot():
    run = rewind.record(kick, np.zeros(3), 300, 3, block_size=100, backend="numpy", memory_budget="10MB")
    for t in (16, 17, 16, 150, 16):
        state = run.get(t)
        before = state.tobytes()
        state += 100.0
        assert run.get(t).tobytes() == before


def test_a_run_of_a_seed_and_file_is_the_same_with_snapshots(tmp_path):
    plain = rewind.record(relax, 0.5, 300, 3)
    with_snapshots = rewind.record(relax, 0.5, 300, 3, memory_budget="1 MiB")
    assert with_snapshots.content_hash() == plain.content_hash()
    with_snapshots.save(tmp_path / "a.replay"), plain.save(tmp_path / "b.replay")
    assert (tmp_path / "a.replay").read_bytes() == (tmp_path / "b.replay").read_bytes()


def test_a_budget_is_kept():
    for budget in (1_000, 20_000, 1_000_000):
        run = rewind.record(relax, 0.5, 100_000, 3, backend="numpy", memory_budget=budget)
        snapshots = run._trajectory.reader.snapshots
        assert (0 if snapshots is None else len(snapshots)) * (24 + 40 + 8) <= budget
    assert run._trajectory.reader.snapshots is not None and 8 <= run._trajectory.reader.snapshots.every <= 9


def view_of(x: Any) -> Any:
    return np.zeros(4)[1:] + x


def base_of() -> Any:
    return np.zeros(4)[1:]


ALIASED = np.zeros(2)


class Loose:
    """A class nobody knows the parts of."""


@pytest.mark.parametrize(
    "state",
    [base_of(), [ALIASED, ALIASED], {1: 2.0}, {1.0}, Loose(), np.array([None]), {"rng": random.Random(1)}],
    ids=["a view", "one array twice", "an int key", "a set", "an object", "an object array", "an rng"],
)
def test_no_snapshot_stands_for_a_state_that_a_copy_may_lose_part_of(state):
    assert inner_copy(state) is None


def test_a_read_only_array_is_not_kept():
    x = np.zeros(3)
    x.flags.writeable = False
    assert inner_copy(x) is None


def test_list_parameters_that_a_step_may_change_leave_no_snapshots():
    def step(x, rng, seen):
        seen.append(x)
        return x + len(seen) + rng.random()

    run = rewind.record(step, 0.0, 300, 3, block_size=100, params={"seen": [1.0]}, memory_budget="10MB", trial=False)
    assert run._trajectory.reader.snapshots is None
    expected = [digest(state) for state in loop(step, 0.0, 300, 3, 100, params={"seen": [1.0]})]
    assert [digest(run.get(t)) for t in reversed(range(300))] == expected[::-1]


@pytest.mark.parametrize(
    ("text", "size"), [("64MB", 64_000_000), ("1.5 GiB", 3 << 29), ("10", 10), ("0", 0), ("2kb", 2000), (7, 7)]
)
def test_a_budget_may_be_text(text, size):
    from rewind.runs.arguments import n_bytes_of

    assert n_bytes_of("memory_budget", text) == size


@pytest.mark.parametrize("bad", ["a lot", "-1MB", "1 XB", "", "MB", "nan", "1e3"])
def test_a_budget_that_cannot_be_meant_is_refused(bad):
    with pytest.raises(rewind.ArgumentError, match="a number of bytes, such as 1000000, '64MB' or '1.5 GiB'"):
        rewind.record(relax, 0.5, 10, 1, memory_budget=bad)
    for wrong in (-1, 1.5, None, True):
        with pytest.raises((rewind.ArgumentError, rewind.ArgumentTypeError), match="memory_budget"):
            rewind.record(relax, 0.5, 10, 1, memory_budget=wrong)


def test_a_step_that_raises_does_so_with_snapshots_too():
    def step(x, rng):
        if x == 250:
            raise ZeroDivisionError("here")
        return x + 1

    with pytest.raises(rewind.StepError) as caught:
        rewind.record(step, 0, 400, 1, block_size=100, memory_budget="1MB")
    assert caught.value.t == 250
    run = caught.value.run
    assert [run.get(t) for t in (250, 10, 249, 33)] == [250, 10, 249, 33]


def test_a_branch_inside_a_block_answers_with_snapshots(tmp_path):
    parent = rewind.record(kick, np.zeros(3), 300, 3, block_size=100, backend="numpy")
    branch = parent.branch(150, noise="same")
    branch.save(tmp_path / "branch.replay")
    with_snapshots = rewind.load(tmp_path / "branch.replay", kick, memory_budget="1MB")
    for t in [*range(150), *reversed(range(150)), 49, 60, 49, 0, 140]:
        assert with_snapshots.get(t).tobytes() == parent.get(150 + t).tobytes()
