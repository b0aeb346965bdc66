"""Tables of metrics: a ledger takes values block by block, and becomes a table with one row per block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import MetricError, show
from ..kernel import Tally
from ..state.columns import Array
from ..state.frozen import frozen
from .metric import MetricFunction, as_values
from .moments import EPS, Moments, ScalarMoments, VectorMoments
from .statistics import Stats


class Ledger:
    """What one metric gives, one row per block.

    Parameters
    ----------
    name : str
    before : MetricTable, optional
        Of a run that goes on: its last row is entered again.

    Notes
    -----
    Rows may be entered again, from any of the last two on: whoever is interrupted while one is entered goes back.
    """

    def __init__(self, name: str, before: MetricTable | None = None) -> None:
        self.name, self._before = name, before
        self._first = 0 if before is None else len(before.rows["min"]) - 1
        self.shape = None if before is None else before.shape
        self._tally = Tally()
        self._rows: list[dict[str, Any]] = []
        self._tail: VectorMoments | None = None
        self._shift: Array | None = None
        # of a metric with several components: the moments of all blocks before block k, for the last few k
        self._closed: dict[int, VectorMoments | None] = {self._first: None}
        if before is not None and isinstance(before.tail, VectorMoments):
            assert before.closed is None or isinstance(before.closed, VectorMoments)
            self._shift, self._closed[self._first] = before.tail.shift, before.closed

    def enter(self, block: int, values: Sequence[Any] | Array, start: int) -> None:
        """Enter the values of `block`, the first of which belongs to step `start`; rows after it are dropped.

        Raises
        ------
        MetricError
            If they are no numbers, or of another shape than before.
        """
        array = as_values(self.name, values, start, self.shape)
        if self.shape is None:
            self.shape = array.shape[1:]
        k = block - self._first
        if not self.shape:
            self._tally.cut(k)
            self._tally.append(array, start)
            return
        if self._shift is None:
            self._shift = shift_of(array)
        moments = VectorMoments.of(array.reshape(len(array), -1), start, self._shift)
        before = self._closed[block]
        self._rows[k:] = [vector_row(moments, self.shape)]
        self._tail = moments
        self._closed[block + 1] = moments if before is None else before.merge(moments)
        for old in [old for old in self._closed if not block - 1 <= old <= block + 1]:
            del self._closed[old]

    def _moments(self) -> tuple[Moments | None, Moments]:
        """Return the moments of all blocks but the last, and of the last."""
        if self.shape:
            assert self._tail is not None
            return self._closed[self._first + len(self._rows) - 1], self._tail
        n = len(self._tally) - 1
        closed: Any = None if self._before is None else self._before.closed
        if n:
            more = ScalarMoments(*self._tally.merged(0, n))
            closed = more if closed is None else closed.merge(more)
        return closed, ScalarMoments(*self._tally.moments_of(n))

    @property
    def tail(self) -> Moments:
        """The moments of the last block that was entered."""
        if self.shape:
            assert self._tail is not None
            return self._tail
        return ScalarMoments(*self._tally.moments_of(len(self._tally) - 1))

    def of(self, values: Sequence[Any] | Array, start: int) -> Moments:
        """Return the moments of values that are not entered; the first belongs to step `start`."""
        array = as_values(self.name, values, start, self.shape)
        if not self.shape:
            return ScalarMoments.of(array, start)
        assert self._shift is not None
        return VectorMoments.of(array.reshape(len(array), -1), start, self._shift)

    @property
    def stats(self) -> Stats:
        """Statistics over all that was entered."""
        closed, tail = self._moments()
        return Stats(tail if closed is None else closed.merge(tail), self.shape)  # type: ignore[arg-type]

    def table(self) -> MetricTable:
        """Return what was entered as a table."""
        closed, tail = self._moments()
        assert self.shape is not None
        before = None
        if self._before is not None:
            before = {name: self._before.rows[name][: self._first] for name in COLUMNS}
        rows: Mapping[str, Array]
        if self.shape:
            rows = {name: np.array([row[name] for row in self._rows], _dtype(name)) for name in COLUMNS}
            if before is not None:
                rows = {name: np.concatenate([before[name], rows[name]]) for name in COLUMNS}
        else:
            assert isinstance(tail, ScalarMoments)
            rows = _TallyRows(before, self._tally, len(self._tally) - 1, tail)
        return MetricTable(self.shape, rows, closed, tail)


def shift_of(values: Array) -> Array:
    """Return what is subtracted from all values of a metric before they are summed: the first one, where finite."""
    return np.where(np.isfinite(values[0]), values[0], 0.0).reshape(-1)


def _dtype(name: str) -> Any:
    return np.int64 if name in INTEGER else np.float64


class _TallyRows(Mapping[str, Array]):
    """The columns of a scalar metric, made when they are needed: the exact mean of a block takes a long division.

    They are those of now: the first `n` rows of a tally, which stay as they are when it grows, and then `tail`.
    """

    def __init__(self, before: Mapping[str, Array] | None, tally: Tally, n: int, tail: ScalarMoments) -> None:
        self._before, self._tally, self._n, self._tail = before, tally, n, tail
        self._made: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        if name not in COLUMNS:
            raise KeyError(name)
        if name not in self._made:
            column = np.append(self._tally.column(name)[: self._n], _dtype(name)(getattr(self._tail, name)))
            self._made[name] = column if self._before is None else np.concatenate([self._before[name], column])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COLUMNS)

    def __len__(self) -> int:
        return len(COLUMNS)


def vector_row(moments: VectorMoments, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return one row of a table: `COLUMNS` of one block."""
    row = {name: getattr(moments, name) for name in COLUMNS if name != "m2"}
    with np.errstate(invalid="ignore"):
        row["mean"] = moments.mean + moments.shift
        row["m2"] = moments.comoment.diagonal()
    return {name: value.reshape(shape) for name, value in row.items()}


#: The columns of a table, as they are called in the file and in ``overview``.
COLUMNS = ("mean", "m2", "min", "max", "argmin", "argmax", "last", "nan_count")
#: Those of them that are integers.
INTEGER = frozenset({"argmin", "argmax", "nan_count"})


@frozen
class MetricTable:
    """What one metric gave over a run.

    Attributes
    ----------
    shape : tuple of int
        Shape of one value; () for a scalar metric.
    rows : mapping of str to ndarray, shape (n_blocks, *shape)
        `COLUMNS`, one row per block.
    closed, tail : ScalarMoments or VectorMoments
        Exact moments of all blocks but the last (None for one block), and of the last: so that a run can grow and
        keep the bits of one that was recorded in one piece.
    """

    shape: tuple[int, ...]
    rows: Mapping[str, Array]
    closed: Moments | None
    tail: Moments

    @property
    def stats(self) -> Stats:
        """Statistics over all blocks."""
        whole = self.tail if self.closed is None else self.closed.merge(self.tail)  # type: ignore[arg-type]
        return Stats(whole, self.shape)


# ---- what a replay gives, and what is in the table


class TableRows(NamedTuple):
    """Some rows of a table, as they travel to whoever replays their blocks.

    Attributes
    ----------
    shape : tuple of int
        Of one value.
    shift : ndarray or None
        As in `VectorMoments`, for a metric with several components.
    rows : dict of int to dict of str to ndarray
        `COLUMNS` by block.

    Notes
    -----
    What is compared is compared byte for byte, but for the mean and m2 of several components: these may have been
    summed in another order, see `VectorMoments.agrees`.
    """

    shape: tuple[int, ...]
    shift: Array | None
    rows: Mapping[int, Mapping[str, Any]]

    @classmethod
    def of(cls, table: MetricTable, blocks: Iterable[int]) -> TableRows:
        """Return the rows of some blocks."""
        shift = table.tail.shift if isinstance(table.tail, VectorMoments) else None
        rows = {block: {name: table.rows[name][block] for name in COLUMNS} for block in blocks}
        return cls(table.shape, shift, rows)

    def difference(self, name: str, block: int, values: Sequence[Any] | Array, start: int) -> TableDifference | None:
        """Return where the values of `block`, the first of which belongs to step `start`, are not those of its row."""
        array = as_values(name, values, start, self.shape)
        if self.shape:
            assert self.shift is not None
            moments: Moments = VectorMoments.of(array.reshape(len(array), -1), start, self.shift)
        else:
            moments = ScalarMoments.of(array, start)
        return self.moments_difference(name, block, moments, start)

    def moments_difference(self, name: str, block: int, moments: Moments, start: int) -> TableDifference | None:
        """Return where the moments of `block`, which begins at step `start`, are not those of its row."""
        kept = self.rows[block]
        given: Mapping[str, Any]
        if isinstance(moments, VectorMoments):
            given = vector_row(moments, self.shape)
        else:
            given = {column: getattr(moments, column) for column in COLUMNS}
        for column in _COMPARED:
            old, new = (np.asarray(row[column], _dtype(column)) for row in (kept, given))
            # Bytes, not ==: 0.0 is not -0.0. A NaN is the same value twice, whatever its sign.
            same = old.view(np.int64) == new.view(np.int64)
            if column not in INTEGER:
                same |= np.isnan(old) & np.isnan(new)
            if isinstance(moments, VectorMoments) and column in ("mean", "m2"):
                with np.errstate(invalid="ignore"):
                    same |= np.abs(old - new) <= _rounding(column, moments).reshape(self.shape)
            if not same.all():
                index = tuple(int(i) for i in np.argwhere(~same)[0])
                step = _step_of(column, old[index], new[index], kept, given, index)
                return TableDifference(name, column, index, max(step, start), old[index].item(), new[index].item())
        return None


class TableDifference(NamedTuple):
    """A number that is not the one in the table: of which metric, column and component; and the step to look at."""

    name: str
    column: str
    component: tuple[int, ...]
    step: int
    expected: Any
    got: Any


#: The columns in the order in which they are compared: those that tell most of one odd value come first.
_COMPARED = ("nan_count", "min", "max", "argmin", "argmax", "last", "mean", "m2")


def _step_of(column: str, old: Any, new: Any, kept: Mapping[str, Any], given: Mapping[str, Any], index: Any) -> int:
    """Return the step that a differing extreme was reached at, -1 for other columns."""
    if column not in ("min", "max"):
        return -1
    recorded_is_further = np.isnan(new) or (old < new if column == "min" else old > new)
    return int(np.asarray((kept if recorded_is_further else given)[f"arg{column}"])[index])


def _rounding(column: str, moments: VectorMoments) -> Array:
    """Return how far two sums of the same values may be apart, see `VectorMoments.agrees`."""
    n = moments.count
    with np.errstate(invalid="ignore", over="ignore"):
        reach = np.maximum(np.abs(moments.min), np.abs(moments.max)) + np.abs(moments.shift)
        bound = 8 * n * EPS * reach if column == "mean" else 16 * n * n * EPS * reach * reach
    return np.nan_to_num(bound, nan=np.inf)


def require_observed(
    name: str, function: MetricFunction | None, table: MetricTable, t: int, block: int, state: Any
) -> None:
    """Refuse a function whose value of the state at step `t` lies outside what `block` has in the table.

    Raises
    ------
    MetricError
        It is not the function that was observed, and searches leave out blocks by the table of that.
    """
    try:
        value = state if function is None else function(state)
    except Exception as error:
        raise MetricError(name, t, f"raised {type(error).__name__}: {error}") from error
    (given,) = as_values(name, [value], t)
    low, high, nan_count = (table.rows[column][block] for column in ("min", "max", "nan_count"))
    if given.shape == table.shape:
        if np.where(np.isnan(given), nan_count > 0, (low <= given) & (given <= high)).all():
            return
    problem = (
        f"gives {show(given.tolist())}, and in that block {show(low.tolist())} to {show(high.tolist())} was observed"
    )
    raise MetricError(name, t, problem, "the function that was observed")
