"""Where generated drivers are kept, so that numba finds in the next process what it compiled in this one."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path


def driver_folder() -> Path | None:
    """Return the folder for drivers, made where it is not there; None where there can be none.

    ``NUMBA_CACHE_DIR`` where it is set, as for numba's own cache, else the user's folder for caches.
    """
    try:
        if os.environ.get("NUMBA_CACHE_DIR"):
            base = Path(os.environ["NUMBA_CACHE_DIR"])
        elif os.name == "nt":
            base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif os.environ.get("XDG_CACHE_HOME"):
            base = Path(os.environ["XDG_CACHE_HOME"])
        else:
            base = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
        folder = base.absolute() / "rewind"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # not writable; or no home at all
        return None
    return folder


def keep(folder: Path, name: str, text: str) -> Path | None:
    """Return the path of a file in `folder` that holds `text`, byte for byte; None where it cannot be written.

    Several processes may do so at once: each writes a file of its own and renames it. All give it one time stamp,
    since numba takes a file with another one for a new file.
    """
    path, data = folder / f"{name}.py", text.encode()
    temporary = None
    try:
        if path.exists() and path.read_bytes() == data:
            return path
        handle, temporary = tempfile.mkstemp(".tmp", name, folder)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.utime(temporary, (1_000_000_000, 1_000_000_000))
        os.replace(temporary, path)
        return path if path.read_bytes() == data else None
    except OSError:
        if temporary is not None:
            try:
                os.unlink(temporary)
            except OSError:
                pass
        return None
