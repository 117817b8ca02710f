"""`xpmlp plot`."""

from pathlib import Path
from typing import Annotated

import typer

from xpmlp.cli.console import say
from xpmlp.cli.options import RunArgument
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
    plot_training(directory.load_history(), path)
    say(f"{path}")
