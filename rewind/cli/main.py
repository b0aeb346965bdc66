"""The command ``rewind``: argv in, exit code out."""

from __future__ import annotations

from .exit_codes import CANNOT_RUN
from .late import late
from .parser import parser
from .streams import streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Default ``sys.argv[1:]``.
    """
    with streams():
        try:
            args = parser().parse_args(argv)
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else CANNOT_RUN
        code: int = late(".call:call")(args)
        return code
