"""What `verbose` shows: a bar on a terminal, else lines as scikit-learn has them."""

import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from xpmlp.training import Callback, Trainer


def shows_bar(estimator: Any) -> bool:
    """Whether `verbose` asks for a bar and there is a terminal for it; 2 asks for lines."""
    return bool(estimator.verbose) and int(estimator.verbose) == 1 and sys.stdout.isatty()


def say(estimator: Any, text: str, *, has_bar: bool = True) -> None:
    """A line on standard output, where scikit-learn prints its own, if any is asked for and no bar
    says it."""
    if estimator.verbose and not (has_bar and shows_bar(estimator)):
        sys.stdout.write(text + "\n")


class Bar(Callback):
    """Epochs done, the loss, the validation score, the time left if all of them are needed."""

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator
        self._bar = Progress(
            TextColumn("epoch {task.completed}/{task.total}"),
            BarColumn(),
            TextColumn("{task.fields[measures]}"),
            TimeRemainingColumn(),
            console=Console(file=sys.stdout),
        )
        self._task = self._bar.add_task("", total=None, measures="")

    def on_start(self, training: Trainer, /) -> None:
        self._bar.update(self._task, total=training.epochs)
        self._bar.start()

    def on_epoch(self, training: Trainer, /) -> None:
        measures = f"loss {self._estimator.loss_:.4f}"
        if self._estimator.validation_scores_:
            measures += f"  validation {self._estimator.validation_scores_[-1]:.4f}"
        self._bar.update(self._task, completed=training.epoch, measures=measures)

    def stop(self) -> None:
        """Give the terminal back; also for a run that ends without its end."""
        self._bar.stop()
