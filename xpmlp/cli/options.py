"""Options that several commands share; those of settings are made from the table `SETTINGS`."""

import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from xpmlp.checks import shown
from xpmlp.cli.next_command import as_setting
from xpmlp.data import Dataset, class_count
from xpmlp.data.table_files import has_tables
from xpmlp.errors import InputError
from xpmlp.recipes import (
    CHOICES,
    SETTINGS,
    Recipe,
    by_name,
    load_recipe,
    read_setting,
    recipe_names,
)
from xpmlp.training.loggers import LOGGERS

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]
RecipeArgument = Annotated[
    str, typer.Argument(metavar="[RECIPE|FILE.toml]", help="A recipe's name or a TOML file.")
]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Any setting, such as optimizer.name=adam; repeatable."
    ),
]
BackendOption = Annotated[
    str | None, typer.Option("--backend", help="auto, numpy, cupy, jax or torch.")
]
DeviceOption = Annotated[str | None, typer.Option("--device", help=SETTINGS["device"].about)]
DataOption = Annotated[str | None, typer.Option("--data", help=SETTINGS["data"].about)]
LogOption = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="NAME",
        help=f"Log each epoch inside the run: any of {', '.join(LOGGERS)}; repeatable.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


log = logging.getLogger(__name__)

METAVARS = {int: "INTEGER", float: "NUMBER", str: "TEXT"}


class RecipeOptions(NamedTuple):
    """What a command line asks of a recipe: options that were given, and texts of `--set`."""

    options: dict[str, str | bool]
    settings: list[str]

    def recipe(self, name: str, *before: str) -> Recipe:
        """Return the recipe with settings `before` those of the command line, then its options."""
        return load_recipe(name, [*before, *self.settings], self.options)

    def recipe_and_data(self, name: str, *before: str) -> tuple[Recipe, Dataset]:
        """Return the recipe and its data set.

        Widths and output of a recipe that comes with xpmlp follow from the data, where the command
        line does not choose them; a file says what it trains.
        """
        recipe = self.recipe(name, *before)
        chosen = {*self.options, *by_name(dict(map(read_setting, self.settings)))[0]}
        if name in recipe_names() and "scaling" not in chosen and has_tables(Path(recipe.data)):
            recipe = recipe.replace({"scaling": "robust"})
        dataset = recipe.load_data()
        recipe = recipe.replace({"target": dataset.schema.target})
        rows = len(recipe.held_out(dataset.train)[0].labels)
        if recipe.batch_size > rows:
            log.warning(
                "batch_size=%d: there are %d rows, and as many a batch", recipe.batch_size, rows
            )
            recipe = recipe.replace({"batch_size": rows})
        if name not in recipe_names():
            return recipe, dataset
        labels = dataset.train.labels
        K, targets = class_count(labels, dataset.schema), labels.shape[1] if labels.ndim == 2 else 1
        kind = "sigmoid" if targets > 1 and np.isin(labels, (0, 1)).all() else "identity"
        has_room = "layer_sizes" not in chosen or recipe.layer_sizes[-1] == targets
        changes: dict[str, object] = {}
        if K is None and has_room and recipe.output == "softmax" and "output" not in chosen:
            changes = {"output": kind, "loss": "", "label_smoothing": 0.0, "mixup": 0.0}
        if "layer_sizes" not in chosen:
            inner = recipe.layer_sizes[1:-1]
            if K is None or recipe.model.is_regression:
                K = targets
            elif recipe.output == "sigmoid" and K == 2:
                K = 1
            changes["layer_sizes"] = [dataset.train.X.shape[1], *inner, K]
        return recipe.replace({key: changes[key] for key in changes if key not in chosen}), dataset

    def again(
        self, command: str, recipe: str, found: Mapping[str, object] | None = None
    ) -> list[str]:
        """Return the words of another command with the settings given here, and those found."""
        found, words = found or {}, ["xpmlp", command, recipe]
        for name, value in self.options.items():
            words += [_flag(name, value)] if isinstance(value, bool) else [_flag(name), str(value)]
        for text in self.settings:
            key, given = read_setting(text)
            words += ["--set", text] if not by_name({key: given})[0].keys() & found.keys() else []
        for name, one in found.items():
            words += ["--set", f"{SETTINGS[name].path}={as_setting(one)}"]
        return words


def takes_settings(**panels: tuple[str, ...]) -> Callable[[Callable[..., None]], Any]:
    """Give a command an option for each of these settings, by panels of its help, and `--set`.

    The command receives them as its keyword `given`. `hidden` are the widths of hidden layers.
    """
    names = {name: panel for panel, own in panels.items() for name in own}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def call(*arguments: Any, settings: list[str] | None = None, **others: Any) -> None:
            given = {name: others.pop(name, None) for name in names}
            options = {name: value for name, value in given.items() if value is not None}
            command(*arguments, given=RecipeOptions(options, settings or []), **others)

        signature = inspect.signature(command, eval_str=True)
        first = [one for name, one in signature.parameters.items() if name != "given"]
        options = [_option(name, panel.replace("_", " ")) for name, panel in names.items()]
        options.append(_parameter("settings", SettingsOption))
        kept = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in first]
        call.__signature__ = signature.replace(parameters=[kept[0], *options, *kept[1:]])  # type: ignore[attr-defined]
        call.__annotations__ = {}  # typer reads the signature
        return call

    return decorate


def check_ending(path: Path | None, *endings: str) -> None:
    """Refuse a file to be written whose name tells of another kind of file."""
    if path is not None and path.suffix.lower() not in endings:
        raise InputError(
            f"{path}: {path.suffix or 'no ending'} is not supported; give a name that ends in "
            f"{' or '.join(endings)}"
        )


def _option(name: str, panel: str) -> inspect.Parameter:
    """The option of a setting; its text is read where files and `--set` are."""
    if name == "hidden":
        one, about = SETTINGS["layer_sizes"], "Widths of the hidden layers, such as 128,64."
    else:
        one = SETTINGS[name]
        usual = str(one.default).lower() if bool in one.types else shown(one.default)
        known = f" One of {', '.join(CHOICES[name])}." if name in CHOICES else ""
        about = one.about.replace("`", "") + known + (f" Default: {usual}." if usual else "")
    is_flag = bool in one.types
    flags = f"{_flag(name)}/{_flag(name, False)}" if is_flag else _flag(name)
    metavar = next((said for kind, said in METAVARS.items() if kind in one.types), None)
    option = typer.Option(flags, help=about, metavar=metavar, rich_help_panel=panel)
    kind: Any = bool | None if is_flag else str | None
    return _parameter(name, Annotated[kind, option])


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _flag(name: str, value: object = True) -> str:
    return f"--{'' if value else 'no-'}{name.replace('_', '-')}"
