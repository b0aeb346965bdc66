"""`Api`: what is in a folder, by the calls that programs make to W&B's server."""

from __future__ import annotations

import json
import pathlib
import shutil

import pytest

import rewind
import rewind.wandb as wandb
from rewind.errors import ArgumentError, ArgumentTypeError, RunNotFoundError, TrackedArtifactError
from rewind.wandb.apis.filters import matches, value_of

pytestmark = pytest.mark.once


@pytest.fixture
def api(here, tmp_path_factory):
    """Three runs of a project, and one of another: made once, and copied for each test."""
    made = tmp_path_factory.getbasetemp() / "made_for_api"
    if made.exists():
        shutil.copytree(made, here, dirs_exist_ok=True)
    else:
        make_runs(here)
        shutil.copytree(here, made)
    return wandb.Api()


def make_runs(folder):
    for n, (name, rate) in enumerate({"low": 0.1, "mid": 0.2, "high": 0.3}.items()):
        labels = {"tags": [name, "all"], "group": "g" if n else None, "job_type": "train", "notes": f"n{n}"}
        labels |= {"project": "walks", "entity": "me" if n else None, "name": name}
        with wandb.init(id=f"id{n}", config={"lr": rate, "opt": {"name": "sgd"}}, **labels) as run:
            for i in range(5):
                run.log({"loss": rate * i, "acc": {"val": i / 5}, **({"even": i} if i % 2 == 0 else {})})
            run.log({"pic": wandb.Html("<b>x</b>")})
            if n == 2:
                (folder / "w.txt").write_text("weights")
                run.save("w.txt")
                model = wandb.Artifact("model", "model", metadata={"k": 1})
                model.add_file("w.txt")
                run.log_artifact(model, aliases=["best"])
                run.log_line("a line")
            if n == 1:
                run.finish(exit_code=2)
    wandb.init(project="other", id="o").finish()


def names(runs):
    return [run.name for run in runs]


def test_runs_of_a_project_come_in_the_order_they_began_whatever_entity_is_said(api):
    assert names(api.runs("walks")) == names(api.runs("me/walks")) == ["low", "mid", "high"]
    assert names(api.runs("you/walks")) == ["low"]  # the one that has none
    assert names(wandb.Api(overrides={"project": "walks"}).runs()) == ["low", "mid", "high"]
    assert len(api.runs()) == 4 and names(api.runs()[1:3]) == ["mid", "high"]
    runs = api.runs("walks")
    assert next(runs).name == "low" and runs.next().name == "mid" and names(runs.objects) == ["low", "mid", "high"]


def test_a_project_that_is_not_there_is_refused_with_those_that_are(api):
    with pytest.raises(ArgumentError, match=r"'nope'; expected a project of .*: other, walks"):
        api.runs("me/nope")


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"state": "finished"}, ["low", "high"]),
        ({"state": {"$in": ["failed", "crashed"]}}, ["mid"]),
        ({"config.lr": 0.2}, ["mid"]),
        ({"config.lr.value": {"$gte": 0.2}}, ["mid", "high"]),
        ({"config.opt.name": "sgd", "config.lr": {"$lt": 0.15}}, ["low"]),
        ({"summary_metrics.loss": {"$gt": 0.5, "$lt": 1.0}}, ["mid"]),
        ({"summaryMetrics.acc.val": {"$exists": True}}, ["low", "mid", "high"]),
        ({"summary_metrics.nope": {"$exists": True}}, []),
        ({"tags": "mid"}, ["mid"]),
        ({"tags": {"$in": ["low", "high"]}}, ["low", "high"]),
        ({"tags": {"$nin": ["low"]}}, ["mid", "high"]),
        ({"display_name": {"$regex": "^M", "$options": "i"}}, ["mid"]),
        ({"name": "id0"}, ["low"]),
        ({"group": None}, ["low"]),
        ({"jobType": "train", "group": {"$ne": None}}, ["mid", "high"]),
        ({"$or": [{"config.lr": 0.1}, {"display_name": "high"}]}, ["low", "high"]),
        ({"$and": [{"config.lr": {"$gt": 0.1}}, {"$not": {"state": "failed"}}]}, ["high"]),
        ({"config.lr": {"$not": {"$gt": 0.1}}}, ["low"]),
        ({"created_at": {"$gt": "2020-01-01"}}, ["low", "mid", "high"]),
        ({"config.lr": {"$gt": "text"}}, []),
    ],
)
def test_filters_are_those_of_mongodb(api, filters, wanted):
    assert names(api.runs("walks", filters=filters)) == wanted


def test_what_is_no_filter_is_refused_by_name(api):
    with pytest.raises(ArgumentError, match=r"filters is '\$near'; expected one of \$eq"):
        api.runs("walks", {"config.lr": {"$near": 1}})
    with pytest.raises(ArgumentError, match=r"filters is '\$xor'; expected a field, or one of \$and"):
        api.runs("walks", {"$xor": []})
    with pytest.raises(ArgumentTypeError, match="filters is 'x'"):
        api.runs("walks", "x")


def test_a_name_with_dots_is_found_as_well_as_a_name_inside_a_dict():
    fields = {"config": {"a.b": 1, "c": {"d.e": 2}, "value": 3}}
    assert [value_of(fields, f"config.{name}") for name in ("a.b", "c.d.e", "value")] == [1, 2, {**fields["config"]}]
    assert not matches(fields, {"config.x.y": 1}) and matches(fields, {"config.x.y": None})


def test_runs_are_ordered_by_any_field_and_what_has_none_is_last(api):
    assert names(api.runs("walks", order="-summary_metrics.loss")) == ["high", "mid", "low"]
    assert names(api.runs("walks", order="+config.lr")) == ["low", "mid", "high"]
    assert names(api.runs("walks", order="display_name")) == ["high", "low", "mid"]
    assert names(api.runs("walks", order="-created_at"))[-1] == "low"
    assert names(api.runs(order="-config.lr"))[-1] == names(api.runs(order="+config.lr"))[-1] == "o"


def test_a_run_is_found_by_its_id_whatever_is_before_it(api):
    for path in ("id1", "walks/id1", "me/walks/id1", "/me/walks/runs/id1"):
        assert api.run(path).name == "mid"
    with pytest.raises(RunNotFoundError, match="id9"):
        api.run("me/walks/id9")


def test_a_run_says_what_it_is(api):
    run = api.run("id1")
    assert (run.id, run.display_name, run.project, run.entity, run.path) == (
        "id1",
        "mid",
        "walks",
        "me",
        ["me", "walks", "id1"],
    )
    assert (run.state, run.group, run.job_type, run.notes, run.tags) == ("failed", "g", "train", "n1", ["mid", "all"])
    assert run.config == {"lr": 0.2, "opt": {"name": "sgd"}} == run.rawconfig
    assert run.created_at.endswith("Z") and run.createdAt <= run.heartbeat_at
    assert run.lastHistoryStep == 5 and run.metadata["python"] and run.sweep is None
    assert repr(run) == "<Run me/walks/id1 (failed)>"


def test_a_summary_is_a_dict_and_nested_names_are_dicts_in_it(api):
    summary = api.run("id1").summary
    assert summary["loss"] == 0.8 and summary.get("loss") == 0.8 and summary.get("nope", 7) == 7
    assert summary["acc.val"] == summary["acc"]["val"] == 0.8 and "acc" in summary and "nope" not in summary
    assert summary["_runtime"] >= 0.0 and summary["_step"] == 5 and dict(summary)["loss"] == summary._json_dict["loss"]
    with pytest.raises(KeyError):
        summary["nope"]


def test_a_history_is_all_rows_or_those_that_have_all_keys_or_some_at_equal_distances(api):
    run = api.run("id0")
    rows = run.history(pandas=False)
    assert [row["_step"] for row in rows] == [0, 1, 2, 3, 4, 5] and rows[1]["acc.val"] == 0.2 and rows[1]["_timestamp"]
    assert run.history(keys=["loss", "even"], pandas=False) == [
        {"_step": i, "loss": 0.1 * i, "even": i} for i in (0, 2, 4)
    ]
    assert [row["_step"] for row in run.history(samples=3, pandas=False)] == [0, 2, 5]
    assert list(run.scan_history(keys=["loss"]))[:2] == [{"loss": 0.0}, {"loss": 0.1}]
    assert [row["_step"] for row in run.scan_history(min_step=2, max_step=4)] == [2, 3]
    assert {row["_step"] for row in run.scan_history(["_step", "even"])} == {0, 2, 4}
    assert [row["run_id"] for row in api.runs("walks").histories(keys=["even"])] == ["id0"] * 3 + ["id1"] * 3 + [
        "id2"
    ] * 3


def test_files_of_a_run_are_what_it_kept_its_media_and_what_is_known_of_it(api, tmp_path):
    run = api.run("id2")
    files = {file.name: file for file in run.files()}
    assert {"w.txt", "config.yaml", "output.log", "wandb-metadata.json", "wandb-summary.json"} < files.keys()
    assert any(name.startswith("media/html/pic_") for name in files)
    assert names(run.files(["w.txt"])) == ["w.txt"] and len(run.files()[:2]) == 2
    with run.file("w.txt").download(root=tmp_path / "got") as file:
        assert file.read() == "weights"
    with pytest.raises(ValueError, match="replace=True overwrites it"):
        run.file("w.txt").download(root=tmp_path / "got")
    run.file("w.txt").download(root=tmp_path / "got", exist_ok=True).close()
    with run.file("wandb-summary.json").download(root=tmp_path / "got", replace=True) as file:
        assert json.load(file)["loss"] == pytest.approx(1.2)
    assert (tmp_path / "got" / "w.txt").read_text() == "weights" and files["output.log"].size == len("a line\n")
    with pytest.raises(TrackedArtifactError, match="has no file 'x'; it has"):
        run.file("x")
    with pytest.raises(TrackedArtifactError, match="what a run has logged stays"):
        files["w.txt"].delete()


def test_what_is_changed_of_a_run_is_kept_as_a_new_revision(api):
    run = api.run("id1")
    run.name, run.notes = "new", "why"
    run.tags.append("later")
    run.config["lr"] = 0.25
    run.summary["test"] = 0.5
    run.update()
    again = api.run("id1")
    assert (again.name, again.notes, again.tags) == ("new", "why", ["mid", "all", "later"])
    assert again.config["lr"] == 0.25 and again.summary["test"] == 0.5 and again.summary["loss"] == 0.8
    assert again.state == "failed" and rewind.Tracker().fsck().ok
    assert [one.config["lr"] for one in rewind.Tracker().run("id1").revisions] == [0.2, 0.25]
    again.update()  # nothing to keep
    again.summary.update({"more": 1})
    assert api.run("id1").summary["more"] == 1 and len(rewind.Tracker().run("id1").revisions) == 3


def test_a_change_to_an_open_run_is_a_change_of_that_and_another_open_run_stays_the_latest(api):
    with wandb.init(project="walks", id="mine") as mine:
        mine.log({"x": 1})
        run = api.run("mine")
        assert run.state == "running"
        run.tags = ["t"]
        run.summary["y"] = 2
        run.update()
        assert mine.tags == ("t",) and mine.summary["y"] == 2
        other = api.run("id0")
        other.notes = "n"
        other.update()
        wandb.log({"x": 3})
        assert wandb.run is mine and mine.summary["x"] == 3


def test_a_deleted_run_can_be_restored(api):
    api.run("id0").delete()
    assert names(api.runs("walks")) == ["mid", "high"]
    rewind.Tracker().restore("id0")
    assert names(api.runs("walks")) == ["low", "mid", "high"]


def test_artifacts_are_found_by_name_alias_and_type(api):
    with wandb.init(id="user") as run:
        run.use_artifact("model:best")
        pathlib.Path("w.txt").write_text("others")
        new = wandb.Artifact("model", "model")
        new.add_file("w.txt")
        run.log_artifact(new)
    found = api.artifact("me/walks/model:best", type="model")
    assert (found.name, found.type, found.metadata) == ("model:v0", "model", {"k": 1}) and "best" in found.aliases
    assert api.artifact("model").name == "model:v1"
    assert pathlib.Path(found.download("got"), "w.txt").read_text() == "weights"
    assert [one.name for one in api.artifacts("model", "me/walks/model")] == ["model:v1", "model:v0"]
    assert [one.name for one in api.artifact_versions("model", "model")] == ["model:v1", "model:v0"]
    assert api.artifact_exists("model:v1") and not api.artifact_exists("model:v7")
    assert [one.name for one in api.artifact_type("model").collections()] == ["model"]
    assert "model" in {one.name for one in api.artifact_types()}
    assert api.artifact_collection("model", "model").aliases == ["best", "latest"]
    assert [one.name for one in api.run("id2").logged_artifacts()] == ["model:v0"]
    assert [one.name for one in api.run("user").used_artifacts()] == ["model:v0"]
    with pytest.raises(TrackedArtifactError, match="is of the type 'model', not 'dataset'"):
        api.artifact("model:v0", type="dataset")


def test_projects_are_labels_and_nobody_is_logged_in(api):
    assert [project.name for project in api.projects()] == ["other", "walks"]
    assert api.project("walks", "me").path == ["me", "walks"] and api.project("walks").sweeps() == []
    assert api.viewer.username == "" and api.viewer.teams == [] and api.api_key is None and api.flush() is None
    assert api.from_path("me/walks").name == "walks" and api.from_path("me/walks/id0").name == "low"


def test_a_running_run_is_not_waited_for(api):
    with wandb.init(id="here"), pytest.raises(ArgumentError, match="expected one that has finished"):
        api.run("here").wait_until_finished()
    api.run("here").wait_until_finished()
