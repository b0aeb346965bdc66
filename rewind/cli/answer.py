"""The answer that a verb gives, and the errors it ends with where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .exit_codes import OK


@dataclass(frozen=True)
class Answer:
    """What a verb found: for programs, for people, and as an exit code. A "verb" among the facts is another one's.

    `pieces` are written in place of both, as they are: data, which may not fit in memory.
    """

    facts: Mapping[str, Any]
    text: str
    code: int = OK
    pieces: Iterable[str] | None = None


class NotFound(Exception):
    """An answer that is no error of the caller: there is no such thing in this run."""


class UsageError(Exception):
    """Arguments that make no sense, or not together."""
