"""A class of states that is another now: what is said of each case, and the way out of it."""

from __future__ import annotations

import sys
import types

import pytest

import rewind

pytestmark = pytest.mark.once

OLD = """
from dataclasses import dataclass, field
from typing import NamedTuple
@dataclass
class Town:
    size: float
    trips: int = 0
class Pair(NamedTuple):
    a: float
    b: int
"""
STEP = """
def step(town, rng):
    town.size += rng.random()
    town.trips += 1
    return town
def pair(p, rng):
    return p._replace(a=p.a + rng.random(), b=p.b + 1)
"""


def module(text, name="old_towns"):
    made = types.ModuleType(name)
    sys.modules[name] = made
    exec(compile(text + STEP, "<towns>", "exec"), vars(made))
    return made


@pytest.fixture
def recorded(tmp_path):
    old = module(OLD)
    run = rewind.record(old.step, old.Town(0.0), 100, 1)
    run.save(tmp_path / "town.replay")
    rewind.record(old.pair, old.Pair(0.0, 0), 100, 1).save(tmp_path / "pair.replay")
    yield tmp_path, [(town.size, town.trips) for town in run]
    for name in ("old_towns", "new_towns"):
        sys.modules.pop(name, None)


TOWN = "@dataclass\nclass Town:\n    size: float\n    trips: int = 0\n"
CASES = {
    "gained": (
        OLD.replace(TOWN, TOWN + "    tags: list = field(default_factory=list)\n"),
        "gained the field tags. If its",
    ),
    "gained without a default": (
        OLD.replace(TOWN, TOWN.replace("size: float", "age: float\n    size: float")),
        "gained the field age, which has no default",
    ),
    "lost": (OLD.replace("    trips: int = 0\n", ""), "lost the field trips"),
    "renamed": (OLD.replace("trips: int", "tours: int"), "has tours where it had trips"),
    "reordered": (
        OLD.replace("    size: float\n    trips: int = 0\n", "    trips: int = 0\n    size: float = 0.0\n"),
        "has its fields in another order, trips, size",
    ),
    "no dataclass": (OLD.replace("@dataclass\n", ""), "is no plain dataclass any more"),
    "gone": (OLD.replace("class Town", "class City"), "is not in that module any more. If it moved"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_case_has_a_message_of_its_own_with_the_way_out(case, recorded):
    folder, _ = recorded
    text, words = CASES[case]
    new = module(text)
    with pytest.raises(rewind.StateClassError, match=words) as caught:
        rewind.load(folder / "town.replay", new.step)
    assert 'classes={"old_towns:Town": Town}' in str(caught.value)
    for ask in (lambda run: run.get(0), list):
        with pytest.raises(rewind.RewindError):
            ask(rewind.load(folder / "town.replay"))


WAYS = {
    "moved": (OLD, "new_towns", "Town"),
    "moved and renamed": (OLD.replace("class Town", "class City"), "new_towns", "City"),
    "gained": (CASES["gained"][0], "old_towns", "Town"),
    "reordered": (CASES["reordered"][0], "old_towns", "Town"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("ignore::rewind.StepSourceWarning")
def test_classes_takes_old_states(way, recorded):
    folder, truth = recorded
    text, name, cls = WAYS[way]
    del sys.modules["old_towns"]
    new = module(text, name)
    run = rewind.load(folder / "town.replay", new.step, classes={"old_towns:Town": getattr(new, cls)})
    assert [(town.size, town.trips) for town in run] == truth
    assert {type(town) for town in [run.get(5), run.get(10), *run[3:50:7]]} == {getattr(new, cls)}
    if way == "gained":
        assert run.get(10).tags == [] == run.get(13).tags and run.get(10).tags is not run.get(20).tags
    assert run.verify(full=True)
    assert run.get(99).size == truth[99][0] == run.branch(33, noise="same").get(66).size
    assert run.content_hash() == rewind.load(folder / "town.replay").content_hash()


@pytest.mark.filterwarnings("ignore::rewind.StepSourceWarning")
def test_classes_takes_old_namedtuples(recorded):
    folder, _ = recorded
    truth = list(map(tuple, rewind.load(folder / "pair.replay", sys.modules["old_towns"].pair)))
    new = module(OLD.replace("    a: float\n    b: int\n", "    b: int\n    a: float\n    c: str = 'c'\n"))
    with pytest.raises(rewind.StateClassError, match="gained the field c"):
        rewind.load(folder / "pair.replay", new.pair)
    run = rewind.load(folder / "pair.replay", new.pair, classes={"old_towns:Pair": new.Pair})
    assert [(p.a, p.b) for p in run] == truth and {p.c for p in run} == {"c"} and run.verify(full=True)


def test_classes_refuses_what_takes_no_such_states(recorded):
    folder, _ = recorded
    old = sys.modules["old_towns"]
    for classes, error in (
        ({"old_towns:Town": old.Pair}, rewind.StateClassError),
        ({"old_towns:Town": 3}, rewind.ArgumentTypeError),
        ({"old_towns:Village": old.Town}, rewind.ArgumentError),
    ):
        with pytest.raises(error):
            rewind.load(folder / "town.replay", old.step, classes=classes)
