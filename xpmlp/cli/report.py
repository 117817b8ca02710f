"""`xpmlp report`."""

from pathlib import Path
from typing import Annotated

import typer

from xpmlp.backends import select_backend
from xpmlp.cli.next_command import echo_next
from xpmlp.cli.options import BackendOption, DataOption, DeviceOption, RunArgument
from xpmlp.errors import InputError
from xpmlp.reports.page import write_report
from xpmlp.runs import RunDirectory


def report(
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="Where to write (RUN/report.html; with --data RUN/report-DATA.html).",
        ),
    ] = None,
    data: DataOption = None,
    backend: BackendOption = None,
    device: DeviceOption = None,
) -> None:
    """Write one HTML page about a run: curves, confusion, mistakes, weights, settings.

    The page holds all that it shows and needs no network.

    Example: xpmlp report runs/lecture-1
    """
    directory = RunDirectory.existing(run)
    name = "report.html" if data is None else f"report-{Path(data).stem}.html"
    path = out or directory.path / name
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{path}: the report is HTML; give a name that ends in .html")
    write_report(directory, path, data=data, backend=select_backend(backend or "auto", device))
    echo_next("xpmlp", "explain", str(run), after=f"{path}: open it in a browser")
