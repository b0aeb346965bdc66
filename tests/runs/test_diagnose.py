"""diagnose tells what record would meet, leaves what it is given alone, and says the same in the shell."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from helpers import native_steps, plain

import rewind

PULL = 0.25
CALLS = [0]


def helper(x):
    return x * PULL


def step(state, rng):
    CALLS[0] += 1
    state["x"] = helper(state["x"]) + rng.normal()
    return state


class Sim:
    def __init__(self):
        self.x, self.rng = 0.0, np.random.default_rng(1)


def own(sim, rng):
    sim.x += sim.rng.normal()
    return sim


@dataclass
class Town:
    ill: int
    names: list


def day(town, rng):
    town.ill += rng.randrange(3)
    return town


def test_it_says_how_states_are_stored_and_what_the_step_reaches():
    found = rewind.diagnose(step, {"x": np.zeros(3), "n": 1}, backend="numpy", n_steps=1_000)
    assert found.ok and found.kind == "Python" and found.draws is True and found.pickled is None
    assert found.step == f"{__name__}:step" and (found.n_steps, found.block_size) == (1_000, 32)
    assert found.columns == ("x float64, shape (3,)", "n int64") and found.checkpoint_bytes == 32
    assert {"helper", "PULL"} <= set(found.reads) and found.writes == ("CALLS",)
    assert [finding.kind for finding in found.findings] == ["hidden state"]
    assert found.block_seconds == pytest.approx(32 * found.step_seconds)


@pytest.mark.parametrize("n_steps, block_size", [(2_000, 45), (10, 4), (1, 1)])
def test_the_size_of_the_file_is_about_that_of_the_recording(n_steps, block_size, tmp_path):
    found = rewind.diagnose(plain.noisy, 0.5, backend="numpy", n_steps=n_steps)
    run = rewind.record(plain.noisy, 0.5, n_steps, 0, backend="numpy")
    run.save(tmp_path / "run.replay")
    assert run.block_size == found.block_size == block_size
    if n_steps > 1:
        assert 0.7 < found.file_bytes / (tmp_path / "run.replay").stat().st_size < 1.5


@pytest.mark.parametrize(
    "state, path, words",
    [
        ({"a": 1, "b": [0.5, {"c": Fraction(1, 2)}]}, "['b'][1]['c']", "an object of the class fractions.Fraction"),
        (Town(3, ["a", memoryview]), ".names[1]", "a type, "),
        ({"a": (1, Sim())}, "['a'][1]", "an object of the class"),
        ([2**70], "[0]", "a int"),
    ],
)
def test_it_says_which_part_keeps_a_state_from_columns(state, path, words):
    found = rewind.diagnose(lambda s, rng: s, state)
    assert found.columns == () and found.pickled.startswith(f"state{path} is {words}"), found.pickled
    assert found.checkpoint_bytes > 0 and "pickled, since state" in str(found)


def test_a_state_that_cannot_be_stored_is_a_finding_with_its_cure():
    found = rewind.diagnose(step, {"x": [1, {"y": lambda: 1}]})
    (finding,) = found.findings
    assert not found.ok and finding.kind == "StateError" and "codec=" in finding.text
    assert found.checkpoint_bytes is found.file_bytes is found.step_seconds is found.draws is None
    broken = rewind.diagnose(step, {"x": 1}, codec=(lambda s: 1 / 0, lambda kept: kept))
    assert [finding.kind for finding in broken.findings] == ["ZeroDivisionError"]


def leaves(x, rng):
    raise SystemExit(3)


HIDDEN = iter(range(10**9))
MARK = object()


def asks_for_an_object(state, rng):
    state["n"] += 1 if state["mode"] is MARK else 100
    return state


@pytest.mark.parametrize(
    "bad, state, kind",
    [
        (lambda x, rng: x / 0, 1.0, "StepError"),
        (lambda x, rng: None, 1.0, "StepReturnError"),
        (lambda x, rng: x + next(HIDDEN), 0, "NondeterministicStepError"),
        (lambda x, rng: x + random.random(), 0.0, "NondeterministicStepError"),
        (leaves, 0, "SystemExit"),
        (asks_for_an_object, {"mode": MARK, "n": 0}, "LossyStateError"),
    ],
)
def test_what_record_refuses_is_found_first(bad, state, kind):
    found = rewind.diagnose(bad, state)
    assert not found.ok and found.findings[0].is_refused and found.findings[0].kind == kind, found.findings
    assert "1. record refuses this: " in str(found)


def test_generators_of_the_models_own_are_named():
    found = rewind.diagnose(own, Sim())
    assert found.ok and found.draws is False and found.generators == ("state.rng: a numpy.random.Generator",)
    assert [finding.kind for finding in found.findings] == ["OwnGeneratorWarning"]
    seeded = rewind.diagnose(lambda x, rng: x + random.Random(int(x)).randrange(3), 0)
    assert [finding.kind for finding in seeded.findings] == ["NoFreshNoiseWarning"] and "random.Random" in str(seeded)


def test_a_model_without_a_fault_gets_no_word():
    for good, state, backend in (
        (plain.noisy, 0.5, "numpy"),
        (day, Town(3, ["a"]), "python"),
        (lambda x, rng: 3.7 * x * (1 - x), 0.3, "python"),
    ):
        found = rewind.diagnose(good, state, backend=backend)
        assert found.ok and found.findings == () and "nothing found" in str(found)


def test_what_it_is_given_is_left_as_it_is():
    state, sim, town = {"x": np.ones(2), "n": 5}, Sim(), Town(1, ["a"])
    before = copy.deepcopy((state, sim.__dict__, town))
    rewind.diagnose(step, state, backend="numpy"), rewind.diagnose(own, sim), rewind.diagnose(day, town)
    assert repr(before[0]) == repr(state) and before[2] == town
    assert sim.x == 0.0 and sim.rng.bit_generator.state == before[1]["rng"].bit_generator.state


@pytest.mark.parametrize("argument", [{"seed": -1}, {"n_steps": 0}, {"backend": "c"}, {"params": 3}, {"codec": 1}])
def test_arguments_that_record_refuses_are_refused(argument):
    with pytest.raises((rewind.ArgumentError, rewind.ArgumentTypeError)):
        rewind.diagnose(plain.walk, 0, **argument)


def test_a_native_step_is_told_apart(library):
    example = next(case for case in native_steps.CASES if case.name == "drift")
    found = rewind.diagnose(rewind.native_step(library.drift), 0.5, backend="numpy", params=example.params)
    assert found.ok and found.kind == "native" and found.draws is True


@pytest.mark.once
def test_the_report_is_json_and_frozen():
    found = rewind.diagnose(own, Sim())
    facts = json.loads(found.to_json())
    assert facts == found.to_dict() and facts["ok"] is True and facts["findings"][0]["is_refused"] is False
    with pytest.raises(AttributeError):
        found.kind = "other"
