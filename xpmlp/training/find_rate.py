"""Which learning rate to begin with: a short run whose rate rises until the loss explodes.

Source: Smith 2017, "Cyclical learning rates for training neural networks", section 3.3.
"""

import contextlib
import dataclasses
import functools
import math
from dataclasses import dataclass

import numpy as np

from xpmlp.errors import Diverged, InputError
from xpmlp.schedules import Schedule, Times
from xpmlp.training.callbacks import Callback, StopTraining
from xpmlp.training.control import Control
from xpmlp.training.history import smoothed
from xpmlp.training.trainer import Trainer

MEMORY = 0.95
"""How much of the mean loss so far stays in it at a step: single batches differ too much."""

EXPLODED = 4.0
"""The run ends when that mean is so many times its smallest."""

FEWEST = 10
"""With fewer steps there is no curve to read from."""

SHARE = 1 / 30
"""The share of the steps that the curve is smoothed over: a standard deviation to either side."""


@dataclass(frozen=True)
class RateCurve:
    """What `find_rate` saw: the rate of each step, and the loss there, (steps,)."""

    rates: np.ndarray
    losses: np.ndarray

    @functools.cached_property
    def smoothed(self) -> np.ndarray:
        """The loss without its scatter."""
        losses = self.losses
        # What explodes at the end would reach back to where it fell.
        losses = np.minimum(losses, 2.0 * losses[: max(1, len(losses) // 10)].max())
        return smoothed(losses, self._deviation)

    @property
    def _deviation(self) -> float:
        return max(1.0, SHARE * len(self.losses))

    @property
    def falls(self) -> bool:
        """Whether the smoothed loss falls by more than chance lets it, and by 1 % at least."""
        end = int(self.smoothed.argmin()) + 1
        highest = float(self.smoothed[:end].max())
        fall = highest - float(self.smoothed[end - 1])
        # Of neighbours' differences, so that the fall itself is no part of it.
        scatter = float(np.std(np.diff(self.losses[: max(3, end)]))) / math.sqrt(2.0)
        # So much of it is left by a mean with Gaussian weights.
        scatter /= math.sqrt(2.0 * math.sqrt(math.pi) * self._deviation)
        return fall > max(6.0 * scatter, 0.01 * highest)

    @property
    def rises(self) -> bool:
        """Whether it rises again."""
        after = self.smoothed[int(self.smoothed.argmin()) :]
        return bool(after[-1] > 1.05 * after[0])

    @property
    def lowest(self) -> float:
        """The rate at which the smoothed loss was smallest."""
        return float(self.rates[self.smoothed.argmin()])

    @property
    def steepest(self) -> float:
        """The rate at which the smoothed loss fell fastest, by the logarithm of the rate."""
        falling = self.smoothed[: max(2, int(self.smoothed.argmin()) + 1)]
        return float(self.rates[np.gradient(falling).argmin()])


def find_rate(
    training: Trainer, *, lowest: float = 1e-6, highest: float = 10.0, steps: int = 300
) -> RateCurve:
    """Train for a few hundred steps with a rate that rises from step to step, and look.

    `training` is a run that has not begun; its own rate, schedule, validation and number of epochs
    do not matter, and it is not changed. Raises `InputError` for a range that is none, and for
    members: each would have a curve of its own.
    """
    if not 0.0 < lowest < highest < math.inf:
        raise InputError(f"rates from {lowest:g} to {highest:g}: give two, the smaller first")
    if steps < FEWEST:
        raise InputError(f"steps={steps}: give at least {FEWEST}")
    if training.state.parameters.ndim > 1:
        raise InputError("a learning rate is found for one network; leave --members out")
    rates = np.geomspace(lowest, highest, steps)

    def rising(times: Times) -> np.ndarray:
        factors: np.ndarray = rates[np.minimum(times.step, steps - 1)] / highest
        return factors

    descent = dataclasses.replace(
        training.descent,
        learning_rate=highest,
        schedule=Schedule("rising", rising),
        warm_up=0.0,
        plateau=None,
    )
    watch = _Watch(steps)
    run = Trainer.begin(
        training.model,
        training.split,
        parameters=training.parameters,
        backend=training.backend,
        config=training.config,
        orders=training.batches.orders,
        sample_weights=training.batches.weights,  # with those of the classes
        class_weights=(),
        descent=descent,
        control=Control(),
        epochs=math.ceil(steps / training.steps_per_epoch),
        threads=training.threads.number,
    )
    with contextlib.suppress(Diverged):
        run.run([watch])
    count = len(watch.losses)
    if count < FEWEST:
        raise InputError(
            f"the loss explodes within {count + 1} steps, at a rate of {rates[count]:.2g}: "
            "begin with a smaller one"
        )
    return RateCurve(rates[:count], np.asarray(watch.losses, np.float64))


class _Watch(Callback):
    """Keeps the losses and ends the run when they explode."""

    every = 1

    def __init__(self, steps: int) -> None:
        self.losses: list[float] = []
        self._steps = steps
        self._mean = 0.0
        self._smallest = math.inf

    def on_tick(self, training: Trainer, /) -> None:
        self.losses.append(float(training.history.losses[-1]))
        self._mean = MEMORY * self._mean + (1.0 - MEMORY) * self.losses[-1]
        # Begun at 0, the mean is too small by what it still has of that.
        mean = self._mean / (1.0 - MEMORY ** len(self.losses))
        self._smallest = min(self._smallest, mean)
        if len(self.losses) >= self._steps or mean > EXPLODED * self._smallest:
            raise StopTraining
