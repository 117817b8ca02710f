"""Runs of training as directories: started from a recipe, checkpointed, resumed.

trainer_from_recipe, recipe_of   the run that a recipe describes, and back
RunDirectory                     where it leaves its recipe, model, history and summary
Checkpoints                      a callback that saves where it stands
load_checkpoint, RunFingerprint  where it stood, and what it began with
"""

from typing import Any

from xpmlp import renamed
from xpmlp.runs.checkpoints import (
    MAY_DIFFER,
    Checkpoints,
    RunFingerprint,
    load_checkpoint,
    save_checkpoint,
)
from xpmlp.runs.directory import RunDirectory, TrainedModel
from xpmlp.runs.from_recipe import load_initial_weights, recipe_of, trainer_from_recipe

__all__ = [
    "MAY_DIFFER",
    "Checkpoints",
    "RunDirectory",
    "RunFingerprint",
    "TrainedModel",
    "load_checkpoint",
    "load_initial_weights",
    "recipe_of",
    "save_checkpoint",
    "trainer_from_recipe",
]


def __getattr__(name: str) -> Any:
    return globals()[renamed.attribute(__name__, name)]
