"""Which name is in which module: of the package, and of those modules of W&B's that have no file of their own here."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

#: The release whose names these are: what version checks are told.
VERSION = "0.31.0"

_PACKAGE = __name__.rpartition(".")[0]

#: The names of the package by the module they are in.
_NAMES = {
    "calls": """
        alert attach define_metric ensure_configured finish init join link_artifact link_model log log_artifact
        log_code log_model login mark_preempting require restore save setup teardown unwatch use_artifact use_model
        watch
    """,
    "settings": "AlertLevel Settings termerror termlog termsetup termwarn",
    "stand_in": "install uninstall",
    "wandb_run": "Run",
    "artifacts": "Artifact",
    "data_types": "Audio Classes CustomChart Histogram Html Image Molecule Object3D Plotly Table Video",
    "plot": "plot_table",
    "apis": "Api",
    "sweeps": "agent controller sweep",
    "errors": "CommError Error UsageError",
}
#: Where each name of the package is: ``MODULE:NAME``, or ``MODULE``.
HOMES = {name: f"{module}:{name}" for module, names in _NAMES.items() for name in names.split()}

#: Modules without a file: ``NAME`` is one of the package, ``NAME=MODULE:NAME`` one of a module of it.
MODULES = {
    "sdk.data_types": "Audio Histogram Html Image Molecule Object3D Plotly Table Video",
    **{f"sdk.data_types.{name.lower()}": name for name in "Audio Histogram Html Image Plotly Table Video".split()},
    "sdk.data_types.object_3d": "Object3D",
    "sdk": "Config=wandb_config:Config Run Settings Summary=wandb_config:Summary finish init login setup teardown",
    "sdk.lib": "RunDisabled=wandb_run:RunDisabled",
    "sdk.lib.disabled": "RunDisabled=wandb_run:RunDisabled",
    "sdk.lib.ipython": "in_notebook=util:in_notebook",
    "sdk.lib.runid": "generate_id=util:generate_id",
    "sdk.lib.telemetry": "context=settings:context",
    "sdk.lib.config_util": "ConfigError=errors:ConfigError",
    "sdk.wandb_run": "Run",
    "sdk.wandb_alerts": "AlertLevel",
    "sdk.wandb_config": "Config=wandb_config:Config",
    "sdk.wandb_init": "init",
    "sdk.wandb_login": "login",
    "sdk.wandb_require": "require",
    "sdk.wandb_settings": "Settings",
    "sdk.wandb_setup": "setup teardown",
    "sdk.wandb_summary": "Summary=wandb_config:Summary",
    "sdk.wandb_watch": "unwatch watch",
    "env": "",
    "apis.public": "Api Run=apis.runs:Run Runs=apis.runs:Runs Sweep=apis.sweeps:Sweep File=apis.files:File",
    "wandb_agent": "agent",
    "wandb_controller": "controller sweep",
    "sdk.wandb_sweep": "controller sweep",
    "errors.errors": "CommError Error UsageError",
    "errors.term": "termerror termlog termsetup termwarn",
}

#: Modules that W&B has under two names.
ALIASES = {name: f"integration.{name}" for name in "catboost gym keras lightgbm sb3 sklearn xgboost".split()}


def virtual_module(name: str) -> ModuleType:
    """Return one of `MODULES`, made when it is first asked for."""
    full = f"{_PACKAGE}.{name}"
    if full not in sys.modules:
        module = ModuleType(full, f"What W&B's ``wandb.{name}`` has that is here.")
        module.__path__ = []  # or nothing below it could be imported
        module.__package__ = full
        homes = dict(_home(entry) for entry in MODULES[name].split())
        vars(module)["__getattr__"] = lambda wanted: _found(name, homes, wanted)
        vars(module)["__dir__"] = lambda: sorted(homes)
        sys.modules[full] = module
    return sys.modules[full]


def _home(entry: str) -> tuple[str, str]:
    name, _, home = entry.partition("=")
    return name, home or HOMES[name]


def _found(module: str, homes: dict[str, str], wanted: str) -> Any:
    if wanted in homes:
        home, _, attribute = homes[wanted].partition(":")
        return getattr(importlib.import_module(f"{_PACKAGE}.{home}"), attribute)
    if f"{module}.{wanted}" in MODULES:
        return virtual_module(f"{module}.{wanted}")
    raise AttributeError(
        f"rewind.wandb has no {module}.{wanted}: docs/from-wandb.md lists what there is of W&B's names"
    )
