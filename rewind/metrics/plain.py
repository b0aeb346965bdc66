"""Plain numbers of what a metric gives: masked cells are missing, and what means more than its numbers is refused."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from ..errors import show

_PLAIN = frozenset({float, int, bool, np.ndarray, np.float64, np.float32, np.int64, np.int32, np.bool_, np.uint8})
#: Subclasses of ndarray that are no more than their numbers.
_KNOWN = (np.memmap, np.matrix, np.recarray)
_FINALIZE: object = np.ndarray.__array_finalize__


class Labelled(TypeError):
    """A value whose meaning is not in its numbers alone; `cure` says what to give instead."""

    def __init__(self, problem: str, cure: str) -> None:
        self.problem, self.cure = problem, cure
        super().__init__(f"{problem}; expected {cure}")


def plain(value: Any) -> Any:
    """Return `value` with NaN for each masked cell; what has none comes back as it is.

    Parameters
    ----------
    value : object
        A number, an array, or a list or tuple of them; anything else comes back as it is.

    Raises
    ------
    Labelled
        If it is an array with a unit or with labels, which its numbers do not say.

    Notes
    -----
    O(1) for a plain number or array, O(n) for a list.
    """
    kind = type(value)
    if kind in _PLAIN or isinstance(value, np.generic):
        return value
    if kind is list or kind is tuple:
        if _PLAIN.issuperset(map(type, value)):
            return value
        items = [plain(item) for item in value]
        return value if all(one is other for one, other in zip(items, value, strict=True)) else kind(items)
    if isinstance(value, np.ndarray):
        return _array(value)
    if hasattr(kind, "__array__") or hasattr(kind, "__array_interface__"):
        _refuse_labels(value)
    return value


def is_plain(value: Any) -> bool:
    """Whether `value` needs no look at what is in it."""
    return type(value) in _PLAIN


def _array(value: np.ndarray[Any, Any]) -> Any:
    masks = sys.modules.get("numpy.ma")
    if masks is not None and isinstance(value, masks.MaskedArray):
        if value is masks.masked:
            return math.nan
        return _filled(value, masks)
    kind = type(value)
    if kind in _KNOWN:
        return value
    if getattr(value, "__dict__", None) or kind.__array_finalize__ is not _FINALIZE:
        raise _labelled(value)
    return value


def _filled(value: Any, masks: Any) -> Any:
    data, mask = plain(masks.getdata(value)), masks.getmaskarray(value)
    if data.dtype.names is not None:
        if mask.view("?").any():
            raise Labelled(f"gave a masked array of {data.dtype}", "one of its fields")
        return data
    if not mask.any():
        return data
    kind = data.dtype.kind
    if kind not in "biufcmM":
        raise Labelled(f"gave a masked array of {data.dtype}, which has no NaN", "one that is filled: .filled(...)")
    data = data.astype(np.float64) if kind in "biuf" else data.copy()
    data[mask] = np.array("NaT", data.dtype) if kind in "mM" else math.nan
    return data


def _refuse_labels(value: Any) -> None:
    kind = type(value)
    if any(_data_attribute(kind, value, name) for name in ("units", "unit", "magnitude", "index", "columns", "coords")):
        raise _labelled(value)


def _data_attribute(kind: type, value: Any, name: str) -> bool:
    """Whether `value` has a property or attribute of that name that is no method."""
    if not hasattr(kind, name) and name not in getattr(value, "__dict__", ()):
        return False
    try:
        return not callable(getattr(value, name))
    except Exception:  # whatever it does
        return True


def _labelled(value: Any) -> Labelled:
    kind = type(value)
    for name, written in (("magnitude", ".magnitude"), ("to_numpy", ".to_numpy()"), ("value", ".value")):
        if hasattr(kind, name):
            cure = f"its numbers: value{written}"
            break
    else:
        cure = "its numbers: np.asarray(value)"
    word = f"{kind.__module__.partition('.')[0]}'s {kind.__name__}"
    return Labelled(f"gave {show(value)} ({word}), whose meaning is not in its numbers alone", cure)
