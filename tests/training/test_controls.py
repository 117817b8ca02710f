"""When a run is looked at and when it ends: validation, stopping, the best, time; and going on."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpmlp import (
    MLP,
    Callback,
    Diverged,
    InputError,
    Objective,
    OptimizerConfig,
    Plateau,
    Split,
    StopTraining,
    Trainer,
    ValidationConfig,
    evaluate,
    select_backend,
)
from xpmlp.backends import Backend
from xpmlp.backends.numpy import NumPyBackend
from xpmlp.data import hold_out
from xpmlp.optimizers import OPTIMIZERS, Optimizer
from xpmlp.runs import RunDirectory, RunFingerprint, load_checkpoint, save_checkpoint
from xpmlp.schedules import one_cycle
from xpmlp.training import Best
from xpmlp.training.batches import EpochPlan
from xpmlp.training.loaders import make_loader

pytestmark = pytest.mark.extended(keep=17)

MODEL = MLP((6, 5, 3))
STEPS = 12
ORIGIN = RunFingerprint({}, data="", versions={})


def rows(count: int = 96, seed: int = 0) -> Split:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    X = random.normal(size=(count, 6))
    X[np.arange(count), labels] += 1.0  # something to learn
    return Split(X, labels)


HELD = rows(40, seed=1)


def begin(model: MLP = MODEL, **changes: Any) -> Trainer:
    backend = changes.get("backend") or NumPyBackend()
    seed = changes.get("seed", 0)
    chosen: dict[str, Any] = {
        "parameters": model.initialize(seed, backend=backend, dtype="float64"),
        "descent": OptimizerConfig(learning_rate=0.3),
        "control": ValidationConfig(validation=HELD),
        "epochs": 4, "batch_size": 8, "seed": 0, "shuffle": True, "threads": 1,
        "backend": backend, "compile": "require" if backend.compiles else "off",
        "split": rows(),
    }  # fmt: skip
    return Trainer.begin(model, **{**chosen, **changes})


class Recorder(Callback):
    """Keeps the parameters to predict with after every step."""

    every = 1

    def __init__(self) -> None:
        self.way: list[np.ndarray] = []

    def on_tick(self, training: Trainer, /) -> None:
        self.way.append(np.array(training.backend.to_numpy(training.parameters)))


class StopAt(Callback):
    every = 1

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def on_tick(self, training: Trainer, /) -> None:
        if training.iteration == self.iteration:
            raise StopTraining


def init(parameters: Any, /, *, xp: Any) -> Any:
    return OPTIMIZERS["sgd"]().init(parameters, xp=xp)


def walking(parameters: Any, gradients: Any, state: Any, rate: Any, /, *, xp: Any) -> Any:
    parameters -= rate * (0.0 * gradients + 1.0)
    return parameters, state


WALK = Optimizer(init, walking)
"""Every parameter moves down by the learning rate, whatever the gradients are."""

HILL = MLP((1, 1), output="identity")


def over_a_hill(bottoms: Sequence[float], *, epochs: int = 12, **control: Any) -> Trainer:
    """One step an epoch, of 1 down, from b = 0: the loss of member e is (b_e - bottom_e)² / 2.

    So after epoch n it is (n + bottom)² / 2, least in epoch -bottom.
    """
    members = len(bottoms)
    validation = Split(np.zeros((2, 1)), np.zeros((2, 1)))
    start = np.zeros((members, 2))
    start[:, 1] = -np.asarray(bottoms)  # the walk is down to the validation's 0
    return Trainer.begin(
        HILL,
        Split(np.zeros((2, 1)), np.zeros((2, 1))),
        parameters=start if members > 1 else start[0],
        descent=OptimizerConfig(WALK, 1.0),
        control=ValidationConfig(validation=validation, **control),
        epochs=epochs,
        batch_size=2,
        seed=0,
        shuffle=False,
        threads=1,
        backend=NumPyBackend(),
    )


# Validation


def test_a_network_is_validated_after_every_epoch(backend: Backend) -> None:
    recorder = Recorder()
    run = begin(backend=backend).run([recorder])
    history = run.history
    assert history.validation_iterations == [12, 24, 36, 48]
    expected = [evaluate(MODEL, parameters, HELD) for parameters in recorder.way[11::12]]
    np.testing.assert_allclose(
        history.validation_losses, [found.loss for found in expected], rtol=1e-10
    )
    np.testing.assert_array_equal(
        history.validation_accuracies, [found.accuracy for found in expected]
    )


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize("every", [1, 5, 12, 17, 64, 100])
def test_or_after_every_so_many_steps(every: int) -> None:
    """Of 96 steps an epoch, looked at after 64 and after 96: neither divides the other."""
    recorder = Recorder()
    control = ValidationConfig(validation=HELD, validate_every=every)
    run = begin(control=control, batch_size=1, epochs=2).run()
    begin(batch_size=1, epochs=2).run([recorder])
    assert run.history.validation_iterations == list(range(every, 193, every))
    expected = [evaluate(MODEL, p, HELD).loss for p in recorder.way[every - 1 :: every]]
    np.testing.assert_allclose(run.history.validation_losses, expected, rtol=1e-12)
    assert set(run.history.validation) == {
        "validation_iteration", "validation_loss", "validation_accuracy"
    }  # fmt: skip


def test_validation_changes_nothing_that_is_learned() -> None:
    model = MLP((6, 5, 4, 3), normalization="batch")
    changes: dict[str, Any] = {"objective": Objective(dropout=0.2), "model": model}
    watched = begin(control=ValidationConfig(validation=HELD, validate_every=5), **changes).run()
    alone = begin(control=ValidationConfig(), **changes).run()
    np.testing.assert_array_equal(watched.parameters, alone.parameters)
    np.testing.assert_array_equal(watched.history.loss, alone.history.loss)
    assert not alone.history.validation


def test_it_is_the_mean_that_is_validated_where_there_is_one() -> None:
    descent = OptimizerConfig(learning_rate=0.3, average="ema", average_decay=0.9)
    run = begin(descent=descent).run()
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


def test_it_goes_on_while_one_member_gets_better() -> None:
    run = over_a_hill([-3.0, -5.0], patience=2).run()
    assert run.epoch == 7


def test_an_accuracy_may_decide_in_place_of_the_loss() -> None:
    """R² falls as the squared error rises; a loss that only ever falls is not looked at."""
    constant = Split(np.zeros((2, 1)), np.array([[-1.0], [1.0]]))
    run = over_a_hill([-3.0], patience=2, monitor="accuracy")
    run.control = ValidationConfig(validation=constant, patience=2, monitor="accuracy")
    run.run()
    accuracies = run.history.validation_accuracies
    assert run.epoch == int(np.argmax(accuracies)) + 1 + 2 == 5
    assert run.ended == "no better validation accuracy in the last 2 evaluations"


def test_an_accuracy_that_stays_is_no_better() -> None:
    standing = Optimizer(init, lambda p, g, state, rate, /, *, xp: (p, state))
    control = ValidationConfig(validation=HELD, patience=3, monitor="accuracy")
    assert begin(control=control, descent=OptimizerConfig(standing), epochs=20).run().epoch == 4


def test_patience_counts_evaluations_within_epochs_too() -> None:
    """An evaluation after every step, the first the best: the run ends within the epoch."""
    control = ValidationConfig(validation=HELD, validate_every=1, patience=2)
    up = begin(control=control, descent=OptimizerConfig(_climbing(), 0.1)).run()
    assert (up.epoch, up.step) == (0, 3)
    assert len(up.history.loss) == 3
    assert up.ended


def _climbing() -> Optimizer:
    """Up the gradient, where every loss is worse than the one before."""

    def update(p: Any, g: Any, state: Any, rate: Any, /, *, xp: Any) -> Any:
        p += rate * g
        return p, state

    return Optimizer(init, update)


@pytest.mark.parametrize("length", [12, 24])
def test_an_epoch_at_whose_last_step_a_run_ends_is_whole(length: int) -> None:
    """Its accuracy is in the history, and observers hear of it."""
    epochs: list[int] = []

    class Hears(Callback):
        def on_epoch(self, training: Trainer, /) -> None:
            epochs.append(training.epoch)

    changes: dict[str, Any] = {
        "control": ValidationConfig(validation=HELD, validate_every=length // 3, patience=2),
        "descent": OptimizerConfig(_climbing(), 0.1),
    }
    run = begin(**changes).run([Hears()])
    assert run.iteration == length
    assert (run.epoch, run.step) == (length // STEPS, 0)
    assert len(run.history.accuracies) == length // STEPS
    assert epochs == list(range(1, length // STEPS + 1))
    assert run.ended
    stopped = begin(**changes).run([StopAt(length)])
    assert stopped.step == STEPS
    again = begin(**changes)
    again.restore(stopped.snapshot())
    assert_same(again.run(), run)


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
    np.testing.assert_allclose(run.state.parameters[1], 3.0 - run.epoch)  # it went on


def test_each_member_ends_with_its_own_best() -> None:
    run = over_a_hill([-3.0, -5.5, -40.0], restore_best=True).run()
    assert run.epoch == 12
    np.testing.assert_allclose(run.parameters, [[-3.0, 0.0], [-5.0, 0.5], [-12.0, 28.0]])
    assert run.best is not None
    np.testing.assert_allclose(run.best.cost, [0.0, 0.125, 392.0])


def test_the_last_epoch_is_validated_as_it_is() -> None:
    """And not the best one again: no evaluation is of anything but the step it comes after."""
    run = over_a_hill([-3.0], restore_best=True, epochs=6).run()
    np.testing.assert_allclose(
        run.history.validation_losses, [2.0, 0.5, 0.0, 0.5, 2.0, 4.5], atol=1e-12
    )


def test_the_best_may_be_the_last() -> None:
    run = over_a_hill([-40.0], restore_best=True, epochs=6).run()
    np.testing.assert_array_equal(run.parameters, run.state.parameters)


def test_the_best_is_not_given_before_the_end() -> None:
    run = over_a_hill([-3.0], restore_best=True)

    class Last(Callback):
        def on_epoch(self, training: Trainer, /) -> None:
            if training.epoch == 6:
                raise StopTraining

    run.run([Last()])
    np.testing.assert_allclose(run.parameters[1], 3.0 - 6.0)
    run.run()
    np.testing.assert_allclose(run.parameters[1], 0.0)


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize("monitor", ["loss", "accuracy"])
def test_the_best_is_what_the_history_says(monitor: str, backend: Backend) -> None:
    recorder = Recorder()
    model = MLP((6, 5, 3), normalization="batch")
    control = ValidationConfig(
        validation=HELD, validate_every=7, monitor=monitor, restore_best=True
    )
    run = begin(model, control=control, backend=backend).run([recorder])
    series = getattr(run.history, f"validation_{'losses' if monitor == 'loss' else 'accuracies'}")
    place = int(np.argmin(series) if monitor == "loss" else np.argmax(series))
    iteration = run.history.validation_iterations[place]
    found = backend.to_numpy(run.parameters)
    np.testing.assert_array_equal(found, recorder.way[iteration - 1])
    assert found.shape == (model.size,)
    now = evaluate(model, run.parameters, HELD, backend=backend)
    np.testing.assert_allclose(getattr(now, monitor), series[place], rtol=1e-12)


def test_the_better_of_two_is_each_member_s_own() -> None:
    best = Best(np.array([1.0, 2.0, 3.0]), np.zeros((3, 2)))
    found = best.or_better(np.array([0.5, 2.0, np.nan]), np.ones((3, 2)))
    np.testing.assert_array_equal(found.cost, [0.5, 2.0, 3.0])  # as good is not better
    np.testing.assert_array_equal(found.parameters, [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(best.parameters, 0.0)


# Time


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by a second whenever it is looked at: a tick takes one and more."""
    clock = itertools.count(0.0)
    monkeypatch.setattr("xpmlp.training.trainer.time.perf_counter", lambda: next(clock))


@pytest.mark.usefixtures("slow_clock")
def test_a_run_ends_when_its_time_is_over() -> None:
    run = begin(control=ValidationConfig(time_limit=9.0), batch_size=1, epochs=9).run()
    assert run.ended == "the time limit of 9 s is reached"
    assert 0 < run.iteration < 9 * 96
    assert len(run.history.loss) == run.iteration


@pytest.mark.usefixtures("slow_clock")
def test_time_counts_on_in_a_run_that_goes_on() -> None:
    whole = begin(control=ValidationConfig(time_limit=9.0), epochs=9).run()
    stopped = begin(control=ValidationConfig(time_limit=9.0), epochs=9).run([StopAt(2)])
    again = begin(control=ValidationConfig(time_limit=9.0), epochs=9)
    again.restore(stopped.snapshot())
    again.run()
    assert again.ended
    assert again.iteration - stopped.iteration < whole.iteration


def test_time_counts_between_steps_too(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("xpmlp.training.trainer.time.perf_counter", lambda: now)

    class Slow(Callback):
        def on_epoch(self, training: Trainer, /) -> None:
            nonlocal now
            now += 1.0

    run = begin(control=ValidationConfig(time_limit=2.5), epochs=9).run([Slow()])
    assert (run.epoch, run.seconds) == (3, 0.0)


def test_a_time_that_is_over_before_the_first_step_still_has_one_tick() -> None:
    run = begin(control=ValidationConfig(time_limit=1e-9)).run()
    assert 0 < run.iteration <= 64
    assert run.ended == "the time limit of 1e-09 s is reached"


def test_no_limit_is_none() -> None:
    run = begin(control=ValidationConfig()).run()
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
def test_refusals(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ValidationConfig(**settings)


def test_rows_held_out_are_checked_before_anything_runs() -> None:
    with pytest.raises(InputError, match=r"validation data: rows are 5 values"):
        begin(control=ValidationConfig(validation=Split(HELD.X[:, :5], HELD.labels)))
    with pytest.raises(InputError, match=r"validation data: label \d in row 0"):
        begin(control=ValidationConfig(validation=Split(HELD.X, HELD.labels + 3)))


def test_a_checkpoint_without_its_best_is_refused() -> None:
    control = ValidationConfig(validation=HELD, restore_best=True)
    snapshot = begin().run([StopAt(20)]).snapshot()
    with pytest.raises(InputError, match="not whole, or of another run"):
        begin(control=control).restore(snapshot)


# Members that diverge


def diverging(rates: list[float], epochs: int = 4, **control: Any) -> Trainer:
    return begin(
        MLP((6, 5, 3), activation="relu"),
        seed=[3] * len(rates),
        descent=OptimizerConfig(learning_rate=rates),
        control=ValidationConfig(validation=HELD, allow_divergence=True, **control),
        epochs=epochs,
    )


def test_a_member_may_diverge_alone(backend: Backend) -> None:
    model = MLP((6, 5, 3), activation="relu")
    alone = begin(model, seed=3, descent=OptimizerConfig(learning_rate=0.1), backend=backend).run()
    run = begin(
        model,
        seed=[3, 3],
        descent=OptimizerConfig(learning_rate=[1e300, 0.1]),
        control=ValidationConfig(validation=HELD, allow_divergence=True, restore_best=True),
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
    def run(seed: Any, rate: Any, plateau: Plateau | None) -> Trainer:
        return begin(
            MLP((6, 5, 3), activation="relu"),
            seed=seed,
            descent=OptimizerConfig(learning_rate=rate, plateau=plateau),
            control=ValidationConfig(validation=HELD, allow_divergence=True),
            epochs=20,
        ).run()

    plateau = Plateau(patience=0, factor=0.1)
    alone, together = run(3, 0.3, plateau), run([3, 3], [1e300, 0.3], plateau)
    assert (alone.parameters != run(3, 0.3, None).parameters).any()  # there is one
    np.testing.assert_allclose(together.history.loss[:, 1], alone.history.loss, rtol=1e-10)


def test_a_run_ends_when_all_diverge() -> None:
    with pytest.raises(Diverged, match="the loss became"):
        diverging([1e300, 1e299]).run()


def test_also_when_they_do_so_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last good state then has numbers of one member only."""
    run = diverging([1e300, 0.1])

    class Spoil(Callback):
        def on_epoch(self, training: Trainer, /) -> None:
            if training.epoch == 2:
                training.state.parameters[1] = np.nan

    with pytest.raises(Diverged, match="the loss became"):
        run.run([Spoil()])
    assert run.epoch == 2


def test_a_run_with_one_member_less_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    whole, stopped = diverging([1e300, 0.1]).run(), diverging([1e300, 0.1]).run([StopAt(20)])
    directory = RunDirectory(tmp_path)
    save_checkpoint(directory, stopped.snapshot(), ORIGIN)
    again = diverging([1e300, 0.1])
    again.restore(load_checkpoint(directory)[0])
    again.run()
    np.testing.assert_array_equal(again.parameters, whole.parameters)
    np.testing.assert_array_equal(again.history.loss, whole.history.loss)


def test_without_leave_one_member_ends_it_for_all() -> None:
    run = begin(
        MLP((6, 5, 3), activation="relu"),
        seed=[3, 3],
        descent=OptimizerConfig(learning_rate=[1e300, 0.1]),
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
def test_what_is_held_out_is_a_fair_part(labels: list[int], share: float, seed: int) -> None:
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
    one, other = (hold_out(rows(), 0.25, seed=seed)[1] for seed in (0, 1))
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


# Going on


def nasty(backend: Backend, **changes: Any) -> Trainer:
    """All that a run could lose on its way through a checkpoint."""
    chosen: dict[str, Any] = {
        "model": MLP((6, 5, 5, 3), activation="relu", normalization="batch", residual=True),
        "seed": [3, 4],
        "epochs": 6,
        "objective": Objective(dropout=0.2, input_dropout=0.1, mixup=0.4, label_smoothing=0.1),
        "descent": OptimizerConfig(
            OPTIMIZERS["adam"](), [0.02, 0.05], one_cycle(), warm_up=1.5, weight_decay=0.1,
            average="ema", average_decay=0.9, max_norm=2.0, clip_norm=1.0,
        ),
        "control": ValidationConfig(validation=HELD, patience=2, restore_best=True, monitor="accuracy"),
        "backend": backend,
    }  # fmt: skip
    return begin(**{**chosen, **changes})


def plateaued(backend: Backend, **changes: Any) -> Trainer:
    """The same with a plateau, evaluations within epochs, and a mean of ends of epochs."""
    descent = OptimizerConfig(
        OPTIMIZERS["lion"](), [0.05, 0.1], plateau=Plateau(0, 0.5), average="swa",
        average_start=0.3, bias_rate=2.0,
    )  # fmt: skip
    control = ValidationConfig(validation=HELD, validate_every=5, patience=9, restore_best=True)
    return nasty(backend, **{"descent": descent, "control": control, **changes})


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


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("numpy", nasty),
        ("numpy", plateaued),
        pytest.param("torch", nasty, marks=pytest.mark.oracle),
        pytest.param("jax", nasty, marks=pytest.mark.oracle),
    ],
)
def test_a_run_goes_on_to_the_same_bits(
    name: str, make: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
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
        directory = RunDirectory(tmp_path)
        save_checkpoint(directory, stopped.snapshot(), ORIGIN)
        again = make(backend)
        again.restore(load_checkpoint(directory)[0])
        again.run()
        assert_same(again, whole)


def test_a_run_goes_on_twice(tmp_path: Path) -> None:
    backend = NumPyBackend()
    whole, run = plateaued(backend).run(), plateaued(backend)
    directory = RunDirectory(tmp_path)
    for iteration in (3, 14, 15, 29):
        run.run([StopAt(iteration)])
        save_checkpoint(directory, run.snapshot(), ORIGIN)
        run = plateaued(backend)
        run.restore(load_checkpoint(directory)[0])
    assert_same(run.run(), whole)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("numpy", nasty),
        ("numpy", plateaued),
        pytest.param("torch", plateaued, marks=pytest.mark.oracle),
        pytest.param("jax", plateaued, marks=pytest.mark.oracle),
    ],
)
def test_rows_in_blocks_train_the_same(
    name: str, make: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
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
    stopped = make(backend, **changes).run([StopAt(19)])
    again = make(backend, **changes)
    again.restore(stopped.snapshot())
    assert_same(again.run(), resident)
