"""The part of a shard as a file: JSON, of which reading runs nothing and believes nothing.

::

    {"format": "rewind.shard", "version": 1, "verb", "source", "run": {"content_hash", "n_steps", "n_checkpoints"},
     "shard": [i, n], "parameters", "answer", "digest"}

    verify: parameters {"full", "n_items"}, answer {"failure"}: null or {"problem", "block", "step", "path"}
    stats:  parameters {"start", "stop", "n_items", "edges", "max_lag", "metrics": [{"name", "shape", "shift"}]},
            answer {"steps", "sums"}: null or [start, stop], and {name: [sums, ...]}, of a scalar metric one for the
            shard, else one for each block: {"moments", "lagged", "histogram"} with the fields of these classes

Doubles are texts as of ``float.hex``, a NaN that is not Python's own with its bits, and several are one text, with
spaces. Exact sums are hexadecimal texts, in the units of `ScalarMoments` and `Lagged`. ``digest`` is blake2b of 16
bytes over all the rest as JSON with sorted keys and no spaces.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ..errors import ShardError, show
from ..metrics.autocovariance import Lagged
from ..metrics.histogram import Histogram, edges_of
from ..metrics.moments import SCALAR_FIELDS, VECTOR_FIELDS, Field, ScalarMoments, VectorMoments, fields_of, moments_of
from ..metrics.statistics import Sums
from ..state.columns import Array
from ..storage.files import read_file, write_file
from ..storage.strict_json import loads

FORMAT, VERSION = "rewind.shard", 1
#: Most bytes of a part that `load` reads, and most JSON values in it.
MAX_BYTES, MAX_VALUES = 1 << 28, 1 << 22
#: Most shards of a pass.
MAX_SHARDS = 1_000_000


@dataclass(frozen=True, eq=False)
class Part:
    """What one shard of a pass found.

    Attributes
    ----------
    verb : {"verify", "stats"}
    run : dict
        ``content_hash``, ``n_steps`` and ``n_checkpoints`` of the run.
    shard : (int, int)
        Which one, from 1, of how many.
    parameters : dict
        What was asked, as plain values: equal in all parts of a pass.
    failure : dict or None
        The block that was not reproduced: ``problem`` (a text), and ``block``, ``step``, ``path`` where they are known.
    steps : (int, int) or None
        First step of the statistics and the one after the last, None where the shard has no block.
    sums : dict of str to list of Sums
        By the names of the metrics.
    source, path : str
        What the file of the run was called, and where this part was read from, for people.
    """

    verb: str
    run: Mapping[str, Any]
    shard: tuple[int, int]
    parameters: Mapping[str, Any]
    failure: Mapping[str, Any] | None = None
    steps: tuple[int, int] | None = None
    sums: Mapping[str, Sequence[Sums]] = field(default_factory=dict)
    source: str = ""
    path: str = ""

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return self.path or f"the part of shard {self.shard[0]}"

    @property
    def n_items(self) -> int:
        """Number of stretches, of a block or more, that this shard looked at."""
        low, high = share_of(self.parameters["n_items"], *self.shard)
        return high - low


def share_of(n_items: int, i: int, n: int) -> tuple[int, int]:
    """Return where the `i`-th, from 1, of `n` contiguous shares of some items begins, and the place after its end."""
    return (i - 1) * n_items // n, i * n_items // n


# ---- files


def save(part: Part, path: str | os.PathLike[str]) -> None:
    """Write a part to `path`, whole or not at all; one that is there is replaced.

    Raises
    ------
    ArtifactIOError
        If the operating system says no.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "verb": part.verb,
        "source": part.source,
        "run": dict(part.run),
        "shard": list(part.shard),
        "parameters": dict(part.parameters),
        "answer": _answer_json(part),
    }
    write_file(path, (json.dumps({**content, "digest": _digest(content)}, ensure_ascii=True) + "\n").encode())


def load(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Part:
    """Return the part in a file. Nothing in it is run, and every value is checked.

    Parameters
    ----------
    path : str or path-like
    max_bytes : int
        Refuse a longer file. Default 256 MiB.

    Raises
    ------
    ArtifactIOError
        If the operating system says no.
    ShardError
        If it is no part, damaged, or of a later format.
    """
    name = str(os.fspath(path))
    content = _parsed(read_file(path, max_bytes=max_bytes), name)
    if content.get("format") != FORMAT:
        raise ShardError(f'not a part of a sharded pass: it has no "format": "{FORMAT}"', name)
    version = content.get("version")
    if type(version) is not int or version < 1:
        raise ShardError("damaged: it has no version", name)
    if version > VERSION:
        said = f"has part format version {version}; this rewind reads versions up to {VERSION}"
        raise ShardError(f"{said}. Install a later rewind-engine to read it", name)
    try:
        if content.pop("digest", None) != _digest(content):
            raise Odd("its digest is that of other contents")
        return _part_of(content, name)
    except (Odd, KeyError, ValueError, TypeError, OverflowError, AttributeError, RecursionError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ShardError(f"damaged: {problem}", name) from None


def is_part(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as a part does: one that a shard which is run again may replace."""
    begin = json.dumps({"format": FORMAT})[:-1].encode()
    try:
        with open(path, "rb") as file:
            return file.read(len(begin)) == begin
    except OSError:
        return False


def _parsed(data: bytes, name: str) -> dict[str, Any]:
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        raise ShardError(f"damaged: more than {MAX_VALUES:,} values", name)
    try:
        content = loads(data.decode("utf-8"))
    except (ValueError, MemoryError) as error:
        raise ShardError(f"not a part of a sharded pass, or damaged: it is not JSON ({error})", name) from None
    if type(content) is not dict:
        raise ShardError("not a part of a sharded pass: it is no JSON object", name)
    return content


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


# ---- parts


def _answer_json(part: Part) -> dict[str, Any]:
    if part.verb == "verify":
        return {"failure": None if part.failure is None else dict(part.failure)}
    steps = None if part.steps is None else list(part.steps)
    return {"steps": steps, "sums": {name: [sums_to_json(one) for one in sums] for name, sums in part.sums.items()}}


def _part_of(content: dict[str, Any], path: str) -> Part:
    object_of(content, "format", "version", "verb", "source", "run", "shard", "parameters", "answer")
    verb, source = text_of(content["verb"]), text_of(content["source"])
    run = object_of(content["run"], "content_hash", "n_steps", "n_checkpoints")
    if not re.fullmatch("[0-9a-f]{64}", text_of(run["content_hash"])):
        raise Odd("it has no content hash")
    n_steps = count_of(run["n_steps"], 1)
    count_of(run["n_checkpoints"], 1)
    i, n = _pair(content["shard"])
    shard = count_of(i, 1, count_of(n, 1, MAX_SHARDS)), n
    parameters, answer = content["parameters"], content["answer"]
    if verb == "verify":
        if type(object_of(parameters, "full", "n_items")["full"]) is not bool:
            raise Odd("full is neither true nor false")
        count_of(parameters["n_items"], 1)
        failure = _failure_of(object_of(answer, "failure")["failure"])
        return Part(verb, run, shard, parameters, failure, source=source, path=path)
    if verb != "stats":
        raise Odd(f"verb {show(verb)}")
    _check_parameters(parameters, n_steps)
    object_of(answer, "steps", "sums")
    low, high = share_of(parameters["n_items"], *shard)
    steps = None
    if low < high:
        first, end = _pair(answer["steps"])
        count_of(end, parameters["start"] + 1, parameters["stop"])
        steps = count_of(first, parameters["start"], end - 1), end
    elif answer["steps"] is not None:
        raise Odd("steps without a block")
    names = [metric["name"] for metric in parameters["metrics"]]
    entries = object_of(answer["sums"], *names)
    sums = {
        metric["name"]: sums_from_json(entries[metric["name"]], high - low, metric, parameters, steps)
        for metric in parameters["metrics"]
    }
    return Part(verb, run, shard, parameters, None, steps, sums, source, path)


def _failure_of(found: Any) -> dict[str, Any] | None:
    if found is None:
        return None
    if type(found) is not dict or not {"problem"} <= set(found) <= {"problem", "block", "step", "path"}:
        raise Odd("it has no failure that can be read")
    for name, value in found.items():
        if name in ("problem", "path"):
            text_of(value)
        else:
            count_of(value)
    return found


def _check_parameters(parameters: Any, n_steps: int) -> None:
    object_of(parameters, "start", "stop", "n_items", "edges", "max_lag", "metrics")
    stop = count_of(parameters["stop"], 1, n_steps)
    start = count_of(parameters["start"], 0, stop - 1)
    count_of(parameters["n_items"], 1, stop - start)
    if parameters["edges"] is not None:
        edges_of(floats(parameters["edges"], None))
    if parameters["max_lag"] is not None:
        count_of(parameters["max_lag"], 0, stop - start - 1)
    metrics = parameters["metrics"]
    if type(metrics) is not list or not metrics:
        raise Odd("it has no metrics")
    for metric in metrics:
        shape = object_of(metric, "name", "shape", "shift")["shape"]
        if type(shape) is not list or len(shape) > 64:
            raise Odd(f"{show(shape)} is no shape")
        floats(metric["shift"], math.prod(count_of(k, 1, 1 << 20) for k in shape))
    if len({text_of(metric["name"]) for metric in metrics}) < len(metrics):
        raise Odd("a metric is there twice")


def _pair(value: Any) -> tuple[Any, Any]:
    if type(value) is not list or len(value) != 2:
        raise Odd(f"{show(value)} is no pair")
    return value[0], value[1]


_HEX = r"-?0x[0-9a-f]{1,1200}"  # the squares of 2**62 doubles have 1065 digits
_REAL = r"-?(?:0x[01](?:\.[0-9a-f]{1,13})?p[+-][0-9]{1,4}|inf)|nan(?::[0-9a-f]{16})?"
_NAN = struct.pack("<d", math.nan)


class Odd(Exception):
    """Something that no part of ours has."""


def float_text(x: float) -> str:
    """Return a double as text that gives it again, bit for bit."""
    bits = struct.pack("<d", x)
    return f"nan:{bits[::-1].hex()}" if x != x and bits != _NAN else float(x).hex()


def _float(text: Any) -> float:
    if type(text) is not str or re.fullmatch(_REAL, text) is None:
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
    if type(text) is not str or re.fullmatch(_HEX, text) is None:
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
    for one, value in fields_of(sums.moments):
        if one.kind == "sum":
            value = hex(value)
        elif one.kind == "real":
            value = floats_text(value) if one.axes else float_text(value)
        elif one.axes:
            value = " ".join(map(str, value.tolist()))
        if one.name != "shift":  # which is one of the parameters
            moments[one.name] = value
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
    object_of(entry, *(field.name for field in SCALAR_FIELDS))

    def read(field: Field) -> Any:
        value = entry[field.name]
        if field.kind == "sum":
            return _exact(value)
        if field.kind == "real":
            return _float(value)
        return _step_or_none(value, steps) if field.kind == "step" else count_of(value)

    moments = moments_of((), read)
    assert isinstance(moments, ScalarMoments)
    finite = moments.count - moments.nan_count - moments.pos_inf - moments.neg_inf
    if finite < 0 or moments.total**2 > finite * moments.squares:  # Cauchy and Schwarz
        raise Odd("sums that no numbers have")
    return moments


def _step_or_none(value: Any, steps: tuple[int, int]) -> int:
    if count_of(value, -1, steps[1] - 1) != -1 and value < steps[0]:
        raise Odd(f"step {value} is not among its own")
    return int(value)


def _vector_of(entry: Any, metric: Mapping[str, Any], steps: tuple[int, int]) -> VectorMoments:
    object_of(entry, *(field.name for field in VECTOR_FIELDS if field.name != "shift"))
    shape = metric["shape"]

    def read(field: Field) -> Any:
        if not field.axes:
            return count_of(entry[field.name], 1)
        value = metric["shift"] if field.name == "shift" else entry[field.name]
        found = field.shape(math.prod(shape))
        if field.kind == "real":
            return floats(value, math.prod(found)).reshape(found)
        array = _integers(value, *found)
        for number in array.tolist():
            _step_or_none(number, steps) if field.kind == "step" else count_of(number, 0, entry["count"])
        return array

    moments = moments_of(tuple(shape), read)
    assert isinstance(moments, VectorMoments)
    return moments


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
