"""The config of a run: JSON whose values do not change by accident."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, ConfigError

_DEPTH = 64


class Config(MutableMapping[str, Any]):
    """The config of a tracked run: a mapping whose keys are attributes, too; a value that is there does not change.

    Values are JSON: numbers that are finite, text, True, False, None, lists and dicts of them. Tuples and sets become
    lists, numpy's scalars and arrays what they hold.

    Notes
    -----
    ``config["x"] = 1`` and ``config.x = 1`` add a value. Another value for the same key is a `ConfigError`, but by
    ``config.update({"x": 2}, allow_val_change=True)``.
    """

    _values: dict[str, Any]
    _changed: Callable[[dict[str, Any]], None]
    _turn: Any

    def __init__(self, values: Mapping[str, Any], changed: Callable[[dict[str, Any]], None], turn: Any) -> None:
        object.__setattr__(self, "_values", dict(values))
        object.__setattr__(self, "_changed", changed)
        object.__setattr__(self, "_turn", turn)  # who has it changes the config

    def update(self, values: Any = None, /, allow_val_change: bool = False, **more: Any) -> None:
        """Add values of a dict, or of what argparse gives.

        Parameters
        ----------
        values : mapping or argparse.Namespace
        allow_val_change : bool
            Whether values that are there already may change.

        Raises
        ------
        ConfigError
            If one would change; then nothing is added.
        ArgumentTypeError, ArgumentError
            If one is not JSON; names it.
        """
        self._enter({**plain_dict(values), **plain_dict(more)}, allow_val_change)

    def setdefaults(self, values: Any) -> None:
        """Add the values of keys that are not there."""
        new = plain_dict(values)
        with self._turn:
            self._enter({key: value for key, value in new.items() if key not in self._values}, False)

    def as_dict(self) -> dict[str, Any]:
        """Return a copy as a plain dict."""
        return {key: _copied(value) for key, value in self._values.items()}

    def _enter(self, new: dict[str, Any], allow: bool) -> None:
        with self._turn:
            old = self._values
            if not allow:
                for key, value in new.items():
                    if key in old and not _same(old[key], value):
                        raise ConfigError(key, old[key], value)
                new = {key: value for key, value in new.items() if key not in old}
            merged = {**old, **new}
            self._changed(merged)
            object.__setattr__(self, "_values", merged)

    def __getitem__(self, key: str) -> Any:
        return _copied(self._values[key])

    def __setitem__(self, key: str, value: Any) -> None:
        self._enter(plain_dict({key: value}), False)

    def __delitem__(self, key: str) -> None:
        if key not in self._values:
            raise KeyError(key)
        raise ConfigError.gone(key, self._values[key])

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self.as_dict(),)  # a copy belongs to no run

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError:
            raise AttributeError(f"config has no {key!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)


def plain_dict(values: Any, name: str = "config") -> dict[str, Any]:
    """Return the values of a config, or of what `name` says it is, as JSON has them.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        Naming the key whose value is not JSON.
    """
    if values is None:
        return {}
    argparse = sys.modules.get("argparse")  # who has a Namespace has imported it
    if argparse is not None and isinstance(values, argparse.Namespace):
        values = vars(values)
    if not isinstance(values, Mapping):
        raise ArgumentTypeError(name, values, "a dict, or what argparse gives")
    plain: dict[str, Any] = {}
    for key, value in values.items():
        if not isinstance(key, str):
            raise ArgumentTypeError(f"a key of {name}", key, "a str")
        plain[str(key)] = _plain(f"{name}[{key!r}]", value, 0)
    return plain


def _plain(name: str, value: Any, depth: int) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value.bit_length() > 10_000:
            raise ArgumentError(name, value, "an integer of at most 3,000 digits")
        return int(value)
    if isinstance(value, float):
        if value - value != 0.0:
            raise ArgumentError(name, value, "a finite number: JSON has no NaN and no infinity", "Give it as text")
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)  # of an Enum its value
    if depth < _DEPTH:
        if isinstance(value, (list, tuple)):
            return [_plain(f"{name}[{i}]", item, depth + 1) for i, item in enumerate(value)]
        if isinstance(value, (set, frozenset)):
            items = [_plain(f"an item of {name}", item, depth + 1) for item in value]
            return sorted(
                items,
                key=lambda item: (
                    type(item).__name__,
                    item if isinstance(item, (int, float, str)) else json.dumps(item),
                ),
            )
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str):
                    raise ArgumentTypeError(f"a key of {name}", key, "a str")
            return {str(key): _plain(f"{name}[{key!r}]", item, depth + 1) for key, item in value.items()}
    raise ArgumentTypeError(name, value, "JSON: a number, text, True, False, None, or a list or dict of them")


def _same(a: Any, b: Any) -> bool:
    """Whether two values are the same: 1 is 1.0, and True is neither."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value)) if isinstance(value, (list, dict)) else value
