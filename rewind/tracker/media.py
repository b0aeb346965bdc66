"""Values whose content is files, such as images: a row holds what is known of them, and the files are kept once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Keep(Protocol):
    """Keeps the content of one file for the row that is logged."""

    def __call__(self, key: str, kind: str, content: bytes | str | os.PathLike[str], suffix: str) -> dict[str, Any]:
        """Keep bytes, or the file at a path; return its ``path`` in the run, ``sha256``, ``size`` and ``digest``.

        Parameters
        ----------
        key : str
            The name under which it is logged.
        kind : str
            The folder that it is in, such as ``"images"``.
        content : bytes or path-like
        suffix : str
            The end of its name, such as ``".png"``.
        """


class Media:
    """A value that `TrackedRun.log` takes, and whose content is files."""

    def in_row(self, key: str, keep: Keep) -> dict[str, Any]:
        """Return what the row gets, by name: values that a row can hold, most often one under `key`."""
        raise NotImplementedError

    @classmethod
    def several(cls, key: str, items: Sequence[Any], keep: Keep) -> dict[str, Any]:
        """Return what the row gets of a list of such values."""
        raise NotImplementedError


@dataclass(frozen=True)
class MediaFile:
    """A file that a run logged in a row.

    Attributes
    ----------
    path : str
        Its name in the run, such as ``media/images/cat_d3a67710b6bcc7b5cb13.png``: what the row says.
    step : int
        The step of the row; the first one, where it was logged again.
    size : int
    digest : str
        blake2b of its bytes.
    location : str
        Where the bytes are, to be read and not written to.
    """

    path: str
    step: int
    size: int
    digest: str
    location: str


#: What makes media of values of other libraries: each is asked in turn, and gives None for what it does not know.
CONVERTERS: list[Callable[[Any], Media | None]] = []


def media_of(value: Any) -> Media | list[Media] | None:
    """Return the media that a value is, or that somebody makes of it; a list for a list of one class of them."""
    if not isinstance(value, (list, tuple)):
        return _media_of(value)
    made: list[Media] = []
    for item in value:
        one = _media_of(item)
        if one is None or (made and type(one) is not type(made[0])):
            return None
        made.append(one)
    return made or None


def _media_of(value: Any) -> Media | None:
    if isinstance(value, Media):
        return value
    for convert in CONVERTERS:
        made = convert(value)
        if made is not None:
            return made
    return None
