"""Arguments, checked at the door."""

from __future__ import annotations

import operator
import re
from typing import Any

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError
from ..state.codec import UserCodec


def integer(name: str, value: object, least: int | None = None) -> int:
    """Return `value` as an int; numpy integers are integers, bools and floats are not.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        If it is no integer, or below `least`.
    """
    expected = "an integer" if least is None else f"an integer >= {least}"
    if isinstance(value, (bool, np.bool_)):
        raise ArgumentTypeError(name, value, expected)
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ArgumentTypeError(name, value, expected) from None
    if least is not None and number < least:
        raise ArgumentError(name, value, expected)
    return number


def slice_of(value: slice) -> slice:
    """Return a slice that a list would take, too."""
    ends = {"start": value.start, "stop": value.stop, "step": value.step}
    clean = {name: None if end is None else integer(f"the {name} of a slice", end) for name, end in ends.items()}
    if clean["step"] == 0:
        raise ArgumentError("the step of a slice", 0, "an integer other than 0")
    return slice(*clean.values())


def seed_of(value: object) -> int:
    """Return a master seed: an integer of any size, not negative."""
    advice = ""
    if isinstance(value, (list, tuple, np.ndarray)):
        advice = 'One for a list: int.from_bytes(numpy.random.SeedSequence(seed).generate_state(4).tobytes(), "little")'
    elif isinstance(value, np.random.SeedSequence):
        advice = "Its integer is seed.entropy, where it has no spawn_key; else make one of seed.generate_state(4)"
    elif isinstance(value, (np.random.Generator, np.random.BitGenerator)) or hasattr(value, "getrandbits"):
        advice = "Draw one from it: int(rng.integers(2**63)), or rng.getrandbits(128)"
    if advice:
        raise ArgumentTypeError("seed", value, "an integer >= 0", advice)
    return integer("seed", value, 0)


def seed_text(seed: int) -> str:
    """Return a seed for people: in decimal, the longest ones shortened."""
    return str(seed) if seed < 10**40 else f"{hex(seed)[:20]}... ({seed.bit_length()} bits)"


def block_size_of(value: object) -> int:
    """Return a block size: at least 1; more than the run is long is one block."""
    return _length("block_size", value, 1)


def n_steps_of(value: object, least: int | None = 1) -> int:
    """Return a number of states."""
    return _length("n_steps", value, least)


def _length(name: str, value: object, least: int | None) -> int:
    length = integer(name, value, least)
    if length >= 1 << 62:
        raise ArgumentError(name, value, "an integer below 2**62, the most a file holds")
    return length


_UNITS = {"": 1, "b": 1, **{f"{k}b": 1000**i for i, k in enumerate("kmgt", 1)}}
_UNITS |= {f"{k}ib": 1024**i for i, k in enumerate("kmgt", 1)}


def n_bytes_of(name: str, value: object) -> int:
    """Return a number of bytes, given as one or as text such as ``"64MB"`` or ``"1.5 GiB"``.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        If it is neither, or negative.
    """
    if not isinstance(value, str):
        return integer(name, value, 0)
    found = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([a-z]*)\s*", value.lower())
    if found is None or found[2] not in _UNITS:
        raise ArgumentError(name, value, "a number of bytes, such as 1000000, '64MB' or '1.5 GiB'")
    return int(float(found[1]) * _UNITS[found[2]])


def codec_of(codec: Any) -> UserCodec | None:
    """Return `codec` as a pair of callables, or None."""
    if codec is None:
        return None
    if not isinstance(codec, (tuple, list)) or len(codec) != 2 or not all(map(callable, codec)):
        raise ArgumentTypeError("codec", codec, "a pair of callables (encode, decode)")
    return codec[0], codec[1]


def key_of(key: object) -> bytes | None:
    """Return the key of a signature as bytes, or None.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        If it is neither bytes nor text, or not 1 to 64 bytes long: the lengths that blake2b takes. Neither shows it.
    """
    if key is None:
        return None
    if not isinstance(key, (bytes, bytearray, str)):
        raise ArgumentTypeError("key", key, "bytes or text")
    data = key.encode("utf-8", "surrogatepass") if isinstance(key, str) else bytes(key)
    if not 1 <= len(data) <= 64:
        raise ArgumentError("the length of key, in bytes,", len(data), "1 to 64", "Sign with a digest of a longer one")
    return data
