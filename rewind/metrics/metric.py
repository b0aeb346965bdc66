"""Metrics: named functions of the state, checked and tried once, and their values as arrays of numbers."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, MetricError, show
from ..state.classes import class_fields, class_kind
from ..state.codec import StateCodec
from ..state.columns import Array
from .guard import changed, kept, may_change, on_copies
from .plain import Labelled, is_plain, plain

_NAME = r"[^\W\d][\w.-]{0,63}"

#: What a user may give: a callable, None (the state itself), or the name of an attribute or key of the state.
Metric = Any
MetricFunction = Callable[[Any], Any]


def label(metric: Metric) -> str:
    """Return what a metric is called in messages."""
    name = metric if isinstance(metric, str) else getattr(metric, "__name__", "f")
    return "f" if name == "<lambda>" else str(name)


def resolve(metrics: Mapping[str, Metric], init_state: Any, codec: StateCodec) -> dict[str, MetricFunction | None]:
    """Return the metrics as functions (None: the state itself), each tried once on a copy of `init_state`.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        If this is no mapping of names to metrics.
    MetricError
        If a metric raises, or gives something that is no number or array of numbers.

    Warns
    -----
    MutatingMetricWarning
        If a metric changes the state; it is given copies.
    """
    if not isinstance(metrics, Mapping):
        raise ArgumentTypeError("observe", metrics, "a dict of names to metrics, such as {'x': lambda state: state.x}")
    resolved: dict[str, MetricFunction | None] = {}
    for name, metric in metrics.items():
        if not isinstance(name, str):
            raise ArgumentTypeError("a name in observe", name, "a str")
        if not re.fullmatch(_NAME, name):
            raise ArgumentError(
                "a name in observe", name, "letters, digits, '_', '.' and '-', at most 64, a letter first"
            )
        resolved[name] = resolve_one(name, metric, init_state, codec)
    return resolved


def resolve_one(
    name: str,
    metric: Metric,
    init_state: Any,
    codec: StateCodec,
    step: int = 0,
    numbers: bool = True,
    known: Mapping[str, MetricFunction | None] | None = None,
    observed: Collection[str] = (),
) -> MetricFunction | None:
    """Return one metric as a function, tried on a copy of the state at `step`; with `numbers` it must give numbers.

    A name that the state does not have may be that of an observed metric in `known`; the functions of those in
    `observed` may be missing.
    """
    if isinstance(metric, str):
        if isinstance(init_state, Mapping) or (
            isinstance(init_state, (np.ndarray, np.void)) and init_state.dtype.names
        ):
            function: MetricFunction | None = operator.itemgetter(metric)
        else:
            function = operator.attrgetter(metric)
    elif metric is None or callable(metric):
        function = metric
    else:
        raise ArgumentTypeError(f"metric {name!r}", metric, "a callable, None (the state itself) or a name")
    state = codec.copy(init_state)
    before = kept(codec, state)
    try:
        value = state if function is None else function(state)
    except Exception as error:
        if isinstance(metric, str) and isinstance(error, (KeyError, AttributeError, ValueError)):
            if known is not None and metric in known:
                return resolve_one(name, known[metric], init_state, codec, step, numbers)
            if metric in observed:
                problem = "was observed while recording, and a file holds no functions"
                cure = f"rewind.load(path, step_fn, observe={{{metric!r}: function}}), or run.observed[{metric!r}] and "
                raise MetricError(name, step, problem, f"{cure}run.overview({metric!r}) for what is kept") from None
            raise MetricError(name, step, f"is no attribute or key of the state{_has(state)}", "one it has") from None
        raise MetricError(name, step, f"raised {type(error).__name__}: {error}") from error
    if numbers:
        as_values(name, [value], step)
    if function is not None and may_change(function) and changed(codec, before, state):
        function = on_copies(name, function, codec, step)
    if not numbers or isinstance(value, (bool, int, float, np.generic)) or isinstance(function, _ArrayCopy):
        return function
    return _ArrayCopy(function)


def _has(state: Any) -> str:
    """Return the names that a metric of this state could have, as a clause of a message."""
    if isinstance(state, Mapping):
        names = [key for key in state if isinstance(key, str)]
    elif isinstance(state, (np.ndarray, np.void)):
        names = list(state.dtype.names or ())
    else:
        names = list(class_fields(type(state))) if class_kind(type(state)) else list(getattr(state, "__dict__", ()))
    return f", which has {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}" if names else ""


class _ArrayCopy:
    """A metric whose values are arrays: each is copied at once, since an in-place step goes on writing into it."""

    def __init__(self, function: MetricFunction | None) -> None:
        self.function = function

    def __call__(self, state: Any) -> Any:
        value = state if self.function is None else self.function(state)
        try:
            # What another library gives may be its own memory still: not all of them copy when they are asked to.
            return np.array(value) if is_plain(value) else np.array(np.asarray(plain(value)))
        except Labelled:  # said with its step where the numbers are looked at
            return value


def uncopied(function: MetricFunction | None) -> MetricFunction | None:
    """Return a metric, as `resolve_one` returns it, without the copying of its arrays; None for the state itself."""
    return function.function if isinstance(function, _ArrayCopy) else function


def same_metric(one: MetricFunction | None, other: MetricFunction | None) -> bool:
    """Return whether two metrics, as `resolve_one` returns them, are the same function or the same name."""
    a, b = uncopied(one), uncopied(other)
    if isinstance(a, (operator.attrgetter, operator.itemgetter)) and type(a) is type(b):
        return bool(a.__reduce__() == b.__reduce__())
    return a is b


def names_of(metrics: Mapping[str, MetricFunction | None]) -> dict[str, str | None]:
    """Return the metrics that need no function: names of attributes or keys, and None for the state itself."""
    found: dict[str, str | None] = {}
    for name, metric in metrics.items():
        function = uncopied(metric)
        if isinstance(function, (operator.attrgetter, operator.itemgetter)):
            found[name] = function.__reduce__()[1][0]
        elif function is None:
            found[name] = None
    return found


def as_values(name: str, values: Sequence[Any] | Array, step: int, shape: tuple[int, ...] | None = None) -> Array:
    """Return what a metric gave, from `step` on, as float64 of shape (n, *shape); integers are rounded to doubles.

    Raises
    ------
    MetricError
        Naming the first step whose value is no number, or has another shape.
    """
    if type(values) is np.ndarray:
        if shape is None or shape == values.shape[1:]:
            return values
        values = list(values)
    if not all(map(is_plain, values)):
        values = [plain_value(name, value, step + i) for i, value in enumerate(values)]
    try:
        array = np.array(values)
        if array.dtype.kind in "biuf" and (shape is None or array.shape[1:] == shape) and array.size:
            return np.ascontiguousarray(array, np.float64)
    except (ValueError, OverflowError):
        pass
    rows = []
    for i, value in enumerate(values):
        row = _as_row(name, value, step + i)
        shape = row.shape if shape is None else shape
        if row.shape != shape:
            raise MetricError(name, step + i, f"gave an array of shape {row.shape}, and shape {shape} before")
        rows.append(row)
    return np.array(rows, np.float64)


def plain_value(name: str, value: Any, step: int | None) -> Any:
    """Return what a metric gave at a step, with NaN for each masked cell.

    Raises
    ------
    MetricError
        If it has a unit or labels.
    """
    try:
        return plain(value)
    except Labelled as error:
        raise MetricError(name, step, error.problem, error.cure) from None


def _as_row(name: str, value: Any, step: int) -> Array:
    try:
        row = np.asarray(float(value)) if isinstance(value, int) else np.array(value)
    except (ValueError, OverflowError) as error:
        raise MetricError(name, step, f"gave {show(value)}: {error}") from error
    if row.dtype.kind not in "biuf":
        raise MetricError(name, step, f"gave {show(value)} ({type(value).__name__})")
    if not row.size:
        raise MetricError(name, step, "gave an empty array")
    return row.astype(np.float64)
