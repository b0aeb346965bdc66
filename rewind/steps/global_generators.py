"""Generators that belong to a whole process: which of them a call drew from."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np

R = TypeVar("R")

#: Where a generator stands, and how it is put there.
Access = tuple[Callable[[], Any], Callable[[Any], None]]


def generators() -> dict[str, Access]:
    """Return how to read and set each of them, by what it is called; those of libraries that are imported already."""
    found: dict[str, Access] = {
        "random's global generator": (random.getstate, random.setstate),
        "numpy.random's global generator": (np.random.get_state, np.random.set_state),
    }
    numba = sys.modules.get("numba._helperlib")
    for kind in ("np", "py"):
        with suppress(AttributeError):
            place = getattr(numba, f"rnd_get_{kind}_state_ptr")()
            access = _of_numba(numba, place)
            library = "numpy.random" if kind == "np" else "random"
            found[f"numba's own {library} generator (of compiled code, which {library}.seed does not reach)"] = access
    torch = sys.modules.get("torch")
    with suppress(AttributeError):
        found["torch's global generator"] = torch.get_rng_state, torch.set_rng_state  # type: ignore[union-attr]
    return found


def _of_numba(numba: Any, place: int) -> Access:
    return lambda: numba.rnd_get_state(place), lambda state: numba.rnd_set_state(place, state)


class Standing:
    """Where the global generators stand."""

    def __init__(self) -> None:
        self._access = generators()
        self._at = {name: get() for name, (get, _) in self._access.items()}

    def since(self, before: Standing) -> tuple[str, ...]:
        """Return the names of those that stood elsewhere before."""
        return tuple(name for name, at in self._at.items() if name in before._at and _differ(at, before._at[name]))

    def put_back(self) -> None:
        """Put them where they stood here, if they do not."""
        for name in Standing().since(self):
            self._access[name][1](self._at[name])


def _differ(one: Any, other: Any) -> bool:
    try:
        return bool(one != other)
    except Exception:  # there are arrays in it
        return bool(_plain(one) != _plain(other))


def _plain(state: Any) -> Any:
    """Return where a generator stands as something that can be compared."""
    if isinstance(state, (tuple, list)):
        return tuple(map(_plain, state))
    return bytes(np.asarray(state)) if hasattr(state, "__array__") else state


def drawn_from(call: Callable[[], R], again: Callable[[], object] | None = None) -> tuple[R, tuple[str, ...]]:
    """Return what `call` does, and the names of the global generators it drew from.

    One that ends where it does however it began was seeded by the call, which is not drawing from it: `again`, by
    default `call`, is called once more for that, with the generators that moved begun elsewhere.
    """
    access = generators()
    before = {name: _plain(get()) for name, (get, _) in access.items()}
    result = call()
    after = {name: get() for name, (get, _) in access.items()}
    moved = [name for name, state in after.items() if _plain(state) != before[name]]
    if not moved:
        return result, ()
    try:
        for name in moved:  # where the call left it is not where it began
            access[name][1](after[name])
        (call if again is None else again)()
        ends = {name: _plain(access[name][0]()) for name in moved}
    except Exception:
        ends = {}
    finally:
        for name in moved:
            access[name][1](after[name])
    return result, tuple(name for name in moved if ends.get(name) != _plain(after[name]))
