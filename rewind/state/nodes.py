"""The nodes of a layout: leaves, each with the columns of its parts, and the containers over them."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..errors import StateClassError
from .classes import class_fields, class_kind, class_problem, defaults_of, find_class, named_like, only_fields
from .columns import MAX_TEXT, Array, Part, dtype_to_json, merged, parts
from .frozen import frozen
from .keys import INT64, Keys, key_to_json, plain_name, readable_name

_PLAIN_DTYPES = {"bool": "u1", "int": "<i8", "float": "<f8", "complex": "<f8"}
PLAIN_TYPES: dict[type, str] = {
    bool: "bool",
    int: "int",
    float: "float",
    complex: "complex",
    str: "str",
    bytes: "bytes",
}
#: Most axes of a column: HDF5 has 32, and the first is the checkpoint.
MAX_RANK = 31
#: Most items of a dict that have columns of their own where they could share them, unless all keys are text.
MAX_NAMED = 64


class Misfit(Exception):
    """A state that is not of this layout; its checkpoint is pickled instead."""


class BadValue(ValueError):
    """A row of a file that no state has; says why."""


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
    #: The first version of the format that has such a node.
    version: int = 1

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
        if self.children:
            self.width = at - self.at
        return self.at + self.width

    def over(self, children: tuple[Node, ...]) -> Node:
        """Return such a node over other children."""
        new = copy.copy(self)
        new.children = children
        return new

    def fresh(self) -> Node:
        """Return a tree of new nodes, to be numbered by itself."""
        return self.over(tuple([child.fresh() for child in self.children]))


def count_of(n: Any) -> int:
    """Return a size that a file declares, if it may be one."""
    if type(n) is not int or not 0 <= n < 1 << 40:
        raise ValueError("a size in the layout")
    return n


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
    """A dict, its keys in their order.

    Parameters
    ----------
    keys : tuple
    children : tuple of Node
    named : frozenset of int, optional
        Which keys, by position, were plain text or had a stand-in for a name in files of version 1; by default those
        for which a readable name is no other.
    """

    def __init__(self, keys: tuple[Any, ...], children: tuple[Node, ...], named: frozenset[int] | None = None) -> None:
        self.keys, self.children = keys, children
        self._known = Keys(keys)
        self._pieces, self._plain = _pieces(keys, named)
        if len(self._plain) < len(keys):
            self.version = 2

    def to_json(self) -> Any:
        return {"dict": [[self._key(i), child.to_json()] for i, child in enumerate(self.children)]}

    def _key(self, i: int) -> Any:
        tree = key_to_json(self.keys[i])
        return {"str": tree} if type(tree) is str and i not in self._plain else tree

    def columns(self, name: str, prefix: tuple[int, ...]) -> Iterator[Column]:
        for piece, child in zip(self._pieces, self.children, strict=True):
            yield from child.columns(f"{name}/{piece}" if name else piece, prefix)

    def items(self, value: Any) -> list[Any]:
        """Return the values of a dict with these keys, in their order, which is part of a dict."""
        return _items(value, self._known)

    def encode(self, value: Any, out: list[list[Any]], seen: set[int]) -> None:
        items = self.items(value)
        once(value, seen)
        for item, child in zip(items, self.children, strict=True):
            child.encode(item, out, seen)

    def decode(self, rows: list[Iterator[Any]]) -> Any:
        return {key: child.decode(rows) for key, child in zip(self.keys, self.children, strict=True)}


def _pieces(keys: tuple[Any, ...], named: frozenset[int] | None) -> tuple[list[str], frozenset[int]]:
    """Return what keys are called in a file, and which of them, by position, are as in files of version 1."""
    pieces = [_piece(key, "key", i) if type(key) is str else "" for i, key in enumerate(keys)]
    old = frozenset(i for i, key in enumerate(keys) if plain_name(key, "key"))
    taken = {pieces[i] for i in old}
    plain = set(old)
    for i, key in enumerate(keys):
        if i in old or (named is not None and i in named):
            plain.add(i)
            continue
        name = readable_name(key)
        if name and name not in taken:
            pieces[i] = name
            taken.add(name)
        else:
            pieces[i] = f"key{i}"
            if type(key) is str:
                plain.add(i)
    return pieces, frozenset(plain)


def _items(value: Any, keys: Keys) -> list[Any]:
    if type(value) is not dict or not keys.of(value):
        raise Misfit
    return list(value.values())


class PackedDictNode(Node):
    """A dict whose values are of one layout and share their columns."""

    version = 2

    def __init__(self, keys: tuple[Any, ...], child: Node) -> None:
        self.keys, self.children = keys, (child,)
        self._known = Keys(keys)

    def to_json(self) -> Any:
        return {"dict": self.children[0].to_json(), "keys": [key_to_json(key) for key in self.keys]}

    def columns(self, name: str, prefix: tuple[int, ...]) -> Iterator[Column]:
        yield from self.children[0].columns(name, (*prefix, len(self.keys)))

    def items(self, value: Any) -> list[Any]:
        """Return the values of a dict with these keys, in their order."""
        return _items(value, self._known)

    def encode(self, value: Any, out: list[list[Any]], seen: set[int]) -> None:
        items = self.items(value)
        once(value, seen)
        for item in items:
            self.children[0].encode(item, out, seen)

    def decode(self, rows: list[Iterator[Any]]) -> Any:
        child = self.children[0]
        return {key: child.decode(rows) for key in self.keys}


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

    def items(self, value: Any) -> list[Any]:
        """Return the items of a list or tuple of this length."""
        _exactly(value, self.python_type)
        if len(value) != len(self.children):
            raise Misfit
        return list(value)

    def encode(self, value: Any, out: list[list[Any]], seen: set[int]) -> None:
        items = self.items(value)
        if self.python_type is list:
            once(value, seen)
        for item, child in zip(items, self.children, strict=True):
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

    def items(self, value: Any) -> list[Any]:
        """Return the items of a list or tuple of this length."""
        _exactly(value, self.python_type)
        if len(value) != self.length:
            raise Misfit
        return list(value)

    def encode(self, value: Any, out: list[list[Any]], seen: set[int]) -> None:
        items = self.items(value)
        if self.python_type is list:
            once(value, seen)
        child = self.children[0]
        if isinstance(child, PlainLeaf) and child.kind in ("float", "bool"):  # a list of floats in one go
            if set(map(type, items)) != {child.python_type}:
                raise Misfit
            out[child.at].extend(items)
        else:
            for item in items:
                child.encode(item, out, seen)

    def decode(self, rows: list[Iterator[Any]]) -> Any:
        child = self.children[0]
        return self.python_type([child.decode(rows) for _ in range(self.length)])


class RecordNode(Node):
    """A dataclass or namedtuple. Its class is looked up among the modules already imported, when first needed."""

    def __init__(self, kind: str, cls: str, fields: tuple[str, ...], children: tuple[Node, ...]) -> None:
        self.kind, self.cls, self.fields, self.children = kind, cls, fields, children
        self._type: type | None = None
        self.given: type | None = None
        self._defaults: dict[str, Callable[[], Any]] = {}

    def give(self, cls: type) -> None:
        """Take `cls` for the class that was recorded: by the names of its fields, new ones with their defaults.

        Raises
        ------
        StateClassError
            If a field is not there, or a new one has no default.
        """
        ours = class_fields(cls) if class_kind(cls) == self.kind else None
        defaults = {} if ours is None else {k: v for k, v in defaults_of(cls).items() if k not in self.fields}
        known = {*self.fields, *defaults}
        if ours is None or not set(self.fields) <= set(ours) or not set(ours) <= known:
            problem = class_problem(cls, self.kind, self.fields) or ""
            raise self._not_here(f"{problem.partition('. ')[0]}, as classes= gives it")
        self.given = self._type = cls
        self._defaults = defaults

    @property
    def python_type(self) -> type:
        if self._type is None:
            self.find(None)
            assert self._type is not None
        return self._type

    def find(self, main: str | None) -> None:
        """Look up the class; where it was in ``__main__`` and is not, in the module `main`."""
        if self.given is not None:
            self.give(named_like(self.given))
            return
        try:
            self._type = find_class(self.cls, self.kind, self.fields)
        except StateClassError:
            if main is None or not self.cls.startswith("__main__:"):
                raise
            try:
                self._type = find_class(main + self.cls[len("__main__") :], self.kind, self.fields)
            except StateClassError as error:
                raise self._not_here(error.problem) from None

    def _not_here(self, problem: str | None) -> StateClassError:
        module, _, qualname = self.cls.partition(":")
        return StateClassError(module, qualname, problem)

    def find_again(self) -> None:
        """Look the class up anew."""
        if self._type is not None:
            self.find(self._type.__module__)

    def to_json(self) -> Any:
        fields = [[name, child.to_json()] for name, child in zip(self.fields, self.children, strict=True)]
        return {self.kind: fields, "class": self.cls}

    def columns(self, name: str, prefix: tuple[int, ...]) -> Iterator[Column]:
        for i, (field, child) in enumerate(zip(self.fields, self.children, strict=True)):
            yield from child.columns(_join(name, field, i), prefix)

    def items(self, value: Any) -> list[Any]:
        """Return the fields of an instance that is no more than they are."""
        _exactly(value, self.python_type)
        if self.kind == "namedtuple":
            return list(value) if self.given is None else [getattr(value, field) for field in self.fields]
        if not only_fields(value, (*self.fields, *self._defaults)):
            raise Misfit("attributes that are no fields")
        try:
            return [getattr(value, field) for field in self.fields]
        except AttributeError as error:
            raise Misfit from error

    def encode(self, value: Any, out: list[list[Any]], seen: set[int]) -> None:
        items = self.items(value)
        if self.kind == "dataclass":
            once(value, seen)
        for item, child in zip(items, self.children, strict=True):
            child.encode(item, out, seen)

    def decode(self, rows: list[Iterator[Any]]) -> Any:
        cls = self.python_type  # before the children's: where none is imported, the outermost is the one to name
        values = [child.decode(rows) for child in self.children]
        if self.given is not None:
            parts = dict(zip(self.fields, values, strict=True)) | {k: make() for k, make in self._defaults.items()}
            values = [parts[name] for name in class_fields(cls)]
            fields = class_fields(cls)
        else:
            fields = self.fields
        if self.kind == "namedtuple":
            return tuple.__new__(cls, values)
        record: Any = object.__new__(cls)  # no __init__: restoring a state runs no user code
        for field, value in zip(fields, values, strict=True):
            object.__setattr__(record, field, value)
        return record


def _join(name: str, key: str, i: int) -> str:
    piece = _piece(key, "key", i)
    return f"{name}/{piece}" if name else piece


def _piece(key: str, stand_in: str, i: int) -> str:
    """Return `key` where it may be a name in a file and looks like no stand-in, else the stand-in number `i`."""
    return key if plain_name(key, stand_in) else f"{stand_in}{i}"
