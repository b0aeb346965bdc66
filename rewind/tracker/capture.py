"""Capture what a program prints, line by line, and sample its processor time and memory every few seconds."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, RewindError


class Capture:
    """Hands each line that is written to ``sys.stdout`` to `keep`, beside passing it through; from construction on.

    Of a line with carriage returns, such as a progress bar, it is what stands after the last one. Each thread has
    lines of its own: what two threads print at once is not mixed.

    Parameters
    ----------
    keep : callable
        Takes a line. What it raises is lost, so that printing never fails; what it prints is passed through only.

    Notes
    -----
    `keep` is called by the thread that ends the line, before its ``print`` returns, and holding no lock: it may wait
    for a lock that another printing thread has.
    """

    def __init__(self, keep: Callable[[str], None]) -> None:
        self._keep = keep
        self._turn = threading.RLock()  # a signal handler may print while this thread is in it
        self._begun: dict[int, list[str]] = {}  # what each thread wrote after its last newline
        self._busy = threading.local()
        self._closed, self._pid = False, os.getpid()
        self._tee = _Tee(sys.stdout, self)
        sys.stdout = self._tee

    @property
    def closed(self) -> bool:
        """Whether nothing is kept any more: after `close`, or in a fork."""
        return self._closed or os.getpid() != self._pid

    def add(self, text: str) -> None:
        """Take what was written."""
        if self.closed or getattr(self._busy, "now", False):
            return
        with self._turn:
            begun = self._begun.setdefault(threading.get_ident(), [])
            begun.append(text)
            if "\n" not in text and "\r" not in text:  # joined once a line, not once a write
                return
            *lines, rest = "".join(begun).split("\n")
            begun[:] = [_without_overwritten(rest)]
            if not begun[0]:
                del self._begun[threading.get_ident()]
        self._hand_over(lines)

    def _hand_over(self, lines: Iterable[str]) -> None:
        self._busy.now = True
        try:
            for line in lines:
                with contextlib.suppress(Exception):  # the next line may do better
                    self._keep(_shown(line))
        finally:
            self._busy.now = False

    def close(self) -> None:
        """Keep what has no newline yet, and put ``sys.stdout`` back, if nobody replaced it since; once."""
        forked = os.getpid() != self._pid
        if not forked:
            with self._turn:
                if self._closed:
                    return
                self._closed = True
                begun, self._begun = self._begun, {}
            self._hand_over(text for text in map("".join, begun.values()) if _shown(text))
        self._closed = True
        if sys.stdout is self._tee:
            sys.stdout = _under(self._tee)


class _Tee:
    """Stands for a stream, and shows a capture what is written to it."""

    __slots__ = ("_stream", "_capture")
    _stream: Any
    _capture: Capture

    def __init__(self, stream: Any, capture: Capture) -> None:
        object.__setattr__(self, "_stream", stream)
        object.__setattr__(self, "_capture", capture)

    def write(self, text: str) -> int:
        stream = _under(self)
        n: int = len(text) if stream is None else stream.write(text)  # there is no stdout under pythonw
        if isinstance(text, str):
            self._capture.add(text)
        return n

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        stream = _under(self)
        if stream is not None:
            stream.flush()

    def __getattr__(self, name: str) -> Any:
        if name in _Tee.__slots__:  # a copy that has none yet
            raise AttributeError(name)
        return getattr(_under(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_under(self), name, value)

    def __iter__(self) -> Any:
        return iter(_under(self))

    def __enter__(self) -> Any:
        _under(self).__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return _under(self).__exit__(*error)

    def __repr__(self) -> str:
        return f"<capture of {_under(self)!r}>"


def _under(tee: _Tee) -> Any:
    """Return the stream below a tee. Captures that were closed in between are taken out."""
    stream = tee._stream
    while isinstance(stream, _Tee) and stream._capture.closed:
        stream = stream._stream
        object.__setattr__(tee, "_stream", stream)
    return stream


def _shown(line: str) -> str:
    """Return what a terminal shows of a line, when every carriage return begins it anew."""
    return line.rstrip("\r").rpartition("\r")[2]


def _without_overwritten(rest: str) -> str:
    """Return as much of an unfinished line as counts, so that a progress bar without an end takes no memory."""
    shown = _shown(rest)
    return shown + "\r" if shown and rest.endswith("\r") else shown


class Sampler:
    """Calls `keep` every few seconds, from a thread of its own; at once, for the first time.

    Parameters
    ----------
    seconds : float
        Between two samples.
    keep : callable
        Takes seconds since 1970; the processor time of this process since the last sample in percent of what one
        processor has, 0 the first time; and bytes of memory that are resident (the most there ever were, where the
        system does not say more; 0 where it says nothing). A `RewindError` of it ends the sampling.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        If `seconds` is invalid.
    """

    def __init__(self, seconds: float, keep: Callable[[float, float, int], None]) -> None:
        self._seconds, self._keep = _seconds_of(seconds), keep
        self._stop, self._busy = threading.Event(), threading.Lock()
        self._last: tuple[float, float] | None = None
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="rewind-system", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            with self._busy:
                if self._stop.is_set():
                    return
                self._sample()
            if self._stop.wait(self._seconds):
                return

    def _sample(self) -> None:
        now, used = time.monotonic(), time.process_time()
        cpu = 0.0
        if self._last is not None and now > self._last[0]:
            cpu = 100.0 * (used - self._last[1]) / (now - self._last[0])
        self._last = (now, used)
        try:
            self._keep(time.time(), cpu, resident_bytes())
        except RewindError:
            self._stop.set()

    def close(self) -> None:
        """Take a last sample and stop; harmless a second time, and in a fork, where there is no thread.

        If the thread is taking a sample at this moment, that is the last one, and is not waited for: it may wait for a
        lock of the caller.
        """
        if os.getpid() != self._pid or self._stop.is_set():
            return
        if not self._busy.acquire(blocking=False):
            self._stop.set()
            return
        try:
            self._sample()
        finally:
            self._stop.set()
            self._busy.release()
        self._thread.join()  # it calls nothing any more


def _seconds_of(value: object) -> float:
    expected = "a number of seconds > 0"
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise ArgumentTypeError("system_metrics", value, expected)
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not 0.0 < seconds < math.inf:
        raise ArgumentError("system_metrics", value, expected)
    return min(seconds, threading.TIMEOUT_MAX)


def resident_bytes() -> int:
    """Return the bytes of memory that this process has; at the most so far, where there is no ``/proc``."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
