"""Logging a row to a tracked run costs microseconds, and a rewind of a long run copies none of its rows.

By hand: the same rows as JSON to a table of the same form in the same mode of SQLite, a thousand in a transaction. CPU
time of the thread: a commit does not wait for the disk on either side.
"""

import contextlib
import itertools
import json
import os
import sqlite3
import tempfile

import rewind

from .measure import Claim, Figure, against, duration

CLAIMS = (
    Claim("log", "run.log of two numbers", 2.0, "the same rows to SQLite by hand"),
    Claim("history", "run.history()", 2.0, "SELECT and json.loads by hand"),
    Claim("rewind", "rewind a run of a million rows to its middle", 0.05, "copy the kept rows by hand, in SQL"),
)
TABLE = "CREATE TABLE rows (revision, step, data TEXT, PRIMARY KEY (revision, step)) WITHOUT ROWID"
MANY = 1000


def opened(path):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def by_hand(path, n):
    """Write `n` rows."""
    with contextlib.closing(opened(path)) as connection:
        connection.execute(TABLE)
        for start in range(0, n, MANY):
            rows = []
            for i in range(start, min(start + MANY, n)):
                rows.append((1, i, json.dumps({"loss": i * 0.5, "accuracy": i * 0.25})))
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO rows VALUES (?, ?, ?)", rows)
            connection.execute("COMMIT")


def copied(path, n):
    """Copy the first half of the rows, as a tracker that keeps each run whole has to, and forget them again."""
    with contextlib.closing(opened(path)) as connection:
        connection.execute("BEGIN")
        connection.execute(
            "INSERT INTO rows SELECT 2, step, data FROM rows WHERE revision = 1 AND step <= ?", (n // 2,)
        )
        connection.execute("COMMIT")
        connection.execute("DELETE FROM rows WHERE revision = 2")


def tracked(folder, n):
    """Log `n` rows."""
    run = rewind.init(dir=folder)
    for i in range(n):
        run.log({"loss": i * 0.5, "accuracy": i * 0.25})
    run.finish()
    return run


def measure(options):
    """Return the figures by key."""
    n, rounds = options.steps, options.rounds
    few = max(n // 5, 1)
    with tempfile.TemporaryDirectory() as folder:
        numbers = itertools.count()
        sides = {
            "hand": lambda: by_hand(os.path.join(folder, f"{next(numbers)}.sqlite"), few),
            "log": lambda: tracked(os.path.join(folder, "few"), few),
        }
        logged = against(sides, rounds)
        hand, long = os.path.join(folder, "hand.sqlite"), os.path.join(folder, "long")
        by_hand(hand, n)
        run = tracked(long, n)

        def rows():
            with contextlib.closing(opened(hand)) as connection:
                return [json.loads(data) for (data,) in connection.execute("SELECT data FROM rows ORDER BY step")]

        def rewound():
            rewind.init(dir=long, resume_from=f"{run.id}@1?_step={n // 2}").finish()

        read = against({"hand": rows, "history": run.history}, rounds)
        back = against({"hand": lambda: copied(hand, n), "rewind": rewound}, rounds)
    return {
        "log": Figure(
            logged["log"].ratio,
            f"{duration(logged['log'].seconds / few)} a row, by hand {duration(logged['hand'].seconds / few)}",
        ),
        "history": Figure(read["history"].ratio, f"{duration(read['history'].seconds / n)} a row"),
        "rewind": Figure(
            back["rewind"].ratio, f"{duration(back['rewind'].seconds)}, the copy {duration(back['hand'].seconds)}"
        ),
    }
