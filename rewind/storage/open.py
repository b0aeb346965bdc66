"""Open what is at a path: a finished replay file, or the journal of a recording in progress."""

from __future__ import annotations

import os
import warnings

from ..engine.recording import Recording
from ..errors import ArtifactError, ArtifactIntegrityError, ArtifactNotFoundError, UnfinishedRecordingWarning
from ..state.codec import UserCodec
from ..state.frozen import frozen
from . import journal, replay_file
from .files import path_text
from .journal import Found


@frozen
class Opened:
    """What was found at a path: a recording, and the file or the journal it is from."""

    path: str
    recording: Recording
    n_bytes: int
    sealed: bool = False
    signed: bool = False
    found: Found | None = None


def open_run(
    path: str | os.PathLike[str],
    codec: UserCodec | None = None,
    max_bytes: int | None = None,
    reader: str = "strict",
    key: bytes | None = None,
    stacklevel: int = 3,
) -> Opened:
    """Return what is at `path`: the finished file, or else the finished blocks of a recording that has not become it.

    Raises
    ------
    ArtifactError
        As `replay_file.load` and `journal.read`; with a `key`, for a journal, which nobody has signed.

    Warns
    -----
    UnfinishedRecordingWarning
        If there is a finished file, and beside it a recording that is to replace it.
    """
    name = path_text(path)
    if name.endswith(journal.SUFFIX):
        return _open_journal(name, codec, max_bytes, key)
    beside = journal.journal_of(os.path.realpath(name) if os.path.islink(name) else name)
    try:
        file = replay_file.load(path, codec, max_bytes, reader, key)
    except ArtifactNotFoundError:
        try:
            if os.path.exists(beside):
                return _open_journal(beside, codec, max_bytes, key)
            raise
        except ArtifactNotFoundError:
            if not os.path.exists(name):
                raise
        # It was finished, and the journal removed, since it was looked for.
        file = replay_file.load(path, codec, max_bytes, reader, key)
    if os.path.exists(beside):
        _warn(name, beside, replay_file.content_hash(file.recording), codec, stacklevel)
    return Opened(name, file.recording, file.n_bytes, file.sealed, file.signed)


def _open_journal(path: str, codec: UserCodec | None, max_bytes: int | None, key: bytes | None) -> Opened:
    found = journal.read(path, codec, max_bytes)
    if key is not None:
        raise ArtifactIntegrityError("a recording that is not finished has no signature", path)
    return Opened(path, found.recording(), found.n_bytes, found=found)


def _warn(path: str, beside: str, content_hash: str, codec: UserCodec | None, stacklevel: int) -> None:
    try:
        found = journal.read(beside, codec)
    except ArtifactError:  # nothing in it, or gone
        return
    if found.end != content_hash and found.growth.block > found.growth.first:
        warnings.warn(UnfinishedRecordingWarning(path, beside, found.growth.n_steps), stacklevel=stacklevel + 1)
