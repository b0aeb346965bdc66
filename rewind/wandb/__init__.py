"""The names of W&B's Python client, for programs written for it: they run here, offline, and can be rewound.

::

    import rewind.wandb as wandb           a program of one's own
    rewind.wandb.install()                 for libraries that import wandb themselves; uninstall() undoes it
    python -m rewind.wandb train.py        the same, for a program that is not changed

`docs/from-wandb.md` says what there is, what is ignored, and what is not there. Nothing is sent anywhere.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from .surface import ALIASES, HOMES, MODULES, VERSION, virtual_module

__version__ = VERSION


def __getattr__(name: str) -> Any:
    if name in ("run", "config", "summary"):  # of the latest run, whichever that is when they are asked for
        active = importlib.import_module("rewind.tracker.active")
        return active.open_run() if name == "run" else getattr(active.latest(name), name)
    if name in HOMES:
        home, _, attribute = HOMES[name].partition(":")
        module = importlib.import_module(f"{__name__}.{home}")
        found = globals()[name] = getattr(module, attribute) if attribute else module
        return found
    if name in MODULES:
        return virtual_module(name)
    if name in ALIASES:
        return importlib.import_module(f"{__name__}.{ALIASES[name]}")
    if name == "__all__" and sys._getframe(1).f_globals.get("__name__") != "pydoc":
        return __dir__()
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
    raise AttributeError(f"rewind.wandb has no {name!r}: docs/from-wandb.md lists what there is of W&B's names")


def __dir__() -> list[str]:
    return sorted({*HOMES, "__version__"})
