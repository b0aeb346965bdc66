"""Where the command writes: stdout has to take the answer, stderr need not take what is said beside it."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys

from .exit_codes import BROKEN_PIPE, CANNOT_RUN, OK
from .text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class Closed(io.TextIOBase):
    """A stdout that was closed when the program began."""

    def write(self, text: str) -> int:
        """Say that nothing can be written."""
        raise OSError(errno.EBADF, "stdout is closed")


@contextlib.contextmanager
def streams() -> Iterator[None]:
    """Let there be a stdout and a stderr, and no file in their places: what is opened next would become stderr."""
    before = sys.stdout, sys.stderr
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it takes the lowest number that is free
    with contextlib.ExitStack() as stack:
        if sys.stdout is None:
            sys.stdout = Closed()
        if sys.stderr is None:
            sys.stderr = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def write_result(text: str, flush: bool = False) -> int:
    """Write to stdout and return 0, or the exit code that says why this did not work."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        if flush:
            sys.stdout.flush()
    except OSError as error:
        _leave(sys.stdout)
        if isinstance(error, BrokenPipeError):
            return BROKEN_PIPE
        write_error(f"rewind: error: cannot write the result: {error.strerror}\n")
        return CANNOT_RUN
    except ValueError:  # a stream of Python's that was closed
        write_error("rewind: error: cannot write the result: stdout is closed\n")
        return CANNOT_RUN
    return OK


def write_error(text: str) -> None:
    """Write to stderr, if it takes it: what cannot be said changes no exit code."""
    try:
        sys.stderr.write(printable(text))
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # full, closed, or not there
        _leave(sys.stderr)


def _leave(stream: Any) -> None:
    """See to it that nothing more is written: Python flushes once more at exit, and would end with 120."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
