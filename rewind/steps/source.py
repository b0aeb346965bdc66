"""Where a step function came from: hints for people, and the versions it ran with."""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .code import Code, changes, parts_of
from .version import VERSION


def describe(step_fn: Callable[..., Any], step_id: str | None = None, code: Code | None = None) -> dict[str, str]:
    """Return what is known of a step function.

    ``id`` (module:qualname), ``file``, ``source`` (blake2b of its text); and where its code was read, ``code``, with
    ``hash_seed`` if it uses sets.
    """
    function: Any = step_fn
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    function = inspect.unwrap(getattr(function, "py_func", function))  # numba keeps the Python function there
    named = function if hasattr(function, "__qualname__") else type(function)
    name = f"{named.__module__}:{named.__qualname__}"
    if hasattr(step_fn, "func"):  # its arguments are not part of the name: that must not pass for the function itself
        name = f"functools.partial({name})"
    hints = {"id": step_id or name}
    if code is not None:
        hints["code"] = code.text
        if code.sets:
            hints["hash_seed"] = hash_seed()
    try:
        file = inspect.getsourcefile(named)
        text = textwrap.dedent(inspect.getsource(named))
    except (OSError, TypeError):  # a builtin, or typed at a prompt
        return hints
    if file is not None and os.path.exists(file):
        hints["file"] = os.path.basename(file)
    hints["source"] = hashlib.blake2b(text.rstrip().encode(), digest_size=16).hexdigest()
    return hints


def changed(recorded: Mapping[str, str], here: Mapping[str, str]) -> list[str] | None:
    """Return what is not as in the hints of a recording: parts by name, None where nothing differs.

    An empty list where only the text of the step function is known to differ: a file of an earlier version, or of
    another Python, whose bytecode says nothing here.
    """
    before, now = (parts_of(hints["code"]) if "code" in hints else None for hints in (recorded, here))
    if before is not None and now is not None:
        return changes(before, now) or None
    source = recorded.get("source")
    return [] if source is not None and here.get("source", source) != source else None


def versions() -> dict[str, str]:
    """Return the versions a run depends on, as they are here."""
    import platform  # 2 ms, and only a recording needs it

    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "rewind": VERSION,
    }


def hash_seed() -> str:
    """Return the seed of the hashes of text, and so of the order of sets of text; ``random`` where it is not given."""
    if not sys.flags.hash_randomization:
        return "0"
    given = os.environ.get("PYTHONHASHSEED", "random")
    return given if given.isdigit() and not sys.flags.ignore_environment else "random"
