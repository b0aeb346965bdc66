"""Files of a run: those it kept, its media, and what W&B's client would write about it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from ...errors import ArgumentError, TrackedArtifactError
from ...tracker.revision import Revision

_KINDS = {".json": "application/json", ".png": "image/png", ".txt": "text/plain", ".log": "text/plain"}


class File:
    """A file of a run.

    Attributes
    ----------
    name : str
        Its path in the run, with ``/``.
    size : int
    """

    def __init__(self, name: str, size: int, source: str | bytes) -> None:
        self.name, self.size, self._source = name, size, source

    @property
    def url(self) -> str | None:
        """Where its bytes are, if they are a file."""
        return None if isinstance(self._source, bytes) else "file://" + self._source

    direct_url = url

    @property
    def path_uri(self) -> str:
        """As `url`; empty where there is none."""
        return self.url or ""

    @property
    def mimetype(self) -> str:
        """What its name says that it is."""
        return _KINDS.get(os.path.splitext(self.name)[1], "application/octet-stream")

    @property
    def sizeBytes(self) -> int:  # noqa: N802
        """Its size."""
        return self.size

    def download(
        self, root: str | os.PathLike[str] = ".", replace: bool = False, exist_ok: bool = False, api: Any = None
    ) -> TextIO:
        """Copy it to a folder, under its name, and return it opened for reading.

        Parameters
        ----------
        root : str or path-like
        replace : bool
            Whether a file that is there is overwritten.
        exist_ok : bool
            Whether a file that is there is taken for it.

        Raises
        ------
        ArgumentError
            If there is such a file, and neither is said.
        """
        target = os.path.join(os.fspath(root), *self.name.split("/"))
        if not os.path.exists(target) or replace:
            os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
            if isinstance(self._source, bytes):
                with open(target, "wb") as file:
                    file.write(self._source)
            else:
                shutil.copyfile(self._source, target)
        elif not exist_ok:
            advice = "replace=True overwrites it, exist_ok=True takes it as it is"
            raise ArgumentError("the file", target, "one that is not there yet", advice)
        return open(target, encoding="utf-8", errors="surrogateescape")

    def delete(self) -> None:
        """Refuse it: what a run has logged stays.

        Raises
        ------
        TrackedArtifactError
        """
        raise TrackedArtifactError(f"cannot delete {self.name!r}: what a run has logged stays as long as the run does")

    def __repr__(self) -> str:
        return f"<File {self.name} ({self.size} bytes)>"


class Files(Sequence[File]):
    """Files of a run, in the order of their names."""

    def __init__(self, files: Sequence[File]) -> None:
        self._files = list(files)

    def __getitem__(self, index: Any) -> Any:
        return self._files[index]

    def __len__(self) -> int:
        return len(self._files)

    def __repr__(self) -> str:
        return f"<Files {[file.name for file in self._files]}>"


def files_of(revision: Revision) -> list[File]:
    """Return all files of a run."""
    found = {file.name: file for file in _made(revision)}
    found |= {file.path: File(file.path, file.size, file.location) for file in revision.media}
    for artifact in revision.artifacts:
        if artifact.type == "files":  # what `Run.save` and `Run.dir` kept
            for path in artifact.files:
                location = artifact.path(path)
                found[path] = File(path, os.path.getsize(location), location)
    return [found[name] for name in sorted(found)]


def _made(revision: Revision) -> Iterator[File]:
    """Yield what W&B's client writes of a run that is known here."""
    lines = [text for _, _, text in revision.logs()]
    texts: dict[str, Callable[[], str]] = {
        "config.yaml": lambda: _yaml(revision.config),
        "wandb-summary.json": lambda: json.dumps(dict(revision.summary), default=str),
        "wandb-metadata.json": lambda: json.dumps(revision.machine, default=str),
    }
    if lines:
        texts["output.log"] = lambda: "".join(f"{line}\n" for line in lines)
    for name, text in texts.items():
        content = text().encode("utf-8", "backslashreplace")
        yield File(name, len(content), content)


def _yaml(config: dict[str, Any]) -> str:
    """Return a config as W&B's client writes it; JSON is YAML."""
    return "".join(f"{json.dumps(key)}:\n  value: {json.dumps(value)}\n" for key, value in config.items())
