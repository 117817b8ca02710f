"""Options that several commands share."""

import math
from pathlib import Path
from typing import Annotated

import typer

from xpmlp.errors import InputError

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]
RecipeArgument = Annotated[
    str, typer.Argument(metavar="[RECIPE|FILE.toml]", help="A recipe's name or a TOML file.")
]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any value of the recipe; repeatable."),
]
BackendOption = Annotated[
    str | None, typer.Option("--backend", help="auto, numpy, cupy, jax or torch.")
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, or cuda:1 for the second GPU.")
]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="mnist, fashion-mnist, kmnist, emnist-balanced, or a file or directory of data.",
    ),
]
HiddenOption = Annotated[
    str | None, typer.Option("--hidden", help="Widths of the hidden layers, such as 64,32.")
]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Seed of weights and order.")]
LogOption = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="NAME",
        help="Log each epoch inside the run: csv, tensorboard, mlflow or wandb; repeatable.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str, *, option: str = "--time-limit") -> float:
    """`90`, `90s`, `10m` or `1.5h` in seconds; `InputError` for what is none of these."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
    try:
        found = float(number) * UNITS[unit]
    except ValueError:
        found = math.nan
    if not 0.0 < found < math.inf:
        raise InputError(f"{option} {text}: give a time above 0, such as 60s, 10m or 1h")
    return found
