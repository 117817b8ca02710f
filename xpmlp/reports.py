"""Pictures of a run, drawn from its history alone."""

from pathlib import Path

import numpy as np

from xpmlp.files import write_atomically
from xpmlp.training import History


def plot_training(history: History, path: Path) -> None:
    """Draw the lecture's figure: training loss per iteration above accuracy per epoch.

    Two panels, 20 x 10 inches, in the lecture's style, colours and sizes. With members, a line
    for each.

    Source: lecture 11, "Result Visualization".
    """
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.context("seaborn-v0_8"):
        figure = Figure(figsize=(20, 10))
        FigureCanvasAgg(figure)
        loss_axes, accuracy_axes = figure.subplots(2, 1)
        for axes, series in ((loss_axes, history.loss), (accuracy_axes, history.accuracy)):
            axes.plot(series, marker="o" if len(series) == 1 else "")  # no line has one point

        loss_axes.set_title("Train Loss", color="darkblue", fontsize=40)
        loss_axes.set_xlabel("Iter Idx", fontsize=30)
        loss_axes.set_ylabel("CCEE", fontsize=30)
        accuracy_axes.set_title("Train Accuracy", color="darkblue", fontsize=40)
        accuracy_axes.set_xlabel("Epoch", fontsize=30)
        accuracy_axes.set_ylabel("Accuracy", fontsize=30)
        accuracy_axes.set_yticks(accuracy_ticks(history.accuracy))
        loss_axes.tick_params(labelsize=30)
        accuracy_axes.tick_params(labelsize=30)
        figure.tight_layout()
        write_atomically(path, lambda file: figure.savefig(file, format="png"))


def accuracy_ticks(accuracy: np.ndarray) -> np.ndarray:
    """The lecture's ticks, 0.4 to 1.0 by tenths, begun lower where the data reach lower.

    Below 0.3 they go by fifths: eight labels of this size are as many as the panel has room for.
    """
    tenths = min(4, int(np.floor(accuracy.min() * 10.0))) if accuracy.size else 4
    by = 1 if tenths >= 3 else 2
    return np.arange(tenths - tenths % by, 11, by) / 10.0
