from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .kernel._draws import FastGenerator, FastRandom

__all__ = [
    "default_block_size",
    "block_integer",
    "BlockRng",
    "Values",
    "advance",
    "advance_observed",
    "MISSING",
    "Turn",
    "Snapshots",
    "Place",
    "copied_record",
    "rounds_twice",
]

def default_block_size(n_steps: int) -> int: ...
def block_integer(seed: int, key: tuple[int, ...]) -> int: ...

class Standing:
    block: int
    starts: int

class BlockRng:
    def __init__(self, seed: int, backend: str) -> None: ...
    @property
    def rng(self) -> FastRandom | FastGenerator: ...
    def start(self, j: int) -> FastRandom | FastGenerator: ...

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
    buffers: Sequence[Values | list[Any]],
) -> Any: ...

class Values:
    def __init__(self, capacity: int) -> None: ...
    def append(self, value: Any) -> None: ...
    def take(self) -> npt.NDArray[np.float64] | list[Any]: ...

class Turn:
    def __enter__(self) -> Any: ...
    def __exit__(self, *error: object) -> None: ...
    def is_mine(self) -> bool: ...

MISSING: object

def copied_record(value: Any, fields: tuple[str, ...]) -> Any: ...

class Snapshots:
    def __init__(
        self, blocks: BlockRng, n_blocks: int, per_block: int, every: int, copy: Callable[[Any], Any]
    ) -> None: ...
    @property
    def n(self) -> int: ...
    def __len__(self) -> int: ...

class Place:
    t: int
    block: int
    stop: int
    state: Any
    step_fn: Any
    blocks: BlockRng
    snapshots: Snapshots | None
    guard: tuple[tuple[Any, Any, Any], ...] | None
    def __init__(
        self,
        blocks: BlockRng,
        grid: Any,
        stride: int,
        restored: list[Any] | Callable[[int], Any],
        codec: Any,
        fields_of: Callable[[type], tuple[str, ...] | None],
        bind: Callable[[], Any],
        runs_itself: bool,
        none_allowed: bool,
        first: Callable[[Any], None] | None = None,
        turn: Turn | None = None,
    ) -> None: ...
    def enter(self, block: int, state: Any) -> None: ...
    def restore(self, block: int) -> None: ...
    def cross(self) -> None: ...
    def run(self, n: int) -> None: ...
    def observe(
        self, names: Sequence[str], metrics: Sequence[Any], values: Sequence[Any], n_states: int, n_steps: int
    ) -> None: ...
    def search(self, cond: Callable[[Any], Any], n_states: int, n_steps: int) -> int: ...
    def single(self, state: Any, rng: Any) -> Any: ...
    def seek(self, t: int) -> None: ...
    def park(self) -> None: ...
    def get(self, t: Any) -> Any: ...

def rounds_twice(a: float, b: float, c: float) -> bool: ...
