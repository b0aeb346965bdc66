"""`DisabledRun`: a run that takes what a program logs, and writes nothing."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentTypeError, TrackedArtifactError, TrackerError
from ..runs.record import record
from ..runs.run import Run
from .asked import Asked
from .config import Config
from .draft import Draft
from .exits import forget
from .moment import Moment, new_run_id
from .revision import OPEN, Revision
from .run import TrackedRun
from .store.aggregates import Aggregates, Definitions, step_of, summarize
from .store.configs import stored
from .store.history import Record
from .store.values import flatten, restored
from .summary import Summary

if TYPE_CHECKING:
    from typing_extensions import Self


class DisabledRun(TrackedRun):
    """The run of ``init(mode="disabled")``: it has a config and a summary, in memory, and nothing of it is kept.

    Values that cannot be kept, and rows below the current step, are passed over in silence.
    """

    def __init__(self, asked: Asked) -> None:
        run_id = asked.id or new_run_id()
        config = stored(asked.config, asked.labels)
        nothing = dict.fromkeys(Record.__dataclass_fields__)
        known = {"uid": 0, "run": run_id, "number": 1, "kind": "begun", "parent_step": -1, "state": "running"}
        facts = {"name": asked.name or run_id, "notes": asked.notes, "tags": asked.tags or [], "config": config}
        more = {"defined": Definitions(), "began": time.time(), "pid": os.getpid()}
        found = Record(**{**nothing, **known, **facts, **more})  # type: ignore[arg-type]
        Revision.__init__(self, asked.folder, found, asked.project, asked.entity)
        self._turn = threading.RLock()
        self._config = Config(asked.config, self._keep_config, self._turn)
        self._summary = Summary(self._summary_now, self._assign, lambda values: {})
        self._aggregates, self._definitions = Aggregates(), Definitions()
        self._assigned: dict[str, tuple[int, Any]] = {}
        self._open_row: dict[str, Any] = {}
        self._step, self._finished, self._pid = 0, False, os.getpid()
        self._recorded: Run[Any] | None = None
        OPEN.add(self)

    @classmethod
    def of(cls, asked: Asked) -> Self:
        """Return the run that is asked for."""
        return cls(asked)

    @property
    def step(self) -> int:
        """The step of the open row, or of the next one."""
        return self._step

    @property
    def status(self) -> str:
        """``running``, ``finished`` or ``failed``."""
        return self._record.state

    def _log(self, data: Any, step: Any, commit: bool | None, stacklevel: int) -> None:
        if not isinstance(data, Mapping):
            raise ArgumentTypeError("data", data, "a dict of names to values, such as {'loss': 0.5}")
        kept, _ = flatten(data)
        kept.pop("_step", None)
        with self._turn:
            at = step_of(step)
            if at is not None and at < self._step:
                return
            if at is not None and at > self._step:
                self._close_row()
                self._step = at
            self._open_row |= kept
            if commit or (commit is None and at is None):
                self._close_row()
                self._step += 1

    def _close_row(self) -> None:
        self._aggregates.add([(self._step, self._open_row)])
        self._open_row = {}

    def _summary_now(self) -> dict[str, Any]:
        found = summarize(self._aggregates, self._definitions, self._assigned)
        return {key: restored(value) for key, value in found.items()}

    def _assign(self, key: str, value: Any) -> None:
        self._assigned[key] = (self._step, value)

    def _change(self, **facts: Any) -> None:
        self._record = replace(self._record, **facts)

    def _set(self, **facts: Any) -> None:
        self._change(**facts)

    def _keep_config(self, values: dict[str, Any]) -> None:
        self._change(config=stored(values, self._record.settings[1]))

    def define_metric(self, name: str, *args: Any, **options: Any) -> None:
        """Say what the summary of a metric shows: as `TrackedRun.define_metric`."""
        names = ("step_metric", "step_sync", "summary", "overwrite", "hidden", "goal")
        said = {**dict(zip(names, args, strict=False)), **options}
        self._definitions.define(
            name, said.get("step_metric"), said.get("summary"), said.get("step_sync"), bool(said.get("overwrite"))
        )

    # ---- what leaves no trace

    def flush(self) -> None:
        """Do nothing."""

    def log_line(self, text: str) -> None:
        """Do nothing."""

    def log_artifact(self, path: Any, *args: Any, **options: Any) -> Any:
        """Do nothing; return what was given, if it is an artifact that was being put together, else None."""
        return path if isinstance(path, Draft) else None

    def log_code(self, *args: Any, **options: Any) -> Any:
        """Do nothing."""

    def use_artifact(self, *args: Any, **options: Any) -> Any:
        """Refuse: there is nothing to use.

        Raises
        ------
        TrackedArtifactError
            Always.
        """
        raise TrackedArtifactError("a run of mode='disabled' has no artifacts: nothing is written, and nothing read")

    def backfill(self, *args: Any, **options: Any) -> int:
        """Do nothing; return 0."""
        return 0

    def record(self, step_fn: Any = None, *args: Any, **options: Any) -> Run[Any]:
        """Record a simulation, as `rewind.record`: it is in no file of this run.

        Raises
        ------
        TrackerError
            If it is to go on: there is nothing before it.
        """
        taken = {key: value for key, value in options.items() if key not in ("log_every", "noise", "mutate")}
        if step_fn is None or not (args or "init_state" in options):
            raise TrackerError("a run of mode='disabled' has no simulation to go on with")
        self._recorded = record(step_fn, *args, **taken)
        return self._recorded

    # ---- reading

    @property
    def replay(self) -> Run[Any] | None:
        """What `record` gave last."""
        return self._recorded

    @property
    def state(self) -> Any:
        """The last state of what `record` gave."""
        if self._recorded is None:
            raise TrackerError(f"{self.ref} has no simulation")
        return self._recorded[-1]

    @property
    def last_step(self) -> int:
        """Step of the last row; -1 where there is none."""
        return self._step - 1

    @property
    def lineage(self) -> tuple[Moment, ...]:
        """Empty: it comes from nothing."""
        return ()

    @property
    def revisions(self) -> list[Revision]:
        """It alone."""
        return [self]

    def history(self, *args: Any, **options: Any) -> list[Any]:
        """Return no rows."""
        return []

    def scan_history(self, *args: Any, **options: Any) -> Iterator[dict[str, Any]]:
        """Yield no rows."""
        return iter(())

    def logs(self, min_step: int = 0, max_step: int | None = None) -> list[tuple[int, str, str]]:
        """Return no lines."""
        return []

    def system(self) -> list[dict[str, Any]]:
        """Return no samples."""
        return []

    @property
    def artifacts(self) -> list[Any]:
        """None: nothing is kept."""
        return []

    @property
    def media(self) -> list[Any]:
        """None: nothing is kept."""
        return []

    def verify_history(self) -> int:
        """Return 0: it has no rows."""
        return 0

    # ---- the end

    def finish(self, exit_code: int | None = None) -> None:
        """Finish it; a second call does nothing."""
        if not self._finished:
            self._close_row()
            code = int(exit_code or 0)
            state = "failed" if code else "finished"
            self._record = replace(self._record, state=state, exit_code=code, ended=time.time())
            self._finished = True
        forget(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _disabled, (self.id, self.began)


def _disabled(run_id: str, began: float) -> TrackedRun:
    """Return the disabled run of this process that a pickle means."""
    for run in OPEN:
        if isinstance(run, DisabledRun) and run.is_here and (run.id, run.began) == (run_id, began):
            return run
    raise TrackerError(f"run {run_id!r} was of mode='disabled' in another process: there is nothing of it to read")
