"""Files in a tracker's folder that nothing refers to: a process ended while it removed or imported something."""

from __future__ import annotations

import os
import re

from ..storage.journal import SUFFIX
from . import contents
from .store import Store

#: What the names of folders begin with in which an import puts what is not checked yet.
IMPORTING = ".rewind.tmp-import-"
_CONTENT = re.compile(r"[0-9a-f]{64}")


def leftover_files(store: Store) -> list[str]:
    """Return files that nothing refers to: of simulations, contents, and imports that were cut off."""
    importing = [os.path.join(store.folder, name) for name in _listed(store.folder) if name.startswith(IMPORTING)]
    return sorted([*leftover_simulations(store), *leftover_contents(store), *importing])


def leftover_simulations(store: Store) -> list[str]:
    """Return the files of simulations that no revision has."""
    folder = os.path.join(store.folder, "simulations")
    named = {file for (file,) in store.read("SELECT file FROM simulations")}
    return [
        os.path.join(folder, name)
        for name in _listed(folder)
        if name.removesuffix(SUFFIX) not in named and name.removesuffix(SUFFIX).endswith(".replay")
    ]


def leftover_contents(store: Store) -> list[str]:
    """Return the contents that no artifact has."""
    folder = os.path.join(store.folder, contents.CONTENTS)
    manifests = store.read("SELECT manifest FROM artifacts")
    named = {file.digest for (text,) in manifests for file in contents.manifest_of(text)}
    return [
        os.path.join(folder, home, name)
        for home in _listed(folder)
        for name in _listed(os.path.join(folder, home))
        if _CONTENT.fullmatch(name) and name not in named
    ]


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
