"""A strict parser of the part of HDF5 that `writer.py` uses, and of nothing else.

Every libhdf5 up to 2.0 can be made to return process memory as data, to hang or to crash by a file made for it, so
files are not handed to it. Here every range is checked before it is read, every extent belongs to one thing only, and
every declared size is bounded before it is believed.

What is read: superblock version 2 or 3, object headers of version 2, links and attributes kept in the headers,
contiguous, compact, single-chunk and unpaged fixed-array storage, shuffle and deflate.
"""

from __future__ import annotations

import bisect
import math
import struct
import zlib
from typing import Any

import numpy as np

from ...state.frozen import frozen
from .container import MAX_OBJECTS, MAX_PATH_DEPTH
from .messages import (
    UNDEFINED,
    ChecksumMismatch,
    Cursor,
    Kind,
    Malformed,
    attribute,
    dataspace,
    datatype,
    filter_names,
    hard_link,
    lookup3,
    message_name,
    pipeline,
    pipeline_filters,
)
from .room import Room
from .seal import SIGNATURE

MAX_CHUNKS = 1024  # of one dataset: a longer fixed array is stored in pages
MAX_HEADER_BYTES = 8 << 20  # of all object headers: their checksum is computed in Python
MAX_EXTENTS = 1 << 17
MAX_MESSAGES = 1 << 18  # each is stepped over in Python, too; as many as `MAX_OBJECTS` have need of, twice

_COMPACT, _CONTIGUOUS, _CHUNKED, _VIRTUAL = 0, 1, 2, 3
_SINGLE_CHUNK, _FIXED_ARRAY = 1, 3
_NEEDED = {Kind.DATASPACE, Kind.DATATYPE, Kind.LAYOUT}
_ALLOWED = _NEEDED | {Kind.FILL_VALUE, Kind.PIPELINE}  # the fill value is never used: nothing may be missing
_DEFLATE_RATIO = 1040  # zlib's best is 1032

#: What is before the contents of a message: its kind, their length, its flags.
_MESSAGE = struct.Struct("<BHB")


@frozen
class Piece:
    """Rows ``start`` to ``stop`` of a dataset, stored in ``size`` bytes at ``address``."""

    start: int
    stop: int
    stored: memoryview


@frozen
class Dataset:
    """A dataset as its header describes it; nothing of it is decoded yet."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    rows_per_chunk: int  # 0: stored as it is, in one piece
    pieces: tuple[Piece, ...]


class Subset:
    """One file being parsed: the bytes, which of them are taken, and how much of each limit is used up."""

    def __init__(self, data: bytes | bytearray, base: int, room: Room) -> None:
        self._data = memoryview(data)
        self._base = base  # offset of the superblock; every address counts from here
        self._room = room
        self._header_bytes = 0
        self._n_messages = 0
        self._starts: list[int] = []  # of the claimed extents, sorted
        self._stops: dict[int, int] = {}

    def read(self) -> tuple[dict[str, bytes], dict[str, np.ndarray[Any, Any]]]:
        """Return the attributes of the root group and every dataset by its path.

        O(size of the file + size of the arrays); the headers are all checked before the first array is made, and that
        there is room for all of them.
        """
        attributes: dict[str, bytes] = {}
        datasets: dict[str, Dataset] = {}
        todo = [("", self._superblock())]
        n_objects = 0
        while todo:
            path, address = todo.pop()
            n_objects += 1
            if n_objects > MAX_OBJECTS:
                raise Malformed(f"it holds more than {MAX_OBJECTS:,} groups and datasets")
            messages = self.messages(address)
            if path and any(kind == Kind.LAYOUT for kind, _ in messages):
                datasets[path] = self._dataset(messages)
                continue
            if path.count("/") >= MAX_PATH_DEPTH:
                raise Malformed(f"its groups are nested deeper than {MAX_PATH_DEPTH} levels")
            children, found = self._group(messages)
            if found and path:
                raise Malformed("a group other than the root has an attribute")
            attributes.update(found)
            todo.extend((f"{path}/{name}" if path else name, child) for name, child in children.items())
        if "pickle/blob" in datasets:  # each pickle is taken out of it
            self._room.work(math.prod(datasets["pickle/blob"].shape))
        return attributes, {path: _decode(datasets[path]) for path in sorted(datasets)}

    def parts(self) -> list[memoryview]:
        """Return every part of the file that was read so far."""
        return [self._data[start : self._stops[start]] for start in self._starts]

    def _claim(self, address: int, size: int, what: str) -> memoryview:
        """Return `size` bytes at `address`, which must be inside the file and belong to nothing else yet.

        This is what bounds the work: no byte is parsed, checksummed or inflated twice.
        """
        start, stop = self._base + address, self._base + address + size
        if size <= 0 or stop > len(self._data):
            raise Malformed(f"{what} lies outside the file")
        at = bisect.bisect_right(self._starts, start)
        if (at and self._stops[self._starts[at - 1]] > start) or (at < len(self._starts) and self._starts[at] < stop):
            raise Malformed(f"{what} overlaps another part of the file")
        if len(self._starts) >= MAX_EXTENTS:
            raise Malformed("it consists of too many parts")
        self._starts.insert(at, start)
        self._stops[start] = stop
        return self._data[start:stop]

    def _claim_checked(self, address: int, size: int, what: str) -> memoryview:
        """Return the `size` bytes at `address` without the four of the checksum they end with, which must be right."""
        part = self._claim(address, size, what)
        if lookup3(part[:-4]) != int.from_bytes(part[-4:], "little"):
            raise ChecksumMismatch(f"{what} differs from its checksum")
        return part[:-4]

    def _superblock(self) -> int:
        """Check the superblock ("II.A", versions 2 and 3) and return the address of the root group."""
        if bytes(self._data[self._base + 8 : self._base + 9]) not in (b"\2", b"\3"):
            raise Malformed("an HDF5 file, but not a .replay file: its superblock is of another version")
        cursor = Cursor(self._claim_checked(0, 48, "the superblock"), "the superblock")
        cursor.require(SIGNATURE)
        cursor.take(1)
        cursor.require(b"\x08\x08\x00")  # 8-byte addresses and lengths; closed properly
        cursor.require(self._base.to_bytes(8, "little") + UNDEFINED.to_bytes(8, "little"))  # no extension
        end_of_file, root = cursor.uint(8), cursor.uint(8)
        if end_of_file > len(self._data):
            raise Malformed(f"the file ends after {len(self._data):,} of its {end_of_file:,} bytes")
        if end_of_file < len(self._data):
            raise Malformed(f"there are {len(self._data) - end_of_file:,} bytes after its end")
        return root

    def messages(self, address: int) -> list[tuple[int, memoryview]]:
        """Return kind and contents of every message of the object header at `address` ("IV.A.1.b", version 2)."""
        # The length of the header is in the header, before anything of it can be checked.
        start = Cursor(self._data[self._base + address : self._base + address + 10], "an object header")
        start.require(b"OHDR\2")
        flags = start.uint(1)
        if flags & ~3:
            raise Malformed("an object header stores times or an order of creation")
        width = 1 << flags
        before = 6 + width
        size = before + start.uint(width) + 4
        self._count_header(size)
        blocks = [self._claim_checked(address, size, "an object header")[before:]]
        messages: list[tuple[int, memoryview]] = []
        while blocks:
            block = blocks.pop()
            cursor = Cursor(block, "an object header")
            left = len(block)
            while left >= 4:  # fewer bytes are a gap
                kind, length, flags = _MESSAGE.unpack(cursor.take(4))
                contents = cursor.take(length)
                left -= 4 + length
                self._n_messages += 1
                if self._n_messages > MAX_MESSAGES:
                    raise Malformed(f"its object headers hold more than {MAX_MESSAGES:,} messages")
                if kind == Kind.NIL:
                    continue
                if flags & ~5:  # constant and not to be shared are fine; bit 1 would be: it is kept elsewhere
                    what = "a type" if kind == Kind.DATATYPE else "a message"
                    raise Malformed(f"{what} of an object is shared: it is kept elsewhere, under a name of its own")
                if kind == Kind.CONTINUATION:
                    where = Cursor(contents, "a continuation")
                    address, size = where.uint(8), where.uint(8)
                    where.require_end()
                    if size < 8:
                        raise Malformed("a continuation is too short")
                    self._count_header(size)
                    more = Cursor(self._claim_checked(address, size, "a continuation"), "a continuation")
                    more.require(b"OCHK")
                    blocks.append(more.rest())
                else:
                    messages.append((kind, contents))
        return messages

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            raise Malformed(f"its object headers take more than {MAX_HEADER_BYTES:,} bytes")

    def _group(self, messages: list[tuple[int, memoryview]]) -> tuple[dict[str, int], dict[str, bytes]]:
        """Return address by name of what a group links to, and the attributes of the group."""
        children: dict[str, int] = {}
        attributes: dict[str, bytes] = {}
        if [kind for kind, _ in messages].count(Kind.LINK_INFO) != 1:
            raise Malformed(_neither({kind for kind, _ in messages}))
        for kind, contents in messages:
            cursor = Cursor(contents, "a group")
            if kind == Kind.LINK:
                name, address = hard_link(contents)
                if name in children:
                    raise Malformed(f"a group holds the name {name!r} twice")
                children[name] = address
            elif kind == Kind.ATTRIBUTE:
                name, value = attribute(contents)
                if name in attributes:
                    raise Malformed(f"it has the attribute {name!r} twice")
                attributes[name] = value
            elif kind in (Kind.LINK_INFO, Kind.ATTRIBUTE_INFO):
                if contents != b"\0\0" + 2 * UNDEFINED.to_bytes(8, "little"):  # all of them are in the header
                    what = "links" if kind == Kind.LINK_INFO else "attributes"
                    raise Malformed(f"a group keeps its {what} in a heap, or their order: there are too many of them")
            elif kind == Kind.GROUP_INFO:
                cursor.require(b"\0")
            else:
                raise Malformed(f"a group has {message_name(kind)}, which a .replay file never has")
        return children, attributes

    def _dataset(self, messages: list[tuple[int, memoryview]]) -> Dataset:
        """Check everything about a dataset but the bytes of its chunks."""
        kinds = dict(messages)
        if len(kinds) != len(messages):
            raise Malformed("a dataset has the same message twice")
        if unwanted := sorted(set(kinds) - _ALLOWED):
            raise Malformed(f"a dataset has {message_name(unwanted[0])}, which a .replay file never has")
        if not _NEEDED <= set(kinds):
            raise Malformed("a dataset lacks a type or a shape")
        dtype, shape = datatype(kinds[Kind.DATATYPE]), dataspace(kinds[Kind.DATASPACE])
        # Zero-size arrays too must be made: an extent of 2**62 beside a 0 is no size either.
        n_bytes = math.prod(max(1, extent) for extent in shape) * dtype.itemsize
        self._room.take(n_bytes)
        n_bytes = n_bytes if 0 not in shape else 0
        cursor = Cursor(kinds[Kind.LAYOUT], "a storage layout")
        version, layout = cursor.uint(1), cursor.uint(1)
        if layout == _VIRTUAL and version >= 4:
            raise Malformed("it holds a virtual dataset, whose values are in other files")
        if version != (4 if layout == _CHUNKED else 3):
            raise Malformed("a dataset has a storage layout that a .replay file never has")
        if layout == _CHUNKED:
            if bytes(kinds.get(Kind.PIPELINE, b"")) != pipeline(dtype.itemsize):
                found = filter_names(pipeline_filters(kinds[Kind.PIPELINE]) if Kind.PIPELINE in kinds else ())
                raise Malformed(f"a dataset has filters other than shuffle and deflate 9 (it has: {found})")
            return self._chunked(cursor, dtype, shape)
        if Kind.PIPELINE in kinds:
            raise Malformed("a dataset has filters but no chunks")
        if layout == _COMPACT:
            cursor.require(n_bytes.to_bytes(2, "little") if n_bytes < 1 << 16 else b"")
            stored = cursor.rest()
        elif layout == _CONTIGUOUS:
            address, size = cursor.uint(8), cursor.uint(8)
            cursor.require_end()
            if size != n_bytes or (address == UNDEFINED) != (n_bytes == 0):
                raise Malformed("a dataset is not stored in full")
            stored = self._claim(address, size, "a dataset") if size else self._data[:0]
        else:
            raise Malformed("a dataset has a storage layout that a .replay file never has")
        if len(stored) != n_bytes:
            raise Malformed("a dataset is not stored in full")
        return Dataset(dtype, shape, 0, (Piece(0, 0, stored),))

    def _chunked(self, cursor: Cursor, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Dataset:
        """Read the rest of a layout message, version 4, "Class 2": chunks of whole rows, in order."""
        flags, rank, width = cursor.uint(1), cursor.uint(1), cursor.uint(1)
        if rank != len(shape) + 1 or not 1 <= width <= 8 or rank < 2 or 0 in shape:
            raise Malformed("the chunks of a dataset do not match its shape")
        chunk = tuple(cursor.uint(width) for _ in range(rank))
        rows = chunk[0]
        if not 1 <= rows <= shape[0] or chunk[1:] != (*shape[1:], dtype.itemsize):
            raise Malformed("the chunks of a dataset do not match its shape")
        n_chunks = -(-shape[0] // rows)
        chunk_bytes = rows * math.prod(chunk[1:])
        index = cursor.uint(1)
        if index == _SINGLE_CHUNK and n_chunks == 1 and flags == 2:  # bit 1: the chunk is filtered
            size, mask = cursor.uint(8), cursor.uint(4)
            entries = [(cursor.uint(8), size, mask)]
        elif index == _FIXED_ARRAY and 1 < n_chunks <= MAX_CHUNKS and flags == 0:
            cursor.require(b"\x0a")  # 2**10 entries to a page, so there is one page
            entries = self._fixed_array(cursor.uint(8), n_chunks)
        else:
            raise Malformed("the chunks of a dataset are listed in a way that a .replay file never has")
        cursor.require_end()
        pieces = []
        for i, (address, size, mask) in enumerate(entries):
            if mask:
                raise Malformed("a chunk skips a filter")
            if chunk_bytes > size * _DEFLATE_RATIO:
                raise Malformed("a chunk is too short for what it is said to hold")
            stored = self._claim(address, size, "a chunk")
            pieces.append(Piece(i * rows, min((i + 1) * rows, shape[0]), stored))
        self._room.work(2 * chunk_bytes)  # what is inflated grows piece by piece, and is put together then
        return Dataset(dtype, shape, rows, tuple(pieces))

    def _fixed_array(self, address: int, n_chunks: int) -> list[tuple[int, int, int]]:
        """Return (address, size, filter mask) of every chunk ("III.D", version 0, for filtered chunks)."""
        header = Cursor(self._claim_checked(address, 28, "a list of chunks"), "a list of chunks")
        header.require(b"FAHD\0\1")
        entry_bytes = header.uint(1)
        header.require(b"\x0a" + n_chunks.to_bytes(8, "little"))
        width = entry_bytes - 12
        if not 1 <= width <= 8:
            raise Malformed("a list of chunks has entries of an odd size")
        size = 14 + n_chunks * entry_bytes + 4
        block = Cursor(self._claim_checked(header.uint(8), size, "a list of chunks"), "a list of chunks")
        block.require(b"FADB\0\1" + address.to_bytes(8, "little"))
        return [(block.uint(8), block.uint(width), block.uint(4)) for _ in range(n_chunks)]


def _neither(kinds: set[int]) -> str:
    """Return what is wrong with an object that has no storage layout and is no group of ours."""
    unwanted = sorted(kinds - {Kind.LINK_INFO, *_ALLOWED})
    if Kind.DATATYPE in kinds and kinds <= {Kind.DATATYPE, Kind.ATTRIBUTE, Kind.ATTRIBUTE_INFO}:
        return "it holds a named type"
    said = f": it has {message_name(unwanted[0])}" if unwanted else ""
    return f"an object is neither a group nor a dataset of a .replay file{said}"


def _decode(dataset: Dataset) -> np.ndarray[Any, Any]:
    array = np.empty(dataset.shape, dataset.dtype)
    if not array.size:
        return array
    flat = array.reshape(-1).view(np.uint8)
    if not dataset.rows_per_chunk:
        flat[:] = np.frombuffer(dataset.pieces[0].stored, np.uint8)
        return array
    itemsize = dataset.dtype.itemsize
    items_per_row = math.prod(dataset.shape[1:])
    items = flat.reshape(-1, itemsize)
    for piece in dataset.pieces:
        n_items = dataset.rows_per_chunk * items_per_row
        raw = inflate(piece.stored, n_items * itemsize)
        # Shuffled: first the first byte of every item, then the second of every item. The last chunk is padded.
        planes = np.frombuffer(raw, np.uint8).reshape(itemsize, n_items)
        start, stop = piece.start * items_per_row, piece.stop * items_per_row
        items[start:stop] = planes[:, : stop - start].T
    return array


def inflate(stored: bytes | memoryview, size: int) -> bytes:
    """Return what `stored` inflates to, which must be `size` bytes; never make more than that and one byte."""
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(stored, size + 1)  # one more, so that the end of the stream is reached too
    except zlib.error as error:
        raise Malformed(f"a chunk cannot be inflated ({error})") from None
    if len(raw) != size or not stream.eof or stream.unused_data:
        raise Malformed("a chunk does not hold what its shape says")
    return raw
