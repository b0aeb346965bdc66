"""The first difference of two states, which are equal where their digests are."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

import numpy as np

from ..errors import show
from .digest import Walk
from .frozen import frozen
from .reduction import Parts
from .tokens import array_objects, element_bytes, has_objects

__all__ = ["Difference", "first_difference"]


@frozen
class Difference:
    """The first field in which a state differs from the recorded one.

    ``f"state{path} is {got!r}, the recording has {expected!r}"`` reads as a sentence.

    Parameters
    ----------
    path : str
        What leads to the field: ``.agents[7].x``, ``['temp']``, ``[2, 5]``; empty at the root.
    expected, got : object
        The values there, or a description where values alone would not show the difference.
    """

    path: str
    expected: object
    got: object


class Description(str):
    """Words that stand for a value: their repr is they themselves."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def first_difference(a: object, b: object) -> Difference | None:
    """Return where state `b` first differs from the expected state `a`, or None if their digests are equal.

    Parameters
    ----------
    a, b : object
        The expected state and the one that was got.

    Returns
    -------
    difference : Difference or None
        The first in the order in which the state is written: fields, keys, indices (C order in arrays). In a state
        with cycles, the first of those with the fewest steps in their path. A set is compared as a whole.

    Raises
    ------
    StateError
        If one of them has no digest.

    Notes
    -----
    O(size of the states): subtrees with equal digests are not entered, and no pair of nodes is entered twice.

    Examples
    --------
    >>> first_difference({"x": [1.0, 2.0]}, {"x": [1.0, 2.5]})
    Difference(path="['x'][1]", expected=2.0, got=2.5)
    """
    walk = Walk()
    if walk.token(a) == walk.token(b):
        return None
    seen: set[tuple[int, int]] = set()
    held: list[Parts] = []  # what a reduction made must live as long as its id is in `seen`
    later: Difference | None = None
    # A path is a linked list until it is needed: a state nested n deep would take n**2 characters.
    ahead: deque[tuple[Any, Any, _Path]] = deque([(a, b, None)])
    while ahead:
        one, other, path = ahead.popleft()
        if walk.token(one) == walk.token(other) or (id(one), id(other)) in seen:
            continue
        seen.add((id(one), id(other)))
        if walk.leaf(one) is not None or walk.leaf(other) is not None:
            return _of_leaves(one, other, _text(path))
        ours, theirs = walk.parts(one), walk.parts(other)
        held += [ours, theirs]
        if ours.head != theirs.head or len(ours.children) != len(theirs.children):
            return _of_heads(walk, one, other, ours, theirs, _text(path))
        if not ours.ordered:
            certain, of_sets = _of_sets(walk, one, other, _text(path))
            if certain:
                return of_sets
            later = later or of_sets
            continue
        if type(one) is dict:
            found = _of_keys(walk, one, other, _text(path))
            if found is not None:
                return found
        pairs = [(x, y, (path, ours, i)) for i, (x, y) in enumerate(zip(ours.children, theirs.children, strict=True))]
        if walk.has_cycles:  # breadth first, not from agent to agent to agent
            ahead.extend(pairs)
        else:
            ahead.extendleft(reversed(pairs))
    return later or Difference("", Description("the same values"), Description("the same values in other cycles"))


_Path = Any  # None, or (path to the node, its parts, number of the child)


def _text(path: _Path) -> str:
    steps = []
    while path is not None:
        path, parts, i = path
        steps.append(parts.label(i))
    return "".join(reversed(steps))


def _article(words: str) -> Description:
    return Description(f"{'an' if words[0] in 'aeiou' else 'a'} {words}")


def _kind(value: object) -> str:
    cls = type(value)
    return cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _told_apart(a: object, b: object) -> tuple[object, object]:
    """Return two values, or descriptions of them if their reprs are the same."""
    if repr(a) != repr(b):
        return a, b
    if type(a) is not type(b):
        if _kind(a) != _kind(b):
            return Description(f"{show(a)} ({_kind(a)})"), Description(f"{show(b)} ({_kind(b)})")
    for kind in (float, complex, np.generic):
        if isinstance(a, kind) and isinstance(b, kind):
            bits = [element_bytes(np.asarray(x)).tobytes()[::-1].hex() for x in (a, b)]
            if bits[0] != bits[1]:
                return Description(f"{a!r} (bits 0x{bits[0]})"), Description(f"{b!r} (bits 0x{bits[1]})")
            dtypes = [np.asarray(x).dtype for x in (a, b)]
            return Description(f"{a!r} ({dtypes[0]!r})"), Description(f"{b!r} ({dtypes[1]!r})")
    return Description(f"one {show(a)}"), Description(f"another {show(b)}")


def _of_leaves(a: Any, b: Any, path: str) -> Difference:
    if type(a) is np.ndarray and type(b) is np.ndarray:
        return _of_arrays(a, b, path)
    if isinstance(a, np.void) and type(a) is type(b) and a.dtype == b.dtype and a.dtype.names:
        return _of_arrays(np.asarray(a), np.asarray(b), path)
    expected, got = (_summary(x) if _is_big(x) else x for x in (a, b))
    return Difference(path, *_told_apart(expected, got))


def _is_big(value: object) -> bool:
    return isinstance(value, (np.ndarray, list, tuple, dict, set, frozenset)) or len(_safe_repr(value)) > 200


def _safe_repr(value: object) -> str:
    if isinstance(value, (int, str, bytes, float, complex, np.generic, type(None))):
        return ""  # a leaf shows itself
    return show(value, 1000)


def _summary(value: Any) -> Description:
    if isinstance(value, np.ndarray):
        kind = "array" if type(value) is np.ndarray else _kind(value)
        return _article(f"{kind} of shape {value.shape}, {value.dtype}")
    if isinstance(value, (list, tuple, dict, set, frozenset)):
        return _article(f"{_kind(value)} of length {len(value)}")
    return _article(_kind(value))


def _of_arrays(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], path: str) -> Difference:
    if a.shape != b.shape:
        return Difference(
            path, Description(f"an array of shape {a.shape}"), Description(f"an array of shape {b.shape}")
        )
    first: tuple[int, str, Any, Any] | None = None
    if a.dtype == b.dtype:
        for (name, ours), (_, theirs) in zip(array_objects(a), array_objects(b), strict=True):
            if has_objects(ours.dtype):
                continue
            unequal = (element_bytes(ours) != element_bytes(theirs)).any(axis=1)
            if unequal.any():
                inner = ours.size // a.size  # elements of a subarray field
                at = int(unequal.argmax())
                if first is None or at // inner < first[0]:
                    index = [int(k) for k in np.unravel_index(at, ours.shape)]
                    place = f"{index[: a.ndim] or ''}{name}{index[a.ndim :] or ''}"
                    first = at // inner, place, ours.reshape(-1)[at], theirs.reshape(-1)[at]
    if first is None:
        one, other = str(a.dtype), str(b.dtype)
        if one == other:
            one, other = repr(a.dtype), repr(b.dtype)
        return Difference(path, Description(f"an array of {one}"), Description(f"an array of {other}"))
    return Difference(path + first[1], *_told_apart(first[2], first[3]))


def _of_heads(walk: Walk, a: Any, b: Any, ours: Parts, theirs: Parts, path: str) -> Difference:
    if type(a) is not type(b):
        expected, got = _article(_kind(a)), _article(_kind(b))
        if expected == got:
            expected, got = Description(f"{expected} of {type(a)!r}"), Description(f"{got} of another {type(b)!r}")
        return Difference(path, expected, got)
    if isinstance(a, np.ndarray):
        return _of_arrays(a, b, path)
    if type(a) is dict:
        found = _of_keys(walk, a, b, path)
        if found is not None:
            return found
    if type(a) in (list, tuple) and len(a) == len(b):
        # Lists of nothing but floats have them in their head.
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            if walk.token(one) != walk.token(other):
                if walk.leaf(one) is not None and walk.leaf(other) is not None:
                    return _of_leaves(one, other, f"{path}[{i}]")
                return Difference(f"{path}[{i}]", _shown(one), _shown(other))
    names, others = _labels(ours), _labels(theirs)
    for name in names:
        if name not in others:
            return Difference(path, Description(f"{_article(_kind(a))} with {name}"), Description("one without it"))
    for name in others:
        if name not in names:
            return Difference(path, Description(f"{_article(_kind(a))} without {name}"), Description("one with it"))
    if hasattr(a, "__len__") and len(a) != len(b):
        return Difference(path, _summary(a), _summary(b))
    if names != others:
        return Difference(path, *(Description(f"{_article(_kind(a))} with {', '.join(x)}") for x in (names, others)))
    return Difference(path, *_told_apart(Description(show(a)), Description(show(b))))


def _shown(value: object) -> object:
    return _summary(value) if _is_big(value) else value


def _labels(parts: Parts) -> list[str]:
    if type(parts.labels) is not tuple:
        return []
    return [label for label in parts.labels if label[:1] == "." and "(" not in label]


def _of_keys(walk: Walk, a: dict[Any, Any], b: dict[Any, Any], path: str) -> Difference | None:
    # Where there are cycles, the token of a node may differ for something far away; only leaves are sure.
    ours, theirs = ([walk.leaf(key) if walk.has_cycles else walk.token(key) for key in x] for x in (a, b))
    if ours == theirs:
        return None
    known, others = set(ours), set(theirs)
    for token, key in zip(ours, a, strict=True):
        if token not in others:
            expected, got = f"a dict with the key {show(key)}", f"a dict without the key {show(key)}"
            return Difference(path, Description(expected), Description(got))
    for token, key in zip(theirs, b, strict=True):
        if token not in known:
            expected, got = f"a dict without the key {show(key)}", f"a dict with the key {show(key)}"
            return Difference(path, Description(expected), Description(got))
    if len(a) != len(b):
        return Difference(path, _summary(a), _summary(b))
    at = next(i for i, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other)
    expected, got = (f"a dict whose key number {at} is {show(list(x)[at])}" for x in (a, b))
    return Difference(path, Description(expected), Description(got))


def _of_sets(walk: Walk, a: Any, b: Any, path: str) -> tuple[bool, Difference]:
    """Return the difference of two sets of one length, and whether it can be a difference's consequence."""
    ours, theirs = ([(walk.token(x), x) for x in s] for s in (a, b))
    counts, others = Counter(t for t, _ in ours), Counter(t for t, _ in theirs)
    missing = [x for t, x in sorted(ours, key=lambda pair: pair[0]) if counts[t] > others[t]]
    extra = [x for t, x in sorted(theirs, key=lambda pair: pair[0]) if others[t] > counts[t]]
    found = Difference(
        path,
        Description(f"{_article(_kind(a))} with {show(missing[0])}"),
        Description(f"{_article(_kind(b))} with {show(extra[0])}"),
    )
    # The tokens of all members of a cycle differ as soon as one does; then its field is the better answer.
    certain = not walk.has_cycles or any(walk.leaf(x) is not None for x in (*missing, *extra))
    return certain, found
