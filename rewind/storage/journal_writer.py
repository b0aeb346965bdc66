"""Writing the journal of a recording in progress: one process at a time, a frame for each block, then the file."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..engine.block_log import BlockDone, Stop
from ..engine.pace import Part
from ..engine.recording import Recording
from ..errors import (
    ArtifactBusyError,
    ArtifactError,
    ArtifactFormatError,
    ArtifactIOError,
    ArtifactNotFoundError,
    UnfinishedRecordingError,
)
from ..metrics.moments import Moments
from ..state.codec import Row, StateCodec, UserCodec
from . import frames, replay_file
from .files import flush_folder, old_file, require_regular, write_all
from .frames import LINE
from .journal import Found, Owner, Rows, bytes_at, is_spent, journal_of, last_owner, opened_again, read, spill
from .locks import lock
from .strict_json import dumps

DURABILITIES = ("block", "1s", "none")
_MOST_BLOCKS = 1 << 14  # between two frames that are written at once
_PIECE_SECONDS = 0.1
_ROOM = 1 << 16  # bytes for who writes, and why it ended

_OPEN: weakref.WeakSet[Journal] = weakref.WeakSet()


def _forget_after_fork() -> None:
    for journal in list(_OPEN):
        journal._abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


class Journal:
    """The journal of a file, open for writing by this process alone: the `Log` of a sweep.

    Parameters
    ----------
    target : str
        The file it will become.
    n_steps, stride : int or None
        See `Owner`.
    durability : {"block", "1s", "none"}
        When what is written is made sure of against a power cut: at each block, each second, or at the end. A killed
        process loses nothing that was written, whichever it is.

    Attributes
    ----------
    locked : bool
        False where the file system has no locks, so nobody keeps another writer away.
    found : Found or None
        What there was in it, for one that is taken up again.
    """

    def __init__(
        self, target: str, n_steps: int | None, stride: int | None, durability: str, create: bool = True
    ) -> None:
        self.target, self.path = target, journal_of(target)
        self.n_steps, self.stride = n_steps, stride
        self._durability, self._broken, self._gone = durability, "", False
        self._link, self._end, self._emptied = frames.first_link(), 0, False
        self._anchor = self._link
        # What there is of the block under way lies after the frames, with room between them for the next of these: it
        # is written anew, there or after itself, and the file is cut before it when its block is finished.
        self._part: tuple[int, int] | None = None
        self._ahead: tuple[int, int, bytes] | None = None  # the same of the block after that, and what it follows
        self._size, self._beside = 0, -1  # how long the file is at least; it open once more, to write anywhere
        self._codec, self._due = StateCodec(None), list[tuple[int, bytes]]()
        self._n_told, self._dirty = 0, False  # blocks that were taken; whether half a frame may be at the end
        self._rows: Rows | None = None
        self._many, self._told, self._flushed = 1, time.monotonic(), time.monotonic()
        self.found: Found | None = None
        self._fd = -1
        self._fd, self.locked = _open_locked(self.path, target, create)
        _OPEN.add(self)

    @classmethod
    def new(cls, target: str, n_steps: int | None, stride: int | None, durability: str) -> Journal:
        """Open the journal of a recording that begins.

        Raises
        ------
        ArtifactBusyError
            If another process records to it.
        UnfinishedRecordingError
            If there is one with finished blocks in it, which would be lost.
        ArtifactIOError
            If the operating system says no, or would in the end.
        """
        try:
            old_file(target)
        except OSError as error:
            raise ArtifactIOError.of("write", target, error) from None
        journal = cls(target, n_steps, stride, durability)
        try:
            _require_spent(journal._fd, journal.path, target)
            journal._call("empty", lambda: os.ftruncate(journal._fd, 0))
            journal._emptied = True
        except BaseException:
            journal.close()
            raise
        return journal

    @classmethod
    def again(cls, target: str, codec: UserCodec | None, durability: str) -> Journal:
        """Open the journal of a recording that was cut off, to go on after its last good frame.

        Raises
        ------
        ArtifactBusyError
            If another process records to it.
        ArtifactNotFoundError
            If there is none.
        """
        journal = cls(target, None, None, durability, create=False)
        try:
            journal.found = found = read(journal.path, codec, 1 << 62, journal._fd)
            journal.n_steps, journal.stride = found.owner.n_steps, found.owner.stride
            journal._link, journal._end, journal._anchor = found.link, found.n_good, found.anchor
            journal._part, journal._size = found.part, found.n_good if found.part is None else found.part[1]
            journal._codec, journal._n_told = found.growth.base.checkpoints.codec, found.growth.block
            if found.n_bytes > found.n_good and found.part is None:
                journal._call("cut what is damaged off", lambda: os.ftruncate(journal._fd, found.n_good))
                journal._flush()
        except BaseException:
            journal.close()
            raise
        return journal

    # ---- the Log of a sweep

    def begin(self, recording: Recording) -> None:
        """Write what there is before the first block."""
        owner = dumps(asdict(Owner.here(self.n_steps, self.stride)), separators=(", ", ": ")).encode()
        if self.found is None:
            self._codec, self._link = recording.checkpoints.codec, frames.first_link()
            self._n_told = recording.grid.n_blocks - 1
            header = replay_file.to_bytes(recording, path=self.target)
            self._write([(frames.OWNER, owner), (frames.HEADER, header)], LINE)
        else:
            self._write([(frames.OWNER, owner)])
        self._flush()
        self._call("make sure of", lambda: flush_folder(os.path.dirname(self.path) or os.curdir))
        self._told = time.monotonic()

    def begin_again(self, recording: Recording) -> None:
        """Take back every block of a recording that began here, and write what there is before the first one."""
        self._call("empty", lambda: os.ftruncate(self._fd, 0))
        self._part = self._ahead = None
        self._end, self._size, self._dirty, self._due = 0, 0, False, []
        self._link = self._anchor = frames.first_link()
        self.begin(recording)

    def many(self) -> int:
        """Return how many blocks may be finished between two calls of `add`."""
        return 1 if self._durability == "block" else self._many

    def add(self, done: Sequence[BlockDone], ahead: Part | None = None) -> list[Row]:
        """Write finished blocks; return their rows, which lie in the journal from now on where they are large.

        What is kept of the block after them is written before them, and is valid from when they are there.
        """
        # A sweep that was interrupted after this call adds a block again.
        new = [one for one in done if one.block >= self._n_told]
        if new and new[0].block != self._n_told:
            raise ArtifactFormatError(f"block {new[0].block} instead of block {self._n_told}", self.path)
        pieces = [(frames.BLOCK, frames.block_payload(self._codec, one)) for one in new]
        self._due, self._n_told = [*self._due, *pieces], self._n_told + len(new)
        if ahead is not None:
            self._keep(ahead)
        self._write()
        kept, at = [], self._end
        for one, (_, payload) in zip(reversed(new), reversed(pieces), strict=True):
            at -= len(payload) + frames.DIGEST_BYTES
            row, self._rows = spill(self._rows, self._fd, self.path, self._codec, one.row, at)
            kept.append(row)
            at -= frames.HEAD_BYTES
        kept += [one.row for one in reversed(done[: len(done) - len(new)])]
        now = time.monotonic()
        if self._durability == "block" or (self._durability == "1s" and now - self._flushed >= 1.0):
            self._flush()
        if now - self._told < _PIECE_SECONDS / 2:
            self._many = min(2 * self._many, _MOST_BLOCKS)
        elif now - self._told > _PIECE_SECONDS:
            self._many = max(1, self._many // 2)
        self._told = time.monotonic()
        return kept[::-1]

    def keep(self, part: Part) -> None:
        """Write what there is of the block under way, in the place of what there was of it.

        Two of them lie in the file by turns, so that one is whole at any time. What is too large for a frame is not
        kept.
        """
        self._write()
        self._keep(part)
        if self._ahead is not None:
            self._part, self._ahead = self._ahead[:2], None

    def _keep(self, part: Part) -> None:
        """Write a part that follows what is due, beside the one there is."""
        payload = frames.part_payload(self._codec, part)
        if len(payload) > frames.most(frames.PART):
            return
        link, end = self._link if self._due else self._anchor, self._end
        for kind, due in self._due:
            framed = frames.frame(kind, due, link)
            link, end = framed[-frames.DIGEST_BYTES :], end + len(framed)
        data = frames.frame(frames.PART, payload, link)
        # The block will be a frame of about that length, but for the numbers of metrics.
        at = _aligned(end + 2 * len(data) + _ROOM)
        if self._part is not None and at + len(data) > self._part[0]:
            at = _aligned(max(at, self._part[1]))
        self._write_at(at, data)
        if self._durability != "none":
            self._flush()
        self._ahead = at, at + len(data), link

    # ---- how it ends

    def stop(self, recording: Recording) -> None:
        """Write how far a sweep came that ended early; where that cannot be, the finished blocks are what there is."""
        if not self._end:  # not begun: a frame after nothing would be in the way of the next recording
            return
        block, pieces = recording.grid.n_blocks - 1, []
        if block == self._n_told:  # neither in a block that is finished here, nor in one that was not told any more
            tails: list[Moments] = [table.tail for table in recording.metrics.values()]
            stop = Stop(block, recording.n_steps, recording.tail_digest, tuple(tails), recording.stopped or "")
            pieces = [(frames.STOP, frames.stop_payload(stop))]
        with contextlib.suppress(ArtifactError):
            self._write(pieces)
            self._flush()

    def finish(self, recording: Recording) -> None:
        """Write the target, and remove the journal.

        Raises
        ------
        ArtifactIOError
            If the operating system says no: then the journal is still there.
        """
        try:
            self._write([(frames.END, bytes.fromhex(replay_file.content_hash(recording)))])
            self._flush()
        except ArtifactIOError:
            if not self._gone:  # then there is nothing to go on from: better the file now than neither
                raise
        replay_file.save(recording, self.target)
        self._unlink()
        self.close()

    def close(self) -> None:
        """Close the file and let go of its lock; what is written stays, but for a file with nothing in it."""
        if self._fd < 0:
            return
        _OPEN.discard(self)
        with contextlib.suppress(OSError):
            # Not one that another recorder left, and that this one was refused.
            if not self._end and (self._emptied or not os.fstat(self._fd).st_size):
                self._unlink()
        fds, self._fd, self._beside = (self._fd, self._beside), -1, -1
        for fd in fds:
            if fd >= 0:
                with contextlib.suppress(OSError):  # what there is to be sure of was flushed
                    os.close(fd)

    def _unlink(self) -> None:
        """Remove the journal, if what has its name is this one; what is left over is seen to be so."""
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(self._fd), os.lstat(self.path)):
                os.unlink(self.path)

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # at the end of the program anything may be gone already
            pass

    def _abandon(self) -> None:
        """Let go in a forked child: the parent writes on."""
        fd, self._fd = self._fd, -1
        beside, self._beside = self._beside, -1
        if beside >= 0:
            os.close(beside)
        self._broken = "it belongs to the process this one was forked from"
        if fd >= 0:
            os.close(fd)

    # ---- bytes

    def _write(self, pieces: Sequence[tuple[int, bytes]] = (), head: bytes = b"") -> None:
        """Write what is due and `pieces`; what of it is due stays so when it cannot be written."""
        if self._fd < 0 or self._broken:
            problem = self._broken or "it is closed"
            raise ArtifactIOError("write", self.path, OSError(9, problem))
        data, link = [head], self._link
        # A frame is of use only after all those before it.
        for kind, payload in (*self._due, *pieces):
            if len(payload) > frames.most(kind):
                raise ArtifactFormatError(
                    f"{len(payload):,} bytes are more than a frame of a journal holds ({frames.most(kind):,})",
                    self.path,
                )
            data.append(frames.frame(kind, payload, link))
            link = data[-1][-frames.DIGEST_BYTES :]
        whole = b"".join(data)
        end = self._end + len(whole)
        kinds = {kind for kind, _ in (*self._due, *pieces)}
        try:
            self._require_there()
            self._clean()
            if self._part is not None or self._ahead is not None:
                if whole:
                    self._write_before_part(whole)
            else:
                self._dirty = True
                write_all(self._fd, whole)
            self._link, self._end, self._due, self._dirty = link, end, [], False
            self._size = max(self._size, end)
            if kinds & {frames.HEADER, frames.BLOCK}:
                self._anchor = link
                self._next_part()
        except BaseException as error:  # Ctrl-C as well: what is written next would come after half a frame
            with contextlib.suppress(OSError):
                self._clean()
            if isinstance(error, OSError) and not isinstance(error, ArtifactIOError):
                raise ArtifactIOError.of("write", self.path, error) from None
            raise

    def _write_before_part(self, data: bytes) -> None:
        """Write frames between the last one and what there is of the block under way, which is moved for long ones."""
        if self._part is not None and self._end + len(data) > self._part[0]:
            first, end = self._part
            part = bytes_at(self._opened_beside(), first, end - first)
            at = _aligned(max(self._size, self._end + len(data) + _ROOM))
            self._write_at(at, part)
            self._part = at, at + len(part)
            self._flush()
        self._write_at(self._end, data)

    def _write_at(self, at: int, data: bytes) -> None:
        """Write anywhere in the file, for which it is open once more: what it is locked by appends."""
        self._require_there()
        fd = self._opened_beside()
        try:
            os.lseek(fd, at, os.SEEK_SET)
            write_all(fd, data)
        except OSError as error:
            raise ArtifactIOError.of("write", self.path, error) from None
        finally:
            with contextlib.suppress(OSError):
                self._size = min(max(self._size, at + len(data)), os.fstat(self._fd).st_size)

    def _opened_beside(self) -> int:
        if self._beside < 0:
            self._beside = opened_again(self._fd, self.path, os.O_RDWR)
        return self._beside

    def _next_part(self) -> None:
        """Leave what there was of a block that is finished; cut it off, where nothing is kept of the next."""
        part, ahead = self._part, self._ahead
        self._part = self._ahead = None
        if ahead is not None and ahead[2] == self._anchor:
            self._part = ahead[:2]
        elif part is not None or ahead is not None:
            self._call("cut", lambda: os.ftruncate(self._fd, self._end))
            self._size = self._end

    def _require_there(self) -> None:
        """Refuse to write to a file that is another one now, or shorter: what is written would be lost."""
        try:
            here = os.fstat(self._fd)
            there = os.stat(self.path)
        except FileNotFoundError:
            problem = "it was deleted or moved while it was recorded to"
        except OSError as error:
            raise ArtifactIOError.of("write", self.path, error) from None
        else:
            if os.path.samestat(here, there) and here.st_size >= self._size:
                return
            problem = "another file took its place" if here.st_size >= self._size else "it was cut short"
            problem += " while it was recorded to"
        self._broken, self._gone = problem, True
        raise ArtifactIOError("write", self.path, OSError(errno.ESTALE, problem))

    def _clean(self) -> None:
        """Cut off what there may be of a frame that was not written to its end."""
        if self._dirty and self._part is None and self._ahead is None:
            os.ftruncate(self._fd, self._end)
            self._dirty = False

    def _flush(self) -> None:
        def flush() -> None:
            getattr(os, "fdatasync", os.fsync)(self._fd)

        try:
            self._call("flush", flush)
        except ArtifactIOError as error:
            # What a failed flush leaves on the disk nobody knows, and the next one would not say.
            self._broken = f"flushing failed before ({error.strerror})"
            raise
        self._flushed = time.monotonic()

    def _call(self, doing: str, call: Any) -> None:
        try:
            call()
        except OSError as error:
            raise ArtifactIOError.of(doing, self.path, error) from None


def _aligned(at: int) -> int:
    """Return where a part may begin, from byte `at` on."""
    return -(-at // frames.PART_AT) * frames.PART_AT


def _open_locked(path: str, target: str, create: bool) -> tuple[int, bool]:
    """Return the journal at `path`, open and locked, and whether it could be locked; made with the rights of `target`.

    Without `create` it has to be there already: one that is gone was finished by another process meanwhile.
    """
    flags = os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0)
    for name in ("O_CLOEXEC", "O_BINARY", "O_NONBLOCK", "O_NOFOLLOW"):
        flags |= getattr(os, name, 0)
    try:
        old = old_file(target)
        rights = 0o666 if old is None else stat.S_IMODE(old.st_mode) & 0o777
        while True:
            fd = os.open(path, flags, rights)
            try:
                require_regular(os.fstat(fd))
                locked = lock(fd)
                # Another recorder may have finished, and removed the file this one waited for.
                if os.path.exists(path) and os.path.samestat(os.fstat(fd), os.stat(path)):
                    if not locked:
                        _require_alone(fd, path)
                    return fd, locked
            except BlockingIOError:
                owner = _owner_of(fd, path)
                os.close(fd)
                raise (ArtifactBusyError(path, owner.pid, owner.host) if owner else ArtifactBusyError(path)) from None
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
    except OSError as error:
        if isinstance(error, ArtifactIOError):
            raise
        raise ArtifactIOError.of("write" if create else "read", path, error) from None


def _owner_of(fd: int, path: str) -> Owner | None:
    try:
        return last_owner(fd, path)
    except (ArtifactError, OSError):
        return None


def _require_alone(fd: int, path: str) -> None:
    """Refuse a journal without a lock whose last writer is seen to be there."""
    owner = _owner_of(fd, path)
    if owner is not None and owner.pid != os.getpid() and owner.seems_alive():
        raise ArtifactBusyError(path, owner.pid, owner.host)


def _require_spent(fd: int, path: str, target: str) -> None:
    """Refuse to begin where finished blocks would be lost."""
    try:
        found = read(path, None, 1 << 62, fd)
    except ArtifactNotFoundError:
        return  # cut off before there was a state in it
    except ArtifactFormatError as error:
        raise ArtifactFormatError("it is in the way of a recording, and no journal that can be read", path) from error
    part = found.growth.part
    if (found.growth.block == found.growth.first and part is None) or is_spent(found, target):
        return
    raise UnfinishedRecordingError(path, target, found.growth.n_steps if part is None else part.t + 1)
