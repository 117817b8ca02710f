"""What is done before and after an update rule, as updates made of updates."""

from collections.abc import Callable

from xpmlp.optimizers.base import Update
from xpmlp.optimizers.decay import decay
from xpmlp.typing import Array, Namespace

Change = Callable[..., Array]
"""`change(array, xp=xp)`: an array like the one given."""


def of_changed_gradients(update: Update, change: Change) -> Update:
    """Apply a function to the gradients before each update.

    Parameters
    ----------
    update : Update
        The update rule.
    change : callable
        `change(gradients, xp=xp)` returns an array like the gradients, such as clipped ones.

    Returns
    -------
    Update
        The composed update: p <- update(p, change(g)).

    References
    ----------
    Pascanu, Mikolov and Bengio 2013, algorithm 1, is such a change.

    Examples
    --------
    >>> from functools import partial
    >>> from xpmlp.optimizers import clip_by_value, of_changed_gradients, sgd
    >>> rule = sgd()
    >>> update = of_changed_gradients(rule.update, partial(clip_by_value, limit=1.0))
    >>> update(np.zeros(2), np.array([9.0, 0.5]), rule.init(np.zeros(2), xp=np), 1.0, xp=np)[0]
    array([-1. , -0.5])
    """

    def composed(
        parameters: Array, gradients: Array, state: object, rate: Array, /, *, xp: Namespace
    ) -> tuple[Array, object]:
        return update(parameters, change(gradients, xp=xp), state, rate, xp=xp)

    return composed


def of_decayed_parameters(update: Update, weight_decay: Array) -> Update:
    """Apply decoupled weight decay before each update.

    Parameters
    ----------
    update : Update
        The update rule.
    weight_decay : array
        The weight decay, of shape (), (E, 1), (P,) or (E, P); see `decay`.

    Returns
    -------
    Update
        The composed update: p <- update(p - rate weight_decay p, g).

    References
    ----------
    Loshchilov and Hutter 2019, Decoupled weight decay regularization, algorithm 2.

    Examples
    --------
    >>> from xpmlp.optimizers import of_decayed_parameters, sgd
    >>> rule, p = sgd(), np.array([1.0])
    >>> update = of_decayed_parameters(rule.update, np.array(0.5))
    >>> update(p, np.array([0.0]), rule.init(p, xp=np), np.array(0.1), xp=np)[0]
    array([0.95])
    """

    def composed(
        parameters: Array, gradients: Array, state: object, rate: Array, /, *, xp: Namespace
    ) -> tuple[Array, object]:
        return update(decay(parameters, rate, weight_decay, xp=xp), gradients, state, rate, xp=xp)

    return composed


def then(update: Update, change: Change) -> Update:
    """Apply a function to the parameters after each update.

    Parameters
    ----------
    update : Update
        The update rule.
    change : callable
        `change(parameters, xp=xp)` returns an array like the parameters.

    Returns
    -------
    Update
        The composed update: p <- change(update(p, g)).

    References
    ----------
    Srivastava et al. 2014, Dropout, section 5.1, where the change limits the norm of weights.

    Examples
    --------
    >>> from xpmlp.optimizers import sgd, then
    >>> rule, p = sgd(), np.array([1.0])
    >>> update = then(rule.update, lambda parameters, xp: xp.maximum(parameters, 0.0))
    >>> update(p, np.array([9.0]), rule.init(p, xp=np), 1.0, xp=np)[0]
    array([0.])
    """

    def composed(
        parameters: Array, gradients: Array, state: object, rate: Array, /, *, xp: Namespace
    ) -> tuple[Array, object]:
        parameters, state = update(parameters, gradients, state, rate, xp=xp)
        return change(parameters, xp=xp), state

    return composed
