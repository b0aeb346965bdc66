"""The codec of states: a row of plain columns where the layout fits, a pickle where it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ArtifactFormatError
from .columns import Array
from .copies import IMMUTABLE, from_pickle, private_copy, to_pickle
from .digest import digest
from .frozen import frozen
from .layout import Layout
from .nodes import BadValue, Misfit, PlainLeaf
from .spilled import SpilledRow

#: One kept state: a plain array for each column, a `WideRow`, the pickle, or the value itself where that is one plain
#: number.
Row = Any
UserCodec = tuple[Callable[[Any], Any], Callable[[Any], Any]]


@frozen
class WideRow:
    """What is kept of a state of which some leaves are of another kind than those of state 0.

    Attributes
    ----------
    layout : Layout
        That of state 0 with the kinds that this state has.
    columns : list of ndarray
        A plain array for each of its columns.
    """

    layout: Layout
    columns: list[Array]


class StateCodec:
    """How the states of one run are kept.

    Parameters
    ----------
    layout : Layout or None
        Of the states, or of what ``user[0]`` makes of them; None keeps every state as a pickle.
    user : (encode, decode), optional
        The caller's own pair: ``encode(state)`` gives a tree of plain values, ``decode(tree)`` the state.
    """

    def __init__(self, layout: Layout | None, user: UserCodec | None = None) -> None:
        self.layout, self.user = layout, user
        root = layout.root if layout is not None else None
        self._plain = root.python_type if isinstance(root, PlainLeaf) and root.kind in ("bool", "float") else None
        self._int = isinstance(root, PlainLeaf) and root.kind == "int"

    @classmethod
    def of(cls, init_state: Any, user: UserCodec | None = None) -> StateCodec:
        """Return the way to keep states like `init_state`."""
        return cls(Layout.of(user[0](init_state) if user else init_state), user)

    def encode(self, state: Any) -> Row:
        """Return what is kept of `state`.

        Raises
        ------
        StateError
            If it fits no column and cannot be pickled.
        """
        tree = self.user[0](state) if self.user else state
        kind = type(tree)
        if kind is self._plain or (self._int and kind is int and -(1 << 63) <= tree < 1 << 63):
            return tree
        if self.layout is not None:
            try:
                return self.layout.encode(tree)
            except Misfit:
                pass
            try:
                wide = self.layout.widened(tree)
                return WideRow(wide, wide.encode(tree))
            except Misfit:
                pass
        return to_pickle(tree)

    def decode(self, row: Row) -> Any:
        """Return a new state from what was kept."""
        tree = self.tree(row)
        return self.user[1](tree) if self.user else tree

    def copy(self, state: Any) -> Any:
        """Return a private copy of a live state."""
        if self.user is not None:
            return self.user[1](private_copy(self.user[0](state)))
        return private_copy(state)

    def again(self, state: Any) -> Any:
        """Return a live state as it would be restored."""
        if type(state) in IMMUTABLE and self.user is None:
            return state
        return self.decode(self.encode(state))

    def tree(self, row: Row) -> Any:
        """Return what was kept as it is compared and shown: the state, or the tree ``user[0]`` made of it."""
        if isinstance(row, SpilledRow):
            row = row.load()
        layout = self.layout
        if isinstance(row, WideRow):
            layout, row = row.layout, row.columns
        if isinstance(row, list):
            assert layout is not None
            try:
                return layout.decode(row)
            except UnicodeDecodeError as error:
                raise ArtifactFormatError(f"a checkpoint holds text that is not UTF-8 ({error})") from None
            except BadValue as error:
                raise ArtifactFormatError(f"a checkpoint holds {error}") from None
        return from_pickle(row) if isinstance(row, bytes) else row

    def digest(self, row: Row) -> bytes:
        """Return the 16-byte digest of the value of what was kept."""
        if isinstance(row, SpilledRow):
            row = row.load()
        recorded = self.layout.recorded if self.layout is not None else None
        return digest(recorded.decode(row) if recorded is not None and isinstance(row, list) else self.tree(row))

    def same(self, a: Row, b: Row) -> bool:
        """Whether two kept states have the same value, byte for byte."""
        if isinstance(a, list) and isinstance(b, list) and _same_columns(a, b):
            return True
        if isinstance(a, WideRow) and isinstance(b, WideRow) and a.layout is b.layout:
            return _same_columns(a.columns, b.columns) or self.digest(a) == self.digest(b)
        if isinstance(a, bytes) and a == b:
            return True
        return self.digest(a) == self.digest(b)


def _same_columns(a: list[Array], b: list[Array]) -> bool:
    return all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


def row_bytes(row: Row) -> int:
    """Return how many bytes what is kept of a state takes."""
    if isinstance(row, WideRow):
        row = row.columns
    if isinstance(row, list):
        return sum(column.nbytes for column in row)
    return len(row) if isinstance(row, bytes) else 8
