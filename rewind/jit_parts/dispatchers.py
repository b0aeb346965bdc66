"""Which functions numba has made: asked of every step function, so this module imports nothing that takes time."""

from __future__ import annotations

import sys
from typing import Any


def is_numba(function: Any) -> bool:
    """Whether `function` was made by ``numba.njit``. Imports nothing."""
    if not type(function).__module__.startswith("numba.") or not hasattr(function, "py_func"):
        return False
    dispatcher = sys.modules.get("numba.core.dispatcher")
    if dispatcher is None or not isinstance(function, dispatcher.Dispatcher):
        return False
    return not function.targetoptions.get("forceobj", False)
