"""States that stop fitting the columns of state 0: the first one is told of as soon as it is kept."""

from __future__ import annotations

from collections.abc import Callable

from ..state.codec import Row, StateCodec


class Misfits:
    """What looks at states as they are kept, and tells of the first one that had to be pickled.

    Parameters
    ----------
    codec : StateCodec
    tell : callable
        ``tell(row, step)``, called once.

    Attributes
    ----------
    told : bool
        Whether there was one.
    """

    def __init__(self, codec: StateCodec, tell: Callable[[Row, int], None]) -> None:
        self._codec, self._tell, self.told = codec, tell, False

    def look(self, row: Row, step: int) -> None:
        """Look at what is kept of the state at `step`."""
        if type(row) is bytes and not self.told and self._codec.layout is not None:
            self.told = True
            self._tell(row, step)
