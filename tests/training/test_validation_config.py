"""When a run is looked at and when it ends: validation, stopping, the best, time; and resuming."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.callbacks import Recorder, StopAt, hearing, resumed
from tests.training import small_runs
from tests.training.small_runs import STAND, WALK, compiled_if_possible, separable
from xpmlp import (
    MLP,
    Diverged,
    InputError,
    Objective,
    OptimizerConfig,
    Plateau,
    Split,
    Trainer,
    ValidationConfig,
    evaluate,
    select_backend,
)
from xpmlp.backends import Backend
from xpmlp.backends.numpy import NumPyBackend
from xpmlp.data import hold_out
from xpmlp.optimizers import OPTIMIZERS, sgd
from xpmlp.runs import RunDirectory, RunFingerprint, load_checkpoint, save_checkpoint
from xpmlp.schedules import constant, one_cycle
from xpmlp.training import Best
from xpmlp.training.batches import EpochPlan
from xpmlp.training.loaders import make_loader

pytestmark = pytest.mark.extended(keep=17)

MODEL = MLP((6, 5, 3))
STEPS = 12


HELD = separable(40, seed=1)


def begin(model: MLP = MODEL, **changes: Any) -> Trainer:
    defaults = {
        "split": separable(), "optimizer_config": OptimizerConfig(learning_rate=0.3),
        "validation_config": ValidationConfig(validation=HELD), "epochs": 4,
    }  # fmt: skip
    return small_runs.begin(model, **{**defaults, **compiled_if_possible(changes)})


def recorder() -> Recorder:
    """Keep the parameters to predict with."""
    return Recorder(lambda trainer: trainer.parameters)


def from_disk(stopped: Trainer, again: Trainer, directory: Path) -> Trainer:
    """The second run, at the place where the first one stands, by way of a checkpoint's file."""
    save_checkpoint(
        RunDirectory(directory), stopped.snapshot(), RunFingerprint({}, data="", versions={})
    )
    again.restore(load_checkpoint(RunDirectory(directory))[0])
    return again


def over_a_hill(bottoms: Sequence[float], *, epochs: int = 12, **validation_config: Any) -> Trainer:
    """One step an epoch, of 1 down, from b = 0: the loss of member e is (b_e - bottom_e)² / 2.

    So after epoch n it is (n + bottom)² / 2, least in epoch -bottom.
    """
    members = len(bottoms)
    validation = Split(np.zeros((2, 1)), np.zeros((2, 1)))
    start = np.zeros((members, 2))
    start[:, 1] = -np.asarray(bottoms)  # the walk is down to the validation's 0
    return small_runs.begin(
        MLP((1, 1), output="identity"),
        validation,
        parameters=start if members > 1 else start[0],
        optimizer_config=OptimizerConfig(WALK, 1.0),
        validation_config=ValidationConfig(validation=validation, **validation_config),
        epochs=epochs,
        batch_size=2,
    )


# Validation


def test_a_network_is_validated_after_every_epoch(backend: Backend) -> None:
    watcher = recorder()
    run = begin(backend=backend).run([watcher])
    history = run.history
    assert history.validation_iterations == [12, 24, 36, 48]
    expected = [evaluate(MODEL, parameters, HELD) for parameters in watcher.way[11::12]]
    np.testing.assert_allclose(
        history.validation_losses, [found.loss for found in expected], rtol=1e-10
    )
    np.testing.assert_array_equal(
        history.validation_accuracies, [found.accuracy for found in expected]
    )


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize("every", [1, 5, 12, 17, 64, 100])
def test_validate_every_n_steps(every: int) -> None:
    """Of 96 steps an epoch, looked at after 64 and after 96: neither divides the other."""
    watcher, validation_config = recorder(), ValidationConfig(validation=HELD, validate_every=every)
    run = begin(validation_config=validation_config, batch_size=1, epochs=2).run()
    begin(batch_size=1, epochs=2).run([watcher])
    assert run.history.validation_iterations == list(range(every, 193, every))
    expected = [evaluate(MODEL, p, HELD).loss for p in watcher.way[every - 1 :: every]]
    np.testing.assert_allclose(run.history.validation_losses, expected, rtol=1e-12)
    assert set(run.history.validation) == {
        "validation_iteration", "validation_loss", "validation_accuracy"
    }  # fmt: skip


def test_validation_changes_nothing_that_is_learned() -> None:
    model = MLP((6, 5, 4, 3), normalization="batch")
    changes: dict[str, Any] = {"objective": Objective(dropout=0.2), "model": model}
    watched = begin(
        validation_config=ValidationConfig(validation=HELD, validate_every=5), **changes
    ).run()
    alone = begin(validation_config=ValidationConfig(), **changes).run()
    np.testing.assert_array_equal(watched.parameters, alone.parameters)
    np.testing.assert_array_equal(watched.history.loss, alone.history.loss)
    assert not alone.history.validation


def test_averaged_parameters_are_validated() -> None:
    optimizer_config = OptimizerConfig(learning_rate=0.3, average="ema", average_decay=0.9)
    run = begin(optimizer_config=optimizer_config).run()
    now = evaluate(MODEL, run.parameters, HELD)
    assert run.history.validation_losses[-1] == now.loss
    assert evaluate(MODEL, run.state.parameters, HELD).loss != now.loss


# Early stopping


@pytest.mark.parametrize(("patience", "ends"), [(1, 4), (3, 6), (0, 12)])
def test_a_run_ends_when_nothing_got_better_for_a_while(patience: int, ends: int) -> None:
    """Best after 3 epochs; `patience` more are waited for."""
    run = over_a_hill([-3.0], patience=patience).run()
    assert run.epoch == ends
    np.testing.assert_allclose(
        run.history.validation_losses, [(n - 3.0) ** 2 / 2 for n in range(1, ends + 1)]
    )
    expected = f"no better validation loss in the last {patience} evaluations" if patience else ""
    assert run.ended == expected


def test_early_stopping_waits_for_every_member() -> None:
    run = over_a_hill([-3.0, -5.0], patience=2).run()
    assert run.epoch == 7


def test_r2_may_decide_in_place_of_the_loss() -> None:
    """R² falls as the squared error rises; a loss that only ever falls is not looked at."""
    constant = Split(np.zeros((2, 1)), np.array([[-1.0], [1.0]]))
    run = over_a_hill([-3.0], patience=2, monitor="r2")
    run.validation_config = ValidationConfig(validation=constant, patience=2, monitor="r2")
    run.run()
    accuracies = run.history.validation_accuracies
    assert run.epoch == int(np.argmax(accuracies)) + 1 + 2 == 5
    assert run.ended == "no better validation r2 in the last 2 evaluations"


def test_an_accuracy_that_stays_is_no_better() -> None:
    validation_config = ValidationConfig(validation=HELD, patience=3, monitor="accuracy")
    assert (
        begin(
            validation_config=validation_config, optimizer_config=OptimizerConfig(STAND), epochs=20
        )
        .run()
        .epoch
        == 4
    )


def test_patience_counts_evaluations_within_epochs_too() -> None:
    """An evaluation after every step, the first the best: the run ends within the epoch."""
    validation_config = ValidationConfig(validation=HELD, validate_every=1, patience=2)
    up = begin(
        validation_config=validation_config, optimizer_config=OptimizerConfig(CLIMB, 0.1)
    ).run()
    assert (up.epoch, up.step) == (0, 3)
    assert len(up.history.loss) == 3
    assert up.ended


CLIMB = sgd()._replace(update=lambda p, g, state, rate, /, *, xp: (p + rate * g, state))
"""Up the gradient, where every loss is worse than the one before."""


@pytest.mark.parametrize("length", [12, 24])
def test_an_epoch_at_whose_last_step_a_run_ends_is_whole(length: int) -> None:
    """Its accuracy is in the history, and callbacks hear of it."""
    epochs: list[int] = []
    changes: dict[str, Any] = {
        "validation_config": ValidationConfig(
            validation=HELD, validate_every=length // 3, patience=2
        ),
        "optimizer_config": OptimizerConfig(CLIMB, 0.1),
    }
    run = begin(**changes).run([hearing(on_epoch=lambda trainer: epochs.append(trainer.epoch))])
    assert run.iteration == length
    assert (run.epoch, run.step) == (length // STEPS, 0)
    assert len(run.history.accuracies) == length // STEPS
    assert epochs == list(range(1, length // STEPS + 1))
    assert run.ended
    assert begin(**changes).run([StopAt(length)]).step == STEPS
    assert_same(resumed(lambda: begin(**changes), length), run)


def test_a_run_that_has_ended_does_not_go_on() -> None:
    run = over_a_hill([-3.0], patience=2).run()
    snapshot, ended = run.snapshot(), run.ended
    again = over_a_hill([-3.0], patience=2)
    again.restore(snapshot)
    again.run()
    assert (again.epoch, again.ended) == (5, ended)
    np.testing.assert_array_equal(again.parameters, run.parameters)


# The best


@pytest.mark.parametrize("patience", [0, 2])
def test_a_run_ends_with_what_was_best(patience: int) -> None:
    run = over_a_hill([-3.0], restore_best=True, patience=patience).run()
    np.testing.assert_allclose(run.parameters, [-3.0, 0.0])
    assert run.best is not None
    assert run.best.cost == 0.0
    np.testing.assert_allclose(run.state.parameters[1], 3.0 - run.epoch)  # it trained further


def test_each_member_ends_with_its_own_best() -> None:
    run = over_a_hill([-3.0, -5.5, -40.0], restore_best=True).run()
    assert run.epoch == 12
    # Epochs 5 and 6 are equally good for the second: it has the last.
    np.testing.assert_allclose(run.parameters, [[-3.0, 0.0], [-6.0, -0.5], [-12.0, 28.0]])
    assert run.best is not None
    np.testing.assert_allclose(run.best.cost, [0.0, 0.125, 392.0])


def test_last_epoch_is_validated_as_it_is() -> None:
    """And not the best one again: no evaluation is of anything but the step it comes after."""
    run = over_a_hill([-3.0], restore_best=True, epochs=6).run()
    np.testing.assert_allclose(
        run.history.validation_losses, [2.0, 0.5, 0.0, 0.5, 2.0, 4.5], atol=1e-12
    )


def test_best_may_be_the_last() -> None:
    run = over_a_hill([-40.0], restore_best=True, epochs=6).run()
    np.testing.assert_array_equal(run.parameters, run.state.parameters)


def test_best_is_not_given_before_the_end() -> None:
    run = over_a_hill([-3.0], restore_best=True)
    run.run([StopAt(6)])  # at the end of its epoch of one step
    np.testing.assert_allclose(run.parameters[1], 3.0 - 6.0)
    run.run()
    np.testing.assert_allclose(run.parameters[1], 0.0)


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize("monitor", ["loss", "accuracy"])
def test_best_is_what_the_history_says(monitor: str, backend: Backend) -> None:
    watcher, model = recorder(), MLP((6, 5, 3), normalization="batch")
    validation_config = ValidationConfig(
        validation=HELD, validate_every=7, monitor=monitor, restore_best=True
    )
    run = begin(model, validation_config=validation_config, backend=backend).run([watcher])
    series = getattr(run.history, f"validation_{'losses' if monitor == 'loss' else 'accuracies'}")
    costs = np.asarray(series if monitor == "loss" else -np.asarray(series))
    place = int(np.flatnonzero(costs == costs.min())[-1])
    iteration = run.history.validation_iterations[place]
    found = backend.to_numpy(run.parameters)
    np.testing.assert_array_equal(found, watcher.way[iteration - 1])
    assert found.shape == (model.size,)
    now = evaluate(model, run.parameters, HELD, backend=backend)
    np.testing.assert_allclose(getattr(now, monitor), series[place], rtol=1e-12)


def test_better_of_two_is_each_member_s_own() -> None:
    best = Best(np.array([1.0, 2.0, 3.0]), np.zeros((3, 2)))
    found = best.or_as_good(np.array([0.5, 2.0, np.nan]), np.ones((3, 2)))
    np.testing.assert_array_equal(found.cost, [0.5, 2.0, 3.0])
    np.testing.assert_array_equal(found.parameters, [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    np.testing.assert_array_equal(best.parameters, 0.0)


def test_the_last_of_equally_good_epochs_is_restored() -> None:
    run = over_a_hill([-2.5], restore_best=True).run()
    losses = run.history.validation_losses
    assert losses[1] == losses[2] == min(losses)
    np.testing.assert_array_equal(run.parameters[1], 2.5 - 3.0)
    assert run.validation_config.best_of(losses, run.history.validation_accuracies) == 2


# Time


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that advances by a second whenever it is looked at: a tick takes one and more."""
    clock = itertools.count(0.0)
    monkeypatch.setattr("xpmlp.training.trainer.time.perf_counter", lambda: next(clock))


@pytest.mark.usefixtures("slow_clock")
def test_a_run_ends_when_its_time_is_over() -> None:
    run = begin(validation_config=ValidationConfig(time_limit=9.0), batch_size=1, epochs=9).run()
    assert run.ended == "the time limit of 9 s is reached"
    assert 0 < run.iteration < 9 * 96
    assert len(run.history.loss) == run.iteration


@pytest.mark.usefixtures("slow_clock")
def test_time_counts_on_in_a_run_that_goes_on() -> None:
    whole = begin(validation_config=ValidationConfig(time_limit=9.0), epochs=9).run()
    again = resumed(lambda: begin(validation_config=ValidationConfig(time_limit=9.0), epochs=9), 2)
    assert again.ended
    assert again.iteration - 2 < whole.iteration


def test_time_counts_between_steps_too(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("xpmlp.training.trainer.time.perf_counter", lambda: now)

    def pause(_: Trainer) -> None:
        nonlocal now
        now += 1.0

    run = begin(validation_config=ValidationConfig(time_limit=2.5), epochs=9).run(
        [hearing(on_epoch=pause)]
    )
    assert (run.epoch, run.seconds) == (3, 0.0)


def test_time_limit_counts_the_seconds_before_a_restore() -> None:
    validation_config = ValidationConfig(time_limit=3600.0)
    stopped, again = begin(epochs=1).run(), begin(validation_config=validation_config, epochs=3)
    again.restore(dataclasses.replace(stopped.snapshot(), seconds=4000.0))
    again.run()
    assert again.iteration < again.epochs * again.steps_per_epoch
    assert again.ended == "the time limit of 3600 s is reached"


def test_a_time_that_is_over_before_the_first_step_still_has_one_tick() -> None:
    run = begin(validation_config=ValidationConfig(time_limit=1e-9)).run()
    assert 0 < run.iteration <= 64
    assert run.ended == "the time limit of 1e-09 s is reached"


def test_run_without_a_time_limit_ends_by_its_epochs() -> None:
    run = begin(validation_config=ValidationConfig()).run()
    assert (run.epoch, run.ended) == (4, "")


# Refusals


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patience": 2}, "patience=2: needs validation rows"),
        ({"validate_every": 5}, "validate_every=5: needs validation rows"),
        ({"restore_best": True}, "restore_best=True: needs validation rows"),
        ({"validation": HELD, "patience": -1}, "patience=-1"),
        ({"validation": HELD, "patience": 1.5}, "patience=1.5: give an integer"),
        ({"validation": HELD, "patience": True}, "patience=True: give an integer"),
        ({"validation": HELD, "validate_every": -3}, "validate_every=-3"),
        ({"validation": HELD, "monitor": "acuracy"}, "did you mean accuracy"),
        ({"time_limit": 0.0}, "time_limit=0.0: give seconds"),
        ({"time_limit": float("nan")}, "time_limit=nan"),
    ],
)
def test_bad_control_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ValidationConfig(**settings)


def test_classes_have_no_r2_to_monitor() -> None:
    with pytest.raises(InputError, match="monitor=r2: this network predicts classes"):
        begin(validation_config=ValidationConfig(validation=HELD, monitor="r2"))


def test_rows_held_out_are_checked_before_anything_runs() -> None:
    with pytest.raises(InputError, match=r"validation data: rows are 5 values"):
        begin(validation_config=ValidationConfig(validation=Split(HELD.X[:, :5], HELD.labels)))
    with pytest.raises(InputError, match=r"validation data: label \d in row 0"):
        begin(validation_config=ValidationConfig(validation=Split(HELD.X, HELD.labels + 3)))


def test_a_checkpoint_without_its_best_is_refused() -> None:
    validation_config = ValidationConfig(validation=HELD, restore_best=True)
    snapshot = begin().run([StopAt(20)]).snapshot()
    with pytest.raises(InputError, match="not whole, or of another run"):
        begin(validation_config=validation_config).restore(snapshot)


# Members that diverge


def diverging(rates: list[float], epochs: int = 4, **validation_config: Any) -> Trainer:
    return begin(
        MLP((6, 5, 3), activation="relu"),
        seed=[3] * len(rates),
        optimizer_config=OptimizerConfig(learning_rate=rates),
        validation_config=ValidationConfig(
            validation=HELD, allow_divergence=True, **validation_config
        ),
        epochs=epochs,
    )


def test_a_member_may_diverge_alone(backend: Backend) -> None:
    model = MLP((6, 5, 3), activation="relu")
    alone = begin(
        model, seed=3, optimizer_config=OptimizerConfig(learning_rate=0.1), backend=backend
    ).run()
    run = begin(
        model,
        seed=[3, 3],
        optimizer_config=OptimizerConfig(learning_rate=[1e300, 0.1]),
        validation_config=ValidationConfig(
            validation=HELD, allow_divergence=True, restore_best=True
        ),
        backend=backend,
    ).run()
    assert not np.isfinite(run.history.loss[-1, 0])
    np.testing.assert_allclose(run.history.loss[:, 1], alone.history.loss, rtol=1e-10)
    np.testing.assert_allclose(
        np.asarray(run.history.validation_losses)[:, 1], alone.history.validation_losses, rtol=1e-10
    )
    assert run.epoch == 4


def test_patience_is_with_those_that_are_left() -> None:
    run = diverging([1e300, 0.1], epochs=30, patience=3).run()
    losses = np.asarray(run.history.validation_losses)[:, 1]
    ends = next((n for n in range(4, 31) if losses[n - 3 : n].min() >= losses[: n - 3].min()), 30)
    assert run.epoch == ends < 30


def test_a_plateau_is_seen_in_those_that_are_left() -> None:
    def run(seed: Any, rate: Any, schedule: Any) -> Trainer:
        return begin(
            MLP((6, 5, 3), activation="relu"),
            seed=seed,
            optimizer_config=OptimizerConfig(learning_rate=rate, schedule=schedule),
            validation_config=ValidationConfig(validation=HELD, allow_divergence=True),
            epochs=20,
        ).run()

    plateau = Plateau(patience=0, factor=0.1)
    alone, together = run(3, 0.3, plateau), run([3, 3], [1e300, 0.3], plateau)
    assert (alone.parameters != run(3, 0.3, constant()).parameters).any()  # there is one
    np.testing.assert_allclose(together.history.loss[:, 1], alone.history.loss, rtol=1e-10)


def test_a_run_ends_when_all_diverge() -> None:
    with pytest.raises(Diverged, match="the loss became"):
        diverging([1e300, 1e299]).run()


def test_run_ends_when_members_diverge_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last good state then has numbers of one member only."""
    run = diverging([1e300, 0.1])

    def spoil(trainer: Trainer) -> None:
        if trainer.epoch == 2:
            trainer.state.parameters[1] = np.nan

    with pytest.raises(Diverged, match="the loss became"):
        run.run([hearing(on_epoch=spoil)])
    assert run.epoch == 2


def test_a_run_with_one_member_less_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    whole, stopped = diverging([1e300, 0.1]).run(), diverging([1e300, 0.1]).run([StopAt(20)])
    again = from_disk(stopped, diverging([1e300, 0.1]), tmp_path).run()
    np.testing.assert_array_equal(again.parameters, whole.parameters)
    np.testing.assert_array_equal(again.history.loss, whole.history.loss)


def test_diverging_member_ends_the_run_by_default() -> None:
    run = begin(
        MLP((6, 5, 3), activation="relu"),
        seed=[3, 3],
        optimizer_config=OptimizerConfig(learning_rate=[1e300, 0.1]),
    )
    with pytest.raises(Diverged, match="member 1"):
        run.run()


# Validation rows


@settings(max_examples=60)
@given(
    labels=st.lists(st.integers(0, 4), min_size=2, max_size=60),
    share=st.floats(0.02, 0.98),
    seed=st.integers(0, 2**31),
)
def test_validation_rows_are_a_fair_part(labels: list[int], share: float, seed: int) -> None:
    count = len(labels)
    split = Split(np.arange(count)[:, None], np.array(labels))
    wanted = round(share * count)
    if not 0 < wanted < count:
        with pytest.raises(InputError, match="leave rows in both parts"):
            hold_out(split, share, seed=seed)
        return
    left, held = hold_out(split, share, seed=seed)
    numbers = np.concatenate([left.X[:, 0], held.X[:, 0]])
    np.testing.assert_array_equal(np.sort(numbers), np.arange(count))  # each row in one part
    assert len(held.labels) == wanted
    for part in (left, held):
        assert (np.diff(part.X[:, 0]) > 0).all()
        np.testing.assert_array_equal(part.labels, split.labels[part.X[:, 0]])
    for label in set(labels):  # each class has its part, to a row
        expected = labels.count(label) * wanted / count
        assert abs(np.count_nonzero(held.labels == label) - expected) < 1.0
    again, _ = hold_out(split, share, seed=seed)
    np.testing.assert_array_equal(again.X, left.X)


def test_another_seed_holds_out_other_rows() -> None:
    one, other = (hold_out(separable(), 0.25, seed=seed)[1] for seed in (0, 1))
    assert (one.X != other.X).any()


@pytest.mark.parametrize("columns", [1, 3])
def test_targets_are_held_out_without_classes(columns: int) -> None:
    Y = np.random.default_rng(0).normal(size=(50, columns))
    left, held = hold_out(Split(np.arange(50)[:, None], Y), 0.3, seed=0)
    assert (len(left.labels), len(held.labels)) == (35, 15)
    np.testing.assert_array_equal(held.labels, Y[held.X[:, 0]])


def test_every_row_is_held_out_by_some_seed() -> None:
    found = {
        int(number)
        for seed in range(60)
        for number in hold_out(Split(np.arange(20)[:, None], np.arange(20) % 3), 0.2, seed=seed)[
            1
        ].X[:, 0]
    }
    assert found == set(range(20))


# Resuming


def nasty(backend: Backend, **changes: Any) -> Trainer:
    """All that a run could lose on its way through a checkpoint."""
    chosen: dict[str, Any] = {
        "model": MLP((6, 5, 5, 3), activation="relu", normalization="batch", residual=True),
        "seed": [3, 4],
        "epochs": 6,
        "objective": Objective(dropout=0.2, input_dropout=0.1, mixup=0.4, label_smoothing=0.1),
        "optimizer_config": OptimizerConfig(
            OPTIMIZERS["adam"](), [0.02, 0.05], one_cycle(), warm_up=1.5, weight_decay=0.1,
            average="ema", average_decay=0.9, max_norm=2.0, clip_norm=1.0,
        ),
        "validation_config": ValidationConfig(
            validation=HELD, patience=2, restore_best=True, monitor="accuracy"
        ),
        "backend": backend,
    }  # fmt: skip
    return begin(**{**chosen, **changes})


def plateaued(backend: Backend, **changes: Any) -> Trainer:
    """The same with a plateau, evaluations within epochs, and a mean of ends of epochs."""
    optimizer_config = OptimizerConfig(
        OPTIMIZERS["lion"](), [0.05, 0.1], schedule=Plateau(0, 0.5), average="swa",
        average_start=0.3, bias_rate=2.0,
    )  # fmt: skip
    validation_config = ValidationConfig(
        validation=HELD, validate_every=5, patience=9, restore_best=True
    )
    return nasty(
        backend,
        **{"optimizer_config": optimizer_config, "validation_config": validation_config, **changes},
    )


def assert_same(one: Trainer, other: Trainer) -> None:
    to_numpy = one.backend.to_numpy
    np.testing.assert_array_equal(to_numpy(one.parameters), to_numpy(other.parameters))
    a, b = one.snapshot(), other.snapshot()
    assert a.state.keys() == b.state.keys()
    for name, array in a.state.items():
        np.testing.assert_array_equal(array, b.state[name], err_msg=name)
    for name, series in vars(a.history).items():
        np.testing.assert_array_equal(series, getattr(b.history, name), err_msg=name)
    assert (a.best is None) == (b.best is None)
    if a.best is not None and b.best is not None:
        np.testing.assert_array_equal(a.best.cost, b.best.cost)
        np.testing.assert_array_equal(a.best.parameters, b.best.parameters)
    assert (one.epoch, one.step, one.ended) == (other.epoch, other.step, other.ended)


def on_backends(oracles: Any) -> pytest.MarkDecorator:
    """Both kinds of runs on NumPy, one of them on the oracles' libraries."""
    others = [pytest.param(name, oracles, marks=pytest.mark.oracle) for name in ("torch", "jax")]
    both = [("numpy", nasty), ("numpy", plateaued), *others]
    return pytest.mark.parametrize(("name", "make"), both)


@on_backends(nasty)
def test_a_run_goes_on_to_the_same_bits(name: str, make: Any, tmp_path, request) -> None:
    """Stopped anywhere, saved, loaded and restored: within and at the ends of epochs and ticks."""
    if name != "numpy":
        request.getfixturevalue(name)
    backend = select_backend(name)
    whole = make(backend).run()
    last = whole.iteration
    assert last > 3 * STEPS  # it was long enough to be broken
    places = (1, 11, 12, 13, 30, last - 1, last) if name == "numpy" else (30,)
    for iteration in places:
        stopped = make(backend).run([StopAt(iteration)])
        assert stopped.iteration == iteration
        again = from_disk(stopped, make(backend), tmp_path)
        assert_same(again.run(), whole)


def test_a_run_goes_on_twice(tmp_path: Path) -> None:
    backend = NumPyBackend()
    whole, run = plateaued(backend).run(), plateaued(backend)
    for iteration in (3, 14, 15, 29):
        run = from_disk(run.run([StopAt(iteration)]), plateaued(backend), tmp_path)
    assert_same(run.run(), whole)


@on_backends(plateaued)
def test_rows_in_blocks_train_the_same(name: str, make: Any, monkeypatch, request) -> None:
    """With all that steps look up by number or by place, and from the middle of an epoch."""
    if name != "numpy":
        request.getfixturevalue(name)
    backend, changes = select_backend(name), dict[str, Any]()
    if make is plateaued:  # mixed rows have no weights
        changes = {"sample_weights": np.linspace(0.1, 2.0, 96), "objective": Objective(dropout=0.2)}
    resident, blocks = make(backend, **changes).run(), list[int]()
    row = 6 * 8 + 8 + (8 if changes else 0)

    def small(*given: Any, **options: Any) -> Any:
        options["limit"] = 2 * 5 * 8 * row
        found = make_loader(*given, **options)
        blocks.extend(segment.steps for segment in found.epoch(EpochPlan(np.arange(96))))
        return make_loader(*given, **options)

    monkeypatch.setattr("xpmlp.training.trainer.make_loader", small)
    assert_same(make(backend, **changes).run(), resident)
    assert blocks == [5, 5, 2]
    if name != "numpy":
        return  # what is left is the host's alone
    assert_same(resumed(lambda: make(backend, **changes), 19), resident)


def test_restored_run_continues_after_it_was_stopped() -> None:
    run = begin(epochs=2)
    start = run.snapshot()
    run.run([hearing(1, on_tick=lambda trainer: trainer.stop("enough"))])
    assert run.ended == "enough"
    run.restore(start)
    assert run.run().epoch == 2
