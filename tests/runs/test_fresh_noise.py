"""Fresh noise is noise: who forks a run whose model draws from a generator of its own is told, and nobody else."""

from __future__ import annotations

import functools
import random
import types
import warnings
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from helpers import native_steps, plain

import rewind
from rewind.engine.noise import Draws
from rewind.engine.sweep import sweep
from rewind.kernel import BlockRng
from rewind.runs.options import Options
from rewind.runs.plan import make_plan
from rewind.state.generators import own_generators
from rewind.steps.randomness import own_randomness

own = pytest.mark.filterwarnings("ignore::rewind.OwnGeneratorWarning")


# ---- models that draw from something of their own


class Walker:
    """An environment in the style of reset and step, whose generator is an attribute."""

    def __init__(self):
        self.np_random, self.x = np.random.default_rng(1), 0.0

    def step(self, action):
        self.x += action + self.np_random.normal()


def act(env, rng):
    env.step(0.1)
    return env


@dataclass
class Crowd:
    """Agents that share the generator of a model."""

    random: random.Random = field(default_factory=lambda: random.Random(3))
    wealth: list[int] = field(default_factory=lambda: [5] * 6)


def trade(crowd, rng):
    i, j = crowd.random.sample(range(6), 2)
    crowd.wealth[i] += 1
    crowd.wealth[j] -= 1
    return crowd


def legacy(state, rng):
    state["x"] = state["x"] + state["tools"]["rng"].randn(2)
    return state


def split(key):
    """Return two keys from one, as functional libraries do."""
    words = np.random.SeedSequence(key.tolist()).generate_state(4, np.uint32)
    return words[:2], words[2:]


def passing(state, rng):
    key, use = split(state["key"])
    return {"key": key, "x": state["x"] + int(use[0]) / 2**32 - 0.5}


def congruent(state, rng):
    x, s = state
    s = (1103515245 * s + 12345) % 2**31
    return x + s / 2**31 - 0.5, s


def counted(state, rng):
    """Draw from a new generator in each step, seeded with a counter."""
    t, x = state
    return t + 1, x + np.random.default_rng([7, t]).normal()


def saved(state, rng):
    mine = random.Random()
    mine.setstate(state["rng"])
    x = state["x"] + mine.gauss(0, 1)
    return {"rng": mine.getstate(), "x": x}


MODELS = {
    "an environment": (act, Walker, lambda s: s.x),
    "agents": (trade, Crowd, lambda s: s.wealth[0]),
    "a RandomState in a dict": (legacy, lambda: {"x": np.zeros(2), "tools": {"rng": np.random.RandomState(5)}}, "x"),
    "keys": (passing, lambda: {"key": np.array([0, 7], np.uint32), "x": 0.0}, lambda s: s["x"]),
    "a congruential generator": (congruent, lambda: (0.0, 1), lambda s: s[0]),
    "a generator made in the step": (counted, lambda: (0, 0.0), lambda s: s[1]),
    "a saved state": (saved, lambda: {"rng": random.Random(2).getstate(), "x": 0.0}, lambda s: s["x"]),
}
every = pytest.mark.parametrize("model", MODELS)
HOLDS = ("an environment", "agents", "a RandomState in a dict", "a saved state")


def recorded(model, **options):
    step, make, _ = MODELS[model]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rewind.RewindWarning)
        return rewind.record(step, make(), 60, seed=1, backend="numpy", **options)


@every
def test_a_branch_that_draws_nothing_from_rng_warns_once(model):
    run = recorded(model)
    with pytest.warns(rewind.NoFreshNoiseWarning) as caught:
        ends = [run.branch(20, seed=seed) for seed in (1, 2)]
    assert len(caught) == 2 and caught[0].filename == __file__
    assert "the branch at step 20 drew nothing from rng" in str(caught[0].message)
    assert "Draw from the rng" in str(caught[0].message) and "mutate=" in str(caught[0].message)
    assert plain.bytes_of([ends[0][-1]]) == plain.bytes_of([ends[1][-1]])


@every
def test_branches_and_likelihood_warn_once_for_all_forks(model):
    run, (_, _, look) = recorded(model), MODELS[model]
    with pytest.warns(rewind.NoFreshNoiseWarning, match="5 of 5 forks at step 20") as caught:
        run.branches(20, 5, metric=look)
    assert len(caught) == 1 and caught[0].filename == __file__
    if isinstance(look, str):
        return
    with pytest.warns(rewind.NoFreshNoiseWarning, match="6 of 6 forks at steps 10 to 20") as caught:
        found = run.likelihood(lambda s: look(s) > 1e9, steps=[10, 20], n=3)
    assert len(caught) == 1 and found["hits"].tolist() == [0, 0]
    with pytest.warns(rewind.NoFreshNoiseWarning):  # and where each fork ends at once
        run.likelihood(lambda s: look(s) != look(run.get(10)), steps=[10], n=2)


@pytest.mark.parametrize("model", HOLDS)
def test_record_says_a_word_of_a_state_that_holds_a_generator(model):
    step, make, _ = MODELS[model]
    for backend in ("python", "numpy"):
        with pytest.warns(rewind.OwnGeneratorWarning) as caught:
            rewind.record(step, make(), 30, seed=1, backend=backend)
        assert len(caught) == 1 and caught[0].filename == __file__
        (path,) = [one.path for one in own_generators(make()) if one.is_sure]
        assert f"state{path} is " in str(caught[0].message) and "rng" in str(caught[0].message)


def test_a_recorder_says_it_too():
    recorder = rewind.Recorder(act, Walker(), seed=1, block_size=5)
    recorder.advance(3)
    with pytest.warns(rewind.OwnGeneratorWarning) as caught:
        recorder.advance(20)
    assert len(caught) == 1


@own
def test_the_word_comes_after_the_first_block_and_can_be_made_an_error():
    calls = plain.Counting(act)
    with warnings.catch_warnings():
        warnings.simplefilter("error", rewind.OwnGeneratorWarning)
        with pytest.raises(rewind.OwnGeneratorWarning):
            rewind.record(calls, Walker(), 10_000, seed=1)
    assert calls.since() <= 5_000


@own
def test_a_tracked_run_that_is_rewound_says_it_too(tmp_path):
    run = rewind.init(dir=tmp_path, id="a")
    run.record(act, Walker(), 40, seed=1, observe={"x": "x"})
    run.finish()
    for _ in range(2):
        run = rewind.init(dir=tmp_path, resume_from="a?_step=20")
        run.attach(act, observe={"x": "x"}, allow_pickle=True)
        with pytest.warns(rewind.NoFreshNoiseWarning) as caught:
            run.record(noise="fresh")
        run.finish()
        assert len(caught) == 1 and caught[0].filename == __file__


# ---- and what passes without a word


def seeded(env, rng):
    """Seed the model's own generator from rng in each step: the cure."""
    env.np_random = np.random.default_rng(rng.getrandbits(64))
    env.step(0.0)
    return env


def spawning(env, rng):
    env.np_random = rng.spawn(1)[0]
    env.step(0.0)
    return env


def raw(x, rng):
    return x + int(rng.bit_generator.random_raw()) % 7


def own_and_given(env, rng):
    env.step(rng.random())
    return env


def logistic(x, rng):
    return 3.7 * x * (1.0 - x)


def quiet(x, rng, noise=0.0):
    """Draw only where there is noise; a check of the type draws nothing."""
    assert isinstance(rng, (np.random.Generator, random.Random))
    return x * 0.5 + (noise * rng.normal() if noise else 0.0)


def orbit(state, rng):
    state["t"] += 1
    state["q"] = state["q"] + 0.1 * state["p"]
    state["p"] = state["p"] - 0.1 * state["q"]
    return state


def dying(state, rng):
    """An epidemic: once it is over, nothing is drawn any more."""
    if state["ill"]:
        state["ill"] += rng.choice((-1, -1, 1))
    return state


class Unused(Walker):
    """An environment that does not use its generator after it was made."""

    def step(self, action):
        self.x = 0.5 * self.x + action


QUIET = {
    "seeded in each step": (seeded, Walker, "python"),
    "spawned in each step": (spawning, Walker, "numpy"),
    "raw words": (raw, lambda: 0, "numpy"),
    "its own and the given": (own_and_given, Walker, "python"),
    "a map": (logistic, lambda: 0.3, "python"),
    "no noise": (quiet, lambda: 1.0, "numpy"),
    "an orbit": (orbit, lambda: {"t": 0, "q": np.ones(2), "p": np.zeros(2), "seed": 42, "key": "a"}, "python"),
    "over": (dying, lambda: {"ill": 3, "seed": 5}, "python"),
    "unused": (act, Unused, "python"),
    "half words": (lambda x, rng: x + int(rng.integers(0, 9, dtype=np.uint32)), lambda: 0, "numpy"),
    "a walk": (plain.walk, lambda: 0, "python"),
}


@pytest.mark.parametrize("model", QUIET)
def test_there_is_no_word_without_a_reason(model):
    step, make, backend = QUIET[model]
    run = rewind.record(step, make(), 50, seed=1, backend=backend)
    run.branch(20), run.branch(20, seed=7), run.branch(49), run.branch(48), run.branch(20, noise="same")
    run.branches(30, 3, metric=lambda s: 0.0)
    run.likelihood(lambda s: False, steps=[0, 40, 49], n=2)
    rewind.Recorder(step, make(), seed=2, backend=backend).advance(20)


@own
@every
def test_the_same_noise_and_another_seed_of_the_models_own_pass(model):
    step, make, look = MODELS[model]
    run = recorded(model)
    run.branch(20, noise="same"), run.branch(59), run.branch(20, n_steps=1)

    def again(state):
        if model == "an environment":
            state.np_random = np.random.default_rng(99)
        elif model == "agents":
            state.random.seed(99)
        elif model == "a RandomState in a dict":
            state["tools"]["rng"].seed(99)
        elif model == "keys":
            state["key"] = np.array([9, 9], np.uint32)
        elif model == "a saved state":
            state["rng"] = random.Random(99).getstate()
        return state

    if model in (*HOLDS, "keys"):
        run.branch(20, again)
        with pytest.warns(rewind.NoFreshNoiseWarning):
            run.branches(20, 2, again, metric=lambda s: 0.0)  # all of them from one state


@own
def test_workers_see_it_too():
    run = recorded("an environment")
    with pytest.warns(rewind.NoFreshNoiseWarning, match="3 of 3 forks"):
        run.branches(20, 3, metric="x", workers=2)


@pytest.mark.parametrize("name", ["drift", "nothing"])
def test_what_a_native_step_draws_is_seen(library, name):
    example = next(case for case in native_steps.CASES if case.name == name)
    step = rewind.native_step(getattr(library, name))
    options = Options(backend="numpy", params=example.params, trial=False)
    plan, row = make_plan(step, example.state, 500, 1, options)
    draws = Draws(plan.seed, plan.backend)
    sweep(replace(plan, draws=draws), row)
    assert draws.drawn == (name == "drift") and draws.none == (name == "nothing")


@pytest.mark.parametrize("backend", ["python", "numpy"])
def test_any_number_of_words_is_seen(backend):
    from rewind.engine.noise import Draws

    one = (
        (lambda rng: rng.getrandbits(32)) if backend == "python" else (lambda rng: rng.integers(2**32, dtype=np.uint32))
    )
    for n in (0, 1, 2, 3, 623, 624, 625, 1248):
        blocks, draws = BlockRng(5, backend), Draws(5, backend)
        rng = blocks.start(3)
        for _ in range(n):
            one(rng)
        draws.look(rng, 3, 1)
        assert draws.drawn == (n > 0), n


# ---- what is found in a state, and in code


class Slotted:
    __slots__ = ("draw", "inner")

    def __init__(self):
        self.draw, self.inner = np.random.default_rng(1).normal, None


def test_generators_are_found_wherever_they_are():
    state = {"a": [1, (Slotted(), {2: np.random.RandomState(1)})], "b": functools.partial(max, random.Random(1))}
    state["c"] = np.random.PCG64(3)
    state["loop"] = state
    found = {one.path: one.kind for one in own_generators(state)}
    assert found == {
        "['a'][1][0].draw.__self__": "a numpy.random.Generator",
        "['a'][1][1][2]": "a numpy.random.RandomState",
        "['b'].args[0]": "a random.Random",
        "['c']": "a numpy.random.PCG64",
    }
    assert own_generators({"x": np.zeros(3), "n": 5, "seeded": True, "keys": ["a"]}) == []
    assert own_generators([1.0] * 100_000) == []


def test_no_code_of_a_state_runs_while_it_is_searched():
    class Trap:
        def __getattr__(self, name):
            raise AssertionError(name)

        @property
        def rng(self):
            raise AssertionError

    assert own_generators([Trap()]) == []


def uses(source):
    module = types.ModuleType("model")
    exec(
        "import random, numpy as np, math\nfrom random import gauss\nfrom numpy.random import default_rng\n" + source,
        vars(module),
    )
    return own_randomness(module.step, 0.0)


@pytest.mark.parametrize(
    "body",
    [
        "return random.Random(x).random()",
        "return gauss(0, 1)",
        "return default_rng(int(x)).normal()",
        "return np.random.normal()",
        "return helper(x)\ndef helper(x): return np.random.RandomState(1).rand()",
        "return [random.random() for _ in range(2)]",
        "return x * 6364136223846793005 % 2**64",
    ],
)
def test_code_that_draws_by_itself_is_seen(body):
    assert uses(f"def step(x, rng): {body}") is not None


@pytest.mark.parametrize(
    "body",
    [
        "return rng.random() + math.sin(x)",
        "return x if isinstance(rng, np.random.Generator) else rng.normal()",
        "return np.sin(x)",
        "return helper(x, rng)\ndef helper(x, rng: np.random.Generator): return rng.standard_normal()",
        "return x + 5",
    ],
)
def test_code_that_draws_from_rng_alone_is_not(body):
    assert uses(f"def step(x, rng): {body}") is None
