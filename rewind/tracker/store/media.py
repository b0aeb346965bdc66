"""Media: files that belong to rows, kept by content beside those of artifacts.

What one call logs is one entry of the table of artifacts, called ``media/`` and the digest of its manifest: so the same
files are the same entry in every folder, and nobody can ask for it by a name. Its events are of the kind ``media``.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ...errors import TrackedArtifactError
from ...storage.files import path_text
from ..media import Media, MediaFile
from . import blobs
from .artifacts import MEDIA, add_event
from .blobs import File
from .database import Store
from .history import END, Span
from .values import kept_value


class Keeper:
    """Adds the contents of what one call logs.

    Attributes
    ----------
    files : dict of str to File
        What is kept, by its path in the run.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.files: dict[str, File] = {}
        self.new: list[str] = []

    def __call__(self, key: str, kind: str, content: bytes | str | os.PathLike[str], suffix: str) -> dict[str, Any]:
        """Keep one file: as `..media.Keep` says."""
        if isinstance(content, bytes):
            digest, size = hashlib.blake2b(content, digest_size=32).hexdigest(), len(content)
            blobs.add_content(self.folder, content, digest)
            sha256 = hashlib.sha256(content).hexdigest()
        else:
            digest, size, _, new = blobs.add_file(self.folder, path_text(content))
            if new:
                self.new.append(digest)
            sha256 = _sha256(blobs.content_path(self.folder, digest), os.fspath(content))
        name = re.sub(r"[^\w.-]", "_", key)[:100]
        path = f"media/{kind}/{name}_{sha256[:20]}{suffix}"
        self.files[path] = File(path, digest, size, False)
        return {"path": path, "sha256": sha256, "size": size, "digest": digest}


def _sha256(location: str, of: str) -> str:
    found = hashlib.sha256()
    for piece in blobs.content_pieces(location, of):
        found.update(piece)
    return found.hexdigest()


def keep_media(store: Store, uid: int, step: int, values: Mapping[str, Media | list[Media]]) -> dict[str, Any]:
    """Keep media for a row of a revision, and return what the row gets, as it is kept.

    Raises
    ------
    TrackedArtifactError
        If a file cannot be read.
    StoreError
        If it cannot be kept. Contents come first, then the rows of the database, in one transaction: what is cut off in
        between is files that nobody refers to.
    """
    row, files = _kept(store.folder, values)
    if files:
        with store.writing("keep media in") as connection:
            # A purge, in a transaction of its own, may have taken contents that nobody referred to yet.
            there = all(blobs.has_content(store.folder, file.digest, file.size) for file in files)
            if not there and _kept(store.folder, values)[1] != files:
                raise TrackedArtifactError(f"cannot keep {', '.join(values)}: it changed while it was kept")
            digest = blobs.manifest_digest(files)
            name = MEDIA + digest
            found = store.read("SELECT uid FROM artifacts WHERE name = ?", (name,))
            if found:
                artifact = int(found[0][0])
            else:
                statement = """INSERT INTO artifacts (name, version, type, digest, manifest, metadata, began)
                               VALUES (?, 0, 'media', ?, ?, '{}', ?)"""
                cursor = connection.execute(statement, (name, digest, blobs.manifest_text(files), time.time()))
                artifact = int(cursor.lastrowid or 0)
            again = "SELECT 1 FROM artifact_events WHERE revision = ? AND step = ? AND kind = 'media' AND artifact = ?"
            if not store.read(again, (uid, step, artifact)):
                add_event(store, connection, uid, step, "media", artifact, ())
    return row


def _kept(folder: str, values: Mapping[str, Media | list[Media]]) -> tuple[dict[str, Any], list[File]]:
    """Add the contents, and return what the row gets, and the manifest."""
    keeper, row = Keeper(folder), dict[str, Any]()
    try:
        for key, value in values.items():
            if isinstance(value, list):
                row |= type(value[0]).several(key, value, keeper)
            else:
                row |= value.in_row(key, keeper)
    finally:
        blobs.settle(folder, keeper.new)
    return {key: kept_value(value) for key, value in row.items()}, sorted(keeper.files.values())


def media_files(store: Store, seen: Iterable[Span]) -> list[MediaFile]:
    """Return the files of the rows that a revision sees, each once, in the order they were logged."""
    files: dict[str, MediaFile] = {}
    query = """SELECT e.step, a.manifest FROM artifact_events e JOIN artifacts a ON a.uid = e.artifact
               WHERE e.revision = ? AND e.step <= ? AND e.n <= ? AND e.kind = 'media' ORDER BY e.n"""
    for span in seen:
        last = END if span.limits is None else span.limits["artifact_events"]
        for step, manifest in store.read(query, (span.uid, span.upto, last)):
            for file in blobs.manifest_of(manifest, f"a manifest in {store.path}"):
                location = blobs.content_path(store.folder, file.digest)
                files.setdefault(file.path, MediaFile(file.path, step, file.size, file.digest, location))
    return list(files.values())
