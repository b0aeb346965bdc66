"""Leaves that are of several kinds in one run: int at one step and float at another, None and then a number.

The columns of a run are those of state 0 as long as every state fits them. A leaf that becomes another kind of leaf is
one of several kinds from then on, in the file as well: a column says which one a row is, and each kind has columns of
its own, with zeros where a row is another. The first kind is that of state 0, and the others are in an order of their
own, so that the same states make the same file in whatever order they were met.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .columns import Array, UnsupportedDtype
from .leaves import leaf_node
from .nodes import (
    ArrayLeaf,
    Column,
    DictNode,
    Misfit,
    Node,
    NoneLeaf,
    PackedDictNode,
    PackedNode,
    PlainLeaf,
    RecordNode,
    SequenceNode,
    once,
)
from .tensors import TensorNode

#: Most kinds of one leaf.
MAX_KINDS = 8


class OneOfNode(Node):
    """A leaf that is of one of several kinds.

    Parameters
    ----------
    children : sequence of Node
        Leaves; the first is what state 0 has.
    """

    version = 2

    def __init__(self, children: tuple[Node, ...]) -> None:
        self.children = children
        self._names = _names_of(children)
        self._known = {repr(child.to_json()): i for i, child in enumerate(children)}

    def to_json(self) -> Any:
        return {"one_of": [child.to_json() for child in self.children]}

    def place(self, at: int) -> int:
        """Number the columns: first the one that says which kind a row is."""
        self.at = at
        at += 1
        for child in self.children:
            at = child.place(at)
        self.width = at - self.at
        return at

    def columns(self, name: str, prefix: tuple[int, ...]) -> Iterator[Column]:
        yield Column(f"{name}/kind", np.dtype("u1"), prefix)
        for child, piece in zip(self.children, self._names, strict=True):
            yield from child.columns(f"{name}/{piece}", prefix)

    def encode(self, value: Any, out: list[list[Any]], seen: set[int]) -> None:
        chosen = self._known.get(repr(leaf_of(value).to_json()))
        if chosen is None:
            raise Misfit
        out[self.at].append(chosen)
        for i, child in enumerate(self.children):
            if i == chosen:
                child.encode(value, out, seen)
                continue
            for k, column in enumerate(child.columns("", ())):
                out[child.at + k].append(_blank(child, column))

    def decode(self, rows: list[Iterator[Any]]) -> Any:
        chosen, value = next(rows[self.at]), None
        for i, child in enumerate(self.children):
            if i == chosen:
                value = child.decode(rows)
            else:
                for at in range(child.at, child.at + child.width):
                    next(rows[at])
        return value


def _blank(child: Node, column: Column) -> Any:
    if not column.dtype.itemsize:
        return b""
    return np.zeros(column.shape, column.dtype) if isinstance(child, (ArrayLeaf, TensorNode)) or column.shape else 0


def _names_of(children: tuple[Node, ...]) -> list[str]:
    """Return what the columns of each kind are called below the leaf."""
    names: list[str] = []
    for i, child in enumerate(children):
        name = _name_of(child)
        names.append(name if name not in names else f"{name}_{i}")
    return names


def _name_of(child: Node) -> str:
    if isinstance(child, PlainLeaf):
        return child.kind
    if not isinstance(child, ArrayLeaf):
        return "none" if isinstance(child, NoneLeaf) else next(iter(child.to_json()))
    kind = child.dtype.kind
    name = str(child.dtype).strip("<>|=") if kind in "biufc" else "text" if kind in "US" else "value"
    return name if child.order is None else f"array_{name}"


def leaf_of(value: Any) -> Node:
    """Return the layout of a value that is no container; a Misfit where it is one."""
    try:
        node = leaf_node(value, set())
    except UnsupportedDtype as error:
        raise Misfit from error
    if node is None:
        raise Misfit
    return node


def is_leaf(node: Node) -> bool:
    """Whether a node may be one of several kinds: it holds no other value of the state."""
    return not isinstance(node, (OneOfNode, *_CONTAINERS))


_CONTAINERS = (DictNode, PackedDictNode, SequenceNode, PackedNode, RecordNode)


def _kin(a: Node, b: Node) -> bool:
    """Whether one leaf may follow the other: None anything, and a number or text or array only one of its shape."""
    shapes = [node.shape if isinstance(node, ArrayLeaf) else () for node in (a, b)]
    plain = all(isinstance(node, (PlainLeaf, ArrayLeaf)) for node in (a, b))
    return isinstance(a, NoneLeaf) or isinstance(b, NoneLeaf) or (plain and shapes[0] == shapes[1])


def one_of(children: list[Node]) -> Node:
    """Return the node of a leaf that is of one of these kinds, the first of which is that of state 0.

    Raises
    ------
    Misfit
        If there are too many.
    """
    first, known = children[0], {repr(child.to_json()): child for child in children}
    known.pop(repr(first.to_json()))
    if not known:
        return first
    if len(known) >= MAX_KINDS:
        raise Misfit
    return OneOfNode((first, *(known[text] for text in sorted(known))))


def kinds_of(node: Node) -> list[Node]:
    """Return the kinds of leaf a node is, the first being that of state 0."""
    return list(node.children) if isinstance(node, OneOfNode) else [node]


# ---- trees


def widened(node: Node, value: Any, seen: set[int]) -> Node:
    """Return the tree `node`, which is that of state 0, with what the leaves of `value` are as a second kind of each.

    Raises
    ------
    Misfit
        If they differ in more than the kinds of leaves.
    """
    if is_leaf(node):
        other = leaf_of(value)
        if repr(other.to_json()) == repr(node.to_json()):
            return node
        if not _kin(node, other):
            raise Misfit
        return one_of([node, other])
    assert isinstance(node, _CONTAINERS)
    items = node.items(value)
    if not isinstance(value, tuple):
        once(value, seen)
    if isinstance(node, (PackedNode, PackedDictNode)):
        wide = child = node.children[0]
        for item in items:
            wide = merged(wide, widened(child, item, seen))
        return node.over((wide,))
    return node.over(tuple([widened(child, item, seen) for child, item in zip(node.children, items, strict=True)]))


def merged(a: Node, b: Node) -> Node:
    """Return a tree with the kinds of leaves that either has; both were made from one tree of state 0."""
    if isinstance(a, OneOfNode) or isinstance(b, OneOfNode):
        return one_of([*kinds_of(a), *kinds_of(b)])
    if not a.children:
        return a
    return a.over(tuple([merged(x, y) for x, y in zip(a.children, b.children, strict=True)]))


def first_kinds(node: Node) -> Node:
    """Return the tree of state 0."""
    if isinstance(node, OneOfNode):
        return node.children[0]
    return node.over(tuple([first_kinds(child) for child in node.children])) if node.children else node


def several(node: Node) -> Iterator[OneOfNode]:
    """Yield the leaves that are of several kinds."""
    if isinstance(node, OneOfNode):
        yield node
        return
    for child in node.children:
        yield from several(child)


def used(node: Node, row: list[Array]) -> Node:
    """Return the tree `node` with only those kinds of leaves that a row has, and that of state 0."""
    if isinstance(node, OneOfNode):
        found = {0, *np.unique(row[node.at]).tolist()}
        return one_of([node.children[i] for i in sorted(found)])
    return node.over(tuple([used(child, row) for child in node.children])) if node.children else node


def moved(a: Node, row: list[Array], b: Node, into: list[Array]) -> None:
    """Copy the columns of a row of tree `a` to where they are in a row of tree `b`, which has the kinds of `a`, too.

    Kinds that `a` has and the row does not may be missing from `b`.
    """
    if not isinstance(b, OneOfNode):
        if isinstance(a, OneOfNode):
            a = a.children[0]
        for x, y in zip(a.children, b.children, strict=True):
            moved(x, row, y, into)
        if not a.children:
            into[b.at : b.at + b.width] = row[a.at : a.at + a.width]
        return
    places = {repr(child.to_json()): i for i, child in enumerate(b.children)}
    kinds = kinds_of(a)
    codes = np.array([places.get(repr(child.to_json()), 0) for child in kinds], "u1")
    into[b.at] = np.asarray(codes[row[a.at] if isinstance(a, OneOfNode) else np.zeros(into[b.at].shape, "u1")])
    for child in kinds:
        place = places.get(repr(child.to_json()))
        if place is not None:
            moved(child, row, b.children[place], into)


def from_kinds(children: list[Node]) -> OneOfNode:
    """Return the node that a file says these kinds are.

    Raises
    ------
    ValueError
        If no state has it.
    """
    try:
        if (
            not children
            or not all(map(is_leaf, children))
            or not all(_kin(children[0], child) for child in children[1:])
        ):
            raise ValueError("kinds of a leaf")
        node = one_of(children)
    except (Misfit, UnsupportedDtype) as error:
        raise ValueError("kinds of a leaf") from error
    if not isinstance(node, OneOfNode) or [repr(c.to_json()) for c in node.children] != [
        repr(c.to_json()) for c in children
    ]:
        raise ValueError("kinds of a leaf")
    return node
