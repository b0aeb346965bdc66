"""Block seeding is numpy's SeedSequence to the bit, and one rng re-pointed is a fresh one."""

import importlib.util
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rewind.errors import ArgumentError

pytestmark = pytest.mark.once  # each test names the twin that it is about

GOLDEN = Path(__file__).parents[1] / "golden"
EDGES = [0, 1, 2**32 - 1, 2**32, 2**64 - 1, 2**64, 2**96 - 1, 2**96, 2**128 - 1, 2**128, 2**1000 - 1]
BLOCKS = [0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1]


def sequence(seed, *key):
    return np.random.SeedSequence(entropy=seed, spawn_key=key)


def integer(seed_sequence):
    return int.from_bytes(seed_sequence.generate_state(4, np.uint32).astype("<u4").tobytes(), "little")


def addresses(n_seeds, n_blocks, salt):
    """Yield seeds of 1 to 1000 bits, each with its blocks; the edges come first."""
    draw = random.Random(salt)
    for seed in EDGES:
        yield seed, BLOCKS
    for _ in range(n_seeds):
        seed = draw.getrandbits(draw.randint(1, 1000))
        yield seed, [draw.getrandbits(draw.randint(1, 64)) for _ in range(n_blocks)]


def make_dirty(rng):
    """Leave numbers in the buffers a new rng would not have."""
    if isinstance(rng, random.Random):
        rng.gauss(0, 1)
        assert rng.gauss_next is not None
    else:
        rng.integers(2**32, dtype=np.uint32)
        assert rng.bit_generator.state["has_uint32"]


def check_numpy_blocks(core, n_seeds):
    for seed, blocks in addresses(n_seeds, 10, salt=1):
        block_rng = core.BlockRng(seed, "numpy")
        for j in blocks:
            of_numpy = sequence(seed, j)
            make_dirty(block_rng.rng)
            got = block_rng.start(j).bit_generator.state
            assert got == np.random.PCG64(of_numpy).state, (seed, j)
            assert core.block_integer(seed, (j,)) == integer(of_numpy), (seed, j)


def test_numpy_blocks_start_as_numpy_seeds_them_and_block_integer_is_that_of_numpy(core):
    n_seeds = 10_000 if core.__name__ == "rewind._core" else 500  # the twin asks numpy itself
    check_numpy_blocks(core, n_seeds)


@given(seed=st.integers(0, 2**1000), key=st.lists(st.integers(0, 2**200), max_size=4))
@example(seed=0, key=[])
@example(seed=5, key=[0, 0])
@example(seed=2**64, key=[2**32, 1])
@example(seed=2**300, key=[2**64, 0, 2**128])
def test_block_integer_takes_any_address(core, seed, key):
    assert core.block_integer(seed, tuple(key)) == integer(sequence(seed, *key))


def test_python_blocks_start_as_a_new_random_does(core):
    for seed, blocks in addresses(100, 5, salt=3):
        block_rng = core.BlockRng(seed, "python")
        for j in blocks:
            make_dirty(block_rng.rng)
            assert block_rng.start(j).getstate() == random.Random(integer(sequence(seed, j))).getstate(), (seed, j)


@pytest.mark.parametrize(
    "backend, kind, name", [("python", random.Random, "FastRandom"), ("numpy", np.random.Generator, "FastGenerator")]
)
def test_one_rng_serves_all_blocks(core, backend, kind, name):
    block_rng = core.BlockRng(7, backend)
    assert isinstance(block_rng.rng, kind) and type(block_rng.rng) is getattr(core, name)
    assert all(block_rng.start(j) is block_rng.rng for j in (3, 0, 3, 2**64 - 1))


@pytest.mark.parametrize("backend", ["python", "numpy"])
def test_two_instances_do_not_touch_each_other(core, backend):
    one, other = core.BlockRng(1, backend), core.BlockRng(2, backend)
    one.start(0)
    other.start(0)
    alone = core.BlockRng(1, backend).start(0)
    assert [one.rng.random() for _ in range(5)] == [alone.random() for _ in range(5)]


def test_an_rng_outlives_its_block_rng(core):
    rng = core.BlockRng(1, "numpy").start(4)
    assert rng.random() == np.random.Generator(np.random.PCG64(sequence(1, 4))).random()


def test_streams_are_those_of_the_golden_file(core):
    for entry in json.loads((GOLDEN / "streams.json").read_text()):
        seed, j = int(entry["seed"]), int(entry["block"])
        assert str(core.block_integer(seed, (j,))) == entry["integer"]
        rng = core.BlockRng(seed, "python").start(j)
        assert [str(rng.getrandbits(64)) for _ in range(3)] == entry["python"]["getrandbits(64)"]
        assert [rng.random().hex() for _ in range(3)] == entry["python"]["random()"]
        rng = core.BlockRng(seed, "numpy").start(j)
        assert [str(rng.bit_generator.random_raw()) for _ in range(3)] == entry["numpy"]["random_raw()"]
        assert [rng.random().hex() for _ in range(3)] == entry["numpy"]["random()"]


def test_golden_streams_are_what_stock_numpy_gives():
    spec = importlib.util.spec_from_file_location("make_streams", GOLDEN / "make_streams.py")
    origin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(origin)
    assert origin.streams() == json.loads((GOLDEN / "streams.json").read_text())


def test_numpy_integers_address_the_same_blocks(core):
    seed, j = np.int64(77), np.uint64(2**63)
    assert core.block_integer(seed, (j,)) == integer(sequence(77, 2**63))
    assert core.BlockRng(seed, "numpy").start(j).random() == core.BlockRng(77, "numpy").start(2**63).random()


@pytest.mark.parametrize("bad", [-1, -(2**70)])
def test_negative_seeds_and_keys_are_refused(core, bad):
    for attempt in (
        lambda: core.block_integer(bad, (0,)),
        lambda: core.block_integer(0, (bad,)),
        lambda: core.BlockRng(bad, "numpy"),
        lambda: core.BlockRng(bad, "python"),
    ):
        with pytest.raises(ValueError):
            attempt()


def test_seeds_that_are_no_integers_are_refused(core):
    for attempt in (lambda: core.block_integer(1.5, (0,)), lambda: core.BlockRng("7", "numpy")):
        with pytest.raises(TypeError):
            attempt()


@pytest.mark.parametrize("j", [-1, 2**64])
def test_blocks_outside_64_bits_are_refused(core, j):
    for backend in ("python", "numpy"):
        with pytest.raises(OverflowError):
            core.BlockRng(0, backend).start(j)


def test_an_unknown_backend_is_named(core):
    with pytest.raises(ArgumentError, match="backend is 'torch'; expected 'python' or 'numpy'"):
        core.BlockRng(0, "torch")


@pytest.mark.compiled
def test_seeding_in_place_is_proved_on_this_numpy():
    from rewind import _core

    assert _core._pcg64_layout in (1, 2)
    assert _core._find_layout(np.random.PCG64) == _core._pcg64_layout


@pytest.mark.compiled
@pytest.mark.parametrize("name", ["MT19937", "Philox", "SFC64"])
def test_another_layout_is_not_taken_for_that_of_pcg64(name):
    from rewind import _core

    assert _core._find_layout(getattr(np.random, name)) == 0


@pytest.mark.compiled
def test_a_numpy_that_seeds_otherwise_fails_the_self_test():
    from rewind import _core

    class Shifted(np.random.PCG64):
        """Its state lies where that of PCG64 does, and starts elsewhere."""

        def __init__(self, seed):
            super().__init__(seed)
            self.advance(1)

    class Broken(np.random.PCG64):
        @property
        def state(self):
            raise RuntimeError("no state today")

    assert _core._find_layout(Shifted) == 0
    assert _core._find_layout(Broken) == 0


@pytest.mark.compiled
def test_without_proof_the_public_state_is_assigned(monkeypatch):
    from rewind import _core

    monkeypatch.setattr(_core, "_pcg64_layout", 0)
    seen = []
    real = np.random.PCG64

    def counted(sequence):
        seen.append(sequence)
        return real(sequence)

    monkeypatch.setattr(np.random, "PCG64", counted)
    _core.BlockRng(3, "numpy").start(4)
    assert len(seen) == 2  # one at the start, one for the block: it did go the public way
    monkeypatch.undo()
    monkeypatch.setattr(_core, "_pcg64_layout", 0)
    check_numpy_blocks(_core, 300)
