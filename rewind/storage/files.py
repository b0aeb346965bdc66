"""A regular file read whole, and a file written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable

from ..errors import ArgumentError, ArgumentTypeError, ArtifactFormatError, ArtifactIOError

MAX_FILE_BYTES = 4 << 30  # the file is read into memory; a sparse file of terabytes must not be

_PIECE = 1 << 22
_CLOEXEC_BINARY = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def read_file(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> bytes:
    """Return the bytes of the regular file at `path`, read once.

    Parameters
    ----------
    path : str or path-like
        A symlink is followed. A pipe or a device is refused, and never waited for.
    max_bytes : int, optional
        Refuse a longer file. Default 4 GiB.

    Raises
    ------
    ArtifactNotFoundError, ArtifactIsADirectoryError, ArtifactPermissionError, ArtifactIOError
        If the operating system says no.
    ArtifactFormatError
        If the file is too long, or changed while it was read.
    """
    name = _text(path)
    limit = MAX_FILE_BYTES if max_bytes is None else max_bytes
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
        fd = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _CLOEXEC_BINARY)
        try:
            before = os.fstat(fd)
            _require_regular(before)
            if before.st_size > limit:
                raise ArtifactFormatError(
                    f"the file has {before.st_size:,} bytes, more than the limit of {limit:,}; "
                    "max_bytes= sets another limit",
                    name,
                )
            pieces, left = [], before.st_size + 1
            while left and (piece := os.read(fd, min(left, _PIECE))):
                pieces.append(piece)
                left -= len(piece)
            after = os.fstat(fd)
        finally:
            os.close(fd)
    except OSError as error:
        if isinstance(error, ArtifactIOError):
            raise
        raise ArtifactIOError.of("read", name, error) from None
    except MemoryError:
        raise ArtifactFormatError("the file does not fit in memory", name) from None
    if left != 1 or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise ArtifactFormatError("the file changed while it was read; try again when nothing writes to it", name)
    return b"".join(pieces)


def write_file(path: str | os.PathLike[str], data: bytes, *, check: Callable[[bytes], None] | None = None) -> None:
    """Write `data` to `path` so that a crash or a power cut leaves the old file or the new one, whole.

    A temporary file beside the target is written, flushed, read back and renamed over the target; then the folder is
    flushed.

    Parameters
    ----------
    path : str or path-like
        A symlink stays; the file it points to is replaced. The permission bits of an old file are kept.
    data : bytes
        All of the new file.
    check : callable, optional
        Called with `data` before the disk is touched; what it raises is passed on.

    Raises
    ------
    ArtifactNotFoundError, ArtifactIsADirectoryError, ArtifactPermissionError, ArtifactIOError
        If the operating system says no. The old file is as it was and no temporary file is left, with one exception: if
        only flushing the folder failed, the new file is in place, and the message says so.
    """
    if check is not None:
        check(data)
    name = _text(path)
    try:
        target = os.path.realpath(name) if os.path.islink(name) else name
        old = _old_file(target)
        temporary = _write_beside(target, data, old)
        try:
            os.replace(temporary, target)
        except BaseException:
            _remove(temporary)
            raise
    except OSError as error:
        raise ArtifactIOError.of("write", name, error) from None
    try:
        _flush_folder(os.path.dirname(target) or os.curdir)
    except OSError as error:
        doing = "make sure that a power cut would spare the new, complete file at"
        raise ArtifactIOError.of(doing, name, error) from None


def _text(path: str | os.PathLike[str]) -> str:
    try:
        name = os.fsdecode(os.fspath(path))
    except TypeError:
        raise ArgumentTypeError("path", path, "a str or a path-like object") from None
    if "\0" in name:
        raise ArgumentError("path", path, "a path without NUL characters")
    return name


def _require_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, not a regular file")


def _old_file(target: str) -> os.stat_result | None:
    """Return the status of the file to be replaced, None if there is none; raise if it may not be replaced."""
    try:
        old = os.stat(target)
    except FileNotFoundError:
        folder = os.path.dirname(target) or os.curdir
        if not os.path.isdir(folder):
            raise FileNotFoundError(errno.ENOENT, f"there is no folder {folder}") from None
        return None
    _require_regular(old)
    # A rename needs no right to the file it replaces; someone who took the write bits away meant it.
    if not old.st_mode & 0o222 or not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "the file is read-only")
    return old


def _write_beside(target: str, data: bytes, old: os.stat_result | None) -> str:
    """Write `data` to a new file in the folder of `target`, see that it arrived, and return the new file's name."""
    folder = os.path.dirname(target) or os.curdir
    temporary = os.path.join(folder, f".rewind.tmp-{os.getpid()}-{secrets.token_hex(8)}")
    permissions = 0o666 if old is None else stat.S_IMODE(old.st_mode)
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _CLOEXEC_BINARY, permissions & 0o777)
    try:
        try:
            if old is not None and hasattr(os, "fchmod"):
                os.fchmod(fd, permissions)  # the umask took bits away that the old file had
            left = memoryview(data)
            while left:
                left = left[os.write(fd, left[:_PIECE]) :]
            os.fsync(fd)
            _read_back(fd, data)
        finally:
            os.close(fd)
    except BaseException:
        _remove(temporary)
        raise
    return temporary


def _read_back(fd: int, data: bytes) -> None:
    os.lseek(fd, 0, os.SEEK_SET)
    at = 0
    while piece := os.read(fd, _PIECE):
        if piece != data[at : at + len(piece)]:
            break
        at += len(piece)
    if at != len(data):
        raise OSError(errno.EIO, "what was read back is not what was written")


def _remove(temporary: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(temporary)


def _flush_folder(folder: str) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows: a folder cannot be opened, and its rename is journaled
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC_BINARY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that have nothing to flush
            raise
    finally:
        os.close(fd)
