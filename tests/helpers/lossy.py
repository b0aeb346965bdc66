"""Simulations that storing makes others of, and simulations that look like it and are faithful: for the trial.

Each is ``(step, make, options)``; `make` gives a new state 0. The backend is numpy's, unless the options name another.
Instances of one kind share no code.
"""

from __future__ import annotations

import collections
import copyreg
import dataclasses
import functools
import itertools
import random
import threading
import types
from typing import Any

import numpy as np

Rng = Any


# ---- pickles of constructor arguments


class Env:
    def __init__(self, stiffness=1.0):
        self.stiffness, self.x, self.velocity = stiffness, 0.0, 0.0

    def __reduce__(self):
        return Env, (self.stiffness,)


def swing(env, rng):
    env.velocity += rng.normal() - 0.1 * env.stiffness * env.x
    env.x += env.velocity
    return env


class Queue:
    """Restored with its length, but not with who waits."""

    def __init__(self, served=0):
        self.served, self.waiting = served, collections.deque()

    def __reduce_ex__(self, protocol):
        return Queue, (self.served,)


def serve(queue, rng):
    queue.waiting.append(rng.integers(3))
    if len(queue.waiting) > 4:
        queue.served += int(queue.waiting.popleft())
    return queue


class Spring:
    __slots__ = ("length", "speed")

    def __init__(self, length):
        self.length, self.speed = length, 0.0


copyreg.pickle(Spring, lambda spring: (Spring, (spring.length,)))


def stretch(state, rng):
    spring = state["spring"]
    spring.speed += rng.normal() - spring.length
    spring.length += 0.1 * spring.speed
    return state


class Counted(int):
    """An int of a class that forgets what it was told."""

    def __new__(cls, value, step=1):
        self = super().__new__(cls, value)
        self.step = step
        return self

    def __getnewargs__(self):
        return (int(self),)

    def __getstate__(self):
        return None


def count_on(n, rng):
    return Counted(n + n.step + int(rng.integers(2)), n.step + 1)


class Ledger:
    """Its pickle is right at first: the balance grows later."""

    def __init__(self, account="a"):
        self.account, self.balance, self.t = account, 0.0, 0

    def __reduce__(self):
        return _ledger, (self.account, self.t)


def _ledger(account, t):
    ledger = Ledger(account)
    ledger.t = t
    return ledger


def book(ledger, rng):
    ledger.t += 1
    if ledger.t > 20:
        ledger.balance += rng.random()
    return ledger


# ---- __getstate__ that drops a field


class Walker:
    def __init__(self):
        self.x, self.memory = 0.0, [0.0, 0.0]

    def __getstate__(self):
        return {"x": self.x}

    def __setstate__(self, state):
        self.x, self.memory = state["x"], [0.0, 0.0]


def remember(walker, rng):
    walker.memory = [walker.memory[1], walker.x]
    walker.x = 0.5 * walker.memory[0] + rng.normal()
    return walker


@dataclasses.dataclass
class Oscillator:
    x: float = 1.0
    momentum: float = 0.0

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "momentum"}


def oscillate(one, rng):
    one.momentum = getattr(one, "momentum", 0.0) - 0.1 * one.x + 0.1 * rng.normal()
    one.x += one.momentum
    return one


class Tally:
    """What is dropped shows in nothing that is stored."""

    def __init__(self):
        self.t, self.energy = 0, 0.0

    def __getstate__(self):
        return {"t": self.t}

    def __setstate__(self, state):
        self.t, self.energy = state["t"], 0.0


def tally(one, rng):
    one.t += 1
    one.energy += rng.random()
    return one


class Needs:
    """The attribute is gone, and the step needs it."""

    def __init__(self):
        self.total, self.rate = 0.0, 2.0

    def __getstate__(self):
        state = dict(vars(self))
        del state["rate"]
        return state


def earn(one, rng):
    one.total += one.rate * rng.random()
    return one


# ---- subclasses of ndarray with attributes


class Field(np.ndarray):
    def __array_finalize__(self, other):
        self.time = getattr(other, "time", 0)


def make_field():
    return np.zeros(4).view(Field)


def drive(field, rng):
    field.time += 1
    field += np.sin(field.time) + rng.normal(size=4)
    return field


class Lattice(np.ndarray):
    pass


def make_lattice():
    lattice = np.ones((3, 3)).view(Lattice)
    lattice.temperature = 2.0
    return {"lattice": lattice, "t": 0}


def heat(state, rng):
    state["lattice"] += rng.normal(size=(3, 3)) / getattr(state["lattice"], "temperature", 1.0)
    state["t"] += 1
    return state


class Signal(np.ndarray):
    """A pair of which the second, an array too, is an attribute."""

    def __array_finalize__(self, other):
        self.delay = getattr(other, "delay", np.zeros(2))


def make_signal():
    return types.SimpleNamespace(signal=np.zeros(2).view(Signal))


def echo(state, rng):
    now = np.asarray(state.signal) * 0.9 + state.signal.delay + rng.normal(size=2)
    state.signal.delay = np.asarray(state.signal).copy()
    state.signal[:] = now
    return state


# ---- codecs that leave something out


class Sim:
    def __init__(self):
        self.x, self.rng = 0.0, np.random.default_rng(42)


def drift(sim, rng):
    sim.x += sim.rng.normal()
    return sim


def sim_without_rng(tree):
    sim = Sim()
    sim.x = tree["x"]
    return sim


def rounded_step(x, rng):
    return x + rng.normal()


class Pair:
    def __init__(self, a=0.0, b=0.0):
        self.a, self.b = a, b


def exchange(pair, rng):
    pair.a, pair.b = pair.b + rng.normal(), pair.a
    return pair


class Calendar:
    def __init__(self, day=0, season=0):
        self.day, self.season = day, season


def pass_days(calendar, rng):
    calendar.day += int(rng.integers(1, 3))
    if calendar.day > 30:
        calendar.day, calendar.season = 0, calendar.season + 1
    return calendar


# ---- objects known by identity

EMPTY = object()


def fill(cells, rng):
    k = int(rng.integers(len(cells["cells"])))
    cells["cells"][k] = cells["n"] if cells["cells"][k] is EMPTY else EMPTY
    cells["n"] += 1
    return cells


class Species:
    def __init__(self, name):
        self.name = name


FOX, HARE = Species("fox"), Species("hare")


@dataclasses.dataclass
class Meadow:
    animals: list
    foxes: int = 0


def meet(meadow, rng):
    meadow.animals.append(FOX if rng.random() < 0.5 else HARE)
    meadow.animals.pop(0)
    meadow.foxes += sum(animal is FOX for animal in meadow.animals)
    return meadow


class Idle:
    pass


IDLE = Idle()


class Machine:
    def __init__(self):
        self.mode, self.work = IDLE, 0.0


def run_machine(machine, rng):
    if machine.mode is IDLE:
        machine.work += rng.random()
    else:
        machine.work -= 1.0
    return machine


# ---- the step changes a global, and returns what it was given


class Model:
    def __init__(self):
        global MODEL
        MODEL, self.x = self, 0.0


def steps_the_global(model, rng):
    MODEL.x += rng.normal()
    return model


GRID = np.zeros(5)


def make_grid():
    GRID[:] = 0.0
    return GRID


def sweeps_the_grid(state, rng):
    GRID[int(rng.integers(5))] += 1.0
    return state


WORLD = {"sheep": 10, "wolves": [1]}


def make_world():
    WORLD.update(sheep=10, wolves=[1])
    return WORLD


def lives_in_the_world(state, rng):
    WORLD["sheep"] += int(rng.integers(3))
    return state


# ---- methods of global generators in the state


class Sampler:
    def __init__(self, draw):
        self.draw, self.x = draw, 0.0


def sample(sampler, rng):
    sampler.x += sampler.draw()
    return sampler


def sample_dict(state, rng):
    state["x"] += state["dist"]()
    return state


class Estimator:
    def __init__(self):
        self.random_state, self.x = np.random.random.__self__, 0.0


def estimate(one, rng):
    one.x += one.random_state.normal()
    return one


# ---- sets whose order the step reads


def make_crowd():
    crowd = {8 * i for i in range(20)}
    for i in range(0, 20, 3):  # a history that the order shows: 0 and 64 collide in a small table
        crowd.discard(8 * i)
    return {"crowd": crowd | {64, 0}, "first": 0, "n": 1}


def pick(state, rng):
    crowd = state["crowd"]
    state["first"] = state["first"] * 31 % 1009 + next(iter(crowd))
    crowd.add(int(rng.integers(10_000)))
    if len(crowd) > 12:
        crowd.remove(list(crowd)[int(rng.integers(len(crowd)))])
    return state


class Party:
    def __init__(self):
        self.guests, self.score = set(range(0, 8000, 1000)), 0.0


def mingle(party, rng):
    for i, guest in enumerate(party.guests):
        party.score = (party.score * 1.5 + guest * i) % 1000.0
    party.guests.add(int(rng.integers(1 << 40)))
    party.guests.pop()
    return party


@dataclasses.dataclass
class Fleet:
    ships: set
    log: int = 0


def sail(fleet, rng):
    order = list(fleet.ships)
    for i, ship in enumerate(order):
        fleet.log = (fleet.log * 7 + i * ship) % 1_000_003
    fleet.ships.discard(order[int(rng.integers(len(order)))])
    fleet.ships |= {int(rng.integers(1 << 30)) for _ in range(2)}
    if len(fleet.ships) > 30:
        fleet.ships = set(order[:9])
    return fleet


# ---- global generators, counters and caches


def draws_from_numpy(x, rng):
    return x + np.random.normal()


def draws_from_random(x, rng):
    return x + random.random()


def draws_and_forgets(x, rng):
    random.shuffle([1, 2, 3])
    return x + rng.random()


CALLS = itertools.count()


def counts(x, rng):
    return x + next(CALLS) % 64 + rng.random()


CACHE: dict[int, float] = {}


def caches(x, rng):
    key = int(x) % 7
    if key not in CACHE:
        CACHE[key] = key**3
    return x + CACHE[key] * rng.random()


class Stateful:
    def __init__(self):
        self.last = 0.0

    def __call__(self, x, rng):
        self.last, x = x, 0.5 * self.last + rng.normal()
        return x


def make_closure():
    n = 0

    def step(x, rng):
        nonlocal n
        n += 1
        return x + n * rng.random()

    return step


OWN_RNG = np.random.default_rng(1)


def draws_its_own(x, rng):
    return x + OWN_RNG.normal()


PYTHON = {"backend": "python"}

#: kind -> name -> (step, make, options)
LOSSY: dict[str, dict[str, tuple[Any, Any, dict[str, Any]]]] = {
    "constructor": {
        "all of it": (swing, Env, {}),
        "a queue": (serve, Queue, {}),
        "copyreg": (stretch, lambda: {"spring": Spring(1.0)}, {}),
        "an int": (count_on, lambda: Counted(0), {}),
        "in a later block": (book, Ledger, {}),
    },
    "getstate": {
        "memory": (remember, Walker, {}),
        "a dataclass": (oscillate, Oscillator, {}),
        "a sum that nothing reads": (tally, Tally, {}),
        "an attribute that is needed": (earn, Needs, {}),
    },
    "ndarray": {
        "the time": (drive, make_field, {}),
        "a constant": (heat, make_lattice, {}),
        "an array": (echo, make_signal, {}),
    },
    "codec": {
        "a generator": (drift, Sim, {"codec": (lambda sim: {"x": sim.x}, sim_without_rng)}),
        "rounding": (rounded_step, float, {"codec": (lambda x: np.float32(x), float)}),
        "one of two": (exchange, Pair, {"codec": (lambda pair: {"a": pair.a}, lambda tree: Pair(tree["a"]))}),
        "what changes seldom": (
            pass_days,
            Calendar,
            {"codec": (lambda one: one.day, lambda day: Calendar(day))},
        ),
    },
    "identity": {
        "an object()": (fill, lambda: {"cells": [EMPTY] * 6, "n": 0}, {}),
        "instances of a module": (meet, lambda: Meadow([FOX, HARE, FOX]), {}),
        "an instance for a mode": (run_machine, Machine, {}),
    },
    "global": {
        "an object": (steps_the_global, Model, {}),
        "an array": (sweeps_the_grid, make_grid, {}),
        "a dict": (lives_in_the_world, make_world, {}),
    },
    "generator": {
        "a method of numpy's": (sample, lambda: Sampler(np.random.normal), {}),
        "a method of random's": (sample_dict, lambda: {"x": 0.0, "dist": functools.partial(random.gauss, 0, 1)}, {}),
        "numpy's itself": (estimate, Estimator, {}),
    },
    "order": {
        "a dict": (pick, make_crowd, {}),
        "an object": (mingle, Party, {}),
        "a dataclass": (sail, lambda: Fleet({2**k for k in range(20)}), {}),
    },
}

HIDDEN: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "numpy's global generator": (draws_from_numpy, float, {}),
    "random's global generator": (draws_from_random, float, PYTHON),
    "a global generator that shows in nothing": (draws_and_forgets, float, PYTHON),
    "a counter": (counts, float, {}),
    "an object that is the step": (Stateful(), float, {}),
    "a closure": (make_closure(), float, PYTHON),
    "a generator of the module": (draws_its_own, float, {}),
}


# ---- what is faithful


class WithLock:
    def __init__(self):
        self.x, self.lock = 0.0, threading.Lock()

    def __getstate__(self):
        return {"x": self.x}

    def __setstate__(self, state):
        self.__init__()
        self.x = state["x"]


def under_lock(one, rng):
    with one.lock:
        one.x += rng.normal()
    return one


class WithCache:
    """A table that is filled when it is asked, and dropped."""

    def __init__(self):
        self.x, self._table, self._last = 0, {}, None

    def square(self, n):
        if n not in self._table:
            self._table[n] = n * n
        self._last = n
        return self._table[n]

    def __getstate__(self):
        return {"x": self.x}

    def __setstate__(self, state):
        self.x, self._table, self._last = state["x"], {}, None


def ask(one, rng):
    one.x = (one.x + one.square(int(rng.integers(50)))) % 1000
    return one


class Lazy:
    """A matrix that is made when it is first needed."""

    def __init__(self):
        self.x, self._matrix = np.ones(3), None

    @property
    def matrix(self):
        if self._matrix is None:
            self._matrix = np.eye(3) * 0.9
        return self._matrix

    def __getstate__(self):
        return {"x": self.x, "_matrix": None}


def rotate(one, rng):
    one.x = one.matrix @ one.x + rng.normal(size=3)
    return one


class Cached:
    def __init__(self):
        self.x = 0.0

    @functools.cached_property
    def scale(self):
        return 3.0

    def __getstate__(self):
        return {"x": self.x}


def scaled(one, rng):
    one.x += one.scale * rng.random() if rng.random() < 0.5 else 0.0
    return one


class Compiled:
    def __init__(self, power=2):
        self.x, self.power = 1.5, power
        self.function = lambda x: x**self.power % 7.0

    def __reduce__(self):
        return _compiled, (self.x, self.power)


def _compiled(x, power):
    one = Compiled(power)
    one.x = x
    return one


def apply(one, rng):
    one.x = one.function(one.x) + rng.random()
    return one


class WithHandle:
    def __init__(self, path="/dev/null"):
        self.x, self.path, self.handle = 0.0, path, open(path)  # noqa: SIM115

    def __getstate__(self):
        return {"x": self.x, "path": self.path}

    def __setstate__(self, state):
        self.__init__(state["path"])
        self.x = state["x"]

    def __del__(self):
        self.handle.close()


def read_on(one, rng):
    one.handle.read()
    one.x += rng.normal()
    return one


class Clocked:
    """A time of the wall that is no part of the state, and the number of the object."""

    numbers = itertools.count()

    def __init__(self):
        self.x, self.number, self.took = 0.0, next(Clocked.numbers), 0.0

    def __getstate__(self):
        return {"x": self.x}

    def __setstate__(self, state):
        self.__init__()
        self.x = state["x"]


def clocked(one, rng):
    one.x += rng.normal()
    one.took = next(Clocked.numbers)
    return one


LOG: list[float] = []


def logs(x, rng):
    x += rng.random()
    LOG.append(x)
    return x


def seeds_the_global(x, rng):
    np.random.seed(int(rng.integers(1 << 31)))
    return x + np.random.normal()


def seeds_random(x, rng):
    random.seed(rng.getrandbits(64))
    return x + random.gauss(0, 1)


class Agent:
    def __init__(self, model, n):
        self.model, self.n, self.wealth, self.friends = model, n, 10, []


class Town:
    def __init__(self):
        self.agents = [Agent(self, n) for n in range(6)]
        for agent in self.agents:
            agent.friends = [other for other in self.agents if other.n > agent.n]
        self.random, self.t = random.Random(4), 0


def trade(town, rng):
    town.t += 1
    for agent in town.agents:
        other = town.random.choice(agent.friends or town.agents)
        other.wealth, agent.wealth = other.wealth + 1, agent.wealth - 1
    town.agents[0].wealth += rng.integers(2)
    return town


def make_graph():
    return {node: {"next": [(node + k) % 7 for k in (1, 2)], "load": 0} for node in range(7)}


def walk_graph(graph, rng):
    node = int(rng.integers(7))
    for other in graph[node]["next"]:
        graph[other]["load"] += 1
    return graph


@dataclasses.dataclass
class Particle:
    x: Any
    tags: set
    bare: Any = dataclasses.field(default_factory=object)


def move(one, rng):
    one.x = one.x + rng.normal(size=2)
    one.tags = {n + 1 for n in one.tags}
    assert one.bare is not None
    return one


def seldom(x, rng):
    return x + 1 if rng.random() < 0.01 else x


class Counter(collections.Counter):
    pass


def count_words(words, rng):
    words["abc"[rng.integers(3)]] += 1
    return words


def own_iterator(state, rng):
    state["n"] += next(state["ids"])
    return state


class Env2:
    """An environment with reset and step that pickles all it has."""

    def __init__(self):
        self.np_random, self.pos, self.done, self.steps = np.random.default_rng(0), 0.0, False, 0

    def step(self, force):
        self.pos += force + 0.1 * self.np_random.normal()
        self.steps += 1
        self.done = abs(self.pos) > 2


def episode(env, rng):
    env.step(rng.normal())
    if env.done:
        env.pos, env.done, env.steps = 0.0, False, 0
    return env


FAITHFUL: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "a lock": (under_lock, WithLock, {}),
    "a table that is dropped": (ask, WithCache, {}),
    "a matrix that is made when needed": (rotate, Lazy, {}),
    "a cached property": (scaled, Cached, {}),
    "a function that is made again": (apply, Compiled, {}),
    "an open file": (read_on, WithHandle, {}),
    "clocks and numbers of objects": (clocked, Clocked, {}),
    "a log outside": (logs, float, PYTHON),
    "a table outside": (caches, lambda: 1.0, {}),
    "numpy's global generator, seeded in each step": (seeds_the_global, float, {}),
    "random's global generator, seeded in each step": (seeds_random, float, PYTHON),
    "agents that know their model": (trade, Town, {}),
    "a graph": (walk_graph, make_graph, {}),
    "a set that is no more than its elements": (move, lambda: Particle(np.zeros(2), {1, 2}), {}),
    "a state that changes seldom": (seldom, int, PYTHON),
    "a counter": (count_words, Counter, {}),
    "an iterator": (own_iterator, lambda: {"ids": itertools.count(), "n": 0}, {}),
    "an environment": (episode, Env2, {}),
    "a float": (lambda x, rng: x + rng.random(), float, PYTHON),
    "an array": (lambda x, rng: x * 0.9 + rng.normal(size=x.shape), lambda: np.zeros((2, 3)), {}),
    "a view": (lambda x, rng: np.add(x, rng.normal(size=x.shape), out=x), lambda: np.zeros((4, 6))[::2, ::3], {}),
    "a random walk in a tree": (
        lambda s, rng: {"a": [*s["a"][1:], s["b"][0]], "b": (s["b"][0] + int(rng.integers(5)), None)},
        lambda: {"a": [1, 2], "b": (0, None)},
        {},
    ),
    "a codec that keeps all": (
        exchange,
        Pair,
        {"codec": (lambda pair: [pair.a, pair.b], lambda tree: Pair(*tree))},
    ),
}
