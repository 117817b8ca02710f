"""How parameters go down the gradient: optimizer, rates by time and group, limits, averages."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from xpmlp import renamed
from xpmlp.checks import check_fields, check_range, one_of, shown
from xpmlp.display import short_repr
from xpmlp.errors import InputError
from xpmlp.network import MLP
from xpmlp.optimizers import Optimizer, sgd
from xpmlp.schedules import Schedule, constant, plateau

AVERAGES = ("none", "ema", "swa")


def Plateau(patience: int = 5, factor: float = 0.1) -> Schedule:  # noqa: N802
    """Multiply the rate by `factor` after too many evaluations without improvement.

    It falls when more than `patience` evaluations in a row did not improve the loss.

    Parameters
    ----------
    patience : int, default 5
        The number of evaluations without improvement that are tolerated, 0 or more.
    factor : float, default 0.1
        The factor on the learning rate, between 0 and 1.

    Returns
    -------
    Schedule
        `xpmlp.schedules.plateau` with these settings. `Plateau` is its name in 0.1.0.

    Raises
    ------
    InputError
        For a value out of range.

    Examples
    --------
    >>> xpmlp.Plateau(patience=2)
    plateau(plateau_patience=2, plateau_factor=0.1)
    """
    return plateau(plateau_patience=patience, plateau_factor=factor)


@renamed.with_old_names
@dataclass(frozen=True, repr=False)
class OptimizerConfig:
    """The optimizer with its learning rate, schedule and limits.

    Features you don't use cost nothing.

    Parameters
    ----------
    optimizer
        The update rule.
    learning_rate
        Step size; one number, or one for each member.
    schedule
        How the learning rate changes over the run.
    warm_up
        Epochs over which the learning rate first rises linearly.
    bias_rate
        Factor on the learning rate of biases, gammas and betas.
    weight_decay
        Decoupled: weights shrink by learning_rate * weight_decay in each step; one number, or one
        for each member.
    bias_decay
        Whether biases decay, too.
    clip_norm
        Limit on the norm of a network's gradient; 0 for none.
    clip_value
        Limit on each entry of the gradient; 0 for none.
    max_norm
        Limit on the norm of the weights into a hidden unit; 0 for none.
    average
        The parameters that are evaluated and saved. `none`: the last ones; `ema`: an exponential
        mean over steps; `swa`: a plain mean over the ends of epochs.
    average_decay
        Decay of the exponential mean; it spans about 1 / (1 - average_decay) steps.
    average_start
        The fraction of the run after which the plain mean starts.

    Raises
    ------
    InputError
        For values out of range.

    References
    ----------
    `xpmlp.optimizers` and `xpmlp.schedules` name the paper of each rule.

    Examples
    --------
    >>> from xpmlp.optimizers import adam
    >>> xpmlp.OptimizerConfig(optimizer=adam(), learning_rate=0.001).learning_rate
    0.001
    """

    optimizer: Optimizer = field(default_factory=sgd)
    learning_rate: float | Sequence[float] = 0.03
    schedule: Schedule = field(default_factory=constant)
    warm_up: float = 0.0
    bias_rate: float = 1.0
    weight_decay: float | Sequence[float] = 0.0
    bias_decay: bool = False
    clip_norm: float = 0.0
    clip_value: float = 0.0
    max_norm: float = 0.0
    average: str = "none"
    average_decay: float = 0.999
    average_start: float = 0.75

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_fields(self)
        for name, value, kind, example in (
            ("optimizer", self.optimizer, Optimizer, "adam()"),
            ("schedule", self.schedule, Schedule, "cosine()"),
        ):
            if not isinstance(value, kind):
                raise InputError(
                    f"{name}={value!r:.60}: give a name, or what xpmlp.{name}s make, such as "
                    f"{example}"
                )
        check_range("learning_rate", self.learning_rate, above=0.0, many=True)
        for name in ("weight_decay", "bias_rate", "clip_norm", "clip_value", "max_norm"):
            # Beyond this its square overflows float32.
            many = name == "weight_decay"
            check_range(name, getattr(self, name), least=0.0, below=1e18, many=many)
        check_range("warm_up", self.warm_up, least=0.0, below=1e9)
        for name in ("average_decay", "average_start"):
            check_range(name, getattr(self, name), least=0.0, below=1.0)
        one_of(AVERAGES, average=self.average)

    def rates(self, model: MLP, members: tuple[int, ...], dtype: str) -> np.ndarray:
        """Return the learning rate of each parameter, in the smallest shape.

        Parameters
        ----------
        model : MLP
            The network.
        members : tuple of int
            The leading axes of the parameters: () or (E,).
        dtype : str
            The dtype of the parameters.

        Returns
        -------
        ndarray of shape (), (E, 1), (P,) or (E, P)
            The rates.

        Raises
        ------
        InputError
            For another number of rates than members, and for a rate that the dtype cannot hold.
        """
        groups = None
        if self.bias_rate != 1.0:
            groups = np.where(model.parts.mask("weight"), 1.0, self.bias_rate)
        return _by_group("learning_rate", self.learning_rate, groups, members, dtype)

    def decays(self, model: MLP, members: tuple[int, ...], dtype: str) -> np.ndarray | None:
        """Return the weight decay of each parameter, in the smallest shape.

        Parameters
        ----------
        model : MLP
            The network.
        members : tuple of int
            The leading axes of the parameters: () or (E,).
        dtype : str
            The dtype of the parameters.

        Returns
        -------
        ndarray of shape (), (E, 1), (P,) or (E, P), or None
            The weight decay; None if there is none.
        """
        if not np.any(self.weight_decay):
            return None
        groups = None if self.bias_decay else model.parts.mask("weight").astype(np.float64)
        return _by_group("weight_decay", self.weight_decay, groups, members, dtype)

    @property
    def counts_steps(self) -> bool:
        """Whether the update depends on the number of the step."""
        return not self.is_constant or self.average != "none"

    @property
    def is_constant(self) -> bool:
        """Whether the learning rate is constant."""
        return self.schedule.factor is constant().factor and not self.warm_up


def one_for_each(name: str, value: float | Sequence[float], members: tuple[int, ...]) -> np.ndarray:
    """Return a number, (), or one for each member, (E, 1); `InputError` for another count."""
    numbers = np.asarray(value, np.float64)
    if numbers.ndim and numbers.shape != members:
        raise InputError(
            f"{name}={shown(value)}: {len(numbers)} values for {members[0] if members else 1} "
            "members; give one, or one for each"
        )
    return numbers[:, None] if numbers.ndim else numbers


def _by_group(
    name: str,
    value: float | Sequence[float],
    groups: np.ndarray | None,
    members: tuple[int, ...],
    dtype: str,
) -> np.ndarray:
    """A number, or one for each member (E, 1), times one for each parameter if groups differ."""
    numbers = one_for_each(name, value, members)
    info = np.finfo(dtype)
    if numbers.max() > info.max or (name == "learning_rate" and numbers.min() < info.tiny):
        raise InputError(f"{name}={value}: beyond what {dtype} can hold")
    return np.asarray(numbers if groups is None else numbers * groups, dtype)
