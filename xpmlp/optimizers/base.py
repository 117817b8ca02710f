"""What an update rule is: a pair of pure functions over flat vectors.

The learning rate is the caller's, so that one rule serves every schedule. What a rule itself
changes from step to step is an array in its state: a compiled step would keep a number for ever.
"""

from typing import Any, NamedTuple, Protocol

from xpmlp.typing import Array, Namespace


class Init(Protocol):
    """Protocol of the function that makes an optimizer's state before the first step.

    The state of parameters (P,) or (E, P) is a named tuple of arrays.

    Examples
    --------
    >>> from xpmlp.optimizers import momentum
    >>> momentum().init(np.array([1.0, 2.0]), xp=np)
    Velocity(velocity=array([0., 0.]))
    """

    def __call__(self, parameters: Array, /, *, xp: Namespace) -> Any: ...


class Update(Protocol):
    """Protocol of the function that takes one step and returns parameters and state.

    It takes parameters (P,) or (E, P), gradients like them, the state, and a rate of shape (), (E,
    1), (P,) or (E, P). It may overwrite its arguments; callers use what it returns.

    Examples
    --------
    >>> from xpmlp.optimizers import sgd
    >>> p, state = sgd().update(np.ones(2), np.ones(2), sgd().init(np.ones(2), xp=np), 0.5, xp=np)
    >>> p
    array([0.5, 0.5])
    """

    def __call__(
        self, parameters: Array, gradients: Array, state: Any, rate: Array, /, *, xp: Namespace
    ) -> tuple[Array, Any]: ...


class Optimizer(NamedTuple):
    """An update rule: `init` makes its state, `update` takes one step.

    Attributes
    ----------
    init : Init
        `state = init(parameters, xp=xp)`.
    update : Update
        `parameters, state = update(parameters, gradients, state, rate, xp=xp)`.
    options : tuple of (str, value)
        The rule's hyperparameters by name.
    name : str, default 'custom'
        The name of the function that made the rule, such as `adam`.

    Examples
    --------
    >>> from xpmlp.optimizers import adam
    >>> adam(beta1=0.8)
    adam(beta1=0.8, beta2=0.999, epsilon=1e-08)
    """

    init: Init
    update: Update
    options: tuple[tuple[str, Any], ...] = ()
    name: str = "custom"

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value}' for name, value in self.options)})"
