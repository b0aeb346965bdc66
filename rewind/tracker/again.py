"""Ask a folder again: a check reads the database as it was when it began, and another process may have purged since.

What was purged is no longer there to be damaged. Its rows go first and then its files, so as long as the rows are there
now, the files were there when they were looked for; where they have gone meanwhile, nothing is to be said of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import RewindError
from .simulation.parts import parts
from .store.database import Store


class Again:
    """What the database says now of what a check found in it.

    Parameters
    ----------
    store : Store
        In the snapshot that is checked.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def has_revision(self, uid: int) -> bool:
        """Whether a revision, what is kept of it, and its simulations are those of the snapshot."""
        query = "SELECT run, number, began, kept_digest FROM revisions WHERE uid = ?"
        return self._same(lambda store: (store.read(query, (uid,)), parts(store, uid)))

    def has_artifact(self, uid: int) -> bool:
        """Whether an artifact is that of the snapshot."""
        query = "SELECT name, version, digest, began FROM artifacts WHERE uid = ?"
        return self._same(lambda store: store.read(query, (uid,)))

    def _same(self, read: Any) -> bool:
        try:
            with _present(self._store.folder) as now:
                return bool(read(now) == read(self._store))
        except (RewindError, ValueError, TypeError):  # what is damaged is no other than it was
            return True


@contextmanager
def _present(folder: str) -> Iterator[Store]:
    store = Store(folder, strict=False)
    try:
        yield store
    finally:
        store.close()
