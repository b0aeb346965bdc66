"""Frames of a journal, byte by byte (docs/format.md has it in words).

A frame is a head of 16 bytes (``RWJ:``, the kind, the length of its payload), the payload, and 16 bytes of blake2b over
the digest of the frame before, the head and the payload. So a frame is good only after all the frames before it.
"""

from __future__ import annotations

import hashlib
import math
import struct
from typing import Any

import numpy as np

from ..engine.block_log import BlockDone, Stop
from ..engine.pace import Part, Probe
from ..metrics.moments import SCALAR_FIELDS, Moments, ScalarMoments, fields_of, moments_of
from ..state.codec import Row, StateCodec, WideRow
from ..state.columns import Array
from ..state.keys import same_json
from ..state.layout import Layout
from .strict_json import dumps, loads

#: The first line of a journal.
LINE = b"rewind journal 1\n"
#: Most bytes of a frame but the header: a state of more is not kept in a journal.
MAX_FRAME = 1 << 30
_HEAD = struct.Struct("<4sB3xQ")
_MAGIC = b"RWJ:"
HEAD_BYTES, DIGEST_BYTES = _HEAD.size, 16

#: Kinds of frames: what there was at first, who writes, a finished block, an early end, the file it became.
HEADER, OWNER, BLOCK, STOP, END = b"HOBSE"
#: What there is of a block under way: not one of the others, but somewhere after the last of them.
PART = ord("P")
#: A part begins at a multiple of so many bytes.
PART_AT = 4096
_PART_VERSION = 1

_COLUMNS, _PICKLE, _WIDE = 0, 1, 2
_SCALAR, _VECTOR = 0, 1
_BLOCK_HEAD = struct.Struct("<q16s")
_STOP_HEAD = struct.Struct("<qq16s")
_PART_HEAD = struct.Struct("<Hqq16sqq16sHB")
_COUNTS = struct.Struct("<8q3d")
#: The fields of scalar moments as they lie in a frame: integers, a zero, doubles, and after these the exact sums.
_WHOLE, _REAL, _SUMS = (
    tuple(field for field in SCALAR_FIELDS if field.kind in kinds) for kinds in (("count", "step"), ("real",), ("sum",))
)
_LENGTH = struct.Struct("<q")
_NUMBER = struct.Struct("<HH")


def most(kind: int) -> int:
    """Return how many bytes the payload of a frame may have; what there was at first may be a whole run."""
    return 1 << 40 if kind == HEADER else MAX_FRAME


class BadFrame(Exception):
    """The error for bytes that are no frame of a journal, or not of this one."""


def first_link() -> bytes:
    """Return what the digest of the first frame is chained to."""
    return hashlib.blake2b(LINE, digest_size=DIGEST_BYTES).digest()


def frame(kind: int, payload: bytes, link: bytes) -> bytes:
    """Return a frame after the one whose digest is `link`; its own digest is its last 16 bytes."""
    data = _HEAD.pack(_MAGIC, kind, len(payload)) + payload
    return data + _digest(link, data)


def _digest(link: bytes, data: bytes) -> bytes:
    hash_ = hashlib.blake2b(link, digest_size=DIGEST_BYTES)
    hash_.update(data)
    return hash_.digest()


def payload_length(head: bytes) -> int:
    """Return how long the payload is that the head of a frame announces.

    Raises
    ------
    BadFrame
        If it is no such head.
    """
    if len(head) != HEAD_BYTES:
        raise BadFrame("it is cut off")
    magic, _, length = _HEAD.unpack(head)
    if magic != _MAGIC or head != _HEAD.pack(magic, head[4], length) or length > most(head[4]):
        raise BadFrame("it is no frame")
    return int(length)


def open_frame(data: bytes, link: bytes) -> tuple[int, memoryview]:
    """Return the kind and the payload of a whole frame after the one whose digest is `link`."""
    if len(data) < HEAD_BYTES + DIGEST_BYTES or _digest(link, data[:-DIGEST_BYTES]) != data[-DIGEST_BYTES:]:
        raise BadFrame("its digest does not hold")
    return data[4], memoryview(data)[HEAD_BYTES:-DIGEST_BYTES]


# ---- what is in them


def block_payload(codec: StateCodec, done: BlockDone) -> bytes:
    """Return the payload of a finished block."""
    pieces = [_BLOCK_HEAD.pack(done.block, done.digest), _row_bytes(codec, done.row)]
    pieces += map(_moments_bytes, (*done.moments, *done.ahead))
    return b"".join(pieces)


def spillable(codec: StateCodec, row: Row) -> int | None:
    """Return where in the payload of a block the columns of a row are; None for a row that is no such one."""
    if codec.layout is None or isinstance(row, (bytes, WideRow)):
        return None
    return _BLOCK_HEAD.size + 1 if all(column.dtype.itemsize for column in codec.layout.columns) else None


def stop_payload(stop: Stop) -> bytes:
    """Return the payload of an early end."""
    head = _STOP_HEAD.pack(stop.block, stop.n_steps, stop.digest)
    return b"".join([head, *map(_moments_bytes, stop.tails), stop.reason.encode()])


def read_block(codec: StateCodec, payload: memoryview, shapes: list[tuple[int, ...]]) -> BlockDone:
    """Return what `block_payload` put together, for metrics of these shapes.

    Raises
    ------
    BadFrame
        If it is something else: this reads files.
    """
    taker = _Taker(payload)
    block, digest = taker.unpack(_BLOCK_HEAD)
    row = _row(codec, taker)
    moments = [_moments(taker, shape) for shape in [*shapes, *shapes]]
    taker.require_end()
    return BlockDone(block, row, digest, tuple(moments[: len(shapes)]), tuple(moments[len(shapes) :]))


def read_stop(payload: memoryview, shapes: list[tuple[int, ...]]) -> Stop:
    """Return what `stop_payload` put together."""
    taker = _Taker(payload)
    block, n_steps, digest = taker.unpack(_STOP_HEAD)
    tails = tuple(_moments(taker, shape) for shape in shapes)
    try:
        reason = bytes(taker.take(len(payload) - taker.at)).decode()
    except UnicodeDecodeError:
        raise BadFrame("a reason that is no text") from None
    return Stop(block, n_steps, digest, tails, reason)


def part_payload(codec: StateCodec, part: Part) -> bytes:
    """Return the payload of what there is of a block."""
    words, gauss, probe = part.rng["words"], part.rng.get("gauss"), part.probe
    head = (_PART_VERSION, part.block, part.t, part.digest, probe.block, probe.t, probe.digest)
    pieces = [_PART_HEAD.pack(*head, len(words), gauss is not None), _row_bytes(codec, part.row)]
    pieces += [_little(array) for array in (words, *([] if gauss is None else [gauss]), *part.values)]
    return b"".join(pieces)


def read_part(codec: StateCodec, payload: memoryview, shapes: list[tuple[int, ...]], start: int) -> Part | None:
    """Return what `part_payload` put together, of a block that begins at step `start`; None of a later version."""
    taker = _Taker(payload)
    if len(payload) >= 2 and int.from_bytes(payload[:2], "little") != _PART_VERSION:
        return None
    _, block, t, digest, probe_block, probe_t, probe_digest, n_words, has_gauss = taker.unpack(_PART_HEAD)
    if not start <= t < start + (1 << 40) or has_gauss > 1:
        raise BadFrame("a place that there cannot be")
    row = _row(codec, taker)
    rng = {"words": taker.array("<u8", (n_words,))}
    if has_gauss:
        rng["gauss"] = taker.array("<f8", (1,))
    values = tuple(taker.array("<f8", (t + 1 - start, *shape)).astype(np.float64, copy=False) for shape in shapes)
    taker.require_end()
    return Part(block, t, row, digest, rng, values, Probe(probe_block, probe_t, probe_digest))


class _Taker:
    """Takes pieces off a payload, and no more than there is."""

    def __init__(self, payload: memoryview) -> None:
        self.payload, self.at = payload, 0

    def take(self, n: int) -> memoryview:
        if not 0 <= n <= len(self.payload) - self.at:
            raise BadFrame("it is shorter than it says")
        self.at += n
        return self.payload[self.at - n : self.at]

    def unpack(self, form: struct.Struct) -> Any:
        return form.unpack(self.take(form.size))

    def array(self, dtype: Any, shape: tuple[int, ...]) -> Array:
        kind = np.dtype(dtype)
        return np.frombuffer(self.take(math.prod(shape) * kind.itemsize), kind).reshape(shape).copy()

    def require_end(self) -> None:
        if self.at != len(self.payload):
            raise BadFrame("it is longer than it says")


def _row_bytes(codec: StateCodec, row: Row) -> bytes:
    if isinstance(row, bytes):
        return bytes([_PICKLE]) + _LENGTH.pack(len(row)) + row
    assert codec.layout is not None
    layout, pieces = codec.layout, [bytes([_COLUMNS])]
    if isinstance(row, WideRow):
        layout, row = row.layout, row.columns
        text = dumps(layout.to_json()).encode()
        pieces = [bytes([_WIDE]), _LENGTH.pack(len(text)), text]
    for column, value in zip(layout.columns, row if isinstance(row, list) else [row], strict=True):
        if column.dtype.itemsize:
            pieces.append(np.asarray(value, column.dtype).tobytes())
        else:  # text: as wide as its longest value
            pieces += [_LENGTH.pack(value.dtype.itemsize), value.tobytes()]
    return b"".join(pieces)


def _row(codec: StateCodec, taker: _Taker) -> Row:
    (kind,) = taker.take(1)
    if kind == _PICKLE:
        return bytes(taker.take(*taker.unpack(_LENGTH)))
    if kind not in (_COLUMNS, _WIDE) or codec.layout is None:
        raise BadFrame("a state of no known kind")
    layout = codec.layout if kind == _COLUMNS else _wide_layout(codec.layout, taker)
    row: list[Array] = []
    for column in layout.columns:
        dtype = column.dtype
        if not dtype.itemsize:
            (width,) = taker.unpack(_LENGTH)
            if not 0 < width <= MAX_FRAME:
                raise BadFrame("the width of a text")
            dtype = np.dtype(f"S{width}")
        row.append(taker.array(dtype, column.shape))
    for column, values, lengths in zip(layout.columns, row, row[1:], strict=False):
        if not column.dtype.itemsize and not 0 <= lengths.min() <= lengths.max() <= values.dtype.itemsize:
            raise BadFrame(f"{column.name} is not as long as it says")
    problem = layout.problem(row)
    if problem is not None:
        raise BadFrame(problem)
    return row if kind == _COLUMNS else WideRow(layout, row)


def _wide_layout(first: Layout, taker: _Taker) -> Layout:
    """Return the layout of a state of which some leaves are of another kind than in `first`."""
    try:
        layout = Layout.from_json(loads(bytes(taker.take(*taker.unpack(_LENGTH))).decode()))
        if not same_json(layout.first().to_json(), first.to_json()):
            raise ValueError("of another state")
        return layout
    except ValueError as error:
        raise BadFrame(f"a layout that no state has: {error}") from None


def _moments_bytes(moments: Moments) -> bytes:
    if isinstance(moments, ScalarMoments):
        whole, real, sums = ([getattr(moments, field.name) for field in some] for some in (_WHOLE, _REAL, _SUMS))
        return bytes([_SCALAR]) + _COUNTS.pack(*whole, 0, *real) + b"".join(map(_number_bytes, sums))
    arrays = (_little(value) for field, value in fields_of(moments) if field.axes)
    return bytes([_VECTOR]) + _LENGTH.pack(moments.count) + b"".join(arrays)


def _moments(taker: _Taker, shape: tuple[int, ...]) -> Moments:
    (kind,) = taker.take(1)
    if kind != (_SCALAR if shape == () else _VECTOR):
        raise BadFrame("statistics of another kind")
    if shape == ():
        numbers = taker.unpack(_COUNTS)
        whole, zero, real = numbers[: len(_WHOLE)], numbers[len(_WHOLE)], numbers[len(_WHOLE) + 1 :]
        values = dict(zip((*_WHOLE, *_REAL), (*whole, *real), strict=True))
        if zero or any(values[field] < (0 if field.kind == "count" else -1) for field in _WHOLE):
            raise BadFrame("counts that nothing has")
        values |= {field: _number(taker) for field in _SUMS}
        return moments_of(shape, values.__getitem__)
    d = math.prod(shape)
    return moments_of(
        shape,
        lambda field: taker.array(field.dtype, field.shape(d)) if field.axes else taker.unpack(_LENGTH)[0],
    )


def _little(array: Array) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _number_bytes(number: int) -> bytes:
    """Return an integer as its zeros at the low end, its length, and the rest: exact sums are mostly zeros there."""
    zeros = (number & -number).bit_length() - 1 if number else 0
    rest = number >> zeros
    size = rest.bit_length() // 8 + 1
    return _NUMBER.pack(zeros, size) + rest.to_bytes(size, "little", signed=True)


def _number(taker: _Taker) -> int:
    zeros, size = taker.unpack(_NUMBER)
    if zeros > 8192 or size > 1024:
        raise BadFrame("a number that no sum has")
    return int.from_bytes(taker.take(size), "little", signed=True) << int(zeros)
