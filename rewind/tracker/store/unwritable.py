"""A database in a folder that this process cannot write to: how to read it, with what was committed last.

SQLite keeps what was committed in a log beside the database, ``-wal``, until somebody who may write takes it up; and a
reader of the log needs an index beside it, ``-shm``, which it cannot make there. Without the log the last rows would
not exist.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
import threading
import time

from ...errors import StoreError

_TRIES, _PAUSE = 20, 0.05
_LOGS = ("-wal", "-journal")
_COPIES: dict[str, tuple[object, str]] = {}  # of this process: what was copied, and where to
_TURN = threading.RLock()


def may_write(folder: str) -> bool:
    """Whether this process may make files in a folder."""
    if os.access in os.supports_effective_ids:
        return os.access(folder, os.W_OK, effective_ids=True)
    return os.access(folder, os.W_OK)


def facts_of(path: str) -> tuple[object, ...]:
    """Return what tells that a database or its logs were written to."""
    found: list[object] = []
    for at in (path, *(f"{path}{log}" for log in _LOGS)):
        try:
            status = os.stat(at)
            found.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError:
            found.append(None)
    return tuple(found)


def has_log(path: str) -> bool:
    """Whether something waits in a log of the database."""
    for log in _LOGS:
        with contextlib.suppress(OSError):
            if os.stat(f"{path}{log}").st_size:
                return True
    return False


def copy_of(path: str) -> str:
    """Return the path of a copy of a database and its logs; made once, as long as nobody writes to them.

    Raises
    ------
    StoreError
        If there can be none. Then it is not read at all, since what was committed last would be missing.
    """
    with _TURN:
        facts, (known, at) = facts_of(path), _COPIES.get(path, (None, ""))
        if known == facts and os.path.isfile(at):
            return at
        try:
            _forget(path)
            for _ in range(_TRIES):
                at = _copied(path)
                _COPIES[path] = facts, at
                if facts_of(path) == facts:
                    return at
                _forget(path)
                time.sleep(_PAUSE)
                facts = facts_of(path)
        except OSError as error:
            raise _refused(path, f"a copy of it cannot be made: {error.strerror or error}") from None
        raise _refused(path, "it is being written to")


def _refused(path: str, why: str) -> StoreError:
    problem = f"its folder cannot be written to, the last rows are in a log beside it, and {why}"
    return StoreError("read", path, f"{problem}. Copy the whole folder to where you may write, and read that")


def _copied(path: str) -> str:
    folder = tempfile.mkdtemp(prefix="rewind-read-")
    target = os.path.join(folder, os.path.basename(path))
    try:
        shutil.copyfile(path, target)
        for log in _LOGS:
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{log}", f"{target}{log}")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return target


def _forget(path: str) -> None:
    _, at = _COPIES.pop(path, (None, ""))
    if at:
        shutil.rmtree(os.path.dirname(at), ignore_errors=True)


def _forget_all() -> None:
    for path in list(_COPIES):
        _forget(path)


atexit.register(_forget_all)
if hasattr(os, "register_at_fork"):  # a fork leaves its parent what is its parent's
    os.register_at_fork(after_in_child=_COPIES.clear)
