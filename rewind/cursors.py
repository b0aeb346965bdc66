"""A cursor: one step of a run at a time, forward and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from .checks import integer
from .engine.replay import Cursor as Place
from .errors import StepRangeError

S = TypeVar("S")


class Cursor(Generic[S]):
    """A step of a run to walk about from, as in a debugger; `Run.at` gives one.

    Attributes
    ----------
    t : int
        The step it stands at.
    """

    def __init__(self, run: Any, t: int) -> None:
        self._run, self.t = run, t
        self._place: Place | None = None

    @property
    def state(self) -> S:
        """The state at this step: a private copy."""
        return self._run.get(self.t)  # type: ignore[no-any-return]

    @property
    def rng_state(self) -> Any:
        """State of the generator at this step, before it draws the way to the next.

        Of a `numpy.random.Generator` the dict ``bit_generator.state``, of a `random.Random` what ``getstate()`` gives:
        put it into one of your own, and ``step_fn(state, rng)`` is the next state. A replay of up to a block.
        """
        reader = self._run._reader
        with reader.turn:
            if self._place is None:
                self._place = reader.cursor("rng_state")
            self._place.seek(self.t)
            rng = self._place.rng
            found: Any = rng.bit_generator.state if self._run.backend == "numpy" else rng.getstate()
            self._place.park()
        return found

    def step(self, n: int = 1) -> Cursor[S]:
        """Go `n` steps forward, and return the cursor.

        Raises
        ------
        StepRangeError
            If that is outside the run; the cursor stays.
        """
        return self._go(self.t + integer("n", n, 0))

    def back(self, n: int = 1) -> Cursor[S]:
        """Go `n` steps back, and return the cursor. Within a block the first step back costs a block, others nothing.

        Raises
        ------
        StepRangeError
            If that is outside the run; the cursor stays.
        """
        return self._go(self.t - integer("n", n, 0))

    def until(self, cond: Callable[[Any], Any] | str, *, back: bool = False) -> int | None:
        """Go forward to the next step at which `cond` holds, and return it; None, and no step taken, if there is none.

        Parameters
        ----------
        cond : callable or str
            As for `Run.first`.
        back : bool
            Backward instead: to the last step before this one.
        """
        run, found = self._run, None
        run._test(cond, self.t, False)  # also where there is no step left to ask it of
        if back:
            found = run.last(cond, before=self.t) if self.t > 0 else None
        elif self.t + 1 < run.n_steps:
            found = run.first(cond, self.t + 1)
        if found is not None:
            self.t = found
        return found

    def _go(self, t: int) -> Cursor[S]:
        if not 0 <= t < self._run.n_steps:
            raise StepRangeError(t, self._run.n_steps)
        self.t = t
        return self

    def __repr__(self) -> str:
        return f"<Cursor: step {self.t:,} of 0 to {self._run.n_steps - 1:,}>"
