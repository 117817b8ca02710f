"""Update rules as values: a pair of pure functions over flat vectors.

What changes from step to step, the learning rate too, is an array in the optimizer's state, so a
compiled step never holds it as a constant. Updates are written in place and returned, and callers
rebind: `parameters, state = optimizer.update(parameters, gradients, state)`.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import array_api_compat

from xpmlp.errors import InputError
from xpmlp.typing import Array, Namespace


class Init(Protocol):
    """The state before the first step, for parameters (P,) or (E, P)."""

    def __call__(self, parameters: Array, /, *, xp: Namespace) -> Any: ...


class Update(Protocol):
    """The parameters and the state after one step."""

    def __call__(self, parameters: Array, gradients: Array, state: Any, /) -> tuple[Array, Any]: ...


class Optimizer(NamedTuple):
    """An update rule: `init` makes its state, `update` takes one step."""

    init: Init
    update: Update


class SGDState(NamedTuple):
    """The learning rate: a scalar array, or (E, 1) where each member has its own."""

    learning_rate: Array


def sgd(learning_rate: float | Iterable[float]) -> Optimizer:
    """Stochastic gradient descent: parameters <- parameters - learning_rate * gradients.

    A sequence of rates gives each member its own.

    Source: lecture 11, "parameter update".
    """
    has_members = isinstance(learning_rate, Iterable)
    rates = list(learning_rate) if isinstance(learning_rate, Iterable) else [learning_rate]
    if not all(0.0 < rate < float("inf") for rate in rates):
        raise InputError(f"learning_rate={learning_rate}: give a finite number above 0")

    def init(parameters: Array, /, *, xp: Namespace) -> SGDState:
        info, members = xp.finfo(parameters.dtype), parameters.shape[:-1]
        for rate in rates:
            if not info.smallest_normal <= rate <= info.max:
                raise InputError(f"learning_rate={rate}: beyond what {parameters.dtype} can hold")
        on_device = {"dtype": parameters.dtype, "device": array_api_compat.device(parameters)}
        if not has_members:
            return SGDState(xp.asarray(float(rates[0]), **on_device))
        if tuple(members) != (len(rates),):
            raise InputError(f"{len(rates)} learning rates for parameters {parameters.shape}")
        return SGDState(xp.asarray([[float(rate)] for rate in rates], **on_device))

    def update(parameters: Array, gradients: Array, state: SGDState, /) -> tuple[Array, SGDState]:
        parameters -= state.learning_rate * gradients
        return parameters, state

    return Optimizer(init, update)
