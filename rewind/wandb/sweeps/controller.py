"""`controller`: what a program of W&B asks for to follow a sweep."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ...tracker.store.database import folder_of
from ..settings import termlog
from .store import SweepFolder, sweep


class Controller:
    """A sweep, as `controller` gives it: the trials follow from its config, so there is nothing to control.

    Attributes
    ----------
    sweep_id : str
    """

    def __init__(self, folder: str, sweep_id: str) -> None:
        self._sweep = SweepFolder(folder, sweep_id)
        self.sweep_id = sweep_id

    @property
    def sweep_config(self) -> dict[str, Any]:
        """Its config."""
        return self._sweep.config

    def create(self, from_dict: Mapping[str, Any] | None = None) -> str:
        """Return its id: it is written down already."""
        return self.sweep_id

    def done(self) -> bool:
        """Whether no trial is left to begin."""
        return self._sweep.state == "FINISHED"

    def step(self) -> None:
        """Do nothing: an agent knows the next trial by itself."""

    def run(self, verbose: bool = False, print_status: bool = True, **options: Any) -> None:
        """Return at once: an agent knows the next trial by itself."""
        if print_status:
            self.print_status()

    def print_status(self) -> None:
        """Say how many trials were begun."""
        termlog(f"sweep {self.sweep_id}: {self._sweep.state.lower()}, {self._sweep.n_begun()} trials begun")


def controller(
    sweep_id_or_config: str | Mapping[str, Any] | None = None, entity: str | None = None, project: str | None = None
) -> Controller:
    """Return the controller of a sweep: of one that is there, by its id, or of a new one, by its config."""
    if isinstance(sweep_id_or_config, Mapping) or os.path.isfile(str(sweep_id_or_config)):
        found = sweep(sweep_id_or_config, entity, project)  # type: ignore[arg-type]
    else:
        found = str(sweep_id_or_config).rpartition("/")[2]
    return Controller(folder_of(None), found)
