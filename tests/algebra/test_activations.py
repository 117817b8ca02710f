"""Activations: values, extremes, Jacobians from the output or the input."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.algebra.comparing import assert_agrees
from tests.textbook import PLAIN
from xpmlp.algebra import ACTIVATIONS, relu, sigmoid, sigmoid_backward
from xpmlp.algebra.activations import LEAKY_SLOPE, SELU_LIMIT, SELU_SCALE, Activation
from xpmlp.backends import Backend

FROM_THE_INPUT = {"gelu", "gelu_tanh", "silu", "mish", "hard_swish"}
BOUNDED = {"sigmoid", "tanh", "scaled_tanh"}

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


def forward_and_backward(activation: Activation, Z: Any, dA: Any, *, xp: Any) -> tuple[Any, Any]:
    A = activation.forward(Z, xp=xp)
    return A, activation.backward(dA, A if activation.keeps == "A" else Z, xp=xp)


@pytest.mark.extended(keep=1)
@pytest.mark.parametrize("name", [name for name in PLAIN if name != "gelu"])  # its test follows
@given(data=st.data())
def test_jacobian_is_the_complex_step_derivative(name: str, data: st.DataObject) -> None:
    elements = st.floats(-30, 30, allow_subnormal=False).filter(lambda z: abs(z) > 1e-3)
    Z = data.draw(arrays(np.float64, (3, 4), elements=elements))
    dA = data.draw(arrays(np.float64, (3, 4), elements=st.floats(-10, 10)))
    plain = PLAIN[name]
    A, dZ = forward_and_backward(ACTIVATIONS[name], Z, dA, xp=np)
    # What is written with 1 + small has lost small's digits, in the papers' formulas or in ours.
    atol = 1e-14 if name in ("mish", "softplus", "gelu_tanh") else 0
    np.testing.assert_allclose(A, plain(Z), rtol=1e-14, atol=atol)
    derivative = plain(Z + 1e-30j).imag / 1e-30
    np.testing.assert_allclose(dZ, dA * derivative, rtol=1e-9, atol=1e-13)


@given(Z=arrays(np.float64, (3, 4), elements=st.floats(-30, 30)))
def test_gelu_is_the_error_functions(Z: np.ndarray) -> None:
    def below(z: float) -> float:
        return 0.5 * math.erfc(-z / math.sqrt(2))

    def derivative(z: float) -> float:
        return below(z) + z * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    A, dZ = forward_and_backward(ACTIVATIONS["gelu"], Z, np.ones_like(Z), xp=np)
    np.testing.assert_allclose(A, Z * np.vectorize(below)(Z), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(dZ, np.vectorize(derivative)(Z), rtol=1e-11, atol=2e-16)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_backend_agrees_with_numpy(backend: Backend, name: str, dtype: str) -> None:
    random = np.random.default_rng(0)
    Z, dA = random.normal(0, 3, (2, 3, 4)), random.normal(0, 1, (2, 3, 4))
    activation = ACTIVATIONS[name]
    found = forward_and_backward(
        activation, backend.asarray(Z, dtype), backend.asarray(dA, dtype), xp=backend.xp
    )
    wanted = forward_and_backward(activation, Z.astype(dtype), dA.astype(dtype), xp=np)
    assert_agrees(backend, found, wanted, dtype)


def torch_activation(torch: Any, name: str) -> Any:
    functional = torch.nn.functional
    return {
        "identity": lambda Z: 1.0 * Z,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "scaled_tanh": lambda Z: 1.7159 * torch.tanh(2 / 3 * Z),
        "relu": functional.relu,
        "leaky_relu": lambda Z: functional.leaky_relu(Z, 0.01),
        "selu": functional.selu,
        "gelu": functional.gelu,
        "gelu_tanh": lambda Z: functional.gelu(Z, approximate="tanh"),
        "silu": functional.silu,
        "mish": functional.mish,
        "elu": functional.elu,
        "hard_swish": functional.hardswish,
        "softplus": lambda Z: functional.softplus(Z, threshold=1000),
    }[name]


@pytest.mark.oracle
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_torch_has_the_same_values_and_gradients(torch: Any, name: str) -> None:
    Z = np.concatenate([np.linspace(-40, 40, 2001), np.linspace(-1, 1, 501)])[:, None]
    dA = np.random.default_rng(0).normal(0, 1, Z.shape)
    A, dZ = forward_and_backward(ACTIVATIONS[name], Z, dA, xp=np)
    input_ = torch.tensor(Z, requires_grad=True)
    output = torch_activation(torch, name)(input_)
    output.backward(torch.tensor(dA))
    np.testing.assert_allclose(A, output.detach().numpy(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dZ, input_.grad.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_float32_is_float64_rounded(name: str) -> None:
    """To a few units in the last place of 1 or, where that is larger, of the result."""
    Z = np.linspace(-20, 20, 4001, dtype=np.float32)[:, None]
    dA = np.ones_like(Z)
    found = forward_and_backward(ACTIVATIONS[name], Z, dA, xp=np)
    wanted = forward_and_backward(
        ACTIVATIONS[name], Z.astype(np.float64), dA.astype(np.float64), xp=np
    )
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=5e-7, atol=5e-7)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_limits_at_both_ends(backend: Backend, name: str, dtype: str) -> None:
    large = 1e38 if dtype == "float32" else 1e307
    ends = np.array([large, 1e20, 1e10, 1e4, 800.0, 200.0])
    ones, xp = np.ones((1, 6)), backend.xp
    low, high = {
        "identity": (-ends, ends),
        "sigmoid": (0, 1),
        "tanh": (-1, 1),
        "scaled_tanh": (-1.7159, 1.7159),
        "leaky_relu": (-LEAKY_SLOPE * ends, ends),
        "selu": (-SELU_LIMIT, SELU_SCALE * ends),
        "elu": (-1, ends),
    }.get(name, (0, ends))
    low_slope, high_slope = {
        "identity": (1, 1),
        "leaky_relu": (LEAKY_SLOPE, 1),
        "selu": (0, SELU_SCALE),
    }.get(name, (0, 0 if name in BOUNDED else 1))
    for sign, value, slope in ((-1, low, low_slope), (1, high, high_slope)):
        found = forward_and_backward(
            ACTIVATIONS[name],
            backend.asarray(sign * ends[None, :], dtype),
            backend.asarray(ones, dtype),
            xp=xp,
        )
        wanted = value * ones, slope * ones
        assert_agrees(backend, found, wanted, dtype, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_overflows_on_the_way(name: str, dtype: type) -> None:
    most = 0.9 * float(np.finfo(dtype).max)  # selu has a factor above 1
    ends = [float(end) for end in np.geomspace(1e-3, most, 2000)]
    Z = np.array([-end for end in ends] + ends, dtype)[:, None]
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for found in forward_and_backward(ACTIVATIONS[name], Z, np.ones_like(Z), xp=np):
            assert np.isfinite(found).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_kept_array_is_enough_and_a_falling_function_keeps_its_input(name: str) -> None:
    activation = ACTIVATIONS[name]
    assert activation.keeps == ("Z" if name in FROM_THE_INPUT else "A")
    A = activation.forward(np.linspace(-4, 4, 8001), xp=np)
    assert (np.diff(A) >= 0).all() == (activation.keeps == "A")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_writes_to_none_of_its_inputs(name: str) -> None:
    Z, dA = np.linspace(-3, 3, 12).reshape(3, 4), np.ones((3, 4))
    Z.flags.writeable = dA.flags.writeable = False
    A, dZ = forward_and_backward(ACTIVATIONS[name], Z, dA, xp=np)
    assert A.shape == dZ.shape == (3, 4)


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
