"""Recording a C step, called by pointer, takes what a C program takes that does nothing but loop over it.

The program: one C function with the step inlined in its loop, the same compiler and flags, numpy's random C library.
Beyond it, a recorded step pays for one call by pointer, and a block for its seed and its checkpoint.
"""

import ctypes

import numpy as np

import rewind

from .compiled import NoCompiler, bitgen, library, native_step
from .measure import Claim, Figure, against, per_step

_LOOP = "a C loop with the step inlined"

CLAIMS = (
    Claim("relax", "record: C step, a float, 1 normal (10 ns)", 1.10, _LOOP),
    Claim("walk", "record: C step, int walk (a few ns)", None, _LOOP),
    Claim("relax_block", "  a float, as a step that runs whole blocks", None, _LOOP),
    Claim("kick10", "record: C step, float64[10], 10 normals (100 ns)", 1.03, _LOOP),
    Claim("kick64", "record: C step, float64[64], 64 normals (700 ns)", 1.03, _LOOP),
)
#: Divides the number of steps.
_SHARE = {"relax": 1, "walk": 1, "kick10": 5, "kick64": 25}


def _sides(name, n, block_size):
    loop = getattr(library("steps"), f"{name}_loop")
    keep, rng = bitgen(1)
    if name.startswith("kick"):
        width = int(name[4:])
        x, make = np.zeros(width), lambda: np.zeros(width)
        place = ctypes.c_void_p(x.ctypes.data)
        loop.argtypes, loop.restype = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p], None
    else:
        number, place = (ctypes.c_double, 0.0) if name == "relax" else (ctypes.c_int64, 0)
        make = lambda: place  # noqa: E731
        x, loop.argtypes, loop.restype = None, [number, ctypes.c_int64, ctypes.c_void_p], number

    def record(step):
        return lambda: rewind.record(step, make(), n, 1, block_size=block_size, backend="numpy")

    def plain(_keep=(keep, x)):
        return loop(place, n, rng)

    sides = {"loop": plain, name: record(native_step(name))}
    return sides | {"relax_block": record(native_step("relax_block"))} if name == "relax" else sides


def sides(n, block_size=None):
    """Return the functions to be compared, for the step of 10 ns."""
    return _sides("relax", n, block_size)


def measure(options):
    """Return the figures by key."""
    figures = {}
    try:
        for name, share in _SHARE.items():
            n = max(options.fast_steps // share, 1)
            ratios = against(_sides(name, n, None), 2 * options.rounds + 1)
            figures |= per_step(ratios, n, [key for key in ratios if key != "loop"], "the C loop")
    except NoCompiler as error:
        return {claim.key: Figure(None, str(error)) for claim in CLAIMS}
    return figures
