"""Several runs beside each other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpmlp.recipes import SETTINGS, Recipe
from xpmlp.reports.charts import draw_line, grouped, means_of, without_scatter
from xpmlp.reports.plot import as_label, drawn
from xpmlp.runs import RunDirectory
from xpmlp.training import History
from xpmlp.training.metrics import METRICS

MOST_RUNS = 10
"""In a figure: more colours cannot be told apart."""


class ComparedRun(NamedTuple):
    """What of a run is compared. `summary` is what summary.json says, empty if there is none."""

    name: str
    recipe: Recipe
    history: History
    summary: dict[str, Any]
    steps_per_epoch: int | None = None


def read_run(directory: RunDirectory) -> ComparedRun:
    """A run that has been saved; `InputError` for none."""
    return ComparedRun(
        str(directory.path),
        directory.recipe,
        directory.load_history(),
        directory.load_summary(),
        directory.steps_per_epoch(),
    )


def differing_settings(runs: Sequence[ComparedRun]) -> dict[str, list[object]]:
    """The settings that are not the same in all runs, each run's value."""
    found = {name: [run.recipe.settings.get(name) for run in runs] for name in SETTINGS}
    return {name: values for name, values in found.items() if any(v != values[0] for v in values)}


def plot_comparison(runs: Sequence[ComparedRun], path: Path) -> None:
    """Draw the runs' training losses, smoothed, and their metrics; dashed on validation rows.

    Of members, the means.
    """
    with drawn(path, (12, 5)) as figure:
        loss_axes, metric_axes = figure.subplots(1, 2)
        for number, run in enumerate(runs):
            colour, history = f"C{number}", run.history
            label = as_label(run.name)
            if history.losses:
                steps, _, _, mean = grouped(history.loss)
                draw_line(loss_axes, steps, without_scatter(mean), colour, label)
            if history.accuracies:
                epochs = np.arange(1, len(history.accuracies) + 1)
                values = means_of(history[history.metric])
                draw_line(metric_axes, epochs, values, colour, label)
                if validation := history.validation:
                    steps_per_epoch = run.steps_per_epoch or len(history.losses) / len(epochs)
                    places = validation["validation_iteration"] / steps_per_epoch
                    held = means_of(validation[f"validation_{history.metric}"])
                    metric_axes.plot(places, held, color=colour, linestyle="--")
        labels = dict.fromkeys(METRICS[run.history.metric].label for run in runs)
        measure = f"{', '.join(labels)} (dashed: validation)"
        loss_axes.set(xlabel="iteration", ylabel="training loss, smoothed")
        metric_axes.set(xlabel="epoch", ylabel=measure)
        metric_axes.locator_params(axis="x", integer=True)
        for axes in (loss_axes, metric_axes):
            axes.grid(alpha=0.3)
        loss_axes.legend()
