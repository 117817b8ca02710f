"""scikit-learn's MLPClassifier."""

import time
from typing import Any

import numpy as np

from benchmarks.competitors.competitor import TakeTurn, Turn, refuse_members, repeated
from benchmarks.inputs import Inference
from benchmarks.problems import Problem


def training(problem: Problem) -> TakeTurn:
    """Blocks of batches given to `partial_fit`; what it tells is the mean loss of a block."""
    import sklearn

    refuse_members(problem)
    size = problem.batch_size
    X = problem.images.astype(np.float32) / np.float32(255.0)

    def take_turn(count: int) -> Turn:
        classifier = _classifier(problem)
        losses, parts = [], []

        def train(start: int, stop: int) -> None:
            """Steps of one epoch, in one call."""
            at = start % problem.batches
            rows = slice(at * size, (at + stop - start) * size)
            classifier.partial_fit(X[rows], problem.labels[rows])
            losses.append(classifier.loss_)
            parts.append(stop - start)

        with sklearn.config_context(assume_finite=True):
            block = problem.warm or count
            if problem.warm:
                train(0, block)
            started = time.perf_counter()
            for start in range(problem.warm, problem.warm + count, block):
                train(start, start + block)
            seconds = time.perf_counter() - started
        return Turn(seconds / count, np.array(losses), tuple(parts))

    return take_turn


def prediction(inference: Inference) -> TakeTurn:
    """`predict_proba`, its finite check off."""
    import sklearn

    classifier = _classifier(inference.problem)

    def call() -> np.ndarray:
        with sklearn.config_context(assume_finite=True):
            found: np.ndarray = classifier.predict_proba(inference.X)
            return found

    return repeated(call)


def _classifier(problem: Problem) -> Any:
    """A classifier with everyone's weights, which exist after a first call only."""
    from sklearn.neural_network import MLPClassifier

    classifier = MLPClassifier(
        problem.layer_sizes[1:-1],
        activation="logistic",
        solver="sgd",
        alpha=0.0,
        batch_size=problem.batch_size,
        learning_rate_init=problem.learning_rate,
        momentum=0.0,
        nesterovs_momentum=False,
        shuffle=False,
    )
    X = problem.images[: problem.batch_size].astype(np.float32)
    classes = np.arange(problem.layer_sizes[-1])
    classifier.partial_fit(X, problem.labels[: problem.batch_size], classes=classes)
    for (W, b), coefs, intercepts in zip(
        problem.layers, classifier.coefs_, classifier.intercepts_, strict=True
    ):
        coefs[...], intercepts[...] = W, b
    return classifier
