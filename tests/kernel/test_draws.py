"""FastGenerator and FastRandom: the bits, types, errors and states of numpy.random.Generator and random.Random."""

from __future__ import annotations

import copy
import decimal
import fractions
import gc
import inspect
import itertools
import pickle
import random
import re
import sys
import threading

import numpy as np
import pytest
from helpers.draws import BIT_GENERATORS, GENERATOR_CALLS, RANDOM_CALLS, bits, state_of

pytestmark = pytest.mark.once

ODD = (
    *(0, 1, -1, 2, 3, 0.0, -0.0, 0.5, 1.5, -2.5, True, False, 1e-7, 5e-324, 1e300, 2**31, 2**53 + 1, -(2**63)),
    *(2**63 - 1, 2**63, 2**64, 10**30, float("nan"), float("inf"), float("-inf")),
    *(np.float64(0.5), np.float64(-0.0), np.float32(0.5), np.int64(3), np.int32(2), np.uint64(7), np.bool_(True)),
    *(None, "1", b"1", 1j, fractions.Fraction(1, 2), decimal.Decimal("0.5"), [0.25, 0.5], (), object, np.array(0.5)),
    np.array([1, 2]),
)
FINITE = tuple(x for x in ODD if not isinstance(x, float) or abs(x) < 1e10)


def outcome(method, args=(), kwargs=None):
    """The bits of what a call returns, or the type and the text of what it raises."""
    try:
        return bits(method(*args, **(kwargs or {})))
    except Exception as error:
        return type(error), str(error).replace("Fast", "")  # FastRandom.random() takes no arguments


def generators(draws, make=np.random.PCG64, seed=1):
    return draws.FastGenerator(make(seed)), np.random.Generator(make(seed))


def randoms(draws, seed=1):
    return draws.FastRandom(seed), random.Random(seed)


def compare(mine, theirs, table, n_calls, seed):
    """Draw `n_calls` calls of the table from both, in one random order."""
    calls = [(getattr(mine, name), getattr(theirs, name), args) for name in table for args in table[name]]
    for method, other, args in random.Random(seed).choices(calls, k=n_calls):
        ours, stock = method(*args), other(*args)
        if type(ours) is not type(stock) or bits(ours) != bits(stock):
            raise AssertionError((other, args, ours, stock))
    assert state_of(mine) == state_of(theirs)


# ---- the same bits


@pytest.mark.parametrize("make", BIT_GENERATORS, ids=lambda make: make.__name__)
def test_each_method_of_a_generator_has_the_bits_types_and_states_of_numpy(draws, make):
    mine, theirs = generators(draws, make)
    for name, calls in GENERATOR_CALLS.items():
        for args in calls:
            for _ in range(5):
                assert outcome(getattr(mine, name), args) == outcome(getattr(theirs, name), args), (name, args)
        assert state_of(mine) == state_of(theirs), name


def test_each_method_of_a_random_has_the_bits_types_and_states_of_python(draws):
    mine, theirs = randoms(draws)
    for name, calls in RANDOM_CALLS.items():
        for args in calls:
            for _ in range(5):
                assert outcome(getattr(mine, name), args) == outcome(getattr(theirs, name), args), (name, args)
        assert state_of(mine) == state_of(theirs), name


@pytest.mark.compiled
def test_a_million_mixed_draws_of_a_generator_are_numpys():
    import rewind.kernel._draws as draws

    compare(*generators(draws, seed=20240229), GENERATOR_CALLS, 1_000_000, seed=3)


@pytest.mark.compiled
def test_a_million_mixed_draws_of_a_random_are_pythons():
    import rewind.kernel._draws as draws

    compare(*randoms(draws, seed=20240229), RANDOM_CALLS, 1_000_000, seed=4)


def test_draws_in_a_state_that_holds_half_a_word_are_numpys(draws):
    mine, theirs = generators(draws)
    for name, calls in GENERATOR_CALLS.items():
        for rng in (mine, theirs):
            rng.integers(0, 10, dtype=np.uint32)  # takes half a word, or the half that was left
        for args in calls:
            assert outcome(getattr(mine, name), args) == outcome(getattr(theirs, name), args), (name, args)
    assert state_of(mine) == state_of(theirs)


def test_long_arrays_go_through_every_layer_of_the_ziggurats_and_their_tails(draws):
    for make in (np.random.PCG64, np.random.MT19937):
        mine, theirs = generators(draws, make)
        for name in ("standard_normal", "standard_exponential", "random"):
            assert bits(getattr(mine, name)(300_000)) == bits(getattr(theirs, name)(300_000))
        assert bits(mine.normal(1.5, 0.3, 300_000)) == bits(theirs.normal(1.5, 0.3, 300_000))
        assert bits(mine.integers(0, 7, 300_000)) == bits(theirs.integers(0, 7, 300_000))
        assert state_of(mine) == state_of(theirs)


# ---- what is not plain

SIZES = (0, 1, 5, (), (0,), (3, 0), (2, 3), [2, 3], -1, (2, -1), 2.5, (2, 2.5), "2", True, np.int64(3), np.int32(3))
SIZES += (None, (None,), 2**62, (2**40, 2**40), 10**30, (1,) * 8, (1,) * 9, (1,) * 70, np.array([2, 3]), (np.int64(2),))


def outs():
    """Fresh arrays to fill, good and bad."""
    read_only = np.zeros(4)
    read_only.flags.writeable = False
    wide = np.zeros((4, 4))
    yield from (np.zeros(4), np.zeros((2, 3)), np.asfortranarray(np.zeros((2, 3))), np.zeros(()), np.zeros(0))
    yield from (wide[:, 0], wide[1:3], wide[::-1], read_only, np.zeros(4, np.float32), np.zeros(4, ">f8"))
    yield from (
        np.zeros(33, "u1")[1:].view(float),
        np.zeros(4).view(np.recarray),
        np.ma.zeros(4),
        None,
    )  # numpy looks into any object


def after(method, out, kwargs):
    """What a call with `out` gives, what is then in there, and whether they are one."""
    result = []
    got = outcome(lambda: result.append(method(out=out, **kwargs)) or bits(result[0]))
    return got, bits(out), bool(result) and result[0] is out


@pytest.mark.parametrize("name", ["random", "standard_normal", "standard_exponential", "normal", "uniform", "integers"])
def test_any_size_gives_the_array_or_the_error_of_numpy(draws, name):
    mine, theirs = generators(draws)
    for size in SIZES:
        kwargs = {"size": size, **({"low": 5} if name == "integers" else {})}
        ours, stock = (outcome(getattr(rng, name), (), kwargs) for rng in (mine, theirs))
        assert ours == stock, size
    assert state_of(mine) == state_of(theirs)


@pytest.mark.parametrize("name", ["random", "standard_normal", "standard_exponential", "standard_gamma"])
def test_any_out_is_filled_or_refused_as_by_numpy(draws, name):
    mine, theirs = generators(draws)
    shape = {"shape": 2.0} if name == "standard_gamma" else {}
    for extra in ({}, {"size": None}, {"size": 4}, {"size": (2, 3)}, {"dtype": np.float64}, {"dtype": "f4"}):
        for ours, stock in zip(outs(), outs(), strict=True):
            kwargs = {**shape, **extra}
            assert after(getattr(mine, name), ours, kwargs) == after(getattr(theirs, name), stock, kwargs)
    assert state_of(mine) == state_of(theirs)


def parameters(method):
    """Names of the parameters of a method; some versions of numpy only have them in the first line of the docstring."""
    try:
        return [name for name in inspect.signature(method).parameters if name != "self"]
    except ValueError:
        line = (method.__doc__ or "").lstrip().partition("\n")[0]
        return re.findall(r"(\w+)(?:=[^,)]*)?[,)]", line.partition("(")[2])


def test_arguments_can_be_given_by_name_and_wrong_names_are_refused_as_by_the_parent(draws):
    for mine, theirs, table in ((*generators(draws), GENERATOR_CALLS), (*randoms(draws), RANDOM_CALLS)):
        for name, calls in table.items():
            ours, stock = getattr(mine, name), getattr(theirs, name)
            for args in calls:
                kwargs = dict(zip(parameters(stock), args, strict=False))
                assert outcome(ours, (), kwargs) == outcome(stock, (), kwargs), (name, kwargs)
                assert outcome(ours, args[:1], kwargs) == outcome(stock, args[:1], kwargs), (name, kwargs)
            for args, kwargs in (
                ((), {"nonsense": 1}),
                ((1,) * 20, {}),
                ((), {"siz" + "e": 3}),
                ((0.5,), {"size": None}),
            ):
                assert outcome(ours, args, kwargs) == outcome(stock, args, kwargs), (name, args, kwargs)
        assert state_of(mine) == state_of(theirs)


#: Where some odd value keeps numpy itself busy for ever, or for very long.
ENDLESS = "gamma standard_gamma beta chisquare f standard_t noncentral_chisquare noncentral_f wald vonmises zipf"


@pytest.mark.parametrize("name", [name for name in GENERATOR_CALLS if name not in ("permutation", "choice")])
def test_odd_numbers_give_the_value_or_the_error_of_numpy(draws, name):
    mine, theirs = generators(draws)
    odd = FINITE if name in (*ENDLESS.split(), "negative_binomial") else ODD
    if name in ("random", "standard_normal", "standard_exponential", "standard_cauchy"):
        odd = SIZES
    if name == "zipf":
        odd = [x for x in FINITE if not isinstance(x, int) or x < 100]
    place_of_size = parameters(getattr(np.random.Generator, name)).index("size")
    n_args = max(map(len, GENERATOR_CALLS[name]))
    tuples = [(x,) for x in odd] + random.Random(name).choices(list(itertools.product(odd, odd)), k=400)
    if n_args > 2:
        tuples += random.Random(name).choices(list(itertools.product(FINITE, repeat=3)), k=200)
    for args in tuples:
        if any(isinstance(x, int) and x > 10**6 for x in args[place_of_size:]):
            continue  # more memory than there is
        ours, stock = (outcome(getattr(rng, name), args) for rng in (mine, theirs))
        assert ours == stock, args
    assert state_of(mine) == state_of(theirs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "name", [name for name in RANDOM_CALLS if name not in ("binomialvariate", "randbytes", "sample")]
)
def test_odd_numbers_give_the_value_or_the_error_of_python(draws, name):
    mine, theirs = randoms(draws)
    odd = FINITE if name in ("vonmisesvariate", "gammavariate", "betavariate") else ODD
    tuples = [(x,) for x in odd] + list(itertools.product(odd, odd))
    if name == "getrandbits":
        tuples = [(k,) for k in range(-2, 130)] + [("1",), (2.0,), (None,), (np.int64(5),), (True,)]
    if name in ("triangular", "randrange"):
        tuples += random.Random(name).choices(list(itertools.product(odd, repeat=3)), k=400)
    for args in tuples:
        ours, stock = (outcome(getattr(rng, name), args) for rng in (mine, theirs))
        assert ours == stock, args
    assert state_of(mine) == state_of(theirs)


def test_shuffle_is_pythons_for_lists_and_for_what_is_no_list(draws):
    mine, theirs = randoms(draws)
    for make in (list, lambda items: np.array(list(items)), lambda items: bytearray(items), tuple, iter, set):
        for n in (0, 1, 2, 40):
            ours, stock = make(range(n)), make(range(n))
            assert outcome(mine.shuffle, (ours,))[0] == outcome(theirs.shuffle, (stock,))[0]
            if make not in (iter, set):
                assert bits(ours) == bits(stock)
    assert state_of(mine) == state_of(theirs)


def test_the_other_half_of_a_pair_of_normals_waits_where_python_keeps_it(draws):
    mine, theirs = randoms(draws)
    assert mine.gauss_next is theirs.gauss_next is None
    assert mine.gauss(0.5, 2.0) == theirs.gauss(0.5, 2.0)
    assert mine.gauss_next == theirs.gauss_next is not None
    assert mine.getstate() == theirs.getstate()
    for rng in (mine, theirs):
        rng.gauss_next = 0.25
    assert mine.gauss(1, 2) == theirs.gauss(1, 2) == 1.5
    for value in (3, np.float64(0.5), "x", None):
        for rng in (mine, theirs):
            rng.gauss_next = value
        assert outcome(mine.gauss, (1.0, 2.0)) == outcome(theirs.gauss, (1.0, 2.0))
    for rng in (mine, theirs):
        rng.gauss(0.0, 1.0)
        rng.seed(5)
    assert mine.gauss_next is None and mine.gauss(0.0, 1.0) == theirs.gauss(0.0, 1.0)
    state = theirs.getstate()
    mine.setstate(state)
    assert mine.getstate() == state and mine.gauss(0.0, 1.0) == theirs.gauss(0.0, 1.0)


# ---- they are what they are derived from


def test_a_generator_takes_what_numpys_takes_and_refuses_what_it_refuses(draws):
    for wrong in (5, None, np.random.PCG64, np.random.default_rng(1), np.random.RandomState(1)):
        assert outcome(draws.FastGenerator, (wrong,)) == outcome(np.random.Generator, (wrong,))
    assert outcome(draws.FastGenerator)[0] is TypeError
    rng = draws.FastGenerator(bit_generator=np.random.PCG64(3))
    assert isinstance(rng, np.random.Generator)
    assert np.random.default_rng(rng) is rng
    assert repr(rng).startswith("FastGenerator(PCG64)") and str(rng) == "FastGenerator(PCG64)"
    with pytest.raises(AttributeError):
        rng.bit_generator = np.random.PCG64(1)
    with pytest.raises(AttributeError):
        rng.nonsense = 1


def test_a_new_state_is_honoured_at_once(draws):
    mine, theirs = generators(draws)
    mine.standard_normal(5)
    mine.bit_generator.state = theirs.bit_generator.state
    assert mine.standard_normal() == theirs.standard_normal()
    mine.bit_generator.advance(10**20)
    theirs.bit_generator.advance(10**20)
    assert mine.normal() == theirs.normal()
    mine.__init__(np.random.MT19937(4))
    assert mine.random() == np.random.Generator(np.random.MT19937(4)).random()
    fast, stock = randoms(draws)
    for rng in (fast, stock):
        rng.seed("text")
    assert fast.normalvariate(0.0, 1.0) == stock.normalvariate(0.0, 1.0)


def test_a_generator_that_was_never_initialised_gives_an_error_and_not_a_crash(draws):
    rng = draws.FastGenerator.__new__(draws.FastGenerator)
    stock = np.random.Generator.__new__(np.random.Generator)
    for name in ("random", "standard_normal", "normal", "integers", "choice"):
        args = (5,) if name in ("integers", "choice") else ()
        assert outcome(getattr(rng, name), args)[0] is outcome(getattr(stock, name), args)[0]


def test_children_have_the_class_of_their_parent(draws):
    mine, theirs = generators(draws)
    if not hasattr(theirs, "spawn"):
        return
    for ours, stock in zip(mine.spawn(2), theirs.spawn(2), strict=True):
        assert type(ours) is draws.FastGenerator
        assert ours.normal() == stock.normal()


def test_copies_and_pickles_are_the_librarys_own_class_in_the_same_state(draws):
    mine, theirs = generators(draws)
    fast, stock = randoms(draws)
    fast.gauss(0.0, 1.0)
    stock.gauss(0.0, 1.0)
    for clone in (copy.deepcopy, lambda rng: pickle.loads(pickle.dumps(rng))):
        again = clone(mine)
        assert type(again) is np.random.Generator and again.normal() == clone(theirs).normal()
        again = clone(fast)
        assert type(again) is random.Random
        assert again.getstate() == stock.getstate() and again.gauss(0.0, 1.0) == clone(stock).gauss(0.0, 1.0)
    assert pickle.dumps(fast) == pickle.dumps(stock)
    assert copy.copy(fast).getstate() == stock.getstate()


def test_a_subclass_that_overrides_random_is_asked_by_every_method(draws):
    overridden = {"random": lambda self: 0.25}
    words = {"getrandbits": lambda self, k: (1 << k) // 3}
    for body in (overridden, words, {**overridden, **words}, {"seed": random.Random.seed}, {}):
        mine = type("Mine", (draws.FastRandom,), body)(3)
        theirs = type("Theirs", (random.Random,), body)(3)
        for name, calls in RANDOM_CALLS.items():
            if name in ("normalvariate", "lognormvariate", "vonmisesvariate", "gammavariate", "betavariate") and body:
                continue  # a constant never leaves their loops
            if name in ("sample", "choices", "binomialvariate"):
                continue
            for args in calls:
                assert outcome(getattr(mine, name), args) == outcome(getattr(theirs, name), args), (name, args)
        assert mine.getstate() == theirs.getstate()
        deeper = type("Deeper", (type(mine),), {})(4)
        assert deeper.randrange(100) == type("Deeper", (type(theirs),), {})(4).randrange(100)


def test_a_method_set_on_the_object_is_asked_by_the_others(draws):
    mine, theirs = randoms(draws)
    for rng in (mine, theirs):
        rng.random = lambda: 0.25
    for name, args in (("uniform", (1.0, 2.0)), ("expovariate", (2.0,)), ("random", ()), ("gauss", (0.0, 1.0))):
        assert getattr(mine, name)(*args) == getattr(theirs, name)(*args)
    assert mine.getstate() == theirs.getstate()


def test_a_subclass_of_a_generator_draws_what_its_parent_draws(draws):
    class Mine(draws.FastGenerator):
        def __init__(self, bit_generator, label):
            super().__init__(bit_generator)
            self.label = label

        def integers(self, *args, **kwargs):
            return super().integers(*args, **kwargs) * 0

    mine, theirs = Mine(np.random.PCG64(1), "a"), np.random.Generator(np.random.PCG64(1))
    assert mine.normal(1, 2) == theirs.normal(1, 2) and mine.label == "a"
    assert mine.choice(5) == 0  # numpy's choice asks self.integers

    class Unlike(draws.FastGenerator):
        def __init__(self):
            np.random.Generator.__init__(self, np.random.PCG64(1))

    assert Unlike().normal(1, 2) == np.random.Generator(np.random.PCG64(1)).normal(1, 2)


def test_a_random_without_a_seed_takes_one_from_the_system(draws):
    assert len({draws.FastRandom().random() for _ in range(5)}) == 5
    assert outcome(draws.FastRandom, ([],))[0] is TypeError
    assert draws.FastRandom(2**200).random() == random.Random(2**200).random()
    assert draws.FastRandom("seed").random() == random.Random("seed").random()


def test_scipy_draws_from_a_fast_generator_as_from_numpys(draws):
    stats = pytest.importorskip("scipy.stats")
    mine, theirs = generators(draws)
    for make in (
        lambda rng: stats.norm.rvs(size=5, random_state=rng),
        lambda rng: stats.gamma.rvs(2.0, random_state=rng),
    ):
        assert bits(make(mine)) == bits(make(theirs))


def test_numba_knows_a_fast_generator(draws):
    typeof = pytest.importorskip("numba").typeof
    assert typeof(draws.FastGenerator(np.random.PCG64(1))) == typeof(np.random.default_rng(1))


def test_nothing_leaks_over_many_calls(draws):
    mine, fast = generators(draws)[0], randoms(draws)[0]
    items, out = [object(), object(), object()], np.empty(3)
    text = "abcdef"
    array = np.arange(5.0)

    def burst():
        for _ in range(2000):
            mine.random(), mine.normal(0.5, 2.0), mine.integers(0, 10), mine.integers(10**12), mine.standard_normal(3)
            mine.random(out=out), mine.choice(5), mine.choice(array), mine.normal(scale=2.0), mine.uniform(0, 1, 2)
            mine.poisson(3.0), mine.exponential(2.0, size=(2,)), mine.choice([1, 2, 3]), mine.integers(0, 5, 3)
            (
                fast.gauss(0.0, 1.0),
                fast.normalvariate(0.0, 1.0),
                fast.choice(items),
                fast.shuffle(items),
                fast.randrange(9),
            )
            fast.choice(text), fast.uniform(1, 2), fast.getrandbits(40), fast.sample(items, 2), fast.randint(1, 300)
        for wrong in (
            lambda: mine.normal(0, -1),
            lambda: mine.random(-1),
            lambda: fast.choice([]),
            lambda: fast.randrange(0),
        ):
            for _ in range(50):
                outcome(wrong)

    def counts():
        gc.collect()
        return [sys.getrefcount(x) for x in (None, out, array, text, True, *items)], sys.getallocatedblocks()

    burst()
    before, blocks = counts()
    for _ in range(3):
        burst()
    later, more = counts()
    assert all(abs(a - b) < 100 for a, b in zip(before[:1], later[:1], strict=True))
    assert sorted(before[1:4]) == sorted(later[1:4]) and sorted(before[5:]) == sorted(later[5:])
    assert more - blocks < 500


def test_generators_come_and_go_without_leaks(draws):
    bit_generator = np.random.PCG64(1)
    before = sys.getrefcount(bit_generator)
    for _ in range(200):
        rng = draws.FastGenerator(bit_generator)
        rng.normal()
        rng.__init__(bit_generator)
        draws.FastRandom(3).gauss(0.0, 1.0)
    del rng
    gc.collect()
    assert sys.getrefcount(bit_generator) == before


def test_a_large_array_is_filled_beside_other_threads(draws):
    rngs = [generators(draws, seed=seed) for seed in range(4)]
    drawn = {}
    threads = [
        threading.Thread(target=lambda k=k: drawn.update({k: rngs[k][0].standard_normal(200_000)})) for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(bits(drawn[k]) == bits(rngs[k][1].standard_normal(200_000)) for k in range(4))


# ---- what is accelerated, and what is not


def test_both_twins_say_the_same_words(draws):
    import rewind.kernel.draws as twin

    for name in twin.__all__:
        mine, theirs = getattr(draws, name), getattr(twin, name)
        assert inspect.getdoc(mine) == inspect.getdoc(theirs)
        assert mine.__name__ == theirs.__name__
    assert sorted(draws.__all__) == sorted(twin.__all__) == ["FastGenerator", "FastRandom", "accelerated"]
    assert not inspect.signature(draws.accelerated).parameters


def test_the_pure_twin_accelerates_nothing():
    import rewind.kernel.draws as twin

    assert twin.accelerated() == {"FastGenerator": (), "FastRandom": ()}


@pytest.fixture
def compiled():
    """The compiled module, put right again after a test that spoiled it."""
    import rewind.kernel._draws as draws

    yield draws
    draws._accelerate_generator()
    draws._accelerate_random()


@pytest.mark.compiled
def test_every_method_of_the_tables_is_accelerated_here(compiled):
    inherited = {"permutation", "multinomial", "sample", "choices", "randbytes", "binomialvariate"}
    on = compiled.accelerated()
    assert set(on["FastGenerator"]) == set(GENERATOR_CALLS) - inherited
    assert set(on["FastRandom"]) - {"_randbelow", "shuffle"} == set(RANDOM_CALLS) - inherited


def spoiled(base, name, change):
    """A class like `base` whose method `name` gives what `change` makes of its results."""
    method = getattr(base, name)
    return type(
        base.__name__, (base,), {name: lambda self, *args, **kwargs: change(self, method(self, *args, **kwargs))}
    )


def one_bit_off(rng, value):
    if isinstance(value, np.ndarray):
        return np.nextafter(value, np.inf) if value.dtype == float else value + 1
    return (
        np.nextafter(value, np.inf).item() if type(value) is float else value + 1 if type(value) is int else not value
    )


def one_draw_more(rng, value):
    rng.getrandbits(1) if isinstance(rng, random.Random) else rng.bit_generator.random_raw()
    return value


def another_type(rng, value):
    if isinstance(value, np.ndarray):
        return value.astype(np.float32)
    return (
        np.float64(value) if type(value) is float else np.int32(3) if isinstance(value, (int, np.integer)) else [value]
    )


@pytest.mark.compiled
@pytest.mark.parametrize("fault", [one_bit_off, one_draw_more, another_type])
@pytest.mark.parametrize("name", ["standard_normal", "integers", "gamma", "poisson", "choice", "normal"])
def test_a_method_of_numpy_that_differs_switches_off_its_replacement_alone(compiled, name, fault):
    extra = {"choice"} if name == "integers" else set()  # numpy's choice asks its integers
    before = set(compiled.accelerated()["FastGenerator"])
    compiled._accelerate_generator(spoiled(np.random.Generator, name, fault))
    assert before - set(compiled.accelerated()["FastGenerator"]) == {name, *extra}
    assert getattr(compiled.FastGenerator, name) is getattr(np.random.Generator, name)
    mine, theirs = generators(compiled)
    compare(mine, theirs, GENERATOR_CALLS, 500, seed=1)


@pytest.mark.compiled
@pytest.mark.parametrize("fault", [one_bit_off, one_draw_more])
@pytest.mark.parametrize("name", ["gauss", "uniform", "randrange", "triangular", "gammavariate"])
def test_a_method_of_python_that_differs_switches_off_its_replacement_alone(compiled, name, fault):
    before = set(compiled.accelerated()["FastRandom"])
    base = random.Random
    spoilt = spoiled(base, name, fault)
    spoilt._randbelow = base._randbelow
    compiled._accelerate_random(spoilt)
    assert name in before - set(compiled.accelerated()["FastRandom"])
    assert getattr(compiled.FastRandom, name) is getattr(base, name)
    compare(*randoms(compiled), RANDOM_CALLS, 500, seed=1)


@pytest.mark.compiled
def test_a_generator_with_another_layout_is_not_touched(compiled):
    import _random

    class Swapped(random.Random):
        def getstate(self):
            version, words, gauss = super().getstate()
            return version, (words[1], words[0], *words[2:]), gauss

    class Wider(_random.Random):
        __slots__ = ("more",)

    assert compiled._find_mt(random.Random, _random.Random) > 0
    for make, base in ((Swapped, _random.Random), (random.Random, Wider), (Wider, Wider), (object, _random.Random)):
        assert compiled._find_mt(make, base) == 0

    class Lying(np.random.PCG64):
        @property
        def state(self):
            state = np.random.PCG64.state.__get__(self)
            return {**state, "state": {**state["state"], "inc": state["state"]["inc"] ^ 1}}

    assert compiled._proves_pcg64(np.random.PCG64)
    for make in (Lying, np.random.MT19937, np.random.PCG64DXSM, np.random.SFC64, np.random.Philox, lambda seed: None):
        assert not compiled._proves_pcg64(make)
    compare(*generators(compiled), GENERATOR_CALLS, 500, seed=1)


@pytest.mark.compiled
def test_what_replaces_a_method_has_its_name_its_documentation_and_where_it_can_its_signature(compiled):
    for fast, stock in ((compiled.FastGenerator, np.random.Generator), (compiled.FastRandom, random.Random)):
        for name in compiled.accelerated()[fast.__name__]:
            mine, theirs = getattr(fast, name), getattr(stock, name)
            assert mine.__name__ == name and (mine.__doc__ or "").strip() == (theirs.__doc__ or "").strip()
            try:
                ours = inspect.signature(mine)
            except ValueError:
                assert "dtype" in theirs.__doc__ or name == "_randbelow"
                continue
            assert list(ours.parameters)[1:] == parameters(theirs), name
