"""What is closed never changes, and what is gone is not written to: whatever became of locks, files and folders."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import threading

import pytest

import rewind
from rewind.storage import locks
from rewind.tracker.store import lock, writer

pytestmark = pytest.mark.once


def step(x, rng):
    return x + rng.random()


@pytest.fixture
def dir(tmp_path):
    return tmp_path / ".rewind"


@pytest.fixture
def lost(dir):
    """Return a run that another one has taken for ended, closed and gone on with, and that other one."""
    first = rewind.init(dir=dir, id="a", config={"k": 1})
    for i in range(3):
        first.log({"x": i})
    first.flush()
    shutil.rmtree(dir / "locks")
    second = rewind.init(dir=dir, id="a", resume="allow")
    yield first, second
    for run in (first, second):
        if not run.finished:
            with pytest.raises(rewind.RevisionClosedError) if run is first else contextlib.nullcontext():
                run.finish()
    report = rewind.Tracker(dir).fsck()
    assert report.ok, report.problems
    assert [row["x"] for row in rewind.Tracker(dir).run("a@1").history()] == [0, 1, 2]


def file_in(dir):
    path = dir.parent / "content.txt"
    path.write_text("content")
    return path


REFUSED = {
    "rows": lambda run, dir: (run.log({"x": 100}), run.flush()),
    "a flush of nothing": lambda run, dir: run.flush(),
    "lines": lambda run, dir: (run.log_line("late"), run.flush()),
    "the summary": lambda run, dir: (run.summary.update({"best": 1}), run.flush()),
    "the config": lambda run, dir: run.config.update({"new": 1}),
    "definitions": lambda run, dir: run.define_metric("x", summary="min"),
    "artifacts": lambda run, dir: run.log_artifact(file_in(dir), name="late"),
    "simulations": lambda run, dir: run.record(step, 0.0, 20, seed=1),
    "a finish": lambda run, dir: run.finish(),
}


@pytest.mark.parametrize("what", REFUSED)
def test_nothing_is_added_to_a_revision_that_was_closed_whatever_became_of_its_lock(lost, dir, what):
    first, _ = lost
    with pytest.raises(
        rewind.RevisionClosedError, match=r"a@1: it was closed, as crashed, by another process"
    ) as caught:
        REFUSED[what](first, dir)
    assert caught.value.state == "crashed" and "rewind.init(id='a', resume='allow')" in str(caught.value)


def test_what_is_used_of_artifacts_is_not_noted_in_a_closed_revision(lost, dir):
    first, second = lost
    second.log_artifact(file_in(dir), name="model")
    with pytest.raises(rewind.RevisionClosedError):
        first.use_artifact("model")


def test_finish_of_a_revision_that_was_closed_says_so_once_and_lets_go(lost):
    first, _ = lost
    first.log({"x": 100})
    with pytest.raises(rewind.RevisionClosedError):
        first.finish()
    assert first.finished
    first.finish()
    assert rewind.Tracker(first.dir).run("a@1").status == "crashed"


def test_a_call_that_logs_says_that_its_revision_was_closed(lost, monkeypatch):
    first, _ = lost
    monkeypatch.setattr(writer, "SOON", 0.0)
    with pytest.raises(rewind.RevisionClosedError):
        first.log({"x": 100})


def test_a_block_that_ends_in_another_error_keeps_its_error(lost):
    first, _ = lost
    with pytest.raises(ZeroDivisionError), first:
        raise ZeroDivisionError


def test_a_revision_that_was_rewound_or_purged_takes_no_rows(dir):
    first = rewind.init(dir=dir, id="a")
    first.log({"x": 0})
    first.flush()
    shutil.rmtree(dir / "locks")
    rewind.Tracker(dir).purge("a")
    with rewind.init(dir=dir, id="b") as other:  # which gets the number that the purged one had in the database
        assert other._record.uid == first._record.uid
        first.log({"x": 1})
        with pytest.raises(rewind.RevisionClosedError, match="it was purged by another process"):
            first.flush()
        other.log({"x": 5})
    with pytest.raises(rewind.RevisionClosedError):
        first.finish()
    assert [row["x"] for row in rewind.Tracker(dir).run("b").history()] == [5]


def test_a_finish_that_closed_the_run_and_was_cut_off_is_finished_by_the_next(dir, monkeypatch):
    run = rewind.init(dir=dir, id="a")
    run.log({"x": 0})
    monkeypatch.setattr(run._store, "durable", lambda: (_ for _ in ()).throw(rewind.StoreError("write to", "x", "no")))
    with pytest.raises(rewind.StoreError):
        run.finish()
    monkeypatch.undo()
    run.finish()
    assert run.finished and run.status == "finished"


def test_a_simulation_that_is_being_recorded_is_not_closed_by_others(dir):
    first, met = rewind.init(dir=dir, id="a"), []

    def meets(x, rng):
        if x > 30 and not met:
            shutil.rmtree(dir / "locks")
            for call in (
                lambda: rewind.init(dir=dir, id="a", resume="allow"),
                lambda: rewind.init(dir=dir, resume_from="a?_step=0"),
                lambda: rewind.Tracker(dir).purge("a"),
                lambda: rewind.Tracker(dir).export("a", dir.parent / "a.zip"),
            ):
                with pytest.raises(rewind.RunBusyError) as caught:
                    call()
                met.append(caught.value.pid)
        return x + 1

    first.record(meets, 0, 60, seed=1, observe={"x": None}, block_size=8, trial=False)
    assert met == [os.getpid()] * 4
    first.finish()
    assert rewind.Tracker(dir).fsck().ok


# ---- where there are no locks


@pytest.fixture
def no_locks(monkeypatch):
    def refused(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks, "_lock", refused)


@pytest.mark.filterwarnings("ignore::rewind.NoLockWarning")
def test_a_second_writer_in_this_process_is_told_without_locks(dir, no_locks):
    with rewind.init(dir=dir, id="a") as run:
        run.log({"x": 1})
        for options in ({"id": "a", "resume": "allow"}, {"resume_from": "a?_step=0"}):
            with pytest.raises(rewind.RunBusyError, match=r"this process .* has it open; call finish\(\)"):
                rewind.init(dir=dir, **options)
        run.flush()
        assert rewind.Tracker(dir).run("a").status == "running"
    rewind.init(dir=dir, id="a", resume="must").finish()
    assert lock.is_held(str(dir), "a") is False


def other_process(dir, more):
    """Let another process take the lock of a run where there are none."""
    code = f"""
import errno, os, sys, warnings
from rewind.storage import locks
def refused(*_, **__):
    raise OSError(errno.ENOLCK, "No locks available")
locks._lock = refused
warnings.simplefilter("ignore")
import rewind
run = rewind.init(dir={str(dir)!r}, id="a")
run.log({{"x": 1}})
run.flush()
{more}
"""
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.filterwarnings("ignore::rewind.NoLockWarning")
def test_a_second_writer_in_another_process_is_told_without_locks_until_the_first_has_ended(dir, no_locks):
    first = other_process(dir, "print('open', flush=True)\nsys.stdin.read()\nos._exit(9)")
    try:
        assert first.stdout.readline() == "open\n"
        with pytest.raises(rewind.RunBusyError) as caught:
            rewind.init(dir=dir, id="a", resume="allow")
        assert caught.value.pid == first.pid
        assert rewind.Tracker(dir).run("a").status == "running"
    finally:
        first.communicate("")
    assert rewind.Tracker(dir).run("a").status == "crashed"
    with rewind.init(dir=dir, id="a", resume="allow") as run:
        assert run.step == 1


@pytest.mark.filterwarnings("ignore::rewind.NoLockWarning")
def test_what_a_file_says_of_its_process_is_weighed(dir, no_locks):
    rewind.init(dir=dir, id="a").finish()
    path = dir / "locks" / "a.lock"
    for text in ("", "{", "[]", "5", '{"pid": "x"}', '{"pid": -1, "host": "h"}', json.dumps(["pid"])):
        path.write_text(text)
        rewind.init(dir=dir, id="a", resume="must").finish()
    own = lock._this_process()
    path.write_text(json.dumps({**own, "began": "0"}))  # another process had this number before
    rewind.init(dir=dir, id="a", resume="must").finish()
    path.write_text(json.dumps({**own, "host": "elsewhere"}))
    with pytest.raises(rewind.RunBusyError, match=r"on elsewhere .* if that process has ended, delete .*a\.lock"):
        rewind.init(dir=dir, id="a", resume="must")


# ---- folders that are gone


def begun(dir):
    run = rewind.init(dir=dir, id="a")
    run.log({"x": 0})
    run.flush()
    return run


GONE = {
    "deleted": lambda dir: shutil.rmtree(dir),
    "moved": lambda dir: dir.rename(dir.with_name("moved")),
    "replaced": lambda dir: (dir.rename(dir.with_name("moved")), shutil.copytree(dir.with_name("moved"), dir)),
    "without its database": lambda dir: (dir / "tracker.sqlite").unlink(),
    "without its log": lambda dir: (dir / "tracker.sqlite-wal").unlink(),
}


@pytest.mark.parametrize("how", GONE)
@pytest.mark.parametrize("call", ["flush", "flush of nothing", "log", "finish", "config"])
def test_a_folder_that_is_gone_is_found_by_the_next_call_that_writes(dir, monkeypatch, how, call):
    run = begun(dir)
    GONE[how](dir)
    if call == "log":
        monkeypatch.setattr(writer, "SOON", 0.0)
    with pytest.raises(rewind.StoreError, match="deleted or replaced"):
        if call in ("log", "flush"):
            run.log({"x": 1})
        if call == "config":
            run.config.update({"k": 1})
        elif call != "log":
            getattr(run, call.split()[0])()
    run._finished = True  # nobody can finish it any more
    run._let_go()


@pytest.mark.parametrize("how", GONE)
def test_the_thread_that_writes_finds_a_folder_that_is_gone_and_the_next_log_says_so(dir, monkeypatch, how):
    run, tried = begun(dir), threading.Semaphore(0)
    GONE[how](dir)
    monkeypatch.setattr(writer, "SOON", 0.001)
    real = writer.Writer._try

    def tries(self):
        try:
            real(self)
        except rewind.StoreError:
            tried.release()
            raise

    monkeypatch.setattr(writer.Writer, "_try", tries)
    monkeypatch.setattr(run._writer, "_flushed", 1e18)  # no call that logs writes
    run.log({"x": 1})
    assert tried.acquire(timeout=30) and tried.acquire(timeout=30)  # the second time, what it met before is known
    with pytest.raises(rewind.StoreError, match="deleted or replaced"):
        run.log({"x": 2})
    run._finished = True
    run._let_go()


def test_rows_wait_for_a_folder_that_was_moved_and_comes_back(dir):
    run = begun(dir)
    dir.rename(dir.with_name("moved"))
    run.log({"x": 1})
    with pytest.raises(rewind.StoreError, match="deleted or replaced"):
        run.flush()
    dir.with_name("moved").rename(dir)
    run.finish()
    assert [row["x"] for row in rewind.Tracker(dir).run("a").history()] == [0, 1]


def test_a_fork_of_the_process_makes_no_new_database_where_the_folder_is_gone(dir):
    run = begun(dir)
    shutil.rmtree(dir)
    dir.mkdir()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(rewind.StoreError, match="deleted or replaced"):
        run.flush()
    assert os.listdir(dir) == []
    run._finished = True
    run._let_go()
