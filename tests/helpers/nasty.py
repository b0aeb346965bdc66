"""Files made to do harm: ``python tests/helpers/nasty.py make DIR`` writes them, ``... check DIR`` loads each.

Every function below makes one file, the same one each time, and its docstring says what the file tries. What it is
refused with stands in its decorator; an ``ok_...`` file loads. `check` loads each file in a process of its own, with
limits on memory and CPU time, and notes every file that process opens.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import io
import json
import os
import signal
import socket
import struct
import sys
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import rewind
from rewind.storage import replay_file
from rewind.storage.hdf5 import writer
from rewind.storage.hdf5.messages import UNDEFINED, lookup3
from rewind.storage.hdf5.seal import SEAL_BYTES, SIGNATURE, seal

CPU_SECONDS = 2  # of each load, info and fsck
MEMORY = 512 << 20  # of address space, beyond what the process has when it starts
KEY = b"key"

Arrays = dict[str, np.ndarray]
Parts = tuple[Arrays, dict[str, Any]]


@dataclass(frozen=True)
class Nasty:
    """One file: how it is made, and what is to come of it."""

    make: Callable[..., bytes | None]
    error: str | None
    said: str
    asked: str = "load"  # or "get": it is refused no earlier than that
    allow_pickle: bool = False
    key: bytes | None = None
    in_folder: bool = False  # it makes its path itself


CORPUS: dict[str, Nasty] = {}

#: Those that take a second or two to make: megabytes of constants, so that one making tells as much as two.
SLOW = {"bomb_of_keys", "header_of_7_mib", "header_of_nothing_messages"}


def nasty(said: str, error: str | None = "ArtifactFormatError", **options: Any) -> Callable[[Any], Any]:
    """Enter a function that makes a file into `CORPUS`."""

    def enter(make: Callable[..., bytes | None]) -> Callable[..., bytes | None]:
        CORPUS[make.__name__] = Nasty(make, error, said, **options)
        return make

    return enter


def fine(**options: Any) -> Callable[[Any], Any]:
    return nasty("", None, **options)


# ---- tools: recordings


def step(x: Any, rng: Any) -> Any:
    return x + rng.randrange(-1, 2)


def louder(words: Any, rng: Any) -> Any:
    return {"said": words["said"] + "é"}


def gather(x: Any, rng: Any) -> Any:
    return x | {frozenset({rng.randrange(9)})}


def keep(x: Any, rng: Any) -> Any:
    return x


def parts_of(run: Any) -> Parts:
    arrays, meta = replay_file.to_parts(run._recording)
    meta.update(step={}, versions={})
    return {name: array.copy() for name, array in arrays.items()}, json.loads(json.dumps(meta))


def walked() -> Parts:
    return parts_of(rewind.record(step, 0, 200, 7, block_size=20))


def observed() -> Parts:
    return parts_of(rewind.record(step, 0, 200, 7, block_size=20, observe={"x": None}))


def spoken() -> Parts:
    return parts_of(rewind.record(louder, {"said": ""}, 30, 7, block_size=10))


def gathered() -> Parts:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rewind.PickledStatesWarning)
        return parts_of(rewind.record(gather, {frozenset()}, 30, 7, block_size=10))


def forked(backend: str = "python") -> Parts:
    function = step if backend == "python" else lambda x, rng: x + rng.normal()
    run = rewind.record(function, 0.5 if backend == "numpy" else 0, 60, 7, block_size=20, backend=backend)
    return parts_of(run.branch(5, lambda x: x + 1, noise="same"))


def file_of(parts: Parts, **changes: Any) -> bytes:
    """Return the file of these parts with other metadata; every hash fits, and the seal does."""
    arrays, meta = parts
    meta = {**meta, **changes}
    meta = {name: value for name, value in meta.items() if value is not ...}
    if "pickle/blob" in arrays:
        meta["pickle_hash"] = hashlib.blake2b(arrays["pickle/blob"].tobytes(), digest_size=32).hexdigest()
    meta["content_hash"] = replay_file._content_hash(arrays, meta)
    return writer.build(arrays, replay_file._canonical(meta))


def told(text: bytes) -> bytes:
    """Return a file with this metadata."""
    return writer.build(walked()[0], text)


def said(old: str, new: str) -> bytes:
    """Return a file with another text somewhere in its metadata, which need not be JSON any more."""
    arrays, meta = walked()
    text = replay_file._canonical({**meta, "params": {"rate": 17}}).decode()
    assert old in text
    return writer.build(arrays, text.replace(old, new).encode())


# ---- tools: HDF5


def hdf5(fill: Callable[[Any], Any], meta: bytes | None = None) -> bytes:
    """Return a file of h5py's that `fill(file)` filled, with our attributes and a seal that fits."""
    import h5py

    memory = io.BytesIO()
    file = h5py.File(writer._create_file(memory, None))
    writer._write_text(file.id, "format", b"rewind.replay")
    writer._write_text(file.id, "meta", replay_file._canonical(walked()[1]) if meta is None else meta)
    fill(file)
    file.close()
    return sealed(memory.getvalue()[SEAL_BYTES:])


def sealed(body: bytes) -> bytes:
    return seal(body) + body


def group(parent: Any, name: str) -> Any:
    import h5py

    created = h5py.h5g.create(parent.id, name.encode(), writer._link_creation(name), writer._group_creation(set()))
    return h5py.Group(created)


def dataset(
    file: Any,
    prepare: Callable[[Any], Any],
    shape: tuple[int, ...] = (1000,),
    type_: Any = None,
    name: str = "state",
) -> Any:
    """Create a dataset with a creation list that `prepare(list)` changed."""
    from h5py import h5d, h5p, h5s, h5t

    creation = h5p.create(h5p.DATASET_CREATE)
    creation.set_obj_track_times(False)
    prepare(creation)
    return h5d.create(file.id, name.encode(), type_ or h5t.STD_I64LE, h5s.create_simple(shape), creation)


def chunk(raw: bytes, shape: tuple[int, ...] = (1000,), mask: int = 0, names: tuple[str, ...] = ("state",)) -> bytes:
    """Return a file with one chunk, stored as `raw`, in each dataset."""

    def fill(file: Any) -> None:
        def prepare(creation: Any) -> None:
            creation.set_chunk(shape)
            creation.set_shuffle()
            creation.set_deflate(9)

        for name in names:
            made = dataset(file, prepare, shape, name=name)
            made.write_direct_chunk((0,) * len(shape), raw, filter_mask=mask)

    return hdf5(fill)


def message(kind: int, contents: bytes, flags: int = 0) -> bytes:
    return struct.pack("<BHB", kind, len(contents), flags) + contents


def checked(part: bytes) -> bytes:
    return part + lookup3(part).to_bytes(4, "little")


def header(messages: bytes) -> bytes:
    return checked(b"OHDR" + struct.pack("<BBI", 2, 2, len(messages)) + messages)


NO_LINKS = message(2, struct.pack("<BBQQ", 0, 0, UNDEFINED, UNDEFINED))


def link(name: bytes, address: int, flags: int = 0, kind: bytes = b"") -> bytes:
    return message(6, bytes([1, flags]) + kind + bytes([len(name)]) + name + address.to_bytes(8, "little"))


def text_attribute(name: bytes, value: bytes) -> bytes:
    type_ = bytes([0x13, 0x11, 0, 0]) + len(value).to_bytes(4, "little")
    head = struct.pack("<BBHHHB", 3, 0, len(name) + 1, len(type_), 4, 0)
    return message(12, head + name + b"\0" + type_ + bytes([2, 0, 0, 0]) + value)


OURS = text_attribute(b"format", b"rewind.replay") + text_attribute(b"meta", b"{}")


def by_hand(messages: bytes, objects: bytes = b"", **wrong: int) -> bytes:
    """Return a file of the header of its root, which stands after `objects`; these start at address 48."""
    at = 48 + len(objects)
    end = at + len(messages)
    values = {"base": SEAL_BYTES, "extension": UNDEFINED, "end": SEAL_BYTES + end, "root": at, "flags": 0, **wrong}
    superblock = SIGNATURE + bytes([3, 8, 8, values["flags"]])
    superblock += struct.pack("<4Q", *(values[name] for name in ("base", "extension", "end", "root")))
    return sealed(checked(superblock) + objects + messages)


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    """Return `data` with other bytes somewhere in its headers, every checksum and the seal made right."""
    from helpers.mutants import checked_ranges, repaired

    return repaired(bytearray(data.replace(old, new, 1)), checked_ranges(data))


def plain() -> bytes:
    """Return a file of two datasets that are stored as they are, whose addresses stand after `STORED`."""
    return writer.build({"aa": np.arange(50.0), "bb": np.arange(50.0)}, b"{}", compat="1.8")


STORED = bytes([8, 18, 0, 0, 3, 1])


# ---- good files


@fine()
def ok_walk() -> bytes:
    """Nothing."""
    return file_of(walked())


@fine()
def ok_oldest() -> bytes:
    """Nothing: a file without a seal."""
    return replay_file.to_bytes(rewind.record(step, 0, 200, 7)._recording, compat="1.8")


@fine(in_folder=True)
def ok_symlink(path: Path) -> None:
    """To be read where it is not."""
    path.with_name("target-of-a-link").write_bytes(ok_walk())
    path.symlink_to("target-of-a-link")


@fine(allow_pickle=True)
def ok_pickled() -> bytes:
    """Nothing: honest pickles, allowed."""
    return file_of(gathered())


@fine(key=KEY)
def ok_signed() -> bytes:
    """Nothing: it is signed with the key."""
    return replay_file.to_bytes(rewind.record(step, 0, 200, 7)._recording, key=KEY)


@fine()
def ok_hint_at_os_system() -> bytes:
    """To have a function imported and called by the name that the file gives of its step."""
    return file_of(walked(), step={"id": "os:system", "file": "/etc/passwd", "source": "00" * 16})


@fine()
def ok_escapes_for_terminals() -> bytes:
    """To write to the terminal of whoever asks for info."""
    return file_of(walked(), step={"id": "\x1b]0;owned\x07\x1b[2J"}, stopped="\x1b[31m\r\u202e", complete=False)


@fine()
def ok_of_1e18_steps() -> bytes:
    """Time: ten checkpoints that stand for 10**17 blocks, over which nothing may loop."""
    return file_of(walked(), n_steps=10**18, block_size=10, stride=10**16)


# ---- bombs


@nasty("bytes of memory are available here")
def bomb_1_tib_declared() -> bytes:
    """Memory, by a shape alone."""
    return hdf5(lambda file: dataset(file, lambda creation: None, (1 << 37,)))


@nasty("bytes of memory are available here")
def bomb_8_pib_in_chunks() -> bytes:
    """Memory, by a shape of two axes in chunks that are not there."""
    return hdf5(lambda file: dataset(file, lambda creation: creation.set_chunk((1024, 1024)), (1 << 25, 1 << 25)))


@nasty("bytes of memory are available here")
def bomb_beside_a_zero() -> bytes:
    """Memory, or an overflow, by extents whose product is 0."""
    return hdf5(lambda file: dataset(file, lambda creation: None, (1 << 31, 1 << 31, 0)))


def zeros(n: int) -> bytes:
    """Return what inflates to `n` MiB of zeros."""
    maker = zlib.compressobj(9, zlib.DEFLATED, -15)
    mebibyte = maker.compress(bytes(1 << 20)) + maker.flush(zlib.Z_FULL_FLUSH)
    return b"\x78\xda" + mebibyte * n + b"\3\0" + struct.pack(">HH", (n << 20) % 65521, 1)


@nasty("bytes of memory are available here")
def bomb_1_gib_of_zeros() -> bytes:
    """Memory, by 1 MiB that inflates to all it says."""
    return chunk(zeros(1 << 10), (1 << 27,))


@nasty("bytes of memory are available here")
def bomb_that_fits_but_not_twice() -> bytes:
    """Memory: 320 MiB in one chunk, which is inflated beside the array that it fills."""
    return chunk(zeros(320), (320 << 17,))


@nasty("does not hold what its shape says")
def bomb_inflates_past_its_shape() -> bytes:
    """Memory, by a chunk of 8,000 bytes that inflates to 64 MiB."""
    return chunk(zlib.compress(bytes(1 << 26), 9))


@nasty("bytes of memory are available here")
def bomb_of_many_small_ones() -> bytes:
    """Memory, by seven datasets none of which is too large."""
    return chunk(zeros(80), (80 << 17,), names=tuple("abcdefg"))


@nasty("deflate, deflate")
def bomb_deflated_twice() -> bytes:
    """Memory, by a bomb in a bomb."""

    def fill(file: Any) -> None:
        def prepare(creation: Any) -> None:
            creation.set_chunk((1 << 21,))
            creation.set_deflate(9)
            creation.set_deflate(9)

        raw = zlib.compress(zlib.compress(bytes(1 << 24), 9), 9)
        dataset(file, prepare, (1 << 21,)).write_direct_chunk((0,), raw)

    return hdf5(fill)


@nasty("too short for what it is said to hold")
def bomb_of_a_few_bytes() -> bytes:
    """Memory, by a chunk that no deflate stream of its length can fill."""
    return chunk(zlib.compress(b""), (1 << 22,))


@nasty("its metadata has 17,")
def bomb_of_metadata() -> bytes:
    """Memory, by metadata of 17 MiB in 17 KiB."""
    return _long_meta(b'{"a":"%s"}' % (b"x" * (17 << 20)))


@nasty("values; the limit is")
def bomb_of_empty_lists() -> bytes:
    """Memory and time, by five million objects in 16 MiB of JSON."""
    return _long_meta(b'{"a":[%s0]}' % (b"[]," * 5_000_000))


@nasty("values; the limit is")
def bomb_of_keys() -> bytes:
    """Memory and time, by a million keys."""
    return _long_meta(b'{"a":{%s"z":0}}' % b"".join(b'"%x":0,' % i for i in range(1_100_000)))


@nasty("is not JSON")
def bomb_of_quotes() -> bytes:
    """Time, by quotes that a pattern would search for over and over."""
    return _long_meta(b'{"a":"' + b'\\"' * 8_000_000)


def _long_meta(text: bytes) -> bytes:
    def fill(file: Any) -> None:
        del file.attrs["meta"]
        row = np.frombuffer(text, "u1")
        file.create_dataset("meta_json", data=row, chunks=row.shape, compression=9)

    return hdf5(fill)


@nasty("either the attribute meta or the dataset")
def meta_twice() -> bytes:
    """Two texts, for two readers."""
    row = np.frombuffer(b"{}", "u1")
    return hdf5(lambda file: file.create_dataset("meta_json", data=row, chunks=row.shape, compression=9))


# ---- deflate


@nasty("does not hold what its shape says")
def deflate_short() -> bytes:
    """Memory of the process as data: libhdf5 before 2.2 hands out what a short stream leaves unwritten."""
    return chunk(zlib.compress(bytes(800), 9))


@nasty("does not hold what its shape says")
def deflate_without_an_end() -> bytes:
    """A stream that is cut, for a reader that waits for more."""
    return chunk(zlib.compress(bytes(range(250)) * 32, 9)[:-8])


@nasty("does not hold what its shape says")
def deflate_with_more_after_it() -> bytes:
    """Bytes that nothing reads, after the stream."""
    return chunk(zlib.compress(bytes(8000), 9) + b"hidden")


@nasty("cannot be inflated")
def deflate_of_nonsense() -> bytes:
    """Bytes that are no stream."""
    return chunk(b"\x78\xda" + b"\xff" * 100)


@nasty("cannot be inflated")
def deflate_with_a_dictionary() -> bytes:
    """A stream that asks for a dictionary of its own."""
    deflate = zlib.compressobj(9, zdict=b"dictionary")
    return chunk(deflate.compress(b"dictionary" * 800) + deflate.flush())


@nasty("skips a filter")
def filter_mask() -> bytes:
    """A chunk that says which filters were left out."""
    return chunk(bytes(8000), mask=2)


# ---- filters


def _filtered(**options: Any) -> bytes:
    return hdf5(lambda file: file.create_dataset("state", data=np.arange(1000), chunks=(1000,), **options))


@nasty("lzf")
def filter_lzf() -> bytes:
    """Another decoder."""
    return _filtered(compression="lzf")


@nasty("fletcher32")
def filter_fletcher32() -> bytes:
    """Another decoder."""
    return _filtered(fletcher32=True, shuffle=True, compression=9)


@nasty("scale-offset")
def filter_scale_offset() -> bytes:
    """A decoder in which sizes come from the file."""
    return _filtered(scaleoffset=0)


@nasty("filter 31337")
def filter_from_a_plugin() -> bytes:
    """A shared library, which libhdf5 would look for in its plugin folders."""

    def fill(file: Any) -> None:
        def prepare(creation: Any) -> None:
            creation.set_chunk((1000,))
            creation.set_filter(31337, 1, (1 << 31,) * 4)

        dataset(file, prepare).write_direct_chunk((0,), bytes(8000), filter_mask=1)

    return hdf5(fill)


# ---- links


def _linked(name: str, link_: Any) -> bytes:
    return hdf5(lambda file: file.__setitem__(name, link_))


@nasty("an external link")
def link_external() -> bytes:
    """Another file, by its whole path."""
    import h5py

    return _linked("checkpoints", h5py.ExternalLink("/etc/passwd", "/"))


@nasty("an external link")
def link_external_inside_a_group() -> bytes:
    """Another file, by a path from the folder of this one."""
    import h5py

    return hdf5(lambda file: group(file, "checkpoints").__setitem__("state", h5py.ExternalLink("ok_walk.replay", "/")))


@nasty("a soft link")
def link_soft() -> bytes:
    """Another object of the file."""
    import h5py

    return _linked("checkpoints", h5py.SoftLink("/elsewhere"))


@nasty("a soft link")
def link_soft_to_itself() -> bytes:
    """A walk without an end."""
    import h5py

    return _linked("loop", h5py.SoftLink("/loop"))


@nasty("a user-defined link")
def link_user_defined() -> bytes:
    """A link whose meaning a plugin knows."""
    return by_hand(header(OURS + NO_LINKS + link(b"x", 48, flags=8, kind=b"\xc8")), header(NO_LINKS))


@nasty("a second hard link")
def link_hard_twice() -> bytes:
    """One dataset under two names."""

    def fill(file: Any) -> None:
        file["a"] = np.arange(9)
        file["b"] = file["a"]

    return hdf5(fill)


@nasty("a second hard link")
def link_cycle() -> bytes:
    """A group that is inside itself."""

    def fill(file: Any) -> None:
        inner = group(file, "checkpoints")
        inner["again"] = inner

    return hdf5(fill)


@nasty("overlaps another part")
def link_cycle_uncounted() -> bytes:
    """A group inside itself, of an author who does not count links."""
    child = header(NO_LINKS + link(b"again", 48))
    return by_hand(header(OURS + NO_LINKS + link(b"group", 48)), child)


@nasty("overlaps another part")
def link_aliases() -> bytes:
    """One dataset under 5,000 names: work that the size of the file does not show."""
    child = header(NO_LINKS)
    links = b"".join(link(b"%d" % i, 48) for i in range(5000))
    return by_hand(header(OURS + NO_LINKS + links), child)


@nasty("an object header is not of the kind")
def link_to_the_superblock() -> bytes:
    """An object where the superblock is."""
    return by_hand(header(OURS + NO_LINKS + link(b"x", 0)))


@nasty("twice")
def link_name_twice() -> bytes:
    """Two objects of one name, for two readers."""
    child = header(NO_LINKS)
    return by_hand(header(OURS + NO_LINKS + link(b"x", 48) + link(b"x", 48 + len(child))), child + child)


@nasty("not UTF-8")
def name_that_is_no_text() -> bytes:
    """A name that cannot be shown."""
    return by_hand(header(OURS + NO_LINKS + link(b"\xff\xfe", 48)), header(NO_LINKS))


@nasty("it holds the name")
def name_of_dots() -> bytes:
    """A path out of the file."""
    return by_hand(header(OURS + NO_LINKS + link(b"..", 48)), header(NO_LINKS))


@nasty("it holds the name")
def name_with_slashes() -> bytes:
    """A path out of the file."""
    return by_hand(header(OURS + NO_LINKS + link(b"../../etc/passwd", 48)), header(NO_LINKS))


@nasty("it holds the name")
def name_with_an_escape() -> bytes:
    """The terminal of whoever lists it."""
    return by_hand(header(OURS + NO_LINKS + link(b"\x1b[2J", 48)), header(NO_LINKS))


# ---- values kept elsewhere


@nasty("external storage")
def storage_external() -> bytes:
    """/etc/passwd as an array."""
    return hdf5(lambda file: dataset(file, lambda creation: creation.set_external(b"/etc/passwd", 0, 8000)))


@nasty("external storage")
def storage_external_relative() -> bytes:
    """A file beside this one as an array."""
    return hdf5(lambda file: dataset(file, lambda creation: creation.set_external(b"../../secret", 0, 8000)))


def _virtual(source: str) -> bytes:
    from h5py import h5s

    space = h5s.create_simple((9,))
    prepare = lambda creation: creation.set_virtual(space, source.encode(), b"x", space)  # noqa: E731
    return hdf5(lambda file: dataset(file, prepare, (9,)))


@nasty("a virtual dataset")
def storage_virtual() -> bytes:
    """Another file, as the values of a dataset."""
    return _virtual("/etc/passwd")


@nasty("a virtual dataset")
def storage_virtual_of_itself() -> bytes:
    """A dataset whose values are its own."""
    return _virtual(".")


# ---- types and shapes


def _typed(name: str) -> Callable[[], bytes]:
    def make() -> bytes:
        from h5py import h5t

        types = {
            "vlen_text": lambda: h5t.py_create(__import__("h5py").string_dtype(), logical=True),
            "vlen": lambda: h5t.vlen_create(h5t.STD_I32LE),
            "reference": lambda: h5t.STD_REF_OBJ,
            "region": lambda: h5t.STD_REF_DSETREG,
            "compound": lambda: h5t.py_create(np.dtype("<i4,<f8")),
            "opaque": lambda: h5t.create(h5t.OPAQUE, 16),
            "enum": lambda: h5t.py_create(np.dtype(bool)),
            "array": lambda: h5t.array_create(h5t.STD_I8LE, (3,)),
            "time": lambda: h5t.UNIX_D32LE,
            "bits": lambda: h5t.STD_B8LE,
            "big_endian": lambda: h5t.STD_I64BE,
        }
        return hdf5(lambda file: dataset(file, lambda creation: None, (3,), types[name]()))

    return make


for _name, _said in {
    "vlen_text": "a variable-length type",
    "vlen": "a variable-length type",
    "reference": "a reference type",
    "region": "a reference type",
    "compound": "a compound type",
    "opaque": "an opaque type",
    "enum": "an enumerated type",
    "array": "an array type",
    "time": "a time type",
    "bits": "a bit-field type",
    "big_endian": "an integer type of an odd size, precision or byte order",
}.items():
    CORPUS[f"type_{_name}"] = Nasty(_typed(_name), "ArtifactFormatError", _said)


@nasty("a named type")
def type_with_a_name() -> bytes:
    """An object that is neither a group nor a dataset."""
    integer = bytes([0x10, 8, 0, 0]) + struct.pack("<IHH", 8, 0, 64)
    return by_hand(header(OURS + NO_LINKS + link(b"t", 48)), header(message(3, integer)))


@nasty("a type of an object is shared")
def type_kept_elsewhere() -> bytes:
    """A dataset whose type is another object."""
    shared = message(3, bytes([3, 2]) + (48).to_bytes(8, "little"), flags=2)
    return by_hand(header(OURS + NO_LINKS + link(b"d", 48)), header(shared + message(8, b"\3\0\0\0")))


@nasty("can grow")
def shape_that_grows() -> bytes:
    """A dataset with other kinds of lists of chunks."""
    return hdf5(lambda file: file.create_dataset("state", data=np.arange(9), maxshape=(None,), chunks=(9,)))


@nasty("a null one")
def shape_of_nothing() -> bytes:
    """A dataset without a shape."""
    import h5py

    return hdf5(lambda file: file.create_dataset("state", data=h5py.Empty("<f8")))


@nasty("33 dimensions")
def shape_of_33_axes() -> bytes:
    """A rank that no array has."""
    space = message(1, bytes([2, 33, 1, 1]) + bytes(16 * 33))
    integer = message(3, bytes([0x10, 8, 0, 0]) + struct.pack("<IHH", 8, 0, 64))
    child = header(space + integer + message(8, b"\3\0\0\0"))
    return by_hand(header(OURS + NO_LINKS + link(b"d", 48)), child)


@nasty("a text type")
def type_of_text_of_4_gib() -> bytes:
    """A text of 4 GiB in each row."""
    space = message(1, bytes([2, 0, 0, 0]))
    text = message(3, bytes([0x13, 0x11, 0, 0]) + (0xFFFFFFFF).to_bytes(4, "little"))
    child = header(space + text + message(8, b"\3\0\0\0"))
    return by_hand(header(OURS + NO_LINKS + link(b"d", 48)), child)


# ---- attributes


@nasty("its attribute 'more'")
def attribute_of_variable_length() -> bytes:
    """A value in a global heap, in which libhdf5 could be made to hang."""
    return hdf5(lambda file: file.attrs.__setitem__("more", "text"))


@nasty("its attribute 'more'")
def attribute_of_numbers() -> bytes:
    """A value of another type."""
    return hdf5(lambda file: file.attrs.__setitem__("more", np.arange(9)))


@nasty("it has the attribute 'more'")
def attribute_too_many() -> bytes:
    """Text that nothing reads and no hash covers."""
    return hdf5(lambda file: writer._write_text(file.id, "more", b"text"))


@nasty("attributes in a heap")
def attribute_heap() -> bytes:
    """Attributes outside of the headers: too many of them."""
    return hdf5(lambda file: [file.attrs.__setitem__(f"a{i}", i) for i in range(300)])


@nasty("attributes in a heap")
def attribute_of_4_mib() -> bytes:
    """Attributes outside of the headers: one that is too large."""
    return hdf5(lambda file: file.attrs.__setitem__("big", np.zeros(1 << 22, "u1")))


@nasty("a dataset has an attribute")
def attribute_of_a_dataset() -> bytes:
    """An attribute where none is looked for."""
    return hdf5(lambda file: file.create_dataset("state", data=np.arange(9)).attrs.__setitem__("a", 1))


@nasty("twice")
def attribute_twice() -> bytes:
    """Two metadata texts, for two readers."""
    return by_hand(header(OURS + text_attribute(b"meta", b'{"a":1}') + NO_LINKS))


@nasty('no attribute format="rewind.replay"')
def attribute_missing() -> bytes:
    """An HDF5 file of someone else's."""
    return by_hand(header(NO_LINKS))


# ---- structure


@nasty("nested deeper than")
def groups_too_deep() -> bytes:
    """A stack that overflows: 3,000 groups, each in the one before."""
    objects = b""
    child = b""
    for _ in range(3000):
        address = 48 + len(objects)
        objects += child
        child = header(NO_LINKS + (link(b"g", address) if child else b""))
    return by_hand(header(OURS + NO_LINKS + link(b"g", 48 + len(objects))), objects + child)


@nasty("more than 16,384 groups")
def groups_too_many() -> bytes:
    """Time and memory: 20,000 groups."""
    child = header(NO_LINKS)
    links = b"".join(link(b"%d" % i, 48 + i * len(child)) for i in range(20_000))
    return by_hand(header(OURS + NO_LINKS + links), child * 20_000)


@nasty("links in a heap")
def groups_in_a_heap() -> bytes:
    """Links in a B-tree."""
    return hdf5(lambda file: [group(file, f"g{i}") for i in range(20)])


@nasty("a symbol table")
def groups_of_the_oldest_kind() -> bytes:
    """Links in a B-tree of the first kind."""
    return by_hand(header(OURS + NO_LINKS + link(b"g", 48)), header(NO_LINKS + message(0x11, bytes(16))))


@nasty("object headers take more than")
def header_too_long() -> bytes:
    """Time: a checksum over 12 MiB."""
    messages = OURS + NO_LINKS + message(0, bytes(65_000)) * 190
    return by_hand(b"OHDR" + struct.pack("<BBI", 2, 2, len(messages)) + messages + b"none")


@nasty("messages")
def header_of_nothing_messages() -> bytes:
    """Time: two million empty messages."""
    return by_hand(header(OURS + message(0, b"") * 1_500_000))


@nasty("an object is neither")
def header_of_7_mib() -> bytes:
    """Time: a checksum over all that is allowed."""
    return by_hand(header(OURS + message(0, bytes(65_000)) * 120))


@nasty("overlaps another part")
def header_that_goes_on_in_itself() -> bytes:
    """A header without an end."""
    size = len(header(OURS + NO_LINKS + message(16, bytes(16))))
    return by_hand(header(OURS + NO_LINKS + message(16, struct.pack("<QQ", 48, size))))


@nasty("lies outside the file")
def header_that_goes_on_outside() -> bytes:
    """Bytes after the file."""
    return by_hand(header(OURS + NO_LINKS + message(16, struct.pack("<QQ", 1 << 62, 1 << 20))))


@nasty("cut short")
def header_with_a_long_message() -> bytes:
    """Bytes after the header."""
    return by_hand(header(OURS + NO_LINKS + struct.pack("<BHB", 6, 60_000, 0)))


@nasty("an object header is cut short")
def root_outside() -> bytes:
    """Bytes after the file."""
    return by_hand(header(OURS + NO_LINKS), root=1 << 63)


@nasty("an object header is cut short")
def root_around_the_corner() -> bytes:
    """An address that wraps around to one before the file."""
    return by_hand(header(OURS + NO_LINKS), root=UNDEFINED - 100)


@nasty("the superblock is not of the kind")
def superblock_with_an_extension() -> bytes:
    """Settings of the file somewhere else."""
    return by_hand(header(OURS + NO_LINKS), extension=48)


@nasty("the superblock is not of the kind")
def superblock_of_a_writer_at_work() -> bytes:
    """A file that a writer has not closed."""
    return by_hand(header(OURS + NO_LINKS), flags=5)


@nasty("the superblock is not of the kind")
def superblock_at_another_place() -> bytes:
    """Addresses that count from elsewhere."""
    return by_hand(header(OURS + NO_LINKS), base=0)


@nasty("the file ends after")
def superblock_with_a_later_end() -> bytes:
    """More than there is."""
    return by_hand(header(OURS + NO_LINKS), end=1 << 40)


@nasty("bytes after its end")
def superblock_with_an_earlier_end() -> bytes:
    """Bytes that nothing reads."""
    return by_hand(header(OURS + NO_LINKS), end=600)


@nasty("overlaps another part")
def extents_that_overlap() -> bytes:
    """Two datasets that share bytes."""
    data = plain()
    first = data.index(STORED) + len(STORED)
    second = data.index(STORED, first) + len(STORED)
    moved = int.from_bytes(data[first : first + 8], "little") + 8
    return patched(data, data[second - 6 : second + 8], STORED + moved.to_bytes(8, "little"))


@nasty("lies outside the file")
def extent_outside() -> bytes:
    """Bytes after the file."""
    data = plain()
    first = data.index(STORED)
    return patched(data, data[first : first + 14], STORED + (1 << 40).to_bytes(8, "little"))


@nasty("is not stored in full")
def extent_too_short() -> bytes:
    """Bytes after the dataset."""
    data = plain()
    return patched(data, (400).to_bytes(8, "little"), (392).to_bytes(8, "little"))


# ---- the first 512 bytes


@nasty("the seal in its first 512 bytes is damaged", "ArtifactIntegrityError")
def seal_wiped() -> bytes:
    """To switch the seal off."""
    return bytes(SEAL_BYTES) + ok_walk()[SEAL_BYTES:]


@nasty("format version 2", "ArtifactVersionError")
def seal_of_a_later_version() -> bytes:
    """A seal that this version does not know."""
    return ok_walk().replace(b'{"rewind":1', b'{"rewind":2', 1)


@nasty("the seal in its first line cannot be read", "ArtifactIntegrityError")
def seal_of_a_version_of_many_digits() -> bytes:
    """A number too long to be read."""
    return (b'{"rewind":' + b"9" * 480 + b"}\n").ljust(SEAL_BYTES, b"\0") + ok_walk()[SEAL_BYTES:]


@nasty("its bytes are not the bytes that were sealed", "ArtifactIntegrityError")
def seal_of_another_file() -> bytes:
    """Other contents after an honest seal."""
    other = file_of(walked(), seed="8")
    return ok_walk()[:SEAL_BYTES] + other[SEAL_BYTES:].ljust(len(ok_walk()) - SEAL_BYTES, b"\0")


@nasty("not the bytes that were sealed", "ArtifactIntegrityError")
def seal_with_something_after_it() -> bytes:
    """Bytes between the seal and what it seals."""
    data = ok_walk()
    return data[: SEAL_BYTES - 6] + b"hidden" + data[SEAL_BYTES:]


@nasty("user block of 1024 bytes")
def user_block_of_1024() -> bytes:
    """A seal of which libhdf5 and we see different bytes."""
    data = ok_walk()
    return b"\0" * 1024 + data[SEAL_BYTES:]


@nasty("an object header lies outside the file")
def seal_made_again_over_a_cut() -> bytes:
    """A file that is cut, sealed as it is."""
    body = bytearray(ok_walk()[SEAL_BYTES : SEAL_BYTES + 60])
    body[28:36] = (SEAL_BYTES + 60).to_bytes(8, "little")
    body[44:48] = lookup3(bytes(body[:44])).to_bytes(4, "little")
    return sealed(bytes(body))


@nasty("do not have its content hash", "ArtifactIntegrityError")
def seal_made_again_over_other_states() -> bytes:
    """Other states under the old content hash."""
    arrays, meta = walked()
    arrays["checkpoints/state"][3] += 1
    return writer.build(arrays, replay_file._canonical(meta))


@nasty("the file ends after", "ArtifactIntegrityError")
def cut_short() -> bytes:
    """A download that stopped."""
    return ok_walk()[:-100]


# ---- JSON


@nasty("nested deeper than")
def json_too_deep() -> bytes:
    """A stack that overflows."""
    return _long_meta(b"[" * 200_000 + b"]" * 200_000)


@nasty("holds a key twice")
def json_key_twice() -> bytes:
    """Two values, for two readers."""
    return said('"n_steps":', '"n_steps":7,"n_steps":')


@nasty("holds NaN")
def json_nan() -> bytes:
    """A number that is none."""
    return said("17", "NaN")


@nasty("holds -Infinity")
def json_infinity() -> bytes:
    """A number that is none."""
    return said("17", "-Infinity")


@nasty("too large for a float")
def json_float_too_large() -> bytes:
    """A number that becomes infinite."""
    return said("17", "1e999")


@nasty("is not JSON")
def json_integer_of_60000_digits() -> bytes:
    """Time: reading it is quadratic."""
    return said("17", "9" * 60_000)


@nasty("not a JSON object")
def json_list() -> bytes:
    """Something else."""
    return told(b"[1,2]")


@nasty("is not JSON")
def json_of_bad_utf8() -> bytes:
    """Bytes that are no text."""
    return hdf5(lambda file: None, meta=b'{"a":"\xff\xfe"}')


@nasty("half a surrogate pair")
def json_half_a_surrogate() -> bytes:
    """Text that cannot be written again."""
    return said("17", '"\\ud800"')


@nasty("is not JSON")
def json_with_a_byte_order_mark() -> bytes:
    """Text that some readers take and others do not."""
    return told(b"\xef\xbb\xbf{}")


@nasty("no format_version")
def json_of_nothing() -> bytes:
    """All there is missing."""
    return told(b"{}")


# ---- metadata and arrays that do not fit


@nasty("checkpoints/state has dtype int64 and shape (10,)")
def counts_of_1e18_blocks() -> bytes:
    """Time and memory: 10**18 blocks of one step."""
    return file_of(walked(), n_steps=10**18, block_size=1)


@nasty("checkpoints/state has")
def counts_of_one_huge_block() -> bytes:
    """Time: one block of 10**18 steps."""
    return file_of(walked(), n_steps=10**18, block_size=10**18)


for _name, _changes in {
    "negative": {"n_steps": -5},
    "zero": {"block_size": 0},
    "true": {"n_steps": True},
    "a_float": {"n_steps": 200.0},
    "text": {"n_steps": "200"},
    "too_large": {"stride": 1 << 62},
    "beyond_64_bits": {"n_steps": 1 << 80},
}.items():
    CORPUS[f"count_{_name}"] = Nasty(
        lambda changes=_changes: file_of(walked(), **changes), "ArtifactFormatError", next(iter(_changes))
    )


@nasty("seed or backend")
def seed_negative() -> bytes:
    """A seed that numpy refuses."""
    return file_of(walked(), seed="-1")


@nasty("a number")
def seed_of_2_mib() -> bytes:
    """Time."""
    return file_of(walked(), seed="0x" + "f" * (2 << 20))


@nasty("seed or backend")
def backend_of_its_own() -> bytes:
    """A generator by the name of a class."""
    return file_of(walked(), backend="os:system")


@nasty("params")
def params_that_are_no_names() -> bytes:
    """Keyword arguments that cannot be."""
    return file_of(walked(), params={"a b": 1})


@nasty("format version 3", "ArtifactVersionError")
def version_later() -> bytes:
    """A format that this version does not know."""
    return file_of(walked(), format_version=3)


@nasty("not that of its layout")
def version_of_another_layout() -> bytes:
    """What version 1 holds, as version 2."""
    return file_of(walked(), format_version=2)


def varied() -> Parts:
    return parts_of(rewind.record(lambda x, rng: x + 0.5, 0, 30, 7, block_size=10))


@nasty("a kind that is not there")
def kind_that_is_not_there() -> bytes:
    """A row that is of the third of two kinds."""
    arrays, meta = varied()
    arrays["checkpoints/state/kind"][1] = 2
    return file_of((arrays, meta))


@nasty("state/kind")
def kind_that_is_negative() -> bytes:
    """Kinds as signed numbers."""
    arrays, meta = varied()
    arrays["checkpoints/state/kind"] = -arrays["checkpoints/state/kind"].astype("i1")
    return file_of((arrays, meta))


@nasty("layout nested too deeply")
def kinds_of_a_container() -> bytes:
    """A leaf that is a list at times."""
    return file_of(varied(), layout={"one_of": ["int", {"list": ["int"]}]})


@nasty("a dict with a key twice")
def keys_that_are_one() -> bytes:
    """A dict of 1 and of True."""
    arrays, meta = parts_of(rewind.record(keep, {1: 0, "1": 1}, 30, 7, block_size=10, trial=False))
    return file_of((arrays, meta), layout={"dict": [[1, "int"], [True, "int"]]})


@nasty("a key")
def key_that_is_no_number() -> bytes:
    """A dict of NaN."""
    arrays, meta = parts_of(rewind.record(keep, {0.5: 0}, 30, 7, block_size=10, trial=False))
    return file_of((arrays, meta), layout={"dict": [[{"float": "nan"}, "int"]]})


@nasty("no format_version")
def version_true() -> bytes:
    """A version that equals 1 and is not 1."""
    return file_of(walked(), format_version=True)


@nasty("unexpected surprise")
def key_too_many() -> bytes:
    """A key that nothing reads."""
    return file_of(walked(), surprise=1)


@nasty("unexpected checkpoints/more")
def array_too_many() -> bytes:
    """An array that nothing reads."""
    arrays, meta = walked()
    return file_of(({**arrays, "checkpoints/more": np.arange(9)}, meta))


@nasty("no 'checkpoints/state'")
def array_missing() -> bytes:
    """States that are not there."""
    return file_of(({"other": np.arange(3)}, walked()[1]))


@nasty("checkpoints/state has")
def array_of_7_rows() -> bytes:
    """Fewer states than blocks."""
    arrays, meta = walked()
    return file_of(({"checkpoints/state": arrays["checkpoints/state"][:7]}, meta))


@nasty("signature")
def signature_of_another_form() -> bytes:
    """A signature that is none."""
    return file_of(walked(), signature="yes")


@nasty("does not fit the key", "ArtifactIntegrityError", key=KEY)
def signature_of_another_key() -> bytes:
    """To pass for a file of someone who has the key."""
    return replay_file.to_bytes(rewind.record(step, 0, 200, 7)._recording, key=b"another")


@nasty("no signature", "ArtifactIntegrityError", key=KEY)
def signature_missing() -> bytes:
    """To pass for a file of someone who has the key."""
    return ok_walk()


@nasty("ancestors")
def ancestors_without_hashes() -> bytes:
    """A lineage of nothing."""
    arrays, meta = walked()
    return file_of((arrays, meta), origin={**meta["origin"], "ancestors": [["00", 1]]})


@nasty("origin")
def origin_longer_than_a_block() -> bytes:
    """Time: a first step that is 10**18 steps away from its checkpoint."""
    arrays, meta = walked()
    return file_of((arrays, meta), origin={**meta["origin"], "noise": "same", "grid": 1, "lead": 10**18})


# ---- layouts


@nasty("posix:system", "StateClassError", asked="get")
def layout_of_a_function() -> bytes:
    """A call of os.system, as the class of the states."""
    return file_of(walked(), layout={"dataclass": [["state", "int"]], "class": "posix:system"})


@nasty("Popen", "StateClassError", asked="get")
def layout_of_a_class_that_acts() -> bytes:
    """An instance of a class that is imported and no dataclass."""
    return file_of(walked(), layout={"dataclass": [["state", "int"]], "class": "subprocess:Popen"})


@nasty("antigravity", "StateClassError", asked="get")
def layout_of_a_module_to_import() -> bytes:
    """An import by name."""
    return file_of(walked(), layout={"namedtuple": [["state", "int"]], "class": "antigravity:State"})


@nasty("builtins", "StateClassError", asked="get")
def layout_of_a_path_of_attributes() -> bytes:
    """An object reached by attributes of attributes."""
    return file_of(walked(), layout={"dataclass": [["state", "int"]], "class": "builtins:type.__init__.__globals__"})


@nasty("nested too deeply")
def layout_too_deep() -> bytes:
    """A stack that overflows."""
    tree: Any = "int"
    for _ in range(30):
        tree = {"list": [tree]}
    return file_of(walked(), layout=tree)


@nasty("too many columns")
def layout_of_1000_columns() -> bytes:
    """Time and memory."""
    return file_of(walked(), layout={"list": [{"dict": [["a", "int"]]}] * 1000})


@nasty("a size in the layout")
def layout_of_a_huge_shape() -> bytes:
    """Memory."""
    return file_of(walked(), layout={"dtype": "<i8", "shape": [1 << 62]})


@nasty("object")
def layout_of_objects() -> bytes:
    """Addresses as objects."""
    return file_of(walked(), layout={"dtype": "|O", "shape": []})


@nasty("1073741824")
def layout_of_padding() -> bytes:
    """Memory: rows of a gigabyte of padding."""
    dtype = {"fields": [["a", "<i8", [], 0]], "itemsize": 1 << 30}
    return file_of(walked(), layout={"dtype": dtype})


@nasty("a packed list of nothing")
def layout_of_a_list_of_nothing() -> bytes:
    """Memory: a list of 2**39 times None."""
    return file_of(walked(), layout={"list": None, "length": 1 << 39})


@nasty("checkpoints of nothing")
def layout_of_no_columns() -> bytes:
    """Time and memory: 10**17 checkpoints without a number in them."""
    return file_of(({}, walked()[1]), layout=None, n_steps=10**18, block_size=10)


# ---- text, metrics, generators


@nasty("text that is not UTF-8", asked="get")
def text_that_is_no_text() -> bytes:
    """A state whose text cannot be shown."""
    arrays, meta = spoken()
    arrays["checkpoints/said/value"][:] = b"\xff\xfe"
    arrays["checkpoints/said/length"][:] = 2
    return file_of((arrays, meta))


@nasty("not as long as it says")
def text_longer_than_its_column() -> bytes:
    """Bytes after the text."""
    arrays, meta = spoken()
    arrays["checkpoints/said/length"][:] = 1 << 40
    return file_of((arrays, meta))


@nasty("metrics/x/mean has")
def metric_with_too_few_rows() -> bytes:
    """Rows after the table."""
    arrays, meta = observed()
    arrays["metrics/x/mean"] = arrays["metrics/x/mean"][:-1]
    return file_of((arrays, meta))


@nasty("statistics of x")
def metric_of_other_steps() -> bytes:
    """Statistics of more steps than there are."""
    arrays, meta = observed()
    meta["metrics"]["x"]["closed"]["count"] += 1
    return file_of((arrays, meta))


@nasty("which no numbers have")
def metric_of_no_numbers() -> bytes:
    """The root of a negative variance."""
    arrays, meta = observed()
    meta["metrics"]["x"]["closed"]["squares"] = "0x0p+0"
    meta["metrics"]["x"]["closed"]["total"] = "0x1p+40"
    return file_of((arrays, meta))


@nasty("an exact sum")
def metric_sum_of_a_million_digits() -> bytes:
    """Time: the square of a number of 4 million bits."""
    arrays, meta = observed()
    meta["metrics"]["x"]["closed"]["total"] = "0x" + "f" * 1_000_000 + "p-1074"
    return file_of((arrays, meta))


@nasty("counts of x")
def metric_of_nan_at_no_step() -> bytes:
    """A sentence about a step that is none: found by stress/fuzz_files.py."""
    arrays, meta = observed()
    meta["metrics"]["x"]["closed"]["nan_count"] = 7
    return file_of((arrays, meta))


@nasty("metric_order")
def metric_order_of_others() -> bytes:
    """A table that is not there."""
    return file_of(observed(), metric_order=["y"])


@nasty("not a state of random.Random")
def generator_after_its_words() -> bytes:
    """Memory after the 624 words of a Mersenne twister."""
    arrays, meta = forked()
    arrays["start/words"][624] = 100_000
    return file_of((arrays, meta))


@nasty("not a state of random.Random")
def generator_of_long_words() -> bytes:
    """Words of more than 32 bits."""
    arrays, meta = forked()
    arrays["start/words"][0] = 1 << 40
    return file_of((arrays, meta))


@nasty("not a state of PCG64")
def generator_of_an_even_increment() -> bytes:
    """A generator with a short period."""
    arrays, meta = forked("numpy")
    arrays["start/words"][3] = 2
    return file_of((arrays, meta))


# ---- pickles


def _bomb(marker: str = "CANARY") -> bytes:
    return b"cposix\nsystem\n(S'touch %s'\ntR." % marker.encode()


def _with_bombs() -> Parts:
    arrays, meta = gathered()
    n = len(arrays["pickle/steps"])
    arrays["pickle/blob"] = np.frombuffer(_bomb() * n, "u1")
    arrays["pickle/offsets"] = np.arange(n + 1) * len(_bomb())
    return arrays, meta


@nasty("as pickles", "UnsafeArtifactError")
def pickle_that_runs_a_command() -> bytes:
    """A command, when it is unpickled."""
    return file_of(_with_bombs())


@nasty("do not have their hash", "ArtifactIntegrityError", allow_pickle=True)
def pickle_swapped() -> bytes:
    """A command, in the place of an honest pickle, in a file that is trusted."""
    arrays, meta = gathered()
    blob = arrays["pickle/blob"].tobytes()
    arrays["pickle/blob"] = np.frombuffer(_bomb().ljust(len(blob), b"."), "u1")
    return writer.build(arrays, replay_file._canonical(meta))


@nasty("does not fit the key", "ArtifactIntegrityError", allow_pickle=True, key=KEY)
def pickle_swapped_in_a_signed_file() -> bytes:
    """A command, in a file that is trusted because it was signed."""
    arrays, meta = _with_bombs()
    return file_of((arrays, meta), signature=replay_file._signature(*gathered(), KEY))


@nasty("pickle/offsets", allow_pickle=True)
def pickle_offsets_backwards() -> bytes:
    """Bytes before the pickles."""
    arrays, meta = gathered()
    arrays["pickle/offsets"][1] = -(1 << 40)
    return file_of((arrays, meta))


@nasty("pickle/steps", allow_pickle=True)
def pickle_of_no_row() -> bytes:
    """A row that is not there."""
    arrays, meta = gathered()
    arrays["pickle/steps"][-1] = 1 << 40
    return file_of((arrays, meta))


# ---- paths that are no file


@nasty("a pipe, a socket or a device", "ArtifactIOError", in_folder=True)
def path_of_a_pipe(path: Path) -> None:
    """To wait for ever for someone to write."""
    os.mkfifo(path)


@nasty("a pipe, a socket or a device", "ArtifactIOError", in_folder=True)
def path_of_a_device(path: Path) -> None:
    """To read zeros for ever."""
    path.symlink_to("/dev/zero")


@nasty("", "ArtifactIOError", in_folder=True)
def path_of_a_socket(path: Path) -> None:
    """To wait for someone to answer."""
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket may not be long
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


@nasty("changed while it was read", in_folder=True)
def path_of_a_process(path: Path) -> None:
    """Memory of the process: a file that has no size and does have bytes."""
    path.symlink_to("/proc/self/environ")


@nasty("it is a folder", "ArtifactIsADirectoryError", in_folder=True)
def path_of_a_folder(path: Path) -> None:
    """Something else."""
    path.mkdir()


@nasty("more than the limit", in_folder=True)
def path_of_a_sparse_tebibyte(path: Path) -> None:
    """Memory: a file of 1 TiB that takes no space."""
    path.write_bytes(ok_walk())
    os.truncate(path, 1 << 40)


@nasty("", "ArtifactIOError", in_folder=True)
def path_of_a_loop(path: Path) -> None:
    """A link to itself."""
    path.symlink_to(path.name)


@nasty("No such file", "ArtifactNotFoundError", in_folder=True)
def path_to_nowhere(path: Path) -> None:
    """A link to nothing."""
    path.symlink_to("nothing")


# ---- other files


@nasty("the file is empty")
def other_empty() -> bytes:
    """Nothing to read."""
    return b""


@nasty("a zip archive")
def other_zip() -> bytes:
    """Another format."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr(zipfile.ZipInfo("x"), b"x")
    return memory.getvalue()


@nasty("a gzip file")
def other_gzip() -> bytes:
    """Another format."""
    return gzip.compress(ok_walk(), mtime=0)


@nasty("a numpy .npy file")
def other_npy() -> bytes:
    """Another format, with pickles in it."""
    memory = io.BytesIO()
    np.save(memory, np.array([{}], object), allow_pickle=True)
    return memory.getvalue()


@nasty("an SQLite database")
def other_sqlite() -> bytes:
    """Another format."""
    return b"SQLite format 3\0" + bytes(4080)


@nasty("not a .replay file")
def other_tar() -> bytes:
    """Another format."""
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"))
    return memory.getvalue()


@nasty("not a .replay file")
def other_pickle() -> bytes:
    """A command, when it is unpickled."""
    return _bomb()


@nasty("cut-off HDF5 file")
def other_four_bytes() -> bytes:
    """The start of a signature."""
    return SIGNATURE[:4]


@nasty("of another version")
def other_hdf5() -> bytes:
    """An HDF5 file with the superblock of the first version."""
    import h5py

    memory = io.BytesIO()
    with h5py.File(memory, "w", libver="earliest") as file:
        file.create_dataset("state", data=np.arange(9), track_times=False)
    return memory.getvalue()


# ---- the command


def make(folder: Path) -> None:
    """Write every file of `CORPUS` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, entry in CORPUS.items():
        path = folder / f"{name}.replay"
        if entry.in_folder:
            entry.make(path)
        else:
            data = entry.make()
            assert data is not None
            path.write_bytes(data)


def check(folder: Path, names: Iterable[str]) -> None:
    """Load each file in a process of its own, and print a line of JSON about each."""
    path = str(folder / "ok_walk.replay")
    _load(Nasty(ok_walk, None, "", "get"), path)  # what is imported later is imported now
    "\x1b".encode("unicode_escape")
    for name in ("path_to_nowhere", "bomb_1_tib_declared"):
        _load(CORPUS[name], str(folder / f"{name}.replay"))
    for name in names:
        readable, writable = os.pipe()
        child = os.fork()
        if not child:
            os.close(readable)
            _limit()
            with open(writable, "w") as pipe:
                json.dump(_load(CORPUS[name], str(folder / f"{name}.replay")), pipe)
            os._exit(0)
        os.close(writable)
        with open(readable) as pipe:
            text = pipe.read()
        code = os.waitpid(child, 0)[1]
        found = json.loads(text) if text and not code else {"ended": signal.Signals(code & 127).name if code else "?"}
        print(json.dumps({"name": name, **found}), flush=True)


def _limit() -> None:
    import resource

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    signal.alarm(60)  # what waits uses no CPU time


def _limit_cpu() -> None:
    import resource

    seconds = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(seconds.ru_utime + seconds.ru_stime) + 1 + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


_events: list[tuple[str, str]] = []
_watched: list[str] = []


def _hook(event: str, args: tuple[Any, ...]) -> None:
    """Note what a file might make the process do."""
    if not _watched or event in ("compile", "exec", "marshal.loads", "object.__getattr__", "code.__new__"):
        return
    family = event.split(".")[0]
    if event == "open" or event == "import" or family in ("os", "subprocess", "socket", "ctypes", "pickle", "shutil"):
        _events.append((event, str(args[0]) if args else ""))


def _load(entry: Nasty, path: str) -> dict[str, Any]:
    """Return what comes of a file: the error of load or get, the exit codes of info and fsck, and what was opened."""
    from rewind.cli.main import main

    if not _events and not _watched:
        sys.addaudithook(_hook)
    _watched.append(path)
    found: dict[str, Any] = {"error": None, "text": "", "asked": "load", "escaped": None}
    _limit_cpu()
    try:
        run = rewind.load(path, allow_pickle=entry.allow_pickle, key=entry.key)
        found["asked"] = "get"
        run.metadata()
        run.get(0)
    except rewind.RewindError as error:
        found |= {"error": type(error).__name__, "text": str(error)}
    except BaseException as error:
        found["escaped"] = f"{type(error).__name__}: {error}"
    for verb in ("info", "fsck"):
        out, err = io.StringIO(), io.StringIO()
        _limit_cpu()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([verb, path])
        found[verb] = {"code": code, "out": out.getvalue(), "err": err.getvalue()}
    found["events"] = sorted(set(_events))
    found["h5py"] = "h5py" in sys.modules
    _watched.clear()
    _events.clear()
    return found


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("verb", choices=("make", "check"))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.verb == "make":
        make(options.folder)
    else:
        check(options.folder, CORPUS)
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
