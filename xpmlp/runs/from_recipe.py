"""The run that a recipe describes, before its first step; the recipe that describes a run."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from xpmlp.backends import PRECISIONS, Backend
from xpmlp.data import Dataset
from xpmlp.data.npy import read_npz
from xpmlp.errors import InputError
from xpmlp.network import ARCHITECTURE, MLP, Objective
from xpmlp.recipes import SETTINGS as SETTINGS_OF_RECIPES
from xpmlp.recipes import Recipe
from xpmlp.training import Trainer
from xpmlp.training.config import OWN, PLATEAU

SHARED_SETTINGS = (
    "epochs", "batch_size", "shuffle", "drop_last", "threads", "dtype", "compile",
    "initializer", "initial_scale", "zero_output",
)  # fmt: skip
"""Settings that a recipe and `TrainConfig` share as they are."""


def trainer_from_recipe(
    recipe: Recipe, dataset: Dataset, backend: Backend, *, allow_divergence: bool = False
) -> Trainer:
    """Return the run that a recipe describes, before its first step."""
    split, validation = recipe.held_out(dataset.train)
    weights = None
    if recipe.initial_weights:
        path = Path(recipe.initial_weights)
        weights = load_initial_weights(path, recipe.model, members=recipe.members)
        weights = weights.astype(PRECISIONS[recipe.dtype])
    return Trainer(
        recipe.model,
        split,
        parameters=weights,
        backend=backend,
        objective=recipe.objective(split.labels),
        descent=recipe.descent,
        control=recipe.control(validation),
        allow_divergence=allow_divergence,
        seed=recipe.seeds,
        **{name: getattr(recipe, name) for name in SHARED_SETTINGS},
    )


def recipe_of(model: MLP, objective: Objective, trainer: Trainer | None, data: str) -> Recipe:
    """Return the recipe of a run that was started in Python.

    Warns
    -----
    UserWarning
        For a setting that it cannot hold, such as an optimizer of your own.
    """
    settings = _changed(objective)
    if trainer is not None:
        config, descent = trainer.config, trainer.descent
        for part in (config, config.objective, descent, config.control):
            settings |= _changed(part)
        settings |= {"weight_decay": descent.weight_decay, "epochs": max(1, trainer.epochs)}
        settings |= {"backend": trainer.backend.name, "dtype": trainer.precision}
        for kind in ("optimizer", "schedule"):
            chosen = getattr(descent, kind)
            if chosen.name in OWN[kind]:
                settings |= {kind: chosen.name, **dict(chosen.options)}
        if descent.plateau is not None:
            own = dataclasses.asdict(descent.plateau)
            settings |= {f"plateau_{name}": value for name, value in own.items()}
            settings["schedule"] = PLATEAU
        if (validation := config.control.validation) is not None:
            held = len(validation.labels)
            settings["validation"] = held / (held + trainer.row_count)
        if isinstance(config.seed, tuple):
            settings["members"] = len(config.seed)
    settings |= {name: getattr(model, name) for name in ARCHITECTURE}
    lost = [name for name in ("optimizer", "schedule", "loss") if not _is_plain(settings.get(name))]
    if lost:
        text = f"config.toml cannot hold this run's own {', '.join(lost)}; it names the default"
        warnings.warn(text, UserWarning, stacklevel=3)
    return Recipe().replace(
        {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in {**settings, "data": data}.items()
            if name in SETTINGS_OF_RECIPES and _is_plain(value)
        }
    )


def _changed(part: Any) -> dict[str, Any]:
    """The settings of a configuration that are not at their default."""
    values = {one.name: (getattr(part, one.name), one.default) for one in dataclasses.fields(part)}
    return {name: value for name, (value, usual) in values.items() if value != usual}


def _is_plain(value: object) -> bool:
    """Whether TOML can hold a value; None is left out of it."""
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def load_initial_weights(path: Path, model: MLP, *, members: int) -> np.ndarray:
    """Return the flat parameters in an `.npz` file with W1 B1 W2 B2 ..., as float64.

    Shapes are compared before anything is read. Raises `InputError` for a file or an array
    that does not fit.
    """
    names = {name.upper(): name for name in model.shapes}
    leading = () if members == 1 else (members,)
    wanted = {names[key].upper(): (*leading, *model.shapes[names[key]]) for key in names}
    arrays = read_npz(path, shapes=wanted)
    parts = {names[key]: arrays[key] for key in wanted}
    for key, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputError(f"{path}: {key} holds NaN or infinity; give finite weights")
    return model.flatten({name: np.asarray(part, np.float64) for name, part in parts.items()})
