"""Initial weights: their distributions, bounds and bits."""

import math

import numpy as np
import pytest

from xpmlp.network.initializers import INITIALIZERS
from xpmlp.randomness import WEIGHTS, generator

VARIANCE = {
    "normal": lambda l_in, l_out: 1.0,
    "uniform": lambda l_in, l_out: 1.0 / 3.0,
    "glorot_uniform": lambda l_in, l_out: 2.0 / (l_in + l_out),
    "glorot_normal": lambda l_in, l_out: 2.0 / (l_in + l_out),
    "he_uniform": lambda l_in, l_out: 2.0 / l_in,
    "he_normal": lambda l_in, l_out: 2.0 / l_in,
    "lecun_uniform": lambda l_in, l_out: 1.0 / l_in,
    "lecun_normal": lambda l_in, l_out: 1.0 / l_in,
    "orthogonal": lambda l_in, l_out: 1.0 / max(l_in, l_out),
    "zeros": lambda l_in, l_out: 0.0,
}

SHAPES = [(400, 300), (150, 600)]


def test_every_initialiser_has_a_distribution_here() -> None:
    assert list(INITIALIZERS) == list(VARIANCE)


@pytest.mark.parametrize("name", INITIALIZERS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (7, 3), (3, 7)])
def test_shape_dtype_and_repetition(name: str, shape: tuple[int, int]) -> None:
    W = INITIALIZERS[name](generator(3, WEIGHTS), *shape)
    assert W.shape == shape
    assert W.dtype == np.float64
    assert W.flags.c_contiguous
    assert W.flags.writeable
    assert np.isfinite(W).all()
    np.testing.assert_array_equal(W, INITIALIZERS[name](generator(3, WEIGHTS), *shape))


@pytest.mark.extended(keep=4)
@pytest.mark.parametrize("name", INITIALIZERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_mean_and_variance(name: str, shape: tuple[int, int]) -> None:
    W = INITIALIZERS[name](generator(0, WEIGHTS), *shape)
    variance = VARIANCE[name](*shape)
    assert abs(W.mean()) <= 4 * math.sqrt(variance / W.size)  # four standard errors
    assert W.var() == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize("name", [name for name in INITIALIZERS if "uniform" in name])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_uniform_distribution_fills_its_bounds(name: str, shape: tuple[int, int]) -> None:
    W = INITIALIZERS[name](generator(0, WEIGHTS), *shape)
    bound = math.sqrt(3 * VARIANCE[name](*shape))
    assert 0.999 * bound < np.abs(W).max() <= bound
    shares = np.histogram(W, bins=10, range=(-bound, bound))[0] / W.size
    np.testing.assert_allclose(shares, 0.1, atol=0.005)


@pytest.mark.parametrize("name", [name for name in INITIALIZERS if "normal" in name])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_normal_distribution_has_its_tails(name: str, shape: tuple[int, int]) -> None:
    W = INITIALIZERS[name](generator(0, WEIGHTS), *shape)
    distances = np.abs(W) / math.sqrt(VARIANCE[name](*shape))
    for limit, share in ((1, 0.3173), (2, 0.0455), (3, 0.0027)):
        assert np.mean(distances > limit) == pytest.approx(share, rel=0.2)


@pytest.mark.parametrize("shape", [(12, 12), (12, 5), (5, 12), (1, 4), (4, 1)])
def test_orthogonal_weights_are(shape: tuple[int, int]) -> None:
    l_in, l_out = shape
    W = INITIALIZERS["orthogonal"](generator(1, WEIGHTS), l_in, l_out)
    product = W.T @ W if l_in >= l_out else W @ W.T
    np.testing.assert_allclose(product, np.eye(min(shape)), atol=1e-14)


def test_orthogonal_weights_have_both_signs_and_both_determinants() -> None:
    """Without the sign correction, a 1 by 1 Q is always 1, and the determinant of a larger one
    depends on its size alone."""
    random = generator(0, WEIGHTS)
    signs = [INITIALIZERS["orthogonal"](random, 1, 1)[0, 0] for _ in range(400)]
    assert abs(np.mean(signs)) < 0.2
    determinants = [np.linalg.det(INITIALIZERS["orthogonal"](random, 3, 3)) for _ in range(400)]
    assert abs(np.mean(determinants)) < 0.2
    np.testing.assert_allclose(np.abs(determinants), 1.0)


@pytest.mark.parametrize("seed", [0, 7])
def test_normal_weights_are_the_lectures_to_the_bit(seed: int) -> None:
    expected = generator(seed, WEIGHTS).standard_normal(784 * 64).reshape(784, 64)
    np.testing.assert_array_equal(
        INITIALIZERS["normal"](generator(seed, WEIGHTS), 784, 64), expected
    )


def test_drawn_one_after_another_they_differ() -> None:
    for name in set(INITIALIZERS) - {"zeros"}:
        random = generator(0, WEIGHTS)
        first, second = (INITIALIZERS[name](random, 4, 4) for _ in range(2))
        assert not np.isclose(first, second).any(), name
