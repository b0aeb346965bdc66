"""What a sweep tries: the parameters of its n-th trial, by grid or at random.

A trial is a function of the sweep's config, its seed and its number: whoever asks for trial 7, and in which order, gets
the same one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...errors import ArgumentError, ArgumentTypeError, UnknownSweepMethodError

_NESTED = "parameters"
_MOST_VALUES = 10_000_000  # of a grid


def check_space(config: Mapping[str, Any]) -> None:
    """Refuse a config whose trials cannot be made.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Naming the parameter.
    UnknownSweepMethodError
        If its method is neither ``grid`` nor ``random``.
    """
    method = config.get("method")
    if method not in ("grid", "random"):
        raise UnknownSweepMethodError(method)
    if not isinstance(config.get(_NESTED), Mapping) or not config[_NESTED]:
        raise ArgumentTypeError("parameters", config.get(_NESTED), "a dict of names to {'values': [...]} or the like")
    for name, spec in _flat(config[_NESTED]):
        if method == "grid":
            _values_of(name, spec)
        else:
            _draw(name, spec, np.random.Generator(np.random.PCG64(0)))


def n_trials(config: Mapping[str, Any]) -> int | None:
    """Return how many trials a sweep has: of a grid all, of a random one as many as ``run_cap`` says; None for ever."""
    cap = config.get("run_cap")
    if config.get("method") != "grid":
        return None if cap is None else int(cap)
    n = math.prod(len(_values_of(name, spec)) for name, spec in _flat(config[_NESTED]))
    return n if cap is None else min(n, int(cap))


def trial_params(config: Mapping[str, Any], seed: int, n: int) -> dict[str, Any]:
    """Return the parameters of the n-th trial.

    Parameters
    ----------
    config : mapping
        Of the sweep.
    seed : int
    n : int
        From 0 on. The last parameter of a grid changes fastest.
    """
    params: dict[str, Any] = {}
    flat = list(_flat(config[_NESTED]))
    if config.get("method") == "grid":
        rest = n
        for name, spec in reversed(flat):
            values = _values_of(name, spec)
            rest, i = divmod(rest, len(values))
            params[name] = values[i]
        params = {name: params[name] for name, _ in flat}
    else:
        for i, (name, spec) in enumerate(flat):  # each its own stream: one more parameter changes no other
            sequence = np.random.SeedSequence(seed, spawn_key=(n, i))
            params[name] = _draw(name, spec, np.random.Generator(np.random.PCG64(sequence)))
    return _nested(params)


def _flat(parameters: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Yield each parameter by the names of the dicts that it is in."""
    for name, spec in parameters.items():
        if not isinstance(spec, Mapping):
            raise ArgumentTypeError(f"parameter {name!r}", spec, "a dict, such as {'values': [1, 2]} or {'value': 1}")
        if _NESTED in spec:
            yield from _flat(spec[_NESTED], (*above, name))
        else:
            yield (*above, name), spec


def _nested(params: Mapping[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for (*above, last), value in params.items():
        inside = found
        for name in above:
            inside = inside.setdefault(name, {})
        inside[last] = value
    return found


def _shown(name: tuple[str, ...]) -> str:
    return f"parameter {'.'.join(map(str, name))!r}"


def _bounds(name: Any, spec: Mapping[str, Any]) -> tuple[Any, Any]:
    low: Any = spec.get("min")
    high: Any = spec.get("max")
    numbers = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in (low, high))
    if not numbers or low > high:
        raise ArgumentError(_shown(name), dict(spec), "a min and a max that is not below it")
    return low, high


def _kind(name: Any, spec: Mapping[str, Any]) -> str:
    """Return the distribution of a parameter: what it says, or what its other keys mean."""
    if "distribution" in spec:
        return str(spec["distribution"])
    if "value" in spec:
        return "constant"
    if "values" in spec:
        return "categorical"
    if "min" in spec and "max" in spec:
        return "int_uniform" if isinstance(spec["min"], int) and isinstance(spec["max"], int) else "uniform"
    if "mu" in spec and "sigma" in spec:
        return "normal"
    raise ArgumentError(_shown(name), dict(spec), "one with value, values, min and max, or a distribution")


def _values_of(name: Any, spec: Mapping[str, Any]) -> list[Any]:
    """Return the values of a parameter in a grid."""
    kind = _kind(name, spec)
    if kind == "constant":
        return [spec["value"]]
    if kind in ("categorical", "categorical_w_probabilities"):
        values = spec.get("values")
        if isinstance(values, str) or not isinstance(values, (list, tuple)) or not values:
            raise ArgumentError(_shown(name), dict(spec), "a list of values that has some")
        return list(values)
    if kind in ("int_uniform", "q_uniform"):
        low, high = _bounds(name, spec)
        step = spec.get("q", 1)
        n = int((high - low) / step + 1e-9) + 1
        if n <= _MOST_VALUES:
            return [low + i * step for i in range(n)]
    advice = "method: random draws from it"
    raise ArgumentError(_shown(name), dict(spec), "a list of values, as the method is grid", advice)


def _draw(name: Any, spec: Mapping[str, Any], rng: np.random.Generator) -> Any:
    """Return a random value of a parameter."""
    kind = _kind(name, spec)
    if kind == "constant":
        return spec["value"]
    if kind.startswith("categorical"):
        values = _values_of(name, spec)
        weights = spec.get("probabilities", spec.get("probability"))
        if weights is not None and (len(weights) != len(values) or not math.isclose(sum(weights), 1.0)):
            raise ArgumentError(_shown(name), dict(spec), "a probability for each value, 1 in all")
        return values[int(rng.choice(len(values), p=weights))]
    if kind == "int_uniform":
        low, high = _bounds(name, spec)
        return int(rng.integers(int(low), int(high), endpoint=True))
    return _continuous(name, kind, spec, rng)


def _continuous(name: Any, kind: str, spec: Mapping[str, Any], rng: np.random.Generator) -> Any:
    base = kind.removeprefix("q_")
    if base in ("normal", "log_normal"):
        value = rng.normal(spec.get("mu", 0.0), spec.get("sigma", 1.0))
        value = math.exp(value) if base == "log_normal" else value
    elif base == "beta":
        value = rng.beta(spec["a"], spec["b"])
    else:
        low, high = _bounds(name, spec)
        value = rng.random()
        if base == "uniform":
            value = low + (high - low) * value
        elif base == "log_uniform":  # its bounds are exponents of e
            value = math.exp(low + (high - low) * value)
        elif base == "inv_log_uniform":
            value = math.exp(-(low + (high - low) * value))
        elif base in ("log_uniform_values", "inv_log_uniform_values"):
            if low <= 0:
                raise ArgumentError(_shown(name), dict(spec), "a min above 0, as there are logarithms of it")
            at = value if base == "log_uniform_values" else 1.0 - value
            value = min(max(math.exp(math.log(low) + (math.log(high) - math.log(low)) * at), low), high)
        else:
            raise ArgumentError(_shown(name), kind, "a distribution: uniform, log_uniform_values, normal, beta ...")
    if kind == base:
        return float(value)
    q = spec.get("q", 1)
    rounded = round(value / q) * q
    return int(rounded) if isinstance(q, int) else float(rounded)
