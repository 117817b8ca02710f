"""The metrics that predictions are judged by: accuracy, F1, AUC, R² and others, by name.

They are computed with NumPy, on the host, from targets and predictions of all rows. What a run
measures after every epoch, accuracy or R², is also computed on the device: `batch_metric`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from xpmlp.network import MLP

LEAST_PROBABILITY = float(np.finfo(np.float64).eps)
"""What the log loss takes for less, which may be 0; as in scikit-learn."""


class Metric(NamedTuple):
    """A metric: its name in texts, its format, its function, and where it applies.

    `value` takes targets and predictions as `comparable` returns them and returns NaN where the
    metric is not defined; `needs` says what it lacks then. Of `kinds` see `kind_of`.
    """

    label: str
    form: str
    value: Callable[[np.ndarray, np.ndarray], float]
    kinds: tuple[str, ...]
    needs: str = "finite predictions"


def kind_of(model: MLP) -> str:
    """Return the kind of predictions: binary, multiclass, multilabel or regression."""
    if model.is_regression:
        return "regression"
    K = model.layer_sizes[-1]
    if K <= 2 and (K == 1 or model.output == "softmax"):
        return "binary"
    return "multiclass" if model.output == "softmax" else "multilabel"


def tracked_metric(model: MLP) -> str:
    """Return the name of the metric that a run measures after every epoch."""
    return "r2" if model.is_regression else "accuracy"


def describe(name: str, value: float) -> str:
    """Return a metric in words, such as `accuracy 86.59%`."""
    one = METRICS[name]
    undefined = f"not defined (needs {one.needs})"
    return f"{one.label} {undefined if math.isnan(value) else one.form.format(value)}"


def metrics_of(model: MLP, labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Return all metrics of predictions (n, K) for labels (n,) or (n, K), by name.

    NaN is a metric that is not defined for these rows.
    """
    kind, both = kind_of(model), comparable(model, labels, predictions)
    is_finite = np.isfinite(predictions).all()
    return {
        name: one.value(*both) if is_finite else np.nan
        for name, one in METRICS.items()
        if kind in one.kinds
    }


def comparable(
    model: MLP, labels: np.ndarray, predictions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and predictions in the form that the metrics take.

    Of classes the labels (n,) and the probabilities (n, K), also of a binary network with one
    output; of several labels whether each is so, (n, K); of a regression float64, (n, K). Of
    targets that are distributions the likeliest class counts.
    """
    kind = kind_of(model)
    if kind == "regression":
        shape = predictions.shape
        return labels.reshape(shape).astype(np.float64), predictions.astype(np.float64)
    if kind == "multilabel":
        return labels > 0.5, predictions
    if predictions.shape[1] == 1:
        labels = (labels > 0.5).astype(np.int64).ravel()
        return labels, np.concatenate([1.0 - predictions, predictions], axis=1)
    return labels if labels.ndim == 1 else labels.argmax(axis=1), predictions


def class_counts(
    labels: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the correct predictions, all predictions and the rows of each class, (K,) each."""
    if labels.ndim == 2:
        predicted = probabilities > 0.5
        return (labels & predicted).sum(axis=0), predicted.sum(axis=0), labels.sum(axis=0)
    predicted, K = probabilities.argmax(axis=1), probabilities.shape[1]
    hits, said, rows = (
        np.bincount(one, minlength=K) for one in (labels[labels == predicted], predicted, labels)
    )
    return hits, said, rows


def accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the fraction of rows that are predicted right, with several labels all of them."""
    if labels.ndim == 2:
        return float(np.mean((labels == (probabilities > 0.5)).all(axis=1)))
    return float(np.mean(labels == probabilities.argmax(axis=1)))


def balanced_accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean recall of the classes that have rows.

    Source: Brodersen et al. 2010, "The balanced accuracy and its posterior distribution".
    """
    hits, _, rows = class_counts(labels, probabilities)
    return float(np.mean(hits[rows > 0] / rows[rows > 0]))


def f1(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return F1 = 2 hits / (predictions + rows) of class 1, of more classes the mean.

    Classes that are neither there nor predicted are left out of the mean.
    Source: van Rijsbergen 1979, "Information retrieval", chapter 7.
    """
    hits, said, rows = class_counts(labels, probabilities)
    chosen = said + rows > 0
    if labels.ndim == 1 and len(hits) == 2:
        chosen[0] = False
    return float(np.mean(2 * hits[chosen] / (said + rows)[chosen])) if chosen.any() else np.nan


def auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the area under the ROC curve of class 1; of more classes the mean, one against rest.

    Source: Hanley & McNeil 1982, "The meaning and use of the area under a ROC curve"; Provost &
    Domingos 2000, "Well-trained PETs", for several classes.
    """
    classes = range(probabilities.shape[1])
    if labels.ndim == 2:
        return float(np.mean([_area(labels[:, k], probabilities[:, k]) for k in classes]))
    chosen = classes[1:] if len(classes) == 2 else classes
    return float(np.mean([_area(labels == k, probabilities[:, k]) for k in chosen]))


def _area(is_positive: np.ndarray, scores: np.ndarray) -> float:
    """The chance that a positive row has a larger score than another; equal scores are half of it.

    It is Mann and Whitney's U over the number of pairs, from the mean ranks of equal scores.
    """
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2.0
    positive = np.count_nonzero(is_positive)
    pairs = positive * (len(scores) - positive)
    if not pairs:
        return np.nan
    U = ranks[places.ravel()[is_positive]].sum() - positive * (positive + 1) / 2.0
    return float(U / pairs)


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean over rows of -log of the label's probability, with several labels the sum.

    Source: Bishop 2006, "Pattern recognition and machine learning", equations 4.90 and 4.108.
    """
    if labels.ndim == 2:
        of_labels = np.where(labels, probabilities, 1.0 - probabilities)
    else:
        of_labels = np.take_along_axis(probabilities, labels[:, None], axis=1)
    least = np.maximum(of_labels.astype(np.float64), LEAST_PROBABILITY)
    return float(-np.log(least).sum(axis=1).mean())


def r2(targets: np.ndarray, predictions: np.ndarray) -> float:
    """Return 1 - mean square error / variance, the mean over outputs."""
    if (targets.max(axis=0) == targets.min(axis=0)).any():
        return np.nan
    squares = np.square(predictions - targets).mean(axis=0)
    return float(np.mean(1.0 - squares / targets.var(axis=0)))


def rmse(targets: np.ndarray, predictions: np.ndarray) -> float:
    """Return the root mean square error, the mean over outputs."""
    return float(np.sqrt(np.square(predictions - targets).mean(axis=0)).mean())


def mae(targets: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean absolute error, over rows and outputs."""
    return float(np.abs(predictions - targets).mean())


_BY_CLASS, _REGRESSION = ("binary", "multiclass"), ("regression",)
_BY_PROBABILITY = (*_BY_CLASS, "multilabel")

METRICS = {
    "accuracy": Metric("accuracy", "{:.2%}", accuracy, _BY_PROBABILITY),
    "balanced_accuracy": Metric("balanced accuracy", "{:.2%}", balanced_accuracy, _BY_CLASS),
    "f1": Metric("F1", "{:.2%}", f1, _BY_PROBABILITY, "finite predictions, rows of the class"),
    "auc": Metric("AUC", "{:.4f}", auc, _BY_PROBABILITY, "finite predictions, rows of every class"),
    "log_loss": Metric("log loss", "{:.4f}", log_loss, _BY_PROBABILITY),
    "r2": Metric("R²", "{:.4g}", r2, _REGRESSION, "finite predictions, targets that vary"),
    "rmse": Metric("RMSE", "{:.6g}", rmse, _REGRESSION),
    "mae": Metric("MAE", "{:.6g}", mae, _REGRESSION),
}
"""Every metric by name, in the order in which results list them."""
