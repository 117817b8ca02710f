"""`xpmlp compare`."""

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from xpmlp.cli.console import echo, output, plain
from xpmlp.cli.next_command import echo_next
from xpmlp.cli.options import JsonOption
from xpmlp.errors import InputError
from xpmlp.reports.compare import (
    MOST_RUNS,
    ComparedRun,
    differing_settings,
    plot_comparison,
    read_run,
)
from xpmlp.runs import RunDirectory


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run directories.")],
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="Where to draw.")] = Path(
        "comparison.png"
    ),
    as_json: JsonOption = False,
) -> None:
    """Put runs beside each other: results, the settings in which they differ, and their curves.

    Example: xpmlp compare runs/lecture-1 runs/lecture-2
    """
    if not 2 <= len(runs) <= MOST_RUNS:
        raise InputError(f"{len(runs)} runs: give 2 to {MOST_RUNS} run directories to compare")
    if out.suffix.lower() != ".png":
        raise InputError(f"{out}: the figure is a PNG; give a name that ends in .png")
    found = [read_run(RunDirectory.existing(run)) for run in runs]
    differing = differing_settings(found)
    plot_comparison(found, out)
    if as_json:
        echo(json.dumps([_as_json(run, number, differing) for number, run in enumerate(found)]))
        return
    names = [run.name for run in found]
    results = zip(*map(_results, found), strict=True)
    _print_table("Results", names, list(zip(RESULTS, results, strict=True)))
    if differing:
        shown = [(name, tuple(map(_shown, values))) for name, values in differing.items()]
        _print_table("Settings that differ", names, shown)
    best = _best(found)
    echo_next("xpmlp", "report", best.name, after=f"Drawn in {out}")


RESULTS = (
    "epochs", "training accuracy", "validation accuracy", "test accuracy", "test loss",
    "us per step", "seconds",
)  # fmt: skip


def _results(run: ComparedRun) -> list[str]:
    summary = run.summary
    as_share = "{:.4f}" if run.recipe.model.is_regression else "{:.2%}"
    return [
        *(
            _formatted(summary.get(name), form)
            for name, form in (
                ("epochs", "{}"),
                ("train_accuracy", as_share),
                ("validation_accuracy", as_share),
                ("test_accuracy", as_share),
                ("test_loss", "{:.4f}"),
            )
        ),
        _formatted((summary.get("seconds_per_step") or 0.0) * 1e6 or None, "{:.0f}"),
        _formatted(summary.get("seconds"), "{:.1f}"),
    ]


def _formatted(value: object, form: str) -> str:
    return "-" if value is None else form.format(value)


def _best(runs: list[ComparedRun]) -> ComparedRun:
    """On the validation rows, if all runs have some, else on the test set."""
    is_validated = all("validation_accuracy" in run.summary for run in runs)
    measure = "validation_accuracy" if is_validated else "test_accuracy"
    return max(runs, key=lambda run: run.summary.get(measure, -math.inf))


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "-" if value is None or value == "" else str(value)


def _as_json(run: ComparedRun, number: int, differing: dict[str, list[object]]) -> dict[str, Any]:
    settings = {name: values[number] for name, values in differing.items()}
    return {"run": run.name, "settings": settings, **run.summary}


def _print_table(title: str, names: list[str], rows: list[tuple[str, tuple[str, ...]]]) -> None:
    """A column for each run."""
    table = Table(title=title, title_justify="left", title_style="green", box=None, pad_edge=False)
    for number, name in enumerate(["", *names]):
        if number:
            table.add_column(plain(name), justify="right", overflow="fold")
        else:
            table.add_column(no_wrap=True)
    for label, values in rows:
        table.add_row(label, *map(plain, values))
    output().print(table)
    echo()
