"""Divergence of two runs: the first step of their common axis at which their states differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from ..errors import ArgumentError, MissingStepError, show
from ..kernel import Turn
from ..state.codec import Row
from ..state.copies import IMMUTABLE
from ..state.difference import Description, first_difference
from ..state.frozen import frozen
from ..state.layout import first_change
from ..steps.params import same
from ..steps.step import Step
from .queries import unchanged
from .recording import Recording
from .replay import Cursor
from .trust import Trust

#: Steps that are compared while other threads wait for their turn.
STRIDE = 1024


class Side(NamedTuple):
    """One of two runs."""

    recording: Recording
    step: Step | None
    turn: Turn
    trust: Trust


@frozen
class Divergence:
    """The first difference of two runs.

    Attributes
    ----------
    step : int
        The first step at which they differ, on the axis of the root: a run's own step is less by its ``start``.
    path : str
        Path of the first field that differs, such as ``.agents[7].x``; empty where it is the whole state.
    value, other : object
        What is there, in this run and in the other.
    exact : bool
        Whether `step` is known to be the first. Otherwise it is the first stored state that differs, and a replay here
        tells no earlier difference: there is no step function, or the runs were recorded on machines that differ.
    n_agreeing, n_common : int
        Stored states of the same step that are the same in both; and all of the same step.
    """

    step: int
    path: str
    value: Any
    other: Any
    exact: bool
    n_agreeing: int
    n_common: int

    def __str__(self) -> str:
        where = self.path or "the state"
        known = "the first step that differs" if self.exact else "the first stored state that differs"
        return (
            f"step {self.step}, {known}: {where} is {show(self.value)} here and {show(self.other)} in the other; "
            f"{self.n_agreeing} of {self.n_common} stored states agree"
        )


def diverge(
    a: Side, b: Side, same_content: bool, report: Callable[[int, int], None] | None = None
) -> Divergence | None:
    """Return where two runs first differ, None if they agree as far as both go.

    Stored states of the same step are compared first. Where both are the same function (step, params, seed, blocks),
    what is equal at a block's first step is equal to the block's end, so one stretch between stored states has to be
    replayed. Otherwise runs may differ and agree again between two stored states: then both are replayed from the first
    common step to where they differ.

    Parameters
    ----------
    a, b : Side
    same_content : bool
        Whether all that was recorded of them is the same.
    report : callable, optional
        ``report(done, block)``.

    Raises
    ------
    ArgumentError
        If they have no step in common, or states of another layout.
    MissingStepError
        If no stored state differs, and a replay is needed that has no step function.
    """
    starts = a.recording.origin.start, b.recording.origin.start
    low = max(starts)
    high = min(starts[0] + a.recording.n_steps, starts[1] + b.recording.n_steps)
    if low >= high:
        held = [(s, s + side.recording.n_steps - 1) for s, side in zip(starts, (a, b), strict=True)]
        said = "steps {} to {}, and this run steps {} to {}".format(*held[1], *held[0])
        raise ArgumentError("other", _name(b), "a run with a step in common", f"It has {said}")
    _require_layout(a, b)
    mine, theirs = _stored(a.recording), _stored(b.recording)
    common = sorted(t for t in mine.keys() & theirs.keys() if low <= t < high)
    same = [_same(a.recording, mine[t], b.recording, theirs[t]) for t in common]
    counts = sum(same), len(common)
    k = same.index(False) if False in same else None
    if k == 0 and common[0] == low:
        return _of_rows(a, mine[low], b, theirs[low], low, True, counts)
    end = high - 1 if k is None else common[k]
    if a.step is not None and b.step is not None:
        alike = _alike(a.recording, b.recording) and a.step.same(b.step)
        for first, last in _doubtful(a, common, k, low, end, alike and not _tails_differ(a, b, high), alike):
            found = _walk(a, b, first, last, report)
            if found is not None:
                # One function leads from one state to one state: at a stored step it was the machines that differ.
                exact = not alike or found[0] not in common
                return _of_trees(*found, exact, counts)
        if k is None and not _tails_differ(a, b, high):
            return None
    elif k is None and same_content:
        return None
    elif k is None:
        raise MissingStepError("diff", (a if a.step is None else b).recording.step.get("id"))
    if k is not None:
        return _of_rows(a, mine[end], b, theirs[end], end, False, counts)
    x, y = (Description(f"a state with digest {side.recording.tail_digest.hex()}") for side in (a, b))
    return Divergence(end, "", x, y, False, *counts)


def _doubtful(
    a: Side, common: Sequence[int], k: int | None, low: int, end: int, done: bool, alike: bool
) -> list[tuple[int, int]]:
    """Return the stretches, first and last step, in which two runs may differ; `done` if they end in the same state."""
    origin = a.recording.origin
    size = a.recording.block_size
    # Where both begin inside a block, equal states say nothing about the generators.
    aligned = [t for t in common if (t - origin.start + origin.grid) % size == 0]
    if not alike or not aligned or aligned[0] > end:
        return [(low, end)]
    doubtful = [(low, aligned[0])] if aligned[0] > low else []
    if k is None:
        return doubtful if done else [*doubtful, (aligned[-1], end)]
    return [*doubtful, (max([aligned[0], *common[:k]]), end)]


def _stored(recording: Recording) -> dict[int, int]:
    """Return the row of every stored state, by its step on the axis of the root."""
    grid, start = recording.grid, recording.origin.start
    rows = {start + grid.start(i * recording.stride): i for i in range(recording.checkpoints.n)}
    if recording.origin.lead:  # the first row is a state before step 0
        del rows[start]
    return rows


def _same(a: Recording, i: int, b: Recording, j: int) -> bool:
    x, y = a.checkpoints, b.checkpoints
    if i in x.pickles or j in y.pickles:
        return x.digest(i) == y.digest(j)  # without unpickling, where it is known
    return _rows_same((x.codec, y.codec), (x.row(i), y.row(j)))


def _name(side: Side) -> Description:
    return Description(f"a run of {side.recording.step.get('id', 'some step function')}")


def _require_layout(a: Side, b: Side) -> None:
    if a.recording.origin.ancestors or b.recording.origin.ancestors:  # a branch begins where states may have grown
        return
    checkpoints = b.recording.checkpoints
    x, y = a.recording.checkpoints.codec.layout, checkpoints.codec.layout
    if x is None or y is None or _without_modules(x.to_json()) == _without_modules(y.to_json()):
        return
    path, here, there = first_change(x, checkpoints.codec.tree(checkpoints.row(0)))
    advice = f"Its states have another layout: {path or 'the state'} is {there}, and {here} in this run"
    raise ArgumentError("other", _name(b), "a run of the same kind of states", advice)


def _without_modules(tree: Any) -> Any:
    """Return a layout's JSON with classes named as digests name them: a module may be ``__main__`` in one file.

    And keys without what says how their columns are called, which is another thing in files of version 1.
    """
    if isinstance(tree, dict) and list(tree) == ["str"]:
        return tree["str"]
    if isinstance(tree, dict):
        return {
            key: item.partition(":")[2] if key == "class" and isinstance(item, str) else _without_modules(item)
            for key, item in tree.items()
        }
    return [_without_modules(item) for item in tree] if isinstance(tree, list) else tree


def _alike(x: Recording, y: Recording) -> bool:
    """Whether the same step function makes the same of the state at a block's first step in both runs."""
    codecs = x.checkpoints.codec, y.checkpoints.codec
    users = [codec.user or (None, None) for codec in codecs]
    return (
        x.seed == y.seed
        and x.backend == y.backend
        and x.block_size == y.block_size
        and x.origin.grid - x.origin.start == y.origin.grid - y.origin.start
        and same(x.params, y.params)
        and all(one is other for one, other in zip(*users, strict=True))
        and (codecs[0].layout is None) == (codecs[1].layout is None)
    )


def _tails_differ(a: Side, b: Side, high: int) -> bool:
    ends = [side.recording.origin.start + side.recording.n_steps for side in (a, b)]
    return ends == [high, high] and a.recording.tail_digest != b.recording.tail_digest


def _walk(
    a: Side, b: Side, begin: int, end: int, report: Callable[[int, int], None] | None
) -> tuple[int, Any, Any] | None:
    """Return the first step of both at which they differ, with what is there, from `begin` up to `end`; or None."""
    assert a.step is not None and b.step is not None
    cursors = _cursor(a), _cursor(b)
    codecs = a.recording.checkpoints.codec, b.recording.checkpoints.codec
    starts = a.recording.origin.start, b.recording.origin.start
    turns = sorted({id(side.turn): side.turn for side in (a, b)}.items())  # one order, whoever asks
    for first in range(begin, end + 1, STRIDE):
        with ExitStack() as stack:
            for _, turn in turns:
                stack.enter_context(turn)
            for t in range(first, min(first + STRIDE, end + 1)):
                kept: list[Any] = []
                for cursor, start, codec in zip(cursors, starts, codecs, strict=True):
                    cursor.seek(t - start)
                    plain = type(cursor.state) in IMMUTABLE and codec.user is None
                    kept.append(cursor.state if plain else codec.encode(cursor.state))
                    if not plain:
                        cursor.park()  # one step function may keep one array for both
                x, y = kept
                if type(x) in IMMUTABLE and type(x) is type(y) and not isinstance(x, bytes):
                    if not unchanged(x, y):
                        return t, x, y
                elif not _rows_same(codecs, (x, y)):
                    return t, codecs[0].tree(x), codecs[1].tree(y)
        if report is not None:
            report(min(first + STRIDE, end + 1) - begin, cursors[0].block)
    return None


def _cursor(side: Side) -> Cursor:
    assert side.step is not None
    recording, step, trust = side.recording, side.step, side.trust
    return Cursor(recording, step, entered=lambda block: trust.enter(recording, step, block))


def _rows_same(codecs: tuple[Any, Any], rows: tuple[Row, Row]) -> bool:
    x, y = rows
    if isinstance(x, list) and isinstance(y, list) and len(x) == len(y):
        pairs = zip(x, y, strict=True)
        if all(p.dtype == q.dtype and p.shape == q.shape and p.tobytes() == q.tobytes() for p, q in pairs):
            return True
    return bool(codecs[0].digest(x) == codecs[1].digest(y))


def _of_rows(a: Side, i: int, b: Side, j: int, t: int, exact: bool, counts: tuple[int, int]) -> Divergence:
    x, y = a.recording.checkpoints, b.recording.checkpoints
    return _of_trees(t, x.codec.tree(x.row(i)), y.codec.tree(y.row(j)), exact, counts)


def _of_trees(t: int, x: Any, y: Any, exact: bool, counts: tuple[int, int]) -> Divergence:
    difference = first_difference(x, y)
    if difference is None:
        return Divergence(t, "", x, y, exact, *counts)
    return Divergence(t, difference.path, difference.expected, difference.got, exact, *counts)
