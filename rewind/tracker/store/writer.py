"""Write what is logged: rows wait in memory for less than a second, and go to the database many at a time."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Any, Literal

from ...errors import (
    ArgumentError,
    ArgumentTypeError,
    DroppedError,
    DroppedWarning,
    LogValueError,
    RevisionClosedError,
    RewindError,
    StoreError,
)
from ..media import media_of
from .aggregates import Aggregates, Definitions, step_in_data, step_of
from .damage import understood
from .database import Store
from .history import RowsDigest, aggregates_at, rows_digest
from .media import keep_media
from .pyramid import Pyramid
from .sampled import pyramid_of
from .values import Unkept, flatten, kept_table, row_text, text

#: Rows that go to the database at once, and seconds that one waits for others.
MANY_ROWS, SOON = 1000, 0.5
#: Rows between two marks: as many are read, at most, to know the summary at a step.
MARK_ROWS = 4096
_TOO_MANY = 100_000  # rows in memory: then a call that logs waits for other processes
_AGAIN = 1.0  # seconds until what could not be written is tried again
_MOST_WARNED = 10_000


class Writer:
    """The rows that one revision adds, and what is logged beside them.

    Parameters
    ----------
    store : Store
    uid : int
        The revision.
    starting_step : int
    aggregates : Aggregates
        Of the rows before.
    definitions : Definitions
    on_dropped : {"warn", "raise"}

    Attributes
    ----------
    step : int
        The current one: that of the open row, or of the next.
    clock : callable
        Gives the time of a row that is closed, in seconds since 1970; None where it is not known.
    """

    def __init__(
        self,
        store: Store,
        uid: int,
        starting_step: int,
        aggregates: Aggregates,
        definitions: Definitions,
        on_dropped: Literal["warn", "raise"],
    ) -> None:
        self.store, self.uid, self.step, self.aggregates = store, uid, starting_step, aggregates
        self.definitions, self._on_dropped = definitions, on_dropped
        self.clock: Callable[[], float | None] = time.time
        self.turn = threading.RLock()
        self.digest, self._pyramid = RowsDigest(), Pyramid()
        self._open: dict[str, Any] | None = None
        self._rows: list[tuple[int, str, float | None]] = []  # with the time, not in the database yet
        self._unfolded: list[tuple[int, dict[str, Any]]] = []  # not in the aggregates yet
        self._beside: list[tuple[str, tuple[Any, ...]]] = []  # statements for lines, samples and the like
        self._unmarked, self._n = 0, 0
        self._synced: dict[str, Any] = {}  # the last values of step metrics
        self._sought: set[str] = set()  # those that were looked for in the aggregates
        self._warned: set[int] = set()
        self._torn = self._flushing = self._ended = False
        self.recorded = False  # by `record`, which says what the steps are
        self.inside = False  # of a call: a signal handler may come in between, in the same thread
        self._later_calls: list[Callable[[], object]] = []
        self._flushed = self._failed = 0.0
        self._unsaid: RewindError | None = None  # what the thread that writes met: the next call that logs says so
        self._waits = False
        _WRITERS.add(self)

    # ---- a signal handler that logs

    def once(
        self, call: Callable[..., object], again: Callable[..., object], given: tuple[Any, ...] = (), more: int = 0
    ) -> None:
        """Make a call; where another one of this thread is under way, let that make it at its end, as `again`.

        Both are called with what is `given`, whose last is a stacklevel: `more` is what it has to be raised by here.
        """
        mine = False
        try:
            mine = not (self.inside and self._under_way(Writer.once.__code__))
            if not mine:
                self._later_calls.append(lambda: again(*given))
                return
            self.inside = True
            if given:
                *rest, level = given
                call(*rest, level + more)
            else:
                call()
        finally:
            try:
                self.inside = self.inside and not mine
            finally:  # whatever a handler raised right here
                if mine:
                    self.inside = False
                    while self._later_calls and not self.inside:
                        self._later_calls.pop(0)()

    def _under_way(self, code: CodeType) -> bool:
        """Whether a method is under way, in this thread: Ctrl-C may have left its mark behind."""
        frame = sys._getframe(1).f_back
        while frame is not None:
            if frame.f_code is code and frame.f_locals.get("self") is self:
                return True
            frame = frame.f_back
        return False

    # ---- rows

    def log(self, data: Any, step: Any, commit: bool | None, stacklevel: int) -> None:
        """Log as `TrackedRun.log` says."""
        if not isinstance(data, Mapping):
            raise ArgumentTypeError("data", data, "a dict of names to values, such as {'loss': 0.5}")
        if self._torn:
            self._settle()
        kept, problems = flatten(data)  # before anything is changed
        if "_step" in kept or "_step" in problems:
            step = step_in_data(kept.pop("_step", problems.get("_step")), step)
        if self.recorded:  # what is logged meanwhile goes with the next row of the simulation
            if step is not None:
                advice = "run.record logs a row for steps of the simulation meanwhile"
                raise ArgumentError("step", step, "none while run.record is under way", advice)
            close = False
        elif step is None:
            close = commit is None or bool(commit)
        else:
            step = step if type(step) is int and -1 < step < 1 << 62 else step_of(step)
            close = bool(commit)
            if step < self.step:
                self._drop(step, stacklevel + 1)
                return
        if step is not None and step > self.step:
            if self._open is not None:
                self._close()
            self.step = step
        if problems:
            kept |= self.media_among(problems, self.step)
        before = self._open
        try:
            if before is None:
                self._open = kept
            else:  # a later key wins, and stands where it came
                self._open = {**{key: value for key, value in before.items() if key not in kept}, **kept}
            if close:
                self._close()
        except BaseException:  # Ctrl-C: the row is closed, or as it was before this call
            if not (self._rows and self._rows[-1][0] >= self.step):
                self._open = before
            raise
        if self._rows:
            self._soon()
        if problems:
            raise LogValueError(problems)

    def media_among(self, problems: dict[str, Any], step: int) -> dict[str, Any]:
        """Keep the media and tables among values that no row holds as they are, take them out, return what it gets."""
        found, kept = {}, {}
        for name, value in list(problems.items()):
            media = media_of(value)
            if media is not None:
                found[name] = media
            else:
                with contextlib.suppress(Unkept):
                    kept[name] = kept_table(value)
            if name in found or name in kept:
                del problems[name]
        return {**kept, **keep_media(self.store, self.uid, step, found)} if found else kept

    def add_rows(self, rows: Sequence[tuple[int, dict[str, Any]]]) -> None:
        """Add closed rows of kept values, in order, all at or after the current step."""
        if self._torn:
            self._settle()
        for step, values in rows:
            if step > self.step:
                if self._open is not None:
                    self._close()
                self.step = step
            if self._open is None:
                self._open = dict(values)
            else:
                self._open |= values
            self._close()
        if self._rows:
            self._soon()

    def close_row(self) -> None:
        """Close the open row, if there is one."""
        if self._torn:
            self._settle()
        if self._open is not None:
            self._close()

    def _close(self) -> None:
        row = self._open
        assert row is not None
        if self.definitions:
            self._sync(row)
        step, data, torn = self.step, row_text(row), self._torn
        self._torn = True  # Ctrl-C may come between any two of these: see `_mend`
        self._rows.append((step, data, self.clock()))
        self._unfolded.append((step, row))
        self._open = None
        self.step = step + 1
        self._torn = torn

    def _sync(self, row: dict[str, Any]) -> None:
        """Put the last value of a step metric in a row that lacks it."""
        wanted = {}
        for key in row:
            definition = self.definitions.of(key)
            name = definition.get("step_metric")
            if name is not None and definition["step_sync"] and name not in row:
                if name not in self._sought:  # it may have been logged before it was defined, or before a rewind
                    self._sought.add(name)
                    self.fold()
                    if name not in self._synced and name in self.aggregates and self.aggregates[name].last is not None:
                        self._synced[name] = self.aggregates[name].last
                if name in self._synced:
                    wanted[name] = self._synced[name]
        row |= wanted
        for definition in self.definitions.values():
            name = definition.get("step_metric")
            if name is not None and row.get(name) is not None:
                self._synced[name] = row[name]

    def define(self, definitions: Definitions) -> None:
        """Let other definitions hold from now on."""
        self.definitions = definitions
        self._synced, self._sought = {}, set()

    def _drop(self, step: int, stacklevel: int) -> None:
        if self._on_dropped == "raise":
            raise DroppedError(step, self.step)
        if step not in self._warned:
            if len(self._warned) < _MOST_WARNED:
                self._warned.add(step)
            warnings.warn(DroppedWarning(step, self.step), stacklevel=stacklevel + 1)

    # ---- beside the rows

    def where(self) -> int:
        """Return the step that what is logged now belongs to: of the open row, or of the last one."""
        return self.step if self._open is not None else self.step - 1

    def beside(self, statement: str, values: tuple[Any, ...]) -> None:
        """Let a statement be executed with the next rows; its first two values are the revision and a number."""
        with self.turn:
            self._beside.append((statement, (self.uid, self._n, *values)))
            self._n += 1
            self._soon()

    def assign(self, key: str, value: Any) -> None:
        """Put a kept value into the summary."""
        self.beside(
            "INSERT OR REPLACE INTO assigned (revision, n, step, key, value) VALUES (?, ?, ?, ?, ?)",
            (self.where(), key, text(value)),
        )

    # ---- to the database

    def _soon(self) -> None:
        """Write now what has waited long enough, or is much; else see to it that it is written soon."""
        error, self._unsaid = self._unsaid, None
        if error is not None:
            raise error
        now = time.monotonic()
        if len(self._rows) >= MANY_ROWS or now - self._flushed >= SOON:
            if now - self._failed >= _AGAIN:
                self._try()
        elif not self._waits:
            self._waits = True
            _later(self)

    def _try(self) -> None:
        """Write, unless another process is in the way: then later, before it is too much."""
        if len(self._rows) >= _TOO_MANY:
            self.flush()
            return
        try:
            with self.store.impatient():
                self.flush()
        except StoreError as error:
            if not error.busy:
                raise
            _later(self)

    def flush(self) -> None:
        """Write all that is closed.

        Raises
        ------
        StoreError
            If it cannot be written; it stays in memory, and the next flush tries again.
        """
        with self.turn:
            # A signal handler that reads: what is under way is written soon.
            if self._flushing and self._under_way(Writer.flush.__code__):
                return
            try:
                self._flushing = True
                if self._torn or (self._ended and self._rows):
                    self._mend()
                self.fold()
                if self._rows or self._beside:
                    self._write_all()
            except StoreError:
                self._failed = time.monotonic()
                raise
            finally:
                self._flushing = False

    def _write_all(self) -> None:
        rows, beside = self._rows, self._beside
        mark = self._unmarked + len(rows) >= MARK_ROWS
        self._torn = True
        try:
            with self.store.writing("log to") as connection:
                self._write(connection, rows, beside)
                self._pyramid.write(connection, self.uid)
                if mark:
                    self._mark(connection)
        except StoreError:  # and nothing of it was written
            self._torn = False
            raise
        self._rows, self._beside, self._pyramid.ready = [], [], []
        self.digest.add(rows)
        self._unmarked = 0 if mark else self._unmarked + len(rows)
        self._torn = False
        self._flushed, self._failed, self._waits = time.monotonic(), 0.0, False
        self._unsaid = None

    def _settle(self) -> None:
        """Finish closing a row, where an interrupt came in between."""
        if self._rows and self._rows[-1][0] >= self.step:
            self._open = None
            self.step = self._rows[-1][0] + 1

    def _mend(self) -> None:
        """Take up where an interrupt came between two things that belong together: by what is in the database.

        What waits may have been written already, and is written once more.
        """
        self._settle()
        with self.store.writing("log to") as connection:
            connection.execute("DELETE FROM marks WHERE revision = ?", (self.uid,))
            connection.execute("DELETE FROM pyramids WHERE revision = ? AND name = ''", (self.uid,))
            self._write(connection, self._rows, self._beside)
        with understood(self.store.path):
            digest, aggregates = rows_digest(self.store, self.uid), aggregates_at(self.store, self.uid)
            self._pyramid, self._ended = pyramid_of(self.store, self.uid), False
        self._rows, self._beside, self._unfolded = [], [], []
        self.digest, self.aggregates, self._unmarked = digest, aggregates, digest.n
        self._torn = False

    def _write(self, connection: Any, rows: list[tuple[int, str, float | None]], beside: list[Any]) -> None:
        query = f"INSERT OR REPLACE INTO rows (revision, step, data, seconds) VALUES ({self.uid:d}, ?, ?, ?)"
        connection.executemany(query, rows)
        for statement, values in beside:
            connection.execute(statement, values)

    def _mark(self, connection: Any) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO marks (revision, step, accounts) VALUES (?, ?, ?)",
            (self.uid, self.aggregates.last_step, row_text(self.aggregates.to_json())),
        )

    def fold(self) -> None:
        """Enter the closed rows in the aggregates."""
        with self.turn:
            if self._unfolded and not self._torn:
                self._torn = True
                rows, self._unfolded = self._unfolded, []
                self.aggregates.add(rows)
                self._pyramid.add(rows)
                self._torn = False

    def end(self) -> None:
        """Close the open row and write all there is, with a mark at the end."""
        with self.turn:
            self.close_row()
            self.flush()
            self._torn = self._ended = True
            self._pyramid.end()
            self._torn = False
            if self._unmarked or self._pyramid.ready:
                with self.store.writing("log to") as connection:
                    self._mark(connection)
                    self._pyramid.write(connection, self.uid)
                self._unmarked, self._pyramid.ready = 0, []


# ---- what waits, when nothing is logged after it

_WRITERS: weakref.WeakSet[Writer] = weakref.WeakSet()
_WAITING: weakref.WeakSet[Writer] = weakref.WeakSet()
_WAKE = threading.Event()
_THREAD: threading.Thread | None = None
_STARTING = threading.RLock()  # a signal handler may log, too


def _later(writer: Writer) -> None:
    global _THREAD
    with _STARTING:
        _WAITING.add(writer)
        if _THREAD is None or not _THREAD.is_alive():
            _THREAD = threading.Thread(target=_flush_waiting, name="rewind-log", daemon=True)
            with contextlib.suppress(RuntimeError):  # the interpreter ends: then `finish` writes
                _THREAD.start()
    _WAKE.set()


def _flush_waiting() -> None:
    while True:
        _WAKE.wait()
        _WAKE.clear()
        time.sleep(SOON)
        with _STARTING:
            waiting = list(_WAITING)
            _WAITING.clear()
        for writer in waiting:
            writer._waits = False
            try:
                with writer.turn:
                    writer._try()
            except RewindError as error:
                writer._unsaid = error.with_traceback(None)
                if not isinstance(error, RevisionClosedError):  # that is in vain
                    with contextlib.suppress(Exception):
                        _later(writer)
        del waiting[:]
        writer = None  # type: ignore[assignment]


def forget_after_fork() -> None:
    """Drop what belongs to the parent process."""
    global _THREAD, _STARTING, _WAKE
    _THREAD, _STARTING, _WAKE = None, threading.RLock(), threading.Event()
    _WAITING.clear()
    for writer in _WRITERS:
        writer.turn = threading.RLock()  # a thread that is not here may have it
