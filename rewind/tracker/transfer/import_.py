"""Import a file that `export` wrote, or that somebody says it did.

What is in it goes to a folder of its own first, beside the tracker's files, and is checked there like any tracker's:
every digest, summary and simulation. Then it is moved, in one transaction.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from ...errors import (
    ArtifactFormatError,
    ArtifactIntegrityError,
    ArtifactIOError,
    ArtifactVersionError,
    RewindError,
    StoreDamagedError,
    StoreError,
    show,
)
from ...state.columns import is_text
from ...storage.files import clear_leftovers, open_regular, path_text
from ...storage.hdf5.container import load_json
from ...storage.journal import SUFFIX
from ...storage.strict_json import loads
from ..fsck import IMPORTING, fsck
from ..moment import id_problem, require_new_id, run_id_of
from ..simulation.parts import free_name
from ..store import blobs, history
from ..store.aggregates import LONG, Aggregates, definitions_problem
from ..store.database import Store
from ..store.pyramid import Pyramid
from ..store.sampled import keep_backfilled
from ..store.values import row_of, row_text
from ..store.writer import MARK_ROWS
from . import bounds
from .export import FACTS, FORMAT, MANIFEST, MOST_RATIO, OPTIONAL, TABLES, VERSION, digest_of_manifest
from .merge import Merge

_PIECE = 1 << 20
_MOST_LINE = 1 << 30  # what a value of the database can have
_SLACK = 1 << 20
_HEX = re.compile(r"[0-9a-f]{64}")
_ROWS = re.compile(r"rows/(0|[1-9][0-9]{0,8})\.jsonl")
_SIMULATION = re.compile(r"simulations/(0|[1-9][0-9]{0,8})\.([1-9][0-9]{0,8})\.(replay|replay\.journal)")
_REF = re.compile(r"[^@]{1,128}@[1-9][0-9]{0,8}")
_CONTENT = re.compile(r"contents/([0-9a-f]{64})")
_ARTIFACT = re.compile(r"[A-Za-z0-9._-]{1,128}|media/[0-9a-f]{64}")
_ROW = re.compile(r"\[(0|[1-9][0-9]{0,18}),(\{.*\})(?:,(-?[0-9]{1,18}\.[0-9]{1,18}(?:e[+-]?[0-9]{1,3})?))?\]")
_LISTS = ("runs", "revisions", *TABLES, "artifacts", "artifact_events", "simulations")

# Types of columns: i is an integer of SQLite, n one from 0 on, f a finite float, t text; capitals may be null.
_TYPES = {
    "assigned": "nnitt",
    "backfilled": "ntnt",
    "lines": "nnitt",
    "samples": "nnifff",
    "artifacts": "tnttttf",
    "artifact_events": "nnitnt",
}


def import_bundle(folder: str, path: str | os.PathLike[str], new_id: str | None = None) -> list[str]:
    """Add what is in a file to a tracker's folder, which is made if there is none: as `Tracker.import_file` says."""
    return merged(folder, path, new_id).runs


def merged(folder: str, path: str | os.PathLike[str], new_id: str | None = None) -> Merge:
    """Do what `import_bundle` does, and return all that is to be said of it."""
    if new_id is not None:
        require_new_id(run_id_of(new_id))
    name, folder = path_text(path), os.path.abspath(folder)
    try:
        fd = open_regular(name)
    except OSError as error:
        raise ArtifactIOError.of("read", name, error) from None
    with os.fdopen(fd, "rb") as file, writing_into(folder), room_in(folder) as staging:
        with _reading(name), zipfile.ZipFile(file) as zipped:
            run_id = _Reader(zipped, name, os.fstat(fd).st_size).stage(staging)
        report = fsck(staging)
        if report.problems:
            raise ArtifactIntegrityError(str(report.problems[0]).replace(staging, name), name)
        if report.leftovers or report.n_left:
            raise ArtifactFormatError("it has files that no revision has, or a revision that is not closed", name)
        merge = Merge(folder, staging, run_id)
        if new_id is not None:
            merge.rename(new_id)
        merge.merge()
        return merge


@contextlib.contextmanager
def writing_into(folder: str) -> Iterator[None]:
    """Say in the package's words what the operating system says of the folder."""
    try:
        yield
    except OSError as error:
        if isinstance(error, RewindError):
            raise
        raise StoreError("import into", folder, error.strerror or str(error)) from None


@contextlib.contextmanager
def room_in(folder: str) -> Iterator[str]:
    """Make a folder for what is not checked yet, and remove it and all that it was made for in vain."""
    new = not os.path.isdir(folder)
    try:
        os.makedirs(folder, exist_ok=True)
        clear_leftovers(folder, IMPORTING)
        staging = tempfile.mkdtemp(prefix=IMPORTING, dir=folder)
    except OSError as error:
        raise StoreError("import into", folder, error.strerror or str(error)) from None
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if new:
            with contextlib.suppress(OSError):  # it is a tracker's now
                os.rmdir(folder)


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """Say in the package's words what is wrong with a file."""
    try:
        yield
    except ArtifactIOError:
        raise
    except StoreDamagedError as error:
        raise ArtifactIntegrityError(str(error), name) from None
    except RewindError:
        raise
    except _Odd as error:
        raise ArtifactFormatError(str(error), name) from None
    except OSError as error:
        raise ArtifactIOError.of("read", name, error) from None
    except _UNREADABLE as error:
        raise ArtifactFormatError(f"it is no file of a tracked run: {error}", name) from None


#: What zipfile and json say of bytes that nobody wrote.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    MemoryError,
    AttributeError,
)


class _Odd(Exception):
    """Something in a file that no export writes."""


class _Reader:
    """The file, and what has been understood of it."""

    def __init__(self, zipped: zipfile.ZipFile, name: str, size: int) -> None:
        self._zip, self._name, self._size = zipped, name, size
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._listed: dict[str, tuple[int, str]] = {}

    def stage(self, staging: str) -> str:
        """Put all of it in a folder, as a tracker of its own, and return the id of the run that was exported."""
        self._check_sizes()
        run_id = self._read_manifest()
        store = Store(staging, write=True)
        try:
            with store.writing("import into"):
                self._runs(store, run_id)
                n = self._revisions(store, run_id)
                self._rows(store, n)
                for table, (columns, _) in TABLES.items():
                    self._table(store, table, columns, n)
                self._artifacts(store, n)
                self._simulations(store, n)
            self._contents(staging)
        finally:
            store.close()
        return run_id

    # ---- members

    def _check_sizes(self) -> None:
        """Refuse names, kinds and sizes that no export writes, before anything is unpacked."""
        packed = unpacked = 0
        for info in self._zip.infolist():
            name = info.filename
            known = name == MANIFEST or name.removesuffix(".jsonl") in _LISTS and name.endswith(".jsonl")
            if not known and not any(form.fullmatch(name) for form in (_ROWS, _SIMULATION, _CONTENT)):
                raise _Odd(f"it has a member {show(name)}, which no export writes")
            if name in self._members:
                raise _Odd(f"it has two members {show(name)}")
            if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _Odd(f"its member {name} is encrypted, or packed in a way that no export uses")
            if info.file_size > MOST_RATIO * info.compress_size + _SLACK:
                raise _Odd(f"its member {name} would unpack {info.compress_size:,} bytes to {info.file_size:,}")
            packed, unpacked = packed + info.compress_size, unpacked + info.file_size
            self._members[name] = info
        if packed > self._size or unpacked > MOST_RATIO * self._size + _SLACK:
            raise _Odd(f"its {self._size:,} bytes would unpack to {unpacked:,}")

    def _read_manifest(self) -> str:
        if MANIFEST not in self._members:
            raise _Odd(f"it is no file of a tracked run: it has no {MANIFEST}")
        text = b"".join(self._pieces(MANIFEST))
        self._require_small(MANIFEST, text.decode("latin-1"))
        facts = load_json(text, self._name)
        if facts.get("format") != FORMAT:
            raise _Odd("it is no file of a tracked run: its manifest says something else")
        version = facts.get("version")
        if type(version) is not int or version < 1:
            raise _Odd("its manifest has no version")
        if version > VERSION:
            raise ArtifactVersionError(version, VERSION, self._name)
        if facts.get("digest") != digest_of_manifest(facts):
            raise ArtifactIntegrityError("its manifest does not have its digest", self._name)
        run_id, listed = facts.get("run"), facts.get("members")
        if set(facts) != {"format", "version", "run", "members", "digest"} or not isinstance(listed, dict):
            raise _Odd("its manifest is none of an export")
        for name, entry in listed.items():
            if type(entry) is not list or len(entry) != 2 or type(entry[0]) is not int or type(entry[1]) is not str:
                raise _Odd(f"its manifest says nothing of {show(name)}")
            self._listed[name] = (entry[0], entry[1])
        there = {name for name in self._members if name != MANIFEST and not _CONTENT.fullmatch(name)}
        odd = sorted(there ^ set(self._listed)) or [name for name in _LISTS if f"{name}.jsonl" not in there]
        if odd:
            raise _Odd(f"its manifest and its members do not agree on {show(odd[0])}")
        if type(run_id) is not str or id_problem(run_id):
            raise _Odd(f"the run {show(run_id)} has no id of a run")
        return run_id

    def _pieces(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a member, and refuse others than its manifest says."""
        found, n = hashlib.blake2b(digest_size=32), 0
        with self._zip.open(self._members[name]) as file:
            while piece := file.read(_PIECE):
                found.update(piece)
                n += len(piece)
                yield piece
        if name in self._listed and self._listed[name] != (n, found.hexdigest()):
            raise ArtifactIntegrityError(f"its member {name} does not have its digest", self._name)

    def _texts(self, name: str) -> Iterator[str]:
        """Yield the lines of a member."""
        begun: list[bytes] = []  # the pieces of a line that has not ended yet
        n = 0
        for piece in self._pieces(name):
            *lines, rest = piece.split(b"\n")
            for line in lines:
                text = b"".join([*begun, line]).decode()
                begun, n = [], 0
                self._require_small(name, text)
                yield text
            begun.append(rest)
            n += len(rest)
            if n > _MOST_LINE:
                raise _Odd(f"its member {name} has a line of more than {_MOST_LINE:,} bytes")
        if n:
            raise _Odd(f"its member {name} ends within a line")

    def _require_small(self, name: str, text: str) -> None:
        """Refuse JSON, before it is parsed, that would be far more in memory than it is in the file."""
        packed = self._members[name].compress_size
        if len(text) > bounds.VALUES and bounds.n_values(text) > bounds.room(packed):
            raise _Odd(f"{packed:,} bytes of its member {name} would be more than {bounds.room(packed):,} values")

    def _values(self, name: str) -> Iterator[Any]:
        for line in self._texts(f"{name}.jsonl"):
            try:
                yield loads(line)
            except ValueError as error:
                raise _Odd(f"a line of its {name} is not JSON: {error}") from None

    def _lists(self, name: str) -> Iterator[list[Any]]:
        """Yield the lines of a table, their types checked."""
        types = _TYPES[name]
        for row in self._values(name):
            fits = type(row) is list and len(row) == len(types)
            if not fits or not all(_CHECKS[kind](value) for kind, value in zip(types, row, strict=True)):
                raise _Odd(f"a line of its {name} is {show(row)}")
            for value in row:  # text that is JSON
                if type(value) is str:
                    self._require_small(f"{name}.jsonl", value)
            yield row

    # ---- tables

    def _runs(self, store: Store, run_id: str) -> None:
        found = set()
        for facts in self._values("runs"):
            _require(type(facts) is dict and set(facts) == {"id", "project", "entity", "began"}, "a run", facts)
            _require(type(facts["id"]) is str and not id_problem(facts["id"]), "the id of a run", facts["id"])
            labels = _text_or_null(facts["project"]) and _text_or_null(facts["entity"])
            _require(labels and _float(facts["began"]) and facts["id"] not in found, "a run", facts)
            found.add(facts["id"])
            row = (facts["id"], facts["project"], facts["entity"], facts["began"], int(facts["id"] != run_id))
            query = "INSERT INTO runs (id, project, entity, began, current, removed) VALUES (?, ?, ?, ?, -1, ?)"
            store.connection.execute(query, row)
        _require(run_id in found, "the run of its manifest", run_id)

    def _revisions(self, store: Store, run_id: str) -> int:
        """Add the revisions: number i of the file is i + 1 here, and parents come first."""
        connection, n = store.connection, 0
        parents: list[tuple[str, int | None]] = []
        for n, facts in enumerate(self._values("revisions"), 1):
            problem = _revision_problem(facts, n - 1)
            if problem:
                raise _Odd(f"revision {n - 1} of it is none: {problem}")
            known = store.read("SELECT 1 FROM runs WHERE id = ?", (facts["run"],))
            twin = "SELECT 1 FROM revisions WHERE run = ? AND number = ?"
            _require(bool(known) and not store.read(twin, (facts["run"], facts["number"])), "a revision", facts["run"])
            parents.append((facts["run"], facts["parent"]))
            row = {
                "machine": None,
                **dict.fromkeys(OPTIONAL),
                **facts,
                "uid": n,
                "parent": None if facts["parent"] is None else facts["parent"] + 1,
            }
            for name in ("tags", "config", "defined", "summary", "limits", "machine"):
                row[name] = None if row[name] is None else json.dumps(row[name])
            connection.execute(
                f"INSERT INTO revisions ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values())
            )
        needed = {i for i, (run, _) in enumerate(parents) if run == run_id}
        for i in range(n - 1, -1, -1):
            above = parents[i][1]
            if i in needed and above is not None:
                needed.add(above)
        _require(len(needed) == n, "a revision that the run does not come from, one", n - len(needed))
        connection.execute(f"UPDATE runs SET current = coalesce(({history.NEWEST}), -1)")
        return n

    def _rows(self, store: Store, n: int) -> None:
        """Add the rows, and the marks, which are computed."""
        there = {name for name in self._members if _ROWS.fullmatch(name)}
        _require(there == {f"rows/{i}.jsonl" for i in range(n)}, "the members of its rows", len(there))
        for i in range(n):
            record = history.record_of(store, i + 1)
            aggregates = Aggregates()
            if record.parent is not None:
                aggregates = history.aggregates_at(store, record.parent, record.last_row)
            some: list[tuple[int, str, float | None]] = []
            cells, length, unmarked = Pyramid(), 0, 0
            for line in self._texts(f"rows/{i}.jsonl"):
                found = _ROW.fullmatch(line)
                if found is None or int(found[1]) >= 1 << 62:
                    raise _Odd(f"a row of revision {i} is {show(line, 80)}")
                some.append((int(found[1]), found[2], None if found[3] is None else float(found[3])))
                length, unmarked = length + len(line), unmarked + 1
                if unmarked == MARK_ROWS or length > LONG:
                    _add_rows(store, i + 1, some, aggregates, cells)
                    self._require_few(aggregates)
                    length = 0
                if unmarked == MARK_ROWS:
                    _mark(store, i + 1, aggregates)
                    unmarked = 0
            _add_rows(store, i + 1, some, aggregates, cells)
            self._require_few(aggregates)
            if unmarked:
                _mark(store, i + 1, aggregates)
            cells.end()
            cells.write(store.connection, i + 1)

    def _require_few(self, aggregates: Aggregates) -> None:
        if len(aggregates) > bounds.NAMES + self._size // 8:
            raise _Odd(f"its {self._size:,} bytes hold more than {len(aggregates):,} names of metrics")

    def _table(self, store: Store, table: str, columns: str, n: int) -> None:
        marks = ", ".join("?" * len(_TYPES[table]))
        query = f"INSERT INTO {table} (revision, {columns}) VALUES ({marks})"
        for i, *row in self._lists(table):
            _require(i < n, f"the revision of its {table}", i)
            _insert(store, query, (i + 1, *row), table)
        if table == "backfilled":
            for uid, name in store.read("SELECT DISTINCT revision, name FROM backfilled"):
                keep_backfilled(store, uid, name)

    def _artifacts(self, store: Store, n: int) -> None:
        query = """INSERT INTO artifacts (uid, name, version, type, digest, manifest, metadata, began)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
        n_artifacts = 0
        wanted: set[str] = set()
        for n_artifacts, row in enumerate(self._lists("artifacts"), 1):
            _require(_ARTIFACT.fullmatch(row[0]) is not None and _HEX.fullmatch(row[3]) is not None, "an artifact", row)
            _require(type(loads(row[5])) is dict, "the metadata of an artifact", row[5])
            wanted |= {file.digest for file in blobs.manifest_of(row[4])}
            _insert(store, query, (n_artifacts, *row), "artifacts")
        there = {name[len("contents/") :] for name in self._members if _CONTENT.fullmatch(name)}
        _require(there == wanted, "the contents of its artifacts, in number", len(there))
        query = """INSERT INTO artifact_events (revision, n, step, kind, artifact, aliases) VALUES (?, ?, ?, ?, ?, ?)"""
        used = set()
        for i, number, step, kind, artifact, aliases in self._lists("artifact_events"):
            named = loads(aliases)
            sound = (
                i < n and artifact < n_artifacts and kind in ("logged", "used", "media", "code") and type(named) is list
            )
            _require(sound and all(map(is_text, named)), "what an artifact was used for", aliases)
            used.add(artifact)
            _insert(store, query, (i + 1, number, step, kind, artifact + 1, aliases), "artifact_events")
        _require(len(used) == n_artifacts, "the number of its artifacts", n_artifacts)

    def _simulations(self, store: Store, n: int) -> None:
        query = """INSERT INTO simulations (revision, n, first, origin, n_steps, log_every, metrics, noise, file)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
        wanted, taken = set[str](), set[str]()
        for row in self._values("simulations"):
            _require(type(row) is list and len(row) == 9, "a simulation", row)
            i, number, first, origin, n_steps, every, metrics, noise, kind = row
            sound = all(map(_natural, (i, number, first, origin, n_steps))) and i < n and 1 <= number < 10**9
            sound = sound and n_steps >= 1 and (every is None or (_natural(every) and every >= 1))
            sound = sound and noise in (None, "same", "fresh") and kind in (None, "replay", "replay" + SUFFIX)
            sound = sound and type(metrics) is dict
            sound = sound and all(spec is None or spec is False or is_text(spec) for spec in metrics.values())
            _require(sound, "a simulation", row)
            ((run, revision),) = store.read("SELECT run, number FROM revisions WHERE uid = ?", (i + 1,))
            file = free_name(run, revision, number, taken)
            facts = (i + 1, number, first, origin, n_steps, every, json.dumps(metrics), noise, file)
            _insert(store, query, facts, "simulations")
            if kind is not None:
                member = f"simulations/{i}.{number}.{kind}"
                _require(member in self._members, "the file of a simulation", member)
                wanted.add(member)
                target = os.path.join(store.folder, "simulations", file + kind.removeprefix("replay"))
                blobs.put(target, self._pieces(member))
        there = {name for name in self._members if _SIMULATION.fullmatch(name)}
        _require(there == wanted, "the files of its simulations, in number", len(there))

    def _contents(self, staging: str) -> None:
        for name, info in self._members.items():
            found = _CONTENT.fullmatch(name)
            if found is not None:
                with self._zip.open(info) as file:
                    blobs.add_content(staging, file, found[1])


def _add_rows(
    store: Store, uid: int, rows: list[tuple[int, str, float | None]], aggregates: Aggregates, cells: Pyramid
) -> None:
    query = "INSERT INTO rows (revision, step, data, seconds) VALUES (?, ?, ?, ?)"
    for step, data, seconds in rows:
        _insert(store, query, (uid, step, data, seconds), "rows")
    values = [(step, row_of(data)) for step, data, _ in rows]
    aggregates.add(values)
    cells.add(values)
    cells.write(store.connection, uid)
    cells.take()
    rows.clear()


def _mark(store: Store, uid: int, aggregates: Aggregates) -> None:
    mark = (uid, aggregates.last_step, row_text(aggregates.to_json()))
    _insert(store, "INSERT INTO marks (revision, step, accounts) VALUES (?, ?, ?)", mark, "rows")


def _insert(store: Store, query: str, row: tuple[Any, ...], table: str) -> None:
    import sqlite3

    try:
        store.connection.execute(query, row)
    except sqlite3.IntegrityError as error:
        raise _Odd(f"a line of its {table} is there twice: {error}") from None


# ---- types


def _require(sound: bool, what: str, found: Any) -> None:
    if not sound:
        raise _Odd(f"{what} is none that an export writes: {show(found, 80)}")


def _integer(value: Any) -> bool:
    return type(value) is int and -(1 << 63) <= value < 1 << 63


def _natural(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _float(value: Any) -> bool:
    return type(value) is float and value - value == 0.0


def _text_or_null(value: Any) -> bool:
    return value is None or is_text(value)


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "i": _integer,
    "n": _natural,
    "f": lambda value: _float(value) or _integer(value),
    "t": is_text,
}


def _revision_problem(facts: Any, i: int) -> str:
    """Return what is wrong with the facts of the i-th revision, empty for sound ones."""
    if type(facts) is not dict or set(facts) | {"machine", *OPTIONAL} != set(FACTS):  # version 1 of it has none
        return "it has other facts than a revision"
    facts = {"machine": None, **dict.fromkeys(OPTIONAL), **facts}

    def hexadecimal(value: Any) -> bool:
        return value is None or (type(value) is str and _HEX.fullmatch(value) is not None)

    def natural(value: Any) -> bool:
        return value is None or _natural(value)

    tests: dict[str, Callable[[Any], bool]] = {
        "run": is_text,
        "number": lambda value: _natural(value) and 1 <= value < 10**9,
        "kind": lambda value: value in ("begun", "resumed", "rewound", "forked"),
        "parent": lambda value: value is None or (_natural(value) and value < i),
        "parent_step": lambda value: value == -1 or _natural(value),
        "name": is_text,
        "notes": _text_or_null,
        "tags": lambda value: type(value) is list and all(map(is_text, value)),
        "config": lambda value: type(value) is dict,
        "defined": lambda value: type(value) is dict and definitions_problem(value) is None,
        "summary": lambda value: value is None or _is_row(value),
        "state": lambda value: value in ("finished", "failed", "crashed", "purged"),
        "exit_code": lambda value: value is None or _integer(value),
        "began": _float,
        "ended": lambda value: value is None or _float(value),
        "pid": natural,
        "host": _text_or_null,
        "n_rows": natural,
        "last_step": lambda value: value is None or value == -1 or _natural(value),
        "kept_rows": natural,
        "limits": _limits_fit,
        "machine": lambda value: value is None or type(value) is dict,
        "made_as": lambda value: value is None or (is_text(value) and _REF.fullmatch(value) is not None),
        **dict.fromkeys(("rows_digest", "parent_digest", "simulation_digest", "digest", "kept_digest"), hexadecimal),
    }
    for name, fits in tests.items():
        if type(facts[name]) is bool or not fits(facts[name]):
            return f"its {name} is {show(facts[name], 80)}"
    if facts["digest"] is None and facts["kept_digest"] is None:
        return "it is not closed"
    if (facts["state"] == "purged") is not (facts["kept_digest"] is not None):
        return f"its state is {facts['state']}"
    return ""


def _limits_fit(value: Any) -> bool:
    if value is None:
        return True
    names = {"lines", "samples", "assigned", "artifact_events", "backfilled"}
    if type(value) is not dict or set(value) - {"rows"} != names:
        return False
    numbers = [value[name] for name in value if name != "backfilled"]
    named = value["backfilled"]
    return all(one == -1 or _natural(one) for one in numbers) and type(named) is list and all(map(is_text, named))


def _is_row(value: Any) -> bool:
    """Whether a summary is one: it is made as a row is, but that it has a step."""
    if type(value) is not dict:
        return False
    try:
        row_of(json.dumps({key: one for key, one in value.items() if key != "_step"}))
    except ValueError:
        return False
    return True
