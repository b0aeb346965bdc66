"""A run that another program logged, on its way into a tracker: in a folder of its own first, and then merged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import LogValueError, TrackedArtifactError
from ..close import close
from ..config import plain_dict
from ..media import Keep, Media
from ..store import history
from ..store.aggregates import Aggregates, Definitions
from ..store.artifacts import keep
from ..store.configs import stored
from ..store.database import Store
from ..store.values import Unkept, kept_value
from ..store.writer import Writer

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass
class About:
    """What is known of a run that is imported.

    Attributes
    ----------
    labels : dict of str to str
        Group and job type, as far as there are any.
    began : float
        In seconds since 1970.
    """

    run_id: str
    name: str = ""
    project: str | None = None
    entity: str | None = None
    notes: str | None = None
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    host: str | None = None
    began: float = 0.0


class Target:
    """A run that what is imported is logged to.

    Parameters
    ----------
    folder : str
        A new one of a tracker.
    about : About
        Its config may grow until `end`.

    Attributes
    ----------
    left_out : list of str
        What of it cannot be kept, in words.
    """

    def __init__(self, folder: str, about: About) -> None:
        self.about, self.left_out = about, list[str]()
        self.store = Store(folder, write=True)
        facts = {
            "run": about.run_id,
            "number": 1,
            "kind": "begun",
            "parent": None,
            "parent_step": -1,
            "name": about.name or about.run_id,
            "notes": about.notes,
            "tags": json.dumps(list(dict.fromkeys(about.tags))),
            "config": "{}",
            "state": "running",
            "began": about.began,
            "host": about.host,
        }
        with self.store.writing("begin a run in") as connection:
            query = f"INSERT INTO revisions ({', '.join(facts)}) VALUES ({', '.join('?' * len(facts))})"
            uid = connection.execute(query, tuple(facts.values())).lastrowid or 0
            query = "INSERT INTO runs (id, project, entity, began, current) VALUES (?, ?, ?, ?, ?)"
            connection.execute(query, (about.run_id, about.project, about.entity, about.began, uid))
        self._uid = uid
        self._writer = Writer(self.store, uid, 0, Aggregates(), Definitions(), "raise")
        self._writer.clock = lambda: self._seconds
        self._seconds: float | None = None

    @property
    def step(self) -> int:
        """The first step that a row can have now."""
        return self._writer.step

    def row(self, step: int, values: Mapping[str, Any], seconds: float | None) -> None:
        """Log a row, at a step after that of the last one; `seconds` since 1970 is when it was logged, if known."""
        self._seconds = seconds
        try:
            self._writer.log(values, step, True, 0)
        except LogValueError as error:
            self.left_out.append(str(error))

    def line(self, stream: str, text: str) -> None:
        """Keep a line of output, with the last row."""
        self._writer.beside(
            "INSERT OR REPLACE INTO lines (revision, n, step, stream, text) VALUES (?, ?, ?, ?, ?)",
            (self._writer.where(), stream, text),
        )

    def define(self, name: str, step_metric: str | None, summary: str | None, step_sync: bool | None) -> None:
        """Say of a metric what `define_metric` says."""
        new = Definitions(self._writer.definitions)
        new.define(name, step_metric, summary, step_sync, False)
        with self.store.writing() as connection:
            connection.execute("UPDATE revisions SET defined = ? WHERE uid = ?", (json.dumps(new), self._uid))
        self._writer.define(new)

    def artifact(self, folder: str, name: str, kind: str, aliases: list[str], metadata: Mapping[str, Any]) -> None:
        """Keep a folder as a version of an artifact."""
        self._writer.flush()
        try:
            keep(self.store, self._uid, self._writer.where(), folder, name, kind, aliases, metadata)
        except TrackedArtifactError as error:
            self.left_out.append(str(error))

    def summary(self, wanted: Mapping[str, Any]) -> None:
        """Put into the summary what its rows do not give; dicts in it are dotted names."""
        self._writer.flush()
        there = history.summary_of(self.store, self._uid, self._writer.aggregates, self._writer.definitions)
        for key, value in _flat(wanted, there):
            try:
                self._writer.assign(key, kept_value(value))
            except Unkept:
                self.left_out.append(f"{key!r} of the summary")

    def end(self, exit_code: int | None, ended: float) -> None:
        """Close it: without an exit code as one that was cut off."""
        config = json.dumps(stored(plain_dict(self.about.config), self.about.labels))
        with self.store.writing() as connection:
            connection.execute("UPDATE revisions SET config = ? WHERE uid = ?", (config, self._uid))
        self._writer.end()
        state = "crashed" if exit_code is None else "failed" if exit_code else "finished"
        close(self.store, self._uid, state, exit_code, self._writer)
        with self.store.writing() as connection:  # the digest is not over the time
            connection.execute("UPDATE revisions SET ended = ? WHERE uid = ?", (ended, self._uid))
        self.store.durable()

    def close(self) -> None:
        """Close the database."""
        self.store.close()


#: What logs one run to a target that it makes of what it found.
Log = Callable[[Callable[[About], Target]], Target]


def _flat(wanted: Mapping[str, Any], there: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what a summary lacks. A dict that it has is of media, or what was asked for: its rows give it."""
    for key, value in wanted.items():
        name = prefix + key
        if isinstance(there.get(name), dict):
            continue
        if isinstance(value, Mapping):
            if "_type" not in value:
                yield from _flat(value, there, f"{name}.")
        elif name not in there or not _same(there[name], value):
            yield name, value


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) or (a != a and b != b)


def id_of(parts: Iterable[bytes]) -> str:
    """Return a run id that is made of what is imported, so that the same again is the same run."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
    number = int.from_bytes(digest.digest(), "big")
    return "".join(_DIGITS[number // 36**i % 36] for i in range(8))


class Object(Media):
    """A value that stands in a row as one object, as media do; its files are kept.

    Parameters
    ----------
    facts : dict
        With a ``_type``.
    files : dict of str to (str, bytes or str, str)
        By the text that stands for a file in `facts`: its folder in the run, its bytes or its path, its suffix.
    """

    def __init__(self, facts: dict[str, Any], files: Mapping[str, tuple[str, bytes | str, str]] | None = None) -> None:
        self._facts, self._files = facts, files or {}

    def in_row(self, key: str, keep: Keep) -> dict[str, Any]:
        """Return what the row gets."""
        return {key: self._placed(self._facts, key, keep)}

    def _placed(self, value: Any, key: str, keep: Keep) -> Any:
        if isinstance(value, list):
            return [self._placed(item, key, keep) for item in value]
        if isinstance(value, str) and value in self._files:
            return keep(key, *self._files[value])["path"]
        if not isinstance(value, dict):
            return value
        found = {name: self._placed(item, key, keep) for name, item in value.items() if name != "path"}
        path = value.get("path")
        if isinstance(path, str) and path in self._files:
            return {**found, **keep(key, *self._files[path])}
        return value if path is None else {**found, "path": path}
