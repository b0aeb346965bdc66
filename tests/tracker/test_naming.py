"""What a run is called: where it says it comes from, and its digest, which names it in any folder."""

from __future__ import annotations

import json
import sqlite3

import pytest

import rewind
from rewind.cli.main import main

pytestmark = pytest.mark.once


@pytest.fixture
def cli(capsys):
    def call(*argv):
        code = main([str(arg) for arg in argv])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run that was rewound, resumed and rewound again; a fork, resumed; both closed."""
    folder = tmp_path_factory.mktemp("named")
    for n, options in [
        (10, {"id": "k"}),
        (5, {"resume_from": "k?_step=4"}),
        (5, {"id": "k", "resume": "must"}),
        (2, {"id": "f", "fork_from": "k@1?_step=7"}),
        (2, {"id": "f", "resume": "must"}),
    ]:
        with rewind.init(dir=folder, **options) as run:
            for _ in range(n):
                run.log({"x": run.step})
    return rewind.Tracker(folder)


@pytest.fixture
def tracker(made, tmp_path):
    """A copy that a test may change."""
    import shutil

    shutil.copytree(made.dir, tmp_path / "copy")
    return rewind.Tracker(tmp_path / "copy")


# ---- where it comes from


@pytest.mark.parametrize(
    ("ref", "moment"),
    [("k@1", None), ("k@2", "k@1?_step=4"), ("k@3", "k@1?_step=4"), ("f@1", "k@1?_step=7"), ("f", "k@1?_step=7")],
)
def test_run_names_the_archived_revision_and_step_it_was_rewound_to_or_forked_from(made, cli, ref, moment):
    found = made.run(ref).forked_from
    assert (None if found is None else str(found)) == moment
    shown = json.loads(cli("show", ref, "--dir", made.dir, "--json")[1])
    assert shown["forked_from"] == moment
    assert (f"forked from  {moment}\n" in cli("show", ref, "--dir", made.dir)[1]) is (moment is not None)
    listed = json.loads(cli("log", ref, "--dir", made.dir, "--json")[1])["revisions"]
    assert {one["run"]: one["forked_from"] for one in listed}[shown["run"]] == moment


def test_lists_name_it_too_and_the_graph_says_how_each_revision_began(made, cli):
    runs = json.loads(cli("ls", "--dir", made.dir, "--json")[1])["runs"]
    assert {one["id"]: one["forked_from"] for one in runs} == {"k": "k@1?_step=4", "f": "k@1?_step=7"}
    assert "k@1?_step=4" in cli("ls", "--dir", made.dir)[1]
    drawn = cli("log", "--graph", "--oneline", "--dir", made.dir)[1]
    assert "k@2  rewound at step 4 of k@1" in drawn and "f@1  forked at step 7 of k@1" in drawn


def test_run_that_is_open_says_it_at_once(tracker):
    with rewind.init(dir=tracker.dir, resume_from="k?_step=6") as run:
        assert str(run.forked_from) == "k@3?_step=6" == str(tracker.run("k").forked_from)


# ---- its digest


@pytest.mark.parametrize("letters", [8, 11, 64])
def test_digest_or_its_beginning_is_taken_for_a_run(made, cli, letters):
    old = made.run("k@1")
    name = old.digest[:letters]
    assert made.run(name) == old == made[name] and made.run(name).digest == old.digest
    where = ("--dir", made.dir)
    for verb in (["show"], ["log"], ["history"], ["show", "--lines"], ["history", "--jsonl"], ["show", "--copy"]):
        assert cli(*verb, name, *where) == cli(*verb, "k@1", *where)


def test_digest_is_taken_in_moments(tracker):
    old = tracker.run("k@1").digest
    with rewind.init(dir=tracker.dir, fork_from=f"{old[:8]}?_step=8") as fork:
        assert len(fork.history()) == 9 and str(fork.forked_from) == "k@1?_step=8"
    with rewind.init(dir=tracker.dir, id="k", resume_from=f"{old}?_step=8") as again:
        assert again.id == "k" and str(again.forked_from) == "k@1?_step=8"
    with pytest.raises(rewind.MomentError, match="'x' is 3 from step 3 to 3"):
        rewind.init(dir=tracker.dir, fork_from=f"{old[:8]}?x=3")
    with pytest.raises(rewind.ArgumentError, match="another id than the run"):
        rewind.init(dir=tracker.dir, id="k", fork_from=f"{old}?_step=8")


def test_whole_run_is_named_by_any_digest_of_it_and_deleted_by_the_current_one_only(tracker, cli, tmp_path):
    old, now = tracker.run("k@1").digest[:8], tracker.run("k").digest[:8]
    where = ("--dir", tracker.dir)
    assert cli("export", old, *where, "-o", tmp_path / "k.zip")[0] == 0
    tracker.export(now, tmp_path / "same.zip")
    assert (tmp_path / "same.zip").read_bytes() == (tmp_path / "k.zip").read_bytes()
    assert cli("rm", old, "--yes", *where)[1].startswith("archived k;")
    assert tracker.run(old).ref == "k@1"
    assert cli("rm", "--restore", old, *where)[1] == "k is back\n"
    tracker.remove(old)
    tracker.restore(now)
    code, out, err = cli("rm", "--purge", "--yes", old, *where)
    assert (code, out) == (2, "") and "takes a whole run" in err
    with pytest.raises(rewind.ArgumentError, match="'k'"):
        tracker.purge(old)
    assert cli("rm", "--purge", "--yes", now, *where)[1].startswith("deleted k: ")


def test_copy_prints_the_digest_and_nothing_else(made, cli):
    digest = made.run("k@1").digest
    assert cli("show", "k@1", "--copy", "--dir", made.dir) == (0, f"{digest}\n", "")
    facts = json.loads(cli("show", "k@1", "--copy", "--json", "--dir", made.dir)[1])
    assert (facts["run"], facts["digest"]) == ("k@1", digest)


def test_run_that_is_not_closed_has_no_digest_to_copy(tracker, cli):
    with rewind.init(dir=tracker.dir, id="open"):
        code, out, err = cli("show", "open", "--copy", "--dir", tracker.dir)
    assert (code, out) == (1, "") and "open@1 has no digest yet" in err


def test_beginning_of_several_digests_is_refused_with_all_of_them(tracker, cli):
    with sqlite3.connect(f"{tracker.dir}/tracker.sqlite") as database:  # found by 2**32 others as a rule
        database.execute("UPDATE revisions SET digest = '0123abcd' || substr(digest, 9) WHERE run = 'k'")
    database.close()
    for call in (tracker.run, tracker.remove, lambda name: rewind.init(dir=tracker.dir, fork_from=f"{name}?_step=1")):
        with pytest.raises(rewind.ArgumentError, match=r"3 begin so.*k@1.*k@2.*k@3") as caught:
            call("0123abcd")
    assert tracker.run("k@2").digest[:12] in str(caught.value)
    code, out, err = cli("show", "0123abcd", "--dir", tracker.dir)
    assert (code, out) == (2, "") and "the beginning of 3 digests: 0123abcd" in err
    assert tracker.run(tracker.run("k@2").digest).ref == "k@2"


def test_id_of_a_run_goes_before_a_digest_and_a_beginning_of_both_is_refused(tracker, cli):
    name = tracker.run("k@1").digest[:8]
    with rewind.init(dir=tracker.dir, id=f"{name}-more"):
        pass
    code, out, err = cli("show", name, "--dir", tracker.dir)
    assert (code, out) == (2, "") and f"1 run ids: {name}-more and of 1 digests: {name} (k@1)" in err
    assert tracker.run(name).ref == "k@1"  # the beginning of an id is none in Python
    with rewind.init(dir=tracker.dir, id=name):
        pass
    assert tracker.run(name).ref == f"{name}@1"
    assert cli("show", "--copy", name, "--dir", tracker.dir)[1] == f"{tracker.run(f'{name}@1').digest}\n"


@pytest.mark.parametrize("name", ["01234567", "0123456", "f" * 64, "f" * 65])
def test_what_begins_no_digest_is_no_run(made, cli, name):
    with pytest.raises(rewind.RunNotFoundError):
        made.run(name)
    assert cli("show", name, "--dir", made.dir)[0] == 1
