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
        (lambda x, rng: [0], 0, "the state is int at step 0 and a list of 1 at step 1: checkpoints like it"),
        (lambda x, rng: x * 7, 3, "is int at step 0 and something no column can hold"),
        (
            lambda s, rng: {"a": np.append(s["a"], 1), "b": 1},
            {"a": np.zeros(3, int), "b": 1},
            "['a'] is an array of int64, shape (3,) at step 0 and an array of int64, shape (4,) at step 1",
        ),
        (
            lambda s, rng: [1.0, [*s[1], 2.0]],
            [1.0, [1.0, 1.0]],
            "[1] is a list of 2 at step 0 and a list of 3",
        ),
        (lambda s, rng: {"b": 1, **s}, {"a": 1}, "the state is a dict of a at step 0 and a dict of b, a at step 1"),
    ],
)
def test_states_that_stop_fitting_are_named_with_the_place_and_the_cure(step, init, text):
    run, found = warned(step, init)
    assert [category for category, _ in found] == [rewind.PickledStatesWarning]
    assert text in found[0][1] and "allow_pickle=True" in found[0][1]
    assert run.metadata()["n_pickled"] > 0


@pytest.mark.parametrize("trial", [True, False])
def test_a_state_that_stops_fitting_is_told_of_while_it_is_recorded_and_once(trial):
    lengths = []

    def step(x, rng):
        lengths.append((len(x), len(told)))
        return [*x, 1]

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        rewind.record(step, [1], 100, 1, trial=trial)
    assert len(told) == 1 and lengths[0] == (1, 0)
    # With a trial after the first step of it, without one at the end of the first block.
    assert lengths[1] == (2, 1) if trial else lengths[9:11] == [(10, 0), (11, 1)]


@pytest.mark.parametrize(
    ("state", "path", "size"), [(b"x" * 70_000, "the state", "70,000"), ({"a": ["ä" * 40_000]}, "['a'][0]", "80,000")]
)
def test_text_that_no_column_takes_is_told_of_before_the_first_step(state, path, size):
    def step(state, rng):
        raise ValueError("the first step")

    with pytest.warns(rewind.PickledStatesWarning) as told, pytest.raises(rewind.StepError):
        rewind.record(step, state, 10, 1)
    assert f"{path} is {size} bytes long, of which a column takes 65,536, at step 0" in str(told[0].message)
    assert "as an array: numpy.frombuffer" in str(told[0].message) and told[0].filename == __file__


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
