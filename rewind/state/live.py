"""A live state as it lies in memory, read without its pickle: to say what storing lost, and to undo what a step did."""

from __future__ import annotations

import array
import collections
import decimal
import enum
import fractions
import functools
import pathlib
import random
import re
import types
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .digest import digest

#: Most objects of a state that are looked at one by one.
MOST = 300_000

#: Differences that are listed.
LISTED = 64

_LEAVES: tuple[Any, ...] = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type,
    types.ModuleType,
    types.FunctionType,
    type(Ellipsis),
    type(NotImplemented),
    range,
    slice,
    np.dtype,
    np.ufunc,
    enum.Enum,
    decimal.Decimal,
    fractions.Fraction,
    pathlib.PurePath,
    re.Pattern,
    uuid.UUID,
)
_QUICK = frozenset({type(None), bool, int, float, complex, str, bytes, type, types.FunctionType, types.ModuleType})
_VALUES = frozenset({bool, int, float, complex, str, bytes})
#: Of these, instances have a ``__dict__`` and are leaves all the same.
_NAMED = (type, types.ModuleType, types.FunctionType, enum.Enum, np.ufunc)
#: Modules of what may lie in a state without being part of it: a pickle leaves it out or makes it anew.
_TOOLS = frozenset({"threading", "_thread", "weakref", "_weakref", "logging"})


class Node:
    """What one object held when it was looked at; what its parts held is in the nodes of these."""

    __slots__ = ("attributes", "data", "items", "kind", "slots", "value")

    def __init__(self, value: Any, kind: str) -> None:
        self.value, self.kind = value, kind
        self.attributes: dict[Any, Any] | None = None
        self.slots: dict[str, Any] | None = None
        self.items: list[Any] | None = None
        self.data: Any = None

    def children(self) -> Iterator[tuple[str, Any]]:
        """Yield what leads to each part that is no plain value, and the part."""
        if self.kind == "dict" and self.items is not None:
            for key, item in self.items:
                if type(item) not in _QUICK:
                    yield f"[{key!r}]" if type(key) in (str, int, float, bool, tuple) else "[...]", item
                if type(key) not in _QUICK and not is_leaf(key):
                    yield ".keys()", key
        elif self.items is not None:
            for i, item in enumerate(self.items):
                if type(item) not in _QUICK:
                    yield f"[{i}]" if self.kind in ("sequence", "array") else "{...}", item
        for held in (self.attributes, self.slots):
            if held:
                for name, item in held.items():
                    if type(item) not in _QUICK:
                        yield f".{name}", item
        if self.kind == "bound":
            yield ".__self__", self.data

    def named(self) -> dict[str, Any]:
        """Return the attributes, by name."""
        return {**(self.attributes or {}), **(self.slots or {})}


class Live:
    """The objects of a state, each as it is now, found by walking through it; nothing of the state is called.

    Attributes
    ----------
    root : object
    nodes : dict of int to Node
        By the ``id`` of the object; they hold on to the objects.
    whole : bool
        Whether all of it was seen: no more than `MOST` objects.
    known : bool
        Whether what each of them holds could be read, and could be put back.
    """

    def __init__(self, root: Any) -> None:
        self.root = root
        self.nodes: dict[int, Node] = {}
        self.parents: dict[int, tuple[int, str]] = {}
        self.whole = self.known = True
        if is_leaf(root):
            return
        nodes, parents = self.nodes, self.parents
        ahead: list[Any] = [root]
        while ahead:
            value = ahead.pop()
            key = id(value)
            if key in nodes:
                continue
            if len(nodes) >= MOST:
                self.whole = self.known = False
                return
            node = nodes[key] = _node(value)
            if node.kind == "other":
                self.known = False
            for label, child in node.children():
                if id(child) not in nodes and not is_leaf(child):
                    parents.setdefault(id(child), (key, label))
                    ahead.append(child)

    def path(self, value: Any) -> str:
        """Return what leads to an object that was seen."""
        steps: list[str] = []
        key = id(value)
        while key in self.parents and key != id(self.root):
            key, label = self.parents[key]
            steps.append(label)
        return "".join(reversed(steps))

    def global_generators(self) -> Iterator[tuple[str, str]]:
        """Yield the path and the name of each use of a global generator in the state."""
        names: dict[int, str] = {id(random.random.__self__): "random's global generator"}  # type: ignore[attr-defined]
        numpy_own: Any = np.random.random.__self__  # type: ignore[attr-defined]
        names[id(numpy_own)] = names[id(numpy_own._bit_generator)] = "numpy.random's global generator"
        for key in self.nodes:
            if key in names:
                yield self.path(self.nodes[key].value), names[key]

    def sets(self) -> list[Any]:
        """Return the sets in the state that a step can change."""
        return [node.value for node in self.nodes.values() if node.kind == "set" and isinstance(node.value, set)]

    def put_back(self) -> None:
        """Make every object what it was, where a step has changed it since."""
        for node in self.nodes.values():
            _put_back(node)


def is_leaf(value: Any) -> bool:
    """Whether a value has no parts that a step could change."""
    kind = type(value)
    if kind in _QUICK:
        return True
    if isinstance(value, np.generic):
        return not isinstance(value, np.void)
    if kind is types.BuiltinFunctionType:
        owner = value.__self__
        return owner is None or isinstance(owner, (types.ModuleType, type))
    if kind.__module__ in ("datetime", "zoneinfo"):
        return True
    # A subclass of a leaf may have attributes.
    return isinstance(value, _LEAVES) and (not kind.__dictoffset__ or isinstance(value, _NAMED))


# ---- reading


def _storage(kind: type, base: type) -> bool:
    """Whether instances of `kind` hold no more than those of `base`, attributes and slots."""
    slots = sum(
        isinstance(member, types.MemberDescriptorType)
        for cls in kind.__mro__
        if cls not in base.__mro__
        for member in vars(cls).values()
    )
    room = base.__basicsize__ + 8 * slots
    room += 8 * (kind.__dictoffset__ > 0 and not base.__dictoffset__)
    room += 8 * (kind.__weakrefoffset__ > 0 and not base.__weakrefoffset__)
    return kind.__basicsize__ <= room


_BASES: tuple[tuple[type, str], ...] = (
    (collections.OrderedDict, "dict"),
    (collections.defaultdict, "dict"),
    (dict, "dict"),
    (list, "sequence"),
    (tuple, "sequence"),
    (collections.deque, "sequence"),
    (set, "set"),
    (frozenset, "set"),
    (np.ndarray, "array"),
    (random.Random, "generator"),
    (np.random.Generator, "generator"),
    (np.random.RandomState, "generator"),
    (np.random.BitGenerator, "generator"),
    (bytearray, "bytes"),
    (array.array, "bytes"),
    (types.SimpleNamespace, "object"),
    (object, "object"),
)


def _kind_of(cls: type) -> tuple[str, type]:
    for base, kind in _BASES:
        if issubclass(cls, base):
            return (kind if kind == "generator" or _storage(cls, base) else "other"), base
    return "other", object


_kind: Callable[[type], tuple[str, type]] = functools.lru_cache(1024)(_kind_of)


def _slots_of(kind: type) -> tuple[tuple[str, Any], ...]:
    found = {
        name: member
        for cls in reversed(kind.__mro__)
        for name, member in vars(cls).items()
        if isinstance(member, types.MemberDescriptorType)
    }
    return tuple(found.items())


_slots: Callable[[type], tuple[tuple[str, Any], ...]] = functools.lru_cache(1024)(_slots_of)


def _node(value: Any) -> Node:
    cls = type(value)
    if isinstance(value, (types.MethodType, types.BuiltinFunctionType)):
        node = Node(value, "bound")
        node.data = value.__self__
        return node
    if cls is functools.partial:
        node = Node(value, "sequence")
        node.items = [value.func, *value.args, *value.keywords.values()]
        return node
    if cls.__module__ in _TOOLS or (cls.__module__ == "_io" and not hasattr(value, "getvalue")):
        return Node(value, "tool")
    kind, base = _kind(cls)
    node = Node(value, kind)
    try:
        if kind == "dict":
            node.items = list(base.items(value))  # type: ignore[attr-defined]
        elif kind in ("sequence", "set"):
            node.items = list(base.__iter__(value))  # type: ignore[attr-defined]
        elif kind == "array":
            _read_array(node, value)
        elif kind == "generator":
            node.data = generator_state(value)
            node.kind = "tool" if node.data is None else kind
        elif kind == "bytes":
            node.data = bytes(value)
        elif kind == "other":
            node.data = _digest(value)
        if cls.__dictoffset__:
            attributes = object.__getattribute__(value, "__dict__")
            node.attributes = dict(attributes)
        for name, member in _slots(cls) if kind != "other" else ():
            if node.slots is None:
                node.slots = {}
            try:
                node.slots[name] = member.__get__(value, cls)
            except AttributeError:  # a slot that was never filled
                pass
    except Exception:  # an object that is not what its class says
        node.kind = "other"
    return node


def _read_array(node: Node, value: Any) -> None:
    plain = value.view(np.ndarray)
    if isinstance(value, np.memmap):  # it shows a file
        node.kind, node.data = "other", _digest(value)
    elif plain.dtype.hasobject:
        node.data = plain.shape
        node.items = list(plain.astype(object, copy=False).ravel(order="K")) if plain.dtype == object else None
        node.kind = "array" if plain.dtype == object else "other"
    else:
        node.data = plain.copy(order="K")


def generator_state(value: Any) -> Any:
    """Return the state of a generator of numpy's or Python's, None where it has none."""
    try:
        if isinstance(value, np.random.Generator):
            return value.bit_generator.state
        if isinstance(value, np.random.BitGenerator):
            return value.state
        if isinstance(value, np.random.RandomState):
            return value.get_state(legacy=False)
        return value.getstate()
    except Exception:
        return None


def _digest(value: Any) -> bytes | None:
    try:
        return digest(value)
    except Exception:  # nothing that could be compared
        return None


# ---- undoing


def _put_back(node: Node) -> None:
    value, kind = node.value, node.kind
    cls = type(value)
    if kind in ("tool", "bound", "other"):
        return
    base: Any = _kind(cls)[1]
    if kind == "dict":
        _put_back_dict(value, base, node.items or [])
    elif kind == "sequence" and base in (list, collections.deque) and cls is not functools.partial:
        if not _identical(list(base.__iter__(value)), node.items or []):
            base.clear(value)
            base.extend(value, node.items)
    elif kind == "set" and base is set:
        if not _identical(list(base.__iter__(value)), node.items or []):
            base.clear(value)
            base.update(value, node.items or [])
    elif kind == "array":
        _put_back_array(node)
    elif kind == "generator":
        _put_back_generator(value, node.data)
    elif kind == "bytes" and bytes(value) != node.data:
        value[:] = node.data if cls is not array.array else array.array(value.typecode, node.data)
    if node.attributes is not None:
        attributes = object.__getattribute__(value, "__dict__")
        _put_back_dict(attributes, dict, list(node.attributes.items()))
    if node.slots is not None:
        for name, member in _slots(cls):
            _put_back_slot(value, member, node.slots, name)


def _identical(now: list[Any], before: list[Any]) -> bool:
    return len(now) == len(before) and all(map(_is, now, before))


def _is(x: Any, y: Any) -> bool:
    return x is y


def _put_back_dict(value: Any, base: Any, items: list[tuple[Any, Any]]) -> None:
    now = list(base.items(value))
    if len(now) == len(items) and all(a is c and b is d for (a, b), (c, d) in zip(now, items, strict=True)):
        return
    if [id(key) for key, _ in now] != [id(key) for key, _ in items]:
        base.clear(value)
    for key, item in items:
        base.__setitem__(value, key, item)


def _put_back_slot(value: Any, member: Any, slots: dict[str, Any], name: str) -> None:
    try:
        now = member.__get__(value, type(value))
    except AttributeError:
        if name in slots:
            member.__set__(value, slots[name])
        return
    if name not in slots:
        member.__delete__(value)
    elif now is not slots[name]:
        member.__set__(value, slots[name])


def _put_back_array(node: Node) -> None:
    plain = node.value.view(np.ndarray)
    if node.items is not None:
        if plain.shape == node.data and not _identical(list(plain.ravel(order="K")), node.items):
            before = np.empty(len(node.items), object)
            before[:] = node.items
            plain[...] = before.reshape(plain.shape, order="F" if plain.flags.fnc else "C")
        return
    if plain.shape != node.data.shape or not plain.flags.writeable:
        return
    if not np.array_equal(plain.view(), node.data) or plain.tobytes() != node.data.tobytes():
        plain[...] = node.data


def _put_back_generator(value: Any, state: Any) -> None:
    if isinstance(value, np.random.Generator):
        value.bit_generator.state = state
    elif isinstance(value, np.random.BitGenerator):
        value.state = state
    elif isinstance(value, np.random.RandomState):
        value.set_state(state)
    else:
        value.setstate(state)


# ---- comparing


class Gap(NamedTuple):
    """A place at which what is restored differs from the live state.

    Attributes
    ----------
    path : str
    live, restored : object
        What is there; `MISSING` where nothing is.
    kind : {"value", "missing", "unfilled", "order", "shared"}
        ``"value"``: both have something, and not the same. ``"missing"``: one has no such attribute. ``"unfilled"``:
        one has None, or less of the same (a cache that is not filled yet). ``"order"``: a set with another order.
        ``"shared"``: one object at two places here, two objects there.
    owner : type or None
        The class whose attribute leads there, if one does.
    chosen : bool
        Whether what leads to it is a private attribute of a class that says in a ``__getstate__`` what a pickle keeps.
    """

    path: str
    live: Any
    restored: Any
    kind: str
    owner: type | None
    chosen: bool


class _Missing:
    def __repr__(self) -> str:
        return "not there"


MISSING: Any = _Missing()


def gaps(live: Live, restored: Live) -> list[Gap]:
    """Return where two states differ in memory, the first `LISTED` places; what cannot be compared does not differ."""
    found: list[Gap] = []
    seen: dict[int, int] = {}
    held: list[Any] = []
    ahead: list[tuple[Any, Any, str, type | None, bool]] = [(live.root, restored.root, "", None, False)]
    while ahead and len(found) < LISTED:
        one, other, path, owner, chosen = ahead.pop()
        ours, theirs = live.nodes.get(id(one)), restored.nodes.get(id(other))
        if one is other and (ours is theirs or ours is None or theirs is None):
            continue
        if ours is None or theirs is None:
            kind = _leaf_gap(one, other, ours, theirs)
            if kind is not None:
                found.append(Gap(path, _shown(one, ours), _shown(other, theirs), kind, owner, chosen))
            continue
        if id(one) in seen:
            if seen[id(one)] != id(other):
                found.append(Gap(path, one, other, "shared", owner, chosen))
            continue
        seen[id(one)] = id(other)
        held += [one, other]
        below: list[tuple[Any, Any, str, type | None, bool]] = []
        kind = _node_gap(ours, theirs, path, chosen, owner, below)
        if kind is not None:
            found.append(Gap(path, _shown(one, ours), _shown(other, theirs), kind, owner, chosen))
        names, others = ours.named(), theirs.named()
        if names or others:
            cls = type(one)
            own = _says_what_is_kept(cls)
            for name in {**names, **others}:
                x, y = names.get(name, MISSING), others.get(name, MISSING)
                if _plainly_same(x, y):
                    continue
                private = chosen or (own and str(name).startswith("_"))
                if x is MISSING or y is MISSING:
                    found.append(Gap(f"{path}.{name}", x, y, "missing", cls, private))
                else:
                    below.append((x, y, f"{path}.{name}", cls, private))
        ahead.extend(reversed(below))
    return found[:LISTED]


def _plainly_same(x: Any, y: Any) -> bool:
    """Whether two parts are equal numbers or texts, or one plain value: of most it is seen at once."""
    kind = type(x)
    return kind in _QUICK and kind is type(y) and (x is y or (kind in _VALUES and x == y))


def _says_what_is_kept(cls: type) -> bool:
    return any("__getstate__" in vars(base) for base in cls.__mro__ if base is not object)


class Words(str):
    """Words that stand for a value: their repr is they themselves."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _shown(value: Any, node: Node | None) -> Any:
    """Return what an object was, or words for it: it may have changed since."""
    if node is None:
        return value
    if node.kind == "array" and node.items is None:
        return node.data
    name = type(value).__name__
    article = "an" if name[:1] in "AEIOUaeiou" else "a"
    if node.kind == "generator":
        digest_of = _digest(node.data)
        return Words(f"{article} {name} in state {digest_of.hex()[:8] if digest_of else 'unknown'}")
    if node.items is None:
        return Words(f"{article} {name}")
    if len(node.items) <= 4 and node.kind == "sequence" and all(map(is_leaf, node.items)):
        return Words(f"{name}({node.items!r})") if type(value) is not list else list(node.items)
    return Words(f"{article} {name} of length {len(node.items)}")


def _leaf_gap(one: Any, other: Any, ours: Node | None, theirs: Node | None) -> str | None:
    if one is None or other is None:
        return "unfilled"
    if ours is not None or theirs is not None:
        x, y = one if ours is None else _plain(ours), other if theirs is None else _plain(theirs)
        return "value" if _numbers_differ(x, y) else None
    for kind in (types.FunctionType, types.BuiltinFunctionType, type):
        if isinstance(one, kind) or isinstance(other, kind):
            names = [getattr(x, "__qualname__", None) for x in (one, other)]
            return None if names[0] == names[1] else "value"
    try:
        same = bool(one == other) or (one != one and other != other)
    except Exception:
        return None
    return None if same else "value"


def _numbers_differ(one: Any, other: Any) -> bool:
    """Whether two things are numbers or arrays of them, of one shape, and not the same."""
    try:
        x, y = np.asarray(one), np.asarray(other)
        if x.dtype.kind not in "biufc" or y.dtype.kind not in "biufc" or x.shape != y.shape:
            return False
        return not np.array_equal(x, y, equal_nan=True)
    except Exception:
        return False


def _node_gap(
    ours: Node,
    theirs: Node,
    path: str,
    chosen: bool,
    owner: type | None,
    below: list[tuple[Any, Any, str, type | None, bool]],
) -> str | None:
    """Return how two objects differ by themselves, None where they do not; what is to be compared goes to `below`."""
    if ours.kind != theirs.kind:
        return "value" if _numbers_differ(_plain(ours), _plain(theirs)) else None
    kind = ours.kind
    if kind in ("generator", "bytes"):
        return None if _digest(ours.data) == _digest(theirs.data) else "value"
    if kind == "other":
        return "value" if None not in (ours.data, theirs.data) and ours.data != theirs.data else None
    if kind == "array" and ours.items is None and theirs.items is None:
        if ours.data.shape != theirs.data.shape:
            return "unfilled" if 0 in (ours.data.size, theirs.data.size) else "value"
        if ours.data.dtype == theirs.data.dtype and ours.data.tobytes() == theirs.data.tobytes():
            return None
        return "value" if _arrays_differ(ours.data, theirs.data) else None
    if kind in ("sequence", "array") and ours.items is not None and theirs.items is not None:
        below += [
            (x, y, f"{path}[{i}]", owner, chosen)
            for i, (x, y) in enumerate(zip(ours.items, theirs.items, strict=False))
            if not _plainly_same(x, y)
        ]
        return None if len(ours.items) == len(theirs.items) else "unfilled"
    if kind == "dict":
        return _dict_gap(dict(_hashed(ours)), dict(_hashed(theirs)), path, owner, chosen, below)
    if kind == "set":
        return _set_gap(ours.items or [], theirs.items or [])
    if kind == "object" and type(ours.value) is not type(theirs.value):
        return None if type(ours.value).__qualname__ == type(theirs.value).__qualname__ else "value"
    return None


def _plain(node: Node) -> Any:
    return node.items if node.kind == "sequence" else node.data if node.kind == "array" else None


def _arrays_differ(one: Any, other: Any) -> bool:
    if one.dtype.names is not None or other.dtype.names is not None or "M" in (one.dtype.kind, other.dtype.kind):
        return bool(one.dtype == other.dtype)
    try:
        return not np.array_equal(one, other, equal_nan=one.dtype.kind in "fc" and other.dtype.kind in "fc")
    except Exception:
        return False


def _hashed(node: Node) -> Iterator[tuple[Any, Any]]:
    return ((key, item) for key, item in node.items or () if is_leaf(key) or isinstance(key, tuple))


def _dict_gap(
    ours: dict[Any, Any],
    theirs: dict[Any, Any],
    path: str,
    owner: type | None,
    chosen: bool,
    below: list[tuple[Any, Any, str, type | None, bool]],
) -> str | None:
    for key, item in ours.items():
        if key in theirs and not _plainly_same(item, theirs[key]):
            below.append((item, theirs[key], f"{path}[{key!r}]", owner, chosen))
    return None if ours.keys() == theirs.keys() else "unfilled"


def _set_gap(ours: list[Any], theirs: list[Any]) -> str | None:
    if not all(map(is_leaf, ours)) or not all(map(is_leaf, theirs)):
        return None
    one, other = set(ours), set(theirs)
    if one != other:
        return "unfilled" if one < other or other < one else "value"
    return "order" if ours != theirs else None


def own_reduction(cls: Any) -> str:
    """Return the method by which a class says what its pickle is, "" where pickle keeps all attributes."""
    import copyreg

    if any("__getstate__" in vars(base) for base in cls.__mro__ if base is not object):
        return "__getstate__"
    if issubclass(cls, np.ndarray) and cls is not np.ndarray and cls.__reduce__ is np.ndarray.__reduce__:
        return "ndarray"
    for name in ("__reduce__", "__reduce_ex__", "__getnewargs__", "__getnewargs_ex__", "__setstate__"):
        for base in cls.__mro__:
            if name in vars(base) and base.__module__ not in ("builtins", "numpy", "collections", "random"):
                return name
    return "copyreg" if cls in copyreg.dispatch_table else ""


__all__ = ["MISSING", "Gap", "Live", "Words", "gaps", "generator_state", "is_leaf", "own_reduction"]
