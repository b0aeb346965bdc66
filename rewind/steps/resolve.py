"""Which kind of step function a user gave: Python, numba or native."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ArgumentError
from .native import CompiledStep, NativeStep
from .signature import is_numba, step_function
from .step import Step


def step_of(step_fn: Any, params: Mapping[str, Any], backend: str) -> Step:
    """Return `step_fn` with its parameters, as what it is.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        If it cannot be called as ``step_fn(state, rng, **params)``, or cannot draw from such an rng.
    """
    if isinstance(step_fn, NativeStep):
        kind, make = "native", CompiledStep
    elif is_numba(step_fn):
        from .jit.step import NumbaStep  # heavy, and only where numba is there already

        kind, make = "numba", NumbaStep  # type: ignore[assignment]
        step_function(step_fn.py_func, params)
    else:
        return Step(step_function(step_fn, params), params)
    if backend != "numpy":
        advice = f"A {kind} step draws from numpy's bit generator"
        raise ArgumentError("backend", backend, "'numpy' for this step_fn", advice)
    return make(step_fn, params)
