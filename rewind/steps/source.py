"""Where a step function came from: hints for people, and the versions it ran with."""

from __future__ import annotations

import hashlib
import inspect
import os
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np

from .version import VERSION


def describe(step_fn: Callable[..., Any], step_id: str | None = None) -> dict[str, str]:
    """Return what is known of a step function: ``id`` (module:qualname), ``file``, ``source`` (blake2b of its text)."""
    function: Any = step_fn
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    function = inspect.unwrap(getattr(function, "py_func", function))  # numba keeps the Python function there
    named = function if hasattr(function, "__qualname__") else type(function)
    name = f"{named.__module__}:{named.__qualname__}"
    if hasattr(step_fn, "func"):  # its arguments are not part of the name: that must not pass for the function itself
        name = f"functools.partial({name})"
    hints = {"id": step_id or name}
    try:
        file = inspect.getsourcefile(named)
        text = textwrap.dedent(inspect.getsource(named))
    except (OSError, TypeError):  # a builtin, or typed at a prompt
        return hints
    if file is not None and os.path.exists(file):
        hints["file"] = os.path.basename(file)
    hints["source"] = hashlib.blake2b(text.rstrip().encode(), digest_size=16).hexdigest()
    return hints


def versions() -> dict[str, str]:
    """Return the versions a run depends on, as they are here."""
    import platform  # 2 ms, and only a recording needs it

    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "rewind": VERSION,
    }
