"""The calls of a program: `init`, `log`, `finish` and what else is about the latest run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..steps.importing import ends_import
from ..tracker import active
from ..tracker.asked import Mode, OnDropped, Reinit, Resume, asked_for
from ..tracker.init import begin
from ..tracker.moment import Moment
from .data_types.convert import register
from .settings import Settings
from .sweeps.agent import begin_trial
from .wandb_run import Run, RunDisabled

register()  # figures and DataFrames can be logged from here on


def init(
    entity: str | None = None,
    project: str | None = None,
    dir: str | os.PathLike[str] | None = None,
    id: str | None = None,
    name: str | None = None,
    notes: str | None = None,
    tags: Sequence[str] | None = None,
    config: Any = None,
    config_exclude_keys: Sequence[str] | None = None,
    config_include_keys: Sequence[str] | None = None,
    allow_val_change: bool | None = None,
    group: str | None = None,
    job_type: str | None = None,
    mode: Mode | None = None,
    force: bool | None = None,
    reinit: Reinit | None = None,
    resume: Resume = None,
    resume_from: str | Moment | None = None,
    fork_from: str | Moment | None = None,
    save_code: bool | None = None,
    tensorboard: bool | None = None,
    sync_tensorboard: bool | None = None,
    monitor_gym: bool | None = None,
    settings: Any = None,
    anonymous: Any = None,
    *,
    magic: Any = None,
    on_dropped: OnDropped = "warn",
    capture: bool = False,
    system_metrics: bool | float = False,
) -> Run:
    """Begin a run, go on with one, rewind one or fork one: `rewind.init` with the arguments in W&B's order.

    Where a run of this process is open, that is returned, or in a notebook finished first, whatever else the call says;
    `reinit` says otherwise, as for `rewind.init`.

    Parameters
    ----------
    entity, project, dir, id, name, notes, tags, config, group, job_type, mode, reinit
        As for `rewind.init`.
    config_exclude_keys, config_include_keys, allow_val_change, save_code, settings
        As for `rewind.init`.
    resume, resume_from, fork_from, on_dropped, capture, system_metrics
        As for `rewind.init`.
    sync_tensorboard, tensorboard
        As for `rewind.init`.
    force, monitor_gym, anonymous
        As for `rewind.init`: an `IgnoredWarning` names those that are given.
    magic
        Has no effect.

    Returns
    -------
    run : Run
    """
    given = {**locals(), "reinit": "default" if reinit is None else reinit}
    ends_import("init")
    return begin_trial(asked_for(given, holds=True), lambda asked: begin(Run, RunDisabled, asked))


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None, sync: bool | None = None) -> None:
    """Log to the latest run: see `Run.log`."""
    ends_import("log")
    active.latest("log()")._log(data, step, commit, 2)


def finish(exit_code: int | None = None, quiet: bool | None = None) -> None:
    """Finish the latest run that is open, if there is one: see `Run.finish`."""
    active.finish(exit_code or 0)


join = finish


def define_metric(name: str, *args: Any, **options: Any) -> None:
    """Define a metric of the latest run: see `TrackedRun.define_metric`."""
    active.latest("define_metric()").define_metric(name, *args, **options)


def login(key: str | None = None, *args: Any, **options: Any) -> bool:
    """Return True: there is nobody to log in with, and nothing to keep a key for."""
    return True


def setup(settings: Any = None) -> Settings:
    """Return settings: there is nothing to set up."""
    return settings if isinstance(settings, Settings) else Settings()


def teardown(exit_code: int | None = None) -> None:
    """Finish all runs of this process."""
    for run in active.open_runs():
        if run.is_here:
            run.finish(exit_code or 0)


def require(*features: Any, **options: Any) -> None:
    """Do nothing: all features that are there need not be asked for."""


def ensure_configured() -> None:
    """Do nothing: there is nothing to configure."""


def attach(run_id: str | None = None, *args: Any, **options: Any) -> Any:
    """Return the open run of an id in this process.

    Raises
    ------
    NoRunError
        If there is none.
    """
    for run in active.open_runs():
        if run.is_here and run_id in (None, run.id):
            return run
    return active.latest("attach()")


def _of_latest(name: str) -> Any:
    """Return a function that calls a method of the latest run."""

    def call(*args: Any, **options: Any) -> Any:
        return getattr(active.latest(f"{name}()"), name)(*args, **options)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"Call `Run.{name}` of the latest run."
    return call


alert = _of_latest("alert")
link_artifact = _of_latest("link_artifact")
link_model = _of_latest("link_model")
log_artifact = _of_latest("log_artifact")
log_code = _of_latest("log_code")
log_model = _of_latest("log_model")
mark_preempting = _of_latest("mark_preempting")
save = _of_latest("save")
unwatch = _of_latest("unwatch")
use_artifact = _of_latest("use_artifact")
use_model = _of_latest("use_model")
watch = _of_latest("watch")


def restore(
    name: str, run_path: str | None = None, replace: bool = False, root: str | os.PathLike[str] | None = None
) -> Any:
    """Return a file that a run has kept, opened for reading: see `Run.restore`."""
    return active.latest("restore()").restore(name, run_path, replace, root)  # type: ignore[attr-defined]
