"""The settings of validation and early stopping, and which parameters are better."""

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from xpmlp import renamed
from xpmlp.checks import check_fields, one_of
from xpmlp.data import Split
from xpmlp.display import short_repr
from xpmlp.errors import InputError

MONITORS = ("loss", "accuracy", "r2")


@renamed.with_old_names
@dataclass(frozen=True, repr=False)
class ValidationConfig:
    """The settings of validation, early stopping and the time limit.

    Parameters
    ----------
    validation
        Validation rows, to evaluate the network on after every epoch.
    validate_every
        Evaluate every n steps in place of every epoch; 0 for epochs.
    monitor
        The quantity to improve: the validation loss, or accuracy, for a regression r2.
    patience
        Evaluations without improvement after which the run ends; 0 for never.
    restore_best
        Whether the run ends with the best parameters, each member with its own; of equally
        good ones with the last.
    time_limit
        Seconds of training after which the run ends, in recipes also `10m` or `1h`; a resumed run
        counts its earlier seconds, too.
    allow_divergence
        Whether a member whose loss becomes NaN or infinite leaves the others running; the run ends
        when all have diverged.

    Raises
    ------
    InputError
        For values out of range, and for a setting that needs validation rows without them.

    Examples
    --------
    >>> rows = xpmlp.Split(np.eye(2), np.array([0, 1]))
    >>> xpmlp.ValidationConfig(validation=rows, patience=3).monitor
    'loss'
    """

    validation: Split | None = None
    validate_every: int = 0
    monitor: str = "loss"
    patience: int = 0
    restore_best: bool = False
    time_limit: float = math.inf
    allow_divergence: bool = False

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_fields(self)
        if not isinstance(self.validation, Split | None):
            raise InputError(
                f"validation={self.validation!r:.60}: give a Split here; xpmlp.train takes a "
                "fraction or a pair (X, y), too"
            )
        one_of(MONITORS, monitor=self.monitor)
        limit = self.time_limit
        if isinstance(limit, bool) or not isinstance(limit, numbers.Real) or not limit > 0.0:
            raise InputError(f"time_limit={limit!r:.60}: give seconds, more than 0")
        for name in ("validate_every", "patience", "restore_best"):
            if getattr(self, name) and self.validation is None:
                raise InputError(
                    f"{name}={getattr(self, name)}: needs validation rows; "
                    "give some, such as validation=0.1"
                )

    def cost(self, loss: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
        """Return the monitored quantity, with the sign that makes smaller better.

        Parameters
        ----------
        loss : ndarray
            The validation loss, a scalar or (E,).
        accuracy : ndarray
            The validation accuracy, of the same shape.

        Returns
        -------
        ndarray of float64
            The loss, or minus the accuracy.
        """
        return np.asarray(loss if self.monitor == "loss" else -accuracy, np.float64)

    def best_of(self, losses: Sequence[np.ndarray], accuracies: Sequence[np.ndarray]) -> int:
        """Return the number of the last of the best evaluations, over all members.

        Parameters
        ----------
        losses : sequence of ndarray
            The validation loss of each evaluation.
        accuracies : sequence of ndarray
            The validation accuracy of each evaluation.

        Returns
        -------
        int
            The index, counted from 0. NaN counts as worst.
        """
        costs = [self.cost(*both).mean() for both in zip(losses, accuracies, strict=True)]
        latest_first = np.nan_to_num(costs, nan=np.inf)[::-1]
        return len(costs) - 1 - int(np.argmin(latest_first))

    def has_run_dry(self, costs: Sequence[np.ndarray]) -> bool:
        """Return whether no network improved in the last `patience` evaluations.

        Parameters
        ----------
        costs : sequence of ndarray
            What `cost` returned for each evaluation.

        Returns
        -------
        bool
            Whether none did.
        """
        if not self.patience or len(costs) <= self.patience:
            return False
        before, since = np.asarray(costs[: -self.patience]), np.asarray(costs[-self.patience :])
        return not bool((since.min(axis=0) < before.min(axis=0)).any())


class Best(NamedTuple):
    """The best parameters so far and their cost, on the host.

    Attributes
    ----------
    cost : ndarray
        What `ValidationConfig.cost` returned for them, a scalar or (E,).
    parameters : ndarray of shape (P + S,) or (E, P + S)
        The flat vector.

    Examples
    --------
    >>> from xpmlp.training import Best
    >>> best = Best(np.array(0.5), np.array([1.0]))
    >>> best.or_as_good(np.array(0.4), np.array([2.0])).parameters
    array([2.])
    """

    cost: np.ndarray
    parameters: np.ndarray

    def or_as_good(self, cost: np.ndarray, parameters: np.ndarray) -> "Best":
        """Return the better of both for each member; of equals the others.

        Parameters
        ----------
        cost : ndarray
            The cost of the others.
        parameters : ndarray
            The others.

        Returns
        -------
        Best
            The better ones.
        """
        is_better = (np.asarray(cost) <= self.cost) | np.isnan(self.cost)
        return Best(
            np.where(is_better, cost, self.cost),
            np.where(is_better[..., None], parameters, self.parameters),
        )
