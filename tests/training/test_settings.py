"""The typed keywords of `xpmlp.train` are the settings that it takes."""

import dataclasses
import inspect

from xpmlp.network import Objective
from xpmlp.optimizers import OPTIMIZERS
from xpmlp.schedules import SCHEDULES
from xpmlp.training import OptimizerConfig, Plateau, TrainConfig, ValidationConfig
from xpmlp.training.typed_settings import (
    ObjectiveSettings,
    OptimizerSettings,
    RunSettings,
    Settings,
    ValidationSettings,
)


def fields(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def test_every_field_of_a_configuration_is_a_typed_keyword() -> None:
    options = {
        name
        for make in (*OPTIMIZERS.values(), *SCHEDULES.values())
        for name in inspect.signature(make).parameters
    }
    plateau = {f"plateau_{name}" for name in fields(Plateau)}
    assert set(RunSettings.__annotations__) == fields(TrainConfig)
    assert set(ObjectiveSettings.__annotations__) == fields(Objective)
    assert set(OptimizerSettings.__annotations__) == fields(OptimizerConfig) | options | plateau
    assert set(ValidationSettings.__annotations__) == fields(ValidationConfig)


def test_no_keyword_is_required() -> None:
    assert not Settings.__required_keys__
    assert "device" in Settings.__optional_keys__
