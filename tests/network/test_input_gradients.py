"""Derivatives with respect to the input: of predictions and of the loss, through the chain."""

from typing import Any

import numpy as np
import pytest

from xpmlp import MLP, InputError
from xpmlp.backends import Backend
from xpmlp.network import NORMALIZATIONS

ROWS = 5


class Analytic:
    """NumPy with |Z| as a function of real numbers, for complex steps."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def abs(self, Z: np.ndarray) -> np.ndarray:
        return np.where(Z.real < 0.0, -Z, Z)


def problem(**options: Any) -> tuple[MLP, np.ndarray, np.ndarray]:
    model = MLP((4, 6, 6, 3), **options)
    random = np.random.default_rng(0)
    parameters = 0.5 * random.standard_normal(model.size)
    parameters[model.parameter_count :] = random.uniform(
        0.5, 2.0, model.size - model.parameter_count
    )
    return model, parameters, random.uniform(-1.0, 1.0, (ROWS, 4))


def by_complex_step(function: Any, X: np.ndarray) -> np.ndarray:
    """The derivative of every result with respect to every number of X: results x X.shape."""
    found = []
    for index in np.ndindex(X.shape):
        moved = X.astype(complex)
        moved[index] += 1e-30j
        found.append(np.asarray(function(moved)).imag / 1e-30)
    return np.moveaxis(np.array(found), 0, -1).reshape(*np.shape(found[0]), *X.shape)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity", "exp"])
@pytest.mark.parametrize("residual", [False, True])
def test_input_gradients_of_predictions(output: str, normalization: str, residual: bool) -> None:
    model, parameters, X = problem(
        activation="softplus", output=output, normalization=normalization, residual=residual
    )
    found = model.input_gradients(parameters, X, xp=np)
    assert found.shape == (ROWS, 3, 4)
    whole = by_complex_step(lambda X: model.predictions(parameters, X, xp=Analytic()), X)
    for row in range(ROWS):
        np.testing.assert_allclose(found[row], whole[row, :, row], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_input_gradients_of_the_loss(normalization: str) -> None:
    model, parameters, X = problem(activation="tanh", normalization=normalization)
    labels = np.array([0, 2, 1, 1, 0])

    def loss(X: np.ndarray) -> Any:
        L = model.forward(parameters, X, xp=np).L
        return -np.log(np.exp(L) / np.exp(L).sum(1, keepdims=True))[range(ROWS), labels].mean()

    found = model.input_gradients(parameters, X, labels, xp=np)
    np.testing.assert_allclose(found, by_complex_step(loss, X), rtol=1e-11, atol=1e-14)


def test_input_gradients_on_every_backend_and_with_members(backend: Backend) -> None:
    model = MLP((4, 5, 3), activation="relu")
    X = np.random.default_rng(1).uniform(size=(ROWS, 4))
    members = model.initialize([0, 1], dtype="float64")
    found = model.input_gradients(backend.asarray(members), backend.asarray(X), xp=backend.xp)
    for member in range(2):
        alone = model.input_gradients(members[member], X, xp=np)
        np.testing.assert_allclose(backend.to_numpy(found)[member], alone, rtol=1e-12, atol=1e-15)


def test_input_gradients_need_the_running_statistics() -> None:
    model, parameters, X = problem(normalization="batch")
    with pytest.raises(InputError, match=r"without the running statistics .* run.parameters"):
        model.input_gradients(parameters[: model.parameter_count], X, xp=np)
