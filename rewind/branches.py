"""`Branches`: what a metric gave in many futures of one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np

from .checks import integer
from .engine.columns import Array
from .errors import StepRangeError
from .handle import Handle

S = TypeVar("S")


class Branches(Generic[S]):
    """What a metric gave in many futures of one moment; `Run.branches` makes it. A sequence of arrays, one a fork.

    Attributes
    ----------
    values : ndarray of float64, shape (n, n_kept, *shape of the metric)
        Row `i` is what it gave in fork `i`.
    seeds : list of int
        Master seed of each fork.
    steps : range
        The steps it was kept at, on the axis of the run that was forked.
    """

    def __init__(self, values: Array, seeds: list[int], steps: range, again: Callable[[int], Handle[S]]) -> None:
        self.values, self.seeds, self.steps, self._again = values, seeds, steps, again

    def run(self, i: int) -> Any:
        """Return fork `i` as a run of its own: recorded again, to the last bit. ``n_steps`` steps.

        Raises
        ------
        StepRangeError
            If there is no such fork.
        """
        return self._again(self._fork(i))

    def _fork(self, i: int) -> int:
        k = integer("i", i)
        if not -len(self.seeds) <= k < len(self.seeds):
            raise StepRangeError(k, len(self.seeds), "fork")
        return k % len(self.seeds)

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, i: int) -> Array:
        row: Array = self.values[self._fork(i)]
        return row

    def __iter__(self) -> Iterator[Array]:
        return iter(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.values, dtype, copy=copy)

    def __repr__(self) -> str:
        return f"<Branches: {len(self)} forks from step {self.steps.start:,}, {len(self.steps):,} values each>"
