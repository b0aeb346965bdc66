"""Callbacks of Keras: `WandbMetricsLogger`, `WandbModelCheckpoint`, `WandbEvalCallback`; `WandbCallback`, the older."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import ArgumentError
from ..artifacts import Artifact
from ..data_types import Histogram, Table
from .library import current_run, find_class, number_of

_CALLBACK = ("keras.callbacks:Callback", "tensorflow.keras.callbacks:Callback")
_CHECKPOINT = ("keras.callbacks:ModelCheckpoint", "tensorflow.keras.callbacks:ModelCheckpoint")


class _WandbMetricsLogger:
    """Logs what Keras measures: ``epoch/loss`` and so on after each epoch, and ``batch/loss`` if it is asked for.

    Parameters
    ----------
    log_freq : {"epoch", "batch"} or int
        ``batch``: also after each batch; a number: after every so many.
    initial_global_step : int
        The number of batches before.
    """

    model: Any

    def __init__(self, log_freq: str | int = "epoch", initial_global_step: int = 0, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if log_freq == "batch":
            log_freq = 1
        if log_freq != "epoch" and (not isinstance(log_freq, int) or log_freq < 1):
            raise ArgumentError("log_freq", log_freq, "'epoch', 'batch' or a number of batches")
        self._every = log_freq if isinstance(log_freq, int) else None
        self.global_step = self.global_batch = initial_global_step
        run = current_run("WandbMetricsLogger()")
        run.define_metric("epoch/*", step_metric="epoch/epoch")
        if self._every is not None:
            run.define_metric("batch/*", step_metric="batch/batch_step")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log an epoch."""
        values = {f"epoch/{name}": number_of(value) for name, value in (logs or {}).items()}
        rate = _learning_rate(self.model)
        rates = {} if rate is None else {"epoch/learning_rate": rate}
        current_run("log()").log({**values, "epoch/epoch": epoch, **rates})

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log a batch, if it is one of those that are asked for."""
        self.global_step += 1
        if self._every is None or batch % self._every:
            return
        values = {f"batch/{name}": number_of(value) for name, value in (logs or {}).items()}
        rate = _learning_rate(self.model)
        rates = {} if rate is None else {"batch/learning_rate": rate}
        current_run("log()").log({**values, **rates, "batch/batch_step": self.global_batch})
        self.global_batch += self._every


class _WandbModelCheckpoint:
    """Keras's ``ModelCheckpoint``, whose files are kept as versions of an artifact ``run_ID_model``."""

    filepath: Any

    def _save_model(self, epoch: int, *args: Any, **kwargs: Any) -> Any:
        before = _changed(self.filepath)
        done = super()._save_model(epoch, *args, **kwargs)  # type: ignore[misc]
        path = _written(self, epoch, kwargs.get("logs") or (args[-1] if args else {}))
        if path is not None and _changed(path) != (before if path == self.filepath else None):
            run = current_run("log_artifact()")
            run.log_artifact(path, f"run_{run.id}_model", "model", [f"epoch_{epoch}"])
        return done


class _WandbEvalCallback:
    """Tables of what a model predicts, epoch by epoch; a class of yours says what is in them.

    Parameters
    ----------
    data_table_columns, pred_table_columns : sequence of str
        Of the table of the data, which is logged once, and of the predictions, which is logged after each epoch.
    """

    def __init__(
        self, data_table_columns: Sequence[str], pred_table_columns: Sequence[str], *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.data_table_columns, self.pred_table_columns = list(data_table_columns), list(pred_table_columns)

    def on_train_begin(self, logs: Any = None) -> None:
        """Log the table of the data."""
        self.init_data_table(self.data_table_columns)
        self.add_ground_truth(logs)
        self.log_data_table()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log the table of the predictions."""
        self.init_pred_table(self.pred_table_columns)
        self.add_model_predictions(epoch, logs)
        self.log_pred_table()

    def add_ground_truth(self, logs: Any = None) -> None:
        """Add rows to `data_table`: what a class of yours does."""
        raise NotImplementedError

    def add_model_predictions(self, epoch: int, logs: Any = None) -> None:
        """Add rows to `pred_table`: what a class of yours does."""
        raise NotImplementedError

    def init_data_table(self, column_names: Sequence[str]) -> None:
        """Begin the table of the data."""
        self.data_table = Table(columns=list(column_names))

    def init_pred_table(self, column_names: Sequence[str]) -> None:
        """Begin the table of the predictions."""
        self.pred_table = Table(columns=list(column_names))

    def log_data_table(self, name: str = "val", type: str = "dataset", table_name: str = "val_data") -> None:
        """Log the table of the data, as an artifact."""
        artifact = Artifact(name, type)
        artifact.add(self.data_table, table_name)
        current_run("log_artifact()").log_artifact(artifact)

    def log_pred_table(
        self, type: str = "evaluation", table_name: str = "eval_data", aliases: Sequence[str] | None = None
    ) -> None:
        """Log the table of the predictions, as an artifact ``run_ID_pred``."""
        run = current_run("log_artifact()")
        artifact = Artifact(f"run_{run.id}_pred", type)
        artifact.add(self.pred_table, table_name)
        run.log_artifact(artifact, aliases=list(aliases or ["latest"]))


class _WandbCallback:
    """The older callback: logs each epoch, keeps the best values in the summary, and the best model if it is asked to.

    Parameters
    ----------
    monitor, mode : str
        Which value is the best: the least one, or with ``mode="max"`` the greatest; ``auto`` goes by the name.
    save_model : bool
        Whether the model with the best value is kept, as ``model-best.keras``.
    log_weights : bool
        Whether histograms of the weights are logged.
    log_batch_frequency : int, optional
        After how many batches their values are logged as well.
    **ignored
        What else W&B's callback takes.
    """

    model: Any

    def __init__(
        self,
        monitor: str = "val_loss",
        verbose: int = 0,
        mode: str = "auto",
        save_weights_only: bool = False,
        log_weights: bool = False,
        log_gradients: bool = False,
        save_model: bool = False,
        *,
        log_batch_frequency: int | None = None,
        **ignored: Any,
    ) -> None:
        super().__init__()
        self.monitor, self._weights, self._save = monitor, log_weights, save_model
        self._weights_only, self._every = save_weights_only, log_batch_frequency
        rising = mode == "max" or (mode == "auto" and ("acc" in monitor or monitor.startswith("fmeasure")))
        self._sign = -1.0 if rising else 1.0
        self.best: float | None = None

    def set_model(self, model: Any) -> None:
        """Take the model."""
        super().set_model(model)  # type: ignore[misc]

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log an epoch."""
        run = current_run("log()")
        values = {name: number_of(value) for name, value in (logs or {}).items()}
        weights = _weights_of(self.model) if self._weights else {}
        run.log({"epoch": epoch, **values, **weights})
        now = values.get(self.monitor)
        if now is None or (self.best is not None and self._sign * now >= self._sign * self.best):
            return
        self.best = now
        run.summary[f"best_{self.monitor}"] = now
        run.summary["best_epoch"] = epoch
        if self._save:
            name = "model-best.weights.h5" if self._weights_only else "model-best.keras"
            path = os.path.join(run.dir, name)
            (self.model.save_weights if self._weights_only else self.model.save)(path)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log a batch, if it is one of those that are asked for."""
        if self._every and batch % self._every == 0:
            values = {name: number_of(value) for name, value in (logs or {}).items()}
            current_run("log()").log(values)


def _learning_rate(model: Any) -> float | None:
    rate: Any = getattr(getattr(model, "optimizer", None), "learning_rate", None)
    rate = rate(model.optimizer.iterations) if callable(rate) else rate
    try:
        return None if rate is None else float(rate)
    except (TypeError, ValueError):
        return None


def _weights_of(model: Any) -> dict[str, Histogram]:
    found = {}
    for layer in model.layers:
        for weight, values in zip(layer.weights, layer.get_weights(), strict=True):
            found[f"parameters/{layer.name}.{getattr(weight, 'name', 'weight').split('/')[-1]}"] = Histogram(values)
    return found


def _changed(path: Any) -> float | None:
    try:
        return os.stat(os.fspath(path)).st_mtime_ns
    except (OSError, TypeError):
        return None


def _written(callback: Any, epoch: int, logs: Mapping[str, Any]) -> str | None:
    """Return the file that a checkpoint has just been written to."""
    try:
        path = os.fspath(callback._get_file_path(epoch, 0, logs))
    except Exception:  # of another release of Keras
        path = os.fspath(callback.filepath)
    return path if os.path.exists(path) else None


_CLASSES: dict[str, tuple[type[Any], tuple[str, ...]]] = {
    "WandbMetricsLogger": (_WandbMetricsLogger, _CALLBACK),
    "WandbModelCheckpoint": (_WandbModelCheckpoint, _CHECKPOINT),
    "WandbEvalCallback": (_WandbEvalCallback, _CALLBACK),
    "WandbCallback": (_WandbCallback, _CALLBACK),
}


def __getattr__(name: str) -> Any:
    found = globals()[name] = find_class(__name__, name, _CLASSES)
    return found
