"""Results of a backend beside those of NumPy."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from xpmlp.backends import Backend


def assert_agrees(
    backend: Backend, found: Iterable[Any], wanted: Iterable[Any], dtype: str, **tolerance: float
) -> None:
    """Every array of the backend has this dtype, and NumPy's numbers."""
    limit = 1e-5 if dtype == "float32" else 1e-13
    for ours, theirs in zip(found, wanted, strict=True):
        host = backend.to_numpy(ours)
        assert host.dtype == dtype
        np.testing.assert_allclose(host, theirs, **{"rtol": limit, "atol": limit, **tolerance})
