"""Work in pieces on any executor; the answers come in order, whichever worker is done first.

Of an executor only ``submit`` is used; it returns futures that `concurrent.futures.wait` can wait for. What goes wrong
in a piece comes back as a value, so that an exception out of ``result`` is always the executor's own.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, Protocol

from ..errors import show
from .transport import Outcome, Parcel, delivered, do

#: Seconds of work in a piece.
TASK_SECONDS = 0.25

#: Pieces under way at a time, at most: before the first of them is back, and later.
FIRST_WINDOW = 16
WINDOW = 256

#: Most bytes under way, once there are a few pieces.
WINDOW_BYTES = 1 << 28

#: Times in a row that an executor may be made anew without the earliest piece that was lost coming back; once, where
#: no worker has ever answered.
RENEWALS = 3

#: Seconds between two looks at futures that may have been cancelled: `wait` is not told when an executor that is shut
#: down cancels what is pending.
GLANCE = 1.0


#: Seconds without any answer, or as many times what a piece should take, after which the executor is asked whether it
#: still works; one that does then, and has not begun a piece it was given before, has lost it.
PATIENCE = 20.0
PATIENCE_PIECES = 20


class Work(Protocol):
    """What can be done in pieces: some answers for some items, one for each."""

    def common(self) -> Any:
        """Return what every piece needs."""

    def part(self, items: Sequence[Any]) -> Any:
        """Return what the answers for `items` need besides; it travels with the piece."""

    def start(self, common: Any, part: Any, items: Sequence[Any]) -> Iterator[Any]:
        """Yield an answer for each of `items`, and none after one that ends the work.

        A static method: it runs anywhere.
        """

    def here(self, items: Sequence[Any]) -> Iterator[Any]:
        """Yield an answer for each of `items`, in this process and thread."""

    def ends(self, answer: Any) -> bool:
        """Whether no answer after this one matters."""


class Lost(Exception):
    """The error for workers that were lost; `done` items are answered. `answered`: whether any worker ever did one."""

    def __init__(self, done: int, total: int, error: BaseException, answered: bool) -> None:
        self.done, self.total, self.error, self.answered = done, total, error, answered
        super().__init__(f"{done} of {total}")


class ShutDown(Exception):
    """The error for an executor that takes no work at all."""


class Unusable(Exception):
    """The error for an executor that is none: what it did with a piece it was given."""


class Workers:
    """An executor of the caller's, or one that is made here and made again when it is lost.

    Parameters
    ----------
    executor : concurrent.futures.Executor or the like
    clock : callable
        Gives seconds. It travels with the pieces.
    renew : callable, optional
        Gives an executor to go on with when this one is lost.
    shares_memory : bool
        Whether the workers are threads of this process, so that nothing has to be pickled.
    look_after : callable, optional
        Called with the executor when nothing has come back for `GLANCE` seconds.
    """

    def __init__(
        self,
        executor: Any,
        clock: Callable[[], float],
        renew: Callable[[], Any] | None = None,
        shares_memory: bool = False,
        look_after: Callable[[Any], None] | None = None,
    ) -> None:
        self.executor, self.clock, self.renew, self.shares_memory = executor, clock, renew, shares_memory
        self.look_after = look_after

    def answers(self, work: Work, items: Sequence[Any]) -> Iterator[Any]:
        """Yield the answer for each of `items`, in their order, up to one that ends the work.

        Raises
        ------
        Lost
            If the executor is lost, and cannot be made again.
        ShutDown
            If it takes no work to begin with.
        """
        if not items:
            return
        # The first one here: how long it takes says how many make a piece.
        began = self.clock()
        answer = next(iter(work.here(items[:1])))
        took = self.clock() - began
        yield answer
        if not work.ends(answer) and len(items) > 1:
            yield from _Dispatch(self, work, items, took).answers()


class _Piece:
    """Some of the items: from `lo` up to, not including, `hi`."""

    def __init__(self, lo: int, hi: int, load: Any, size: int) -> None:
        self.lo, self.hi, self.load, self.size = lo, hi, load, size


class _Dispatch:
    """Items that workers are at work on: which are out, back, lost."""

    def __init__(self, workers: Workers, work: Work, items: Sequence[Any], took: float) -> None:
        self.workers, self.work, self.items = workers, work, items
        self.at, self.stop = 1, len(items)  # the first is done
        self.spent, self.finished, self.returned = took, 1, 0
        self.under_way: dict[Any, _Piece] = {}
        self.lost: deque[_Piece] = deque()
        self.back: dict[int, tuple[_Piece, Any]] = {}
        self.bytes = 0
        self.failures = self.submitted = 0
        self.heard = workers.clock()
        self.asked: Any = None
        self.replied: float | None = None
        self.stuck = -1
        common = work.common()
        self.start = type(work).start
        self.parcel = None if workers.shares_memory else Parcel((self.start, common))
        self.common = common
        self.failed: BaseException | None = None

    def answers(self) -> Iterator[Any]:
        due = self.at
        try:
            while due < self.stop:
                if self.failed is None:
                    self._submit()
                self._collect()
                while due in self.back:
                    piece, outcome = self.back.pop(due)
                    self.bytes -= piece.size
                    for answer in delivered(outcome):
                        due += 1
                        yield answer
                        if self.work.ends(answer):
                            return
                    if due != piece.hi:  # nothing would ever be due again
                        raise AssertionError(f"{due - piece.lo} answers for {piece.hi - piece.lo} items")
                if self.failed is not None and not self._may_go_on():
                    self._give_up(due)
        finally:
            for future in self.under_way:
                with contextlib.suppress(Exception):  # an executor that cannot cancel does no harm
                    future.cancel()

    def _next(self) -> _Piece | None:
        if self.lost:
            return self.lost.popleft()
        if self.at >= self.stop:
            return None
        each = max(self.spent / max(self.finished, 1), 1e-9)
        most = 1 << 16 if self.returned else -(-len(self.items) // FIRST_WINDOW)  # the first item may be an easy one
        lo, hi = self.at, min(self.stop, self.at + max(1, min(most, int(TASK_SECONDS / each))))
        self.at = hi
        items = self.items[lo:hi]
        part = self.work.part(items)
        if self.parcel is None:
            return _Piece(lo, hi, (self.start, self.common, part, items), 0)
        load = self.parcel.load((part, items))
        return _Piece(lo, hi, load, load.size)

    def _submit(self) -> None:
        window = WINDOW if self.returned else FIRST_WINDOW
        while len(self.under_way) < window and (self.lost or len(self.back) < 4 * WINDOW):
            if self.bytes > WINDOW_BYTES and len(self.under_way) >= 4:
                return
            piece = self._next()
            if piece is None:
                return
            self.bytes += piece.size
            try:
                future = self.workers.executor.submit(do, piece.load, self.workers.clock, piece.lo)
            except Exception as error:
                self.bytes -= piece.size
                self.lost.appendleft(piece)
                self._renew(error)
                return
            self._require_new(future)
            self.under_way[future] = piece
            self.submitted += 1
            if len(self.under_way) == 1:
                self.heard = self.workers.clock()

    def _collect(self) -> None:
        if not self.under_way:
            return
        from concurrent.futures import FIRST_COMPLETED, wait  # with logging, which a run on one thread does without

        done, _ = wait(list(self.under_way), GLANCE, FIRST_COMPLETED)
        if done:
            self.heard, self.asked, self.replied = self.workers.clock(), None, None
        else:
            if self.workers.look_after is not None:
                self.workers.look_after(self.workers.executor)
            self._ask()
        broken: BaseException | None = None
        for future in done or [future for future in self.under_way if future.cancelled()]:
            error = self._take(future)
            broken = broken or error
        if broken is not None:
            self._renew(broken)

    def _require_new(self, future: Any) -> None:
        """Refuse what no answer can be waited for: `wait` would fail in words of its own, or for ever."""
        if not all(hasattr(future, name) for name in ("result", "done", "running", "cancelled", "_condition")):
            raise Unusable(f"its submit gave {show(future)}, which is no future")
        if future in self.under_way:
            raise Unusable("its submit gave the same future for two calls")

    def _ask(self) -> None:
        """Where nothing has come back for long, ask the executor; refuse one that answers and has lost a piece."""
        each = max(self.spent / max(self.finished, 1), TASK_SECONDS)
        now, patience = self.workers.clock(), max(PATIENCE, PATIENCE_PIECES * each)
        if now - self.heard < patience:
            return
        if self.asked is None:
            with contextlib.suppress(Exception):
                self.asked = self.workers.executor.submit(int)
        elif self.replied is None:
            self.replied = now if getattr(self.asked, "done", bool)() else None
        elif now - self.replied >= patience:  # whoever answered that has had the time to begin something else
            lost = sum(not future.running() and not future.done() for future in self.under_way)
            self.heard, self.asked, self.replied = now, None, None
            if lost:
                raise Unusable(f"{lost} of the futures that its submit gave never came back, and a later one did")

    def _take(self, future: Any) -> BaseException | None:
        """Take what has come of a piece; where it is lost, return what the executor says."""
        piece = self.under_way.pop(future)
        try:
            outcome = future.result()
        except (KeyboardInterrupt, GeneratorExit):  # of this thread, while it waited
            raise
        except BaseException as error:  # BrokenExecutor, CancelledError, a lost connection: whatever an executor has
            self._lose(piece)
            return error
        if not isinstance(outcome, Outcome):
            raise Unusable(f"a future of its submit gave {show(outcome)}, which is not what was to be called")
        if outcome.piece != piece.lo:
            raise Unusable("a future of its submit gave what another call returned")
        self.spent = outcome.seconds + (self.spent if self.returned else 0.0)
        self.finished = outcome.n + (self.finished if self.returned else 0)
        self.returned += 1
        self.back[piece.lo] = piece, outcome
        if outcome.n < piece.hi - piece.lo:  # nothing after it matters
            self.stop = min(self.stop, piece.hi)
            self.lost = deque(lost for lost in self.lost if lost.lo < self.stop)
        return None

    def _lose(self, piece: _Piece) -> None:
        self.bytes -= piece.size
        if piece.lo < self.stop:
            self.lost.append(piece)

    def _renew(self, error: BaseException) -> None:
        """Go on with a new executor, where one can be made; only what is lost is done again."""
        for future in list(self.under_way):
            if future.done():
                self._take(future)
            elif self.workers.renew is not None:
                with contextlib.suppress(Exception):
                    future.cancel()
                self._lose(self.under_way.pop(future))
        if not self.lost:  # and what was is not needed any more
            return
        self.lost = deque(sorted(self.lost, key=lambda piece: piece.lo))
        # An executor starts the earliest first: a piece that kills its worker ends up as that one.
        earliest = self.lost[0].lo
        self.failures = self.failures + 1 if earliest <= self.stuck else 1
        self.stuck = earliest
        if self.workers.renew is None or self.failures > (RENEWALS if self.returned else 1):
            self.failed = error
            return
        try:
            self.workers.executor = self.workers.renew()
        except Exception as refused:
            self.failed = refused

    def _may_go_on(self) -> bool:
        """Whether something may still come back from before what is lost."""
        earliest = min((piece.lo for piece in self.lost), default=self.stop)
        return any(piece.lo < earliest for piece in self.under_way.values())

    def _give_up(self, done: int) -> NoReturn:
        error = self.failed
        assert error is not None
        if not self.submitted:
            raise ShutDown from error
        raise Lost(done, len(self.items), error, self.returned > 0) from error
