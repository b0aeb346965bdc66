"""The params of a numba step: numbers arrive in slots of eight bytes, so that a branch with others compiles nothing."""

from __future__ import annotations

import inspect
import keyword
import struct
from collections.abc import Mapping
from typing import Any

from ...errors import ArgumentError, ArgumentTypeError, StepError
from ...state.keys import INT64


class ParamSlots:
    """How params are handed over.

    Parameters
    ----------
    function : callable
        ``function(state, rng, **params)``, whose arguments say in which order.
    params : mapping of str to JSON scalars or lists of them

    Attributes
    ----------
    layout : tuple of (str, str)
        For each argument after state and rng its name and the expression that stands for it in the driver: a look into
        slot `k` for a number, text and None as they are.
    defaults : dict
        Of arguments that are not in `params` and stand before one that is: ``q_`` and the name in the driver.
    data : bytes
        The slots: a double or an int64 each.

    Raises
    ------
    StepError
        What Python would raise for such a call: numba passes over some names that are no arguments.
    ArgumentError
        For a name or a number that no numba step can have.

    Notes
    -----
    Arguments go by position, since numba 0.68 takes keyword arguments of a call inside a ``try`` in the order they are
    written in, whatever their names.
    """

    def __init__(self, function: Any, params: Mapping[str, Any]) -> None:
        self._pieces: list[bytes] = []
        self.defaults: dict[str, Any] = {}
        for name in params:
            if not name.isidentifier() or keyword.iskeyword(name):
                raise ArgumentError("a name in params", name, "a name a numba step can have as an argument")
        try:
            signature = inspect.signature(function)
            signature.bind(None, None, **params)
            arguments = dict(list(signature.parameters.items())[2:])
            unknown = [name for name in params if name not in arguments]
            if unknown:
                raise TypeError(f"a numba step names its arguments, and does not name {unknown[0]!r}")
        except TypeError as error:
            raise StepError(0, error) from error
        names = list(arguments)
        while names and names[-1] not in params:
            names.pop()
        layout = []
        for name in names:
            if name in params:
                layout.append((name, self._expression(name, params[name])))
            else:
                self.defaults[name] = arguments[name].default
                layout.append((name, f"q_{name}"))
        self.layout, self.data = tuple(layout), b"".join(self._pieces)

    def _expression(self, name: str, value: Any) -> str:
        if isinstance(value, (list, tuple)):  # numba has no cheap list: a tuple, which a step can index and loop over
            return f"({''.join(self._expression(name, item) + ', ' for item in value)})"
        if value is None or isinstance(value, str):
            return repr(value)
        if not isinstance(value, (bool, int, float)):
            advice = "Put an array in the state, and give the items of a dict one by one"
            raise ArgumentTypeError(
                f"params[{name!r}]", value, "what a numba step can take: a number, text, None or lists", advice
            )
        k = len(self._pieces)
        if isinstance(value, float):
            self._pieces.append(struct.pack("=d", value))
            return f"float_at(params, {k})"
        if value not in INT64:
            raise ArgumentError(f"params[{name!r}]", value, "an int of 64 bits, which is what a numba step can take")
        self._pieces.append(struct.pack("=q", value))
        return f"bool_at(params, {k})" if isinstance(value, bool) else f"int_at(params, {k})"
