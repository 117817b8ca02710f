"""Where scikit-learn's MLP computes differently from the algebra, as values that training takes.

Its losses are reported from clipped probabilities, and a squared error is averaged over outputs;
its gradients are the algebra's. Its weights are drawn from a RandomState of NumPy, biases too, and
its falling learning rate counts rows.

Source: scikit-learn 1.6 to 1.9, neural_network/_base.py, _multilayer_perceptron.py and
_stochastic_optimizers.py.
"""

from typing import NamedTuple

import numpy as np

from xpmlp import algebra
from xpmlp.algebra import Loss
from xpmlp.network import MLP
from xpmlp.schedules import Schedule, Times
from xpmlp.typing import Array, Namespace

ACTIVATION_NAMES = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
"""scikit-learn's names of activations, and ours."""


class Reported(NamedTuple):
    """What a loss returns: J as scikit-learn reports it, and what the algebra's Jacobian keeps."""

    J: Array
    kept: Array


def log_loss(Y: Array, L: Array, weights: Array | None = None, *, xp: Namespace) -> Reported:
    """The cross-entropy of one class of K: J = -(1/N) sum(Y * log(Ŷ clipped)), Ŷ = softmax(L)."""
    Y_hat = algebra.softmax(L, xp=xp)
    J = algebra.weighted_total(Y * xp.log(_clipped(Y_hat, xp=xp)), weights, xp=xp) / -L.shape[-2]
    return Reported(J, Y_hat)


def binary_log_loss(Y: Array, L: Array, weights: Array | None = None, *, xp: Namespace) -> Reported:
    """The cross-entropies of K answers of yes or no, Ŷ = 1 / (1 + exp(-L)), P = Ŷ clipped:

    J = -(1/N) sum(Y * log P + (1 - Y) * log(1 - P))
    """
    Y_hat = algebra.sigmoid(L, xp=xp)
    P = _clipped(Y_hat, xp=xp)
    each = Y * xp.log(P) + (1.0 - Y) * xp.log(1.0 - P)
    return Reported(algebra.weighted_total(each, weights, xp=xp) / -L.shape[-2], Y_hat)


def squared_loss(Y: Array, L: Array, weights: Array | None = None, *, xp: Namespace) -> Reported:
    """Half the squared error as a mean over outputs: K times less than what is descended."""
    J, D = algebra.squared_error(Y, L, weights, xp=xp)
    return Reported(J / L.shape[-1], D)


def _clipped(P: Array, *, xp: Namespace) -> Array:
    """Probabilities held between ε and 1 - ε, ε the distance from 1 to the next number."""
    epsilon = float(xp.finfo(P.dtype).eps)
    return xp.minimum(xp.maximum(P, epsilon), 1.0 - epsilon)


SKLEARN_LOSSES: dict[str, Loss] = {
    "softmax": Loss(log_loss, algebra.softmax_cross_entropy_backward, "softmax"),
    "sigmoid": Loss(binary_log_loss, algebra.sigmoid_cross_entropy_backward, "sigmoid"),
    "identity": Loss(squared_loss, algebra.squared_error_backward, "identity"),
    "exp": Loss(algebra.poisson, algebra.poisson_backward, "exp"),
}
"""scikit-learn's losses by output: its number, the algebra's Jacobian."""


def initial_parameters(
    model: MLP, activation: str, random_state: np.random.RandomState
) -> np.ndarray:
    """scikit-learn's initial weights as a flat float64 vector (size,).

    Layer by layer, W and then b are uniform within √(6/(l_in + l_out)), or √(2/(l_in + l_out)) for
    the logistic function. Gammas and variances are 1, betas and means 0, and draw nothing.

    Source: Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward
    neural networks", equation 16; scikit-learn draws biases alike.
    """
    factor = 2.0 if activation in ("logistic", "sigmoid") else 6.0

    parts = dict[str, np.ndarray]()
    for name, shape in model.shapes.items():
        if name[0] == "W":
            bound = np.sqrt(factor / sum(shape))
        if name[0] == "W" or name.rstrip("0123456789") == "b":
            parts[name] = random_state.uniform(-bound, bound, shape)
        else:
            parts[name] = np.full(shape, float(name.startswith(("gamma", "variance"))))
    return model.flatten(parts)


def inverse_scaling(
    power: float, *, rows: int, seen: int = 0, begins_anew: bool = True
) -> Schedule:
    """scikit-learn's `invscaling`: (rows seen before the epoch + 1)^-power.

    `seen` rows were trained on before this run. An optimizer that `begins_anew` takes its first
    epoch at the full rate all the same, as that of a second `fit` does with `warm_start`.
    """

    def factor(times: Times) -> np.ndarray:
        falling: np.ndarray = (seen + times.epoch * rows + 1.0) ** -float(power)
        return np.where(times.epoch == 0, 1.0, falling) if begins_anew else falling

    return Schedule("invscaling", factor)
