"""Training: a pure step, a loop around it, and observers of the loop.

step.py        one mini-batch: rows, forward, backward, update
loop.py        epochs of steps, and the named events that observers hear
history.py     what a run has measured so far
evaluation.py  loss, accuracy and probabilities on given rows
profile.py     where a step's time goes, phase by phase (phases.py)
"""

from xpmlp.training.evaluation import Evaluation, evaluate, predict
from xpmlp.training.history import History
from xpmlp.training.loop import Observer, Snapshot, StopTraining, Training, train
from xpmlp.training.step import TrainingData, TrainingState, make_step

__all__ = [
    "Evaluation",
    "History",
    "Observer",
    "Snapshot",
    "StopTraining",
    "Training",
    "TrainingData",
    "TrainingState",
    "evaluate",
    "make_step",
    "predict",
    "train",
]
