"""How much JSON from a file may hold, looked at before it is parsed: two bytes can become an object of seventy."""

from __future__ import annotations

import re

#: Values in one text that are always fine: of a row, a config or a summary. In memory they are less than 100 MB.
VALUES = 1_000_000
#: Names of metrics in one file that are always fine.
NAMES = 250_000
# A text, also one without an end: where it begins it matches, or each quote in it would be tried for another beginning.
_TEXT = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)


def n_values(text: str) -> int:
    """Return how many values JSON text has at most, names included; nothing is parsed."""
    n = _marks(text)
    return n if n <= VALUES else _marks(_TEXT.sub('"', text))  # of a text that has commas, as a rule


def _marks(text: str) -> int:
    return 1 + sum(map(text.count, ",[{:"))


def room(packed: int) -> int:
    """Return how many values one text of a member may have that takes so many bytes in the file.

    What `export` stores without deflating it has all the room it needs, since a value takes two bytes; and so it does
    with all that has more than `VALUES`.
    """
    return VALUES + packed // 2
