"""Rows and labels as people have them: arrays of any library, frames, lists, sparse matrices."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from xpmlp.algebra import OUTPUTS
from xpmlp.backends.interchange import is_on_device, on_host, to_host
from xpmlp.data.dataset import HOST_ROWS
from xpmlp.data.sparse import SparseRows
from xpmlp.errors import InputError


class Rows(NamedTuple):
    """Rows X as `check_rows` takes them, or on a device, and the names of their columns."""

    X: Any
    columns: tuple[str, ...] | None = None


def as_rows(X: Any, *, where: str = "X", columns: Sequence[str] | None = None) -> Rows:
    """Return X as rows that `check_rows` takes; those on a device stay there.

    Parameters
    ----------
    X
        An array of any library, (n, l0) or images (n, height, width), a frame of pandas or polars,
        a list of rows, or a sparse matrix of SciPy.
    where
        What messages call it.
    columns
        The names that the columns of a frame must have; a frame with the same columns in another
        order is put in this one.

    Raises
    ------
    InputError
        For text, for a frame with other columns, and for lists of unequal length.
    """
    if isinstance(X, HOST_ROWS) or is_on_device(X):
        return Rows(X)
    if hasattr(X, "tocsr"):
        return Rows(SparseRows(X.tocsr()))
    if hasattr(X, "columns") and hasattr(X, "to_numpy"):
        names = tuple(map(str, X.columns))
        if columns is not None and names != tuple(columns):
            if missing := [name for name in columns if name not in names]:
                raise InputError(
                    f"{where}: no column {missing[0]!r}, which the network was trained with; it "
                    f"has {', '.join(names)}"
                )
            X = X[list(columns)]
            names = tuple(columns)
        return Rows(_numbers(X.to_numpy(), where, names), names)
    try:
        found = np.asarray(on_host(X))
    except ValueError as error:
        raise InputError(f"{where}: rows of unequal length ({error}); give equal ones") from error
    return Rows(_numbers(found, where))


def _numbers(X: np.ndarray, where: str, names: Sequence[str] = ()) -> np.ndarray:
    """Refuse text; truth values and mixed numbers become floating-point numbers."""
    if X.dtype.kind not in "bOUS":
        return X
    try:
        return X.astype(np.float64)
    except (TypeError, ValueError) as error:
        for name, column in zip(names, X.T, strict=False):
            try:
                column.astype(np.float64)
            except (TypeError, ValueError):
                where = f"{where}: column {name!r}"
                break
        raise InputError(
            f"{where}: {error}; a network takes numbers, encode the others (one column for each "
            "value) or leave them out"
        ) from error


class Labels(NamedTuple):
    """Labels as `check_split` takes them, and the classes that were named in another way."""

    y: Any
    classes: np.ndarray | None = None


def as_labels(
    y: Any, *, output: str, width: int, classes: np.ndarray | None = None, where: str = "y"
) -> Labels:
    """Return labels as `check_split` takes them, integers from 0 or targets.

    Parameters
    ----------
    y
        Labels (n,) or targets (n, K), of any library, a series, a column or a list. Text and truth
        values are classes, numbered in sorted order.
    output, width
        Those of the network.
    classes
        The classes that the network was trained with; others are refused.
    where
        What messages call it.

    Raises
    ------
    InputError
        For more classes than outputs, unknown classes, and missing values.
    """
    found = np.asarray(to_host(y.to_numpy() if hasattr(y, "to_numpy") else y))
    if found.ndim == 2 and found.shape[1] == 1 != width:
        found = found[:, 0]
    if OUTPUTS[output].is_regression:
        return Labels(_numbers(found, where))
    if classes is None and found.dtype.kind not in "bOUS":
        return Labels(found)
    if found.ndim != 1:
        raise InputError(f"{where}: text of shape {found.shape}; give one label per row")
    is_missing = np.array([label is None or label != label for label in found.tolist()], bool)
    if is_missing.any():
        row = int(is_missing.argmax())
        raise InputError(f"{where}: no label in row {row:,}; leave rows without labels out")
    try:
        known = np.unique(found) if classes is None else classes
    except TypeError as error:
        raise InputError(f"{where}: labels of several kinds ({error}); give one kind") from error
    places = {label: number for number, label in enumerate(known.tolist())}
    try:
        numbers = np.array([places[label] for label in found.tolist()], np.int64)
    except KeyError as error:
        raise InputError(
            f"{where}: class {error.args[0]!r} is none of the {len(known)} that the network was "
            f"trained with ({', '.join(map(repr, known.tolist()[:8]))}); leave such rows out"
        ) from None
    outputs = 2 if output == "sigmoid" and width == 1 else width
    if len(known) > outputs:
        raise InputError(
            f"{where}: {len(known)} classes, the network has {outputs}; give its last layer a "
            f"width of {len(known)}"
        )
    return Labels(numbers, known)
