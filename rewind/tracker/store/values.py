"""Values of a row, a config or a summary: what can be kept, and its text.

A row is kept as JSON, which lacks a few things. They are an object with one key that says what it is: ``{"float":
"nan"}``, ``{"int": "0x..."}``, ``{"complex": [re, im]}``, ``{"bytes": hex}``, ``{"ndarray": [dtype, shape, base64]}``,
``{"dict": {...}}`` for a dict inside a list. No other object is in a row: a nested dict is dotted keys, a date or a
path is its text, a decimal or a fraction the nearest double.
"""

from __future__ import annotations

import base64
import enum
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ...errors import ArgumentError, ArgumentTypeError
from ...metrics.plain import plain
from ...state.tokens import without_padding
from ...storage.strict_json import loads

#: Types that are kept as they are; their values never change.
_PLAIN = frozenset({int, float, str, bool, type(None)})
_DEPTH = 64
_NAMES = 100_000  # of one call
_BITS = 10_000  # of an integer written in decimal; Python does not read longer ones back
_KINDS = "biufcSUmM"  # of arrays: all that is bytes and no object
_NOT_FINITE = {"nan": "nan", "inf": "inf", "-inf": "-inf"}
_dumps = json.JSONEncoder(allow_nan=False, separators=(",", ":"), check_circular=False).encode


class Unkept(Exception):
    """A value that cannot be kept."""


def flatten(data: Mapping[Any, Any]) -> tuple[dict[str, Any], dict[str, object]]:
    """Return what a user logs with dotted keys for nested dicts, every value as it is kept; and what cannot be kept.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        If it has keys that are no text, or one name twice: ``{"a": {"b": 1}, "a.b": 2}``.
    """
    kept: dict[str, Any] = {}
    problems: dict[str, object] = {}
    _flatten("", data, kept, problems, ())
    return kept, problems


def _flatten(
    prefix: str, data: Mapping[Any, Any], kept: dict[str, Any], problems: dict[str, object], above: tuple[int, ...]
) -> None:
    above = (*above, id(data))
    for key, value in data.items():
        if type(key) is not str and not isinstance(key, str):
            raise ArgumentTypeError(f"a key of {prefix[:-1] or 'data'}", key, "a str")
        name = prefix + key
        if name in kept or name in problems:
            raise ArgumentError("a name in data", name, "each name once", "A nested dict spells it with a dot, too")
        if type(value) in _PLAIN:
            kept[name] = value
        elif isinstance(value, Mapping):
            if len(kept) + len(problems) > _NAMES:
                raise ArgumentError("the number of names in data", f"over {_NAMES:,}", "fewer")
            if id(value) in above or len(above) >= _DEPTH:  # it holds itself
                problems[name] = value
            elif value:
                _flatten(f"{name}.", value, kept, problems, above)
            else:
                kept[name] = {"dict": {}}
        else:
            try:
                kept[name] = kept_value(value)
            except Unkept:
                problems[name] = value


def kept_value(value: Any, depth: int = 0) -> Any:
    """Return a value as it is kept: what JSON has, or an object of one key; nothing of it is the caller's.

    Raises
    ------
    Unkept
        If it is nothing of the kind.
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, np.generic):
        plain = value.dtype.kind in "SU" or (value.dtype.kind in "biufc" and value.dtype.itemsize <= 16)
        value = value.item() if plain else value
        if isinstance(value, np.floating) and (float(value) == value or value != value):
            value = float(value)  # a long double has no Python type
        if isinstance(value, np.generic):
            value = np.asarray(value)
    if isinstance(value, np.ndarray) or (has_array(value) and not isinstance(value, (str, bytes))):
        if _columns(value) is not None:
            raise Unkept  # as an array it would lose the names of its columns: see `kept_table`
        return _kept_array(value)
    if isinstance(value, (bool, int, float, str)):  # subclasses, such as an IntEnum
        if isinstance(value, str):
            return str.__str__(value)  # of an Enum its value
        return bool(value) if isinstance(value, bool) else next(t(value) for t in (int, float) if _is(value, t))
    if isinstance(value, complex):
        return {"complex": [_float(value.real), _float(value.imag)]}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"bytes": bytes(value).hex()}
    if depth > _DEPTH:
        raise Unkept
    if isinstance(value, (list, tuple)):
        return [inner(kept_value(item, depth + 1)) for item in value]
    if isinstance(value, (set, frozenset)):
        items = [inner(kept_value(item, depth + 1)) for item in value]
        return sorted(
            items, key=lambda item: (type(item).__name__, item if type(item) in (int, float, str) else text(item))
        )
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"dict": {str(key): inner(kept_value(item, depth + 1)) for key, item in value.items()}}
    if isinstance(value, enum.Enum):
        return value.name if isinstance(value.value, enum.Enum) else _kept_or(value.value, value.name, depth)
    return _kept_object(value)


def _kept_or(value: Any, other: str, depth: int) -> Any:
    try:
        return kept_value(value, depth + 1)
    except Unkept:
        return other


def _kept_object(value: Any) -> Any:
    """Return a date, a path or an id as text, a span of time in seconds, a decimal or a fraction as a float."""
    import datetime  # some milliseconds that most programs do without
    import decimal
    import fractions
    import uuid

    if isinstance(value, (datetime.date, datetime.time)):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, decimal.Decimal) and not value.is_finite():
        return float("nan") if value.is_nan() else float(value)
    if isinstance(value, (decimal.Decimal, fractions.Fraction)):
        try:
            found = float(value)
        except OverflowError:
            return str(value)
        return found if found - found == 0.0 else str(value)  # beyond all doubles
    raise Unkept


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind)


def inner(kept: Any) -> Any:
    """Return a kept value as it stands inside a list or an object: a number JSON lacks is an object there, too."""
    if type(kept) is float:
        return _float(kept)
    if type(kept) is int and kept.bit_length() > _BITS:
        return {"int": hex(kept)}
    return kept


def _float(value: float) -> Any:
    return value if value - value == 0.0 else {"float": _NOT_FINITE[repr(value)]}


def has_array(value: Any) -> bool:
    """Whether a value says that it can give an array."""
    try:
        return hasattr(value, "__array__")
    except Exception:  # whatever its __getattr__ does
        return False


def _columns(value: Any) -> list[str] | None:
    """Return the names of the columns of a DataFrame or a structured array; None for what has none."""
    if isinstance(value, np.ndarray):
        return list(value.dtype.names) if value.dtype.names and value.ndim == 1 else None
    if hasattr(value, "columns") and (hasattr(value, "itertuples") or hasattr(value, "iter_rows")):  # pandas; polars
        return list(value.columns)
    return None


def kept_table(value: Any) -> Any:
    """Return a DataFrame or a structured array as a dict of its columns, as it is kept.

    Raises
    ------
    Unkept
        If it is neither, or a column cannot be kept.
    """
    names = _columns(value) if has_array(value) else None
    if names is None:
        raise Unkept
    return {"dict": {str(name): _kept_column(value[name]) for name in names}}


def _kept_column(column: Any) -> Any:
    try:
        return kept_value(column, 1)
    except Unkept:
        return kept_value(list(column), 1)


def array_of(value: Any) -> np.ndarray[Any, Any]:
    """Return the array that `value` is or has; of a tensor its numbers, wherever it is and whatever is derived from it.

    numpy has no bfloat16 and no float of 8 bits: these come as float32, which has all their values.
    """
    if not isinstance(value, (np.ndarray, np.generic)) and hasattr(value, "detach"):  # a tensor of torch
        try:
            value = value.numpy(force=True)
        except TypeError:
            if not value.is_floating_point():
                raise
            value = value.float().numpy(force=True)
    array = np.asarray(plain(value) if isinstance(value, np.ma.MaskedArray) else value)
    # What ml_dtypes registers, of which jax and tensorflow have theirs.
    return array.astype(np.float32) if array.dtype.isbuiltin == 2 else array


def _kept_array(value: Any) -> Any:
    try:
        array = array_of(value)
    except Exception:  # such as masked text, which has no NaN
        raise Unkept from None
    if array.dtype.kind not in _KINDS:
        raise Unkept
    if array.ndim == 0 and array.dtype.kind in "biufc" and array.dtype.itemsize <= 16:
        item = array.item()
        if not isinstance(item, np.generic):
            return kept_value(item)
    data = base64.b64encode(without_padding(array).tobytes()).decode("ascii")
    return {"ndarray": [array.dtype.str, list(array.shape), data]}


# ---- text


def _quoted(key: str) -> str:
    found = _KEYS.get(key)
    if found is None:
        found = _dumps(key) + ":"
        if len(_KEYS) < 10_000:
            _KEYS[key] = found
    return found


_KEYS: dict[str, str] = {}


def row_text(row: Mapping[str, Any]) -> str:
    """Return the text of a row of kept values: what ``json.dumps`` gives without blanks, in a fraction of the time."""
    if len(row) >= _MANY and set(map(type, row.values())) <= _WHOLE:
        try:
            return "".join(_encoded(row, 0))
        except ValueError:  # NaN, or infinite
            pass
    parts = []
    for key, value in row.items():
        quoted = _KEYS.get(key) or _quoted(key)
        kind = type(value)
        if kind is float and value - value == 0.0:
            parts.append(quoted + repr(value))
        elif kind is int and -(1 << 63) <= value < 1 << 63:
            parts.append(quoted + repr(value))
        else:
            parts.append(quoted + _dumps(inner(value)))
    return "{" + ",".join(parts) + "}"


#: From how many keys on the encoder in C is faster, and the types that it writes as they are kept.
_MANY, _WHOLE = 4, frozenset({float, str, bool, type(None)})


def _encoder() -> Callable[[Any, int], Iterable[str]]:
    """Return the encoder that ``json`` makes anew for each call, made once; it takes a value and a depth."""
    made = json.JSONEncoder(allow_nan=False, separators=(",", ":"), check_circular=False)
    make, string = json.encoder.c_make_encoder, json.encoder.c_encode_basestring_ascii  # type: ignore[attr-defined]
    if make is None or string is None:  # no C
        return lambda value, depth: (made.encode(value),)
    found: Callable[[Any, int], Iterable[str]] = make(None, made.default, string, None, ":", ",", False, False, False)
    return found


_encoded = _encoder()


def text(kept: Any) -> str:
    """Return the text of one kept value."""
    return _dumps(inner(kept))


def restored(kept: Any) -> Any:
    """Return the value that a user gets, of what JSON gave: arrays are new and their own."""
    kind = type(kept)
    if kind in _PLAIN:
        return kept
    if kind is list:
        return [restored(item) for item in kept]
    ((name, value),) = kept.items()
    return _RESTORE[name](value)


def _array(value: list[Any]) -> Any:
    dtype, shape, data = value
    array = np.frombuffer(base64.b64decode(data), np.dtype(dtype)).reshape(shape).copy()
    return array[()] if not shape else array


_RESTORE: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "int": lambda value: int(value, 16),
    "complex": lambda value: complex(restored(value[0]), restored(value[1])),
    "bytes": bytes.fromhex,
    "ndarray": _array,
    "dict": lambda value: {key: restored(item) for key, item in value.items()},
}


def plain_number(kept: Any) -> Any:
    """Return a kept value if it is a number, numbers JSON lacks included; None for anything else."""
    if type(kept) in (int, float, bool):
        return kept
    if type(kept) is dict and len(kept) == 1 and ("float" in kept or "int" in kept):
        return restored(kept)
    return None


_JSON_DEPTH = 80
_TYPES = re.compile(r"[<>|=][biufcSUmM][0-9]{1,9}(\[[0-9]{0,9}[A-Za-z]{1,2}\])?")
_HEX = re.compile(r"-?0x[0-9a-f]+")


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
    if depth > _JSON_DEPTH:
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
