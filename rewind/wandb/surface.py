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
    "calls": "define_metric finish init log",
    "stand_in": "install uninstall",
    "wandb_run": "Run",
    "artifacts": "Artifact",
    "data_types": "Audio Classes CustomChart Histogram Html Image Molecule Object3D Plotly Table Video",
    "plot": "plot_table",
    "errors": "CommError Error UsageError",
}
#: Where each name of the package is: ``MODULE:NAME``, or ``MODULE``.
HOMES = {name: f"{module}:{name}" for module, names in _NAMES.items() for name in names.split()}

#: Modules without a file: ``NAME`` is one of the package, ``NAME=MODULE:NAME`` one of a module of it.
MODULES = {
    "sdk": "Run finish init",
    "sdk.data_types": "Audio Histogram Html Image Molecule Object3D Plotly Table Video",
    **{f"sdk.data_types.{name.lower()}": name for name in "Audio Histogram Html Image Plotly Table Video".split()},
    "sdk.data_types.object_3d": "Object3D",
    "sdk.lib": "",
    "sdk.lib.config_util": "ConfigError=errors:ConfigError",
    "sdk.wandb_run": "Run",
    "sdk.wandb_init": "init",
}


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
