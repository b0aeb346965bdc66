"""Call a verb: its answer goes to stdout and all else to stderr. The only place that prints."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import (
    ConditionError,
    MetricError,
    MissingCodecError,
    RecordingInterrupted,
    RewindError,
    RewindWarning,
    RunNotFoundError,
    StepError,
    StepRangeError,
    UnsafeArtifactError,
)
from .answer import Answer, NotFound, UsageError
from .exit_codes import BROKEN_PIPE, CANNOT_RUN, DIFFERENT, INTERRUPTED, OK, REFUSED
from .late import late
from .render import json_text
from .text import FORMS, printable
from .user_code import CodeError, Importer


def call(args: argparse.Namespace) -> int:
    """Call the verb that was asked for, print what it answers, and return the exit code."""
    try:
        with _one_line_warnings(), Importer(_say) as importer:
            # What step code prints is no answer of ours.
            with contextlib.redirect_stdout(sys.stderr):
                answer: Answer = late(args.function)(args, importer)
            facts = {"schema": 1, "verb": args.verb, **answer.facts}
            if answer.pieces is not None:
                return _print(map(_shown, answer.pieces)) or answer.code
            text = json_text(facts) if args.json else printable(answer.text)
            return _print([f"{text}\n"] if text else []) or answer.code  # nothing that was looked for is no line
    except RecordingInterrupted as error:
        sys.stderr.write("\n")
        way = "the same command with --resume goes on" if error.path else "nothing was written"
        name = error.signal or "SIGINT"
        return _fail(f"interrupted by {name}, with steps 0 to {error.t} on disk; {way}", 128 + signal.Signals[name])
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return _fail("interrupted; nothing was written", INTERRUPTED)
    except UnsafeArtifactError as error:
        return _fail(error, REFUSED)
    except ConditionError as error:
        sys.stderr.write(printable(_details(error) + (f"{error.pointer}\n" if error.pointer else "")))
        return _fail(error.what if error.pointer else error, CANNOT_RUN)
    except (StepRangeError, RunNotFoundError, NotFound) as error:
        return _fail(error, DIFFERENT)
    except MissingCodecError as error:
        return _fail(f"{error}; here: --codec {FORMS}", CANNOT_RUN)
    except (RewindError, UsageError, CodeError, OSError) as error:
        sys.stderr.write(printable(_details(error)))
        return _fail(error, CANNOT_RUN)
    except Exception as error:  # a bug, here or in the user's code: all there is to know of it
        traceback.print_exc()
        return _fail(f"{type(error).__name__}: {error}", CANNOT_RUN)


def _shown(piece: str) -> str:
    """Return data as it is, but on a terminal, which would obey it."""
    return printable(piece) if sys.stdout is not None and sys.stdout.isatty() else piece


def _print(pieces: Iterable[str]) -> int:
    """Write to stdout and return 0, or the exit code that says why this did not work."""
    if sys.stdout is None:
        return _fail("cannot write the result: stdout is closed", CANNOT_RUN)
    for piece in pieces:
        if code := _write(piece):
            return code
    return _write("", flush=True)


def _write(text: str, flush: bool = False) -> int:
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        if flush:
            sys.stdout.flush()
    except OSError as error:
        # Python flushes once more at exit, and would complain again.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return BROKEN_PIPE
        return _fail(f"cannot write the result: {error.strerror}", CANNOT_RUN)
    return OK


def _say(text: str) -> None:
    sys.stderr.write(printable(f"rewind: {text}").replace("\n", " ") + "\n")
    sys.stderr.flush()


def _fail(error: object, code: int) -> int:
    _say(f"error: {error}")
    return code


def _details(error: BaseException) -> str:
    """Return the traceback of the user's own code, where that is what failed."""
    if isinstance(error, CodeError):
        return error.details
    cause = error.__cause__
    if isinstance(error, (StepError, MetricError, ConditionError)) and cause is not None:
        return "".join(traceback.format_exception(type(cause), cause, cause.__traceback__))
    return ""


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    def shown(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        where = "" if issubclass(category, RewindWarning) else f"{category.__name__} ({filename}:{lineno}): "
        _say(f"warning: {where}{message}")

    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=RewindWarning)
        warnings.showwarning = shown
        yield
