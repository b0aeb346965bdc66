"""Tracked runs: a run's logged history, and its simulation, kept so that it can be rewound or forked at any step."""

from __future__ import annotations

import importlib
import sys
from typing import Any

#: The public names, and where they are: imported when one of them is asked for.
_HOMES = {
    "Moment": "moment",
    "Revision": "revision",
    "TrackedRun": "run",
    "Tracker": "tracker",
    "define_metric": "active",
    "finish": "active",
    "init": "init",
    "log": "active",
}


def attribute(name: str) -> Any:
    """Return a public name of the tracker, or the ``config`` or ``summary`` of the latest run."""
    if name in ("config", "summary"):
        current = importlib.import_module(f"{__name__}.active")
        return getattr(current.latest(name), name)
    if name not in _HOMES:
        raise AttributeError(f"module 'rewind' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    setattr(sys.modules["rewind"], name, found)  # the next one who asks finds it there
    return found
