"""Tracked runs: the program of the documentation, rewinds, forks, what is kept, and who may write."""

from __future__ import annotations

import contextlib
import enum
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

import rewind
from rewind.storage import locks
from rewind.tracker import active, init
from rewind.tracker.store import writer

pytestmark = pytest.mark.once
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

PROGRAM = """
import rewind as wandb, math
run1 = wandb.init(project="your_project_name", entity="your_entity_name")
for i in range(300):
    run1.log({"metric": i})
run1.finish()
run2 = wandb.init(project="your_project_name", entity="your_entity_name", resume_from=f"{run1.id}?_step=200")
for i in range(200, 300):
    if i < 250:
        run2.log({"metric": i, "step": i})
    else:
        subtle_spike = i + (2 * math.sin(i / 3.0))
        run2.log({"metric": subtle_spike, "step": i})
    run2.log({"additional_metric": i * 1.1, "step": i})
run2.finish()
forked = wandb.init(project="your_project_name", entity="your_entity_name", fork_from=f"{run2.id}?_step=300")
"""


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Return `rewind.init` in a folder of the test; what is open at its end is finished."""
    monkeypatch.setattr(locks, "_PAUSE", 0.0)
    runs = []

    def init(**options):
        run = rewind.init(dir=tmp_path / ".rewind", **options)
        runs.append(run)
        return run

    init.dir = str(tmp_path / ".rewind")
    yield init
    for run in runs:
        run.finish()


def logged(run, values, key="x"):
    for value in values:
        run.log({key: value})
    return run


def column(run, key="x"):
    return [(row["_step"], row[key]) for row in run.history([key])]


def python(code, *arguments, check=True):
    """Run a program in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)], capture_output=True, text=True
    )
    assert not check or done.returncode == 0, done.stderr
    return done


# ---- the calls


def test_program_of_the_documentation_runs_word_for_word(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REWIND_DIR", raising=False)
    names = {}
    exec(PROGRAM, names)
    run1, run2, forked = names["run1"], names["run2"], names["forked"]
    try:
        assert run2.id == run1.id != forked.id
        assert (run2.starting_step, forked.starting_step, forked.step) == (201, 301, 301)
        history = run2.history()
        assert [row["_step"] for row in history] == list(range(401))
        assert [row["metric"] for row in history[:201]] == list(range(201))
        assert history[201] == {"_step": 201, "metric": 200, "step": 200}
        assert history[202] == {"_step": 202, "additional_metric": 200 * 1.1, "step": 200}
        assert forked.history() == history[:301]
        assert [row["metric"] for row in rewind.Tracker().run(f"{run1.id}@1").history()] == list(range(300))
        assert str(forked.forked_from) == f"{run1.id}@2?_step=300"
        assert run1.project == "your_project_name" and forked.entity == "your_entity_name"
        assert run1.dir == str(tmp_path / ".rewind")
    finally:
        forked.finish()


def test_folder_is_that_of_the_environment_unless_it_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("REWIND_DIR", str(tmp_path / "there"))
    with rewind.init() as run, rewind.init(dir=tmp_path / "here") as other:
        assert (run.dir, other.dir) == (str(tmp_path / "there"), str(tmp_path / "here"))
        assert rewind.Tracker().dir == rewind.Tracker(run.dir).dir == run.dir


def test_a_folder_that_is_a_tracker_is_meant_itself_and_so_are_those_of_earlier_versions(tmp_path):
    with rewind.init(dir=tmp_path / "new") as run:
        run.log({"x": 1})
    os.rename(run.dir, tmp_path / "old")  # where 0.5 put it
    with rewind.init(dir=tmp_path / "old", resume_from=f"{run.id}?_step=0") as again:
        assert again.dir == str(tmp_path / "old") == rewind.Tracker(tmp_path / "old").dir
    assert rewind.Tracker(tmp_path / "old" / "files" / run.id).dir == again.dir


def test_module_logs_to_the_latest_run(begin):
    first, second = begin(id="a"), begin(id="b", config={"lr": 1})
    rewind.log({"x": 1})
    rewind.define_metric("x", summary="max")
    assert rewind.config["lr"] == 1 and rewind.summary["x"] == {"max": 1}
    rewind.finish()
    assert second.finished and not first.finished and first.history() == []
    with pytest.raises(rewind.RunFinishedError):
        rewind.log({"x": 2})


def test_module_without_a_run_says_so(monkeypatch):
    monkeypatch.setattr(active, "_RUNS", [])
    with pytest.raises(rewind.NoRunError, match=r"rewind\.init\(\)"):
        rewind.log({})
    for name in ("config", "summary"):
        with pytest.raises(rewind.NoRunError):
            getattr(rewind, name)
    with pytest.raises(AttributeError):
        rewind.nonsense  # noqa: B018
    rewind.finish()


def test_several_runs_are_open_at_once(begin):
    runs = [begin(id=f"run{i}") for i in range(4)]
    for step in range(20):
        for i, run in enumerate(runs):
            run.log({"x": step * i})
    for i, run in enumerate(runs):
        assert column(run) == [(step, step * i) for step in range(20)]


def test_run_has_what_it_was_begun_with(begin):
    run = begin(project="p", entity="e", id="k3f9", name="n", config={"a": 1}, tags=["t", "t", "u"], notes="w")
    facts = (run.id, run.revision, run.ref, run.project, run.entity, run.name, run.tags, run.notes, run.kind)
    assert facts == ("k3f9", 1, "k3f9@1", "p", "e", "n", ("t", "u"), "w", "begun")
    assert (run.step, run.starting_step, run.status, run.exit_code) == (0, 0, "running", None)
    assert run.digest is None and run.lineage == () and run.forked_from is None


# ---- the end


def test_finish_closes_the_open_row_and_a_second_one_does_nothing(begin):
    run = begin()
    run.log({"x": 1}, commit=False)
    run.finish(3)
    run.finish()
    assert column(run) == [(0, 1)] and (run.status, run.exit_code) == ("failed", 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda run: run.log({"x": 1}),
        lambda run: run.define_metric("x"),
        lambda run: run.config.update({"b": 1}),
        lambda run: run.summary.update({"b": 1}),
        lambda run: run.log_line("text"),
        lambda run: run.log_artifact("file"),
        lambda run: run.use_artifact("file"),
        lambda run: run.flush(),
        lambda run: run.record(lambda x, rng: x, 0, 3, seed=1),
    ],
)
def test_call_after_finish_says_that_the_run_is_finished(begin, call):
    run = logged(begin(id="k"), [1, 2])
    run.finish()
    with pytest.raises(rewind.RunFinishedError, match="'k' is finished.*goes on at step 2"):
        call(run)
    assert len(run.history()) == 2


def test_block_ends_with_the_exit_code_of_what_leaves_it(begin):
    with begin() as run:
        run.log({"x": 1})
    assert (run.status, run.exit_code) == ("finished", 0)
    for error, code in [(ValueError(), 1), (KeyboardInterrupt(), 1), (SystemExit(4), 4), (SystemExit(0), 0)]:
        with pytest.raises(type(error)), begin() as run:
            run.log({"x": 1}, commit=False)
            raise error
        assert (run.exit_code, len(run.history())) == (code, 1)


@pytest.mark.parametrize(
    ("end", "status", "code"),
    [
        ("", "finished", 0), ("raise ValueError('no')", "failed", 1), ("raise KeyboardInterrupt", "failed", 1),
        ("sys.exit(3)", "failed", 3), ("sys.exit('no')", "failed", 1),
        ("try:\n    sys.exit(3)\nexcept SystemExit:\n    pass", "finished", 0),
    ],
)  # fmt: skip
def test_program_that_ends_without_finish_is_finished(tmp_path, end, status, code):
    code_text = (
        f"import rewind, sys\nrun = rewind.init(dir=sys.argv[1], id='k')\nrun.log({{'x': 1}}, commit=False)\n{end}"
    )
    done = python(code_text, tmp_path, check=False)
    assert (done.returncode == 0) is (code == 0)
    seen = rewind.Tracker(tmp_path).run("k")
    assert (seen.status, seen.exit_code, column(seen)) == (status, code, [(0, 1)])
    said = {"raise ValueError('no')": "ValueError: no", "sys.exit('no')": "SystemExit: no"}
    assert end not in said or seen.logs() == [(0, "log", said[end])]


def test_exit_is_pythons_own_again_when_no_run_is_open(begin):
    own = sys.exit
    first, second = begin(), begin(id="k")
    assert sys.exit is not own
    with pytest.raises(SystemExit) as caught:
        sys.exit(3)
    assert caught.value.code == 3
    first.finish()
    assert sys.exit is not own
    second.finish()
    assert sys.exit is own


# ---- rewinds and forks


def test_rewind_keeps_the_step_and_goes_on_after_it(begin):
    logged(begin(id="k"), range(6)).finish()
    run = begin(resume_from="k?_step=3")
    assert (run.id, run.revision, run.step, run.starting_step, run.kind, run.resumed) == ("k", 2, 4, 4, "rewound", True)
    assert column(run) == [(i, i) for i in range(4)] and run.last_step == 3
    logged(run, [40, 50])
    assert column(run) == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 40), (5, 50)]
    assert column(rewind.Tracker(begin.dir).run("k@1")) == [(i, i) for i in range(6)]


def test_fork_keeps_the_step_and_leaves_the_parent_untouched(begin):
    parent = logged(begin(id="k", project="p", config={"a": 1}), range(6))
    parent.finish()
    run = logged(begin(fork_from="k?_step=3", name="mine"), [40])
    assert run.id != "k" and (run.revision, run.starting_step, run.kind, run.resumed) == (1, 4, "forked", False)
    assert column(run) == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 40)]
    assert (run.project, run.name, str(run.forked_from)) == ("p", "mine", "k@1?_step=3")
    assert column(parent) == [(i, i) for i in range(6)] and len(parent.revisions) == 1


def test_nothing_is_kept_before_the_first_row(begin):
    logged(begin(id="k"), range(3)).finish()
    rewound, forked = begin(resume_from="k?_step=-1"), begin(id="f", fork_from="k@1?_step=-1")
    assert rewound.history() == forked.history() == [] and (rewound.step, forked.step) == (0, 0)
    assert dict(rewound.summary) == dict(forked.summary) == {}


def test_rewinding_twice_shows_the_kept_and_the_new_rows(begin):
    logged(begin(id="k"), range(6)).finish()
    logged(begin(resume_from="k?_step=1"), [20, 30, 40]).finish()
    run = logged(begin(resume_from="k?_step=2"), [300])
    assert column(run) == [(0, 0), (1, 1), (2, 20), (3, 300)]
    assert list(map(str, run.lineage)) == ["k@2?_step=2", "k@1?_step=1"]
    assert [(one.revision, len(one.history())) for one in run.revisions] == [(1, 6), (2, 5), (3, 4)]


def test_rewinding_a_rewound_run_into_its_kept_past_shows_no_row_of_the_future(begin):
    logged(begin(id="k"), range(6)).finish()
    logged(begin(resume_from="k?_step=4"), [50]).finish()
    run = logged(begin(resume_from="k?_step=1"), [20])
    assert column(run) == [(0, 0), (1, 1), (2, 20)]


def test_archived_revision_is_forked_and_opened_again(begin):
    logged(begin(id="k"), range(6)).finish()
    logged(begin(resume_from="k?_step=1"), [20]).finish()
    fork = logged(begin(fork_from="k@1?_step=4"), [50])
    assert column(fork) == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 50)]
    again = logged(begin(resume_from="k@1?_step=5"), [6])
    assert column(again) == [(i, i) for i in range(7)] and again.revision == 3
    assert column(rewind.Tracker(begin.dir).run("k@2")) == [(0, 0), (1, 1), (2, 20)]


def test_fork_of_a_fork_has_the_rows_and_the_lineage_of_both(begin):
    logged(begin(id="a"), range(5)).finish()
    logged(begin(id="b", fork_from="a?_step=3"), [40, 50]).finish()
    run = logged(begin(id="c", fork_from="b?_step=4"), [500])
    assert column(run) == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 40), (5, 500)]
    assert list(map(str, run.lineage)) == ["b@1?_step=4", "a@1?_step=3"]
    other = begin(id="d", fork_from="c?_step=1")
    assert column(other) == [(0, 0), (1, 1)] and str(other.forked_from) == "c@1?_step=1"


def test_resumed_fork_knows_where_it_was_forked_from(begin):
    logged(begin(id="a"), range(5)).finish()
    logged(begin(id="b", fork_from="a?_step=3"), [40]).finish()
    run = begin(id="b", resume="must")
    assert str(run.forked_from) == "a@1?_step=3" and run.step == 5 and run.resumed
    run.finish()
    assert str(begin(resume_from="b?_step=1").forked_from) == "b@2?_step=1"


def test_revisions_have_ids_that_never_change(begin):
    logged(begin(id="k"), range(3)).finish()
    first = rewind.Tracker(begin.dir).run("k@1")
    for n in range(2, 6):
        begin(resume_from="k?_step=1").finish()
        assert [one.revision for one in first.revisions] == list(range(1, n + 1))
    assert rewind.Tracker(begin.dir).run("k@1") == first and column(first) == [(0, 0), (1, 1), (2, 2)]


def test_current_revision_is_the_one_that_the_id_alone_means(begin):
    logged(begin(id="k"), range(3)).finish()
    logged(begin(resume_from="k?_step=0"), [10]).finish()
    assert column(rewind.Tracker(begin.dir).run("k")) == [(0, 0), (1, 10)]
    assert [run.ref for run in rewind.Tracker(begin.dir)] == ["k@2"]


def test_run_is_forked_while_it_is_logged_to(begin):
    run = logged(begin(id="k"), range(5))
    fork = logged(begin(id="f", fork_from="k?_step=4"), [50])
    logged(run, [5, 6])
    assert column(fork) == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 50)] and len(run.history()) == 7


def test_labels_are_kept_where_none_are_given_and_replaced_where_they_are(begin):
    logged(begin(id="k", name="n", tags=["a"], notes="w", project="p"), [1]).finish()
    kept = begin(resume_from="k?_step=0")
    assert (kept.name, kept.tags, kept.notes, kept.project) == ("n", ("a",), "w", "p")
    kept.finish()
    new = begin(id="k", resume="must", name="m", tags=[], notes="")
    assert (new.name, new.tags, new.notes) == ("m", (), "")


# ---- resume


def test_resume_goes_on_after_the_last_row(begin):
    run = begin(id="k")
    run.log({"x": 1}, step=15, commit=True)
    run.finish()
    again = begin(id="k", resume="allow")
    assert (again.step, again.revision, again.kind) == (16, 2, "resumed")


def test_resume_must_and_never_say_what_there_is(begin):
    begin(id="other").finish()
    with pytest.raises(rewind.RunNotFoundError, match="'other'"):
        begin(id="othr", resume="must")
    for resume in (None, "never", False):
        with pytest.raises(rewind.RunExistsError, match="resume_from"):
            begin(id="other", resume=resume)
    with pytest.raises(rewind.ArgumentError, match="resume='must'"):
        begin(resume="must")
    assert begin(id="new", resume="allow").kind == "begun"


def test_resume_auto_finds_the_last_run_of_the_project_that_did_not_finish(begin):
    logged(begin(id="a", project="p"), [1]).finish(1)
    logged(begin(id="b", project="p"), [1]).finish()
    logged(begin(id="c", project="q"), [1]).finish(1)
    run = begin(project="p", resume="auto")
    assert (run.id, run.step) == ("a", 1)
    assert begin(project="p", resume=True).id not in ("a", "b", "c")  # that one is running


# ---- reading


def test_history_is_complete_and_the_same_twice(begin):
    run = logged(begin(id="k"), [i * 0.1 for i in range(5000)])
    assert run.history() == run.history() == list(run.scan_history())
    assert column(run) == [(i, i * 0.1) for i in range(5000)]
    run.finish()
    assert column(rewind.Tracker(begin.dir).run("k")) == column(run)


def test_history_is_half_open_and_found_by_step(begin):
    logged(begin(id="k"), range(10)).finish()
    run = logged(begin(resume_from="k?_step=4"), range(50, 55))
    steps = [[row["_step"] for row in run.history(None, *window)] for window in [(3, 6), (0, 0), (5, 5), (8,), (-9, 2)]]
    assert steps == [[3, 4, 5], [], [], [8, 9], [0, 1]]
    assert run.history(min_step=5, max_step=6) == [{"_step": 5, "x": 50}]


def test_history_of_some_keys_has_rows_with_one_of_them(begin):
    run = begin()
    for i in range(6):
        run.log({"even": i} if i % 2 == 0 else {"odd": i, "both": 1})
    assert run.history(["even"]) == [{"_step": i, "even": i} for i in (0, 2, 4)]
    assert run.history(("odd", "even"), 1, 3) == [{"_step": 1, "odd": 1}, {"_step": 2, "even": 2}]
    assert run.history(["nothing"]) == run.history([]) == []
    assert run.history(["_step"]) == [{"_step": i} for i in range(6)]
    for keys in ("even", [1]):
        with pytest.raises(rewind.ArgumentTypeError):
            run.history(keys)


@pytest.mark.parametrize("how", [{}, {"samples": 5}])
def test_key_that_no_row_has_is_named_by_those_it_may_mean(begin, how):
    run = begin()
    run.log({"train": {"loss": 1.0, "Acc": 0.5}, "val/loss": 2.0})
    cases = [("loss", "'train.loss', 'val/loss'"), ("train", "'train.Acc', 'train.loss'"), ("TRAIN.ACC", "'train.Acc'")]
    for asked, there in cases:
        with pytest.raises(rewind.ArgumentError, match=f"no row has '{asked}', there is {there}"):
            run.history([asked], **how)
    with pytest.raises(rewind.ArgumentError, match="'train.loss'"):
        next(run.scan_history(["_step", "loss"], max_step=0))
    assert run.history(["nothing"], **how) == []  # it may come yet
    assert run.history(["train.loss"], 5, **how) == []  # there is one, elsewhere
    with pytest.raises(rewind.ArgumentError, match="no row has 'loss'"):
        run.history(["loss", "train.loss"], **how)
    assert len(run.history(["nothing", "train.loss"], **how)) == 1
    run.log({"loss": 3.0})
    assert len(run.history(["loss"], **how)) == 1


def test_history_is_read_while_it_is_logged_to(begin):
    run = logged(begin(), range(3000))
    for row in run.scan_history(max_step=3000):
        if row["_step"] % 500 == 0:
            run.log({"x": 0})
    assert len(run.history()) == 3006


# ---- digests


def test_digest_differs_with_each_thing_it_is_over_and_with_nothing_else(begin):
    def digest(name, values=(1, 2), config=(), summary=(), tags=(), defined=None):
        run = logged(begin(id=name, config=dict(config), tags=list(tags)), values)
        run.summary.update(dict(summary))
        if defined:
            run.define_metric("x", summary=defined)
        run.finish()
        record = rewind.Tracker(begin.dir).run(name)._record
        assert run.digest == record.digest and len(run.digest) == 64
        return record.rows_digest, run.digest

    plain = digest("a")
    assert digest("b")[0] == plain[0] and digest("c", [1, 3])[0] != plain[0]
    others = [{"config": {"a": 1}}, {"summary": {"best": 1}}, {"tags": ["t"]}, {"defined": "max"}, {"values": [1, 2.0]}]
    assert len({digest(f"d{i}", **other)[1] for i, other in enumerate(others)} | {plain[1]}) == len(others) + 1


def test_digest_holds_that_of_the_parent_and_stays(begin):
    logged(begin(id="k"), range(4)).finish()
    first = rewind.Tracker(begin.dir).run("k@1").digest
    logged(begin(resume_from="k?_step=1"), [20]).finish()
    second = rewind.Tracker(begin.dir).run("k@2")
    assert second._record.parent_digest == first == rewind.Tracker(begin.dir).run("k@1").digest
    begin(fork_from="k@1?_step=2").finish()
    assert rewind.Tracker(begin.dir).run("k@1").digest == first != second.digest


# ---- processes and threads

KILLED = """
import os, rewind, signal, sys
run = rewind.init(dir=sys.argv[1], id="k", config={"a": 1})
for i in range(50):
    run.log({"x": i})
run.flush()
run.log({"x": "never seen"}, commit=False)
os.kill(os.getpid(), signal.SIGKILL)
"""


@posix
@pytest.mark.parametrize("way", ["rewind", "resume", "fork", "auto"])
def test_killed_run_is_gone_on_with_at_once(begin, way):
    assert python(KILLED, begin.dir, check=False).returncode == -signal.SIGKILL
    options = {
        "rewind": {"resume_from": "k?_step=20"},
        "resume": {"id": "k", "resume": "must"},
        "fork": {"fork_from": "k?_step=20"},
        "auto": {"resume": "auto"},
    }[way]
    run = begin(**options)
    at = 50 if way in ("resume", "auto") else 21
    assert run.step == at and column(run) == [(i, i) for i in range(at)] and run.config["a"] == 1
    killed = rewind.Tracker(begin.dir).run("k@1")
    assert (killed.status, killed.exit_code, len(killed.history())) == ("crashed", None, 50)
    assert killed.digest and killed.summary == {"x": 49, "_step": 49}


def test_second_writer_of_this_process_is_told_who_the_first_is(begin):
    run = logged(begin(id="k"), range(3))
    for options in ({"id": "k", "resume": "allow"}, {"resume_from": "k?_step=1"}):
        with pytest.raises(rewind.RunBusyError, match="which has it open; call finish") as caught:
            begin(**options)
        assert caught.value.pid == os.getpid()
    run.finish()
    assert begin(resume_from="k?_step=1").step == 2


def test_second_writer_is_told_the_number_of_the_first(begin):
    logged(begin(id="k"), range(3)).flush()
    code = "import rewind, sys\ntry:\n    rewind.init(dir=sys.argv[1], resume_from='k?_step=1')\n"
    code += "except rewind.RunBusyError as error:\n    print(error.pid, error)"
    said = python(code, begin.dir).stdout
    assert said.startswith(f"{os.getpid()} run 'k' has a writer: process {os.getpid()} on ")


@posix
def test_fork_that_outlives_its_killed_parent_does_not_keep_the_run(begin):
    fork = """
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, b"here")
    sys.stdin.read()
    os._exit(0)
os.read(read, 4)  # a parent that is killed sooner leaves a fork that has not yet let go of the lock
"""
    code = KILLED.replace("os.kill(", fork + "os.kill(")
    process = subprocess.Popen([sys.executable, "-c", code, begin.dir], stdin=subprocess.PIPE)
    try:
        assert process.wait() == -signal.SIGKILL
        assert begin(resume_from="k?_step=20").step == 21
    finally:
        process.stdin.close()


def in_a_fork(work):
    """Return what `work` gives in a fork, as text."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, str(work()).encode()[:4000])
        except BaseException as error:
            os.write(write, f"{type(error).__name__}: {error}".encode()[:4000])
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with open(read, "rb") as file:
        return file.read().decode()


@posix
def test_fork_that_logs_to_the_run_of_its_parent_gets_a_clear_error(begin):
    run = logged(begin(id="k"), range(3))
    for call in (lambda: run.log({"x": 1}), run.history, run.finish, lambda: run.config.update({"a": 1})):
        said = in_a_fork(call)
        assert said.startswith("StoreError") and str(os.getpid()) in said and "fork" in said
    logged(run, [3])
    assert column(run) == [(i, i) for i in range(4)]


@posix
def test_fork_forks_the_run_that_its_parent_logs_to(begin):
    logged(begin(id="k"), range(3)).flush()
    said = in_a_fork(lambda: column(logged(rewind.init(dir=begin.dir, id="child", fork_from="k?_step=1"), [20])))
    assert said == str([(0, 0), (1, 1), (2, 20)])


@posix
def test_fork_while_another_thread_writes_does_not_wait_for_it(begin):
    run = logged(begin(id="k"), range(3))
    held, go = threading.Event(), threading.Event()

    def hold():
        with run._writer.turn:
            held.set()
            go.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        assert "is a fork" in in_a_fork(lambda: run.log({"x": 1}))
    finally:
        go.set()
        thread.join()


OTHER = """
import rewind, sys
run = rewind.init(dir=sys.argv[1], id=sys.argv[2])
for i in range(50):
    run.log({"x": i})
run.finish()
"""


@posix
def test_fork_logs_to_a_run_of_its_own_and_loses_nothing_when_all_others_leave(begin):
    run = logged(begin(id="parent"), range(10))
    run.flush()
    to_child, to_parent = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            child = rewind.init(dir=begin.dir, id="child")
            for _ in range(3):
                logged(child, range(10)).flush()
                os.write(to_parent[1], b"x")
                os.read(to_child[0], 1)
            child.finish()
        finally:
            os._exit(0)
    os.read(to_parent[0], 1)
    run.finish()  # the last connection that is not the child's: SQLite would delete its log
    os.write(to_child[1], b"x")
    os.read(to_parent[0], 1)
    python(OTHER, begin.dir, "other")
    os.write(to_child[1], b"xx")
    os.waitpid(pid, 0)
    for fd in (*to_child, *to_parent):
        os.close(fd)
    assert {run.id: len(run.history()) for run in rewind.Tracker(begin.dir)} == {"parent": 10, "child": 30, "other": 50}


@posix
def test_fork_in_the_middle_of_a_read_begins_a_run_and_its_parent_reads_on(begin):
    run = logged(begin(id="k"), range(5000))
    rows = run.scan_history()
    next(rows)
    assert in_a_fork(lambda: logged(rewind.init(dir=begin.dir, id="child"), range(3)).finish()) == "None"
    assert len(list(rows)) == 4999
    assert len(rewind.Tracker(begin.dir).run("child").history()) == 3


def test_reading_beside_an_open_run_lets_no_other_process_delete_its_log(begin):
    run = logged(begin(id="k"), range(10))
    run.flush()
    rewind.Tracker(begin.dir).run("k").history()  # opens and closes the database in this process
    python(OTHER, begin.dir, "b")
    logged(run, range(10)).flush()
    python(OTHER, begin.dir, "c")
    logged(run, range(10)).finish()
    assert {run.id: len(run.history()) for run in rewind.Tracker(begin.dir)} == {"k": 30, "b": 50, "c": 50}


def work_on_runs(folder, number):
    for i in range(3):
        run = rewind.init("p", dir=folder, id=f"w{number}-{i}")
        for x in range(200):
            run.log({"x": x * number})
            if x == 120:
                run.flush()
        run.finish()
        with rewind.init(dir=folder, resume_from=f"w{number}-{i}?_step=100") as run:
            run.log({"x": "rewound"})


@posix
def test_many_processes_log_to_many_runs_in_one_folder(begin):
    logged(begin(id="mine"), range(10))
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=work_on_runs, args=(begin.dir, number)) for number in range(1, 6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 5
    tracker = rewind.Tracker(begin.dir)
    assert len(tracker) == 16
    for number in range(1, 6):
        for i in range(3):
            assert column(tracker.run(f"w{number}-{i}@1")) == [(x, x * number) for x in range(200)]
            kept = [(x, x * number) for x in range(101)]
            assert column(tracker.run(f"w{number}-{i}")) == [*kept, (101, "rewound")]


def test_threads_that_log_to_one_run_lose_no_row(begin, monkeypatch):
    monkeypatch.setattr(writer, "MANY_ROWS", 7)
    run, errors = begin(), []

    def log(number):
        try:
            for i in range(300):
                run.log({"x": (number, i)})
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=log, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = run.history()
    assert not errors and [row["_step"] for row in rows] == list(range(1500))
    for number in range(5):
        assert [row["x"][1] for row in rows if row["x"][0] == number] == list(range(300))


def test_rows_are_written_without_another_call(begin, monkeypatch):
    monkeypatch.setattr(writer, "SOON", 0.001)
    run = begin(id="k")
    for _ in range(50):
        run.log({"x": 1})
    waiting = threading.Event()
    for _ in range(2000):
        if len(rewind.Tracker(begin.dir).run("k").history()) == 50:
            break
        waiting.wait(0.001)
    assert len(rewind.Tracker(begin.dir).run("k").history()) == 50


def test_warnings_are_none_in_an_ordinary_life(begin):
    with warnings.catch_warnings(record=True) as caught, contextlib.ExitStack() as stack:
        warnings.simplefilter("always")
        run = stack.enter_context(begin(id="k"))
        logged(run, range(5))
        stack.enter_context(begin(fork_from="k?_step=3")).log({"x": 1})
    assert not caught


def test_what_a_running_run_adds_after_a_fork_is_not_in_the_fork(begin, tmp_path):
    """It is at the step of the fork, or at past ones, and comes later."""
    parent = begin(id="p")
    parent.log({"x": 1})
    (tmp_path / "a.txt").write_text("before")
    parent.log_artifact(tmp_path / "a.txt", name="a")
    parent.log_line("before")
    parent.summary["best"] = "before"
    forks = [begin(id="c", fork_from="p?_step=0")]
    (tmp_path / "a.txt").write_text("after")
    parent.log_artifact(tmp_path / "a.txt", name="a")
    parent.log_line("after")
    parent.summary["best"] = "after"
    forks[0].finish()
    forks.append(begin(id="d", fork_from="c?_step=0"))
    forks[1].finish()
    parent.finish()
    for fork in forks:
        assert fork.logs() == [(0, "log", "before")] and fork.summary["best"] == "before"
        assert [artifact.ref for artifact in fork.artifacts] == ["a:v0"]
    assert parent.summary["best"] == "after" and len(parent.logs()) == 2
    tracker = rewind.Tracker(begin.dir)
    assert tracker.fsck().problems == ()
    tracker.export("d", tmp_path / "d.zip")
    there = rewind.tracker.transfer.import_.import_bundle(str(tmp_path / "there"), tmp_path / "d.zip")
    assert there and rewind.Tracker(tmp_path / "there").run("d").logs() == forks[1].logs()


def log_and_leave(folder):
    run = rewind.init(dir=folder, id="worker")
    for i in range(50):
        run.log({"x": i})


def test_a_worker_of_multiprocessing_that_ends_without_finish_loses_no_row(begin):
    begin(id="mine").log({"x": 1})
    for method in ("fork", "spawn") if hasattr(os, "fork") else ("spawn",):
        worker = multiprocessing.get_context(method).Process(target=log_and_leave, args=(begin.dir,))
        worker.start()
        worker.join()
        found = rewind.Tracker(begin.dir).run("worker")
        assert (found.status, len(found.history())) == ("finished", 50), method
        rewind.Tracker(begin.dir).purge("worker")


class Project(str, enum.Enum):
    WALKS = "walks"


@pytest.mark.parametrize("name", [np.str_("walks"), Project.WALKS])
def test_text_of_a_class_of_its_own_is_text(begin, name):
    run = begin(project=name)
    run.summary[np.str_("s")] = 1
    run.record(lambda x, rng: x + 1, 0, 5, 1, observe={np.str_("x"): None})
    run.finish()
    found = rewind.Tracker(begin.dir).run(run.id)
    assert found.project == "walks" and found.summary["s"] == 1 and found.history()[-1]["x"] == 4


def test_a_run_that_another_rewinds_meanwhile_is_rewound_as_that_left_it(begin, monkeypatch):
    first = begin(id="x")
    logged(first, range(6))
    first.finish()
    real, others = init.RunLock, []

    def lock(folder, run_id):
        if not others:  # another process comes first, between the question and the lock
            others.append(None)
            other = begin(resume_from="x?_step=2")
            logged(other, range(100, 110))
            other.finish()
        return real(folder, run_id)

    monkeypatch.setattr(init, "RunLock", lock)
    again = begin(resume_from="x?_step=5")
    assert [row["x"] for row in again.history()] == [0, 1, 2, 100, 101, 102]
