"""Where examples come from, by the name that a recipe gives."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from xpmlp.checks import nearest, one_of
from xpmlp.data.arrays import load_npy_directory, load_npz
from xpmlp.data.dataset import Dataset
from xpmlp.data.folders import has_image_folders, load_image_folders
from xpmlp.data.idx import load_idx_directory
from xpmlp.data.image_rules import Images
from xpmlp.data.mnist import load_mnist
from xpmlp.data.named import NAMED, load_named
from xpmlp.data.opening import shown
from xpmlp.data.schema import SCALINGS, Reading, Schema
from xpmlp.data.table_files import has_tables, is_frame, is_table
from xpmlp.data.tables import PARTS, load_frame, load_table, load_table_directory
from xpmlp.errors import InputError
from xpmlp.files import nearest_path

MNIST = "mnist"

DATA_NAMES = (MNIST, *NAMED)
"""Names that are no paths."""

UNNAMED = "rows given in Python"
"""What the recipe of a run has in place of a path where its rows came from no file."""


def load_data(
    source: Any,
    *,
    target: str = "",
    drop: Sequence[str] = (),
    weights: str = "",
    scaling: str = "none",
    schema: Schema | None = None,
    holds_out: bool = True,
    images: Images | None = None,
) -> Dataset:
    """Load a data set by its name, or from a file, a directory or a data frame.

    Parameters
    ----------
    source : str or DataFrame
        `mnist`, which is part of the package; `fashion-mnist`, `kmnist` or `emnist-balanced`, which
        may be downloaded; or a path. A file is `.npz`, `.csv` or `.parquet`. A directory has
        MNIST's four IDX files, `.npy` files, tables `train` and `test`, or folders of images. For a
        directory that has one of the names, write `./kmnist`.
    target : str, default ''
        The column of a table with the labels, or several between commas; by default the first of
        `label`, `class` and `target` that there is, else the last column.
    drop : sequence of str, default ()
        Columns of a table that are left out.
    weights : str, default ''
        The column of a table with the weights of the training rows.
    scaling : str, default 'none'
        What is done with the numbers of a table: `none`, or `robust`, which subtracts the median,
        divides by the range of the quartiles and clips smoothly (see `Column`).
    schema : Schema, optional
        That of a trained network: columns are found by name and encoded as in training, and
        classes keep their numbers.
    holds_out : bool, default True
        Whether a tenth of the rows becomes the test set if there is none; else all rows are test
        rows.
    images : Images, optional
        How images become rows; by default as the schema says, else as the data decide.

    Returns
    -------
    Dataset
        The data set.

    Raises
    ------
    InputError
        For a path that does not exist, and for contents that are of none of these kinds or of
        several.

    Examples
    --------
    >>> from xpmlp.data import load_data
    >>> X, y = np.zeros((4, 3)), np.array([0, 1, 0, 1])
    >>> np.savez("tiny.npz", X_train=X, y_train=y, X_test=X, y_test=y)
    >>> load_data("tiny.npz").train.X.shape
    (4, 3)
    """
    if images is None and schema is not None:
        images = schema.images
    one_of(SCALINGS, scaling=scaling)
    reading = Reading(target, tuple(drop), schema, holds_out, scaling, weights, images)
    if is_frame(source):
        return load_frame(source, reading=reading)
    if not isinstance(source, str | PathLike):
        raise InputError(
            f"data of type {type(source).__name__}; give a path or a data frame of pandas or polars"
        )
    is_of_tables = has_tables(Path(source))
    for option, value in {"target": target, "drop": ",".join(drop), "weights": weights}.items():
        if value and schema is None and not is_of_tables:
            raise InputError(
                f"{option}={value}: {shown(source)} has no columns; leave it out, or give a table"
            )
    if source == UNNAMED:
        raise InputError(f"this run was trained on {UNNAMED}: give a data set, such as --data FILE")
    dataset = _load(str(source), reading)
    if schema is None or is_of_tables:
        return dataset
    if bool(schema.classes) != bool(dataset.schema.classes):
        kinds = "classes with names", "integers"
        trained, given = kinds if schema.classes else kinds[::-1]
        shown_names = ", ".join(map(repr, (schema.classes or dataset.schema.classes)[:8]))
        raise InputError(
            f"{dataset.where}: the network was trained on {trained}, these are {given} "
            f"({shown_names}); give the classes as in training"
        )
    train, test = (
        part._replace(X=schema.encode_array(part.X, where=dataset.where))
        for part in (dataset.train, dataset.test)
    )
    return replace(dataset, train=train, test=test)


def _load(source: str, reading: Reading) -> Dataset:
    if source == MNIST:
        return load_mnist()
    if source in NAMED:
        return load_named(source)
    path = Path(source)
    try:
        is_directory, exists = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or error
        raise InputError(f"{shown(source)}: {cause}; give {_choices()}") from error
    if is_directory:
        return _load_directory(path, source, reading)
    if exists and path.suffix == ".npz":
        return load_npz(source, reading=reading)
    if exists and is_table(path):
        return load_table(source, reading=reading)
    if not exists and (near := nearest(source, DATA_NAMES) or nearest_path(source)):
        raise InputError(f"{shown(source)}: No such file or directory; {near.strip()}")
    said = "No such file or directory;"
    if exists:
        said = "not a kind of file that is read; save a table as .csv or .parquet, or"
    raise InputError(f"{shown(source)}: {said} give {_choices()}")


def _load_directory(path: Path, source: str, reading: Reading) -> Dataset:
    try:
        names = [entry.name for entry in path.iterdir()]
    except OSError as error:
        raise InputError(f"{shown(source)}: {error.strerror}; give {_choices()}") from error
    kinds: dict[str, tuple[Callable[..., Dataset], bool]] = {
        "IDX files": (_load_idx, any("-idx" in name or ".idx" in name for name in names)),
        ".npy files": (load_npy_directory, any(name.endswith(".npy") for name in names)),
        "tables": (
            load_table_directory,
            any(is_table(Path(name)) and name.partition(".")[0] in PARTS for name in names),
        ),
        "folders of images": (load_image_folders, has_image_folders(path)),
    }
    found = [kind for kind, (_, is_there) in kinds.items() if is_there]
    if len(found) > 1:
        raise InputError(
            f"{shown(source)}: has {' and '.join(found)}; put each data set into a directory of "
            "its own"
        )
    if not found:
        there = ", ".join(map(repr, sorted(names)[:4])) or "nothing"
        raise InputError(f"{shown(source)}: no data set, it has {there}; give {_choices()}")
    load, _ = kinds[found[0]]
    return load(source, reading=reading)


def _load_idx(source: str, *, reading: Reading) -> Dataset:
    """Four IDX files; their labels are integers, and nothing is called by name."""
    rule = reading.images or Images()
    return load_idx_directory(source, upright=rule.sets_emnist_upright)


def _choices() -> str:
    return (
        "a directory of IDX or .npy files, of tables train and test or of images in folders of "
        f"classes, a file .npz, .csv or .parquet, or one of {', '.join(DATA_NAMES)}"
    )
