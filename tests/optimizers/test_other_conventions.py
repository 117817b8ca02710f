"""Rules as other libraries have them: scikit-learn's own optimizers are the reference."""

from typing import Any

import numpy as np
import pytest
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from tests.optimizers.descents import Gradient, descend, valley
from xpmlp import InputError
from xpmlp.optimizers import (
    Optimizer,
    adam,
    adam_outer_epsilon,
    momentum,
    nesterov,
    velocity_descent,
)

STEADY = np.full(100, 0.02)
CHANGING = 0.02 / (1.0 + np.arange(100) // 10 * 30) ** 0.3
"""Rates at each step; the second falls every ten steps, as at the ends of epochs."""


def descend_at(optimizer: Optimizer, rates: np.ndarray) -> np.ndarray:
    """The parameters after each step, (100, P)."""
    p, gradient = valley()
    state, way = optimizer.init(p, xp=np), []
    for t, rate in enumerate(rates):
        p, state = optimizer.update(p, gradient(p, t), state, np.asarray(rate), xp=np)
        way.append(p.copy())
    return np.array(way)


def follow_scikit_learn(theirs: Any, p: np.ndarray, gradient: Gradient, rates: Any) -> np.ndarray:
    way = []
    for t, rate in enumerate(rates):
        theirs.learning_rate = rate
        theirs.update_params([p], [gradient(p, t)])
        way.append(p.copy())
    return np.array(way)


@pytest.mark.parametrize("rates", [STEADY, CHANGING], ids=["steady", "changing"])
@pytest.mark.parametrize("is_nesterov", [False, True])
@pytest.mark.parametrize("friction", [0.0, 0.5, 0.9, 1.0])
def test_velocity_descent_is_scikit_learns(
    friction: float, is_nesterov: bool, rates: np.ndarray
) -> None:
    p, gradient = valley()
    theirs = SGDOptimizer([p], momentum=friction, nesterov=is_nesterov)
    expected = follow_scikit_learn(theirs, p, gradient, rates)
    found = descend_at(velocity_descent(momentum=friction, nesterov=is_nesterov), rates)
    assert abs(expected[-1] - valley()[0]).max() > 0.05
    # Relative to the largest: entries cross 0.
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * abs(expected).max())


@pytest.mark.parametrize(
    "options", [{}, {"beta1": 0.5, "beta2": 0.9}, {"beta1": 0.0, "beta2": 0.0}, {"epsilon": 0.01}]
)
def test_adam_outer_epsilon_is_scikit_learns(options: dict[str, float]) -> None:
    names = {"beta1": "beta_1", "beta2": "beta_2", "epsilon": "epsilon"}
    p, gradient = valley()
    theirs = AdamOptimizer([p], 0.01, **{names[name]: value for name, value in options.items()})
    expected = follow_scikit_learn(theirs, p, gradient, STEADY)
    found = descend(adam_outer_epsilon(**options), *valley(), 0.01)
    assert abs(expected[-1] - valley()[0]).max() > 0.05
    # Relative to the largest: entries cross 0.
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * abs(expected).max())


def test_the_two_epsilons_of_adam_differ_at_first_and_agree_in_the_end() -> None:
    start, gradient = valley()
    inner, outer = (
        descend(make(epsilon=0.01, beta2=0.5), start, gradient, 0.01, steps=1)
        for make in (adam, adam_outer_epsilon)
    )
    assert abs(inner - outer).max() > 1e-4
    # By step 100 the correction 1 - 0.5^100 is 1: from the same place both go the same step.
    one, other = (make(epsilon=0.01, beta2=0.5) for make in (adam, adam_outer_epsilon))
    p, q, g = start.copy(), start.copy(), gradient(start, 0)
    state = one.init(p, xp=np)._replace(squares=g * g, count=np.asarray(100.0))
    again = other.init(q, xp=np)._replace(squares=g * g, count=np.asarray(100.0))
    p, _ = one.update(p, g, state, np.asarray(0.01), xp=np)
    q, _ = other.update(q, g, again, np.asarray(0.01), xp=np)
    np.testing.assert_allclose(p, q, rtol=1e-14)


@pytest.mark.parametrize(("is_nesterov", "usual"), [(False, momentum), (True, nesterov)])
def test_while_the_rate_stays_velocity_descent_is_the_usual_rule(
    is_nesterov: bool, usual: Any
) -> None:
    found = descend_at(velocity_descent(nesterov=is_nesterov), STEADY)
    np.testing.assert_allclose(found, descend_at(usual(), STEADY), rtol=0.0, atol=1e-12)
    changed = descend_at(velocity_descent(nesterov=is_nesterov), CHANGING)
    assert abs(changed - descend_at(usual(), CHANGING)).max() > 1e-3


@pytest.mark.parametrize("value", [-0.1, 1.0000001, 2, float("nan"), float("inf"), "1", True, None])
def test_a_momentum_beyond_1_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match=f"momentum={value}: give a finite number at least 0"):
        velocity_descent(momentum=value)


def test_a_numpy_scalar_promotes_nothing() -> None:
    start, gradient = valley()
    optimizer = velocity_descent(momentum=np.float64(1.0))
    assert descend(optimizer, start, gradient, 0.01, steps=1, dtype="float32").dtype == "f4"
