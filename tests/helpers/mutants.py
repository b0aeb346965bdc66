"""Copies of `.replay` files that were damaged, or edited so that every checksum, hash and seal fits again."""

from __future__ import annotations

import copy
import hashlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from rewind.storage import frames, replay_file
from rewind.storage.hdf5 import reader, writer
from rewind.storage.hdf5.messages import lookup3
from rewind.storage.hdf5.parser import Subset
from rewind.storage.hdf5.room import Room
from rewind.storage.hdf5.seal import SEAL_BYTES, seal

BOUNDARIES = [0, 1, 2, 3, 4, 7, 8, 10, 12, 16, 31, 32, 33, 64, 127, 128, 255, 256, 511, 512, 1000, 1023, 1024, 1025]
BOUNDARIES += [2**k + d for k in (15, 16, 20, 24, 30, 31, 32, 40, 53, 62, 63, 64) for d in (-1, 0) if k > 15 or d == 0]

GONE = object()
VALUES: list[Any] = [GONE, None, True, False, 0, 1, -1, 2, 7, 1 << 20, 1 << 40, (1 << 62) - 1, 1 << 62, 1 << 80, 10**18]
VALUES += [1.5, -0.0, 1e300, "", "x", "1", "-1", "0x", "0x10", "pickle", "0x0p+0", "-0x1p+0", "0x1p+99999", "nan"]
VALUES += ["00" * 16, "00" * 32, "é", "int", "str", "float", "<f8", "|O", "|V8", "python", "numpy", "same", "fresh"]
VALUES += [[], [1], ["x"], [[]], [[None, None]], [0] * 40, {}, {"x": 1}, {"list": []}, {"dict": [["a", "int"]]}]
VALUES += [
    {"dtype": "<f8", "shape": [1 << 39]},
    {"list": "int", "length": 1 << 39},
    {"dataclass": [], "class": "os:system"},
]


# ---- files to start from


def samples() -> dict[str, bytes]:
    """Return files that between them use every structure the writer knows, and are no recordings."""
    rng = np.random.default_rng(1)
    walk = np.cumsum(rng.integers(-1, 2, 1000))
    deep = {f"checkpoints/agents/{i}/x": rng.normal(size=(5, 2)) for i in range(12)}
    kinds = {
        f"checkpoints/{kind}{size}": rng.integers(0, 100, (6, 3)).astype(f"{kind}{size}")
        for kind in "iuf"
        for size in (1, 2, 4, 8)
        if kind != "f" or size > 1
    }
    odd = {
        "checkpoints/text": np.array([[b"a", b"bc"], ["é".encode(), b""]]),
        "checkpoints/empty": np.zeros((0, 4)),
        "checkpoints/flat": np.zeros((4, 0), "i2"),
        "start/scalar": np.array(2.5),
        "metrics/a b/mean": walk[:7].astype("f4"),
        "metrics/größe/mean": walk[:9],
    }
    pieces = {"checkpoints/state": np.arange(400_000).reshape(-1, 4) // 1000}
    meta = b'{"n_steps":1000000,"seed":"7"}'
    return {
        "walk": writer.build({"checkpoints/state": walk}, meta),
        "tree": writer.build(deep | kinds | odd, meta),
        "pieces": writer.build(pieces, meta),
        "long meta": writer.build({"checkpoints/state": walk}, b'{"x":"%s"}' % (b"y" * 70_000)),
        "1.8": writer.build(deep | odd, meta, compat="1.8"),
    }


# ---- where things are


class _Recorder(Subset):
    """A parser that notes where the checksums are."""

    def __init__(self, data: bytes, base: int) -> None:
        super().__init__(data, base, Room(1 << 40))
        self.checked: list[tuple[int, int]] = []

    def _claim_checked(self, address: int, size: int, what: str) -> memoryview:
        self.checked.append((self._base + address, size - 4))
        return super()._claim_checked(address, size, what)


def checked_ranges(data: bytes) -> list[tuple[int, int]]:
    """Return (start, length) of everything in `data` that a metadata checksum covers."""
    recorder = _Recorder(data, 0 if data.startswith(b"\x89") else SEAL_BYTES)
    recorder.read()
    return recorder.checked


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a tree of JSON."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


# ---- making it fit again


def repaired(data: bytearray, ranges: list[tuple[int, int]], known: bytes = b"") -> bytes:
    """Return `data` with the checksums of `ranges`, and the seal if there is one, made right.

    They are right already where `data` is as `known`.
    """
    for start, length in ranges:
        end = start + length + 4
        if end <= len(data) and data[start:end] != known[start:end]:
            data[end - 4 : end] = lookup3(data[start : end - 4]).to_bytes(4, "little")
    return resealed(bytes(data))


def resealed(data: bytes) -> bytes:
    """Return `data` with a seal that fits, if it had a seal."""
    return seal(data[SEAL_BYTES:]) + data[SEAL_BYTES:] if data.startswith(b"{") else data


def rehashed(arrays: dict[str, np.ndarray], meta: dict[str, Any], compat: str | None = None) -> bytes:
    """Return the file of these parts, with hashes and a seal that fit."""
    if "pickle/blob" in arrays:
        meta["pickle_hash"] = hashlib.blake2b(arrays["pickle/blob"].tobytes(), digest_size=32).hexdigest()
    meta["content_hash"] = replay_file._content_hash(arrays, meta)
    return writer.build(arrays, replay_file._canonical(meta), compat=compat)


def parts_of(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the metadata of a file."""
    container = reader.read(data)
    return container.arrays, reader.load_json(container.meta)


# ---- mutants


def damaged(data: bytes, rng: random.Random, other: bytes = b"") -> bytes:
    """Return `data` as a bad disk, cable or editor might leave it; `other` is a file to splice it with."""
    new = bytearray(data)
    at, run = rng.randrange(len(data)), rng.choice((1, 2, 4, 8, 16, 64, 512))
    how = rng.randrange(8 if other else 7)
    if how == 0:
        for _ in range(rng.choice((1, 1, 2, 8))):
            new[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif how == 1:
        new[at : at + run] = rng.randbytes(len(new[at : at + run]))
    elif how == 2:
        del new[at:]
    elif how == 3:
        new[at:at] = rng.randbytes(run)
    elif how == 4:
        del new[at : at + run]
    elif how == 5:
        new[at : at + run] = rng.choice((b"\0", b"\xff")) * len(new[at : at + run])
    elif how == 6:
        there = rng.randrange(len(data))
        new[at : at + run], new[there : there + run] = new[there : there + run], new[at : at + run]
    else:
        there = rng.choice((at, rng.randrange(len(other))))
        new[at:] = other[there:] if rng.random() < 0.5 else other[there : there + run] + new[at + run :]
    return bytes(new)


def edited(data: bytes, ranges: list[tuple[int, int]], rng: random.Random) -> bytes:
    """Return `data` with one to three edits inside its structures, and checksums and seal made right."""
    new = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        start, length = rng.choice(ranges)
        width = rng.choice((1, 1, 1, 2, 4, 8))
        at = start + rng.randrange(max(1, length - width + 1))
        old = int.from_bytes(new[at : at + width], "little")
        how = rng.random()
        if how < 0.45:
            value = rng.choice(BOUNDARIES)
        elif how < 0.7:
            value = old + rng.choice((-8, -2, -1, 1, 2, 8, 100))
        elif how < 0.85:
            value = old ^ 1 << rng.randrange(8 * width)
        elif how < 0.93:
            value = rng.getrandbits(8 * width)
        else:  # another structure's bytes
            start, length = rng.choice(ranges)
            width = min(length, rng.randrange(1, 25))
            value = int.from_bytes(new[start : start + width], "little")
        new[at : at + width] = (value % 256**width).to_bytes(width, "little")
    return repaired(new[: len(data)], ranges, data)


def retold(arrays: dict[str, np.ndarray], meta: dict[str, Any], rng: random.Random) -> bytes:
    """Return a file with one to three changes of its arrays and metadata, and every hash made right."""
    arrays, meta = dict(arrays), copy.deepcopy(meta)
    for _ in range(rng.choice((1, 1, 2, 3))):
        if rng.random() < 0.6 or not arrays:
            _retell(meta, rng)
        else:
            name = rng.choice(sorted(arrays))
            array = _reshaped(arrays[name], rng)
            if array is None:
                del arrays[name]
            else:
                arrays[name] = np.ascontiguousarray(array)
            if rng.random() < 0.1:
                arrays[rng.choice(("checkpoints/extra", "extra", "metrics/extra/mean", "start/words"))] = np.arange(3)
    return rehashed(arrays, meta)


def _at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _retell(meta: dict[str, Any], rng: random.Random) -> None:
    known = list(places(meta))
    # The counts decide what all else has to be, so they are worth more than their share.
    path = rng.choice(known) if rng.random() < 0.7 else (rng.choice(("n_steps", "block_size", "stride", "layout")),)
    tree = _at(meta, path[:-1])
    if isinstance(tree, dict) and path[-1] not in tree:
        return
    old = tree[path[-1]]
    value = copy.deepcopy(rng.choice(VALUES))
    if type(old) is int and rng.random() < 0.5:
        value = old + rng.choice((-1, 1, 2, -old, old, 1000))
    elif rng.random() < 0.15:
        value = copy.deepcopy(_at(meta, rng.choice(known)))  # what stands elsewhere
    if value is GONE:
        del tree[path[-1]]
    else:
        tree[path[-1]] = value


def _reshaped(array: np.ndarray, rng: random.Random) -> np.ndarray | None:
    """Return an array with other values, another shape or another dtype; None where it is to go."""
    how = rng.randrange(10)
    if how == 0 or not array.size:
        return None
    if how == 1:
        return array[:-1]
    if how == 2 and array.ndim:
        return np.concatenate([array, array[-1:]])
    if how == 3:
        return array[..., None]
    if how == 4 and array.dtype.kind in "iuf":
        with np.errstate(all="ignore"):
            return array.astype(rng.choice(("<f4", "<f8", "<i4", "<i8", "<u8", "|u1")))
    changed = array.copy()
    raw = changed.reshape(-1).view(np.uint8)
    if how == 5:
        raw[:] = rng.choice((0, 1, 127, 128, 255))
    elif how == 6:
        raw[:] = np.frombuffer(rng.randbytes(len(raw)), np.uint8)
    else:
        for _ in range(rng.choice((1, 1, 4))):
            at = rng.randrange(len(raw))
            raw[at] = rng.choice((raw[at] ^ 1 << rng.randrange(8), 0, 255, 127))
    return changed


# ---- journals


def frames_of(data: bytes) -> list[tuple[int, bytes]]:
    """Return the kinds and payloads of the frames of a journal, as far as they can be told apart."""
    found, at = [], len(frames.LINE)
    while True:
        try:
            length = frames.payload_length(data[at : at + frames.HEAD_BYTES])
        except frames.BadFrame:
            return found
        payload = data[at + frames.HEAD_BYTES : at + frames.HEAD_BYTES + length]
        if len(payload) < length:
            return found
        found.append((data[at + 4], payload))
        at += frames.HEAD_BYTES + length + frames.DIGEST_BYTES


def chained(pieces: list[tuple[int, bytes]]) -> bytes:
    """Return a journal of these frames, every digest of which holds."""
    data, link = frames.LINE, frames.first_link()
    for kind, payload in pieces:
        one = frames.frame(kind, payload, link)
        data, link = data + one, one[-frames.DIGEST_BYTES :]
    return data


def rechained(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Return a journal some of whose frames were changed, left out, doubled or are those of another one."""
    pieces, strange = frames_of(data), frames_of(other) or [(frames.END, b"")]
    for _ in range(rng.choice((1, 1, 2, 4))):
        i = rng.randrange(len(pieces))
        kind, payload = pieces[i]
        way = rng.randrange(8)
        if way < 3:
            pieces[i] = kind, damaged(payload, rng, other) if payload else b"?"
        elif way == 3 and len(pieces) > 1:
            del pieces[i]
        elif way == 4:
            pieces.insert(rng.randrange(len(pieces) + 1), pieces[i])
        elif way == 5:
            pieces[i] = rng.choice(strange)
        elif way == 6:
            pieces[i] = rng.choice(b"HOBSE?"), payload
        else:
            at = rng.randrange(max(1, len(payload) - 8))
            number = rng.choice(
                (0, 1, -1, 2, 1 << 31, 1 << 40, 1 << 62, (1 << 63) - 1, -(1 << 63), rng.randrange(1 << 16))
            )
            pieces[i] = kind, payload[:at] + number.to_bytes(8, "little", signed=True) + payload[at + 8 :]
    return chained(pieces)
