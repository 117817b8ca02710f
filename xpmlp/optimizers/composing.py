"""What is done before and after an update rule, as updates made of updates."""

from collections.abc import Callable

from xpmlp.optimizers.base import Update
from xpmlp.optimizers.decay import decay
from xpmlp.typing import Array, Namespace

Change = Callable[..., Array]
"""`change(array, xp=xp)`: an array like the one given."""


def of_changed_gradients(update: Update, change: Change) -> Update:
    """Return an update by changed gradients, such as shorter ones."""

    def composed(
        parameters: Array, gradients: Array, state: object, rate: Array, /, *, xp: Namespace
    ) -> tuple[Array, object]:
        return update(parameters, change(gradients, xp=xp), state, rate, xp=xp)

    return composed


def of_decayed_parameters(update: Update, weight_decay: Array) -> Update:
    """Return an update whose parameters decay first."""

    def composed(
        parameters: Array, gradients: Array, state: object, rate: Array, /, *, xp: Namespace
    ) -> tuple[Array, object]:
        return update(decay(parameters, rate, weight_decay, xp=xp), gradients, state, rate, xp=xp)

    return composed


def then(update: Update, change: Change) -> Update:
    """Return an update whose new parameters are changed, such as held to a norm."""

    def composed(
        parameters: Array, gradients: Array, state: object, rate: Array, /, *, xp: Namespace
    ) -> tuple[Array, object]:
        parameters, state = update(parameters, gradients, state, rate, xp=xp)
        return change(parameters, xp=xp), state

    return composed
