"""The run directory: what is saved is loaded, and nothing damaged is believed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.runs.made import made, recipe
from xpmlp.backends import Backend
from xpmlp.errors import InputError
from xpmlp.runs import RunDirectory, trainer_from_recipe
from xpmlp.training import evaluate

# Directories


def test_runs_that_begin_together_get_a_number_each(tmp_path: Path) -> None:
    def new(_: int) -> Path:
        return RunDirectory.new(recipe(), name="a", parent=tmp_path / "runs").path

    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(new, range(32)))
    assert {path.name for path in paths} == {f"a-{number}" for number in range(1, 33)}
    assert all(RunDirectory.existing(path).recipe == recipe() for path in paths)


def test_a_place_with_other_files_can_become_a_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    run = RunDirectory.create(tmp_path, recipe())
    assert run.recipe == recipe()
    with pytest.raises(InputError, match="holds a run already"):
        RunDirectory.create(tmp_path, recipe())


def test_a_run_that_cannot_be_begun_leaves_only_what_was_there(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise InputError("no space")

    monkeypatch.setattr("xpmlp.runs.directory.write_atomically", refuse)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    for name in ("mine", "new"):
        with pytest.raises(InputError, match="no space"):
            RunDirectory.create(tmp_path / name, recipe())
    assert (tmp_path / "mine/notes.txt").read_text() == "mine"
    assert not (tmp_path / "new").exists()


# Round trips


def test_model_and_history_come_back_as_they_were(tmp_path: Path, backend: Backend) -> None:
    dataset = made()
    trainer = trainer_from_recipe(recipe(), dataset, backend).run()
    run = RunDirectory.create(tmp_path / "r", recipe())
    test = evaluate(trainer.model, trainer.parameters, dataset.test, backend=backend)
    summary = run.save_results(trainer, test, image_shape=dataset.image_shape)
    model, parameters, image_shape, takes_bytes, *_ = run.load_model()
    assert model == trainer.model
    np.testing.assert_array_equal(parameters, trainer.snapshot().parameters)
    assert image_shape == (3, 2)
    assert takes_bytes
    np.testing.assert_array_equal(run.load_history().loss, trainer.history.loss)
    np.testing.assert_array_equal(run.load_history().accuracy, trainer.history.accuracy)
    assert summary["backend"] == backend.name
    assert summary["steps"] == 10
