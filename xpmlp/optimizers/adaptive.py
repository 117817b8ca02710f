"""Rules that divide each parameter's step by the size of its own gradients.

Their papers keep running means, s <- rho s + (1-rho) g². Kept here are the sums without (1-rho),
S = s/(1-rho), each of which spares a pass over all parameters in every step; the constants go
into the rate and into epsilon, which are smaller. The steps are the papers', to rounding.
"""

import math
import sys
from typing import NamedTuple

import array_api_compat

from xpmlp.checks import check_epsilon, check_fraction, check_positive
from xpmlp.optimizers.base import Optimizer
from xpmlp.typing import Array, Namespace


class RMSpropState(NamedTuple):
    """The decaying sum of squared gradients, shaped like the parameters."""

    squares: Array


class AdamState(NamedTuple):
    """The decaying sums of gradients and of their squares, and () the number of steps done.

    It is of the parameters' dtype; float32 counts to 16 million, when beta2^t has long been 0.
    """

    sums: Array
    squares: Array
    count: Array


def rmsprop(*, rho: float = 0.9, epsilon: float = 1e-7) -> Optimizer:
    """Divide the gradient by its root mean square: p <- p - rate g / (√s + epsilon).

    Here s <- rho s + (1-rho) g². The rule is not centred and has no momentum.

    Parameters
    ----------
    rho : float, default 0.9
        Decay of the mean of squared gradients, 0 or more and less than 1.
    epsilon : float, default 1e-7
        Added to the root, more than 0.

    Returns
    -------
    Optimizer
        The rule as a pair of pure functions, `init` and `update`.

    Raises
    ------
    InputError
        For a value out of range, and from `init` for an epsilon that is 0 in the parameters' dtype.

    Notes
    -----
    The state is the sum S = s/(1-rho), which saves a pass over all parameters. With k = √(1-rho):
    S <- rho S + g², p <- p - (rate/k) g / (√S + epsilon/k).

    References
    ----------
    Hinton 2012, Neural networks for machine learning, lecture 6e. The defaults are Keras's; the
    rule is PyTorch's with `alpha=rho, eps=epsilon`.

    Examples
    --------
    >>> from xpmlp.optimizers import rmsprop
    >>> rule, p = rmsprop(), np.array([1.0, 1.0])
    >>> g = np.array([1.0, 100.0])  # both are scaled to the same step
    >>> p, state = rule.update(p, g, rule.init(p, xp=np), np.array(0.01), xp=np)
    >>> p.round(4)
    array([0.9684, 0.9684])
    """
    [rho], [epsilon] = check_fraction(rho=rho), check_positive(epsilon=epsilon)
    root = math.sqrt(1.0 - rho)

    def init(parameters: Array, /, *, xp: Namespace) -> RMSpropState:
        check_epsilon(epsilon, parameters.dtype, xp=xp)
        return RMSpropState(xp.zeros_like(parameters))

    def update(
        parameters: Array, gradients: Array, state: RMSpropState, rate: Array, /, *, xp: Namespace
    ) -> tuple[Array, RMSpropState]:
        (squares,) = state
        squares *= rho
        squares += gradients * gradients
        parameters -= (rate / root) * (gradients / (xp.sqrt(squares) + epsilon / root))
        return parameters, RMSpropState(squares)

    return Optimizer(init, update, (("rho", rho), ("epsilon", epsilon)), "rmsprop")


def adam(*, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Move by bias-corrected means: p <- p - rate m̂ / (√v̂ + epsilon).

    The means are m <- beta1 m + (1-beta1) g and v <- beta2 v + (1-beta2) g², and in step t = 1, 2,
    ... m̂ = m/(1-beta1^t), v̂ = v/(1-beta2^t).

    Parameters
    ----------
    beta1 : float, default 0.9
        Decay of the mean of gradients, 0 or more and less than 1.
    beta2 : float, default 0.999
        Decay of the mean of squared gradients, 0 or more and less than 1.
    epsilon : float, default 1e-8
        Added to the root, more than 0.

    Returns
    -------
    Optimizer
        The rule as a pair of pure functions, `init` and `update`.

    Raises
    ------
    InputError
        For a value out of range, and from `init` for an epsilon that is 0 in the parameters' dtype.

    Notes
    -----
    The state has the sums M = m/(1-beta1) and V = v/(1-beta2). With k = √((1-beta2)/(1-beta2^t)):
    p <- p - (rate (1-beta1)/(1-beta1^t)/k) M / (√V + epsilon/k). After `decay` the rule is AdamW.

    References
    ----------
    Kingma and Ba 2015, Adam: a method for stochastic optimization, algorithm 1. Loshchilov and
    Hutter 2019, Decoupled weight decay regularization, algorithm 2, with PyTorch's decay, rate *
    weight_decay.

    Examples
    --------
    >>> from xpmlp.optimizers import adam
    >>> rule, p = adam(), np.array([1.0, 1.0])
    >>> g = np.array([1.0, 100.0])  # both are scaled to the same step
    >>> p, state = rule.update(p, g, rule.init(p, xp=np), np.array(0.01), xp=np)
    >>> p.round(4)
    array([0.99, 0.99])
    """
    return _adam(beta1, beta2, epsilon, is_outer=False)


def adam_outer_epsilon(
    *, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
) -> Optimizer:
    """Use Adam with epsilon outside the correction: p <- p - c m / (√v + epsilon).

    Here c = rate √(1-beta2^t)/(1-beta1^t), and m and v are those of `adam`. In the first steps
    epsilon has less effect than in `adam`.

    Parameters
    ----------
    beta1 : float, default 0.9
        Decay of the mean of gradients, 0 or more and less than 1.
    beta2 : float, default 0.999
        Decay of the mean of squared gradients, 0 or more and less than 1.
    epsilon : float, default 1e-8
        Added to the root, more than 0.

    Returns
    -------
    Optimizer
        The rule as a pair of pure functions, `init` and `update`.

    Raises
    ------
    InputError
        For a value out of range, and from `init` for an epsilon that is 0 in the parameters' dtype.

    Notes
    -----
    With the sums of `adam`: p <- p - (rate (1-beta1)/(1-beta1^t)/k) M / (√V + epsilon/√(1-beta2)).

    References
    ----------
    Kingma and Ba 2015, end of section 2: the efficient order of computation, with its epsilon-hat.
    The rule is that of TensorFlow and scikit-learn.

    Examples
    --------
    >>> from xpmlp.optimizers import adam_outer_epsilon
    >>> rule, p = adam_outer_epsilon(), np.array([1.0, 1.0])
    >>> g = np.array([1.0, 100.0])  # both are scaled to the same step
    >>> p, state = rule.update(p, g, rule.init(p, xp=np), np.array(0.01), xp=np)
    >>> p.round(4)
    array([0.99, 0.99])
    """
    return _adam(beta1, beta2, epsilon, is_outer=True)


def _adam(beta1: float, beta2: float, epsilon: float, *, is_outer: bool) -> Optimizer:
    beta1, beta2 = check_fraction(beta1=beta1, beta2=beta2)
    [epsilon] = check_positive(epsilon=epsilon)

    def init(parameters: Array, /, *, xp: Namespace) -> AdamState:
        check_epsilon(epsilon, parameters.dtype, xp=xp)
        device = array_api_compat.device(parameters)
        count = xp.zeros((), dtype=parameters.dtype, device=device)
        return AdamState(xp.zeros_like(parameters), xp.zeros_like(parameters), count)

    def update(
        parameters: Array, gradients: Array, state: AdamState, rate: Array, /, *, xp: Namespace
    ) -> tuple[Array, AdamState]:
        sums, squares, count = state
        sums *= beta1
        sums += gradients
        squares *= beta2
        squares += gradients * gradients
        count += 1.0
        root = xp.sqrt((1.0 - beta2) / one_minus_power(beta2, count, xp=xp))
        first = (1.0 - beta1) / one_minus_power(beta1, count, xp=xp)
        scale = math.sqrt(1.0 - beta2) if is_outer else root
        parameters -= (rate * (first / root)) * (sums / (xp.sqrt(squares) + epsilon / scale))
        return parameters, AdamState(sums, squares, count)

    options = ("beta1", beta1), ("beta2", beta2), ("epsilon", epsilon)
    return Optimizer(init, update, options, "adam_outer_epsilon" if is_outer else "adam")


def one_minus_power(beta: float, t: Array, *, xp: Namespace) -> Array:
    """1 - beta^t = -expm1(t log(beta)), to a few roundings.

    Beta^t subtracted from 1 would lose digits (3 of 7 for 0.999 in float32 and t = 1), and so, over
    many steps, would c <- beta c + (1-beta), which gathers 1/(1-beta) roundings.
    """
    # The smallest number stands for beta = 0: its powers are 0 beside 1, and it has a logarithm.
    return -xp.expm1(t * math.log(max(beta, sys.float_info.min)))
