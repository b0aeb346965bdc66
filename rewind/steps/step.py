"""Step functions: the callable a block is run with."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .params import fresh, may_change, same

StepCallable = Callable[..., Any]


class Step:
    """A step function with its parameters.

    Parameters
    ----------
    function : callable
        ``function(state, rng, **params) -> state``, pure or in place.
    params : mapping of str to what `params_of` gives
    """

    #: Whether what `bound` gives runs many steps by itself, by ``advance(state, rng, n, t)``, instead of being called.
    runs_itself = False

    def __init__(self, function: StepCallable, params: Mapping[str, Any]) -> None:
        self.function, self.params = function, params

    def same(self, other: Step) -> bool:
        """Whether both make the same calls: 1, 1.0 and True are three parameters."""
        return self.function is other.function and same(self.params, other.params)

    def require_branch(self, parent: Step, before: Any, now: Any, state: Any) -> None:
        """Refuse a branch whose first `state`, kept by the codec `now`, this step takes for what `before` kept."""

    def bound(self, codec: Any) -> Callable[[], Any]:
        """Return ``bind``, which gives ``step(state, rng)`` for one block of states that `codec` keeps.

        Lists, dicts and arrays among the parameters are new in every block: a step that changes one changes nothing
        else, in the recording and in every replay alike.
        """
        if not may_change(self.params):
            call = functools.partial(self.function, **self.params) if self.params else self.function
            return lambda: call
        return self._fresh

    def _fresh(self) -> StepCallable:
        return functools.partial(self.function, **fresh(dict(self.params)))

    def form(self, codec: Any) -> Any:
        """Return how states that `codec` keeps lie in memory; None for a Python step, which sees objects."""
        return None

    def observer(self, codec: Any, names: Sequence[str], metrics: Sequence[Any], example: Any) -> Any:
        """Return what evaluates `metrics` while it runs, by ``observe(state, rng, n_states, n_steps, t, out)``.

        Its ``shapes`` are theirs (without it, there is one metric: the state itself). None where they are called, step
        by step. `example` is a state to try them on.
        """
        return None
