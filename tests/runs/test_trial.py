"""The trial: what storing loses, or lies outside the state, is refused while recording; what is faithful is not."""

from __future__ import annotations

import dataclasses
import random
import sys

import numpy as np
import pytest
from helpers import lossy
from helpers.lossy import FAITHFUL, HIDDEN, LOSSY
from helpers.plain import Counting, bytes_of, loop, noisy, walk
from hypothesis import given, settings
from hypothesis import strategies as st

import rewind
from rewind import plain_loop
from rewind.state.digest import digest
from rewind.state.live import Live, gaps

LOSSES = {f"{kind}: {name}": (kind, case) for kind, cases in LOSSY.items() for name, case in cases.items()}


def record(case, n=900, **options):
    step, make, given = case
    return rewind.record(step, make(), n, 1, **{"backend": "numpy", **given, **options})


# ---- what is refused


@pytest.mark.parametrize("name", LOSSES)
def test_what_storing_loses_is_refused(name):
    kind, case = LOSSES[name]
    with pytest.raises(rewind.LossyStateError, match="The cure: ") as caught:
        record(case)
    error = caught.value
    assert isinstance(error, rewind.StateError) and "lossy='accept'" in str(error)
    causes = {"constructor": None, "getstate": "__getstate__"}
    assert causes.get(kind, kind) in (error.cause, None)


PATHS = {
    "constructor: all of it": (".x", "__reduce__", "Env"),
    "constructor: a queue": (".waiting", "__reduce_ex__", "Queue"),
    "constructor: copyreg": ("['spring'].speed", "copyreg", "Spring"),
    "getstate: a dataclass": (".momentum", "__getstate__", "Oscillator"),
    "getstate: a sum that nothing reads": (".energy", "__getstate__", "Tally"),
    "getstate: an attribute that is needed": (".rate", "__getstate__", "Needs"),
    "ndarray: the time": (".time", "ndarray", "Field"),
    "ndarray: a constant": ("['lattice'].temperature", "ndarray", "Lattice"),
    "codec: a generator": (".rng", "codec", ""),
    "codec: one of two": (".b", "codec", ""),
    "identity: an object()": ("['cells'][0]", "identity", "helpers.lossy.EMPTY"),
    "identity: an instance for a mode": (".mode", "identity", "helpers.lossy.IDLE"),
    "global: an object": ("", "global", "helpers.lossy.MODEL"),
    "global: an array": ("", "global", "helpers.lossy.GRID"),
    "generator: numpy's itself": (".random_state", "generator", "numpy.random's global generator"),
    "order: an object": (".guests", "order", ""),
}


@pytest.mark.once
@pytest.mark.parametrize("name", PATHS)
def test_a_refusal_names_what_is_lost_and_what_loses_it(name):
    with pytest.raises(rewind.LossyStateError) as caught:
        record(LOSSES[name][1])
    path, cause, owner = PATHS[name]
    assert (caught.value.path, caught.value.cause, caught.value.name) == (path, cause, owner)
    assert path in str(caught.value) and owner in str(caught.value)


def test_a_refusal_names_the_step_and_both_values():
    with pytest.raises(rewind.LossyStateError) as caught:
        record(LOSSY["getstate"]["memory"])
    error, states = caught.value, [w.x for w in plain_loop(lossy.remember, lossy.Walker(), 40, 1, backend="numpy")]
    assert error.stored_at == 32 and error.step == 33
    values = [w.memory[0] for w in plain_loop(lossy.remember, lossy.Walker(), 33, 1, backend="numpy", block_size=30)]
    with_blocks_of_30 = [w.x for w in plain_loop(lossy.remember, lossy.Walker(), 34, 1, backend="numpy", block_size=30)]
    assert error.live == values[32] and error.restored == 0.0
    assert f".x is {with_blocks_of_30[33]!r} in your loop" in str(error) and states[0] == 0.0


def test_a_loss_that_begins_in_a_later_block_is_found_there():
    class_ = lossy.Ledger

    def late(ledger, rng):
        ledger.t += 1
        ledger.balance += rng.random() if ledger.t > 300 else 0.0
        return ledger

    with pytest.raises(rewind.LossyStateError, match=r"loses \.balance") as caught:
        rewind.record(late, class_(), 10_000, 1)
    assert caught.value.stored_at == 400 and len(caught.value.run) == 301  # blocks of 100: 1, 2, 4


@pytest.mark.parametrize("name", HIDDEN)
def test_a_step_that_depends_on_something_else_is_refused(name):
    with pytest.raises(rewind.NondeterministicStepError) as caught:
        record(HIDDEN[name])
    assert caught.value.run is not None and len(caught.value.run) == 1
    drawn = {"numpy's global generator": ("numpy.random's global generator",)}
    for other in ("random's global generator", "a global generator that shows in nothing"):
        drawn[other] = ("random's global generator",)
    assert caught.value.global_rng == drawn.get(name, ())


@pytest.mark.once
def test_the_global_that_a_step_changes_is_named():
    named = {
        "a counter": "helpers.lossy.CALLS",
        "a generator of the module": "helpers.lossy.OWN_RNG",
        "a closure": "n",
        "an object that is the step": "the callable object that is the step",
    }
    for name, culprit in named.items():
        with pytest.raises(rewind.NondeterministicStepError, match="step_fn writes .*hidden state") as caught:
            record(HIDDEN[name])
        assert caught.value.hidden == (culprit,)


def test_a_generator_of_the_state_is_found_before_the_first_step():
    calls = []

    def step(state, rng):
        calls.append(state)
        return state

    for draw in (np.random.normal, random.gauss, np.random.random.__self__, random.random):
        with pytest.raises(rewind.LossyStateError, match="global generator, and a checkpoint holds a copy"):
            rewind.record(step, {"draw": [draw], "x": 0.0}, 100, 1)
    assert not calls


def test_a_metric_that_reads_what_is_lost_tells_too():
    class Meter:
        pass

    with pytest.raises(rewind.LossyStateError, match="metric 'scale' is 7.0 in your loop and 1.0 from the checkpoint"):
        rewind.record(lossy.drive, np.zeros(4).view(_Scaled), 100, 1, backend="numpy", observe={"scale": "scale"})
    assert Meter


class _Scaled(np.ndarray):
    scale, time = 7.0, 0

    def __array_finalize__(self, other):
        self._scale = getattr(other, "_scale", None)

    def __setstate__(self, state):
        super().__setstate__(state)
        self.scale = 1.0


def test_a_pickle_that_fails_when_it_is_restored_is_no_silence():
    class_ = lossy.Needs
    with pytest.raises(rewind.LossyStateError, match=r"\.rate.*AttributeError"):
        rewind.record(lossy.earn, class_(), 100, 1)


# ---- what is not


@pytest.mark.parametrize("name", FAITHFUL)
def test_what_is_faithful_passes_without_a_word_and_is_the_plain_loop(name):
    step, make, given = FAITHFUL[name]
    options = {"backend": "numpy", **given}
    run = record(FAITHFUL[name], 150)
    if name == "clocks and numbers of objects":
        states = [state.x for state in plain_loop(step, make(), 150, 1, backend=options["backend"])]
        assert [state.x for state in run] == states
        return
    encode = options.get("codec", (lambda state: state,))[0]
    truth = [digest(encode(state)) for state in plain_loop(step, make(), 150, 1, backend=options["backend"])]
    assert [digest(encode(run.get(t))) for t in range(150)] == truth


def test_state_0_is_put_back_as_it_was():
    states = [make() for _, make, _ in FAITHFUL.values()]
    for state, (step, _, options) in zip(states, FAITHFUL.values(), strict=True):
        before = Live(state)
        rewind.record(step, state, 8, 1, **{"backend": "numpy", **options})
        assert gaps(before, Live(state)) == [], step


@dataclasses.dataclass
class Full:
    """One of each thing that a step may change in place."""

    items: dict
    array: np.ndarray
    objects: np.ndarray
    rng: random.Random
    numpy_rng: np.random.Generator
    raw: bytearray
    slots: lossy.Spring


def _stir(full, rng):
    full.items["new"], full.items["list"] = len(full.items), [*full.items["list"], 1]
    full.items["list"].append(2)
    full.items.pop("gone", None)
    full.array += rng.random()
    full.objects[0] = [full.array.sum()]
    full.rng.random(), full.numpy_rng.normal()
    full.raw[0] = rng.randrange(256)
    full.raw.append(1)
    full.slots.length += 1
    full.extra = len(full.raw)
    return full


def test_whatever_a_step_changes_in_place_is_undone():
    full = Full(
        {"list": [1], "gone": (1, 2)},
        np.zeros((2, 2)),
        np.array([[1], "b"], dtype=object),
        random.Random(1),
        np.random.default_rng(1),
        bytearray(b"abc"),
        lossy.Spring(1.0),
    )
    inner, before = full.items["list"], Live(full)
    first = digest([full.items, full.array, full.rng, full.numpy_rng, bytes(full.raw)])
    rewind.record(_stir, full, 50, 1)
    assert gaps(before, Live(full)) == [] and full.items["list"] is inner and list(full.items) == ["list", "gone"]
    assert digest([full.items, full.array, full.rng, full.numpy_rng, bytes(full.raw)]) == first
    assert not hasattr(full, "extra")


def test_global_generators_stand_where_they_stood():
    random.seed(5), np.random.seed(5)
    before = random.getstate(), np.random.get_state()[1].tobytes()
    rewind.record(lossy.seeds_the_global, 0.0, 2, 1, backend="numpy", trial=True)
    for name in ("numpy's global generator", "random's global generator", "a global generator that shows in nothing"):
        random.seed(5), np.random.seed(5)
        with pytest.raises(rewind.NondeterministicStepError):
            record(HIDDEN[name])
        assert (random.getstate(), np.random.get_state()[1].tobytes()) == before


# ---- a state that stays as it is


def test_a_state_that_no_step_changes_gets_one_word_at_the_line_that_records():
    def step(state, rng):
        lossy.GRID[0] += 1.0
        return state

    for run in (lambda: rewind.record(step, 0, 100, 1), lambda: rewind.Recorder(step, np.zeros(2), 1)):
        with pytest.warns(rewind.UnchangedStateWarning, match="while they changed helpers.lossy.GRID") as caught:
            run()
        assert len(caught) == 1 and caught[0].filename == __file__
    with pytest.warns(rewind.UnchangedStateWarning, match=r"none of the first 99 steps .* or return the old state\?"):
        rewind.record(lambda x, rng: (rng.random(), x)[1], 0.5, 100, 1)


def test_a_state_that_changes_seldom_or_is_short_gets_none():
    rewind.record(lambda x, rng: x + (rng.random() < 0.01), 0, 2000, 1)
    rewind.record(lambda x, rng: x, 0, 10, 1)


# ---- options


def test_without_a_trial_the_step_is_called_as_often_as_there_are_steps():
    step = Counting(walk)
    rewind.record(step, 0, 100, 1, trial=False)
    assert step.calls == 99
    rewind.record(step, 0, 100, 1)
    assert step.calls == 99 + 99 + 64 + 1 + 64 + 32
    recorder = rewind.Recorder(Counting(walk), 0, 1, trial=False)
    assert recorder._step.function.calls == 0


def test_slow_steps_are_tried_for_a_second_at_most(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("rewind.runs.trial.time.perf_counter", lambda: clock[0])
    for each, most in ((0.1, 10), (0.05, 20), (5.0, 6), (0.001, 1000)):
        calls = []

        def slow(x, rng, each=each, calls=calls):
            clock[0] += each
            calls.append(x)
            return x + rng.random()

        rewind.record(slow, 0.0, 300, 1)
        assert len(calls) - 299 <= most, each
        calls.clear()
        rewind.record(slow, 0.0, 300, 1, codec=(lambda x: [x], lambda x: x[0]))
        assert len(calls) - 299 <= most + 20, each  # blocks 1, 2, 4, 8 and 16


def test_what_is_lost_can_be_accepted_which_the_file_notes(tmp_path):
    run = record(LOSSY["constructor"]["all of it"], lossy="accept")
    assert run.metadata()["step"]["lossy"] == ".x, .velocity"
    run.save(tmp_path / "a.replay")
    loaded = rewind.load(tmp_path / "a.replay", lossy.swing, allow_pickle=True)
    assert loaded.metadata()["step"]["lossy"] == ".x, .velocity"
    without = record(LOSSY["constructor"]["all of it"], trial=False)
    assert without.content_hash() == run.content_hash() and "lossy" not in without.metadata()["step"]
    assert record(LOSSY["codec"]["rounding"], 20, lossy="accept", trial=False).metadata()["step"]["lossy"] == "accepted"


def test_hidden_state_is_not_accepted():
    with pytest.raises(rewind.NondeterministicStepError):
        record(HIDDEN["a counter"], lossy="accept")


def test_lossy_is_one_of_two_words():
    with pytest.raises(rewind.ArgumentError, match="lossy is 'yes'; expected 'refuse' or 'accept'"):
        rewind.record(walk, 0, 10, 1, lossy="yes")


def test_a_refused_recording_leaves_no_file(tmp_path):
    with pytest.raises(rewind.LossyStateError):
        record(LOSSY["constructor"]["all of it"], path=tmp_path / "run.replay")
    with pytest.raises(rewind.LossyStateError):
        rewind.Recorder(lossy.swing, lossy.Env(), 1, backend="numpy", path=tmp_path / "run.replay")
    assert list(tmp_path.iterdir()) == []


def test_a_branch_is_tried_where_its_step_is_another():
    run = rewind.record(lambda env, rng: env.__class__(env.stiffness + rng.random()), lossy.Env(), 100, 1)
    assert len(run.branch(50)) == 50
    swing = lambda env, rng: lossy.swing(env, np.random.default_rng(rng.getrandbits(32)))  # noqa: E731
    with pytest.raises(rewind.LossyStateError, match=r"\.x"):
        run.branch(50, step_fn=swing)
    assert run.branch(50, step_fn=swing, lossy="accept").metadata()["step"]["lossy"] == ".x, .velocity"
    assert len(run.branch(50, step_fn=swing, trial=False)) == 50


def test_a_tracked_run_tries_what_it_records(tmp_path):
    with rewind.init(dir=tmp_path) as run:
        with pytest.raises(rewind.LossyStateError):
            run.record(lossy.swing, lossy.Env(), 100, 1, backend="numpy")
        assert len(run.record(noisy, 0.0, 10, 1)) == 10


def test_self_check_goes_on_to_run_every_block_twice():
    step = Counting(walk)
    rewind.record(step, 0, 100, 1, trial=False, self_check=True)
    assert step.calls > 198


class Fuse:
    """Loses, at step 300 alone, what its steps read from then on."""

    def __init__(self):
        self.n, self.x = 0, 0.0

    def __getstate__(self):
        return {"n": self.n, "x": self.x}


def _burn(fuse, rng):
    fuse.n += 1
    fuse.hot = fuse.n == 300 or getattr(fuse, "hot", False)
    fuse.x += rng.random() + fuse.hot
    return fuse


def test_self_check_tries_every_block():
    assert len(rewind.record(_burn, Fuse(), 1000, 1)) == 1000  # lost between blocks 8 and 16
    with pytest.raises(rewind.LossyStateError, match=r"step 320 loses \.hot"):
        rewind.record(_burn, Fuse(), 1000, 1, self_check=True)


# ---- what the trial cannot see


def test_a_loss_that_shows_only_after_its_reach_is_not_found():
    """`docs/laws.md` says so: a private field that ``__getstate__`` drops, and that matters only later."""
    run = rewind.record(_age, Sleeper(), 400, 1)
    truth = [one.x for one in plain_loop(_age, Sleeper(), 400, 1)]
    found = [run.get(t).x for t in range(400)]
    assert found[:100] == truth[:100] and found != truth and run.verify(full=True)


class Sleeper:
    def __init__(self):
        self.x, self._age = 0.0, 0

    def __getstate__(self):
        return {"x": self.x}

    def __setstate__(self, state):
        self.x, self._age = state["x"], 0


def _age(one, rng):
    one._age += 1
    one.x += rng.random() if one._age < 100 else 1.0
    return one


# ---- random simulations, with and without planted losses

FIELDS = ("a", "b", "c", "d")


class Plain:
    """An object with some fields, of which its pickle keeps some."""

    how, dropped = "", ()

    def __init__(self, *values):
        for name, value in zip(FIELDS, values or (0.5,) * 4, strict=True):
            setattr(self, name, value)


class GetState(Plain):
    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name not in vars(self).get("hide", ())}

    def __setstate__(self, state):
        Plain.__init__(self)
        vars(self).update(state)


class Reduced(Plain):
    def __reduce__(self):
        return _reduced, ([value if name not in self.hide else 0.5 for name, value in vars(self).items()],)


def _reduced(values):
    one = Reduced.__new__(Reduced)
    one.__dict__.update(zip((*FIELDS, "hide"), values, strict=True))
    return one


def make_step(terms, in_place):
    """A step in which field `i` takes some of field `j`, and noise."""

    def step(one, rng):
        values = {name: getattr(one, name) for name in FIELDS}
        new = one
        if not in_place:
            new = type(one).__new__(type(one))
            vars(new).update(vars(one))
        for target, source, weight, noise in terms:
            value = weight * values[FIELDS[source]] + noise * rng.random()
            setattr(new, FIELDS[target], round(0.5 * values[FIELDS[target]] + value, 6))
        return new

    return step


terms = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.0, 0.25, -0.5]), st.sampled_from([0.0, 1.0])),
    min_size=1,
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(
    terms=terms,
    in_place=st.booleans(),
    kind=st.sampled_from(["faithful", "getstate", "reduce", "codec"]),
    hide=st.sets(st.sampled_from(FIELDS), max_size=2),
    block_size=st.integers(1, 40),
)
def test_no_loss_is_certified_and_nothing_faithful_is_refused(terms, in_place, kind, hide, block_size):
    n, step = 80, make_step(terms, in_place)

    def make():
        one = {"getstate": GetState, "reduce": Reduced}.get(kind, Plain)()
        vars(one).update({"hide": tuple(sorted(hide))} if kind in ("getstate", "reduce") else {})
        return one

    def decoded(tree):
        one = Plain()
        vars(one).update(tree)
        return one

    keeps = [name for name in FIELDS if name not in hide]
    codec = (lambda one: {name: getattr(one, name) for name in keeps}, decoded) if kind == "codec" else None
    look = lambda one: bytes_of([getattr(one, name) for name in FIELDS])  # noqa: E731
    truth = [look(one) for one in plain_loop(step, make(), n, 7, block_size=block_size)]
    faithful = kind == "faithful" or not hide
    try:
        run = rewind.record(step, make(), n, 7, block_size=block_size, codec=codec)
    except rewind.LossyStateError:
        assert not faithful
    except rewind.UnchangedStateWarning:
        assert len({*map(tuple, truth)}) == 1
    else:
        assert [look(run.get(t)) for t in range(n)] == truth


def test_the_plain_loop_with_the_blocks_of_law_5_is_the_plain_loop():
    """The two oracles agree where nothing is lost."""
    assert bytes_of(plain_loop(noisy, 0.0, 60, 5, block_size=7)) == bytes_of(loop(noisy, 0.0, 60, 5, 7))


def test_a_global_generator_of_torch_that_moved_is_named_and_stands_where_it_stood(monkeypatch):
    class Torch:
        """Stands in for the library: what `generators` asks it for."""

        at = 5

        def get_rng_state(self):
            return np.array([self.at], np.uint8)

        def set_rng_state(self, state):
            self.at = int(state[0])

    torch = Torch()
    monkeypatch.setitem(sys.modules, "torch", torch)

    def step(x, rng):
        torch.at = (torch.at * 7 + 3) % 251
        return x + torch.at + rng.random()

    with pytest.raises(rewind.NondeterministicStepError, match="torch's global generator"):
        rewind.record(step, 0.0, 100, 1)
    assert torch.at == 5
