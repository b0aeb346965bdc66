"""States, layouts, statistics and whole recordings as JSON and as text for people. Pure: nothing is printed here."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import pprint
import textwrap
import time
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import show
from ..metrics.statistics import Stats
from ..runs.arguments import seed_text
from ..state.digest import digest
from ..state.layout import key_of
from .text import ARRAY_ITEMS


def to_json(value: Any) -> Any:
    """Return `value` as `text.JSON_RULES` says: what `json.dumps` takes with ``allow_nan=False``."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, np.generic) and not isinstance(value, np.void):
        return to_json(value.item()) if type(value.item()) is not type(value) else _other(value)
    if isinstance(value, int):  # Python does not write out, or read, the longest in decimal
        return int(value) if abs(value).bit_length() <= 10_000 else hex(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, complex):
        return {"complex": [to_json(value.real), to_json(value.imag)]}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: to_json(item) for key, item in value.items()}
        return {"dict": [[to_json(key), to_json(item)] for key, item in value.items()]}
    if fields := field_names(value):
        cls = type(value)
        named = {name: to_json(getattr(value, name, None)) for name in fields}
        return {"class": f"{cls.__module__}:{cls.__qualname__}", "fields": named}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return _other(value)


def json_text(facts: Mapping[str, Any]) -> str:
    """Return facts as one line of JSON."""
    return json.dumps(to_json(facts), allow_nan=False)


def field_names(value: Any) -> tuple[str, ...]:
    """Return the field names of a dataclass instance or a namedtuple, () for anything else."""
    if dataclasses.is_dataclass(value):
        return tuple(field.name for field in dataclasses.fields(value))
    return tuple(value._fields) if isinstance(value, tuple) and hasattr(value, "_fields") else ()


def _array(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    summary: dict[str, Any] = {"dtype": str(array.dtype), "shape": list(array.shape)}
    if array.size <= ARRAY_ITEMS:
        return {**summary, "data": to_json(array.tolist())}
    summary["digest"] = digest(array).hex()
    if array.dtype.kind in "biuf":
        nan = np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)
        numbers = array[~nan]
        extremes = (numbers.min(), numbers.max()) if numbers.size else (None, None)
        summary.update(min=to_json(extremes[0]), max=to_json(extremes[1]), nan_count=int(nan.sum()))
    return summary


def _other(value: Any) -> dict[str, str]:
    cls = type(value)
    return {"type": f"{cls.__module__}:{cls.__qualname__}", "repr": show(value, 1000)}


def state_text(value: Any) -> str:
    """Return a state for people: its repr, over several lines where one is too long."""
    try:
        return pprint.pformat(value, width=100, sort_dicts=False)
    except Exception:  # the user's __repr__
        return show(value, 1000)


def time_text(seconds: float | None) -> str:
    """Return local time as ISO 8601 writes it, without fractions."""
    if seconds is None:
        return "-"
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return repr(seconds)


def rows(pairs: Iterable[tuple[str, object]], indent: str = "") -> str:
    """Return aligned ``key  value`` lines."""
    pairs = list(pairs)
    width = max(len(key) for key, _ in pairs) + 2
    lines = []
    for key, value in pairs:
        first, *others = str(value).split("\n")
        lines.append(f"{indent}{key:<{width}}{first}".rstrip())
        lines += [f"{indent}{'':<{width}}{line}" for line in others]
    return "\n".join(lines)


def layout_text(tree: Any) -> str:
    """Return the layout of a state as people write types: ``State(x: float, grid: int8[64, 64])``."""
    if tree is None or isinstance(tree, str):
        return "None" if tree is None else "any object, as a pickle" if tree == "pickle" else tree
    if "one_of" in tree:
        return " or ".join(map(layout_text, tree["one_of"]))
    if "set" in tree or "generator" in tree:
        return str(next(iter(tree.values())))
    if "tensor" in tree:
        return f"{tree['tensor']} {_dtype_text(tree['dtype'])}{tree['shape']}"
    if "dtype" in tree:
        return _dtype_text(tree["dtype"]) + (str(tree["shape"]) if "shape" in tree else "")
    for kind in ("list", "tuple"):
        if kind in tree:
            if "length" in tree:
                return f"{kind} of {tree['length']:,} x {layout_text(tree[kind])}"
            inside = ", ".join(map(layout_text, tree[kind]))
            return f"[{inside}]" if kind == "list" else f"({inside})"
    if "keys" in tree:
        return f"dict of {len(tree['keys']):,} x {layout_text(tree['dict'])}"
    kind = next(kind for kind in ("dict", "dataclass", "namedtuple") if kind in tree)
    fields = [f"{_key_text(key)}: {layout_text(child)}" for key, child in tree[kind]]
    name, left, right = (tree["class"], "(", ")") if "class" in tree else ("", "{", "}")
    text = f"{name}{left}{', '.join(fields)}{right}"
    if len(text) <= 90:
        return text
    return "\n".join([f"{name}{left}", *(textwrap.indent(f"{field},", "    ") for field in fields), right])


def _key_text(tree: Any) -> str:
    key = key_of(tree)
    return key if isinstance(key, str) and isinstance(tree, str) else repr(key)


def _dtype_text(dtype: Any) -> str:
    if isinstance(dtype, str):
        return str(np.dtype(dtype))
    fields = [f"{name}: {_dtype_text(base)}{shape or ''}" for name, base, shape, _ in dtype["fields"]]
    return f"{{{', '.join(fields)}}}"


def info_text(facts: Mapping[str, Any], checked: bool = False) -> str:
    """Return what `described` says, with ``file`` and ``bytes``, as aligned lines; `checked`: its signature was."""
    f = facts
    every = f"every {f['block_size'] * f['stride']:,} steps" if f["n_checkpoints"] > 1 else "at step 0"
    pairs: list[tuple[str, object]] = [
        ("file", f"{f['file']} ({f['bytes']:,} bytes)"),
        ("steps", f"{f['n_steps']:,}"),
        ("blocks", f"{f['n_blocks']:,} of {f['block_size']:,} steps"),
        ("checkpoints", f"{f['n_checkpoints']:,}, {every}"),
        ("seed", seed_text(f["seed"])),
        ("backend", {"python": "python (random.Random)", "numpy": "numpy (Generator, PCG64)"}[f["backend"]]),
        ("params", ", ".join(f"{name}={value!r}" for name, value in f["params"].items()) or "none"),
        ("state", layout_text(f["layout"])),
        ("step", _step_text(f["step"])),
    ]
    if f["journal"]:
        pairs[0] = ("file", f"{f['journal']['path']} ({f['bytes']:,} bytes), the journal of a recording")
        planned = f["journal"]["planned_steps"]
        pairs[1] = ("steps", f"{f['n_steps']:,} of {'a number nobody gave' if planned is None else f'{planned:,}'}")
    for i, (name, stats) in enumerate(f["observed"].items()):
        pairs.append(("" if i else "observed", f"{name}: {brief(stats)}"))
    if f["lineage"]:
        parent, point = f["lineage"][0]
        pairs.append(("branch", f"left its parent {parent[:12]} at step {point:,}, with {f['noise']} noise"))
        older = "".join(f", from {hash_[:12]} at step {point:,}" for hash_, point in f["lineage"][1:])
        pairs.append(("lineage", f"its step 0 is step {f['start']:,} of the root{older}"))
    versions = f["versions"]
    known = [f"{name} {versions[name]}" for name in ("rewind", "python", "numpy") if name in versions]
    if f["signed"]:
        pairs.append(("signed", "yes, with this key" if checked else "yes; --key-file checks it"))
    pairs += [
        ("complete", "yes" if f["complete"] else f"no: {f['stopped'] or 'the recording stopped early'}"),
        ("trust", _trust(f)),
        *([("lossy", _lossy(f["step"]["lossy"]))] if "lossy" in f["step"] else []),
        ("made by", ", ".join([*known, versions.get("platform", "")]).strip(", ") or "unknown"),
        ("content hash", f["content_hash"]),
    ]
    return rows((key, value if key == "state" else " ".join(str(value).splitlines())) for key, value in pairs)


def _step_text(step: Mapping[str, str]) -> str:
    more = [step["file"]] if "file" in step else []
    more += [f"source {step['source'][:12]}"] if "source" in step else []
    return step.get("id", "unknown") + (f" ({', '.join(more)})" if more else "")


def _lossy(paths: str) -> str:
    return "accepted" if paths == "accepted" else f"storing a state loses {paths}, which was accepted"


def _trust(facts: Mapping[str, Any]) -> str:
    text = "needs no pickle"
    if facts["n_pickled"]:
        text = f"{facts['n_pickled']:,} of {facts['n_checkpoints']:,} checkpoints are pickles: needs --allow-pickle"
    return text + ("; states need the codec they were recorded with (--codec)" if facts["codec"] else "")


def brief(stats: Stats | Mapping[str, Any]) -> str:
    """Return statistics on one line, rounded for people."""
    parts = [f"{name} {_number(stats[name])}" for name in ("mean", "std")]
    for name in ("min", "max"):
        at = stats[f"arg{name}"]
        parts.append(f"{name} {_number(stats[name])}{f' at step {at:,}' if isinstance(at, int) else ''}")
    if isinstance(stats["nan_count"], int) and stats["nan_count"]:
        parts.append(f"{stats['nan_count']:,} NaN from step {stats['first_nan']:,} on")
    return ", ".join(parts)


def _number(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=4, threshold=6, edgeitems=2, separator=", ").replace("\n", "")
    return f"{value:.6g}"


def stats_text(name: str, stats: Mapping[str, Any]) -> str:
    """Return all of the statistics of one metric, every digit of them."""
    return f"{name}\n" + rows(((key, _every_digit(value)) for key, value in stats.items()), "  ")


def _every_digit(value: Any) -> str:
    return np.array2string(value, separator=", ", floatmode="unique") if isinstance(value, np.ndarray) else repr(value)


def differences(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Return ``(key, a's value, b's value)`` where two trees of plain values differ; None stands for a missing key."""
    found = []
    for key in [*a, *(key for key in b if key not in a)]:
        x, y = a.get(key), b.get(key)
        if isinstance(x, Mapping) and isinstance(y, Mapping) and "layout" != key:
            found += differences(x, y, f"{prefix}{key}.")
        elif digest(to_json(x)) != digest(to_json(y)):
            found.append((f"{prefix}{key}", x, y))
    return found


# ---- columns


def columns_of(values: Any, name: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return what `Run.series` gave as arrays by name; `name` is that of a single one. None is called ``step``."""
    columns = dict(values) if isinstance(values, Mapping) else {name: values}
    return {key if key != "step" else f"{name}.step": array for key, array in columns.items()}


def csv_text(steps: Sequence[int], columns: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """Return a header and one line a step; an array gives one column for each of its numbers, ``name[0]``, ..."""
    named = [("step", [str(t) for t in steps])]
    for name, array in columns.items():
        named += [(key, [_cell(value) for value in column.tolist()]) for key, column in _split(name, array)]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(key for key, _ in named)
    writer.writerows(zip(*(cells for _, cells in named), strict=True))
    return file.getvalue()


def _split(name: str, array: np.ndarray[Any, Any]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    if array.ndim > 1:
        for i in range(array.shape[1]):
            yield from _split(f"{name}[{i}]", array[:, i])
    elif array.dtype.names:
        for field in array.dtype.names:
            yield from _split(f"{name}.{field}", array[field])
    else:
        yield name, array


def _cell(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def npz_bytes(steps: Sequence[int], columns: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """Return the file that `numpy.load` reads, with ``step`` and every array whole: the same bytes at any time.

    Raises
    ------
    ValueError
        If there are objects in an array, which numpy would pickle.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in {"step": np.array(steps, np.int64), **columns}.items():
            if array.dtype.hasobject:
                raise ValueError(name)
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)  # type: ignore[no-untyped-call, unused-ignore]
    return file.getvalue()


def table_text(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return lines of cells below a header, every column as wide as it has to be."""
    cells = [list(header), *map(list, lines)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join([cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)]).rstrip()
        for line in cells
    )


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
