"""The run that this process logs to: the latest that was opened."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import NoRunError
from ..steps.importing import ends_import
from .exits import ending, watch
from .store import writer

if TYPE_CHECKING:
    from .run import TrackedRun

_RUNS: list[TrackedRun] = []  # those that are open, and the latest
_WORKER = -1  # the process that has been seen to


def make_latest(run: TrackedRun) -> None:
    """Make a run the one that `log` and `finish` are about."""
    _RUNS[:] = [one for one in _RUNS if not one.finished]
    _RUNS.append(run)
    watch(run)
    _finish_in_worker()


def _finish_in_worker() -> None:
    """See to it that a worker of multiprocessing finishes its runs: what is registered with atexit is not run there."""
    global _WORKER
    util = sys.modules.get("multiprocessing.util")
    if util is None or _WORKER == os.getpid():
        return
    from multiprocessing import parent_process

    if parent_process() is not None:
        _WORKER = os.getpid()
        util.Finalize(None, _finish_all, exitpriority=0)


def open_runs() -> list[TrackedRun]:
    """Return the runs of this process that are not finished."""
    return [run for run in _RUNS if not run.finished]


def open_run() -> TrackedRun | None:
    """Return the latest run that this process opened and has not finished; None where there is none."""
    return next((run for run in reversed(_RUNS) if run.is_here and not run.finished), None)


def latest(call: str) -> TrackedRun:
    """Return the latest run.

    Raises
    ------
    NoRunError
        If there was none.
    """
    if not _RUNS:
        raise NoRunError(call)
    return _RUNS[-1]


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
    """Log to the latest run.

    Parameters
    ----------
    data, step, commit
        As for `TrackedRun.log`.

    Raises
    ------
    NoRunError
        If `init` was not called in this process.
    """
    ends_import("log")
    latest("log()")._log(data, step, commit, 2)


def finish(exit_code: int = 0) -> None:
    """Finish the latest run that is open, if there is one.

    Parameters
    ----------
    exit_code : int
        As for `TrackedRun.finish`.
    """
    run = open_run()
    if run is not None:
        run.finish(exit_code)


def define_metric(name: str, **options: Any) -> None:
    """Define a metric of the latest run: see `TrackedRun.define_metric`."""
    latest("define_metric()").define_metric(name, **options)


def _finish_all() -> None:
    """Finish what the program left open, with the exit code that it ends with, and a line that says why."""
    code, text = ending()
    with contextlib.ExitStack() as all_of_them:  # an error of one keeps none of the others from being finished
        for run in open_runs():
            if run.is_here:
                all_of_them.callback(run.finish, code)
                if text and not run._in_vain:  # of a revision that is taken back there is nothing to say
                    all_of_them.callback(run.log_line, text)


def _forget_after_fork() -> None:
    writer.forget_after_fork()


atexit.register(_finish_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
