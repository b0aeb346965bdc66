"""The trial: the first steps of a recording, gone once with live states and once from what storing gives of them.

Three ways lead through the first steps. The *live* way is the user's own loop: it starts from the very object that is
state 0, copies nothing, and what it did to that object is undone at the end. The *restored* way starts from what a
checkpoint gives of state 0, as the recording does. The *later* way starts in the middle of the live one, from what a
checkpoint gives of the state there. All draw the same random numbers, so where they differ, something is lost by
storing, or lies outside the state.

What decides is what they do: the digests of their states, what the metrics give, whether they raise. Besides, a number
or text that is in the live state and another one in the restored state is a difference, also where no digest shows it
(a pickle of constructor arguments is the same whatever became of the object). What a restored object has not filled
yet, as a cache, is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..state.codec import Row
from ..state.live import MISSING
from ..steps.global_generators import Standing
from .bench import Bench
from .finding import Finding, TrialFailed
from .ways import STEPS, First, Later

#: Most steps of a trial at a later block.
LATER_STEPS = 32

#: Seconds that the live way of a later trial may take after its first step, and that all trials together may.
LATER, TOGETHER = 0.05, 1.0


class Trial:
    """The trials of one recording.

    Parameters
    ----------
    live : object
        State 0 itself, not a copy; let go of after the first trial.
    clock : callable
        Gives seconds.
    tell : callable
        ``tell(finding)`` is called with what is no error.
    accept : bool
        Whether what storing loses is only noted.
    wanted : bool
        Whether anything is tried; else only what was accepted is noted.
    every : bool
        Whether every later block is tried, and not those alone whose number is a power of two.

    Attributes
    ----------
    lost : list of str
        What is lost and was accepted.
    """

    def __init__(
        self,
        live: Any,
        clock: Callable[[], float],
        tell: Callable[[Finding], None],
        accept: bool = False,
        wanted: bool = True,
        every: bool = False,
    ) -> None:
        self.live, self.accept, self.lost, self._wanted, self.every = live, accept, list[str](), wanted, every
        self._clock, self._tell, self._left = clock, tell, TOGETHER

    def begin(self, bench: Bench, row: Row, n_steps: int) -> None:
        """Try the first steps of a recording of `n_steps` states, of the first of which `row` is kept.

        Raises
        ------
        TrialFailed
        """
        live, self.live = self.live, MISSING
        n = min(STEPS, n_steps - 1)
        if n < 1 or not self._wanted or live is MISSING:
            return
        began, generators = self._clock(), Standing()
        try:
            finding = First(bench, row, live, n, n_steps - 1, self._clock, generators).found()
        finally:
            generators.put_back()
            self._left -= self._clock() - began
        self._answer(finding)

    def again(self, make_bench: Callable[[], Bench], block: int, start: int, row: Row, live: Any, n_steps: int) -> None:
        """Try the first steps of a later block from `live`, the state that led there, which is worked on.

        Only where storing may lose something.

        Raises
        ------
        TrialFailed
        """
        n = min(LATER_STEPS, n_steps - 1 - start)
        if n < 1 or not self._wanted:
            return
        bench = make_bench()
        if not bench.may_lose(row):
            return
        began, left = self._clock(), TOGETHER if self.every else self._left
        least, seconds = (2, min(LATER, left / 4)) if left > 0 else (1, 0.0)
        try:
            finding = Later(bench, row, live, block, start, n, least, seconds, self._clock).found()
        finally:
            self._left -= self._clock() - began
        self._answer(finding)

    def hints(self) -> dict[str, str]:
        """Return what the file says of losses that were accepted."""
        return {"lossy": ", ".join(self.lost) or "accepted"} if self.accept else {}

    def _answer(self, finding: Finding | None) -> None:
        if finding is None:
            return
        if finding.kind == "unchanged":
            self._tell(finding)
        elif finding.kind == "lossy" and self.accept:
            paths = [finding.path or finding.cause or "something", *finding.others]
            self.lost += [path for path in paths if path not in self.lost]
        else:
            raise TrialFailed(finding)
