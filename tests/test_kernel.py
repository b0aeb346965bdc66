"""The kernels: block arithmetic, replay loops, exact sums, their surface and their choice."""

import ast
import functools
import gc
import importlib
import inspect
import math
import operator
import os
import random
import signal
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import rewind.kernel
from rewind.errors import MetricError, StepError, StepReturnError

ROOT = Path(__file__).parents[1]


# ---- blocks


@given(n_steps=st.integers(0, 2**200))
@example(n_steps=0)
@example(n_steps=1)
@example(n_steps=10**6)
@example(n_steps=(2**53 + 1) ** 2)
@example(n_steps=(2**53 + 1) ** 2 + 1)
def test_default_block_size_is_the_square_root_rounded_up(core, n_steps):
    size = core.default_block_size(n_steps)
    assert size * size >= n_steps
    assert size == 0 or (size - 1) ** 2 < n_steps


def test_a_million_steps_have_a_thousand_blocks(core):
    assert core.default_block_size(1_000_000) == 1000


# ---- advance


def walk(state, rng):
    return state * 0.999 + rng.gauss(0, 1)


def plain_loop(step_fn, state, rng, n):
    for _ in range(n):
        state = step_fn(state, rng)
    return state


@pytest.mark.parametrize("n", [0, 1, 2, 1023, 1024, 1025, 5000])
def test_advance_is_the_plain_loop(core, n):
    ours, theirs = random.Random(1), random.Random(1)
    got = core.advance(walk, 0.5, ours, n, 0, False)
    assert got.hex() == plain_loop(walk, 0.5, theirs, n).hex()
    assert ours.getstate() == theirs.getstate()


class Adder:
    def __init__(self, amount):
        self.amount = amount

    def __call__(self, state, rng):
        return state + self.amount

    def step(self, state, rng):
        return state + self.amount

    @staticmethod
    def plain(state, rng):
        return state + 3

    @classmethod
    def of_class(cls, state, rng):
        return state + 3


@pytest.mark.parametrize(
    "step_fn",
    [
        lambda state, rng: state + 3,
        functools.partial(lambda amount, state, rng: state + amount, 3),
        functools.partial(lambda state, rng, amount: state + amount, amount=3),
        Adder(3),
        Adder(3).step,
        Adder.plain,
        Adder.of_class,
        operator.add,
        int.__add__,
        functools.lru_cache(lambda state, rng: state + rng),
    ],
    ids=["lambda", "partial", "partial-keyword", "object", "method", "static", "class", "builtin", "slot", "lru_cache"],
)
def test_any_callable_is_a_step_function(core, step_fn):
    assert core.advance(step_fn, 0, 3, 2000, 0, False) == 6000
    buffer = []
    assert core.advance_observed(step_fn, 0, 3, 10, 9, 0, False, ["x"], [None], [buffer]) == 27
    assert buffer == list(range(0, 30, 3))


def test_a_class_is_a_step_function(core):
    pair = core.advance(Pair, None, "rng", 3, 0, False)
    assert (pair.rng, pair.state.rng, pair.state.state.state) == ("rng", "rng", None)


class Pair:
    def __init__(self, state, rng):
        self.state, self.rng = state, rng


def fails_at(step, error):
    def step_fn(state, rng):
        if state == step:
            raise error
        return state + 1

    return step_fn


@pytest.mark.parametrize("step", [100, 101, 1123, 1124, 1125, 1999])
def test_a_failing_step_is_named(core, step):
    error = ValueError("too hot")
    with pytest.raises(StepError, match=f"step_fn raised ValueError at step {step}: too hot") as caught:
        core.advance(fails_at(step, error), 100, None, 1900, 100, False)
    assert caught.value.t == step
    assert caught.value.__cause__ is error


def test_a_failing_builtin_step_is_named(core):
    with pytest.raises(StepError) as caught:
        core.advance(operator.add, 0, "x", 5, 40, False)
    assert caught.value.t == 40
    assert type(caught.value.__cause__) is TypeError


@pytest.mark.parametrize("thing", [7, None, "step", object()], ids=["int", "None", "text", "object"])
def test_what_cannot_be_called_fails_at_the_first_step(core, thing):
    with pytest.raises(StepError) as caught:
        core.advance(thing, 0, None, 5, 40, False)
    assert caught.value.t == 40
    assert type(caught.value.__cause__) is TypeError


@pytest.mark.parametrize("error", [StepError(5, ValueError("inner")), StepReturnError(5)])
def test_an_error_of_a_run_inside_a_step_is_the_error_of_that_step(core, error):
    with pytest.raises(StepError) as caught:
        core.advance(fails_at(3, error), 0, None, 10, 0, False)
    assert type(caught.value) is StepError
    assert caught.value.t == 3
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_comes_through_untouched(core, kind):
    error = kind()
    for run in (
        lambda step_fn: core.advance(step_fn, 0, None, 10, 0, False),
        lambda step_fn: core.advance_observed(step_fn, 0, None, 10, 10, 0, False, [], [], []),
        lambda metric: core.advance_observed(walk, 3, None, 10, 10, 0, False, ["x"], [lambda x: metric(x, 0)], [[]]),
    ):
        with pytest.raises(kind) as caught:
            run(fails_at(3, error))
        assert caught.value is error
        assert caught.value.__cause__ is None


def test_a_step_that_forgets_to_return_is_named(core):
    def step_fn(state, rng):
        return state + 1 if state < 7 else None

    with pytest.raises(StepReturnError, match="step_fn returned None at step 1007") as caught:
        core.advance(step_fn, 0, None, 10, 1000, False)
    assert caught.value.t == 1007
    assert caught.value.__cause__ is None
    with pytest.raises(StepReturnError, match="step_fn returned None at step 1007"):
        core.advance_observed(step_fn, 0, None, 10, 10, 1000, False, [], [], [])


def test_none_is_a_state_where_it_is_allowed(core):
    calls = []
    assert core.advance(lambda state, rng: calls.append(state), None, None, 5, 0, True) is None
    assert calls == [None] * 5
    core.advance_observed(lambda state, rng: calls.append(state), None, None, 5, 5, 0, True, [], [], [])
    assert calls == [None] * 10


def test_the_last_state_may_be_missing_too(core):
    with pytest.raises(StepReturnError) as caught:
        core.advance(lambda state, rng: None, 0, None, 1, 9, False)
    assert caught.value.t == 9


def scale(state):
    return state


def test_a_name_a_step_looks_up_may_change_while_it_runs(core, monkeypatch):
    def step_fn(state, rng):
        if state == 5:
            monkeypatch.setattr(sys.modules[__name__], "scale", lambda state: 10 * state)
        return scale(state) + 1

    assert core.advance(step_fn, 0, None, 7, 0, False) == 511


RELOADING = """
def later(state, rng):
    return state + 100

def step_fn(state, rng):
    if state == 5:
        step_fn.__code__ = later.__code__
    return state + 1
"""


def test_the_code_of_a_step_may_change_while_it_runs(core):
    namespace = {}
    exec(RELOADING, namespace)
    assert core.advance(namespace["step_fn"], 0, None, 7, 0, False) == 106


def test_in_place_steps_keep_their_object(core):
    state = np.zeros(3)

    def step_fn(state, rng):
        state += 1
        return state

    assert core.advance(step_fn, state, None, 10, 0, False) is state
    assert state.tolist() == [10, 10, 10]


class Counted:
    """A state whose living instances are counted."""

    alive = 0

    def __init__(self, value):
        self.value = value
        Counted.alive += 1

    def __del__(self):
        Counted.alive -= 1


def test_states_are_freed_as_the_loop_goes_on(core):
    most = 0

    def step_fn(state, rng):
        nonlocal most
        most = max(most, Counted.alive)
        if state.value == 900:
            raise ValueError
        return Counted(state.value + 1)

    gc.collect()
    assert Counted.alive == 0
    core.advance(step_fn, Counted(0), None, 800, 0, False)
    assert most <= 2  # the caller's first state, and the one handed in
    core.advance_observed(step_fn, Counted(0), None, 800, 800, 0, False, ["x"], [lambda s: s.value], [[]])
    for run in (
        lambda: core.advance(step_fn, Counted(0), None, 1000, 0, False),
        lambda: core.advance_observed(step_fn, Counted(0), None, 1000, 1000, 0, False, ["x"], [lambda s: 0], [[]]),
    ):
        with pytest.raises(StepError):
            run()
    gc.collect()
    assert Counted.alive == 0


def test_no_reference_is_lost_or_kept(core):
    state, rng, names, value = object(), object(), ["x", "y"], object()

    def step_fn(state, rng):
        return state

    def metric(state):
        return value

    def fails(*args):
        raise ValueError

    metrics = [None, metric]

    def all_ways():
        core.advance(step_fn, state, rng, 3000, 0, False)
        core.advance(Adder(1), 1, rng, 3000, 0, False)
        core.advance_observed(step_fn, state, rng, 3000, 3000, 0, False, names, metrics, [[], []])
        for attempt in (
            lambda: core.advance(fails, state, rng, 5, 0, False),
            lambda: core.advance(lambda state, rng: None, state, rng, 5, 0, False),
            lambda: core.advance_observed(fails, state, rng, 5, 5, 0, False, names, metrics, [[], []]),
            lambda: core.advance_observed(step_fn, state, rng, 5, 5, 0, False, names, [None, fails], [[], []]),
        ):
            with pytest.raises((StepError, MetricError)):
                attempt()

    all_ways()
    gc.collect()
    things = [state, rng, step_fn, metric, fails, value, names, metrics]
    before = [sys.getrefcount(thing) for thing in things]
    for _ in range(5):
        all_ways()
    gc.collect()
    assert [sys.getrefcount(thing) for thing in things] == before


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers for signals on this system")
@pytest.mark.parametrize("observed", [False, True])
def test_a_signal_stops_a_step_written_in_c(core, observed):
    def stop(number, frame):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        with pytest.raises(KeyboardInterrupt):
            if observed:
                core.advance_observed(max, 1, 0, 2**40, 2**40, 0, False, [], [], [])
            else:
                core.advance(max, 1, 0, 2**40, 0, False)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


# ---- advance_observed


@pytest.mark.parametrize("n_states, n_steps", [(0, 0), (1, 0), (1, 1), (5, 4), (5, 5), (3000, 2999)])
def test_observing_is_looking_at_each_state_and_stepping(core, n_states, n_steps):
    raw, half = ["before"], []
    ours, theirs = random.Random(1), random.Random(1)
    got = core.advance_observed(
        walk, 0.5, ours, n_states, n_steps, 0, False, ["raw", "half"], [None, lambda x: x / 2], [raw, half]
    )
    states, state = [], 0.5
    for i in range(n_states):
        states.append(state)
        if i < n_steps:
            state = walk(state, theirs)
    assert raw == ["before", *states]
    assert half == [x / 2 for x in states]
    assert got == state
    assert ours.getstate() == theirs.getstate()


def test_a_metric_sees_a_state_before_the_step_changes_it(core):
    def step_fn(state, rng):
        state[0] += 1
        return state

    buffer = []
    core.advance_observed(step_fn, [0], None, 4, 4, 0, False, ["x"], [lambda state: state[0]], [buffer])
    assert buffer == [0, 1, 2, 3]


def test_a_failing_metric_is_named(core):
    error = ZeroDivisionError("float division by zero")

    def metric(state):
        if state == 13:
            raise error
        return state

    first, second = [], []
    with pytest.raises(MetricError) as caught:
        core.advance_observed(Adder(1), 10, None, 9, 9, 100, False, ["first", "ratio"], [None, metric], [first, second])
    assert str(caught.value).startswith("metric 'ratio' at step 103 raised ZeroDivisionError: float division by zero;")
    assert (caught.value.name, caught.value.step) == ("ratio", 103)
    assert caught.value.__cause__ is error
    assert (first, second) == ([10, 11, 12, 13], [10, 11, 12])


@pytest.mark.parametrize("n_metrics", [0, 1, 3])
def test_a_failing_step_under_observation_is_named(core, n_metrics):
    buffers = [[] for _ in range(n_metrics)]
    names, metrics = [f"m{k}" for k in range(n_metrics)], [None] * n_metrics
    error = ValueError("too hot")
    with pytest.raises(StepError, match="step_fn raised ValueError at step 104: too hot") as caught:
        core.advance_observed(fails_at(4, error), 0, None, 9, 9, 100, False, names, metrics, buffers)
    assert caught.value.__cause__ is error
    assert buffers == [[0, 1, 2, 3, 4]] * n_metrics


# ---- fold


def by_fractions(values):
    """Return what `fold` promises, by rational arithmetic and a loop."""
    total = squares = Fraction(0)
    nans = [i for i, x in enumerate(values) if math.isnan(x)]
    argmin = argmax = -1
    for i, x in enumerate(values):
        if math.isfinite(x):
            total += Fraction(x)
            squares += Fraction(x) ** 2
        if not math.isnan(x):
            argmin = i if argmin < 0 or x < values[argmin] else argmin
            argmax = i if argmax < 0 or x > values[argmax] else argmax
    return (
        len(values),
        int(total * 2**1074),
        int(squares * 2**2148),
        len(nans),
        nans[0] if nans else -1,
        values.count(math.inf),
        values.count(-math.inf),
        values[argmin] if argmin >= 0 else math.nan,
        argmin,
        values[argmax] if argmax >= 0 else math.nan,
        argmax,
    )


def exactly(result):
    """Return `result` with its floats as bytes, after checking that every part is of a builtin type."""
    assert [type(part) for part in result] == [int] * 7 + [float, int, float, int]
    return tuple(struct.pack("<d", part) if type(part) is float else part for part in result)


nasty = st.sampled_from(
    [0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 2.225073858507201e-308, 1.7976931348623157e308]
    + [-1.7976931348623157e308, math.inf, -math.inf, math.nan, 1.0, -1.0, 2.0**53 - 1, 1e16, 1 + 2**-52]
)


@given(st.lists(st.floats() | nasty, max_size=60))
@example([])
@example([math.nan])
@example([math.inf])
@example([-math.inf, math.nan, -math.inf])
@example([0.0, -0.0])
@example([-0.0, 0.0])
@example([math.nan, 1.0, -0.0, 1.0, 0.0, 0.0, 0.0, -0.0])
@example([1e16, 1.0, -1e16])
@example([5e-324, 1.7976931348623157e308, -5e-324])
def test_fold_is_exact(core, values):
    assert exactly(core.fold(np.array(values, dtype=np.float64))) == exactly(by_fractions(values))


BIG = np.random.default_rng(5)
LONG = {
    "normal": BIG.normal(size=5000),
    "one value": np.full(3000, -1.7976931348623157e308),
    "largest mantissa": np.full(4096, 2.0**53 - 1),
    "largest mantissa, negative": np.full(4096, -(2.0**53) + 1),
    "alternating": np.tile([2.0**53 - 1, -(2.0**53) + 1, 1.0], 1024),
    "subnormals": BIG.integers(0, 2**52, 3000, dtype=np.uint64).view(np.float64),
    "all exponents": BIG.integers(0, 2**64, 5000, dtype=np.uint64).view(np.float64),
    "zeros of both signs": np.tile([0.0, -0.0], 2000)[1:],
    "NaN first": np.concatenate([np.full(1023, np.nan), BIG.normal(size=1023), [np.nan, np.inf, -np.inf]]),
    "last is least": np.arange(4000.0, 0.0, -1.0),
    "extremes at the ends of lanes": np.array([3.0] * 1022 + [-7.0, 9.0, 9.0, -7.0]),
}


@pytest.mark.parametrize("name", LONG)
def test_fold_is_exact_on_long_arrays(core, name):
    assert exactly(core.fold(LONG[name])) == exactly(by_fractions(LONG[name].tolist()))


def test_fold_is_exact_beyond_what_its_counters_hold(core):
    n = 2**20 + 2**10 + 7
    value = 2.0**53 - 1
    result = core.fold(np.full(n, value))
    assert result[:3] == (n, n * int(value) << 1074, n * int(value) ** 2 << 2148)
    x = np.random.default_rng(8).normal(size=n)
    x[-1], x[2**20] = 100.0, -100.0
    parts = [core.fold(part) for part in np.split(x, [999, 2**19, 2**20])]
    whole = core.fold(x)
    assert whole[1:3] == (sum(part[1] for part in parts), sum(part[2] for part in parts))
    assert whole[7:] == (-100.0, 2**20, 100.0, n - 1)


def test_the_mean_and_variance_of_a_fold_are_those_of_statistics(core):
    x = 1e9 + 1e-3 * np.random.default_rng(3).normal(size=500)
    n, total, squares, *_ = core.fold(x)
    exact = [Fraction(v) for v in x.tolist()]
    mean = sum(exact) / n
    assert total / (n << 1074) == float(mean)
    assert (n * squares - total * total) / (n * (n - 1) << 2148) == float(sum((v - mean) ** 2 for v in exact) / (n - 1))


def test_fold_leaves_nothing_behind(core):
    first = core.fold(LONG["all exponents"])
    core.fold(LONG["normal"])
    assert exactly(core.fold(np.zeros(3))) == exactly(by_fractions([0.0] * 3))
    assert exactly(core.fold(LONG["all exponents"])) == exactly(first)


def test_fold_takes_an_array_it_may_not_write(core):
    x = np.arange(5.0)
    x.flags.writeable = False
    assert core.fold(x)[1] == 10 << 1074


@pytest.mark.parametrize(
    "values",
    [
        np.arange(6.0).reshape(2, 3),
        np.arange(6.0)[::2],
        np.arange(6.0)[::-1],
        np.arange(6),
        np.arange(6, dtype=np.float32),
        np.arange(6.0).astype(">f8"),
        np.array(1.0),
        np.arange(6.0) + 1j,
    ],
    ids=["matrix", "stride", "backwards", "int64", "float32", "big-endian", "scalar", "complex"],
)
def test_fold_refuses_other_arrays(core, values):
    with pytest.raises(ValueError):
        core.fold(values)


# ---- the build and the twins


def test_a_product_is_rounded_before_it_is_subtracted_from(core):
    a = 1 + 2**-27
    assert core.rounds_twice(a, a, 1 + 2**-26) is True
    assert core.rounds_twice(a, a, 1.0) is False


def public(module):
    """Yield (name, object) of all that `module` offers, methods included."""
    for name in module.__all__:
        yield name, getattr(module, name)
        if inspect.isclass(getattr(module, name)):
            for method, function in vars(getattr(module, name)).items():
                if not method.startswith("_") and callable(function):
                    yield f"{name}.{method}", function


def parameters(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.compiled
def test_twins_have_the_same_surface():
    compiled = importlib.import_module("rewind._core")
    python = importlib.import_module("rewind._core_py")
    assert compiled.__all__ == python.__all__
    ours, theirs = dict(public(compiled)), dict(public(python))
    assert list(ours) == list(theirs)
    for name in ours:
        assert inspect.getdoc(ours[name]) == inspect.getdoc(theirs[name]), name
        assert parameters(ours[name]) == parameters(theirs[name]), name


def outline(path):
    """Return (name, parameter names) of the functions of a source file, and its __all__, by reading it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            found.append((node.name, [arg.arg for arg in node.args.args]))
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            found.append(("__all__", ast.literal_eval(node.value)))
    return found


def test_the_stub_describes_the_kernel():
    package = Path(rewind.kernel.__file__).parent
    stub, source = outline(package / "_core.pyi"), outline(package / "_core_py.py")
    attributes = ("rng", ["self"])
    assert [entry for entry in source if not entry[0].startswith("_") or entry[0] in ("__all__", "__init__")] == [
        entry for entry in stub if entry != attributes
    ]


def test_the_kernel_offers_what_the_twins_do(core):
    assert rewind.kernel.__all__ == sorted([*core.__all__, "kernel_name"])


@pytest.mark.compiled
@given(st.lists(st.floats(), max_size=30))
def test_twins_fold_alike(values):
    compiled = importlib.import_module("rewind._core")
    python = importlib.import_module("rewind._core_py")
    x = np.array(values, dtype=np.float64)
    assert exactly(compiled.fold(x)) == exactly(python.fold(x))


def ask(wanted, code="from rewind import kernel; print(kernel.kernel_name, kernel.fold.__module__)", **more):
    env = {name: value for name, value in os.environ.items() if name != "REWIND_KERNEL"} | more
    if wanted is not None:
        env["REWIND_KERNEL"] = wanted
    env["PYTHONPATH"] = str(Path(rewind.kernel.__file__).parents[1])
    return subprocess.run([sys.executable, "-W", "error", "-c", code], env=env, capture_output=True, text=True)


@pytest.mark.compiled
@pytest.mark.parametrize("wanted", [None, "", "compiled"])
def test_the_compiled_kernel_is_taken_where_there_is_one(wanted):
    assert ask(wanted).stdout.split() == ["compiled", "rewind._core"]


def test_the_python_kernel_can_be_asked_for():
    assert ask("python").stdout.split() == ["python", "rewind._core_py"]


WITHOUT = "import sys; sys.modules['rewind._core'] = None; "  # an import of it now fails
NAME = "from rewind import kernel; print(kernel.kernel_name)"


def test_without_a_compiled_kernel_the_python_one_is_taken():
    assert ask(None, WITHOUT + NAME).stdout.split() == ["python"]


def test_asking_for_the_compiled_kernel_never_falls_back():
    answer = ask("compiled", WITHOUT + NAME)
    assert answer.returncode == 1
    assert "ImportError: REWIND_KERNEL=compiled, and the compiled kernel does not load" in answer.stderr


def test_a_kernel_nobody_knows_is_refused():
    answer = ask("fast")
    assert answer.returncode == 1
    assert "REWIND_KERNEL is 'fast'; expected 'compiled', 'python' or nothing" in answer.stderr
