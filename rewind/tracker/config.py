"""The config of a run: values that do not change by accident, whatever a program gives for them."""

from __future__ import annotations

import enum
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, ConfigError, said
from .store.values import array_of, has_array, kept_value

_DEPTH = 64


class Config(MutableMapping[str, Any]):
    """The config of a tracked run: a mapping whose keys are attributes, too; a value that is there does not change.

    Values are numbers, text, True, False, None, lists and dicts of them. Tuples and sets become lists; arrays and
    tensors what they hold; dataclasses, namespaces and the like dicts; a date, a path, an id its text; an Enum its
    value; a function, a class its name; keys text; and anything else its text.

    Notes
    -----
    ``config["x"] = 1`` and ``config.x = 1`` add a value. Another value for the same key is a `ConfigError`, but by
    ``config.update({"x": 2}, allow_val_change=True)``.
    """

    _values: dict[str, Any]
    _changed: Callable[[dict[str, Any]], None]
    _turn: Any
    _locked: frozenset[str] = frozenset()

    def __init__(self, values: Mapping[str, Any], changed: Callable[[dict[str, Any]], None], turn: Any) -> None:
        object.__setattr__(self, "_values", dict(values))
        object.__setattr__(self, "_changed", changed)
        object.__setattr__(self, "_turn", turn)  # who has it changes the config

    def update(self, values: Any = None, /, allow_val_change: bool = False, **more: Any) -> None:
        """Add values of a dict, or of what argparse, a dataclass and the like give.

        Parameters
        ----------
        values : mapping or argparse.Namespace
        allow_val_change : bool
            Whether values that are there already may change.

        Raises
        ------
        ConfigError
            If one would change; then nothing is added.
        ArgumentTypeError
            If it has no fields.
        """
        self._enter({**plain_dict(values), **plain_dict(more)}, allow_val_change)

    def setdefaults(self, values: Any) -> None:
        """Add the values of keys that are not there."""
        new = plain_dict(values)
        with self._turn:
            self._enter({key: value for key, value in new.items() if key not in self._values}, False)

    def lock(self, keys: Iterable[str]) -> None:
        """Let these keys have the values that they have from now on, whatever a call says: those of a trial."""
        object.__setattr__(self, "_locked", frozenset(keys))

    def as_dict(self) -> dict[str, Any]:
        """Return a copy as a plain dict."""
        return {key: _copied(value) for key, value in self._values.items()}

    def _enter(self, new: dict[str, Any], allow: bool) -> None:
        with self._turn:
            old = self._values
            if self._locked:
                new = {key: value for key, value in new.items() if key not in self._locked}
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
    """Return the values of a config, or of what `name` says it is: numbers, text, True, False, None, lists and dicts.

    Nothing in it is refused: what is no such value is kept by its name, or as text.

    Raises
    ------
    ArgumentTypeError
        If it is neither a mapping nor an object with fields, such as what argparse or a dataclass gives.
    """
    if values is None:
        return {}
    fields = _fields(values)
    if fields is None:
        fields = getattr(values, "__dict__", None) if not isinstance(values, type) and not callable(values) else None
    if not isinstance(fields, Mapping):
        raise ArgumentTypeError(name, values, "a dict, or what argparse or a dataclass gives")
    return _plain_items(fields, 0, (id(values),))


def _fields(value: Any) -> Mapping[Any, Any] | None:
    """Return what is in a mapping, or in an object that says what its fields are; None for anything else."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, type):
        return None
    argparse = sys.modules.get("argparse")  # who has a Namespace has imported it
    if argparse is not None and isinstance(value, argparse.Namespace):
        return dict(vars(value))
    if hasattr(type(value), "__dataclass_fields__"):
        return {field: getattr(value, field, None) for field in type(value).__dataclass_fields__}
    for method in ("to_dict", "model_dump", "flag_values_dict", "_asdict"):  # transformers, pydantic, absl, namedtuple
        try:
            found = getattr(value, method)() if callable(getattr(type(value), method, None)) else None
        except Exception:  # whatever it asks for
            continue
        if isinstance(found, Mapping):
            return found
    return None


def _plain_items(fields: Mapping[Any, Any], depth: int, above: tuple[int, ...]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in fields.items():
        name = _key_text(key)
        if name in plain:  # 1 and "1"
            name = f"{name} ({type(key).__name__})"
        plain[name] = _plain(value, depth + 1, above)
    return plain


def _key_text(key: Any) -> str:
    if isinstance(key, str):
        return str.__str__(key)
    if isinstance(key, tuple):
        return ",".join(map(_key_text, key))
    return str(_scalar(key))


def _plain(value: Any, depth: int, above: tuple[int, ...]) -> Any:
    if isinstance(value, (np.generic, np.ndarray)) or (not isinstance(value, (str, bytes)) and has_array(value)):
        try:
            value = array_of(value).tolist()
        except Exception:  # of a library that is in no state to give it
            return _text(value)
    if value is None or isinstance(value, (bool, int, float, str, bytes, complex)):
        return _scalar(value)
    inside = (*above, id(value))
    if depth < _DEPTH and id(value) not in above:
        if isinstance(value, tuple) and hasattr(value, "_asdict"):
            return [_plain(item, depth + 1, inside) for item in value]
        fields = _fields(value)
        if fields is not None:
            return _plain_items(fields, depth, inside)
        if isinstance(value, (list, tuple, range)) or (isinstance(value, Sequence) and not _is_bytes(value)):
            return [_plain(item, depth + 1, inside) for item in value]
        if isinstance(value, (set, frozenset)):
            return sorted((_plain(item, depth + 1, inside) for item in value), key=_order)
    return _scalar(value)


def _order(item: Any) -> tuple[str, Any]:
    return type(item).__name__, item if isinstance(item, (int, float, str)) else json.dumps(item)


def _is_bytes(value: Any) -> bool:
    return isinstance(value, (bytearray, memoryview))


def _scalar(value: Any) -> Any:
    """Return a value that is no list and no dict: what JSON has, or its text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return hex(value) if value.bit_length() > 10_000 else int(value)  # Python does not read longer ones back
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)  # of an Enum its value
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, (type, ModuleType)) or isinstance(getattr(value, "__qualname__", None), str):
        return _name(value)
    try:
        kept = kept_value(value)  # dates, paths, ids, enums, ...
    except Exception:
        return _text(value)
    if isinstance(kept, (bool, int, float, str)):
        return kept
    return value.name if isinstance(value, enum.Enum) else _text(value)


def _name(value: Any) -> str:
    """Return the name of a class, a function or a module."""
    name = getattr(value, "__qualname__", None) or value.__name__
    module = None if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    return f"{module}.{name}" if isinstance(module, str) else str(name)


def _text(value: Any) -> str:
    """Return the text of an object, without its address: that differs from run to run."""
    try:
        text = str(value)
    except Exception:
        text = f"<{_name(type(value))}>"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def from_file(path: str) -> dict[str, Any]:
    """Return the config in a file: JSON, where its name ends so, or else YAML.

    A key may have its value beside a description, as ``{"value": 0.1, "desc": "learning rate"}``.

    Raises
    ------
    ArgumentError
        If there is no such file, or it is no config; or if YAML is not installed.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else error
        raise ArgumentError("config", path, f"a dict, or the name of a YAML file: {problem}") from None
    try:
        found = json.loads(text) if path.endswith(".json") else _yaml(path).safe_load(text)
    except ArgumentError:
        raise
    except Exception as error:  # of either parser
        raise ArgumentError("config", path, f"a file of YAML or JSON: {said(error)}") from None
    if not isinstance(found, dict):
        raise ArgumentError("config", path, "a file whose YAML or JSON is a dict")
    found.pop("wandb_version", None)
    return {
        key: value["value"]
        if isinstance(value, dict) and "value" in value and set(value) <= {"value", "desc"}
        else value
        for key, value in found.items()
    }


def _yaml(path: str) -> Any:
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise ArgumentError("config", path, "a dict, or a JSON file: reading YAML needs `pip install pyyaml`") from None
    return yaml


def _same(a: Any, b: Any) -> bool:
    """Whether two values are the same: 1 is 1.0, NaN is NaN, and True is no number."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) and isinstance(b, float) and a != a:
        return b != b
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value)) if isinstance(value, (list, dict)) else value
