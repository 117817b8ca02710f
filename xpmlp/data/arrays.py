"""Data sets of named arrays: an `.npz` file, or a directory of `.npy` files."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from xpmlp.data.dataset import Dataset, dataset_of
from xpmlp.data.mapped import is_large
from xpmlp.data.npy import held, map_npy, read_npz
from xpmlp.data.opening import FilePath, shown
from xpmlp.data.schema import AS_IS, NAMELESS, Reading, class_numbers
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


def load_npz(path: FilePath, name: str | None = None, *, reading: Reading = AS_IS) -> Dataset:
    """Load an `.npz` file with arrays X_train, y_train, X_test and y_test, or `NAMES` like these.

    Raises `InputError` if they are missing, broken, pickled or do not fit together.
    """

    def choose(names: Iterable[str]) -> tuple[str, ...]:
        return _set_of(names, shown(path), "arrays")

    arrays = [
        np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        for array in read_npz(path, choose, kinds="fiuU").values()
    ]
    return _dataset(name or Path(path).stem, arrays, reading, where=shown(path))


def load_npy_directory(
    path: FilePath, name: str | None = None, *, reading: Reading = AS_IS
) -> Dataset:
    """Load a directory with X_train.npy, y_train.npy, X_test.npy and y_test.npy, or the like.

    Rows of more than 1 GiB stay in their file (see `MappedRows`): they may be more than memory
    holds. Raises `InputError` if files are missing, broken or do not fit together.
    """
    directory = Path(path)
    names = _set_of((file.stem for file in directory.glob("*.npy")), shown(path), "files")
    arrays = [map_npy(directory / f"{name}.npy") for name in names]
    arrays = [one if is_large(one) and one.ndim > 1 else held(one) for one in arrays]
    return _dataset(name or directory.resolve().name, arrays, reading, where=shown(path))


def _set_of(names: Iterable[str], where: str, kind: str) -> tuple[str, ...]:
    """The one of `NAMES` that is there; of a longer set only, not the shorter within it."""
    available = sorted(names)
    found = [one for one in NAMES if set(one) <= set(available)]
    found = [one for one in found if len(one) == len(found[0])]
    if len(found) != 1:
        said = f"has {', '.join(map(repr, available[:8])) or 'nothing'}"
        if found:
            said = "has several sets: " + " and ".join(", ".join(one) for one in found)
        raise InputError(f"{where}: {said}; give {kind} {', '.join(NAMES[0])}, one set of them")
    return found[0]


def _dataset(name: str, arrays: list[np.ndarray], reading: Reading, *, where: str) -> Dataset:
    """Rows and labels by turns, to train and, if there are four, to test."""
    for place, labels in enumerate(arrays):
        if place % 2 and labels.ndim == 2 and labels.shape[1] == 1:
            arrays[place] = labels.ravel()
    schema = reading.schema or NAMELESS
    classes: tuple[str, ...] = ()
    if arrays[1].dtype.kind == "U":
        classes = schema.classes or tuple(np.unique(arrays[1]).tolist())
        for place in range(1, len(arrays), 2):
            arrays[place] = class_numbers(arrays[place].tolist(), classes, where=where)
    X, y, *test = arrays
    return dataset_of(
        name,
        train=(X, y),
        test=(test[0], test[1]) if test else None,
        where=where,
        schema=replace(schema, classes=classes),
        holds_out=reading.holds_out,
    )
