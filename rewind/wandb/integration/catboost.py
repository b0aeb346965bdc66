"""`WandbCallback` and `log_summary` of catboost."""

from __future__ import annotations

import os
from typing import Any

from .. import plot
from ..data_types import Table
from .library import current_run


class WandbCallback:
    """A callback of ``fit`` that logs what is evaluated after every `metric_period` iterations."""

    def __init__(self, metric_period: int = 1) -> None:
        self.metric_period = max(int(metric_period), 1)
        current_run("WandbCallback()")

    def after_iteration(self, info: Any) -> bool:
        """Log an iteration; return True, which lets it go on."""
        if info.iteration % self.metric_period == 0:
            values = {
                f"{data}-{name}": found[-1] for data, all_ in info.metrics.items() for name, found in all_.items()
            }
            current_run("log()").log({f"iteration@metric-period-{self.metric_period}": info.iteration, **values})
        return True


def log_summary(
    model: Any, log_all_params: bool = True, save_model_checkpoint: bool = False, log_feature_importance: bool = True
) -> None:
    """Log parameters, best scores, importances of the features, and the model if it is asked for."""
    run = current_run("log_summary()")
    params = model.get_all_params() if log_all_params else model.get_params()
    run.config.update(params, allow_val_change=True)
    run.summary["best_iteration"] = model.get_best_iteration()
    for data, metrics in (model.get_best_score() or {}).items():
        for name, value in metrics.items():
            run.summary[f"{data}_{name}.best"] = value
    if log_feature_importance:
        names, values = model.feature_names_, model.get_feature_importance()
        table = Table(
            columns=["Feature", "Importance"], data=[[n, float(v)] for n, v in zip(names, values, strict=True)]
        )
        run.log({"Feature Importance": plot.bar(table, "Feature", "Importance", "Feature Importance")})
    if save_model_checkpoint:
        path = os.path.join(run.dir, f"model_{run.id}.cbm")
        model.save_model(path)
        run.log_artifact(path, f"model_{run.id}", "model")
