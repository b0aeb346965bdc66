"""Removing runs: out of the way, or for good; what other runs see of them stays, byte for byte."""

from __future__ import annotations

import itertools
import os
import random

import pytest
from helpers.tracked_family import attach, copied, execute, killed, made_once, seen, step

import rewind
from rewind.errors import (
    ArgumentError,
    PastEndWarning,
    RunBusyError,
    RunExistsError,
    RunNotFoundError,
    StoreError,
    TrackerError,
)
from rewind.tracker.purge import _Purge, purge
from rewind.tracker.store.database import OWNED
from rewind.tracker.store.lookup import past_end

pytestmark = pytest.mark.once

RUNS = ("root", "of_archived", "fork", "of_fork")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return made_once(tmp_path_factory)


@pytest.fixture
def folder(original, tmp_path):
    return copied(original, tmp_path)


def files(folder, where):
    return sorted(name for _, _, names in os.walk(os.path.join(folder, where)) for name in names)


def sound(folder):
    report = rewind.Tracker(folder).fsck(replay=attach)
    assert report.ok, report.problems
    assert report.leftovers == ()
    return report


# ---- removing and bringing back


def test_a_removed_run_is_not_listed_and_nothing_of_it_is_lost(folder):
    tracker = rewind.Tracker(folder)
    before = {run: seen(folder, run) for run in RUNS}
    tracker.remove("root")
    assert [run.id for run in tracker.runs()] == ["of_archived", "fork", "of_fork"]
    assert [run.id for run in tracker.runs(removed=True)] == ["root"]
    assert {run: seen(folder, run) for run in RUNS} == before
    tracker.restore("root")
    assert [run.id for run in tracker.runs()] == list(RUNS)
    sound(folder)


def test_a_removed_run_is_neither_gone_on_with_nor_is_its_id_free(folder):
    tracker = rewind.Tracker(folder)
    tracker.remove("root")
    for options in ({"resume": "allow"}, {"resume": "never"}, {}):
        with pytest.raises(RunExistsError, match="it was removed and is still kept"):
            rewind.init(dir=folder, id="root", **options)
    for options in ({"resume_from": "root?_step=3"}, {"fork_from": "root?_step=3"}):
        with pytest.raises(RunNotFoundError):
            rewind.init(dir=folder, **options)


def test_removing_twice_is_no_error(folder):
    tracker = rewind.Tracker(folder)
    tracker.remove("root")
    tracker.remove("root")
    tracker.restore("root")
    tracker.restore("root")
    assert len(tracker) == 4


@pytest.mark.parametrize("call", ["remove", "restore", "purge", "export"])
def test_a_run_that_is_not_there_or_is_a_revision_is_refused(folder, tmp_path, call):
    more = [str(tmp_path / "file")] if call == "export" else []
    with pytest.raises(RunNotFoundError, match="'root'"):
        getattr(rewind.Tracker(folder), call)("rooot", *more)
    with pytest.raises(ArgumentError, match="all of the run"):
        getattr(rewind.Tracker(folder), call)("root@1", *more)
    assert not [name for name in files(folder, "locks") if name.startswith("rooot")]


@pytest.mark.parametrize("call", ["remove", "purge"])
def test_a_run_that_is_being_written_stays(folder, call):
    with rewind.init(dir=folder, id="root", resume="must") as run:
        run.log({"x": 1})
        with pytest.raises(RunBusyError, match="this process"):
            getattr(rewind.Tracker(folder), call)("root")
    assert rewind.Tracker(folder).run("root").history()[-1]["x"] == 1


# ---- purging


def test_a_purge_leaves_every_child_as_it_was_byte_for_byte(folder):
    before = {run: seen(folder, run) for run in RUNS[1:]}
    rows = execute(folder, "SELECT count(*) FROM rows WHERE revision < 3")[0][0]
    told = rewind.Tracker(folder).purge("root", now=False)
    assert len(rewind.Tracker(folder).run("root").history()) > 10
    purged = rewind.Tracker(folder).purge("root")
    assert purged == told
    assert purged.kept_for == ("fork", "of_archived", "of_fork")
    # Of revision 1 steps up to 16 are seen, of revision 2 those up to 40.
    assert execute(folder, "SELECT max(step) FROM rows WHERE revision = 1") == [(15,)]
    assert execute(folder, "SELECT max(step) FROM rows WHERE revision = 2") == [(40,)]
    kept = execute(folder, "SELECT count(*) FROM rows WHERE revision < 3")[0][0]
    assert (purged.kept_rows, purged.rows) == (kept, rows - kept)
    assert {run: seen(folder, run) for run in RUNS[1:]} == before
    report = sound(folder)
    assert report.n_replayed == 2
    run = rewind.Tracker(folder).run("root@1")
    assert (run.status, run.config, run.notes, run.tags) == ("purged", {}, None, ())


@pytest.mark.parametrize("order", list(itertools.permutations(RUNS))[::5], ids="-".join)
def test_in_whatever_order_runs_are_purged_the_others_stay_and_at_the_end_nothing_is_left(folder, order):
    before = {run: seen(folder, run) for run in RUNS}
    tracker = rewind.Tracker(folder)
    for i, run in enumerate(order):
        tracker.purge(run)
        assert tracker.fsck().ok
        assert tracker.fsck().leftovers == ()
        assert {other: seen(folder, other) for other in order[i + 1 :]} == {o: before[o] for o in order[i + 1 :]}
    assert tracker.runs() == tracker.runs(removed=True) == []
    for table in ("runs", "revisions", "artifacts", *OWNED):
        assert execute(folder, f"SELECT count(*) FROM {table}") == [(0,)], table
    assert files(folder, "simulations") == files(folder, "contents") == []


def test_artifacts_go_with_the_last_run_that_sees_or_uses_them(folder):
    tracker = rewind.Tracker(folder)
    n = len(files(folder, "contents"))
    tracker.purge("root")
    # `late` was logged after the forks; it has the same contents as `early`, which they see.
    assert execute(folder, "SELECT name FROM artifacts") == [("early",)]
    assert len(files(folder, "contents")) == n == 2
    tracker.purge("of_archived")
    tracker.purge("of_fork")
    assert tracker.run("fork").artifacts[0].ref == "early:v0"


def test_an_id_is_free_when_nothing_is_left_and_taken_before(folder):
    tracker = rewind.Tracker(folder)
    assert tracker.purge("of_fork").kept_for == ()
    with rewind.init(dir=folder, id="of_fork") as run:
        assert run.revision == 1
    tracker.purge("root")
    with pytest.raises(RunExistsError):
        rewind.init(dir=folder, id="root")
    with pytest.raises(TrackerError, match="it was purged"):
        tracker.restore("root")
    assert tracker.purge("root").rows == 0
    sound(folder)


def test_what_was_purged_cannot_be_forked(folder):
    rewind.Tracker(folder).purge("root")
    with pytest.raises(RunNotFoundError):
        rewind.init(dir=folder, fork_from="root@1?_step=3")
    with rewind.init(dir=folder, fork_from="of_archived?_step=3") as run:
        assert [row["x"] for row in run.history(["x"])] == [0, 1]
    sound(folder)


def test_a_fork_whose_parent_is_purged_while_it_is_opened_is_refused(folder, monkeypatch):

    def late(store, moment, parent):
        assert past_end(store, moment, parent) is None
        rewind.Tracker(folder).purge("of_fork")

    monkeypatch.setattr("rewind.tracker.init.past_end", late)
    with pytest.raises(RunNotFoundError):
        rewind.init(dir=folder, id="new", fork_from="of_fork?_step=3")
    monkeypatch.undo()
    sound(folder)


def test_a_run_whose_process_was_killed_is_purged_and_its_forks_stay(folder):
    killed(folder)
    with rewind.init(dir=folder, id="child", fork_from="killed?_step=4") as run:
        run.log({"y": 1})
    killed_rows = execute(
        folder, "SELECT count(*) FROM rows WHERE revision IN (SELECT uid FROM revisions WHERE run='killed')"
    )
    before = seen(folder, "child")
    assert rewind.Tracker(folder).purge("killed").rows == killed_rows[0][0] - 5
    assert seen(folder, "child") == before
    sound(folder)


def test_a_child_that_is_being_written_goes_on(folder):
    with rewind.init(dir=folder, id="now", fork_from="root?_step=30") as run:
        run.attach(step)
        state = run.state
        rewind.Tracker(folder).purge("root")
        run.record(n_steps=38)
        assert run.state_at(30) == state
    sound(folder)


def test_a_crash_before_the_files_go_leaves_files_that_the_next_purge_finds(folder, monkeypatch):
    tracker = rewind.Tracker(folder)
    tracker.purge("of_fork")
    monkeypatch.setattr(_Purge, "delete_files", lambda plan: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        tracker.purge("fork")
    monkeypatch.undo()
    report = tracker.fsck()
    assert report.ok and [os.path.basename(path) for path in report.leftovers] == ["fork.1.1.replay"]
    tracker.purge("of_archived")
    sound(folder)


def test_an_error_in_the_middle_changes_nothing(folder, monkeypatch):
    before = {run: seen(folder, run) for run in RUNS}
    monkeypatch.setattr(_Purge, "_delete_artifacts", lambda plan: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rewind.Tracker(folder).purge("root")
    assert {run: seen(folder, run) for run in RUNS} == before
    sound(folder)


def test_where_there_is_no_tracker_none_is_made(tmp_path):
    with pytest.raises(StoreError, match="there is no tracker here"):
        purge(str(tmp_path / "none"), "root")
    assert not (tmp_path / "none").exists()


def test_random_trees_keep_what_is_seen(tmp_path):
    chance = random.Random(11)
    for trial in range(3):
        folder = str(tmp_path / str(trial))
        names = ["r0"]
        with rewind.init(dir=folder, id="r0") as run:
            for i in range(12):
                run.log({"r0": i})
        for k in range(1, 9):
            last = rewind.Tracker(folder).run(old := chance.choice(names))
            at = chance.randint(-1, last.last_step)
            rev = chance.randint(1, last.revision)
            at = min(at, rewind.Tracker(folder).run(f"{old}@{rev}").last_step)
            new = f"r{k}" if chance.random() < 0.6 else old
            way = (
                {"id": new, "fork_from": f"{old}@{rev}?_step={at}"}
                if new != old
                else {"resume_from": f"{old}@{rev}?_step={at}"}
            )
            with rewind.init(dir=folder, **way) as run:
                run.log_line(f"begun {k}")
                for i in range(chance.randint(0, 5)):
                    run.log({new: i, "k": k}, step=run.step + chance.randint(0, 3), commit=True)
            names = sorted({*names, new})
        tracker = rewind.Tracker(folder)
        left = chance.sample(names, len(names))
        before = {revision.ref: seen(folder, revision.ref) for name in left for revision in tracker.run(name).revisions}
        while left:
            tracker.purge(left.pop())
            here = [revision.ref for name in left for revision in tracker.run(name).revisions]
            assert {ref: seen(folder, ref) for ref in here} == {ref: before[ref] for ref in here}
            sound(folder)
        assert execute(folder, "SELECT count(*) FROM revisions") == [(0,)]


def test_a_moment_after_the_kept_rows_is_past_the_end(folder):
    rewind.Tracker(folder).purge("root")
    with pytest.warns(PastEndWarning, match="its last step is 17"):
        rewind.init(dir=folder, id="late", fork_from="of_archived?_step=18").finish()
    sound(folder)
