"""Progress of a long pass: what a callback is given, and the bar or line that ``progress=True`` shows."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Protocol

from ..engine.pace import TOLD
from ..errors import ArgumentTypeError
from ..state.frozen import frozen

#: Least seconds between two reports, the last one excepted.
INTERVAL = 0.1


@frozen
class Progress:
    """Where a long pass stands.

    Attributes
    ----------
    op : str
        The method that is under way: ``"record"``, ``"stats"``, ``"first"``.
    done, total : int
        Steps that are done and in all; for ``verify`` stretches between checkpoints, for ``branches`` and
        ``likelihood`` branches.
    block : int
        The block just finished.
    elapsed : float
        Seconds since the pass began.
    block_seconds : float or None
        Where blocks are recorded that take long, how long one takes, by the last steps.
    """

    op: str
    done: int
    total: int
    block: int
    elapsed: float
    block_seconds: float | None = None


ProgressOption = Callable[[Progress], object] | bool | None


class Report(Protocol):
    """``report(done, block)``, which may be told how many seconds a block takes."""

    def __call__(self, done: int, block: int, seconds: float | None = None) -> None: ...  # noqa: D102


def reporter(progress: ProgressOption, op: str, total: int) -> Report | None:
    """Return ``report(done, block)``, which calls `progress` at most ten times a second; None if nothing is to show.

    Raises
    ------
    ArgumentTypeError
        If `progress` is neither a callable nor a bool nor None.
    """
    if progress is None or progress is False:
        return None
    if progress is not True and not callable(progress):
        raise ArgumentTypeError("progress", progress, "True, None or a callable that takes a rewind.Progress")
    show: Callable[[Progress], object] = bar() if progress is True else progress
    began = time.monotonic()
    shown = began - INTERVAL
    block_seconds: float | None = None

    def report(done: int, block: int, seconds: float | None = None) -> None:
        nonlocal shown, block_seconds
        now = time.monotonic()
        if seconds is not None:
            block_seconds = seconds
        if now - shown >= INTERVAL or done >= total:
            shown = now
            show(Progress(op, done, total, block, now - began, block_seconds))

    return report


def long_block(progress: Progress) -> str:
    """Return what to say of blocks that take long; of others nothing."""
    seconds = progress.block_seconds
    return "" if seconds is None or seconds <= TOLD else f"a block takes {duration_text(seconds)}"


def duration_text(seconds: float) -> str:
    """Return a duration of minutes or more for people."""
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def bar() -> Callable[[Progress], object]:
    """Return what ``progress=True`` shows: a bar of tqdm, or one line on stderr."""
    try:
        from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return _line

    shown = None

    def show(progress: Progress) -> None:
        nonlocal shown
        if shown is None:
            shown = tqdm(total=progress.total, desc=progress.op, unit="step", unit_scale=True, disable=None)
        shown.update(progress.done - shown.n)
        shown.set_postfix_str(long_block(progress), refresh=False)
        if progress.done >= progress.total:
            shown.close()

    return show


def _line(progress: Progress) -> None:
    share = progress.done / progress.total
    text = f"\r{progress.op}: {progress.done:,} of {progress.total:,} ({share:.0%}), {progress.elapsed:.0f} s"
    text += f", {long_block(progress)}" if long_block(progress) else ""
    sys.stderr.write(text + ("\n" if progress.done >= progress.total else ""))
    sys.stderr.flush()
