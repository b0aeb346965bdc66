"""Call a verb: its answer goes to stdout and all else to stderr. The only place that prints."""

from __future__ import annotations

import argparse
import contextlib
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
    said,
)
from ..steps.raised import ended, is_own
from .answer import Answer, NotFound, UsageError
from .exit_codes import CANNOT_RUN, DIFFERENT, INTERRUPTED, REFUSED
from .late import late
from .render import json_text
from .streams import write_error, write_result
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
        if error.__cause__ is not None and is_own(error.__cause__):
            return _ended(error.__cause__)
        write_error("\n")
        way = "the same command with --resume goes on" if error.path else "nothing was written"
        name = error.signal or "SIGINT"
        return _fail(f"interrupted by {name}, with steps 0 to {error.t} on disk; {way}", 128 + signal.Signals[name])
    except KeyboardInterrupt as error:
        if is_own(error):
            return _ended(error)
        write_error("\n")
        return _fail("interrupted; nothing was written", INTERRUPTED)
    except UnsafeArtifactError as error:
        return _fail(error, REFUSED)
    except ConditionError as error:
        write_error(_details(error) + (f"{error.pointer}\n" if error.pointer else ""))
        return _fail(error.what if error.pointer else error, CANNOT_RUN)
    except (StepRangeError, RunNotFoundError, NotFound) as error:
        return _fail(error, DIFFERENT)
    except MissingCodecError as error:
        return _fail(f"{error}; here: --codec {FORMS}", CANNOT_RUN)
    except (RewindError, UsageError, CodeError, OSError) as error:
        write_error(_details(error))
        return _fail(error, CANNOT_RUN)
    except Exception as error:  # a bug, here or in the user's code: all there is to know of it
        write_error(_trace(error))
        return _fail(f"{type(error).__name__}: {said(error)}", CANNOT_RUN)
    except BaseException as error:  # a SystemExit of the user's code: whatever it says, nothing was answered
        return _ended(error)


def _ended(error: BaseException) -> int:
    """Say that the user's code ended the verb, by an exception that is made to end programs."""
    write_error(_trace(error))
    return _fail(f"the verb was ended: {ended(error)}", CANNOT_RUN)


def _shown(piece: str) -> str:
    """Return data as it is, but on a terminal, which would obey it."""
    return printable(piece) if sys.stdout.isatty() else piece


def _print(pieces: Iterable[str]) -> int:
    """Write to stdout and return 0, or the exit code that says why this did not work."""
    for piece in pieces:
        if code := write_result(piece):
            return code
    return write_result("", flush=True)


def _say(text: str) -> None:
    write_error(f"rewind: {text}".replace("\n", " ") + "\n")


def _fail(error: object, code: int) -> int:
    _say(f"error: {error}")
    return code


def _details(error: BaseException) -> str:
    """Return the traceback of the user's own code, where that is what failed."""
    if isinstance(error, CodeError):
        return error.details
    cause = error.__cause__
    if isinstance(error, (StepError, MetricError, ConditionError)) and cause is not None:
        return _trace(cause)
    return ""


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


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
