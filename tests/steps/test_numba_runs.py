"""Runs of numba steps, end to end: whatever a run of a Python step does."""

import collections
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import rewind
from rewind.errors import MetricError, NondeterminismError, StateError, StepError

numba = pytest.importorskip("numba")

from rewind.steps.jit import build  # noqa: E402  (numba may be missing)

N, SEED = 1000, 11

Walker = collections.namedtuple("Walker", "x path n")


@pytest.fixture(autouse=True, scope="module")
def nothing_on_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "driver_folder", lambda: None)
        yield


@pytest.fixture(params=["native", "public"])
def both(request, monkeypatch):
    """Run a test on the native driver, and on the one that stands in for it."""
    if request.param == "public":
        monkeypatch.setattr(build, "has_native_generator", lambda: False)


@numba.njit
def ou(x, rng, decay=0.999):
    return x * decay + rng.standard_normal()


@numba.njit
def square(x):
    return x * x


@numba.njit
def in_place(x, rng):
    for i in range(x.size):
        x[i] = 0.9 * x[i] + rng.random()
    return x


@numba.njit
def both_ends(x):
    return x[::2]


@numba.njit
def walker(w, rng):
    path = w.path
    path[w.n % path.size] += rng.random()
    return Walker(w.x + path[0], path, w.n + 1)


@numba.njit
def total(w):
    return w.path.sum()


@numba.njit
def fragile(x, rng):
    x += rng.random()
    if x > 100.0:
        raise ValueError("over a hundred")
    return x


@numba.njit
def careless(x, rng):
    return 0.5 * x + np.random.random()


def record(step, state, n_steps=N, **options):
    return rewind.record(step, state, n_steps, SEED, backend="numpy", **options)


@pytest.fixture(scope="module")
def run():
    return record(ou, 0.0, params={"decay": 0.5}, observe={"x": None, "square": square})


@pytest.fixture(scope="module")
def python_run():
    return record(ou.py_func, 0.0, params={"decay": 0.5}, observe={"x": None, "square": square.py_func})


def test_a_numba_run_is_the_run_of_the_same_python_step(run, python_run):
    assert list(run) == list(python_run)
    assert run.content_hash() == python_run.content_hash()
    assert run.observed["square"] == python_run.observed["square"]


def test_steps_are_had_in_any_order(run, python_run):
    for t in (500, 501, 502, 3, 999, 31, 32, 500, 0, -1):
        assert run[t] == python_run[t]
        assert type(run[t]) is float
    assert list(run[100:130:7]) == list(python_run[100:130:7])
    assert run.series(square).tobytes() == python_run.series(square.py_func).tobytes()


@pytest.mark.once
def test_statistics_are_the_same_natively_and_in_python(run):
    assert run.stats(square) == run.stats(square.py_func) == run.stats(lambda x: x * x)
    assert run.stats(square, 100, 777) == run.stats(square.py_func, 100, 777)


def test_a_numba_run_is_verified_on_threads_too(run):
    assert run.verify(full=True)
    assert run.verify(full=True, executor=lambda: ThreadPoolExecutor(2))


def test_a_branch_has_params_of_its_own(run, python_run):
    branch, expected = (r.branch(500, params={"decay": 0.25}) for r in (run, python_run))
    assert list(branch) == list(expected)
    assert branch.verify(full=True)
    same, expected = (r.branch(500, lambda x: x + 1.0, noise="same") for r in (run, python_run))
    assert list(same) == list(expected)
    assert run.branch(500, noise="same")[-1] == run[-1]


def test_a_branch_of_another_type_is_refused(run):
    with pytest.raises(StateError):
        run.branch(500, lambda x: 1)


def test_a_run_grows_as_if_it_was_recorded_in_one_piece(run):
    grown = run.extend(N + 300)
    whole = record(
        ou, 0.0, N + 300, block_size=run.block_size, params={"decay": 0.5}, observe={"x": None, "square": square}
    )
    assert grown.content_hash() == whole.content_hash()
    assert grown.observed["square"] == whole.observed["square"]


def test_a_file_gives_the_run_again(run, tmp_path):
    run.save(tmp_path / "run.replay")
    loaded = rewind.load(tmp_path / "run.replay", step_fn=ou)
    assert list(loaded) == list(run)
    assert loaded.verify(full=True)
    # The Python function behind it is the same step: on x86-64, for these draws.
    assert rewind.load(tmp_path / "run.replay", step_fn=ou.py_func)[777] == run[777]


@pytest.mark.once
def test_the_order_of_params_does_not_matter(tmp_path):
    @numba.njit
    def step(x, rng, scale, shift):
        return scale * x + shift + rng.random()

    runs = [record(step, 0.0, params=params) for params in ({"shift": 3.0, "scale": 0.5}, {"scale": 0.5, "shift": 3.0})]
    runs[0].save(tmp_path / "run.replay")  # where they are in alphabetical order
    assert list(rewind.load(tmp_path / "run.replay", step_fn=step)) == list(runs[0]) == list(runs[1])
    assert list(runs[0])[1] > 3.0


def test_a_run_pickles_with_its_step(run):
    again = pickle.loads(pickle.dumps(run))
    assert again[777] == run[777]


def test_an_array_in_place_is_private_and_verified(both):
    run = record(in_place, np.zeros(5), observe={"ends": both_ends})
    expected = record(in_place.py_func, np.zeros(5), observe={"ends": both_ends.py_func})
    assert [x.tobytes() for x in run] == [x.tobytes() for x in expected]
    run[500][:] = np.nan
    assert run[500].tobytes() == expected[500].tobytes()
    assert run.observed["ends"] == expected.observed["ends"]
    assert run.verify(full=True)


@pytest.mark.once
def test_a_namedtuple_comes_back_as_one(both):
    start = Walker(0.0, np.ones(3), 0)
    run = record(walker, start, observe={"total": total, "n": "n"}, self_check=True)
    expected = record(walker.py_func, start, observe={"total": total.py_func, "n": "n"})
    assert type(run[700]) is Walker and run[700].n == 700
    assert all(a.x == b.x and a.path.tobytes() == b.path.tobytes() for a, b in zip(run, expected, strict=True))
    assert run.observed["total"] == expected.observed["total"]
    assert run.verify(full=True)


@pytest.mark.once
def test_an_error_in_the_step_leaves_the_finished_part(both):
    with pytest.raises(StepError, match="ValueError at step .*: over a hundred") as native:
        record(fragile, 0.0, observe={"x": None})
    with pytest.raises(StepError) as python:
        record(fragile.py_func, 0.0, observe={"x": None})
    assert native.value.t == python.value.t
    assert type(native.value.__cause__) is ValueError
    assert list(native.value.run) == list(python.value.run)


def test_a_metric_in_python_is_called_step_by_step(run):
    mixed = record(ou, 0.0, params={"decay": 0.5}, observe={"square": lambda x: x * x})
    assert mixed.observed["square"] == run.observed["square"]
    with pytest.raises(MetricError, match="far"):
        record(ou, 0.0, observe={"far": lambda x: 1 / (abs(x) < 1)})


@pytest.mark.once
def test_draws_from_numbas_own_global_generator_are_caught():
    with pytest.raises(NondeterminismError):
        record(careless, 0.0, self_check=True)
    with pytest.raises(NondeterminismError):
        record(careless, 0.0).verify(full=True)


def test_a_numba_step_needs_numpys_generator():
    with pytest.raises(rewind.ArgumentError, match="backend.*expected 'numpy'"):
        rewind.record(ou, 0.0, N, SEED)


def test_what_numba_steps_do_not_take_is_said_at_once():
    with pytest.raises(StateError, match="a numba step takes a float, int, bool or complex"):
        record(ou, {"x": 0.0})
    with pytest.raises(StateError, match="start from a float: 0.0, not 0"):
        record(ou, 0)


@pytest.mark.once
def test_a_step_on_several_threads_of_numbas_is_run_by_one_of_ours():
    @numba.njit(parallel=True)
    def step(x, rng):
        shift = rng.random()
        for i in numba.prange(x.size):
            x[i] = 0.5 * x[i] + shift
        return x

    run = record(step, np.zeros(64), 400)
    assert run.verify(full=True, executor=lambda: ThreadPoolExecutor(2))
