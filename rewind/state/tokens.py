"""Tokens: the bytes of a leaf of a state, tagged, so that no two sequences of tokens run into each other."""

from __future__ import annotations

import hashlib
import struct
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

MAX_DEPTH = 1_000_000  # an object that reduces to ever new objects would otherwise never end

NODE = b"\x00"  # the tag of a token that is a node's hash; no leaf begins with it
_LONG = 128  # longer text and bytes go into a token as their hash
_SHORT_ARRAY = 1 << 16  # bytes; below this, a copy is cheaper than asking whether one is needed
OPEN = b"\x01"

_pack_float = struct.Struct("<cd").pack
_pack_complex = struct.Struct("<cdd").pack
_pack_int = struct.Struct("<cq").pack
pack_length = struct.Struct("<Q").pack


class Unkeepable(Exception):
    """A value that no digest can tell from others; becomes a StateError where its path is known."""


def hash_of(data: bytes) -> bytes:
    """Return blake2b-128 of `data`."""
    return hashlib.blake2b(data, digest_size=16).digest()


# -- leaves ------------------------------------------------------------------------------------------------------------


def _blob(tag: bytes, data: bytes | bytearray) -> bytes:
    size = len(data)
    return tag + pack_length(size) + (data if size <= _LONG else hash_of(bytes(data)))


def text_token(text: str) -> bytes:
    """Return the token of a str; half a surrogate pair survives."""
    return _blob(b"s", text.encode("utf-8", "surrogatepass"))


def _int(value: int) -> bytes:
    try:
        return _pack_int(b"i", value)
    except struct.error:
        return _blob(b"I", value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))


def _float(value: float) -> bytes:
    return _pack_float(b"f", value)


def name_of(thing: Any) -> str:
    """Return the name a class or function counts as: its qualname, and for a builtin function its module, too.

    The module of a class does not count: ``__main__`` in the script that recorded is ``walk`` for whoever imports it.
    """
    name = getattr(thing, "__qualname__", None) or thing.__name__
    if isinstance(thing, (type, types.FunctionType)):
        return str(name)
    module = getattr(thing, "__module__", None) or type(thing).__module__
    if module.startswith("numpy.core."):  # numpy 1; the same objects are in numpy._core since numpy 2
        module = "numpy._core." + module[len("numpy.core.") :]
    return f"{module}:{name}"


def class_token(cls: type) -> bytes:
    """Return the token of a class: its name."""
    return b"t" + text_token(name_of(cls))


def _function(function: Any) -> bytes:
    name = name_of(function)
    if "<" in name:  # two of one name may differ, and pickle could not find them again
        raise Unkeepable("a lambda" if name.endswith("<lambda>") else f"a function inside a function ({name})")
    return b"g" + text_token(name)


def _range(value: range) -> bytes:
    return b"R" + _int(value.start) + _int(value.stop) + _int(value.step)


# -- numpy -------------------------------------------------------------------------------------------------------------

# An x87 long double is 10 bytes of value and 6 (or 2) of whatever was in memory.
_LONGDOUBLE_BYTES = 10 if np.finfo(np.longdouble).nmant == 63 else np.dtype(np.longdouble).itemsize


def dtype_token(dtype: np.dtype[Any]) -> bytes:
    """Return the token of a dtype. Swapped bytes are a mark, so native arrays agree between machines."""
    swapped = b"" if dtype.isnative else b"~"
    if dtype.names is not None:
        token = b"V" + _int(dtype.itemsize) + _int(len(dtype.names))
        for name in dtype.names:
            field, offset, *title = dtype.fields[name]  # type: ignore[index]
            token += (
                text_token(name) + _int(offset) + (text_token(str(title[0])) if title else b"N") + dtype_token(field)
            )
        return token + (b"N" if dtype.type is np.void else class_token(dtype.type))
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return b"A" + shape_token(shape) + dtype_token(base)
    if dtype.char in "gG":  # its size depends on the machine
        return b"e" + text_token(dtype.char) + swapped + b";"
    if dtype.kind == "T":
        missing = getattr(dtype, "na_object", None)
        return b"T" + text_token(f"{getattr(dtype, 'coerce', True)} {type(missing).__name__} {missing!r}")
    if dtype.num >= 256:  # registered by another package; its code says no more than "2 bytes"
        return b"U" + text_token(dtype.str[1:]) + class_token(dtype.type) + swapped + b";"
    return b"e" + text_token(dtype.str[1:]) + swapped + b";"


def shape_token(shape: tuple[int, ...]) -> bytes:
    """Return the token of the shape of an array."""
    return struct.pack(f"<B{len(shape)}Q", len(shape), *shape)


def has_objects(dtype: np.dtype[Any]) -> bool:
    """Whether the elements are Python objects, or pointers to text, at least in part."""
    return dtype.hasobject or dtype.kind == "T"


def element_bytes(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the bytes that count as uint8 of shape (size, bytes per element): C order, little-endian."""
    dtype = array.dtype
    if array.size == 0 or dtype.itemsize == 0:
        return np.zeros((array.size, 0), np.uint8)
    flat = np.ascontiguousarray(array).reshape(-1)
    if dtype.num < 256 and dtype.newbyteorder("<") != dtype:
        flat = flat.astype(dtype.newbyteorder("<"))
    raw = flat.view(np.uint8).reshape(array.size, dtype.itemsize)
    if dtype.char in "gG" and _LONGDOUBLE_BYTES == 10:
        return raw.reshape(array.size, -1, np.dtype(np.longdouble).itemsize)[:, :, :10].reshape(array.size, -1)
    return raw


def without_padding(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array with zeros where long doubles have whatever was in memory; one of another dtype as it is."""
    if array.dtype.char not in "gG" or _LONGDOUBLE_BYTES != 10:
        return array
    array = array.copy()
    raw = array.reshape(-1).view(np.uint8).reshape(-1, np.dtype(np.longdouble).itemsize)
    (raw[:, 10:] if array.dtype.isnative else raw[:, :-10])[...] = 0
    return array


def _plain_bytes(array: np.ndarray[Any, Any]) -> Any:
    dtype = array.dtype
    if array.nbytes < _SHORT_ARRAY and dtype.isnative and sys.byteorder == "little" and dtype.char not in "gG":
        return array.tobytes()
    return np.ascontiguousarray(element_bytes(array)).reshape(-1).data


def _hash_array(into: Any, array: np.ndarray[Any, Any]) -> None:
    if array.dtype.names is None:
        into.update(_plain_bytes(array))
    else:  # field by field: padding is not part of the value
        for name in array.dtype.names:
            _hash_array(into, array[name])


def array_token(array: np.ndarray[Any, Any], tag: bytes = b"a") -> bytes:
    """Return the token of an array of plain elements: dtype, shape, values in C order."""
    hasher = hashlib.blake2b(dtype_token(array.dtype) + shape_token(array.shape), digest_size=16)
    _hash_array(hasher, array)
    return tag + hasher.digest()


def array_objects(array: np.ndarray[Any, Any]) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """Return (path, array) of every field of an array, nested fields flattened; ('', array) if it has no fields."""
    if array.dtype.names is None:
        return [("", array)]
    return [(f".{name}{path}", part) for name in array.dtype.names for path, part in array_objects(array[name])]


def _numpy_scalar(value: np.generic) -> bytes:
    return array_token(np.asarray(value), b"n")


def _of_fixed_size(scalar: type[np.generic]) -> Callable[[Any], bytes]:
    prefix = b"w" + dtype_token(np.dtype(scalar))
    if sys.byteorder == "little":
        return lambda value: prefix + value.tobytes()
    return lambda value: prefix + element_bytes(np.asarray(value)).tobytes()


# -- which leaf, by exact type -----------------------------------------------------------------------------------------

LEAVES: dict[type, Callable[[Any], bytes]] = {
    float: _float,
    int: _int,
    str: text_token,
    bool: lambda value: b"1" if value else b"0",
    type(None): lambda value: b"N",
    complex: lambda value: _pack_complex(b"c", value.real, value.imag),
    bytes: lambda value: _blob(b"b", value),
    bytearray: lambda value: _blob(b"y", value),
    type(Ellipsis): lambda value: b"E",
    type(NotImplemented): lambda value: b"X",
    range: _range,
    type: class_token,
    types.FunctionType: _function,
    types.ModuleType: lambda value: b"m" + text_token(value.__name__),
}
LEAVES |= {np.dtype(_char).type: _of_fixed_size(np.dtype(_char).type) for _char in "?bBhHiIlLqQefdFD"}
LEAVES |= {np.dtype(_char).type: _numpy_scalar for _char in "gGSUMm"}
