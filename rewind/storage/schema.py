"""The schema of a file: its arrays and metadata -> a recording, each piece checked; what is left over is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..engine.blocks import Grid
from ..engine.recording import Ancestor, Origin, Recording
from ..engine.rng import BACKENDS, BlockRng, set_state
from ..errors import ArgumentError, ArtifactFormatError, MissingCodecError, RewindError
from ..metrics.moments import Field, Moments, ScalarMoments, moments_of
from ..metrics.table import COLUMNS, INTEGER, MetricTable
from ..state.checkpoints import Checkpoints
from ..state.codec import StateCodec, UserCodec
from ..state.columns import Array
from ..state.layout import Layout
from ..steps.params import of_json, version_of

#: Not part of the content hash: hints for people, facts about the recording program, and hashes themselves.
HINTS = ("content_hash", "pickle_hash", "signature", "step", "stopped", "versions")
_META = {
    *("format_version", "n_steps", "block_size", "stride", "seed", "backend", "params", "layout", "codec", "metrics"),
    *("metric_order", "origin", "tail_digest", "complete", *HINTS),
}
_SIGNATURE = "[0-9a-f]{64}"
_MAX_STEPS = 1 << 62
#: Most rows believed where no array bounds them: states without a single number in them.
_MAX_EMPTY_ROWS = 10_000_000
#: Longest text of an exact sum believed: 2**62 squares of the largest float take 1,080 digits.
_MAX_EXACT = 1200


def number_text(number: int) -> str:
    """Return `number` as text, which JSON readers do not round; in hexadecimal where Python would not read it back."""
    return str(number) if -(10**300) < number < 10**300 else hex(number)


def exact_text(number: int, unit: int) -> str:
    """Return ``number * 2**unit`` as hexadecimal text with a binary exponent, as ``float.hex`` writes it."""
    if not number:
        return "0x0p+0"
    zeros = (number & -number).bit_length() - 1
    return f"{number >> zeros:#x}p{zeros + unit:+d}"


def _exact_number(text: Any, unit: int) -> int:
    if len(_text(text)) > _MAX_EXACT:
        raise _Odd("an exact sum")
    mantissa, _, exponent = text.partition("p")
    number = 0 if text == "0x0p+0" else _integer(mantissa) << min(int(exponent) - unit, 8192)
    if exact_text(number, unit) != text:
        raise _Odd("an exact sum")
    return number


def from_parts(
    arrays: Mapping[str, Array], meta: Mapping[str, Any], codec: UserCodec | None = None, path: object = None
) -> Recording:
    """Return the recording that `to_parts` took apart; anything else is an `ArtifactFormatError`."""
    try:
        return _Schema(dict(arrays), dict(meta)).recording(codec)
    except RewindError:
        raise
    except (_Odd, ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ArtifactFormatError(f"its metadata and arrays do not fit together: {problem}", path) from error


class _Odd(Exception):
    """Something that no recording of ours has."""


class _Schema:
    """Takes parts off a file and checks each; what is left at the end is refused."""

    def __init__(self, arrays: dict[str, Array], meta: dict[str, Any]) -> None:
        self.arrays, self.meta = arrays, meta

    def recording(self, codec: UserCodec | None) -> Recording:
        meta = self.meta
        has_codec = self.flag("codec")
        if codec is not None and not has_codec:
            raise ArgumentError("codec", codec, "no codec", "This run was recorded without one")
        n_steps, block_size, stride = (self.count(name, 1) for name in ("n_steps", "block_size", "stride"))
        seed = _integer(meta["seed"])
        if seed < 0 or meta["backend"] not in BACKENDS:
            raise _Odd("seed or backend")
        origin = self.origin(meta["backend"])
        recording = Recording(
            n_steps=n_steps,
            block_size=block_size,
            stride=stride,
            seed=seed,
            backend=meta["backend"],
            params=_params(meta["params"]),
            checkpoints=Checkpoints(StateCodec(None), 0, ()),
            tail_digest=bytes.fromhex(meta["tail_digest"]),
            origin=origin,
            complete=self.flag("complete"),
            stopped=_text(meta["stopped"]) if meta["stopped"] is not None else None,
            step=_texts(meta["step"]),
            versions=_texts(meta["versions"]),
        )
        if len(recording.tail_digest) != 16:
            raise _Odd("tail_digest")
        n_blocks = recording.grid.n_blocks
        user = codec if codec is not None else _NO_CODEC if has_codec else None
        recording = replace(
            recording, checkpoints=self.checkpoints(-(-n_blocks // stride), user), metrics=self.metrics(recording.grid)
        )
        if "signature" in meta and not re.fullmatch(_SIGNATURE, _text(meta["signature"])):
            raise _Odd("signature")
        if unknown := [*sorted(self.arrays), *sorted(meta.keys() - _META)]:
            raise _Odd(f"unexpected {', '.join(unknown[:3])}")
        return recording

    def flag(self, name: str) -> bool:
        if type(self.meta[name]) is not bool:
            raise _Odd(name)
        return bool(self.meta[name])

    def count(self, name: str, least: int, group: Mapping[str, Any] | None = None) -> int:
        value = (self.meta if group is None else group)[name]
        if type(value) is not int or not least <= value < _MAX_STEPS:
            raise _Odd(name)
        return value

    def take(self, name: str, dtype: str, shape: tuple[int, ...]) -> Array:
        array = self.arrays.pop(name)
        kind = np.dtype(dtype)
        fits = array.dtype.kind == "S" if kind.kind == "S" and not kind.itemsize else array.dtype == kind
        if not fits or array.shape != shape:
            raise _Odd(f"{name} has dtype {array.dtype} and shape {array.shape}, not {kind} and {shape}")
        return array

    def origin(self, backend: str) -> Origin:
        group = self.meta["origin"]
        ancestors = []
        for parent, point in group["ancestors"]:
            if len(bytes.fromhex(parent)) != 32 or type(point) is not int or not 0 <= point < _MAX_STEPS:
                raise _Odd("ancestors")
            ancestors.append(Ancestor(parent, point))
        lead = self.count("lead", 1, group) if "lead" in group else 0
        known = {"start", "grid", "noise", "ancestors", "lead"}
        noises = (None, "fresh", "same")
        if {*group, "lead"} != known or group["noise"] not in noises or lead >= self.meta["block_size"]:
            raise _Odd("origin")
        rng_state = None
        if "start/words" in self.arrays:
            rng_state = {"words": self.take("start/words", "<u8", (7,) if backend == "numpy" else (625,))}
            if "start/gauss" in self.arrays:
                rng_state["gauss"] = self.take("start/gauss", "<f8", (1,))
            set_state(BlockRng(0, backend).start(0), backend, rng_state)  # a ValueError where it is none
        inside = group["noise"] == "same" and self.count("grid", 0, group) % self.meta["block_size"] != 0
        if inside != (rng_state is not None or lead > 0):
            raise _Odd("start")
        return Origin(
            self.count("start", 0, group),
            self.count("grid", 0, group),
            tuple(ancestors),
            rng_state,
            group["noise"],
            lead,
        )

    def checkpoints(self, n: int, user: UserCodec | None) -> Checkpoints:
        tree = self.meta["layout"]
        layout = None if tree == "pickle" else Layout.from_json(tree)
        columns = []
        for column in layout.columns if layout else ():
            if 0 in column.shape:
                columns.append(np.zeros((n, *column.shape), column.dtype))
            else:
                dtype = column.dtype.str if column.dtype.itemsize else "S"
                columns.append(self.take(f"checkpoints/{column.name}", dtype, (n, *column.shape)))
        for column, values, lengths in zip(layout.columns if layout else (), columns, columns[1:], strict=False):
            if not column.dtype.itemsize and not 0 <= lengths.min() <= lengths.max() <= values.dtype.itemsize:
                raise _Odd(f"{column.name} is not as long as it says")
        version = max(layout.version if layout else 1, version_of(_params(self.meta["params"])))
        if version != self.meta["format_version"]:
            raise _Odd("format_version is not that of its layout and params")
        problem = layout.problem(columns) if layout else None
        if problem is not None:
            raise _Odd(problem)
        pickles, digests = self.pickles(n)
        if layout is None and len(pickles) != n:
            raise _Odd("checkpoints are missing")
        if layout is not None and n > _MAX_EMPTY_ROWS and not any(column.size for column in columns):
            raise _Odd(f"{n} checkpoints of nothing")
        wide = layout if layout is not None and layout.varies else None
        first = wide.first() if wide is not None else layout
        return Checkpoints(StateCodec(first, user), n, tuple(columns), pickles, digests, wide)

    def pickles(self, n: int) -> tuple[dict[int, bytes], dict[int, bytes]]:
        if "pickle/steps" not in self.arrays:
            return {}, {}
        steps = self.arrays["pickle/steps"]
        k = len(steps)
        steps = self.take("pickle/steps", "<i8", (k,))
        offsets = self.take("pickle/offsets", "<i8", (k + 1,))
        blob = np.ascontiguousarray(self.arrays.pop("pickle/blob")).data
        digests = self.take("pickle/digests", "u1", (k, 16))
        if not k or offsets[0] != 0 or offsets[-1] != len(blob) or (np.diff(offsets) < 0).any():
            raise _Odd("pickle/offsets")
        if steps[0] < 0 or steps[-1] >= n or (np.diff(steps) <= 0).any():
            raise _Odd("pickle/steps")
        ends = offsets.tolist()
        rows = steps.tolist()
        pickles = {row: bytes(blob[ends[i] : ends[i + 1]]) for i, row in enumerate(rows)}
        return pickles, {row: digests[i].tobytes() for i, row in enumerate(rows)}

    def metrics(self, grid: Grid) -> dict[str, MetricTable]:
        tables = {}
        n_blocks = grid.n_blocks
        before = grid.start(n_blocks - 1)
        order = self.meta["metric_order"]
        if sorted(order) != sorted(self.meta["metrics"]):
            raise _Odd("metric_order")
        for name in order:
            entry = self.meta["metrics"][name]
            shape = tuple(int(n) for n in entry["shape"])
            rows = {}
            for column in COLUMNS:
                dtype = "<i8" if column in INTEGER else "<f8"
                rows[column] = self.take(f"{entry['group']}/{column}", dtype, (n_blocks, *shape))
            tail = self.moments(f"{entry['group']}/tail", entry["tail"], shape)
            closed = self.moments(f"{entry['group']}/closed", entry["closed"], shape)
            if tail is None or tail.count != grid.n_steps - before or (closed.count if closed else 0) != before:
                raise _Odd(f"statistics of {name}")
            for part in (tail, closed):
                problem = part.problem() if isinstance(part, ScalarMoments) else None
                if problem is not None:
                    raise _Odd(f"{problem} of {name}, which no numbers have")
            tables[name] = MetricTable(shape, rows, closed, tail)
        return tables

    def moments(self, group: str, entry: Any, shape: tuple[int, ...]) -> Moments | None:
        if entry is None:
            return None
        d = math.prod(shape)

        def read(field: Field) -> Any:
            if field.axes:
                return self.take(f"{group}/{field.name}", field.dtype, field.shape(d))
            if field.kind == "sum":
                return _exact_number(entry[field.name], field.unit)
            if field.kind == "real":
                return float.fromhex(entry[field.name])
            return self.count(field.name, 1 if shape else -1, entry)

        return moments_of(shape, read)


def _integer(text: Any) -> int:
    if not isinstance(text, str) or len(text) > 1 << 20 or text != text.strip() or "_" in text:
        raise _Odd("a number")
    return int(text, 16) if text.lstrip("-").startswith("0x") else int(text)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Odd("a text")
    return value


def _texts(value: Any) -> dict[str, str]:
    return {_text(name): _text(text) for name, text in value.items()}


def _params(value: Any) -> dict[str, Any]:
    for name in value:
        if not name.isidentifier():
            raise _Odd("params")
    try:
        return {name: of_json(item) for name, item in value.items()}
    except (ValueError, TypeError):
        raise _Odd("params") from None


def _no_codec(value: Any) -> Any:
    raise MissingCodecError


_NO_CODEC: UserCodec = (_no_codec, _no_codec)
