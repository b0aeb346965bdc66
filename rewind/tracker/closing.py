"""Closing a revision: with its summary and its digest it never changes again."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

from . import chain
from .simulation import simulation_digest
from .store import Store
from .writing import Writer


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
        The one that wrote its rows, and has their digest and accounts at hand. Without it they are read.
    """
    with store.writing() as connection:
        record = chain.record_of(store, uid)
        if record.closed:
            return
        rows = chain.rows_digest(store, uid) if writer is None else writer.digest
        summary = chain.summary_kept(store, uid, None if writer is None else writer.accounts)
        facts: dict[str, Any] = {
            "state": state,
            "exit_code": exit_code,
            "ended": time.time(),
            "n_rows": rows.n,
            "last_step": chain.last_step(store, chain.spans(store, uid)),
            "rows_digest": rows.text(),
            "parent_digest": chain.parent_digest(store, record),
            "simulation_digest": simulation_digest(store, uid),
        }
        digest = chain.revision_digest(
            store, replace(record, **facts), facts["rows_digest"], summary, facts["simulation_digest"]
        )
        facts |= {"summary": json.dumps(summary), "digest": digest}
        columns = ", ".join(f"{name} = ?" for name in facts)
        connection.execute(f"UPDATE revisions SET {columns} WHERE uid = ?", (*facts.values(), uid))
