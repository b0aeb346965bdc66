"""`monitor` of gym: there is nothing to follow a simulation's videos with, and it says so."""

from __future__ import annotations

import warnings

from ...errors import IgnoredWarning


def monitor() -> None:
    """Do nothing but warn: log ``Video(path)`` for what an environment has recorded."""
    warnings.warn(IgnoredWarning("gym.monitor", ["monitor_gym"]), stacklevel=2)
