"""What `Tracker.fsck` says of sound folders, of damaged ones, and of histories that no simulation gives."""

from __future__ import annotations

import os
import random
import shutil

import pytest
from helpers import mutated_stores
from helpers.tracked_family import attach, copied, execute, killed, made_once, open_bytes

import rewind
from rewind.errors import StoreError
from rewind.tracker.fsck import fsck
from rewind.tracker.store import database

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return made_once(tmp_path_factory)


@pytest.fixture
def folder(original, tmp_path):
    return copied(original, tmp_path)


def check(folder, **options):
    return rewind.Tracker(folder).fsck(**options)


def one_problem(folder, ref, *texts, **options):
    report = check(folder, **options)
    assert not report.ok
    found = [problem for problem in report.problems if problem.ref == ref]
    assert any(all(text in problem.text for text in texts) for problem in found), report.problems
    return report


def test_a_folder_that_nobody_touched_is_sound(folder):
    report = check(folder)
    assert report.ok and report.problems == ()
    assert (report.n_runs, report.n_revisions, report.n_artifacts, report.n_running, report.n_left) == (4, 5, 2, 0, 0)
    assert report.n_rows == execute(folder, "SELECT count(*) FROM rows")[0][0]


def test_histories_are_regenerated_where_the_step_function_is_given(folder):
    calls = []
    report = check(folder, replay=attach, progress=calls.append)
    assert report.ok, report.problems
    assert report.n_replayed == 3 and calls[-1].done == calls[-1].total == 10


def test_a_history_that_cannot_be_regenerated_is_said_to_be_neither_sound_nor_damaged(folder):
    report = check(folder, replay=lambda revision: None)
    # In the process that recorded them they are known by the path; this is a copy.
    assert report.n_replayed == 0
    assert {problem.ref for problem in report.not_replayed} == {"root@2", "fork@1", "of_fork@1"}
    assert all("attach" in problem.text for problem in report.not_replayed) and report.problems == ()


def test_the_first_row_that_the_simulation_does_not_give_is_named(folder):
    execute(folder, """UPDATE rows SET data = '{"s":0.125}' WHERE step = 28 AND revision = 2""")
    report = one_problem(folder, "root@2", "step 28", "0.125", replay=attach)
    assert any(problem.ref == "root@2" and "digest of its rows" in problem.text for problem in report.problems)


def test_a_step_function_that_raises_is_a_problem_and_no_crash(folder):
    def broken(x, rng):
        raise ZeroDivisionError

    one_problem(folder, "root@2", "it cannot be replayed", replay=lambda revision: revision.attach(broken))


def test_nothing_is_changed(folder):
    def bytes_of_all():
        return {
            os.path.join(home, name): open_bytes(os.path.join(home, name))
            for home, _, names in os.walk(folder)
            for name in names
            if not name.endswith("-shm")
        }

    before = bytes_of_all()
    check(folder, replay=attach)
    after = {path: data for path, data in bytes_of_all().items() if data or path in before}
    assert after == before


def test_a_folder_that_is_read_only_is_checked(folder):
    for home, _, names in os.walk(folder):
        for name in names:
            os.chmod(os.path.join(home, name), 0o444)
        os.chmod(home, 0o555)
    try:
        assert check(folder).ok
    finally:
        for home, _, _ in os.walk(folder):
            os.chmod(home, 0o755)


DAMAGES = {
    "a row": (
        "UPDATE rows SET data = '{\"x\":77}' WHERE revision = 1 AND step = 9",
        "root@1",
        ["the digest of its rows was"],
    ),
    "a row, and the summary": (
        "UPDATE rows SET data = '{\"x\":77}' WHERE revision = 1 AND step = 27",
        "root@1",
        ["'x' is 9", "77"],
    ),
    "a row that is gone": (
        "DELETE FROM rows WHERE revision = 1 AND step = 9",
        "root@1",
        ["the number of its rows was 10", "is 9"],
    ),
    "a row that is no JSON": (
        "UPDATE rows SET data = '{\"x\":' WHERE revision = 1 AND step = 9",
        "root@1",
        ["row of step 9", '{"x":'],
    ),
    "a row that is a list": (
        "UPDATE rows SET data = '[]' WHERE revision = 1 AND step = 9",
        "root@1",
        ["row of step 9", "no object"],
    ),
    "a row of no value": (
        'UPDATE rows SET data = \'{"x":{"ndarray":["|O",[1],"AA=="]}}\' WHERE revision = 1 AND step = 9',
        "root@1",
        ["row of step 9"],
    ),
    "a row before its revision": (
        "UPDATE rows SET step = 3 WHERE revision = 2 AND step = 18",
        "root@2",
        ["row of step 3", "not after step 12"],
    ),
    "a row of bytes": ("UPDATE rows SET data = x'00ff' WHERE revision = 1 AND step = 9", "root@1", ["row of step 9"]),
    "a mark": (
        "UPDATE marks SET accounts = replace(accounts, 'x', 'w') WHERE revision = 1",
        "root@1",
        ["the mark at step 27"],
    ),
    "a mark of no row": ("UPDATE marks SET step = 28 WHERE revision = 1", "root@1", ["mark at step 28"]),
    "a summary": (
        "UPDATE revisions SET summary = replace(summary, '9', '8') WHERE uid = 1",
        "root@1",
        ["summary does not agree"],
    ),
    "a config": (
        "UPDATE revisions SET config = '{\"k\": 5}' WHERE uid = 1",
        "root@1",
        ["its digest, over name, config"],
    ),
    "a config that is no JSON": ("UPDATE revisions SET config = '{' WHERE uid = 1", "root@1", ["cannot be checked"]),
    "a definition": ("UPDATE revisions SET defined = '{\"y\": 5}' WHERE uid = 1", "root@1", ["definitions of metrics"]),
    "a name": ("UPDATE revisions SET name = 'other' WHERE uid = 3", "of_archived@1", ["its digest, over name, config"]),
    "a line": ("UPDATE lines SET text = 'other' WHERE revision = 1 AND step = 9", "root@1", ["its digest, over name"]),
    "a value that was assigned": (
        "UPDATE assigned SET value = '{}' WHERE revision = 1",
        "root@1",
        ["put in its summary for 'best'"],
    ),
    "a value that was computed": (
        "UPDATE backfilled SET value = '1.5' WHERE revision = 2",
        "root@2",
        ["its digest, over name"],
    ),
    "an event": ("UPDATE artifact_events SET step = 4 WHERE revision = 1", "root@1", ["its digest, over name"]),
    "a digest": ("UPDATE revisions SET digest = 'abc' WHERE uid = 4", "of_fork@1", ["the digest of its past", "abc"]),
    "a last step": ("UPDATE revisions SET last_step = 99 WHERE uid = 1", "root@1", ["last step was 99"]),
    "a parent that is gone": ("DELETE FROM revisions WHERE uid = 4", "of_fork@1", ["parent", "is not there"]),
    "a parent of its own": ("UPDATE revisions SET parent = 5 WHERE uid = 4", "fork@1", ["does not come before it"]),
    "a circle": ("UPDATE revisions SET parent = 2 WHERE uid = 1", "root@1", ["does not come before it"]),
    "a parent step": (
        "UPDATE revisions SET parent_step = 'x' WHERE uid = 3",
        "of_archived@1",
        ["begins after step 'x'"],
    ),
    "a parent step after the end": (
        "UPDATE revisions SET parent_step = 5000 WHERE uid = 5",
        "of_fork@1",
        ["its digest, over name"],
    ),
    "a current revision": (
        "UPDATE runs SET current = 99 WHERE id = 'root'",
        "root",
        ["current revision", "is not there"],
    ),
    "a current revision of another": ("UPDATE runs SET current = 5 WHERE id = 'root'", "root", ["is of_fork@1"]),
    "a run that is gone": ("DELETE FROM runs WHERE id = 'root'", "root", ["is no run"]),
    "rows of nobody": (
        "INSERT INTO rows (revision, step, data) VALUES (99, 1, '{}')",
        "",
        ["there are rows of revision 99"],
    ),
    "a simulation": (
        "UPDATE simulations SET first = 14 WHERE revision = 2",
        "root@2",
        ["the digest of its simulation"],
    ),
    "a simulation of another name": (
        "UPDATE simulations SET file = 'no.replay' WHERE revision = 2",
        "root@2",
        ["digest of its simulation", "there is no"],
    ),
    "metrics of a simulation": (
        "UPDATE simulations SET metrics = '[' WHERE revision = 2",
        "root@2",
        ["cannot be checked"],
    ),
    "a manifest": ("UPDATE artifacts SET manifest = '[]' WHERE name = 'late'", "late:v0", ["manifest"]),
    "a table": ("DROP TABLE lines", "root@1", ["cannot be checked", "lines"]),
    "the table of revisions": ("DROP TABLE revisions", "", ["the table of revisions"]),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_what_was_altered_is_named(folder, what):
    sql, ref, texts = DAMAGES[what]
    execute(folder, sql)
    one_problem(folder, ref, *texts)


def test_a_simulation_that_is_damaged_or_missing_is_named(folder):
    (path,) = [
        os.path.join(folder, "simulations", name) for name in os.listdir(f"{folder}/simulations") if "root" in name
    ]
    with open(path, "r+b") as file:
        file.seek(700)
        file.write(b"rubbish")
    one_problem(folder, "root@2", path)
    os.unlink(path)
    one_problem(folder, "root@2", "there is no", path)


def test_contents_that_are_damaged_or_missing_are_named(folder):
    (path,) = [
        os.path.join(home, n)
        for home, _, names in os.walk(f"{folder}/contents")
        for n in names
        if os.path.getsize(os.path.join(home, n)) > 100
    ]
    with open(path, "r+b") as file:
        file.write(b"rubbish")
    one_problem(folder, "early:v0", "weights.bin")
    os.unlink(path)
    one_problem(folder, "late:v0", "weights.bin", "missing")


def test_files_that_nothing_refers_to_are_told_and_no_problem(folder):
    shutil.copy(os.path.join(folder, "tracker.sqlite"), os.path.join(folder, "simulations", "left.1.1.replay"))
    report = check(folder)
    assert report.ok
    assert [os.path.basename(path) for path in report.leftovers] == ["left.1.1.replay"]


def test_a_revision_whose_process_was_killed_is_told_and_no_problem(folder):
    killed(folder)
    report = check(folder)
    assert report.ok and (report.n_left, report.n_running) == (1, 0)


def test_a_revision_that_is_written_is_checked_as_far_as_it_goes(folder):
    with rewind.init(dir=folder, id="now") as run:
        run.log({"x": 1})
        run.flush()
        report = check(folder)
        assert report.ok and (report.n_left, report.n_running) == (0, 1)
        execute(folder, "UPDATE rows SET data = '{' WHERE revision = (SELECT current FROM runs WHERE id = 'now')")
        one_problem(folder, "now@1", "row of step 0")


def test_forks_of_growing_runs_are_sound_whenever_they_are_closed(tmp_path):
    folder = str(tmp_path / ".rewind")
    runs = [rewind.init(dir=folder, id="a")]
    for i in range(5):
        runs[0].log({"x": i})
    runs[0].flush()
    for name in "bcd":
        runs.append(rewind.init(dir=folder, id=name, fork_from=f"{runs[-1].id}?_step={runs[-1].step - 2}"))
        runs[-1].log({name: 1})
        runs[-1].flush()
    for i in (3, 1, 0, 2):
        assert check(folder).ok
        runs[i].finish()
    report = check(folder)
    assert report.ok, report.problems


def test_numbers_of_all_kinds_give_the_marks_and_summaries_they_gave(tmp_path):
    folder = str(tmp_path / ".rewind")
    with rewind.init(dir=folder, id="a") as run:
        run.define_metric("*", summary="min,max,mean,first,last")
        for i in range(3000):
            run.log(
                {"i": i, "f": i / 3, "both": i if i % 2 else float(i), "zero": -0.0 if i % 2 else 0.0, "flag": i > 5}
            )
            if i % 700 == 0:
                run.flush()
    with rewind.init(dir=folder, resume_from="a?_step=1234") as run:
        run.log({"both": 1})
    assert check(folder).ok


def test_a_folder_is_checked_without_a_tracker_of_it(tmp_path):
    (tmp_path / "tracker.sqlite").write_bytes(b"no database at all, but some text that is long enough")
    report = fsck(str(tmp_path))
    assert not report.ok and "database" in report.problems[0].text
    with pytest.raises(StoreError, match="there is no tracker here"):
        fsck(str(tmp_path / "none"))


def test_a_circle_of_revisions_hangs_nobody(folder):
    execute(folder, "UPDATE revisions SET parent = 2, parent_step = 9 WHERE uid = 1")
    run = rewind.Tracker(folder).run("root")
    assert len(run.history()) > 0 and len(run.lineage) <= 3
    assert not check(folder, replay=attach).ok


def test_no_damage_to_the_database_crashes_the_check(folder):
    path = os.path.join(folder, "tracker.sqlite")
    with open(path, "rb") as file:
        data = file.read()
    chance = random.Random(7)
    n_found = 0
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(chance.choice([1, 1, 8, 200])):
            damaged[chance.randrange(100 if chance.random() < 0.1 else len(data))] = chance.randrange(256)
        if chance.random() < 0.2:
            del damaged[chance.randrange(len(data)) :]
        with open(path, "wb") as file:
            file.write(damaged)
        try:
            n_found += not fsck(folder).ok
        except StoreError:
            n_found += 1
    assert n_found > 20


# ---- beside a purge, and in databases that say what nobody wrote


def test_what_another_process_purges_during_a_check_is_no_damage(folder):
    purged = []

    def purges(now):
        if not purged:
            for run_id in ("of_fork", "fork", "of_archived", "root"):
                rewind.Tracker(folder).purge(run_id)
            purged.append(now.done)

    report = fsck(folder, progress=purges)
    assert purged and report.ok, report.problems
    assert check(folder).n_revisions == 0


def test_what_is_purged_before_its_replay_is_no_damage(folder):
    def purges(revision):
        rewind.Tracker(folder).purge("of_fork")
        rewind.Tracker(folder).purge("fork")
        return attach(revision)

    report = fsck(folder, replay=purges)
    assert report.ok, report.problems


def test_what_is_missing_while_somebody_purges_another_run_is_named(folder):
    purged = []

    def purges(now):
        if not purged:
            purged.append(rewind.Tracker(folder).purge("of_fork"))
            shutil.rmtree(os.path.join(folder, "contents"))
            for name in os.listdir(os.path.join(folder, "simulations")):
                os.unlink(os.path.join(folder, "simulations", name))

    report = fsck(folder, progress=purges)
    assert {problem.ref for problem in report.problems} >= {"early:v0", "root@2", "fork@1"}


OUTSIDE = {
    "a project": ("UPDATE runs SET project = x'00' WHERE id = 'root'", "root"),
    "an entity": ("UPDATE runs SET entity = x'00' WHERE id = 'root'", "root"),
    "a mark of removal": ("UPDATE runs SET removed = 'x' WHERE id = 'root'", "root"),
    "a beginning": ("UPDATE runs SET began = 'x' WHERE id = 'root'", "root"),
    "an older revision as the current one": ("UPDATE runs SET current = 1 WHERE id = 'root'", "root"),
    "the beginning of a revision": ("UPDATE revisions SET began = 'x' WHERE uid = 1", "root@1"),
    "the end of a revision": ("UPDATE revisions SET ended = 1e999 WHERE uid = 1", "root@1"),
    "a process": ("UPDATE revisions SET pid = 'x' WHERE uid = 1", "root@1"),
    "a host": ("UPDATE revisions SET host = x'00' WHERE uid = 1", "root@1"),
    "the type of an artifact": ("UPDATE artifacts SET type = x'00' WHERE name = 'early'", "early:v0"),
    "the time of an artifact": ("UPDATE artifacts SET began = 'x' WHERE name = 'early'", "early:v0"),
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_columns_outside_the_digests_are_what_they_can_be(folder, what):
    sql, ref = OUTSIDE[what]
    execute(folder, sql)
    report = check(folder)
    assert any(problem.ref == ref for problem in report.problems), report.problems


@pytest.mark.parametrize("seed", range(2))
def test_a_damaged_database_ends_every_call_with_an_answer_or_an_error_of_ours(original, tmp_path, seed, monkeypatch):
    monkeypatch.setattr(database, "PATIENCE", 1.0)
    assert mutated_stores.trial(original, str(tmp_path), random.Random(seed)) == []
