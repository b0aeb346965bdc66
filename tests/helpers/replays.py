"""Small runs of every kind of state, metric and branch: for tests/storage, and for the files in golden/."""

from __future__ import annotations

import random
import sys
import warnings
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

import rewind

#: The files in golden/ know what is in here by the name that this module had when they were made.
sys.modules["replays"] = sys.modules[__name__]
__name__ = "replays"


def walk(x: int, rng: random.Random) -> int:
    return x + (1 if rng.random() < 0.5 else -1)


def drift(x: Any, rng: np.random.Generator, rate: float, kicks: list[int]) -> Any:
    """In place, with parameters."""
    x *= rate
    x += rng.integers(-8, 9, 4) / kicks[0]
    return x


class Mood(NamedTuple):
    name: str
    since: int


@dataclass
class Town:
    people: list[float] = field(default_factory=lambda: [0.0, 0.5, 1.0])
    mood: Mood = Mood("calm", 0)
    grid: Any = field(default_factory=lambda: np.zeros((2, 3), "i2"))
    news: dict[str, Any] = field(default_factory=lambda: {"Zürich 🏔": "", "z": 0j, "raw": b"\0"})


def live(town: Town, rng: random.Random) -> Town:
    i = rng.randrange(3)
    town.people[i] += rng.randrange(8) / 8
    town.grid[i % 2, i] += 1
    if rng.random() < 0.25:
        town.mood = Mood(rng.choice(["calm", "böse", "🎉"]), town.mood.since + 1)
    town.news["Zürich 🏔"] = town.mood.name * i
    town.news["z"] += complex(i, -1)
    town.news["raw"] = bytes(i)
    return town


def grow(numbers: list[int], rng: random.Random) -> list[int]:
    """A list that outgrows its layout."""
    return [*numbers, rng.randrange(1 << 70)] if rng.random() < 0.2 else numbers


def collect(seen: set[int], rng: random.Random) -> set[int]:
    seen.add(rng.randrange(100))
    return seen


def hoard(things: Any, rng: random.Random) -> Any:
    """A set of sets: pickled whole."""
    things.add(frozenset({rng.randrange(100)}))
    return things


def gauss(x: float, rng: random.Random) -> float:
    """Holds a normal draw back in the generator."""
    return x + round(rng.gauss(0, 1) * 8) / 8


def spin(state: Any, rng: np.random.Generator) -> Any:
    state["angle"] += rng.integers(0, 2**32, dtype=np.uint32) / 2**32  # buffers half a word
    state["flag"] = ~state["flag"]
    return state


def walk_run(**options: Any) -> rewind.Run[Any]:
    return rewind.record(walk, 0, 1000, 42, **options)


def drift_run(**options: Any) -> rewind.Run[Any]:
    return rewind.record(
        drift,
        np.zeros(4),
        300,
        7,
        backend="numpy",
        block_size=25,
        params={"rate": 0.5, "kicks": [4, 5]},
        observe={"all": None, "first": lambda x: x[0], "Σ": lambda x: x.sum()},
        **options,
    )


def town_run(**options: Any) -> rewind.Run[Any]:
    return rewind.record(
        live, Town(), 120, 2**70 + 1, observe={"people": "people", "since": lambda s: s.mood.since}, **options
    )


def grow_run(**options: Any) -> rewind.Run[Any]:
    return rewind.record(grow, [1, 2], 40, 3, block_size=4, **options)


def collect_run(**options: Any) -> rewind.Run[Any]:
    return rewind.record(collect, {5}, 30, 9, **options)


def hoard_run(**options: Any) -> rewind.Run[Any]:
    return rewind.record(hoard, {frozenset()}, 30, 9, **options)


def same_branch(**options: Any) -> rewind.Run[Any]:
    """Starts inside a block, with its parent's noise and a normal draw held back."""
    return rewind.record(gauss, 0.0, 100, 5, observe={"x": None}, **options).branch(33, lambda x: x + 1, noise="same")


def numpy_branch(**options: Any) -> rewind.Run[Any]:
    first = np.zeros(2, [("angle", "f8"), ("flag", "?")])
    return (
        rewind.record(spin, first, 60, 8, backend="numpy", **options)
        .branch(11, turn, noise="same")
        .branch(6, turn, noise="same")
    )


def turn(state: Any) -> None:
    state["angle"] += 0.25


def lead_branch(**options: Any) -> rewind.Run[Any]:
    """Starts inside a block and changes nothing: it goes its parent's own way there."""
    run = rewind.record(live, Town(), 50, 1, observe={"people": "people"}, **options)
    return run.branch(12, noise="same").branch(1, noise="same")


def fresh_branch(**options: Any) -> rewind.Run[Any]:
    return walk_run(**options).branch(500, lambda x: x + 100, n_steps=200)


def thinned(**options: Any) -> rewind.Run[Any]:
    """Extended so far that checkpoints were dropped."""
    return rewind.record(walk, 0, 20, 4, block_size=2, observe={"x": None}, **options).extend(400)


def stopped() -> rewind.Run[Any]:
    try:
        rewind.record(fail, 0, 100, 6, block_size=10)
    except rewind.StepError as error:
        return error.run  # type: ignore[no-any-return]
    raise AssertionError


def fail(x: int, rng: random.Random) -> int:
    if x == 44:
        raise ValueError("forty-four")
    return x + 1


def empty() -> rewind.Run[Any]:
    """States without a single number in them."""
    return rewind.record(stay, {"a": [], "b": None, "c": np.zeros((0, 3))}, 10, 0, trial=False)


def stay(x: Any, rng: Any) -> Any:
    return x


#: name -> (make the run, its step function, the metrics to hand to `load`)
KINDS: dict[str, Any] = {
    "walk": (walk_run, walk),
    "drift": (drift_run, drift),
    "town": (town_run, live),
    "grow": (grow_run, grow),
    "collect": (collect_run, collect),
    "same_branch": (same_branch, gauss),
    "numpy_branch": (numpy_branch, spin),
    "lead_branch": (lead_branch, live),
    "fresh_branch": (fresh_branch, walk),
    "thinned": (thinned, walk),
    "stopped": (stopped, fail),
    "empty": (empty, stay),
    "drift_2": (drift_run, drift),
    "town_2": (town_run, live),
}


# ---- what only files of format 2 hold


def trade(market: dict[Any, Any], rng: random.Random) -> dict[Any, Any]:
    """Keys of many kinds, a price that becomes a float, a best one that is None at first."""
    key = rng.choice(list(market["stock"]))
    market["stock"][key] += rng.randrange(-3, 4)
    market["a/b"] = market["a/b"] * 0.5 + 1 if rng.random() < 0.5 else rng.randrange(9)
    if rng.random() < 0.3:
        market["größe"] = np.float64(market["a/b"])
    return market


def trade_run(**options: Any) -> rewind.Run[Any]:
    stock = {1: 0, True + 1: 5, (0, 1): 2, None: 1, "x y": 3, 2.5: 4, b"k": 7, np.int16(9): 8}
    return rewind.record(trade, {"stock": stock, "a/b": 1, "größe": None}, 60, 11, block_size=7, **options)


def infect(town: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    town["ill"].add(rng.randrange(50))
    town["ill"].discard(rng.randrange(50))
    town["names"].add(rng.choice("abc") * rng.randrange(4))
    if rng.random() < 0.3:
        town["links"] = frozenset({*town["links"], (rng.randrange(3), rng.randrange(3))})
    return town


def infect_run(**options: Any) -> rewind.Run[Any]:
    state = {"ill": {3}, "names": {"ä"}, "links": frozenset({(0, 0.5)})}
    return rewind.record(infect, state, 60, 12, observe={"ill": lambda town: len(town["ill"])}, **options)


def tumble(state: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Draws from generators of its own."""
    own = state["own"]
    state["x"] = own[0].gauss(0, 1) + own[1].standard_normal() + float(own[2].integers(8)) + rng.integers(8)
    state["x"] += sum(int(generator.integers(8, dtype=np.uint32)) for generator in own[3:])
    return state


def tumble_run(**options: Any) -> rewind.Run[Any]:
    bits = [kind(5) for kind in (np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64)]
    own = [random.Random(5), np.random.RandomState(5), *map(np.random.Generator, bits)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rewind.OwnGeneratorWarning)
        return rewind.record(tumble, {"x": 0.0, "own": own}, 30, 13, backend="numpy", **options)


#: What other tests need besides.
MORE: dict[str, Any] = {"hoard": (hoard_run, hoard)}
KINDS_2: dict[str, Any] = {"trade": (trade_run, trade), "infect": (infect_run, infect), "tumble": (tumble_run, tumble)}
