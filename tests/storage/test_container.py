"""The container of a `.replay` file: what goes in comes out, in few bytes, or is refused with a sentence."""

from __future__ import annotations

import errno
import functools
import hashlib
import io
import itertools
import json
import os
import random
import shutil
import stat
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers import mutants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rewind import errors
from rewind.storage import files
from rewind.storage.hdf5 import container, reader, room, writer
from rewind.storage.hdf5 import h5py_reader as rewritten
from rewind.storage.hdf5 import messages as hdf5_messages
from rewind.storage.hdf5 import parser as hdf5_subset
from rewind.storage.hdf5.seal import SEAL_BYTES, seal

pytestmark = pytest.mark.once

META = b'{"n_steps":1000000}'
ROOT = Path(__file__).parents[2]


SAMPLES = mutants.samples()


def walk(n: int = 1000) -> np.ndarray:
    """Return a random walk: what an integer state looks like."""
    return np.cumsum(np.random.default_rng(1).integers(-1, 2, n))


SMALL = writer.build({"checkpoints/state": walk(100)}, META)


def assert_same(found: dict, expected: dict) -> None:
    assert sorted(found) == sorted(expected)
    for path, array in expected.items():
        stored = array.astype(array.dtype.newbyteorder("<"))
        assert (found[path].dtype, found[path].shape) == (stored.dtype, stored.shape), path
        assert found[path].tobytes() == stored.tobytes(), path


def hand_made(fill, meta: bytes = META, **options) -> bytes:
    """Return a file that h5py made and `fill(file)` filled, with our attributes and a seal that fits."""
    memory = io.BytesIO()
    options = {"libver": ("v110", "v110"), "userblock_size": 512, "meta_block_size": 0} | options
    with h5py.File(memory, "w", **options) as file:
        for name, text in (("format", b"rewind.replay"), ("meta", meta)):
            file.attrs.create(name, text.decode(), dtype=h5py.string_dtype("utf-8", len(text)))
        fill(file)
    data = memory.getvalue()
    return seal(data[SEAL_BYTES:]) + data[SEAL_BYTES:] if options["userblock_size"] else data


# ---- round trips ----------------------------------------------------------------------------------------------------

names = st.text(st.sampled_from("abz019_-. é漢😀"), min_size=1, max_size=5).filter(container.is_name)
dtypes = st.one_of(
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    st.integers(1, 9).map(lambda size: np.dtype(f"S{size}")),
)
some_arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
paths = st.lists(names, min_size=1, max_size=3).map(lambda parts: "/".join(["checkpoints", *parts]))
trees = st.dictionaries(paths, some_arrays, max_size=12)


def _no_clash(tree: dict) -> bool:
    return not any(other.startswith(path + "/") for path in tree for other in tree)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(trees.filter(_no_clash), st.sampled_from([None, "1.8"]))
def test_what_goes_in_comes_out_and_h5py_sees_the_same(arrays, compat):
    data = writer.build(arrays, META, compat=compat)
    found = reader.read(data)
    assert_same(found.arrays, arrays)
    assert (found.meta, found.sealed) == (META, compat is None)
    assert_same(writer.read_with_h5py(data).arrays, arrays)
    assert writer.build(dict(reversed(arrays.items())), META, compat=compat) == data


@pytest.mark.parametrize(
    "array",
    [
        np.arange(140_000),  # a little over 1 MiB: two chunks
        np.arange(1_000_003, dtype="u4").reshape(-1, 1),  # an odd number of rows
        np.zeros((3, 400_000)),  # each row over 1 MiB
        np.random.default_rng(3).integers(0, 9, (1500, 1 << 10), dtype="u1"),
        np.full((70_000, 3), b"seven b", "S7"),
        np.arange(2_000_000, dtype="u1").reshape(2, 1000, 1000)[:, ::-1],
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_an_array_of_several_chunks_comes_back(array):
    data = writer.build({"checkpoints/state": array}, META)
    assert b"FADB" in data
    assert_same(reader.read(data).arrays, {"checkpoints/state": array})
    with h5py.File(io.BytesIO(data)) as file:
        assert file["checkpoints/state"][()].tobytes() == np.ascontiguousarray(array).tobytes()


def test_a_list_of_chunks_is_never_paged(monkeypatch):
    monkeypatch.setattr(writer, "CHUNK_BYTES", 64)
    for n in (1023 * 8, 1024 * 8, 1024 * 8 + 1, 50_001):
        array = np.arange(n)
        data = writer.build({"checkpoints/state": array}, META)
        assert_same(reader.read(data).arrays, {"checkpoints/state": array})


def test_an_array_with_too_large_rows_is_stored_as_it_is(monkeypatch):
    monkeypatch.setattr(writer, "MAX_CHUNK_BYTES", 1000)
    arrays = {"checkpoints/state": np.arange(600.0).reshape(3, 200)}
    data = writer.build(arrays, META)
    assert arrays["checkpoints/state"].tobytes() in data
    assert_same(reader.read(data).arrays, arrays)


def test_a_group_of_hundreds_of_children_comes_back():
    arrays = {f"checkpoints/agents/{i}/x": np.full(2, i) for i in range(700)}
    for compat in (None, "1.8"):
        data = writer.build(arrays, META, compat=compat)
        assert_same(reader.read(data).arrays, arrays)
        assert_same(writer.read_with_h5py(data).arrays, arrays)


@pytest.mark.parametrize("size", [2, 59_999, 60_000, 60_001, 65_536, 3_000_000])
def test_metadata_of_any_length_comes_back(size):
    meta = b'"%s"' % (b"x" * (size - 2))
    data = writer.build({"checkpoints/state": walk()}, meta)
    assert reader.read(data).meta == meta
    with h5py.File(io.BytesIO(data)) as file:
        assert (file["meta_json"][()].tobytes() if "meta_json" in file else bytes(file.attrs["meta"])) == meta


def test_a_thousand_integer_checkpoints_take_under_3_kib():
    data = writer.build({"checkpoints/state": walk()}, b'{"x":"%s"}' % bytes(itertools.islice(_noise(), 513)))
    assert len(data) <= 3072
    assert data.startswith(b'{"rewind":1,"bytes":%d,"blake2b":"' % len(data))
    assert data[:SEAL_BYTES].count(b"\n") == 1


def _noise():
    rng = random.Random(1)
    while True:
        yield ord(rng.choice("0123456789abcdef"))


def test_an_array_that_was_read_is_the_readers_own():
    array = reader.read(SMALL).arrays["checkpoints/state"]
    array[0] = 7
    assert array.base is None
    assert reader.read(SMALL).arrays["checkpoints/state"][0] != 7


@pytest.mark.skipif(shutil.which("h5dump") is None, reason="hdf5-tools is not installed")
@pytest.mark.parametrize("name", SAMPLES)
def test_h5dump_reads_every_sample_file(name, tmp_path):
    path = tmp_path / "run.replay"
    path.write_bytes(SAMPLES[name])
    done = subprocess.run(["h5dump", str(path)], capture_output=True, text=True)
    assert done.returncode == 0 and "rewind.replay" in done.stdout and "error" not in done.stderr.lower()


def test_the_bytes_are_the_same_in_every_process(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from helpers.mutants import samples\n"
        "import hashlib; print(hashlib.sha256(b''.join(samples().values())).hexdigest())"
    )
    environments = [
        {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C"},
        {"PYTHONHASHSEED": "1234", "TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "MALLOC_PERTURB_": "165"},
        {"PYTHONHASHSEED": "77", "TZ": "America/Lima", "MALLOC_PERTURB_": "90"},
    ]
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, str(ROOT / "tests")],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for environment in environments
    }
    assert digests == {hashlib.sha256(b"".join(SAMPLES.values())).hexdigest() + "\n"}


@pytest.mark.skipif(sys.platform != "linux", reason="another build of zlib may deflate to other bytes")
def test_the_bytes_are_those_of_every_h5py_so_far():
    # h5py 3.16.0 with HDF5 2.0.0 on Python 3.11; h5py 3.14.0 with HDF5 1.14.6 on Python 3.10 and 3.13; all from wheels.
    found = hashlib.sha256(b"".join(SAMPLES.values())).hexdigest()
    assert found == "f340c7475acc3806afc99eaa66623a8172352bfb1d3791882885608ae15e4a6b"


def test_reading_does_not_import_h5py():
    code = "import sys; import rewind.storage.hdf5.reader, rewind.storage.hdf5.writer; print('h5py' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "array",
    [np.array([True]), np.array([1j]), np.array(["a"]), np.array([None]), np.zeros(2, "i4,i4"), np.zeros(1, "g")],
)
def test_an_array_of_another_kind_is_a_type_error(array):
    with pytest.raises(TypeError, match="checkpoints/x"):
        writer.build({"checkpoints/x": array}, META)


@pytest.mark.parametrize(
    "paths",
    [["a/../b"], ["a//b"], ["/a"], ["a/"], [""], ["a/\n"], ["a\u202eb"], ["a", "a/b"], ["x/" * 33 + "y"], ["y" * 201]],
)
def test_a_path_that_no_file_may_hold_is_a_value_error(paths):
    with pytest.raises(ValueError):
        writer.build({path: walk(3) for path in paths}, META)


@pytest.mark.parametrize("meta", [b"", b"a\0", b"\xff"])
def test_metadata_that_is_no_text_is_a_value_error(meta):
    with pytest.raises(ValueError):
        writer.build({}, meta)


# ---- damage ---------------------------------------------------------------------------------------------------------


def refusal(data: bytes, **options) -> str:
    with pytest.raises(errors.ArtifactError) as caught:
        reader.read(data, **options)
    return str(caught.value)


def test_a_file_cut_at_any_byte_is_refused():
    for n in range(len(SMALL)):
        with pytest.raises(errors.ArtifactError):
            reader.read(SMALL[:n])
    assert f"ends after 900 of its {len(SMALL):,} bytes" in refusal(SMALL[:900])


def test_every_single_flipped_bit_is_refused():
    data = bytearray(SMALL)
    for i, bit in itertools.product(range(len(data)), range(8)):
        data[i] ^= 1 << bit
        with pytest.raises(errors.ArtifactError):
            reader.read(bytes(data))
        data[i] ^= 1 << bit
    reader.read(bytes(data))


def test_a_flipped_bit_of_an_unsealed_file_is_refused_wherever_hdf5_has_a_checksum():
    data = writer.build({"checkpoints/state": walk(20)}, META, compat="1.8")
    ranges = mutants.checked_ranges(data)
    assert len(ranges) == 5  # superblock; headers of the root, its continuation, a group and a dataset
    for start, length in ranges:
        for i in range(start, start + length + 4):
            with pytest.raises(errors.ArtifactError):
                reader.read(data[:i] + bytes([data[i] ^ 4]) + data[i + 1 :])


def outcome(mutant: bytes) -> str:
    """Return what the reader says of a mutant; whatever it raises that is no `ArtifactError` is raised here."""
    try:
        reader.read(mutant)
    except errors.ArtifactError as error:
        return str(error)
    return "loaded"


def test_thousands_of_hostile_edits_are_refused_or_read_and_nothing_else(monkeypatch):
    known = functools.lru_cache(hdf5_messages.lookup3)  # most of a file is what it was: half the time was checksums
    monkeypatch.setattr(hdf5_subset, "lookup3", lambda part: known(bytes(part)))
    rng = random.Random(20)
    for name, data in SAMPLES.items():
        ranges = mutants.checked_ranges(data)
        for _ in range(600):
            assert outcome(mutants.edited(data, ranges, rng)), name
        for _ in range(200):
            assert outcome(mutants.resealed(mutants.damaged(data, rng))), name


def test_a_wiped_user_block_does_not_switch_the_seal_off():
    assert "seal" in refusal(b"\0" * SEAL_BYTES + SMALL[SEAL_BYTES:])
    refusal(SMALL[SEAL_BYTES:])  # cut off: the superblock says that it is at 512


def test_a_seal_of_a_later_version_names_both_versions():
    with pytest.raises(errors.ArtifactVersionError, match="format version 2; this rewind reads versions up to 1"):
        reader.read(SMALL.replace(b'{"rewind":1', b'{"rewind":2', 1))


def test_a_seal_is_valid_in_one_spelling_only():
    line, rest = SMALL[:SEAL_BYTES].split(b"\n", 1)
    fields = json.loads(line)
    for spelling in (
        json.dumps(fields),
        json.dumps(dict(reversed(fields.items())), separators=(",", ":")),
        line.decode().upper(),
    ):
        refusal((spelling.encode() + b"\n").ljust(SEAL_BYTES, b"\0") + SMALL[SEAL_BYTES:])
    refusal(SMALL[: SEAL_BYTES - 1] + b"\1" + SMALL[SEAL_BYTES:])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the file is empty"),
        (b"hello\nworld\n" * 90, "it is a text file"),
        (b"PK\x03\x04" + b"\0" * 200, "it is a zip archive"),
        (b"\x89HDF", "cut-off HDF5 file"),
        (bytes(4000), "bytes are zero"),
        (os.urandom(3) + b"\xff\x00" * 1000, "no HDF5 signature"),
        (hand_made(lambda file: None, libver="earliest", userblock_size=0), "HDF5 file, but not a .replay file"),
        (hand_made(lambda file: file.attrs.__delitem__("format")), 'no attribute format="rewind.replay"'),
        (hand_made(lambda file: None, userblock_size=2048)[:], "user block of 2048"),
    ],
    ids=["empty", "text", "zip", "four bytes", "zeros", "noise", "earliest", "no format", "user block"],
)
def test_a_file_that_is_something_else_gets_a_sentence_of_its_own(data, sentence):
    if "user block" in sentence:
        data = bytes(2048) + data[2048:]
    found = refusal(data, path="run.replay")
    assert sentence in found or ("stores times" in found and h5py.version.version_tuple < (3, 15))
    assert refusal(data, path="run.replay").startswith("run.replay: ")


# ---- hostile files --------------------------------------------------------------------------------------------------


def _chunked(file, raw: bytes, shape=(1000,), chunks=(1000,), mask: int = 0, **options) -> None:
    dataset = file.create_dataset(
        "state", shape=shape, dtype="i8", chunks=chunks, **({"compression": 9, "shuffle": True} | options)
    )
    dataset.id.write_direct_chunk((0,) * len(shape), raw, filter_mask=mask)


def _deep(file) -> None:
    group = file
    for _ in range(200):
        group = group.create_group("g")


FULL = zlib.compress(bytes(8000), 9)
HOSTILE = {
    "soft link": (lambda f: f.__setitem__("x", h5py.SoftLink("/y")), "points elsewhere"),
    "external link": (lambda f: f.__setitem__("x", h5py.ExternalLink("/etc/passwd", "/")), "points elsewhere"),
    "hard link twice": (lambda f: (f.__setitem__("x", walk(9)), f.__setitem__("y", f["x"])), "never has"),
    "cycle": (lambda f: f.create_group("g").__setitem__("loop", f), "never has"),
    "vlen attribute": (lambda f: f.attrs.__setitem__("v", "text"), "attribute"),
    "number attribute": (lambda f: f.attrs.__setitem__("v", 3), "attribute"),
    "vlen text": (lambda f: f.create_dataset("x", data=["a"]), "type"),
    "references": (lambda f: f.create_dataset("x", data=[f.ref], dtype=h5py.ref_dtype), "type"),
    "compound": (lambda f: f.create_dataset("x", data=np.zeros(3, "i4,i4")), "type"),
    "bool enum": (lambda f: f.create_dataset("x", data=[True]), "type"),
    "named type": (lambda f: f.__setitem__("t", np.dtype("i8")), "times"),
    "big-endian": (lambda f: f.create_dataset("x", data=np.zeros(3, ">i8")), "type"),
    "external storage": (
        lambda f: f.create_dataset("x", shape=(9,), dtype="u1", external=[("/etc/passwd", 0, 9)]),
        "another file",
    ),
    "resizable": (lambda f: f.create_dataset("x", data=walk(9), maxshape=(None,), chunks=(9,)), "a dataspace"),
    "declared 1 TiB": (
        lambda f: f.create_dataset("x", shape=(1 << 37,), dtype="i8"),
        "bytes of memory are available here",
    ),
    "declared beside 0": (
        lambda f: f.create_dataset("x", shape=(1 << 31, 1 << 31, 0), dtype="i8"),
        "bytes of memory are available here",
    ),
    "inflates past its shape": (lambda f: _chunked(f, zlib.compress(bytes(1 << 20), 9)), "does not hold"),
    "inflates too little": (lambda f: _chunked(f, zlib.compress(bytes(7999), 9)), "does not hold"),
    "trailing bytes": (lambda f: _chunked(f, FULL + b"x"), "does not hold"),
    "not deflate": (lambda f: _chunked(f, b"x" * 100), "cannot be inflated"),
    "filter skipped": (lambda f: _chunked(f, bytes(8000), mask=1), "skips a filter"),
    "short for its shape": (lambda f: _chunked(f, FULL, (4_000_000,), (4_000_000,)), "too short"),
    "chunk of columns": (
        lambda f: f.create_dataset("x", data=np.zeros((4, 4)), chunks=(4, 2), compression=9, shuffle=True),
        "chunks",
    ),
    "lzf": (lambda f: f.create_dataset("x", data=walk(), compression="lzf", shuffle=True), "filters"),
    "fletcher32": (lambda f: f.create_dataset("x", data=walk(), fletcher32=True, shuffle=True), "filters"),
    "scale-offset": (lambda f: f.create_dataset("x", data=walk(), scaleoffset=0), "filters"),
    "deep groups": (_deep, "deeper than"),
    "many links": (lambda f: [f.create_group(str(i)) for i in range(20)], "a group"),
    "name with escape": (lambda f: f.create_group("a\x1b[2J"), "the name"),
    "dots": (lambda f: f.create_group("..\u202e"), "the name"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused(name):
    fill, sentence = HOSTILE[name]
    found = refusal(hand_made(fill))
    # h5py before 3.15 stores times in every group it makes, and that is refused first.
    assert sentence in found or ("stores times" in found and h5py.version.version_tuple < (3, 15))


def test_a_virtual_dataset_is_refused():
    def fill(file):
        layout = h5py.VirtualLayout(shape=(9,), dtype="i8")
        layout[:] = h5py.VirtualSource("/etc/passwd", "x", shape=(9,))
        file.create_virtual_dataset("x", layout)

    refusal(hand_made(fill))
    with pytest.raises(errors.ArtifactFormatError):
        writer.read_with_h5py(hand_made(fill))


DANGERS = """soft link|external link|hard link twice|cycle|vlen text|references|compound|external storage|deep groups|\
declared 1 TiB|inflates past its shape|inflates too little|filter skipped|lzf|scale-offset|name with escape"""


@pytest.mark.parametrize("name", DANGERS.split("|"))
def test_the_reader_for_rewritten_files_refuses_the_same_dangers(name):
    with pytest.raises(errors.ArtifactFormatError):
        writer.read_with_h5py(hand_made(HOSTILE[name][0]))


def test_extents_that_overlap_are_refused():
    arrays = {"checkpoints/a": np.arange(50.0), "checkpoints/b": np.arange(50.0)}
    data = writer.build(arrays, META, compat="1.8")
    ranges = mutants.checked_ranges(data)
    layout = bytes([8, 18, 0, 0, 3, 1])
    first = data.index(layout)
    second = data.index(layout, first + 1)
    new = bytearray(data)
    new[second + 6 : second + 14] = (int.from_bytes(data[first + 6 : first + 14], "little") + 8).to_bytes(8, "little")
    assert "overlaps" in refusal(mutants.repaired(new, ranges))


def test_a_group_that_holds_itself_and_a_dataset_with_two_names_are_refused():
    # HDF5 counts the links to an object; these are the files of an author who does not.
    data = writer.build({"checkpoints/aa": np.arange(5), "checkpoints/bb": np.arange(5)}, META)
    ranges = mutants.checked_ranges(data)
    links = {name: data.index(b"\2" + name) + 3 for name in (b"aa", b"bb")}
    for target in (data[links[b"aa"] : links[b"aa"] + 8], (48).to_bytes(8, "little")):
        new = bytearray(data)
        new[links[b"bb"] : links[b"bb"] + 8] = target
        assert "overlaps" in refusal(mutants.repaired(new, ranges))


@pytest.mark.parametrize("libver", ["earliest", ("earliest", "v108"), "latest", ("v112", "v112"), ("v114", "v114")])
def test_a_file_of_another_writer_is_refused_or_read_the_same(libver):
    data = hand_made(lambda f: f.create_dataset("x", data=walk()), libver=libver, userblock_size=0)
    try:
        assert_same(reader.read(data).arrays, {"x": walk()})
    except errors.ArtifactError as error:
        assert "replay" in str(error)


def test_what_a_file_may_take_is_the_memory_that_is_available_and_not_a_multiple_of_the_file(monkeypatch):
    data = writer.build({"checkpoints/state": np.zeros(9_000_000)}, META)
    assert len(data) < 100_000
    assert reader.read(data).arrays["checkpoints/state"].nbytes == 72_000_000
    chunk = 2 * 72_000_000 // 69
    monkeypatch.setattr(room, "available_memory", lambda: 72_000_000 + 2 * chunk)
    assert reader.read(data).arrays["checkpoints/state"].nbytes == 72_000_000
    monkeypatch.setattr(room, "available_memory", lambda: 72_000_000)  # and what it takes to decode a chunk?
    assert "72,000,000 bytes of memory are available here; max_bytes= sets another limit" in refusal(data)
    assert reader.read(data, max_bytes=72_000_000).arrays["checkpoints/state"].nbytes == 72_000_000
    assert "more than 71,999,999 bytes when decoded" in refusal(data, max_bytes=71_999_999)
    assert "more than 10 bytes" in refusal(SMALL, max_bytes=10)


def test_the_memory_that_is_available_is_asked_for_only_by_files_that_need_much(monkeypatch):
    def asked():
        raise AssertionError("asked")

    monkeypatch.setattr(room, "available_memory", asked)
    data = writer.build({"checkpoints/state": np.zeros(7_000_000)}, META)
    assert reader.read(data).arrays["checkpoints/state"].nbytes == 56_000_000


def test_too_many_objects_are_refused(monkeypatch):
    data = writer.build({f"checkpoints/{i}": walk(3) for i in range(40)}, META)
    monkeypatch.setattr(hdf5_subset, "MAX_OBJECTS", 30)
    assert "more than 30 groups" in refusal(data)
    with pytest.raises(ValueError, match="the limit is"):
        monkeypatch.setattr(writer, "MAX_OBJECTS", 30)
        writer.build({f"checkpoints/{i}": walk(3) for i in range(40)}, META)


def test_an_exception_nobody_thought_of_is_still_an_artifact_error(monkeypatch):
    for error in (ZeroDivisionError, MemoryError, RecursionError, IndexError, OverflowError, KeyError, ValueError):

        def fail(self, error=error):
            raise error("injected")

        monkeypatch.setattr(hdf5_subset.Subset, "read", fail)
        if error is ZeroDivisionError:
            continue
        refusal(SMALL)


# ---- files that a tool rewrote --------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("h5repack") is None, reason="hdf5-tools is not installed")
@pytest.mark.parametrize("name", SAMPLES)
def test_a_repacked_file_is_refused_with_advice_and_read_with_h5py(name, tmp_path):
    old, new = tmp_path / "old.replay", tmp_path / "new.replay"
    old.write_bytes(SAMPLES[name])
    expected = reader.read(SAMPLES[name])
    for options in ([], ["-f", "GZIP=1"], ["-f", "SHUF", "-f", "GZIP=9", "-f", "FLET"]):
        if options and name in ("tree", "1.8"):
            continue  # h5repack 1.10.8 itself fails on arrays of shape (4, 0)
        subprocess.run(["h5repack", *options, str(old), str(new)], check=True, capture_output=True)
        rewritten_data = new.read_bytes()
        if name != "1.8":
            assert 'reader="h5py"' in refusal(rewritten_data)
        found = writer.read_with_h5py(rewritten_data)
        assert_same(found.arrays, expected.arrays)
        assert (found.meta, found.sealed) == (expected.meta, False)


@pytest.mark.parametrize(
    "filters",
    [{}, {"fletcher32": True}, {"compression": 1}, {"shuffle": True, "compression": 4, "fletcher32": True}],
)
def test_a_dataset_in_chunks_of_any_shape_is_read_with_h5py(filters):
    array = np.random.default_rng(1).normal(size=(13, 11, 3)).astype("f4")
    data = hand_made(lambda f: f.create_dataset("x", data=array, chunks=(4, 5, 2), **filters))
    assert_same(writer.read_with_h5py(data).arrays, {"x": array})


@pytest.mark.parametrize("raw", [b"", b"a", b"ab", b"\xff\xff" * 3, bytes(10), bytes(range(256)) * 999 + b"x"])
def test_fletcher32_is_that_of_hdf5(raw):
    if not raw:
        assert rewritten.fletcher32(raw) == 0
        return
    with h5py.File("x", "w", driver="core", backing_store=False) as file:
        dataset = file.create_dataset("x", data=np.frombuffer(raw, "u1"), chunks=(len(raw),), fletcher32=True)
        file.flush()
        stored = dataset.id.read_direct_chunk((0,))[1]
    assert stored == raw + rewritten.fletcher32(raw).to_bytes(4, "little")


@pytest.mark.parametrize("data", [b"", b"text", b"\x89HDF\r\n\x1a\n", SMALL[:1000], b"PK\x03\x04" + bytes(5000)])
def test_what_h5py_cannot_read_is_an_artifact_error_too(data):
    with pytest.raises(errors.ArtifactFormatError):
        writer.read_with_h5py(data)


def test_lookup3_gives_the_values_of_its_author():
    # From the self-test (driver5) of http://burtleburtle.net/bob/c/lookup3.c, 2006.
    assert hdf5_messages.lookup3(b"") == 0xDEADBEEF
    assert hdf5_messages.lookup3(b"Four score and seven years ago") == 0x17770551


# ---- metadata -------------------------------------------------------------------------------------------------------


def test_json_comes_back():
    value = {"a": [1, 2.5, None, True, "é [{"], "b": {"c": '\\"}'}}
    assert reader.load_json(json.dumps(value).encode()) == value
    nested = json.loads('{"a":' * 64 + "1" + "}" * 64)
    assert reader.load_json(json.dumps(nested).encode()) == nested


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[1]",
        b"3",
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        b'{"a":1} x',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"[" * 1_000_000,
        b'"' * 100_001,
        b'{"\\' * 100_000,
        b" " * (16 << 20) + b"{}",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_what_is_not_strict_json_is_refused(text):
    with pytest.raises(errors.ArtifactFormatError):
        reader.load_json(text, "run.replay")


# ---- the disk -------------------------------------------------------------------------------------------------------


def test_a_written_file_is_read_back(tmp_path):
    path = tmp_path / "a folder" / "my run é.replay"
    path.parent.mkdir()
    files.write_file(path, SMALL)
    files.write_file(str(path), SMALL + b"2")
    assert files.read_file(path) == SMALL + b"2"
    assert os.listdir(path.parent) == [path.name]


def test_a_relative_path_needs_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.write_file("run.replay", b"1")
    assert files.read_file("run.replay") == b"1"


def test_a_new_file_honours_the_umask_and_an_old_one_keeps_its_bits(tmp_path):
    path = tmp_path / "run.replay"
    old = os.umask(0o027)
    try:
        files.write_file(path, b"1")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o606)
        files.write_file(path, b"2")
        assert stat.S_IMODE(path.stat().st_mode) == 0o606
    finally:
        os.umask(old)


def test_a_symlink_stays_and_what_it_points_to_is_replaced(tmp_path):
    target, link = tmp_path / "target.replay", tmp_path / "link.replay"
    link.symlink_to(target)
    files.write_file(link, b"1")  # dangling until now
    assert link.is_symlink() and target.read_bytes() == b"1"
    files.write_file(link, b"2")
    assert link.is_symlink() and files.read_file(link) == b"2"
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for act in (lambda: files.write_file(loop, b"1"), lambda: files.read_file(loop)):
        with pytest.raises(errors.ArtifactIOError):
            act()


@pytest.mark.skipif(os.name != "posix", reason="asks whether a process is there")
def test_a_save_removes_what_killed_ones_left_long_ago(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host, other = files._host(), "0" * 8
    names = {
        f".rewind.tmp-{host}-{gone.pid}-{'0' * 16}": False,
        f".rewind.tmp-{host}-{os.getpid()}-{'0' * 16}": True,  # of a process that is there
        f".rewind.tmp-{other}-{gone.pid}-{'0' * 16}": True,  # of another host
        f".rewind.tmp-{host}-{gone.pid}-{'1' * 16}": True,  # of just now
        f"x.rewind.tmp-{host}-{gone.pid}-{'0' * 16}": True,
    }
    for name in names:
        (tmp_path / name).write_bytes(b"half")
        if not name.endswith("1"):
            os.utime(tmp_path / name, (0, 0))
    folder = f".rewind.tmp-{host}-{gone.pid}-{'2' * 16}"  # which no save makes: it is the user's
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "precious").write_bytes(b"1")
    os.utime(tmp_path / folder, (0, 0))
    files.write_file(tmp_path / "run.replay", SMALL)
    kept = {"run.replay", folder, *(name for name in names if names[name])}
    assert {path.name for path in tmp_path.iterdir()} == kept and (tmp_path / folder / "precious").exists()


def test_a_path_that_cannot_be_a_file_says_what_it_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, error in (
        (tmp_path, IsADirectoryError),
        (tmp_path / "no" / "run.replay", FileNotFoundError),
        (tmp_path / "pipe", errors.ArtifactIOError),
        ("/dev/null", errors.ArtifactIOError),
        ("", FileNotFoundError),
        (tmp_path / ("x" * 300), errors.ArtifactIOError),
    ):
        for act in (lambda path=path: files.write_file(path, b"1"), lambda path=path: files.read_file(path)):
            with pytest.raises(error) as caught:
                act()
            assert isinstance(caught.value, errors.ArtifactIOError)
    with pytest.raises(FileNotFoundError):
        files.read_file(tmp_path / "missing.replay")
    with pytest.raises(errors.ArgumentTypeError):
        files.write_file(3.5, b"1")  # type: ignore[arg-type]
    with pytest.raises(errors.ArgumentError):
        files.read_file("a\0b")
    assert sorted(os.listdir(tmp_path)) == ["pipe"]


def test_a_read_only_file_is_not_replaced(tmp_path):
    path = tmp_path / "run.replay"
    path.write_bytes(b"old")
    path.chmod(0o444)
    with pytest.raises(errors.ArtifactPermissionError):
        files.write_file(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == [path.name]


def test_a_folder_that_may_not_be_written_is_a_permission_error(tmp_path, monkeypatch):
    real = os.open

    def refuse(path, flags, *rest):
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(errors.ArtifactPermissionError, match="Permission denied"):
        files.write_file(tmp_path / "run.replay", b"1")


def test_a_failed_check_leaves_the_disk_alone(tmp_path):
    def check(data):
        assert data == b"new"
        raise RuntimeError("not good")

    (tmp_path / "run.replay").write_bytes(b"old")
    with pytest.raises(RuntimeError):
        files.write_file(tmp_path / "run.replay", b"new", check=check)
    assert (tmp_path / "run.replay").read_bytes() == b"old"


def test_a_file_too_long_or_changing_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "run.replay"
    path.write_bytes(b"12345")
    with pytest.raises(errors.ArtifactFormatError, match="5 bytes, more than the limit of 4"):
        files.read_file(path, max_bytes=4)
    os.truncate(path, 5 << 30)
    with pytest.raises(errors.ArtifactFormatError, match="limit"):
        files.read_file(path)
    for change in (lambda: path.write_bytes(b"123456"), lambda: path.write_bytes(b"1234")):
        path.write_bytes(b"12345")
        real = os.read

        def read(fd, n, change=change, real=real):
            change()
            return real(fd, n)

        with monkeypatch.context() as patch, pytest.raises(errors.ArtifactFormatError, match="changed"):
            patch.setattr(os, "read", read)
            files.read_file(path)


def _faulty(monkeypatch, name: str, k: int, error: int, sticky: bool) -> list[int]:
    """Make the `k`-th call of ``os.<name>`` fail, and every later one if `sticky`; return a list that counts calls."""
    real, calls = getattr(os, name), []

    def call(*args, **options):
        calls.append(1)
        if len(calls) == k or (sticky and len(calls) > k):
            raise OSError(error, os.strerror(error))
        return real(*args, **options)

    monkeypatch.setattr(os, name, call)
    return calls


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "sticky"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT], ids=errno.errorcode.get)
@pytest.mark.parametrize(
    "name", ["open", "fstat", "fchmod", "write", "fsync", "read", "lseek", "close", "replace", "stat"]
)
def test_a_save_whose_disk_fails_keeps_the_old_file(name, error, sticky, tmp_path, monkeypatch):
    path = tmp_path / "run.replay"
    old, new = b"old" * 10, os.urandom(20_000)
    monkeypatch.setattr(files, "_PIECE", 4096)  # five writes and reads
    for k in itertools.count(1):
        path.write_bytes(old)
        with monkeypatch.context() as patch:
            calls = _faulty(patch, name, k, error, sticky)
            try:
                files.write_file(path, new)
                raised = None
            except errors.ArtifactIOError as caught:
                raised = caught
        now = path.read_bytes()
        if raised is None:
            assert now == new
        elif "the new, complete file" in str(raised):
            assert now == new
        else:
            assert now == old
            assert raised.errno == error
        if name != "close":  # a close that failed did not close: that descriptor is the test's doing
            assert os.listdir(tmp_path) == [path.name]
        if len(calls) < k:
            return
        assert raised is not None
    raise AssertionError


def test_a_short_write_is_continued_and_a_lying_disk_is_found_out(tmp_path, monkeypatch):
    path = tmp_path / "run.replay"
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: real(fd, data[:3]))
        files.write_file(path, b"0123456789")
    assert path.read_bytes() == b"0123456789"
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: real(fd, bytes(len(data))))
        with pytest.raises(errors.ArtifactIOError, match="not what was written"):
            files.write_file(path, b"new")
    assert path.read_bytes() == b"0123456789" and os.listdir(tmp_path) == [path.name]


def test_an_interrupted_save_leaves_no_temporary_file(tmp_path, monkeypatch):
    path = tmp_path / "run.replay"
    path.write_bytes(b"old")
    for name in ("write", "fsync", "replace"):

        def interrupt(*args):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, name, interrupt)
            files.write_file(path, b"new")
        assert path.read_bytes() == b"old" and os.listdir(tmp_path) == [path.name]
