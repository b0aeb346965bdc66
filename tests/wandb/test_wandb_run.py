"""The run of `rewind.wandb.init`, and the calls that are about the latest run."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import pytest

import rewind
import rewind.wandb as wandb

pytestmark = pytest.mark.once


def test_a_program_logs_and_can_be_rewound(here):
    wandb.login(key="secret")
    wandb.init(project="p", config={"lr": 0.1}, id="k")
    wandb.define_metric("loss", summary="min")
    for i in range(10):
        wandb.log({"loss": 10 - i, "n": {"i": i}}, sync=False)
    wandb.summary["best"] = 1
    assert wandb.config.lr == 0.1 and wandb.run.summary["loss"] == {"min": 1}
    wandb.finish()
    with wandb.init(resume_from="k?_step=4") as run:
        assert isinstance(run, wandb.Run) and run.step == 5 and run.summary["loss"] == {"min": 6}
    assert rewind.Tracker().fsck().ok


def test_what_there_is_to_ask_a_run(here):
    with wandb.init(project="p", entity="e", id="k", group="g") as run:
        assert run.path == "e/p/k" and run.project_name() == "p" and run.get_url() == run.url == str(here / ".rewind")
        assert (run.offline, run.disabled, run.resumed, run.sweep_id) == (True, False, False, None)
        assert run.start_time == run.began and run.settings.run_group == "g" and run.settings.nothing is None
        assert run.get_project_url() is run.get_sweep_url() is run.project_url is run.sweep_url is None
        assert run.mode == "offline" and run.display() is False and "k" in run.to_html()
        run.mark_preempting()
        run.pin_config_keys(["a"])
        run._label(code="a_library")
        assert wandb.attach("k") is run
        assert run.link_artifact("artifact", "registry/model") == "artifact"


def test_an_alert_is_a_line_of_the_run(here):
    with wandb.init() as run:
        wandb.alert("low", "loss is 3", level=wandb.AlertLevel.WARN, wait_duration=300)
        run.alert(title="done")
        run.write_logs("text")
        assert [text for _, _, text in run.logs()] == ["alert WARN: low: loss is 3", "alert INFO: done", "text"]


def test_files_that_are_saved_are_kept_and_restored(here):
    (here / "models").mkdir()
    (here / "models" / "a.txt").write_text("first")
    (here / "b.txt").write_text("b")
    with wandb.init(id="k") as run:
        assert wandb.save("models/*.txt") == [os.path.join(run.dir, "models", "a.txt")]
        assert wandb.save(str(here / "b.txt"), policy="now") == [os.path.join(run.dir, "b.txt")]
        assert wandb.save(str(here / "models" / "a.txt"), base_path=str(here)) == [
            os.path.join(run.dir, "models", "a.txt")
        ]
        assert wandb.save("../*.none") == [] and wandb.save() is True
        pathlib.Path(run.dir, "own.txt").write_text("own")
        (here / "models" / "a.txt").write_text("last")
        (here / "b.txt").write_text("changed")
        assert rewind.Tracker(run.dir).run("k").id == "k"
    (kept,) = run.artifacts
    assert (kept.ref, kept.type, kept.files) == ("files-k:v0", "files", ("b.txt", "models/a.txt", "own.txt"))
    assert pathlib.Path(kept.path("models/a.txt")).read_text() == "last"
    assert pathlib.Path(kept.path("b.txt")).read_text() == "b"
    assert not (here / ".rewind" / "files" / "k").exists() and rewind.Tracker().fsck().ok
    with wandb.init() as other:
        with wandb.restore("models/a.txt", run_path="e/p/k", root=here / "back") as file:
            assert file.read() == "last" and file.name == str(here / "back" / "models" / "a.txt")
        with pytest.raises(rewind.TrackedArtifactError, match="has kept no file 'c.txt'"):
            other.restore("c.txt", "k")


def test_a_file_never_goes_outside_of_the_folder_of_the_run(here):
    outside = here.parent / f"{here.name}-outside.txt"
    outside.write_text("text")
    with wandb.init() as run:
        assert run.save(f"../{outside.name}") == [os.path.join(run.dir, outside.name)]


def test_models_are_artifacts(here):
    (here / "model.bin").write_text("weights")
    (here / "folder").mkdir()
    (here / "folder" / "a").write_text("a")
    (here / "folder" / "b").write_text("b")
    with wandb.init(id="k") as run:
        made = wandb.log_model("model.bin")
        assert (made.name, made.type) == ("run-k-model.bin:v0", "model")
        assert pathlib.Path(wandb.use_model("run-k-model.bin:latest")).read_text() == "weights"
        run.link_model("folder", "registry/best", name="two", aliases=["x"])
        assert sorted(os.listdir(wandb.use_model("two:registry-best"))) == ["a", "b"]


def test_calls_without_effect_can_be_made(here):
    assert wandb.login() is True and wandb.login("key", relogin=True, host="h") is True
    assert isinstance(wandb.setup(), wandb.Settings)
    wandb.require("core")
    wandb.ensure_configured()
    wandb.finish()
    wandb.join()
    run = wandb.init()
    wandb.mark_preempting()
    wandb.teardown()
    assert run.finished


def test_what_is_said_on_the_terminal_goes_to_stderr(here, capsys):
    wandb.termlog("one")
    wandb.termwarn("two", repeat=False)
    wandb.termwarn("two", repeat=False)
    wandb.termerror("three", newline=False, prefix=False)
    assert capsys.readouterr() == ("", "rewind: one\nrewind: WARNING two\nERROR three")


def test_without_a_run_a_call_says_so(here):
    for name in ("alert", "watch", "save", "log_artifact", "use_model", "restore"):
        with pytest.raises(wandb.Error, match=rf"no run for rewind.{name}\(\): call rewind.init\(\) first"):
            getattr(wandb, name)("x")
    with pytest.raises(rewind.NoRunError):
        wandb.log({"x": 1})


def test_the_disabled_run_takes_these_calls_too(here):
    with wandb.init(mode="disabled") as run:
        assert isinstance(run, wandb.sdk.lib.RunDisabled) and run.disabled and isinstance(run, wandb.Run)
        run.log({"x": 1}, sync=True)
        run.watch(object())
        run.alert("title")
        assert run.save("*") == [] and run.dir == str(here) and run.summary["x"] == 1
    assert list(here.iterdir()) == []


class _Tensor:
    """As much of a torch tensor as is asked for."""

    def __init__(self, values, requires_grad=True):
        self.values, self.requires_grad, self.hooks = np.asarray(values), requires_grad, []

    def register_hook(self, hook):
        self.hooks.append(hook)
        return _Handle(self.hooks, hook)

    def detach(self):
        return self

    float = cpu = detach

    def numpy(self):
        return self.values


class _Handle:
    def __init__(self, hooks, hook):
        self.remove = lambda: hooks.remove(hook)


class _Model:
    def __init__(self):
        self.weight, self.hooks = _Tensor([1.0, 2.0]), []

    def named_parameters(self):
        return [("weight", self.weight), ("frozen", _Tensor([0.0], requires_grad=False))]

    register_forward_hook = _Tensor.register_hook

    def step(self):
        for hook in self.hooks:
            hook(self, (), None)
        for hook in self.weight.hooks:
            hook(_Tensor([0.5, 0.5]))


def test_a_watched_model_logs_histograms_with_the_next_row(here):
    model = _Model()
    with wandb.init() as run:
        wandb.watch(model, log="all", log_freq=2)
        for i in range(4):
            model.step()
            run.log({"loss": i})
        wandb.unwatch(model)
        model.step()
        rows = run.history()
    assert [sorted(row) for row in rows] == [
        ["_step", "loss"],
        ["_step", "gradients/weight", "loss", "parameters/frozen", "parameters/weight"],
    ] * 2
    assert not model.hooks and not model.weight.hooks


def test_what_is_no_model_is_not_watched(here):
    with wandb.init() as run:
        with pytest.raises(rewind.ArgumentTypeError, match="torch.nn.Module"):
            run.watch(object())
        with pytest.raises(rewind.ArgumentError, match="log is 'no'"):
            run.watch(_Model(), log="no")
        with pytest.warns(rewind.IgnoredWarning, match="watch.*log_graph"):
            run.watch(_Model(), log=None, log_graph=True)


def test_helpers_of_the_module_util():
    assert len(wandb.util.generate_id()) == 8 and len(wandb.sdk.lib.runid.generate_id(20)) == 20
    assert wandb.util.make_artifact_name_safe("a b/c") == "a_b_c"
    assert len(wandb.util.make_artifact_name_safe("a" * 200)) <= 128
    assert wandb.util.get_module("math") and wandb.util.get_module("no_such_module") is None
    with pytest.raises(ImportError, match="install it"):
        wandb.util.get_module("no_such_module", required="install it")
    assert wandb.util.to_forward_slash_path("a\\b") == "a/b"
    with wandb.sdk.lib.telemetry.context() as said:
        said.feature.keras = True


@pytest.mark.parametrize("call", ["module", "run"])
def test_a_dropped_row_is_named_at_the_line_that_logs_it(here, call):
    with wandb.init() as run:
        log = wandb.log if call == "module" else run.log
        log({"x": 1}, step=5)
        with pytest.warns(rewind.DroppedWarning) as warned:
            log({"x": 2}, step=3)
    assert warned[0].filename == __file__
