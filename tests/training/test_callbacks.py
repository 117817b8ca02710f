"""Callbacks read a running trainer, and change it by its methods alone."""

import ast
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import xpmlp
from xpmlp import MLP, Callback, Control, Split, Trainer
from xpmlp.training import callbacks
from xpmlp.training.callbacks import (
    BestWeights,
    EarlyStopping,
    TimeLimit,
    Validation,
    callbacks_of,
)

ROWS = Split(np.eye(6), np.arange(6) % 3)
MODEL = MLP((6, 5, 3))


def begin(**settings: object) -> Trainer:
    parameters = MODEL.initialize(0, dtype="float64")
    backend = xpmlp.select_backend("numpy")
    settings = {"epochs": 3, "batch_size": 2, "threads": 1, **settings}
    return Trainer.begin(MODEL, ROWS, parameters=parameters, backend=backend, **settings)


@pytest.mark.parametrize("module", [xpmlp, xpmlp.training])
def test_the_names_of_0_1_0_are_the_same_classes_with_a_warning(module: ModuleType) -> None:
    with pytest.warns(DeprecationWarning, match=r"Observer is xpmlp.Callback now"):
        assert module.Observer is Callback
    with pytest.warns(DeprecationWarning, match=r"Training is xpmlp.Trainer now"):
        assert module.Training is Trainer
    with pytest.raises(AttributeError, match="no attribute 'Trainings'"):
        module.Trainings  # noqa: B018


@pytest.mark.parametrize(
    ("control", "before", "after"),
    [
        (Control(), [], []),
        (Control(ROWS, validate_every=2), [Validation], []),
        (
            Control(ROWS, patience=2, keep_best=True, time_limit=9.0),
            [Validation, BestWeights, EarlyStopping],
            [TimeLimit],
        ),
    ],
)
def test_settings_ask_for_callbacks(control: Control, before: list, after: list) -> None:
    found = callbacks_of(control)
    assert [[type(one) for one in part] for part in found] == [before, after]


def test_a_validation_given_by_hand_does_what_the_setting_does() -> None:
    expected = begin(control=Control(ROWS)).run()
    found = begin().run([Validation(ROWS)])
    assert (
        found.history.validation_iterations == expected.history.validation_iterations == [3, 6, 9]
    )
    np.testing.assert_array_equal(
        found.history.validation_losses, expected.history.validation_losses
    )


def test_a_callback_stops_a_run_with_a_reason() -> None:
    class Enough(Callback):
        def on_epoch(self, trainer: Trainer, /) -> None:
            if trainer.epoch == 2:
                trainer.stop("it is enough")
                trainer.stop("more than that")

    run = begin().run([Enough()])
    assert (run.epoch, run.ended, run.was_stopped) == (2, "it is enough", False)


def test_a_run_that_is_over_can_be_extended() -> None:
    expected = begin(epochs=4).run()
    run = begin(epochs=3).run()
    run.extend(1)
    np.testing.assert_array_equal(run.run().parameters, expected.parameters)
    assert run.epoch == 4


def attributes_written(text: str, names: tuple[str, ...]) -> list[str]:
    """The attributes of these variables that a source text assigns or deletes."""
    return sorted(
        ast.unparse(node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute)
        and not isinstance(node.ctx, ast.Load)
        and isinstance(node.value, ast.Name)
        and node.value.id in names
    )


def test_nobody_else_writes_into_a_trainer() -> None:
    names = ("trainer", "training", "run")
    assert attributes_written("run.a, b = 1, 2; run.c += run.d; del trainer.e", names) == [
        "run.a", "run.c", "trainer.e",
    ]  # fmt: skip
    for path in Path(callbacks.__file__).parent.parent.rglob("*.py"):
        assert attributes_written(path.read_text("utf-8"), names) == [], path
