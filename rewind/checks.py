"""Arguments, checked at the door."""

from __future__ import annotations

import inspect
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .engine.states import UserCodec
from .errors import ArgumentError, ArgumentTypeError


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


def params_of(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return `params` as they come back from a file: JSON scalars, and lists of them.

    Raises
    ------
    ArgumentTypeError, ArgumentError
        Naming the parameter that is neither.
    """
    if not params and (params is None or isinstance(params, Mapping)):
        return {}
    import json  # 2 ms that an import of rewind can do without

    if not isinstance(params, Mapping):
        raise ArgumentTypeError("params", params, "a dict of names to JSON scalars or lists of them")
    plain: dict[str, Any] = {}
    for name, value in params.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ArgumentError("a name in params", name, "a name that can be a keyword argument")
        items = list(value) if isinstance(value, (list, tuple)) else [value]
        clean = [item.item() if isinstance(item, np.generic) else item for item in items]
        for item in clean:
            if not (item is None or isinstance(item, (bool, int, float, str))):
                advice = "Put anything else in the state"
                raise ArgumentTypeError(f"params[{name!r}]", value, "a JSON scalar or a list of them", advice)
        try:
            text = json.dumps(clean, allow_nan=False, ensure_ascii=False)
            text.encode()
        except UnicodeEncodeError:
            raise ArgumentError(f"params[{name!r}]", value, "text without half a surrogate pair") from None
        except ValueError:
            expected = "a finite number: JSON has no NaN and no infinity"
            raise ArgumentError(f"params[{name!r}]", value, expected) from None
        restored = json.loads(text)
        plain[name] = restored if isinstance(value, (list, tuple)) else restored[0]
    return plain


def parameter_names(step_fn: Any) -> list[str] | None:
    """Return the names of a step function's parameters besides state and rng; None where it takes any, or says none."""
    try:
        signature = inspect.signature(getattr(step_fn, "py_func", step_fn))  # numba keeps the Python function there
    except (ValueError, TypeError):
        return None
    parameters = list(signature.parameters.values())
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    first_two = [parameter for parameter in parameters if parameter.kind in places][:2]
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [parameter.name for parameter in parameters if parameter.kind in kinds and parameter not in first_two]


def params_taken(step_fn: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return those parameters that a step function takes; all, where it does not say."""
    names = parameter_names(step_fn)
    return {name: value for name, value in params.items() if names is None or name in names}


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


def step_function(step_fn: Any, params: Mapping[str, Any]) -> Callable[..., Any]:
    """Return `step_fn` if it can be called as ``step_fn(state, rng, **params)``.

    Raises
    ------
    ArgumentTypeError
        If it cannot.
    """
    call = ", ".join(["state", "rng", *(f"{name}={value!r}" for name, value in params.items())])
    if not callable(step_fn):
        raise ArgumentTypeError("step_fn", step_fn, f"a callable: step_fn({call}) -> state")
    try:
        signature = inspect.signature(step_fn)
    except (ValueError, TypeError):  # some builtins have none; the first call will tell
        return step_fn  # type: ignore[no-any-return]
    try:
        signature.bind(None, None, **params)
    except TypeError:
        raise ArgumentTypeError(
            "step_fn", step_fn, f"a callable that takes ({call})", f"Its signature is {signature}"
        ) from (None)
    return step_fn  # type: ignore[no-any-return]
