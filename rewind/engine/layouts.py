"""The layout of a state: a tree of containers over leaves, with one plain column for each part of each leaf.

A layout is read off ``init_state`` once. ``encode`` turns a state that fits into one row (a plain array for each
column), ``decode`` turns a row back into a new state of the same types. Equal neighbours in a list or tuple (a list
of floats, a list of agents) share columns with one more axis instead of taking columns of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import StateClassError, StateError
from .columns import Array, UnsupportedDtype, as_restored, dtype_from_json
from .nodes import (
    INT64,
    PLAIN_TYPES,
    ArrayLeaf,
    Column,
    DictNode,
    Misfit,
    Node,
    NoneLeaf,
    PackedNode,
    PlainLeaf,
    RecordNode,
    SequenceNode,
    once,
    order_of,
)
from .records import class_fields, class_kind, find_class, only_fields

#: A layout with more columns, or deeper, is kept as pickles: a file with so many datasets helps nobody.
MAX_COLUMNS = 500
MAX_DEPTH = 12
#: Most axes of a column: HDF5 has 32, and the first is the checkpoint.
MAX_RANK = 31


class Layout:
    """The layout of a state, or of what ``codec`` makes of it.

    Attributes
    ----------
    columns : tuple of Column
        What a row consists of, in order.
    """

    def __init__(self, root: Node) -> None:
        self.root = root
        count = root.place(0)
        leaf = isinstance(root, (PlainLeaf, ArrayLeaf)) or isinstance(root, PackedNode)
        self.columns = tuple(root.columns(_root_name(root) if leaf else "", ()))
        assert len(self.columns) == count
        names = [column.name for column in self.columns]
        if count > MAX_COLUMNS or len(set(names)) != count or any(n.count("/") >= MAX_DEPTH for n in names):
            raise UnsupportedDtype("too many columns")
        if any(len(column.shape) > MAX_RANK for column in self.columns):
            raise UnsupportedDtype("too many axes")

    @classmethod
    def of(cls, state: object) -> Layout | None:
        """Return the layout of `state`, or None where it can only be pickled."""
        try:
            return cls(_node_of(state, set(), 0))
        except (Misfit, UnsupportedDtype):
            return None

    def encode(self, state: object) -> list[Array]:
        """Return `state` as one row: a plain array for each column.

        Raises
        ------
        Misfit
            If the state is not of this layout.
        """
        out: list[list[Any]] = [[] for _ in self.columns]
        self.root.encode(state, out, set())
        return [_pack(values, column) for values, column in zip(out, self.columns, strict=True)]

    def decode(self, row: list[Array]) -> Any:
        """Return a new state from a row."""
        return self.root.decode(self._iterators(row))

    def _iterators(self, row: list[Array]) -> list[Iterator[Any]]:
        iterators: list[Iterator[Any]] = []
        _put_iterators(self.root, row, iterators)
        return iterators

    def to_json(self) -> Any:
        """Return the tree as it stands in the metadata of a file."""
        return self.root.to_json()

    @classmethod
    def from_json(cls, tree: Any) -> Layout:
        """Return the layout that `to_json` wrote; nothing is imported.

        Raises
        ------
        ValueError
            If it is not one: this reads files.
        """
        try:
            return cls(_node_from_json(tree, 0))
        except (UnsupportedDtype, TypeError, KeyError, OverflowError) as error:
            raise ValueError(f"not a layout: {error}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        return Layout.from_json, (self.to_json(),)

    def require_classes(self, main: str | None = None) -> None:
        """Raise `StateClassError` now if a class this layout names is not imported.

        `main` is the module to look in, too, for classes of the recording script: there they were in ``__main__``.
        """

        def visit(node: Node) -> None:
            if isinstance(node, RecordNode):
                node.find(main)
            for child in node.children:
                visit(child)

        visit(self.root)


def _put_iterators(node: Node, row: list[Array], iterators: list[Iterator[Any]]) -> None:
    # No closure that calls itself: such a one, with the state in it, is only freed by a collection of cycles.
    for child in node.children:
        _put_iterators(child, row, iterators)
    for i in range(0 if node.children else node.width):
        values = row[node.at + i]
        if isinstance(node, ArrayLeaf):
            leaf = (*node.shape, *node.parts[i].extra)
            count = math.prod(values.shape[: values.ndim - len(leaf)])  # -1 means nothing where an axis is 0
            iterators.append(iter(values.reshape(count, *leaf)))
        else:
            iterators.append(iter(values.reshape(-1).tolist()))


def _root_name(root: Node) -> str:
    while isinstance(root, PackedNode):
        root = root.children[0]
    return "state" if isinstance(root, (PlainLeaf, ArrayLeaf)) else ""


def _pack(values: list[Any], column: Column) -> Array:
    if values and isinstance(values[0], np.ndarray):
        stacked = values[0] if len(values) == 1 else np.stack(values)
        return stacked.reshape(column.shape)
    return np.array(values, column.dtype).reshape(column.shape)


def _node_of(value: Any, seen: set[int], depth: int) -> Node:
    kind = type(value)
    if value is None:
        return NoneLeaf()
    if kind in PLAIN_TYPES:
        leaf = PlainLeaf(PLAIN_TYPES[kind])
        if kind is int and value not in INT64:
            raise Misfit
        return leaf
    if kind is np.ndarray:
        once(value, seen)
        return ArrayLeaf(as_restored(value.dtype), value.shape, order_of(value))
    if isinstance(value, np.generic):
        if kind is not value.dtype.type:
            raise Misfit
        return ArrayLeaf(as_restored(value.dtype), (), None)
    if depth >= MAX_DEPTH:
        raise Misfit
    if kind is dict:
        once(value, seen)
        if not all(type(key) is str and _is_text(key) for key in value):
            raise Misfit
        return DictNode(tuple(value), tuple(_node_of(item, seen, depth + 1) for item in value.values()))
    if kind is list or kind is tuple:
        if kind is list:
            once(value, seen)
        return _sequence(kind.__name__, tuple(_node_of(item, seen, depth + 1) for item in value))
    record = class_kind(kind)
    if record is None:
        raise Misfit
    return _record(value, record, seen, depth)


def _is_text(key: str) -> bool:
    """Whether JSON can hold `key`: half a surrogate pair is no text."""
    return key.isascii() or not any("\ud800" <= character <= "\udfff" for character in key)


def _sequence(kind: str, children: tuple[Node, ...]) -> Node:
    if len(children) > 1 and _packable(children[0]):
        first = children[0].to_json()
        if all(type(child) is type(children[0]) and child.to_json() == first for child in children[1:]):
            return PackedNode(kind, len(children), children[0])
    return SequenceNode(kind, children)


def _packable(child: Node) -> bool:
    """Whether items like `child` may share columns: if each puts a value in every one, a row bounds their number."""
    columns = list(child.columns("state", ()))
    return bool(columns) and all(0 not in column.shape for column in columns)


def _record(value: Any, kind: str, seen: set[int], depth: int) -> Node:
    cls, fields = type(value), class_fields(type(value))
    name = f"{cls.__module__}:{cls.__qualname__}"
    try:
        named = find_class(name, kind, fields)
    except StateClassError:
        named = None
    if named is not cls:
        raise StateError(
            "",
            f"class {cls.__qualname__}, which cannot be found again by its name in module {cls.__module__}",
            "define the class at the top level of a module, or pass codec=(encode, decode) to record",
        )
    if kind == "dataclass":
        once(value, seen)
        if not only_fields(value, fields):
            raise Misfit
    items = [getattr(value, field) for field in fields] if kind == "dataclass" else list(value)
    return RecordNode(kind, name, fields, tuple(_node_of(item, seen, depth + 1) for item in items))


def _node_from_json(tree: Any, depth: int) -> Node:
    if depth > MAX_DEPTH + 1:
        raise ValueError("layout nested too deeply")
    if tree is None:
        return NoneLeaf()
    if isinstance(tree, str):
        if tree not in PLAIN_TYPES.values():
            raise ValueError(f"unknown leaf {tree!r}")
        return PlainLeaf(tree)
    if not isinstance(tree, dict):
        raise ValueError("layout node")
    keys = set(tree)
    if "dtype" in keys and keys <= {"dtype", "shape", "order"}:
        shape = tuple(_count(n) for n in tree["shape"]) if "shape" in tree else ()
        order = tree.get("order", "C") if "shape" in tree else None
        if order not in ("C", "F", None) or len(shape) > MAX_RANK:
            raise ValueError("array order or rank")
        return ArrayLeaf(dtype_from_json(tree["dtype"]), shape, order)
    if keys == {"dict"}:
        pairs = [(key, _node_from_json(child, depth + 1)) for key, child in tree["dict"]]
        names = tuple(key for key, _ in pairs)
        if len(set(names)) != len(names) or not all(type(key) is str for key in names):
            raise ValueError("dict keys")
        return DictNode(names, tuple(child for _, child in pairs))
    for kind in ("list", "tuple"):
        if keys == {kind}:
            return SequenceNode(kind, tuple(_node_from_json(child, depth + 1) for child in list(tree[kind])))
        if keys == {kind, "length"}:
            child = _node_from_json(tree[kind], depth + 1)
            if not _packable(child):
                raise ValueError("a packed list of nothing")
            return PackedNode(kind, _count(tree["length"]), child)
    for kind in ("dataclass", "namedtuple"):
        if keys == {kind, "class"} and isinstance(tree["class"], str):
            pairs = [(field, _node_from_json(child, depth + 1)) for field, child in tree[kind]]
            if not all(isinstance(field, str) for field, _ in pairs):
                raise ValueError("field names")
            fields = tuple(field for field, _ in pairs)
            return RecordNode(kind, tree["class"], fields, tuple(child for _, child in pairs))
    raise ValueError(f"layout node with {sorted(map(str, keys))}")


def _count(n: Any) -> int:
    if type(n) is not int or not 0 <= n < 1 << 40:
        raise ValueError("a size in the layout")
    return n


def first_change(layout: Layout, state: Any) -> tuple[str, str, str]:
    """Return where `state` stops fitting `layout`: a path into it, what stood there, and what stands there now."""
    now = Layout.of(state)
    if now is None:
        return "", _words(layout.to_json()), "something no column can hold (an int beyond 64 bits, another object)"
    return _first_change(layout.to_json(), now.to_json(), "")


def _first_change(a: Any, b: Any, path: str) -> tuple[str, str, str]:
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        for kind, form in (("dict", "[{!r}]"), ("dataclass", ".{}"), ("namedtuple", ".{}")):
            if kind in a and [name for name, _ in a[kind]] == [name for name, _ in b[kind]]:
                for (name, old), (_, new) in zip(a[kind], b[kind], strict=True):
                    if old != new:
                        return _first_change(old, new, path + form.format(name))
        for kind in ("list", "tuple"):
            if kind in a and "length" not in a and len(a[kind]) == len(b[kind]):
                for i, (old, new) in enumerate(zip(a[kind], b[kind], strict=True)):
                    if old != new:
                        return _first_change(old, new, f"{path}[{i}]")
            elif kind in a and "length" in a and a["length"] == b["length"]:
                return _first_change(a[kind], b[kind], f"{path}[0]")
    return path, _words(a), _words(b)


def _words(tree: Any) -> str:
    """Return a layout in a few words."""
    if tree is None or isinstance(tree, str):
        return tree or "None"
    if "dtype" in tree:
        dtype = tree["dtype"] if isinstance(tree["dtype"], str) else "structured"
        name = str(np.dtype(dtype)) if dtype != "structured" else dtype
        order = " in Fortran order" if "order" in tree else ""
        return f"an array of {name}, shape {tuple(tree['shape'])}{order}" if "shape" in tree else f"a numpy {name}"
    kind = next(kind for kind in ("dict", "dataclass", "namedtuple", "list", "tuple") if kind in tree)
    if kind in ("dict", "dataclass", "namedtuple"):
        return f"a {kind} of {', '.join(str(name) for name, _ in tree[kind]) or 'nothing'}"
    return f"a {kind} of {tree.get('length', len(tree[kind]))}"
