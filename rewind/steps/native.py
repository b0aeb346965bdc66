"""Native steps: C functions, wherever they come from.

A native step is ``int step(void *state, bitgen_t *rng, const void *params)``; ``include/rewind.h`` says it in C.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import pickle
import re
import sys
from _ctypes import CFuncPtr
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, ArgumentTypeError, StateError
from ..kernel import NativeLoop
from ..metrics.metric import uncopied
from ..state.codec import StateCodec
from ..state.frozen import frozen
from .memory import TARGETS, Form, form_of, packed_params
from .params import same
from .step import Step

#: What the C function of each kind is, as it stands in the name of a capsule.
STEP = "int (void *, bitgen_t *, void const *)"
BLOCK_STEP = "int (void *, Py_ssize_t, bitgen_t *, void const *)"


def get_include() -> str:
    """Return the folder of ``rewind.h``, for the include path of a C compiler."""
    return str(Path(__file__).parents[1] / "include")


# ---- where steps come from


@frozen
class NativeStep:
    """A C function as a step function; made by `native_step`.

    Attributes
    ----------
    address : int
        Where the function is in this process.
    per_block : bool
        Whether it runs a number of steps at a call.
    name, module : str
        Its own name and where it comes from, as far as they are known.
    source : tuple of str, optional
        ``(module, name)`` where it can be found again by these.
    target : str
        What its first argument points to in C, such as ``double``; empty where that is ``void`` or not known.
    keep : object
        What owns the code.
    version : str, optional
        What its user calls this version of the code.
    library : str, optional
        The file its code was loaded from, where there is one.
    """

    address: int
    per_block: bool
    name: str
    module: str
    source: tuple[str, str] | None = None
    target: str = ""
    keep: Any = field(default=None, repr=False, compare=False)
    version: str | None = field(default=None, compare=False)
    library: str | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.__dict__.update(__name__=self.name, __qualname__=self.name, __module__=self.module)

    @property
    def function(self) -> Any:
        """The Python function that numba compiled this of, if it did."""
        return getattr(self.keep[0], "__wrapped__", None) if self.keep is not None else None

    def __reduce__(self) -> tuple[Any, ...]:
        if self.source is None:
            raise pickle.PicklingError(
                f"{self.module}:{self.name} is an address in this process and cannot be pickled. "
                "rewind.native_step(('module', 'name')), of a `cdef api` function, is found again by its name; or give "
                "each process a step of its own"
            )
        make = native_step if self.version is None else functools.partial(native_step, version=self.version)
        return make, (self.source,)

    def __copy__(self) -> NativeStep:
        return self

    def __deepcopy__(self, memo: Any) -> NativeStep:
        return self


def native_step(x: Any, *, per_block: bool | None = None, version: str | None = None) -> NativeStep:
    """Return a C function as a step function for `record`.

    Parameters
    ----------
    x : PyCapsule, scipy.LowLevelCallable, ctypes function, cffi function, numba cfunc, or (module, name)
        A function ``int step(void *state, bitgen_t *rng, const void *params)``, which changes the state where it lies
        and returns 0, or anything else where it fails. Or the same for a number of steps at a time, ``int step(void
        *state, Py_ssize_t n_steps, bitgen_t *rng, const void *params)``, which returns 0, or 1 + the number of steps
        it had finished. Its signature is looked at: the name of a capsule, `argtypes` of a ctypes function. A pair of
        names is a ``cdef api`` function of a Cython module.
    per_block : bool, optional
        Which of the two it has to be. Default: either.
    version : str, optional
        What you call this version of the code. `load` warns where it is not the one that was recorded. Default: the
        bytes of the library that the function is in tell, or where numba compiled it in memory, its Python function.

    Returns
    -------
    step : NativeStep
        To be passed as `step_fn`, with ``backend="numpy"``.

    Raises
    ------
    ArgumentTypeError
        If `x` is none of these, or a C function that calls Python.
    ArgumentError
        If the function has another signature, or a pair names none.

    Notes
    -----
    The state is a Python float (a ``double`` in C) or int (``int64_t``), a numpy number, or a contiguous array of
    numbers or structs; `params` are slots of 8 bytes, sorted by name. ``docs/native-steps.md`` has an example of each.
    """
    if version is not None and not isinstance(version, str):
        raise ArgumentTypeError("version", version, "a str")
    if isinstance(x, NativeStep):
        step = x if version is None else replace(x, version=version)
    else:
        address, signature, name, module, source, keep = _find(x)
        runs_blocks, target = _read(name, signature)
        step = NativeStep(address, runs_blocks, name, module, source, target, (x, keep), version, _library_of(address))
    if per_block is not None and step.per_block != bool(per_block):
        wanted, found = (BLOCK_STEP, STEP) if per_block else (STEP, BLOCK_STEP)
        raise ArgumentError(f"the signature of {step.name}", found, repr(wanted), "Leave per_block out to take either")
    return step


class _Place(ctypes.Structure):
    """``Dl_info`` of ``dlfcn.h``."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("at", ctypes.c_void_p),
    )


def _library_of(address: int) -> str | None:
    """Return the file whose code is at an address, None where there is none or the system does not tell."""
    try:
        look = ctypes.CDLL(None).dladdr
    except (OSError, TypeError, AttributeError):  # Windows
        return None
    look.argtypes, look.restype = (ctypes.c_void_p, ctypes.c_void_p), ctypes.c_int
    found = _Place()
    if not look(address, ctypes.byref(found)) or not found.file:
        return None
    path = os.path.abspath(os.fsdecode(found.file))
    return path if os.path.isfile(path) and not path.startswith("/proc/") else None


_SOURCES = (
    "a PyCapsule, scipy.LowLevelCallable, ctypes or cffi function, numba cfunc, or ('module', 'name') of a Cython "
    "`cdef api` function"
)
#: address, signature, name, module, names to find it again by, what to keep
_Found = tuple[int, str, str, str, "tuple[str, str] | None", Any]


def _find(x: Any) -> _Found:
    kind = type(x)
    if isinstance(x, tuple) and _is_low_level_callable(x):
        return _from_low_level_callable(x)
    if isinstance(x, tuple) and len(x) == 2 and all(isinstance(part, str) for part in x):
        return _from_module(*x)
    if kind.__name__ == "PyCapsule":
        address, signature = _from_capsule(x, "the capsule")
        return address, signature, "step", "PyCapsule", None, None
    if isinstance(x, CFuncPtr):
        return _from_ctypes(x)
    if kind.__module__ == "_cffi_backend":
        return _from_cffi(x)
    if kind.__module__.startswith("numba.") and hasattr(x, "address") and hasattr(x, "_sig"):
        wrapped = getattr(x, "__wrapped__", x)
        return x.address, str(x._sig), getattr(wrapped, "__name__", "step"), wrapped.__module__, None, None
    raise _no_source(x)


def _no_source(x: Any) -> ArgumentTypeError:
    if isinstance(x, int):
        advice = (
            "An address says nothing about the function there: "
            "ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p)(address) does"
        )
    elif hasattr(x, "py_func") and type(x).__module__.startswith("numba."):
        advice = "A function of numba.njit is a step function as it is: record(step_fn=...)"
    elif callable(x):
        advice = "A Python function is a step function as it is: record(step_fn=...)"
    else:
        advice = ""
    return ArgumentTypeError("the native step", x, _SOURCES, advice)


def _from_capsule(capsule: Any, what: str) -> tuple[int, str]:
    """Return address and signature of the function in a capsule."""
    name_of, context_of, pointer_of = _capsule_api()
    name = name_of(capsule)
    if name is None:
        raise ArgumentError(f"the name of {what}", None, f"the signature of the function in it, {STEP!r}")
    if context_of(capsule):
        raise ArgumentError(
            f"the context of {what}",
            context_of(capsule),
            "none",
            "A pointer is no part of a run: pass params={...} to record, which every call gets and the file keeps",
        )
    return pointer_of(capsule, name), name.decode(errors="replace")


@functools.cache
def _capsule_api() -> tuple[Callable[[Any], bytes | None], Callable[[Any], int | None], Callable[[Any, bytes], int]]:
    """Return what tells name, context and pointer of a capsule."""
    one, two = (ctypes.py_object,), (ctypes.py_object, ctypes.c_char_p)
    return (
        ctypes.PYFUNCTYPE(ctypes.c_char_p, *one)(("PyCapsule_GetName", ctypes.pythonapi)),
        ctypes.PYFUNCTYPE(ctypes.c_void_p, *one)(("PyCapsule_GetContext", ctypes.pythonapi)),
        ctypes.PYFUNCTYPE(ctypes.c_void_p, *two)(("PyCapsule_GetPointer", ctypes.pythonapi)),
    )


def _is_low_level_callable(x: tuple[Any, ...]) -> bool:
    return any(base.__name__ == "LowLevelCallable" for base in type(x).__mro__)


def _from_low_level_callable(x: tuple[Any, ...]) -> _Found:
    # Its own [0] raises. In it: the capsule, the function it was made from, what it was given as user_data.
    capsule, function, user_data = tuple.__getitem__(x, slice(None))
    if user_data is not None:
        advice = "A pointer is no part of a run: pass params={...} to record, which every call gets and the file keeps"
        raise ArgumentError("user_data of the LowLevelCallable", user_data, "None", advice)
    name, module = "step", "LowLevelCallable"
    if isinstance(function, CFuncPtr):  # no better than what it wraps
        _, _, name, module, _, _ = _from_ctypes(function)
    elif type(function).__module__ == "_cffi_backend":
        _, _, name, module, _, _ = _from_cffi(function)
    address, signature = _from_capsule(capsule if capsule is not None else function, "the LowLevelCallable")
    return address, signature, name, module, None, None


def _from_module(module: str, name: str) -> _Found:
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        raise ArgumentError("the native step", (module, name), f"a module that can be imported ({error})") from error
    exported: Mapping[str, Any] = getattr(loaded, "__pyx_capi__", {})
    if name not in exported:
        have = ", ".join(sorted(exported)) or "none"
        raise ArgumentError(
            "the native step",
            (module, name),
            f"a function the module exports; it exports {have}",
            "Declare it as `cdef api int step(void *state, bitgen_t *rng, const void *params) noexcept nogil`",
        )
    address, signature = _from_capsule(exported[name], f"{module}.{name}")
    return address, signature, name, module, (module, name), exported[name]


def _from_ctypes(function: Any) -> _Found:
    name = getattr(function, "__name__", "step")
    owners = _owners(function)
    if any(type(owner).__name__ == "CThunkObject" for owner in owners):
        raise ArgumentTypeError(
            "the native step",
            function,
            _SOURCES,
            "This one calls Python at every step; pass the Python function as step_fn, which is faster",
        )
    if type(function)._flags_ & 5 != 1:  # FUNCFLAG_CDECL, and not FUNCFLAG_PYTHONAPI
        raise ArgumentTypeError(
            "the native step", function, "a function that needs no GIL", "Load its library with ctypes.CDLL"
        )
    if function.argtypes is None:
        raise ArgumentError(
            f"argtypes of {name}",
            None,
            "the types of its arguments, as ctypes does not know them",
            f"{name}.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]; {name}.restype = ctypes.c_int",
        )
    signature = f"{_ctypes_word(function.restype)} ({', '.join(map(_ctypes_word, function.argtypes))})"
    address = ctypes.cast(function, ctypes.c_void_p).value
    if not address:
        raise ArgumentError("the native step", function, "a function; this one is NULL")
    libraries = [owner._name for owner in owners if isinstance(owner, ctypes.CDLL) and owner._name]
    module = re.split(r"[\\/]", str(libraries[0]))[-1] if libraries else "ctypes"
    return address, signature, name, module, None, None


def _owners(thing: Any, depth: int = 0) -> list[Any]:
    """Return what a ctypes object keeps alive."""
    kept = getattr(thing, "_objects", None)
    found = list(kept.values()) if isinstance(kept, dict) else [] if kept is None else [kept]
    return found + [inner for owner in found if depth < 8 for inner in _owners(owner, depth + 1)]


def _ctypes_word(kind: Any) -> str:
    if kind is None:
        return "void"
    if not isinstance(kind, type):
        return str(kind)
    if issubclass(kind, ctypes._Pointer):
        target: Any = kind._type_
        return "void *" if issubclass(target, (ctypes.Structure, ctypes.Array)) else f"{_ctypes_word(target)} *"
    if issubclass(kind, (ctypes.c_void_p, ctypes.c_char_p)):
        return "void *"
    if issubclass(kind, ctypes._SimpleCData):
        code, bits = getattr(kind, "_type_", ""), 8 * ctypes.sizeof(kind)
        if code in ("b", "h", "i", "l", "q"):
            return f"int{bits}"
        if code in ("B", "H", "I", "L", "Q"):
            return f"uint{bits}"
        if code in ("d", "f", "?"):
            return {"d": "double", "f": "float", "?": "bool"}[code]
    return kind.__name__


def _from_cffi(x: Any) -> _Found:
    backend = sys.modules["_cffi_backend"]  # x is one of its objects
    try:
        kind = backend.typeof(x)
    except TypeError:
        kind = None
    if kind is None or kind.kind != "function" or kind.ellipsis:
        advice = "" if kind is not None else "Of a module made by cffi: ffi.addressof(lib, 'step')"
        raise ArgumentTypeError("the native step", x, _SOURCES, advice)
    if " calling " in repr(x):
        raise ArgumentTypeError(
            "the native step",
            x,
            _SOURCES,
            "This one calls Python at every step; pass the Python function as step_fn, which is faster",
        )
    address = int(backend.cast(backend.new_primitive_type("intptr_t"), x))
    if not address:
        raise ArgumentError("the native step", x, "a function; this one is NULL")
    return address, kind.cname, "step", "cffi", None, None


_SIZES = {
    "int": ctypes.sizeof(ctypes.c_int),
    "long": ctypes.sizeof(ctypes.c_long),
    "long long": ctypes.sizeof(ctypes.c_longlong),
    "int32": 4,
    "int32_t": 4,
    "int64": 8,
    "int64_t": 8,
} | dict.fromkeys(
    ("Py_ssize_t", "ssize_t", "ptrdiff_t", "intptr_t", "npy_intp", "intp"), ctypes.sizeof(ctypes.c_ssize_t)
)
#: The numbers a first argument may point to, by the names they have in C and numba.
_QUALIFIERS = r"\b(const|volatile|restrict|__restrict|struct|signed)\b"


def _read(name: str, signature: str) -> tuple[bool, str]:
    """Return whether a signature is that of a step which runs many steps, and what it says the state is.

    Raises
    ------
    ArgumentError
        If it is neither of the two.
    """
    text = re.sub(r"\(\s*\*\s*\)", "", signature)  # of a pointer to a function
    given = re.fullmatch(r"\s*\(([^()]*)\)\s*->\s*(\w+)\s*", text)  # as numba writes it
    if given is not None:
        arguments, result = given.groups()
    else:
        given = re.fullmatch(r"([^()]*)\(([^()]*)\)\s*(?:noexcept|nogil|\s)*", text)
        result, arguments = given.groups() if given is not None else ("", "")
    words = [_word(argument) for argument in arguments.split(",")]
    if _SIZES.get(_word(result)) == ctypes.sizeof(ctypes.c_int):
        for per_block in (False, True):
            count = words[1:2] if per_block else []
            rest = words[:1] + words[1 + len(count) :]
            counts = all(_SIZES.get(word) == ctypes.sizeof(ctypes.c_ssize_t) for word in count)
            pointers = len(rest) == 3 and all(re.fullmatch(r"[\w ]+\*", word) for word in rest)
            if counts and pointers and rest[1] in ("void*", "bitgen_t*", "bitgen*"):
                target = rest[0][:-1].strip()
                return per_block, target if target in TARGETS else ""
    raise ArgumentError(f"the signature of {name}", signature, f"{STEP!r}, or {BLOCK_STEP!r} for many steps at a call")


def _word(text: str) -> str:
    """Return a C type without qualifiers and with single spaces."""
    return re.sub(r"\s*\*\s*", "*", " ".join(re.compile(_QUALIFIERS).sub(" ", text).split()))


class CompiledStep(Step):
    """A native step function with its parameters.

    Parameters
    ----------
    function : NativeStep
    params : mapping of str to numbers or lists of them
    """

    runs_itself = True

    def __init__(self, function: NativeStep, params: Mapping[str, Any]) -> None:
        super().__init__(function, params)  # type: ignore[arg-type]
        self._native, self._packed = function, packed_params(params)

    def same(self, other: Step) -> bool:
        """Whether both make the same calls."""
        if not isinstance(other, CompiledStep) or self._native != other._native:
            return False
        return same(self.params, other.params)

    def require_branch(self, parent: Step, before: StateCodec, now: StateCodec, state: Any) -> None:
        """Refuse a state of another form than the C function was recorded with: it would read it as the other."""
        if isinstance(parent, CompiledStep) and parent._native == self._native:
            form = self.form(before)
            if self.form(now) != form:
                raise StateError("", form.misfit(state), form.advice(state))

    def form(self, codec: StateCodec) -> Form:
        """Return how states of `codec` lie in memory."""
        return form_of(codec, step=self._native)

    def bound(self, codec: StateCodec) -> Callable[[], NativeLoop]:
        """Return a function that gives the loop for states of `codec`."""
        native = self._native
        loop = NativeLoop(
            native.address, per_block=native.per_block, form=self.form(codec), params=self._packed, keep=native
        )
        return lambda: loop

    def observer(
        self, codec: StateCodec, names: Sequence[str], metrics: Sequence[Any], example: Any
    ) -> NativeLoop | None:
        """Return what observes the numbers of the state itself, None where there are other metrics."""
        form = self.form(codec)
        if len(metrics) != 1 or uncopied(metrics[0]) is not None or not form.width:
            return None
        return self.bound(codec)()
