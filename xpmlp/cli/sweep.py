"""`xpmlp sweep`."""

import contextlib
import csv
import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from xpmlp.backends import Backend, select_backend
from xpmlp.cli.console import echo, echo_error, errors, print_table
from xpmlp.cli.next_command import as_setting, echo_next
from xpmlp.cli.options import RecipeArgument, RecipeOptions, takes_settings
from xpmlp.cli.watching import Interruption
from xpmlp.data import Dataset
from xpmlp.errors import Diverged, InputError
from xpmlp.files import write_text
from xpmlp.recipes import SETTINGS, Recipe, by_name, load_recipe, option_value, read_setting
from xpmlp.reports import plot_sweep
from xpmlp.sweeps import Outcome, PlannedRun, check, grid, plan
from xpmlp.sweeps import sweep as run_sweep
from xpmlp.training import Callback
from xpmlp.training.metrics import METRICS
from xpmlp.training.progress import Progress

VALIDATION_FRACTION = 0.1
"""The fraction of validation rows where the recipe has none."""

RECIPE_FILE = "recipe.toml"
"""The file that a directory with a sweep has."""


@takes_settings(Recipe=("backend", "device", "data", "target", "drop", "members"))
def sweep(
    recipe: RecipeArgument = "lecture",
    *,
    given: RecipeOptions,
    over: Annotated[
        list[str] | None,
        typer.Option("--over", metavar="KEY=V1,V2,...", help="Values to try; repeatable."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where table and figure go (sweeps/RECIPE-N)."),
    ] = None,
) -> None:
    """Try settings of a recipe and compare them on validation rows.

    Learning rates, weight decays, dropouts and seeds train together, as members of one run.

    Example: xpmlp sweep modern --over optimizer.learning_rate=1e-3,3e-3 --members 3
    """
    if not over:
        raise InputError("--over is missing: give values to try, such as learning_rate=1e-3,1e-2")
    usual = load_recipe(recipe, warns=False).validation or VALIDATION_FRACTION
    planned, dataset = given.recipe_and_data(recipe, f"validation={usual}")
    if not planned.validation:
        planned = planned.replace({"validation": VALIDATION_FRACTION})
    combinations = grid(_values(text) for text in over)
    chosen = select_backend(planned.backend, planned.device or None)
    if not planned.threads:  # one number for all runs: another may give other last bits
        planned = planned.replace({"threads": planned.best_threads(chosen)})
    runs = plan(planned, combinations)
    check(runs, dataset, chosen)
    # Whatever can be refused has been: now there will be results, and they need a place.
    directory = _directory(out, Path(recipe).stem, planned)

    echo(chosen.reason)
    interruption = Interruption()
    outcomes = _train(runs, dataset, chosen, interruption)
    outcomes.sort(key=lambda outcome: combinations.index(outcome.settings))
    ranked = sorted(
        outcomes,
        key=lambda outcome: (np.isnan(outcome.loss), outcome.cost(planned.monitor)),
    )
    if ranked:
        _save(directory, outcomes, ranked)
        _print_table(ranked)
        held_out = round(planned.validation * len(dataset.train.labels))
        echo(f"Measured on {held_out:,} validation rows; the test set was not used")
    if interruption.status:
        if not ranked:
            _forget(directory)
        echo_error(
            f"stopped with {len(ranked)} of {len(combinations)} settings done; "
            + (f"these are saved in {directory}" if ranked else "nothing is saved")
        )
        raise typer.Exit(interruption.status)
    best = ranked[0]
    if np.isnan(best.loss):
        raise Diverged(f"every setting diverged: try smaller learning rates (saved in {directory})")
    options = {name: one for name, one in given.options.items() if name != "members"}
    alone = given._replace(options=options)
    echo_next(*alone.again("train", recipe, best.settings), after=f"Saved in {directory}")


def _train(
    runs: Sequence[PlannedRun], dataset: Dataset, backend: Backend, interruption: Interruption
) -> list[Outcome]:
    """Train all runs, each with a bar of its own."""
    with interruption, contextlib.ExitStack() as stack:

        def tell(run: PlannedRun, number: int, count: int) -> Sequence[Callback]:
            errors().print(f"run {number} of {count}: {_in_short(run)}", markup=False)
            stack.pop_all().close()  # the bar of a run that diverged is still there
            progress = Progress(errors(), advises=False)
            stack.callback(progress.stop)
            return [interruption, progress]

        return run_sweep(runs, dataset, backend, tell=tell)


def _values(text: str) -> tuple[str, list[Any]]:
    key, equals, values = text.partition("=")
    key = key.strip()
    if not equals or not key or not values.strip():
        raise InputError(f"--over {text}: give KEY=V1,V2,..., such as learning_rate=1e-3,1e-2")
    name = next(iter(by_name({key: None})[0]))
    if name == "layer_sizes" and "[" not in values:
        raise InputError(f"--over {text}: give lists, such as [784,64,10],[784,128,10]")
    found = read_setting(f"{key}=[{values}]")[1]
    parts = found if isinstance(found, list) else values.split(",")  # names are no TOML
    if "" in parts:
        raise InputError(f"--over {text}: a value is empty; give one between any two commas")
    return name, [SETTINGS[name].read(option_value(name, part)) for part in parts]


def _directory(out: Path | None, name: str, recipe: Recipe) -> Path:
    """A new directory with the recipe in it, which proves it writable.

    Raises `InputError` if it cannot be made or has a sweep in it.
    """
    numbered = (Path("sweeps") / f"{name}-{number}" for number in itertools.count(1))
    for path in numbered if out is None else [out]:
        try:
            if (path / RECIPE_FILE).exists() and out is not None:
                raise InputError(f"{path}: holds a sweep already; give another --out")
            # Made here and now: of two sweeps that begin together, each gets its own.
            path.mkdir(parents=True, exist_ok=out is not None)
            break
        except OSError as error:
            if out is None and isinstance(error, FileExistsError):
                continue
            raise InputError(
                f"{path}: cannot be made ({error.strerror}); give another --out"
            ) from error
    try:
        write_text(path / RECIPE_FILE, recipe.to_toml())
    except InputError:
        _forget(path)
        raise
    return path


def _forget(directory: Path) -> None:
    """Remove a sweep that came to nothing; what else is in its directory stays."""
    with contextlib.suppress(OSError):
        (directory / RECIPE_FILE).unlink(missing_ok=True)
        directory.rmdir()


def _in_short(run: PlannedRun) -> str:
    """What all networks of a run have in common, and how many there are."""
    first, *others = run.settings
    common = {name: one for name, one in first.items() if all(it[name] == one for it in others)}
    count = f"{len(run.seeds)} networks at once" if others else "1 network"
    return f"{_label(common)}; {count}" if common else count


def _label(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={as_setting(value)}" for name, value in settings.items())


def _save(directory: Path, outcomes: Sequence[Outcome], ranked: Sequence[Outcome]) -> None:
    """sweep.csv has a row for each network, the best setting first; sweep.png has the grid's order.

    Nothing is lost of what was trained if the figure cannot be drawn.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    names = [name for name in ranked[0].settings if name != "seed"]
    metric = ranked[0].metric
    writer.writerow([*names, "seed", "validation_loss", f"validation_{metric}"])
    for outcome in ranked:
        cells = [as_setting(outcome.settings[name]) for name in names]
        for seed, *results in zip(
            outcome.seeds, outcome.losses.tolist(), outcome.accuracies.tolist(), strict=True
        ):
            writer.writerow([*cells, seed, *results])
    write_text(directory / "sweep.csv", text.getvalue())
    plot_sweep(
        [(_label(outcome.settings), outcome.losses, outcome.accuracies) for outcome in outcomes],
        directory / "sweep.png",
        metric,
    )


def _print_table(outcomes: Sequence[Outcome]) -> None:
    """A line for each setting: mean and standard deviation over its seeds."""
    label, form = METRICS[outcomes[0].metric][:2]
    several = any(len(outcome.seeds) > 1 for outcome in outcomes)
    names = [*outcomes[0].settings, *(["seeds"] if several else [])]
    rows = []
    for outcome in outcomes:
        count = len(outcome.seeds)
        cells = [as_setting(value) for value in outcome.settings.values()]
        cells += [str(count)] if several else []
        if outcome.diverged:
            cells += [f"{outcome.diverged} of {count} diverged" if count > 1 else "diverged", ""]
        elif count > 1:
            accuracy, loss = outcome.accuracies.std(ddof=1), outcome.losses.std(ddof=1)
            cells.append(f"{form.format(outcome.accuracy)} +- {form.format(accuracy)}")
            cells.append(f"{outcome.loss:.4g} +- {loss:.2g}")
        else:
            cells += [form.format(outcome.accuracy), f"{outcome.loss:.4g}"]
        rows.append(cells)
    print_table([*names, f"validation {label}", "validation loss"], rows, left=len(names))
