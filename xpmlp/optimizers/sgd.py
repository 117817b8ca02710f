"""Gradient descent, and gradient descent with a velocity."""

from typing import NamedTuple

from xpmlp.checks import check_fraction, check_unit
from xpmlp.optimizers.base import Optimizer
from xpmlp.typing import Array, Namespace


class Memoryless(NamedTuple):
    """The state of a rule that remembers nothing."""


class Velocity(NamedTuple):
    """What a step takes over from those before it, shaped like the parameters."""

    velocity: Array


def sgd() -> Optimizer:
    """Stochastic gradient descent: p <- p - rate g.

    Source: lecture 11, "parameter update".
    """

    def init(parameters: Array, /, *, xp: Namespace) -> Memoryless:
        return Memoryless()

    def update(
        parameters: Array, gradients: Array, state: Memoryless, rate: Array, /, *, xp: Namespace
    ) -> tuple[Array, Memoryless]:
        parameters -= rate * gradients
        return parameters, state

    return Optimizer(init, update)


def momentum(*, momentum: float = 0.9) -> Optimizer:
    """Gradient descent with momentum:

    v <- momentum v + g
    p <- p - rate v

    The rate is not in the velocity, so a change of it acts at once, on all of v.

    Source: Polyak 1964; Sutskever et al. 2013, equations 1-2, whose v is -rate v here; in this form
    PyTorch's SGD.
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

    return Optimizer(_at_rest, update, (("momentum", momentum),))


def nesterov(*, momentum: float = 0.9) -> Optimizer:
    """Gradient descent with Nesterov's momentum, whose gradient is taken where the velocity leads:

    v <- momentum v + g
    p <- p - rate (g + momentum v)

    Here p is already at that place. Keeps momentum v, which both lines need, in place of v.

    Source: Nesterov 1983; Sutskever et al. 2013, equations 3-4, in the form of Bengio et al. 2013
    and of PyTorch's SGD with `nesterov=True`.
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

    return Optimizer(_at_rest, update, (("momentum", momentum),))


def velocity_descent(*, momentum: float = 0.9, nesterov: bool = False) -> Optimizer:
    """Gradient descent with a velocity that has the rate in it:

    v <- momentum v - rate g
    p <- p + v, or with Nesterov's momentum p <- p + momentum v - rate g

    A change of the rate acts on the gradients after it and leaves the velocity as it is; while
    the rate stays, the steps are those of `momentum` and `nesterov`. A momentum of 1, no friction
    at all, is allowed. With Nesterov's momentum kept is momentum v, as in `nesterov`.

    Source: Polyak 1964; Sutskever et al. 2013, equations 1-2, and 3-4 in the form of Bengio et al.
    2013; the rule of Keras and scikit-learn.
    """
    [mu] = check_unit(momentum=momentum)

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
    return Optimizer(_at_rest, update_ahead if nesterov else update, options)


def _at_rest(parameters: Array, /, *, xp: Namespace) -> Velocity:
    return Velocity(xp.zeros_like(parameters))
