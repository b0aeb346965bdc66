"""A folder that its reader may not write to: what was committed last is in a log, and is read or refused."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import tempfile

import pytest
from helpers.tracked_family import execute

import rewind
from rewind.tracker.store import unwritable
from rewind.tracker.store.database import Store

pytestmark = [pytest.mark.once, pytest.mark.skipif(os.name != "posix", reason="the rights of folders there are others")]


@contextlib.contextmanager
def unprivileged(folder):
    """Let this process have no right to write to a folder, also if it is root."""
    folders = [home for home, _, _ in os.walk(folder)]
    for home in folders:
        os.chmod(home, 0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for home in folders:
            os.chmod(home, 0o755)


@pytest.fixture
def killed():
    """Return a folder whose writer was killed: three rows are in its log, and there is no index."""
    base = tempfile.mkdtemp(prefix="rewind-test-")  # not in pytest's own, which nobody else may enter
    os.chmod(base, 0o755)
    folder = os.path.join(base, "runs")
    with rewind.init(dir=os.path.join(base, "live"), id="a") as run:
        run.log({"x": -1})
    run = rewind.init(dir=os.path.join(base, "live"), id="a", resume="must")
    for i in range(3):
        run.log({"x": i})
    run.flush()
    shutil.copytree(run.dir, folder)
    os.unlink(os.path.join(folder, "tracker.sqlite-shm"))
    run.finish()
    assert os.path.getsize(os.path.join(folder, "tracker.sqlite-wal")) > 0
    yield folder
    unwritable._forget_all()
    shutil.rmtree(base)


def test_committed_rows_in_a_log_are_read_in_a_folder_that_cannot_be_written(killed):
    rewind.Tracker(killed).run("a").history()  # what is imported late is read before this process has no rights
    shutil.rmtree(killed)
    shutil.copytree(os.path.join(os.path.dirname(killed), "live"), killed)
    with unprivileged(killed):
        assert [row["x"] for row in rewind.Tracker(killed).run("a").history()] == [-1, 0, 1, 2]


@pytest.fixture
def frozen(killed, monkeypatch):
    """Return that folder as SQLite sees one that cannot be written to, whoever runs this."""
    real = sqlite3.connect

    class Refused(sqlite3.Connection):
        def execute(self, sql, *values):
            if sql.startswith("SELECT count(*) FROM sqlite_master"):
                raise sqlite3.OperationalError("unable to open database file")
            return super().execute(sql, *values)

    def connect(path, **options):
        return real(path, **options, **({"factory": Refused} if path.endswith("mode=ro") else {}))

    monkeypatch.setattr(sqlite3, "connect", connect)
    monkeypatch.setattr(unwritable, "may_write", lambda folder: False)
    return killed


def rows(folder):
    return [row["x"] for row in rewind.Tracker(folder).run("a").history()]


def test_committed_rows_in_a_log_are_read_from_a_copy_and_the_folder_stays_as_it_is(frozen):
    before = {name: os.stat(os.path.join(frozen, name)) for name in os.listdir(frozen)}
    assert rows(frozen) == [-1, 0, 1, 2]
    report = rewind.Tracker(frozen).fsck()
    assert report.ok and report.n_rows == 4 and report.n_left == 1
    after = {name: os.stat(os.path.join(frozen, name)) for name in os.listdir(frozen)}
    assert {name: (s.st_size, s.st_mtime_ns) for name, s in before.items()} == {
        name: (s.st_size, s.st_mtime_ns) for name, s in after.items()
    }


def test_one_copy_is_made_until_somebody_writes_and_none_is_left(frozen):
    rows(frozen)
    ((_, at),) = unwritable._COPIES.values()
    assert rows(frozen) == [-1, 0, 1, 2] and [copy for _, copy in unwritable._COPIES.values()] == [at]
    assert not stat.S_IMODE(os.stat(os.path.dirname(at)).st_mode) & 0o077  # nobody else reads it
    execute(frozen, "INSERT INTO rows (revision, step, data) SELECT revision, 7, '{\"x\":7}' FROM rows WHERE step = 3")
    assert rows(frozen) == [-1, 0, 1, 2, 7]
    unwritable._forget_all()
    assert not unwritable._COPIES and not os.path.exists(at)


def test_a_store_that_is_open_sees_what_somebody_else_writes(frozen):
    execute(frozen, "PRAGMA wal_checkpoint(TRUNCATE)")
    store = Store(frozen)
    try:
        assert store.read("SELECT count(*) FROM rows") == [(4,)]
        execute(frozen, "DELETE FROM rows WHERE step = 3")
        assert store.read("SELECT count(*) FROM rows") == [(3,)]
        with pytest.raises(rewind.StoreError, match="it was written to while it was read; try again"), store.snapshot():
            execute(frozen, "DELETE FROM rows WHERE step = 2")
    finally:
        store.close()


@pytest.mark.parametrize(
    "fault", [OSError(28, "No space left on device"), PermissionError(13, "Permission denied")], ids=["full", "secret"]
)
def test_committed_rows_that_cannot_be_copied_are_refused_and_never_left_out(frozen, monkeypatch, fault):
    def fails(*_):
        raise fault

    monkeypatch.setattr(shutil, "copyfile", fails)
    for call in (lambda: rewind.Tracker(frozen), lambda: Store(frozen)):
        with pytest.raises(rewind.StoreError, match="the last rows are in a log beside it.*Copy the whole folder"):
            call()
    assert not unwritable._COPIES


def test_a_database_that_is_written_to_while_it_is_copied_is_refused(frozen, monkeypatch):
    real, monkey = shutil.copyfile, iter(range(1000))

    def copies(source, target):
        real(source, target)
        os.utime(source, ns=(0, next(monkey)))

    monkeypatch.setattr(shutil, "copyfile", copies)
    monkeypatch.setattr(unwritable, "_PAUSE", 0.0)
    with pytest.raises(rewind.StoreError, match="it is being written to"):
        Store(frozen)


def test_a_database_without_a_log_is_read_where_it_is(frozen):
    execute(frozen, "PRAGMA wal_checkpoint(TRUNCATE)")
    for log in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(frozen, f"tracker.sqlite{log}"))
    assert rows(frozen) == [-1, 0, 1, 2] and not unwritable._COPIES
