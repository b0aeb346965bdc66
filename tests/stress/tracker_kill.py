"""Programs that log, killed at random moments: ``python tests/stress/tracker_kill.py [--trials 200] [--seed 1]``.

A program begins, resumes, rewinds or forks a run in a folder that many before it were killed in, logs, and says through
a pipe what it opened and up to which step its rows are in the database. It is SIGKILLed, at a moment of its life that
is as likely as any other. Then the folder has to be whole: every row that it said was written, no row that nobody
logged, no gap between them; every other revision as it was, byte by byte; and the run is rewound, resumed and forked at
once. What is wrong is counted, and makes the exit status 1.
"""

from __future__ import annotations

import argparse
import collections
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import Any

import rewind
from rewind.tracker.store import database as store
from rewind.tracker.store import history

PROGRAM = """
import os, sys, random, rewind
from rewind.tracker.store import writer
folder, options, seed = sys.argv[1], eval(sys.argv[2]), sys.argv[3]
rewind.init, rewind.Tracker  # what is imported late is there before it is killed
rng = random.Random(seed)
writer.MANY_ROWS, writer.MARK_ROWS = rng.choice([(3, 5), (40, 100), (1000, 4096)])
print("ready", flush=True)
run = rewind.init(dir=folder, save_code=False, config={"seed": seed}, **options)
print("open", run.id, run.revision, run.step, flush=True)
for i in range(rng.randrange(2000)):
    for part in ("x", "y"):
        run.log({part: [seed, run.step]}, commit=False)
    run.log({})
    if rng.random() < 0.02:
        run.flush()
        print("row", run.step - 1, flush=True)
    if rng.random() < 0.005:
        run.summary["best"] = run.step
        run.config.update({"best": run.step}, allow_val_change=True)
        run.log_line("line")
run.finish()
print("row", run.step - 1, flush=True)
print("end", flush=True)
"""


class Wrong(Exception):
    """A folder that is not as it should be."""


def require(true: bool, *facts: object) -> None:
    if not true:
        raise Wrong(" ".join(map(str, facts)))


@dataclass
class Folder:
    """A tracker, and what is known of it: the rows of every revision that is closed."""

    path: str
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    digests: dict[str, str | None] = field(default_factory=dict)

    def note(self, ref: str) -> None:
        seen = rewind.Tracker(self.path).run(ref)
        require(seen.digest is not None, ref, "is not closed")
        self.rows[ref], self.digests[ref] = seen.history(), seen.digest

    def check(self) -> None:
        """See that nothing of what was closed is another."""
        tracker = rewind.Tracker(self.path)
        for ref, rows in self.rows.items():
            seen = tracker.run(ref)
            require(seen.history() == rows and seen.digest == self.digests[ref], ref, "changed")
        connection = sqlite3.connect(f"{self.path}/tracker.sqlite")
        require(connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], "the database is damaged")
        connection.close()
        opened = store.Store(self.path)
        try:
            for record in history.records(opened, "digest IS NOT NULL"):
                own = history.rows_digest(opened, record.uid)
                require(own.text() == record.rows_digest and own.n == record.n_rows, record.ref, "has other rows")
                summary = history.summary_kept(opened, record.uid)
                require(summary == record.summary, record.ref, "has another summary", summary, record.summary)
                above = None if record.parent is None else history.record_of(opened, record.parent)
                require(above is None or above.digest == record.parent_digest, record.ref, "has another parent")
                given = (own.text(), record.summary, record.simulation_digest)
                digest = history.revision_digest(opened, record, *given, own.times)
                require(digest == record.digest, record.ref, "another digest")
        finally:
            opened.close()


@dataclass
class Killed:
    """What a program said before it was killed."""

    said: list[list[str]]
    status: int


def killed(folder: str, options: dict[str, Any], seed: str, seconds: float) -> Killed:
    """Run the program, and kill it so many seconds after it began to work."""
    command = [sys.executable, "-c", PROGRAM, folder, repr(options), seed]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    require(process.stdout.readline() == "ready\n", "it did not begin")
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    said = process.stdout.read().split("\n")
    process.stdout.close()
    return Killed([line.split() for line in said[:-1]], process.wait())  # the last line may be cut off


def kinds(folder: Folder, rng: random.Random, names: list[str]) -> tuple[dict[str, Any], str | None, int]:
    """Return a way to open a run, the revision it goes on from, and at which step."""
    if not folder.rows or rng.random() < 0.2:
        names.append(f"r{len(names)}")
        return {"id": names[-1]}, None, -1
    ref = rng.choice(sorted(folder.rows))
    last = folder.rows[ref][-1]["_step"] if folder.rows[ref] else -1
    step = rng.randrange(-1, last + 1) if last >= 0 else -1
    if rng.random() < 0.3:
        names.append(f"r{len(names)}")
        return {"id": names[-1], "fork_from": f"{ref}?_step={step}"}, ref, step
    return {"resume_from": f"{ref}?_step={step}"}, ref, step


def trial(
    folder: Folder, rng: random.Random, names: list[str], seconds: float, count: collections.Counter[str]
) -> None:
    """Kill one program, and see what it left."""
    options, parent, step = kinds(folder, rng, names)
    seed = str(rng.getrandbits(40))
    done = killed(folder.path, options, seed, seconds)
    said = collections.defaultdict(list)
    for name, *facts in done.said:
        said[name].append(facts)
    count["killed" if done.status == -signal.SIGKILL else "ended"] += 1
    require(done.status in (0, -signal.SIGKILL), "it failed", done.status)
    run_id = options.get("id") or str(options["resume_from"]).split("@")[0]
    try:
        ids = {run.id for run in rewind.Tracker(folder.path)}
    except rewind.StoreError as error:  # killed before it made the tracker
        require("no tracker here" in str(error) and not folder.rows, error)
        ids = set()
    if run_id not in ids:
        require("open" not in said, run_id, "is lost")
        count["before it was begun"] += 1
        return
    seen = rewind.Tracker(folder.path).run(run_id)
    if seen.ref in folder.rows:  # killed before it had a revision
        require("open" not in said, run_id, "has no new revision")
        count["before it was begun"] += 1
        folder.check()
        return
    kept = [row for row in folder.rows[parent] if row["_step"] <= step] if parent is not None else []
    rows, written = seen.history(), int(said["row"][-1][0]) if said["row"] else step
    require(rows[: len(kept)] == kept, seen.ref, "has other rows than those it kept")
    for at, row in enumerate(rows[len(kept) :], step + 1):
        require(row == {"_step": at, "x": [seed, at], "y": [seed, at]}, seen.ref, "holds", row, "at", at)
    last = step + len(rows) - len(kept)
    require(last >= written, seen.ref, "lost steps", last + 1, "to", written)
    require(seen.status == "finished" or "end" not in said, seen.ref, "is not finished")
    count["rows"] += len(rows) - len(kept)
    count["rows after the last word"] += last - written
    way = rng.randrange(3)
    seen_last = rows[-1]["_step"] if rows else -1
    to = rng.randrange(-1, seen_last + 1) if rows else -1
    if way == 0:
        with rewind.init(dir=folder.path, id=run_id, resume="must") as run:
            require(run.step == seen_last + 1, run.ref, "goes on at", run.step)
            require(run.history() == rows, run.ref, "lost rows")
    else:
        call = {"resume_from": f"{run_id}?_step={to}"}
        if way == 2:
            names.append(f"r{len(names)}")
            call = {"id": names[-1], "fork_from": f"{run_id}?_step={to}"}
        with rewind.init(dir=folder.path, **call) as run:  # type: ignore[arg-type]
            require(run.step == to + 1, run.ref, "goes on at", run.step)
            require(run.history() == [row for row in rows if row["_step"] <= to], run.ref, "has other rows")
            run.log({"x": "after"})
    folder.note(seen.ref)
    folder.note(run.ref)
    require(folder.rows[seen.ref] == rows, seen.ref, "changed when it was closed")
    count[["resumed", "rewound", "forked"][way]] += 1
    folder.check()


def lifetime() -> float:
    """Return how many seconds a program works that is not killed: here, and with what else runs here now."""
    with tempfile.TemporaryDirectory(prefix="rewind-kill-") as path:
        command = [sys.executable, "-c", PROGRAM, path, repr({"id": "whole"}), "1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            begun = time.perf_counter()
            process.stdout.read()
            return time.perf_counter() - begun


def trials(many: int, seed: int, each: int = 12) -> tuple[collections.Counter[str], list[str]]:
    """Kill so many programs, `each` of them in one folder; return counts, and what was wrong."""
    rng, count, wrong = random.Random(seed), collections.Counter[str](), []
    longest = lifetime()
    left = many
    while left:
        base = tempfile.mkdtemp(prefix="rewind-kill-")
        path = f"{base}/.rewind"
        folder, names = Folder(path), list[str]()
        try:
            for _ in range(min(each, left)):
                left -= 1
                count["trials"] += 1
                seconds = rng.uniform(0, 0.02) if rng.random() < 0.3 else rng.uniform(0, longest)
                trial(folder, rng, names, seconds, count)
            if folder.rows:
                report = rewind.Tracker(path).fsck()
                require(report.ok, "fsck:", report.problems)
                count["revisions that fsck checked"] += report.n_revisions
        except (Wrong, rewind.RewindError) as error:
            wrong.append(f"{type(error).__name__}: {str(error)[:500]}")
        finally:
            shutil.rmtree(base)
    return count, wrong


def main() -> int:
    """Kill programs as the command line says; return 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    count, wrong = trials(options.trials, options.seed)
    print(", ".join(f"{name}: {n:,}" for name, n in count.items()))
    print(f"wrong: {len(wrong)}", *wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
