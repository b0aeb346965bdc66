"""Keys of a dict and members of a set: which can be kept, as JSON and back, and what they are called in a file."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from .columns import is_text

INT64 = range(-(1 << 63), 1 << 63)
#: Longest name of a key in a file, in characters, and deepest tuple that is a key.
MAX_NAME = 120
MAX_DEPTH = 8
#: Keys whose type and value, as Python compares them, say all there is to say.
_SIMPLE = frozenset({str, int, bool, bytes, type(None)})
_SCALARS: dict[str, type[np.generic]] = {"|b1": np.bool_, "<f2": np.float16, "<f4": np.float32, "<f8": np.float64} | {
    np.dtype(f"{kind}{size}").newbyteorder("<").str: np.dtype(f"{kind}{size}").type
    for kind in "iu"
    for size in (1, 2, 4, 8)
}
_NUMBERS = {kind: text for text, kind in _SCALARS.items()}
_PLAIN_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"


class NotAKey(Exception):
    """A key that no file can hold, such as an object, a NaN (which equals nothing) or half a surrogate pair."""


def key_to_json(key: Any, depth: int = 0) -> Any:
    """Return a key as JSON: text, whole numbers, truth values and None as they are, others as an object of one key.

    Raises
    ------
    NotAKey
        If it cannot be kept exactly.
    """
    kind = type(key)
    if kind is str and is_text(key):
        return key
    if kind is bool or key is None or (kind is int and key in INT64):
        return key
    if kind is float and key == key:  # a NaN is found by which object it is
        return {"float": key.hex()}
    if kind is bytes:
        return {"bytes": key.hex()}
    if kind is tuple and depth < MAX_DEPTH:
        return {"tuple": [key_to_json(part, depth + 1) for part in key]}
    if kind is np.str_ and is_text(key):
        return {"numpy": ["U", str(key)]}
    dtype = _NUMBERS.get(kind)
    if dtype is not None and key == key:
        item = key.item()
        return {"numpy": [dtype, item.hex() if isinstance(item, float) else item]}
    raise NotAKey(kind.__name__)


def key_from_json(tree: Any, depth: int = 0) -> Any:
    """Return the key that `key_to_json` wrote.

    Raises
    ------
    ValueError
        For anything else: this reads files.
    """
    kind = type(tree)
    if kind is str or kind is bool or tree is None or (kind is int and tree in INT64):
        return tree
    if kind is not dict or len(tree) != 1 or depth > MAX_DEPTH:
        raise ValueError("a key")
    ((name, value),) = tree.items()
    key: Any = None
    if name == "float" and type(value) is str:
        key = float.fromhex(value)
    elif name == "bytes" and type(value) is str:
        key = bytes.fromhex(value)
    elif name == "tuple" and type(value) is list:
        key = tuple([key_from_json(part, depth + 1) for part in value])
    elif name == "numpy" and type(value) is list and len(value) == 2:
        key = _numpy_key(*value)
    try:
        if key is None or not same_json(key_to_json(key, depth), tree):
            raise ValueError("a key")
    except NotAKey:
        raise ValueError("a key") from None
    return key


def _numpy_key(dtype: Any, item: Any) -> Any:
    if dtype == "U" and type(item) is str:
        return np.str_(item)
    scalar = _SCALARS.get(dtype) if type(dtype) is str else None
    if scalar is None or type(item) not in (str, int, bool):
        raise ValueError("a key")
    return scalar(float.fromhex(item) if type(item) is str else item)


def same_json(a: Any, b: Any) -> bool:
    """Whether two pieces of JSON are the same; 1, 1.0 and true are three."""
    if type(a) is not type(b):
        return False
    if type(a) is list:
        return len(a) == len(b) and all(map(same_json, a, b))
    if type(a) is dict:
        return list(a) == list(b) and all(same_json(a[name], b[name]) for name in a)
    return bool(a == b)


class Keys:
    """The keys of a dict in their order, which tells whether another dict has the very same ones.

    Parameters
    ----------
    keys : tuple

    Raises
    ------
    NotAKey
        If one cannot be kept exactly.
    """

    def __init__(self, keys: tuple[Any, ...]) -> None:
        self._keys, self._kinds = keys, tuple(map(type, keys))
        exact = [key_to_json(key) for key in keys]
        self._exact = None if _SIMPLE.issuperset(self._kinds) else exact

    def of(self, value: dict[Any, Any]) -> bool:
        """Whether they are the keys of `value`, in this order and of these types."""
        keys = tuple(value)
        if tuple(map(type, keys)) != self._kinds:
            return False
        if self._exact is None:
            return keys == self._keys
        try:  # numpy's scalars compare with what they are given in ways of their own
            return same_json([key_to_json(key) for key in keys], self._exact)
        except NotAKey:
            return False


# ---- names


def plain_name(key: Any, stand_in: str) -> bool:
    """Whether a key is text that is its own name in files of every version, and looks like no stand-in."""
    return (
        type(key) is str
        and re.fullmatch(_PLAIN_NAME, key) is not None
        and re.fullmatch(rf"{stand_in}[0-9]+", key) is None
    )


def readable_name(key: Any) -> str:
    """Return what a key is called in a file: its text, with what HDF5 has no room for escaped as in a URL (``%2F``).

    Empty where there is no such name.
    """
    text = _text_of(key)
    name = "".join(char if _fits(char) else "".join(f"%{byte:02X}" for byte in char.encode()) for char in text)
    name = name.replace(".", "%2E") if name in (".", "..") else name
    return name if len(name) <= MAX_NAME and re.fullmatch("key[0-9]+", name) is None else ""


def _fits(char: str) -> bool:
    return char != "/" and char.isprintable() and char < "\U000e0000"


def _text_of(key: Any) -> str:
    if isinstance(key, bytes):
        return key.decode("ascii", "backslashreplace")
    if isinstance(key, tuple):
        return ",".join(map(_text_of, key))
    return str(key.item() if isinstance(key, np.generic) else key)
