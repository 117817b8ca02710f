"""Data sets of named arrays: `.npz` files and directories of `.npy` files."""

import functools
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data import refusing
from tests.data.refusing import cut_or_flipped, examples, outcome
from xpmlp.data import Dataset, MappedRows, load_data, mapped
from xpmlp.data.arrays import NAMES
from xpmlp.data.npy import read_npz
from xpmlp.errors import InputError

X = np.arange(24 * 12, dtype=np.uint8).reshape(24, 4, 3)
y = np.arange(24) % 3
ARRAYS = (X, y, X[:6], y[:6])


def save_npz(path: Path, names: tuple[str, ...] = NAMES[0], **other: Any) -> Path:
    np.savez(path, **dict(zip(names, ARRAYS, strict=False)), **other)
    return path


def save_directory(path: Path, names: tuple[str, ...] = NAMES[0]) -> Path:
    for name, array in zip(names, ARRAYS, strict=False):
        np.save(path / f"{name}.npy", array)
    return path


def load(path: Path) -> Dataset:
    return load_data(str(path))


refusal = functools.partial(refusing.refusal, load)


@pytest.mark.parametrize("names", NAMES[:4])
@pytest.mark.parametrize("kind", ["npz", "directory"])
def test_four_arrays(tmp_path: Path, names: tuple[str, ...], kind: str) -> None:
    if kind == "npz":
        path = save_npz(tmp_path / "digits.npz", names)
    else:
        path = save_directory(tmp_path, names)
    found = load_data(str(path))
    assert found.name == ("digits" if kind == "npz" else tmp_path.name)
    assert found.image_shape == (4, 3)
    np.testing.assert_array_equal(found.train.X, X.reshape(24, 12))
    np.testing.assert_array_equal(found.test.labels, y[:6])
    assert found.train.X.flags.writeable
    assert found.train.X.dtype == np.uint8


@pytest.mark.parametrize("names", NAMES[4:])
def test_rows_without_a_test_set(tmp_path: Path, names: tuple[str, ...]) -> None:
    found = load_data(str(save_npz(tmp_path / "a.npz", names)))
    assert (len(found.train.labels), len(found.test.labels)) == (22, 2)
    both = np.concatenate([found.train.X, found.test.X])
    assert sorted(map(tuple, both.tolist())) == sorted(map(tuple, X.reshape(24, 12).tolist()))
    again = load_data(str(save_directory(tmp_path, names)))
    assert again.digest == found.digest


def test_too_few_rows_for_a_test_set(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=X[:9], y=y[:9])
    assert "9 rows, of which a tenth becomes the test set; give 10" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "labels", [y[:, None], np.eye(3)[y], np.linspace(-1, 1, 24), np.ones((24, 2), np.float32)]
)
def test_labels_in_a_column_and_targets(tmp_path: Path, labels: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", X_train=X, y_train=labels, X_test=X, y_test=labels)
    found = load_data(str(tmp_path / "a.npz")).train.labels
    np.testing.assert_array_equal(found.reshape(24, -1), labels.reshape(24, -1))
    assert found.dtype in (np.int64, np.float32, np.float64)


def test_targets_that_are_no_distribution_are_refused_by_a_classifier(tmp_path: Path) -> None:
    numbers = np.linspace(-1, 1, 24)
    np.savez(tmp_path / "a.npz", X_train=X, y_train=numbers, X_test=X, y_test=numbers)
    found = load_data(str(tmp_path / "a.npz"))
    assert found.for_network((12, 1), "identity").train.labels.shape == (24, 1)
    with pytest.raises(InputError, match="expected one integer per row"):
        found.for_network((12, 3))


def test_other_arrays_are_not_looked_at(tmp_path: Path) -> None:
    path = save_npz(tmp_path / "a.npz", names=NAMES[0], val=np.array([{}], dtype=object))
    assert len(load_data(str(path)).train.labels) == 24


def test_array_that_is_missing_pickled_or_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, X_train=X, y_train=y)
    assert "has 'X_train', 'y_train'; give arrays X_train, y_train, X_test" in refusal(path)
    np.savez(path)
    assert "has nothing; give arrays" in refusal(path)
    np.savez(path, X=np.array([{}], dtype=object), y=y)
    assert "elements of type object" in refusal(path)
    save_npz(path, **dict(zip(NAMES[1][::2], ARRAYS[::2], strict=True)))
    assert "several sets: X_train, y_train, X_test, y_test and x_train" in refusal(path)
    np.savez(path, X_train=X, y_train=y[:5], X_test=X, y_test=y)
    assert "24 rows and 5 labels" in refusal(path)


def test_headers_that_lie(tmp_path: Path) -> None:
    """Of a hundred bytes and of a hundred gigabytes, before anything is allocated."""
    buffer = io.BytesIO()
    np.save(buffer, y)
    content = buffer.getvalue()
    huge = content.replace(b"(24,), }" + b" " * 8, b"(99999999999,), }"[:16])
    for array in (huge, content.replace(b"(24,)", b"(25,)"), content[:-1]):
        path = tmp_path / "a.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("X.npy", array)
            archive.writestr("y.npy", content)
        assert "its header promises" in refusal(path) or "no whole" in refusal(path)


def test_packed_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, X=np.zeros((1000, 9), np.uint8), y=np.zeros(1000, np.int64))
    assert load_data(str(path)).train.X.shape == (900, 9)


def test_large_rows_stay_in_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_data(str(save_directory(tmp_path)))
    monkeypatch.setattr(mapped, "LARGE", 100)
    found = load_data(str(tmp_path))
    assert isinstance(found.train.X, MappedRows)
    assert isinstance(found.test.X, np.ndarray)  # 72 bytes
    np.testing.assert_array_equal(found.train.X[:], whole.train.X)
    assert found.image_shape == (4, 3)
    assert found.for_network((12, 3)).train.X is found.train.X


def test_npy_files_that_are_none(tmp_path: Path) -> None:
    save_directory(tmp_path)
    (tmp_path / "y_test.npy").unlink()
    assert "has 'X_test', 'X_train', 'y_train'; give files X_train" in refusal(tmp_path)
    save_directory(tmp_path)
    with (tmp_path / "X_train.npy").open("ab") as file:
        file.write(b"more")
    assert "the file is too long" in refusal(tmp_path)
    np.save(tmp_path / "X_train.npy", np.array([{}], dtype=object))
    assert "not a whole .npy file of numbers" in refusal(tmp_path)


@pytest.mark.extended(keep=1)
@pytest.mark.parametrize("kind", ["npz", "compressed", "directory"])
@examples(150)
@given(data=st.data())
def test_any_cut_or_flip(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    names = ("X", "y")
    if kind == "directory":
        path = save_directory(tmp_path, names)
        file = path / f"{data.draw(st.sampled_from(names))}.npy"
    else:
        path = file = tmp_path / "a.npz"
        save = np.savez if kind == "npz" else np.savez_compressed
        save(path, X=X, y=y)
    file.write_bytes(cut_or_flipped(data, file.read_bytes()))
    found = outcome(load, path)
    if not isinstance(found, str):
        assert len(found.train.X) == len(found.train.labels)


def test_all_arrays_are_read_where_none_are_named(tmp_path: Path) -> None:
    assert set(read_npz(save_npz(tmp_path / "a.npz"))) == set(NAMES[0])
