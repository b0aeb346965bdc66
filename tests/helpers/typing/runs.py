"""What a type checker knows of a run. A line that ends in E: and codes must be an error with one of them, alone."""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rewind
from rewind import Run, View

Array = NDArray[np.float64]


@dataclass
class World:
    x: float


def walk(x: int, rng: random.Random) -> int:
    return x + rng.choice((-1, 1))


def drift(x: Array, rng: np.random.Generator) -> Array:
    return x + rng.normal(size=x.shape)


def live(world: World, rng: random.Random) -> World:
    return world


def heated(x: int, rng: random.Random, rate: float, n: int = 3) -> int:
    return x + n


def heated_numpy(x: Array, rng: np.random.Generator, *, rate: float) -> Array:
    return x * rate


def any_rng(x: int, rng: Any) -> int:
    return x


# ---- record: which run a step makes

a: Run[int] = rewind.record(walk, 0, 100, 1)
b: Run[Array] = rewind.record(drift, np.zeros(3), 100, 1, backend="numpy")
c: Run[World] = rewind.record(live, World(0.0), 100, seed=None, observe={"x": "x", "y": lambda w: w.x, "s": None})
d: Run[int] = rewind.record(heated, 0, 100, 1, params={"rate": 0.5})
e: Run[Array] = rewind.record(heated_numpy, np.zeros(3), 100, 1, backend="numpy", params={"rate": 0.5}, self_check=True)
f: Run[int] = rewind.record(lambda x, rng: x + rng.randrange(3), 0, 100, 1)
g: Run[float] = rewind.record(lambda x, rng: x + rng.normal(), 0.0, 100, 1, backend="numpy")
h: Run[int] = rewind.record(any_rng, 0, 100, 1)
i: Run[int] = rewind.record(any_rng, 0, 100, 1, backend="numpy")
j: Run[int] = rewind.record(walk, init_state=0, n_steps=1_000_000, seed=42, backend="python", block_size=10)

# ---- a step for the other generator is an error

rewind.record(drift, np.zeros(3), 100, 1)  # E: call-overload, arg-type
rewind.record(drift, np.zeros(3), 100, 1, backend="python")  # E: call-overload, arg-type
rewind.record(walk, 0, 100, 1, backend="numpy")  # E: call-overload, arg-type
rewind.record(heated_numpy, np.zeros(3), 100, 1, params={"rate": 0.5})  # E: call-overload, arg-type
rewind.record(walk, 0, 100, 1, backend="other")  # E: call-overload, arg-type
rewind.record(lambda x, rng: x + rng.normal(), 0.0, 100, 1)  # E: call-overload, attr-defined

# ---- and so are other things that cannot be meant

rewind.record(walk, "text", 100, 1)  # E: misc, arg-type, call-overload
rewind.record(walk, 0, "100", 1)  # E: call-overload, arg-type
rewind.record(walk, 0, 100)  # E: call-overload, arg-type
rewind.record(walk, 0, 100, 1, observe=["x"])  # E: call-overload, arg-type
rewind.record(lambda x: x, 0, 100, 1)  # E: call-overload, misc, arg-type
wrong: Run[str] = rewind.record(walk, 0, 100, 1)  # E: assignment, arg-type

# ---- questions

t1: int = a.get(5)
t2: int = a[5]
t3: Array = b[-1]
t4: View[int] = a[3:9:2]
t5: int = a[3:9][0]
t6: View[int] = a[3:9][1:2]
t7: list[int] = list(a)
t8: list[World] = list(c[2:])
t9: list[int] = list(a.iter(3, 9))
t10: float = c.get(3).x
t11: bool = a.verify(full=True)
t12: str = a.content_hash()
t13: NDArray[Any] = a.series(lambda s: s * 2, 0, None, 5)
t14: NDArray[Any] = a.overview("x")
t15: rewind.Stats = a.stats(lambda s: s)
t16: rewind.Stats = c.observed["x"]
t17: int = len(a)
t18: float = t15.mean
t19: int = t15.count
t20: int = a.n_steps + a.block_size + a.seed + a.start
t21: dict[str, Any] = a.params
t22: tuple[rewind.Ancestor, ...] = a.lineage
t23: NDArray[Any] = np.asarray(b)

a.get("5")  # E: arg-type
a["5"]  # E: call-overload, arg-type
bad1: str = a.get(5)  # E: assignment
bad2: int = a[3:9]  # E: assignment
bad3: str = c.get(3).x  # E: assignment
print(a.nothing)  # E: attr-defined
a.save(5)  # E: arg-type
a.save("run.replay", compat="1.6")  # E: arg-type

# ---- a file that is recorded to, and recorders

k: Run[int] = rewind.record(walk, 0, 100, 1, path="run.replay", durability="1s", on_signal="checkpoint")
m: Run[Array] = rewind.record(drift, np.zeros(3), 100, 1, backend="numpy", checkpoint_budget="64MB")
n: Run[int] = rewind.resume("run.replay", walk, 200, observe={"x": None}, durability="none")
o: rewind.Recorder[int] = rewind.Recorder(walk, 0, 1, block_size=10, path="run.replay")
p: rewind.Recorder[World] = rewind.Recorder(live, World(0.0), None)
with o as entered:
    x1: rewind.Recorder[int] = entered.advance(5)
x2: int = o.state
x3: float = p.state.x
x4: int | None = o.until(lambda s: s > 3, max_steps=10)
x5: int | None = o.until("x > 3")
x6: Run[int] = o.finish()
x7: Run[World] = p.run
x8: int = o.t + o.n_steps + len(o)
x9: str | None = o.path
for y1 in p:
    y2: float = y1.x
y3: rewind.Recorder[Any] = rewind.Recorder.resume("run.replay", walk, on_signal="checkpoint")
rewind.record(walk, 0, 100, 1, path=5)  # E: call-overload, arg-type
rewind.record(walk, 0, 100, 1, path="run.replay", durability="never")  # E: call-overload, arg-type
rewind.record(walk, 0, 100, 1, path="run.replay", on_signal="ignore")  # E: call-overload, arg-type
rewind.resume("run.replay")  # E: call-arg
rewind.resume(5, walk)  # E: arg-type
rewind.Recorder(walk, 0)  # E: call-arg
o.advance("5")  # E: arg-type
o.until(3)  # E: arg-type
o.t = 5  # E: misc
bad5: str = o.state  # E: assignment

# ---- futures keep the state's type

u1: Run[int] = a.branch(5)
u2: Run[int] = a.branch(5, lambda s: s + 100, n_steps=10, noise="same")
u3: Run[World] = c.branch(5, lambda w: None)
u4: Run[int] = a.extend(200)
u5: Run[int] = a.branch(5, params={"rate": 1.0}, step_fn=heated, seed=3)
u6b: Run[int] = a.branch(5, path="branch.replay", durability="1s", on_signal="checkpoint")
a.branch(5, lambda s: "text")  # E: return-value, arg-type
a.branch(5, noise="other")  # E: arg-type
a.extend("200")  # E: arg-type

# ---- questions

w1: int | None = a.first("x > 3")
w2: int | None = c.last(lambda w: w.x > 3, before=5, workers=2)
w3: rewind.Stats = a.stats(lambda s: s * 2, histogram=[0.0, 1.0], max_lag=3)
w4: dict[str, rewind.Stats] = a.stats({"x": None, "y": lambda s: s + 1})
w5: World = c.at(5).step().back().state
w6: rewind.Divergence | None = a.diff(u1)
w7: rewind.Branches[int] = a.branches(5, 10, lambda s: s + 1)
w8: NDArray[Any] = w7[0]
for change in a.changes("x"):
    w9: int = change[0]
a.first(3)  # E: arg-type
a.first("x", executor="threads")  # E: arg-type
a.branches(5)  # E: call-arg
bad4: int = a.bisect("x > 3")  # E: assignment

# ---- loading: the caller says what is in the file

v1: Run[int] = rewind.load("run.replay", step_fn=walk, allow_pickle=True)
v2: Run[Array] = rewind.load("run.replay")
rewind.load(5)  # E: arg-type
rewind.load("run.replay", reader="other")  # E: arg-type

# ---- errors carry their facts

try:
    rewind.record(walk, 0, 100, 1)
except rewind.StepError as error:
    at: int = error.t
except rewind.StepRangeError as error2:
    outside: int = error2.n_steps

# ---- names are loaded when they are first used, and a misspelt one is an error all the same

rewind.recrod(walk, 0, 100, 1)  # E: attr-defined
