"""Dataclasses and namedtuples that are no more than their fields; their class by its name; what a container holds."""

from __future__ import annotations

import collections
import dataclasses
import functools
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeGuard

from ..errors import StateClassError


def class_kind(cls: type) -> str | None:
    """Return ``"dataclass"`` or ``"namedtuple"`` where instances of `cls` are no more than their fields, else None."""
    if issubclass(cls, tuple):
        plain = cls is not tuple and "__new__" in vars(cls) and cls.__mro__[1:] == (tuple, object)
        return "namedtuple" if plain and hasattr(cls, "_fields") and "__getnewargs__" in vars(cls) else None
    if not dataclasses.is_dataclass(cls) or cls.__new__ is not object.__new__ or _hidden_slots(cls):
        return None
    if any(hasattr(cls, name) for name in ("__getnewargs__", "__getnewargs_ex__", "__reduce_cython__")):
        return None
    if cls.__reduce__ is not object.__reduce__ or cls.__reduce_ex__ is not object.__reduce_ex__:
        return None
    for name in ("__getstate__", "__setstate__"):
        method = getattr(cls, name, None)  # dataclass(frozen=True, slots=True) writes a pair of its own
        if method is not None and method is not getattr(object, name, None):
            if getattr(method, "__module__", None) != "dataclasses":
                return None
    return "dataclass"


def _hidden_slots(cls: type) -> bool:
    """Whether an instance may keep something in a slot that is no field."""
    known = {*class_fields(cls), "__dict__", "__weakref__"}
    for base in cls.__mro__:
        slots = vars(base).get("__slots__", ())
        if not known.issuperset((slots,) if isinstance(slots, str) else slots):
            return True
    return False


def only_fields(value: object, fields: tuple[str, ...]) -> bool:
    """Return whether the attributes a dataclass instance has are its fields, all of them and no others."""
    attributes = getattr(value, "__dict__", None)
    if attributes is None:
        return all(hasattr(value, name) for name in fields)
    return len(attributes) == len(fields) and all(name in attributes for name in fields)


def find_class(name: str, kind: str, fields: tuple[str, ...]) -> type:
    """Return the class ``module:qualname`` among the modules already imported; import nothing, run nothing.

    Raises
    ------
    StateClassError
        If its module is not imported, has no such class, or the class has other fields.
    """
    module, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module)
    for piece in qualname.split("."):
        found = _namespace(found).get(piece)
    problem = class_problem(found, kind, fields)
    if problem is None:
        return found  # type: ignore[no-any-return]
    unknown = module == "__main__" or module not in sys.modules if found is None else not _is_class(found)
    if unknown or module.partition(".")[0] in sys.stdlib_module_names:
        raise StateClassError(module, qualname)
    way = f'rewind.load(path, step_fn, classes={{"{name}": {qualname.split(".")[-1]}}})'
    raise StateClassError(module, qualname, problem.replace("{way}", way))


def class_problem(found: object, kind: str, fields: tuple[str, ...]) -> str | None:
    """Return what keeps states of `kind` with `fields` from being of a class, with the cure; None if nothing does.

    ``{way}`` in it stands for the call that says what the class is.
    """
    if found is None:
        return "is not in that module any more. If it moved or has another name, say where it is: {way}"
    if not _is_class(found) or class_kind(found) != kind:
        return f"is no plain {kind} any more. Say which class takes its states: {{way}}"
    here = class_fields(found)
    if here == fields:
        return None
    gained, lost = [name for name in here if name not in fields], [name for name in fields if name not in here]
    if not gained and not lost:
        return f"has its fields in another order, {', '.join(here)}. If they mean the same, say so: {{way}}"
    if len(gained) == len(lost):
        return (
            f"has {', '.join(gained)} where it had {', '.join(lost)}. Nothing says that they are the same: say which "
            "class takes these states, one with the old names: {way}"
        )
    if lost:
        return f"lost the field {', '.join(lost)}. Say which class takes its states, one that has it: {{way}}"
    bare = [name for name in gained if name not in defaults_of(found)]
    if bare:
        return f"gained the field {', '.join(bare)}, which has no default. Give it one, and say that it holds: {{way}}"
    return f"gained the field {', '.join(gained)}. If its default holds for old states, say so: {{way}}"


def defaults_of(cls: Any) -> dict[str, Callable[[], Any]]:
    """Return what makes the default of each field that has one."""
    if issubclass(cls, tuple):
        kept = getattr(cls, "_field_defaults", {})
        return {name: functools.partial(_itself, value) for name, value in kept.items()}
    made: dict[str, Callable[[], Any]] = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            made[field.name] = functools.partial(_itself, field.default)
        elif field.default_factory is not dataclasses.MISSING:
            made[field.name] = field.default_factory
    return made


def _itself(value: Any) -> Any:
    return value


def stand_in(kind: str, qualname: str, fields: tuple[str, ...]) -> type:
    """Return a class that counts as the one of a name that had these fields."""
    name = qualname.rpartition(".")[2]
    make: Any = collections.namedtuple if kind == "namedtuple" else dataclasses.make_dataclass
    made = make(name, fields)
    made.__qualname__ = qualname
    return made  # type: ignore[no-any-return]


def named_like(cls: type) -> type:
    """Return the class that is found by the name of `cls` now, or where there is none, `cls` itself."""
    found: Any = sys.modules.get(cls.__module__)
    for piece in cls.__qualname__.split("."):
        found = _namespace(found).get(piece)
    return found if _is_class(found) else cls


def _is_class(found: object) -> TypeGuard[type[Any]]:
    return issubclass(type(found), type)  # isinstance would ask what is no class for its __class__


def _namespace(found: object) -> Mapping[str, Any]:
    """Return the names in a module or class: getattr on a lazy module, or on an instance, could run code."""
    if _is_class(found):
        return type.__getattribute__(found, "__dict__")  # type: ignore[no-any-return]
    if issubclass(type(found), types.ModuleType):
        return object.__getattribute__(found, "__dict__")  # type: ignore[no-any-return]
    return {}


def class_fields(cls: Any) -> tuple[str, ...]:
    """Return the field names of a dataclass or namedtuple, in order."""
    return tuple(cls._fields) if issubclass(cls, tuple) else tuple(f.name for f in dataclasses.fields(cls))


def contents(value: Any) -> tuple[str, Iterable[Any], Iterable[Any]] | None:
    """Return what a dict, list, tuple, dataclass or namedtuple holds; None for anything else.

    Returns
    -------
    form : str
        How the path to an item is written of its key: ``form.format(key)``.
    keys, items : iterable
    """
    kind = type(value)
    if kind is dict:
        return "[{!r}]", value.keys(), value.values()
    if kind is list or kind is tuple:
        return "[{}]", range(len(value)), value
    if class_kind(kind):
        names = class_fields(kind)
        return ".{}", names, (getattr(value, name, None) for name in names)
    return None
