"""`sync_tensorboard=True`: what writers of TensorBoard are given in the process is logged."""

from __future__ import annotations

import importlib
import pathlib
import sys

import pytest

import rewind
from rewind.tracker import tensorboard_writers
from rewind.tracker.transfer.event_files import logged_by
from rewind.tracker.transfer.wire import Message, tfrecords

pytestmark = pytest.mark.once

EVENTS = pathlib.Path(__file__).parents[1] / "golden" / "foreign" / "events"
#: A package with the one class that is followed; events are bytes here, which the real ones make of themselves.
PACKAGE = """
class EventFileWriter:
    def __init__(self, logdir):
        self._logdir, self.written = logdir, []

    def add_event(self, event):
        self.written.append(event)
        return len(self.written)
"""


def scalar(tag, value, step):
    """The bytes of an event, as TensorBoard's protocol has them: all of its lengths are below 128."""
    import struct

    inner = b"\x0a" + bytes([len(tag)]) + tag.encode() + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + bytes([len(inner)]) + inner
    return b"\x09" + struct.pack("<d", 100.0) + b"\x10" + bytes([step]) + b"\x2a" + bytes([len(summary)]) + summary


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of a tensorboardX that nobody has imported yet."""
    folder = tmp_path / "packages" / "tensorboardX"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "event_file_writer.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(folder.parent)
    for name in ("tensorboardX", "tensorboardX.event_file_writer"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield folder
    tensorboard_writers.unfollow()
    for name in ("tensorboardX", "tensorboardX.event_file_writer"):
        sys.modules.pop(name, None)


def writer(folder="logs"):
    return importlib.import_module("tensorboardX.event_file_writer").EventFileWriter(folder)


@pytest.mark.parametrize("imported_first", [True, False])
def test_what_a_writer_is_given_is_logged_at_its_step_and_is_written_as_before(package, imported_first):
    early = writer() if imported_first else None
    with rewind.init(sync_tensorboard=True) as run:
        found = early or writer()
        for step in (0, 1, 5):
            assert found.add_event(scalar("loss", step / 2, step))
            found.add_event(scalar("acc", 1.0, step))
    assert run.history() == [{"_step": step, "loss": step / 2, "acc": 1.0, "global_step": step} for step in (0, 1, 5)]
    assert len(found.written) == 6


def test_scalars_images_histograms_text_and_parameters_of_real_events_are_logged(package):
    with rewind.init(tensorboard=True) as run:
        for name in ("events.out.tfevents.100.host.1", "hp/events.out.tfevents.100.host"):
            with (EVENTS / name).open("rb") as file:
                for event in tfrecords(file, name):
                    writer("logs" if "/" not in name else "logs/hp").add_event(event)
    row = next(row for row in run.history() if "h" in row)
    assert row["h"]["_type"] == "histogram" and row["said/text_summary"] == "hello"
    assert row["img"]["_type"] == "image-file" and run.media[0].path == row["img"]["path"]
    assert run.config["lr"] == 0.5 and run.summary["hp/final"] == 1.0
    assert rewind.Tracker().fsck().ok


def test_steps_that_go_back_get_rows_of_their_own_and_the_programs_rows_are_between(package):
    with rewind.init(sync_tensorboard=True) as run:
        found = writer()
        for tag, step in (("batch", 3), ("epoch", 1), ("batch", 4), ("batch", 9)):
            found.add_event(scalar(tag, 1.0, step))
        run.log({"own": 1})
        found.add_event(scalar("batch", 1.0, 10))
    shown = [[row["_step"], row["global_step"], [*row][1]] for row in run.history()]
    assert shown == [[3, 3, "batch"], [4, 1, "epoch"], [5, 4, "batch"], [9, 9, "batch"], [10, 10, "batch"]]
    assert run.history()[3]["own"] == 1


def test_the_writer_of_another_folder_gives_its_tags_the_name_of_that(package):
    with rewind.init(sync_tensorboard=True) as run:
        for folder in ("logs", "logs/eval/a", "elsewhere"):
            writer(folder).add_event(scalar("x", 1.0, 0))
    assert run.history()[0].keys() == {"_step", "x", "eval/a/x", "elsewhere/x", "global_step"}


def test_after_the_run_nothing_is_logged_and_unfollow_leaves_the_class_as_it_was(package):
    with rewind.init(sync_tensorboard=True) as run:
        pass
    found = writer()
    found.add_event(scalar("x", 1.0, 0))
    with rewind.init() as other:
        found.add_event(scalar("x", 1.0, 1))
    assert run.history() == other.history() == [] and len(found.written) == 2
    tensorboard_writers.unfollow()
    assert not hasattr(type(found).add_event, "_rewind_original")
    assert not any(type(one).__module__ == tensorboard_writers.__name__ for one in sys.meta_path)


def test_an_event_goes_to_the_latest_run_that_asked_for_it(package):
    with rewind.init(id="a", sync_tensorboard=True) as first, rewind.init(id="b", reinit="create_new") as second:
        writer().add_event(scalar("x", 1.0, 0))
    assert len(first.history()) == 1 and second.history() == []


def test_the_module_of_this_name_follows_and_logs_summaries(package):
    wandb = rewind.wandb
    with wandb.init() as run:
        wandb.tensorboard.patch(root_logdir="logs")
        found = writer()
        found.add_event(scalar("x", 1.0, 0))
        wandb.tensorboard.unpatch()
        found.add_event(scalar("x", 1.0, 1))
        wandb.tensorboard.log(scalar("y", 2.0, 0)[13:], step=7, namespace="n")
    assert run.history() == [{"_step": 0, "x": 1.0, "global_step": 7, "n/y": 2.0}]


def test_a_histogram_whose_least_value_is_a_zero_that_is_not_written_begins_at_zero():
    import struct

    histogram = b"\x32\x10" + struct.pack("<2d", 1.0, 2.0) + b"\x3a\x10" + struct.pack("<2d", 3.0, 4.0)
    value = b"\x0a\x01h\x2a" + bytes([len(histogram)]) + histogram
    summary = b"\x0a" + bytes([len(value)]) + value
    found = logged_by(Message(b"\x2a" + bytes([len(summary)]) + summary)).values["h"]
    assert found.in_row("h", None) == {"h": {"_type": "histogram", "values": [3.0, 4.0], "bins": [0.0, 1.0, 2.0]}}
