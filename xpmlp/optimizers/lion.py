"""The rule that keeps only a sign."""

from typing import NamedTuple

from xpmlp.checks import check_fraction
from xpmlp.optimizers.base import Optimizer
from xpmlp.typing import Array, Namespace


class LionState(NamedTuple):
    """The decaying sum of gradients, shaped like the parameters."""

    sums: Array


def lion(*, beta1: float = 0.9, beta2: float = 0.99) -> Optimizer:
    """Lion: every parameter moves by the rate, up or down.

    c = beta1 m + (1-beta1) g
    p <- p - rate sign(c)
    m <- beta2 m + (1-beta2) g

    A sign does not depend on the scale, which spares two passes over all parameters: kept is
    M = m/(1-beta2), M <- beta2 M + g, and c/(1-beta1) = beta1 (1-beta2)/(1-beta1) M + g.
    It wants a rate 3 to 10 times smaller than Adam's, and weight decay as much larger.

    Source: Chen et al. 2023, Symbolic discovery of optimization algorithms, algorithm 2; its weight
    decay is `decay`.
    """
    [beta1, beta2] = check_fraction(beta1=beta1, beta2=beta2)
    ratio = beta1 * (1.0 - beta2) / (1.0 - beta1)

    def init(parameters: Array, /, *, xp: Namespace) -> LionState:
        return LionState(xp.zeros_like(parameters))

    def update(
        parameters: Array, gradients: Array, state: LionState, rate: Array, /, *, xp: Namespace
    ) -> tuple[Array, LionState]:
        (sums,) = state
        parameters -= rate * xp.sign(ratio * sums + gradients)
        sums *= beta2
        sums += gradients
        return parameters, LionState(sums)

    return Optimizer(init, update, (("beta1", beta1), ("beta2", beta2)))
