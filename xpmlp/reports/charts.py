"""Charts for a page: SVG that takes its colours from the page, by day and by night.

Text stays text, so that it is as sharp and as large as the page's; each chart is as wide as a
phone, so that it is read there without a magnifying glass.
"""

import contextlib
import io
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from xpmlp.reports.prediction_report import Calibration
from xpmlp.training.history import smoothed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, RULE, SERIES = "#010101", "#020202", ("#030303", "#040404", "#050505", "#060606")
"""Stand for the page's colours; see `_themed`."""

COLOUR_NAMES = {INK: "ink", RULE: "rule"} | {
    colour: f"series-{number}" for number, colour in enumerate(SERIES, start=1)
}

CHART_INCHES = (4.4, 2.9)
"""Inches: at 96 dots each, about the width of a phone."""

MOST_CHART_POINTS = 400
"""Of a line; more steps are drawn as the range and the mean of this many groups."""


def loss_chart(losses: np.ndarray) -> str:
    """The loss of each step, (steps,) or (steps, E), and what it is without its scatter."""
    with _drawn("loss") as (axes, done):
        steps, low, high, mean = grouped(losses)
        label = "single steps" if losses.ndim == 1 else "members and steps"
        style: dict[str, Any] = {"color": SERIES[0], "alpha": 0.3, "label": label}
        if (low < high).any():
            axes.fill_between(steps, low, high, linewidth=0, **style)
        else:
            axes.plot(steps, mean, linewidth=1, **style)
        draw_line(axes, steps, without_scatter(mean), SERIES[0], "smoothed")
        axes.set(xlabel="iteration", ylabel="training loss")
        axes.locator_params(axis="x", nbins=5, integer=True)
        axes.set_ylim(loss_limits(np.concatenate([low, high])))
        _legend(axes)
    return done[0]


def series_chart(
    name: str, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], *, x: str, y: str
) -> str:
    """Lines by their labels, each (x, values); values (n,), or (n, E), drawn as mean and range."""
    with _drawn(name) as (axes, done):
        for colour, (label, (places, values)) in zip(SERIES, curves.items(), strict=False):
            draw_line(axes, places, means_of(values), colour, label)
            if values.ndim == 2:
                low, high = values.min(axis=1), values.max(axis=1)
                axes.fill_between(places, low, high, color=colour, alpha=0.25, linewidth=0)
        axes.set(xlabel=x, ylabel=y)
        axes.locator_params(axis="x", nbins=5, integer=True)
        if len(curves) > 1:
            _legend(axes)
    return done[0]


def calibration_chart(found: Calibration) -> str:
    """How often answers are right, over how confident they are; a bar's width is a bin's."""
    with _drawn("calibration") as (axes, done):
        edges = np.linspace(0.0, 1.0, len(found.bins) + 1)
        shares = [one.accuracy for one in found.bins]
        axes.bar(
            edges[:-1], shares, width=np.diff(edges), align="edge", color=SERIES[0], alpha=0.55,
            edgecolor=SERIES[0], label="right",
        )  # fmt: skip
        axes.plot(
            [0, 1], [0, 1], color=INK, linestyle="--", linewidth=1, label="perfect calibration"
        )
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
        _legend(axes)
    return done[0]


def numbers_chart(targets: np.ndarray, predictions: np.ndarray, name: str) -> str:
    """Predictions over targets, both (n,); at most 1,000 of them, evenly spaced."""
    with _drawn(name) as (axes, done):
        chosen = np.unique(np.linspace(0, len(targets) - 1, 1000).astype(int))
        x, y = targets[chosen], predictions[chosen]
        axes.plot(x, y, ".", color=SERIES[0], markersize=3, alpha=0.6, label="rows")
        ends = [float(x.min()), float(x.max())]
        axes.plot(ends, ends, color=INK, linestyle="--", linewidth=1, label="perfect prediction")
        axes.set(xlabel="target", ylabel="prediction")
        _legend(axes)
    return done[0]


def means_of(values: np.ndarray) -> np.ndarray:
    """Return a series (n,) as it is, and of members, (n, E), the means."""
    return values if values.ndim == 1 else values.mean(axis=1)


def grouped(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Iterations, lowest, highest and mean loss of at most `MOST_CHART_POINTS` groups of steps."""
    count = len(losses)
    edges = np.unique(np.linspace(0, count, min(count, MOST_CHART_POINTS) + 1).astype(int))
    parts = [losses[start:stop] for start, stop in itertools.pairwise(edges)]
    low, high, mean = (
        np.array([float(measure(part)) for part in parts]) for measure in (np.min, np.max, np.mean)
    )
    return (edges[:-1] + edges[1:] - 1) / 2 + 1, low, high, mean


def without_scatter(mean: np.ndarray) -> np.ndarray:
    """The means of groups of steps, smoothed over a fiftieth of them; as they are if not finite."""
    return smoothed(mean, max(1.0, len(mean) / 50)) if np.isfinite(mean).all() else mean


def draw_line(axes: "Axes", x: np.ndarray, y: np.ndarray, colour: str, label: str) -> None:
    """Draw a curve; one point, which no line has, as a dot."""
    marker = "o" if len(y) == 1 else ""
    axes.plot(x, y, color=colour, linewidth=1.6, label=label, marker=marker)


def cut_losses(losses: np.ndarray) -> tuple[float, float] | None:
    """Return where the axis of losses ends and the largest finite loss beyond; None if none is."""
    _, low, high, _ = grouped(losses)
    limits = loss_limits(np.concatenate([low, high]))
    largest = losses.max(where=np.isfinite(losses), initial=-np.inf)
    return (limits[1], float(largest)) if limits and largest > limits[1] else None


def loss_limits(values: np.ndarray) -> tuple[float, float] | None:
    """Limits with room for all but a loss's first leaps and what explodes; None for all of it."""
    finite = values[np.isfinite(values)]
    if len(finite) <= 20:
        return None
    low, high = float(finite.min()), float(np.quantile(finite, 0.995))
    return (low - 0.05 * (high - low), high + 0.05 * (high - low)) if high > low else None


def _legend(axes: "Axes") -> None:
    axes.legend(frameon=False, labelcolor=INK, fontsize=9)


@contextlib.contextmanager
def _drawn(name: str) -> Iterator[tuple["Axes", list[str]]]:
    """Axes to draw on; the list then holds the chart's text. `name` is part of every id in it."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    done: list[str] = []
    with mpl.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": name,
            "axes.edgecolor": RULE,
            "axes.labelcolor": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": RULE,
            "grid.linewidth": 0.4,
            "xtick.color": INK,
            "ytick.color": INK,
            "text.color": INK,
            "font.size": 9.5,
        }
    ):
        figure = Figure(figsize=CHART_INCHES, layout="constrained", facecolor="none")
        axes = figure.subplots()
        axes.set_facecolor("none")
        yield axes, done
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        done.append(_themed(text.getvalue(), name))


def _themed(svg: str, name: str) -> str:
    """The drawing alone, its colours the page's, which change with the reader's."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    for colour, variable in COLOUR_NAMES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    # As wide as its place; the page's font.
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1 aria-hidden="true"', svg, count=1)
    svg = re.sub(r"; font-family: [^;\"]*", "", svg)
    # A page has several drawings, and an id once.
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
