"""Progress of a long pass: what a callback is given, and the bar or line that ``progress=True`` shows."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

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
    """

    op: str
    done: int
    total: int
    block: int
    elapsed: float


ProgressOption = Callable[[Progress], object] | bool | None


def reporter(progress: ProgressOption, op: str, total: int) -> Callable[[int, int], None] | None:
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
    show: Callable[[Progress], object] = _bar() if progress is True else progress
    began = time.monotonic()
    shown = began - INTERVAL

    def report(done: int, block: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= INTERVAL or done >= total:
            shown = now
            show(Progress(op, done, total, block, now - began))

    return report


def _bar() -> Callable[[Progress], object]:
    try:
        from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return _line

    bar = None

    def show(progress: Progress) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(total=progress.total, desc=progress.op, unit="step", unit_scale=True, disable=None)
        bar.update(progress.done - bar.n)
        if progress.done >= progress.total:
            bar.close()

    return show


def _line(progress: Progress) -> None:
    share = progress.done / progress.total
    text = f"\r{progress.op}: {progress.done:,} of {progress.total:,} ({share:.0%}), {progress.elapsed:.0f} s"
    sys.stderr.write(text + ("\n" if progress.done >= progress.total else ""))
    sys.stderr.flush()
