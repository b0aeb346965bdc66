"""Charts of what scikit-learn has fitted: each is logged to the latest run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import plot
from ..data_types import CustomChart, Table
from .library import current_run


def plot_classifier(
    model: Any,
    X_train: Any,  # noqa: N803
    X_test: Any,  # noqa: N803
    y_train: Any,
    y_test: Any,
    y_pred: Any,
    y_probas: Any,
    labels: Sequence[str] | None = None,
    is_binary: bool = False,
    model_name: str = "Classifier",
    feature_names: Sequence[str] | None = None,
    log_learning_curve: bool = False,
) -> None:
    """Log all charts of a classifier: importances, proportions of classes, confusion, ROC, precision and recall."""
    _log({f"{model_name}_params": _params(model)})
    plot_feature_importances(model, feature_names)
    if log_learning_curve:
        plot_learning_curve(model, X_train, y_train)
    plot_class_proportions(y_train, y_test, labels)
    plot_confusion_matrix(y_test, y_pred, labels)
    plot_summary_metrics(model, X_train, y_train, X_test, y_test)
    if y_probas is not None:
        plot_roc(y_test, y_probas, labels)
        plot_precision_recall(y_test, y_probas, labels)


def plot_regressor(
    model: Any,
    X_train: Any,  # noqa: N803
    X_test: Any,  # noqa: N803
    y_train: Any,
    y_test: Any,
    model_name: str = "Regressor",
) -> None:
    """Log all charts of a regressor: its scores and its residuals."""
    _log({f"{model_name}_params": _params(model)})
    plot_summary_metrics(model, X_train, y_train, X_test, y_test)
    plot_residuals(model, X_train, y_train)


def plot_clusterer(
    model: Any,
    X_train: Any,  # noqa: N803
    cluster_labels: Any,
    labels: Sequence[str] | None = None,
    model_name: str = "Clusterer",
) -> None:
    """Log all charts of a clustering: its elbow curve and its silhouette."""
    _log({f"{model_name}_params": _params(model)})
    if hasattr(model, "n_clusters"):
        plot_elbow_curve(model, X_train)
    plot_silhouette(model, X_train, cluster_labels, labels)


def plot_confusion_matrix(
    y_true: Any = None,
    y_pred: Any = None,
    labels: Sequence[str] | None = None,
    true_labels: Any = None,
    pred_labels: Any = None,
    normalize: bool = False,
) -> CustomChart:
    """Log how often each class was taken for each."""
    true, found, names = _classes(y_true, y_pred, labels)
    chart = plot.confusion_matrix(y_true=true, preds=found, class_names=names)
    return _log_chart("confusion_matrix", chart)


def plot_roc(
    y_true: Any = None,
    y_probas: Any = None,
    labels: Sequence[str] | None = None,
    plot_micro: bool = True,
    plot_macro: bool = True,
    classes_to_plot: Any = None,
) -> CustomChart:
    """Log the ROC curves."""
    return _log_chart("roc", plot.roc_curve(y_true, np.asarray(y_probas), _names(labels), classes_to_plot))


def plot_precision_recall(
    y_true: Any = None,
    y_probas: Any = None,
    labels: Sequence[str] | None = None,
    plot_micro: bool = True,
    classes_to_plot: Any = None,
) -> CustomChart:
    """Log precision over recall."""
    chart = plot.pr_curve(y_true, np.asarray(y_probas), _names(labels), classes_to_plot)
    return _log_chart("precision_recall", chart)


def plot_feature_importances(
    model: Any = None,
    feature_names: Sequence[str] | None = None,
    title: str = "Feature Importance",
    max_num_features: int = 50,
) -> CustomChart | None:
    """Log how much each feature counts, for a model that says so: its importances, or its coefficients."""
    values = getattr(model, "feature_importances_", None)
    values = getattr(model, "coef_", None) if values is None else values
    if values is None:
        return None
    found = np.asarray(values, dtype=float)
    found = np.abs(found).mean(axis=0) if found.ndim > 1 else found
    names = list(feature_names) if feature_names is not None else list(map(str, range(len(found))))
    order = np.argsort(found)[::-1][:max_num_features]
    rows = [[str(names[i]), float(found[i])] for i in order]
    return _bars("feature_importances", ("feature_names", "importances"), rows, title)


def plot_class_proportions(y_train: Any = None, y_test: Any = None, labels: Sequence[str] | None = None) -> CustomChart:
    """Log how many of each class there are, in the data to train and to test with."""
    rows = []
    for part, values in {"train": y_train, "test": y_test}.items():
        classes, counts = np.unique(np.asarray(values), return_counts=True)
        for one, count in zip(classes.tolist(), counts.tolist(), strict=True):
            name = labels[one] if labels is not None and isinstance(one, int) and one < len(labels) else one
            rows.append([f"{name} ({part})", count])
    return _bars("class_proportions", ("class", "count"), rows, "Class Proportions")


def plot_summary_metrics(
    model: Any = None,
    X: Any = None,  # noqa: N803
    y: Any = None,
    X_test: Any = None,  # noqa: N803
    y_test: Any = None,
) -> CustomChart:
    """Log the scores of a model on the data to test with."""
    from sklearn import metrics

    found = model.predict(X_test)
    scores: dict[str, Any]
    if not hasattr(model, "classes_"):
        scores = {
            "mae": metrics.mean_absolute_error(y_test, found),
            "mse": metrics.mean_squared_error(y_test, found),
            "r2_score": metrics.r2_score(y_test, found),
        }
    else:
        options: dict[str, Any] = {"average": "weighted", "zero_division": 0}
        scores = {
            "accuracy_score": metrics.accuracy_score(y_test, found),
            "f1_score": metrics.f1_score(y_test, found, **options),
            "precision": metrics.precision_score(y_test, found, **options),
            "recall": metrics.recall_score(y_test, found, **options),
        }
    current_run("summary").summary.update({name: float(value) for name, value in scores.items()})
    rows = [[name, float(value)] for name, value in scores.items()]
    return _bars("summary_metrics", ("metric_name", "metric_value"), rows, "Summary Metrics")


def plot_learning_curve(
    model: Any = None,
    X: Any = None,  # noqa: N803
    y: Any = None,
    cv: Any = None,
    shuffle: bool = False,
    random_state: Any = None,
    train_sizes: Any = None,
    n_jobs: int = 1,
    scoring: Any = None,
) -> CustomChart:
    """Log the scores of a model that is trained with more and more of the data."""
    from sklearn.model_selection import learning_curve

    sizes, train, test = (
        learning_curve(
            model,
            X,
            y,
            cv=cv,
            n_jobs=n_jobs,
            train_sizes=train_sizes,
            scoring=scoring,
            shuffle=shuffle,
            random_state=random_state,
        )
        if train_sizes is not None
        else learning_curve(model, X, y, cv=cv, n_jobs=n_jobs, scoring=scoring)
    )
    lines = [train.mean(axis=1).tolist(), test.mean(axis=1).tolist()]
    chart = plot.line_series(sizes.tolist(), lines, keys=["train", "test"], title="Learning Curve", xname="size")
    return _log_chart("learning_curve", chart)


def plot_residuals(regressor: Any = None, X: Any = None, y: Any = None) -> CustomChart:  # noqa: N803
    """Log what a regressor is off by, over what it predicts."""
    found, true = np.asarray(regressor.predict(X), dtype=float).ravel(), np.asarray(y, dtype=float).ravel()
    table = Table(
        columns=["y_pred", "residual"], data=[[a, b - a] for a, b in zip(found.tolist(), true.tolist(), strict=True)]
    )
    return _log_chart("residuals", plot.scatter(table, "y_pred", "residual", "Residuals"))


def plot_elbow_curve(
    clusterer: Any = None,
    X: Any = None,  # noqa: N803
    cluster_ranges: Sequence[int] | None = None,
    n_jobs: int = 1,
    show_cluster_time: bool = True,
) -> CustomChart:
    """Log the score of a clustering over the number of its clusters."""
    from sklearn.base import clone

    ranges = list(cluster_ranges) if cluster_ranges is not None else list(range(1, 10, 2))
    scores = [-float(clone(clusterer).set_params(n_clusters=n).fit(X).score(X)) for n in ranges]
    table = Table(columns=["n_clusters", "score"], data=[[n, score] for n, score in zip(ranges, scores, strict=True)])
    return _log_chart("elbow_curve", plot.line(table, "n_clusters", "score", title="Elbow Plot"))


def plot_silhouette(
    clusterer: Any = None,
    X: Any = None,  # noqa: N803
    cluster_labels: Any = None,
    labels: Sequence[str] | None = None,
    metric: str = "euclidean",
    kmeans: bool = True,
) -> CustomChart:
    """Log the mean silhouette of each cluster."""
    from sklearn.metrics import silhouette_samples

    found = np.asarray(cluster_labels if cluster_labels is not None else clusterer.fit_predict(X))
    values = silhouette_samples(X, found, metric=metric)
    names = [
        labels[i] if labels is not None and i < len(labels) else str(one) for i, one in enumerate(np.unique(found))
    ]
    rows = [[name, float(values[found == one].mean())] for name, one in zip(names, np.unique(found), strict=True)]
    return _bars("silhouette_plot", ("cluster", "silhouette"), rows, "Silhouette")


def plot_calibration_curve(
    clf: Any = None,
    X: Any = None,  # noqa: N803
    y: Any = None,
    clf_name: str = "Classifier",
) -> CustomChart:
    """Log how often what a classifier gives a probability is so."""
    from sklearn.calibration import calibration_curve

    true, said = calibration_curve(y, clf.predict_proba(X)[:, 1], n_bins=10)
    table = Table(
        columns=["predicted", "observed"], data=[[float(a), float(b)] for a, b in zip(said, true, strict=True)]
    )
    return _log_chart("calibration_curve", plot.line(table, "predicted", "observed", title=f"Calibration: {clf_name}"))


def _log(values: Mapping[str, Any]) -> None:
    current_run("log()").log(values)


def _log_chart(name: str, chart: CustomChart) -> CustomChart:
    _log({name: chart})
    return chart


def _bars(name: str, columns: tuple[str, str], rows: list[list[Any]], title: str) -> CustomChart:
    label, value = columns
    return _log_chart(name, plot.bar(Table(columns=[label, value], data=rows), label, value, title))


def _params(model: Any) -> dict[str, Any]:
    return {
        name: value if isinstance(value, (int, float, str, bool)) else str(value)
        for name, value in model.get_params().items()
    }


def _names(labels: Sequence[str] | None) -> list[str] | None:
    return None if labels is None else [str(label) for label in labels]


def _classes(y_true: Any, y_pred: Any, labels: Sequence[str] | None) -> tuple[list[int], list[int], list[str]]:
    """Return classes as numbers from 0 on, and their names."""
    true, found = np.asarray(y_true), np.asarray(y_pred)
    there, numbers = np.unique(np.concatenate([true.ravel(), found.ravel()]), return_inverse=True)
    names = list(map(str, labels)) if labels is not None else list(map(str, there.tolist()))
    if labels is not None and there.dtype.kind in "iu" and len(labels) > int(there.max()):
        return true.ravel().tolist(), found.ravel().tolist(), names
    return numbers[: true.size].tolist(), numbers[true.size :].tolist(), names
