"""Generators for step functions: the twin of ``_draws.pyx``, with the same names and the same bits.

Here every method is the inherited one.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

__all__ = ["FastGenerator", "FastRandom", "accelerated"]


class FastGenerator(np.random.Generator):
    """A ``numpy.random.Generator`` that answers plain calls about ten times as fast, with the same bits.

    Parameters
    ----------
    bit_generator : numpy.random.BitGenerator
        As for ``numpy.random.Generator``.

    Notes
    -----
    A call with plain numbers and no `size`, and some with a plain `size` or `out`, is answered in C; every other call
    goes to the inherited method. :func:`accelerated` tells which methods are concerned: those that agreed with the
    running numpy, bit for bit, when this module was imported.

    Draws of one number hold the interpreter lock and not ``bit_generator.lock``: do not share one between threads that
    fill large arrays. A copy or a pickle is a ``numpy.random.Generator``, as numpy decides.

    Examples
    --------
    >>> import numpy as np
    >>> FastGenerator(np.random.PCG64(7)).normal(1.0, 2.0) == np.random.default_rng(7).normal(1.0, 2.0)
    True
    """

    __slots__ = ()


class FastRandom(random.Random):
    """A ``random.Random`` that answers plain calls two to ten times as fast, with the same bits.

    Parameters
    ----------
    x : None, int, float, str, bytes or bytearray
        Seed, as for ``random.Random``; without one, the operating system gives it.

    Notes
    -----
    A call with plain numbers is answered in C; every other call goes to the inherited method, as does every call once
    a subclass, or an attribute set on the object, may have overridden what these methods are made of.
    :func:`accelerated` tells which methods are concerned: those that agreed with the running Python, bit for bit, when
    this module was imported.

    A copy or a pickle is a ``random.Random``.

    Examples
    --------
    >>> import random
    >>> FastRandom(7).normalvariate(1.0, 2.0) == random.Random(7).normalvariate(1.0, 2.0)
    True
    """

    def __reduce__(self) -> tuple[Any, ...]:
        cls = type(self)
        return (random.Random if cls is FastRandom else cls), (), self.getstate()


def accelerated() -> dict[str, tuple[str, ...]]:
    """Return the names of the methods that are answered in C.

    Returns
    -------
    names : dict of str to tuple of str
        For ``"FastGenerator"`` and ``"FastRandom"``, in alphabetical order. A method is missing that gave another
        value, type or state than the running library when this module was imported.

    Examples
    --------
    >>> sorted(accelerated())
    ['FastGenerator', 'FastRandom']
    """
    return {"FastGenerator": (), "FastRandom": ()}
