"""`WandbCallback` of stable-baselines3: keeps the model; what it measures comes by ``init(sync_tensorboard=True)``."""

from __future__ import annotations

import os
from typing import Any

from ...errors import ArgumentError
from .library import current_run, find_class


class _WandbCallback:
    """Puts the settings of the algorithm into the config, and keeps the model.

    Parameters
    ----------
    verbose : int
    model_save_path : str, optional
        A folder: the model is kept there and with the run at the end.
    model_save_freq : int
        After how many calls it is kept as well; 0: only at the end.
    gradient_save_freq : int
        After how many calls gradients and parameters are logged as histograms; 0: never.
    log : {"all", "gradients", "parameters"} or None
    """

    model: Any
    n_calls: int

    def __init__(
        self,
        verbose: int = 0,
        model_save_path: str | None = None,
        model_save_freq: int = 0,
        gradient_save_freq: int = 0,
        log: str | None = "all",
    ) -> None:
        super().__init__(verbose)  # type: ignore[call-arg]
        current_run("WandbCallback()")
        if model_save_freq and model_save_path is None:
            raise ArgumentError("model_save_freq", model_save_freq, "0, as there is no model_save_path")
        self.model_save_path, self.model_save_freq = model_save_path, model_save_freq
        self.gradient_save_freq, self.log = gradient_save_freq, log
        if model_save_path is not None:
            os.makedirs(model_save_path, exist_ok=True)
            self.path = os.path.join(model_save_path, "model.zip")

    def _init_callback(self) -> None:
        run = current_run("config")
        settings: dict[str, Any] = {"algo": type(self.model).__name__}
        for name, value in vars(self.model).items():
            plain = isinstance(value, (int, float, str, bool)) or value is None
            settings[name] = value if plain else str(value)
        run.config.setdefaults(settings)
        if self.gradient_save_freq > 0:
            run.watch(self.model.policy, log_freq=self.gradient_save_freq, log=self.log)

    def _on_step(self) -> bool:
        if self.model_save_freq > 0 and self.model_save_path is not None and self.n_calls % self.model_save_freq == 0:
            self.save_model()
        return True

    def _on_training_end(self) -> None:
        if self.model_save_path is not None:
            self.save_model()

    def save_model(self) -> None:
        """Keep the model as it is now."""
        self.model.save(self.path)
        current_run("save()").save(self.path, base_path=self.model_save_path)


def __getattr__(name: str) -> Any:
    bases = ("stable_baselines3.common.callbacks:BaseCallback",)
    found = globals()[name] = find_class(__name__, name, {"WandbCallback": (_WandbCallback, bases)})
    return found
