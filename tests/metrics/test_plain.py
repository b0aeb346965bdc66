"""Plain numbers: a masked cell is missing wherever a metric is looked at; units and labels are refused with a cure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import rewind
from rewind.metrics.plain import Labelled, plain

HIDDEN = -9999.0


def field_of(t: float) -> Any:
    return np.ma.array([t, 2.0, HIDDEN], mask=[False, False, True])


def drift(field: Any, rng: Any) -> Any:
    field = field.copy()
    field[0] += 1.0
    return field


def numbers(x: float, rng: Any) -> float:
    return x + 1.0


@dataclass
class Cells:
    x: float
    cells: Any


def grow(state: Cells, rng: Any) -> Cells:
    state.x += 1.0
    state.cells[0] = state.x
    return state


#: How masked cells come to be in what a metric gives: the state, a metric's array, a list, a field, integers.
RUNS: dict[str, Any] = {
    "the state": (drift, lambda: field_of(0.0), None),
    "an array": (numbers, lambda: 0.0, field_of),
    "a list": (numbers, lambda: 0.0, lambda x: [x, 2.0, np.ma.masked]),
    "a field": (grow, lambda: Cells(0.0, field_of(0.0)), "cells"),
    "integers": (numbers, lambda: 0.0, lambda x: np.ma.array([int(x), 2, -9999], mask=[0, 0, 1])),
    "arrays in a tuple": (numbers, lambda: 0.0, lambda x: tuple(field_of(x))),
}
masked = pytest.mark.parametrize("name", RUNS)


def run_of(name: str) -> tuple[Any, Any]:
    step, init, metric = RUNS[name]
    return rewind.record(step, init(), 30, 1, block_size=7, observe={"f": metric}), metric


def missing_last(values: Any) -> bool:
    return bool(np.isnan(values[..., 2]).all() and not np.isnan(values[..., :2]).any())


@masked
def test_a_masked_cell_is_missing_in_all_that_is_said_of_a_run(name):
    run, metric = run_of(name)
    for stats in (run.observed["f"], run.stats(metric), run.stats({"f": metric})["f"]):
        assert stats.nan_count.tolist() == [0, 0, 30] and stats.first_nan.tolist() == [-1, -1, 0]
        assert missing_last(stats.mean) and missing_last(stats.max)
        assert stats.max[:2].tolist() == [29.0, 2.0]
    assert missing_last(run.overview("f")["mean"]) and run.overview("f")["nan_count"][:, 2].sum() == 30
    series = run.series(metric)
    assert missing_last(series) and series[:, 0].tolist() == [float(t) for t in range(30)]
    assert run.first("f[2] < -1000") is None and run.first("isnan(f[2])") == 0
    assert run.first("f[2] == f[2]") is None and run.first("f[0] == f[0]") == 0
    assert missing_last(run.branches(10, 3, metric=metric).values)


@masked
def test_a_file_says_the_same(name, tmp_path):
    run, metric = run_of(name)
    run.save(tmp_path / "run.replay")
    loaded = rewind.load(tmp_path / "run.replay", RUNS[name][0], observe={"f": metric}, allow_pickle=True)
    assert loaded.observed["f"] == run.observed["f"]
    assert loaded.series(metric).tobytes() == run.series(metric).tobytes()
    assert loaded.verify(full=True)


def test_a_mean_of_nothing_is_missing():
    run = rewind.record(numbers, 0.0, 20, 1, observe={"m": lambda x: np.ma.array([x], mask=[x > 4]).mean()})
    assert run.observed["m"].nan_count == 15 and run.observed["m"].first_nan == 5
    assert np.isnan(run.series(lambda x: np.ma.array([x], mask=[x > 4]).mean())[5:]).all()


def test_nothing_masked_is_an_array_like_any_other():
    array = np.ma.array([1, 2])
    assert plain(array).dtype == array.dtype and type(plain(array)) is np.ndarray
    assert plain(1.5) == 1.5 and plain([1, 2.0]) == [1, 2.0] and plain(None) is None
    value = np.zeros(3)
    assert plain(value) is value
    assert math.isnan(plain(np.ma.masked)) and np.isnat(plain(np.ma.array(["2020-01-01"], "M8[D]", mask=[1])))[0]


class Unit(np.ndarray):
    """As astropy and unyt have them: an array that knows its unit."""

    unit = "m"

    def __array_finalize__(self, other: Any) -> None:
        self.unit = getattr(other, "unit", "m")

    @property
    def value(self) -> Any:
        return self.view(np.ndarray)


class Quantity:
    """As pint has them: an object around an array or a number."""

    def __init__(self, magnitude: Any) -> None:
        self._magnitude = magnitude

    @property
    def magnitude(self) -> Any:
        return self._magnitude

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(self._magnitude)


class Series:
    """As pandas and xarray have them: an array with labels."""

    def __init__(self, values: Any) -> None:
        self.index = ["a", "b"]
        self._values = values

    def to_numpy(self) -> Any:
        return np.asarray(self._values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.to_numpy()


def noted(x: float) -> Any:
    array = np.zeros(2).view(Plain)
    array.note = "in metres"
    return array


class Plain(np.ndarray):
    note: str


class Tensor:
    """As tensor and dataframe libraries have them: numbers and no more."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def index(self) -> None:
        raise AssertionError

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(self.values, dtype)


LABELLED: dict[str, tuple[Any, str]] = {
    "an array with a unit": (lambda x: np.array([x, 1.0]).view(Unit), "value.value"),
    "a quantity": (lambda x: Quantity(np.array([x])), "value.magnitude"),
    "a quantity of one number": (lambda x: Quantity(x), "value.magnitude"),
    "labels": (lambda x: Series([x, 1.0]), "value.to_numpy()"),
    "attributes": (noted, "np.asarray(value)"),
    "in a list": (lambda x: [np.array([x]).view(Unit)], "value.value"),
    "masked, with a unit": (lambda x: np.ma.array(np.array([x]).view(Unit), mask=[0]), "value.value"),
}


@pytest.mark.parametrize("name", LABELLED)
def test_an_array_whose_meaning_is_not_in_its_numbers_is_refused_with_the_cure(name):
    metric, cure = LABELLED[name]
    run = rewind.record(numbers, 0.0, 9, 1)
    for ask in (
        lambda: rewind.record(numbers, 0.0, 9, 1, observe={"f": metric}),
        lambda: run.stats(metric),
        lambda: run.series(metric),
        lambda: run.branches(2, 2, metric=metric),
    ):
        with pytest.raises(rewind.MetricError, match="whose meaning is not in its numbers alone") as caught:
            ask()
        assert str(caught.value).endswith(f"expected its numbers: {cure}") and caught.value.step is not None


def test_one_that_comes_later_is_refused_at_its_step():
    def metric(x: float) -> Any:
        return np.array([x]) if x < 5 else np.array([x]).view(Unit)

    for ask in (
        lambda: rewind.record(numbers, 0.0, 9, 1, observe={"f": metric}),
        lambda: rewind.record(numbers, 0.0, 9, 1).stats(metric),
    ):
        with pytest.raises(rewind.MetricError, match=r"metric 'f|metric' at step 5 gave"):
            ask()


@pytest.mark.parametrize("value", [Tensor([1.0, 2.0]), np.zeros(2).view(Plain), np.memmap])
def test_numbers_of_other_libraries_are_numbers(value, tmp_path):
    if value is np.memmap:
        value = np.memmap(tmp_path / "numbers", "f8", "w+", shape=(2,))
    run = rewind.record(numbers, 0.0, 9, 1, observe={"f": lambda x: value})
    assert np.array_equal(run.observed["f"].mean, np.asarray(value))


def test_masked_text_and_structures_are_refused():
    for array in (np.ma.array(["a", "b"], mask=[1, 0]), np.ma.zeros(2, [("a", "f8")])):
        array[0] = np.ma.masked
        with pytest.raises(Labelled, match="gave a masked array"):
            plain(array)
