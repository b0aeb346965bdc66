"""The messages of HDF5 object headers that `writer.py` uses, read strictly.

What a writer has no choice about is compared with its one value. Section names are those of the *HDF5 File Format
Specification*, version 3.0 [1]_.

References
----------
.. [1] The HDF Group, https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .container import is_name

MAX_RANK = 32
MAX_STRING = 1 << 24
UNDEFINED = (1 << 64) - 1  # an address of nothing

_MASK = 0xFFFFFFFF


class Kind(enum.IntEnum):
    """Message types, and no others, that may be met."""

    NIL = 0x00
    DATASPACE = 0x01
    LINK_INFO = 0x02
    DATATYPE = 0x03
    FILL_VALUE = 0x05
    LINK = 0x06
    EXTERNAL_FILES = 0x07
    LAYOUT = 0x08
    GROUP_INFO = 0x0A
    PIPELINE = 0x0B
    ATTRIBUTE = 0x0C
    CONTINUATION = 0x10
    ATTRIBUTE_INFO = 0x15


#: What other messages mean, by type: for the sentence that refuses them.
_UNWANTED = {
    0x04: "a fill value of an older kind",
    0x07: "external storage: its values are in another file",
    0x0C: "an attribute",
    0x0D: "a comment",
    0x0E: "a time of an older kind",
    0x0F: "a table of shared messages",
    0x11: "a symbol table: it is a group of an older kind",
    0x12: "a time",
    0x13: "B-tree settings",
    0x14: "driver settings: its values may be in another file",
    0x16: "a second hard link to it",
}
_LINK_TYPES = {1: "a soft link", 64: "an external link"}
_TYPE_CLASSES = (
    "an integer type of an odd size, precision or byte order",
    "a float type of an odd size, format or byte order",
    "a time type",
    "a text type that is not fixed-length UTF-8 padded with zeros",
    "a bit-field type",
    "an opaque type",
    "a compound type",
    "a reference type",
    "an enumerated type",
    "a variable-length type",
    "an array type",
    "a complex type",
)
_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scale-offset", 32000: "lzf"}


def message_name(kind: int) -> str:
    """Return what a message of a type that is refused means."""
    return _UNWANTED.get(kind, f"a message of type {kind}")


def link_name(kind: int) -> str:
    """Return what a link that is no hard link is called."""
    return _LINK_TYPES.get(kind, "a user-defined link")


def filter_names(numbers: Iterable[int]) -> str:
    """Return the names of filters."""
    return ", ".join(_FILTERS.get(number, f"filter {number}") for number in numbers) or "none"


class Malformed(Exception):
    """These bytes are not the subset; the text says what is wrong."""


class ChecksumMismatch(Malformed):
    """A part of the file differs from its checksum."""


class Cursor:
    """A position in a few bytes, which cannot leave them."""

    __slots__ = ("_at", "_data", "_what")

    def __init__(self, data: memoryview, what: str) -> None:
        self._data, self._at, self._what = data, 0, what

    def take(self, size: int) -> memoryview:
        """Step over `size` bytes and return them."""
        taken = self._data[self._at : self._at + size]
        if len(taken) != size:
            raise Malformed(f"{self._what} is cut short")
        self._at += size
        return taken

    def uint(self, size: int) -> int:
        """Step over an unsigned integer of `size` bytes and return it."""
        return int.from_bytes(self.take(size), "little")

    def require(self, expected: bytes) -> None:
        """Step over `expected`; the writer has no choice about these bytes."""
        if self.take(len(expected)) != expected:
            raise Malformed(f"{self._what} is not of the kind a .replay file has")

    def rest(self) -> memoryview:
        """Step over all that is left and return it."""
        return self.take(len(self._data) - self._at)

    def require_end(self) -> None:
        """Raise unless everything was stepped over."""
        if self._at != len(self._data):
            raise Malformed(f"{self._what} is longer than it should be")


def lookup3(data: bytes | memoryview) -> int:
    """Return the checksum of HDF5's metadata: ``hashlittle`` of Bob Jenkins' lookup3.c, 2006, with initval 0."""
    n = len(data)
    a = b = c = (0xDEADBEEF + n) & _MASK
    # The last 1 to 12 bytes are mixed in differently, so a multiple of 12 leaves 12.
    whole = max(0, (n - 1) // 12 * 12)
    words: Iterator[tuple[int, int, int]] = struct.iter_unpack("<III", data[:whole])
    for x, y, z in words:
        a, b, c = (a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK
        a = (a - c) & _MASK ^ (c << 4 & _MASK | c >> 28)
        c = (c + b) & _MASK
        b = (b - a) & _MASK ^ (a << 6 & _MASK | a >> 26)
        a = (a + c) & _MASK
        c = (c - b) & _MASK ^ (b << 8 & _MASK | b >> 24)
        b = (b + a) & _MASK
        a = (a - c) & _MASK ^ (c << 16 & _MASK | c >> 16)
        c = (c + b) & _MASK
        b = (b - a) & _MASK ^ (a << 19 & _MASK | a >> 13)
        a = (a + c) & _MASK
        c = (c - b) & _MASK ^ (b << 4 & _MASK | b >> 28)
        b = (b + a) & _MASK
    if n == 0:
        return c
    last: tuple[int, int, int] = struct.unpack("<III", bytes(data[whole:]).ljust(12, b"\0"))
    x, y, z = last
    a, b, c = (a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK
    c = ((c ^ b) - (b << 14 & _MASK | b >> 18)) & _MASK
    a = ((a ^ c) - (c << 11 & _MASK | c >> 21)) & _MASK
    b = ((b ^ a) - (a << 25 & _MASK | a >> 7)) & _MASK
    c = ((c ^ b) - (b << 16 & _MASK | b >> 16)) & _MASK
    a = ((a ^ c) - (c << 4 & _MASK | c >> 28)) & _MASK
    b = ((b ^ a) - (a << 14 & _MASK | a >> 18)) & _MASK
    return ((c ^ b) - (b << 24 & _MASK | b >> 8)) & _MASK


def _number_types() -> dict[bytes, np.dtype[Any]]:
    """Return the datatype message ("Class 0" and "Class 1", version 1, little-endian) of every number type we store."""
    types = {}
    for size in (1, 2, 4, 8):
        for kind, sign in (("u", 0), ("i", 8)):
            types[struct.pack("<4BIHH", 0x10, sign, 0, 0, size, 0, 8 * size)] = np.dtype(f"<{kind}{size}")
    for size, exponent, bias in ((2, 5, 15), (4, 8, 127), (8, 11, 1023)):
        bits = 8 * size
        mantissa = bits - 1 - exponent
        fields = struct.pack("<HH4BI", 0, bits, mantissa, exponent, 0, mantissa, bias)
        types[struct.pack("<4BI", 0x11, 0x20, bits - 1, 0, size) + fields] = np.dtype(f"<f{size}")
    return types


_NUMBER_TYPES = _number_types()
_TEXT_TYPE = bytes([0x13, 0x11, 0, 0])  # "Class 3", version 1: null-padded UTF-8; the size follows


def datatype(message: memoryview) -> np.dtype[Any]:
    """Return the dtype of a datatype message ("IV.A.2.d"): a number type of the table above, or a fixed-length text."""
    known = _NUMBER_TYPES.get(bytes(message))
    if known is not None:
        return known
    if len(message) == 8 and message[:4] == _TEXT_TYPE:
        size = int.from_bytes(message[4:], "little")
        if 0 < size <= MAX_STRING:
            return np.dtype(f"S{size}")
    kind = message[0] & 15 if len(message) else len(_TYPE_CLASSES)
    name = _TYPE_CLASSES[kind] if kind < len(_TYPE_CLASSES) else "an unknown type"
    raise Malformed(f"a dataset or attribute has {name}, and not a plain number or a fixed-length text as its type")


def dataspace(message: memoryview) -> tuple[int, ...]:
    """Read a dataspace message, version 2, whose size cannot change."""
    cursor = Cursor(message, "a dataspace")
    cursor.require(b"\2")
    rank = cursor.uint(1)
    if rank > MAX_RANK:
        raise Malformed(f"a dataset has {rank} dimensions; the limit is {MAX_RANK}")
    flags, kind = cursor.uint(1), cursor.uint(1)
    if kind == 2:
        raise Malformed("a dataspace is a null one: it has no shape")
    if (flags, kind) != ((1, 1) if rank else (0, 0)):  # simple with a maximum size, or scalar
        raise Malformed("a dataspace is not of the kind a .replay file has")
    shape = tuple(cursor.uint(8) for _ in range(rank))
    if cursor.take(8 * rank) != struct.pack(f"<{rank}Q", *shape):
        raise Malformed("a dataspace can grow: its maximum size is not its size")
    cursor.require_end()
    return shape


def pipeline(itemsize: int) -> bytes:
    """Return the one filter pipeline message, version 2, of a dataset: shuffle where it can help, then deflate 9."""
    shuffle = struct.pack("<HHHI", 2, 1, 1, itemsize) if itemsize > 1 else b""
    return bytes([2, 2 if shuffle else 1]) + shuffle + struct.pack("<HHHI", 1, 1, 1, 9)


def pipeline_filters(message: memoryview) -> list[int]:
    """Return the filters a pipeline message ("IV.A.2.l", version 1 or 2) names, as far as it can be read."""
    cursor = Cursor(message, "a list of filters")
    version, n = cursor.uint(1), cursor.uint(1)
    if version not in (1, 2) or n > MAX_RANK:
        raise Malformed("a list of filters is not of the kind a .replay file has")
    if version == 1:
        cursor.take(6)
    numbers = []
    for _ in range(n):
        number = cursor.uint(2)
        name_bytes = cursor.uint(2) if version == 1 or number >= 256 else 0
        cursor.take(2)
        n_values = cursor.uint(2)
        cursor.take(name_bytes + 4 * (n_values + (n_values % 2 if version == 1 else 0)))
        numbers.append(number)
    return numbers


def hard_link(message: memoryview) -> tuple[str, int]:
    """Return name and address of a link message ("IV.A.2.g", version 1) that is a hard link."""
    cursor = Cursor(message, "a link")
    cursor.require(b"\1")
    flags = cursor.uint(1)
    if flags & 8 and (kind := cursor.uint(1)) != 0:
        raise Malformed(f"it holds {link_name(kind)}, which points elsewhere")
    if flags & ~0b11011:  # bit 2 would be: an order of creation
        raise Malformed("a link has a kind that a .replay file never has")
    if flags & 16:
        cursor.require(b"\1")  # UTF-8
    raw = cursor.take(cursor.uint(1 << (flags & 3)))
    address = cursor.uint(8)
    cursor.require_end()
    return _name(raw), address


def attribute(message: memoryview) -> tuple[str, bytes]:
    """Return name and value of an attribute message ("IV.A.2.m", version 3) that is one text."""
    cursor = Cursor(message, "an attribute")
    cursor.require(b"\3\0")
    name_bytes, type_bytes, space_bytes = cursor.uint(2), cursor.uint(2), cursor.uint(2)
    cursor.require(b"\0")  # the name is ASCII
    raw = cursor.take(name_bytes)
    if bytes(raw[-1:]) != b"\0":
        raise Malformed("the name of an attribute does not end")
    name = _name(raw[:-1])
    try:
        dtype, shape = datatype(cursor.take(type_bytes)), dataspace(cursor.take(space_bytes))
    except Malformed as error:
        raise Malformed(f"its attribute {name!r} is not one fixed-length text: {error}") from None
    if dtype.kind != "S" or shape:
        raise Malformed(f"its attribute {name!r} is not one fixed-length text")
    value = bytes(cursor.take(dtype.itemsize))
    cursor.require_end()
    return name, value


def _name(raw: memoryview) -> str:
    try:
        name = str(raw, "utf-8")
    except UnicodeDecodeError:
        raise Malformed("a name is not UTF-8") from None
    if not is_name(name):
        raise Malformed(f"it holds the name {name[:80]!a}, which a .replay file never has")
    return name
