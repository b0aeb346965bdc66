"""One writer to a run: a lock that goes with the process that holds it, however that ends."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import warnings
import weakref
from urllib.parse import quote

from ...errors import NoLockWarning, RunBusyError, StoreError
from ...storage.locks import is_locked, lock


class RunLock:
    """The lock of a run, held until `release`.

    Parameters
    ----------
    folder : str
        Of the tracker.
    run_id : str

    Raises
    ------
    RunBusyError
        If another process, or another place in this one, has it; names it.
    StoreError
        If there can be no lock there.
    """

    _fd = -1

    def __init__(self, folder: str, run_id: str) -> None:
        path = _path(folder, run_id)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        except OSError as error:
            raise StoreError("lock", path, error.strerror or str(error)) from None
        try:
            if not lock(self._fd):
                warnings.warn(NoLockWarning(path), stacklevel=5)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, json.dumps({"pid": os.getpid(), "host": platform.node()}).encode(), 0)
            _HELD.add(self)
        except BlockingIOError:
            owner = _owner(self._fd)
            self.release()
            raise RunBusyError(run_id, *owner) from None
        except OSError as error:
            self.release()
            raise StoreError("lock", path, error.strerror or str(error)) from None
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give it back; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.release()


def is_held(folder: str, run_id: str) -> bool:
    """Whether somebody writes to a run; nothing is changed, and False where that cannot be told."""
    try:
        fd = os.open(_path(folder, run_id), os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return False
    try:
        return bool(is_locked(fd))
    finally:
        os.close(fd)


def _path(folder: str, run_id: str) -> str:
    return os.path.join(folder, "locks", f"{file_stem(run_id)}.lock")


def file_stem(run_id: str) -> str:
    """Return what the files of a run are called by: its id, as every file system takes it."""
    name = quote(run_id, safe="")
    if len(name) > 200:  # no file system takes it, and cut off it would be the name of another run, too
        name = f"{name[:100]}-{hashlib.blake2b(run_id.encode(), digest_size=16).hexdigest()}"
    return name


def _owner(fd: int) -> tuple[int, str] | tuple[None, None]:
    try:
        facts = json.loads(os.pread(fd, 4096, 0))
        return int(facts["pid"]), str(facts["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, None


_HELD: weakref.WeakSet[RunLock] = weakref.WeakSet()


def _forget_after_fork() -> None:
    # The lock belongs to the open file, which a fork shares: a worker that outlives its parent would keep it.
    for held in list(_HELD):
        held.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
