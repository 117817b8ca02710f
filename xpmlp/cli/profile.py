"""The table of `xpmlp train --profile`."""

from xpmlp.cli.console import echo, print_table
from xpmlp.training import Trainer
from xpmlp.training.profile import Profile

BUSY_SLOWDOWN = 1.25
"""Times its shortest, the product's median time that shows other work on the machine."""

SLOW_STEP = 1.5
"""Times its phases, the time of a step that they do not explain."""


def show(profile: Profile, trainer: Trainer) -> None:
    """Print where a step's time goes, to standard output."""

    def row(layer: int | None, name: str, seconds: float, flops: int) -> list[str]:
        speed = flops / seconds if seconds > 0.0 else 0.0
        return [
            "" if layer is None else str(layer),
            name,
            f"{1e6 * seconds:,.1f}",
            f"{100 * seconds / profile.seconds:.1f}",
            f"{speed / 1e9:,.1f}" if flops else "",
            f"{100 * speed / profile.ceiling:.1f}" if flops else "",
        ]

    heads = ("layer", "phase", "us", "% of sum", "GFLOP/s", "% of ceiling")
    rows = [row(*where, seconds, flops) for where, seconds, flops in profile.timings]
    rows.append(row(None, "all phases", profile.seconds, profile.flops))
    rows.append(row(None, "a step of the run", profile.step, profile.flops))
    print_table(heads, rows, left=2)
    threads = trainer.threads.number
    echo(
        f"Ceiling: {profile.ceiling / 1e9:,.1f} GFLOP/s, a product of two {profile.side} x "
        f"{profile.side} matrices in {trainer.engine.precision}"
        + (f" on {threads} thread{'s' * (threads > 1)}" if threads else "")
    )
    if profile.slowdown > BUSY_SLOWDOWN:
        echo(
            f"The machine is busy: that product took {profile.slowdown:.1f} times as long at the "
            "median as at best, and the phases are slowed down alike; repeat this on an idle one"
        )
    if profile.step > SLOW_STEP * profile.seconds:
        echo(
            f"The step took {1e6 * profile.step:,.0f} us, its phases {1e6 * profile.seconds:,.0f}: "
            "the machine is busy, or the steps of a run wait for memory; repeat this on an idle one"
        )
    echo(f"The run's steps: {profile.how}")
    if profile.is_apart:
        echo("The phases were not run that way, but one by one: compare them with each other")
    echo()
