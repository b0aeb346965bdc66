"""A run as a file: the same bytes everywhere, the same run again, and no file that can do harm or lie unseen."""

from __future__ import annotations

import copy
import errno
import hashlib
import io
import json
import math
import os
import pathlib
import pickle
import random
import subprocess
import sys
import textwrap
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import pytest
from helpers.exact import all_bits
from helpers.replays import KINDS, KINDS_2, MORE, hoard, stay, walk, walk_run
from hypothesis import given, settings
from hypothesis import strategies as st

import rewind
from rewind.runs.run import Run
from rewind.state.digest import digest
from rewind.storage import files, replay_file
from rewind.storage.hdf5 import seal, writer

pytestmark = pytest.mark.once  # of bytes; those that are about a kernel name it, and run it in a process of its own

TESTS = pathlib.Path(__file__).parents[1]
ALL = KINDS | KINDS_2 | MORE
runs: dict[str, Run[Any]] = {}


QUIET = "import warnings, rewind; warnings.simplefilter('ignore', rewind.PickledStatesWarning)\n"


def run_of(kind: str) -> Run[Any]:
    if kind not in runs:
        runs[kind] = ALL[kind][0]()
    return runs[kind]


def parts_of(kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    arrays, meta = replay_file.to_parts(run_of(kind)._recording)
    return {name: array.copy() for name, array in arrays.items()}, copy.deepcopy(meta)


def sealed(arrays: dict[str, np.ndarray], meta: dict[str, Any], rehash: bool = True) -> bytes:
    """The file of these parts, with hashes and a seal that hold: what an author of bad files would make."""
    if rehash:
        if "pickle/blob" in arrays:
            meta["pickle_hash"] = hashlib.blake2b(arrays["pickle/blob"].tobytes(), digest_size=32).hexdigest()
        meta["content_hash"] = replay_file._content_hash(arrays, meta)
    return writer.build(arrays, replay_file._canonical(meta))


kinds = pytest.mark.parametrize("kind", ALL)


# ---- there and back


@kinds
def test_a_run_comes_back_whole(kind, tmp_path):
    run, step = run_of(kind), ALL[kind][1]
    path = tmp_path / "run.replay"
    run.save(path)
    loaded = rewind.load(path, step, allow_pickle=True)
    assert loaded.metadata() == run.metadata()
    assert loaded.lineage == run.lineage and loaded.params == run.params and repr(loaded) == repr(run)
    assert [digest(state) for state in loaded] == [digest(state) for state in run]
    for t in (0, len(run) - 1, len(run) // 2, len(run) // 3):
        assert digest(loaded.get(t)) == digest(run.get(t))
    for name in run.observed:
        assert all_bits(loaded.observed[name]) == all_bits(run.observed[name])
        assert loaded.overview(name).tobytes() == run.overview(name).tobytes()
    assert loaded.verify(full=True)


@kinds
def test_saving_what_was_loaded_gives_the_same_bytes(kind, tmp_path):
    run = run_of(kind)
    run.save(tmp_path / "a.replay")
    rewind.load(tmp_path / "a.replay", allow_pickle=True).save(tmp_path / "b.replay")
    rewind.load(tmp_path / "b.replay", ALL[kind][1], allow_pickle=True).save(tmp_path / "c.replay")
    assert len({(tmp_path / f"{name}.replay").read_bytes() for name in "abc"}) == 1


@kinds
def test_recording_again_at_another_time_gives_the_same_bytes(kind, tmp_path, monkeypatch):
    run_of(kind).save(tmp_path / "a.replay")
    os.utime(tmp_path / "a.replay", (1, 1))
    monkeypatch.setattr(time, "time", lambda: 4_102_444_800.0)
    monkeypatch.setattr(time, "time_ns", lambda: 4_102_444_800_000_000_000)
    random.seed(9)
    ALL[kind][0]().save(tmp_path / "b.replay")
    assert (tmp_path / "a.replay").read_bytes() == (tmp_path / "b.replay").read_bytes()


WRITE_ALL = """
    import pathlib, sys
    from helpers.replays import KINDS, KINDS_2
    for kind, (make, step) in (KINDS | KINDS_2).items():
        make().save(pathlib.Path(sys.argv[1], kind + ".replay"))
"""
READ_ALL = """
    import pathlib, sys
    import rewind
    from helpers.replays import KINDS, KINDS_2
    assert rewind.kernel_name == sys.argv[2], rewind.kernel_name
    for kind, (make, step) in (KINDS | KINDS_2).items():
        run = rewind.load(pathlib.Path(sys.argv[1], kind + ".replay"), step, allow_pickle=True)
        assert run.verify(full=True) and run.content_hash() == make().content_hash(), kind
"""


def in_another_process(script: str, *args: str, **environment: str) -> None:
    path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", QUIET + textwrap.dedent(script), *args],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


ENVIRONMENTS = [
    {"PYTHONHASHSEED": "1", "TZ": "Asia/Kathmandu", "LC_ALL": "C"},
    {"PYTHONHASHSEED": "77", "TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8", "PYTHONUTF8": "0"},
]


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=["one", "other"])
def test_another_process_writes_the_same_bytes(environment, tmp_path):
    in_another_process(WRITE_ALL, str(tmp_path), **environment)
    check_same_files(tmp_path)


@pytest.mark.compiled
@pytest.mark.parametrize(("writing", "reading"), [("compiled", "python"), ("python", "compiled")])
def test_both_kernels_write_the_same_bytes_and_read_each_other(writing, reading, tmp_path):
    in_another_process(WRITE_ALL, str(tmp_path), REWIND_KERNEL=writing)
    check_same_files(tmp_path)
    in_another_process(READ_ALL, str(tmp_path), reading, REWIND_KERNEL=reading)


def check_same_files(folder: pathlib.Path) -> None:
    for kind in KINDS:
        run_of(kind).save(folder / "here.replay")
        assert (folder / f"{kind}.replay").read_bytes() == (folder / "here.replay").read_bytes(), kind


def test_the_quickstart_takes_at_most_4096_bytes(tmp_path):
    def step(x, rng):
        return x + (1 if rng.random() < 0.5 else -1)

    run = rewind.record(step, init_state=0, n_steps=1_000_000, seed=42)
    run.save(tmp_path / "run.replay")
    assert (tmp_path / "run.replay").stat().st_size <= 4096
    assert rewind.load(tmp_path / "run.replay").metadata()["n_pickled"] == 0


def test_a_run_may_be_saved_in_the_oldest_format(tmp_path):
    for kind in KINDS:
        run = run_of(kind)
        run.save(tmp_path / "run.replay", compat="1.8")
        loaded = rewind.load(tmp_path / "run.replay", ALL[kind][1], allow_pickle=True)
        assert loaded.content_hash() == run.content_hash() and loaded.verify()
    with pytest.raises(rewind.ArgumentError, match="expected '1.8' or None"):
        run.save(tmp_path / "run.replay", compat="1.6")


def test_metadata_of_hundreds_of_kilobytes_is_kept(tmp_path):
    run = rewind.record(lambda x, rng, words: x, 0, 5, 0, params={"words": [f"word {i}" for i in range(20_000)]})
    run.save(tmp_path / "run.replay")
    assert rewind.load(tmp_path / "run.replay").params == run.params


def test_more_than_a_file_holds_is_an_artifact_error_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "run.replay"
    run_of("walk").save(path)
    before = path.read_bytes()
    run = rewind.record(lambda x, rng, word: x, 0, 5, 0, params={"word": "x" * (17 << 20)})
    with pytest.raises(rewind.ArtifactFormatError, match="too large for the format"):
        run.save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["run.replay"]


def test_an_exception_with_odd_text_does_not_lose_the_run(tmp_path):
    def report(progress):
        raise RuntimeError("\udcff is no text")

    with pytest.raises(RuntimeError) as caught:
        rewind.record(walk, 0, 100, 1, progress=report)
    run = caught.value.run
    run.save(tmp_path / "run.replay")
    loaded = rewind.load(tmp_path / "run.replay")
    assert not loaded.complete and "is no text" in loaded.metadata()["stopped"]
    assert loaded.content_hash() == run.content_hash()


# ---- content hash


@kinds
def test_the_content_hash_is_the_same_before_and_after_a_save(kind, tmp_path):
    run = run_of(kind)
    before = run.content_hash()
    run.save(tmp_path / "run.replay")
    assert before == run.content_hash() == ALL[kind][0]().content_hash()
    assert rewind.load(tmp_path / "run.replay", allow_pickle=True).content_hash() == before
    assert len(bytes.fromhex(before)) == 32


def test_no_two_kinds_share_a_content_hash():
    kinds = [kind for kind in KINDS if not kind.endswith("_2")]  # those are recorded again
    assert len({run_of(kind).content_hash() for kind in kinds}) == len(kinds) > 10


def test_the_content_hash_does_not_depend_on_hints_versions_or_paths():
    recording = run_of("stopped")._recording
    known = replay_file.content_hash(recording)
    for change in (
        {"step": {"id": "other:step", "file": "x.py", "source": "00"}},
        {"versions": {"python": "9.9", "rewind": "7"}},
        {"versions": {}, "step": {}},
        {"stopped": "another reason"},
    ):
        assert replay_file.content_hash(replace(recording, **change)) == known


CONTENT = {
    "n_steps": 121,
    "block_size": 12,
    "stride": 2,
    "seed": 5,
    "backend": "numpy",
    "params": {"a": 1},
    "tail_digest": bytes(16),
    "complete": False,
}


@pytest.mark.parametrize("name", CONTENT)
def test_the_content_hash_depends_on_every_field(name):
    recording = run_of("town")._recording
    changed = replace(recording, **{name: CONTENT[name]})
    assert replay_file.content_hash(changed) != replay_file.content_hash(recording)


def test_the_content_hash_depends_on_every_stored_number_and_every_piece_of_metadata():
    arrays, meta = parts_of("town")
    known = replay_file._content_hash(arrays, meta)
    for name, array in arrays.items():
        for at in {0, array.size // 2, array.size - 1}:
            flat = array.reshape(-1)
            old = flat[at]
            flat.view(f"V{array.itemsize}")[at] = (
                b"\x01" * array.itemsize if old.tobytes()[:1] != b"\x01" else b"\x02" * array.itemsize
            )
            assert replay_file._content_hash(arrays, meta) != known, name
            flat[at] = old
    assert replay_file._content_hash(arrays, meta) == known
    for path, _ in places(meta):
        changed = copy.deepcopy(meta)
        put(changed, path, "something else")
        same = replay_file._content_hash(arrays, changed) == known
        assert same == (path[0] in ("content_hash", "pickle_hash", "step", "stopped", "versions")), path


# ---- damage


def test_every_flipped_bit_is_refused(tmp_path):
    path = tmp_path / "run.replay"
    rewind.record(walk, 0, 9, 1).save(path)
    data = bytearray(path.read_bytes())
    refused = 0
    for at in range(len(data)):
        for bit in range(8):
            data[at] ^= 1 << bit
            with pytest.raises(rewind.ArtifactError):
                load_bytes(data, path)
            data[at] ^= 1 << bit
            refused += 1
    load_bytes(data, path)
    assert refused == 8 * len(data) > 10_000


def load_bytes(data: bytes | bytearray, path: pathlib.Path, **options: Any) -> Run[Any]:
    with open(path, "r+b") as file:  # in place: no need for an atomic save here
        file.write(data)
        file.truncate()
    return rewind.load(path, **options)


def test_a_file_cut_anywhere_or_with_more_at_its_end_is_refused(tmp_path):
    path = tmp_path / "run.replay"
    rewind.record(walk, 0, 9, 1).save(path)
    data = path.read_bytes()
    for stop in range(len(data)):
        with pytest.raises((rewind.ArtifactFormatError, rewind.ArtifactIntegrityError)):
            load_bytes(data[:stop], path)
    for more in (b"\0", b"x" * 512, data):
        with pytest.raises(rewind.ArtifactError):
            load_bytes(data + more, path)
    assert len(load_bytes(data, path)) == 9


def test_contents_that_are_not_what_the_hash_says_are_named():
    arrays, meta = parts_of("town")
    arrays["checkpoints/people"][3, 1] += 1
    with pytest.raises(rewind.ArtifactIntegrityError, match="do not have its content hash"):
        read(sealed(arrays, meta, rehash=False))
    arrays, meta = parts_of("hoard")
    arrays["pickle/blob"][5] ^= 1
    with pytest.raises(rewind.ArtifactIntegrityError, match="pickled checkpoints do not have their hash"):
        read(sealed(arrays, meta, rehash=False))


def read(data: bytes, **options: Any) -> Run[Any]:
    """Load bytes by the public function, without a disk."""
    known = replay_file.read_file
    replay_file.read_file = lambda path, **_: data  # type: ignore[assignment]
    try:
        return rewind.load("bytes.replay", **options)
    finally:
        replay_file.read_file = known


def npy() -> bytes:
    memory = io.BytesIO()
    np.save(memory, np.arange(9))
    return memory.getvalue()


OTHER_FILES: dict[str, Callable[[pathlib.Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello\n" * 200),
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "noise": lambda path: path.write_bytes(random.Random(1).randbytes(5000)),
    "another HDF5 file": lambda path: h5py.File(path, "w").create_dataset("x", data=[1.0]).file.close(),
    "an npy file": lambda path: path.write_bytes(npy()),
    "a zip file": lambda path: zipfile.ZipFile(path, "w").close(),
    "a pickle": lambda path: path.write_bytes(pickle.dumps({"n_steps": 5})),
    "json": lambda path: path.write_text(json.dumps({"rewind": 1})),
}


@pytest.mark.parametrize("make", OTHER_FILES.values(), ids=OTHER_FILES.keys())
def test_a_file_that_is_no_replay_file_is_a_value_error_that_names_it(make, tmp_path):
    path = tmp_path / "something.replay"
    make(path)
    with pytest.raises(rewind.ArtifactError, match="something.replay: ") as caught:
        rewind.load(path)
    assert isinstance(caught.value, ValueError)


# ---- later versions


def test_a_later_format_version_is_refused_with_a_sentence():
    arrays, meta = parts_of("walk")
    meta["format_version"] = 3
    with pytest.raises(
        rewind.ArtifactVersionError, match="has format version 3; this rewind reads versions up to 2. Install a later"
    ) as caught:
        read(sealed(arrays, meta))
    assert (caught.value.found, caught.value.known) == (3, 2) and isinstance(caught.value, ValueError)
    for odd in (0, -1, "1", None, 1.0, True, [1]):
        meta["format_version"] = odd
        with pytest.raises(rewind.ArtifactFormatError):
            read(sealed(arrays, meta))
    del meta["format_version"]
    with pytest.raises(rewind.ArtifactFormatError):
        read(sealed(arrays, meta))


def test_a_later_seal_is_refused_with_a_sentence():
    data = sealed(*parts_of("walk"))
    line = seal.seal(data[512:]).replace(b'"rewind":1', b'"rewind":2')
    with pytest.raises(rewind.ArtifactVersionError, match="version 2"):
        read(line + data[512:])


# ---- files made by someone who means harm: all hashes hold

MUTATED = ["walk", "drift", "town", "grow", "same_branch", "numpy_branch", "lead_branch", "thinned"]


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, item in items:
        yield (*path, key), item
        yield from places(item, (*path, key))


def put(tree: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        tree = tree[key]
    if value is GONE:
        del tree[path[-1]]
    else:
        tree[path[-1]] = value


GONE = object()
VALUES: list[Any] = [
    GONE,
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    1 << 40,
    (1 << 62) - 1,
    1 << 62,
    1 << 80,
    1.5,
    -0.0,
    "",
    "x",
    "1",
    "-1",
    "0x",
    "pickle",
    "0x0p+0",
    "-0x1p+0",
    "0x1p+99999",
    "0x1p-1074",
    "nan",
    "-inf",
    "1e999",
    "00" * 16,
    "00" * 32,
    "é",
    "int",
    "<f8",
    "O",
    [],
    [1],
    ["x"],
    [[]],
    [[None, None]],
    {},
    {"x": 1},
    {"list": []},
    {"dict": [["a", "int"]]},
    {"dtype": "<f8", "shape": [1 << 39]},
]


#: Changes of these leave a replay as it was.
NO_REPLAY = (
    "('metrics/",
    *(f"(('{name}'" for name in ("metrics", "metric_order", "step", "versions", "stopped", "complete")),
)


def check_harmless(arrays: dict[str, np.ndarray], meta: dict[str, Any], step: Any, what: object) -> bool:
    """A recording of these parts is refused, or all that needs no replay (and a short replay) works or is refused."""
    try:
        recording = replay_file.from_parts(arrays, meta)
    except rewind.RewindError as error:
        assert isinstance(error, rewind.ArtifactFormatError), (what, error)
        return True
    run: Run[Any] = Run(recording, None, {})
    questions: list[Callable[[], Any]] = [
        run.metadata,
        run.content_hash,
        lambda: run.get(0),
        lambda: run.lineage,
        lambda: repr(run),
        *(lambda name=name: run.observed[name] for name in run.observed),
        *(lambda name=name: run.overview(name) for name in run.observed if recording.grid.n_blocks < 5000),
    ]
    if max(recording.n_steps, recording.origin.lead) <= 2000 and not str(what).startswith(NO_REPLAY):
        ready = Run(recording, rewind.steps.step.Step(step, recording.params), {})
        questions += [lambda: ready.get(-1), lambda: ready.verify()]
    for question in questions:
        try:
            question()
        except rewind.RewindError:
            pass
        except Exception as error:
            raise AssertionError(what) from error
    return False


@pytest.mark.slow
@pytest.mark.parametrize("kind", MUTATED)
def test_metadata_changed_anywhere_is_refused_or_harmless(kind):
    arrays, meta = parts_of(kind)
    step = ALL[kind][1]
    refused = total = 0
    for path, old in list(places(meta)):
        if path[0] in ("versions", "content_hash", "format_version") and len(path) == 1 and kind != "walk":
            continue
        for value in VALUES:
            if type(value) is type(old) and value == old:
                continue
            changed = json.loads(json.dumps(meta))
            put(changed, path, value)
            refused += check_harmless(dict(arrays), changed, step, (path, value))
            total += 1
    assert refused > total / 2


def test_a_key_that_is_missing_or_unknown_is_refused():
    for kind in MUTATED:
        arrays, meta = parts_of(kind)
        for name in meta:
            if name in ("content_hash", "pickle_hash"):
                continue
            changed = {key: value for key, value in meta.items() if key != name}
            with pytest.raises(rewind.ArtifactFormatError):
                read(sealed(dict(arrays), changed), allow_pickle=True)
        with pytest.raises(rewind.ArtifactFormatError, match="surprise"):
            read(sealed(dict(arrays), {**meta, "surprise": 1}), allow_pickle=True)


def array_changes(array: np.ndarray) -> Iterator[tuple[str, Any]]:
    yield "gone", GONE
    yield "empty", array[:0]
    yield "a row less", array[:-1]
    yield "a row more", np.concatenate([array, array[-1:]])
    yield "an axis more", array[..., None]
    yield "one number", array.reshape(-1)[0]
    yield "transposed", np.ascontiguousarray(array.T)
    yield "text", np.full(array.shape, b"x")
    for dtype in ("<f4", "<f8", "<i4", "<i8", "<u8", "|u1"):
        if array.dtype.str != dtype and array.dtype.kind != "S":
            with np.errstate(all="ignore"):
                yield dtype, array.astype(dtype)
    if array.dtype.kind in "iu":
        for number in (0, 1, -1, 7, 1 << 31, (1 << 63) - 1, -(1 << 63)):
            yield f"all {number}", np.full(array.shape, np.array(number, "i8").astype(array.dtype))
    if array.dtype.kind == "f":
        for real in (0.0, -0.0, math.nan, math.inf, 1e308, 5e-324):
            with np.errstate(over="ignore"):
                yield f"all {real}", np.full(array.shape, real, array.dtype)
    if array.dtype.kind == "S":
        for text in (b"", b"\xff", b"\xc3", b"z" * array.dtype.itemsize):
            yield f"all {text!r}", np.full(array.shape, text, array.dtype)
    for seed in range(2):
        noise = random.Random(seed).randbytes(array.nbytes)
        yield f"noise {seed}", np.frombuffer(noise, array.dtype).reshape(array.shape)


@pytest.mark.parametrize("kind", MUTATED)
def test_arrays_changed_anyhow_are_refused_or_harmless(kind):
    arrays, meta = parts_of(kind)
    step = ALL[kind][1]
    for name, array in arrays.items():
        if name == "pickle/blob":
            continue  # a pickle of one's own choice may do anything; that is why it has to be allowed
        for what, value in array_changes(array):
            changed = {**arrays, name: value}
            if value is GONE:
                del changed[name]
            refused = check_harmless(changed, copy.deepcopy(meta), step, (name, what))
            if what in ("gone", "empty", "a row less", "a row more", "an axis more", "one number", "<f4", "<i4", "<u8"):
                assert refused or (name == "start/gauss" and what == "gone"), (name, what)
    assert check_harmless({**arrays, "extra": np.zeros(3)}, meta, step, "extra")
    assert check_harmless({**arrays, "checkpoints/extra": np.zeros(3)}, meta, step, "extra")


def test_states_of_a_generator_that_it_cannot_have_are_refused():
    arrays, meta = parts_of("same_branch")
    for at, word in ((624, 625), (0, 1 << 32), (624, 1 << 63)):
        words = arrays["start/words"].copy()
        words[at] = word
        assert check_harmless({**arrays, "start/words": words}, meta, KINDS["same_branch"][1], (at, word))
    arrays, meta = parts_of("numpy_branch")
    for at, word in ((4, 2), (5, 1 << 32), (3, 2), (6, 1 << 31)):
        words = arrays["start/words"].copy()
        words[at] = word
        assert check_harmless({**arrays, "start/words": words}, meta, KINDS["numpy_branch"][1], (at, word))


PICKLES = [
    ("pickle/steps", [1, 0]),
    ("pickle/steps", [0, 0]),
    ("pickle/steps", [-1, 3]),
    ("pickle/steps", [0, 999]),
    ("pickle/offsets", "reversed"),
    ("pickle/offsets", "past the end"),
    ("pickle/offsets", "negative"),
    ("pickle/offsets", "late"),
]


@pytest.mark.parametrize(("name", "nonsense"), PICKLES, ids=str)
def test_pickles_that_are_not_where_they_should_be_are_refused(name, nonsense):
    arrays, meta = parts_of("grow")
    array = arrays[name]
    if isinstance(nonsense, list):
        array[:2] = nonsense
    elif nonsense == "reversed":
        array[:] = array[::-1].copy()
    elif nonsense == "past the end":
        array[-1] += 1
    elif nonsense == "negative":
        array[1] = -5
    else:
        array[0] = 1
    with pytest.raises(rewind.ArtifactFormatError, match="pickle/"):
        read(sealed(arrays, meta), allow_pickle=True)


def test_text_as_long_as_the_file_likes_is_refused():
    arrays, meta = parts_of("town")
    name = "checkpoints/mood/name/length"
    for length in (-1, 1 << 40, arrays["checkpoints/mood/name/value"].dtype.itemsize + 1):
        arrays[name][2] = length
        with pytest.raises(rewind.ArtifactFormatError, match="not as long as it says"):
            read(sealed(arrays, meta))


def test_huge_promises_take_neither_memory_nor_time():
    arrays, meta = parts_of("empty")
    layouts = [
        {"dtype": {"fields": [], "itemsize": 1 << 30}, "shape": [1 << 39]},
        {"list": None, "length": 1 << 39},
        {"dtype": "<f8", "shape": [0, 1 << 39, 1 << 39]},
        {"dtype": "|V1000000000", "shape": [0]},
        {"dtype": {"fields": [["a", "<f8", [0], 0]], "itemsize": 1 << 29}, "shape": [1 << 39]},
        {"list": [{"list": [{"list": []}] * 40}] * 40},
        {"dict": []},
        None,
    ]
    tracemalloc.start()
    for layout in layouts:
        for sizes in (
            {},
            {"n_steps": (1 << 62) - 1},
            {"n_steps": (1 << 62) - 1, "block_size": 1},
            {"n_steps": 10**9, "block_size": 1},
        ):
            try:
                run = read(sealed(arrays, {**meta, "layout": layout, **sizes}))
                run.get(0)
                run.metadata()
            except rewind.RewindError:
                pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000


@given(st.data())
@settings(max_examples=60)
def test_several_changes_at_once_are_refused_or_harmless(data):
    kind = data.draw(st.sampled_from(MUTATED))
    arrays, meta = parts_of(kind)
    done = []
    for _ in range(data.draw(st.integers(1, 4))):
        if data.draw(st.booleans()):
            path = data.draw(st.sampled_from([path for path, _ in places(meta)]))
            value = data.draw(st.sampled_from(VALUES))
            put(meta, path, copy.deepcopy(value))
            done.append((path, value))
        else:
            name = data.draw(st.sampled_from(sorted(arrays)))
            what, value = (
                data.draw(st.sampled_from(list(array_changes(arrays[name])))) if arrays[name].size else ("gone", GONE)
            )
            if name == "pickle/blob" or value is GONE:
                continue
            arrays[name] = np.ascontiguousarray(value)
            done.append((name, what))
    check_harmless(arrays, meta, ALL[kind][1], done)


# ---- pickles

CANARY: list[str] = []


def sing(word: str) -> None:
    CANARY.append(word)


class Bomb:
    def __reduce__(self):
        return sing, ("boom",)


def bombed() -> bytes:
    arrays, meta = parts_of("hoard")
    blob = pickle.dumps(Bomb())
    n = len(arrays["pickle/steps"])
    arrays["pickle/blob"] = np.frombuffer(blob * n, "u1")
    arrays["pickle/offsets"] = np.arange(n + 1, dtype="<i8") * len(blob)
    return sealed(arrays, meta)


def test_a_pickle_never_runs_unless_it_was_allowed():
    data = bombed()
    CANARY.clear()
    for options in (
        {},
        {"step_fn": hoard},
        {"allow_pickle": False},
        {"reader": "h5py"},
        {"observe": {"x": len}, "step_fn": hoard},
    ):
        with pytest.raises(rewind.UnsafeArtifactError):
            read(data, **options)
    read(data, allow_pickle=True)
    assert CANARY == []
    read(data, allow_pickle=True).get(0)  # and this is what was allowed
    assert CANARY == ["boom"]


def test_a_refused_pickle_says_why_and_what_to_do(tmp_path):
    run_of("hoard").save(tmp_path / "set.replay")
    with pytest.raises(rewind.UnsafeArtifactError) as caught:
        rewind.load(tmp_path / "set.replay")
    n = run_of("hoard").n_checkpoints
    text = str(caught.value)
    assert f"set.replay holds {n} of {n} checkpoints as pickles" in text
    assert "runs code the file brings along" in text and "allow_pickle=True (--allow-pickle)" in text
    assert (caught.value.n_pickled, caught.value.n_checkpoints) == (n, n)
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, rewind.ArtifactError)


def test_a_file_without_pickles_needs_no_permission(tmp_path):
    for kind in ("walk", "town", "drift", "same_branch", "empty"):
        run_of(kind).save(tmp_path / "run.replay")
        assert rewind.load(tmp_path / "run.replay", allow_pickle=False).metadata()["n_pickled"] == 0


def test_a_pickle_whose_class_is_gone_is_a_state_error():
    arrays, meta = parts_of("hoard")
    blob = b"cno_such_module\nThing\n."
    n = len(arrays["pickle/steps"])
    arrays["pickle/blob"] = np.frombuffer(blob * n, "u1")
    arrays["pickle/offsets"] = np.arange(n + 1, dtype="<i8") * len(blob)
    run = read(sealed(arrays, meta), allow_pickle=True)
    with pytest.raises(rewind.StateError, match="cannot be unpickled here .ModuleNotFoundError"):
        run.get(0)


# ---- classes


def test_a_file_whose_class_is_not_imported_names_the_import(tmp_path):
    run_of("town").save(tmp_path / "town.replay")
    script = """
        import sys
        import rewind
        run = rewind.load(sys.argv[1])
        assert run.observed["people"].count == 120 and run.metadata()["n_steps"] == 120
        for ask in (lambda: run.get(0), lambda: rewind.load(sys.argv[1], lambda town, rng: town)):
            try:
                ask()
            except rewind.StateClassError as error:
                assert "replays:Town" in str(error) and "from replays import Town" in str(error)
            else:
                raise SystemExit("not refused")
        assert "replays" not in sys.modules
        from helpers.replays import Town
        assert type(run.get(0)) is Town
    """
    in_another_process(script, str(tmp_path / "town.replay"))


# ---- saving


def test_a_save_that_fails_in_the_middle_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.replay"
    run_of("walk").save(path)
    before = path.read_bytes()
    for name, code in (
        ("write", errno.ENOSPC),
        ("fsync", errno.EIO),
        ("replace", errno.EACCES),
        ("open", errno.EMFILE),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(files.os, name, failing(getattr(os, name), code))
            with pytest.raises(rewind.ArtifactIOError, match="cannot write .*run.replay") as caught:
                run_of("town").save(path)
        assert caught.value.errno == code and isinstance(caught.value, OSError)
        assert path.read_bytes() == before and os.listdir(tmp_path) == ["run.replay"]
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", interrupting)
        with pytest.raises(KeyboardInterrupt):
            run_of("town").save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["run.replay"]


def failing(real: Callable[..., Any], code: int) -> Callable[..., Any]:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


def interrupting(fd: int) -> None:
    raise KeyboardInterrupt


def test_a_file_that_would_not_load_is_never_written(tmp_path, monkeypatch):
    path = tmp_path / "run.replay"
    run_of("walk").save(path)
    before = path.read_bytes()
    for breaks in (
        lambda arrays, meta: meta.update(n_steps=-1),
        lambda arrays, meta: meta.update(content_hash="00" * 32),
        lambda arrays, meta: arrays.pop("checkpoints/people"),
    ):
        real = replay_file.to_parts

        def broken(recording, real=real, breaks=breaks):
            arrays, meta = real(recording)
            breaks(arrays, meta)
            return arrays, meta

        with monkeypatch.context() as patch:
            patch.setattr(replay_file, "to_parts", broken)
            with pytest.raises(rewind.ArtifactError):
                run_of("town").save(path)
        assert path.read_bytes() == before and os.listdir(tmp_path) == ["run.replay"]


def test_a_path_that_cannot_be_used_is_an_error_of_two_families(tmp_path):
    run = run_of("walk")
    for path, error, builtin in (
        (tmp_path, rewind.ArtifactIsADirectoryError, IsADirectoryError),
        (tmp_path / "no" / "such.replay", rewind.ArtifactNotFoundError, FileNotFoundError),
    ):
        with pytest.raises(error) as caught:
            run.save(path)
        assert isinstance(caught.value, builtin) and isinstance(caught.value, rewind.ArtifactIOError)
        assert str(path) in str(caught.value)
        with pytest.raises(error) as caught:
            rewind.load(path)
        assert isinstance(caught.value, builtin) and str(path) in str(caught.value)
    for path in (5, None, 1.5):
        with pytest.raises(rewind.ArgumentTypeError):
            run.save(path)
        with pytest.raises(rewind.ArgumentTypeError):
            rewind.load(path)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_may_not_be_written_is_a_permission_error(tmp_path, monkeypatch):
    for code in (errno.EACCES, errno.EPERM, errno.EROFS):
        with monkeypatch.context() as patch:
            patch.setattr(files.os, "open", failing(os.open, code))
            with pytest.raises(rewind.ArtifactPermissionError) as caught:
                run_of("walk").save(tmp_path / "run.replay")
            assert isinstance(caught.value, PermissionError)
            with pytest.raises(rewind.ArtifactPermissionError):
                rewind.load(tmp_path / "run.replay")
    assert os.listdir(tmp_path) == []


def test_a_path_may_be_text_or_a_path(tmp_path):
    run_of("walk").save(str(tmp_path / "ä.replay"))
    assert (
        len(rewind.load(tmp_path / "ä.replay")) == len(rewind.load(os.fsencode(tmp_path / "ä.replay").decode())) == 1000
    )


# ---- other people's tools


def test_a_tool_sees_plain_values_under_checkpoints(tmp_path):
    run_of("town").save(tmp_path / "town.replay")
    town = run_of("town")
    with h5py.File(tmp_path / "town.replay") as file:
        assert file.attrs["format"] == b"rewind.replay"
        meta = json.loads(file.attrs["meta"])
        assert meta["n_steps"] == 120 and meta["seed"] == str(2**70 + 1)
        step = meta["block_size"] * meta["stride"]
        group = file["checkpoints"]
        for i in range(group["people"].shape[0]):
            state = town.get(i * step)
            assert group["people"][i].tolist() == state.people
            assert group["grid"][i].tolist() == state.grid.tolist() and group["grid"].dtype == "<i2"
            assert group["mood/name/value"][i].decode() == state.mood.name
            assert group["mood/since"][i] == state.mood.since
            assert complex(group["news/z/real"][i], group["news/z/imag"][i]) == state.news["z"]
        overview = town.overview("since")
        for column in ("mean", "m2", "min", "max", "argmin", "argmax", "last", "nan_count"):
            assert file[f"metrics/since/{column}"][:].tolist() == overview[column].tolist()
    first = (tmp_path / "town.replay").read_bytes().split(b"\n")[0]
    assert json.loads(first)["bytes"] == (tmp_path / "town.replay").stat().st_size


def rewritten(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy a file as h5repack does: other chunks, other order, no user block."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        for name in ("format", "meta"):
            value = old.attrs.get_id(name)
            text = np.empty((), value.dtype)
            value.read(text)
            new.attrs.create(name, text, dtype=value.dtype)

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                options = (
                    {"compression": 4, "chunks": tuple(max(1, n // 2) for n in item.shape)}
                    if item.ndim and item.size
                    else {}
                )
                new.create_dataset(name, data=item[()], **options)

        old.visititems(visit)


@kinds
def test_a_file_that_a_tool_rewrote_is_read_when_asked_and_has_its_content_hash(kind, tmp_path):
    run = run_of(kind)
    run.save(tmp_path / "run.replay")
    rewritten(tmp_path / "run.replay", tmp_path / "copy.replay")
    with pytest.raises(rewind.ArtifactFormatError):
        rewind.load(tmp_path / "copy.replay", allow_pickle=True)
    loaded = rewind.load(tmp_path / "copy.replay", ALL[kind][1], allow_pickle=True, reader="h5py")
    assert loaded.content_hash() == run.content_hash() and loaded.metadata() == run.metadata() and loaded.verify()
    loaded.save(tmp_path / "again.replay")
    assert (tmp_path / "again.replay").read_bytes() == (tmp_path / "run.replay").read_bytes()
    with pytest.raises(rewind.ArgumentError, match="'strict' or 'h5py'"):
        rewind.load(tmp_path / "run.replay", reader="other")


def test_a_value_changed_by_a_tool_is_found_out(tmp_path):
    run_of("walk").save(tmp_path / "run.replay")
    rewritten(tmp_path / "run.replay", tmp_path / "copy.replay")
    with h5py.File(tmp_path / "copy.replay", "r+") as file:
        file["checkpoints/state"][3] += 1
    with pytest.raises(rewind.ArtifactIntegrityError, match="content hash"):
        rewind.load(tmp_path / "copy.replay", reader="h5py")


# ---- branches


def test_a_branch_inside_a_block_carries_its_generator(tmp_path):
    for kind, words in (("same_branch", 625), ("numpy_branch", 7)):
        run = run_of(kind)
        run.save(tmp_path / "run.replay")
        with h5py.File(tmp_path / "run.replay") as file:
            assert file["start/words"].shape == (words,)
        loaded = rewind.load(tmp_path / "run.replay", ALL[kind][1])
        assert [digest(state) for state in loaded] == [digest(state) for state in run]
        assert digest(loaded.branch(2, noise="same").get(-1)) == digest(run.get(-1))


def test_lineage_leads_to_the_root_by_content_hashes(tmp_path):
    root = walk_run()
    child = root.branch(500, seed=3)
    grandchild = child.branch(20, noise="same")
    grandchild.save(tmp_path / "run.replay")
    loaded = rewind.load(tmp_path / "run.replay")
    assert loaded.lineage == (rewind.Ancestor(child.content_hash(), 20), rewind.Ancestor(root.content_hash(), 500))
    assert loaded.parent_hash == child.content_hash() and loaded.branch_point == 20 and loaded.start == 520


def test_another_step_function_is_noticed(tmp_path):
    run_of("walk").save(tmp_path / "run.replay")
    with pytest.warns(rewind.StepSourceWarning, match="the source of replays:stay is not the source .*replays:walk"):
        rewind.load(tmp_path / "run.replay", stay)
    assert rewind.load(tmp_path / "run.replay", walk).step_id == "replays:walk"


def test_a_warning_survives_a_file_without_a_name():
    arrays, meta = parts_of("walk")
    meta["step"] = {"source": "00"}
    with pytest.warns(rewind.StepSourceWarning):
        run = read(sealed(arrays, meta), step_fn=walk)
    assert run.step_id is None
