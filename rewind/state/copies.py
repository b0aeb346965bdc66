"""Copies of a state: private ones for the user, exact ones inside a block, pickles."""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np

from ..errors import StateError
from ..kernel import copied_record
from .classes import class_fields, class_kind, contents, only_fields
from .columns import Array
from .digest import digest


def size_of(value: Any) -> int:
    """Return about how many bytes a copy of `value` takes."""
    inside = None if type(value) in IMMUTABLE else contents(value)
    own = sys.getsizeof(value) + 100 * (type(value) not in IMMUTABLE)
    return own if inside is None else own + sum(map(size_of, inside[2]))


class _Unsure(Exception):
    """The error for a state of which a copy may lose something."""


def inner_copy(state: Any) -> Any:
    """Return a copy of a state inside a block that loses nothing, None if that is not sure."""
    try:
        return _inner(state, set())
    except (_Unsure, RecursionError):
        return None


def _inner(value: Any, seen: set[int]) -> Any:
    kind = type(value)
    if kind in IMMUTABLE or (issubclass(kind, (np.number, np.bool_)) and kind.__module__ == "numpy"):
        return value
    if id(value) in seen:
        raise _Unsure
    seen.add(id(value))
    if kind is np.ndarray:
        if value.base is not None or value.dtype.hasobject or not value.flags.writeable or not value.flags.forc:
            raise _Unsure
        return value.copy(order="K")
    if kind is list:
        return [_inner(item, seen) for item in value]
    if kind is tuple:
        return tuple([_inner(item, seen) for item in value])
    if kind is dict and all(type(key) is str for key in value):
        return {key: _inner(item, seen) for key, item in value.items()}
    if record_kind(kind) == "dataclass":
        copy = copied_record(value, class_fields(kind))
        if copy is not None:
            return copy
    raise _Unsure


#: Types whose values may be shared.
IMMUTABLE = frozenset({bool, int, float, complex, str, bytes, type(None)})


class _Opaque(Exception):
    """The error for a value that only pickle knows how to copy."""


def private_copy(state: Any) -> Any:
    """Return a copy that shares no mutable part with `state`; equal parts that were one object stay one object.

    Raises
    ------
    StateError
        If the state holds something that cannot be copied.
    """
    kind = type(state)
    if kind in IMMUTABLE:
        return state
    fields = dataclass_fields(kind)
    if fields is not None:
        copy = copied_record(state, fields)
        if copy is not None:
            return copy
    try:
        return _copy(state, {})
    except (_Opaque, RecursionError):
        return from_pickle(to_pickle(state))


def _copy(value: Any, memo: dict[int, Any]) -> Any:
    kind = type(value)
    if kind in IMMUTABLE:
        return value
    if id(value) in memo:
        return memo[id(value)]
    new: Any
    if kind is np.ndarray:
        if value.dtype.hasobject:
            raise _Opaque
        new = value.copy(order="K")
    elif kind is dict:
        new = memo[id(value)] = {}
        for key, item in value.items():
            if type(key) not in IMMUTABLE:
                raise _Opaque
            new[key] = _copy(item, memo)
    elif kind is list:
        new = memo[id(value)] = []
        new.extend([_copy(item, memo) for item in value])
    elif kind is tuple:
        return tuple([_copy(item, memo) for item in value])
    elif isinstance(value, np.generic):
        new = value.copy()
    else:
        new = _copy_record(value, kind, memo)
    memo[id(value)] = new
    return new


def _record_kind(kind: type) -> str | None:
    for name in class_fields(kind) if class_kind(kind) == "dataclass" else ():
        for base in kind.__mro__:
            found = vars(base).get(name)
            if hasattr(type(found), "__set__") and type(found) is not types.MemberDescriptorType:
                return None  # a property over a field: setting it may do anything
    return class_kind(kind)


#: What `class_kind` says, but None where fields cannot be copied one by one. Remembered.
record_kind: Callable[[type], str | None] = lru_cache(256)(_record_kind)


def _dataclass_fields(kind: type) -> tuple[str, ...] | None:
    return class_fields(kind) if record_kind(kind) == "dataclass" else None


#: The fields of a class whose instances are no more than them, None of any other class.
dataclass_fields: Callable[[type], tuple[str, ...] | None] = lru_cache(256)(_dataclass_fields)


def _copy_record(value: Any, kind: type, memo: dict[int, Any]) -> Any:
    record = record_kind(kind)
    if record == "namedtuple":
        return tuple.__new__(kind, [_copy(item, memo) for item in value])
    fields = class_fields(kind) if record else ()
    if record is None or not only_fields(value, fields):
        raise _Opaque
    new: Any = object.__new__(kind)
    memo[id(value)] = new
    for name in fields:
        object.__setattr__(new, name, _copy(getattr(value, name), memo))
    return new


def to_pickle(state: Any) -> bytes:
    """Return the pickle of `state`.

    Raises
    ------
    StateError
        If it has none; names the attribute that is to blame.
    """
    try:
        return pickle.dumps(state, protocol=5)
    except Exception as error:
        digest(state)  # raises StateError with the path of what cannot be reduced
        raise StateError("", f"something that cannot be pickled ({type(error).__name__}: {error})") from error


def from_pickle(data: bytes) -> Any:
    """Return the state in a pickle.

    Raises
    ------
    StateError
        If its classes are unavailable here.
    """
    try:
        return pickle.loads(data)
    except Exception as error:
        raise StateError(
            "",
            f"a checkpoint that cannot be unpickled here ({type(error).__name__}: {error})",
            _cure_of(error),
        ) from error


def _cure_of(error: Exception) -> str:
    """Return what to do where a pickle cannot be read: its classes are missing, or fail themselves."""
    if isinstance(error, ImportError) or (isinstance(error, AttributeError) and "Can't get attribute" in str(error)):
        return "make the classes of the state importable, as they were in the recording program"
    return (
        "the unpickling of a class of the state failed by itself, as copy.deepcopy of it would. Mend its __reduce__, "
        "__setstate__ or __init__, or pass codec=(encode, decode), where encode makes a tree of arrays and plain values"
    )


def shared_memory(state: Any) -> tuple[str, str] | None:
    """Return the paths of two arrays in `state` that are views of one memory, None if there are none."""
    arrays = [(path, array) for path, array in _arrays(state, "", 0) if array.size]
    arrays.sort(key=lambda found: found[1].__array_interface__["data"][0])
    for (path, array), (other_path, other) in zip(arrays, arrays[1:], strict=False):
        if array is not other and np.shares_memory(array, other):
            return path or "one array", other_path or "another"
    return None


def _arrays(value: Any, path: str, depth: int) -> Iterator[tuple[str, Array]]:
    kind = type(value)
    if kind is np.ndarray:
        yield path, value
    elif depth < 8 and kind not in IMMUTABLE and (inside := contents(value)) is not None:
        form, keys, items = inside
        most = 1000 if kind in (list, tuple) else None
        for key, item in islice(zip(keys, items, strict=True), most):
            yield from _arrays(item, path + form.format(key), depth + 1)
