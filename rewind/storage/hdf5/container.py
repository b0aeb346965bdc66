"""The contents of a replay file, as far as bytes go: named arrays and one JSON text, and the limits on both."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ArtifactFormatError
from ...state.columns import is_text
from ..strict_json import NotStrict, loads

FORMAT_NAME = b"rewind.replay"
META_DATASET = "meta_json"
MAX_META_ATTRIBUTE = 60_000  # HDF5 keeps an attribute of 64 KB and more in a heap, which the subset leaves out
MAX_META_BYTES = 16 << 20
MAX_JSON_DEPTH = 64
MAX_JSON_ITEMS = 1 << 20  # values and keys: each is an object of Python, of up to 250 bytes
MAX_PATH_DEPTH = 32
MAX_OBJECTS = 16_384
MAX_NAME = 200

# Any printable text without "/". Left out are control characters, and the invisible and direction-changing ones that
# make two names look alike; U+D800..DFFF cannot come out of UTF-8.
_NAME = (
    "[ -.0-~\u00a1-\u00ac\u00ae-\u061b\u061d-\u180d\u180f-\u1fff\u2010-\u2027\u2030-\u205f\u2070-\ud7ff\ue000-\ufefe"
    "\uff00-\ufff8\ufffc\ufffd\U00010000-\U000dffff]+"
)


@dataclass(frozen=True, eq=False)
class Container:
    """What a file holds.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Keys are paths such as ``"checkpoints/state"``. Little-endian arrays that do not refer to the bytes of the file.
    meta : bytes
        One JSON text, not parsed yet: see `load_json`.
    sealed : bool
        Whether the file has a seal, and it holds.
    """

    arrays: dict[str, np.ndarray[Any, Any]]
    meta: bytes
    sealed: bool


def is_name(name: str) -> bool:
    """Return whether `name` may be one part of an array's path."""
    return len(name) <= MAX_NAME and name not in (".", "..") and re.fullmatch(_NAME, name) is not None


def assemble(
    attributes: dict[str, bytes], arrays: dict[str, np.ndarray[Any, Any]], sealed: bool, path: object
) -> Container:
    """Return what a file holds of the attributes of its root and its datasets, as both readers found them."""
    if attributes.get("format") != FORMAT_NAME:
        raise ArtifactFormatError(
            'an HDF5 file, but not a .replay file: it has no attribute format="rewind.replay"', path
        )
    if ("meta" in attributes) == (META_DATASET in arrays):
        raise ArtifactFormatError("its metadata must be either the attribute meta or the dataset /meta_json", path)
    if unexpected := sorted(attributes.keys() - {"format", "meta"}):
        raise ArtifactFormatError(f"it has the attribute {unexpected[0]!r}, which a .replay file never has", path)
    if "meta" in attributes:
        return Container(arrays, attributes["meta"], sealed)
    text = arrays.pop(META_DATASET)
    if text.dtype != np.uint8 or text.ndim != 1:
        raise ArtifactFormatError("its dataset /meta_json is not a row of bytes", path)
    return Container(arrays, text.tobytes(), sealed)


def load_json(text: bytes, path: object = None) -> dict[str, Any]:
    """Return the JSON object in `text`: at most 16 MiB, 64 levels deep and a million values and keys.

    Raises
    ------
    ArtifactFormatError
        If it is more or deeper, not UTF-8, not JSON, not an object, has a key twice, or a NaN or an Infinity.
    """
    if len(text) > MAX_META_BYTES:
        raise ArtifactFormatError(f"its metadata has {len(text):,} bytes; the limit is {MAX_META_BYTES:,}", path)
    # A backslash outside a string is no JSON, and the parser gets no further than that.
    unescaped = text.replace(rb"\\", b"").replace(rb"\"", b"")
    n_items = unescaped.count(b'"') // 2
    if n_items <= MAX_JSON_ITEMS:
        bare = re.compile(_STRING).sub(b"", unescaped)
        n_items = sum(map(bare.count, (b",", b":", b"[", b"{")))
    if n_items > MAX_JSON_ITEMS:
        raise ArtifactFormatError(f"its metadata holds {n_items:,} values; the limit is {MAX_JSON_ITEMS:,}", path)
    if _depth(bare) > MAX_JSON_DEPTH:
        raise ArtifactFormatError(f"its metadata is nested deeper than {MAX_JSON_DEPTH} levels", path)
    try:
        value = loads(text.decode("utf-8"), "its metadata")
    except NotStrict as error:
        raise ArtifactFormatError(str(error), path) from None
    except (ValueError, MemoryError) as error:  # ValueError: also an int of more than 4300 digits
        raise ArtifactFormatError(f"its metadata is not JSON: {error}", path) from None
    if type(value) is not dict:
        raise ArtifactFormatError("its metadata is not a JSON object", path)
    _refuse_odd_values(value, path)
    return value


_STRING = rb'"[^"]*"?'  # where no quote is escaped; it never goes back, whatever the text
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _depth(bare: bytes) -> int:
    """Return the deepest nesting of brackets, or one too many: a recursive parser comes next."""
    depth = deepest = 0
    for bracket in bare.translate(None, _NO_BRACKETS):
        if bracket in b"[{":
            depth += 1
            deepest = max(deepest, depth)
            if deepest > MAX_JSON_DEPTH:
                break
        else:
            depth -= 1
    return deepest


def _refuse_odd_values(value: object, path: object) -> None:
    """Refuse what Python's parser lets through: 1e999, which becomes infinity, and half a surrogate pair."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            todo.extend(item)
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
        elif isinstance(item, float) and item in (float("inf"), float("-inf")):
            raise ArtifactFormatError("its metadata holds a number too large for a float", path)
        elif isinstance(item, str) and not is_text(item):
            raise ArtifactFormatError("its metadata holds half a surrogate pair, which is not text", path)
