"""Rows of a sparse matrix, made dense when they are read: a block at a time, never all."""

from typing import Any

import numpy as np

from xpmlp.errors import InputError


class SparseRows:
    """X (n, l0) in SciPy's CSR form, with as much of an array's surface as rows are read by."""

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
        """The same, as `numpy.ndarray.take` has it; into `out` where that is given."""
        dense: np.ndarray = self._matrix[rows].toarray(out=out)
        return dense
