"""What a step function does, read as it stands in memory: its code, and all of the user's that the code reaches.

That is the functions it calls, the globals, closures and defaults it reads, and the classes of its states with their
methods. Installed libraries and the standard library are not read. Nothing of the user's is run: names are looked up
in the dicts of modules, classes and instances.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import sys
import types
from collections import deque
from collections.abc import Iterable, Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from operator import getitem, is_
from types import FunctionType
from typing import Any

import numpy as np

from ..state.checkpoints import Checkpoints
from ..state.classes import class_fields
from ..state.tensors import tensor_library
from .bytecode import read
from .signature import is_numba

#: What functions are compared within: the same source is other bytecode elsewhere.
DIALECT = f"{sys.version_info[0]}.{sys.version_info[1]}" + "-O" * sys.flags.optimize

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))
_NUMBERS = (type(None), bool, int, float)
#: Most objects that are read, leaves of one container, bytes of an array, and parts that are told apart by name.
MAX_OBJECTS = 5_000
MAX_LEAVES = 2_000
MAX_BYTES = 1 << 26
MAX_PARTS = 200
#: Arrays up to so many bytes are compared whenever a state is asked for, the others when a block is entered.
SMALL = 1 << 12
#: Methods that `dataclass` and `namedtuple` write.
_GENERATED = frozenset(
    "__init__ __repr__ __eq__ __lt__ __le__ __gt__ __ge__ __hash__ __setattr__ __delattr__ __replace__ __getstate__ "
    "__setstate__ __new__ __getnewargs__ _make _replace _asdict".split()
)
#: Methods that fill an object, rather than change it.
_MAKERS = frozenset({"__init__", "__new__", "__post_init__", "__setstate__"})
_STANDARD = os.path.dirname(os.__file__)


class Code:
    """What was read.

    Attributes
    ----------
    parts : dict of str to str
        What each part is, by its name: a digest, or ``=0.5`` for a number.
    watched : tuple of tuple
        ``(place, key, value)``: `value` stands at `key` of a dict; or is the code, defaults and keyword defaults of a
        function, where `key` is None. By identity.
    written : tuple of str
        What the step itself writes, and so is no part: hidden state.
    sets : bool
        Whether it is seen to use sets that may hold text, whose order is another in each process.
    contents : frozenset of str
        The parts that are containers or arrays, which change where they stand.
    """

    def __init__(self, step_fn: Any, classes: Iterable[type] = (), written: Iterable[str] = ()) -> None:
        walk = _Walk(step_fn, frozenset(written))
        try:
            walk.run(step_fn, classes)
        except Exception:  # an odd object: what was read until here
            walk.odd = True
        self.parts = _bounded(walk.parts)
        self.watched = tuple(walk.watched)
        named = [item for item in walk.watched if item[1] is not None]
        self._named = [list(column) for column in zip(*named, strict=True)] or [[], [], []]
        self._others = [item for item in walk.watched if item[1] is None]
        self.written = tuple(dict.fromkeys(walk.hidden))
        self.contents = frozenset(walk.contents)
        self.sets = walk.sets
        self._objects = walk.objects
        self._equal, self._arrays, self._files = walk.equal, walk.arrays, walk.files

    @property
    def text(self) -> str:
        """The parts as one text, for a file."""
        return "; ".join([DIALECT, *(f"{name}: {words}" for name, words in self.parts.items())])

    @property
    def guard(self) -> tuple[tuple[Any, Any, Any], ...]:
        """What `same` looks at, for `Place`: `watched`, and ``(None, container or array, its contents)``."""
        return (*self.watched, *((None, c if array is None else array, kept) for c, array, kept in self._equal))

    def same(self) -> bool:
        """Whether nothing was swapped since: small values by value, all else by identity. Well under a microsecond."""
        places, keys, values = self._named
        try:
            if not all(map(is_, map(getitem, places, keys), values)):
                return False
            for place, _, value in self._others:
                if type(place) is FunctionType:
                    if (place.__code__, place.__defaults__, place.__kwdefaults__) != value:
                        return False
                elif place.cell_contents is not value:
                    return False
            for container, array, kept in self._equal:
                if (container if array is None else array.tobytes()) != kept:
                    return False
        except Exception:  # a name that is gone, values that cannot be compared
            return False
        return True

    def same_at_length(self) -> bool:
        """Whether `same`, and large arrays and the files of libraries are what they were."""
        return (
            self.same()
            and all(array.tobytes() == kept for array, kept in self._arrays)
            and all(stamp(path) == kept for path, kept in self._files)
        )

    def news(self, now: Code) -> list[str]:
        """Return what is not what it was, in words, the most telling first."""
        found = changes(self.parts, now.parts)
        swapped = [name for name, thing in self._objects.items() if now._objects.get(name, thing) is not thing]
        return found + [name for name in swapped if name not in self.parts or name not in found]


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the parts that are not what they were, in words; what came and went, where nothing else tells."""
    told = [name + _as_values(before[name], now[name]) for name in differing(before, now)]
    if told:
        return told
    came = [f"{name}, which is new" for name in now if name not in before and "." in name]
    return came + [f"{name}, which is gone" for name in before if name not in now and "." in name]


def differing(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names of the parts that are in both, and not what they were."""
    return [
        name for name in before if name in now and before[name] != now[name] and "?" not in (before[name], now[name])
    ]


def _as_values(before: str, now: str) -> str:
    if before.startswith("=") and now.startswith("="):
        return f" ({before[1:]}, and now {now[1:]})"
    return ""


def parts_of(text: str) -> dict[str, str] | None:
    """Return the parts that `Code.text` wrote, None where they were read in another dialect and say nothing here."""
    dialect, *parts = text.split("; ")
    if dialect != DIALECT:
        return None
    return {name: words for name, _, words in (part.rpartition(": ") for part in parts)}


def classes_of(checkpoints: Checkpoints) -> list[type]:
    """Return the classes of the first of some stored states, and of what it holds.

    Raises
    ------
    StateClassError
        If one is not imported.
    """
    codec = checkpoints.codec
    plain = codec.layout is not None and codec.layout.version == 1  # no sets, nor objects of other libraries
    if plain and codec.user is None and 0 not in checkpoints.pickles:
        assert codec.layout is not None
        return codec.layout.classes()
    return classes_in(checkpoints.restore(0))


def classes_in(state: Any) -> list[type]:
    """Return the classes of a state and of what it holds; of the standard library only sets that may hold text."""
    found: dict[type, None] = {}
    queue, seen = deque([state]), dict[int, Any]()
    while queue and len(seen) < MAX_LEAVES:
        value = queue.popleft()
        kind = type(value)
        if kind in _PLAIN or id(value) in seen or issubclass(kind, (np.ndarray, np.generic, types.ModuleType)):
            continue
        if tensor_library(value) is not None:
            continue
        seen[id(value)] = value
        if kind is dict:
            queue.extend(list(value.values())[:MAX_LEAVES])
        elif kind in (list, tuple, set, frozenset, deque):
            queue.extend(list(value)[:MAX_LEAVES])
            if kind in (set, frozenset) and _is_salted(value):
                found[kind] = None
        elif kind.__module__.partition(".")[0] not in sys.stdlib_module_names:
            found[kind] = None
            queue.extend(tuple.__iter__(value) if issubclass(kind, tuple) else _namespace(value).values())
            for base in kind.__mro__:
                slots = vars(base).get("__slots__", ())
                for name in (slots,) if isinstance(slots, str) else slots:
                    slot = vars(base).get(name)
                    if type(slot) is types.MemberDescriptorType:
                        queue.append(_in_slot(slot, value))
    return list(found)


def _is_salted(values: Any) -> bool:
    """Whether a set may have another order in each process: numbers have the same hash in all of them."""
    return any(type(value) not in (bool, int, float, complex) for value in values)


def _in_slot(slot: Any, value: Any) -> Any:
    try:
        return slot.__get__(value, type(value))
    except AttributeError:  # empty
        return None


def _bounded(parts: dict[str, str]) -> dict[str, str]:
    """Return parts, of which the last share one digest where there are too many."""
    clean = {name.replace("; ", ", ").replace(": ", " "): words for name, words in parts.items()}
    if len(clean) <= MAX_PARTS:
        return clean
    names = sorted(clean)
    kept = {name: clean[name] for name in clean if name in set(names[:MAX_PARTS]) or name == "step_fn"}
    rest = [(name, clean[name]) for name in names if name not in kept]
    return {**kept, "one of its other parts": _digest(*rest)}


def _digest(*words: Any) -> str:
    text = "\n".join(map(repr, words))
    return hashlib.blake2b(text.encode(errors="backslashreplace"), digest_size=4).hexdigest()


def stamp(path: str) -> Any:
    """Return what tells whether a file was written again."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@functools.lru_cache(maxsize=64)
def _file_digest(path: str, stamped: Any) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.blake2b(file.read(), digest_size=4).hexdigest()
    except OSError:
        return "?"


@functools.lru_cache(maxsize=1024)
def _is_library(path: str, name: str) -> bool:
    """Whether a file, or without one a module of this name, is installed and not the user's."""
    top = name.partition(".")[0]
    if top == __name__.partition(".")[0]:
        return True
    if not path or path.startswith("<"):
        return path.startswith("<frozen") or top in sys.stdlib_module_names
    inside = os.path.normpath(path).replace(os.sep, "/")
    if "/site-packages/" in inside or "/dist-packages/" in inside:
        return True
    return inside.startswith(_STANDARD.replace(os.sep, "/") + "/")


class _Walk:
    """One reading: a queue of things that were met, each by the name to tell it by."""

    def __init__(self, step_fn: Any, excluded: frozenset[str]) -> None:
        self.parts: dict[str, str] = {}
        self.watched: list[tuple[Any, Any, Any]] = []
        self.equal: list[tuple[Any, Any, Any]] = []
        self.arrays: list[tuple[Any, bytes]] = []
        self.files: list[tuple[str, Any]] = []
        self.objects: dict[str, Any] = {}
        self.hidden: list[str] = []
        self.contents: list[str] = []
        self.odd = self.sets = False
        self._excluded = excluded
        self._queue: deque[tuple[str, Any, bool]] = deque()
        self._seen: dict[int, Any] = {}  # an id is one object's for as long as the object is alive
        self._places: set[tuple[int, str]] = set()
        self._attributes: list[tuple[str, Any, bool]] = []
        self._read: set[str] = set()
        self._changed: set[str] = set()
        self._home = getattr(_function_in(step_fn), "__module__", None) or "__main__"

    def run(self, step_fn: Any, classes: Iterable[type]) -> None:
        self._queue.append(("step_fn", step_fn, True))
        for cls in classes:
            self.sets |= issubclass(cls, (set, frozenset))
            self._queue.append((self._label(cls), cls, True))
            self._named(cls)
        while self._queue or self._attributes:
            while self._queue:
                name, value, watch = self._queue.popleft()
                if len(self._seen) > MAX_OBJECTS:
                    return
                self._value(name, value, watch)
            # Attributes of instances and classes count where some code reads and none writes one of their names.
            ready: list[tuple[str, Any, bool]] = []
            later: list[tuple[str, Any, bool]] = []
            for entry in self._attributes:
                (ready if entry[0].rpartition(".")[2] in self._read else later).append(entry)
            self._attributes = later
            if not ready:
                return
            for name, place, watch in ready:
                key = name.rpartition(".")[2]
                if key in self._changed:
                    self._hide(name)
                elif key in place:
                    self._at(place, key, name, watch)

    # ---- names

    def _label(self, thing: Any) -> str:
        module = getattr(thing, "__module__", None) or self._home
        name = getattr(thing, "__qualname__", type(thing).__qualname__)
        name = name.replace("<locals>.", "")
        return name if module == self._home else f"{module}.{name}"

    def _prefixed(self, namespace: Mapping[str, Any], name: str) -> str:
        module = namespace.get("__name__", self._home)
        return name if module == self._home else f"{module}.{name}"

    def _hide(self, name: str) -> None:
        self.hidden.append(name)

    def _put(self, name: str, words: str, content: bool = False) -> None:
        unique, n = name, 1
        while unique in self.parts:
            n += 1
            unique = f"{name} ({n})"
        if unique not in self._excluded:
            self.parts[unique] = words
            if content:
                self.contents.append(unique)

    # ---- what stands where

    def _at(self, place: Any, key: str, name: str, watch: bool) -> None:
        """Read what stands at `key` of a namespace."""
        if name in self._excluded or (id(place), key) in self._places:
            return
        self._places.add((id(place), key))
        value = place[key]
        if watch:
            self.watched.append((place, key, value))
        self._queue.append((name, value, watch))

    def _named(self, cls: type) -> None:
        """Watch the name that a class of states is found by."""
        module, (first, *rest) = sys.modules.get(cls.__module__), cls.__qualname__.split(".")
        place: Any = None if module is None else vars(module)
        for piece in (first, *rest):
            if place is None or piece not in place:
                return
            self.watched.append((place, piece, place[piece]))
            place = vars(place[piece]) if type(place[piece]) is type else None

    def _value(self, name: str, value: Any, watch: bool) -> None:
        kind = type(value)
        if kind in _PLAIN:
            self._put(name, _plain_words(value))
        elif issubclass(kind, (np.generic, np.dtype)):
            self._put(name, _digest(kind.__name__, repr(value)))
        elif issubclass(kind, types.ModuleType):
            return
        elif id(value) in self._seen:
            return
        else:
            self._seen[id(value)] = value
            self._object(name, value, kind, watch)

    def _object(self, name: str, value: Any, kind: type, watch: bool) -> None:
        if kind is FunctionType:
            self._function(name, value, watch)
        elif issubclass(kind, np.ndarray):
            self._array(name, value, watch)
        elif kind in (list, tuple, set, frozenset, dict, deque):
            self._container(name, value, kind, watch)
        elif kind is types.MethodType:
            self._queue.append((name, value.__func__, watch))
            self._queue.append((_owner_of(name), value.__self__, watch))
        elif kind is functools.partial:
            self._queue.append((name, value.func, watch))
            for i, item in enumerate(value.args):
                self._queue.append((f"argument {i} of {name}", item, watch))
            for key, item in value.keywords.items():
                self._queue.append((f"{key}= of {name}", item, watch))
        elif kind in (staticmethod, classmethod):
            self._queue.append((name, value.__func__, watch))
        elif kind is property:
            for part in (value.fget, value.fset):
                if part is not None:
                    self._queue.append((name, part, watch))
        elif kind is functools.cached_property:
            self._queue.append((name, value.func, watch))
        elif kind.__name__ == "NativeStep" and kind.__module__.startswith(__package__):
            self._native(name, value)
        elif is_numba(value):  # compiled code keeps the globals it was compiled with
            self._queue.append((name, value.py_func, False))
        elif isinstance(value, type):
            self._class(value, watch)
        elif kind is types.BuiltinFunctionType or kind.__name__ == "cython_function_or_method":
            self._extension(getattr(value, "__module__", None))
        elif "__wrapped__" in _namespace(value):
            self._queue.append((name, _namespace(value)["__wrapped__"], watch))
        elif self._is_users(kind):
            self._queue.append((self._label(kind), kind, watch))
            inside = _namespace(value)
            self._attributes += [(f"{name}.{key}", inside, watch) for key in inside if isinstance(key, str)]
        else:
            self._extension(kind.__module__)
            self.objects[name] = value
            self._put(name, _digest("a", kind.__module__, kind.__qualname__))

    def _is_users(self, kind: type) -> bool:
        module = sys.modules.get(kind.__module__)
        return self._is_home(kind.__module__) or not _is_library(_file_of(module), kind.__module__)

    def _is_home(self, module: str | None) -> bool:
        return module is not None and module.partition(".")[0] == self._home.partition(".")[0]

    def _extension(self, module: str | None) -> None:
        """Read the file of an extension module of the user's."""
        path = _file_of(sys.modules.get(module or ""))
        if path.endswith(tuple(EXTENSION_SUFFIXES)) and (self._is_home(module) or not _is_library(path, module or "")):
            self._library(f"module {module}", path)

    def _library(self, name: str, path: str) -> None:
        if name not in self.parts:
            stamped = stamp(path)
            self.files.append((path, stamped))
            self._put(name, _file_digest(path, stamped))

    def _native(self, name: str, step: Any) -> None:
        if step.version is not None:
            self._put("version=", _digest(step.version))
        elif step.library is not None:
            self._library(f"library {os.path.basename(step.library)}", step.library)
        elif step.function is not None:
            self._queue.append((name, step.function, False))

    def _array(self, name: str, value: Any, watch: bool) -> None:
        if value.dtype.hasobject or value.nbytes > MAX_BYTES:
            self.objects[name] = value
            self._put(name, _digest("array", value.dtype.str, value.shape))
            return
        kept = value.tobytes()
        if watch and len(kept) <= SMALL:
            self.equal.append((None, value, kept))
        elif watch:
            self.arrays.append((value, kept))
        self._put(name, _digest("array", value.dtype.descr, value.shape, hashlib.blake2b(kept).hexdigest()), True)

    def _container(self, name: str, value: Any, kind: type, watch: bool) -> None:
        self.sets |= kind in (set, frozenset) and _is_salted(value)
        if len(value) > MAX_LEAVES:
            self._put(name, _digest(kind.__name__, len(value)))
            return
        if watch and kind in (list, set, dict, deque):
            self.equal.append((value, None, value.copy()))
        words = []
        for key, item in value.items() if kind is dict else enumerate(value):
            if type(item) in _PLAIN:
                words.append((repr(key), repr(item)))
            elif kind not in (set, frozenset):
                self._queue.append((f"{name}[{key!r}]" if type(key) in _PLAIN else f"{name}[...]", item, watch))
        if kind in (set, frozenset):
            words = [item for _, item in words]  # type: ignore[misc]
        self._put(name, _digest(kind.__name__, *(words if kind in (list, tuple, deque) else sorted(words))), True)

    def _class(self, cls: Any, watch: bool) -> None:
        if not self._is_users(cls):
            self._extension(cls.__module__)
            return
        name, inside = self._label(cls), vars(cls)
        facts: list[Any] = [[self._label(base) for base in cls.__bases__]]
        written = frozenset[str]()
        if dataclasses.is_dataclass(cls):
            facts += [(f.name, _default(f)) for f in dataclasses.fields(cls)]
            written = _GENERATED
        elif issubclass(cls, tuple) and hasattr(cls, "_fields"):
            facts += [class_fields(cls), sorted(map(repr, getattr(cls, "_field_defaults", {}).items()))]
            written = _GENERATED
        self._put(name, _digest(*facts))
        for base in cls.__bases__:
            self._queue.append((self._label(base), base, watch))
        for key, item in list(inside.items()):
            kind = type(item)
            if key in written and (kind is not FunctionType or _is_generated(item.__code__.co_filename)):
                continue
            if kind in (FunctionType, staticmethod, classmethod, property, functools.cached_property):
                self._at(inside, key, f"{name}.{key}", watch)
            elif not key.startswith("__"):
                self._attributes.append((f"{name}.{key}", inside, watch))

    def _function(self, name: str, function: Any, watch: bool) -> None:
        code = function.__code__
        module = function.__module__ or self._home
        if not self._is_home(module) and _is_library(code.co_filename, module):
            return
        facts = read(code)
        self.sets |= facts.sets
        self._read |= facts.attributes
        if function.__name__ not in _MAKERS:
            self._changed |= facts.attributes_written
        self._put(name, facts.digest)
        if watch:
            self.watched.append((function, None, (code, function.__defaults__, function.__kwdefaults__)))
        of = "" if name == "step_fn" else f" of {name}"
        arguments = code.co_varnames[: code.co_argcount]
        defaults = function.__defaults__ or ()
        for key, item in zip(arguments[len(arguments) - len(defaults) :], defaults, strict=False):
            self._queue.append((f"{key}={of}", item, watch))
        for key, item in (function.__kwdefaults__ or {}).items():
            self._queue.append((f"{key}={of}", item, watch))
        for key, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
            closed = f"{key}{of}"
            if ("d", key) in facts.written:
                self._hide(closed)
                continue
            try:
                item = cell.cell_contents
            except ValueError:  # not filled yet
                continue
            if key != "__class__" and closed not in self._excluded:
                if watch:
                    self.watched.append((cell, None, item))
                self._queue.append((closed, item, watch))
        for chain in facts.chains:
            self._chain(function.__globals__, chain, facts.written, watch)

    def _chain(self, namespace: Any, chain: tuple[str, ...], written: Any, watch: bool) -> None:
        """Read what a global name stands for; of a module of the user's, the attribute that is asked for."""
        place = namespace
        for i, key in enumerate(chain):
            if key not in place or (key.startswith("__") and key.endswith("__")):
                return
            name = self._prefixed(place, key)
            if ("g", *chain[: i + 1]) in written:
                self._hide(name)
                return
            value = place[key]
            if not issubclass(type(value), types.ModuleType):
                self._at(place, key, name, watch)
                return
            if _is_library(_file_of(value), value.__name__) and not self._is_home(value.__name__):
                return
            if watch:
                self.watched.append((place, key, value))
            place = vars(value)


def _is_generated(file: str) -> bool:
    return file.startswith("<") or _is_library(file, "")


def _default(field: Any) -> str:
    if field.default is not dataclasses.MISSING:
        return repr(field.default) if type(field.default) in _PLAIN else type(field.default).__qualname__
    return "" if field.default_factory is dataclasses.MISSING else "made anew"


def _plain_words(value: Any) -> str:
    text = repr(value)
    return f"={text}" if type(value) in _NUMBERS and len(text) <= 24 else _digest(type(value).__name__, text)


def _owner_of(name: str) -> str:
    return "step_fn" if name == "step_fn" else f"the object of {name}"


def _function_in(step_fn: Any) -> Any:
    """Return the function, or for a callable object its class, which says where a step function is from."""
    for _ in range(20):
        if type(step_fn) is functools.partial:
            step_fn = step_fn.func
        elif type(step_fn) is types.MethodType:
            step_fn = step_fn.__func__
        elif is_numba(step_fn):
            step_fn = step_fn.py_func
    return step_fn if type(step_fn) is FunctionType or "__module__" in _namespace(step_fn) else type(step_fn)


def _namespace(value: Any) -> dict[str, Any]:
    """Return the attributes an object has of its own; asking it itself could run code."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if type(found) is dict else {}


def _file_of(module: Any) -> str:
    found = _namespace(module).get("__file__") if module is not None else None
    return found if isinstance(found, str) else ""
