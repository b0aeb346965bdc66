"""`init` by W&B's keywords: what they mean, what has no effect, and what a second call does."""

from __future__ import annotations

import os
import pickle
import sys
import types

import pytest

import rewind
import rewind.wandb as wandb
from rewind.tracker import active

pytestmark = pytest.mark.once

INITS = {"rewind": rewind.init, "wandb": wandb.init}


@pytest.fixture(params=INITS)
def init(request, here):
    return INITS[request.param]


def test_labels_are_kept_and_seen_by_whoever_reads_the_folder(init):
    given = {"project": "p", "entity": "e", "name": "n", "notes": "text", "group": "g", "job_type": "train"}
    with init(id="k", tags=["a", "b"], **given) as run:
        pass
    seen = rewind.Tracker().run("k")
    for one in (run, seen):
        assert {name: getattr(one, name) for name in given} == given and one.tags == ("a", "b")


def test_arguments_that_have_no_effect_are_named_in_one_warning(init):
    with pytest.warns(rewind.IgnoredWarning) as warned:
        init(anonymous="allow", force=True, monitor_gym=True, sync_tensorboard=False).finish()
    assert [one.message.names for one in warned] == [("anonymous", "force", "monitor_gym")]
    assert warned[0].filename == __file__
    assert "docs/from-wandb.md" in str(warned[0].message)


@pytest.mark.parametrize("prefix", ["WANDB", "REWIND"])
def test_the_environment_says_what_arguments_do_not(init, monkeypatch, prefix):
    said = {"PROJECT": "p", "ENTITY": "e", "NAME": "n", "NOTES": "text", "RUN_GROUP": "g", "JOB_TYPE": "train"}
    for name, value in {**said, "RUN_ID": "k", "TAGS": "a, b", "DIR": "there"}.items():
        monkeypatch.setenv(f"{prefix}_{name}", value)
    with init(name="given") as run:
        assert (run.project, run.entity, run.name, run.notes) == ("p", "e", "given", "text")
        assert (run.group, run.job_type, run.id, run.tags) == ("g", "train", "k", ("a", "b"))
    assert rewind.Tracker("there").run("k").name == "given"
    with pytest.raises(rewind.RunExistsError):
        init()
    with init(resume_from="k?_step=-1") as again:
        assert again.id == "k"
    with init(fork_from="k?_step=-1") as fork:
        assert fork.id != "k"
    monkeypatch.setenv(f"{prefix}_RESUME", "allow")
    with init() as again:
        assert again.revision == 3


def test_rewinds_own_variable_comes_first(init, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    monkeypatch.setenv("REWIND_PROJECT", "ours")
    with init() as run:
        assert run.project == "ours"


def test_settings_say_what_keywords_do_not(init):
    settings = wandb.Settings(run_id="k", run_name="n", run_group="g", start_method="thread", _disable_stats=True)
    with init(settings=settings, group="given") as run:
        assert (run.id, run.name, run.group) == ("k", "n", "given")
    with init(settings={"run_tags": ["a"], "root_dir": "there"}) as run:
        assert run.tags == ("a",) and os.path.isdir(os.path.join("there", *[".rewind"] * (init is wandb.init)))


def test_tags_notes_name_and_labels_can_be_set(init):
    with init(id="k") as run:
        run.name, run.notes, run.group = "n", "text", "g"
        run.tags += ("a",)
        run.tags = [*run.tags, "b"]
        assert (run.name, run.notes, run.tags, run.group) == ("n", "text", ("a", "b"), "g")
        with pytest.raises(rewind.ArgumentTypeError):
            run.name = 3
        with pytest.raises(rewind.ArgumentTypeError):
            run.tags = "a"
        run.name = None
    seen = rewind.Tracker().run("k")
    assert (seen.name, seen.notes, seen.tags, seen.group) == ("k", "text", ("a", "b"), "g")
    with pytest.raises(rewind.RunFinishedError):
        run.notes = "late"
    assert rewind.Tracker().fsck().ok


@pytest.mark.parametrize("mode", ["online", "offline", "dryrun", "shared", None])
def test_all_modes_but_one_are_the_same(init, mode):
    with init(mode=mode) as run:
        run.log({"x": 1})
    assert len(run.history()) == 1


@pytest.mark.parametrize(
    ("given", "what"),
    [({"mode": "no"}, "mode"), ({"reinit": "no"}, "reinit"), ({"reinit": 1.5}, "reinit"), ({"resume": "no"}, "resume")],
)
def test_a_word_that_is_none_of_those_there_are_is_an_error(init, given, what):
    with pytest.raises(rewind.ArgumentError, match=f"{what} is"):
        init(**given)


# ---- the run of this process


def test_run_is_the_latest_that_is_open(here):
    assert rewind.run is wandb.run is None
    first = rewind.init()
    assert rewind.run is wandb.run is first
    second = rewind.init(id="b")
    assert rewind.run is second
    second.finish()
    assert rewind.run is first
    rewind.finish()
    assert rewind.run is wandb.run is None and first.finished
    rewind.finish()
    wandb.finish()


def test_a_second_call_returns_the_open_run(here):
    run = wandb.init(project="p", config={"a": 1}, tags=["q"])
    again = wandb.init(project="other", config={"a": 2}, name="n", tags=["z"])  # as with W&B's client
    assert again is run and (dict(run.config), run.project, run.tags) == ({"a": 1}, "p", ("q",))


def test_a_second_call_of_rewinds_own_init_returns_it_where_it_asks_for_nothing_else(here):
    run = rewind.init(project="p")
    assert rewind.init() is rewind.init(project="p") is run
    for given in ({"id": "k"}, {"project": "q"}, {"config": {}}, {"dir": "there"}, {"name": "n"}, {"group": "g"}):
        with rewind.init(**given) as other:
            assert other is not run
    assert not run.finished


def test_reinit_says_what_a_second_call_does(init):
    run = init()
    assert init(reinit=False, id="k") is init(reinit="return_previous") is init(reinit="default") is run
    beside = init(reinit="create_new")
    assert beside is not run and not run.finished
    last = init(reinit=True)
    assert run.finished and beside.finished and not last.finished
    assert init(reinit="finish_previous", id="k").id == "k" and last.finished


def test_in_a_notebook_a_second_call_finishes_the_run_before(init, monkeypatch):
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    run = init()
    again = init()
    assert run.finished and again is not run


def test_a_run_is_pickled_by_reference(init):
    run = init(id="k")
    run.log({"x": 1})
    text = pickle.dumps(run)
    assert pickle.loads(text) is run
    run.finish()
    active._RUNS.clear()
    seen = pickle.loads(text)
    assert seen.id == "k" and seen.history() == [{"_step": 0, "x": 1}]


# ---- a run that writes nothing


def test_a_disabled_run_takes_everything_and_writes_nothing(init, here):
    with init(mode="disabled", id="k", config={"a": 1}, group="g", tags=["t"]) as run:
        assert rewind.run is run and isinstance(run, rewind.TrackedRun)
        for i in range(4):
            run.log({"x": i, "n": {"m": 2 * i}, "odd": object()})
        run.log({"y": 1}, step=10)
        run.define_metric("x", summary="max")
        run.config.update({"b": 2})
        run.summary["best"] = 5
        run.name, run.tags = "n", ("u",)
        run.log_artifact("nothing.txt", name="a")
        run.log_code()
        run.log_line("text")
        assert run.summary["x"] == {"max": 3} and run.summary["n.m"] == 6 and run.summary["best"] == 5
        assert (run.step, run.name, run.tags, run.group) == (10, "n", ("u",), "g")
        assert dict(run.config) == {"a": 1, "b": 2}
        assert run.history() == run.logs() == run.artifacts == [] and list(run.scan_history()) == []
        assert pickle.loads(pickle.dumps(run)) is run
        assert run.status == "running"
    assert (run.status, run.exit_code) == ("finished", 0) and rewind.run is None
    assert run.summary["y"] == 1
    assert list(here.iterdir()) == []


def test_a_disabled_run_records_a_simulation(init, here):
    with init(mode="disabled") as run:
        found = run.record(lambda x, rng: x + rng.random(), 0.0, 10, seed=1, observe={"x": None}, log_every=2)
        assert len(found) == 10 and run.state == found[9] and run.replay is found
        with pytest.raises(rewind.TrackerError):
            run.record()
    assert list(here.iterdir()) == []


def test_the_environment_disables_a_program(init, here, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    init().finish()
    assert list(here.iterdir()) == []


# ---- metrics and code


def test_best_is_the_least_or_the_greatest_as_the_goal_says(init):
    with init(id="k") as run:
        run.define_metric("loss", summary="best", goal="minimize", hidden=True)
        run.define_metric("acc", summary="best,last", goal="maximize")
        for loss, acc in ((3, 0.1), (1, 0.9), (2, 0.5)):
            run.log({"loss": loss, "acc": acc})
        assert run.summary["loss"] == {"best": 1} and run.summary["acc"] == {"last": 0.5, "best": 0.9}
        with pytest.raises(rewind.ArgumentError, match="goal is 'most'"):
            run.define_metric("acc", goal="most")
    assert rewind.Tracker().fsck().ok
    rewind.Tracker().export("k", "k.zip")
    assert rewind.Tracker(wandb.init(dir="there", id="other").dir).import_file("k.zip") == ["k"]


def test_code_is_kept_as_an_artifact(init, here, monkeypatch):
    for name in ("train.py", "lib/model.py", "data.csv", ".venv/x.py", "env/pyvenv.cfg", "env/y.py"):
        path = here / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(here / "src" / "train.py"), raising=False)
    with init(project="p", save_code=True) as run:
        assert [(one.name, one.type, one.files) for one in run.artifacts] == [("source-p", "code", ("train.py",))]
        assert run.log_code("src") is not None
        assert [(one.ref, one.files) for one in run.artifacts[1:]] == [("source-p:v1", ("lib/model.py", "train.py"))]
        run.log_code("src", "all", include_fn=lambda path, root: True, exclude_fn=lambda path: "lib" in path)
        assert run.artifacts[-1].files == ("data.csv", "train.py")
        assert run.log_code("src", include_fn=lambda path: False) is None


def test_the_shell_shows_labels_and_a_config_with_numbers_that_json_lacks(here, capsys):
    from rewind.cli.main import main

    with rewind.init(id="k", group="g", job_type="train", config={"a": float("inf"), "_rewind": 1}):
        pass
    assert main(["show", "k"]) == main(["log"]) == 0
    shown = capsys.readouterr().out
    for text in ("group  ", "Group:  ", "Job type:  train\n", "a: inf", "_rewind: 1"):
        assert text in shown, text
    assert main(["show", "k", "--json"]) == 0
