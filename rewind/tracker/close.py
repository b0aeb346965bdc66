"""Close a revision: with its summary and its digest, it never changes again."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

from ..errors import RunBusyError
from .simulation.parts import recorder_of, simulation_digest
from .store import history
from .store.damage import understood
from .store.database import Store
from .store.writer import Writer


def close(store: Store, uid: int, state: str, exit_code: int | None, writer: Writer | None = None) -> None:
    """Close a revision; one that is closed stays as it is.

    Parameters
    ----------
    store : Store
    uid : int
    state : str
        ``finished``, ``failed`` or ``crashed``.
    exit_code : int or None
    writer : Writer, optional
        The one that wrote its rows, and has their digest and aggregates at hand. Without it they are read.

    Raises
    ------
    RunBusyError
        If a process that has lost the lock of the run is recording to it.
    """
    with understood(store.path), store.writing() as connection:
        record = history.record_of(store, uid)
        if record.closed:
            return
        if writer is None and recorder_of(store, uid) is not None:
            # It lost the lock of its run; closed now, its journal would be another one than the digest says.
            raise RunBusyError(record.run, record.pid, record.host)
        rows = history.rows_digest(store, uid) if writer is None else writer.digest
        summary = history.summary_kept(store, uid, None if writer is None else writer.aggregates)
        facts: dict[str, Any] = {
            "state": state,
            "exit_code": exit_code,
            "ended": time.time(),
            "n_rows": rows.n,
            "last_step": history.last_step(store, uid),
            "rows_digest": rows.text(),
            "parent_digest": history.parent_digest(store, record),
            "simulation_digest": simulation_digest(store, uid),
        }
        digest = history.revision_digest(
            store, replace(record, **facts), facts["rows_digest"], summary, facts["simulation_digest"], rows.times
        )
        facts |= {"summary": json.dumps(summary), "digest": digest}
        columns = ", ".join(f"{name} = ?" for name in facts)
        connection.execute(f"UPDATE revisions SET {columns} WHERE uid = ?", (*facts.values(), uid))
