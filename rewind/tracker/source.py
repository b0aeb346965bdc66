"""The source code of a program, as files to keep."""

from __future__ import annotations

import contextlib
import inspect
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator

Choice = Callable[..., object]

_SUFFIXES = (".py", ".pyx", ".pxd", ".ipynb", ".yaml", ".yml", ".toml", ".cfg")
_NAMES = ("requirements.txt", "Dockerfile")


def is_source(path: str) -> bool:
    """Whether a file is source code by its name."""
    return path.endswith(_SUFFIXES) or os.path.basename(path) in _NAMES


@contextlib.contextmanager
def gathered(root: str, include: Choice, exclude: Choice | None) -> Iterator[str | None]:
    """Copy files below a folder to a folder of their own while this context is entered; None where there is none.

    Parameters
    ----------
    root : str
    include, exclude : callable
        Given the path of a file, or that and `root`: whether it is taken, and whether it is left out all the same.
        Folders whose name begins with a dot, virtual environments and ``wandb`` are left out.
    """
    root = os.path.abspath(root)
    with tempfile.TemporaryDirectory() as target:
        found = False
        for path in _files(root):
            if not _says(include, path, root) or (exclude is not None and _says(exclude, path, root)):
                continue
            copy = os.path.join(target, os.path.relpath(path, root))
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            shutil.copy(path, copy)
            found = True
        yield target if found else None


def _files(root: str) -> Iterator[str]:
    for at, folders, files in os.walk(root):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in ("__pycache__", "wandb", "node_modules")
            and not os.path.exists(os.path.join(at, name, "pyvenv.cfg"))
        )
        yield from (path for name in sorted(files) if os.path.isfile(path := os.path.join(at, name)))


def _says(choice: Choice, path: str, root: str) -> bool:
    try:
        both = len(inspect.signature(choice).parameters) > 1
    except (TypeError, ValueError):
        both = False
    return bool(choice(path, root) if both else choice(path))


def program() -> str | None:
    """Return the file of the main program; None where there is none, as in a shell."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return path if path is not None and os.path.isfile(path) else None
