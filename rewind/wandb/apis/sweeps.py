"""Sweeps as `Api` gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...tracker.revision import Revision
from ...tracker.tracker import Tracker
from ..sweeps.space import n_trials
from ..sweeps.store import SweepFolder, sweep_ids
from .filters import value_of

#: Makes runs, as `Api` gives them, of what there is, a filter and an order.
MakeRuns = Callable[[Sequence[Revision], Any, "str | None"], Any]


class Sweep:
    """A sweep.

    Parameters
    ----------
    folder : str
        Of the tracker.
    sweep_id : str
    make_runs : callable

    Raises
    ------
    SweepNotFoundError
        If there is none.
    """

    def __init__(self, folder: str, sweep_id: str, make_runs: MakeRuns) -> None:
        self._folder, self._sweep, self._make_runs = folder, SweepFolder(folder, sweep_id), make_runs

    @classmethod
    def all(cls, folder: str, make_runs: MakeRuns) -> list[Sweep]:
        """Return all sweeps of a folder, the first one first."""
        return [cls(folder, sweep_id, make_runs) for sweep_id in sweep_ids(folder)]

    @property
    def id(self) -> str:
        """Its id."""
        return self._sweep.id

    @property
    def name(self) -> str:
        """What its config says, else its id."""
        return str(self.config.get("name") or self.id)

    display_name = name

    @property
    def config(self) -> dict[str, Any]:
        """What `sweep` was given."""
        return self._sweep.config

    @property
    def state(self) -> str:
        """``PENDING``, ``RUNNING`` or ``FINISHED``: whether there are trials left to begin."""
        return self._sweep.state

    @property
    def project(self) -> str:
        """A label."""
        return self._sweep.facts.get("project") or ""

    @property
    def entity(self) -> str:
        """A label."""
        return self._sweep.facts.get("entity") or ""

    @property
    def path(self) -> list[str]:
        """Entity, project and id."""
        return [self.entity, self.project, self.id]

    @property
    def url(self) -> str:
        """The folder of the tracker."""
        return "file://" + self._folder

    @property
    def expected_run_count(self) -> int | None:
        """How many trials there are; None for no end."""
        return n_trials(self.config)

    @property
    def order(self) -> str | None:
        """The order of `best_run`: by the config's ``metric``."""
        metric = self.config.get("metric") or {}
        if "name" not in metric:
            return None
        return ("-" if metric.get("goal") == "maximize" else "+") + f"summary_metrics.{metric['name']}"

    @property
    def runs(self) -> Any:
        """Its runs, in the order they were begun."""
        runs = [run for run in Tracker(self._folder).runs() if run.sweep_id == self.id]
        return self._make_runs(runs, None, None)

    def best_run(self, order: str | None = None) -> Any:
        """Return the run with the best value of its metric; of `order`, the first run. None where there is none."""
        order = order or self.order
        runs = list(self.runs)
        if order is None:
            return runs[0] if runs else None
        name = order.lstrip("+-")
        numbers = [run for run in runs if isinstance(value_of(run.fields(), name), (int, float))]
        found = self._make_runs([run._revision for run in numbers], None, order)
        return found[0] if found else None

    def stop(self) -> None:
        """Begin no more trials."""
        self._sweep.stop()

    cancel = stop

    def __repr__(self) -> str:
        return f"<Sweep {self.id} ({self.state})>"
