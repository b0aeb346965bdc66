"""Import what W&B's client wrote without a network: a folder ``offline-run-...`` with a ``.wandb`` file.

The client has no reader of it in Python any more. The fields are those of its `wandb_internal.proto`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from ...errors import ArtifactFormatError, ArtifactIOError
from ...storage.files import open_regular
from ..moment import id_problem
from .imported import About, Object, Target
from .wire import Message, wandb_records

# Fields, by the number they have in their message.
_HISTORY, _SUMMARY, _OUTPUT, _CONFIG, _ARTIFACT, _METRIC, _OUTPUT_RAW, _RUN, _EXIT = 2, 3, 4, 5, 8, 12, 13, 17, 18
_UPDATE, _REMOVE = 1, 2
_KEY, _NESTED_KEY, _VALUE = 1, 2, 16
_KINDS = {1: "min", 2: "max", 3: "mean", 8: "first", 5: "last", 6: "none"}  # of the summary of a metric
_OWN_ARTIFACTS = ("run_table", "wandb-history", "job")  # which the client makes of what is imported otherwise
_STDERR = 0


def read_wandb(path: str, about: About, begin: Callable[[About], Target]) -> Target:
    """Log what a ``.wandb`` file has, and the files beside it, to a run.

    Parameters
    ----------
    path : str
    about : About
        What is given of the run, in place of what the file says.
    begin : callable
    """
    reading: _Reading | None = None
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            for n, record in enumerate(wandb_records(file, path)):
                try:
                    found = Message(record)
                    if reading is not None:
                        reading.take(found)
                    elif _RUN in found:
                        reading = _Reading(_about(found.message(_RUN), about), os.path.dirname(path), begin)
                except ValueError as error:
                    raise ArtifactFormatError(f"its record {n} is none of W&B's client: {error}", path) from None
    except OSError as error:
        if isinstance(error, ArtifactIOError):
            raise
        raise ArtifactIOError.of("read", path, error) from None
    if reading is None:
        raise ArtifactFormatError("no run is in it", path)
    return reading.end()


def _about(run: Message, given: About) -> About:
    config = _items(run.message(4).messages(_UPDATE))
    run_id = given.run_id or run.text(1)
    problem = id_problem(run_id)
    if problem:
        raise ValueError(f"the id of its run {problem}")
    labels = {"group": run.text(6), "job_type": run.text(7)}
    return About(
        run_id,
        given.name or run.text(8),
        given.project or run.text(3) or None,
        given.entity or run.text(2) or None,
        given.notes or run.text(9) or None,
        given.tags or run.texts(10),
        {key: value for key, value in config.items() if key != "_wandb"},
        {name: text for name, text in labels.items() if text},
        run.text(13) or None,
        run.message(17).integer(1) + run.message(17).integer(2) / 1e9,
    )


class _Reading:
    """A run, as far as its file was read."""

    def __init__(self, about: About, folder: str, begin: Callable[[About], Target]) -> None:
        self._about, self._files = about, os.path.join(folder, "files")
        self._target = begin(about)
        self._summary: dict[str, Any] = {}
        self._parts: dict[str, str] = {}  # of lines that have not ended, by stream
        self._exit: int | None = None
        self._ended = about.began

    def take(self, record: Message) -> None:
        """Log what a record says."""
        if _HISTORY in record:
            self._row(record.message(_HISTORY))
        elif _SUMMARY in record:
            self._change(self._summary, record.message(_SUMMARY))
        elif _CONFIG in record:
            self._change(self._about.config, record.message(_CONFIG))
            self._about.config.pop("_wandb", None)
        elif _METRIC in record:
            self._metric(record.message(_METRIC))
        elif _OUTPUT_RAW in record or _OUTPUT in record:
            self._output(record.message(_OUTPUT_RAW if _OUTPUT_RAW in record else _OUTPUT))
        elif _ARTIFACT in record:
            self._artifact(record.message(_ARTIFACT))
        elif _EXIT in record:
            self._exit = record.message(_EXIT).integer(1)
            self._ended = max(self._ended, self._about.began + record.message(_EXIT).integer(2))

    def _row(self, history: Message) -> None:
        values = _items(history.messages(1))
        step = values.pop("_step", history.message(2).integer(1))
        if type(step) is not int or step < self._target.step:
            raise ValueError(f"the step {step} is not after the one before")
        seconds = values.pop("_timestamp", None)
        if seconds is not None:
            seconds = float(seconds)
            values.pop("_runtime", None)  # which the time gives
            self._ended = max(self._ended, seconds)
        names = sorted(values)  # the client writes them in any order
        self._target.row(step, dict(self._value(name, values[name]) for name in names), seconds)

    def _value(self, name: str, value: Any) -> tuple[str, Any]:
        """Return a value with its name: one with a ``_type`` as one object, with its files."""
        if not isinstance(value, dict):
            return name, value
        if "_type" in value:
            return name, Object(value, dict(_files_of(value, self._files)))
        return name, dict(self._value(inner, item) for inner, item in value.items())

    def _change(self, values: dict[str, Any], record: Message) -> None:
        _merge(values, _items(record.messages(_UPDATE)))
        for item in record.messages(_REMOVE):
            *above, last = item.texts(_NESTED_KEY) or [item.text(_KEY)]
            inside = values
            for name in above:
                inside = inside.get(name, {}) if isinstance(inside, dict) else {}
            inside.pop(last, None)

    def _metric(self, metric: Message) -> None:
        name = metric.text(1) or metric.text(2)
        summary = metric.message(7)
        kinds = [kind for number, kind in _KINDS.items() if summary.integer(number)]
        if name.startswith("_") or not name or "*" in name[:-1]:
            return
        sync = bool(metric.message(6).integer(1)) if metric.text(4) else None
        self._target.define(name, metric.text(4) or None, ",".join(kinds) or None, sync)

    def _output(self, output: Message) -> None:
        stream = "stderr" if output.integer(1) == _STDERR else "stdout"
        *lines, rest = (self._parts.get(stream, "") + output.text(3)).split("\n")
        for line in lines:
            self._target.line(stream, line.rstrip("\r").rpartition("\r")[2])  # what a progress bar left
        self._parts[stream] = rest

    def _artifact(self, artifact: Message) -> None:
        """Keep an artifact whose files are still where the client put them."""
        kind, name = artifact.text(4), artifact.text(5)
        if kind in _OWN_ARTIFACTS:
            return
        with tempfile.TemporaryDirectory() as folder:
            entries = artifact.message(12).messages(4)
            whole = bool(entries)
            for entry in entries:
                whole = whole and _placed(folder, entry.text(1), entry.text(6))
            if not whole:
                self._target.left_out.append(f"the artifact {name!r}, whose files are not there")
                return
            aliases = [alias for alias in artifact.texts(11) if alias != "latest"]
            self._target.artifact(folder, name, kind, aliases, json.loads(artifact.text(8) or "{}"))

    def end(self) -> Target:
        """Close the run."""
        for stream, rest in self._parts.items():
            if rest:
                self._target.line(stream, rest)
        self._target.summary({key: value for key, value in self._summary.items() if not key.startswith("_")})
        self._target.end(self._exit, self._ended)
        return self._target


def _items(items: list[Message]) -> dict[str, Any]:
    """Return the values of items as one dict: each has a key, or the keys of dicts within each other."""
    values: dict[str, Any] = {}
    for item in items:
        *above, last = item.texts(_NESTED_KEY) or [item.text(_KEY)]
        inside = values
        for name in above:
            next_ = inside.setdefault(name, {})
            if not isinstance(next_, dict):
                next_ = inside[name] = {}
            inside = next_
        inside[last] = json.loads(item.text(_VALUE) or "null")
    return values


def _merge(old: dict[str, Any], new: dict[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(key), dict):
            _merge(old[key], value)
        else:
            old[key] = value


def _files_of(value: Any, folder: str) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Yield the files that an object speaks of, as `Object` is given them."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _files_of(item, folder)
    elif isinstance(value, str) and value.startswith("media/") and ".." not in value.split("/"):
        path = os.path.join(folder, *value.split("/"))
        if os.path.isfile(path):
            kind, name = value.removeprefix("media/").rpartition("/")[::2]
            yield value, (kind, path, "." + name.partition(".")[2])


def _placed(folder: str, name: str, source: str) -> bool:
    """Copy a file of an artifact to where it is in it; return whether it is there."""
    target = os.path.normpath(os.path.join(folder, name))
    if not source or not target.startswith(folder + os.sep):
        return False
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(source, target)
        return True
    return False
