"""What a trained network makes of given rows: loss, accuracy, probabilities."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from xpmlp.algebra import one_hot, softmax_cross_entropy
from xpmlp.backends import Backend, select_backend
from xpmlp.data import Split, check_rows, check_split
from xpmlp.errors import InputError
from xpmlp.network import MLP
from xpmlp.training.step import count_correct, inputs
from xpmlp.typing import Array

ROWS_AT_ONCE = 10_000
"""Rows on the device at a time: memory stays bounded however many there are."""


class Evaluation(NamedTuple):
    """Mean cross-entropy and share of right answers: scalars, or (E,) with members.

    `committee` is the accuracy of the members' averaged probabilities; None for one network.
    """

    loss: np.ndarray
    accuracy: np.ndarray
    committee: float | None


def evaluate(
    model: MLP, parameters: Array, split: Split, *, backend: Backend | None = None
) -> Evaluation:
    """The loss and the accuracy of a network on labelled rows.

    `parameters` is the flat vector (P,) or (E, P), on the backend's device or on the host.
    Raises `InputError` for rows or labels that this network cannot take.
    """
    split = check_split(*split, where="rows to evaluate", layer_sizes=model.layer_sizes)
    backend = backend or select_backend("numpy")
    xp = backend.xp
    total = np.zeros(parameters.shape[:-1])
    correct = np.zeros(parameters.shape[:-1])
    committee = 0
    with backend.activate():
        parameters = _on_device(parameters, backend)
        classes = backend.asarray(np.arange(model.layer_sizes[-1]))
        for rows in _blocks(len(split.labels)):
            labels = backend.asarray(split.labels[rows])
            X = inputs(backend.asarray(split.X[rows]), dtype=parameters.dtype, xp=xp)
            Y = one_hot(labels, classes, dtype=parameters.dtype, xp=xp)
            L = model.forward(parameters, X, xp=xp).L
            J, Y_hat = softmax_cross_entropy(Y, L, xp=xp)
            total += backend.to_numpy(J).astype(np.float64) * labels.shape[0]
            correct += backend.to_numpy(count_correct(L, labels, xp=xp))
            if parameters.ndim == 2:
                averaged = xp.mean(Y_hat, axis=0)
                committee += int(backend.to_numpy(count_correct(averaged, labels, xp=xp)))
    count = len(split.labels)
    return Evaluation(
        loss=total / count,
        accuracy=correct / count,
        committee=committee / count if parameters.ndim == 2 else None,
    )


def predict(
    model: MLP, parameters: Array, X: np.ndarray, *, backend: Backend | None = None
) -> np.ndarray:
    """The probability of each class for each row, on the host; (n, l0) -> (n, K).

    Rows are as in training: bytes are scaled from 0..255, anything else is taken as it is.
    With members the result is the committee's: the members' probabilities averaged.
    Raises `InputError` for rows that this network cannot take.
    """
    backend = backend or select_backend("numpy")
    xp = backend.xp
    X = check_rows(X, where="rows to predict", layer_sizes=model.layer_sizes)
    found = []
    with backend.activate():
        parameters = _on_device(parameters, backend)
        for rows in _blocks(len(X)):
            block = inputs(backend.asarray(X[rows]), dtype=parameters.dtype, xp=xp)
            Y_hat = model.probabilities(parameters, block, xp=xp)
            if parameters.ndim == 2:
                Y_hat = xp.mean(Y_hat, axis=0)
            found.append(backend.to_numpy(Y_hat))
    return np.concatenate(found)


def _on_device(parameters: Array, backend: Backend) -> Array:
    if isinstance(parameters, np.ndarray):
        return backend.asarray(parameters)
    if backend.name == "numpy":
        library = type(parameters).__module__.partition(".")[0]
        raise InputError(f"the parameters are {library}'s: say backend=run.backend")
    return parameters


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, ROWS_AT_ONCE):
        yield slice(start, start + ROWS_AT_ONCE)
