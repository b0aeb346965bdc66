"""Train for a moment with each of the libraries that are installed, and rewind what was logged.

::

    python -m venv /tmp/loggers && /tmp/loggers/bin/pip install . scikit-learn lightgbm catboost xgboost keras torch \
        transformers accelerate lightning stable-baselines3
    /tmp/loggers/bin/python tests/stress/integrations.py

Not part of CI: the libraries are gigabytes. Each trial is a process of its own, as some of them ask only once whether
wandb is there. What is not installed is said.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("KERAS_BACKEND", "torch")


def data(n=64):
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3)).astype("float32")
    return x, (x[:, 0] > 0).astype("int64")


def lightgbm(wandb):
    import lightgbm as library
    from wandb.integration.lightgbm import log_summary, wandb_callback

    x, y = data()
    given = library.Dataset(x, y)
    with wandb.init():
        params = {"objective": "binary", "verbose": -1}
        booster = library.train(params, given, 4, valid_sets=[given], callbacks=[wandb_callback()])
        log_summary(booster, save_model_checkpoint=True)
    return 4


def xgboost(wandb):
    import xgboost as library
    from wandb.integration.xgboost import WandbCallback

    x, y = data()
    given = library.DMatrix(x, y)
    with wandb.init():
        options = {"params": {"objective": "binary:logistic"}, "evals": [(given, "train")], "verbose_eval": False}
        library.train(dtrain=given, num_boost_round=4, callbacks=[WandbCallback(log_model=True)], **options)
    return 4


def catboost(wandb):
    import catboost as library
    from wandb.integration.catboost import WandbCallback, log_summary

    x, y = data()
    with wandb.init():
        model = library.CatBoostClassifier(iterations=4, verbose=False, allow_writing_files=False)
        log_summary(model.fit(x, y, callbacks=[WandbCallback()]), save_model_checkpoint=True)
    return 4


def sklearn(wandb):
    from sklearn.cluster import KMeans
    from sklearn.linear_model import LinearRegression, LogisticRegression

    x, y = data()
    with wandb.init():
        model = LogisticRegression().fit(x, y)
        found = model.predict(x), model.predict_proba(x)
        wandb.sklearn.plot_classifier(model, x, x, y, y, *found, labels=["no", "yes"], log_learning_curve=True)
        wandb.sklearn.plot_regressor(LinearRegression().fit(x, x[:, 1]), x, x, x[:, 1], x[:, 1])
        wandb.sklearn.plot_clusterer(KMeans(2, n_init=1), x, KMeans(2, n_init=1).fit_predict(x))
        wandb.sklearn.plot_calibration_curve(model, x, y)
    return 10


def keras(wandb):
    import keras as library
    from wandb.integration.keras import WandbCallback, WandbMetricsLogger, WandbModelCheckpoint

    x, y = data()
    model = library.Sequential([library.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    callbacks = [WandbMetricsLogger("batch"), WandbModelCheckpoint("m.keras")]
    with wandb.init() as run:
        model.fit(x, y, epochs=2, verbose=0, callbacks=[*callbacks, WandbCallback(monitor="loss", log_weights=True)])
    assert run.summary["best_loss"] and any(one.type == "model" for one in run.artifacts)
    return 4


def stable_baselines3(wandb):
    from stable_baselines3 import PPO
    from wandb.integration.sb3 import WandbCallback

    with wandb.init(sync_tensorboard=True) as run:
        model = PPO("MlpPolicy", "CartPole-v1", n_steps=64, tensorboard_log="runs", device="cpu")
        model.learn(128, callback=WandbCallback(model_save_path="models", gradient_save_freq=1))
    assert run.summary["global_step"] == 128
    return 2


def transformers(wandb):
    import torch
    from transformers import Trainer, TrainingArguments

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 2)

        def forward(self, x, labels):
            scores = self.layer(x)
            return {"loss": torch.nn.functional.cross_entropy(scores, labels), "logits": scores}

    x, y = data()
    rows = [{"x": one, "labels": label} for one, label in zip(x, y, strict=True)]
    args = TrainingArguments("out", report_to=["wandb"], max_steps=4, logging_steps=1, use_cpu=True, disable_tqdm=True)
    Trainer(Model(), args, train_dataset=rows).train()
    assert wandb.run.config["max_steps"] == 4
    wandb.finish()
    return 4


def lightning(wandb):
    import lightning as library
    import torch
    from lightning.pytorch.loggers import WandbLogger

    class Model(library.LightningModule):
        def __init__(self):
            super().__init__()
            self.save_hyperparameters({"rate": 0.1})
            self.layer = torch.nn.Linear(3, 2)

        def training_step(self, batch, n):
            loss = torch.nn.functional.cross_entropy(self.layer(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    x, y = data()
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y)), batch_size=16
    )
    options = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = library.Trainer(max_steps=4, log_every_n_steps=1, logger=WandbLogger(project="walks"), **options)
    trainer.fit(Model(), loader)
    wandb.finish()
    return 4


def accelerate(wandb):
    from accelerate import Accelerator

    accelerator = Accelerator(log_with="wandb", cpu=True)
    accelerator.init_trackers("walks", config={"rate": 0.1})
    for step in range(4):
        accelerator.log({"loss": 1.0 / (step + 1)}, step=step)
    accelerator.end_training()
    return 4


TRIALS = [lightgbm, xgboost, catboost, sklearn, keras, stable_baselines3, transformers, lightning, accelerate]


def attempt(name):
    """Run one trial in a folder of its own, and rewind what it logged to its second row."""
    import rewind

    rewind.wandb.install()
    import wandb

    rows = next(trial for trial in TRIALS if trial.__name__ == name)(wandb)
    tracker = rewind.Tracker()
    (run,) = tracker.runs()
    history = run.history()
    assert len(history) >= rows, history
    step = history[1]["_step"]
    with rewind.init(resume_from=f"{run.id}?_step={step}") as again:
        assert again.step == step + 1 and len(again.history()) == 2
        again.log({"loss": 0.0})
    report = tracker.fsck()
    assert report.ok, report
    print(f"{name}: {len(history)} rows, {len(history[0]) - 1} names in the first; rewound to step {step}")


def main(names):
    failed = False
    for trial in TRIALS:
        name = trial.__name__
        if names and name not in names:
            continue
        if importlib.util.find_spec(name) is None:
            print(f"{name}: not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            words = [sys.executable, os.path.abspath(__file__), "--one", name]
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
        failed = failed or done.returncode != 0
        print(done.stdout.strip().splitlines()[-1] if done.returncode == 0 else f"{name} FAILED\n{done.stderr[-4000:]}")
    sys.exit(failed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        attempt(sys.argv[2])
    else:
        main(sys.argv[1:])
