"""The loops that are measured, as a user writes them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import rewind


def walk(x, rng):
    """The integer walk."""
    return x + (1 if rng.random() < 0.5 else -1)


def relax(x, rng):
    """A scalar that relaxes, with noise: an Ornstein-Uhlenbeck process."""
    return x * 0.999 + rng.standard_normal()


def drift(x, rng):
    """An array of such scalars: a new one at each step."""
    return x * 0.999 + rng.standard_normal(x.shape[0])


def kick(x, rng):
    """The same, in place."""
    x *= 0.999
    x += rng.standard_normal(x.shape[0])
    return x


@dataclass
class State:
    """The state of `fragile`."""

    value: float


#: Of a standard normal, once in 300,000 steps: late enough for a long search.
RARE = 4.5


def fragile(state, rng):
    """A step with a dataclass state, which goes wrong now and then."""
    noise = rng.normalvariate(0.0, 1.0)
    return State(math.nan if noise > RARE else 0.99 * state.value + noise)


def late_nan(n: int) -> tuple[rewind.Run, int]:
    """Return a run of `fragile` whose first NaN comes late, and its step; in short runs none may come: `n`."""
    found = []
    for seed in range(20):
        run = rewind.record(fragile, State(0.0), n, seed, observe={"value": "value"})
        bad = run.observed["value"].first_nan
        found.append((n if bad is None else bad, seed, run))
        if n // 4 <= found[-1][0] < n:
            break
    bad, _, run = max(found)
    return run, bad


def bare(step: Callable[..., Any], make_state: Callable[[], Any], make_rng: Callable[[], Any], n: int) -> Any:
    """Return the user's own loop: nothing recorded."""

    def loop() -> Any:
        x, rng, step_fn = make_state(), make_rng(), step
        for _ in range(n):
            x = step_fn(x, rng)
        return x

    return loop
