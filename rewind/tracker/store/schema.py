"""What the database of a tracker is made of: its tables and indices as they were made, and nothing else.

A trigger would delete what is written, a view has rows that nobody logged, or no end: whoever can write to a folder
could put one there, and every read and write would run it. So a database with one is damaged, for every call.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

_Objects = Mapping[tuple[Any, Any], Any]  # statements by kind and name
_QUERY = "SELECT type, name, sql FROM sqlite_master WHERE name NOT GLOB 'sqlite_stat[0-9]'"  # of ANALYZE: no harm


def problems(connection: sqlite3.Connection, schema: str) -> list[str]:
    """Return what a database has, lacks or has in another form than `schema`, its statements, says; extra ones last."""
    found, expected = _objects(connection), _expected(schema)
    if found == expected:
        return []
    missing = [f"no such {kind}: {name}" for kind, name in expected.keys() - found.keys()]
    altered = [f"the {kind} {name!r} is not as it was made" for kind, name in _altered(found, expected)]
    extra = [f"there is a {kind} {name!r}, which no tracker makes" for kind, name in found.keys() - expected.keys()]
    return sorted(missing) + sorted(altered) + sorted(extra)


def is_readable(connection: sqlite3.Connection, schema: str) -> bool:
    """Whether what has the name of a table is that table, if it is there at all, and no view without an end."""
    found, expected = _objects(connection), _expected(schema)
    names = {name for _, name in expected}
    return not _altered(found, expected) and not any(name in names for _, name in found.keys() - expected.keys())


def _altered(found: _Objects, expected: _Objects) -> list[tuple[Any, Any]]:
    return [key for key in expected.keys() & found.keys() if found[key] != expected[key]]


def _objects(connection: sqlite3.Connection) -> _Objects:
    return {(kind, name): _plain(sql) for kind, name, sql in connection.execute(_QUERY)}


def _plain(sql: Any) -> Any:
    return " ".join(sql.split()) if isinstance(sql, str) else sql


@functools.cache
def _expected(schema: str) -> _Objects:
    import sqlite3

    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(schema)
        return _objects(connection)
