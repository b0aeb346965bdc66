"""Tensors of torch and arrays of jax as leaves: the numbers as numpy has them, given back as what they were.

Neither library is imported here. A value of one can only be there if the program has imported it, and a file with one
asks for that import, as it does for the classes of a state. What numpy cannot hold exactly is no leaf, and is pickled:
bfloat16, another device, gradients, sparse tensors.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import StateClassError, StateError
from .columns import Array, as_restored
from .nodes import ArrayLeaf, Column, Misfit, Node, once, order_of

LIBRARIES = {"torch": "Tensor", "jax": "Array"}


def tensor_library(value: Any) -> str | None:
    """Return which library a tensor is of, None for anything else."""
    kind = type(value)
    torch = sys.modules.get("torch")
    if torch is not None and kind is getattr(torch, "Tensor", None):
        return "torch"
    jax = sys.modules.get("jax")
    if jax is not None and kind.__name__ == "ArrayImpl" and isinstance(value, getattr(jax, "Array", ())):
        return "jax"
    return None


def numbers_of(value: Any, library: str) -> tuple[Array, bool]:
    """Return the numbers of a tensor, in its own memory where that can be, and whether its type is jax's weak one.

    Raises
    ------
    Misfit
        If numpy cannot hold all that it is.
    """
    try:
        return (_of_torch(value), False) if library == "torch" else _of_jax(value)
    except (TypeError, RuntimeError, ValueError, AttributeError) as error:  # no such dtype in numpy
        raise Misfit from error


def _of_torch(value: Any) -> Array:
    plain = (
        value.device.type == "cpu"
        and str(value.layout) == "torch.strided"
        and not (value.requires_grad or value.is_conj() or value.is_neg())
        and not vars(value)
        and not any(n > 1 and stride == 0 for n, stride in zip(value.shape, value.stride(), strict=True))
    )
    if not plain:
        raise Misfit
    return np.asarray(value.numpy())


def _of_jax(value: Any) -> tuple[Array, bool]:
    weak = bool(value.weak_type)
    if {device.platform for device in value.devices()} != {"cpu"} or len(value.devices()) != 1:
        raise Misfit
    array = np.asarray(value)
    if weak and array.ndim:
        raise Misfit
    return array, weak


class TensorNode(Node):
    """A tensor of torch or array of jax, on the CPU.

    Parameters
    ----------
    library : {"torch", "jax"}
    array : ArrayLeaf
        Of its numbers.
    weak : bool
        Whether it is a number of jax that takes the type of what it meets.
    """

    version = 2

    def __init__(self, library: str, array: ArrayLeaf, weak: bool = False) -> None:
        self.library, self.array, self.weak = library, array, weak
        self.width = array.width

    @classmethod
    def of(cls, value: Any, library: str) -> TensorNode:
        """Return the node of a tensor."""
        array, weak = numbers_of(value, library)
        return cls(library, ArrayLeaf(as_restored(array.dtype), array.shape, order_of(array)), weak)

    def to_json(self) -> Any:
        return {"tensor": self.library, **self.array.to_json(), **({"weak": True} if self.weak else {})}

    def place(self, at: int) -> int:
        """Number the columns."""
        self.array.place(at)
        return super().place(at)

    def fresh(self) -> Node:
        """Return a new node."""
        return TensorNode(self.library, ArrayLeaf(self.array.dtype, self.array.shape, self.array.order), self.weak)

    def require(self) -> Any:
        """Return the library.

        Raises
        ------
        StateClassError
            If it is not imported.
        """
        library = sys.modules.get(self.library)
        if library is None:
            raise StateClassError(self.library, LIBRARIES[self.library])
        return library

    def columns(self, name: str, prefix: tuple[int, ...]) -> Iterator[Column]:
        return self.array.columns(name, prefix)

    def encode(self, value: Any, out: list[list[Any]], seen: set[int]) -> None:
        if tensor_library(value) != self.library:
            raise Misfit
        array, weak = numbers_of(value, self.library)
        if weak != self.weak or order_of(array) != self.array.order:
            raise Misfit
        if self.library == "torch":  # of jax nothing changes in place
            once(value, seen)
            if array.size:  # two views of one storage: a pickle keeps that, columns do not
                memory = -int(value.untyped_storage().data_ptr())
                if memory in seen:
                    raise Misfit("two tensors of one storage")
                seen.add(memory)
        self.array.encode(array, out, set())

    def decode(self, rows: list[Iterator[Any]]) -> Any:
        library = self.require()
        array = self.array.decode(rows)
        if self.library == "torch":
            return library.from_numpy(array)
        value = library.numpy.asarray(array.item() if self.weak else array)
        if value.dtype != array.dtype:
            cure = 'jax.config.update("jax_enable_x64", True) before the state is restored'
            raise StateError("", f"an array of jax of {array.dtype}, which jax makes {value.dtype} here", cure)
        return value
