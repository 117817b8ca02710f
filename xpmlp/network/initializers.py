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
"""

import math
from typing import Protocol

import numpy as np


class Initializer(Protocol):
    """Weights W (l_in, l_out), float64."""

    def __call__(self, random: np.random.Generator, l_in: int, l_out: int, /) -> np.ndarray: ...


def normal(random: np.random.Generator, l_in: int, l_out: int) -> np.ndarray:
    """W ~ N(0, 1).

    Source: lecture 11, "initialize w, b".
    """
    return random.standard_normal(l_in * l_out).reshape(l_in, l_out)


def uniform(random: np.random.Generator, l_in: int, l_out: int) -> np.ndarray:
    """W ~ U[-1, 1]."""
    shape = (l_in, l_out)
    return random.uniform(-1.0, 1.0, shape)  # NumPy's Philox, no secret # nosec B311


def glorot_uniform(random: np.random.Generator, l_in: int, l_out: int) -> np.ndarray:
    """W ~ U[-a, a], a = sqrt(6 / (l_in + l_out)).

    Source: Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural
    networks", equation 16, "normalized initialization".
    """
    return math.sqrt(6.0 / (l_in + l_out)) * uniform(random, l_in, l_out)


def glorot_normal(random: np.random.Generator, l_in: int, l_out: int) -> np.ndarray:
    """W ~ N(0, s²), s = sqrt(2 / (l_in + l_out)).

    Source: Glorot & Bengio 2010, the variance of equation 12.
    """
    return math.sqrt(2.0 / (l_in + l_out)) * normal(random, l_in, l_out)


def he_uniform(random: np.random.Generator, l_in: int, l_out: int) -> np.ndarray:
    """W ~ U[-a, a], a = sqrt(6 / l_in): the variance of `he_normal`."""
    return math.sqrt(6.0 / l_in) * uniform(random, l_in, l_out)


def he_normal(random: np.random.Generator, l_in: int, l_out: int) -> np.ndarray:
    """W ~ N(0, s²), s = sqrt(2 / l_in): a ReLU halves the mean square, and the 2 restores it.

    Source: He et al. 2015, "Delving deep into rectifiers", equation 10.
    """
    return math.sqrt(2.0 / l_in) * normal(random, l_in, l_out)


def lecun_uniform(random: np.random.Generator, l_in: int, l_out: int) -> np.ndarray:
    """W ~ U[-a, a], a = sqrt(3 / l_in): the variance of `lecun_normal`."""
    return math.sqrt(3.0 / l_in) * uniform(random, l_in, l_out)


def lecun_normal(random: np.random.Generator, l_in: int, l_out: int) -> np.ndarray:
    """W ~ N(0, s²), s = 1 / sqrt(l_in); what `scaled_tanh` and `selu` are made for.

    Source: LeCun et al. 1998, "Efficient BackProp", section 4.6.
    """
    return math.sqrt(1.0 / l_in) * normal(random, l_in, l_out)


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
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
    "lecun_uniform": lecun_uniform,
    "lecun_normal": lecun_normal,
    "orthogonal": orthogonal,
    "zeros": zeros,
}
"""The initialisers by name, as recipes and `MLP.initialize(initializer=...)` give them."""
