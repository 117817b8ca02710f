"""How parameters move: update rules as values, and what is done before and after them.

Everything is flat: parameters, gradients and a rule's state are (P,), or (E, P) for E members,
which never mix. A learning rate is an array: a scalar, (E, 1), (P,) or (E, P). Updates are written
in place and returned, and callers rebind. In the formulas p are the parameters, g the gradients,
t = 1, 2, ... the step, and <- replaces.

base.py       what a rule is
sgd.py        plain descent, and descent with a velocity
adaptive.py   rules that divide by the size of each parameter's own gradients
lion.py       the rule that keeps only a sign
decay.py      decoupled weight decay, before a rule
clipping.py   limits on the gradients, before a rule
averaging.py  the mean of the parameters over steps, after a rule
"""

from collections.abc import Callable
from typing import NoReturn

from xpmlp.checks import closest
from xpmlp.optimizers.adaptive import adam, adam_outer_epsilon, rmsprop
from xpmlp.optimizers.averaging import average, ema_weights, swa_weights
from xpmlp.optimizers.base import Init, Optimizer, Update
from xpmlp.optimizers.clipping import clip_by_norm, clip_by_value
from xpmlp.optimizers.decay import decay
from xpmlp.optimizers.lion import lion
from xpmlp.optimizers.sgd import momentum, nesterov, sgd, velocity_descent

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adam,
    "lion": lion,
}
"""The rules by name, as recipes give them; their keyword arguments are their hyperparameters.

`adamw` is Adam's rule after `decay`, with the weight decay in `WEIGHT_DECAY` unless told otherwise.
Not among them are `velocity_descent` and `adam_outer_epsilon`, other libraries' forms of rules that
are: they are for who is to take those libraries' steps.
"""

WEIGHT_DECAY: dict[str, float] = {"adamw": 0.01}
"""The decoupled weight decay that a name stands for, 0 where it is not listed; PyTorch's."""


def __getattr__(name: str) -> NoReturn:
    """Say what to type for another library's `Adam` or `SGD`."""
    near = closest(name.lower(), OPTIMIZERS)
    hint = f"; xpmlp.train(model, X, y, optimizer={near!r}) takes it by name" if near else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")


__all__ = [
    "OPTIMIZERS",
    "WEIGHT_DECAY",
    "Init",
    "Optimizer",
    "Update",
    "adam",
    "adam_outer_epsilon",
    "average",
    "clip_by_norm",
    "clip_by_value",
    "decay",
    "ema_weights",
    "lion",
    "momentum",
    "nesterov",
    "rmsprop",
    "sgd",
    "swa_weights",
    "velocity_descent",
]
