import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "default_block_size",
    "block_integer",
    "BlockRng",
    "advance",
    "advance_observed",
    "fold",
    "rounds_twice",
]

def default_block_size(n_steps: int) -> int: ...
def block_integer(seed: int, key: tuple[int, ...]) -> int: ...

class BlockRng:
    def __init__(self, seed: int, backend: str) -> None: ...
    @property
    def rng(self) -> random.Random | np.random.Generator: ...
    def start(self, j: int) -> random.Random | np.random.Generator: ...

def advance(step_fn: Callable[[Any, Any], Any], state: Any, rng: Any, n: int, t: int, none_allowed: bool) -> Any: ...
def advance_observed(
    step_fn: Callable[[Any, Any], Any],
    state: Any,
    rng: Any,
    n_states: int,
    n_steps: int,
    t: int,
    none_allowed: bool,
    names: Sequence[str],
    metrics: Sequence[Callable[[Any], Any] | None],
    buffers: Sequence[list[Any]],
) -> Any: ...
def fold(values: npt.NDArray[np.float64]) -> tuple[int, int, int, int, int, int, int, float, int, float, int]: ...
def rounds_twice(a: float, b: float, c: float) -> bool: ...
