"""Signals: what ends a recording to a file, at the end of a block, and what is put back after it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
from helpers.plain import bytes_of, loop, walk
from helpers.programs import without_source

import rewind
from rewind.runs.signals import Caught, Signals

# Of files, signals and words: which kernel runs does not matter. The calls of a step are counted.
pytestmark = [pytest.mark.once, pytest.mark.usefixtures("without_trial")]

ROOT = pathlib.Path(rewind.__file__).parents[1]
POSIX = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="there is no SIGUSR1 here")
NUMBERS = [signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else [])]
OTHERS = NUMBERS[1:]


class Enough(Exception):
    pass


class Delivered(Exception):
    """What the handlers of these tests raise, so that nothing is ended by a signal that gets through."""


class Sending:
    """A step that sends this process a signal, or several, at some of its calls."""

    def __init__(self, *sent):
        self.sent, self.calls = dict(sent), 0

    def __call__(self, x, rng):
        self.calls += 1
        for number in self.sent.get(self.calls, ()):
            if number is Enough:
                raise Enough
            signal.raise_signal(number)
        return walk(x, rng)


def deliver(number, frame):
    raise Delivered(signal.Signals(number).name)


@pytest.fixture(autouse=True)
def handlers():
    """Python's own handler of Ctrl-C, and ours of the others; every test leaves them as they are."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in OTHERS:
        signal.signal(number, deliver)
    here = {number: signal.getsignal(number) for number in NUMBERS}
    try:
        yield
        after = {number: signal.getsignal(number) for number in NUMBERS}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert after == here, "a handler was not put back"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.replay"


def beside(path):
    return pathlib.Path(f"{path}.journal")


STATES = loop(walk, 0, 200, 5, 10)


def record(step, path, n_steps=100, **options):
    """Without a trial, which calls the step more often: here the calls are counted."""
    return rewind.record(step, 0, n_steps, 5, block_size=10, path=path, trial=False, **options)


# ---- at the end of the block


@pytest.mark.parametrize("call, last", [(1, 10), (5, 10), (10, 10), (11, 20), (55, 60), (89, 90)])
def test_ctrl_c_ends_a_recording_at_the_end_of_the_block(call, last, path):
    step = Sending((call, [signal.SIGINT]))
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        record(step, path)
    error = caught.value
    assert isinstance(error, KeyboardInterrupt) and (error.t, error.n_steps) == (last, 100)
    assert (error.path, error.signal) == (str(path), None)
    assert f"steps 0 to {last} of 100 recorded. They are on disk: go on with rewind.resume({str(path)!r}" in str(error)
    assert list(error.run) == STATES[: last + 1] and not path.exists()
    found = rewind.load(path, step)
    assert found.content_hash() == error.run.content_hash() and found.metadata()["stopped"] == "interrupted"
    run = rewind.resume(path, step)
    assert list(run) == STATES[:100] and bytes_of(run) == bytes_of(STATES[:100])


@pytest.mark.parametrize("number", OTHERS)
def test_what_a_scheduler_sends_ends_it_where_that_was_asked_for(number, path):
    step, name = Sending((55, [number])), signal.Signals(number).name
    with pytest.raises(rewind.RecordingInterrupted, match=f"^interrupted by {name} with steps 0 to 60") as caught:
        record(step, path, on_signal="checkpoint")
    assert caught.value.signal == name and list(caught.value.run) == STATES[:61]
    assert rewind.load(path).metadata()["stopped"] == f"interrupted by {name}"
    assert list(rewind.resume(path, step, on_signal="checkpoint")) == STATES[:100]


@pytest.mark.parametrize("number", OTHERS)
def test_it_gets_through_where_that_was_not_asked_for(number, path):
    with pytest.raises(rewind.StepError) as caught:
        record(Sending((55, [number])), path)
    assert isinstance(caught.value.__cause__, Delivered)
    with pytest.raises(rewind.StepError):
        rewind.record(Sending((55, [number])), 0, 100, 5, trial=False)


def test_ctrl_c_without_a_file_interrupts_at_once():
    step = Sending((55, [signal.SIGINT]))
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        rewind.record(step, 0, 100, 5, trial=False)
    assert caught.value.path is None and step.calls < 70 and caught.value.t == 50
    assert "save it with .run.save(path)" in str(caught.value)


@pytest.mark.parametrize("first", NUMBERS)
def test_a_second_ctrl_c_does_not_wait(first, path):
    step = Sending((53, [first]), (56, [signal.SIGINT]))
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        record(step, path, on_signal="checkpoint")
    assert caught.value.t == 50 and list(caught.value.run) == STATES[:51]
    assert list(rewind.resume(path, step)) == STATES[:100]


def test_a_signal_is_seen_whatever_progress_does(path):
    step = Sending((55, [signal.SIGINT]))
    told = []
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        record(step, path, progress=told.append)
    assert caught.value.t == 60 and told


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("call", [91, 95, 99])
def test_a_signal_in_the_last_block_is_delivered_after_the_file(number, call, path):
    expected = KeyboardInterrupt if number == signal.SIGINT else Delivered
    with pytest.raises(expected) as caught:
        record(Sending((call, [number])), path, on_signal="checkpoint")
    assert not isinstance(caught.value, rewind.RecordingInterrupted)
    assert rewind.load(path).complete and len(rewind.load(path)) == 100 and not beside(path).exists()


def test_a_signal_while_it_goes_on_ends_it_again(path):
    step = Sending((33, [signal.SIGINT]), (60, [signal.SIGINT]))
    with pytest.raises(rewind.RecordingInterrupted):
        record(step, path)
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        rewind.resume(path, step)
    assert 40 < caught.value.t < 80 and list(caught.value.run) == STATES[: caught.value.t + 1]
    assert list(rewind.resume(path, step)) == STATES[:100]


def test_blocks_without_python_between_them_are_ended_as_well(path):
    numba = pytest.importorskip("numba")

    @numba.njit
    def drift(x, rng):
        return 0.5 * x + rng.random()

    sent = []

    def once(progress):
        if not sent:
            sent.append(signal.raise_signal(signal.SIGINT))

    with pytest.raises(rewind.RecordingInterrupted) as caught:
        rewind.record(drift, 0.0, 10**6, 5, block_size=10, backend="numpy", path=path, durability="none", progress=once)
    assert 0 < caught.value.t < 10**6 - 1 and caught.value.t % 10 == 0
    run = rewind.load(path, drift)
    whole = rewind.record(drift, 0.0, len(run), 5, block_size=10, backend="numpy")
    assert bytes_of([run[-1], run[-2], run[7]]) == bytes_of([whole[-1], whole[-2], whole[7]])


# ---- what is put back


ENDS = {
    "it is done": [],
    "the step raises": [(55, [Enough])],
    "ctrl-c": [(55, [signal.SIGINT])],
    "two of them": [(53, [signal.SIGINT]), (56, [signal.SIGINT])],
}


@pytest.mark.parametrize("more", [{}, {"on_signal": "checkpoint"}])
@pytest.mark.parametrize("end", ENDS)
def test_handlers_are_put_back_however_it_ends(end, more, path):
    """The fixture looks."""
    here = {number: signal.getsignal(number) for number in NUMBERS}
    seen = []

    def look(progress):
        seen.append({number: signal.getsignal(number) for number in NUMBERS})

    with contextlib.suppress(rewind.StepError, rewind.RecordingInterrupted):
        record(Sending(*ENDS[end]), path, progress=look, **more)
    assert {number: signal.getsignal(number) for number in NUMBERS} == here
    changed = {number for number in NUMBERS if seen[0][number] != here[number]}
    assert changed == (set(NUMBERS) if more else {signal.SIGINT})
    with contextlib.suppress(rewind.StepError, rewind.RecordingInterrupted):
        rewind.resume(path, Sending(*ENDS[end]), **more)
    assert {number: signal.getsignal(number) for number in NUMBERS} == here


def test_a_handler_of_ones_own_stays_where_nothing_else_is_asked_for(path):
    heard = []
    old = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        assert len(record(Sending((55, [signal.SIGTERM])), path)) == 100
    finally:
        signal.signal(signal.SIGTERM, old)
    assert heard == [signal.SIGTERM]


@pytest.mark.parametrize("refused", ["a busy file", "an unfinished one", "a missing folder", "a wrong option"])
def test_handlers_are_untouched_where_nothing_is_begun(refused, path):
    more = {"on_signal": "checkpoint"}
    with contextlib.ExitStack() as stack:
        if refused == "a busy file":
            stack.callback(rewind.Recorder(walk, 0, 1, path=path).close)
        elif refused == "an unfinished one":
            with pytest.raises(rewind.StepError):
                record(Sending((55, [Enough])), path)
        elif refused == "a missing folder":
            path = path / "no.replay"
        else:
            more = {"on_signal": "ignore"}
        with pytest.raises(rewind.RewindError):
            record(walk, path, **more)


@pytest.mark.parametrize("on_signal", ["", "Checkpoint", True, 15, ["checkpoint"]])
def test_what_is_no_answer_to_a_signal_is_refused(on_signal, path):
    for ask in (
        lambda: record(walk, path, on_signal=on_signal),
        lambda: rewind.Recorder(walk, 0, 1, path=path, on_signal=on_signal),
        lambda: rewind.resume(path, walk, 200, on_signal=on_signal),
        lambda: rewind.Recorder.resume(path, walk, on_signal=on_signal),
    ):
        for _ in range(2):  # nothing is held, and nothing left
            with pytest.raises(rewind.ArgumentError, match="expected 'checkpoint' or None"):
                ask()
            assert not beside(path).exists()
        if not path.exists():
            rewind.record(walk, 0, 100, 5).save(path)


def test_a_handler_of_ones_own_for_ctrl_c_is_left_in_place(path):
    seen = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        run = record(Sending((55, [signal.SIGINT])), path, on_signal="checkpoint")
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert seen == [signal.SIGINT] and run.complete


def test_no_handler_is_installed_in_another_thread(path):
    here = {number: signal.getsignal(number) for number in NUMBERS}
    seen, runs = [], []

    def look(progress):
        seen.append({number: signal.getsignal(number) for number in NUMBERS})

    def work():
        runs.append(record(walk, path, on_signal="checkpoint", progress=look))
        with rewind.Recorder(walk, 0, 1, path=path, on_signal="checkpoint") as recorder:
            recorder.advance(5)
            seen.append({number: signal.getsignal(number) for number in NUMBERS})

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen and all(one == here for one in seen) and list(runs[0]) == STATES[:100]


def test_signals_can_be_entered_within_themselves():
    signals = Signals(True)
    with signals:
        with signals:
            signal.raise_signal(signal.SIGINT)
            assert signals.caught
        assert signals.caught and signal.getsignal(signal.SIGINT) != signal.default_int_handler
        with pytest.raises(Caught) as caught:
            signals.check()
        assert str(caught.value) == "" and not signals.caught
        signals.check()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt), signals:
        signal.raise_signal(signal.SIGINT)  # nobody asked


# ---- Recorder


def test_a_recorder_stands_at_the_end_of_the_block_after_ctrl_c(path):
    recorder = rewind.Recorder(Sending((55, [signal.SIGINT])), 0, 5, block_size=10, path=path, trial=False)
    with pytest.raises(rewind.RecordingInterrupted, match=r"go on with rewind\.Recorder\.resume") as caught:
        recorder.advance(100)
    assert (caught.value.t, caught.value.n_steps, recorder.t) == (60, None, 60)
    assert list(caught.value.run) == list(recorder.run) == STATES[:61]
    assert list(recorder.advance(39).finish()) == STATES[:100] and rewind.load(path).complete


def test_a_signal_between_two_calls_interrupts_the_loop_of_the_user(path):
    recorder = rewind.Recorder(walk, 0, 5, block_size=10, path=path, on_signal="checkpoint").advance(25)
    for number in OTHERS:
        with pytest.raises(Delivered):
            signal.raise_signal(number)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert recorder.advance(5).t == 30
    recorder.close()


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_between_two_calls_in_a_with_block_waits_for_the_end_of_the_block(number, path):
    with pytest.raises(rewind.RecordingInterrupted) as caught:
        with rewind.Recorder(walk, 0, 5, block_size=10, path=path, on_signal="checkpoint") as recorder:
            recorder.advance(25)
            signal.raise_signal(number)
            assert recorder.t == 25
            recorder.advance()
            raise AssertionError("not reached")
    assert caught.value.t == 30 and list(caught.value.run) == STATES[:31] and not path.exists()
    assert caught.value.signal == (None if number == signal.SIGINT else signal.Signals(number).name)
    assert list(rewind.load(path, walk)) == STATES[:31]
    recorder = rewind.Recorder.resume(path, walk)
    assert recorder.t == 30 and list(recorder.advance(69).finish()) == STATES[:100]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_after_the_last_call_is_delivered_when_the_file_is_written(number, path):
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else Delivered) as caught:
        with rewind.Recorder(walk, 0, 5, block_size=10, path=path, on_signal="checkpoint") as recorder:
            recorder.advance(25)
            signal.raise_signal(number)
    assert not isinstance(caught.value, rewind.RecordingInterrupted)
    assert rewind.load(path).complete and list(rewind.load(path, walk)) == STATES[:26]


def test_a_loop_that_is_interrupted_keeps_every_step(path):
    """Steps one by one, and Ctrl-C in the middle of a block: it ends at the end of that."""
    seen = []
    with pytest.raises(rewind.RecordingInterrupted):
        with rewind.Recorder(Sending((33, [signal.SIGINT])), 0, 5, block_size=10, path=path, trial=False) as recorder:
            for x in recorder:
                seen.append(x)
    assert 32 <= len(seen) <= 40 and seen == STATES[1 : len(seen) + 1]
    with pytest.warns(rewind.StepSourceWarning):  # it sends nothing
        run = rewind.load(path, Sending())
    assert list(run) == STATES[:41]


# ---- processes

PROGRAM = """
import os, signal, sys, time
import rewind

def step(x, rng):
    if x == 25:
        print("now", flush=True)
        sys.stdin.readline()
    return x + 1

try:
    run = rewind.record(step, 0, 1000, 1, block_size=10, path="run.replay", trial=False, ON_SIGNAL)
except rewind.RecordingInterrupted as error:
    print(error.signal, error.t, len(error.run), flush=True)
    raise SystemExit(7)
print("done", len(run), flush=True)
"""


def sent(folder, number, on_signal):
    """Start the program, send it a signal in its third block, and return its exit code and what it said."""
    program = textwrap.dedent(PROGRAM).replace("ON_SIGNAL", f"on_signal={on_signal!r}")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", without_source(program)],
        cwd=folder,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            assert child.stdout.readline() == "now\n"
            child.send_signal(number)
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write("\n")
                child.stdin.close()
            said = child.stdout.read()
            return child.wait(60), said
        finally:
            child.kill()


@POSIX
@pytest.mark.once
@pytest.mark.parametrize(
    "number, on_signal, code, said",
    [
        ("SIGINT", None, 7, "None 30 31\n"),
        ("SIGTERM", "checkpoint", 7, "SIGTERM 30 31\n"),
        ("SIGUSR1", "checkpoint", 7, "SIGUSR1 30 31\n"),
        ("SIGTERM", None, 7, "SIGTERM 30 31\n"),
        ("SIGUSR1", None, 7, "SIGUSR1 30 31\n"),
    ],
)
def test_a_process_that_is_sent_a_signal_leaves_what_resume_goes_on_from(number, on_signal, code, said, tmp_path):
    assert sent(tmp_path, getattr(signal, number), on_signal) == (code, said)
    path = tmp_path / "run.replay"
    assert len(rewind.load(path)) == 31
    with pytest.warns(rewind.StepSourceWarning):  # it is not the one that waits
        run = rewind.resume(path, lambda x, rng: x + 1)
    assert list(run) == list(range(1000))


def test_a_signal_before_a_step_that_raises_is_not_lost(tmp_path):
    def step(x, rng):
        if x == 53:
            signal.raise_signal(signal.SIGTERM)
        if x == 56:
            raise ZeroDivisionError
        return x + 1

    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
    try:
        with pytest.raises(rewind.StepError):
            rewind.record(step, 0, 100, 5, path=tmp_path / "r.replay", on_signal="checkpoint")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [1]
