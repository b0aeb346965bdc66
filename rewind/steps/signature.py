"""Signatures of step functions, and whether numba compiled one; imports nothing that takes time."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ArgumentTypeError


def is_numba(function: Any) -> bool:
    """Whether `function` was made by ``numba.njit``. Imports nothing."""
    if not type(function).__module__.startswith("numba.") or not hasattr(function, "py_func"):
        return False
    dispatcher = sys.modules.get("numba.core.dispatcher")
    if dispatcher is None or not isinstance(function, dispatcher.Dispatcher):
        return False
    return not function.targetoptions.get("forceobj", False)


def parameter_names(step_fn: Any) -> list[str] | None:
    """Return the names of a step function's parameters besides state and rng; None where it takes any, or says none."""
    try:
        signature = inspect.signature(getattr(step_fn, "py_func", step_fn))  # numba keeps the Python function there
    except (ValueError, TypeError):
        return None
    parameters = list(signature.parameters.values())
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    first_two = [parameter for parameter in parameters if parameter.kind in places][:2]
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [parameter.name for parameter in parameters if parameter.kind in kinds and parameter not in first_two]


def params_taken(step_fn: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return those parameters that a step function takes; all, where it does not say."""
    names = parameter_names(step_fn)
    return {name: value for name, value in params.items() if names is None or name in names}


def step_function(step_fn: Any, params: Mapping[str, Any]) -> Callable[..., Any]:
    """Return `step_fn` if it can be called as ``step_fn(state, rng, **params)``.

    Raises
    ------
    ArgumentTypeError
        If it cannot.
    """
    call = ", ".join(["state", "rng", *(f"{name}={value!r}" for name, value in params.items())])
    if not callable(step_fn):
        raise ArgumentTypeError("step_fn", step_fn, f"a callable: step_fn({call}) -> state")
    _require_function(step_fn, call)
    try:
        signature = inspect.signature(step_fn)
    except (ValueError, TypeError):  # some builtins have none; the first call will tell
        return step_fn  # type: ignore[no-any-return]
    try:
        signature.bind(None, None, **params)
    except TypeError:
        advice, names = f"Its signature is {signature}", parameter_names(step_fn)
        unknown = [name for name in params if names is not None and name not in names]
        if unknown:
            has = f"the parameters {', '.join(names or ())}" if names else "no parameters besides state and rng"
            advice += f". {' and '.join(unknown)} is none of its parameters: it has {has}"
        raise ArgumentTypeError("step_fn", step_fn, f"a callable that takes ({call})", advice) from None
    return step_fn  # type: ignore[no-any-return]


def _require_function(step_fn: Any, call: str) -> None:
    """Refuse what gives a coroutine or a generator when it is called: nothing of it would run."""
    called: Any = step_fn
    while hasattr(called, "func"):  # functools.partial
        called = called.func
    if not inspect.isroutine(called) and not isinstance(called, type):
        called = vars(type(called)).get("__call__", called)
    advice = "A step is one call that returns the next state"
    if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
        raise ArgumentTypeError(
            "step_fn",
            step_fn,
            f"a function, not an async one: step_fn({call}) -> state",
            f"{advice}; await nothing in it",
        )
    if inspect.isgeneratorfunction(called):
        raise ArgumentTypeError(
            "step_fn",
            step_fn,
            f"a function, not a generator: step_fn({call}) -> state",
            f"{advice}: return it instead of yielding, and keep what the generator does in the state",
        )
