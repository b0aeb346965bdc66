"""PNG files of arrays of bytes, and the sizes of those that are there: without a library for images."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Colour type by number of channels: grey, grey and alpha, RGB, RGBA.
_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}


def png_of(pixels: np.ndarray[Any, Any]) -> bytes:
    """Return the PNG file of an array of uint8, shape (height, width, 1 to 4)."""
    height, width, channels = pixels.shape
    # Before each line stands how it is filtered: 0 is not at all.
    lines = np.zeros((height, width * channels + 1), np.uint8)
    lines[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[channels], 0, 0, 0)
    parts = [_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(lines.tobytes())), _chunk(b"IEND", b"")]
    return _SIGNATURE + b"".join(parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def size_in(start: bytes) -> tuple[int, int] | None:
    """Return width and height that the first bytes of a PNG, GIF or BMP file say; None for any other."""
    if start[:8] == _SIGNATURE and len(start) >= 24:
        return struct.unpack(">II", start[16:24])
    if start[:6] in (b"GIF87a", b"GIF89a") and len(start) >= 10:
        return struct.unpack("<HH", start[6:10])
    if start[:2] == b"BM" and len(start) >= 26:
        width, height = struct.unpack("<ii", start[18:26])
        return width, abs(height)
    return None
