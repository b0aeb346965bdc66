"""Programs for ``python -c``."""

from __future__ import annotations


def without_source(program: str) -> str:
    """Return a program that does the same, the source of whose functions nobody finds.

    From Python 3.13 on `inspect` finds that of what is in a ``-c`` program, so what is recorded there is not taken up
    with another function without a warning.
    """
    return f"exec(compile({program!r}, '<program>', 'exec'))"
