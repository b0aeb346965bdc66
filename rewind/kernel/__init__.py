"""What runs per step and per block: the compiled kernel or its pure twin, the same bits. The only importer of either.

May import errors. ``REWIND_KERNEL`` is ``compiled`` (an ImportError where there is none), ``python``, or unset: what
was built, else Python. It is loaded when one of its names is first asked for.
"""

import importlib
import os
from typing import TYPE_CHECKING

from ..errors import ArgumentError

_COMPILED = ("._draws", ".._core", "._native", "._sums")
_PURE = (".draws", ".core", ".native", ".sums")

__all__ = [
    "MISSING",
    "BlockRng",
    "FastGenerator",
    "FastRandom",
    "NativeLoop",
    "Place",
    "Snapshots",
    "Tally",
    "Turn",
    "Values",
    "accelerated",
    "advance",
    "advance_observed",
    "block_integer",
    "comoments",
    "copied_record",
    "default_block_size",
    "fold",
    "kernel_name",
    "merged_comoments",
    "rounded",
    "rounds_twice",
]

if TYPE_CHECKING:
    from .._core import (
        MISSING,
        BlockRng,
        Place,
        Snapshots,
        Turn,
        Values,
        advance,
        advance_observed,
        block_integer,
        copied_record,
        default_block_size,
        rounds_twice,
    )
    from ._draws import FastGenerator, FastRandom, accelerated
    from ._native import NativeLoop
    from ._sums import Tally, comoments, fold, merged_comoments, rounded

    kernel_name: str
else:

    def __getattr__(name):
        # Not when this package is imported: ``import rewind._core`` does that on its way, with no name of its own yet.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        _load()
        return globals()[name]


def _load() -> None:
    """Bind every name to what one kernel calls so."""
    wanted = os.environ.get("REWIND_KERNEL", "")
    if wanted not in ("", "compiled", "python"):
        raise ArgumentError("REWIND_KERNEL", wanted, "'compiled', 'python' or nothing")
    names = _PURE if wanted == "python" else _COMPILED
    try:
        modules = [importlib.import_module(name, __name__) for name in names]
    except ImportError as error:
        if wanted == "compiled":
            raise ImportError(
                f"REWIND_KERNEL=compiled, and the compiled kernel does not load ({error}). Install a C compiler "
                "and run `REWIND_BUILD=compiled pip install --force-reinstall --no-deps .` to see why it is not "
                "built, or unset REWIND_KERNEL to run on the Python kernel: the same results, slower"
            ) from error
        names = _PURE
        modules = [importlib.import_module(name, __name__) for name in names]
    for module in modules:
        globals().update((name, getattr(module, name)) for name in module.__all__)
    globals()["kernel_name"] = "python" if names is _PURE else "compiled"
