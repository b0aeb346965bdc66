"""One writer to a run: a lock that goes with the process that holds it, however that ends."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import warnings
import weakref
from typing import Any
from urllib.parse import quote

from ...errors import NoLockWarning, RunBusyError, StoreError
from ...storage.locks import is_locked, lock


class RunLock:
    """The lock of a run, held until `release`.

    Where the file system has no locks, its file says who holds it, and whether that process is still there is asked of
    the system: less sure, but a second writer is told.

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
        self.path, self._pid, self._locked = _path(folder, run_id), os.getpid(), True
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        except OSError as error:
            raise StoreError("lock", self.path, error.strerror or str(error)) from None
        try:
            self._locked = lock(self._fd)
            if not self._locked:
                self._require_nobody(run_id)
                warnings.warn(NoLockWarning(self.path), stacklevel=6)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, json.dumps(_this_process()).encode(), 0)
            _HELD.add(self)
        except BaseException as error:
            owner = _owner(self._fd)
            self._close()
            if isinstance(error, BlockingIOError) and not isinstance(error, RunBusyError):
                raise RunBusyError(run_id, *_named(owner)) from None
            if isinstance(error, OSError) and not isinstance(error, RunBusyError):
                raise StoreError("lock", self.path, error.strerror or str(error)) from None
            raise

    def _require_nobody(self, run_id: str) -> None:
        """Refuse a lock that a process which is still there has, as far as its file tells."""
        owner = _owner(self._fd)
        if owner is not None and _is_there(owner, self.path):
            marker = self.path if owner["host"] != platform.node() else None
            raise RunBusyError(run_id, owner["pid"], owner["host"], marker)

    def release(self) -> None:
        """Give it back; a second call does nothing."""
        if self._fd >= 0 and not self._locked and self._pid == os.getpid() and _owner(self._fd) == _this_process():
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)  # nobody has it
        self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.release()


def is_held(folder: str, run_id: str) -> bool:
    """Whether somebody writes to a run; nothing is changed, and False where that cannot be told."""
    path = _path(folder, run_id)
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return False
    try:
        held = is_locked(fd)
        if held is None:  # no locks there
            owner = _owner(fd)
            return owner is not None and _is_there(owner, path)
        return held
    finally:
        os.close(fd)


def _path(folder: str, run_id: str) -> str:
    return os.path.join(folder, "locks", f"{file_stem(run_id)}.lock")


def file_stem(run_id: str) -> str:
    """Return what the files of a run are called by: its id, as every file system takes it.

    Two ids that differ only in case have files that do not, so capital letters are written as ``%41`` and so on.
    """
    name = "".join(f"%{ord(c):02X}" if "A" <= c <= "Z" else quote(c, safe="") for c in run_id)
    if len(name) > 200:  # no file system takes it, and cut off it would be the name of another run, too
        name = f"{name[:100]}-{hashlib.blake2b(run_id.encode(), digest_size=16).hexdigest()}"
    return name


# ---- who has it


def _this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": platform.node(), "began": _began(os.getpid())}


def _owner(fd: int) -> dict[str, Any] | None:
    """Return what the file says of the process that has the lock; None where it says nothing."""
    try:
        facts = json.loads(os.pread(fd, 4096, 0))
        owner = {"pid": int(facts["pid"]), "host": str(facts["host"]), "began": facts.get("began")}
        return owner if owner["pid"] > 0 else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _named(owner: dict[str, Any] | None) -> tuple[int, str] | tuple[None, None]:
    return (None, None) if owner is None else (owner["pid"], owner["host"])


def _is_there(owner: dict[str, Any], path: str) -> bool:
    """Whether a process that had a lock is still there; of another machine nobody knows."""
    pid = owner["pid"]
    if owner["host"] != platform.node():
        return True
    if pid == os.getpid() and owner["began"] in (None, _began(pid)):
        return any(held.path == path and held._fd >= 0 for held in list(_HELD))
    if os.name != "posix":  # where there are locks, and this call would end that process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is there, and not ours
        pass
    return owner["began"] in (None, _began(pid))


def _began(pid: int) -> str | None:
    """Return when a process began, as the system counts: numbers of processes are given anew; None if unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError, UnicodeDecodeError):
        return None


_HELD: weakref.WeakSet[RunLock] = weakref.WeakSet()


def _forget_after_fork() -> None:
    # The lock belongs to the open file, which a fork shares: a worker that outlives its parent would keep it.
    for held in list(_HELD):
        held._close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
