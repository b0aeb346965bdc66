"""The class of the runs that a program logs to, where programs written for W&B look for it."""

from __future__ import annotations

from ..tracker.run import TrackedRun as Run

__all__ = ["Run"]
