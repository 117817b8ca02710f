"""Activations: values, extremes, Jacobians from the output."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xpmlp.algebra import ACTIVATIONS, relu, sigmoid, sigmoid_backward
from xpmlp.backends import Backend

Z_VALUES = [-1e4, -800.0, -90.0, -5.0, -0.5, 0.0, 0.5, 5.0, 90.0, 800.0, 1e4]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid_is_finite_and_ordered_at_both_ends(backend: Backend, dtype: str) -> None:
    Z = backend.asarray(np.array([Z_VALUES]), dtype)
    A = backend.to_numpy(sigmoid(Z, xp=backend.xp))
    assert A.dtype == dtype
    assert np.isfinite(A).all()
    assert (np.diff(A) >= 0).all()
    assert 0 <= A[0, 0] < 1e-37  # XLA flushes what is below the smallest normal number to zero
    assert A[0, -1] == 1.0


def test_sigmoid_is_accurate_where_a_naive_one_underflows() -> None:
    Z = np.array([-700.0, -300.0, -40.0, -1.0, 3.0])
    expected = [1.0 / (1.0 + math.exp(-z)) for z in Z]
    np.testing.assert_allclose(sigmoid(Z, xp=np), expected, rtol=1e-15)


def test_sigmoid_does_not_overflow_anywhere_on_the_way() -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for dtype in (np.float16, np.float32, np.float64):
            info = np.finfo(dtype)
            A = sigmoid(np.array([info.min, -90.0, 0.0, 90.0, info.max], dtype), xp=np)
            assert A[2] == 0.5


def test_sigmoid_is_the_lecture_to_the_last_bit_where_that_is_finite() -> None:
    Z = np.linspace(-87, 700, 10_001)
    np.testing.assert_array_equal(sigmoid(Z, xp=np), 1 / (1 + np.exp(-Z)))


@pytest.mark.parametrize("name", ACTIVATIONS)
@given(data=st.data())
def test_the_jacobian_is_the_complex_step_derivative(name: str, data: st.DataObject) -> None:
    elements = st.floats(-30, 30, allow_subnormal=False).filter(lambda z: abs(z) > 1e-3)
    Z = data.draw(arrays(np.float64, (3, 4), elements=elements))
    dA = data.draw(arrays(np.float64, (3, 4), elements=st.floats(-10, 10)))
    plain = {
        "sigmoid": lambda Z: 1 / (1 + np.exp(-Z)),
        "tanh": np.tanh,
        "relu": lambda Z: np.where(Z.real > 0, Z, 0),
    }[name]
    activation = ACTIVATIONS[name]
    A = activation.forward(Z, xp=np)
    np.testing.assert_allclose(A, plain(Z), rtol=1e-14, atol=0)
    derivative = plain(Z + 1e-30j).imag / 1e-30
    np.testing.assert_allclose(
        activation.backward(dA, A, xp=np), dA * derivative, rtol=1e-9, atol=1e-14
    )


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_backend_agrees_with_numpy(backend: Backend, name: str, dtype: str) -> None:
    random = np.random.default_rng(0)
    Z, dA = random.normal(0, 3, (2, 3, 4)), random.normal(0, 1, (2, 3, 4))
    activation, xp = ACTIVATIONS[name], backend.xp
    A = activation.forward(backend.asarray(Z, dtype), xp=xp)
    dZ = activation.backward(backend.asarray(dA, dtype), A, xp=xp)
    expected = activation.forward(Z.astype(dtype), xp=np)
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    for found, wanted in (
        (A, expected),
        (dZ, activation.backward(dA.astype(dtype), expected, xp=np)),
    ):
        host = backend.to_numpy(found)
        assert host.dtype == dtype
        np.testing.assert_allclose(host, wanted, rtol=tolerance, atol=tolerance)


def test_a_nan_is_not_hidden() -> None:
    Z = np.array([[np.nan, 1.0]])
    for activation in ACTIVATIONS.values():
        assert np.isnan(activation.forward(Z, xp=np)[0, 0])


def test_relu_has_no_gradient_at_zero_and_below() -> None:
    Z = np.array([[-1.0, 0.0, 2.0]])
    A = relu(Z, xp=np)
    np.testing.assert_array_equal(A, [[0.0, 0.0, 2.0]])
    np.testing.assert_array_equal(
        ACTIVATIONS["relu"].backward(np.ones((1, 3)), A, xp=np), [[0.0, 0.0, 1.0]]
    )


def test_sigmoid_backward_is_the_lectures_expression() -> None:
    A, dA = np.array([[0.25, 0.5]]), np.array([[2.0, -1.0]])
    np.testing.assert_array_equal(sigmoid_backward(dA, A, xp=np), [[0.375, -0.25]])
