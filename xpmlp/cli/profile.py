"""The table of `xpmlp train --profile`."""

from rich.table import Table

from xpmlp.cli.console import echo, output
from xpmlp.training import Trainer
from xpmlp.training.profile import Profile


def show(profile: Profile, training: Trainer) -> None:
    """Print where a step's time goes, to standard output."""
    table = Table("layer", "phase", box=None, pad_edge=False)
    for name in ("us", "% of sum", "GFLOP/s", "% of ceiling"):
        table.add_column(name, justify="right")

    def add(layer: int | None, name: str, seconds: float, flops: int) -> None:
        speed = flops / seconds if seconds > 0.0 else 0.0
        table.add_row(
            "" if layer is None else str(layer),
            name,
            f"{1e6 * seconds:,.1f}",
            f"{100 * seconds / profile.seconds:.1f}",
            f"{speed / 1e9:,.1f}" if flops else "",
            f"{100 * speed / profile.ceiling:.1f}" if flops else "",
        )

    for (layer, name), seconds, flops in profile.timings:
        add(layer, name, seconds, flops)
    add(None, "all phases", profile.seconds, profile.flops)
    add(None, "a step of the run", profile.step, profile.flops)
    output().print(table)
    threads = training.threads.number
    echo(
        f"Ceiling: {profile.ceiling / 1e9:,.1f} GFLOP/s, a product of two {profile.side} x "
        f"{profile.side} matrices in {training.engine.precision}"
        + (f" on {threads} thread{'s' * (threads > 1)}" if threads else "")
    )
    echo(f"The run's steps: {profile.how}")
    if profile.is_apart:
        echo("The phases were not run that way, but one by one: compare them with each other")
    echo()
