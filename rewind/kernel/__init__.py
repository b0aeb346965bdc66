"""What runs per step and per block: the compiled kernel or its pure twin, the same bits. The only importer of either.

May import errors. ``REWIND_KERNEL`` is ``compiled`` (an ImportError where there is none), ``python``, or unset: what
was built, else Python.
"""

import importlib
import os
from typing import TYPE_CHECKING, Final

from ..errors import ArgumentError

_COMPILED = ("._draws", ".._core", "._native", "._sums")
_PURE = (".draws", ".core", ".native", ".sums")

_wanted = os.environ.get("REWIND_KERNEL", "")
if _wanted not in ("", "compiled", "python"):
    raise ArgumentError("REWIND_KERNEL", _wanted, "'compiled', 'python' or nothing")

__all__ = [
    "MISSING",
    "BlockRng",
    "FastGenerator",
    "FastRandom",
    "Marks",
    "NativeLoop",
    "Place",
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
        Marks,
        Place,
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

    _compiled = True
else:
    _compiled = _wanted != "python"
    if _compiled:
        try:
            _modules = [importlib.import_module(name, __name__) for name in _COMPILED]
        except ImportError as error:
            if _wanted == "compiled":
                raise ImportError(
                    f"REWIND_KERNEL=compiled, and the compiled kernel does not load ({error}). Install a C compiler "
                    "and run `REWIND_BUILD=compiled pip install --force-reinstall --no-deps .` to see why it is not "
                    "built, or unset REWIND_KERNEL to run on the Python kernel: the same results, slower"
                ) from error
            _compiled = False
    if not _compiled:
        _modules = [importlib.import_module(name, __name__) for name in _PURE]
    for _module in _modules:
        globals().update({name: getattr(_module, name) for name in _module.__all__})

kernel_name: Final[str] = "compiled" if _compiled else "python"
