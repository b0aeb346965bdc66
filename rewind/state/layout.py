"""The layout of a state: a tree of containers over leaves, with one plain column for each part of each leaf.

A layout is read off ``init_state`` once. ``encode`` turns a state that fits into one row (a plain array for each
column), ``decode`` turns a row back into a new state of the same types. Equal neighbours in a list or tuple (a list
of floats, a list of agents) share columns with one more axis instead of taking columns of their own.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import StateClassError, StateError
from .classes import class_fields, class_kind, find_class, only_fields
from .columns import (
    MAX_TEXT,
    Array,
    Part,
    UnsupportedDtype,
    as_restored,
    dtype_from_json,
    dtype_to_json,
    is_text,
    merged,
    parts,
)
from .frozen import frozen

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

    def classes(self) -> list[type]:
        """Return the dataclasses and namedtuples of states.

        Raises
        ------
        StateClassError
            If one is not imported.
        """
        found: dict[type, None] = {}

        def visit(node: Node) -> None:
            if isinstance(node, RecordNode):
                found[node.python_type] = None
            for child in node.children:
                visit(child)

        visit(self.root)
        return list(found)


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
        if not all(type(key) is str and is_text(key) for key in value):
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


_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
_PLAIN_DTYPES = {"bool": "u1", "int": "<i8", "float": "<f8", "complex": "<f8"}
PLAIN_TYPES: dict[type, str] = {
    bool: "bool",
    int: "int",
    float: "float",
    complex: "complex",
    str: "str",
    bytes: "bytes",
}
INT64 = range(-(1 << 63), 1 << 63)


class Misfit(Exception):
    """A state that is not of this layout; its checkpoint is pickled instead."""


@frozen
class Column:
    """One plain column: its name in the file, and the dtype and shape of one row (``S0`` means: as wide as needed)."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class Node(ABC):
    """A node of the tree. ``at`` is its first column, ``width`` the number of its columns."""

    at: int = 0
    width: int = 0
    children: tuple[Node, ...] = ()

    @abstractmethod
    def to_json(self) -> Any:
        """Return the node as it stands in the metadata of a file."""

    @abstractmethod
    def columns(self, name: str, prefix: tuple[int, ...]) -> Iterator[Column]:
        """Yield the columns below `name`, each with the axes `prefix` of the packed nodes above."""

    @abstractmethod
    def encode(self, value: Any, out: list[list[Any]], seen: set[int]) -> None:
        """Append the parts of `value` to ``out[at], out[at + 1], ...``; `seen` holds the mutable objects met so far."""

    @abstractmethod
    def decode(self, rows: list[Iterator[Any]]) -> Any:
        """Return a new value, taking its parts from ``rows[at], rows[at + 1], ...``."""

    def place(self, at: int) -> int:
        """Number the columns from `at` on and return the next free number."""
        self.at = at
        for child in self.children:
            at = child.place(at)
        self.width = max(at - self.at, self.width)
        return self.at + self.width


def _exactly(value: Any, kind: type) -> None:
    if type(value) is not kind:
        raise Misfit


def once(value: Any, seen: set[int]) -> None:
    """Note a mutable object in `seen`; refuse it if it is there already."""
    if id(value) in seen:
        raise Misfit("the same mutable object at two places")
    seen.add(id(value))


class NoneLeaf(Node):
    """None: no column."""

    def to_json(self) -> Any:
        return None

    def columns(self, name: str, prefix: tuple[int, ...]) -> Iterator[Column]:
        return iter(())

    def encode(self, value: Any, out: list[list[Any]], seen: set[int]) -> None:
        if value is not None:
            raise Misfit

    def decode(self, rows: list[Iterator[Any]]) -> Any:
        return None


class PlainLeaf(Node):
    """A Python bool, int, float, complex, str or bytes."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.python_type = next(t for t, k in PLAIN_TYPES.items() if k == kind)
        self.width = 2 if kind in ("complex", "str", "bytes") else 1

    def to_json(self) -> Any:
        return self.kind

    def columns(self, name: str, prefix: tuple[int, ...]) -> Iterator[Column]:
        if self.kind in ("str", "bytes"):
            yield Column(f"{name}/value", np.dtype("S"), prefix)
            yield Column(f"{name}/length", np.dtype("<i8"), prefix)
        elif self.kind == "complex":
            yield Column(f"{name}/real", np.dtype("<f8"), prefix)
            yield Column(f"{name}/imag", np.dtype("<f8"), prefix)
        else:
            yield Column(name, np.dtype(_PLAIN_DTYPES[self.kind]), prefix)

    def encode(self, value: Any, out: list[list[Any]], seen: set[int]) -> None:
        _exactly(value, self.python_type)
        if self.width == 1:
            if self.kind == "int" and value not in INT64:
                raise Misfit
            out[self.at].append(value)
        elif self.kind == "complex":
            out[self.at].append(value.real)
            out[self.at + 1].append(value.imag)
        else:
            try:
                raw = value if self.kind == "bytes" else value.encode("utf-8")
            except UnicodeEncodeError as error:
                raise Misfit from error
            if len(raw) > MAX_TEXT:
                raise Misfit
            out[self.at].append(raw)  # HDF5 pads with NUL, so trailing NULs need the length to come back
            out[self.at + 1].append(len(raw))

    def decode(self, rows: list[Iterator[Any]]) -> Any:
        first = next(rows[self.at])
        if self.kind == "complex":
            return complex(first, next(rows[self.at + 1]))
        if self.width == 2:
            raw = first.ljust(next(rows[self.at + 1]), b"\0")
            return raw if self.kind == "bytes" else raw.decode("utf-8")
        return first != 0 if self.kind == "bool" else first


class ArrayLeaf(Node):
    """An ndarray of one dtype, shape and memory order, or (``order`` is None) a numpy scalar."""

    def __init__(self, dtype: np.dtype[Any], shape: tuple[int, ...], order: str | None) -> None:
        self.dtype, self.shape, self.order = dtype, shape, order
        self.parts: list[Part] = parts(dtype)
        self.width = len(self.parts)

    def to_json(self) -> Any:
        kind: dict[str, Any] = {"dtype": dtype_to_json(self.dtype)}
        if self.order is not None:
            kind["shape"] = list(self.shape)
            if self.order != "C":
                kind["order"] = self.order
        return kind

    def columns(self, name: str, prefix: tuple[int, ...]) -> Iterator[Column]:
        for i, part in enumerate(self.parts):
            steps = [_piece(piece, "part", i) for piece in part.name.split("/") if piece]
            yield Column("/".join([name, *steps]), part.plain, (*prefix, *self.shape, *part.extra))

    def encode(self, value: Any, out: list[list[Any]], seen: set[int]) -> None:
        if self.order is None:
            if not isinstance(value, np.generic) or type(value) is not value.dtype.type:
                raise Misfit
            value = np.asarray(value)  # a longlong may come back as an int64: the same dtype by another name
        elif type(value) is not np.ndarray or order_of(value) != self.order:
            raise Misfit
        else:
            once(value, seen)
        if value.dtype != self.dtype or value.shape != self.shape:
            raise Misfit
        try:
            for i, part in enumerate(self.parts):
                out[self.at + i].append(part.split(value))
        except ValueError as error:  # text that is no Unicode
            raise Misfit from error

    def decode(self, rows: list[Iterator[Any]]) -> Any:
        plain = [next(rows[self.at + i]) for i in range(self.width)]
        array = merged(self.dtype, self.shape, self.order or "C", plain, self.parts)
        return array if self.order is not None else array[()]


def order_of(array: Array) -> str:
    """Return the memory order a copy of `array` should have: ``"F"`` only where it is not C as well."""
    return "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"


class DictNode(Node):
    """A dict with str keys, in their order."""

    def __init__(self, keys: tuple[str, ...], children: tuple[Node, ...]) -> None:
        self.keys, self.children = keys, children

    def to_json(self) -> Any:
        return {"dict": [[key, child.to_json()] for key, child in zip(self.keys, self.children, strict=True)]}

    def columns(self, name: str, prefix: tuple[int, ...]) -> Iterator[Column]:
        for i, (key, child) in enumerate(zip(self.keys, self.children, strict=True)):
            yield from child.columns(_join(name, key, i), prefix)

    def encode(self, value: Any, out: list[list[Any]], seen: set[int]) -> None:
        if type(value) is not dict or tuple(value) != self.keys:  # the order of keys is part of a dict
            raise Misfit
        once(value, seen)
        for key, child in zip(self.keys, self.children, strict=True):
            child.encode(value[key], out, seen)

    def decode(self, rows: list[Iterator[Any]]) -> Any:
        return {key: child.decode(rows) for key, child in zip(self.keys, self.children, strict=True)}


class SequenceNode(Node):
    """A list or tuple whose items have columns of their own."""

    def __init__(self, kind: str, children: tuple[Node, ...]) -> None:
        self.kind, self.children = kind, children
        self.python_type: type = list if kind == "list" else tuple

    def to_json(self) -> Any:
        return {self.kind: [child.to_json() for child in self.children]}

    def columns(self, name: str, prefix: tuple[int, ...]) -> Iterator[Column]:
        for i, child in enumerate(self.children):
            yield from child.columns(_join(name, str(i), i), prefix)

    def encode(self, value: Any, out: list[list[Any]], seen: set[int]) -> None:
        _exactly(value, self.python_type)
        if len(value) != len(self.children):
            raise Misfit
        if self.python_type is list:
            once(value, seen)
        for item, child in zip(value, self.children, strict=True):
            child.encode(item, out, seen)

    def decode(self, rows: list[Iterator[Any]]) -> Any:
        return self.python_type([child.decode(rows) for child in self.children])


class PackedNode(Node):
    """A list or tuple of `length` items of one layout, which share their columns."""

    def __init__(self, kind: str, length: int, child: Node) -> None:
        self.kind, self.length, self.children = kind, length, (child,)
        self.python_type: type = list if kind == "list" else tuple

    def to_json(self) -> Any:
        return {self.kind: self.children[0].to_json(), "length": self.length}

    def columns(self, name: str, prefix: tuple[int, ...]) -> Iterator[Column]:
        yield from self.children[0].columns(name, (*prefix, self.length))

    def encode(self, value: Any, out: list[list[Any]], seen: set[int]) -> None:
        _exactly(value, self.python_type)
        if len(value) != self.length:
            raise Misfit
        if self.python_type is list:
            once(value, seen)
        child = self.children[0]
        if isinstance(child, PlainLeaf) and child.kind in ("float", "bool"):  # a list of floats in one go
            if set(map(type, value)) != {child.python_type}:
                raise Misfit
            out[child.at].extend(value)
        else:
            for item in value:
                child.encode(item, out, seen)

    def decode(self, rows: list[Iterator[Any]]) -> Any:
        child = self.children[0]
        return self.python_type([child.decode(rows) for _ in range(self.length)])


class RecordNode(Node):
    """A dataclass or namedtuple. Its class is looked up among the modules already imported, when first needed."""

    def __init__(self, kind: str, cls: str, fields: tuple[str, ...], children: tuple[Node, ...]) -> None:
        self.kind, self.cls, self.fields, self.children = kind, cls, fields, children
        self._type: type | None = None

    @property
    def python_type(self) -> type:
        if self._type is None:
            self.find(None)
            assert self._type is not None
        return self._type

    def find(self, main: str | None) -> None:
        """Look up the class; where it was in ``__main__`` and is not, in the module `main`."""
        try:
            self._type = find_class(self.cls, self.kind, self.fields)
        except StateClassError:
            if main is None or not self.cls.startswith("__main__:"):
                raise
            try:
                self._type = find_class(main + self.cls[len("__main__") :], self.kind, self.fields)
            except StateClassError:
                raise StateClassError(*self.cls.split(":", 1)) from None

    def to_json(self) -> Any:
        fields = [[name, child.to_json()] for name, child in zip(self.fields, self.children, strict=True)]
        return {self.kind: fields, "class": self.cls}

    def columns(self, name: str, prefix: tuple[int, ...]) -> Iterator[Column]:
        for i, (field, child) in enumerate(zip(self.fields, self.children, strict=True)):
            yield from child.columns(_join(name, field, i), prefix)

    def encode(self, value: Any, out: list[list[Any]], seen: set[int]) -> None:
        _exactly(value, self.python_type)
        if self.kind == "namedtuple":
            for item, child in zip(value, self.children, strict=True):
                child.encode(item, out, seen)
            return
        once(value, seen)
        if not only_fields(value, self.fields):
            raise Misfit("attributes that are no fields")
        try:
            for field, child in zip(self.fields, self.children, strict=True):
                child.encode(getattr(value, field), out, seen)
        except AttributeError as error:
            raise Misfit from error

    def decode(self, rows: list[Iterator[Any]]) -> Any:
        cls = self.python_type  # before the children's: where none is imported, the outermost is the one to name
        values = [child.decode(rows) for child in self.children]
        if self.kind == "namedtuple":
            return tuple.__new__(cls, values)
        record: Any = object.__new__(cls)  # no __init__: restoring a state runs no user code
        for field, value in zip(self.fields, values, strict=True):
            object.__setattr__(record, field, value)
        return record


def _join(name: str, key: str, i: int) -> str:
    piece = _piece(key, "key", i)
    return f"{name}/{piece}" if name else piece


def _piece(key: str, stand_in: str, i: int) -> str:
    """Return `key` where it may be a name in a file and looks like no stand-in, else the stand-in number `i`."""
    return key if re.fullmatch(_NAME, key) and not re.fullmatch(rf"{stand_in}[0-9]+", key) else f"{stand_in}{i}"
