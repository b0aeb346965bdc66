"""Filters and orders of `Api.runs`: the query language of MongoDB, as far as W&B's programs use it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...errors import ArgumentError, ArgumentTypeError

_MISSING = object()
_ALL: dict[str, Callable[[list[bool]], bool]] = {"$and": all, "$or": any, "$nor": lambda found: not any(found)}
#: Other spellings of fields.
_SPELLINGS = {
    "createdAt": "created_at",
    "displayName": "display_name",
    "jobType": "job_type",
    "summaryMetrics": "summary_metrics",
    "summary": "summary_metrics",
    "user.username": "username",
    "heartbeatAt": "heartbeat_at",
}


def matches(fields: Mapping[str, Any], wanted: Any) -> bool:
    """Whether a run, by its fields, is what a filter wants.

    Parameters
    ----------
    fields : mapping
        By name; ``config`` and ``summary_metrics`` are mappings themselves.
    wanted : mapping
        Such as ``{"state": "finished", "config.lr": {"$lt": 0.1}}``.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If it is no filter, or has an operator that is not there.
    """
    if not isinstance(wanted, Mapping):
        raise ArgumentTypeError("filters", wanted, "a dict, such as {'state': 'finished'}")
    return all(_holds(fields, name, condition) for name, condition in wanted.items())


def _holds(fields: Mapping[str, Any], name: str, condition: Any) -> bool:
    if name in _ALL:
        return bool(_ALL[name]([matches(fields, one) for one in condition]))
    if name == "$not":
        return not matches(fields, condition)
    if name.startswith("$"):
        raise ArgumentError("filters", name, f"a field, or one of {', '.join([*_ALL, '$not'])}")
    return _fits(value_of(fields, name), condition)


def _fits(value: Any, condition: Any) -> bool:
    """Whether a value is what a condition says: an equal one, or what all operators want."""
    if isinstance(condition, Mapping) and condition and all(str(key).startswith("$") for key in condition):
        return all(_operated(value, operator, operand, condition) for operator, operand in condition.items())
    return _equals(value, condition)


def _operated(value: Any, operator: str, operand: Any, condition: Mapping[str, Any]) -> bool:
    if operator == "$not":
        return not _fits(value, operand)
    if operator == "$options":
        return True  # of $regex
    if operator not in _OPERATORS:
        raise ArgumentError("filters", operator, f"one of {', '.join([*_OPERATORS, '$not'])}")
    if operator == "$regex":
        flags = re.IGNORECASE if "i" in condition.get("$options", "") else 0
        return isinstance(value, str) and re.search(operand, value, flags) is not None
    return _OPERATORS[operator](value, operand)


def _equals(value: Any, wanted: Any) -> bool:
    """Whether it is the same, or a list that has it; what is not there equals None."""
    if value is _MISSING:
        return wanted is None
    if isinstance(value, (list, tuple)) and not isinstance(wanted, (list, tuple)):
        return wanted in value
    if isinstance(value, tuple):
        value = list(value)
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def _in(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, str) or not isinstance(wanted, Sequence):
        raise ArgumentTypeError("what follows $in", wanted, "a list")
    return any(_equals(value, one) for one in wanted)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def holds(value: Any, wanted: Any) -> bool:
        try:
            return value is not _MISSING and value is not None and bool(compare(value, wanted))
        except TypeError:  # text is neither less nor more than a number
            return False

    return holds


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _equals,
    "$ne": lambda value, wanted: not _equals(value, wanted),
    "$gt": _ordered(lambda a, b: a > b),
    "$gte": _ordered(lambda a, b: a >= b),
    "$lt": _ordered(lambda a, b: a < b),
    "$lte": _ordered(lambda a, b: a <= b),
    "$in": _in,
    "$nin": lambda value, wanted: not _in(value, wanted),
    "$exists": lambda value, wanted: (value is not _MISSING and value is not None) is bool(wanted),
    "$regex": lambda value, wanted: False,
    "$all": lambda value, wanted: all(_equals(value, one) for one in wanted),
}


def value_of(fields: Mapping[str, Any], name: str) -> Any:
    """Return the value of a field: ``config.lr``, ``config.lr.value``, ``summary_metrics.loss.min``, ``tags`` ..."""
    name = _SPELLINGS.get(name, name)
    first, dot, rest = name.partition(".")
    value = fields.get(_SPELLINGS.get(first, first), _MISSING)
    return _inside(value, rest) if dot else value


def _inside(value: Any, path: str) -> Any:
    if not path or path == "value":  # as W&B's server spells a value of a config
        return value
    if not isinstance(value, Mapping):
        return _MISSING
    if path in value:  # a name with dots
        return value[path]
    parts = path.split(".")
    for i in range(len(parts) - 1, 0, -1):
        key = ".".join(parts[:i])
        if key in value:
            return _inside(value[key], ".".join(parts[i:]))
    return _MISSING


def sort_key(order: str) -> tuple[Callable[[Mapping[str, Any]], Any], bool]:
    """Return the key of an order such as ``-summary_metrics.loss``, and whether it is from the largest down.

    Raises
    ------
    ArgumentTypeError
        If it is none.
    """
    if not isinstance(order, str) or not order.lstrip("+-"):
        raise ArgumentTypeError("order", order, "a field with + or - before it, such as '-summary_metrics.loss'")
    down, name = order.startswith("-"), order.lstrip("+-")

    def key(fields: Mapping[str, Any]) -> tuple[Any, ...]:
        value = value_of(fields, name)
        there = value is not _MISSING and value is not None and value == value
        number = isinstance(value, (int, float))
        kind = (0 if number else 1) if there else 2
        if down:
            kind = -kind  # what has no such field is last either way
        return (kind, value if there and number else str(value) if there else "")

    return key, down
