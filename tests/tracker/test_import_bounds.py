"""An import looks at what a file says before it believes it: how much it would be in memory, and what the disk says."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import zipfile

import pytest

import rewind
from rewind.tracker.transfer import bounds, export, import_

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    base = tmp_path_factory.mktemp("bundle")
    with rewind.init(dir=base / "runs", id="a") as run:
        run.log({"x": 1.5, "s": 'a,"b",[c'})
        run.summary["best"] = 1
        run.log_artifact(__file__, name="code", metadata={"a": 1})
    rewind.Tracker(base / "runs").export("a", base / "a.zip")
    return base / "a.zip"


def forged(bundle, target, name, data):
    """Write the bundle with another member, and a manifest that agrees."""
    with zipfile.ZipFile(bundle) as zipped:
        members = {info.filename: zipped.read(info) for info in zipped.infolist()}
    members[name] = data
    facts = json.loads(members[export.MANIFEST])
    if name != export.MANIFEST:
        facts["members"][name] = [len(data), hashlib.blake2b(data, digest_size=32).hexdigest()]
        facts["digest"] = export.digest_of_manifest(facts)
        members[export.MANIFEST] = json.dumps(facts, separators=(",", ":")).encode() + b"\n"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as zipped:
        for one, content in members.items():
            zipped.writestr(one, content)
    return target


def bomb(n):
    """Return text that a small file holds, of lists in lists, some random, so that it is not packed too well."""
    return b"[" + b",".join(b"[%d]" % (i * i % 1009) if i % 9 == 0 else b"[]" for i in range(n)) + b"]"


CROWDED = {
    "manifest.json": bomb,
    "runs.jsonl": bomb,
    "revisions.jsonl": bomb,
    "rows/0.jsonl": lambda n: b'[0,{"x":' + bomb(n) + b"}]",
    "assigned.jsonl": lambda n: b'[0,0,0,"x",' + json.dumps(bomb(n).decode()).encode() + b"]",
    "artifacts.jsonl": lambda n: (
        b'["code",0,"","' + b"0" * 64 + b'",' + json.dumps(bomb(n).decode()).encode() + b',"{}",1.0]'
    ),
    "artifact_events.jsonl": bomb,
    "simulations.jsonl": bomb,
}


@pytest.mark.parametrize("name", CROWDED)
def test_a_line_that_would_be_far_more_in_memory_than_in_the_file_is_refused_unparsed(
    bundle, tmp_path, monkeypatch, name
):
    monkeypatch.setattr(bounds, "VALUES", 1000)
    path = forged(bundle, tmp_path / "b.zip", name, CROWDED[name](30_000) + b"\n")
    with pytest.raises(rewind.ArtifactFormatError, match="bytes of its member .* would be more than .* values"):
        rewind.Tracker(bundle.parent / "runs").import_file(path)


def test_text_with_many_commas_is_one_value(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "VALUES", 100)
    for text in ("a,b" * 1000, '\\"[,' * 500, "\\", '"'):
        assert bounds.n_values(json.dumps([text, {"k": text}])) == 5
    assert bounds.n_values('["' + '\\"' * 100_000) < 10  # a text without an end is read once
    run = rewind.init(dir=tmp_path / ".rewind", id="b")
    run.log({"csv": "1,2,3\n" * 1000, "list": [1] * 5000, "bits": [i * i % 7 > 3 for i in range(3000)]})
    run.finish()
    rewind.Tracker(run.dir).export("b", tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "b.zip") as zipped:  # what is exported can be imported
        assert zipped.getinfo("rows/0.jsonl").compress_type == zipfile.ZIP_STORED
    assert rewind.Tracker(bundle.parent / "runs").import_file(tmp_path / "b.zip") == ["b"]


def test_more_names_of_metrics_than_a_file_can_mean_are_refused(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "NAMES", 10)
    monkeypatch.setattr(import_, "LONG", 1000)
    rows = b"".join(b'[%d,{"k%d":1}]\n' % (i, i) for i in range(9000))
    path = forged(bundle, tmp_path / "b.zip", "rows/0.jsonl", rows)
    with pytest.raises(rewind.ArtifactFormatError, match="names of metrics"):
        rewind.Tracker(bundle.parent / "runs").import_file(path)


@pytest.mark.skipif(sys.platform != "linux", reason="how much memory a process took is told otherwise")
def test_a_small_file_that_is_one_long_line_takes_little_memory(bundle, tmp_path):
    path = forged(bundle, tmp_path / "b.zip", "revisions.jsonl", b"[" + b"[]," * 6_000_000 + b"[]]\n")
    code = f"""
import rewind
from rewind.tracker.transfer import import_
import_.MOST_RATIO = 10**9
try:
    import_.import_bundle({str(tmp_path / "to")!r}, {str(path)!r})
except rewind.ArtifactFormatError as error:
    with open("/proc/self/status") as file:
        print(next(line for line in file if line.startswith("VmHWM")).split()[1], error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kilobytes, text = done.stdout.split(" ", 1)
    assert "values" in text and int(kilobytes) < 250_000, done.stdout  # 18 MB of text; parsed it is 400


@pytest.mark.parametrize("call", ["makedirs", "replace", "unlink", "mkdir", "fsync", "open", "stat"])
@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.EIO])
def test_what_the_disk_says_is_never_a_bare_os_error(bundle, tmp_path, monkeypatch, call, number):
    real, n = getattr(os, call), 0

    def fails(*args, **options):
        nonlocal n
        n += 1
        if n == turn:
            raise OSError(number, os.strerror(number))
        return real(*args, **options)

    for turn in (1, 2, 4, 7):
        n = 0
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fails)
            try:
                import_.import_bundle(str(tmp_path / f"to{turn}"), bundle)
            except OSError as error:
                assert isinstance(error, rewind.RewindError), repr(error)
            except rewind.RewindError:
                pass
