"""Params: which values a step may have beside its state, and that runs, branches and files keep them to the bit."""

from __future__ import annotations

import json
import math

import h5py
import numpy as np
import pytest

import rewind
from rewind.steps.memory import packed_params
from rewind.steps.params import fresh, of_json, params_of, same, to_json, version_of

pytestmark = pytest.mark.once

VALUES = [
    math.inf, -math.inf, math.nan, [1.0, math.nan], [[1, 2], [3.5, [None, "x"]]], {"a": {"b": [math.inf]}, "": 1}, {},
    np.arange(6.0).reshape(2, 3), np.array([math.nan, -0.0]), np.array(["a", "bc"]), np.zeros((0, 2)), np.array(7),
    np.array([1, 2], ">i2"), {"weights": np.ones(2, np.float32)}, [np.array([True])], np.array(["2020-01-01"], "M8[D]"),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=[f"{i}" for i in range(len(VALUES))])
def test_value_comes_back_from_a_file_as_it_was(value, tmp_path):
    def step(x, rng, k):
        return x + 1

    run = rewind.record(step, 0, 10, 1, params={"k": value})
    run.save(tmp_path / "a.replay")
    loaded = rewind.load(tmp_path / "a.replay", step)
    assert same(loaded.params["k"], value) and same(run.params["k"], value)
    assert loaded.content_hash() == run.content_hash() and loaded.verify()
    assert same(run.branch(3).params, {"k": value})
    with h5py.File(tmp_path / "a.replay") as file:
        assert json.loads(file.attrs["meta"])["format_version"] == 2


def test_plain_params_are_in_files_of_version_1():
    plain = {"a": 1, "b": [1.5, None, True], "c": "text", "d": []}
    assert version_of(plain) == 1 and to_json(plain["b"]) == plain["b"]


def test_nothing_of_what_was_given_is_shared():
    given = {"k": {"a": [np.zeros(2)]}}
    kept = params_of(given)
    again = fresh(kept)
    given["k"]["a"][0][0] = 1
    again["k"]["a"][0][1] = 2
    assert kept["k"]["a"][0].tolist() == [0, 0]


def test_step_that_changes_a_parameter_changes_it_for_its_block_only():
    def step(x, rng, table, names):
        table += 1
        names["n"].append(1)
        return x + table[0] + len(names["n"])

    params = {"table": np.zeros(2), "names": {"n": []}}
    run = rewind.record(step, 0.0, 12, 1, block_size=4, params=params, trial=False)
    assert [run.get(t) for t in (4, 8)] == [20.0, 40.0] and run.verify()
    assert params["table"].tolist() == [0, 0] and params["names"] == {"n": []}
    run.params["table"][:] = 9
    assert run.get(5) == 22.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        ([1], (2,)),
        (np.zeros(2), np.zeros(3)),
        (np.zeros(2), np.zeros(2, "f4")),
        ({}, []),
    ],
)
def test_values_that_differ_are_told_apart(one, other):
    assert not same({"k": one}, {"k": other}) and same({"k": one, "l": 1}, {"l": 1, "k": one})


def test_large_arrays_that_differ_in_the_middle_make_another_run(tmp_path):
    def step(x, rng, k):
        return x + k[2500]

    big = np.zeros(5000)
    path = tmp_path / "a.replay"
    run = rewind.record(step, 0.0, 20, 1, params={"k": big}, path=path)
    other = run.branch(0, params={"k": np.where(np.arange(5000) == 2500, 1.0, 0.0)}, noise="same")
    assert run.diff(other).step == 1
    with pytest.raises(rewind.ArgumentError, match="params"):
        rewind.record(step, 0.0, 20, 1, params={"k": big + 1}, path=path, resume=True)


@pytest.mark.parametrize(
    "text",
    [
        '{"float": "1"}', '{"float": "nan", "dict": {}}', "{}", '{"dict": [1]}', '{"ndarray": ["<f8", [3], "AA=="]}',
        '{"ndarray": ["|O", [1], "AAAAAAAAAAA="]}', '{"ndarray": ["<f8", [-1], ""]}', '{"ndarray": ["<f8"]}',
        '{"set": []}',
    ],
)  # fmt: skip
def test_what_no_file_has_is_refused(text):
    with pytest.raises((ValueError, TypeError)):
        of_json(json.loads(text))


def test_native_step_gets_the_numbers_row_by_row():
    assert packed_params({"a": [[1, 2], [3, 4]]}) == packed_params({"a": np.array([[1, 2], [3, 4]], np.int32)})
    assert packed_params({"a": np.array([math.inf, 0.5])}) == packed_params({"a": [math.inf, 0.5]})
    for bad in ({"n": 1}, np.array(["x"]), [[None]]):
        with pytest.raises(rewind.ArgumentTypeError, match=r"params\['a'\]"):
            packed_params({"a": bad})
