"""Files made to do harm: each is refused, by the name of what is wrong with it, and does nothing."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import nasty

import rewind

fcntl = pytest.importorskip("fcntl")
pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="the limits of a process, and /proc, are those of Linux"),
]

CORPUS = nasty.CORPUS
FINE = [name for name, entry in CORPUS.items() if entry.error is None]
each = pytest.mark.parametrize("name", CORPUS)

#: Where the operating system says how much memory there is.
SYSTEM = ("/proc/meminfo", "/proc/self/cgroup", "/proc/self/statm", "/sys/fs/cgroup/")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files: those of the first worker that asks, where tests run on several."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        path = tmp_path_factory.mktemp("nasty")
        nasty.make(path)
        return path
    shared = tmp_path_factory.getbasetemp().parent / "nasty"
    with open(f"{shared}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.exists():
            nasty.make(shared)
    return shared


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, dict[str, Any]]:
    """What came of every file."""
    with open(f"{folder}.found.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answers = Path(f"{folder}.found")
        if not answers.exists():
            answers.write_text(check(folder))
        return {line["name"]: line for line in map(json.loads, answers.read_text().splitlines())}


def check(folder: Path) -> str:
    """Return what came of every file, in a process of its own."""
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(tests / "helpers" / "nasty.py"), "check", str(folder)],
        env={**os.environ, "PYTHONPATH": str(tests.parent), "OPENBLAS_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_many_and_each_says_what_it_tries():
    assert len(CORPUS) > 150 and len(FINE) >= 7
    assert all(name.startswith("ok_") == (entry.error is None) for name, entry in CORPUS.items())
    assert all(entry.make.__doc__ for name, entry in CORPUS.items() if not name.startswith(("type_", "count_")))
    assert all(entry.said for entry in CORPUS.values() if entry.error not in (None, "ArtifactIOError"))


def test_each_is_the_same_file_every_time(folder: Path):
    for name, entry in CORPUS.items():
        if not entry.in_folder and name not in nasty.SLOW:
            written = (folder / f"{name}.replay").read_bytes()
            again = entry.make()
            assert again is not None and hashlib.sha256(again).digest() == hashlib.sha256(written).digest(), name


@each
def test_a_nasty_file_is_refused_by_name_within_its_limits(name, found):
    entry, what = CORPUS[name], found[name]
    assert "ended" not in what, f"{what['ended']}: it took more than {nasty.CPU_SECONDS} s, or the process died"
    assert what["escaped"] is None
    assert what["error"] == entry.error and entry.said in what["text"], what["text"]
    assert what["asked"] == (entry.asked if entry.error else "get")
    if entry.error is not None:
        error = getattr(rewind, entry.error)
        assert issubclass(error, rewind.RewindError)
        assert name in what["text"] or error is rewind.StateClassError or entry.asked == "get"


@each
def test_a_nasty_file_touches_no_other_file_and_runs_nothing(name, found, folder):
    own = str(folder / f"{name}.replay")
    events = [event for event in found[name]["events"] if event != ["open", own]]
    assert [event for event in events if event[0] != "open" or not event[1].startswith(SYSTEM)] == []
    assert not found[name]["h5py"]  # libhdf5 has not seen it: it is not even there
    assert not list(folder.rglob("CANARY"))


@each
def test_info_and_fsck_say_the_same_in_one_line(name, found):
    entry, what = CORPUS[name], found[name]
    harmless = entry.error is None or entry.asked == "get" or entry.key or entry.error == "UnsafeArtifactError"
    damaged = entry.error in ("ArtifactFormatError", "ArtifactIntegrityError")
    assert what["info"]["code"] == (0 if harmless else 2), what["info"]
    assert what["fsck"]["code"] == (0 if harmless else 1 if damaged else 2), what["fsck"]
    for verb in ("info", "fsck"):
        said = what[verb]["out"] + what[verb]["err"]
        assert "Traceback" not in said and said.replace("\n", "").isprintable()
        if not harmless:
            assert said.count("\n") == 1 and entry.said in said
    if not harmless and not damaged:
        assert what["fsck"]["err"].startswith("rewind: error: ")


def test_what_is_fine_is_read(found, folder):
    for name in FINE:
        run = rewind.load(folder / f"{name}.replay", allow_pickle=True)
        assert run.get(0) in (0, {frozenset()}), name


def test_the_canary_sings_where_it_is_let_out(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = rewind.load(folder / "pickle_that_runs_a_command.replay", allow_pickle=True)
    assert not os.path.exists("CANARY")
    run.get(0)  # this is what allow_pickle=True allows
    assert os.path.exists("CANARY")
