"""The database in the folder of a tracker; and what else is in that folder.

::

    .rewind/
        tracker.sqlite      all that is text: runs, revisions, rows, configs, artifacts' names, lines
        simulations/        ID.REVISION.replay, or its journal while it is recorded
        contents/ab/abcd..  files of artifacts, named by the blake2b of their bytes
        locks/ID.lock       held by the process that writes to the run
        files/ID/           what a program put into `run.dir`, until the run is finished
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import (
    ArgumentError,
    ArgumentTypeError,
    RevisionClosedError,
    StoreDamagedError,
    StoreError,
    StoreVersionError,
)
from ...storage.files import flush_folder
from . import schema, unwritable

if TYPE_CHECKING:
    import sqlite3

VERSION = 2
#: "rwnd": what ``file`` and other tools know the database by.
APPLICATION = 0x72776E64
#: Seconds a transaction waits for those of other processes.
PATIENCE = 60.0
DATABASE = "tracker.sqlite"
_FOLDER = ".rewind"
#: The folder in it with what programs put into the folders of their runs.
FILES = "files"

# A revision is what one writer added: rows after `parent_step` of its parent, which is another revision of the run or,
# for the first one of a fork, of another run. It never changes when it is closed. What a revision sees is its own rows
# and those of its parents up to where each was left.
_SCHEMA = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY, project TEXT, entity TEXT, began REAL NOT NULL,
    current INTEGER NOT NULL, removed INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE revisions (
    uid INTEGER PRIMARY KEY, run TEXT NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL,
    parent INTEGER, parent_step INTEGER NOT NULL, name TEXT NOT NULL, notes TEXT, tags TEXT NOT NULL,
    config TEXT NOT NULL, defined TEXT NOT NULL DEFAULT '{}', summary TEXT,
    state TEXT NOT NULL, exit_code INTEGER, began REAL NOT NULL, ended REAL, pid INTEGER, host TEXT,
    n_rows INTEGER, last_step INTEGER, rows_digest TEXT, parent_digest TEXT, simulation_digest TEXT, digest TEXT,
    kept_rows INTEGER, kept_digest TEXT, limits TEXT,
    UNIQUE (run, number)
);
CREATE INDEX revisions_parent ON revisions (parent);
CREATE TABLE rows (
    revision INTEGER NOT NULL, step INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (revision, step)
) WITHOUT ROWID;
CREATE TABLE marks (
    revision INTEGER NOT NULL, step INTEGER NOT NULL, accounts TEXT NOT NULL, PRIMARY KEY (revision, step)
) WITHOUT ROWID;
CREATE TABLE assigned (
    revision INTEGER NOT NULL, n INTEGER NOT NULL, step INTEGER NOT NULL, key TEXT NOT NULL, value TEXT,
    PRIMARY KEY (revision, n)
) WITHOUT ROWID;
CREATE TABLE backfilled (
    revision INTEGER NOT NULL, name TEXT NOT NULL, step INTEGER NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (revision, name, step)
) WITHOUT ROWID;
CREATE TABLE artifacts (
    uid INTEGER PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL, type TEXT NOT NULL, digest TEXT NOT NULL,
    manifest TEXT NOT NULL, metadata TEXT NOT NULL, began REAL NOT NULL, UNIQUE (name, version), UNIQUE (name, digest)
);
CREATE TABLE artifact_events (
    revision INTEGER NOT NULL, n INTEGER NOT NULL, step INTEGER NOT NULL, kind TEXT NOT NULL,
    artifact INTEGER NOT NULL, aliases TEXT NOT NULL, PRIMARY KEY (revision, n)
) WITHOUT ROWID;
CREATE TABLE lines (
    revision INTEGER NOT NULL, n INTEGER NOT NULL, step INTEGER NOT NULL, stream TEXT NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY (revision, n)
) WITHOUT ROWID;
CREATE TABLE samples (
    revision INTEGER NOT NULL, n INTEGER NOT NULL, step INTEGER NOT NULL, seconds REAL NOT NULL, cpu REAL NOT NULL,
    memory INTEGER NOT NULL, PRIMARY KEY (revision, n)
) WITHOUT ROWID;
CREATE TABLE simulations (
    revision INTEGER NOT NULL, n INTEGER NOT NULL, first INTEGER NOT NULL, origin INTEGER NOT NULL,
    n_steps INTEGER NOT NULL, file TEXT NOT NULL, log_every INTEGER, metrics TEXT NOT NULL, noise TEXT,
    PRIMARY KEY (revision, n)
) WITHOUT ROWID;
"""
# What version 2 adds: when each row was logged, on which machine each revision, what one that was imported was called
# where it was made, if that is another name, and see `pyramid`. One of version 1 is read as it is, and gets this when
# it is first written to.
_ADDED = """
ALTER TABLE rows ADD COLUMN seconds REAL;
ALTER TABLE revisions ADD COLUMN machine TEXT;
ALTER TABLE revisions ADD COLUMN made_as TEXT;
CREATE TABLE pyramids (
    revision INTEGER NOT NULL, name TEXT NOT NULL, level INTEGER NOT NULL, step INTEGER NOT NULL, cells TEXT NOT NULL,
    PRIMARY KEY (revision, name, level, step)
) WITHOUT ROWID;
"""
_STATEMENTS = {1: _SCHEMA, 2: _SCHEMA + _ADDED}
#: Tables whose rows belong to a revision.
OWNED = (
    "rows", "marks", "assigned", "backfilled", "artifact_events", "lines", "samples", "simulations", "pyramids",
)  # fmt: skip


def folder_of(value: Any, holds: bool = False) -> str:
    """Return the folder of a tracker, as an absolute path.

    Parameters
    ----------
    value : path-like, optional
        It is meant itself, unless there is a tracker's folder in it that is called ``.rewind``. Of a run's files within
        a tracker's folder, that folder. Default: the environment's ``REWIND_DIR``; else the ``.rewind`` in its
        ``WANDB_DIR`` or the working directory.
    holds : bool
        Whether a new one is made in it, ``.rewind``: what W&B's client means by ``dir``.
    """
    if value is None:
        value = os.environ.get("REWIND_DIR")
        holds = holds or not value
        value = value or os.environ.get("WANDB_DIR") or "."
    try:
        path = os.fsdecode(value)
    except TypeError:
        raise ArgumentTypeError("dir", value, "a path") from None
    if "\0" in path:
        raise ArgumentError("dir", path, "a path without NUL characters")
    path = os.path.abspath(os.path.expanduser(path))
    around = os.path.dirname(os.path.dirname(path))
    if os.path.basename(os.path.dirname(path)) == FILES and is_tracker(around):
        return around
    if os.path.basename(path) == _FOLDER or is_tracker(path):
        return path
    inside = os.path.join(path, _FOLDER)
    return inside if holds or is_tracker(inside) else path


def is_tracker(path: Any) -> bool:
    """Whether a path is the folder of a tracker."""
    return os.path.isfile(os.path.join(path, DATABASE))


_NOTHING: tuple[int, int] | None = None  # no such file


def _file_at(path: str) -> tuple[int, int] | None:
    """Return what a file is, whatever it is called; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


class Store:
    """The database of a tracker's folder, through one connection; may be used by several threads, not by a fork.

    Parameters
    ----------
    folder : str
    write : bool
        Whether it may be changed; then it is made where there is none.
    strict : bool
        Whether one with another schema than a tracker makes is refused; False is for who looks at that: `fsck`.

    Raises
    ------
    StoreError, StoreVersionError, StoreDamagedError
        If it cannot be opened.
    """

    def __init__(self, folder: str, *, write: bool = False, strict: bool = True) -> None:
        self.folder, self.path, self._write, self._strict = folder, os.path.join(folder, DATABASE), write, strict
        self.turn = threading.RLock()
        self._pid = os.getpid()
        self._connection: sqlite3.Connection | None = None
        self._rests = False  # closed for a moment, while this process forks
        self._reads = 0  # queries whose rows are not all read yet
        self._file = self._log = _NOTHING  # what it is and where its log is, by the numbers of their files
        self._frozen: object = None  # what it was, where it is read so that another's writing would not be seen
        self._schema_version: object = None
        self.version = VERSION
        self._mine: tuple[int, str, int, float] | None = None  # the revision that is written through it
        if write:
            self._make_folder()
        elif not os.path.isfile(self.path):
            raise StoreError("read", self.path, "there is no tracker here; rewind.init() makes one")
        # SQLite would take a byte or two for an empty database. Asked for, not opened: see `_connected`.
        if os.path.isfile(self.path) and 0 < os.path.getsize(self.path) < 512:
            raise StoreDamagedError("read", self.path, "it is no SQLite database, or was cut off")
        if self.path in _TAINTED:
            problem = "this process was forked in the middle of a read of it. Fork after the read, or use spawn"
            raise StoreError("open", self.path, problem)
        with self.turn, self._errors("open"):
            _OPEN.add(self)  # before there is a connection: a fork looks here
            try:
                self._connection = self._connected()
                self._prepare()
                self._file = _file_at(self.path)
            except BaseException as error:
                self.close()
                if isinstance(error, OSError) and not isinstance(error, StoreError):
                    raise StoreError("open", self.path, error.strerror or str(error)) from None
                raise

    @property
    def pid(self) -> int:
        """The process that opened it."""
        return self._pid

    # ---- opening

    def _make_folder(self) -> None:
        try:
            os.makedirs(self.folder, exist_ok=True)
            if not os.path.exists(self.path):
                flush_folder(os.path.dirname(self.folder))
        except OSError as error:
            raise StoreError("make", self.folder, error.strerror or str(error)) from None

    def _connected(self) -> sqlite3.Connection:
        import sqlite3

        def connect(options: str, path: str = self.path) -> sqlite3.Connection:
            from urllib.request import pathname2url

            connection = sqlite3.connect(
                f"file:{pathname2url(path)}?{options}",
                uri=True,
                timeout=PATIENCE,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                # What somebody put into the schema must not reach out of the database. No extension is ever loaded:
                # Python does not let one, unless it is asked to.
                connection.execute("PRAGMA trusted_schema = OFF")
                connection.execute("PRAGMA foreign_keys = OFF")
                if self._write:  # a commit does not wait for the disk, and a kill loses nothing of it; `durable` waits
                    connection.execute("PRAGMA synchronous = NORMAL")
                else:
                    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            except BaseException:
                connection.close()
                raise
            return connection

        # Opened by nothing else here: when a process closes a file, its POSIX locks on it are gone, those of SQLite,
        # too, and then another process that leaves deletes the log that this one still writes to.
        if self._write:
            return connect("mode=rwc")
        self._frozen = None
        try:
            return connect("mode=ro")
        except sqlite3.OperationalError as error:
            # A reader of a database in WAL mode writes an index beside it, which a read-only folder does not let it.
            # And where the writer was killed, the log may have to be taken up, which only somebody who may write does.
            writable = unwritable.may_write(self.folder)
            if "readonly" not in str(error) and ("unable to open" not in str(error) or writable):
                raise
        if writable:
            return connect("mode=rw")
        self._frozen = unwritable.facts_of(self.path)
        if unwritable.has_log(self.path):  # of what was committed last, which "immutable" would leave out
            return connect("mode=rw", unwritable.copy_of(self.path))
        return connect("immutable=1")

    def _prepare(self) -> None:
        connection = self.connection
        # In one statement: another process may be making it.
        query = "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version, "
        found, application, n = connection.execute(query + "pragma_application_id").fetchone()
        empty = n == 0
        if self._write and empty and not found:
            self._wal()
            with self._immediate():
                if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:  # nobody was faster
                    for statement in _STATEMENTS[VERSION].split(";"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA application_id = {APPLICATION}")
                    connection.execute(f"PRAGMA user_version = {VERSION}")
        elif empty and not found and not application:  # who was making it was killed, or is about to fill it
            raise StoreError("read", self.path, "there is no tracker here yet; rewind.init() makes one")
        elif application != APPLICATION:
            raise StoreDamagedError("read", self.path, "it is a database, but no tracker's, or it was cut off")
        elif found > VERSION:
            raise StoreVersionError(self.path, found, VERSION)
        if self._write:
            self._wal()
        self._require_schema()
        if self._write and self.version < VERSION:
            self._upgrade()

    def _upgrade(self) -> None:
        connection = self.connection
        with self._immediate():
            self._require_schema()  # somebody may have been faster
            if self.version < VERSION:
                for statement in _ADDED.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")
        self._require_schema()

    def _require_schema(self, doing: str = "read") -> None:
        """Refuse a database that has something else in it than a tracker makes, or less: see `schema`."""
        connection = self.connection
        self._schema_version = connection.execute("PRAGMA schema_version").fetchone()
        self.version = self._version_found()
        problems = schema.problems(connection, _STATEMENTS[self.version])
        if problems and self._strict:
            raise StoreDamagedError(doing, self.path, f"it is damaged: {problems[0]}")

    def schema_problems(self) -> tuple[list[str], bool]:
        """Return what is wrong with the schema, and whether what is there of the tables can be read nevertheless."""
        with self.turn, self._errors("read"):
            statements = _STATEMENTS[self.version]
            return schema.problems(self.connection, statements), schema.is_readable(self.connection, statements)

    def _version_found(self) -> int:
        ((found,),) = self.connection.execute("PRAGMA user_version").fetchall()
        return max(min(int(found), VERSION), 1)

    def _wal(self) -> None:
        import sqlite3

        end = time.monotonic() + PATIENCE
        while True:  # this one change of mode does not wait for others by itself
            try:
                self.connection.execute("PRAGMA journal_mode = WAL").fetchone()
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
            time.sleep(0.01)

    # ---- use

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, of the process that made it."""
        if os.getpid() != self._pid:
            raise StoreError("use", self.path, f"process {self._pid} opened it, and this is a fork of that")
        with self.turn:
            if self._rests:
                if self._write:
                    self._log = _NOTHING  # the last one who closes it deletes it
                    self._require_there()  # or a new one would be made
                self._connection, self._rests = self._connected(), False
            if self._connection is None:
                raise StoreError("use", self.path, "it was closed")
            if self._frozen is not None and not self._reads and not self._connection.in_transaction and self._melted():
                self._connection.close()
                self._connection = self._connected()
            return self._connection

    def _melted(self) -> bool:
        """Whether somebody wrote to a database that this process may not write to since it was opened."""
        return self._frozen is not None and unwritable.facts_of(self.path) != self._frozen

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self.turn, self._errors("read"):
            return self.connection.execute(sql, values).fetchall()

    def each(self, sql: str, values: Sequence[Any] = (), many: int = 1000) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query, some at a time."""
        with self.turn, self._errors("read"):
            cursor = self.connection.execute(sql, values)
            self._reads += 1
        try:
            while True:
                with self.turn, self._errors("read"):
                    rows = cursor.fetchmany(many)
                if not rows:
                    return
                yield from rows
        finally:
            with self.turn:
                self._reads -= 1

    @contextlib.contextmanager
    def writing(self, doing: str = "write to") -> Iterator[sqlite3.Connection]:
        """Enter a transaction: all that is executed in it, or nothing."""
        with self.turn, self._errors(doing):
            if self.connection.in_transaction:  # part of one that is entered already
                yield self.connection
                return
            with self._immediate():
                self.require_mine()
                if self.connection.execute("PRAGMA schema_version").fetchone() != self._schema_version:
                    self._require_schema(doing)
                yield self.connection

    def hold(self, uid: int, run: str, number: int, began: float) -> None:
        """Let every transaction from here on find a revision open, or fail: whatever became of the lock of its run."""
        self._mine = uid, run, number, began

    def require_mine(self) -> None:
        """Refuse to go on in a folder that is gone, or with a revision that somebody else closed.

        Raises
        ------
        StoreError, RevisionClosedError
        """
        with self.turn, self._errors("log to"):
            self._require_there()
            if self._mine is None:
                return
            # A number of the database is given anew after a purge, so there is more than that to know it by.
            uid, run, number, began = self._mine
            query = """SELECT state, digest IS NULL AND kept_digest IS NULL FROM revisions
                       WHERE uid = ? AND run = ? AND number = ? AND began = ?"""
            found = self.connection.execute(query, (uid, run, number, began)).fetchone()
            if found is None or not found[1]:
                raise RevisionClosedError(f"{run}@{number}", None if found is None else found[0])

    @contextlib.contextmanager
    def _immediate(self) -> Iterator[None]:
        connection = self.connection
        try:  # an interrupt may come right after BEGIN
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let several reads see one state of the database."""
        with self.turn, self._errors("read"):
            if self.connection.in_transaction:
                yield
                return
            try:
                self.connection.execute("BEGIN")
                yield
                if self._melted():
                    raise StoreError("read", self.path, "it was written to while it was read; try again")
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("COMMIT")

    def durable(self) -> None:
        """Wait until what was committed is on the disk."""
        with self.turn, self._errors("write to"):
            self._require_there()
            with contextlib.suppress(OSError):
                fd = os.open(f"{self.path}-wal", os.O_RDONLY)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)

    def _require_there(self) -> None:
        """Refuse to go on writing to files that were deleted, moved or replaced: nobody would ever see it."""
        here, log = _file_at(self.path), _file_at(f"{self.path}-wal")
        # As long as this connection is open nobody else removes the log that it writes to. Before there is anything
        # to write there may be none.
        if here != self._file or (self._log is not None and log != self._log):
            raise StoreError("write to", self.path, "it was deleted or replaced while it was in use")
        self._log = log

    @contextlib.contextmanager
    def impatient(self) -> Iterator[None]:
        """Let transactions wait for those of others for a moment only."""
        with self.turn:
            self.connection.execute("PRAGMA busy_timeout = 20")
            try:
                yield
            finally:
                self.connection.execute(f"PRAGMA busy_timeout = {int(PATIENCE * 1000)}")

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        import sqlite3

        try:
            yield
        except sqlite3.Error as error:
            raise self._error(doing, error) from None
        except UnicodeDecodeError as error:  # of a name that SQLite would tell, and that is damaged itself
            raise StoreDamagedError(doing, self.path, f"it is damaged: {error}") from None

    def _error(self, doing: str, error: sqlite3.Error) -> StoreError:
        import sqlite3

        text = str(error)
        if isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError)):  # nothing here asks for what is there
            return StoreDamagedError(doing, self.path, f"it is damaged: {text}")
        damaged = ("malformed", "not a database", "no such", "disk image", "corrupt", "decode", "file format")
        if any(word in text for word in damaged):
            return StoreDamagedError(doing, self.path, f"it is damaged: {text}")
        if "locked" in text or "busy" in text:
            busy = StoreError(doing, self.path, f"another process held it for {PATIENCE:.0f} seconds ({text})")
            busy.busy = True
            return busy
        elif "full" in text:
            text = f"no space is left ({text})"
        elif "readonly" in text:
            text = f"it is read-only ({text})"
        return StoreError(doing, self.path, text)

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        with self.turn:
            # Forgotten when it is closed, not before: Ctrl-C may come in between, and the next call goes on here.
            if self._connection is not None and os.getpid() == self._pid:
                with contextlib.suppress(Exception):
                    self._connection.close()
            self._connection, self._rests = None, False

    # ---- forks

    def _rest(self) -> None:
        """Close the connection until it is needed again, unless somebody is in the middle of something."""
        connection = self._connection
        if connection is not None and os.getpid() == self._pid and not self._reads and not connection.in_transaction:
            self._connection, self._rests = None, True
            with contextlib.suppress(Exception):
                connection.close()


# A fork inherits what SQLite knows of its locks, not the locks: it takes those of its parent for its own, and writes
# to a log that others delete. So no connection is open while this process forks, and each is opened anew after it.
_OPEN: weakref.WeakSet[Store] = weakref.WeakSet()
_FORKING = threading.Lock()
_HELD: list[Store] = []
_KEPT: list[Any] = []
_TAINTED: set[str] = set()


def _before_fork() -> None:
    _FORKING.acquire()
    for store in list(_OPEN):
        store.turn.acquire()
        _HELD.append(store)
        store._rest()


def _after_fork_in_parent() -> None:
    while _HELD:
        _HELD.pop().turn.release()
    _FORKING.release()


def _after_fork_in_child() -> None:
    global _FORKING
    _FORKING = threading.Lock()
    for store in _HELD:
        if store._connection is not None and store._pid != os.getpid():
            # Never closed here: SQLite would act on files and locks that belong to the parent.
            _KEPT.append(store._connection)
            _TAINTED.add(store.path)
        store.turn = threading.RLock()
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
