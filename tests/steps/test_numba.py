"""numba steps by themselves: what a driver gives is what the same Python step gives, bit for bit.

Runs of them, end to end, are in test_numba_runs.py.
"""

import collections
import json
import math
import os
import pickle
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rewind
from rewind.errors import MetricError, StateError, StepError, StepReturnError
from rewind.metrics.metric import resolve_one
from rewind.state.codec import StateCodec

numba = pytest.importorskip("numba")

from rewind.steps.jit import build, intrinsics  # noqa: E402
from rewind.steps.jit import step as jit  # noqa: E402  (numba may be missing)

pytestmark = pytest.mark.once

ROOT = Path(rewind.__file__).parents[1]
SEED, N_BLOCKS, SIZE = 7, 3, 20

Particle = collections.namedtuple("Particle", "x v n")
Pair = collections.namedtuple("Pair", "a b")

driver_folder = build.driver_folder  # without what the fixture puts in its place


@pytest.fixture(autouse=True)
def nothing_on_disk(monkeypatch):
    monkeypatch.setattr(build, "driver_folder", lambda: None)


@numba.njit
def ou(x, rng, decay=0.999, drift=0.0):
    return x * decay + drift + rng.standard_normal()


@numba.njit
def walk(x, rng):
    return x + 2 * rng.integers(0, 2) - 1


@numba.njit
def coin(up, rng):
    return (rng.random() < 0.5) != up


@numba.njit
def spiral(z, rng):
    return z * (0.6 + 0.8j) + rng.standard_normal()


@numba.njit
def single(x, rng):
    return np.float32(x * np.float32(0.5)) + np.float32(rng.random())


@numba.njit
def in_place(x, rng):
    for i in range(x.size):
        x[i] = 0.9 * x[i] + rng.standard_normal()
    return x


@numba.njit
def allocating(x, rng):
    return 0.9 * x + rng.standard_normal(x.size)


@numba.njit
def matrix(x, rng):
    y = x * 0.5
    y[1, 2] += rng.random()
    return y


@numba.njit
def backwards(x, rng):
    x[0] += rng.random()
    return x[::-1]


@numba.njit
def point(x, rng):
    x[()] += int(9 * rng.random())
    return x


@numba.njit
def agents(people, rng):
    for i in range(people.size):
        people[i]["wealth"] += rng.standard_normal()
        people[i]["age"] += 1
    return people


@numba.njit
def tuple_step(state, rng):
    x, n, up = state
    return x + rng.standard_normal(), n + 1, not up


@numba.njit
def particle(p, rng):
    for i in range(p.v.size):
        p.v[i] += rng.standard_normal()
    return Particle(p.x + p.v.sum(), p.v, p.n + 1)


@numba.njit
def swap(pair, rng):
    a, b = pair
    a[0] += rng.random()
    return b, a


@numba.njit
def merge(pair, rng):
    pair.b[1] += rng.random()
    return Pair(pair.b, pair.b)


@numba.njit
def nested(state, rng):
    (x, y), z = state
    return (y, x + rng.random()), z * 0.5 + x


PEOPLE = np.dtype([("wealth", "f8"), ("age", "i4")], align=True)

KINDS = {
    "float": (ou, 0.0),
    "int": (walk, 0),
    "bool": (coin, True),
    "complex": (spiral, 1 + 2j),
    "numpy float32": (single, np.float32(1)),
    "numpy float64": (ou, np.float64(0)),
    "numpy int64": (walk, np.int64(3)),
    "array in place": (in_place, np.zeros(5)),
    "array, allocating": (allocating, np.arange(5.0)),
    "matrix": (matrix, np.arange(6.0).reshape(2, 3)),
    "array in Fortran order": (matrix, np.asfortranarray(np.arange(6.0).reshape(2, 3))),
    "a view of the array": (backwards, np.arange(5.0)),
    "array without axes": (point, np.array(3)),
    "structured array": (agents, np.zeros(3, PEOPLE)),
    "tuple": (tuple_step, (0.5, 3, True)),
    "namedtuple": (particle, Particle(0.0, np.ones(3), 0)),
    "two arrays that change places": (swap, (np.zeros(3), np.ones(3))),
    "nested tuples": (nested, ((0.5, 1.5), np.float64(2))),
}


def generator(block, seed=SEED):
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy=seed, spawn_key=(block,))))


def as_kind(like, x):
    """Return a number as the Python number it is in a numba run, where no step returns numpy's."""
    if isinstance(like, tuple):
        return type(like)._make(map(as_kind, like, x)) if hasattr(like, "_make") else tuple(map(as_kind, like, x))
    return x if isinstance(like, np.ndarray) else type(like)(x)


def in_python(step, state, params=None):
    """Return the state after some blocks of the plain Python step, with stock generators."""
    codec = StateCodec.of(state)
    for block in range(N_BLOCKS):
        state, rng = codec.decode(codec.encode(state)), generator(block)
        for _ in range(SIZE):
            state = as_kind(state, step.py_func(state, rng, **(params or {})))
    return state


def driven(step, state, params=None, parts=(SIZE,)):
    """Return the state after the same blocks by the driver, each in these parts."""
    assert sum(parts) == SIZE
    codec = StateCodec.of(state)
    loop = jit.NumbaStep(step, params or {}).bound(codec)()
    for block in range(N_BLOCKS):
        state, rng = codec.decode(codec.encode(state)), generator(block)
        for n in parts:
            state = loop.advance(state, rng, n, 0)
    return state


def digest(like, state):
    codec = StateCodec.of(like)
    row = codec.encode(state)
    assert not isinstance(row, bytes), f"{state!r} is of another type than {like!r}"
    return codec.digest(row)


@pytest.fixture(params=["native", "public"])
def both(request, monkeypatch):
    """Run a test on the native driver, and on the one that stands in for it."""
    if request.param == "public":
        monkeypatch.setattr(build, "has_native_generator", lambda: False)
    else:
        assert build.has_native_generator()
    return request.param


#: To compile takes long: what stands in for the native driver is tried on every way a state is written, once.
ON_BOTH = {
    "float",
    "bool",
    "array, allocating",
    "array in Fortran order",
    "namedtuple",
    "two arrays that change places",
}


def cases(kinds):
    return [
        pytest.param(driver, kind, id=f"{driver}-{kind}")
        for kind in kinds
        for driver in ("native", "public")
        if driver == "native" or kind in ON_BOTH
    ]


@pytest.mark.parametrize("both, kind", cases(KINDS), indirect=["both"])
def test_every_kind_of_state_goes_as_in_python(kind, both):
    step, state = KINDS[kind]
    expected = in_python(step, StateCodec.of(state).copy(state))
    assert digest(state, driven(step, state)) == digest(state, expected)
    # Where a block is cut must not show.
    assert digest(state, driven(step, state, parts=(1, 7, 0, 12))) == digest(state, expected)


def test_arrays_that_became_one_are_two_at_the_next_step(both):
    # In Python they stay one until the end of the block, so where a block is cut would show: here it does not.
    state = Pair(np.zeros(2), np.ones(2))
    assert digest(state, driven(merge, state)) == digest(state, driven(merge, state, parts=(1,) * SIZE))


def test_the_stream_ends_where_it_ends_in_python(both):
    loop, rng, plain, x = jit.NumbaStep(walk, {}).bound(StateCodec.of(0))(), generator(0), generator(0), 0
    loop.advance(0, rng, 31, 0)  # an odd number of draws of 32 bits: half a word is left over
    for _ in range(31):
        x = walk.py_func(x, plain)
    assert rng.bit_generator.state == plain.bit_generator.state


# ---- params


@numba.njit
def with_params(x, rng, scale, shift, flag, name, nothing, many):
    if name == "up" and nothing is None and flag:
        x += shift
    for value in many:
        x += value
    return x * scale + rng.random()


def test_params_of_every_kind_arrive(both):
    params = {"scale": 0.5, "shift": 3, "flag": True, "name": "up", "nothing": None, "many": [0.25, 0.5]}
    expected = in_python(with_params, 0.0, params)
    assert driven(with_params, 0.0, params) == expected
    assert driven(with_params, 0.0, {**params, "flag": False}) == in_python(with_params, 0.0, {**params, "flag": False})
    assert driven(with_params, 0.0, {**params, "name": "f(0)"}) == in_python(with_params, 0.0, {**params, "name": ""})


@numba.njit
def in_order(x, rng, a, b=2.0, c=3.0, d=4.0):
    return 0.5 * x + a + 10 * b + 100 * c + 1000 * d + rng.random()


@pytest.mark.parametrize(
    "params", [{"a": 1.0, "d": 7.0}, {"c": 5.0, "a": 1.0, "b": 6.0}, {"b": 8.0, "a": 9.0}], ids=str
)
def test_params_go_by_name_in_whatever_order_they_come(params, both):
    expected = in_python(in_order, 0.0, params)
    assert driven(in_order, 0.0, params) == expected
    assert driven(in_order, 0.0, dict(sorted(params.items()))) == expected


def test_other_numbers_compile_nothing():
    first = driven(ou, 0.0, {"decay": 0.5, "drift": 1.0})
    drivers = len(jit._kept(ou).drivers)
    assert (
        driven(ou, 0.0, {"decay": 0.25, "drift": -1.0}) == in_python(ou, 0.0, {"decay": 0.25, "drift": -1.0}) != first
    )
    assert len(jit._kept(ou).drivers) == drivers


def test_a_param_that_is_no_argument_is_refused():
    for name in ("a-b", "lambda", "x); import os; (y"):
        with pytest.raises(rewind.errors.ArgumentError, match="a name in params"):
            jit.NumbaStep(ou, {name: 1.0})
    with pytest.raises(rewind.errors.ArgumentError, match="int of 64 bits"):
        jit.NumbaStep(ou, {"decay": 1 << 63})


# ---- what is refused


def refusal(step, state, error=StateError, params=None):
    with pytest.raises(error) as caught:
        jit.NumbaStep(step, params or {}).bound(StateCodec.of(state))
    return str(caught.value)


@pytest.mark.parametrize(
    "state, path, problem",
    [
        ({"x": 1.0}, "", "a dict"),
        ([1.0, 2.0], "", "a list"),
        ("text", "", "a str"),
        (None, "", "None"),
        ((1.0, [2]), "[1]", "a list"),
        (Particle(0.0, None, 0), ".v", "None"),
        (np.zeros(3, "f2"), "", "values of dtype float16"),
        (np.zeros(3, ">f8"), "", "values of dtype >f8"),
        (np.array(["a"]), "", "values of dtype"),
        (1 << 70, "", "something that is kept as a pickle"),
    ],
    ids=repr,
)
def test_other_states_are_refused_by_name(state, path, problem):
    text = refusal(ou, state)
    assert problem in text and "a numba step takes a float, int, bool or complex" in text
    assert text.startswith(f"state{path}" if path else "the state has")


def test_a_step_that_changes_the_type_of_its_state_is_refused(both):
    text = refusal(ou, 0)
    assert "int64, and step_fn returns float64" in text and "start from a float: 0.0, not 0" in text
    assert "float64, and step_fn returns complex128" in refusal(spiral, 0.0)
    assert "returns UniTuple(array(float64, 1d, C) x 2)" in refusal(swap, Pair(np.zeros(2), np.ones(2)))


@numba.njit
def forgetful(x, rng):
    x += rng.random()


def test_a_step_that_returns_nothing_is_told_so():
    assert "did it forget to return the state?" in refusal(forgetful, 0.0, StepReturnError)


def test_what_numba_cannot_compile_is_a_step_error():
    @numba.njit
    def step(x, rng):
        return x.no_such_thing

    assert "TypingError at step 0" in refusal(step, 0.0, StepError)


def test_params_the_step_does_not_have_are_refused():
    # numba itself would pass over the first of these.
    text = refusal(ou, 0.0, StepError, {"no_such_param": 1.0})
    assert "TypeError at step 0: got an unexpected keyword argument 'no_such_param'" in text
    assert "missing a required argument: 'scale'" in refusal(with_params, 0.0, StepError)


def test_a_state_of_another_type_is_refused_when_it_comes(both):
    for like, other in ((0.0, 1), ((0.5, 3, True), (0.5, 3.0, True)), (np.zeros(5), np.zeros(6))):
        step = in_place if isinstance(like, np.ndarray) else tuple_step if isinstance(like, tuple) else ou
        loop = jit.NumbaStep(step, {}).bound(StateCodec.of(like))()
        with pytest.raises(StateError):
            loop.advance(other, generator(0), 1, 0)


# ---- errors in the step


@numba.njit
def fragile(x, rng):
    x = x + rng.random()
    if x > 10.0:
        raise ValueError("over ten")
    return x


@numba.njit
def fragile_array(x, rng):
    x[0] += rng.random()
    if x[0] > 10.0:
        raise ValueError("over ten")
    return x


@numba.njit
def grows(x, rng):
    if rng.random() < 0.1:
        return np.append(x, 1.0)
    return x + 1.0


@numba.njit
def divides(x, rng):
    return x // (int(10 * rng.random()) - 1)


@pytest.mark.parametrize("step, state", [(fragile, 0.0), (fragile_array, np.zeros(1))], ids=["float", "array"])
def test_an_error_arrives_as_itself_with_its_step(step, state, both):
    plain, x, t = generator(0), StateCodec.of(state).copy(state), 100
    with pytest.raises(ValueError):
        while True:
            x = step.py_func(x, plain)
            t += 1
    loop = jit.NumbaStep(step, {}).bound(StateCodec.of(state))()
    with pytest.raises(StepError, match="raised ValueError at step .*: over ten") as caught:
        loop.advance(state, generator(0), 1000, 100)
    assert caught.value.t == t
    assert type(caught.value.__cause__) is ValueError


def test_errors_of_the_machine_arrive_too(both):
    loop = jit.NumbaStep(divides, {}).bound(StateCodec.of(5))()
    with pytest.raises(StepError) as caught:
        loop.advance(5, generator(0), 1000, 0)
    assert type(caught.value.__cause__) is ZeroDivisionError


def test_another_shape_is_an_error_at_its_step(both):
    plain, t = generator(0), 0
    while plain.random() >= 0.1:
        t += 1
    loop = jit.NumbaStep(grows, {}).bound(StateCodec.of(np.zeros(2)))()
    with pytest.raises(StepError, match="keeps the shape of its state") as caught:
        loop.advance(np.zeros(2), generator(0), 1000, 0)
    assert caught.value.t == t


def test_an_error_that_does_not_come_again_is_admitted(monkeypatch):
    step = jit.NumbaStep(fragile, {})
    loop = step.bound(StateCodec.of(0.0))()
    monkeypatch.setattr(step, "function", ou)  # asked for the reason, it gives none
    with pytest.raises(StepError, match="what it raised is not known") as caught:
        loop.advance(0.0, generator(0), 1000, 0)
    assert caught.value.t > 0


# ---- metrics


@numba.njit
def square(x):
    return x * x


@numba.njit
def outer(x):
    return x.reshape(-1, 1) * x


@numba.njit
def energy(p):
    return (p.v**2).sum()


@numba.njit
def logarithm(x):
    if x > 5.0:
        raise ValueError("too far")
    return x


OBSERVED = {
    "float": (ou, 0.0, {"x": None, "square": square}),
    "array": (in_place, np.zeros(3), {"x": None, "outer": outer}),
    "Fortran": (matrix, np.asfortranarray(np.arange(6.0).reshape(2, 3)), {"x": None}),
    "namedtuple": (particle, Particle(0.0, np.ones(3), 0), {"e": energy, "v": "v", "n": "n"}),
    "structured": (agents, np.zeros(3, PEOPLE), {"wealth": "wealth"}),
    "tuple": (tuple_step, (0.5, 3, True), {"all": None}),
}


def value_of(metric, state):
    if metric is None:
        return np.array(state, np.float64)
    if isinstance(metric, str):
        return np.array(state[metric] if isinstance(state, np.ndarray) else getattr(state, metric), np.float64)
    return np.array(metric.py_func(state), np.float64)


@pytest.mark.parametrize("both, kind", cases(OBSERVED), indirect=["both"])
@pytest.mark.parametrize("last", [0, 1], ids=["inside", "last block"])
def test_metrics_are_those_of_the_python_step(kind, last, both):
    step, state, metrics = OBSERVED[kind]
    codec = StateCodec.of(state)
    loop = jit.NumbaStep(step, {}).observer(codec, list(metrics), list(metrics.values()), codec.copy(state))
    x, rng, rows = codec.copy(state), generator(0), []
    for i in range(SIZE):
        rows.append(np.concatenate([value_of(metric, x).reshape(-1) for metric in metrics.values()]))
        if i < SIZE - last:
            x = as_kind(x, step.py_func(x, rng))
    shapes = tuple(value_of(metric, state).shape for metric in metrics.values())
    assert loop.shapes == shapes
    out = np.zeros((SIZE, sum(math.prod(shape) for shape in shapes)))
    end = loop.observe(codec.copy(state), generator(0), SIZE, SIZE - last, 0, out)
    assert out.tobytes() == np.array(rows).tobytes()
    assert digest(state, end) == digest(state, x)


def test_a_metric_that_raises_is_named(both):
    loop = jit.NumbaStep(ou, {}).observer(StateCodec.of(0.0), ["x", "far"], [None, logarithm], 0.0)
    with pytest.raises(MetricError, match="metric 'far'.*raised ValueError: too far"):
        loop.observe(0.0, generator(0), 1000, 1000, 0, np.zeros((1000, 2)))


def test_an_observed_step_that_raises_says_which(both):
    loop = jit.NumbaStep(fragile, {}).observer(StateCodec.of(0.0), ["x"], [None], 0.0)
    alone = jit.NumbaStep(fragile, {}).bound(StateCodec.of(0.0))()
    with pytest.raises(StepError) as expected:
        alone.advance(0.0, generator(0), 1000, 0)
    with pytest.raises(StepError, match="over ten") as caught:
        loop.observe(0.0, generator(0), 1000, 1000, 0, np.zeros((1000, 1)))
    assert caught.value.t == expected.value.t


def test_only_metrics_numba_can_see_are_observed_natively():
    codec = StateCodec.of(0.0)
    step = jit.NumbaStep(ou, {})
    assert step.observer(codec, ["a", "b"], [None, square], 0.0).shapes == ((), ())
    assert step.observer(codec, ["a", "b"], [None, abs], 0.0) is None
    assert step.observer(codec, ["a"], [lambda x: x], 0.0) is None
    assert step.observer(codec, ["a"], [abs]) is None
    assert step.observer(codec, ["a"], ["real"], 0.0) is None  # an attribute of a float, which numba has no way to
    assert step.observer(codec, ["a"], [outer], 0.0) is None
    assert jit.NumbaStep(spiral, {}).observer(StateCodec.of(1j), ["z"], [None], 1j) is None


def test_a_metric_whose_arrays_are_copied_for_the_user_is_observed_natively_all_the_same():
    state, walk = np.zeros(3), numba.njit(lambda state, rng: state + rng.random())
    codec = StateCodec.of(state)
    metrics = [resolve_one("x", None, state, codec)]
    assert metrics[0] is not None
    assert jit.NumbaStep(walk, {}).observer(codec, ["x"], metrics, state).shapes == ((3,),)


# ---- what is recognised


def test_only_dispatchers_are_numba_steps():
    assert jit.is_numba(ou) and jit.is_numba(numba.njit(fastmath=True)(lambda x, rng: x))
    for other in (ou.py_func, lambda x, rng: x, np.sin, 3, None, numba.vectorize(lambda x: x)):
        assert not jit.is_numba(other)


def test_a_run_without_numba_does_not_import_it():
    code = "import sys; from rewind.steps.jit import step; step.is_numba(len); assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_step_pickles_as_its_function_and_params():
    step = jit.NumbaStep(ou, {"decay": 0.5})
    expected = step.bound(StateCodec.of(0.0))().advance(0.0, generator(0), 10, 0)
    again = pickle.loads(pickle.dumps(step))
    assert again.bound(StateCodec.of(0.0))().advance(0.0, generator(0), 10, 0) == expected


def test_a_failing_probe_switches_to_the_public_driver(monkeypatch):
    def broken():
        raise AttributeError("no such struct")

    build.has_native_generator.cache_clear()
    try:
        monkeypatch.setattr(intrinsics, "generator_at", broken)
        loop = jit.NumbaStep(ou, {}).bound(StateCodec.of(0.0))()
        assert not loop.bulk
        x, rng, plain = 0.0, generator(0), generator(0)
        for _ in range(10):
            x = ou.py_func(x, plain)
        assert loop.advance(0.0, rng, 10, 0) == x
    finally:
        build.has_native_generator.cache_clear()


# ---- drivers on disk

USER = """
import json, sys
import numpy as np
import numba
from rewind.state.codec import StateCodec
from rewind.steps.jit import step as jit
from helpers import double

SHIFT = float(sys.argv[1])

@numba.njit
def step(x, rng):
    return double(x) * 0.25 + SHIFT + rng.standard_normal()

if len(sys.argv) > 2:
    step(0.0, np.random.default_rng(1))
    SHIFT = float(sys.argv[2])
loop = jit.NumbaStep(step, {}).bound(StateCodec.of(0.0))()
(driver,) = jit._kept(step).drivers.values()
x = loop.advance(0.0, np.random.Generator(np.random.PCG64(1)), 100, 0)
print(json.dumps([x, driver.is_cached, driver.hits("block")]))
"""
HELPERS = "import numba\n@numba.njit\ndef double(x):\n    return {} * x\n"


#: Runs the script once for each line that it reads, in a fork: numba is there, and no step or driver was compiled.
STARTER = """
import json, os, runpy, sys, warnings
import numpy as np
import numba
from rewind.steps.jit import build, step
numba.njit(lambda rng: rng.random())(np.random.default_rng(1))
for line in sys.stdin:
    argv, cache = json.loads(line)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy may have threads
        child = os.fork()
    if child == 0:
        os.environ["NUMBA_CACHE_DIR"] = cache
        numba.config.reload_config()
        sys.argv = ["user.py", *argv]
        runpy.run_path("user.py", run_name="__main__")
        break
    if os.waitpid(child, 0)[1]:
        sys.exit("it failed")
"""


class Program:
    """A script with a numba step in ``__main__``, run in processes of its own."""

    def __init__(self, home, cache):
        self.home, self.cache = home, cache
        (home / "user.py").write_text(USER)
        self.double(2)
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        self.starter = None
        if hasattr(os, "fork"):
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            with open(home / "errors", "w") as errors:
                command = [sys.executable, "-W", "error", "-c", STARTER]
                self.starter = subprocess.Popen(command, cwd=home, env=self.env, stderr=errors, **pipes)

    def double(self, factor):
        (self.home / "helpers.py").write_text(HELPERS.format(factor))

    def __call__(self, *argv, cache=None):
        argv, cache = list(map(str, argv)), str(cache or self.cache)
        if self.starter is None:
            command, env = [sys.executable, "-W", "error", "user.py", *argv], {**self.env, "NUMBA_CACHE_DIR": cache}
            return json.loads(
                subprocess.run(command, cwd=self.home, env=env, stdout=subprocess.PIPE, check=True).stdout
            )
        self.starter.stdin.write(json.dumps([argv, cache]) + "\n")
        self.starter.stdin.flush()
        answer = self.starter.stdout.readline()
        assert answer, (self.home / "errors").read_text()
        return json.loads(answer)

    def close(self):
        if self.starter is not None:
            self.starter.communicate()

    def drivers(self):
        texts = {path: path.read_text() for path in (self.cache / "rewind").glob("*.py")}
        return [path for path, text in texts.items() if "function: __main__:step" in text]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    home = tmp_path_factory.mktemp("program")
    program = Program(home, home / "cache")
    program.first, *rest = program(0.5)
    assert rest == [True, 0]
    yield program
    program.close()


def test_the_next_process_finds_the_driver_on_disk(program):
    assert program(0.5) == [program.first, True, 1]


def test_a_file_with_anything_else_in_it_is_written_again_and_never_run(program):
    driver = program.drivers()[0]
    text = driver.read_text()
    driver.write_text("raise SystemExit('run')\n" + text)
    assert program(0.5)[:2] == [program.first, True]
    assert driver.read_text() == text


def test_an_edit_is_seen_wherever_it_is(program):
    other = program(1.5)  # a global of the step
    assert other[0] != program.first and other[2] == 0
    program.double(3)  # a function in another file
    changed = program(0.5)
    assert changed[0] != program.first and changed[2] == 0
    program.double(2)


def test_what_was_compiled_before_a_global_changed_is_kept_out_of_the_cache(program):
    frozen = program(0.5, 2.5)  # numba has frozen 0.5, and the module says 2.5
    assert frozen == [program.first, False, 0]
    fresh = program(2.5)
    assert fresh[0] != frozen[0] and fresh[1:] == [True, 0]


def test_a_folder_that_cannot_be_written_costs_the_cache_alone(program, tmp_path):
    (tmp_path / "file").write_text("")
    assert program(0.5, cache=tmp_path / "file" / "cache") == [program.first, False, 0]


def test_a_damaged_cache_is_passed_by(program, tmp_path):
    shutil.copytree(program.cache, tmp_path / "cache")
    damaged = list((tmp_path / "cache").rglob("*.nb[ic]"))
    assert damaged
    for path in damaged:
        path.write_bytes(b"damaged")
    assert program(0.5, cache=tmp_path / "cache")[0] == program.first


def test_the_folder_is_numbas_or_that_of_the_users_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    assert driver_folder() == tmp_path / "numba" / "rewind"
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if os.name == "posix":
        assert driver_folder() == tmp_path / "cache" / "rewind"


def test_a_file_of_many_writers_is_whole_and_has_one_time_stamp(tmp_path):
    paths = {build.keep(tmp_path, "driver", "text\n") for _ in range(3)}
    assert [path.read_text() for path in paths] == ["text\n"]
    stamp = os.stat(tmp_path / "driver.py").st_mtime
    (tmp_path / "driver.py").write_text("other")
    build.keep(tmp_path, "driver", "text\n")
    assert os.stat(tmp_path / "driver.py").st_mtime == stamp
    assert [path.name for path in tmp_path.iterdir()] == ["driver.py"]


# ---- what numba draws

DRAWS = {
    "random": "rng.random()",
    "integers": "rng.integers(-3, 1000)",
    "integers of 64 bits": "rng.integers(0, 10**12)",
    "standard_normal": "rng.standard_normal()",
    "normal": "rng.normal(1.5, 2.0)",
    "uniform": "rng.uniform(-1.0, 3.0)",
    "standard_exponential": "rng.standard_exponential()",
    "exponential": "rng.exponential(2.5)",
    "standard_gamma": "rng.standard_gamma(3.5)",
    "gamma": "rng.gamma(3.5, 2.0)",
    "beta": "rng.beta(2.0, 3.0)",
    "chisquare": "rng.chisquare(4.0)",
    "f": "rng.f(3.0, 5.0)",
    "standard_cauchy": "rng.standard_cauchy()",
    "pareto": "rng.pareto(2.5)",
    "weibull": "rng.weibull(1.5)",
    "laplace": "rng.laplace(0.5, 2.0)",
    "logistic": "rng.logistic(0.5, 2.0)",
    "lognormal": "rng.lognormal(0.5, 0.25)",
    "rayleigh": "rng.rayleigh(2.0)",
    "standard_t": "rng.standard_t(3.0)",
    "triangular": "rng.triangular(0.0, 1.0, 3.0)",
    "poisson": "rng.poisson(3.0)",
    "poisson of large mean": "rng.poisson(1e6)",
    "binomial": "rng.binomial(10, 0.3)",
    "binomial of large n": "rng.binomial(1000, 0.4)",
    "geometric": "rng.geometric(0.3)",
    "negative_binomial": "rng.negative_binomial(5.0, 0.4)",
    "logseries": "rng.logseries(0.6)",
    "zipf": "rng.zipf(2.5)",
    "noncentral_chisquare": "rng.noncentral_chisquare(3.0, 1.5)",
    "noncentral_f": "rng.noncentral_f(3.0, 5.0, 1.5)",
}


def filler():
    """Return a function that fills an array with draws of one kind: all kinds in one, which numba compiles once."""
    lines = ["def fill(rng, out, kind):"]
    for kind, draw in enumerate(DRAWS.values()):
        lines += [f"    if kind == {kind}:", "        for i in range(out.size):", f"            out[i] = {draw}"]
    scope = {}
    exec("\n".join(lines), scope)
    return numba.njit(scope["fill"])


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="promised on x86-64 alone")
def test_the_distributions_the_docs_list_have_numpys_bits():
    page, fill, others = (ROOT / "docs" / "numba-steps.md").read_text(), filler(), []
    for kind, name in enumerate(DRAWS):
        assert f"`{name.split()[0]}`" in page
        got, drawn, expected, plain = np.zeros(20_000), generator(1), np.zeros(20_000), generator(1)
        fill(drawn, got, kind)
        fill.py_func(plain, expected, kind)
        if got.tobytes() != expected.tobytes() or drawn.bit_generator.state != plain.bit_generator.state:
            others.append(name)
    assert not others, f"numba {numba.__version__}, numpy {np.__version__}"
