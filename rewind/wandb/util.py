"""Helpers that programs take from W&B's module of this name."""

from __future__ import annotations

import importlib
import re
from typing import Any

from ..tracker.asked import in_notebook as in_notebook
from ..tracker.moment import new_run_id


def generate_id(length: int = 8) -> str:
    """Return a random id for a run, of so many characters."""
    found = ""
    while len(found) < length:
        found += new_run_id()
    return found[:length]


def make_artifact_name_safe(name: str) -> str:
    """Return a name for an artifact: what is no letter, digit, ``.``, ``_`` or ``-`` becomes ``_``."""
    cleaned = re.sub(r"[^a-zA-Z0-9_\-.]", "_", name)
    return cleaned if len(cleaned) <= 128 else f"{cleaned[:63]}..{cleaned[-63:]}"


def get_module(name: str, required: str | bool | None = None, lazy: bool = True) -> Any:
    """Return a module by its name; None if it is not installed.

    Parameters
    ----------
    name : str
    required : str, optional
        What to say in the error, if it has to be there.
    lazy : bool
        Has no effect.

    Raises
    ------
    ImportError
        If it is not there and `required`.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if required:
            raise ImportError(required if isinstance(required, str) else f"{name} is not installed") from error
        return None


def to_forward_slash_path(path: str) -> str:
    """Return a path with ``/`` between its parts."""
    return path.replace("\\", "/")
