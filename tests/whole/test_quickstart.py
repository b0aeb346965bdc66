"""The quickstart, word for word, and the scan that finds a NaN."""

from __future__ import annotations

import dataclasses
import math

import pytest
from helpers.plain import Counting, loop, walk

import rewind

QUICKSTART = """
import rewind
def step(x, rng):
    return x + (1 if rng.random() < 0.5 else -1)
run = rewind.record(step, init_state=0, n_steps=1_000_000, seed=42)
x = run.get(842_137)
fork = run.branch(842_137, mutate=lambda s: s + 100)
stats = run.stats(lambda s: s)
run.save("run.replay")
loaded = rewind.load("run.replay", step_fn=step, allow_pickle=True)
loaded.verify()
"""


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart")
    names: dict = {"__name__": "quickstart"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(QUICKSTART, "quickstart.py", "exec"), names)
    return names, folder


def test_the_quickstart_runs_word_for_word(quickstart):
    names, _ = quickstart
    states = loop(walk, 0, 10_000, 42, 1000)
    run = names["run"]
    assert list(run[:10_000]) == states
    assert run.n_checkpoints == 1000 and len(run) == 1_000_000
    assert names["x"] == names["loaded"].get(842_137) == run[842_137] and type(names["x"]) is int
    assert names["fork"].get(0) == names["x"] + 100 and len(names["fork"]) == 1_000_000 - 842_137
    assert names["stats"].count == 1_000_000 and names["stats"].max == run.get(names["stats"].argmax)


def test_its_file_takes_one_page_and_no_pickle(quickstart):
    names, folder = quickstart
    assert [path.name for path in folder.iterdir()] == ["run.replay"]
    assert (folder / "run.replay").stat().st_size <= 4096
    loaded = rewind.load(folder / "run.replay", names["step"])  # nothing to allow
    assert loaded.content_hash() == names["run"].content_hash()
    assert loaded.metadata()["n_pickled"] == 0


@dataclasses.dataclass
class State:
    value: float
    t: int


def bomb(state, rng):
    state.value = math.nan if state.t == 7_777 else state.value + rng.random()
    state.t += 1
    return state


def test_a_scan_for_the_first_nan_costs_the_steps_it_scans():
    step = Counting(bomb)
    run = rewind.record(step, State(0.0, 0), 10_000, 3)
    step.since()
    assert next(t for t in range(run.n_steps) if math.isnan(run.get(t).value)) == 7778
    assert step.since() <= 7778
    before = run.get(7777)
    assert step.since() <= 2 * 100 and before.t == 7777 and not math.isnan(before.value)
