"""Sets of numbers and text: as one text for each row, which lists their members.

How many members there are may change from row to row. Members whose hash is the same in every process (numbers, and
tuples of them) are listed so that the set made of the list gives them in the order in which the set gave them, if it
is one that a list can lead to; else in that order itself, which is what a pickle keeps. Others are sorted, since their
order in a set is another in every process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .columns import MAX_TEXT
from .keys import NotAKey, key_from_json, key_to_json
from .nodes import BadValue, Column, Misfit, Node, once

SET_TYPES: dict[type, str] = {set: "set", frozenset: "frozenset"}


class SetNode(Node):
    """A set or frozenset of numbers, text, and tuples of them.

    Parameters
    ----------
    kind : {"set", "frozenset"}
    """

    version = 2

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.python_type: type = set if kind == "set" else frozenset
        self.width = 2

    def to_json(self) -> Any:
        return {"set": self.kind}

    def columns(self, name: str, prefix: tuple[int, ...]) -> Iterator[Column]:
        yield Column(f"{name}/value", np.dtype("S"), prefix)
        yield Column(f"{name}/length", np.dtype("<i8"), prefix)

    def encode(self, value: Any, out: list[list[Any]], seen: set[int]) -> None:
        if type(value) is not self.python_type:
            raise Misfit
        if self.kind == "set":
            once(value, seen)
        raw = _text_of(value)
        out[self.at].append(raw)
        out[self.at + 1].append(len(raw))

    def decode(self, rows: list[Iterator[Any]]) -> Any:
        raw, length = next(rows[self.at]), next(rows[self.at + 1])
        members = _members(raw[:length])
        value = self.python_type(members)
        if len(value) != len(members):
            raise BadValue("a set that holds a member twice")
        return value


def _text_of(value: Any) -> bytes:
    import json  # which takes longer to load than all of this package's state

    members = _in_order(value)
    try:
        texts = [json.dumps(key_to_json(member), separators=(",", ":"), ensure_ascii=False) for member in members]
    except NotAKey as error:
        raise Misfit from error
    if not all(map(_has_one_hash, members)):
        texts.sort()
    raw = f"[{','.join(texts)}]".encode()
    if len(raw) > MAX_TEXT:
        raise Misfit("a set of too many members")
    return raw


def _in_order(value: Any) -> list[Any]:
    """Return the members so that a set made of them gives them in the order of `value`, where that can be."""
    order = list(value)
    for members in (order, order[::-1]):
        if all(one is other for one, other in zip(set(members), order, strict=True)):
            return members
    return order


def _has_one_hash(member: Any) -> bool:
    """Whether the hash of a member is the same in every process."""
    if isinstance(member, tuple):
        return all(map(_has_one_hash, member))
    return isinstance(member, (int, float, np.number, np.bool_))


def _members(raw: bytes) -> list[Any]:
    import json

    try:
        tree = json.loads(raw.decode("utf-8"))
        if type(tree) is not list:
            raise ValueError("no list")
        return [key_from_json(member) for member in tree]
    except (ValueError, RecursionError) as error:
        raise BadValue(f"a set whose members cannot be read ({error})") from None
