"""Extra checkpoints in memory: how many a budget holds, and which states may be kept inside a block.

A checkpoint at the start of a block is what storing a state leaves of it, in the recording and in every replay alike. A
mark is a copy of the live state inside a block. It may stand for that state only where copying loses nothing: no views,
no object at two places, nothing that is not looked at. Where a state has more to it, there are no marks.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..kernel import BlockRng, Marks, copied_record
from .blocks import Grid
from .records import class_fields
from .states import IMMUTABLE, StateCodec, record_kind
from .steps import Step

#: Bytes of a generator's state.
_GENERATOR = {"numpy": 40, "python": 2504}
_LEAST = 8  # steps from one mark to the next


def marks_within(budget: int, step: Step, codec: StateCodec, state: Any, grid: Grid, backend: str) -> Marks | None:
    """Return room for as many marks as `budget` bytes hold, evenly spread; None where there is no use in any."""
    if not budget or codec.user is not None or any(isinstance(value, list) for value in step.params.values()):
        return None
    if inner_copy(state) is None and state is not None:
        return None
    each = _size(state) + _GENERATOR[backend] + 8
    every = max(_LEAST, -(-grid.n_steps * each // budget))
    length = min(grid.block_size, grid.n_steps)
    if every >= length:
        return None
    try:
        return Marks(BlockRng(0, backend), grid.n_blocks, (length - 1) // every, every, inner_copy)
    except MemoryError:
        raise ArgumentError("memory_budget", budget, "bytes this machine has") from None


def _size(value: Any) -> int:
    """Return about how many bytes a copy of `value` takes."""
    parts: Any = ()
    if type(value) is dict:
        parts = value.values()
    elif type(value) in (list, tuple):
        parts = value
    elif record_kind(type(value)):
        parts = [getattr(value, name) for name in class_fields(type(value))]
    return sys.getsizeof(value) + 100 * (type(value) not in IMMUTABLE) + sum(map(_size, parts))


class _Unsure(Exception):
    """A state of which a copy may lose something."""


def inner_copy(state: Any) -> Any:
    """Return a copy of a state inside a block that loses nothing, None if that is not sure."""
    try:
        return _copy(state, set())
    except (_Unsure, RecursionError):
        return None


def _copy(value: Any, seen: set[int]) -> Any:
    kind = type(value)
    if kind in IMMUTABLE or (issubclass(kind, (np.number, np.bool_)) and kind.__module__ == "numpy"):
        return value
    if id(value) in seen:
        raise _Unsure
    seen.add(id(value))
    if kind is np.ndarray:
        if value.base is not None or value.dtype.hasobject or not value.flags.writeable or not value.flags.forc:
            raise _Unsure
        return value.copy(order="K")
    if kind is list:
        return [_copy(item, seen) for item in value]
    if kind is tuple:
        return tuple([_copy(item, seen) for item in value])
    if kind is dict and all(type(key) is str for key in value):
        return {key: _copy(item, seen) for key, item in value.items()}
    if record_kind(kind) == "dataclass":
        copy = copied_record(value, class_fields(kind))
        if copy is not None:
            return copy
    raise _Unsure
