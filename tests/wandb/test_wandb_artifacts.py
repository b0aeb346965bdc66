"""Artifacts as programs written for W&B make and use them: files are gathered, logged as a version, and found again."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import pytest

import rewind
import rewind.wandb as wandb
from rewind.wandb import Image, Table
from rewind.wandb.artifacts import Artifact, log_artifact, use_artifact

pytestmark = pytest.mark.once


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with rewind.init("p", entity="e", dir=tmp_path / "store", id="k") as run:
        yield run


def files(tmp_path, **texts):
    for name, text in texts.items():
        path = tmp_path / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def text_of(entry):
    return pathlib.Path(entry.local_path).read_text()


def test_draft_that_is_logged_becomes_a_version(run, tmp_path):
    files(tmp_path, model="1 2 3", data__a="A", data__deep__b="B")
    artifact = Artifact("net", type="model", description="the best", metadata={"acc": 0.9})
    assert artifact.add_file("model", name="weights.txt").path == "weights.txt"
    artifact.add_dir("data", name="train")
    with artifact.new_file("notes/read.me") as file:
        file.write("hello")
    with artifact.new_file("raw.bin", mode="wb") as file:
        file.write(b"\x00")
    assert (artifact.name, artifact.state, artifact.is_draft(), artifact.size) == ("net", "PENDING", True, 13)
    digest = artifact.digest
    artifact.metadata["epoch"] = 3
    assert run.log_artifact(artifact, aliases=["best"]) is artifact and artifact.wait() is artifact
    assert (artifact.name, artifact.version, artifact.aliases) == ("net:v0", "v0", ["latest", "best"])
    assert artifact.metadata == {"acc": 0.9, "epoch": 3} and artifact.description == "the best"
    assert artifact.digest == digest == run.artifacts[0].digest and artifact.state == "COMMITTED"
    assert list(artifact.manifest.entries) == ["notes/read.me", "raw.bin", "train/a", "train/deep/b", "weights.txt"]
    assert text_of(artifact.get_path("train/deep/b")) == "B" and artifact.file_count == 5
    assert (artifact.qualified_name, artifact.logged_by()) == ("e/p/net:v0", run)


def test_what_is_added_is_that_of_the_moment(run, tmp_path):
    files(tmp_path, model="old", folder__x="old")
    artifact = Artifact("net", "model")
    artifact.add_file("model")
    artifact.add_dir("folder")
    files(tmp_path, model="new")
    os.remove("folder/x")
    log_artifact(run, artifact)
    assert [text_of(entry) for entry in artifact.files()] == ["old", "old"]


def test_version_is_used_by_its_name_with_labels_before_it(run, tmp_path):
    files(tmp_path, model="1")
    log_artifact(run, "model", name="net", type="model", aliases=["best"])
    for name in ("net", "net:latest", "p/net:best", "e/p/net:v0"):
        used = use_artifact(run, name, type="model")
        assert (used.name, used.type, used.version) == ("net:v0", "model", "v0")
    assert run.use_artifact("e/p/net:best").ref == "net:v0"
    with pytest.raises(rewind.TrackedArtifactError, match="net:v0 is of the type 'model', not 'dataset'"):
        use_artifact(run, "net:latest", type="dataset")
    with pytest.raises(rewind.TrackedArtifactError, match="cannot read"):
        use_artifact(run, "a/b/c/net:v0")
    folder = used.download()
    assert folder == str(tmp_path / "artifacts" / "net-v0") and os.listdir(folder) == ["model"]
    assert used.file(tmp_path / "one") == str(tmp_path / "one" / "model")
    assert used.get_entry("model").download(tmp_path / "two") == str(tmp_path / "two" / "model")
    used.verify()
    files(tmp_path, **{"artifacts__net-v0__more": "x"})
    assert os.listdir(used.checkout()) == ["model"]
    files(tmp_path, **{"artifacts__net-v0__model": "2"})
    with pytest.raises(rewind.TrackedArtifactError, match="is not as in net:v0"):
        used.verify()


def test_draft_that_is_used_is_logged_first(run, tmp_path):
    files(tmp_path, data="1")
    artifact = Artifact("set", "dataset")
    artifact.add_file("data")
    assert use_artifact(run, artifact) is artifact and artifact.version == "v0"
    assert run.artifacts[0].ref == "set:v0"


def test_artifact_is_saved_to_the_latest_run(run, tmp_path):
    artifact = Artifact("empty", "dataset")
    artifact.save()
    artifact.save()
    assert [one.ref for one in run.artifacts] == ["empty:v0"] and artifact.file_count == 0


def test_tables_and_images_are_added_as_files_and_tables_come_back(run):
    image = Image(np.zeros((2, 3), np.uint8))
    artifact = Artifact("eval", "results")
    assert artifact.add(Table(["a", "image"], [[1, image], [2, image]]), "table").path == "table.table.json"
    artifact.add(image, "picture")
    log_artifact(run, artifact)
    found = use_artifact(run, "eval:latest")
    table = found.get("table")
    assert table.columns == ["a", "image"] and table.get_column("a") == [1, 2]
    cell = table.data[0][1]
    assert (cell["_type"], cell["width"]) == ("image-file", 3)
    assert pathlib.Path(found.get_path(cell["path"]).local_path).read_bytes() == image.bytes()
    assert found.get("picture")["_type"] == "image-file" and found.get("none") is None


def test_reference_is_kept_and_not_followed(run, tmp_path):
    files(tmp_path, large="data")
    artifact = Artifact("set", "dataset")
    (local,) = artifact.add_reference(f"file://{tmp_path}/large")
    (remote,) = artifact.add_reference("s3://bucket/key.csv", name="remote.csv")
    assert (local.path, remote.ref_target()) == ("large", "s3://bucket/key.csv")
    log_artifact(run, artifact)
    other = Artifact("set", "dataset")
    other.add_reference("s3://bucket/other.csv", name="remote.csv")
    assert log_artifact(run, other).version == "v1"
    found = use_artifact(run, "set:v0")
    assert found.get_path("remote.csv").ref == "s3://bucket/key.csv" and found.metadata == {}
    with pytest.raises(rewind.TrackedArtifactError, match="nothing is fetched from elsewhere"):
        found.download()
    folder = found.download(tmp_path / "here", allow_missing_references=True)
    assert os.listdir(folder) == ["large"] and (tmp_path / "here" / "large").read_text() == "data"


def test_name_is_taken_once_and_stays_within(run, tmp_path):
    files(tmp_path, a="1", b="2")
    artifact = Artifact("net", "model")
    artifact.add_file("a")
    artifact.add_file("a")  # the same bytes
    with pytest.raises(rewind.TrackedArtifactError, match="has 'a' already"):
        artifact.add_file("b", name="a")
    artifact.add_file("b", name="a", overwrite=True)
    for bad in ("../a", "/a", "a//b", ""):
        with pytest.raises(rewind.ArgumentError, match="a path within the artifact"):
            artifact.add_file("a", name=bad)
    for call in (artifact.add_file, artifact.add_dir):
        with pytest.raises(rewind.TrackedArtifactError, match="there is no such"):
            call("none")
    artifact.remove("a")
    with pytest.raises(rewind.TrackedArtifactError, match="has no 'a'"):
        artifact.get_path("a")
    assert artifact.size == 0


def test_version_never_changes(run, tmp_path):
    files(tmp_path, a="1")
    artifact = Artifact("net", "model")
    artifact.add_file("a")
    with pytest.raises(rewind.TrackedArtifactError, match="has no version before it is logged"):
        assert artifact.version
    log_artifact(run, artifact)
    for call in (
        lambda: artifact.add_file("a", name="b"),
        lambda: artifact.remove("a"),
        lambda: log_artifact(run, artifact),
    ):
        with pytest.raises(rewind.TrackedArtifactError, match="a version never changes"):
            call()
    with pytest.raises(rewind.TrackedArtifactError, match="rewind rm RUN --purge"):
        artifact.delete()
    assert artifact.link("registry/net") is artifact


def test_run_of_the_room_logs_and_uses_artifacts_by_its_methods_and_by_the_functions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files(tmp_path, model="1 2")
    with wandb.init(project="p") as run:
        artifact = wandb.Artifact("net", type="model", metadata={"acc": 1})
        artifact.add_file("model")
        assert run.log_artifact(artifact, aliases=["best"]).wait() is artifact
        assert wandb.log_artifact("model", name="other", type="model").name == "other:v0"
        used = run.use_artifact("p/net:best", type="model")
        assert (used.version, used.metadata, used.files()[0].path) == ("v0", {"acc": 1}, "model")
        assert wandb.use_artifact("net").digest == artifact.digest
        wandb.log({"table": wandb.Table(["a"], [[1]]), "image": wandb.Image(np.zeros((2, 2)))})
        run.summary["image"] = wandb.Image(np.ones((2, 2)))
    assert [one.ref for one in run.artifacts] == ["net:v0", "other:v0"] and len(run.media) == 3
    with wandb.init(resume_from=f"{run.id}?_step=-1") as again:
        assert again.use_artifact("net:best").name == "net:v0" and again.media == []
    with wandb.init(mode="disabled") as nothing:
        draft = wandb.Artifact("net", "model")
        assert (
            nothing.log_artifact(draft) is draft and nothing.log_artifact("model", type="model").wait().name == "model"
        )
        nothing.log({"image": wandb.Image(np.zeros((2, 2))), "figure": object()})
