"""Callbacks read a running trainer, and change it by its methods alone."""

import ast
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import xpmlp
from tests.callbacks import hearing, listener
from tests.training import small_runs
from xpmlp import MLP, Callback, CallbackError, Split, StopTraining, Trainer, ValidationConfig
from xpmlp.training import callbacks
from xpmlp.training.callbacks import BestWeights, EarlyStopping, TimeLimit, Validation, callbacks_of

ROWS = Split(np.eye(6), np.arange(6) % 3)
MODEL = MLP((6, 5, 3))


def begin(**settings: object) -> Trainer:
    return small_runs.begin(MODEL, ROWS, **{"batch_size": 2, "shuffle": False, **settings})


@pytest.mark.parametrize("module", [xpmlp, xpmlp.training])
def test_names_of_0_1_0_are_the_same_classes_with_a_warning(module: ModuleType) -> None:
    with pytest.warns(DeprecationWarning, match=r"Observer is xpmlp.Callback now"):
        assert module.Observer is Callback
    with pytest.warns(DeprecationWarning, match=r"Training is xpmlp.Trainer now"):
        assert module.Training is Trainer
    with pytest.raises(AttributeError, match="no attribute 'Trainings'"):
        module.Trainings  # noqa: B018


@pytest.mark.parametrize(
    ("validation_config", "before", "after"),
    [
        (ValidationConfig(), [], []),
        (ValidationConfig(ROWS, validate_every=2), [Validation], []),
        (
            ValidationConfig(ROWS, patience=2, restore_best=True, time_limit=9.0),
            [Validation, BestWeights, EarlyStopping],
            [TimeLimit],
        ),
    ],
)
def test_settings_ask_for_callbacks(
    validation_config: ValidationConfig, before: list, after: list
) -> None:
    found = callbacks_of(validation_config)
    assert [[type(one) for one in part] for part in found] == [before, after]


def test_a_validation_given_by_hand_does_what_the_setting_does() -> None:
    expected = begin(validation_config=ValidationConfig(ROWS)).run()
    found = begin().run([Validation(ROWS)])
    assert (
        found.history.validation_iterations == expected.history.validation_iterations == [3, 6, 9]
    )
    np.testing.assert_array_equal(
        found.history.validation_losses, expected.history.validation_losses
    )


def test_a_callback_stops_a_run_with_a_reason() -> None:
    def stop(trainer: Trainer) -> None:
        if trainer.epoch == 2:
            trainer.stop("it is enough")
            trainer.stop("more than that")

    run = begin().run([hearing(on_epoch=stop)])
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


# Callbacks that fail, ask to stop, or take long


EVENTS = ("on_start", "on_tick", "on_epoch", "on_end")


def test_events_are_all_methods_of_a_callback() -> None:
    assert {name for name in vars(Callback) if name.startswith("on_")} == set(EVENTS)


def fail(_: Trainer) -> None:
    raise KeyError("no such\nthing")


@pytest.mark.parametrize(
    ("event", "iteration", "stands"),
    [
        ("on_start", 0, "after epoch 0"),
        ("on_tick", 1, "after epoch 0 and 1 steps"),
        ("on_tick", 5, "after epoch 1 and 2 steps"),
        ("on_epoch", 6, "after epoch 2"),
        ("on_end", 0, "after epoch 3"),
    ],
)
def test_failing_callback_is_named_and_the_run_continues_from_there(
    event: str, iteration: int, stands: str
) -> None:
    (other, first), (later, last) = listener(1), listener(1)
    run = begin(shuffle=True, validation_config=ValidationConfig(ROWS))

    def fail_late(trainer: Trainer) -> None:
        if trainer.iteration >= iteration:
            fail(trainer)

    with pytest.raises(CallbackError) as caught:
        run.run([first, hearing(1, **{event: fail_late}), last])
    error = caught.value
    assert str(error) == (
        f"callback Hearing failed in {event} (KeyError: 'no such\\nthing'); "
        f"the run is as it was {stands}"
    )
    assert (error.callback, error.event) == ("Hearing", event)
    assert isinstance(error.__cause__, KeyError)
    # The others have heard that event, too, and the end.
    assert other == later
    names = [f"on_{name}" for name, *_ in later]
    assert names[-1] == "on_end"
    assert names.count("on_end") == 1
    assert names[-2 if event != "on_end" else -1] == event
    expected = begin(shuffle=True, validation_config=ValidationConfig(ROWS)).run()
    np.testing.assert_array_equal(run.run().parameters, expected.parameters)
    for name, series in expected.history.series.items():
        np.testing.assert_array_equal(run.history[name], series)


def test_first_of_two_failures_is_raised() -> None:
    first, second = hearing(on_epoch=fail), hearing(on_end=fail)
    with pytest.raises(CallbackError, match="failed in on_epoch"):
        begin().run([first, second])


@pytest.mark.parametrize("error", [MemoryError("none left"), xpmlp.InputError("no")])
def test_errors_that_mean_something_to_the_run_stay_what_they_are(error: Exception) -> None:
    def act(_: Trainer) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        begin().run([hearing(1, on_tick=act)])
    assert caught.value.__notes__ == ["in on_tick of the callback Hearing"]


def stop_with_reason(trainer: Trainer) -> None:
    trainer.stop("it is enough")


def raise_stop(_: Trainer) -> None:
    raise StopTraining("it is enough")


@pytest.mark.parametrize("act", [stop_with_reason, raise_stop])
@pytest.mark.parametrize(
    ("event", "iterations"), [("on_start", 0), ("on_tick", 1), ("on_epoch", 3)]
)
def test_run_says_who_stopped_it(
    event: str, iterations: int, act: Callable[[Trainer], None]
) -> None:
    run = begin().run([hearing(1, **{event: act}), listener(1)[1]])
    assert run.iteration == iterations
    assert run.stopped_by == "Hearing: it is enough"
    run.extend(3)
    assert run.run().stopped_by == ""


def test_stop_at_the_end_comes_too_late() -> None:
    run = begin().run([hearing(on_end=raise_stop)])
    assert (run.epoch, run.was_stopped, run.stopped_by) == (3, False, "")


def test_settings_that_stop_a_run_are_named() -> None:
    run = begin(
        epochs=50, validation_config=ValidationConfig(ROWS, patience=1, monitor="accuracy")
    ).run()
    assert run.stopped_by == f"EarlyStopping: {run.ended}"


class Clock:
    """Seconds that pass only where a test says so."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def take(self, _: Trainer) -> None:
        self.now += 4.0


@pytest.mark.parametrize(
    ("event", "seconds"), [("on_start", 0), ("on_tick", 36), ("on_epoch", 12), ("on_end", 0)]
)
def test_slow_callback_changes_nothing_and_is_named(
    event: str, seconds: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where it is called again and again; what is done once may take its time."""
    clock = Clock()
    monkeypatch.setattr(callbacks, "time", clock)
    run = begin().run([hearing(1, **{event: clock.take}), listener(1)[1]])
    assert clock.now >= 4.0
    np.testing.assert_array_equal(run.parameters, begin().run().parameters)
    said = [record.getMessage() for record in caplog.records]
    expected = f"callback Hearing took {seconds} s, training itself 0 s"
    assert said == ([expected] if seconds else [])
