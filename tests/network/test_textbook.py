"""The network's loss and gradient against a forward pass written as in a textbook.

The forward pass below shares nothing with the algebra; dropout's masks alone are the network's own.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.network.test_every_combination import problems
from xpmlp import MLP, Objective, select_backend
from xpmlp.algebra import ACTIVATIONS, OUTPUTS
from xpmlp.gradcheck import Case, _moderate_parameters, _random_case
from xpmlp.network.layers import Dense, Dropout

STEP = 1e-30


class Maths(NamedTuple):
    """What the plain forward pass is written with: a library's own functions."""

    exp: Callable[..., Any]
    log: Callable[..., Any]
    tanh: Callable[..., Any]
    erf: Callable[..., Any]
    where: Callable[..., Any]
    real: Callable[..., Any]
    array: Callable[[np.ndarray], Any]


def numpy_maths() -> Maths:
    """NumPy on complex numbers with an imaginary part that is next to nothing."""
    real_erf = np.vectorize(math.erf, otypes=[float])

    def erf(Z: np.ndarray) -> np.ndarray:
        derivative = 2.0 / math.sqrt(math.pi) * np.exp(-(Z.real**2))
        erf_of: np.ndarray = real_erf(Z.real) + 1j * Z.imag * derivative
        return erf_of

    return Maths(np.exp, np.log, np.tanh, erf, np.where, np.real, np.asarray)


def plain_loss(case: Case, vector: Any, *, maths: Maths) -> Any:
    """The loss as a textbook writes it, apart from the algebra that is being checked."""
    model, objective = case.model, case.objective
    parts, start = dict[str, Any](), 0
    for name, shape in model.shapes.items():  # cut without the network's own code
        stop = start + math.prod(shape)
        parts[name] = vector[start:stop].reshape(shape)
        start = stop
        if stop == model.parameter_count:
            break
    # The masks are given: which units are dropped is no question of derivatives.
    numpy = select_backend("numpy")
    zeros = np.zeros(model.parameter_count)
    _, saved = model.forward(zeros, case.X, case.mode(numpy), xp=np)
    masks = {layer.k: m for layer, m in model.chain.with_saved(saved) if isinstance(layer, Dropout)}
    entered = (A for layer, A in model.chain.with_saved(saved) if isinstance(layer, Dense))
    A = maths.array(next(entered))
    last = len(model.layer_sizes) - 1
    for number in range(1, last):
        Z = A @ parts[f"W{number}"] + parts[f"b{number}"]
        if model.normalization == "rms":
            Z = Z / ((Z * Z).mean(1, keepdims=True) + 1e-5) ** 0.5 * parts[f"gamma{number}"]
        elif model.normalization != "none":
            axis = 0 if model.normalization == "batch" else 1
            centred = Z - Z.mean(axis, keepdims=True)
            variance = (centred * centred).mean(axis, keepdims=True)
            scaled = centred / (variance + 1e-5) ** 0.5 * parts[f"gamma{number}"]
            Z = scaled + parts[f"beta{number}"]
        A_k = PLAIN[model.activation](Z, maths)
        if masks[number] is not None:
            A_k = A_k * maths.array(masks[number])
        A = A_k + A if model.is_residual(number) else A_k
    L = A @ parts[f"W{last}"] + parts[f"b{last}"]
    Y = model.targets(case.labels, np.arange(model.layer_sizes[-1]), dtype=np.float64, xp=np)
    Y = maths.array(Y * (1 - objective.label_smoothing) + objective.label_smoothing / Y.shape[1])
    losses = plain_losses(objective)[str(objective.loss) or OUTPUTS[model.output].usual_loss](
        Y, L, maths
    )
    rows = losses.sum(1)
    if case.weights is not None:
        rows = rows * maths.array(case.weights)
    J = rows.sum(0) / len(case.X)
    for number in range(1, last + 1):
        W = parts[f"W{number}"]
        magnitude = maths.where(maths.real(W) > 0, W, -W)
        J = J + objective.l1 * magnitude.sum() + objective.l2 / 2 * (W * W).sum()
    return J


def plain_losses(objective: Objective) -> dict[str, Callable[[Any, Any, Maths], Any]]:
    """The losses once more, one value for each output of each row."""
    delta, q = objective.huber_delta, objective.quantile

    def softmax_cross_entropy(Y: Any, L: Any, m: Maths) -> Any:
        return -Y * m.log(m.exp(L) / m.exp(L).sum(1, keepdims=True))

    def sigmoid_cross_entropy(Y: Any, L: Any, m: Maths) -> Any:
        probability = 1.0 / (1.0 + m.exp(-L))
        return -Y * m.log(probability) - (1.0 - Y) * m.log(1.0 - probability)

    def huber(Y: Any, L: Any, m: Maths) -> Any:
        magnitude = m.where(m.real(L - Y) > 0, L - Y, Y - L)
        is_small = m.real(magnitude) <= delta
        return m.where(is_small, (L - Y) * (L - Y) / 2, delta * (magnitude - delta / 2))

    def quantile(Y: Any, L: Any, m: Maths) -> Any:
        return m.where(m.real(Y - L) > 0, q * (Y - L), (q - 1.0) * (Y - L))

    def poisson(Y: Any, L: Any, m: Maths) -> Any:
        mean = m.exp(L)
        return Y * m.log(m.where(Y > 0, Y, 1.0 + 0.0 * Y) / mean) - Y + mean

    return {
        "softmax_cross_entropy": softmax_cross_entropy,
        "sigmoid_cross_entropy": sigmoid_cross_entropy,
        "squared_error": lambda Y, L, _: (L - Y) * (L - Y) / 2,
        "huber": huber,
        "quantile": quantile,
        "poisson": poisson,
    }


PLAIN: dict[str, Callable[[Any, Maths], Any]] = {
    "identity": lambda Z, _: Z,
    "sigmoid": lambda Z, m: 1.0 / (1.0 + m.exp(-Z)),
    "tanh": lambda Z, m: m.tanh(Z),
    "scaled_tanh": lambda Z, m: 1.7159 * m.tanh(2.0 * Z / 3.0),
    "relu": lambda Z, m: m.where(m.real(Z) > 0, Z, 0.0 * Z),
    "leaky_relu": lambda Z, m: m.where(m.real(Z) > 0, Z, 0.01 * Z),
    "selu": lambda Z, m: (
        1.0507009873554804934193349852946
        * m.where(m.real(Z) > 0, Z, 1.6732632423543772848170429916717 * (m.exp(Z) - 1.0))
    ),
    "gelu": lambda Z, m: Z * (1.0 + m.erf(Z / math.sqrt(2.0))) / 2.0,
    "gelu_tanh": lambda Z, m: (
        Z * (1.0 + m.tanh(math.sqrt(2.0 / math.pi) * (Z + 0.044715 * Z * Z * Z))) / 2.0
    ),
    "silu": lambda Z, m: Z / (1.0 + m.exp(-Z)),
    "mish": lambda Z, m: Z * m.tanh(m.log(1.0 + m.exp(Z))),
    "softplus": lambda Z, m: m.log(1.0 + m.exp(Z)),
    "elu": lambda Z, m: m.where(m.real(Z) > 0, Z, m.exp(Z) - 1.0),
    "hard_swish": lambda Z, m: (
        Z * m.where(m.real(Z) > 3, 1.0 + 0.0 * Z, m.where(m.real(Z) < -3, 0.0 * Z, (Z + 3.0) / 6.0))
    ),
}
"""The activations once more."""


@settings(max_examples=150)
@given(problem=problems(), seed=st.integers(0, 2**32), rows=st.integers(3, 9))
def test_the_loss_and_its_derivatives_are_the_textbooks(
    problem: tuple[MLP, Objective], seed: int, rows: int
) -> None:
    model, objective = problem
    case, maths = _random_case(model, objective, seed, rows), numpy_maths()
    parameters = _moderate_parameters(model, seed)
    J, gradients = case.loss_and_gradients(parameters, select_backend("numpy"))
    np.testing.assert_allclose(J, plain_loss(case, parameters, maths=maths), rtol=1e-11, atol=1e-14)
    D = np.random.default_rng(seed).standard_normal(parameters.shape)
    slope = plain_loss(case, parameters + 1j * STEP * D, maths=maths).imag / STEP
    scale = np.abs(gradients * D).sum()
    np.testing.assert_allclose(gradients @ D, slope, rtol=1e-9, atol=1e-10 * max(scale, 1e-3))


def test_every_activation_is_in_the_textbook() -> None:
    assert PLAIN.keys() == ACTIVATIONS.keys()
