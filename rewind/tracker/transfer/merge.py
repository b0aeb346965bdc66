"""Merge runs that were read from a file, and checked, into a tracker's folder: all of them, or nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ...errors import RunExistsError, StoreError, TrackedArtifactError
from ...storage.files import flush_folder
from ...storage.journal import SUFFIX
from ..simulation.parts import forget, free_name
from ..store import blobs
from ..store.damage import understood
from ..store.database import OWNED, Store
from ..store.lock import RunLock
from .export import FACTS, TABLES


class Merge:
    """What was staged and checked, on its way into a tracker's folder."""

    def __init__(self, folder: str, staging: str, run_id: str) -> None:
        self.folder, self.staging, self.run_id = folder, staging, run_id
        self._new: set[str] = set()  # runs
        self._locked: set[str] = set()

    def merge(self) -> list[str]:
        """Move it, all or nothing, and return the runs of which something was new, the exported one first."""
        staged = Store(self.staging)
        store = Store(self.folder, write=True)
        try:
            with understood(store.path), contextlib.ExitStack() as locks, _attached(store, staged.path):
                for (run,) in staged.read("SELECT id FROM runs ORDER BY id"):
                    if self._differs(store, staged, run):
                        lock = RunLock(self.folder, run)
                        locks.callback(lock.release)
                        self._locked.add(run)
                with store.writing("import into"):
                    self._move(store, staged)
                store.durable()
        finally:
            store.close()
            staged.close()
        return sorted(self._new, key=lambda run: (run != self.run_id, run))

    def _differs(self, store: Store, staged: Store, run: str) -> bool:
        query = "SELECT number, digest, kept_digest FROM revisions WHERE run = ? ORDER BY number"
        here = set(store.read(query, (run,)))
        return not set(staged.read(query, (run,))) <= here or self._is_removed(store, run)

    def _is_removed(self, store: Store, run: str) -> bool:
        return run == self.run_id and bool(store.read("SELECT 1 FROM runs WHERE id = ? AND removed = 1", (run,)))

    def _move(self, store: Store, staged: Store) -> None:
        moved: dict[int, int] = {}  # number of a revision there, and here
        at: dict[int, int] = {}
        for uid, run, number, digest, kept, kept_rows in staged.read(
            "SELECT uid, run, number, digest, kept_digest, kept_rows FROM revisions ORDER BY uid"
        ):
            query = "SELECT uid, digest, kept_digest, kept_rows FROM revisions WHERE run = ? AND number = ?"
            there = store.read(query, (run, number))
            if there:
                ((here, old, old_kept, old_rows),) = there
                if old != digest or (old is None and old_kept != kept):
                    raise RunExistsError(run, self.folder, self._archived(store, run))
                at[uid] = here
                # One that was purged here, and is whole in the file, comes back.
                if old_kept is None or (kept is not None and kept_rows <= old_rows):
                    continue
                for table in OWNED:
                    store.connection.execute(f"DELETE FROM main.{table} WHERE revision = ?", (here,))
            else:
                here = None
            if run not in self._locked:
                raise StoreError("import into", self.folder, f"run {run!r} changed meanwhile; try again")
            at[uid] = moved[uid] = self._move_revision(store, uid, here, at)
            self._new.add(run)
        self._move_artifacts(store, staged, moved)
        self._move_simulations(store, staged, moved)
        for run, project, entity, began in staged.read("SELECT id, project, entity, began FROM runs"):
            query = """INSERT OR IGNORE INTO main.runs (id, project, entity, began, current, removed)
                       VALUES (?, ?, ?, ?, -1, 1)"""
            store.connection.execute(query, (run, project, entity, began))
            current = "SELECT uid FROM main.revisions r WHERE r.run = runs.id ORDER BY number DESC LIMIT 1"
            store.connection.execute(f"UPDATE main.runs SET current = ({current}) WHERE id = ?", (run,))
        if self._is_removed(store, self.run_id):
            whole = "(SELECT kept_digest FROM main.revisions WHERE uid = current) IS NULL"
            query = f"UPDATE main.runs SET removed = 0 WHERE id = ? AND {whole}"
            if store.connection.execute(query, (self.run_id,)).rowcount:
                self._new.add(self.run_id)

    def _archived(self, store: Store, run: str) -> bool:
        return bool(store.read("SELECT 1 FROM runs WHERE id = ? AND removed = 1", (run,)))

    def _move_revision(self, store: Store, uid: int, here: int | None, at: dict[int, int]) -> int:
        connection, facts = store.connection, ", ".join(FACTS)
        source = f"SELECT ?, {facts} FROM staged.revisions WHERE uid = ?"
        query = f"INSERT OR REPLACE INTO main.revisions (uid, {facts}) {source}"
        new = connection.execute(query, (here, uid)).lastrowid
        assert new is not None
        ((parent,),) = store.read("SELECT parent FROM staged.revisions WHERE uid = ?", (uid,))
        above = None if parent is None else at[parent]
        connection.execute("UPDATE main.revisions SET parent = ? WHERE uid = ?", (above, new))
        tables = {
            "rows": "step, data, seconds",
            "marks": "step, accounts",
            "pyramids": "name, level, step, cells",
        }
        for table, columns in {**tables, **{name: columns for name, (columns, _) in TABLES.items()}}.items():
            source = f"SELECT ?, {columns} FROM staged.{table} WHERE revision = ?"
            connection.execute(f"INSERT INTO main.{table} (revision, {columns}) {source}", (new, uid))
        return new

    def _move_artifacts(self, store: Store, staged: Store, moved: dict[int, int]) -> None:
        events = "SELECT revision, n, step, kind, artifact, aliases FROM artifact_events ORDER BY revision, n"
        wanted = [row for row in staged.read(events) if row[0] in moved]
        at = {artifact: self._artifact(store, staged, artifact) for artifact in sorted({row[4] for row in wanted})}
        query = """INSERT INTO main.artifact_events (revision, n, step, kind, artifact, aliases)
                   VALUES (?, ?, ?, ?, ?, ?)"""
        for uid, n, step, kind, artifact, aliases in wanted:
            store.connection.execute(query, (moved[uid], n, step, kind, at[artifact], aliases))

    def _artifact(self, store: Store, staged: Store, artifact: int) -> int:
        facts = "name, version, type, digest, manifest, metadata, began"
        (row,) = staged.read(f"SELECT {facts} FROM artifacts WHERE uid = ?", (artifact,))
        name, version, _, digest, manifest = row[:5]
        query = "SELECT uid, version, digest FROM main.artifacts WHERE name = ? AND (version = ? OR digest = ?)"
        for uid, here, there in store.read(query, (name, version, digest)):
            if (here, there) != (version, digest):
                what = "has another content" if here == version else f"is {name}:v{here}"
                way = "Import it into a folder of its own, with dir="
                raise TrackedArtifactError(f"cannot import {name}:v{version}: in {self.folder} that {what}. {way}")
            return int(uid)
        for file in blobs.manifest_of(manifest):
            if not blobs.has_content(self.folder, file.digest, file.size):
                _move_file(blobs.content_path(self.staging, file.digest), blobs.content_path(self.folder, file.digest))
        statement = f"INSERT INTO main.artifacts ({facts}) VALUES (?, ?, ?, ?, ?, ?, ?)"
        return int(store.connection.execute(statement, row).lastrowid or 0)

    def _move_simulations(self, store: Store, staged: Store, moved: dict[int, int]) -> None:
        facts = "n, first, origin, n_steps, log_every, metrics, noise"
        taken = {file.lower() for (file,) in store.read("SELECT file FROM main.simulations")}
        query = f"SELECT s.revision, run, number, file, {facts} FROM simulations s JOIN revisions ON uid = s.revision"
        for uid, run, number, file, n, *rest in staged.read(query):
            if uid not in moved:
                continue
            name = free_name(run, number, n, taken)
            forget(self.folder, name)
            for suffix in ("", SUFFIX):
                source = os.path.join(self.staging, "simulations", file + suffix)
                target = os.path.join(self.folder, "simulations", name + suffix)
                if os.path.exists(source):
                    _move_file(source, target)
                else:  # what an earlier purge left
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(target)
            store.connection.execute(
                f"INSERT INTO main.simulations (revision, {facts}, file) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (moved[uid], n, *rest, name),
            )


@contextlib.contextmanager
def _attached(store: Store, path: str) -> Iterator[None]:
    """Let statements name the database at `path` as ``staged``, beside the store's own, ``main``."""
    store.read("ATTACH DATABASE ? AS staged", (path,))
    try:
        yield
    finally:
        with contextlib.suppress(Exception), store.turn:
            store.connection.execute("DETACH DATABASE staged")


def _move_file(source: str, target: str) -> None:
    """Move a file that is on the disk."""
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.replace(source, target)
        flush_folder(os.path.dirname(target))
    except OSError as error:
        raise StoreError("write", target, error.strerror or str(error)) from None
