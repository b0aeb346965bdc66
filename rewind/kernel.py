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
    from . import _core, _draws, _native, _sums
elif _wanted == "python":
    from . import _core_py as _core
    from . import _draws_py as _draws
    from . import _native_py as _native
    from . import _sums_py as _sums
else:
    try:
        _draws, _core, _native, _sums = (
            importlib.import_module(name, __package__) for name in ("._draws", "._core", "._native", "._sums")
        )
    except ImportError as error:
        if _wanted == "compiled":
            raise ImportError(
                f"REWIND_KERNEL=compiled, and the compiled kernel does not load ({error}). Install a C compiler and "
                "run `REWIND_BUILD=compiled pip install --force-reinstall --no-deps .` to see why it is not built, or "
                "unset REWIND_KERNEL to run on the Python kernel: the same results, slower"
            ) from error
        from . import _core_py as _core
        from . import _draws_py as _draws
        from . import _native_py as _native
        from . import _sums_py as _sums

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

MISSING = _core.MISSING
BlockRng = _core.BlockRng
FastGenerator = _draws.FastGenerator
FastRandom = _draws.FastRandom
Marks = _core.Marks
NativeLoop = _native.NativeLoop
Place = _core.Place
Tally = _sums.Tally
Turn = _core.Turn
Values = _core.Values
accelerated = _draws.accelerated
advance = _core.advance
advance_observed = _core.advance_observed
block_integer = _core.block_integer
comoments = _sums.comoments
copied_record = _core.copied_record
default_block_size = _core.default_block_size
fold = _sums.fold
merged_comoments = _sums.merged_comoments
rounded = _sums.rounded
rounds_twice = _core.rounds_twice

kernel_name: Final[str] = "python" if _core.__name__.endswith("_py") else "compiled"
