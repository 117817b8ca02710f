"""`xpmlp find-rate`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from xpmlp.backends import select_backend
from xpmlp.cli.console import echo, errors
from xpmlp.cli.next_command import echo_next
from xpmlp.cli.options import RecipeArgument, RecipeOptions, check_ending, takes_settings
from xpmlp.errors import InputError
from xpmlp.reports import plot_rates
from xpmlp.runs import trainer_from_recipe
from xpmlp.training.find_rate import find_rate as find


@takes_settings(Recipe=("backend", "device", "data", "target", "drop", "hidden", "seed"))
def find_rate(
    recipe: RecipeArgument = "lecture",
    *,
    given: RecipeOptions,
    lowest: Annotated[float, typer.Option("--from", help="The smallest rate tried.")] = 1e-6,
    highest: Annotated[float, typer.Option("--to", help="The largest.")] = 10.0,
    steps: Annotated[
        int | None,
        typer.Option(help="Steps from one to the other; by default an epoch's, 300 to 3000."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="Where the figure goes.")] = Path(
        "find-rate.png"
    ),
) -> None:
    """Find a learning rate: train for an epoch while it rises, and see how the loss falls.

    Rows are shuffled for it, whatever the recipe says.

    Example: xpmlp find-rate modern --steps 500 --out rates.png
    """
    planned, dataset = given.recipe_and_data(recipe)
    planned = planned.of_one_network
    chosen = select_backend(planned.backend, planned.device or None)
    trainer = trainer_from_recipe(planned, dataset, chosen)
    _check_place(out)
    with errors().status("Training with a rising learning rate ..."):
        curve = find(trainer, lowest=lowest, highest=highest, steps=steps)
    plot_rates(curve, out)
    if not curve.falls:
        raise InputError(
            f"the loss falls nowhere from {lowest:g} to {curve.rates[-1]:.2g}, see {out}: "
            "give other rates (--from, --to) or more --steps"
        )
    proposal = f"{curve.lowest:.2g}"
    echo(f"Begin with a learning rate of {proposal}: the loss is lowest there")
    echo(
        f"It falls fastest at {curve.steepest:.2g}; the range to try is {curve.steepest:.2g} to "
        f"{proposal}, and the recipe has {curve.own:g}"
    )
    if not curve.rises:
        echo(f"It does not rise again up to {curve.rates[-1]:.2g}: --to tries larger rates")
    found = {"learning_rate": proposal}
    echo_next(*given.again("train", recipe, found), after=f"Drawn in {out}")


def _check_place(out: Path) -> None:
    """Refuse, before anything is trained, a figure that could not be written."""
    check_ending(out, ".png")
    if out.is_dir():
        raise InputError(f"{out}: cannot be written (is a directory); give another --out")
    if not os.access(out.parent, os.W_OK):
        raise InputError(f"{out}: cannot be written; give another --out")
