"""Steps to compile: the training step of a small network, and any that a test writes down."""

import functools
from typing import Any

import numpy as np

from xpmlp import MLP
from xpmlp.compiler import Program, record
from xpmlp.optimizers import sgd
from xpmlp.training import TrainingData, TrainingState, make_step


def lecture_like(
    dtype: str = "float64", members: int = 0, hidden: str = "sigmoid"
) -> tuple[Any, TrainingState, TrainingData]:
    """A step maker with a state and data for it."""
    model = MLP((6, 5, 4, 3), hidden=hidden)
    random = np.random.default_rng(0)
    seeds = list(range(members)) if members else 0
    parameters = model.initialize(seeds, dtype=dtype)
    optimizer = sgd([0.1 * (e + 1) for e in range(members)] if members else 0.3)
    state = TrainingState(parameters, optimizer.init(parameters, xp=np), np.array(8))
    data = TrainingData(
        random.integers(0, 256, (64, 6), dtype=np.uint8),
        random.integers(0, 3, 64),
        random.permutation(64),
        np.arange(8),
        np.arange(3),
    )
    return functools.partial(make_step, model, optimizer), state, data


def trace(step: Any, *state: np.ndarray, data: tuple[np.ndarray, ...] = ()) -> Program:
    """The program of a step written as `step(xp, *state, *data)` -> the new state and metrics."""
    return record(lambda *, xp: lambda s, d: step(xp, *s, *d), state, data)
