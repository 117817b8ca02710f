"""Checkpoints: what comes back, when they are written, and whose run they are of."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from xpmlp.backends import Backend, select_backend
from xpmlp.data import Dataset, dataset_of
from xpmlp.errors import InputError
from xpmlp.recipes import Recipe
from xpmlp.runs import (
    Checkpoints,
    RunDirectory,
    RunFingerprint,
    load_checkpoint,
    trainer_from_recipe,
)
from xpmlp.tensors import load_tensors
from xpmlp.training import Callback, StopTraining, Trainer

pytestmark = pytest.mark.extended(keep=12)


def made(seed: int = 0) -> Dataset:
    random = np.random.default_rng(seed)
    X, labels = random.integers(0, 256, (60, 3, 2), dtype=np.uint8), random.integers(0, 4, 60)
    return dataset_of("made", train=(X[:40], labels[:40]), test=(X[40:], labels[40:]))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return made()


def recipe(**changes: object) -> Recipe:
    return Recipe(layer_sizes=[6, 5, 4], batch_size=8, epochs=2, backend="numpy").replace(changes)


@pytest.fixture
def training(dataset: Dataset) -> Trainer:
    return trainer_from_recipe(recipe(epochs=4), dataset, select_backend("numpy"))


@pytest.fixture
def origin(dataset: Dataset) -> RunFingerprint:
    return RunFingerprint.of(recipe(), dataset, select_backend("numpy"))


class Recording(Checkpoints):
    """Remembers the iterations that it wrote; each takes `cost` seconds of its clock."""

    def __init__(self, *args: object, cost: float = 0.0, **settings: object) -> None:
        self.now, self.cost, self.written = 0.0, cost, list[int]()
        super().__init__(*args, clock=lambda: self.now, **settings)  # type: ignore[arg-type]

    def save(self, snapshot) -> None:  # type: ignore[no-untyped-def]
        self.written.append(5 * snapshot.epoch + snapshot.step)
        super().save(snapshot)


class Passing(Callback):
    """A second goes by after every step."""

    every = 1

    def __init__(self, checkpoints: Recording) -> None:
        self.checkpoints = checkpoints

    def on_tick(self, training: Trainer, /) -> None:
        self.checkpoints.now += 1.0


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_checkpoint_comes_back_as_it_was(
    tmp_path: Path, dataset: Dataset, backend: Backend, members: int, dtype: str
) -> None:
    settings = recipe(members=members, dtype=dtype)
    training = trainer_from_recipe(settings, dataset, backend)
    run = RunDirectory.create(tmp_path / "r", settings)
    origin = RunFingerprint.of(settings, dataset, backend)
    training.run([Checkpoints(run, origin)])
    saved = training.snapshot()
    loaded, found = load_checkpoint(run)
    assert found == origin
    assert (loaded.epoch, loaded.step, loaded.seconds) == (2, 0, training.last_good.seconds)
    for one, other in (
        (loaded.parameters, saved.parameters),
        (loaded.metric_sum, saved.metric_sum),
        (loaded.history.loss, saved.history.loss),
        (loaded.history.accuracy, saved.history.accuracy),
    ):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    training.restore(loaded)  # which compares shapes and dtypes


def test_a_run_can_be_gone_on_with_from_its_first_moment(
    tmp_path: Path, training: Trainer, origin: RunFingerprint
) -> None:
    run = RunDirectory.create(tmp_path / "r", recipe())
    Checkpoints(run, origin).on_start(training)
    loaded, _ = load_checkpoint(run)
    assert (loaded.epoch, loaded.step, loaded.history.losses) == (0, 0, [])
    training.restore(loaded)


@pytest.mark.extended(keep=1)
@pytest.mark.parametrize(
    ("settings", "cost", "iterations"),
    [
        ({}, 0.0, [0, 5, 10, 15, 20]),
        ({"every": 3}, 0.0, [0, 3, 5, 6, 9, 10, 12, 15, 18, 20]),
        ({"seconds": 2.0}, 0.0, [0, 3, 5, 8, 10, 13, 15, 18, 20]),
        ({"every": 1}, 0.12, [0, 19, 20]),  # three of them are 2 % of 18 s
    ],
)
def test_when_checkpoints_are_written(
    tmp_path: Path,
    training: Trainer,
    origin: RunFingerprint,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, float],
    cost: float,
    iterations: list[int],
) -> None:
    run = RunDirectory.create(tmp_path / "r", recipe())
    checkpoints = Recording(run, origin, **settings)

    def save(*_: object) -> None:
        checkpoints.now += cost

    monkeypatch.setattr("xpmlp.runs.checkpoints.save_checkpoint", save)
    training.run([checkpoints, Passing(checkpoints)])
    assert checkpoints.written == iterations


def test_what_is_no_number_does_not_take_the_place_of_what_is(
    tmp_path: Path, training: Trainer, origin: RunFingerprint
) -> None:
    run = RunDirectory.create(tmp_path / "r", recipe())
    checkpoints = Checkpoints(run, origin)
    checkpoints.on_start(training)
    training.state.parameters[...] = np.nan
    checkpoints.on_end(training)
    assert load_checkpoint(run)[0].finite


def test_a_disk_that_refuses_for_a_while_costs_a_warning(
    tmp_path: Path, training: Trainer, origin: RunFingerprint, monkeypatch, caplog
) -> None:
    run = RunDirectory.create(tmp_path / "r", recipe())
    checkpoints = Recording(run, origin)
    from xpmlp.runs.checkpoints import save_checkpoint

    def save(*args: object) -> None:
        if 5 <= training.iteration < 15:
            raise InputError("checkpoint: cannot be written (No space left on device); free it")
        save_checkpoint(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("xpmlp.runs.checkpoints.save_checkpoint", save)
    with caplog.at_level(logging.WARNING, "xpmlp"):
        training.run([checkpoints])
    assert [record.getMessage() for record in caplog.records] == [
        "checkpoint: cannot be written (No space left on device); free it; "
        "training continues, and saving is tried again"
    ]
    assert load_checkpoint(run)[0].epoch == 4


def test_a_disk_that_refuses_to_the_end_is_an_error(
    tmp_path: Path, training: Trainer, origin: RunFingerprint
) -> None:
    run = RunDirectory.create(tmp_path / "r", recipe())

    class Vanish(Callback):
        def on_epoch(self, training: Trainer, /) -> None:
            if training.epoch == 2:
                for file in run.path.iterdir():
                    file.unlink()
                run.path.rmdir()
            if training.epoch == 3:
                raise StopTraining

    with pytest.raises(InputError, match=r"cannot be written \(No such file or directory\)"):
        training.run([Checkpoints(run, origin), Vanish()])
    assert training.epoch == 3


# Whose run it is


def test_what_a_run_began_with_is_told_apart(dataset: Dataset, origin: RunFingerprint) -> None:
    backend = select_backend("numpy")
    assert (
        origin.differences(RunFingerprint.of(recipe(epochs=9, time_limit=3.0), dataset, backend))
        == []
    )
    now = RunFingerprint.of(
        recipe(learning_rate=0.5, momentum=0.9, optimizer="momentum"), dataset, backend
    )
    assert origin.differences(now) == [
        "optimizer sgd -> momentum",
        f"learning_rate {recipe().learning_rate} -> 0.5",
        "momentum unset -> 0.9",
    ]
    assert origin.differences(RunFingerprint.of(recipe(), made(1), backend)) == [
        "other content of mnist"
    ]
    older = RunFingerprint(origin.settings, origin.data, {**origin.versions, "numpy": "2.0.0"})
    assert older.differences(origin) == [f"numpy 2.0.0 -> {np.__version__}"]


def test_data_are_told_apart_by_type_shape_and_content() -> None:
    X, labels = np.arange(12, dtype=np.uint8).reshape(2, 6), np.array([0, 1])

    def digest(rows: np.ndarray, labels: np.ndarray = labels) -> str:
        return dataset_of("a", train=(rows, labels), test=(X, np.array([0, 1]))).digest

    other = X.copy()
    other[1, 3] ^= 1
    digests = {digest(X), digest(other), digest(X.astype(np.int16)), digest(X, labels[::-1])}
    assert len(digests) == 4
    assert digest(X) == digest(X.copy())


def test_a_checkpoint_names_settings_data_and_versions(
    tmp_path: Path, training: Trainer, origin: RunFingerprint
) -> None:
    run = RunDirectory.create(tmp_path / "r", recipe())
    Checkpoints(run, origin).on_start(training)
    _, metadata = load_tensors(run.checkpoint)
    assert metadata["settings"]["learning_rate"] == recipe().learning_rate
    assert metadata["data"] == origin.data
    assert metadata["versions"]["numpy"] == np.__version__
    json.dumps(metadata)
