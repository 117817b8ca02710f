"""The lecture's training step on random images, of any widths, with or without members."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from xpmlp import MLP, OptimizerConfig, TrainConfig, select_backend
from xpmlp.compiler import Program, record
from xpmlp.training.state import first_state
from xpmlp.training.step import TrainingData, TrainingState, make_step

LECTURE = (784, 64, 32, 10)
SMALL = (20, 12, 7, 5)
ROWS = 100


class Step(NamedTuple):
    make: Any
    state: TrainingState
    data: TrainingData

    def program(self, precision: str = "float32") -> Program:
        return record(*self, precision=precision)


def lecture_step(
    sizes: tuple[int, ...] = SMALL,
    *,
    batch: int = 8,
    members: int = 0,
    dtype: str = "float32",
    hidden: str = "sigmoid",
    rates: Any = 0.03,
) -> Step:
    r = np.random.default_rng(0)
    model, optimizer_config = MLP(sizes, activation=hidden), OptimizerConfig(learning_rate=rates)
    parameters = model.initialize(range(members) if members else 0, dtype=dtype)
    data = TrainingData(
        X=r.integers(0, 256, (ROWS, sizes[0])).astype(np.uint8),
        labels=r.integers(0, sizes[-1], ROWS).astype(np.uint8),
        order=r.permutation(ROWS),
        positions=np.arange(batch),
        classes=np.arange(sizes[-1]),
    )
    state = first_state(
        model, TrainConfig(optimizer_config=optimizer_config), parameters, select_backend("numpy")
    )
    return Step(partial(make_step, model, optimizer_config=optimizer_config), state, data)
