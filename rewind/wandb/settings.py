"""Settings, levels of alerts and text for the terminal: what a program may name, and little comes of."""

from __future__ import annotations

import contextlib
import enum
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any


class Settings(SimpleNamespace):
    """Settings of a run, by any name: `init` takes ``run_id``, ``run_name``, ``root_dir`` and the like from them."""

    def update(self, *values: Any, **more: Any) -> None:
        """Set fields."""
        for one in (*values, more):
            vars(self).update(one if isinstance(one, dict) else vars(one))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None  # as of one that nobody set


class AlertLevel(enum.Enum):
    """How urgent an alert is."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


def termlog(string: str = "", newline: bool = True, repeat: bool = True, prefix: bool = True, **ignored: Any) -> None:
    """Write a line to stderr.

    Parameters
    ----------
    string : str
    newline, prefix : bool
        Whether it ends its line, and begins with ``rewind: ``.
    repeat : bool
        False: not if it was written before.
    **ignored
        What else W&B's function takes.
    """
    if not repeat:
        if string in _WRITTEN:
            return
        _WRITTEN.add(string)
    with contextlib.suppress(Exception):  # a program goes on without its terminal
        sys.stderr.write(("rewind: " if prefix else "") + str(string) + ("\n" if newline else ""))


_WRITTEN: set[str] = set()


def termwarn(string: str, **options: Any) -> None:
    """Write a warning to stderr: as `termlog`."""
    termlog(f"WARNING {string}", **options)


def termerror(string: str, **options: Any) -> None:
    """Write an error to stderr: as `termlog`."""
    termlog(f"ERROR {string}", **options)


def termsetup(settings: Any = None, logger: Any = None) -> None:
    """Do nothing: there is nothing to set up."""


class _Anything:
    """Takes any attribute, at any depth: what there is to say to a telemetry that is not there."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        """Forget it."""


@contextlib.contextmanager
def context(run: Any = None, obj: Any = None) -> Iterator[Any]:
    """Yield something that integrations say to which features they use; it goes nowhere."""
    yield _Anything()
