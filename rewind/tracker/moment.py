"""Moments ``run_id?_step=200`` and ids of runs, as text."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Any

from ..errors import ArgumentError, ArgumentTypeError, MomentError, show

#: What no id holds: the characters of a moment, of a path, and of an artifact's version.
FORBIDDEN = ":;,#?/@'"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_MOMENT = re.compile(r"(?P<id>[^?@]*)(?:@(?P<revision>[^?]*))?\?(?P<query>.*)", re.DOTALL)
_STEP = re.compile(r"-1|[0-9]{1,19}")


@dataclass(frozen=True)
class Moment:
    """A step of a run: what was logged up to it is kept, and logging goes on after it.

    Attributes
    ----------
    run_id : str
    step : int
        The last step that is kept; -1 for the place before the first row.
    revision : int or None
        None is the one that is current.
    """

    run_id: str
    step: int
    revision: int | None = None

    @classmethod
    def parse(cls, text: Any) -> Moment:
        """Return the moment that `text` is.

        Raises
        ------
        MomentError
            If it is none; it says what is wrong with it.
        """
        if isinstance(text, Moment):
            return text
        if not isinstance(text, str):
            raise MomentError(text, f"it is no text but {type(text).__name__}")
        found = _MOMENT.fullmatch(text)
        if found is None:
            raise MomentError(text, "it has no '?_step='")
        run_id, revision, query = found["id"], found["revision"], found["query"]
        problem = id_problem(run_id)
        if problem:
            raise MomentError(text, f"the run id {problem}")
        if revision is not None and not re.fullmatch(r"[1-9][0-9]{0,8}", revision):
            raise MomentError(text, f"{show(revision)} is no revision, which is a number from 1 on")
        if "&" in query:
            raise MomentError(text, "there is more than one condition")
        name, equals, value = query.partition("=")
        if name != "_step" or not equals:
            raise MomentError(text, f"{show(name)} is no place to rewind to, only _step is: it never goes back")
        if not _STEP.fullmatch(value):
            raise MomentError(text, f"{show(value)} is no step in plain digits, or -1 for before the first row")
        return cls(run_id, int(value), None if revision is None else int(revision))

    def __str__(self) -> str:
        return f"{self.run_id}{'' if self.revision is None else f'@{self.revision}'}?_step={self.step}"


def asked_metric(text: str) -> tuple[str, str, str] | None:
    """Return run, metric and value of text that would be a moment if the metric were ``_step``; None for any other."""
    found = re.fullmatch(r"([^?@]*)(?:@[0-9]+)?\?([^=&?]+)=([^=&?]*)", text)
    return None if found is None or found[2] == "_step" else (found[1], found[2], found[3])


def reference(text: Any) -> tuple[str, int | None]:
    """Return run id and revision of ``ID`` or ``ID@REV``.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        If it is neither.
    """
    if not isinstance(text, str):
        raise ArgumentTypeError("the run", text, "a run id such as 'k3f9', or 'k3f9@1' for its revision 1")
    run_id, at, revision = text.partition("@")
    if id_problem(run_id) or (at and not re.fullmatch(r"[1-9][0-9]{0,8}", revision)):
        raise ArgumentError("the run", text, "a run id such as 'k3f9', or 'k3f9@1' for its revision 1")
    return run_id, int(revision) if at else None


def id_problem(run_id: str) -> str:
    """Return what is wrong with a run id, empty for a good one."""
    if not run_id:
        return "is empty"
    if run_id != run_id.strip():
        return "begins or ends with a blank"
    if any(c in FORBIDDEN for c in run_id):
        return f"holds one of {FORBIDDEN}"
    if not run_id.isprintable():
        return "holds a character that cannot be shown"
    if len(run_id) > 128 or run_id in (".", ".."):
        return "is no name of at most 128 characters"
    try:
        run_id.encode()
    except UnicodeEncodeError:
        return "holds half a surrogate pair"
    return ""


def run_id_of(value: Any) -> str:
    """Return a run id that was given.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        If it is none.
    """
    if not isinstance(value, str):
        raise ArgumentTypeError("id", value, "a str")
    problem = id_problem(value)
    if problem:
        raise ArgumentError("id", value, f"a run id; this one {problem}")
    return value


def require_new_id(run_id: str) -> None:
    """Refuse an id for a new run that a command would take for an option; runs of earlier versions may have one.

    Raises
    ------
    ArgumentError
    """
    if run_id.startswith("-"):
        raise ArgumentError("id", run_id, "a run id; this one begins with -, and would be an option of a command")


def new_run_id() -> str:
    """Return an id nobody has: 8 characters of base 36."""
    number = secrets.randbelow(36**8)
    return "".join(_DIGITS[number // 36**i % 36] for i in range(8))
