"""One array of many values, or a dict of them where the values are trees: what data frames are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .engine.columns import Array
from .engine.records import class_fields, class_kind
from .errors import MetricError


def stacked(values: Sequence[Any], name: str = "f") -> Array | dict[str, Array]:
    """Return values as one array of shape (n, *shape), trees of them as a dict of such arrays.

    Parameters
    ----------
    values : sequence
        Numbers, arrays of one shape, or dicts, dataclasses and namedtuples of them. The key of a value that lies deeper
        is its path: ``"agents[3].x"``.
    name : str
        What gave them, in messages.

    Raises
    ------
    MetricError
        If they have different shapes or keys.
    """
    if not values or not _is_tree(values[0]):
        return _array(values, name)
    columns: dict[str, list[Any]] = {path: [] for path, _ in _leaves(values[0], "")}
    for i, value in enumerate(values):
        n = 0
        for path, leaf in _leaves(value, "") if _is_tree(value) else [("", value)]:
            if path not in columns or len(columns[path]) != i:
                raise MetricError(name, None, f"gave a {path or 'plain value'} at one step and not at another")
            columns[path].append(leaf)
            n += 1
        if n != len(columns):
            gone = next(path for path, leaves in columns.items() if len(leaves) <= i)
            raise MetricError(name, None, f"gave a {gone} at one step and not at another")
    return {path: _array(leaves, path) for path, leaves in columns.items()}


def _array(values: Sequence[Any], name: str) -> Array:
    try:
        array = np.array(values)
        # Values stay what they are: numpy would make text of numbers beside text, cut zeros off the end of text, and
        # round long integers beside floats.
        if (array.dtype.kind in "US" and not all(map(_keeps_text, values))) or (
            array.dtype.kind in "fcO" and any(map(_is_long, values))
        ):
            array = np.array(values, object)
        return array
    except ValueError as error:
        raise MetricError(name, None, f"gave arrays of different shapes ({error})") from None


def _keeps_text(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_keeps_text, value))
    if isinstance(value, (str, bytes)):
        return value[-1:] not in ("\0", b"\0")
    return isinstance(value, np.ndarray) and value.dtype.kind in "US"


def _is_long(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and abs(int(value)) > 1 << 53


def _is_tree(value: Any) -> bool:
    return isinstance(value, Mapping) or bool(class_kind(type(value)))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif class_kind(type(value)):
        for field in class_fields(type(value)):
            yield from _leaves(getattr(value, field), f"{path}.{field}" if path else field)
    elif isinstance(value, (list, tuple)) and any(map(_is_tree, value)):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{path}[{i}]")
    else:
        yield path, value
