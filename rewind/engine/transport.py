"""Sending work to a worker and its answers back: by pickle, or by cloudpickle where that is not enough.

What lives in ``__main__`` goes by value wherever cloudpickle is installed: a worker has another ``__main__``, or an
older one, with a step of the same name that is not the one that was recorded.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from ..errors import TransferError
from ..state.frozen import frozen
from ..steps.importing import importing
from ..steps.raised import keep_where

_MAIN = b"__main__"


@frozen
class Load:
    """What one piece of work takes along: what all pieces share, what is its own, and how both were pickled.

    `names` is what has to be in ``__main__`` to read them, pickled; empty where that is nothing.
    """

    common: bytes
    own: bytes
    names: bytes
    by_value: bool

    @property
    def size(self) -> int:
        """Size in bytes."""
        return len(self.common) + len(self.own) + len(self.names)


@frozen
class Outcome:
    """What came of a piece: `n` answers, pickled where `way` says so, and what was raised after them, if anything."""

    answers: Any
    n: int
    error: Any
    seconds: float
    way: str
    piece: int = 0


class Parcel:
    """What all pieces of some work share, pickled once.

    Parameters
    ----------
    common : object

    Raises
    ------
    TransferError
        If it cannot be pickled.
    """

    def __init__(self, common: Any) -> None:
        self._common, self.by_value = _pickled(common)
        # A layout names its classes, and a worker looks them up when it makes the first state.
        self._named = {name: thing for name, thing in _named(self._common).items() if isinstance(thing, type)}
        self._names: dict[frozenset[str], bytes] = {frozenset(): b""}

    def load(self, own: Any) -> Load:
        """Return a piece: all that is shared, and `own`.

        Raises
        ------
        TransferError
            If it cannot be pickled.
        """
        try:
            dumped, by_value = pickle.dumps(own, 5), self.by_value
        except Exception:
            dumped, by_value = _pickled(own)
        # Checkpoints that are pickles name what they hold, and are none of cloudpickle's.
        named = {**self._named, **_named(dumped)}
        which = frozenset(named)
        if which not in self._names:
            self._names[which] = _cloudpickle().dumps(named, 5)
        return Load(self._common, dumped, self._names[which], by_value or bool(named))


def _pickled(value: Any) -> tuple[bytes, bool]:
    """Return an object as bytes, and whether what is in ``__main__`` is in them by value."""
    cloudpickle = _cloudpickle()
    try:
        dumped = pickle.dumps(value, 5)
    except Exception as error:
        if cloudpickle is None:
            raise TransferError(error, installed=False) from error
    else:
        if cloudpickle is None or _MAIN not in dumped:
            return dumped, False
    try:
        return cloudpickle.dumps(value, 5), True
    except Exception as error:
        raise TransferError(error, installed=True) from error


def can_travel(value: Any) -> bool:
    """Return whether an object can be sent to a worker that is another process."""
    try:
        _pickled(value)
    except TransferError:
        return False
    return True


def _cloudpickle() -> Any:
    try:
        import cloudpickle  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return None
    return cloudpickle


def _named(dumped: bytes) -> dict[str, Any]:
    """Return the classes and functions of ``__main__`` that a pickle names, as far as they can travel."""
    cloudpickle, found = _cloudpickle(), {}
    if cloudpickle is None or _MAIN not in dumped:
        return {}
    for name, thing in list(vars(sys.modules["__main__"]).items()):
        if isinstance(thing, (type, FunctionType)) and thing.__module__ == "__main__" and name.encode() in dumped:
            with contextlib.suppress(Exception):
                cloudpickle.dumps(thing, 5)
                found[name] = thing
    return found


def _dumps(value: Any, by_value: bool) -> bytes:
    if by_value:
        dumped: bytes = _cloudpickle().dumps(value, 5)
        return dumped
    return pickle.dumps(value, 5)


_here = threading.local()


def _shared(load: Load) -> Any:
    """Return what all pieces share, unpickled once by each thread: a step that was compiled stays compiled."""
    kept: dict[bytes, Any] = _here.__dict__.setdefault("kept", {})
    if load.common not in kept:
        while len(kept) >= 4:
            del kept[next(iter(kept))]
        kept[load.common] = pickle.loads(load.common)
    return kept[load.common]


def _unpack(load: Load) -> tuple[Any, Any]:
    if load.names:
        _define(pickle.loads(load.names))
    return _shared(load), pickle.loads(load.own)


def _define(names: dict[str, Any]) -> None:
    """Put classes and functions into ``__main__``, in the place of older ones of these names.

    In the process they come from they are there already: cloudpickle gives back the very class, and of a function
    another with the same code.
    """
    main = sys.modules["__main__"]
    for name, thing in names.items():
        there = getattr(main, name, None)
        if isinstance(thing, type) or getattr(there, "__code__", None) != thing.__code__:
            setattr(main, name, thing)


def do(load: Any, clock: Callable[[], float], piece: int = 0) -> Outcome:
    """Do one piece of work, wherever this is. Whatever it raises is in the outcome, which says which piece it was."""
    began = clock()
    if not isinstance(load, Load):
        start, common, part, items = load
        return _done(start(common, part, items), "as it is", clock, began, piece)
    try:
        with importing():  # a module of the user's that comes along, for the functions in it
            (start, common), (part, items) = _unpack(load)
    except (Exception, SystemExit) as error:
        installed = load.by_value or _cloudpickle() is not None
        return Outcome((), 0, TransferError(error, arrived=True, installed=installed), 0.0, "as it is", piece)
    return _done(start(common, part, items), "by value" if load.by_value else "pickled", clock, began, piece)


def _done(answers: Iterator[Any], way: str, clock: Callable[[], float], began: float, piece: int) -> Outcome:
    found: list[Any] = []
    raised: BaseException | None = None
    try:
        for answer in answers:
            found.append(answer)
    except BaseException as error:  # a SystemExit would end the worker, or the program that waits for it
        raised = error
        keep_where(error)
    if way == "as it is":
        return Outcome(found, len(found), raised, clock() - began, way, piece)
    try:
        packed = _dumps(found, way == "by value")
    except Exception as unsent:
        packed, found, raised = _dumps([], False), [], TransferError(unsent, answer=True)
    trouble = None if raised is None else _portable(raised, way == "by value")
    return Outcome(packed, len(found), trouble, clock() - began, way, piece)


def _portable(error: BaseException, by_value: bool) -> bytes:
    """Return an exception and its cause, and where it was raised, pickled; what cannot be is told by its text."""
    import traceback

    where = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    pair = [error, error.__cause__]
    for i, one in enumerate(pair):
        try:
            pickle.loads(_dumps(one, by_value))
        except Exception:
            pair[i] = RuntimeError(f"{type(one).__name__}: {one}")
    return _dumps((*pair, where), by_value)


def delivered(outcome: Outcome) -> Iterator[Any]:
    """Yield the answers of a piece, and raise what was raised after them, with where that was."""
    answers, trouble = outcome.answers, outcome.error
    if outcome.way != "as it is":
        try:
            answers, trouble = pickle.loads(answers), trouble and pickle.loads(trouble)
        except Exception as unread:
            raise TransferError(unread, answer=True) from unread
    yield from answers
    if isinstance(trouble, tuple):
        error, cause, where = trouble
        if hasattr(error, "add_note"):  # Python 3.11
            error.add_note(f"It was raised by a worker:\n{where}")
        raise error from cause
    if trouble is not None:
        raise trouble
