"""Training: a pure step, a loop around it, and callbacks that listen to the loop.

config.py      every setting of a run
optimizer_config.py   optimizer, rates over time and by group, limits, averages
validation_config.py  validation, what counts as better, and when a run ends early
step.py        one mini-batch: rows, forward, backward, update
state.py       what a run begins with, and what of it a snapshot saves
batches.py     which rows each step takes, with what weights
loaders.py     how rows reach the device
engine.py      how steps are executed: compiled, or one by one
trainer.py     epochs of steps, and the events that callbacks listen to
callbacks.py   validation, best weights, early stopping, the time limit
loggers.py     logs of epochs: CSV, TensorBoard, MLflow, Weights & Biases
recovery.py    too little memory, a lost GPU, a diverged run
nonfinite.py   where a number became NaN or infinite first
ticks.py       how many steps lie between two looks at a run
history.py     what a run has measured so far
evaluation.py  loss, metrics and probabilities on given rows
metrics.py     the metrics by name: accuracy, F1, AUC, R² and others
folds.py       cross-validation: every fold a member of one run
find_rate.py   which learning rate to begin with
typed_settings.py  the keywords of `xpmlp.train`, for editors
profile.py     where a step's time goes, phase by phase
progress.py    a bar, or a line for each epoch
"""

from typing import Any

from xpmlp import renamed
from xpmlp.training.callbacks import Callback, StopTraining
from xpmlp.training.config import TrainConfig
from xpmlp.training.evaluation import Evaluation, evaluate, predict
from xpmlp.training.folds import Folds, cross_validate, fold_rows
from xpmlp.training.history import History
from xpmlp.training.loggers import CSVLogger, MLflowLogger, TensorBoardLogger, WandbLogger
from xpmlp.training.optimizer_config import AVERAGES, OptimizerConfig, Plateau
from xpmlp.training.state import Snapshot
from xpmlp.training.step import TrainingData, TrainingState, make_step
from xpmlp.training.trainer import Trainer, train
from xpmlp.training.validation_config import MONITORS, Best, ValidationConfig

__all__ = [
    "AVERAGES",
    "MONITORS",
    "Best",
    "CSVLogger",
    "Callback",
    "Evaluation",
    "Folds",
    "History",
    "MLflowLogger",
    "OptimizerConfig",
    "Plateau",
    "Snapshot",
    "StopTraining",
    "TensorBoardLogger",
    "TrainConfig",
    "Trainer",
    "TrainingData",
    "TrainingState",
    "ValidationConfig",
    "WandbLogger",
    "cross_validate",
    "evaluate",
    "fold_rows",
    "make_step",
    "predict",
    "train",
]


def __getattr__(name: str) -> Any:
    return globals()[renamed.attribute(__name__, name)]
