"""Several runs beside each other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpmlp.recipes import SETTINGS, Recipe
from xpmlp.reports.charts import grouped, without_scatter
from xpmlp.reports.plot import as_label, drawn
from xpmlp.runs import RunDirectory
from xpmlp.training import History

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
    """Draw the runs' training losses, smoothed, and their accuracies; dashed on validation rows.

    Of members, the means.
    """
    from matplotlib.ticker import MaxNLocator

    with drawn(path, (12, 5)) as figure:
        loss_axes, accuracy_axes = figure.subplots(1, 2)
        for number, run in enumerate(runs):
            colour, history = f"C{number}", run.history
            label = as_label(run.name)
            if history.losses:
                steps, _, _, mean = grouped(history.loss)
                loss_axes.plot(steps, without_scatter(mean), color=colour, label=label)
            if history.accuracies:
                epochs = np.arange(1, len(history.accuracies) + 1)
                means = [float(np.mean(one)) for one in history.accuracies]
                marker = "o" if len(means) == 1 else ""
                accuracy_axes.plot(epochs, means, color=colour, label=label, marker=marker)
                if history.validation_accuracies:
                    steps_per_epoch = run.steps_per_epoch or len(history.losses) / len(means)
                    places = np.array(history.validation_iterations) / steps_per_epoch
                    held = [float(np.mean(one)) for one in history.validation_accuracies]
                    accuracy_axes.plot(places, held, color=colour, linestyle="--")
        loss_axes.set_xlabel("iteration")
        loss_axes.set_ylabel("training loss, smoothed")
        accuracy_axes.set_xlabel("epoch")
        accuracy_axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        is_regression = all(run.recipe.model.is_regression for run in runs)
        accuracy_axes.set_ylabel(("R²" if is_regression else "accuracy") + " (dashed: validation)")
        for axes in (loss_axes, accuracy_axes):
            axes.grid(alpha=0.3)
        loss_axes.legend()
