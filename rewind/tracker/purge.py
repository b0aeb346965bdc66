"""Remove a run from the list, or delete it for good; what another run still sees of it stays."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import RewindError, RunBusyError, StoreDamagedError, TrackerError
from ..storage.journal import SUFFIX
from .close import close
from .fsck import leftover_contents, leftover_simulations, rest_digest
from .store import blobs, history
from .store.damage import understood
from .store.database import OWNED, Store
from .store.history import END, Record
from .store.lock import RunLock
from .store.lookup import revision_of

#: Tables whose rows are at a step; those of a simulation are from one on.
_AT_STEP = tuple(table for table in OWNED if table != "simulations")
_LEFT_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Purged:
    """What was deleted, or would be.

    Attributes
    ----------
    run_id : str
    rows : int
        Rows of histories.
    files, n_bytes : int
        Files of simulations and artifacts.
    kept_rows : int
        Rows of the run that stay, since other runs see them.
    kept_for : tuple of str
        Ids of these runs. Where there are none, the id of the run is free again.
    """

    run_id: str
    rows: int
    files: int
    n_bytes: int
    kept_rows: int
    kept_for: tuple[str, ...]


def set_removed(folder: str, run_id: str, removed: bool) -> None:
    """Remove a run from the list, or bring it back: as `Tracker.remove` and `Tracker.restore` say."""
    with _locked(folder, run_id) as (store, record):
        if not removed and record.kept_digest is not None:
            raise TrackerError(f"run {run_id!r} cannot be brought back: it was purged, and is kept for its forks only")
        with store.writing("remove a run from") as connection:
            connection.execute("UPDATE runs SET removed = ? WHERE id = ?", (int(removed), run_id))
        store.durable()


def purge(folder: str, run_id: str, now: bool = True) -> Purged:
    """Delete a run: as `Tracker.purge` says."""
    with _locked(folder, run_id) as (store, _):
        plan = _Purge(store, run_id)
        with contextlib.suppress(_Undone), store.writing("remove a run from"):
            plan.delete_rows()
            if not now:
                raise _Undone
        if now:
            # From here on nothing refers to the files: what a crash leaves of them, the next purge finds.
            store.durable()
            plan.delete_files()
        return Purged(run_id, plan.n_rows, plan.n_files, plan.n_bytes, plan.n_kept, plan.kept_for)


class _Undone(Exception):
    """Ends the transaction of a purge that only tells what it would delete."""


@contextlib.contextmanager
def _locked(folder: str, run_id: str) -> Iterator[tuple[Store, Record]]:
    """Give the store and the current revision of a run that nobody writes to meanwhile."""
    Store(folder).close()  # where there is none, none is made
    store = Store(folder, write=True)
    try:
        with understood(store.path, "remove a run from"):
            revision_of(store, run_id, None, removed=True)  # before there is a lock file for a run that is not there
            lock = RunLock(folder, run_id)
            try:
                yield store, revision_of(store, run_id, None, removed=True)
            finally:
                lock.release()
    finally:
        store.close()


class _Purge:
    """The deletion of one run, and of what was kept of others for it alone."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.store, self.run_id = store, run_id
        self.n_rows = self.n_files = self.n_bytes = self.n_kept = 0
        self.kept_for: tuple[str, ...] = ()
        self._simulations: set[str] = set()
        self._contents: set[str] = set()

    # ---- in the database

    def delete_rows(self) -> None:
        """Delete all that no revision sees any more."""
        store = self.store
        for record in history.records(store, "run = ? AND digest IS NULL ORDER BY uid", (self.run_id,)):
            try:
                close(store, record.uid, "crashed", None)
            except RunBusyError:
                raise
            except RewindError:  # what a damaged file keeps from being closed may go all the same
                pass
        seen, viewers = self._seen()
        kept_for: set[str] = set()
        for uid, run in store.read(
            "SELECT uid, run FROM revisions WHERE run = ? OR kept_digest IS NOT NULL", (self.run_id,)
        ):
            if uid not in seen:
                self._delete(uid)
                continue
            self._cut(uid, seen[uid])
            if run == self.run_id:
                kept_for |= viewers[uid]
        self.kept_for = tuple(sorted(kept_for))
        query = """SELECT coalesce(sum(kept_rows), 0) FROM revisions WHERE run = ?"""
        ((self.n_kept,),) = store.read(query, (self.run_id,))
        connection = store.connection
        connection.execute("DELETE FROM runs WHERE id NOT IN (SELECT run FROM revisions)")
        connection.execute(
            f"""UPDATE runs SET removed = 1, current = ({history.NEWEST})
                WHERE current NOT IN (SELECT uid FROM revisions) OR id = ?""",
            (self.run_id,),
        )
        self._delete_artifacts()

    def _seen(self) -> tuple[dict[int, int], dict[int, set[str]]]:
        """Return up to which step each revision is seen by one that stays, and the runs of those that see it.

        Children come after their parents in the database, so one pass from the end tells.
        """
        seen: dict[int, int] = {}
        viewers: dict[int, set[str]] = {}
        query = "SELECT uid, run, number, parent, parent_step, kept_digest FROM revisions ORDER BY uid DESC"
        for uid, run, number, parent, step, kept in self.store.read(query):
            if run != self.run_id and kept is None:
                seen[uid] = END
                viewers.setdefault(uid, set()).add(run)
            if parent is None or uid not in seen:
                continue
            if parent >= uid:
                problem = f"the parent of {run}@{number} does not come before it; rewind fsck says more"
                raise StoreDamagedError("remove a run from", self.store.path, problem)
            seen[parent] = max(seen.get(parent, -1), min(seen[uid], step))
            viewers.setdefault(parent, set()).update(viewers[uid])
        return seen, viewers

    def _delete(self, uid: int) -> None:
        connection = self.store.connection
        self._files_of(uid, -1)
        for table in OWNED:
            n = connection.execute(f"DELETE FROM {table} WHERE revision = ?", (uid,)).rowcount
            self.n_rows += n if table == "rows" else 0
        connection.execute("DELETE FROM revisions WHERE uid = ?", (uid,))

    def _cut(self, uid: int, upto: int) -> None:
        """Leave of a revision only what is seen of it."""
        store, connection = self.store, self.store.connection
        self._files_of(uid, upto)
        gone = 0
        for table in _AT_STEP:
            n = connection.execute(f"DELETE FROM {table} WHERE revision = ? AND step > ?", (uid, upto)).rowcount
            self.n_rows += n if table == "rows" else 0
            gone += n
        gone += connection.execute("DELETE FROM simulations WHERE revision = ? AND first > ?", (uid, upto)).rowcount
        old = history.record_of(store, uid)
        if old.kept_digest is not None and not gone:
            return
        # The digests stay: those of its children are made of them.
        connection.execute(
            """UPDATE revisions SET state = 'purged', name = run, notes = NULL, tags = '[]', config = '{}',
               defined = '{}', summary = NULL, pid = NULL, host = NULL, machine = NULL WHERE uid = ?""",
            (uid,),
        )
        ((n_rows,),) = store.read("SELECT count(*) FROM rows WHERE revision = ?", (uid,))
        digest = rest_digest(store, history.record_of(store, uid))
        query = "UPDATE revisions SET kept_rows = ?, kept_digest = ? WHERE uid = ?"
        connection.execute(query, (n_rows, digest, uid))

    def _files_of(self, uid: int, upto: int) -> None:
        query = "SELECT file FROM simulations WHERE revision = ? AND first > ?"
        for (file,) in self.store.read(query, (uid, upto)):
            self._simulations.add(file)
            for path in self._paths(file):
                self._count(path)

    def _delete_artifacts(self) -> None:
        store = self.store
        gone = store.read("SELECT manifest FROM artifacts WHERE uid NOT IN (SELECT artifact FROM artifact_events)")
        if not gone:
            return
        store.connection.execute("DELETE FROM artifacts WHERE uid NOT IN (SELECT artifact FROM artifact_events)")
        self._contents = _digests(gone) - _digests(store.read("SELECT manifest FROM artifacts"))
        for digest in self._contents:
            self._count(blobs.content_path(store.folder, digest))

    # ---- on the disk

    def _paths(self, file: str) -> list[str]:
        path = os.path.join(self.store.folder, "simulations", file)
        return [path, path + SUFFIX]

    def _count(self, path: str) -> None:
        with contextlib.suppress(OSError):
            self.n_bytes += os.stat(path).st_size
            self.n_files += 1

    def delete_files(self) -> None:
        """Delete the files that nothing refers to: of this run, and those an earlier purge did not come to.

        In a transaction, so that nobody refers to one of them anew meanwhile.
        """
        store = self.store
        with store.writing("remove files from"):
            gone = leftover_simulations(store)
            with contextlib.suppress(RewindError):  # of a manifest that cannot be read: then all contents stay
                long_ago = time.time() - _LEFT_SECONDS
                for path in leftover_contents(store):
                    if os.path.basename(path) in self._contents or _is_older(path, long_ago):
                        gone.append(path)
            for path in gone:
                with contextlib.suppress(OSError):  # it is named as a leftover until it can be deleted
                    os.unlink(path)


def _is_older(path: str, when: float) -> bool:
    # A younger one may be of an artifact that is just being logged, contents first.
    try:
        return os.stat(path).st_mtime < when
    except OSError:
        return False


def _digests(manifests: list[tuple[Any, ...]]) -> set[str]:
    return {file.digest for (text,) in manifests for file in blobs.manifest_of(text)}
