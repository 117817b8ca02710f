"""`xpmlp backends`."""

from xpmlp.backends import select_backend, survey
from xpmlp.backends.base import DeviceInfo
from xpmlp.cli.console import echo, print_table
from xpmlp.cli.next_command import echo_next


def backends() -> None:
    """Show which backends work on this machine, and how to fix the others.

    Example: xpmlp backends
    """
    reports = survey()
    rows = [
        (
            report.name,
            report.version or "-",
            "yes" if report.usable else "no",
            ", ".join(map(_described, report.devices)) if report.usable else report.cause or "",
        )
        for report in reports
    ]
    print_table(("backend", "version", "usable", "devices, or why not"), rows, left=4)
    echo()
    for report in reports:
        if report.remedy:
            echo(f"To use {report.name}: {report.remedy}")
    echo(f"auto takes {select_backend().reason}")
    echo_next("xpmlp", "train")


def _described(device: DeviceInfo) -> str:
    memory = "" if device.memory is None else f", {device.memory / 2**30:.0f} GiB"
    return f"{device.name} ({device.description}{memory})"
