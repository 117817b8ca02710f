"""Penalties and limits on weights: values, gradients, members."""

from typing import Any

import numpy as np
import pytest

from tests.algebra.comparing import assert_agrees
from xpmlp.algebra.regularisers import (
    l1_penalty,
    l1_penalty_gradient,
    l2_penalty,
    l2_penalty_gradient,
    max_norm,
)
from xpmlp.backends import Backend

PENALTIES = {"l2": (l2_penalty, l2_penalty_gradient), "l1": (l1_penalty, l1_penalty_gradient)}


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_values() -> None:
    W = np.array([[3.0, -4.0], [0.0, 1.0]])
    assert l2_penalty(W, 0.1, xp=np) == pytest.approx(1.3)
    assert l1_penalty(W, 0.1, xp=np) == pytest.approx(0.8)
    np.testing.assert_allclose(l2_penalty_gradient(W, 0.1, xp=np), 0.1 * W)
    np.testing.assert_allclose(l1_penalty_gradient(W, 0.1, xp=np), [[0.1, -0.1], [0.0, 0.1]])


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("seed", range(5))
def test_gradient_is_the_directional_derivative(name: str, seed: int) -> None:
    penalty, gradient = PENALTIES[name]
    W, Direction = weights(4, 3, seed=seed), weights(4, 3, seed=seed + 100)
    h = 1e-6  # no sign changes on the way, and a square's central difference is exact
    up, down = (penalty(W + step * Direction, 0.3, xp=np) for step in (h, -h))
    found = np.sum(gradient(W, 0.3, xp=np) * Direction)
    np.testing.assert_allclose(found, (up - down) / (2 * h), rtol=1e-8)


@pytest.mark.oracle
@pytest.mark.parametrize("name", PENALTIES)
def test_torch_has_the_same_values_and_gradients(torch: Any, name: str) -> None:
    W = weights(4, 3)
    W[1, 1] = 0.0
    W_ = torch.tensor(W, requires_grad=True)
    theirs = 0.3 * W_.abs().sum() if name == "l1" else 0.15 * (W_ * W_).sum()
    theirs.backward()
    penalty, gradient = PENALTIES[name]
    np.testing.assert_allclose(penalty(W, 0.3, xp=np), theirs.item(), rtol=1e-12)
    np.testing.assert_allclose(gradient(W, 0.3, xp=np), W_.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("shared", [False, True])
def test_members_have_strengths_of_their_own(name: str, shared: bool) -> None:
    penalty, gradient = PENALTIES[name]
    W, strength = weights(*(() if shared else (3,)), 4, 2), np.array([0.1, 0.0, 2.0])
    J = penalty(W, strength[:, None, None], xp=np)
    dW = gradient(W, strength[:, None, None], xp=np)
    assert J.shape == (3,)
    assert penalty(weights(3, 4, 2), 0.1, xp=np).shape == (3,)
    for e, own in enumerate(strength):
        W_own = W if shared else W[e]
        np.testing.assert_allclose(J[e], penalty(W_own, float(own), xp=np), rtol=1e-14)
        np.testing.assert_allclose(dW[e], gradient(W_own, float(own), xp=np), rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_backend_agrees_with_numpy(backend: Backend, dtype: str) -> None:
    W, strength = weights(2, 4, 3), np.array([0.1, 0.2])[:, None, None]

    def everything(send: Any, xp: Any) -> list[Any]:
        found = []
        for functions in PENALTIES.values():
            for function in functions:
                found += [function(send(W), send(strength), xp=xp), function(send(W), 0.1, xp=xp)]
                found.append(function(send(W[0]), 0.1, xp=xp))
        return [*found, max_norm(send(W), 1.0, xp=xp), max_norm(send(W), send(strength), xp=xp)]

    found = everything(lambda array: backend.asarray(array, dtype), backend.xp)
    wanted = everything(lambda array: array.astype(dtype), np)
    assert_agrees(backend, found, wanted, dtype, atol=0.0)


def test_only_units_beyond_the_limit_are_scaled_back() -> None:
    W = np.array([[3.0, 0.3, 0.0], [4.0, 0.4, 0.0]])
    found = max_norm(W, 2.0, xp=np)
    np.testing.assert_allclose(found[:, 0], [1.2, 1.6])
    np.testing.assert_array_equal(found[:, 1:], W[:, 1:])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_limited_network_stays_as_it_is(dtype: type) -> None:
    W = weights(20, 10, 8).astype(dtype)
    limit = 2.5
    found = max_norm(W, limit, xp=np)
    norms = np.sqrt((found.astype(np.float64) ** 2).sum(axis=-2))
    assert (norms <= limit * (1 + 3 * np.finfo(dtype).eps)).all()
    np.testing.assert_allclose(max_norm(found, limit, xp=np), found, rtol=4 * np.finfo(dtype).eps)
    own = np.sqrt((W.astype(np.float64) ** 2).sum(axis=-2, keepdims=True))
    within = np.broadcast_to(own < limit * 0.999, W.shape)
    assert within.any()
    assert not within.all()
    np.testing.assert_array_equal(found[within], W[within])


@pytest.mark.oracle
def test_torch_renorms_alike(torch: Any) -> None:
    W = weights(10, 8)
    theirs = torch.renorm(torch.tensor(W), p=2, dim=1, maxnorm=2.5).numpy()
    # torch divides by the norm + 1e-7
    np.testing.assert_allclose(max_norm(W, 2.5, xp=np), theirs, rtol=1e-6)
