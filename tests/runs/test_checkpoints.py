"""Checkpoints: what comes back, when they are written, and whose run they are of."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.callbacks import hearing
from tests.runs.made import made, recipe
from xpmlp.backends import select_backend
from xpmlp.data import dataset_of
from xpmlp.errors import InputError
from xpmlp.runs import (
    Checkpoints,
    RunDirectory,
    RunFingerprint,
    load_checkpoint,
    trainer_from_recipe,
)
from xpmlp.runs.checkpoints import save_checkpoint
from xpmlp.tensors import load_tensors
from xpmlp.training import StopTraining, Trainer

pytestmark = pytest.mark.extended(keep=12)


DATASET = made()
ORIGIN = RunFingerprint.of(recipe(), DATASET, select_backend("numpy"))


@pytest.fixture
def trainer() -> Trainer:
    return trainer_from_recipe(recipe(epochs=4), DATASET, select_backend("numpy"))


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "r", recipe())


class Recording(Checkpoints):
    """Remembers the iterations that it wrote; each takes `cost` seconds of its clock."""

    def __init__(self, *args: object, cost: float = 0.0, **settings: object) -> None:
        self.now, self.cost, self.written = 0.0, cost, list[int]()
        super().__init__(*args, clock=lambda: self.now, **settings)  # type: ignore[arg-type]

    def save(self, snapshot) -> None:  # type: ignore[no-untyped-def]
        self.written.append(5 * snapshot.epoch + snapshot.step)
        super().save(snapshot)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_checkpoint_comes_back_as_it_was(run, backend, members: int, dtype: str) -> None:
    settings = recipe(members=members, dtype=dtype)
    trainer = trainer_from_recipe(settings, DATASET, backend)
    origin = RunFingerprint.of(settings, DATASET, backend)
    trainer.run([Checkpoints(run, origin)])
    saved = trainer.snapshot()
    loaded, found = load_checkpoint(run)
    assert found == origin
    assert (loaded.epoch, loaded.step, loaded.seconds) == (2, 0, trainer.last_good.seconds)
    for one, other in (
        (loaded.parameters, saved.parameters),
        (loaded.metric_sum, saved.metric_sum),
        (loaded.history.loss, saved.history.loss),
        (loaded.history.accuracy, saved.history.accuracy),
    ):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    trainer.restore(loaded)  # which compares shapes and dtypes


def test_run_can_be_resumed_from_its_first_moment(run: RunDirectory, trainer: Trainer) -> None:
    Checkpoints(run, ORIGIN).on_start(trainer)
    loaded, _ = load_checkpoint(run)
    assert (loaded.epoch, loaded.step, loaded.history.losses) == (0, 0, [])
    trainer.restore(loaded)


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
def test_checkpoints_are_written_when_they_are_due(
    run, trainer, monkeypatch, settings: dict[str, float], cost: float, iterations: list[int]
) -> None:
    checkpoints = Recording(run, ORIGIN, **settings)

    def pass_time(seconds: float) -> None:
        checkpoints.now += seconds

    monkeypatch.setattr("xpmlp.runs.checkpoints.save_checkpoint", lambda *_: pass_time(cost))
    trainer.run([checkpoints, hearing(1, on_tick=lambda _: pass_time(1.0))])
    assert checkpoints.written == iterations


def test_nan_parameters_do_not_replace_finite_ones(run: RunDirectory, trainer: Trainer) -> None:
    checkpoints = Checkpoints(run, ORIGIN)
    checkpoints.on_start(trainer)
    trainer.state.parameters[...] = np.nan
    trainer.step += 1  # else it has been saved already
    checkpoints.on_end(trainer)
    assert load_checkpoint(run)[0].finite


def test_disk_that_refuses_for_a_while_costs_a_warning(run, trainer, monkeypatch, caplog) -> None:
    checkpoints = Recording(run, ORIGIN)

    def save(*args: object) -> None:
        if 5 <= trainer.iteration < 15:
            raise InputError("checkpoint: cannot be written (No space left on device); free it")
        save_checkpoint(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("xpmlp.runs.checkpoints.save_checkpoint", save)
    with caplog.at_level(logging.WARNING, "xpmlp"):
        trainer.run([checkpoints])
    assert [record.getMessage() for record in caplog.records] == [
        "checkpoint: cannot be written (No space left on device); free it; "
        "training continues, and saving is tried again"
    ]
    assert load_checkpoint(run)[0].epoch == 4


def test_disk_that_refuses_to_the_end_is_an_error(run: RunDirectory, trainer: Trainer) -> None:
    def vanish(trainer: Trainer) -> None:
        if trainer.epoch == 2:
            shutil.rmtree(run.path)
        if trainer.epoch == 3:
            raise StopTraining

    with pytest.raises(InputError, match=r"cannot be written \(No such file or directory\)"):
        trainer.run([Checkpoints(run, ORIGIN), hearing(on_epoch=vanish)])
    assert trainer.epoch == 3


# Whose run it is


def test_origins_of_runs_are_told_apart() -> None:
    backend, dataset, origin = select_backend("numpy"), DATASET, ORIGIN
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


def test_a_checkpoint_names_settings_data_and_versions(run: RunDirectory, trainer) -> None:
    Checkpoints(run, ORIGIN).on_start(trainer)
    _, metadata = load_tensors(run.checkpoint)
    assert metadata["settings"]["learning_rate"] == recipe().learning_rate
    assert metadata["data"] == ORIGIN.data
    assert metadata["versions"]["numpy"] == np.__version__
    json.dumps(metadata)
