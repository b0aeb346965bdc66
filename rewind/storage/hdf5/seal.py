"""The seal: one JSON line in the HDF5 user block that holds the length and the digest of the file.

HDF5 tools skip the user block, ``head -1 run.replay`` shows it, and the reader checks it before it parses a byte.
The digest guards against damage, not against an author: whoever changes the file can seal it again.
"""

from __future__ import annotations

import hashlib
import re

from ...errors import ArtifactFormatError, ArtifactIntegrityError, ArtifactVersionError
from ..strict_json import dumps

SEAL_VERSION = 1
SEAL_BYTES = 512  # the smallest user block HDF5 allows
SIGNATURE = b"\x89HDF\r\n\x1a\n"

_OPENING = b'{"rewind":'
_LINE = rb'\{"rewind":([0-9]{1,9}),"bytes":([0-9]{1,18}),"blake2b":"([0-9a-f]{64})"\}\n'
_VERSION = rb'\{"rewind":([0-9]{1,9})[,}]'


def seal(body: bytes | memoryview) -> bytes:
    """Return the 512 bytes that go before `body`."""
    hash_ = blank_seal()
    hash_.update(body)
    return seal_line(SEAL_BYTES + len(body), hash_.hexdigest())


def blank_seal() -> hashlib.blake2b:
    """Return the hash that a body is fed to."""
    return hashlib.blake2b(digest_size=32)


def seal_line(n_bytes: int, digest: str) -> bytes:
    """Return the seal of a file of `n_bytes` bytes whose body has `digest`."""
    fields = {"rewind": SEAL_VERSION, "bytes": n_bytes, "blake2b": digest}
    return (dumps(fields).encode() + b"\n").ljust(SEAL_BYTES, b"\0")


def check_seal(data: bytes, path: object = None) -> bool:
    """Return whether `data` is sealed; raise if it should be and the seal does not hold.

    Only a file whose HDF5 signature is at offset 0 may go without: so a wiped user block does not switch the seal off.

    Raises
    ------
    ArtifactFormatError
        If this is not a `.replay` file at all.
    ArtifactVersionError
        If the seal is of a later version.
    ArtifactIntegrityError
        If the seal is damaged, or the file is not the one that was sealed.
    """
    if data[:8] == SIGNATURE:
        return False
    if not data.startswith(_OPENING):
        if data[SEAL_BYTES : SEAL_BYTES + 8] == SIGNATURE:
            raise ArtifactIntegrityError("the seal in its first 512 bytes is damaged", path)
        raise ArtifactFormatError(_describe(data), path)
    version = re.compile(_VERSION).match(data)
    if version and int(version[1]) > SEAL_VERSION:
        raise ArtifactVersionError(int(version[1]), SEAL_VERSION, path)
    line = re.compile(_LINE).match(data)
    if line is None:
        raise ArtifactIntegrityError("the seal in its first line cannot be read", path)
    n_bytes = int(line[2])
    if len(data) < n_bytes and not _rewritten(data):
        raise ArtifactIntegrityError(f"the file ends after {len(data):,} of its {n_bytes:,} bytes", path)
    # Byte for byte: one seal is valid for one file, so no bit of the first 512 bytes can change unseen.
    if data[:SEAL_BYTES] != seal(memoryview(data)[SEAL_BYTES:]):
        problem = "its bytes are not the bytes that were sealed"
        if len(data) != n_bytes:
            problem = f"it was sealed at {n_bytes:,} bytes and now has {len(data):,}"
        raise ArtifactIntegrityError(
            f'{problem} (if an HDF5 tool such as h5repack rewrote it on purpose, load it with reader="h5py")', path
        )
    return True


def _rewritten(data: bytes) -> bool:
    """Return whether what follows the seal ends where HDF5 says it does, as after a tool rewrote it."""
    end_of_file = {0: 40, 2: 28, 3: 28}  # offset of that address in a superblock of each version
    superblock = data[SEAL_BYTES : SEAL_BYTES + 48]
    if len(superblock) < 48 or superblock[:8] != SIGNATURE or superblock[8] not in end_of_file:
        return False
    at = end_of_file[superblock[8]]
    return int.from_bytes(superblock[at : at + 8], "little") == len(data)


def _describe(data: bytes) -> str:
    """Return what `data`, which holds no HDF5 where a `.replay` file has it, looks like instead."""
    if not data:
        return "the file is empty"
    if not data.strip(b"\0"):
        return f"not a .replay file: all its {len(data):,} bytes are zero"
    for magic, kind in (
        (b"PK\x03\x04", "a zip archive"),
        (b"\x1f\x8b", "a gzip file"),
        (b"\x93NUMPY", "a numpy .npy file"),
        (b"SQLite format 3\0", "an SQLite database"),
        (SIGNATURE[: len(data)], "the first bytes of a cut-off HDF5 file"),
    ):
        if data.startswith(magic):
            return f"not a .replay file: it is {kind}"
    for user_block in (1024, 2048, 4096, 8192):
        if data[user_block : user_block + 8] == SIGNATURE:
            return f"an HDF5 file, but not a .replay file: it has a user block of {user_block} bytes"
    try:
        text = data[:512].decode("utf-8", "strict" if len(data) <= 512 else "ignore")
    except UnicodeDecodeError:
        text = "\0"
    if all(character.isprintable() or character in "\t\r\n\f" for character in text):
        return "not a .replay file: it is a text file"
    return "not a .replay file: there is no HDF5 signature in it"
