"""Callbacks of other libraries: each is a class of that library, and logs what it is told.

The libraries are stood in for by modules with the few classes that are asked for; `tests/stress/integrations.py` trains
with those that are installed.
"""

from __future__ import annotations

import importlib
import json
import sys
import types

import pytest

import rewind
import rewind.wandb as wandb
from rewind.errors import ArgumentError, IgnoredWarning, NoRunError
from rewind.wandb.surface import ALIASES

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("here")]


@pytest.fixture
def library(monkeypatch):
    """Give a function that makes modules, by dotted name, with some names in it; `of` gives our module for one."""
    taken = {}

    def make(name, **names):
        parts = name.split(".")
        for i in range(1, len(parts) + 1):
            full = ".".join(parts[:i])
            if i == len(parts) or full not in sys.modules:
                monkeypatch.setitem(sys.modules, full, types.ModuleType(full))
        vars(sys.modules[name]).update(names)

    def of(name):
        module = importlib.import_module(f"rewind.wandb.integration.{name}")
        taken.setdefault(module, set(vars(module)))
        return module

    make.of = of
    yield make
    for module, before in taken.items():  # classes that were made of what is not there any more
        for name in set(vars(module)) - before:
            delattr(module, name)


@pytest.fixture
def keras(library):
    class Callback:
        def __init__(self):
            self.model = None

        def set_model(self, model):
            self.model = model

    class ModelCheckpoint(Callback):
        def __init__(self, filepath, **options):
            super().__init__()
            self.filepath = filepath

        def _get_file_path(self, epoch, batch, logs):
            return self.filepath.format(epoch=epoch + 1)

        def _save_model(self, epoch, batch, logs):
            if logs["loss"] < 1:
                with open(self._get_file_path(epoch, batch, logs), "w") as file:
                    file.write(f"weights of {epoch}")

    library("keras.callbacks", Callback=Callback, ModelCheckpoint=ModelCheckpoint)
    found = library.of("keras")
    assert issubclass(found.WandbEvalCallback, Callback)
    return found


def model():
    weight = types.SimpleNamespace(name="kernel")
    layer = types.SimpleNamespace(name="dense", weights=[weight], get_weights=lambda: [[1.0, 2.0]])
    optimizer = types.SimpleNamespace(learning_rate=0.5, iterations=0)
    saved = []

    def save(path):
        saved.append(path)
        with open(path, "w") as file:
            file.write(f"model {len(saved)}")

    return types.SimpleNamespace(layers=[layer], optimizer=optimizer, save=save, saved=saved)


def test_the_metrics_logger_of_keras_logs_epochs_and_every_so_many_batches(keras):
    with wandb.init() as run:
        callback = keras.WandbMetricsLogger(log_freq=2)
        callback.set_model(model())
        for epoch in range(2):
            for batch in range(4):
                callback.on_train_batch_end(batch, {"loss": batch})
            callback.on_epoch_end(epoch, {"loss": 0.5, "val_loss": 0.7})
    rows = [row for row in run.history() if "epoch/loss" in row]
    wanted = {"epoch/loss": 0.5, "epoch/val_loss": 0.7, "epoch/learning_rate": 0.5}
    assert [{**row, "_step": 0} for row in rows] == [{"_step": 0, **wanted, "epoch/epoch": epoch} for epoch in (0, 1)]
    batches = [row for row in run.history() if "batch/loss" in row]
    assert [(row["batch/loss"], row["batch/batch_step"]) for row in batches] == [(0, 0), (2, 2), (0, 4), (2, 6)]
    with pytest.raises(ArgumentError, match="'epoch', 'batch' or a number"), wandb.init():
        keras.WandbMetricsLogger(log_freq="often")


def test_what_a_checkpoint_of_keras_writes_is_a_version_of_an_artifact(keras, here):
    with wandb.init(id="a") as run:
        callback = keras.WandbModelCheckpoint(str(here / "m{epoch}.keras"), save_best_only=True)
        for epoch, loss in enumerate((0.5, 2.0, 0.25)):
            callback._save_model(epoch, 0, {"loss": loss})
    found = [one for one in run.artifacts if one.name == "run_a_model"]
    assert [(one.ref, one.type) for one in found] == [("run_a_model:v0", "model"), ("run_a_model:v1", "model")]
    assert "epoch_0" in found[0].aliases and "epoch_2" in found[1].aliases


def test_the_older_callback_of_keras_keeps_the_best_values_and_the_best_model(keras):
    with wandb.init() as run:
        callback = keras.WandbCallback(monitor="val_acc", save_model=True, log_weights=True, data_type="image")
        callback.set_model(model())
        for epoch, value in enumerate((0.5, 0.75, 0.25)):
            callback.on_epoch_end(epoch, {"val_acc": value})
    assert run.summary["best_val_acc"] == 0.75 and run.summary["best_epoch"] == 1
    assert [row["val_acc"] for row in run.history()] == [0.5, 0.75, 0.25] and len(callback.model.saved) == 2
    assert run.history()[0]["parameters/dense.kernel"]["_type"] == "histogram"
    with wandb.Api().run(run.id).file("model-best.keras").download("got") as file:
        assert file.read() == "model 2"


def test_a_class_of_the_eval_callback_of_keras_logs_its_tables(keras):
    class Mine(keras.WandbEvalCallback):
        def add_ground_truth(self, logs=None):
            self.data_table.add_data(1, "cat")

        def add_model_predictions(self, epoch, logs=None):
            self.pred_table.add_data(epoch, "dog")

    with wandb.init(id="a") as run:
        callback = Mine(["n", "label"], ["epoch", "guess"])
        callback.on_train_begin()
        callback.on_epoch_end(0)
        callback.on_epoch_end(1)
    assert [one.ref for one in run.artifacts] == ["val:v0", "run_a_pred:v0", "run_a_pred:v1"]
    assert wandb.Api().artifact("run_a_pred:v1").get("eval_data").data == [[1, "dog"]]


def test_the_callback_of_sb3_takes_the_settings_and_keeps_the_model(library, here):
    class BaseCallback:
        def __init__(self, verbose):
            self.n_calls = 0

    library("stable_baselines3.common.callbacks", BaseCallback=BaseCallback)
    with wandb.init(id="a") as run:
        callback = library.of("sb3").WandbCallback(model_save_path=str(here / "models"), model_save_freq=2)
        assert isinstance(callback, BaseCallback)
        callback.model = types.SimpleNamespace(gamma=0.9, policy=print, save=lambda path: open(path, "w").close())
        callback._init_callback()
        for callback.n_calls in (1, 2):
            assert callback._on_step()
        callback._on_training_end()
        with pytest.raises(ArgumentError, match="0, as there is no model_save_path"):
            library.of("sb3").WandbCallback(model_save_freq=1)
    assert run.config["gamma"] == 0.9 and run.config["algo"] == "SimpleNamespace"
    assert "model.zip" in [file.name for file in wandb.Api().run("a").files()]


def test_the_callback_of_xgboost_logs_rounds_importances_and_the_model(library):
    class TrainingCallback:
        pass

    library("xgboost.callback", TrainingCallback=TrainingCallback)
    booster = types.SimpleNamespace(
        save_config=lambda: json.dumps({"learner": {"eta": "0.3"}}),
        get_score=lambda importance_type: {"f0": 2.0, "f1": 1.0},
        save_model=lambda path: open(path, "w").close(),
        best_score=0.9,
    )
    with wandb.init(id="a") as run:
        callback = library.of("xgboost").WandbCallback(log_model=True)
        assert isinstance(callback, TrainingCallback) and callback.before_training(booster) is booster
        for n, value in enumerate((0.7, 0.9, 0.8)):
            assert callback.after_iteration(booster, n, {"eval": {"auc": [0.0, value], "rmse": [value]}}) is False
        assert callback.after_training(booster) is booster
        library.of("xgboost").wandb_callback()(types.SimpleNamespace(evaluation_result_list=[("eval-auc", 0.95)]))
    assert [row["eval-auc"] for row in run.history(["eval-auc"])] == [0.7, 0.9, 0.8, 0.95]
    assert run.summary["eval-auc"] == {"max": 0.95} and run.summary["eval-rmse"] == {"min": 0.7}
    assert run.summary["best_score"] == 0.9 and "best_iteration" not in run.summary
    assert run.config["learner"] == {"eta": "0.3"} and any("Feature Importance" in row for row in run.history())
    assert "a_model" in {one.name for one in run.artifacts}


def test_the_callback_of_lightgbm_logs_rounds_and_the_summary_of_a_model(library):
    from rewind.wandb.integration.lightgbm import log_summary, wandb_callback

    with wandb.init(id="a") as run:
        callback = wandb_callback()
        for n, value in enumerate((0.5, 0.25)):
            found = [("valid", "l2", value, False), ("valid", "auc", value, True)]
            callback(types.SimpleNamespace(params={"eta": 0.1}, iteration=n, evaluation_result_list=found))
        log_summary(
            types.SimpleNamespace(
                best_iteration=1,
                best_score={"valid": {"l2": 0.25}},
                feature_name=lambda: ["x", "y"],
                feature_importance=lambda: [3, 1],
                save_model=lambda path, num_iteration: open(path, "w").close(),
            ),
            save_model_checkpoint=True,
        )
    assert [row["valid_l2"] for row in run.history(["valid_l2"])] == [0.5, 0.25] and run.config["eta"] == 0.1
    assert run.summary["valid_l2"] == {"min": 0.25} and run.summary["valid_auc"] == {"max": 0.5}
    assert run.summary["best_iteration"] == 1 and run.summary["valid_l2.best"] == 0.25
    assert "model_a" in {one.name for one in run.artifacts}


def test_the_callback_of_catboost_logs_every_so_many_iterations_and_the_summary_of_a_model():
    from rewind.wandb.integration.catboost import WandbCallback, log_summary

    with wandb.init(id="a") as run:
        callback = WandbCallback(metric_period=2)
        for n in range(4):
            info = types.SimpleNamespace(iteration=n, metrics={"learn": {"RMSE": [9.0, n]}})
            assert callback.after_iteration(info) is True
        log_summary(
            types.SimpleNamespace(
                get_all_params=lambda: {"depth": 6},
                get_best_iteration=lambda: 3,
                get_best_score=lambda: {"learn": {"RMSE": 0.5}},
                feature_names_=["x"],
                get_feature_importance=lambda: [100.0],
                save_model=lambda path: open(path, "w").close(),
            ),
            save_model_checkpoint=True,
        )
    assert [row["learn-RMSE"] for row in run.history(["learn-RMSE"])] == [0, 2] and run.config["depth"] == 6
    assert run.summary["learn_RMSE.best"] == 0.5 and "model_a" in {one.name for one in run.artifacts}


def test_charts_of_sklearn_that_need_only_numbers_are_logged():
    from rewind.wandb.integration import sklearn

    scores = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]]
    with wandb.init() as run:
        sklearn.plot_confusion_matrix(["a", "b", "a", "b"], ["a", "b", "b", "b"])
        sklearn.plot_confusion_matrix([0, 1, 0, 1], [0, 1, 1, 1], labels=["no", "yes"])
        sklearn.plot_roc([0, 1, 0, 1], scores, ["no", "yes"])
        sklearn.plot_precision_recall([0, 1, 0, 1], scores)
        sklearn.plot_feature_importances(types.SimpleNamespace(coef_=[[1.0, -3.0]]), ["x", "y"])
        sklearn.plot_class_proportions([0, 1, 1], [0], ["no", "yes"])
        sklearn.plot_residuals(types.SimpleNamespace(predict=lambda X: X), [1.0, 2.0], [1.5, 1.0])
        assert sklearn.plot_feature_importances(object()) is None
    assert len(run.history()) == 7 and len(run.media) >= 7


def test_a_module_has_both_of_the_names_that_it_has_there():
    rewind.wandb.install()
    for name, other in ALIASES.items():
        assert importlib.import_module(f"wandb.{name}") is importlib.import_module(f"wandb.{other}")
        assert getattr(wandb, name) is importlib.import_module(f"rewind.wandb.{other}")


def test_what_is_not_installed_or_not_there_is_said_and_no_run_is_an_error(keras, monkeypatch):
    with pytest.raises(NoRunError):
        keras.WandbMetricsLogger()
    with pytest.raises(AttributeError, match=r"has no 'Nothing': docs/from-wandb.md"):
        _ = keras.Nothing
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(ImportError, match="stable_baselines3"):
        _ = importlib.import_module("rewind.wandb.integration.sb3").WandbCallback
    with pytest.warns(IgnoredWarning, match=r"gym.monitor\(\) ignores monitor_gym"):
        wandb.gym.monitor()
