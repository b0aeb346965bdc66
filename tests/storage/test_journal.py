"""Journals: what a recording in progress leaves on disk, what is believed of it, and who may write one."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import math
import os
import pathlib
import platform
import random
import struct
import subprocess
import sys
import warnings

import numpy as np
import pytest
from helpers.plain import HAZARDS, Counting, bytes_of, deep, digest, in_place, loop, noisy, text, walk
from helpers.programs import without_source
from hypothesis import given, settings
from hypothesis import strategies as st

import rewind
from rewind.engine.block_log import BlockDone, Stop
from rewind.metrics.moments import ScalarMoments, VectorMoments
from rewind.state.codec import StateCodec
from rewind.storage import frames, locks
from rewind.storage import journal_writer as module
from rewind.storage.frames import BLOCK, END, HEADER, OWNER, STOP, BadFrame

pytestmark = pytest.mark.once  # of files, signals and words: which kernel runs does not matter

ROOT = pathlib.Path(rewind.__file__).parents[1]
HEAD = struct.Struct("<4sB3xQ")
FLOATS = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1.7e308, -1e308]))


class Enough(Exception):
    pass


def halting(step, calls):
    """The step, which raises at one call."""
    left = [calls]

    def halts(state, rng):
        left[0] -= 1
        if left[0] == -1:
            raise Enough
        return step(state, rng)

    return halts


def cut_off(path, step, init, n_steps, at, seed=5, **options):
    """Record to `path` with a step that raises at step `at`; return the journal's bytes."""
    with pytest.raises(rewind.StepError) as caught:
        rewind.record(halting(step, at), deep(init), n_steps, seed, path=path, trial=False, **options)
    assert isinstance(caught.value.__cause__, Enough)
    return beside(path).read_bytes()


def beside(path):
    return pathlib.Path(f"{path}.journal")


def load(path, step, **options):
    """Load with a step that has another name than the one that raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rewind.StepSourceWarning)
        return rewind.load(path, step, **options)


def taken_apart(data):
    """[kind, payload] of each frame, by the words of docs/format.md and no code of the library."""
    assert data.startswith(b"rewind journal 1\n")
    at, found = len(b"rewind journal 1\n"), []
    while at < len(data):
        magic, kind, length = HEAD.unpack_from(data, at)
        assert magic == b"RWJ:"
        found.append([kind, data[at + 16 : at + 16 + length]])
        at += 32 + length
    assert at == len(data)
    return found


def put_together(pieces):
    """A journal of these frames, with digests that hold."""
    data, link = frames.LINE, frames.first_link()
    for kind, payload in pieces:
        new = frames.frame(kind, payload, link)
        data, link = data + new, new[-16:]
    return data


def ends_of(data):
    """Where each frame ends."""
    ends = [len(frames.LINE)]
    for _, payload in taken_apart(data):
        ends.append(ends[-1] + 32 + len(payload))
    return ends[1:]


# ---- frames


@pytest.mark.parametrize("name", HAZARDS)
@pytest.mark.parametrize("backend", ["python", "numpy"])
def test_a_frame_gives_back_what_is_kept_of_any_state(name, backend):
    step, make = HAZARDS[name]
    codec = StateCodec.of(make())
    for t, state in enumerate(loop(step, make(), 25, 3, 10, backend)):
        done = BlockDone(t, codec.encode(state), digest(state))
        payload = frames.block_payload(codec, done)
        back = frames.read_block(codec, memoryview(payload), [])
        assert (back.block, back.digest, back.moments, back.ahead) == (t, digest(state), (), ())
        assert digest(codec.decode(back.row)) == digest(codec.decode(done.row))
        assert frames.block_payload(codec, back) == payload
        with pytest.raises(BadFrame):
            frames.read_block(codec, memoryview(payload + b"\0"), [])
        for cut in {0, 7, 24, len(payload) // 2, len(payload) - 1} - {len(payload)}:
            with pytest.raises(BadFrame):
                frames.read_block(codec, memoryview(payload[:cut]), [])


@given(st.lists(FLOATS, min_size=1, max_size=9), st.lists(FLOATS, min_size=1, max_size=9), st.integers(0, 1 << 60))
def test_a_frame_gives_back_the_moments_of_any_numbers(values, more, step):
    codec = StateCodec.of(0)
    one, other = ScalarMoments.of(np.array(values), step), ScalarMoments.of(np.array(more), step + len(values))
    done = BlockDone(7, 5, bytes(16), (one, one.merge(other)), (other, other))
    back = frames.read_block(codec, memoryview(frames.block_payload(codec, done)), [(), ()])
    for got, expected in zip([*back.moments, *back.ahead], [*done.moments, *done.ahead], strict=True):
        assert got.agrees(expected)
    stop = Stop(3, 9, bytes(range(16)), (one, other), "because of\0 \N{SNOWMAN}")
    again = frames.read_stop(memoryview(frames.stop_payload(stop)), [(), ()])
    assert (again.block, again.n_steps, again.digest, again.reason) == (3, 9, stop.digest, stop.reason)
    assert all(got.agrees(expected) for got, expected in zip(again.tails, stop.tails, strict=True))


@given(st.data(), st.sampled_from([(1,), (3,), (2, 2)]), st.integers(1, 5))
def test_a_frame_gives_back_the_moments_of_any_vectors(data, shape, n):
    d = math.prod(shape)
    values = np.array(data.draw(st.lists(FLOATS, min_size=n * d, max_size=n * d)), np.float64).reshape(n, d)
    with np.errstate(all="ignore"):
        moments = VectorMoments.of(values, 40, values[0])
    codec = StateCodec.of("")
    done = BlockDone(0, codec.encode("abc"), bytes(16), (moments,), (moments,))
    payload = frames.block_payload(codec, done)
    back = frames.read_block(codec, memoryview(payload), [shape])
    assert codec.decode(back.row) == "abc" and frames.block_payload(codec, back) == payload
    for field in ("shift", "mean", "comoment", "min", "argmin", "max", "argmax", "last", "nan_count", "first_nan"):
        got, expected = getattr(back.moments[0], field), getattr(moments, field)
        assert (got.shape, got.tobytes()) == (expected.shape, expected.tobytes()), field


@given(st.integers(-(1 << 2000), 1 << 2000), st.integers(0, 6000), st.integers(0, 1 << 2200))
def test_a_frame_gives_back_sums_of_any_size(total, zeros, squares):
    codec = StateCodec.of(0)
    moments = ScalarMoments(1, total << zeros, squares << zeros)
    payload = frames.block_payload(codec, BlockDone(0, 1, bytes(16), (moments,), (moments,)))
    back = frames.read_block(codec, memoryview(payload), [()]).moments[0]
    assert (back.total, back.squares) == (moments.total, moments.squares)
    assert len(payload) < 700 + (abs(total).bit_length() + squares.bit_length()) // 2


@given(st.binary(max_size=300))
def test_bytes_that_no_recorder_wrote_are_no_frame(noise):
    for codec in (StateCodec.of(0), StateCodec.of("a"), StateCodec.of({1, 2}), StateCodec.of(np.zeros(3))):
        for shapes in ([], [()], [(2,)]):
            with contextlib.suppress(BadFrame):
                frames.read_block(codec, memoryview(noise), shapes)
            with contextlib.suppress(BadFrame):
                frames.read_stop(memoryview(noise), shapes)


# ---- damage


STATS = ("count", "mean", "variance", "min", "max", "argmin", "argmax", "nan_count", "first_nan")
KINDS = {
    "an integer": (walk, 0, {}, {}),
    "a number and what is seen of it": (
        noisy,
        0.0,
        {"x": None, "pair": lambda x: [x, -x], "odd": lambda x: math.nan if x > 2 else x},
        {},
    ),
    "an array": (in_place, np.zeros(3), {"sum": lambda x: x.sum()}, {}),
    "a text": (text, "", {}, {}),
    "a set": (HAZARDS["a set"][0], {"w1"}, {"n": len}, {"allow_pickle": True}),
    "a shape that changes": (HAZARDS["a changing shape"][0], np.zeros(3), {}, {"allow_pickle": True}),
}


@pytest.fixture(params=KINDS)
def kept(request, tmp_path):
    """A recording of 40 steps in blocks of 7, stopped at step 31: its path, its journal, and what is in it."""
    step, init, observe, options = KINDS[request.param]
    path = tmp_path / "run.replay"
    data = cut_off(path, step, init, 40, 31, block_size=7, observe=observe)
    return path, data, step, loop(step, deep(init), 32, 5, 7), {**options, "observe": observe or None}


def held(data):
    """How many states are in a journal, by the frames that are whole: up to the first one of the block under way."""
    kinds = [kind for kind, _ in data]
    assert kinds[:2] == [OWNER, HEADER]
    return 32 if kinds[-1] == STOP else 7 * kinds.count(BLOCK) + 1


def require_is(path, step, states, options):
    """Assert that what `path` gives is these states, and what was seen of them."""
    run = load(path, step, **options)
    assert bytes_of(run) == bytes_of(states) and not run.complete and run.verify(full=True)
    for name, metric in (options["observe"] or {}).items():
        expected, got = run.stats(metric), run.observed[name]
        for fact in STATS:
            assert np.asarray(getattr(got, fact)).tobytes() == np.asarray(getattr(expected, fact)).tobytes()
    run.save(path.parent / "saved.replay")
    saved = rewind.load(path.parent / "saved.replay", **{**options, "observe": None})
    assert saved.content_hash() == run.content_hash()


def test_every_prefix_is_the_finished_blocks_before_the_cut_or_refused(kept):
    path, data, step, states, options = kept
    ends = ends_of(data)
    pieces = taken_apart(data)
    assert held(pieces) == 32
    near = {end + k for end in [17, *ends] for k in (-17, -16, -1, 0, 1, 15, 16, 17, 24, 32)}
    cuts = (
        near
        | set(range(0, ends[1], 301))
        | set(range(ends[1], len(data), 1 if list(options) == ["observe"] and options["observe"] is None else 43))
    )
    for n in sorted(cuts & set(range(len(data) + 1))):
        beside(path).write_bytes(data[:n])
        if n < ends[1]:
            with pytest.raises((rewind.ArtifactFormatError, rewind.ArtifactNotFoundError)):
                rewind.load(path)
            continue
        whole = [piece for piece, end in zip(pieces, ends, strict=True) if end <= n]
        run = rewind.load(path, allow_pickle=True)
        assert len(run) == held(whole) and not run.complete
        if n in ends:
            require_is(path, step, states[: held(whole)], options)


def test_no_flipped_bit_gives_a_wrong_state(kept):
    path, data, step, states, options = kept
    ends = ends_of(data)
    pieces = taken_apart(data)
    rng = random.Random(3)
    places = [rng.randrange(8 * len(data)) for _ in range(40)]
    places += [8 * rng.randrange(ends[1], len(data)) + rng.randrange(8) for _ in range(60)]
    places += [8 * (end + k) + k % 8 for end in [0, *ends[:-1]] for k in range(0, 24, 3)]
    for place in places:
        bad = bytearray(data)
        bad[place // 8] ^= 1 << place % 8
        beside(path).write_bytes(bad)
        if place // 8 < ends[1]:
            with pytest.raises(rewind.ArtifactError):
                rewind.load(path)
            continue
        whole = [piece for piece, end in zip(pieces, ends, strict=True) if end <= place // 8]
        run = rewind.load(path, allow_pickle=True)
        assert len(run) == held(whole)
        assert run.metadata()["tail_digest"] == digest(states[len(run) - 1]).hex()


def test_a_flipped_bit_is_no_obstacle_to_going_on(tmp_path):
    path, whole = tmp_path / "a.replay", rewind.record(walk, 0, 60, 5, block_size=7)
    whole.save(tmp_path / "whole.replay")
    data = cut_off(path, walk, 0, 60, 50, block_size=7)
    for end in ends_of(data)[1:-1]:
        bad = bytearray(data)
        bad[end + 20] ^= 4
        beside(path).write_bytes(bad)
        with pytest.warns(rewind.StepSourceWarning):
            run = rewind.resume(path, walk)
        assert bytes_of(run) == bytes_of(whole) and run.complete
        path.unlink()


def test_what_is_after_the_end_is_not_a_part_of_it(kept):
    path, data, step, states, options = kept
    for noise in (b"\0", b"RWJ:", b"\0" * 4096, data, data[17:], random.Random(1).randbytes(900)):
        beside(path).write_bytes(data + noise)
        require_is(path, step, states, options)


def test_frames_of_another_journal_are_dropped(tmp_path):
    data = cut_off(tmp_path / "a.replay", walk, 0, 40, 31, block_size=7, seed=1)
    other = cut_off(tmp_path / "b.replay", walk, 0, 40, 31, block_size=7, seed=2)
    ends, others = ends_of(data), ends_of(other)
    states = loop(walk, 0, 32, 1, 7)
    for k in range(1, len(ends)):
        for i in range(len(others) - 1):
            beside(tmp_path / "a.replay").write_bytes(data[: ends[k]] + other[others[i] :])
            run = load(tmp_path / "a.replay", walk)
            assert list(run) == states[: held(taken_apart(data[: ends[k]]))]
    frame = data[ends[1] : ends[2]]
    beside(tmp_path / "a.replay").write_bytes(data[: ends[2]] + frame)  # one of its own, twice
    assert list(load(tmp_path / "a.replay", walk)) == states[:8]


# ---- hostile journals, whose digests all hold


def swapped(payload, at, new):
    return payload[:at] + new + payload[at + len(new) :]


def of_first(kind, change):
    def made(pieces):
        i = next(i for i, piece in enumerate(pieces) if piece[0] == kind)
        pieces[i][1] = change(pieces[i][1])

    return made


def owner(**facts):
    return of_first(OWNER, lambda payload: json.dumps({**json.loads(payload), **facts}).encode())


Q = struct.Struct("<q").pack
#: Where the moments of the one metric begin in a block's frame, after a float.
MOMENTS = 8 + 16 + 1 + 8
HOSTILE = {
    "a block out of turn": of_first(BLOCK, lambda p: swapped(p, 0, Q(1))),
    "a block below none": of_first(BLOCK, lambda p: swapped(p, 0, Q(-1))),
    "a block beyond all": of_first(BLOCK, lambda p: swapped(p, 0, Q((1 << 63) - 1))),
    "a block twice": lambda pieces: pieces.insert(3, list(pieces[2])),
    "a block left out": lambda pieces: pieces.pop(3),
    "a block that is cut": of_first(BLOCK, lambda p: p[:-1]),
    "a block that is empty": of_first(BLOCK, lambda p: b""),
    "a block with more after it": of_first(BLOCK, lambda p: p + b"\0"),
    "a state of no kind": of_first(BLOCK, lambda p: swapped(p, 24, b"\2")),
    "a state longer than the frame": of_first(BLOCK, lambda p: p[:24] + b"\1" + Q(1 << 20) + p[25:]),
    "a state longer than any": of_first(BLOCK, lambda p: p[:24] + b"\1" + Q((1 << 63) - 1) + p[25:]),
    "a state shorter than nothing": of_first(BLOCK, lambda p: p[:24] + b"\1" + Q(-1) + p[25:]),
    "moments of a vector": of_first(BLOCK, lambda p: swapped(p, MOMENTS, b"\1")),
    "moments of more steps": of_first(BLOCK, lambda p: swapped(p, MOMENTS + 1, Q(8))),
    "moments of no steps": of_first(BLOCK, lambda p: swapped(p, MOMENTS + 1, Q(0))),
    "moments of less than none": of_first(BLOCK, lambda p: swapped(p, MOMENTS + 1, Q(-7))),
    "fewer NaNs than none": of_first(BLOCK, lambda p: swapped(p, MOMENTS + 9, Q(-1))),
    "a NaN before the first step": of_first(BLOCK, lambda p: swapped(p, MOMENTS + 17, Q(-2))),
    "an eighth count": of_first(BLOCK, lambda p: swapped(p, MOMENTS + 57, Q(1))),
    "a sum with too many zeros": of_first(BLOCK, lambda p: swapped(p, MOMENTS + 89, struct.pack("<H", 8193))),
    "a sum of too many digits": of_first(BLOCK, lambda p: swapped(p, MOMENTS + 91, struct.pack("<H", 1025))),
    "a sum no numbers have": of_first(BLOCK, lambda p: swapped(p, MOMENTS + 89, struct.pack("<H", 8192))),
    "an unknown kind": lambda pieces: pieces.insert(3, [ord("X"), b""]),
    "a kind of zero": lambda pieces: pieces.insert(3, [0, b""]),
    "a second beginning": lambda pieces: pieces.insert(3, list(pieces[1])),
    "no beginning": lambda pieces: pieces.pop(1),
    "no writer": lambda pieces: pieces.pop(0),
    "nothing": lambda pieces: pieces.clear(),
    "a beginning that is no file": of_first(HEADER, lambda p: b"\x89HDF\r\n\x1a\n" + bytes(900)),
    "a beginning that is cut": of_first(HEADER, lambda p: p[: len(p) // 2]),
    "an empty beginning": of_first(HEADER, lambda p: b""),
    "a writer that is no JSON": of_first(OWNER, lambda p: b"{"),
    "a writer that is a list": of_first(OWNER, lambda p: b"[1, 2, 3, 4]"),
    "a writer that is nested": of_first(OWNER, lambda p: b"[" * 5000 + b"]" * 5000),
    "a writer without a number": owner(pid=None),
    "a writer with a text for a number": owner(pid="1"),
    "a writer that is true": owner(pid=True),
    "a writer below zero": owner(pid=-1),
    "a writer of all processes": owner(pid=0),
    "a writer beyond all": owner(pid=1 << 70),
    "a writer of nowhere": owner(host=None),
    "a writer of very far": owner(host="x" * 1001),
    "a writer with a hobby": owner(hobby=1),
    "no steps": owner(n_steps=0),
    "half a step": owner(n_steps=1.5),
    "a stride of zero": owner(stride=0),
    "a stride beyond all": owner(stride=1 << 62),
    "an end before the beginning": of_first(STOP, lambda p: swapped(p, 0, Q(-1))),
    "an end in a block that is not there": of_first(STOP, lambda p: swapped(p, 0, Q(5))),
    "an end beyond its block": of_first(STOP, lambda p: swapped(p, 8, Q(36))),
    "an end before its block": of_first(STOP, lambda p: swapped(p, 8, Q(28))),
    "an end of less than nothing": of_first(STOP, lambda p: swapped(p, 8, Q(-1))),
    "an end of another count": of_first(STOP, lambda p: swapped(p, 8, Q(31))),
    "an end that is cut": of_first(STOP, lambda p: p[:40]),
    "an end that is empty": of_first(STOP, lambda p: b""),
    "an end for a reason that is no text": of_first(STOP, lambda p: p + b"\xff"),
}


@pytest.fixture
def observed(tmp_path):
    path = tmp_path / "run.replay"
    return path, taken_apart(cut_off(path, noisy, 0.0, 40, 31, block_size=7, observe={"x": None}))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_journal_is_refused(observed, name):
    path, pieces = observed
    assert [kind for kind, _ in pieces] == [OWNER, HEADER, BLOCK, BLOCK, BLOCK, BLOCK, STOP]
    HOSTILE[name](pieces)
    beside(path).write_bytes(put_together(pieces))
    for ask in (
        lambda: rewind.load(path),
        lambda: rewind.load(beside(path)),
        lambda: rewind.resume(path, noisy, observe={"x": None}),
    ):
        before = beside(path).read_bytes()
        with pytest.raises(rewind.ArtifactError):
            ask()
        assert beside(path).read_bytes() == before


@pytest.mark.parametrize("payload", [b"", b"abc", bytes(32), bytes(1000)])
def test_an_end_that_is_of_no_file_makes_no_file_the_end(observed, payload):
    path, pieces = observed
    beside(path).write_bytes(put_together([*pieces, [END, payload]]))
    assert len(rewind.load(path)) == 32
    rewind.record(walk, 0, 9, 1).save(path)
    with pytest.warns(rewind.UnfinishedRecordingWarning, match="an unfinished recording of steps 0 to 28"):
        assert len(rewind.load(path)) == 9


@pytest.mark.parametrize("length", [1, 1 << 20, (1 << 30) - 1, 1 << 30, (1 << 30) + 1, (1 << 64) - 1])
def test_a_frame_that_announces_more_than_the_file_has_is_torn(observed, length):
    path, pieces = observed
    for kind in (BLOCK, STOP, OWNER, HEADER):
        beside(path).write_bytes(put_together(pieces[:4]) + HEAD.pack(b"RWJ:", kind, length) + bytes(16))
        assert len(rewind.load(path)) == 15


def test_a_later_version_is_told_from_damage(observed):
    path, _ = observed
    data = beside(path).read_bytes()
    beside(path).write_bytes(data.replace(b"rewind journal 1\n", b"rewind journal 2\n", 1))
    with pytest.raises(rewind.ArtifactVersionError, match="version 2"):
        rewind.load(path)


TEXT = {
    "no width": lambda p: swapped(p, 25, Q(0)),
    "less width than none": lambda p: swapped(p, 25, Q(-1)),
    "more width than there is": lambda p: swapped(p, 25, Q(1 << 29)),
    "more width than there can be": lambda p: swapped(p, 25, Q((1 << 63) - 1)),
    "a length beyond the width": lambda p: p[:-8] + Q(100),
    "a length below zero": lambda p: p[:-8] + Q(-1),
}


@pytest.mark.parametrize("name", TEXT)
def test_a_hostile_text_is_refused(name, tmp_path):
    path = tmp_path / "a.replay"
    pieces = taken_apart(cut_off(path, text, "", 40, 31, block_size=7))
    of_first(BLOCK, TEXT[name])(pieces)
    beside(path).write_bytes(put_together(pieces))
    with pytest.raises(rewind.ArtifactError):
        rewind.load(path)


def test_a_text_that_is_no_text_is_an_error_of_its_own(tmp_path):
    path = tmp_path / "a.replay"
    pieces = taken_apart(cut_off(path, lambda x, rng: "abc", "", 40, 31, block_size=7))
    of_first(BLOCK, lambda p: p.replace(b"abc", b"\xff\xff\xff"))(pieces)
    beside(path).write_bytes(put_together(pieces))
    with pytest.raises(rewind.RewindError):
        rewind.load(path).get(7)


def test_a_state_that_is_not_the_recorded_one_is_not_gone_on_with(tmp_path):
    path = tmp_path / "a.replay"
    for observe, refusal in (({}, rewind.NondeterministicReplayError), ({"x": None}, rewind.MetricError)):
        pieces = taken_apart(cut_off(path, noisy, 0.0, 40, 31, block_size=7, observe=observe))[:4]
        pieces[3][1] = swapped(pieces[3][1], 25, struct.pack("<d", 123.0))
        beside(path).write_bytes(put_together(pieces))
        with pytest.warns(rewind.StepSourceWarning), pytest.raises(refusal):
            rewind.resume(path, noisy, observe=observe)
        assert beside(path).read_bytes().startswith(put_together(pieces))  # and nothing is lost
        beside(path).unlink()


# ---- pickles


class Called:
    """A state that tells when it is unpickled."""

    times = 0

    def __setstate__(self, state):
        type(self).times += 1
        self.__dict__.update(state)

    def __getstate__(self):
        return {"x": self.x}


def next_called(state, rng):
    new = Called()
    new.x = state.x + rng.randrange(9)
    return new


def test_pickled_states_are_not_unpickled_unless_that_is_allowed(tmp_path):
    path, init = tmp_path / "a.replay", Called()
    init.x = 0
    with pytest.raises(rewind.StepError):
        rewind.record(halting(next_called, 31), init, 40, 5, block_size=7, path=path, trial=False)
    Called.times = 0
    for ask in (
        lambda: rewind.load(path),
        lambda: rewind.load(path, next_called),
        lambda: rewind.load(beside(path), next_called),
        lambda: rewind.resume(path, next_called),
        lambda: rewind.Recorder.resume(path, next_called),
        lambda: rewind.record(walk, 0, 40, 5, path=path),
    ):
        with pytest.raises((rewind.UnsafeArtifactError, rewind.UnfinishedRecordingError)):
            ask()
    assert Called.times == 0
    with pytest.warns(rewind.StepSourceWarning):
        run = rewind.resume(path, next_called, allow_pickle=True)
    assert run.complete and len(run) == 40 and Called.times


# ---- what a path stands for


def test_the_finished_blocks_are_loaded_where_only_the_journal_is(tmp_path):
    path = tmp_path / "run.replay"
    cut_off(path, walk, 0, 40, 31, block_size=7)
    for name in (path, str(path), os.fsencode(path), beside(path), str(beside(path))):
        run = rewind.load(name)
        assert len(run) == 32 and not run.complete and run.metadata()["stopped"] == "step_fn raised at step 31"
    with pytest.raises(rewind.ArtifactNotFoundError):
        rewind.load(tmp_path / "other.replay")
    with pytest.raises(FileNotFoundError):
        rewind.load(tmp_path / "other.replay.journal")


def test_a_finished_file_comes_first_and_a_recording_beside_it_is_told_of(tmp_path):
    path = tmp_path / "run.replay"
    rewind.record(walk, 0, 10, 1, path=path)
    assert not beside(path).exists()
    cut_off(path, walk, 0, 40, 31, block_size=7)
    told = r"beside .*run\.replay there is .*run\.replay\.journal, an unfinished recording of steps 0 to 28"
    with pytest.warns(rewind.UnfinishedRecordingWarning, match=told) as caught:
        assert len(rewind.load(path)) == 10
    assert caught[0].filename == __file__
    assert len(rewind.load(beside(path))) == 32


def test_a_journal_that_became_the_file_is_no_news(tmp_path, monkeypatch):
    path = tmp_path / "run.replay"
    with monkeypatch.context() as patch:
        unlink = os.unlink
        patch.setattr(os, "unlink", lambda name, **more: None if str(name).endswith(".journal") else unlink(name))
        rewind.record(walk, 0, 40, 1, path=path)
    assert beside(path).exists()
    assert rewind.load(path).complete and not rewind.load(beside(path)).complete
    assert rewind.resume(path, walk).complete
    rewind.record(walk, 0, 30, 2, path=path)  # it is in nobody's way
    assert len(rewind.load(path)) == 30 and not beside(path).exists()


def test_a_journal_with_no_block_in_it_is_no_news_and_in_nobodys_way(tmp_path):
    path = tmp_path / "run.replay"
    rewind.record(walk, 0, 10, 1, path=path)
    data = cut_off(path, walk, 0, 40, 31, block_size=7)
    for cut in (0, 3, 16, 17, 100, ends_of(data)[1]):
        beside(path).write_bytes(data[:cut])
        assert len(rewind.load(path)) == 10
        assert len(rewind.record(walk, 0, 10, 1, path=path)) == 10
        assert not beside(path).exists()


def test_a_recording_that_was_cut_off_before_it_began_is_none(tmp_path):
    path = tmp_path / "run.replay"
    data = cut_off(path, walk, 0, 40, 31, block_size=7)
    for cut in (0, 3, 16, 17, 100, ends_of(data)[1] - 1):
        beside(path).write_bytes(data[:cut])
        for ask in (rewind.load, rewind.resume, rewind.Recorder.resume):
            with pytest.raises(FileNotFoundError):
                ask(path, walk)
            beside(path).write_bytes(data[:cut])
        assert len(rewind.record(walk, 0, 10, 1, path=path)) == 10
        path.unlink()


def test_a_journal_has_no_signature(tmp_path):
    path = tmp_path / "run.replay"
    cut_off(path, walk, 0, 40, 31, block_size=7)
    for name in (path, beside(path)):
        with pytest.raises(rewind.ArtifactIntegrityError, match="not finished has no signature"):
            rewind.load(name, key="secret")


def test_a_journal_cannot_be_recorded_to(tmp_path):
    path = tmp_path / "run.replay"
    cut_off(path, walk, 0, 40, 31, block_size=7)
    before = beside(path).read_bytes()
    for ask in (
        lambda: rewind.record(walk, 0, 9, 1, path=beside(path)),
        lambda: rewind.resume(beside(path), walk),
        lambda: rewind.Recorder(walk, 0, 1, path=beside(path)),
        lambda: rewind.Recorder.resume(beside(path), walk),
    ):
        with pytest.raises(rewind.ArtifactFormatError, match="is the name of a journal"):
            ask()
    assert beside(path).read_bytes() == before and not os.path.exists(f"{beside(path)}.journal")


def everything(path, step):
    return {
        "load": lambda: rewind.load(path),
        "resume": lambda: rewind.resume(path, step),
        "record": lambda: rewind.record(step, 0, 9, 1, path=path),
        "Recorder": lambda: rewind.Recorder(step, 0, 1, path=path),
        "Recorder.resume": lambda: rewind.Recorder.resume(path, step),
    }


@pytest.mark.parametrize("what", ["a folder", "a pipe", "a foreign file", "a dangling symlink", "a symlink"])
@pytest.mark.parametrize("ask", ["load", "resume", "record", "Recorder", "Recorder.resume"])
def test_what_is_in_the_place_of_a_journal_is_refused_and_stays(tmp_path, what, ask):
    path, step = tmp_path / "run.replay", Counting(walk)
    other = tmp_path / "other"
    if what == "a folder":
        beside(path).mkdir()
    elif what == "a pipe":
        os.mkfifo(beside(path))
    elif what == "a foreign file":
        beside(path).write_bytes(b"what nobody should lose")
    else:
        if what == "a symlink":
            other.write_bytes(b"what nobody should lose")
        beside(path).symlink_to(other)
    with pytest.raises(rewind.ArtifactError):
        everything(path, step)[ask]()
    assert step.calls == 0 and not path.exists()
    if what == "a foreign file":
        assert beside(path).read_bytes() == b"what nobody should lose"
    elif what == "a symlink":
        assert beside(path).is_symlink() and other.read_bytes() == b"what nobody should lose"
    else:
        assert os.path.lexists(beside(path)) and not other.exists()


# ---- one writer at a time


def pids(error):
    return error.pid, error.host


HOLD = """
import sys, rewind
def walk(x, rng):
    return x + 1
recorder = rewind.Recorder(walk, 0, 1, block_size=7, path=sys.argv[1])
recorder.advance(20)
print("holding", flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def another_process(program, *argv):
    """A process that has said that it holds what it shall; it ends when its input does."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", without_source(program), *map(str, argv)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True) as child:
        try:
            assert child.stdout.readline() == "holding\n"
            yield child
        finally:
            child.stdin.close()
            child.wait(60)


def test_a_second_recorder_in_the_same_process_is_refused(tmp_path):
    path = tmp_path / "a.replay"
    first, step = rewind.Recorder(walk, 0, 1, block_size=7, path=path).advance(20), Counting(walk)
    for ask in ("record", "resume", "Recorder", "Recorder.resume"):
        with pytest.raises(
            rewind.ArtifactBusyError, match=rf"process {os.getpid()} on .* is recording to it"
        ) as caught:
            everything(path, step)[ask]()
        assert pids(caught.value) == (os.getpid(), platform.node())
        assert isinstance(caught.value, BlockingIOError) and caught.value.errno == errno.EAGAIN
    assert step.calls == 0
    assert len(rewind.load(path)) == 15  # whoever only looks is let in
    said = rewind.load(path).metadata()["stopped"]
    assert said == f"the recording is still going on, by process {os.getpid()} on {platform.node()}"
    first.finish()
    assert len(rewind.load(path)) == 21 and len(rewind.record(walk, 0, 9, 1, path=path)) == 9


def test_a_second_process_is_refused_until_the_first_has_ended(tmp_path):
    path, step = tmp_path / "a.replay", Counting(walk)
    with another_process(HOLD, path) as child:
        for ask in ("record", "resume", "Recorder", "Recorder.resume"):
            with pytest.raises(rewind.ArtifactBusyError) as caught:
                everything(path, step)[ask]()
            assert pids(caught.value) == (child.pid, platform.node())
        assert f"by process {child.pid} on" in rewind.load(path).metadata()["stopped"]
    assert step.calls == 0
    assert rewind.load(path).metadata()["stopped"] == "the recording program was cut off"
    assert len(rewind.resume(path, lambda x, rng: x + 1, 50)) == 50


def test_a_journal_in_the_first_block_is_held_as_well(tmp_path):
    path = tmp_path / "a.replay"
    first = rewind.Recorder(walk, 0, 1, path=path)
    with pytest.raises(rewind.ArtifactBusyError):
        rewind.record(walk, 0, 9, 1, path=path)
    first.advance(5).close()
    assert len(rewind.load(path)) == 6
    assert len(rewind.record(walk, 0, 9, 1, path=path)) == 9  # no block was finished, so none is lost


def test_a_recorder_that_nobody_has_any_more_holds_nothing(tmp_path):
    path = tmp_path / "a.replay"
    rewind.Recorder(walk, 0, 5, block_size=7, path=path).advance(20)
    gc.collect()
    assert list(rewind.resume(path, walk, 40)) == loop(walk, 0, 40, 5, 7)


@pytest.fixture
def no_locks(monkeypatch):
    def refuse(fd, shared=False):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks, "_lock", refuse)


def test_a_file_system_without_locks_is_told_of_and_works(tmp_path, no_locks):
    path = tmp_path / "a.replay"
    whole = rewind.record(walk, 0, 40, 5, block_size=7)
    with pytest.warns(rewind.NoLockWarning, match="has no locks, so nothing keeps a second process"):
        cut_off(path, walk, 0, 40, 31, block_size=7)
    assert len(rewind.load(path)) == 32
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = rewind.resume(path, walk)
    kinds = {warning.category for warning in caught}
    assert kinds == {rewind.NoLockWarning, rewind.StepSourceWarning}
    assert run.content_hash() == whole.content_hash() and not beside(path).exists()


def test_where_warnings_are_errors_nothing_is_left_of_a_refusal(tmp_path, no_locks):
    path, step = tmp_path / "a.replay", Counting(walk)
    for ask in (lambda: rewind.record(step, 0, 9, 1, path=path), lambda: rewind.Recorder(step, 0, 1, path=path)):
        with pytest.raises(rewind.NoLockWarning):
            ask()
        assert step.calls == 0 and os.listdir(tmp_path) == []


def test_no_lock_is_needed_to_see_that_another_writer_is_alive(tmp_path, no_locks):
    path, step = tmp_path / "a.replay", Counting(walk)
    with another_process(HOLD, path) as child:  # that one has locks, and here nobody knows
        for ask in ("record", "resume", "Recorder", "Recorder.resume"):
            with pytest.raises(rewind.ArtifactBusyError) as caught:
                everything(path, step)[ask]()
            assert pids(caught.value) == (child.pid, platform.node())
        assert f"by process {child.pid} on" in rewind.load(path).metadata()["stopped"]
    assert step.calls == 0
    with pytest.warns(rewind.NoLockWarning):
        assert list(rewind.resume(path, lambda x, rng: x + 1, 50)) == list(range(50))


def test_a_writer_on_another_host_cannot_be_asked(tmp_path, no_locks):
    path = tmp_path / "a.replay"
    with pytest.warns(rewind.NoLockWarning):
        pieces = taken_apart(cut_off(path, walk, 0, 40, 31, block_size=7))
    owner(pid=os.getppid(), host="elsewhere")(pieces)
    beside(path).write_bytes(put_together(pieces))
    with pytest.warns(rewind.NoLockWarning):
        rewind.Recorder.resume(path, halting(walk, 1000)).close()


# ---- durability


@pytest.fixture
def flushes(monkeypatch):
    """Counts what is made sure of of journals."""
    counted = []
    for name in ("fdatasync", "fsync"):
        if hasattr(os, name):
            real = getattr(os, name)

            def count(fd, real=real):
                if os.readlink(f"/proc/self/fd/{fd}").endswith(".journal"):
                    counted.append(fd)
                real(fd)

            monkeypatch.setattr(os, name, count)
    return counted


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="asks Linux what a file is called")
@pytest.mark.parametrize("observe", [None, {"x": None}])
def test_durability_is_how_often_a_journal_is_flushed(tmp_path, flushes, monkeypatch, observe):
    class Clock:
        now = 0.0

        def monotonic(self):
            self.now += 0.01
            return self.now

    monkeypatch.setattr(module, "time", Clock())
    found = {}
    for durability in ("block", "1s", "none"):
        flushes.clear()
        run = rewind.record(
            walk, 0, 7 * 300, 5, block_size=7, observe=observe, path=tmp_path / "a.replay", durability=durability
        )
        found[durability] = len(flushes)
        assert run.complete and list(run) == loop(walk, 0, 7 * 300, 5, 7)
    assert found["block"] >= 300 > found["1s"] > found["none"] >= 1


@pytest.mark.parametrize("durability", ["block", "1s", "none"])
def test_whatever_the_durability_what_was_written_is_there(tmp_path, durability):
    data = cut_off(tmp_path / "a.replay", walk, 0, 40, 31, block_size=7, durability=durability)
    assert [kind for kind, _ in taken_apart(data)].count(BLOCK) == 4
    assert list(load(tmp_path / "a.replay", walk)) == loop(walk, 0, 32, 5, 7)


@pytest.mark.parametrize("durability", ["always", None, 1, "", "Block", ["block"]])
def test_a_durability_there_is_not_is_refused(tmp_path, durability):
    step = Counting(walk)
    for more in ({}, {"path": tmp_path / "a.replay"}):
        with pytest.raises(rewind.ArgumentError, match="durability is .*; expected 'block', '1s' or 'none'"):
            rewind.record(step, 0, 9, 1, durability=durability, **more)
        with pytest.raises(rewind.ArgumentError, match="durability is "):
            rewind.Recorder(step, 0, 1, durability=durability, **more)
    assert step.calls == 0 and os.listdir(tmp_path) == []


@pytest.mark.parametrize("option", [{"durability": "1s"}, {"on_signal": "checkpoint"}])
def test_what_is_about_a_file_needs_one(option):
    for ask in (lambda: rewind.record(walk, 0, 9, 1, **option), lambda: rewind.Recorder(walk, 0, 1, **option)):
        with pytest.raises(rewind.ArgumentError, match=r"expected path= as well\. Without it there is nothing"):
            ask()


# ---- forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_cannot_write_and_does_not_take_the_lock_along(tmp_path):
    path = tmp_path / "a.replay"
    recorder = rewind.Recorder(walk, 0, 1, block_size=7, path=path).advance(20)
    before = beside(path).read_bytes()
    child = os.fork()
    if not child:
        code = 1
        try:
            try:
                recorder.advance(20)
            except rewind.ArtifactIOError as error:
                code = 10 if "belongs to the process this one was forked from" in str(error) else 2
            with contextlib.suppress(rewind.ArtifactError):
                recorder.close()
                code += 1
            try:
                rewind.record(walk, 0, 9, 1, path=path)
            except rewind.ArtifactBusyError:
                code += 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 12
    assert beside(path).read_bytes() == before
    with pytest.raises(rewind.ArtifactBusyError):
        rewind.record(walk, 0, 9, 1, path=path)
    assert list(recorder.advance(20).finish()) == loop(walk, 0, 41, 1, 7)


# ---- steps that run without Python


@pytest.mark.parametrize("durability", ["block", "none"])
def test_blocks_of_a_step_that_runs_by_itself_are_written_in_pieces(tmp_path, durability):
    numba = pytest.importorskip("numba")

    @numba.njit
    def drift(x, rng):
        return 0.5 * x + rng.random()

    path = tmp_path / "a.replay"
    whole = rewind.record(drift, 0.0, 2000, 3, block_size=10, backend="numpy")
    recorder = rewind.Recorder(drift, 0.0, 3, block_size=10, backend="numpy", path=path, durability=durability)
    recorder.advance(1321)
    data = beside(path).read_bytes()
    assert [kind for kind, _ in taken_apart(data)].count(BLOCK) == 132
    recorder.close()
    ends = ends_of(beside(path).read_bytes())
    for k in (2, 3, 80, 133):
        beside(path).write_bytes(data[: ends[k - 1] + 5])
        part = rewind.load(path, drift)
        assert len(part) == 10 * (k - 2) + 1 and bytes_of(part) == bytes_of(whole[: len(part)])
    if durability == "block":
        run = rewind.resume(path, drift, 2000)
        assert run.content_hash() == rewind.load(path).content_hash() and bytes_of(run) == bytes_of(whole)


@settings(max_examples=25)
@given(
    n=st.integers(1, 60),
    b=st.integers(1, 20),
    at=st.integers(0, 59),
    kind=st.sampled_from(list(KINDS)),
    durability=st.sampled_from(["block", "none"]),
)
def test_a_journal_holds_every_state_up_to_the_one_that_failed(n, b, at, kind, durability, tmp_path_factory):
    step, init, observe, options = KINDS[kind]
    folder, at = tmp_path_factory.mktemp("journal"), min(at, n - 1)
    path = folder / "run.replay"
    if at == n - 1:  # the last step is not run
        at = n
        rewind.record(halting(step, at), deep(init), n, 5, block_size=b, observe=observe, path=path, trial=False)
        assert os.listdir(folder) == ["run.replay"]
        return
    cut_off(path, step, init, n, at, block_size=b, observe=observe, durability=durability)
    require_is(path, step, loop(step, deep(init), at + 1, 5, b), {**options, "observe": observe or None})


IMPOSSIBLE = {
    "more NaNs than steps": lambda p: swapped(p, MOMENTS + 9, Q(8) + Q(3)),
    "NaNs of no step": lambda p: swapped(p, MOMENTS + 9, Q(1) + Q(-1)),
    "more infinities than steps": lambda p: swapped(p, MOMENTS + 25, Q(4) + Q(4)),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_counts_that_nothing_has_are_refused(name, tmp_path):
    path = tmp_path / "run.replay"
    pieces = taken_apart(cut_off(path, noisy, 0.0, 40, 31, block_size=7, observe={"x": None}))
    of_first(frames.BLOCK, IMPOSSIBLE[name])(pieces)
    beside(path).write_bytes(put_together(pieces))
    with pytest.raises(rewind.ArtifactError, match="statistics"):
        rewind.load(path)
