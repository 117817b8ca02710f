"""Training: a pure step, a loop around it, and observers of the loop.

config.py      every setting of a run
step.py        one mini-batch: rows, forward, backward, update
descent.py     optimizer, rates over time and by group, limits, averages
control.py     validation, what counts as better, and when a run has had enough
beginning.py   what a run starts from
loop.py        epochs of steps, and the named events that observers hear
history.py     what a run has measured so far
evaluation.py  loss, accuracy and probabilities on given rows
folds.py       cross-validation: every fold a member of one run
find_rate.py   which learning rate to begin with
profile.py     where a step's time goes, phase by phase
progress.py    a bar, or a line for each epoch
"""

from xpmlp.training.config import TrainConfig
from xpmlp.training.control import MONITORS, Best, Control
from xpmlp.training.descent import AVERAGES, Descent, Plateau
from xpmlp.training.evaluation import Evaluation, evaluate, predict
from xpmlp.training.folds import Folds, cross_validate, fold_rows
from xpmlp.training.history import History
from xpmlp.training.loop import Observer, Snapshot, StopTraining, Training, train
from xpmlp.training.step import TrainingData, TrainingState, make_step

__all__ = [
    "AVERAGES",
    "MONITORS",
    "Best",
    "Control",
    "Descent",
    "Evaluation",
    "Folds",
    "History",
    "Observer",
    "Plateau",
    "Snapshot",
    "StopTraining",
    "TrainConfig",
    "Training",
    "TrainingData",
    "TrainingState",
    "cross_validate",
    "evaluate",
    "fold_rows",
    "make_step",
    "predict",
    "train",
]
