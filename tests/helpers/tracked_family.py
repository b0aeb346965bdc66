"""A tracker's folder with one of everything, for tests of what checks, removes and sends it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys

import numpy as np

import rewind
from rewind.tracker.store.database import folder_of


def step(x, rng):
    return x + rng.random()


def attach(revision):
    return revision.attach(step)


def made(folder, content):
    """Make a run with a rewind, forks of an archived and of a current revision, a fork of a fork, a simulation."""
    with rewind.init("p", entity="e", dir=folder, id="root", config={"k": 1}, tags=["a"], notes="n") as run:
        run.define_metric("y", summary="min,mean")
        for i in range(10):
            run.log({"x": i, "y": float("nan") if i == 9 else i * 1.5, "t": {"s": "é"}}, step=3 * i, commit=True)
            run.log_line(f"line {i}")
            if i == 1:
                run.log_artifact(content, name="early", aliases=["best"])
        run.summary["best"] = 3
        run.log_artifact(content, name="late")
    with rewind.init(dir=folder, resume_from="root?_step=12") as run:
        run.record(step, 0.0, 40, seed=3, observe={"s": None}, log_every=5)
        run.backfill({"twice": lambda x: 2 * x})
    with rewind.init(dir=folder, id="of_archived", fork_from="root@1?_step=16", config={"k": 2}) as run:
        run.log(
            {"z": np.arange(3), "big": 1 << 70, "c": 1j, "b": b"\0", "none": None, "list": [1, {"a": float("inf")}]}
        )
    with rewind.init(dir=folder, id="fork", fork_from="root?_step=40") as run:
        run.use_artifact("early:best")
        run.record(n_steps=45)
    with rewind.init(dir=folder, id="of_fork", fork_from="fork?_step=45") as run:
        run.log({"q": 1})
    return folder


def made_once(tmp_path_factory):
    """Return a folder that no test changes."""
    base = tmp_path_factory.mktemp("family")
    content = base / "model"
    content.mkdir()
    (content / "weights.bin").write_bytes(bytes(range(256)) * 20)
    (content / "read me.txt").write_text("text")
    return made(str(base / ".rewind"), content)


def copied(original, tmp_path):
    """Return a copy of it, which a test may change."""
    target = tmp_path / ".rewind"
    shutil.copytree(original, target)
    return str(target)


def execute(folder, sql, values=()):
    with contextlib.closing(sqlite3.connect(os.path.join(folder_of(folder), "tracker.sqlite"))) as connection:
        found = connection.execute(sql, values).fetchall()
        connection.commit()
    return found


def seen(folder, ref):
    """Return all that there is to see of a revision."""
    run = rewind.Tracker(folder).run(ref).attach(step)
    facts = {
        "history": run.history(),
        "summary": run.summary,
        "config": run.config,
        "logs": run.logs(),
        "system": run.system(),
        "lineage": run.lineage,
        "artifacts": [
            (a.ref, a.digest, a.aliases, a.step, a.revision, [open_bytes(a.path(f)) for f in a.files])
            for a in run.artifacts
        ],
        "digest": run.digest,
        "name": (run.name, run.notes, run.tags, run.status, run.exit_code, run.began, run.ended, run.kind),
        "start": run.starting_step,
        "state": repr(run.state) if run.replay is not None else None,
        "states": [repr(run.state_at(t)) for t in (15, 31) if run.replay is not None and run.last_step >= t],
    }
    return repr(facts)


def open_bytes(path):
    with open(path, "rb") as file:
        return file.read()


def killed(folder, more=""):
    """Let another process log ten rows to a run ``killed`` and die."""
    code = f"""
import os, rewind
run = rewind.init("p", dir={folder!r}, id="killed")
for i in range(10):
    run.log({{"x": i}})
run.flush()
{more}
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
