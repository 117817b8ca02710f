"""What makes predictions Ŷ of the last layer's L, and the Jacobian of each.

Training needs none of these Jacobians, since each loss has its own dL: they are for derivatives of
the predictions themselves.
"""

from collections.abc import Callable
from typing import NamedTuple

from xpmlp.algebra.activations import identity, identity_backward, sigmoid, sigmoid_backward
from xpmlp.algebra.formulas import Expression, node
from xpmlp.algebra.losses import softmax, softmax_backward
from xpmlp.typing import Array, Namespace

__all__ = ["OUTPUTS", "Output", "exp", "exp_backward"]


class Output(NamedTuple):
    """An output: all that the package knows of it.

    `onnx` is Ŷ as operations of ONNX on L, there called Z; `usual_loss` the loss that a network
    with this output is trained with unless another is asked for. `is_regression` says that
    predictions are numbers and no probabilities.
    """

    forward: Callable[..., Array]
    backward: Callable[..., Array]
    onnx: Expression
    usual_loss: str
    is_regression: bool = False


def exp(L: Array, *, xp: Namespace) -> Array:
    """Ŷ = exp(L), numbers above 0: means of counts."""
    return xp.exp(L)


def exp_backward(dY_hat: Array, Y_hat: Array, *, xp: Namespace) -> Array:
    """dL = dŶ * Ŷ."""
    return dY_hat * Y_hat


OUTPUTS: dict[str, Output] = {
    "softmax": Output(
        softmax, softmax_backward, node("Softmax", "Z", axis=-1), "softmax_cross_entropy"
    ),
    "sigmoid": Output(sigmoid, sigmoid_backward, node("Sigmoid", "Z"), "sigmoid_cross_entropy"),
    "identity": Output(identity, identity_backward, node("Identity", "Z"), "squared_error", True),
    "exp": Output(exp, exp_backward, node("Exp", "Z"), "poisson", True),
}
"""The outputs by name: one class of K, K answers of yes or no, numbers, and numbers above 0."""
