"""Recorder: steps one by one, as many as it takes, are the run that `record` would have made of them."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
import warnings

import numpy as np
import pytest
from helpers.native_steps import CASES, own
from helpers.plain import BACKENDS, HAZARDS, Counting, bytes_of, in_place, loop, noisy, normal, text, walk
from hypothesis import given, settings
from hypothesis import strategies as st

import rewind

OBSERVE = {"x": None, "pair": lambda x: [x, x * x], "low": lambda x: math.nan if x > 3 else -x}
FACTS = ("count", "mean", "std", "min", "max", "argmin", "argmax", "nan_count", "first_nan")


class Enough(Exception):
    pass


class Halting:
    """A step that raises what it is given at one call; what is said of its source is the same for all of them."""

    def __init__(self, step, call=1 << 60, error=Enough):
        self.step, self.left, self.error = step, call, error

    def __call__(self, state, rng):
        self.left -= 1
        if self.left == -1:
            raise self.error()
        return self.step(state, rng)


def beside(path):
    return pathlib.Path(f"{path}.journal")


def same(run, whole, part=False):
    """Assert that two runs have the same states and statistics, whatever checkpoints were dropped."""
    assert bytes_of(run) == bytes_of(whole) and len(run) == len(whole)
    assert run.metadata()["tail_digest"] == whole.metadata()["tail_digest"]
    for name, stats in whole.observed.items():
        assert run.overview(name).tobytes() == whole.overview(name).tobytes()
        for fact in FACTS:
            assert np.asarray(getattr(run.observed[name], fact)).tobytes() == np.asarray(getattr(stats, fact)).tobytes()
    if run.metadata()["stride"] == 1 and not part:
        assert run.content_hash() == whole.content_hash()
    assert run.n_checkpoints <= max(2 * math.sqrt(len(run)), 1)


# ---- against record

KINDS = {
    "an integer": (walk, lambda: 0, {}),
    "a number seen": (noisy, lambda: 0.0, OBSERVE),
    "an array in place": (in_place, lambda: np.zeros(3), {"all": None, "sum": lambda x: x.sum()}),
    "a text": (text, lambda: "", {"n": len}),
    "a set": (HAZARDS["a set"][0], lambda: {"w1"}, {"n": len}),
    "a shape that changes": (HAZARDS["a changing shape"][0], lambda: np.zeros(3), {"n": len}),
    "half draws held back": (noisy, lambda: 0.0, {}),
}
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.integers(0, 40)),
        st.tuples(st.just("until"), st.integers(1, 30)),
        st.tuples(st.just("never"), st.integers(0, 25)),
        st.tuples(st.just("iterate"), st.integers(1, 15)),
        st.tuples(st.sampled_from(["run", "state", "journal", "again"]), st.just(0)),
    ),
    max_size=8,
)


@settings(max_examples=60)
@given(
    kind=st.sampled_from(list(KINDS)),
    backend=st.sampled_from(BACKENDS),
    b=st.integers(1, 20),
    moves=MOVES,
    filed=st.booleans(),
    observed=st.booleans(),
)
def test_however_one_goes_it_is_the_run_that_record_makes(kind, backend, b, moves, filed, observed, tmp_path_factory):
    step, make, observe = KINDS[kind]
    observe = observe if observed else {}
    options = {"block_size": b, "backend": backend, "observe": observe}
    path = tmp_path_factory.mktemp("recorder") / "run.replay" if filed else None
    recorder, t = rewind.Recorder(step, make(), 5, path=path, **options), 0
    states = loop(step, make(), 330, 5, b, backend)
    for what, n in moves:
        if what == "advance":
            assert recorder.advance(n) is recorder
            t += n
        elif what == "until":
            calls = []
            assert recorder.until(lambda state: calls.append(state) or len(calls) == n) == t + n  # noqa: B023
            t += n
        elif what == "never":
            assert recorder.until(lambda state: False, max_steps=n) is None
            t += n
        elif what == "iterate":
            for i, state in enumerate(recorder, 1):
                assert bytes_of([state]) == bytes_of([states[t + i]])
                if i == n:
                    break
            t += n
        elif what == "run":
            run = recorder.run
            assert run.complete and bytes_of(run) == bytes_of(states[: t + 1])
            for name, metric in observe.items():
                assert str(run.observed[name]) == str(run.stats(metric))
        elif what == "journal" and filed:
            found = rewind.load(path, step, allow_pickle=True)
            assert bytes_of(found) == bytes_of(states[: len(found)]) and len(found) == t // b * b + 1
        elif what == "again" and filed:
            recorder.close()
            recorder = rewind.Recorder.resume(path, step, observe=observe or None, allow_pickle=True)
        assert recorder.t == t and len(recorder) == recorder.n_steps == t + 1
        assert bytes_of([recorder.state]) == bytes_of([states[t]])
    run = recorder.finish()
    whole = rewind.record(step, make(), t + 1, 5, **options)
    same(run, whole)
    assert bytes_of(run) == bytes_of(states[: t + 1]) and run.verify(full=True)
    if filed:
        run.save(path.parent / "expected.replay")
        assert path.read_bytes() == (path.parent / "expected.replay").read_bytes() and not beside(path).exists()


@pytest.mark.parametrize("n", [1, 2, 10, 99, 1000, 4000])
@pytest.mark.parametrize("b", [1, 2, 3, 10, 64, 10_000])
def test_there_are_never_more_checkpoints_than_twice_the_root(n, b):
    recorder = rewind.Recorder(walk, 0, 5, block_size=b)
    for part in (n // 3, n // 2, n - n // 3 - n // 2):
        run = recorder.advance(part).run
        assert 1 <= run.n_checkpoints <= 2 * math.isqrt(len(run)) and run.block_size == b
    assert len(run) == n + 1
    for t in (0, 1, n // 2, n - 1, n):
        assert run.get(t) == recorder.run.get(t)


@given(n=st.integers(0, 700), b=st.integers(1, 12), cuts=st.lists(st.integers(1, 700), max_size=6))
def test_what_is_thinned_does_not_depend_on_how_it_went(n, b, cuts):
    at_once = rewind.Recorder(walk, 0, 5, block_size=b).advance(n).run
    recorder = rewind.Recorder(walk, 0, 5, block_size=b)
    for t in sorted({min(cut, n) for cut in cuts} | {n}):
        recorder.advance(t - recorder.t)
        assert recorder.run.n_checkpoints <= 2 * math.isqrt(t + 1)
    assert recorder.run.content_hash() == at_once.content_hash()


def test_a_loop_of_the_users_own_is_recorded():
    recorder = rewind.Recorder(walk, 0, 7)
    seen = [recorder.state]
    for x in recorder:
        seen.append(x)
        if abs(x) >= 20:
            break
    run = recorder.finish()
    assert list(run) == seen == loop(walk, 0, len(seen), 7, 1024) and recorder.t == len(seen) - 1
    assert repr(recorder) == f"<Recorder: step {recorder.t:,}>" and recorder.path is None


# ---- until


def test_until_goes_to_the_next_step_at_which_it_holds():
    states = loop(walk, 0, 3000, 7, 1024)
    recorder, found, t = rewind.Recorder(walk, 0, 7, observe={"x": None, "size": abs}), [], 0
    for cond, holds in (
        ("x > 3", lambda x: x > 3),
        (lambda x: x < 0, lambda x: x < 0),
        ("abs(x) > 5 or size == 0", lambda x: abs(x) > 5 or x == 0),
        ("x >= -100", lambda x: True),
    ):
        expected = next(s for s in range(t + 1, 3000) if holds(states[s]))
        t = recorder.until(cond)
        found.append(t)
        assert t == expected == recorder.t and recorder.state == states[t]
    assert list(recorder.run) == states[: t + 1]


def test_until_looks_no_further_than_it_is_told():
    recorder, step = rewind.Recorder(walk, 0, 7), None
    for limit in (0, 1, 5, 1024, 1500):
        before = recorder.t
        assert recorder.until(lambda x: False, max_steps=limit) is None and recorder.t == before + limit
    assert recorder.until(lambda x: True, max_steps=1) == recorder.t
    step = Counting(walk)
    counted = rewind.Recorder(step, 0, 7, trial=False)
    assert counted.until(lambda x: True, max_steps=0) is None and step.calls == 0


def test_a_condition_that_cannot_be_meant_is_refused_before_a_step():
    step = Counting(walk)
    recorder = rewind.Recorder(step, 0, 7, observe={"x": None}, trial=False)
    for cond, error in (
        ("x > > 3", rewind.ConditionError),
        ("y > 3", rewind.RewindError),
        (3, rewind.ArgumentTypeError),
        (None, rewind.ArgumentTypeError),
    ):
        with pytest.raises(error):
            recorder.until(cond)
    for n in (-1, 1.5, "3", True):
        with pytest.raises((rewind.ArgumentError, rewind.ArgumentTypeError), match="max_steps"):
            recorder.until(lambda x: True, max_steps=n)
        with pytest.raises((rewind.ArgumentError, rewind.ArgumentTypeError), match="n is "):
            recorder.advance(n)
    assert step.calls == 0 and recorder.t == 0


def test_a_predicate_that_raises_leaves_a_recorder_that_goes_on():
    recorder = rewind.Recorder(walk, 0, 7, block_size=10)

    def cond(x):
        if recorder.t >= 12:
            raise Enough
        return False

    with pytest.raises(rewind.ConditionError) as caught:
        recorder.until(cond)
    assert isinstance(caught.value.__cause__, Enough)
    t = recorder.t
    assert t in (12, 13)
    assert list(recorder.advance(20).run) == loop(walk, 0, t + 21, 7, 10)


# ---- when it fails


@dataclasses.dataclass
class Walker:
    x: float
    trail: list


def hike(state, rng):
    state.x += normal(rng)
    state.trail = [*state.trail[1:], state.x]
    return state


@pytest.mark.parametrize("at", [0, 1, 9, 10, 11, 25, 39, 40])
@pytest.mark.parametrize("filed", [False, True])
def test_a_step_that_raises_leaves_the_state_it_was_given_and_can_be_mended(at, filed, tmp_path):
    broken, path = [True], tmp_path / "run.replay" if filed else None

    def step(x, rng):
        if broken[0] and x == at:
            raise Enough
        return x + 1

    recorder = rewind.Recorder(step, 0, 7, block_size=10, path=path)
    recorder.advance(at // 2)
    for _ in range(2):
        with pytest.raises(rewind.StepError) as caught:
            recorder.advance(60)
        error = caught.value
        assert isinstance(error.__cause__, Enough) and error.t == at and list(error.run) == list(range(at + 1))
        assert not error.run.complete and error.run.metadata()["stopped"] == f"step_fn raised at step {at}"
        same(error.run, rewind.record(lambda x, rng: x + 1, 0, at + 1, 7, block_size=10), part=True)
        assert recorder.t <= at and recorder.state == recorder.t
        if filed:
            found = rewind.load(path, step)
            assert list(found) == list(range(at + 1)) and "is still going on" in found.metadata()["stopped"]
    broken[0] = False
    assert list(recorder.advance(100 - recorder.t).run) == list(range(101))
    same(recorder.finish(), rewind.record(step, 0, 101, 7, block_size=10))


def test_why_it_stopped_is_kept_when_it_is_left(tmp_path):
    path = tmp_path / "run.replay"
    with pytest.raises(rewind.StepError):
        with rewind.Recorder(Halting(walk, 25), 0, 7, block_size=10, path=path, trial=False) as recorder:
            recorder.advance(60)
    found = rewind.load(path, Halting(walk))
    assert "step_fn raised at step 25" in found.metadata()["stopped"]
    assert list(found) == loop(walk, 0, len(found), 7, 10) and len(found) >= 21


@pytest.mark.parametrize("kind", ["an integer", "an array in place", "a set"])
@pytest.mark.parametrize("call", [0, 5, 10, 17, 33])
def test_ctrl_c_leaves_it_where_it_can_go_on(kind, call):
    step, make, _ = KINDS[kind]
    recorder = rewind.Recorder(Halting(step, call, KeyboardInterrupt), make(), 7, block_size=10, trial=False)
    recorder.advance(3 if call > 3 else 0)
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        recorder.advance(50)
    t = recorder.t
    states = loop(step, make(), 61, 7, 10)
    assert t == max(call // 10 * 10, 3 if call > 3 else 0) and len(caught.value.run) == t + 1
    assert bytes_of(caught.value.run) == bytes_of(states[: t + 1]) and caught.value.n_steps is None
    assert bytes_of([recorder.state]) == bytes_of([states[t]])
    assert bytes_of(recorder.advance(60 - t).finish()) == bytes_of(states)


@pytest.mark.parametrize("error", [KeyboardInterrupt, Enough])
@pytest.mark.parametrize("at", [0, 5, 9, 10, 11, 30, 59])
def test_a_metric_that_raises_once_leaves_a_recorder_that_goes_on(error, at):
    left = [error]

    def metric(x):
        if x == at and left:
            raise left.pop()
        return x

    def step(x, rng):
        return x + 1

    whole = rewind.record(step, 0, 101, 7, block_size=10, observe={"x": None})
    try:
        recorder = rewind.Recorder(step, 0, 7, block_size=10, observe={"x": metric})
    except rewind.MetricError:  # state 0 is looked at before there is anything
        assert at == 0
        return
    except KeyboardInterrupt:
        assert at == 0
        return
    with pytest.raises((rewind.RecordingInterrupted, rewind.MetricError)) as caught:
        recorder.advance(100)
    assert recorder.t == at // 10 * 10 and list(caught.value.run) == list(range(recorder.t + 1))
    assert list(recorder.advance(100 - recorder.t).run) == list(range(101))
    same(recorder.run, whole)


def test_a_state_that_cannot_be_kept_is_an_error_and_the_run_is_there():
    def step(x, rng):
        return (lambda: x) if x == 19 else x + 1

    recorder = rewind.Recorder(step, 0, 7, block_size=10)
    with pytest.raises(rewind.RewindError) as caught:
        recorder.advance(50)
    assert list(caught.value.run)[:11] == list(range(11)) and recorder.t == 10
    assert list(recorder.run) == list(range(11))


def test_a_step_that_differs_is_found_where_that_was_asked_for():
    calls = [0]

    def step(x, rng):
        calls[0] += 1
        return x + calls[0]

    recorder = rewind.Recorder(step, 0, 7, block_size=10, self_check=True, trial=False)
    with pytest.raises(rewind.NondeterministicStepError) as caught:
        recorder.advance(50)
    assert caught.value.run is not None
    good = rewind.Recorder(noisy, 0.0, 7, block_size=10, self_check=True, observe={"x": None}).advance(57)
    same(good.finish(), rewind.record(noisy, 0.0, 58, 7, block_size=10, observe={"x": None}))


# ---- states


@pytest.mark.parametrize("kind", ["an array in place", "a set"])
def test_the_state_is_a_private_copy(kind):
    step, make, _ = KINDS[kind]
    recorder, states = rewind.Recorder(step, make(), 7, block_size=10), loop(step, make(), 31, 7, 10)
    init = make()
    mine = rewind.Recorder(step, init, 7, block_size=10)
    for t in range(30):
        for one in (recorder.state, init, *([next(iter(mine))] if t < 29 else [])):
            one.clear() if isinstance(one, set) else one.fill(9.0)
        recorder.advance()
    assert bytes_of(recorder.run) == bytes_of(states)
    assert bytes_of(mine.run) == bytes_of(states[:30])


def test_a_run_of_before_is_not_changed_by_going_on():
    recorder = rewind.Recorder(in_place, np.zeros(3), 7, block_size=3)
    runs = [recorder.advance(17).run for _ in range(6)]
    recorder.advance(500)
    states = loop(in_place, np.zeros(3), 700, 7, 3)
    for run in runs:
        assert bytes_of(run) == bytes_of(states[: len(run)])
        same(run, rewind.record(in_place, np.zeros(3), len(run), 7, block_size=3))
    assert bytes_of(runs[2].extend(200)) == bytes_of(states[:200])


def test_parameters_and_codecs_are_those_of_record():
    def step(state, rng, rate):
        return Walker(state.x + rate * rng.random(), [state.x])

    codec = (lambda state: [state.x, *state.trail], lambda tree: Walker(tree[0], tree[1:]))
    options = {"params": {"rate": 0.5}, "codec": codec, "block_size": 10}
    recorder = rewind.Recorder(step, Walker(0.0, [0.0]), 7, **options).advance(35)
    assert recorder.state == recorder.run[-1] and recorder.run.params == {"rate": 0.5}
    same(recorder.finish(), rewind.record(step, Walker(0.0, [0.0]), 36, 7, **options))


def test_a_seed_of_none_is_drawn_and_kept():
    recorder = rewind.Recorder(walk, 0, None, block_size=10).advance(30)
    seed = recorder.run.seed
    assert 0 <= seed < 1 << 128 and list(recorder.finish()) == loop(walk, 0, 31, seed, 10)


# ---- the end


def test_a_recorder_that_is_finished_goes_no_further(tmp_path):
    path = tmp_path / "run.replay"
    for recorder, way in (
        (rewind.Recorder(walk, 0, 7), r"\.run\.extend\(n_steps\) goes on"),
        (rewind.Recorder(walk, 0, 7, path=path), r"rewind\.Recorder\.resume\('.*run\.replay', step_fn\) goes on"),
    ):
        run = recorder.advance(20).finish()
        assert recorder.finish() is run is recorder.run and recorder.t == 20 and run.complete
        for ask in (recorder.advance, lambda: recorder.until(lambda x: True), lambda: next(iter(recorder))):  # noqa: B023
            with pytest.raises(rewind.RecorderFinishedError, match=way):
                ask()
        assert recorder.t == 20 and len(recorder.run) == 21
        recorder.close()
        assert recorder.finish() is run
    assert os.listdir(tmp_path) == ["run.replay"]


def test_a_with_block_writes_the_file_at_its_end(tmp_path):
    path = tmp_path / "run.replay"
    with rewind.Recorder(walk, 0, 7, block_size=10, path=path) as recorder:
        recorder.advance(35)
        assert not path.exists() and recorder.path == str(path)
        assert repr(recorder) == f"<Recorder: step 35, recording to {path}>"
    assert path.exists() and not beside(path).exists() and recorder.run.complete
    assert list(rewind.load(path, walk)) == loop(walk, 0, 36, 7, 10)
    with rewind.Recorder(walk, 0, 7) as recorder:
        pass
    assert list(recorder.run) == [0]


def test_a_with_block_that_fails_leaves_what_can_be_gone_on_with(tmp_path):
    path = tmp_path / "run.replay"
    with pytest.raises(Enough):
        with rewind.Recorder(walk, 0, 7, block_size=10, path=path, observe={"x": None}) as recorder:
            recorder.advance(35)
            raise Enough("no more")
    assert not path.exists()
    found = rewind.load(path, walk)
    assert list(found) == loop(walk, 0, 36, 7, 10) and found.metadata()["stopped"] == "Enough: no more"
    assert found.observed["x"].count == 36
    with rewind.Recorder.resume(path, walk, observe={"x": None}) as recorder:
        assert recorder.t == 35 or recorder.t == 30
        recorder.advance(60 - recorder.t)
    same(rewind.load(path, walk), rewind.record(walk, 0, 61, 7, block_size=10, observe={"x": None}))


def test_closing_leaves_what_can_be_gone_on_with(tmp_path):
    path = tmp_path / "run.replay"
    recorder = rewind.Recorder(walk, 0, 7, block_size=10, path=path).advance(35)
    recorder.close()
    recorder.close()
    assert rewind.load(path).metadata()["stopped"] == "the recorder was closed" and len(rewind.load(path)) == 36
    assert list(recorder.run) == loop(walk, 0, 36, 7, 10)
    with pytest.raises(rewind.ArtifactIOError):
        recorder.advance(20)
    with pytest.raises(rewind.ArgumentError, match=r"begun without one.*rewind\.Recorder\.resume"):
        rewind.resume(path, walk)
    assert list(rewind.resume(path, walk, 100)) == loop(walk, 0, 100, 7, 10)
    rewind.Recorder(walk, 0, 7).close()


@pytest.mark.parametrize("stops", [[5], [10], [35, 36], [40, 40, 95], [3, 300, 301, 900]])
@pytest.mark.parametrize("kind", ["an integer", "a number seen", "a set"])
def test_a_recorder_that_was_closed_ends_with_the_bytes_of_one_that_was_not(stops, kind, tmp_path):
    step, make, observe = KINDS[kind]
    path, options = tmp_path / "run.replay", {"observe": observe or None, "allow_pickle": True}
    for i, t in enumerate(stops):
        if i:
            recorder = rewind.Recorder.resume(path, step, **options)
        else:
            recorder = rewind.Recorder(step, make(), 7, block_size=10, path=path, observe=observe)
        recorder.advance(t - recorder.t).close()
    recorder = rewind.Recorder.resume(path, step, **options)
    recorder.advance(1000 - recorder.t).finish()
    whole = rewind.Recorder(step, make(), 7, block_size=10, observe=observe, path=tmp_path / "whole.replay")
    whole.advance(1000).finish()
    assert path.read_bytes() == (tmp_path / "whole.replay").read_bytes()
    assert bytes_of(recorder.run) == bytes_of(loop(step, make(), 1001, 7, 10))


def test_a_recorder_goes_on_from_a_finished_file(tmp_path):
    path, step = tmp_path / "run.replay", Counting(walk)
    rewind.record(step, 0, 100, 7, path=path)
    before = path.read_bytes()
    recorder = rewind.Recorder.resume(path, step)
    assert recorder.t == 99 and path.read_bytes() == before
    recorder.advance(51).close()
    assert path.read_bytes() == before
    with pytest.warns(rewind.UnfinishedRecordingWarning):
        assert len(rewind.load(path)) == 100
    recorder = rewind.Recorder.resume(path, step)
    run = recorder.advance(199 - recorder.t).finish()
    assert list(run) == loop(walk, 0, 200, 7, 10) and list(rewind.load(path, step)) == list(run)
    assert not beside(path).exists()


def test_a_recorder_goes_on_from_what_record_left(tmp_path):
    path = tmp_path / "run.replay"
    with pytest.raises(rewind.StepError):
        rewind.record(Halting(walk, 55), 0, 100, 7, path=path, trial=False)
    recorder = rewind.Recorder.resume(path, Halting(walk))
    assert 50 <= recorder.t <= 55
    run = recorder.advance(250 - recorder.t).finish()
    assert list(run) == loop(walk, 0, 251, 7, 10) and run.n_checkpoints <= 2 * math.isqrt(251)


def test_what_cannot_be_gone_on_with_is_refused_and_stays(tmp_path):
    path = tmp_path / "run.replay"
    with pytest.raises(FileNotFoundError):
        rewind.Recorder.resume(path, walk)
    rewind.Recorder(noisy, 0.0, 7, block_size=10, path=path, observe={"x": None}).advance(35).close()
    before = beside(path).read_bytes()
    with pytest.raises(rewind.ArgumentError, match="observe.*functions for x"):
        rewind.Recorder.resume(path, noisy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rewind.StepSourceWarning)
        with pytest.raises(rewind.NondeterministicReplayError):
            rewind.Recorder.resume(path, lambda x, rng: noisy(x, rng) + 1, observe={"x": None})
    recorder = rewind.Recorder.resume(path, noisy, observe={"x": None})
    assert recorder.t in (30, 35)
    recorder.close()
    assert beside(path).read_bytes().startswith(before[: len(before) // 2])


@pytest.mark.parametrize(
    "options, name",
    [
        ({"block_size": 0}, "block_size"),
        ({"block_size": 2.5}, "block_size"),
        ({"block_size": None}, "block_size"),
        ({"seed": -1}, "seed"),
        ({"backend": "torch"}, "backend"),
        ({"progress": 3}, "progress"),
        ({"observe": ["x"]}, "observe"),
        ({"params": {"k": 2}}, "k=2"),
        ({"step_id": 5}, "step_id"),
        ({"step_fn": 3}, "step_fn"),
        ({"codec": 3}, "codec"),
    ],
)
def test_what_record_refuses_a_recorder_refuses(options, name, tmp_path):
    arguments = {"step_fn": walk, "init_state": 0, "seed": 1, "path": tmp_path / "run.replay", **options}
    with pytest.raises((rewind.ArgumentError, rewind.ArgumentTypeError), match=name):
        rewind.Recorder(**arguments)
    assert os.listdir(tmp_path) == []


def test_progress_is_told_of_each_call(monkeypatch):
    monkeypatch.setattr("rewind.runs.progress.INTERVAL", 0.0)
    told = []
    recorder = rewind.Recorder(walk, 0, 7, block_size=10, progress=told.append)
    recorder.advance(35)
    assert [(p.op, p.total) for p in told] == [("record", 36)] * len(told) and told
    count = len(told)
    recorder.until(lambda x: False, max_steps=20)
    assert len(told) > count and told[-1].total == 56


def test_a_state_that_is_pickled_is_told_of_before_the_first_step_and_once():
    with pytest.warns(rewind.PickledStatesWarning) as caught:
        recorder = rewind.Recorder(lambda x, rng: [*x, 0.5], [0], 7, block_size=10)
        recorder.advance(35).finish()
    assert len(caught) == 1 and caught[0].filename == __file__


# ---- steps that run without Python


@pytest.mark.parametrize("filed", [None, "none"])
@pytest.mark.parametrize("observe", [{}, {"x": None}])
def test_a_step_that_runs_by_itself_gives_the_run_that_record_makes(filed, observe, tmp_path):
    numba = pytest.importorskip("numba")

    @numba.njit
    def drift(x, rng):
        return 0.5 * x + rng.standard_normal()

    options = {"block_size": 7, "backend": "numpy", "observe": observe}
    more = {"path": tmp_path / "run.replay", "durability": filed} if filed else {}
    recorder = rewind.Recorder(drift, 0.0, 7, **options, **more)
    for t in (1, 6, 7, 8, 500, 503, 2999):
        recorder.advance(t - recorder.t)
        assert recorder.t == t
    whole = rewind.record(drift, 0.0, 3000, 7, **options)
    assert bytes_of([recorder.state]) == bytes_of([whole[-1]])
    same(recorder.finish(), whole)
    at_once = rewind.Recorder(drift, 0.0, 7, **options).advance(2999).run
    assert at_once.content_hash() == recorder.run.content_hash()


def test_a_step_of_numba_that_raises_leaves_the_state_it_was_given():
    numba = pytest.importorskip("numba")

    @numba.njit
    def fragile(x, rng):
        if x > 1000.0:
            raise ValueError("over a thousand")
        return x + 1.0

    recorder = rewind.Recorder(fragile, 0.0, 7, block_size=10, backend="numpy")
    with pytest.raises(rewind.StepError) as caught:
        recorder.advance(5000)
    assert caught.value.t == 1001 and caught.value.run[-1] == 1001.0 and recorder.t == 1000
    assert recorder.advance(1).state == 1001.0


@pytest.mark.parametrize("name", ["drift", "walk", "ring"])
def test_a_native_step_gives_the_run_that_record_makes(library, name, tmp_path):
    example = next(case for case in CASES if case.name == name)
    step = rewind.native_step(getattr(library, name))
    options = {"block_size": 7, "backend": "numpy", "params": example.params}
    recorder = rewind.Recorder(step, own(example.state), 7, path=tmp_path / "run.replay", **options).advance(500)
    recorder.close()
    recorder = rewind.Recorder.resume(tmp_path / "run.replay", step)
    recorder.advance(999 - recorder.t)
    same(recorder.finish(), rewind.record(step, own(example.state), 1000, 7, **options))


@pytest.mark.parametrize("at", [0, 9, 10, 25, 40])
def test_statistics_are_right_after_a_step_that_was_mended(at, tmp_path):
    broken, observe = [True], {"x": None, "pair": lambda x: [x, -x]}

    def step(x, rng):
        if broken[0] and x == at:
            raise Enough
        return x + 1

    recorder = rewind.Recorder(step, 0, 7, block_size=10, observe=observe, path=tmp_path / "r.replay")
    with pytest.raises(rewind.StepError):
        recorder.advance(60)
    broken[0] = False
    recorder.advance(100 - recorder.t)
    with pytest.warns(rewind.StepSourceWarning, match="broken changed"):
        assert len(rewind.load(tmp_path / "r.replay", step, observe=observe)) == 101
    same(recorder.finish(), rewind.record(step, 0, 101, 7, block_size=10, observe=observe))


def test_a_run_of_before_keeps_its_statistics_when_the_recorder_goes_on():
    observe = {"s": lambda x: x.sum()}
    recorder = rewind.Recorder(in_place, np.zeros(3), 7, block_size=3, observe=observe)
    run = recorder.advance(17).run
    recorder.advance(100)
    same(run, rewind.record(in_place, np.zeros(3), 18, 7, block_size=3, observe=observe))
