"""Any numpy dtype as plain columns: what a dtype is split into, and how it is put together again.

A file holds only plain numbers and fixed-length text, which every HDF5 tool can show, so a complex, structured,
boolean, text or datetime dtype becomes one plain array for each of its parts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from .digest import digest
from .frozen import frozen

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

#: Largest structured row believed when a file declares it, in bytes.
MAX_ROW = 1 << 30
#: Most bytes of a structured row for each byte that is stored: a file must not promise gigabytes of padding.
MAX_PADDING = 64
#: Longest text or bytes value kept as a column, in bytes; a longer one sends its checkpoint to a pickle.
MAX_TEXT = 65_536


# No timedelta without a unit, which numpy 2.5 warns of.
_DTYPE = r"[<>|]([biufcSUV][0-9]{1,10}|M8|[mM]8\[[0-9]{0,9}[A-Za-z]{1,2}\])"


def is_text(value: object) -> bool:
    """Whether a value is text that UTF-8, and so a file, can hold: half a surrogate pair is none."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class UnsupportedDtype(Exception):
    """A dtype that no plain column can hold, such as object or long double."""


@frozen
class Part:
    """One plain array of a dtype: ``split(a)`` gives it, ``merge(target, plain)`` puts it back.

    For an array of shape ``s`` the plain array has shape ``s + extra`` and dtype `plain`.
    """

    name: str
    plain: np.dtype[Any]
    extra: tuple[int, ...]
    split: Callable[[Array], Array]
    merge: Callable[[Array, Array], None]


def _set(target: Array, plain: Array) -> None:
    target[...] = plain


def _text_width(dtype: np.dtype[Any]) -> int:
    if not 0 < dtype.itemsize <= MAX_TEXT:
        raise UnsupportedDtype(str(dtype))
    return dtype.itemsize  # UTF-8 needs at most four bytes a code point, as UCS-4 does


def _encoded(text: Array) -> Array:
    """Return text as UTF-8; a ValueError where it is none, such as whatever was in a buffer that is called text."""
    native = np.ascontiguousarray(text, text.dtype.newbyteorder("="))
    if native.size and native.reshape(-1).view("u4").max() > 0x10FFFF:
        raise ValueError("not Unicode")
    if not text.size:  # numpy 1 gives these another shape
        return np.zeros(text.shape, "S1")
    return np.asarray(np.char.encode(text, "utf-8"))


def parts(dtype: np.dtype[Any]) -> list[Part]:
    """Return the plain parts of `dtype`, in order.

    Raises
    ------
    UnsupportedDtype
        For object, long double and zero-width dtypes, and structured ones of nothing or of little but padding.
    """
    kind, size = dtype.kind, dtype.itemsize
    if kind == "b":
        return [Part("", np.dtype("u1"), (), lambda a: a.astype("u1"), lambda t, p: _set(t, p != 0))]
    if kind in "iu" or (kind == "f" and size <= 8):
        plain = dtype.newbyteorder("<")
        return [Part("", plain, (), lambda a: a.astype(plain), _set)]
    if kind == "c" and size <= 16:
        half = np.dtype(f"<f{size // 2}")
        return [
            Part("real", half, (), lambda a: a.real.astype(half), lambda t, p: _set(t.real, p)),
            Part("imag", half, (), lambda a: a.imag.astype(half), lambda t, p: _set(t.imag, p)),
        ]
    if kind in "mM":
        little = dtype.newbyteorder("<")
        return [
            Part("", np.dtype("<i8"), (), lambda a: a.astype(little).view("<i8"), lambda t, p: _set(t, p.view(little)))
        ]
    if kind == "S":
        plain = np.dtype(f"S{_text_width(dtype)}")
        return [Part("", plain, (), lambda a: a.astype(plain), _set)]
    if kind == "U":
        plain = np.dtype(f"S{_text_width(dtype)}")
        return [
            Part(
                "",
                plain,
                (),
                lambda a: _encoded(a).astype(plain),
                lambda t, p: _set(t, np.asarray(np.char.decode(p, "utf-8") if p.size else "")),
            )
        ]
    if kind == "V" and dtype.names is not None:
        found = [part for name in dtype.names for part in _field_parts(dtype, name)]
        stored = sum(part.plain.itemsize * math.prod(part.extra) for part in found)
        if not found or size > MAX_PADDING * stored:
            raise UnsupportedDtype(str(dtype))
        return found
    if kind == "V" and size > 0 and dtype.subdtype is None:
        return [
            Part(
                "",
                np.dtype("u1"),
                (size,),
                lambda a: np.frombuffer(a.tobytes(), "u1").reshape(*a.shape, size),
                lambda t, p: _set(t, np.frombuffer(p.tobytes(), dtype).reshape(t.shape)),
            )
        ]
    raise UnsupportedDtype(str(dtype))


def _field_parts(dtype: np.dtype[Any], name: str) -> Iterator[Part]:
    assert dtype.fields is not None
    field = dtype.fields[name][0]
    base, shape = field.subdtype if field.subdtype is not None else (field, ())
    piece = name.replace("/", "\\")  # a slash would be one more group in the file
    for part in parts(base):

        def split(a: Array, inner: Callable[[Array], Array] = part.split) -> Array:
            return inner(np.asarray(a[name]))

        def merge(target: Array, plain: Array, inner: Callable[[Array, Array], None] = part.merge) -> None:
            inner(target[name], plain)

        yield Part(f"{piece}/{part.name}" if part.name else piece, part.plain, (*shape, *part.extra), split, merge)


def merged(dtype: np.dtype[Any], shape: tuple[int, ...], order: Any, plain: list[Array], plan: list[Part]) -> Array:
    """Return the array of `dtype` and `shape` whose parts are `plain`; padding bytes are zero."""
    target = np.zeros(shape, dtype, order=order)
    for part, values in zip(plan, plain, strict=True):
        part.merge(target, values)
    return target


def as_restored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return `dtype` as it comes back from a file: without metadata and alignment flag, which are no part of a value.

    Raises
    ------
    UnsupportedDtype
        If something that is part of the value would be lost: titles, record types, dtypes of other packages.
    """
    try:
        restored = dtype_from_json(dtype_to_json(dtype))
    except ValueError as error:
        raise UnsupportedDtype(str(dtype)) from error
    if restored != dtype or digest(restored) != digest(dtype):
        raise UnsupportedDtype(str(dtype))
    return restored


def dtype_to_json(dtype: np.dtype[Any]) -> Any:
    """Return `dtype` as JSON: its ``str``, or its fields as ``[name, dtype, shape, offset]`` with the size of a row."""
    if dtype.names is None:
        return dtype.str
    assert dtype.fields is not None
    fields: list[Any] = []
    for name in dtype.names:
        field, offset = dtype.fields[name][:2]
        base, shape = field.subdtype if field.subdtype is not None else (field, ())
        fields.append([name, dtype_to_json(base), list(shape), offset])
    return {"fields": fields, "itemsize": dtype.itemsize}


def dtype_from_json(text: Any, depth: int = 0) -> np.dtype[Any]:
    """Return the dtype that `dtype_to_json` wrote.

    Raises
    ------
    ValueError
        For anything else: this reads files.
    """
    try:
        if isinstance(text, str):
            if not re.fullmatch(_DTYPE, text):  # numpy also knows "f8,i4", "a10" and other spellings
                raise ValueError("not a name")
            dtype = np.dtype(text)
            if dtype.str != text:
                raise ValueError("not canonical")
        elif isinstance(text, dict) and set(text) == {"fields", "itemsize"} and depth < 8:
            names, offsets, formats = [], [], []
            for name, base, shape, offset in text["fields"]:
                if not all(type(n) is int and 0 <= n <= MAX_ROW for n in [*shape, offset]):
                    raise ValueError("field")
                inner = dtype_from_json(base, depth + 1)
                if inner.itemsize * math.prod(shape) > MAX_ROW:
                    raise ValueError("field size")
                names.append(name)
                offsets.append(offset)
                formats.append((inner, tuple(shape)) if shape else inner)
            if type(text["itemsize"]) is not int or not 0 <= text["itemsize"] <= MAX_ROW:
                raise ValueError("itemsize")
            dtype = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": text["itemsize"]})
        else:
            raise ValueError("neither a name nor fields")
        if dtype.hasobject:
            raise ValueError("object")
        if not all(map(is_text, dtype.names or ())):
            raise ValueError("a name that is no text")
        return dtype
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise ValueError(f"not a dtype: {error}") from error
