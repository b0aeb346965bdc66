"""Digests of a state's *value*: law 7, "exact means bytes".

A state is read as a graph. A leaf (number, text, array of plain elements) has a *token*: a tag and its bytes, which say
where it ends, so that no two sequences of tokens run into each other. A node (list, dict, object, array of objects)
has the token of the hash over its *head* (tag, type, names, lengths) and its children's tokens. Two states are equal
when no sequence of keys, indices and attributes tells them apart; which objects are one and the same does not matter.

Cycles are found with Tarjan's algorithm [1]_. Inside one, a node's token cannot be computed from its children's, so the
nodes are labelled by refinement (Moore's partition refinement for automata [2]_: an automaton's state is a node here,
a letter is a position among the children): start from what a node shows by itself, and relabel a node when its
children's labels tell it from nodes of its label, until nothing changes. Every choice in it depends on the values
alone: not on addresses, the order of a set, where the cycle was entered, or how often a value occurs.

References
----------
.. [1] R. Tarjan, "Depth-first search and linear graph algorithms", SIAM J. Comput. 1 (1972).
.. [2] E. F. Moore, "Gedanken-experiments on sequential machines", Automata Studies (1956).
"""

from __future__ import annotations

import pathlib
import struct
from typing import Any

import numpy as np

from ..errors import StateError
from .reduction import UNKNOWN, Parts, Plan, dict_parts, reduced_parts, special_nodes
from .tokens import (
    LEAVES,
    MAX_DEPTH,
    NODE,
    OPEN,
    Unkeepable,
    array_token,
    class_token,
    dtype_token,
    has_objects,
    hash_of,
    pack_length,
    text_token,
)

__all__ = ["digest"]


def digest(value: object) -> bytes:
    """Return 16 bytes that two states share exactly when they have the same value.

    Types, dtypes, shapes and float bits count (a NaN equals itself, ``0.0`` is not ``-0.0``, ``1`` is not ``True``),
    and so does the order of a dict. Memory order, strides, padding, the order of a set and the identity of objects do
    not. An object counts as what pickle (protocol 4) would keep of it. A class or a function counts as its name.

    Parameters
    ----------
    value : object
        A state.

    Returns
    -------
    digest : bytes
        BLAKE2b of 16 bytes; the same on every machine and every supported Python.

    Raises
    ------
    StateError
        If something in `value` has no value that could be kept: a lambda, a generator, an open file, a lock.

    Notes
    -----
    O(size of the state): what is shared is read once, cycles end, and depth does not use Python's stack. Nodes on
    cycles take O(edges) per round of refinement that reaches them; a few rounds, unless very many nodes look alike.

    Examples
    --------
    >>> digest([0.0, 1]) == digest([0.0, 1])
    True
    >>> digest(0.0) == digest(-0.0)
    False
    """
    return Walk().digest(value)


class _Frame:
    """A node whose children are being read."""

    __slots__ = ("key", "number", "low", "base", "parts", "tokens")

    def __init__(self, key: int, number: int, base: int, parts: Parts) -> None:
        self.key, self.number, self.low, self.base, self.parts = key, number, number, base, parts
        self.tokens: list[bytes | int] = []  # an int is the number of a node that is still open


class Walk:
    """Tokens of many values that may share parts; holds on to all it has read, so that no id is used twice."""

    def __init__(self) -> None:
        self._done: dict[int, bytes] = {}
        self._held: list[object] = []
        self._unrolled: dict[bytes, bytes] = {}  # token by children -> token by refinement, of nodes on cycles
        self._plans: dict[type, Plan | None] = {}

    @property
    def has_cycles(self) -> bool:
        """Whether a cycle was met."""
        return bool(self._unrolled)

    def digest(self, value: object) -> bytes:
        """Return the digest of a value."""
        token = self.token(value)
        return token[1:] if token[:1] == NODE else hash_of(b"\xffleaf" + token)

    def leaf(self, value: Any) -> bytes | None:
        """Return the token of a leaf, None for a node."""
        encode = LEAVES.get(type(value))
        if encode is not None:
            return encode(value)
        token = self._done.get(id(value))
        if token is not None:
            return token if token[:1] != NODE else None
        token = self._rare_leaf(value)
        if token is not None:
            self._done[id(value)] = token
            self._held.append(value)
        return token

    def _rare_leaf(self, value: Any) -> bytes | None:
        if type(value) is np.ndarray:
            return None if has_objects(value.dtype) else array_token(value)
        if isinstance(value, np.dtype):
            return b"T" + dtype_token(value)
        if isinstance(value, type):
            return class_token(value)
        if isinstance(value, np.void):
            if not has_objects(value.dtype) and type(value) in (np.void, np.record):
                return array_token(np.asarray(value), b"n")
        elif isinstance(value, pathlib.PurePath):  # its reduction and its module differ between Pythons
            module = type(value).__module__.split(".")[0] + ":"
            return b"p" + text_token(module + type(value).__qualname__) + text_token(str(value))
        return None

    def token(self, root: Any) -> bytes:
        """Return the token of a value."""
        try:
            return self._token(root)
        except Unkeepable as error:
            raise StateError(self._path_to_unkeepable(root), str(error)) from error.__cause__

    def _path_to_unkeepable(self, root: Any) -> str:
        # Breadth first: the walk itself may have come there from agent to agent to agent.
        seen: set[int] = set()
        level: list[tuple[Any, str]] = [(root, "")]
        held: list[Parts] = []
        while level:
            below: list[tuple[Any, str]] = []
            for value, path in level:
                if id(value) in seen:
                    continue
                seen.add(id(value))
                try:
                    if self.leaf(value) is not None:
                        continue
                    parts = self.parts(value)
                except Unkeepable:
                    return path
                held.append(parts)
                if len(path) < 1000:
                    below += [(child, path + parts.label(i)) for i, child in enumerate(parts.children)]
            level = below
        return ""

    def _token(self, root: Any) -> bytes:
        known = self.leaf(root) or self._done.get(id(root))
        if known is not None:
            return known
        done, held, leaves = self._done, self._held, LEAVES
        opened: dict[int, int] = {}  # id -> number, of nodes without a token yet
        pending: list[_Frame] = []  # nodes read to the end that wait for the rest of their cycle
        frame = self._enter(root, opened, pending)
        stack = [frame]
        while True:
            children, tokens = frame.parts.children, frame.tokens
            token: bytes | None
            for i in range(len(tokens), len(children)):
                value = children[i]
                encode = leaves.get(type(value))
                if encode is not None:
                    tokens.append(encode(value))
                    continue
                key = id(value)
                token = done.get(key)
                if token is not None:
                    tokens.append(token)
                elif key in opened:
                    tokens.append(opened[key])
                    frame.low = min(frame.low, opened[key])
                elif (token := self._rare_leaf(value)) is not None:
                    done[key] = token
                    held.append(value)
                    tokens.append(token)
                else:
                    if len(stack) >= MAX_DEPTH:
                        raise Unkeepable(f"nested more than {MAX_DEPTH:,} deep")
                    frame = self._enter(value, opened, pending)
                    stack.append(frame)
                    break
            else:
                if frame.low < frame.number:
                    pending.append(frame)
                    stack[-2].low = min(stack[-2].low, frame.low)
                    result: bytes | int = frame.number
                else:
                    result = token = self._close(frame, opened, pending)
                    if len(stack) == 1:
                        return token
                stack.pop()
                frame = stack[-1]
                frame.tokens.append(result)

    def _enter(self, value: Any, opened: dict[int, int], pending: list[_Frame]) -> _Frame:
        parts = self.parts(value)
        number = len(self._held)
        self._held.append(value)
        opened[id(value)] = number
        return _Frame(id(value), number, len(pending), parts)

    def _close(self, root: _Frame, opened: dict[int, int], pending: list[_Frame]) -> bytes:
        """Give a node, and the members of the cycles through it, their tokens."""
        members = pending[root.base :]
        if not members and root.number not in root.tokens:
            token = _node(root.parts, root.tokens)  # type: ignore[arg-type]
            token = self._unrolled.get(token, token) if self._unrolled else token
            self._done[root.key] = token
            del opened[root.key]
            return token
        del pending[root.base :]
        members.append(root)
        tokens = _refine(members)
        for frame in members:
            token = tokens[frame.number]
            self._done[frame.key] = token
            del opened[frame.key]
            by_children = [tokens[child] if isinstance(child, int) else child for child in frame.tokens]
            self._unrolled[_node(frame.parts, by_children)] = token
        return tokens[root.number]

    # -- what a node is made of ----------------------------------------------------------------------------------------

    def parts(self, value: Any) -> Parts:
        """Return head and children of a node, or raise Unkeepable."""
        cls = type(value)
        if cls is list or cls is tuple:
            tag = b"l" if cls is list else b"u"
            size = len(value)
            if size > 7 and type(value[0]) is float and set(map(type, value)) == {float}:
                return Parts(b"F" + tag + struct.pack(f"<Q{size}d", size, *value), [], None)
            return Parts(tag + pack_length(size), list(value), None)
        if cls is dict:
            return dict_parts(b"d", value)
        plan = self._plans.get(cls, UNKNOWN)
        if plan is UNKNOWN:
            plan = self._plans[cls] = Plan.of(value)
        if plan is not None:
            parts = plan.parts(value)
            if parts is not None:
                return parts
        for base, take in special_nodes():
            if isinstance(value, base):
                special = take(value)
                if special is not None:
                    return special
        return reduced_parts(value)


def _node(parts: Parts, tokens: list[bytes]) -> bytes:
    return NODE + hash_of(parts.head + b"".join(tokens if parts.ordered else sorted(tokens)))


def _refine(members: list[_Frame]) -> dict[int, bytes]:
    """Return the tokens of the nodes of one strongly connected component, by number."""
    by_number = {frame.number: frame for frame in members}
    parents: dict[int, set[int]] = {number: set() for number in by_number}
    for frame in members:
        for child in frame.tokens:
            if isinstance(child, int):
                parents[child].add(frame.number)

    labels: dict[int, bytes] = {}

    def signature(frame: _Frame) -> bytes:
        return _node(
            frame.parts,
            [(OPEN + labels.get(child, b"")) if isinstance(child, int) else child for child in frame.tokens],
        )

    labels = {number: signature(frame) for number, frame in by_number.items()}
    sizes: dict[bytes, int] = {}
    for label in labels.values():
        sizes[label] = sizes.get(label, 0) + 1
    signatures: dict[bytes, bytes] = {}  # of a label's nodes: the one they share
    changed = set(by_number)
    while changed:
        groups: dict[bytes, dict[bytes, list[int]]] = {}
        for number in changed:
            groups.setdefault(labels[number], {}).setdefault(signature(by_number[number]), []).append(number)
        changed = set()
        for label, split in groups.items():
            if sum(map(len, split.values())) < sizes[label]:
                keeper = signatures[label]  # the nodes that were not looked at still have it
            else:
                keeper = signatures.get(label, b"")
                keeper = keeper if keeper in split else min(split)
                signatures[label] = keeper
            for found, numbers in split.items():
                if found != keeper:
                    new = NODE + hash_of(b"\xffsplit" + label + found)
                    signatures[new], sizes[new] = found, len(numbers)
                    sizes[label] -= len(numbers)
                    for number in numbers:
                        labels[number] = new
                        changed |= parents[number]

    # Two components with one table have nodes that nothing tells apart: the union of both is stable under refinement.
    table = hash_of(b"\xffcycle" + b"".join(sorted(label + signatures[label] for label in set(labels.values()))))
    return {number: NODE + hash_of(b"\xffmember" + table + label) for number, label in labels.items()}
