"""What an update rule is: a pair of pure functions over flat vectors.

The learning rate is the caller's, so that one rule serves every schedule. What a rule itself
changes from step to step is an array in its state: a compiled step would keep a number for ever.
"""

from typing import Any, NamedTuple, Protocol

from xpmlp.typing import Array, Namespace


class Init(Protocol):
    """The state before the first step, for parameters (P,) or (E, P): a named tuple of arrays."""

    def __call__(self, parameters: Array, /, *, xp: Namespace) -> Any: ...


class Update(Protocol):
    """The parameters and the state after one step at a rate (), (E, 1), (P,) or (E, P)."""

    def __call__(
        self, parameters: Array, gradients: Array, state: Any, rate: Array, /, *, xp: Namespace
    ) -> tuple[Array, Any]: ...


class Optimizer(NamedTuple):
    """An update rule: `init` makes its state, `update` takes one step.

    `parameters, state = optimizer.update(parameters, gradients, state, rate, xp=xp)`. `options` are
    the rule's settings by name.
    """

    init: Init
    update: Update
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The function that made it, such as `adam`."""
        name: str = getattr(self.update, "__qualname__", "").partition(".")[0].lstrip("_")
        return name

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value}' for name, value in self.options)})"
