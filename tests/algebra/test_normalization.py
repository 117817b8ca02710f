"""Normalisation: means and deviations, Jacobians, statistics, single rows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.algebra.comparing import assert_agrees
from xpmlp.algebra.normalization import (
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    layer_norm,
    layer_norm_backward,
    rms_norm,
    rms_norm_backward,
    running,
    unbiased,
)
from xpmlp.backends import Backend

NORMS = {
    "batch": (batch_norm, batch_norm_backward, -2),
    "layer": (layer_norm, layer_norm_backward, -1),
}


def arrays(N: int, l: int, *members: int, seed: int = 0) -> list[np.ndarray]:  # noqa: E741
    """Z, γ, β and dY."""
    random = np.random.default_rng(seed)
    return [
        random.normal(3, 2, (*members, N, l)),
        random.normal(1, 0.5, (*members, l)),
        random.normal(0, 1, (*members, l)),
        random.normal(0, 1, (*members, N, l)),
    ]


def forward_and_backward(
    name: str, Z: Any, gamma: Any, beta: Any, dY: Any, *, xp: Any
) -> tuple[Any, ...]:
    forward, backward, _ = NORMS[name]
    found = forward(Z, gamma, beta, xp=xp)
    gradients = backward(dY, found.X_hat, found.inverse_deviation, gamma, xp=xp)
    return (*found, *gradients)


@pytest.mark.parametrize("name", NORMS)
def test_normalised_values_have_mean_0_and_deviation_1(name: str) -> None:
    _, gamma, beta, _ = arrays(50, 60)
    Z = np.random.default_rng(0).normal(1000, 7, (50, 60))
    forward, _, axis = NORMS[name]
    Y, X_hat, *_ = forward(Z, gamma, beta, epsilon=0.0, xp=np)
    np.testing.assert_allclose(X_hat.mean(axis=axis), 0, atol=1e-12)
    np.testing.assert_allclose(X_hat.std(axis=axis), 1, rtol=1e-12)
    np.testing.assert_allclose(Y, X_hat * gamma + beta, rtol=1e-15)


def test_statistics_of_the_batch() -> None:
    Z, gamma, beta, _ = arrays(9, 4)
    found = batch_norm(Z, gamma, beta, xp=np)
    np.testing.assert_allclose(found.mean, Z.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(found.variance, Z.var(axis=0), rtol=1e-14)
    np.testing.assert_allclose(unbiased(found.variance, 9, xp=np), Z.var(axis=0, ddof=1))


@pytest.mark.parametrize("name", NORMS)
@given(N=st.integers(1, 6), l=st.integers(1, 6), E=st.sampled_from([0, 1, 3]), seed=st.integers())
def test_jacobians_are_complex_step_derivatives(
    name: str,
    N: int,
    l: int,  # noqa: E741
    E: int,
    seed: int,
) -> None:
    members = (E,) if E else ()
    *inputs, dY = arrays(N, l, *members, seed=abs(seed))
    *directions, _ = arrays(N, l, *members, seed=abs(seed) + 1)
    gradients = forward_and_backward(name, *inputs, dY, xp=np)[-3:]
    forward, _, _ = NORMS[name]
    for number, (gradient, direction) in enumerate(zip(gradients, directions, strict=True)):
        moved = list(inputs)
        moved[number] = moved[number] + 1e-30j * direction
        assert gradient.shape == direction.shape
        measured = np.sum(dY * forward(*moved, xp=np).Y).imag / 1e-30
        np.testing.assert_allclose(np.sum(gradient * direction), measured, rtol=1e-8, atol=1e-8)


@pytest.mark.oracle
@pytest.mark.parametrize("name", NORMS)
def test_torch_has_the_same_values_and_gradients(torch: Any, name: str) -> None:
    Z, gamma, beta, dY = arrays(12, 7)
    Y, *_, dZ, dgamma, dbeta = forward_and_backward(name, Z, gamma, beta, dY, xp=np)
    Z_, gamma_, beta_ = (torch.tensor(array, requires_grad=True) for array in (Z, gamma, beta))
    functional = torch.nn.functional
    if name == "batch":
        theirs = functional.batch_norm(Z_, None, None, gamma_, beta_, training=True)
    else:
        theirs = functional.layer_norm(Z_, (7,), gamma_, beta_)
    theirs.backward(torch.tensor(dY))
    for ours, other in (
        (Y, theirs.detach()), (dZ, Z_.grad), (dgamma, gamma_.grad), (dbeta, beta_.grad)
    ):  # fmt: skip
        np.testing.assert_allclose(ours, other.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.oracle
def test_torch_keeps_the_same_running_statistics_and_uses_them_alike(torch: Any) -> None:
    theirs = torch.nn.BatchNorm1d(7, dtype=torch.float64)
    mean, variance = np.zeros(7), np.ones(7)
    for seed in range(5):
        Z, _, _, _ = arrays(12, 7, seed=seed)
        theirs(torch.tensor(Z))
        found = batch_norm(Z, np.ones(7), np.zeros(7), xp=np)
        mean = running(mean, found.mean, 0.1, xp=np)
        variance = running(variance, unbiased(found.variance, 12, xp=np), 0.1, xp=np)
    np.testing.assert_allclose(mean, theirs.running_mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(variance, theirs.running_var.numpy(), rtol=1e-12)
    Z, gamma, beta, _ = arrays(12, 7, seed=9)
    theirs.weight.data, theirs.bias.data = torch.tensor(gamma), torch.tensor(beta)
    wanted = theirs.eval()(torch.tensor(Z)).detach().numpy()
    found = batch_norm_inference(Z, gamma, beta, mean, variance, xp=np)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_inference_with_the_batch_s_own_statistics_is_training() -> None:
    Z, gamma, beta, _ = arrays(12, 7, 3)
    Y, _, _, mean, variance = batch_norm(Z, gamma, beta, xp=np)
    found = batch_norm_inference(Z, gamma, beta, mean, variance, xp=np)
    np.testing.assert_allclose(found, Y, rtol=1e-12, atol=1e-12)


def test_running_statistics_move_by_a_share() -> None:
    at, batch = np.array([1.0, 2.0]), np.array([3.0, 2.0])
    np.testing.assert_array_equal(running(at, batch, 0.25, xp=np), [1.5, 2.0])
    np.testing.assert_array_equal(running(at, batch, 1.0, xp=np), batch)
    np.testing.assert_array_equal(running(batch, batch, 0.1, xp=np), batch)


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("members", [(), (3,)])
def test_every_backend_agrees_with_numpy(
    backend: Backend, name: str, dtype: str, members: tuple[int, ...]
) -> None:
    given_ = arrays(6, 5, *members)
    found = forward_and_backward(
        name, *(backend.asarray(array, dtype) for array in given_), xp=backend.xp
    )
    wanted = forward_and_backward(name, *(array.astype(dtype) for array in given_), xp=np)
    assert_agrees(backend, found, wanted, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_backend_uses_statistics_alike(backend: Backend, dtype: str) -> None:
    Z, gamma, beta, _ = arrays(6, 5, 2)
    mean, variance = np.full((2, 5), 3.0), np.full((2, 5), 4.0)
    given_ = [backend.asarray(array, dtype) for array in (Z, gamma, beta, mean, variance)]
    found = backend.to_numpy(batch_norm_inference(*given_, xp=backend.xp))
    assert found.dtype == dtype
    wanted = batch_norm_inference(Z, gamma, beta, mean, variance, xp=np)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    for ours in (
        running(given_[3], given_[4], 0.1, xp=backend.xp),
        unbiased(given_[4], 6, xp=backend.xp),
    ):
        assert backend.to_numpy(ours).dtype == dtype


@pytest.mark.parametrize("name", NORMS)
def test_members_are_the_single_networks(name: str) -> None:
    given_ = arrays(6, 5, 3)
    together = forward_and_backward(name, *given_, xp=np)
    for e in range(3):
        alone = forward_and_backward(name, *(array[e] for array in given_), xp=np)
        for ours, theirs in zip(together, alone, strict=True):
            np.testing.assert_allclose(ours[e], theirs, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_that_are_all_the_same_have_no_deviation(name: str, dtype: type) -> None:
    """Nor has a batch of one row, or a layer of one unit."""
    for Z in (np.full((4, 4), 7.0), np.array([[7.0]]), np.full((4, 4), -1e4)):
        gamma, beta, dY = np.ones(Z.shape[1]), np.arange(Z.shape[1]) + 1.0, np.ones(Z.shape)
        given_ = (array.astype(dtype) for array in (Z, gamma, beta, dY))
        with np.errstate(all="raise"):
            Y, *_, dZ, _, _ = forward_and_backward(name, *given_, xp=np)
        np.testing.assert_array_equal(Y, np.broadcast_to(beta, Z.shape))
        np.testing.assert_array_equal(dZ, 0)


def test_a_batch_of_one_row_gives_its_input_no_gradient() -> None:
    Z, gamma, beta, dY = arrays(1, 5)
    found = batch_norm(Z, gamma, beta, xp=np)
    dZ, _, dbeta = batch_norm_backward(dY, found.X_hat, found.inverse_deviation, gamma, xp=np)
    np.testing.assert_array_equal(found.Y, beta[None])
    np.testing.assert_array_equal(dZ, 0)
    np.testing.assert_array_equal(dbeta, dY[0])
    np.testing.assert_array_equal(unbiased(found.variance, 1, xp=np), 0)


@pytest.mark.parametrize("name", NORMS)
def test_a_large_mean_does_not_cancel_the_deviation(name: str) -> None:
    Z = np.random.default_rng(0).normal(0, 1, (32, 32))
    forward, _, axis = NORMS[name]
    ones, zeros = np.ones(32, np.float32), np.zeros(32, np.float32)
    shifted = (Z + 2000).astype(np.float32)
    X_hat = forward(shifted, ones, zeros, xp=np).X_hat
    exact = shifted.astype(np.float64) - shifted.mean(axis=axis, keepdims=True, dtype=np.float64)
    exact /= np.sqrt((exact**2).mean(axis=axis, keepdims=True) + 1e-5)
    np.testing.assert_allclose(X_hat, exact, atol=2e-3)  # the mean's own rounding is 1e-4


@pytest.mark.parametrize("name", NORMS)
def test_normalisation_writes_to_none_of_its_inputs(name: str) -> None:
    given_ = arrays(6, 5)
    for array in given_:
        array.flags.writeable = False
    forward_and_backward(name, *given_, xp=np)


# RMS normalisation has no mean and no shift.


def test_rms_norm_gives_rows_of_mean_square_1() -> None:
    Z, gamma, _, _ = arrays(7, 5)
    Y, X_hat, _ = rms_norm(Z, gamma, epsilon=0.0, xp=np)
    np.testing.assert_allclose((X_hat**2).mean(axis=-1), 1, rtol=1e-12)
    np.testing.assert_allclose(Y, Z / np.sqrt((Z**2).mean(-1, keepdims=True)) * gamma, rtol=1e-12)


def test_rms_norm_s_jacobian_is_the_complex_step_derivative() -> None:
    Z, gamma, _, dY = arrays(4, 3)
    found = rms_norm(Z, gamma, xp=np)
    gradients = rms_norm_backward(dY, found.X_hat, found.inverse_deviation, gamma, xp=np)
    assert gradients.dbeta is None
    for name, at in (("dZ", Z), ("dgamma", gamma)):
        derivative = np.zeros_like(at)
        for index in np.ndindex(at.shape):
            step = np.zeros(at.shape, complex)
            step[index] = 1e-30j
            given = (Z + step, gamma) if at is Z else (Z, gamma + step)
            derivative[index] = (rms_norm(*given, xp=np).Y * dY).sum().imag / 1e-30
        np.testing.assert_allclose(getattr(gradients, name), derivative, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rms_norm_on_every_backend_and_with_members(backend: Backend, dtype: str) -> None:
    Z, gamma, _, dY = (one.astype(dtype) for one in arrays(6, 5, 3))

    def both(Z: Any, gamma: Any, dY: Any, *, xp: Any) -> tuple[Any, ...]:
        found = rms_norm(Z, gamma, xp=xp)
        dZ, dgamma, _ = rms_norm_backward(dY, found.X_hat, found.inverse_deviation, gamma, xp=xp)
        return found.Y, dZ, dgamma

    given = [backend.asarray(one) for one in (Z, gamma, dY)]
    together = both(*given, xp=backend.xp)
    alone = [both(Z[member], gamma[member], dY[member], xp=np) for member in range(3)]
    assert_agrees(backend, together, map(np.stack, zip(*alone, strict=True)), dtype)


@pytest.mark.oracle
def test_rms_norm_is_pytorchs(torch: Any) -> None:
    Z, gamma, _, dY = arrays(6, 5)
    found = rms_norm(Z, gamma, xp=np)
    gradients = rms_norm_backward(dY, found.X_hat, found.inverse_deviation, gamma, xp=np)
    Z_, gamma_ = (torch.tensor(one, requires_grad=True) for one in (Z, gamma))
    Y = torch.nn.functional.rms_norm(Z_, (5,), gamma_, eps=1e-5)
    Y.backward(torch.tensor(dY))
    np.testing.assert_allclose(found.Y, Y.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(gradients.dZ, Z_.grad.numpy(), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(gradients.dgamma, gamma_.grad.numpy(), rtol=1e-12)
