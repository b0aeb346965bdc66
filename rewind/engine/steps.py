"""Step functions: the callable a block is run with."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

StepCallable = Callable[..., Any]


class Step:
    """A step function with its parameters.

    Parameters
    ----------
    function : callable
        ``function(state, rng, **params) -> state``, pure or in place.
    params : mapping of str to a JSON scalar or a list of them
    """

    def __init__(self, function: StepCallable, params: Mapping[str, Any]) -> None:
        self.function, self.params = function, params

    def same(self, other: Step) -> bool:
        """Whether both make the same calls: 1, 1.0 and True are three parameters."""
        return self.function is other.function and repr(dict(self.params)) == repr(dict(other.params))

    def for_block(self) -> StepCallable:
        """Return ``step(state, rng)`` for one block.

        Lists among the parameters are new in every block: a step that changes one changes nothing else, in the
        recording and in every replay alike.
        """
        if not self.params:
            return self.function
        fresh = {name: list(value) if isinstance(value, list) else value for name, value in self.params.items()}
        return functools.partial(self.function, **fresh)
