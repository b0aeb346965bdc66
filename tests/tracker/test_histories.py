"""Import what other programs logged: CSV, event files of TensorBoard, folders of W&B's client."""

from __future__ import annotations

import contextlib
import io
import json
import math
import pathlib
import shutil

import pytest

import rewind
from rewind.cli.main import main
from rewind.errors import (
    ArgumentError,
    ArtifactFormatError,
    ArtifactIntegrityError,
    ArtifactNotFoundError,
    LeftOutWarning,
    RunExistsError,
    TrackerError,
)
from rewind.tracker.transfer.wire import Message, _masked, tfrecords, wandb_records

pytestmark = pytest.mark.once

FOREIGN = pathlib.Path(__file__).parents[1] / "golden" / "foreign"
LOG = FOREIGN / "wandb" / "run-abc12345.wandb"


@pytest.fixture
def tracker(tmp_path):
    """A tracker with a run of its own."""
    rewind.init(id="own", dir=tmp_path / ".rewind").finish()
    return rewind.Tracker(tmp_path / ".rewind")


def table(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


def imported(tracker, path, **options):
    (run_id,) = tracker.import_history(path, **options)
    assert tracker.fsck().ok
    return tracker.run(run_id)


# ---- CSV


def test_a_csv_file_becomes_a_run_with_a_row_for_each_step(tracker, tmp_path):
    path = table(tmp_path, "step,loss,name\n0,1.5,a\n10,nan,\n20,-inf,True\n")
    run = imported(tracker, path)
    rows = run.history()
    assert [row["_step"] for row in rows] == [0, 10, 20]
    assert rows[0] == {"_step": 0, "loss": 1.5, "name": "a"}
    assert math.isnan(rows[1]["loss"]) and "name" not in rows[1]
    assert rows[2] == {"_step": 20, "loss": -math.inf, "name": True}
    assert (run.name, run.status, run.exit_code) == ("table", "finished", 0)


def test_rows_of_one_step_are_one_row_whatever_their_order(tracker, tmp_path):
    path = table(tmp_path, "epoch,step,train,val\n0,9,,0.5\n0,4,1.0,\n0,9,0.75,\n")
    assert imported(tracker, path).history() == [
        {"_step": 4, "epoch": 0, "train": 1.0},
        {"_step": 9, "epoch": 0, "val": 0.5, "train": 0.75},
    ]


def test_a_value_that_another_one_replaces_is_said_to_be_left_out(tracker, tmp_path):
    path = table(tmp_path, "step,loss\n3,1\n3,2\n3,2\n")
    with pytest.warns(LeftOutWarning, match="1 value of 'loss' at steps that have another one later on"):
        assert imported(tracker, path).history() == [{"_step": 3, "loss": 2}]


@pytest.mark.parametrize(
    ("text", "options", "steps"),
    [
        ("loss\n1\n2\n", {}, [0, 1]),
        ("Step;loss\n5.0;1\n7;2\n", {}, [5, 7]),
        ("n\tloss\n5\t1\n7\t2\n", {"step": "n"}, [5, 7]),
        ("\ufefftrainer/global_step,loss\n5,1\n7,2\n", {}, [5, 7]),
        (",iteration,loss\n0,5,1\n1,7,2\n", {}, [5, 7]),
    ],
    ids=["none", "semicolons", "named", "mark", "index"],
)
def test_the_steps_are_in_the_column_that_is_called_so(tracker, tmp_path, text, options, steps):
    rows = imported(tracker, table(tmp_path, text), **options).history()
    assert [row["_step"] for row in rows] == steps and [row["loss"] for row in rows] == [1, 2]


def test_text_that_python_alone_takes_for_a_number_stays_text(tracker, tmp_path):
    path = table(tmp_path, 'a,b,c,d,e\n007,1_000,1e3,-0.5,"x, ""y"""\n')
    (row,) = imported(tracker, path).history()
    assert row == {"_step": 0, "a": "007", "b": "1_000", "c": 1000.0, "d": -0.5, "e": 'x, "y"'}


def test_what_history_wrote_as_csv_comes_back(tracker, tmp_path):
    with rewind.init(id="a", dir=tracker.dir) as run:
        for i in range(20):
            run.log({"x": i / 3, "n": i, "s": f"t,{i}"}, step=3 * i, commit=True)
    path = tmp_path / "out.csv"
    assert main(["history", "a", "--dir", tracker.dir, "-o", str(path)]) == 0
    assert imported(tracker, path).history() == tracker.run("a").history()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        ("step,loss,loss\n", "two columns 'loss'"),
        ("step,loss\n0,1\n1,2,3\n", "line 3 has 3 cells, and there are 2 columns"),
        ("step,loss\n0,1\n,2\n", "line 3 has no step in its column 'step'"),
        ("step,loss\n-1,2\n", "line 2 has no step"),
        ('step,loss\n0,"1\n', "line 2 is no CSV"),
    ],
)
def test_what_is_wrong_with_a_csv_file_is_said_with_its_line(tracker, tmp_path, text, problem):
    with pytest.raises(ArtifactFormatError, match=problem):
        tracker.import_history(table(tmp_path, text))
    assert [run.id for run in tracker] == ["own"] and tracker.fsck().ok


def test_a_column_that_is_not_there_is_named_with_those_that_are(tracker, tmp_path):
    with pytest.raises(ArgumentError, match=r"step is 'n'; expected a column: a, b"):
        tracker.import_history(table(tmp_path, "a,b\n1,2\n"), step="n")


# ---- event files


def test_event_files_of_a_folder_are_a_run_and_those_below_another(tracker):
    first, second = (tracker.run(run) for run in tracker.import_history(FOREIGN / "events", project="boards"))
    assert tracker.fsck().ok
    assert {run.project for run in (first, second)} == {"boards"}
    rows = first.history()
    assert first.name == "events" and [row["_step"] for row in rows] == [0, 1, 2, 3]
    assert [row["loss"] for row in rows[:2]] == [1.0, 0.5] and rows[2]["acc"] == 0.125
    assert rows[2]["said/text_summary"] == "hello"
    assert rows[2]["h"] == {"_type": "histogram", "values": [1.0, 3.0], "bins": [1.0, 2.0, 3.0]}
    assert first.history(times=True)[2]["_timestamp"] == 120.0 and first.began == 100.0 < first.ended
    (image,) = first.media
    assert pathlib.Path(image.location).read_bytes().startswith(b"\x89PNG") and rows[2]["img"]["path"] == image.path
    assert second.name == "hp" and second.config == {"lr": 0.5, "n": 3, "opt": "adam", "flag": True}
    assert second.summary["final"] == 1.0


def test_what_was_logged_again_after_a_restart_replaces_what_was_there(tracker):
    run = tracker.run(tracker.import_history(FOREIGN / "events")[0])
    assert run.history(["loss"])[-1] == {"_step": 3, "loss": 7.0} and run.last_step == 3


def test_values_that_are_tensors_are_read_by_what_their_plugin_says(tracker):
    run = imported(tracker, FOREIGN / "tensors" / "events.out.tfevents.100.host", id="t", name="tensors")
    (row,) = run.history()
    assert (run.id, run.name, row["scalars"], row["text"]) == ("t", "tensors", 0.5, "hello")
    assert row["histograms"] == {"_type": "histogram", "values": [2.0, 1.0], "bins": [0.0, 1.0, 2.0]}
    assert row["images"]["_type"] == "image-file" and run.media[0].path.endswith(".png")


# ---- W&B


def test_a_folder_of_the_client_is_imported_with_all_that_is_known_of_the_run(tracker, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the golden log says that the file of the artifact is
    (tmp_path / "f.txt").write_text("hi")
    run = imported(tracker, FOREIGN / "wandb")
    assert (run.id, run.name, run.project, run.entity) == ("abc12345", "first", "walks", "me")
    assert (run.notes, run.tags, run.status, run.exit_code) == ("a note", ("a", "b"), "failed", 3)
    assert run.config == {"lr": 0.1, "layers": [1, 2], "deep": {"a": {"b": 1}}, "more": "later"}
    assert (run.group, run.job_type) == ("g", "train")
    rows = run.history()
    assert [row["_step"] for row in rows] == [0, 1, 2, 3, 4, 5, 10]
    assert [row["loss"] for row in rows[:5]] == [1 / (i + 1) for i in range(5)]
    assert rows[0]["odd"] == math.inf and math.isnan(rows[2]["odd"]) and rows[3]["nested.x"] == 3
    assert "_timestamp" not in rows[0] and run.began < run.history(["_timestamp"])[0]["_timestamp"] < run.ended
    assert rows[5]["h"] == {"_type": "histogram", "values": [1, 2], "bins": [0, 1, 2]}
    assert rows[6]["t"]["_type"] == "table-file" and rows[6]["t"]["ncols"] == 2
    (file,) = run.media
    assert json.loads(pathlib.Path(file.location).read_text())["data"] == [[1, "x"], [2, "y"]]
    assert run.summary["loss"] == {"min": 0.2, "mean": pytest.approx(137 / 300)} and run.summary["best"] == 0.5
    assert run.logs() == [(5, "stdout", "a line")] and 1e9 < run.began < run.ended
    (artifact,) = run.artifacts
    assert (artifact.ref, artifact.metadata, artifact.aliases) == ("model:v0", {"k": 1}, ("latest", "best"))
    assert pathlib.Path(artifact.path()).read_text() == "hi"


def test_an_imported_run_goes_on_and_rewinds_as_any_other(tracker):
    with pytest.warns(LeftOutWarning, match="run 'abc12345' was imported without the artifact 'model'"):
        tracker.import_history(LOG)
    with rewind.init(dir=tracker.dir, resume_from="abc12345?_step=3") as run:
        assert run.step == 4 and not run.media
        run.log({"loss": 9.0})
    assert [row["loss"] for row in run.history()] == [1.0, 0.5, 1 / 3, 0.25, 9.0]
    assert run.summary["loss"]["min"] == 0.25 and tracker.fsck().ok


@pytest.mark.filterwarnings("ignore::rewind.LeftOutWarning")
def test_the_same_is_imported_once_and_another_run_of_that_id_is_refused(tracker, tmp_path):
    assert tracker.import_history(LOG) == ["abc12345"] and tracker.import_history(FOREIGN / "wandb") == []
    assert tracker.import_history(LOG, id="other", name="n", project="p") == ["other"]
    assert (tracker.run("other").name, tracker.run("other").project) == ("n", "p")
    path = table(tmp_path, "loss\n1\n")
    new = tracker.import_history(path)
    assert new and tracker.import_history(path) == []
    with pytest.raises(RunExistsError, match="other"):
        tracker.import_history(path, id="other")


@pytest.mark.filterwarnings("ignore::rewind.LeftOutWarning")
def test_a_log_that_was_cut_off_gives_its_whole_rows_as_a_run_that_crashed(tracker, tmp_path):
    cut = table(tmp_path, "", "run-abc12345.wandb")
    cut.write_bytes(LOG.read_bytes()[:2500])
    run = imported(tracker, cut)
    assert (run.status, run.exit_code) == ("crashed", None) and 0 < len(run.history()) < 7


def test_a_damaged_log_is_refused_with_its_place_and_nothing_is_imported(tracker, tmp_path):
    data = bytearray(LOG.read_bytes())
    data[1000] ^= 1
    bad = tmp_path / "run-abc12345.wandb"
    bad.write_bytes(data)
    with pytest.raises(ArtifactIntegrityError, match="the record at byte .* differs from its checksum"):
        tracker.import_history(bad)
    event = bytearray((FOREIGN / "events" / "events.out.tfevents.100.host.1").read_bytes())
    event[200] ^= 1
    (tmp_path / "tfevents").write_bytes(event)
    with pytest.raises(ArtifactIntegrityError, match="differs from its checksum"):
        tracker.import_history(tmp_path / "tfevents")
    assert [run.id for run in tracker] == ["own"] and tracker.fsck().ok


def test_no_damaged_log_ends_in_anything_but_an_error_of_rewind(tracker, tmp_path):
    """Every byte in turn is another one, with checksums that fit: what the records say is wrong then."""
    from struct import pack
    from zlib import crc32

    with LOG.open("rb") as file:
        records = list(wandb_records(file, "it"))
    path = tmp_path / "run-x.wandb"
    for n in range(0, len(records[1]) + len(records[4]), 7):
        changed = [bytearray(record) for record in records[:6]]
        which, at = (1, n) if n < len(records[1]) else (4, n - len(records[1]))
        changed[which][at] ^= 0x55
        framed = (pack("<IHB", crc32(b"\1" + one), len(one), 1) + one for one in map(bytes, changed))
        path.write_bytes(b":W&B\xe1\xbe\x00" + b"".join(framed))
        with contextlib.suppress(rewind.RewindError):
            tracker.import_history(path, id=f"r{n}")
    assert tracker.fsck().ok


# ---- what there is at a path


def test_what_is_no_history_is_refused_with_what_can_be_imported(tracker, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactFormatError, match=r"no run is in it. What can be imported: a \.csv file"):
        tracker.import_history(tmp_path / "empty")
    with pytest.raises(ArtifactNotFoundError):
        tracker.import_history(tmp_path / "nope.csv")
    (tmp_path / "x.wandb").write_bytes(b"something else")
    with pytest.raises(ArtifactFormatError, match="it does not begin with :W&B"):
        tracker.import_history(tmp_path / "x.wandb")
    (tmp_path / "tfevents.x").write_bytes(b"something else")
    with pytest.raises(ArtifactFormatError, match="it is no event file of TensorBoard"):
        tracker.import_history(tmp_path / "tfevents.x")


def test_an_id_for_several_runs_is_refused(tracker):
    with pytest.raises(ArgumentError, match="has 2 runs. Import one of them by itself"):
        tracker.import_history(FOREIGN / "events", id="one")


@pytest.mark.filterwarnings("ignore::rewind.LeftOutWarning")
def test_a_folder_of_many_runs_gives_each_once(tracker, tmp_path):
    shutil.copytree(FOREIGN / "wandb", tmp_path / "wandb" / "offline-run-1-abc12345")
    (tmp_path / "wandb" / "latest-run").symlink_to("offline-run-1-abc12345")
    shutil.copytree(FOREIGN / "events", tmp_path / "wandb" / "offline-run-1-abc12345" / "files" / "tb")
    assert tracker.import_history(tmp_path / "wandb") == ["abc12345"]


def test_the_command_imports_all_of_them(tmp_path, capsys):
    folder, path = str(tmp_path / "new" / ".rewind"), str(table(tmp_path, "n,loss\n4,1\n"))
    assert main(["import", path, "--dir", folder, "--id", "c", "--name", "n", "--project", "p", "--step", "n"]) == 0
    assert capsys.readouterr().out == f"imported c to {folder}\n"
    assert main(["import", str(FOREIGN / "events"), "--dir", folder, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 2
    assert main(["import", str(LOG), "--dir", folder]) == 0
    assert "warning: run 'abc12345' was imported without the artifact" in capsys.readouterr().err
    assert main(["import", path, "--dir", folder, "--id", "c", "--name", "n", "--project", "p", "--step", "n"]) == 0
    assert capsys.readouterr().out == f"all of {path} is in {folder} already\n"
    assert len(rewind.Tracker(folder)) == 4
    assert main(["import", "x.zip", "--dir", folder, "--name", "n"]) == 2
    assert "--name is for runs of other programs" in capsys.readouterr().err


# ---- the two ways to frame


def test_records_over_several_blocks_are_put_together(tmp_path):
    """By the description of the format: blocks of 32 KB, and no head of a record over the end of one."""
    from struct import pack
    from zlib import crc32

    whole = [bytes([n]) * size for n, size in enumerate((10, 40_000, 32_768 - 7 - 7, 3, 100_000))]
    log = bytearray(b":W&B\xe1\xbe\x00")
    for record in whole:
        rest, begun = record, False
        while rest or not begun:
            left = 32_768 - len(log) % 32_768
            if left < 7:
                log += bytes(left)
                left = 32_768
            part, rest = rest[: left - 7], rest[left - 7 :]
            kind = (3 if begun else 2) if rest else (4 if begun else 1)
            log += pack("<IHB", crc32(bytes([kind]) + part), len(part), kind) + part
            begun = True
    assert list(wandb_records(io.BytesIO(log), "it")) == whole
    assert list(wandb_records(io.BytesIO(log[:-1]), "it")) == whole[:-1]
    assert list(wandb_records(io.BytesIO(log + bytes(9)), "it")) == whole


def test_the_checksum_is_that_of_the_standard():
    """RFC 3720, B.4: of 32 zeros 0x8a9136aa; masked as the description of TFRecords says."""
    rotated = (0x8A9136AA >> 15 | 0x8A9136AA << 17) & 0xFFFFFFFF
    assert _masked(bytes(32)) == (rotated + 0xA282EAD8) & 0xFFFFFFFF
    assert list(tfrecords(io.BytesIO(b"short"), "it")) == []


@pytest.mark.parametrize("data", [b"\x08", b"\x0a\x05ab", b"\x0b", b"\x09\1", b"\x80" * 11])
def test_bytes_that_are_no_message_are_refused(data):
    with pytest.raises(ValueError, match="it "):
        Message(data)


def test_errors_of_an_import_are_none_of_a_tracker_that_is_damaged(tracker, tmp_path):
    with pytest.raises(ArtifactFormatError) as caught:
        tracker.import_history(table(tmp_path, ""))
    assert not isinstance(caught.value, TrackerError)
