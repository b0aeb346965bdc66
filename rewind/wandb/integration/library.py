"""Classes that are made of one of ours and one of a library."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from ...tracker import active
from ..wandb_run import Run


def class_of(own: type[Any], *bases: str) -> type[Any]:
    """Return a class that does what `own` says, as a class of a library.

    Parameters
    ----------
    own : type
    *bases : str
        ``MODULE:NAME`` of the library's class, in the order in which they are looked for.

    Raises
    ------
    ImportError
        If none of them is installed.
    """
    for i, base in enumerate(bases):
        module, _, name = base.partition(":")
        try:
            found = getattr(importlib.import_module(module), name)
        except ImportError:
            if i + 1 < len(bases):
                continue
            raise
        facts = {"__doc__": own.__doc__, "__module__": own.__module__}
        return type(own.__name__.lstrip("_"), (own, found), facts)
    raise ImportError("no base")


def find_class(module: str, wanted: str, classes: Mapping[str, tuple[type[Any], tuple[str, ...]]]) -> type[Any]:
    """Return a class of a module's `classes` by its name, for its ``__getattr__``."""
    if wanted not in classes:
        raise AttributeError(f"{module} has no {wanted!r}: docs/from-wandb.md lists what there is of W&B's names")
    own, bases = classes[wanted]
    return class_of(own, *bases)


def current_run(call: str) -> Run:
    """Return the run that is logged to.

    Raises
    ------
    NoRunError
        If there is none.
    """
    run: Any = active.latest(call)
    return run  # type: ignore[no-any-return]


def number_of(value: Any) -> Any:
    """Return a number for an array or a tensor that holds one; anything else as it is."""
    if hasattr(value, "item") and getattr(value, "size", 1) in (1, ()):
        try:
            return value.item()
        except (TypeError, ValueError):
            return value
    return value
