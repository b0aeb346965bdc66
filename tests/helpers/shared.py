"""What takes long to make is made once in a test run, however many processes share the tests."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable

import pytest

try:
    import fcntl
except ImportError:  # no locks of files on this system: every process makes its own
    fcntl = None  # type: ignore[assignment]


def made_once(
    tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[pathlib.Path], object]
) -> pathlib.Path:
    """Return the folder `name` that ``make(folder)`` fills: in the first process that asks, while the others wait.

    No test may change what is in it. Where `make` fails, the next one that asks tries again.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ or fcntl is None:
        folder = tmp_path_factory.getbasetemp() / name
        if not folder.exists():
            fill(folder, make)
        return folder
    folder = tmp_path_factory.getbasetemp().parent / name
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            fill(folder, make)
    return folder


def fill(folder: pathlib.Path, make: Callable[[pathlib.Path], object]) -> None:
    """Make `folder`; it has its name once it is whole."""
    new = folder.with_name(f"{folder.name}.{os.getpid()}")
    new.mkdir()
    make(new)
    new.rename(folder)
