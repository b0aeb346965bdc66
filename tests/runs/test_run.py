"""A `Run` as an object: what it shows of itself, and that it travels."""

import concurrent.futures
import copy
import importlib.metadata
import multiprocessing
import pickle

import numpy as np
import pytest

import rewind
from rewind.state.digest import digest


def drift(x, rng, by=1.0):
    x += by * rng.standard_normal(x.shape)
    return x


@pytest.fixture(scope="module")
def run():
    return rewind.record(
        drift, np.zeros(3), 60, 7, block_size=8, backend="numpy", observe={"sum": np.sum}, params={"by": 0.5}
    )


@pytest.mark.parametrize("travel", [copy.deepcopy, lambda run: pickle.loads(pickle.dumps(run))])
def test_a_copy_of_a_run_is_the_run(run, travel):
    for source in (run, run.branch(13, noise="same"), run.extend(200), run.branch(5, params={"by": 2.0})):
        other = travel(source)
        assert other.content_hash() == source.content_hash()
        assert [digest(state) for state in other] == [digest(state) for state in source]
        assert dict(other.observed["sum"]) == dict(source.observed["sum"])
        assert other.verify(full=True)
        assert other.extend(300).content_hash() == source.extend(300).content_hash()


def test_a_run_travels_to_another_process(run):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        assert digest(pool.submit(run.get, 41).result()) == digest(run.get(41))


def test_a_run_says_what_it_is_without_making_a_state(run):
    assert repr(run) == "<Run: 60 steps, 8 checkpoints, seed=7, step test_run:drift>"
    assert repr(run.branch(9)).endswith("step test_run:drift, branched at step 9>")
    assert repr(run[10:20:2]) == "<View: 5 states of a run of 60>"
    assert repr(run.observed) == "Observed(sum)"


def test_the_package_has_the_version_it_was_installed_with():
    assert rewind.__version__ == importlib.metadata.version("rewind-engine")
