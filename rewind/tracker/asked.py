"""What `init` is asked for: its arguments, checked, and what the environment says where they say nothing."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from ..errors import ArgumentError, ArgumentTypeError, IgnoredWarning
from ..state.columns import is_text
from .config import from_file, plain_dict
from .moment import Moment, run_id_of
from .store.database import folder_of

Resume = Literal["allow", "must", "never", "auto"] | bool | None
Mode = Literal["online", "offline", "disabled", "shared", "dryrun", "run"]
Reinit = Literal["default", "return_previous", "finish_previous", "create_new"] | bool
OnDropped = Literal["warn", "raise"]

_RESUME = ("allow", "must", "never", "auto", True, False, None)
_MODES = ("online", "offline", "disabled", "shared", "dryrun", "run")
_REINIT = ("default", "return_previous", "finish_previous", "create_new", True, False, None)
#: Keywords by the name that they have in W&B's settings, and in the environment after ``REWIND_`` or ``WANDB_``.
_ELSEWHERE = {
    "project": ("project", "PROJECT"),
    "entity": ("entity", "ENTITY"),
    "id": ("run_id", "RUN_ID"),
    "name": ("run_name", "NAME"),
    "notes": ("run_notes", "NOTES"),
    "tags": ("run_tags", "TAGS"),
    "group": ("run_group", "RUN_GROUP"),
    "job_type": ("run_job_type", "JOB_TYPE"),
    "dir": ("root_dir", ""),
    "mode": ("mode", "MODE"),
    "resume": ("resume", "RESUME"),
    "resume_from": ("resume_from", ""),
    "fork_from": ("fork_from", ""),
    "reinit": ("reinit", ""),
    "save_code": ("save_code", "SAVE_CODE"),
}
_FALSE = ("", "0", "false", "no", "off")
#: What says which run is meant; see `Asked.is_bare`.
_SPECIFIC = ("id", "name", "config", "tags", "notes", "group", "job_type", "resume", "resume_from", "fork_from")


@dataclass(frozen=True)
class Asked:
    """What a user asked for, checked.

    Attributes
    ----------
    labels : dict of str to str
        Group and job type, as far as they are given.
    is_bare : bool
        Whether no argument says which run is meant, or anything of a new one.
    requeued : bool
        Whether a rewind begins the run where there is none.
    """

    project: str | None
    entity: str | None
    id: str | None
    name: str | None
    notes: str | None
    tags: list[str] | None
    config: dict[str, Any]
    labels: dict[str, str]
    folder: str
    disabled: bool
    resume: Resume
    resume_from: str | Moment | None
    fork_from: str | Moment | None
    reinit: Reinit | None
    save_code: bool | None
    on_dropped: OnDropped
    capture: bool
    seconds: float | None
    follow_tensorboard: bool
    is_bare: bool
    requeued: bool


def asked_for(given: Mapping[str, Any], holds: bool = False) -> Asked:
    """Return what is asked for by the arguments of `init`, by name, and by the environment.

    With `holds` its ``dir`` is the folder that holds the tracker's, as for W&B's client.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If arguments are invalid, or exclude each other.

    Warns
    -----
    IgnoredWarning
        Of arguments that are about a server.
    """
    is_bare = not any(given[name] not in (None, "", False) for name in _SPECIFIC if name != "config")
    is_bare = is_bare and given["config"] is None
    found = {**given, **_from_elsewhere(given)}
    ways = [name for name in ("resume", "resume_from", "fork_from") if found[name] not in (None, False)]
    requeued = ways == ["resume", "resume_from"] and found["resume"] == "allow"
    if len(ways) > 1 and not requeued:
        advice = "resume goes on at the end of a run, resume_from at a step of it, fork_from makes a new run"
        raise ArgumentError(ways[1], found[ways[1]], f"no {ways[0]} as well", advice)
    resume: Any = found["resume"]
    mode, reinit = found["mode"], found["reinit"]
    if not isinstance(resume, (str, bool, type(None))) or resume not in _RESUME:
        raise ArgumentError("resume", resume, "'allow', 'must', 'never' or 'auto'")
    if mode is not None and mode not in _MODES:
        raise ArgumentError("mode", mode, "'online', 'offline' or 'disabled'")
    if not isinstance(reinit, (str, bool, type(None))) or reinit not in _REINIT:
        raise ArgumentError("reinit", reinit, f"True, False or one of {', '.join(map(repr, _REINIT[:4]))}")
    if not isinstance(found["capture"], bool):
        raise ArgumentTypeError("capture", found["capture"], "True or False")
    if found["save_code"] not in (True, False, None):
        raise ArgumentTypeError("save_code", found["save_code"], "True or False")
    if found["on_dropped"] not in ("warn", "raise"):
        raise ArgumentError("on_dropped", found["on_dropped"], "'warn' or 'raise'")
    ignored = [name for name in ("anonymous", "force", "monitor_gym") if given[name]]
    if ignored:
        warnings.warn(IgnoredWarning("init", ignored), stacklevel=3)
    labels = {name: label_of(name, found[name]) for name in ("group", "job_type")}
    return Asked(
        project=label_of("project", found["project"]),
        entity=label_of("entity", found["entity"]),
        id=None if found["id"] is None else run_id_of(found["id"]),
        name=label_of("name", found["name"]),
        notes=label_of("notes", found["notes"]),
        tags=tags_of(found["tags"]),
        config=_config(found["config"], found["config_include_keys"], found["config_exclude_keys"]),
        labels={name: text for name, text in labels.items() if text},
        folder=folder_of(found["dir"], holds),
        disabled=mode == "disabled",
        resume=cast("Resume", resume),
        resume_from=found["resume_from"],
        fork_from=found["fork_from"],
        reinit=cast("Reinit | None", reinit),
        save_code=found["save_code"],
        on_dropped=found["on_dropped"],
        capture=found["capture"],
        seconds=_seconds(found["system_metrics"]),
        follow_tensorboard=bool(found["sync_tensorboard"] or found["tensorboard"]),
        is_bare=is_bare,
        requeued=requeued,
    )


def in_notebook() -> bool:
    """Whether this is a notebook, where a cell may run again and again."""
    shell = sys.modules.get("IPython")
    found = None if shell is None else getattr(shell, "get_ipython", lambda: None)()
    return found is not None and hasattr(found, "kernel")


def _from_elsewhere(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what settings or the environment say of keywords that are not given."""
    settings = given["settings"]
    fields = settings if isinstance(settings, Mapping) else getattr(settings, "__dict__", {})
    found: dict[str, Any] = {}
    goes_on = any(given[name] not in (None, False) for name in ("resume", "resume_from", "fork_from"))
    for name, (setting, variable) in _ELSEWHERE.items():
        if given[name] not in (None, ""):
            continue
        if fields.get(setting) is not None:
            found[name] = fields[setting]
        elif variable and not (goes_on and (name == "resume" or (name == "id" and given["resume"] is None))):
            text = os.environ.get(f"REWIND_{variable}") or os.environ.get(f"WANDB_{variable}")
            if text:
                found[name] = _of_text(name, text)
    return found


def _of_text(name: str, text: str) -> Any:
    if name == "tags":
        return [tag.strip() for tag in text.split(",") if tag.strip()]
    if name == "save_code":
        return text.lower() not in _FALSE
    if name == "resume" and text.lower() in ("true", "1", *_FALSE):
        return text.lower() in ("true", "1")
    return text


def _config(config: Any, include: Any, exclude: Any) -> dict[str, Any]:
    if isinstance(config, (str, os.PathLike)):
        config = from_file(os.fspath(config))
    values = plain_dict(config)
    if include:
        values = {key: value for key, value in values.items() if key in include}
    return {key: value for key, value in values.items() if key not in exclude} if exclude else values


def label_of(name: str, value: Any) -> str | None:
    """Return a label that was given, checked.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        If it is no text.
    """
    if value is not None and not isinstance(value, str):
        raise ArgumentTypeError(name, value, "a str")
    if value is not None and not is_text(value):
        raise ArgumentError(name, value, "text without half a surrogate pair")
    return value


def tags_of(tags: Any) -> list[str] | None:
    """Return tags that were given, each once.

    Raises
    ------
    ArgumentTypeError
        If they are no sequence of text.
    """
    if tags is None:
        return None
    try:
        found = list(dict.fromkeys(tags if not isinstance(tags, (str, Mapping)) else [None]))
    except TypeError:  # it cannot be iterated over, or holds a list
        found = [None]
    if not all(isinstance(tag, str) for tag in found):
        raise ArgumentTypeError("tags", tags, "a list of str, such as ['baseline']")
    return found


def _seconds(value: Any) -> float | None:
    """Return the seconds between two samples, None for no samples."""
    if value is None or isinstance(value, bool):
        return 15.0 if value else None
    if not isinstance(value, (int, float)):
        raise ArgumentTypeError("system_metrics", value, "True, False or a number of seconds")
    if not 0.0 < value < 1e6:
        raise ArgumentError("system_metrics", value, "True, False or a number of seconds above 0")
    return float(value)
