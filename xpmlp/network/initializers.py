"""What weights are before the first step, by name.

The biases are zero whatever the weights are. Each function draws W (l_in, l_out) from a generator
on the host, in float64, so that every backend and dtype starts from the same numbers.

    name              distribution of each weight            variance
    normal            N(0, 1), the lecture's                 1
    uniform           U[-1, 1]                               1/3
    glorot_*          zero mean                              2 / (l_in + l_out)
    he_*              zero mean                              2 / l_in
    lecun_*           zero mean                              1 / l_in
    orthogonal        orthonormal columns, or rows           1 / max(l_in, l_out)
    zeros             0                                      0

A normal distribution is not truncated; a uniform one of variance s² is U[-sqrt(3) s, sqrt(3) s].

Sources:
    glorot_*  Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward
              neural networks": the variance of equation 12; equation 16, "normalized
              initialization"
    he_*      He et al. 2015, "Delving deep into rectifiers", equation 10: a ReLU halves the mean
              square, and the 2 restores it
    lecun_*   LeCun et al. 1998, "Efficient BackProp", section 4.6; what `scaled_tanh` and `selu`
              are made for
"""

import math
from collections.abc import Callable

import numpy as np

Initializer = Callable[[np.random.Generator, int, int], np.ndarray]
"""Weights W (l_in, l_out), float64, from a generator, l_in and l_out."""


def normal(random: np.random.Generator, l_in: int, l_out: int) -> np.ndarray:
    """W ~ N(0, 1).

    Source: lecture 11, "initialize w, b".
    """
    return random.standard_normal(l_in * l_out).reshape(l_in, l_out)


def uniform(random: np.random.Generator, l_in: int, l_out: int) -> np.ndarray:
    """W ~ U[-1, 1]."""
    shape = (l_in, l_out)
    return random.uniform(-1.0, 1.0, shape)  # NumPy's Philox, no secret # nosec B311


def scaled(draw: Initializer, gain: float, *, both: bool = False) -> Initializer:
    """W = sqrt(gain / l) * draw, where l is l_in, or l_in + l_out with `both`.

    The variance is gain / l of `normal`, and a third of that of `uniform`.
    """

    def initialize(random: np.random.Generator, l_in: int, l_out: int) -> np.ndarray:
        return math.sqrt(gain / (l_in + l_out if both else l_in)) * draw(random, l_in, l_out)

    return initialize


def orthogonal(random: np.random.Generator, l_in: int, l_out: int) -> np.ndarray:
    """Wᵀ W = I where l_in >= l_out, else W Wᵀ = I; uniform among all such W.

    The Q of a normal matrix. A decomposition chooses signs of its own, so each column takes that
    of R's diagonal: only then is Q uniform.

    Source: Saxe et al. 2013, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks"; Mezzadri 2007, "How to generate random matrices from the classical compact
    groups", for the signs.
    """
    Q, R = np.linalg.qr(normal(random, max(l_in, l_out), min(l_in, l_out)))
    Q *= np.where(np.diagonal(R) < 0.0, -1.0, 1.0)
    return Q if l_in >= l_out else np.ascontiguousarray(Q.T)


def zeros(random: np.random.Generator, l_in: int, l_out: int) -> np.ndarray:
    """W = 0. Hidden units that start alike stay alike: for a network without hidden layers."""
    return np.zeros((l_in, l_out))


INITIALIZERS: dict[str, Initializer] = {
    "normal": normal,
    "uniform": uniform,
    "glorot_uniform": scaled(uniform, 6.0, both=True),
    "glorot_normal": scaled(normal, 2.0, both=True),
    "he_uniform": scaled(uniform, 6.0),
    "he_normal": scaled(normal, 2.0),
    "lecun_uniform": scaled(uniform, 3.0),
    "lecun_normal": scaled(normal, 1.0),
    "orthogonal": orthogonal,
    "zeros": zeros,
}
"""The initialisers by name, as recipes and `MLP.initialize(initializer=...)` give them."""
