"""The loop: events, series, stopping, resuming, members, divergence."""

import numpy as np
import pytest

from tests.callbacks import StopAt, hearing, listener, resumed
from tests.training import small_runs
from tests.training.small_runs import bright
from xpmlp import MLP, Diverged, InputError, OptimizerConfig, Split, StopTraining, Trainer
from xpmlp.backends import Backend
from xpmlp.data import order
from xpmlp.optimizers import sgd
from xpmlp.training import train

pytestmark = pytest.mark.extended(keep=12)

MODEL = MLP((12, 8, 4))


def begin(split: Split | None = None, *, model: MLP = MODEL, **changes) -> Trainer:
    settings = {"optimizer_config": OptimizerConfig(learning_rate=0.5), **changes}
    return small_runs.begin(model, split or bright(1000), **settings)


def test_events_come_in_order() -> None:
    heard, callback = listener()
    begin(epochs=2).run([callback])
    assert heard == [
        ("start", 0, 0), ("tick", 0, 64), ("tick", 0, 125), ("epoch", 1, 0),
        ("tick", 1, 64), ("tick", 1, 125), ("epoch", 2, 0), ("end", 2, 0),
    ]  # fmt: skip


@pytest.mark.extended
def test_slow_steps_make_ticks_shorter_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = begin(epochs=3).run()
    clock = iter(float(second) for second in range(10_000))  # every look at the clock: a second
    monkeypatch.setattr("xpmlp.training.trainer.time.perf_counter", lambda: next(clock))
    heard, callback = listener()
    run = begin(epochs=3).run([callback])
    steps = [step for event, epoch, step in heard if event == "tick" and epoch == 1]
    lengths = np.diff([0, *steps])
    assert lengths.max() <= 64
    assert lengths[-1] == 1  # a second for each tick, however short it is
    assert steps[-1] == 125
    np.testing.assert_array_equal(run.parameters, expected.parameters)


def test_every_observer_hears_an_event_after_which_one_stops() -> None:
    def stop(_: Trainer) -> None:
        raise StopTraining

    heard, callback = listener()
    begin().run([hearing(on_epoch=stop, on_end=stop), callback])
    assert heard[-2:] == [("epoch", 1, 0), ("end", 1, 0)]


def test_run_learns_and_keeps_its_series(backend: Backend) -> None:
    run = begin(epochs=3, backend=backend).run()
    assert run.history.loss.shape == (375,)
    assert run.history.accuracy.shape == (3,)
    assert run.history.loss[-50:].mean() < 0.7 * run.history.loss[:50].mean()
    assert run.history.accuracy[-1] > 0.8
    assert run.iteration == 375


def test_every_backend_learns_the_same(backend: Backend) -> None:
    expected = begin(epochs=2).run()
    found = begin(epochs=2, backend=backend).run()
    np.testing.assert_allclose(found.history.loss, expected.history.loss, rtol=1e-10)
    np.testing.assert_array_equal(found.history.accuracy, expected.history.accuracy)


def test_accuracy_counts_what_was_right_while_it_trained() -> None:
    split = bright(16)
    run = begin(split, epochs=1, batch_size=16, shuffle=False).run()
    L = MODEL.forward(MODEL.initialize(0, dtype="float64"), split.X / 255.0).L
    assert run.history.accuracy[0] == np.mean(L.argmax(axis=1) == split.labels)


def test_rows_left_over_wait_as_in_the_lecture() -> None:
    run = begin(bright(1003), epochs=1).run()
    assert run.steps_per_epoch == 125


def test_an_order_is_a_function_of_seed_and_epoch() -> None:
    first, second = (order(50, seed=1, epoch=epoch, shuffle=True) for epoch in (0, 1))
    assert (first != second).any()
    np.testing.assert_array_equal(np.sort(first), np.arange(50))
    np.testing.assert_array_equal(first, order(50, seed=1, epoch=0, shuffle=True))


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize("iteration", [1, 65, 125, 126, 200, 375])
def test_a_stopped_run_goes_on_to_the_same_bits(iteration: int, caplog) -> None:
    whole = begin().run()
    again = resumed(begin, iteration)
    assert not caplog.records  # not even where nothing is left to run
    np.testing.assert_array_equal(again.parameters, whole.parameters)
    np.testing.assert_array_equal(again.history.loss, whole.history.loss)
    np.testing.assert_array_equal(again.history.accuracy, whole.history.accuracy)


def test_a_snapshot_is_not_touched_by_going_on() -> None:
    run = begin().run([StopAt(100)])
    snapshot = run.snapshot()
    before = snapshot.parameters.copy()
    run.run()
    np.testing.assert_array_equal(snapshot.parameters, before)
    assert len(snapshot.history.losses) == 100


def test_parameters_given_are_not_changed(backend: Backend) -> None:
    initial = MODEL.initialize(0, backend=backend)
    before = backend.to_numpy(initial)
    train(MODEL, bright(100), epochs=1, parameters=initial, backend=backend)
    np.testing.assert_array_equal(backend.to_numpy(initial), before)


def test_parameters_may_come_from_the_host(backend: Backend) -> None:
    initial = MODEL.initialize(0)
    before = initial.copy()
    run = train(MODEL, bright(100), epochs=1, parameters=initial, backend=backend)
    np.testing.assert_array_equal(initial, before)
    assert (backend.to_numpy(run.parameters) != before).any()


def test_members_are_the_single_runs(backend: Backend) -> None:
    split = bright(1000)
    settings = {"epochs": 2, "batch_size": 8, "dtype": "float64", "backend": backend}
    together = train(MODEL, split, seed=[3, 4, 5], **settings)
    assert together.history.loss.shape == (250, 3)
    assert together.history.accuracy.shape == (2, 3)
    alone = train(MODEL, split, seed=4, **settings)
    np.testing.assert_allclose(together.history.loss[:, 1], alone.history.loss, rtol=1e-10)
    np.testing.assert_array_equal(together.history.accuracy[:, 1], alone.history.accuracy)


def test_bytes_are_scaled_and_other_numbers_are_not() -> None:
    split = bright(1000)
    scaled = Split(split.X / 255.0, split.labels)
    one, other = begin(split).run(), begin(scaled).run()
    np.testing.assert_array_equal(one.history.loss, other.history.loss)


def test_a_divergence_is_told_and_the_last_good_state_kept(backend: Backend) -> None:
    # relu: a sigmoid saturates before anything overflows, and its loss stays a number
    model = MLP((12, 8, 4), activation="relu")
    run = begin(backend=backend, optimizer_config=OptimizerConfig(learning_rate=1e300), model=model)
    with pytest.raises(Diverged) as error:
        run.run()
    message = str(error.value)
    assert "iteration 2 (epoch 1, step 2)" in message or "iteration 3" in message, message
    assert "learning rate 1e+300" in message
    assert "try a smaller one" in message
    np.testing.assert_array_equal(
        backend.to_numpy(run.parameters), MODEL.initialize(0, dtype="float64")
    )
    assert run.iteration == 0


def test_a_divergence_names_the_member() -> None:
    run = begin(
        bright(1000),
        parameters=MODEL.initialize([0, 1], dtype="float64"),
        optimizer_config=OptimizerConfig(learning_rate=[0.1, 1e300]),
        model=MLP((12, 8, 4), activation="relu"),
    )
    with pytest.raises(Diverged, match="member 2"):
        run.run()


def test_parameters_that_overflow_in_the_last_step_are_noticed() -> None:
    overflowing = sgd()._replace(update=lambda p, _, state, rate, *, xp: (p * np.inf, state))
    run = begin(bright(8), epochs=1, optimizer_config=OptimizerConfig(overflowing))
    with pytest.raises(Diverged, match="parameter is not finite"):
        run.run()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size=0: give an integer of 1 or more"),
        ({"batch_size": 1001}, "batch_size=1001: give 1 to 1,000"),
        ({"parameters": np.full(MODEL.parameter_count, np.nan)}, "NaN or infinite values"),
        ({"epochs": -1}, "epochs=-1"),
        ({"epochs": 1.5}, "epochs=1.5"),
        ({"optimizer_config": OptimizerConfig(learning_rate=[0.1, 0.2])}, "2 values for 1 members"),
        (
            {"optimizer_config": OptimizerConfig(learning_rate=1e-320)},
            "learning_rate=1e-320: beyond what float64 can hold",
        ),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        begin(**changes)


def test_data_of_another_width_is_refused() -> None:
    split = bright(1000)
    with pytest.raises(InputError, match="11"):
        begin(Split(split.X[:, :11], split.labels))


def test_a_snapshot_of_another_network_is_refused() -> None:
    snapshot = begin().snapshot()
    with pytest.raises(InputError, match="saved parameters do not fit"):
        begin(parameters=MODEL.initialize(0)).restore(snapshot)
