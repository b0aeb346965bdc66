"""Children of a block's rng: law 3 holds for ``rng.spawn`` and ``rng.bit_generator.seed_seq``, too."""

import copy
import pickle

import numpy as np
import pytest

import rewind
from rewind.state.digest import digest


def stock(seed, j):
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy=seed, spawn_key=(j,))))


def breed(x, rng):
    """A step that draws from children, a number of them that changes."""
    x = x + rng.spawn(1)[0].random()
    if rng.random() < 0.5:
        x += float(rng.bit_generator.seed_seq.spawn(2)[1].generate_state(1)[0])
    return x


def plain(n_steps, seed, block_size):
    states, x = [], 0.0
    for t in range(n_steps):
        if t % block_size == 0:
            rng = stock(seed, t // block_size)
        states.append(x)
        x = breed(x, rng)
    return states


def test_the_children_of_every_block_are_those_of_a_generator_made_for_it(core):
    for seed in (0, 7, 2**200):
        blocks = core.BlockRng(seed, "numpy")
        for j in (3, 0, 2**40, 3):
            rng, other = blocks.start(j), stock(seed, j)
            assert rng.spawn(2)[1].random() == other.spawn(2)[1].random()
            assert rng.bit_generator.seed_seq.entropy == seed
            assert rng.bit_generator.seed_seq.spawn_key == (j,)
            assert rng.spawn(1)[0].random() == other.spawn(1)[0].random()
            assert (
                rng.bit_generator.seed_seq.generate_state(4) == other.bit_generator.seed_seq.generate_state(4)
            ).all()


@pytest.mark.parametrize("travel", [copy.deepcopy, lambda rng: pickle.loads(pickle.dumps(rng))])
def test_a_copied_rng_goes_on_as_a_stock_one_and_leaves_the_block_alone(core, travel):
    rng, other = core.BlockRng(5, "numpy").start(2), stock(5, 2)
    rng.spawn(3), other.spawn(3)
    copied = travel(rng)
    assert type(copied.bit_generator.seed_seq) is np.random.SeedSequence
    assert copied.spawn(1)[0].random() == stock(5, 2).spawn(4)[3].random()
    assert rng.spawn(1)[0].random() == other.spawn(1)[0].random()
    assert rng.random() == other.random() == copied.random()


def test_a_run_whose_step_spawns_is_the_plain_loop(tmp_path):
    expected = [digest(x) for x in plain(50, 9, 7)]
    run = rewind.record(breed, 0.0, 50, 9, backend="numpy", block_size=7, self_check=True)
    assert [digest(x) for x in run] == expected
    assert [digest(run.get(t)) for t in reversed(range(50))] == expected[::-1]
    assert run.verify(full=True)
    for t in (7, 10, 13, 33):
        branch = run.branch(t, noise="same", mutate=lambda x: x)
        branch.save(tmp_path / "branch.replay")
        loaded = rewind.load(tmp_path / "branch.replay", breed)
        assert [digest(x) for x in loaded] == [digest(x) for x in run.branch(t, noise="same")] == expected[t:]


def test_a_state_that_keeps_its_rng_keeps_a_stock_one():
    def keep(state, rng):
        return {"rng": rng, "x": state["x"] + rng.random()}

    run = rewind.record(keep, {"rng": None, "x": 0.0}, 40, 3, backend="numpy", block_size=6)
    assert run.verify(full=True)
    assert run.get(17)["rng"].bit_generator.seed_seq.spawn_key == (2,)
