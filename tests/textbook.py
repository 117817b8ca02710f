"""Activations and losses as papers have them, for complex numbers, apart from the algebra."""

import math

import numpy as np
from scipy.special import xlogy


def erf(Z: np.ndarray) -> np.ndarray:
    """The error function, where the imaginary part of a number is next to nothing."""
    slope = 2 / math.sqrt(math.pi) * np.exp(-(Z.real**2))
    return np.vectorize(math.erf, otypes=[float])(Z.real) + 1j * Z.imag * slope


PLAIN = {
    "identity": lambda Z: Z,
    "sigmoid": lambda Z: 1 / (1 + np.exp(-Z)),
    "tanh": np.tanh,
    "scaled_tanh": lambda Z: 1.7159 * np.tanh(2 / 3 * Z),
    "relu": lambda Z: np.where(Z.real > 0, Z, 0),
    "leaky_relu": lambda Z: np.where(Z.real > 0, Z, 0.01 * Z),
    "selu": lambda Z: np.where(
        Z.real > 0, 1.0507009873554805 * Z, 1.7580993408473766 * np.expm1(Z)
    ),
    "elu": lambda Z: np.where(Z.real > 0, Z, np.expm1(Z)),
    "hard_swish": lambda Z: Z * np.where(Z.real >= 3, 1, np.where(Z.real <= -3, 0, (Z + 3) / 6)),
    "gelu_tanh": lambda Z: 0.5 * Z * (1 + np.tanh(np.sqrt(2 / np.pi) * (Z + 0.044715 * Z**3))),
    "silu": lambda Z: Z / (1 + np.exp(-Z)),
    "mish": lambda Z: Z * np.tanh(np.log(1 + np.exp(Z))),
    "softplus": lambda Z: np.log(1 + np.exp(Z)),
    "gelu": lambda Z: Z * (1 + erf(Z / math.sqrt(2))) / 2,
}
"""Every activation."""


def plain_loss(
    name: str, Y: np.ndarray, L: np.ndarray, *, delta: float = 1.0, quantile: float = 0.5
) -> np.ndarray:
    """The loss of each output of each row."""
    D, above = L - Y, (L - Y).real > 0
    if name == "softmax_cross_entropy":
        return -Y * np.log(np.exp(L) / np.exp(L).sum(axis=-1, keepdims=True))
    if name == "sigmoid_cross_entropy":
        probability = 1 / (1 + np.exp(-L))
        return -Y * np.log(probability) - (1 - Y) * np.log(1 - probability)
    if name == "squared_error":
        return D**2 / 2
    if name == "poisson":
        return xlogy(Y, Y) - Y * L - Y + np.exp(L)
    if name == "huber":
        magnitude = np.where(above, D, -D)
        return np.where(magnitude.real <= delta, D**2 / 2, delta * (magnitude - delta / 2))
    return np.where(above, (1 - quantile) * D, -quantile * D)
