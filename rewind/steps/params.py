"""The params of a step: what they may be, how files have them, and how each block gets its own.

A file is JSON, which lacks some of them: in it ``{"float": "inf"}``, ``{"dict": {...}}`` and ``{"ndarray": [dtype,
shape, base64]}`` stand for them. Files with one of these, or with a list in a list, are of version 2 of the format.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError

#: The first version of the format in which params are more than JSON scalars and lists of them.
VERSION = 2
_KINDS = "biufcSUmM"  # of arrays: all that is bytes and no object
_DEPTH = 64
_EXPECTED = "numbers, text, True, False, None, an array, or lists and dicts of them"
_FLOATS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def params_of(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return `params` as they come back from a file: JSON scalars, lists, dicts and arrays; nothing is the caller's.

    Tuples become lists, and numpy's scalars what they hold.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        Naming the parameter that is none of these.
    """
    if not params and (params is None or isinstance(params, Mapping)):
        return {}
    if not isinstance(params, Mapping):
        raise ArgumentTypeError("params", params, f"a dict of names to {_EXPECTED}")
    found: dict[str, Any] = {}
    for name, value in params.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ArgumentError("a name in params", name, "a name that can be a keyword argument")
        found[name] = _value_of(f"params[{name!r}]", value, value, 0)
    return found


def _value_of(what: str, whole: Any, value: Any, depth: int) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ArgumentError(what, whole, "text without half a surrogate pair") from None
        return str.__str__(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value.bit_length() > 10_000:  # Python does not read back what has more digits
            raise ArgumentError(what, whole, "an integer of at most 3,000 digits")
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in _KINDS and value.dtype.char not in "gG":
        return np.array(value, copy=True, order="C", subok=False)
    if depth < _DEPTH:
        if isinstance(value, (list, tuple)):
            return [_value_of(what, whole, item, depth + 1) for item in value]
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {
                _value_of(what, whole, key, depth): _value_of(what, whole, item, depth + 1)
                for key, item in value.items()
            }
    raise ArgumentTypeError(what, whole, f"a JSON scalar or {_EXPECTED}", "Put anything else in the state")


# ---- one of its own for each block


def may_change(params: Mapping[str, Any]) -> bool:
    """Whether a step could change one of them."""
    return any(isinstance(value, (list, dict, np.ndarray)) for value in params.values())


def fresh(value: Any) -> Any:
    """Return a value, or all params, that nobody else has."""
    if isinstance(value, list):
        return [fresh(item) for item in value]
    if isinstance(value, dict):
        return {key: fresh(item) for key, item in value.items()}
    return value.copy() if isinstance(value, np.ndarray) else value


def same(one: Any, other: Any) -> bool:
    """Whether two values, or all params, are the same: 1, 1.0 and True are three; NaN is itself, 0.0 is not -0.0."""
    return text_of(one) == text_of(other)


def text_of(value: Any) -> str:
    """Return a text that tells values apart, whatever the order of names."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key!r}:{text_of(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(text_of, value)) + "]"
    if isinstance(value, np.ndarray):
        return f"array({value.dtype.str},{value.shape},{value.tobytes().hex()})"
    return repr(value)


def as_tuples(value: Any) -> Any:
    """Return a value with a tuple for each list: what numba takes."""
    return tuple(map(as_tuples, value)) if isinstance(value, (list, tuple)) else value


# ---- in files


def version_of(params: Mapping[str, Any]) -> int:
    """Return the first version of the format that has them."""
    return VERSION if any(map(_is_more, params.values())) else 1


def _is_more(value: Any) -> bool:
    items = value if isinstance(value, list) else [value]
    return any(isinstance(item, (list, dict, np.ndarray)) or _is_odd(item) for item in items)


def _is_odd(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def to_json(value: Any) -> Any:
    """Return a parameter as JSON has it."""
    import base64  # which most runs do without

    if isinstance(value, list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {"dict": {key: to_json(item) for key, item in value.items()}}
    if isinstance(value, np.ndarray):
        data = base64.b64encode(value.tobytes()).decode("ascii")
        return {"ndarray": [value.dtype.str, list(value.shape), data]}
    return {"float": repr(float(value))} if _is_odd(value) else value


def of_json(value: Any) -> Any:
    """Return a parameter that `to_json` wrote.

    Raises
    ------
    ValueError, TypeError
        If it did not.
    """
    if isinstance(value, list):
        return [of_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == "float" and held in _FLOATS:
        return _FLOATS[held]
    if kind == "dict" and isinstance(held, dict):
        return {key: of_json(item) for key, item in held.items()}
    if kind == "ndarray":
        return _array_of(*held)
    raise ValueError(f"{kind!r} is no kind of parameter")


def _array_of(dtype: str, shape: list[int], data: str) -> np.ndarray[Any, Any]:
    import base64

    kind = np.dtype(dtype)
    if kind.kind not in _KINDS or kind.str != dtype or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"{dtype!r} is no type of an array that is a parameter")
    return np.frombuffer(base64.b64decode(data, validate=True), kind).reshape(shape).copy()
