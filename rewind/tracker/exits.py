"""How the program ends: by ``sys.exit(3)``, by an exception that nobody caught, or at its last line.

Functions that are registered with `atexit` are told nothing of it. Of an exception Python leaves a trace in
``sys.last_value``; of a SystemExit it leaves none. So while a run is open, `sys.exit` raises an exception that notes
its code when it is dropped where no Python code runs any more: one that was caught is dropped by the code that did.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

_WATCHING: set[int] = set()  # the runs for which sys.exit is ours, by their id()
_exit: Any = None  # Python's own
_unhandled: list[Any] = []  # the code of the SystemExit that ended the program


class _Exit(SystemExit):
    """What `sys.exit` raises while a run is open."""

    def __del__(self) -> None:
        if sys._getframe().f_back is None and threading.current_thread() is threading.main_thread():
            _unhandled[:] = [self.code]


_Exit.__name__ = _Exit.__qualname__ = "SystemExit"


def _noted(status: Any = None, /) -> None:
    """Exit the interpreter, as `sys.exit` does."""
    raise _Exit(status)


def watch(run: object) -> None:
    """Note from now on how the program ends, until `forget`."""
    global _exit
    if not _WATCHING and sys.exit is not _noted:
        _exit, sys.exit = sys.exit, _noted  # type: ignore[assignment]
    _WATCHING.add(id(run))


def forget(run: object) -> None:
    """End what `watch` began for a run; a second call does nothing."""
    _WATCHING.discard(id(run))
    if not _WATCHING and sys.exit is _noted:
        sys.exit = _exit


def ending() -> tuple[int, str]:
    """Return the exit code of a program that is at its end, and what there is to say of it."""
    if _unhandled:
        (code,) = _unhandled
        if code is None or (isinstance(code, int) and -(1 << 31) <= code < 1 << 31):
            return int(code or 0), ""
        return 1, f"SystemExit: {_text(code)}"
    error = getattr(sys, "last_value", None)
    if error is None or hasattr(sys, "ps1"):  # whoever types goes on after an error
        return 0, ""
    if isinstance(error, KeyboardInterrupt):
        return 1, "KeyboardInterrupt"
    return 1, f"{type(error).__name__}: {_text(error)}"


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"
