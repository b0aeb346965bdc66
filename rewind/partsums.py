"""The sums of a metric as JSON values, and back: every bit of them, and each value checked."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from .engine.columns import Array
from .engine.histograms import Histogram
from .engine.lagged import Lagged
from .engine.moments import ScalarMoments, VectorMoments
from .engine.questions import Sums
from .errors import show

_HEX = re.compile(r"-?0x[0-9a-f]{1,1200}")  # the squares of 2**62 doubles have 1065 digits
_REAL = re.compile(r"-?(?:0x[01](?:\.[0-9a-f]{1,13})?p[+-][0-9]{1,4}|inf)|nan(?::[0-9a-f]{16})?")
_NAN = struct.pack("<d", math.nan)
_INTEGERS = ("argmin", "argmax", "nan_count", "first_nan")


class Odd(Exception):
    """Something that no part of ours has."""


def float_text(x: float) -> str:
    """Return a double as text that gives it again, bit for bit."""
    bits = struct.pack("<d", x)
    return f"nan:{bits[::-1].hex()}" if x != x and bits != _NAN else float(x).hex()


def _float(text: Any) -> float:
    if type(text) is not str or _REAL.fullmatch(text) is None:
        raise Odd(f"{show(text)} is no double")
    if text.startswith("nan:"):
        x = struct.unpack(">d", bytes.fromhex(text[4:]))[0]
        if x == x:
            raise Odd(f"{text} is no NaN")
        return float(x)
    return float.fromhex(text)


def floats_text(array: Array) -> str:
    """Return doubles as one text, in C order."""
    return " ".join(map(float_text, array.reshape(-1).tolist()))


def floats(text: Any, n: int | None) -> Array:
    """Return the doubles of a text; `n` of them, unless it is None."""
    pieces = text_of(text).split(" ") if text else []
    if n is not None and len(pieces) != n:
        raise Odd(f"{len(pieces)} numbers where {n} belong")
    return np.array([_float(piece) for piece in pieces], np.float64)


def _integers(text: Any, n: int) -> Array:
    pieces = text_of(text).split(" ")
    if len(pieces) != n or not all(re.fullmatch("-?[0-9]{1,19}", piece) for piece in pieces):
        raise Odd(f"{show(text)} is not {n} integers")
    return np.array([int(piece) for piece in pieces], np.int64)


def _exact(text: Any) -> int:
    if type(text) is not str or _HEX.fullmatch(text) is None:
        raise Odd(f"{show(text)} is no exact sum")
    return int(text, 16)


def text_of(value: Any) -> str:
    """Return a JSON value that is a text."""
    if type(value) is not str:
        raise Odd(f"{show(value)} is no text")
    return value


def count_of(value: Any, least: int = 0, most: int = 1 << 62) -> int:
    """Return a JSON value that is an integer from `least` to `most`."""
    if type(value) is not int or not least <= value <= most:
        raise Odd(f"{show(value)} is no integer from {least} to {most}")
    return value


def object_of(value: Any, *names: str) -> dict[str, Any]:
    """Return a JSON value that is an object with these keys and no others."""
    if type(value) is not dict or set(value) != set(names):
        raise Odd(f"{show(value)} is no object with {', '.join(names)}")
    return value


# ---- sums as JSON


def sums_to_json(sums: Sums) -> dict[str, Any]:
    """Return sums as JSON values, but for the shift of a vector and the edges of a histogram."""
    moments: dict[str, Any] = {}
    for f in fields(sums.moments):
        value = getattr(sums.moments, f.name)
        if f.name in ("total", "squares"):
            value = hex(value)
        elif isinstance(value, float):
            value = float_text(value)
        elif isinstance(value, np.ndarray):
            value = " ".join(map(str, value.tolist())) if f.name in _INTEGERS else floats_text(value)
        if f.name != "shift":  # which is one of the parameters
            moments[f.name] = value
    lagged, histogram = sums.lagged, sums.histogram
    return {
        "moments": moments,
        "lagged": lagged
        and {
            "count": lagged.count,
            "finite": lagged.finite,
            "total": hex(lagged.total),
            "products": [hex(product) for product in lagged.products],
            "head": floats_text(lagged.head),
            "tail": floats_text(lagged.tail),
        },
        "histogram": histogram
        and {
            "counts": histogram.counts.tolist(),
            "below": histogram.below,
            "above": histogram.above,
            "nan_count": histogram.nan_count,
        },
    }


def sums_from_json(
    entries: Any, n_blocks: int, metric: Mapping[str, Any], parameters: Mapping[str, Any], steps: tuple[int, int] | None
) -> list[Sums]:
    """Return the sums of one metric in a shard of `n_blocks` blocks, each value checked.

    Raises
    ------
    Odd
        If they are not those of the `steps` it is about, and of what the `parameters` of the part ask for.
    """
    due = n_blocks if metric["shape"] else min(n_blocks, 1)
    if type(entries) is not list or len(entries) != due:
        raise Odd(f"expected {due} sums of {show(metric['name'])}")
    if steps is None:
        return []
    sums = [_sums_of(entry, metric, parameters, steps) for entry in entries]
    if sum(one.moments.count for one in sums) != steps[1] - steps[0]:
        raise Odd(f"{show(metric['name'])} has not as many values as there are steps")
    return sums


def _sums_of(entry: Any, metric: Mapping[str, Any], parameters: Mapping[str, Any], steps: tuple[int, int]) -> Sums:
    object_of(entry, "moments", "lagged", "histogram")
    extra = entry["lagged"] is not None, entry["histogram"] is not None
    asked = parameters["max_lag"] is not None, parameters["edges"] is not None
    if extra != ((False, False) if metric["shape"] else asked):
        raise Odd("other sums than were asked for")
    if metric["shape"]:
        return Sums(_vector_of(entry["moments"], metric, steps), None, None)
    moments = _scalar_of(entry["moments"], steps)
    lagged = _lagged_of(entry["lagged"], moments, parameters["max_lag"]) if extra[0] else None
    histogram = _histogram_of(entry["histogram"], moments, floats(parameters["edges"], None)) if extra[1] else None
    return Sums(moments, lagged, histogram)


def _scalar_of(entry: Any, steps: tuple[int, int]) -> ScalarMoments:
    values: dict[str, Any] = dict(object_of(entry, *(f.name for f in fields(ScalarMoments))))
    for name, value in values.items():
        if name in ("total", "squares"):
            values[name] = _exact(value)
        elif name in ("min", "max", "last"):
            values[name] = _float(value)
        elif name in ("argmin", "argmax", "first_nan"):
            _step_or_none(value, steps)
        else:
            count_of(value)
    moments = ScalarMoments(**values)
    finite = moments.count - moments.nan_count - moments.pos_inf - moments.neg_inf
    if finite < 0 or moments.total**2 > finite * moments.squares:  # Cauchy and Schwarz
        raise Odd("sums that no numbers have")
    return moments


def _step_or_none(value: Any, steps: tuple[int, int]) -> None:
    if count_of(value, -1, steps[1] - 1) != -1 and value < steps[0]:
        raise Odd(f"step {value} is not among its own")


def _vector_of(entry: Any, metric: Mapping[str, Any], steps: tuple[int, int]) -> VectorMoments:
    names = [f.name for f in fields(VectorMoments) if f.name != "shift"]
    object_of(entry, *names)
    d = math.prod(metric["shape"])
    values: dict[str, Any] = {"count": count_of(entry["count"], 1), "shift": floats(metric["shift"], d)}
    for name in names[1:]:
        if name in _INTEGERS:
            values[name] = array = _integers(entry[name], d)
            for value in array.tolist():
                count_of(value, 0, entry["count"]) if name == "nan_count" else _step_or_none(value, steps)
        elif name == "comoment":
            values[name] = floats(entry[name], d * d).reshape(d, d)
        else:
            values[name] = floats(entry[name], d)
    return VectorMoments(**values)


def _lagged_of(entry: Any, moments: ScalarMoments, max_lag: int) -> Lagged:
    object_of(entry, *(f.name for f in fields(Lagged)))
    count, finite, products = count_of(entry["count"]), entry["finite"], entry["products"]
    if count != moments.count or type(finite) is not bool or type(products) is not list:
        raise Odd("lagged products")
    if len(products) != max_lag + 1:
        raise Odd(f"{len(products)} lagged products where {max_lag + 1} belong")
    n = min(count, max_lag) if finite else 0
    head, tail = (floats(entry[name], n) for name in ("head", "tail"))
    total = _exact(entry["total"])
    if not (np.isfinite(head).all() and np.isfinite(tail).all()) or (finite and total != moments.total):
        raise Odd("lagged products of other values")
    return Lagged(count, finite, total, tuple(map(_exact, products)), head, tail)


def _histogram_of(entry: Any, moments: ScalarMoments, edges: Array) -> Histogram:
    object_of(entry, *(f.name for f in fields(Histogram) if f.name != "edges"))
    counts = entry["counts"]
    if type(counts) is not list or len(counts) != len(edges) - 1:
        raise Odd("a histogram of other bins")
    others = [count_of(entry[name]) for name in ("below", "above", "nan_count")]
    if sum(map(count_of, counts)) + sum(others) != moments.count:
        raise Odd("a histogram of other values")
    return Histogram(edges, np.array(counts, np.int64), *others)
