"""Signals that end a recording at the step under way, where everything is on disk."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

#: What schedulers send before they kill.
_MORE = ("SIGTERM", "SIGUSR1")


class Caught(KeyboardInterrupt):
    """A signal that came while a step was under way; its text is the signal's name, empty for Ctrl-C."""


class Signals:
    """Handlers that note a signal instead of interrupting, while this context is entered; and put back after it.

    Parameters
    ----------
    more : bool
        Whether SIGTERM and SIGUSR1 are noted also where a handler of the user's is in place.

    Notes
    -----
    Handlers are installed in the main thread only, for Ctrl-C where Python's own is in place, and for SIGTERM and
    SIGUSR1 where they would end the process. A second Ctrl-C
    interrupts at once. A signal that nobody asked for by `check` is sent again at the end; not Ctrl-C, where an error
    has ended what it was to end.
    """

    def __init__(self, more: bool) -> None:
        self._more, self._depth, self._pid = more, 0, os.getpid()
        self._before: dict[int, Any] = {}
        self._caught: int | None = None

    @property
    def caught(self) -> bool:
        """Whether there was a signal."""
        return self._caught is not None

    def check(self) -> None:
        """Raise `Caught` if there was a signal."""
        if self._caught is not None:
            number, self._caught = self._caught, None
            raise Caught() if number == signal.SIGINT else Caught(signal.Signals(number).name)

    def __enter__(self) -> Signals:
        self._depth += 1
        self._pid = os.getpid()
        if self._depth > 1 or threading.current_thread() is not threading.main_thread():
            return self
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._note)
        for name in _MORE:
            number = getattr(signal, name, None)
            if number is not None and (self._more or signal.getsignal(number) == signal.SIG_DFL):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        if self._depth or threading.current_thread() is not threading.main_thread():
            return  # what another thread cannot put back is put back when the next signal comes
        self._put_back()
        caught, self._caught = self._caught, None
        if caught is not None and (error[0] is None or caught != signal.SIGINT):
            signal.raise_signal(caught)

    def _put_back(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self._depth or os.getpid() != self._pid:  # all is over, or this is a forked child: nobody looks
            self._put_back()
            signal.raise_signal(number)
            return
        if number == signal.SIGINT and self._caught is not None:
            self._caught = None
            raise KeyboardInterrupt
        self._caught = number
