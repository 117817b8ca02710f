"""The run that a recipe describes, before its first step; the recipe that describes a run."""

import dataclasses
import warnings
from pathlib import Path

import numpy as np

from xpmlp.backends import PRECISIONS, Backend
from xpmlp.data import Dataset
from xpmlp.data.npy import read_npz
from xpmlp.errors import InputError
from xpmlp.network import MLP, Objective
from xpmlp.recipes import SETTINGS, Recipe
from xpmlp.training import TrainConfig, Trainer


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
        config=recipe.config(split.labels, validation),
        sample_weights=recipe.row_weights(dataset),
        allow_divergence=allow_divergence,
    )


def recipe_of(model: MLP, objective: Objective, trainer: Trainer | None, data: str) -> Recipe:
    """Return the recipe of a run that was started in Python.

    Warns
    -----
    UserWarning
        For a setting that it cannot hold, such as an optimizer of your own.
    """
    config = TrainConfig(objective=objective) if trainer is None else trainer.config
    settings = {**config.settings, **dataclasses.asdict(model)}
    if trainer is not None:
        settings |= {"epochs": max(1, trainer.epochs), "members": len(config.seeds)}
        settings |= {"backend": trainer.backend.name, "dtype": trainer.precision}
        if (validation := config.validation_config.validation) is not None:
            held = len(validation.labels)
            settings["validation"] = held / (held + trainer.row_count)
    lost = [name for name in ("optimizer", "schedule", "loss") if not _is_plain(settings[name])]
    if lost:
        text = f"config.toml cannot hold this run's own {', '.join(lost)}; it names the default"
        warnings.warn(text, UserWarning, stacklevel=3)
    return Recipe().replace(
        {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in {**settings, "data": data}.items()
            if name in SETTINGS and value != () and _is_plain(value)
        }
    )


def _is_plain(value: object) -> bool:
    """Whether TOML can hold a value; None is left out of it."""
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def load_initial_weights(path: Path, model: MLP, *, members: int) -> np.ndarray:
    """Return the flat parameters in an `.npz` file with W1 B1 W2 B2 ..., as float64.

    Raises `InputError` for a file or an array that does not fit.
    """
    names = {name.upper(): name for name in model.shapes}
    leading = () if members == 1 else (members,)
    arrays = read_npz(path, lambda _: names)
    for key, array in arrays.items():
        shape = (*leading, *model.shapes[names[key]])
        if array.shape != shape:
            raise InputError(f"{path}: {key} has shape {array.shape}, the network takes {shape}")
        if not np.isfinite(array).all():
            raise InputError(f"{path}: {key} holds NaN or infinity; give finite weights")
    parts = {names[key]: array for key, array in arrays.items()}
    return model.flatten({name: np.asarray(part, np.float64) for name, part in parts.items()})
