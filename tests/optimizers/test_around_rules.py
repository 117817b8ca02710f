"""What is done before and after a rule: weight decay, clipping, averaging."""

from typing import Any

import numpy as np
import pytest

from tests.optimizers.descents import descend, follow_torch, valley
from xpmlp import InputError
from xpmlp.backends import Backend
from xpmlp.optimizers import (
    Optimizer,
    adam,
    average,
    clip_by_norm,
    clip_by_value,
    decay,
    ema_weights,
    sgd,
    swa_weights,
)


def decaying(optimizer: Optimizer, weight_decay: Any) -> Optimizer:
    """A rule after weight decay."""

    def update(p: Any, g: Any, state: Any, rate: Any, /, *, xp: Any) -> Any:
        wd = np.asarray(weight_decay, p.dtype)
        return optimizer.update(decay(p, rate, wd, xp=xp), g, state, rate, xp=xp)

    return Optimizer(optimizer.init, update)


@pytest.mark.oracle
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
def test_adam_after_decay_is_pytorchs_adamw(dtype: str, tolerance: float, torch: Any) -> None:
    """Of float64, in both: PyTorch's float32 multiplies by 1 - 0.001 rounded, so that after 100
    steps 1.3e-6 are missing."""
    start, gradient = valley()
    found = descend(decaying(adam(), 0.1), start, gradient, 0.01, dtype=dtype)
    options = {"weight_decay": 0.1}
    expected = follow_torch(torch, "AdamW", options, start, gradient, 0.01, "float64")
    atol = tolerance * abs(expected).max(axis=1, keepdims=True)
    assert (abs(found - expected) <= atol).all()


@pytest.mark.oracle
def test_sgd_after_decay_is_pytorchs_sgd_with_weight_decay(torch: Any) -> None:
    """For plain descent, and for it alone, decoupled decay is the gradient of (decay/2) |p|²."""
    start, gradient = valley()
    found = descend(decaying(sgd(), 0.1), start, gradient, 0.05)
    options = {"weight_decay": 0.1}
    expected = follow_torch(torch, "SGD", options, start, gradient, 0.05, "float64")
    np.testing.assert_allclose(found[-1], expected[-1], rtol=0.0, atol=1e-12)


def test_members_and_groups_decay_on_their_own(backend: Backend) -> None:
    rate, by_member, by_group = (
        backend.asarray(np.array(values)) for values in (0.5, [[0.5], [0.25]], [0.5, 0.0, 0.5])
    )
    for weight_decay, expected in (
        (by_member, [[0.75] * 3, [0.875] * 3]),
        (by_group, [[0.75, 1.0, 0.75]] * 2),
    ):
        found = decay(backend.asarray(np.ones((2, 3))), rate, weight_decay, xp=backend.xp)
        np.testing.assert_array_equal(backend.to_numpy(found), expected)


@pytest.mark.oracle
@pytest.mark.parametrize("limit", [0.1, 1.0, 5.0, 100.0])
def test_clipping_by_norm_is_pytorchs_but_for_its_constant(limit: float, torch: Any) -> None:
    G = np.random.default_rng(1).normal(size=30)
    p = torch.nn.Parameter(torch.zeros(30, dtype=torch.float64))
    p.grad = torch.asarray(G.copy())
    torch.nn.utils.clip_grad_norm_([p], limit)
    np.testing.assert_allclose(clip_by_norm(G.copy(), limit, xp=np), p.grad.numpy(), rtol=1e-6)


def test_clipped_norms_are_each_members_own(backend: Backend) -> None:
    G = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    found = backend.to_numpy(clip_by_norm(backend.asarray(G.copy()), 2.0, xp=backend.xp))
    np.testing.assert_allclose(found[0], [1.2, 1.6], rtol=1e-15)
    np.testing.assert_array_equal(found[1:], G[1:])


@pytest.mark.oracle
def test_clipping_by_value_is_pytorchs(backend: Backend, torch: Any) -> None:
    G = np.random.default_rng(1).normal(size=(2, 30))
    p = torch.nn.Parameter(torch.zeros((2, 30), dtype=torch.float64))
    p.grad = torch.asarray(G.copy())
    torch.nn.utils.clip_grad_value_([p], 0.5)
    found = clip_by_value(backend.asarray(G.copy()), 0.5, xp=backend.xp)
    np.testing.assert_array_equal(backend.to_numpy(found), p.grad.numpy())


@pytest.mark.parametrize("clip", [clip_by_norm, clip_by_value])
def test_clipping_hides_no_nan(clip: Any, backend: Backend) -> None:
    found = backend.to_numpy(clip(backend.asarray(np.array([1.0, np.nan])), 0.5, xp=backend.xp))
    assert np.isnan(found[1])


def test_an_infinite_gradient_is_no_small_one(backend: Backend) -> None:
    found = clip_by_norm(backend.asarray(np.array([1.0, np.inf])), 0.5, xp=backend.xp)
    assert np.isnan(backend.to_numpy(found)[1])


def averaged(way: np.ndarray, weights: np.ndarray, backend: Backend) -> list[np.ndarray]:
    """The mean after each step, from an initial one that must not matter."""
    mean, means = backend.asarray(np.full(way.shape[1:], 1e3)), []
    for p, weight in zip(way, weights, strict=True):
        given = backend.asarray(p.copy()), backend.asarray(np.array([weight]))
        mean = average(mean, *given, xp=backend.xp)
        means.append(np.array(backend.to_numpy(mean)))
    return means


def test_exponential_means_begin_as_plain_ones(backend: Backend) -> None:
    way = np.random.default_rng(2).normal(size=(40, 3))
    weights = ema_weights(40, 0.9)
    means = averaged(way, weights, backend)
    for t in range(10):
        np.testing.assert_allclose(means[t], way[: t + 1].mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(weights[10:], 0.1, rtol=1e-15)


@pytest.mark.oracle
def test_exponential_means_go_on_as_pytorchs(backend: Backend, torch: Any) -> None:
    swa_utils = torch.optim.swa_utils
    way = np.random.default_rng(2).normal(size=(40, 3))
    model = torch.nn.Linear(3, 1, bias=False, dtype=torch.float64)
    theirs = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9))
    means = averaged(way, np.array([1.0] + [1.0 - 0.9] * 39), backend)
    for p, mean in zip(way, means, strict=True):
        model.weight.data[0] = torch.asarray(p)
        theirs.update_parameters(model)
        np.testing.assert_allclose(mean, theirs.module.weight.data[0].numpy(), atol=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize(("start", "every"), [(0, 1), (9, 10), (25, 4), (39, 1)])
def test_plain_means_are_pytorchs(start: int, every: int, backend: Backend, torch: Any) -> None:
    way = np.random.default_rng(2).normal(size=(40, 3))
    model = torch.nn.Linear(3, 1, bias=False, dtype=torch.float64)
    theirs = torch.optim.swa_utils.AveragedModel(model)
    weights = swa_weights(40, start, every)
    means = averaged(way, weights, backend)
    for t, p in enumerate(way):
        if t >= start and (t - start) % every == 0:
            model.weight.data[0] = torch.asarray(p)
            theirs.update_parameters(model)
        assert (weights[t] > 0.0) == (t >= start and (t - start) % every == 0)
        if t >= start:
            np.testing.assert_allclose(means[t], theirs.module.weight.data[0].numpy(), atol=1e-12)


def test_weights_of_a_part_of_a_run_are_those_of_the_whole() -> None:
    np.testing.assert_array_equal(ema_weights(100, 0.95)[:30], ema_weights(30, 0.95))
    np.testing.assert_array_equal(swa_weights(100, 7, 5)[:30], swa_weights(30, 7, 5))
    np.testing.assert_array_equal(swa_weights(5, 7, 5), np.zeros(5))


def test_means_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match=r"decay=1\.0: .* below 1"):
        ema_weights(10, 1.0)
    for start, every in ((-1, 1), (0, 0)):
        with pytest.raises(InputError, match=f"start={start}, every={every}"):
            swa_weights(10, start, every)
