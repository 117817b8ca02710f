"""Runs of training as directories: started from a recipe, checkpointed, resumed.

begin_training, recipe_of       the run that a recipe describes, and back
RunDirectory                    where it leaves its recipe, model, history and summary
Checkpoints                     a callback that saves where it stands
load_checkpoint, Origin         where it stood, and what it began with
"""

from xpmlp.runs.beginning import begin_training, load_initial_weights, recipe_of
from xpmlp.runs.checkpoints import (
    MAY_DIFFER,
    Checkpoints,
    Origin,
    load_checkpoint,
    save_checkpoint,
)
from xpmlp.runs.directory import RunDirectory, TrainedModel

__all__ = [
    "MAY_DIFFER",
    "Checkpoints",
    "Origin",
    "RunDirectory",
    "TrainedModel",
    "begin_training",
    "load_checkpoint",
    "load_initial_weights",
    "recipe_of",
    "save_checkpoint",
]
