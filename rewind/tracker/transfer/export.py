"""Export a run, with the runs it comes from, to one zip file: the same bytes for the same run.

::

    manifest.json                 format, version, run; size and blake2b of all members but contents; its own digest
    runs.jsonl                    id, labels, the number of the current revision
    revisions.jsonl               one a line, parents first: all other members call them by their number here, from 0
    rows/7.jsonl                  [step, {...}, seconds] of revision 7, the rows as they are in the database; without
                                  the time where that is not known
    assigned.jsonl, backfilled.jsonl, lines.jsonl, samples.jsonl, artifact_events.jsonl, simulations.jsonl
                                  [revision, ...] what is beside the rows
    artifacts.jsonl               names, versions, manifests
    simulations/7.1.replay        the first simulation of revision 7, or simulations/7.1.replay.journal
    contents/abcd..               files of artifacts, called by the blake2b of their bytes

Marks are left out: they are computed again. Nothing in it is code, or a path.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from ...errors import RunBusyError, StoreDamagedError, StoreError, TrackerError
from ...storage.files import open_regular, write_file_by
from ...storage.journal import SUFFIX
from ..close import close
from ..store import blobs, history
from ..store.damage import understood
from ..store.database import Store
from ..store.history import END, Record, Span
from ..store.lock import RunLock, is_held
from ..store.lookup import revision_of
from . import bounds

FORMAT, VERSION = "rewind.tracker", 2
MANIFEST = "manifest.json"
#: Members that are tables, what is read of each, and in which order.
TABLES = {
    "assigned": ("n, step, key, value", "n"),
    "backfilled": ("name, step, value", "name, step"),
    "lines": ("n, step, stream, text", "n"),
    "samples": ("n, step, seconds, cpu, memory", "n"),
}
#: Facts of a revision that are in the file: all but its number in the database.
FACTS = tuple(field.name for field in fields(Record) if field.name != "uid")
#: Those that are left out where there are none: earlier releases do not know them.
OPTIONAL = ("made_as",)
#: A member is deflated if that makes it smaller, and not so small that it looks like a bomb.
MOST_RATIO = 100
_PIECE = 1 << 20
_LEVEL = 1  # of zlib: 6 takes three times as long, for a file that is a fifth smaller
_DATE = (1980, 1, 1, 0, 0, 0)


def export(folder: str, run_id: str, path: str | os.PathLike[str]) -> None:
    """Write all of a run to one file: as `Tracker.export` says."""
    with contextlib.closing(Store(folder)) as store, understood(store.path):
        revision_of(store, run_id, None, removed=True)
        _end_crashed(store, _needed(store, run_id))
        with store.snapshot():
            records = _needed(store, run_id)
            for record in records:
                if not record.closed and record.kept_digest is None:
                    raise RunBusyError(record.run)
            if revision_of(store, run_id, None, removed=True).kept_digest is not None:
                raise TrackerError(f"run {run_id!r} cannot be exported: it was purged, and is kept for its forks only")
            members = list(_members(store, run_id, records))
            for member in members:
                member.measure()
                if not member.listed and member.name != f"contents/{member.digest}":
                    raise StoreDamagedError("export", member.name, "its bytes are not those that were kept")
            write_file_by(path, lambda fd: _write(fd, members, run_id))


def digest_of_manifest(facts: dict[str, Any]) -> str:
    """Return the digest of a manifest without its digest."""
    rest = {key: value for key, value in facts.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


# ---- what is in it


def _needed(store: Store, run_id: str) -> list[Record]:
    """Return the revisions of a run and those they come from, parents first; in the same order in every folder."""
    found = {record.uid: record for record in history.records(store, "run = ?", (run_id,))}
    todo = list(found.values())
    while todo:
        parent = todo.pop().parent
        if parent is not None and parent not in found:
            found[parent] = history.record_of(store, parent)
            todo.append(found[parent])
    depth: dict[int, int] = {}
    for uid in sorted(found):  # parents have lower numbers
        above = found[uid].parent
        depth[uid] = 0 if above is None else depth[above] + 1
    return sorted(found.values(), key=lambda record: (depth[record.uid], record.run, record.number))


def _end_crashed(store: Store, records: Iterable[Record]) -> None:
    """Close what processes left that were killed."""
    left = [record for record in records if not record.closed and record.kept_digest is None]
    if not left:
        return
    for record in left:
        if is_held(store.folder, record.run):
            RunLock(store.folder, record.run).release()  # says who has it
    writer = Store(store.folder, write=True)
    try:
        for record in left:
            lock = RunLock(store.folder, record.run)
            try:
                close(writer, record.uid, "crashed", None)
            finally:
                lock.release()
    finally:
        writer.close()


@dataclass
class _Member:
    """A member, whose bytes can be read again and again."""

    name: str
    pieces: Callable[[], Iterator[bytes]]
    listed: bool = True
    size: int = 0
    digest: str = ""
    deflated: bool = False

    def measure(self) -> None:
        """Find out size and digest, and whether it is worth to deflate it."""
        found, deflating = hashlib.blake2b(digest_size=32), zlib.compressobj(_LEVEL, zlib.DEFLATED, -15)
        self.size = n = 0
        crowded = False
        for piece in self.pieces():
            found.update(piece)
            self.size += len(piece)
            n += len(deflating.compress(piece))
            crowded = crowded or (self.name.endswith((".jsonl", ".json")) and _is_crowded(piece))
        n += len(deflating.flush())
        self.digest, self.deflated = found.hexdigest(), n < self.size <= MOST_RATIO * n and not crowded


def _is_crowded(lines: bytes) -> bool:
    """Whether one of some whole lines holds so many values that an import wants to see where they take their room."""
    if len(lines) <= bounds.VALUES:
        return False
    return any(bounds.n_values(line.decode("latin-1")) > bounds.VALUES for line in lines.split(b"\n"))


def _members(store: Store, run_id: str, records: list[Record]) -> Iterator[_Member]:
    at = {record.uid: i for i, record in enumerate(records)}
    yield _lines_of("runs", lambda: _runs(store, records))
    yield _lines_of("revisions", lambda: (_facts(record, records, at) for record in records))
    for i, record in enumerate(records):
        yield _Member(f"rows/{i}.jsonl", lambda uid=record.uid: _rows(store, uid))  # type: ignore[misc]
    for table, (columns, order) in TABLES.items():
        query = f"SELECT {columns} FROM {table} WHERE revision = ? ORDER BY {order}"
        yield _lines_of(table, lambda query=query: _owned(store, query, at))  # type: ignore[misc]
    artifacts = _artifacts(store, at)
    number = {uid: i for i, (uid, *_) in enumerate(artifacts)}
    yield _lines_of("artifacts", lambda: (row for _, *row in artifacts))
    yield _lines_of("artifact_events", lambda: _events(store, at, number))
    simulations = list(_simulations(store, at))
    yield _lines_of("simulations", lambda: (facts for facts, _ in simulations))
    for facts, path in simulations:
        if path is not None:
            name = f"simulations/{facts[0]}.{facts[1]}.{facts[-1]}"
            yield _Member(name, lambda path=path: _file(path))  # type: ignore[misc]
    owner = {file.digest: f"{row[1]}:v{row[2]}" for row in artifacts for file in blobs.manifest_of(row[5])}
    for digest in sorted(owner):
        source = blobs.content_path(store.folder, digest)
        pieces = lambda source=source, ref=owner[digest]: blobs.content_pieces(source, ref)  # noqa: E731
        yield _Member(f"contents/{digest}", pieces, listed=False)


def _lines_of(name: str, rows: Callable[[], Iterable[Any]]) -> _Member:
    return _Member(f"{name}.jsonl", lambda: _gathered(_line(row) for row in rows()))


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _gathered(lines: Iterable[bytes]) -> Iterator[bytes]:
    some, n = [], 0
    for line in lines:
        some.append(line)
        n += len(line)
        if n >= _PIECE:
            yield b"".join(some)
            some, n = [], 0
    yield b"".join(some)


def _runs(store: Store, records: list[Record]) -> Iterator[dict[str, Any]]:
    for run in sorted({record.run for record in records}):
        query = "SELECT project, entity, began FROM runs WHERE id = ?"
        ((project, entity, began),) = store.read(query, (run,))
        yield {"id": run, "project": project, "entity": entity, "began": began}


def _facts(record: Record, records: list[Record], at: dict[int, int]) -> dict[str, Any]:
    facts = {name: getattr(record, name) for name in FACTS if name not in OPTIONAL or getattr(record, name) is not None}
    return {**facts, "parent": None if record.parent is None else at[record.parent]}


def _rows(store: Store, uid: int) -> Iterator[bytes]:
    # The text of a row is JSON on one line; as it stands, since the digest is over it.
    for some in history.timed_texts(store, [Span(uid, END)]):
        yield "".join(
            [f"[{step},{text}]\n" if at is None else f"[{step},{text},{at!r}]\n" for step, text, at in some]
        ).encode()


def _owned(store: Store, query: str, at: dict[int, int]) -> Iterator[list[Any]]:
    for uid, i in at.items():
        for row in store.each(query, (uid,)):
            yield [i, *row]


def _artifacts(store: Store, at: dict[int, int]) -> list[tuple[Any, ...]]:
    seen: set[int] = set()
    for uid in at:
        seen |= {row[0] for row in store.read("SELECT artifact FROM artifact_events WHERE revision = ?", (uid,))}
    query = "SELECT uid, name, version, type, digest, manifest, metadata, began FROM artifacts WHERE uid = ?"
    found = [row for uid in seen for row in store.read(query, (uid,))]
    if len(found) < len(seen):
        raise StoreDamagedError("read", store.path, "an artifact that was logged is not there; rewind fsck says more")
    return sorted(found, key=lambda row: (row[1], row[2]))


def _events(store: Store, at: dict[int, int], number: dict[int, int]) -> Iterator[list[Any]]:
    query = "SELECT n, step, kind, artifact, aliases FROM artifact_events WHERE revision = ? ORDER BY n"
    for i, n, step, kind, artifact, aliases in _owned(store, query, at):
        yield [i, n, step, kind, number[artifact], aliases]


def _simulations(store: Store, at: dict[int, int]) -> Iterator[tuple[list[Any], str | None]]:
    """Yield what is kept of each simulation, and its file: finished, or the journal of one that was cut off."""
    query = """SELECT n, first, origin, n_steps, log_every, metrics, noise, file FROM simulations
               WHERE revision = ? ORDER BY n"""
    for i, n, first, origin, n_steps, every, metrics, noise, file in _owned(store, query, at):
        path: str | None = os.path.join(store.folder, "simulations", file)
        kind: str | None = "replay"
        assert path is not None
        if not os.path.exists(path):
            path, kind = path + SUFFIX, "replay" + SUFFIX
            if not os.path.exists(path):  # it was killed before there was anything in it
                path = kind = None
        yield [i, n, first, origin, n_steps, every, json.loads(metrics), noise, kind], path


def _file(path: str) -> Iterator[bytes]:
    try:
        fd = open_regular(path)
        try:
            while piece := os.read(fd, _PIECE):
                yield piece
        finally:
            os.close(fd)
    except OSError as error:
        raise StoreError("read", path, error.strerror or str(error)) from None


# ---- to the file


def _write(fd: int, members: list[_Member], run_id: str) -> None:
    listed = {member.name: [member.size, member.digest] for member in members if member.listed}
    facts: dict[str, Any] = {"format": FORMAT, "version": VERSION, "run": run_id, "members": listed}
    facts["digest"] = digest_of_manifest(facts)
    manifest = _Member(MANIFEST, lambda: iter([_line(facts)]))
    manifest.measure()
    with os.fdopen(os.dup(fd), "w+b") as file, zipfile.ZipFile(file, "w", allowZip64=True) as zipped:
        for member in [manifest, *members]:
            info = zipfile.ZipInfo(member.name, _DATE)
            info.create_system, info.external_attr = 3, 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED if member.deflated else zipfile.ZIP_STORED
            info._compresslevel = _LEVEL  # type: ignore[attr-defined]
            info.file_size = member.size
            found = hashlib.blake2b(digest_size=32)
            with zipped.open(info, "w") as out:
                for piece in member.pieces():
                    found.update(piece)
                    out.write(piece)
            if found.hexdigest() != member.digest:
                raise StoreError("export", member.name, "it changed while it was read; try again")
    os.fsync(fd)
