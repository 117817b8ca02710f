"""Softmax and cross-entropy: stable, exact, and each other's derivative."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xpmlp.algebra import (
    one_hot,
    softmax,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from xpmlp.backends import Backend

LOGITS = arrays(np.float64, (4, 5), elements=st.floats(-80, 80))


@given(LOGITS)
def test_softmax_is_the_lectures_where_that_does_not_overflow(L: np.ndarray) -> None:
    lecture = np.exp(L) / np.sum(np.exp(L), axis=1, keepdims=True)
    np.testing.assert_allclose(softmax(L, xp=np), lecture, rtol=1e-13)


@given(LOGITS, st.lists(st.integers(0, 4), min_size=4, max_size=4))
def test_cross_entropy_is_the_lectures(L: np.ndarray, labels: list[int]) -> None:
    Pred = np.exp(L) / np.sum(np.exp(L), axis=1, keepdims=True)
    lecture = np.mean(-np.log(Pred[np.arange(4), labels]))
    Y = one_hot(np.array(labels), np.arange(5), dtype=np.float64, xp=np)
    np.testing.assert_allclose(
        softmax_cross_entropy(Y, L, xp=np).J, lecture, rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1e2, 1e4])
def test_extreme_logits_give_finite_losses_and_gradients(
    backend: Backend, dtype: str, size: float
) -> None:
    L = backend.asarray(np.array([[size, -size, 0.0], [-size, -size, -size]]), dtype)
    labels = backend.asarray(np.array([1, 0]))
    xp = backend.xp
    Y = one_hot(labels, backend.asarray(np.arange(3)), dtype=L.dtype, xp=xp)
    J, Y_hat = softmax_cross_entropy(Y, L, xp=xp)
    dL = backend.to_numpy(softmax_cross_entropy_backward(Y, Y_hat, xp=xp))
    assert dL.dtype == dtype
    np.testing.assert_allclose(backend.to_numpy(J), (2 * size + np.log(3)) / 2, rtol=1e-6)
    expected = [[0.5, -0.5, 0], [-1 / 3, 1 / 6, 1 / 6]]
    np.testing.assert_allclose(dL, expected, rtol=1e-6, atol=1e-40)


def test_nothing_overflows_on_the_way() -> None:
    L = np.array([[3e38, -3e38], [88.0, 89.0]], dtype=np.float32)
    with np.errstate(over="ignore"):  # 3e38 - -3e38 is beyond float32 in itself
        assert not np.isnan(softmax(L, xp=np)).any()
    with np.errstate(all="raise", under="ignore"):
        softmax(np.array([[1e4, -1e4, 0.0]], dtype=np.float32), xp=np)


@given(LOGITS, st.integers(0, 9))
def test_the_jacobian_is_the_complex_step_derivative(L: np.ndarray, seed: int) -> None:
    random = np.random.default_rng(seed)
    Y = random.dirichlet(np.ones(5), size=4)
    D = random.normal(size=(4, 5))
    dL = softmax_cross_entropy_backward(Y, softmax(L, xp=np), xp=np)
    Z = L - L.max(axis=1, keepdims=True) + 1e-30j * D
    log_Y_hat = Z - np.log(np.sum(np.exp(Z), axis=1, keepdims=True))
    measured = -np.sum(Y * log_Y_hat).imag / 4 / 1e-30
    np.testing.assert_allclose(np.sum(dL * D), measured, rtol=1e-9, atol=1e-12)


def test_the_mean_is_over_rows_and_members_stay_apart() -> None:
    random = np.random.default_rng(0)
    L = random.normal(size=(3, 8, 5))
    Y = one_hot(random.integers(0, 5, 8), np.arange(5), dtype=np.float64, xp=np)
    J, Y_hat = softmax_cross_entropy(Y, L, xp=np)
    dL = softmax_cross_entropy_backward(Y, Y_hat, xp=np)
    assert J.shape == (3,)
    for e in range(3):
        alone, Y_hat_alone = softmax_cross_entropy(Y, L[e], xp=np)
        np.testing.assert_allclose(J[e], alone, rtol=1e-14)
        np.testing.assert_allclose(
            dL[e], softmax_cross_entropy_backward(Y, Y_hat_alone, xp=np), rtol=1e-13
        )


def test_one_hot(backend: Backend) -> None:
    labels, classes = backend.asarray(np.array([2, 0])), backend.asarray(np.arange(3))
    Y = one_hot(labels, classes, dtype=backend.xp.float32, xp=backend.xp)
    np.testing.assert_array_equal(backend.to_numpy(Y), [[0, 0, 1], [1, 0, 0]])
