"""Ids of runs, and what files are called by them: no two share one, on any file system."""

from __future__ import annotations

import os
import pathlib
import string

import pytest
from helpers.tracked_family import execute
from hypothesis import given
from hypothesis import strategies as st

import rewind
from rewind.tracker.moment import Moment, id_problem
from rewind.tracker.store import blobs
from rewind.tracker.store.lock import file_stem

pytestmark = pytest.mark.once


def step(x, rng):
    return x + rng.random()


def content(tmp_path, text="text"):
    path = tmp_path / "content.txt"
    path.write_text(text)
    return path


def test_ids_that_differ_only_in_case_share_no_file(tmp_path):
    for run_id in ("walk", "Walk", "WALK"):
        with rewind.init(dir=tmp_path / ".rewind", id=run_id) as run:
            run.record(step, 0.0, 9, seed=len(run_id), observe={"x": None}, trial=False)
    for folder in ("locks", "simulations"):
        names = os.listdir(tmp_path / ".rewind" / folder)
        assert len({name.casefold() for name in names}) == len(names) == 3
    runs = rewind.Tracker(tmp_path / ".rewind")
    assert runs.fsck().ok and len({runs.run(run_id).digest for run_id in ("walk", "Walk", "WALK")}) == 3


@given(st.lists(st.text(st.sampled_from(string.ascii_letters + "%-._~ éÉ4"), min_size=1, max_size=9), unique=True))
def test_no_two_ids_have_the_same_file_where_case_is_ignored(ids):
    stems = [file_stem(one).casefold() for one in ids]
    assert len(set(stems)) == len(ids)


def test_a_long_id_in_capitals_has_a_file_that_file_systems_take():
    assert len(file_stem("A" * 128)) < 200 and file_stem("A" * 128) != file_stem("A" * 127 + "a")


def test_a_file_of_an_earlier_version_is_not_shared_with_an_id_in_other_letters(tmp_path):
    with rewind.init(dir=tmp_path, id="Walk") as run:
        run.record(step, 0.0, 9, seed=1, observe={"x": None}, trial=False)
    folder = tmp_path
    ((name,),) = execute(folder, "SELECT file FROM simulations")
    os.rename(folder / "simulations" / name, folder / "simulations" / "Walk.1.1.replay")  # as 0.5 called it
    execute(folder, "UPDATE simulations SET file = 'Walk.1.1.replay'")
    with rewind.init(dir=tmp_path, id="walk") as run:
        run.record(step, 0.0, 9, seed=2, observe={"x": None}, trial=False)
    assert sorted(os.listdir(folder / "simulations")) == ["Walk.1.1.replay", "walk.1.1-2.replay"]
    assert rewind.Tracker(tmp_path).fsck().ok
    with rewind.init(dir=tmp_path, resume_from="Walk?_step=3") as run:
        assert run.attach(step).state == rewind.Tracker(tmp_path).run("Walk@1").attach(step).state_at(3)


def test_an_export_goes_where_a_name_that_differs_only_in_case_is_taken(tmp_path):
    for run_id in ("walk", "Walk"):
        with rewind.init(dir=tmp_path / run_id, id=run_id) as run:
            run.record(step, 0.0, 9, seed=len(run_id), observe={"x": None}, trial=False)
    rewind.Tracker(tmp_path / "Walk").export("Walk", tmp_path / "w.zip")
    assert rewind.Tracker(tmp_path / "walk").import_file(tmp_path / "w.zip") == ["Walk"]
    assert rewind.Tracker(tmp_path / "walk").fsck().ok


# ---- artifacts


def test_artifacts_whose_names_differ_only_in_case_share_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with rewind.init(dir=tmp_path / ".rewind") as run:
        one = run.log_artifact(content(tmp_path, "one"), name="model")
        two = run.log_artifact(content(tmp_path, "two"), name="Model")
    folders = [artifact.download() for artifact in (one, two, one, two)]
    assert folders[:2] == folders[2:] and folders[0] == str(tmp_path / "artifacts" / "model-v0")
    assert folders[0].lower() != folders[1].lower() and "Model-v0-" in folders[1]
    assert [pathlib.Path(folder, "content.txt").read_text() for folder in folders[:2]] == ["one", "two"]


def test_files_of_one_artifact_that_become_one_are_refused_when_they_are_downloaded(tmp_path, monkeypatch):
    (tmp_path / "both").mkdir()
    for name in ("a.txt", "A.txt"):
        (tmp_path / "both" / name).write_text(name)
    with rewind.init(dir=tmp_path / ".rewind") as run:
        made = run.log_artifact(tmp_path / "both", name="both")
    assert sorted(os.listdir(made.download(tmp_path / "apart"))) == ["A.txt", "a.txt"]
    real = blobs.put
    monkeypatch.setattr(blobs, "put", lambda target, *rest: real(target.replace("A.txt", "a.txt"), *rest))
    with pytest.raises(rewind.StoreError, match="ignores case"):
        made.download(tmp_path / "together")


# ---- ids


@pytest.mark.parametrize("options", [{"id": "-x"}, {"id": "--purge"}, {"id": "-x", "resume": "allow"}])
def test_no_new_id_begins_like_an_option(tmp_path, options):
    with pytest.raises(rewind.ArgumentError, match="begins with -, and would be an option"):
        rewind.init(dir=tmp_path, **options)
    rewind.init(dir=tmp_path, id="x").finish()
    with pytest.raises(rewind.ArgumentError, match="begins with -"):
        rewind.init(dir=tmp_path, fork_from="x?_step=-1", id="-y")


def test_a_run_of_an_earlier_version_whose_id_begins_so_is_read_and_goes_on(tmp_path):
    with rewind.init(dir=tmp_path, id="x") as run:
        run.log({"x": 1})
    execute(tmp_path, "UPDATE runs SET id = '-x'")
    execute(tmp_path, "UPDATE revisions SET run = '-x'")
    assert rewind.Tracker(tmp_path).run("-x").history() == [{"_step": 0, "x": 1}]
    with rewind.init(dir=tmp_path, id="-x", resume="must") as run:
        assert run.step == 1
    with rewind.init(dir=tmp_path, resume_from="-x?_step=0") as run:
        assert run.step == 1
    assert not id_problem("-x") and Moment.parse("-x?_step=0").run_id == "-x"
