"""The pretended CuPy, in place of the real one."""

import pytest
from pretended_cupy import PretendedCuPy, pretend


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> PretendedCuPy:
    cupy = PretendedCuPy()
    pretend(monkeypatch, cupy)
    return cupy
