"""States and parameters as they lie in memory, for steps that are not Python."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, StateError, show
from ..state.checkpoints import Checkpoints
from ..state.codec import Row, StateCodec
from ..state.columns import Array, parts
from ..state.frozen import frozen
from ..state.nodes import ArrayLeaf, PlainLeaf

#: The numbers a typed first argument of a step points to.
TARGETS = {"double": "d", "float64": "d", "float": "f", "float32": "f", "bool": "?", "_Bool": "?"} | {
    f"{sign}int{8 * 2**k}{end}": (codes[k])
    for sign, codes in (("", "bhiq"), ("u", "BHIQ"))
    for k in range(4)
    for end in ("", "_t")
}
#: What the loops call the numbers of a dtype.
_CODES = {"f8": "d", "f4": "f", "f2": "e", "b1": "?"} | {
    f"{kind}{2**k}": code for kind, codes in (("i", "bhiq"), ("u", "BHIQ")) for k, code in enumerate(codes)
}
_TAKEN = (
    "use a Python float or int (of 64 bits), a numpy number, or an array of bools, integers, floats, complex numbers "
    "or structs of these; a structured array holds what a dict or a dataclass does"
)


@frozen
class Form:
    """How the states of a run lie in memory, for steps that are not Python. Equal forms take the same states.

    Attributes
    ----------
    kind : {"float", "int", "scalar", "array", "packed"}
        A Python float (as double) or int (as int64), a numpy scalar or array of `dtype`, or whatever `pack` and
        `unpack` make of it.
    itemsize : int
        Array of a state.
    dtype, shape, order
        Of an array; the shape of a scalar is ``()``.
    pack : callable, optional
        ``pack(state, buffer)`` writes a state to a bytearray of `itemsize` zeros, or raises StateError.
    unpack : callable, optional
        ``unpack(buffer)`` returns the state in such a bytearray, which is the state's own from then on.
    words : str
        What the states are, in messages.
    """

    kind: str
    itemsize: int
    dtype: np.dtype[Any] | None = None
    shape: tuple[int, ...] = ()
    order: str = "C"
    pack: Callable[[Any, bytearray], None] | None = None
    unpack: Callable[[bytearray], Any] | None = None
    words: str = field(default="another kind of state", compare=False)

    @property
    def code(self) -> str:
        """What the loops call the numbers of a state; empty where they are no real numbers."""
        if self.dtype is None:
            return {"float": "d", "int": "q"}.get(self.kind, "")
        return _CODES.get(self.dtype.str[1:], "")

    @property
    def width(self) -> int:
        """How many numbers the state itself is as a metric; 0 where it is none."""
        return math.prod(self.shape) if self.code else 0

    @property
    def mask(self) -> bytes:
        """Return a byte for each of an element: 0 for padding, 2 for a bool, else 1; empty where all are 1."""
        mask = _mask(self.dtype) if self.dtype is not None else np.ones(0, np.uint8)
        return b"" if (mask == 1).all() else mask.tobytes()

    @property
    def places(self) -> bytes:
        """Return how far from the first byte each number lies, as intp in C order; empty where that is their order."""
        if self.order != "F" or self.dtype is None:
            return b""
        places = np.arange(math.prod(self.shape), dtype=np.intp).reshape(self.shape, order="F")
        return (places.ravel() * self.dtype.itemsize).tobytes()

    def misfit(self, state: Any) -> str:
        """Say what `state` is instead of a state of this form, after "the state has"."""
        return f"become {_described(state)}, and this run's native step takes {self.words}"

    def advice(self, state: Any) -> str:
        """Say what to do about it."""
        return "hand on a state of the type, shape and memory order the run began with"


def form_of(codec: StateCodec, init_state: Any = None, step: Any = None) -> Form:
    """Return how the states of `codec` lie in memory for `step`, a NativeStep.

    `init_state` is one of them, for the message.

    Raises
    ------
    StateError
        If native steps take no such state, or this one is declared for other numbers.
    """
    form = _form_of(codec, init_state)
    if step is not None and step.target and form.code not in ("", TARGETS[step.target]):
        problem = (
            f"numbers of another type than {step.name} takes: it is {form.words}, and the step takes {step.target} *"
        )
        raise StateError("", problem, "begin with a state of that type, or declare the first argument as void *")
    return form


def _form_of(codec: StateCodec, init_state: Any) -> Form:
    if codec.user is not None:
        cure = f"leave codec out, and {_TAKEN}"
        raise StateError("", "a codec, and a native step changes the state where it lies", cure)
    root = codec.layout.root if codec.layout is not None else None
    if isinstance(root, PlainLeaf) and root.kind in ("float", "int"):
        words = "a float" if root.kind == "float" else "an int of 64 bits"
        return Form(root.kind, 8, words=words)
    if isinstance(root, ArrayLeaf):
        problem = _not_native(root.dtype)
        if root.order is None and root.dtype.names is not None:
            problem = "a struct that is no array"
        if problem:
            raise StateError("", f"{problem}, which no native step takes", _TAKEN)
        itemsize = root.dtype.itemsize * math.prod(root.shape)
        if root.order is None:
            return Form("scalar", itemsize, root.dtype, words=f"a numpy {root.dtype}")
        words = f"an array of {root.dtype}, shape {root.shape}, contiguous in {_ORDERS[root.order]} order"
        return Form("array", itemsize, root.dtype, root.shape, root.order, words=words)
    kind = _described(init_state) if init_state is not None else _kind(codec)
    raise StateError("", f"a form no native step takes: {kind}", _TAKEN)


def _kind(codec: StateCodec) -> str:
    """Return in a few words what states without a form are."""
    tree = codec.layout.to_json() if codec.layout is not None else "pickle"
    return str(next(iter(tree)) if isinstance(tree, dict) else tree)


_ORDERS = {"C": "C", "F": "Fortran"}


def _described(state: Any) -> str:
    if type(state) is not np.ndarray:
        return f"{show(state)} ({type(state).__name__})"
    flags = state.flags
    order = "C order" if flags.c_contiguous else "Fortran order" if flags.f_contiguous else "pieces"
    more = "" if flags.writeable else ", read-only"
    return f"an array of {state.dtype}, shape {state.shape}, in {order}{more}"


def _not_native(dtype: np.dtype[Any]) -> str:
    """Return why no native step takes arrays of `dtype`, nothing where one does."""
    if dtype.names is not None:
        assert dtype.fields is not None
        for name in dtype.names:
            problem = _not_native(dtype.fields[name][0].base)
            if problem:
                return f"{problem} in field {name!r}"
        sizes = sum(dtype.fields[name][0].itemsize for name in dtype.names)
        covered = sum(np.count_nonzero(_mask(dtype.fields[name][0])) for name in dtype.names)
        return "" if np.count_nonzero(_mask(dtype)) == covered <= sizes else "fields that overlap"
    if dtype.kind not in "biufc":
        return f"values of {dtype}"
    return "" if dtype.isnative else f"values of {dtype.str}, not in the byte order of this machine,"


def _mask(dtype: np.dtype[Any]) -> Array:
    if dtype.subdtype is not None:
        return np.tile(_mask(dtype.base), math.prod(dtype.shape))
    if dtype.names is None:
        return np.full(dtype.itemsize, 2 if dtype.kind == "b" else 1, np.uint8)
    assert dtype.fields is not None
    mask = np.zeros(dtype.itemsize, np.uint8)
    for name in dtype.names:
        inner, offset = dtype.fields[name][:2]
        part = mask[offset : offset + inner.itemsize]
        np.maximum(part, _mask(inner), out=part)
    return mask


def table(form: Form, checkpoints: Checkpoints) -> Array:
    """Return the stored states as they lie in memory, uint8 of shape (n, itemsize), padding zero.

    Raises
    ------
    StateError
        If some are kept as pickles.
    """
    n = checkpoints.n
    if checkpoints.wide is not None:
        raise StateError("", "leaves of several kinds, which no native step takes", _TAKEN)
    if checkpoints.pickles:
        pickles = f"{len(checkpoints.pickles)} of {n} checkpoints as pickles"
        raise StateError("", f"{pickles}, which no native step takes", _TAKEN)
    if form.kind == "packed":
        assert form.pack is not None
        rows = np.zeros((n, form.itemsize), np.uint8)
        for i in range(n):
            buffer = bytearray(form.itemsize)
            form.pack(checkpoints.restore(i), buffer)
            rows[i] = np.frombuffer(buffer, np.uint8)
        return rows
    if form.dtype is None:
        number = np.float64 if form.kind == "float" else np.int64
        return checkpoints.columns[0].astype(number, "C").view(np.uint8).reshape(n, 8)
    shape = form.shape if form.order == "C" else form.shape[::-1]
    states = np.zeros((n, *shape), form.dtype)
    view = states if form.order == "C" else states.transpose(0, *range(states.ndim - 1, 0, -1))
    for part, column in zip(parts(form.dtype), checkpoints.columns, strict=True):
        part.merge(view, column)
    return _as_bytes(states, form)


def rows_of(form: Form, codec: StateCodec, states: Array) -> list[Row]:
    """Return what ``codec.encode`` makes of states as they lie in memory, uint8 of shape (n, itemsize)."""
    n = len(states)
    if form.kind == "packed":
        assert form.unpack is not None
        return [codec.encode(form.unpack(bytearray(state.tobytes()))) for state in states]
    states = np.ascontiguousarray(states)
    if form.dtype is None:
        numbers: list[Row] = states.view(np.float64 if form.kind == "float" else np.int64).reshape(n).tolist()
        return numbers
    if not form.itemsize:
        view = np.zeros((n, *form.shape), form.dtype)
    elif form.order == "C":
        view = states.view(form.dtype).reshape(n, *form.shape)
    else:
        view = states.view(form.dtype).reshape(n, *form.shape[::-1])
        view = view.transpose(0, *range(view.ndim - 1, 0, -1))
    columns = [part.split(view) for part in parts(form.dtype)]
    return [[column[i, ...] for column in columns] for i in range(n)]


def _as_bytes(states: Array, form: Form) -> Array:
    if not form.itemsize:
        return np.zeros((len(states), 0), np.uint8)
    return states.reshape(len(states), -1).view(np.uint8).reshape(len(states), form.itemsize)


# ---- parameters


def _numbers_in(value: Any) -> list[Any]:
    """Return the numbers of a parameter, one after the other: of lists in lists and of an array, row by row."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return list(value.ravel().tolist())
    return [number for item in value for number in _numbers_in(item)] if isinstance(value, list) else [value]


def packed_params(params: Mapping[str, Any]) -> bytes:
    """Return what the last argument of a native step points to: slots of 8 bytes, in alphabetical order.

    A float is a double, an int or bool an int64, a list or an array its numbers one after the other. Sorted by name: a
    dict has the same content whatever its order, and a file does not keep it.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        Naming the parameter C has no slot for.
    """
    slots = []
    for name, value in sorted(params.items()):
        items = _numbers_in(value)
        what = f"params[{name!r}]"
        if len({isinstance(item, float) for item in items}) > 1:
            raise ArgumentTypeError(what, value, "floats or ints alone, for a native step", "Write 1.0 for 1")
        for item in items:
            if isinstance(item, float):
                slots.append(struct.pack("=d", item))
            elif not isinstance(item, int):
                advice = "Text stays in Python: pass a number that stands for it"
                raise ArgumentTypeError(what, value, "a number or a list of numbers, for a native step", advice)
            elif not -(1 << 63) <= item < 1 << 63:
                raise ArgumentError(what, value, "an integer of 64 bits, for a native step")
            else:
                slots.append(struct.pack("=q", item))
    return b"".join(slots)
