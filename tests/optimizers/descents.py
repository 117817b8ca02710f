"""Descents that the tests of update rules follow, rule by rule."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from xpmlp.backends import Backend
from xpmlp.optimizers import OPTIMIZERS, Optimizer, adam_outer_epsilon, velocity_descent

RULES: dict[str, Callable[..., Optimizer]] = {
    **{name: make for name, make in OPTIMIZERS.items() if name != "adamw"},
    "velocity_descent": velocity_descent,
    "velocity_descent ahead": partial(velocity_descent, nesterov=True),
    "adam_outer_epsilon": adam_outer_epsilon,
}
"""The rules, each once: AdamW's is Adam's. The last are those that recipes do not know."""

RATES = {"sgd": 0.05, "momentum": 0.02, "nesterov": 0.02, "rmsprop": 0.003, "adam": 0.01,
         "lion": 0.003, "velocity_descent": 0.02, "velocity_descent ahead": 0.02,
         "adam_outer_epsilon": 0.01}  # fmt: skip
"""A learning rate for each rule with which 100 steps come some way and stay stable."""

Gradient = Callable[[np.ndarray, int], np.ndarray]
"""Of parameters and the number of the step, from 0."""


def valley(n: int = 40, rows: int = 10) -> tuple[np.ndarray, Gradient]:
    """A start, and the gradient of the sum of log cosh(A p - b) over mini-batches of rows.

    Curved, with far and near walls. The batches differ, so gradients do not vanish: where they do,
    a rule that divides by their size doubles any rounding in every step. One parameter has no part
    in it, like a pixel that is always black.
    """
    random = np.random.default_rng(5)
    A, b = random.normal(size=(100, rows, n)) / np.sqrt(n), random.normal(size=(100, rows))
    A *= np.geomspace(0.3, 3.0, n)
    A[..., 7] = 0.0

    def gradient(p: np.ndarray, t: int) -> np.ndarray:
        a = A[t].astype(p.dtype)
        return (np.tanh(p @ a.T - b[t].astype(p.dtype)) @ a).astype(p.dtype)

    return random.normal(size=n), gradient


def descend(
    optimizer: Optimizer,
    start: np.ndarray,
    gradient: Gradient,
    rate: Any,
    *,
    steps: int = 100,
    dtype: str = "float64",
    backend: Backend | None = None,
) -> np.ndarray:
    """The parameters after each step (steps, ..., P), gradients being taken by NumPy."""

    def send(array: Any) -> Any:
        array = np.array(array, dtype)
        return array if backend is None else backend.asarray(array)

    def fetch(array: Any) -> np.ndarray:
        return np.array(array if backend is None else backend.to_numpy(array))

    xp = np if backend is None else backend.xp
    parameters, way = send(start), []
    state = optimizer.init(parameters, xp=xp)
    for t in range(steps):
        gradients = send(gradient(fetch(parameters), t))
        parameters, state = optimizer.update(parameters, gradients, state, send(rate), xp=xp)
        way.append(fetch(parameters))
    return np.array(way)


def follow_torch(
    torch: Any, name: str, options: Any, start: np.ndarray, gradient: Any, rate: float, dtype: str
) -> np.ndarray:
    """The parameters after each of 100 steps of PyTorch's optimizer."""
    p = torch.nn.Parameter(torch.asarray(start.astype(dtype)))
    optimizer, way = getattr(torch.optim, name)([p], lr=rate, **options), []
    for t in range(100):
        p.grad = torch.asarray(gradient(p.detach().numpy(), t))
        optimizer.step()
        way.append(p.detach().numpy().copy())
    return np.array(way)
