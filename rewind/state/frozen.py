"""`frozen`: a dataclass whose fields are set once, which costs next to nothing to import."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, field, fields, make_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")


def _compiled_init(cls: Any) -> Any:
    own = [(f.name, f.type, field(default=f.default, default_factory=f.default_factory)) for f in fields(cls)]
    namespace = {"__post_init__": None} if hasattr(cls, "__post_init__") else {}
    # Frozen, so that it sets fields past `_refuse_to_set`.
    made = make_dataclass(cls.__name__, own, namespace=namespace, repr=False, eq=False, frozen=True)
    return vars(made)["__init__"]


class _Signature:
    """What ``inspect.signature`` finds of a class whose ``__init__`` may not be compiled yet."""

    def __get__(self, _: Any, cls: Any) -> Any:
        import inspect

        first, *rest = inspect.signature(_compiled_init(cls)).parameters.values()
        return inspect.Signature(rest, return_annotation=None)


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


def _refuse_to_set(self: Any, name: str, value: Any) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


_METHODS = {
    "__repr__": _repr,
    "__eq__": _equal,
    "__hash__": _hash,
    "__setattr__": _refuse_to_set,
    "__delattr__": _refuse_to_delete,
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
        own = {"__hash__": None, **vars(cls)} if "__eq__" in vars(cls) else vars(cls)
        methods = {name: method for name, method in _METHODS.items() if own.get(name) is None}
        cls = dataclass(init=False, repr=False, eq=False)(cls)
        for name, method in methods.items():
            setattr(cls, name, method)

        def __init__(self, *values, **named):
            cls.__init__ = init = _compiled_init(cls)
            init(self, *values, **named)

        cls.__init__ = __init__
        return cls
