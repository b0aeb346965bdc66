"""Folders of a tracker whose database somebody damaged, and every call there is on one."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import rewind
from rewind.cli.main import main

ODD: list[Any] = [
    None, 0, -1, 1, 7, 1 << 62, -(1 << 63), 0.5, float("inf"), -1e300, "", "x", "-1", "1e5", "null", "[]", "{}",
    "[1]", '"a"', "{", '{"a": [', '{"x":{"float":"x"}}', '{"x":{"ndarray":["<f8",[1099511627776],""]}}',
    '{"x":{"int":5}}', '{"x":{"dict":3}}',
    '[["a","b",1,true]]', '{"lines":1}', '{"a":1e999}', "[" * 500, "\0", "\ud7ff", b"", b"\xff\xfe", b"{}", "a" * 5000,
]  # fmt: skip


def mutate_bytes(path: str, rng: random.Random) -> str:
    """Change some bytes of a file, cut it, or put one page in the place of another."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    kind = rng.randrange(10)
    if kind == 0:
        del data[rng.randrange(len(data)) :]
    elif kind == 1:
        a, b = (rng.randrange(len(data) // 4096) * 4096 for _ in range(2))
        data[a : a + 4096] = data[b : b + 4096]
    else:
        at = rng.randrange(100) if kind == 2 else rng.randrange(len(data))
        for _ in range(rng.randrange(1, 9)):
            data[at] = rng.choice([0, 1, 0x7F, 0xFF, rng.randrange(256)])
            at = min(len(data) - 1, at + rng.choice([1, 1, 2, 50]))
    with open(path, "wb") as file:
        file.write(data)
    return f"bytes, kind {kind}"


def mutate_cells(path: str, rng: random.Random) -> str:
    """Put odd values into columns, where no constraint keeps them out."""
    what = []
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        tables = [name for name in tables if connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]]
        for _ in range(rng.choice([1, 1, 1, 2])):
            table = rng.choice(tables)
            column = rng.choice([row[1] for row in connection.execute(f"PRAGMA table_info({table})")])
            keys = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[5]] or ["rowid"]
            row = rng.choice(connection.execute(f"SELECT {', '.join(keys)} FROM {table}").fetchall())
            where = " AND ".join(f"{key} = ?" for key in keys)
            value = rng.choice(ODD)
            with contextlib.suppress(sqlite3.Error, OverflowError):
                connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (value, *row))
                what.append(f"{table}.{column} = {value!r:.40}")
        connection.commit()
    return "; ".join(what)


def calls(folder: str, at: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield all that can be asked of a folder, those that change it at the end."""

    def tracker() -> rewind.Tracker:
        return rewind.Tracker(folder)

    yield "runs", lambda: [repr(run) for run in tracker().runs()]
    for ref in ("root", "root@1", "fork", "of_fork", "of_archived"):

        def one(ref: str = ref) -> rewind.Revision:
            return tracker().run(ref)

        yield f"history of {ref}", lambda one=one: one().history()  # type: ignore[misc]
        yield f"history of x of {ref}", lambda one=one: one().history(["x", "s"], 2, 30)  # type: ignore[misc]
        yield f"summary of {ref}", lambda one=one: dict(one().summary)  # type: ignore[misc]
        yield f"facts of {ref}", lambda one=one: (  # type: ignore[misc]
            one().config, one().tags, one().status, one().lineage, one().forked_from, one().last_step, one().revisions
        )  # fmt: skip
        yield f"beside {ref}", lambda one=one: (one().logs(), one().system())  # type: ignore[misc]
        yield (
            f"artifacts of {ref}",
            lambda one=one: [  # type: ignore[misc]
                (a.ref, a.aliases, [a.path(file) for file in a.files]) for a in one().artifacts
            ],
        )
        yield f"replay of {ref}", lambda one=one: (one().replay, one().replay_start)  # type: ignore[misc]
    yield "export", lambda: tracker().export("of_fork", os.path.join(at, "out.zip"))
    for argv in (
        ["ls"], ["ls", "--json"], ["log"], ["log", "--graph", "root"], ["log", "--json"],
        ["show", "root"], ["show", "fork@1", "--json"],
        ["history", "root"], ["history", "fork", "--jsonl"], ["history", "of_archived", "--keys", "x"],
        ["export", "of_fork", "-o", os.path.join(at, "out.zip"), "--force"],
    ):  # fmt: skip
        yield " ".join(argv[:2]), lambda argv=argv: shell([*argv, "--dir", folder])  # type: ignore[misc]
    yield "fsck", lambda: tracker().fsck()
    yield "rewind fsck", lambda: shell(["fsck", folder])
    yield "would purge", lambda: tracker().purge("root", now=False)
    yield "go on", lambda: used(rewind.init(dir=folder, id="root", resume="allow"))
    yield "rewind", lambda: used(rewind.init(dir=folder, resume_from="fork?_step=20"))
    yield "fork", lambda: used(rewind.init(dir=folder, fork_from="root@1?_step=6"))
    yield "remove", lambda: (tracker().remove("of_archived"), tracker().restore("of_archived"))
    yield "purge", lambda: tracker().purge("root")
    yield "rm", lambda: shell(["rm", "fork", "--purge", "--yes", "--dir", folder])


def used(run: rewind.TrackedRun) -> None:
    """Log to a run all there is to log, and finish it."""
    try:
        run.log({"x": 1.5, "loss": 2})
        run.log_line("line")
        run.summary["best"] = 1
        with contextlib.suppress(rewind.TrackedArtifactError):
            run.use_artifact("early:best")
        run.flush()
        run.history()
        dict(run.summary)
        run.finish()
    finally:
        if not run.finished:
            with contextlib.suppress(rewind.RewindError):
                run.finish()
            run._finished = True
            run._let_go()


def shell(argv: list[str]) -> int:
    """Call a verb of the shell; anything but an answer or one line that says why there is none is an AssertionError."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(argv)
    assert code in (0, 1, 2) and "Traceback" not in err.getvalue(), (argv, code, err.getvalue()[-1500:])
    return code


class Hang(BaseException):
    """A call that took too long."""


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Interrupt what takes longer."""

    def stop(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def trial(original: str, at: str, rng: random.Random) -> list[str]:
    """Damage a copy of a folder, ask all there is to ask, and return what was wrong: nothing, as a rule."""
    folder = os.path.join(at, "tracker")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
    path = os.path.join(folder, "tracker.sqlite")
    what = (mutate_bytes if rng.random() < 0.5 else mutate_cells)(path, rng)
    wrong = []
    for name, call in calls(folder, at):
        try:
            with at_most(60):
                call()
        except rewind.RewindError:
            pass
        except BaseException as error:
            wrong.append(f"{what}: {name}: {type(error).__name__}: {str(error)[:1500]}")
            if isinstance(error, KeyboardInterrupt):
                raise
    return wrong
