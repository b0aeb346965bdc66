"""`agent`: try what a sweep says, run by run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ...errors import ArgumentError
from ...tracker import active
from ...tracker.asked import Asked
from ...tracker.config import plain_dict
from ...tracker.run import TrackedRun
from ...tracker.store.database import folder_of
from ..settings import termerror, termlog
from .store import SweepFolder

#: What a program that an agent starts is told of its trial.
VARIABLE = "REWIND_TRIAL"
_MOST_FAILURES = 3  # of the first trials, when all of them fail
_Run = TypeVar("_Run", bound=TrackedRun)


@dataclass(frozen=True)
class Trial:
    """What a run of a sweep is given.

    Attributes
    ----------
    params : dict
        Which its config has, whatever else it is given.
    """

    sweep: str
    number: int
    params: dict[str, Any]
    project: str | None
    entity: str | None


_TRIAL: Trial | None = None


def trial() -> Trial | None:
    """Return the trial that this program is one of, if it is: `init` takes its parameters."""
    if _TRIAL is not None:
        return _TRIAL
    text = os.environ.get(VARIABLE)
    return Trial(**json.loads(text)) if text else None


def begin_trial(asked: Asked, begin: Callable[[Asked], _Run]) -> _Run:
    """Begin a run as what is asked for; in a trial of a sweep with its parameters, which stay as they are."""
    one = trial()
    if one is None:
        return begin(asked)
    labels = {**asked.labels, "sweep": one.sweep}
    config = {**asked.config, **plain_dict(one.params)}
    project, entity = asked.project or one.project, asked.entity or one.entity
    run = begin(replace(asked, config=config, labels=labels, project=project, entity=entity))
    run.config.lock(one.params)
    return run


@contextmanager
def _as_trial(one: Trial) -> Iterator[None]:
    global _TRIAL
    before, _TRIAL = _TRIAL, one
    try:
        yield
    finally:
        _TRIAL = before


def agent(
    sweep_id: str,
    function: Callable[[], object] | None = None,
    entity: str | None = None,
    project: str | None = None,
    count: int | None = None,
    **options: Any,
) -> None:
    """Try what a sweep says, one trial after another: several agents, in several processes, share the trials.

    Parameters
    ----------
    sweep_id : str
        What `sweep` returned, also after ``ENTITY/PROJECT/``.
    function : callable, optional
        Called for each trial: the `init` in it gets the parameters as config, which `config.update` leaves as they are.
        Default: the ``program`` of the sweep is started, with the parameters as its arguments, too.
    entity, project : str, optional
        Labels, where the sweep has none.
    count : int, optional
        How many trials. Default: until none is left.

    Raises
    ------
    SweepNotFoundError
        If there is no such sweep.
    ArgumentError
        If there is neither a function nor a program.

    Notes
    -----
    A trial that raises is a run that failed, and the next one is tried; if the first three fail, that is raised.
    """
    found = SweepFolder(folder_of(None), str(sweep_id).rpartition("/")[2])
    if function is None and not found.config.get("program"):
        raise ArgumentError("function", None, "a function, as the sweep has no program")
    done = failed = 0
    while (count is None or done < count) and not found.facts.get("stopped"):
        begun = found.begin_trial()
        if begun is None:
            return
        labels = found.facts.get("project") or project, found.facts.get("entity") or entity
        one = Trial(found.id, begun[0], begun[1], *labels)
        termlog(f"sweep {found.id}, trial {one.number}: {json.dumps(one.params)}")
        error = _call(function, one) if function is not None else _start(found, one)
        done, failed = done + 1, failed + (error is not None)
        if error is not None:
            termerror(f"trial {one.number} of sweep {found.id} failed: {type(error).__name__}: {error}")
            if failed == done == _MOST_FAILURES:
                raise error


def _call(function: Callable[[], object], one: Trial) -> Exception | None:
    """Call a function for a trial, finish its runs, and return what it raised."""
    before = active.open_runs()
    error: Exception | None = None
    with _as_trial(one):
        try:
            function()
        except Exception as raised:
            traceback.print_exc()
            error = raised
        finally:
            ended = sys.exc_info()[0] is not None  # by Ctrl-C, or SystemExit
            for run in active.open_runs():
                if run.is_here and run not in before:
                    run.finish(1 if ended or error is not None else 0)
    return error


def _start(found: SweepFolder, one: Trial) -> Exception | None:
    """Start the program of a sweep for a trial."""
    environment = {**os.environ, VARIABLE: json.dumps(vars(one)), "REWIND_SWEEP_ID": one.sweep}
    environment |= {"REWIND_AS_WANDB": "1", "REWIND_DIR": found.folder}
    try:
        subprocess.run(command(found.config, one.params), env=environment, check=True)
    except (subprocess.CalledProcessError, OSError) as error:
        return error
    return None


def command(config: dict[str, Any], params: dict[str, Any]) -> list[str]:
    """Return the command of a trial: ``python PROGRAM --lr=0.1 ...``, or what the sweep's ``command`` says."""
    flags = {name: value for name, value in params.items() if value is not None}
    words: dict[str, list[str]] = {
        "${env}": [],
        "${interpreter}": [sys.executable],
        "${program}": [str(config.get("program"))],
        "${args}": [f"--{name}={_text(value)}" for name, value in flags.items()],
        "${args_no_hyphens}": [f"{name}={_text(value)}" for name, value in flags.items()],
        "${args_no_boolean_flags}": [
            f"--{name}" if value is True else f"--{name}={_text(value)}"
            for name, value in flags.items()
            if value is not False
        ],
        "${args_json}": [json.dumps(params)],
    }
    default = ["${env}", "${interpreter}", "${program}", "${args}"]
    return [word for part in config.get("command") or default for word in words.get(str(part), [str(part)])]


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)
