"""What the code of a step says of random numbers that do not come from its rng."""

from __future__ import annotations

import dis
import functools
import inspect
import random
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

#: Functions that are looked at, at most.
MOST = 300

#: Modules of which most names draw, or make something that does.
_MODULES = ("random", "numpy.random", "jax.random", "jax._src.random", "torch.random", "secrets")

#: Names of theirs that are also used to look at a type.
_TYPES = frozenset({"Generator", "BitGenerator", "Random", "RandomState"})

#: Names of torch that draw, or seed what does.
_TORCH = frozenset("bernoulli manual_seed multinomial normal rand rand_like randint randn randn_like randperm".split())

#: Multipliers of generators that people write down: of minstd, the C standard, Numerical Recipes, drand48, Knuth's
#: MMIX and PCG, xorshift*, SplitMix64.
_MULTIPLIERS = frozenset(
    {16807, 48271, 69621, 1103515245, 1664525, 22695477, 214013, 25214903917, 6364136223846793005, 3935559000370003845}
    | {2685821657736338717, 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 2862933555777941757}
)


def own_randomness(step_fn: Callable[..., Any], state: Any) -> str | None:
    """Return what in the code of a step, or of what it calls, makes random numbers of its own; None if nothing does.

    What is passed as an argument, such as the rng of the run, is not seen here. What is found is kept.
    """
    if not isinstance(step_fn, types.FunctionType):
        return _found(step_fn, state)
    known = _KNOWN.setdefault(step_fn, {})
    if type(state) not in known:
        known[type(state)] = _found(step_fn, state)
    return known[type(state)]


_KNOWN: weakref.WeakKeyDictionary[types.FunctionType, dict[type, str | None]] = weakref.WeakKeyDictionary()


def _found(step_fn: Callable[..., Any], state: Any) -> str | None:
    try:
        for function in _functions(step_fn, state):
            found = _random_name(function)
            if found is not None:
                return f"{function.__qualname__} uses {found}"
    except Exception:  # an odd object among the user's: a word may be missing, and nothing else
        return None
    return None


def _functions(step_fn: Any, state: Any) -> Iterator[types.FunctionType]:
    """Yield the Python functions that a step may call, as far as names tell."""
    due: list[Any] = [step_fn]
    seen: set[int] = set()
    classes = [cls for cls in type(state).__mro__ if cls.__module__ not in ("builtins", "numpy")]
    while due and len(seen) < MOST:
        function = _plain(due.pop())
        if function is None or id(function) in seen:
            continue
        seen.add(id(function))
        yield function
        names = {name for code in _codes(function.__code__) for name in code.co_names}
        home = function.__module__.partition(".")[0] if function.__module__ else ""
        for name in names:
            thing = function.__globals__.get(name)
            if isinstance(thing, types.ModuleType):
                due += [getattr(thing, other, None) for other in names if thing.__name__.partition(".")[0] == home]
            elif thing is not None:
                due.append(thing)
            due += [cls.__dict__[name] for cls in classes if name in cls.__dict__]
        for cell in function.__closure__ or ():
            try:
                due.append(cell.cell_contents)
            except ValueError:  # not filled yet
                continue


def _plain(thing: Any) -> types.FunctionType | None:
    """Return the Python function of a callable of the user's, None if there is none."""
    for _ in range(20):
        if isinstance(thing, (staticmethod, classmethod, types.MethodType)):
            thing = thing.__func__
        elif isinstance(thing, functools.partial):
            thing = thing.func
        elif isinstance(thing, types.FunctionType):
            inner = getattr(thing, "__wrapped__", None)
            if inner is None:
                return None if str(thing.__module__).partition(".")[0] in ("numpy", "rewind", "builtins") else thing
            thing = inner
        elif hasattr(thing, "py_func"):
            thing = thing.py_func
        elif hasattr(thing, "__wrapped__"):
            thing = thing.__wrapped__
        elif not isinstance(thing, type) and inspect.isfunction(inspect.getattr_static(type(thing), "__call__", None)):
            thing = inspect.getattr_static(type(thing), "__call__")
        else:
            return None
    return None


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _random_name(function: types.FunctionType) -> str | None:
    """Return what in the code of one function makes random numbers, None if nothing does."""
    for code in _codes(function.__code__):
        if any(type(constant) is int and constant in _MULTIPLIERS for constant in code.co_consts):
            return "the multiplier of a known generator"
        looks_at_types = "isinstance" in code.co_names
        for name, thing in _named(function, code):
            if _is_random(name, thing) and not (looks_at_types and name.rpartition(".")[2] in _TYPES):
                return name
    return None


def _named(function: types.FunctionType, code: types.CodeType) -> Iterator[tuple[str, Any]]:
    """Yield what code refers to by a chain of names, such as ``np.random.normal``: the chain, and what it is."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
    name, thing = "", None
    for instruction in dis.get_instructions(code):
        kind, text = instruction.opname, str(instruction.argval)
        if kind in ("LOAD_ATTR", "LOAD_METHOD") and isinstance(thing, types.ModuleType):
            name, thing = f"{name}.{text}", vars(thing).get(text)
        elif kind in ("LOAD_GLOBAL", "LOAD_NAME"):
            name, thing = text, function.__globals__.get(text)
        elif kind in ("LOAD_DEREF", "LOAD_CLASSDEREF") and text in cells:
            try:
                name, thing = text, cells[text].cell_contents
            except ValueError:  # not filled yet
                thing = None
        elif kind == "IMPORT_NAME" and text in _MODULES:
            yield text, sys.modules.get(text)
            continue
        else:
            thing = None
            continue
        if thing is not None and not isinstance(thing, types.ModuleType):
            yield name, thing


def _is_random(name: str, thing: Any) -> bool:
    """Return whether what code refers to is a generator, or something of a module that draws."""
    if isinstance(thing, (np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random)):
        return True
    if isinstance(thing, types.ModuleType):  # imported in the function
        return True
    if isinstance(getattr(thing, "__self__", None), (random.Random, np.random.RandomState)):
        return True
    home = getattr(thing, "__module__", None)
    if not isinstance(home, str) or not callable(thing):
        return False
    if home.partition(".")[0] == "torch" or name.startswith("torch."):
        return name.rpartition(".")[2] in _TORCH
    return home in _MODULES or home.startswith(("numpy.random.", "jax.random."))
