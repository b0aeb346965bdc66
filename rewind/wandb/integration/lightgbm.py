"""`wandb_callback` and `log_summary` of lightgbm."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from .. import plot
from ..data_types import Table
from .library import current_run


def wandb_callback(log_params: bool = True, define_metric: bool = True) -> Callable[[Any], None]:
    """Return a callback of ``lightgbm.train`` that logs what is evaluated after each round.

    Parameters
    ----------
    log_params : bool
        Whether the parameters are put into the config.
    define_metric : bool
        Whether the summary has the best value of each, the least or the greatest, instead of the last one.
    """
    first = True

    def callback(env: Any) -> None:
        nonlocal first
        run = current_run("log()")
        found = env.evaluation_result_list or ()
        if first:
            first = False
            if log_params:
                run.config.update(env.params, allow_val_change=True)
            for item in found if define_metric else ():
                run.define_metric(_name(item), summary="max" if item[3] else "min")
        run.log({"iteration": env.iteration, **{_name(item): item[2] for item in found}})

    callback.order = 10  # type: ignore[attr-defined]
    return callback


def log_summary(model: Any, feature_importance: bool = True, save_model_checkpoint: bool = False) -> None:
    """Log the best iteration, the importances of the features, and the model if it is asked for."""
    run = current_run("log_summary()")
    run.summary["best_iteration"] = model.best_iteration
    for data, metrics in (model.best_score or {}).items():
        for name, value in metrics.items():
            run.summary[f"{data}_{name}.best"] = value
    if feature_importance:
        rows = [
            [name, float(value)] for name, value in zip(model.feature_name(), model.feature_importance(), strict=True)
        ]
        table = Table(columns=["Feature", "Importance"], data=rows)
        run.log({"Feature Importance": plot.bar(table, "Feature", "Importance", "Feature Importance")})
    if save_model_checkpoint:
        path = os.path.join(run.dir, f"model_{run.id}.txt")
        model.save_model(path, num_iteration=model.best_iteration)
        run.log_artifact(path, f"model_{run.id}", "model")


def _name(item: Any) -> str:
    data, name = item[:2]
    return f"{data}_{name}"
