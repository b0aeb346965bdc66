"""Exact sums, for mean and variance that are rounded once, take half the time of Welford's method in C.

`rewind.kernel.fold` is given blocks of 1,000 values, as a recording gives them; Welford's loop has all values in one
call, and keeps no minimum, maximum or NaN count. Then the same for what a recording keeps of each block.
"""

import ctypes

import numpy as np

from rewind import kernel

from .compiled import NoCompiler, library
from .measure import Claim, Figure, against, duration

_WELFORD = "Welford in C, all values in one call"

CLAIMS = (
    Claim("fold", "exact mean and variance, blocks of 1,000", 0.5, _WELFORD),
    Claim("numpy", "  numpy's x.mean() and x.var(ddof=1), neither exact", None, _WELFORD),
)
BLOCK = 1000


def sides(n, block_size=BLOCK):
    """Return the functions to be compared."""
    values = np.random.default_rng(1).standard_normal(n)
    blocks = [values[i : i + BLOCK] for i in range(0, n, BLOCK)]
    result = np.zeros(2)
    welford = library("welford").welford
    welford.argtypes, welford.restype = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p], None
    places = values.ctypes.data, n, result.ctypes.data

    def fold():
        fold_block = kernel.fold
        for block in blocks:
            fold_block(block)

    def own():
        for block in blocks:
            block.mean(), block.var(ddof=1)

    return {"welford": lambda: welford(*places), "fold": fold, "numpy": own}


def measure(options):
    """Return the figures by key."""
    n = options.steps
    try:
        ratios = against(sides(n), 3 * options.rounds)
    except NoCompiler as error:
        return {claim.key: Figure(None, str(error)) for claim in CLAIMS}
    welford = duration(ratios["welford"].seconds / n)
    return {
        key: Figure(ratios[key].ratio, f"{duration(ratios[key].seconds / n)} a value, Welford {welford}")
        for key in ("fold", "numpy")
    }
