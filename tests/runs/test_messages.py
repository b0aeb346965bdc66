"""Messages that lead on: each says what to do next, for at least three programs that share no code."""

import functools
import multiprocessing
import random
import sys
import types
from collections.abc import Mapping

import numpy as np
import pytest

import rewind
from rewind.steps import global_generators
from rewind.steps.global_generators import drawn_from

pytestmark = pytest.mark.once


def walk(x, rng):
    return x + rng.random()


# ---- the door


@pytest.mark.parametrize(
    ("step", "backend", "says"),
    [
        (lambda x, rng: x + rng.normal(), "python", 'backend="numpy"'),
        (lambda x, rng: x + rng.integers(3), "python", 'backend="numpy"'),
        (lambda x, rng: x + rng.standard_normal(3).sum(), "python", 'backend="numpy"'),
        (lambda x, rng: x + rng.random(3).sum(), "python", 'backend="numpy"'),
        (lambda x, rng: x + rng.gauss(0, 1), "numpy", 'backend="python"'),
    ],
)
def test_a_method_of_the_other_backend_is_said_to_be_that(step, backend, says):
    with pytest.raises(rewind.StepError) as caught:
        rewind.record(step, 0.0, 10, seed=1, backend=backend)
    assert says in str(caught.value)


def test_other_attributes_that_are_missing_are_not():
    with pytest.raises(rewind.StepError) as caught:
        rewind.record(lambda x, rng: x.normal(), 0.0, 10, seed=1)
    assert "backend" not in str(caught.value)


async def awaits(x, rng):
    return x


def yields(x, rng):
    yield x


class Yields:
    def __call__(self, x, rng):
        yield x


@pytest.mark.parametrize("step", [awaits, yields, Yields(), functools.partial(yields), functools.partial(awaits)])
def test_async_and_generator_steps_are_told_what_a_step_is(step):
    with pytest.raises(rewind.ArgumentTypeError, match="A step is one call that returns the next state"):
        rewind.record(step, 0.0, 10, seed=1)


@pytest.mark.parametrize(
    ("seed", "says"),
    [
        ([1, 2], "numpy.random.SeedSequence"),
        (np.random.SeedSequence(5), "seed.entropy"),
        (np.random.default_rng(1), "int.rng.integers"),
        (random.Random(1), "getrandbits"),
    ],
)
def test_what_is_no_integer_is_told_which_one_to_pass(seed, says):
    with pytest.raises(rewind.ArgumentTypeError, match=says):
        rewind.record(walk, 0.0, 10, seed=seed)


def damped(x, rng, pull, noise=1.0):
    return x + noise * rng.random() - pull * x


@pytest.mark.parametrize(
    ("step", "params", "says"),
    [
        (damped, {"pull": 0.5}, "pul is none of its parameters: it has the parameters pull, noise"),
        (walk, None, "pul is none of its parameters: it has no parameters besides state and rng"),
        (lambda x, rng, *, rate=1: x + rate, None, "it has the parameters rate"),
    ],
)
def test_a_branch_with_an_unknown_parameter_names_those_there_are(step, params, says):
    run = rewind.record(step, 0.0, 10, seed=1, params=params)
    with pytest.raises(rewind.ArgumentTypeError, match=says):
        run.branch(3, params={"pul": 1.0})


def test_processes_within_a_worker_of_a_pool_are_refused_by_what_they_are(monkeypatch):
    run = rewind.record(walk, 0.0, 100, seed=1)
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    for ask in (run.stats, run.verify, lambda workers: run.branches(5, 3, workers=workers)):
        with pytest.raises(rewind.ArgumentError, match="A worker of multiprocessing.Pool may start no processes"):
            ask(workers=2)
    assert run.stats(workers=1).count == 100


# ---- statistics and metrics


@pytest.mark.parametrize("draw", [np.asarray, np.atleast_1d, lambda stats: np.array(stats, float)])
def test_statistics_are_not_drawn_as_if_they_were_values(draw):
    run = rewind.record(walk, 0.0, 100, seed=1, observe={"m": None})
    for stats in (run.observed["m"], run.stats()):
        with pytest.raises(TypeError, match="run.overview"):
            draw(stats)
        assert isinstance(stats, Mapping) and dict(stats)["count"] == 100 == stats.count
        assert list(stats)[:2] == ["count", "mean"]


@pytest.mark.parametrize(
    "ask", [lambda run: run.stats("far"), lambda run: run.series("far"), lambda run: run.branches(5, 3, metric="far")]
)
def test_an_observed_metric_whose_function_is_missing_is_said_to_be_that(ask, tmp_path):
    rewind.record(walk, 0.0, 100, seed=1, observe={"far": lambda x: 2 * x}).save(tmp_path / "run.replay")
    with pytest.raises(rewind.MetricError, match="was observed while recording, and a file holds no functions"):
        ask(rewind.load(tmp_path / "run.replay", walk))
    with pytest.raises(rewind.MetricError, match="is no attribute or key"):
        rewind.load(tmp_path / "run.replay", walk).stats("near")


# ---- restored objects


class Asks:
    def __init__(self, x, needed):
        self.x = x
        self.needed = needed

    def __reduce__(self):
        return Asks, (self.x,)


class Fails:
    def __init__(self):
        self.x = 0.0

    def __setstate__(self, state):
        raise RuntimeError("not like this")


class Opens:
    def __init__(self):
        self.x = 0.0

    def __reduce__(self):
        return open, ("/nowhere/at/all",)


@pytest.mark.parametrize("make", [lambda: Asks(0.0, 1), Fails, Opens])
def test_a_pickle_that_fails_by_itself_is_said_to_and_the_cure_is_a_codec(make):
    with pytest.raises(rewind.StateError, match="failed by itself.*codec="):
        rewind.record(lambda state, rng: state, make(), 20, seed=1)


class Cached:
    def __init__(self):
        self.x, self.table = 0.0, {1: 1}

    def __getstate__(self):
        return {"x": self.x}


def reads_table(state, rng):
    state.x += state.table[1]
    return state


def needs_more_later(state, rng):
    state.x += 1 if state.x < 7 else state.more
    return state


@pytest.mark.parametrize("step", [reads_table, needs_more_later])
@pytest.mark.parametrize("codec", [None, (lambda s: {"x": s.x}, lambda tree: types.SimpleNamespace(x=tree["x"]))])
def test_a_step_that_fails_on_a_restored_object_says_that_it_was_restored(codec, step):
    with pytest.raises(rewind.StepError, match="was restored at step [05], from what (a pickle|the codec) keeps of it"):
        rewind.record(step, Cached(), 20, seed=1, block_size=5, codec=codec, **TRIAL)


TRIAL = {"trial": False} if "trial" in rewind.record.__kwdefaults__ else {}


# ---- replays that differ


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (random.random, "random.seed(n)"),
        (np.random.rand, "numpy.random.seed(n)"),
    ],
)
def test_who_draws_from_a_global_generator_is_told_how_to_seed_it(draw, says):
    run = rewind.record(lambda x, rng: x + draw(), 0.0, 40, seed=1, **TRIAL)
    with pytest.raises(rewind.NondeterministicReplayError) as caught:
        run.verify()
    assert says in str(caught.value) and "rng.randrange(2**32)" in str(caught.value)


def seeds(x, rng):
    random.seed(rng.randrange(1000))
    np.random.seed(rng.randrange(1000))
    HIDDEN.append(1)
    return x + random.random() + np.random.rand() + 0.001 * len(HIDDEN)


HIDDEN = []


def test_a_generator_that_the_step_seeds_is_not_what_it_draws_from():
    run = rewind.record(seeds, 0.0, 40, seed=1, **TRIAL)
    with pytest.raises(rewind.NondeterministicReplayError) as caught:
        run.verify()
    assert "global generator" not in str(caught.value) and caught.value.global_rng == ()


def both():
    random.random()
    np.random.seed(3)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (random.random, ["random"]),
        (lambda: np.random.normal(), ["numpy.random"]),
        (lambda: random.seed(4), []),
        (both, ["random"]),
        (lambda: None, []),
    ],
)
def test_what_a_call_drew_from_is_told_from_what_it_seeded(call, names):
    _, drawn = drawn_from(call)
    assert [name.partition("'")[0] for name in drawn] == names


def test_generators_of_numba_and_torch_are_named_where_they_are_there(monkeypatch):
    class Library(types.ModuleType):
        state = [0, (1, [2, 3])]

    torch = Library("torch")
    torch.get_rng_state = lambda: np.array(torch.state[0])
    torch.set_rng_state = lambda state: torch.state.__setitem__(0, int(state))
    helper = Library("numba._helperlib")
    helper.rnd_get_np_state_ptr = lambda: 7
    helper.rnd_get_state = lambda place: helper.state[1]
    helper.rnd_set_state = lambda place, state: helper.state.__setitem__(1, state)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "numba._helperlib", helper)
    assert len(global_generators.generators()) == 4

    def draws():
        torch.state[0] += 1
        helper.state[1] = (helper.state[1][0] + 1, [2, 3])

    _, drawn = drawn_from(draws)
    assert len(drawn) == 2 and "numba's own" in drawn[0] and "torch's" in drawn[1]
    error = rewind.NondeterministicReplayError(0, 1, "", 1, 2, global_rng=drawn)
    assert "torch.manual_seed(n)" in str(error) and "a compiled function that calls" in str(error)


@pytest.mark.parametrize(
    ("one", "other", "last"),
    [
        (0.1 + 0.2, 0.3, True),
        (np.float64(1.0), np.float64(1.0 + 2**-50), True),
        (np.float32(1.0), np.float32(1.0 + 2**-22), True),
        (1.0, 1.001, False),
        (1, 2, False),
        (float("nan"), 1.0, False),
        (0.0, -0.0, False),
    ],
)
def test_differences_in_the_last_bits_are_called_that(one, other, last):
    error = rewind.NondeterministicReplayError(0, 1, ".x", one, other)
    assert ("last bits" in str(error)) is last


def test_the_field_that_differs_is_named_inside_bytes_of_a_codec():
    import json

    count = []

    def step(state, rng):
        count.append(1)
        return {"a": 1, "deep": {"n": len(count)}}

    codec = (lambda s: json.dumps(s).encode(), lambda b: json.loads(bytes(b)))
    run = rewind.record(step, {"a": 1, "deep": {"n": 0}}, 40, seed=1, codec=codec, **TRIAL)
    with pytest.raises(rewind.NondeterministicReplayError) as caught:
        run.verify()
    assert caught.value.path == "['deep']['n']" and isinstance(caught.value.got, int)
