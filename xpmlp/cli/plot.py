"""`xpmlp plot`."""

from pathlib import Path
from typing import Annotated

import typer

from xpmlp.cli.next_command import echo_next
from xpmlp.cli.options import RunArgument
from xpmlp.errors import InputError
from xpmlp.reports import plot_training
from xpmlp.runs import RunDirectory


def plot(
    run: RunArgument,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Where to draw (RUN/training.png).")
    ] = None,
) -> None:
    """Draw the lecture's figure of a run again: training loss and training accuracy.

    Example: xpmlp plot runs/lecture-1
    """
    directory = RunDirectory.existing(run)
    path = out or directory.plot
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: the figure is a PNG; give a name that ends in .png")
    history = directory.load_history()
    if not history.losses:
        raise InputError(f"{run}: no step of this run was saved; there is nothing to draw")
    plot_training(history, path)
    echo_next("xpmlp", "report", str(run), after=f"{path}")
