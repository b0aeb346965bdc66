"""The third thing: a run as a plain loop over stock numpy and random, and steps that are hard to record.

Nothing here uses the engine. What encoding loses at the start of a block (law 5) is what pickle loses.
"""

from __future__ import annotations

import collections
import copy
import dataclasses
import decimal
import fractions
import json
import math
import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from rewind.state.digest import digest

Rng = Any


def rng_of_block(seed: int, j: int, backend: str) -> Rng:
    """Return the rng of a block: the two lines the documentation shows."""
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(j,))
    if backend == "numpy":
        return np.random.Generator(np.random.PCG64(sequence))
    return random.Random(int.from_bytes(sequence.generate_state(4, np.uint32).astype("<u4").tobytes(), "little"))


def branch_seed(seed: int, t: int) -> int:
    """Return the default seed of a branch at step `t`."""
    words = np.random.SeedSequence(entropy=seed, spawn_key=(t, 1)).generate_state(4, np.uint32)
    return int.from_bytes(words.astype("<u4").tobytes(), "little")


def kept(state: Any, codec: Any = None) -> Any:
    """Return what is left of a state when it is stored and restored."""
    if codec is not None:
        return codec[1](pickle.loads(pickle.dumps(codec[0](state))))
    if type(state) is np.ndarray and not state.dtype.isnative:  # pickle gives back native arrays
        return state.copy(order="F" if state.flags.fnc else "C")
    return pickle.loads(pickle.dumps(state))


def loop(
    step: Callable[..., Any],
    init: Any,
    n_steps: int,
    seed: int,
    block_size: int,
    backend: str = "python",
    *,
    codec: Any = None,
    params: Any = None,
) -> list[Any]:
    """Return all states of a run, each as it can be kept."""
    state, states, rng, words = init, [], None, {}
    for t in range(n_steps):
        if t % block_size == 0:
            state, rng = kept(state, codec), rng_of_block(seed, t // block_size, backend)
            words = json.loads(json.dumps(params or {}))
        states.append(kept(state, codec))
        if t < n_steps - 1:
            state = step(state, rng, **words)
    return states


def bytes_of(states: Any) -> list[bytes]:
    """Return the digests of some states: equal exactly when they are byte for byte the same."""
    return [digest(state) for state in states]


def normal(rng: Rng) -> float:
    """Draw a normal number; ``random.Random`` holds back every second one."""
    return rng.gauss(0.0, 1.0) if isinstance(rng, random.Random) else float(rng.standard_normal())


def small(rng: Rng, n: int) -> int:
    """Draw an integer below `n`; a ``Generator`` holds back every second half of a word."""
    return rng.randrange(n) if isinstance(rng, random.Random) else int(rng.integers(n, dtype=np.int32))


# ---- states


@dataclass
class Walker:
    x: float = 0.0
    hits: int = 0
    trail: np.ndarray = field(default_factory=lambda: np.zeros(3))


@dataclass
class Crowd:
    walkers: list[Walker]
    name: str = "a\0"


@dataclass(frozen=True)
class Frozen:
    x: float
    pair: tuple[int, float]


@dataclass(slots=True)
class Slots:
    x: float
    n: int


@dataclass(frozen=True, slots=True)
class FrozenSlots:
    x: float
    v: np.ndarray


class Point(NamedTuple):
    x: float
    v: np.ndarray


class Agent:
    """Agents that know each other: a state with cycles."""

    def __init__(self, x: float) -> None:
        self.x, self.friends = x, []


class Cached:
    """A state whose pickle drops a cache the step depends on."""

    def __init__(self) -> None:
        self.x, self._cache = 0.0, 0

    def __getstate__(self) -> dict[str, Any]:
        return {"x": self.x}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.x, self._cache = state["x"], 0


@dataclass
class CachedData:
    """A dataclass that says itself what a pickle keeps."""

    x: float = 0.0
    cache: int = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"x": self.x}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.x, self.cache = state["x"], 0


class OwnRng:
    """A state that brings its own generators."""

    def __init__(self) -> None:
        self.python, self.numpy, self.x = random.Random(1), np.random.default_rng(2), 0.0


# ---- steps


def walk(x, rng):
    return x + (1 if rng.random() < 0.5 else -1)


def noisy(x, rng):
    return x + normal(rng) + small(rng, 5)


def nasty_floats(x, rng):
    return (math.nan, -0.0, 0.0, math.inf, -math.inf, 5e-324, x, x)[small(rng, 8)]


def payload_nan(x, rng):
    x[small(rng, 4)] = np.array(0x7FF8000000000000 + small(rng, 99), "u8").view("f8")
    return x


def big_int(x, rng):
    return x * 1023 + small(rng, 100) if x < 1 << 90 else -x >> 70


def complex_(x, rng):
    return x * complex(0.5, normal(rng)) + complex(-0.0, 1)


def flag(x, rng):
    return x ^ (rng.random() < 0.5)


def text(x, rng):
    return (x + "a\0é\N{SNOWMAN}"[small(rng, 4)])[-9:]


def data(x, rng):
    return (x + bytes([small(rng, 3)]))[-9:]


def nothing(x, rng):
    rng.random()
    return None


def in_place(x, rng):
    x += normal(rng)
    x *= 1.5
    return x


def matrix(x, rng):
    x[small(rng, 3), small(rng, 2)] += normal(rng)
    return np.asfortranarray(x * np.tanh(x.sum()))


def order_flips(x, rng):
    return np.asfortranarray(x + x.sum()) if rng.random() < 0.5 else np.ascontiguousarray(x * 0.9)


def strided(x, rng):
    y = np.zeros(2 * len(x))
    y[::2] = x * 0.7 + normal(rng)
    return y[::-2][::-1] if rng.random() < 0.5 else y[::2]


def axes(x, rng):
    # The sum of a transposed array is taken in another order, so its last bits tell the memory order.
    y = np.ascontiguousarray(x).transpose(1, 2, 0) * 0.3 + normal(rng)
    return y.transpose(2, 0, 1) + y.sum() + y.reshape(-1, order="A").cumsum()[-1]


def shape(x, rng):
    return np.append(x, normal(rng)) if len(x) < 6 else x[:2]


def tree(s, rng):
    s["a"] += normal(rng)
    s["n"] -= 1
    s["list"].append(s["list"].pop(0) + rng.random())
    s["deep"]["t"] = (s["deep"]["t"][1], s["a"].copy())
    return s


def new_key(s, rng):
    s[f"k{small(rng, 6)}"] = normal(rng)
    if len(s) > 4:
        del s[min(s)]
    return s


def alias(s, rng):
    s["b"] = s["a"] if rng.random() < 0.5 else s["a"].copy()
    s["a"] += normal(rng)
    s["b"] *= 2.0
    return s


def alias_view(s, rng):
    s["a"] += normal(rng)  # sometimes b is a part of a, and changes with it
    if rng.random() < 0.3:
        s["b"] = s["a"][1:]
    s["b"] += 0.25
    return s


def crowd(s, rng):
    for walker in s.walkers:
        walker.x += normal(rng)
        walker.trail[walker.hits % 3] = walker.x
        walker.hits += 1
    s.name = s.name[::-1] + "\0"
    s.name = s.name[-4:]
    return s


def frozen(s, rng):
    return dataclasses.replace(s, x=s.x + normal(rng), pair=(s.pair[0] + 1, -s.x))


def slots(s, rng):
    s.x, s.n = s.x + normal(rng), s.n + small(rng, 7)
    return s


def frozen_slots(s, rng):
    s.v[:] *= 0.5  # frozen keeps the name, not the array
    return FrozenSlots(s.x + s.v.sum() + normal(rng), s.v)


def point(s, rng):
    s.v[small(rng, 2)] += s.x
    return s._replace(x=normal(rng))


def scalar32(x, rng):
    return np.float32(x * np.float32(0.9) + np.float32(normal(rng)))


def wrapping(x, rng):
    return np.uint8((int(x) + small(rng, 256)) % 256)


def stamp(x, rng):
    return x + np.timedelta64(small(rng, 1000), "s") if rng.random() < 0.8 else np.datetime64("NaT", "s")


STRUCT = np.dtype({"names": ["f", "g"], "formats": [("<f4", (2,)), "i1"], "offsets": [1, 10], "itemsize": 16})


def struct(x, rng):
    x["f"][small(rng, 3)] += np.float32(normal(rng))
    x["g"] ^= 1
    return x


def dates(x, rng):
    x[small(rng, 3)] += np.timedelta64(small(rng, 9), "D")
    return x


def words(x, rng):
    x[small(rng, 3)] = "aé\N{SNOWMAN}b"[: small(rng, 4)]
    return x


def raw_words(x, rng):
    x[small(rng, 3)] = [b"", b"a", b"\0b", b"c\0"][small(rng, 4)]
    return x


def big_endian(x, rng):
    return (x + normal(rng)).astype(">f8")


def zero_d(x, rng):
    x += normal(rng)
    return x


def empty(s, rng):
    s["n"] += small(rng, 3)
    return s


def sets(s, rng):
    s ^= {f"w{small(rng, 9)}"}
    return s


def frozensets(s, rng):
    return s ^ {small(rng, 9), (small(rng, 3), "a")}


def friends(s, rng):
    other = s.friends[small(rng, len(s.friends))]
    other.x += normal(rng)
    other.friends, s.friends = s.friends, other.friends
    return other if other.friends else s


def cached(s, rng):
    s._cache += 1
    s.x += rng.random() * s._cache
    return s


def cached_data(s, rng):
    s.cache += 1
    s.x += rng.random() * s.cache
    return s


def own_rng(s, rng):
    s.x += s.python.gauss(0, 1) + s.numpy.random() + rng.random()
    return s


def tuple_of_list(s, rng):
    s[0].append(normal(rng))
    del s[0][:-3]
    return (s[0], s[1] + 1)


def containers(s, rng):
    s["q"].append(normal(rng))
    s["o"].move_to_end(next(iter(s["o"])))
    s["d"][small(rng, 4)] += 1
    s["b"].append(small(rng, 256))
    s["f"] += fractions.Fraction(1, 1 + small(rng, 5))
    s["e"] *= decimal.Decimal("1.1")
    return s


def object_array(x, rng):
    x[small(rng, 3)] = (x[0], "a", 1 << 80, None, 1.5)[small(rng, 5)]
    return x


def other_type(x, rng):
    return (1, 1.0, True, "1", None.__class__, np.float64(1), np.int64(1), (1,), [1])[small(rng, 9)] if x else 1


def masked(x, rng):
    x[small(rng, 3)] = np.ma.masked if rng.random() < 0.3 else normal(rng)
    return x


def many(s, rng):
    s[small(rng, 4)][small(rng, 2)] += normal(rng)
    return s


def reseeds(x, rng):
    x += rng.random()  # what a step does to the rng it was given is over at the end of the block
    if rng.random() < 0.2:
        if isinstance(rng, random.Random):
            rng.seed(3)
        else:
            rng.bit_generator.state = np.random.PCG64(3).state
    return x


def agents() -> Agent:
    a, b, c = Agent(0.0), Agent(1.0), Agent(-0.0)
    a.friends, b.friends, c.friends = [b, c, a], [a], [a, b]
    return a


def shared() -> dict[str, np.ndarray]:
    a = np.zeros(2)
    return {"a": a, "b": a}


def part() -> dict[str, np.ndarray]:
    a = np.zeros(4)
    return {"a": a, "b": a[1:]}


#: Hazards that the trial refuses or warns of: storing loses something, or nothing changes. Replays agree all the same.
UNFAITHFUL = {"None", "a view of another leaf", "a cache that a pickle drops", "a dataclass that drops a cache"}
#: step, and what makes its state 0: every one can be recorded with either backend.
HAZARDS: dict[str, tuple[Callable[..., Any], Callable[[], Any]]] = {
    "a walk": (walk, lambda: 0),
    "half draws held back": (noisy, lambda: 0.0),
    "NaN, infinities and -0.0": (nasty_floats, lambda: -0.0),
    "NaN payloads": (payload_nan, lambda: np.zeros(4)),
    "integers beyond 64 bits": (big_int, lambda: 1),
    "an integer that begins beyond 64 bits": (big_int, lambda: 1 << 80),
    "complex numbers": (complex_, lambda: 1j),
    "a bool": (flag, lambda: False),
    "text with NULs": (text, lambda: ""),
    "bytes with NULs": (data, lambda: b"\0"),
    "None": (nothing, lambda: None),
    "an array in place": (in_place, lambda: np.zeros(5)),
    "a Fortran array": (matrix, lambda: np.ones((3, 2), order="F")),
    "an array of changing memory order": (order_flips, lambda: np.ones((3, 5))),
    "a strided view": (strided, lambda: np.arange(3.0)),
    "transposed axes": (axes, lambda: np.arange(24.0).reshape(2, 3, 4) / 7),
    "a changing shape": (shape, lambda: np.zeros(3)),
    "a tree in place": (
        tree,
        lambda: {"a": np.zeros(2), "n": 0, "list": [0.0, 1.0, -0.0], "deep": {"t": (np.zeros(2), np.ones(2))}},
    ),
    "keys that come and go": (new_key, lambda: {"b": 0.0}),
    "one array at two keys": (alias, shared),
    "a view of another leaf": (alias_view, part),
    "a dataclass of dataclasses": (crowd, lambda: Crowd([Walker(), Walker(1.0)])),
    "a frozen dataclass": (frozen, lambda: Frozen(0.0, (0, -0.0))),
    "a dataclass with slots": (slots, lambda: Slots(0.0, 1 << 62)),
    "a frozen dataclass with slots": (frozen_slots, lambda: FrozenSlots(0.0, np.ones(2))),
    "a namedtuple": (point, lambda: Point(0.0, np.zeros(2))),
    "a float32": (scalar32, lambda: np.float32(1)),
    "a uint8": (wrapping, lambda: np.uint8(250)),
    "a datetime64": (stamp, lambda: np.datetime64("2020-01-01", "s")),
    "a structured array with padding": (struct, lambda: np.zeros(3, STRUCT)),
    "an array of dates": (dates, lambda: np.array(["2020-01-01", "NaT", "1960-02-29"], "M8[D]")),
    "an array of text": (words, lambda: np.array(["", "a", "b"], "U4")),
    "an array of bytes": (raw_words, lambda: np.array([b"", b"a", b"b"], "S2")),
    "a big-endian array": (big_endian, lambda: np.zeros(2, ">f8")),
    "a 0-d array": (zero_d, lambda: np.array(0.0)),
    "empty containers": (empty, lambda: {"l": [], "d": {}, "a": np.zeros((0, 3)), "t": (), "s": "", "n": 0}),
    "a set": (sets, lambda: {"w1"}),
    "a frozenset": (frozensets, lambda: frozenset({1})),
    "objects that know each other": (friends, agents),
    "a cache that a pickle drops": (cached, Cached),
    "a dataclass that drops a cache": (cached_data, CachedData),
    "a state with its own generators": (own_rng, OwnRng),
    "a list inside a tuple": (tuple_of_list, lambda: ([0.0], 0)),
    "containers of the standard library": (
        containers,
        lambda: {
            "q": collections.deque([0.0], maxlen=3),
            "o": collections.OrderedDict(a=1, b=2),
            "d": collections.defaultdict(int),
            "b": bytearray(b"\0"),
            "f": fractions.Fraction(1, 3),
            "e": decimal.Decimal(1),
        },
    ),
    "an array of objects": (object_array, lambda: np.array([1, "b", None], object)),
    "a changing type": (other_type, lambda: 1),
    "a masked array": (masked, lambda: np.ma.zeros(3)),
    "a list of lists": (many, lambda: [[0.0, 1.0] for _ in range(4)]),
    "an rng the step reseeds": (reseeds, lambda: 0.0),
}

BACKENDS = ("python", "numpy")


class Counting:
    """A step that counts its calls; no part of a state depends on the count."""

    def __init__(self, step: Callable[..., Any]) -> None:
        self.step, self.calls = step, 0

    def __call__(self, state: Any, rng: Rng, **params: Any) -> Any:
        self.calls += 1
        return self.step(state, rng, **params)

    def since(self) -> int:
        calls, self.calls = self.calls, 0
        return calls


def deep(value: Any) -> Any:
    return copy.deepcopy(value)
