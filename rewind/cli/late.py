"""What is imported when it is used: numpy takes longer to import than ``rewind --help`` takes in all."""

from __future__ import annotations

import importlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def late(name: str) -> Any:
    """Return what ``MODULE:NAME`` names, with MODULE as an import in this package writes it: ``.files:info``.

    The one place of the command line that imports inside a function.
    """
    module, _, thing = name.partition(":")
    return getattr(importlib.import_module(module, __package__), thing)
