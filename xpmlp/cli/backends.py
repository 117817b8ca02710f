"""`xpmlp backends`."""

from rich.table import Table
from rich.text import Text

from xpmlp.backends import select_backend, survey
from xpmlp.backends.base import DeviceInfo
from xpmlp.cli.console import echo, output
from xpmlp.cli.next_command import echo_next


def backends() -> None:
    """Show what can compute on this machine, and how to fix the rest.

    Example: xpmlp backends
    """
    table = Table("backend", "version", "usable", "devices, or why not", box=None)
    reports = survey()
    for report in reports:
        found = ", ".join(map(_described, report.devices)) if report.usable else report.cause
        usable = "[green]yes[/green]" if report.usable else "no"
        table.add_row(report.name, report.version or "-", usable, Text(found or ""))
    output().print(table)
    echo()
    for report in reports:
        if report.remedy:
            echo(f"To use {report.name}: {report.remedy}")
    echo(f"auto takes {select_backend().reason}")
    echo_next("xpmlp", "train")


def _described(device: DeviceInfo) -> str:
    memory = "" if device.memory is None else f", {device.memory / 2**30:.0f} GiB"
    return f"{device.name} ({device.description}{memory})"
