"""What a database says that no tracker ever wrote: one error for all of it, whatever it makes the reading code do."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any

from ...errors import RewindError, StoreDamagedError, said

#: What Python says where a value is of another type, form or size than the code that reads it expects.
_ODD = (
    TypeError,
    ValueError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RecursionError,
    StopIteration,
    struct.error,
    zlib.error,
)
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_LIBRARY = os.path.dirname(os.path.abspath(os.__file__))
LATEST = 2.5e11  # seconds since 1970: the year 9892, which calendars here still know


@contextlib.contextmanager
def understood(path: str, doing: str = "read") -> Iterator[None]:
    """Say of what cannot be understood that it is damaged; what user code raises within is passed on as it is.

    Raises
    ------
    StoreDamagedError
    """
    try:
        yield
    except RewindError:
        raise
    except _ODD as error:
        if not _is_ours(error.__traceback__):
            raise
        problem = f"it is damaged: what it says cannot be understood ({type(error).__name__}: {said(error)})"
        raise StoreDamagedError(doing, path, f"{problem}; rewind fsck says more") from error


def _is_ours(trace: TracebackType | None) -> bool:
    """Whether an error comes from this package, or from what of Python and numpy it calls."""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        theirs = f"{os.sep}site-packages{os.sep}" in file and f"{os.sep}numpy{os.sep}" not in file
        if not file.startswith((_PACKAGE + os.sep, "<frozen")) and (theirs or not file.startswith(_LIBRARY + os.sep)):
            return False
        trace = trace.tb_next
    return True


def _is_texts(value: Any) -> bool:
    return type(value) is list and all(type(one) is str for one in value)


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and abs(value) < LATEST


_FITS: dict[str, Callable[[Any], bool]] = {
    "int": lambda value: type(value) is int,
    "float": _is_time,
    "str": lambda value: type(value) is str,
    "list[str]": _is_texts,
    "dict[str, Any]": lambda value: type(value) is dict,
    "Mapping[str, Any]": lambda value: type(value) is dict,
    "Definitions": lambda value: type(value) is dict,
}


def odd_fact(facts: Mapping[str, Any], types: Mapping[str, str]) -> str | None:
    """Return the name of the first fact that is not of its type, as an annotation says it; None if all are."""
    for name, value in facts.items():
        kind, _, optional = types[name].partition(" | ")
        if value is None and optional == "None":
            continue
        if not _FITS[kind](value):
            return name
    return None
