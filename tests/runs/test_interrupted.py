"""What comes between any two lines (Ctrl-C, no memory, a full disk) costs no finished block, no state and no file."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
from typing import Any

import numpy as np
import pytest
from helpers.plain import walk

import rewind
from rewind.engine.sweep import Sweep
from rewind.storage import journal

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals, forks and flushed folders are those of POSIX")

N, SEED, BLOCK = 1000, 1, 100


def count(x: Any, rng: Any) -> Any:
    return x + 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run.replay"
    rewind.record(walk, 0, N, SEED, block_size=BLOCK).save(path)
    return path.read_bytes()


def once(monkeypatch, owner, name, error, at):
    """Let the call `at` of a function raise before it does anything."""
    real, calls = getattr(owner, name), []

    def call(*args, **options):
        calls.append(1)
        if len(calls) == at:
            raise error
        return real(*args, **options)

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()], ids=["Ctrl-C", "no memory"])
@pytest.mark.parametrize("name", ["_tell", "_enter", "_keep"])
def test_between_a_block_and_its_frame_a_recording_can_be_resumed(error, name, tmp_path, monkeypatch, whole):
    path = tmp_path / "run.replay"
    with monkeypatch.context() as patch:
        once(patch, Sweep, name, error, 5)
        with pytest.raises((rewind.RecordingInterrupted, MemoryError)):
            rewind.record(walk, 0, N, SEED, block_size=BLOCK, path=path, observe={"x": None})
    assert len(rewind.load(path, walk)) >= 3 * BLOCK
    run = rewind.resume(path, walk, observe={"x": None})
    assert run.content_hash() == rewind.record(walk, 0, N, SEED, block_size=BLOCK, observe={"x": None}).content_hash()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()], ids=["Ctrl-C", "no memory"])
@pytest.mark.parametrize("name", ["_tell", "_keep"])
@pytest.mark.parametrize("at", [1, 2, 5, 8])
def test_and_a_recorder_goes_on_to_the_same_file(error, name, at, tmp_path, monkeypatch, whole):
    path = tmp_path / "run.replay"
    recorder = rewind.Recorder(walk, 0, SEED, block_size=BLOCK, path=path)
    recorder.advance(50)
    with monkeypatch.context() as patch:
        once(patch, Sweep, name, error, at)
        with pytest.raises((rewind.RecordingInterrupted, MemoryError)):
            recorder.advance(N)
    assert recorder.state == rewind.record(walk, 0, N, SEED, block_size=BLOCK)[recorder.t]
    recorder.advance(N - 1 - recorder.t)
    assert len(rewind.load(path, walk)) == N - BLOCK + 1
    recorder.finish()
    assert path.read_bytes() == whole


@pytest.mark.parametrize("durability", ["block", "none"])
def test_a_disk_that_is_full_for_a_while_costs_a_compiled_step_nothing(durability, tmp_path, monkeypatch):
    numba = pytest.importorskip("numba")
    step = numba.njit(lambda x, rng: x + rng.random())
    options: dict[str, Any] = {"block_size": 10, "backend": "numpy"}
    plain = rewind.record(step, 0.0, 401, SEED, **options)
    recorder = rewind.Recorder(step, 0.0, SEED, path=tmp_path / "run.replay", durability=durability, **options)
    recorder.advance(100)
    real, fd = os.write, recorder._output.log._fd

    def write(to, data):
        if to == fd:
            raise OSError(errno.ENOSPC, "full")
        return real(to, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(rewind.ArtifactIOError) as caught:
            recorder.advance(100)
    assert caught.value.run.verify(full=True)
    assert recorder.state == plain[recorder.t]
    truth = next(t for t in range(recorder.t + 1, 401) if plain[t] > 60)
    assert recorder.until(lambda x: x > 60) == truth
    recorder.advance(400 - truth).finish()
    loaded = rewind.load(tmp_path / "run.replay", step)
    even = rewind.Recorder(step, 0.0, SEED, **options).advance(400).run
    assert loaded.verify(full=True) and loaded.content_hash() == even.content_hash()


def test_a_block_that_was_written_late_is_not_hidden_by_where_the_recorder_stopped(tmp_path, monkeypatch):
    recorder = rewind.Recorder(walk, 0, SEED, block_size=10, path=tmp_path / "run.replay").advance(25)
    real, failures = os.write, [OSError(errno.ENOSPC, "full")]

    def write(fd, data):
        if failures:
            raise failures.pop()
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(rewind.ArtifactIOError):
        recorder.advance(30)  # the block after step 29 is written with the next frame, and the recorder is at step 25
    assert recorder.t == 25 and len(rewind.load(tmp_path / "run.replay")) == 31


def test_half_a_frame_that_could_not_be_cut_off_is_cut_off_later(tmp_path, monkeypatch):
    recorder = rewind.Recorder(walk, 0, SEED, block_size=10, path=tmp_path / "run.replay").advance(100)
    real = os.write

    def write(fd, data):
        real(fd, bytes(data)[:20])
        raise KeyboardInterrupt

    def truncate(fd, n):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        patch.setattr(os, "ftruncate", truncate)
        with pytest.raises(KeyboardInterrupt):
            recorder.advance(100)
    recorder.advance(2000).close()
    assert len(rewind.load(tmp_path / "run.replay")) == recorder.n_steps


def test_a_metric_that_is_interrupted_leaves_the_recorder_where_it_was():
    fails = []

    def metric(x):
        if fails:
            raise fails.pop()
        return x

    recorder = rewind.Recorder(count, 0, SEED, observe={"m": metric}).advance(10)
    fails.append(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        _ = recorder.run
    assert (recorder.t, recorder.state) == (10, 10)
    assert recorder.advance(1).finish().verify(full=True) and recorder.run[-1] == 11


def test_a_recorder_whose_metric_fails_can_be_closed_and_resumed(tmp_path):
    broken = [True]

    def metric(x):
        if broken[0] and x == 25:
            raise ValueError("no")
        return x

    path = tmp_path / "run.replay"
    with pytest.raises(rewind.MetricError) as caught:
        with rewind.Recorder(count, 0, SEED, block_size=10, observe={"m": metric}, path=path) as recorder:
            recorder.advance(25).advance(30)
    assert len(caught.value.run) >= 20 and len(rewind.load(path)) >= 21
    broken[0] = False
    assert len(rewind.resume(path, count, 60, observe={"m": metric})) == 60


def test_who_comes_too_late_to_resume_is_given_the_finished_run(tmp_path, monkeypatch, whole):
    path = tmp_path / "run.replay"
    rewind.Recorder(walk, 0, SEED, block_size=BLOCK, path=path).advance(300).close()
    from rewind.storage import journal_writer

    real = journal_writer._open_locked

    def late(*args):
        monkeypatch.setattr(journal_writer, "_open_locked", real)
        rewind.resume(path, walk, N)  # another process, between the look and the lock
        return real(*args)

    monkeypatch.setattr(journal_writer, "_open_locked", late)
    assert len(rewind.resume(path, walk, N)) == N
    assert [found.name for found in tmp_path.iterdir()] == ["run.replay"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_ends_by_the_signals_that_its_parent_notes(tmp_path):
    started = multiprocessing.get_context("fork").Event()
    codes = []

    def child():
        started.set()
        signal.pause()

    def step(x, rng):
        if x == 5:
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start()
            started.wait()
            process.terminate()
            process.join()
            codes.append(process.exitcode)
        return x + 1

    rewind.record(step, 0, 20, SEED, path=tmp_path / "run.replay", on_signal="checkpoint", trial=False)
    assert codes == [-signal.SIGTERM]


def test_handlers_that_another_thread_could_not_put_back_are_put_back_when_they_are_called(tmp_path):
    def turns():
        with rewind.Recorder(count, 0, SEED, path=tmp_path / "run.replay") as recorder:
            yield from recorder

    generator = turns()
    next(generator)
    thread = threading.Thread(target=generator.close)
    thread.start()
    thread.join()
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_the_last_block_of_a_recorder_is_checked_too():
    calls = []

    def hidden(x, rng):
        calls.append(1)
        return x + len(calls)

    with pytest.raises(rewind.NondeterministicStepError):
        rewind.Recorder(hidden, 0, SEED, self_check=True).advance(500).finish()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_states_in_a_journal_are_read_by_parent_and_child_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "SPILL_BYTES", 1)
    run = rewind.record(lambda x, rng: x + 1.0, np.zeros(4096), 40, SEED, block_size=1, path=tmp_path / "run.replay")

    def wrong() -> int:
        return sum(not (run.get(i * 7 % 40) == i * 7 % 40).all() for i in range(2000))

    child = os.fork()
    if not child:
        os._exit(min(wrong(), 100))
    assert wrong() == 0
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_has_the_name_of_a_journal_that_was_removed_is_left_alone(tmp_path):
    path = tmp_path / "run.replay"
    first = rewind.Recorder(walk, 0, SEED, path=path).advance(3000)
    os.unlink(f"{path}.journal")
    second = rewind.Recorder(walk, 0, SEED, path=path).advance(5000)
    first.finish()
    second.close()
    assert len(rewind.load(f"{path}.journal")) == 5001
