"""The lecture's program, in its own words: the oracle, kept apart from everything of xpmlp.

The body of the loop is the lecture's line by line, its names included. What is a parameter here
was a constant or a random draw there; beyond that, only the `dtype` of the run is new.

Source: lecture 11, "MNIST classifier".
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class LectureRun(NamedTuple):
    """`losses` of every step, `accuracies` of every full epoch, `weights` W1 B1 ... at the end."""

    losses: np.ndarray
    accuracies: np.ndarray
    weights: dict[str, np.ndarray]


def train_lecture(
    weights: Mapping[str, np.ndarray],
    train_images: np.ndarray,
    train_labels: np.ndarray,
    *,
    b_size: int = 64,
    lr: float = 0.03,
    steps: int | None = None,
    dtype: str = "float64",
) -> LectureRun:
    """Train W1 B1 W2 B2 W3 B3 for a number of steps, by default one epoch.

    `train_images` are bytes, (n, 28, 28) or (n, 784); `train_labels` integers, (n,). In
    float64 this is the lecture's program to the last bit; in float32 it is the same program on
    float32 inputs and weights. The given weights are not changed.
    """
    W1, W2, W3 = (np.asarray(weights[name], dtype) for name in ("W1", "W2", "W3"))
    B1, B2, B3 = (np.asarray(weights[name], dtype) for name in ("B1", "B2", "B3"))
    n_batch = train_images.shape[0] // b_size
    steps = n_batch if steps is None else steps

    losses, accs = [], []
    n_correct, n_data = 0, 0
    for step in range(steps):
        b_idx = step % n_batch

        # get mini-batch
        images = train_images[b_idx * b_size : (b_idx + 1) * b_size, ...]
        X = np.divide(images.reshape(b_size, -1), 255.0, dtype=dtype)  # images / 255.
        Y = train_labels[b_idx * b_size : (b_idx + 1) * b_size]

        ### forward propagation
        # dense1
        Z1 = X @ W1 + B1
        A1 = 1 / (1 + np.exp(-Z1))
        # dense2
        Z2 = A1 @ W2 + B2
        A2 = 1 / (1 + np.exp(-Z2))
        # dense3
        L = A2 @ W3 + B3
        Pred = np.exp(L) / np.sum(np.exp(L), axis=1, keepdims=True)
        # loss
        J = np.mean(-np.log(Pred[np.arange(b_size), Y]))
        losses.append(J)
        # calculate accuracy
        Pred_label = np.argmax(Pred, axis=1)
        n_correct += np.sum(Pred_label == Y)
        n_data += b_size

        ### backpropagation
        labels = Y.copy()
        Y = np.zeros_like(Pred)
        Y[np.arange(b_size), labels] = 1
        # loss
        dL = -1 / b_size * (Y - Pred)
        # dense3
        dA2 = dL @ W3.T
        dW3 = A2.T @ dL
        dB3 = np.sum(dL, axis=0)
        # dense2
        dZ2 = dA2 * A2 * (1 - A2)
        dA1 = dZ2 @ W2.T
        dW2 = A1.T @ dZ2
        dB2 = np.sum(dZ2, axis=0)
        # dense1
        dZ1 = dA1 * A1 * (1 - A1)
        dW1 = X.T @ dZ1
        dB1 = np.sum(dZ1, axis=0)
        # parameter update
        W3, B3 = W3 - lr * dW3, B3 - lr * dB3
        W2, B2 = W2 - lr * dW2, B2 - lr * dB2
        W1, B1 = W1 - lr * dW1, B1 - lr * dB1

        if b_idx == n_batch - 1:
            accs.append(n_correct / n_data)
            n_correct, n_data = 0, 0

    trained = {"W1": W1, "B1": B1, "W2": W2, "B2": B2, "W3": W3, "B3": B3}
    return LectureRun(np.array(losses, dtype), np.array(accs), trained)
