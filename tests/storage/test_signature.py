"""Signed files: what anyone without the key made or changed is refused, and nothing else changes."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import h5py
import numpy as np
import pytest
from helpers.replays import KINDS, KINDS_2, MORE, walk
from hypothesis import given, settings
from hypothesis import strategies as st

import rewind
from rewind.cli.main import main
from rewind.storage import replay_file
from rewind.storage.hdf5 import reader, writer

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[2]
KEY = b"a key of our group"
MISSING = "no signature"
WRONG = "does not fit the key"

runs: dict[str, Any] = {}
ALL = KINDS | KINDS_2 | MORE
kinds = pytest.mark.parametrize("kind", ALL)


def run_of(kind: str) -> Any:
    if kind not in runs:
        runs[kind] = ALL[kind][0]()
    return runs[kind]


def signed_parts(kind: str, key: bytes = KEY) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    container = reader.read(replay_file.to_bytes(run_of(kind)._recording, key=key))
    return container.arrays, json.loads(container.meta)


def written(path: pathlib.Path, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> pathlib.Path:
    """Write a file as someone without the key can: every hash but the signature fits, and the seal does."""
    meta = copy.deepcopy(meta)
    if "pickle/blob" in arrays:
        meta["pickle_hash"] = hashlib.blake2b(arrays["pickle/blob"].tobytes(), digest_size=32).hexdigest()
    meta["content_hash"] = replay_file._content_hash(arrays, meta)
    path.write_bytes(writer.build(arrays, replay_file._canonical(meta)))
    return path


def refusal(path: pathlib.Path, key: bytes | str = KEY, **options: Any) -> str:
    with pytest.raises(rewind.ArtifactIntegrityError) as caught:
        rewind.load(path, key=key, allow_pickle=True, **options)
    return str(caught.value)


# ---- there and back


@kinds
def test_a_signed_file_is_the_same_run_with_and_without_its_key(kind, tmp_path):
    run, path = run_of(kind), tmp_path / "run.replay"
    run.save(path, key=KEY)
    for key in (KEY, None):
        loaded = rewind.load(path, ALL[kind][1], allow_pickle=True, key=key)
        assert loaded.content_hash() == run.content_hash() and loaded.metadata() == run.metadata()
    assert WRONG in refusal(path, b"another key")


@kinds
def test_a_file_without_a_signature_has_the_bytes_it_had_and_no_key_opens_it(kind, tmp_path):
    path, signed = tmp_path / "run.replay", tmp_path / "signed.replay"
    run_of(kind).save(path)
    run_of(kind).save(signed, key=KEY)
    assert b"signature" not in path.read_bytes()
    assert MISSING in refusal(path)
    rewind.load(signed, allow_pickle=True).save(signed)  # a signature is of a file, and made anew by each save
    assert signed.read_bytes() == path.read_bytes()


def test_a_signed_file_is_the_same_bytes_every_time(tmp_path):
    for name in "ab":
        run_of("walk").save(tmp_path / f"{name}.replay", key=KEY)
    run_of("walk").save(tmp_path / "c.replay", key=KEY + b"2")
    a, b, c = ((tmp_path / f"{name}.replay").read_bytes() for name in "abc")
    assert a == b != c and len(a) == len(c)


def test_text_is_a_key_in_utf_8(tmp_path):
    run_of("walk").save(tmp_path / "run.replay", key="Schlüssel")
    rewind.load(tmp_path / "run.replay", key="Schlüssel".encode())
    assert WRONG in refusal(tmp_path / "run.replay", "Schlussel")


@settings(max_examples=25)
@given(st.binary(min_size=1, max_size=64), st.binary(min_size=1, max_size=64))
def test_only_the_key_it_was_signed_with_opens_a_file(key, other):
    container = reader.read(replay_file.to_bytes(run_of("grow")._recording, key=key))
    assert "signature" in replay_file._checked(container, "run.replay", key)
    if other != key:
        with pytest.raises(rewind.ArtifactIntegrityError, match=WRONG):
            replay_file._checked(container, "run.replay", other)


def test_files_for_the_oldest_readers_and_rewritten_ones_are_checked_too(tmp_path):
    path = tmp_path / "run.replay"
    run_of("walk").save(path, compat="1.8", key=KEY)
    rewind.load(path, key=KEY)
    assert WRONG in refusal(path, b"another")
    with h5py.File(path) as old, h5py.File(tmp_path / "new.replay", "w") as new:
        for name in old:
            old.copy(name, new)
        for name, value in old.attrs.items():
            new.attrs.create(name, value, dtype=old.attrs.get_id(name).dtype)
    rewind.load(tmp_path / "new.replay", key=KEY, reader="h5py")
    assert WRONG in refusal(tmp_path / "new.replay", b"another", reader="h5py")


# ---- what someone without the key can do


def test_every_change_of_what_a_signed_file_says_is_refused(tmp_path):
    arrays, meta = signed_parts("hoard")
    path = written(tmp_path / "run.replay", arrays, meta)
    rewind.load(path, allow_pickle=True, key=KEY)
    changes: list[dict[str, Any]] = [
        {"step": {**meta["step"], "id": "other:step"}},
        {"step": {}},
        {"versions": {}},
        {"stopped": "by hand"},
        {"seed": "8"},
        {"params": {"rate": 2}},
        {"tail_digest": "00" * 16},
    ]
    for change in changes:
        path = written(tmp_path / "run.replay", arrays, meta | change)
        rewind.load(path, allow_pickle=True)  # without its key, what anyone says is believed
        assert WRONG in refusal(path)


@kinds
def test_every_change_of_an_array_of_a_signed_file_is_refused(kind, tmp_path):
    arrays, meta = signed_parts(kind)
    for name, array in arrays.items():
        if array.size:
            changed = array.copy()
            changed.reshape(-1).view(np.uint8)[-1] ^= 1
            path = written(tmp_path / "run.replay", arrays | {name: changed}, meta)
            assert WRONG in refusal(path), name


def test_no_pickle_of_a_changed_file_is_unpickled(tmp_path):
    arrays, meta = signed_parts("hoard")
    marker = tmp_path / "it-ran"
    bomb = b"cos\nsystem\n(S'touch %s'\ntR." % str(marker).encode()
    n = len(arrays["pickle/steps"])
    arrays["pickle/blob"] = np.frombuffer(bomb * n, "u1")
    arrays["pickle/offsets"] = np.arange(n + 1) * len(bomb)
    assert WRONG in refusal(written(tmp_path / "run.replay", arrays, meta))
    assert not marker.exists()


def test_a_signature_cannot_be_moved_to_another_file_or_taken_out(tmp_path):
    arrays, meta = signed_parts("walk")
    others, other = signed_parts("fresh_branch")
    path = written(tmp_path / "run.replay", arrays, meta | {"signature": other["signature"]})
    assert WRONG in refusal(path)
    del meta["signature"]
    assert MISSING in refusal(written(path, arrays, meta))


@pytest.mark.parametrize("value", [None, 5, True, [], {}, "", "é" * 64, "0" * 63, "A" * 64, "0" * 65, "0" * 64 + "\n"])
def test_a_signature_that_is_none_is_refused_with_and_without_a_key(value, tmp_path):
    arrays, meta = signed_parts("walk")
    path = written(tmp_path / "run.replay", arrays, meta | {"signature": value})
    assert (MISSING if value is None else WRONG) in refusal(path)
    with pytest.raises(rewind.ArtifactFormatError, match="signature|a text"):
        rewind.load(path)


def test_a_refusal_says_what_may_have_happened_and_not_that_the_file_is_damaged(tmp_path):
    path = tmp_path / "run.replay"
    run_of("walk").save(path)
    assert (
        refusal(path)
        == f"{path}: it has no signature, and a key to check one with was given: it was saved without key="
    )
    run_of("walk").save(path, key="x")
    assert "damaged" not in refusal(path) and str(path) in refusal(path)


# ---- the key


@pytest.mark.parametrize("key", [5, 1.5, [b"key"], True, pathlib.Path("key")])
def test_a_key_of_another_type_is_refused_at_the_door(key, tmp_path):
    path = tmp_path / "run.replay"
    with pytest.raises(rewind.ArgumentTypeError, match="^key is .* expected bytes or text$"):
        run_of("walk").save(path, key=key)
    assert not path.exists()
    with pytest.raises(rewind.ArgumentTypeError, match="^key is "):
        rewind.load(path, key=key)


@pytest.mark.parametrize("key", ["", b"", b"secret" * 11, "ü" * 33])
def test_a_key_of_another_length_is_refused_and_not_shown(key, tmp_path):
    path = tmp_path / "run.replay"
    for call in (lambda: run_of("walk").save(path, key=key), lambda: rewind.load(path, key=key)):
        with pytest.raises(rewind.ArgumentError, match="in bytes, is (0|66); expected 1 to 64") as caught:
            call()
        assert "secret" not in str(caught.value)
    assert not path.exists()


# ---- the page that says it, and the command line


def test_the_check_in_the_docs_is_the_check_that_is_made(tmp_path):
    text = (ROOT / "docs" / "format.md").read_text()
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "def is_signed" in block]
    names: dict[str, Any] = {"json": json}
    exec(code, names)
    for kind in ALL:
        arrays, meta = signed_parts(kind)
        assert names["is_signed"](meta, arrays, KEY)
        assert not names["is_signed"](meta, arrays, b"another")
        del meta["signature"]
        assert not names["is_signed"](meta, arrays, KEY)


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = rewind.record(walk, 0, 300, seed=3)
    run.save("signed.replay", key=b"secret key")
    run.save("plain.replay")
    pathlib.Path("key").write_bytes(b"secret key\n")
    pathlib.Path("other").write_bytes(b"secret key\n\n")

    def call(*argv: str) -> tuple[int, str, str]:
        code = main(argv)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_info_says_whether_a_file_is_signed_and_whether_that_was_checked(command):
    assert re.search(r"^signed +yes, with this key$", command("info", "signed.replay", "--key-file", "key")[1], re.M)
    assert re.search(r"^signed +yes; --key-file", command("info", "signed.replay")[1], re.M)
    assert "signed" not in command("info", "plain.replay")[1].replace("signed.replay", "")
    for name in ("signed", "plain"):
        facts = json.loads(command("info", f"{name}.replay", "--json")[1])
        assert facts["signed"] is (name == "signed")


@pytest.mark.parametrize("verb", ["info", "get", "verify", "stats", "find", "branch", "diff"])
def test_every_verb_that_reads_a_file_checks_its_signature(verb, command):
    more = {
        "get": ["0"],
        "verify": ["--step", "replays:walk"],
        "stats": ["--step", "replays:walk"],
        "find": ["replays:walk", "--step", "replays:walk"],
        "branch": ["5", "-o", "out.replay", "--step", "replays:walk"],
        "diff": ["signed.replay"],
    }.get(verb, [])
    for path, key, said in (("plain", "key", MISSING), ("signed", "other", WRONG)):
        code, out, err = command(verb, f"{path}.replay", *more, "--key-file", key)
        assert code == 2 and said in err and not out
    if verb in ("info", "get", "diff"):
        code, _, err = command(verb, "signed.replay", *more, "--key-file", "key")
        assert (code, err) == (0, "")
    assert not os.path.exists("out.replay")


def test_diff_checks_both_files(command):
    code, _, err = command("diff", "signed.replay", "plain.replay", "--key-file", "key")
    assert code == 2 and MISSING in err and "plain.replay" in err
    assert command("diff", "signed.replay", "plain.replay")[0] == 0


def test_fsck_says_that_a_signature_does_not_fit(command):
    code, out, _ = command("fsck", "signed.replay", "--key-file", "key")
    assert code == 0 and "content hash and signature" in out
    assert "signature" not in command("fsck", "signed.replay")[1]
    code, out, _ = command("fsck", "signed.replay", "--key-file", "other")
    assert code == 1 and WRONG in out


@pytest.mark.parametrize(
    ("key", "said"), [(None, "No such file"), (b"", "is 0"), (b"\n", "is 0"), (b"x" * 65, "is 65")]
)
def test_a_key_file_without_a_key_is_a_usage_error(key, said, command):
    if key is not None:
        pathlib.Path("bad").write_bytes(key)
    code, _, err = command("info", "signed.replay", "--key-file", "bad")
    assert code == 2 and "--key-file" in err and said in err


@pytest.mark.skipif(sys.platform == "win32", reason="needs /dev/stdin")
def test_a_key_may_come_from_a_pipe(command):
    argv = [sys.executable, "-m", "rewind", "diff", "signed.replay", "signed.replay", "--key-file", "/dev/stdin"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, input=b"secret key\n", capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_page_on_security_shows_what_works(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "security.md").read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0
    assert MISSING not in refusal(tmp_path / "signed.replay")
