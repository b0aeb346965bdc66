"""The folder of a tracker when it is locked, read-only, full, of a later version, cut off, or something else."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading

import pytest

import rewind
from rewind.tracker.store import database, lock, writer

pytestmark = pytest.mark.once


@pytest.fixture
def begin(tmp_path):
    runs = []

    def init(**options):
        runs.append(rewind.init(**{"dir": tmp_path / ".rewind", **options}))
        return runs[-1]

    init.dir = tmp_path / ".rewind"
    init.path = tmp_path / ".rewind" / "tracker.sqlite"
    yield init
    for run in runs:
        run.finish()


def logged(run, values):
    for value in values:
        run.log({"x": value})
    return run


def column(run):
    return [row["x"] for row in run.history(["x"])]


@pytest.fixture
def held(begin, monkeypatch):
    """Return a run, and a connection that keeps everybody else from writing."""
    monkeypatch.setattr(database, "PATIENCE", 0.01)
    run = logged(begin(id="k"), range(3))
    run.flush()
    connection = sqlite3.connect(begin.path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    yield run, connection
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    connection.close()


def test_rows_wait_in_memory_while_the_database_is_locked(held):
    run, connection = held
    for i in range(3, 50):
        run.log({"x": i})
    with pytest.raises(rewind.StoreError, match="another process held it for .* seconds"):
        run.flush()
    connection.execute("ROLLBACK")
    assert column(run) == list(range(50))


def test_locked_database_is_an_error_to_begin_with_and_to_finish_with(held, begin):
    run, connection = held
    for options in ({"id": "other"}, {"fork_from": "k?_step=1"}):
        with pytest.raises(rewind.StoreError, match="another process held it"):
            begin(**options)
    run.log({"x": 3}, commit=False)
    with pytest.raises(rewind.StoreError, match="another process held it"):
        run.finish()
    assert not run.finished
    connection.execute("ROLLBACK")
    run.finish()
    assert column(run) == [0, 1, 2, 3] and run.summary["x"] == 3 and run.digest
    assert begin(id="other").step == 0


def test_call_that_logs_does_not_wait_for_other_processes_before_it_is_too_much(held, monkeypatch):
    run, connection = held
    monkeypatch.setattr(writer, "MANY_ROWS", 1)
    monkeypatch.setattr(writer, "_AGAIN", 0.0)
    for i in range(3, 6):
        run.log({"x": i})
    monkeypatch.setattr(writer, "_TOO_MANY", 1)
    with pytest.raises(rewind.StoreError, match="another process held it"):
        run.log({"x": 6})
    connection.execute("ROLLBACK")
    run.log({"x": 7})
    assert column(rewind.Tracker(run.dir).run("k")) == list(range(8))


def test_a_folder_that_was_deleted_is_not_written_to_in_silence(begin):
    run = logged(begin(id="k"), range(3))
    shutil.rmtree(begin.dir)
    run.log({"x": 3})
    with pytest.raises(rewind.StoreError, match="deleted or replaced while it was in use"):
        run.finish()
    run._finished = True  # nobody can finish it any more


def test_full_disk_in_the_middle_of_log_loses_no_row(begin):
    run = logged(begin(id="k"), range(3))
    run.flush()
    connection = run._store.connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    for i in range(3, 900):
        run.log({"x": i, "text": "a" * 100})
    with pytest.raises(rewind.StoreError, match="no space is left"):
        run.flush()
    with pytest.raises(rewind.StoreError, match="no space is left"):
        run.finish()
    run.log({"x": 900})
    seen = column(rewind.Tracker(begin.dir).run("k"))
    assert seen == list(range(len(seen)))
    connection.execute("PRAGMA max_page_count = 1000000")
    assert column(run) == list(range(901)) and run.summary["x"] == 900
    run.finish()
    assert column(rewind.Tracker(begin.dir).run("k")) == list(range(901))
    assert begin(resume_from="k?_step=500").step == 501


def test_full_disk_is_an_error_of_log_itself_when_it_writes(begin, monkeypatch):
    monkeypatch.setattr(writer, "MANY_ROWS", 50)
    run = logged(begin(id="k"), [0])
    run.flush()
    connection = run._store.connection
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
    with pytest.raises(rewind.StoreError, match="no space is left"):
        for i in range(1, 200):
            run.log({"x": i, "text": "a" * 1000})
    n = run.step
    assert n <= 51
    connection.execute("PRAGMA max_page_count = 1000000")
    run.finish()
    assert column(run) == list(range(n))


@pytest.mark.parametrize("content", [b"x", b"not a database at all\n" * 100, b"PK\x03\x04" + bytes(5000), bytes(4096)])
def test_file_that_is_no_database_is_refused_and_left(begin, content):
    begin.dir.mkdir()
    begin.path.write_bytes(content)
    for open_it in (lambda: begin(), lambda: rewind.Tracker(begin.dir), lambda: begin(resume_from="k?_step=1")):
        with pytest.raises(rewind.StoreDamagedError):
            open_it()
        assert begin.path.read_bytes() == content


def test_database_of_another_program_is_refused_and_left(begin):
    begin.dir.mkdir()
    connection = sqlite3.connect(begin.path)
    connection.execute("CREATE TABLE runs (id)")
    connection.commit()
    connection.close()
    before = begin.path.read_bytes()
    for open_it in (lambda: begin(), lambda: rewind.Tracker(begin.dir)):
        with pytest.raises(rewind.StoreDamagedError, match="no tracker's"):
            open_it()
    assert begin.path.read_bytes() == before


def test_empty_file_becomes_a_tracker(begin):
    begin.dir.mkdir()
    begin.path.write_bytes(b"")
    assert column(logged(begin(), [1])) == [1]


def test_tracker_whose_maker_was_killed_is_none_yet_and_is_made_by_the_next(begin):
    begin.dir.mkdir()
    connection = sqlite3.connect(begin.path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert begin.path.stat().st_size
    with pytest.raises(rewind.StoreError, match="no tracker here yet") as caught:
        rewind.Tracker(begin.dir)
    assert not isinstance(caught.value, rewind.StoreDamagedError)
    assert column(logged(begin(), [1])) == [1]


def test_tracker_of_a_later_version_is_refused(begin):
    logged(begin(id="k"), range(3)).finish()
    connection = sqlite3.connect(begin.path)
    connection.execute(f"PRAGMA user_version = {database.VERSION + 1}")
    connection.close()
    for open_it in (lambda: begin(), lambda: rewind.Tracker(begin.dir), lambda: begin(resume_from="k?_step=1")):
        with pytest.raises(rewind.StoreVersionError, match=str(database.VERSION + 1)):
            open_it()


def test_truncated_database_is_an_error_and_never_a_shorter_history(begin):
    logged(begin(id="k"), [i * 0.1 for i in range(5000)]).finish()
    whole = begin.path.read_bytes()
    assert not os.path.exists(f"{begin.path}-wal")
    for size in (10, 99, 100, 1000, 4096, 5000, 8192, len(whole) // 2, len(whole) - 4096, len(whole) - 1):
        begin.path.write_bytes(whole[:size])
        with pytest.raises(rewind.StoreError):
            assert column(rewind.Tracker(begin.dir).run("k")) == [i * 0.1 for i in range(5000)]
            raise rewind.StoreError("read", begin.path, "all is there")
        for name in os.listdir(begin.dir):
            if name.startswith("tracker.sqlite-"):
                os.remove(begin.dir / name)
    begin.path.write_bytes(whole)
    assert len(rewind.Tracker(begin.dir).run("k").history()) == 5000


def test_folder_without_a_tracker_is_not_read_and_not_made(begin, tmp_path):
    with pytest.raises(rewind.StoreError, match=r"no tracker here; rewind\.init\(\) makes one"):
        rewind.Tracker(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_folder_that_cannot_be_made_is_an_error(begin, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(rewind.StoreError, match="cannot"):
            begin(dir=folder)
    with pytest.raises(rewind.ArgumentTypeError, match="dir"):
        begin(dir=5)


def test_read_only_database_is_read_and_not_written(begin, monkeypatch):
    logged(begin(id="k"), range(5)).finish()
    real = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda path, **options: real(path.replace("mode=rwc", "mode=ro"), **options)
    )
    assert column(rewind.Tracker(begin.dir).run("k")) == list(range(5))
    for options in ({"id": "other"}, {"resume_from": "k?_step=1"}, {"fork_from": "k?_step=1"}):
        with pytest.raises(rewind.StoreError, match="it is read-only|unable to open"):
            begin(**options)


def test_read_only_folder_is_read(begin, monkeypatch):
    logged(begin(id="k"), range(5)).finish()
    real, access = sqlite3.connect, os.access

    def connect(path, **options):
        if "mode=ro" in path:  # what SQLite says where it can make no index beside a database in WAL mode
            raise_in = real(":memory:")

            class Refusing:
                def execute(self, *_):
                    raise sqlite3.OperationalError("unable to open database file")

                close = staticmethod(raise_in.close)

            return Refusing()
        return real(path, **options)

    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(rewind.StoreError):
        rewind.Tracker(begin.dir)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    assert column(rewind.Tracker(begin.dir).run("k")) == list(range(5))


def test_lock_that_cannot_be_made_is_an_error(begin):
    begin.dir.mkdir()
    (begin.dir / "locks").write_text("")
    with pytest.raises(rewind.StoreError, match="lock"):
        begin()


def test_file_system_without_locks_is_warned_of(begin, monkeypatch):
    monkeypatch.setattr(lock, "lock", lambda fd: False)
    with pytest.warns(rewind.NoLockWarning):
        begin()


@pytest.mark.parametrize(
    "options", [{}, {"id": "k", "resume": "must"}, {"resume_from": "k?_step=1"}, {"fork_from": "k?_step=1"}]
)
def test_a_warning_of_no_locks_names_the_line_that_opens_the_run(begin, monkeypatch, options):
    logged(begin(id="k"), range(3)).finish()
    monkeypatch.setattr(lock, "lock", lambda fd: False)
    with pytest.warns(rewind.NoLockWarning) as caught:
        rewind.init(dir=begin.dir, **options).finish()
    assert {warning.filename for warning in caught} == {__file__}


def test_folder_is_copied_while_nobody_writes(begin, tmp_path):
    logged(begin(id="k"), range(5)).finish()
    shutil.copytree(begin.dir, tmp_path / "copy")
    assert column(rewind.Tracker(tmp_path / "copy").run("k")) == list(range(5))
    assert begin(dir=tmp_path / "copy", resume_from="k?_step=1").step == 2
    assert len(rewind.Tracker(begin.dir).run("k").revisions) == 1


def test_path_with_characters_of_urls_is_a_folder(begin, tmp_path):
    for name in ("a?b", "a#b", "a%20b", "ä b", "file:x", "a&mode=ro"):
        run = logged(begin(dir=tmp_path / name, id="k"), [1, 2])
        run.finish()
        assert column(rewind.Tracker(tmp_path / name).run("k")) == [1, 2]
        assert (tmp_path / name / "tracker.sqlite").is_file()


def test_store_that_was_closed_says_so(begin):
    begin().finish()
    opened = database.Store(str(begin.dir))
    opened.close()
    opened.close()
    with pytest.raises(rewind.StoreError, match="it was closed"):
        opened.read("SELECT 1")


def test_transaction_that_fails_leaves_nothing(begin):
    run = begin(id="k")
    with pytest.raises(ZeroDivisionError), run._store.writing() as connection:
        connection.execute("DELETE FROM runs")
        raise ZeroDivisionError
    assert [one.id for one in rewind.Tracker(begin.dir)] == ["k"]


def test_begin_of_many_threads_in_a_new_folder_makes_one_tracker(begin):
    errors = []

    def work(number):
        try:
            with rewind.init(dir=begin.dir, id=f"run{number}") as run:
                logged(run, range(10))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and [column(run) for run in rewind.Tracker(begin.dir)] == [list(range(10))] * 6


def test_database_that_is_damaged_while_it_is_read_is_called_damaged(begin):
    logged(begin(id="k"), range(5)).finish()
    connection = sqlite3.connect(begin.path)
    connection.execute("DROP TABLE rows")
    connection.commit()
    connection.close()
    with pytest.raises(rewind.StoreDamagedError, match="it is damaged: no such table"):
        rewind.Tracker(begin.dir).run("k").history()


def test_reader_that_finds_the_log_of_a_killed_writer_takes_it_up(begin, monkeypatch):
    """SQLite says to a reader now and then, that only somebody who may write can do so."""
    logged(begin(id="k"), range(5)).finish()
    real, asked = sqlite3.connect, []

    class Refused(sqlite3.Connection):
        def execute(self, *_):
            raise sqlite3.OperationalError("attempt to write a readonly database")

    def connect(path, **options):
        asked.append(path.rpartition("?")[2])
        return real(path, **options, **({"factory": Refused} if path.endswith("mode=ro") else {}))

    monkeypatch.setattr(sqlite3, "connect", connect)
    assert column(rewind.Tracker(begin.dir).run("k")) == list(range(5))
    assert set(asked) == {"mode=ro", "mode=rw"}
