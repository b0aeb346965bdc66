"""Disks that fail under a tracker: ``python tests/stress/tracker_faults.py [--every 1]``.

A program begins, logs, keeps artifacts and a simulation, rewinds, forks, exports, imports and purges. Each call that it
makes to write, of the operating system and of SQLite, fails in turn, once or from there on, as a full disk, as a broken
one and as a folder without rights. It has to end as if nothing had been, or with a `RewindError`; what it was told is
written has to be there; `fsck` must find nothing, and the program must run to its end when the disk is well again. What
is wrong is counted, and makes the exit status 1.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import errno
import gc
import os
import shutil
import sqlite3
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import rewind
from rewind.tracker import active
from rewind.tracker.store import database

CALLS = ("open", "write", "pwrite", "ftruncate", "fsync", "fdatasync", "replace", "rename", "mkdir", "unlink", "link")
WRITES = (
    "INSERT",
    "UPDATE",
    "DELETE",
    "BEGIN",
    "COMMIT",
    "CREATE",
    "ATTACH",
    "PRAGMA user",
    "PRAGMA app",
    "PRAGMA jour",
)
ERRORS = {
    errno.ENOSPC: "database or disk is full",
    errno.EIO: "disk I/O error",
    errno.EACCES: "attempt to write a readonly database",
}
REAL_CONNECT = sqlite3.connect


class Fault:
    """Fails the `at`-th call that writes, and with `sticky` all after it."""

    def __init__(self, at: int, number: int = errno.EIO, sticky: bool = False) -> None:
        self.at, self.number, self.sticky, self.n, self.name = at, number, sticky, 0, ""

    def strikes(self, name: str) -> bool:
        self.n += 1
        if self.n == self.at:
            self.name = name
        return self.n == self.at or (self.sticky and self.n > self.at)

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        fault, real = self, {name: getattr(os, name) for name in CALLS if hasattr(os, name)}

        class Failing(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> Any:
                if sql.lstrip().startswith(WRITES) and fault.strikes(sql.split("(")[0][:30]):
                    raise sqlite3.OperationalError(ERRORS[fault.number])
                return super().execute(sql, *values)

            def executemany(self, sql: str, *values: Any) -> Any:
                if fault.strikes(sql.split("(")[0][:30]):
                    raise sqlite3.OperationalError(ERRORS[fault.number])
                return super().executemany(sql, *values)

        def wrapped(name: str) -> Any:
            def call(*args: Any, **options: Any) -> Any:
                writes = name != "open" or (len(args) > 1 and args[1] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR))
                if writes and fault.strikes(name):
                    raise OSError(fault.number, os.strerror(fault.number))
                return real[name](*args, **options)

            return call

        for name in real:
            setattr(os, name, wrapped(name))
        sqlite3.connect = lambda *args, **options: REAL_CONNECT(*args, **{**options, "factory": Failing})  # type: ignore[assignment]
        try:
            yield
        finally:
            sqlite3.connect = REAL_CONNECT
            for name, call in real.items():
                setattr(os, name, call)


def step(x: float, rng: Any) -> float:
    return x + float(rng.random())


def job(at: str, said: dict[str, int]) -> None:
    """Do one of everything; note in `said` up to which step rows are written."""
    folder, content = f"{at}/.rewind", f"{at}/content.bin"
    tracker: rewind.Tracker
    with rewind.init(dir=folder, id="a", resume="allow", config={"k": 1}) as run:
        for _ in range(3):
            run.log({"x": run.step})
        run.flush()
        said["a"] = run.step - 1
        run.log_line("line")
        run.summary["best"] = 1
        run.config.update({"more": 2}, allow_val_change=True)
        run.log_artifact(content, name="model", aliases="best")
        run.use_artifact("model:best")
    with rewind.init(dir=folder, resume_from="a?_step=1") as run:
        said["a"] = 1
        run.record(step, 0.0, 12, seed=3, observe={"s": None}, trial=False)
        run.flush()
        said["a"] = run.step - 1
        run.backfill({"twice": lambda x: 2 * x})
    with rewind.init(dir=folder, id="b", fork_from="a?_step=5", resume=None) as run:
        run.record(n_steps=20)
        said["b"] = run.step - 1
    tracker = rewind.Tracker(folder)
    tracker.export("b", f"{at}/b.zip")
    rewind.Tracker(folder).remove("b")
    rewind.Tracker(folder).purge("b")
    said.pop("b")
    tracker.import_file(f"{at}/b.zip")


def let_go() -> None:
    """Forget runs that could not be finished, as the end of their process does."""
    for run in active.open_runs():
        run._finished = True
        run._let_go()
    active._RUNS.clear()
    gc.collect()


def trial(fault: Fault) -> str | None:
    """Run the job with a fault; return what was wrong."""
    at = tempfile.mkdtemp(prefix="rewind-fault-")
    said: dict[str, int] = {}
    try:
        with open(f"{at}/content.bin", "wb") as file:
            file.write(b"content")
        try:
            with fault.installed():
                job(at, said)
        except rewind.RewindError:
            pass
        except BaseException as error:
            return f"{type(error).__name__}: {error}"[:300]
        finally:
            let_go()
        if os.path.exists(f"{at}/.rewind/tracker.sqlite"):
            try:
                tracker = rewind.Tracker(f"{at}/.rewind")
            except rewind.StoreError as error:
                return None if "no tracker here yet" in str(error) and not said else f"afterwards: {error}"
            report = tracker.fsck()
            if not report.ok:
                return f"fsck: {report.problems[0]}"[:300]
            for run_id, last in said.items():
                if max(row["_step"] for row in tracker.run(run_id).history()) < last:
                    return f"rows of {run_id} up to {last} were said to be written"
            for run in [*tracker.runs(), *tracker.runs(removed=True)]:
                with contextlib.suppress(rewind.RunNotFoundError):
                    tracker.purge(run.id)
        job(at, {})
        if not rewind.Tracker(f"{at}/.rewind").fsck().ok:
            return "fsck after all"
        return None
    except rewind.RewindError as error:
        return f"afterwards: {type(error).__name__}: {error}"[:300]
    finally:
        let_go()
        shutil.rmtree(at, ignore_errors=True)


def main() -> int:
    """Fail calls as the command line says; return 1 if something was lost, or an error was not ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="only each so-manieth call")
    options = parser.parse_args()
    warnings.simplefilter("ignore", rewind.RewindWarning)
    database.PATIENCE = 1.0
    counting = Fault(1 << 60)
    trial(counting)
    wrong: dict[str, list[str]] = collections.defaultdict(list)
    n = 0
    for at in range(1, counting.n + 1, options.every):
        for number in ERRORS:
            for sticky in (False, True):
                fault = Fault(at, number, sticky)
                found = trial(fault)
                n += bool(fault.name)
                if found:
                    wrong[found[:120]].append(f"{fault.name}:{at}:{errno.errorcode[number]}{'+' * sticky}: {found}")
    print(f"calls that write: {counting.n}, faults: {n:,}, wrong: {sum(map(len, wrong.values()))}")
    for some in sorted(wrong.values(), key=len, reverse=True)[:20]:
        print(f"{len(some)} times: {some[0]}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
