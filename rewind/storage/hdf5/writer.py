"""The writer: arrays and one JSON text -> the bytes of a replay file.

h5py is imported inside functions only: ``import rewind`` does not load libhdf5. The bytes are built in memory, so
libhdf5 never sees the path of a user.

What makes the file small and the same everywhere (h5py 3.14 to 3.16, any process, any time):

- format bounds 1.10 on both sides: later readers of all kinds know it, and one chunk needs no index;
- no allocation block for metadata, and all headers before all values: no block is left half used;
- no times, no order of creation, no file-space strategy (its superblock extension stores the time of day);
- names in sorted order; no chunk cache, so chunks land in the file in the order of their rows.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np

from ...state.spilled import SpilledColumn
from .container import (
    FORMAT_NAME,
    MAX_META_ATTRIBUTE,
    MAX_META_BYTES,
    MAX_OBJECTS,
    MAX_PATH_DEPTH,
    META_DATASET,
    is_name,
)
from .h5py_reader import read_with_h5py
from .messages import MAX_RANK, MAX_STRING, UNDEFINED, Kind, lookup3
from .parser import MAX_CHUNKS, Subset
from .room import Room
from .seal import SEAL_BYTES, SIGNATURE, blank_seal, seal, seal_line

__all__ = ["build", "read_with_h5py"]

Array = np.ndarray[Any, Any]
Stored = Array | SpilledColumn

CHUNK_BYTES = 1 << 20
MAX_CHUNK_BYTES = 1 << 30  # HDF5's own limit is 4 GiB
COMPACT_LINKS = 8  # a group of more children keeps them in a heap, unless its creation list says otherwise


def build(arrays: Mapping[str, Stored], meta: bytes, *, compat: str | None = None) -> bytes:
    """Return the bytes of a `.replay` file.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Keys are paths such as ``"checkpoints/state"``. Integers, floats of at most 8 bytes and fixed-length bytes
        (stored as UTF-8 text); any shape, zero-size too. Big-endian arrays are stored little-endian.
    meta : bytes
        One JSON text in UTF-8.
    compat : "1.8", optional
        Write what HDF5 1.8 and readers without libhdf5 can read: no seal, no compression.

    Returns
    -------
    data : bytes
        The same bytes for the same arguments, at any time and in any process.

    Raises
    ------
    TypeError, ValueError
        If an array or a name is not one that this container holds: the caller has to split or rename it before.

    Notes
    -----
    A dataset is cut into chunks of whole rows of about 1 MiB, at most 1,024 of them: a large dataset gets larger
    chunks, since the list of more would be paged. An array that would need a chunk above 1 GiB is stored as it is,
    uncompressed. A group of more than about 2,000 arrays or groups takes long: a minute for 4,000.
    """
    memory = io.BytesIO()
    unchunked = _write(memory, arrays, meta, compat)
    if compat:
        return memory.getvalue()
    body = _with_one_layout_version(memory.getvalue(), unchunked)[SEAL_BYTES:]
    return seal(body) + body


def build_to(file: BinaryIO, arrays: Mapping[str, Stored], meta: bytes) -> None:
    """Write what `build` returns to an empty file, row by row where an array is spilled: O(a chunk) of memory."""
    patient = _Patient(file)
    try:
        unchunked = _write(patient, arrays, meta, None)  # type: ignore[arg-type]
    except Exception:
        patient.raise_error()
        raise
    patient.raise_error()
    if unchunked:
        raise ValueError("a row of more than 1 GiB")
    file.flush()
    file.seek(SEAL_BYTES)
    hash_, size = blank_seal(), SEAL_BYTES
    while piece := file.read(CHUNK_BYTES):
        hash_.update(piece)
        size += len(piece)
    file.seek(0)
    file.write(seal_line(size, hash_.hexdigest()))
    file.flush()


class _Patient:
    """A file that HDF5 can write to and close, whatever happens to it: the first error is kept, and raised then.

    An exception out of a call from libhdf5 leaves it with a file that it cannot close any more.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._error: BaseException | None = None

    def raise_error(self) -> None:
        """Raise what happened first."""
        if self._error is not None:
            raise self._error

    def _asked(self, call: Callable[..., Any], arguments: tuple[Any, ...], otherwise: Any) -> Any:
        if self._error is None:
            try:
                return call(*arguments)
            except BaseException as error:  # Ctrl-C as well
                self._error = error
        return otherwise

    def seek(self, *where: Any) -> int:
        return int(self._asked(self._file.seek, where, 0))

    def tell(self) -> int:
        return int(self._asked(self._file.tell, (), 0))

    def readinto(self, buffer: Any) -> int:
        return int(self._asked(self._file.readinto, (buffer,), len(buffer)))  # type: ignore[attr-defined]

    def write(self, data: Any) -> int:
        return int(self._asked(self._file.write, (data,), len(data)))

    def truncate(self, *size: Any) -> int:
        return int(self._asked(self._file.truncate, size, 0))

    def flush(self) -> None:
        self._asked(self._file.flush, (), None)


def _write(memory: BinaryIO, arrays: Mapping[str, Stored], meta: bytes, compat: str | None) -> list[int]:
    """Write all but the seal; return the addresses of the datasets without chunks."""
    if compat not in (None, "1.8"):
        raise ValueError(f"compat is {compat!r}; expected None or '1.8'")
    _check_meta(meta)
    stored = {path: _prepared(path, array) for path, array in arrays.items()}
    if META_DATASET in stored:
        raise ValueError(f"the path {META_DATASET!r} is taken")
    attributes = {"format": FORMAT_NAME, "meta": meta}
    if len(meta) > MAX_META_ATTRIBUTE:
        stored[META_DATASET] = np.frombuffer(attributes.pop("meta"), np.uint8)
    file = _create_file(memory, compat)
    unchunked = _fill(file, attributes, stored, compat)
    file.close()
    return unchunked


def _check_meta(meta: bytes) -> None:
    if not 0 < len(meta) <= MAX_META_BYTES:
        raise ValueError(f"the metadata has {len(meta):,} bytes; expected 1 to {MAX_META_BYTES:,}")
    meta.decode("utf-8")
    if b"\0" in meta:
        raise ValueError("the metadata holds a NUL, which pads fixed-length text in HDF5")


def _prepared(path: str, array: Stored) -> Stored:
    """Return `array` as it is stored, little-endian and in C order; raise if path or array cannot be stored."""
    parts = path.split("/")
    if len(parts) > MAX_PATH_DEPTH or not all(map(is_name, parts)):
        raise ValueError(f"{path!r} is not a path of at most {MAX_PATH_DEPTH} printable names")
    kind, itemsize = array.dtype.kind, array.dtype.itemsize
    if not (kind in "iuf" and itemsize in (1, 2, 4, 8)) and not (kind == "S" and 0 < itemsize <= MAX_STRING):
        raise TypeError(f"{path!r} has dtype {array.dtype}; expected integers, floats of at most 8 bytes, or bytes")
    if array.ndim > MAX_RANK:
        raise ValueError(f"{path!r} has {array.ndim} dimensions; expected at most {MAX_RANK}")
    if isinstance(array, SpilledColumn):
        return array  # little-endian and in C order, as all columns are
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _tree(paths: Iterable[str]) -> dict[str, set[bytes]]:
    """Return the names in every group that `paths` need, the root ("") included."""
    datasets = set(paths)
    children: dict[str, set[bytes]] = {"": set()}
    for path in datasets:
        known = False
        while path and not known:  # up to a group that is linked already
            parent = _parent(path)
            known = parent in children
            children.setdefault(parent, set()).add(_last(path))
            path = parent
    if clash := datasets & set(children):
        raise ValueError(f"{min(clash)!r} is the path of an array and of a group of arrays")
    if len(datasets) + len(children) > MAX_OBJECTS:
        raise ValueError(f"{len(datasets):,} arrays in {len(children):,} groups; the limit is {MAX_OBJECTS:,} in all")
    if len(children[""]) > COMPACT_LINKS:
        raise ValueError(f"{len(children[''])} entries at the root; expected at most {COMPACT_LINKS}")
    return children


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _create_file(memory: BinaryIO, compat: str | None) -> Any:
    from h5py import h5f, h5fd, h5p

    version = h5f.LIBVER_V18 if compat else h5f.LIBVER_V110
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_libver_bounds(version, version)
    access.set_meta_block_size(0)
    access.set_fclose_degree(h5f.CLOSE_STRONG)
    access.set_fileobj_driver(h5fd.fileobj_driver, memory)
    creation = h5p.create(h5p.FILE_CREATE)
    creation.set_obj_track_times(False)
    if not compat:
        creation.set_userblock(SEAL_BYTES)
    return h5f.create(b"memory", h5f.ACC_TRUNC, creation, access)


def _fill(file: Any, attributes: dict[str, bytes], arrays: dict[str, Stored], compat: str | None) -> list[int]:
    """Write everything; return the addresses of the datasets without chunks."""
    from h5py import h5d, h5g, h5o, h5s

    for name, text in attributes.items():
        _write_text(file, name, text)
    groups = {"": file}
    children = _tree(arrays)
    for path in sorted(set(children) - {""}):  # a group sorts before what is in it
        creation = _group_creation(children[path])
        groups[path] = h5g.create(groups[_parent(path)], _last(path), _link_creation(path), creation)
    datasets = {path: _create_dataset(groups[_parent(path)], path, arrays[path], compat) for path in sorted(arrays)}
    for path, dataset in datasets.items():
        if isinstance(arrays[path], SpilledColumn):
            _write_rows(dataset, arrays[path])
        elif arrays[path].size:
            dataset.write(h5s.ALL, h5s.ALL, arrays[path], mtype=dataset.get_type())
    unchunked = [d for d in datasets.values() if d.get_create_plist().get_layout() == h5d.CONTIGUOUS]
    return [h5o.get_info(dataset).addr for dataset in unchunked]


def _write_rows(dataset: Any, column: Any) -> None:
    """Write a spilled column chunk by chunk: the order in which chunks of an array in memory are written, too."""
    from h5py import h5s

    rows = _rows_per_chunk(column) or 1
    for first in range(0, len(column), rows):
        piece = np.asarray(column[first : first + rows])
        where = dataset.get_space()
        where.select_hyperslab((first, *(0 for _ in column.shape[1:])), piece.shape)
        dataset.write(h5s.create_simple(piece.shape), where, piece, mtype=dataset.get_type())


def _with_one_layout_version(data: bytes, addresses: list[int]) -> bytes:
    """Return `data` with the layout messages of the datasets at `addresses` in version 3.

    HDF5 1.14 writes version 4 there and HDF5 2.0 writes version 3; the rest of the message is the same.
    """
    if not addresses:
        return data
    changed = bytearray(data)
    file = Subset(changed, SEAL_BYTES, Room(0))
    for address in addresses:
        for kind, contents in file.messages(address):
            if kind == Kind.LAYOUT:
                contents[0] = 3
    for header in file.parts():
        header[-4:] = lookup3(header[:-4]).to_bytes(4, "little")
    return bytes(changed)


def _last(path: str) -> bytes:
    return path.rpartition("/")[2].encode()


def _write_text(file: Any, name: str, text: bytes) -> None:
    from h5py import h5a, h5s

    attribute = h5a.create(file, name.encode(), _text_type(len(text)), h5s.create(h5s.SCALAR))
    attribute.write(np.array(text, f"S{len(text)}"), mtype=_text_type(len(text)))


def _text_type(size: int) -> Any:
    from h5py import h5t

    # Null-padded, and not null-terminated: the value may fill all of it. A vlen string would cost a heap of 4 KB.
    text_type = h5t.C_S1.copy()
    text_type.set_size(size)
    text_type.set_cset(h5t.CSET_UTF8)
    text_type.set_strpad(h5t.STR_NULLPAD)
    return text_type


def _link_creation(path: str) -> Any:
    from h5py import h5p, h5t

    creation = h5p.create(h5p.LINK_CREATE)
    creation.set_char_encoding(h5t.CSET_ASCII if path.isascii() else h5t.CSET_UTF8)
    return creation


def _group_creation(names: set[bytes]) -> Any:
    from h5py import h5f, h5g, h5p

    if len(names) <= COMPACT_LINKS:
        creation = h5p.create(h5p.GROUP_CREATE)
    else:
        # h5py has no H5Pset_link_phase_change, which keeps many links in the header. But it hands out the creation list
        # of a group in a file; so here is the smallest file with such a group: a superblock and the root's header.
        messages = struct.pack("<BHBBBQQ", 2, 18, 0, 0, 0, UNDEFINED, UNDEFINED)
        # Group info, flags 3: how many links stay in the header, and room for these from the start: without that,
        # libhdf5 adds a block for each, and takes minutes for thousands.
        mean_length = -(-sum(map(len, names)) // len(names))
        limits = (MAX_OBJECTS, MAX_OBJECTS - 1, len(names), mean_length)
        messages += struct.pack("<BHBBB4H", 0x0A, 10, 0, 0, 3, *limits)
        header = _checked(b"OHDR" + bytes([2, 0, len(messages)]) + messages)
        root = 48  # the size of a superblock
        superblock = _checked(SIGNATURE + struct.pack("<4B4Q", 3, 8, 8, 0, 0, UNDEFINED, root + len(header), root))
        access = h5p.create(h5p.FILE_ACCESS)
        access.set_fapl_core(1 << 16, False)
        access.set_file_image(superblock + header)
        template = h5f.open(b"template", h5f.ACC_RDONLY, access)
        creation = h5g.open(template, b"/").get_create_plist()
        template.close()
    creation.set_obj_track_times(False)
    return creation


def _checked(part: bytes) -> bytes:
    return part + lookup3(part).to_bytes(4, "little")


def _create_dataset(group: Any, path: str, array: Stored, compat: str | None) -> Any:
    from h5py import h5d, h5p, h5s, h5t

    creation = h5p.create(h5p.DATASET_CREATE)
    creation.set_obj_track_times(False)
    rows = 0 if compat else _rows_per_chunk(array)
    if rows:
        creation.set_chunk((rows, *array.shape[1:]))
        if array.itemsize > 1:
            creation.set_shuffle()
        creation.set_deflate(9)
    else:
        creation.set_layout(h5d.CONTIGUOUS)
    access = h5p.create(h5p.DATASET_ACCESS)
    # How much a cache holds differs between HDF5 versions, and so would the order in which chunks leave it.
    access.set_chunk_cache(521, 0, 1.0)
    dtype = _text_type(array.itemsize) if array.dtype.kind == "S" else h5t.py_create(array.dtype)
    space = h5s.create_simple(array.shape) if array.ndim else h5s.create(h5s.SCALAR)
    return h5d.create(group, _last(path), dtype, space, creation, _link_creation(path), access)


def _rows_per_chunk(array: Stored) -> int:
    """Return how many rows go into a chunk; 0 for an array that is stored as it is."""
    if array.ndim == 0 or array.size == 0:
        return 0
    n_rows = array.shape[0]
    row_bytes = array.nbytes // n_rows
    rows = min(n_rows, max(1, CHUNK_BYTES // row_bytes, -(-n_rows // MAX_CHUNKS)))
    n_chunks = -(-n_rows // rows)
    rows = -(-n_rows // n_chunks)  # chunks of even length: the last one is padded to the full length
    return rows if rows * row_bytes <= MAX_CHUNK_BYTES else 0
