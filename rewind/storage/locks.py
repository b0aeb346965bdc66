"""File locks: an exclusive lock on an open file, which goes with the process that holds it."""

from __future__ import annotations

import errno
import os
import time

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: What file systems without locks answer: some network mounts, and FUSE.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_WINDOWS_AT = 1 << 62  # a locked byte cannot be read there, so it is one that no file has
_TRIES, _PAUSE = 20, 0.01  # whoever only asks holds the lock for microseconds


def lock(fd: int) -> bool:
    """Lock an open file for this process alone; return False where the file system has no locks.

    Raises
    ------
    BlockingIOError
        If another process, or another place in this one, has it.
    """
    for left in range(_TRIES, -1, -1):
        try:
            _lock(fd)
            return True
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return False
            if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                raise
            if not left:
                raise BlockingIOError(errno.EAGAIN, "it is locked") from None
        time.sleep(_PAUSE)
    raise AssertionError("not reached")


def is_locked(fd: int) -> bool | None:
    """Whether another process has the lock of an open file; None where the file system cannot tell."""
    try:
        _lock(fd, shared=True)
    except OSError as error:
        return None if error.errno in _NO_LOCKS else True
    _unlock(fd)
    return False


def _lock(fd: int, shared: bool = False) -> None:
    if fcntl is not None:
        # flock and not lockf: a lockf lock is gone when this process closes the file anywhere, a reader included.
        # Shared by those who only ask, or two of them would each take the other for a writer.
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        return
    import msvcrt

    os.lseek(fd, _WINDOWS_AT, os.SEEK_SET)
    msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]


def _unlock(fd: int) -> None:
    if fcntl is not None:
        fcntl.flock(fd, fcntl.LOCK_UN)
        return
    import msvcrt

    os.lseek(fd, _WINDOWS_AT, os.SEEK_SET)
    msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined, unused-ignore]
