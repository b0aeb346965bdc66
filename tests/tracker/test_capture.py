"""What a program prints, kept line by line; and the samples of what it takes of the machine."""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import os
import subprocess
import sys
import threading
import time
import types
from fractions import Fraction

import numpy as np
import pytest

from rewind.errors import ArgumentError, ArgumentTypeError, StoreError
from rewind.tracker.capture import Capture, Sampler, resident_bytes

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def _put_back(monkeypatch):
    monkeypatch.setattr(sys, "stdout", sys.stdout)


@pytest.fixture
def out():
    """A stream for the test to make its stdout; pytest would replace one that a fixture sets."""
    return io.StringIO()


# ---- capture


def test_what_is_printed_is_passed_through_and_kept_line_by_line(out):
    sys.stdout = out
    kept = []
    capture = Capture(kept.append)
    print("one", 2, "three")
    print("a\nb\n\nc")
    print("begun", end="")
    assert kept == ["one 2 three", "a", "b", "", "c"]
    print(" and ended")
    sys.stdout.writelines(["x\n", "y"])
    assert kept[5:] == ["begun and ended", "x"]
    capture.close()
    assert kept[7:] == ["y"] and sys.stdout is out
    print("later")
    assert out.getvalue() == "one 2 three\na\nb\n\nc\nbegun and ended\nx\nylater\n" and len(kept) == 8


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["10%\r20%\r30%\n"], ["30%"]),
        (["\r10%", "\r20%", "\r30%", "\n"], ["30%"]),
        (["10%\r", "20%\r", "\n"], ["20%"]),
        (["windows\r\n", "mac\r"], ["windows", "mac"]),
        (["\r\r\r\n"], [""]),
        (["\r\r"], []),
        (["10%\r", "done"], ["done"]),
        (["x" * 100, "\r", "y\n"], ["y"]),
        (["a\x0bb\x0cc\x85d\u2028e\n"], ["a\x0bb\x0cc\x85d\u2028e"]),
        (["\udcff\0\n"], ["\udcff\0"]),
        ([""], []),
    ],
)
def test_of_a_progress_bar_what_it_showed_last_is_kept(out, written, expected):
    sys.stdout = out
    kept = []
    capture = Capture(kept.append)
    for text in written:
        sys.stdout.write(text)
    capture.close()
    assert kept == expected and out.getvalue() == "".join(written)


def test_a_progress_bar_without_an_end_takes_no_memory():
    capture = Capture(lambda line: None)
    for i in range(1000):
        sys.stdout.write(f"{i}\r")
        sys.stdout.write("\r")
    (begun,) = capture._begun.values()
    assert "".join(begun) == "999\r"
    sys.stdout.write("\n")
    assert capture._begun == {}
    capture.close()


def test_all_else_of_the_stream_is_there():
    with open(os.devnull, "w", encoding="latin-1") as stream:
        sys.stdout = stream
        capture = Capture(lambda line: None)
        tee = sys.stdout
        assert tee is not stream and stream.name in repr(tee)
        assert (tee.encoding, tee.errors, tee.mode, tee.closed) == ("latin-1", "strict", "w", False)
        assert (tee.fileno(), tee.isatty(), tee.buffer) == (stream.fileno(), stream.isatty(), stream.buffer)
        tee.reconfigure(encoding="ascii")
        tee.flush()
        assert stream.encoding == "ascii" and tee.write("abc") == 3
        with pytest.raises(UnicodeEncodeError):
            print("ä")
        with pytest.raises(AttributeError, match="nothing"):
            _ = tee.nothing
        tee._CHUNK_SIZE = 99
        assert stream._CHUNK_SIZE == 99
        capture.close()
        assert sys.stdout is stream


def test_what_could_not_be_printed_is_not_kept(out):
    sys.stdout = out
    kept = []
    capture = Capture(kept.append)
    with pytest.raises(TypeError):
        sys.stdout.write(3)
    out.close()
    with pytest.raises(ValueError, match="closed"):
        print("x")
    capture.close()
    assert kept == []


def test_a_program_without_stdout_is_captured_all_the_same():
    sys.stdout = None
    kept = []
    capture = Capture(kept.append)
    print("x", flush=True)
    capture.close()
    assert kept == ["x"] and sys.stdout is None


def test_what_keep_prints_is_printed_and_not_kept(out):
    sys.stdout = out
    kept = []

    def keep(line):
        kept.append(line)
        print("kept", line)

    capture = Capture(keep)
    print("a\nb")
    print("c", end="")
    capture.close()
    assert kept == ["a", "b", "c"] and out.getvalue() == "a\nbkept a\n\nkept b\nckept c\n"


@pytest.mark.parametrize("error", [StoreError("write to", "x", "full"), ValueError("a bug")])
def test_a_keep_that_raises_breaks_no_print_and_gets_the_next_line(out, error):
    sys.stdout = out
    kept = []

    def keep(line):
        kept.append(line)
        if len(kept) != 2:
            raise error

    capture = Capture(keep)
    print("a\nb")
    print("c")
    print("d", end="")
    capture.close()
    assert kept == ["a", "b", "c", "d"] and out.getvalue() == "a\nb\nc\nd" and sys.stdout is out


def test_an_interrupt_in_keep_is_not_lost(out):
    sys.stdout = out

    def keep(line):
        raise KeyboardInterrupt

    capture = Capture(keep)
    with pytest.raises(KeyboardInterrupt):
        print("a")
    capture._keep = print
    print("b")
    capture.close()
    assert out.getvalue() == "a\nb\nb\n"


def test_a_second_close_is_harmless(out):
    sys.stdout = out
    kept = []
    capture = Capture(kept.append)
    print("x", end="")
    capture.close()
    sys.stdout = other = io.StringIO()
    capture.close()
    assert kept == ["x"] and sys.stdout is other


def test_a_stdout_that_was_replaced_since_is_left_alone(out):
    sys.stdout = out
    kept = []
    capture = Capture(kept.append)
    print("kept")
    with contextlib.redirect_stdout(io.StringIO()) as inner:
        print("not here")
        capture.close()
        assert sys.stdout is inner
    print("no more")  # through what redirect_stdout put back
    assert kept == ["kept"] and out.getvalue() == "kept\nno more\n" and inner.getvalue() == "not here\n"


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_nested_captures_are_closed_in_any_order(out, order):
    sys.stdout = out
    kept = [[], [], []]
    captures = [Capture(one.append) for one in kept]
    expected = [[], [], []]
    still = {0, 1, 2}
    for number in order:
        print("before", number)
        for one in still:
            expected[one].append(f"before {number}")
        captures[number].close()
        still.remove(number)
    print("after")
    assert kept == expected and sys.stdout is out
    assert out.getvalue() == "".join(f"before {number}\n" for number in order) + "after\n"


def test_captures_that_overlap_for_ever_do_not_pile_up(out):
    sys.stdout = out
    captures = [Capture(lambda line: None)]
    for _ in range(100):
        captures.append(Capture(lambda line: None))
        captures.pop(0).close()
        print("x")
    depth, stream = 0, sys.stdout
    while stream is not out:
        depth, stream = depth + 1, stream._stream
    assert depth == 1
    captures.pop().close()
    assert sys.stdout is out


def test_threads_do_not_mix_their_lines(out):
    sys.stdout = out
    kept = []
    capture = Capture(kept.append)
    begin = threading.Barrier(4)

    def work(who):
        begin.wait()
        for i in range(300):
            print(who, i)

    threads = [threading.Thread(target=work, args=(who,)) for who in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    capture.close()
    assert len(kept) == 1200
    for who in "abcd":
        assert [line for line in kept if line[0] == who] == [f"{who} {i}" for i in range(300)]


def test_unfinished_text_of_all_threads_is_kept_at_the_end(out):
    sys.stdout = out
    kept = []
    capture = Capture(kept.append)
    print("main", end="")
    with_another = threading.Thread(target=lambda: print("other", end=""))
    with_another.start()
    with_another.join()
    capture.close()
    assert sorted(kept) == ["main", "other"]


def test_a_keep_that_waits_for_a_lock_holds_up_neither_printing_nor_close(out):
    sys.stdout = out
    # As `finish` does it: it holds the run's lock, which keep needs, and closes the capture.
    lock, waits, kept = threading.RLock(), threading.Event(), []

    def keep(line):
        if line == "other":
            waits.set()
        with lock:
            kept.append(line)

    capture = Capture(keep)
    with lock:
        other = threading.Thread(target=print, args=("other",))
        other.start()
        waits.wait()
        print("main")
        print("end", end="")
        capture.close()
        assert kept == ["main", "end"]
    other.join()
    assert kept == ["main", "end", "other"] and sys.stdout is out


def test_a_signal_handler_may_print_while_a_line_is_taken(out):
    sys.stdout = out
    kept = []
    capture = Capture(kept.append)
    with capture._turn:  # where the handler may come in
        print("from a handler")
    capture.close()
    assert kept == ["from a handler"]


def test_a_copy_of_the_stream_does_not_recurse():
    capture = Capture(lambda line: None)
    with pytest.raises(AttributeError):
        _ = type(sys.stdout).__new__(type(sys.stdout)).encoding
    capture.close()


FORKED = """
import os, sys, warnings
from rewind.tracker.capture import Capture, Sampler
kept = []
capture, sampler = Capture(kept.append), Sampler(60, lambda *facts: None)
print("parent")
sys.stdout.flush()
warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)  # that is what it is about
with capture._turn:  # a thread that the child does not have may hold it
    child = os.fork()
    if child == 0:
        print("child")
        sampler.close()
        capture.close()
        sys.stdout.flush()
        os._exit(3 if kept == ["parent"] and sys.stdout is sys.__stdout__ else 1)
assert os.waitpid(child, 0)[1] >> 8 == 3
print("parent")
sampler.close()
capture.close()
assert kept == ["parent", "parent"]
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_keeps_nothing_and_waits_for_nothing():
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "parent\nchild\nparent\n"


# ---- sampler


class Clock:
    """Samples, and a way to wait for them that is no sleep."""

    def __init__(self, most=10**9, error=None):
        self.samples, self.most, self.error = [], most, error
        self.more = threading.Condition()

    def __call__(self, *sample):
        with self.more:
            self.samples.append(sample)
            self.more.notify_all()
            if len(self.samples) >= self.most:
                raise self.error

    def wait_for(self, n):
        with self.more:
            assert self.more.wait_for(lambda: len(self.samples) >= n, 60)


def test_samples_come_at_once_again_and_at_the_end():
    clock, before = Clock(), time.time()
    sampler = Sampler(0.001, clock)
    clock.wait_for(4)
    sampler.close()
    n = len(clock.samples)
    assert n >= 5 and not sampler._thread.is_alive()
    assert clock.samples[0][1] == 0.0
    for now, cpu, memory in clock.samples:
        assert type(now) is float and type(cpu) is float and type(memory) is int
        assert before - 3600 < now < before + 3600 and cpu >= 0.0 and math.isfinite(cpu)
        assert memory > 1 << 20 or sys.platform == "win32"
    sampler.close()
    assert len(clock.samples) == n


def test_close_takes_a_last_sample_and_does_not_wait_for_the_next():
    clock = Clock()
    sampler = Sampler(10**9, clock)
    clock.wait_for(1)
    sampler.close()
    assert len(clock.samples) == 2 and not sampler._thread.is_alive()


def test_the_processor_time_is_that_since_the_last_sample(monkeypatch):
    wall, used = iter([10.0, 12.0, 12.0, 13.0]), iter([1.0, 2.0, 2.5, 4.5])
    sampler = Sampler.__new__(Sampler)
    clock = Clock()
    sampler._last, sampler._keep = None, clock
    clocks = {"monotonic": wall.__next__, "process_time": used.__next__, "time": lambda: 0.0}
    monkeypatch.setattr("rewind.tracker.capture.time", types.SimpleNamespace(**clocks))
    for _ in range(4):
        sampler._sample()
    assert [sample[1] for sample in clock.samples] == [0.0, 50.0, 0.0, 200.0]


def test_a_store_that_fails_ends_the_sampling_silently():
    clock = Clock(2, StoreError("write to", "x", "full"))
    sampler = Sampler(0.001, clock)
    clock.wait_for(2)
    sampler._thread.join(60)
    assert not sampler._thread.is_alive()
    sampler.close()
    assert len(clock.samples) == 2


def test_a_last_sample_that_fails_is_silent():
    clock = Clock(2, StoreError("write to", "x", "full"))
    sampler = Sampler(10**9, clock)
    clock.wait_for(1)
    sampler.close()
    assert len(clock.samples) == 2 and not sampler._thread.is_alive()


def test_close_does_not_wait_for_a_sample_that_waits_for_its_caller():
    # As `finish` does it: it holds the run's lock, which keep needs.
    lock, waits, kept = threading.RLock(), threading.Event(), []

    def keep(*sample):
        waits.set()
        with lock:
            kept.append(sample)

    with lock:
        sampler = Sampler(0.001, keep)
        waits.wait()
        sampler.close()
        assert kept == []
    sampler._thread.join(60)
    assert len(kept) == 1 and not sampler._thread.is_alive()


def test_keep_may_close_the_sampler():
    ready, holder, done = threading.Event(), [], threading.Event()

    def keep(*sample):
        ready.wait()
        holder[0].close()
        done.set()

    holder.append(Sampler(0.001, keep))
    ready.set()
    assert done.wait(60)
    holder[0]._thread.join(60)
    assert not holder[0]._thread.is_alive()


@pytest.mark.parametrize("seconds", [True, False, np.True_, "1", b"1", None, [1], 1j, Fraction(1)])
def test_seconds_of_a_wrong_type_are_refused(seconds):
    with pytest.raises(ArgumentTypeError, match="system_metrics is .*; expected a number of seconds > 0"):
        Sampler(seconds, lambda *sample: None)


@pytest.mark.parametrize("seconds", [0, -1, 0.0, -0.0, math.nan, math.inf, -math.inf, 10**400, np.float32("nan")])
def test_seconds_that_cannot_be_meant_are_refused(seconds):
    with pytest.raises(ArgumentError, match="system_metrics is .*; expected a number of seconds > 0"):
        Sampler(seconds, lambda *sample: None)


@pytest.mark.parametrize("seconds", [1, 0.5, np.float32(2), np.int64(3), 1e300])
def test_any_number_of_seconds_will_do(seconds):
    Sampler(seconds, lambda *sample: None).close()


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="/proc")
def test_memory_is_what_is_resident_and_at_the_most_where_that_is_not_said(monkeypatch):
    import resource

    now = resident_bytes()
    assert now % os.sysconf("SC_PAGE_SIZE") == 0

    def refuse(*args, **more):
        raise OSError

    monkeypatch.setattr("rewind.tracker.capture.open", refuse, raising=False)
    assert resident_bytes() == resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    monkeypatch.setitem(sys.modules, "resource", None)
    assert resident_bytes() == 0
