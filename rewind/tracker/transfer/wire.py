"""Logs of other programs, as bytes: the two ways in which they frame their records, and the fields of a record.

W&B's client writes a log in the format of LevelDB [1]_, TensorBoard's writers one of TFRecords [2]_; the records of
both are messages in the wire format of Protocol Buffers [3]_. Each is described on a page, and has not changed for ten
years.

References
----------
.. [1] https://github.com/google/leveldb/blob/main/doc/log_format.md
.. [2] https://www.tensorflow.org/tutorials/load_data/tfrecord
.. [3] https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import IO, Any

from ...errors import ArtifactFormatError, ArtifactIntegrityError

# ---- fields of a message


class Message:
    """A message of Protocol Buffers: its fields by number, each with all values it has, undecoded.

    Raises
    ------
    ValueError
        If the bytes are no message.
    """

    def __init__(self, data: bytes) -> None:
        self._fields: dict[int, list[Any]] = {}
        at, end = 0, len(data)
        while at < end:
            tag, at = _varint(data, at)
            number, kind = tag >> 3, tag & 7
            value: Any
            if kind == 0:
                value, at = _varint(data, at)
            elif kind == 2:
                size, at = _varint(data, at)
                value, at = data[at : at + size], at + size
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
                value, at = data[at : at + size], at + size
            else:
                raise ValueError(f"it has a field of the kind {kind}")
            if at > end:
                raise ValueError("it ends within a field")
            self._fields.setdefault(number, []).append(value)

    def __contains__(self, number: int) -> bool:
        return number in self._fields

    def content(self, number: int) -> bytes:
        """Return the bytes of a field: the last it has, as the format says; empty where there are none."""
        return _bytes(self._fields.get(number, [b""])[-1])

    def text(self, number: int) -> str:
        """Return the text of a field; empty where there is none."""
        return self.content(number).decode()

    def texts(self, number: int) -> list[str]:
        """Return all texts of a field."""
        return [_bytes(value).decode() for value in self._fields.get(number, ())]

    def all_bytes(self, number: int) -> list[bytes]:
        """Return all values of a field that has bytes or messages."""
        return [_bytes(value) for value in self._fields.get(number, ())]

    def message(self, number: int) -> Message:
        """Return the message in a field; one without fields where there is none."""
        return Message(self.content(number))

    def messages(self, number: int) -> list[Message]:
        """Return all messages in a field."""
        return [Message(_bytes(value)) for value in self._fields.get(number, ())]

    def integer(self, number: int) -> int:
        """Return the signed integer of a field; 0 where there is none."""
        value = self._fields.get(number, [0])[-1]
        if not isinstance(value, int):
            raise ValueError(f"its field {number} is no integer")
        return value - (1 << 64) if value >= 1 << 63 else value

    def floats(self, number: int, kind: str) -> list[float]:
        """Return all numbers of a field, packed or one by one: of the kind ``f`` or ``d``, as in `struct`."""
        size, found = struct.calcsize(kind), list[float]()
        for value in self.all_bytes(number):
            if len(value) % size:
                raise ValueError(f"its field {number} holds no numbers of {size} bytes")
            found += struct.unpack(f"<{len(value) // size}{kind}", value)
        return found

    def integers(self, number: int) -> list[int]:
        """Return all signed integers of a field, packed or one by one."""
        found: list[int] = []
        for value in self._fields.get(number, ()):
            at = 0
            while isinstance(value, bytes) and at < len(value):
                one, at = _varint(value, at)
                found.append(one)
            if isinstance(value, int):
                found.append(value)
        return [one - (1 << 64) if one >= 1 << 63 else one for one in found]


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("it has an integer where bytes are expected")
    return value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("it ends within a number")
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value & ((1 << 64) - 1), at


# ---- a log in the format of LevelDB

_BLOCK, _HEAD = 1 << 15, struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_WANDB = b":W&B"


def wandb_records(file: IO[bytes], name: str) -> Iterator[bytes]:
    """Yield the records of a ``.wandb`` file; one that was cut off, as by a kill, ends with its last whole record.

    Raises
    ------
    ArtifactFormatError
        If it is no such file.
    ArtifactIntegrityError
        If a record differs from its checksum.
    """
    if file.read(7)[:4] != _WANDB:
        raise ArtifactFormatError("it is no log of W&B's client: it does not begin with :W&B", name)
    at, parts = 7, list[bytes]()
    while True:
        left = _BLOCK - at % _BLOCK
        if left < _HEAD.size:
            file.read(left)
            at += left
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return
        checksum, size, kind = _HEAD.unpack(head)
        data = file.read(size)
        if len(data) < size or (kind == 0 and not checksum and not size):  # a tail of zeros, where power failed
            return
        if zlib.crc32(data, zlib.crc32(head[6:])) != checksum:
            raise ArtifactIntegrityError(f"the record at byte {at:,} differs from its checksum", name)
        if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or (kind in (_FULL, _FIRST)) is bool(parts):
            raise ArtifactFormatError(f"at byte {at:,} is no record of a log", name)
        at += _HEAD.size + size
        parts.append(data)
        if kind in (_FULL, _LAST):
            yield b"".join(parts)
            parts = []


# ---- a log of TFRecords


def tfrecords(file: IO[bytes], name: str) -> Iterator[bytes]:
    """Yield the records of an event file; one that was cut off ends with its last whole record.

    Raises
    ------
    ArtifactIntegrityError
        If a record differs from its checksum.
    """
    at = 0
    while True:
        head = file.read(12)
        if len(head) < 12:
            return
        size, checksum = struct.unpack("<QI", head)
        if _masked(head[:8]) != checksum:
            if at == 0:
                raise ArtifactFormatError("it is no event file of TensorBoard", name)
            raise ArtifactIntegrityError(f"the length at byte {at:,} differs from its checksum", name)
        data, tail = file.read(size), file.read(4)
        if len(data) < size or len(tail) < 4:
            return
        if _masked(data) != struct.unpack("<I", tail)[0]:
            raise ArtifactIntegrityError(f"the record at byte {at:,} differs from its checksum", name)
        yield data
        at += 16 + size


def _crc32c_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # Castagnoli's polynomial, reflected
        table.append(byte)
    return table


_TABLE = _crc32c_table()


def _masked(data: bytes) -> int:
    """Return the checksum that a TFRecord has of its bytes: CRC-32C, rotated and added to."""
    table, crc = _TABLE, 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
