"""The run directory: what is saved is loaded, and nothing damaged is believed."""

import io
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xpmlp import MLP
from xpmlp.backends import Backend
from xpmlp.data import Dataset, dataset_of
from xpmlp.errors import InputError
from xpmlp.recipes import Recipe
from xpmlp.runs import Checkpoints, RunDirectory, begin_training, load_initial_weights, read_npz
from xpmlp.training import evaluate

MODEL = MLP((3, 2))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    random = np.random.default_rng(0)
    X, labels = random.integers(0, 256, (60, 3, 2), dtype=np.uint8), random.integers(0, 4, 60)
    return dataset_of("made", train=(X[:40], labels[:40]), test=(X[40:], labels[40:]))


def recipe(**changes: object) -> Recipe:
    return Recipe(layer_sizes=[6, 5, 4], batch_size=8, epochs=2, backend="numpy").replace(changes)


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

    monkeypatch.setattr("xpmlp.runs.write_atomically", refuse)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    for name in ("mine", "new"):
        with pytest.raises(InputError, match="no space"):
            RunDirectory.create(tmp_path / name, recipe())
    assert (tmp_path / "mine/notes.txt").read_text() == "mine"
    assert not (tmp_path / "new").exists()


# Round trips


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_checkpoint_comes_back_as_it_was(
    tmp_path: Path, dataset: Dataset, backend: Backend, members: int, dtype: str
) -> None:
    training = begin_training(recipe(members=members, dtype=dtype), dataset, backend)
    run = RunDirectory.create(tmp_path / "r", recipe())
    training.run([Checkpoints(run)])
    saved, loaded = training.snapshot(), run.load_checkpoint()
    assert (loaded.epoch, loaded.step, loaded.seconds) == (2, 0, training.last_good.seconds)
    for one, other in (
        (loaded.parameters, saved.parameters),
        (loaded.correct, saved.correct),
        (loaded.history.loss, saved.history.loss),
        (loaded.history.accuracy, saved.history.accuracy),
    ):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    training.restore(loaded)  # which compares shapes and dtypes


def test_a_run_can_be_gone_on_with_from_its_first_moment(tmp_path: Path, dataset: Dataset) -> None:
    from xpmlp.backends import select_backend

    training = begin_training(recipe(), dataset, select_backend("numpy"))
    run = RunDirectory.create(tmp_path / "r", recipe())
    Checkpoints(run).on_start(training)
    loaded = run.load_checkpoint()
    assert (loaded.epoch, loaded.step, loaded.history.losses) == (0, 0, [])
    training.restore(loaded)


def test_model_and_history_come_back_as_they_were(
    tmp_path: Path, dataset: Dataset, backend: Backend
) -> None:
    training = begin_training(recipe(), dataset, backend).run()
    run = RunDirectory.create(tmp_path / "r", recipe())
    test = evaluate(training.model, training.parameters, dataset.test, backend=backend)
    summary = run.save_results(training, test, image_shape=dataset.image_shape)
    model, parameters, image_shape = run.load_model()
    assert model == training.model
    np.testing.assert_array_equal(parameters, training.snapshot().parameters)
    assert image_shape == (3, 2)
    np.testing.assert_array_equal(run.load_history().loss, training.history.loss)
    np.testing.assert_array_equal(run.load_history().accuracy, training.history.accuracy)
    assert summary["backend"] == backend.name
    assert summary["steps"] == 10


# Arrays from files


def weights_or_message(path: Path) -> np.ndarray | str:
    try:
        return load_initial_weights(path, MODEL, members=1)
    except InputError as error:
        return str(error)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_to_a_file_of_weights_is_refused_in_words(tmp_path: Path, data) -> None:
    path = tmp_path / "w.npz"
    weights = {"W1": np.arange(6.0).reshape(3, 2), "B1": np.arange(2.0)}
    np.savez(path, **weights)
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:position]
    else:
        content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    found = weights_or_message(path)
    if isinstance(found, str):
        assert str(path) in found
        assert len(found.splitlines()) == 1
    else:  # what was hit is nothing that is read
        np.testing.assert_array_equal(found, [0, 1, 2, 3, 4, 5, 0, 1])


def test_weights_may_lie_in_either_order_and_any_real_type(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    W = np.arange(6).reshape(3, 2)
    for W1 in (W, np.asfortranarray(W), W.astype(">f4"), W.astype(np.int8), W.astype(np.float16)):
        np.savez(path, W1=W1, B1=np.zeros(2), extra=np.zeros(3))
        found = load_initial_weights(path, MODEL, members=1)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, [0, 1, 2, 3, 4, 5, 0, 0])


def _npz(path: Path, header: dict[str, object], payload: bytes = b"") -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, header)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("W1.npy", file.getvalue() + payload)


def test_a_promise_of_more_than_there_is_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    header = {"descr": "<f8", "fortran_order": False, "shape": (3, 2)}
    for shape, payload in (((10**12,), b""), ((3, 2), b"\0" * 47), ((3, 2), b"\0" * 10**7)):
        _npz(path, {**header, "shape": shape}, payload)
        tracemalloc.start()
        with pytest.raises(InputError, match="promises"):
            read_npz(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2 * 10**6
    _npz(path, {**header, "shape": (10**12,)})
    with pytest.raises(InputError, match=r"W1 has shape \(1000000000000,\)"):
        load_initial_weights(path, MODEL, members=1)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "it ran",))

    np.savez(tmp_path / "w.npz", W1=np.array([Bomb()], dtype=object))
    with pytest.raises(InputError, match="real numbers"):
        read_npz(tmp_path / "w.npz")
    assert not (tmp_path / "it ran").exists()
