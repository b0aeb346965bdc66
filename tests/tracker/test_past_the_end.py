"""Moments after the last row of a run: all is kept, and logging goes on after the step that was asked for."""

from __future__ import annotations

import warnings

import pytest

import rewind

pytestmark = pytest.mark.once


@pytest.fixture
def begin(tmp_path):
    runs = []

    def init(**options):
        runs.append(rewind.init(dir=tmp_path, **options))
        return runs[-1]

    init.dir = str(tmp_path)
    yield init
    for run in runs:
        run.finish()


def logged(run, n):
    for _ in range(n):
        run.log({"x": run.step / 2})
    return run


def past(call, *texts):
    """Make a call that warns once of a moment past the end, from where it is made, and return what it gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        given = call()
    (one,) = caught
    assert one.category is rewind.PastEndWarning and one.filename == __file__
    for text in texts:
        assert text in str(one.message)
    return given


def sound(folder):
    report = rewind.Tracker(folder).fsck()
    assert report.ok, report.problems


def steps(run):
    return [row["_step"] for row in run.history()]


@pytest.mark.parametrize("way", ["resume_from", "fork_from"])
@pytest.mark.parametrize("step", [10, 500, 10**18, 2**62 - 2])
def test_step_past_the_end_keeps_all_and_goes_on_after_it_with_one_warning(begin, way, step):
    logged(begin(id="k", config={"a": 1}), 10).finish()
    run = past(lambda: begin(**{way: f"k?_step={step}"}), f"'k?_step={step}'", "its last step is 9", "run.flush()")
    assert (run.step, run.starting_step, steps(run)) == (step + 1, step + 1, list(range(10)))
    assert (run.last_step, run.summary["x"], run.config["a"]) == (9, 4.5, 1)
    assert str(run.forked_from) == f"k@1?_step={step}"
    if step < 2**61:
        run.log({"x": -1.0})
        assert run.history()[-1] == {"_step": step + 1, "x": -1.0} and len(run.history()) == 11
    run.finish()
    sound(begin.dir)


def test_fork_of_the_documentation_at_500_runs_as_written(begin):
    run1 = logged(begin(project="p"), 300)
    run1.finish()
    forked = past(lambda: begin(project="p", fork_from=f"{run1.id}?_step=500"), "its last step is 299")
    assert forked.step == 501 and len(forked.history()) == 300


def test_program_killed_before_its_last_rows_goes_on_from_its_checkpoint(begin):
    logged(begin(id="job"), 480).finish(1)  # its checkpoint is of step 500
    run = past(lambda: begin(id="job", resume_from="job?_step=500", resume="allow"), "its last step is 479")
    logged(run, 3).finish()
    assert steps(run) == [*range(480), 501, 502, 503]
    again = begin(resume_from="job?_step=490")  # in between is no row, and no end
    assert steps(again) == list(range(480)) and again.step == 491


def test_run_without_rows_goes_on_after_the_step(begin):
    begin(id="k").finish()
    assert begin(resume_from="k?_step=-1").step == 0
    assert past(lambda: begin(fork_from="k?_step=0"), "it has no rows").step == 1


def test_archived_revision_has_an_end_of_its_own(begin):
    logged(begin(id="k"), 10).finish()
    begin(resume_from="k?_step=3").finish()
    assert begin(fork_from="k@1?_step=5").step == 6
    assert steps(past(lambda: begin(fork_from="k?_step=5"), "its last step is 3")) == [0, 1, 2, 3]


def test_warning_that_is_an_error_leaves_no_revision_and_no_lock(begin):
    logged(begin(id="k"), 3).finish()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(rewind.PastEndWarning):
            begin(resume_from="k?_step=5")
    assert len(rewind.Tracker(begin.dir).run("k").revisions) == 1
    assert begin(resume_from="k?_step=1").step == 2


def test_fork_past_the_end_of_a_run_that_is_written_has_no_row_that_came_later(begin, tmp_path):
    k = begin(id="k")
    k.define_metric("x", summary="max,mean")
    logged(k, 10)
    fork = past(lambda: begin(id="f", fork_from="k?_step=20"), "its last step is 9", "not in the fork")
    logged(k, 20).log_line("later")
    child = past(lambda: begin(id="g", fork_from="f?_step=30"), "its last step is 9")  # of a fork without rows
    inner = past(lambda: begin(id="h", fork_from="f?_step=15"), "its last step is 9")
    for run, at in ((fork, 21), (child, 31), (inner, 16)):
        assert steps(run) == list(range(10)) and run.summary["x"] == {"max": 4.5, "mean": 2.25} and run.logs() == []
        run.log({"x": 100.0})
        assert steps(run)[-1] == at
    for run in (k, fork, child, inner):
        run.finish()
    assert len(k.history()) == 30
    assert [len(run.history()) for run in rewind.Tracker(begin.dir)] == [30, 11, 11, 11]
    sound(begin.dir)
    bundle = tmp_path / "g.zip"
    rewind.Tracker(begin.dir).export("g", bundle)
    with rewind.init(dir=tmp_path / "there"):
        pass
    there = rewind.Tracker(tmp_path / "there")
    assert there.import_file(bundle)[0] == "g"  # where its parent is closed, and has more rows
    assert steps(there.run("g")) == [*range(10), 31] and there.run("g").summary["x"]["max"] == 100.0
    sound(there.dir)
    rewind.Tracker(begin.dir).purge("k")
    assert steps(rewind.Tracker(begin.dir).run("h")) == [*range(10), 16]
    sound(begin.dir)


def test_requeued_job_has_one_line(begin):
    """The program: begin, or go on from the checkpoint, whichever is needed."""
    checkpoint = -1

    def line():
        return begin(id="X", resume_from=f"X?_step={checkpoint}", resume="allow", config={"a": 1})

    run = line()
    assert (run.id, run.kind, run.step, run.revision) == ("X", "begun", 0, 1)
    logged(run, 8).finish(1)
    checkpoint = 5
    run = line()
    assert (run.kind, run.step, run.revision) == ("rewound", 6, 2) and steps(run) == list(range(6))


def test_line_of_a_requeued_job_begins_where_there_is_no_run_and_mends_nothing_else(begin):
    assert begin(resume_from="X?_step=7", resume="allow").kind == "begun"
    with pytest.raises(rewind.RunNotFoundError, match="no run 'Y'"):
        begin(resume_from="Y?_step=7")
    with pytest.raises(rewind.RunNotFoundError, match="no run 'Y'"):  # of a revision, so there was a run
        begin(resume_from="Y@2?_step=7", resume="allow")
    with pytest.raises(rewind.ArgumentError, match="Leave id out"):
        begin(id="Z", resume_from="Y?_step=7", resume="allow")
    begin(id="gone").finish()
    rewind.Tracker(begin.dir).remove("gone")
    with pytest.raises(rewind.RunNotFoundError, match="was removed"):
        begin(resume_from="gone?_step=7", resume="allow")
