"""Work in pieces, over any executor, with the results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

#: Pieces that are under way at a time, at most.
WINDOW = 64


def in_order(executor: Any, function: Callable[..., T], pieces: Iterable[tuple[Any, ...]]) -> Iterator[T]:
    """Yield ``function(*piece)`` for each piece, in their order, however they are done.

    Parameters
    ----------
    executor : concurrent.futures.Executor, or None
        Only ``submit`` and its futures' ``result`` and ``cancel`` are used. None: here and now.
    function, pieces
        What is called, and with which arguments.
    """
    if executor is None:
        yield from (function(*piece) for piece in pieces)
        return
    under_way: deque[Any] = deque()
    try:
        for piece in pieces:
            under_way.append(executor.submit(function, *piece))
            if len(under_way) >= WINDOW:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        for future in under_way:
            future.cancel()
