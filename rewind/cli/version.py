"""What ``rewind --version`` says, without loading numpy or a kernel."""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder

from ..steps.version import VERSION
from .late import late

#: The compiled kernel: its extensions, by the folder of the package they are in.
_EXTENSIONS = {"": ("_core",), "kernel": ("_draws", "_native", "_sums")}


def version_text() -> str:
    """Return the line that ``rewind --version`` prints."""
    packages = [_installed(name) for name in ("numpy", "h5py")]
    return f"rewind {VERSION} ({', '.join([f'{kernel_that_runs()} kernel', *packages])})"


def kernel_that_runs() -> str:
    """Return the kernel that would run, as `rewind.kernel.kernel_name` says it, by looking for files alone.

    It does not see an extension that is there and does not load, such as one that was built for another numpy: that
    counts as compiled, where rewind itself would fall back to the Python kernel.
    """
    wanted = os.environ.get("REWIND_KERNEL", "")
    if wanted == "python":
        return wanted
    built = all(_is_built(folder, name) for folder, names in _EXTENSIONS.items() for name in names)
    if wanted:  # whose import says what is wrong
        return str(late("..kernel:kernel_name"))
    return "compiled" if built else "python"


def _is_built(folder: str, name: str) -> bool:
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return PathFinder.find_spec(name, [os.path.join(root, folder)]) is not None


def _installed(package: str) -> str:
    """Return a package with its version, read off the name of the folder that pip leaves: a tenth of the time.

    `importlib.metadata`, which knows every form of an installation, is asked where there is no such folder.
    """
    start, end = f"{package}-", ".dist-info"
    for folder in sys.path:
        try:
            found = [entry for entry in os.listdir(folder or os.curdir) if entry.startswith(start)]
        except OSError:
            continue
        for entry in found:
            if entry.endswith(end):
                return f"{package} {entry[len(start) : -len(end)]}"
    try:
        return f"{package} {late('importlib.metadata:version')(package)}"
    except ImportError:  # as PackageNotFoundError is
        return f"no {package}"
