"""A reader for `.replay` files that an HDF5 tool rewrote, such as h5repack: any chunks, any order, no seal.

Only for a file whose origin the caller trusts, and only on request: here libhdf5 parses the metadata, and every
libhdf5 up to 2.0 can be crashed by a file made for it. It is asked for little: hard links only, plain types only, no
storage outside the file, and chunks are taken as they are stored and inflated here, with a bound on what they become.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ...errors import ArtifactError, ArtifactFormatError
from ..memory import ALWAYS
from .container import FORMAT_NAME, MAX_META_ATTRIBUTE, MAX_OBJECTS, MAX_PATH_DEPTH, Container, assemble, is_name
from .messages import MAX_RANK, MAX_STRING, Malformed, filter_names, link_name
from .parser import inflate
from .room import Room

Array = np.ndarray[Any, Any]

MAX_CHUNKS = 1 << 16
_DEFLATE, _SHUFFLE, _FLETCHER32 = 1, 2, 3


def read_with_h5py(data: bytes, *, max_bytes: int | None = None, path: object = None) -> Container:
    """Return the arrays and the metadata of a `.replay` file that a tool rewrote; parameters as for `reader.read`.

    Raises
    ------
    ArtifactFormatError
        If this is not such a file, or libhdf5 cannot read it.
    """
    from h5py import h5f, h5p

    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fapl_core(1 << 16, False)
    access.set_fclose_degree(h5f.CLOSE_STRONG)
    try:
        access.set_file_image(data)
        file = h5f.open(b"memory", h5f.ACC_RDONLY, access)
        try:
            attributes = _attributes(file)
            arrays = _Walk(Room(max_bytes)).arrays(file)
        finally:
            file.close()
        return assemble(attributes, arrays, False, path)
    except ArtifactError:
        raise
    except Malformed as error:
        raise ArtifactFormatError(str(error), path) from None
    except MemoryError:
        raise ArtifactFormatError("its arrays do not fit in memory", path) from None
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError) as error:  # what h5py raises
        raise ArtifactFormatError(f"libhdf5 cannot read it ({str(error)[:200]})", path) from None


def _attributes(file: Any) -> dict[str, bytes]:
    """Return the two attributes of the root that matter; a tool may have added others."""
    from h5py import h5a, h5s

    found = {}
    for name, limit in (("format", len(FORMAT_NAME)), ("meta", MAX_META_ATTRIBUTE)):
        if not h5a.exists(file, name.encode()):
            continue
        attribute = h5a.open(file, name.encode())
        stored = attribute.get_type()
        size = _text_size(stored)
        if not 0 < size <= limit or attribute.get_space().get_simple_extent_type() != h5s.SCALAR:
            raise Malformed(f"its attribute {name} is not one fixed-length text")
        value = np.empty((), f"S{size}")
        attribute.read(value, mtype=stored)
        found[name] = value.tobytes()
    return found


def _text_size(stored: Any) -> int:
    """Return the length of a fixed-length text type, 0 for any other type."""
    from h5py import h5t

    if stored.get_class() != h5t.STRING or stored.is_variable_str():
        return 0
    return int(stored.get_size())


class _Walk:
    """One walk over the file, with what is left of its limits."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._seen: set[int] = set()

    def arrays(self, root: Any) -> dict[str, Array]:
        from h5py import h5d, h5g, h5l, h5o

        found = {}
        todo = [("", h5g.open(root, b"/"))]
        while todo:
            path, group = todo.pop()
            if path.count("/") >= MAX_PATH_DEPTH or group.get_num_objs() > MAX_OBJECTS:
                raise Malformed("its groups are too deep or too large")
            for i in range(group.get_num_objs()):
                raw = group.get_objname_by_idx(i)
                name = raw.decode("utf-8", "replace")
                if not is_name(name):
                    raise Malformed(f"it holds the name {name[:80]!a}, which a .replay file never has")
                if (kind := group.links.get_info(raw).type) != h5l.TYPE_HARD:
                    raise Malformed(f"{name!r} is {link_name(kind)}, which points elsewhere")
                info = h5o.get_info(group, raw)
                if info.addr in self._seen or len(self._seen) >= MAX_OBJECTS:
                    raise Malformed(f"it has an object twice, or more than {MAX_OBJECTS:,}")
                self._seen.add(info.addr)
                child = f"{path}/{name}" if path else name
                if info.type == h5o.TYPE_GROUP:
                    todo.append((child, h5g.open(group, raw)))
                elif info.type == h5o.TYPE_DATASET:
                    found[child] = self._array(h5d.open(group, raw))
                else:
                    raise Malformed("it holds something that is neither a group nor a dataset")
        return {path: found[path] for path in sorted(found)}

    def _array(self, dataset: Any) -> Array:
        from h5py import h5d, h5s

        dtype = _dtype(dataset.get_type())
        space, creation = dataset.get_space(), dataset.get_create_plist()
        if space.get_simple_extent_type() not in (h5s.SIMPLE, h5s.SCALAR):
            raise Malformed("a dataset has no shape")
        shape = space.get_simple_extent_dims()
        if len(shape) > MAX_RANK:
            raise Malformed(f"a dataset has {len(shape)} dimensions; the limit is {MAX_RANK}")
        if creation.get_external_count():
            raise Malformed("a dataset has external storage: its values are in another file")
        if creation.get_layout() == h5d.VIRTUAL:
            raise Malformed("it holds a virtual dataset, whose values are in other files")
        self._room.take(math.prod(max(1, extent) for extent in shape) * dtype.itemsize)
        array = np.empty(shape, dtype)
        if creation.get_layout() == h5d.CHUNKED:
            if array.size:
                self._read_chunks(dataset, creation, array)
        elif creation.get_layout() in (h5d.COMPACT, h5d.CONTIGUOUS):
            if dataset.get_storage_size() != array.nbytes:
                raise Malformed("a dataset is not stored in full")
            if array.size:
                dataset.read(h5s.ALL, h5s.ALL, array, mtype=dataset.get_type())
        else:
            raise Malformed("a dataset keeps its values elsewhere")
        return array.astype(dtype.newbyteorder("<"), copy=False)

    def _read_chunks(self, dataset: Any, creation: Any, array: Array) -> None:
        chunk = creation.get_chunk()
        if len(chunk) != array.ndim or not all(0 < c for c in chunk):
            raise Malformed("the chunks of a dataset do not match its shape")
        filters = [creation.get_filter(i)[0] for i in range(creation.get_nfilters())]
        if len(set(filters)) != len(filters) or not set(filters) <= {_DEFLATE, _SHUFFLE, _FLETCHER32}:
            raise Malformed(
                f"a dataset has filters other than shuffle, deflate and fletcher32 (it has: {filter_names(filters)})"
            )
        chunk_bytes = math.prod(chunk) * array.itemsize
        n_chunks = math.prod(-(-extent // c) for extent, c in zip(array.shape, chunk, strict=True))
        # Chunks at the edges are padded; that much of it is no tool's work.
        if n_chunks > MAX_CHUNKS or n_chunks * chunk_bytes > 4 * max(array.nbytes, ALWAYS):
            raise Malformed("a dataset has too many chunks, or too large ones")
        self._room.work(4 * chunk_bytes)  # as it comes out of each filter
        starts = (range(0, extent, c) for extent, c in zip(array.shape, chunk, strict=True))
        stored: list[Any] = []
        dataset.chunk_iter(stored.append)  # one pass: asking for each by its place searches from the start each time
        if {info.chunk_offset for info in stored} != set(itertools.product(*starts)):
            raise Malformed("a dataset is not stored in full")
        for info in stored:
            start = info.chunk_offset
            if info.filter_mask or info.size > 2 * chunk_bytes + 4096:
                raise Malformed("a chunk is too long, or skips a filter")
            raw = _unfilter(dataset.read_direct_chunk(start)[1], filters, chunk_bytes, array.itemsize)
            block = np.frombuffer(raw, array.dtype).reshape(chunk)
            here = tuple(slice(s, min(s + c, n)) for s, c, n in zip(start, chunk, array.shape, strict=True))
            array[here] = block[tuple(slice(0, s.stop - s.start) for s in here)]


def _dtype(stored: Any) -> np.dtype[Any]:
    from h5py import h5t

    if 0 < (size := _text_size(stored)) <= MAX_STRING:
        return np.dtype(f"S{size}")
    if stored.get_class() in (h5t.INTEGER, h5t.FLOAT) and stored.get_size() in (1, 2, 4, 8):
        dtype: np.dtype[Any] = stored.dtype
        if stored == h5t.py_create(dtype):  # no odd precision, offset or exponent
            return dtype
    raise Malformed("a dataset has a type that is not a plain number or a fixed-length text")


def _unfilter(raw: bytes, filters: list[int], chunk_bytes: int, itemsize: int) -> bytes:
    """Undo `filters`, the last one first."""
    for i in reversed(range(len(filters))):
        size = chunk_bytes + 4 * (_FLETCHER32 in filters[:i])  # before this filter was applied
        if filters[i] == _DEFLATE:
            raw = inflate(raw, size)
        elif filters[i] == _SHUFFLE:
            n_items = len(raw) // itemsize
            planes = np.frombuffer(raw, np.uint8, n_items * itemsize).reshape(itemsize, n_items)
            raw = planes.T.tobytes() + raw[n_items * itemsize :]
        else:
            raw, checksum = raw[:-4], raw[-4:]
            if fletcher32(raw) != int.from_bytes(checksum, "little"):
                raise Malformed("a chunk differs from its checksum")
    if len(raw) != chunk_bytes:
        raise Malformed("a chunk does not hold what its shape says")
    return raw


def fletcher32(data: bytes) -> int:
    """Return the checksum of HDF5's fletcher32 filter: over big-endian 16-bit words, an odd last byte padded."""
    words = np.frombuffer(data + b"\0" * (len(data) % 2), ">u2").astype(np.uint64)
    weights = np.arange(len(words), 0, -1, dtype=np.uint64) % 65535
    sums = int(words.sum()), int((words * weights).sum())
    # Its additions carry around, which makes 65535 of every multiple of 65535 but the sum of nothing.
    low, high = ((total - 1) % 65535 + 1 if words.any() else 0 for total in sums)
    return high << 16 | low
