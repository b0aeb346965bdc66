"""The calls of a program: `init`, `log`, `finish` and what else is about the latest run."""

from __future__ import annotations

from ..tracker.active import define_metric, finish, log
from ..tracker.init import init
from .data_types.convert import register

__all__ = ["define_metric", "finish", "init", "log"]

register()  # figures and DataFrames can be logged from here on
