"""Choose the compiled kernel or its pure-Python twin; no other module names either.

The environment variable ``REWIND_KERNEL`` is ``compiled`` (an ImportError where there is none), ``python``, or unset:
compiled where it was built, else Python. Both give the same bits.
"""

import importlib
import os
from typing import TYPE_CHECKING, Final

from .errors import ArgumentError

_wanted = os.environ.get("REWIND_KERNEL", "")
if _wanted not in ("", "compiled", "python"):
    raise ArgumentError("REWIND_KERNEL", _wanted, "'compiled', 'python' or nothing")

if TYPE_CHECKING:
    from . import _core
elif _wanted == "python":
    from . import _core_py as _core
else:
    try:
        _core = importlib.import_module("._core", __package__)
    except ImportError as error:
        if _wanted == "compiled":
            raise ImportError(
                f"REWIND_KERNEL=compiled, and the compiled kernel does not load ({error}). Install a C compiler and "
                "run `REWIND_BUILD=compiled pip install --force-reinstall --no-deps .` to see why it is not built, or "
                "unset REWIND_KERNEL to run on the Python kernel: the same results, slower"
            ) from error
        from . import _core_py as _core

__all__ = [
    "BlockRng",
    "advance",
    "advance_observed",
    "block_integer",
    "default_block_size",
    "fold",
    "kernel_name",
    "rounds_twice",
]

BlockRng = _core.BlockRng
advance = _core.advance
advance_observed = _core.advance_observed
block_integer = _core.block_integer
default_block_size = _core.default_block_size
fold = _core.fold
rounds_twice = _core.rounds_twice

kernel_name: Final[str] = "python" if _core.__name__.endswith("_py") else "compiled"
