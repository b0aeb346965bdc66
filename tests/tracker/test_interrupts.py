"""Ctrl-C in the middle of a call: nothing that was logged is lost or mixed, and the run goes on."""

from __future__ import annotations

import importlib
import sys
import threading

import pytest

import rewind
from rewind.tracker.store import writer
from rewind.tracker.store.lock import is_held

pytestmark = pytest.mark.once

MODULES = ("close", "run", "store.aggregates", "store.database", "store.values", "store.writer")
FILES = {importlib.import_module(f"rewind.tracker.{name}").__file__ for name in MODULES}


class Interrupt:
    """Raise KeyboardInterrupt, or call a signal's handler, before the n-th line that is run in the tracker, once."""

    def __init__(self, n, handler=None):
        self.left, self.raised, self.handler = n, False, handler

    def trace(self, frame, event, _):
        if frame.f_code.co_filename not in FILES:
            return None
        # Python looks for signals where a function begins and where a loop turns, not at each line: between the lines
        # of `once` there is none of either.
        if event == "line" and not self.raised and not (self.handler and frame.f_code.co_name == "once"):
            self.left -= 1
            if self.left < 0:
                self.raised = True
                if self.handler is None:
                    raise KeyboardInterrupt
                sys.settrace(None)
                self.handler()
        return self.trace

    def __enter__(self):
        sys.settrace(self.trace)

    def __exit__(self, *_):
        sys.settrace(None)


def program(folder, n):
    """Log some rows with an interrupt somewhere; return the run, what was certainly logged, and what may have been."""
    run = rewind.init(id=f"r{n}", dir=folder)
    run.define_metric("x", summary="min,max,mean,last")
    run.log({"x": -1})
    sure, maybe = [-1], []
    interrupt = Interrupt(n)
    for i in range(8):
        try:
            with interrupt:
                run.log({"x": i, "y": [i]})
        except KeyboardInterrupt:
            maybe.append(i)
        else:
            sure.append(i)
        if i == 4:
            try:
                with interrupt:
                    run.flush()
            except KeyboardInterrupt:
                pass
    try:
        with interrupt:
            run.finish()
    except KeyboardInterrupt:
        run.finish()
    return run, sure, maybe, interrupt.raised


def write_by_number(monkeypatch):
    """Let rows be written by their number, not by the clock: the same lines each time."""
    monkeypatch.setattr(writer, "MANY_ROWS", 3)
    monkeypatch.setattr(writer, "MARK_ROWS", 5)
    monkeypatch.setattr(writer, "SOON", 1e9)
    monkeypatch.setattr(writer, "_later", lambda writer: None)
    # A thread that an earlier test woke may be about to sleep that long: the next call that waits starts another.
    writer._THREAD = None


@pytest.mark.parametrize("part", range(6))
def test_an_interrupt_at_any_line_loses_no_row_and_mixes_none(tmp_path, monkeypatch, part):
    write_by_number(monkeypatch)
    n, interrupted = part, 0
    while True:
        run, sure, maybe, raised = program(tmp_path, n)
        if not raised:
            break
        interrupted += 1
        assert run._store._connection is None and not is_held(str(tmp_path), run.id), n
        rows = run.history()
        assert [row["_step"] for row in rows] == list(range(len(rows)))
        values = [row["x"] for row in rows]
        assert set(sure) <= set(values) <= {*sure, *maybe} and values == sorted(set(values)), n
        assert all(row["y"] == [row["x"]] for row in rows[1:])
        summary = run.summary["x"]
        assert (summary["min"], summary["max"], summary["last"]) == (values[0], values[-1], values[-1]), n
        assert summary["mean"] == sum(values) / len(values)
        n += 18  # every third line or so: all of them take half a minute, and were run
    assert interrupted > 20
    report = rewind.Tracker(tmp_path).fsck()
    assert report.ok, report.problems[:3]


@pytest.mark.parametrize("part", range(2))
def test_a_signal_handler_that_logs_and_finishes_does_so_after_the_call_it_interrupts(tmp_path, monkeypatch, part):
    write_by_number(monkeypatch)
    n, interrupted = part, 0
    while True:
        run = rewind.init(id=f"r{n}", dir=tmp_path)

        def preempted(run=run):
            assert run.summary is not None and len(run.summary) < 5
            run.log_line("preempted")
            run.log({"preempted": True})
            run.finish(1)
            sys.exit(0)

        interrupt, done = Interrupt(n, preempted), []
        try:
            for i in range(8):
                with interrupt:
                    run.log({"x": i})
                done.append(i)
        except SystemExit:
            pass
        if not interrupt.raised:
            run.finish()
            break
        interrupted += 1
        assert run.finished and run.status == "failed", n
        rows = run.history()
        assert [row["_step"] for row in rows] == list(range(len(rows)))
        values = [row["x"] for row in rows if "x" in row]
        assert values in (done, [*done, len(done)]), n
        assert [row for row in rows if "preempted" in row] == [{"_step": len(rows) - 1, "preempted": True}], n
        assert [line[1:] for line in run.logs()] == [("log", "preempted")]
        n += 12
    assert interrupted > 10
    report = rewind.Tracker(tmp_path).fsck()
    assert report.ok, report.problems[:3]


def test_a_history_that_is_read_row_by_row_holds_nobody_up(tmp_path):
    run = rewind.init(dir=tmp_path)
    for i in range(3000):
        run.log({"x": i})
    rows = run.scan_history()
    assert next(rows)["x"] == 0
    logged = threading.Event()

    def log():
        run.log({"x": 3000})
        run.flush()
        logged.set()

    thread = threading.Thread(target=log)
    thread.start()
    assert logged.wait(30)
    thread.join()
    closing = threading.Thread(target=rows.close)  # as the garbage collector may, in any thread
    assert next(rows)["x"] == 1
    closing.start()
    closing.join()
    assert len(run.history()) == 3001
    run.finish()
