from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["NativeLoop"]

class NativeLoop:
    def __init__(
        self,
        address: int,
        *,
        per_block: bool,
        form: Any,
        params: bytes,
        observed: int = 0,
        keep: object = None,
        explain: Callable[[int, Any, Any], Any] | None = None,
    ) -> None: ...
    def advance(self, state: Any, rng: Any, n: int, t: int) -> Any: ...
    def observe(
        self, state: Any, rng: Any, n_states: int, n_steps: int, t: int, out: npt.NDArray[np.float64]
    ) -> Any: ...
    def sweep(
        self, state: Any, blocks: Any, stream: int, block_size: int, n_blocks: int, out: npt.NDArray[np.uint8]
    ) -> tuple[int, Any]: ...
    def check(
        self,
        rows: npt.NDArray[np.uint8],
        blocks: Any,
        stream: int,
        block_size: int,
        reaches: npt.NDArray[np.int64],
        falses: npt.NDArray[np.int64],
    ) -> int: ...
    def trace(self, row: npt.NDArray[np.uint8], blocks: Any, stream: int, n: int, room: int) -> int: ...
