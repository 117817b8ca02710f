"""The oracle for networks that the lecture's program does not have: float64, NumPy, no autograd.

It shares no line with xpmlp, and a test holds it to the lecture's program where both can run.
"""

import numpy as np

from benchmarks.problems import Problem


def reference_losses(problem: Problem, steps: int) -> np.ndarray:
    """The loss of each of the first steps: (steps,), or (steps, E) with members."""
    weights = [problem.weights[f"W{number}"].copy() for number in _numbers(problem)]
    biases = [problem.weights[f"B{number}"].copy() for number in _numbers(problem)]
    losses = []
    for step in range(steps):
        X = problem.images[problem.rows(step)] / 255.0
        labels = problem.labels[problem.rows(step)]
        A, log_Y_hat = _forward(weights, biases, X)
        losses.append(-log_Y_hat[..., np.arange(len(labels)), labels].mean(axis=-1))

        Y = np.eye(log_Y_hat.shape[-1])[labels]
        dZ = (np.exp(log_Y_hat) - Y) / len(labels)
        for layer in reversed(range(len(weights))):
            dW = np.swapaxes(A[layer], -1, -2) @ dZ
            db = dZ.sum(axis=-2)
            if layer > 0:
                dA = dZ @ np.swapaxes(weights[layer], -1, -2)
                dZ = dA * A[layer] * (1.0 - A[layer])
            weights[layer] -= problem.learning_rate * dW
            biases[layer] -= problem.learning_rate * db
    return np.array(losses)


def reference_probabilities(problem: Problem, X: np.ndarray) -> np.ndarray:
    """What the untrained network makes of rows (n, l0): its probabilities (n, K)."""
    weights = [problem.weights[f"W{number}"] for number in _numbers(problem)]
    biases = [problem.weights[f"B{number}"] for number in _numbers(problem)]
    return np.exp(_forward(weights, biases, X.astype("float64"))[1])


def _numbers(problem: Problem) -> range:
    return range(1, len(problem.layer_sizes))


def _forward(
    weights: list[np.ndarray], biases: list[np.ndarray], X: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """The inputs of each layer and the logarithms of the probabilities."""
    A = [X]
    for W, b in zip(weights[:-1], biases[:-1], strict=True):
        A.append(0.5 + 0.5 * np.tanh(0.5 * (A[-1] @ W + b[..., None, :])))  # the sigmoid
    L = A[-1] @ weights[-1] + biases[-1][..., None, :]
    L = L - L.max(axis=-1, keepdims=True)
    return A, L - np.log(np.exp(L).sum(axis=-1, keepdims=True))
