"""The replay file: a recording to its bytes and back, content hash and signature (docs/format.md has it in words)."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..engine.recording import Recording
from ..errors import ArgumentError, ArtifactFormatError, ArtifactIntegrityError, ArtifactVersionError
from ..metrics.moments import Moments, fields_of
from ..metrics.table import COLUMNS
from ..state.checkpoints import Checkpoints
from ..state.codec import UserCodec
from ..state.columns import Array
from ..state.frozen import frozen
from ..state.spilled import SpilledColumn, pieces
from ..steps.params import to_json, version_of
from .files import MAX_FILE_BYTES, read_file, write_file, write_file_by
from .hdf5.container import Container, load_json
from .hdf5.reader import read as read_container
from .schema import HINTS, exact_text, from_parts, number_text
from .strict_json import dumps

#: The latest version of the format; a file has the first one that has its layout.
FORMAT_VERSION = 2

# ---- recording -> file


def to_parts(recording: Recording) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the arrays and the metadata of `recording`, content hash included."""
    arrays: dict[str, Array] = {}
    checkpoints = recording.checkpoints
    layout = checkpoints.layout
    for column, values in zip(layout.columns if layout else (), checkpoints.columns, strict=True):
        if values.size:
            arrays[f"checkpoints/{column.name}"] = values
    _put_pickles(arrays, checkpoints)
    metrics: dict[str, Any] = {}
    for i, (name, table) in enumerate(recording.metrics.items()):
        group = f"metrics/{name if name.isascii() else f'{i}.metric'}"  # no name begins with a digit
        for column_name in COLUMNS:
            arrays[f"{group}/{column_name}"] = table.rows[column_name]
        metrics[name] = {"group": group, "shape": list(table.shape)}
        for part in ("closed", "tail"):
            metrics[name][part] = _put_moments(arrays, f"{group}/{part}", getattr(table, part))
    for part, words in (recording.origin.rng_state or {}).items():
        arrays[f"start/{part}"] = words
    origin = recording.origin
    meta: dict[str, Any] = {
        "format_version": max(layout.version if layout else 1, version_of(recording.params)),
        "n_steps": recording.n_steps,
        "block_size": recording.block_size,
        "stride": recording.stride,
        "seed": number_text(recording.seed),
        "backend": recording.backend,
        "params": {name: to_json(value) for name, value in recording.params.items()},
        "layout": layout.to_json() if layout else "pickle",
        "codec": checkpoints.codec.user is not None,
        "metrics": metrics,
        "metric_order": list(recording.metrics),
        "origin": {
            "start": origin.start,
            "grid": origin.grid,
            "noise": origin.noise,
            "ancestors": [[a.content_hash, a.branch_point] for a in origin.ancestors],
            **({"lead": origin.lead} if origin.lead else {}),
        },
        "tail_digest": recording.tail_digest.hex(),
        "complete": recording.complete,
        "stopped": None if recording.stopped is None else _as_text(recording.stopped),
        "step": {name: _as_text(hint) for name, hint in recording.step.items()},
        "versions": dict(recording.versions),
    }
    if "pickle/blob" in arrays:
        meta["pickle_hash"] = hashlib.blake2b(arrays["pickle/blob"].tobytes(), digest_size=32).hexdigest()
    meta["content_hash"] = _content_hash(arrays, meta)
    return arrays, meta


def content_hash(recording: Recording) -> str:
    """Return the hash of what is recorded: the same for the same run on any machine, in any container."""
    return str(to_parts(recording)[1]["content_hash"])


def describe(recording: Recording) -> dict[str, Any]:
    """Return what is known of a run without a replay, as plain values; nothing is unpickled that came from a file."""
    checkpoints, origin = recording.checkpoints, recording.origin
    return {
        "n_steps": recording.n_steps,
        "block_size": recording.block_size,
        "n_blocks": recording.grid.n_blocks,
        "stride": recording.stride,
        "n_checkpoints": checkpoints.n,
        "n_pickled": len(checkpoints.pickles),
        "seed": recording.seed,
        "backend": recording.backend,
        "params": dict(recording.params),
        "layout": checkpoints.layout.to_json() if checkpoints.layout else "pickle",
        "codec": checkpoints.codec.user is not None,
        "observed": list(recording.metrics),
        "start": origin.start,
        "noise": origin.noise,
        "lead": origin.lead,
        "lineage": [[ancestor.content_hash, ancestor.branch_point] for ancestor in origin.ancestors],
        "complete": recording.complete,
        "stopped": recording.stopped,
        "step": dict(recording.step),
        "versions": dict(recording.versions),
        "tail_digest": recording.tail_digest.hex(),
        "content_hash": content_hash(recording),
    }


def to_bytes(recording: Recording, compat: str | None = None, path: object = None, key: bytes | None = None) -> bytes:
    """Return the bytes of the file of `recording`, signed where there is a `key`.

    Raises
    ------
    ArtifactFormatError
        If it has more metadata, or more columns and metrics, than a file may have; `path` is for the message.
    """
    from .hdf5.writer import build  # which loads h5py; reading a file does not need it

    arrays, meta = to_parts(recording)
    if key is not None:
        meta["signature"] = _signature(arrays, meta, key)
    try:
        return build(arrays, _canonical(meta), compat=compat)
    except (TypeError, ValueError) as error:
        raise ArtifactFormatError(f"this run is too large for the format: {error}", path) from error


def save(
    recording: Recording, path: str | os.PathLike[str], compat: str | None = None, key: bytes | None = None
) -> str:
    """Write `recording` to `path`, whole or not at all, signed where there is a `key`; return its content hash.

    Raises
    ------
    ArtifactIOError
        If the operating system says no; an old file is then untouched.
    """
    if compat not in (None, "1.8"):
        raise ArgumentError("compat", compat, "'1.8' or None")
    if compat is None and any(isinstance(column, SpilledColumn) for column in recording.checkpoints.columns):
        return _save_spilled(recording, path, key)
    data = to_bytes(recording, compat, path, key)
    saved = ""

    def check(written: bytes) -> None:
        nonlocal saved
        container = read_container(written, max_bytes=1 << 62, path=path)
        meta = _checked(container, path, key)
        from_parts(container.arrays, meta, path=path)  # nobody should find out when it is too late
        saved = str(meta["content_hash"])

    write_file(path, data, check=check)
    return saved


def _save_spilled(recording: Recording, path: str | os.PathLike[str], key: bytes | None) -> str:
    """Write what `save` does of states that lie in a file, a chunk at a time."""
    from .hdf5.writer import build_to

    arrays, meta = to_parts(recording)
    if key is not None:
        meta["signature"] = _signature(arrays, meta, key)

    def fill(fd: int) -> None:
        with os.fdopen(os.dup(fd), "r+b") as file:
            try:
                build_to(file, arrays, _canonical(meta))
            except (TypeError, ValueError) as error:
                raise ArtifactFormatError(f"this run is too large for the format: {error}", path) from error
            os.fsync(fd)

    write_file_by(path, fill)
    return str(meta["content_hash"])


def _put_pickles(arrays: dict[str, Array], checkpoints: Checkpoints) -> None:
    if not checkpoints.pickles:
        return
    rows = sorted(checkpoints.pickles)
    blobs = [checkpoints.pickles[row] for row in rows]
    arrays["pickle/steps"] = np.array(rows, "<i8")
    arrays["pickle/offsets"] = np.cumsum([0, *map(len, blobs)]).astype("<i8")
    arrays["pickle/blob"] = np.frombuffer(b"".join(blobs), "u1")
    digests = b"".join(checkpoints.digest(row) for row in rows)
    arrays["pickle/digests"] = np.frombuffer(digests, "u1").reshape(len(rows), -1)


def _put_moments(arrays: dict[str, Array], group: str, moments: Moments | None) -> Any:
    if moments is None:
        return None
    entry: dict[str, Any] = {}
    for field, value in fields_of(moments):
        if field.axes:
            arrays[f"{group}/{field.name}"] = value
        elif field.kind == "sum":
            entry[field.name] = exact_text(value, field.unit)
        else:
            entry[field.name] = value.hex() if field.kind == "real" else value
    return entry


def _as_text(hint: str) -> str:
    """Return a hint without half surrogate pairs, which the text of an exception may hold and JSON may not."""
    return hint.encode("utf-8", "replace").decode()


def _canonical(meta: Mapping[str, Any]) -> bytes:
    return dumps(meta, sort_keys=True, allow_nan=False, ensure_ascii=False).encode()


def _content_hash(arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> str:
    """Return blake2b-256 over the metadata without `HINTS` and every array but the raw pickles, which have digests."""
    hash_ = hashlib.blake2b(digest_size=32)
    hash_.update(_canonical({name: value for name, value in meta.items() if name not in HINTS}))
    for name in sorted(arrays):
        if name in ("pickle/blob", "pickle/offsets"):
            continue
        dtype = arrays[name].dtype.newbyteorder("<")
        head = f"\n{name} {dtype.str} {list(arrays[name].shape)}\n"
        hash_.update(head.encode())
        for piece in pieces(arrays[name]):
            hash_.update(piece.astype(dtype, copy=False).tobytes())
    return hash_.hexdigest()


def _signature(arrays: Mapping[str, Array], meta: Mapping[str, Any], key: bytes) -> str:
    """Return keyed blake2b-256 over the metadata, content hash included, and the arrays the content hash leaves out."""
    hash_ = hashlib.blake2b(key=key, digest_size=32, person=b"rewind.replay")
    hash_.update(_canonical({name: value for name, value in meta.items() if name != "signature"}))
    for name in ("pickle/blob", "pickle/offsets"):
        if name in arrays:
            hash_.update(f"\n{name} {arrays[name].size}\n".encode())
            hash_.update(arrays[name].tobytes())
    return hash_.hexdigest()


# ---- file -> recording


@frozen
class File:
    """A file as it was read: its recording, its size, and whether it has a seal and a signature (checked or not)."""

    recording: Recording
    n_bytes: int
    sealed: bool
    signed: bool


def load(
    path: str | os.PathLike[str],
    codec: UserCodec | None = None,
    max_bytes: int | None = None,
    reader: str = "strict",
    key: bytes | None = None,
) -> File:
    """Return what is in a file; nothing is imported, unpickled or run. With a `key` its signature has to hold.

    Raises
    ------
    ArtifactError
        If it cannot be read, is no replay file, was damaged, or is of a later version.
    """
    if reader not in ("strict", "h5py"):
        raise ArgumentError("reader", reader, "'strict' or 'h5py'")
    data = read_file(path, max_bytes=None if max_bytes is None else max(MAX_FILE_BYTES, max_bytes))
    return file_of(data, codec, max_bytes, reader, key, path)


def file_of(
    data: bytes,
    codec: UserCodec | None = None,
    max_bytes: int | None = None,
    reader: str = "strict",
    key: bytes | None = None,
    path: object = None,
) -> File:
    """Return what is in the bytes of a file, as `load` does."""
    if reader == "h5py":
        from .hdf5.writer import read_with_h5py

        container = read_with_h5py(data, max_bytes=max_bytes, path=path)
    else:
        container = read_container(data, max_bytes=max_bytes, path=path)
    meta = _checked(container, path, key)
    recording = from_parts(container.arrays, meta, codec, path)
    return File(recording, len(data), container.sealed, "signature" in meta)


def _checked(container: Container, path: object, key: bytes | None = None) -> dict[str, Any]:
    """Return the metadata of a container whose contents are what its hashes, and with a `key` its signature, say."""
    meta = load_json(container.meta, path)
    version = meta.get("format_version")
    if type(version) is not int or version < 1:
        raise ArtifactFormatError("its metadata has no format_version", path)
    if version > FORMAT_VERSION:
        raise ArtifactVersionError(version, FORMAT_VERSION, path)
    if meta.get("content_hash") != _content_hash(container.arrays, meta):
        raise ArtifactIntegrityError("its contents do not have its content hash", path)
    blob = container.arrays.get("pickle/blob")
    if (
        blob is not None
        and meta.get("pickle_hash") != hashlib.blake2b(np.ascontiguousarray(blob).data, digest_size=32).hexdigest()
    ):
        raise ArtifactIntegrityError("its pickled checkpoints do not have their hash", path)
    if key is not None:
        _require_signature(container.arrays, meta, key, path)
    return meta


def _require_signature(arrays: Mapping[str, Array], meta: Mapping[str, Any], key: bytes, path: object) -> None:
    found = meta.get("signature")
    if found is None:
        problem = "it has no signature, and a key to check one with was given: it was saved without key="
        raise ArtifactIntegrityError(problem, path, altered=False)
    if not hmac.compare_digest(str(found).encode(), _signature(arrays, meta, key).encode()):
        problem = "its signature does not fit the key: it was signed with another one, or altered by someone without it"
        raise ArtifactIntegrityError(problem, path, altered=False)
