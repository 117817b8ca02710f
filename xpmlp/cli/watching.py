"""What the command line has to say, and to hear, while a run trains."""

import math
import signal
from types import FrameType
from typing import Any

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from xpmlp.cli.console import errors
from xpmlp.training import Observer, StopTraining, Training


class Interruption(Observer):
    """Turns the first Ctrl-C or SIGTERM into the end of the run after the step it is at.

    A context manager; inside it, the second signal acts as if this were not there. `status` is
    the exit status that a signal asks for, 130 or 143, or 0 without one.
    """

    def __init__(self) -> None:
        self.status = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, action in self._before.items():
            signal.signal(number, action)

    def _hear(self, number: int, _: FrameType | None) -> None:
        self.status = 128 + number
        for each, action in self._before.items():
            signal.signal(each, action)

    def on_tick(self, training: Training, /) -> None:
        if self.status:
            raise StopTraining


class ProgressBar(Observer):
    """A bar on the terminal: epoch, loss, accuracy, samples per second, time left."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.fields[measures]}"),
            TimeRemainingColumn(),
            console=errors(),
        )
        self._task = self._progress.add_task("", total=None, epoch="", measures="")

    def on_start(self, training: Training, /) -> None:
        self.on_tick(training)
        self._progress.start()

    def on_tick(self, training: Training, /) -> None:
        self._progress.update(
            self._task,
            total=training.epochs * training.steps_per_epoch,
            completed=training.iteration,
            epoch=f"{min(training.epoch + 1, training.epochs)}/{training.epochs}",
            measures=_measures(training),
        )

    def on_epoch(self, training: Training, /) -> None:
        self.on_tick(training)

    def on_end(self, _: Training, /) -> None:
        self.stop()

    def stop(self) -> None:
        """Give the terminal back; also for a run that ends without its end."""
        self._progress.stop()


class ProgressLines(Observer):
    """A line for each epoch, for pipes and files."""

    def on_epoch(self, training: Training, /) -> None:
        errors().print(f"epoch {training.epoch}/{training.epochs}  {_measures(training)}")


def _measures(training: Training) -> str:
    """Loss of the last step, accuracy of the epoch so far or just done, samples per second."""
    history = training.history
    parts = []
    if history.losses:
        parts.append(f"loss {_mean(history.losses[-1]):.4f}")
    if training.step:
        share = training.correct.mean() / (training.step * training.batch_size)
        parts.append(f"accuracy {share:.4f}")
    elif history.accuracies:
        parts.append(f"accuracy {history.accuracies[-1].mean():.4f}")
    if training.seconds and training.iteration:
        rate = training.iteration * training.batch_size / training.seconds
        parts.append(f"{rate:,.0f} samples/s")
    return "  ".join(parts)


def _mean(losses: np.ndarray) -> float:
    """Over the members that have a loss: one that diverged says nothing of the others."""
    finite = np.asarray(losses)[np.isfinite(losses)]
    return float(finite.mean()) if finite.size else math.nan
