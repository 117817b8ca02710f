"""The network's loss and gradient against a forward pass written as in a textbook.

The forward pass below shares nothing with the algebra; dropout's masks alone are the network's own.
"""

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.network.test_every_combination import problems
from tests.textbook import PLAIN, plain_loss
from xpmlp import select_backend
from xpmlp.algebra import ACTIVATIONS, OUTPUTS
from xpmlp.gradcheck import Case, _moderate_parameters, _random_case
from xpmlp.network.layers import Dense, Dropout

STEP = 1e-30


def loss_of(case: Case, vector: np.ndarray) -> Any:
    """The loss as a textbook writes it, apart from the algebra that is being checked."""
    model, objective = case.model, case.objective
    parts, start = dict[str, Any](), 0
    for name, shape in model.shapes.items():  # cut without the network's own code
        stop = start + math.prod(shape)
        parts[name] = vector[start:stop].reshape(shape)
        start = stop
        if stop == model.parameter_count:
            break
    # The masks are given: which units are dropped is no question of derivatives.
    numpy = select_backend("numpy")
    zeros = np.zeros(model.parameter_count)
    _, saved = model.forward(zeros, case.X, case.mode(numpy), xp=np)
    masks = {layer.k: m for layer, m in model.chain.with_saved(saved) if isinstance(layer, Dropout)}
    entered = (A for layer, A in model.chain.with_saved(saved) if isinstance(layer, Dense))
    A = next(entered)
    last = len(model.layer_sizes) - 1
    for number in range(1, last):
        Z = A @ parts[f"W{number}"] + parts[f"b{number}"]
        if model.normalization == "rms":
            Z = Z / ((Z * Z).mean(1, keepdims=True) + 1e-5) ** 0.5 * parts[f"gamma{number}"]
        elif model.normalization != "none":
            axis = 0 if model.normalization == "batch" else 1
            centred = Z - Z.mean(axis, keepdims=True)
            variance = (centred * centred).mean(axis, keepdims=True)
            scaled = centred / (variance + 1e-5) ** 0.5 * parts[f"gamma{number}"]
            Z = scaled + parts[f"beta{number}"]
        A_k = PLAIN[model.activation](Z)
        if masks[number] is not None:
            A_k = A_k * masks[number]
        A = A_k + A if model.is_residual(number) else A_k
    L = A @ parts[f"W{last}"] + parts[f"b{last}"]
    Y = model.targets(case.labels, np.arange(model.layer_sizes[-1]), dtype=np.float64, xp=np)
    Y = Y * (1 - objective.label_smoothing) + objective.label_smoothing / Y.shape[1]
    name = str(objective.loss) or OUTPUTS[model.output].usual_loss
    options = {"delta": objective.huber_delta, "quantile": objective.quantile}
    rows = plain_loss(name, Y, L, **options).sum(1)
    if case.weights is not None:
        rows = rows * case.weights
    J = rows.sum(0) / len(case.X)
    for number in range(1, last + 1):
        W = parts[f"W{number}"]
        magnitude = np.where(W.real > 0, W, -W)
        J = J + objective.l1 * magnitude.sum() + objective.l2 / 2 * (W * W).sum()
    return J


@settings(max_examples=150)
@given(problem=problems(), seed=st.integers(0, 2**32), rows=st.integers(3, 9))
def test_loss_and_its_derivatives_are_the_textbooks(problem, seed: int, rows: int) -> None:
    model, objective = problem
    case = _random_case(model, objective, seed, rows)
    parameters = _moderate_parameters(model, seed)
    J, gradients = case.loss_and_gradients(parameters, select_backend("numpy"))
    np.testing.assert_allclose(J, loss_of(case, parameters), rtol=1e-11, atol=1e-14)
    D = np.random.default_rng(seed).standard_normal(parameters.shape)
    slope = loss_of(case, parameters + 1j * STEP * D).imag / STEP
    scale = np.abs(gradients * D).sum()
    np.testing.assert_allclose(gradients @ D, slope, rtol=1e-9, atol=1e-10 * max(scale, 1e-3))


def test_every_activation_is_in_the_textbook() -> None:
    assert PLAIN.keys() == ACTIVATIONS.keys()
