"""`Summary`: the summary of a run that is logged to, as a mapping."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import ArgumentError, ArgumentTypeError, LogValueError
from ..state.columns import is_text
from .store.values import Unkept, kept_value


class Summary(Mapping[str, Any]):
    """A summary: a mapping, computed over exactly the rows that are closed; ``summary[key] = value`` puts one in.

    What is put in by hand holds until the key is logged in a later row.
    """

    def __init__(
        self,
        now: Callable[[], dict[str, Any]],
        assign: Callable[[str, Any], None],
        media: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> None:
        self._now, self._assign, self._media = now, assign, media

    def __getitem__(self, key: str) -> Any:
        return self._now()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise ArgumentTypeError("a key of summary", key, "a str")
        if not is_text(key):
            raise ArgumentError("a key of summary", key, "text without half a surrogate pair")
        try:
            kept = kept_value(value)
        except Unkept:
            problems = {key: value}
            for name, media in self._media(problems).items():
                self._assign(name, media)
            if problems:
                raise LogValueError(problems) from None
            return
        self._assign(key, kept)

    def update(self, values: Mapping[str, Any]) -> None:
        """Put in all values of a dict."""
        for key, value in values.items():
            self[key] = value

    def as_dict(self) -> dict[str, Any]:
        """Return a copy as a plain dict."""
        return self._now()

    def keys(self) -> Any:
        """Return the keys there are now."""
        return self._now().keys()

    def values(self) -> Any:
        """Return the values there are now."""
        return self._now().values()

    def items(self) -> Any:
        """Return keys and values as they are now."""
        return self._now().items()

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or `default`."""
        return self._now().get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self._now()

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())

    def __eq__(self, other: object) -> bool:
        return self._now() == (dict(other) if isinstance(other, Mapping) else other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._now())
