"""Reading the journal of a recording in progress: an append-only file beside the target, with a frame for each block.

Why not the HDF5 file itself: one that grows loses data in a crash, or cannot be opened after it. The journal is written
with one call and one flush for each block, and what comes after a damaged frame is dropped. At the end the
target is written whole (`replay_file.save`), and the journal goes.
"""

from __future__ import annotations

import errno
import os
import platform
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..engine.block_log import Growth
from ..engine.recording import Recording
from ..errors import ArtifactError, ArtifactFormatError, ArtifactIOError, ArtifactVersionError, show
from ..state.codec import Row, StateCodec, UserCodec, row_bytes
from ..state.frozen import frozen
from ..state.spilled import SpilledRow
from . import frames, replay_file
from .files import open_regular, path_text
from .frames import LINE, BadFrame
from .hdf5.container import load_json
from .locks import is_locked

SUFFIX = ".journal"
#: States of at least so many bytes stay in the journal, and are read from there.
SPILL_BYTES = 1 << 20
_PIECE = 1 << 22


def journal_of(target: str) -> str:
    """Return where the journal of a file is."""
    return target + SUFFIX


def target_of(path: str | os.PathLike[str]) -> str:
    """Return the path of a file as text, a symlink followed, so that the journal is beside the file.

    From the root: a step may change the working directory.
    """
    name = path_text(path)
    name = os.path.realpath(name) if os.path.islink(name) else os.path.abspath(name)
    if name.endswith(SUFFIX):
        raise ArtifactFormatError(f"{show(name)} is the name of a journal; expected that of the file it becomes", name)
    return name


#: Why a recording is not complete whose program ended without a word.
CUT_OFF = "the recording program was cut off"
#: How the reason begins of one that another process is writing.
STILL = "the recording is still going on"


@frozen
class Owner:
    """The process that writes a journal, and the options of its recording.

    Attributes
    ----------
    pid : int
    host : str
    n_steps : int or None
        How many states there shall be; None where no length was given.
    stride : int or None
        How many blocks from one kept checkpoint to the next; None where they are thinned as it grows.
    """

    pid: int
    host: str
    n_steps: int | None
    stride: int | None

    @classmethod
    def here(cls, n_steps: int | None, stride: int | None) -> Owner:
        """Return this process."""
        return cls(os.getpid(), platform.node() or "localhost", n_steps, stride)

    def seems_alive(self) -> bool:
        """Whether there is a process of that number on this host; of another host nothing is known."""
        if self.host != (platform.node() or "localhost") or os.name != "posix":
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass
        return True


@dataclass
class Found:
    """What is in a journal.

    Attributes
    ----------
    path : str
    growth : Growth
    owner : Owner
        Who wrote last.
    writing : bool
        Whether somebody writes now.
    n_bytes, n_good : int
        Length of the file, and of its frames that hold.
    link : bytes
        Digest of the last of these.
    anchor : bytes
        Digest of the last that is no word about who writes or why it ended: what a part of the next block follows.
    part : (int, int) or None
        Where in the file what there is of the block under way begins and ends.
    end : str or None
        Content hash of the file that came of it, where it got that far.
    """

    path: str
    growth: Growth
    owner: Owner
    writing: bool = False
    n_bytes: int = 0
    n_good: int = 0
    link: bytes = b""
    anchor: bytes = b""
    part: tuple[int, int] | None = None
    end: str | None = None

    @property
    def n_damaged(self) -> int:
        """How many bytes at the end are of no use."""
        return self.n_bytes - self.n_good if self.part is None else 0

    def recording(self) -> Recording:
        """Return the finished blocks as a recording, with what is known of why it is not complete."""
        recording = self.growth.recording()
        if recording.stopped is None and not self.writing:
            recording = replace(recording, stopped=CUT_OFF)
        if self.writing:
            who = f"process {self.owner.pid} on {self.owner.host}"
            recording = replace(recording, stopped=f"{STILL}, by {who}")
        return recording


class Rows:
    """The journal as the rows in it are read: also when it has no name any more.

    Parameters
    ----------
    fd : int
        The journal, open. It is opened once more: a descriptor made of this one would hold its lock.
    path : str
    """

    def __init__(self, fd: int, path: str) -> None:
        self._lock, self._path = threading.Lock(), path
        self._fd = opened_again(fd, path)

    def read(self, at: int, n: int) -> bytes:
        """Return `n` bytes from byte `at` on."""
        try:
            data = self._bytes(at, n)
        except OSError as error:
            raise ArtifactIOError.of("read", self._path, error) from None
        if len(data) != n:
            raise ArtifactIOError("read", self._path, OSError(errno.EIO, "it is shorter than it was"))
        return data

    def _bytes(self, at: int, n: int) -> bytes:
        if not hasattr(os, "pread"):
            with self._lock:
                return bytes_at(self._fd, at, n)
        pieces = []  # no seek: forked children share the place in the file, and would share the lock
        while n and (piece := os.pread(self._fd, min(n, _PIECE), at)):
            pieces.append(piece)
            at, n = at + len(piece), n - len(piece)
        return b"".join(pieces)

    def __del__(self) -> None:
        try:
            os.close(self._fd)
        except (AttributeError, OSError):
            pass


def opened_again(fd: int, path: str, access: int = os.O_RDONLY) -> int:
    """Return the file that is open as `fd`, open once more (for reading): by its name, where that is still its own."""
    problem = OSError(errno.ENOENT, "it has another name now")
    for name in (path, f"/proc/self/fd/{fd}"):
        try:
            again = open_regular(name) if access == os.O_RDONLY else _open_too(name, access)
            try:
                if os.path.samestat(os.fstat(again), os.fstat(fd)):
                    again, found = -1, again
                    return found
            finally:
                if again >= 0:
                    os.close(again)
        except OSError as error:
            problem = error
    raise ArtifactIOError.of("read", path, problem)


def _open_too(name: str, access: int) -> int:
    for flag in ("O_CLOEXEC", "O_BINARY", "O_NONBLOCK"):
        access |= getattr(os, flag, 0)
    return os.open(name, access)


def spill(rows: Rows | None, fd: int, path: str, codec: StateCodec, row: Row, at: int) -> tuple[Row, Rows | None]:
    """Return `row` as it lies in the journal, in the payload that begins at byte `at`, where it is large."""
    inside = frames.spillable(codec, row) if row_bytes(row) >= SPILL_BYTES else None
    if inside is None:
        return row, rows
    rows = Rows(fd, path) if rows is None else rows
    assert codec.layout is not None
    return SpilledRow(rows, at + inside, codec.layout.columns), rows


# ---- reading


def read(path: str, codec: UserCodec | None = None, max_bytes: int | None = None, fd: int | None = None) -> Found:
    """Return what is in the journal at `path`; nothing is unpickled or run. A frame that does not hold ends it.

    Parameters
    ----------
    path : str
    codec : (encode, decode), optional
        The codec it is recorded with.
    max_bytes : int, optional
        As for `replay_file.load`, for what there was before the first block.
    fd : int, optional
        The journal, where it is open already.

    Raises
    ------
    ArtifactFormatError, ArtifactVersionError, ArtifactIntegrityError
        If it is no journal, or its beginning is damaged.
    ArtifactNotFoundError
        If it was cut off before there was anything in it.
    ArtifactIOError
        If the operating system says no.

    Notes
    -----
    O(size of the file) time. Every digest is checked; sizes are checked before they are believed. Beside the states
    that are kept of it, one frame at a time is in memory.
    """
    try:
        mine = open_regular(path) if fd is None else fd
        try:
            n_bytes = os.fstat(mine).st_size
            found = _read(mine, path, n_bytes, codec, max_bytes)
            found.writing = fd is None and _is_written(mine, found.owner)
            return found
        finally:
            if fd is None:
                os.close(mine)
    except OSError as error:
        if isinstance(error, ArtifactIOError):
            raise
        raise ArtifactIOError.of("read", path, error) from None
    except MemoryError:
        raise ArtifactFormatError("what it holds does not fit in memory", path) from None


def _is_written(fd: int, owner: Owner) -> bool:
    locked = is_locked(fd)
    return owner.seems_alive() if locked is None else locked


def _read(fd: int, path: str, n_bytes: int, codec: UserCodec | None, max_bytes: int | None) -> Found:
    line = bytes_at(fd, 0, len(LINE))
    if line != LINE:
        if LINE.startswith(line) or not any(line):  # zeros: its length was on the disk before its data
            raise _never_begun(path)
        if line.startswith(b"rewind journal ") and len(line) == len(LINE):
            raise ArtifactVersionError(2, 1, path)
        raise ArtifactFormatError("it is no journal of a recording", path)
    found: Found | None = None
    owner: Owner | None = None
    shapes: list[tuple[int, ...]] = []
    rows: Rows | None = None
    for kind, payload, end, link in _frames(fd, n_bytes):
        try:
            if kind == frames.OWNER:
                owner = _owner(payload, path)
            elif found is None:
                if kind != frames.HEADER or owner is None:
                    raise BadFrame("it does not begin with what there was at first")
                base = replay_file.file_of(bytes(payload), codec, max_bytes, path=path).recording
                found = Found(path, Growth(base, thin=owner.stride is None), owner)
                shapes = [table.shape for table in found.growth.base.metrics.values()]
            elif kind == frames.BLOCK:
                here = found.growth.base.checkpoints.codec
                done = frames.read_block(here, payload, shapes)
                begins = end - frames.DIGEST_BYTES - len(payload)
                row, rows = spill(rows, fd, path, here, done.row, begins)
                found.growth.add(replace(done, row=row))
                found.end = None
            elif kind == frames.STOP:
                found.growth.stop(frames.read_stop(payload, shapes))
            elif kind == frames.END:
                found.end = bytes(payload).hex()
            else:
                raise BadFrame(f"a frame of unknown kind {kind}")
        except (BadFrame, ValueError, TypeError, KeyError, OverflowError) as error:
            if isinstance(error, ArtifactError):
                raise
            raise ArtifactFormatError(f"byte {end:,} ends a frame that no recorder wrote: {error}", path) from None
        if found is not None and owner is not None:
            found.n_good, found.link, found.owner = end, link, owner
            if kind in (frames.HEADER, frames.BLOCK):
                found.anchor = link
    if found is None:
        if _goes_on(fd, n_bytes):
            raise ArtifactFormatError("a journal whose beginning is damaged", path)
        raise _never_begun(path)
    found.n_bytes = n_bytes
    _enter_part(fd, path, found, shapes)
    return found


def _enter_part(fd: int, path: str, found: Found, shapes: list[tuple[int, ...]]) -> None:
    """Enter what there is of the block under way, of the parts after the last frame that one that came furthest."""
    growth, best = found.growth, None
    base, at = growth.base, -(-found.n_good // frames.PART_AT) * frames.PART_AT
    start = replace(base, n_steps=1 << 61).grid.start(growth.block)
    while at + frames.HEAD_BYTES <= found.n_bytes:
        piece, size = bytes_at(fd, at, min(_PIECE, found.n_bytes - at)), 0
        for i in range(0, len(piece) - frames.HEAD_BYTES + 1, frames.PART_AT):
            head = piece[i : i + frames.HEAD_BYTES]
            if not any(head):
                continue
            try:
                length = frames.payload_length(head)
                size = frames.HEAD_BYTES + length + frames.DIGEST_BYTES
                if head[4] != frames.PART or size > found.n_bytes - at - i:
                    raise BadFrame("it is no part")
                _, payload = frames.open_frame(bytes_at(fd, at + i, size), found.anchor)
            except BadFrame:
                size = 0
                continue
            try:
                part = frames.read_part(base.checkpoints.codec, payload, shapes, start)
                if part is None:
                    raise ArtifactVersionError(2, 1, path)
                if best is None or part.t > best[0].t:
                    growth.enter(part)
                    best, found.part = (part,), (at + i, at + i + size)
            except (BadFrame, ValueError, TypeError, KeyError, OverflowError) as error:
                if isinstance(error, ArtifactError):
                    raise
                end = at + i + size
                raise ArtifactFormatError(f"byte {end:,} ends a frame that no recorder wrote: {error}", path) from None
            at += i
            break
        at += -(-size // frames.PART_AT) * frames.PART_AT if size else _PIECE


def _never_begun(path: str) -> ArtifactIOError:
    """Return the error for a journal whose recorder was cut off before there was a state in it."""
    problem = "the recording was cut off before there was anything in it"
    return ArtifactIOError.of("read", path, FileNotFoundError(errno.ENOENT, problem))


def last_owner(fd: int, path: str) -> Owner | None:
    """Return who wrote last, for people: no digest is looked at, and nothing else is read."""
    owner, at = None, len(LINE)
    while True:
        head = bytes_at(fd, at, frames.HEAD_BYTES)
        try:
            length = frames.payload_length(head)
            if head[4] == frames.OWNER:
                owner = _owner(memoryview(bytes_at(fd, at + frames.HEAD_BYTES, min(length, 1 << 16))), path)
        except BadFrame:
            return owner
        at += frames.HEAD_BYTES + length + frames.DIGEST_BYTES


def _goes_on(fd: int, n_bytes: int) -> bool:
    """Whether there is something after what there was at first: then that was whole once."""
    end = len(LINE)
    for _ in range(2):
        head = bytes_at(fd, end, frames.HEAD_BYTES)
        try:
            end += frames.HEAD_BYTES + frames.payload_length(head) + frames.DIGEST_BYTES
        except BadFrame:
            return len(head) == frames.HEAD_BYTES and any(head)
    return n_bytes > end


def _frames(fd: int, n_bytes: int) -> Iterator[tuple[int, memoryview, int, bytes]]:
    """Yield kind, payload, end and digest of each frame that holds."""
    at, link = len(LINE), frames.first_link()
    buffer, origin = b"", at
    while at < n_bytes:
        if at + frames.HEAD_BYTES > origin + len(buffer):
            buffer, origin = bytes_at(fd, at, min(_PIECE, n_bytes - at)), at
        try:
            length = frames.payload_length(buffer[at - origin : at - origin + frames.HEAD_BYTES])
            size = frames.HEAD_BYTES + length + frames.DIGEST_BYTES
            if size > n_bytes - at:
                return
            if at + size > origin + len(buffer):
                buffer, origin = bytes_at(fd, at, max(size, min(_PIECE, n_bytes - at))), at
            data = buffer[at - origin : at - origin + size]
            kind, payload = frames.open_frame(data, link)
        except BadFrame:
            return
        at, link = at + size, data[-frames.DIGEST_BYTES :]
        yield kind, payload, at, link


def bytes_at(fd: int, at: int, n: int) -> bytes:
    """Return `n` bytes of an open file from byte `at` on, fewer where it ends."""
    os.lseek(fd, at, os.SEEK_SET)
    pieces = []
    while n and (piece := os.read(fd, min(n, _PIECE))):
        pieces.append(piece)
        n -= len(piece)
    return b"".join(pieces)


def _owner(payload: memoryview, path: str) -> Owner:
    said = load_json(bytes(payload), path)
    host, numbers = said.get("host"), [said.get(name) for name in ("pid", "n_steps", "stride")]
    known = all(number is None or (type(number) is int and 0 < number < 1 << 62) for number in numbers)
    if len(said) != 4 or not known or numbers[0] is None or not isinstance(host, str) or len(host) > 1000:
        raise BadFrame("a writer that there cannot be")
    return Owner(numbers[0], host, *numbers[1:])


def is_there(path: str) -> bool:
    """Whether there is something at a path; what the operating system cannot say is an error."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ArtifactIOError.of("read", path, error) from None
    return True


def is_spent(found: Found, target: str) -> bool:
    """Whether a journal is what was left over when its file was finished."""
    if found.end is None:
        return False
    try:
        return replay_file.content_hash(replay_file.load(target).recording) == found.end
    except ArtifactError:
        return False
