"""Statistics from rational numbers: what the library's are compared with."""

from __future__ import annotations

import math
import random
import struct
from fractions import Fraction
from typing import Any

import numpy as np

EPS = 2.0**-53

INF, NAN = math.inf, math.nan


def count_up(t: int, rng: random.Random) -> int:
    return t + 1


def bits(value: Any) -> Any:
    return value.hex() if isinstance(value, float) else value


def all_bits(stats: Any) -> Any:
    return {name: v.tobytes() if isinstance(v, np.ndarray) else bits(v) for name, v in stats.items()}


def rounded(exact: Fraction) -> float:
    """The double nearest to `exact`, ties to even: found by looking at neighbours, not by dividing integers."""
    limit = Fraction(2) ** 1024 - Fraction(2) ** 970  # from here on the nearest double is infinity
    if abs(exact) >= limit:
        return INF if exact > 0 else -INF
    guess = math.copysign(0.0, exact)
    low, high = 0, struct.unpack("<q", struct.pack("<d", 1.7976931348623157e308))[0]
    while low <= high:  # doubles are ordered as their bits are
        middle = (low + high) // 2
        (guess,) = struct.unpack("<d", struct.pack("<q", middle))
        if Fraction(guess) <= abs(exact):
            low = middle + 1
        else:
            high = middle - 1
    (below,) = struct.unpack("<d", struct.pack("<q", high))
    above = math.nextafter(below, INF)
    up = abs(exact) - Fraction(below)
    down = (Fraction(above) if above != INF else Fraction(2) ** 1024) - abs(exact)
    nearest = below if up < down or (up == down and high % 2 == 0) else above
    return -nearest if exact < 0 else nearest


def check_exact(values: list[float], stats: Any) -> None:
    n = len(values)
    exact = [Fraction(value) for value in values]
    mean = sum(exact, Fraction()) / n
    assert bits(stats.mean) == bits(rounded(mean)) or stats.mean == mean == 0
    if n == 1:
        assert math.isnan(stats.variance)
    else:
        variance = sum(((x - mean) ** 2 for x in exact), Fraction()) / (n - 1)
        assert bits(stats.variance) == bits(rounded(variance))
        assert bits(stats.std) == bits(math.sqrt(stats.variance))
    assert (stats.count, stats.min, stats.max) == (n, min(values), max(values))
    assert (stats.argmin, stats.argmax) == (values.index(min(values)), values.index(max(values)))
    assert (stats.nan_count, stats.first_nan) == (0, None)


def exact_covariance(rows: np.ndarray) -> tuple[list[Fraction], list[list[Fraction]]]:
    n, d = rows.shape
    exact = [[Fraction(float(x)) for x in row] for row in rows]
    mean = [sum((row[i] for row in exact), Fraction()) / n for i in range(d)]
    centred = [[row[i] - mean[i] for i in range(d)] for row in exact]
    return mean, [
        [sum((row[i] * row[j] for row in centred), Fraction()) / (n - 1) if n > 1 else Fraction() for j in range(d)]
        for i in range(d)
    ]


def root(x: Fraction) -> Fraction:
    """Return the square root, rounded up far below the least double: that of a spread of 1e-362 is none."""
    unit = 1 << 2200
    return Fraction(math.isqrt(x.numerator * unit * unit // x.denominator) + 1, unit)


def check_vector(rows: np.ndarray, stats: Any) -> None:
    """Deviations are from the first value, so the bounds are relative to those and not to the values.

    ``|mean - exact| <= 4 n eps mean|x - x_0| + eps |exact|`` and
    ``|cov_ij - exact| <= 8 n eps sqrt(sum (x_i - x_0i)^2 sum (x_j - x_0j)^2) / (n - 1)``, with eps = 2**-53.
    """
    n, d = rows.shape
    mean, covariance = exact_covariance(rows)
    away = [
        [abs(Fraction(float(x)) - Fraction(float(first))) for x, first in zip(row, rows[0], strict=True)]
        for row in rows
    ]
    for i in range(d):
        got = Fraction(float(stats.mean.reshape(-1)[i]))
        bound = 4 * n * Fraction(EPS) * sum((row[i] for row in away), Fraction()) / n + Fraction(EPS) * abs(mean[i])
        assert abs(got - mean[i]) <= bound + Fraction(1, 2**1074)
    if n == 1:
        assert np.isnan(stats.covariance).all() and np.isnan(stats.variance).all()
        return
    spread = [sum((row[i] ** 2 for row in away), Fraction()) for i in range(d)]
    for i in range(d):
        for j in range(d):
            got = Fraction(float(stats.covariance[i, j]))
            bound = 8 * n * Fraction(EPS) * root(spread[i]) * root(spread[j]) / (n - 1)
            assert abs(got - covariance[i][j]) <= bound + Fraction(n, 2**1074)
    assert stats.covariance.tobytes() == stats.covariance.T.copy().tobytes()
    assert stats.variance.reshape(-1).tobytes() == stats.covariance.diagonal().tobytes()
    assert stats.std.tobytes() == np.sqrt(stats.variance).tobytes()
