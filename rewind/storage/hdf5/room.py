"""How much memory the arrays of one file may take."""

from __future__ import annotations

from ..memory import ALWAYS, available_memory
from .messages import Malformed


class Room:
    """The memory that a file takes, array by array, before any of it is taken.

    Parameters
    ----------
    max_bytes : int, optional
        The most that the decoded arrays may take together. Default: what is available here, for them and for what it
        takes to decode them.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        self._limit = max_bytes
        self._arrays = self._besides = 0
        self._available = ALWAYS  # it is asked for when that is not enough

    def take(self, n_bytes: int) -> None:
        """Count an array.

        Raises
        ------
        Malformed
            If it does not fit any more.
        """
        self._arrays += n_bytes
        self._require()

    def work(self, n_bytes: int) -> None:
        """Count what is in memory for a while, beside all arrays, where only the largest such need counts."""
        self._besides = max(self._besides, n_bytes)
        self._require()

    def _require(self) -> None:
        if self._limit is not None:
            if self._arrays > self._limit:
                raise Malformed(f"its arrays take more than {self._limit:,} bytes when decoded, which is max_bytes=")
            return
        need = self._arrays + self._besides
        if need > self._available:
            self._available = available_memory()
        if need > self._available:
            raise Malformed(
                f"its arrays take {self._arrays:,} bytes or more when decoded, and {self._available:,} bytes of memory "
                "are available here; max_bytes= sets another limit"
            )
