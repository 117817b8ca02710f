"""Rows of a sparse matrix, made dense when they are read: a block at a time, never all."""

from typing import Any

import numpy as np

from xpmlp.errors import InputError


class SparseRows:
    """Rows of a sparse matrix, converted to dense ones when they are read.

    It has `shape`, `dtype`, `len`, indexing and `take`, as an array of shape (n, l0).

    Parameters
    ----------
    matrix : SciPy CSR matrix of shape (n, l0)
        The matrix.

    Raises
    ------
    InputError
        For NaN or infinite values.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> from xpmlp.data import SparseRows
    >>> SparseRows(csr_matrix(np.eye(3)))[:1]
    array([[1., 0., 0.]])
    """

    ndim = 2

    def __init__(self, matrix: Any) -> None:
        if not np.isfinite(matrix.data).all():
            raise InputError("sparse rows: some values are NaN or infinite; remove or replace them")
        self._matrix = matrix
        self.shape: tuple[int, int] = matrix.shape
        self.dtype: np.dtype[Any] = matrix.dtype
        self.nbytes: int = self.shape[0] * self.shape[1] * self.dtype.itemsize
        """Bytes that all rows would take if they were dense."""
        self.size = self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Some rows, (n, l0), dense."""
        dense: np.ndarray = self._matrix[rows].toarray()
        return dense

    def take(
        self, rows: np.ndarray, axis: int = 0, out: np.ndarray | None = None, mode: str = "clip"
    ) -> np.ndarray:
        """Return dense rows by number, as `numpy.ndarray.take` does.

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
        dense: np.ndarray = self._matrix[rows].toarray(out=out)
        return dense
