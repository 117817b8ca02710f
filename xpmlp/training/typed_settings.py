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
from xpmlp.training.control import ValidationConfig
from xpmlp.training.descent import OptimizerConfig, Plateau


class RunSettings(TypedDict, total=False):
    """The fields of `TrainConfig`."""

    epochs: int
    batch_size: int
    seed: int | Sequence[int]
    shuffle: bool
    drop_last: bool
    objective: Objective
    descent: OptimizerConfig
    control: ValidationConfig
    dtype: str | None
    threads: int
    compile: str
    initializer: str
    initial_scale: float
    zero_output: bool


class ObjectiveSettings(TypedDict, total=False):
    """The fields of `Objective`; class weights also by the names of the classes."""

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


class OptimizerSettings(TypedDict, total=False):
    """The fields of `OptimizerConfig`; optimizer and schedule also by name, with their options."""

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
    plateau: Plateau | None
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


class ValidationSettings(TypedDict, total=False):
    """The fields of `ValidationConfig`; validation rows also as a fraction or a pair (X, y)."""

    validation: Any
    validate_every: int
    monitor: str
    patience: int
    restore_best: bool
    time_limit: float
    allow_divergence: bool


class Settings(RunSettings, ObjectiveSettings, OptimizerSettings, ValidationSettings, total=False):
    """Every setting that `xpmlp.train` takes by keyword, and the device of its backend."""

    device: str
