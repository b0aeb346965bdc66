"""The keys of a history: what is asked for, and what there is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ...errors import ArgumentError
from . import history
from .database import Store


def near(key: str, known: Collection[str]) -> list[str]:
    """Return the keys that a name may mean: of which it is the last or the first part, or but for case all."""
    ends, begins = (f".{key}", f"/{key}"), (f"{key}.", f"{key}/")
    return [one for one in known if one.endswith(ends) or one.startswith(begins) or one.lower() == key.lower()]


def lacking(keys: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return those of some keys that no row has."""
    missing = dict.fromkeys(keys)
    if missing:
        for row in rows:
            for key in row:
                missing.pop(key, None)
            if not missing:
                break
    return list(missing)


def require_known(store: Store, uid: int, asked: Collection[str]) -> None:
    """Refuse keys that no row has, if one of them may mean another one: one that nothing is like may come yet.

    Raises
    ------
    ArgumentError
    """
    asked = [key for key in asked if not key.startswith("_")]
    if not asked:
        return
    known = {*history.aggregates_at(store, uid), *history.Beside.seen(store, uid).columns}
    for key in asked:
        found = sorted(near(key, known)) if key not in known else []
        if found:
            some = ", ".join(map(repr, found[:8])) + (" ..." if len(found) > 8 else "")
            raise ArgumentError("keys", asked, f"names of what was logged; no row has {key!r}, there is {some}")
