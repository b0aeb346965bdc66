"""Random generators that are part of a state: where they are, and how to tell whether one has drawn."""

from __future__ import annotations

import random
import re
import types
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .copies import IMMUTABLE
from .digest import digest

#: Parts of a state that are looked at, at most.
MOST = 2_000


class OwnGenerator(NamedTuple):
    """A generator in a state, or what looks like the state of one.

    Attributes
    ----------
    path, kind : str
        Where it is, and what.
    is_sure : bool
        False for numbers that only go by a name such as ``key`` or ``seed``.
    position : bytes or None
        A digest of where it stands, None where that is not known.
    """

    path: str
    kind: str
    is_sure: bool
    position: bytes | None


def own_generators(state: Any) -> list[OwnGenerator]:
    """Return the generators in a state: those of numpy, random, torch and jax, their saved states, and keys.

    O(parts of the state), up to `MOST` of them, the outer ones first.
    """
    found = []
    try:
        for part, name, place in _parts(state):
            kind, read = _kind_of(part)
            sure = kind is not None
            if kind is None and _looks_like_a_key(name, part):
                kind, read = "a key", partial(_same, part)
            if kind is not None:
                found.append(OwnGenerator(_path(place), kind, sure, _position(read)))
    except Exception:  # an odd object of the user's: a word may be missing, and nothing else
        pass
    return found


def _same(part: Any) -> Any:
    return part


def _position(read: Callable[[], Any]) -> bytes | None:
    try:
        return digest(read())
    except Exception:  # a library of the user's, of which nothing is known
        return None


def _kind_of(part: Any) -> tuple[str | None, Callable[[], Any]]:
    """Return what kind of generator this is, None if it is none; and what gives where it stands."""
    if isinstance(part, np.random.Generator):
        return "a numpy.random.Generator", lambda: part.bit_generator.state
    if isinstance(part, np.random.RandomState):
        return "a numpy.random.RandomState", lambda: part.get_state(legacy=False)
    if isinstance(part, np.random.BitGenerator):
        return f"a numpy.random.{type(part).__name__}", lambda: part.state
    if isinstance(part, random.Random) and not isinstance(part, random.SystemRandom):
        return "a random.Random", part.getstate
    kind = type(part)
    if kind.__name__ == "Generator" and kind.__module__.partition(".")[0] == "torch":
        return "a torch.Generator", lambda: np.asarray(part.get_state())
    if kind.__module__.partition(".")[0] in ("jax", "jaxlib") and str(getattr(part, "dtype", "")).startswith("key<"):
        return "a jax key", lambda: repr(part)
    if kind is tuple and len(part) == 3 and part[0] == 3 and type(part[1]) is tuple and len(part[1]) == 625:
        return "a state of random.Random", lambda: part
    if kind is dict and isinstance(part.get("bit_generator"), str) and "state" in part:
        return "a state of a numpy generator", lambda: part
    return None, lambda: None


_WORDS = frozenset("rng prng seed key keys lcg random generator".split())


def _looks_like_a_key(name: str, part: Any) -> bool:
    """Return whether an integer goes by the name of a key or a seed; or whether this has the form of a key of jax."""
    if isinstance(part, (bool, np.bool_)):
        return False
    if isinstance(part, (int, np.integer)):
        return bool(_WORDS.intersection(re.split("[^a-z]+", name.lower())))
    if not isinstance(part, np.ndarray) and type(part).__module__.partition(".")[0] not in ("jax", "jaxlib"):
        return False
    dtype, shape = getattr(part, "dtype", None), getattr(part, "shape", ())
    if getattr(dtype, "kind", "-") not in "iu" or not shape:
        return False
    if dtype == np.uint32 and shape[-1] in (2, 4):
        return True
    return bool(_WORDS.intersection(re.split("[^a-z]+", name.lower())))


_Place = Any  # the place of what holds a part, and the form and the name or index of the part there; None at the top


def _path(place: _Place) -> str:
    steps = []
    while place is not None:
        place, form, key = place
        steps.append(form.format(key))
    return "".join(reversed(steps))


def _parts(state: Any) -> Iterator[tuple[Any, str, _Place]]:
    """Yield the parts of a state, the state first: the part, the last name on its path, and its place."""
    seen: set[int] = set()
    due: deque[tuple[Any, str, _Place]] = deque([(state, "", None)])
    left = MOST
    while due and left > 0:
        part, name, place = due.popleft()
        left -= 1
        if type(part) is not int:
            if id(part) in seen:
                continue
            seen.add(id(part))
        yield part, name, place
        if _kind_of(part)[0] is None:
            for form, key, inner in _inside(part):
                word = key if type(key) is str else name
                if type(inner) not in IMMUTABLE or (type(inner) is int and word):
                    due.append((inner, word, (place, form, key)))
                    if len(due) > left:
                        break


def _inside(part: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield what an object holds, each with its name or index and how that is written; no code of its class runs."""
    kind = type(part)
    if kind in _LEAVES or isinstance(part, (np.generic, type)):
        return
    if isinstance(part, np.ndarray):
        if part.dtype.hasobject:
            yield from (("[{}]", i, one) for i, one in enumerate(part.flat))
        return
    if isinstance(part, dict):
        yield from (("[{!r}]", key, one) for key, one in list(part.items()))
    elif isinstance(part, (list, tuple, deque, set, frozenset)):
        names = getattr(kind, "_fields", None)
        if names and isinstance(part, tuple):
            yield from ((".{}", name, one) for name, one in zip(names, part, strict=False))
        else:
            yield from (("[{}]", i, one) for i, one in enumerate(list(part)) if type(one) not in IMMUTABLE or i < 9)
    elif kind is types.MethodType:
        yield ".{}", "__self__", part.__self__
        return
    elif kind is types.BuiltinMethodType:
        if not isinstance(part.__self__, types.ModuleType):
            yield ".{}", "__self__", part.__self__
        return
    elif isinstance(part, partial):
        yield from ((".args[{}]", i, one) for i, one in enumerate(part.args))
        yield from ((".keywords[{!r}]", key, one) for key, one in part.keywords.items())
        return
    try:
        attributes = object.__getattribute__(part, "__dict__")
    except AttributeError:
        attributes = None
    if type(attributes) is dict:
        yield from ((".{}", name, one) for name, one in list(attributes.items()))
    for cls in kind.__mro__[:-1]:
        slots = cls.__dict__.get("__slots__", ())
        for slot in [slots] if isinstance(slots, str) else list(slots):
            member = cls.__dict__.get(slot)
            if isinstance(member, types.MemberDescriptorType):
                try:
                    yield ".{}", slot, member.__get__(part)
                except AttributeError:
                    continue


_LEAVES = frozenset({*IMMUTABLE, types.ModuleType, types.FunctionType, range, slice, bytearray})
