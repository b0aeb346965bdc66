"""The checkpoints of a run: one row of columns, or one pickle, for each stored state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from functools import cached_property
from typing import Any

import numpy as np

from .codec import Row, StateCodec, WideRow
from .columns import Array
from .copies import IMMUTABLE, to_pickle
from .frozen import frozen
from .layout import Layout
from .nodes import Misfit, PlainLeaf
from .spilled import SpilledColumn, SpilledRow


@frozen
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
    wide : Layout or None
        The layout of the columns where some leaf is of several kinds; None where they are those of ``codec.layout``,
        the layout of state 0.
    """

    codec: StateCodec
    n: int
    columns: tuple[Array, ...]
    pickles: Mapping[int, bytes] = field(default_factory=dict)
    digests: Mapping[int, bytes] = field(default_factory=dict)
    wide: Layout | None = None

    @property
    def layout(self) -> Layout | None:
        """The layout of the columns; None where there are none."""
        return self.codec.layout if self.wide is None else self.wide

    def row(self, i: int) -> Row:
        """Return what is kept of the state in row `i`."""
        if i in self.pickles:
            return self.pickles[i]
        if self.codec.layout is None:
            raise IndexError(i)
        row = [column[i] for column in self.columns]
        if self.wide is None:
            return row
        layout, row = self.wide.narrowed(row)
        return WideRow(layout, row) if layout.varies else self.codec.layout.row_of(layout, row)

    def restore(self, i: int) -> Any:
        """Return a new state from row `i`. O(size of a state)."""
        return self.codec.decode(self.row(i))

    @cached_property
    def restorer(self) -> list[Any] | Callable[[int], Any]:
        """All the states, where they are plain numbers and so may be shared, else `restore`."""
        root = self.codec.layout.root if self.codec.layout is not None else None
        plain = isinstance(root, PlainLeaf) and root.kind in ("bool", "int", "float") and self.codec.user is None
        if plain and self.wide is not None:
            states: list[Any] = list(map(self.restore, range(self.n)))
            return states if IMMUTABLE.issuperset(map(type, states)) else self.restore
        if plain:
            assert isinstance(root, PlainLeaf)
            states = list(map(root.python_type, self.columns[0].tolist()))
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
        return Checkpoints(self.codec, stop - first, columns, cut(self.pickles), cut(self.digests), self.wide)

    def every(self, k: int) -> Checkpoints:
        """Return every `k`-th row, from the first."""

        def thinned(rows: Mapping[int, bytes]) -> dict[int, bytes]:
            return {i // k: kept for i, kept in rows.items() if i % k == 0}

        columns = tuple(column[::k] for column in self.columns)
        kept = Checkpoints(
            self.codec, -(-self.n // k), columns, thinned(self.pickles), thinned(self.digests), self.wide
        )
        if self.wide is None:
            return kept
        return replace(stack(self.codec, [kept.row(i) for i in range(kept.n)]), digests=kept.digests)


def stack(codec: StateCodec, rows: list[Row]) -> Checkpoints:
    """Return `rows` as checkpoints."""
    kinds = set(map(type, rows))
    if WideRow in kinds:
        return _stack_wide(codec, rows)
    return _stack(codec, rows, kinds)


def _stack_wide(codec: StateCodec, rows: list[Row]) -> Checkpoints:
    """Return rows as checkpoints some leaves of which are of several kinds."""
    assert codec.layout is not None
    first = wide = codec.layout
    kept: list[Row] = []
    for row in rows:
        row = row.load() if isinstance(row, SpilledRow) else row
        if isinstance(row, WideRow):
            try:
                wide = wide.merged(row.layout)
            except Misfit:  # of too many kinds
                row = to_pickle(codec.tree(row))
        kept.append(row)
    if wide is first:
        return _stack(codec, kept, set(map(type, kept)))
    moved: list[Row] = []
    for row in kept:
        if not isinstance(row, bytes):
            layout, columns = (row.layout, row.columns) if isinstance(row, WideRow) else (first, row)
            columns = columns if isinstance(columns, list) else [np.asarray(columns)]
            row = wide.row_of(layout, columns)
        moved.append(row)
    return replace(_stack(StateCodec(wide), moved, set(map(type, moved))), codec=codec, wide=wide)


def _stack(codec: StateCodec, rows: list[Row], kinds: set[type]) -> Checkpoints:
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
