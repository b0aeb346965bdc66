"""The laws of docs/laws.md, for every state that is hard to record, against a plain loop."""

from __future__ import annotations

import json
import math
import os
import pathlib
import random
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from helpers.plain import (
    BACKENDS,
    HAZARDS,
    UNFAITHFUL,
    Counting,
    branch_seed,
    bytes_of,
    digest,
    loop,
    noisy,
    normal,
    rng_of_block,
    walk,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rewind

hazards = pytest.mark.parametrize("hazard", HAZARDS)
backends = pytest.mark.parametrize("backend", BACKENDS)
SEEDS = [0, 1, 2**32, 2**64 - 1, 2**64, 2**128 + 1, 10**200, 10**4500]
SIZES = [(1, 1), (2, 1), (2, 2), (6, 7), (7, 7), (8, 7), (15, 1), (15, 2), (23, 7), (15, 40)]


def record(hazard, step, init, n, seed, **options):
    return rewind.record(step, init, n, seed, trial=hazard not in UNFAITHFUL, **options)


def shuffled(n, seed=1):
    return random.Random(seed).sample(range(n), n)


def assert_is(run, expected, seed=1):
    """Every way to ask for every state gives the bytes of the plain loop."""
    want = bytes_of(expected)
    assert len(run) == run.n_steps == len(want)
    for t in shuffled(len(want), seed):
        assert digest(run.get(t)) == want[t], t
    assert bytes_of(run) == want
    assert bytes_of(run[t] for t in reversed(range(len(want)))) == want[::-1]
    assert digest(run[-1]) == want[-1]


@hazards
@backends
def test_a_recording_is_the_plain_loop_byte_for_byte(hazard, backend):
    step, make = HAZARDS[hazard]
    for n, b in SIZES:
        run = record(hazard, step, make(), n, 5, block_size=b, backend=backend)
        assert run.block_size == b and run.n_checkpoints == -(-n // b)
        assert_is(run, loop(step, make(), n, 5, b, backend), seed=n * b)
        assert run.verify(full=True) is True


@hazards
@backends
def test_a_recording_survives_a_file(hazard, backend, tmp_path):
    step, make = HAZARDS[hazard]
    run = record(hazard, step, make(), 23, 6, block_size=7, backend=backend)
    run.save(tmp_path / "a.replay")
    loaded = rewind.load(tmp_path / "a.replay", step, allow_pickle=True)
    assert_is(loaded, loop(step, make(), 23, 6, 7, backend))
    assert loaded.verify() and loaded.verify(full=True)
    assert loaded.content_hash() == run.content_hash()
    loaded.save(tmp_path / "b.replay")
    assert (tmp_path / "a.replay").read_bytes() == (tmp_path / "b.replay").read_bytes()
    bare = rewind.load(tmp_path / "a.replay", allow_pickle=True)
    for t in (0, 7, 14, 21):
        assert digest(bare.get(t)) == digest(run.get(t))
    with pytest.raises(rewind.MissingStepError, match="step 3 needs a replay"):
        bare.get(3)


@hazards
@backends
def test_self_check_passes_what_is_a_function_of_state_and_rng(hazard, backend):
    step, make = HAZARDS[hazard]
    run = record(hazard, step, make(), 15, 5, block_size=4, backend=backend, self_check=True)
    assert bytes_of(run) == bytes_of(loop(step, make(), 15, 5, 4, backend))


@hazards
@backends
def test_a_fork_with_the_same_noise_is_its_parent_wherever_it_starts(hazard, backend, tmp_path):
    step, make = HAZARDS[hazard]
    n, b = 17, 5
    run = record(hazard, step, make(), n, 9, block_size=b, backend=backend)
    want = bytes_of(loop(step, make(), n, 9, b, backend))
    for t in range(n):
        fork = run.branch(t, noise="same")
        assert bytes_of(fork) == want[t:], t
        assert (fork.start, fork.branch_point, fork.parent_hash) == (t, t, run.content_hash())
    for t, u in [(3, 1), (3, 2), (4, 1), (7, 6), (1, 15)]:
        fork = run.branch(t, noise="same")
        fork.save(tmp_path / "fork.replay")
        loaded = rewind.load(tmp_path / "fork.replay", step, allow_pickle=True)
        assert bytes_of(loaded[i] for i in reversed(range(n - t))) == want[: t - 1 if t else None : -1]
        assert loaded.verify(full=True)
        second = loaded.branch(u, noise="same")
        assert bytes_of(second) == want[t + u :]
        second.save(tmp_path / "second.replay")
        assert bytes_of(rewind.load(tmp_path / "second.replay", step, allow_pickle=True)) == want[t + u :]
        assert [a.content_hash for a in second.lineage] == [fork.content_hash(), run.content_hash()]
        assert [a.branch_point for a in second.lineage] == [u, t] and second.start == t + u
    assert bytes_of(run) == want


@hazards
@backends
def test_an_extended_run_is_the_longer_recording(hazard, backend, tmp_path):
    step, make = HAZARDS[hazard]
    want = bytes_of(loop(step, make(), 25, 3, 6, backend))
    whole = record(hazard, step, make(), 25, 3, block_size=6, backend=backend)
    whole.save(tmp_path / "whole.replay")
    for goes in ([25], [13, 18, 19, 25]):
        run = record(hazard, step, make(), 1, 3, block_size=6, backend=backend)
        for n in goes:
            before = run
            run = run.extend(n)
            assert len(before) < n == len(run)
        assert bytes_of(run) == want
        assert run.verify(full=True)
        run.save(tmp_path / "goes.replay")
        assert (tmp_path / "goes.replay").read_bytes() == (tmp_path / "whole.replay").read_bytes()


@hazards
def test_a_thinned_run_keeps_every_state(hazard, tmp_path):
    step, make = HAZARDS[hazard]
    n = 60
    want = bytes_of(loop(step, make(), n, 3, 2))
    run = record(hazard, step, make(), 5, 3, block_size=2).extend(31).extend(n)
    assert run._recording.stride > 1 and run.n_checkpoints <= 2 * math.sqrt(n)
    run.save(tmp_path / "thin.replay")
    run = rewind.load(tmp_path / "thin.replay", step, allow_pickle=True)
    assert [digest(run.get(t)) for t in shuffled(n)] == [want[t] for t in shuffled(n)]
    assert bytes_of(run) == want
    assert run.verify(full=True)
    for t in (3, 4, 17, 30, 41):
        fork = run.branch(t, noise="same")
        assert bytes_of(fork) == want[t:] and fork.verify(full=True)


@hazards
def test_what_is_handed_out_is_private(hazard):
    step, make = HAZARDS[hazard]
    init = make()
    run = record(hazard, step, init, 12, 3, block_size=5)
    want = bytes_of(loop(step, make(), 12, 3, 5))
    spoil(init)
    for t in shuffled(12):
        spoil(run.get(t))
        spoil(run[t])
    for state in run:
        spoil(state)
    for state in run[::-2]:
        spoil(state)
    try:
        run.branch(7, mutate=lambda state: spoil(state) or state)
    except (rewind.StepError, rewind.StateError):
        pass  # the step may choke on a spoilt state; the parent must not
    assert bytes_of(run) == want
    assert run.verify(full=True)


def spoil(value, seen=None):
    """Change everything in `value` that can be changed."""
    seen = {} if seen is None else seen
    if id(value) in seen:
        return
    seen[id(value)] = value
    if isinstance(value, np.ndarray):
        if value.size and value.dtype.names is None:
            value[...] = np.zeros((), value.dtype) if value.dtype.kind not in "fc" else 77
    elif isinstance(value, dict):
        for item in value.values():
            spoil(item, seen)
        value.clear()
    elif isinstance(value, (list, tuple, set)):
        for item in value:
            spoil(item, seen)
        if not isinstance(value, tuple):
            value.clear()
    elif isinstance(value, random.Random):
        value.seed(0)
    elif hasattr(value, "__dict__"):
        spoil(vars(value), seen)


@backends
@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"{seed.bit_length()}-bits")
def test_a_stream_is_the_two_documented_lines_for_seeds_of_any_size(seed, backend, tmp_path):
    def draws(_, rng):
        return [rng.random(), normal(rng), normal(rng)]

    run = rewind.record(draws, [0.0] * 3, 10, seed, block_size=4, backend=backend)
    rngs = [rng_of_block(seed, j, backend) for j in range(3)]
    for t in range(1, 10):
        rng = rngs[(t - 1) // 4]  # a block also draws the step into the next one
        assert digest(run.get(t)) == digest([rng.random(), normal(rng), normal(rng)])
    run.save(tmp_path / "a.replay")
    loaded = rewind.load(tmp_path / "a.replay", draws)
    assert loaded.seed == seed and loaded.verify(full=True)
    assert "seed=" in repr(loaded) and repr(loaded.metadata()["backend"])


def test_no_seed_is_fresh_entropy_that_is_kept(tmp_path):
    runs = [rewind.record(noisy, 0.0, 20, None) for _ in range(2)]
    assert runs[0].seed != runs[1].seed and all(run.seed >= 0 for run in runs)
    runs[0].save(tmp_path / "a.replay")
    assert bytes_of(rewind.record(noisy, 0.0, 20, runs[0].seed)) == bytes_of(runs[0])
    assert rewind.load(tmp_path / "a.replay", noisy).verify(full=True)


@backends
def test_a_branch_draws_from_the_documented_seed(backend):
    run = rewind.record(noisy, 0.0, 30, 11, block_size=7, backend=backend)
    fork = run.branch(9, n_steps=13)
    assert fork.seed == branch_seed(11, 9)
    assert bytes_of(fork) == bytes_of(loop(noisy, run.get(9), 13, branch_seed(11, 9), 7, backend))
    assert fork.content_hash() == run.branch(9, n_steps=13).content_hash()
    sibling = run.branch(9, mutate=lambda x: x + 100, n_steps=13)
    assert sibling.seed == fork.seed
    assert run.branch(10).seed != fork.seed
    other = run.branch(9, seed=4, n_steps=13)
    assert bytes_of(other) == bytes_of(loop(noisy, run.get(9), 13, 4, 7, backend))


@backends
def test_runs_of_different_length_share_a_prefix(backend):
    runs = [rewind.record(noisy, 0.0, n, 4, block_size=7, backend=backend) for n in (1, 2, 7, 8, 50)]
    longest = bytes_of(runs[-1])
    for run in runs:
        assert bytes_of(run) == longest[: len(run)]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 99, 100, 101])
def test_the_default_block_is_the_root_of_the_length(n):
    run = rewind.record(noisy, 0.0, n, 4)
    root = math.isqrt(n - 1) + 1
    assert run.block_size == root
    assert bytes_of(run) == bytes_of(loop(noisy, 0.0, n, 4, root))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    hazard=st.sampled_from(sorted(HAZARDS)),
    backend=st.sampled_from(BACKENDS),
    seed=st.integers(0, 2**140),
    n=st.integers(1, 30),
    b=st.integers(1, 34),
    asks=st.lists(st.tuples(st.sampled_from("gifsb"), st.integers(0, 29), st.integers(1, 5)), max_size=12),
)
def test_no_order_of_questions_changes_an_answer(hazard, backend, seed, n, b, asks):
    step, make = HAZARDS[hazard]
    want = bytes_of(loop(step, make(), n, seed, b, backend))
    run = record(hazard, step, make(), n, seed, block_size=b, backend=backend)
    iterator, at = iter(run), 0
    for kind, t, k in asks:
        t %= n
        if kind == "g":
            assert digest(run.get(t)) == want[t]
        elif kind == "i":  # an iterator that goes on between other questions
            for state in iterator:
                assert digest(state) == want[at]
                at += 1
                if at % k == 0:
                    break
        elif kind == "s":
            assert bytes_of(run[t::k]) == want[t::k]
            assert bytes_of(run[t::-k]) == want[t::-k]
        elif kind == "f":
            run = run.branch(t, noise="same")
            want, n, iterator, at = want[t:], n - t, iter(run), 0
        else:
            run.stats(lambda state: 1.0, t)
    assert run.verify(full=True)


_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=4),
    st.binary(max_size=4),
    st.complex_numbers(),
    st.sampled_from(
        [
            np.float32(1.5),
            np.int16(-3),
            np.zeros(2),
            np.ones((2, 2), order="F"),
            np.array(["a", "\0b"]),
            np.array([1 + 2j]),
            np.datetime64("2020-01-01"),
        ]
    ),
)
_trees = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.tuples(inner, inner),
    ),
    max_leaves=8,
)


@pytest.mark.filterwarnings("ignore::rewind.UnchangedStateWarning")  # of a single tree
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(trees=st.lists(_trees, min_size=1, max_size=4), seed=st.integers(0, 9), b=st.integers(1, 5))
def test_any_tree_of_plain_values_can_be_a_state(trees, seed, b, tmp_path_factory):
    def step(state, rng):
        return {"i": rng.randrange(len(trees)), "tree": trees[rng.randrange(len(trees))]}

    init = {"i": 0, "tree": trees[0]}
    want = bytes_of(loop(step, init, 9, seed, b))
    run = rewind.record(step, init, 9, seed, block_size=b, self_check=True)
    assert bytes_of(run) == want
    path = tmp_path_factory.mktemp("tree") / "a.replay"
    run.save(path)
    loaded = rewind.load(path, step, allow_pickle=True)
    assert [digest(loaded.get(t)) for t in reversed(range(9))] == want[::-1]
    assert loaded.verify(full=True)


@backends
def test_the_step_is_called_once_for_every_transition(backend):
    step = Counting(walk)
    run = rewind.record(step, 0, 101, 4, backend=backend, trial=False)
    assert step.since() == 100
    run.extend(120)
    assert step.since() == (100 - 99) + (120 - 1 - 99)  # what there is of the last block, [99, 110), is run to check it


# Many a hazard is one that a recording warns of; tests/runs/test_warnings.py is about that.
QUIET = """
import warnings, rewind
for category in (rewind.PickledStatesWarning, rewind.SharedMemoryWarning):
    warnings.simplefilter("ignore", category)
"""
BOTH = """
    import hashlib, json
    from helpers.plain import BACKENDS, HAZARDS
    import rewind
    from rewind.storage import replay_file

    found = {"kernel": rewind.kernel_name}
    observe = {"n": lambda s: 1.0, "v": lambda s: [0.1, 1e9]}
    for name, (step, make) in HAZARDS.items():
        for backend in BACKENDS:
            options = {"backend": backend, "observe": observe, "trial": False}
            run = rewind.record(step, make(), 23, 5, block_size=6, **options)
            made = {"run": run, "same": run.branch(8, noise="same"), "fork": run.branch(8), "long": run.extend(200)}
            found |= {f"{name} {backend} {kind}": one.content_hash() for kind, one in made.items()}
        found[name] = hashlib.blake2b(replay_file.to_bytes(run._recording)).hexdigest()
    print(json.dumps(found))
"""


@pytest.mark.once
@pytest.mark.compiled
def test_both_kernels_write_the_same_files():
    found = []
    for kernel in ("compiled", "python"):
        here = pathlib.Path(__file__).parents[1]
        env = {**os.environ, "REWIND_KERNEL": kernel, "PYTHONHASHSEED": "1", "PYTHONPATH": f"{here.parent}:{here}"}
        args = [sys.executable, "-W", "error", "-c", QUIET + textwrap.dedent(BOTH)]
        done = subprocess.run(args, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
        assert found[-1].pop("kernel") == kernel
    assert found[0] == found[1] and len(found[0]) == 9 * len(HAZARDS)
