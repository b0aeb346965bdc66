"""Make `foreign/`: logs of the two programs whose history can be imported, by their own writers.

Made once with wandb 0.31.0, tensorboard 2.21.0 and tensorboardX 2.6.5, in an environment that had these three::

    python tests/golden/make_foreign.py

Of the log of W&B's client, records that are about the machine are left out.
"""

from __future__ import annotations

import math
import os
import pathlib
import shutil
import struct
import tempfile
import zlib

FOLDER = pathlib.Path(__file__).parent / "foreign"


def make_wandb(target: pathlib.Path) -> None:
    os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    import wandb

    work = pathlib.Path(tempfile.mkdtemp())
    os.chdir(work)
    labels = {"name": "first", "notes": "a note", "tags": ["a", "b"], "group": "g", "job_type": "train"}
    config = {"lr": 0.1, "layers": [1, 2], "deep": {"a": {"b": 1}}}
    run = wandb.init(project="walks", entity="me", id="abc12345", config=config, **labels)
    run.define_metric("loss", summary="min,mean")
    run.define_metric("val/*", step_metric="epoch")
    for i in range(5):
        odd = math.nan if i == 2 else math.inf
        run.log(
            {"loss": 1 / (i + 1), "odd": odd, "nested": {"x": i}, "text": f"t{i}", "val/acc": i / 8, "epoch": i // 2}
        )
    run.log({"h": wandb.Histogram(np_histogram=([1, 2], [0.0, 1.0, 2.0]))})
    run.log({"t": wandb.Table(columns=["a", "b"], data=[[1, "x"], [2, "y"]])}, step=10)
    run.summary["best"] = 0.5
    run.config.update({"more": "later"})
    print("a line")
    pathlib.Path("f.txt").write_text("hi")
    artifact = wandb.Artifact("model", "model", metadata={"k": 1})
    artifact.add_file("f.txt")
    run.log_artifact(artifact, aliases=["best"])
    run.finish(exit_code=3)
    (made,) = work.glob("wandb/offline-run-*")
    shutil.copytree(made / "files" / "media", target / "files" / "media")
    (target / "run-abc12345.wandb").write_bytes(without_machine((made / "run-abc12345.wandb").read_bytes()))


def without_machine(log: bytes) -> bytes:
    from wandb.proto.wandb_internal_pb2 import Record

    kept, at = [], 7
    while at < len(log):  # all in the first block of 32 KB, and whole
        _, size, kind = struct.unpack("<IHB", log[at : at + 7])
        assert kind == 1 and len(log) < 1 << 15
        record = Record.FromString(log[at + 7 : at + 7 + size])
        at += 7 + size
        if record.WhichOneof("record_type") in ("environment", "stats", "telemetry", "files"):
            continue
        if record.HasField("run"):
            record.run.host = "host"
        for entry in record.artifact.manifest.contents if record.HasField("artifact") else ():
            entry.local_path = "f.txt"
        kept.append(record.SerializeToString())
    return log[:7] + b"".join(struct.pack("<IHB", zlib.crc32(b"\1" + one), len(one), 1) + one for one in kept)


def make_events(target: pathlib.Path) -> None:
    import numpy as np
    from tensorboardX import SummaryWriter

    target.mkdir(parents=True)
    with SummaryWriter(str(target), filename_suffix=".1") as writer:
        for i in range(5):
            writer.add_scalar("loss", 1 / (i + 1), i, walltime=100.0 + i)
            writer.add_scalar("acc", i / 8, 2 * i, walltime=110.0 + i)
        writer.add_histogram("h", np.array([1.0, 2.0, 3.0, 3.0]), 2, bins=[1.0, 2.0, 3.0], walltime=120.0)
        writer.add_text("said", "hello", 2, walltime=120.0)
        writer.add_image("img", np.zeros((3, 4, 5), np.uint8), 2, walltime=120.0)
        writer.add_hparams({"lr": 0.5, "n": 3, "opt": "adam", "flag": True}, {"final": 1.0}, name="hp", global_step=4)
    with SummaryWriter(str(target), filename_suffix=".2", purge_step=3) as writer:
        writer.add_scalar("loss", 7.0, 3, walltime=200.0)
    for path in [*target.glob("events*"), *target.glob("hp/events*")]:
        path.rename(path.with_name(f"events.out.tfevents.100.host{path.suffix if path.parent == target else ''}"))


def make_tensors(target: pathlib.Path) -> None:
    """As TensorFlow 2 and Keras write them: each value is a tensor, whose plugin says what it is."""
    import numpy as np
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from tensorboard.util.tensor_util import make_tensor_proto

    def value(plugin: str, tensor: object) -> Summary.Value:
        data = SummaryMetadata.PluginData(plugin_name=plugin)
        metadata = SummaryMetadata(plugin_data=data)
        return Summary.Value(tag=plugin, tensor=make_tensor_proto(tensor), metadata=metadata)

    png = b"\x89PNG a picture"  # what is in it is nobody's business here
    writer = EventFileWriter(str(target))
    values = {
        "scalars": np.float32(0.5),
        "histograms": np.array([[0.0, 1.0, 2.0], [1.0, 2.0, 1.0]]),
        "text": np.array([b"hello"], object),
        "images": np.array([b"1", b"1", png], object),
    }
    for plugin, tensor in values.items():
        event = Event(wall_time=100.0, step=1, summary=Summary(value=[value(plugin, tensor)]))
        writer.add_event(event)
    writer.close()
    (path,) = target.glob("events*")
    path.rename(path.with_name("events.out.tfevents.100.host"))


if __name__ == "__main__":
    for name, make in {"wandb": make_wandb, "events": make_events, "tensors": make_tensors}.items():
        if not (FOLDER / name).exists():
            make(FOLDER / name)
