"""All kinds of leaves: which one a value is, and which one a file names."""

from __future__ import annotations

from typing import Any

import numpy as np

from .columns import as_restored, dtype_from_json
from .generator_leaves import KINDS, GeneratorNode, generator_kind
from .keys import INT64
from .nodes import MAX_RANK, PLAIN_TYPES, ArrayLeaf, Misfit, Node, NoneLeaf, PlainLeaf, count_of, once, order_of
from .sets import SET_TYPES, SetNode
from .tensors import TensorNode, tensor_library


def leaf_node(value: Any, seen: set[int]) -> Node | None:
    """Return the node of a leaf, None for a container or another object.

    Raises
    ------
    Misfit, UnsupportedDtype
        If it is a leaf that no column can hold.
    """
    kind = type(value)
    if value is None:
        return NoneLeaf()
    if kind in PLAIN_TYPES:
        if kind is int and value not in INT64:
            raise Misfit
        return PlainLeaf(PLAIN_TYPES[kind])
    if kind is np.ndarray:
        once(value, seen)
        return ArrayLeaf(as_restored(value.dtype), value.shape, order_of(value))
    if isinstance(value, np.generic):
        if kind is not value.dtype.type:
            raise Misfit
        return ArrayLeaf(as_restored(value.dtype), (), None)
    node: Node
    library = tensor_library(value)
    if kind in SET_TYPES:
        node = SetNode(SET_TYPES[kind])
    elif library is not None:
        node = TensorNode.of(value, library)
    else:
        generator = generator_kind(value)
        if generator is None:
            return None
        node = GeneratorNode(generator)
    node.place(0)
    node.encode(value, [[] for _ in range(node.width)], seen)  # a Misfit where it holds something else
    return node


def leaf_from_json(tree: Any) -> Node | None:
    """Return the node of a leaf that a file names, None where it is no leaf.

    Raises
    ------
    ValueError
        If it is one of no kind: this reads files.
    """
    if tree is None:
        return NoneLeaf()
    if isinstance(tree, str):
        if tree not in PLAIN_TYPES.values():
            raise ValueError(f"unknown leaf {tree!r}")
        return PlainLeaf(tree)
    if not isinstance(tree, dict):
        raise ValueError("layout node")
    keys = set(tree)
    if "dtype" in keys and keys <= {"dtype", "shape", "order"}:
        return _array_from_json(tree)
    if "tensor" in keys and keys <= {"tensor", "dtype", "shape", "order", "weak"}:
        weak = tree.get("weak", False)
        if tree["tensor"] not in ("torch", "jax") or weak not in (False, True) or "shape" not in tree:
            raise ValueError("a tensor")
        if weak and (tree["tensor"] != "jax" or tree["shape"]):
            raise ValueError("a weak type")
        return TensorNode(tree["tensor"], _array_from_json(tree), bool(weak))
    if keys == {"set"} and tree["set"] in ("set", "frozenset"):
        return SetNode(tree["set"])
    if keys == {"generator"} and isinstance(tree["generator"], str) and tree["generator"] in KINDS:
        return GeneratorNode(tree["generator"])
    return None


def _array_from_json(tree: dict[str, Any]) -> ArrayLeaf:
    shape = tuple(count_of(n) for n in tree["shape"]) if "shape" in tree else ()
    order = tree.get("order", "C") if "shape" in tree else None
    if order not in ("C", "F", None) or len(shape) > MAX_RANK:
        raise ValueError("array order or rank")
    return ArrayLeaf(dtype_from_json(tree["dtype"]), shape, order)
