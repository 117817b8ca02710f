"""Gradient descent, and gradient descent with a velocity."""

from typing import NamedTuple

from xpmlp.checks import check_boolean, check_fraction, check_unit
from xpmlp.optimizers.base import Optimizer
from xpmlp.typing import Array, Namespace


class Memoryless(NamedTuple):
    """The state of a rule that remembers nothing."""


class Velocity(NamedTuple):
    """What a step takes over from those before it, shaped like the parameters."""

    velocity: Array


def sgd() -> Optimizer:
    """Move against the gradient: p <- p - rate g.

    Returns
    -------
    Optimizer
        The rule as a pair of pure functions, `init` and `update`.

    Notes
    -----
    With a mini-batch gradient g this is stochastic gradient descent. It has no state.

    References
    ----------
    Lecture 11, "parameter update". Robbins and Monro 1951, A stochastic approximation method.

    Examples
    --------
    >>> from xpmlp.optimizers import sgd
    >>> rule, p, g = sgd(), np.array([1.0, 2.0]), np.array([10.0, 20.0])
    >>> p, state = rule.update(p, g, rule.init(p, xp=np), np.array(0.01), xp=np)
    >>> p
    array([0.9, 1.8])
    """

    def init(parameters: Array, /, *, xp: Namespace) -> Memoryless:
        return Memoryless()

    def update(
        parameters: Array, gradients: Array, state: Memoryless, rate: Array, /, *, xp: Namespace
    ) -> tuple[Array, Memoryless]:
        parameters -= rate * gradients
        return parameters, state

    return Optimizer(init, update, name="sgd")


def momentum(*, momentum: float = 0.9) -> Optimizer:
    """Move along a velocity: v <- momentum v + g; p <- p - rate v.

    Parameters
    ----------
    momentum : float, default 0.9
        Factor on the velocity in each step, 0 or more and less than 1.

    Returns
    -------
    Optimizer
        The rule as a pair of pure functions, `init` and `update`.

    Raises
    ------
    InputError
        For a momentum out of range.

    Notes
    -----
    The velocity does not include the learning rate, so a new rate applies to all of v at once.

    References
    ----------
    Polyak 1964, Some methods of speeding up the convergence of iteration methods. Sutskever et al.
    2013, On the importance of initialization and momentum, equations 1-2, whose v is -rate v here.
    The form is that of PyTorch's SGD.

    Examples
    --------
    >>> from xpmlp.optimizers import momentum
    >>> rule, p, g = momentum(momentum=0.5), np.array([1.0]), np.array([1.0])
    >>> state = rule.init(p, xp=np)
    >>> for _ in range(2):
    ...     p, state = rule.update(p, g, state, np.array(0.1), xp=np)
    >>> p.round(6)  # steps of 0.1 and 0.15
    array([0.75])
    """
    [mu] = check_fraction(momentum=momentum)

    def update(
        parameters: Array, gradients: Array, state: Velocity, rate: Array, /, *, xp: Namespace
    ) -> tuple[Array, Velocity]:
        (velocity,) = state
        velocity *= mu
        velocity += gradients
        parameters -= rate * velocity
        return parameters, Velocity(velocity)

    return Optimizer(_at_rest, update, (("momentum", momentum),), "momentum")


def nesterov(*, momentum: float = 0.9) -> Optimizer:
    """Look ahead: v <- momentum v + g; p <- p - rate (g + momentum v).

    Parameters
    ----------
    momentum : float, default 0.9
        Factor on the velocity in each step, 0 or more and less than 1.

    Returns
    -------
    Optimizer
        The rule as a pair of pure functions, `init` and `update`.

    Raises
    ------
    InputError
        For a momentum out of range.

    Notes
    -----
    p is the point that the velocity leads to, where the gradient is taken. The state is momentum v,
    which both lines need, in place of v.

    References
    ----------
    Nesterov 1983, A method for solving the convex programming problem with convergence rate
    O(1/k²). Sutskever et al. 2013, equations 3-4, in the form of Bengio et al. 2013, Advances in
    optimizing recurrent networks, and of PyTorch's SGD with `nesterov=True`.

    Examples
    --------
    >>> from xpmlp.optimizers import nesterov
    >>> rule, p, g = nesterov(momentum=0.5), np.array([1.0]), np.array([1.0])
    >>> p, state = rule.update(p, g, rule.init(p, xp=np), np.array(0.1), xp=np)
    >>> p.round(6)  # a step of 0.1 (1 + 0.5)
    array([0.85])
    """
    [mu] = check_fraction(momentum=momentum)

    def update(
        parameters: Array, gradients: Array, state: Velocity, rate: Array, /, *, xp: Namespace
    ) -> tuple[Array, Velocity]:
        (velocity,) = state
        velocity += gradients
        velocity *= mu
        parameters -= rate * (gradients + velocity)
        return parameters, Velocity(velocity)

    return Optimizer(_at_rest, update, (("momentum", momentum),), "nesterov")


def velocity_descent(*, momentum: float = 0.9, nesterov: bool = False) -> Optimizer:
    """Move by a velocity that has the rate: v <- momentum v - rate g; p <- p + v.

    With Nesterov's momentum the second line is p <- p + momentum v - rate g.

    Parameters
    ----------
    momentum : float, default 0.9
        Factor on the velocity in each step, from 0 to 1; 1 is allowed here.
    nesterov : bool, default False
        Whether to use Nesterov's momentum. The state then is momentum v, as in `nesterov`.

    Returns
    -------
    Optimizer
        The rule as a pair of pure functions, `init` and `update`.

    Raises
    ------
    InputError
        For a momentum out of range.

    Notes
    -----
    A new learning rate applies to later gradients only and leaves the velocity as it is. With a
    constant rate the steps are those of `momentum` and `nesterov`.

    References
    ----------
    Polyak 1964. Sutskever et al. 2013, equations 1-2, and 3-4 in the form of Bengio et al. 2013.
    The rule is that of Keras and scikit-learn.

    Examples
    --------
    >>> from xpmlp.optimizers import velocity_descent
    >>> rule, p = velocity_descent(), np.array([1.0])
    >>> p, state = rule.update(p, np.array([1.0]), rule.init(p, xp=np), np.array(0.1), xp=np)
    >>> p
    array([0.9])
    """
    [mu], nesterov = check_unit(momentum=momentum), check_boolean("nesterov", nesterov)

    def update(
        parameters: Array, gradients: Array, state: Velocity, rate: Array, /, *, xp: Namespace
    ) -> tuple[Array, Velocity]:
        (velocity,) = state
        velocity *= mu
        velocity -= rate * gradients
        parameters += velocity
        return parameters, Velocity(velocity)

    def update_ahead(
        parameters: Array, gradients: Array, state: Velocity, rate: Array, /, *, xp: Namespace
    ) -> tuple[Array, Velocity]:
        (velocity,) = state
        downhill = rate * gradients
        velocity -= downhill
        velocity *= mu
        parameters += velocity
        parameters -= downhill
        return parameters, Velocity(velocity)

    options = ("momentum", momentum), ("nesterov", nesterov)
    rule = update_ahead if nesterov else update
    return Optimizer(_at_rest, rule, options, "velocity_descent")


def _at_rest(parameters: Array, /, *, xp: Namespace) -> Velocity:
    return Velocity(xp.zeros_like(parameters))
