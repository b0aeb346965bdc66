"""How the states of a run are kept: as rows of plain columns where the layout fits, as pickles where it does not."""

from __future__ import annotations

import pickle
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ..errors import ArtifactFormatError, StateError
from ..kernel import copied_record
from .columns import Array
from .digests import digest
from .layouts import Layout
from .nodes import Misfit, PlainLeaf
from .records import class_fields, class_kind, only_fields
from .spilled import SpilledColumn, SpilledRow

#: One kept state: a plain array for each column, the pickle, or the value itself where that is one plain number.
Row = Any
UserCodec = tuple[Callable[[Any], Any], Callable[[Any], Any]]

#: Types whose values may be shared.
IMMUTABLE = frozenset({bool, int, float, complex, str, bytes, type(None)})


class _Opaque(Exception):
    """A value that only pickle knows how to copy."""


def private_copy(state: Any) -> Any:
    """Return a copy that shares no mutable part with `state`; equal parts that were one object stay one object.

    Raises
    ------
    StateError
        If the state holds something that cannot be copied.
    """
    kind = type(state)
    if kind in IMMUTABLE:
        return state
    fields = dataclass_fields(kind)
    if fields is not None:
        copy = copied_record(state, fields)
        if copy is not None:
            return copy
    try:
        return _copy(state, {})
    except (_Opaque, RecursionError):
        return from_pickle(to_pickle(state))


def _copy(value: Any, memo: dict[int, Any]) -> Any:
    kind = type(value)
    if kind in IMMUTABLE:
        return value
    if id(value) in memo:
        return memo[id(value)]
    new: Any
    if kind is np.ndarray:
        if value.dtype.hasobject:
            raise _Opaque
        new = value.copy(order="K")
    elif kind is dict:
        new = memo[id(value)] = {}
        for key, item in value.items():
            if type(key) not in IMMUTABLE:
                raise _Opaque
            new[key] = _copy(item, memo)
    elif kind is list:
        new = memo[id(value)] = []
        new.extend([_copy(item, memo) for item in value])
    elif kind is tuple:
        return tuple([_copy(item, memo) for item in value])
    elif isinstance(value, np.generic):
        new = value.copy()
    else:
        new = _copy_record(value, kind, memo)
    memo[id(value)] = new
    return new


def _record_kind(kind: type) -> str | None:
    for name in class_fields(kind) if class_kind(kind) == "dataclass" else ():
        for base in kind.__mro__:
            found = vars(base).get(name)
            if hasattr(type(found), "__set__") and type(found) is not types.MemberDescriptorType:
                return None  # a property over a field: setting it may do anything
    return class_kind(kind)


#: What `class_kind` says, but None where fields cannot be copied one by one. Remembered.
record_kind: Callable[[type], str | None] = lru_cache(256)(_record_kind)


def _dataclass_fields(kind: type) -> tuple[str, ...] | None:
    return class_fields(kind) if record_kind(kind) == "dataclass" else None


#: The fields of a class whose instances are no more than them, None of any other class.
dataclass_fields: Callable[[type], tuple[str, ...] | None] = lru_cache(256)(_dataclass_fields)


def _copy_record(value: Any, kind: type, memo: dict[int, Any]) -> Any:
    record = record_kind(kind)
    if record == "namedtuple":
        return tuple.__new__(kind, [_copy(item, memo) for item in value])
    fields = class_fields(kind) if record else ()
    if record is None or not only_fields(value, fields):
        raise _Opaque
    new: Any = object.__new__(kind)
    memo[id(value)] = new
    for name in fields:
        object.__setattr__(new, name, _copy(getattr(value, name), memo))
    return new


def to_pickle(state: Any) -> bytes:
    """Return the pickle of `state`.

    Raises
    ------
    StateError
        If it has none; names the attribute that is to blame.
    """
    try:
        return pickle.dumps(state, protocol=5)
    except Exception as error:
        digest(state)  # raises StateError with the path of what cannot be reduced
        raise StateError("", f"something that cannot be pickled ({type(error).__name__}: {error})") from error


def from_pickle(data: bytes) -> Any:
    """Return the state in a pickle.

    Raises
    ------
    StateError
        If its classes are not to be had here.
    """
    try:
        return pickle.loads(data)
    except Exception as error:
        raise StateError(
            "",
            f"a checkpoint that cannot be unpickled here ({type(error).__name__}: {error})",
            "make the classes of the state importable, as they were in the recording program",
        ) from error


def shared_memory(state: Any) -> tuple[str, str] | None:
    """Return the paths of two arrays in `state` that are views of one memory, None if there are none."""
    arrays = [(path, array) for path, array in _arrays(state, "", 0) if array.size]
    arrays.sort(key=lambda found: found[1].__array_interface__["data"][0])
    for (path, array), (other_path, other) in zip(arrays, arrays[1:], strict=False):
        if array is not other and np.shares_memory(array, other):
            return path or "one array", other_path or "another"
    return None


def _arrays(value: Any, path: str, depth: int) -> Iterator[tuple[str, Array]]:
    kind = type(value)
    if kind is np.ndarray:
        yield path, value
    elif depth < 8:
        items: Any = ()
        if kind is dict:
            items = ((f"[{key!r}]", item) for key, item in value.items())
        elif kind is list or kind is tuple:
            items = ((f"[{i}]", item) for i, item in enumerate(value[:1000]))
        elif class_kind(kind):
            items = ((f".{name}", getattr(value, name, None)) for name in class_fields(kind))
        for step, item in items:
            yield from _arrays(item, path + step, depth + 1)


class StateCodec:
    """How the states of one run are kept.

    Parameters
    ----------
    layout : Layout or None
        Of the states, or of what ``user[0]`` makes of them; None keeps every state as a pickle.
    user : (encode, decode), optional
        The caller's own pair: ``encode(state)`` gives a tree of plain values, ``decode(tree)`` the state.
    """

    def __init__(self, layout: Layout | None, user: UserCodec | None = None) -> None:
        self.layout, self.user = layout, user
        root = layout.root if layout is not None else None
        self._plain = root.python_type if isinstance(root, PlainLeaf) and root.kind in ("bool", "float") else None
        self._int = isinstance(root, PlainLeaf) and root.kind == "int"

    @classmethod
    def of(cls, init_state: Any, user: UserCodec | None = None) -> StateCodec:
        """Return the way to keep states like `init_state`."""
        return cls(Layout.of(user[0](init_state) if user else init_state), user)

    def encode(self, state: Any) -> Row:
        """Return what is kept of `state`.

        Raises
        ------
        StateError
            If it fits no column and cannot be pickled.
        """
        tree = self.user[0](state) if self.user else state
        kind = type(tree)
        if kind is self._plain or (self._int and kind is int and -(1 << 63) <= tree < 1 << 63):
            return tree
        if self.layout is not None:
            try:
                return self.layout.encode(tree)
            except Misfit:
                pass
        return to_pickle(tree)

    def decode(self, row: Row) -> Any:
        """Return a new state from what was kept."""
        tree = self.tree(row)
        return self.user[1](tree) if self.user else tree

    def copy(self, state: Any) -> Any:
        """Return a private copy of a live state."""
        if self.user is not None:
            return self.user[1](private_copy(self.user[0](state)))
        return private_copy(state)

    def again(self, state: Any) -> Any:
        """Return a live state as it would be restored."""
        if type(state) in IMMUTABLE and self.user is None:
            return state
        return self.decode(self.encode(state))

    def tree(self, row: Row) -> Any:
        """Return what was kept as it is compared and shown: the state, or the tree ``user[0]`` made of it."""
        if isinstance(row, SpilledRow):
            row = row.load()
        if isinstance(row, list):
            assert self.layout is not None
            try:
                return self.layout.decode(row)
            except UnicodeDecodeError as error:
                raise ArtifactFormatError(f"a checkpoint holds text that is not UTF-8 ({error})") from None
        return from_pickle(row) if isinstance(row, bytes) else row

    def digest(self, row: Row) -> bytes:
        """Return the 16-byte digest of the value of what was kept."""
        return digest(self.tree(row))

    def same(self, a: Row, b: Row) -> bool:
        """Whether two kept states have the same value, byte for byte."""
        if isinstance(a, list) and isinstance(b, list):
            if all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True)):
                return True
        if isinstance(a, bytes) and a == b:
            return True
        return self.digest(a) == self.digest(b)


def row_bytes(row: Row) -> int:
    """Return how many bytes what is kept of a state takes."""
    if isinstance(row, list):
        return sum(column.nbytes for column in row)
    return len(row) if isinstance(row, bytes) else 8


@dataclass(frozen=True)
class Checkpoints:
    """The stored states of a run; row ``i`` is the state at step ``i * stride * block_size``.

    Attributes
    ----------
    codec : StateCodec
    n : int
        Number of rows.
    columns : tuple of ndarray, each of shape (n, *column_shape)
        One for each column of the layout; a pickled row is zeros here. Those of large states that were recorded to a
        file are `SpilledColumn`.
    pickles : mapping of int to bytes
        The rows that had to be pickled.
    digests : mapping of int to bytes
        Digests of pickled rows, as far as they are known without unpickling.
    """

    codec: StateCodec
    n: int
    columns: tuple[Array, ...]
    pickles: Mapping[int, bytes] = field(default_factory=dict)
    digests: Mapping[int, bytes] = field(default_factory=dict)

    def row(self, i: int) -> Row:
        """Return what is kept of the state in row `i`."""
        if i in self.pickles:
            return self.pickles[i]
        if self.codec.layout is None:
            raise IndexError(i)
        return [column[i] for column in self.columns]

    def restore(self, i: int) -> Any:
        """Return a new state from row `i`. O(size of a state)."""
        return self.codec.decode(self.row(i))

    @cached_property
    def restorer(self) -> list[Any] | Callable[[int], Any]:
        """All the states, where they are plain numbers and so may be shared, else `restore`."""
        root = self.codec.layout.root if self.codec.layout is not None else None
        if isinstance(root, PlainLeaf) and root.kind in ("bool", "int", "float") and self.codec.user is None:
            states: list[Any] = list(map(root.python_type, self.columns[0].tolist()))
            for i in self.pickles:
                states[i] = self.restore(i)
            if all(type(states[i]) in IMMUTABLE for i in self.pickles):
                return states
        return self.restore

    def digest(self, i: int) -> bytes:
        """Return the digest of the state in row `i`; that of a pickle which came from a file is not made again."""
        return self.digests[i] if i in self.digests else self.codec.digest(self.row(i))

    def part(self, first: int, stop: int) -> Checkpoints:
        """Return rows `first` up to, not including, `stop`; a view of the columns."""

        def cut(rows: Mapping[int, bytes]) -> dict[int, bytes]:
            return {i - first: kept for i, kept in rows.items() if first <= i < stop}

        columns = tuple(column[first:stop] for column in self.columns)
        return Checkpoints(self.codec, stop - first, columns, cut(self.pickles), cut(self.digests))

    def every(self, k: int) -> Checkpoints:
        """Return every `k`-th row, from the first."""

        def thinned(rows: Mapping[int, bytes]) -> dict[int, bytes]:
            return {i // k: kept for i, kept in rows.items() if i % k == 0}

        columns = tuple(column[::k] for column in self.columns)
        return Checkpoints(self.codec, -(-self.n // k), columns, thinned(self.pickles), thinned(self.digests))


def stack(codec: StateCodec, rows: list[Row]) -> Checkpoints:
    """Return `rows` as checkpoints."""
    kinds = set(map(type, rows))
    pickles = {i: row for i, row in enumerate(rows) if type(row) is bytes} if bytes in kinds else {}
    if codec.layout is None:
        return Checkpoints(codec, len(rows), (), pickles)
    if SpilledRow in kinds and not pickles:
        kept = [row if isinstance(row, SpilledRow) else list(row) for row in rows]
        spilled: Any = tuple(SpilledColumn(kept, k, column) for k, column in enumerate(codec.layout.columns))
        return Checkpoints(codec, len(rows), spilled)
    rows = [row.load() if isinstance(row, SpilledRow) else row for row in rows]
    columns = []
    if not pickles and list not in kinds:  # plain numbers
        (column,) = codec.layout.columns
        return Checkpoints(codec, len(rows), (np.array(rows, column.dtype),), pickles)
    for k, column in enumerate(codec.layout.columns):
        values = [None if i in pickles else row[k] if isinstance(row, list) else row for i, row in enumerate(rows)]
        dtype = column.dtype
        if dtype.itemsize == 0:  # text: as wide as its longest value; the next column holds the lengths
            lengths = [int(np.max(row[k + 1])) for i, row in enumerate(rows) if i not in pickles]
            dtype = np.dtype(f"S{max([1, *lengths])}")
        columns.append(_column(values, dtype, column.shape))
    return Checkpoints(codec, len(rows), tuple(columns), pickles)


def _column(values: list[Any], dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    stacked = np.zeros((len(values), *shape), dtype)
    for i, value in enumerate(values):
        if value is not None:
            stacked[i] = value
    return stacked
