"""What a recording warns of: states that had to be pickled, and arrays of a state that share memory."""

import warnings

import numpy as np
import pytest

import rewind


def warned(step, init, n=100, **kwargs):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = rewind.record(step, init, n, 1, **kwargs)
    assert all(warning.filename == __file__ for warning in caught)  # blamed on the caller's line
    return run, [(warning.category, str(warning.message)) for warning in caught]


@pytest.mark.parametrize(
    "step, init, text",
    [
        (lambda x, rng: [0], 0, "the state is int at step 0 and a list of 1 at step 10: 9 of 10 checkpoints"),
        (lambda x, rng: x * 7, 3, "is int at step 0 and something no column can hold"),
        (
            lambda s, rng: {"a": np.append(s["a"], 1), "b": 1},
            {"a": np.zeros(3, int), "b": 1},
            "['a'] is an array of int64, shape (3,) at step 0 and an array of int64, shape (13,) at step 10",
        ),
        (lambda s, rng: [1.0, [*s[1], 2.0]], [1.0, [1.0, 1.0]], "[1] is a list of 2 at step 0 and a list of 12"),
        (lambda s, rng: {"b": 1, **s}, {"a": 1}, "the state is a dict of a at step 0 and a dict of b, a at step 10"),
    ],
)
def test_states_that_stop_fitting_are_named_with_the_place_and_the_cure(step, init, text):
    run, found = warned(step, init)
    assert [category for category, _ in found] == [rewind.PickledStatesWarning]
    assert text in found[0][1] and "allow_pickle=True" in found[0][1]
    assert run.metadata()["n_pickled"] > 0


def test_states_that_fit_and_states_that_never_did_are_no_news():
    assert warned(lambda x, rng: x + rng.random(), 0.0)[1] == []
    assert warned(lambda x, rng: {*x, frozenset({rng.random()})}, {frozenset()}, 9)[1] == []


def test_leaves_that_change_their_type_stay_columns_and_are_no_news():
    for step, init in (
        (lambda x, rng: x + rng.random(), 0),
        (
            lambda s, rng: {"a": s["a"] + rng.random(), 1: None if rng.random() < 0.5 else 2},
            {"a": np.zeros(3, int), 1: 2},
        ),
        (lambda x, rng: [np.float64(v) * 0.5 for v in x], [1, 2.0, True]),
    ):
        run, found = warned(step, init)
        assert found == [] and run.metadata()["n_pickled"] == 0


def test_views_of_one_memory_are_named():
    def step(state, rng):
        state["pos"] += rng.random()
        return state

    data = np.zeros((5, 3))
    _, found = warned(step, {"data": data, "pos": data[:, :2]}, 9, trial=False)
    assert [category for category, _ in found] == [rewind.SharedMemoryWarning]
    assert found[0][1].startswith("['data'] and ['pos'] of the state share memory")
    with pytest.warns(rewind.SharedMemoryWarning), pytest.raises(rewind.LossyStateError, match="share memory"):
        rewind.record(step, {"data": data, "pos": data[:, :2]}, 9, 1)
    apart = np.zeros(6)
    assert warned(step, {"data": apart[::2], "pos": apart[1::2]}, 9)[1] == []  # interleaved, but not shared
    assert warned(step, {"data": data.copy(), "pos": data}, 9)[1] == []
