"""What scikit-learn does that the algebra does not: its own private functions are the reference."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.neural_network._base import (
    ACTIVATIONS,
    binary_log_loss,
    log_loss,
    poisson_loss,
    squared_loss,
)
from sklearn.neural_network._stochastic_optimizers import SGDOptimizer

import xpmlp.algebra
from tests.compiler.scheduled import Scheduled
from xpmlp import MLP, Objective
from xpmlp.algebra import OUTPUTS as KNOWN
from xpmlp.backends import Backend
from xpmlp.compiler import Interpreter, record
from xpmlp.estimators import conventions

OUTPUTS = list(conventions.SKLEARN_LOSSES)
THEIRS: dict[str, tuple[str, Any]] = {
    "softmax": ("softmax", log_loss),
    "sigmoid": ("logistic", binary_log_loss),
    "identity": ("identity", squared_loss),
    "exp": ("exp", poisson_loss),
}
"""For each output scikit-learn's activation and loss."""


def problem(output: str, columns: int, *, rows: int = 30, spread: float = 3.0, seed: int = 0):
    """Y and L (rows, columns)."""
    random = np.random.default_rng(seed)
    L = random.normal(0, spread, (rows, columns))
    if output == "softmax":
        return np.eye(columns)[random.integers(0, columns, rows)], L
    if output == "sigmoid":
        return random.integers(0, 2, (rows, columns)).astype(float), L
    return random.poisson(1.5, (rows, columns)).astype(float), L


def theirs(output: str, Y: np.ndarray, L: np.ndarray, weights: np.ndarray | None = None) -> float:
    activate, loss = THEIRS[output]
    Y_hat = L.copy()
    ACTIVATIONS[activate](Y_hat)
    return float(loss(Y, Y_hat, weights))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 4])
@pytest.mark.parametrize("output", OUTPUTS)
def test_losses_are_the_numbers_that_scikit_learn_reports(
    output: str, columns: int, dtype: str
) -> None:
    if (output, columns) == ("softmax", 1):
        columns = 2  # of one class alone there is no softmax in scikit-learn
    Y, L = (array.astype(dtype) for array in problem(output, columns))
    J, _ = conventions.SKLEARN_LOSSES[output].forward(Y, L, xp=np)
    assert J.dtype == dtype
    tolerance = 1e-12 if dtype == "float64" else 2e-6
    np.testing.assert_allclose(J, theirs(output, Y, L), rtol=tolerance)


@pytest.mark.parametrize("output", OUTPUTS)
def test_weights_are_scikit_learns_when_their_mean_is_1(output: str) -> None:
    """It divides by their sum, as the objective's `divides_by_weight` does."""
    Y, L = problem(output, 3)
    weights = np.random.default_rng(1).uniform(0, 2, 30)
    J, _ = conventions.SKLEARN_LOSSES[output].forward(Y, L, weights / weights.mean(), xp=np)
    np.testing.assert_allclose(J, theirs(output, Y, L, weights), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
@given(seed=st.integers(0, 99), spread=st.sampled_from([20.0, 200.0]))
def test_clipped_probabilities_are_scikit_learns(
    output: str, dtype: str, seed: int, spread: float
) -> None:
    """Where a probability is nearly 0 or 1, wrongly or rightly: the number has a ceiling."""
    Y, L = problem(output, 3, rows=8, spread=spread, seed=seed)
    Y, L = Y.astype(dtype), L.astype(dtype)
    with np.errstate(over="ignore"):
        J, _ = conventions.SKLEARN_LOSSES[output].forward(Y, L, xp=np)
    tolerance = 1e-11 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(J, theirs(output, Y, L), rtol=tolerance)
    ceiling = 3 * -np.log(np.finfo(dtype).eps)
    assert 1.001 * ceiling >= J


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("output", OUTPUTS)
def test_the_jacobian_is_the_algebras_own(output: str, weighted: bool) -> None:
    Y, L = problem(output, 3)
    weights = np.random.default_rng(1).uniform(0, 2, 30) if weighted else None
    ours, plain = conventions.SKLEARN_LOSSES[output], xpmlp.algebra.LOSSES[KNOWN[output].usual_loss]
    assert ours.output == output
    assert ours.backward is plain.backward
    found = ours.backward(Y, ours.forward(Y, L, weights, xp=np)[1], weights, xp=np)
    expected = plain.backward(Y, plain.forward(Y, L, weights, xp=np)[1], weights, xp=np)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-17)


@pytest.mark.parametrize("output", OUTPUTS)
def test_members_stay_apart(output: str) -> None:
    loss, (Y, L) = conventions.SKLEARN_LOSSES[output], problem(output, 3, rows=24)
    Y, L = Y[:8], L.reshape(3, 8, 3)
    weights = np.random.default_rng(1).uniform(0, 2, (3, 8))
    J, _ = loss.forward(Y, L, weights, xp=np)
    assert J.shape == (3,)
    alone = [loss.forward(Y, L[e], weights[e], xp=np)[0] for e in range(3)]
    np.testing.assert_allclose(J, alone, rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_every_backend_agrees_with_numpy(backend: Backend, output: str, dtype: str) -> None:
    Y, L = problem(output, 3, rows=12)
    L = L.reshape(2, 6, 3)
    weights = np.random.default_rng(1).uniform(0, 2, (2, 6))

    def both(send: Any, xp: Any) -> tuple[Any, Any]:
        loss = conventions.SKLEARN_LOSSES[output]
        Y_, L_, weights_ = (send(array) for array in (Y[:6], L, weights))
        J, kept = loss.forward(Y_, L_, weights_, xp=xp)
        return J, loss.backward(Y_, kept, weights_, xp=xp)

    found = both(lambda array: backend.asarray(array, dtype), backend.xp)
    wanted = both(lambda array: array.astype(dtype), np)
    for ours, expected in zip(found, wanted, strict=True):
        host = backend.to_numpy(ours)
        assert host.dtype == dtype
        tolerance = 1e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(host, expected, rtol=tolerance, atol=tolerance / 10)


def _make_step(model: MLP, output: str, *, xp: Any) -> Any:
    objective = Objective(conventions.SKLEARN_LOSSES[output])

    def step(state: Any, data: Any) -> Any:
        [parameters], (X, Y) = state, data
        found = model.forward_backward(parameters, X, Y, objective=objective, xp=xp)
        parameters -= 0.01 * found.gradients
        return (parameters,), (found.J,)

    return step


@pytest.mark.extended(keep=4)
@pytest.mark.parametrize("language", ["c", "cuda"])
@pytest.mark.parametrize("members", [(), (2,)])
@pytest.mark.parametrize("output", OUTPUTS)
def test_as_programs_and_kernels_they_are_the_same(
    output: str, members: tuple[int, ...], language: str, tmp_path: Path
) -> None:
    model = MLP((5, 4, 3), output=output)
    make, random = partial(_make_step, model, output), np.random.default_rng(0)
    data = (random.normal(size=(12, 5)), problem(output, 3, rows=12)[0])

    def state() -> tuple[np.ndarray]:
        return (model.initialize([0, 1] if members else 0, dtype="float64"),)

    program = record(make, state(), data)
    (found,), (losses,) = Interpreter(program).run(state(), data, 5)
    eager, step = state(), make(xp=np)
    for t in range(5):
        eager, (J,) = step(eager, data)
        np.testing.assert_array_equal(losses[t], J)
    np.testing.assert_array_equal(found, eager[0])
    (emitted,), (series,) = Scheduled(program, tmp_path, language).run(state(), data, 5)
    np.testing.assert_allclose(emitted, found, rtol=0.0, atol=1e-12)
    np.testing.assert_allclose(series, losses, rtol=1e-12)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("hidden", [(), (4,), (5, 3)])
def test_initial_weights_are_scikit_learns(activation: str, hidden: tuple[int, ...]) -> None:
    X = np.random.default_rng(0).normal(size=(12, 6))
    estimator = MLPClassifier(
        hidden, activation=activation, solver="sgd", learning_rate_init=1e-300, max_iter=1,
        random_state=3,
    )  # fmt: skip
    with pytest.warns(ConvergenceWarning):
        estimator.fit(X, np.arange(12) % 3)
    model = MLP((6, *hidden, 3), conventions.ACTIVATION_NAMES[activation])
    vector = conventions.initial_parameters(model, activation, np.random.RandomState(3))
    assert vector.shape == (model.size,)
    assert vector.dtype == np.float64
    for (W, b), coef, intercept in zip(
        model.layers(vector), estimator.coefs_, estimator.intercepts_, strict=True
    ):
        np.testing.assert_array_equal(W, coef)
        np.testing.assert_array_equal(b, intercept)
    same = conventions.initial_parameters(model, model.activation, np.random.RandomState(3))
    np.testing.assert_array_equal(same, vector)  # by either name of the activation


@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_norms_are_not_drawn(normalization: str) -> None:
    plain, model = MLP((6, 4, 3), "relu"), MLP((6, 4, 3), "relu", normalization=normalization)
    random, again = np.random.RandomState(5), np.random.RandomState(5)
    wanted = plain.unflatten(conventions.initial_parameters(plain, "relu", random))
    parts = model.unflatten(conventions.initial_parameters(model, "relu", again))
    assert random.uniform() == again.uniform()  # what is drawn next is the same
    for name, part in parts.items():
        if name in wanted:
            np.testing.assert_array_equal(part, wanted[name])
        else:
            assert (part == float(name in ("gamma1", "variance1"))).all()


@pytest.mark.parametrize("power", [0.0, 0.5, 1.3])
@pytest.mark.parametrize("seen", [0, 130])
def test_inverse_scaling_is_scikit_learns(power: float, seen: int) -> None:
    """Its optimizer has the full rate until the first epoch ends, whatever was seen before."""
    theirs = SGDOptimizer([], 0.1, "invscaling", power_t=power)
    schedule = conventions.inverse_scaling(power, rows=65, seen=seen)
    factors = schedule(np.arange(12), total=12, steps_per_epoch=3)
    goes_on = conventions.inverse_scaling(power, rows=65, seen=seen, begins_anew=False)
    later = goes_on(np.arange(12), total=12, steps_per_epoch=3)
    np.testing.assert_array_equal(later[3:], factors[3:])
    np.testing.assert_allclose(later[:3], (seen + 1.0) ** -power)
    for epoch in range(4):
        np.testing.assert_allclose(
            0.1 * factors[3 * epoch : 3 * epoch + 3], theirs.learning_rate, rtol=1e-15
        )
        seen += 65
        theirs.iteration_ends(seen)


def test_partial_fits_go_on_where_the_rate_was() -> None:
    X = np.random.default_rng(0).normal(size=(20, 2))
    regressor = MLPRegressor(
        hidden_layer_sizes=(3,), solver="sgd", learning_rate="invscaling", random_state=0
    )
    rates = []
    for _ in range(4):
        regressor.partial_fit(X, X[:, 0])
        rates.append(regressor._optimizer.learning_rate)  # that of the next call
    for number, rate in enumerate(rates, start=1):
        schedule = conventions.inverse_scaling(0.5, rows=20, seen=20 * number, begins_anew=False)
        [factor] = schedule(np.arange(1), total=1, steps_per_epoch=1)
        np.testing.assert_allclose(0.001 * factor, rate, rtol=1e-15)


def test_the_names_of_activations() -> None:
    names = {name for name in ACTIVATIONS if name not in ("softmax", "exp")}
    assert set(conventions.ACTIVATION_NAMES) == names
    Z = np.linspace(-3, 3, 13)
    for name, ours in conventions.ACTIVATION_NAMES.items():
        A = Z.copy()
        ACTIVATIONS[name](A)
        found = xpmlp.algebra.ACTIVATIONS[ours].forward(Z, xp=np)
        np.testing.assert_allclose(found, A, rtol=1e-14)
