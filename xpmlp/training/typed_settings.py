"""The keyword arguments of `xpmlp.train`, for editors and type checkers.

A test holds them equal to the fields of `TrainConfig` and its parts, and to the options of the
optimizers and schedules that can be named.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from xpmlp.algebra import Loss
from xpmlp.network import Objective
from xpmlp.optimizers import Optimizer
from xpmlp.schedules import Schedule
from xpmlp.training.optimizer_config import OptimizerConfig
from xpmlp.training.validation_config import ValidationConfig


class Settings(TypedDict, total=False):
    """Every setting that `xpmlp.train` takes by keyword, and the device of its backend.

    The fields of `TrainConfig`, `Objective`, `OptimizerConfig`, `ValidationConfig`; class weights
    also by the names of the classes, optimizer and schedule also by name, with their options, and
    validation rows also as a fraction or a pair (X, y).
    """

    device: str

    epochs: int
    batch_size: int
    seed: int | Sequence[int]
    shuffle: bool
    drop_last: bool
    objective: Objective
    optimizer_config: OptimizerConfig
    validation_config: ValidationConfig
    dtype: str | None
    threads: int
    compile: str
    initializer: str
    initial_scale: float
    zero_output: bool

    loss: str | Loss
    label_smoothing: float
    huber_delta: float
    quantile: float
    class_weights: Sequence[float] | Mapping[Any, float]
    l1: float
    l2: float
    dropout: float | Sequence[float]
    input_dropout: float | Sequence[float]
    mixup: float
    divides_by_weight: bool

    optimizer: str | Optimizer
    momentum: float
    beta1: float
    beta2: float
    epsilon: float
    rho: float
    learning_rate: float | Sequence[float]
    schedule: str | Schedule
    decay_every: int
    decay_factor: float
    final_factor: float
    peak_at: float
    initial_factor: float
    power: float
    warm_up: float
    plateau_patience: int
    plateau_factor: float
    bias_rate: float
    weight_decay: float | Sequence[float]
    bias_decay: bool
    clip_norm: float
    clip_value: float
    max_norm: float
    average: str
    average_decay: float
    average_start: float

    validation: Any
    validate_every: int
    monitor: str
    patience: int
    restore_best: bool
    time_limit: float
    allow_divergence: bool
