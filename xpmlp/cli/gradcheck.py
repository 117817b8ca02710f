"""`xpmlp gradcheck`."""

from typing import Annotated

import typer
from rich.table import Table

from xpmlp.cli.console import echo, errors, output
from xpmlp.cli.next_command import echo_next
from xpmlp.cli.options import RecipeArgument, RecipeOptions, takes_settings
from xpmlp.gradcheck import gradcheck as check


@takes_settings(Recipe=("hidden", "seed"))
def gradcheck(
    recipe: RecipeArgument = "lecture",
    *,
    given: RecipeOptions,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows of the random batch.")] = 32,
) -> None:
    """Compare every parameter's gradient across backends and with independent derivatives.

    Exit status 1 if any differs by more than its tolerance.

    Example: xpmlp gradcheck --set model.activation=tanh
    """
    chosen = given.recipe(recipe)
    with errors().status("Computing every gradient on every backend ..."):
        seed = chosen.seed if isinstance(chosen.seed, int) else chosen.seed[0]
        rows = check(chosen.model, objective=chosen.objective(), seed=seed, batch_size=batch_size)
    table = Table("parameter", "against", box=None)
    for column in ("largest relative difference", "tolerance", "verdict"):
        table.add_column(column, justify="right")
    for row in rows:
        verdict = "agrees" if row.agrees else "[red]DIFFERS[/red]"
        table.add_row(
            row.parameter, row.method, f"{row.difference:.1e}", f"{row.tolerance:.0e}", verdict
        )
    output().print(table)
    disagreeing = [row for row in rows if not row.agrees]
    network = f"{chosen.model} ({chosen.model.activation}, seed {seed})"
    if disagreeing:
        echo(f"{len(disagreeing)} of {len(rows)} comparisons DISAGREE for {network}")
        raise typer.Exit(1)
    echo(f"All {len(rows)} comparisons agree for {network}; the reference is numpy in float64.")
    echo_next(*given.again("train", recipe))
