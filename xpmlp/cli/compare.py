"""`xpmlp compare`."""

import itertools
import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from xpmlp.cli.console import print_table, say_verbatim
from xpmlp.cli.next_command import as_setting, echo_next
from xpmlp.cli.options import JsonOption, check_ending
from xpmlp.errors import InputError
from xpmlp.reports.compare import (
    MOST_RUNS,
    ComparedRun,
    differing_settings,
    plot_comparison,
    read_run,
)
from xpmlp.runs import RunDirectory
from xpmlp.training.metrics import METRICS


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
    check_ending(out, ".png")
    found = [read_run(RunDirectory.existing(run)) for run in runs]
    differing = differing_settings(found)
    plot_comparison(found, out)
    if as_json:
        say_verbatim(
            json.dumps([_as_json(run, number, differing) for number, run in enumerate(found)])
        )
        return
    heads = ["", *(run.name for run in found)]
    results = [_results(run) for run in found]
    names = dict.fromkeys(itertools.chain(*results))
    print_table(
        heads, ([name, *(one.get(name, "-") for one in results)] for name in names), title="Results"
    )
    if differing:
        rows = ([name, *map(_shown, values)] for name, values in differing.items())
        print_table(heads, rows, title="Settings that differ")
    best = _best(found)
    echo_next("xpmlp", "report", best.name, after=f"Drawn in {out}")


def _results(run: ComparedRun) -> dict[str, str]:
    summary = run.summary
    label, form = METRICS[run.history.metric][:2]
    step = (summary.get("seconds_per_step") or 0.0) * 1e6 or None
    results = {
        "epochs": (summary.get("epochs"), "{}"),
        f"training {label}": (summary.get(f"train_{run.history.metric}"), form),
        f"validation {label}": (summary.get(f"validation_{run.history.metric}"), form),
        f"test {label}": (summary.get(f"test_{run.history.metric}"), form),
        "test loss": (summary.get("test_loss"), "{:.4f}"),
        "us per step": (step, "{:.0f}"),
        "seconds": (summary.get("seconds"), "{:.1f}"),
    }
    return {
        name: "-" if value is None else form.format(value)
        for name, (value, form) in results.items()
    }


def _best(runs: list[ComparedRun]) -> ComparedRun:
    """On the validation rows, if all runs have some, else on the test set."""
    is_validated = all(f"validation_{run.history.metric}" in run.summary for run in runs)
    part = "validation" if is_validated else "test"
    return max(runs, key=lambda run: run.summary.get(f"{part}_{run.history.metric}", -math.inf))


def _shown(value: object) -> str:
    return "-" if value is None or value == "" else as_setting(value)


def _as_json(run: ComparedRun, number: int, differing: dict[str, list[object]]) -> dict[str, Any]:
    settings = {name: values[number] for name, values in differing.items()}
    return {"run": run.name, "settings": settings, **run.summary}
