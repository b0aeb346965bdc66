"""`record(..., path=, resume=True)`: the same call begins, goes on, or is done; another call is refused."""

from __future__ import annotations

import os

import numpy as np
import pytest
from helpers.plain import bytes_of, loop, walk

import rewind

pytestmark = pytest.mark.once  # of files and words: which kernel runs does not matter

CALL = {
    "n_steps": 100,
    "seed": 5,
    "block_size": 10,
    "backend": "python",
    "params": None,
    "observe": {"x": None},
    "trial": False,
}
STATES = loop(walk, 0, 200, 5, 10)


class Enough(Exception):
    pass


class Step:
    """A walk that raises at the calls it is told to."""

    def __init__(self, *at):
        self.calls, self.at = 0, at

    def __call__(self, x, rng):
        self.calls += 1
        if self.calls in self.at:
            raise Enough
        return walk(x, rng)


def record(path, step=walk, init=0, **more):
    return rewind.record(step, init, path=path, resume=True, **{**CALL, **more})


def cut_off(path, at=56, init=0, **more):
    step = Step(at)
    with pytest.raises(rewind.StepError):
        record(path, step, init, **more)
    return step


def test_the_same_call_begins_goes_on_and_is_done(tmp_path):
    path, step = tmp_path / "run.replay", Step(56, 80)
    for _ in range(2):
        with pytest.raises(rewind.StepError):
            record(path, step)
    run = record(path, step)
    assert bytes_of(list(run)) == bytes_of(STATES[:100]) and not os.path.exists(f"{path}.journal")
    calls, before = step.calls, path.stat()
    assert len(record(path, step)) == 100
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert step.calls == calls  # it is loaded
    whole = rewind.record(step, 0, path=tmp_path / "whole.replay", **CALL)
    assert path.read_bytes() == (tmp_path / "whole.replay").read_bytes() and whole.complete


def test_more_steps_go_on_beyond_a_file_that_is_done(tmp_path):
    path = tmp_path / "run.replay"
    assert len(record(path)) == 100
    assert bytes_of(list(record(path, n_steps=200))) == bytes_of(STATES)
    with pytest.raises(rewind.ArgumentError, match="n_steps is 150; expected at least the 200 there are already"):
        record(path, n_steps=150)


CHANGES = {
    "seed": ({"seed": 6}, "seed is 6; expected 5, with which"),
    "backend": ({"backend": "numpy"}, "backend is 'numpy'; expected 'python', with which"),
    "block_size": ({"block_size": 11}, "block_size is 11; expected 10, with which"),
    "params": ({"params": {"a": 1}}, r"params is \{'a': 1\}; expected \{\}, with which"),
    "observe": ({"observe": {"x": None, "y": abs}}, r"observe is \['x', 'y'\]; expected \['x'\], with which"),
    "no observe": ({"observe": None}, r"observe is \[\]; expected \['x'\], with which"),
    "init_state": ({"init": 1}, "init_state is 1; expected 0, with which"),
    "a type": ({"init": 0.0}, "init_state is 0.0; expected 0, with which"),
    "step_fn": (
        {"step": lambda x, rng: x + 1},
        "step_fn is '.*lambda.*'; expected 'test_record_resume:Step', with which",
    ),
}


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_what_is_asked_otherwise_is_refused_by_name_and_both_values(name, done, tmp_path):
    path, (change, words) = tmp_path / "run.replay", CHANGES[name]
    step = cut_off(path)
    if done:
        record(path, step)
    file = path if done else tmp_path / "run.replay.journal"
    before = file.read_bytes()
    with pytest.raises(rewind.ArgumentError, match=words):
        record(path, **{"step": step, **change})
    assert file.read_bytes() == before
    assert len(record(path, step)) == 100


def test_a_vector_of_another_length_or_value_is_refused_by_where_it_differs(tmp_path):
    path, one = tmp_path / "run.replay", np.zeros(64)
    with pytest.raises(rewind.StepError):
        rewind.record(Step(56), one, 100, 5, path=path, resume=True, trial=False)
    for other, words in (
        ([1.0, 2.0], "init_state is"),
        (np.r_[one[:-1], 1.0], r"init_state\[63\] is .*1.0.*; expected .*0.0"),
    ):
        with pytest.raises(rewind.ArgumentError, match=words):
            rewind.record(Step(), other, 100, 5, path=path, resume=True, trial=False)


def test_a_recording_that_has_made_no_step_is_begun_anew(tmp_path):
    path = tmp_path / "run.replay"
    cut_off(path, at=1)
    assert os.path.exists(f"{path}.journal")
    run = record(path, lambda x, rng: x + 1, seed=9, init=3)
    assert (run.seed, run[0], len(run)) == (9, 3, 100)


def test_a_seed_of_none_goes_on_with_the_one_that_was_drawn(tmp_path):
    path, step = tmp_path / "run.replay", Step(56)
    with pytest.raises(rewind.StepError) as caught:
        record(path, step, seed=None)
    assert record(path, step, seed=None).seed == caught.value.run.seed


def test_pickles_are_unpickled_where_that_is_allowed_alone(tmp_path):
    path = tmp_path / "run.replay"

    def grow(seen, rng):
        return seen | {rng.randrange(50), "text"}

    call = {"n_steps": 100, "seed": 5, "path": path, "resume": True}
    init = {frozenset({1}), "a"}
    assert len(rewind.record(grow, init, **call)) == 100
    with pytest.raises(rewind.UnsafeArtifactError, match="allow_pickle=True"):
        rewind.record(grow, init, **call)
    assert len(rewind.record(grow, init, allow_pickle=True, **call)) == 100
    with pytest.raises(rewind.ArgumentError, match="init_state is .*; expected another state"):
        rewind.record(grow, {frozenset({2}), "a"}, allow_pickle=True, **call)


def test_another_call_for_the_same_file_is_refused_while_it_is_recorded(tmp_path):
    with rewind.Recorder(walk, 0, 5, path=tmp_path / "run.replay").advance(5000):
        with pytest.raises(rewind.ArtifactBusyError):
            record(tmp_path / "run.replay", seed=6)


def test_resume_needs_a_path():
    with pytest.raises(rewind.ArgumentError, match="resume is True; expected path= as well"):
        rewind.record(walk, 0, 100, 5, resume=True)


def test_every_block_is_run_twice_also_of_a_recording_that_goes_on(tmp_path):
    step = cut_off(tmp_path / "run.replay", self_check=True)
    before = step.calls
    record(tmp_path / "run.replay", step, self_check=True)
    assert step.calls - before > 2 * 45
