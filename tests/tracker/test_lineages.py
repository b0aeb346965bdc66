"""A run that went on in two folders, and a run that is called otherwise: imports, told apart by their digests."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3

import pytest
from helpers.tracked_family import attach, copied, made_once, seen

import rewind
from rewind.cli.main import main
from rewind.errors import ArgumentError, RunBusyError, RunExistsError
from rewind.tracker.transfer.import_ import import_bundle

pytestmark = pytest.mark.once


def on(folder, n, key="x", **options):
    with rewind.init(dir=folder, **options) as run:
        for _ in range(n):
            run.log({key: run.step})
        run.summary["best"] = n
    return run


def sound(folder):
    report = rewind.Tracker(folder).fsck()
    assert report.ok, report.problems


@pytest.fixture
def apart(tmp_path):
    """Two folders in which one run was rewound, to other steps, and went on."""
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    on(here, 10, id="k", config={"a": 1})
    shutil.copytree(here, there)
    on(here, 3, "mine", resume_from="k?_step=4")
    on(there, 4, "theirs", resume_from="k?_step=7")
    on(there, 2, "theirs", id="k", resume="must")
    return rewind.Tracker(here), rewind.Tracker(there)


def exported(tracker, run_id, tmp_path, name="bundle.zip"):
    tracker.export(run_id, tmp_path / name)
    return tmp_path / name


def test_run_that_was_rewound_apart_is_another_lineage_of_the_same_ancestor(apart, tmp_path):
    here, there = apart
    before = {ref: seen(here.dir, ref) for ref in ("k@1", "k@2")}
    assert here.import_file(exported(there, "k", tmp_path)) == ["k"]
    assert [(one.ref, one.kind, str(one.forked_from or "")) for one in here.run("k").revisions] == [
        ("k@1", "begun", ""),
        ("k@2", "rewound", "k@1?_step=4"),
        ("k@3", "rewound", "k@1?_step=7"),
        ("k@4", "resumed", "k@1?_step=7"),
    ]
    assert here.run("k").ref == "k@2"  # the run stands where it stood
    assert {ref: seen(here.dir, ref) for ref in before} == before
    for theirs, mine in (("k@2", "k@3"), ("k@3", "k@4")):
        digest = there.run(theirs).digest
        assert here.run(digest[:8]).ref == mine and here.run(mine).digest == digest
        assert here.run(mine).history() == there.run(theirs).history()
        assert here.run(mine).summary == there.run(theirs).summary
    sound(here.dir)
    assert here.import_file(tmp_path / "bundle.zip") == []  # all of it is here
    with rewind.init(dir=here.dir, resume_from=f"{there.run('k').digest[:8]}?_step=12") as run:
        assert (run.ref, str(run.forked_from)) == ("k@5", "k@4?_step=12")
    sound(here.dir)


def test_lineages_come_together_in_both_folders(apart, tmp_path):
    here, there = apart
    here.import_file(exported(there, "k", tmp_path))
    assert there.import_file(exported(here, "k", tmp_path, "back.zip")) == ["k"]
    digests = [{one.digest for one in tracker.run("k").revisions} for tracker in apart]
    assert digests[0] == digests[1] and len(digests[0]) == 4
    assert there.run("k").ref == "k@3" and there.run(here.run("k").digest).ref == "k@4"
    assert here.import_file(exported(there, "k", tmp_path, "again.zip")) == []
    sound(there.dir)
    new = str(tmp_path / "new")
    import_bundle(new, tmp_path / "again.zip")
    assert {one.digest for one in rewind.Tracker(new).run("k").revisions} == digests[0]
    sound(new)


def test_fork_of_the_other_lineage_comes_with_it(apart, tmp_path):
    here, there = apart
    on(there.dir, 2, id="f", fork_from="k?_step=12")
    assert here.import_file(exported(there, "f", tmp_path)) == ["f", "k"]
    assert here.run("f").history() == there.run("f").history() and str(here.run("f").forked_from) == "k@4?_step=12"
    assert here.run("k").ref == "k@2"
    here.purge("k")
    assert here.run("f").history() == there.run("f").history()
    sound(here.dir)
    assert here.import_file(exported(there, "k", tmp_path)) == ["k"]  # what was purged comes back
    assert here.run(there.run("k@2").digest).history() == there.run("k@2").history()
    sound(here.dir)


def test_run_stands_at_the_newest_of_a_file_that_goes_on_where_it_stood(apart, tmp_path):
    here, there = apart
    on(there.dir, 1, id="only")
    here.import_file(exported(there, "only", tmp_path))
    on(there.dir, 3, id="only", resume="must")
    here.import_file(exported(there, "only", tmp_path))
    assert here.run("only").revision == 2 and len(here.run("only").history()) == 4


def test_run_with_nothing_in_common_is_refused_and_told_of_as(apart, tmp_path):
    here, there = apart
    for folder in (here.dir, there.dir):
        on(folder, 2, id="z")
        on(folder, 2, id="of_z", fork_from="z?_step=0")
    with pytest.raises(RunExistsError, match="nothing in common; rewind import --as NEWID"):
        here.import_file(exported(there, "z", tmp_path))
    with pytest.raises(RunExistsError, match="'new' comes from another one of that id; .* a folder of its own"):
        here.import_file(exported(there, "of_z", tmp_path), id="new")
    assert [one.ref for one in here.run("z").revisions] == ["z@1"]
    sound(here.dir)


def test_lineage_is_not_added_to_a_run_that_is_written(apart, tmp_path):
    here, there = apart
    bundle = exported(there, "k", tmp_path)
    with rewind.init(dir=here.dir, id="k", resume="must"):
        with pytest.raises(RunBusyError):
            here.import_file(bundle)
    assert here.import_file(bundle) == ["k"]


# ---- another id


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return made_once(tmp_path_factory)


def test_run_is_imported_under_another_id_with_its_digests(original, tmp_path):
    there = rewind.Tracker(original)
    new = str(tmp_path / "new")
    bundle = exported(there, "fork", tmp_path)
    assert import_bundle(new, bundle, "mine") == ["mine", "root"]
    here = rewind.Tracker(new)
    assert seen(new, "mine") == seen(original, "fork") and here.run("mine").digest == there.run("fork").digest
    assert [one.id for one in here] == ["mine"] and attach(here.run("mine")).verify_history() > 0
    sound(new)
    assert import_bundle(new, bundle, "mine") == [] and import_bundle(new, bundle) == ["fork"]
    assert here.run(there.run("fork").digest).ref == "mine@1"  # of twins that which was here first
    with rewind.init(dir=new, resume_from="mine?_step=41") as run:
        assert run.ref == "mine@2"
    here.export("mine", tmp_path / "again.zip")
    assert import_bundle(str(tmp_path / "third"), tmp_path / "again.zip", "theirs") == ["theirs", "root"]
    assert rewind.Tracker(tmp_path / "third").run("theirs@1").digest == there.run("fork").digest
    for folder in (new, tmp_path / "third"):
        sound(folder)
    here.purge("fork")
    here.purge("mine")
    sound(new)


@pytest.mark.parametrize("name", ["", "a/b", "-x", "a@1"])
def test_other_id_that_is_none_is_refused(original, tmp_path, name):
    bundle = exported(rewind.Tracker(original), "root", tmp_path)
    with pytest.raises(ArgumentError, match="a run id"):
        rewind.Tracker(copied(original, tmp_path)).import_file(bundle, id=name)


def test_other_id_that_is_taken_is_refused(original, tmp_path):
    tracker = rewind.Tracker(copied(original, tmp_path))
    bundle = exported(tracker, "fork", tmp_path)
    with pytest.raises(RunExistsError, match="'of_archived'"):
        tracker.import_file(bundle, id="of_archived")
    with pytest.raises(RunExistsError, match="'root'"):  # which it comes from
        tracker.import_file(bundle, id="root")
    sound(tracker.dir)


def test_shell_says_what_became_of_each(apart, tmp_path, capsys):
    here, there = apart
    bundle = str(exported(there, "k", tmp_path))
    assert main(["import", bundle, "--dir", here.dir]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"imported k to {here.dir}"
    assert lines[1] == "another lineage of a run that went on here: k@2 is k@3 here, k@3 is k@4 here"
    assert main(["import", bundle, "--dir", here.dir, "--as", "other", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["runs"], facts["lineages"]) == (["other"], {})
    assert main(["show", "other", "--dir", here.dir]) == 0
    assert f"{there.run('k').digest} (as k@3)\n" in capsys.readouterr().out
    assert main(["import", bundle, "--dir", here.dir, "--as", "a", "--id", "b"]) == 2
    assert "choose one" in capsys.readouterr().err


def test_other_programs_runs_are_called_as_it_says_too(tmp_path, capsys):
    (tmp_path / "m.csv").write_text("step,x\n0,1\n")
    assert main(["import", str(tmp_path / "m.csv"), "--dir", str(tmp_path / "t"), "--as", "mine"]) == 0
    assert "imported mine" in capsys.readouterr().out


def test_folder_of_release_0_5_is_read_and_gets_a_lineage(apart, tmp_path):
    here, there = apart
    with contextlib.closing(sqlite3.connect(f"{here.dir}/tracker.sqlite")) as old:
        for column in ("made_as", "machine"):
            old.execute(f"ALTER TABLE revisions DROP COLUMN {column}")
        old.execute("ALTER TABLE rows DROP COLUMN seconds")
        old.execute("DROP TABLE pyramids")
        old.execute("PRAGMA user_version = 1")
        old.commit()
    assert here.run(here.run("k@1").digest).ref == "k@1" and here.diff("k@1", "k").step == 5
    assert here.run("k").history() == here.run("k@2").history()
    here.import_file(exported(there, "k", tmp_path))
    assert here.run(there.run("k").digest).ref == "k@4"
