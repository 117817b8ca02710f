"""`xpmlp explain`."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from xpmlp.backends import PRECISIONS
from xpmlp.cli.console import echo, output, plain
from xpmlp.cli.next_command import echo_next
from xpmlp.cli.options import DataOption, RecipeOptions, takes_settings
from xpmlp.data import load_data
from xpmlp.errors import InputError
from xpmlp.files import write_atomically
from xpmlp.network.layers import Computation
from xpmlp.recipes import recipe_names
from xpmlp.reports.explain import Explanation
from xpmlp.reports.explain import explain as explain_network
from xpmlp.reports.flow import (
    DECADES,
    LayerFlow,
    bar_length,
    first_batch,
    gradient_flow,
    verdict,
)
from xpmlp.reports.slides import as_latex_document, draw_slides
from xpmlp.runs import RunDirectory

FIGURES = (".svg", ".png")


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
    if out is not None and out.suffix.lower() not in FIGURES:
        raise InputError(f"{out}: the figure is an SVG or a PNG; give a name that ends in .svg")
    if latex is not None and latex.suffix.lower() != ".tex":
        raise InputError(f"{latex}: give a name that ends in .tex")
    is_run = what not in recipe_names() and Path(what).is_dir()
    flow: list[LayerFlow] = []
    if is_run:
        if given.settings or given.options:
            raise InputError(f"{what}: a run is what it is; give --set and --hidden with a recipe")
        directory = RunDirectory.existing(Path(what))
        recipe = directory.recipe
        trained = directory.load_model()
        model = trained.model
        dataset = load_data(data or recipe.data).for_network(model.layer_sizes, model.output)
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
        text = as_latex_document(found, title=title)
        write_atomically(latex, lambda file: file.write_text(text, "utf-8"))
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
        _table(found, name, operations)
    for symbol, meaning in found.symbols.items():
        echo(f"{symbol}: {meaning}")
    echo(found.summary)


def _table(found: Explanation, name: str, operations: Sequence[Computation]) -> None:
    table = Table(title=name, title_justify="left", title_style="green", box=None, pad_edge=False)
    table.add_column("matrix", overflow="fold")
    table.add_column("shape", overflow="fold", min_width=22)
    table.add_column("FLOPs", justify="right", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    for one in operations:
        table.add_row(*map(plain, (one.text, *found.numbers(one))))
    output().print(table)
    echo()


BAR = 24
"""The longest bar, in blocks."""


def _tell_flow(flow: Sequence[LayerFlow]) -> None:
    """A row for each layer; what is a tenth as much has a bar four blocks shorter."""
    table = Table(
        title="Root mean squares on the first batch", title_justify="left", title_style="green",
        box=None, pad_edge=False,
    )  # fmt: skip
    for column in ("layer", "activations", "weights W", "gradients dW"):
        table.add_column(column, justify="right")
    table.add_column(f"gradients, logarithmic: the bar ends {DECADES:g} powers of ten below")
    largest = max((one.gradients for one in flow), default=0.0)
    for one in flow:
        table.add_row(
            str(one.layer), f"{one.activations:.3g}", f"{one.weights:.3g}", f"{one.gradients:.3g}",
            _bar(one.gradients, largest),
        )  # fmt: skip
    output().print(table)
    echo(verdict(flow))
    echo()


def _bar(value: float, largest: float) -> str:
    if not math.isfinite(value):
        return "not finite"
    return "█" * round(BAR * bar_length(value, largest))
