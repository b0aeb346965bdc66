"""The parts of a node of a state: its head and its children, read as pickle would reduce it."""

from __future__ import annotations

import copyreg
import dataclasses
import enum
import io
import random
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ..errors import show
from .tokens import Unkeepable, array_objects, dtype_token, has_objects, name_of, pack_length, shape_token, text_token


class Parts(NamedTuple):
    """What a node is made of."""

    head: bytes
    children: list[Any]
    labels: tuple[str, ...] | Callable[[int], str] | None  # of the path to a child; None: ``[i]``
    ordered: bool = True

    def label(self, i: int) -> str:
        """Return what leads from the node to its child `i`."""
        if self.labels is None:
            return f"[{i}]"
        return self.labels(i) if callable(self.labels) else self.labels[i]


_default_reduce_ex: object = object.__reduce_ex__
_default_reduce: object = object.__reduce__
_default_getstates = (
    None,
    getattr(object, "__getstate__", None),  # Python 3.11
    getattr(dataclasses, "_dataclass_getstate", None),  # of frozen dataclasses with slots: the same fields
)


def _reduces_by_default(cls: Any) -> bool:
    return (
        cls.__reduce_ex__ is _default_reduce_ex
        and cls.__reduce__ is _default_reduce
        and getattr(cls, "__getstate__", None) in _default_getstates
        and cls not in copyreg.dispatch_table
    )


def _slots(cls: type) -> list[str]:
    names: list[str] = []
    for base in reversed(cls.__mro__):
        slots = base.__dict__.get("__slots__", ())
        slots = (slots,) if isinstance(slots, str) else sorted(slots) if isinstance(slots, (set, frozenset)) else slots
        for name in slots:
            if name.startswith("__") and not name.endswith("__"):
                name = f"_{base.__name__.lstrip('_')}{name}"  # private names are mangled
            if name not in ("__dict__", "__weakref__") and name not in names:
                names.append(name)
    return names


class Plan:
    """How to read the instances of a class that pickle would reduce to nothing but their attributes.

    The attributes are read without the reduction, which differs between Pythons (an empty ``__dict__`` is None since
    3.11) and costs more. A dataclass has its fields first and in the order of the class: how they came to be set does
    not matter. Attributes that are no fields count too.
    """

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.is_tuple = issubclass(cls, tuple)
        fields = cls.__dict__.get("__dataclass_fields__") or getattr(cls, "__dataclass_fields__", {})
        self.fields = tuple(field.name for field in dataclasses.fields(cls)) if fields else ()
        self.slots = [] if self.is_tuple else _slots(cls)
        if self.is_tuple:
            self.fields = cls._fields  # type: ignore[attr-defined]
        self.known: dict[tuple[str, ...], tuple[bytes, tuple[str, ...]]] = {}

    @classmethod
    def of(cls, value: Any) -> Plan | None:
        """Return the plan for the class of `value`, None where its reduction says more than attributes."""
        kind = type(value)
        if not _reduces_by_default(kind):
            return None
        if issubclass(kind, tuple):
            fields = getattr(kind, "_fields", None)
            return cls(kind) if isinstance(fields, tuple) and len(fields) == len(value) else None
        reduced = _reduce(value)
        plain = (
            isinstance(reduced, tuple)
            and reduced[0] is copyreg.__newobj__  # type: ignore[attr-defined]
            and len(reduced[1]) == 1
            and reduced[3:] in ((), (None,), (None, None))
        )
        return cls(kind) if plain else None

    def parts(self, value: Any) -> Parts | None:
        """Return what an instance is made of, None where a name of an attribute is no str."""
        attributes: dict[str, Any] = getattr(value, "__dict__", None) or {}
        names = tuple(attributes)
        children: list[Any]
        if self.is_tuple:
            children = [*value, *attributes.values()]
            names = (*self.fields, *names)
        elif not self.slots and (names == self.fields or not self.fields):
            children = list(attributes.values())
        else:
            if self.slots:
                attributes = dict(attributes)
                for name in self.slots:
                    try:
                        attributes[name] = getattr(value, name)
                    except AttributeError:
                        pass  # a slot that was never filled
            names = tuple(name for name in self.fields if name in attributes)
            names += tuple(name for name in attributes if name not in self.fields)
            children = [attributes[name] for name in names]
        known = self.known.get(names)
        if known is None:
            if not all(type(name) is str for name in names):
                return None
            head = b"n" if self.is_tuple else b"o"
            head += text_token(name_of(self.cls)) + pack_length(len(names)) + b"".join(map(text_token, names))
            known = self.known[names] = head, tuple(f".{name}" for name in names)
        return Parts(known[0], children, known[1])


UNKNOWN = Plan(object)


def dict_parts(tag: bytes, value: dict[Any, Any]) -> Parts:
    """Return the parts of a dict: key, value, key, value, in its order."""
    children: list[Any] = [part for item in value.items() for part in item]

    def label(i: int) -> str:
        key = show(children[i - i % 2])
        return f"[{key}]" if i % 2 else f".keys()[{i // 2}]"

    return Parts(tag + pack_length(len(value)), children, label)


def _object_array_parts(array: np.ndarray[Any, Any], head: bytes) -> Parts:
    children: list[Any] = []
    places: list[tuple[int, tuple[int, ...], int, str]] = []
    for path, part in array_objects(array):
        if has_objects(part.dtype):
            found = list(part.astype(object, copy=False).flat)
            places.append((len(children), part.shape, part.ndim, path))
            children += found
        else:
            places.append((len(children), (), array.ndim, path))
            children.append(np.array(part))

    def label(i: int) -> str:
        start, shape, _, path = next(place for place in reversed(places) if place[0] <= i)
        if not shape:
            return path or "[()]"
        index = [int(k) for k in np.unravel_index(i - start, shape)]
        return f"{index[: array.ndim]}{path}{index[array.ndim :] or ''}" if array.ndim else f"{path}{index}"

    return Parts(
        head + dtype_token(array.dtype) + shape_token(array.shape) + pack_length(len(children)), children, label
    )


_ndarray_reduce: object = np.ndarray.__reduce__


def _ndarray_parts(array: Any) -> Parts | None:
    cls: Any = type(array)
    if cls is np.ndarray:
        return _object_array_parts(array, b"O")
    if cls.__reduce__ is not _ndarray_reduce:
        return None
    # A subclass that reduces as ndarray does keeps its elements and nothing else.
    return Parts(b"S" + text_token(name_of(cls)), [array.view(np.ndarray)], ("",))


def _bit_generator_parts(bits: Any) -> Parts | None:
    reduced = _reduce(bits)
    children = [bits.state]
    if isinstance(reduced, tuple) and len(reduced) > 2 and isinstance(reduced[2], tuple):
        children.append(bits.seed_seq)  # since numpy 2 a pickle keeps what spawn() needs
    return Parts(b"P" + text_token(name_of(type(bits))), children, (".state", ".seed_seq"))


def _same(kind: type, tag: bytes, *names: str) -> Callable[[Any], Parts | None]:
    """Return what reads exactly `kind` by attributes, where its reduction depends on a version of Python or numpy."""

    def take(value: Any) -> Parts | None:
        if type(value) is not kind:
            return None
        children = [getattr(value, name) for name in names]
        return Parts(tag + text_token(name_of(kind)), children, tuple(f".{name}" for name in names))

    return take


def _tensor_parts(value: Any) -> Parts | None:
    """Read a tensor of torch by its numbers: its reduction holds where these lie in memory, another place each time."""
    torch: Any = sys.modules["torch"]
    if str(value.layout) != "torch.strided" or vars(value):
        return None
    plain = value.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    kind = f"{name_of(type(value))} {value.dtype} {value.device.type} {bool(value.requires_grad)}"
    head = b"Q" + text_token("torch:" + kind) + shape_token(tuple(value.shape))
    return Parts(head, [plain.view(torch.uint8).numpy() if plain.numel() else None], ("",))


def special_nodes() -> Iterable[tuple[type, Callable[[Any], Parts | None]]]:
    """Return the classes that are read in a way of their own, those in modules nobody imported left out."""
    fraction = getattr(sys.modules.get("fractions"), "Fraction", None)
    if fraction is not None:
        NODES.setdefault(fraction, _same(fraction, b"Q", "numerator", "denominator"))
    tensor = getattr(sys.modules.get("torch"), "Tensor", None)
    if tensor is not None:
        NODES.setdefault(tensor, _tensor_parts)
    return NODES.items()


NODES: dict[type, Callable[[Any], Parts | None]] = {
    np.ndarray: _ndarray_parts,
    np.void: lambda value: _object_array_parts(np.asarray(value), b"W" + text_token(name_of(type(value)))),
    set: lambda value: (
        Parts(b"{" + pack_length(len(value)), list(value), ("{...}",) * len(value), False)
        if type(value) is set
        else None
    ),
    frozenset: lambda value: (
        Parts(b"z" + pack_length(len(value)), list(value), ("{...}",) * len(value), False)
        if type(value) is frozenset
        else None
    ),
    slice: _same(slice, b"Q", "start", "stop", "step"),
    np.random.Generator: _same(np.random.Generator, b"Q", "bit_generator"),
    np.random.BitGenerator: _bit_generator_parts,
    np.random.SeedSequence: _same(np.random.SeedSequence, b"Q", "state"),
    np.random.RandomState: lambda value: (
        Parts(b"Q" + text_token("RandomState"), [value.get_state(legacy=False)], (".get_state()",))
        if type(value) is np.random.RandomState
        else None
    ),
    random.Random: lambda value: (
        Parts(b"Q" + text_token("random:Random"), [value.getstate()], (".getstate()",))
        if type(value) is random.Random
        else None
    ),
    enum.Enum: lambda value: Parts(
        b"x" + text_token(name_of(type(value))),
        [value.value if isinstance(value, enum.Flag) else value.name],
        (".value",),
    ),
}


def _reduce(value: Any) -> str | tuple[Any, ...]:
    reducer = copyreg.dispatch_table.get(type(value))
    try:
        reduced = reducer(value) if reducer is not None else value.__reduce_ex__(4)
    except Exception as error:
        raise Unkeepable(_problem(value, error)) from error
    if isinstance(reduced, str) or (isinstance(reduced, tuple) and 2 <= len(reduced) <= 6):
        return reduced
    raise Unkeepable(f"{show(value)}, whose __reduce_ex__ gives {show(reduced)}")


def reduced_parts(value: Any) -> Parts:
    """Return the parts of an object by its reduction: a caller's copy of it would be made of these."""
    reduced = _reduce(value)
    if isinstance(reduced, str):
        module = getattr(value, "__module__", None) or type(value).__module__
        return Parts(b"G" + text_token(f"{module}:{reduced}"), [], None)
    padded: list[Any] = [*reduced, *[None] * (6 - len(reduced))]
    make, arguments, state, items, pairs, setter = padded
    cls = type(value)
    if getattr(cls, "__getstate__", None) in _default_getstates:  # Python 3.10 has {} where 3.11 has None
        if isinstance(state, tuple) and len(state) == 2 and state[0] == {}:
            state = (None, state[1])
        state = None if state == {} and type(state) is dict else state

    head = b"r"
    children: list[Any] = [make, *arguments]
    labels = [".__reduce__()[0]"] + [f".__reduce__()[1][{i}]" for i in range(len(arguments))]
    head += pack_length(len(arguments))
    states: tuple[Any, ...] = (state,)
    if isinstance(state, tuple) and len(state) == 2 and type(state[1]) is dict and type(state[0]) in (dict, type(None)):
        states = state
        head += b"2"
    for part in states:
        if type(part) is dict and all(type(name) is str for name in part):
            head += b"D" + pack_length(len(part)) + b"".join(map(text_token, part))
            children += part.values()
            labels += [f".{name}" for name in part]
        else:
            head += b"S"
            children.append(part)
            labels.append(".__getstate__()")
    for tag, found in ((b"[", items), (b"{", pairs)):
        if found is None:
            head += b"N"
            continue
        try:
            listed = list(found)
        except Exception as error:
            raise Unkeepable(_problem(value, error)) from error
        head += tag + pack_length(len(listed))
        if tag == b"[":
            children += listed
            labels += [f"[{i}]" for i in range(len(listed))]
        else:
            for i, (key, item) in enumerate(listed):
                children += [key, item]
                labels += [f".keys()[{i}]", f"[{show(key)}]"]
    children.append(setter)
    labels.append(".__reduce__()[5]")
    return Parts(head, children, tuple(labels))


_CANNOT: list[tuple[Any, str]] = [
    (types.GeneratorType, "a generator"),
    ((types.CoroutineType, types.AsyncGeneratorType), "a coroutine"),
    (io.IOBase, "an open file"),
    ((type(threading.Lock()), type(threading.RLock())), "a thread lock"),
    (threading.Thread, "a thread"),
    (weakref.ReferenceType, "a weak reference"),
    (memoryview, "a memoryview"),
]


def _problem(value: object, error: Exception) -> str:
    """Say what a value is that could not be reduced."""
    for kind, words in _CANNOT:
        if isinstance(value, kind):
            return words
    return f"{show(value)}, which cannot be pickled ({type(error).__name__}: {error})"
