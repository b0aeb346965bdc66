"""What is asked of tracked runs costs what SQLite by hand costs: histories, tables, overviews, files, lists.

By hand: the same rows as JSON in a table of the same form. CPU time of the thread, in one process.
"""

import contextlib
import csv
import io
import itertools
import json
import os
import sqlite3
import tempfile
import time

import rewind
from rewind.cli.main import main

from .measure import Claim, Figure, against, duration, middle_call
from .track_runs import MANY, TABLE, by_hand, opened, tracked

CLAIMS = (
    Claim("keys", 'run.history(["loss"])', 1.5, "SELECT and json.loads by hand"),
    Claim("csv", "rewind history --csv", 3.0, "the same query to csv by hand"),
    Claim("samples", "run.history(samples=500)", 20.0, "nothing", unit="ms"),
    Claim("wide", "run.log of 200 numbers", 1.5, "json.dumps and INSERT by hand"),
    Claim("export", "rewind export", 2.0, "copy the rows to another database by hand"),
    Claim("import", "rewind import", 2.0, "copy the rows to another database by hand"),
    Claim("ls", "rewind ls of 10,000 runs", 0.3, "nothing", unit="s"),
)
WIDE = {f"metric/{i}": i * 0.37 for i in range(200)}


def wide_rows(n):
    """Yield rows of 200 numbers, no two the same."""
    return ({key: value + i for key, value in WIDE.items()} for i in range(n))


def wide_by_hand(path, n):
    with contextlib.closing(opened(path)) as connection:
        connection.execute(TABLE)
        rows = enumerate(wide_rows(n))
        while some := [(1, i, json.dumps(row)) for i, row in itertools.islice(rows, MANY)]:
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO rows VALUES (?, ?, ?)", some)
            connection.execute("COMMIT")


def wide_tracked(folder, n):
    with rewind.init(dir=folder) as run:
        for row in wide_rows(n):
            run.log(row)


def copied(source, target):
    """Copy rows from one database to another, a thousand at a time."""
    with contextlib.closing(opened(source)) as old, contextlib.closing(opened(target)) as new:
        new.execute(TABLE)
        rows = old.execute("SELECT revision, step, data FROM rows ORDER BY step")
        while some := rows.fetchmany(MANY):
            new.execute("BEGIN")
            new.executemany("INSERT INTO rows VALUES (?, ?, ?)", some)
            new.execute("COMMIT")


def many_runs(folder, n):
    """Make a folder of `n` runs of one row: one is logged, the others are made of it, in SQL."""
    with rewind.init(dir=folder, id="r0") as run:
        run.log({"loss": 0.5})
    with contextlib.closing(sqlite3.connect(os.path.join(folder, "tracker.sqlite"))) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(revisions)")]
        others = ", ".join(name for name in columns if name not in ("uid", "run"))
        numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n - 1})"
        connection.execute(
            f"{numbers} INSERT INTO revisions (uid, run, {others}) SELECT i + 1, 'r' || i, {others} FROM revisions, n"
        )
        connection.execute(
            f"{numbers} INSERT INTO runs (id, began, current, removed) SELECT 'r' || i, began, i + 1, 0 FROM runs, n"
        )
        connection.execute(f"{numbers} INSERT INTO rows SELECT i + 1, step, data, seconds FROM rows, n")
        connection.commit()


def shell(*words):
    """Run a verb of the shell in this process, its output thrown away."""
    with contextlib.redirect_stdout(io.StringIO()):
        if main(list(words)) != 0:
            raise RuntimeError(f"rewind {' '.join(words)} failed")


def measure(options):
    """Return the figures by key."""
    n, rounds = options.steps, options.rounds
    with tempfile.TemporaryDirectory() as folder:
        numbers = itertools.count()

        def new(end=""):
            return os.path.join(folder, f"{next(numbers)}{end}")

        hand, long, bundle = new(".sqlite"), new(), new(".zip")
        by_hand(hand, n)
        run = tracked(long, n)
        tracker = rewind.Tracker(long)

        def column():
            with contextlib.closing(opened(hand)) as connection:
                query = "SELECT step, data FROM rows ORDER BY step"
                return [{"_step": step, "loss": json.loads(data)["loss"]} for step, data in connection.execute(query)]

        def table():
            file = io.StringIO()
            with contextlib.closing(opened(hand)) as connection:
                writer = csv.writer(file)
                for step, data in connection.execute("SELECT step, data FROM rows ORDER BY step"):
                    row = json.loads(data)
                    writer.writerow([step, row["loss"], row["accuracy"]])

        keys = against({"hand": column, "keys": lambda: run.history(["loss"])}, rounds)
        tables = against({"hand": table, "csv": lambda: shell("history", run.id, "--dir", long, "--csv")}, rounds)
        samples = middle_call(lambda _: run.history(samples=500), range(5 * rounds))
        few = max(n // 200, 1)
        wide = {"hand": lambda: wide_by_hand(new(".sqlite"), few), "wide": lambda: wide_tracked(new(), few)}
        wides = against(wide, rounds)
        sides = {
            "hand": lambda: copied(hand, new(".sqlite")),
            "export": lambda: tracker.export(run.id, bundle),
            "import": lambda: (rewind.init(dir=(there := new())).finish(), rewind.Tracker(there).import_file(bundle)),
        }
        tracker.export(run.id, bundle)
        moved = against(sides, min(rounds, 3))
        listed = new()
        many_runs(listed, max(n // 100, 2))
        began = time.thread_time()
        shell("ls", "--dir", listed)
        ls = time.thread_time() - began
    return {
        "keys": Figure(keys["keys"].ratio, f"{duration(keys['keys'].seconds / n)} a row"),
        "csv": Figure(tables["csv"].ratio, f"{duration(tables['csv'].seconds / n)} a row"),
        "samples": Figure(samples * 1e3, f"of {n:,} rows"),
        "wide": Figure(wides["wide"].ratio, f"{duration(wides['wide'].seconds / few)} a row"),
        "export": Figure(moved["export"].ratio, f"{duration(moved['export'].seconds)} for {n:,} rows"),
        "import": Figure(moved["import"].ratio, f"{duration(moved['import'].seconds)} for {n:,} rows"),
        "ls": Figure(ls, f"{max(n // 100, 2):,} runs"),
    }
