"""Import event files of TensorBoard: those of one folder are one run.

The fields are those of `event.proto`, `summary.proto`, `tensor.proto` and of the plugins' `plugin_data.proto`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from ...errors import ArtifactFormatError, ArtifactIOError
from ...storage.files import open_regular
from .imported import About, Object, Target, id_of
from .rows import Rows
from .wire import Message, tfrecords

# Fields, by the number they have in their message.
_WALL_TIME, _STEP, _SUMMARY, _SESSION_LOG = 1, 2, 5, 7
_VALUES, _TAG, _SIMPLE, _IMAGE, _HISTOGRAM, _AUDIO, _TENSOR, _METADATA = 1, 1, 2, 4, 5, 6, 8, 9
_SESSION_START = 1  # of the status, field 1 of a session log
_ENCODED_IMAGE, _ENCODED_AUDIO = 4, 4
_LIMITS, _BUCKETS = 6, 7  # of a histogram
_DTYPE, _SHAPE, _CONTENT, _FLOATS, _DOUBLES, _INTS, _STRINGS, _INT64S, _BOOLS = 1, 2, 4, 5, 6, 7, 8, 10, 11
#: Types of tensors of numbers, as `struct` calls them: float, double, int32, uint8, int16, int8, int64, bool.
_KINDS = {1: "f", 2: "d", 3: "i", 4: "B", 5: "h", 6: "b", 9: "q", 10: "?"}
_HPARAMS = "_hparams_/"
_SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"RIFF": ".wav"}


def read_event_files(paths: Sequence[str], name: str, about: About, begin: Callable[[About], Target]) -> Target:
    """Log what the event files of a folder have to a run.

    Parameters
    ----------
    paths : sequence of str
        In the order in which they were written.
    name : str
        Of the run, where none is given.
    about : About
        What is given of the run.
    begin : callable
    """
    rows, config, left_out = Rows(), dict[str, Any](), dict[str, int]()
    first = last = None
    for path in paths:
        for event in _events(path):
            (time,) = event.floats(_WALL_TIME, "d") or [0.0]
            first, last = time if first is None else min(first, time), time if last is None else max(last, time)
            step = event.integer(_STEP)
            if _SESSION_LOG in event and event.message(_SESSION_LOG).integer(1) == _SESSION_START:
                rows.purge(step)
            found = logged_by(event)
            config |= found.config
            for tag in [*found.left_out, *(found.values if step < 0 else ())]:
                left_out[tag] = left_out.get(tag, 0) + 1
            if found.values and step >= 0:
                rows.add(step, {**found.values, "_timestamp": time})
    about.run_id = about.run_id or id_of(piece for path in paths for piece in _pieces(path))
    about.name, about.config, about.began = about.name or name, config, first or 0.0
    target = begin(about)
    rows.log(target)
    target.left_out += [f"{tag!r}, whose values ({n:,}) are of a kind that is not read" for tag, n in left_out.items()]
    target.end(0, last or 0.0)
    return target


@dataclass
class Logged:
    """What one event logs.

    Attributes
    ----------
    step : int
    values : dict
        By tag: numbers, text, lists, and media.
    config : dict
        Parameters of the run.
    left_out : list of str
        Tags whose values are of a kind that is not read.
    """

    step: int
    values: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def logged_by(event: Message) -> Logged:
    """Return what an event logs.

    Raises
    ------
    ValueError
        If the bytes are no event.
    """
    found = Logged(event.integer(_STEP))
    for value in event.message(_SUMMARY).messages(_VALUES):
        tag = value.text(_TAG)
        if tag.startswith(_HPARAMS):  # what may be tuned, and how it ended, says nothing more of the run
            found.config |= _hparams(value) if tag == f"{_HPARAMS}session_start_info" else {}
            continue
        inner = _value(value)
        if inner is None:
            found.left_out.append(tag)
        else:
            found.values[tag] = inner
    return found


def _opened(path: str) -> IO[bytes]:
    try:
        return os.fdopen(open_regular(path), "rb")
    except OSError as error:
        raise ArtifactIOError.of("read", path, error) from None


def _pieces(path: str) -> Iterator[bytes]:
    with _opened(path) as file:
        while piece := file.read(1 << 20):
            yield piece


def _events(path: str) -> Iterator[Message]:
    with _opened(path) as file:
        for n, record in enumerate(tfrecords(file, path)):
            try:
                yield Message(record)
            except ValueError as error:
                raise ArtifactFormatError(f"its record {n} is no event: {error}", path) from None


def _value(value: Message) -> Any:
    """Return the value that a summary has for a tag; None for what is not read."""
    if _SIMPLE in value:
        return value.floats(_SIMPLE, "f")[-1]
    if _HISTOGRAM in value:
        found = value.message(_HISTOGRAM)
        least = found.floats(1, "d") or [0.0]  # a zero need not be written
        return _histogram(found.floats(_LIMITS, "d"), found.floats(_BUCKETS, "d"), least)
    if _IMAGE in value:
        return _file("image-file", "images", value.message(_IMAGE).content(_ENCODED_IMAGE))
    if _AUDIO in value:
        return _file("audio-file", "audio", value.message(_AUDIO).content(_ENCODED_AUDIO))
    if _TENSOR not in value:
        return None
    plugin = value.message(_METADATA).message(1).text(1)
    tensor = value.message(_TENSOR)
    strings = tensor.all_bytes(_STRINGS)
    if plugin == "images" and len(strings) > 2:  # width, height, and each picture
        return _file("image-file", "images", strings[2])
    if plugin == "audio" and strings:
        return _file("audio-file", "audio", strings[0])
    if strings:
        texts = [text.decode("utf-8", "replace") for text in strings]
        return texts[0] if len(texts) == 1 else texts
    numbers = _numbers(tensor)
    if plugin == "histograms" and len(numbers) % 3 == 0 and numbers:  # left and right edge, and count
        return _histogram(numbers[1::3], numbers[2::3], numbers[:1])
    return numbers[0] if len(numbers) == 1 else numbers or None


def _numbers(tensor: Message) -> list[Any]:
    kind, content = _KINDS.get(tensor.integer(_DTYPE)), tensor.content(_CONTENT)
    if kind is not None and content and len(content) % struct.calcsize(kind) == 0:
        return list(struct.unpack(f"<{len(content) // struct.calcsize(kind)}{kind}", content))
    reals: list[Any] = [*tensor.floats(_FLOATS, "f"), *tensor.floats(_DOUBLES, "d")]
    return reals or [*tensor.integers(_INTS), *tensor.integers(_INT64S), *map(bool, tensor.integers(_BOOLS))]


def _histogram(limits: list[float], counts: list[float], least: list[float]) -> Object | None:
    """Return a histogram: the limits are the right edges of its buckets, and the first has its least value at its left.

    The outermost edges are the largest doubles, and the buckets at the ends empty: these are left out.
    """
    edges, found = [*least[:1], *limits], list(counts)
    if len(edges) != len(found) + 1 or not found:
        return None
    while len(found) > 1 and not found[-1]:
        del found[-1], edges[-1]
    while len(found) > 1 and not found[0]:
        del found[0], edges[0]
    return Object({"_type": "histogram", "values": found, "bins": edges})


def _file(kind: str, folder: str, content: bytes) -> Object:
    suffix = next((suffix for start, suffix in _SUFFIXES.items() if content.startswith(start)), ".bin")
    return Object({"_type": kind, "path": "file"}, {"file": (folder, content, suffix)})


def _hparams(value: Message) -> dict[str, Any]:
    """Return the parameters of a run, as `add_hparams` and Keras write them."""
    content = value.message(_METADATA).message(1).message(2)
    entries = content.message(3).messages(1)
    return {entry.text(1): _parameter(entry.message(2)) for entry in entries}


def _parameter(value: Message) -> Any:
    """Return a ``google.protobuf.Value``."""
    if 2 in value:
        (number,) = value.floats(2, "d")
        return int(number) if number.is_integer() and abs(number) < 1 << 53 else number
    if 3 in value:
        return value.text(3)
    if 4 in value:
        return bool(value.integer(4))
    if 5 in value:
        return {entry.text(1): _parameter(entry.message(2)) for entry in value.message(5).messages(1)}
    return [_parameter(item) for item in value.message(6).messages(1)] if 6 in value else None
