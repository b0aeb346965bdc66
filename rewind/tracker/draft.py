"""What is gathered before it is logged as an artifact."""

from __future__ import annotations

from typing import Any


class Draft:
    """An object that `TrackedRun.log_artifact` takes for a path: it logs what it has gathered by itself."""

    def log_to(self, run: Any, aliases: Any) -> Any:
        """Log it to a run, by its ``log_artifact(path, ...)``, and return what stands for the version."""
        raise NotImplementedError
