"""Bad input: a RewindError that is also the builtin one would catch, names what is wrong, and loses nothing."""

from __future__ import annotations

import errno
import functools
import math
import os
from fractions import Fraction

import numpy as np
import pytest
from helpers.plain import Counting, bytes_of, noisy, walk

import rewind


def refused(ask, builtin, *words):
    """Assert that `ask` is refused with an error of class `builtin` whose text has all `words`; return it."""
    with pytest.raises(rewind.RewindError) as caught:
        ask()
    assert isinstance(caught.value, builtin), type(caught.value).__mro__
    for word in words:
        assert word in str(caught.value), str(caught.value)
    return caught.value


@pytest.fixture
def run():
    return rewind.record(noisy, 0.0, 20, 5)


@pytest.mark.parametrize("n", [0, -1, np.int64(0), -(10**30)])
def test_a_length_below_one_is_refused(n):
    refused(lambda: rewind.record(walk, 0, n, 1), ValueError, f"n_steps is {n!r}", "expected an integer >= 1")


@pytest.mark.parametrize("n", [2**62, 10**40])
def test_a_length_no_file_can_hold_is_refused_at_once(n):
    refused(lambda: rewind.record(walk, 0, n, 1), ValueError, "n_steps is", "expected")
    refused(lambda: rewind.record(walk, 0, 5, 1, block_size=n), ValueError, "block_size is", "expected")
    run = rewind.record(walk, 0, 5, 1)
    refused(lambda: run.extend(n), ValueError, "n_steps")
    refused(lambda: run.branch(1, n_steps=n), ValueError, "n_steps")


@pytest.mark.parametrize("n", [5.0, 5.5, math.nan, True, False, np.True_, "5", None, [5], 5j])
def test_a_length_that_is_no_integer_is_refused(n):
    kind = type(n).__name__
    refused(lambda: rewind.record(walk, 0, n, 1), TypeError, "n_steps is ", f"({kind})", "expected an integer >= 1")
    refused(lambda: rewind.record(walk, 0, 5, 1).extend(n), TypeError, "n_steps is ")
    if n is not None:
        refused(lambda: rewind.record(walk, 0, 5, 1).branch(1, n_steps=n), TypeError, "n_steps is ")
        refused(lambda: rewind.record(walk, 0, 5, 1, block_size=n), TypeError, "block_size is ")
        refused(lambda: rewind.record(walk, 0, 5, n), TypeError, "seed is ", "expected an integer >= 0")


def test_a_numpy_integer_is_an_integer():
    run = rewind.record(walk, 0, np.int32(20), np.uint64(2**64 - 1), block_size=np.int8(3))
    assert (run.n_steps, run.seed, run.block_size) == (20, 2**64 - 1, 3)
    assert type(run.n_steps) is type(run.seed) is type(run.block_size) is int
    assert run.get(np.int8(-1)) == run[np.uint64(19)]


@pytest.mark.parametrize("b", [0, -1])
def test_a_block_below_one_step_is_refused(b):
    refused(lambda: rewind.record(walk, 0, 5, 1, block_size=b), ValueError, f"block_size is {b}", "an integer >= 1")


def test_a_block_larger_than_the_run_is_fine(tmp_path):
    for b in (6, 10**9, 2**61):
        run = rewind.record(walk, 0, 5, 1, block_size=b)
        run.save(tmp_path / "a.replay")
        assert rewind.load(tmp_path / "a.replay", walk).verify(full=True)
        assert bytes_of(rewind.load(tmp_path / "a.replay", walk).extend(9))[:5] == bytes_of(run)


def test_a_negative_seed_is_refused(run):
    refused(lambda: rewind.record(walk, 0, 5, -1), ValueError, "seed is -1", "expected an integer >= 0")
    refused(lambda: run.branch(3, seed=-1), ValueError, "seed is -1")
    refused(lambda: run.branch(3, seed=1.5), TypeError, "seed is 1.5 (float)")
    refused(lambda: run.branch(3, seed=1, noise="same"), ValueError, "seed is 1", "noise='same'")


@pytest.mark.parametrize("backend", ["torch", "", None, 3, "NumPy", ["numpy"], {}])
def test_an_unknown_backend_is_refused(backend):
    refused(lambda: rewind.record(walk, 0, 5, 1, backend=backend), ValueError, "backend is ", "'python' or 'numpy'")


@pytest.mark.parametrize("noise", ["other", None, 3, ["same"]])
def test_an_unknown_noise_is_refused(run, noise):
    refused(lambda: run.branch(3, noise=noise), ValueError, "noise is ", "'fresh' or 'same'")


@pytest.mark.parametrize("step", [None, 3, "step", [walk]])
def test_a_step_that_cannot_be_called_is_refused(run, step, tmp_path):
    refused(lambda: rewind.record(step, 0, 5, 1), TypeError, "step_fn is ", "a callable: step_fn(state, rng) -> state")
    if step is not None:
        run.save(tmp_path / "a.replay")
        refused(lambda: run.branch(3, step_fn=step), TypeError, "step_fn is ")
        refused(lambda: rewind.load(tmp_path / "a.replay", step), TypeError, "step_fn is ")


@pytest.mark.parametrize(
    "step", [lambda x: x, lambda: 0, lambda x, rng, k: x, lambda x, *, rng: x, functools.partial(walk, 1, 2)]
)
def test_a_step_with_the_wrong_arity_is_refused_before_it_runs(step):
    refused(lambda: rewind.record(step, 0, 5, 1), TypeError, "step_fn is ", "a callable that takes (state, rng)")


def test_a_step_must_take_the_parameters_there_are(run):
    error = refused(lambda: rewind.record(walk, 0, 5, 1, params={"k": 2}), TypeError, "(state, rng, k=2)", "(x, rng)")
    assert isinstance(error, rewind.ArgumentTypeError) and error.name == "step_fn"
    refused(lambda: rewind.record(lambda state, rng: state, 0, 5, 1, params={"state": 2}), TypeError, "state=2")
    refused(lambda: run.branch(1, params={"k": 2}), TypeError, "k=2")
    for step in (lambda x, rng, **more: x, lambda *args, k: args[0], functools.partial(lambda a, x, rng, k=1: x, 0)):
        assert rewind.record(step, 0, 5, 1, params={"k": 2}).get(4) == 0


def test_a_step_that_returns_none_is_asked_whether_it_forgot_to_return():
    refused(lambda: rewind.record(lambda x, rng: None, 0, 5, 1), TypeError, "step 0", "forget to return")
    assert rewind.record(lambda x, rng: None, None, 5, 1).get(4) is None


@pytest.mark.parametrize("observe", [3, "x", [abs], abs, {"x"}])
def test_observe_that_is_no_dict_is_refused(observe):
    refused(lambda: rewind.record(walk, 0, 5, 1, observe=observe), TypeError, "observe is ", "a dict")


@pytest.mark.parametrize("name", ["", " x", "a/b", "1x", "x" * 65, "a\0", "é\ud800"])
def test_a_metric_needs_a_name_a_file_can_have(name):
    refused(lambda: rewind.record(walk, 0, 5, 1, observe={name: abs}), ValueError, "a name in observe is ")


def test_a_metric_that_is_none_of_the_three_is_refused():
    refused(lambda: rewind.record(walk, 0, 5, 1, observe={3: abs}), TypeError, "a name in observe is 3")
    refused(lambda: rewind.record(walk, 0, 5, 1, observe={"m": 3}), TypeError, "metric 'm' is 3 (int)")
    refused(
        lambda: rewind.record(walk, 0, 5, 1, observe={"m": "y"}),
        TypeError,
        "metric 'm'",
        "is no attribute or key of the state",
    )


@pytest.mark.parametrize(
    "value", ["text", b"x", None, object(), 1j, [], [[1], [1, 2]], np.array("a"), {"a": 1}, np.datetime64("2020-01-01")]
)
def test_a_metric_that_gives_no_number_is_refused_at_the_door(run, value):
    calls = Counting(walk)
    ask = lambda: rewind.record(calls, 0, 5, 1, observe={"m": lambda x: value})  # noqa: E731
    refused(ask, TypeError, "metric 'm' at step 0 gave ", "expected a number or an array of numbers of one shape")
    assert calls.calls == 0
    refused(lambda: run.stats(lambda x: value), TypeError, "metric 'f' at step 0 gave ")


def test_a_metric_that_raises_is_named(run):
    refused(lambda: rewind.record(walk, 0, 5, 1, observe={"m": lambda x: 1 / 0}), TypeError, "'m' at step 0", "ZeroDiv")
    refused(lambda: run.stats("nothing"), TypeError, "metric 'nothing' at step 0 is no attribute or key of the state")
    refused(lambda: run.stats(3), TypeError, "3 (int)")
    refused(lambda: run.series(3), TypeError, "3 (int)")


def test_an_empty_window_has_no_statistics(run):
    refused(lambda: run.stats(None, 5, 5), ValueError, "(5, 5)", "at least one step of 0 to 19")
    refused(lambda: run.stats(None, 25), ValueError, "at least one step")
    refused(lambda: run.stats(None, 1.5), TypeError, "start is 1.5")
    refused(lambda: run.series(every=0), ValueError, "every is 0")
    refused(lambda: run.series(every=-1), ValueError, "every is -1")
    refused(lambda: run.iter(0, "5"), TypeError, "stop is '5'")


@pytest.mark.parametrize("t", [20, 21, -21, 10**30, -(10**30), np.int64(20)])
def test_a_step_outside_the_run_is_an_index_error(run, t):
    for ask in (lambda: run.get(t), lambda: run[t], lambda: run.branch(t)):
        refused(ask, IndexError, f"step {int(t)} is outside this run, which holds steps 0 to 19")


@pytest.mark.parametrize("t", [1.0, 1.5, True, np.False_, "1", None, (1,), 1j, np.float32(1)])
def test_a_step_that_is_no_integer_is_a_type_error(run, t):
    for ask in (lambda: run.get(t), lambda: run[t], lambda: run.branch(t)):
        refused(ask, TypeError, "t is ", f"({type(t).__name__})", "expected an integer")


@pytest.mark.parametrize("n", [0, -1])
def test_a_branch_of_no_length_is_refused(run, n):
    refused(lambda: run.branch(3, n_steps=n), ValueError, f"n_steps is {n}", "an integer >= 1")


def test_a_mutate_that_cannot_be_called_is_refused(run):
    refused(lambda: run.branch(3, 5), TypeError, "mutate is 5 (int)", "a callable of the state")


def test_a_slice_with_a_step_of_zero_is_refused(run):
    for steps in (run, run[3:9]):
        refused(lambda steps=steps: steps[::0], ValueError, "the step of a slice is 0")
        refused(lambda steps=steps: steps["a":], TypeError, "the start of a slice is 'a' (str)")
        refused(lambda steps=steps: steps[:1.5], TypeError, "the stop of a slice is 1.5 (float)")


@pytest.mark.parametrize("params", [3, "k", [("k", 1)], {"k"}])
def test_params_that_are_no_dict_are_refused(params):
    refused(lambda: rewind.record(lambda x, rng, **k: x, 0, 5, 1, params=params), TypeError, "params is ")


@pytest.mark.parametrize(
    "value", [object(), {"a": {1}}, {1: 2}, 1j, b"x", np.array([None]), {1}, lambda: 1, [object()]]
)
def test_a_parameter_that_is_not_json_is_named(value):
    step = lambda x, rng, k: x  # noqa: E731
    refused(lambda: rewind.record(step, 0, 5, 1, params={"k": value}), TypeError, "params['k'] is ", "JSON scalar")


@pytest.mark.parametrize("name", [3, "", "a b", "1a", ("k",), None])
def test_a_parameter_needs_a_name_that_can_be_a_keyword(name):
    step = lambda x, rng, **k: x  # noqa: E731
    refused(lambda: rewind.record(step, 0, 5, 1, params={name: 1}), ValueError, "a name in params is ")


PARAMETERS = ["é\ud800\0", "", 10**400, -(2**70), 5e-324, -0.0, [], [None, True, "a"], 10**5000]


@pytest.mark.parametrize("value", PARAMETERS, ids=lambda value: type(value).__name__)
def test_whatever_parameter_is_taken_comes_back_from_the_file(value, tmp_path):
    def step(x, rng, k):
        return x

    try:
        run = rewind.record(step, 0, 5, 1, params={"k": value})
    except rewind.RewindError as error:
        assert "params['k']" in str(error)
        return
    run.save(tmp_path / "a.replay")
    back = rewind.load(tmp_path / "a.replay", step).params["k"]
    assert type(back) is type(value) and repr(back) == repr(value)


@pytest.mark.parametrize("codec", [3, abs, (abs,), (abs, abs, abs), (abs, None), "ab"])
def test_a_codec_that_is_no_pair_is_refused(codec):
    refused(lambda: rewind.record(walk, 0, 5, 1, codec=codec), TypeError, "codec is ", "(encode, decode)")


def test_a_codec_for_a_run_without_one_is_refused(run, tmp_path):
    run.save(tmp_path / "a.replay")
    refused(lambda: rewind.load(tmp_path / "a.replay", codec=(abs, abs)), ValueError, "codec", "without one")


def test_an_unknown_metric_is_a_key_error_that_lists_the_known_ones(run):
    watched = rewind.record(noisy, 0.0, 5, 1, observe={"x": None, "y": abs})
    for ask in (lambda: watched.observed["z"], lambda: watched.overview("z")):
        refused(ask, KeyError, "no metric 'z'", "'x', 'y'")
    refused(lambda: run.observed["z"], KeyError, "it observed none", "observe={name: function}")
    assert "z" not in watched.observed and "x" in watched.observed


def test_a_state_that_cannot_be_kept_is_refused():
    refused(lambda: rewind.record(lambda s, rng: s, {"a": (i for i in ())}, 5, 1), TypeError, "state['a']: a generator")
    with open(os.devnull) as file:
        refused(lambda: rewind.record(lambda s, rng: s, [file], 5, 1), TypeError, "state[0]: an open file")


def test_a_run_without_its_step_says_what_it_needs(run, tmp_path):
    run.save(tmp_path / "a.replay")
    bare = rewind.load(tmp_path / "a.replay")
    for ask in (
        lambda: bare.get(3),
        bare.verify,
        bare.stats,
        lambda: bare.extend(30),
        lambda: bare.branch(3),
        lambda: list(bare),
        bare.series,
        lambda: np.asarray(bare),
    ):
        refused(ask, RuntimeError, "needs a replay", "rewind.load(path, step_fn=...)", "plain:noisy")
    assert bare.get(5) == run.get(5) and bare.metadata()["n_steps"] == 20


def test_observing_without_a_step_is_refused(run, tmp_path):
    run.save(tmp_path / "a.replay")
    refused(lambda: rewind.load(tmp_path / "a.replay", observe={"x": abs}), ValueError, "observe", "step_fn")


# ---- files


def test_a_file_that_is_not_there_or_not_a_file(run, tmp_path):
    refused(lambda: rewind.load(tmp_path / "no.replay"), FileNotFoundError, "no.replay")
    refused(lambda: rewind.load(tmp_path), IsADirectoryError, str(tmp_path))
    refused(lambda: run.save(tmp_path), IsADirectoryError, str(tmp_path))
    refused(lambda: run.save(tmp_path / "no" / "a.replay"), FileNotFoundError, "a.replay")
    os.mkfifo(tmp_path / "pipe")
    refused(lambda: rewind.load(tmp_path / "pipe"), (OSError, ValueError), "pipe")
    refused(lambda: rewind.load(3.5), TypeError, "3.5")
    refused(lambda: run.save(None), TypeError, "None")
    refused(lambda: rewind.load("a\0b"), ValueError, "a")
    assert run.verify()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EDQUOT])
def test_a_disk_that_says_no_loses_nothing_that_was_there(run, tmp_path, monkeypatch, code):
    path = tmp_path / "a.replay"
    rewind.record(noisy, 0.0, 10, 7).save(path)
    before = path.read_bytes()

    def no(*_, **__):
        raise OSError(code, os.strerror(code))

    for name in ("fsync", "replace", "write"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, no)
            try:
                run.save(path)
            except rewind.ArtifactIOError as error:
                assert error.errno == code and os.strerror(code) in str(error)
                assert path.read_bytes() == before
                assert sorted(p.name for p in tmp_path.iterdir()) == ["a.replay"]
            else:
                assert name == "write"  # which need not be how it writes
                before = path.read_bytes()
    run.save(path)
    assert rewind.load(path, noisy).content_hash() == run.content_hash()


def test_what_is_no_artifact_is_refused_with_its_name(tmp_path):
    import h5py

    path = tmp_path / "odd.replay"
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1, 2, 3]
    other = (tmp_path / "other.h5").read_bytes()
    for data in (b"", b"\0" * 600, b"hello", b"x" * 5000, other, b'{"rewind": 1}\n' * 99):
        path.write_bytes(data)
        refused(lambda: rewind.load(path), ValueError, "odd.replay")


def test_a_file_cut_anywhere_or_with_any_bit_flipped_is_refused(run, tmp_path):
    path = tmp_path / "a.replay"
    run.save(path)
    data = path.read_bytes()
    for size in [*range(0, len(data), 61), len(data) - 1]:
        path.write_bytes(data[:size])
        refused(lambda: rewind.load(path), ValueError, "a.replay")
    for at in [*range(0, 120), *range(120, len(data), 37)]:
        for bit in (0, 7):
            broken = bytearray(data)
            broken[at] ^= 1 << bit
            path.write_bytes(broken)
            refused(lambda: rewind.load(path), ValueError, "a.replay")
    path.write_bytes(data + b"\0")
    refused(lambda: rewind.load(path), ValueError, "a.replay")
    path.write_bytes(data)
    assert rewind.load(path, noisy).verify(full=True)


def test_a_pickle_is_refused_unless_it_is_allowed(tmp_path):
    run = rewind.record(lambda s, rng: s + Fraction(rng.randrange(9), 7), Fraction(1, 3), 20, 5)
    run.save(tmp_path / "a.replay")
    refused(lambda: rewind.load(tmp_path / "a.replay"), ValueError, "4 of 4 checkpoints as pickles", "allow_pickle")
    assert bytes_of(rewind.load(tmp_path / "a.replay", run._trajectory.step.function, allow_pickle=True)) == bytes_of(
        run
    )
