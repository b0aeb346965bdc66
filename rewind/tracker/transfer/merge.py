"""Merge runs that were read from a file, and checked, into a tracker's folder: all of them, or nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ...errors import RunExistsError, StoreError, TrackedArtifactError
from ...storage.files import flush_folder
from ...storage.journal import SUFFIX
from ..simulation.parts import forget, free_name
from ..store import blobs, history
from ..store.damage import understood
from ..store.database import OWNED, Store
from ..store.lock import RunLock
from .export import FACTS, TABLES


class Merge:
    """What was staged and checked, on its way into a tracker's folder.

    A revision that is here is known by its digest. One whose number another one has here, since the run went on in two
    folders, gets the next number that is free: with what follows it, it is another lineage of what both have in common,
    and the run stands where it stood.

    Attributes
    ----------
    run_id : str
        The run that was exported.
    runs : list of str
        After `merge`: the runs of which something was new, the exported one first.
    lineages : dict of str to str
        After `merge`: the revisions that have another number here, ``ID@REV`` there and here.
    """

    def __init__(self, folder: str, staging: str, run_id: str) -> None:
        self.folder, self.staging, self.run_id = folder, staging, run_id
        self.runs: list[str] = []
        self.lineages: dict[str, str] = {}
        self._new: set[str] = set()  # runs
        self._locked: set[str] = set()

    def rename(self, new_id: str) -> None:
        """Give the exported run another id; its revisions keep their digests, and the names that these are over.

        Raises
        ------
        RunExistsError
            If it comes from a run of that id.
        """
        staged = Store(self.staging, write=True)
        try:
            with staged.writing("import into") as connection:
                if new_id != self.run_id and staged.read("SELECT 1 FROM runs WHERE id = ?", (new_id,)):
                    raise RunExistsError(new_id, self.folder, importing=self.run_id)
                query = """UPDATE revisions SET made_as = coalesce(made_as, run || '@' || number), run = ?
                           WHERE run = ? AND run != ?"""
                connection.execute(query, (new_id, self.run_id, new_id))
                connection.execute("UPDATE runs SET id = ? WHERE id = ?", (new_id, self.run_id))
        finally:
            staged.close()
        self.run_id = new_id

    def merge(self) -> None:
        """Move it, all or nothing."""
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
        self.runs = sorted(self._new, key=lambda run: (run != self.run_id, run))

    def _differs(self, store: Store, staged: Store, run: str) -> bool:
        query = "SELECT digest, kept_digest FROM revisions WHERE run = ? ORDER BY number"
        here = set(store.read(query, (run,)))
        return not set(staged.read(query, (run,))) <= here or self._is_removed(store, run)

    def _is_removed(self, store: Store, run: str) -> bool:
        return run == self.run_id and bool(store.read("SELECT 1 FROM runs WHERE id = ? AND removed = 1", (run,)))

    def _move(self, store: Store, staged: Store) -> None:
        moved: dict[int, int] = {}  # number of a revision there, and here
        at: dict[int, int] = {}
        apart = {run for (run,) in staged.read("SELECT id FROM runs") if self._went_on(store, staged, run)}
        for uid, run, number, digest, kept, kept_rows, parent in staged.read(
            "SELECT uid, run, number, digest, kept_digest, kept_rows, parent FROM revisions ORDER BY uid"
        ):
            here, free = None, number
            there = self._same(store, run, number, digest, kept)
            if there is not None:
                here, free, old_kept, old_rows = there
                at[uid] = here
                # One that was purged here, and is whole in the file, comes back.
                if old_kept is None or (kept is not None and kept_rows <= old_rows):
                    continue
                for table in OWNED:
                    store.connection.execute(f"DELETE FROM main.{table} WHERE revision = ?", (here,))
            elif self._is_taken(store, run, number) or run in apart:
                if not staged.read("SELECT 1 FROM revisions WHERE uid = ? AND run = ?", (parent, run)):
                    raise RunExistsError(run, self.folder, self._archived(store, run), importing=self.run_id)
                ((free,),) = store.read("SELECT max(number) + 1 FROM main.revisions WHERE run = ?", (run,))
                free += free == number  # by its number it is known to be of another lineage: see `history.NEWEST`
                self.lineages[f"{run}@{number}"] = f"{run}@{free}"
            if run not in self._locked:
                raise StoreError("import into", self.folder, f"run {run!r} changed meanwhile; try again")
            at[uid] = moved[uid] = self._move_revision(store, uid, here, free, at)
            if free != number:
                query = "UPDATE main.revisions SET made_as = coalesce(made_as, run || '@' || ?) WHERE uid = ?"
                store.connection.execute(query, (number, at[uid]))
            self._new.add(run)
        self._move_artifacts(store, staged, moved)
        self._move_simulations(store, staged, moved)
        for run, project, entity, began in staged.read("SELECT id, project, entity, began FROM runs"):
            query = """INSERT OR IGNORE INTO main.runs (id, project, entity, began, current, removed)
                       VALUES (?, ?, ?, ?, -1, 1)"""
            store.connection.execute(query, (run, project, entity, began))
            store.connection.execute(f"UPDATE main.runs SET current = ({history.NEWEST}) WHERE id = ?", (run,))
        if self._is_removed(store, self.run_id):
            whole = "(SELECT kept_digest FROM main.revisions WHERE uid = current) IS NULL"
            query = f"UPDATE main.runs SET removed = 0 WHERE id = ? AND {whole}"
            if store.connection.execute(query, (self.run_id,)).rowcount:
                self._new.add(self.run_id)

    def _same(
        self, store: Store, run: str, number: int, digest: str | None, kept: str | None
    ) -> tuple[int, int, str | None, int] | None:
        """Return what there is here of a revision: its uid, its number, the digest and number of rows that are left."""
        what = "SELECT uid, number, kept_digest, kept_rows FROM main.revisions WHERE run = ?"
        if digest is not None:
            found = store.read(f"{what} AND digest = ?", (run, digest))
        else:  # it was purged before it was closed
            query = f"{what} AND number = ? AND digest IS NULL AND kept_digest = ?"
            found = store.read(query, (run, number, kept))
        return found[0] if found else None

    def _went_on(self, store: Store, staged: Store, run: str) -> bool:
        """Whether a run has revisions here that the file does not know."""
        known = {digest for (digest,) in staged.read("SELECT digest FROM revisions WHERE run = ?", (run,))}
        here = store.read("SELECT digest FROM main.revisions WHERE run = ?", (run,))
        return any(digest not in known for (digest,) in here)

    def _is_taken(self, store: Store, run: str, number: int) -> bool:
        return bool(store.read("SELECT 1 FROM main.revisions WHERE run = ? AND number = ?", (run, number)))

    def _archived(self, store: Store, run: str) -> bool:
        return bool(store.read("SELECT 1 FROM runs WHERE id = ? AND removed = 1", (run,)))

    def _move_revision(self, store: Store, uid: int, here: int | None, number: int, at: dict[int, int]) -> int:
        connection, facts = store.connection, ", ".join(FACTS)
        columns = facts.replace("number", "?")
        source = f"SELECT ?, {columns} FROM staged.revisions WHERE uid = ?"
        query = f"INSERT OR REPLACE INTO main.revisions (uid, {facts}) {source}"
        new = connection.execute(query, (here, number, uid)).lastrowid
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
