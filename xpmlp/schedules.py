"""Learning rates over a run: by what the base rate is multiplied at each step.

A schedule is a pure function of step numbers, in float64 on the host, so a whole block of steps is
known before it is taken, and a run that is resumed needs no state of it. In the formulas t = 0, 1,
... is the step, T the number of steps in the run, and the epoch is t // steps_per_epoch.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from xpmlp import renamed
from xpmlp.checks import check_integer, check_range
from xpmlp.errors import InputError

SHORTEST_PHASE = 1e-9
"""Far below any number of steps, for a phase of none."""


class Times(NamedTuple):
    """The steps at which a schedule is evaluated, in a run of T steps.

    Attributes
    ----------
    step : ndarray of int
        The numbers t of the steps, counted from 0.
    total : int
        The number of steps in the run, T.
    steps_per_epoch : int
        The number of steps in an epoch.
    losses : sequence of float, default ()
        The losses that were measured before these steps, for a plateau.

    Examples
    --------
    >>> from xpmlp.schedules import Times
    >>> Times(np.array([0, 5, 10]), total=10, steps_per_epoch=5).epoch
    array([0, 1, 2])
    """

    step: np.ndarray
    total: int
    steps_per_epoch: int
    losses: Sequence[float] = ()

    @property
    def epoch(self) -> np.ndarray:
        """The epoch of each step, t // steps_per_epoch."""
        return self.step // self.steps_per_epoch

    @property
    def share(self) -> np.ndarray:
        """The fraction of the run that is done, t/T; 1 after its end."""
        return np.minimum(self.step / self.total, 1.0)


@dataclass(frozen=True)
class Schedule:
    """A learning rate schedule: the factor on the base rate in each step.

    `schedule(steps, total=T, steps_per_epoch=...)` returns the factors as float64.

    Parameters
    ----------
    name : str
        The name of the schedule.
    factor : callable
        The function from `Times` to the factors.
    options : tuple of (str, value), default ()
        The settings of the schedule by name.
    reads_losses : bool, default False
        Whether the factors depend on the losses so far.

    Examples
    --------
    >>> from xpmlp.schedules import Schedule
    >>> halved = Schedule("halved", lambda times: 0.5 ** times.epoch)
    >>> halved(np.arange(4), total=4, steps_per_epoch=2)
    array([1. , 1. , 0.5, 0.5])
    """

    name: str
    factor: Callable[[Times], np.ndarray] = field(repr=False)
    options: tuple[tuple[str, Any], ...] = ()
    reads_losses: bool = False

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value}' for name, value in self.options)})"

    def __call__(
        self, steps: np.ndarray, *, total: int, steps_per_epoch: int, losses: Sequence[float] = ()
    ) -> np.ndarray:
        """The factors, float64, at these steps of a run of `total`; a plateau needs the losses."""
        return self.factor(Times(np.asarray(steps), total, steps_per_epoch, losses))


def constant() -> Schedule:
    """Keep the learning rate: 1 in each step.

    Returns
    -------
    Schedule
        The schedule: a function from steps to factors.

    References
    ----------
    Lecture 11, whose learning rate is constant.

    Examples
    --------
    >>> from xpmlp.schedules import constant
    >>> constant()(np.arange(3), total=3, steps_per_epoch=1)
    array([1., 1., 1.])
    """
    return Schedule("constant", _ones)


def _ones(times: Times) -> np.ndarray:
    return np.ones(times.step.shape)


def step(*, decay_every: int = 10, decay_factor: float = 0.1) -> Schedule:
    """Multiply in steps: decay_factor ^ (epoch // decay_every).

    Parameters
    ----------
    decay_every : int, default 10
        The interval in epochs, 1 or more.
    decay_factor : float, default 0.1
        Factor on the learning rate, more than 0.

    Returns
    -------
    Schedule
        The schedule: a function from steps to factors.

    Raises
    ------
    InputError
        For a value out of range.

    References
    ----------
    He et al. 2016, Deep residual learning, section 4.1, divides by 10 in this way. The rule is that
    of PyTorch's `StepLR`.

    Examples
    --------
    >>> from xpmlp.schedules import step
    >>> step(decay_every=2)(np.arange(4), total=4, steps_per_epoch=1)
    array([1. , 1. , 0.1, 0.1])
    """
    _check(decay_factor=decay_factor, above=0.0)
    decay_every = check_integer("decay_every", decay_every, least=1)
    options = ("decay_every", decay_every), ("decay_factor", decay_factor)
    return Schedule(
        "step", lambda times: float(decay_factor) ** (times.epoch // decay_every), options
    )


def exponential(*, decay_factor: float = 0.95) -> Schedule:
    """Multiply once per epoch: decay_factor ^ epoch.

    Parameters
    ----------
    decay_factor : float, default 0.95
        Factor on the learning rate, more than 0.

    Returns
    -------
    Schedule
        The schedule: a function from steps to factors.

    Raises
    ------
    InputError
        For a factor that is not above 0.

    References
    ----------
    The rule is that of PyTorch's `ExponentialLR`; it has no paper of its own.

    Examples
    --------
    >>> from xpmlp.schedules import exponential
    >>> exponential(decay_factor=0.5)(np.arange(3), total=3, steps_per_epoch=1)
    array([1.  , 0.5 , 0.25])
    """
    _check(decay_factor=decay_factor, above=0.0)
    options = (("decay_factor", decay_factor),)
    return Schedule("exponential", lambda times: float(decay_factor) ** times.epoch, options)


def cosine(*, final_factor: float = 0.0) -> Schedule:
    """Fall from 1 to final_factor along half a cosine of t/T.

    The factor is final_factor + (1 - final_factor) (1 + cos(π t/T)) / 2. It is 1 at t = 0, and
    final_factor at t = T, just after the last step.

    Parameters
    ----------
    final_factor : float, default 0
        The factor at the end, 0 or more.

    Returns
    -------
    Schedule
        The schedule: a function from steps to factors.

    Raises
    ------
    InputError
        For a negative factor.

    References
    ----------
    Loshchilov and Hutter 2017, SGDR: stochastic gradient descent with warm restarts, equation 5,
    without restarts.

    Examples
    --------
    >>> from xpmlp.schedules import cosine
    >>> cosine()(np.array([0, 2, 4]), total=4, steps_per_epoch=1).round(6)
    array([1. , 0.5, 0. ])
    """
    _check(final_factor=final_factor)
    options = (("final_factor", final_factor),)
    return Schedule("cosine", lambda times: _ease(1.0, final_factor, times.share), options)


def one_cycle(
    *, peak_at: float = 0.3, initial_factor: float = 0.04, final_factor: float = 4e-6
) -> Schedule:
    """Rise from initial_factor to 1 and fall to final_factor, on half cosines.

    The peak is at t = peak_at T - 1 and the end at t = T - 1. The base rate is that of the peak.

    Parameters
    ----------
    peak_at : float, default 0.3
        The fraction of the run at which the peak is, between 0 and 1.
    initial_factor : float, default 0.04
        The factor in the first step, 0 or more.
    final_factor : float, default 4e-6
        The factor in the last step, 0 or more.

    Returns
    -------
    Schedule
        The schedule: a function from steps to factors.

    Raises
    ------
    InputError
        For a value out of range.

    Notes
    -----
    The defaults are those of PyTorch's `OneCycleLR`, `div_factor=25, final_div_factor=1e4`.

    References
    ----------
    Smith and Topin 2018, Super-convergence: very fast training of neural networks using large
    learning rates, in PyTorch's form.

    Examples
    --------
    >>> from xpmlp.schedules import one_cycle
    >>> one_cycle(peak_at=0.5)(np.arange(4), total=4, steps_per_epoch=1).round(2)
    array([0.04, 1.  , 0.5 , 0.  ])
    """
    _check(initial_factor=initial_factor, final_factor=final_factor)
    _check(peak_at=peak_at, above=0.0, below=1.0)

    def factor(times: Times) -> np.ndarray:
        # A run too short to rise begins at the peak; PyTorch begins beyond it, or divides by 0.
        peak = max(peak_at * times.total - 1.0, 0.0)
        rise = times.step / max(peak, SHORTEST_PHASE)
        fall = (times.step - peak) / max(times.total - 1.0 - peak, SHORTEST_PHASE)
        return np.where(
            times.step < peak, _ease(initial_factor, 1.0, rise), _ease(1.0, final_factor, fall)
        )

    options = (
        ("peak_at", peak_at), ("initial_factor", initial_factor), ("final_factor", final_factor)
    )  # fmt: skip
    return Schedule("one_cycle", factor, options)


def inverse_scaling(*, power: float = 0.5) -> Schedule:
    """Fall as a power of the step: 1 / (t + 1)^power.

    Parameters
    ----------
    power : float, default 0.5
        The exponent, 0 or more.

    Returns
    -------
    Schedule
        The schedule: a function from steps to factors.

    Raises
    ------
    InputError
        For a negative power.

    Notes
    -----
    scikit-learn's `invscaling` counts rows in place of steps.

    References
    ----------
    Robbins and Monro 1951, A stochastic approximation method, whose conditions hold for
    1/2 < power <= 1.

    Examples
    --------
    >>> from xpmlp.schedules import inverse_scaling
    >>> inverse_scaling(power=1.0)(np.arange(4), total=4, steps_per_epoch=1).round(2)
    array([1.  , 0.5 , 0.33, 0.25])
    """
    _check(power=power)
    options = (("power", power),)
    return Schedule("inverse_scaling", lambda times: (times.step + 1.0) ** -float(power), options)


def cosine_log() -> Schedule:
    """Follow four cosine waves: (1 - cos(2π log2(1 + 15 t/T))) / 2.

    Each wave is twice as long as the one before. The factor of the first step is 0, so this step
    changes nothing.

    Returns
    -------
    Schedule
        The schedule: a function from steps to factors.

    References
    ----------
    Holzmüller, Grinsztajn and Steinwart 2024, Better by default: strong pre-tuned MLPs and boosted
    trees on tabular data, `coslog4`.

    Examples
    --------
    >>> from xpmlp.schedules import cosine_log
    >>> cosine_log()(np.array([0, 1, 15]), total=15, steps_per_epoch=1).round(6)
    array([0., 0., 0.])
    """

    def factor(times: Times) -> np.ndarray:
        wave: np.ndarray = np.cos(2.0 * np.pi * np.log2(1.0 + 15.0 * times.share))
        return 0.5 * (1.0 - wave)

    return Schedule("cosine_log", factor)


def plateau(*, plateau_patience: int = 5, plateau_factor: float = 0.1) -> Schedule:
    """Multiply the rate by a factor after too many evaluations without improvement.

    It falls when more than `plateau_patience` evaluations in a row did not improve the validation
    loss, or without validation rows the mean loss of an epoch.

    Parameters
    ----------
    plateau_patience : int, default 5
        The number of evaluations without improvement that are tolerated, 0 or more.
    plateau_factor : float, default 0.1
        The factor on the learning rate, between 0 and 1.

    Returns
    -------
    Schedule
        The schedule, whose factors depend on the losses before.

    Raises
    ------
    InputError
        For a value out of range.

    See Also
    --------
    factor_on_plateau : The rule.

    References
    ----------
    The rule has no paper of its own; PyTorch's `ReduceLROnPlateau` and Keras's callback of this
    name are its sources.

    Examples
    --------
    >>> from xpmlp.schedules import plateau
    >>> falling = plateau(plateau_patience=0, plateau_factor=0.5)
    >>> falling([3], total=9, steps_per_epoch=1, losses=[1.0, 1.0]).item()
    0.5
    """
    plateau_patience = check_integer("plateau_patience", plateau_patience, least=0)
    _check(plateau_factor=plateau_factor, above=0.0, below=1.0)

    def factor(times: Times) -> np.ndarray:
        fallen = factor_on_plateau(times.losses, patience=plateau_patience, factor=plateau_factor)
        return np.full(times.step.shape, fallen)

    options = ("plateau_patience", plateau_patience), ("plateau_factor", plateau_factor)
    return Schedule("plateau", factor, options, reads_losses=True)


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "step": step,
    "exponential": exponential,
    "cosine": cosine,
    "one_cycle": one_cycle,
    "inverse_scaling": inverse_scaling,
    "cosine_log": cosine_log,
    "plateau": plateau,
}
"""The schedules by name, as recipes give them; their keyword arguments are their options."""


def warm_up(schedule: Schedule, steps: int) -> Schedule:
    """Multiply a schedule by a linear warm-up: min((t+1)/steps, 1).

    Parameters
    ----------
    schedule : Schedule
        The schedule, which is neither shifted nor shortened.
    steps : int
        The length of the warm-up in steps, 1 or more.

    Returns
    -------
    Schedule
        The product of both.

    Raises
    ------
    InputError
        For a number of steps that is not an integer of at least 1.

    References
    ----------
    Goyal et al. 2017, Accurate, large minibatch SGD: training ImageNet in 1 hour, section 2.2.

    Examples
    --------
    >>> from xpmlp.schedules import constant, warm_up
    >>> warm_up(constant(), 4)(np.arange(5), total=5, steps_per_epoch=1)
    array([0.25, 0.5 , 0.75, 1.  , 1.  ])
    """
    if type(steps) is not int or steps < 1:
        raise InputError(f"warm_up of {steps} steps: give an integer of at least 1")
    return Schedule(
        f"{schedule.name} after warm-up",
        lambda times: schedule.factor(times) * np.minimum((times.step + 1.0) / steps, 1.0),
        reads_losses=schedule.reads_losses,
    )


def factor_on_plateau(
    series: Iterable[float], *, patience: int, factor: float, threshold: float = 1e-4
) -> float:
    """Return the factor on the learning rate after a series of losses.

    Whenever more than `patience` losses in a row are not better than the best one before, the
    factor is multiplied by `factor` and counting restarts.

    Parameters
    ----------
    series : iterable of float
        The losses so far, in order.
    patience : int
        The number of losses without improvement that are tolerated, 0 or more.
    factor : float
        The factor for each reduction, between 0 and 1.
    threshold : float, default 1e-4
        The relative improvement that a better loss needs, 0 or more.

    Returns
    -------
    float
        The product of the reductions.

    Raises
    ------
    InputError
        For a value out of range.

    Notes
    -----
    The whole series is read each time, so a resumed run needs no state. The rule is PyTorch's
    `ReduceLROnPlateau` without its `eps`; for losses below 0 PyTorch applies the threshold in the
    wrong direction.

    References
    ----------
    The rule has no paper of its own; PyTorch's `ReduceLROnPlateau` and Keras's callback of this
    name are its sources.

    Examples
    --------
    >>> from xpmlp.schedules import factor_on_plateau
    >>> factor_on_plateau([1.0, 1.0, 1.0], patience=1, factor=0.5)
    0.5
    """
    _check(factor=factor, above=0.0, below=1.0)
    _check(threshold=threshold)
    patience = check_integer("patience", patience, least=0)
    best, bad, product = math.inf, 0, 1.0
    for loss in series:
        if loss < best * (1.0 - math.copysign(threshold, best)):
            best, bad = loss, 0
        else:
            bad += 1
        if bad > patience:
            product, bad = product * factor, 0
    return product


def _ease(start: float, end: float, share: np.ndarray) -> np.ndarray:
    """Half a cosine from `start` at share 0 to `end` at share 1."""
    wave: np.ndarray = np.cos(np.pi * np.clip(share, 0.0, 1.0))
    return end + (start - end) * 0.5 * (1.0 + wave)


def _check(above: float | None = None, below: float = math.inf, **given: float) -> None:
    """Refuse an option that is not above a limit, or below 0, or not below another limit."""
    for name, value in given.items():
        if above is None:
            check_range(name, value, least=0.0, below=below)
        else:
            check_range(name, value, above=above, below=below)


def __getattr__(name: str) -> Any:
    return globals()[renamed.attribute(__name__, name)]
