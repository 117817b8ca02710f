"""Activations `A = g(Z)` and their Jacobians, elementwise.

The Jacobians are written from the output A, which the next layer keeps anyway, so that Z can be
forgotten as soon as A is known.
"""

import math
from typing import NamedTuple, Protocol

from xpmlp.typing import Array, Namespace


class Forward(Protocol):
    """`g`: (N,l) -> (N,l), elementwise, any leading axes."""

    def __call__(self, Z: Array, /, *, xp: Namespace) -> Array: ...


class Backward(Protocol):
    """`dZ` from `dA` and the output `A`, all (N,l), any leading axes."""

    def __call__(self, dA: Array, A: Array, /, *, xp: Namespace) -> Array: ...


class Activation(NamedTuple):
    """An activation and its Jacobian."""

    forward: Forward
    backward: Backward


def sigmoid(Z: Array, *, xp: Namespace) -> Array:
    """A = 1 / (1 + exp(-Z)), in (0, 1).

    Where exp(-Z) would overflow, -Z is held at the largest exponent whose result is a normal
    number (for Z below -87.3 in float32, -708 in float64). A is then about that smallest number in
    place of a still smaller one, and everywhere else it is the lecture's expression to the bit.

    Source: lecture 11, "A1 = 1/(1 + np.exp(-Z1))".
    """
    largest_exponent = -math.log(xp.finfo(Z.dtype).smallest_normal)
    return 1.0 / (1.0 + xp.exp(xp.minimum(-Z, largest_exponent)))


def sigmoid_backward(dA: Array, A: Array, *, xp: Namespace) -> Array:
    """dZ = dA * A * (1 - A).

    Source: lecture 11, "Expanded Jacobians".
    """
    return dA * A * (1.0 - A)


def tanh(Z: Array, *, xp: Namespace) -> Array:
    """A = tanh(Z), in [-1, 1]."""
    return xp.tanh(Z)


def tanh_backward(dA: Array, A: Array, *, xp: Namespace) -> Array:
    """dZ = dA * (1 - A²), from d tanh/dZ = 1 - tanh²."""
    return dA * (1.0 - A * A)


def relu(Z: Array, *, xp: Namespace) -> Array:
    """A = max(Z, 0). A NaN stays one."""
    return xp.maximum(Z, 0.0)


def relu_backward(dA: Array, A: Array, *, xp: Namespace) -> Array:
    """dZ = dA where A > 0, else 0; at Z = 0 the derivative is taken to be 0."""
    return xp.where(A > 0.0, dA, 0.0)


ACTIVATIONS: dict[str, Activation] = {
    "sigmoid": Activation(sigmoid, sigmoid_backward),
    "tanh": Activation(tanh, tanh_backward),
    "relu": Activation(relu, relu_backward),
}
"""The activations by name, as recipes and `MLP(hidden=...)` give them."""
