"""What a `Run` hands out lazily: some of its steps, and the statistics it observed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast, overload

import numpy as np

from ..engine.queries import value_of
from ..engine.reader import Reader
from ..engine.recording import Recording
from ..errors import ArgumentError, ArgumentTypeError, MetricError, SizeLimitError, StepRangeError, UnknownMetricError
from ..metrics.metric import Metric, label, plain_value, resolve_one
from ..metrics.statistics import Stats
from ..state.classes import class_fields, class_kind
from ..state.columns import Array
from .arguments import integer, slice_of

S = TypeVar("S")

#: Largest array, in bytes, that ``numpy.asarray`` makes of a run.
ARRAY_LIMIT = 1 << 28


_ADVICE = "run.series(f) gives an array of f(state)"


def _as_array(state: Any) -> Array:
    if not isinstance(state, (bool, int, float, complex, np.ndarray, np.generic)):
        raise ArgumentTypeError("the state", state, "a number or an array, to make one array of all", _ADVICE)
    return np.asarray(state)


def common_dtype(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that holds both; integers stay integers, where numpy would round them to doubles."""
    common = np.result_type(a, b)
    return np.dtype(object) if common.kind == "f" and a.kind in "iu" and b.kind in "iu" else common


class View(Sequence[S]):
    """Some steps of a run, as ``run[start:stop:step]`` gives them: states are made when they are asked for."""

    def __init__(self, reader: Reader, steps: range) -> None:
        self._reader, self.steps = reader, steps

    def __len__(self) -> int:
        return len(self.steps)

    @overload
    def __getitem__(self, i: int) -> S: ...
    @overload
    def __getitem__(self, i: slice) -> View[S]: ...
    def __getitem__(self, i: int | slice) -> S | View[S]:
        if isinstance(i, slice):
            return View(self._reader, self.steps[slice_of(i)])
        try:
            t = self.steps[integer("i", i)]
        except IndexError:
            raise StepRangeError(integer("i", i), len(self.steps)) from None
        return cast("S", self._reader.get(t))

    def __iter__(self) -> Iterator[S]:
        steps = self.steps
        if steps.step < 0:
            return (self._reader.get(t) for t in steps)
        return self._reader.states(steps)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("the states of a run are not in memory, so an array of them is always a new one")
        first = _as_array(self._reader.get(self.steps[0] if self.steps else 0))
        if first.nbytes * len(self.steps) > ARRAY_LIMIT:
            raise SizeLimitError(first.nbytes * len(self.steps), ARRAY_LIMIT)
        array = np.empty((len(self.steps), *first.shape), first.dtype)
        for i, state in enumerate(self):
            value = _as_array(state)
            if value.shape != first.shape:  # which numpy might broadcast
                expected = f"{first.shape}, as at the first step, to make one array of all"
                raise ArgumentError("the shape of a state", value.shape, expected, _ADVICE)
            if value.dtype != array.dtype:
                array = array.astype(common_dtype(array.dtype, value.dtype))
            array[i] = value
        return array if dtype is None else array.astype(dtype, copy=False)

    def to_numpy(self, f: Metric = None) -> Any:
        """Return ``f(state)`` at these steps, in one pass if they go forward.

        Parameters
        ----------
        f : callable, None (the state itself) or name of an attribute or key

        Returns
        -------
        values : ndarray, shape (n, *shape of f(state)), or dict of str to ndarray
            As `Run.series` gives it: a dict of arrays where the values are dicts, dataclasses or namedtuples.
        """
        if not self.steps:
            return stacked([])
        first, codec = self.steps[0], self._reader.recording.checkpoints.codec
        name = label(f)
        function = resolve_one(name, f, self._reader.get(first), codec, first, numbers=False)
        pairs = zip(self.steps, self, strict=True)
        return stacked([state if function is None else value_of(name, function, state, t) for t, state in pairs])

    def __repr__(self) -> str:
        return f"<View: {len(self)} states of a run of {self._reader.recording.n_steps:,}>"


class Observed(Mapping[str, Stats]):
    """Statistics of the metrics a run observed, by name."""

    def __init__(self, recording: Recording) -> None:
        self._metrics = recording.metrics

    def __getitem__(self, name: str) -> Stats:
        if name not in self._metrics:
            raise UnknownMetricError(name, list(self._metrics))
        return self._metrics[name].stats

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def __len__(self) -> int:
        return len(self._metrics)

    def __repr__(self) -> str:
        return f"Observed({', '.join(self._metrics)})"


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
    values = [plain_value(name, value, None) for value in values]
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
