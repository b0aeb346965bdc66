"""Artifacts: files and folders that a run kept, in versions, called by name, version or alias.

The bytes are `contents`; the database has a row for each version and, for each time that a run logged or used one, an
event. A version is of the folder: the same content under the same name is the same version, whoever logs it. What an
alias means is of the revision that asks: it is the version that had it last among the events that the revision sees.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...errors import (
    ArgumentError,
    ArgumentTypeError,
    RewindError,
    StoreDamagedError,
    StoreError,
    TrackedArtifactError,
    show,
)
from ...storage.files import path_text
from ..config import plain_dict
from . import blobs
from .blobs import File
from .configs import decoded, encoded
from .damage import odd_fact
from .database import Store
from .history import END, Span, spans

#: What a name is.
NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
#: What an alias cannot be.
VERSION = re.compile(r"v([0-9]+)")
LATEST = "latest"
#: What the names of files that belong to rows begin with; no artifact can be called so.
MEDIA = "media/"
_EXPECTED = "1 to 128 letters, digits, '.', '_' and '-'"


@dataclass(frozen=True)
class TrackedArtifact:
    """A version of an artifact, as a revision sees it.

    Attributes
    ----------
    name, version, type, digest
        `digest` is over paths and bytes of its files, and which of them can be executed.
    metadata : dict
    aliases : tuple of str
        Those that mean this version, for the revision that was asked; ``latest`` first, if it is.
    step : int
        The step at which it was logged first, among the events that the revision sees.
    revision : str or None
        The revision that did, ``ID@REV``.
    """

    name: str
    version: int
    type: str
    digest: str
    metadata: dict[str, Any] = field(hash=False)
    aliases: tuple[str, ...]
    step: int
    revision: str | None
    _manifest: tuple[File, ...] = field(repr=False)
    _folder: str = field(repr=False)

    @property
    def ref(self) -> str:
        """Its name in the folder, such as ``model:v3``."""
        return f"{self.name}:v{self.version}"

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self._manifest)

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of its files, with ``/``, sorted."""
        return tuple(file.path for file in self._manifest)

    def path(self, file: str | os.PathLike[str] | None = None) -> str:
        """Return where the content of a file is, to be read and not written to; the name there is its digest.

        Parameters
        ----------
        file : str, optional
            One of `files`. Not needed for an artifact of a single file.

        Raises
        ------
        TrackedArtifactError
            If there is no such file, or which one is not said.
        StoreDamagedError
            If its content is missing, or has another length than it had.
        """
        entry = self._entry(file)
        path = blobs.content_path(self._folder, entry.digest)
        if not blobs.has_content(self._folder, entry.digest, entry.size):
            problem = "missing" if not os.path.exists(path) else f"no file of {entry.size:,} bytes any more"
            raise StoreDamagedError("use", path, f"the content of {entry.path!r} of {self.ref} is {problem}")
        return path

    def _entry(self, file: str | os.PathLike[str] | None) -> File:
        if file is None:
            if len(self._manifest) == 1:
                return self._manifest[0]
            some = f"it is {len(self.files):,} files; say which, or download() it" if self.files else "it has no files"
            raise TrackedArtifactError(f"{self.ref} is no single file: {some}")
        wanted = path_text(file)
        if os.sep != "/":
            wanted = wanted.replace(os.sep, "/")
        for entry in self._manifest:
            if entry.path == wanted:
                return entry
        raise TrackedArtifactError(f"{self.ref} has no file {wanted!r}; {nearest(wanted, self.files, 'it has none')}")

    def download(self, root: str | os.PathLike[str] | None = None) -> str:
        """Copy its files to a folder, each whole or not at all, and check every byte.

        Parameters
        ----------
        root : path-like, optional
            Default ``./artifacts/NAME-vN``, with a few letters more where there is such a folder of an artifact whose
            name differs only in case. A file there that is the same stays; another one is replaced.

        Returns
        -------
        root : str
            As an absolute path.

        Raises
        ------
        StoreDamagedError
            Naming the file whose content is missing or was altered; or that would be put outside of `root`.
        StoreError
            If it cannot be read or written, if the way to where it goes is a symlink, or if two of its files, whose
            paths differ only in case, are one file there.
        """
        folder = os.path.abspath(self._own_folder() if root is None else path_text(root))
        targets = []
        for file in self._manifest:
            parts = blobs.parts_of(file.path)
            if parts is None:
                raise StoreDamagedError("download", self.ref, f"{file.path!r} leads out of the folder it belongs in")
            targets.append((file, parts))
        _make(folder)
        for file, parts in targets:
            self._copy(file, folder, parts)
        if len({file.path.casefold() for file in self._manifest}) < len(self._manifest):
            for file, parts in targets:
                at = os.path.join(folder, *parts)
                if blobs.problem_of(at, file.digest, file.size) is not None:
                    problem = "its file system ignores case, and another file has this path in other letters"
                    raise StoreError("write", at, problem)
        return folder

    def _own_folder(self) -> str:
        """Return where to download to: no folder of another artifact, also where the file system ignores case."""
        name = f"{self.name}-v{self.version}"
        try:
            there = os.listdir("artifacts")
        except OSError:
            there = []
        if name not in there and name.lower() in map(str.lower, there):
            name = f"{name}-{hashlib.blake2b(self.name.encode(), digest_size=4).hexdigest()}"
        return os.path.join("artifacts", name)

    def _copy(self, file: File, folder: str, parts: list[str]) -> None:
        at = folder
        for i, part in enumerate(parts):
            at = os.path.join(at, part)
            if os.path.islink(at):
                raise StoreError("write", at, f"it is a symlink, which may lead out of {folder}")
            if i < len(parts) - 1:
                _make(at)
        if _executable(at) == file.executable and blobs.problem_of(at, file.digest, file.size) is None:
            return
        what = f"{file.path!r} of {self.ref}"
        source = blobs.content_path(self._folder, file.digest)
        wrong = StoreDamagedError("read", source, f"the content of {what} was altered")
        pieces = blobs.checked(blobs.content_pieces(source, what), file.digest, wrong)
        blobs.put(at, pieces, 0o777 if file.executable else 0o666)


def _make(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise StoreError("make", folder, blobs.said(error)) from None


def _executable(path: str) -> bool:
    try:
        return os.name == "posix" and bool(os.stat(path).st_mode & 0o100)
    except OSError:
        return False


# ---- keeping


def keep(
    store: Store,
    uid: int,
    step: int,
    path: str | os.PathLike[str],
    name: str | None = None,
    type: str | None = None,
    aliases: Any = None,
    metadata: Mapping[str, Any] | None = None,
) -> TrackedArtifact:
    """Keep a file or a folder for a revision, as `TrackedRun.log_artifact` says.

    Of a folder, all regular files are kept, in folders at any depth, and files that symlinks lead to. Refused, by name:
    a symlink to a folder or to nothing, a pipe, a socket, a device. Left out: folders in it that have no file, and the
    tracker's own folder.

    Notes
    -----
    Contents first, then the rows, in one transaction: what is cut off in between is files that nobody refers to.
    """
    source = path_text(path)
    name = _name_of(source, name)
    label = _type_of(type)
    given = _aliases_of(aliases)
    facts = json.dumps(encoded(plain_dict(metadata, "metadata")))
    files = _files_of(store.folder, source)
    manifest = _kept(store.folder, files)
    with store.writing("keep an artifact in") as connection:
        # A purge, in a transaction of its own, may have taken contents that nobody referred to yet.
        there = all(blobs.has_content(store.folder, file.digest, file.size) for file in manifest)
        if not there and manifest != _kept(store.folder, files):
            raise TrackedArtifactError(f"cannot keep {source}: it changed while it was kept")
        digest = blobs.manifest_digest(manifest)
        found = store.read("SELECT uid FROM artifacts WHERE name = ? AND digest = ?", (name, digest))
        if found:
            artifact = int(found[0][0])
        else:
            ((version,),) = store.read("SELECT coalesce(max(version), -1) + 1 FROM artifacts WHERE name = ?", (name,))
            statement = """INSERT INTO artifacts (name, version, type, digest, manifest, metadata, began)
                           VALUES (?, ?, ?, ?, ?, ?, ?)"""
            text = blobs.manifest_text(manifest)
            cursor = connection.execute(statement, (name, version, label, digest, text, facts, time.time()))
            artifact = int(cursor.lastrowid or 0)
        events = events_seen(store, spans(store, uid), "logged", name)
        if not events or (events[-1].artifact, set(events[-1].aliases)) != (artifact, set(given)):
            add_event(store, connection, uid, step, "logged", artifact, given)
            events.append(Event(uid, step, artifact, name, given))
        return artifact_of(store, artifact, View(events))


def add_event(
    store: Store, connection: Any, uid: int, step: int, kind: str, artifact: int, aliases: tuple[str, ...]
) -> None:
    """Note, in a transaction, what a revision did with an artifact at a step: logged or used it, or has it in a row."""
    ((n,),) = store.read("SELECT coalesce(max(n), -1) + 1 FROM artifact_events WHERE revision = ?", (uid,))
    connection.execute(
        "INSERT INTO artifact_events (revision, n, step, kind, artifact, aliases) VALUES (?, ?, ?, ?, ?, ?)",
        (uid, n, step, kind, artifact, json.dumps(aliases)),
    )


def _kept(folder: str, files: Sequence[tuple[str, str]]) -> tuple[File, ...]:
    """Add the contents of files, and return the manifest."""
    found, new = [], []
    try:
        for inner, at in files:
            digest, size, executable, added = blobs.add_file(folder, at)
            found.append(File(inner, digest, size, executable))
            if added:
                new.append(digest)
    finally:
        blobs.settle(folder, new)
    return tuple(found)


def _files_of(own: str, source: str) -> list[tuple[str, str]]:
    """Return path in the manifest and path on the disk of all files that are to be kept, sorted."""
    status = _status_of(source)
    if stat.S_ISREG(status.st_mode):
        found = [(os.path.basename(os.path.abspath(source)), source)]
    elif stat.S_ISDIR(status.st_mode):
        found = sorted(_walked(source, _status_of(own), status))
    else:
        raise _refused(source, "it is a pipe, a socket or a device, not a file or a folder")
    for inner, at in found:
        if blobs.parts_of(inner) is None:
            raise _refused(at, "its name could lead out of a folder that it is downloaded to")
    return found


def _walked(source: str, own: os.stat_result, status: os.stat_result) -> Iterator[tuple[str, str]]:
    if os.path.samestat(own, status):
        raise _refused(source, "it is the tracker's own folder")
    todo = [("", source)]
    while todo:
        prefix, folder = todo.pop()
        try:
            with os.scandir(folder) as entries:
                names = [(entry.name, entry.path) for entry in entries]
        except OSError as error:
            raise _refused(folder, blobs.said(error)) from None
        for name, at in names:
            status = _status_of(at)
            if stat.S_ISREG(status.st_mode):
                yield prefix + name, at
            elif not stat.S_ISDIR(status.st_mode):
                raise _refused(at, "it is a pipe, a socket or a device, not a file or a folder")
            elif os.path.islink(at):
                raise _refused(at, "it is a symlink to a folder, which is not followed; log that folder by itself")
            elif not os.path.samestat(own, status):
                todo.append((f"{prefix}{name}/", at))


def _status_of(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except FileNotFoundError:
        link = os.path.islink(path)
        raise _refused(path, "it is a symlink to nothing" if link else "there is no such file or folder") from None
    except (OSError, ValueError) as error:
        raise _refused(path, blobs.said(error) if isinstance(error, OSError) else str(error)) from None


def _refused(path: str, problem: str) -> TrackedArtifactError:
    return TrackedArtifactError(f"cannot keep {path}: {problem}")


# ---- arguments


def _name_of(source: str, name: Any) -> str:
    advice = ""
    if name is None:
        name, advice = os.path.basename(os.path.abspath(source)), "name= gives it another than that of the file"
    if not isinstance(name, str):
        raise ArgumentTypeError("name", name, _EXPECTED)
    if not NAME.fullmatch(name):
        raise ArgumentError("name", name, _EXPECTED, advice)
    return str(name)


def _type_of(label: Any) -> str:
    if label is None:
        return ""
    if not isinstance(label, str):
        raise ArgumentTypeError("type", label, "text, such as 'model'")
    try:
        label.encode()
    except UnicodeEncodeError:
        raise ArgumentError("type", label, "text that can be written as UTF-8") from None
    return str(label)


def _aliases_of(aliases: Any) -> tuple[str, ...]:
    """Return the aliases that are given, each once, without ``latest``, which moves by itself."""
    if aliases is None:
        return ()
    if isinstance(aliases, str):
        aliases = [aliases]
    if not isinstance(aliases, (Sequence, Set)) or isinstance(aliases, (bytes, bytearray, memoryview)):
        raise ArgumentTypeError("aliases", aliases, "text, or a list of texts, such as ['best']")
    for alias in aliases:
        if not isinstance(alias, str):
            raise ArgumentTypeError("an alias", alias, "text, such as 'best'")
        if not alias or alias != alias.strip() or set(alias) & set("/:") or not alias.isprintable():
            raise ArgumentError("an alias", alias, "text without '/', ':' and line ends, and no blanks at its ends")
        if VERSION.fullmatch(alias):
            raise ArgumentError("an alias", alias, "anything but a version: these are given in order, v0 first")
    given = sorted(aliases) if isinstance(aliases, Set) else aliases
    return tuple(dict.fromkeys(str(alias) for alias in given if alias != LATEST))


def nearest(wanted: str, names: Iterable[str], none: str) -> str:
    """Return what of some names is most like the one that is wanted, as text."""
    names = list(names)
    found = difflib.get_close_matches(wanted[:200], names, n=3, cutoff=0.4) or sorted(names)[:3]
    return f"the nearest are {', '.join(map(repr, found))}" if found else none


# ---- what is seen


class Event(NamedTuple):
    """That a version was logged or used by a revision, at a step."""

    revision: int
    step: int
    artifact: int
    name: str
    aliases: tuple[str, ...]


class View:
    """What names mean after some events that log versions, in order."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.first: dict[int, Event] = {}
        self.latest: dict[str, int] = {}
        self.given: dict[tuple[str, str], int] = {}
        for event in events:
            self.first.setdefault(event.artifact, event)
            self.latest[event.name] = event.artifact
            for alias in event.aliases:
                self.given[event.name, alias] = event.artifact

    def aliases(self, name: str, artifact: int | None = None) -> tuple[str, ...]:
        """Return the aliases of a version, or of all versions of a name; ``latest`` first."""
        latest = [LATEST] if name in self.latest and artifact in (None, self.latest[name]) else []
        given = [alias for (of, alias), one in self.given.items() if of == name and artifact in (None, one)]
        return (*latest, *given)


#: Events, in the order of the fields of `Event`.
EVENTS = """SELECT e.revision, e.step, e.artifact, a.name, e.aliases
            FROM artifact_events e JOIN artifacts a ON a.uid = e.artifact WHERE """


def events_seen(store: Store, seen: Iterable[Span], kind: str, name: str | None = None) -> list[Event]:
    """Return the events of a kind that a revision sees, in order; of one name only, if it is given."""
    found: list[tuple[Any, ...]] = []
    for span in seen:
        last = END if span.limits is None else span.limits["artifact_events"]
        where, values = "e.revision = ? AND e.step <= ? AND e.n <= ? AND e.kind = ?", [span.uid, span.upto, last, kind]
        if name is not None:
            where, values = f"{where} AND a.name = ?", [*values, name]
        found += store.read(f"{EVENTS}{where} ORDER BY e.n", values)
    return events_of(found)


def events_of(rows: Iterable[tuple[Any, ...]]) -> list[Event]:
    """Return rows of `EVENTS` as events."""
    return [Event(uid, step, one, name, tuple(_json(text, list))) for uid, step, one, name, text in rows]


def _json(text: str, kind: type[Any]) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        value = None
    if not isinstance(value, kind):
        raise StoreDamagedError("read", "an artifact", f"what should be a {kind.__name__} is {show(text)}")
    return value


def artifact_of(store: Store, artifact: int, view: View) -> TrackedArtifact:
    """Return a version as a revision sees it."""
    query = "SELECT name, version, type, digest, manifest, metadata FROM artifacts WHERE uid = ?"
    ((name, version, label, digest, manifest, metadata),) = store.read(query, (artifact,))
    first = view.first.get(artifact)
    ref = None
    if first is not None:
        for run, number in store.read("SELECT run, number FROM revisions WHERE uid = ?", (first.revision,)):
            ref = f"{run}@{number}"
    return TrackedArtifact(
        name=name,
        version=version,
        type=label,
        digest=digest,
        metadata=decoded(_json(metadata, dict)),
        aliases=view.aliases(name, artifact),
        step=-1 if first is None else first.step,
        revision=ref,
        _manifest=blobs.manifest_of(manifest, f"the manifest of {name}:v{version} in {store.path}"),
        _folder=store.folder,
    )


def logged(store: Store, uid: int) -> list[TrackedArtifact]:
    """Return the versions that were logged among the events a revision sees, each once, in the order they came."""
    with store.snapshot():
        events = events_seen(store, spans(store, uid), "logged")
        view = View(events)
        return [artifact_of(store, artifact, view) for artifact in view.first]


# ---- checking


def problems(store: Store, is_there: Callable[[int], bool] = lambda uid: True) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the artifacts of a folder: the name of one, and a text.

    `is_there` says whether an artifact is there still: another process may have purged it, and its contents. Reads
    every content once. O(bytes of them).
    """
    logged = {row[0] for row in store.read("SELECT DISTINCT artifact FROM artifact_events")}
    there = {row[0] for row in store.read("SELECT uid FROM artifacts")}
    for artifact in sorted(logged - there):
        yield str(artifact), f"it was logged or used, and is not in {store.path}"
    checked: dict[tuple[str, int], str | None] = {}
    for artifact in sorted(there):
        found = list(_problems_of(store, artifact, checked))
        if found and is_there(artifact):
            yield from found


_OUTSIDE = {"type": "str", "time": "float", "version": "int"}  # in no digest


def _problems_of(store: Store, artifact: int, checked: dict[tuple[str, int], str | None]) -> Iterator[tuple[str, str]]:
    query = "SELECT name, version, digest, manifest, metadata, type, began FROM artifacts WHERE uid = ?"
    for name, version, digest, text, metadata, label, began in store.read(query, (artifact,)):
        ref = f"{name}:v{version}"
        odd = odd_fact({"type": label, "time": began, "version": version}, _OUTSIDE)
        if odd is not None:
            yield ref, f"its {odd} is damaged"
        try:
            _json(metadata, dict)
        except RewindError:
            yield ref, "its metadata is no dict"
        try:
            manifest = blobs.manifest_of(text)
        except RewindError:
            yield ref, "its manifest cannot be read"
            continue
        if blobs.manifest_digest(manifest) != digest:
            yield ref, "its manifest has another digest than the artifact"
        for file in manifest:
            if blobs.parts_of(file.path) is None:
                yield ref, f"its file {file.path!r} leads out of the folder it belongs in"
            key = (file.digest, file.size)
            if key not in checked:
                checked[key] = blobs.problem_of(blobs.content_path(store.folder, file.digest), *key)
            if checked[key] is not None:
                yield ref, f"the content of {file.path!r}, {file.digest}: {checked[key]}"
