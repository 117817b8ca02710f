"""Gradient check: no gradient is trusted on one witness.

The gradient of every parameter, as NumPy computes it in float64, is compared with

    the same algebra on every other usable backend, in float64 and in the float32 of training,
    the directional derivative of the loss along a random direction D of that parameter, which
    knows nothing of Jacobians: Im J(W + i h D) / h against sum(dW * D),
    torch's autograd and JAX's autodiff, where installed, from a forward pass of their own.

Source of the second: Squire and Trapp 1998, "Using complex variables to estimate derivatives of
real functions", equation (1.2): exact to rounding, where a difference quotient is not.
"""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpmlp.backends import Backend, select_backend, usable_backends
from xpmlp.network import MLP
from xpmlp.randomness import BATCH, DIRECTIONS, generator
from xpmlp.typing import Array

TOLERANCES = {"float64": 1e-12, "float32": 1e-5}
"""Largest relative difference allowed, some thousand (float64) or a hundred (float32) times what
sums in another order make of rounding."""

COMPLEX_STEP = 1e-30
"""h of the complex step: nothing is subtracted, so it can be as small as one likes."""


class Comparison(NamedTuple):
    """One row of the check: a parameter against one witness."""

    parameter: str
    witness: str
    difference: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the tolerance; a NaN is not."""
        return self.difference <= self.tolerance


def gradcheck(
    model: MLP,
    *,
    seed: int = 0,
    batch_size: int = 32,
    backends: Sequence[Backend] | None = None,
    autodiff: Sequence[str] = ("torch", "jax"),
) -> list[Comparison]:
    """Compare every parameter's gradient across backends and with independent derivatives.

    The weights, a batch of rows and its labels are random, from `seed`. `backends` are compared
    with NumPy; the default is every one that can run here. `autodiff` names the libraries whose
    own derivatives are asked for, where they are installed.
    """
    random = generator(seed, BATCH)
    X = random.uniform(0.0, 1.0, (batch_size, model.layer_sizes[0]))
    labels = random.integers(0, model.layer_sizes[-1], batch_size)
    parameters = _moderate_parameters(model, seed)
    reference = _gradients(model, select_backend("numpy"), "float64", parameters, X, labels)

    rows: list[Comparison] = []
    for backend in usable_backends() if backends is None else backends:
        for dtype in ("float64", "float32"):
            if (backend.name, dtype) != ("numpy", "float64"):
                found = _gradients(model, backend, dtype, parameters, X, labels)
                witness = f"{backend.name} {dtype}"
                rows += _compare(model, reference, found, witness, TOLERANCES[dtype])
    rows += _directional(model, reference, parameters, X, labels, seed)
    for witness, differentiate in (("torch", _torch_autograd), ("jax", _jax_autodiff)):
        if witness in autodiff and importlib.util.find_spec(witness):
            found = differentiate(model, parameters, X, labels)
            name = f"{witness} autograd" if witness == "torch" else f"{witness} autodiff"
            rows += _compare(model, reference, found, name, TOLERANCES["float64"])
    order = list(model.shapes)
    return sorted(rows, key=lambda row: order.index(row.parameter))


def _moderate_parameters(model: MLP, seed: int) -> np.ndarray:
    """Weights from N(0, 1/l_in) and biases too: N(0, 1) weights would saturate most units, and
    a gradient of nearly zero, or a bias that is zero, shows few mistakes."""
    random = generator(seed, DIRECTIONS, 0)
    scales = [
        np.full(int(np.prod(shape)), shape[0] ** -0.5 if len(shape) == 2 else 0.5)
        for shape in model.shapes.values()
    ]
    moderate: np.ndarray = random.standard_normal(model.parameter_count) * np.concatenate(scales)
    return moderate


def _gradients(
    model: MLP, backend: Backend, dtype: str, parameters: np.ndarray, X: np.ndarray, labels: Array
) -> np.ndarray:
    with backend.activate():
        _, gradients = model.loss_and_gradients(
            backend.asarray(parameters.copy(), dtype),
            backend.asarray(X, dtype),
            backend.asarray(labels),
            xp=backend.xp,
        )
        return backend.to_numpy(gradients)


def _compare(
    model: MLP, reference: np.ndarray, found: np.ndarray, witness: str, tolerance: float
) -> Iterator[Comparison]:
    """Differences relative to the largest entry of each parameter's gradient."""
    ours, theirs = model.unflatten(reference, xp=np), model.unflatten(found, xp=np)
    for name in ours:
        largest = np.abs(ours[name]).max() or 1.0
        difference = np.abs(theirs[name] - ours[name]).max() / largest
        yield Comparison(name, witness, float(difference), tolerance)


def _directional(
    model: MLP,
    reference: np.ndarray,
    parameters: np.ndarray,
    X: np.ndarray,
    labels: np.ndarray,
    seed: int,
) -> Iterator[Comparison]:
    def loss(at: np.ndarray) -> complex:
        """The lecture's own expression, apart from the algebra that is being checked."""
        A = X
        *hidden, last = _slices(model, at)
        for W, b in hidden:
            A = _PLAIN[model.hidden](A @ W + b)
        L = A @ last[0] + last[1]
        Y_hat = np.exp(L) / np.sum(np.exp(L), axis=1, keepdims=True)
        return complex(np.mean(-np.log(Y_hat[np.arange(len(labels)), labels])))

    for number, (name, gradient) in enumerate(model.unflatten(reference, xp=np).items()):
        D = np.zeros_like(parameters)
        part = model.unflatten(D, xp=np)[name]
        part[...] = generator(seed, DIRECTIONS, 1, number).standard_normal(part.shape)
        part /= np.linalg.norm(part)
        measured = loss(parameters + 1j * COMPLEX_STEP * D).imag / COMPLEX_STEP
        expected = float(np.sum(gradient * part))
        scale = max(abs(expected), float(np.abs(gradient).max())) or 1.0
        difference = abs(measured - expected) / scale
        yield Comparison(name, "directional float64", difference, TOLERANCES["float64"])


_PLAIN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sigmoid": lambda Z: 1.0 / (1.0 + np.exp(-Z)),
    "tanh": np.tanh,
    "relu": lambda Z: np.where(Z.real > 0.0, Z, 0.0),
}
"""The activations once more, for complex arguments."""


def _torch_autograd(
    model: MLP, parameters: np.ndarray, X: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    import torch

    activation = getattr(torch, model.hidden)
    vector = torch.tensor(parameters, requires_grad=True)
    A = torch.tensor(X)
    *hidden, last = _slices(model, vector)
    for W, b in hidden:
        A = activation(torch.nn.functional.linear(A, W.T, b))
    L = torch.nn.functional.linear(A, last[0].T, last[1])
    torch.nn.functional.cross_entropy(L, torch.tensor(labels)).backward()
    gradient: np.ndarray = vector.grad.numpy()
    return gradient


def _jax_autodiff(
    model: MLP, parameters: np.ndarray, X: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    import jax

    activation = getattr(jax.nn, model.hidden)

    def loss(vector: Any) -> Any:
        A = X
        *hidden, last = _slices(model, vector)
        for W, b in hidden:
            A = activation(jax.numpy.dot(A, W) + b)
        log_Y_hat = jax.nn.log_softmax(jax.numpy.dot(A, last[0]) + last[1])
        return -jax.numpy.mean(log_Y_hat[jax.numpy.arange(len(labels)), labels])

    with jax.enable_x64(True):
        gradient: np.ndarray = np.asarray(jax.grad(loss)(jax.numpy.asarray(parameters)))
    return gradient


def _slices(model: MLP, vector: Any) -> list[tuple[Any, Any]]:
    """(W, b) of each layer, cut without the network's own code."""
    layers, start = [], 0
    for l_in, l_out in zip(model.layer_sizes, model.layer_sizes[1:], strict=False):
        middle = start + l_in * l_out
        W, b = vector[start:middle].reshape(l_in, l_out), vector[middle : middle + l_out]
        layers.append((W, b))
        start = middle + l_out
    return layers
