"""Writers of TensorBoard, as W&B's module of this name has them: `patch` logs what they are given to the latest run."""

from __future__ import annotations

import os
from typing import Any

from ..tracker import active, tensorboard_writers
from ..tracker.transfer.event_files import logged_by
from ..tracker.transfer.wire import Message


def patch(
    save: bool = True,
    tensorboard_x: bool | None = None,
    pytorch: bool | None = None,
    root_logdir: str | os.PathLike[str] = "",
) -> None:
    """Log what writers of torch and tensorboardX are given from now on: ``init(sync_tensorboard=True)`` does so, too.

    Raises
    ------
    NoRunError
        If there is no run.
    """
    tensorboard_writers.follow(active.latest("tensorboard.patch()"))


def unpatch() -> None:
    """Let the writers be as they were."""
    tensorboard_writers.unfollow()


def log(tf_summary_str_or_pb: Any, history: Any = None, step: int = 0, namespace: str = "", **options: Any) -> None:
    """Log a summary of TensorBoard, or its bytes, to the latest run."""
    summary = tf_summary_str_or_pb
    content = summary if isinstance(summary, bytes) else summary.SerializeToString()
    # A summary is field 5 of an event: its tag, its length, and it.
    found = logged_by(Message(b"\x2a" + _varint(len(content)) + content))
    prefix = f"{namespace}/" if namespace else ""
    values = {prefix + tag: value for tag, value in found.values.items()}
    active.latest("tensorboard.log()").log({**values, "global_step": step})


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])
