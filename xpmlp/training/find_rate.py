"""Which learning rate to begin with: a short run whose rate rises until the loss explodes.

Source: Smith 2017, "Cyclical learning rates for training neural networks", section 3.3: a range
of rates, from where the loss falls to where it no longer does. The rate proposed is the upper end.
The steepest point, which Lightning suggests, and a tenth of the minimum's rate, which fastai did,
were mostly beaten by ten times themselves on the data sets of the tests.
"""

import contextlib
import functools
import math
import sys
from dataclasses import dataclass

import numpy as np

from xpmlp.checks import check_integer, check_kind, plain, shown
from xpmlp.display import short_repr
from xpmlp.errors import Diverged, InputError, remedy
from xpmlp.schedules import Schedule
from xpmlp.training.callbacks import Callback, StopTraining
from xpmlp.training.history import smoothed
from xpmlp.training.trainer import Trainer
from xpmlp.training.validation_config import ValidationConfig

MEAN_LOSS_DECAY = 0.95
"""How much of the mean loss so far stays in it at a step: single batches differ too much."""

EXPLOSION_FACTOR = 4.0
"""The run ends when that mean exceeds its smallest since step `FEWEST_STEPS` by this factor."""

FEWEST_STEPS = 10
"""With fewer steps there is no curve to read from."""

DEFAULT_STEPS_RANGE = 300, 3000
"""Without a number of steps they are those of an epoch, in these limits: a network that sees rows
again memorises them, and no rate is too large any more."""

SMOOTHED_SHARE = 1 / 30
"""The share of the steps that the curve is smoothed over: a standard deviation to either side."""


@dataclass(frozen=True, repr=False)
class RateCurve:
    """The learning rates and losses of `find_rate`.

    Parameters
    ----------
    rates : ndarray of shape (steps,), float64
        The learning rate of each step.
    losses : ndarray of shape (steps,), float64
        The training loss of each step.
    own : float
        The learning rate of the run itself.

    Examples
    --------
    >>> from xpmlp.training.find_rate import RateCurve
    >>> curve = RateCurve(np.geomspace(1e-3, 1, 50), np.linspace(1, 0.1, 50), own=0.03)
    >>> curve.falls, curve.lowest > 0.5
    (True, True)
    """

    rates: np.ndarray
    losses: np.ndarray
    own: float

    __repr__ = short_repr

    @functools.cached_property
    def smoothed(self) -> np.ndarray:
        """The loss smoothed over steps, (steps,)."""
        losses = self.losses
        # What explodes at the end would reach back to where it fell.
        losses = np.minimum(losses, 2.0 * losses[: max(1, len(losses) // 10)].max())
        return smoothed(losses, self._deviation)

    @property
    def _deviation(self) -> float:
        return max(1.0, SMOOTHED_SHARE * len(self.losses))

    @functools.cached_property
    def _standard_error(self) -> float:
        """Of the smoothed loss, as long as it falls."""
        end = max(3, int(self.smoothed.argmin()) + 1)
        # Of neighbours' differences, so that the fall itself is no part of it.
        scatter = float(np.std(np.diff(self.losses[:end]))) / math.sqrt(2.0)
        # A mean with Gaussian weights leaves this part of it.
        return scatter / math.sqrt(2.0 * math.sqrt(math.pi) * self._deviation)

    @property
    def falls(self) -> bool:
        """Whether the smoothed loss falls, by more than chance and by 1 % at least."""
        end = int(self.smoothed.argmin()) + 1
        highest = float(self.smoothed[:end].max())
        fall = highest - float(self.smoothed[end - 1])
        return fall > max(6.0 * self._standard_error, 0.01 * highest)

    @property
    def rises(self) -> bool:
        """Whether the smoothed loss rises again above `lowest`."""
        after = self.smoothed[self._lowest :]
        return bool(after.max() > 1.05 * after[0])

    @functools.cached_property
    def _lowest(self) -> int:
        """The middle step of those whose smoothed loss is within an error of the smallest: the
        smallest itself is anywhere in a flat valley. Of two valleys it is in the first."""
        lowest_so_far = np.minimum.accumulate(self.smoothed)
        rises = self.smoothed > 1.05 * lowest_so_far + 6.0 * self._standard_error
        valley = self.smoothed[: int(rises.argmax()) if rises.any() else None]
        within = np.flatnonzero(valley <= valley.min() + self._standard_error)
        return int(within[len(within) // 2])

    @property
    def lowest(self) -> float:
        """The learning rate at which the smoothed loss is lowest: the proposed one."""
        return float(self.rates[self._lowest])

    @property
    def steepest(self) -> float:
        """The learning rate at which the smoothed loss falls fastest; below `lowest`."""
        falling = self.smoothed[: max(2, self._lowest + 1)]
        return float(self.rates[np.gradient(falling).argmin()])


def find_rate(
    trainer: Trainer, *, lowest: float = 1e-6, highest: float = 10.0, steps: int | None = None
) -> RateCurve:
    """Search for a learning rate by training while it rises from step to step.

    Rows are always shuffled: if they were sorted by class, the loss would follow the classes in
    place of the rate.

    Parameters
    ----------
    trainer : Trainer
        A run that has not started, which is not changed. Its own rate, schedule, validation, order
        of rows and number of epochs do not matter.
    lowest : float, default 1e-6
        The learning rate of the first step, more than 0.
    highest : float, default 10.0
        The learning rate of the last step, more than `lowest`.
    steps : int, optional
        The number of steps, 10 or more; by default those of an epoch, but at least 300 and at most
        3000.

    Returns
    -------
    RateCurve
        The rate and the loss of each step. It ends early if the loss explodes.

    Raises
    ------
    InputError
        For an empty range, too few steps, a loss that explodes at once, and for a run with members.

    References
    ----------
    Smith 2017, Cyclical learning rates for training neural networks, section 3.3.

    Examples
    --------
    >>> from xpmlp.training.find_rate import find_rate
    >>> rows = xpmlp.Split(np.eye(2), np.array([0, 1]))
    >>> numpy = xpmlp.select_backend("numpy")
    >>> trainer = xpmlp.Trainer(xpmlp.MLP((2, 2)), rows, backend=numpy, batch_size=2)
    >>> find_rate(trainer, steps=20).rates.shape
    (20,)
    """
    check_kind("trainer", trainer, Trainer)
    limits = lowest, highest = plain((lowest, highest))
    are_numbers = all(isinstance(one, (int, float)) for one in limits)
    if not (are_numbers and 0.0 < lowest < highest <= sys.float_info.max):
        low, high = (f"{one:g}" if isinstance(one, float) else shown(one) for one in limits)
        raise InputError(f"rates from {low} to {high}: give two numbers, the smaller first")
    if steps is None:
        steps = min(max(DEFAULT_STEPS_RANGE[0], trainer.steps_per_epoch), DEFAULT_STEPS_RANGE[1])
    steps = check_integer("steps", steps, least=FEWEST_STEPS)
    if trainer.state.parameters.ndim > 1:
        wanted = remedy("train with one seed", "leave --members out")
        raise InputError(f"a learning rate is found for one network; {wanted}")
    rates = np.geomspace(lowest, highest, steps)
    watch = _Watch(steps)
    run = Trainer(
        trainer.model,
        trainer.split,
        parameters=trainer.parameters,
        backend=trainer.backend,
        config=trainer.config,
        sample_weights=trainer.batches.weights,  # with those of the classes
        class_weights=(),
        learning_rate=highest,
        schedule=Schedule("rising", lambda now: rates[np.minimum(now.step, steps - 1)] / highest),
        warm_up=0.0,
        validation_config=ValidationConfig(),
        epochs=math.ceil(steps / trainer.steps_per_epoch),
        shuffle=True,
        threads=trainer.threads.number,
    )
    with contextlib.suppress(Diverged):
        run.run([watch])
    count = len(watch.losses)
    if count < FEWEST_STEPS:
        raise InputError(
            f"the loss explodes within {count + 1} steps, at a rate of {rates[count]:.2g}: "
            "begin with a smaller one"
        )
    own = float(np.asarray(trainer.optimizer_config.learning_rate))
    return RateCurve(rates[:count], np.asarray(watch.losses, np.float64), own)


class _Watch(Callback):
    """Keeps the losses and ends the run when they explode."""

    every = 1

    def __init__(self, steps: int) -> None:
        self.losses: list[float] = []
        self._steps = steps
        self._mean = 0.0
        self._smallest = math.inf

    def on_tick(self, trainer: Trainer, /) -> None:
        self.losses.append(float(trainer.history.losses[-1]))
        self._mean = MEAN_LOSS_DECAY * self._mean + (1.0 - MEAN_LOSS_DECAY) * self.losses[-1]
        # Begun at 0, the mean is too small by what it still has of that.
        mean = self._mean / (1.0 - MEAN_LOSS_DECAY ** len(self.losses))
        if len(self.losses) >= FEWEST_STEPS:  # one small batch may happen to have next to no loss
            self._smallest = min(self._smallest, mean)
        if len(self.losses) >= self._steps or mean > EXPLOSION_FACTOR * self._smallest:
            raise StopTraining
