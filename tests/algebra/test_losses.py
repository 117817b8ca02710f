"""Losses: stable, exact, each other's derivative, and of one form."""

import functools
import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import mean_poisson_deviance

from tests.algebra.comparing import assert_agrees
from tests.textbook import plain_loss
from xpmlp.algebra.losses import (
    LOSSES,
    Loss,
    huber,
    mix,
    one_hot,
    poisson,
    poisson_backward,
    quantile,
    quantile_backward,
    sigmoid_cross_entropy,
    sigmoid_cross_entropy_backward,
    smooth_labels,
    softmax,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
    squared_error,
)
from xpmlp.backends import Backend

LOGITS = arrays(np.float64, (4, 5), elements=st.floats(-80, 80))

CASES = {
    **{name: (name, {}) for name in LOSSES},
    "huber of 0.3": ("huber", {"delta": 0.3}),
    "quantile of 0.9": ("quantile", {"quantile": 0.9}),
}
"""Each loss with the options that it has."""


def bound(case: str) -> Loss:
    name, options = CASES[case]
    loss = LOSSES[name]

    def bind(function: Any) -> Any:
        known = inspect.signature(function).parameters
        given = {key: value for key, value in options.items() if key in known}
        return functools.partial(function, **given)

    return Loss(bind(loss.forward), bind(loss.backward), loss.output)


def targets(case: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    output = LOSSES[CASES[case][0]].output
    if output == "softmax":
        return random.dirichlet(np.ones(shape[-1]), size=shape[:-1])
    if output == "exp":
        return random.poisson(1.5, shape).astype(np.float64)
    return random.uniform(0, 1, shape) if output == "sigmoid" else random.normal(0, 1, shape)


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


@given(LOGITS)
def test_cross_entropy_has_the_bits_it_always_had(L: np.ndarray) -> None:
    L = L.astype(np.float32)
    Y = one_hot(np.array([3, 0, 4, 1]), np.arange(5), dtype=np.float32, xp=np)
    shifted = L - np.max(L, axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    total = np.sum(exponentials, axis=-1, keepdims=True)
    J = -np.sum(Y * (shifted - np.log(total)), axis=(-2, -1)) / 4
    found = softmax_cross_entropy(Y, L, xp=np)
    assert found._fields == ("J", "Y_hat")
    np.testing.assert_array_equal(found.J, J)
    np.testing.assert_array_equal(found.Y_hat, exponentials / total)
    dL = softmax_cross_entropy_backward(Y, found.Y_hat, xp=np)
    np.testing.assert_array_equal(dL, -(Y - exponentials / total) / 4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1e2, 1e4])
def test_extreme_logits_give_finite_losses_and_gradients(backend, dtype: str, size: float) -> None:
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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_answers_of_yes_and_no(backend: Backend, dtype: str) -> None:
    L = np.array([[1e4, -1e4, 1e4, -1e4, 0.0, 100.0]])
    Y = np.array([[1.0, 0.0, 0.0, 1.0, 0.5, 0.25]])
    xp, Y_ = backend.xp, backend.asarray(Y, dtype)
    J, Y_hat = sigmoid_cross_entropy(Y_, backend.asarray(L, dtype), xp=xp)
    dL = backend.to_numpy(sigmoid_cross_entropy_backward(Y_, Y_hat, xp=xp))
    assert dL.dtype == dtype
    np.testing.assert_allclose(backend.to_numpy(J), 2e4 + np.log(2) + 75, rtol=1e-6)
    np.testing.assert_allclose(dL, [[0, 0, 1, -1, 0, 0.75]], rtol=1e-6, atol=1e-40)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_overflows_on_the_way(case: str, dtype: type) -> None:
    loss = bound(case)
    L = np.array([[1e4, -1e4, 0.0], [88.0, 89.0, -104.0]], dtype)
    if loss.output == "exp":  # of 89 it is beyond float32 itself, and J is infinite indeed
        L = np.minimum(L, dtype(87.0))
    with np.errstate(all="raise", under="ignore"):
        for Y in np.eye(3, dtype=dtype)[:, None, :]:
            J, kept = loss.forward(Y, L, xp=np)
            dL = loss.backward(Y, kept, xp=np)
            assert np.isfinite(J)
            assert np.isfinite(dL).all()


def test_a_difference_beyond_float32_is_no_nan() -> None:
    with np.errstate(over="ignore"):  # 3e38 - -3e38 is beyond float32 in itself
        assert not np.isnan(softmax(np.array([[3e38, -3e38]], dtype=np.float32), xp=np)).any()


def test_a_probability_close_to_zero_keeps_its_digits() -> None:
    L = np.array([[-80.0, -30.0, 3.0]])
    Y_hat = sigmoid_cross_entropy(np.zeros((1, 3)), L, xp=np).Y_hat
    np.testing.assert_allclose(Y_hat, np.exp(L) / (1 + np.exp(L)), rtol=1e-15)


def test_counts_without_a_part_in_the_loss() -> None:
    """Y log Y is 0 at 0, and J is 0 where the mean is the count."""
    J, Y_hat = poisson(np.array([[0.0, 0.0]]), np.array([[-800.0, 0.0]]), xp=np)
    assert J == 1.0
    np.testing.assert_array_equal(Y_hat, [[0.0, 1.0]])
    Y = np.array([[1.0, 2.0, 7.0]])
    found = poisson(Y, np.log(Y), xp=np)
    np.testing.assert_allclose(found.J, 0.0, atol=1e-14)
    np.testing.assert_allclose(poisson_backward(Y, found.Y_hat, xp=np), 0.0, atol=1e-14)


def test_half_the_poisson_deviance_of_scikit_learn() -> None:
    Y, L = targets("poisson", (50, 3)), np.random.default_rng(1).normal(0, 2, (50, 3))
    weights = np.random.default_rng(2).uniform(0, 2, 50)
    theirs = sum(
        mean_poisson_deviance(Y[:, k], np.exp(L[:, k]), sample_weight=weights) for k in range(3)
    )
    found = poisson(Y, L, weights / weights.mean(), xp=np).J
    np.testing.assert_allclose(found, theirs / 2, rtol=1e-12)


@pytest.mark.extended(keep=4)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("weighted", [False, True])
@given(seed=st.integers(0, 99))
def test_jacobian_is_the_complex_step_derivative(case: str, weighted: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    L, Direction = random.normal(0, 3, (4, 5)), random.normal(0, 1, (4, 5))
    Y = targets(case, (4, 5), seed)
    weights = random.uniform(0, 2, 4) if weighted else None
    loss = bound(case)
    J, kept = loss.forward(Y, L, weights, xp=np)
    dL = loss.backward(Y, kept, weights, xp=np)
    name, options = CASES[case]
    rows = plain_loss(name, Y, L + 1e-30j * Direction, **options).sum(axis=-1)
    moved = np.mean(rows if weights is None else weights * rows)
    np.testing.assert_allclose(J, moved.real, rtol=1e-12)
    np.testing.assert_allclose(np.sum(dL * Direction), moved.imag / 1e-30, rtol=1e-9, atol=1e-12)


def test_quantile_has_a_bend_at_the_target() -> None:
    Y = np.array([[1.0, 1.0, 1.0]])
    L = np.array([[0.0, 1.0, 3.0]])
    J, S = quantile(Y, L, quantile=0.9, xp=np)
    np.testing.assert_allclose(J, 0.9 + 0.2)
    np.testing.assert_allclose(quantile_backward(Y, S, xp=np), [[-0.9, 0.1, 0.1]])


@given(st.sampled_from([0.1, 0.5, 0.8]), st.integers(0, 20))
def test_quantile_loss_is_least_at_the_quantile(q: float, seed: int) -> None:
    Y = np.random.default_rng(seed).normal(size=(99, 1))
    constants = np.sort(Y[:, 0])
    costs = [quantile(Y, np.full((99, 1), c), quantile=q, xp=np).J for c in constants]
    assert abs(np.mean(constants[np.argmin(costs)] >= Y) - q) < 0.02


def test_huber_is_squares_within_and_lines_beyond() -> None:
    Y = np.zeros((2, 1))
    np.testing.assert_allclose(huber(Y, np.array([[0.5], [-0.5]]), xp=np).J, 0.125)
    np.testing.assert_allclose(huber(Y, np.array([[4.0], [-4.0]]), xp=np).J, 3.5)
    wide = huber(Y, np.array([[4.0], [-4.0]]), delta=1e9, xp=np).J
    assert wide == squared_error(Y, np.array([[4.0], [-4.0]]), xp=np).J


def torch_loss(torch: Any, case: str, Y: Any, L: Any) -> Any:
    """One value for each row."""
    name, options = CASES[case]
    functional, no = torch.nn.functional, {"reduction": "none"}
    if name == "softmax_cross_entropy":
        return functional.cross_entropy(L, Y, **no)
    if name == "sigmoid_cross_entropy":
        return functional.binary_cross_entropy_with_logits(L, Y, **no).sum(-1)
    if name == "squared_error":
        return 0.5 * functional.mse_loss(L, Y, **no).sum(-1)
    if name == "poisson":
        mean = functional.poisson_nll_loss(L, Y, log_input=True, **no)
        return (mean + torch.xlogy(Y, Y) - Y).sum(-1)
    if name == "huber":
        return functional.huber_loss(L, Y, delta=options.get("delta", 1.0), **no).sum(-1)
    q = options.get("quantile", 0.5)
    return torch.maximum(q * (Y - L), (q - 1) * (Y - L)).sum(-1)


@pytest.mark.oracle
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_torch_has_the_same_values_and_gradients(torch: Any, case: str, weighted: bool) -> None:
    random = np.random.default_rng(1)
    L, Y = random.normal(0, 10, (40, 5)), targets(case, (40, 5))
    weights = random.uniform(0, 2, 40) if weighted else None
    loss = bound(case)
    J, kept = loss.forward(Y, L, weights, xp=np)
    L_ = torch.tensor(L, requires_grad=True)
    rows = torch_loss(torch, case, torch.tensor(Y), L_)
    theirs = torch.mean(rows if weights is None else torch.tensor(weights) * rows)
    theirs.backward()
    np.testing.assert_allclose(J, theirs.item(), rtol=1e-12)
    dL = loss.backward(Y, kept, weights, xp=np)
    np.testing.assert_allclose(dL, L_.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_backend_agrees_with_numpy(backend: Backend, case: str, dtype: str) -> None:
    random = np.random.default_rng(2)
    L, Y = random.normal(0, 3, (2, 6, 3)), targets(case, (6, 3))
    weights = random.uniform(0, 2, (2, 6))
    loss = bound(case)

    def both(send: Any, xp: Any) -> tuple[Any, Any]:
        Y_, L_, weights_ = (send(array) for array in (Y, L, weights))
        J, kept = loss.forward(Y_, L_, weights_, xp=xp)
        return J, loss.backward(Y_, kept, weights_, xp=xp)

    found = both(lambda array: backend.asarray(array, dtype), backend.xp)
    wanted = both(lambda array: array.astype(dtype), np)
    atol = 1e-6 if dtype == "float32" else 1e-14
    assert_agrees(backend, found, wanted, dtype, atol=atol)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("weights_of", [(), (8,), (3, 8)])
def test_mean_is_over_rows_and_members_stay_apart(case: str, weights_of: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    L, Y = random.normal(size=(3, 8, 5)), targets(case, (8, 5))
    weights = random.uniform(0, 2, weights_of) if weights_of else None
    loss = bound(case)
    J, kept = loss.forward(Y, L, weights, xp=np)
    dL = loss.backward(Y, kept, weights, xp=np)
    assert J.shape == (3,)
    assert dL.shape == L.shape
    for e in range(3):
        own = weights[e] if weights_of == (3, 8) else weights
        alone, kept_alone = loss.forward(Y, L[e], own, xp=np)
        np.testing.assert_allclose(J[e], alone, rtol=1e-14)
        np.testing.assert_allclose(dL[e], loss.backward(Y, kept_alone, own, xp=np), rtol=1e-13)


@pytest.mark.parametrize("case", CASES)
def test_a_weight_of_two_is_the_row_twice_and_of_zero_none(case: str) -> None:
    random = np.random.default_rng(0)
    L, Y = random.normal(size=(3, 4)), targets(case, (3, 4))
    loss, rows = bound(case), [0, 0, 2]
    weighted, kept = loss.forward(Y, L, np.array([2.0, 0.0, 1.0]), xp=np)
    np.testing.assert_allclose(weighted, loss.forward(Y[rows], L[rows], xp=np)[0], rtol=1e-14)
    dL = loss.backward(Y, kept, np.array([2.0, 0.0, 1.0]), xp=np)
    assert (dL[1] == 0).all()


@pytest.mark.parametrize("case", CASES)
def test_a_nan_is_not_hidden(case: str) -> None:
    L = np.array([[np.nan, 1.0]])
    assert np.isnan(bound(case).forward(np.array([[0.0, 1.0]]), L, xp=np)[0])


def test_one_hot(backend: Backend) -> None:
    labels, classes = backend.asarray(np.array([2, 0])), backend.asarray(np.arange(3))
    Y = one_hot(labels, classes, dtype=backend.xp.float32, xp=backend.xp)
    np.testing.assert_array_equal(backend.to_numpy(Y), [[0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_smoothed_labels_are_distributions(backend: Backend, dtype: str) -> None:
    Y = backend.asarray(np.eye(4)[[2, 0]], dtype)
    found = backend.to_numpy(smooth_labels(Y, 0.1, xp=backend.xp))
    assert found.dtype == dtype
    expected = [[0.025, 0.025, 0.925, 0.025], [0.925, 0.025, 0.025, 0.025]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.oracle
def test_torch_smooths_labels_alike(torch: Any) -> None:
    L, labels = np.random.default_rng(0).normal(0, 5, (6, 4)), np.array([2, 0, 3, 1, 1, 0])
    Y = smooth_labels(np.eye(4)[labels], 0.2, xp=np)
    theirs = torch.nn.functional.cross_entropy(
        torch.tensor(L), torch.tensor(labels), label_smoothing=0.2
    )
    np.testing.assert_allclose(softmax_cross_entropy(Y, L, xp=np).J, theirs.item(), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_are_mixed_by_their_own_shares(backend: Backend, dtype: str) -> None:
    X, X_other, share = np.ones((3, 2)), np.full((3, 2), 5.0), np.array([[1.0], [0.0], [0.25]])
    on_device = (backend.asarray(array, dtype) for array in (X, X_other, share))
    found = backend.to_numpy(mix(*on_device, xp=backend.xp))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, [[1, 1], [5, 5], [4, 4]])
