"""Figures: of a run, of the search for a learning rate, of a sweep."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xpmlp.files import write_atomically
from xpmlp.training import History
from xpmlp.training.find_rate import RateCurve
from xpmlp.training.metrics import METRICS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_training(history: History, path: Path) -> None:
    """Draw the lecture's figure: training loss per iteration above the metric per epoch.

    Two panels, 20 x 10 inches, in the lecture's style, colours and sizes. With members, a line
    for each.

    Source: lecture 11, "Result Visualization".
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    values = history[history.metric]
    both, names = (history.loss, values), ("CCEE", "Accuracy")
    if history.metric != "accuracy":
        names = ("Loss", METRICS[history.metric].label)
    titles = ("Train Loss", f"Train {names[1]}"), ("Iter Idx", "Epoch"), names
    with style.context("seaborn-v0_8"):
        figure = Figure(figsize=(20, 10))
        panels = figure.subplots(2, 1)
        for axes, series, title, x, y in zip(panels, both, *titles, strict=True):
            axes.plot(series, marker="o" if len(series) == 1 else "")  # no line has one point

            axes.set_title(title, color="darkblue", fontsize=40)
            axes.set_xlabel(x, fontsize=30)
            axes.set_ylabel(y, fontsize=30)
            axes.tick_params(labelsize=30)
        if values.min(initial=1.0) >= -1.0:  # an R² may lie far below 0, or be NaN
            panels[1].set_yticks(accuracy_ticks(values))
        figure.tight_layout()
        write_atomically(path, lambda file: figure.savefig(file, format="png"))


def accuracy_ticks(accuracy: np.ndarray) -> np.ndarray:
    """The lecture's ticks, 0.4 to 1.0 by tenths, begun lower where the data reach lower.

    Below 0.3 they go by fifths: eight labels of this size are as many as the panel has room for.
    """
    tenths = min(4, int(np.floor(accuracy.min() * 10.0))) if accuracy.size else 4
    by = 1 if tenths >= 3 else 2
    return np.arange(tenths - tenths % by, 11, by) / 10.0


def plot_rates(curve: RateCurve, path: Path) -> None:
    """Draw the loss over the learning rate, as `find_rate` saw it, and what to read from it."""
    with drawn(path, (8, 5)) as figure:
        axes = figure.subplots()
        axes.semilogx(curve.rates, curve.losses, linewidth=0.6, alpha=0.5, label="single steps")
        axes.semilogx(curve.rates, curve.smoothed, linewidth=2, label="smoothed")
        marks = [("the recipe's", curve.own, "--", "C1")]
        if curve.falls:
            marks += [("lowest at", curve.lowest, "-", "black")]
            marks += [("falls fastest at", curve.steepest, ":", "black")]
        for name, rate, line, colour in marks:
            axes.axvline(rate, color=colour, linestyle=line, label=f"{name} {rate:.2g}")
        # What explodes at the end would leave the rest of the curve flat.
        low, high = curve.losses.min(), np.quantile(curve.losses[: len(curve.losses) // 2], 0.98)
        if low < high:
            axes.set_ylim(low - 0.05 * (high - low), high + 0.25 * (high - low))
        axes.set(xlabel="learning rate", ylabel="training loss")
        axes.legend()


LOGARITHMIC_RATIO = 30.0
"""From this ratio of the largest to the smallest loss on, only logarithms tell losses apart."""


def plot_sweep(
    outcomes: Sequence[tuple[str, np.ndarray, np.ndarray]], path: Path, metric: str = "accuracy"
) -> None:
    """Draw validation metric and loss of each setting: a point for each seed, a bar for the mean.

    `outcomes` are (label, losses, values of the metric), from top to bottom; NaN is a network that
    diverged. The setting with the smallest mean loss stands out.
    """
    count = len(outcomes)
    means = [losses.mean() for _, losses, _ in outcomes]
    best = int(np.nanargmin(means)) if np.isfinite(means).any() else None
    width = 8.0 + 0.09 * max(len(label) for label, _, _ in outcomes)
    with drawn(path, (width, max(2.5, 1.2 + 0.35 * count))) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, name in zip(panels, (METRICS[metric].label, "loss"), strict=True):
            for place, (_, losses, measured) in enumerate(outcomes):
                values = losses if name == "loss" else measured
                colour = "C1" if place == best else "C0"
                axes.plot(values, np.full(len(values), place), "o", alpha=0.6, color=colour)
                if len(values) > 1 and np.isfinite(values).all():
                    axes.plot(values.mean(), place, "|", markersize=16, color="black")
                if diverged := np.count_nonzero(np.isnan(values)):
                    said = f"{diverged} of {len(values)} diverged"
                    axes.annotate(
                        said, (0.99, place), xycoords=("axes fraction", "data"),
                        ha="right", va="center", color="C3",
                    )  # fmt: skip
            axes.set_xlabel(f"validation {name}")
            axes.grid(alpha=0.3)
        found = np.concatenate([losses for _, losses, _ in outcomes])
        found = found[np.isfinite(found)]
        if found.size and 0.0 < found.min() < found.max() / LOGARITHMIC_RATIO:
            panels[1].set_xscale("log")
        panels[0].set_yticks(range(count), [label for label, _, _ in outcomes])
        panels[0].set_ylim(count - 0.4, -0.6)


@contextlib.contextmanager
def drawn(path: Path, inches: tuple[float, float]) -> Iterator["Figure"]:
    """A figure to draw on, which is written when that is done."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, layout="constrained")
    yield figure
    with any_letters():
        write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=120))


def as_label(name: str) -> str:
    """A name that a legend shows as it is: `$` begins no formula, `_` hides nothing."""
    return f" {name}".replace("$", r"\$")


@contextlib.contextmanager
def any_letters() -> Iterator[None]:
    """Letters that matplotlib's font lacks become boxes, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        yield
