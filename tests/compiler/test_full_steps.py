"""Steps with every part there is: traced, interpreted, and run as the kernels that a GPU gets."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_compilers import compilers
from random_steps import assert_same, run_eagerly
from scheduled import Scheduled

from xpmlp import MLP, Objective, OptimizerConfig, Split, Trainer, ValidationConfig, select_backend
from xpmlp.compiler import Interpreter, Program, record
from xpmlp.compiler.emit import kernel_plan
from xpmlp.optimizers import OPTIMIZERS
from xpmlp.schedules import one_cycle
from xpmlp.training.step import make_step

pytestmark = pytest.mark.extended(keep=1)

EVERYTHING: dict[str, Any] = {
    "batch norm, adam, ema, mixup": (
        MLP((20, 8, 8, 5), "gelu", normalization="batch", residual=True),
        Objective(dropout=0.3, input_dropout=0.2, label_smoothing=0.1, mixup=0.4, l1=1e-4, l2=1e-3),
        OptimizerConfig(
            OPTIMIZERS["adam"](),
            learning_rate=0.01,
            schedule=one_cycle(),
            warm_up=1.0,
            weight_decay=0.1,
            clip_norm=1.0,
            average="ema",
        ),
    ),
    "layer norm, rmsprop, swa, limits": (
        MLP((20, 8, 6, 5), "mish", normalization="layer"),
        Objective(dropout=0.5, class_weights=(1.0, 2.0, 0.5, 1.0, 3.0)),
        OptimizerConfig(
            OPTIMIZERS["rmsprop"](),
            learning_rate=0.01,
            bias_rate=0.5,
            clip_value=0.1,
            max_norm=1.5,
            average="swa",
            average_start=0.0,
        ),
    ),
    "regression, nesterov": (
        MLP((20, 8, 5), "selu", "identity"),
        Objective("huber", huber_delta=0.7),
        OptimizerConfig(
            OPTIMIZERS["nesterov"](), learning_rate=0.01, bias_decay=True, weight_decay=0.1
        ),
    ),
    "many answers, lion": (
        MLP((20, 8, 5), "silu", "sigmoid"),
        Objective(l2=0.01),
        OptimizerConfig(OPTIMIZERS["lion"](), learning_rate=0.001, weight_decay=0.1),
    ),
    "counts, sgd": (
        MLP((20, 8, 5), "tanh", "exp"),
        Objective("poisson"),
        OptimizerConfig(OPTIMIZERS["sgd"](), learning_rate=0.001),
    ),
    "quantile, momentum": (
        MLP((20, 8, 5), "leaky_relu", "identity"),
        Objective("quantile", quantile=0.2),
        OptimizerConfig(OPTIMIZERS["momentum"](), learning_rate=0.01),
    ),
}


def begin(name: str, *, members: int = 0, dtype: str = "float64") -> tuple[Any, Any, Any]:
    """What makes the step, and the state and data of its first."""
    model, objective, optimizer_config = EVERYTHING[name]
    random = np.random.default_rng(0)
    X = random.integers(0, 256, (96, 20), dtype=np.uint8)
    labels: np.ndarray = random.integers(0, 5, 96)
    if model.output == "sigmoid":
        labels = random.integers(0, 2, (96, 5)).astype(np.float64)
    elif model.output == "exp":
        labels = random.poisson(1.5, (96, 5)).astype(np.float64)
    elif model.output == "identity":
        labels = random.standard_normal((96, 5))
    trainer = Trainer.begin(
        model,
        Split(X, labels),
        parameters=model.initialize(
            range(members) if members else 0, initializer="he_normal", dtype=dtype
        ),
        objective=objective,
        optimizer_config=optimizer_config,
        validation_config=ValidationConfig(),
        backend=select_backend("numpy"),
        epochs=3,
        batch_size=16,
        seed=list(range(members)) if members else 0,
        shuffle=True,
        threads=1,
    )
    segment = next(trainer.loader().epoch(trainer.epoch_plan()))
    return partial(make_step, model, objective, optimizer_config), trainer.state, segment.data


def program_of(name: str, **settings: Any) -> Program:
    return record(*begin(name, **settings))


@pytest.mark.extended(keep=5)
@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("members", [0, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_interpreted_they_are_the_same_bits(name: str, members: int, dtype: str) -> None:
    make, state, data = begin(name, members=members, dtype=dtype)
    found = Interpreter(record(make, state, data)).run(state, data, 5)
    assert_same(found, run_eagerly(make, *begin(name, members=members, dtype=dtype)[1:], 5), 0.0)


@pytest.mark.extended(keep=1)
@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("language", ["c", "cuda"])
@pytest.mark.parametrize("members", [0, 2])
def test_full_steps_as_kernels_have_the_same_numbers(
    name: str, language: str, members: int, tmp_path: Path
) -> None:
    make, state, data = begin(name, members=members)
    program = record(make, state, data)
    found = Scheduled(program, tmp_path, language).run(state, data, 4)
    assert_same(found, Interpreter(program).run(state, data, 4), 1e-9)


@pytest.mark.extended
@pytest.mark.oracle
@pytest.mark.parametrize("name", EVERYTHING)
def test_cuda_s_compilers_take_them(name: str, tmp_path: Path) -> None:
    source = kernel_plan(program_of(name, dtype="float32")).source
    for compile_source in compilers(half=False):
        compile_source(source, tmp_path)


def test_full_steps_stay_few_kernels() -> None:
    counts = {name: len(kernel_plan(program_of(name)).nodes) for name in EVERYTHING}
    assert max(counts.values()) <= 22, counts
