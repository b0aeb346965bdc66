"""JSON in files: written plainly; read without what Python lets by, since anybody may have written them.

Python's ``json`` is loaded when it is first used: a recording in memory does without it.
"""

from __future__ import annotations

from typing import Any


class NotStrict(ValueError):
    """The error for text that Python's parser takes for JSON, and that is none."""


def loads(text: str | bytes, what: str = "it") -> Any:
    """Return the value that JSON text stands for.

    Parameters
    ----------
    text : str or bytes
    what : str
        What to call it in messages.

    Raises
    ------
    NotStrict
        If it has NaN, Infinity or a key twice, or is nested too deep for Python's parser.
    ValueError
        If it is not JSON at all.
    """
    import json

    def refuse(name: str) -> None:
        raise NotStrict(f"{what} holds {name}, which is not JSON")

    def without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        built = dict(pairs)
        if len(built) != len(pairs):
            raise NotStrict(f"{what} holds a key twice")
        return built

    try:
        return json.loads(text, parse_constant=refuse, object_pairs_hook=without_twins)
    except RecursionError:
        raise NotStrict(f"{what} is nested too deep") from None


def dumps(value: Any, **options: Any) -> str:
    """Return the JSON text of a value, without spaces; `options` are those of ``json.dumps``."""
    import json

    return json.dumps(value, **{"separators": (",", ":"), **options})
