"""Files: a regular one read whole, one written whole or not at all, and what killed processes left cleared away."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import secrets
import shutil
import stat
import time
import zlib
from collections.abc import Callable

from ..errors import ArgumentError, ArgumentTypeError, ArtifactFormatError, ArtifactIOError
from .memory import available_memory

MAX_FILE_BYTES = 4 << 30  # the file is read into memory; a sparse file of terabytes must not be

#: How the name begins of what is not finished; a name of ours, so that it may be removed.
TEMPORARY = ".rewind.tmp-"

_PIECE = 1 << 22
_LEFTOVER = r"\.rewind\.tmp-([0-9a-f]{8})-([0-9]{1,9})-[0-9a-f]{16}"
_HOUR, _DAY = 3600, 24 * 3600
_CLOEXEC_BINARY = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def read_file(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> bytes:
    """Return the bytes of the regular file at `path`, read once.

    Parameters
    ----------
    path : str or path-like
        A symlink is followed. A pipe or a device is refused, and never waited for.
    max_bytes : int, optional
        Refuse a longer file. Default: 4 GiB, or half of the memory that is available where that is more.

    Raises
    ------
    ArtifactNotFoundError, ArtifactIsADirectoryError, ArtifactPermissionError, ArtifactIOError
        If the operating system says no.
    ArtifactFormatError
        If the file is too long, or changed while it was read.
    """
    name = path_text(path)
    limit = MAX_FILE_BYTES if max_bytes is None else max_bytes
    try:
        fd = open_regular(name)
        try:
            before = os.fstat(fd)
            if before.st_size > limit and max_bytes is None and _is_full(before):
                limit = max(limit, available_memory() // 2)  # it is put together from pieces
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


def _is_full(status: os.stat_result) -> bool:
    """Whether a file takes the space that it is long: one of nothing but holes is made in no time."""
    return getattr(status, "st_blocks", 0) * 512 >= status.st_size // 2


def open_regular(name: str) -> int:
    """Return the regular file `name`, open for reading; anything else is an OSError, and never waited for."""
    # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
    fd = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _CLOEXEC_BINARY)
    try:
        require_regular(os.fstat(fd))
    except BaseException:
        os.close(fd)
        raise
    return fd


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

    def fill(fd: int) -> None:
        write_all(fd, data)
        os.fsync(fd)
        _read_back(fd, data)

    write_file_by(path, fill)


def write_file_by(path: str | os.PathLike[str], fill: Callable[[int], None]) -> None:
    """Write a file as `write_file` does, of whatever `fill` writes to an open file and makes sure of."""
    name = path_text(path)
    try:
        target = os.path.realpath(name) if os.path.islink(name) else name
        old = old_file(target)
        clear_leftovers(os.path.dirname(target) or os.curdir)
        if old is None:
            replace_file(target, fill)
        else:
            replace_file(target, fill, stat.S_IMODE(old.st_mode), exactly=True)
    except OSError as error:
        raise ArtifactIOError.of("write", name, error) from None
    try:
        flush_folder(os.path.dirname(target) or os.curdir)
    except OSError as error:
        doing = "make sure that a power cut would spare the new, complete file at"
        raise ArtifactIOError.of(doing, name, error) from None


def path_text(path: str | os.PathLike[str]) -> str:
    """Return a path as text, which may be what the file system calls bytes."""
    try:
        name = os.fsdecode(os.fspath(path))
    except TypeError:
        raise ArgumentTypeError("path", path, "a str or a path-like object") from None
    if "\0" in name:
        raise ArgumentError("path", path, "a path without NUL characters")
    return name


def require_regular(status: os.stat_result) -> None:
    """Refuse what is no regular file, with an OSError."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, not a regular file")


def old_file(target: str) -> os.stat_result | None:
    """Return the status of the file to be replaced, None if there is none; raise if it may not be replaced."""
    try:
        old = os.stat(target)
    except FileNotFoundError:
        folder = os.path.dirname(target) or os.curdir
        if not os.path.isdir(folder):
            raise FileNotFoundError(errno.ENOENT, f"there is no folder {folder}") from None
        return None
    require_regular(old)
    # A rename needs no right to the file it replaces; someone who took the write bits away meant it.
    if not old.st_mode & 0o222 or not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "the file is read-only")
    return old


def replace_file(target: str, fill: Callable[[int], None], permissions: int = 0o666, *, exactly: bool = False) -> None:
    """Put a new file in the place of `target`, whole or not at all: written under another name beside it, and renamed.

    The folder is not flushed, so a power cut right after may undo the rename.

    Parameters
    ----------
    target : str
    fill : callable
        Writes all of the file to an open one, and makes sure of it: it ends with ``os.fsync``.
    permissions : int
        Bits of the new file, less those of the umask; all of them where `exactly`.

    Raises
    ------
    OSError
        If the operating system says no. Then, and when `fill` raises, there is the old file, or none, and nothing else.
    """
    folder = os.path.dirname(target) or os.curdir
    temporary = os.path.join(folder, f"{TEMPORARY}{_host()}-{os.getpid()}-{secrets.token_hex(8)}")
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _CLOEXEC_BINARY, permissions & 0o777)
    try:
        try:
            if exactly and hasattr(os, "fchmod"):
                os.fchmod(fd, permissions)
            fill(fd)
        finally:
            os.close(fd)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data` to an open file, which takes as much at a time as it likes."""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left[:_PIECE]) :]


def _host() -> str:
    """Return a few characters that stand for this host."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def clear_leftovers(folder: str, prefix: str | None = None) -> None:
    """Remove what processes that were killed while they wrote left in a folder.

    Without a `prefix` these are the files of `replace_file` that a process of this host left which is gone, an hour or
    more after they were written to. With one, for a folder that is all ours, they are the files and folders whose names
    begin with it, of any host, a day or more after.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            ours = prefix is not None and entry.name.startswith(prefix)
            found = re.fullmatch(_LEFTOVER, entry.name) if prefix is None else None
            if not ours and found is None:
                continue
            with contextlib.suppress(OSError):  # gone meanwhile, or another user's
                age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                if ours and age < _DAY:
                    continue
                if found and not ours and (age < _HOUR or not _is_gone(found[1], int(found[2]))):
                    continue
                if ours and entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)


def _is_gone(host: str, pid: int) -> bool:
    """Whether there is no such process any more, as far as that can be known here."""
    if os.name != "posix" or host != _host():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is there, and not ours
        pass
    return False


def _read_back(fd: int, data: bytes) -> None:
    os.lseek(fd, 0, os.SEEK_SET)
    at = 0
    while piece := os.read(fd, _PIECE):
        if piece != data[at : at + len(piece)]:
            break
        at += len(piece)
    if at != len(data):
        raise OSError(errno.EIO, "what was read back is not what was written")


def flush_folder(folder: str) -> None:
    """Make sure of the names in a folder."""
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
