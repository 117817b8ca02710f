"""The dense layer: products, sums, shapes and members."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpmlp.algebra import dense, dense_backward, dense_backward_parameters
from xpmlp.backends import Backend


def arrays(*shapes: tuple[int, ...], seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(size=shape) for shape in shapes]


def test_forward_and_jacobians_are_the_lectures_products(backend: Backend) -> None:
    A, W, b, dZ = arrays((5, 3), (3, 2), (2,), (5, 2))
    on_device = [backend.asarray(array) for array in (A, W, b, dZ)]
    A_, W_, b_, dZ_ = on_device
    found = [dense(A_, W_, b_, xp=backend.xp), *dense_backward(dZ_, A_, W_, xp=backend.xp)]
    expected = [A @ W + b, A.T @ dZ, np.sum(dZ, axis=0), dZ @ W.T]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(backend.to_numpy(ours), theirs, rtol=1e-13)


@given(
    N=st.integers(1, 6),
    l_in=st.integers(1, 5),
    l_out=st.integers(1, 5),
    E=st.sampled_from([None, 1, 3]),
    shared=st.booleans(),
    seed=st.integers(0, 99),
)
def test_jacobians_are_directional_derivatives(
    N: int, l_in: int, l_out: int, E: int | None, shared: bool, seed: int
) -> None:
    lead = () if E is None else (E,)
    A_lead = () if shared else lead
    A, W, b, dZ, D_A, D_W, D_b = arrays(
        (*A_lead, N, l_in), (*lead, l_in, l_out), (*lead, l_out), (*lead, N, l_out),
        (*lead, N, l_in), (*lead, l_in, l_out), (*lead, l_out), seed=seed,
    )  # fmt: skip
    dW, db, dA = dense_backward(dZ, A, W, xp=np)
    assert dW.shape == W.shape
    assert db.shape == b.shape
    assert dA.shape == (*lead, N, l_in)
    # dense is linear in each argument, so that its change is exact, not a limit
    for gradient, direction, change in (
        (dW, D_W, A @ D_W),
        (db, D_b, np.broadcast_to(D_b[..., None, :], dZ.shape)),
        (dA, D_A, D_A @ W),
    ):
        np.testing.assert_allclose(
            np.sum(gradient * direction), np.sum(dZ * change), rtol=1e-9, atol=1e-9
        )


def test_a_bias_may_have_members_that_the_weights_lack() -> None:
    A, W, b = arrays((4, 3), (3, 2), (5, 2))
    Z = dense(A, W, b, xp=np)
    assert Z.shape == (5, 4, 2)
    np.testing.assert_array_equal(Z[3], A @ W + b[3])


def test_members_are_the_single_networks() -> None:
    A, W, dZ = arrays((4, 3), (5, 3, 2), (5, 4, 2))
    together = dense_backward(dZ, A, W, xp=np)
    for e in range(5):
        alone = dense_backward(dZ[e], A, W[e], xp=np)
        for ours, theirs in zip(together, alone, strict=True):
            np.testing.assert_allclose(ours[e], theirs, rtol=1e-13)


def test_first_layer_gets_the_same_parameters_gradients() -> None:
    A, W, dZ = arrays((4, 3), (3, 2), (4, 2))
    whole = dense_backward(dZ, A, W, xp=np)
    for ours, theirs in zip(dense_backward_parameters(dZ, A, xp=np), whole[:2], strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(backend: Backend, dtype: str) -> None:
    A, W, b, dZ = (backend.asarray(array, dtype) for array in arrays((5, 3), (3, 2), (2,), (5, 2)))
    for found in (dense(A, W, b, xp=backend.xp), *dense_backward(dZ, A, W, xp=backend.xp)):
        assert backend.to_numpy(found).dtype == dtype
