"""Artifacts in a rewound or forked run: the versions of its kept past, and none of a future that it does not have."""

from __future__ import annotations

import pytest

import rewind

pytestmark = pytest.mark.once


@pytest.fixture
def begin(tmp_path):
    runs = []

    def init(**options):
        runs.append(rewind.init(dir=tmp_path / "tracker", **options))
        return runs[-1]

    yield init
    for run in runs:
        run.finish()


@pytest.fixture
def put(tmp_path):
    def log(run, content, name="model", aliases=None):
        (tmp_path / "file").write_text(content)
        return run.log_artifact(tmp_path / "file", name=name, aliases=aliases)

    return log


def versions(run, *names):
    return [run.use_artifact(name).version for name in names]


@pytest.fixture
def run(begin, put):
    """Versions 0, 1 and 2 of a model at steps 2, 4 and 6; of another one at step 6 only."""
    run = begin(id="k")
    for step in range(8):
        run.log({"x": step})
        if step in (2, 4, 6):
            put(run, str(step), aliases="best" if step != 4 else None)
    put(run, "late", "late")
    run.finish()
    return run


@pytest.mark.parametrize("way", ["resume_from", "fork_from"])
def test_version_is_the_one_that_the_kept_past_had(run, begin, way):
    again = begin(**{way: "k?_step=5"})
    assert versions(again, "model", "model:latest", "model:best", "model:v0", "model:v1") == [1, 1, 0, 0, 1]


@pytest.mark.parametrize("way", ["resume_from", "fork_from"])
@pytest.mark.parametrize("name", ["model", "model:latest", "model:best", "model:v0", "late"])
def test_where_the_kept_past_had_none_it_says_so(run, begin, way, name):
    again = begin(**{way: "k?_step=1"})
    with pytest.raises(rewind.TrackedArtifactError, match=rf"in the past of {again.id}@.*k@1 logged it at step [27]"):
        again.use_artifact(name)
    assert rewind.Tracker(again.dir).run("k@1").artifacts[0].ref == "model:v0"


def test_version_of_the_archived_future_is_none_by_its_number_either(run, begin, put):
    again = begin(resume_from="k?_step=5")
    with pytest.raises(rewind.TrackedArtifactError, match=r"'model:v2' in the past of k@2: k@1 logged it at step 6"):
        again.use_artifact("model:v2")
    with pytest.raises(rewind.TrackedArtifactError, match="no version v9; it has v0, v1$"):
        again.use_artifact("model:v9")
    put(again, "6")  # the same content again: now it is of this run, too
    assert versions(again, "model:v2", "model") == [2, 2]


def test_every_archived_revision_of_the_run_is_a_future_it_does_not_have(run, begin, put):
    second = begin(resume_from="k?_step=3")
    put(second, "second")
    second.finish()
    third = begin(resume_from="k@1?_step=4")
    assert versions(third, "model") == [1]
    with pytest.raises(rewind.TrackedArtifactError, match="k@2 logged it at step 3"):
        third.use_artifact("model:v3")
    third.finish()
    resumed = begin(id="k", resume="must")
    assert versions(resumed, "model") == [1]


def test_version_of_another_run_is_the_one_that_the_kept_past_used(begin, put):
    data = begin(id="data")
    put(data, "old", "set")
    run = begin(id="k")
    run.log({"x": 0})
    assert versions(run, "set") == [0]
    run.log({"x": 1})
    put(data, "new", "set")
    assert versions(run, "set:latest") == [1]
    run.finish()
    again = begin(resume_from="k?_step=0")
    assert versions(again, "set", "set:latest", "set:v1") == [0, 0, 1]  # the last one was asked for by its number
    before = begin(id="f", fork_from="k@1?_step=-1")
    assert versions(before, "set") == [1]  # its past used none


def test_run_that_left_nothing_sees_what_other_runs_logged(run, begin):
    other = begin(id="other")
    assert versions(other, "model", "model:best", "late") == [2, 2, 0]
