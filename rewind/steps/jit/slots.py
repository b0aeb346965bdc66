"""How the state of a numba step lies in memory: its numbers and arrays one after the other, in one buffer."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...errors import StateError
from ...state.columns import Array
from ...state.keys import INT64
from ...state.layout import Layout
from ...state.nodes import ArrayLeaf, Node, PackedNode, PlainLeaf, RecordNode, SequenceNode
from ..memory import Form

TAKEN = (
    "a numba step takes a float, int, bool or complex, a numpy scalar, an array of numbers, or a tuple or namedtuple "
    "of these; keep the state in those, or leave the @njit away"
)
#: Every array begins at a multiple of this many bytes, as numpy's own do.
ALIGNMENT = 16
_NUMBERS = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", "c8", "c16"})
_PLAIN = {"bool": np.dtype("?"), "int": np.dtype("i8"), "float": np.dtype("f8"), "complex": np.dtype("c16")}


@dataclass
class Slot:
    """One scalar (``order`` is None) or one array of the state, `offset` bytes from its beginning.

    ``kind`` is ``bool``, ``int``, ``float`` or ``complex`` for Python's own, ``""`` for numpy's.
    """

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()
    order: str | None = None
    kind: str = ""
    number: int = 0
    offset: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes it takes."""
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))

    def view(self, buffer: Array | bytearray) -> Array:
        """Return the part of the buffer that is this slot, as an array."""
        order: Literal["C", "F"] = "F" if self.order == "F" else "C"
        return np.ndarray(self.shape, self.dtype, buffer, self.offset, order=order)

    def put(self, value: Any, buffer: Array | bytearray) -> None:
        """Write `value` into the buffer."""
        if not self._takes(value):
            raise _other(self.path, value, self.words())
        self.view(buffer)[...] = value

    def get(self, buffer: Array | bytearray) -> Any:
        """Return a new value from the buffer."""
        view = self.view(buffer)
        if self.order is not None:
            return view.copy(order="K")
        return view.item() if self.kind else view[()]

    def _takes(self, value: Any) -> bool:
        if self.kind:
            return type(value).__name__ == self.kind and (self.kind != "int" or value in INT64)
        if not isinstance(value, np.generic if self.order is None else np.ndarray):
            return False
        return value.dtype == self.dtype and value.shape == self.shape

    def words(self) -> str:
        """Return what it takes, in words."""
        if self.kind:
            return "an int of 64 bits" if self.kind == "int" else f"a {self.kind}"
        return f"a numpy {self.dtype}" if self.order is None else f"an array of {self.dtype}, shape {self.shape}"


@dataclass
class Group:
    """A tuple, or (``cls`` is not None) a namedtuple."""

    path: str
    children: tuple[Tree, ...]
    cls: type | None = None
    number: int = 0

    def put(self, value: Any, buffer: Array | bytearray) -> None:
        """Write `value` into the buffer."""
        if not isinstance(value, tuple) or type(value) is not (self.cls or tuple) or len(value) != len(self.children):
            name = self.cls.__name__ if self.cls else "tuple"
            raise _other(self.path, value, f"a {name} of {len(self.children)}")
        for child, item in zip(self.children, value, strict=True):
            child.put(item, buffer)

    def get(self, buffer: Array | bytearray) -> Any:
        """Return a new value from the buffer."""
        return tuple.__new__(self.cls or tuple, [child.get(buffer) for child in self.children])


Tree = Slot | Group


def _other(path: str, value: object, expected: str) -> StateError:
    got = f"a value of type {type(value).__name__}"
    if isinstance(value, np.ndarray):
        got = f"an array of {value.dtype}, shape {value.shape}"
    return StateError(
        path,
        f"{got} where the state of this numba step has {expected}",
        "a numba step keeps the types and shapes of its state; give it the ones it was recorded with",
    )


class StateSlots:
    """The slots of a state.

    Parameters
    ----------
    layout : Layout or None
        The layout of the states.

    Raises
    ------
    StateError
        If numba steps take no such state.
    """

    def __init__(self, layout: Layout | None) -> None:
        if layout is None:
            raise StateError("", "something that is kept as a pickle", TAKEN)
        self.tree = _tree(layout.root, "")
        self.slots = [tree for tree in _all(self.tree) if isinstance(tree, Slot)]
        self.groups = [tree for tree in _all(self.tree) if isinstance(tree, Group)]
        self.nbytes = 0
        for number, slot in enumerate(self.slots):
            slot.number, slot.offset = number, self.nbytes
            self.nbytes = -(-(self.nbytes + slot.nbytes) // ALIGNMENT) * ALIGNMENT
        for number, group in enumerate(self.groups):
            group.number = number
        # A tuple of Python's own numbers is packed in one go.
        self._type: Any = (isinstance(self.tree, Group) and self.tree.cls) or tuple
        self._types = tuple({"float": float, "int": int, "bool": bool}.get(slot.kind) for slot in self.slots)
        self._numbers = struct.Struct(_format(self.slots)) if len(self.groups) == 1 and all(self._types) else None
        self.arrays = [slot for slot in self.slots if slot.order is not None]

    def pack(self, state: Any, buffer: Any) -> None:
        """Write `state` into `buffer`, `nbytes` zeros.

        Raises
        ------
        StateError
            If it is not of the types and shapes of these slots.
        """
        if self._numbers is not None and type(state) is self._type and tuple(map(type, state)) == self._types:
            try:
                self._numbers.pack_into(buffer, 0, *state)
                return
            except struct.error:  # an int of more than 64 bits, which is said below
                pass
        self.tree.put(state, buffer)

    def unpack(self, buffer: Any) -> Any:
        """Return a new state from `buffer`."""
        if self._numbers is not None:
            return tuple.__new__(self._type, self._numbers.unpack_from(buffer))
        return self.tree.get(buffer)

    def form(self) -> Form:
        """Return how a native loop holds the states: as they are where that can be, else packed."""
        tree = self.tree
        if isinstance(tree, Slot) and tree.kind in ("float", "int"):
            return Form(tree.kind, 8, words=f"the {tree.kind} it began with")
        if isinstance(tree, Slot) and not tree.kind:
            kind, order = ("scalar", "C") if tree.order is None else ("array", tree.order)
            return Form(kind, tree.nbytes, tree.dtype, tree.shape, order, words=tree.words())
        return Form("packed", self.nbytes, pack=self.pack, unpack=self.unpack)

    def buffer(self) -> Array:
        """Return a new buffer for one state, aligned."""
        raw = np.zeros(self.nbytes + ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        return raw[start : start + self.nbytes]


def _all(tree: Tree) -> Iterator[Tree]:
    yield tree
    if isinstance(tree, Group):
        for child in tree.children:
            yield from _all(child)


def _format(slots: list[Slot]) -> str:
    return "=" + "".join({"float": "d8x", "int": "q8x", "bool": "?15x"}.get(slot.kind, "") for slot in slots)


def _tree(node: Node, path: str) -> Tree:
    if isinstance(node, PlainLeaf) and node.kind in _PLAIN:
        return Slot(path, _PLAIN[node.kind], kind=node.kind)
    if isinstance(node, ArrayLeaf):
        bare = [dtype for dtype, *_ in node.dtype.fields.values()] if node.dtype.fields else [node.dtype]
        for dtype in bare:
            if dtype.str[1:] not in _NUMBERS or not dtype.isnative:
                raise StateError(path, f"values of dtype {dtype}, which numba does not compute with", TAKEN)
        if node.order is None and node.dtype.fields:
            raise StateError(path, "a structured scalar", TAKEN)
        if path and node.dtype.fields and node.dtype.itemsize > sum(dtype.itemsize for dtype in bare):
            raise StateError(path, "a structured array with padding between its fields, inside a tuple", TAKEN)
        return Slot(path, node.dtype, node.shape, node.order)
    if isinstance(node, (SequenceNode, PackedNode)) and node.python_type is tuple:
        children = node.children if isinstance(node, SequenceNode) else [node.children[0]] * node.length
        return Group(path, tuple(_tree(child, f"{path}[{i}]") for i, child in enumerate(children)))
    if isinstance(node, RecordNode) and node.kind == "namedtuple":
        pairs = zip(node.fields, node.children, strict=True)
        return Group(path, tuple(_tree(child, f"{path}.{name}") for name, child in pairs), node.python_type)
    raise StateError(path, _kind_of(node), TAKEN)


def _kind_of(node: Node) -> str:
    tree = node.to_json()
    if tree is None:
        return "None"
    return f"a {tree}" if isinstance(tree, str) else f"a {next(iter(tree))}"
