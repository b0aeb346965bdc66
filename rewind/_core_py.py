"""Kernel in plain Python: the twin of ``_core.pyx``, with the same names, the same order and the same bits.

Only :mod:`rewind.kernel` imports either of them. What runs per step and per block is here, and nothing else.
"""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .blockseed import BlockSeed
from .errors import ArgumentError, MetricError, StepError, StepReturnError

__all__ = [
    "default_block_size",
    "block_integer",
    "BlockRng",
    "advance",
    "advance_observed",
    "fold",
    "rounds_twice",
]


# ---- blocks


def default_block_size(n_steps: int) -> int:
    """Return the smallest whole number whose square is at least `n_steps`.

    Parameters
    ----------
    n_steps : int
        Number of states of a run, of any size.

    Returns
    -------
    block_size : int
        ``ceil(sqrt(n_steps))``, by integer arithmetic.

    Examples
    --------
    >>> default_block_size(1_000_000), default_block_size(1_000_001)
    (1000, 1001)
    """
    root = math.isqrt(n_steps)
    return root + (root * root < n_steps)


# ---- seeding


def block_integer(seed: int, key: tuple[int, ...]) -> int:
    """Return the 128-bit integer at the address `key` below `seed`.

    Parameters
    ----------
    seed : int
        Non-negative, of any size.
    key : tuple of int
        Non-negative integers, of any size.

    Returns
    -------
    integer : int
        The little-endian integer of
        ``numpy.random.SeedSequence(entropy=seed, spawn_key=key).generate_state(4, numpy.uint32)``.

    Raises
    ------
    ValueError
        If `seed` or an integer of `key` is negative.

    Notes
    -----
    The mixing is that of [1]_, as in numpy.

    References
    ----------
    .. [1] M. E. O'Neill, "Developing a seed_seq Alternative", 2015,
       https://www.pcg-random.org/posts/developing-a-seed_seq-alternative.html
    """
    words = np.random.SeedSequence(entropy=operator.index(seed), spawn_key=key).generate_state(4, np.uint32)
    return int.from_bytes(words.astype("<u4").tobytes(), "little")


class BlockRng:
    """One rng, pointed in place to the first draw of any block.

    Parameters
    ----------
    seed : int
        Master seed, non-negative, of any size.
    backend : {"python", "numpy"}
        Whether `rng` is a ``random.Random`` or a ``numpy.random.Generator`` over ``PCG64``.

    Attributes
    ----------
    rng : random.Random or numpy.random.Generator
        The one object `start` returns, undefined before the first `start`.

    Raises
    ------
    ArgumentError
        If there is no such `backend`.
    ValueError
        If `seed` is negative.

    Notes
    -----
    Not to be shared between threads.

    Examples
    --------
    >>> import numpy as np
    >>> blocks = BlockRng(7, "numpy")
    >>> sequence = np.random.SeedSequence(entropy=7, spawn_key=(3,))
    >>> blocks.start(3).random() == np.random.Generator(np.random.PCG64(sequence)).random()
    True
    """

    rng: random.Random | np.random.Generator

    def __init__(self, seed: int, backend: str) -> None:
        self._seed = operator.index(seed)
        np.random.SeedSequence(self._seed)  # says no to a negative seed
        self._block_seed = BlockSeed(self._seed)
        if backend == "python":
            self.rng = random.Random(0)
        elif backend == "numpy":
            self.rng = np.random.Generator(np.random.PCG64(self._block_seed))
        else:
            raise ArgumentError("backend", backend, "'python' or 'numpy'")

    def start(self, j: int) -> random.Random | np.random.Generator:
        """Point `rng` to the first draw of block `j` and return it.

        Parameters
        ----------
        j : int
            Index of the block, ``0 <= j < 2**64``.

        Returns
        -------
        rng : random.Random or numpy.random.Generator
            Always the same object. Numbers it had buffered are dropped.
        """
        j = operator.index(j)
        if not 0 <= j < 1 << 64:
            raise OverflowError(f"block {j} is outside 0 to 2**64 - 1")
        if isinstance(self.rng, random.Random):
            self.rng.seed(block_integer(self._seed, (j,)))
        else:
            self._block_seed.point(j)
            self.rng.bit_generator.state = np.random.PCG64(self._block_seed.sequence).state
        return self.rng


# ---- replay loops


def advance(step_fn: Callable[[Any, Any], Any], state: Any, rng: Any, n: int, t: int, none_allowed: bool) -> Any:
    """Return the state `n` steps after `state`.

    Parameters
    ----------
    step_fn : callable
        Called as ``state = step_fn(state, rng)``.
    state : object
        The state at step `t`.
    rng : object
        Handed to every call.
    n, t : int
        Number of calls, and step of `state`.
    none_allowed : bool
        Whether None is a state.

    Returns
    -------
    state : object
        The state at step ``t + n``.

    Raises
    ------
    StepError
        From the exception of the call that failed, with the step of the state that call was given.
        What is not an ``Exception``, such as ``KeyboardInterrupt``, comes through untouched.
    StepReturnError
        If a call returned None and None is no state.
    """
    for i in range(n):
        try:
            state = step_fn(state, rng)
        except Exception as error:
            raise StepError(t + i, error) from error
        if state is None and not none_allowed:
            raise StepReturnError(t + i)
    return state


def advance_observed(
    step_fn: Callable[[Any, Any], Any],
    state: Any,
    rng: Any,
    n_states: int,
    n_steps: int,
    t: int,
    none_allowed: bool,
    names: Sequence[str],
    metrics: Sequence[Callable[[Any], Any] | None],
    buffers: Sequence[list[Any]],
) -> Any:
    """Return the state `n_steps` after `state`, having appended the metrics of `n_states` states to `buffers`.

    Parameters
    ----------
    step_fn, state, rng, t, none_allowed
        As for `advance`.
    n_states : int
        Number of states to observe, `state` the first of them.
    n_steps : int
        Number of calls of `step_fn`: `n_states`, or one less for a block no other follows.
    names, metrics : sequence
        Name and function of each metric. None for a function means the state itself.
    buffers : sequence of list
        Where the values of each metric go.

    Returns
    -------
    state : object
        The state at step ``t + n_steps``.

    Raises
    ------
    MetricError
        From the exception of the metric that failed.
    StepError, StepReturnError
        As from `advance`.
    """
    watched = list(zip(names, metrics, buffers, strict=True))
    for i in range(n_states):
        for name, metric, buffer in watched:
            try:
                buffer.append(state if metric is None else metric(state))
            except Exception as error:
                raise MetricError(name, t + i, f"raised {type(error).__name__}: {error}") from error
        if i < n_steps:
            state = advance(step_fn, state, rng, 1, t + i, none_allowed)
    return state


# ---- exact sums

_CHUNK = 1 << 20  # values a pass: an int64 sum of 2**20 numbers below 2**39 is far from full
_LIMB = 18  # bits: three limbs hold the 53 of a mantissa, and a product of two has 36


def fold(values: npt.NDArray[np.float64]) -> tuple[int, int, int, int, int, int, int, float, int, float, int]:
    """Return the exact sums and the extremes of `values`.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        In one piece (C-contiguous).

    Returns
    -------
    count : int
        ``n``, whatever the values.
    total : int
        Sum of the finite values, in units of ``2**-1074``.
    squares : int
        Sum of the squares of the finite values, in units of ``2**-2148``.
    nan_count, first_nan : int
        Number of NaNs and index of the first, -1 if there is none.
    pos_inf, neg_inf : int
        Number of infinities.
    min, argmin, max, argmax : float and int
        The extremes, infinities included and NaNs skipped, and where each is first met. NaN and -1 if there is none;
        0.0 and -0.0 are one value.

    Raises
    ------
    ValueError
        If `values` is not such an array.

    Notes
    -----
    Every double is an integer of at most 53 bits, the mantissa, times a power of two. The mantissas that share a power
    are added as integers, so nothing is rounded and no order matters. O(n).

    Examples
    --------
    >>> import numpy as np
    >>> count, total, squares, *_ = fold(np.array([1e16, 1.0, -1e16]))
    >>> total / (count << 1074) == 1 / 3
    True
    """
    x = values
    if x.dtype != np.float64 or x.ndim != 1 or not x.flags.c_contiguous:
        raise ValueError("fold needs a C-contiguous array of float64 in one dimension")
    total = squares = 0
    for start in range(0, len(x), _CHUNK):
        for exponent, mantissas, products in _by_exponent(x[start : start + _CHUNK]):
            total += mantissas << exponent
            squares += products << 2 * exponent

    nan = np.isnan(x)
    numbers = np.flatnonzero(~nan)
    low = high = float("nan")
    argmin = argmax = -1
    if len(numbers):
        argmin, argmax = int(numbers[x[numbers].argmin()]), int(numbers[x[numbers].argmax()])
        low, high = float(x[argmin]), float(x[argmax])
    nan_count = len(x) - len(numbers)
    first_nan = int(nan.argmax()) if nan_count else -1
    pos_inf, neg_inf = int(np.count_nonzero(x == np.inf)), int(np.count_nonzero(x == -np.inf))
    return len(x), total, squares, nan_count, first_nan, pos_inf, neg_inf, low, argmin, high, argmax


def _by_exponent(x: npt.NDArray[np.float64]) -> list[tuple[int, int, int]]:
    """Return (exponent above -1074, sum of signed mantissas, sum of their squares) for each exponent in `x`."""
    bits = x.view(np.uint64)
    exponent = ((bits >> np.uint64(52)) & np.uint64(0x7FF)).astype(np.int64)
    keep = (exponent != 0x7FF) & (x != 0.0)
    order = np.flatnonzero(keep)
    if not len(order):
        return []
    order = order[exponent[order].argsort(kind="stable")]
    bits, exponent = bits[order], exponent[order]
    mantissa = (bits & np.uint64((1 << 52) - 1)).astype(np.int64)
    mantissa[exponent > 0] += 1 << 52
    exponent = np.maximum(exponent, 1) - 1  # subnormals have the unit of the smallest normals
    sign = 1 - 2 * (bits >> np.uint64(63)).astype(np.int64)

    mask = (1 << _LIMB) - 1
    a, b, c = mantissa & mask, mantissa >> _LIMB & mask, mantissa >> 2 * _LIMB
    rows = np.stack([sign * a, sign * b, sign * c, a * a, 2 * a * b, 2 * a * c + b * b, 2 * b * c, c * c])
    starts = np.flatnonzero(np.diff(exponent, prepend=-1))
    sums = np.add.reduceat(rows, starts, axis=1).T.tolist()
    return [
        (
            int(e),
            sum(s << _LIMB * k for k, s in enumerate(row[:3])),
            sum(s << _LIMB * k for k, s in enumerate(row[3:])),
        )
        for e, row in zip(exponent[starts], sums, strict=True)
    ]


# ---- the build


def rounds_twice(a: float, b: float, c: float) -> bool:
    """Return whether ``a * b - c`` is zero with the product rounded before the difference is.

    Examples
    --------
    >>> a = 1 + 2**-27  # a * a has 55 bits; a fused multiply-add would leave 2**-54
    >>> rounds_twice(a, a, 1 + 2**-26)
    True
    """
    return a * b - c == 0.0
