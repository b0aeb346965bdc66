"""Media: values of a row whose content is files, kept once by content, with the row that logged them."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import pytest

import rewind
from rewind.tracker import media
from rewind.tracker.media import Media

pytestmark = pytest.mark.once


class Note(Media):
    """Text that is kept in a file."""

    def __init__(self, text):
        self.text = text

    def in_row(self, key, keep):
        return {key: {"_type": "note", "n": np.int64(len(self.text)), **keep(key, "notes", self.text.encode(), ".txt")}}

    @classmethod
    def several(cls, key, items, keep):
        return {key: {"_type": "notes", "all": [item.in_row(key, keep)[key]["path"] for item in items]}}


class File(Media):
    def __init__(self, path):
        self.path = path

    def in_row(self, key, keep):
        return {key: keep(key, "files", self.path, ".bin"), f"{key}_name": os.path.basename(self.path)}


@pytest.fixture
def begin(tmp_path):
    runs = []

    def init(**options):
        runs.append(rewind.init(dir=tmp_path / "store", **options))
        return runs[-1]

    yield init
    for run in runs:
        run.finish()


def texts(run):
    return [(one.step, pathlib.Path(one.location).read_text()) for one in run.media]


def contents(run):
    return {path for path in pathlib.Path(run.dir, "contents").glob("*/*") if path.is_file()}


def test_row_says_where_the_file_is_and_the_file_is_kept_once(begin):
    run = begin(id="k")
    for i in range(3):
        run.log({"x": i, "a/b": Note("hello"), "deep": {"note": Note("hello")}})
    row = run.history()[1]
    assert list(row) == ["_step", "x", "a/b", "deep.note"]
    sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    (first, other) = run.media
    assert row["a/b"] == {
        "_type": "note", "n": 5, "path": f"media/notes/a_b_{sha256[:20]}.txt", "sha256": sha256, "size": 5,
        "digest": first.digest,
    }  # fmt: skip
    assert first.path == row["a/b"]["path"] and other.path == row["deep.note"]["path"]
    assert texts(run) == [(0, "hello"), (0, "hello")] and len(contents(run)) == 1
    assert run.summary["a/b"] == row["a/b"] and run.artifacts == []


def test_list_of_media_is_one_value(begin):
    run = begin()
    run.log({"notes": [Note("a"), Note("b"), Note("a")]})
    assert len(run.history()[0]["notes"]["all"]) == 3 and sorted(texts(run)) == [(0, "a"), (0, "b")]
    with pytest.raises(rewind.LogValueError, match="'mixed'"):
        run.log({"mixed": [Note("a"), 1], "x": 2})
    assert run.history()[1] == {"_step": 1, "x": 2}


def test_file_is_kept_by_its_content_and_a_missing_one_is_named(begin, tmp_path):
    run, path = begin(), tmp_path / "large.bin"
    path.write_bytes(b"z" * 3_000_000)
    run.log({"f": File(path)})
    path.unlink()
    row, (kept,) = run.history()[0], run.media
    assert row["f_name"] == "large.bin" and row["f"]["size"] == kept.size == 3_000_000
    assert pathlib.Path(kept.location).read_bytes() == b"z" * 3_000_000
    with pytest.raises(rewind.TrackedArtifactError, match="large.bin"):
        run.log({"f": File(path)}, commit=False)
    assert run.step == 1


@pytest.mark.parametrize("way", ["resume_from", "fork_from"])
def test_media_go_back_with_their_rows(begin, way):
    run = begin(id="k")
    for i in range(6):
        run.log({"note": Note(f"{i}")})
    run.finish()
    new = begin(**{way: "k?_step=2"})
    assert texts(new) == [(0, "0"), (1, "1"), (2, "2")]
    new.log({"note": Note("4")})
    new.finish()
    assert texts(new)[3:] == [(3, "4")] and new.summary["note"]["size"] == 1
    assert texts(rewind.Tracker(run.dir).run("k@1")) == [(i, f"{i}") for i in range(6)]
    assert rewind.Tracker(run.dir).fsck().ok


def test_call_below_the_current_step_keeps_nothing(begin):
    run = begin()
    run.log({"x": 1}, step=5)
    with pytest.warns(rewind.DroppedWarning):
        run.log({"note": Note("late")}, step=2)
    assert run.media == [] and contents(run) == set()


def test_media_can_be_put_into_the_summary(begin):
    run = begin()
    run.log({"x": 1})
    run.summary["note"] = Note("best")
    run.finish()
    assert texts(run) == [(0, "best")] and run.summary["note"]["_type"] == "note"
    assert texts(begin(fork_from=f"{run.id}?_step=0")) == [(0, "best")]


def test_values_of_another_library_become_media_where_somebody_knows_them(begin, monkeypatch):
    class Figure:
        pass

    run = begin()
    with pytest.raises(rewind.LogValueError, match="'fig'"):
        run.log({"fig": Figure()})
    monkeypatch.setattr(media, "CONVERTERS", [lambda value: Note("drawn") if isinstance(value, Figure) else None])
    run.log({"fig": Figure(), "figs": [Figure()]})
    assert run.history()[1]["fig"]["_type"] == "note" and run.history()[1]["figs"]["_type"] == "notes"


def test_purge_deletes_media_that_no_run_sees(begin):
    run = begin(id="k")
    for i in range(4):
        run.log({"note": Note(f"{i}")})
    run.finish()
    child = begin(fork_from="k?_step=1")
    child.finish()
    tracker = rewind.Tracker(run.dir)
    assert tracker.purge("k").files == 2
    assert texts(child) == [(0, "0"), (1, "1")] and len(contents(run)) == 2 and tracker.fsck().ok
    tracker.purge(child.id)
    assert contents(run) == set() and tracker.fsck().ok


def test_media_are_exported_and_imported_beside_others(begin, tmp_path):
    run = begin(id="k")
    run.log({"note": Note("a"), "other": Note("b")})
    run.finish()
    tracker = rewind.Tracker(run.dir)
    tracker.export("k", tmp_path / "k.zip")
    with rewind.init(dir=tmp_path / "there") as there:
        there.log({"note": Note("a")})
        there.log({"note": Note("c")})
    elsewhere = rewind.Tracker(tmp_path / "there")
    assert elsewhere.import_file(tmp_path / "k.zip") == ["k"]
    assert texts(elsewhere.run("k")) == texts(run) and elsewhere.fsck().ok
    assert elsewhere.run("k").history() == run.history()


def test_fsck_finds_a_file_that_was_altered(begin):
    run = begin(id="k")
    run.log({"note": Note("a")})
    run.finish()
    path = pathlib.Path(run.media[0].location)
    path.chmod(0o644)
    path.write_text("b")
    report = rewind.Tracker(run.dir).fsck()
    assert not report.ok and run.media[0].path in str(report.problems)
