"""`plain_loop`: the user's own loop on the documented streams, which copies nothing. The oracle of a recording."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from ..engine.blocks import default_block_size
from ..engine.rng import BACKENDS
from ..errors import ArgumentError, ArgumentTypeError
from ..steps.importing import ends_import
from ..steps.native import NativeStep
from ..steps.params import params_of
from ..steps.signature import step_function
from .arguments import block_size_of, n_steps_of, seed_of

S = TypeVar("S")


def plain_loop(
    step_fn: Callable[..., S],
    init_state: S,
    n_steps: int,
    seed: int,
    *,
    backend: str = "python",
    block_size: int | None = None,
    params: Mapping[str, Any] | None = None,
) -> Iterator[S]:
    """Yield the states of your own loop: no checkpoint, no copy, nothing of a recording but its random numbers.

    What it yields is what `record` must give: ``run.get(t)`` has the value of the `t`-th state, or the run is wrong.

    Parameters
    ----------
    step_fn : callable
        ``step_fn(state, rng, **params) -> state``: a Python function, or one that numba compiled.
    init_state
        State 0, which is not copied: a step that works in place changes it.
    n_steps, seed, backend, block_size, params
        As for `record`; `seed` is an integer. They say which stream of random numbers each step draws from.

    Yields
    ------
    state
        States 0 to ``n_steps - 1``, each the live object: the next step may change it.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If an argument has a value or a type that is not taken. What `step_fn` raises goes through.

    Notes
    -----
    The generators are numpy's and Python's own, made anew for each block as the documentation says; nothing of the
    engine is used.

    Examples
    --------
    >>> def walk(x, rng):
    ...     return x + rng.choice((-1, 1))
    >>> import rewind
    >>> run = rewind.record(walk, 0, 1000, seed=1)
    >>> all(run.get(t) == x for t, x in enumerate(plain_loop(walk, 0, 1000, seed=1)))
    True
    """
    ends_import("plain_loop")
    n, master = n_steps_of(n_steps), seed_of(seed)
    length = default_block_size(n) if block_size is None else block_size_of(block_size)
    if backend not in BACKENDS:
        raise ArgumentError("backend", backend, "'python' or 'numpy'")
    keywords = params_of(params)
    if isinstance(step_fn, NativeStep):
        raise ArgumentTypeError("step_fn", step_fn, "a callable", "Python cannot call a native step")
    step_function(getattr(step_fn, "py_func", step_fn), keywords)  # numba keeps the Python function there
    return _states(step_fn, init_state, n, length, keywords, lambda block: block_rng(master, block, backend))


def block_rng(seed: int, block: int, backend: str) -> Any:
    """Return the generator of a block, by the two documented lines."""
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(block,))
    if backend == "numpy":
        return np.random.Generator(np.random.PCG64(sequence))
    return random.Random(int.from_bytes(sequence.generate_state(4, np.uint32).astype("<u4").tobytes(), "little"))


def _states(
    step_fn: Callable[..., S], state: S, n: int, length: int, params: Mapping[str, Any], rng_of: Callable[[int], Any]
) -> Iterator[S]:
    rng: Any = None
    for t in range(n):
        yield state
        if t % length == 0:
            rng = rng_of(t // length)
        if t + 1 < n:  # as in a recording, the step from the last state is never called
            state = step_fn(state, rng, **params)
