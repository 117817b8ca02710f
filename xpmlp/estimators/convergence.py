"""scikit-learn's convergence, checked after every epoch: its loss curve, its
validation scores, its stop, and its adaptive learning rate.

Members are watched each for itself: a converged one is kept as it was then, and the
run ends when all have.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from xpmlp.training import Callback, Trainer
from xpmlp.training.progress import Progress

SLOWEST, SLOWER = 1e-6, 5.0
"""An adaptive learning rate is divided by the second until it is below the first."""


def progress_bars(estimator: Any) -> list[Progress]:
    """Return the bar that `verbose` asks for, if one can move; 2 asks for lines."""
    if int(estimator.verbose) != 1:
        return []
    bar = Progress(Console(file=sys.stdout))
    return [bar] if bar.moves else []


class Convergence(Callback):
    """Keeps an estimator's record up to date, calls its functions, and ends its run.

    `score` gives the validation score of flat parameters on the host, None without validation;
    with `early_stopping` it counts in place of the training loss. The estimator predicts with the
    parameters of the moment when `functions` get it. Of each member, `losses` has one an epoch,
    `epochs` how many it learned in, and `kept` what it was when it was done.
    """

    def __init__(
        self,
        estimator: Any,
        score: Callable[[np.ndarray], float] | None,
        functions: Sequence[Callable[[Any], object]] = (),
        *,
        is_planned: bool,
        prints: bool,
    ) -> None:
        self.estimator = estimator
        self.kept: np.ndarray = estimator._learned.parameters
        self.is_done = np.zeros(self.kept.shape[:-1], bool)
        self.epochs = np.zeros(self.is_done.shape, np.int64)
        self.losses: list[np.ndarray] = []
        self._score, self._functions, self._prints = score, functions, prints
        self._stops = estimator.early_stopping or not is_planned

    def on_epoch(self, trainer: Trainer, /) -> None:
        estimator = self.estimator
        losses = self._loss_of_epoch(trainer)
        self.losses.append(losses)
        estimator.n_iter_ += 1
        self.epochs = np.where(self.is_done, self.epochs, estimator.n_iter_)
        estimator.t_ += trainer.row_count
        estimator.loss_ = float(losses.mean())
        estimator.loss_curve_.append(estimator.loss_)
        if trainer.history.validation_losses:
            found = trainer.history.validation_losses[-1]
            estimator.validation_loss_curve_.append(float(found.mean()))
        self._print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        counts = self._count(trainer, losses)
        if self._score is not None:
            self._print(f"Validation score: {estimator.validation_scores_[-1]:f}")
        if self._stops:
            self._stop(trainer, counts > estimator.n_iter_no_change)
        if self._functions:
            estimator._set_parameters(trainer.backend.to_numpy(trainer.parameters))
        for function in self._functions:
            function(estimator)

    def _loss_of_epoch(self, trainer: Trainer) -> np.ndarray:
        """The mean over rows: a smaller last batch counts less."""
        steps, batch = trainer.steps_per_epoch, trainer.batch_size
        rows = np.full(steps, float(batch))
        rows[-1] = min(batch, trainer.row_count - batch * (steps - 1))
        losses = np.asarray(trainer.history.losses[-steps:], np.float64)
        mean: np.ndarray = np.asarray(np.tensordot(rows, losses, axes=1) / rows.sum())
        return mean

    def _count(self, trainer: Trainer, losses: np.ndarray) -> np.ndarray:
        """For how many epochs in a row each member has not got better by `tol`."""
        estimator, learned = self.estimator, self.estimator._learned
        costs, before = losses, learned.best_losses
        if self._score is not None:
            vectors = trainer.backend.to_numpy(trainer.parameters)
            found = [self._score(vector) for vector in vectors.reshape(-1, vectors.shape[-1])]
            scores, best_scores = np.array(found).reshape(losses.shape), learned.best_scores
            is_better = scores > best_scores  # of equals scikit-learn keeps the first
            learned.best_scores = np.where(is_better, scores, best_scores)
            learned.best_parameters = np.where(
                is_better[..., None], vectors, learned.best_parameters
            )
            estimator.validation_scores_.append(float(scores.mean()))
            estimator.best_validation_score_ = float(learned.best_scores.mean())
        if estimator.early_stopping:
            costs, before = -scores, -best_scores
        else:
            learned.best_losses = np.fmin(losses, before)
            estimator.best_loss_ = float(learned.best_losses.mean())
        counts = learned.no_improvement_count
        learned.no_improvement_count = np.where(costs > before - estimator.tol, counts + 1, 0)
        return np.asarray(learned.no_improvement_count)

    def _stop(self, trainer: Trainer, is_stuck: np.ndarray) -> None:
        """End the run where all are stuck, or reduce the learning rate of the stuck ones."""
        estimator, learned = self.estimator, self.estimator._learned
        is_stuck = is_stuck & ~self.is_done
        if not is_stuck.any():
            return
        measure = "Validation score" if estimator.early_stopping else "Training loss"
        reason = (
            f"{measure} did not improve more than tol={estimator.tol:f} for "
            f"{estimator.n_iter_no_change} consecutive epochs."
        )
        if estimator.solver == "sgd" and estimator.learning_rate == "adaptive":
            rates = np.broadcast_to(learned.rate, is_stuck.shape)
            goes_on = is_stuck & (rates > SLOWEST)
            if goes_on.any():
                learned.rate = np.where(goes_on, rates / SLOWER, rates)
                trainer.set_learning_rate(learned.rate)
                counts = learned.no_improvement_count
                learned.no_improvement_count = np.where(goes_on, 0, counts)
                self._print(f"{reason} Setting learning rate to {learned.rate.min():f}")
            is_stuck = is_stuck & ~goes_on
            reason += " Learning rate too small."
        if is_stuck.any():
            vectors = trainer.backend.to_numpy(trainer.parameters)
            self.kept = np.where(is_stuck[..., None], vectors, self.kept)
            self.is_done = self.is_done | is_stuck
        if self.is_done.all():
            self._print(f"{reason} Stopping.")
            trainer.stop(reason)

    def _print(self, line: str) -> None:
        """On standard output, where scikit-learn prints its own."""
        if self._prints:
            sys.stdout.write(line + "\n")
