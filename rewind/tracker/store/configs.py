"""A config as the database has it: JSON, with an object for each number it lacks, and with the labels of its run.

``{"__float__": "nan"}`` is a NaN; a dict of that one key is within another such dict. The labels, group and job_type,
are under the key ``_rewind``: a store of an earlier version has no other place for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LABELS, _FLOAT = "_rewind", "__float__"


def stored(values: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """Return a config as the database has it, with the labels of its run: group and job_type."""
    found = {key: encoded(value) for key, value in values.items()}
    if labels or _LABELS in found:
        found[_LABELS] = {**labels, **({"config": found[_LABELS]} if _LABELS in found else {})}
    return found


def of_stored(found: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a config, and the labels of its run, of what the database has."""
    values = {key: decoded(value) for key, value in found.items()}
    own = values.pop(_LABELS, {})
    labels = dict(own) if isinstance(own, dict) else {}
    if "config" in labels:
        values[_LABELS] = labels.pop("config")
    return values, labels


def encoded(value: Any) -> Any:
    """Return a value of a config, or of metadata, with an object for each number that JSON lacks."""
    if isinstance(value, float) and value - value != 0.0:
        return {_FLOAT: repr(value)}
    if isinstance(value, list):
        return [encoded(item) for item in value]
    if isinstance(value, dict):
        inner = {key: encoded(item) for key, item in value.items()}
        return {_FLOAT: inner} if list(inner) == [_FLOAT] else inner
    return value


def decoded(value: Any) -> Any:
    """Return the value that `encoded` was given."""
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if isinstance(value, dict):
        if list(value) == [_FLOAT]:
            held = value[_FLOAT]
            if held in ("nan", "inf", "-inf"):
                return float(held)
            value = held if isinstance(held, dict) else value
        return {key: decoded(item) for key, item in value.items()}
    return value
