"""Blocks that take hours: where a signal or a kill ends a recording inside one, and that it goes on to the very bytes.

The clock is one of ours: each look at it is so many seconds later, so that steps take as long as a test likes.
"""

from __future__ import annotations

import functools
import os
import signal
import warnings
from dataclasses import dataclass, field

import numpy as np
import pytest
from helpers.native_steps import CASES, built, library, own  # noqa: F401
from helpers.plain import bytes_of, loop

import rewind
from rewind.cli.main import main
from rewind.runs import execute, progress
from rewind.storage import frames, journal

N, B, SEED = 100, 40, 7


class Clock:
    """A clock that goes on by `tick` seconds at each look; at some looks a signal comes, or the program is gone."""

    def __init__(self, tick=20.0, **at):
        self.now, self.tick, self.looks, self.left = 0.0, tick, 0, 0
        self.at = {int(look.removeprefix("look")): what for look, what in at.items()}

    def __call__(self):
        self.looks += 1
        self.now += self.tick
        what = self.at.get(self.looks)
        if isinstance(what, int):
            signal.raise_signal(what)
        elif what is not None:
            what()
        return self.now


@pytest.fixture
def clock(monkeypatch):
    def patch(tick=20.0, **at):
        one = Clock(tick, **at)
        monkeypatch.setattr(execute, "clock", one)
        return one

    return patch


class Gone(BaseException):
    """A kill: what is on disk now is what there will be."""


def beside(path):
    return f"{path}.journal"


# ---- steps and states of each kind


@dataclass
class Town:
    """A state that is pickled: it holds an object of no known kind."""

    x: float = 0.0
    seen: dict = field(default_factory=dict)
    other: object = field(default_factory=lambda: Other(0))


class Other:
    def __init__(self, n):
        self.n = n


def walk(x, rng):
    return x + rng.gauss(0.0, 1.0) + rng.random()


def town(state, rng):
    state.x += rng.gauss(0.0, 1.0)
    state.seen[f"k{rng.randrange(5)}"] = state.x
    state.other.n += 1
    return state


def field_(state, rng):
    state["v"] += rng.standard_normal(3)
    state["n"] = int(rng.integers(9, dtype=np.int32))
    return state


def lead(x, rng, rate, words):
    return x * rate + rng.random() + len(words)


KINDS = {
    "a number": (walk, lambda: 0.0, {}),
    "a pickle": (town, Town, {}),
    "columns": (field_, lambda: {"v": np.zeros(3), "n": 0}, {"backend": "numpy"}),
    "parameters": (lead, lambda: 1.0, {"params": {"rate": 0.5, "words": ["a", "b"]}}),
}
OBSERVE = {
    "a number": {"x": None, "pair": lambda x: [x, -x]},
    "a pickle": {"x": "x", "n": lambda state: state.other.n},
    "columns": {"v": "v", "n": "n"},
    "parameters": {"x": None},
}


def plan_of(kind, observed, **more):
    step, init, options = KINDS[kind]
    return step, init, {"block_size": B, **options, **({"observe": OBSERVE[kind]} if observed else {}), **more}


def whole(path, kind, observed, n=N, **more):
    step, init, options = plan_of(kind, observed, **more)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rewind.RewindWarning)
        rewind.record(step, init(), n, SEED, path=path, **options)
    return path.read_bytes()


def resume(path, kind, observed, **more):
    step, _, options = plan_of(kind, observed)
    return rewind.resume(path, step, observe=options.get("observe"), allow_pickle=kind == "a pickle", **more)


# ---- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_a_recording_at_the_step_under_way(number, clock, tmp_path):
    path, clock, calls, sent = tmp_path / "run.replay", clock(), [], []

    def step(x, rng):
        calls.append(x)
        if len(calls) == 57 and not sent:
            sent.append(number)
            os.kill(os.getpid(), number)
        return walk(x, rng)

    with pytest.raises(rewind.RecordingInterrupted) as caught:
        rewind.record(step, 0.0, N, SEED, path=path, block_size=B, on_signal="checkpoint", trial=False)
    assert (caught.value.t, len(calls), len(caught.value.run)) == (57, 57, 58)
    states = bytes_of(loop(walk, 0.0, N, SEED, B))
    assert bytes_of(list(rewind.load(path, step))) == states[:58]
    assert rewind.load(path).content_hash() == caught.value.run.content_hash()
    del calls[:]
    run = rewind.resume(path, step)
    # No step is made again but those that show that the step is the one it was: the first after the checkpoint.
    assert len(calls) <= N - 58 + 2
    assert bytes_of(list(run)) == states


@pytest.mark.parametrize("look", [3, 90, 178])
@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_ended_by_a_signal_anywhere_goes_on_to_the_very_bytes(kind, observed, look, clock, tmp_path):
    path = tmp_path / "run.replay"
    expected = whole(tmp_path / "whole.replay", kind, observed)
    clock(**{f"look{look}": signal.SIGINT})
    step, init, options = plan_of(kind, observed)
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        rewind.record(step, init(), N, SEED, path=path, **options)
    clock(look40=signal.SIGINT)
    t = caught.value.t
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        resume(path, kind, observed)
    assert caught.value.t > t
    clock()
    run = resume(path, kind, observed)
    assert path.read_bytes() == expected and not os.path.exists(beside(path))
    assert run.complete and run.verify(full=True)


@pytest.mark.parametrize("name", ["drift", "drift_block", "ring"])
@pytest.mark.parametrize("observe", [None, {"x": None}])
def test_a_native_step_is_ended_inside_a_block_as_well(name, observe, library, clock, tmp_path):  # noqa: F811
    example = next(case for case in CASES if case.name == name)
    step, path = rewind.native_step(getattr(library, name)), tmp_path / "run.replay"
    options = {"block_size": B, "backend": "numpy", "params": example.params, "observe": observe}
    rewind.record(step, own(example.state), N, SEED, path=tmp_path / "whole.replay", **options)
    clock(look30=signal.SIGINT)
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        rewind.record(step, own(example.state), N, SEED, path=path, **options)
    assert 0 < caught.value.t % B
    clock()
    rewind.resume(path, step, observe=observe)
    assert path.read_bytes() == (tmp_path / "whole.replay").read_bytes()


def test_a_numba_step_is_ended_inside_a_block_as_well(clock, tmp_path):
    numba = pytest.importorskip("numba")

    @numba.njit
    def drift(x, rng):
        return 0.5 * x + rng.random()

    path, options = tmp_path / "run.replay", {"block_size": B, "backend": "numpy"}
    rewind.record(drift, 0.0, N, SEED, path=tmp_path / "whole.replay", **options)
    clock(look100=signal.SIGINT)
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        rewind.record(drift, 0.0, N, SEED, path=path, **options)
    assert 0 < caught.value.t % B
    clock()
    rewind.resume(path, drift)
    assert path.read_bytes() == (tmp_path / "whole.replay").read_bytes()


@pytest.mark.parametrize("observed", [False, True])
def test_a_check_of_every_block_is_made_of_one_that_was_ended_inside_too(observed, clock, tmp_path):
    path = tmp_path / "run.replay"
    expected = whole(tmp_path / "whole.replay", "columns", observed, self_check=True)
    step, init, options = plan_of("columns", observed, self_check=True)
    for look in (30, 150, 300, 420, 500):  # some of them in a block, some in the check of it
        clock(**{f"look{look}": signal.SIGINT})
        try:
            rewind.record(step, init(), N, SEED, path=path, resume=True, **options)
        except rewind.RecordingInterrupted:
            continue
        break
    clock()
    rewind.record(step, init(), N, SEED, path=path, resume=True, **options)
    assert path.read_bytes() == expected


def test_a_list_among_the_parameters_that_a_step_changes_is_no_place_to_go_on_from(clock, tmp_path):
    """Its blocks begin with a fresh one, so such a recording ends with the block."""

    def step(x, rng, words):
        words.append(len(words))
        return x + words[-1] * rng.random()

    path, options = tmp_path / "run.replay", {"block_size": B, "params": {"words": []}, "trial": False}
    rewind.record(step, 0.0, N, SEED, path=tmp_path / "whole.replay", **options)
    clock(look30=signal.SIGINT)
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        rewind.record(step, 0.0, N, SEED, path=path, **options)
    assert caught.value.t == B
    clock()
    rewind.resume(path, step)
    assert path.read_bytes() == (tmp_path / "whole.replay").read_bytes()


def test_a_second_ctrl_c_ends_it_within_the_step_and_loses_no_more_than_a_minute(clock, tmp_path):
    path, clock, calls = tmp_path / "run.replay", clock(tick=10.0), []

    def step(x, rng):
        calls.append(x)
        if len(calls) == 33:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("not reached")
        return walk(x, rng)

    with pytest.raises(rewind.RecordingInterrupted) as caught:
        rewind.record(step, 0.0, N, SEED, path=path, block_size=B, trial=False)
    assert 33 - 6 <= caught.value.t <= 32 and len(rewind.load(path)) == len(caught.value.run)
    rewind.resume(path, step)
    assert bytes_of(list(rewind.load(path, step))) == bytes_of(loop(walk, 0.0, N, SEED, B))


# ---- kills


def gone():
    raise Gone


def snapshot(path):
    with open(beside(path), "rb") as file:
        return file.read()


def restore(path, data):
    with open(beside(path), "wb") as file:
        file.write(data)


def killed(path, clock, tick, look, record_it):
    """Return what is on disk at a look at the clock, where all ends; None where it was done before."""
    left = []
    clock(tick, **{f"look{look}": lambda: left.append(snapshot(path)) or gone()})
    try:
        record_it()
    except Gone:
        restore(path, left[0])
        return left[0]
    return None


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_that_is_killed_again_and_again_goes_on_to_the_very_bytes(kind, observed, clock, tmp_path):
    path, allow = tmp_path / "run.replay", {"allow_pickle": kind == "a pickle"}
    expected = whole(tmp_path / "whole.replay", kind, observed)
    step, init, options = plan_of(kind, observed)

    def record_it():
        return rewind.record(step, init(), N, SEED, path=path, resume=True, **allow, **options)

    before = 1
    for look in (20, 47, 90, 31, 64):
        assert killed(path, clock, 7.0, look, record_it) is not None
        n = len(rewind.load(path, **allow))
        assert n >= before
        before = n
    clock()
    assert before > 1 and len(record_it()) == N
    assert path.read_bytes() == expected


@pytest.mark.parametrize("look", [60, 100, 150, 151, 152, 153, 154])
def test_a_kill_inside_a_block_loses_no_more_than_a_minute(look, clock, tmp_path):
    path, made = tmp_path / "run.replay", []

    def step(x, rng):
        made.append(clock.now)
        return walk(x, rng)

    clock = clock(5.0, **{f"look{look}": gone})
    with pytest.raises(Gone):
        rewind.record(step, 0.0, N, SEED, path=path, block_size=N, trial=False)
    n = len(rewind.load(path))  # the step that is lost first is call number n - 1
    assert n < N and (len(made) < n or made[n - 1] >= clock.now - 60 - clock.tick)


@pytest.mark.parametrize("kind, observed", [("columns", True), ("a pickle", False)])
def test_a_journal_that_is_cut_at_any_byte_of_what_was_kept_goes_on_to_the_very_bytes(kind, observed, clock, tmp_path):
    path, allow = tmp_path / "run.replay", {"allow_pickle": kind == "a pickle"}
    expected = whole(tmp_path / "whole.replay", kind, observed)
    step, init, options = plan_of(kind, observed)
    data = killed(path, clock, 20.0, 250, lambda: rewind.record(step, init(), N, SEED, path=path, **options))
    most, seen = len(rewind.load(path, **allow)), set()
    found = journal.read(beside(path))
    first, end = found.part
    assert end <= len(data) and first % frames.PART_AT == 0 and most > B + 1
    borders = {found.n_good, first, first + 16, end, len(data)}
    for cut in sorted({cut for at in borders for cut in range(at - 9, at + 9, 2)} | {*range(first, end, 97)}):
        restore(path, data[:cut])
        n = len(rewind.load(path, **allow))
        seen.add(n)
        assert 1 <= n <= most and (n == most) >= (cut >= len(data)) and (n > B) >= (cut >= found.n_good)
    assert {1, B + 1, most} <= seen
    for cut in (found.n_good - 1, found.n_good, first + 50, len(data) - 1, len(data)):
        restore(path, data[:cut])
        clock()
        resume(path, kind, observed)
        assert path.read_bytes() == expected
        path.unlink()


def test_a_flipped_bit_in_what_was_kept_gives_what_was_kept_before(clock, tmp_path):
    path = tmp_path / "run.replay"
    data = killed(path, clock, 20.0, 100, lambda: rewind.record(walk, 0.0, N, SEED, path=path, block_size=B))
    first, end = journal.read(beside(path)).part
    n = len(rewind.load(path))
    for at in range(first, end, 41):
        other = bytearray(data)
        other[at] ^= 1
        restore(path, bytes(other))
        assert len(rewind.load(path)) < n


def test_what_is_kept_takes_the_place_of_what_was_kept_before(clock, tmp_path):
    """Two of them, and room for the frames that are to come."""
    path, sizes = tmp_path / "run.replay", []

    def step(x, rng):
        sizes.append(os.path.getsize(beside(path)))
        return x + rng.random()

    clock(30.0)
    rewind.record(step, np.zeros(5000), 60, SEED, path=path, block_size=60)
    assert max(sizes) < 8 * 40_000 + (1 << 17)


def test_a_journal_of_an_earlier_version_is_gone_on_with(clock, tmp_path):
    """It has nothing of the block under way, and what this version adds is after all that an earlier one reads."""
    path = tmp_path / "run.replay"
    expected = whole(tmp_path / "whole.replay", "a number", True)
    step, init, options = plan_of("a number", True)
    data = killed(path, clock, 20.0, 250, lambda: rewind.record(step, init(), N, SEED, path=path, **options))
    restore(path, data[: journal.read(beside(path)).n_good])
    assert len(rewind.load(path)) == B + 1
    clock(look150=signal.SIGINT)  # after the check of the finished block
    with pytest.raises(rewind.RecordingInterrupted):
        resume(path, "a number", True)
    assert len(rewind.load(path)) > B + 1
    clock()
    resume(path, "a number", True)
    assert path.read_bytes() == expected


def test_what_a_later_version_kept_of_a_block_is_told_from_damage(clock, tmp_path, monkeypatch):
    path = tmp_path / "run.replay"
    clock(look30=signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(frames, "_PART_VERSION", 2)
        with pytest.raises(rewind.RecordingInterrupted):
            rewind.record(walk, 0.0, N, SEED, path=path, block_size=B)
    with pytest.raises(rewind.ArtifactVersionError):
        rewind.load(path)


def test_another_step_is_found_by_the_first_steps_of_a_block_that_was_ended_inside(clock, tmp_path):
    path, calls = tmp_path / "run.replay", []
    clock(look70=signal.SIGINT)
    with pytest.raises(rewind.RecordingInterrupted):
        rewind.record(walk, 0.0, N, SEED, path=path, block_size=N, observe={"x": None})

    def other(x, rng):
        calls.append(x)
        return walk(x, rng) + 1e-9

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rewind.StepSourceWarning)
        with pytest.raises(rewind.NondeterministicReplayError):
            rewind.resume(path, other, observe={"x": None})
        assert len(calls) < 20
    with pytest.raises(rewind.MetricError):
        rewind.resume(path, walk, observe={"x": lambda x: x if not x else x + 1e-9})
    clock()
    rewind.resume(path, walk, observe={"x": None})


# ---- what a recorder notices


@pytest.mark.parametrize(
    "what, words",
    [
        (os.unlink, "it was deleted or moved"),
        (lambda file: os.rename(file, f"{file}.old"), "it was deleted or moved"),
        (lambda file: os.truncate(file, os.path.getsize(file) - 1), "it was cut short"),
        (lambda file: (os.rename(file, f"{file}.old"), open(file, "wb").close()), "another file took its place"),
    ],
    ids=["deleted", "moved", "cut", "replaced"],
)
@pytest.mark.parametrize("how", ["record", "Recorder"])
def test_a_journal_that_is_gone_is_noticed_at_the_next_block(how, what, words, tmp_path):
    path, calls = tmp_path / "run.replay", []

    def step(x, rng):
        calls.append(x)
        if len(calls) == 55:
            what(beside(path))
        return walk(x, rng)

    with pytest.raises(rewind.ArtifactIOError, match=f"cannot write .*: {words} while it was recorded to") as caught:
        if how == "record":
            rewind.record(step, 0.0, 1000, SEED, path=path, block_size=B, trial=False)
        else:
            rewind.Recorder(step, 0.0, SEED, path=path, block_size=B, trial=False).advance(1000)
    run = caught.value.run  # it is not lost: it can be saved
    assert B + 1 <= len(run) <= 2 * B + 1
    assert bytes_of(list(run)) == bytes_of(loop(walk, 0.0, len(run), SEED, B))
    run.save(tmp_path / "saved.replay")


def test_a_journal_that_went_in_the_last_block_is_no_reason_not_to_write_the_file(tmp_path):
    path = tmp_path / "run.replay"

    def step(x, rng):
        if x == 95:
            os.unlink(beside(path))
        return x + 1

    assert len(rewind.record(step, 0, N, SEED, path=path, block_size=B)) == N and len(rewind.load(path)) == N


# ---- Recorder


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_recorder_is_ended_and_closed_inside_a_block_and_stands_there_again(kind, observed, clock, tmp_path):
    path, (step, init, options) = tmp_path / "run.replay", plan_of(kind, observed)
    seen = options.pop("observe", None)

    def again():
        return rewind.Recorder.resume(path, step, observe=seen, allow_pickle=kind == "a pickle")

    with rewind.Recorder(step, init(), SEED, path=tmp_path / "whole.replay", observe=seen, **options) as recorder:
        recorder.advance(N - 1)
    clock(look30=signal.SIGINT)
    recorder = rewind.Recorder(step, init(), SEED, path=path, observe=seen, **options)
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        recorder.advance(N - 1)
    assert 0 < caught.value.t == recorder.t < B
    recorder.close()
    clock()
    for n in (5, 30, 20):  # within the block, over its end, within the next
        recorder = again()
        t = recorder.t
        recorder.advance(n).close()
        assert recorder.t == t + n and len(rewind.load(path, allow_pickle=True)) == t + n + 1
    recorder = again()
    assert recorder.t == t + n
    recorder.advance(N - 1 - recorder.t).finish()
    assert path.read_bytes() == (tmp_path / "whole.replay").read_bytes()


def test_a_signal_between_two_calls_ends_a_recorder_where_it_stands(clock, tmp_path):
    path = tmp_path / "run.replay"
    clock()
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        with rewind.Recorder(walk, 0.0, SEED, path=path, block_size=B) as recorder:
            recorder.advance(7)
            signal.raise_signal(signal.SIGINT)
            recorder.advance(1)
    assert caught.value.t == 7 and rewind.Recorder.resume(path, walk).t == 7


# ---- what is said


def test_progress_says_how_long_a_block_takes_where_that_is_long(clock, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0)
    for tick, long in (5.0, True), (0.001, False):
        told = []
        clock(tick)
        rewind.record(walk, 0.0, 1000, SEED, path=tmp_path / f"{tick}.replay", block_size=500, progress=told.append)
        assert ("a block takes 42 minutes" in [progress.long_block(one) for one in told]) == long
        assert any(progress.long_block(one) for one in told) == long
        assert not long or (told[0].block, told[0].done, told[0].block_seconds) == (-1, 1, 2500)


@pytest.mark.parametrize(
    "seconds, words", [(601, "10 minutes"), (7000, "117 minutes"), (7300, "2.0 hours"), (1e6, "11.6 days")]
)
def test_a_duration_is_said_in_words(seconds, words):
    assert progress.duration_text(seconds) == words


def test_the_shell_says_once_at_the_start_how_long_a_block_takes(clock, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slow.py").write_text("def step(x, rng):\n    return x + rng.random()\n")
    clock(10.0)
    command = "record slow.py:step --init 0.0 -n 300 --seed 1 --block-size 100".split()
    assert main([*command, "-o", "run.replay"]) == 0
    err = capsys.readouterr().err
    assert err.count("rewind: a block takes 17 minutes; what is done of it is kept every minute") == 1
    assert main([*command, "-o", "quiet.replay", "-q"]) == 0
    assert "a block takes" not in capsys.readouterr().err


# ---- what is left inside a block


def test_the_last_state_is_there_without_a_replay_and_branches_from_it_make_no_step_twice(clock, tmp_path):
    path, calls = tmp_path / "run.replay", []

    def step(x, rng):
        calls.append(x)
        return walk(x, rng)

    states = loop(walk, 0.0, N, SEED, B)
    clock(look130=signal.SIGINT)
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        rewind.record(step, 0.0, N, SEED, path=path, block_size=B)
    t = caught.value.t
    del calls[:]
    assert bytes_of([rewind.load(path)[-1], rewind.load(path, step)[t]]) == bytes_of([states[t]] * 2) and not calls
    run = rewind.load(path, step)
    same = run.branch(t, noise="same", n_steps=N - t)
    assert len(calls) == N - t - 1 and bytes_of(list(same)) == bytes_of(states[t:])
    assert same.verify(full=True) and run.verify(full=True) and bytes_of(list(run)) == bytes_of(states[: t + 1])
    other = run.branch(t, mutate=lambda x: x + 1, noise="same", n_steps=5)
    assert other[0] == states[t] + 1 and bytes_of(list(other)) != bytes_of(states[t : t + 5])
    same.save(tmp_path / "branch.replay")
    assert rewind.load(tmp_path / "branch.replay", step).verify(full=True)


def test_a_pickle_kept_inside_a_block_is_not_unpickled_unless_that_is_allowed(clock, tmp_path):
    path = tmp_path / "run.replay"

    def step(x, rng):
        return x + rng.randrange(1, 9) if isinstance(x, int) and x < 20 else [rng.random()]

    clock(look100=signal.SIGINT)
    with pytest.raises(rewind.RecordingInterrupted):
        rewind.record(step, 0, N, SEED, path=path, block_size=N)
    assert isinstance(journal.read(beside(path)).growth.part.row, bytes)
    assert not rewind.load(path)._recording.checkpoints.pickles
    with pytest.raises(rewind.MissingStepError):
        rewind.load(path)[-1]
    for go_on in (rewind.resume, rewind.Recorder.resume):
        with pytest.raises(rewind.UnsafeArtifactError):
            go_on(path, step)
    assert len(rewind.resume(path, step, allow_pickle=True)) == N


@pytest.mark.parametrize("observed", [False, True])
def test_a_tracked_simulation_that_was_ended_inside_a_block_goes_on_there(observed, clock, tmp_path):
    calls, observe = [], {"x": None} if observed else None

    def step(x, rng):
        calls.append(x)
        return walk(x, rng)

    states = loop(walk, 0.0, N, SEED, B)
    clock(look130=signal.SIGINT)
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        with rewind.init(id="a", dir=tmp_path) as run:
            run.record(step, 0.0, N, SEED, block_size=B, observe=observe, log_every=10)
    t = caught.value.t
    assert 0 < t % B
    clock()
    del calls[:]
    with rewind.init(id="a", dir=tmp_path, resume="must") as run:
        run.record(step, 0.0, N, SEED, block_size=B, observe=observe, log_every=10)
        assert len(calls) <= N - t + 3  # and some to see that the step is the same
        assert bytes_of([run.state]) == bytes_of(states[-1:])
        assert bytes_of([run.state_at(t), run.state_at(t + 1)]) == bytes_of(states[t : t + 2])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is killed")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("observe", [{}, {"x": None, "square": lambda x: x * x}], ids=["", "observed"])
@pytest.mark.parametrize("every", [None, 7])
def test_a_tracked_simulation_that_is_killed_inside_a_block_loses_no_more_than_a_minute(
    every, observe, clock, tmp_path
):
    asked = {"block_size": N, "observe": observe, "log_every": every}
    child = os.fork()
    if not child:
        try:
            run = rewind.init(id="a", dir=tmp_path)
            clock(5.0, look230=lambda: run.flush() or os._exit(9))  # rows wait half a second
            run.record(walk, 0.0, N, SEED, **asked)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    calls, states = [], loop(walk, 0.0, N, SEED, N)

    @functools.wraps(walk)
    def step(x, rng):
        calls.append(x)
        return walk(x, rng)

    clock()
    with rewind.init(id="a", dir=tmp_path, resume="must") as run:
        run.record(step, 0.0, N, SEED, **asked)
        assert len(calls) < N / 2
        assert bytes_of([run.state]) == bytes_of(states[-1:])
    tracked = rewind.Tracker(tmp_path).run("a").attach(walk, observe=observe)
    for row in tracked.history():
        t = row["_step"]
        assert not observe or (row["x"], row["square"]) == (states[t], states[t] * states[t])
    if observe and every:
        assert {t for t in range(0, N, every)} <= {row["_step"] for row in tracked.history()}
    assert tracked.verify_history() if observe else tracked.state_at(N - 1) == states[-1]


def test_a_signal_while_the_last_block_is_run_again_ends_that_as_well(clock, tmp_path):
    """Where nothing is kept of the block under way: as in a journal of an earlier version."""
    path, expected = tmp_path / "run.replay", whole(tmp_path / "whole.replay", "a number", False)
    clock(0.0)
    step = KINDS["a number"][0]
    data = killed_after_a_block(path, step)
    clock(look30=signal.SIGINT)
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        rewind.resume(path, step)
    assert (caught.value.t, len(caught.value.run)) == (B, B + 1)
    assert snapshot(path)[: len(data)] == data
    clock()
    rewind.resume(path, step)
    assert path.read_bytes() == expected


def killed_after_a_block(path, step):
    """Record, and leave the first block alone."""
    left = []

    def look(progress):
        if progress.done == B and not left:
            left.append(snapshot(path))
            raise Gone

    with pytest.raises(Gone):
        rewind.record(step, 0.0, N, SEED, path=path, block_size=B, progress=look)
    restore(path, left[0])
    return left[0]


def test_a_recording_that_may_lose_something_is_ended_at_the_end_of_a_block_alone(clock, tmp_path):
    path = tmp_path / "run.replay"
    clock(look40=signal.SIGINT)
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        rewind.record(walk, 0.0, N, SEED, path=path, block_size=B, lossy="accept")
    assert (
        caught.value.t == B and journal.read(beside(path)).growth.part.t == B
    )  # where storing loses what it always does


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("half", [False, True])
def test_a_kill_at_the_end_of_a_block_leaves_no_block_to_be_run_again(half, observed, clock, tmp_path, monkeypatch):
    """A job that is shorter than a block would do nothing else, each time."""
    path, (step, init, options) = tmp_path / "run.replay", plan_of("columns", observed)
    expected, real, written = whole(tmp_path / "whole.replay", "columns", observed), os.write, []

    def write(fd, data):
        if len(data) > 16 and bytes(data[:5]) == b"RWJ:B":
            written.append(real(fd, data[: len(data) // 2] if half else data))
            raise Gone
        return real(fd, data)

    clock()
    monkeypatch.setattr(os, "write", write)
    with pytest.raises(Gone):
        rewind.record(step, init(), N, SEED, path=path, **options)
    monkeypatch.undo()
    n, calls = len(rewind.load(path)), []
    assert written and (n == B + 1 if not half else B - 5 < n < B + 1)
    restored = snapshot(path)

    def counted(state, rng):
        calls.append(1)
        return step(state, rng)

    restore(path, restored)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rewind.StepSourceWarning)
        rewind.resume(path, counted, observe=options.get("observe"))
    assert len(calls) <= N - n + 2
    path.unlink()
    restore(path, restored)
    clock()
    resume(path, "columns", observed)
    assert path.read_bytes() == expected
