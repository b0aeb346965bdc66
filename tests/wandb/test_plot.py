"""Charts: the tables behind them are those that W&B's client makes; the expected ones were taken from it, 0.31.0."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

import rewind
from rewind.wandb import Table, plot

pytestmark = pytest.mark.once

TRUE = [0, 1, 2, 2, 1, 0, 1, 2]
SCORES = np.array(
    [[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.4, 0.4, 0.2], [0.4, 0.5, 0.1],
     [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]
)  # fmt: skip
PR = [
    ["x", 0.667, 1.0], ["x", 0.667, 0.75], ["x", 1.0, 0.5], ["x", 1.0, 0.25], ["x", 1.0, 0.0], ["y", 0.6, 1.0],
    ["y", 0.6, 0.75], ["y", 0.667, 0.5], ["y", 1.0, 0.25], ["y", 1.0, 0.0], ["z", 0.75, 1.0], ["z", 0.75, 0.75],
    ["z", 1.0, 0.5], ["z", 1.0, 0.25], ["z", 1.0, 0.0],
]  # fmt: skip
ROC = [
    [1, 0.0, 0.0], [1, 0.0, 0.333], [1, 0.4, 1.0], [1, 0.8, 1.0], [1, 1.0, 1.0], [2, 0.0, 0.0], [2, 0.0, 0.333],
    [2, 0.0, 0.667], [2, 0.2, 1.0], [2, 0.4, 1.0], [2, 1.0, 1.0],
]  # fmt: skip


def cells(chart):
    return chart.table.columns, chart.table.data


def test_row_has_the_table_and_what_is_drawn_of_it(tmp_path):
    table = Table(columns=["a", "b"], data=[[1, 2]])
    with rewind.init(dir=tmp_path) as run:
        run.log({"line": plot.line(table, "a", "b", title="T"), "pair": [plot.bar(table, "a", "b")]})
        (row,) = run.history()
        ((path, content),) = {
            (one.path, pathlib.Path(one.location).read_text()) for one in run.media if "line_table" in one.path
        }
    assert row["line"] == {
        "_type": "custom-chart", "panel": "wandb/line/v0", "fields": {"x": "a", "y": "b"}, "strings": {"title": "T"},
        "table": "line_table",
    }  # fmt: skip
    assert row["line_table"]["path"] == path and json.loads(content) == {"columns": ["a", "b"], "data": [[1, 2]]}
    assert row["pair_0"]["panel"] == "wandb/bar/v0" and row["pair_0_table"]["nrows"] == 1


def test_column_that_is_not_there_is_named():
    with pytest.raises(rewind.ArgumentError, match="a column is 'z'; expected one of a, b"):
        plot.scatter(Table(columns=["a", "b"]), "a", "z")
    with pytest.raises(rewind.ArgumentTypeError, match="a Table"):
        plot.histogram([1, 2], "a")


def test_lines_over_one_sequence_or_over_one_each():
    names = ["step", "lineKey", "lineVal"]
    one = plot.line_series(xs=[0, 1], ys=[[1, 2], [3, 4]], keys=["u", "v"], title="T", xname="t")
    assert cells(one) == (names, [[0, "u", 1], [1, "u", 2], [0, "v", 3], [1, "v", 4]])
    assert one.strings == {"title": "T", "xname": "t"}
    each = plot.line_series(xs=[[0, 1], [2]], ys=[[1, 2], [3]])
    assert cells(each) == (names, [[0, "line_0", 1], [1, "line_0", 2], [2, "line_1", 3]])
    for bad in ({"keys": ["u"]}, {"ys": [[1, 2], [3]]}):
        with pytest.raises(rewind.ArgumentError):
            plot.line_series(**{"xs": [0, 1], "ys": [[1, 2], [3, 4]], **bad})


def test_confusion_matrix_counts_every_pair():
    chart = plot.confusion_matrix(probs=SCORES, y_true=TRUE, class_names=["x", "y", "z"])
    counts = [[1, 1, 0], [1, 2, 0], [0, 1, 2]]  # of two that are the highest, the first
    names = ["x", "y", "z"]
    rows = [[a, b, counts[i][j]] for i, a in enumerate(names) for j, b in enumerate(names)]
    assert cells(chart) == (["Actual", "Predicted", "nPredictions"], rows)
    assert plot.confusion_matrix(y_true=[0, 1], preds=[0, 0]).table.data[2] == ["Class_2", "Class_1", 1]
    for bad in ({"preds": [0]}, {"preds": [0, 1], "probs": SCORES}, {"preds": [0, 3], "class_names": ["x"]}):
        with pytest.raises(rewind.ArgumentError):
            plot.confusion_matrix(y_true=[0, 1], **bad)


def test_precision_over_recall_is_that_of_the_client():
    columns, rows = cells(plot.pr_curve(TRUE, SCORES, labels=["x", "y", "z"], interp_size=5))
    assert columns == ["class", "precision", "recall"]
    assert rows == PR


def test_rates_of_true_and_false_positives_are_those_of_the_client():
    columns, rows = cells(plot.roc_curve(TRUE, SCORES, classes_to_plot=[1, 2]))
    assert columns == ["class", "fpr", "tpr"]
    assert rows == ROC
