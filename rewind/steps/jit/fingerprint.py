"""A digest of all that a compiled function depends on, so that a driver kept on disk is never out of date.

numba's own cache looks at the time stamp of one file; a global that changed, or a helper in another file, escapes it.
Here the function is read as it stands in memory: its code, what its names stand for, and so on downwards. What cannot
be read through makes the answer None, and then nothing is kept on disk.
"""

from __future__ import annotations

import hashlib
import inspect
import types
from typing import Any

import numpy as np

#: Packages whose contents their version stands for; the drivers name the versions.
_VERSIONED = frozenset({"builtins", "cmath", "math", "numba", "numpy", "operator", "llvmlite"})
_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))


class _Unreadable(Exception):
    pass


class Fingerprint:
    """What some functions depend on.

    Attributes
    ----------
    text : str or None
        Digest; None where it cannot be known.
    values : bool
        Whether a global or a closure holds a value (no function, no module): numba freezes it at the first compile.
    dispatchers : list
        Every numba function met, the given ones included.
    """

    def __init__(self, functions: list[Any]) -> None:
        self.values, self.dispatchers = False, list[Any]()
        self._seen: dict[int, int] = {}
        self._keep: list[Any] = []  # an id is one object's for as long as the object is alive
        self._hash = hashlib.blake2b(digest_size=16)
        try:
            for function in functions:
                self._visit(function, ())
            self.text: str | None = self._hash.hexdigest()
        except (_Unreadable, RecursionError):
            self.text = None

    @property
    def is_frozen(self) -> bool:
        """Whether something compiled earlier may hold other values than the ones that were read here."""
        return self.values and any(d.overloads or _has_cache(d) for d in self.dispatchers)

    def _say(self, *words: Any) -> None:
        self._hash.update(repr(words).encode(errors="backslashreplace") + b"\n")

    def _visit(self, value: Any, names: tuple[str, ...]) -> None:
        if isinstance(value, _PLAIN):
            self.values = True
            self._say(type(value).__name__, value)
        elif isinstance(value, types.ModuleType):
            self._module(value, names)
        elif id(value) in self._seen:
            self._say("again", self._seen[id(value)])
        else:
            self._seen[id(value)] = len(self._seen)
            self._keep.append(value)
            self._object(value, names)

    def _object(self, value: Any, names: tuple[str, ...]) -> None:
        kind, home = type(value), str(getattr(value, "__module__", None) or type(value).__module__).split(".")[0]
        if kind.__module__.startswith("numba.") and hasattr(value, "py_func") and hasattr(value, "targetoptions"):
            self.dispatchers.append(value)
            options = {name: _sorted(option) for name, option in value.targetoptions.items()}
            self._say("dispatcher", sorted(options.items()), sorted(map(str, value.locals.items())))
            self._visit(value.py_func, names)
        elif isinstance(value, types.FunctionType) and home not in _VERSIONED:
            self._function(value)
        elif isinstance(value, (tuple, frozenset)) and kind in (tuple, frozenset):
            self._say(kind.__name__, len(value))
            for item in value if kind is tuple else sorted(value, key=repr):
                self._visit(item, names)
        elif isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
            self.values = True
            self._say("array", kind.__name__, value.dtype.descr, value.shape, value.tobytes())
        elif isinstance(value, np.dtype):
            self._say("dtype", value.descr)
        elif isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields"):
            self._say("namedtuple", value.__module__, value.__qualname__, value._fields)
        elif home in _VERSIONED and getattr(value, "__name__", None):
            self._say("versioned", home, value.__name__)
        else:
            raise _Unreadable

    def _module(self, module: types.ModuleType, names: tuple[str, ...]) -> None:
        self._say("module", module.__name__)
        if module.__name__.split(".")[0] not in _VERSIONED:
            for name in names:
                if hasattr(module, name):
                    self._say("name", name)
                    self._visit(getattr(module, name), names)

    def _function(self, function: types.FunctionType) -> None:
        self._say("function", function.__module__, function.__qualname__)
        try:  # what its file registers with numba (overloads) is in no global
            with open(inspect.getsourcefile(function) or "", "rb") as file:
                self._hash.update(hashlib.blake2b(file.read()).digest())
        except (OSError, TypeError):
            pass
        self._visit(function.__defaults__ or (), ())
        self._visit(tuple((function.__kwdefaults__ or {}).items()), ())
        names = self._code(function.__code__)
        for name in names:
            if name in function.__globals__:
                self._say("global", name)
                self._visit(function.__globals__[name], names)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self._say("closure", name)
            try:
                self._visit(cell.cell_contents, names)
            except ValueError as error:  # an empty cell
                raise _Unreadable from error

    def _code(self, code: types.CodeType) -> tuple[str, ...]:
        """Read a code object, and those inside it; return the names it looks up."""
        names = list(code.co_names)
        self._say(code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_flags)
        self._say(code.co_argcount, code.co_kwonlyargcount, code.co_posonlyargcount)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                names += self._code(constant)
            else:
                self._say(type(constant).__name__, _sorted(constant))
        return tuple(dict.fromkeys(names))


def _sorted(value: Any) -> str:
    """Return ``repr(value)``, for a set in one order."""
    return repr(sorted(map(repr, value))) if isinstance(value, (set, frozenset)) else repr(value)


def _has_cache(dispatcher: Any) -> bool:
    return type(getattr(dispatcher, "_cache", None)).__name__ not in ("NoneType", "NullCache")
