"""Where a recording is kept as it grows: its journal, and the signals that end it at the end of a block."""

from __future__ import annotations

import os
import warnings
from types import TracebackType
from typing import Any, Literal

from .checks import codec_of
from .engine.recording import Recording
from .engine.sweep import Report
from .errors import ArgumentError, NoLockWarning
from .signals import Signals
from .storage import journal
from .storage.journal_writer import DURABILITIES, Journal

Durability = Literal["block", "1s", "none"]
OnSignal = Literal["checkpoint"] | None


class Kept:
    """A recording's journal, locked while this context is entered.

    Parameters
    ----------
    journal : Journal
    signals : Signals
    stacklevel : int
        Whose line a warning names, as if the caller gave it to ``warnings.warn``.
    """

    def __init__(self, log: Journal, signals: Signals, stacklevel: int = 3) -> None:
        self.log, self.signals = log, signals
        self._last: Report | None = None  # told of the end, when the file is there
        if not log.locked:
            try:
                warnings.warn(NoLockWarning(log.path), stacklevel=stacklevel + 1)
            except BaseException:  # where warnings are errors
                log.close()
                raise

    @property
    def path(self) -> str:
        """The file it will become."""
        return self.log.target

    def __enter__(self) -> Kept:
        self.signals.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.log.close()
        finally:
            self.signals.__exit__(kind, error, trace)

    def reported(self, report: Report | None, n_steps: int) -> Report:
        """Return what is called at the end of each block: `report`, and a look whether there was a signal."""

        def at_end(done: int, block: int) -> None:
            if done < n_steps:
                if report is not None:
                    report(done, block)
                self.signals.check()

        self._last = report
        return at_end

    def stop(self, recording: Recording) -> None:
        """Keep how far a sweep came that ended early."""
        self.log.stop(recording)

    def finish(self, recording: Recording) -> None:
        """Write the file, and report the end."""
        self.log.finish(recording)
        if self._last is not None:
            self._last(recording.n_steps, recording.grid.n_blocks - 1)


def durability_of(value: Any) -> str:
    """Return what was given as ``durability=``."""
    if value not in DURABILITIES:
        raise ArgumentError("durability", value, "'block', '1s' or 'none'")
    return str(value)


def require_no_path(durability: Any, on_signal: Any) -> None:
    """Refuse what means nothing without a file to record to."""
    if durability_of(durability) != "block" or on_signal is not None:
        name, value = ("on_signal", on_signal) if on_signal is not None else ("durability", durability)
        raise ArgumentError(name, value, "path= as well", "Without it there is nothing to write to")


def signals_of(on_signal: Any) -> Signals:
    """Return what was given as ``on_signal=``."""
    if on_signal not in (None, "checkpoint"):
        raise ArgumentError("on_signal", on_signal, "'checkpoint' or None")
    return Signals(on_signal == "checkpoint")


def new_kept(
    path: str | os.PathLike[str],
    n_steps: int | None,
    stride: int | None,
    durability: Any,
    on_signal: Any,
    stacklevel: int = 2,
) -> Kept:
    """Return where a recording that begins is kept."""
    signals = signals_of(on_signal)  # refused before there is a file
    log = Journal.new(journal.target_of(path), n_steps, stride, durability_of(durability))
    return Kept(log, signals, stacklevel + 1)


def kept_again(path: str | os.PathLike[str], codec: Any, durability: Any, on_signal: Any) -> Kept:
    """Return where a recording that was cut off is kept on."""
    signals = signals_of(on_signal)
    return Kept(Journal.again(journal.target_of(path), codec_of(codec), durability_of(durability)), signals)
