"""Metrics that a driver can evaluate where the state lies: the state itself, a field of it, a numba function of it."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...metrics.metric import uncopied
from .driver import Look
from .slots import Group, Slot, StateSlots

#: No example of a state was given.
NOTHING: Any = object()


@dataclass(frozen=True)
class Looks:
    """What a driver is to observe.

    Attributes
    ----------
    looks : tuple of Look
    owners : tuple of int
        For each of them the number of its metric.
    shapes : tuple of tuple of int
        Shape of one value of each metric.
    functions : tuple
        The numba functions ``m0, m1, ...`` among the metrics.
    """

    looks: tuple[Look, ...]
    owners: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    functions: tuple[Any, ...]

    @property
    def width(self) -> int:
        """Number of doubles for one state."""
        return sum(look.size for look in self.looks)


def plain(metric: Any, is_numba: Any) -> Any:
    """Return what a metric is: None (the state itself), a field's name, a numba function; else NOTHING.

    What `metric.resolve` made of it is looked through: an attrgetter, or a function that copies arrays.
    """
    metric = uncopied(metric)
    if isinstance(metric, (operator.attrgetter, operator.itemgetter)):
        fields = metric.__reduce__()[1]
        metric = fields[0] if len(fields) == 1 else NOTHING
    if metric is None or is_numba(metric) or (isinstance(metric, str) and metric.isidentifier()):
        return metric
    return NOTHING


def looks_of(state: StateSlots, metrics: Sequence[Any], example: Any) -> Looks | None:
    """Return how to observe `metrics` (as from `plain`) of a state in `state`, None if they cannot be.

    `example` is a state to try numba functions on: how many numbers they give is known when they have run.
    """
    looks: list[Look] = []
    owners: list[int] = []
    shapes: list[tuple[int, ...]] = []
    functions: list[Any] = []
    for number, metric in enumerate(metrics):
        if metric is None or isinstance(metric, str):
            found = _numbers(state.tree, "x") if metric is None else _field(state.tree, metric)
        else:
            found = _result(metric, f"m{len(functions)}(x)", example)
            functions.append(metric)
        if found is None:
            return None
        shape, expressions = found
        size = int(np.prod(shape, dtype=np.int64))
        each = size // len(expressions)
        for expression in expressions:
            looks.append(Look(expression, sum(look.size for look in looks), each))
            owners.append(number)
        shapes.append(shape)
    return Looks(tuple(looks), tuple(owners), tuple(shapes), tuple(functions))


_Found = tuple[tuple[int, ...], list[str]]


def _numbers(tree: Any, name: str) -> _Found | None:
    """Return shape and expressions of the numbers in a part of the state, as ``numpy.array`` would see them."""
    if isinstance(tree, Slot):
        size = int(np.prod(tree.shape, dtype=np.int64))
        return (tree.shape, [name]) if tree.dtype.kind in "biuf" and size else None
    leaves = [child for child in tree.children if isinstance(child, Slot) and child.order is None]
    if not leaves or len(leaves) != len(tree.children) or not all(leaf.dtype.kind in "biuf" for leaf in leaves):
        return None
    return (len(leaves),), [f"{name}[{i}]" for i in range(len(leaves))]


def _field(tree: Any, name: str) -> _Found | None:
    if isinstance(tree, Group) and tree.cls is not None:
        fields = getattr(tree.cls, "_fields", ())
        return _numbers(tree.children[fields.index(name)], f"x.{name}") if name in fields else None
    if isinstance(tree, Slot) and tree.order is not None and name in (tree.dtype.names or ()):
        part = Slot("", tree.dtype[name], tree.shape, tree.order)
        return _numbers(part, f"x[{name!r}]")
    return None


def _result(metric: Any, expression: str, example: Any) -> _Found | None:
    if example is NOTHING:
        return None
    try:
        value = np.asarray(metric(example))
    except Exception:  # the same from the loop that calls it step by step, which says where
        return None
    return (value.shape, [expression]) if value.dtype.kind in "biuf" and value.size else None
