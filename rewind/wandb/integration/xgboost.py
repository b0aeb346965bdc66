"""`WandbCallback` of xgboost, and the older `wandb_callback`."""

from __future__ import annotations

import json
import os
from typing import Any

from .. import plot
from ..data_types import Table
from .library import current_run, find_class


class _WandbCallback:
    """Logs what is evaluated after each round, and at the end the best score, importances and the model.

    Parameters
    ----------
    log_model : bool
        Whether the model is kept, as an artifact of the type ``model``.
    log_feature_importance : bool
        Whether a bar chart of the importances is logged.
    importance_type : str
        As for ``Booster.get_score``.
    define_metric : bool
        Whether the summary has the best value of each, the least or the greatest, instead of the last one.
    """

    def __init__(
        self,
        log_model: bool = False,
        log_feature_importance: bool = True,
        importance_type: str = "gain",
        define_metric: bool = True,
    ) -> None:
        super().__init__()
        self._log_model, self._importance = log_model, log_feature_importance
        self._type, self._define = importance_type, define_metric
        self._defined: set[str] = set()
        current_run("WandbCallback()")

    def before_training(self, model: Any) -> Any:
        """Put the configuration of the model into the config."""
        settings = json.loads(model.save_config())
        current_run("config").config.update(settings, allow_val_change=True)
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Log a round."""
        run = current_run("log()")
        values = {f"{data}-{name}": found[-1] for data, metrics in evals_log.items() for name, found in metrics.items()}
        for name in values.keys() - self._defined if self._define else ():
            rises = any(one in name for one in ("auc", "map", "ndcg", "pre"))
            run.define_metric(name, summary="max" if rises else "min")
            self._defined.add(name)
        run.log({"epoch": epoch, **values})
        return False

    def after_training(self, model: Any) -> Any:
        """Log what is known at the end."""
        run = current_run("log()")
        if self._importance:
            scores = model.get_score(importance_type=self._type)
            table = Table(columns=["Feature", "Importance"], data=[[name, score] for name, score in scores.items()])
            run.log({"Feature Importance": plot.bar(table, "Feature", "Importance", "Feature Importance")})
        if self._log_model:
            name = f"{run.id}_model"
            path = os.path.join(run.dir, f"{name}.json")
            model.save_model(path)
            run.log_artifact(path, name, "model")
        for name in ("best_score", "best_iteration"):
            try:  # an attribute that is an error where training was not stopped early
                run.summary[name] = getattr(model, name)
            except AttributeError:
                continue
        return model


def wandb_callback() -> Any:
    """Return a callback for releases of xgboost before 1.3: it logs what is evaluated after each round."""

    def callback(env: Any) -> None:
        current_run("log()").log({name: value for name, value, *_ in env.evaluation_result_list})

    return callback


def __getattr__(name: str) -> Any:
    bases = ("xgboost.callback:TrainingCallback",)
    found = globals()[name] = find_class(__name__, name, {"WandbCallback": (_WandbCallback, bases)})
    return found
