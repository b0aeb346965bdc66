"""resume: a recording that was cut off, gone on with, is the file it would have been, byte for byte."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import warnings

import numpy as np
import pytest
from helpers.plain import BACKENDS, HAZARDS, Counting, bytes_of, in_place, loop, noisy, normal, text, walk
from hypothesis import given, settings
from hypothesis import strategies as st

import rewind

pytestmark = pytest.mark.usefixtures("without_trial")  # the calls of a step are counted

OBSERVE = {"x": None, "pair": lambda x: [x, x * x], "low": lambda x: -x}


class Enough(Exception):
    pass


@dataclasses.dataclass
class Cell:
    x: float
    n: int


def cell(state, rng):
    state.x += normal(rng)
    state.n += 1
    return state


def set_of(state, rng):
    return state ^ {f"w{int(rng.random() * 9)}"}


class Halting:
    """A step that raises what it is given, at one call. What a file says of its source is the same for all of them."""

    def __init__(self, step, call=1 << 60, error=Enough):
        self.step, self.left, self.error = step, call, error

    def __call__(self, state, rng):
        self.left -= 1
        if self.left == -1:
            raise self.error()
        return self.step(state, rng)


def beside(path):
    return pathlib.Path(f"{path}.journal")


@contextlib.contextmanager
def another_step():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rewind.StepSourceWarning)
        yield


def stopped(path, at, n_steps=100, step=walk, init=0, seed=5, **options):
    """Record to `path` by a step that raises at step `at`."""
    with pytest.raises(rewind.StepError) as caught:
        rewind.record(Halting(step, at, Enough), init, n_steps, seed, path=path, **options)
    return caught.value.run


def file_of(run, folder):
    """The bytes that `save` gives."""
    run.save(folder / "expected.replay")
    return (folder / "expected.replay").read_bytes()


# ---- against the run that nobody stopped

KINDS = {
    "an integer": (walk, lambda: 0, {}, False),
    "a number seen": (noisy, lambda: 0.0, OBSERVE, False),
    "a dataclass": (cell, lambda: Cell(0.0, 0), {"x": "x", "two": lambda s: [s.x, s.n]}, False),
    "an array in place": (in_place, lambda: np.zeros(3), {"all": None, "sum": lambda x: x.sum()}, False),
    "a text": (text, lambda: "", {"n": len}, False),
    "pickles": (set_of, lambda: {"w1"}, {"n": len}, True),
    "columns and pickles": (HAZARDS["a changing shape"][0], lambda: np.zeros(3), {"n": len}, True),
    "integers beyond 64 bits": (HAZARDS["integers beyond 64 bits"][0], lambda: 1, {}, True),
}


def whole_and_parts(folder, kind, backend, n, b, stops, observed=True):
    """Record in one go, and stopped at the steps `stops`; return the run, its file and the file of the parts."""
    step, make, observe, pickled = KINDS[kind]
    observe = observe if observed else {}
    path = folder / "run.replay"
    named = {"block_size": b, "backend": backend, "observe": observe, "step_id": "the step"}
    whole = rewind.record(Halting(step), make(), n, 5, **named)
    more = {"observe": observe or None, "allow_pickle": pickled}
    begun = False
    for how, at in stops:
        there = len(rewind.load(path, allow_pickle=True)) if begun else 1
        if at < there or at > n - 2:
            continue
        # So many calls are made for the check of the last finished block: the stop comes anywhere after.
        error = {"step": Enough, "ctrl-c": KeyboardInterrupt}[how]
        halting = Halting(step, at if not begun else at - there + 1 + b, error)
        try:
            if begun:
                run = rewind.resume(path, halting, **more)
            else:
                run = rewind.record(halting, make(), n, 5, path=path, **named)
        except (rewind.StepError, rewind.RecordingInterrupted) as stop:
            run, begun = stop.run, True
            assert not run.complete and bytes_of(run) == bytes_of(whole[: len(run)])
            found = rewind.load(path, Halting(step), **more)
            assert bytes_of(found) == bytes_of(run) and found.content_hash() == run.content_hash()
        else:
            begun = True
    if not begun:
        run = rewind.record(Halting(step), make(), n, 5, path=path, **named)
    else:
        run = rewind.resume(path, Halting(step), **more)
    assert run.complete and bytes_of(run) == bytes_of(whole) and not beside(path).exists()
    return whole, file_of(whole, folder), path.read_bytes()


STOPS = st.lists(st.tuples(st.sampled_from(["step", "ctrl-c"]), st.integers(0, 80)), min_size=1, max_size=3)


@settings(max_examples=30)
@given(
    kind=st.sampled_from(list(KINDS)),
    backend=st.sampled_from(BACKENDS),
    n=st.integers(1, 80),
    b=st.integers(1, 20),
    stops=STOPS,
    observed=st.booleans(),
)
def test_a_file_that_was_stopped_anywhere_has_the_bytes_of_one_that_was_not(
    kind, backend, n, b, stops, observed, tmp_path_factory
):
    _, expected, got = whole_and_parts(tmp_path_factory.mktemp("resume"), kind, backend, n, b, stops, observed)
    assert got == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [0, 6, 7, 13, 41, 42, 43, 45])
def test_a_stop_in_the_first_block_the_last_and_at_their_ends(kind, at, tmp_path):
    _, expected, got = whole_and_parts(tmp_path, kind, "python", 47, 7, [("step", at)])
    assert got == expected


@pytest.mark.parametrize("at", [0, 5, 6, 7, 20, 30, 40])
def test_a_callback_that_raises_stops_at_the_end_of_a_block(at, tmp_path, monkeypatch):
    monkeypatch.setattr("rewind.runs.progress.INTERVAL", 0.0)

    def enough(progress):
        if progress.done > at:
            raise Enough

    path, whole = tmp_path / "run.replay", rewind.record(walk, 0, 47, 5, block_size=7)
    with pytest.raises(Enough) as caught:
        rewind.record(walk, 0, 47, 5, block_size=7, path=path, progress=enough)
    assert len(caught.value.run) == at // 7 * 7 + 8
    found = rewind.load(path, walk)
    assert bytes_of(found) == bytes_of(caught.value.run) and found.metadata()["stopped"].startswith("Enough")
    with contextlib.suppress(Enough):
        rewind.resume(path, walk, progress=enough)
    rewind.resume(path, walk)
    assert path.read_bytes() == file_of(whole, tmp_path)


@pytest.mark.parametrize("observe", [None, {"x": None}])
@pytest.mark.parametrize("durability", ["block", "none"])
def test_a_numba_step_that_was_stopped_is_gone_on_with(observe, durability, tmp_path):
    numba = pytest.importorskip("numba")

    @numba.njit
    def drift(x, rng):
        y = 0.5 * x + rng.random()
        if y > 1.8:
            raise ValueError("too far")
        return y

    @numba.njit
    def mended(x, rng):
        return 0.5 * x + rng.random()

    path, options = tmp_path / "run.replay", {"block_size": 10, "backend": "numpy", "observe": observe}
    whole = rewind.record(mended, 0.0, 2000, 3, step_id="drift", **options)
    first = next(t for t, x in enumerate(whole) if x > 1.8) - 1
    with pytest.raises(rewind.StepError) as caught:
        rewind.record(drift, 0.0, 2000, 3, path=path, durability=durability, step_id="drift", **options)
    assert caught.value.t == first > 100 and len(rewind.load(path)) == first + 1
    with another_step():
        run = rewind.resume(path, mended, observe=observe)
    assert run.content_hash() == whole.content_hash() and bytes_of(run) == bytes_of(whole)


# ---- the finished file


def test_a_finished_file_is_loaded_and_no_step_is_run(tmp_path):
    path, step = tmp_path / "run.replay", Counting(walk)
    run = rewind.record(step, 0, 100, 5, path=path)
    assert step.since() == 99
    before, status = path.read_bytes(), os.stat(path)
    for n in (None, 100):
        again = rewind.resume(path, step, n)
        assert again.content_hash() == run.content_hash() and step.since() == 0
    after = os.stat(path)
    assert path.read_bytes() == before
    assert (after.st_ino, after.st_mtime_ns) == (status.st_ino, status.st_mtime_ns)
    assert os.listdir(tmp_path) == ["run.replay"]
    assert again.get(50) == run.get(50)


@settings(max_examples=15)
@given(n=st.integers(2, 80), more=st.integers(1, 200), b=st.integers(1, 20), at=st.integers(0, 80), seen=st.booleans())
def test_more_steps_are_those_of_extend_whether_it_was_finished_or_not(n, more, b, at, seen, tmp_path_factory):
    path = tmp_path_factory.mktemp("more") / "run.replay"
    observe = OBSERVE if seen else None
    options = {"block_size": b, "observe": observe, "step_id": "noisy"}
    expected = rewind.record(noisy, 0.0, n, 5, **options).extend(n + more)
    if at < n - 1:
        stopped(path, at, n, noisy, 0.0, **options)
    else:
        rewind.record(noisy, 0.0, n, 5, path=path, **options)
    with another_step():
        run = rewind.resume(path, noisy, n + more, observe=observe)
    assert len(run) == n + more and run.content_hash() == expected.content_hash()
    assert rewind.load(path).content_hash() == expected.content_hash()
    whole = rewind.record(noisy, 0.0, n + more, 5, **options)
    assert bytes_of(run) == bytes_of(whole) and run.verify(full=True)
    if run.metadata()["stride"] == 1:
        assert run.content_hash() == whole.content_hash()


def test_fewer_steps_than_there_are_are_refused(tmp_path):
    path, step = tmp_path / "run.replay", Counting(walk)
    rewind.record(walk, 0, 100, 5, path=path)
    with another_step():
        with pytest.raises(rewind.ArgumentError, match="n_steps is 99; expected at least the 100 there are already"):
            rewind.resume(path, step, 99)
        path.unlink()
        stopped(path, 75)
        with pytest.raises(rewind.ArgumentError, match=r"n_steps is 50; expected at least the 71 there are already"):
            rewind.resume(path, step, 50)
        assert step.calls == 0
        run = rewind.resume(path, walk, 80)  # fewer than it was asked for at first
    assert run.complete and list(run) == loop(walk, 0, 80, 5, 10)
    for n in (0, -1, 2.5, "100", True):
        with pytest.raises((rewind.ArgumentError, rewind.ArgumentTypeError), match="n_steps"):
            rewind.resume(path, walk, n)


def test_a_recording_that_stops_again_is_there_again(tmp_path):
    path, whole = tmp_path / "run.replay", rewind.record(walk, 0, 100, 5)
    stopped(path, 55)
    with another_step():
        for calls in (12, 12, 12):
            with pytest.raises(rewind.StepError):
                rewind.resume(path, Halting(walk, 10 + calls, Enough))
        run = rewind.resume(path, walk)
    assert list(run) == list(whole) and run.content_hash() == whole.content_hash()
    assert rewind.resume(path, walk).content_hash() == whole.content_hash()


# ---- refusals


def test_where_there_is_nothing_it_is_a_file_that_was_not_found(tmp_path):
    for path in (tmp_path / "run.replay", tmp_path / "no" / "run.replay"):
        with pytest.raises(FileNotFoundError) as caught:
            rewind.resume(path, walk)
        assert isinstance(caught.value, rewind.ArtifactNotFoundError) and str(path) in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_the_metrics_have_to_be_those_it_was_recorded_with(tmp_path):
    path = tmp_path / "run.replay"
    stopped(path, 55, step=noisy, init=0.0, observe=OBSERVE)
    before = beside(path).read_bytes()
    some = {"x": None, "low": OBSERVE["low"]}
    with another_step():
        for observe, names in ((None, "x, pair, low"), (some, "functions for pair")):
            with pytest.raises(rewind.ArgumentError, match=f"observe.*{names}"):
                rewind.resume(path, noisy, observe=observe)
        with pytest.raises(rewind.UnknownMetricError, match="observed no metric 'y'"):
            rewind.resume(path, noisy, observe={**OBSERVE, "y": None})
        with pytest.raises(rewind.MetricError, match="metric 'low'"):
            rewind.resume(path, noisy, observe={**OBSERVE, "low": lambda x: x})
        assert beside(path).read_bytes() == before
        rewind.resume(path, noisy, observe=OBSERVE)
    with pytest.raises(rewind.ArgumentError, match="observe.*functions for x, pair, low"):
        rewind.resume(path, noisy, 200)
    assert not beside(path).exists()


@pytest.mark.parametrize("at", [3, 55, 97])
def test_a_step_that_is_another_one_is_not_gone_on_with(at, tmp_path):
    path = tmp_path / "run.replay"
    run = stopped(path, at, step=noisy, init=0.0)
    before = beside(path).read_bytes()
    with another_step():
        if at > 9:
            with pytest.raises(rewind.NondeterministicReplayError):
                rewind.resume(path, lambda x, rng: noisy(x, rng) + 1)
            assert beside(path).read_bytes() == before and not path.exists()
        assert bytes_of(rewind.resume(path, noisy)[: len(run)]) == bytes_of(run)


def test_a_step_with_another_source_is_told_of(tmp_path):
    def first(x, rng):
        return x + rng.randrange(3) if x < 40 else x // 0

    def second(x, rng):
        return x + rng.randrange(3)

    path = tmp_path / "run.replay"
    with pytest.raises(rewind.StepError):
        rewind.record(first, 0, 100, 1, path=path)
    with pytest.warns(rewind.StepSourceWarning, match="is not the source .* was recorded with"):
        run = rewind.resume(path, second)
    assert list(run) == loop(second, 0, 100, 1, 10)


def test_a_parameter_is_kept(tmp_path):
    def step(x, rng, rate, kicks):
        if x > stop[0]:
            raise Enough
        return x + rate * rng.random() + kicks[0]

    stop, path, params = [30.0], tmp_path / "run.replay", {"rate": 0.5, "kicks": [1, 2]}
    with pytest.raises(rewind.StepError):
        rewind.record(step, 0.0, 100, 1, path=path, params=params)
    stop[0] = 1e9
    with pytest.warns(rewind.StepSourceWarning, match="stop changed"):
        run = rewind.resume(path, step)
    assert run.params == params and list(run) == loop(step, 0.0, 100, 1, 10, params=params)


def test_states_of_a_codec_need_it_again(tmp_path):
    codec = (lambda state: [state.x, state.n], lambda tree: Cell(*tree))
    path = tmp_path / "run.replay"
    whole = rewind.record(Halting(cell), Cell(0.0, 0), 100, 5, codec=codec, step_id="cell")
    stopped(path, 55, step=cell, init=Cell(0.0, 0), codec=codec, step_id="cell")
    with another_step():
        with pytest.raises(rewind.MissingCodecError):
            rewind.resume(path, cell)
        assert len(rewind.load(path)) == 56
        run = rewind.resume(path, Halting(cell), codec=codec)
    assert run.content_hash() == whole.content_hash() and path.read_bytes() == file_of(whole, tmp_path)


@pytest.mark.parametrize("what", ["a read-only file", "a missing folder", "a folder", "a pipe"])
def test_a_place_that_cannot_be_written_is_refused_before_the_first_step(what, tmp_path):
    path, step = tmp_path / "run.replay", Counting(walk)
    if what == "a read-only file":
        rewind.record(step, 0, 9, 1, path=path)
        step.since()
        path.chmod(0o444)
    elif what == "a missing folder":
        path = tmp_path / "no" / "run.replay"
    elif what == "a folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    for ask in (
        lambda: rewind.record(step, 0, 100, 5, path=path),
        lambda: rewind.Recorder(step, 0, 5, path=path).advance(9),
        lambda: rewind.resume(path, step, 100),
    ):
        with pytest.raises(rewind.ArtifactIOError) as caught:
            ask()
        assert str(path) in str(caught.value) and step.calls == 0
        assert not beside(path).exists()


def test_a_folder_that_is_read_only_is_refused_before_the_first_step(tmp_path):
    folder, step = tmp_path / "closed", Counting(walk)
    folder.mkdir()
    folder.chmod(0o555)
    try:
        if os.access(folder, os.W_OK):
            pytest.skip("whoever runs this may write anywhere")
        with pytest.raises(rewind.ArtifactPermissionError):
            rewind.record(step, 0, 100, 5, path=folder / "run.replay")
        assert step.calls == 0
    finally:
        folder.chmod(0o755)


@pytest.mark.parametrize("path", [5, None, 1.5, ["a"]])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(rewind.ArgumentTypeError, match="path is .*; expected a str or a path-like object"):
        rewind.resume(path, walk)
    if path is not None:
        with pytest.raises(rewind.ArgumentTypeError, match="path is "):
            rewind.record(walk, 0, 9, 1, path=path)
    with pytest.raises(rewind.ArgumentError, match="NUL"):
        rewind.record(walk, 0, 9, 1, path="a\0b")


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("option", [{"on_signal": "now"}, {"durability": "2s"}, {"progress": 3}, {"codec": 3}])
def test_an_option_that_cannot_be_meant_is_refused_whatever_is_there(option, finished, tmp_path):
    path, step = tmp_path / "run.replay", Halting(walk)
    if finished:
        rewind.record(step, 0, 100, 5, path=path)
    else:
        stopped(path, 55)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    for ask in (rewind.resume, rewind.Recorder.resume):
        with pytest.raises((rewind.ArgumentError, rewind.ArgumentTypeError), match=f"{next(iter(option))} is "):
            ask(path, step, **option)
        assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before


# ---- where the file is


@pytest.mark.parametrize("name", ["with a space.replay", "é \N{SNOWMAN}.replay", "-n", "plain", ".hidden", "a\nb"])
def test_a_file_may_have_any_name(name, tmp_path):
    path, whole = tmp_path / name, rewind.record(walk, 0, 100, 5)
    stopped(path, 55)
    assert os.listdir(tmp_path) == [f"{name}.journal"]
    with another_step():
        rewind.resume(path, walk)
    assert os.listdir(tmp_path) == [name] and rewind.load(path).content_hash() == whole.content_hash()


def test_a_symlink_stays_and_the_file_it_is_of_is_written(tmp_path):
    (tmp_path / "far").mkdir()
    real, path = tmp_path / "far" / "real.replay", tmp_path / "link.replay"
    path.symlink_to(real)
    for _ in range(2):  # at first there is nothing after it
        stopped(path, 55)
        assert beside(real).exists() and not beside(path).exists()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert len(rewind.load(beside(real))) == 56
            run = rewind.resume(path, walk)
        assert path.is_symlink() and not beside(real).exists()
        assert rewind.load(real).content_hash() == rewind.load(path).content_hash() == run.content_hash()
    assert sorted(os.listdir(tmp_path)) == ["far", "link.replay"] and os.listdir(tmp_path / "far") == ["real.replay"]


def test_a_relative_path_is_of_the_folder_one_is_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stopped("run.replay", 55)
    assert os.listdir() == ["run.replay.journal"] and len(rewind.load("run.replay")) == 56
    with another_step():
        assert rewind.resume("run.replay", walk).complete
    assert os.listdir() == ["run.replay"]


@pytest.mark.parametrize("how", ["record", "Recorder", "resume"])
def test_a_step_that_goes_to_another_folder_leaves_the_file_where_it_was_begun(how, tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)

    def step(x, rng):
        if x == 55:
            os.chdir(there)
        return x + 1

    if how == "record":
        rewind.record(step, 0, 100, 5, path="run.replay")
    elif how == "Recorder":
        rewind.Recorder(step, 0, 5, path="run.replay").advance(99).finish()
    else:
        rewind.Recorder(step, 0, 5, block_size=10, path="run.replay").advance(30).close()
        rewind.resume("run.replay", step, 100)
    assert os.listdir(here) == ["run.replay"] and os.listdir(there) == []
    assert list(rewind.load(here / "run.replay", step)) == list(range(100))


# ---- to begin again


def test_a_recording_that_was_cut_off_is_not_begun_again(tmp_path):
    path, step = tmp_path / "run.replay", Counting(walk)
    stopped(path, 55)
    before = beside(path).read_bytes()
    for ask in (lambda: rewind.record(step, 0, 9, 1, path=path), lambda: rewind.Recorder(step, 0, 1, path=path)):
        with pytest.raises(
            rewind.UnfinishedRecordingError, match=r"steps 0 to \d+\. Go on with rewind\.resume"
        ) as caught:
            ask()
        assert isinstance(caught.value, FileExistsError) and caught.value.path == str(beside(path))
        assert caught.value.target == str(path)
    assert step.calls == 0 and beside(path).read_bytes() == before
    beside(path).unlink()
    assert len(rewind.record(step, 0, 9, 1, path=path)) == 9


def test_a_finished_file_is_replaced_at_the_end_alone(tmp_path):
    path = tmp_path / "run.replay"
    old = rewind.record(walk, 0, 50, 1, path=path)
    before, seen = path.read_bytes(), []

    def step(x, rng):
        seen.append(path.read_bytes() == before)
        return walk(x, rng)

    new = rewind.record(step, 0, 100, 2, path=path)
    assert len(seen) == 99 and all(seen)
    assert rewind.load(path).content_hash() == new.content_hash() != old.content_hash()
    before = path.read_bytes()
    stopped(path, 55)
    assert path.read_bytes() == before
    with pytest.raises(rewind.UnfinishedRecordingError):
        rewind.record(walk, 0, 50, 1, path=path)


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_of_record_has_the_bytes_of_save(kind, tmp_path):
    step, make, observe, _ = KINDS[kind]
    for n, b in ((1, 1), (1, 5), (2, 1), (50, 7), (50, 50), (50, 60), (51, 7)):
        run = rewind.record(step, make(), n, 5, block_size=b, observe=observe, path=tmp_path / "run.replay")
        assert (tmp_path / "run.replay").read_bytes() == file_of(run, tmp_path)
        plain = rewind.record(step, make(), n, 5, block_size=b, observe=observe)
        assert run.content_hash() == plain.content_hash() and bytes_of(run) == bytes_of(plain)


# ---- what is there when it stopped


def loadable(path, step, error, states, reason):
    """Assert that `.run` and the file hold `states`, and say why there are no more."""
    run = error.run
    assert not run.complete and bytes_of(run) == bytes_of(states)
    found = rewind.load(path, step)
    assert found.content_hash() == run.content_hash() and bytes_of(found) == bytes_of(states)
    assert not path.exists()
    for one in (run, found):
        assert reason in one.metadata()["stopped"]


def test_a_step_that_raises_leaves_the_state_it_was_given(tmp_path):
    def step(x, rng):
        if x >= 57:
            raise Enough("at 57")
        return x + 1

    path = tmp_path / "run.replay"
    for options in ({}, {"observe": {"x": None, "v": lambda x: [x, -x]}}):
        with pytest.raises(rewind.StepError, match="at step 57") as caught:
            rewind.record(step, 0, 100, 5, path=path, **options)
        loadable(path, step, caught.value, list(range(58)), "step_fn raised at step 57")
        beside(path).unlink()


def test_a_state_that_cannot_be_kept_leaves_those_before(tmp_path):
    def step(x, rng):
        return (lambda: x) if x == 57 else x + 1

    path = tmp_path / "run.replay"
    with pytest.raises(rewind.RewindError) as caught:
        rewind.record(step, 0, 100, 5, path=path, block_size=29)
    assert isinstance(caught.value, (rewind.StateError, rewind.StepError))
    loadable(path, step, caught.value, list(range(len(caught.value.run))), "")
    assert caught.value.run[-1] == 57


def test_a_metric_that_fails_leaves_the_finished_blocks(tmp_path):
    def metric(x):
        return "text" if x == 57 else x

    def step(x, rng):
        return x + 1

    path = tmp_path / "run.replay"
    with pytest.raises(rewind.MetricError) as caught:
        rewind.record(step, 0, 100, 5, path=path, observe={"m": metric})
    loadable(path, step, caught.value, list(range(51)), "MetricError")
    run = rewind.resume(path, step, observe={"m": lambda x: x})
    assert run.complete and run.observed["m"].max == 99


def test_a_run_that_is_not_finished_answers_what_any_run_does(tmp_path):
    path, whole = tmp_path / "run.replay", rewind.record(noisy, 0.0, 100, 5, observe=OBSERVE)
    stopped(path, 55, step=noisy, init=0.0, observe=OBSERVE)
    before = beside(path).read_bytes()
    with another_step():
        run = rewind.load(path, noisy, observe=OBSERVE)
    part = whole[:56]
    assert run.verify() and run.verify(full=True) and bytes_of(run) == bytes_of(part)
    values = list(part)
    assert run.stats() == rewind.record(noisy, 0.0, 56, 5, block_size=10).stats()
    assert run.first("x > 3") == next((t for t, x in enumerate(values) if x > 3), None)
    assert run.last(lambda x: x > 3) == next((t for t in reversed(range(56)) if values[t] > 3), None)
    assert bytes_of(run.branch(33, noise="same", n_steps=40)) == bytes_of(whole[33:73])
    assert bytes_of(run.branch(55, noise="same", n_steps=20)) == bytes_of(whole[55:75])
    longer = run.extend(100)
    assert longer.content_hash() == whole.content_hash() and longer.observed == whole.observed
    run.save(tmp_path / "part.replay")
    again = rewind.load(tmp_path / "part.replay")
    assert again.content_hash() == run.content_hash() and not again.complete
    assert beside(path).read_bytes() == before


def test_a_saved_part_does_not_say_how_long_it_was_to_be(tmp_path):
    path = tmp_path / "part.replay"
    stopped(tmp_path / "run.replay", 55).save(path)
    with another_step():
        with pytest.raises(rewind.ArgumentError, match="n_steps is None; expected a number of states"):
            rewind.resume(path, walk)
        assert len(rewind.resume(path, walk, 56)) == 56 and rewind.load(path).complete
        assert list(rewind.resume(path, walk, 100)) == loop(walk, 0, 100, 5, 10)


def test_a_branch_that_was_saved_is_gone_on_with(tmp_path):
    path = tmp_path / "branch.replay"
    for noise in ("fresh", "same"):
        branch = rewind.record(noisy, 0.0, 100, 5).branch(33, lambda x: x + 1, noise=noise)
        branch.save(path)
        run = rewind.resume(path, noisy, 200)
        expected = branch.extend(200)
        assert run.content_hash() == expected.content_hash() and bytes_of(run) == bytes_of(expected)
        assert run.lineage == branch.lineage


# ---- how long blocks are


def wide(x, rng):
    x[0] += rng.random()
    return x


@pytest.mark.parametrize("budget", [8000, "8kB", "8 KB", 8191.0, "0.008MB"])
def test_a_budget_says_how_long_blocks_are(budget):
    if isinstance(budget, float):
        with pytest.raises((rewind.ArgumentError, rewind.ArgumentTypeError), match="checkpoint_budget"):
            rewind.record(wide, np.zeros(100), 1000, 1, checkpoint_budget=budget)
        return
    run = rewind.record(wide, np.zeros(100), 1000, 1, checkpoint_budget=budget)
    assert run.block_size == 100 and run.n_checkpoints == 10
    same = rewind.record(wide, np.zeros(100), 1000, 1, block_size=100)
    assert run.content_hash() == same.content_hash()


@given(st.integers(1, 3000), st.integers(800, 100_000))
def test_checkpoints_stay_within_their_budget(n, budget):
    run = rewind.record(lambda x, rng: x, np.zeros(100), n, 1, checkpoint_budget=budget)
    assert run.n_checkpoints * 800 <= budget
    assert run.block_size >= rewind.record(lambda x, rng: x, 0, n, 1).block_size
    if run.block_size > rewind.record(lambda x, rng: x, 0, n, 1).block_size:
        assert -(-n // (run.block_size - 1)) * 800 > budget  # no longer than that needs


def test_a_budget_that_cannot_be_meant_is_refused(tmp_path):
    step = Counting(wide)
    for budget, kind in (
        (799, "at least the 800 bytes of one state"),
        (0, "at least the 800 bytes of one state"),
        (-1, "checkpoint_budget"),
        ("much", "checkpoint_budget"),
        ([800], "checkpoint_budget"),
    ):
        with pytest.raises((rewind.ArgumentError, rewind.ArgumentTypeError), match=kind):
            rewind.record(step, np.zeros(100), 100, 1, checkpoint_budget=budget, path=tmp_path / "a.replay")
    with pytest.raises(rewind.ArgumentError, match="Both say how long blocks are"):
        rewind.record(step, np.zeros(100), 100, 1, checkpoint_budget=8000, block_size=5)
    assert step.calls == 0 and os.listdir(tmp_path) == []
