"""Large states: rows that lie in a file, and are read when they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from .columns import Array
from .nodes import Column


class Source(Protocol):
    """A file that rows lie in."""

    def read(self, at: int, n: int) -> bytes:
        """Return `n` bytes from byte `at` on."""


class SpilledRow:
    """What is kept of a state, in a file: the values of its columns, one after the other.

    Parameters
    ----------
    source : Source
    at : int
        Where its first byte is.
    columns : sequence of Column
        None of text, the width of which a row has for itself.
    """

    __slots__ = ("_at", "_columns", "_source")

    def __init__(self, source: Source, at: int, columns: Sequence[Column]) -> None:
        self._source, self._at, self._columns = source, at, columns

    def column(self, k: int) -> Array:
        """Return column `k`, read anew."""
        at = self._at + sum(n_bytes(column) for column in self._columns[:k])
        return self._read(self._columns[k], at)

    def load(self) -> list[Array]:
        """Return all columns, as a row that is in memory."""
        return [self.column(k) for k in range(len(self._columns))]

    def _read(self, column: Column, at: int) -> Array:
        data = bytearray(self._source.read(at, n_bytes(column)))
        return np.frombuffer(data, column.dtype).reshape(column.shape)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (self.load(),)


def n_bytes(column: Column) -> int:
    """Return how many bytes one row of a column takes."""
    count = column.dtype.itemsize
    for n in column.shape:
        count *= n
    return count


class SpilledColumn:
    """One column of many rows, some of which lie in a file: what little is needed of an array.

    Parameters
    ----------
    rows : list of lists of ndarray, or of SpilledRow
    k : int
    column : Column
    """

    def __init__(self, rows: list[Any], k: int, column: Column) -> None:
        self._rows, self._k, self._column = rows, k, column
        self.dtype, self.shape = column.dtype, (len(rows), *column.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return self.nbytes // self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Number of bytes."""
        return len(self._rows) * n_bytes(self._column)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def itemsize(self) -> int:
        """Number of bytes of a value."""
        return self.dtype.itemsize

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return SpilledColumn(self._rows[i], self._k, self._column)
        if isinstance(i, (int, np.integer)):
            row = self._rows[i]
            return row.column(self._k) if isinstance(row, SpilledRow) else row[self._k]
        return np.stack([self[int(k)] for k in np.arange(len(self))[i]])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        whole = np.empty(self.shape, self.dtype if dtype is None else dtype)
        for i in range(len(self)):
            whole[i] = self[i]
        return whole

    def __reduce__(self) -> tuple[Any, ...]:
        return np.array, (np.asarray(self),)


def pieces(array: Array | SpilledColumn) -> Iterator[Array]:
    """Yield an array row by row where it is spilled, else as it is."""
    if isinstance(array, SpilledColumn):
        for i in range(len(array)):
            yield array[i]
    else:
        yield array
