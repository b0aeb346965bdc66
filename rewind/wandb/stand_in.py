"""Stand in for the package ``wandb``, for programs and libraries that import it by that name."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution
from types import ModuleType
from typing import Any

from ..errors import StandInError
from .surface import ALIASES, MODULES, VERSION, virtual_module

NAME = "wandb"
_PACKAGE = __name__.rpartition(".")[0]


def install() -> None:
    """Let ``import wandb``, and all below it, give `rewind.wandb` in this process, until `uninstall`.

    The metadata of a distribution ``wandb`` of version `rewind.wandb.__version__` are found as well.

    Raises
    ------
    StandInError
        If W&B's own package is imported already: what has taken names from it would go on with them.
    """
    there = sys.modules.get(NAME)
    if there is sys.modules[_PACKAGE]:
        return
    if there is not None:
        raise StandInError(getattr(there, "__file__", None))
    sys.meta_path.insert(0, _FINDER)
    sys.modules[NAME] = sys.modules[_PACKAGE]


def uninstall() -> None:
    """Undo `install`: whoever imports ``wandb`` from now on gets W&B's own package, if there is one."""
    if sys.modules.get(NAME) is sys.modules[_PACKAGE]:
        for name in [name for name in sys.modules if name == NAME or name.startswith(f"{NAME}.")]:
            del sys.modules[name]
    if _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)


class _Finder(Loader):
    """Finds the modules below ``wandb``: each is the one of `rewind.wandb` itself, not a copy of it."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return where a module is.

        Raises
        ------
        ModuleNotFoundError
            If it is below ``wandb`` and there is none.
        """
        if not name.startswith(f"{NAME}."):
            return None
        own = _own_name(name)
        if own not in MODULES and importlib.util.find_spec(f"{_PACKAGE}.{own}") is None:
            text = f"No module named {name!r} in rewind.wandb, which stands in for wandb: docs/from-wandb.md lists what"
            raise ModuleNotFoundError(f"{text} there is", name=name)
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> None:
        """Let the import make an empty module, which is replaced."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of `rewind.wandb` in the place of the empty one, which the import allows."""
        own = _own_name(module.__name__)
        found = virtual_module(own) if own in MODULES else importlib.import_module(f"{_PACKAGE}.{own}")
        sys.modules[module.__name__] = found

    def find_distributions(self, context: Any) -> Iterator[Distribution]:
        """Yield the metadata of ``wandb``, where they are asked for."""
        if context.name is None or context.name.lower() == NAME:
            yield _Metadata()


def _own_name(name: str) -> str:
    """Return the name below `rewind.wandb` of a module below ``wandb``."""
    own = name.removeprefix(f"{NAME}.")
    first, dot, rest = own.partition(".")
    return ALIASES.get(first, first) + dot + rest


class _Metadata(Distribution):
    def read_text(self, filename: str) -> str | None:
        """Return what would be a file of an installed package."""
        return {
            "METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\nSummary: rewind.wandb\n",
            "top_level.txt": f"{NAME}\n",
        }.get(filename)

    def locate_file(self, path: Any) -> Any:
        """Return where a file of it is: there is none."""
        raise FileNotFoundError(path)

    @property
    def files(self) -> Iterable[Any] | None:  # type: ignore[override]
        """None: there is no list of them."""
        return None


_FINDER = _Finder()
