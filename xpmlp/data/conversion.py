"""Rows and labels as people have them: arrays of any library, frames, lists, sparse matrices."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from xpmlp.algebra import OUTPUTS
from xpmlp.backends.interchange import is_on_device, on_host, to_host
from xpmlp.data.dataset import Split
from xpmlp.data.mapped import MappedRows
from xpmlp.data.schema import (
    NAMELESS,
    TRAINED_WITH,
    Schema,
    check_columns,
    check_scale,
    class_numbers,
)
from xpmlp.data.sparse import SparseRows
from xpmlp.data.table_files import is_frame
from xpmlp.data.tables import fit_frame, read_table
from xpmlp.errors import InputError


class Rows(NamedTuple):
    """Rows X as `check_rows` takes them, or on a device, and the schema of their columns."""

    X: Any
    schema: Schema = NAMELESS


def as_trained(X: np.ndarray, *, takes_bytes: bool, values: str = "", where: str = "X") -> Any:
    """Return rows as numbers that mean what they meant in training.

    Bytes are scaled to 0..1 in training and ever after; other numbers never are. `values` are those
    of the schema. Raises `InputError` for rows that would have to be scaled, but for bytes.
    """
    is_bytes = X.dtype == np.uint8
    if takes_bytes:
        if is_bytes or (X.dtype.kind not in "ui" and not (X.size and X.max() > 1.0)):
            return X
        raise InputError(
            f"{where} of type {X.dtype}: the network was trained on bytes, uint8, scaled to 0..1; "
            "give bytes, or numbers from 0 to 1"
        )
    if is_bytes:
        return X.astype(np.float32) / np.float32(255.0 if values == "unit" else 1.0)
    check_scale(X, values, where=where)
    return X


def as_rows(X: Any, *, where: str = "X", schema: Schema = NAMELESS) -> Rows:
    """Return X as rows that `check_rows` takes; those on a device stay there.

    Parameters
    ----------
    X
        An array of any library, (n, l0) or images (n, height, width), a frame of pandas or polars,
        a list of rows, the rows of a data set (`data.test`), or a sparse matrix of SciPy. Bytes
        (uint8) in an array are pixels, in a frame they are numbers. A frame with text, dates or
        missing values is encoded.
    where
        What messages call it.
    schema
        That of the training rows: its columns are found by name, others are left out.

    Raises
    ------
    InputError
        For text in an array, for a frame without a column, and for what is no table.
    """
    if isinstance(X, Split):
        return Rows(X.X, schema)
    if isinstance(X, (SparseRows, MappedRows)) or is_on_device(X):
        return Rows(X)
    if hasattr(X, "tocsr"):
        return Rows(SparseRows(X.tocsr()))
    if not is_frame(X):
        if not schema.is_plain:
            raise InputError(
                f"{where} of type {type(X).__name__}: the network was trained on a table whose "
                "columns are encoded; give a data frame, or the rows of a data set (data.test)"
            )
        return Rows(_numbers(_array(X, where), where))
    if schema.takes_missing:
        return Rows(read_table(X, schema), schema)
    names = list(map(str, X.columns))
    found = X.to_numpy()
    if not schema.columns and _needs_encoding(found):
        return Rows(*fit_frame(X))
    wanted = schema.names or tuple(names)
    check_columns(wanted, names, where=where, what=TRAINED_WITH)
    if list(wanted) != names:
        found = found[:, [names.index(name) for name in wanted]]
    numbers = _numbers(found, where, wanted)
    return Rows(
        numbers.astype(np.float32) if numbers.dtype == np.uint8 else numbers, Schema(wanted)
    )


def _needs_encoding(values: np.ndarray) -> bool:
    """Whether a frame has text, dates or missing values."""
    if values.dtype.kind == "M":
        return True
    try:
        return bool(np.isnan(values.astype(np.float64)).any())
    except (TypeError, ValueError):
        return True


def _array(values: Any, where: str) -> np.ndarray:
    """An array of NumPy, of one axis at least and nothing masked."""
    if np.ma.is_masked(values):
        raise InputError(f"{where}: some values are masked; fill them in or leave their rows out")
    try:
        found = np.asarray(on_host(values))
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        said = str(error).splitlines()[0]
        raise InputError(f"{where}: no table ({said}); give rows of equal length") from error
    if not found.ndim:
        raise InputError(
            f"{where} of type {type(values).__name__}: give an array, a frame or a list of rows"
        )
    return found


def _numbers(X: np.ndarray, where: str, names: Sequence[str] = ()) -> np.ndarray:
    """Refuse text; booleans and mixed numbers become floating-point numbers."""
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


class ConvertedLabels(NamedTuple):
    """Labels as `check_split` takes them, and the classes that were named in another way."""

    y: np.ndarray
    classes: np.ndarray | None = None


def as_labels(
    y: Any, *, output: str, width: int, classes: np.ndarray | None = None, where: str = "y"
) -> ConvertedLabels:
    """Return labels as `check_split` takes them, integers from 0 or targets.

    Parameters
    ----------
    y
        Labels (n,) or targets (n, K), of any library, a series, a column or a list. Integers are
        numbers of classes, from 0; text and booleans are classes, numbered in sorted order.
    output, width
        Those of the network.
    classes
        The classes that the network was trained with; others are refused.
    where
        What messages call it.

    Raises
    ------
    InputError
        For another number of classes than of outputs, unknown classes, and missing values.
    """
    found = _array(to_host(y.to_numpy() if hasattr(y, "to_numpy") else y), where)
    if found.ndim == 2 and found.shape[1] == 1 != width:
        found = found[:, 0]
    if found.ndim != 1 or OUTPUTS[output].is_regression:
        return ConvertedLabels(_numbers(found, where))
    missing = np.array([_is_missing(label) for label in found.tolist()], bool)
    if missing.any():
        row = int(missing.argmax())
        raise InputError(f"{where}: no label in row {row:,}; leave rows without labels out")
    if found.dtype.kind == "f" and (found == np.round(found)).all():
        found = found.astype(np.int64)
    if found.dtype.kind in "uif" and (classes is None or classes.dtype.kind in "ui"):
        return ConvertedLabels(found[:, None] if found.dtype.kind == "f" and width == 1 else found)
    return _numbered(found, output, width, classes, where)


def _numbered(
    found: np.ndarray, output: str, width: int, classes: np.ndarray | None, where: str
) -> ConvertedLabels:
    """The numbers of named classes."""
    outputs = 2 if output == "sigmoid" and width == 1 else width
    if output == "sigmoid" and width > 1:
        raise InputError(
            f"{where}: one name per row for {width} outputs; give 0 or 1 for each output, (n, "
            f"{width}), or a network with output='softmax'"
        )
    if found.dtype.kind == "S":
        found = np.char.decode(found)
    try:
        known = np.unique(found) if classes is None else classes
    except TypeError as error:
        raise InputError(f"{where}: labels of several kinds ({error}); give one kind") from error
    if len(known) != outputs:
        raise InputError(
            f"{where}: {len(known)} classes, the network has {outputs}; give its last layer a "
            f"width of {max(2, len(known))}"
        )
    return ConvertedLabels(class_numbers(found.tolist(), known.tolist(), where=where), known)


def _is_missing(label: Any) -> bool:
    try:
        return label is None or bool(label != label)
    except TypeError:  # pandas.NA is neither equal to itself nor not
        return True
