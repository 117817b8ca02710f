"""`xpmlp explain`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from xpmlp.backends import PRECISIONS
from xpmlp.cli.console import echo, print_table
from xpmlp.cli.next_command import echo_next
from xpmlp.cli.options import DataOption, RecipeOptions, check_ending, takes_settings
from xpmlp.errors import InputError
from xpmlp.files import write_text
from xpmlp.recipes import recipe_names
from xpmlp.reports.explain import Explanation
from xpmlp.reports.explain import explain as explain_network
from xpmlp.reports.flow import (
    BAR_DECADES,
    LayerFlow,
    bar_length,
    first_batch,
    gradient_flow,
    verdict,
)
from xpmlp.reports.slides import as_latex_document, draw_slides
from xpmlp.runs import RunDirectory


@takes_settings(Recipe=("hidden",))
def explain(
    what: Annotated[
        str, typer.Argument(metavar="[RECIPE|FILE.toml|RUN]", help="A recipe or a run directory.")
    ] = "lecture",
    *,
    given: RecipeOptions,
    data: DataOption = None,
    latex: Annotated[
        Path | None, typer.Option(metavar="FILE.tex", help="Write both slides as LaTeX.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.svg|png", help="Draw both slides as a figure.")
    ] = None,
) -> None:
    """Show the lecture's two slides for your network: the forward pass and its expanded Jacobians.

    Every matrix has its shape, the FLOPs of its product and its bytes; of a run, the sizes of
    activations and gradients in each layer follow, on its first batch (--data: of other data).

    Example: xpmlp explain modern --out modern.svg
    """
    check_ending(out, ".svg", ".png")
    check_ending(latex, ".tex")
    is_run = what not in recipe_names() and Path(what).is_dir()
    flow: list[LayerFlow] = []
    if is_run:
        if given.settings or given.options:
            raise InputError(f"{what}: a run is what it is; give --set and --hidden with a recipe")
        directory = RunDirectory.existing(Path(what))
        recipe = directory.recipe
        trained = directory.load_model()
        model = trained.model
        dataset = directory.load_data(trained, data)
        batch = first_batch(recipe, dataset.train)
        flow = gradient_flow(model, trained.parameters, batch, recipe.objective())
    else:
        if data:
            raise InputError(f"--data {data}: a recipe has no activations; give it with a run")
        recipe = given.recipe(what)
        model = recipe.model
    each_class_once = np.arange(max(2, model.layer_sizes[-1]))  # balanced weights are counted
    objective = recipe.objective(each_class_once)
    found = explain_network(
        model, objective, rows=recipe.batch_size, dtype=PRECISIONS[recipe.dtype]
    )
    title = f"{what}: {model}, {model.activation}"
    if recipe.members > 1:
        title += f", each of {recipe.members} members"
    if out is not None:
        draw_slides(found, out, flow=flow, title=title)
    if latex is not None:
        write_text(latex, as_latex_document(found, title=title))
    _print_table(found, title)
    if flow:
        _tell_flow(flow)
    written = " and ".join(str(path) for path in (out, latex) if path is not None)
    echo_next(
        *_following(what, is_run, bool(written), given),
        after=f"Written: {written}" if written else "",
    )


def _following(what: str, is_run: bool, is_written: bool, given: RecipeOptions) -> list[str]:
    """First the figure; then the run's file for others, or the training of the recipe."""
    if is_run and is_written:
        return ["xpmlp", "export", what, "model.onnx"]
    words = given.again("train" if is_written else "explain", what)
    return words if is_written else [*words, "--out", "explained.svg"]


def _print_table(found: Explanation, title: str) -> None:
    echo(title, style="bold")
    for name, operations in found.slides.items():
        rows = ((one.text, *found.numbers(one)) for one in operations)
        heads = ("matrix", "shape", "FLOPs", "bytes")
        print_table(heads, rows, title=name, left=2, is_formula=True)
    for symbol, meaning in found.symbols.items():
        echo(f"{symbol}: {meaning}")
    echo(found.summary)


LONGEST_BAR = 24
"""The longest bar, in blocks."""


def _tell_flow(flow: Sequence[LayerFlow]) -> None:
    """A row for each layer; what is a tenth as much has a bar four blocks shorter."""
    largest = max(one.gradients for one in flow)
    print_table(
        ("layer", "gradients, logarithmic", "activations", "weights W", "gradients dW"),
        (
            (
                str(one.layer),
                "█" * round(LONGEST_BAR * bar_length(one.gradients, largest)),
                *(f"{size:.3g}" for size in one[1:]),
            )
            for one in flow
        ),
        title="Root mean squares on the first batch",
        left=2,
    )
    echo(f"The bar ends {BAR_DECADES:g} powers of ten below the largest. {verdict(flow)}")
    echo()
