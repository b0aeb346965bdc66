"""Generators of random numbers as leaves: where each stands, in a few plain columns."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .columns import MAX_TEXT, Array
from .frozen import frozen
from .nodes import BadValue, Column, Misfit, Node, once

_WORD = (1 << 64) - 1
_Fields = tuple[tuple[str, str, tuple[int, ...]], ...]


@frozen
class Kind:
    """A kind of generator: its columns as (name, dtype, shape), how they are taken of one, and made into one."""

    fields: _Fields
    take: Callable[[Any], list[Any]]
    make: Callable[[list[Any]], Any]


def _require(fits: bool) -> None:
    if not fits:
        raise BadValue("a generator that stands nowhere")


# ---- the standard library's


def _take_random(value: Any) -> list[Any]:
    version, words, gauss = value.getstate()
    if version != 3 or not vars(value).keys() <= {"gauss_next"}:
        raise Misfit
    return [np.array(words, "<u4"), gauss is not None, 0.0 if gauss is None else gauss]


def _make_random(parts: list[Any]) -> Any:
    words, has_gauss, gauss = parts
    _require(words[-1] <= 624)
    made = random.Random(0)
    made.setstate((3, tuple(words.tolist()), gauss if has_gauss else None))
    return made


# ---- numpy's


def _big(words: Any) -> int:
    return int(words[0]) | int(words[1]) << 64


def _words(number: int) -> Array:
    return np.array([number & _WORD, number >> 64], "<u8")


_CARRY: _Fields = (("has_uint32", "u1", ()), ("uinteger", "<u4", ()))
_MT19937: _Fields = (("key", "<u4", (624,)), ("pos", "<i8", ()))


def _carry(state: dict[str, Any]) -> list[Any]:
    return [state["has_uint32"], state["uinteger"]]


def _carried(parts: list[Any]) -> dict[str, Any]:
    has, number = parts
    _require(has in (0, 1))
    return {"has_uint32": int(has), "uinteger": int(number)}


def _take_pcg(state: dict[str, Any]) -> list[Any]:
    return [_words(state["state"]["state"]), _words(state["state"]["inc"]), *_carry(state)]


def _put_pcg(parts: list[Any]) -> dict[str, Any]:
    return {"state": {"state": _big(parts[0]), "inc": _big(parts[1])}, **_carried(parts[2:])}


def _take_mt(state: dict[str, Any]) -> list[Any]:
    return [state["state"]["key"], state["state"]["pos"]]


def _put_mt(parts: list[Any]) -> dict[str, Any]:
    _require(0 <= parts[1] <= 624)  # numpy reads at this place without asking
    return {"state": {"key": parts[0].astype(np.uint32), "pos": int(parts[1])}}


def _take_philox(state: dict[str, Any]) -> list[Any]:
    inner = state["state"]
    return [inner["counter"], inner["key"], state["buffer"], state["buffer_pos"], *_carry(state)]


def _put_philox(parts: list[Any]) -> dict[str, Any]:
    counter, key, buffer = (part.astype(np.uint64) for part in parts[:3])
    _require(0 <= parts[3] <= 4)
    inner = {"counter": counter, "key": key}
    return {"state": inner, "buffer": buffer, "buffer_pos": int(parts[3]), **_carried(parts[4:])}


def _take_sfc(state: dict[str, Any]) -> list[Any]:
    return [state["state"]["state"], *_carry(state)]


def _put_sfc(parts: list[Any]) -> dict[str, Any]:
    return {"state": {"state": parts[0].astype(np.uint64)}, **_carried(parts[1:])}


_PCG: _Fields = (("state", "<u8", (2,)), ("inc", "<u8", (2,)), *_CARRY)
_PHILOX: _Fields = (
    ("counter", "<u8", (4,)), ("key", "<u8", (2,)), ("buffer", "<u8", (4,)), ("buffer_pos", "<i8", ()), *_CARRY,
)  # fmt: skip
_BITS: dict[str, tuple[_Fields, Callable[[dict[str, Any]], list[Any]], Callable[[list[Any]], dict[str, Any]]]] = {
    "PCG64": (_PCG, _take_pcg, _put_pcg),
    "PCG64DXSM": (_PCG, _take_pcg, _put_pcg),
    "MT19937": (_MT19937, _take_mt, _put_mt),
    "Philox": (_PHILOX, _take_philox, _put_philox),
    "SFC64": ((("state", "<u8", (4,)), *_CARRY), _take_sfc, _put_sfc),
}


def _sequence_text(sequence: Any) -> bytes:
    """Return what `spawn` needs of a generator: how it was seeded, and how many it has spawned."""
    import json

    if type(sequence) is not np.random.SeedSequence:
        raise Misfit
    facts: Any = sequence.state
    entropy, key = facts["entropy"], facts["spawn_key"]
    seeds = list(entropy) if type(entropy) in (list, tuple) else [entropy]
    if not all(type(seed) is int for seed in [*seeds, *key]) or type(key) is not tuple or facts["pool_size"] > 64:
        raise Misfit
    kind = "" if type(entropy) is int else type(entropy).__name__
    tree = [kind, [hex(seed) for seed in seeds], list(map(hex, key)), facts["pool_size"], facts["n_children_spawned"]]
    raw = json.dumps(tree, separators=(",", ":")).encode()
    if len(raw) > MAX_TEXT:
        raise Misfit
    return raw


def _sequence_of(raw: bytes) -> np.random.SeedSequence:
    import json

    try:
        kind, seeds, key, pool_size, spawned = json.loads(raw.decode("ascii"))
        if kind not in ("", "list", "tuple") or type(pool_size) is not int or type(spawned) is not int:
            raise ValueError("another kind")
        numbers = [int(seed, 16) for seed in seeds]
        entropy: Any = numbers[0] if not kind else numbers if kind == "list" else tuple(numbers)
        if not 4 <= pool_size <= 64 or not 0 <= spawned < 1 << 32 or (not kind and len(numbers) != 1):
            raise ValueError("out of range")
        return np.random.SeedSequence(
            entropy, spawn_key=[int(part, 16) for part in key], pool_size=pool_size, n_children_spawned=spawned
        )
    except (ValueError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise BadValue(f"a seed sequence that cannot be read ({error})") from None


def _take_generator(name: str) -> Callable[[Any], list[Any]]:
    take = _BITS[name][1]

    def taken(value: Any) -> list[Any]:
        state = value.bit_generator.state
        if state["bit_generator"] != name:
            raise Misfit
        return [*take(state), _sequence_text(value.bit_generator.seed_seq)]

    return taken


def _make_generator(name: str) -> Callable[[list[Any]], Any]:
    put = _BITS[name][2]

    def made(parts: list[Any]) -> Any:
        bits = getattr(np.random, name)(_sequence_of(parts[-1]))
        bits.state = {"bit_generator": name, **put(parts[:-1])}
        return np.random.Generator(bits)

    return made


def _take_legacy(value: Any) -> list[Any]:
    state = value.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        raise Misfit
    return [*_take_mt(state), state["has_gauss"], state["gauss"]]


def _make_legacy(parts: list[Any]) -> Any:
    _require(parts[2] in (0, 1))
    made = np.random.RandomState(np.random.MT19937(0))
    made.set_state(
        {"bit_generator": "MT19937", **_put_mt(parts[:2]), "has_gauss": int(parts[2]), "gauss": float(parts[3])}
    )
    return made


_GAUSS: _Fields = (("has_gauss", "u1", ()), ("gauss", "<f8", ()))
KINDS: dict[str, Kind] = {
    "random.Random": Kind((("words", "<u4", (625,)), *_GAUSS), _take_random, _make_random),
    "numpy.random.RandomState": Kind((*_MT19937, *_GAUSS), _take_legacy, _make_legacy),
} | {
    f"numpy.random.Generator({name})": Kind((*fields, ("seed", "S", ())), _take_generator(name), _make_generator(name))
    for name, (fields, _, _) in _BITS.items()
}


def generator_kind(value: Any) -> str | None:
    """Return the name of the kind of generator a value is, None for anything else."""
    kind = type(value)
    if kind is random.Random:
        return "random.Random"
    if kind is np.random.RandomState:
        return "numpy.random.RandomState"
    if kind is np.random.Generator:
        name = f"numpy.random.Generator({type(value.bit_generator).__name__})"
        if name in KINDS and type(value.bit_generator).__module__.startswith("numpy.random"):
            return name
    return None


class GeneratorNode(Node):
    """A generator of random numbers, which goes on where it stood.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    """

    version = 2

    def __init__(self, kind: str) -> None:
        self.kind, self._of = kind, KINDS[kind]
        self.width = sum(2 if dtype == "S" else 1 for _, dtype, _ in self._of.fields)

    def to_json(self) -> Any:
        return {"generator": self.kind}

    def columns(self, name: str, prefix: tuple[int, ...]) -> Iterator[Column]:
        for field, dtype, shape in self._of.fields:
            if dtype == "S":
                yield Column(f"{name}/{field}/value", np.dtype("S"), prefix)
                yield Column(f"{name}/{field}/length", np.dtype("<i8"), prefix)
            else:
                yield Column(f"{name}/{field}", np.dtype(dtype), (*prefix, *shape))

    def encode(self, value: Any, out: list[list[Any]], seen: set[int]) -> None:
        if generator_kind(value) != self.kind:
            raise Misfit
        once(value, seen)
        if isinstance(value, np.random.Generator):  # two may share one stream, or one sequence of seeds
            once(value.bit_generator, seen)
            once(value.bit_generator.seed_seq, seen)
        at = self.at
        for part, (_, dtype, _) in zip(self._of.take(value), self._of.fields, strict=True):
            out[at].append(part)
            at += 1
            if dtype == "S":
                out[at].append(len(part))
                at += 1

    def decode(self, rows: list[Iterator[Any]]) -> Any:
        parts: list[Any] = []
        at = self.at
        for _, dtype, _ in self._of.fields:
            part = next(rows[at])
            at += 1
            if dtype == "S":
                part = part[: next(rows[at])]
                at += 1
            parts.append(part)
        try:
            return self._of.make(parts)
        except (ValueError, TypeError, OverflowError) as error:
            raise BadValue(f"a generator that cannot be made ({error})") from error
