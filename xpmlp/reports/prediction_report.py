"""What a network makes of labelled rows, in the terms that people judge it by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from xpmlp.network import MLP
from xpmlp.training.metrics import class_counts, comparable, kind_of, mae, r2, rmse

CALIBRATION_BINS = 10
"""Of the calibration: a tenth of confidence each."""


class Mistake(NamedTuple):
    """A wrong prediction: the row, its class, the predicted class and its probability."""

    row: int
    label: int
    predicted: int
    probability: float


class Score(NamedTuple):
    """Precision, recall, F1 and support of one class.

    They are the fraction of its predictions that are correct, the fraction of its rows that are
    found, the harmonic mean of both, and its number of rows; NaN for a division by 0.
    """

    precision: float
    recall: float
    f1: float
    support: int


class Bin(NamedTuple):
    """Predictions of similar confidence: their number, mean confidence and accuracy."""

    answers: int
    confidence: float
    accuracy: float


class Calibration(NamedTuple):
    """The difference between a network's confidence and its accuracy.

    `error` is the expected calibration error, the mean difference over all predictions.

    Source: Guo et al. 2017, "On calibration of modern neural networks", equations 2 and 3.
    """

    bins: list[Bin]
    error: float


class Errors(NamedTuple):
    """Root mean square error, mean absolute error and R² of one output."""

    rmse: float
    mae: float
    r2: float


@dataclass(frozen=True)
class MulticlassReport:
    """The metrics of a classifier: of class t, `confusion[t, s]` rows were predicted s."""

    confusion: np.ndarray
    calibration: Calibration
    mistakes: list[Mistake]

    @property
    def scores(self) -> list[Score]:
        """Of each class."""
        table = self.confusion
        counts = zip(table.diagonal(), table.sum(axis=0), table.sum(axis=1), strict=True)
        return [score(*map(int, one)) for one in counts]

    @property
    def confused(self) -> list[tuple[int, int, int]]:
        """(true class, predicted class, rows): the commonest confusions first."""
        wrong = self.confusion - np.diag(self.confusion.diagonal())
        places = np.argsort(-wrong, axis=None, kind="stable")
        pairs = [divmod(int(place), len(wrong)) for place in places[: int((wrong > 0).sum())]]
        return [(label, predicted, int(wrong[label, predicted])) for label, predicted in pairs]


@dataclass(frozen=True)
class MultilabelReport:
    """The metrics of a multilabel network: a score for each label."""

    scores: list[Score]
    calibration: Calibration


@dataclass(frozen=True)
class RegressionReport:
    """The metrics of a regression: errors of each output, targets and predictions."""

    errors: list[Errors]
    targets: np.ndarray
    predictions: np.ndarray


def prediction_report(
    model: MLP, labels: np.ndarray, predictions: np.ndarray
) -> MulticlassReport | MultilabelReport | RegressionReport:
    """Return the metrics of predictions (n, K) for labels (n,) or (n, K)."""
    kind, both = kind_of(model), comparable(model, labels, predictions)
    if kind == "regression":
        return regression_report(*both)
    return multilabel_report(*both) if kind == "multilabel" else multiclass_report(*both)


def multiclass_report(labels: np.ndarray, probabilities: np.ndarray) -> MulticlassReport:
    """Return the metrics of a classifier from labels (n,) and probabilities (n, K)."""
    K = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities[np.arange(len(predicted)), predicted]
    confusion = np.bincount(labels * K + predicted, minlength=K * K).reshape(K, K)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")]
    return MulticlassReport(
        confusion,
        calibration(confidence, predicted == labels),
        [
            Mistake(int(row), int(labels[row]), int(predicted[row]), float(confidence[row]))
            for row in worst
        ],
    )


def multilabel_report(is_so: np.ndarray, probabilities: np.ndarray) -> MultilabelReport:
    """Return the metrics of a multilabel network; both arrays are (n, K)."""
    predicted = probabilities > 0.5
    counts = zip(*class_counts(is_so, probabilities), strict=True)
    scores = [score(*map(int, one)) for one in counts]
    confidence = np.where(predicted, probabilities, 1.0 - probabilities)
    return MultilabelReport(scores, calibration(confidence.ravel(), (predicted == is_so).ravel()))


def regression_report(targets: np.ndarray, predictions: np.ndarray) -> RegressionReport:
    """Return the metrics of a regression; both arrays are (n, K), float64."""
    outputs = [(targets[:, [k]], predictions[:, [k]]) for k in range(targets.shape[1])]
    errors = [Errors(rmse(*one), mae(*one), r2(*one)) for one in outputs]
    return RegressionReport(errors, targets, predictions)


def score(hits: int, predicted: int, support: int) -> Score:
    """Return the score of a class from its hits, predictions and rows."""
    return Score(
        hits / predicted if predicted else float("nan"),
        hits / support if support else float("nan"),
        2 * hits / (predicted + support) if predicted + support else float("nan"),
        support,
    )


def calibration(confidence: np.ndarray, is_right: np.ndarray) -> Calibration:
    """Return the calibration of predictions with confidences from 0 to 1; both (n,)."""
    places = np.clip((confidence * CALIBRATION_BINS).astype(int), 0, CALIBRATION_BINS - 1)
    counts = np.bincount(places, minlength=CALIBRATION_BINS)
    sums = (
        np.bincount(places, values, minlength=CALIBRATION_BINS) for values in (confidence, is_right)
    )
    means = [total / np.maximum(counts, 1) for total in sums]
    bins = [
        Bin(int(count), float(mean), float(share))
        for count, mean, share in zip(counts, *means, strict=True)
    ]
    total = max(1, len(confidence))
    error = sum(one.answers * abs(one.confidence - one.accuracy) for one in bins) / total
    return Calibration(bins, error)


def mean_score(scores: Sequence[Score]) -> Score:
    """Return the macro average over the classes that have rows."""
    found = np.array([one[:3] for one in scores if one.support], np.float64)
    if not found.size:
        return Score(float("nan"), float("nan"), float("nan"), 0)
    # A class that was never predicted has no precision; here it counts as 0, as elsewhere.
    precision, recall, f1 = np.nan_to_num(found).mean(axis=0).tolist()
    return Score(precision, recall, f1, sum(one.support for one in scores))
