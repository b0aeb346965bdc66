"""States of every kind: examples by name, and a Hypothesis strategy for any tree."""

from __future__ import annotations

import collections
import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


@dataclass
class Agent:
    x: Any = 0.0
    tags: Any = field(default_factory=list)


@dataclass(frozen=True)
class Frozen:
    x: Any
    y: Any = None


@dataclass(slots=True)
class Slots:
    x: Any
    y: Any = 0


@dataclass(frozen=True, slots=True, order=True)
class FrozenSlots:
    x: Any
    y: Any = 0


@dataclass
class Inherited(Agent):
    z: Any = 1
    shared: ClassVar[int] = 7


@dataclass(kw_only=True)
class Picky:
    """Refuses to be made in any way but one; restoring a state must not make it."""

    n: Any
    seed: dataclasses.InitVar[int] = 3
    hidden: Any = field(default=5, init=False, repr=False, compare=False)

    def __post_init__(self, seed: int) -> None:
        raise AssertionError("made")

    def __setattr__(self, name: str, value: object) -> None:
        raise AssertionError("set")


class Pair(NamedTuple):
    left: Any
    right: Any = None


Point = collections.namedtuple("Point", "x y")


class Outer:
    @dataclass
    class Inner:
        x: Any


def picky(n: object) -> Picky:
    new = object.__new__(Picky)
    object.__setattr__(new, "n", n)
    object.__setattr__(new, "hidden", 5)
    return new


STATES = {
    "int": 5,
    "largest int": (1 << 63) - 1,
    "smallest int": -(1 << 63),
    "bool": True,
    "float": -0.0,
    "nan": float("nan"),
    "complex": complex(-0.0, float("-inf")),
    "text": "año 🦊\0",
    "empty text": "",
    "bytes": b"\0\xff\0\0",
    "none": None,
    "array": np.arange(6, dtype=">i2").reshape(2, 3),
    "0-d array": np.array(3.5),
    "fortran array": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "empty array": np.zeros((0, 4), "i4"),
    "numpy scalar": np.float32(0.1),
    "numpy bool": np.bool_(True),
    "numpy text": np.str_("añ"),
    "numpy void": np.zeros((), [("a", "f8"), ("b", "U2")])[()],
    "datetime scalar": np.datetime64("2024-02-29", "D"),
    "not a time": np.timedelta64("NaT", "s"),
    "31 axes": np.zeros((1,) * 31),
    "empty dict": {},
    "empty list": [],
    "empty tuple": (),
    "dict": {"b": 1, "a": 2.0, "c": "x"},
    "list of floats": [0.1, -0.0, float("nan")],
    "list of mixed": [1, 2.0, True, None, "x", b"y", 1j],
    "tuple in list in dict": {"a": [(1, 2.0), (3, 4.0)], "b": ([],)},
    "lists of lists": [[[1, 2], [3, 4], [5, 6]], [[7, 8], [9, 10], [11, 12]]],
    "packed text": ["", "a\0", "äöü", "\0\0"],
    "packed bytes": (b"", b"\0", b"abc"),
    "packed bools": [True, False, True],
    "packed complex": [1j, -0.0 + 0j],
    "packed arrays": [np.zeros((2, 3)), np.ones((2, 3))],
    "packed numpy scalars": [np.int8(1), np.int8(-1)],
    "packed agents": [Agent(1.0, [1, 2]), Agent(2.0, [3, 4])],
    "list of nothing": [None, None],
    "list of empty arrays": [np.zeros(0), np.zeros(0)],
    "arrays of two shapes": [np.zeros(2), np.zeros(3)],
    "dataclass": Agent(1, ["x", 2.0]),
    "frozen": Frozen(np.arange(3), {"k": 1}),
    "slots": Slots(1.5, "y"),
    "frozen slots": FrozenSlots(b"x", None),
    "inherited": Inherited(1, [], np.int64(3)),
    "picky": picky(3.0),
    "namedtuple": Pair(1, (2.0,)),
    "old namedtuple": Point(np.zeros(2), [1]),
    "class in a class": Outer.Inner(1),
    "odd keys": {"a/b": 1, "..": 2, "key0": 3, "key1": 4, "": 5, "ü": 6, "a b": 7, "-x": 8, ".": 9, "a": 10, "A": 11},
    "long keys": {"x" * 100: 1, "x" * 101: 2, "x" * 64: 3, "x" * 65: 4},
    "keys like text columns": {"value": "v", "length": 3, "real": 1j},
}

plain = (
    st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats()
    | st.complex_numbers()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.none()
)

arrays = hnp.arrays(
    st.sampled_from(["f8", "i4", ">u2", "?", "c8", "M8[s]", "S3", "f2"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)

keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)

leaves = plain | arrays | st.builds(np.float32, st.floats(width=32)) | st.builds(np.int16, st.integers(-99, 99))

trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.builds(Agent, inner, st.lists(inner, max_size=2))
        | st.builds(Pair, inner, inner)
        | st.builds(FrozenSlots, inner, inner)
    ),
    max_leaves=8,
)


class Base:
    __slots__ = ("secret",)


@dataclass
class SecretSlot(Base):
    x: int = 1


def with_extra() -> Agent:
    agent = Agent()
    agent.extra = 1  # type: ignore[attr-defined]
    return agent


def with_secret() -> SecretSlot:
    state = SecretSlot()
    state.secret = 5
    return state
