"""The layout of a state: a tree of containers over leaves, with one plain column for each part of each leaf.

A layout is read off ``init_state`` once. ``encode`` turns a state that fits into one row (a plain array for each
column), ``decode`` turns a row back into a new state of the same types. Equal neighbours in a list or tuple (a list
of floats, a list of agents) share columns with one more axis instead of taking columns of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import StateClassError, StateError
from .classes import class_fields, class_kind, contents, find_class, only_fields, stand_in
from .columns import MAX_TEXT, Array, UnsupportedDtype, is_text
from .keys import NotAKey, key_from_json, same_json
from .leaves import leaf_from_json, leaf_node
from .nodes import (
    MAX_NAMED,
    MAX_RANK,
    ArrayLeaf,
    Column,
    DictNode,
    Misfit,
    Node,
    PackedDictNode,
    PackedNode,
    RecordNode,
    SequenceNode,
    count_of,
    once,
)
from .one_of import OneOfNode, first_kinds, from_kinds, is_leaf, merged, moved, several, used, widened
from .sets import SetNode
from .tensors import TensorNode

#: A layout with more columns, or deeper, is kept as pickles: a file with so many datasets helps nobody.
MAX_COLUMNS = 500
MAX_DEPTH = 12


class Layout:
    """The layout of a state, or of what ``codec`` makes of it.

    Attributes
    ----------
    columns : tuple of Column
        What a row consists of, in order.
    """

    def __init__(self, root: Node) -> None:
        self.root = root = root.fresh()
        count = root.place(0)
        self.columns = tuple(root.columns(_root_name(root), ()))
        assert len(self.columns) == count
        names = [column.name for column in self.columns]
        if count > MAX_COLUMNS or len(set(names)) != count or any(n.count("/") >= MAX_DEPTH for n in names):
            raise UnsupportedDtype("too many columns")
        if any(len(column.shape) > MAX_RANK for column in self.columns):
            raise UnsupportedDtype("too many axes")
        self._wider: dict[str, Layout] = {}
        self.recorded: Layout | None = None

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
        """Return a new state from a row.

        Raises
        ------
        ValueError
            If the row is of no state: a file may say anything.
        """
        return self.root.decode(self._iterators(row))

    def _iterators(self, row: list[Array]) -> list[Iterator[Any]]:
        iterators: list[Iterator[Any]] = []
        _put_iterators(self.root, row, iterators)
        return iterators

    def to_json(self) -> Any:
        """Return the tree as it stands in the metadata of a file."""
        return self.root.to_json()

    @property
    def version(self) -> int:
        """The first version of the format that has such a layout."""
        return max(node.version for node in _nodes(self.root))

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
        given = self.given
        return (Layout.from_json, (self.to_json(),)) if not given else (_with_classes, (self.to_json(), given))

    @property
    def given(self) -> dict[str, type]:
        """The classes that `give` was told, by the names that were recorded."""
        nodes = _nodes(self.root)
        return {node.cls: node.given for node in nodes if isinstance(node, RecordNode) and node.given is not None}

    @property
    def names(self) -> list[str]:
        """The names of its classes, as they were recorded."""
        return list(dict.fromkeys(node.cls for node in _nodes(self.root) if isinstance(node, RecordNode)))

    def give(self, classes: Mapping[str, type]) -> None:
        """Take classes for those that were recorded under these names.

        Raises
        ------
        StateClassError
            If one does not take their states.
        """
        for node in _nodes(self.root):
            if isinstance(node, RecordNode) and node.cls in classes:
                node.give(classes[node.cls])
        self.recorded = None
        if self.given:  # what was recorded has the digest that it had
            self.recorded = Layout.from_json(self.to_json())
            for node in _nodes(self.recorded.root):
                if isinstance(node, RecordNode):
                    node.give(stand_in(node.kind, node.cls.partition(":")[2], node.fields))

    def require_classes(self, main: str | None = None) -> None:
        """Raise `StateClassError` now if a class this layout names is not imported.

        `main` is the module to look in, too, for classes of the recording script: there they were in ``__main__``.
        """
        for node in _nodes(self.root):
            if isinstance(node, RecordNode):
                node.find(main)
            elif isinstance(node, TensorNode):
                node.require()

    def look_up_classes(self) -> None:
        """Look its classes up anew, each where it was found: one that was defined again is another.

        Raises
        ------
        StateClassError
            If one is no longer there, or is another kind of class.
        """
        for node in _nodes(self.root):
            if isinstance(node, RecordNode):
                node.find_again()

    def classes(self) -> list[type]:
        """Return the dataclasses and namedtuples of states.

        Raises
        ------
        StateClassError
            If one is not imported.
        """
        return list({node.python_type: None for node in _nodes(self.root) if isinstance(node, RecordNode)})

    @cached_property
    def has_sets(self) -> bool:
        """Whether states hold sets, of whose order only what a list of their members leads to comes back."""
        return any(isinstance(node, SetNode) for node in _nodes(self.root))

    # ---- leaves of several kinds

    @property
    def varies(self) -> bool:
        """Whether some leaf is of several kinds."""
        return any(True for _ in several(self.root))

    def widened(self, state: Any) -> Layout:
        """Return this layout with leaves of several kinds where `state` has another kind of leaf than it.

        Raises
        ------
        Misfit
            If it differs in more than that.
        """
        return self._of(widened(self.root, state, set()))

    def merged(self, other: Layout) -> Layout:
        """Return this layout with the kinds of leaves of another one, which has the same first kinds."""
        return self._of(merged(self.root, other.root))

    def first(self) -> Layout:
        """Return the layout of state 0."""
        return Layout(first_kinds(self.root))

    def narrowed(self, row: list[Array]) -> tuple[Layout, list[Array]]:
        """Return the layout with only those kinds that a row has, and that of state 0, and the row in it."""
        narrow = self._of(used(self.root, row))
        return narrow, narrow.row_of(self, row)

    def row_of(self, other: Layout, row: list[Array]) -> list[Array]:
        """Return a row of another layout, the kinds of which this one has, as a row of this one."""
        into = [np.zeros(column.shape, column.dtype if column.dtype.itemsize else "S1") for column in self.columns]
        moved(other.root, row, self.root, into)
        return into

    def problem(self, columns: Sequence[Array]) -> str | None:
        """Return what is wrong with the columns of a file that say which kind a leaf is; None if nothing is."""
        for node in several(self.root):
            kinds = columns[node.at]
            if kinds.size and kinds.max() >= len(node.children):
                return f"{self.columns[node.at].name} says a kind that is not there"
        return None

    def _of(self, root: Node) -> Layout:
        try:
            text = repr(root.to_json())
            known = self._wider.get(text)
            if known is None:
                known = Layout(root)
                if len(self._wider) < 1000:
                    self._wider[text] = known
            return known
        except UnsupportedDtype as error:
            raise Misfit from error


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def _with_classes(tree: Any, classes: Mapping[str, type]) -> Layout:
    layout = Layout.from_json(tree)
    layout.give(classes)
    return layout


def _put_iterators(node: Node, row: list[Array], iterators: list[Iterator[Any]]) -> None:
    # No closure that calls itself: such a one, with the state in it, is only freed by a collection of cycles.
    if isinstance(node, OneOfNode):
        iterators.append(iter(row[node.at].reshape(-1).tolist()))
    for child in node.children:
        _put_iterators(child, row, iterators)
    if node.children:
        return
    array = isinstance(node, (ArrayLeaf, TensorNode))
    for i, column in enumerate(node.columns("", ())):
        values = row[node.at + i]
        if array or column.shape:
            # -1 means nothing where an axis is 0
            count = math.prod(values.shape[: values.ndim - len(column.shape)])
            iterators.append(iter(values.reshape(count, *column.shape)))
        else:
            iterators.append(iter(values.reshape(-1).tolist()))


def _root_name(root: Node) -> str:
    while isinstance(root, (PackedNode, PackedDictNode)):
        root = root.children[0]
    return "state" if is_leaf(root) or isinstance(root, OneOfNode) else ""


def _pack(values: list[Any], column: Column) -> Array:
    if values and isinstance(values[0], np.ndarray):
        stacked = values[0] if len(values) == 1 else np.stack(values)
        return stacked.reshape(column.shape)
    return np.array(values, column.dtype).reshape(column.shape)


def _node_of(value: Any, seen: set[int], depth: int) -> Node:
    leaf = leaf_node(value, seen)
    if leaf is not None:
        return leaf
    kind = type(value)
    if depth >= MAX_DEPTH:
        raise Misfit
    if kind is dict:
        once(value, seen)
        return _dict(tuple(value), tuple([_node_of(item, seen, depth + 1) for item in value.values()]))
    if kind is list or kind is tuple:
        if kind is list:
            once(value, seen)
        return _sequence(kind.__name__, tuple(_node_of(item, seen, depth + 1) for item in value))
    record = class_kind(kind)
    if record is None:
        raise Misfit
    return _record(value, record, seen, depth)


def _dict(keys: tuple[Any, ...], children: tuple[Node, ...]) -> Node:
    try:
        named = DictNode(keys, children)
    except NotAKey as error:
        raise Misfit from error
    many = len(keys) > MAX_NAMED and not all(type(key) is str for key in keys)
    if many and _packable(children[0]) and _alike(children):
        return PackedDictNode(keys, children[0])
    return named


def _alike(children: tuple[Node, ...]) -> bool:
    first = children[0].to_json()
    return all(type(child) is type(children[0]) and child.to_json() == first for child in children[1:])


def _sequence(kind: str, children: tuple[Node, ...]) -> Node:
    if len(children) > 1 and _packable(children[0]) and _alike(children):
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
    leaf = leaf_from_json(tree)
    if leaf is not None:
        return leaf
    keys = set(tree)
    if keys == {"dict"}:
        children = tuple([_node_from_json(child, depth + 1) for _, child in tree["dict"]])
        return _dict_from_json([key for key, _ in tree["dict"]], children)
    if keys == {"dict", "keys"}:
        child = _node_from_json(tree["dict"], depth + 1)
        if not _packable(child):
            raise ValueError("a packed dict of nothing")
        return PackedDictNode(_keys(list(tree["keys"])), child)
    if keys == {"one_of"}:
        return from_kinds([_node_from_json(child, MAX_DEPTH + 1) for child in list(tree["one_of"])[:MAX_COLUMNS]])
    for kind in ("list", "tuple"):
        if keys == {kind}:
            return SequenceNode(kind, tuple(_node_from_json(child, depth + 1) for child in list(tree[kind])))
        if keys == {kind, "length"}:
            child = _node_from_json(tree[kind], depth + 1)
            if not _packable(child):
                raise ValueError("a packed list of nothing")
            return PackedNode(kind, count_of(tree["length"]), child)
    for kind in ("dataclass", "namedtuple"):
        if keys == {kind, "class"} and isinstance(tree["class"], str):
            pairs = [(field, _node_from_json(child, depth + 1)) for field, child in tree[kind]]
            if not all(isinstance(field, str) for field, _ in pairs):
                raise ValueError("field names")
            fields = tuple(field for field, _ in pairs)
            return RecordNode(kind, tree["class"], fields, tuple(child for _, child in pairs))
    raise ValueError(f"layout node with {sorted(map(str, keys))}")


def _dict_from_json(spelled: list[Any], children: tuple[Node, ...]) -> DictNode:
    trees = [tree["str"] if type(tree) is dict and list(tree) == ["str"] else tree for tree in spelled]
    if any(type(tree) is str and not is_text(tree) for tree in trees):
        raise ValueError("a key that is no text")
    node = DictNode(_keys(trees), children, frozenset(i for i, tree in enumerate(spelled) if type(tree) is str))
    if not same_json([key for key, _ in node.to_json()["dict"]], spelled):
        raise ValueError("a key that is spelled in another way")
    return node


def _keys(trees: list[Any]) -> tuple[Any, ...]:
    keys = tuple(map(key_from_json, trees))
    if len(set(keys)) != len(keys):
        raise ValueError("a dict with a key twice")
    return keys


def first_change(layout: Layout, state: Any) -> tuple[str, str, str]:
    """Return where `state` stops fitting `layout`: a path into it, what stood there, and what stands there now."""
    now = Layout.of(state)
    long = _long_text(state, "")
    if long is not None and (now is None or now.to_json() == layout.to_json()):
        return long[0], "", f"{long[1]:,} bytes long, of which a column takes {MAX_TEXT:,},"
    if now is None:
        return "", _words(layout.to_json()), "something no column can hold (an int beyond 64 bits, another object)"
    return _first_change(layout.to_json(), now.to_json(), "")


def _long_text(value: Any, path: str) -> tuple[str, int] | None:
    """Return where text or bytes are longer than a column takes, and how long they are."""
    if type(value) is str and is_text(value):
        value = value.encode()
    if type(value) is bytes:
        return (path, len(value)) if len(value) > MAX_TEXT else None
    inside = contents(value)
    if inside is None or path.count("[") + path.count(".") > MAX_DEPTH:
        return None
    form, keys, items = inside
    for key, item in zip(keys, items, strict=True):
        found = _long_text(item, path + form.format(key))
        if found is not None:
            return found
    return None


def _first_change(a: Any, b: Any, path: str) -> tuple[str, str, str]:
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        for kind, form in (("dict", "[{!r}]"), ("dataclass", ".{}"), ("namedtuple", ".{}")):
            if kind in a and [name for name, _ in a[kind]] == [name for name, _ in b[kind]]:
                for (name, old), (_, new) in zip(a[kind], b[kind], strict=True):
                    if old != new:
                        return _first_change(old, new, path + form.format(key_of(name)))
        for kind in ("list", "tuple"):
            if kind in a and "length" not in a and len(a[kind]) == len(b[kind]):
                for i, (old, new) in enumerate(zip(a[kind], b[kind], strict=True)):
                    if old != new:
                        return _first_change(old, new, f"{path}[{i}]")
            elif kind in a and "length" in a and a["length"] == b["length"]:
                return _first_change(a[kind], b[kind], f"{path}[0]")
    return path, _words(a), _words(b)


def key_of(tree: Any) -> Any:
    """Return a key, or the name of a field, of its JSON in the tree of a layout."""
    return tree["str"] if type(tree) is dict and "str" in tree else key_from_json(tree)


def _words(tree: Any) -> str:
    """Return a layout in a few words."""
    if tree is None or isinstance(tree, str):
        return tree or "None"
    if "one_of" in tree:
        return " or ".join(map(_words, tree["one_of"]))
    if "set" in tree:
        return f"a {tree['set']}"
    if "tensor" in tree:
        return f"{tree['tensor']}'s {_words({name: tree[name] for name in tree if name not in ('tensor', 'weak')})}"
    if "generator" in tree:
        return f"a {tree['generator']}"
    if "keys" in tree:
        return f"a dict of {len(tree['keys'])}"
    if "dtype" in tree:
        dtype = tree["dtype"] if isinstance(tree["dtype"], str) else "structured"
        name = str(np.dtype(dtype)) if dtype != "structured" else dtype
        order = " in Fortran order" if "order" in tree else ""
        return f"an array of {name}, shape {tuple(tree['shape'])}{order}" if "shape" in tree else f"a numpy {name}"
    kind = next(kind for kind in ("dict", "dataclass", "namedtuple", "list", "tuple") if kind in tree)
    if kind in ("dict", "dataclass", "namedtuple"):
        return f"a {kind} of {', '.join(str(key_of(name)) for name, _ in tree[kind]) or 'nothing'}"
    return f"a {kind} of {tree.get('length', len(tree[kind]))}"
