"""The normal distribution: its values, its digits in the tail, its ends."""

import math

import numpy as np
import pytest

from xpmlp.algebra.erf import normal, normal_cdf
from xpmlp.backends import Backend

HOLDS = {"float32": 13.2, "float64": 37.6}


def tail(z: float) -> float:
    """1 - Φ(z) by the C library, which is right to a unit or two of float64's last place."""
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def at_all_scales(dtype: str) -> np.ndarray:
    return np.concatenate(
        [np.geomspace(1e-9, 1.0, 500), np.linspace(0.0, HOLDS[dtype], 20_001)]
    ).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distribution_is_right_to_one_unit_of_its_last_place(dtype: str) -> None:
    Z = at_all_scales(dtype)
    Z = np.concatenate([-Z[::-1], Z])
    wanted = np.array([tail(-float(z)) for z in Z])
    found = normal_cdf(Z, xp=np)
    assert found.dtype == dtype
    assert np.abs(found - wanted).max() < 1.3 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tail_keeps_its_digits(dtype: str) -> None:
    Z = at_all_scales(dtype)
    wanted = np.array([tail(float(z)) for z in Z])
    error = np.abs(normal(Z, xp=np).tail / wanted - 1.0)
    squares = Z.astype(np.float64) ** 2
    bound = (3.0 + 0.5 * squares) * float(np.finfo(dtype).eps)
    bound += (2.0 + squares) * np.finfo(float).eps  # in the oracle z / sqrt(2) is rounded, twice
    has_digits = wanted > 2 * np.finfo(dtype).smallest_normal
    assert (error < bound)[has_digits].all()


def test_density_is_the_derivative() -> None:
    Z = np.linspace(-8, 8, 1001)
    distance, density, _ = normal(Z, xp=np)
    np.testing.assert_array_equal(distance, np.abs(Z))
    np.testing.assert_allclose(density, np.exp(-(Z**2) / 2) / np.sqrt(2 * np.pi), rtol=1e-14)
    h = 1e-5
    slope = (normal_cdf(Z + h, xp=np) - normal_cdf(Z - h, xp=np)) / (2 * h)
    np.testing.assert_allclose(slope, density, atol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_ends_and_the_middle(backend: Backend, dtype: str) -> None:
    largest = float(np.finfo(dtype).max)
    Z = backend.asarray(np.array([[-largest, -1e4, -HOLDS[dtype], 0, 9, 1e4, largest]]), dtype)
    found = backend.to_numpy(normal_cdf(Z, xp=backend.xp))
    assert found.dtype == dtype
    assert (np.diff(found) >= 0).all()
    assert (found[0, :3] >= 0).all()
    assert (found[0, :3] < 1e-37).all()
    assert found[0, 3] == pytest.approx(0.5, abs=2e-7 if dtype == "float32" else 3e-16)
    assert (found[0, 4:] > 1 - 2 * np.finfo(dtype).eps).all()
    assert (found[0, 4:] <= 1).all()


def test_nothing_overflows_and_a_nan_stays_one() -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for dtype in (np.float16, np.float32, np.float64):
            info = np.finfo(dtype)
            found = normal_cdf(np.array([-np.inf, info.min, 0, info.max, np.inf], dtype), xp=np)
            np.testing.assert_allclose(found, [0, 0, 0.5, 1, 1], atol=2 * info.eps)
    assert np.isnan(normal_cdf(np.array([np.nan]), xp=np)[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_backend_has_the_same_distribution(backend: Backend, dtype: str) -> None:
    Z = np.random.default_rng(0).normal(0, 3, (2, 3, 4)).astype(dtype)
    found = backend.to_numpy(normal_cdf(backend.asarray(Z, dtype), xp=backend.xp))
    assert found.dtype == dtype
    tolerance = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(found, normal_cdf(Z, xp=np), rtol=tolerance, atol=tolerance / 10)
