"""Charts of tables and of what a classifier said, by the names of ``wandb.plot``: each is a `CustomChart` to log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..tracker.store.values import array_of
from .data_types.charts import CustomChart
from .data_types.tables import Table

__all__ = [
    "bar", "confusion_matrix", "histogram", "line", "line_series", "plot_table", "pr_curve", "roc_curve", "scatter",
]  # fmt: skip


def plot_table(
    vega_spec_name: str,
    data_table: Table,
    fields: Mapping[str, str],
    string_fields: Mapping[str, str] | None = None,
    split_table: bool = False,
) -> CustomChart:
    """Return a chart of a kind of one's own."""
    return CustomChart(vega_spec_name, data_table, fields, string_fields or {})


def line(
    table: Table, x: str, y: str, stroke: str | None = None, title: str | None = None, split_table: bool = False
) -> CustomChart:
    """Return a line of one column over another; one for each value of `stroke`, if that is given."""
    fields = {"x": x, "y": y, "stroke": stroke}
    return _of("wandb/line/v0", table, {name: one for name, one in fields.items() if one is not None}, title)


def scatter(table: Table, x: str, y: str, title: str | None = None, split_table: bool = False) -> CustomChart:
    """Return points of two columns."""
    return _of("wandb/scatter/v0", table, {"x": x, "y": y}, title)


def bar(table: Table, label: str, value: str, title: str | None = None, split_table: bool = False) -> CustomChart:
    """Return a bar for each row."""
    return _of("wandb/bar/v0", table, {"label": label, "value": value}, title)


def histogram(table: Table, value: str, title: str | None = None, split_table: bool = False) -> CustomChart:
    """Return how often the values of a column come."""
    return _of("wandb/histogram/v0", table, {"value": value}, title)


def _of(panel: str, table: Table, fields: Mapping[str, str], title: str | None, **strings: str | None) -> CustomChart:
    for name in fields.values():
        if isinstance(table, Table) and name not in table.columns:
            raise ArgumentError("a column", name, f"one of {', '.join(map(str, table.columns))}")
    return CustomChart(panel, table, fields, {"title": title, **strings})


def line_series(
    xs: Any,
    ys: Sequence[Any],
    keys: Sequence[Any] | None = None,
    title: str = "",
    xname: str = "x",
    split_table: bool = False,
) -> CustomChart:
    """Return several lines, over one sequence `xs`, or over one each."""
    lines = [list(y) for y in ys]
    every = list(xs)
    each = [list(x) for x in every] if every and hasattr(every[0], "__iter__") else [every] * len(lines)
    names = [f"line_{i}" for i in range(len(lines))] if keys is None else list(keys)
    if not len(each) == len(lines) == len(names):
        raise ArgumentError("ys", f"{len(lines)} lines", f"as many as xs, {len(each)}, and as keys, {len(names)}")
    for i, (x, y) in enumerate(zip(each, lines, strict=True)):
        if len(x) != len(y):
            raise ArgumentError(f"ys[{i}]", f"{len(y)} values", f"{len(x)}, as xs has")
    rows = [
        [x, name, y]
        for name, line_xs, line_ys in zip(names, each, lines, strict=True)
        for x, y in zip(line_xs, line_ys, strict=True)
    ]
    table = Table(columns=["step", "lineKey", "lineVal"], data=rows)
    fields = {"step": "step", "lineKey": "lineKey", "lineVal": "lineVal"}
    return _of("wandb/lineseries/v0", table, fields, title, xname=xname)


def confusion_matrix(
    probs: Any = None,
    y_true: Any = None,
    preds: Any = None,
    class_names: Sequence[str] | None = None,
    title: str = "Confusion Matrix Curve",
    split_table: bool = False,
) -> CustomChart:
    """Return how often which class was taken for which.

    Parameters
    ----------
    probs : array-like, shape (n, classes), optional
        Scores: the highest is what was predicted.
    y_true : array-like of int
    preds : array-like of int, optional
        What was predicted, instead of `probs`.
    class_names : list of str, optional
        Default: ``Class_1`` and so on.
    """
    if (probs is None) == (preds is None):
        raise ArgumentError("preds", preds, "either that or probs")
    true = _ints("y_true", y_true)
    found = _ints("preds", preds) if preds is not None else array_of(probs).argmax(axis=1)
    if len(found) != len(true):
        raise ArgumentError("preds", f"{len(found)} values", f"as many as y_true has, {len(true)}")
    n = int(max(true.max(initial=-1), found.max(initial=-1))) + 1
    names = [f"Class_{i + 1}" for i in range(n)] if class_names is None else list(class_names)
    if len(names) < n or min(true.min(initial=0), found.min(initial=0)) < 0:
        raise ArgumentError("class_names", class_names, f"{n} names, for classes 0 to {n - 1}")
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (true, found), 1)
    rows = [[a, b, int(counts[i, j])] for i, a in enumerate(names) for j, b in enumerate(names)]
    fields = {name: name for name in ("Actual", "Predicted", "nPredictions")}
    return _of("wandb/confusion_matrix/v1", Table(columns=list(fields), data=rows), fields, title)


def pr_curve(
    y_true: Any,
    y_probas: Any,
    labels: Sequence[str] | None = None,
    classes_to_plot: Iterable[Any] | None = None,
    interp_size: int = 21,
    title: str = "Precision-Recall Curve",
    split_table: bool = False,
) -> CustomChart:
    """Return precision over recall, a line for each class.

    Parameters
    ----------
    y_true : array-like of int
    y_probas : array-like, shape (n, classes)
    labels : list of str, optional
        Names of the classes.
    classes_to_plot : list, optional
        Some of them. Default: all.
    interp_size : int
        Points of a line: at equal distances of recall.
    """
    rows = []
    wanted = np.linspace(1.0, 0.0, interp_size)
    for name, hits, misses in _ranked(y_true, y_probas, labels, classes_to_plot):
        # From the highest threshold down, with the point at recall 0 in front.
        precision = np.concatenate([[1.0], hits / (hits + misses)])
        recall = np.concatenate([[0.0], hits / hits[-1]])
        # At a recall the best precision that comes with it, or with a higher one.
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(recall, wanted, side="left")
        rows += [[name, round(float(precision[i]), 3), round(float(r), 3)] for r, i in zip(wanted, at, strict=True)]
    table = Table(columns=["class", "precision", "recall"], data=rows)
    return _area(table, "recall", "precision", title)


def roc_curve(
    y_true: Any,
    y_probas: Any = None,
    labels: Sequence[str] | None = None,
    classes_to_plot: Iterable[Any] | None = None,
    title: str = "ROC Curve",
    split_table: bool = False,
) -> CustomChart:
    """Return the rate of true positives over that of false ones, a line for each class; see `pr_curve`."""
    rows = []
    for name, hits, misses in _ranked(y_true, y_probas, labels, classes_to_plot):
        bends = np.ones(len(hits), bool)  # a point on the line between its neighbours says nothing
        bends[1:-1] = (np.diff(hits, 2) != 0) | (np.diff(misses, 2) != 0)
        of = [np.concatenate([[0], some[bends]]) / max(int(some[-1]), 1) for some in (hits, misses)]
        true_rate, false_rate = of
        rows += [[name, round(float(x), 3), round(float(y), 3)] for x, y in zip(false_rate, true_rate, strict=True)]
    return _area(Table(columns=["class", "fpr", "tpr"], data=rows), "fpr", "tpr", title)


def _area(table: Table, x: str, y: str, title: str) -> CustomChart:
    strings = {"x-axis-title": {"recall": "Recall", "fpr": "False positive rate"}[x]}
    strings["y-axis-title"] = {"precision": "Precision", "tpr": "True positive rate"}[y]
    return _of("wandb/area-under-curve/v0", table, {"x": x, "y": y, "class": "class"}, title, **strings)


def _ints(name: str, values: Any) -> np.ndarray[Any, Any]:
    array = array_of([] if values is None else values)
    if values is None or array.ndim != 1 or array.dtype.kind not in "iub":
        raise ArgumentError(name, values, "the number of a class for each case")
    return array.astype(np.int64)


def _ranked(
    y_true: Any, y_probas: Any, labels: Sequence[str] | None, some: Iterable[Any] | None
) -> list[tuple[Any, np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Return for each class, that has cases, how many are right and wrong above each threshold, the highest first."""
    true, scores = array_of(y_true), array_of(y_probas)
    if true.ndim != 1 or scores.ndim != 2 or len(true) != len(scores):
        raise ArgumentError("y_probas", f"shape {scores.shape}", f"({len(true)}, classes), a row for each of y_true")
    classes = np.unique(true)
    wanted = classes if some is None else np.intersect1d(classes, array_of(list(some)))
    found = []
    for one in wanted:
        i = int(np.searchsorted(classes, one))
        if i >= scores.shape[1]:
            raise ArgumentError("y_probas", f"shape {scores.shape}", f"a column for each of {len(classes)} classes")
        order = np.argsort(-scores[:, i], kind="stable")
        right = (true[order] == one).astype(np.int64)
        last = np.append(np.flatnonzero(np.diff(scores[order, i])), len(right) - 1)  # cases of one score come together
        hits = np.cumsum(right)[last]
        found.append((one.item() if labels is None else labels[i], hits, last + 1 - hits))
    return found
