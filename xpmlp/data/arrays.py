"""Data sets of named arrays: an `.npz` file, or a directory of `.npy` files."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from xpmlp.data.dataset import Dataset, dataset_held_out, dataset_of
from xpmlp.data.mapped import is_large
from xpmlp.data.npy import held, map_npy, names_in_npz, read_npz
from xpmlp.data.opening import FilePath, shown
from xpmlp.errors import InputError

NAMES = (
    ("X_train", "y_train", "X_test", "y_test"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("images_train", "labels_train", "images_test", "labels_test"),
    ("X", "y"),
    ("x", "y"),
    ("images", "labels"),
)
"""Names of the arrays: training and test rows, or all rows, a part of which is the test set."""


def names_of(available: Iterable[str]) -> list[tuple[str, ...]]:
    """Those of `NAMES` that are all there; of a longer set only, not of the shorter within it."""
    found = [names for names in NAMES if set(names) <= set(available)]
    return [names for names in found if len(names) == max(map(len, found))]


def load_npz(path: FilePath, name: str | None = None) -> Dataset:
    """Load an `.npz` file with arrays X_train, y_train, X_test and y_test, or `NAMES` like these.

    Raises `InputError` if they are missing, broken, pickled or do not fit together.
    """
    file = Path(path)

    def read(names: tuple[str, ...]) -> list[np.ndarray]:
        arrays = read_npz(file, names=names)
        return [
            np.ascontiguousarray(arrays[name], arrays[name].dtype.newbyteorder("="))
            for name in names
        ]

    return _load(names_in_npz(file), read, name or file.stem, where=shown(path), kind="arrays")


def load_npy_directory(path: FilePath, name: str | None = None) -> Dataset:
    """Load a directory with X_train.npy, y_train.npy, X_test.npy and y_test.npy, or the like.

    Rows of more than 1 GiB stay in their file (see `MappedRows`): they may be more than memory
    holds. Raises `InputError` if files are missing, broken or do not fit together.
    """
    directory = Path(path)

    def read(names: tuple[str, ...]) -> list[np.ndarray]:
        arrays = []
        for name in names:
            array = map_npy(directory / f"{name}.npy")
            arrays.append(array if is_large(array) and array.ndim > 1 else held(array))
        return arrays

    found = [file.stem for file in directory.glob("*.npy")]
    name = name or directory.resolve().name
    return _load(sorted(found), read, name, where=shown(path), kind="files")


def _load(
    available: list[str],
    read: Callable[[tuple[str, ...]], list[np.ndarray]],
    name: str,
    *,
    where: str,
    kind: str,
) -> Dataset:
    found = names_of(available)
    if len(found) != 1:
        said = f"has {', '.join(map(repr, sorted(available)[:8])) or 'nothing'}"
        if found:
            said = "has several sets: " + " and ".join(", ".join(names) for names in found)
        raise InputError(f"{where}: {said}; give {kind} {', '.join(NAMES[0])}, one set of them")
    arrays = read(found[0])
    for labels in range(1, len(arrays), 2):
        if arrays[labels].ndim == 2 and arrays[labels].shape[1] == 1:
            arrays[labels] = arrays[labels].ravel()
    if len(arrays) == 2:
        return dataset_held_out(name, arrays[0], arrays[1], where=where)
    X_train, y_train, X_test, y_test = arrays
    return dataset_of(name, train=(X_train, y_train), test=(X_test, y_test), where=where)
