"""Contents of artifacts: files called by the blake2b of their bytes, each there once and never changed; and manifests.

A manifest is the list of an artifact's files, sorted by path: ``[[path, digest, size, executable], ...]``, paths with
``/``. Its text is JSON without blanks, all ASCII, and the digest of an artifact is the blake2b of that text.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any, NamedTuple

from ...errors import RewindError, StoreDamagedError, StoreError, TrackedArtifactError
from ...storage.files import TEMPORARY, clear_leftovers, flush_folder, open_regular, replace_file, write_all

CONTENTS = "contents"
_PIECE = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")
# A folder named C: is none elsewhere; a file named a:b is one of any other system but Windows.
_DRIVE = re.compile(r"[A-Za-z]:(?:[/\\]|$)")


class File(NamedTuple):
    """One file of an artifact."""

    path: str
    digest: str
    size: int
    executable: bool


# ---- manifests


def manifest_text(files: Iterable[Sequence[Any]]) -> str:
    """Return the canonical text of a manifest, whatever the order of `files`."""
    return json.dumps(sorted((File(*file) for file in files), key=lambda file: file.path), separators=(",", ":"))


def manifest_digest(manifest: str | Iterable[Sequence[Any]]) -> str:
    """Return the digest of a manifest, given as its text or as its files."""
    files = manifest_of(manifest) if isinstance(manifest, str) else manifest
    return hashlib.blake2b(manifest_text(files).encode(), digest_size=32).hexdigest()


def manifest_of(text: str, where: str = "a manifest") -> tuple[File, ...]:
    """Return the files of a manifest.

    Raises
    ------
    StoreDamagedError
        If `text` is none; the error names `where`. That no path leads elsewhere is for `parts_of` to say.
    """
    try:
        files = tuple(File(*entry) for entry in json.loads(text))
    except (ValueError, TypeError, RecursionError):
        raise StoreDamagedError("read", where, "it is no manifest") from None
    for path, digest, size, executable in files:
        sound = type(path) is str and type(digest) is str and type(size) is int and type(executable) is bool
        if not sound or not _DIGEST.fullmatch(digest) or size < 0:
            raise StoreDamagedError("read", where, f"it is no manifest: {path!r} is no file of one")
    if len({file.path for file in files}) < len(files):
        raise StoreDamagedError("read", where, "it is no manifest: it has a path twice")
    return files


def parts_of(path: str) -> list[str] | None:
    """Return the parts of a path of a manifest; None if it could lead out of a folder that it is put in."""
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts) or _DRIVE.match(path):
        return None
    if os.name == "nt" and ("\\" in path or ":" in path):
        return None
    return parts


# ---- contents


def content_path(folder: str, digest: str) -> str:
    """Return where the content with that digest is, or would be, in a tracker's folder."""
    if not _DIGEST.fullmatch(digest):
        raise StoreDamagedError("find", os.path.join(folder, CONTENTS), f"{digest!r} is no digest of a content")
    return os.path.join(folder, CONTENTS, digest[:2], digest)


def has_content(folder: str, digest: str, size: int) -> bool:
    """Whether the content is there, by its length. O(1)."""
    try:
        status = os.stat(content_path(folder, digest))
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size


def problem_of(path: str, digest: str, size: int | None = None) -> str | None:
    """Return what is wrong with a content, None for one that is as it was kept. O(its size), not in memory."""
    found, n = hashlib.blake2b(digest_size=32), 0
    try:
        fd = open_regular(path)
        try:
            if size is not None and os.fstat(fd).st_size != size:
                return f"it has {os.fstat(fd).st_size:,} bytes, and {size:,} were kept"
            while piece := os.read(fd, _PIECE):
                found.update(piece)
                n += len(piece)
        finally:
            os.close(fd)
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return f"it cannot be read: {said(error)}"
    return None if found.hexdigest() == digest else "its bytes are not those that were kept"


def digest_of(path: str) -> str:
    """Return what a file would be called as a content. O(its size), not in memory."""
    found = hashlib.blake2b(digest_size=32)
    for piece in content_pieces(path, path):
        found.update(piece)
    return found.hexdigest()


def add_content(folder: str, source: bytes | IO[bytes], digest: str) -> bool:
    """Add a content whose digest is known, of its bytes or of a stream of just these.

    Returns
    -------
    new : bool
        False if it was there already, whole; then `source` is not read.

    Raises
    ------
    StoreDamagedError
        If `source` has another digest; then nothing is added.
    StoreError
        If it cannot be written.
    """
    target = content_path(folder, digest)
    if problem_of(target, digest) is None:
        return False
    pieces = iter([source]) if isinstance(source, bytes) else _of_stream(source)
    wrong = StoreDamagedError("add", target, "the bytes that were given for it have another digest")
    put(target, checked(pieces, digest, wrong))
    settle(folder, [digest])
    return True


def add_file(folder: str, path: str) -> tuple[str, int, bool, bool]:
    """Add the bytes of a regular file, which is read in pieces; twice, if they are new.

    Returns
    -------
    digest, size, executable, new
        `new` contents are sure to be on the disk after `settle`.

    Raises
    ------
    TrackedArtifactError
        If it is no regular file, cannot be read, or changes meanwhile.
    StoreError
        If it cannot be kept.
    """
    with _reading(path):
        fd = open_regular(path)
    try:
        before = os.fstat(fd)
        size, executable = before.st_size, os.name == "posix" and bool(before.st_mode & 0o100)
        found = hashlib.blake2b(digest_size=32)
        for piece in _of_file(fd, path, before):
            found.update(piece)
        digest = found.hexdigest()
        new = not has_content(folder, digest, size)
        if new:
            # The digest says where it goes, so it is known before the first byte is written.
            with _reading(path):
                os.lseek(fd, 0, os.SEEK_SET)
            put(content_path(folder, digest), checked(_of_file(fd, path, before), digest, _changed(path)))
    finally:
        os.close(fd)
    return digest, size, executable, new


def settle(folder: str, digests: Iterable[str]) -> None:
    """Make sure that new contents survive a power cut; and remove what killed processes left beside them."""
    homes = {os.path.dirname(content_path(folder, digest)) for digest in digests}
    for home in [*sorted(homes), os.path.join(folder, CONTENTS), folder] if homes else []:
        try:
            flush_folder(home)
        except OSError as error:
            raise StoreError("write to", home, said(error)) from None
    for home in homes:
        clear_leftovers(home, TEMPORARY)


def put(target: str, pieces: Iterable[bytes], permissions: int = 0o666) -> None:
    """Write a file whole or not at all; its folder is made where there is none.

    Raises
    ------
    StoreError
        If the disk says no. That, and what `pieces` raises, leaves the old file, or none.
    """

    def fill(fd: int) -> None:
        for piece in pieces:
            write_all(fd, piece)
        os.fsync(fd)

    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        replace_file(target, fill, permissions)
    except RewindError:  # of `pieces`; some are an OSError, too
        raise
    except OSError as error:
        raise StoreError("write", target, said(error)) from None


def checked(pieces: Iterable[bytes], digest: str, wrong: Exception) -> Iterator[bytes]:
    """Yield `pieces`, and raise `wrong` at the end if their digest is another one."""
    found = hashlib.blake2b(digest_size=32)
    for piece in pieces:
        found.update(piece)
        yield piece
    if found.hexdigest() != digest:
        raise wrong


def content_pieces(path: str, of: str) -> Iterator[bytes]:
    """Yield the bytes of a content; errors name what it is the content `of`."""
    try:
        fd = open_regular(path)
        try:
            while piece := os.read(fd, _PIECE):
                yield piece
        finally:
            os.close(fd)
    except FileNotFoundError:
        raise StoreDamagedError("read", path, f"the content of {of} is missing") from None
    except OSError as error:
        raise StoreError("read", path, f"it is the content of {of}: {said(error)}") from None


def said(error: OSError) -> str:
    """Return what the operating system said."""
    return error.strerror or str(error)


def _of_stream(stream: IO[bytes]) -> Iterator[bytes]:
    reading: Callable[[], bytes] = lambda: stream.read(_PIECE)  # noqa: E731
    try:
        yield from iter(reading, b"")
    except OSError as error:
        raise StoreError("read", getattr(stream, "name", "the content that was given"), said(error)) from None


def _of_file(fd: int, path: str, before: os.stat_result) -> Iterator[bytes]:
    """Yield the bytes of a file that is to be kept, from where it stands."""
    left = before.st_size
    with _reading(path):
        while piece := os.read(fd, _PIECE):
            left -= len(piece)
            if left < 0:  # it may grow for ever
                break
            yield piece
        after = os.fstat(fd)
    if left or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise _changed(path)


def _changed(path: str) -> TrackedArtifactError:
    return TrackedArtifactError(
        f"cannot keep {path}: it changed while it was read; try again when nothing writes to it"
    )


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    """Say in the package's words what is wrong with a file that is to be kept."""
    try:
        yield
    except RewindError:
        raise
    except OSError as error:
        raise TrackedArtifactError(f"cannot keep {path}: {said(error)}") from None
