"""The classes of a run's config and summary, where programs written for W&B look for them."""

from __future__ import annotations

from ..tracker.config import Config as Config
from ..tracker.summary import Summary as Summary
