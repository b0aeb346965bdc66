"""`frozen`: a dataclass whose fields are set once, which costs next to nothing to import."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, field, fields, make_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")


def _compiled_init(cls: Any) -> Any:
    own = [(f.name, f.type, field(default=f.default, default_factory=f.default_factory)) for f in fields(cls)]
    namespace = {"__post_init__": None} if hasattr(cls, "__post_init__") else {}
    # Frozen, so that it sets fields past `_set`.
    made = make_dataclass(cls.__name__, own, namespace=namespace, repr=False, eq=False, frozen=True)
    return vars(made)["__init__"]


class _Signature:
    """What ``inspect.signature`` finds of a class whose ``__init__`` may not be compiled yet."""

    def __get__(self, _: Any, cls: Any) -> Any:
        import inspect

        maker = next(base for base in cls.__mro__ if "__init__" in vars(base))
        init = _compiled_init(maker) if "__signature__" in vars(maker) else cls.__init__
        return inspect.Signature(list(inspect.signature(init).parameters.values())[1:], return_annotation=None)


def _compared(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, f.name) for f in fields(self) if f.compare)


def _repr(self: Any) -> str:
    return (
        f"{type(self).__qualname__}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in fields(self) if f.repr)})"
    )


def _equal(self: Any, other: object) -> bool:
    return _compared(self) == _compared(other) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _is_fixed(self: Any, name: str) -> bool:
    return name in self.__dataclass_fields__ or "__signature__" in vars(type(self))


def _set(self: Any, name: str, value: Any) -> None:
    if _is_fixed(self, name):
        raise FrozenInstanceError(f"cannot assign to field {name!r}")
    object.__setattr__(self, name, value)  # of a subclass that is not frozen


def _delete(self: Any, name: str) -> None:
    if _is_fixed(self, name):
        raise FrozenInstanceError(f"cannot delete field {name!r}")
    object.__delattr__(self, name)


_METHODS = {
    "__repr__": _repr,
    "__eq__": _equal,
    "__hash__": _hash,
    "__setattr__": _set,
    "__delattr__": _delete,
    "__signature__": _Signature(),
}

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform

    @dataclass_transform(frozen_default=True, field_specifiers=(field,))
    def frozen(cls: type[T]) -> type[T]:
        """Make a class a dataclass whose fields cannot be set again."""
else:

    def frozen(cls):
        """Make a class a dataclass whose fields cannot be set again, with equality, hash and repr by its fields.

        Up to Python 3.12 ``dataclass(frozen=True)`` compiles the text of six methods for every class, which was two
        fifths of the time that importing this package took. Here ``__init__`` is compiled when the first instance is
        made, and the others are the same functions for all classes; a method that the class has of its own stays.
        """
        methods = {name: method for name, method in _METHODS.items() if vars(cls).get(name) is None}
        own_init = "__init__" in vars(cls)
        cls = dataclass(init=False, repr=False, eq=False)(cls)
        cls.__dataclass_params__.frozen = True  # a frozen subclass is allowed, and no other
        for name, method in methods.items():
            setattr(cls, name, method)
        if own_init:
            return cls

        def __init__(self, *values, **named):
            cls.__init__ = init = _compiled_init(cls)
            init(self, *values, **named)

        cls.__init__ = __init__
        return cls
