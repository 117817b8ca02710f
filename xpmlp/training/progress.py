"""How a run comes along, on a terminal, in a notebook, or line by line in a pipe or a file."""

import math
from collections import deque
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from xpmlp.display import print_line, print_row
from xpmlp.training.callbacks import Callback
from xpmlp.training.history import finite_mean
from xpmlp.training.metrics import METRICS, kind_of
from xpmlp.training.trainer import Trainer

CELLS, LINES = 30, 100
"""Characters of a notebook's bar, and the epochs shown above it: each change sends them all."""


class Progress(Callback):
    """Show epoch, loss, accuracy, speed and the time left while a run trains.

    Parameters
    ----------
    console
        Where it is written, by default standard error. Each epoch leaves a line; a terminal and a
        notebook show a moving bar below them.
    advises
        Whether a run that ends at chance level says so, and what to try.
    """

    def __init__(self, console: Console | None = None, *, advises: bool = True) -> None:
        self._advises = advises
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._cell: Any = None
        self._lines = deque[str](maxlen=LINES)
        self._bar = Bar(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.fields[measures]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, epoch="", measures="")

    @property
    def moves(self) -> bool:
        """Whether there is a bar: a notebook has one, and a terminal that can redraw a line."""
        console = self._console
        return bool(console.is_jupyter or (console.is_terminal and not console.is_dumb_terminal))

    def on_start(self, trainer: Trainer, /) -> None:
        if self._console.is_jupyter:
            from IPython.display import display

            self._cell = display({"text/plain": ""}, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        self.on_tick(trainer)
        if self._cell is None and self.moves:
            self._bar.start()

    def on_tick(self, trainer: Trainer, /) -> None:
        total = trainer.epochs * trainer.steps_per_epoch
        epoch = f"{min(trainer.epoch + 1, trainer.epochs)}/{trainer.epochs}"
        if self._cell is not None:
            full = CELLS * trainer.iteration // max(1, total)
            drawn = "━" * full + " " * (CELLS - full)
            text = f"epoch {epoch} {drawn} {measures(trainer)}"
            self._cell.update({"text/plain": "\n".join([*self._lines, text])}, raw=True)
        elif self.moves:
            self._bar.update(
                self._task,
                total=total,
                completed=trainer.iteration,
                epoch=epoch,
                measures=measures(trainer),
            )

    def on_epoch(self, trainer: Trainer, /) -> None:
        line = f"epoch {trainer.epoch}/{trainer.epochs}  {measures(trainer)}"
        if self._cell is None:
            print_row(self._console, line)
        else:
            self._lines.append(line)
        self.on_tick(trainer)

    def on_end(self, trainer: Trainer, /) -> None:
        self.stop()
        if self._advises and (advice := advice_at_chance_level(trainer)):
            print_line(self._console, advice)

    def stop(self) -> None:
        """Give the terminal back, also after an error."""
        if self._bar.live.is_started:
            self._bar.stop()


def advice_at_chance_level(trainer: Trainer) -> str:
    """Return what to try where a network is no better than the commonest class; else nothing.

    Its rows are predicted once more, unless the last epoch's own accuracy shows that it learns.
    """
    labels, accuracies = trainer.split.labels, trainer.history.accuracies
    if (
        not accuracies
        or kind_of(trainer.model) not in ("binary", "multiclass")
        or trainer.batches.weights is not None
        or not isinstance(labels, np.ndarray)
        or labels.size != len(labels)
    ):
        return ""
    share = np.unique(labels, return_counts=True)[1].max() / len(labels)
    if share == 1.0 or accuracies[-1].mean() > share:
        return ""
    accuracy = trainer.evaluate(trainer.split).accuracy.mean()
    if accuracy > share:
        return ""
    return (
        f"accuracy {accuracy:.2%} on the training rows: no better than always predicting the most "
        f"frequent class ({share:.2%}); try more epochs, another learning rate, inputs scaled to "
        "0..1, or for a ReLU the initializer he_normal"
    )


def measures(trainer: Trainer) -> str:
    """Return mean loss and metric of the epoch so far or just finished, and rows per second."""
    history, steps = trainer.history, trainer.step or trainer.steps_per_epoch
    score = METRICS[history.metric].label
    parts = []
    if history.losses:
        parts.append(f"loss {finite_mean(history.losses[-steps:], math.nan):.4f}")
    if trainer.step:
        share = trainer.metric_sum.mean() / (trainer.step * trainer.batch_size)
        parts.append(f"{score} {share:.4f}")
    elif history.accuracies:
        parts.append(f"{score} {history.accuracies[-1].mean():.4f}")
    if not trainer.step and history.validation_losses:
        parts.append(f"val loss {finite_mean(history.validation_losses[-1:], math.nan):.4f}")
    if trainer.seconds and trainer.iteration:
        rate = trainer.iteration * trainer.batch_size / trainer.seconds
        parts.append(f"{rate:,.0f} samples/s")
    return "  ".join(parts)
