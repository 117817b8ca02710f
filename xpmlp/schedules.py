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

from xpmlp.checks import check_integer, check_range
from xpmlp.errors import InputError

TINY = 1e-9
"""Far below any number of steps, for a phase of none."""


class Times(NamedTuple):
    """Steps t of a run of `total`, T, and what was measured before the first of them."""

    step: np.ndarray
    total: int
    steps_per_epoch: int
    losses: Sequence[float] = ()

    @property
    def epoch(self) -> np.ndarray:
        """t // steps_per_epoch."""
        return self.step // self.steps_per_epoch

    @property
    def share(self) -> np.ndarray:
        """t/T, and 1 after the end."""
        return np.minimum(self.step / self.total, 1.0)


@dataclass(frozen=True)
class Schedule:
    """A schedule by name: `schedule(steps, total=T, steps_per_epoch=...)` gives the factors.

    `options` are its settings by name.
    """

    name: str
    factor: Callable[[Times], np.ndarray] = field(repr=False)
    options: tuple[tuple[str, Any], ...] = ()

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value}' for name, value in self.options)})"

    def __call__(
        self, steps: np.ndarray, *, total: int, steps_per_epoch: int, losses: Sequence[float] = ()
    ) -> np.ndarray:
        """The factors, float64, at these steps of a run of `total`; a plateau needs the losses."""
        return self.factor(Times(np.asarray(steps), total, steps_per_epoch, losses))


def constant() -> Schedule:
    """1 throughout."""
    return Schedule("constant", lambda times: np.ones(times.step.shape))


def step(*, decay_every: int = 10, decay_factor: float = 0.1) -> Schedule:
    """decay_factor ^ (epoch // decay_every), with `decay_every` in epochs."""
    _check(decay_factor=decay_factor, above=0.0)
    decay_every = check_integer("decay_every", decay_every, least=1)
    options = ("decay_every", decay_every), ("decay_factor", decay_factor)
    return Schedule(
        "step", lambda times: float(decay_factor) ** (times.epoch // decay_every), options
    )


def exponential(*, decay_factor: float = 0.95) -> Schedule:
    """decay_factor ^ epoch."""
    _check(decay_factor=decay_factor, above=0.0)
    options = (("decay_factor", decay_factor),)
    return Schedule("exponential", lambda times: float(decay_factor) ** times.epoch, options)


def cosine(*, final_factor: float = 0.0) -> Schedule:
    """Half a cosine from 1 at t = 0 to final_factor at t = T, just after the last step.

    final_factor + (1 - final_factor) (1 + cos(π t/T)) / 2

    Source: Loshchilov and Hutter 2017, SGDR, equation 5, without restarts.
    """
    _check(final_factor=final_factor)
    options = (("final_factor", final_factor),)
    return Schedule("cosine", lambda times: _ease(1.0, final_factor, times.share), options)


def one_cycle(
    *, peak_at: float = 0.3, initial_factor: float = 0.04, final_factor: float = 4e-6
) -> Schedule:
    """Half a cosine from initial_factor up to 1, and half a cosine down to final_factor.

    The peak is at t = peak_at T - 1, the end at t = T - 1; the base rate is that of the peak.

    Source: Smith and Topin 2018, Super-convergence, in PyTorch's form; the defaults are its
    `div_factor=25, final_div_factor=1e4`.
    """
    _check(initial_factor=initial_factor, final_factor=final_factor)
    _check(peak_at=peak_at, above=0.0, below=1.0)

    def factor(times: Times) -> np.ndarray:
        # A run too short to rise begins at the peak; PyTorch begins beyond it, or divides by 0.
        peak = max(peak_at * times.total - 1.0, 0.0)
        rise = times.step / max(peak, TINY)
        fall = (times.step - peak) / max(times.total - 1.0 - peak, TINY)
        return np.where(
            times.step < peak, _ease(initial_factor, 1.0, rise), _ease(1.0, final_factor, fall)
        )

    options = (
        ("peak_at", peak_at), ("initial_factor", initial_factor), ("final_factor", final_factor)
    )  # fmt: skip
    return Schedule("one_cycle", factor, options)


def inverse_scaling(*, power: float = 0.5) -> Schedule:
    """1 / (t + 1)^power.

    Source: Robbins and Monro 1951, whose conditions hold for 1/2 < power <= 1. scikit-learn's
    `invscaling` counts rows in place of steps.
    """
    _check(power=power)
    options = (("power", power),)
    return Schedule("inverse_scaling", lambda times: (times.step + 1.0) ** -float(power), options)


def cosine_log() -> Schedule:
    """Four cosine waves, each twice as long as the one before: (1 - cos(2π log2(1 + 15 t/T))) / 2.

    It begins at 0, so the first step moves nothing.

    Source: Holzmüller, Grinsztajn and Steinwart 2024, Better by default, `coslog4`.
    """

    def factor(times: Times) -> np.ndarray:
        wave: np.ndarray = np.cos(2.0 * np.pi * np.log2(1.0 + 15.0 * times.share))
        return 0.5 * (1.0 - wave)

    return Schedule("cosine_log", factor)


def plateau(*, plateau_patience: int = 5, plateau_factor: float = 0.1) -> Schedule:
    """The learning rate falls by `factor` when more than `patience` evaluations in a row brought
    nothing better.

    They are those of the validation loss, or without validation the mean losses of epochs.
    """
    _check(plateau_patience=plateau_patience)
    _check(plateau_factor=plateau_factor, above=0.0, below=1.0)

    def factor(times: Times) -> np.ndarray:
        fallen = factor_on_plateau(times.losses, patience=plateau_patience, factor=plateau_factor)
        return np.full(times.step.shape, fallen)

    options = ("plateau_patience", plateau_patience), ("plateau_factor", plateau_factor)
    return Schedule("plateau", factor, options)


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
    """A schedule times min((t+1)/steps, 1), a line from 1/steps at the first step up to 1.

    The schedule's own time runs on below it: it is neither shifted nor shortened.

    Source: Goyal et al. 2017, Accurate, large minibatch SGD, section 2.2.
    """
    if type(steps) is not int or steps < 1:
        raise InputError(f"warm_up of {steps} steps: give an integer of at least 1")
    return Schedule(
        f"{schedule.name} after warm-up",
        lambda times: schedule.factor(times) * np.minimum((times.step + 1.0) / steps, 1.0),
    )


def factor_on_plateau(
    series: Iterable[float], *, patience: int, factor: float, threshold: float = 1e-4
) -> float:
    """What a series of validation losses has brought the learning rate down to.

    A loss is better if it is below the best by more than `threshold` of that. When more than
    `patience` in a row were no better, the rate is multiplied by `factor` and counting starts
    anew. As the whole series is replayed, a run that is resumed needs no state. This is PyTorch's
    `ReduceLROnPlateau`, but for its `eps` and for losses below 0, whose threshold it has the
    wrong way round.
    """
    _check(factor=factor, above=0.0, below=1.0)
    _check(threshold=threshold, patience=patience)
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
