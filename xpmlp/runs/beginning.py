"""The run that a recipe describes, before its first step; the recipe that describes a run."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xpmlp.backends import PRECISIONS, Backend
from xpmlp.data import Dataset
from xpmlp.data.npy import read_npz
from xpmlp.errors import InputError
from xpmlp.network import MLP, Objective
from xpmlp.recipes import Recipe
from xpmlp.training import Trainer

SETTINGS = (
    "epochs", "batch_size", "shuffle", "drop_last", "threads", "dtype", "compile",
    "initializer", "initial_scale", "zero_output",
)  # fmt: skip
"""Settings that a recipe and `TrainConfig` share as they are."""


def begin_training(
    recipe: Recipe, dataset: Dataset, backend: Backend, *, lets_members_diverge: bool = False
) -> Trainer:
    """The run that a recipe describes, before its first step."""
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
        lets_members_diverge=lets_members_diverge,
        seed=recipe.seeds,
        **{name: getattr(recipe, name) for name in SETTINGS},
    )


NETWORK = ("layer_sizes", "hidden", "output", "normalization", "residual")
"""Settings of a recipe that are a network's."""


def recipe_of(
    model: MLP, objective: Objective, trainer: Trainer | None, named: Mapping[str, Any], data: str
) -> Recipe:
    """Return the recipe of a run that Python began, as far as a recipe can hold its settings.

    `named` are the settings that were given by name. The options of an optimizer or a schedule are
    known from there alone; what no recipe can hold is left out.
    """
    network = {name: getattr(model, name) for name in NETWORK}
    settings = _changed(objective)
    if trainer is not None:
        config, descent = trainer.config, trainer.descent
        for part in (config, config.objective, descent, config.control):
            settings |= _changed(part)
        settings |= {"optimizer": descent.optimizer.name, "schedule": descent.schedule.name}
        settings |= {name: value for name, value in named.items() if _is_plain(value)}
        settings |= {"epochs": max(1, trainer.epochs), "backend": trainer.backend.name}
        if (validation := config.control.validation) is not None:
            held = len(validation.labels)
            settings["validation"] = held / (held + trainer.row_count)
        if isinstance(config.seed, tuple):
            settings["members"] = len(config.seed)
    settings = {name: value for name, value in settings.items() if hasattr(Recipe(), name)}
    settings = {**settings, **network, "data": data}
    settings = {n: list(v) if isinstance(v, tuple) else v for n, v in settings.items()}
    try:
        return Recipe().replace(settings)
    except InputError:
        return Recipe().replace({**network, "layer_sizes": list(model.layer_sizes), "data": data})


def _changed(part: Any) -> dict[str, Any]:
    """The settings of a configuration that are not the usual ones, where a recipe can hold them."""
    values = {one.name: (getattr(part, one.name), one.default) for one in dataclasses.fields(part)}
    return {n: value for n, (value, usual) in values.items() if value != usual and _is_plain(value)}


def _is_plain(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return isinstance(value, (bool, int, float, str))


def load_initial_weights(path: Path, model: MLP, *, members: int) -> np.ndarray:
    """The flat parameters in an .npz with W1 B1 W2 B2 ..., the lecture's names; float64.

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
