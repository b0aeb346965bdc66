"""Who raised an exception: code that was called, or a signal; and where."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dis import opmap
from types import TracebackType

from ..errors import said

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_RAISES = {opmap[name] for name in ("RAISE_VARARGS",) if name in opmap}


def is_own(error: BaseException) -> bool:
    """Whether code raised an exception, and no signal did.

    A KeyboardInterrupt comes out of any instruction where Ctrl-C made it, and out of a ``raise`` where code did; what a
    worker sent says so itself. What rewind raises is no code of the user's.
    """
    if not isinstance(error, KeyboardInterrupt) or hasattr(error, "rewind_where"):
        return True
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, KeyboardInterrupt) and not _is_raised(chain.__traceback__):
            return False
        chain = chain.__cause__ or chain.__context__
    return True


def _is_raised(trace: TracebackType | None) -> bool:
    last = _last(trace)
    if last is None:
        return False
    code = last.tb_frame.f_code
    instructions = code.co_code
    at_raise = 0 <= last.tb_lasti < len(instructions) and instructions[last.tb_lasti] in _RAISES
    return at_raise and not code.co_filename.startswith(_PACKAGE)


def _last(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def where(error: BaseException) -> str:
    """Return the line of the user's code that an exception came out of, as ``walk.py, line 3, in step``; or ""."""
    known: str | None = getattr(error, "rewind_where", None)
    if known is not None:
        return known
    trace, found = error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith(_PACKAGE) and not code.co_filename.endswith(".pyx"):
            found = f"{os.path.basename(code.co_filename)}, line {trace.tb_lineno}, in {code.co_name}"
        trace = trace.tb_next
    return found


def keep_where(error: BaseException) -> None:
    """Let an exception that is no ``Exception`` say itself where it was raised: a traceback stays in its process."""
    if not isinstance(error, Exception) and is_own(error):
        with suppress(Exception):
            error.rewind_where = where(error)  # type: ignore[attr-defined]


def ended(error: BaseException) -> str:
    """Return what happened, as ``step.py, line 3, in step, raised SystemExit: 0``."""
    text = f"{type(error).__name__}: {said(error)}".removesuffix(": ")
    at = where(error)
    return f"{at}, raised {text}" if at else text


@contextmanager
def found_already(what: str) -> Iterator[None]:
    """Let what is raised within this context say what had been found before."""
    try:
        yield
    except BaseException as error:
        with suppress(Exception):
            error.rewind_found = what  # type: ignore[attr-defined]
        raise


def found_in(error: BaseException) -> str | None:
    """Return what had been found before something was raised; None where that was nothing."""
    found: str | None = getattr(error, "rewind_found", None)
    return found
