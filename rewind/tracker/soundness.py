"""What a row or a definition of a metric can look like: checked where it comes from a disk or a file that may lie."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import numpy as np

from .accounts import KINDS

_DEPTH = 80
_TYPES = re.compile(r"[<>|=][biufcSUmM][0-9]{1,9}(\[[0-9]{0,9}[A-Za-z]{1,2}\])?")
_HEX = re.compile(r"-?0x[0-9a-f]+")
_PLAIN = frozenset({int, float, str, bool, type(None)})


def loads(text: str | bytes) -> Any:
    """Return the value that JSON text stands for; one with NaN, Infinity or a key twice is a ValueError."""
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_without_twins)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it holds {name}, which is not JSON")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(pairs)
    if len(built) != len(pairs):
        raise ValueError("it has a key twice")
    return built


def row_of(text: str) -> dict[str, Any]:
    """Return the kept values of a row.

    Raises
    ------
    ValueError
        If the text is no row that was logged; says why.
    """
    row = loads(text)
    if type(row) is not dict:
        raise ValueError("it is no object")
    for key, value in row.items():
        if type(value) not in _PLAIN:
            require_kept(value, key)
    if "_step" in row:
        raise ValueError("it has a value for _step")
    return row


def require_kept(value: Any, where: str, depth: int = 0) -> None:
    """Raise a ValueError if `value`, of JSON, is nothing that `values.kept_value` gives."""
    if type(value) in _PLAIN:
        return
    if depth > _DEPTH:
        raise ValueError(f"{where} is nested too deep")
    if type(value) is list:
        for item in value:
            require_kept(item, where, depth + 1)
        return
    if type(value) is dict and len(value) == 1:
        ((name, held),) = value.items()
        if _is_kept(name, held, where, depth):
            return
    raise ValueError(f"{where} is no value that a row can hold")


def _is_kept(name: str, held: Any, where: str, depth: int) -> bool:
    if name == "float":
        return held in ("nan", "inf", "-inf")
    if name == "int":
        return type(held) is str and _HEX.fullmatch(held) is not None
    if name == "complex":
        return type(held) is list and len(held) == 2 and all(type(part) is float or _is_odd(part) for part in held)
    if name == "bytes":
        bytes.fromhex(held if type(held) is str else "?")
        return True
    if name == "ndarray":
        return _is_array(held)
    if name == "dict" and type(held) is dict:
        for item in held.values():
            require_kept(item, where, depth + 1)
        return True
    return False


def _is_odd(part: Any) -> bool:
    return type(part) is dict and list(part) == ["float"] and part["float"] in ("nan", "inf", "-inf")


def _is_array(held: Any) -> bool:
    if type(held) is not list or len(held) != 3:
        return False
    dtype, shape, data = held
    if type(dtype) is not str or not _TYPES.fullmatch(dtype) or type(data) is not str or type(shape) is not list:
        return False
    if len(shape) > 32 or not all(type(length) is int and 0 <= length < 1 << 40 for length in shape):
        return False
    size = 1
    for length in shape:
        size *= length
    try:
        return size * np.dtype(dtype).itemsize == len(base64.b64decode(data, validate=True))
    except TypeError:  # numpy has no such type
        return False


def require_value(text: str, where: str) -> None:
    """Raise a ValueError if `text` is no JSON of a kept value."""
    require_kept(loads(text), where)


def is_text(value: Any) -> bool:
    """Whether a value is text that can be written as UTF-8."""
    if type(value) is not str:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def definitions_problem(defined: Any) -> str | None:
    """Return what is wrong with definitions of metrics, None for sound ones."""
    if not isinstance(defined, dict):
        return "they are no object"
    for name, one in defined.items():
        if not isinstance(one, dict) or not set(one) <= {"step_metric", "step_sync", "summary"}:
            return f"{name!r} is defined as nothing that define_metric takes"
        kinds = one.get("summary", [])
        if type(kinds) is not list or not all(kind in (*KINDS, "none") for kind in kinds):
            return f"the summary of {name!r} is none"
        if "step_metric" in one and (type(one["step_metric"]) is not str or type(one.get("step_sync")) is not bool):
            return f"the step metric of {name!r} is none"
    return None
