"""The run that a recipe describes, before its first step."""

from pathlib import Path

import numpy as np

from xpmlp.backends import PRECISIONS, Backend
from xpmlp.data import Dataset
from xpmlp.data.npy import read_npz
from xpmlp.errors import InputError
from xpmlp.network import MLP
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
