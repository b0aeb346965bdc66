"""Where a revision comes from: the moments it was left at, and the runs these are of."""

from __future__ import annotations

from ..moment import Moment
from .database import Store
from .history import CHAIN, END


def lineage(store: Store, uid: int) -> tuple[Moment, ...]:
    """Return the moments it comes from: its parent, the parent of that, ... the root."""
    found = store.read(
        """WITH RECURSIVE chain(parent, parent_step, depth) AS (
               SELECT parent, parent_step, 0 FROM revisions WHERE uid = ?
               UNION ALL
               SELECT r.parent, r.parent_step, depth + 1 FROM revisions r JOIN chain ON r.uid = chain.parent
               WHERE r.parent IS NULL OR r.parent < r.uid  -- a damaged one could go in a circle
           )
           SELECT run, chain.parent_step, number FROM chain JOIN revisions r ON r.uid = chain.parent ORDER BY depth""",
        (uid,),
    )
    return tuple(Moment(*row) for row in found)


def forked_from(store: Store, uid: int) -> Moment | None:
    """Return the moment that a revision, or the one it goes on with, was rewound to or forked from; None for none."""
    found = store.read(
        """WITH RECURSIVE chain(kind, parent, parent_step) AS (
               SELECT kind, parent, parent_step FROM revisions WHERE uid = ?
               UNION ALL
               SELECT r.kind, r.parent, r.parent_step FROM revisions r JOIN chain ON r.uid = chain.parent
               WHERE chain.kind = 'resumed' AND (r.parent IS NULL OR r.parent < r.uid)
           )
           SELECT run, chain.parent_step, number FROM chain JOIN revisions r ON r.uid = chain.parent
           WHERE chain.kind IN ('rewound', 'forked')""",
        (uid,),
    )
    return Moment(*found[0]) if found else None


def kept_from(store: Store, uid: int) -> int | None:
    """Return the revision that a revision, or the one it goes on with, was rewound to or forked from; None for none."""
    query = f"""{CHAIN} SELECT r.parent FROM chain JOIN revisions r USING (uid)
                WHERE r.kind IN ('rewound', 'forked') ORDER BY depth LIMIT 1"""
    found = store.read(query, (END, uid))
    return found[0][0] if found else None


def runs(store: Store, uid: int) -> set[str]:
    """Return the runs that a revision sees something of, its own included."""
    query = f"{CHAIN} SELECT DISTINCT r.run FROM chain JOIN revisions r USING (uid)"
    return {run for (run,) in store.read(query, (END, uid))}
