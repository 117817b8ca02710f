"""The rule that keeps only a sign."""

from typing import NamedTuple

from xpmlp.checks import check_fraction
from xpmlp.optimizers.base import Optimizer
from xpmlp.typing import Array, Namespace


class LionState(NamedTuple):
    """The decaying sum of gradients, shaped like the parameters."""

    sums: Array


def lion(*, beta1: float = 0.9, beta2: float = 0.99) -> Optimizer:
    """Move by the sign of a mean: p <- p - rate sign(beta1 m + (1-beta1) g).

    Afterwards m <- beta2 m + (1-beta2) g.

    Parameters
    ----------
    beta1 : float, default 0.9
        Weight of the mean in the step, 0 or more and less than 1.
    beta2 : float, default 0.99
        Decay of the mean of gradients, 0 or more and less than 1.

    Returns
    -------
    Optimizer
        The rule as a pair of pure functions, `init` and `update`.

    Raises
    ------
    InputError
        For a value out of range.

    Notes
    -----
    Use a learning rate 3 to 10 times smaller than Adam's, and a weight decay larger by the same
    factor. A sign does not depend on the scale, so the state is the sum M = m/(1-beta2), M <- beta2
    M + g, and c/(1-beta1) = beta1 (1-beta2)/(1-beta1) M + g, which saves two passes over all
    parameters.

    References
    ----------
    Chen et al. 2023, Symbolic discovery of optimization algorithms, algorithm 2; its weight decay
    is `decay`.

    Examples
    --------
    >>> from xpmlp.optimizers import lion
    >>> rule, p = lion(), np.array([1.0, 1.0])
    >>> g = np.array([0.001, -100.0])
    >>> p, state = rule.update(p, g, rule.init(p, xp=np), np.array(0.1), xp=np)
    >>> p
    array([0.9, 1.1])
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

    return Optimizer(init, update, (("beta1", beta1), ("beta2", beta2)), "lion")
