"""Whose line a warning names: that of the user's which led here."""

from __future__ import annotations

import sys
from types import FrameType

_PACKAGE = __name__.partition(".")[0]


def user_level() -> int:
    """Return the ``stacklevel``, for who calls this and warns, of the first frame that is not of this package."""
    frame: FrameType = sys._getframe(1)
    level = 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame, level = frame.f_back, level + 1
    return level
