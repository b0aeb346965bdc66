"""What all kinds of media share: one value is an object with a ``_type``, several are its plural."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ...errors import ArgumentError, ArgumentTypeError
from ...storage.files import path_text
from ...tracker.media import Keep, Media

Content = bytes | str


class Value(Media):
    """A value whose row has one object under its name.

    Attributes
    ----------
    several_type : str
        The ``_type`` of a list of them, and the name under which the object of the list has them.
    """

    several_type: ClassVar[tuple[str, str]]

    def facts(self, key: str, keep: Keep) -> dict[str, Any]:
        """Return the object that the row gets; keeps the files."""
        raise NotImplementedError

    def in_row(self, key: str, keep: Keep) -> dict[str, Any]:
        """Return what the row gets."""
        return {key: self.facts(key, keep)}

    @classmethod
    def several(cls, key: str, items: Sequence[Any], keep: Keep) -> dict[str, Any]:
        """Return what the row gets of a list."""
        kind, name = cls.several_type
        return {key: {"_type": kind, "count": len(items), name: [item.facts(key, keep) for item in items]}}


class FileValue(Value):
    """A value that is one file.

    Attributes
    ----------
    file_type, kind : str
        The ``_type`` in the row, and the folder of the file in the run.
    content : bytes or str
        The bytes, or the path of a file, which is read when it is logged.
    suffix : str
    """

    file_type: ClassVar[str]
    kind: ClassVar[str]
    content: Content
    suffix: str
    caption: str | None = None

    def facts(self, key: str, keep: Keep) -> dict[str, Any]:
        """Return the object that the row gets."""
        found = {"_type": self.file_type, **keep(key, self.kind, self.content, self.suffix)}
        return found if self.caption is None else {**found, "caption": self.caption}

    def bytes(self) -> bytes:
        """Return the content."""
        if isinstance(self.content, bytes):
            return self.content
        with open(self.content, "rb") as file:
            return file.read()


def path_of(value: Any, name: str, kinds: Sequence[str] = ()) -> tuple[str, str] | None:
    """Return path and suffix of a file that was given, None for what is no path.

    Raises
    ------
    ArgumentError
        If there is no such file, or its name ends otherwise than those of `kinds` do.
    """
    if not isinstance(value, (str, os.PathLike)):
        return None
    path = path_text(value)
    if not os.path.isfile(path):
        raise ArgumentError(name, path, "the path of a file that is there")
    suffix = next((f".{kind}" for kind in kinds if path.lower().endswith(f".{kind}")), None)
    if kinds and suffix is None:
        raise ArgumentError(name, path, f"a file whose name ends in .{', .'.join(kinds)}")
    return path, suffix or os.path.splitext(path)[1]


def stream_content(value: Any) -> Content:
    """Return what an open file, or a stream in memory, has from its beginning."""
    if isinstance(value, io.StringIO):
        return value.getvalue().encode()
    if hasattr(value, "seek"):
        value.seek(0)
    content = value.read()
    return content.encode() if isinstance(content, str) else bytes(content)


def caption_of(value: Any) -> str | None:
    """Return a caption."""
    if value is not None and not isinstance(value, str):
        raise ArgumentTypeError("caption", value, "text")
    return value


def labels_of(value: Any) -> dict[str, str]:
    """Return names of classes by their number, as JSON has them."""
    if not isinstance(value, Mapping):
        raise ArgumentTypeError("class_labels", value, "a dict of numbers to names, such as {0: 'road'}")
    return {str(int(number)): str(name) for number, name in value.items()}
