"""Take back a revision that has nothing of its own, as if it had not been opened."""

from __future__ import annotations

from .store import history
from .store.database import OWNED, Store
from .store.history import Record

#: What a program logs, or computes. Samples and what is known of the machine come by themselves.
_LOGGED = ("rows", "assigned", "backfilled", "lines", "simulations")


def withdraw(store: Store, record: Record, before: int | None) -> Record | None:
    """Delete an open revision of which there is nothing, and return the one that it left; None where it stays.

    Parameters
    ----------
    store : Store
    record : Record
    before : int or None
        The revision that was the current one of the run before; None for the first one of a run.
    """
    with store.writing("take back a revision in") as connection:
        own = (record.uid,)
        used = [f"SELECT 1 FROM {table} WHERE revision = ?1" for table in _LOGGED]
        used += ["SELECT 1 FROM artifact_events WHERE revision = ?1 AND kind != 'code'"]
        used += ["SELECT 1 FROM revisions WHERE parent = ?1"]
        if record.parent is None or store.read(" UNION ALL ".join(used) + " LIMIT 1", own):
            return None
        for table in OWNED:
            connection.execute(f"DELETE FROM {table} WHERE revision = ?", own)
        connection.execute("DELETE FROM revisions WHERE uid = ?", own)
        if before is None:
            connection.execute("DELETE FROM runs WHERE id = ?", (record.run,))
        else:
            connection.execute("UPDATE runs SET current = ? WHERE id = ?", (before, record.run))
        return history.record_of(store, record.parent)
