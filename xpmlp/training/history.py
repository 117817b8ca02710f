"""The history of a run: training loss and metric, and the validation series."""

import copy
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from xpmlp.checks import nearest
from xpmlp.display import as_html
from xpmlp.errors import InputError
from xpmlp.habits import HabitHints, no_attribute
from xpmlp.training.metrics import METRICS


@dataclass(repr=False)
class History(HabitHints):
    """The series of a run; with E members each entry has E values.

    `history[name]` returns a series as an array: `loss` of each iteration, `accuracy` of each
    epoch, and `validation_iteration`, `validation_loss` and `validation_accuracy` of each
    evaluation. For a regression they are `r2` and `validation_r2`.

    Parameters
    ----------
    losses : list of ndarray, default []
        The training loss of each iteration.
    accuracies : list of ndarray, default []
        The training accuracy of each epoch, R² for a regression.
    validation_iterations : list of int, default []
        The iteration after which each evaluation was made.
    validation_losses : list of ndarray, default []
        The validation loss of each evaluation.
    validation_accuracies : list of ndarray, default []
        The validation accuracy of each evaluation, R² for a regression.
    metric : str, default 'accuracy'
        The name of the metric, `r2` for a regression.

    Examples
    --------
    >>> run = xpmlp.train(xpmlp.MLP((2, 2)), np.eye(2), [0, 1], epochs=3, verbose=0)
    >>> run.history["loss"].shape, list(run.history)
    ((3,), ['loss', 'accuracy'])
    """

    losses: list[np.ndarray] = field(default_factory=list)
    accuracies: list[np.ndarray] = field(default_factory=list)
    validation_iterations: list[int] = field(default_factory=list)
    validation_losses: list[np.ndarray] = field(default_factory=list)
    validation_accuracies: list[np.ndarray] = field(default_factory=list)
    metric: str = "accuracy"

    def __getattr__(self, name: str) -> np.ndarray:
        """Return the metric of each epoch by its own name, `accuracy` or `r2`."""
        if name not in METRICS:
            raise no_attribute(self, name)
        try:
            return self[name]
        except InputError as error:
            raise AttributeError(str(error)) from None

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a series by name: `loss` of each iteration, `accuracy` (`r2`) of each epoch, and
        `validation_iteration`, `validation_loss` and `validation_accuracy` of each evaluation."""
        try:
            return self.series[name]
        except KeyError:
            raise InputError(
                f"history[{name!r}]: {nearest(name, self.series)}use {', '.join(self.series)}"
            ) from None

    @property
    def series(self) -> dict[str, np.ndarray]:
        """Each series by name."""
        return {"loss": self.loss, self.metric: np.asarray(self.accuracies), **self.validation}

    def keys(self) -> Iterable[str]:
        """Return the names of the series.

        Returns
        -------
        iterable of str
            The names.
        """
        return self.series.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.series)

    def __contains__(self, name: object) -> bool:
        return name in self.series

    def __repr__(self) -> str:
        shown = (f"{name} {len(values)}" for name, values in self.series.items())
        return f"History({', '.join(shown)})"

    def _repr_html_(self) -> str:
        counts = {name: f"{len(values):,} values" for name, values in self.series.items()}
        return as_html(counts, self.loss)

    def copy(self) -> "History":
        """Return an independent copy.

        Returns
        -------
        History
            The copy.
        """
        return History(**{name: copy.copy(one) for name, one in vars(self).items()})

    def add_evaluation(self, iteration: int, loss: np.ndarray, accuracy: np.ndarray) -> None:
        """Append an evaluation on the validation set.

        Parameters
        ----------
        iteration : int
            The number of steps done.
        loss : ndarray
            The validation loss, a scalar or (E,).
        accuracy : ndarray
            The validation accuracy, R² for a regression, of the same shape.
        """
        self.validation_iterations.append(iteration)
        self.validation_losses.append(np.asarray(loss))
        self.validation_accuracies.append(np.asarray(accuracy))

    @property
    def loss(self) -> np.ndarray:
        """The training loss of each iteration, (iterations,) or (iterations, E)."""
        return np.asarray(self.losses)

    @property
    def validation(self) -> dict[str, np.ndarray]:
        """The validation series by name; empty without any."""
        if not self.validation_iterations:
            return {}
        return {
            "validation_iteration": np.asarray(self.validation_iterations),
            "validation_loss": np.asarray(self.validation_losses),
            f"validation_{self.metric}": np.asarray(self.validation_accuracies),
        }

    def epoch_losses(self, epochs: int, steps_per_epoch: int, *, is_validated: bool) -> list[float]:
        """Return the losses that a plateau schedule sees, means over members.

        Members that have diverged are left out. A run that is resumed within an epoch sees the
        same.

        Parameters
        ----------
        epochs : int
            The number of finished epochs.
        steps_per_epoch : int
            The number of steps in an epoch.
        is_validated : bool
            Whether to return validation losses, else the mean training loss of each epoch.

        Returns
        -------
        list of float
            The losses known after these epochs.
        """
        begun = epochs * steps_per_epoch
        if is_validated:
            evaluations = zip(self.validation_iterations, self.validation_losses, strict=True)
            return [finite_mean(loss) for iteration, loss in evaluations if iteration <= begun]
        starts = range(0, begun, steps_per_epoch)
        epochs_of = (self.losses[start : start + steps_per_epoch] for start in starts)
        return [finite_mean(losses) for losses in epochs_of]


def smoothed(series: np.ndarray, deviation: float) -> np.ndarray:
    """A series (n,) averaged over what stands before and after, with Gaussian weights: unlike a
    mean of what stands before, it does not lag behind."""
    offsets = np.arange(-math.ceil(3.0 * deviation), math.ceil(3.0 * deviation) + 1)
    kernel = np.exp(-0.5 * (offsets / deviation) ** 2)
    reach = len(offsets) // 2
    here = slice(reach, reach + len(series))
    found: np.ndarray = (
        np.convolve(series, kernel)[here] / np.convolve(np.ones_like(series), kernel)[here]
    )
    return found


def finite_mean(losses: ArrayLike, empty: float = math.inf) -> float:
    """The mean over steps and members: one that diverged says nothing of the others."""
    values = np.asarray(losses, np.float64)
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else empty
