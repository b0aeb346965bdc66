"""`Histogram`: how many values fall between which edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ...errors import ArgumentError, ArgumentTypeError
from ...tracker.media import Keep
from ...tracker.store.values import array_of
from .base import Value

_MOST = 512


class Histogram(Value):
    """A histogram; it stands in the row itself.

    Parameters
    ----------
    sequence : array-like, optional
        The values. Not finite ones are left out.
    np_histogram : (counts, edges), optional
        What ``numpy.histogram`` gives, instead.
    num_bins : int
        At most 512.

    Attributes
    ----------
    histogram, bins : list
        The counts, and the edges between them: one more.
    """

    several_type: ClassVar[tuple[str, str]] = ("histograms", "histograms")

    def __init__(
        self, sequence: Any = None, np_histogram: tuple[Sequence[Any], Sequence[Any]] | None = None, num_bins: int = 64
    ) -> None:
        if (sequence is None) == (np_histogram is None):
            raise ArgumentError("np_histogram", np_histogram, "either that or a sequence")
        if np_histogram is not None:
            if len(np_histogram) != 2:
                raise ArgumentError("np_histogram", np_histogram, "what numpy.histogram gives: counts and edges")
            counts, edges = (array_of(part) for part in np_histogram)
            if counts.ndim != 1 or edges.shape != (len(counts) + 1,):
                raise ArgumentError("np_histogram", np_histogram, "counts, and one edge more than these")
        else:
            try:
                values = array_of(sequence).astype(np.float64).ravel()
            except Exception:
                raise ArgumentTypeError("sequence", sequence, "numbers") from None
            counts, edges = np.histogram(values[np.isfinite(values)], bins=num_bins)
        if len(counts) > _MOST:
            raise ArgumentError("num_bins", len(counts), f"at most {_MOST} bins")
        self.histogram, self.bins = counts.tolist(), edges.tolist()

    def facts(self, key: str, keep: Keep) -> dict[str, Any]:
        """Return the object that the row gets."""
        return {"_type": "histogram", "values": self.histogram, "bins": self.bins}
