"""Sweeps in the folder of a tracker: a file that says what is to be tried, and one for each trial that was begun.

::

    .rewind/sweeps/ID/sweep.json       config, project, seed, state
    .rewind/sweeps/ID/trials/7         made by the agent that began trial 7, which no other then begins
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from ...errors import ArgumentTypeError, IgnoredWarning, StoreError, SweepNotFoundError
from ...storage.files import write_file
from ...tracker.config import from_file
from ...tracker.moment import id_problem, new_run_id
from ...tracker.store.database import Store, folder_of
from .space import check_space, n_trials, trial_params

_FOLDER, _FILE, _TRIALS = "sweeps", "sweep.json", "trials"
#: What is there to say to a server, or to a method that is not there.
_IGNORED = ("early_terminate", "launch", "controller")


class SweepFolder:
    """A sweep in the folder of a tracker.

    Parameters
    ----------
    folder : str
        Of the tracker.
    sweep_id : str

    Raises
    ------
    SweepNotFoundError
        If there is none; names those there are.
    """

    def __init__(self, folder: str, sweep_id: str) -> None:
        self.folder, self.id = folder, sweep_id
        self._path = os.path.join(folder, _FOLDER, sweep_id)
        try:
            if id_problem(sweep_id):
                raise FileNotFoundError
            with open(os.path.join(self._path, _FILE), encoding="utf-8") as file:
                self.facts: dict[str, Any] = json.load(file)
        except FileNotFoundError:
            raise SweepNotFoundError(sweep_id, folder, sweep_ids(folder)) from None
        except (OSError, ValueError) as error:
            raise StoreError("read", self._path, str(error)) from None

    @property
    def config(self) -> dict[str, Any]:
        """What `sweep` was given."""
        return dict(self.facts["config"])

    def begin_trial(self) -> tuple[int, dict[str, Any]] | None:
        """Return number and parameters of a trial that nobody has begun; None where there is none left."""
        last, n = n_trials(self.config), self.n_begun()
        while last is None or n < last:
            try:
                os.close(os.open(os.path.join(self._path, _TRIALS, str(n)), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            except FileExistsError:  # another agent has begun it
                n += 1
                continue
            except OSError as error:
                raise StoreError("write", self._path, error.strerror or str(error)) from None
            return n, trial_params(self.config, self.facts["seed"], n)
        return None

    def n_begun(self) -> int:
        """Return how many trials were begun."""
        return len(os.listdir(os.path.join(self._path, _TRIALS)))

    @property
    def state(self) -> str:
        """``FINISHED`` if no trial is left or it was stopped, else ``RUNNING``; ``PENDING`` before the first one."""
        last, begun = n_trials(self.config), self.n_begun()
        if self.facts.get("stopped") or (last is not None and begun >= last):
            return "FINISHED"
        return "RUNNING" if begun else "PENDING"

    def stop(self) -> None:
        """Begin no more trials."""
        self.facts["stopped"] = True
        _write(self._path, self.facts)


def sweep_ids(folder: str) -> list[str]:
    """Return the ids of all sweeps in a folder, the first one first."""
    at = os.path.join(folder, _FOLDER)
    found = os.listdir(at) if os.path.isdir(at) else []
    return sorted(found, key=lambda one: os.path.getmtime(os.path.join(at, one, _FILE)))


def sweep(
    sweep: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | str | os.PathLike[str],
    entity: str | None = None,
    project: str | None = None,
    prior_runs: Any = None,
) -> str:
    """Write down a sweep, for `agent` to try.

    Parameters
    ----------
    sweep : dict, callable or str
        Its config: ``method`` (``grid`` or ``random``), ``parameters``, ``metric``, ``name``, ``run_cap``, ``program``,
        ``seed``; or the name of a YAML or JSON file with it.
    entity, project : str, optional
        Labels of its runs.
    prior_runs
        Is ignored: no method here learns from runs.

    Returns
    -------
    sweep_id : str

    Raises
    ------
    UnknownSweepMethodError
        If the method is another one, such as ``bayes``.
    ArgumentError, ArgumentTypeError
        If a parameter cannot be tried; names it.

    Notes
    -----
    The parameters of a trial depend on the config, its ``seed`` (default: one made of the config) and the number of the
    trial: the same sweep is the same trials.
    """
    given: Any = sweep() if callable(sweep) else sweep
    if isinstance(given, (str, os.PathLike)):
        given = from_file(os.fspath(given))
    if not isinstance(given, Mapping):
        raise ArgumentTypeError("sweep", given, "a dict with 'method' and 'parameters'")
    config = json.loads(json.dumps(given, default=_plain))
    check_space(config)
    ignored = [name for name in _IGNORED if config.get(name)] + (["prior_runs"] if prior_runs else [])
    if ignored:
        import warnings

        warnings.warn(IgnoredWarning("sweep", ignored), stacklevel=2)
    seed = config.get("seed")
    if type(seed) is not int or seed < 0:
        text = json.dumps(config, sort_keys=True)
        seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    folder, sweep_id = folder_of(None), new_run_id()
    Store(folder, write=True).close()
    path = os.path.join(folder, _FOLDER, sweep_id)
    project = project or config.get("project") or os.environ.get("WANDB_PROJECT")
    entity = entity or config.get("entity") or os.environ.get("WANDB_ENTITY")
    facts = {"config": config, "project": project, "entity": entity, "seed": seed, "began": time.time()}
    try:
        os.makedirs(os.path.join(path, _TRIALS))
    except OSError as error:
        raise StoreError("write", path, error.strerror or str(error)) from None
    _write(path, facts)
    return sweep_id


def _write(path: str, facts: Mapping[str, Any]) -> None:
    write_file(os.path.join(path, _FILE), json.dumps(facts, indent=1).encode())


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (set, frozenset, range)):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise ArgumentTypeError("a value of a sweep", value, "a number, text, True, False, None, or a list or dict of them")
