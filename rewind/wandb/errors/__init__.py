"""The errors that programs written for W&B catch, by their names there: each is one of rewind's."""

from __future__ import annotations

from types import ModuleType

from ...errors import ConfigError as ConfigError
from ...errors import RewindError, TrackerError
from ..surface import MODULES, virtual_module

#: All that this package raises on its own account.
Error = RewindError
#: A call that is wrong in itself, such as one to a finished run: any of them.
UsageError = RewindError
#: What is not there or cannot be reached; here, of what is in the folder.
CommError = TrackerError


def __getattr__(name: str) -> ModuleType:
    if f"errors.{name}" in MODULES:
        return virtual_module(f"errors.{name}")
    raise AttributeError(f"rewind.wandb has no errors.{name}: docs/from-wandb.md lists what there is of W&B's names")
