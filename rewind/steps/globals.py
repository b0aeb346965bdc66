"""What a step function reaches besides its arguments: globals, closures and its own object, by name."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import Any

#: Functions that are followed from one step function.
MOST = 200


def reached(function: Any) -> Iterator[tuple[str, Any]]:
    """Yield ``module.NAME`` and the value of what a step and the functions of its module that it calls can change.

    Modules, functions and classes are left out; so is what is found by other means than a name in the code.
    """
    ahead: list[Any] = [function]
    seen: set[Any] = set()
    while ahead and len(seen) < MOST:
        one = ahead.pop()
        while isinstance(one, functools.partial):
            yield from ((f"the argument {name} of functools.partial", value) for name, value in one.keywords.items())
            yield from (("an argument of functools.partial", value) for value in one.args)
            one = one.func
        if isinstance(one, types.MethodType):
            yield f"the object whose method {one.__func__.__name__} is", one.__self__
            one = one.__func__
        one = getattr(one, "py_func", one)  # numba keeps the Python function there
        if not isinstance(one, types.FunctionType):
            call = vars(type(one)).get("__call__")
            if not isinstance(call, types.FunctionType):
                continue
            yield "the callable object that is the step", one
            one = call
        if one in seen:
            continue
        seen.add(one)
        for name, value in _names(one):
            if isinstance(value, (types.FunctionType, types.MethodType, functools.partial)):
                if getattr(value, "__module__", None) == one.__module__:
                    ahead.append(value)
            elif not isinstance(value, (types.ModuleType, types.BuiltinFunctionType, type)):
                yield name, value


def _names(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    cells = function.__closure__ or ()
    for name, cell in zip(function.__code__.co_freevars, cells, strict=False):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not filled yet
            pass
    for name in _global_names(function.__code__):
        if name in function.__globals__:
            yield f"{function.__module__}.{name}", function.__globals__[name]
            module = function.__globals__[name]
            if isinstance(module, types.ModuleType):
                inside = vars(module)
                yield from ((f"{module.__name__}.{x}", inside[x]) for x in function.__code__.co_names if x in inside)


def _global_names(code: types.CodeType) -> list[str]:
    names = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):  # a comprehension, or a function inside
            names += _global_names(constant)
    return names
