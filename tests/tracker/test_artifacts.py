"""Artifacts of tracked runs: versions of files and folders, what their names mean to a revision, and their bytes."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import pathlib
import pickle
import socket
import stat
import subprocess
import sys
import threading

import pytest

from rewind.errors import ArgumentError, ArgumentTypeError, StoreDamagedError, StoreError, TrackedArtifactError
from rewind.tracker.store import blobs
from rewind.tracker.store.artifacts import keep, logged, problems
from rewind.tracker.store.database import Store
from rewind.tracker.store.use import use

pytestmark = pytest.mark.once
posix = pytest.mark.skipif(os.name != "posix", reason="pipes, sockets, links and permissions are those of POSIX")


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path / ".rewind"), write=True)
    revision(store, "a")
    yield store
    store.close()


def revision(store, run, number=1, parent=None, parent_step=-1):
    """Add a revision, and return its uid."""
    with store.writing() as connection:
        connection.execute("INSERT OR IGNORE INTO runs (id, began, current) VALUES (?, 0, 1)", (run,))
        cursor = connection.execute(
            """INSERT INTO revisions (run, number, kind, parent, parent_step, name, tags, config, state, began)
               VALUES (?, ?, 'begun', ?, ?, ?, '[]', '{}', 'running', 0)""",
            (run, number, parent, parent_step, run),
        )
        return cursor.lastrowid


def text(tmp_path, data, name="file.txt"):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode())
    return path


def put(store, tmp_path, data, uid=1, step=0, name="model", **more):
    return keep(store, uid, step, text(tmp_path, data), name, **more)


def events(store, kind="logged"):
    query = "SELECT revision, n, step, artifact, aliases FROM artifact_events WHERE kind = ? ORDER BY revision, n"
    return [(*row[:4], json.loads(row[4])) for row in store.read(query, (kind,))]


def on_disk(store):
    """Names and bytes of all that is in contents/."""
    root = pathlib.Path(store.folder, "contents")
    return {path.name: path.read_bytes() for path in root.rglob("*") if path.is_file()} if root.exists() else {}


def blake(data):
    return hashlib.blake2b(data, digest_size=32).hexdigest()


# ---- keeping


def test_a_file_is_kept_under_the_digest_of_its_bytes(store, tmp_path):
    artifact = keep(store, 1, 7, text(tmp_path, "hello", "a.txt"), "model", "weights", "best", {"loss": 0.5})
    assert (artifact.ref, artifact.name, artifact.version, artifact.type) == ("model:v0", "model", 0, "weights")
    assert (artifact.files, artifact.size, artifact.metadata) == (("a.txt",), 5, {"loss": 0.5})
    assert (artifact.aliases, artifact.step, artifact.revision) == (("latest", "best"), 7, "a@1")
    digest = blake(b"hello")
    assert artifact.path() == artifact.path("a.txt") == os.path.join(store.folder, "contents", digest[:2], digest)
    assert on_disk(store) == {digest: b"hello"}
    manifest = f'[["a.txt","{digest}",5,false]]'
    assert artifact.digest == blake(manifest.encode()) == blobs.manifest_digest(manifest)
    assert store.read("SELECT manifest FROM artifacts") == [(manifest,)]
    assert pickle.loads(pickle.dumps(artifact)) == artifact and hash(artifact) == hash(artifact)


def test_a_name_that_is_not_given_is_that_of_the_file(store, tmp_path, monkeypatch):
    assert keep(store, 1, 0, text(tmp_path, "x", "run-3.pt")).name == "run-3.pt"
    text(tmp_path, "x", "weights/a")
    monkeypatch.chdir(tmp_path / "weights")
    assert keep(store, 1, 0, ".").name == "weights"
    with pytest.raises(ArgumentError, match=r"name is 'a b'; expected .*name= gives it another"):
        keep(store, 1, 0, text(tmp_path, "x", "a b"))


def test_a_folder_is_kept_with_all_that_is_in_it(store, tmp_path):
    files = {"b": b"", "a/x.bin": bytes(range(256)), "a/ä 漢\N{SNOWMAN}\n": b"odd", "a/b/c/d": b"odd", "a.b": b"1"}
    for name, data in files.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "in" / "nothing in it").mkdir()
    artifact = keep(store, 1, 0, tmp_path / "in", "data")
    assert artifact.files == tuple(sorted(files)) and artifact.size == 263
    assert sorted(on_disk(store)) == sorted({blake(data) for data in files.values()})
    out = pathlib.Path(artifact.download(tmp_path / "out"))
    assert {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()} == files


def test_an_empty_folder_is_a_version(store, tmp_path):
    (tmp_path / "in").mkdir()
    artifact = keep(store, 1, 0, tmp_path / "in", "none")
    assert (artifact.files, artifact.size, artifact.ref) == ((), 0, "none:v0")
    assert os.listdir(artifact.download(tmp_path / "out")) == []
    with pytest.raises(TrackedArtifactError, match="no single file: it has no files"):
        artifact.path()


@posix
def test_a_file_name_that_is_no_unicode_comes_back_as_it_was(store, tmp_path):
    (tmp_path / "in").mkdir()
    with open(os.fsencode(tmp_path / "in") + b"/\xff\xfe", "wb") as file:
        file.write(b"1")
    artifact = keep(store, 1, 0, tmp_path / "in", "data")
    artifact.download(tmp_path / "out")
    assert os.listdir(os.fsencode(tmp_path / "out")) == [b"\xff\xfe"]


@posix
def test_that_a_file_can_be_executed_is_kept_and_counts(store, tmp_path):
    path = text(tmp_path, "#!/bin/sh\n", "run.sh")
    plain = keep(store, 1, 0, path)
    path.chmod(0o755)
    executable = keep(store, 1, 0, path)
    assert (plain.version, executable.version) == (0, 1) and plain.digest != executable.digest
    assert len(on_disk(store)) == 1
    out = tmp_path / "out"
    for artifact, expected in ((executable, 0o100), (plain, 0), (executable, 0o100)):
        artifact.download(out)
        assert stat.S_IMODE((out / "run.sh").stat().st_mode) & 0o100 == expected


@posix
def test_symlinks_to_files_are_followed_and_others_refused_by_name(store, tmp_path):
    text(tmp_path, "target", "elsewhere/file")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere" / "file")
    artifact = keep(store, 1, 0, folder, "data")
    assert artifact.files == ("link",) and pathlib.Path(artifact.path()).read_bytes() == b"target"
    (folder / "folder").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TrackedArtifactError, match=r"in/folder: it is a symlink to a folder"):
        keep(store, 1, 0, folder, "data")
    (folder / "folder").unlink()
    (folder / "broken").symlink_to(tmp_path / "nowhere")
    with pytest.raises(TrackedArtifactError, match=r"in/broken: it is a symlink to nothing"):
        keep(store, 1, 0, folder, "data")
    assert len(events(store)) == 1


@posix
def test_pipes_and_sockets_are_refused_by_name_and_never_waited_for(store, tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    with pytest.raises(TrackedArtifactError, match=r"in/pipe: it is a pipe"):
        keep(store, 1, 0, folder, "data")
    with pytest.raises(TrackedArtifactError, match=r"in/pipe: it is a pipe"):
        keep(store, 1, 0, folder / "pipe", "data")
    with pytest.raises(TrackedArtifactError, match="in/pipe: it is a pipe"):
        blobs.add_file(store.folder, str(folder / "pipe"))  # it became one after the walk
    (folder / "pipe").unlink()
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(TrackedArtifactError, match=r"in/socket: it is a pipe, a socket"):
            keep(store, 1, 0, folder, "data")


def test_the_trackers_own_folder_is_left_out(store, tmp_path):
    text(tmp_path, "x", "code.py")
    assert keep(store, 1, 0, tmp_path, "code").files == ("code.py",)
    assert keep(store, 1, 0, tmp_path, "code").version == 0
    with pytest.raises(TrackedArtifactError, match="the tracker's own folder"):
        keep(store, 1, 0, store.folder, "code")


def test_a_source_that_is_not_there_is_named(store, tmp_path):
    with pytest.raises(TrackedArtifactError, match=r"cannot keep .*nowhere: there is no such file or folder"):
        keep(store, 1, 0, tmp_path / "nowhere")
    with pytest.raises(ArgumentError):
        keep(store, 1, 0, "a\0b", "x")
    for path in (None, 3, ["a"]):
        with pytest.raises(ArgumentTypeError, match="path"):
            keep(store, 1, 0, path, "x")


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "ä", "a b", "a\n", "x" * 129])
def test_a_name_that_cannot_be_meant_is_refused(store, tmp_path, name):
    with pytest.raises(ArgumentError, match="^name is "):
        put(store, tmp_path, "x", name=name)
    assert on_disk(store) == {}


@pytest.mark.parametrize("alias", ["", "a/b", "a:b", " a", "a ", "v0", "v12", "a\nb", "\udcff"])
def test_an_alias_that_cannot_be_meant_is_refused(store, tmp_path, alias):
    with pytest.raises(ArgumentError, match="^an alias is "):
        put(store, tmp_path, "x", aliases=["fine", alias])
    assert on_disk(store) == {}


def test_arguments_of_a_wrong_type_are_refused(store, tmp_path):
    for more in (
        {"name": 3},
        {"type": 3},
        {"aliases": 3},
        {"aliases": b"best"},
        {"aliases": [3]},
        {"aliases": {"best": 1}},
        {"metadata": [1]},
    ):
        with pytest.raises(ArgumentTypeError, match=next(iter(more))[:5]):
            put(store, tmp_path, "x", **more)
    with pytest.raises(ArgumentError, match="^type is"):
        put(store, tmp_path, "x", type="\udcff")
    assert on_disk(store) == {} and events(store) == []


def test_metadata_are_kept_as_a_config_is(store, tmp_path):
    given = {1: 2, "best": float("inf"), "path": pathlib.PurePosixPath("a/b")}
    assert put(store, tmp_path, "x", metadata=given).metadata == {"1": 2, "best": float("inf"), "path": "a/b"}


def test_aliases_may_be_text_or_a_sequence_and_latest_moves_by_itself(store, tmp_path):
    assert put(store, tmp_path, "1", aliases="best one").aliases == ("latest", "best one")
    assert put(store, tmp_path, "2", aliases=("b", "latest", "a", "b")).aliases == ("latest", "b", "a")
    assert put(store, tmp_path, "3", aliases={"d", "c"}).aliases == ("latest", "c", "d")
    assert [event[-1] for event in events(store)] == [["best one"], ["b", "a"], ["c", "d"]]


# ---- versions


def test_versions_are_counted_for_each_name_and_the_same_content_makes_none(store, tmp_path):
    refs = [put(store, tmp_path, data, step=i).ref for i, data in enumerate(["1", "2", "1", "1", "3", "2"])]
    assert refs == ["model:v0", "model:v1", "model:v0", "model:v0", "model:v2", "model:v1"]
    assert put(store, tmp_path, "2", name="other").ref == "other:v0"
    assert len(on_disk(store)) == 3
    # the fourth said nothing new
    assert [event[1:4] for event in events(store)] == [(0, 0, 1), (1, 1, 2), (2, 2, 1), (3, 4, 3), (4, 5, 2), (5, 0, 4)]


def test_name_type_and_metadata_do_not_count_for_the_digest(store, tmp_path):
    one = put(store, tmp_path, "x", type="a", metadata={"a": 1})
    two = put(store, tmp_path, "x", name="other")
    again = put(store, tmp_path, "x", type="b", metadata={"b": 1})
    assert one.digest == two.digest and (again.version, again.type, again.metadata) == (0, "a", {"a": 1})


def test_other_aliases_of_the_newest_version_are_an_event(store, tmp_path):
    put(store, tmp_path, "x", aliases=["a", "b"])
    put(store, tmp_path, "x", aliases=["b", "a"])
    assert len(events(store)) == 1
    assert put(store, tmp_path, "x", aliases="c", step=3).aliases == ("latest", "a", "b", "c")
    assert [event[2:] for event in events(store)] == [(0, 1, ["a", "b"]), (3, 1, ["c"])]


def test_what_the_past_logged_is_not_logged_again_but_what_it_cannot_see_is(store, tmp_path):
    put(store, tmp_path, "x", step=5)
    seeing, blind = revision(store, "a", 2, 1, 5), revision(store, "b", 1, 1, 4)
    assert put(store, tmp_path, "x", uid=seeing, step=6).revision == "a@1"
    assert put(store, tmp_path, "x", uid=blind, step=6).revision == "b@1"
    assert [event[0] for event in events(store)] == [1, blind]


def test_a_content_that_is_there_is_not_written_again(store, tmp_path, monkeypatch):
    put(store, tmp_path, "x")
    monkeypatch.setattr(os, "replace", None)
    monkeypatch.setattr(os, "write", None)
    assert put(store, tmp_path, "x", name="other").ref == "other:v0"


def test_a_content_that_was_lost_or_cut_off_is_written_again(store, tmp_path):
    artifact = put(store, tmp_path, "abc")
    path = pathlib.Path(artifact.path())
    path.write_bytes(b"a")
    put(store, tmp_path, "abc")
    assert path.read_bytes() == b"abc"
    path.unlink()
    put(store, tmp_path, "abc")
    assert path.read_bytes() == b"abc"


def test_a_purge_between_contents_and_rows_takes_nothing_away(store, tmp_path, monkeypatch):
    real = blobs.settle

    def purge(folder, digests):
        real(folder, digests)
        monkeypatch.setattr(blobs, "settle", real)
        for digest in digests:
            os.unlink(blobs.content_path(folder, digest))

    monkeypatch.setattr(blobs, "settle", purge)
    artifact = put(store, tmp_path, "abc")
    assert pathlib.Path(artifact.path()).read_bytes() == b"abc"


SCRIPT = """
import sys
from rewind.tracker.store.artifacts import keep
from rewind.tracker.store.database import Store
folder, uid, *files = sys.argv[1:]
store = Store(folder, write=True)
print("ready", flush=True)
sys.stdin.readline()
for file in files:
    print(keep(store, int(uid), 0, file, "model").ref)
"""


def test_two_processes_get_versions_of_their_own_and_share_what_is_the_same(store, tmp_path):
    uids = [1, revision(store, "b")]
    files = [
        [text(tmp_path, f"{uid} {i}" if i % 3 else f"shared {i}", f"{uid}/{i}") for i in range(12)] for uid in uids
    ]
    for of in files[1]:
        if int(of.name) % 3 == 0:
            assert of.read_bytes() == files[0][int(of.name)].read_bytes()
    commands = [
        [sys.executable, "-c", SCRIPT, store.folder, str(uid), *map(str, paths)]
        for uid, paths in zip(uids, files, strict=True)
    ]
    running = [subprocess.Popen(c, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for c in commands]
    assert [one.stdout.readline() for one in running] == ["ready\n"] * 2
    for one in running:
        one.stdin.write("go\n")
        one.stdin.flush()
    refs = [one.communicate()[0].split() for one in running]
    assert [one.returncode for one in running] == [0, 0]
    first, second = refs
    assert len(first) == len(second) == 12
    same = [a == b for a, b in zip(first, second, strict=True)]
    assert same == [i % 3 == 0 for i in range(12)]
    assert {*first, *second} == {f"model:v{i}" for i in range(4 + 2 * 8)}
    assert list(problems(store)) == []


def test_threads_get_versions_of_their_own(store, tmp_path):
    files = [text(tmp_path, str(i), f"in/{i}") for i in range(24)]
    refs, begin = [], threading.Barrier(4)

    def work(mine):
        begin.wait()
        for file in mine:
            refs.append(keep(store, 1, 0, file, "model").ref)

    threads = [threading.Thread(target=work, args=(files[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(refs) == sorted(f"model:v{i}" for i in range(24))
    assert [event[1] for event in events(store)] == list(range(24))


# ---- faults


def fail(monkeypatch, name, at, error=errno.ENOSPC):
    """Let call number `at` of a function of os fail."""
    real, calls = getattr(os, name), []

    def call(*args, **more):
        calls.append(args)
        if len(calls) == at:
            raise OSError(error, os.strerror(error))
        return real(*args, **more)

    monkeypatch.setattr(os, name, call)
    return calls


def nothing_half(store):
    assert all(blake(data) == name for name, data in on_disk(store).items())
    assert store.read("SELECT count(*) FROM artifacts") == [(0,)] and events(store) == []


@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_disk_that_fails_leaves_nothing_half(store, tmp_path, monkeypatch, name, at):
    for i in range(3):
        text(tmp_path, str(i), f"in/{i}")
    with monkeypatch.context() as patch:
        fail(patch, name, at)
        with pytest.raises(StoreError, match="No space left"):
            keep(store, 1, 0, tmp_path / "in", "data")
    nothing_half(store)
    assert keep(store, 1, 0, tmp_path / "in", "data").version == 0
    assert list(problems(store)) == []


@posix
def test_a_folder_that_cannot_be_flushed_is_an_error(store, tmp_path, monkeypatch):
    real = os.fsync

    def fsync(fd):
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(StoreError, match="Input/output error"):
            put(store, tmp_path, "x")
    nothing_half(store)


def test_short_writes_are_gone_on_with(store, tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:2]))
    artifact = put(store, tmp_path, "hello")
    assert pathlib.Path(artifact.path()).read_bytes() == b"hello"


def test_rows_that_cannot_be_written_are_none(store, tmp_path):
    store.connection.execute("CREATE TRIGGER no BEFORE INSERT ON artifact_events BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(StoreError, match="keep an artifact in"):
        put(store, tmp_path, "x")
    nothing_half(store)


def test_an_interrupt_leaves_nothing_half(store, tmp_path, monkeypatch):
    def replace(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            put(store, tmp_path, "x")
    assert on_disk(store) == {}
    nothing_half(store)


@pytest.mark.parametrize("change", [b"longer than it was", b"x", b"other"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_file_that_changes_while_it_is_read_is_refused(store, tmp_path, monkeypatch, change, at):
    path = text(tmp_path, "hello")
    real, calls = os.read, []

    def read(fd, n):
        calls.append(fd)
        if len(calls) == at:
            os.utime(path, ns=(1, 1))
            path.write_bytes(change)
        return real(fd, n)

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", read)
        with pytest.raises(TrackedArtifactError, match=r"file\.txt: it changed while it was read"):
            keep(store, 1, 0, path)
    assert on_disk(store) == {}
    nothing_half(store)


def test_a_file_that_cannot_be_read_is_named(store, tmp_path, monkeypatch):
    path = text(tmp_path, "hello")
    fail(monkeypatch, "read", 1, errno.EIO)
    with pytest.raises(TrackedArtifactError, match=r"cannot keep .*file\.txt: Input/output error"):
        keep(store, 1, 0, path)
    nothing_half(store)


def test_what_a_killed_process_left_is_removed_a_day_later(store, tmp_path):
    artifact = put(store, tmp_path, "x")
    home = pathlib.Path(artifact.path()).parent
    old, new = home / ".rewind.tmp-old", home / ".rewind.tmp-new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    blobs.settle(store.folder, [blake(b"x")])
    assert sorted(os.listdir(home)) == sorted([".rewind.tmp-new", blake(b"x")])


# ---- what names mean


def test_names_versions_and_aliases_are_found(store, tmp_path):
    put(store, tmp_path, "0", aliases="best", step=0)
    put(store, tmp_path, "1", aliases="worst", step=1)
    put(store, tmp_path, "2", step=2)
    found = {which: use(store, 1, 9, which) for which in ("model", "model:latest", "model:v1", "model:best")}
    assert {which: artifact.version for which, artifact in found.items()} == {
        "model": 2,
        "model:latest": 2,
        "model:v1": 1,
        "model:best": 0,
    }
    assert [artifact.aliases for artifact in found.values()] == [("latest",), ("latest",), ("worst",), ("best",)]
    assert [(event[2], event[3]) for event in events(store, "used")] == [(9, 3), (9, 2), (9, 1)]
    assert [artifact.version for artifact in logged(store, 1)] == [0, 1, 2]


def test_an_alias_is_the_version_it_was_last_given_to(store, tmp_path):
    put(store, tmp_path, "0", aliases=["best", "first"])
    put(store, tmp_path, "1", aliases="best")
    assert [artifact.aliases for artifact in logged(store, 1)] == [("first",), ("latest", "best")]
    put(store, tmp_path, "0", step=4)
    assert use(store, 1, 5, "model").version == 0 and use(store, 1, 5, "model:best").version == 1
    assert use(store, 1, 5, "model").step == 0


def test_a_revision_sees_what_its_past_logged_up_to_where_it_left_it(store, tmp_path):
    for step in range(4):
        put(store, tmp_path, str(step), step=step, aliases="best" if step in (1, 3) else None)
    rewound = revision(store, "a", 2, 1, 2)
    fork = revision(store, "b", 1, rewound, 1)
    for uid, latest, seen in ((1, 3, [0, 1, 2, 3]), (rewound, 2, [0, 1, 2]), (fork, 1, [0, 1])):
        assert use(store, uid, 3, "model").version == latest
        assert use(store, uid, 3, "model:best").version == (3 if uid == 1 else 1)
        assert [artifact.version for artifact in logged(store, uid)] == seen
        assert {artifact.revision for artifact in logged(store, uid)} == {"a@1"}
    put(store, tmp_path, "again", uid=rewound, step=3, aliases="best")
    assert use(store, rewound, 4, "model").ref == use(store, rewound, 4, "model:best").ref == "model:v4"
    assert use(store, 1, 9, "model").version == 3 and use(store, fork, 9, "model").version == 1
    assert use(store, rewound, 4, "model").revision == "a@2"


def test_a_version_of_another_run_that_is_not_seen_can_be_used_by_its_number(store, tmp_path):
    put(store, tmp_path, "0", step=0)
    put(store, tmp_path, "1", uid=revision(store, "b"), step=1, aliases="best")
    rewound = revision(store, "a", 2, 1, 0)
    artifact = use(store, rewound, 1, "model:v1")
    assert (artifact.version, artifact.aliases, artifact.revision) == (1, (), None)
    with pytest.raises(TrackedArtifactError, match=r"'model' has no alias 'best' here; .*'latest'; it has v0, v1"):
        use(store, rewound, 1, "model:best")
    assert [(event[0], event[3]) for event in events(store, "used")] == [(rewound, 2)]


def test_a_name_that_is_not_seen_is_that_of_the_whole_folder(store, tmp_path):
    put(store, tmp_path, "0", aliases="best", step=3)
    second = revision(store, "b")
    put(store, tmp_path, "1", uid=second)
    put(store, tmp_path, "0", uid=second)
    other = revision(store, "c")
    assert use(store, other, 0, "model").version == 1  # the one that was made last
    artifact = use(store, other, 0, "model:best")
    assert (artifact.version, artifact.step, artifact.revision, artifact.aliases) == (0, 3, "a@1", ("best",))
    assert [(event[0], event[3]) for event in events(store, "used")] == [(other, 2), (other, 1)]
    assert logged(store, other) == []


def test_what_there_is_not_is_said_with_what_there_is(store, tmp_path):
    with pytest.raises(TrackedArtifactError, match=r"there is no artifact 'model' in .*; there are none"):
        use(store, 1, 0, "model")
    for i in range(12):
        put(store, tmp_path, str(i), aliases="best")
    put(store, tmp_path, "x", name="data")
    for name, said in (
        ("modle", "there is no artifact 'modle' in .*; the nearest are 'model'"),
        ("model:bets", r"no alias 'bets' here; the nearest are 'best', 'latest'; it has \.\.\. v4, v5, .*v11"),
        ("model:v12", r"no version v12; it has \.\.\. v4"),
        ("model:v" + "9" * 5000, "no version"),
        ("model:", "cannot read 'model:' as the name of an artifact; expected 'NAME'"),
        ("a:b:c", "cannot read"),
        ("", "cannot read"),
        ("../x", "cannot read"),
    ):
        with pytest.raises(TrackedArtifactError, match=said):
            use(store, 1, 0, name)
    with pytest.raises(ArgumentTypeError, match="name"):
        use(store, 1, 0, 3)
    assert events(store, "used") == []


# ---- reading


def test_path_wants_to_know_which_file(store, tmp_path):
    for name in ("a", "b/c"):
        text(tmp_path, name, f"in/{name}")
    artifact = keep(store, 1, 0, tmp_path / "in", "data")
    assert pathlib.Path(artifact.path("b/c")).read_bytes() == b"b/c"
    assert artifact.path(pathlib.Path("b", "c")) == artifact.path("b/c")
    with pytest.raises(TrackedArtifactError, match="it is 2 files; say which"):
        artifact.path()
    with pytest.raises(TrackedArtifactError, match="data:v0 has no file 'c'; the nearest are 'b/c'"):
        artifact.path("c")
    with pytest.raises(ArgumentTypeError):
        artifact.path(3)


def test_a_download_is_a_copy_and_goes_to_a_folder_of_its_name(store, tmp_path, monkeypatch):
    artifact = put(store, tmp_path, "hello")
    monkeypatch.chdir(tmp_path)
    out = artifact.download()
    assert out == str(tmp_path / "artifacts" / "model-v0")
    copy = pathlib.Path(out, "file.txt")
    assert copy.read_bytes() == b"hello" and not os.path.samefile(copy, artifact.path())
    before = copy.stat()
    assert artifact.download() == out and copy.stat() == before
    copy.write_bytes(b"hullo")
    (copy.parent / "mine").write_bytes(b"stays")
    artifact.download()
    assert copy.read_bytes() == b"hello" and (copy.parent / "mine").read_bytes() == b"stays"
    assert pathlib.Path(artifact.path()).read_bytes() == b"hello"
    assert sorted(os.listdir(out)) == ["file.txt", "mine"]


@pytest.mark.parametrize("damage", ["missing", "shorter", "altered", "a folder"])
def test_a_content_that_was_damaged_is_found_and_named(store, tmp_path, damage):
    text(tmp_path, "fine", "in/a")
    text(tmp_path, "hello", "in/b")
    artifact = keep(store, 1, 0, tmp_path / "in", "data")
    path = pathlib.Path(artifact.path("b"))
    if damage in ("missing", "a folder"):
        path.unlink()
        if damage == "a folder":
            path.mkdir()
    else:
        path.write_bytes(b"hell" if damage == "shorter" else b"hullo")
    if damage != "altered":  # its length is all that is looked at
        with pytest.raises(StoreDamagedError, match="the content of 'b' of data:v0"):
            artifact.path("b")
    with pytest.raises(StoreError, match="the content of 'b' of data:v0"):
        artifact.download(tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["a"]
    ((ref, said),) = problems(store)
    assert ref == "data:v0" and said.startswith(f"the content of 'b', {path.name}: it")


@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
def test_a_download_that_fails_leaves_the_old_file(store, tmp_path, monkeypatch, name):
    artifact = put(store, tmp_path, "hello")
    out = tmp_path / "out"
    text(tmp_path, "old", "out/file.txt")
    fail(monkeypatch, name, 1)
    with pytest.raises(StoreError, match=r"file\.txt: No space"):
        artifact.download(out)
    assert os.listdir(out) == ["file.txt"] and (out / "file.txt").read_bytes() == b"old"


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "a//b", "", ".", "C:/x", "C:\\x", "a/\0"])
def test_a_manifest_that_leads_out_of_the_folder_is_refused(store, tmp_path, path):
    artifact = put(store, tmp_path, "hello")
    ((digest,),) = {(name,) for name in on_disk(store)}
    manifest = blobs.manifest_text([("fine", digest, 5, False), (path, digest, 5, False)])
    facts = (manifest, blobs.manifest_digest(manifest))
    store.connection.execute("UPDATE artifacts SET manifest = ?, digest = ?", facts)
    (artifact,) = logged(store, 1)
    with pytest.raises(StoreDamagedError, match="leads out of the folder"):
        artifact.download(tmp_path / "out" / "inner")
    assert not (tmp_path / "out").exists()
    assert list(problems(store)) == [("model:v0", f"its file {path!r} leads out of the folder it belongs in")]


@posix
def test_a_download_goes_through_no_symlink(store, tmp_path):
    text(tmp_path, "hello", "in/sub/file")
    artifact = keep(store, 1, 0, tmp_path / "in", "data")
    for link in ("sub", "sub/file"):
        out = tmp_path / link.replace("/", "-")
        (out / link).parent.mkdir(parents=True)
        outside = text(tmp_path, "mine", f"{out.name}-outside/file")
        (out / link).symlink_to(outside.parent if link == "sub" else outside)
        with pytest.raises(StoreError, match="it is a symlink"):
            artifact.download(out)
        assert outside.read_bytes() == b"mine" and os.listdir(outside.parent) == ["file"]
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real")  # the root is the caller's word
    artifact.download(tmp_path / "root")
    assert (tmp_path / "real" / "sub" / "file").read_bytes() == b"hello"


def test_a_root_that_is_a_file_is_an_error(store, tmp_path):
    artifact = put(store, tmp_path, "hello")
    with pytest.raises(StoreError, match="cannot make"):
        artifact.download(text(tmp_path, "x", "root"))
    with pytest.raises(ArgumentTypeError):
        artifact.download(3)


@pytest.mark.parametrize(
    "manifest",
    ["", "{", "3", "[1]", '["abcd"]', '[["a"]]', '[["a","00",1,false]]', '[["a",3,1,false]]', "[" * 100_000],
)
def test_a_manifest_that_is_none_is_said(store, tmp_path, manifest):
    put(store, tmp_path, "hello")
    store.connection.execute("UPDATE artifacts SET manifest = ?", (manifest,))
    with pytest.raises(StoreDamagedError, match="manifest of model:v0"):
        logged(store, 1)
    assert list(problems(store)) == [("model:v0", "its manifest cannot be read")]


def test_all_other_damage_is_a_line_for_fsck(store, tmp_path):
    put(store, tmp_path, "hello")
    put(store, tmp_path, "other", name="other")
    assert list(problems(store)) == []
    digest = blake(b"hello")
    manifest = blobs.manifest_text([("renamed", digest, 5, False)])
    store.connection.execute("UPDATE artifacts SET manifest = ?, metadata = '[' WHERE uid = 1", (manifest,))
    store.connection.execute("DELETE FROM artifacts WHERE uid = 2")
    assert list(problems(store)) == [
        ("2", f"it was logged or used, and is not in {store.path}"),
        ("model:v0", "its metadata is no dict"),
        ("model:v0", "its manifest has another digest than the artifact"),
    ]
    with pytest.raises(StoreDamagedError, match="should be a dict"):
        logged(store, 1)


def test_a_content_of_several_files_is_read_once_by_fsck(store, tmp_path, monkeypatch):
    for i in range(5):
        text(tmp_path, "same", f"in/{i}")
    keep(store, 1, 0, tmp_path / "in", "data")
    calls, real = [], blobs.problem_of
    monkeypatch.setattr(blobs, "problem_of", lambda *args: calls.append(args) or real(*args))
    assert list(problems(store)) == [] and len(calls) == 1


# ---- contents, for those who move them


@pytest.mark.parametrize("make", [bytes, io.BytesIO], ids=["bytes", "stream"])
def test_a_content_is_added_if_it_is_what_its_digest_says(store, make):
    data = bytes(range(256)) * 8192  # more than a piece
    assert blobs.add_content(store.folder, make(data), blake(data)) is True
    assert blobs.add_content(store.folder, make(b"not read"), blake(data)) is False
    assert on_disk(store) == {blake(data): data}
    with pytest.raises(StoreDamagedError, match="another digest"):
        blobs.add_content(store.folder, make(b"wrong"), blake(b"right"))
    assert on_disk(store) == {blake(data): data}
    pathlib.Path(blobs.content_path(store.folder, blake(data))).write_bytes(b"damaged")
    assert blobs.add_content(store.folder, make(data), blake(data)) is True
    assert on_disk(store) == {blake(data): data}


@pytest.mark.parametrize("digest", ["", "ab", "../" + "a" * 61, "A" * 64, "a" * 64 + "\n"])
def test_a_digest_that_is_none_is_no_path(store, digest):
    with pytest.raises(StoreDamagedError, match="no digest"):
        blobs.content_path(store.folder, digest)


def test_the_digest_of_a_manifest_does_not_depend_on_the_order_it_is_given_in():
    files = [("b", "0" * 64, 1, True), ("a", "1" * 64, 2, False)]
    assert blobs.manifest_digest(files) == blobs.manifest_digest(files[::-1])
    assert blobs.manifest_digest(blobs.manifest_text(files)) == blobs.manifest_digest(files)
    assert blobs.manifest_digest([]) == blake(b"[]")
    # By hand: what another program would compute.
    written = f'[["a","{"1" * 64}",2,false],["b","{"0" * 64}",1,true]]'
    assert blobs.manifest_digest(files) == blake(written.encode())
