"""Rows that stay in their file: mapped, and read a block at a time where they are needed.

A mapped array of more than `LARGE` bytes is never held in memory as a whole. Its rows are shuffled
by blocks, so that what is read for some hundred batches lies together in the file. The limits are
fixed and do not ask how much memory is free: the order of an epoch, and so a run, is the same on
every machine, and a run that is resumed elsewhere continues as it would have here.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from xpmlp.errors import InputError

LARGE = 1 << 30
"""Bytes of a mapped array from which on it is read by blocks and not held."""

ROW_BLOCK = 4 << 20
"""Bytes of rows that follow each other, in the file and in an epoch's group of blocks."""

BLOCK_GROUP = 64
"""Blocks whose rows are shuffled together."""

COPIED_AT_ONCE = 1 << 20
"""Bytes that are copied out of the file at once."""


class MappedRows:
    """Rows in a file, of which only those in use are held in memory.

    It has `shape`, `dtype`, `len`, indexing and `take`, as an array of shape (n, l0).

    Parameters
    ----------
    rows : ndarray of shape (m, l0)
        The mapped array.
    chosen : ndarray of int, optional
        The numbers of the rows to use, ascending; by default all.

    Examples
    --------
    >>> from xpmlp.data import MappedRows
    >>> MappedRows(np.eye(4), np.array([1, 3])).take(np.array([1]))
    array([[0., 0., 0., 1.]])
    """

    ndim = 2

    def __init__(self, rows: np.ndarray, chosen: np.ndarray | None = None) -> None:
        self._rows = rows.view(np.ndarray)
        self._chosen = chosen
        count = len(rows) if chosen is None else len(chosen)
        self.shape: tuple[int, int] = (count, rows.shape[1])
        self.dtype: np.dtype[Any] = rows.dtype
        self.size = count * rows.shape[1]
        self.nbytes: int = self.size * self.dtype.itemsize
        """Bytes that all rows would take if they were held."""

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def blocks(self) -> tuple[int, int]:
        """The rows of a block and the blocks of a group, by which an epoch shuffles."""
        row = self.nbytes // len(self)
        return max(1, ROW_BLOCK // row), BLOCK_GROUP

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Some rows, (n, l0), in memory."""
        if isinstance(rows, slice) and self._chosen is None:
            return np.array(self._rows[rows])
        return self.take(np.arange(len(self))[rows] if isinstance(rows, slice) else rows)

    def take(
        self, rows: np.ndarray, axis: int = 0, out: np.ndarray | None = None, mode: str = "clip"
    ) -> np.ndarray:
        """Return rows by number, as `numpy.ndarray.take` does.

        They are read in the order of the file, each part of it once.

        Parameters
        ----------
        rows : ndarray of int
            The numbers of the rows.
        axis : int, default 0
            The axis of rows; only 0 is supported.
        out : ndarray, optional
            Where the rows are put; by default a new array.
        mode : str, default 'clip'
            As for `numpy.ndarray.take`.

        Returns
        -------
        ndarray of shape (len(rows), l0)
            The rows.
        """
        if out is None:
            out = np.empty((len(rows), self.shape[1]), self.dtype)
        at = rows if self._chosen is None else self._chosen[rows]
        places = np.argsort(at)
        step = max(1, COPIED_AT_ONCE // max(1, self.dtype.itemsize * self.shape[1]))
        for start in range(0, len(places), step):
            here = places[start : start + step]
            out[here] = self._rows.take(at[here], axis=0, mode="clip")
        return out

    def select(self, rows: np.ndarray) -> "MappedRows | np.ndarray":
        """Return some rows, in memory or mapped if they take many bytes.

        Parameters
        ----------
        rows : ndarray of int
            The numbers of the rows, ascending.

        Returns
        -------
        ndarray or MappedRows of shape (len(rows), l0)
            The rows.
        """
        chosen = rows if self._chosen is None else self._chosen[rows]
        found = MappedRows(self._rows, chosen)
        return found if found.nbytes > LARGE else self.take(rows)

    def pieces(self) -> Iterator[np.ndarray]:
        """Yield all rows, a group of blocks at a time.

        Returns
        -------
        iterator of ndarray
            The rows in order.
        """
        rows = math.prod(self.blocks)
        for start in range(0, len(self), rows):
            yield self[start : start + rows]


def mapped(X: Any, *, where: str) -> Any:
    """X (n, l0) as `MappedRows` if it is a large array in a file; anything else as it is.

    Raises `InputError` for a large one that could only be read by holding a copy.
    """
    if not is_large(X):
        return X
    check_layout(X, where=where)
    return MappedRows(X)


def is_large(X: Any) -> bool:
    """Whether it is an array in a file that is not to be held in memory."""
    return isinstance(X, np.memmap) and X.nbytes > LARGE


def check_layout(X: np.ndarray, *, where: str) -> None:
    """Raise `InputError` for a large array in a file that could only be read by copying it."""
    is_by_row = X.flags.c_contiguous or (X.ndim == 2 and X.strides[1] == X.itemsize)
    if is_large(X) and not (is_by_row and X.dtype.isnative):
        raise InputError(
            f"{where}: {X.nbytes:,} bytes in a file, {X.dtype.str} with strides {X.strides}: too "
            "large to be put in order in memory; save it row by row in this machine's byte order"
        )


def order_by_blocks(n: int, blocks: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """A random order (n,), int64, whose every group of blocks lies together.

    The blocks of rows are shuffled and, within each group of blocks, the rows are.
    """
    rows, group = blocks
    shuffled = random.permutation(-(-n // rows)) * rows
    order = np.empty(n, np.int64)
    done = 0
    for first in range(0, len(shuffled), group):
        starts = np.sort(shuffled[first : first + group])
        together = (starts[:, None] + np.arange(rows)).reshape(-1)
        together = together[together < n]
        order[done : done + len(together)] = random.permutation(together)
        done += len(together)
    return order
