"""A data set: rows and labels, to train and to test, checked before anything learns from them."""

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from xpmlp.algebra import OUTPUTS
from xpmlp.data.image_rules import with_drawings
from xpmlp.data.mapped import MappedRows, check_layout, mapped, order_by_blocks
from xpmlp.data.schema import NAMELESS, Schema, value_kind
from xpmlp.data.sparse import SparseRows
from xpmlp.display import as_html, short_repr
from xpmlp.errors import InputError, remedy
from xpmlp.randomness import HOLD_OUT, ORDER, generator

SAMPLES, SAMPLE = 1024, 64 << 10
"""How many samples the digest of a large mapped array is made of, and the bytes of each."""

TEST_SHARE, FEWEST = 0.1, 10
"""The share of rows that becomes the test set where there is none, and how many rows that takes."""

HOST_ROWS = (np.ndarray, SparseRows, MappedRows)
"""What the rows of a `Split` can be that do not lie on a backend's device."""


class Split(NamedTuple):
    """Rows with their labels.

    Attributes
    ----------
    X : array of shape (n, l0)
        Rows as stored, images flattened: an array of NumPy or of a backend's device, `SparseRows`
        or `MappedRows`. uint8 is scaled from 0..255 to 0..1 in training.
    labels : array of shape (n,) or (n, K)
        int64 from 0 to K-1, or targets: a distribution over the classes, K labels from 0 to 1, or K
        numbers.

    Examples
    --------
    >>> split = xpmlp.Split(np.eye(3), np.array([0, 1, 2]))
    >>> split.X.shape, split.labels.shape
    ((3, 3), (3,))
    """

    X: Any
    labels: Any

    def __repr__(self) -> str:
        return short_repr(self)


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Rows to train on and rows to test on.

    Parameters
    ----------
    name : str
        The name, such as `mnist`.
    train : Split
        The training rows.
    test : Split
        The test rows.
    image_shape : tuple of int
        The shape of a row before it was flattened.
    where : str
        The directory, or the name that error messages show.
    schema : Schema, optional
        The columns, the target and the classes.
    weights : ndarray of shape (n,), optional
        A weight for each training row.

    Examples
    --------
    >>> rows = xpmlp.Split(np.eye(4), np.array([0, 1, 0, 1]))
    >>> data = xpmlp.Dataset("tiny", rows, rows, image_shape=(2, 2), where="memory")
    >>> data.train.X.shape
    (4, 4)
    """

    name: str
    train: Split
    test: Split
    image_shape: tuple[int, ...]
    where: str
    schema: Schema = NAMELESS
    weights: np.ndarray | None = None

    __repr__ = short_repr

    def _repr_html_(self) -> str:
        parts = {"train": self.train, "test": self.test}
        rows = {name: f"{len(part.labels):,} rows" for name, part in parts.items()}
        shape = " x ".join(map(str, self.image_shape))
        return as_html({"data set": self.name, **rows, "shape of a row": shape})

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-256 of the four arrays' types, shapes and bytes, in hexadecimal.

        The bytes are little-endian on every machine. Of an array mapped from a file of more than 1
        GiB (`MappedRows`), only 1,024 evenly spaced blocks of 64 KiB are read. That tells two files
        apart, but does not detect a change of some rows. The digest is computed on first use.
        """
        found = hashlib.sha256()
        for array in (*self.train, *self.test):
            found.update(f"{array.dtype.name} {array.shape};".encode())
            for block in _blocks(array):
                little = block.dtype.newbyteorder("<")
                found.update(np.ascontiguousarray(block, dtype=little).data)
        return found.hexdigest()

    def for_network(self, layer_sizes: Sequence[int], output: str = "softmax") -> "Dataset":
        """Check the data set against a network and return it.

        Parameters
        ----------
        layer_sizes : sequence of int
            Widths l0, l1, ..., K of the network.
        output : str, default 'softmax'
            The output of the network.

        Returns
        -------
        Dataset
            The data set, its labels in the dtype that training takes.

        Raises
        ------
        InputError
            If the network cannot take its rows or labels.
        """
        check = functools.partial(
            check_split, layer_sizes=layer_sizes, image_shape=self.image_shape, output=output
        )
        train = check(*self.train, where=f"{self.where} (train)")
        test = check(*self.test, where=f"{self.where} (test)")
        return replace(self, train=train, test=test)


def _blocks(array: Any) -> Iterator[np.ndarray]:
    """The rows that `Dataset.digest` reads, in blocks of 1 MiB or, where it samples, of 64 KiB."""
    row = max(1, array.nbytes // len(array))
    if isinstance(array, MappedRows):
        rows = -(-SAMPLE // row)
        starts = np.linspace(0, len(array) - rows, SAMPLES, dtype=np.int64).tolist()
    else:
        rows = max(1, (1 << 20) // row)
        starts = range(0, len(array), rows)
    for start in starts:
        yield array[start : start + rows]


Rows = TypeVar("Rows", np.ndarray, SparseRows, MappedRows)


def check_rows(
    X: Rows,
    *,
    where: str,
    layer_sizes: Sequence[int] | None = None,
    image_shape: Sequence[int] | None = None,
) -> Rows:
    """Check rows and flatten them to (n, l0).

    Parameters
    ----------
    X : ndarray, SparseRows or MappedRows of shape (n, ...)
        The rows.
    where : str
        The name that starts error messages, such as a path.
    layer_sizes : sequence of int, optional
        The widths of the network; by default no network is checked against.
    image_shape : sequence of int, optional
        The shape of a row in messages; by default that of X.

    Returns
    -------
    ndarray, SparseRows or MappedRows of shape (n, l0)
        The rows in native byte order.

    Raises
    ------
    InputError
        For elements that are not real numbers, no rows, NaN or infinite values, and another number
        of values per row than the network takes.

    Examples
    --------
    >>> from xpmlp.data import check_rows
    >>> check_rows(np.zeros((5, 2, 2)), where="images").shape
    (5, 4)
    """
    if X.dtype.kind not in "uif":
        raise InputError(
            f"{where}: elements of type {X.dtype}, a network takes integers or floating-point "
            "numbers; convert the array"
        )
    if X.ndim < 2 or X.size == 0:
        raise InputError(
            f"{where}: an array of shape {X.shape}, a network takes (rows, values) with at least "
            "one of each; reshape or fill it"
        )
    rows = X
    if isinstance(X, np.ndarray):
        check_layout(X, where=where)
        rows = X.reshape(len(X), -1).astype(X.dtype.newbyteorder("="), copy=False)
    values = rows.shape[1]
    if layer_sizes is not None and values != layer_sizes[0]:
        shape = X.shape[1:] if image_shape is None else image_shape
        image = f"images are {' x '.join(map(str, shape))} =" if len(shape) > 1 else "rows are"
        raise InputError(
            f"{where}: {image} {values:,} values, the network takes {layer_sizes[0]:,}: "
            f"{_remedy(values, *layer_sizes[1:])} or give other data"
        )
    if isinstance(rows, np.ndarray) and rows.dtype.kind == "f":
        _check_finite(rows, where=where)
    return rows


def _check_finite(rows: np.ndarray, *, where: str) -> None:
    """Refuse NaN and infinity; a block at a time, because all may be more than memory holds."""
    block = max(1, (16 << 20) // (rows.shape[1] * rows.itemsize))
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        with np.errstate(all="ignore"):
            # If the sum of squares is finite all values are, and BLAS knows it twice as soon; it
            # may overflow though all are.
            if np.isfinite(np.vdot(part, part)):
                continue
        finite = np.isfinite(part).all(axis=1)
        if not finite.all():
            rest = (rows[at : at + block] for at in range(start, len(rows), block))
            count = sum(int((~np.isfinite(one)).sum()) for one in rest)
            raise InputError(
                f"{where}: {count:,} of {rows.size:,} values are NaN or infinite, the first in row "
                f"{start + int(finite.argmin()):,}; remove or replace them"
            )


def check_split(
    X: np.ndarray,
    labels: np.ndarray,
    *,
    where: str,
    layer_sizes: Sequence[int] | None = None,
    image_shape: Sequence[int] | None = None,
    output: str = "softmax",
) -> Split:
    """Check rows and labels, and return them as a split.

    Parameters
    ----------
    X : ndarray of shape (n, ...)
        The rows.
    labels : ndarray of shape (n,) or (n, K)
        Classes counted from 0, or targets.
    where : str
        The name that starts error messages, such as a path.
    layer_sizes : sequence of int, optional
        The widths of the network; by default no network is checked against.
    image_shape : sequence of int, optional
        The shape of a row in messages; by default that of X.
    output : str, default 'softmax'
        The output of the network, which decides what labels may be.

    Returns
    -------
    Split
        Rows (n, l0) and labels. A large array in a file stays there, as `MappedRows`.

    Raises
    ------
    InputError
        For rows that `check_rows` does not accept, and for labels that `check_labels` does not
        accept.

    Examples
    --------
    >>> from xpmlp.data import check_split
    >>> check_split(np.zeros((2, 3)), np.array([0, 1]), where="rows").labels.dtype
    dtype('int64')
    """
    rows = check_rows(X, where=where, layer_sizes=layer_sizes, image_shape=image_shape)
    rows = mapped(rows, where=where)
    found = check_labels(labels, len(rows), where=where, layer_sizes=layer_sizes, output=output)
    return Split(rows, found)


def check_labels(
    labels: np.ndarray,
    count: int,
    *,
    where: str,
    layer_sizes: Sequence[int] | None = None,
    output: str = "softmax",
) -> np.ndarray:
    """Check the labels of a number of rows; classes become int64.

    Parameters
    ----------
    labels : ndarray of shape (n,) or (n, K)
        Classes counted from 0, or targets.
    count : int
        The number of rows.
    where : str
        The name that starts error messages, such as a path.
    layer_sizes : sequence of int, optional
        The widths of the network; by default no network is checked against.
    output : str, default 'softmax'
        The output of the network, which decides what labels may be.

    Returns
    -------
    ndarray of shape (n,) or (n, K)
        Classes as int64, or targets as float32 or float64.

    Raises
    ------
    InputError
        For another number of labels than of rows, and for a label that the output cannot have; the
        message names the first one and its row, counted from 0.

    Notes
    -----
    Softmax takes classes, or a distribution over them (n, K). Sigmoid takes 0 and 1 for width 1,
    classes for a larger width, or (n, K) from 0 to 1. Identity takes numbers, (n,) or (n, K), and
    exp those of 0 or more.

    Examples
    --------
    >>> from xpmlp.data import check_labels
    >>> check_labels(np.array([0, 2], np.uint8), 2, where="rows", layer_sizes=(4, 3))
    array([0, 2])
    """
    if len(labels) != count:
        raise InputError(
            f"{where}: {count:,} rows and {len(labels):,} labels; give one label per row"
        )
    width = None if layer_sizes is None else layer_sizes[-1]
    is_column = labels.ndim == 2 and labels.shape[1] == 1 != width
    if (labels.ndim == 2 and not is_column) or (OUTPUTS[output].is_regression and labels.ndim == 1):
        return _check_targets(labels, where=where, width=width, output=output)
    if labels.dtype.kind not in "ui" or labels.ndim != 1:
        raise InputError(
            f"{where}: labels of type {labels.dtype} and shape {labels.shape}, expected one "
            "integer per row; convert them"
        )
    if (negative := labels < 0).any():
        row = negative.argmax()
        raise InputError(
            f"{where}: label {labels[row]} in row {row:,}, labels start at 0; renumber them"
        )
    # Without a network the limit is that of int64, which the labels become.
    classes = 1 << 63 if width is None else width
    if output == "sigmoid" and width == 1:
        classes = 2
    if (beyond := labels >= classes).any():
        row = beyond.argmax()
        fix = "renumber them"
        if layer_sizes is not None:
            fix = f"{_remedy(*layer_sizes[:-1], int(labels.max()) + 1)} or renumber them"
        raise InputError(
            f"{where}: label {labels[row]} in row {row:,}, the largest that fits is "
            f"{classes - 1:,}; {fix}"
        )
    return labels.astype(np.int64, copy=False)


def _check_targets(
    targets: np.ndarray, *, where: str, width: int | None, output: str
) -> np.ndarray:
    """Targets (n, K) as floating-point numbers; (n,) become (n, 1)."""
    if targets.dtype.kind not in "buif":
        raise InputError(
            f"{where}: targets of type {targets.dtype}, expected numbers; convert them"
        )
    found = targets.reshape(len(targets), -1)
    found = found.astype(np.float32 if found.dtype == np.float32 else np.float64, copy=False)
    if width is not None and found.shape[1] != width:
        raise InputError(
            f"{where}: {found.shape[1]} targets per row, the network gives {width}; "
            "give as many as its last layer is wide"
        )
    if OUTPUTS[output].is_regression:
        wrong, wanted = ~np.isfinite(found), "finite numbers"
        if output == "exp":
            wrong, wanted = wrong | (found < 0.0), "finite numbers of 0 or more"
    else:
        wrong, wanted = ~((found >= 0.0) & (found <= 1.0)), "numbers from 0 to 1"
        if output == "softmax" and not wrong.any():
            wrong = np.abs(found.sum(axis=1, keepdims=True) - 1.0) > 1e-3
            wanted = "a distribution over the classes, whose sum is 1"
    if wrong.any():
        row = int(wrong.any(axis=1).argmax())
        shown = ", ".join(f"{value:g}" for value in found[row][:4])
        raise InputError(f"{where}: targets {shown} in row {row:,}, expected {wanted}; fix them")
    return found


def hold_out(split: Split, share: float, *, seed: int) -> tuple[Split, Split]:
    """Split rows into a training and a validation part.

    Each class has its fraction in both parts, to a row. Rows keep their order.

    Parameters
    ----------
    split : Split
        Rows and labels.
    share : float
        The fraction of rows in the validation part, between 0 and 1.
    seed : int
        The seed of the choice.

    Returns
    -------
    tuple of Split
        The training part and the validation part.

    Raises
    ------
    InputError
        If a part would be empty.

    Examples
    --------
    >>> from xpmlp.data import hold_out
    >>> split = xpmlp.Split(np.eye(4), np.array([0, 0, 1, 1]))
    >>> [len(part.labels) for part in hold_out(split, 0.5, seed=0)]
    [2, 2]
    """
    rows, held = rows_to_hold_out(split.labels, share, seed=seed)
    return choose_rows(split, rows), choose_rows(split, held)


def choose_rows(split: Split, rows: np.ndarray) -> Split:
    """Return some rows of a split, with their labels.

    Parameters
    ----------
    split : Split
        Rows and labels.
    rows : ndarray of int
        The numbers of the rows.

    Returns
    -------
    Split
        The chosen rows.

    Examples
    --------
    >>> from xpmlp.data import choose_rows
    >>> split = xpmlp.Split(np.eye(3), np.array([0, 1, 2]))
    >>> choose_rows(split, np.array([2, 0])).labels
    array([2, 0])
    """
    X = mapped(split.X, where="rows to split")
    choose = X.select if isinstance(X, MappedRows) else X.__getitem__
    return Split(choose(rows), split.labels[rows])


def rows_to_hold_out(
    labels: np.ndarray, share: float, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the training rows and of the validation rows.

    Parameters
    ----------
    labels : ndarray of shape (n,) or (n, K)
        The labels.
    share : float
        The fraction of rows in the validation part, between 0 and 1.
    seed : int
        The seed of the choice.

    Returns
    -------
    tuple of ndarray of int
        The indices of both parts, ascending.

    Raises
    ------
    InputError
        If a part would be empty.

    Examples
    --------
    >>> from xpmlp.data import rows_to_hold_out
    >>> train, held = rows_to_hold_out(np.array([0, 0, 1, 1]), 0.5, seed=0)
    >>> sorted([*train, *held]) == [0, 1, 2, 3]
    True
    """
    count = len(labels)
    random = generator(seed, HOLD_OUT)
    chosen = random.permutation(count)
    if labels.ndim == 1 and labels.dtype.kind in "ui":
        # Sorted by class, rows of a class in random order, every 1/share-th is taken.
        chosen = chosen[np.argsort(labels[chosen], kind="stable")]
    wanted = round(share * count)
    if not 0 < wanted < count:
        raise InputError(
            f"validation={share:g}: {wanted} validation rows of {count:,}; leave rows in both parts"
        )
    first = random.random()  # NumPy's Philox: repeatable, and no secret # nosec B311
    places = (np.arange(wanted) + first) * (count / wanted)
    is_held = np.zeros(count, bool)
    is_held[chosen[places.astype(np.int64)]] = True
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def _remedy(*layer_sizes: int) -> str:
    widths = ",".join(map(str, layer_sizes))
    return f"train {remedy(f'xpmlp.MLP(({widths}))', f'with --set model.layer_sizes={widths}')}"


def dataset_of(
    name: str,
    *,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray] | None = None,
    where: str | None = None,
    schema: Schema = NAMELESS,
    holds_out: bool = True,
    weights: np.ndarray | None = None,
) -> Dataset:
    """Return a data set of arrays.

    Parameters
    ----------
    name : str
        The name of the data set.
    train : (X, labels)
        Training rows or images (n, ...), and labels (n,) or targets (n,) or (n, K).
    test : (X, labels), optional
        Test rows likewise; by default a tenth of `train`.
    where : str, optional
        The name that starts error messages; by default `name`.
    schema : Schema, optional
        The names of the columns, the target and the classes.
    holds_out : bool, default True
        Whether a tenth of the rows becomes the test set if there is none; else all rows are test
        rows.
    weights : ndarray of shape (n,), optional
        A weight for each row of `train`.

    Returns
    -------
    Dataset
        The data set.

    Raises
    ------
    InputError
        For arrays that `check_split` does not accept, and if the shapes of training and test images
        differ.

    Examples
    --------
    >>> from xpmlp.data import dataset_of
    >>> pair = np.zeros((4, 2, 2)), np.array([0, 1, 0, 1])
    >>> dataset_of("tiny", train=pair, test=pair).image_shape
    (2, 2)
    """
    where = name if where is None else where
    (X, labels), image_shape = train, train[0].shape[1:]
    # Of numbers and distributions the network's output decides later what it takes.
    are_targets = labels.dtype.kind == "f" or (labels.ndim == 2 and labels.shape[1] > 1)
    is_signed = labels.dtype.kind == "i" and bool((labels < 0).any())
    output = "identity" if are_targets or is_signed else "softmax"
    values = schema.values if schema.columns else value_kind(X)
    schema = replace(schema, images=with_drawings(schema.images, X), values=values)

    def checked(X: np.ndarray, labels: np.ndarray, where: str) -> Split:
        split = check_split(X, labels, where=where, output=output)
        return split._replace(labels=labels.astype(np.int64)) if is_signed else split

    if test is None:
        split = checked(X, labels, where)
        if not holds_out:
            return Dataset(name, split, split, image_shape, where, schema, weights)
        rows, held = split_test_rows(labels, where=where)
        weights = None if weights is None else weights[rows]
        parts = choose_rows(split, rows), choose_rows(split, held)
        return Dataset(name, *parts, image_shape, where, schema, weights)
    train_split = checked(X, labels, f"{where} (train)")
    test_split = checked(*test, f"{where} (test)")
    if image_shape != (other := test[0].shape[1:]):
        raise InputError(
            f"{where}: images of shape {image_shape} to train and {other} to test; "
            "give both in one shape"
        )
    return Dataset(name, train_split, test_split, image_shape, where, schema, weights)


def split_test_rows(labels: np.ndarray, *, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the training rows, and of the tenth that becomes the test set."""
    if len(labels) < FEWEST:
        raise InputError(
            f"{where}: {len(labels)} rows, of which a tenth becomes the test set; give {FEWEST} or "
            "more, or a test set of your own"
        )
    return rows_to_hold_out(labels, TEST_SHARE, seed=0)


def order(
    n: int, *, seed: int, epoch: int, shuffle: bool, blocks: tuple[int, int] | None = None
) -> np.ndarray:
    """Return the order in which an epoch takes its rows.

    It depends on the seed and the epoch alone.

    Parameters
    ----------
    n : int
        The number of rows.
    seed : int
        The seed.
    epoch : int
        The epoch, counted from 0.
    shuffle : bool
        Whether to shuffle; else the order is 0, 1, ...
    blocks : (int, int), optional
        Rows of a block and blocks of a group, as `MappedRows.blocks`: rows are shuffled by blocks.

    Returns
    -------
    ndarray of shape (n,), int64
        The numbers of the rows.

    Examples
    --------
    >>> from xpmlp.data import order
    >>> order(3, seed=0, epoch=0, shuffle=False)
    array([0, 1, 2])
    """
    if not shuffle:
        return np.arange(n, dtype=np.int64)
    random = generator(seed, ORDER, epoch)
    if blocks is not None:
        return order_by_blocks(n, blocks, random)
    return random.permutation(np.arange(n, dtype=np.int64))
